"""What a socket has besides its bytes, through a real engine and a real gateway."""

import pathlib
import sys

from kwiktest import LabCase

PEER = pathlib.Path(__file__).with_name("socket_peer.py")


class PeerCase(LabCase):
    words = []

    @classmethod
    def prepare(cls):
        for server in cls.lab.servers:
            server.start_nginx = lambda server=server: server.start_backend(
                [sys.executable, PEER, "serve", server.backend_port, *cls.words])

    def ask(self, kind, shim=True):
        result = self.lab.run([sys.executable, PEER, kind, self.lab.service_port], shim=shim)
        self.assertEqual(result.returncode, 0, result.stderr.decode(errors="replace"))
        return result.stdout.decode().strip()


class Sockets(PeerCase):
    def test_urgent_data_both_ways(self):
        self.assertEqual(self.assert_served(lambda: self.ask("urgent"), 1), self.ask("urgent", shim=False))

    def test_urgent_bytes_are_the_ones_that_were_sent_so(self):
        self.assertEqual(self.ask("urgent"), "abcd X 1234 !")

    def test_keep_alive_set_after_the_connect_reaches_the_service(self):
        self.assertEqual(self.assert_served(lambda: self.ask("keepalive"), 1), "2")

    def test_tcp_info_is_the_streams(self):
        got = self.assert_served(lambda: self.ask("info"), 300_000)
        self.assertEqual(got, "1 True True 5 300000")


class ProxyProtocol(PeerCase):
    words = ["proxy"]

    @classmethod
    def prepare(cls):
        super().prepare()
        for server in cls.lab.servers:
            del server.service["backend_sees"]
            server.service["proxy_protocol"] = "v2"

    def test_the_service_learns_who_the_client_is(self):
        source, port, target, own = self.assert_served(lambda: self.ask("who"), 1).split()
        self.assertEqual((source, port), ("127.0.0.1", own))
        self.assertEqual(int(target), self.lab.servers[0].gateway_port)
