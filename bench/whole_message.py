"""What it costs to receive a message of 8 MiB as a whole.

    python bench/whole_message.py [--quick] [--json FILE]

A peer in a process of its own answers each question with 8 MiB, over loopback TCP and over a Unix
socket. One process receives with each rival in turn, message by message, and drops what it got:

    ours, one piece      `SocketStream.read_contiguous(n)`: filled in place, in one block
    ours, pieces         `SocketStream.read_exactly(n)`: the blocks that it arrived in; no rival
                         gives that, so it is compared with nothing
    trio and join        `receive_some(65_536)` until it is enough, then `b"".join`
    anyio                `BufferedByteReceiveStream.receive_exactly(n)`, on trio
    tricycle             `BufferedReceiveStream.receive_exactly(n)`

How to read it: milliseconds for each message, lower is better. CPU time is the receiver's alone;
wall time is the peer's, too, and the system's that wakes both.
"""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Awaitable, Callable, Sized
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeAlias

import anyio.streams.buffered
import tricycle
import trio
from _measure import Contest, Options, Report, in_child, in_turn, peer, size_name

from trio_bytesbuf import SocketStream

MESSAGE_NBYTES = 8 << 20
OURS, PIECES, JOIN = "ours, one piece", "ours, pieces", "trio and join"
ANYIO, TRICYCLE = "anyio", "tricycle"
RIVALS = (OURS, PIECES, JOIN, ANYIO, TRICYCLE)
AT_LEAST = {JOIN: 1.4, ANYIO: 3.0, TRICYCLE: 3.0}
"""How many times the speed of each rival was promised."""

Receive: TypeAlias = Callable[[int], Awaitable[Sized]]


class ForAnyio(anyio.abc.ByteReceiveStream):
    """A trio stream as anyio wants it; does what anyio's own, which takes no ready socket, does."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Receive some."""
        data = await self._stream.receive_some(max_bytes)
        if not data:
            raise anyio.EndOfStream
        return bytes(data)

    async def aclose(self) -> None:
        """Close it."""
        await self._stream.aclose()


async def received_and_joined(stream: trio.SocketStream, nbytes: int) -> bytes:
    """Receive in plain trio."""
    parts = []
    while nbytes:
        part = await stream.receive_some(min(nbytes, 65_536))
        parts.append(part)
        nbytes -= len(part)
    return b"".join(parts)


def receiver(kind: str, stream: trio.SocketStream) -> Receive:
    """Return the function that this kind receives with."""
    if kind == OURS:
        return SocketStream(stream).read_contiguous
    if kind == PIECES:
        return SocketStream(stream).read_exactly
    if kind == ANYIO:
        return anyio.streams.buffered.BufferedByteReceiveStream(ForAnyio(stream)).receive_exactly
    if kind == TRICYCLE:
        return tricycle.BufferedReceiveStream(stream).receive_exactly
    return partial(received_and_joined, stream)


async def milliseconds(
    connections: dict[str, socket.socket], messages: int
) -> dict[str, dict[str, list[float]]]:
    """Receive a message with each rival, and again, and again; say what each took."""
    took: dict[str, dict[str, list[float]]] = {"cpu": {}, "wall": {}}
    receivers = {}
    for kind, connection in connections.items():
        connection.setblocking(False)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
        receivers[kind] = stream, receiver(kind, stream)
        took["cpu"][kind], took["wall"][kind] = [], []
    for turn in range(messages + 1):
        for kind, (stream, receive) in receivers.items():
            wall, cpu = time.perf_counter(), time.process_time()
            await stream.send_all(b"?")
            message = await receive(MESSAGE_NBYTES)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            assert len(message) == MESSAGE_NBYTES
            del message
            if turn:  # the first is for the interpreter to learn
                took["cpu"][kind].append(cpu * 1e3)
                took["wall"][kind].append(wall * 1e3)
    return took


def sample(family: str, messages: int) -> dict[str, float]:
    """Receive in this process; return the median of each rival."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        connections = {}
        for kind in RIVALS:
            if family == "Unix":
                listener = stack.enter_context(socket.socket(socket.AF_UNIX))
                listener.bind(str(Path(folder, kind)))
                listener.listen(1)
                place = listener.getsockname()
            else:
                listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
                place = listener.getsockname()[1]
            stack.enter_context(peer("answer", place, MESSAGE_NBYTES))
            connections[kind] = stack.enter_context(listener.accept()[0])
        took = trio.run(milliseconds, connections, messages)
    return {
        f"{clock} {kind}": sorted(samples)[len(samples) // 2]
        for clock, kinds in took.items()
        for kind, samples in kinds.items()
    }


def main() -> None:
    """Measure and print."""
    options = Options.parse(__doc__)
    options.answer(sample)
    report = Report()
    turns, messages = (2, 10) if options.quick else (7, 30)
    families = ("TCP", "Unix")
    answers = in_turn(
        {
            family: partial(in_child, __file__, family=family, messages=messages)
            for family in families
        },
        turns,
    )
    contests = [
        Contest(
            f"{clock}, {family}",
            "ms",
            {kind: [each[f"{clock} {kind}"] for each in answers[family]] for kind in RIVALS},
        )
        for clock in ("cpu", "wall")
        for family in families
    ]
    ratios = [(OURS, rival) for rival in AT_LEAST]
    report.compare(f"Receiving {size_name(MESSAGE_NBYTES)} as a whole", contests, ratios)
    report.headline(
        f"a message of {size_name(MESSAGE_NBYTES)} in one piece",
        contests[0],
        OURS,
        AT_LEAST,
        at_most=1 / AT_LEAST[JOIN],
    )
    for contest in contests:
        for rival, times in AT_LEAST.items():
            promise = f"{contest.work}: {OURS} ÷ {rival}"
            report.promised(promise, 1 / times, contest.ratio(OURS, rival))
    options.finish(report)


if __name__ == "__main__":
    main()
