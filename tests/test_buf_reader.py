"""`BufReader`, and the reading half of `BufStream`: what their docstrings say, one by one.

That no byte is lost, whatever is mixed with whatever, is in `test_reading_scripts`.
"""

from __future__ import annotations

import contextlib
import io
import math
import operator
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from pairs import ThroughViews, big_buffers, clog, closing, socketpair
from strategies import NO_BUFFERS

from trio_bytesbuf import (
    BytesBuf,
    BytesView,
    LimitExceeded,
    NotEnoughBytes,
    UnexpectedEof,
    open_binary_file,
)
from trio_bytesbuf.buffered import BufReader, BufStream, BufWriter, FixedLength
from trio_bytesbuf.io import Read, from_trio
from trio_bytesbuf.testing import (
    SOURCE_CHECKS,
    STALLED_SOURCE_CHECKS,
    Delay,
    FakeRead,
    FakeWrite,
    Pending,
    dribbling,
    memory_pair,
)

NAME = operator.attrgetter("__name__")
every_ahead = pytest.mark.parametrize("ahead", [1, 7, 262_144])


def dripped(data: bytes, *script: Any, **options: Any) -> BufReader[FakeRead]:
    """A reader of `data`, which arrives as a script says, or else a byte at a time."""
    options.setdefault("max_read_nbytes", None if script else 1)
    return BufReader(FakeRead(data, script=script, **options))


async def filled(data: bytes) -> BufReader[FakeRead]:
    """A reader with `data` in its buffer."""
    reader = BufReader(FakeRead(data))
    assert await reader.fill_buf() == data
    return reader


# It is a source, and a stream


async def over_a_fake(contents: bytes, ahead: int) -> Read:
    return BufReader(FakeRead(contents), read_ahead_nbytes=ahead)


async def over_hostile_cuts(contents: bytes, ahead: int) -> Read:
    pieces = BytesView.from_views([BytesView(bytes((byte,))) for byte in contents])
    script = [1, Delay(0), 2, 3, 50]
    return BufReader(FakeRead(pieces, script=script), read_ahead_nbytes=ahead)


async def over_a_socket(contents: bytes, ahead: int) -> Read:
    source, peer = await socketpair()
    async with peer:
        await peer.send_all(contents)
    return BufReader(source, read_ahead_nbytes=ahead)


async def over_a_trio_stream(contents: bytes, ahead: int) -> Read:
    send, receive = trio.testing.memory_stream_one_way_pair()
    async with send:
        await send.send_all(contents)
    return BufReader(receive, read_ahead_nbytes=ahead)


async def over_itself(contents: bytes, ahead: int) -> Read:
    inner = BufReader(dribbling(FakeRead(contents), [5, 1]))
    await inner.fill_buf()
    return BufReader(inner, read_ahead_nbytes=ahead)


async def unread_before(contents: bytes, ahead: int) -> Read:
    reader = BufReader(FakeRead(contents[5:]), read_ahead_nbytes=ahead)
    reader.unread(contents[:5])
    return reader


async def as_a_half(contents: bytes, ahead: int) -> Read:
    ours, theirs = memory_pair()
    await theirs.write_view(BytesView(contents))
    await theirs.send_eof()
    return BufStream(ours, read_ahead_nbytes=ahead)


async def as_a_half_that_flushes(contents: bytes, ahead: int) -> Read:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(contents)
    await theirs.send_eof()
    stream = BufStream(ours, read_ahead_nbytes=ahead, flush_before_waiting=True)
    stream.write(b"a request")
    return stream


READ_AHEAD = [
    *((over_a_fake, ahead) for ahead in (1, 7, 262_144)),
    *((over_hostile_cuts, ahead) for ahead in (1, 7, 262_144)),
    *((over_a_socket, ahead) for ahead in (7, 262_144)),
    *((over_a_trio_stream, ahead) for ahead in (7, 262_144)),
    (over_itself, 7),
    (unread_before, 262_144),
    (as_a_half, 262_144),
    (as_a_half_that_flushes, 7),
]
IDS = [f"{make.__name__}, {ahead}" for make, ahead in READ_AHEAD]


