"""The cells of the link matrix: links, what happens to them, and how much is transferred."""

import dataclasses

from matrix.network import Link

# A transfer lasts about this long where every link carries what it can.
SECONDS = 6
# Where a link dies and comes back, long enough to see both.
KILL_SECONDS = 9
# Bytes per packet of the link's count that are the program's: what no transfer can exceed.
PAYLOAD = 1400 / 1500


@dataclasses.dataclass
class Event:
    """At `ms` after a transfer began a link carries `factor` of its rate; 0: silence."""

    ms: int
    link: str
    factor: float


@dataclasses.dataclass
class Cell:
    name: str
    title: str
    links: list
    events: list = dataclasses.field(default_factory=list)
    seconds: float = SECONDS
    # Bytes of each transfer; None: what the links carry in `seconds`.
    size: int = None
    # Transfers of a round of which the median counts: small ones are over soon and vary more.
    repeats: int = 1
    # The links' sum is no measure: for what ends before it is known to be bulk.
    small: bool = False
    # The references run without jitter: what they lose by it is no excuse.
    clean_references: bool = False
    uploads: bool = False
    # Beside one TCP connection: how fairly they share.
    fairness: bool = False

    @property
    def shared(self):
        return any(link.shares for link in self.links)

    def available(self, link, seconds):
        """For how many of the first `seconds` the link carried its whole rate, in sum."""
        total, factor, since = 0.0, 1.0, 0.0
        for event in self.events:
            if event.link == link.name and event.ms / 1e3 < seconds:
                total += factor * (event.ms / 1e3 - since)
                factor, since = event.factor, event.ms / 1e3
        return total + factor * (seconds - since)

    def factor(self, link, ms):
        """The share of its rate that the link carries just after a moment."""
        return next((event.factor for event in reversed(self.events)
                     if event.link == link.name and event.ms <= ms), 1.0)

    def bytes_of(self, links):
        """What `links` carry in the cell's time, their events included; whole KiB."""
        carried = sum(link.rate * 1e6 / 8 * self.available(link, self.seconds) for link in links)
        return int(carried * PAYLOAD) >> 10 << 10

    @property
    def bytes(self):
        links = [link for link in self.links if not link.shares]
        return self.size or self.bytes_of(links)

    def bytes_of_single(self, link):
        """What one link is given alone, nothing happening to it, so that it takes the same time."""
        return self.size or int(link.rate * 1e6 / 8 * self.seconds * PAYLOAD) >> 10 << 10

    def commands(self):
        """The events as the emulator takes them."""
        for event in self.events:
            link = next(link for link in self.links if link.name == event.link)
            if event.factor == 0:
                yield f"after {event.ms} kill {link.name} both"
            else:
                yield f"after {event.ms} restore {link.name} both"
                yield f"after {event.ms} set {link.name} both rate={link.rate * event.factor}"

    @property
    def kills(self):
        return [event for event in self.events if event.factor == 0]

    @property
    def longest_rtt(self):
        return max(link.rtt + link.jitter for link in self.links)


def links_of(*pairs, **options):
    return [Link(str(index), rate, rtt, **options) for index, (rate, rtt) in enumerate(pairs, 1)]


def links_of_a(**options):
    return links_of((50, 20), (20, 80), **options)


def blackouts(ms):
    """Each link goes dark on its own, the fast one twice."""
    moments = ((1500, "1"), (3000, "2"), (4500, "1"))
    return [event for start, link in moments
            for event in (Event(start, link, 0), Event(start + ms, link, 1))]


def jitter(ms):
    return Cell(f"J{ms}", f"A with {ms} ms of jitter", links_of_a(jitter=ms), clean_references=True)


def size_cell(name, size, small, repeats=1):
    return Cell(f"A-{name}", f"A, {name}", links_of_a(), size=size, small=small, repeats=repeats,
                seconds=size * 8 / 70e6)


def with_loss():
    links = links_of((50, 20), (50, 100))
    links[1].loss = 1
    return links


CELLS = [
    Cell("A", "50/20 + 20/80", links_of_a(), uploads=True),
    Cell("B", "50/20 + 50/20", links_of((50, 20), (50, 20)), uploads=True),
    Cell("C", "15/2 + 5/50", links_of((15, 2), (5, 50))),
    Cell("D", "50/20 + 50/100 with 1 % loss", with_loss()),
    Cell("E", "10/20 + 50/300", links_of((10, 20), (50, 300))),
    Cell("F", "50/20 + 30/60 + 20/100 + 10/160", links_of((50, 20), (30, 60), (20, 100), (10, 160))),
    Cell("G", "3 × 100 at 10/40/100", links_of((100, 10), (100, 40), (100, 100))),
    jitter(0),
    jitter(10),
    jitter(50),
    Cell("Q", "A with queues of 10 BDP", links_of_a(queue=10)),
    Cell("K", "A, the fast link silent from 3 s to 6 s", links_of_a(), seconds=KILL_SECONDS,
         events=[Event(3000, "1", 0), Event(6000, "1", 1)]),
    Cell("R", "A, the fast link at 5 % from 3 s on", links_of_a(), events=[Event(3000, "1", 0.05)]),
    *(Cell(f"X{ms}", f"A with blackouts of {ms} ms", links_of_a(), events=blackouts(ms))
      for ms in (100, 200, 1000)),
    Cell("S", "both through one queue of 50", [Link("1", 50, 20), Link("2", 50, 20, shares="1")],
         fairness=True),
    size_cell("20K", 20 << 10, True, 5),
    size_cell("200K", 200 << 10, True, 5),
    size_cell("2M", 2 << 20, True, 3),
    size_cell("20M", 20 << 20, False),
    size_cell("100M", 100 << 20, False),
]


def named(name):
    """The cells that a name means: one, or a letter's all (`X`, `J`)."""
    exact = [cell for cell in CELLS if cell.name.lower() == name.lower()]
    return exact or [cell for cell in CELLS if cell.name.rstrip("0123456789").lower() == name.lower()]
