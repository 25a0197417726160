#!/usr/bin/env python3
"""The link matrix: plain TCP, kernel MPTCP, aria2 and Kwik over the same emulated links, one after the other.

    matrix.py [--cell NAME]... [--runs 3] [--fresh] [--congestion cubic] [--output DIR]
              [--only CONTENDER]... [--logs DIR] [--markdown]

--only measures some contenders, into matrix-only.json, which is begun anew each time; --logs keeps what the
engines say; --markdown prints the summary of what is in matrix.json and measures nothing. Otherwise it writes
matrix.json and an SVG for each cell into DIR (build/) as it goes, and what is there of the same programs is
not measured again (--fresh: it is). The table at the end is of all cells that are there. The last line is for
scripts: `matrix: cells=… missed=… corrupt=… min_vs_best=… min_vs_sum=… min_vs_mptcp=…`. Needs root and
/dev/net/tun. The exit code is 1 if a demand is not met or anything failed, 2 if interrupted.
"""

import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import signal
import sys
import time

from kwiklab import BUILD, ROOT, LabError
from matrix import cells, contenders, plot, report
from matrix.network import missing_privilege, sweep
from matrix.world import World

# All that is compared runs before other work of the machine, alike.
NICENESS = -10
PROGRAMS = ("kwikd", "kwik-gateway", "libkwik.so")
ROUND = {"tcp": contenders.tcp, "mptcp": contenders.mptcp, "aria2": contenders.aria2,
         "kwik": contenders.kwik, "interfaces": contenders.interfaces}
UPLOADS = {"upload_tcp": contenders.upload_tcp, "upload_one": contenders.upload_one,
           "upload_interfaces": contenders.upload_interfaces, "upload_relay": contenders.upload_relay,
           "upload_relays": contenders.upload_relays}
# In the first round only.
ONCE = {"single": contenders.single, "lied_to": contenders.lied_to}
ONE_UPLOAD = {name: UPLOADS[name] for name in ("upload_tcp", "upload_interfaces")}


def fingerprint():
    """Of the programs that are measured: figures of others are no use beside theirs."""
    digest = hashlib.sha256()
    for name in PROGRAMS:
        digest.update((BUILD / name).read_bytes())
    return digest.hexdigest()[:16]


class Store:
    """matrix.json: what is known so far; written whole after every round."""

    def __init__(self, path, build, congestion, fresh):
        self.path = path
        self.data = {"build": build, "congestion": congestion, "cells": {}}
        if path.exists() and not fresh:
            data = json.loads(path.read_text(encoding="utf-8"))
            if (data.get("build"), data.get("congestion")) == (build, congestion):
                self.data = data
            else:
                print(f"{path.name} is of other programs: begun anew", flush=True)

    def rounds(self, cell):
        """The rounds of a cell; none if it was defined otherwise when they were made."""
        definition = json.loads(json.dumps(vars(cell), default=vars))
        entry = self.data["cells"].get(cell.name)
        if not entry or entry["definition"] != definition:
            entry = self.data["cells"][cell.name] = {"definition": definition, "rounds": []}
        return entry["rounds"]

    def forget(self, cell):
        self.data["cells"].pop(cell.name, None)

    def write(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(self.data), encoding="utf-8")
        fresh.rename(self.path)


def contenders_of(cell, number, only):
    """The names and functions of one round; each round begins with another, so that none is always first."""
    chosen = dict(ROUND)
    if cell.uploads:
        chosen |= UPLOADS
    elif number == 0 and not cell.small:
        chosen |= ONE_UPLOAD
    if cell.fairness:
        chosen["fairness"] = contenders.fairness
    if number == 0:
        chosen |= ONCE
    items = [item for item in chosen.items() if not only or item[0] in only]
    turn = number % len(items)
    return items[turn:] + items[:turn]


