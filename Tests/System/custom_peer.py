#!/usr/bin/env python3
"""A protocol that nobody knows: both ends of it, for tests that Kwik carries any TCP.

    custom_peer.py serve PORT DIRECTORY
    custom_peer.py fetch PORT SIZE SEED         writes what it got to standard output
    custom_peer.py push PORT SIZE SEED          sends SIZE bytes after the server has closed its half
    custom_peer.py echo PORT SIZE SEED          sends and receives at the same time
    custom_peer.py talk PORT COUNT SEED         COUNT small questions, each answered before the next

No lengths on the wire: ends of file mean what half-closes make of them. Writes come in chunks of odd sizes.
"""

import hashlib
import pathlib
import random
import socket
import sys
import threading

CHUNKS = (1, 7, 100, 1448, 4096, 16384, 16385, 65536, 200_001)


def stream(size, seed):
    """`size` bytes that depend on the seed only, in pieces of odd sizes."""
    generator = random.Random(seed)
    left = size
    while left > 0:
        piece = generator.randbytes(min(left, generator.choice(CHUNKS)))
        left -= len(piece)
        yield piece


def read_line(connection):
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            raise EOFError("the peer closed in the middle of a line")
        line += byte
    return line.decode()


def rest_of(connection):
    while data := connection.recv(65536):
        yield data


def serve_fetch(connection, size, seed):
    """The client has closed its half behind the request; the answer's end is the socket's."""
    if connection.recv(1) != b"":
        raise ValueError("bytes after the request")
    for piece in stream(size, seed):
        connection.sendall(piece)
    connection.shutdown(socket.SHUT_WR)


def serve_push(connection, directory, size, seed):
    """The server closes its half first; what the client still sends is recorded."""
    connection.sendall(b"go")
    connection.shutdown(socket.SHUT_WR)
    digest = hashlib.sha256()
    for data in rest_of(connection):
        digest.update(data)
    (directory / f"pushed-{size}-{seed}").write_text(digest.hexdigest(), encoding="ascii")


def serve_talk(connection, count):
    for _ in range(count):
        question = read_line(connection)
        connection.sendall(hashlib.sha256(question.encode()).hexdigest().encode() + b"\n")


def serve_one(connection, directory):
    with connection:
        try:
            kind, size, seed = read_line(connection).split()
            if kind == "fetch":
                serve_fetch(connection, int(size), int(seed))
            elif kind == "push":
                serve_push(connection, directory, int(size), int(seed))
            elif kind == "echo":
                for data in rest_of(connection):
                    connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            elif kind == "talk":
                serve_talk(connection, int(size))
        except (OSError, EOFError, ValueError) as problem:
            print(f"connection ended: {problem}", file=sys.stderr, flush=True)


def serve(port, directory):
    with socket.create_server(("127.0.0.1", port), backlog=64) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve_one, args=(connection, directory), daemon=True).start()


def connect(port, kind, size, seed):
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(f"{kind} {size} {seed}\n".encode())
    return connection


def fetch(port, size, seed):
    with connect(port, "fetch", size, seed) as connection:
        connection.shutdown(socket.SHUT_WR)
        for data in rest_of(connection):
            sys.stdout.buffer.write(data)


def push(port, size, seed):
    with connect(port, "push", size, seed) as connection:
        if b"".join(rest_of(connection)) != b"go":
            sys.exit("the server's half did not arrive")
        digest = hashlib.sha256()
        for piece in stream(size, seed):
            digest.update(piece)
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        print(digest.hexdigest(), end="")


def echo(port, size, seed):
    with connect(port, "echo", size, seed) as connection:
        sent = hashlib.sha256()

        def send():
            for piece in stream(size, seed):
                sent.update(piece)
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send)
        sender.start()
        received = hashlib.sha256()
        for data in rest_of(connection):
            received.update(data)
        sender.join()
        if received.digest() != sent.digest():
            sys.exit("what came back is not what was sent")
        print(received.hexdigest(), end="")


def talk(port, count, seed):
    with connect(port, "talk", count, seed) as connection:
        for number in range(count):
            question = f"{seed}-{number}\n"
            connection.sendall(question.encode())
            if read_line(connection).strip() != hashlib.sha256(question.encode()).hexdigest():
                sys.exit(f"wrong answer to question {number}")
        if connection.recv(1) != b"":
            sys.exit("bytes after the last answer")
        print(count, end="")


def main():
    kind, port, *rest = sys.argv[1:]
    if kind == "serve":
        serve(int(port), pathlib.Path(rest[0]))
    else:
        {"fetch": fetch, "push": push, "echo": echo, "talk": talk}[kind](int(port), *map(int, rest))


if __name__ == "__main__":
    main()
