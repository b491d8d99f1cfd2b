"""`from_trio`: any trio stream as a source and a sink of views.

What is over a socket or a descriptor gets the stream of ours that is. All others go through their
own `receive_some` and `send_all`:

Law 1. A byte that a view shows never changes. What a stream returns is shown uncopied if it is
       `bytes`, or a `bytearray` that nobody else refers to: the reference counts say so. All
       else is copied.
Law 2. Nothing is awaited between a receive of the stream's and the end of ours, so cancellation
       loses what the stream itself loses, and no byte more. trio's streams lose none.
Law 3. What is sent is what `send_all` is given, in order, and at once; nothing is held back.
"""

from __future__ import annotations

from sys import getrefcount
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

import trio

from .._errors import BadSource
from ..seq import BytesView
from ..seq._flat import flat
from ..seq._memory import memory_or_default
from ..seq._proof import FREE_THREADED, REFERENCES_TO_A_LONE_EXPORTER
from ._endpoint import Endpoint
from ._fd import FdStream
from ._read import Read
from ._socket import SocketStream
from ._tls import TlsStream
from ._trio_sides import ReceivesSome, SendsAll, SendsEof
from ._write import Write

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator

    from ..seq import Memory

JOIN_NBYTES: Final = 65_536
"""Pieces below this are joined, up to this, because each `send_all` is a checkpoint at least and
mostly a system call. Measured over a `trio.SocketStream`, for a mebibyte in pieces of 1, 4 and 16
KiB: 18.8, 4.9 and 1.3 ms one by one, 0.5 ms joined so. In pieces of 64 KiB: 0.39 ms, and joining
four of them gains a seventh."""

R = TypeVar("R", bound=Read | Write)


class Adapter(Endpoint):
    """What all adapters have in common: a trio stream, which closes with them."""

    def __init__(self, stream: trio.abc.AsyncResource, memory: Memory | None) -> None:
        self._stream: Any = stream  # each subclass calls what its kind of stream has
        self._memory = memory_or_default(memory)

    @property
    def memory(self) -> Memory:
        """Where builders for this stream reserve; what is received is as the stream returns it."""
        return self._memory

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self._stream!r}>"

    async def _aclose(self) -> None:
        await self._stream.aclose()


class ReceiveAdapter(Adapter, ReceivesSome):
    """A `trio.abc.ReceiveStream` as a `Read`, and still a trio stream."""

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        # Law 1. Asked here and so, because a variable's count says nothing certain (`_proof`).
        references = getrefcount(data := await self._stream.receive_some(max_bytes))
        if isinstance(data, bytes):
            return BytesView(data)
        alone = references == REFERENCES_TO_A_LONE_EXPORTER and not FREE_THREADED
        if type(data) is bytearray and alone:
            return BytesView(data)
        try:
            return BytesView(bytes(flat(data)))
        except TypeError as exc:
            raise BadSource(
                repr(self), f"returned a {type(data).__name__} instead of bytes"
            ) from exc

    async def _receive_some(self, max_bytes: int | None) -> bytes:
        data = await self._stream.receive_some(max_bytes)
        if max_bytes is not None and len(data) > max_bytes:
            self._complain(BytesView(bytes(data)), max_bytes)
        return bytes(data)


class SendAdapter(Adapter, SendsAll):
    """A `trio.abc.SendStream` as a `Write`, and still a trio stream."""

    async def _write_view(self, view: BytesView) -> None:
        sent = False
        for data in joined(view.pieces):  # no `_progress`: how far this is, only the stream knows
            await self._stream.send_all(data)
            sent = True
        if not sent:  # whether the stream is open, and the checkpoint, are the stream's business
            await self._stream.send_all(b"")

    async def _wait_write_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def _send_all(self, data: memoryview) -> None:
        await self._stream.send_all(data)


class StreamAdapter(ReceiveAdapter, SendAdapter, trio.abc.Stream):
    """A `trio.abc.Stream` as a `Read` and a `Write`, and still a trio stream."""


class HalfCloseableAdapter(SendsEof, StreamAdapter, trio.abc.HalfCloseableStream):
    """A `trio.abc.HalfCloseableStream` as a `Read` and a `Write`, and still a trio stream."""

    async def _send_eof(self) -> None:
        await self._stream.send_eof()


class StapledAdapter(HalfCloseableAdapter):
    """A `trio.StapledStream` by its parts, each of which may have a quicker way for views."""

    def __init__(
        self,
        stapled: trio.StapledStream[trio.abc.SendStream, trio.abc.ReceiveStream],
        memory: Memory | None,
    ) -> None:
        self._source: Read = from_trio(stapled.receive_stream, memory=memory)
        self._sink: Write = from_trio(stapled.send_stream, memory=memory)
        super().__init__(trio.StapledStream(self._sink, self._source), memory)
        self._counts_exactly = self._sink._counts_exactly

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        return await self._source.receive_view(max_bytes)

    async def _write_view(self, view: BytesView) -> None:
        await self._reported(self._sink.write_view(view))

    async def _send_all(self, data: memoryview) -> None:
        await self._reported(self._stream.send_all(data))

    async def _reported(self, sending: Awaitable[None]) -> None:
        """Await `sending`, and let the part that sends say how far it is."""
        before, self._sink._progress = self._sink._progress, self._progress
        try:
            await sending
        finally:
            self._sink._progress = before


