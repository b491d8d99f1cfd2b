"""What receiving costs: over loopback TCP in bulk, and in single messages.

    python bench/receive.py [--quick] [--json FILE] [--plot FILE.png]

In bulk, a sender in a process of its own sends as fast as it can; each sample is a fresh
process that receives until the end and does nothing with the bytes:

    trio receive_some        `trio.SocketStream.receive_some(n)`: new bytes for each receive
    ours receive_view        `SocketStream.receive_view(n)`: one read, at most n bytes
    ours, reads of           `receive_view()`, `max_receive_nbytes=n`: each read asks for n bytes
                             at the most, as trio's does, and one call makes as many reads
                             as there is something to read, up to 256 KiB
    asyncio BufferedProtocol one buffer of n bytes, filled again and again: nobody may keep it
    asyncio StreamReader     `StreamReader.read(n)` with a limit of n
    uvloop ...               both of them under uvloop's loop

How to read it: CPU s/GB is the receiving process's processor time for each 10^9 bytes and matters
most, because a server has other work to do; lower is better. GB/s is wall time, and the
sender's speed limits it. KiB/receive tells how much was at hand: a receiver that is quicker finds
less each time, which makes its own figure a little worse.

The second table is about single messages, where little is won by not copying: some lie ready and
are received, by methods that are not told how much to ask for, and 100 bytes go to another task and
back. Here the price of a call shows best, because nobody else takes part.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import attrs
import trio
from _loops import ASYNCIO, HAS_UVLOOP, TRIO, UVLOOP, remark_if_missing, run
from _measure import (
    GB,
    Contest,
    Options,
    Report,
    Stopwatch,
    Table,
    in_child,
    in_turn,
    peer,
    save,
    shown,
    size_name,
)

from trio_bytesbuf import BytesView, SocketStream

BY_TRIO, OURS, READS = "trio receive_some", "ours receive_view", "ours, reads of"
BUFFERED, READER = "asyncio BufferedProtocol", "asyncio StreamReader"
UV_BUFFERED, UV_READER = "uvloop BufferedProtocol", "uvloop StreamReader"
SIZES = (65_536, 262_144, 1_048_576)
MESSAGE = bytes(100)
READY_NBYTES = (100, 4 << 10, 64 << 10)
SEND_BUFFER = 1 << 20
"""So that a message of each of these sizes fits into the kernel."""


@attrs.define(eq=False)
class Received:
    """What one receiver got, and what that took."""

    watch: Stopwatch = attrs.Factory(Stopwatch)
    nbytes: int = 0
    receives: int = 0


# In bulk: one function for each rival


async def with_trio(connection: socket.socket, size: int | None) -> Received:
    """Receive bytes."""
    got = Received()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
    with got.watch:
        while data := await stream.receive_some(size):
            got.nbytes += len(data)
            got.receives += 1
            del data
    return got


async def with_reads_of(connection: socket.socket, size: int | None) -> Received:
    """Receive views, in reads of a given size."""
    got = Received()
    assert size is not None
    socket = trio.socket.from_stdlib_socket(connection)
    stream = SocketStream(socket, max_receive_nbytes=size)
    with got.watch:
        while view := await stream.receive_view():
            got.nbytes += len(view)
            got.receives += 1
            del view
    return got


async def with_ours(connection: socket.socket, size: int | None) -> Received:
    """Receive views."""
    got = Received()
    stream = SocketStream(trio.socket.from_stdlib_socket(connection))
    with got.watch:
        while view := await stream.receive_view(size):
            got.nbytes += len(view)
            got.receives += 1
            del view
    return got


async def with_buffered_protocol(connection: socket.socket, size: int) -> Received:
    """Receive into the same buffer each time."""
    got = Received()
    ended = asyncio.get_running_loop().create_future()

    class Receiver(asyncio.BufferedProtocol):
        room = memoryview(bytearray(size))

        def get_buffer(self, _sizehint: int) -> memoryview:
            return self.room

        def buffer_updated(self, nbytes: int) -> None:
            got.nbytes += nbytes
            got.receives += 1

        def eof_received(self) -> None:
            ended.set_result(None)

    with got.watch:
        await asyncio.get_running_loop().connect_accepted_socket(Receiver, connection)
        await ended
    return got


async def with_stream_reader(connection: socket.socket, size: int) -> Received:
    """Receive through a StreamReader."""
    got = Received()
    reader, writer = await asyncio.open_connection(sock=connection, limit=size)
    with got.watch:
        while data := await reader.read(size):
            got.nbytes += len(data)
            got.receives += 1
    writer.close()
    return got


def receive(kind: str, connection: socket.socket, size: int | None) -> Received:
    """Run the event loop that this kind of receiver needs."""
    ours = {BY_TRIO: with_trio, OURS: with_ours, READS: with_reads_of}
    if kind in ours:
        return run(TRIO, ours[kind], connection, size)
    assert size is not None
    loop = ASYNCIO if kind in {BUFFERED, READER} else UVLOOP
    is_buffered = kind in {BUFFERED, UV_BUFFERED}
    receiver = with_buffered_protocol if is_buffered else with_stream_reader
    return run(loop, receiver, connection, size)


def sample(kind: str, size: int | None, nbytes: int) -> dict[str, float]:
    """Receive `nbytes` in this process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with peer("send", port, nbytes), listener.accept()[0] as connection:
            connection.setblocking(False)
            got = receive(kind, connection, size)
    assert got.nbytes == nbytes, f"{kind} received {got.nbytes} of {nbytes} bytes"
    return {
        "cpu": got.watch.cpu / nbytes * GB,
        "wall": got.watch.wall / nbytes * GB,
        "kib": nbytes / got.receives / 1024,
    }


