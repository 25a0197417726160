"""One cell's machines: servers with nginx and kwik-gateway at the far ends of its links, an engine here.

Server i is reached over link i alone, as an independent machine with a link of its own would be. One more
is reached over all links at one address; and a liar gives bytes of which some are wrong.
"""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

from kwiklab import BUILD, NGINX, SHIM, TOKEN, Authority, LabError, table, wait_until
from matrix.network import EVERYWHERE, HIDDEN, Network, compiled

HTTP, UPLOAD, MPTCP, GATEWAY = 80, 81, 82, 4433
# Every this many bytes one bit of the liar's file is wrong.
LIE_EVERY = 1 << 16
ASK_SECONDS = 5
# What the kernel calls that which is nearest to Kwik's.
KERNEL_CONGESTION = {"cubic": "cubic", "bbr2": "bbr"}


class Server:
    """nginx and a gateway at one address of the server's end."""

    def __init__(self, world, name, host, files, shift=0):
        self.world, self.name, self.host, self.files = world, f"{name}.kwik.test", host, files
        self.http, self.port = HTTP + 1000 * shift, GATEWAY + 1000 * shift
        self.directory = world.directory / name
        (self.directory / "run").mkdir(mode=0o700, parents=True)
        self.roles = ["origin", "replica"]
        self.gateway = None

    def start(self, services, relayed=None):
        """`services`: name and backend's port of each. `relayed`: a service and the address of its gateway,
        to which this server relays."""
        configuration = self.directory / "nginx.conf"
        configuration.write_text(f"""user root; worker_processes 1; pid {self.directory}/nginx.pid;
error_log {self.directory}/nginx-error.log;
events {{ worker_connections 256; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_timeout 300;
  client_body_temp_path {self.directory}/body; proxy_temp_path {self.directory}/proxy;
  fastcgi_temp_path {self.directory}/fastcgi; uwsgi_temp_path {self.directory}/uwsgi;
  scgi_temp_path {self.directory}/scgi; types {{}} default_type application/octet-stream;
  server {{ listen {self.host}:{self.http}; location / {{ root {self.files}; }} }} }}
""", encoding="utf-8")
        self.world.daemon("server", f"{self.name}-nginx", [
            NGINX, "-p", self.directory, "-e", self.directory / "nginx-error.log", "-c", configuration,
            "-g", "daemon off;"])
        certificate, key = self.world.authority.issue(self.name)
        text = "[gateway]\n" + table({
            "listen": f"{self.host}:{self.port}", "server_id": self.name, "certificate": certificate,
            "key": key, "runtime_dir": self.directory / "run", "congestion": self.world.congestion})
        for service, port in services:
            text += "\n[[service]]\n" + table({
                "name": service, "backend": f"{self.host}:{port}", "backend_sees": "gateway",
                "roles": self.roles, "tokens": [TOKEN]})
        if relayed:
            name, target = relayed
            text += "\n[relay]\n" + table({"allow": [target]})
            text += "\n[[service]]\n" + table({"name": name, "roles": ["relay"], "tokens": [TOKEN]})
        configuration = self.directory / "gateway.toml"
        configuration.write_text(text, encoding="utf-8")
        self.gateway = self.world.daemon("server", f"{self.name}-gateway", [
            BUILD / "kwik-gateway", "--config", configuration])
        control = self.directory / "run" / "control.sock"
        self.gateway.ready(control.exists, f"no {control.name}")

    def entry(self, roles=None):
        return {"name": self.name, "address": f"{self.host}:{self.port}", "roles": roles or self.roles}


