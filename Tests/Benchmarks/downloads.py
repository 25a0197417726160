"""Downloads on loopback without caps: plain TCP, Kwik with one server, Kwik with three, and bare QUIC.

Rounds are interleaved, so that a disturbance of the machine falls on all ways alike; figures are medians.
CPU seconds per GiB are of each process (user + system, its children included).
"""

import os
import statistics
import subprocess
import time

from kwiklab import LabError, descendants, free_ports, paths_of, udp_bound, wait_until

MEBIBYTE = 1 << 20
GIBIBYTE = 1 << 30
TICKS = os.sysconf("SC_CLK_TCK")
TITLES = {"plain": "curl, nginx, TCP", "one": "curl, Kwik, 1 server", "three": "curl, Kwik, 3 servers",
          "baseline": "bare QUIC into AF_UNIX", "relay": "the same from nginx"}


def cpu_seconds(pid):
    """User and system time of a process, its reaped children and its living ones."""
    total = 0
    for member in [pid, *descendants(pid)]:
        with open(f"/proc/{member}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15]))
    return total / TICKS


def watched(lab):
    """The daemons whose time is counted, by what they are."""
    daemons = {"kwikd": lab.engine} if lab.engine else {}
    for server in lab.servers:
        daemons[f"gateway {server.name[0]}"] = server.gateway
        daemons[f"nginx {server.name[0]}"] = server.backend
    return daemons


def download(lab, shim, size):
    """One curl to nowhere: rate, and CPU seconds of each process."""
    daemons = watched(lab)
    before = {name: cpu_seconds(daemon.pid) for name, daemon in daemons.items()}
    children = os.times()
    begun = time.monotonic()
    result = lab.run(["curl", "-sS", "--fail", "-o", "/dev/null", "-w", "%{size_download}", lab.url("file")],
                     shim=shim, timeout=600)
    seconds = time.monotonic() - begun
    after = os.times()
    if result.returncode != 0 or int(result.stdout) != size:
        raise LabError(f"curl: {result.returncode}, {result.stdout!r}: {result.stderr.decode()}")
    cpu = {name: cpu_seconds(daemon.pid) - before[name] for name, daemon in daemons.items()}
    cpu["curl"] = (after.children_user + after.children_system
                   - children.children_user - children.children_system)
    return {"mbps": size * 8 / seconds / 1e6, "cpu": cpu}


def baseline(lab, program, size, source):
    """As many bytes over bare QUIC into an AF_UNIX stream (baseline.c), out of memory or of nginx."""
    port, = free_ports(1)
    certificate, key = lab.authority.issue("baseline")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([program, "serve", str(port), certificate, key, *source], **pipes) as server:
        try:
            wait_until(lambda: udp_bound(port), "the baseline's server")
            client = subprocess.run([program, "fetch", str(port)], timeout=600, check=False, **pipes)
            if client.returncode != 0:
                raise LabError(f"baseline: {client.stderr}")
            told, problem = server.communicate(timeout=60)
        finally:
            server.kill()
    if server.returncode != 0:
        raise LabError(f"baseline: {problem}")
    received, client_cpu, seconds = map(float, client.stdout.split())
    if received < size:
        raise LabError(f"baseline: {received} of {size} bytes")
    return {"mbps": size * 8 / seconds / 1e6, "cpu": {"client": client_cpu, "server": float(told.split()[1])}}


def measure(lab, way, size, program):
    """A round of one way; a Kwik round has an engine of its own, and must have carried the bytes."""
    lab.stop_engine()
    if way == "plain":
        return download(lab, False, size)
    if way == "baseline":
        return baseline(lab, program, size, [str(size // MEBIBYTE)])
    if way == "relay":
        return baseline(lab, program, size, ["/file", str(lab.servers[0].backend_port)])
    lab.start_engine(lab.servers[:1] if way == "one" else lab.servers)
    sample = download(lab, True, size)
    carried = sum(path["received"] for path in paths_of(lab.status()))
    if carried < size:
        raise LabError(f"the engine carried {carried} of {size} bytes")
    return sample


def summary(samples, size):
    """Medians of one way's rounds."""
    names = sorted({name for sample in samples for name in sample["cpu"]})
    per_gib = {name: statistics.median(sample["cpu"].get(name, 0) for sample in samples) * GIBIBYTE / size
               for name in names}
    return {"mbps": statistics.median(sample["mbps"] for sample in samples),
            "rounds_mbps": [round(sample["mbps"], 1) for sample in samples],
            "cpu_s_per_gib": {name: round(value, 3) for name, value in per_gib.items() if value > 0.005}}


def measure_rounds(lab, mebibytes, count, program):
    """Each round: the sample of each way."""
    size = mebibytes * MEBIBYTE
    lab.put("file", os.urandom(MEBIBYTE) * mebibytes)
    rounds = []
    for number in range(count):
        samples = {}
        for way, title in TITLES.items():
            samples[way] = measure(lab, way, size, program)
            print(f"round {number + 1} {title:<22} {samples[way]['mbps']:8.0f} Mbit/s", flush=True)
        rounds.append(samples)
    lab.stop_engine()
    return rounds


def summaries(rounds, mebibytes):
    """The summary of each way."""
    return {way: summary([each[way] for each in rounds], mebibytes * MEBIBYTE) for way in TITLES}


def print_table(ways):
    print(f"\n{'':<22} {'Mbit/s':>8} {'ratio':>6}  CPU s/GiB")
    for way, title in TITLES.items():
        row = ways[way]
        cpu = "  ".join(f"{name} {value:.2f}" for name, value in row["cpu_s_per_gib"].items())
        print(f"{title:<22} {row['mbps']:8.0f} {row['mbps'] / ways['plain']['mbps']:6.2f}  {cpu}")
