"""Compression over a slow link: text comes faster than the link, what can't be compressed no slower."""

import contextlib
import hashlib
import os
import pathlib
import random
import sys
import tempfile
import time
import unittest

from kwiklab import Lab, wait_until
from kwiktest import LabCase, MEBIBYTE, content, long, undisturbed
from matrix.network import Link, Network, missing_privilege
from pathlab import inside

# Mbit/s and ms; the first is low enough that no processor here is the limit.
RATE, ROUND_TRIP = 10, 40
SIZE = 4 * MEBIBYTE
# Reads all, answers with its SHA-256.
SINK = """
import hashlib, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    peer, _ = listener.accept()
    digest = hashlib.sha256()
    while block := peer.recv(1 << 20):
        digest.update(block)
    peer.sendall(digest.hexdigest().encode())
    peer.close()
"""
SOURCE = """
import socket, sys
peer = socket.create_connection((sys.argv[1], int(sys.argv[2])))
with open(sys.argv[3], "rb") as file:
    peer.sendfile(file)
peer.shutdown(socket.SHUT_WR)
print(peer.recv(100).decode(), end="")
"""


def text(size, seed):
    """Words as in prose: zstd makes about a third of them."""
    chance = random.Random(seed)
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(chance.choices(letters, range(len(letters), 0, -1), k=chance.randint(2, 9)))
             for _ in range(2000)]
    return " ".join(chance.choices(words, [1 / (rank + 1) for rank in range(len(words))],
                                   k=size // 4)).encode()[:size]


class SlowLab(Lab):
    """The servers behind one emulated link."""

    def __init__(self):
        super().__init__()
        self.stack = contextlib.ExitStack()
        try:
            self.network = self.stack.enter_context(
                Network([Link("a", rate=RATE, rtt=ROUND_TRIP)],
                        pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory()))))
            self.stack.enter_context(inside(self.network.server))
        except BaseException:
            self.close()
            raise
        self.service = f"{self.network.address(0)}:{self.service_port}"

    def add_server(self, **settings):
        server = super().add_server(**settings)
        server.address = self.network.address(0)
        server.settings["listen"] = f"{server.address}:{server.gateway_port}"
        return server

    def at_client(self, argv):
        return self.network.words("client", argv)

    def wire_bytes(self):
        """What the emulator has let through either way: a packet's header is in it."""
        counts = self.network.emulator.ask("stats")["links"]["a"]
        return {way: counts[way]["out_bytes"] for way in ("up", "down")}

    def close(self):
        super().close()
        self.stack.close()


