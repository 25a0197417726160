#!/usr/bin/env python3
"""Reads the source tree and holds it to the house rules (CONTRIBUTING.md).

    tidy.py [--objects DIR]     DIR: KwikCore's object files, whose undefined symbols are checked too

Each violation is one line `path:line: what`. The last line is `test: passed=FILES failed=VIOLATIONS`.
"""

import ast
import pathlib
import re
import subprocess
import sys

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 70
MAX_COLUMNS = 110

TOP_LEVEL = {
    "Package.swift", "Sources", "shim", "Tests", "Makefile", "README.md", "man", ".ci", ".gitignore",
    ".swift-format", "LICENSE", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "packaging",
}

# What each module may import (layout.md); a C door appears exactly once. Nobody may import more.
MODULES = {
    "KwikCore": set(),
    "KwikLinux": {"KwikCore", "CLinux", "CSystemd", "Glibc"},
    "KwikTransport": {"KwikCore", "CNgtcp2", "CGnuTLS", "Glibc"},
    "KwikControl": {"KwikCore", "CKwikMessages"},
    "KwikConfiguration": {"KwikCore", "CToml", "Glibc"},
    "KwikTelemetry": {"KwikCore", "KwikLinux", "CJansson", "Glibc"},
    "KwikPrograms": {"KwikCore", "KwikLinux", "Glibc"},
    "KwikEndpoint": {
        "KwikCore", "KwikLinux", "KwikTransport", "KwikControl", "KwikTelemetry", "CIsal", "CXXHash", "CZstd",
        "Glibc",
    },
    "KwikEngine": {
        "KwikEndpoint", "KwikPrograms", "KwikCore", "KwikLinux", "KwikTransport", "KwikControl",
        "KwikConfiguration", "KwikTelemetry", "Glibc",
    },
    "KwikGateway": {
        "KwikEndpoint", "KwikPrograms", "KwikCore", "KwikLinux", "KwikTransport", "KwikControl",
        "KwikConfiguration", "KwikTelemetry", "Glibc",
    },
    "kwikd": {"KwikEngine", "KwikConfiguration", "KwikLinux", "KwikTelemetry", "Glibc"},
    "kwik-gateway": {"KwikGateway", "KwikConfiguration", "KwikLinux", "KwikTelemetry", "Glibc"},
    "kwikctl": {"KwikLinux", "KwikTelemetry", "Glibc"},
}

WORDS = re.compile(
    r"TODO|FIXME|XXX|not implemented|unimplemented|fatalError\(|placeholder|for now|stub|@unchecked Sendable"
    r"|try!|nonisolated\(unsafe\)", re.IGNORECASE)
SKIPS = re.compile(r"\.disabled\(|XCTSkip|withKnownIssue|\|\| true")
MACHINE_PATHS = re.compile(r"/(wor[k]|far[m]|roo[t])/")
IMPORT = re.compile(r"^\s*(?:@\w+(?:\([^)]*\))?\s+)*"
                    r"(?:(?:public|internal|package|private|fileprivate)\s+)?"
                    r"import\s+(?:(?:struct|class|enum|func|protocol|typealias)\s+)?(\w+)")
SWIFT_FUNCTION = re.compile(r"\b(?:func\s+\S+?|init[?!]?|subscript)\s*(?:<[^>]*>)?\(|\bdeinit\s*\{")
C_FUNCTION = re.compile(r"^(?!#|\}|typedef|struct\b[^()]*$)[A-Za-z_][\w\s\*,()]*\([^;]*$")
# What an object of the pure core may ask of others: the Swift run-time with its arrays, and moving bytes.
PURE_SYMBOL = re.compile(r"^(_?_?swift_|_swift_FORCE_LOAD|_swiftEmpty|\$s|mem(cpy|move|set|cmp)$|bzero$"
                         r"|malloc$|malloc_usable_size$|free$|__stack_chk_fail$|_GLOBAL_OFFSET_TABLE_$)")
# Files whose text another program writes.
GENERATED = re.compile(r"\.pb-c\.[ch]$")


