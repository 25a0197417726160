"""A lab on two machines: servers in one network namespace, engine and programs in another, links between."""

import contextlib
import ctypes
import os
import subprocess

from kwiklab import Lab, LabError, wait_until

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
# On the servers' loopback, so that every link leads there.
EVERYWHERE = "10.81.255.1"
LINKS = 2


def can_make_namespaces():
    return os.geteuid() == 0


def ip(*words):
    result = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise LabError(f"ip {' '.join(words)}: {result.stderr.strip()}")


@contextlib.contextmanager
def inside(namespace):
    """This thread, and what it starts, is in the namespace."""
    with open("/proc/thread-self/ns/net", encoding="ascii") as here, \
            open(f"/run/netns/{namespace}", encoding="ascii") as there:
        enter(there)
        try:
            yield
        finally:
            enter(here)


def enter(file):
    if LIBC.setns(file.fileno(), CLONE_NEWNET) != 0:
        raise LabError(f"setns: {os.strerror(ctypes.get_errno())}")


class PathLab(Lab):
    """Links l0, l1 … at the client; the servers have one address that all of them lead to."""

    everywhere = EVERYWHERE
    # Bits of the servers' address, and of a link's network.
    bits = (32, 24)

    def address(self, index, end):
        """Of a link's end: 1 is the client's, 2 the servers'."""
        return f"10.81.{index}.{end}"

    @property
    def host(self):
        """The servers' address as it stands before a port."""
        return self.everywhere

    def __init__(self, links=LINKS, rate=None):
        super().__init__()
        self.links = [f"l{index}" for index in range(links)]
        self.client, self.server = f"kwikp{os.getpid()}-c", f"kwikp{os.getpid()}-s"
        self.stack = contextlib.ExitStack()
        self.service = f"{self.host}:{self.service_port}"
        try:
            self._make(rate)
            self.stack.enter_context(inside(self.server))
        except BaseException:
            self.close()
            raise

    def _make(self, rate):
        for name in (self.client, self.server):
            ip("netns", "add", name)
            self.stack.callback(ip, "netns", "delete", name)
            ip("-n", name, "link", "set", "lo", "up")
        self._give(self.server, f"{self.everywhere}/{self.bits[0]}", "lo")
        for index, link in enumerate(self.links):
            ip("link", "add", link, "netns", self.client, "type", "veth", "peer", "name", f"s{index}",
               "netns", self.server)
            self._give(self.client, f"{self.address(index, 1)}/{self.bits[1]}", link)
            self._give(self.server, f"{self.address(index, 2)}/{self.bits[1]}", f"s{index}")
            ip("-n", self.server, "link", "set", f"s{index}", "up")
            for namespace, device in ((self.client, link), (self.server, f"s{index}")):
                if rate:
                    subprocess.run(["tc", "-n", namespace, "qdisc", "add", "dev", device, "root", "tbf",
                                    "rate", rate, "burst", "20000", "latency", "60ms"], check=True)
            self.up(link)

    def _give(self, namespace, address, device):
        ip("-n", namespace, "address", "add", address, "dev", device)

    def up(self, link):
        """With a route to the servers, which goes when the link goes."""
        index = self.links.index(link)
        ip("-n", self.client, "link", "set", link, "up")
        ip("-n", self.client, "route", "replace", self.everywhere, "via", self.address(index, 2),
           "dev", link, "metric", str(100 + index))

    def down(self, link):
        ip("-n", self.client, "link", "set", link, "down")

    def silence(self, link):
        """No packet passes any more, and nobody is told."""
        index = self.links.index(link)
        self._drop(f"iifname s{index}")

    def silence_port(self, port):
        """As `silence`, for what comes from the client to this UDP port by any link."""
        self._drop(f"iifname != lo udp dport {port}")

    def _drop(self, what):
        rules = f"""table inet quiet {{
  chain in {{
    type filter hook prerouting priority -300
    {what} drop
  }}
}}
"""
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)

    def resume(self):
        subprocess.run(["nft", "flush", "ruleset"], check=True)

    def at_client(self, argv):
        return ["nsenter", f"--net=/run/netns/{self.client}", *argv]

    def add_server(self, **settings):
        server = super().add_server(**settings)
        server.address = self.host
        server.settings["listen"] = f"{self.host}:{server.gateway_port}"
        return server

    def paths(self):
        """The paths that carry or could, by (server, kind, via)."""
        return {(path["server"], path["kind"], path["via"]): path
                for service in self.status()["services"] for path in service["paths"]
                if path["state"] == "active"}

    def wait_for_paths(self, *wanted):
        wait_until(lambda: set(self.paths()) == set(wanted), f"paths {wanted}")

    def close(self):
        super().close()
        self.stack.close()


class SixLab(PathLab):
    """The same where nothing but IPv6 leads from one machine to the other, and to the backends."""

    everywhere = "fd81:0:0:ff::1"
    bits = (128, 64)

    def address(self, index, end):
        return f"fd81:0:0:{index}::{end}"

    @property
    def host(self):
        return f"[{self.everywhere}]"

    def _give(self, namespace, address, device):
        # Nobody else has it: there is nothing to wait for.
        ip("-n", namespace, "address", "add", address, "dev", device, "nodad")

    def add_server(self, **settings):
        server = super().add_server(**settings)
        server.backend_host = "[::1]"
        server.service["backend"] = f"[::1]:{server.backend_port}"
        return server