def run_round(world, number, only, logs):
    """One record of each contender; of several small transfers the one of median rate."""
    cell, records = world.cell, {}
    for name, contender in contenders_of(cell, number, only):
        tries = [contenders.attempt(contender, world, number == 0) for _ in range(cell.repeats)]
        good = sorted((entry for entry in tries if entry and "mbps" in entry), key=lambda e: e["mbps"])
        bad = [entry for entry in tries if entry and (entry.get("failed") or entry.get("corrupt"))]
        records[name] = bad[0] if bad else good[len(good) // 2] if good else tries[0]
        print(f"  {name:<18}{report.brief(records[name])}", flush=True)
        if logs and world.engine:
            logs.mkdir(parents=True, exist_ok=True)
            shutil.copy(world.engine.log, logs / f"{cell.name}-{number + 1}-{name}.log")
    return records


def measure(cell, store, truth, options):
    rounds = store.rounds(cell)
    if len(rounds) >= options.runs:
        print(f"{cell.name}: {len(rounds)} rounds are there", flush=True)
        return
    print(f"{cell.name}: {cell.title}, {cell.bytes / 1e6:.2f} MB", flush=True)
    with World(cell, truth, options.congestion) as world:
        while len(rounds) < options.runs:
            print(f" round {len(rounds) + 1}", flush=True)
            rounds.append(run_round(world, len(rounds), options.only, options.logs))
            store.write()
            plot.draw(cell, rounds, options.output / f"matrix-{cell.name}.svg")


def make_truth(path, size):
    """Bytes that nothing compresses."""
    with open(path, "wb") as file:
        for _ in range(0, size, 1 << 20):
            file.write(os.urandom(1 << 20))


def chosen_cells(names):
    found = []
    for name in names or [cell.name for cell in cells.CELLS]:
        these = cells.named(name)
        if not these:
            sys.exit(f"matrix: no cell is called {name}; there are "
                     f"{' '.join(cell.name for cell in cells.CELLS)}")
        found += these
    return found


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--cell", action="append", default=[])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", action="append", default=[], choices=[*ROUND, *UPLOADS, *ONCE, "fairness"])
    parser.add_argument("--congestion", default="cubic", choices=["cubic", "bbr2"])
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--logs", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build")
    options = parser.parse_args()
    if options.markdown:
        data = json.loads((options.output / "matrix.json").read_text(encoding="utf-8"))["cells"]
        known = [(cell, data[cell.name]["rounds"]) for cell in cells.CELLS if cell.name in data]
        print(report.markdown(known, min(len(rounds) for _, rounds in known)), end="")
        return 0
    problem = missing_privilege()
    if problem:
        print(f"matrix: {problem}", file=sys.stderr)
        return 1

    def interrupted(number, _):
        raise KeyboardInterrupt(signal.Signals(number).name)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    chosen = chosen_cells(options.cell)
    name = "matrix-only.json" if options.only else "matrix.json"
    store = Store(options.output / name, fingerprint(), options.congestion, options.fresh or options.only)
    home = pathlib.Path("/dev/shm" if os.path.isdir("/dev/shm") else "/tmp")
    truth, begun = home / f"kwik-matrix-truth-{os.getpid()}", time.monotonic()
    with contextlib.suppress(PermissionError):
        os.nice(NICENESS)
    try:
        make_truth(truth, max(cell.bytes for cell in cells.CELLS) + (64 << 20))
        for cell in chosen:
            measure(cell, store, truth, options)
    except KeyboardInterrupt:
        print("\nmatrix: interrupted; everything that it started is gone, what is measured stays",
              file=sys.stderr)
        return 2
    except LabError as failure:
        print(f"matrix: {failure}", file=sys.stderr)
        return 1
    finally:
        truth.unlink(missing_ok=True)
        sweep()
    known = [(cell, store.rounds(cell)) for cell in cells.CELLS if cell.name in store.data["cells"]]
    print(f"\n{time.monotonic() - begun:.0f} s\n")
    return report.conclude(known, options)


if __name__ == "__main__":
    sys.exit(main())
