"""Unmodified programs over HTTP: each gets the right bytes, and the engine really carried them."""

import os
import subprocess
import sys
import unittest

from kwiklab import wait_until
from kwiktest import BULK_BYTES, SERVERS, LabCase, content, long

URLLIB = "import sys, urllib.request as r; sys.stdout.buffer.write(r.urlopen(sys.argv[1]).read())"
# Sizes about the edges of a block, a packet, an empty body.
SMALL_SIZES = (0, 1, 1200, 16383, 16384, 16385, 100_000)


def make_git_repository(directory, target):
    """A bare repository served as plain files, with one file of bulk."""
    work = directory / "git-work"
    work.mkdir()
    (work / "bulk").write_bytes(content(BULK_BYTES, "git"))
    env = dict(os.environ, HOME=str(directory), GIT_CONFIG_NOSYSTEM="1",
               GIT_AUTHOR_NAME="Kwik", GIT_AUTHOR_EMAIL="kwik@kwik.test",
               GIT_COMMITTER_NAME="Kwik", GIT_COMMITTER_EMAIL="kwik@kwik.test")
    for words in (["init", "-q"], ["add", "bulk"], ["commit", "-q", "-m", "bulk"],
                  ["clone", "-q", "--bare", ".", target]):
        subprocess.run(["git", *words], cwd=work, env=env, check=True, capture_output=True)
    subprocess.run(["git", "update-server-info"], cwd=target, env=env, check=True)


def make_apt_repository(directory, target):
    """A flat repository with one package of bulk."""
    package = directory / "package"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "DEBIAN" / "control").write_text(
        "Package: kwik-sample\nVersion: 1\nArchitecture: all\nMaintainer: Kwik <kwik@kwik.test>\n"
        "Description: bulk for a test\n", encoding="ascii")
    (package / "bulk").write_bytes(content(BULK_BYTES, "apt"))
    target.mkdir(parents=True)
    build = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", package, target / "kwik-sample.deb"]
    subprocess.run(build, check=True, capture_output=True)
    index = subprocess.run(["dpkg-scanpackages", "."], cwd=target, check=True, capture_output=True).stdout
    (target / "Packages").write_bytes(index)


def copy_tree(lab, name):
    """What the first server has under `name`, as each other's own copy."""
    first = lab.servers[0].files
    for path in (first / name).rglob("*"):
        if path.is_file():
            lab.put(path.relative_to(first), path, lab.servers[1:])


