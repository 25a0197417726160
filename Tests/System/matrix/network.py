"""Two network namespaces, a client's and a server's, joined by emulated links.

    with Network([Link("1", rate=50, rtt=20), Link("2", rate=20, rtt=80)]) as network:
        network.emulator.tell("kill 2 both")
        network.run("client", ["ping", "-c1", network.address(1)])

Link i (from 0) has 10.77.i.1 at the client's end and 10.77.i.2 at the server's. Besides, the server has
10.77.100.1, which is reached over every link: by source address, as over the interfaces of a real machine.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import threading

from kwiklab import ROOT, Daemon, LabError

OUTPUT = ROOT / "build"
MTU = 1500
# A queue below this holds no burst of a sender's, and nobody sells one.
LEAST_QUEUE = 16 * MTU
# Packets between the kernel and the emulator: more than any sender's window here.
DEVICE_QUEUE = 20000
COMMAND_SECONDS = 10
EVERYWHERE = "10.77.100.1"
# Its answers do not find the client: it is reached through another server only.
HIDDEN = "10.77.101.1"


def compiled(name, sources, folder):
    """Compiles C sources of a folder of Tests/System into build/, if any is newer; the program's path."""
    directory = pathlib.Path(__file__).resolve().parents[1] / folder
    target = OUTPUT / name
    newest = max(path.stat().st_mtime for path in directory.glob("*.[ch]"))
    if not target.exists() or target.stat().st_mtime < newest:
        OUTPUT.mkdir(exist_ok=True)
        fresh = OUTPUT / f"{name}.{os.getpid()}"
        subprocess.run(["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-o", fresh,
                        *[directory / source for source in sources]], check=True)
        fresh.rename(target)
    return target


def missing_privilege():
    """What this process lacks for namespaces and TUN devices, in words; None: nothing."""
    if os.geteuid() != 0:
        return "network namespaces and TUN devices need root"
    if not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun"
    return None


@dataclasses.dataclass
class Link:
    """rate: Mbit/s each way; rtt: ms; jitter: ms that the round trip varies by; loss: percent each way;
    queue: times rate × rtt; shares: the name of an earlier link through whose queues this one goes too."""

    name: str
    rate: float
    rtt: float
    jitter: float = 0
    loss: float = 0
    queue: float = 1
    shares: str = ""

    @property
    def queue_bytes(self):
        return max(int(self.rate * 1e6 / 8 * self.rtt / 1e3 * self.queue), LEAST_QUEUE)

    def settings(self):
        own = "" if self.shares else f" rate={self.rate} queue={self.queue_bytes}"
        return (f"set {self.name} both delay={self.rtt / 2} jitter={self.jitter / 2} "
                f"loss={self.loss}{own}")


