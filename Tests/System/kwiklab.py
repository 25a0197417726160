"""A private Kwik world in one temporary directory: a CA, servers (nginx + kwik-gateway), an engine, programs.

    with Lab() as lab:
        a, b, c = lab.add_servers(3, max_rate="50 Mbit/s")
        lab.start_engine([a, b, c])
        lab.run(["curl", "-sS", lab.url("file")])

Everything listens on loopback. Every process is a child, dies with the lab, and is ended by its own id.
"""

import contextlib
import ctypes
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("KWIK_BUILD", ROOT / "build"))
SHIM = BUILD / "libkwik.so"
TOKEN = "a-token-for-this-lab-only"
NGINX = "/usr/sbin/nginx"
# Seconds that a daemon, or anything else that is sure to come, may take on a busy machine.
READY_SECONDS = 30
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """The lab itself failed: a daemon that did not start, a wait that ended."""


def wait_until(condition, what, seconds=READY_SECONDS, every=0.02):
    """Polls `condition` until it is true and returns its value; LabError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"waited {seconds} s in vain: {what}")
        time.sleep(every)


# None is given out twice before all were: one that a lab has chosen is not bound until its daemon starts.
PORTS = itertools.cycle(random.SystemRandom().sample(range(18000, 32000), 14000))


def free_ports(count):
    """Ports free for TCP and UDP on loopback, below the range that the kernel gives out by itself."""
    found = []
    while len(found) < count:
        port = next(PORTS)
        with contextlib.ExitStack() as stack:
            try:
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    probe = stack.enter_context(socket.socket(socket.AF_INET, kind))
                    probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    return found


def udp_bound(port):
    for name in ("udp", "udp6"):
        # Of this thread's network namespace, which may be another one than the process's.
        with open(f"/proc/thread-self/net/{name}", encoding="ascii") as table:
            if any(line.split()[1].endswith(f":{port:04X}") for line in table.readlines()[1:]):
                return True
    return False


def tcp_accepts(port, host="127.0.0.1"):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        return probe.connect_ex((host.strip("[]"), port)) == 0


def descendants(pid):
    """Ids of a process's children and theirs, as they are now."""
    found = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except FileNotFoundError:
        return found
    for task in tasks:
        with contextlib.suppress(OSError):
            children = pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text(encoding="ascii")
            for child in map(int, children.split()):
                found += [child, *descendants(child)]
    return found


