"""`BufStream`: both halves of a stream buffered, each by itself."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any, Generic, cast, overload

import trio

from ..io import Read, Write, from_trio
from ..io._trio_sides import SendsEof
from ..seq import BytesView
from ._filling import READ_AHEAD_NBYTES
from ._inner import StreamT_co
from ._reading import Reading
from ._writer import MAX_NBYTES, IntoInnerError
from ._writing import Marks, Writing

if TYPE_CHECKING:
    from typing import SupportsIndex

    from ._inner import HalfCloseableT


class Buffering(Reading, Writing, trio.abc.Stream, Generic[StreamT_co]):
    """What `BufStream` does, whatever it stands on."""

    _meanwhile: trio.Event | None = None
    """While a read sends; set when it does so no more."""

    _is_awaited = False
    """Whether a read cannot send by itself, and who is sending sends for it."""

    def __init__(
        self,
        stream: StreamT_co,
        *,
        read_ahead_nbytes: SupportsIndex = READ_AHEAD_NBYTES,
        low_water_nbytes: SupportsIndex | None = None,
        high_water_nbytes: SupportsIndex | None = None,
        max_nbytes: SupportsIndex = MAX_NBYTES,
        flush_before_waiting: bool = False,
    ) -> None:
        both: Any = stream
        if not (isinstance(both, Read) and isinstance(both, Write)):
            both = from_trio(both)
        marks = Marks.of(low_water_nbytes, high_water_nbytes, max_nbytes)
        self._read_from(both, read_ahead_nbytes)
        self._write_to(both, marks)
        self._inner = stream
        self._flushes_first = flush_before_waiting

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}, {len(self._buffer)} bytes to be read and "
            f"{self._buffered_nbytes} to be sent, over {self._inner!r}>"
        )

    @property
    def inner(self) -> StreamT_co:
        """The stream, as it was given; see `BufReader.inner` and `BufWriter.inner`."""
        return cast("StreamT_co", self._inner)

    # Sending before waiting: a read must not fail because of it, nor wait for who waits for it

    def _has_to_send_first(self) -> bool:
        if not (self._buffered_nbytes and self._flushes_first):
            return False
        return not (self._is_spoiled or self._is_broken)

    def _is_passage(self) -> bool:
        return super()._is_passage() and not self._has_to_send_first()

    async def _receive_from_source(self, max_bytes: int | None) -> BytesView:
        receive = self._source.receive_view
        if not self._has_to_send_first():
            return await receive(max_bytes)
        sink = self._sink
        if not sink._counts_exactly:  # then it cannot be called back
            if not self._is_sending:
                await self._flush_quietly()
                return await receive(max_bytes)
            self._is_awaited = True
            try:
                return await receive(max_bytes)
            finally:
                self._is_awaited = False
        if not (self._is_sending or sink._is_sending or sink._is_closed):
            self._sent(sink._write_now(self.unsent))  # mostly all of it
        if not self._buffered_nbytes:
            return await receive(max_bytes)
        raised: BaseException | None = None
        view = BytesView()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_meanwhile)
                try:
                    view = await receive(max_bytes)
                except BaseException as exc:  # noqa: BLE001  # raised below, and in no group
                    raised = exc
                nursery.cancel_scope.cancel()  # what is left is sent by the next flush
        except BaseException:
            self._buffer.unread(view)  # it has come, and is not lost if this is cancelled just now
            if raised is None:
                raise
        try:
            if raised is not None:
                raise raised
        finally:
            del raised  # which refers to this frame
        return view

    async def _send_meanwhile(self) -> None:
        """Send what is in the buffer, or what another task that is sending leaves there."""
        await self._wait_until_idle()
        await self._flush_quietly()

    async def _flush_quietly(self) -> None:
        """Send what is in the buffer. What goes wrong goes wrong again in the next flush."""
        is_over = self._meanwhile = trio.Event()
        try:
            with contextlib.suppress(Exception):
                await self._flush_if_idle()
        finally:
            self._meanwhile = None
            is_over.set()

    async def _refuse_sending(self) -> None:
        """Wait for a read that sends: it is no other task's send. Otherwise as ever."""
        if self._meanwhile is None or self._is_closed:
            await super()._refuse_sending()
            return
        await self._meanwhile.wait()
        if self._is_sending or self._is_closed:
            await self._refuse_sending()

    async def _flush(self, nbytes: int) -> None:
        await super()._flush(nbytes)
        while self._is_awaited and self._buffered_nbytes:
            await super()._flush(self._buffered_nbytes)

    # Elsewhere in a file

    async def seek(self, offset: SupportsIndex, whence: int = io.SEEK_SET) -> int:
        """Flush, and go on at another place of a file, reading and writing; see `BufReader.seek`.

        Raises:
          As `flush` and `BufReader.seek`; io.UnsupportedOperation: the file only appends.

        Cancellation: as `flush`; the place is the old one.
        """
        file: Any = self._seekable()
        file.write_from(file.write_offset)  # or refuse before anything has changed
        await self.flush()
        place = await super().seek(offset, whence)
        file.write_from(place)
        return place

    # The end

    async def into_inner(self) -> tuple[StreamT_co, BytesView]:
        """Flush, and give the stream back, open, with the bytes that were received and not read.

        Raises:
          IntoInnerError: flushing failed; the cause says why. This can still be used.
          trio.BusyResourceError: another task is reading, flushing or sending.
          trio.ClosedResourceError: this was closed, or gave the stream back before.

        Cancellation: as `flush`; the stream was not given back.

        Idea: `into_inner` of the Rust crate bufstream, which loses what was received.
        """
        if self._is_receiving:
            await self._refuse_receiving()
        if self._is_sending or self._is_closed:
            await self._refuse_sending()
        self._is_sending = self._is_receiving = True
        try:
            await self._flush(self._buffered_nbytes)
            while self._buffered_nbytes:  # what was written meanwhile
                await self._flush(self._buffered_nbytes)
            self._is_closed = True
        except Exception as exc:
            self._refuse_if_closed()  # by another task
            raise IntoInnerError(self, self.unsent) from exc
        finally:
            self._is_sending = self._is_receiving = False
        return self.inner, self._buffer.take_all()

    async def _aclose(self) -> None:
        try:
            await self._flush_before_closing()
        finally:
            self._drop()
            self._buffer.clear()
            await self._sink.aclose()