@pytest.mark.parametrize(("make", "ahead"), READ_AHEAD, ids=IDS)
@pytest.mark.parametrize("check", SOURCE_CHECKS, ids=NAME)
async def test_a_buffered_reader_is_a_source(make, ahead, check) -> None:
    """It keeps all promises of a `Read`, whatever it reads from and however much at once."""
    await check(lambda contents: make(contents, ahead))


@every_ahead
@pytest.mark.parametrize("kind", ["fake", "socket", "trio", "both", "filled"])
@pytest.mark.parametrize("check", STALLED_SOURCE_CHECKS, ids=NAME)
async def test_a_silent_buffered_reader_is_a_source(kind, ahead, check) -> None:
    """It keeps the promises of waiting, over a source that goes silent."""
    async with contextlib.AsyncExitStack() as peers:

        async def make(contents: bytes) -> Read:
            script = [*[2] * (len(contents) // 2), 1, Delay(math.inf)]
            if kind == "fake":
                fake = FakeRead(contents, script=script if contents else script[-1:])
                return BufReader(fake, read_ahead_nbytes=ahead)
            if kind == "socket":
                source, peer = await socketpair()
                await peers.enter_async_context(peer)
                await peer.send_all(contents)
                return BufReader(source, read_ahead_nbytes=ahead)
            if kind == "filled":
                reader = BufReader(Pending(), read_ahead_nbytes=ahead)
                reader.unread(contents)
                return reader
            ours, theirs = trio.testing.memory_stream_pair()
            await theirs.send_all(contents)
            if kind == "trio":
                return BufReader(ours, read_ahead_nbytes=ahead)
            return BufStream(ours, read_ahead_nbytes=ahead)

        await check(make)


class Forgiving(trio.abc.HalfCloseableStream):
    """Forgives its stream that it cannot be closed in peace after a send that was cancelled.

    The bytes of that send are in the buffer, so closing sends them, and says so if it cannot. The
    last of trio's checks closes both ends at once, and wants to hear nothing.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.was_cancelled = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self.stream.receive_some(max_bytes)

    async def send_all(self, data: bytes) -> None:
        try:
            await self.stream.send_all(data)
        except trio.Cancelled:
            self.was_cancelled = True
            raise

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def aclose(self) -> None:
        try:
            await self.stream.aclose()
        except trio.BrokenResourceError:
            if not self.was_cancelled:
                raise


WRAPS: dict[str, Callable[[Any], Any]] = {
    "BufStream": BufStream,
    "BufStream that reads little ahead": lambda stream: BufStream(stream, read_ahead_nbytes=7),
    "BufStream that flushes": lambda stream: BufStream(stream, flush_before_waiting=True),
    "BufStream through views": lambda stream: ThroughViews(BufStream(stream)),
    "both halves stapled": lambda stream: trio.StapledStream(BufWriter(stream), BufReader(stream)),
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
async def test_a_buffered_stream_passes_trios_checks(wrap) -> None:
    """Trio's checks of streams hold over sockets, with clogged ones, too."""

    async def make() -> tuple[Any, Any]:
        a, b = await socketpair()
        return Forgiving(wrap(a)), Forgiving(wrap(b))

    async def make_clogged() -> tuple[Any, Any]:
        a, b = await socketpair()
        await clog(a)
        await clog(b)
        return Forgiving(wrap(a)), Forgiving(wrap(b))

    await trio.testing.check_one_way_stream(make, make_clogged)
    await trio.testing.check_two_way_stream(make, make_clogged)
    if wrap is not WRAPS["both halves stapled"]:  # whose `send_eof` closes its half
        await trio.testing.check_half_closeable_stream(make, make_clogged)


@pytest.mark.parametrize("wrong", [None, 5, b"bytes", object(), FakeWrite()], ids=repr)
def test_only_sources_are_read_from(wrong) -> None:
    """What is neither a `Read` nor a trio stream to receive from is a TypeError."""
    with pytest.raises(TypeError):
        BufReader(wrong)


def test_how_much_is_read_ahead_is_a_positive_integer() -> None:
    """0 and less are a ValueError, no integer is a TypeError."""
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="read_ahead_nbytes"):
            BufReader(FakeRead(b""), read_ahead_nbytes=wrong)
    for odd in (1.5, "1", None):
        with pytest.raises(TypeError):
            BufReader(FakeRead(b""), read_ahead_nbytes=odd)  # type: ignore[arg-type]


async def test_memory_is_the_sources() -> None:
    """`memory` is that of the source."""
    source = FakeRead(b"")
    assert BufReader(source).memory is source.memory


# How much the source is asked for


class Asked(FakeRead):
    """Remembers what it was asked for."""

    asked: list[int | None]

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        self.__dict__.setdefault("asked", []).append(max_bytes)
        return await super()._receive_view(max_bytes)


@pytest.mark.parametrize(
    "read",
    [
        lambda reader: reader.read_exactly(20),
        lambda reader: reader.peek(20),
        lambda reader: reader.read_until(b"t"),
        lambda reader: reader.skip_until(b"t"),
        lambda reader: reader.read_line(newline=b"t"),
        lambda reader: reader.lines(b"t").receive(),
        lambda reader: reader.frames(FixedLength(20)).receive_batch(),
        lambda reader: reader.frames(FixedLength(20)).skip(),
    ],
)
async def test_the_source_is_asked_for_as_much_as_is_read_ahead(read) -> None:
    """Whatever is read: no receive asks for more, and none is made that is not needed."""
    source = Asked(b"abcdefghijklmnopqrstuvwxyz" * 2)
    reader = BufReader(source, read_ahead_nbytes=8)
    await read(reader)
    assert source.asked == [8, 8, 8]


async def test_small_reads_share_a_receive() -> None:
    """A hundred reads of what came with one receive make no other."""
    source = Asked(b"x\n" * 100)
    reader = BufReader(source)
    for _ in range(100):
        await reader.read_exactly(2)
    assert len(source.asked) == 1
    source = Asked(b"x\n" * 100)
    reader = BufReader(source)
    for _ in range(100):
        assert await reader.read_line() == b"x"
    assert len(source.asked) == 1


async def test_a_large_receive_goes_past_the_buffer() -> None:
    """`receive_view` of as much as is read ahead, or of any number, is one of the source."""
    source = Asked(bytes(100))
    reader = BufReader(source, read_ahead_nbytes=10)
    assert len(await reader.receive_view(30)) == 30
    assert len(await reader.receive_view(5)) == 5
    assert len(await reader.receive_view(30)) == 5  # what was buffered
    assert len(await reader.receive_view()) == 60
    assert source.asked == [30, 10, None]


# fill_buf, peek, discard, unread


async def test_what_is_looked_at_is_still_there() -> None:
    """`fill_buf`, `peek` and `buffered` take nothing."""
    reader = dripped(b"abcdef", 2, 2, 2)
    assert await reader.fill_buf() == b"ab"
    assert await reader.fill_buf() == b"ab"
    assert await reader.peek(3) == b"abc"
    assert reader.buffered == b"abcd"
    assert reader.buffered_nbytes == 4
    assert await reader.peek(0) == b""
    assert await reader.read_to_end(10) == b"abcdef"


async def test_at_the_end_there_is_less_to_look_at() -> None:
    """`peek` is shorter and `fill_buf` empty if, and only if, the stream has ended."""
    reader = dripped(b"abc")
    assert await reader.peek(10) == b"abc"
    assert await reader.peek(10) == b"abc"
    assert await reader.fill_buf() == b"abc"
    assert await reader.read_exactly(3) == b"abc"
    assert await reader.fill_buf() == b""
    assert await reader.peek(1) == b""
    assert await reader.peek(0) == b""


async def test_no_more_is_dropped_than_there_is() -> None:
    """`discard` of more than is buffered is refused, and nothing was dropped."""
    reader = dripped(b"abcdef", 3, 3)
    await reader.fill_buf()
    with pytest.raises(NotEnoughBytes) as excinfo:
        reader.discard(4)
    assert (excinfo.value.requested, excinfo.value.available) == (4, 3)
    reader.discard(0)
    reader.discard(2)
    assert await reader.read_to_end(10) == b"cdef"


async def test_bytes_are_put_back() -> None:
    """What is unread is read next, the last first; mutable memory is copied."""
    reader = await filled(b"!")
    room = bytearray(b"world")
    reader.unread(room)
    reader.unread(BytesView(b", "))
    reader.unread(b"hello")
    reader.unread(b"")
    room[:] = b"XXXXX"
    assert await reader.read_to_end(20) == b"hello, world!"
    reader.unread(b"again")
    assert await reader.read_to_end(20) == b"again"


@pytest.mark.parametrize("wrong", NO_BUFFERS.values(), ids=NO_BUFFERS)
async def test_only_bytes_are_put_back(wrong) -> None:
    """What is no bytes is a TypeError, and nothing was put."""
    reader = await filled(b"abc")
    with pytest.raises(TypeError):
        reader.unread(wrong)
    assert reader.buffered == b"abc"


# Exactly


async def test_an_end_that_comes_too_early_leaves_what_had_arrived() -> None:
    """`UnexpectedEof` says how much was wanted and arrived, and that is read by the next read."""
    for _ in range(2):
        reader = dripped(b"abc")
        with pytest.raises(UnexpectedEof) as excinfo:
            await reader.read_exactly(4)
        assert (excinfo.value.wanted, excinfo.value.arrived) == (4, 3)
        assert await reader.read_exactly(3) == b"abc"


async def test_what_is_there_is_taken_without_waiting() -> None:
    """`try_read_exactly` takes all or nothing of what is buffered."""
    reader = dripped(b"abcdef", 4)
    assert reader.try_read_exactly(1) is None
    assert reader.try_read_exactly(0) == b""
    await reader.fill_buf()
    assert reader.try_read_exactly(5) is None
    assert reader.try_read_exactly(3) == b"abc"
    assert await reader.read_exactly(3) == b"def"


COUNTED = {
    "read_exactly": lambda reader, nbytes: reader.read_exactly(nbytes),
    "peek": lambda reader, nbytes: reader.peek(nbytes),
    "try_read_exactly": lambda reader, nbytes: later(reader.try_read_exactly, nbytes),
    "discard": lambda reader, nbytes: later(reader.discard, nbytes),
    "read_line": lambda reader, nbytes: reader.read_line(nbytes),
    "try_read_line": lambda reader, nbytes: later(reader.try_read_line, nbytes),
    "read_until": lambda reader, nbytes: reader.read_until(b"x", nbytes),
    "try_read_until": lambda reader, nbytes: later(reader.try_read_until, b"x", nbytes),
    "lines": lambda reader, nbytes: later(lambda: reader.lines(max_bytes=nbytes)),
    "text_lines": lambda reader, nbytes: later(lambda: reader.text_lines(max_bytes=nbytes)),
    "frames": lambda r, nbytes: later(lambda: r.frames(FixedLength(1), max_bytes=nbytes)),
    "receive_batch": lambda reader, count: reader.lines().receive_batch(count),
    "batches": lambda reader, count: later(reader.lines().batches, count),
}


async def later(call: Callable[..., Any], *args: Any) -> Any:
    return call(*args)


@pytest.mark.parametrize("call", COUNTED.values(), ids=COUNTED)
async def test_wrong_numbers_take_nothing(call) -> None:
    """No integer is a TypeError, a number below the least is a ValueError; nothing is taken."""
    reader = await filled(b"abc")
    no_counts = [(-1, ValueError), (1.0, TypeError), ("1", TypeError), (None, TypeError)]
    if call in {COUNTED[name] for name in ("receive_batch", "batches")}:
        del no_counts[-1]  # as many as usual
    for wrong, kind in no_counts:
        with pytest.raises(kind) as excinfo:
            await call(reader, wrong)
        assert not isinstance(excinfo.value, LimitExceeded | NotEnoughBytes)
    if call in {COUNTED[name] for name in ("read_until", "try_read_until", "receive_batch")}:
        with pytest.raises(ValueError, match="0"):
            await call(reader, 0)
    assert reader.buffered == b"abc"


# Until a delimiter


async def test_a_limit_keeps_everything() -> None:
    """After LimitExceeded all is there: a higher limit reads it, `skip_until` drops it."""
    reader = dripped(b"abcdefgh;rest")
    for _ in range(2):
        with pytest.raises(LimitExceeded) as excinfo:
            await reader.read_until(b";", 4)
        assert (excinfo.value.limit, excinfo.value.arrived) == (4, 4)
    with pytest.raises(LimitExceeded):
        await reader.read_until(b";", 8)  # the delimiter counts
    assert await reader.read_until(b";", 9) == b"abcdefgh;"
    reader.unread(b"abcdefgh;")
    with pytest.raises(LimitExceeded):
        reader.try_read_until(b";", 4)
    assert await reader.skip_until(b";") == 9
    assert await reader.read_to_end(10) == b"rest"


async def test_a_lower_limit_than_was_searched() -> None:
    """A limit below what was searched in vain is exceeded, a higher one goes on."""
    reader = dripped(b"abcdefgh;", 6, 3)
    with pytest.raises(LimitExceeded):
        await reader.read_until(b";", 6)
    with pytest.raises(LimitExceeded):
        await reader.read_until(b";", 2)
    assert await reader.read_until(b";") == b"abcdefgh;"


@pytest.mark.parametrize(
    ("delimiters", "data", "wanted"),
    [
        (b"\r\n", b"a\rb\r\r\nc", b"a\rb\r\r\n"),
        ((b"\r\n.\r\n", b"\n\n"), b"one\r\n.\rtwo\r\n.\r\nx", b"one\r\n.\rtwo\r\n.\r\n"),
        ((b"END", b"\n"), b"ENENDx\n", b"ENEND"),
        ([b"abc", b"b"], b"xabc", b"xab"),  # the one that ends first
        ((b"\n", b"\r\n"), b"x\r\ny", b"x\r\n"),
        (bytearray(b";"), b"a;b", b"a;"),
    ],
)
async def test_delimiters_in_pieces(delimiters, data, wanted) -> None:
    """A delimiter is found wherever it was cut, the first of several; what follows stays."""
    for size in range(1, len(data) + 1):
        reader = dripped(data, max_read_nbytes=size)
        assert await reader.read_until(delimiters) == wanted
        assert await reader.read_to_end(99) == data[len(wanted) :]
        reader = dripped(data, max_read_nbytes=size)
        assert await reader.skip_until(delimiters) == len(wanted)
        assert await reader.read_to_end(99) == data[len(wanted) :]


async def test_an_end_before_the_delimiter() -> None:
    """It is UnexpectedEof: `read_until` leaves all, `skip_until` the beginning of a delimiter."""
    reader = dripped(b"abc\r")
    with pytest.raises(UnexpectedEof):
        await reader.read_until(b"\r\n")
    assert reader.buffered == b"abc\r"
    with pytest.raises(UnexpectedEof):
        await reader.skip_until(b"\r\n")
    assert reader.buffered == b"\r"


@pytest.mark.parametrize("wrong", [b"", (), (b"a", b""), []])
async def test_a_delimiter_is_something(wrong) -> None:
    """An empty delimiter, or none, is a ValueError."""
    reader = await filled(b"abc")
    for call in (reader.read_until, reader.skip_until):
        with pytest.raises(ValueError, match="delimiter"):
            await call(wrong)
    with pytest.raises(ValueError, match="delimiter"):
        reader.try_read_until(wrong)
    assert reader.buffered == b"abc"


# Lines


async def test_the_last_line_needs_no_end() -> None:
    """`read_line` gives it, and then None for ever; `try_read_line` waits for an end."""
    reader = dripped(b"one\n\ntwo")
    assert await reader.read_line() == b"one"
    assert await reader.read_line() == b""
    await reader.peek(4)
    assert reader.try_read_line() is None
    assert await reader.read_line() == b"two"
    assert await reader.read_line() is None
    assert await reader.read_line() is None
    assert await dripped(b"x\n").read_line() == b"x"


async def test_a_line_that_is_too_long() -> None:
    """The limit does not count the end of the line; the line stays, the last one, too."""
    for data in (b"abcd\r\nx", b"abcd"):
        reader = dripped(data)
        for _ in range(2):
            with pytest.raises(LimitExceeded) as excinfo:
                await reader.read_line(3, b"\r\n")
            assert excinfo.value.limit == 3
        assert await reader.read_line(4, b"\r\n") == b"abcd"
    reader = await filled(b"abcd\r\nx")
    with pytest.raises(LimitExceeded):
        reader.try_read_line(3, b"\r\n")
    assert reader.try_read_line(4, b"\r\n") == b"abcd"
    assert await dripped(b"\nx").read_line(0) == b""


async def test_the_end_of_a_line_is_any_buffer() -> None:
    """`newline` may be a bytearray for each of the methods; an empty one is a ValueError."""
    reader = await filled(b"a;b;c;d;")
    assert await reader.read_line(newline=bytearray(b";")) == b"a"
    assert reader.try_read_line(newline=b";") == b"b"
    assert await reader.lines(bytearray(b";")).receive() == b"c"
    assert await reader.text_lines(newline=memoryview(b";")).receive() == "d"
    with pytest.raises(ValueError, match="newline"):
        await reader.read_line(newline=b"")
    with pytest.raises(ValueError, match="newline"):
        reader.try_read_line(newline=b"")
    for make in (reader.lines, lambda newline: reader.text_lines(newline=newline)):
        with pytest.raises(ValueError, match="delimiter"):
            make(b"")


# Back to the source


async def test_the_source_is_given_back() -> None:
    """`into_inner` gives the very source, open, and what was not read; the reader is over."""
    for source in (FakeRead(b"abcdefgh", script=[5]), memory_pair()[0]):
        if not isinstance(source, FakeRead):
            source = trio.testing.memory_stream_one_way_pair()
            await source[0].send_all(b"abcde")
            await source[0].aclose()
            source = source[1]
        async with BufReader(source) as reader:
            assert await reader.read_exactly(2) == b"ab"
            assert reader.inner is source
            inner, rest = reader.into_inner()
            assert inner is source
            assert rest == b"cde"
            for call in (lambda: reader.receive_view(), lambda: reader.read_line()):
                with pytest.raises(trio.ClosedResourceError):
                    await call()
            with pytest.raises(trio.ClosedResourceError):
                reader.into_inner()
            assert reader.buffered_nbytes == 0
        if isinstance(source, FakeRead):  # closing the reader has not closed it
            assert await source.read_to_end(10) == b"fgh"
        else:
            assert await source.receive_some() == b""


async def test_what_cancelled_reads_have_kept_is_given_back() -> None:
    """What an abandoned read had gathered is in the bytes that `into_inner` gives."""
    for read in ("read_to_end", "read_contiguous", "read_exactly", "peek"):
        reader = dripped(b"abcdef", 2, 1, Delay(math.inf))
        with trio.move_on_after(0.01):
            await getattr(reader, read)(100)
        source, rest = reader.into_inner()
        assert rest == b"abc", read
        await source.aclose()


async def test_from_trio_is_the_way_in() -> None:
    """A trio stream is read as `from_trio` would, so an adapter of it gives the same."""
    send, receive = trio.testing.memory_stream_one_way_pair()
    await send.send_all(b"abc\n")
    adapter = from_trio(receive)
    reader = BufReader(adapter)
    assert await reader.read_line() == b"abc"
    assert reader.into_inner()[0] is adapter


# One task at a time, and closed

READS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "fill_buf": lambda reader: reader.fill_buf(),
    "peek": lambda reader: reader.peek(1),
    "peek of nothing": lambda reader: reader.peek(0),
    "read_exactly": lambda reader: reader.read_exactly(1),
    "read_until": lambda reader: reader.read_until(b"\n"),
    "skip_until": lambda reader: reader.skip_until(b"\n"),
    "read_line": lambda reader: reader.read_line(),
    "receive": lambda reader: reader.lines().receive(),
    "receive_batch": lambda reader: reader.lines().receive_batch(),
    "skip": lambda reader: reader.lines().skip(),
    "a step of lines": lambda reader: anext(reader.lines(), None),
    "a step of text_lines": lambda reader: anext(reader.text_lines(), None),
    "a step of batches": lambda reader: anext(reader.lines().batches(), None),
    "a step of views": lambda reader: anext(reader.views(), None),
    "a step of chunks": lambda reader: anext(reader.chunks(1), None),
    "receive_some": lambda reader: reader.receive_some(),
    "read_more_into": lambda reader: reader.read_more_into(BytesBuf()),
}
NOW: dict[str, Callable[[Any], object]] = {
    "discard": lambda reader: reader.discard(0),
    "unread": lambda reader: reader.unread(b"x"),
    "try_read_exactly": lambda reader: reader.try_read_exactly(1),
    "try_read_until": lambda reader: reader.try_read_until(b"\n"),
    "try_read_line": lambda reader: reader.try_read_line(),
    "try_receive": lambda reader: reader.lines().try_receive(),
    "into_inner": lambda reader: reader.into_inner(),
}


