// node: uploads a file with PUT and downloads it, several at once on kept connections; prints SHA-256 of each.
//     transfer.mjs URL FILE COUNT

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";

const [url, file, count] = process.argv.slice(2);
const data = readFileSync(file);
const agent = new http.Agent({ keepAlive: true });

function ask(method, address, body) {
    return new Promise((resolve, reject) => {
        const request = http.request(address, { method, agent }, (response) => {
            const hash = createHash("sha256");
            response.on("data", (piece) => hash.update(piece));
            response.on("end", () => resolve([response.statusCode, hash.digest("hex")]));
            response.on("error", reject);
        });
        request.on("error", reject);
        request.end(body);
    });
}

async function transfer(index) {
    const [stored] = await ask("PUT", `${url}-${index}`, data);
    if (stored !== 201) throw new Error(`PUT: ${stored}`);
    const [found, digest] = await ask("GET", `${url}-${index}`);
    if (found !== 200) throw new Error(`GET: ${found}`);
    return digest;
}

const digests = await Promise.all([...Array(Number(count)).keys()].map(transfer));
console.log(digests.join("\n"));
agent.destroy();
