"""Let every system call, request for memory and hook of each operation fail, one at a time; count.

    python examples/failure_table.py

After each failure the rest is read, or the peer's part of it looked at: what can be gone on with is
gone on with, and gives exactly the bytes that are missing; what cannot be is broken, and says so
again; closing works; no descriptor is left open and no memory lent. Set TRIO_BYTESBUF_LONG=1 for
short reads and writes of many more lengths.
"""

import contextlib
import errno
import gc
import hashlib
import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import trio

from trio_bytesbuf import (
    BufStream,
    BytesBuf,
    BytesView,
    FdStream,
    GlobalPool,
    SocketStream,
    open_binary_file,
    relay,
    send_file,
)
from trio_bytesbuf.buffered import Extent, Framing, ReceiveBuffer, open_shared_writer
from trio_bytesbuf.io import ReadInspectDecision
from trio_bytesbuf.testing import (
    READS,
    WRITES,
    FailingMemory,
    FailureAttempt,
    FailureTable,
    Fault,
    HookCalls,
    SystemCalls,
    check_laws,
    fail_at_each_call,
)
from trio_bytesbuf.wire import TypedReceiveChannel, TypedSendChannel

IS_LONG = bool(os.environ.get("TRIO_BYTESBUF_LONG"))

INCOMING = hashlib.shake_128(b"in").digest(120_000)
WANTED_NBYTES = 50_000
OUTGOING = hashlib.shake_128(b"out").digest(90_000)
OUTGOING_PARTS = [OUTGOING[at : at + 18_000] for at in range(0, 90_000, 18_000)]
LINES = [bytes([65 + n % 26]) * (n * 7 % 900) for n in range(150)]
VALUES = ["x" * (n * 13 % 300) for n in range(120)] + ["large" * 8000, "the last"]
LENGTHS = (
    [1, 2, 3, 100, 1023, 1024, 1025, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537]
    if IS_LONG
    else [1, 4097]
)


class Planted(Exception):
    """What hooks raise here."""


@attrs.define(eq=False)
class Place:
    """What an operation works with, and what has become of the bytes."""

    calls: HookCalls
    pool: GlobalPool = attrs.field(factory=GlobalPool)
    stream: Any = None
    peer: Any = None
    buf: BytesBuf = attrs.field(factory=BytesBuf)
    got: list[Any] = attrs.field(factory=list)
    taken: bytearray = attrs.field(factory=bytearray)
    is_over: trio.Event = attrs.field(factory=trio.Event)
    path: str = ""
    more: list[Any] = attrs.field(factory=list)

    @property
    def contents(self) -> bytes:
        """What is in the file."""
        return Path(self.path).read_bytes()

    @contents.setter
    def contents(self, data: bytes) -> None:
        Path(self.path).write_bytes(data)

    @property
    def memory(self) -> FailingMemory:
        """Memory that fails when it is its turn."""
        return FailingMemory(self.pool, self.calls)

    async def send_incoming(self) -> None:
        """Be a peer that sends what there is to be read, and the end."""
        with contextlib.suppress(trio.BrokenResourceError):
            await self.peer.send_all(INCOMING)
            await self.end()

    async def end(self) -> None:
        """Send the end."""
        if isinstance(self.peer, SocketStream):
            await self.peer.send_eof()
        else:
            await self.peer.aclose()

    async def take_all(self) -> None:
        """Be a peer that takes everything."""
        with contextlib.suppress(trio.BrokenResourceError):  # closed with bytes unread
            async for view in self.peer.views():
                self.taken += view.to_bytes()
        self.is_over.set()

    def nothing_is_lent(self) -> None:
        """Check that the memory is at home, and its laws hold."""
        self.got.clear()
        self.buf = BytesBuf()
        check_laws(self.pool)
        if self.pool.statistics().lent_nbytes:
            gc.collect()
            assert not self.pool.statistics().lent_nbytes


