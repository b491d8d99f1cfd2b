"""What a request and its reply cost, on one connection and on many at once.

    python bench/latency.py [--quick] [--json FILE]

A server in a process of its own, of the standard library and the same for all, answers each request
of 64 bytes with a reply of 64 bytes or of 16 KiB, over loopback TCP. On each connection a task
sends a request, waits for all of the reply, and begins anew; 1, 100 or 1,000 connections at once.
Requests and replies are frames, a length of 4 bytes and the rest. These know how long a reply is,
and wait for so many bytes:

    ours, views        `SocketStream.write_view`, and `receive_view` until all of it is there
    trio               `send_all`, and `receive_some` until all of it is there
    anyio              `send` and `receive` of its own stream, on trio
    asyncio            `StreamWriter.write` and `drain`, `StreamReader.readexactly`
    uvloop             the same code under uvloop's loop

And these look at the length:

    ours, frames       `BufStream.frame_sender(...).send`, `BufStream.frames(...).receive`
    trio, frames       by hand: a `bytearray`, and slices of it
    asyncio, frames    `readexactly(4)`, then as many as it says
    uvloop, frames     the same code under uvloop's loop

How to read it: microseconds, lower is better. CPU is the client's processor time for each request,
and what the library costs. Latency is from before a request is sent until its reply is there; with
many connections, requests wait for each other, and it is mostly that. Client and server share the
machine, so requests per second are of both.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import TypeAlias

import anyio.abc
import attrs
import trio
from _loops import ASYNCIO, HAS_UVLOOP, TRIO, UVLOOP, remark_if_missing, run
from _measure import (
    Contest,
    Options,
    Report,
    Stopwatch,
    Table,
    in_child,
    in_turn,
    peer,
    shown,
    size_name,
)
from idle_connections import most_connections

from trio_bytesbuf import BytesView, SocketStream
from trio_bytesbuf.buffered import BufStream, LengthPrefixed

PREFIX_NBYTES = 4
REQUEST_NBYTES = 64
PAYLOAD = bytes(REQUEST_NBYTES - PREFIX_NBYTES)
REQUEST = len(PAYLOAD).to_bytes(PREFIX_NBYTES, "big") + PAYLOAD
REPLIES = (64, 16 << 10)
CONNECTIONS = (1, 100, 1_000)
WARM_UP_REQUESTS = 100
PATIENCE = 30.0
"""Seconds after which a server that has not come is given up."""

VIEWS, FRAMES = "ours, views", "ours, frames"
BY_HAND = "trio, frames"
TO_TRIO_AT_MOST = 1.0
"""As quick as what a trio user has without this library, and"""

TO_HAND_AT_MOST = 1 / 0.8
"""0.8 times the speed of frames cut by hand, as it was promised of many frames at once."""

Ask: TypeAlias = Callable[[], Awaitable[None]]
"""Send a request and wait for its reply."""

Open: TypeAlias = Callable[[AsyncExitStack, socket.socket, int], Awaitable[Ask]]
"""Make a stream of a connection, as long as the stack lasts, for replies of so many bytes."""


# One function for each rival


async def open_views(stack: AsyncExitStack, connection: socket.socket, nbytes: int) -> Ask:
    """Our stream."""
    made = SocketStream(trio.socket.from_stdlib_socket(connection))
    stream = await stack.enter_async_context(made)
    request = BytesView(REQUEST)

    async def ask() -> None:
        await stream.write_view(request)
        missing = nbytes
        while missing:
            view = await stream.receive_view()
            assert view, "the server has gone"
            missing -= len(view)

    return ask


async def open_frames(stack: AsyncExitStack, connection: socket.socket, nbytes: int) -> Ask:
    """Our buffered stream, and channels of frames."""
    made = BufStream(SocketStream(trio.socket.from_stdlib_socket(connection)))
    stream = await stack.enter_async_context(made)
    send = stream.frame_sender(LengthPrefixed(PREFIX_NBYTES)).send
    receive = stream.frames(LengthPrefixed(PREFIX_NBYTES)).receive

    async def ask() -> None:
        await send(PAYLOAD)
        reply = await receive()
        assert len(reply) == nbytes - PREFIX_NBYTES

    return ask


async def open_trio(stack: AsyncExitStack, connection: socket.socket, nbytes: int) -> Ask:
    """A stream of trio's."""
    made = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
    stream = await stack.enter_async_context(made)

    async def ask() -> None:
        await stream.send_all(REQUEST)
        missing = nbytes
        while missing:
            data = await stream.receive_some()
            assert data, "the server has gone"
            missing -= len(data)

    return ask


