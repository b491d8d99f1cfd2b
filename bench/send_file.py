"""What it costs to send a file that is in the page cache.

    python bench/send_file.py [--quick] [--json FILE]

A sink on the same machine receives over TCP and forgets, in a process of its own. A fresh process
for each sample sends a file to it, and waits until it has come:

    send_file             our `send_file(stream, file)`
    views                 our `async for view in file.views(): await stream.write_view(view)`
    trio, 64 KiB          `while data := await file.read(65_536): await stream.send_all(data)`
    trio, 1 MiB           the same with 1 MiB
    blocking              `os.sendfile` on a blocking socket, without trio: the floor

How to read it: CPU s/GB is the processor time of the sender for each 10^9 bytes; wall s/GB is what
it took, while two processes share the cores.
"""

from __future__ import annotations

import os
import socket
import tempfile
from functools import partial
from pathlib import Path

import trio
from _measure import GB, Contest, Options, Report, Stopwatch, in_child, in_turn, peer

from trio_bytesbuf import SocketStream
from trio_bytesbuf.io import open_binary_file, send_file

READS: dict[str, int] = {"trio, 64 KiB": 65_536, "trio, 1 MiB": 1_048_576}
RIVALS = ("send_file", "views", *READS, "blocking")
ENOUGH = 1.5
"""How many times as fast as reading and sending ours is to be."""


async def with_trio(kind: str, path: str, connection: socket.socket, watch: Stopwatch) -> None:
    """Send the file and wait for the end of the other side."""
    connection.setblocking(False)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
    with watch:
        if kind in READS:
            async with await trio.open_file(path, "rb") as their_file:
                while data := await their_file.read(READS[kind]):
                    await stream.send_all(data)
        else:
            async with await open_binary_file(path) as our_file:
                ours = SocketStream(stream)
                if kind == "send_file":
                    await send_file(ours, our_file)
                else:
                    async for view in our_file.views():
                        await ours.write_view(view)
        await stream.send_eof()
        await stream.receive_some()


def blocking(path: str, connection: socket.socket, watch: Stopwatch) -> None:
    """Send the file as the system does it alone."""
    with watch, Path(path).open("rb") as file:
        sent = 0
        while nbytes := os.sendfile(connection.fileno(), file.fileno(), sent, 1 << 30):
            sent += nbytes
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)


def sample(kind: str, path: str) -> dict[str, float]:
    """Send the file in this process."""
    watch = Stopwatch()
    nbytes = Path(path).stat().st_size
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        peer("drain", listener.getsockname()[1]),
        listener.accept()[0] as connection,
    ):
        if kind == "blocking":
            blocking(path, connection, watch)
        else:
            trio.run(with_trio, kind, path, connection, watch)
    return {"cpu": watch.cpu / nbytes * GB, "wall": watch.wall / nbytes * GB}


def main() -> None:
    """Measure and print."""
    options = Options.parse(__doc__)
    options.answer(sample)
    report = Report()
    turns, mebibytes = (3, 64) if options.quick else (9, 256)
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(mebibytes):
            file.write(os.urandom(1 << 20))
        file.flush()
        rivals = {kind: partial(in_child, __file__, kind=kind, path=file.name) for kind in RIVALS}
        answers = in_turn(rivals, turns)

    def contest(unit: str, key: str) -> Contest:
        return Contest(
            unit, "", {kind: [each[key] for each in got] for kind, got in answers.items()}
        )

    cpu, wall = contest("CPU s/GB", "cpu"), contest("wall s/GB", "wall")
    report.compare(f"Sending a file of {mebibytes} MiB, {turns} turns", [cpu, wall])
    report.headline("a file to a socket", wall, "send_file", READS, at_most=1 / ENOUGH)
    for kind in RIVALS:
        report.remark(f"{kind}: {1 / wall.median(kind):.2f} GB/s")
    for kind in READS:
        promise = f"the time of send_file, as a part of that of {kind}"
        report.promised(promise, 1 / ENOUGH, wall.ratio("send_file", kind))
    options.finish(report)


if __name__ == "__main__":
    main()
