#!/usr/bin/env python3
"""What Kwik costs on loopback: downloads, round trips, connects; each beside what it is compared with.

    bench.py [--mib 1024] [--rounds 5] [--compare FILE] [--output build/bench.json]

Ratios are medians of those of each round, whose parts follow one another. Those that Kwik must keep are
checked; with --compare also that none is more than a tenth worse than in FILE, which a run has written
(Tests/Benchmarks/reference.json). Where a check misses, everything is measured once more, and counts
together: a loss is there again, and what disturbed the machine seldom.

CPU is user and system time of both ends, of kwikd and kwik-gateway or of the bare client and server; not of
nginx, curl or the baseline's reader. The bare transfer has Kwik's settings (MTU, GSO, GRO, socket buffers,
windows, cubic, cipher, acknowledgements, no id at the client) and the same two sockets at its ends: TCP from
nginx, and an AF_UNIX stream to a reader. It does not have what Kwik adds: framing, CRC32C of each piece, sums
of blocks, credit to streams. Beside it stands the same out of memory, without the TCP; there only the engine
has a bound. It is to stay within 1.3 of the bare client, whose work does not depend on where its server has
the bytes from, so it is held against both; both ends together against the bare transfer from nginx alone.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "System"))

import downloads  # noqa: E402
import latency  # noqa: E402
from kwiklab import BUILD, Lab  # noqa: E402

PROGRAMS = {"pingpong": ["pingpong.c"], "connect": ["connect.c"],
            "baseline": ["baseline.c", "quic.c", "-lngtcp2", "-lngtcp2_crypto_gnutls", "-lgnutls"]}
# All that is compared runs before other work of the machine, alike.
NICENESS = -10
# CPU of a single path through Kwik, of a bare transfer's.
MAX_CPU = 1.3
# Loss against an earlier run that fails.
MAX_LOSS = 0.10
# Each with an engine and a gateway of its own.
LATENCY_RUNS = 3


class Must:
    """One figure with its bound; a bound of None is only told."""

    def __init__(self, name, value, bound, higher=False):
        self.name, self.value, self.bound, self.higher = name, value, bound, higher

    def holds(self):
        if self.bound is None:
            return True
        return self.value >= self.bound if self.higher else self.value <= self.bound

    def __str__(self):
        word = "at least" if self.higher else "at most"
        return f"{'ok  ' if self.holds() else 'MISS'} {self.name}: {self.value:.3f} ({word} {self.bound})"


def compile_all(directory):
    programs = {}
    for name, words in PROGRAMS.items():
        programs[name] = directory / name
        sources = [HERE / word if word.endswith(".c") else word for word in words]
        flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"]
        subprocess.run(["gcc", *flags, "-o", programs[name], *sources], check=True)
    return programs


def ratios_of(rounds, latencies):
    """Every ratio that one run can be compared with another by: (value, higher is better)."""
    def rates(way, other):
        return statistics.median(each[way]["mbps"] / each[other]["mbps"] for each in rounds), True

    def costs(names, way, others):
        """CPU of Kwik's processes to those of the bare transfer."""
        return statistics.median(sum(each["one"]["cpu"][name] for name in names)
                                 / sum(each[way]["cpu"][name] for name in others) for each in rounds), False

    def times(way, other):
        return statistics.median(each[way]["p50_us"] / each[other]["p50_us"] for each in latencies), False

    ends, bare = ("kwikd", "gateway a"), ("client", "server")
    return {"mbps_one_to_plain": rates("one", "plain"),
            "mbps_three_to_one": rates("three", "one"),
            "cpu_both_to_baseline": costs(ends, "baseline", bare),
            "cpu_both_to_relay": costs(ends, "relay", bare),
            "cpu_kwikd_to_client": costs(ends[:1], "relay", bare[:1]),
            "cpu_kwikd_to_baseline_client": costs(ends[:1], "baseline", bare[:1]),
            "cpu_gateway_to_server": costs(ends[1:], "relay", bare[1:]),
            "pingpong_p50_to_tcp": times("kwik", "tcp"),
            "pingpong_p50_beside_idle": times("kwik_beside_idle", "kwik"),
            "connect_to_native": (statistics.median(each["connect"]["ratio"] for each in latencies), False)}


