"""What the system tests share: a lab per class, marks, assertions that the engine carried the bytes."""

import os
import random
import unittest

from kwiklab import Lab, paths_of, streams_of

# Servers that each lab has: three, or one where the suite runs with a single configured server.
SERVERS = int(os.environ.get("KWIK_SERVERS", "3"))
MEBIBYTE = 1 << 20
# A cap per server low enough that the network, not the processor, limits a download: then replicas help.
RATE = "40 Mbit/s"
BULK_BYTES = 12 * MEBIBYTE


def long(test):
    """A test of `make system-test` only."""
    test.kwik_long = True
    return test


def needs_servers(count):
    """A test that has no meaning with fewer configured servers."""
    def mark(test):
        test.kwik_servers = count
        return test
    return mark


def undisturbed(measure, holds, what, times=5):
    """The first result of `measure` that `holds` is true of; fails if none of so many is.

    Other work on the machine spoils some measurements, a fault in what is measured spoils all. What no load
    excuses, `measure` asserts by itself, so that it is right every time.
    """
    results = []
    while len(results) < times:
        results.append(measure())
        if len(results) > 1:
            print(f"  measured again: {what}: {results}", flush=True)
        if holds(results[-1]):
            return results[-1]
    raise AssertionError(f"{what}, not once in {times} times: {results}")


def content(size, seed):
    """Bytes that no program compresses, the same on every run."""
    return random.Random(seed).randbytes(size)


class LabCase(unittest.TestCase):
    """A lab with SERVERS servers and an engine, shared by the tests of a class."""

    rate = RATE
    policy = "fail"

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab()
        try:
            cls.lab.add_servers(SERVERS, max_rate=cls.rate)
            cls.prepare()
            cls.lab.start_servers()
            cls.lab.start_engine(service={"policy": cls.policy})
        except BaseException:
            print(cls.lab.log_tails())
            cls.lab.close()
            raise

    @classmethod
    def prepare(cls):
        """Files and settings, before the daemons start."""

    @classmethod
    def tearDownClass(cls):
        cls.lab.close()

    def carried(self):
        """Bytes of payload that the engine has received on its paths so far, by server."""
        sums = {}
        for path in paths_of(self.lab.status()):
            sums[path["server"]] = sums.get(path["server"], 0) + path["received"]
        return sums

    def served(self):
        """Connections of programs that the engine has taken."""
        return self.lab.status()["counters"]["served"]

    def assert_carried(self, before, size, servers=1, what=""):
        """Since `before` the engine received `size` bytes or more, from as many servers or more."""
        after = self.carried()
        gained = {name: count - before.get(name, 0) for name, count in after.items()}
        self.assertGreaterEqual(sum(gained.values()), size, f"the engine did not carry it{what}: {gained}")
        givers = [name for name, count in gained.items() if count > 0]
        self.assertGreaterEqual(len(givers), min(servers, SERVERS), f"too few servers gave any: {gained}")

    def assert_served(self, action, size, servers=1):
        """Runs `action`; the engine must have carried `size` bytes for it."""
        before, served = self.carried(), self.served()
        result = action()
        taken = self.served() - served
        self.assertGreater(taken, 0, "the engine was not asked")
        self.assert_carried(before, size, servers if size else 0, f" of {taken} connections")
        return result

    def assert_same(self, got, wanted):
        """Equal bytes, with a short message where they differ."""
        if got != wanted:
            pairs = enumerate(zip(got, wanted))
            differs = next((index for index, (a, b) in pairs if a != b), min(len(got), len(wanted)))
            self.fail(f"{len(got)} bytes came, {len(wanted)} wanted; the first difference is at {differs}")

    def curl(self, name, *options, timeout=60, shim=True):
        """The bytes that an unmodified curl gets."""
        words = ["curl", "-sS", "--fail", *options, self.lab.url(name)]
        result = self.lab.run(words, timeout=timeout, shim=shim)
        self.assertEqual(result.returncode, 0, result.stderr.decode(errors="replace"))
        return result.stdout

    def streams(self):
        return streams_of(self.lab.status())
