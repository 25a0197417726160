"""The table of all cells, and whether they meet the demands."""

from matrix.figures import Figures, median

# So many cells may fall short of this share of what TCP makes of the links in sum, each for a reason.
SHARE_OF_SUM, MISSES_ALLOWED = 0.95, 2
# None may fall short of its best single path. What is below by less than rounding shows is not below.
SHARE_OF_BEST = 0.995
# After a silent death: the longer of these, ms and times the largest round trip.
GAP_MS, GAP_RTTS = 300, 3
UPLOAD_GAIN = 1.9
MOST_EVENTS_TOLD = 2
# Why a cell may be below SHARE_OF_SUM: its name, and the reason with the closest figure that was reached.
REASONS = {
    "J50": "nothing is lost, and rates grow slowly from 0.2 s on: ngtcp2 0.12's HyStart leaves slow start "
           "for good where a window's least round trip is 4 to 16 ms above the one's before, by its source, "
           "and has no switch; the references have no jitter. Closest: 0.86",
    "X100": "a round trip goes by until a link that is back is used. Closest: 0.95",
    "X200": "a round trip goes by until a link that is back is used, and what it had lost comes first, also "
            "what others have brought since. Closest: 0.95",
    "X1000": "as X200, and a change of primary costs a round trip. Closest: 0.94",
}

COLUMNS = [("cell", 7), ("ΣTCP", 7), ("best", 7), ("MPTCP", 7), ("aria2", 7), ("Kwik", 7), ("ifaces", 7),
           ("/ΣTCP", 6), ("/best", 6), ("/MPTCP", 6), ("/aria2", 6), ("gap ms", 13), ("dup %", 6),
           ("wire", 5), ("in-order ms", 24), ("CPU", 5)]
LEGEND = """Mbit/s, medians of {rounds} rounds, all in turn over the same links; {congestion} everywhere.
ΣTCP: one curl on each link, at once, their rates in sum; best: the fastest of them. MPTCP: the kernel's, one
server that has an address on each link; aria2: one connection to each server; Kwik: one gateway and nginx on
each link; ifaces: Kwik to one server that all links lead to. Ratios are medians of the rounds' ratios; where
links fail, TCP's rates count for the time and share that a link was there. gap: the longest in which the
program read nothing, of Kwik/MPTCP. wire: bytes that the links carried for each that was read. in-order:
from the moment when so many bytes had come over the links to when the program had read so many, median/99th
percentile, of Kwik and MPTCP. CPU: the engine's s/GiB."""


def brief(record):
    """One record in a few words, for the log."""
    if record.get("failed"):
        return f"FAILED {record['failed']}"
    text = f"{record['mbps']:8.2f} Mbit/s" if "mbps" in record else ""
    for key, form in (("mbps_of", lambda v: " + ".join(f"{x:.1f}" for x in v)),
                      ("longest_gap_ms", lambda v: f"gap {v:.0f} ms"),
                      ("duplicates", lambda v: f"dup {v:.2f} %"),
                      ("delay_p50_ms", lambda v: f"p50 {v:.0f}"),
                      ("delay_p99_ms", lambda v: f"p99 {v:.0f} ms"),
                      ("cpu_s_per_gib", lambda v: f"cpu {v:.1f}"),
                      ("jain", lambda v: f"Jain's index {v:.3f}"),
                      ("mismatches", lambda v: f"{v} lies found")):
        if record.get(key) is not None:
            text += f"  {form(record[key])}"
    parts = [f"{part['server'].split('.')[0]} {part['bytes'] / 1e6:.1f} MB"
             for part in record.get("parts") or []]
    return text + ("  " + ", ".join(parts) if parts else "") + ("  CORRUPT" if record.get("corrupt") else "")


def number(value, form=".1f"):
    return "–" if value is None else format(value, form)


