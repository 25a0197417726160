#!/usr/bin/env python3
"""Downloads on loopback without caps: plain TCP, Kwik with one server, Kwik with three.

    bench.py [--mib 1024] [--rounds 5] [--compare FILE] [--output build/bench.json]

Rounds are interleaved, so that a disturbance of the machine falls on all ways alike; figures are medians.
CPU seconds per GiB are of each process (user + system, its children included).
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "System"))

from kwiklab import BUILD, Lab, LabError, descendants, paths_of  # noqa: E402

MEBIBYTE = 1 << 20
GIBIBYTE = 1 << 30
TICKS = os.sysconf("SC_CLK_TCK")
# Three servers on one machine can't be faster than one: a replica that adds nothing is parked.
MIN_THREE_TO_ONE = 0.8
WAYS = ("plain", "one", "three")
TITLES = {"plain": "curl, nginx, TCP", "one": "curl, Kwik, 1 server", "three": "curl, Kwik, 3 servers"}


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


def measure(lab, way, size):
    """A round of one way; a Kwik round has an engine of its own, and must have carried the bytes."""
    lab.stop_engine()
    if way == "plain":
        return download(lab, False, size)
    lab.start_engine(lab.servers[:1] if way == "one" else lab.servers)
    sample = download(lab, True, size)
    carried = sum(path["received"] for path in paths_of(lab.status()))
    if carried < size:
        raise LabError(f"the engine carried {carried} of {size} bytes")
    sample["servers"] = len({path["server"] for path in paths_of(lab.status()) if path["received"]})
    return sample


def summary(samples, size):
    """Medians of one way's rounds."""
    names = sorted({name for sample in samples for name in sample["cpu"]})
    per_gib = {name: statistics.median(sample["cpu"].get(name, 0) for sample in samples) * GIBIBYTE / size
               for name in names}
    return {"mbps": statistics.median(sample["mbps"] for sample in samples),
            "rounds_mbps": [round(sample["mbps"], 1) for sample in samples],
            "cpu_s_per_gib": {name: round(value, 3) for name, value in per_gib.items() if value > 0.005}}


def print_results(results, earlier):
    print(f"\n{'':<22} {'Mbit/s':>8} {'ratio':>6}" + ("  earlier" if earlier else "") + "  CPU s/GiB")
    base = results["ways"]["plain"]["mbps"]
    for way in WAYS:
        row = results["ways"][way]
        cpu = "  ".join(f"{name} {value:.2f}" for name, value in row["cpu_s_per_gib"].items())
        then = f" {earlier['ways'][way]['mbps']:8.0f}" if earlier else ""
        print(f"{TITLES[way]:<22} {row['mbps']:8.0f} {row['mbps'] / base:6.2f}{then}  {cpu}")
    print(f"three servers to one: {results['three_to_one']:.2f} (at least {MIN_THREE_TO_ONE})")


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compare")
    parser.add_argument("--output", default=str(BUILD / "bench.json"))
    options = parser.parse_args()
    size = options.mib * MEBIBYTE
    earlier = None
    if options.compare:
        earlier = json.loads(pathlib.Path(options.compare).read_text(encoding="utf-8"))
    samples = {way: [] for way in WAYS}
    with Lab() as lab:
        lab.add_servers(3)
        lab.put("file", os.urandom(MEBIBYTE) * options.mib)
        lab.start_servers()
        for number in range(options.rounds):
            for way in WAYS:
                sample = measure(lab, way, size)
                samples[way].append(sample)
                print(f"round {number + 1} {TITLES[way]:<22} {sample['mbps']:8.0f} Mbit/s", flush=True)
    ways = {way: summary(rounds, size) for way, rounds in samples.items()}
    results = {"mib": options.mib, "rounds": options.rounds, "ways": ways, "cores": os.cpu_count(),
               "three_to_one": ways["three"]["mbps"] / ways["one"]["mbps"]}
    print_results(results, earlier)
    pathlib.Path(options.output).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    failed = results["three_to_one"] < MIN_THREE_TO_ONE
    print(f"test: passed={0 if failed else 1} failed={1 if failed else 0} written={options.output}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