def cpu_seconds(daemon):
    # nsenter and the like have become the program itself.
    fields = pathlib.Path(f"/proc/{daemon.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class CompressionCase(LabCase):
    @classmethod
    def setUpClass(cls):
        problem = missing_privilege()
        if problem:
            raise unittest.SkipTest(problem)
        cls.lab = SlowLab()
        try:
            cls.server = cls.lab.add_server()
            cls.server.service["compression"] = "zstd"
            cls.prepare()
        except BaseException:
            print(cls.lab.log_tails())
            cls.lab.close()
            raise

    def with_engine(self, compression):
        self.lab.start_engine(service={"compression": compression})

    def path(self):
        paths = [path for service in self.lab.status()["services"] for path in service["paths"]]
        self.assertEqual(len(paths), 1, paths)
        return paths[0]

    def timed(self, action):
        """(seconds, bytes that passed the link each way, CPU seconds of gateway and engine), once warm."""
        wire, cpu = self.lab.wire_bytes(), cpu_seconds(self.server.gateway) + cpu_seconds(self.lab.engine)
        begun = time.monotonic()
        action()
        took = time.monotonic() - begun
        after = self.lab.wire_bytes()
        spent = cpu_seconds(self.server.gateway) + cpu_seconds(self.lab.engine) - cpu
        return took, {way: after[way] - wire[way] for way in wire}, spent

    def assert_worth_it(self, packed):
        """Whoever is short of processor packs less; who packs badly, or is slow at it, is so each time."""
        undisturbed(packed, lambda shares: shares[0] < 0.75 and max(shares[1:]) < 0.6,
                    "(time, packed bytes, bytes of packets) of those without")

    def tell(self, what, took, wire, spent):
        print(f"  {what}: {SIZE * 8e-6 / took:.1f} Mbit/s over a link of {RATE}, {wire / SIZE:.2f} of the "
              f"bytes on the wire, {spent * 1e3:.0f} ms of CPU")


class Downloads(CompressionCase):
    @classmethod
    def prepare(cls):
        cls.truth = {"text": text(SIZE, "text"), "noise": content(SIZE, "noise")}
        for name, body in {**cls.truth, "little": b"little"}.items():
            cls.lab.put(name, body)
        cls.lab.start_servers()

    def download(self, name, compression):
        self.with_engine(compression)
        self.assertEqual(self.curl("little"), b"little")
        result = self.timed(lambda: self.assert_same(self.curl(name), self.truth[name]))
        self.tell(f"{name}, {compression}", result[0], result[1]["down"], result[2])
        return result

    def test_text_comes_faster_than_the_link(self):
        plain = self.download("text", "none")

        def packed():
            took, wire, _ = self.download("text", "zstd")
            path = self.path()
            self.assertEqual(path["compression"], "zstd")
            self.assertGreaterEqual(path["received_bytes"], SIZE)
            return took / plain[0], path["received_wire_bytes"] / SIZE, wire["down"] / SIZE
        self.assert_worth_it(packed)

    @long
    def test_what_cannot_be_compressed_costs_no_more(self):
        def costs():
            plain, tried = self.download("noise", "none"), self.download("noise", "zstd")
            path = self.path()
            self.assertEqual(path["received_wire_bytes"], path["received_bytes"])
            return tried[0] / plain[0], tried[1]["down"] / plain[1]["down"]
        # Trying is in no packet's way, and puts nothing beside the bytes.
        undisturbed(costs, lambda cost: cost[0] < 1.5 and cost[1] < 1.03, "(time, packets) of those without",
                    times=3)

    @long
    def test_a_gateway_that_does_not_offer_it_gets_and_sends_none(self):
        del self.server.service["compression"]
        self.server.gateway.stop()
        self.server.start_gateway()
        try:
            wire = self.download("text", "zstd")[1]
            path = self.path()
            self.assertIsNone(path["compression"])
            self.assertEqual(path["received_wire_bytes"], path["received_bytes"])
            self.assertGreater(wire["down"], SIZE)
        finally:
            self.server.service["compression"] = "zstd"
            self.server.gateway.stop()
            self.server.start_gateway()


class Uploads(CompressionCase):
    @classmethod
    def prepare(cls):
        cls.file = cls.lab.directory / "text"
        cls.file.write_bytes(text(SIZE, "upload"))
        cls.server.start_backend([sys.executable, "-c", SINK, cls.server.backend_port])
        cls.server.start_gateway()

    def upload(self, compression):
        self.with_engine(compression)
        host, _, port = self.lab.service.rpartition(":")

        def action():
            result = self.lab.run(["python3", "-c", SOURCE, host, port, self.file])
            self.assertEqual(result.stdout.decode(), hashlib.sha256(self.file.read_bytes()).hexdigest(),
                             result.stderr.decode(errors="replace"))
        result = self.timed(action)
        wait_until(lambda: self.path()["streams"] == 0, "the stream's end")
        self.tell(f"upload of text, {compression}", result[0], result[1]["up"], result[2])
        return result

    @long
    def test_text_goes_faster_than_the_link(self):
        plain = self.upload("none")

        def packed():
            took, wire, _ = self.upload("zstd")
            path = self.path()
            self.assertGreaterEqual(path["sent_bytes"], SIZE)
            return took / plain[0], path["sent_wire_bytes"] / SIZE, wire["up"] / SIZE
        self.assert_worth_it(packed)


if __name__ == "__main__":
    unittest.main()
