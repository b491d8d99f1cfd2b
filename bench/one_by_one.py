"""What it costs to receive lines and frames one by one, without a batch.

    python bench/one_by_one.py [--quick] [--json FILE]

A peer in a process of its own sends lines of 80 bytes, or frames of 4 + 100 bytes, over loopback
TCP as fast as it can. Each sample is a fresh process that receives until the end, message by
message:

    ours, try_...      `try_receive`, `try_read_line`, or `try_read_exactly` twice, each a plain
                       call; and only if that gave None its twin that waits is awaited
    ours, receive      `await receive()`: a checkpoint for each message
    ours, read_...     `await read_line()`, or `await read_exactly(n)` twice
    asyncio            `readline`, or `readexactly` twice
    uvloop             the same under uvloop's loop
    anyio              `receive_until`, or `receive_exactly` twice, on trio
    tricycle           `TextReceiveStream.receive_line`, or `receive_exactly` twice

A checkpoint is most of what `await receive()` costs, and trio's rule. The last table shows how much
more it is: messages lie in the reader's buffer, and receiving each is compared with a bare
`await trio.lowlevel.checkpoint()`, in short samples taken in turn in one process.

How to read it: nanoseconds for each message, lower is better. CPU time is the receiver's alone;
wall time is the sender's, too, where the receiver waits for it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import frames
import lines
import trio
from _loops import ASYNCIO, remark_if_missing
from _measure import Contest, Options, Report
from _messages import Rival, by_rival, contests, of_ours, under_uvloop
from _messages import sample as sample_of
from _talk import PREFIX_NBYTES, message
from frames import SMALL_NBYTES
from lines import LINE_NBYTES

from trio_bytesbuf import BytesView, UnexpectedEof
from trio_bytesbuf.buffered import FrameReceiveChannel, LengthPrefixed

TO_ASYNCIO_AT_MOST = 1.0
"""What was promised of the plain calls: asyncio's speed at least, and"""

TO_OTHERS_AT_MOST = 0.1
"""ten times the speed of the two that are made of plain trio."""

TO_CHECKPOINT_AT_MOST = 1.3
"""What was promised of `await receive()` when the message is there."""

LINES, FRAMES = "lines", "frames"
TRY, PAIR, WAIT, READ = "ours, try_receive", "ours, try_read", "ours, receive", "ours, read"
VIEWS = "ours, try_receive of views"
CHECKPOINT = "checkpoint"
AT_HAND = 100
"""How many messages lie in the buffer: of both kinds so many fit into what a socket pair takes."""


def channel(kind: str, connection: socket.socket, item_type: type[Any]) -> FrameReceiveChannel[Any]:
    """Return a channel of lines or of frames."""
    reader = of_ours(connection)
    if kind == LINES:
        return reader.lines()
    return reader.frames(LengthPrefixed(PREFIX_NBYTES), item_type)


async def with_try_receive(
    connection: socket.socket, kind: str, item_type: type[Any] = bytes
) -> int:
    """Ask the channel, and wait only if it has nothing."""
    messages = channel(kind, connection, item_type)
    try_receive = messages.try_receive
    count = 0
    try:
        while True:
            item = try_receive()
            if item is None:
                item = await messages.receive()
            count += 1
    except trio.EndOfChannel:
        return count


async def with_receive(connection: socket.socket, kind: str) -> int:
    """Wait for each message."""
    receive = channel(kind, connection, bytes).receive
    count = 0
    try:
        while True:
            await receive()
            count += 1
    except trio.EndOfChannel:
        return count


async def with_try_read_line(connection: socket.socket) -> int:
    """Ask the reader for a line, and wait only if there is none."""
    reader = of_ours(connection)
    try_read_line = reader.try_read_line
    count = 0
    while True:
        line = try_read_line()
        if line is None:
            line = await reader.read_line()
            if line is None:
                return count
        count += 1


async def with_read_line(connection: socket.socket) -> int:
    """Wait for each line."""
    read_line = of_ours(connection).read_line
    count = 0
    while await read_line() is not None:
        count += 1
    return count


async def with_try_read_exactly(connection: socket.socket) -> int:
    """Ask the reader for a length and a payload, and wait only for what is not there."""
    reader = of_ours(connection)
    try_read_exactly = reader.try_read_exactly
    count = 0
    try:
        while True:
            prefix = try_read_exactly(PREFIX_NBYTES)
            if prefix is None:
                prefix = await reader.read_exactly(PREFIX_NBYTES)
            nbytes = int.from_bytes(prefix.to_bytes(), "big")
            payload = try_read_exactly(nbytes)
            if payload is None:
                payload = await reader.read_exactly(nbytes)
            count += 1
    except UnexpectedEof:
        return count


async def with_read_exactly(connection: socket.socket) -> int:
    """Wait for each length and each payload."""
    read_exactly = of_ours(connection).read_exactly
    count = 0
    try:
        while True:
            prefix = await read_exactly(PREFIX_NBYTES)
            await read_exactly(int.from_bytes(prefix.to_bytes(), "big"))
            count += 1
    except UnexpectedEof:
        return count


