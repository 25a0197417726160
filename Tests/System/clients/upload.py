"""upload.py serve PORT: answers each connection's bytes, once they end, with their SHA-256.
upload.py send HOST PORT: sends its standard input and prints the answer."""

import hashlib
import socket
import sys
import threading


def serve(connection):
    with connection:
        digest = hashlib.sha256()
        while piece := connection.recv(1 << 20):
            digest.update(piece)
        connection.sendall(digest.hexdigest().encode())


def main():
    if sys.argv[1] == "serve":
        with socket.create_server(("127.0.0.1", int(sys.argv[2]))) as listener:
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
    with socket.create_connection((sys.argv[2], int(sys.argv[3]))) as connection:
        connection.sendall(sys.stdin.buffer.read())
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    print(answer.decode())


main()