async def test_while_one_task_reads_no_other_does() -> None:
    """Every other read, one that never waits too, raises BusyResourceError; `seek` as well."""
    for first in READS.values():
        reader = BufReader(FakeRead(b"x\n", script=[Delay(10), 1, Delay(math.inf)]))
        if first is READS["peek of nothing"]:
            continue
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first, reader)
            await trio.testing.wait_all_tasks_blocked()
            for call in READS.values():
                with pytest.raises(trio.BusyResourceError):
                    await call(reader)
            for now in NOW.values():
                with pytest.raises(trio.BusyResourceError):
                    now(reader)
            with pytest.raises(trio.BusyResourceError):
                await reader.seek(0)
            assert reader.buffered == b""
            nursery.cancel_scope.cancel()
        reader.unread(b"free again\n")
        assert await reader.read_line() == b"free again"


async def test_a_closed_reader_is_closed() -> None:
    """Every read of a closed reader raises ClosedResourceError, though bytes were there."""
    reader = await filled(b"abc\n")
    await reader.aclose()
    for call in READS.values():
        with pytest.raises(trio.ClosedResourceError), trio.testing.assert_checkpoints():
            await call(reader)
    for now in NOW.values():
        with pytest.raises(trio.ClosedResourceError):
            now(reader)
    with pytest.raises(trio.ClosedResourceError):
        await reader.seek(0)
    assert reader.buffered_nbytes == 0