RIVALS = {
    LINES: {
        TRY: Rival(partial(with_try_receive, kind=LINES)),
        PAIR: Rival(with_try_read_line),
        WAIT: Rival(partial(with_receive, kind=LINES), share=0.2),
        READ: Rival(with_read_line, share=0.2),
        "asyncio": Rival(lines.with_asyncio, ASYNCIO),
        "anyio": Rival(lines.with_anyio, share=0.5),
        "tricycle": Rival(lines.with_tricycle, share=0.1),
    },
    FRAMES: {
        TRY: Rival(partial(with_try_receive, kind=FRAMES)),
        VIEWS: Rival(partial(with_try_receive, kind=FRAMES, item_type=BytesView)),
        PAIR: Rival(with_try_read_exactly),
        WAIT: Rival(partial(with_receive, kind=FRAMES), share=0.2),
        READ: Rival(with_read_exactly, share=0.2),
        "asyncio": Rival(frames.with_asyncio, ASYNCIO),
        "anyio": Rival(frames.with_anyio, share=0.05),
        "tricycle": Rival(frames.with_tricycle, share=0.1),
    },
}
for _rivals in RIVALS.values():
    _rivals |= under_uvloop(_rivals)
NBYTES = {LINES: LINE_NBYTES, FRAMES: SMALL_NBYTES}


def sample(kind: str, rival: str, messages: int) -> dict[str, float]:
    """Receive in this process."""
    return sample_of(RIVALS[kind][rival], kind, NBYTES[kind], messages)


def one_by_one(report: Report, kind: str, turns: int, messages: int) -> None:
    """Measure one kind of message, print the table and say what became of the promises."""
    work: dict[str, dict[str, object]] = {
        name: {"kind": kind, "rival": name, "messages": messages} for name in RIVALS[kind]
    }
    cpu, wall = contests(__file__, "", work, turns)
    title = f"{kind.capitalize()} one by one, over loopback TCP, {turns} turns"
    report.add(by_rival(title, (cpu, wall), TRY), (cpu, wall))
    others = [name for name in cpu.samples if not name.startswith("ours")]
    report.headline(f"{kind} one by one", cpu, TRY, others, at_most=TO_ASYNCIO_AT_MOST)
    for each in (cpu, wall):
        for ours in (name for name in (TRY, VIEWS, PAIR) if name in each.samples):
            for rival in ("asyncio", "anyio", "tricycle"):
                at_most = TO_ASYNCIO_AT_MOST if rival == "asyncio" else TO_OTHERS_AT_MOST
                words = f"{kind}, {each.work} time of {ours} ÷ {rival}"
                report.promised(words, at_most, each.ratio(ours, rival))


# Messages that are in the buffer


async def nanoseconds_of(call: Callable[[], Awaitable[object]], number: int) -> float:
    """Return how long one of `number` calls takes."""
    start = time.perf_counter_ns()
    for _ in range(number):
        await call()
    return (time.perf_counter_ns() - start) / number


async def at_hand(samples: int) -> dict[str, dict[str, list[float]]]:
    """Take short samples in turn: receiving what is in the buffer, and bare checkpoints."""
    took: dict[str, dict[str, list[float]]] = {}
    for kind, item_type in ((LINES, bytes), (FRAMES, bytes), (FRAMES, BytesView)):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        messages = channel(kind, ours, item_type)
        receive = messages.receive
        sent = message(kind, NBYTES[kind]) * (AT_HAND + 1)
        title = f"{kind} as {item_type.__name__}"
        took[title] = {"receive": [], CHECKPOINT: []}
        with theirs:
            for _ in range(samples):
                theirs.sendall(sent)
                await receive()  # which brings the others, too
                assert messages._reader._buffer, "they did not come at once"
                took[title]["receive"].append(await nanoseconds_of(receive, AT_HAND))
                assert not messages._reader._buffer
                bare = await nanoseconds_of(trio.lowlevel.checkpoint, AT_HAND)
                took[title][CHECKPOINT].append(bare)
            await messages.aclose()
    return took


def compared_with_checkpoints(report: Report, samples: int) -> None:
    """Measure, print the table and say what became of the promise."""
    each = [Contest(title, "ns", took) for title, took in trio.run(at_hand, samples).items()]
    report.compare(f"Messages in the buffer, {samples} samples of {AT_HAND}", each)
    for contest in each:
        ratio = contest.ratio("receive", CHECKPOINT)
        words = f"await receive() of {contest.work} ÷ a bare checkpoint"
        report.promised(words, TO_CHECKPOINT_AT_MOST, ratio)


def main() -> None:
    """Measure and print."""
    options = Options.parse(__doc__)
    options.answer(sample)
    report = Report()
    remark_if_missing(report)
    turns, messages, samples = (1, 30_000, 300) if options.quick else (11, 500_000, 3_000)
    for kind in (LINES, FRAMES):
        one_by_one(report, kind, turns, messages)
    compared_with_checkpoints(report, samples)
    options.finish(report)


if __name__ == "__main__":
    main()
