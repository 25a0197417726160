#!/usr/bin/env python3
"""`make conformance`: programs over plain TCP and under the shim, and what they print or pass compared.

    suites.py [-s SUITE]... [-m MODULE]...
              SUITE: door, programs, cpython, libuv; MODULE: one of our programs or of CPython's tests

door      our own programs, line by line, with the engine's side alone (run.sh); the sanitizers' builds
programs  the same programs            } natively and under the shim at the same time, each in a network
cpython   CPython's network tests      } namespace of its own, where kwikd and kwik-gateway serve 127.0.0.1
libuv     libuv's tests                }

A test that passes natively, fails under the shim and does so twice again is a regression, unless excused.txt
names it. Fails on regressions, on a suite that ran nothing, on one that should connect through the engine and
did not, and when the engine does not forget its streams. KEEP_LOGS=DIR keeps what suites and daemons said.
"""

import argparse
import concurrent.futures
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "suites"))

# pylint: disable=wrong-import-position
import cpython
import libuv
import programs
import world

EXCUSES = 10
AGAIN = 2
COUNTS = re.compile(r"^conformance: suites=(\d+) native=(\d+) kwik=(\d+) regressions=(\d+) excused=(\d+)")
EXCUSED = re.compile(r"^  excused: (.*)$")
PARTIES = {"programs": programs, "cpython": cpython, "libuv": libuv}


class Totals:
    def __init__(self):
        self.suites = self.native = self.kwik = self.regressions = 0
        # Those that differed, once each.
        self.excused = set()

    def add(self, suites, native, kwik, regressions):
        self.suites += suites
        self.native += native
        self.kwik += kwik
        self.regressions += regressions

    def regression(self, text):
        self.regressions += 1
        print(f"  {text}", flush=True)

    def line(self):
        return (f"conformance: suites={self.suites} native={self.native} kwik={self.kwik} "
                f"regressions={self.regressions} excused={len(self.excused)}")


def excuses(totals):
    """Of excused.txt, each line `test | observed difference | reason`: the tests."""
    lines = [line for line in (HERE / "excused.txt").read_text(encoding="utf-8").splitlines()
             if line and not line.startswith("#")]
    for line in lines:
        if len([part for part in line.split(" | ") if part.strip()]) != 3:
            totals.regression(f"excused.txt: no difference or no reason: {line}")
    if len(lines) > EXCUSES:
        totals.regression(f"{len(lines)} excuses, the limit is {EXCUSES}")
    return {line.split(" | ")[0].strip() for line in lines}


