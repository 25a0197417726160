"""What the targets' scripts say when nothing ran, and that they fail then; the compiler is none."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Compiles once for each scratch directory, and then finds all up to date, as swift build does.
SWIFT = """#!/bin/sh
[ "$1" != test ] || exec Tests/swift-test "$@"
grep -rq unbuildable Sources && { echo 'error: unbuildable'; exit 1; }
while [ $# -gt 0 ]; do
    case $1 in
    --scratch-path) scratch=$2 ;;
    -emit-symbol-graph-dir) graphs=$3 ;;
    esac
    shift
done
mkdir -p "$scratch/debug"
cp Tests/simulate "$scratch/debug/kwik-simulate"
[ ! -e "$scratch/built" ] || exit 0
touch "$scratch/built"
[ -z "${graphs-}" ] || touch "$graphs/KwikCore.symbols.json"
"""
# One test passes, one is skipped. What there is of XCTest leaks, and fails the run.
SWIFT_TEST = """#!/bin/sh
while [ "$1" != --disable-xctest ]; do shift; [ $# -gt 0 ] || exit 1; done
[ "$2" = --xunit-output ]
echo "<testsuites><testsuite tests='$TESTS' failures='0' skipped='1'/></testsuites>" >"$3"
"""
# In place of the simulation: one seed fails where a source has a fault.
SIMULATE = """#!/bin/sh
grep -rq idle Sources && { echo 'never occurred in 9 runs: work'; exit 1; }
grep -rq fault Sources || exit 0
echo 'seed 3: broken'
exit 1
"""
DOCC = """#!/bin/sh
while [ "$1" != --output-path ]; do shift; done
mkdir -p "$2/data/documentation"
[ -e nothing-public ] || touch "$2/data/documentation/core.json"
"""
# In place of a fuzzer.
SWIFTC = """#!/bin/sh
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\\necho "stat::number_of_executed_units: %s"\\nexit %s\\n' "$INPUTS" "$STATUS" >"$2"
chmod +x "$2"
"""
MUTANT = """--- a/Sources/KwikCore/Core.swift
+++ b/Sources/KwikCore/Core.swift
@@ -1 +1 @@
-let core = 1
+let core = {}
"""


class Targets(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.top = pathlib.Path(directory.name)
        self.source = self.write("Sources/KwikCore/Core.swift", "let core = 1\n")
        self.write("Package.swift", "")
        for name, text in [("Tests/simulate", SIMULATE), ("Tests/swift-test", SWIFT_TEST),
                           ("tools/swift", SWIFT), ("tools/docc", DOCC), ("tools/swiftc", SWIFTC),
                           ("tools/cc", "#!/bin/sh\n")]:
            self.write(name, text).chmod(0o755)
        for name in ["packaging/docs.sh", "Tests/Simulation/mutants.sh", "Tests/Fuzz/build.sh",
                     "Tests/System/suite.py"]:
            (self.top / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.top / name)

    def write(self, name, text):
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def run_script(self, name, *arguments, **variables):
        """Its exit code and the last of what it said."""
        environment = dict(os.environ, SWIFT=str(self.top / "tools/swift"), SEEDS="9", CC="cc",
                           **variables)
        environment["PATH"] = f"{self.top / 'tools'}:{environment['PATH']}"
        interpreter = [sys.executable] if name.endswith(".py") else []
        ended = subprocess.run([*interpreter, self.top / name, *arguments], cwd=self.top, env=environment,
                               text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        return ended.returncode, ended.stdout.splitlines()[-1]

    def docs(self):
        return self.run_script("packaging/docs.sh", "pages")

    def mutants(self, **sources):
        for name, text in sources.items():
            self.write(f"Tests/Simulation/Mutants/{name}.patch", MUTANT.format(text))
        return self.run_script("Tests/Simulation/mutants.sh")

    def fuzz(self, inputs, status, *targets, seconds="1"):
        return self.run_script("Tests/Fuzz/build.sh", *targets, INPUTS=inputs, STATUS=status,
                               FUZZ_SECONDS=seconds)

    def unit(self, *sets, tests):
        code, last = self.run_script("Tests/System/suite.py", *sets, TESTS=tests)
        return code, last.partition(" seconds=")[0]

    def test_unit_tests_are_counted_and_xctest_has_no_say(self):
        self.assertEqual(self.unit("address", "thread", tests="2"), (0, "test: passed=2 failed=0 skipped=2"))
        self.assertEqual(self.unit("golden", tests="1"), (1, "test: passed=0 failed=1 skipped=1"))

    def test_what_a_sanitizer_said_is_not_lost_to_the_next(self):
        self.unit("address", "thread", tests="2")
        logs = sorted(path.name for path in (self.top / "build").glob("*.log"))
        self.assertEqual(logs, ["address.log", "thread.log"])

    def test_coverage_fails_where_nothing_was_recorded(self):
        self.write("tools/llvm-cov", "#!/bin/sh\nexit 1\n").chmod(0o755)
        self.assertEqual(self.unit("coverage", tests="2"), (1, "test: passed=1 failed=1 skipped=1"))

    def test_documentation_is_there_again_when_nothing_was_compiled_since(self):
        self.assertEqual(self.docs(), (0, "docs: modules=1 pages=1 failed=0"))
        self.assertEqual(self.docs(), (0, "docs: modules=1 pages=1 failed=0"))

    def test_documentation_without_pages_fails_though_there_were_pages_before(self):
        self.docs()
        self.write("nothing-public", "")
        self.assertEqual(self.docs(), (1, "docs: modules=0 pages=0 failed=1"))

    def test_documentation_of_what_does_not_compile_fails(self):
        self.source.write_text("unbuildable")
        self.assertEqual(self.docs(), (1, "docs: modules=0 pages=0 failed=1"))

    def test_mutants_are_counted_found_and_not(self):
        self.assertEqual(self.mutants(found="fault"), (0, "test: passed=1 failed=0"))
        self.assertEqual(self.mutants(idle="idle"), (0, "test: passed=2 failed=0"))
        self.assertEqual(self.mutants(missed="2"), (1, "test: passed=2 failed=1"))
        self.assertEqual(self.mutants(broken="unbuildable"), (1, "test: passed=2 failed=2"))
        named = self.run_script("Tests/Simulation/mutants.sh", "found", "idle")
        self.assertEqual(named, (0, "test: passed=2 failed=0"))
        self.assertEqual(self.run_script("Tests/Simulation/mutants.sh", "unheard-of")[0], 1)

    def test_no_mutants_fail(self):
        self.assertEqual(self.mutants()[0], 1)

    def test_mutants_prove_nothing_where_the_core_fails_without_them(self):
        self.write("Sources/KwikCore/Other.swift", "let fault = 1\n")
        self.assertEqual(self.mutants(found="fault"), (1, "test: passed=0 failed=1"))

    def test_fuzzers_are_counted(self):
        self.assertEqual(self.fuzz("7", "0"), (0, "test: passed=5 failed=0"))
        self.assertEqual(self.fuzz("7", "0", "kdp", seconds="0"), (0, "test: passed=1 failed=0"))

    def test_a_fuzzer_that_finds_something_or_tries_nothing_fails(self):
        self.assertEqual(self.fuzz("7", "77", "kdp"), (1, "test: passed=0 failed=1"))
        self.assertEqual(self.fuzz("0", "0", "kdp"), (1, "test: passed=0 failed=1"))
        self.assertEqual(self.fuzz("7", "0", "unheard-of"), (2, "test: passed=0 failed=1"))


if __name__ == "__main__":
    unittest.main()
