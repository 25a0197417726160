#!/usr/bin/env python3
"""Runs the system tests.

    run.py quick|long|single|all [PATTERN]

quick   what is not marked long, with three servers
long    what is marked long
single  quick again, each lab with one server
all     quick and long

PATTERN selects by part of the name. Ends in `test: passed=N failed=N skipped=N`; fails if it ran nothing.
"""

import os
import pathlib
import signal
import sys
import time
import unittest

# Seconds for a quick test, and for a long one, its class's lab included.
QUICK_SECONDS, LONG_SECONDS = 180, 900


class Result(unittest.TestResult):
    """A line per test, with its time; daemons' last words with each failure."""

    def __init__(self):
        super().__init__()
        self.passed, self.started = 0, 0.0

    def startTest(self, test):
        super().startTest(test)
        self.started = time.monotonic()
        signal.alarm(LONG_SECONDS if marked_long(test) else QUICK_SECONDS)

    def stopTest(self, test):
        signal.alarm(0)
        super().stopTest(test)

    def say(self, word, test):
        seconds = time.monotonic() - self.started if self.started else 0.0
        print(f"{word:<7} {seconds:6.1f} s  {name_of(test)}", flush=True)

    def addSuccess(self, test):
        self.passed += 1
        self.say("ok", test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.say("skipped", test)
        print(f"        {reason}", flush=True)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.tell(test, self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self.tell(test, self.errors[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.tell(subtest, self._exc_info_to_string(err, test))

    def tell(self, test, trace):
        self.say("FAILED", test)
        print(trace, end="")
        lab = getattr(test, "lab", None)
        if lab:
            print(lab.log_tails(), end="")
        sys.stdout.flush()


def name_of(test):
    return getattr(test, "id", lambda: str(test))()


def marked_long(test):
    method = getattr(test, getattr(test, "_testMethodName", ""), None)
    return getattr(method, "kwik_long", getattr(type(test), "kwik_long", False))


def servers_needed(test):
    method = getattr(test, getattr(test, "_testMethodName", ""), None)
    return max(getattr(method, "kwik_servers", 1), getattr(type(test), "kwik_servers", 1))


def flatten(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


def select(mode, pattern):
    found = unittest.defaultTestLoader.discover(str(pathlib.Path(__file__).parent), "test_*.py")
    servers = int(os.environ["KWIK_SERVERS"])
    for test in flatten(found):
        wanted = mode == "all" or marked_long(test) == (mode == "long")
        if wanted and servers_needed(test) <= servers and pattern in name_of(test):
            yield test


def timed_out(_number, _frame):
    raise TimeoutError("the test took longer than its limit")


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in ("quick", "long", "single", "all"):
        sys.exit(__doc__)
    mode, pattern = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    os.environ["KWIK_SERVERS"] = "1" if mode == "single" else os.environ.get("KWIK_SERVERS", "3")
    signal.signal(signal.SIGALRM, timed_out)

    def interrupted(_number, _frame):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupted)
    result = Result()
    unittest.TestSuite(select(mode, pattern)).run(result)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    if result.passed == 0 and failed == 0:
        print("No test ran.")
        failed = 1
    print(f"test: passed={result.passed} failed={failed} skipped={len(result.skipped)}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
