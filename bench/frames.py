"""What it costs to receive frames, a length of 4 bytes and a payload, in batches.

    python bench/frames.py [--quick] [--json FILE]

A peer in a process of its own sends frames of 100 bytes, 16 KiB or 1 MiB over loopback TCP as fast
as it can. Each sample is a fresh process that receives until the end, loops over the payloads and
counts them:

    ours, memoryview   `BufReader(...).frames(LengthPrefixed(4), memoryview).batches()`
    ours, BytesView    the same with `BytesView`, and
    ours, bytes        with `bytes`: a copy of each
    slices             by hand, in plain trio: what is left and what came, added, and slices of it
    offsets            by hand: a `bytearray` and slices, what was taken deleted at the end
    asyncio            `StreamReader.readexactly(4)`, then as many as it says: one by one
    uvloop             the same under uvloop's loop
    anyio              `BufferedByteReceiveStream.receive_exactly`, so, too, on trio
    tricycle           `BufferedReceiveStream.receive_exactly`, so, too

The loops by hand receive with trio's `receive_some()`, which takes 64 KiB at the most, and once
more with 256 KiB, which is what ours asks for. The quickest of the four is the one to beat.
anyio and tricycle are left out where frames are large: `whole_message` has them.

How to read it: nanoseconds for each frame, lower is better. CPU time is the receiver's alone; wall
time is the sender's, too, where the receiver waits for it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from functools import partial
from typing import Any

import anyio
import tricycle
from _loops import ASYNCIO, TRIO, remark_if_missing
from _measure import Options, Report, size_name
from _messages import ForAnyio, Rival, by_rival, contests, of_ours, of_trio, under_uvloop
from _messages import sample as sample_of
from anyio.streams.buffered import BufferedByteReceiveStream

from trio_bytesbuf import BytesView
from trio_bytesbuf.buffered import LengthPrefixed

SMALL_NBYTES = 100
LARGE = (16 << 10, 1 << 20)
TO_HAND_AT_MOST = 1 / 0.8
"""What was promised: 0.8 times the speed of what is written by hand."""

TO_ASYNCIO_AT_MOST = 1 / 1.5
"""What was promised: 1.5 times asyncio's speed."""

READ_NBYTES = 262_144
PREFIX_NBYTES = 4
OURS, VIEWS, COPIES = "ours, memoryview", "ours, BytesView", "ours, bytes"
BY_ASYNCIO = "asyncio"


async def with_ours(connection: socket.socket, item_type: type[Any]) -> int:
    """Count frames in batches."""
    count = 0
    async for batch in of_ours(connection).frames(LengthPrefixed(4), item_type).batches():
        for _frame in batch:
            count += 1
    return count


async def with_slices(connection: socket.socket, size: int | None) -> int:
    """Count frames, cut by hand out of bytes."""
    stream = of_trio(connection)
    length = struct.Struct(">I").unpack_from
    count = 0
    rest = b""
    while chunk := await stream.receive_some(size):
        data = rest + chunk
        at, stop = 0, len(data)
        while (start := at + PREFIX_NBYTES) <= stop:
            end = start + length(data, at)[0]
            if end > stop:
                break
            _frame = data[start:end]
            at = end
            count += 1
        rest = data[at:]
    assert not rest
    return count


async def with_offsets(connection: socket.socket, size: int | None) -> int:
    """Count frames, cut by hand out of a bytearray."""
    stream = of_trio(connection)
    length = struct.Struct(">I").unpack_from
    count = 0
    buffer = bytearray()
    while chunk := await stream.receive_some(size):
        buffer += chunk
        at, stop = 0, len(buffer)
        while (start := at + PREFIX_NBYTES) <= stop:
            end = start + length(buffer, at)[0]
            if end > stop:
                break
            _frame = buffer[start:end]
            at = end
            count += 1
        del buffer[:at]
    assert not buffer
    return count


async def with_asyncio(connection: socket.socket) -> int:
    """Count frames one by one."""
    reader, writer = await asyncio.open_connection(sock=connection)
    count = 0
    try:
        while True:
            prefix = await reader.readexactly(PREFIX_NBYTES)
            await reader.readexactly(int.from_bytes(prefix, "big"))
            count += 1
    except asyncio.IncompleteReadError:
        writer.close()
        return count


