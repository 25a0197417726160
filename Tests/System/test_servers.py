"""Unmodified servers under the shim: Kwik's streams beside TCP, with the client's own address."""

import pathlib
import socket
import subprocess
import sys

from kwiklab import SHIM, descendants, wait_until
from kwiktest import MEBIBYTE, content, long
from programlab import NAMED, REAL, ROOT_USER, ProgramsCase, as_user, own_directory

PEER = pathlib.Path(__file__).with_name("server_peer.py")
# Who runs the workers of a server that root has started.
OTHER_USER = "www-data"


class ServersCase(ProgramsCase):
    """Servers under the shim, behind one gateway on their machine."""

    @classmethod
    def prepare(cls):
        del cls.lab.servers[1:]
        server = cls.lab.servers[0]
        # Servers of other users read there.
        cls.gateway_directory = server.directory / "run"
        cls.gateway_directory.chmod(0o755)
        for service in server.services:
            service["backend_sees"] = "client"
        cls.serve_all()

    @classmethod
    def serve_all(cls):
        """Starts a server on each port."""

    @classmethod
    def serve_under(cls, name, argv, port, preload=True):
        env = dict(cls.lab.environment(shim=preload), KWIK_GATEWAY_DIR=str(cls.gateway_directory),
                   KWIK_TEST_PRELOAD=str(SHIM))
        return cls.lab.serve(name, argv, port, env=env)


class Nginx(ServersCase):
    """Three workers of another user, each accepting on the one listener."""

    @classmethod
    def serve_all(cls):
        port = cls.lab.ports[0]
        home, argv = cls.lab.serve_nginx("nginx", lambda home: (
            f"log_format who '$remote_addr $remote_port $request_uri'; server {{ listen {REAL}:{port};"
            f" access_log {home}/who.log who; allow {REAL}; deny all;"
            f" location / {{ root {home}/files; }} }}"))
        text = (home / "nginx.conf").read_text(encoding="utf-8")
        text = text.replace("user root", f"user {OTHER_USER}").replace("processes 1;", "processes 3;")
        (home / "nginx.conf").write_text(text, encoding="utf-8")
        cls.file = content(4 * MEBIBYTE, "nginx")
        (home / "files" / "file").write_bytes(cls.file)
        (home / "files" / "small").write_bytes(b"small\n")
        cls.log = home / "who.log"
        cls.nginx = cls.serve_under("nginx", argv, port)

    def logged(self, lines):
        """nginx writes its line after the answer."""
        def check():
            text = self.log.read_text(encoding="utf-8") if self.log.exists() else ""
            return text if all(line in text.splitlines() for line in lines) else None
        return wait_until(check, f"{lines} in nginx's log")

    def test_the_access_log_shows_the_client(self):
        def act():
            return self.program("curl", "-sS", "--fail", "-o", self.work / "file", "-w", "%{local_port}",
                                self.url(0, "file")).decode()
        port = self.assert_moved(act, len(self.file))
        self.assert_same((self.work / "file").read_bytes(), self.file)
        self.logged([f"{REAL} {port} /file"])

    def test_each_of_many_at_once_and_plain_tcp_beside(self):
        before = self.lab.status()["counters"]["served"]
        kinds = [True, False] * 12
        running = [self.lab.start(
            ["curl", "-sS", "--fail", "-o", "/dev/null", "-w", "%{local_port}",
             self.url(0, f"small?{index}", host=NAMED if kwik else REAL)], shim=kwik,
            stdout=subprocess.PIPE) for index, kwik in enumerate(kinds)]
        ports = [process.communicate(timeout=30)[0].decode() for process in running]
        self.assertEqual([process.returncode for process in running], [0] * len(kinds))
        self.logged([f"{REAL} {port} /small?{index}" for index, port in enumerate(ports)])
        self.assertEqual(self.lab.status()["counters"]["served"] - before, 12)
        self.assertEqual(len(descendants(self.nginx.pid)), 3)


