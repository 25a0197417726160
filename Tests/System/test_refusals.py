"""Bad input and wrong credentials: a clear line at both ends, a refused path and its reason, no crash."""

import random
import re
import socket
import unittest

from kwiklab import BUILD, Authority, Lab, paths_of, pin_of, servers_of, wait_until
from kwiktest import MEBIBYTE, SERVERS, content, needs_servers


class Refusals(unittest.TestCase):
    """The last server is the one that refuses or is refused; a lab of its own for each test."""

    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.lab.add_servers(SERVERS, max_rate="40 Mbit/s")
        self.file = content(4 * MEBIBYTE, "refusals")
        self.lab.put("file", self.file)
        self.bad = self.lab.servers[-1]

    def start(self):
        self.lab.start_servers()
        self.lab.start_engine()

    def fetch(self):
        result = self.lab.run(["curl", "-sS", "--fail", self.lab.url("file")])
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, self.file)

    def refusal(self):
        """The reason that status gives for the bad server's path."""
        return servers_of(self.lab.status()).get(self.bad.name, {}).get("refused")

    def assert_refused(self, reason, engine_line, gateway_line=None):
        self.start()
        self.fetch()
        shown = wait_until(self.refusal, "status to show why the path was refused")
        self.assertRegex(shown.lower(), reason)
        self.assert_line(self.lab.engine.text(), engine_line)
        if gateway_line:
            wait_until(lambda: re.search(gateway_line, self.bad.gateway.text().lower()), "the gateway's line")
        self.assertTrue(self.lab.engine.alive() and self.bad.gateway.alive())
        self.fetch()

    def assert_line(self, text, pattern):
        lines = [line for line in text.lower().splitlines() if re.search(pattern, line)]
        self.assertTrue(lines, f"no line with {pattern} in:\n{text}")
        self.assertNotIn("a-token-for-this-lab-only", text)

    def test_wrong_token(self):
        self.bad.service["tokens"] = ["another-token-than-the-engine-has"]
        self.assert_refused("token|unauthenticated", "token|unauthenticated", "token|unauthenticated")

    def test_wrong_pin(self):
        other, _ = self.lab.authority.issue("other.kwik.test")
        self.bad.pin = pin_of(other)
        self.assert_refused("pin", "pin", "certificate|pin|closed")

    def test_right_pin_is_accepted(self):
        self.bad.pin = pin_of(self.bad.certificate)
        self.start()
        self.fetch()
        wait_until(lambda: "active" in self.states(), "an active path to the pinned server")

    def states(self):
        return {path["state"] for path in paths_of(self.lab.status()) if path["server"] == self.bad.name}

    def test_wrong_authority(self):
        stranger = Authority(self.lab.directory / "stranger", "A stranger's CA")
        certificate, key = stranger.issue(self.bad.name)
        self.bad.settings.update(certificate=certificate, key=key)
        self.assert_refused("certificate", "certificate", "certificate|ca|closed")

    def test_wrong_name_in_certificate(self):
        certificate, key = self.lab.authority.issue("somebody-else.kwik.test")
        self.bad.settings.update(certificate=certificate, key=key)
        self.assert_refused("certificate|name", "certificate|name", "certificate|closed")

    def test_unknown_service(self):
        self.bad.service["name"] = "elsewhere.kwik.test:80"
        self.assert_refused("service", "service", "service")

    def test_noise_on_the_udp_port_harms_nobody(self):
        self.start()
        chance = random.Random(7)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
            for _ in range(3000):
                data = chance.randbytes(chance.choice((0, 1, 20, 1200, 1452)))
                noise.sendto(data, ("127.0.0.1", self.bad.gateway_port))
        self.fetch()
        self.assertTrue(self.bad.gateway.alive())

    def test_noise_on_the_engines_sockets_harms_nobody(self):
        self.start()
        chance = random.Random(8)
        for name, kind in (("engine.sock", socket.SOCK_SEQPACKET), ("control.sock", socket.SOCK_STREAM)):
            for _ in range(200):
                with socket.socket(socket.AF_UNIX, kind) as noise:
                    noise.connect(str(self.lab.runtime / "kwik" / name))
                    try:
                        noise.sendall(chance.randbytes(chance.randrange(1, 500)))
                    except (BrokenPipeError, ConnectionResetError):
                        continue
        self.fetch()
        self.assertTrue(self.lab.engine.alive())

    @needs_servers(3)
    def test_two_refusals_leave_the_third_at_work(self):
        for server in self.lab.servers[1:]:
            server.service["tokens"] = ["another-token-than-the-engine-has"]
        self.start()
        self.fetch()


class Configuration(unittest.TestCase):
    """Every error names file, line and column, and the daemon ends at once."""

    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.server = self.lab.add_server()

    def refused(self, program, text):
        path = self.lab.directory / "bad.toml"
        path.write_text(text, encoding="utf-8")
        words = [BUILD / program, "--config", path] + (["--foreground"] if program == "kwikd" else [])
        result = self.lab.run(words, shim=False, timeout=10, text=True)
        self.assertGreater(result.returncode, 0, result.stderr)
        self.assertRegex(result.stderr, r"bad\.toml:\d+:\d+: \S")
        found = re.search(r"bad\.toml:(\d+):(\d+): (.*)", result.stderr)
        return int(found.group(1)), int(found.group(2)), found.group(3)

    def engine(self):
        return self.lab.engine_text([self.server])

    def test_syntax(self):
        self.assertEqual(self.refused("kwikd", self.engine() + "\n= nothing\n")[0],
                         self.engine().count("\n") + 2)

    def test_unknown_key(self):
        line, column, what = self.refused("kwikd", "[engine]\n  colour = 1\n" + self.engine())
        self.assertEqual((line, column), (2, 3))
        self.assertIn("colour", what)

    def test_wrong_type_and_range(self):
        self.assertEqual(self.refused("kwikd", "[engine]\nmax_paths = 0\n" + self.engine())[0], 2)
        self.assertEqual(self.refused("kwikd", '[engine]\nmax_paths = "many"\n' + self.engine())[0], 2)

    def test_missing_file(self):
        text = self.engine().replace(str(self.lab.authority.certificate), "/nonexistent/ca.pem")
        self.assertIn("/nonexistent/ca.pem", self.refused("kwikd", text)[2])

    def test_gateway_rate(self):
        text = ('[gateway]\nlisten = "127.0.0.1:0"\nserver_id = "x"\n'
                f'certificate = "{self.server.certificate}"\nkey = "{self.server.key}"\n'
                'max_rate = "50 bananas"\n[[service]]\nname = "a:1"\nbackend = "127.0.0.1:1"\n'
                'backend_sees = "gateway"\nroles = ["origin"]\n')
        self.assertEqual(self.refused("kwik-gateway", text)[0], 6)
