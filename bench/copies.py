"""How often a byte is copied on its way from the kernel to whoever wanted it, and what that takes.

    python bench/copies.py [--quick] [--json FILE]

A peer in a process of its own sends as fast as it can over loopback TCP; each sample is a fresh
process that receives until the end. What is counted are copies from memory to memory in this
process, by our own code; the kernel's copy into it is the same for all and not counted:

    by the stream      out of a block that is much larger than what came, or joined before sending
                       (`StreamStatistics.copied_nbytes`)
    by the buffer      for a search, which `memoryview` has none of; to join what came in small
                       pieces, or what is left of a window with what comes next; or to let a large
                       block go (`ReceiveBuffer`, whose methods are watched here)
    given away         what is given as `bytes`, a copy by itself; a `memoryview` of what came in
                       several pieces

How to read it: copied bytes for each received byte, and processor time for each 10^9 bytes of the
same run. 0 is what views are for. A line or a frame as `bytes` is copied twice: out of the
window with its neighbours, and out of that by itself.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

import attrs
import trio
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
    shown,
    size_name,
)
from _messages import talker

from trio_bytesbuf import BytesView, SocketStream, relay
from trio_bytesbuf.buffered import BufReader, LengthPrefixed, ReceiveBuffer

MESSAGE_NBYTES = 8 << 20
LINE_NBYTES, FRAME_NBYTES, LARGE_NBYTES = 80, 100, 16 << 10


@attrs.define(eq=False)
class Copied:
    """Bytes that were received, copied, and what that took."""

    watch: Stopwatch = attrs.Factory(Stopwatch)
    received_nbytes: int = 0
    by_stream_nbytes: int = 0
    by_buffer_nbytes: int = 0
    given_nbytes: int = 0


@contextmanager
def watched_buffers(copied: Copied) -> Iterator[None]:
    """Count what buffers copy during a block: once for each window, which costs no time."""
    real = {name: getattr(ReceiveBuffer, name) for name in ("text", "merge", "settle", "feed")}

    def text(buffer: ReceiveBuffer) -> bytes:
        before = buffer._text
        found: bytes = real["text"](buffer)
        if found is not before and found is not buffer._window.obj:
            copied.by_buffer_nbytes += len(found)
        return found

    def merge(buffer: ReceiveBuffer) -> bool:
        is_merged: bool = real["merge"](buffer)
        if is_merged:
            copied.by_buffer_nbytes += buffer._stop
        return is_merged

    def settle(buffer: ReceiveBuffer) -> None:
        before = buffer._window
        real["settle"](buffer)
        if buffer._window is not before:
            copied.by_buffer_nbytes += buffer._stop

    def feed(buffer: ReceiveBuffer, data: BytesView) -> None:
        before = len(buffer._tail)
        real["feed"](buffer, data)
        copied.by_buffer_nbytes += max(0, len(buffer._tail) - before)

    try:
        for made in (text, merge, settle, feed):
            setattr(ReceiveBuffer, made.__name__, made)
        yield
    finally:
        for name, method in real.items():
            setattr(ReceiveBuffer, name, method)


# One function for each way to receive so many messages

Receive: TypeAlias = Callable[[SocketStream, int, Copied], Awaitable[None]]


async def in_bulk(stream: SocketStream, _messages: int, _copied: Copied) -> None:
    """Receive views until the end."""
    async for _view in stream.views():
        pass


async def in_one_piece(stream: SocketStream, messages: int, _copied: Copied) -> None:
    """Receive messages, each filled in place."""
    for _ in range(messages):
        await stream.read_contiguous(MESSAGE_NBYTES)


async def in_pieces(stream: SocketStream, messages: int, _copied: Copied) -> None:
    """Receive messages, each in the blocks that it came in."""
    for _ in range(messages):
        await stream.read_exactly(MESSAGE_NBYTES)


async def lines(stream: SocketStream, _messages: int, copied: Copied) -> None:
    """Receive lines in batches."""
    async for batch in BufReader(stream).lines().batches():
        copied.given_nbytes += sum(map(len, batch))


async def frames(
    stream: SocketStream, _messages: int, copied: Copied, *, item_type: type[Any]
) -> None:
    """Receive frames in batches."""
    async for batch in BufReader(stream).frames(LengthPrefixed(4), item_type).batches():
        if item_type is bytes:
            copied.given_nbytes += sum(map(len, batch))
        elif item_type is memoryview:  # one that came in several pieces has memory of its own
            copied.given_nbytes += sum(len(it) for it in batch if len(it.obj) == len(it))


async def pass_on(stream: SocketStream, _messages: int, copied: Copied) -> None:
    """Pass on to a peer that forgets."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        peer("drain", listener.getsockname()[1]),
        listener.accept()[0] as connection,
    ):
        connection.setblocking(False)
        other = SocketStream(trio.socket.from_stdlib_socket(connection))
        await relay(stream, other)
        copied.by_stream_nbytes += other.statistics().copied_nbytes


