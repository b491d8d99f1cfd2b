"""How much of a price has to be paid by any code in Python that makes the same calls.

    python bench/floors.py [--quick] [--json FILE]

A floor does what we do with the same calls into C and the same objects as a result, and nothing
else: no error, no limit, no close, no second way in. What is above it is what those cost, and what
is below it no code in Python can save. The rows are promises that were missed, or kept by little:

    put_struct      ten fields packed into a builder; floor: a method that packs, copies and moves
                    an end; rival: `bytearray.extend(struct.pack(...))`, two calls into C
    reserve         64 KiB from a pool; floor: a method that asks whether the block is free and
                    makes an object of it; rival: `numpy.empty`, one call into C
    read two        the length and the payload of a frame, as two views; floor: a method called
                    twice that asks whether the bytes are there and makes a view; rival: the same
                    slices of `bytes` where they are needed, without a call
    receive         `await receive()` of a frame that is there, as a view; floor: a coroutine with
                    a checkpoint and a view; rival: a bare checkpoint
    batch           a batch of frames as memoryviews, from a socket; floor: one read and a loop of
                    slices; rival: the same loop, of `bytes`

How to read it: nanoseconds for one record, block, frame or message; lower is better.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from sys import getrefcount
from typing import Any, TypeAlias

import numpy as np
import trio
from _measure import Contest, Options, Report, nanoseconds, nanoseconds_from
from _messages import of_ours
from _talk import PREFIX_NBYTES, message
from get_put import ARGUMENTS, RECORD
from trio.lowlevel import checkpoint

from trio_bytesbuf import BufReader, BytesBuf, GlobalPool
from trio_bytesbuf.buffered import LengthPrefixed
from trio_bytesbuf.seq._view import BytesView, make_view
from trio_bytesbuf.testing import FakeRead

RECORDS = 500
"""Records in one sample: so many that a builder has room for all."""

PAYLOAD_NBYTES = 100
FRAME = message("frames", PAYLOAD_NBYTES)
FRAMES = 300
"""Frames that are received at once: so many fit into what a socket pair takes."""

RESERVED_NBYTES = 65_536
Ways: TypeAlias = Mapping[str, Callable[[], float]]
"""What takes a sample of each."""

LENGTH = struct.Struct(">I")
READ_NBYTES = 262_144


class Writer:
    """Packs into memory, without asking anything."""

    __slots__ = ("_end", "_memory")

    def __init__(self, nbytes: int) -> None:
        self._memory, self._end = memoryview(bytearray(nbytes)), 0

    def put_struct(self, layout: struct.Struct, *values: object) -> None:
        """Pack, copy, move the end."""
        data = layout.pack(*values)
        end = self._end
        stop = end + len(data)
        self._memory[end:stop] = data
        self._end = stop


class Builder:
    """Something with room."""

    __slots__ = ("memory", "room")

    memory: bytearray
    room: int


class Pool:
    """Has one block, and gives it if nobody sees it."""

    __slots__ = ("_block",)

    def __init__(self) -> None:
        self._block = bytearray(RESERVED_NBYTES)

    def reserve(self, nbytes: int) -> Builder:
        """Make a builder of the block."""
        block = self._block
        if nbytes > RESERVED_NBYTES or getrefcount(block) < 2:
            raise ValueError(nbytes)
        builder = Builder.__new__(Builder)
        builder.memory = block
        builder.room = RESERVED_NBYTES
        return builder


class Reader:
    """Gives views of one piece, one after the other."""

    __slots__ = ("_at", "_nbytes", "_window")

    def __init__(self, data: bytes) -> None:
        self._window, self._at, self._nbytes = memoryview(data), 0, len(data)

    def try_read_exactly(self, nbytes: int) -> BytesView | None:
        """Return the next bytes, if they are there."""
        at = self._at
        end = at + nbytes
        if end > self._nbytes:
            return None
        self._at = end
        return make_view((self._window[at:end],), nbytes)

    async def receive(self) -> BytesView:
        """Return the next frame, after a checkpoint."""
        start = self._at + PREFIX_NBYTES
        (nbytes,) = LENGTH.unpack_from(self._window, self._at)
        self._at = end = start + nbytes
        await checkpoint()
        return make_view((self._window[start:end],), nbytes)


# What runs without a loop


def at_once(
    statements: Mapping[str, tuple[str, str]], names: Mapping[str, object], number: int
) -> Ways:
    """Return the ways to do something: what is made before, and what is measured."""
    return {
        rival: nanoseconds_from(setup, statement, names, number=number)
        for rival, (setup, statement) in statements.items()
    }


def putting() -> Ways:
    """Ten fields."""
    statements = {
        "ours": (
            f"buf = BytesBuf.with_capacity({64 << 10})",
            f"buf.put_struct(record, {ARGUMENTS})",
        ),
        "floor": (f"buf = Writer({64 << 10})", f"buf.put_struct(record, {ARGUMENTS})"),
        "rival": ("buf = bytearray()", f"buf.extend(record.pack({ARGUMENTS}))"),
    }
    return at_once(statements, {"BytesBuf": BytesBuf, "Writer": Writer, "record": RECORD}, RECORDS)


def reserving(seconds: float) -> Ways:
    """A block, and let go."""
    names = {"ours": GlobalPool(), "floor": Pool(), "np": np, "n": RESERVED_NBYTES}
    return {
        "ours": nanoseconds("ours.reserve(n)", names, seconds=seconds),
        "floor": nanoseconds("floor.reserve(n)", names, seconds=seconds),
        "rival": nanoseconds("np.empty(n, np.uint8)", names, seconds=seconds),
    }


def reading() -> Ways:
    """A length and a payload."""

    async def filled() -> BufReader:
        reader = BufReader(FakeRead(FRAME * (FRAMES + 1)))
        await reader.peek(len(FRAME) * FRAMES)
        return reader

    two = "n = int.from_bytes(read(4).to_bytes(), 'big'); read(n)"
    statements = {
        "ours": ("read = run(filled).try_read_exactly", two),
        "floor": ("read = Reader(data).try_read_exactly", two),
        "rival": (
            "at = 0",
            "start = at + 4; n = int.from_bytes(data[at:start]); at = start + n; data[start:at]",
        ),
    }
    names = {"Reader": Reader, "data": FRAME * FRAMES, "filled": filled, "run": trio.run}
    return at_once(statements, names, FRAMES)


# What waits


async def nanoseconds_of(call: Callable[[], Awaitable[object]], number: int) -> float:
    """Return how much processor time one of `number` calls takes."""
    start = time.process_time_ns()
    for _ in range(number):
        await call()
    return (time.process_time_ns() - start) / number


async def receiving(way: str) -> float:
    """Frames that are there, one by one."""
    if way == "rival":
        return await nanoseconds_of(checkpoint, FRAMES)
    if way == "floor":
        return await nanoseconds_of(Reader(FRAME * FRAMES).receive, FRAMES)
    frames = BufReader(FakeRead(FRAME * (FRAMES + 1))).frames(LengthPrefixed(PREFIX_NBYTES))
    await frames.receive()  # which brings the others, too
    return await nanoseconds_of(frames.receive, FRAMES)


async def loop_of(read: trio.socket.SocketType, window: Any) -> list[Any]:
    """Return the frames of one read, as slices of what `window` makes of it."""
    room = bytearray(READ_NBYTES)
    nbytes = await read.recv_into(room)
    part = window(memoryview(room)[:nbytes])
    frames = []
    at = 0
    while at < nbytes:
        start = at + PREFIX_NBYTES
        (length,) = LENGTH.unpack_from(part, at)
        at = start + length
        frames.append(part[start:at])
    return frames


async def batches(way: str) -> float:
    """Frames that come at once, for each of them."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        if way == "ours":
            channel = of_ours(ours).frames(LengthPrefixed(PREFIX_NBYTES), memoryview)
            receive: Callable[[], Awaitable[list[Any]]] = channel.receive_batch
            close = channel.aclose
        else:
            stream = trio.socket.from_stdlib_socket(ours)
            receive = partial(loop_of, stream, memoryview if way == "floor" else bytes)

            async def close() -> None:
                stream.close()

        took = 0
        for turn in range(11):
            theirs.sendall(FRAME * FRAMES)
            start = time.process_time_ns()
            batch = await receive()
            took += (time.process_time_ns() - start) * (turn > 0)
            assert len(batch) == FRAMES, "they did not come at once"
            del batch
        await close()
    return took / (10 * FRAMES)


def waiting(measured: Callable[[str], Awaitable[float]]) -> Ways:
    """Return the ways of something that is awaited."""
    return {way: partial(trio.run, measured, way) for way in ("ours", "floor", "rival")}


def main() -> None:
    """Measure and print."""
    options = Options.parse(__doc__)
    report = Report()
    turns = 5 if options.quick else 301
    rows = {
        "put_struct of ten fields": putting(),
        f"reserve {RESERVED_NBYTES >> 10} KiB": reserving(0.001 if options.quick else 0.005),
        "read two, of a frame": reading(),
        "receive a frame that is there": waiting(receiving),
        "batch of frames, for each": waiting(batches),
    }
    contests = [Contest.of(work, "ns", ways, turns) for work, ways in rows.items()]
    ratios = [("ours", "rival"), ("floor", "rival"), ("ours", "floor")]
    report.compare("Ours, the floor, the rival", contests, ratios)
    options.finish(report)


if __name__ == "__main__":
    main()
