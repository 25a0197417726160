#!/usr/bin/env python3
"""Small peers for the emulator's own test.

    probe.py echo PORT                         sends datagrams back
    probe.py count PORT                        at each line of input, once no more come: datagrams, seconds,
                                               bytes since the last
    probe.py ping HOST PORT COUNT SECONDS      milliseconds of each answered echo
    probe.py order HOST PORT COUNT SECONDS     how many echoes came after a later one
    probe.py send HOST PORT COUNT SIZE MBPS    datagrams at a rate; 0: all at once
    probe.py receive PORT                      one TCP connection; says how many bytes came
    probe.py stream HOST PORT BYTES            one TCP connection
"""

import select
import socket
import struct
import sys
import time

# Seconds without a datagram after which no more come: what was sent before is here, or lost.
PATIENCE, QUIET = 1, 0.3


def datagrams(port=None):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, 8 << 20)
    # SO_RCVBUFFORCE, SO_SNDBUFFORCE: beyond the system's limit, so that the receiver is not what drops.
    sock.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)
    sock.setsockopt(socket.SOL_SOCKET, 32, 16 << 20)
    if port:
        sock.bind(("0.0.0.0", port))
    return sock


def echo(port):
    sock = datagrams(int(port))
    while True:
        data, peer = sock.recvfrom(2048)
        sock.sendto(data, peer)


def count(port):
    sock = datagrams(int(port))
    # SO_TIMESTAMPNS: when the kernel got it, however late this process runs.
    sock.setsockopt(socket.SOL_SOCKET, 35, 1)
    got, first, last, size = 0, 0.0, 0.0, 0
    is_asked = False
    while True:
        sources, wait = ([sock], QUIET) if is_asked else ([sock, sys.stdin], None)
        ready, _, _ = select.select(sources, [], [], wait)
        if sock in ready:
            data, extra, _, _ = sock.recvmsg(2048, 64)
            seconds, nanoseconds = struct.unpack("qq", extra[0][2])
            last = seconds + nanoseconds / 1e9
            if got == 0:
                first = last
            else:
                size += len(data) + 28
            got += 1
        elif is_asked:
            print(got, last - first, size, flush=True)
            got, first, last, size, is_asked = 0, 0.0, 0.0, 0, False
        elif sys.stdin.readline():
            is_asked = True
        else:
            return


def echoes(host, port, number, every):
    """(number, milliseconds) of the echoes in the order of their coming back."""
    sock = datagrams()
    sock.connect((host, int(port)))
    sock.setblocking(False)
    begun, sent, back = time.monotonic(), 0, []
    while len(back) < number:
        now = time.monotonic()
        due = begun + sent * every
        if sent < number and now >= due:
            sock.send(struct.pack("Qd", sent, now))
            sent += 1
            continue
        if select.select([sock], [], [], due - now if sent < number else PATIENCE)[0]:
            try:
                which, when = struct.unpack("Qd", sock.recv(2048))
                back.append((which, (time.monotonic() - when) * 1e3))
            except ConnectionRefusedError:
                time.sleep(0.01)
        elif sent == number:
            break
    return back


def ping(host, port, number, every):
    print(*[f"{ms:.3f}" for _, ms in echoes(host, port, int(number), float(every))], sep="\n")


def order(host, port, number, every):
    highest, late = -1, 0
    for which, _ in echoes(host, port, int(number), float(every)):
        late += which < highest
        highest = max(highest, which)
    print(late)


def send(host, port, number, size, mbps):
    sock = datagrams()
    sock.connect((host, int(port)))
    payload, rate = b"x" * int(size), float(mbps) * 1e6 / 8
    begun = time.monotonic()
    for index in range(int(number)):
        if rate:
            wait = begun + index * (int(size) + 28) / rate - time.monotonic()
            if wait > 0.001:
                time.sleep(wait)
        sock.send(payload)


def receive(port):
    listener = socket.create_server(("0.0.0.0", int(port)))
    print("listening", flush=True)
    sock, _ = listener.accept()
    total = 0
    while data := sock.recv(65536):
        total += len(data)
    print(total, flush=True)


def stream(host, port, size):
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(b"x" * int(size))


if __name__ == "__main__":
    verbs = {verb.__name__: verb for verb in (echo, count, ping, order, send, receive, stream)}
    if len(sys.argv) < 3 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[sys.argv[1]](*sys.argv[2:])