Operation = Callable[[Place], Awaitable[object]]
Check = Callable[[Place, FailureAttempt], Awaitable[str]]
Subject = Callable[[HookCalls], contextlib.AbstractAsyncContextManager[Place]]

# Streams


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


@contextlib.asynccontextmanager
async def buffered(calls: HookCalls) -> AsyncIterator[Place]:
    """Connect two streams, the first of which is buffered."""
    async with sockets(calls) as it:
        inner = it.stream
        it.stream = BufStream(inner)
        yield it
        check_laws(it.stream)
        await trio.aclose_forcefully(it.stream)
        it.stream = None


def delivered(result: object) -> bytes:
    """Return the bytes in what an operation returned."""
    match result:
        case BytesBuf():
            return bytes(result.peek())
        case list():
            return b"".join(map(delivered, result))
        case bytes() | BytesView():
            return bytes(result)
    return b""


async def rest_of(stream: Any) -> tuple[bytes, bool]:
    """Return what else arrives, and whether the stream then is broken; it says so twice."""
    rest: list[bytes] = []
    for _ in range(1000):
        try:
            view = await stream.receive_view()
        except trio.BrokenResourceError:
            try:
                again = await stream.receive_view()
            except trio.BrokenResourceError:
                return b"".join(rest), True
            raise AssertionError(f"a broken stream went on with {again!r}") from None
        if not view:
            break
        rest.append(bytes(view))
    return b"".join(rest), False


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


async def collect(it: Place, steps: AsyncIterator[Any]) -> None:
    """Take everything, step by step."""
    async for item in steps:
        it.got.append(item)


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

# Buffered


async def write_and_flush(it: Place) -> None:
    """Write in parts, small and large ones, and flush now and then."""
    for at in range(0, len(OUTGOING), 9000):
        it.stream.write(OUTGOING[at : at + 700])
        it.stream.write(OUTGOING[at + 700 : at + 9000])
        await it.stream.drain()
    await it.stream.flush()


async def sent_or_unsent(it: Place, attempt: FailureAttempt) -> str:
    """Check that the peer has what was written, but for what the writer shows as unsent."""
    check_laws(it.stream)
    unsent = bytes(it.stream.unsent)
    await trio.aclose_forcefully(it.stream)
    await it.is_over.wait()
    whole = bytes(it.taken) + unsent
    assert OUTGOING.startswith(whole)
    assert attempt.error is not None or whole == OUTGOING == it.taken
    return "" if attempt.error is None else "sent and unsent are what was written"


async def lines_are_whole(it: Place, attempt: FailureAttempt) -> str:
    """Check that the lines that came, and those that are still to come, are all lines."""
    check_laws(it.stream)
    broken = False
    channel = it.more[0]
    while True:
        try:
            it.got += await channel.receive_batch()
        except trio.EndOfChannel:
            break
        except trio.BrokenResourceError:
            broken = True
            break
    assert it.got == LINES[: len(it.got)]
    if broken:
        return "broken"
    assert it.got == LINES
    return "resumed" if attempt.error is not None else ""


async def send_lines(it: Place) -> None:
    """Be a peer that sends lines, and the end."""
    with contextlib.suppress(trio.BrokenResourceError):
        await it.peer.send_all(b"".join(line + b"\n" for line in LINES))
        await it.peer.send_eof()


class Section(Framing):
    """Lines, by a framing of one's own, one of whose calls fails."""

    def __init__(self, calls: HookCalls) -> None:
        self._measure = calls.wrap(self._where)

    @staticmethod
    def _where(buffer: ReceiveBuffer, max_nbytes: int) -> Extent | None:
        found = buffer.find((b"\n",), max_nbytes + 1)
        return None if found is None else Extent(0, found[0] - 1, 1)

    def measure(self, buffer: ReceiveBuffer, max_nbytes: int) -> Extent | None:
        """Look for the end of the line."""
        return self._measure(buffer, max_nbytes)

    def wrap(self, payload: BytesView) -> tuple[bytes, bytes]:  # noqa: ARG002  # not looked at
        """Put an end behind it."""
        return b"", b"\n"


