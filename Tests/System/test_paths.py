"""Paths of every kind: by several interfaces to one server, through relays, and what a program binds to."""

import hashlib
import pathlib
import subprocess
import sys
import threading
import time
import unittest

from kwiklab import wait_until
from kwiktest import LabCase, MEBIBYTE, content, undisturbed
from pathlab import EVERYWHERE, PathLab, can_make_namespaces

HERE = pathlib.Path(__file__).resolve().parent
RATE = "40mbit"
SIZE = 12 * MEBIBYTE


@unittest.skipUnless(can_make_namespaces(), "network namespaces can only be made by root")
class PathCase(LabCase):
    kind = PathLab
    servers = 1
    rate = RATE
    engine = {}

    @classmethod
    def setUpClass(cls):
        cls.lab = cls.kind(rate=cls.rate)
        try:
            cls.lab.add_servers(cls.servers)
            cls.prepare()
            cls.lab.start_servers()
            cls.lab.start_engine(engine={"log_level": "debug", **cls.engine})
        except BaseException:
            print(cls.lab.log_tails())
            cls.lab.close()
            raise

    def direct(self, server=0):
        return (self.lab.servers[server].name, "direct", "l0")

    def other(self, server=0):
        return (self.lab.servers[server].name, "interface", "l1")

    def received(self):
        return {name: path["received_bytes"] for name, path in self.lab.paths().items()}

    def begin(self, got, *options):
        """The thread of a transfer that has begun and ends with the file in `got`."""
        thread = threading.Thread(target=lambda: got.append(self.curl("file", *options)))
        before = sum(self.received().values())
        thread.start()
        wait_until(lambda: sum(self.received().values()) > before + MEBIBYTE, "the transfer has begun")
        return thread


