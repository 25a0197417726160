"""Unmodified programs at real work both ways: TLS, shells, files, databases, sockets, languages' run-times.

All of it goes over the engine, or it fails: nobody listens at the addresses that the programs name.
"""

import getpass
import os
import pathlib
import random
import shutil
import subprocess
import sys
import threading
import time
import unittest
import zipfile

from kwiktest import MEBIBYTE, content, long
from programlab import (HOST, NAMED, REAL, ROOT_USER, ProgramsCase, as_user, consecutive_ports, digest,
                        own_directory, tcp_listens)

CLIENTS = pathlib.Path(__file__).with_name("clients")
ECHO = "TCP-LISTEN:{port},bind=" + REAL + ",reuseaddr,fork,backlog=64"
DAV = "dav_methods PUT; create_full_put_path on; client_body_buffer_size 64k;"
# Debian's own, whose pip is not that of another installation.
PYTHON = "/usr/bin/python3"
# More than the five that a QUIC handshake may take.
IDLE_SECONDS = 6


@long
class Web(ProgramsCase):
    """curl over TLS, nginx as a reverse proxy, pip. Services: TLS, plain."""

    ports = 2

    @classmethod
    def prepare(cls):
        certificate, key = cls.lab.authority.issue(HOST)
        tls, plain = cls.lab.ports
        cls.home, argv = cls.lab.serve_nginx("web", lambda home: (
            f"server {{ listen {REAL}:{tls} ssl http2; ssl_certificate {certificate};"
            f" ssl_certificate_key {key}; location / {{ root {home}/files; {DAV} }} }}\n"
            f"server {{ listen {REAL}:{plain}; index index.html;"
            f" location / {{ root {home}/files; {DAV} }} }}"))
        cls.lab.serve("web", argv, tls)
        cls.files = cls.home / "files"
        cls.data = cls.bulk("web", 8 * MEBIBYTE)
        for index in range(4):
            shutil.copyfile(cls.data, cls.files / f"bulk-{index}")

    def curl_tls(self, *words):
        port = self.lab.ports[0]
        return self.program("curl", "-sS", "--fail", "--cacert", self.lab.authority.certificate,
                            "--resolve", f"{HOST}:{port}:{NAMED}", *words)

    def secure(self, name):
        return self.url(0, name, "https", HOST)

    def test_curl_https(self):
        out = self.work / "https"

        def act():
            self.curl_tls("--http1.1", "-T", self.data, self.secure("https"))
            return self.curl_tls("--http1.1", "-o", out, "-w", "%{http_version}", self.secure("bulk-0"))
        version = self.assert_moved(act, 8 * MEBIBYTE, 8 * MEBIBYTE, connections=2)
        self.assertEqual(version, b"1.1")
        self.assert_same_file(out, self.data)
        self.assert_same_file(self.files / "https", self.data)

    def test_curl_http2_several_at_once(self):
        words = ["--http2", "-Z", "-w", "%{http_version} %{num_connects}\n"]
        for index in range(4):
            words += ["-o", self.work / f"http2-{index}", self.secure(f"bulk-{index}")]

        def act():
            self.curl_tls("--http2", "-T", self.data, self.secure("http2"))
            return self.curl_tls(*words)
        said = self.assert_moved(act, 32 * MEBIBYTE, 8 * MEBIBYTE, connections=2)
        self.assertEqual([line.split()[0] for line in said.splitlines()], [b"2"] * 4)
        for index in range(4):
            self.assert_same_file(self.work / f"http2-{index}", self.data)
        self.assert_same_file(self.files / "http2", self.data)

    def test_nginx_reverse_proxy(self):
        port = consecutive_ports(1)[0]
        _, argv = self.lab.serve_nginx("front", lambda home: (
            f"upstream far {{ server {NAMED}:{self.lab.ports[1]}; keepalive 4; }}\n"
            f"server {{ listen {REAL}:{port}; location / {{ proxy_pass http://far; proxy_http_version 1.1;"
            " proxy_set_header Connection \"\"; }} }".replace("}}", "}")))
        self.lab.serve("front", argv, port, env=self.lab.environment())
        address = f"http://{REAL}:{port}"

        def act():
            self.lab.run(["curl", "-sS", "--fail", "-T", self.data, f"{address}/proxied"], shim=False)
            running = [self.lab.start(["curl", "-sS", "--fail", f"{address}/bulk-{index}"], shim=False,
                                      stdout=subprocess.PIPE) for index in range(4)]
            return [process.communicate(timeout=60)[0] for process in running]
        for got in self.assert_moved(act, 32 * MEBIBYTE, 8 * MEBIBYTE):
            self.assert_same(got, self.data.read_bytes())
        self.assert_same_file(self.files / "proxied", self.data)

    def test_pip_downloads_a_wheel(self):
        index = self.files / "simple" / "kwiksample"
        index.mkdir(parents=True)
        name = "kwiksample-1.0-py3-none-any.whl"
        with zipfile.ZipFile(index / name, "w") as wheel:
            wheel.write(self.data, "kwiksample/bulk")
            wheel.writestr("kwiksample-1.0.dist-info/METADATA",
                           "Metadata-Version: 2.1\nName: kwiksample\nVersion: 1.0\n")
            wheel.writestr("kwiksample-1.0.dist-info/WHEEL",
                           "Wheel-Version: 1.0\nGenerator: kwik\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr("kwiksample-1.0.dist-info/RECORD", "")
        (index / "index.html").write_text(f'<!DOCTYPE html><a href="{name}">{name}</a>', encoding="ascii")
        out = self.work / "pip"

        def act():
            self.program(PYTHON, "-m", "pip", "download", "-q", "--no-deps", "--no-cache-dir", "-d", out,
                         "--index-url", self.url(1, "simple"), "--trusted-host", NAMED, "kwiksample",
                         env={"PIP_CONFIG_FILE": "/dev/null", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                              "HOME": str(self.work)})
        self.assert_moved(act, 8 * MEBIBYTE, 100)
        self.assert_same_file(out / name, index / name)


@long
class Shells(ProgramsCase):
    """ssh, scp, rsync and git. Services: sshd, rsync daemon, git daemon."""

    ports = 3

    @classmethod
    def prepare(cls):
        ssh, rsync, git = cls.lab.ports
        home = cls.lab.directory / "shells"
        home.mkdir()
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / name], check=True)
        shutil.copyfile(home / "user.pub", home / "authorized")
        host = (home / "host.pub").read_text(encoding="ascii")
        (home / "known").write_text(f"[{NAMED}]:{ssh} {host}", encoding="ascii")
        (home / "sshd.conf").write_text(
            f"ListenAddress {REAL}:{ssh}\nHostKey {home}/host\nAuthorizedKeysFile {home}/authorized\n"
            "StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin prohibit-password\n"
            "PasswordAuthentication no\nSubsystem sftp internal-sftp\nMaxStartups 50\n", encoding="ascii")
        (home / "ssh.conf").write_text(
            f"Host *\n  Port {ssh}\n  User {getpass.getuser()}\n  IdentityFile {home}/user\n"
            f"  IdentitiesOnly yes\n  UserKnownHostsFile {home}/known\n  GlobalKnownHostsFile /dev/null\n"
            "  BatchMode yes\n  ConnectTimeout 20\n  LogLevel ERROR\n", encoding="ascii")
        cls.ssh = ["-F", home / "ssh.conf"]
        if ROOT_USER and not os.path.isdir("/run/sshd"):
            # Compiled into sshd; the service manager makes it where the machine has an sshd of its own.
            os.mkdir("/run/sshd", 0o755)
            cls.addClassCleanup(os.rmdir, "/run/sshd")
        cls.lab.serve("sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", home / "sshd.conf"], ssh)

        cls.module = home / "module"
        cls.module.mkdir()
        identity = f"uid = {os.getuid()}\ngid = {os.getgid()}\n" if ROOT_USER else ""
        (home / "rsyncd.conf").write_text(
            f"use chroot = no\npid file = {home}/rsyncd.pid\nlock file = {home}/rsyncd.lock\n{identity}"
            f"log file = {home}/rsyncd.log\n[files]\npath = {cls.module}\nread only = no\n", encoding="ascii")
        cls.lab.serve("rsyncd", ["rsync", "--daemon", "--no-detach", f"--address={REAL}", f"--port={rsync}",
                                 f"--config={home}/rsyncd.conf"], rsync)

        cls.git_env = {"HOME": str(cls.work), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
                       "GIT_AUTHOR_NAME": "Kwik", "GIT_AUTHOR_EMAIL": "kwik@kwik.test",
                       "GIT_COMMITTER_NAME": "Kwik", "GIT_COMMITTER_EMAIL": "kwik@kwik.test",
                       "GIT_SSH_COMMAND": f"ssh -F {home}/ssh.conf"}
        cls.repositories = home / "git"
        for name in ("daemon.git", "ssh.git"):
            subprocess.run(["git", "init", "-q", "--bare", "-b", "main", cls.repositories / name], check=True,
                           env=dict(os.environ, **cls.git_env))
        cls.lab.serve("git", ["git", "daemon", f"--listen={REAL}", f"--port={git}", "--export-all",
                              "--enable=receive-pack", f"--base-path={cls.repositories}", cls.repositories],
                      git, env=dict(os.environ, **cls.git_env))
        cls.data = cls.bulk("shells", 6 * MEBIBYTE)

    def test_ssh_both_ways_at_once(self):
        def act():
            with self.data.open("rb") as source:
                return self.program("ssh", *self.ssh, NAMED, "cat", stdin=source)
        got = self.assert_moved(act, 6 * MEBIBYTE, 6 * MEBIBYTE)
        self.assert_same(got, self.data.read_bytes())

    def test_ssh_several_commands_one_connection(self):
        """The master goes on in the background and is handed descriptors by the other clients."""
        control = ["-o", f"ControlPath={self.lab.directory}/mux", "-o", "ControlMaster=auto",
                   "-o", "ControlPersist=30"]

        def act():
            answers = [self.program("ssh", *self.ssh, *control, NAMED, f"echo {index}; exit 0",
                                    stderr=subprocess.DEVNULL, stdout=subprocess.PIPE, capture_output=False)
                       for index in range(5)]
            self.program("ssh", *self.ssh, *control, "-O", "exit", NAMED)
            return answers
        self.assertEqual(self.assert_moved(act, 1000, 1000), [b"%d\n" % index for index in range(5)])

    def test_scp_up_and_down(self):
        for index, mode in enumerate(([], ["-O"])):
            with self.subTest(mode=mode):
                far, back = self.work / f"scp-far-{index}", self.work / f"scp-back-{index}"

                def act(mode=mode, far=far, back=back):
                    self.program("scp", "-q", *self.ssh, *mode, self.data, f"{NAMED}:{far}")
                    self.program("scp", "-q", *self.ssh, *mode, f"{NAMED}:{far}", back)
                self.assert_moved(act, 6 * MEBIBYTE, 6 * MEBIBYTE, connections=2)
                self.assert_same_file(back, self.data)

    def test_rsync_daemon_both_ways(self):
        near, back = self.work / "rsync-near", self.work / "rsync-back"
        near.mkdir()
        for index in range(200):
            (near / f"small-{index}").write_bytes(content(index * 37, index))
        shutil.copyfile(self.data, near / "bulk")
        address = f"rsync://{NAMED}:{self.lab.ports[1]}/files/"

        def act():
            self.program("rsync", "-a", f"{near}/", address)
            self.program("rsync", "-a", address, f"{back}/")
        self.assert_moved(act, 6 * MEBIBYTE, 6 * MEBIBYTE, connections=2)
        with (near / "bulk").open("r+b") as file:
            file.seek(3 * MEBIBYTE)
            file.write(b"changed")
        self.assert_moved(lambda: self.program("rsync", "-a", "-I", f"{near}/", address), 1000, 1000)
        for tree in (self.module, back):
            self.assertEqual(sorted(os.listdir(tree)), sorted(os.listdir(near)))
        for name in os.listdir(near):
            self.assert_same_file(self.module / name, near / name)
        self.assert_same_file(back / "bulk", self.data)

    def test_git_clone_and_push(self):
        addresses = {"daemon": f"git://{NAMED}:{self.lab.ports[2]}/daemon.git",
                     "ssh": f"ssh://{NAMED}:{self.lab.ports[0]}{self.repositories}/ssh.git"}
        for kind, address in addresses.items():
            with self.subTest(kind=kind):
                mine, other = self.work / f"git-{kind}", self.work / f"git-{kind}-other"

                def git(*words, cwd=self.work):
                    return self.program("git", *words, env=self.git_env, cwd=cwd)

                def act(mine=mine, other=other, address=address):
                    git("clone", "-q", address, mine)
                    shutil.copyfile(self.data, mine / "bulk")
                    git("add", "bulk", cwd=mine)
                    git("commit", "-q", "-m", "bulk", cwd=mine)
                    git("push", "-q", "origin", "HEAD:main", cwd=mine)
                    git("clone", "-q", "-b", "main", address, other)
                    git("fetch", "-q", cwd=mine)
                self.assert_moved(act, 6 * MEBIBYTE, 6 * MEBIBYTE, connections=4)
                self.assert_same_file(other / "bulk", self.data)


