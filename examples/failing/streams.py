"""Sockets and pipes: every way of reading and of writing."""

import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator

import trio

from trio_bytesbuf import BytesBuf, BytesView, FdStream, SocketStream
from trio_bytesbuf.io import ReadInspectDecision
from trio_bytesbuf.testing import FailureAttempt, HookCalls, check_laws

from .place import (
    INCOMING,
    OUTGOING,
    WANTED_NBYTES,
    Case,
    Operation,
    Place,
    Planted,
    collect,
    delivered,
    rest_of,
)

OUTGOING_PARTS = [OUTGOING[at : at + 18_000] for at in range(0, 90_000, 18_000)]
FOR_READS = ("busy", "short", "reset reads", "memory")
FOR_WRITES = ("busy", "short", "reset writes")


@contextlib.asynccontextmanager
async def sockets(calls: HookCalls) -> AsyncIterator[Place]:
    """Connect two streams."""
    it = Place(calls)
    ours, theirs = trio.socket.socketpair()
    async with SocketStream(ours, memory=it.memory) as it.stream, SocketStream(theirs) as it.peer:
        yield it
    it.stream = it.peer = None
    it.nothing_is_lent()


@contextlib.asynccontextmanager
async def pipe_to_read(calls: HookCalls) -> AsyncIterator[Place]:
    """Make a pipe that is read from."""
    it = Place(calls)
    reading, writing = os.pipe()
    async with FdStream(reading, memory=it.memory) as it.stream, FdStream(writing) as it.peer:
        yield it
    it.nothing_is_lent()


@contextlib.asynccontextmanager
async def pipe_to_write(calls: HookCalls) -> AsyncIterator[Place]:
    """Make a pipe that is written to."""
    it = Place(calls)
    reading, writing = os.pipe()
    async with FdStream(reading) as it.peer, FdStream(writing, memory=it.memory) as it.stream:
        yield it
    it.nothing_is_lent()


async def no_byte_is_lost(it: Place, attempt: FailureAttempt) -> str:
    """Check that what was returned, what is in the builder and the rest are what was sent."""
    check_laws(it.buf)
    got = delivered(it.got) + delivered(attempt.result) + bytes(it.buf.peek())
    rest, is_broken = await rest_of(it.stream)
    assert INCOMING.startswith(got + rest)
    assert is_broken or got + rest == INCOMING
    await it.stream.aclose()
    try:
        await it.stream.receive_view()
    except trio.ClosedResourceError:
        pass
    else:
        raise AssertionError("it was closed, and read from")
    if is_broken:
        return "broken"
    return "resumed" if attempt.error is not None else ""


async def a_prefix_was_sent(it: Place, attempt: FailureAttempt) -> str:
    """Check that the peer got all, or a prefix of a stream that stays broken."""
    became = ""
    if attempt.error is not None and not isinstance(attempt.error, trio.BrokenResourceError):
        assert isinstance(attempt.error, (MemoryError, Planted)), repr(attempt.error)
        try:
            await it.stream.send_all(b"")
            became = "nothing was sent"
        except trio.BrokenResourceError:
            became = "broken"
    elif attempt.error is not None and "EPIPE" not in attempt.failed:
        try:
            await it.stream.send_all(b"a gap before this")
        except trio.BrokenResourceError:
            became = "broken"
        else:
            raise AssertionError("what could not be sent in whole is gone on with")
    await it.stream.aclose()
    await it.is_over.wait()
    if attempt.error is None:
        assert it.taken == OUTGOING
    assert OUTGOING.startswith(it.taken)
    assert not became.startswith("nothing") or not it.taken
    return became


def enough(it: Place) -> Callable[[BytesView], ReadInspectDecision]:
    """Return an inspector that says when enough has arrived; one of its calls fails."""

    def inspect(view: BytesView) -> ReadInspectDecision:
        if len(view) < WANTED_NBYTES:
            return ReadInspectDecision.continue_read()
        return ReadInspectDecision.complete(WANTED_NBYTES)

    return it.calls.wrap(inspect)


async def read_while(it: Place) -> None:
    """Read until there is enough."""
    view, it.buf = await it.stream.read_at_most_while(len(INCOMING), enough(it))
    it.got.append(view)


READING: dict[str, Operation] = {
    "receive_view": lambda it: it.stream.receive_view(),
    "receive_some": lambda it: it.stream.receive_some(),
    "read_at_most": lambda it: it.stream.read_at_most(40_000),
    "read_at_most_into": lambda it: it.stream.read_at_most_into(40_000, it.buf),
    "read_more_into": lambda it: it.stream.read_more_into(it.buf),
    "read_any": lambda it: it.stream.read_any(),
    "read_exactly": lambda it: it.stream.read_exactly(WANTED_NBYTES),
    "read_contiguous": lambda it: it.stream.read_contiguous(WANTED_NBYTES),
    "read_exactly_into": lambda it: it.stream.read_exactly_into(WANTED_NBYTES, it.buf),
    "read_to_end": lambda it: it.stream.read_to_end(len(INCOMING)),
    "read_at_most_while": read_while,
    "read_at_most_into_while": lambda it: it.stream.read_at_most_into_while(
        len(INCOMING), it.buf, enough(it)
    ),
    "views": lambda it: collect(it, it.stream.views()),
    "chunks": lambda it: collect(it, it.stream.chunks(7000)),
    "chunks in batches": lambda it: collect(it, it.stream.chunks(7000).batches()),
}


def parts_of(data: bytes) -> BytesView:
    """Return a view of many pieces, some of them small."""
    cuts = [0, 10, 2000, 2100, 40_000, 40_001, len(data)]
    return BytesView.from_views([BytesView(data[a:b]) for a, b in itertools.pairwise(cuts)])


def fill(it: Place) -> Callable[[BytesBuf], object]:
    """Return a function that fills a builder with all that is to be sent; its call fails."""

    def put(buf: BytesBuf) -> None:
        buf.put_slice(OUTGOING)

    return it.calls.wrap(put)


WRITING: dict[str, Operation] = {
    "write_view": lambda it: it.stream.write_view(BytesView(OUTGOING)),
    "write_view of pieces": lambda it: it.stream.write_view(parts_of(OUTGOING)),
    "write_parts": lambda it: it.stream.write_parts(OUTGOING_PARTS),
    "send_all": lambda it: it.stream.send_all(bytearray(OUTGOING)),
    "prepare_and_write": lambda it: it.stream.prepare_and_write(len(OUTGOING), fill(it)),
}


def cases() -> Iterator[Case]:
    """Yield the operations of sockets and pipes."""
    for name, operation in READING.items():
        hooks = ("hook",) if "while" in name else ()
        for room, subject in (("socket", sockets), ("pipe", pipe_to_read)):
            fails = FOR_READS + hooks
            yield Case(room, name, subject, operation, no_byte_is_lost, Place.send_incoming, fails)
    for name, operation in WRITING.items():
        more = ("memory", "hook") if name == "prepare_and_write" else ()
        for room, subject in (("socket", sockets), ("pipe", pipe_to_write)):
            fails = FOR_WRITES + more
            yield Case(room, name, subject, operation, a_prefix_was_sent, Place.take_all, fails)