async def open_by_hand(stack: AsyncExitStack, connection: socket.socket, nbytes: int) -> Ask:
    """A stream of trio's, and frames cut out of a bytearray."""
    made = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
    stream = await stack.enter_async_context(made)
    buffer = bytearray()

    async def receive() -> bytes:
        while True:
            if len(buffer) >= PREFIX_NBYTES:
                end = PREFIX_NBYTES + int.from_bytes(buffer[:PREFIX_NBYTES], "big")
                if len(buffer) >= end:
                    frame = bytes(buffer[PREFIX_NBYTES:end])
                    del buffer[:end]
                    return frame
            data = await stream.receive_some()
            assert data, "the server has gone"
            buffer.extend(data)

    async def ask() -> None:
        await stream.send_all(len(PAYLOAD).to_bytes(PREFIX_NBYTES, "big") + PAYLOAD)
        reply = await receive()
        assert len(reply) == nbytes - PREFIX_NBYTES

    return ask


async def open_anyio(stack: AsyncExitStack, connection: socket.socket, nbytes: int) -> Ask:
    """A stream of anyio's."""
    made = await anyio.abc.SocketStream.from_socket(connection)
    stream = await stack.enter_async_context(made)

    async def ask() -> None:
        await stream.send(REQUEST)
        missing = nbytes
        while missing:
            missing -= len(await stream.receive())

    return ask


async def open_asyncio(stack: AsyncExitStack, connection: socket.socket, nbytes: int) -> Ask:
    """A pair of asyncio's streams."""
    reader, writer = await asyncio.open_connection(sock=connection)
    stack.callback(writer.close)

    async def ask() -> None:
        writer.write(REQUEST)
        await writer.drain()
        await reader.readexactly(nbytes)

    return ask


async def open_asyncio_frames(stack: AsyncExitStack, connection: socket.socket, nbytes: int) -> Ask:
    """A pair of asyncio's streams, and frames."""
    reader, writer = await asyncio.open_connection(sock=connection)
    stack.callback(writer.close)

    async def ask() -> None:
        writer.write(len(PAYLOAD).to_bytes(PREFIX_NBYTES, "big") + PAYLOAD)
        await writer.drain()
        prefix = await reader.readexactly(PREFIX_NBYTES)
        reply = await reader.readexactly(int.from_bytes(prefix, "big"))
        assert len(reply) == nbytes - PREFIX_NBYTES

    return ask


@attrs.frozen
class Rival:
    """One way to talk to the server."""

    open: Open
    loop: str = TRIO


KNOWING = {
    VIEWS: Rival(open_views),
    "trio": Rival(open_trio),
    "anyio": Rival(open_anyio),
    "asyncio": Rival(open_asyncio, ASYNCIO),
    "uvloop": Rival(open_asyncio, UVLOOP),
}
LOOKING = {
    FRAMES: Rival(open_frames),
    BY_HAND: Rival(open_by_hand),
    "asyncio, frames": Rival(open_asyncio_frames, ASYNCIO),
    "uvloop, frames": Rival(open_asyncio_frames, UVLOOP),
}
RIVALS = {
    name: rival for name, rival in (KNOWING | LOOKING).items() if HAS_UVLOOP or rival.loop != UVLOOP
}


# Many of them at once


@attrs.define(eq=False)
class Talk:
    """What was asked, and what that took."""

    watch: Stopwatch = attrs.Factory(Stopwatch)
    latencies: list[int] = attrs.Factory(list)
    """In nanoseconds, of each request."""


async def ask_often(ask: Ask, times: int, latencies: list[int]) -> None:
    """Ask one question after the other."""
    for _ in range(times):
        start = time.perf_counter_ns()
        await ask()
        latencies.append(time.perf_counter_ns() - start)


async def at_once(loop: str, asks: Sequence[Ask], times: int, latencies: list[int]) -> None:
    """Let each connection have a task that asks."""
    if loop == TRIO:
        async with trio.open_nursery() as nursery:
            for ask in asks:
                nursery.start_soon(ask_often, ask, times, latencies)
    else:
        await asyncio.gather(*(ask_often(ask, times, latencies) for ask in asks))


