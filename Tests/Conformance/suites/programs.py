"""Our own programs, a suite each, through a real engine and gateway: every line that they print is a test."""

import os
import pathlib
import shutil
import subprocess
import time

from world import end_with_parent, wait_until

HERE = pathlib.Path(__file__).resolve().parents[1]
SOURCES = {path.stem: path for path in sorted((HERE / "programs").glob("*.c"))}
QUIET = set()
PROGRAM_SECONDS = 60


def prepare(cache, options):
    """Compiles them, and their far end."""
    target = cache / "programs"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    names = [name for name in SOURCES if name in (options.modules or SOURCES)]
    for name, source in [("peer", HERE / "peer.c"), *((name, SOURCES[name]) for name in names)]:
        subprocess.run(
            [os.environ.get("CC", "cc"), "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", source, "-o",
             target / name, "-lpthread"], check=True)
    return {"directory": str(target), "programs": names}


def suite_of(program):
    return f"{program} (engine)"


def suites(spec):
    return [suite_of(program) for program in spec["programs"]]


def excuse(test):
    """What excused.txt calls it: without the number of the line and what was printed natively."""
    _, program, check = test.split(" ", 2)
    return f"{program} {check.rsplit(': ', 1)[0]}"


def place(test):
    """Where what stands instead of it is found: its line."""
    return test.split(" ", 1)[0]


def start_peer(world, directory):
    """The far end, on ports that the engine serves, and what tells programs where it is."""
    path = world.logs / "peer.txt"
    with open(path, "wb") as output:
        process = subprocess.Popen([f"{directory}/peer"], stdout=output, stdin=subprocess.DEVNULL,
                                   preexec_fn=lambda: end_with_parent(9))
    wait_until(lambda: "ready" in path.read_text(encoding="ascii"), "the peer is not ready", 10)
    lines = path.read_text(encoding="ascii").splitlines()
    return process, dict(line.split("=") for line in lines if "=" in line)


def run(world, shim, spec):
    """The lane's results. `spec["only"]`: {suite: [test]}, of which the whole program runs."""
    peer, ports = start_peer(world, spec["directory"])
    environment = dict(world.environment(shim), **ports)
    try:
        for program in spec["programs"]:
            if spec.get("only") and suite_of(program) not in spec["only"]:
                continue
            began, before = time.monotonic(), world.served()
            problem = ""
            try:
                result = subprocess.run(
                    [f"{spec['directory']}/{program}"], cwd=world.temporary, env=environment,
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                    errors="replace", timeout=PROGRAM_SECONDS, check=False)
                lines = result.stdout.splitlines()
                if result.returncode != 0:
                    problem = f"exit code {result.returncode}"
            except subprocess.TimeoutExpired as late:
                lines = (late.stdout or b"").decode(errors="replace").splitlines()
                problem = "did not end"
            after = world.served()
            passed = [f"{number} {program}: {line}" for number, line in enumerate([*lines, "exit: ended"], 1)]
            # What stands in a line's place.
            failed = {str(number): line for number, line in enumerate([*lines, problem], 1)}
            yield {"suite": suite_of(program), "passed": passed[:-1] if problem else passed,
                   "failed": failed, "served": after[0] - before[0], "native": after[1] - before[1],
                   "seconds": round(time.monotonic() - began, 1)}
    finally:
        peer.kill()
        peer.wait()