class World:
    """Everything of one cell; ends with all that it started."""

    def __init__(self, cell, truth, congestion="cubic"):
        """`truth`: a file that has the first bytes of all files."""
        self.cell, self.truth, self.congestion = cell, truth, congestion
        self.cleanup = contextlib.ExitStack()
        self.daemons, self.engine, self.engines = [], None, 0

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            # In memory: the disk is not what is measured.
            home = "/dev/shm" if os.path.isdir("/dev/shm") else None
            self.directory = pathlib.Path(tempfile.mkdtemp(prefix="kwik-matrix-", dir=home))
            stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
            self.network = stack.enter_context(Network(self.cell.links, self.directory))
            self.kernel_congestion = KERNEL_CONGESTION[self.congestion]
            self.network.set_congestion(self.kernel_congestion)
            stack.callback(self._stop_daemons)
            self.files, self.lies = self.directory / "files", self.directory / "lies"
            for directory in (self.files, self.lies, self.directory / "run"):
                directory.mkdir(mode=0o700)
            self.transfer = compiled("transfer", ["transfer.c"], "matrix")
            self.authority = Authority(self.directory / "ca")
            self._start()
            self.cleanup = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.cleanup.close()

    def _stop_daemons(self):
        for daemon in reversed(self.daemons):
            daemon.stop()

    def _start(self):
        count = len(self.cell.links)
        self.service = f"{self.network.address(0)}:{HTTP}"
        self.shared_service, self.upload_service = f"{EVERYWHERE}:{HTTP}", f"{EVERYWHERE}:{UPLOAD}"
        self.servers = [Server(self, "abcdefgh"[i], self.network.address(i), self.files)
                        for i in range(count)]
        self.hidden, self.hidden_service = Server(self, "hidden", HIDDEN, self.files), f"{HIDDEN}:{UPLOAD}"
        relayed = (self.hidden_service, f"{HIDDEN}:{GATEWAY}") if self.cell.uploads else None
        for server in self.servers:
            server.start([(self.service, HTTP)], relayed)
        if self.cell.uploads:
            self.hidden.start([(self.hidden_service, UPLOAD)])
        self.everywhere = Server(self, "everywhere", EVERYWHERE, self.files)
        self.everywhere.start([(self.shared_service, HTTP), (self.upload_service, UPLOAD)])
        self.liar = Server(self, "liar", self.network.address(count - 1), self.lies, 1)
        self.liar.roles = ["replica"]
        self.liar.start([(self.service, self.liar.http)])
        serve = [self.transfer, "--congestion", self.kernel_congestion]
        self.daemon("server", "uploads", [*serve, "serve", "0.0.0.0", UPLOAD, self.files])
        # At every address: a subflow joins at the one that was told.
        self.daemon("server", "mptcp", [*serve, "--mptcp", "serve", "0.0.0.0", MPTCP, self.files])

    def daemon(self, side, name, argv, **options):
        daemon = self.network.daemon(side, name, argv, **options)
        self.daemons.append(daemon)
        return daemon

    def file(self, size):
        """The name of a file of `size` bytes on every honest server; each has the same first bytes."""
        name = str(size)
        if not (self.files / name).exists():
            with open(self.truth, "rb") as truth, open(self.files / name, "wb") as copy:
                copy.write(truth.read(size))
        return name

    def lie(self, size):
        """The same file at the liar's."""
        name = self.file(size)
        if not (self.lies / name).exists():
            content = bytearray((self.files / name).read_bytes())
            for offset in range(LIE_EVERY // 2 % size, size, LIE_EVERY):
                content[offset] ^= 0x10
            (self.lies / name).write_bytes(content)
        return name

    def environment(self, shim):
        env = dict(os.environ, XDG_RUNTIME_DIR=str(self.directory / "run"), LC_ALL="C.UTF-8", no_proxy="*")
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
                     "LD_PRELOAD", "JOURNAL_STREAM", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID"):
            env.pop(name, None)
        if shim:
            env["LD_PRELOAD"] = str(SHIM)
        return env

    def start_engine(self, services):
        """A fresh engine, so that no transfer profits by what the one before it learnt.
        `services`: (name, servers or their entries, more keys of the service)."""
        self.stop_engine()
        text = ""
        for name, servers, keys in services:
            text += "[[service]]\n" + table({
                "name": name, "policy": "promote", "token": TOKEN, "congestion": self.congestion,
                "ca": self.authority.certificate, **keys})
            for server in servers:
                entry = server if isinstance(server, dict) else server.entry()
                text += "\n[[service.server]]\n" + table(entry)
        configuration = self.directory / "kwik.toml"
        configuration.write_text(text, encoding="utf-8")
        self.engines += 1
        self.engine = self.daemon(
            "client", f"kwikd-{self.engines}", [BUILD / "kwikd", "--foreground", "--config", configuration],
            env=self.environment(shim=False))
        self.engine.ready(self.answers, "no answer to status")

    def stop_engine(self):
        if self.engine:
            self.engine.stop()
            self.daemons.remove(self.engine)
            self.engine = None

    def answers(self):
        try:
            return self.status()
        except (OSError, ValueError):
            return None

    def status(self):
        """The engine's answer, straight from its control socket."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(ASK_SECONDS)
            control.connect(str(self.directory / "run" / "kwik" / "control.sock"))
            control.sendall(b'{"verb":"status"}\n')
            text = b""
            while data := control.recv(1 << 20):
                text += data
        return json.loads(text)

    def connected(self, count, seconds=2):
        """Waits until so many paths are active; how many are, then."""
        def active():
            return [path for service in self.status()["services"] for path in service["paths"]
                    if path["state"] == "active"]
        with contextlib.suppress(LabError):
            wait_until(lambda: len(active()) >= count, "paths", seconds)
        return len(active())

    def start(self, argv, shim=False, **options):
        """A program at the client's end."""
        return self.network.start("client", argv, env=self.environment(shim), stdin=subprocess.DEVNULL,
                                  **options)

    def run(self, argv, shim=False, **options):
        options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, **options}
        return self.network.run("client", argv, env=self.environment(shim), **options)

    def cpu_seconds(self):
        """Processor time of the engine so far."""
        fields = pathlib.Path(f"/proc/{self.engine.pid}/stat").read_text(encoding="ascii").split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