def musts_of(ratios, latencies):
    added = statistics.median(each["kwik"]["p50_us"] - each["tcp"]["p50_us"] for each in latencies)
    slowest = statistics.median(each["kwik"]["p99_us"] for each in latencies)
    native = statistics.median(each["tcp"]["p99_us"] for each in latencies)
    return [
        # Three servers on one machine can't be faster than one: a replica that adds nothing is parked.
        Must("three servers to one, Mbit/s", ratios["mbps_three_to_one"][0], 0.8, higher=True),
        # Like with like: both take the bytes from nginx over TCP and write them into an AF_UNIX stream.
        Must("CPU of kwikd + gateway to bare QUIC's client + server", ratios["cpu_both_to_relay"][0],
             MAX_CPU),
        Must("CPU of kwikd to bare QUIC's client, from nginx", ratios["cpu_kwikd_to_client"][0], MAX_CPU),
        Must("CPU of kwikd to bare QUIC's client, out of memory", ratios["cpu_kwikd_to_baseline_client"][0],
             MAX_CPU),
        Must("ping-pong, p50 added, µs", added, 150),
        Must("ping-pong, p99, µs", slowest, max(1000, 2 * native)),
        Must("ping-pong, p50 beside idle connections to without", ratios["pingpong_p50_beside_idle"][0], 1.5),
        Must("connect passed on, to native", ratios["connect_to_native"][0], 1.05),
    ]


def losses(ratios, path):
    """What is worse than in the earlier run by more than a tenth."""
    earlier = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))["ratios"]
    found = []
    for name, (value, higher) in ratios.items():
        if name not in earlier:
            print(f"{name}: not in {path}, not compared")
            continue
        then = earlier[name]
        bound = then * (1 - MAX_LOSS) if higher else then * (1 + MAX_LOSS)
        found.append(Must(f"{name}, {then} earlier", value, round(bound, 3), higher))
    return found


def measure(options):
    """(rounds of downloads, runs of what is measured by round trips)."""
    with Lab() as lab:
        programs = compile_all(lab.directory)
        lab.add_servers(3)
        lab.start_servers()
        rounds = downloads.measure_rounds(lab, options.mib, options.rounds, programs["baseline"])
    latencies = []
    for _ in range(LATENCY_RUNS):
        with Lab() as lab:
            programs = compile_all(lab.directory)
            lab.add_servers(1)
            latencies.append(latency.pingpong(lab, programs["pingpong"]))
            latencies[-1]["connect"] = latency.connect(lab, programs["connect"])
    return rounds, latencies


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compare")
    parser.add_argument("--output", default=str(BUILD / "bench.json"))
    options = parser.parse_args()
    with contextlib.suppress(PermissionError):
        os.nice(NICENESS)
    rounds, latencies = [], []
    for is_last in (False, True):
        more = measure(options)
        rounds += more[0]
        latencies += more[1]
        ratios = ratios_of(rounds, latencies)
        checks = musts_of(ratios, latencies)
        checks += losses(ratios, options.compare) if options.compare else []
        missed = [check for check in checks if not check.holds()]
        if is_last or not missed:
            break
        print("\n" + "\n".join(map(str, missed)) + "\nonce more\n", flush=True)
    ways = downloads.summaries(rounds, options.mib)
    downloads.print_table(ways)
    latency.print_table(latencies)
    print("\n" + "\n".join(map(str, checks)))
    rounded = {name: round(value, 3) for name, (value, _) in ratios.items()}
    results = {"mib": options.mib, "rounds": len(rounds), "cores": os.cpu_count(), "ways": ways,
               "latencies": latencies, "ratios": rounded}
    pathlib.Path(options.output).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print("bench: " + " ".join(f"{name}={value}" for name, value in rounded.items()))
    print(f"test: passed={len(checks) - len(missed)} failed={len(missed)} written={options.output}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
