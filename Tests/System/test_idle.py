"""After the last close: no lease, no stream, then no path, and the descriptors that there were before."""

import json
import os
import signal
import subprocess
import time
import unittest

from kwiklab import BUILD, Lab, paths_of, received_of, streams_of, wait_until
from kwiktest import MEBIBYTE, SERVERS, content, long

SIZE = 40 * MEBIBYTE
IDLE_SECONDS = 4
# What is to be cut off goes on for longer than a busy machine takes to start all the others.
RATE = "10 Mbit/s"
# Far more than closing takes: the machine may be busy.
PATIENCE = 60
PROGRAMS = 12


class AfterTheLastClose(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.lab.add_servers(SERVERS, max_rate=RATE)
        self.lab.put("large", content(SIZE, "idle"))
        self.lab.put("small", b"small\n")
        self.lab.start_servers()
        self.lab.start_engine(engine={"idle_path_timeout": f"{IDLE_SECONDS} s"})

    def descriptors(self):
        """How many each daemon has, by its name."""
        daemons = [self.lab.engine, *(server.gateway for server in self.lab.servers)]
        return {daemon.name: len(os.listdir(f"/proc/{daemon.process.pid}/fd")) for daemon in daemons}

    def gateways_streams(self):
        """Streams that a gateway still holds: it forgets one when no lease of it is left."""
        streams = []
        for server in self.lab.servers:
            answer = subprocess.run(
                [BUILD / "kwikctl", "--socket", server.directory / "run", "status", "--json"],
                capture_output=True, text=True, timeout=20, check=True)
            streams += streams_of(json.loads(answer.stdout))
        return streams

    def start(self, name):
        return self.lab.start(["curl", "-sS", "--fail", "-o", os.devnull, self.lab.url(name)])

    def busy(self, before):
        """How many servers have given any since then."""
        now = received_of(self.lab.status())
        return sum(count > before.get(name, 0) for name, count in now.items())

    def end_all(self):
        """Small transfers that end, and large ones that are cut off while every server is at work."""
        given = received_of(self.lab.status())
        small = [self.start("small") for _ in range(PROGRAMS)]
        large = [self.start("large") for _ in range(2)]
        try:
            for program in small:
                self.assertEqual(program.wait(PATIENCE), 0)
            wait_until(lambda: self.busy(given) == SERVERS, "not every server is at work", PATIENCE)
            for program in large:
                self.assertIsNone(program.poll(), "over before it was cut off")
        finally:
            for program in large:
                program.send_signal(signal.SIGKILL)
                program.wait()

    def settle(self):
        """Until no path is left. Returns the seconds that the paths outlived the streams."""
        wait_until(lambda: not streams_of(self.lab.status()), "the engine keeps streams", PATIENCE)
        since = time.monotonic()
        wait_until(lambda: not self.gateways_streams(), "a gateway keeps streams", PATIENCE)
        wait_until(lambda: not paths_of(self.lab.status()), "paths are left", PATIENCE)
        return time.monotonic() - since

    @long
    def test_leases_paths_and_descriptors_go(self):
        self.end_all()
        self.settle()
        # What a daemon opens once in its life is open now.
        before = self.descriptors()
        self.end_all()
        self.assertGreater(sum(self.descriptors().values()), sum(before.values()))
        lasted = self.settle()
        # Not before the time that is configured, but for the moment between two looks.
        self.assertGreater(lasted, IDLE_SECONDS / 2)
        wait_until(lambda: self.descriptors() == before,
                   f"descriptors: {before} before, not again", PATIENCE)
