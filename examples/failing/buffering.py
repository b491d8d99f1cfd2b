"""Buffered streams: reading, writing, lines, frames, and a writer that several tasks share."""

import contextlib
from collections.abc import AsyncIterator, Iterator

import trio

from trio_bytesbuf import BufStream, BytesView
from trio_bytesbuf.buffered import Extent, Framing, ReceiveBuffer, open_shared_writer
from trio_bytesbuf.testing import FailureAttempt, HookCalls, check_laws

from .place import OUTGOING, Case, Operation, Place
from .streams import FOR_READS, FOR_WRITES, READING, no_byte_is_lost, sockets

LINES = [bytes([65 + n % 26]) * (n * 7 % 900) for n in range(150)]


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
        await it.end()


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


def cases() -> Iterator[Case]:
    """Yield the operations of buffered streams and of the shared writer."""
    for name, operation in {**READING, "peek": peek_and_skip}.items():
        fails = (*FOR_READS, "hook") if "while" in name else FOR_READS
        yield Case(
            "buffered", name, buffered, operation, no_byte_is_lost, Place.send_incoming, fails
        )
    name, operation = "write, drain, flush", write_and_flush
    yield Case("buffered", name, buffered, operation, sent_or_unsent, Place.take_all, FOR_WRITES)
    for name, operation in FRAMED.items():
        fails = (*FOR_READS, "hook") if "own" in name else FOR_READS
        yield Case("buffered", name, buffered, operation, lines_are_whole, send_lines, fails)
    name = "send_all, 3 tasks"
    yield Case(
        "shared writer", name, sockets, share, messages_are_whole, Place.take_all, FOR_WRITES
    )