@long
class Databases(ProgramsCase):
    """psql, pgbench, redis-cli, redis-benchmark. Services: PostgreSQL, Redis."""

    ports = 2

    @classmethod
    def prepare(cls):
        postgres, redis = cls.lab.ports
        programs = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        cluster = own_directory(cls.lab.directory / "postgres", "postgres")
        subprocess.run([*as_user("postgres"), programs / "initdb", "-D", cluster / "data", "-A", "trust",
                        "-U", "postgres", "-N", "-E", "UTF8", "--locale=C.UTF-8"], check=True,
                       capture_output=True, cwd=cluster)
        cls.lab.serve("postgres", [
            *as_user("postgres"), programs / "postgres", "-D", cluster / "data", "-p", str(postgres),
            "-c", f"listen_addresses={REAL}", "-c", "unix_socket_directories=", "-c", "fsync=off"], postgres)
        cls.lab.serve("redis", ["redis-server", "--bind", REAL, "--port", str(redis), "--save", "",
                                "--dir", cls.lab.directory], redis)
        cls.postgres = ["-h", NAMED, "-p", str(postgres), "-U", "postgres"]
        cls.redis = ["-h", NAMED, "-p", str(redis)]

    def psql(self, *commands):
        words = [word for command in commands for word in ("-c", command)]
        return self.program("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *self.postgres, *words,
                            "postgres", env={"PGSSLMODE": "disable"})

    def test_psql_copies_both_ways(self):
        source, back = self.work / "rows", self.work / "rows-back"
        chance = random.Random("rows")
        source.write_text("".join(f"{row}\t{chance.randbytes(40).hex()}\n" for row in range(50_000)),
                          encoding="ascii")
        size = source.stat().st_size

        def act():
            return self.psql("create table rows (id int, text text)", f"\\copy rows from '{source}'",
                             f"\\copy (select * from rows order by id) to '{back}'",
                             "select count(*), sum(id) from rows")
        said = self.assert_moved(act, size, size)
        self.assertEqual(said, b"50000|1249975000\n")
        self.assert_same_file(back, source)

    def test_pgbench(self):
        self.assert_moved(lambda: self.program("pgbench", "-i", "-q", "-s", "1", *self.postgres, "postgres"),
                          1000, MEBIBYTE)

        def act():
            return self.program("pgbench", "-c", "8", "-j", "2", "-t", "100", "-n", *self.postgres,
                                "postgres")
        said = self.assert_moved(act, 800 * 100, 800 * 100, connections=8).decode()
        self.assertIn("transactions actually processed: 800/800", said)
        self.assertIn("failed transactions: 0 ", said)

    def test_redis_cli(self):
        data = content(4 * MEBIBYTE, "redis").hex().encode()

        def act():
            self.program("redis-cli", *self.redis, "-x", "set", "bulk", stdin=None, input=data)
            return self.program("redis-cli", *self.redis, "--raw", "get", "bulk")
        self.assert_same(self.assert_moved(act, len(data), len(data), connections=2), data + b"\n")

    def test_redis_cli_pipe(self):
        commands = b"".join(b"SET key:%d %d\r\n" % (index, index * 3) for index in range(50_000))

        def act():
            return self.program("redis-cli", *self.redis, "--pipe", stdin=None, input=commands)
        said = self.assert_moved(act, 50_000 * 5, len(commands))
        self.assertIn(b"errors: 0, replies: 50000", said)
        self.assertEqual(self.program("redis-cli", *self.redis, "get", "key:49999"), b"149997\n")

    def test_redis_benchmark(self):
        def act():
            return self.program("redis-benchmark", *self.redis, "-n", "4000", "-c", "20", "-d", "500",
                                "-P", "4", "-t", "set,get,rpush,rpop", "--csv")
        said = self.assert_moved(act, 8_000 * 500, 8_000 * 500, connections=80)
        self.assertEqual(len(said.splitlines()), 5, said)


