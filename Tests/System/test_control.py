"""kwikctl: what it shows and what it runs."""

import subprocess
import sys
import unittest

from kwiklab import BUILD, Lab, paths_of, streams_of, wait_until
from kwiktest import SERVERS, LabCase, content


class Control(LabCase):
    @classmethod
    def prepare(cls):
        cls.lab.put("file", content(100_000, "control"))

    def test_status_for_people(self):
        self.curl("file")
        answer = self.lab.ctl("status")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        for word in (self.lab.service, self.lab.servers[0].name, "active"):
            self.assertIn(word, answer.stdout)

    def test_status_knows_an_open_stream(self):
        before = len(streams_of(self.lab.status()))
        script = f"exec 3<>/dev/tcp/127.0.0.1/{self.lab.service_port}; read -t 30"
        program = self.lab.start(["bash", "-c", script], stdin=subprocess.PIPE)
        try:
            wait_until(lambda: len(streams_of(self.lab.status())) > before, "the stream is not shown")
        finally:
            program.kill()
            program.communicate()

    def test_servers(self):
        answer = self.lab.ctl("servers")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        for server in self.lab.servers:
            self.assertIn(server.name, answer.stdout)

    def test_run_puts_a_program_under_the_shim(self):
        def act():
            words = [BUILD / "kwikctl", "run", "--", "curl", "-sS", "--fail", self.lab.url("file")]
            return self.lab.run(words, shim=False, timeout=30)
        result = self.assert_served(act, 100_000)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assert_same(result.stdout, content(100_000, "control"))

    def test_run_gives_the_programs_exit_code(self):
        self.assertEqual(self.lab.ctl("run", "--", "sh", "-c", "exit 7").returncode, 7)

    def test_bad_words_are_refused(self):
        for words in ([], ["staus"], ["status", "--jso"], ["status", "extra"], ["run", "--"]):
            answer = self.lab.ctl(*words)
            self.assertNotEqual(answer.returncode, 0, words)
            self.assertTrue(answer.stderr.strip(), words)

    def test_every_server_has_a_path(self):
        self.curl("file")
        wait_until(lambda: len({path["server"] for path in paths_of(self.lab.status())}) == SERVERS,
                   "not every server is shown")


class NoEngine(unittest.TestCase):
    def test_status_without_an_engine_says_so(self):
        with Lab() as lab:
            answer = lab.ctl("status")
            self.assertNotEqual(answer.returncode, 0)
            self.assertTrue(answer.stderr.strip())


class EngineThatComesLater(unittest.TestCase):
    CONNECTS = """
import os, socket, sys, time
while not os.path.exists(sys.argv[3]):
    socket.create_connection(("127.0.0.1", int(sys.argv[1]))).close()
    open(sys.argv[2], "w").close()
    time.sleep(0.001)
"""

    def test_a_program_that_connects_all_the_time_is_served_when_there_is_one(self):
        with Lab() as lab:
            lab.add_servers(1)
            lab.start_servers()
            begun, end = lab.directory / "begun", lab.directory / "end"
            program = lab.start([sys.executable, "-c", self.CONNECTS, lab.service_port, begun, end])
            try:
                wait_until(begun.exists, "the program did not connect")
                lab.start_engine()
                wait_until(lambda: lab.status()["counters"]["served"], "nobody asked the engine")
                end.touch()
                self.assertEqual(program.wait(10), 0)
            finally:
                program.kill()
                program.wait()
