#!/usr/bin/env python3
"""Runs sets of tests one after the other and adds up what they report.

    suite.py SET...        SET: tidy, unit, address, thread, coverage, simulation, golden, quick, single, long

Every set ends in a line `test: passed=N failed=N …`. A set that says nothing, runs nothing or exits with an
error counts as a failure, so that no suite passes by not running. The last line is the sum, in the same form.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
SWIFT = os.environ.get("SWIFT", "swift")
SEEDS = os.environ.get("SEEDS", "1000")
RESULT = re.compile(r"^test: passed=(\d+) failed=(\d+)(?: skipped=(\d+))?")
SIMULATED = re.compile(r"^simulate: seeds=(\d+) failed=(\d+)")
# Of what swift test prints: failures and what the compiler complains of. The linker's complaints of what
# AddressSanitizer's runtime does not have are 200 for each program, and harmless.
WORTH_SHOWING = re.compile(r"✘|↳|error:|(?<!gold: )warning:|Test run with|Fatal|Sanitizer")
CORE_OBJECTS = ROOT / ".build" / "release" / "KwikCore.build"

SETS = {
    "tidy": [sys.executable, ROOT / "Tests/Tidy/tidy.py", "--objects", CORE_OBJECTS],
    "simulation": [BUILD / "kwik-simulate", "--seeds", SEEDS],
    "quick": [sys.executable, ROOT / "Tests/System/run.py", "quick"],
    "single": [sys.executable, ROOT / "Tests/System/run.py", "single"],
    "long": [sys.executable, ROOT / "Tests/System/run.py", "long"],
}


# Options of swift test: the same tests, and under the two sanitizers. What is compared with a file in
# Tests/Golden has golden in its test's name. Sanitized code is optimized, or it would not
# come to its end in an hour; what a precondition or a sanitizer checks is checked there too.
UNIT_SETS = {
    "unit": [],
    "golden": ["--filter", "[Gg]olden"],
    "address": ["--sanitize=address", "-Xswiftc", "-O", "--scratch-path", ".build/address"],
    "thread": ["--sanitize=thread", "-Xswiftc", "-O", "--scratch-path", ".build/thread", "--skip",
               r"^SimulationTests\."],
    "coverage": ["--enable-code-coverage", "--scratch-path", ".build/coverage"],
}
LEFT_OUT = {
    "thread": "SimulationTests are left to AddressSanitizer: a simulation is one thread and shares nothing.",
}
COVERAGE = ROOT / ".build" / "coverage" / "debug"


def run_reporting(command):
    """Runs a set, showing its output; (passed, failed, skipped) as its last result line says."""
    counts = None
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True,
                          errors="replace") as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            if found := RESULT.match(line):
                counts = [int(group or 0) for group in found.groups()]
            elif found := SIMULATED.match(line):
                seeds, failed = map(int, found.groups())
                counts = [seeds - failed, failed, 0]
    if counts is None:
        print(f"The set ended with exit code {process.returncode} and without a result line.")
        return [0, 1, 0]
    if counts[0] == 0 or (process.returncode != 0 and counts[1] == 0):
        counts[1] += 1
    return counts


def run_unit(name):
    """The Swift tests of a set, counted from the machine-readable report that the runner writes."""
    BUILD.mkdir(exist_ok=True)
    report = BUILD / f"{name}.xml"
    report.unlink(missing_ok=True)
    environment = dict(os.environ, SWIFT_DETERMINISTIC_HASHING="1",
                       LSAN_OPTIONS=f"suppressions={ROOT / 'Tests/System/leaks.txt'}")
    # XCTest, of which there are no tests, leaks at its end: that fails the run under AddressSanitizer.
    command = [SWIFT, "test", "--disable-xctest", "--xunit-output", report, *UNIT_SETS[name]]
    log = BUILD / f"{name}.log"
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace") as process, \
            open(log, "w", encoding="utf-8") as everything:
        for line in process.stdout:
            everything.write(line)
            if WORTH_SHOWING.search(line):
                print(line, end="", flush=True)
    print(f"All that the tests said is in {log}.")
    if not report.exists():
        print(f"swift test ended with exit code {process.returncode} and without a report.")
        return [0, 1, 0]
    suite = xml.etree.ElementTree.parse(report).getroot().find("testsuite")
    tests, failures, skipped = (int(suite.get(key, 0)) for key in ("tests", "failures", "skipped"))
    if tests - failures - skipped == 0 or (process.returncode != 0 and failures == 0):
        failures += 1
    return [max(tests - failures - skipped, 0), failures, skipped]


def show_coverage():
    """Lines of code that the unit tests ran: the files with most left, the modules, all. False: none."""
    tools = pathlib.Path(shutil.which(SWIFT)).resolve().parent
    exported = subprocess.run(
        [tools / "llvm-cov", "export", "-summary-only", COVERAGE / "kwikPackageTests.xctest",
         "-instr-profile", COVERAGE / "codecov" / "default.profdata", ROOT / "Sources"],
        stdout=subprocess.PIPE, check=False)
    if exported.returncode != 0:
        print("coverage: nothing was recorded")
        return False
    files, modules = [], {}
    for file in json.loads(exported.stdout)["data"][0]["files"]:
        lines = file["summary"]["lines"]
        path = pathlib.Path(file["filename"]).relative_to(ROOT / "Sources")
        files.append((lines["covered"] - lines["count"], str(path), lines["count"], lines["covered"]))
        module = modules.setdefault(path.parts[0], [0, 0])
        module[0] += lines["count"]
        module[1] += lines["covered"]
    modules["all"] = [sum(counts) for counts in zip(*modules.values())] or [0, 0]
    rows = [("file", *file[1:]) for file in sorted(files)[:10]]
    rows += [("module", name, *counts) for name, counts in modules.items()]
    for kind, name, count, covered in rows:
        percent = 100 * covered / max(count, 1)
        print(f"coverage: {kind}={name} lines={count} covered={covered} percent={percent:.1f}")
    return modules["all"][1] > 0


def main():
    names = sys.argv[1:]
    if not names or any(name not in SETS and name not in UNIT_SETS for name in names):
        sys.exit(__doc__)
    total, rows, started = [0, 0, 0], [], time.monotonic()
    for name in names:
        print(f"== {name}", flush=True)
        if name in LEFT_OUT:
            print(LEFT_OUT[name], flush=True)
        begun = time.monotonic()
        counts = run_unit(name) if name in UNIT_SETS else run_reporting(SETS[name])
        if name == "coverage" and not show_coverage():
            counts[1] += 1
        rows.append((name, *counts, time.monotonic() - begun))
        total = [a + b for a, b in zip(total, counts)]
    print("\nset          passed  failed skipped seconds")
    for name, passed, failed, skipped, seconds in rows:
        print(f"{name:<11} {passed:>7} {failed:>7} {skipped:>7} {seconds:>7.0f}")
    seconds = time.monotonic() - started
    print(f"test: passed={total[0]} failed={total[1]} skipped={total[2]} seconds={seconds:.0f}")
    sys.exit(1 if total[1] else 0)


if __name__ == "__main__":
    main()