async def read_lines(it: Place) -> None:
    """Read line by line, until there are no more."""
    it.more.append(it.stream.lines())
    async for line in it.more[0]:
        it.got.append(line)


async def read_line_batches(it: Place) -> None:
    """Read lines in batches."""
    it.more.append(it.stream.lines())
    async for batch in it.more[0].batches():
        it.got += batch


async def read_frames(it: Place) -> None:
    """Read frames of a framing of one's own."""
    it.more.append(it.stream.frames(Section(it.calls), bytes))
    async for frame in it.more[0]:
        it.got.append(frame)


async def read_frame_batches(it: Place) -> None:
    """Read frames of a framing of one's own in batches."""
    it.more.append(it.stream.frames(Section(it.calls), bytes))
    async for batch in it.more[0].batches():
        it.got += batch


async def peek_and_skip(it: Place) -> None:
    """Look at what comes, take some of it, until the end."""
    while await it.stream.peek(10_000):
        it.got.append(await it.stream.read_exactly(min(10_000, it.stream.buffered_nbytes)))


FRAMED: dict[str, Operation] = {
    "lines": read_lines,
    "lines in batches": read_line_batches,
    "own frames": read_frames,
    "own frames in batches": read_frame_batches,
}


async def share(it: Place) -> None:
    """Have three tasks write through one shared writer."""
    async with open_shared_writer(it.stream) as writer, trio.open_nursery() as nursery:

        async def write(name: bytes) -> None:
            for n in range(30):
                await writer.send_all(b"%c%02d" % (name, n) + b"." * 3000 + b"\n")

        for name in (b"a", b"b", b"c"):
            nursery.start_soon(write, name)


async def messages_are_whole(it: Place, attempt: FailureAttempt) -> str:
    """Check that each task's messages came in order, whole, but for the last of all."""
    await trio.aclose_forcefully(it.stream)
    await it.is_over.wait()
    *messages, last = bytes(it.taken).split(b"\n")
    for name in b"abc":
        own = [int(message[1:3]) for message in messages if message[0] == name]
        assert own == list(range(len(own)))
        assert attempt.error is not None or len(own) == 30
    assert all(len(message) == 3003 for message in messages)
    assert attempt.error is not None or not last
    return "" if attempt.error is None else "messages whole and in order"


# Typed


async def send_values(it: Place) -> None:
    """Be a peer that sends values."""
    with contextlib.suppress(trio.BrokenResourceError):
        channel = TypedSendChannel(it.peer, str)
        await channel.send_many(VALUES)
        await channel.send_eof()


async def take_values(it: Place) -> None:
    """Be a peer that takes values until there are no more."""
    with contextlib.suppress(trio.BrokenResourceError, EOFError):
        async for batch in TypedReceiveChannel(it.peer, str).batches():
            it.got += batch
    it.is_over.set()


async def receive_values(it: Place) -> None:
    """Receive values one by one."""
    it.more.append(TypedReceiveChannel(it.stream, str))
    async for value in it.more[0]:
        it.got.append(value)


async def receive_value_batches(it: Place) -> None:
    """Receive values in batches."""
    it.more.append(TypedReceiveChannel(it.stream, str))
    async for batch in it.more[0].batches():
        it.got += batch


async def values_are_whole(it: Place, attempt: FailureAttempt) -> str:
    """Check that the values that came, and those that are still to come, are all."""
    check_laws(it.more[0])
    broken = False
    while True:
        try:
            it.got.append(await it.more[0].receive())
        except trio.EndOfChannel:
            break
        except trio.BrokenResourceError:
            broken = True
            break
    assert it.got == VALUES[: len(it.got)]
    if broken:
        return "broken"
    assert it.got == VALUES
    return "resumed" if attempt.error is not None else ""


async def send_many(it: Place) -> None:
    """Send all values at once, and say goodbye."""
    channel = TypedSendChannel(it.stream, str)
    it.more.append(channel)
    await channel.send_many(VALUES[:60])
    for value in VALUES[60:]:
        channel.feed(value)
        await channel.drain()
    await channel.send_eof()


