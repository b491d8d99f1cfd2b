"""Cancel every method of a stream at every moment at which it can be cancelled, and count.

    python examples/cancellation_table.py

Over TCP on the loopback. After each attempt the rest is read, or the peer's part of it looked at:
no byte is lost, none comes twice, and of a write the peer has got a prefix. What a stream promises
in a word (*atomic*, *resumable*, *spoils*) is what is proved here. One of the tables that the sums
are made of is printed in full.
"""

import contextlib
import hashlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import attrs
import trio
import trio.testing

from trio_bytesbuf import BytesBuf, BytesView, SocketStream
from trio_bytesbuf.io import ReadInspectDecision
from trio_bytesbuf.testing import (
    Attempt,
    CancellationTable,
    cancel_at_each_checkpoint,
    cancel_atomic_at_each_checkpoint,
)

INCOMING = hashlib.shake_128(b"in").digest(25)  # in five parts, each of which is waited for
PART_NBYTES = 5
WANTED_NBYTES = 13
OUTGOING = hashlib.shake_128(b"out").digest(1_500_000)  # more than the buffers of the sockets hold
BUFFER_NBYTES = 150_000
TAKEN_NBYTES = 300_000


@attrs.define(eq=False)
class Connection:
    """A stream that is tried, its peer, and what has arrived where."""

    stream: SocketStream
    peer: SocketStream
    buf: BytesBuf = attrs.field(factory=BytesBuf)
    taken: bytearray = attrs.field(factory=bytearray)
    is_over: trio.Event = attrs.field(factory=trio.Event)

    def received_nbytes(self) -> int:
        """Return how much the stream has received."""
        return self.stream.statistics().received_nbytes

    def sent_nbytes(self) -> int:
        """Return how much the stream has sent."""
        return self.stream.statistics().sent_nbytes

    async def send_in_parts(self) -> None:
        """Be a peer that sends a part each time that it is waited for."""
        for at in range(0, len(INCOMING), PART_NBYTES):
            await trio.testing.wait_all_tasks_blocked()
            await self.peer.send_all(INCOMING[at : at + PART_NBYTES])
        await self.peer.send_eof()

    async def take_in_parts(self) -> None:
        """Be a peer that takes a part each time that it is waited for."""
        while True:
            await trio.testing.wait_all_tasks_blocked()
            data = await self.peer.receive_some(TAKEN_NBYTES)
            if not data:
                break
            self.taken += data
        self.is_over.set()

    async def no_byte_is_lost_or_repeated(self, attempt: Attempt) -> None:
        """Check that what was returned, what is in the builder and the rest are what was sent."""
        got = b""
        match attempt.result:
            case bytes() | BytesView():
                got = bytes(attempt.result)
            case BytesBuf():
                got = bytes(attempt.result.peek())
            case list():
                got = b"".join(map(bytes, attempt.result))
        got += bytes(self.buf.peek())
        assert got + bytes(await self.stream.read_to_end(len(INCOMING))) == INCOMING

    async def a_prefix_arrived(self, attempt: Attempt) -> None:
        """Check that the stream can be closed, and that what the peer got is a prefix, or all."""
        await self.stream.aclose()
        await self.is_over.wait()
        assert self.taken == OUTGOING[: attempt.progress]
        assert attempt.was_cancelled or self.taken == OUTGOING


@contextlib.asynccontextmanager
async def connection() -> AsyncIterator[Connection]:
    """Connect two streams over TCP."""
    with trio.socket.socket() as listening:
        await listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        client = trio.socket.socket()
        await client.connect(listening.getsockname())
        server, _ = await listening.accept()
    for each in (client, server):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_NBYTES)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_NBYTES)
    async with SocketStream(client) as ours, SocketStream(server) as theirs:
        yield Connection(ours, theirs)