def blank_out(text):
    """The text with strings and comments made spaces, lines kept: braces can be counted in it."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    pattern = re.compile(r'"""(?:.|\n)*?"""|#"(?:.|\n)*?"#|"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*(?:.|\n)*?\*/'
                         r"|'(?:\\.|[^'\\\n])'")
    return pattern.sub(blank, text)


def end_of_braces(text, start):
    """Offset after the brace that closes the first one opened at or after `start`; None: no body."""
    depth, parentheses = 0, 0
    for offset in range(start, len(text)):
        character = text[offset]
        if character == "(":
            parentheses += 1
        elif character == ")":
            parentheses -= 1
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0 and parentheses <= 0:
                return offset + 1
            if depth < 0:
                return None
        elif character == "\n" and depth == 0 and parentheses == 0 and not continues(text, offset):
            return None
    return None


def continues(text, newline):
    """Whether a declaration goes on after this line: an opening brace, a where clause, a result type."""
    return re.match(r"\s*(\{|where\b|->|throws\b|async\b)", text[newline:]) is not None


def braced_functions(text, pattern):
    """(first line, number of lines) of each function body that `pattern` finds in Swift or C text."""
    code = blank_out(text)
    for match in pattern.finditer(code):
        start = match.start()
        end = end_of_braces(code, match.start())
        if end is not None:
            first = code.count("\n", 0, start) + 1
            yield first, code.count("\n", start, end) + 1


def c_functions(text):
    return braced_functions(text, re.compile(C_FUNCTION.pattern, re.MULTILINE))


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.end_lineno - node.lineno + 1


def functions(path, text):
    if path.suffix == ".swift":
        return braced_functions(text, SWIFT_FUNCTION)
    if path.suffix in (".c", ".h", ".cpp"):
        return c_functions(text)
    if path.suffix == ".py":
        return python_functions(text)
    return ()


def check_size(path, text):
    lines = text.split("\n")
    if len(lines) - 1 > MAX_FILE_LINES:
        yield 1, f"{len(lines) - 1} lines; a file has at most {MAX_FILE_LINES}"
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS:
            yield number, f"{len(line)} columns; a line has at most {MAX_COLUMNS}"
        if line != line.rstrip():
            yield number, "trailing white space"
        if "\t" in line and path.suffix in (".swift", ".c", ".h", ".py", ".cpp"):
            yield number, "tab"
    for first, count in functions(path, text):
        if count > MAX_FUNCTION_LINES:
            yield first, f"function of {count} lines; at most {MAX_FUNCTION_LINES}"


def check_words(path, text):
    in_tidy = path.parts[:2] == ("Tests", "Tidy")
    watched = path.parts[0] in ("Sources", "shim", "Tests", "Makefile", ".ci") and not in_tidy
    for number, line in enumerate(text.split("\n"), 1):
        if MACHINE_PATHS.search(line):
            yield number, "path of one machine"
        if watched and (found := WORDS.search(line)):
            yield number, f"'{found.group(0)}' stands for unfinished or unsafe work"
        if path.parts[0] in ("Tests", "Makefile", ".ci") and not in_tidy and (found := SKIPS.search(line)):
            yield number, f"'{found.group(0)}' skips or swallows a failure"


def check_imports(path, text, doors):
    if path.parts[0] != "Sources" or path.suffix != ".swift":
        return
    module = path.parts[1]
    if module not in MODULES:
        yield 1, f"module {module} is not in Tests/Tidy's table of who may import whom"
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not (found := IMPORT.match(line)):
            continue
        name = found.group(1)
        if name not in MODULES[module]:
            yield number, f"{module} may not import {name}"
        if name.startswith("C") and name in doors:
            doors[name].add(module)


def check_doors(root, doors):
    """Each C door is opened by exactly one module."""
    for name, users in sorted(doors.items()):
        if len(users) > 1:
            yield f"Sources/{name}:1: C door imported by {', '.join(sorted(users))}; exactly one module may"
    for directory in sorted((root / "Sources").iterdir()):
        if directory.is_dir() and directory.name not in MODULES and not directory.name.startswith("C"):
            yield f"Sources/{directory.name}:1: neither a known module nor a C door"


def check_purity(objects):
    """The undefined symbols of KwikCore's objects: a clock, a log or a socket would show here."""
    files = sorted(objects.glob("*.o"))
    if not files:
        yield f"{objects}:1: no object files: build first"
        return
    listing = subprocess.run(["nm", "-u", "-P", *files], check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in listing.splitlines()]
    undefined = {row[0] for row in rows if len(row) >= 2 and row[1] in "Uwv"}
    for symbol in sorted(name for name in undefined if not PURE_SYMBOL.match(name)):
        yield f"Sources/KwikCore:1: its objects ask for {symbol}"


def tracked(root):
    """Files that git knows or would add; a tree without git is walked."""
    listing = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=root,
                             capture_output=True, text=True)
    if listing.returncode == 0:
        names = listing.stdout.splitlines()
    else:
        names = [str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()]
        names = [n for n in names if not n.startswith((".build/", "build/"))]
    return [pathlib.Path(name) for name in sorted(names) if (root / name).is_file()]


def is_text(path):
    suffixes = (".swift", ".c", ".h", ".cpp", ".py", ".sh", ".md", ".toml", ".proto", ".map")
    return path.suffix in suffixes or path.name in ("Makefile", "run", "rules", "control")


def tidy(root):
    """All violations of the tree, and the number of files read."""
    violations, read = [], 0
    doors = {p.name: set() for p in (root / "Sources").iterdir() if p.name.startswith("C")}
    files = tracked(root)
    for entry in sorted({path.parts[0] for path in files} - TOP_LEVEL):
        violations.append(f"{entry}:1: top-level entry outside the agreed layout")
    for path in files:
        if not is_text(path) or GENERATED.search(path.name):
            continue
        read += 1
        text = (root / path).read_text(encoding="utf-8")
        found = list(check_words(path, text)) + list(check_imports(path, text, doors))
        if path.suffix != ".md":
            found += list(check_size(path, text))
        violations += [f"{path}:{line}: {what}" for line, what in sorted(found)]
    violations += check_doors(root, doors)
    return violations, read


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    violations, read = tidy(root)
    if "--objects" in sys.argv:
        violations += check_purity(pathlib.Path(sys.argv[sys.argv.index("--objects") + 1]))
    for line in violations:
        print(line)
    print(f"test: passed={read} failed={len(violations)}")
    sys.exit(1 if violations or read == 0 else 0)


if __name__ == "__main__":
    main()
