"""Files, and sending one through a socket."""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import Any

import trio

from trio_bytesbuf import BytesView, SocketStream, open_binary_file, send_file
from trio_bytesbuf.testing import FailureAttempt, HookCalls

from .place import INCOMING, OUTGOING, WANTED_NBYTES, Case, Place, delivered
from .streams import READING, WRITING


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


def cases() -> Iterator[Case]:
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
