"""A network of one's own in which Kwik serves every port that a program may listen on.

In a fresh network namespace the kernel gives out PORTS and no others by itself; the engine has a service, and
one gateway a backend, for each of them on 127.0.0.1. So a test that binds port 0 and connects to what it got
goes through kwikd, QUIC and kwik-gateway, and the gateway still connects only to what it is configured for.
"""

import contextlib
import fcntl
import os
import pathlib
import socket
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "System"))

# pylint: disable=wrong-import-position
from kwiklab import BUILD, LIBC, PR_SET_PDEATHSIG, TOKEN, Lab, LabError, table, udp_bound, wait_until

# 1,024 services at most: these and FIXED.
PORTS = range(40000, 41000)
# What libuv's tests bind (test/task.h).
FIXED = (9123, 9124, 9125)
GATEWAY_PORT = 30000
SERVER = "a.kwik.test"
IDLE_SECONDS = 5
# By then no stream and no path is left; a stream whose end is not acknowledged may take 30 s.
CLOSE_SECONDS = 45
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def in_own_network(argv):
    """The command that runs `argv` in a new network namespace, as a user too."""
    return ["unshare", "--net", *([] if os.getuid() == 0 else ["--map-root-user"]), *map(str, argv)]


def end_with_parent(number):
    """In a child before its program: that signal when we are gone."""
    LIBC.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def prepare_network():
    """Loopback up, and the range of ports; called inside the namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack_from("16xh", fcntl.ioctl(probe, SIOCGIFFLAGS, request))[0]
        fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))
    span = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range")
    span.write_text(f"{PORTS.start} {PORTS.stop - 1}\n", encoding="ascii")


class World(Lab):
    """The namespace's engine and gateway, if `kwik`. `with World(kwik) as world:`"""

    def __init__(self, kwik):
        super().__init__()
        self.kwik = kwik
        self.gateway_directory = self.directory / "gateway-run"

    def __enter__(self):
        self.addresses = [f"127.0.0.1:{port}" for port in (*FIXED, *PORTS)]
        self.temporary = self.directory / "tmp"
        self.temporary.mkdir()
        if self.kwik:
            self.start_gateway()
            self.start_engine()
        return self

    def start_gateway(self):
        certificate, key = self.authority.issue(SERVER)
        runtime = self.gateway_directory
        runtime.mkdir(mode=0o700)
        text = "[gateway]\n" + table({
            "listen": f"127.0.0.1:{GATEWAY_PORT}", "server_id": SERVER, "certificate": certificate,
            "key": key, "runtime_dir": runtime})
        for address in self.addresses:
            text += "\n[[service]]\n" + table({
                "name": address, "backend": address, "backend_sees": "client", "roles": ["origin"],
                "tokens": [TOKEN]})
        configuration = self.directory / "gateway.toml"
        configuration.write_text(text, encoding="utf-8")
        gateway = self.daemon("kwik-gateway", [BUILD / "kwik-gateway", "--config", configuration])
        gateway.ready(lambda: udp_bound(GATEWAY_PORT), "no UDP socket")

    def engine_text(self, servers, service=None, engine=None):
        """A path is closed when its service was idle for a while: ports are reused, and few at a time."""
        text = "[engine]\n" + table({"idle_path_timeout": f"{IDLE_SECONDS} s"})
        for address in self.addresses:
            text += "\n[[service]]\n" + table({
                "name": address, "policy": "fail", "token": TOKEN, "ca": self.authority.certificate})
            text += "[[service.server]]\n" + table({
                "name": SERVER, "address": f"127.0.0.1:{GATEWAY_PORT}", "roles": ["origin"]})
        return text

    def environment(self, shim=True):
        env = dict(super().environment(shim), TMPDIR=str(self.temporary),
                   KWIK_GATEWAY_DIR=str(self.gateway_directory))
        # There is no way out of here, and tests of proxies set their own.
        del env["no_proxy"]
        return env

    def left(self):
        """Services that still have streams or paths when every program is gone and they had time to close."""
        if not self.kwik:
            return []

        def busy():
            return [service["name"] for service in self.status()["services"]
                    if service["streams"] or service["paths"]]
        with contextlib.suppress(LabError):
            wait_until(lambda: not busy(), "streams or paths are left", CLOSE_SECONDS, every=0.5)
        return busy()

    def served(self):
        """How many connects the engine has served so far, and how many it left to the kernel."""
        if not self.kwik:
            return 0, 0
        counters = self.status()["counters"]
        return counters["served"], counters["native"]
