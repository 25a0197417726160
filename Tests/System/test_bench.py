"""What `make bench COMPARE=file` takes for a loss."""

import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Benchmarks"))

import bench  # noqa: E402


class Losses(unittest.TestCase):
    def lost(self, now, then):
        """The names of the ratios that are worse by more than a tenth; True beside one: higher is better."""
        with tempfile.TemporaryDirectory(prefix="kwik-bench-test-") as home:
            path = pathlib.Path(home) / "earlier.json"
            path.write_text(json.dumps({"ratios": then}), encoding="utf-8")
            return [must.name.split(",")[0] for must in bench.losses(now, path) if not must.holds()]

    def test_a_loss_of_more_than_a_tenth_fails_whichever_way_is_better(self):
        then = {"rate": 1.0, "cpu": 1.0}
        self.assertEqual(self.lost({"rate": (0.91, True), "cpu": (1.09, False)}, then), [])
        self.assertEqual(self.lost({"rate": (0.89, True), "cpu": (1.11, False)}, then), ["rate", "cpu"])
        self.assertEqual(self.lost({"rate": (2.0, True), "cpu": (0.5, False)}, then), [])

    def test_what_the_earlier_run_did_not_measure_is_not_compared(self):
        self.assertEqual(self.lost({"new": (0.1, True)}, {"rate": 1.0}), [])

    def test_the_committed_run_has_every_ratio(self):
        reference = pathlib.Path(bench.HERE) / "reference.json"
        known = json.loads(reference.read_text(encoding="utf-8"))["ratios"]
        for name in ("mbps_one_to_plain", "mbps_three_to_one", "cpu_both_to_relay", "pingpong_p50_to_tcp",
                     "connect_to_native"):
            self.assertIn(name, known)


class Musts(unittest.TestCase):
    def measured(self, kwikd):
        """A round whose bare client needs 1 s from nginx and 0.9 out of memory."""
        each = {name: {"mbps": 100} for name in ("one", "three", "plain", "relay", "baseline")}
        each["one"]["cpu"] = {"kwikd": kwikd, "gateway a": 1.0}
        each["relay"]["cpu"] = {"client": 1.0, "server": 1.0}
        each["baseline"]["cpu"] = {"client": 0.9, "server": 0.6}
        return each

    def missed(self, *kwikd):
        """What rounds miss in which the engine needs so many seconds."""
        latency = {name: {"p50_us": 100, "p99_us": 200} for name in ("tcp", "kwik", "kwik_beside_idle")}
        latency["connect"] = {"ratio": 1.0}
        ratios = bench.ratios_of(list(map(self.measured, kwikd)), [latency])
        return [must.name for must in bench.musts_of(ratios, [latency]) if not must.holds()]

    def test_one_round_in_three_may_be_disturbed(self):
        self.assertEqual(self.missed(1.1, 9, 1.16), [])
        self.assertEqual(len(self.missed(9, 1.1, 9)), 3)

    def test_an_engine_is_held_against_the_bare_client_of_either_server(self):
        self.assertEqual(self.missed(1.16), [])
        self.assertEqual(self.missed(1.2), ["CPU of kwikd to bare QUIC's client, out of memory"])
        self.assertEqual(self.missed(1.4), ["CPU of kwikd to bare QUIC's client, from nginx",
                                            "CPU of kwikd to bare QUIC's client, out of memory"])


if __name__ == "__main__":
    unittest.main()
