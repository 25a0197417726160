"""One byte there and back through Kwik beside TCP, and what the shim costs a connect that it passes on."""

import contextlib
import resource
import statistics
import subprocess

from kwiklab import LabError, free_ports, streams_of, tcp_accepts

ROUNDS, COUNT = 15, 2000
PAIRS = 10000
# Connections that do nothing; kwikd has two descriptors for each.
IDLE = 4000


def figures(text):
    return [float(word) for word in text.split()]


def run(lab, argv):
    result = lab.run(argv, timeout=600)
    if result.returncode != 0:
        raise LabError(f"{argv[0]}: {result.stderr.decode()}")
    return result.stdout.decode()


@contextlib.contextmanager
def idlers(lab, program):
    """Idle connections of another program through the same engine."""
    words = [program, "idle", IDLE, lab.service_port]
    program = lab.start(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        if program.stdout.readline() != b"ready\n":
            raise LabError("the idle connections were not made")
        yield
    finally:
        program.communicate()


def pingpong(lab, program):
    """Both connections are of one process under the shim; only the second one's destination is served. Then
    once more with idle connections beside them."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    server, = lab.servers
    server.service["max_streams"] = IDLE + 10
    port, = free_ports(1)
    echo = lab.daemon("echo", [program, "serve", port])
    echo.ready(lambda: tcp_accepts(port), "no listener")
    server.start_backend([program, "serve", server.backend_port])
    server.start_gateway()
    lab.start_engine()
    tcp, kwik = map(figures, run(lab, [program, "ask", ROUNDS, COUNT, port, lab.service_port]).splitlines())
    carried = sum(part["bytes"] for stream in streams_of(lab.status(), "finished_streams", "streams")
                  for part in stream["parts"])
    if carried < ROUNDS * COUNT:
        raise LabError(f"the engine carried {carried} of {ROUNDS * COUNT} bytes")
    with idlers(lab, program):
        beside = run(lab, [program, "ask", ROUNDS, COUNT, lab.service_port])
    names = ("p50_us", "p99_us", "mean_us")
    return {"tcp": dict(zip(names, tcp)), "kwik": dict(zip(names, kwik)),
            "kwik_beside_idle": dict(zip(names, figures(beside)))}


def connect(lab, program):
    """Beside a running engine whose map names another destination."""
    ratio, native, shim = figures(run(lab, [program, PAIRS]))
    return {"ratio": ratio, "native_us": native, "shim_us": shim}


def print_table(runs):
    """Medians of the runs."""
    def median(name, figure):
        return statistics.median(run[name][figure] for run in runs)

    print(f"\n{'1 byte there and back':<22} {'p50':>8} {'p99':>8}  µs")
    for name, title in (("tcp", "TCP"), ("kwik", "Kwik"), ("kwik_beside_idle", f"Kwik beside {IDLE} idle")):
        print(f"{title:<22} {median(name, 'p50_us'):8.1f} {median(name, 'p99_us'):8.1f}")
    print(f"\nconnect passed on: {median('connect', 'shim_us'):.2f} µs, "
          f"native {median('connect', 'native_us'):.2f} µs, ratio {median('connect', 'ratio'):.3f}")