class BufStream(Buffering[StreamT_co]):
    """Buffers both halves of a stream, each by itself: a `BufReader` and a `BufWriter` in one.

    A trio stream itself, and a `trio.abc.HalfCloseableStream` if what it stands on has a
    `send_eof`. One task may read while another writes. `send_eof` and `aclose` flush first, and
    wait for that as long as the peer takes; see `BufWriter`.

    Over a `File`, which has a place for reading and another for writing, so has this: `seek` sets
    both, reading moves the one and writing the other.

    Args:
      stream: a trio stream, or what is both a `Read` and a `Write`. Closing this closes it.
      read_ahead_nbytes: as for `BufReader`.
      low_water_nbytes, high_water_nbytes, max_nbytes: as for `BufWriter`.
      flush_before_waiting: send what was written before a read waits for the peer, so that nobody
        waits for the reply to a request that was never sent. A read is never refused, and never
        fails, because of that: if another task is flushing, it is sent behind what that one sends,
        and if sending fails, the next `flush` says so. Over sockets and pipes, a peer that reads
        only when it has been read from does not block the read. Over TLS and streams of others it
        does, and a read that is cancelled while it sends spoils the writing half, as a cancelled
        `flush` does.

    Raises:
      TypeError: `stream` is neither, or a number is no integer.
      ValueError: a number is out of its range.

    Example:
      >>> async def main():
      ...     ours, theirs = memory_pair()
      ...     async with BufStream(ours) as client, BufStream(theirs) as server:
      ...         client.write_line("one")
      ...         client.write_line("two")
      ...         await client.flush()
      ...         return await server.read_line(), server.try_read_line()
      >>> trio.run(main)
      (b'one', b'two')

    Idea: `BufStream` of the Rust crate bufstream.
    """

    @overload
    def __new__(
        cls,
        stream: HalfCloseableT,
        *,
        read_ahead_nbytes: SupportsIndex = ...,
        low_water_nbytes: SupportsIndex | None = ...,
        high_water_nbytes: SupportsIndex | None = ...,
        max_nbytes: SupportsIndex = ...,
        flush_before_waiting: bool = ...,
    ) -> HalfCloseableBufStream[HalfCloseableT]: ...

    @overload
    def __new__(
        cls,
        stream: StreamT_co,
        *,
        read_ahead_nbytes: SupportsIndex = ...,
        low_water_nbytes: SupportsIndex | None = ...,
        high_water_nbytes: SupportsIndex | None = ...,
        max_nbytes: SupportsIndex = ...,
        flush_before_waiting: bool = ...,
    ) -> BufStream[StreamT_co]: ...

    def __new__(cls, stream: Any, **_options: Any) -> BufStream[Any]:
        by_halves = cls is BufStream and hasattr(stream, "send_eof")
        return object.__new__(HalfCloseableBufStream if by_halves else cls)


class HalfCloseableBufStream(BufStream[StreamT_co], SendsEof, trio.abc.HalfCloseableStream):
    """What `BufStream` makes of a stream that has a `send_eof`."""

    async def send_eof(self) -> None:
        """Flush, and tell the peer that nothing more will be sent; receiving goes on.

        Twice is harmless. What is written while this waits is sent, too.

        Raises:
          As `flush`.

        Cancellation: as `flush`; the end was not announced.
        """
        await super().send_eof()

    async def _send_eof(self) -> None:
        """Flush, and tell the peer that nothing more will be sent."""
        sink: Any = self._sink
        was_announced = self._is_end_announced
        if not was_announced:
            await self._flush(self._buffered_nbytes)
            while self._buffered_nbytes:  # what was written meanwhile
                await self._flush(self._buffered_nbytes)
        self._is_end_announced = True  # so what is written during the next line is refused
        try:
            await sink.send_eof()
        except BaseException:
            self._is_end_announced = was_announced
            raise
        finally:
            self._tell_that_sending_is_over()