async def with_anyio(connection: socket.socket) -> int:
    """Count frames one by one."""
    receive_exactly = BufferedByteReceiveStream(ForAnyio(of_trio(connection))).receive_exactly
    count = 0
    try:
        while True:
            prefix = await receive_exactly(PREFIX_NBYTES)
            await receive_exactly(int.from_bytes(prefix, "big"))
            count += 1
    except anyio.IncompleteRead:
        return count


async def with_tricycle(connection: socket.socket) -> int:
    """Count frames one by one."""
    receive_exactly = tricycle.BufferedReceiveStream(of_trio(connection)).receive_exactly
    count = 0
    try:
        while True:
            prefix = await receive_exactly(PREFIX_NBYTES)
            await receive_exactly(int.from_bytes(prefix, "big"))
            count += 1
    except ValueError:  # the stream has ended
        return count


BY_HAND = {
    "slices": Rival(partial(with_slices, size=None)),
    "slices, 256 KiB": Rival(partial(with_slices, size=READ_NBYTES)),
    "offsets": Rival(partial(with_offsets, size=None)),
    "offsets, 256 KiB": Rival(partial(with_offsets, size=READ_NBYTES)),
}
OUR_KINDS = {
    OURS: Rival(partial(with_ours, item_type=memoryview)),
    VIEWS: Rival(partial(with_ours, item_type=BytesView)),
    COPIES: Rival(partial(with_ours, item_type=bytes)),
}
ONE_BY_ONE = {
    BY_ASYNCIO: Rival(with_asyncio, ASYNCIO, share=0.2),
    "anyio": Rival(with_anyio, share=0.02),
    "tricycle": Rival(with_tricycle, share=0.05),
}
ONE_BY_ONE |= under_uvloop(ONE_BY_ONE)
OTHER_LOOPS = {name: rival for name, rival in ONE_BY_ONE.items() if rival.loop != TRIO}
RIVALS = {**OUR_KINDS, **BY_HAND, **ONE_BY_ONE}


def sample(rival: str, nbytes: int, messages: int) -> dict[str, float]:
    """Receive in this process."""
    given = (
        RIVALS[rival] if nbytes == SMALL_NBYTES else Rival(RIVALS[rival].count, RIVALS[rival].loop)
    )
    return sample_of(given, "frames", nbytes, messages)


def compared(report: Report, nbytes: int, turns: int, messages: int) -> None:
    """Measure frames of one size, print the table and say what became of the promises."""
    is_small = nbytes == SMALL_NBYTES
    names = RIVALS if is_small else {**OUR_KINDS, **BY_HAND, **OTHER_LOOPS}
    work: dict[str, dict[str, object]] = {
        name: {"rival": name, "nbytes": nbytes, "messages": messages} for name in names
    }
    cpu, wall = contests(__file__, "", work, turns)
    frames = f"{PREFIX_NBYTES} B + {size_name(nbytes)}"
    title = f"Frames of {frames} over loopback TCP, {turns} turns"
    report.add(by_rival(title, (cpu, wall), OURS), (cpu, wall))
    others = [name for name in names if name not in OUR_KINDS]
    at_most = TO_HAND_AT_MOST if is_small else None
    report.headline(f"frames of {frames}, in batches", cpu, OURS, others, at_most=at_most)
    for each in (cpu, wall):
        best = min(BY_HAND, key=each.median)
        words = f"{frames}, {each.work} time of"
        if is_small:
            ratio = each.ratio(OURS, best)
            report.promised(f"{words} {OURS} ÷ {best}, by hand", TO_HAND_AT_MOST, ratio)
            ratio = each.ratio(OURS, BY_ASYNCIO)
            report.promised(f"{words} {OURS} ÷ {BY_ASYNCIO}", TO_ASYNCIO_AT_MOST, ratio)
        for ours in (VIEWS, COPIES) if is_small else OUR_KINDS:
            report.remark(f"{words} {ours} ÷ {best}, by hand: {each.ratio(ours, best):.2f}")


def main() -> None:
    """Measure and print."""
    options = Options.parse(__doc__)
    options.answer(sample)
    report = Report()
    remark_if_missing(report)
    turns, messages, nbytes_of_large = (
        (1, 100_000, 32 << 20) if options.quick else (11, 2_000_000, 1 << 30)
    )
    compared(report, SMALL_NBYTES, turns, messages)
    for nbytes in LARGE:
        compared(report, nbytes, turns, nbytes_of_large // nbytes)
    options.finish(report)


if __name__ == "__main__":
    main()
