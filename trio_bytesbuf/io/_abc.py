"""`Read` and `Write`: what is read and written in views. One method each to implement."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Self

import attrs
import trio

from ..seq import BytesBuf, BytesView
from ..seq._flat import positive_count_of

if TYPE_CHECKING:
    from typing import SupportsIndex


class Read(trio.abc.AsyncResource):
    """A source of bytes that comes in views, for one reading task at a time.

    Implement `receive_view` and `aclose`; the rest comes for free.

    Idea: bytesbuf_io's `Read`, which has three methods to implement.
    """

    __slots__ = ()

    @abc.abstractmethod
    async def receive_view(self, max_bytes: SupportsIndex | None = None) -> BytesView:
        """Wait until there are bytes and return what is at hand.

        Args:
          max_bytes: the most bytes to return, at least 1; the source decides if not given.

        Returns:
          A view of at least one byte; of none if, and only if, the stream has ended.

        Raises:
          trio.BusyResourceError: another task is reading.
          trio.ClosedResourceError: this source was closed, here or by another task.
          trio.BrokenResourceError: the connection is gone. What had arrived was returned before.
          TypeError, ValueError: `max_bytes` is no integer, or below 1.

        Cancellation: atomic. No byte is lost.
        """

    def views(self, max_bytes: SupportsIndex | None = None) -> Views:
        """Return an async iterator over what is received, until the stream ends.

        Args:
          max_bytes: the most bytes for each view, at least 1; the source decides if not given.

        Each step equals `receive_view(max_bytes)`, with its errors, and is a checkpoint.

        Cancellation: atomic. No byte is lost; iterate again to go on.
        """
        limit = None if max_bytes is None else positive_count_of(max_bytes, "max_bytes")
        return Views(self, limit)

    async def read_at_most_into(self, nbytes: SupportsIndex, buf: BytesBuf) -> int:
        """Wait until there are bytes and append at most `nbytes` of them to `buf`.

        Returns:
          How many bytes were appended; 0 if, and only if, the stream has ended.

        Raises:
          As `receive_view`, and `MemoryInUse` if a slice of a window of `buf` is still alive. Until
          this returns `buf` belongs to it: putting to it meanwhile raises `MemoryInUse`.
          TypeError: `buf` is not a `BytesBuf`.

        Cancellation: atomic. Nothing was appended and no byte is lost.

        Cost: no copy; `buf` gets views of the memory they were received into.
        """
        return await self._read_into(buf, positive_count_of(nbytes, "nbytes"))

    async def read_more_into(self, buf: BytesBuf) -> int:
        """Wait until there are bytes and append what is at hand; else as `read_at_most_into`."""
        return await self._read_into(buf, None)

    async def _read_into(self, buf: BytesBuf, max_bytes: int | None) -> int:
        if not isinstance(buf, BytesBuf):
            raise TypeError(f"a BytesBuf is wanted to read into, not {type(buf).__name__}")
        buf._hand_over("a read")
        try:
            view = await self.receive_view(max_bytes)
        finally:
            buf._hand_back()
        buf.put_view(view)
        return len(view)

    async def read_any(self) -> BytesBuf:
        """Wait until there are bytes and return them in a new builder; an empty one at the end.

        Raises:
          As `receive_view`.

        Cancellation: atomic. No byte is lost.
        """
        buf = BytesBuf()
        await self.read_more_into(buf)
        return buf


@attrs.define(eq=False)
class Views:
    """An async iterator over the views that a source receives; made by `Read.views`."""

    _source: Read
    _max_bytes: int | None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BytesView:
        view = await self._source.receive_view(self._max_bytes)
        if not view:
            raise StopAsyncIteration
        return view


class Write(trio.abc.AsyncResource):
    """A sink for bytes that come in views, for one writing task at a time.

    Implement `write_view` and `aclose`.

    Idea: bytesbuf_io's `Write`.
    """

    __slots__ = ()

    @abc.abstractmethod
    async def write_view(self, view: BytesView) -> None:
        """Send all bytes of `view`, without copying more than is quicker than not copying.

        Raises:
          trio.BusyResourceError: another task is writing.
          trio.ClosedResourceError: this sink was closed, here or by another task, or its
            end was announced.
          trio.BrokenResourceError: the connection is gone.

        Cancellation: spoils. Some of the bytes may have been sent; close the sink.
        """
