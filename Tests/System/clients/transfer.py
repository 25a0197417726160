"""asyncio: sends a file to an echo server on several connections at once, and checks what comes back.

    transfer.py HOST PORT FILE CONNECTIONS      prints the SHA-256 of each echo
"""

import asyncio
import hashlib
import sys

PIECE = 50_000


async def echo(host, port, data):
    reader, writer = await asyncio.open_connection(host, port)

    async def send():
        for start in range(0, len(data), PIECE):
            writer.write(data[start:start + PIECE])
            await writer.drain()
        writer.write_eof()
    _, got = await asyncio.gather(send(), reader.read(-1))
    writer.close()
    await writer.wait_closed()
    return hashlib.sha256(got).hexdigest()


async def main():
    host, port, path, connections = sys.argv[1:]
    with open(path, "rb") as file:
        data = file.read()
    for digest in await asyncio.gather(*(echo(host, int(port), data) for _ in range(int(connections)))):
        print(digest)

asyncio.run(main())