def send_signal(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


class Daemon:
    """One child process whose output goes into a file; with the processes that it starts itself."""

    def __init__(self, name, argv, log, env=None, death=signal.SIGKILL):
        self.name, self.log = name, log
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=env, start_new_session=True,
                preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, int(death), 0, 0, 0))

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def ready(self, condition, what):
        def check():
            if not self.alive():
                raise LabError(f"{self.name} ended with {self.process.returncode}:\n{self.text()}")
            return condition()
        wait_until(check, f"{self.name}: {what}")

    def text(self):
        return pathlib.Path(self.log).read_text(encoding="utf-8", errors="replace")

    def signal(self, number):
        """To the process and to all that it started: a silent server is one whose workers are silent too."""
        for pid in [self.pid, *descendants(self.pid)]:
            send_signal(pid, number)

    def kill(self):
        """SIGKILL to the whole family, the parent first: it would start workers anew."""
        family = [self.pid, *descendants(self.pid)] if self.alive() else []
        for pid in family:
            send_signal(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """The polite way first, for two seconds, if the process listens at all; workers may outlive it."""
        workers = descendants(self.pid) if self.alive() else []
        if self.alive():
            self.signal(signal.SIGCONT)
            send_signal(self.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
        self.kill()
        for pid in workers:
            send_signal(pid, signal.SIGKILL)


class Authority:
    """A CA and the certificates that it signs, made with openssl."""

    def __init__(self, directory, name="Kwik lab CA"):
        self.directory, self.name = directory, name
        directory.mkdir(parents=True, exist_ok=True)
        self.certificate = directory / "ca.pem"
        self.key = directory / "ca.key"
        self._make(self.key, self.certificate, name, ["-addext", "basicConstraints=critical,CA:TRUE"])

    def _make(self, key, certificate, name, options):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-days", "30", "-subj", f"/CN={name}", "-keyout", key, "-out", certificate, *options],
            check=True, capture_output=True)

    def issue(self, name):
        """(certificate, key) for a DNS name."""
        key, certificate = self.directory / f"{name}.key", self.directory / f"{name}.pem"
        self._make(key, certificate, name, [
            "-CA", self.certificate, "-CAkey", self.key, "-addext", f"subjectAltName=DNS:{name}",
            "-addext", "basicConstraints=critical,CA:FALSE"])
        return certificate, key


def pin_of(certificate):
    """The SPKI SHA-256 pin of a PEM certificate."""
    public = subprocess.run(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"],
                            check=True, capture_output=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=public,
                         check=True, capture_output=True).stdout
    digest = subprocess.run(["openssl", "dgst", "-sha256", "-binary"], input=der,
                            check=True, capture_output=True).stdout
    text = subprocess.run(["openssl", "base64"], input=digest, check=True, capture_output=True).stdout
    return "sha256//" + text.decode().strip()


def quoted(value):
    """A value as TOML: JSON's strings, numbers, booleans and lists are TOML's."""
    return json.dumps(str(value) if isinstance(value, pathlib.Path) else value)


def table(values):
    return "".join(f"{key} = {quoted(value)}\n" for key, value in values.items() if value is not None)


class Server:
    """One independent machine of the lab: its own files, its own nginx, its own gateway."""

    def __init__(self, lab, name, backend_port, gateway_port):
        self.lab, self.name = lab, name
        self.backend_port, self.gateway_port = backend_port, gateway_port
        self.address = self.backend_host = "127.0.0.1"
        self.directory = lab.directory / name
        self.files = self.directory / "files"
        self.files.mkdir(parents=True)
        self.certificate, self.key = lab.authority.issue(name)
        (self.directory / "run").mkdir(mode=0o700)
        self.backend = self.gateway = None
        # Keys of the gateway's file and of its one service, for tests to change.
        self.settings = {"listen": f"127.0.0.1:{gateway_port}", "server_id": name,
                         "certificate": self.certificate, "key": self.key,
                         "runtime_dir": self.directory / "run"}
        self.service = {"name": lab.service, "backend": f"127.0.0.1:{backend_port}",
                        "backend_sees": "gateway", "roles": ["origin", "replica"], "tokens": [TOKEN]}
        self.services = [self.service]
        self.relay = None

    def start_nginx(self, options=""):
        configuration = self.directory / "nginx.conf"
        user = "user root;" if os.getuid() == 0 else ""
        configuration.write_text(f"""{user} worker_processes 1; pid {self.directory}/nginx.pid;
error_log {self.directory}/nginx-error.log;
events {{ worker_connections 1024; }}
http {{ access_log {self.directory}/nginx-access.log; sendfile on; tcp_nopush on;
  client_body_temp_path {self.directory}/body; proxy_temp_path {self.directory}/proxy;
  fastcgi_temp_path {self.directory}/fastcgi; uwsgi_temp_path {self.directory}/uwsgi;
  scgi_temp_path {self.directory}/scgi; types {{}} default_type application/octet-stream;
  server {{ listen {self.backend_host}:{self.backend_port}; {options}
    location / {{ root {self.files}; autoindex on; }} }} }}
""", encoding="utf-8")
        self.start_backend(
            [NGINX, "-p", self.directory, "-e", self.directory / "nginx-error.log", "-c", configuration,
             "-g", "daemon off;"], death=signal.SIGTERM)

    def start_backend(self, argv, death=signal.SIGKILL):
        """Any program that listens on this server's backend port."""
        self.backend = self.lab.daemon(f"{self.name}-backend", argv, death=death)
        port, host = self.backend_port, self.backend_host
        self.backend.ready(lambda: tcp_accepts(port, host), f"no listener on port {port}")

    def start_gateway(self):
        configuration = self.directory / "gateway.toml"
        text = "[gateway]\n" + table(self.settings)
        if self.relay:
            text += "\n[relay]\n" + table(self.relay)
        text += "".join("\n[[service]]\n" + table(service) for service in self.services)
        configuration.write_text(text, encoding="utf-8")
        self.gateway = self.lab.daemon(
            f"{self.name}-gateway", [BUILD / "kwik-gateway", "--config", configuration])
        port = self.gateway_port
        self.gateway.ready(lambda: udp_bound(port), f"no UDP socket on port {port}")

    def requests(self):
        """Lines of the nginx access log: how often this backend was asked."""
        log = self.directory / "nginx-access.log"
        return log.read_text(encoding="utf-8").splitlines() if log.exists() else []

    def signal(self, number):
        for daemon in (self.gateway, self.backend):
            if daemon and daemon.alive():
                daemon.signal(number)

    def silence(self):
        """Falls silent without a trace on the wire: no RST, no ICMP."""
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def crash(self):
        for daemon in (self.gateway, self.backend):
            if daemon:
                daemon.kill()


def paths_of(status):
    """The paths there are just now: server, state, received (bytes), rtt_ms, rate_mbps."""
    return [{"server": path["server"], "state": path["state"], "received": path["received_bytes"],
             "rtt_ms": path["rtt_ms"], "rate_mbps": path["rate_mbps"]}
            for service in status["services"] for path in service["paths"]]


def servers_of(status):
    """The servers in a status answer by name."""
    return {server["name"]: server for service in status["services"] for server in service["servers"]}


def streams_of(status, *keys):
    """The open streams of a status answer; `keys` can name finished_streams too."""
    return [stream for service in status["services"]
            for key in keys or ("streams",) for stream in service[key]]


def received_of(status):
    """Payload bytes by server, of all streams that are open or remembered: paths that are gone included."""
    sums = {}
    for stream in streams_of(status, "finished_streams", "streams"):
        for part in stream["parts"]:
            sums[part["server"]] = sums.get(part["server"], 0) + part["bytes"]
    return sums


class Lab:
    def __init__(self, service_port=None):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="kwik-lab-"))
        self.runtime = self.directory / "run"
        self.logs = self.directory / "log"
        for directory in (self.runtime, self.logs):
            directory.mkdir(mode=0o700)
        self.authority = Authority(self.directory / "ca")
        self.service_port = service_port or free_ports(1)[0]
        self.service = f"127.0.0.1:{self.service_port}"
        self.servers, self.daemons = [], []
        self.engine = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def at_client(self, argv):
        """The command that runs `argv` on the client's machine: here it is this one."""
        return argv

    def close(self):
        """Ends every process and removes every file; a second interrupt does not cut this short."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
        try:
            for daemon in reversed(self.daemons):
                daemon.stop()
            self.daemons = []
            shutil.rmtree(self.directory, ignore_errors=True)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def daemon(self, name, argv, env=None, death=signal.SIGKILL):
        started = Daemon(name, argv, self.logs / f"{name}.log", env, death)
        self.daemons.append(started)
        return started

    def add_server(self, **settings):
        """The first is the machine that programs name: its backend has the service's own address."""
        backend, gateway = free_ports(2)
        name = f"{'abcdefgh'[len(self.servers)]}.kwik.test"
        server = Server(self, name, backend if self.servers else self.service_port, gateway)
        server.settings.update(settings)
        self.servers.append(server)
        return server

    def add_servers(self, count, origins=1, **settings):
        """Each is a replica; the first `origins` may be primaries too: with one it is known which is."""
        for index in range(count):
            server = self.add_server(**settings)
            server.service["roles"] = ["origin", "replica"] if index < origins else ["replica"]
        return self.servers

    def primary(self):
        """The server that is the primary of the open streams."""
        names = {stream["primary"] for stream in streams_of(self.status())}
        if len(names) != 1:
            raise LabError(f"no single primary: {sorted(names)}")
        return next(server for server in self.servers if server.name in names)

    def put(self, name, content, servers=None):
        """The same file on each server, each with a copy of its own. `content`: bytes or a file's path."""
        for server in self.servers if servers is None else servers:
            target = server.files / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                target.write_bytes(content)
            else:
                shutil.copyfile(content, target)

    def start_servers(self):
        for server in self.servers:
            server.start_nginx()
            server.start_gateway()

    def url(self, name=""):
        return f"http://{self.service}/{name}"

    def environment(self, shim=True):
        """A program's environment: this lab's engine, and the shim unless told otherwise."""
        env = dict(os.environ, XDG_RUNTIME_DIR=str(self.runtime), LC_ALL="C.UTF-8")
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
                     "LD_PRELOAD", "JOURNAL_STREAM", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID"):
            env.pop(name, None)
        env["no_proxy"] = "*"
        # By itself a program turns from an engine that the machine keeps from answering for 50 ms.
        env["KWIK_DECISION_MS"] = str(READY_SECONDS * 1000)
        if shim:
            env["LD_PRELOAD"] = str(SHIM)
        return env

    def engine_text(self, servers, service=None, engine=None):
        """The engine's configuration: this lab's one service with the given servers."""
        service = {"name": self.service, "policy": "fail", "token": TOKEN,
                   "ca": self.authority.certificate, **(service or {})}
        text = ("[engine]\n" + table(engine) + "\n" if engine else "") + "[[service]]\n" + table(service)
        for server in servers:
            text += "\n[[service.server]]\n" + table({
                "name": server.name, "address": f"{server.address}:{server.gateway_port}",
                "roles": server.service["roles"], "pin": getattr(server, "pin", None)})
        return text

    def start_engine(self, servers=None, service=None, engine=None):
        self.stop_engine()
        configuration = self.directory / "engine.toml"
        text = self.engine_text(servers or self.servers, service, engine)
        configuration.write_text(text, encoding="utf-8")
        command = self.at_client([BUILD / "kwikd", "--foreground", "--config", configuration])
        self.engine = self.daemon("kwikd", command,
                                  env=self.environment(shim=False))
        self.engine.ready(lambda: self.ctl("status", "--json").returncode == 0, "no answer to kwikctl status")

    def stop_engine(self):
        if self.engine:
            self.engine.stop()
            self.daemons.remove(self.engine)
            self.engine = None

    def ctl(self, *words):
        return subprocess.run([BUILD / "kwikctl", *words], env=self.environment(shim=False),
                              capture_output=True, text=True, timeout=20)

    def status(self):
        answer = self.ctl("status", "--json")
        if answer.returncode != 0:
            raise LabError(f"kwikctl status: {answer.stderr.strip()}")
        return json.loads(answer.stdout)

    def status_of(self, server):
        """A gateway's own."""
        words = [BUILD / "kwikctl", "--socket", server.directory / "run", "status", "--json"]
        return json.loads(self.run(words, shim=False).stdout)

    def counters(self, server):
        """A gateway's."""
        return self.status_of(server)["counters"]

    def run(self, argv, shim=True, timeout=60, **options):
        """A program to its end, under the shim; its result with bytes of output."""
        env = dict(self.environment(shim), **options.pop("env", {}))
        return subprocess.run([str(word) for word in self.at_client(argv)], env=env, timeout=timeout,
                              **{"capture_output": True, "stdin": subprocess.DEVNULL, **options})

    def start(self, argv, shim=True, **options):
        """A program that goes on, under the shim; the caller waits for it."""
        return subprocess.Popen([str(word) for word in self.at_client(argv)], env=self.environment(shim),
                                **{"stdin": subprocess.DEVNULL, **options})

    def log_tails(self, lines=8):
        """The ends of all daemons' logs, for a failure's report."""
        text = ""
        for path in sorted(self.logs.glob("*.log")):
            tail = path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
            text += "".join(f"  {path.stem}: {line}\n" for line in tail)
        return text