@long
class Ftp(ProgramsCase):
    """Passive FTP: the data connections' ports are services too."""

    @classmethod
    def make_ports(cls):
        return consecutive_ports(9)

    @classmethod
    def prepare(cls):
        home = cls.lab.directory / "ftp"
        (home / "empty").mkdir(parents=True)
        cls.files = home / "files"
        cls.files.mkdir()
        cls.incoming = own_directory(cls.files / "incoming", "ftp")
        launching = "NO" if ROOT_USER else "YES"
        settings = {
            "listen": "YES", "listen_address": REAL, "listen_port": cls.lab.ports[0], "background": "NO",
            "anonymous_enable": "YES", "no_anon_password": "YES", "anon_root": cls.files,
            "write_enable": "YES",
            "anon_upload_enable": "YES", "anon_mkdir_write_enable": "YES", "anon_umask": "022",
            "anon_other_write_enable": "YES",
            "pasv_address": NAMED, "pasv_min_port": cls.lab.ports[1], "pasv_max_port": cls.lab.ports[-1],
            "port_enable": "NO", "run_as_launching_user": launching, "secure_chroot_dir": home / "empty",
            "seccomp_sandbox": "NO", "xferlog_enable": "NO"}
        (home / "vsftpd.conf").write_text(
            "".join(f"{key}={value}\n" for key, value in settings.items()), encoding="ascii")
        cls.lab.serve("vsftpd", ["/usr/sbin/vsftpd", home / "vsftpd.conf"], cls.lab.ports[0])
        cls.data = cls.bulk("ftp", 6 * MEBIBYTE)
        shutil.copyfile(cls.data, cls.files / "bulk")

    def test_curl_extended_and_plain_passive(self):
        for word in ("--ftp-pasv", "--disable-epsv"):
            with self.subTest(word=word):
                words = ["curl", "-sS", "--ftp-pasv", "--no-ftp-skip-pasv-ip", word]

                def act(word=word, words=words):
                    self.program(*words, "-T", self.data, self.url(0, f"incoming/up{word}", "ftp"))
                    return self.program(*words, self.url(0, "bulk", "ftp"))
                got = self.assert_moved(act, 6 * MEBIBYTE, 6 * MEBIBYTE, connections=4)
                self.assert_same(got, self.data.read_bytes())
                self.assert_same_file(self.incoming / f"up{word}", self.data)

    def test_lftp_mirrors(self):
        near, back = self.work / "ftp-near", self.work / "ftp-back"
        near.mkdir()
        for index in range(12):
            (near / f"file-{index}").write_bytes(content(200_000 + index, f"lftp-{index}"))
        script = (f"set net:max-retries 1; set ftp:passive-mode on; set net:timeout 20; "
                  f"set cmd:fail-exit yes; open {self.url(0, '', 'ftp')}; "
                  f"mirror -R -P 2 {near} incoming/tree; mirror -P 2 incoming/tree {back}")

        def act():
            self.program("lftp", "-c", script, env={"HOME": str(self.work)})
        self.assert_moved(act, 12 * 200_000, 12 * 200_000, connections=10)
        for name in os.listdir(near):
            self.assert_same_file(self.incoming / "tree" / name, near / name)
            self.assert_same_file(back / name, near / name)