def run_door(totals):
    counts = None
    command = [HERE / "run.sh", "-d", world.BUILD / "kwik-echo-door", "-l", world.BUILD / "libkwik.so"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        for line in process.stdout:
            if found := COUNTS.match(line):
                counts = [int(group) for group in found.groups()]
            elif found := EXCUSED.match(line):
                totals.excused.add(found.group(1))
            else:
                print(line, end="", flush=True)
    if counts is None:
        totals.regression(f"run.sh ended with exit code {process.returncode} and without a result line")
        return
    totals.add(*counts[:4])
    if process.returncode != 0 and counts[3] == 0:
        totals.regression(f"run.sh ended with exit code {process.returncode}")


def start_lane(directory, spec):
    path = directory / f"{spec['name']}.json"
    path.write_text(json.dumps(spec), encoding="utf-8")
    return subprocess.Popen(
        world.in_own_network([sys.executable, HERE / "suites/lane.py", path]), stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL, text=True, preexec_fn=lambda: world.end_with_parent(signal.SIGTERM))


def results(lane):
    """A finished lane's results by suite; what it left out is seen by who compares."""
    with lane:
        return {result["suite"]: result for result in map(json.loads, lane.stdout)}


def run_party(name, options, totals, listed):
    """`listed`: what excused.txt names."""
    party = PARTIES[name]
    called = getattr(party, "excuse", str)
    cache = world.BUILD / "conformance"
    cache.mkdir(parents=True, exist_ok=True)
    try:
        spec = dict(party.prepare(cache, options), suite=name)
    except (OSError, subprocess.CalledProcessError, LookupError) as problem:
        totals.regression(f"{name}: can't be prepared: {problem}")
        return
    with tempfile.TemporaryDirectory(prefix="kwik-conformance-") as directory:
        directory = pathlib.Path(directory)
        lanes = [start_lane(directory, dict(spec, name=f"{name}-{kind}", shim=kind == "kwik"))
                 for kind in ("native", "kwik")]
        # Read together, so that neither waits for its reader.
        with concurrent.futures.ThreadPoolExecutor(len(lanes)) as readers:
            native, kwik = readers.map(results, lanes)
        failing = {}
        excused = {test for result in native.values() for test in result.get("passed", [])
                   if called(test) in listed}
        for suite in set(native) & set(party.suites(spec)):
            mine = kwik.get(suite, {"passed": []})
            if unserved(party, suite, kwik.get(suite)):
                mine = {"passed": []}
            failing[suite] = sorted(set(native[suite]["passed"]) - set(mine["passed"]) - excused)
        only = {suite: tests for suite, tests in failing.items() if tests}
        for turn in range(AGAIN):
            if only:
                lane = start_lane(directory, dict(spec, name=f"{name}-again{turn}", shim=True, only=only))
                again = results(lane)
                for suite, tests in list(only.items()):
                    result = again.get(suite, {"passed": [], "served": 0})
                    if suite in kwik:
                        kwik[suite]["served"] += result["served"]
                    if not unserved(party, suite, kwik.get(suite)):
                        only[suite] = [test for test in tests if test not in result["passed"]]
                only = {suite: tests for suite, tests in only.items() if tests}
    left = kwik.get("left", {"streams": ["unknown, the lane broke off"]})["streams"]
    if left:
        totals.regression(f"{name}: streams or paths are left of {len(left)} services: {left[:5]}")
    for suite in party.suites(spec):
        compare(suite, party, native.get(suite), kwik.get(suite), only.get(suite, []), totals, excused)


def unserved(party, suite, result):
    """Whether it ran over plain TCP: the engine did not decide in time, or was never asked."""
    return result is not None and result["served"] == 0 and suite not in party.QUIET


def compare(suite, party, native, kwik, regressions, totals, excused):
    """One suite's line, and what is wrong with it."""
    if not native or not native["passed"] or not kwik or not kwik["passed"]:
        totals.regression(f"{suite}: ran nothing")
        return
    wanted = set(native["passed"])
    pardoned = wanted & excused - set(kwik["passed"])
    passed = wanted & set(kwik["passed"])
    unsteady = wanted - passed - pardoned - set(regressions)
    flaky = len(unsteady)
    # What passed when it ran again has passed.
    totals.add(1, len(wanted), len(passed) + flaky, 0)
    totals.excused |= {getattr(party, "excuse", str)(test) for test in pardoned}
    print(f"{suite}: native={len(wanted)} kwik={len(passed) + flaky} again={flaky} "
          f"regressions={len(regressions)} excused={len(pardoned)} connects={kwik['served']} "
          f"unserved={kwik['native']} seconds={native['seconds']}/{kwik['seconds']}", flush=True)
    for test in sorted(unsteady):
        print(f"  passed when it ran again: {test}", flush=True)
    if unserved(party, suite, kwik):
        totals.regression(f"{suite}: the engine served no connect")
        return
    for test in regressions:
        text = kwik["failed"].get(getattr(party, "place", str)(test), "not run").strip().splitlines()
        totals.regression(f"{test}: {text[-1] if text else 'failed'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-s", dest="suites", action="append", choices=["door", *PARTIES])
    parser.add_argument("-m", dest="modules", action="append")
    options = parser.parse_args()
    totals = Totals()
    excused = excuses(totals)
    for name in options.suites or ["door", *PARTIES]:
        if name == "door":
            run_door(totals)
        else:
            run_party(name, options, totals, excused)
    print(totals.line())
    sys.exit(0 if totals.suites > 0 and totals.kwik > 0 and totals.regressions == 0 else 1)


if __name__ == "__main__":
    main()