async def values_were_sent(it: Place, attempt: FailureAttempt) -> str:
    """Check that the peer got the first values, whole; all, if nothing was raised."""
    check_laws(it.more[0])
    await trio.aclose_forcefully(it.more[0])
    await it.is_over.wait()
    assert it.got == VALUES[: len(it.got)]
    assert attempt.error is not None or it.got == VALUES
    return "" if attempt.error is None else "the first values, whole"


# Relay


@contextlib.asynccontextmanager
async def relayed(calls: HookCalls) -> AsyncIterator[Place]:
    """Put a relay's two streams between two peers."""
    async with sockets(calls) as it:
        ours, theirs = trio.socket.socketpair()
        async with SocketStream(ours, memory=it.memory) as a, SocketStream(theirs) as b:
            it.more += [a, b]
            yield it
            it.more.clear()


async def talk(it: Place) -> None:
    """Be both peers: each sends something and its end, and takes what comes."""

    async def one(stream: SocketStream, data: bytes, taken: list[Any]) -> None:
        async def send() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(data)
                await stream.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            with contextlib.suppress(trio.BrokenResourceError):
                while view := await stream.receive_view():
                    taken.append(bytes(view))

    there: list[bytes] = []
    back: list[bytes] = []
    it.got += [there, back]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, it.peer, INCOMING, back)
        nursery.start_soon(one, it.more[1], OUTGOING, there)
    it.is_over.set()


async def both_ways(it: Place, attempt: FailureAttempt) -> str:
    """Check that each peer got what the other sent, or the first of it."""
    await it.stream.aclose()
    await it.more[0].aclose()
    await it.is_over.wait()
    there, back = map(b"".join, it.got)
    assert INCOMING.startswith(there)
    assert OUTGOING.startswith(back)
    assert attempt.error is not None or (there, back) == (INCOMING, OUTGOING)
    return "" if attempt.error is None else "the first bytes, both ways"


# Files


@contextlib.asynccontextmanager
async def file_of(calls: HookCalls, contents: bytes, mode: Any) -> AsyncIterator[Place]:
    """Open a file."""
    it = Place(calls)
    with tempfile.TemporaryDirectory() as folder:
        it.path = folder + "/file"
        it.contents = contents
        async with await open_binary_file(it.path, mode, memory=it.memory) as it.stream:
            ours, theirs = trio.socket.socketpair()
            async with SocketStream(theirs) as it.peer, SocketStream(ours) as sink:
                it.more.append(sink)
                yield it
        it.more.clear()
    it.nothing_is_lent()


async def goes_on_in_file(it: Place, attempt: FailureAttempt) -> str:
    """Check that reading goes on where it stopped."""
    got = delivered(it.got) + delivered(attempt.result) + bytes(it.buf.peek())
    assert it.stream.read_offset == len(got)
    got += bytes(await it.stream.read_to_end(len(INCOMING)))
    assert got == INCOMING
    return "resumed" if attempt.error is not None else ""


async def reads_again(it: Place, attempt: FailureAttempt) -> str:
    """Check that a read by offset is right, or can be made again."""
    result = attempt.result
    if attempt.error is not None:
        assert isinstance(attempt.error, (OSError, MemoryError))
        result = await it.stream.read_at(1000, WANTED_NBYTES)
    assert result == INCOMING[1000 : 1000 + WANTED_NBYTES]
    return "resumed" if attempt.error is not None else ""


async def writes_on(it: Place, attempt: FailureAttempt) -> str:
    """Check that what was written is before `write_offset`, and that writing goes on there."""
    written = it.stream.write_offset
    if attempt.error is not None:
        assert isinstance(attempt.error, OSError)
        assert it.contents[:written] == OUTGOING[:written]
        await it.stream.write_view(BytesView(OUTGOING[written:]))
    assert it.contents == OUTGOING
    return "resumed" if attempt.error is not None else ""


