#!/usr/bin/env python3
"""The demonstration: one unmodified curl, first with one server, then with three.

    demo.py [--kill replica|primary|crash] [--mib 200] [--rate 50]

--kill replica   half-way, one replica's gateway and nginx fall silent (SIGSTOP)
--kill primary   half-way, the primary's do, under the policy `promote`
--kill crash     half-way, one replica's gateway and nginx are killed (SIGKILL)

The last line is for scripts. The exit code is 1 if anything was not as expected, and 2 if interrupted.
"""

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

from kwiklab import Lab, LabError, paths_of, received_of

MEBIBYTE = 1 << 20
READ_BYTES = 64 << 10
# Longest gap between two reads of curl's output that a person may see, in every form of the demonstration.
MAX_STALL_MS = 500
# Of the servers' nominal rate: what a single path must reach; and how much faster three must be than one.
MIN_SINGLE_SHARE = 0.94
MIN_SPEEDUP = 2.85
# With a server lost half-way: half the file at three times the rate, half at twice, less the time to notice.
MIN_SPEEDUP_AFTER_LOSS = 1.8
# A download may take this many times its ideal time before the demonstration gives up.
PATIENCE = 4


class Download:
    """One curl under the shim; its output is hashed and timed as it comes."""

    def __init__(self, lab, name, size, half_way=None):
        self.lab, self.name, self.size, self.half_way = lab, name, size, half_way
        self.received, self.longest_gap, self.seconds = 0, 0.0, 0.0
        self.digest = hashlib.sha256()
        self.problem, self.note = None, ""
        self.paths, self.received_from = [], {}
        self.started = time.monotonic()

    def run(self, patience):
        curl = self.lab.start(["curl", "-sS", "-o", "-", self.lab.url(self.name)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        alarm = threading.Timer(patience, curl.kill)
        alarm.start()
        try:
            self._read(curl.stdout.fileno())
            error = curl.stderr.read().decode(errors="replace").strip()
            if curl.wait() != 0:
                self.problem = f"curl ended with {curl.returncode}: {error or 'no message'}"
        finally:
            alarm.cancel()
            curl.kill()
            curl.wait()
        if self.lab.engine.alive():
            status = self.lab.status()
            self.paths, self.received_from = paths_of(status), received_of(status)

    def _read(self, descriptor):
        self.started = last = time.monotonic()
        first = True
        while data := os.read(descriptor, READ_BYTES):
            now = time.monotonic()
            if not first:
                self.longest_gap = max(self.longest_gap, now - last)
            first, last = False, now
            self.digest.update(data)
            self.received += len(data)
            self.seconds = now - self.started
            if self.half_way and self.received >= self.size // 2:
                action, self.half_way = self.half_way, None
                self.note = action()

    @property
    def mbps(self):
        return self.received * 8 / self.seconds / 1e6 if self.seconds else 0.0


class Progress:
    """Live lines per path while a download runs; silent where the output is no terminal."""

    def __init__(self, download):
        self.download, self.lines = download, 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        if sys.stdout.isatty():
            self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        if self.thread.is_alive():
            self.thread.join()

    def _run(self):
        while not self.ended.wait(0.25):
            try:
                self._draw(paths_of(self.download.lab.status()))
            except (LabError, ValueError, subprocess.SubprocessError):
                continue

    def _draw(self, paths):
        download = self.download
        done = download.received / download.size
        bar = "█" * int(done * 30)
        text = [f"  {bar:<30} {done * 100:3.0f} %  {download.mbps:6.1f} Mbit/s"]
        text += [f"    {path['server']:<14} {path['state']:<10} {path['received'] / MEBIBYTE:6.1f} MiB "
                 f"{path['rate_mbps']:6.1f} Mbit/s  rtt {path['rtt_ms']:5.1f} ms" for path in paths]
        if download.note:
            text.append(f"  {download.note}")
        if self.lines:
            sys.stdout.write(f"\x1b[{self.lines}A")
        sys.stdout.write("".join(f"\x1b[2K{line}\n" for line in text))
        # Lines of paths that are gone since the last time.
        gone = max(self.lines - len(text), 0)
        sys.stdout.write("\x1b[2K\n" * gone + (f"\x1b[{gone}A" if gone else ""))
        sys.stdout.flush()
        self.lines = len(text)


def make_file(path, size):
    """Random bytes, and their digest."""
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for _ in range(size // MEBIBYTE):
            data = os.urandom(MEBIBYTE)
            digest.update(data)
            file.write(data)
    return digest.hexdigest()


def prepare(lab, options, size):
    """Three servers with a copy of the file each; returns the original's digest."""
    room = shutil.disk_usage(lab.directory).free
    if room < 5 * size:
        raise LabError(f"{lab.directory} has {room >> 20} MiB of free space; {5 * size >> 20} are needed")
    print(f"Three independent servers: nginx and kwik-gateway each, capped at {options.rate} Mbit/s by\n"
          f"max_rate; each has its own copy of a file of {options.mib} MiB, in {lab.directory}.")
    lab.add_servers(3, origins=3, max_rate=f"{options.rate} Mbit/s")
    original = lab.directory / "original"
    digest = make_file(original, size)
    lab.put("file", original)
    original.unlink()
    lab.start_servers()
    return digest


def fetch(lab, servers, options, half_way=None):
    """One download with these servers configured, in an engine of its own."""
    size = options.mib * MEBIBYTE
    lab.start_engine(servers, service={"policy": "promote" if options.kill == "primary" else "fail"})
    download = Download(lab, "file", size, half_way)
    count = "one server" if len(servers) == 1 else f"{len(servers)} servers"
    print(f"\ncurl {lab.url('file')} with {count}:", flush=True)
    with Progress(download):
        download.run(patience=30 + PATIENCE * size * 8 / (options.rate * 1e6))
    if download.note:
        print(f"  {download.note}")
    print(f"  {download.received} bytes in {download.seconds:.2f} s", flush=True)
    return download


def loss(lab, kill):
    """What happens half-way, and to whom: the primary, which the engine chose, or another."""
    def act():
        primary = lab.primary()
        victim = primary if kill == "primary" else next(s for s in lab.servers if s is not primary)
        if kill == "crash":
            victim.crash()
            what = "gateway and nginx killed"
        else:
            victim.silence()
            what = "gateway and nginx fall silent"
        role = "primary" if kill == "primary" else "replica"
        return f"half-way: {victim.name} ({role}): {what}"
    return act


def print_table(single, aggregate, speedup):
    total = sum(aggregate.received_from.values()) or 1
    alive = {path["server"]: path for path in aggregate.paths}
    print("\npath                 MiB  share    Mbit/s   RTT ms  state")
    for server, received in sorted(aggregate.received_from.items()):
        rate = received * 8 / aggregate.seconds / 1e6 if aggregate.seconds else 0.0
        path = alive.get(server)
        rtt, state = (f"{path['rtt_ms']:8.1f}", path["state"]) if path else ("       –", "lost")
        share = received / total * 100
        print(f"{server:<14} {received / MEBIBYTE:9.1f} {share:5.1f}% {rate:9.1f} {rtt}  {state}")
    print()
    for name, run in (("one server", single), ("three servers", aggregate)):
        print(f"{name:<13}  {run.mbps:6.1f} Mbit/s   longest stall {run.longest_gap * 1e3:.0f} ms")
    print(f"speed-up       {speedup:6.2f}")


def problems(single, aggregate, speedup, digest, options):
    """What was not as expected, in words."""
    size = options.mib * MEBIBYTE
    for name, run, servers in (("one server", single, 1), ("three servers", aggregate, 3)):
        if run.problem:
            yield f"{name}: {run.problem}"
        if run.digest.hexdigest() != digest:
            yield f"{name}: SHA-256 differs from the original's ({run.received} of {size} bytes came)"
        carried = sum(run.received_from.values())
        givers = [server for server, received in run.received_from.items() if received]
        if carried < run.received or len(givers) < servers:
            yield f"{name}: the engine carried {carried} bytes from {len(givers)} servers only"
        if run.longest_gap * 1e3 > MAX_STALL_MS:
            yield f"{name}: stall of {run.longest_gap * 1e3:.0f} ms; at most {MAX_STALL_MS}"
    if not MIN_SINGLE_SHARE * options.rate <= single.mbps <= options.rate:
        yield (f"single rate {single.mbps:.1f} Mbit/s is not within {MIN_SINGLE_SHARE * options.rate:.0f} "
               f"and {options.rate}")
    if aggregate.mbps > 3 * options.rate:
        yield f"aggregate rate {aggregate.mbps:.1f} Mbit/s is above the three caps' sum {3 * options.rate}"
    least = MIN_SPEEDUP_AFTER_LOSS if options.kill else MIN_SPEEDUP
    if speedup < least:
        yield f"speed-up {speedup:.2f} is below {least}"


def demonstrate(lab, options):
    size = options.mib * MEBIBYTE
    digest = prepare(lab, options, size)
    single = fetch(lab, lab.servers[:1], options)
    aggregate = fetch(lab, lab.servers, options, loss(lab, options.kill) if options.kill else None)
    speedup = aggregate.mbps / single.mbps if single.mbps else 0.0
    print_table(single, aggregate, speedup)
    print(f"SHA-256        {aggregate.digest.hexdigest()}")
    print(f"original       {digest}")
    wrong = list(problems(single, aggregate, speedup, digest, options))
    for line in wrong:
        print(f"NOT AS EXPECTED: {line}")
    same = single.digest.hexdigest() == aggregate.digest.hexdigest() == digest
    stall = max(single.longest_gap, aggregate.longest_gap) * 1e3
    print(f"demo: single_mbps={single.mbps:.1f} aggregate_mbps={aggregate.mbps:.1f} speedup={speedup:.2f} "
          f"longest_stall_ms={stall:.0f} digest={'ok' if same else 'differs'}", flush=True)
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--kill", choices=["replica", "primary", "crash"])
    parser.add_argument("--mib", type=int, default=200)
    parser.add_argument("--rate", type=int, default=50)
    options = parser.parse_args()

    def interrupted(number, _):
        raise KeyboardInterrupt(signal.Signals(number).name)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    try:
        with Lab() as lab:
            try:
                return demonstrate(lab, options)
            except LabError as failure:
                print(f"demo: {failure}\n{lab.log_tails()}", file=sys.stderr)
                return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted; everything that it started is gone", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