@pytest.mark.parametrize("name", [name for name in READS if name != "peek of nothing"])
async def test_who_waits_is_woken_by_closing(name) -> None:
    """A task that waits gets ClosedResourceError when another closes, over whatever source."""
    ours, theirs = await socketpair()
    for source in (Pending(), trio.testing.memory_stream_one_way_pair()[1], ours):
        reader = BufReader(source)

        async def wait(reader: Any = reader) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await READS[name](reader)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await reader.aclose()
    await theirs.aclose()


@pytest.mark.parametrize("name", READS)
async def test_every_read_is_a_checkpoint(name) -> None:
    """Of what is buffered, of what has to be received, and of the end, where that returns."""
    for reader in (await filled(b"abc\nx"), dripped(b"abc\nx"), dripped(b"abc")):
        with trio.testing.assert_checkpoints(), contextlib.suppress(UnexpectedEof):
            await READS[name](reader)
    reader = await filled(b"a")
    reader.discard(1)
    gone = (UnexpectedEof, trio.EndOfChannel)
    with trio.testing.assert_checkpoints(), contextlib.suppress(*gone):
        await READS[name](reader)
    with trio.testing.assert_checkpoints():
        await reader.aclose()


@pytest.mark.parametrize("name", READS)
async def test_a_cancelled_read_takes_nothing_that_is_buffered(name) -> None:
    """Cancelled before it begins, a read of buffered bytes leaves them all."""
    reader = await filled(b"abc\nxyz")
    with trio.CancelScope() as scope:
        scope.cancel()
        await READS[name](reader)
    assert scope.cancelled_caught
    assert reader.buffered == b"abc\nxyz"