class Emulator:
    """The running emulator; `tell` and `ask` from one thread at a time."""

    def __init__(self, words, log):
        program = compiled("emulator", ["emulator.c", "commands.c", "link.c"], "emulator")
        self.log = log
        with open(log, "ab") as errors:
            self.process = subprocess.Popen([program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=errors, text=True, start_new_session=True)
        self.lock = threading.Lock()
        if self._line() != "ready\n":
            self.stop()
            raise LabError(f"the emulator did not start: {pathlib.Path(log).read_text(encoding='utf-8')}")

    def _line(self):
        alarm = threading.Timer(COMMAND_SECONDS, self.process.kill)
        alarm.start()
        try:
            return self.process.stdout.readline()
        finally:
            alarm.cancel()

    def ask(self, command):
        """The answer to one command; LabError where it is refused."""
        with self.lock:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            line = self._line()
        answer = json.loads(line or '{"error": "the emulator is gone"}')
        if "error" in answer:
            raise LabError(f"emulator: {command}: {answer['error']}")
        return answer

    def tell(self, *commands):
        for command in commands:
            self.ask(command)

    def stop(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Network:
    """The namespaces, the links between them, and the processes in them."""

    made = 0

    def __init__(self, links, directory):
        Network.made += 1
        self.links, self.directory = links, directory
        tag = f"kwik{os.getpid()}-{Network.made}"
        self.client, self.server = f"{tag}-client", f"{tag}-server"
        self.emulator = None
        self.cleanup = contextlib.ExitStack()

    def __enter__(self):
        problem = missing_privilege()
        if problem:
            raise LabError(problem)
        sweep()
        try:
            for namespace in (self.client, self.server):
                command("ip", "netns", "add", namespace)
                self.cleanup.callback(subprocess.run, ["ip", "netns", "delete", namespace], check=False)
                self._settings(namespace)
            words = [",".join(filter(None, (link.name, self.client, f"link{i}", self.server, f"link{i}",
                                            link.shares)))
                     for i, link in enumerate(self.links)]
            self.emulator = Emulator(words, self.directory / "emulator.log")
            self.cleanup.callback(self.emulator.stop)
            self._addresses()
            self._mptcp()
            self.restore()
        except BaseException:
            self.cleanup.close()
            raise
        return self

    def __exit__(self, *_):
        self.cleanup.close()

    def _settings(self, namespace):
        set_kernel(namespace, {
            "ipv6/conf/all/disable_ipv6": 1, "ipv6/conf/default/disable_ipv6": 1,
            # Each transfer finds out for itself, and has the windows that the fattest cell needs.
            "ipv4/tcp_no_metrics_save": 1, "ipv4/conf/all/rp_filter": 0, "ipv4/conf/default/rp_filter": 0,
            "ipv4/tcp_rmem": "4096 131072 33554432", "ipv4/tcp_wmem": "4096 65536 33554432"})
        command("ip", "-n", namespace, "link", "set", "lo", "up")

    def _addresses(self):
        for address in (EVERYWHERE, HIDDEN):
            command("ip", "-n", self.server, "address", "add", f"{address}/32", "dev", "lo")
        for i in range(len(self.links)):
            for namespace, own, other in ((self.client, 1, 2), (self.server, 2, 1)):
                command("ip", "-n", namespace, "address", "add", f"10.77.{i}.{own}", "peer",
                        f"10.77.{i}.{other}", "dev", f"link{i}")
                command("ip", "-n", namespace, "link", "set", f"link{i}", "mtu", str(MTU), "txqueuelen",
                        str(DEVICE_QUEUE), "up")
            # Packets from the address of an interface leave by that interface or not at all.
            table = str(100 + i)
            command("ip", "-n", self.client, "route", "add", f"{EVERYWHERE}/32", "dev", f"link{i}", "src",
                    f"10.77.{i}.1", "metric", str(10 + i))
            for target in (f"{EVERYWHERE}/32", f"10.77.{i}.2/32"):
                command("ip", "-n", self.client, "route", "add", target, "dev", f"link{i}", "table", table)
            command("ip", "-n", self.client, "route", "add", "unreachable", "default", "table", table)
            command("ip", "-n", self.client, "rule", "add", "from", f"10.77.{i}.1", "lookup", table)

        for table in ("main", "100"):
            command("ip", "-n", self.client, "route", "add", f"{HIDDEN}/32", "dev", "link0", "src",
                    self.local(0), "table", table)
        # After the table of the server's own addresses, where the relays are.
        command("ip", "-n", self.server, "rule", "add", "from", HIDDEN, "to", "10.77.0.0/16", "blackhole",
                "priority", "10")

    def _mptcp(self):
        """The server tells its other addresses, each on a link of its own; the client joins each once."""
        count = str(len(self.links))
        for namespace in (self.client, self.server):
            command("ip", "-n", namespace, "mptcp", "limits", "set", "subflows", count,
                    "add_addr_accepted", count)
        for i in range(1, len(self.links)):
            command("ip", "-n", self.server, "mptcp", "endpoint", "add", self.address(i), "dev", f"link{i}",
                    "signal")

    def set_congestion(self, name):
        """The congestion control of every plain TCP connection between the two ends. By the routes: a
        namespace may choose by sysctl only among what the machine lets every user choose."""
        for i in range(len(self.links)):
            sides = ((self.client, 1, 2, [f"{EVERYWHERE}/32"]), (self.server, 2, 1, []))
            for namespace, own, other, more in sides:
                source = ["dev", f"link{i}", "src", f"10.77.{i}.{own}"]
                command("ip", "-n", namespace, "route", "replace", f"10.77.{i}.{other}/32", *source, "scope",
                        "link", "congctl", name)
                for target in more:
                    command("ip", "-n", namespace, "route", "replace", target, *source, "metric",
                            str(10 + i), "congctl", name)

    def restore(self):
        """Every link as its cell says, up, and nothing planned.

        What is on its way stays: a probe of an idle path that is lost halves its congestion window, which
        would be the harness's doing.
        """
        self.emulator.tell("forget")
        for link in self.links:
            self.emulator.tell(link.settings(), f"restore {link.name} both")

    def local(self, index):
        return f"10.77.{index}.1"

    def address(self, index):
        return f"10.77.{index}.2"

    def words(self, side, argv):
        """A command line that runs `argv` in the client's or the server's namespace."""
        return ["nsenter", f"--net=/run/netns/{getattr(self, side)}", *[str(word) for word in argv]]

    def run(self, side, argv, **options):
        return subprocess.run(self.words(side, argv), **options)

    def start(self, side, argv, **options):
        return subprocess.Popen(self.words(side, argv), **options)

    def daemon(self, side, name, argv, **options):
        return Daemon(name, self.words(side, argv), self.directory / f"{name}.log", **options)


def set_kernel(namespace, values):
    """Values below /proc/sys/net, of one namespace."""
    script = "".join(f"echo '{value}' >/proc/sys/net/{name} || exit 1\n" for name, value in values.items())
    command("nsenter", f"--net=/run/netns/{namespace}", "sh", "-c", script)


def sweep():
    """Removes the namespaces of processes that were killed before they could; returns how many."""
    stale = [path.name for path in pathlib.Path("/run/netns").glob("kwik[0-9]*-*")
             if not os.path.exists(f"/proc/{path.name[4:].partition('-')[0]}")]
    for name in stale:
        subprocess.run(["ip", "netns", "delete", name], check=False)
    return len(stale)


def command(*words):
    result = subprocess.run(words, capture_output=True, text=True)
    if result.returncode != 0:
        raise LabError(f"{' '.join(words)}: {result.stderr.strip()}")
    return result.stdout
