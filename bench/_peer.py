"""The other end of a benchmark's connections, in a process of its own; standard library only.

    python _peer.py send PORT NBYTES        send so many bytes as fast as possible, then the end
    python _peer.py drain PORT              receive until the end, and answer it with the same
    python _peer.py idle PORT COUNT NBYTES  open COUNT connections, send NBYTES on each, wait
    python _peer.py answer PLACE NBYTES     answer each byte with NBYTES, until the end
    python _peer.py repeat PORT FOLDER N    send the file `head` of FOLDER, N times `body`, `tail`
    python _peer.py serve PORT COUNT N M    open COUNT connections; answer each N bytes with a frame
                                            of M bytes, 4 of which say how long the rest is

PORT is one of 127.0.0.1, on which the benchmark listens; PLACE is one, too, or the path of a Unix
socket.
"""

import contextlib
import selectors
import socket
import sys
from collections.abc import Callable
from pathlib import Path

BLAST = bytes(1 << 20)
"""What one `sendall` is given, and one `recv_into` at the most."""


def send(port: int, nbytes: int) -> None:
    """Send `nbytes` zeros, announce the end and wait for the other side's."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        whole, rest = divmod(nbytes, len(BLAST))
        for _ in range(whole):
            connection.sendall(BLAST)
        connection.sendall(BLAST[:rest])
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)


def drain(port: int) -> None:
    """Receive until the end."""
    room = bytearray(len(BLAST))
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while connection.recv_into(room):
            pass


def idle(port: int, count: int, nbytes: int) -> None:
    """Open `count` connections, send a little on each, and wait until the first is closed."""
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    for connection in connections:
        connection.sendall(bytes(nbytes))
    connections[0].recv(1)


def answer(place: int | str, nbytes: int) -> None:
    """Send `nbytes` zeros for each byte that arrives, until the end."""
    if isinstance(place, str):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(place)
    else:
        connection = socket.create_connection(("127.0.0.1", place))
    message = bytes(nbytes)
    with connection:
        while connection.recv(1):
            connection.sendall(message)


def repeat(port: int, folder: str, count: int) -> None:
    """Send what is in files, the middle again and again, and wait for the other side's end."""
    head, body, tail = (Path(folder, name).read_bytes() for name in ("head", "body", "tail"))
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head)
        for _ in range(count):
            connection.sendall(body)
        connection.sendall(tail)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):  # some never read the last byte
            connection.recv(1)


def serve(port: int, count: int, request_nbytes: int, reply_nbytes: int) -> None:
    """Answer requests on many connections, until the first is closed. Replies never fill one."""
    reply = (reply_nbytes - 4).to_bytes(4, "big") + bytes(reply_nbytes - 4)
    selector = selectors.DefaultSelector()
    missing: dict[socket.socket, int] = {}
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        selector.register(connection, selectors.EVENT_READ, connection)
        missing[connection] = request_nbytes
    while True:
        for key, _ in selector.select():
            connection = key.data
            nbytes = len(connection.recv(missing[connection]))
            if not nbytes:
                return
            missing[connection] -= nbytes
            if not missing[connection]:
                missing[connection] = request_nbytes
                connection.sendall(reply)


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    jobs: dict[str, Callable[..., None]] = {
        "send": send,
        "drain": drain,
        "idle": idle,
        "answer": answer,
        "repeat": repeat,
        "serve": serve,
    }
    jobs[what](*(int(word) if word.isdigit() else word for word in words))
