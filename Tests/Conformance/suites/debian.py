"""Packages and sources by apt, with lists and a cache of its own: nothing of the system changes, no root."""

import pathlib
import re
import subprocess

SOURCES = """Types: deb deb-src
URIs: http://deb.debian.org/debian
Suites: {release}
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


def release():
    text = pathlib.Path("/etc/os-release").read_text(encoding="utf-8")
    found = re.search(r"^VERSION_CODENAME=(\w+)", text, re.MULTILINE)
    if not found:
        raise LookupError("not a Debian release")
    return found.group(1)


def apt(work, *words):
    for name in ("parts", "lists/partial", "cache/archives/partial"):
        (work / name).mkdir(parents=True, exist_ok=True)
    # What is installed here must not count: an update may be no longer or not yet in the lists.
    (work / "status").touch()
    (work / "parts/debian.sources").write_text(SOURCES.format(release=release()), encoding="utf-8")
    subprocess.run(
        ["apt-get", "-qq", "-o", "Dir::Etc::sourcelist=/dev/null", "-o", "APT::Sandbox::User=",
         "-o", f"Dir::Etc::sourceparts={work}/parts", "-o", f"Dir::State::lists={work}/lists",
         "-o", f"Dir::State::status={work}/status", "-o", f"Dir::Cache={work}/cache", *words],
        cwd=work, check=True, stdout=subprocess.DEVNULL)


def fetch_package(work, name):
    """What the package would install, in a directory."""
    apt(work, "update")
    apt(work, "download", name)
    subprocess.run(["dpkg-deb", "-x", next(work.glob(f"{name}_*.deb")), work / "tree"], check=True)
    return work / "tree"


def fetch_source(work, name):
    """The package's unpacked source, Debian's patches applied."""
    apt(work, "update")
    apt(work, "source", "--download-only", name)
    subprocess.run(["dpkg-source", "--no-check", "-x", next(work.glob(f"{name}_*.dsc")), work / "tree"],
                   check=True, stdout=subprocess.DEVNULL)
    return work / "tree"
