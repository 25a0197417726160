"""A TCP protocol of the tests' own: chunked writes, no lengths, half-closes both ways, byte for byte."""

import hashlib
import pathlib
import subprocess
import sys

from custom_peer import stream
from kwiklab import wait_until
from kwiktest import BULK_BYTES, MEBIBYTE, LabCase

PEER = pathlib.Path(__file__).with_name("custom_peer.py")


class CustomProtocol(LabCase):
    @classmethod
    def prepare(cls):
        for server in cls.lab.servers:
            recorded = server.directory / "recorded"
            recorded.mkdir()
            server.start_nginx = lambda server=server, recorded=recorded: server.start_backend(
                [sys.executable, PEER, "serve", server.backend_port, recorded])

    def peer(self, kind, size, seed):
        result = self.lab.run([sys.executable, PEER, kind, self.lab.service_port, size, seed])
        self.assertEqual(result.returncode, 0, result.stderr.decode(errors="replace"))
        return result.stdout

    def test_bulk_after_the_clients_half_close(self):
        got = self.assert_served(lambda: self.peer("fetch", BULK_BYTES, 1), BULK_BYTES, servers=2)
        self.assert_same(got, b"".join(stream(BULK_BYTES, 1)))

    def test_lengths_that_end_within_a_block(self):
        for size in (0, 1, 16383, 16384, 16385, 3 * MEBIBYTE + 12345):
            with self.subTest(size=size):
                got = self.assert_served(lambda size=size: self.peer("fetch", size, size), size)
                self.assert_same(got, b"".join(stream(size, size)))

    def test_upload_after_the_servers_half_close(self):
        digest = self.peer("push", 4 * MEBIBYTE, 2).decode()
        wanted = hashlib.sha256(b"".join(stream(4 * MEBIBYTE, 2))).hexdigest()
        recorded = self.lab.servers[0].directory / "recorded" / f"pushed-{4 * MEBIBYTE}-2"
        # The server has nothing more to say when it has read all.
        wait_until(lambda: recorded.exists() and recorded.stat().st_size == len(wanted), "the record")
        self.assertEqual((digest, recorded.read_text(encoding="ascii")), (wanted, wanted))

    def test_both_directions_at_once(self):
        size = 4 * MEBIBYTE
        got = self.assert_served(lambda: self.peer("echo", size, 3), size)
        self.assertEqual(got.decode(), hashlib.sha256(b"".join(stream(size, 3))).hexdigest())

    def test_question_and_answer(self):
        got = self.assert_served(lambda: self.peer("talk", 500, 4), 500 * 65)
        self.assertEqual(got, b"500")

    def test_several_at_once(self):
        running = [self.lab.start([sys.executable, PEER, "fetch", self.lab.service_port, MEBIBYTE, seed],
                                  stdout=subprocess.PIPE) for seed in range(8)]
        for seed, process in enumerate(running):
            self.assert_same(process.communicate(timeout=60)[0], b"".join(stream(MEBIBYTE, seed)))
