"""A lab for programs of all kinds: many services, two gateways to the same machine, no replicas.

Servers listen on 127.0.0.1, programs name 127.0.0.2, where nobody listens: what does not go through the
engine is refused. Every class has its own lab; `ports` says how many services it has.
"""

import contextlib
import hashlib
import os
import pathlib
import random
import shutil

from kwiklab import NGINX, Lab, LabError, free_ports, streams_of, table, tcp_accepts, wait_until
from kwiktest import LabCase, content

# What programs connect to, and where the servers really are.
NAMED, REAL = "127.0.0.2", "127.0.0.1"
ROOT_USER = os.getuid() == 0
# Name of the TLS servers' certificate.
HOST = "machine.kwik.test"
PROGRAM_SECONDS = 60


def consecutive_ports(count):
    """Ports in a row, free on loopback: a range for passive FTP."""
    chance = random.SystemRandom()
    while True:
        first = chance.randrange(18000, 32000 - count)
        if not any(tcp_accepts(port) for port in range(first, first + count)):
            return list(range(first, first + count))


def tcp_listens(port):
    """Without a connection, for servers that take only one."""
    wanted = f":{port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as lines:
        fields = [line.split() for line in lines.readlines()[1:]]
    return any(field[1].endswith(wanted) and field[3] == "0A" for field in fields)


def as_user(user, death="INT"):
    """Words before a command that make another user run it; nothing where this process is not root's."""
    if not ROOT_USER:
        return []
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", f"--pdeathsig={death}"]


def digest(data):
    return hashlib.sha256(data).hexdigest()


class ProgramLab(Lab):
    def __init__(self, ports):
        super().__init__(ports[0])
        self.ports = ports
        # Another user's server (postgres) must reach its own directory below.
        self.directory.chmod(0o711)
        for _ in range(2):
            server = self.add_server()
            server.services = [dict(server.service, name=f"{NAMED}:{port}", backend=f"{REAL}:{port}",
                                    roles=["origin"]) for port in ports]

    def engine_text(self, servers, service=None, engine=None):
        text = "[engine]\nidle_path_timeout = \"1 h\"\n"
        for port in self.ports:
            text += "\n[[service]]\n" + table({
                "name": f"{NAMED}:{port}", "policy": "fail", "replicas": "never",
                "ca": self.authority.certificate, "token": servers[0].service["tokens"][0]})
            for server in servers:
                text += "\n[[service.server]]\n" + table({
                    "name": server.name, "address": f"{REAL}:{server.gateway_port}", "roles": ["origin"]})
        return text

    def serve(self, name, argv, port, **options):
        """A server that listens on a port of 127.0.0.1."""
        daemon = self.daemon(name, argv, **options)
        daemon.ready(lambda: tcp_listens(port), f"no listener on port {port}")
        return daemon

    def serve_nginx(self, name, servers):
        """nginx with `server { … }` blocks; its directory, where `files` is."""
        home = self.directory / name
        (home / "files").mkdir(parents=True)
        user = "user root;" if ROOT_USER else ""
        places = "".join(f"  {kind}_temp_path {home}/{kind};\n"
                         for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (home / "nginx.conf").write_text(
            f"{user} worker_processes 1; pid {home}/nginx.pid;\nevents {{ worker_connections 1024; }}\n"
            f"http {{ access_log {home}/access.log; sendfile on; client_max_body_size 64m;\n{places}"
            "  types { text/html html; } default_type application/octet-stream;\n"
            f"{servers(home)} }}\n", encoding="utf-8")
        return home, [NGINX, "-p", home, "-e", home / "error.log", "-c", home / "nginx.conf",
                      "-g", "daemon off;"]


class ProgramsCase(LabCase):
    """Programs against servers behind two gateways; `prepare` starts the servers."""

    ports = 1

    @classmethod
    def make_ports(cls):
        return free_ports(cls.ports)

    @classmethod
    def setUpClass(cls):
        cls.lab = ProgramLab(cls.make_ports())
        try:
            cls.work = cls.lab.directory / "work"
            cls.work.mkdir()
            cls.prepare()
            for server in cls.lab.servers:
                server.start_gateway()
            cls.lab.start_engine()
        except BaseException:
            print(cls.lab.log_tails())
            cls.lab.close()
            raise

    @classmethod
    def bulk(cls, name, size):
        """A file of `size` bytes in the work directory."""
        path = cls.work / name
        path.write_bytes(content(size, name))
        return path

    def moved(self):
        """Payload bytes that the engine has received and sent so far."""
        paths = [path for service in self.lab.status()["services"] for path in service["paths"]]
        return sum(path["received_bytes"] for path in paths), sum(path["sent_bytes"] for path in paths)

    def assert_moved(self, action, down=0, up=0, connections=1):
        """Runs `action`: the engine took the connections and carried so many bytes each way or more."""
        before, counters = self.moved(), self.lab.status()["counters"]
        result = action()
        # A program may end before the last of what it wrote is on its way.
        with contextlib.suppress(LabError):
            wait_until(lambda: self.moved()[1] - before[1] >= up, "the last bytes", every=0.1)
        got_down, got_up = (after - then for after, then in zip(self.moved(), before))
        self.assertGreaterEqual(got_down, down, "bytes that the engine received")
        self.assertGreaterEqual(got_up, up, "bytes that the engine sent")
        after = self.lab.status()
        served, native = (after["counters"][key] - counters[key] for key in ("served", "native"))
        self.assertGreaterEqual(served, connections, "connections that the engine took")
        self.assertEqual(native, 0, "connections that the engine gave up")
        parts = [part for stream in streams_of(after, "finished_streams", "streams")
                 for part in stream["parts"]]
        self.assertEqual([part for part in parts if part["role"] != "primary"], [], "replicas = never")
        return result

    def program(self, *words, timeout=PROGRAM_SECONDS, **options):
        """Output of a program under the shim, which must succeed."""
        result = self.lab.run(words, timeout=timeout, **options)
        self.assertEqual(result.returncode, 0, b"%s%s" % (result.stderr or b"", result.stdout or b""))
        return result.stdout

    def assert_same_file(self, got, wanted):
        self.assert_same(pathlib.Path(got).read_bytes(), pathlib.Path(wanted).read_bytes())

    def url(self, index, name="", scheme="http", host=NAMED):
        return f"{scheme}://{host}:{self.lab.ports[index]}/{name}"


def own_directory(path, user):
    """A directory that belongs to a server's user, where this process is root's."""
    path.mkdir()
    if ROOT_USER:
        shutil.chown(path, user)
    return path