def row(figures):
    """The texts of one cell's row."""
    name = figures.cell.name
    fastest = [max(figures.singles(round_)) for round_ in figures.rounds if figures.singles(round_)]
    delays = " ".join(f"{number(figures.of(who, 'delay_p50_ms'), '.0f')}/"
                      f"{number(figures.of(who, 'delay_p99_ms'), '.0f')}" for who in ("kwik", "mptcp"))
    gaps = "/".join(number(figures.worst(who, "longest_gap_ms"), ".0f") for who in ("kwik", "mptcp"))
    return [name, number(figures.mbps("tcp")), number(max(fastest, default=None)),
            *(number(figures.mbps(who)) for who in ("mptcp", "aria2", "kwik", "interfaces")),
            *(number(figures.against_tcp("kwik", best), ".3f") for best in (False, True)),
            number(figures.against("kwik", "mptcp"), ".3f"), number(figures.against("kwik", "aria2"), ".3f"),
            gaps, number(figures.of("kwik", "duplicates"), ".2f"),
            number(figures.of("kwik", "wire"), ".2f"), delays,
            number(figures.of("kwik", "cpu_s_per_gib"))]


def table(rows):
    lines = [" ".join(name.rjust(width) for name, width in COLUMNS)]
    lines += [" ".join(text.rjust(width) for text, (_, width) in zip(texts, COLUMNS)) for texts in rows]
    return "\n".join(lines)


def long_gaps(figures, who):
    """(ms, at most) of each round's gap that is too long, by the largest smoothed round trip that the engine
    knew when a link died: it has the queue in it that stood then."""
    for round_ in figures.rounds:
        entry = round_.get(who) or {}
        gap, known = entry.get("longest_gap_ms"), entry.get("round_trips_ms") or []
        most = max(GAP_MS, GAP_RTTS * max([figures.cell.longest_rtt, *known]))
        if figures.cell.kills and gap is not None and gap > most:
            yield gap, most


def demands(figures):
    """What a cell does not meet, in words; its sum is judged with the others'."""
    cell = figures.cell
    if figures.against_tcp("kwik", True) is None:
        yield "nothing of Kwik and TCP was measured"
    for who, name in (("kwik", ""), ("interfaces", "interfaces: ")):
        best = figures.against_tcp(who, True)
        if best is not None and best < SHARE_OF_BEST:
            yield f"{name}{best:.3f} of the best single path"
        for gap, most in long_gaps(figures, who):
            yield f"{name}a gap of {gap:.0f} ms; at most {most:.0f}"
    for other in ("mptcp", "aria2"):
        share = figures.against("kwik", other)
        if share is not None and share < 1 and not cell.small:
            yield f"{share:.3f} of {other}"
    if not cell.small and figures.worst("lied_to", "mismatches") == 0:
        yield "the lying replica was not asked for anything"
    if figures.corrupt():
        yield f"{figures.corrupt()} transfers with wrong bytes"
    yield from figures.failures()


def uploads(known):
    """A line for each upload, and those that gain too little, which counts where the links are alike."""
    lines, short = [], []
    for cell, rounds in known:
        figures = Figures(cell, rounds)
        one, both = figures.mbps("upload_one"), figures.mbps("upload_interfaces")
        tcp = number(figures.mbps("upload_tcp"))
        if one is None:
            if both is not None:
                lines.append(f"upload {cell.name}: TCP on the first link {tcp}, "
                             f"Kwik over interfaces {both:.1f}")
            continue
        lines.append(f"uploads {cell.name}: TCP on the first link {tcp}, Kwik on it {one:.1f}")
        alike = len({(link.rate, link.rtt) for link in cell.links}) == 1
        for name, alone in (("upload_interfaces", "upload_one"), ("upload_relays", "upload_relay")):
            gain = figures.against(name, alone)
            lines[-1] += (f"; over {name[7:]} {number(figures.mbps(name))}, {number(gain, '.2f')} × the "
                          f"{number(figures.mbps(alone))} over one")
            if gain is not None and alike and gain < UPLOAD_GAIN:
                short.append(f"{cell.name}: upload over {name[7:]} {gain:.2f} ×; at least {UPLOAD_GAIN}")
    return lines, short


