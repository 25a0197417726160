"""The demonstration itself, at full size, as a newcomer runs it."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import unittest

from kwiktest import long, needs_servers

DEMO = pathlib.Path(__file__).with_name("demo.py")
# How it is shown: a machine too busy for 150 Mbit/s shows the same with less of them.
SIZES = ([], [], ["--rate", "20", "--mib", "80"])
LAST_LINE = re.compile(r"^demo: single_mbps=[\d.]+ aggregate_mbps=[\d.]+ speedup=[\d.]+ "
                       r"longest_stall_ms=\d+ digest=ok$")


@long
@needs_servers(3)
class Demonstration(unittest.TestCase):
    def demonstrate(self, *options):
        """What is slow for a fault is so each time; a wrong byte is not shown again."""
        for size in SIZES:
            result = subprocess.run(
                [sys.executable, DEMO, *options, *size], capture_output=True, text=True, timeout=500)
            last = result.stdout.splitlines()[-1] if result.stdout else result.stderr
            print(last)
            if result.returncode == 0 or not last.endswith("digest=ok"):
                break
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertRegex(result.stdout.splitlines()[-1], LAST_LINE)

    def test_three_servers_are_three_times_as_fast(self):
        self.demonstrate()

    def test_a_silent_replica(self):
        self.demonstrate("--kill", "replica")

    def test_a_silent_primary(self):
        self.demonstrate("--kill", "primary")

    def test_a_crashed_replica(self):
        self.demonstrate("--kill", "crash")

    def test_interrupted_it_leaves_nothing_behind(self):
        with tempfile.TemporaryDirectory() as directory:
            process = subprocess.Popen(
                [sys.executable, "-u", DEMO, "--mib", "20"], text=True, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, env=dict(os.environ, TMPDIR=directory))
            for line in process.stdout:
                if line.startswith("curl "):
                    break
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
            self.assertEqual(process.returncode, 2)
            self.assertEqual(list(pathlib.Path(directory).iterdir()), [])