@long
class Sockets(ProgramsCase):
    """openssl, nc, socat. Services: openssl s_server, nc, socat's echo."""

    ports = 3

    @classmethod
    def prepare(cls):
        certificate, key = cls.lab.authority.issue(HOST)
        tls, cls.nc_port, cls.echo_port = cls.lab.ports
        cls.lab.serve("s_server", ["openssl", "s_server", "-accept", f"{REAL}:{tls}", "-cert", certificate,
                                   "-key", key, "-rev"], tls)
        cls.lab.serve("echo", ["socat", ECHO.format(port=cls.echo_port), "EXEC:cat"], cls.echo_port)
        cls.data = cls.bulk("sockets", 8 * MEBIBYTE)

    def test_openssl_s_client(self):
        chance = random.Random("lines")
        lines = [chance.randbytes(60).hex().encode() for _ in range(10_000)]

        def act():
            return self.program(
                "openssl", "s_client", "-connect", f"{NAMED}:{self.lab.ports[0]}", "-quiet", "-CAfile",
                self.lab.authority.certificate, "-verify_return_error", "-servername", HOST,
                "-verify_hostname", HOST, stdin=None, input=b"\n".join([*lines, b"CLOSE", b""]))
        got = self.assert_moved(act, 10_000 * 121, 10_000 * 121)
        self.assert_same(got, b"".join(line[::-1] + b"\n" for line in lines))

    def test_nc_both_ways_at_once(self):
        down = self.bulk("nc-down", 5 * MEBIBYTE)
        with down.open("rb") as source:
            server = self.lab.start(["nc", "-l", "-N", REAL, str(self.nc_port)], shim=False, stdin=source,
                                    stdout=subprocess.PIPE)
        taken = []
        reader = threading.Thread(target=lambda: taken.append(server.communicate(timeout=60)[0]))
        reader.start()
        try:
            while not tcp_listens(self.nc_port):
                self.assertIsNone(server.poll())

            def act():
                with self.data.open("rb") as source:
                    return self.program("nc", "-N", NAMED, str(self.nc_port), stdin=source)
            got = self.assert_moved(act, 5 * MEBIBYTE, 8 * MEBIBYTE)
            reader.join(30)
        finally:
            server.kill()
            reader.join()
        self.assert_same(got, down.read_bytes())
        self.assert_same(taken[0], self.data.read_bytes())

    def test_socat_echo(self):
        def act():
            with self.data.open("rb") as source:
                return self.program("socat", "-t", "20", "-", f"TCP:{NAMED}:{self.echo_port}", stdin=source)
        self.assert_same(self.assert_moved(act, 8 * MEBIBYTE, 8 * MEBIBYTE), self.data.read_bytes())

    def test_the_engine_was_idle_for_longer_than_a_handshake_may_take(self):
        """Its clock is read when something happens: the first path was given up at once, as too late."""
        self.lab.start_engine()
        time.sleep(IDLE_SECONDS)
        self.test_socat_echo()