async def talk(rival: Rival, connections: Sequence[socket.socket], times: int, nbytes: int) -> Talk:
    """Ask so many times on each connection."""
    talked = Talk()
    async with AsyncExitStack() as stack:
        asks = [await rival.open(stack, connection, nbytes) for connection in connections]
        await at_once(rival.loop, asks, max(1, WARM_UP_REQUESTS // len(asks)), [])
        with talked.watch:
            await at_once(rival.loop, asks, times, talked.latencies)
    return talked


def talked(rival: Rival, count: int, times: int, nbytes: int) -> Talk:
    """Ask so many times on each of `count` connections, for replies of `nbytes`."""
    with socket.create_server(("127.0.0.1", 0), backlog=count) as listener:
        listener.settimeout(PATIENCE)
        port = listener.getsockname()[1]
        with peer("serve", port, count, REQUEST_NBYTES, nbytes):
            connections = [listener.accept()[0] for _ in range(count)]
            for connection in connections:
                connection.setblocking(False)
            return run(rival.loop, talk, rival, connections, times, nbytes)


def sample(rival: str, counts: Sequence[int], requests: int) -> dict[str, float]:
    """Talk in this process; return microseconds of each kind, and requests in each second."""
    most_connections()  # which raises the limit of descriptors
    answers: dict[str, float] = {}
    for count in counts:
        for nbytes in REPLIES:
            times = max(1, requests // count)
            done = talked(RIVALS[rival], count, times, nbytes)
            latencies = sorted(done.latencies)
            assert len(latencies) == times * count
            work = work_name(count, nbytes)
            answers |= {
                f"{work}: CPU": done.watch.cpu / len(latencies) * 1e6,
                f"{work}: median": latencies[len(latencies) // 2] / 1e3,
                f"{work}: p99": latencies[len(latencies) * 99 // 100] / 1e3,
                f"{work}: wall": done.watch.wall / len(latencies) * 1e6,
            }
    return answers


def work_name(count: int, nbytes: int) -> str:
    """Return what to call so many connections and replies of so many bytes."""
    connections = "connection" if count == 1 else "connections"
    return f"{size_name(REQUEST_NBYTES)} and {size_name(nbytes)} on {count:,} {connections}"


# What is said


def table(work: str, cpu: Contest, median: Contest, p99: Contest, wall: Contest) -> Table:
    """Show one rival in each row, divided by which ours of the same kind is."""
    columns = ["µs"]
    for contest in (cpu, median, p99):
        columns += [contest.work.rpartition(": ")[2], "min..max", "ours ÷ it"]
    rows = []
    for name in cpu.samples:
        ours = VIEWS if name in KNOWING else FRAMES
        row = [name]
        for contest in (cpu, median, p99):
            ratio = f"{contest.ratio(ours, name):.2f}"
            row += [shown(contest.median(name)), contest.spread(name), ratio]
        rows.append([*row, f"{1e6 / wall.median(name):,.0f}"])
    return Table(work, [*columns, "requests/s"], rows)


def main() -> None:
    """Measure and print."""
    options = Options.parse(__doc__)
    options.answer(sample)
    report = Report()
    remark_if_missing(report)
    turns, requests, counts = (
        (1, 400, CONNECTIONS[:2]) if options.quick else (5, 10_000, CONNECTIONS)
    )
    rivals = {
        name: partial(in_child, __file__, rival=name, counts=counts, requests=requests)
        for name in RIVALS
    }
    answers = in_turn(rivals, turns)
    ratios: dict[tuple[str, str], dict[str, float]] = {}
    for work in (work_name(count, nbytes) for count in counts for nbytes in REPLIES):
        cpu, median, p99, wall = contests = [
            Contest(
                f"{work}: {key}",
                "µs",
                {name: [each[f"{work}: {key}"] for each in got] for name, got in answers.items()},
            )
            for key in ("CPU", "median", "p99", "wall")
        ]
        report.add(table(work, cpu, median, p99, wall), contests)
        for ours, kin in ((VIEWS, KNOWING), (FRAMES, LOOKING)):
            on_trio = [name for name in kin if name != ours and RIVALS[name].loop == TRIO]
            kind = ours.rpartition(" ")[2]
            at_most = TO_TRIO_AT_MOST if ours == VIEWS else TO_HAND_AT_MOST
            scenario = f"request, reply as {kind}: {work}"
            report.headline(scenario, cpu, ours, on_trio, at_most=at_most)
        for pair in ((VIEWS, "trio"), (VIEWS, "anyio"), (FRAMES, BY_HAND)):
            for contest in (cpu, median):
                ratios.setdefault(pair, {})[contest.work] = contest.ratio(*pair)
    for (ours, rival), by_work in ratios.items():
        at_most = TO_HAND_AT_MOST if rival == BY_HAND else TO_TRIO_AT_MOST
        for key in ("CPU", "median"):
            worst = max((work for work in by_work if work.endswith(key)), key=by_work.__getitem__)
            words = f"{ours} ÷ {rival}, where that is most ({worst})"
            report.promised(words, at_most, by_work[worst])
    options.finish(report)


if __name__ == "__main__":
    main()