def joined(pieces: Iterable[memoryview]) -> Iterator[bytes | memoryview]:
    """Yield the bytes of `pieces` in what `send_all` is to be given; none of it is empty."""
    row: list[memoryview] = []
    row_nbytes = 0
    for piece in pieces:
        if row_nbytes + piece.nbytes > JOIN_NBYTES and row:
            yield b"".join(row) if len(row) > 1 else row[0]
            row, row_nbytes = [], 0
        row.append(piece)
        row_nbytes += piece.nbytes
    if row:
        yield b"".join(row) if len(row) > 1 else row[0]


@overload
def from_trio(stream: R, *, memory: Memory | None = None) -> R: ...


# What is known only as a trio.abc.Stream may be over a socket all the same. Then it gets a
# SocketStream, which has every method of the adapter that types promise.
@overload
def from_trio(  # type: ignore[overload-overlap]
    stream: trio.SocketStream, *, memory: Memory | None = None
) -> SocketStream: ...


@overload
def from_trio(  # type: ignore[overload-overlap]
    stream: trio.SSLStream[Any], *, memory: Memory | None = None
) -> TlsStream: ...


@overload
def from_trio(  # type: ignore[overload-overlap]
    stream: trio.lowlevel.FdStream, *, memory: Memory | None = None
) -> FdStream: ...


@overload
def from_trio(
    stream: trio.abc.HalfCloseableStream, *, memory: Memory | None = None
) -> HalfCloseableAdapter: ...


@overload
def from_trio(stream: trio.abc.Stream, *, memory: Memory | None = None) -> StreamAdapter: ...


@overload
def from_trio(
    stream: trio.abc.ReceiveStream, *, memory: Memory | None = None
) -> ReceiveAdapter: ...


@overload
def from_trio(stream: trio.abc.SendStream, *, memory: Memory | None = None) -> SendAdapter: ...


def from_trio(stream: object, *, memory: Memory | None = None) -> object:
    """Return `stream` as a `Read`, a `Write`, or both, as it has sides; it is a trio stream still.

    A `trio.SocketStream` and a `trio.lowlevel.FdStream` are used by their descriptor: received
    into pooled memory and sent from where the bytes lie. A `trio.StapledStream` is used by its
    parts, a `trio.SSLStream` by a `TlsStream`. What is a `Read` or a `Write` already is returned
    itself. All others are used by their `receive_some` and `send_all`; their errors are passed on.

    Closing what this returns closes `stream`. Use one of the two: bytes that a cancelled read
    keeps are known to the one that it was begun on.

    Args:
      stream: any trio stream.
      memory: where received bytes go, if this can decide it, and where builders for it
        reserve; the process's pool if not given. A `Read` or `Write` stays with its own.

    Raises:
      TypeError: `stream` is no trio stream, or `memory` no `Memory`.

    A read of what this returns raises `BadSource` if `stream` returned more than it was asked for;
    what it returned is then read by the next read.

    Cost: for streams over descriptors, as `SocketStream`. Otherwise nothing is copied that the
    stream returns as `bytes`, or as a `bytearray` that nobody else has; sending joins pieces
    below 64 KiB, up to 64 KiB.

    Example:
      >>> async def main():
      ...     ours, theirs = trio.testing.memory_stream_pair()
      ...     async with from_trio(ours) as source:
      ...         await theirs.send_all(b"abcdef")
      ...         return await source.read_exactly(4), await source.receive_some()
      >>> trio.run(main)
      (BytesView(b'abcd'), b'ef')
    """
    if isinstance(stream, (Read, Write)):
        return stream
    if isinstance(stream, trio.SocketStream):
        return SocketStream(stream, memory=memory)
    if isinstance(stream, trio.SSLStream):
        return TlsStream(stream, memory=memory)
    if hasattr(trio.lowlevel, "FdStream") and isinstance(stream, trio.lowlevel.FdStream):
        return FdStream(stream, memory=memory)
    if isinstance(stream, trio.StapledStream):
        return StapledAdapter(stream, memory)
    if isinstance(stream, trio.abc.HalfCloseableStream):
        return HalfCloseableAdapter(stream, memory)
    if isinstance(stream, trio.abc.Stream):
        return StreamAdapter(stream, memory)
    if isinstance(stream, trio.abc.ReceiveStream):
        return ReceiveAdapter(stream, memory)
    if isinstance(stream, trio.abc.SendStream):
        return SendAdapter(stream, memory)
    raise TypeError(f"from_trio wants a trio stream, not {type(stream).__name__}")