def enough(view: BytesView) -> ReadInspectDecision:
    """Say whether enough has arrived, and take none of it out of the builder."""
    if len(view) < WANTED_NBYTES:
        return ReadInspectDecision.continue_read()
    return ReadInspectDecision.complete(0)


async def read_while(it: Connection) -> None:
    """Read until there is enough; what has arrived by then is the caller's."""
    _, it.buf = await it.stream.read_at_most_while(len(INCOMING), enough)


Operation = Callable[[Connection], Awaitable[object]]

ATOMIC: dict[str, Operation] = {
    "receive_view": lambda it: it.stream.receive_view(),
    "receive_some": lambda it: it.stream.receive_some(),
    "read_at_most": lambda it: it.stream.read_at_most(3),
    "read_at_most_into": lambda it: it.stream.read_at_most_into(3, it.buf),
    "read_more_into": lambda it: it.stream.read_more_into(it.buf),
    "read_any": lambda it: it.stream.read_any(),
    "a step of views": lambda it: anext(it.stream.views()),
    "a step of views' batches": lambda it: anext(it.stream.views(2).batches()),
}
RESUMABLE: dict[str, Operation] = {
    "read_exactly": lambda it: it.stream.read_exactly(WANTED_NBYTES),
    "read_contiguous": lambda it: it.stream.read_contiguous(WANTED_NBYTES),
    "read_exactly_into": lambda it: it.stream.read_exactly_into(WANTED_NBYTES, it.buf),
    "read_to_end": lambda it: it.stream.read_to_end(len(INCOMING)),
    "read_at_most_while": read_while,
    "read_at_most_into_while": lambda it: it.stream.read_at_most_into_while(
        len(INCOMING), it.buf, enough
    ),
    "a step of chunks": lambda it: anext(it.stream.chunks(WANTED_NBYTES)),
    "a step of chunks' batches": lambda it: anext(it.stream.chunks(WANTED_NBYTES).batches()),
}
SPOILS: dict[str, Operation] = {
    "write_view": lambda it: it.stream.write_view(BytesView(OUTGOING)),
    "write_parts": lambda it: it.stream.write_parts([BytesView(OUTGOING)]),
    "prepare_and_write": lambda it: it.stream.prepare_and_write(
        len(OUTGOING), lambda buf: buf.put_slice(OUTGOING)
    ),
    "send_all": lambda it: it.stream.send_all(OUTGOING),
}


async def read_table(name: str) -> CancellationTable:
    """Try one of the reads."""
    if name in ATOMIC:
        return await cancel_atomic_at_each_checkpoint(
            connection,
            ATOMIC[name],
            peer=Connection.send_in_parts,
            progress=Connection.received_nbytes,
            check=Connection.no_byte_is_lost_or_repeated,
        )
    return await cancel_at_each_checkpoint(
        connection,
        RESUMABLE[name],
        peer=Connection.send_in_parts,
        progress=Connection.received_nbytes,
        check=Connection.no_byte_is_lost_or_repeated,
    )


async def write_table(name: str) -> CancellationTable:
    """Try one of the writes."""
    return await cancel_at_each_checkpoint(
        connection,
        SPOILS[name],
        peer=Connection.take_in_parts,
        progress=Connection.sent_nbytes,
        check=Connection.a_prefix_arrived,
    )


async def main() -> None:
    """Try everything."""
    head = ("method", "promise", "attempts", "cancelled", "blocked", "partial")
    line = "{:<26}{:<10}{:>9}{:>10}{:>8}{:>8}".format
    print(line(*head))
    for promise, names, table_of in (
        ("atomic", ATOMIC, read_table),
        ("resumable", RESUMABLE, read_table),
        ("spoils", SPOILS, write_table),
    ):
        for name in names:
            table = await table_of(name)
            counts = (len(table.attempts), table.cancelled, table.blocked, table.partial)
            print(line(name, promise, *counts))
    print("\nread_exactly:")
    print(await read_table("read_exactly"))


if __name__ == "__main__":
    trio.run(main)
