#!/usr/bin/env python3
"""What Kwik costs on loopback: downloads, round trips, connects; each beside what it is compared with.

    bench.py [--mib 1024] [--rounds 5] [--compare FILE] [--output build/bench.json]

Ratios are of one run. Those that Kwik must keep are checked; with --compare also that none is more than a
tenth worse than in FILE, which a run has written (Tests/Benchmarks/reference.json: the medians of three).

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


def ratios_of(ways, round_trip, passed):
    """Every ratio that one run can be compared with another by: (value, higher is better)."""
    kwik = ways["one"]["cpu_s_per_gib"]
    bare, relay = ways["baseline"]["cpu_s_per_gib"], ways["relay"]["cpu_s_per_gib"]
    both = kwik["kwikd"] + kwik["gateway a"]
    beside = round_trip["kwik_beside_idle"]["p50_us"] / round_trip["kwik"]["p50_us"]
    return {"mbps_one_to_plain": (ways["one"]["mbps"] / ways["plain"]["mbps"], True),
            "mbps_three_to_one": (ways["three"]["mbps"] / ways["one"]["mbps"], True),
            "cpu_both_to_baseline": (both / (bare["client"] + bare["server"]), False),
            "cpu_both_to_relay": (both / (relay["client"] + relay["server"]), False),
            "cpu_kwikd_to_client": (kwik["kwikd"] / relay["client"], False),
            "cpu_kwikd_to_baseline_client": (kwik["kwikd"] / bare["client"], False),
            "cpu_gateway_to_server": (kwik["gateway a"] / relay["server"], False),
            "pingpong_p50_to_tcp": (round_trip["kwik"]["p50_us"] / round_trip["tcp"]["p50_us"], False),
            "pingpong_p50_beside_idle": (beside, False),
            "connect_to_native": (passed["ratio"], False)}


def musts_of(ratios, round_trip):
    tcp, kwik = round_trip["tcp"], round_trip["kwik"]
    return [
        # Three servers on one machine can't be faster than one: a replica that adds nothing is parked.
        Must("three servers to one, Mbit/s", ratios["mbps_three_to_one"][0], 0.8, higher=True),
        # Like with like: both take the bytes from nginx over TCP and write them into an AF_UNIX stream.
        Must("CPU of kwikd + gateway to bare QUIC's client + server", ratios["cpu_both_to_relay"][0],
             MAX_CPU),
        Must("CPU of kwikd to bare QUIC's client, from nginx", ratios["cpu_kwikd_to_client"][0], MAX_CPU),
        Must("CPU of kwikd to bare QUIC's client, out of memory", ratios["cpu_kwikd_to_baseline_client"][0],
             MAX_CPU),
        Must("ping-pong, p50 added, µs", kwik["p50_us"] - tcp["p50_us"], 150),
        Must("ping-pong, p99, µs", kwik["p99_us"], max(1000, 2 * tcp["p99_us"])),
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


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compare")
    parser.add_argument("--output", default=str(BUILD / "bench.json"))
    options = parser.parse_args()
    with contextlib.suppress(PermissionError):
        os.nice(NICENESS)
    with Lab() as lab:
        programs = compile_all(lab.directory)
        lab.add_servers(3)
        lab.start_servers()
        ways = downloads.measure_all(lab, options.mib, options.rounds, programs["baseline"])
    with Lab() as lab:
        programs = compile_all(lab.directory)
        lab.add_servers(1)
        round_trip = latency.pingpong(lab, programs["pingpong"])
        passed = latency.connect(lab, programs["connect"])
    downloads.print_table(ways)
    latency.print_table(round_trip, passed)
    ratios = ratios_of(ways, round_trip, passed)
    checks = musts_of(ratios, round_trip) + (losses(ratios, options.compare) if options.compare else [])
    print("\n" + "\n".join(map(str, checks)))
    rounded = {name: round(value, 3) for name, (value, _) in ratios.items()}
    results = {"mib": options.mib, "rounds": options.rounds, "cores": os.cpu_count(), "ways": ways,
               "pingpong": round_trip, "connect": passed, "ratios": rounded}
    pathlib.Path(options.output).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    failed = sum(not check.holds() for check in checks)
    print("bench: " + " ".join(f"{name}={value}" for name, value in rounded.items()))
    print(f"test: passed={len(checks) - failed} failed={failed} written={options.output}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