@attrs.frozen
class Way:
    """A way to receive, and what is sent to it."""

    receive: Receive
    sent: str
    nbytes: int = MESSAGE_NBYTES


def frames_as(item_type: type[Any], nbytes: int) -> Way:
    """Return the way to receive frames as this type."""
    return Way(partial(frames, item_type=item_type), "frames", nbytes)


WAYS = {
    "in bulk, as views": Way(in_bulk, "bytes"),
    f"{size_name(MESSAGE_NBYTES)} in one piece": Way(in_one_piece, "bytes"),
    f"{size_name(MESSAGE_NBYTES)} in pieces": Way(in_pieces, "bytes"),
    f"lines of {LINE_NBYTES} B": Way(lines, "lines", LINE_NBYTES),
    **{
        f"frames of {size_name(nbytes)}, {item_type.__name__}": frames_as(item_type, nbytes)
        for nbytes in (FRAME_NBYTES, LARGE_NBYTES)
        for item_type in (BytesView, memoryview, bytes)
    },
    "relay": Way(pass_on, "bytes"),
}
VIEWS_ONLY = [name for name in WAYS if not name.startswith("lines") and not name.endswith("bytes")]
VIEWS_AT_MOST = 0.15
"""How many copies of a byte there may be where views are received: of frames of 16 KiB, one in
sixteen lies across two reads and is copied to let a block go, and again to be a `memoryview`."""

BYTES_AT_MOST = 2.1
"""The same where `bytes` are: the window, and each line or frame out of it."""


async def receive(way: Way, connection: socket.socket, messages: int) -> Copied:
    """Receive everything in one way."""
    copied = Copied()
    async with SocketStream(trio.socket.from_stdlib_socket(connection)) as stream:
        with watched_buffers(copied), copied.watch:
            await way.receive(stream, messages, copied)
        statistics = stream.statistics()
        copied.received_nbytes = statistics.received_nbytes
        copied.by_stream_nbytes += statistics.copied_nbytes
    return copied


def sample(way: str, nbytes: int) -> dict[str, float]:
    """Receive about so many bytes in this process; return copies and seconds for each byte."""
    given = WAYS[way]
    messages = max(1, nbytes // given.nbytes)
    if given.sent == "bytes":
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            with (
                peer("send", port, messages * given.nbytes),
                listener.accept()[0] as connection,
            ):
                connection.setblocking(False)
                copied = trio.run(receive, given, connection, messages)
    else:
        with talker(given.sent, given.nbytes, messages) as connection:
            copied = trio.run(receive, given, connection, messages)
    received = copied.received_nbytes
    assert received >= messages * given.nbytes, f"{received} bytes came"
    return {
        "stream": copied.by_stream_nbytes / received,
        "buffer": copied.by_buffer_nbytes / received,
        "given": copied.given_nbytes / received,
        "cpu": copied.watch.cpu / received * GB,
    }


def main() -> None:
    """Measure and print."""
    options = Options.parse(__doc__)
    options.answer(sample)
    report = Report()
    turns, nbytes = (1, 32 << 20) if options.quick else (5, 512 << 20)
    ways = {name: partial(in_child, __file__, way=name, nbytes=nbytes) for name in WAYS}
    answers = in_turn(ways, turns)
    for got in answers.values():
        for each in got:
            each["all"] = each["stream"] + each["buffer"] + each["given"]
    contests = {
        key: Contest(
            key, unit, {name: [each[key] for each in got] for name, got in answers.items()}
        )
        for key, unit in (
            ("stream", "copies"),
            ("buffer", "copies"),
            ("given", "copies"),
            ("all", "copies"),
            ("cpu", "CPU s/GB"),
        )
    }
    rows = [[name, *(shown(each.median(name)) for each in contests.values())] for name in WAYS]
    columns = ["copies of a received byte", "by the stream", "by the buffer", "given away", "all"]
    title = f"Copies of {nbytes >> 20} MiB, {turns} turns"
    report.add(Table(title, [*columns, "CPU s/GB"], rows), contests.values())
    for words, names, at_most in (
        ("views", VIEWS_ONLY, VIEWS_AT_MOST),
        ("bytes", [name for name in WAYS if name not in VIEWS_ONLY], BYTES_AT_MOST),
    ):
        worst = max(names, key=contests["all"].median)
        copies = contests["all"].median(worst)
        report.promised(f"copies of a byte received as {words}, at most ({worst})", at_most, copies)
    options.finish(report)


if __name__ == "__main__":
    main()
