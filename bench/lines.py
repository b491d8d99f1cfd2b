"""What it costs to receive lines of 80 bytes, in batches.

    python bench/lines.py [--quick] [--json FILE]

A peer in a process of its own sends lines over loopback TCP as fast as it can. Each sample is a
fresh process that receives until the end, loops over the lines and counts them:

    ours, batches      `BufReader(SocketStream(...)).lines().batches()`, lines as `bytes`
    ours, text         `text_lines().batches()`, lines as `str`
    split              by hand, in plain trio: what is left and what came, added, and `bytes.split`
    offsets            by hand: a `bytearray`, `find` and a slice, what was taken deleted at the end
    asyncio            `StreamReader.readline()`: one by one, without a batch
    uvloop             the same under uvloop's loop
    anyio              `BufferedByteReceiveStream.receive_until`, on trio: one by one
    tricycle           `TextReceiveStream.receive_line`, as `str`: one by one

The loops by hand receive with trio's `receive_some()`, which takes 64 KiB at the most, and once
more with 256 KiB, which is what ours asks for. The quickest of the four is the one to beat.

How to read it: nanoseconds for each line, lower is better. CPU time is the receiver's alone; wall
time is the sender's, too, where the receiver waits for it.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial

import anyio
import tricycle
from _loops import ASYNCIO, remark_if_missing
from _measure import Options, Report
from _messages import ForAnyio, Rival, by_rival, contests, of_ours, of_trio, under_uvloop
from _messages import sample as sample_of
from anyio.streams.buffered import BufferedByteReceiveStream

LINE_NBYTES = 80
AT_MOST = 1 / 0.8
"""What was promised: 0.8 times the speed of what is written by hand."""

READ_NBYTES = 262_144
OURS, TEXT = "ours, batches", "ours, text"


async def with_ours(connection: socket.socket) -> int:
    """Count lines in batches."""
    count = 0
    async for batch in of_ours(connection).lines().batches():
        for _line in batch:
            count += 1
    return count


async def with_text(connection: socket.socket) -> int:
    """Count lines of text in batches."""
    count = 0
    async for batch in of_ours(connection).text_lines().batches():
        for _line in batch:
            count += 1
    return count


async def with_split(connection: socket.socket, size: int | None) -> int:
    """Count lines, split by hand."""
    stream = of_trio(connection)
    count = 0
    rest = b""
    while chunk := await stream.receive_some(size):
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        for _line in lines:
            count += 1
    assert not rest
    return count


async def with_offsets(connection: socket.socket, size: int | None) -> int:
    """Count lines, cut by hand out of a bytearray."""
    stream = of_trio(connection)
    count = 0
    buffer = bytearray()
    while chunk := await stream.receive_some(size):
        buffer += chunk
        at = 0
        while (stop := buffer.find(b"\n", at)) >= 0:
            _line = buffer[at:stop]
            at = stop + 1
            count += 1
        del buffer[:at]
    assert not buffer
    return count


async def with_asyncio(connection: socket.socket) -> int:
    """Count lines one by one."""
    reader, writer = await asyncio.open_connection(sock=connection)
    count = 0
    while await reader.readline():
        count += 1
    writer.close()
    return count


async def with_anyio(connection: socket.socket) -> int:
    """Count lines one by one."""
    receive_until = BufferedByteReceiveStream(ForAnyio(of_trio(connection))).receive_until
    count = 0
    try:
        while True:
            await receive_until(b"\n", 65_536)
            count += 1
    except anyio.IncompleteRead:
        return count


async def with_tricycle(connection: socket.socket) -> int:
    """Count lines of text one by one."""
    stream = tricycle.TextReceiveStream(of_trio(connection), "utf-8", newline="\n")
    count = 0
    while await stream.receive_line():
        count += 1
    return count


BY_HAND = {
    "split": Rival(partial(with_split, size=None)),
    "split, 256 KiB": Rival(partial(with_split, size=READ_NBYTES)),
    "offsets": Rival(partial(with_offsets, size=None)),
    "offsets, 256 KiB": Rival(partial(with_offsets, size=READ_NBYTES)),
}
ONE_BY_ONE = {
    "asyncio": Rival(with_asyncio, ASYNCIO, share=0.1),
    "anyio": Rival(with_anyio, share=0.1),
    "tricycle": Rival(with_tricycle, share=0.1),
}
ONE_BY_ONE |= under_uvloop(ONE_BY_ONE)
RIVALS = {OURS: Rival(with_ours), TEXT: Rival(with_text), **BY_HAND, **ONE_BY_ONE}


def sample(rival: str, messages: int) -> dict[str, float]:
    """Receive in this process."""
    return sample_of(RIVALS[rival], "lines", LINE_NBYTES, messages)


def main() -> None:
    """Measure and print."""
    options = Options.parse(__doc__)
    options.answer(sample)
    report = Report()
    remark_if_missing(report)
    turns, messages = (1, 100_000) if options.quick else (11, 2_000_000)
    work: dict[str, dict[str, object]] = {
        name: {"rival": name, "messages": messages} for name in RIVALS
    }
    cpu, wall = contests(__file__, "", work, turns)
    title = f"Lines of {LINE_NBYTES} bytes over loopback TCP, {turns} turns"
    report.add(by_rival(title, (cpu, wall), OURS), (cpu, wall))
    others = [*BY_HAND, *ONE_BY_ONE]
    scenario = f"lines of {LINE_NBYTES} B, in batches"
    report.headline(scenario, cpu, OURS, others, at_most=AT_MOST)
    for each in (cpu, wall):
        best = min(BY_HAND, key=each.median)
        for ours in (OURS, TEXT):
            ratio = each.ratio(ours, best)
            words = f"{each.work} time of {ours} ÷ {best}, by hand"
            if ours == OURS:
                report.promised(words, AT_MOST, ratio)
            else:
                report.remark(f"{words}: {ratio:.2f}")
    options.finish(report)


if __name__ == "__main__":
    main()
