"""What is compared: each function makes one transfer (TCP alone: one on each link) and returns its record.

mbps: the program's bits per second of the whole transfer, connecting included. A record with `failed` counts
for nothing but the failure; `corrupt` is true where a byte was wrong.
"""

import contextlib
import json
import os
import subprocess
import time

from kwiklab import LabError
from matrix.figures import arrivals_of, in_order_delays, progress_of, quantile, recoveries, series_of
from matrix.network import EVERYWHERE
from matrix.world import HTTP, MPTCP, UPLOAD

# For what was sent before to be over.
SETTLE_SECONDS = 0.5
# A transfer is given up after this many times what the links need, and this more.
PATIENCE, PATIENCE_SECONDS = 4, 15
WARM_BYTES = 1024
# How long before a link dies the engine is asked for its round trips.
LOOK_MS = 50
# In which the subflows of a connection come to be.
JOIN_SECONDS = 4
# Connections that aria2 makes to each server: one, as everybody else.
ARIA2_CONNECTIONS = 1


class Failed(Exception):
    """The transfer did not end as it should."""


class Late(Failed):
    """The transfer took too long; so much came."""

    def __init__(self, seconds, meter):
        super().__init__(f"not done after {seconds:.0f} s: {meter['bytes']} bytes, {meter['gaps'][-3:]}")
        self.meter = meter


class Measured:
    """The links fresh, the cell's events planned, everything counted from zero; afterwards what they saw."""

    def __init__(self, world, events=True, jitter=True):
        self.world, self.events, self.jitter, self.counts = world, events, jitter, None

    def __enter__(self):
        emulator, cell = self.world.network.emulator, self.world.cell
        self.world.network.restore()
        if not self.jitter:
            emulator.tell(*(f"set {link.name} both jitter=0" for link in cell.links))
        time.sleep(SETTLE_SECONDS)
        emulator.tell("zero", *(cell.commands() if self.events else ()))
        return self

    def __exit__(self, *_):
        self.counts = self.world.network.emulator.ask("series")
        self.world.network.restore()


def patience(cell):
    return PATIENCE * cell.seconds + PATIENCE_SECONDS


def describe(measured, meter, series, direction="down"):
    """What every record tells besides its rate."""
    links = {name: {key: value for key, value in link[direction].items() if key != "series"}
             for name, link in measured.counts["links"].items()}
    told = {"links": links}
    if measured.events and measured.world.cell.events:
        told["recovery_ms"] = recoveries(measured.world.cell, measured.counts)
    if meter:
        begun = measured.counts["begun_ns"]
        delays = in_order_delays(arrivals_of(measured.counts), progress_of(meter, begun))
        told |= {"corrupt": meter["corrupt"] >= 0, "first_ms": meter["first_ms"],
                 "longest_gap_ms": max((gap[1] for gap in meter["gaps"]), default=0.0),
                 "wire": sum(link["out_bytes"] for link in links.values()) / (meter["bytes"] or 1),
                 "gaps": meter["gaps"], "delay_p50_ms": quantile(delays, 0.5),
                 "delay_p99_ms": quantile(delays, 0.99)}
    if series:
        told["series"] = series_of(measured.counts, meter, direction)
    return told


