"""Lines and frames for the benchmarks of buffered streams: who sends them, who counts them.

    python _talk.py PORT lines|frames NBYTES COUNT

As a program, it is the other end of a connection: standard library only, a process of its own.
It connects to PORT of 127.0.0.1 and sends as fast as it can COUNT lines of NBYTES bytes, the line
feed counted, or COUNT frames: NBYTES bytes behind their number, which has 4 bytes, the highest
first. Then it announces the end and waits for the other side's.
"""

from __future__ import annotations

import socket
import sys

PREFIX_NBYTES = 4
BLAST_NBYTES = 1 << 20
"""About what one `sendall` is given."""


def message(what: str, nbytes: int) -> bytes:
    """Return one line or one frame."""
    if what == "lines":
        return b"x" * (nbytes - 1) + b"\n"
    return nbytes.to_bytes(PREFIX_NBYTES, "big") + b"x" * nbytes


def send(port: int, what: str, nbytes: int, count: int) -> None:
    """Send so many messages."""
    one = message(what, nbytes)
    at_once = max(1, BLAST_NBYTES // len(one))
    blast = one * at_once
    with socket.create_connection(("127.0.0.1", port)) as connection:
        whole, rest = divmod(count, at_once)
        for _ in range(whole):
            connection.sendall(blast)
        connection.sendall(one * rest)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)


if __name__ == "__main__":
    send(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
