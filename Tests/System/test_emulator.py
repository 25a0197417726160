"""The link emulator does what its links say: measured in real namespaces, with datagrams."""

import concurrent.futures
import math
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import unittest

from kwiklab import wait_until
from kwiktest import undisturbed
from matrix.network import Link, Network, missing_privilege

PORT = 5000
HEADERS = 28
PROBE = pathlib.Path(__file__).parent / "matrix" / "probe.py"


# Before the link matrix it is checked how exact the emulator is. Elsewhere the machine may be busy, and what
# is told apart is one behaviour from another.
EXACT = os.environ.get("KWIK_EXACT") == "1"


def bound(exact, loose):
    return exact if EXACT else loose


def within(low, high):
    return lambda value: low <= value <= high


class EmulatorCase(unittest.TestCase):
    links = [Link("a", rate=20, rtt=40)]

    def setUp(self):
        problem = missing_privilege()
        if problem:
            self.fail(f"the emulator can't be tested here: {problem}")
        self.directory = tempfile.TemporaryDirectory(prefix="kwik-emulator-")
        self.addCleanup(self.directory.cleanup)
        self.network = Network(self.links, pathlib.Path(self.directory.name))
        self.network.__enter__()
        self.addCleanup(self.network.__exit__)
        self.echo = self.network.start("server", [sys.executable, PROBE, "echo", PORT])
        self.addCleanup(self.echo.wait)
        self.addCleanup(self.echo.kill)
        self.sink = self.network.start("client", [sys.executable, PROBE, "count", PORT],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.end_sink)
        # A first answer tells that both listen.
        for _ in range(100):
            if self.round_trips(1):
                break
        self.ask_sink()

    def end_sink(self):
        self.sink.stdin.close()
        self.sink.stdout.close()
        self.sink.wait()

    def ask_sink(self):
        """(datagrams, seconds from the first to the last, bytes after the first) since the last time."""
        self.sink.stdin.write("\n")
        self.sink.stdin.flush()
        count, seconds, size = self.sink.stdout.readline().split()
        return int(count), float(seconds), int(size)

    def round_trips(self, count, link=0, every=0.004):
        """Milliseconds of each of `count` echoes that came back."""
        result = self.network.run("client", [
            sys.executable, PROBE, "ping", self.network.address(link), PORT, count, every],
            capture_output=True, text=True, check=True)
        return [float(line) for line in result.stdout.split()]

    def send(self, count, size, mbps, link=0):
        """What came of datagrams of `size` bytes, headers included, from the server."""
        self.network.run("server", [sys.executable, PROBE, "send", self.network.local(link), PORT, count,
                                    size - HEADERS, mbps], check=True)
        return self.ask_sink()

    def rate(self, link=0, mbps=40, seconds=0.6):
        """Mbit/s that arrive where more is sent."""
        count = int(mbps * 1e6 / 8 / 1500 * seconds)
        _, took, size = self.send(count, 1500, mbps, link)
        return size * 8 / took / 1e6

    def counts(self, way="down", link="a"):
        return self.network.emulator.ask("stats")["links"][link][way]

    def assert_rate(self, measure, wanted):
        least, most = bound(0.97, 0.7) * wanted, bound(1.03, 1.1) * wanted
        print(f"  {undisturbed(measure, within(least, most), 'Mbit/s'):.2f} Mbit/s of {wanted}")

    def assert_round_trip(self, wanted, link=0):
        """Nothing is earlier, however busy the machine, and the quickest no later than the delay makes it."""
        def late():
            delayed = min(self.round_trips(50, link))
            self.assertGreaterEqual(delayed, wanted)
            name = self.links[link].name
            self.network.emulator.tell(f"set {name} both delay=0")
            others = min(self.round_trips(50, link))
            self.network.emulator.tell(f"set {name} both delay={wanted / 2}")
            return delayed - others - wanted
        most = bound(0.5, wanted / 4)
        undisturbed(late, lambda more: more < most, "ms more than the delay and the way without")