@attrs.frozen
class Rival:
    """A way to receive, and how much it asks for."""

    kind: str
    size: int | None

    def __str__(self) -> str:
        return f"{self.kind}, {size_name(self.size)}"


RIVALS = [
    *(Rival(kind, size) for size in (None, *SIZES) for kind in (OURS, BY_TRIO)),
    *(Rival(READS, size) for size in SIZES),
    *(Rival(BUFFERED, size) for size in SIZES),
    *(Rival(READER, size) for size in SIZES[:2]),
]
if HAS_UVLOOP:
    RIVALS += [Rival(UV_BUFFERED, size) for size in SIZES]
    RIVALS += [Rival(UV_READER, size) for size in SIZES[:2]]


def bulk(report: Report, *, turns: int, nbytes: int) -> tuple[Contest, Contest]:
    """Measure all receivers in turn; print the table and what was promised."""
    rivals = {
        str(rival): partial(in_child, __file__, kind=rival.kind, size=rival.size, nbytes=nbytes)
        for rival in RIVALS
    }
    answers = in_turn(rivals, turns)

    def contest(work: str, unit: str, key: str) -> Contest:
        samples = {name: [each[key] for each in got] for name, got in answers.items()}
        return Contest(work, unit, samples)

    cpu = contest("receive in bulk", "CPU s/GB", "cpu")
    wall = contest("receive in bulk", "wall s/GB", "wall")
    kib = contest("receive in bulk", "KiB/receive", "kib")
    rows = []
    for rival in RIVALS:
        name, same, default = str(rival), str(Rival(BY_TRIO, rival.size)), str(Rival(BY_TRIO, None))
        speeds = sorted(1 / each for each in wall.samples[name])
        rows.append(
            [
                name,
                shown(cpu.median(name)),
                cpu.spread(name),
                f"{cpu.ratio(name, same):.2f}",
                f"{cpu.ratio(name, default):.2f}",
                shown(1 / wall.median(name)),
                f"{shown(speeds[0])}..{shown(speeds[-1])}",
                shown(kib.median(name)),
            ]
        )
    columns = ["receiver", "CPU s/GB", "min..max", "÷ trio, same size", "÷ trio, default", "GB/s"]
    title = f"Receiving {nbytes / GB:g} GB over loopback TCP, {turns} turns"
    report.add(Table(title, [*columns, "min..max", "KiB/receive"], rows), (cpu, wall, kib))
    for size in SIZES:
        for kind in (OURS, READS):
            ratio = cpu.ratio(str(Rival(kind, size)), str(Rival(BY_TRIO, size)))
            report.promised(f"CPU s/GB of {kind} {size_name(size)} ÷ trio's", 0.87, ratio)
    ours, theirs = str(Rival(OURS, None)), str(Rival(BY_TRIO, None))
    report.promised("CPU s/GB ÷ trio's, both at their defaults", 0.75, cpu.ratio(ours, theirs))
    report.headline("receive in bulk, defaults", cpu, ours, [theirs], at_most=0.75)
    best = {
        whose: min((str(each) for each in RIVALS if each.kind in kinds), key=wall.median)
        for whose, kinds in ((OURS, (OURS, READS)), (BUFFERED, (BUFFERED,)))
    }
    others = [str(each) for each in RIVALS if each.kind not in {OURS, READS}]
    report.headline("receive in bulk, best sizes", wall, best[OURS], others, at_most=1.0)
    ratio = wall.ratio(best[OURS], best[BUFFERED])
    report.promised(f"wall time of {best[OURS]} ÷ that of {best[BUFFERED]}", 1.0, ratio)
    return cpu, wall