@long
class RunTimes(ProgramsCase):
    """Networking as languages' run-times do it. Services: nginx that stores, socat's echo."""

    ports = 2

    @classmethod
    def prepare(cls):
        web, echo = cls.lab.ports
        home, argv = cls.lab.serve_nginx("web", lambda home: (
            f"server {{ listen {REAL}:{web}; location / {{ root {home}/files; {DAV} }} }}"))
        cls.files = home / "files"
        cls.lab.serve("web", argv, web)
        cls.lab.serve("echo", ["socat", ECHO.format(port=echo), "EXEC:cat"], echo)
        cls.data = cls.bulk("run-times", 3 * MEBIBYTE)
        cls.wanted = digest(cls.data.read_bytes())

    def transfer(self, count, *words):
        """`count` transfers of the file, up and down, whose digests the program prints."""
        size = count * self.data.stat().st_size
        said = self.assert_moved(lambda: self.program(*words, timeout=120), size, size)
        self.assertEqual(said.decode().split(), [self.wanted] * count)

    def test_python_asyncio(self):
        self.transfer(8, sys.executable, CLIENTS / "transfer.py", NAMED, self.lab.ports[1], self.data, 8)

    def test_node(self):
        self.transfer(4, "node", CLIENTS / "transfer.mjs", self.url(0, "node"), self.data, 4)

    def test_java(self):
        self.transfer(4, "java", CLIENTS / "Transfer.java", self.url(0, "java"), self.data, 4)

    def test_perl(self):
        self.transfer(2, "perl", CLIENTS / "transfer.pl", self.url(0, "perl"), self.data, NAMED,
                      self.lab.ports[1])


if __name__ == "__main__":
    unittest.main()