# In files


@pytest.fixture
async def file(tmp_path):
    """A reader of the letters, in a file."""
    path = tmp_path / "letters"
    path.write_bytes(b"abcdefghijklmnopqrstuvwxyz")
    async with BufReader(await open_binary_file(path), read_ahead_nbytes=10) as reader:
        yield reader


async def test_reading_on_elsewhere(file) -> None:
    """`seek` counts from the start, from the next byte to be read, and from the end."""
    assert file.tell() == 0
    assert await file.read_exactly(3) == b"abc"
    assert file.tell() == 3
    assert await file.seek(2, io.SEEK_CUR) == file.tell() == 5
    assert await file.read_exactly(1) == b"f"
    assert await file.seek(-1, io.SEEK_CUR) == 5
    assert await file.read_exactly(1) == b"f"
    assert await file.seek(-2, io.SEEK_END) == 24
    assert await file.read_exactly(2) == b"yz"
    assert await file.fill_buf() == b""
    assert await file.seek(1) == 1
    assert await file.read_until(b"d") == b"bcd"
    assert await file.seek(100) == 100
    assert await file.receive_view() == b""


async def test_what_was_kept_or_unread_counts_for_the_place(file) -> None:
    """`tell` is the place of the next byte to be read, whatever was read, and unread."""
    with pytest.raises(LimitExceeded):
        await file.read_to_end(5)
    assert file.tell() == 0
    assert await file.read_contiguous(4) == b"abcd"
    assert file.tell() == 4
    file.unread(b"cd")
    assert file.tell() == 2
    assert await file.seek(0, io.SEEK_CUR) == 2
    assert await file.read_exactly(3) == b"cde"