class Programs(LabCase):
    @classmethod
    def prepare(cls):
        cls.bulk = content(BULK_BYTES, "bulk")
        cls.lab.put("bulk", cls.bulk)
        for size in SMALL_SIZES:
            cls.lab.put(f"small-{size}", content(size, size))

    def test_curl(self):
        got = self.assert_served(lambda: self.curl("bulk"), BULK_BYTES, servers=2)
        self.assert_same(got, self.bulk)

    def test_wget(self):
        def act():
            return self.lab.run(["wget", "-q", "--tries=1", "-O", "-", self.lab.url("bulk")])
        result = self.assert_served(act, BULK_BYTES, servers=2)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assert_same(result.stdout, self.bulk)

    def test_python_urllib(self):
        def act():
            return self.lab.run([sys.executable, "-c", URLLIB, self.lab.url("bulk")])
        result = self.assert_served(act, BULK_BYTES, servers=2)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assert_same(result.stdout, self.bulk)

    def test_git_clone(self):
        make_git_repository(self.lab.directory, self.lab.servers[0].files / "bulk.git")
        copy_tree(self.lab, "bulk.git")
        clone = self.lab.directory / "clone"

        def act():
            return self.lab.run(["git", "clone", "-q", self.lab.url("bulk.git"), clone],
                                env={"HOME": str(self.lab.directory), "GIT_CONFIG_NOSYSTEM": "1"})
        result = self.assert_served(act, BULK_BYTES, servers=2)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assert_same((clone / "bulk").read_bytes(), content(BULK_BYTES, "git"))

    def test_apt_get(self):
        make_apt_repository(self.lab.directory, self.lab.servers[0].files / "apt")
        copy_tree(self.lab, "apt")
        home = self.lab.directory / "apt-home"
        for name in ("state/lists/partial", "cache/archives/partial", "etc", "got"):
            (home / name).mkdir(parents=True)
        source = f"deb [trusted=yes] {self.lab.url('apt')} ./\n"
        (home / "sources").write_text(source, encoding="ascii")
        (home / "status").touch()
        (home / "apt.conf").write_text(
            f'Dir::State "{home}/state"; Dir::Cache "{home}/cache"; Dir::State::status "{home}/status";\n'
            f'Dir::Etc {{ sourcelist "{home}/sources"; sourceparts "-"; main "{home}/none";\n'
            f'parts "{home}/etc"; preferencesparts "{home}/etc"; }};\n', encoding="ascii")

        def apt(*words):
            return self.lab.run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", *words],
                                env={"APT_CONFIG": str(home / "apt.conf")}, cwd=home / "got")
        result = self.assert_served(lambda: apt("update"), 100)
        self.assertEqual(result.returncode, 0, result.stderr)
        result = self.assert_served(lambda: apt("download", "kwik-sample"), BULK_BYTES, servers=2)
        self.assertEqual(result.returncode, 0, result.stderr)
        package = next((home / "got").glob("*.deb"))
        original = self.lab.servers[0].files / "apt" / "kwik-sample.deb"
        self.assert_same(package.read_bytes(), original.read_bytes())

    def test_small_answers(self):
        for size in SMALL_SIZES:
            with self.subTest(size=size):
                got = self.assert_served(lambda name=f"small-{size}": self.curl(name), size)
                self.assert_same(got, content(size, size))

    def test_small_answers_touch_the_primary_alone(self):
        # By a name of its own: requests of other tests are still being logged.
        def asked():
            return [sum("?alone" in line for line in server.requests()) for server in self.lab.servers]
        self.curl("small-1200?alone")
        wait_until(lambda: sum(asked()), "the request in a server's log")
        self.assertEqual(asked(), [1] + [0] * (SERVERS - 1))

    def test_several_answers_on_one_connection(self):
        names = ["small-16385", "bulk", "small-1", "small-100000"]
        out = self.lab.directory / "keep-alive"
        out.mkdir()
        words = []
        for index, name in enumerate(names):
            words += ["-o", out / str(index), self.lab.url(name)]

        def act():
            return self.lab.run(["curl", "-sS", "--fail", *words])
        result = self.assert_served(act, BULK_BYTES, servers=2)
        self.assertEqual(result.returncode, 0, result.stderr)
        for index, name in enumerate(names):
            self.assert_same((out / str(index)).read_bytes(), (self.lab.servers[0].files / name).read_bytes())

    def test_missing_file_is_the_servers_answer(self):
        words = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", self.lab.url("nothing")]
        result = self.lab.run(words)
        self.assertEqual((result.returncode, result.stdout), (0, b"404"))

    def test_many_at_once(self):
        def act():
            running = [self.lab.start(["curl", "-sS", "--fail", self.lab.url("small-100000")],
                                      stdout=subprocess.PIPE) for _ in range(16)]
            return [process.communicate(timeout=60)[0] for process in running]
        results = self.assert_served(act, 16 * 100_000)
        for got in results:
            self.assert_same(got, content(100_000, 100_000))

    def test_a_reader_that_pauses_loses_nothing(self):
        process = self.lab.start(["curl", "-sS", "--fail", "--limit-rate", "6M", self.lab.url("bulk")],
                                 stdout=subprocess.PIPE)
        got = process.communicate(timeout=60)[0]
        self.assertEqual(process.returncode, 0)
        self.assert_same(got, self.bulk)

    def test_a_program_that_goes_away_half_way_harms_nobody(self):
        for _ in range(3):
            process = self.lab.start(["curl", "-sS", self.lab.url("bulk")], stdout=subprocess.PIPE)
            process.stdout.read(BULK_BYTES // 3)
            process.kill()
            process.communicate()
        self.assert_same(self.curl("bulk"), self.bulk)

    @long
    def test_hundreds_of_connections_one_after_the_other(self):
        for _ in range(300):
            self.assert_same(self.curl("small-16384"), content(16384, 16384))


if __name__ == "__main__":
    unittest.main()
