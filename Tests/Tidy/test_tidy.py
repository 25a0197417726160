"""The house rules have teeth: each rule is shown a violation and must find it, and nothing in good text."""

import pathlib
import tempfile
import unittest

import tidy

LONG_BODY = "    work()\n" * (tidy.MAX_FUNCTION_LINES + 5)


def words(path, text):
    return [what for _, what in tidy.check_words(pathlib.Path(path), text)]


def sizes(path, text):
    return [what for _, what in tidy.check_size(pathlib.Path(path), text)]


def imports(path, text):
    doors = {"CNgtcp2": set(), "CLinux": set()}
    return [what for _, what in tidy.check_imports(pathlib.Path(path), text, doors)], doors


class Size(unittest.TestCase):
    def test_long_swift_function_is_found(self):
        text = "struct S {\n  func long(a: Int,\n            b: Int) throws {\n" + LONG_BODY + "  }\n}\n"
        self.assertIn("function of", sizes("Sources/A/a.swift", text)[0])

    def test_long_initializer_with_multiline_signature_is_found(self):
        text = "class S {\n  init(\n    a: Int\n  ) {\n" + LONG_BODY + "  }\n}\n"
        self.assertEqual(len(sizes("Sources/A/a.swift", text)), 1)

    def test_braces_in_strings_and_comments_do_not_count(self):
        text = 'func f() {\n  print("{{{") // {{{\n}\n' + "let x = 1\n" * 100
        self.assertEqual(sizes("Sources/A/a.swift", text), [])

    def test_requirement_without_body_does_not_swallow_what_follows(self):
        text = "protocol P {\n  func f()\n}\nstruct S {\n" + "  var a: Int { 1 }\n" * 100 + "}\n"
        self.assertEqual(sizes("Sources/A/a.swift", text), [])

    def test_long_c_function_is_found(self):
        text = "static int f(int a,\n             int b)\n{\n" + LONG_BODY + "}\n"
        self.assertIn("function of", sizes("shim/a.c", text)[0])

    def test_c_declarations_and_structs_are_no_functions(self):
        text = "int f(int a);\nstruct s {\n" + "    int x;\n" * 100 + "};\n"
        self.assertEqual(sizes("shim/a.c", text), [])

    def test_long_python_function_is_found(self):
        text = "def f():\n" + LONG_BODY
        self.assertIn("function of", sizes("Tests/a.py", text)[0])

    def test_long_line_and_long_file_are_found(self):
        self.assertEqual(len(sizes("Sources/A/a.swift", "x" * (tidy.MAX_COLUMNS + 1) + "\n")), 1)
        self.assertEqual(len(sizes("Sources/A/a.swift", "x\n" * (tidy.MAX_FILE_LINES + 1))), 1)
        self.assertEqual(sizes("Sources/A/a.swift", "x\n" * tidy.MAX_FILE_LINES), [])


class Words(unittest.TestCase):
    def test_unfinished_work_is_found(self):
        for word in ("TODO", "FIXME", "not implemented", "try!", "fatalError(", "@unchecked Sendable"):
            self.assertEqual(len(words("Sources/A/a.swift", f"// {word}\n")), 1, word)

    def test_swallowed_failures_are_found(self):
        self.assertEqual(len(words("Makefile", "\tfalse || true\n")), 1)

    def test_paths_of_one_machine_are_found(self):
        self.assertEqual(len(words("README.md", "see /" + "work/main\n")), 1)

    def test_prose_elsewhere_is_free(self):
        self.assertEqual(words("README.md", "Nothing is left TODO.\n"), [])


class Imports(unittest.TestCase):
    def test_core_imports_nothing(self):
        for line in ("import Glibc", "internal import Foundation", "@preconcurrency import CLinux",
                     "public import struct Foundation.Data"):
            self.assertEqual(len(imports("Sources/KwikCore/a.swift", line + "\n")[0]), 1, line)

    def test_foreign_door_is_refused(self):
        self.assertEqual(len(imports("Sources/KwikEndpoint/a.swift", "internal import CNgtcp2\n")[0]), 1)

    def test_own_door_is_counted(self):
        found, doors = imports("Sources/KwikTransport/a.swift", "internal import CNgtcp2\n")
        self.assertEqual((found, doors["CNgtcp2"]), ([], {"KwikTransport"}))

    def test_unknown_module_is_found(self):
        self.assertEqual(len(imports("Sources/Mystery/a.swift", "import KwikCore\n")[0]), 1)

    def test_a_door_with_two_users_is_found(self):
        with tempfile.TemporaryDirectory() as directory:
            (pathlib.Path(directory) / "Sources").mkdir()
            found = list(tidy.check_doors(pathlib.Path(directory), {"CX": {"A", "B"}, "CY": {"A"}}))
        self.assertEqual(len(found), 1)


class Purity(unittest.TestCase):
    def test_swift_and_memory_are_pure_and_clocks_are_not(self):
        for symbol in ("swift_retain", "$sSa", "memcpy", "memmove", "_swift_FORCE_LOAD_COMPATIBILITY"):
            self.assertTrue(tidy.PURE_SYMBOL.match(symbol), symbol)
        for symbol in ("clock_gettime", "write", "open", "getrandom", "printf", "socket", "memfd_create"):
            self.assertFalse(tidy.PURE_SYMBOL.match(symbol), symbol)


if __name__ == "__main__":
    unittest.main()