# Messages of 100 bytes: one trio.run for each sample

Stream: TypeAlias = trio.SocketStream | SocketStream


def receiving(kind: str, stream: Stream) -> Callable[[], Awaitable[bytes | bytearray | BytesView]]:
    """Return the method that this kind receives with."""
    if kind == OURS:
        assert isinstance(stream, SocketStream)
        return stream.receive_view
    return stream.receive_some


def wrapped(kind: str, ours: socket.socket) -> Stream:
    """Return a stream of the kind's library."""
    ours.setblocking(False)
    stream = trio.socket.from_stdlib_socket(ours)
    return trio.SocketStream(stream) if kind == BY_TRIO else SocketStream(stream)


def microseconds_ready(kind: str, messages: int, *, nbytes: int) -> float:
    """Receive messages that have arrived before they are asked for; only that is timed."""
    message = bytes(nbytes)

    async def main() -> float:
        ours, theirs = socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        took = []
        with theirs:
            async with wrapped(kind, ours) as stream:
                receive = receiving(kind, stream)
                for _ in range(messages):
                    theirs.send(message)
                    start = time.perf_counter_ns()
                    await receive()
                    took.append(time.perf_counter_ns() - start)
        return statistics.median(took) / 1000

    return trio.run(main)


def microseconds_echoed(kind: str, messages: int) -> float:
    """Send a message to another task and wait until it has sent it back."""

    async def echo(stream: Stream) -> None:
        receive = receiving(kind, stream)
        while data := await receive():
            await send(stream, data)

    async def send(stream: Stream, data: bytes | bytearray | BytesView) -> None:
        if isinstance(data, BytesView):
            assert isinstance(stream, SocketStream)
            await stream.write_view(data)
        else:
            await stream.send_all(data)

    async def main() -> float:
        ours, theirs = socket.socketpair()
        async with (
            wrapped(kind, ours) as here,
            wrapped(kind, theirs) as there,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(echo, there)
            receive = receiving(kind, here)
            message = BytesView(MESSAGE) if kind == OURS else MESSAGE
            start = time.perf_counter_ns()
            for _ in range(messages):
                await send(here, message)
                await receive()
            took = time.perf_counter_ns() - start
            nursery.cancel_scope.cancel()
        return took / messages / 1000

    return trio.run(main)


def small(report: Report, *, turns: int, messages: int) -> None:
    """Measure messages of 100 bytes and print the table."""
    work: dict[str, Callable[[str, int], float]] = {
        f"{size_name(nbytes)} lie ready": partial(microseconds_ready, nbytes=nbytes)
        for nbytes in READY_NBYTES
    }
    work["100 B there and back"] = microseconds_echoed
    kinds = (OURS, BY_TRIO, "ours receive_some")
    contests = [
        Contest.of(name, "µs", {kind: partial(how, kind, messages) for kind in kinds}, turns)
        for name, how in work.items()
    ]
    report.compare("Single messages over a socketpair, in one process", contests)
    for contest in contests:
        report.headline(f"receive: {contest.work}", contest, OURS, [BY_TRIO])


def draw(cpu: Contest, wall: Contest, path: Path) -> None:
    """Plot each receiver's CPU time and speed as bars."""
    from matplotlib import pyplot as plt  # only here: the figures need no plot

    names = [str(rival) for rival in RIVALS]
    colours = {OURS: "C0", READS: "C0", BY_TRIO: "C1", BUFFERED: "C2", READER: "C3"}
    colours |= {UV_BUFFERED: "C4", UV_READER: "C5"}
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), sharey=True, layout="constrained")
    colour = [colours[rival.kind] for rival in RIVALS]
    left.barh(names, [cpu.median(name) for name in names], color=colour)
    left.set(title="CPU s/GB (less is better)")
    right.barh(names, [1 / wall.median(name) for name in names], color=colour)
    right.set(title="GB/s (more is better)")
    left.invert_yaxis()
    save(figure, path)


def main() -> None:
    """Measure, print, draw."""
    options = Options.parse(__doc__, plot="receive.png")
    options.answer(sample)
    report = Report()
    remark_if_missing(report)
    turns, nbytes, messages = (1, 32 * 10**6, 1_000) if options.quick else (7, 10**9, 20_000)
    cpu, wall = bulk(report, turns=turns, nbytes=nbytes)
    small(report, turns=turns, messages=messages)
    if options.plot is not None:
        draw(cpu, wall, options.plot)
    options.finish(report)


if __name__ == "__main__":
    main()