class Curl:
    """One curl whose output is compared as it comes."""

    def __init__(self, world, url, size, shim):
        self.size, self.begun = size, time.monotonic()
        self.curl = world.start(["curl", "-sS", "--fail", "-w", "%{stderr}%{time_total}", "-o", "-", url],
                                shim=shim, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.sink = subprocess.Popen([world.transfer, "sink", world.truth], stdin=self.curl.stdout,
                                     stdout=subprocess.PIPE, text=True)
        self.curl.stdout.close()

    def cut(self, seconds):
        """(seconds, meter) of what came until the end, or so long after the start if that is earlier."""
        try:
            return self.end(max(self.begun + seconds - time.monotonic(), 0.1))
        except Late as late:
            meter = late.meter
            if not meter["bytes"]:
                raise
            return meter["last_ms"] / 1e3, meter

    def end(self, seconds):
        """(seconds, meter); Failed if it did not bring everything."""
        try:
            meter = json.loads(self.sink.communicate(timeout=seconds)[0])
            said = self.curl.communicate(timeout=5)[1].strip()
        except subprocess.TimeoutExpired as late:
            self.curl.kill()
            raise Late(seconds, json.loads(self.sink.communicate(timeout=5)[0])) from late
        finally:
            self.close()
        if self.curl.returncode != 0 or meter["bytes"] != self.size:
            raise Failed(f"{meter['bytes']} of {self.size} bytes: {said[-200:]}")
        return float(said.split()[-1]), meter

    def close(self):
        """Ends what has not ended by itself."""
        for process in (self.curl, self.sink):
            process.kill()
            process.wait()


def tcp(world, series):
    """curl to nginx on each link at once, each as much as fills the cell's time; nothing happens to them.
    One that takes twice that time, on a link that loses, is ended: its rate is known by then."""
    cell = world.cell
    links = [link for link in cell.links if not link.shares]
    sizes = [cell.bytes_of_single(link) for link in links]
    files = [world.file(size) for size in sizes]
    with Measured(world, events=False, jitter=not cell.clean_references) as measured:
        if cell.small:
            ends = []
            for i, size in enumerate(sizes):
                curl = Curl(world, f"http://{world.network.address(i)}:{HTTP}/{files[i]}", size, False)
                ends.append(curl.end(patience(cell)))
        else:
            curls = [Curl(world, f"http://{world.network.address(i)}:{HTTP}/{files[i]}", size, False)
                     for i, size in enumerate(sizes)]
            if cell.seconds > 2:
                watch(world, curls[0].curl, HTTP, len(curls))
            ends = [curl.cut(2 * cell.seconds) for curl in curls]
    rates = [meter["bytes"] * 8 / seconds / 1e6 for seconds, meter in ends]
    # Links that are given all of it take longer than who uses them together.
    progress = [[meter["bin_ms"], meter["progress"]] for _, meter in ends] if cell.size else None
    return {"mbps_of": rates, "progress_of": progress,
            "mbps": sum(rates), "seconds": max(seconds for seconds, _ in ends),
            "corrupt": any(meter["corrupt"] >= 0 for _, meter in ends),
            **({"series": series_of(measured.counts, None)} if series else {})}


def mptcp(world, series):
    """Kernel MPTCP: one server that has an address on each link."""
    cell = world.cell
    name = world.file(cell.bytes)
    with Measured(world) as measured:
        begun = time.monotonic()
        process = world.start([world.transfer, "--mptcp", "--congestion", world.kernel_congestion, "get",
                               world.network.address(0), MPTCP, f"/{name}", world.truth],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            subflows = watch(world, process, MPTCP, len(cell.links)) if cell.seconds > 2 else None
            out, problem = process.communicate(timeout=patience(cell))
        except subprocess.TimeoutExpired as late:
            raise Failed(f"not done after {time.monotonic() - begun:.0f} s") from late
        finally:
            process.kill()
            process.wait()
    if process.returncode != 0:
        raise Failed(f"MPTCP: {problem.strip()}")
    meter = json.loads(out)
    seconds = meter["last_ms"] / 1e3
    return {"mbps": meter["bytes"] * 8 / seconds / 1e6, "seconds": seconds, "subflows": subflows,
            **describe(measured, meter, series)}


def congestion_at(world, port):
    """The congestion control of each connection of the client to a port of the server's end, as the kernel
    tells it; those of gateways to that port are none of the client's."""
    client = " or ".join(f"dst {world.network.local(i)}" for i in range(len(world.cell.links)))
    listing = world.network.run(
        "server", ["ss", "-tinH", "state", "established", f"( sport = :{port} ) and ( {client} )"],
        capture_output=True, text=True)
    names = {"cubic", "bbr", "reno"}
    return [next((word for word in line.split() if word in names), "unknown")
            for line in listing.stdout.splitlines() if "cwnd:" in line]


def watch(world, process, port, count):
    """While a transfer goes on: Failed unless there are `count` connections or subflows within some seconds,
    as a link may lose a subflow's first packet, all under the congestion control that is compared."""
    for _ in range(JOIN_SECONDS):
        time.sleep(1)
        found = congestion_at(world, port)
        if len(found) >= count or process.poll() is not None:
            break
    if process.poll() is None and (len(found) < count or set(found) != {world.kernel_congestion}):
        raise Failed(f"{count} connections under {world.kernel_congestion} expected, there are: {found}")
    return len(found)


def aria2(world, series):
    """The same servers as mirrors of one file."""
    cell = world.cell
    name, target = world.file(cell.bytes), world.directory / "aria2"
    urls = [f"http://{world.network.address(i)}:{HTTP}/{name}"
            for i in range(len(cell.links)) if not cell.links[i].shares or i]
    words = ["aria2c", "--no-conf", "-q", "--file-allocation=none", "--min-split-size=1M",
             f"--split={len(urls) * ARIA2_CONNECTIONS}", f"--max-connection-per-server={ARIA2_CONNECTIONS}",
             "--allow-overwrite=true", "--auto-file-renaming=false", "-d", world.directory, "-o", "aria2",
             *urls]
    with Measured(world) as measured:
        begun = time.monotonic()
        process = world.start(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            said = process.communicate(timeout=patience(cell))[0]
        except subprocess.TimeoutExpired as late:
            raise Failed(f"not done after {time.monotonic() - begun:.0f} s") from late
        finally:
            process.kill()
            process.wait()
        seconds = time.monotonic() - begun
    if process.returncode != 0:
        raise Failed(f"aria2 ended with {process.returncode}: {said[-200:]}")
    same = subprocess.run(["cmp", "-s", target, world.files / name], check=False).returncode == 0
    target.unlink()
    return {"mbps": cell.bytes * 8 / seconds / 1e6, "seconds": seconds,
            **describe(measured, None, series), "corrupt": not same}


def warm(world, service, paths):
    """A first small transfer; returns how many paths are active then."""
    world.network.restore()
    result = world.run(["curl", "-sS", "--fail", "-o", os.devnull,
                        f"http://{service}/{world.file(WARM_BYTES)}"], shim=True, timeout=30)
    if result.returncode != 0:
        raise Failed(f"the first transfer: {result.stderr.strip()[-200:]}")
    return world.connected(paths)


def through_kwik(world, service, series, size=None, events=True):
    """curl under the shim, with the engine that runs."""
    cell = world.cell
    size = size or cell.bytes
    name, spent = world.file(size), world.cpu_seconds()
    with Measured(world, events) as measured:
        curl = Curl(world, f"http://{service}/{name}", size, True)
        try:
            round_trips = round_trips_at_deaths(world, curl) if events else []
            seconds, meter = curl.end(patience(cell))
        except Failed as failure:
            raise Failed(f"{failure}; {last_words(world)}") from failure
        finally:
            curl.close()
    return {"mbps": size * 8 / seconds / 1e6, "seconds": seconds,
            # A small transfer takes less than the clock's tick.
            "cpu_s_per_gib": None if cell.small else (world.cpu_seconds() - spent) * (1 << 30) / size,
            "round_trips_ms": round_trips,
            **describe(measured, meter, series), **told_by_engine(world, size)}


def round_trips_at_deaths(world, curl):
    """The largest smoothed round trip of the engine's paths just before each death of a link, ms."""
    largest = []
    for event in world.cell.kills:
        wait = curl.begun + (event.ms - LOOK_MS) / 1e3 - time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            curl.curl.wait(max(wait, 0))
            break
        paths = [path for service in world.status()["services"] for path in service["paths"]]
        largest.append(max((path["rtt_ms"] or 0 for path in paths), default=0))
    return largest


def told_by_engine(world, size):
    """Duplicates, and by whom the bytes came, as the engine's status says."""
    status = world.status()
    streams = [stream for service in status["services"]
               for key in ("streams", "finished_streams") for stream in service[key]]
    stream = max(streams, key=lambda entry: entry["delivered_bytes"], default=None)
    if not stream or stream["delivered_bytes"] < size:
        raise Failed("the engine did not carry it")
    came = sum(part["bytes"] for part in stream["parts"])
    paths = [{key: path[key] for key in ("server", "kind", "state", "rtt_ms", "rate_mbps", "received_bytes")}
             for service in status["services"] for path in service["paths"]]
    return {"duplicates": 100 * (came / stream["delivered_bytes"] - 1), "parts": stream["parts"],
            "paths": paths, "counters": status["counters"]}


def last_words(world):
    lines = world.engine.text().splitlines() if world.engine else []
    return " | ".join(lines[-3:])


def kwik(world, series):
    """One gateway and nginx on each link, each with its own copy."""
    world.start_engine([(world.service, world.servers, {})])
    paths = warm(world, world.service, len(world.servers))
    return {"connected": paths, **through_kwik(world, world.service, series)}


def single(world, series):
    """Kwik with the first server alone: what one path makes of its link while nothing happens to it."""
    world.start_engine([(world.service, world.servers[:1], {})])
    warm(world, world.service, 1)
    size = world.cell.bytes_of_single(world.cell.links[0])
    return through_kwik(world, world.service, series, size, events=False)


def lied_to(world, _):
    """The same with one more replica, whose bytes are wrong in places: no wrong one may come out."""
    world.lie(world.cell.bytes)
    world.lie(WARM_BYTES)
    world.start_engine([(world.service, [*world.servers, world.liar], {})])
    warm(world, world.service, len(world.servers) + 1)
    record = through_kwik(world, world.service, False)
    lies = [part["bytes"] for part in record["parts"] if part["server"] == world.liar.name]
    return {**record, "liar_bytes": sum(lies), "mismatches": record["counters"]["block_mismatches"]}


def interfaces(world, series):
    """One server that every link leads to."""
    world.start_engine([(world.shared_service, [world.everywhere], {})])
    paths = warm(world, world.shared_service, len(world.cell.links))
    if paths < len(world.cell.links):
        raise Failed(f"{paths} of {len(world.cell.links)} paths are active")
    return through_kwik(world, world.shared_service, series)


def fairness(world, _):
    """Kwik and one TCP connection at once: Jain's index of what they got until the first of them ended."""
    cell = world.cell
    world.start_engine([(world.service, world.servers, {})])
    warm(world, world.service, len(world.servers))
    size = cell.bytes
    name = world.file(size)
    with Measured(world):
        curls = [Curl(world, f"http://{world.service}/{name}", size, True),
                 Curl(world, f"http://{world.network.address(0)}:{HTTP}/{name}", size, False)]
        ends = [curl.end(2 * patience(cell)) for curl in curls]
    until = min(meter["last_ms"] for _, meter in ends)
    got = [meter["progress"][min(int(until / meter["bin_ms"]), len(meter["progress"]) - 1)]
           for _, meter in ends]
    return {"jain": sum(got) ** 2 / (len(got) * sum(x * x for x in got)), "kwik_bytes": got[0],
            "tcp_bytes": got[1], "seconds": until / 1e3,
            "corrupt": any(meter["corrupt"] >= 0 for _, meter in ends)}


def attempt(contender, world, series):
    """The record, or one of a failure where there is none to have."""
    try:
        return contender(world, series)
    except (Failed, LabError, OSError, ValueError, subprocess.SubprocessError) as failure:
        return {"failed": f"{type(failure).__name__}: {failure}"[:500]}
    finally:
        with contextlib.suppress(LabError):
            world.network.restore()


def upload(world, service, servers, keys, links):
    """curl -T under the shim; the backend compares. Sized for `links`, over each of which there must be a
    path. `keys`: of the engine's service."""
    size = sum(world.cell.bytes_of_single(link) for link in links)
    name = world.file(size)
    world.start_engine([(service, servers, keys)])
    paths = warm(world, service, len(links))
    if paths < len(links):
        raise Failed(f"{paths} of {len(links)} paths are active")
    with Measured(world) as measured:
        seconds, meter = curl_upload(world, f"http://{service}/{name}", world.files / name, True)
    if meter["bytes"] != size:
        raise Failed(f"{meter['bytes']} of {size} bytes arrived")
    return {"mbps": size * 8 / seconds / 1e6, "seconds": seconds, "corrupt": meter["corrupt"] >= 0,
            "links": describe(measured, None, False, "up")["links"]}


def curl_upload(world, url, path, shim, *options):
    """(seconds, what the backend says of it)."""
    result = world.run(["curl", "-sS", "--fail", "-H", "Expect:", "-T", path, "-w",
                        "%{stderr}%{time_total}", *options, url],
                       shim=shim, timeout=patience(world.cell) + PATIENCE * world.cell.seconds)
    if result.returncode != 0:
        raise Failed(f"curl -T: {result.stderr.strip()[-200:]}; {last_words(world)}")
    return float(result.stderr.split()[-1]), json.loads(result.stdout)


def upload_tcp(world, _):
    """curl -T without Kwik, over the first link."""
    size = world.cell.bytes_of_single(world.cell.links[0])
    name = world.file(size)
    with Measured(world):
        seconds, meter = curl_upload(world, f"http://{EVERYWHERE}:{UPLOAD}/{name}", world.files / name, False,
                                     "--interface", world.network.local(0))
    return {"mbps": size * 8 / seconds / 1e6, "corrupt": meter["corrupt"] >= 0}


def upload_one(world, _):
    """Kwik over the first link alone."""
    return upload(world, world.upload_service, [world.everywhere], {"interfaces": ["link0"]},
                  world.cell.links[:1])


def upload_interfaces(world, _):
    """Kwik over all links to one server."""
    return upload(world, world.upload_service, [world.everywhere], {}, world.cell.links)


def upload_by_relays(world, count):
    relays = [server.entry(["relay"]) for server in world.servers[:count]]
    return upload(world, world.hidden_service, [world.hidden, *relays], {}, world.cell.links[:count])


def upload_relay(world, _):
    """Kwik to a server that is reached through one other alone."""
    return upload_by_relays(world, 1)


def upload_relays(world, _):
    """The same through one on each link."""
    return upload_by_relays(world, len(world.cell.links))