def recovery_lines(figures):
    """How long after each event the links were 90 % busy again, of Kwik and MPTCP, medians."""
    for index, event in enumerate(figures.cell.events):
        times = []
        for who in ("kwik", "mptcp"):
            known = [entry["recovery_ms"][index] for round_ in figures.rounds
                     if (entry := round_.get(who) or {}).get("recovery_ms")]
            good = [value for value in known if value is not None]
            times.append(number(median(good), ".0f") if len(good) * 2 > len(known) else "never")
        yield (f"{figures.cell.name}: link {event.link} at {event.factor:.0%} from {event.ms / 1e3:g} s on: "
               f"90 % of what is left after {times[0]} ms (Kwik), {times[1]} ms (MPTCP)")


def markdown(known, rounds):
    """The summary for README.md."""
    names = ["ΣTCP", "MPTCP", "aria2", "Kwik", "/ΣTCP", "/best", "/MPTCP", "gap ms (MPTCP's)"]
    lines = [f"| cell | Mbit/s / ms | {' | '.join(names)} |", "| --- | ---" + " | --:" * len(names) + " |"]
    for cell, entries in known:
        figures = Figures(cell, entries)
        gaps = [number(figures.worst(who, "longest_gap_ms"), ".0f") for who in ("kwik", "mptcp")]
        rates = [number(figures.mbps(who)) for who in ("tcp", "mptcp", "aria2", "kwik")]
        shares = [figures.against_tcp("kwik", False), figures.against_tcp("kwik", True),
                  figures.against("kwik", "mptcp")]
        lines.append(f"| {cell.name} | {cell.title} | {' | '.join(rates)} | "
                     f"{' | '.join(number(share, '.2f') for share in shares)} | {gaps[0]} ({gaps[1]}) |")
    return "\n".join(lines) + f"\n\nMedians of {rounds} rounds.\n"


def least(values):
    values = [value for value in values if value is not None]
    return f"{min(values):.3f}" if values else "–"


def conclude(known, options):
    """Prints table, demands and the last line; the exit code."""
    all_figures = [Figures(cell, rounds) for cell, rounds in known if rounds]
    if not all_figures:
        print("Nothing was measured.")
        return 1
    print(LEGEND.format(rounds=options.runs, congestion=options.congestion) + "\n")
    print(table([row(figures) for figures in all_figures]) + "\n")
    lines, wrong = uploads(known)
    for figures in all_figures:
        jain = [entry["jain"] for round_ in figures.rounds
                if (entry := round_.get("fairness") or {}).get("jain")]
        if jain:
            lines.append(f"{figures.cell.name}: Jain's index of Kwik beside one TCP {min(jain):.3f} to "
                         f"{max(jain):.3f}")
        lied = [entry for round_ in figures.rounds if (entry := round_.get("lied_to")) and "mbps" in entry]
        if lied:
            lines.append(f"{figures.cell.name}: with a lying replica {lied[0]['mbps']:.1f} Mbit/s, "
                         f"{lied[0]['mismatches']} wrong blocks found, none read")
        if len(figures.cell.events) <= MOST_EVENTS_TOLD:
            lines += recovery_lines(figures)
        wrong += [f"{figures.cell.name}: {problem}" for problem in demands(figures)]
    print("\n".join(lines))
    missed = [(figures.cell.name, share) for figures in all_figures
              if (share := figures.against_tcp("kwik", False)) is not None and share < SHARE_OF_SUM]
    for name, share in missed:
        print(f"missed: {name} reaches {share:.3f} of the sum: {REASONS.get(name, 'no reason is known')}")
        if name not in REASONS:
            wrong.append(f"{name}: below {SHARE_OF_SUM} of the sum without a known reason")
    if len(missed) > MISSES_ALLOWED:
        wrong.append(f"{len(missed)} cells below {SHARE_OF_SUM} of the sum; at most {MISSES_ALLOWED}")
    for problem in wrong:
        print(f"NOT AS DEMANDED: {problem}")
    print(f"matrix: cells={len(all_figures)} missed={len(missed)} "
          f"corrupt={sum(figures.corrupt() for figures in all_figures)} "
          f"min_vs_best={least(figures.against_tcp('kwik', True) for figures in all_figures)} "
          f"min_vs_sum={least(figures.against_tcp('kwik', False) for figures in all_figures)} "
          f"min_vs_mptcp={least(figures.against('kwik', 'mptcp') for figures in all_figures)}", flush=True)
    return 1 if wrong else 0