async def test_a_wrong_place_changes_nothing(file) -> None:
    """A place before the beginning, a wrong `whence`, no integer: refused, and nothing is lost."""
    assert await file.read_exactly(3) == b"abc"
    for offset, whence in ((-1, 0), (-4, 1), (-27, 2), (0, 3), (0, -1)):
        with pytest.raises(ValueError):  # the file's own words, and ours
            await file.seek(offset, whence)
    for wrong in ("1", 1.0, None):
        with pytest.raises(TypeError):
            await file.seek(wrong)
    assert file.tell() == 3
    assert await file.read_exactly(3) == b"def"


async def test_seeking_is_a_checkpoint_and_can_be_cancelled(file) -> None:
    """Cancelled, it is where it was."""
    await file.read_exactly(3)
    for whence in (io.SEEK_SET, io.SEEK_CUR, io.SEEK_END):
        with trio.CancelScope() as scope:
            scope.cancel()
            await file.seek(0, whence)
        assert scope.cancelled_caught
        assert file.tell() == 3
        with trio.testing.assert_checkpoints():
            await file.seek(3, io.SEEK_SET)


async def test_a_stream_has_no_places() -> None:
    """Over what is no file `seek` and `tell` are unsupported."""
    reader = await filled(b"abc")
    with pytest.raises(io.UnsupportedOperation):
        await reader.seek(0)
    with pytest.raises(io.UnsupportedOperation):
        reader.tell()
    assert reader.buffered == b"abc"


async def test_a_buffered_reader_says_what_it_has() -> None:
    """Its `repr` says how much is buffered, and over what."""
    assert repr(await filled(b"abc")) == "<BufReader of 3 bytes, over <FakeRead with 0 bytes left>>"


@pytest.mark.counts_memory
async def test_over_a_socket_much_comes_at_once() -> None:
    """Ten thousand lines that a socket has at hand come with few receives."""
    ours, theirs = await socketpair()
    big_buffers(theirs)
    async with BufReader(ours) as reader, theirs:
        await theirs.send_all(b"a line of text\n" * 10_000)
        for _ in range(10_000):
            assert await reader.read_line() == b"a line of text"
        assert ours.statistics().receive_calls <= 8


@pytest.mark.counts_memory
@pytest.mark.parametrize("way", ["receive_some", "receive_view"])
async def test_little_reads_are_no_receive_each(way):
    """By trio's method as by ours, a hundred bytes one by one are one call of the source."""
    ours, theirs = await socketpair()
    async with closing(ours, theirs):
        await theirs.send_all(bytes(100))
        reader = BufReader(ours)
        for _ in range(100):
            assert bytes(await getattr(reader, way)(1)) == b"\0"
        assert ours.statistics().receive_calls == 1
