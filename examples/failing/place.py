"""What the rooms of the table share: what an operation works with, what fails, what is looked at.

A room is a module with `cases()`: operations, each with a subject, a check, and the kinds of
failures that are tried.
"""

import contextlib
import errno
import gc
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import attrs
import trio

from trio_bytesbuf import BadMemory, BytesBuf, BytesView, GlobalPool, SocketStream
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

IS_LONG = bool(os.environ.get("TRIO_BYTESBUF_LONG"))

INCOMING = hashlib.shake_128(b"in").digest(120_000)
WANTED_NBYTES = 50_000
OUTGOING = hashlib.shake_128(b"out").digest(90_000)
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
    """Return what else arrives, and whether the stream then is broken; it says so twice.

    What is wrong with its memory it says once: what came before that was returned first.
    """
    rest: list[bytes] = []
    complaints: list[BadMemory] = []
    for _ in range(1000):
        try:
            view = await stream.receive_view()
        except BadMemory as exc:
            complaints.append(exc)
            assert len(complaints) == 1
            continue
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


async def collect(it: Place, steps: AsyncIterator[Any]) -> None:
    """Take everything, step by step."""
    async for item in steps:
        it.got.append(item)


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
    around: contextlib.AbstractContextManager[None] = attrs.field(factory=contextlib.nullcontext)
    """What is there for all attempts; entered again for each kind."""


SENDS = WRITES | {"shutdown"}
IN = READS | {"recvfrom_into", "recvmsg_into"}
OUT = WRITES | {"sendto"}
MAKING_SOCKETS = ("socket", "setsockopt", "getsockopt", "bind", "connect", "connect_ex", "dup")

OF_A_KIND: dict[str, tuple[Collection[str], tuple[int, ...]]] = {
    "reset reads": (READS, (errno.ECONNRESET, errno.ENOBUFS)),
    "reset writes": (SENDS, (errno.ECONNRESET, errno.EPIPE, errno.ENOBUFS)),
    "disk": (READS | WRITES | {"fsync", "fstat"}, (errno.EIO, errno.ENOSPC)),
    "EMFILE": (("open", "dup", "accept"), (errno.EMFILE,)),
    "make": (
        (*MAKING_SOCKETS, "listen", "stat", "lstat", "unlink"),
        (errno.EMFILE, errno.ENOMEM, errno.EACCES),
    ),
    "make datagrams": (MAKING_SOCKETS, (errno.EMFILE, errno.EADDRINUSE, errno.EACCES)),
    "accept": (
        ("accept",),
        (errno.ECONNABORTED, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM),
    ),
    "connect": (
        ("socket", "connect", "getsockopt"),
        (errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EMFILE),
    ),
    "datagrams in": (IN, (errno.ENOBUFS, errno.ECONNREFUSED)),
    "datagrams out": (OUT, (errno.ENOBUFS, errno.ECONNREFUSED, errno.EMSGSIZE)),
    "pages": (("mmap",), (errno.ENOMEM,)),
    "segment": (
        ("memfd_create", "ftruncate", "fstat", "open", "readlink", "mmap", "fcntl", "flock"),
        (errno.EMFILE, errno.ENOMEM, errno.EACCES),
    ),
}
"""Which calls fail, and with what."""


def faults(kind: str) -> Iterator[tuple[str, Fault, HookCalls]]:
    """Yield the failures of a kind: a name, what strikes, and what counts the hooks."""
    quiet = HookCalls(MemoryError)
    of, numbers = OF_A_KIND.get(kind, ((), ()))
    for number in numbers:
        yield errno.errorcode[number], SystemCalls(number, of=of), quiet
    match kind:
        case "busy":
            of = IN | OUT | {"accept"}
            yield "EAGAIN, 3 times", SystemCalls(errno.EAGAIN, of=of, times=3), quiet
        case "short":
            for nbytes in LENGTHS:
                name = f"short: {nbytes}"
                yield name, SystemCalls(max_bytes=nbytes), quiet
        case "memory":
            calls = HookCalls(MemoryError)
            yield "MemoryError", calls, calls
        case "hook":
            calls = HookCalls(lambda: Planted("planted"))
            yield "a hook raises", calls, calls
        case "hook, done":
            calls = HookCalls(lambda: Planted("planted"), before=False)
            yield "a hook raises", calls, calls


async def table_of(case: Case, fault: Fault, calls: HookCalls) -> FailureTable | None:
    """Let one kind of failure happen at each call of an operation; None if it has no such call."""
    try:
        with case.around:
            return await fail_at_each_call(
                lambda: case.subject(calls), case.operation, fault, check=case.check, peer=case.peer
            )
    except AssertionError as exc:
        if not str(exc).startswith("nothing failed"):
            raise
        return None