class Kinds(ServersCase):
    """Servers of every build: threads, an event loop, workers, shared ports, inetd."""

    kinds = ("threads", "async", "prefork", "reuseport", "inetd")
    ports = len(kinds)

    @classmethod
    def serve_all(cls):
        cls.daemons = {}
        for kind, port in zip(cls.kinds, cls.lab.ports):
            words = [sys.executable, PEER, kind, port]
            cls.daemons[kind] = cls.serve_under(kind, words, port, preload=kind != "inetd")

    def port(self, kind):
        return self.lab.ports[self.kinds.index(kind)]

    def ask(self, kind, size=MEBIBYTE):
        words = [sys.executable, PEER, "ask", self.port(kind), size]
        said = self.assert_moved(lambda: self.program(*words), down=80, up=size).decode().strip()
        self.assertEqual(said, "same")

    def test_threads(self):
        self.ask("threads")

    def test_event_loop(self):
        self.ask("async")

    def test_workers(self):
        for _ in range(8):
            self.ask("prefork", 1000)

    def test_workers_that_share_a_port(self):
        for _ in range(8):
            self.ask("reuseport", 1000)

    def test_a_program_that_inherits_the_connection(self):
        self.ask("inetd")

    def test_a_reset_is_a_reset(self):
        port = self.program(sys.executable, PEER, "reset", self.port("threads")).decode().strip()
        reset = 104
        wait_until(lambda: f"{REAL} {port} {reset}" in self.daemons["threads"].text(), "the reset")

    def test_without_the_file_it_is_the_gateways_address(self):
        """And not that of some local program, which a server may trust."""
        clients = self.gateway_directory / "clients"
        clients.chmod(0o666)
        try:
            said = self.program(sys.executable, PEER, "ask", self.port("threads"), 10).decode()
        finally:
            clients.chmod(0o644)
        self.assertIn("b'127.75.", said)

    def test_no_other_user_can_come_from_the_gateways_port(self):
        head = (self.gateway_directory / "clients").read_bytes()[:32]
        self.assertEqual(head[:8], b"KWIKCLI1")
        port = int.from_bytes(head[16:18], "big")
        script = ("import socket, sys\n"
                  "for option in (None, socket.SO_REUSEADDR, socket.SO_REUSEPORT):\n"
                  "    with socket.socket() as s:\n"
                  "        if option: s.setsockopt(socket.SOL_SOCKET, option, 1)\n"
                  "        try: s.bind(('127.75.0.9', int(sys.argv[1]))); print('bound')\n"
                  "        except OSError as error: print(error.errno)\n")
        if not ROOT_USER:
            self.skipTest("needs root, to be another user")
        result = self.lab.run([*as_user(OTHER_USER), "/usr/bin/python3", "-c", script, port], shim=False)
        self.assertEqual(result.stdout.split(), [b"98"] * 3, result.stderr)


class GatewayGone(ServersCase):
    def serve_one(self):
        return self.serve_under("threads", [sys.executable, PEER, "threads", self.lab.ports[0]],
                                self.lab.ports[0])

    def ask(self, shim=True):
        named = [sys.executable, PEER, "ask", self.lab.ports[0], 10]
        if not shim:
            named = [sys.executable, "-c", f"import server_peer as p; p.NAMED = p.REAL; "
                     f"p.ask({self.lab.ports[0]}, 10)"]
        return self.program(*named, shim=shim, cwd=PEER.parent).decode().strip()

    def test_server_and_gateway_come_and_go(self):
        server, gateway = self.serve_one(), self.lab.servers[0]
        self.assertEqual(self.ask(), "same")
        server.stop()
        with self.assertRaises(AssertionError):
            self.ask()
        server = self.serve_one()
        self.assertEqual(self.ask(), "same")
        gateway.gateway.kill()
        self.assertEqual(self.ask(shim=False), "same")
        gateway.start_gateway()
        wait_until(lambda: self.lab.run([sys.executable, PEER, "ask", str(self.lab.ports[0]), "10"],
                                        cwd=PEER.parent).stdout == b"same\n", "Kwik again", every=0.5)
        with socket.create_connection((REAL, self.lab.ports[0])) as plain:
            plain.shutdown(socket.SHUT_WR)
            own = plain.getsockname()
            self.assertTrue(plain.recv(200).startswith(f"{own[0]} {own[1]} True".encode()))
        server.stop()


@long
class Databases(ServersCase):
    """Servers that decide by the client's address."""

    ports = 2

    @classmethod
    def serve_all(cls):
        postgres, redis = cls.lab.ports
        programs = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        cluster = own_directory(cls.lab.directory / "postgres", "postgres")
        subprocess.run([*as_user("postgres"), programs / "initdb", "-D", cluster / "data", "-A", "trust",
                        "-U", "postgres", "-N", "-E", "UTF8", "--locale=C.UTF-8"], check=True,
                       capture_output=True, cwd=cluster)
        (cluster / "data" / "pg_hba.conf").write_text(
            f"host all all {REAL}/32 trust\nhost all all 0.0.0.0/0 reject\n", encoding="ascii")
        cls.serve_under("postgres", [
            *as_user("postgres"), programs / "postgres", "-D", cluster / "data", "-p", postgres,
            "-c", f"listen_addresses={REAL}", "-c", "unix_socket_directories=", "-c", "fsync=off"], postgres)
        cls.serve_under("redis", ["redis-server", "--bind", REAL, "--port", redis, "--save", "",
                                  "--dir", cls.lab.directory], redis)

    def test_postgres(self):
        words = ["psql", "-X", "-q", "-A", "-t", "-h", NAMED, "-p", self.lab.ports[0], "-U", "postgres", "-c",
                 "select client_addr, client_port, inet_client_port() from pg_stat_activity"
                 " where pid = pg_backend_pid()", "postgres"]

        def act():
            return self.program(*words, env={"PGSSLMODE": "disable"}).decode()
        address, port, same = self.assert_moved(act, 10, 10).strip().split("|")
        self.assertEqual((address, port), (REAL, same))

    def test_redis(self):
        words = ["redis-cli", "-h", NAMED, "-p", self.lab.ports[1], "client", "info"]
        said = self.assert_moved(lambda: self.program(*words), 10, 10).decode()
        self.assertIn(f" addr={REAL}:", said)
