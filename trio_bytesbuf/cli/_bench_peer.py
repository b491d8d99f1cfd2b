"""The other side of `bench`: sends bytes over TCP as fast as it can. Run by its path, not imported.

It needs nothing but the standard library, so it starts at once, and is a process of its own, so
that its work is not counted. For each connection to the port that it prints, it reads a line of
four numbers (lengths of a beginning, a body and an end, and how often to send the body), then these
three, and sends them.
"""

from __future__ import annotations

import socket
import sys


def main() -> None:
    """Serve one connection after the other until it is killed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            connection, _ = listener.accept()
            with connection:
                serve(connection)


def serve(connection: socket.socket) -> None:
    """Send what is asked for; a client that is gone wants no more."""
    with connection.makefile("rb") as asked:
        line = asked.readline()
        if not line:
            return
        first, nbytes, last, times = map(int, line.split())
        beginning, body, end = asked.read(first), asked.read(nbytes), asked.read(last)
    try:
        connection.sendall(beginning)
        for _ in range(times):
            connection.sendall(body)
        connection.sendall(end)
    except OSError:
        return


if __name__ == "__main__":
    main()