async def opens(it: Place) -> None:
    """Open the same file once more, look at it, and close it."""
    async with await open_binary_file(it.path, "r+") as file:
        await file.size()
        await file.write_at(0, BytesView(OUTGOING[:5]))
        await file.sync()


async def opens_again(it: Place, attempt: FailureAttempt) -> str:
    """Check that what failed was an OSError, and that it works then."""
    if attempt.error is not None:
        assert isinstance(attempt.error, OSError), repr(attempt.error)
        await opens(it)
    assert it.contents[:5] == OUTGOING[:5]
    return "resumed" if attempt.error is not None else ""


async def send_the_file(it: Place) -> None:
    """Send a file through a socket, and the end."""
    await send_file(it.more[0], it.stream, 0)


async def the_file_arrived(it: Place, attempt: FailureAttempt) -> str:
    """Check that the peer got all of the file; or a prefix, over a stream that stays broken."""
    became = ""
    sink = it.more[0]
    if isinstance(attempt.error, trio.BrokenResourceError) and "EPIPE" not in attempt.failed:
        try:
            await sink.send_all(b"a gap before this")
        except trio.BrokenResourceError:
            became = "broken"
        else:
            raise AssertionError("what could not be sent in whole is gone on with")
    await sink.aclose()
    await it.is_over.wait()
    assert INCOMING.startswith(it.taken)
    assert attempt.error is not None or it.taken == INCOMING
    return became


# The table


@attrs.frozen
class Case:
    """An operation, what it works with, and what has to hold when something has failed in it."""

    room: str
    name: str
    subject: Subject
    operation: Operation
    check: Check
    peer: Callable[[Place], Awaitable[object]] | None
    fails: tuple[str, ...]
    """The kinds of failures that are tried."""


SENDS = WRITES | {"shutdown"}


def faults(kind: str) -> Iterator[tuple[str, Fault, HookCalls]]:
    """Yield the failures of a kind: a name, what strikes, and what counts the hooks."""
    quiet = HookCalls(MemoryError)
    match kind:
        case "busy":
            yield "EAGAIN, 3 times", SystemCalls(errno.EAGAIN, of=READS | WRITES, times=3), quiet
        case "short":
            for nbytes in LENGTHS:
                name = f"short: {nbytes}"
                yield name, SystemCalls(max_bytes=nbytes), quiet
        case "reset reads":
            for number in (errno.ECONNRESET, errno.ENOBUFS):
                yield errno.errorcode[number], SystemCalls(number, of=READS), quiet
        case "reset writes":
            for number in (errno.ECONNRESET, errno.EPIPE, errno.ENOBUFS):
                yield errno.errorcode[number], SystemCalls(number, of=SENDS), quiet
        case "disk":
            for number in (errno.EIO, errno.ENOSPC):
                of = READS | WRITES | {"fsync", "fstat"}
                yield errno.errorcode[number], SystemCalls(number, of=of), quiet
        case "EMFILE":
            yield "EMFILE", SystemCalls(errno.EMFILE, of=("open", "dup", "accept")), quiet
        case "memory":
            calls = HookCalls(MemoryError)
            yield "MemoryError", calls, calls
        case "hook":
            calls = HookCalls(lambda: Planted("planted"))
            yield "a hook raises", calls, calls


