"""Engine, gateway and relay where nothing but IPv6 leads from one to the other."""

import unittest

from kwiklab import wait_until
from kwiktest import content, undisturbed
from pathlab import SixLab, can_make_namespaces
from test_paths import SIZE, PathCase


@unittest.skipUnless(can_make_namespaces(), "network namespaces can only be made by root")
class Six(PathCase):
    """The second server relays to the first."""

    kind = SixLab
    servers = 2

    @classmethod
    def prepare(cls):
        cls.truth = content(SIZE, "six")
        first, second = cls.lab.servers
        cls.lab.put("file", cls.truth)
        cls.lab.put("little", b"little")
        second.service["roles"] = ["replica", "relay"]
        second.relay = {"allow": [f"{cls.lab.host}:{first.gateway_port}"]}

    def relayed(self):
        first, second = self.lab.servers
        return (first.name, "relay", second.name)

    def test_every_kind_of_path_is_made_and_carries(self):
        self.assertEqual(self.assert_served(lambda: self.curl("little"), 6), b"little")
        wanted = {self.direct(), self.other(), self.direct(1), self.relayed()}
        wait_until(lambda: wanted <= set(self.lab.paths()), f"paths {wanted}")
        before = self.received()
        self.assert_same(self.curl("file"), self.truth)
        after = self.received()
        for name in (self.direct(), self.other()):
            self.assertGreater(after[name] - before.get(name, 0), 0, after)

    def test_what_the_relay_forwards_is_enough(self):
        self.assertEqual(self.curl("little"), b"little")

        def gained():
            wait_until(lambda: self.relayed() in self.lab.paths(), "a path through the relay")
            got = []
            thread = self.begin(got)
            before = self.received()[self.relayed()]
            self.lab.silence_port(self.lab.servers[0].gateway_port)
            try:
                thread.join()
                self.assert_same(got[0], self.truth)
                return self.received()[self.relayed()] - before
            finally:
                self.lab.resume()
        # Unless the transfer was over when it was to be disturbed.
        undisturbed(gained, lambda count: count > 0, "bytes through the relay", times=3)


if __name__ == "__main__":
    unittest.main()
