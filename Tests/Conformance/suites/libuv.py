"""libuv's own tests, from Debian's source package: one suite, the library compiled from the same source."""

import concurrent.futures
import os
import re
import shutil
import signal
import subprocess
import time

from debian import fetch_source
from world import end_with_parent

PACKAGE = "libuv1"
DEFINES = ["_GNU_SOURCE", "_POSIX_C_SOURCE=200112", "_FILE_OFFSET_BITS=64", "_LARGEFILE_SOURCE"]
LINUX = ("async core dl fs getaddrinfo getnameinfo loop-watcher loop pipe poll process random-devurandom "
         "signal stream tcp thread tty udp proctitle linux-core linux-inotify linux-syscalls procfs-exepath "
         "random-getrandom random-sysctl-linux epoll").split()
# Seconds for all; each test has its own limit in libuv's runner.
SECONDS = 900
LINE = re.compile(r"^(not ok|ok) \d+ - (\w+)(.*)$", re.MULTILINE)
QUIET = set()


def compile_tests(tree):
    """Builds `run-tests` in the tree."""
    library = [*sorted((tree / "src").glob("*.c")), *(tree / f"src/unix/{name}.c" for name in LINUX)]
    tests = [path for path in sorted((tree / "test").glob("*.c"))
             if not re.search(r"-win|benchmark|run-benchmarks", path.name)]
    compiler = os.environ.get("CC", "cc")
    flags = ["-O1", "-w", *(f"-D{define}" for define in DEFINES), "-I", "include", "-I", "src"]

    def build(source):
        target = source.with_suffix(".o")
        subprocess.run([compiler, "-c", *flags, source, "-o", target], cwd=tree, check=True)
        return target

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(build, [*library, *tests]))
    # An archive: a test brings its own copy of one of the files.
    subprocess.run(["ar", "rc", "libuv.a", *objects[:len(library)]], cwd=tree, check=True)
    subprocess.run([compiler, *objects[len(library):], "libuv.a", "-o", "run-tests", "-lpthread", "-ldl",
                    "-lrt"], cwd=tree, check=True)


def prepare(cache, _):
    target = cache / PACKAGE
    if not target.exists():
        work = cache / "work"
        shutil.rmtree(work, ignore_errors=True)
        tree = fetch_source(work, PACKAGE)
        compile_tests(tree)
        tree.rename(target)
        shutil.rmtree(work)
    return {"tree": str(target)}


def suites(_):
    return [PACKAGE]


def run_tests(world, shim, tree, log, names):
    """The text of one run; `names`: one test, or none for all of them. The tests write where they run."""
    directory = world.temporary / PACKAGE
    shutil.copytree(f"{tree}/test/fixtures", directory / "test/fixtures", dirs_exist_ok=True)
    environment = dict(world.environment(shim), UV_RUN_AS_ROOT="1", UV_TEST_TIMEOUT_MULTIPLIER="2")
    with open(log, "ab") as text:
        process = subprocess.Popen(
            [tree + "/run-tests", *names], cwd=directory, env=environment, stdin=subprocess.DEVNULL,
            stdout=text, stderr=text, start_new_session=True,
            preexec_fn=lambda: end_with_parent(signal.SIGKILL))
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            end_group(process)
    return log.read_text(encoding="utf-8", errors="replace")


def end_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def run(world, shim, spec):
    """The lane's one result. `spec["only"]`: {PACKAGE: [test]}, each by itself."""
    began, before, text = time.monotonic(), world.served(), ""
    only = (spec.get("only") or {}).get(PACKAGE)
    for names in [[name] for name in only] if only else [[]]:
        text = run_tests(world, shim, spec["tree"], world.logs / f"{PACKAGE}.txt", names)
    after = world.served()
    lines = LINE.findall(text)
    passed = {name for word, name, rest in lines if word == "ok" and "SKIP" not in rest.upper()}
    failed = {name: rest for word, name, rest in lines if word == "not ok"}
    yield {"suite": PACKAGE, "passed": sorted(passed - set(failed)), "failed": failed,
           "served": after[0] - before[0], "native": after[1] - before[1],
           "seconds": round(time.monotonic() - began, 1)}