def cases() -> Iterator[Case]:
    """Yield all operations."""
    for_reads = ("busy", "short", "reset reads", "memory")
    for name, operation in READING.items():
        hooks = ("hook",) if "while" in name else ()
        for room, subject in (("socket", sockets), ("pipe", pipe_to_read), ("buffered", buffered)):
            yield Case(
                room,
                name,
                subject,
                operation,
                no_byte_is_lost,
                Place.send_incoming,
                for_reads + hooks,
            )
    for_writes = ("busy", "short", "reset writes")
    for name, operation in WRITING.items():
        more = ("memory", "hook") if name == "prepare_and_write" else ()
        for room, subject in (("socket", sockets), ("pipe", pipe_to_write)):
            yield Case(
                room, name, subject, operation, a_prefix_was_sent, Place.take_all, for_writes + more
            )
    yield Case(
        "buffered",
        "write, drain, flush",
        buffered,
        write_and_flush,
        sent_or_unsent,
        Place.take_all,
        for_writes,
    )
    yield Case(
        "buffered",
        "peek",
        buffered,
        peek_and_skip,
        no_byte_is_lost,
        Place.send_incoming,
        for_reads,
    )
    for name, operation in FRAMED.items():
        hooks = ("hook",) if "own" in name else ()
        yield Case(
            "buffered", name, buffered, operation, lines_are_whole, send_lines, for_reads + hooks
        )
    yield Case(
        "shared writer",
        "send_all, 3 tasks",
        sockets,
        share,
        messages_are_whole,
        Place.take_all,
        for_writes,
    )
    for name, operation in (
        ("receive", receive_values),
        ("receive_batch", receive_value_batches),
    ):
        yield Case("typed", name, sockets, operation, values_are_whole, send_values, for_reads)
    yield Case(
        "typed",
        "send_many, feed, eof",
        sockets,
        send_many,
        values_were_sent,
        take_values,
        for_writes,
    )
    yield Case(
        "relay",
        "relay",
        relayed,
        lambda it: relay(it.stream, it.more[0]),
        both_ways,
        talk,
        ("busy", "short", "reset reads", "reset writes", "memory"),
    )
    yield from file_cases()


def file_cases() -> Iterator[Case]:
    """Yield the operations of files."""

    def to_read(calls: HookCalls) -> contextlib.AbstractAsyncContextManager[Place]:
        return file_of(calls, INCOMING, "r+")

    def to_write(calls: HookCalls) -> contextlib.AbstractAsyncContextManager[Place]:
        return file_of(calls, b"", "r+")

    def to_append(calls: HookCalls) -> contextlib.AbstractAsyncContextManager[Place]:
        return file_of(calls, b"", "a")

    for name in ("receive_view", "read_exactly", "read_to_end", "chunks", "read_exactly_into"):
        yield Case(
            "file",
            name,
            to_read,
            READING[name],
            goes_on_in_file,
            None,
            ("busy", "short", "disk", "memory"),
        )
    yield Case(
        "file",
        "read_at",
        to_read,
        lambda it: it.stream.read_at(1000, WANTED_NBYTES),
        reads_again,
        None,
        ("busy", "short", "disk", "memory"),
    )
    for name, subject in (("write_view", to_write), ("append", to_append)):
        yield Case(
            "file",
            name,
            subject,
            WRITING["write_view of pieces"],
            writes_on,
            None,
            ("short", "disk"),
        )
    yield Case("file", "open, size, sync", to_read, opens, opens_again, None, ("disk", "EMFILE"))
    yield Case(
        "file",
        "send_file",
        to_read,
        send_the_file,
        the_file_arrived,
        Place.take_all,
        ("busy", "short", "reset writes", "disk", "EMFILE"),
    )


async def table_of(case: Case, fault: Fault, calls: HookCalls) -> FailureTable | None:
    """Let one kind of failure happen at each call of an operation; None if it has no such call."""
    try:
        return await fail_at_each_call(
            lambda: case.subject(calls), case.operation, fault, check=case.check, peer=case.peer
        )
    except AssertionError as exc:
        if not str(exc).startswith("nothing failed"):
            raise
        return None


async def main() -> None:
    """Try everything."""
    line = "{:<14}{:<25}{:<17}{:>5}  {}".format
    print(line("room", "operation", "failure", "runs", "outcomes"))
    total = 0
    for case in cases():
        for kind in case.fails:
            for name, fault, calls in faults(kind):
                table = await table_of(case, fault, calls)
                if table is not None:
                    outcomes = ", ".join(f"{n} {what}" for what, n in table.outcomes.most_common())
                    total += table.failed
                    print(line(case.room, case.name, name, table.failed, outcomes))
    print(f"{total} failures")


if __name__ == "__main__":
    trio.run(main)
