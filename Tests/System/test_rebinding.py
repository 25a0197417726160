"""A NAT between engine and gateway that gives the client another port amid a transfer."""

import select
import socket
import threading
import unittest

from kwiklab import Lab, paths_of, wait_until
from kwiktest import MEBIBYTE, content

SIZE = 12 * MEBIBYTE


class Nat(threading.Thread):
    """Forwards datagrams between one client and a gateway, from a port that `rebind` changes."""

    def __init__(self, target):
        super().__init__(daemon=True)
        self.near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.near.bind(("127.0.0.1", 0))
        self.port = self.near.getsockname()[1]
        self.target, self.client, self.is_over = target, None, False
        self.old, self.far = [], self.open()
        self.start()

    def open(self):
        far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        far.connect(("127.0.0.1", self.target))
        return far

    def rebind(self):
        """What comes to the port before is lost from now on."""
        self.old.append(self.far)
        self.far = self.open()

    def run(self):
        while not self.is_over:
            for ready in select.select([self.near, self.far], [], [], 0.05)[0]:
                try:
                    if ready is self.near:
                        data, self.client = self.near.recvfrom(65536)
                        self.far.send(data)
                    elif self.client:
                        self.near.sendto(ready.recv(65536), self.client)
                except ConnectionRefusedError:
                    pass

    def stop(self):
        self.is_over = True
        self.join()
        for each in [self.near, self.far, *self.old]:
            each.close()


class Rebinding(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.lab.add_servers(1, max_rate="20 Mbit/s")
        self.file = content(SIZE, "rebinding")
        self.lab.put("file", self.file)
        self.lab.start_servers()
        server = self.lab.servers[0]
        self.nat = Nat(server.gateway_port)
        self.addCleanup(self.nat.stop)
        server.gateway_port = self.nat.port
        self.lab.start_engine()

    def test_the_path_stays(self):
        def received():
            return sum(path["received"] for path in paths_of(self.lab.status()))

        curl = self.lab.start(["curl", "-sS", "--fail", "-o", self.lab.directory / "got",
                               self.lab.url("file")])
        wait_until(lambda: received() > SIZE / 4, "a quarter of the file")
        before = self.path_ids()
        self.nat.rebind()
        at = received()
        wait_until(lambda: received() > at + SIZE / 8, "bytes by the new port")
        self.assertEqual(curl.wait(60), 0)
        self.assertEqual((self.lab.directory / "got").read_bytes(), self.file)
        # A path that died would have been made anew.
        self.assertEqual(self.path_ids(), before)

    def path_ids(self):
        return [path["id"] for service in self.lab.status()["services"] for path in service["paths"]]


if __name__ == "__main__":
    unittest.main()
