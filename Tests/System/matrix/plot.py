"""A picture of a cell: goodput over time on each link, and the in-order delay, of each contender."""

import html

from matrix.figures import quantile

WIDTH, PANEL, TOP, LEFT, RIGHT, GAP = 900, 150, 50, 60, 20, 34
DELAYS = 170
COLOURS = ["#1f6fb4", "#d9722b", "#3a9a4b", "#8a5bb0"]
NAMES = {"tcp": "TCP on each link alone, at once", "mptcp": "kernel MPTCP", "aria2": "aria2", "kwik": "Kwik",
         "interfaces": "Kwik over interfaces to one server"}
LINE_COLOURS = {"kwik": "#1f6fb4", "mptcp": "#d9722b", "interfaces": "#3a9a4b"}


def tag(name, text=None, **attributes):
    words = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in attributes.items())
    return f"<{name}{words}/>" if text is None else f"<{name}{words}>{html.escape(str(text))}</{name}>"


def label(x, y, text, **attributes):
    return tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", **{"font_size": 12, **attributes})


def polyline(points, colour):
    return tag("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), fill="none", stroke=colour,
               stroke_width=1.5)


class Axes:
    """A panel's coordinates."""

    def __init__(self, top, height, across, up):
        self.top, self.height, self.across, self.up = top, height, across or 1, up or 1

    def x(self, value):
        return LEFT + value / self.across * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        return self.top + self.height - min(value / self.up, 1) * self.height

    def frame(self, title, unit):
        yield tag("rect", x=LEFT, y=self.top, width=WIDTH - LEFT - RIGHT, height=self.height, fill="none",
                  stroke="#999")
        yield label(LEFT + 4, self.top - 5, title, font_weight="bold")
        for part in (0, 0.5, 1):
            yield label(LEFT - 6, self.y(self.up * part) + 4, f"{self.up * part:.0f}", text_anchor="end")
        yield label(14, self.top + self.height / 2, unit, text_anchor="middle",
                    transform=f"rotate(-90 14 {self.top + self.height / 2:.0f})")


def goodput(axes, series, events):
    """The links' rates, one upon the other, so that the outline is their sum."""
    lines = list(series["links"].values())
    length = max(map(len, lines), default=0)
    below = [0.0] * length
    for index, line in enumerate(lines):
        above = [low + (line[i] if i < len(line) else 0) for i, low in enumerate(below)]
        edge = [(axes.x(i * series["ms"] / 1e3), axes.y(value)) for i, value in enumerate(above)]
        back = [(axes.x(i * series["ms"] / 1e3), axes.y(value)) for i, value in enumerate(below)][::-1]
        yield tag("polygon", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in edge + back),
                  fill=COLOURS[index % len(COLOURS)], fill_opacity=0.75)
        below = above
    for event in events:
        x = axes.x(event.ms / 1e3)
        if event.ms / 1e3 < axes.across:
            yield tag("line", x1=f"{x:.1f}", y1=axes.top, x2=f"{x:.1f}", y2=axes.top + axes.height,
                      stroke="#444", stroke_dasharray="3 3")


def delays_panel(top, series):
    """Which share of the bytes waited no longer than so many milliseconds."""
    known = {name: sorted(one["delays"]) for name, one in series.items() if one["delays"]}
    longest = max((quantile(values, 0.99) for values in known.values()), default=0) * 1.1
    axes = Axes(top, DELAYS - GAP, max(longest, 1), 100)
    yield from axes.frame("in-order delay: per cent of the bytes that waited at most so long", "%")
    for part in range(5):
        value = axes.across * part / 4
        yield label(axes.x(value), top + axes.height + 14, f"{value:.0f} ms", text_anchor="middle")
    for index, (name, values) in enumerate(known.items()):
        points = [(axes.x(min(value, axes.across)), axes.y(100 * (i + 1) / len(values)))
                  for i, value in enumerate(values)]
        colour = LINE_COLOURS.get(name, "#777")
        yield polyline(points, colour)
        yield label(WIDTH - RIGHT - 8, top + axes.height - 8 - 15 * index, NAMES[name], text_anchor="end",
                    fill=colour)


def draw(cell, rounds, path):
    """Writes the picture of the first round that has series."""
    series = {name: entry["series"] for round_ in rounds[:1] for name, entry in round_.items()
              if entry and "series" in entry and name in NAMES}
    if not series:
        return
    across = max(len(line) * one["ms"] / 1e3 for one in series.values() for line in one["links"].values())
    nominal = sum(link.rate for link in cell.links if not link.shares)
    parts = [label(LEFT, 22, f"{cell.name}: {cell.title}", font_size=16, font_weight="bold")]
    for index, link in enumerate(cell.links):
        parts.append(label(WIDTH - RIGHT - 170 * (len(cell.links) - index), 22,
                           f"■ {link.rate:g} Mbit/s, {link.rtt:g} ms", fill=COLOURS[index % len(COLOURS)]))
    top = TOP
    for name in (known for known in NAMES if known in series):
        axes = Axes(top, PANEL - GAP, across, nominal * 1.05)
        parts += [*axes.frame(NAMES[name], "Mbit/s"), *goodput(axes, series[name], cell.events)]
        top += PANEL
    for part in range(7):
        value = across * part / 6
        parts.append(label(LEFT + part / 6 * (WIDTH - LEFT - RIGHT), top - GAP + 14, f"{value:.1f} s",
                           text_anchor="middle"))
    parts += delays_panel(top + 10, series)
    height = top + DELAYS + 10
    body = "\n".join(parts)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n', encoding="utf-8")
