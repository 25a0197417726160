"""What gateway and engine can be told beside the usual: backends, credentials, ways to be started."""

import os
import signal
import socket
import subprocess
import time
import unittest

from kwiklab import BUILD, Authority, Lab, servers_of, wait_until
from kwiktest import MEBIBYTE, LabCase, content


class UnixBackend(LabCase):
    """Each nginx listens on a Unix socket beside its port, and the gateway uses only that."""

    @classmethod
    def prepare(cls):
        cls.file = content(6 * MEBIBYTE, "unix")
        cls.lab.put("file", cls.file)
        for server in cls.lab.servers:
            path = server.directory / "backend.sock"
            server.service["backend"] = f"unix:{path}"
            start = server.start_nginx
            server.start_nginx = lambda start=start, path=path: start(f"listen unix:{path};")

    def test_bulk(self):
        got = self.assert_served(lambda: self.curl("file"), 6 * MEBIBYTE, servers=2)
        self.assert_same(got, self.file)


class Cap(unittest.TestCase):
    def test_max_rate_covers_all_clients_together(self):
        size, megabits = 4 * MEBIBYTE, 40
        with Lab() as lab:
            lab.add_servers(1, max_rate=f"{megabits} Mbit/s")
            lab.put("file", content(size, "cap"))
            lab.start_servers()
            lab.start_engine()
            begun = time.monotonic()
            running = [lab.start(["curl", "-sS", "--fail", lab.url("file")], stdout=subprocess.DEVNULL)
                       for _ in range(3)]
            self.assertEqual([process.wait(60) for process in running], [0, 0, 0])
            seconds = time.monotonic() - begun
            self.assertGreater(lab.status()["counters"]["served"], 2)
        # Sooner would be faster than the cap; a burst of a tenth of a second is none.
        self.assertGreater(seconds, 3 * size * 8 / (megabits * 1e6) - 0.1)


class ClientCertificate(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.clients = Authority(self.lab.directory / "clients", "Clients' CA")
        self.server = self.lab.add_server(client_ca=self.clients.certificate)
        self.server.service["tokens"] = None
        self.lab.put("file", b"for holders of a certificate\n")
        self.lab.start_servers()

    def fetch(self):
        result = self.lab.run(["curl", "-sS", "--fail", self.lab.url("file")])
        self.assertEqual(result.stdout, b"for holders of a certificate\n", result.stderr)
        return self.lab.status()["counters"]["served"]

    def engine(self, identity):
        certificate, key = identity or (None, None)
        self.lab.start_engine(service={"token": None, "certificate": certificate, "key": key})

    def test_the_right_one_is_accepted(self):
        self.engine(self.clients.issue("client.kwik.test"))
        self.assertEqual(self.fetch(), 1)

    def refused(self):
        return servers_of(self.lab.status())[self.server.name]["refused"]

    def test_none_is_refused(self):
        self.engine(None)
        self.assertEqual(self.fetch(), 0)
        self.assertTrue(wait_until(self.refused, "status to say that the path was refused"))

    def test_a_strangers_is_refused(self):
        self.engine(Authority(self.lab.directory / "stranger", "A stranger's CA").issue("client.kwik.test"))
        self.assertEqual(self.fetch(), 0)
        self.assertTrue(wait_until(self.refused, "status to say that the path was refused"))


class Starting(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.lab.add_server()
        self.lab.put("file", b"hello\n")
        self.lab.start_servers()
        self.configuration = self.lab.directory / "engine.toml"
        self.configuration.write_text(self.lab.engine_text(self.lab.servers), encoding="utf-8")

    def fetch(self):
        self.assertEqual(self.lab.run(["curl", "-sS", "--fail", self.lab.url("file")]).stdout, b"hello\n")

    def test_socket_activation(self):
        """The service manager holds engine.sock; whoever connects before the engine runs is not lost."""
        directory = self.lab.runtime / "kwik"
        directory.mkdir(mode=0o700)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(directory / "engine.sock"))
            listener.listen()
            env = dict(self.lab.environment(shim=False), LISTEN_FDS="1", LISTEN_FDNAMES="engine")
            words = ["sh", "-c", 'LISTEN_PID=$$ exec "$0" "$@"', BUILD / "kwikd", "--config",
                     self.configuration]
            with open(self.lab.logs / "kwikd.log", "ab") as log:
                engine = subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          pass_fds=(3,), preexec_fn=lambda: os.dup2(listener.fileno(), 3))
        self.addCleanup(engine.wait)
        self.addCleanup(engine.kill)
        wait_until(lambda: self.lab.ctl("status").returncode == 0, "the engine")
        self.fetch()
        self.assertEqual(self.lab.status()["counters"]["served"], 1)
        engine.terminate()
        self.assertEqual(engine.wait(10), 0)

    def test_the_service_managers_watchdog_is_fed(self):
        manager = self.lab.directory / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
            notified.bind(str(manager))
            notified.settimeout(30)
            env = dict(self.lab.environment(shim=False), NOTIFY_SOCKET=str(manager), WATCHDOG_USEC="200000")
            words = [BUILD / "kwikd", "--foreground", "--config", self.configuration]
            begun = time.monotonic()
            engine = self.lab.daemon("kwikd", words, env=env)
            told = [notified.recv(100) for _ in range(14)]
            self.assertEqual(told, [b"READY=1"] + [b"WATCHDOG=1"] * 13)
            # Half the time that it is given, each; not as often as it comes by.
            self.assertGreater(time.monotonic() - begun, 1.1)
            engine.stop()
            self.assertEqual(notified.recv(100), b"STOPPING=1")

    def test_a_second_engine_does_not_take_the_first_ones_place(self):
        self.lab.start_engine()
        words = [BUILD / "kwikd", "--foreground", "--config", self.configuration]
        second = self.lab.run(words, shim=False, timeout=10)
        self.assertGreater(second.returncode, 0)
        self.assertTrue(second.stderr)
        self.fetch()
        self.assertEqual(self.lab.status()["counters"]["served"], 1)

    def test_kwikctl_run_starts_an_engine_if_none_runs(self):
        home = self.lab.directory / "home"
        (home / "kwik").mkdir(parents=True)
        (home / "kwik" / "kwik.toml").write_text(self.configuration.read_text(encoding="utf-8"),
                                                 encoding="utf-8")
        words = [BUILD / "kwikctl", "run", "--", "curl", "-sS", "--fail", self.lab.url("file")]
        result = self.lab.run(words, shim=False, env={"XDG_CONFIG_HOME": str(home)})
        self.assertEqual(result.stdout, b"hello\n", result.stderr)
        status = self.lab.status()
        os.kill(status["engine"]["pid"], signal.SIGTERM)
        self.assertEqual(status["counters"]["served"], 1)
        wait_until(lambda: self.lab.ctl("status").returncode != 0, "the engine to stop")