class OneLink(EmulatorCase):
    def test_rate(self):
        self.assert_rate(self.rate, 20)

    def test_rate_changes_while_running(self):
        self.network.emulator.tell("set a down rate=5")
        self.assert_rate(lambda: self.rate(mbps=10), 5)

    def test_changes_can_be_planned(self):
        def come_back():
            self.network.emulator.tell("zero")
            with concurrent.futures.ThreadPoolExecutor() as pool:
                echoes = pool.submit(self.round_trips, 300)
                wait_until(lambda: self.counts()["in_packets"], "the first echo")
                self.network.emulator.tell("after 100 kill a both", "after 300 restore a both")
            count = len(echoes.result())
            self.assertEqual(300 - count, self.counts("up")["dead"] + self.counts("down")["dead"])
            return count
        # 0.2 s of 1.2, and what was on its way: not for the rest, and not never.
        undisturbed(come_back, within(bound(200, 100), bound(270, 290)), "echoes that come back")

    def test_counting_from_zero_loses_nothing(self):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            echoes = pool.submit(self.round_trips, 300)
            wait_until(lambda: self.counts()["in_packets"], "the first echo")
            for _ in range(20):
                self.network.emulator.tell("zero")
            self.assertEqual(len(echoes.result()), 300)

    def test_round_trip(self):
        self.assert_round_trip(40)

    def test_the_queue_drops_at_its_limit_and_delays_by_it(self):
        each = 8000 / 0.5e6
        self.network.emulator.tell("set a down rate=0.5 queue=30000")

        def burst():
            self.network.emulator.tell("zero")
            count, seconds, _ = self.send(100, 1000, 0)
            counts = self.counts()
            self.assertGreaterEqual(count, 30)
            self.assertEqual(counts["overflow"], 100 - count)
            self.assertEqual(counts["queue_peak"], 30000)
            return count, seconds / ((count - 1) * each)
        # 30 fit when the first comes; some leave while the burst is read. None leaves before its time, but
        # what the machine holds up at first is nearer to the next.
        most, least = bound(33, 45), bound(0.95, 0.8)
        undisturbed(burst, lambda got: got[0] <= most and got[1] > least, "(datagrams, share of the time)")

    def test_loss(self):
        self.network.emulator.tell("set a down rate=1000 loss=2 queue=100000000", "zero")
        sent = 8000
        count, _, _ = self.send(sent, 200, 40)
        expected, spread = sent * 0.02, math.sqrt(sent * 0.02 * 0.98)
        self.assertAlmostEqual(self.counts()["lost"], expected, delta=5 * spread)
        self.assertEqual(count, sent - self.counts()["lost"])

    def test_a_killed_link_is_silent_and_a_restored_one_is_not(self):
        self.network.emulator.tell("kill a both")
        self.assertEqual(self.round_trips(20), [])
        self.network.emulator.tell("restore a both")
        self.assertEqual(len(self.round_trips(20)), 20)
        self.network.emulator.tell("kill a down")
        self.assertEqual(self.send(20, 1000, 1)[0], 0)
        self.assertEqual(self.counts()["dead"], 20)

    def test_jitter_delays_without_reordering(self):
        self.network.emulator.tell("set a both jitter=25")

        def late():
            times = self.round_trips(200)
            self.assertGreaterEqual(min(times), 40)
            self.assertGreater(max(times) - min(times), 15)
            self.assertEqual(self.reordered(), 0)
            return statistics.quantiles(times, n=20)[-1]
        # 25 ms each way and no more: what is held up behind another waits for that one only.
        undisturbed(late, within(40, bound(91, 120)), "ms of all but a twentieth")

    def test_reordering_where_asked(self):
        self.network.emulator.tell("set a both jitter=25 reorder=1")
        self.assertGreater(self.reordered(), 10)

    def reordered(self):
        result = self.network.run("client", [
            sys.executable, PROBE, "order", self.network.address(0), PORT, 200, 0.002],
            capture_output=True, text=True, check=True)
        return int(result.stdout)

    def test_large_segments_are_packets_on_the_link(self):
        """TCP gives its device segments of 64 KB where it can; the link counts packets of its MTU."""
        self.network.emulator.tell("zero")
        self.send_tcp(1 << 20)
        counts = self.counts()
        self.assertLessEqual(counts["out_bytes"] / counts["out_packets"], 1500)
        self.assertGreaterEqual(counts["out_packets"], (1 << 20) // 1448)
        self.assertEqual(counts["refused"], 0)

    def send_tcp(self, size):
        receiver = self.network.start("client", [sys.executable, PROBE, "receive", PORT + 1],
                                      stdout=subprocess.PIPE, text=True)
        self.addCleanup(receiver.stdout.close)
        self.assertEqual(receiver.stdout.readline(), "listening\n")
        self.network.run("server", [sys.executable, PROBE, "stream", self.network.local(0), PORT + 1, size],
                         check=True)
        self.assertEqual(int(receiver.stdout.readline()), size)
        receiver.wait()

    def test_bad_commands_are_refused(self):
        for text in ("set", "set b both rate=1", "set a both speed=1", "set a both rate=-1", "after x stats",
                     "set a both rate=nan", "nonsense", "after 5"):
            with self.assertRaises(Exception, msg=text):
                self.network.emulator.ask(text)
        self.assertIn("a", self.network.emulator.ask("stats")["links"])


class TwoLinks(EmulatorCase):
    links = [Link("a", rate=20, rtt=20), Link("b", rate=10, rtt=60, shares="a")]

    def test_a_shared_queue_is_one_rate_and_two_delays(self):
        self.assert_round_trip(20, 0)
        self.assert_round_trip(60, 1)

        def both():
            # For so long that 20 ms more on one way than on the other are no part of it.
            argv = [sys.executable, PROBE, "send", self.network.local(1), PORT, 2000, 1500 - HEADERS, 20]
            other = self.network.start("server", argv)
            self.network.run("server", [*argv[:3], self.network.local(0), *argv[4:]], check=True)
            other.wait()
            _, took, size = self.ask_sink()
            return size * 8 / took / 1e6
        self.assert_rate(both, 20)


class Ends(unittest.TestCase):
    def test_nothing_stays_behind(self):
        with tempfile.TemporaryDirectory(prefix="kwik-emulator-") as directory:
            with Network([Link("a", rate=20, rtt=2)], pathlib.Path(directory)) as network:
                process, names = network.emulator.process, (network.client, network.server)
                self.assertEqual(socket.if_nametoindex("lo"), 1)
                for name in names:
                    self.assertTrue(os.path.exists(f"/run/netns/{name}"))
            self.assertIsNotNone(process.returncode)
            for name in names:
                self.assertFalse(os.path.exists(f"/run/netns/{name}"))


if __name__ == "__main__":
    unittest.main()