class Interfaces(PathCase):
    @classmethod
    def prepare(cls):
        cls.truth = content(SIZE, "interfaces")
        cls.lab.put("file", cls.truth)
        cls.lab.put("little", b"little")

    def test_there_is_a_path_by_each_interface_and_one_is_spare(self):
        self.assertEqual(self.curl("little"), b"little")
        self.lab.wait_for_paths(self.direct(), self.other())
        program = self.lab.start(["python3", "-c", f"import socket, sys\n"
                                  f"s = socket.create_connection(('{EVERYWHERE}', {self.lab.service_port}))\n"
                                  f"print('up', flush=True); sys.stdin.read()"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertEqual(program.stdout.readline(), b"up\n")
        paths = self.lab.paths()
        self.assertEqual(sorted(path["spare"] for path in paths.values()), [False, True], paths)
        program.communicate(timeout=10)

    def test_a_download_takes_both_interfaces(self):
        self.assertEqual(self.curl("little"), b"little")
        self.lab.wait_for_paths(self.direct(), self.other())
        took = 0

        def least():
            nonlocal took
            before, begun = self.received(), time.monotonic()
            self.assert_same(self.curl("file"), self.truth)
            took = time.monotonic() - begun
            after = self.received()
            return min(after[name] - before[name] for name in (self.direct(), self.other()))
        undisturbed(least, lambda count: count > SIZE // 5, "bytes by either interface")
        print(f"  download of {SIZE >> 20} MiB over two links of {RATE}: {SIZE * 8e-6 / took:.1f} Mbit/s")

    def test_a_link_that_goes_takes_its_path_and_one_that_comes_brings_it(self):
        self.assertEqual(self.curl("little"), b"little")

        def noticed():
            self.lab.wait_for_paths(self.direct(), self.other())
            got, times = [], []
            thread = self.begin(got)
            for change, paths in ((self.lab.down, [self.other()]),
                                  (self.lab.up, [self.direct(), self.other()])):
                begun = time.monotonic()
                change("l0")
                self.lab.wait_for_paths(*paths)
                times.append(time.monotonic() - begun)
            thread.join()
            self.assert_same(got[0], self.truth)
            return max(times)
        # The system tells of it: neither silence nor a next attempt is waited for.
        undisturbed(noticed, lambda took: took < 1, "seconds until a link's change is noticed")

    def test_a_link_that_falls_silent_is_left_for_the_other(self):
        self.assertEqual(self.curl("little"), b"little")
        self.lab.wait_for_paths(self.direct(), self.other())
        got = []
        thread = self.begin(got)
        self.lab.silence("l0")
        try:
            thread.join()
        finally:
            self.lab.resume()
        self.assert_same(got[0], self.truth)
        self.lab.wait_for_paths(self.direct(), self.other())

    def test_a_program_that_binds_uses_that_interface_and_no_other(self):
        self.assertEqual(self.curl("little"), b"little")
        self.lab.wait_for_paths(self.direct(), self.other())
        for option in ("if!l1", "host!10.81.1.1"):
            before, served = self.received(), self.served()
            self.assert_same(self.curl("file", "--interface", option), self.truth)
            gained = {name: count - before[name] for name, count in self.received().items()}
            self.assertGreaterEqual(gained[self.other()], SIZE, option)
            self.assertEqual(gained[self.direct()], 0, option)
            self.assertEqual(self.served(), served + 1)

    def test_a_program_that_binds_where_no_path_leads_is_left_to_the_system(self):
        self.assertEqual(self.curl("little"), b"little")
        native = self.lab.status()["counters"]["native"]
        words = ["curl", "-sS", "--max-time", "3", "--interface", "if!lo", self.lab.url("little")]
        self.assertNotEqual(self.lab.run(words).returncode, 0)
        self.assertEqual(self.lab.status()["counters"]["native"], native + 1)


class OnlyLink(PathCase):
    kind = staticmethod(lambda rate: PathLab(links=1, rate=rate))

    @classmethod
    def prepare(cls):
        cls.truth = content(SIZE, "only link")
        cls.lab.put("file", cls.truth)

    def test_a_download_goes_on_when_the_only_link_is_back(self):
        got = []
        thread = self.begin(got)
        self.lab.down("l0")
        self.lab.wait_for_paths()
        # No program connects in the meantime, which would have the routes looked up too.
        self.lab.up("l0")
        begun = time.monotonic()
        self.lab.wait_for_paths(self.direct())
        print(f"  a path again {time.monotonic() - begun:.1f} s after the link")
        thread.join()
        self.assert_same(got[0], self.truth)


class OnePath(PathCase):
    engine = {"max_paths": 1}

    @classmethod
    def prepare(cls):
        cls.truth = content(SIZE, "one path")
        cls.lab.put("little", b"little")
        cls.lab.put("file", cls.truth)

    def wait_for_link(self, link):
        wait_until(lambda: [via for _, _, via in self.lab.paths()] == [link], f"a path by {link} alone")

    def test_a_better_link_that_is_back_does_not_end_a_download_by_the_other(self):
        self.assertEqual(self.curl("little"), b"little")
        self.wait_for_link("l0")
        self.lab.down("l0")
        self.wait_for_link("l1")
        got = []
        thread = self.begin(got, "--interface", "if!l1")
        self.lab.up("l0")
        thread.join()
        self.assert_same(got[0], self.truth)
        self.wait_for_link("l0")


class NamedInterfaces(PathCase):
    engine = {"interfaces": ["l1", "none"]}

    @classmethod
    def prepare(cls):
        cls.lab.put("little", b"little")

    def test_only_those_that_are_named_are_used(self):
        self.assertEqual(self.assert_served(lambda: self.curl("little"), 6), b"little")
        self.lab.wait_for_paths(self.other())


class UploadCase(PathCase):
    """The server's own receiver, so that bytes are counted where they arrive."""

    @classmethod
    def prepare(cls):
        for server in cls.lab.servers:
            server.start_nginx = lambda server=server: server.start_backend(
                [sys.executable, HERE / "clients" / "upload.py", "serve", server.backend_port])

    def send(self, content_):
        words = [sys.executable, HERE / "clients" / "upload.py", "send", EVERYWHERE, self.lab.service_port]
        result = self.lab.run(words, stdin=None, input=content_)
        self.assertEqual(result.returncode, 0, result.stderr.decode(errors="replace"))
        return result.stdout.decode().strip()


class Uploads(UploadCase):
    def test_an_upload_takes_both_interfaces(self):
        sent = content(SIZE, "upload")
        self.send(b"first")
        self.lab.wait_for_paths(self.direct(), self.other())
        took = 0

        def least():
            nonlocal took
            before, begun = self.lab.paths(), time.monotonic()
            self.assertEqual(self.send(sent), hashlib.sha256(sent).hexdigest())
            took = time.monotonic() - begun
            after = self.lab.paths()
            return min(after[name]["sent_bytes"] - before[name]["sent_bytes"]
                       for name in (self.direct(), self.other()))
        undisturbed(least, lambda count: count > SIZE // 4, "bytes by either interface")
        print(f"  upload of {SIZE >> 20} MiB over two links of {RATE}: {SIZE * 8e-6 / took:.1f} Mbit/s")


class RelayCase(PathCase):
    """Three servers; the second and third relay to the first, the third does nothing else."""

    servers = 3

    @classmethod
    def prepare(cls):
        super().prepare()
        first, second, third = cls.lab.servers
        allow = [f"{EVERYWHERE}:{first.gateway_port}"]
        second.service["roles"], second.relay = ["replica", "relay"], {"allow": allow}
        third.service["roles"], third.relay = ["relay"], {"allow": allow}
        for key in ("backend", "backend_sees"):
            del third.service[key]
        cls.names = [server.name for server in cls.lab.servers]

    def through(self, relay):
        return (self.names[0], "relay", self.names[relay])

    def wait_for_relays(self):
        wanted = {self.through(1), self.through(2)}
        wait_until(lambda: wanted <= set(self.lab.paths()), "paths through relays")

    def relayed(self):
        return [self.lab.counters(server)["relayed_bytes"] for server in self.lab.servers[1:]]


class Relays(RelayCase):
    @classmethod
    def prepare(cls):
        super().prepare()
        cls.truth = content(SIZE, "relays")
        cls.lab.put("file", cls.truth, cls.lab.servers[:1])
        cls.lab.put("little", b"little")

    def test_the_primary_is_reached_through_the_others_too(self):
        self.assertEqual(self.curl("little"), b"little")
        self.wait_for_relays()
        for server in self.lab.servers[1:]:
            self.assertGreaterEqual(self.lab.counters(server)["relayed_paths"], 1)

    def test_a_transfer_goes_on_through_a_relay_when_nothing_else_is_left(self):
        self.assertEqual(self.curl("little"), b"little")

        def gained():
            self.wait_for_relays()
            before, got = sum(self.relayed()), []
            thread = self.begin(got)
            # What the client sends to the first server itself is lost without a word.
            self.lab.silence_port(self.lab.servers[0].gateway_port)
            try:
                thread.join()
                self.assert_same(got[0], self.truth)
            finally:
                self.lab.resume()
            return sum(self.relayed()) - before
        # Unless the transfer was over when it was to be disturbed.
        undisturbed(gained, lambda count: count > SIZE // 4, "bytes through the relays", times=3)


class RelayedUploads(RelayCase, UploadCase):
    def test_an_upload_goes_on_through_both_relays_when_nothing_else_is_left(self):
        sent = content(SIZE, "relayed upload")
        self.send(b"first")

        def least():
            self.wait_for_relays()
            before, got = self.relayed(), []
            begun = self.sent()
            thread = threading.Thread(target=lambda: got.append(self.send(sent)))
            thread.start()
            wait_until(lambda: self.sent() > begun + MEBIBYTE, "the upload has begun")
            self.lab.silence_port(self.lab.servers[0].gateway_port)
            try:
                thread.join()
                self.assertEqual(got, [hashlib.sha256(sent).hexdigest()])
            finally:
                self.lab.resume()
            return min(after - then for after, then in zip(self.relayed(), before))
        undisturbed(least, lambda count: count > SIZE // 4, "bytes through either relay", times=3)

    def sent(self):
        return sum(path["sent_bytes"] for path in self.lab.paths().values())


@unittest.skipUnless(can_make_namespaces(), "network namespaces can only be made by root")
class RefusedRelay(PathCase):
    servers = 2

    @classmethod
    def prepare(cls):
        cls.lab.put("little", b"little")
        second = cls.lab.servers[1]
        second.service["roles"] = ["replica", "relay"]
        second.relay = {"allow": [f"{EVERYWHERE}:1"]}

    def test_who_is_not_allowed_is_not_relayed_to(self):
        self.assertEqual(self.curl("little"), b"little")
        wait_until(lambda: "not allowed" in self.lab.engine.text(), "the engine tells of the refusal")
        self.assertEqual({name for name in self.lab.paths() if name[1] == "relay"}, set())
        self.assertIn("relay refused", self.lab.servers[1].gateway.text())
        self.assertEqual(self.curl("little"), b"little")


if __name__ == "__main__":
    unittest.main()
