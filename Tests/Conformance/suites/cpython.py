"""CPython's own network tests, from Debian's package: what passes, module by module."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import xml.etree.ElementTree

from debian import fetch_package
from world import end_with_parent

PYTHON = os.environ.get("PYTHON", "/usr/bin/python3")
MODULES = [f"test_{name}" for name in (
    "socket asyncio selectors ssl httplib ftplib poplib smtplib smtpd urllib2_localnet urllib urllib2 xmlrpc "
    "docxmlrpc socketserver httpservers epoll poll select asyncore asynchat telnetlib nntplib imaplib "
    "robotparser wsgiref timeout logging eintr os").split()]
# Those that speak to no socket of theirs over TCP: the engine is not asked.
QUIET = {f"test_{name}" for name in "selectors smtpd urllib urllib2 poll select timeout".split()}
# These hang where the kernel has vsock but no hypervisor.
IGNORED = ["test.test_socket.ThreadedVSOCK*"]
# Seconds that a module may say nothing, which it does when a test begins and ends; and for all of it.
SILENT_SECONDS, MODULE_SECONDS = 90, 1_200
# Tests of one module that may hang; each costs a run of the module.
HANGS = 4
BEGUN = re.compile(r"^\w+ \((test\.[\w.]+)\)", re.MULTILINE)


def version():
    text = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([PYTHON, "-c", text], check=True, capture_output=True, text=True).stdout.strip()


def prepare(cache, options):
    """What a lane is to do. The tests come from the installed package, or from a private copy of it."""
    return {"tests": find_tests(cache), "modules": options.modules or MODULES}


def suites(spec):
    return spec["modules"]


def find_tests(cache):
    """A directory for PYTHONPATH that holds the tests; "" if the package is installed."""
    name = f"python{version()}"
    own = pathlib.Path("/usr/lib") / name / "test"
    if (own / "test_socket.py").exists():
        return ""
    target = cache / name
    if not target.exists():
        work = cache / "work"
        shutil.rmtree(work, ignore_errors=True)
        found = fetch_package(work, f"lib{name}-testsuite") / "usr/lib" / name
        # The runner and what the tests share belong to the standard library's package.
        shutil.copytree(own, found / "test", dirs_exist_ok=True)
        found.rename(target)
        shutil.rmtree(work)
    return str(target)


class Report:
    """What one run of one module brought."""

    def __init__(self):
        self.passed, self.failed = set(), {}

    def read(self, path):
        """The runner's report; a test that appears twice must pass twice."""
        for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
            name = case.get("name")
            # One of its subtests failed: the runner says neither that it passed nor what it is called.
            if name is None:
                continue
            problems = [child for child in case if child.tag in ("failure", "error")]
            if problems:
                self.failed[name] = (problems[0].text or "").strip()
            elif len(case) == 0:
                self.passed.add(name)
        self.passed -= set(self.failed)


def run_module(world, shim, tests, module, only=()):
    """Runs a module, without the tests in it that hang; `only`: of its tests those."""
    report, ignored = Report(), list(IGNORED)
    output = world.directory / f"{module}.xml"
    log = world.logs / f"{module}.txt"
    for _ in range(HANGS + 1):
        output.unlink(missing_ok=True)
        command = [PYTHON, "-m", "test", "-v", "-u", "network", "--junit-xml", output]
        for pattern in ignored:
            command += ["-i", pattern]
        for pattern in only:
            command += ["-m", pattern]
        run_group(world, shim, [*command, module], log, tests)
        if output.exists():
            report.read(output)
            return report
        begun = BEGUN.findall(log.read_text(encoding="utf-8", errors="replace"))
        last = begun[-1] if begun else module
        report.failed[last] = f"{module} hung or died here"
        ignored.append(last)
        if not begun:
            break
    return report


def run_group(world, shim, command, log, tests):
    """In a session of its own, so that whatever a test leaves behind ends with it."""
    environment = dict(world.environment(shim), PYTHONPATH=tests, PYTHONDONTWRITEBYTECODE="1")
    if not tests:
        del environment["PYTHONPATH"]
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command], cwd=world.temporary, env=environment, stdout=output,
            stdin=subprocess.DEVNULL, stderr=output, start_new_session=True,
            preexec_fn=lambda: end_with_parent(signal.SIGKILL))
    try:
        wait_while_it_speaks(process, log)
    finally:
        end_group(process)


def wait_while_it_speaks(process, log):
    began = spoke = time.monotonic()
    size = 0
    while process.poll() is None:
        now = time.monotonic()
        if log.stat().st_size != size:
            size, spoke = log.stat().st_size, now
        if now > spoke + SILENT_SECONDS or now > began + MODULE_SECONDS:
            return
        time.sleep(0.1)


def end_group(process):
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        pass
    process.wait()


def run(world, shim, spec):
    """Results of a lane, module by module. `spec["only"]`: {module: [test]} instead of everything."""
    only = spec.get("only") or {}
    for module in only or spec["modules"]:
        began, before = time.monotonic(), world.served()
        report = run_module(world, shim, spec["tests"], module, only.get(module, ()))
        after = world.served()
        yield {"suite": module, "passed": sorted(report.passed), "failed": report.failed,
               "served": after[0] - before[0], "native": after[1] - before[1],
               "seconds": round(time.monotonic() - began, 1)}
