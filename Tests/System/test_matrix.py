"""The matrix's arithmetic, and one small round of it over real links."""

import dataclasses
import importlib.util
import os
import pathlib
import tempfile
import unittest

from matrix import cells, contenders, figures, plot, report
from matrix.network import Link, missing_privilege
from matrix.world import World

SIZE = 300 << 10


def load_runner():
    """matrix.py, whose name is that of the package beside it."""
    place = pathlib.Path(__file__).with_name("matrix.py")
    spec = importlib.util.spec_from_file_location("matrix_runner", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


matrix_runner = load_runner()


def cell_of(name):
    return cells.named(name)[0]


def round_of(**records):
    return {name: {"seconds": 6.0, **entry} for name, entry in records.items()}


class Arithmetic(unittest.TestCase):
    def test_a_killed_link_counts_for_the_time_that_it_was_there(self):
        cell = cell_of("K")
        fast, slow = cell.links
        self.assertAlmostEqual(cell.available(fast, 9), 6)
        self.assertAlmostEqual(cell.available(fast, 4), 3)
        self.assertAlmostEqual(cell.available(slow, 9), 9)

    def test_a_slowed_link_counts_for_its_share(self):
        cell = cell_of("R")
        self.assertAlmostEqual(cell.available(cell.links[0], 6), 3 + 3 * 0.05)

    def test_references_are_what_tcp_makes_of_what_is_left(self):
        tcp = {"mbps_of": [46.0, 18.0], "mbps": 64.0}
        measured = figures.Figures(cell_of("K"), [round_of(tcp=tcp, kwik={"mbps": 40.0, "seconds": 9.0})])
        sum_left = 46 * 6 / 9 + 18
        self.assertAlmostEqual(measured.against_tcp("kwik", False), 40 / sum_left)
        self.assertAlmostEqual(measured.against_tcp("kwik", True), 40 / (46 * 6 / 9))

    def test_a_small_transfer_is_held_against_the_best_path_only(self):
        measured = figures.Figures(cell_of("A-20K"), [
            round_of(tcp={"mbps_of": [4.0, 1.0], "mbps": 5.0}, kwik={"mbps": 4.2, "seconds": 0.1})])
        self.assertIsNone(measured.against_tcp("kwik", False))
        self.assertAlmostEqual(measured.against_tcp("kwik", True), 1.05)

    def test_the_sum_of_a_size_is_what_tcp_carries_in_the_time_it_took(self):
        # 20 MB at 8 MB/s and at 1 MB/s after a second; Kwik takes 2 s.
        progress = [[1000, [8_000_000, 16_000_000, 20_000_000]], [1000, [0, 1_000_000, 2_000_000]]]
        measured = figures.Figures(cell_of("A-20M"), [round_of(
            tcp={"mbps_of": [64.0, 7.6], "progress_of": progress}, kwik={"mbps": 80.0, "seconds": 2.0})])
        self.assertAlmostEqual(measured.against_tcp("kwik", False), 80.0 / (17 * 8 / 2))
        self.assertAlmostEqual(measured.against_tcp("kwik", True), 80.0 / 64.0)

    def test_ratios_are_made_within_a_round(self):
        rounds = [round_of(kwik={"mbps": kwik}, mptcp={"mbps": mptcp})
                  for kwik, mptcp in ((60, 50), (30, 20), (90, 100))]
        self.assertAlmostEqual(figures.Figures(cell_of("A"), rounds).against("kwik", "mptcp"), 1.2)

    def test_a_failed_transfer_is_a_failure_and_no_figure(self):
        rounds = [round_of(kwik={"mbps": 60}), round_of(kwik={"failed": "Failed: not done", "mbps": 1})]
        measured = figures.Figures(cell_of("A"), rounds)
        self.assertEqual(measured.mbps("kwik"), 60)
        self.assertEqual(measured.failures(), ["kwik: Failed: not done"])

    def test_bytes_in_order_have_no_delay_and_held_ones_have(self):
        times, totals = [10, 20, 30, 40], [100, 200, 300, 400]
        self.assertEqual(max(figures.in_order_delays((times, totals), (times, totals))), 0)
        late = figures.in_order_delays((times, totals), ([10, 20, 30, 40, 60], [100, 100, 100, 100, 400]))
        self.assertGreater(figures.quantile(late, 0.5), 10)

    def test_a_link_has_recovered_when_it_carries_what_is_left(self):
        cell = cell_of("K")
        fast = [62500] * 300 + [0] * 300 + [0] * 50 + [62500] * 250
        slow = [25000] * 300 + [0] * 40 + [25000] * 560
        counts = {"bin_ms": 10, "links": {"1": {"down": {"series": fast}}, "2": {"down": {"series": slow}}}}
        dead, restored = figures.recoveries(cell, counts)
        self.assertAlmostEqual(dead, 500, delta=20)
        self.assertAlmostEqual(restored, 600, delta=20)

    def test_a_miss_without_a_reason_and_a_wrong_byte_are_told(self):
        good = {"mbps_of": [46.0, 18.0], "mbps": 64.0}
        measured = figures.Figures(cell_of("A"), [round_of(tcp=good, kwik={"mbps": 45.0, "corrupt": True})])
        told = " ".join(report.demands(measured))
        self.assertIn("of the best single path", told)
        self.assertIn("wrong bytes", told)

    def test_interfaces_below_the_best_path_and_a_long_gap_of_theirs_are_told(self):
        tcp = {"mbps_of": [46.0, 18.0], "mbps": 64.0}
        measured = figures.Figures(cell_of("K"), [round_of(
            tcp=tcp, kwik={"mbps": 48.0, "seconds": 9.0, "longest_gap_ms": 200},
            interfaces={"mbps": 30.0, "seconds": 9.0, "longest_gap_ms": 900})])
        told = list(report.demands(measured))
        self.assertEqual(len(told), 2, told)
        self.assertIn("interfaces: 0.978 of the best single path", told[0])
        self.assertIn("interfaces: a gap of 900 ms", told[1])

    def test_a_gap_is_held_against_the_round_trips_when_the_link_died(self):
        tcp = {"mbps_of": [46.0, 18.0], "mbps": 64.0}
        kwik = {"mbps": 48.0, "seconds": 9.0, "longest_gap_ms": 410}
        for known, expected in (([140.0, 33.0], []), ([100.0, 130.0], ["a gap of 410 ms; at most 390"]),
                                ([], ["a gap of 410 ms; at most 300"])):
            entry = dict(kwik, round_trips_ms=known)
            measured = figures.Figures(cell_of("K"), [round_of(tcp=tcp, kwik=entry)])
            self.assertEqual(list(report.demands(measured)), expected)

    def test_a_liar_that_was_never_asked_is_told(self):
        tcp = {"mbps_of": [46.0, 18.0], "mbps": 64.0}
        for mismatches, expected in ((0, 1), (2, 0)):
            measured = figures.Figures(cell_of("A"), [round_of(
                tcp=tcp, kwik={"mbps": 63.0}, lied_to={"mbps": 50.0, "mismatches": mismatches})])
            self.assertEqual(len(list(report.demands(measured))), expected)

    def test_what_was_measured_of_the_same_programs_is_not_measured_again(self):
        cell = cell_of("A")
        with tempfile.TemporaryDirectory(prefix="kwik-matrix-test-") as home:
            path = pathlib.Path(home) / "matrix.json"
            store = matrix_runner.Store(path, "build", "cubic", False)
            store.rounds(cell).append({"kwik": {"mbps": 60.0}})
            store.write()
            for build, congestion, fresh, kept in (("build", "cubic", False, 1), ("other", "cubic", False, 0),
                                                   ("build", "bbr2", False, 0), ("build", "cubic", True, 0)):
                again = matrix_runner.Store(path, build, congestion, fresh)
                self.assertEqual(len(again.rounds(cell)), kept, (build, congestion, fresh))
            changed = dataclasses.replace(cell, seconds=cell.seconds + 1)
            self.assertEqual(matrix_runner.Store(path, "build", "cubic", False).rounds(changed), [])

    def test_cells_are_found_by_name_and_by_letter(self):
        self.assertEqual([cell.name for cell in cells.named("d")], ["D"])
        self.assertEqual([cell.name for cell in cells.named("X")], ["X100", "X200", "X1000"])
        self.assertEqual(cells.named("Z"), [])


class SmallRound(unittest.TestCase):
    """Every contender brings a file whole over two real links, and the liar's bytes are not among them."""

    def test_all_contenders(self):
        problem = missing_privilege()
        if problem:
            self.fail(f"the matrix can't be tested here: {problem}")
        cell = cells.Cell("T", "a test", [Link("1", 40, 10), Link("2", 40, 20)], size=SIZE, seconds=0.5,
                          uploads=True)
        with tempfile.TemporaryDirectory(prefix="kwik-matrix-test-") as home:
            truth = pathlib.Path(home) / "truth"
            truth.write_bytes(os.urandom(4 * SIZE))
            with World(cell, truth) as world:
                wanted = ("tcp", "mptcp", "kwik", "interfaces", "single", "lied_to", "upload_tcp",
                          "upload_one", "upload_interfaces", "upload_relay", "upload_relays")
                records = {name: contenders.attempt(getattr(contenders, name), world, True)
                           for name in wanted}
            picture = pathlib.Path(home) / "picture.svg"
            plot.draw(cell, [records], picture)
            self.assertIn("polygon", picture.read_text(encoding="utf-8"))
        for name, entry in records.items():
            with self.subTest(name):
                self.assertIsNotNone(entry)
                self.assertNotIn("failed", entry)
                self.assertFalse(entry["corrupt"])
                self.assertGreater(entry["mbps"], 0.5)


if __name__ == "__main__":
    unittest.main()
