"""From records of single transfers to the figures of a cell."""

import bisect
import statistics

# Points of a transfer at which its in-order delay is taken.
POINTS = 400
# The series that are kept for the plot have a value for each of these.
SERIES_MS = 50
# A rate counts as reached again once it lasts for this long.
RECOVERED_MS = 100


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def ratio(one, other):
    return one / other if one is not None and other else None


def crossing(times, totals, wanted):
    """When a growing total reached `wanted`, between two known points in a straight line."""
    index = bisect.bisect_left(totals, wanted)
    if index == 0:
        return times[0]
    if index == len(totals):
        return times[-1]
    part = (wanted - totals[index - 1]) / (totals[index] - totals[index - 1])
    return times[index - 1] + part * (times[index] - times[index - 1])


def in_order_delays(arrived, progress):
    """Milliseconds from the moment when so many bytes had come over the links, to the moment when the program
    had read so many in order; of POINTS bytes. `arrived`, `progress`: ([ms], [total bytes]); what the links
    carry beside the program's bytes is taken to be spread evenly. So measured it is the same for all: no
    matter what tunnels it, and whether the receiver says what it holds."""
    (arrival_ms, arrivals), (read_ms, reads) = arrived, progress
    if not arrivals or not reads or arrivals[-1] == 0:
        return []
    scale = arrivals[-1] / reads[-1]
    delays = []
    for point in range(1, POINTS):
        wanted = reads[-1] * point / POINTS
        delay = crossing(read_ms, reads, wanted) - crossing(arrival_ms, arrivals, wanted * scale)
        delays.append(max(delay, 0.0))
    return delays


def quantile(values, part):
    """None where there are no values."""
    ordered = sorted(values)
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)] if ordered else None


def totals(bins):
    result, total = [], 0
    for value in bins:
        total += value
        result.append(total)
    return result


def arrivals_of(counts):
    """([ms], [total bytes]) of all links together, from the emulator's answer to `series`."""
    lines = [link["down"]["series"] for link in counts["links"].values()]
    length = max(map(len, lines), default=0)
    sums = [sum(line[i] for line in lines if i < len(line)) for i in range(length)]
    return [(i + 1) * counts["bin_ms"] for i in range(length)], totals(sums)


def progress_of(meter, begun_ns):
    """The same of what the program read, on the emulator's clock."""
    shift = (meter["begun_ns"] - begun_ns) / 1e6
    return [shift + (i + 1) * meter["bin_ms"] for i in range(len(meter["progress"]))], meter["progress"]


def recoveries(cell, counts):
    """For each event how many ms after it the links carried 90 % of what they could, over RECOVERED_MS; None:
    not before the next event or the end."""
    ends = [event.ms for event in cell.events[1:]] + [None]
    window = RECOVERED_MS // counts["bin_ms"]
    _, carried = arrivals_of(counts)
    found = []
    for event, end in zip(cell.events, ends):
        able = sum(link.rate * cell.factor(link, event.ms) for link in cell.links if not link.shares)
        wanted = 0.9 * able * 1e6 / 8 * RECOVERED_MS / 1e3
        first = event.ms // counts["bin_ms"]
        last = min(len(carried), end // counts["bin_ms"] if end else len(carried)) - window
        when = next((i for i in range(first, last) if carried[i + window] - carried[i] >= wanted), None)
        found.append(None if when is None else (when - first) * counts["bin_ms"] + RECOVERED_MS)
    return found


def thinned(bins, bin_ms):
    """Mbit/s in each SERIES_MS."""
    each = SERIES_MS // bin_ms
    return [round(sum(bins[i:i + each]) * 8 / SERIES_MS / 1e3, 2) for i in range(0, len(bins), each)]


def series_of(counts, meter, direction="down"):
    """What a plot needs of one transfer."""
    series = {name: thinned(link[direction]["series"], counts["bin_ms"])
              for name, link in counts["links"].items()}
    delays = in_order_delays(arrivals_of(counts), progress_of(meter, counts["begun_ns"])) if meter else []
    return {"ms": SERIES_MS, "links": series, "delays": [round(delay, 1) for delay in delays]}


def total_at(totals_, bin_ms, seconds):
    """Of a growing total that was noted every `bin_ms`, what it was after so long."""
    index = min(int(seconds * 1e3 / bin_ms), len(totals_)) - 1
    return totals_[index] if index >= 0 else 0


class Figures:
    """What a cell's records of all rounds say. Ratios are made within a round and their median is taken, for
    a round's transfers ran one after the other on the same machine."""

    def __init__(self, cell, rounds):
        """`rounds`: a dictionary of contender's name to its record, for each round."""
        self.cell, self.rounds = cell, rounds

    def mbps(self, name):
        return median([record(round_, name, "mbps") for round_ in self.rounds])

    def singles(self, round_):
        """Mbit/s of TCP on each link alone, in the links' order."""
        return (round_.get("tcp") or {}).get("mbps_of", [])

    def reference(self, round_, contender, best):
        """Mbit/s that TCP alone makes of the links, in the time that the contender took: their sum, or the
        best one's. What happened to the links meanwhile happens to it too."""
        singles, taken = self.singles(round_), record(round_, contender, "seconds")
        if not singles or not taken:
            return None
        if self.cell.size and best:
            return max(singles)
        progress = (round_.get("tcp") or {}).get("progress_of")
        if progress:
            return sum(total_at(bins, bin_ms, taken) for bin_ms, bins in progress) * 8 / taken / 1e6
        links = [link for link in self.cell.links if not link.shares]
        shares = [rate * self.cell.available(link, taken) / taken for rate, link in zip(singles, links)]
        return max(shares) if best else sum(shares)

    def against_tcp(self, contender, best):
        if self.cell.small and not best:
            return None
        return median([ratio(record(round_, contender, "mbps"), self.reference(round_, contender, best))
                       for round_ in self.rounds])

    def against(self, contender, other):
        return median([ratio(record(round_, contender, "mbps"), record(round_, other, "mbps"))
                       for round_ in self.rounds])

    def of(self, contender, key):
        return median([record(round_, contender, key) for round_ in self.rounds])

    def worst(self, contender, key):
        values = [record(round_, contender, key) for round_ in self.rounds]
        return max((value for value in values if value is not None), default=None)

    def failures(self):
        return [f"{name}: {entry['failed']}" for round_ in self.rounds for name, entry in round_.items()
                if entry and entry.get("failed")]

    def corrupt(self):
        """Transfers in which a byte was wrong."""
        return sum(1 for round_ in self.rounds for entry in round_.values() if entry and entry.get("corrupt"))


def record(round_, name, key):
    entry = round_.get(name) or {}
    return None if entry.get("failed") else entry.get(key)
