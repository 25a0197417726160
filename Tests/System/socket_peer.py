#!/usr/bin/env python3
"""Both ends of programs that use more of a socket than its bytes.

    socket_peer.py serve PORT [proxy]     proxy: every connection begins with a PROXY v2 header
    socket_peer.py urgent|keepalive|info|who PORT

Each client asks with one line and prints one line about what it saw.
"""

import contextlib
import pathlib
import select
import socket
import struct
import sys
import threading
import time

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
BULK = 300_000
KEEP_ALIVE_TIMER = 2
# Seconds for what comes at once but on a busy machine.
PATIENCE = 20


def read_line(connection):
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            raise EOFError("closed in the middle of a line")
        line += byte
    return line.decode()


def read_exactly(connection, count):
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise EOFError("closed too early")
        data += piece
    return data


def read_with_urgent(connection):
    """A line, and the urgent byte that came out of band meanwhile."""
    line, urgent = b"", b""
    poll = select.poll()
    poll.register(connection, select.POLLIN | select.POLLPRI)
    while not (line.endswith(b"\n") and urgent):
        for _, events in poll.poll(PATIENCE * 1000) or sys.exit("no urgent byte came"):
            if events & select.POLLPRI and not urgent:
                with contextlib.suppress(OSError):
                    urgent = connection.recv(1, socket.MSG_OOB)
            elif events & select.POLLIN:
                line += connection.recv(1)
    return f"{line.decode().strip()} {urgent.decode()}"


def send_with_urgent(connection, before, urgent, after):
    connection.sendall(before)
    connection.send(urgent, socket.MSG_OOB)
    connection.sendall(after)


def timer_of(port):
    """The timer of the socket at that end (proc(5), /proc/net/tcp): the gateway's, on this machine."""
    for line in pathlib.Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{port:04X}") and fields[3] == "01":
            return int(fields[5].split(":")[0])
    return -1


def serve_one(connection, has_header):
    with connection:
        who = ""
        if has_header:
            head = read_exactly(connection, 16)
            body = read_exactly(connection, struct.unpack(">H", head[14:])[0])
            if head[:14] != SIGNATURE + b"\x21\x11":
                raise ValueError("no PROXY v2 header of TCP over IPv4")
            source, (port, target) = socket.inet_ntoa(body[:4]), struct.unpack(">HH", body[8:12])
            who = f"{source} {port} {target}"
        while True:
            try:
                kind = read_line(connection).strip()
            except EOFError:
                return
            if kind == "urgent":
                seen = read_with_urgent(connection)
                send_with_urgent(connection, seen.encode() + b" 12", b"!", b"34\n")
            elif kind == "keepalive":
                until = time.monotonic() + PATIENCE
                while timer_of(connection.getpeername()[1]) != KEEP_ALIVE_TIMER and time.monotonic() < until:
                    time.sleep(0.01)
                connection.sendall(f"{timer_of(connection.getpeername()[1])}\n".encode())
            elif kind == "info":
                connection.sendall(bytes(BULK))
            elif kind == "who":
                connection.sendall(f"{who}\n".encode())


def serve(port, has_header):
    with socket.create_server(("127.0.0.1", port), backlog=64) as listener:
        while True:
            connection, _ = listener.accept()

            def run(connection=connection):
                with contextlib.suppress(EOFError, OSError):
                    serve_one(connection, has_header)
            threading.Thread(target=run, daemon=True).start()


def urgent(connection):
    send_with_urgent(connection, b"urgent\nab", b"X", b"cd\n")
    print(read_with_urgent(connection))


def keepalive(connection):
    """Set after the connect: the far end has to be told."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.sendall(b"keepalive\n")
    print(read_line(connection).strip())


def info(connection):
    connection.sendall(b"info\n")
    read_exactly(connection, BULK)
    until = time.monotonic() + PATIENCE
    while True:
        figures = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        rtt, window = struct.unpack_from("I", figures, 68)[0], struct.unpack_from("I", figures, 80)[0]
        acknowledged, received = struct.unpack_from("QQ", figures, 120)
        if acknowledged == len(b"info\n") or time.monotonic() > until:
            break
        time.sleep(0.01)
    print(figures[0], 0 < rtt < 1_000_000, window > 0, acknowledged, received)


def who(connection):
    connection.sendall(b"who\n")
    print(read_line(connection).strip(), connection.getsockname()[1])


def main():
    kind, port, *rest = sys.argv[1:]
    if kind == "serve":
        serve(int(port), rest == ["proxy"])
    with socket.create_connection(("127.0.0.1", int(port))) as connection:
        {"urgent": urgent, "keepalive": keepalive, "info": info, "who": who}[kind](connection)


if __name__ == "__main__":
    main()
