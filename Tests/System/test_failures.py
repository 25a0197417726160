"""Servers, gateways and engines that fail: the program reads the right bytes or sees an honest error."""

import errno
import itertools
import signal
import sys
import time
import unittest

from demo import MAX_STALL_MS, Download
from kwiklab import Lab, paths_of, wait_until
from kwiktest import MEBIBYTE, RATE, SERVERS, content, needs_servers, undisturbed

SIZE = 20 * MEBIBYTE
# "All servers back → full service within 10 s" (protocol.md §7).
BACK_SECONDS = 10


class FailureCase(unittest.TestCase):
    """A lab of its own for each test, since each breaks it."""

    policy = "fail"
    lab = None

    def setUp(self):
        self.file = content(SIZE, "failures")
        self.make_lab()

    def make_lab(self):
        """A lab where nothing is broken, in the place of the one before."""
        if self.lab:
            self.lab.close()
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.lab.add_servers(SERVERS, max_rate=RATE)
        self.lab.put("file", self.file)
        self.lab.put("small", b"small\n")
        self.lab.start_servers()
        self.lab.start_engine(service={"policy": self.policy})

    def download(self, half_way=None):
        """One curl to its end; the right bytes, from the engine."""
        download = Download(self.lab, "file", SIZE, half_way)
        download.run(patience=60)
        self.assertIsNone(download.problem)
        self.assertEqual(download.received, SIZE)
        self.assertEqual(download.digest.digest(), self.digest())
        self.assertGreaterEqual(sum(download.received_from.values()), SIZE)
        return download

    def digest(self):
        digest = Download(self.lab, "file", SIZE).digest
        digest.update(self.file)
        return digest.digest()

    def assert_goes_on(self, loss, longest=MAX_STALL_MS, check=lambda: None):
        """A download with this loss half-way stalls no longer than that (ms), as it would until a timeout."""
        attempts = itertools.count()

        def stall():
            if next(attempts) > 0:
                self.make_lab()
            download = self.download(loss)
            check()
            return download.longest_gap * 1e3
        undisturbed(stall, lambda gap: gap <= longest, "ms of stall", times=3)

    def curl(self, name="small", timeout=30, shim=True):
        return self.lab.run(["curl", "-sS", "--fail", self.lab.url(name)], timeout=timeout, shim=shim)

    def active(self):
        """Names of the servers with an active path."""
        return {path["server"] for path in paths_of(self.lab.status()) if path["state"] == "active"}

    def received(self):
        return sum(path["received"] for path in paths_of(self.lab.status()))


class ServersFail(FailureCase):
    @needs_servers(3)
    def test_a_replica_falls_silent(self):
        self.assert_goes_on(lambda: self.lab.servers[2].silence())

    @needs_servers(3)
    def test_a_replica_is_killed(self):
        self.assert_goes_on(lambda: self.lab.servers[2].crash())

    @needs_servers(3)
    def test_both_replicas_are_killed_one_after_the_other(self):
        def both():
            self.lab.servers[2].crash()
            self.lab.servers[1].crash()
        self.assert_goes_on(both)

    @needs_servers(3)
    def test_a_replica_that_comes_back_serves_again(self):
        victim = self.lab.servers[1]
        self.download(victim.silence)
        victim.resume()
        wait_until(lambda: len(self.active()) == SERVERS, "a path to each server again", BACK_SECONDS)
        self.download()

    def test_a_restarted_gateway_is_in_full_service_again(self):
        self.download()
        victim = self.lab.servers[-1]
        victim.gateway.kill()
        accepted = victim.gateway.text().count("path accepted")
        victim.start_gateway()
        wait_until(lambda: victim.gateway.text().count("path accepted") > accepted, "a path", BACK_SECONDS)
        wait_until(lambda: len(self.active()) == SERVERS, "a path to each server", BACK_SECONDS)
        self.download()

    def test_the_primarys_restarted_gateway_is_in_full_service_again(self):
        self.download()
        self.lab.servers[0].gateway.kill()
        self.lab.servers[0].start_gateway()
        before = time.monotonic()
        while True:
            carried = self.received()
            self.assertEqual(self.curl().stdout, b"small\n")
            if self.received() > carried:
                break
            self.assertLess(time.monotonic() - before, BACK_SECONDS, "still not served by the engine")
        self.download()


class PrimaryFails(FailureCase):
    policy = "promote"

    @needs_servers(3)
    def test_the_primary_falls_silent_and_a_replica_is_promoted(self):
        self.assert_goes_on(lambda: self.lab.servers[0].silence())

    @needs_servers(3)
    def test_the_primary_is_killed_and_a_replica_is_promoted(self):
        self.assert_goes_on(lambda: self.lab.servers[0].crash())


class NoService(FailureCase):
    def test_all_gateways_gone_means_native_and_one_line(self):
        for server in self.lab.servers:
            server.gateway.kill()
        for _ in range(3):
            self.assertEqual(self.curl().stdout, b"small\n")
        lines = [line for line in self.lab.engine.text().splitlines() if "native" in line]
        self.assertEqual(len(lines), 1, "one line says why, once per service")

    def test_all_gateways_silent_means_native(self):
        for server in self.lab.servers:
            server.gateway.signal(signal.SIGSTOP)
        self.assertEqual(self.curl().stdout, b"small\n")
        for server in self.lab.servers:
            server.gateway.signal(signal.SIGCONT)

    def test_a_killed_engine_resets_its_connections_and_new_ones_are_native(self):
        download = Download(self.lab, "file", SIZE, self.lab.engine.kill)
        download.run(patience=60)
        self.assertLess(download.received, SIZE)
        self.assertIn("reset", (download.problem or "").lower())
        self.assertEqual(self.curl("file").stdout, self.file)

    def test_no_engine_costs_nothing(self):
        self.lab.stop_engine()

        def seconds():
            begun = time.monotonic()
            self.assertEqual(self.curl().stdout, b"small\n")
            return time.monotonic() - begun
        # As waiting for an engine would each time.
        undisturbed(seconds, lambda took: took < 1, "seconds without an engine")

    def test_an_engine_that_does_not_answer_is_waited_for_as_long_as_one_is_told(self):
        self.lab.engine.signal(signal.SIGSTOP)

        def seconds(limit):
            begun = time.monotonic()
            words = ["curl", "-sS", "--fail", self.lab.url("small")]
            result = self.lab.run(words, timeout=30, env={"KWIK_DECISION_MS": limit})
            self.assertEqual(result.stdout, b"small\n")
            return time.monotonic() - begun
        self.assertGreater(seconds("1500"), 1.5)
        for limit in ("50", "", "soon", "0", "60001"):
            undisturbed(lambda limit=limit: seconds(limit), lambda took: took < 1, "seconds until native")

    def test_a_restarted_engine_serves_again(self):
        self.lab.engine.kill()
        self.lab.start_engine()
        self.download()

    def test_what_is_not_served_is_untouched(self):
        """Refused is refused, with the kernel's own errno, at an address that no service names."""
        carried = self.received()
        script = f"import socket; print(socket.socket().connect_ex(('127.0.0.2', {self.lab.service_port})))"
        result = self.lab.run([sys.executable, "-c", script])
        self.assertEqual(int(result.stdout), errno.ECONNREFUSED, result.stderr)
        self.assertEqual(self.received(), carried)
