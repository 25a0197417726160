"""Unmodified servers that say whom they serve. Each answers the whole of what a client sends, up to its end
of file, with one line: the peer's address and port, whether accept() and getpeername() agree, the digest.

    server_peer.py threads|async|prefork|reuseport|inetd PORT
    server_peer.py ask PORT BYTES       prints the answer, and the address and port of its own end
    server_peer.py reset PORT           sends a little and resets
"""

import asyncio
import hashlib
import os
import select
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import threading

REAL, NAMED = "127.0.0.1", "127.0.0.2"
WORKERS = 4


def answer(peer, agree, data):
    return f"{peer[0]} {peer[1]} {agree} {hashlib.sha256(data).hexdigest()}\n".encode()


def serve(connection, told):
    """Blocking, to the client's end of file."""
    with connection:
        data = b""
        try:
            while piece := connection.recv(65536):
                data += piece
            peer = connection.getpeername()
            connection.sendall(answer(peer, told is None or told == peer, data))
        except ConnectionError as error:
            print(f"{told[0]} {told[1]} {error.errno}", flush=True)


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        serve(self.request, self.client_address)


class Threads(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 64


async def asynchronous(port):
    async def one(reader, writer):
        data = await reader.read(-1)
        told, asked = writer.get_extra_info("peername"), writer.get_extra_info("socket").getpeername()
        writer.write(answer(asked, told == asked, data))
        await writer.drain()
        writer.close()
    async with await asyncio.start_server(one, REAL, port) as server:
        await server.serve_forever()


def work(listener):
    """A worker that polls before it accepts, edge-triggered, as nginx's do."""
    listener.setblocking(False)
    poller = select.epoll()
    poller.register(listener, select.EPOLLIN | select.EPOLLET)
    while True:
        poller.poll()
        while True:
            try:
                connection, told = listener.accept()
            except BlockingIOError:
                break
            connection.setblocking(True)
            serve(connection, told)


def listening(port, share=False):
    return socket.create_server((REAL, port), backlog=64, reuse_port=share)


def prefork(port, share):
    listener = None if share else listening(port)
    for _ in range(WORKERS):
        if os.fork() == 0:
            work(listener or listening(port, share=True))
    signal.pause()


def inetd(port):
    """Accepts without the shim; the program that it starts for each connection has it."""
    environment = dict(os.environ, LD_PRELOAD=os.environ["KWIK_TEST_PRELOAD"])
    with listening(port) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                subprocess.Popen([sys.executable, __file__, "serve-stdin", "0"], stdin=connection,
                                 env=environment)


def connected(port):
    return socket.create_connection((NAMED, port), timeout=30)


def ask(port, size):
    data = os.urandom(size)
    with connected(port) as connection:
        # As the far end is to see it: by the gateway's own address on this machine.
        own = (REAL, connection.getsockname()[1])

        def send():
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send)
        sender.start()
        with connection.makefile("rb") as reader:
            got = reader.read()
        sender.join()
    print("same" if got == answer(own, True, data) else f"{own} {got}")


def reset(port):
    with connected(port) as connection:
        connection.sendall(b"x")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        print(connection.getsockname()[1])


def main():
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "threads":
        Threads((REAL, port), Handler).serve_forever()
    elif kind == "async":
        asyncio.run(asynchronous(port))
    elif kind in ("prefork", "reuseport"):
        prefork(port, kind == "reuseport")
    elif kind == "inetd":
        inetd(port)
    elif kind == "serve-stdin":
        serve(socket.socket(fileno=0), None)
    elif kind == "ask":
        ask(port, int(sys.argv[3]))
    elif kind == "reset":
        reset(port)


if __name__ == "__main__":
    main()
