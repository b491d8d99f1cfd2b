"""`Reading`: what a buffered reader does with its buffer: exactly, until, line by line, framed."""

from __future__ import annotations

import io
import operator
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from .._errors import LimitExceeded, UnexpectedEof
from ..seq import BytesView
from ..seq._flat import count_of, positive_count_of
from ._cutter import BYTES, MAX_FRAME_NBYTES, kind_of, text_kind
from ._filling import Filling
from ._frames import FrameReceiveChannel
from ._framing import Framing
from ._framings import Delimited, Lines, UniversalLines, delimiters_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import SupportsIndex

    from ..seq._flat import Buffer
    from ._receive_buffer import Delimiters

T = TypeVar("T", BytesView, memoryview, bytes)

MAX_LINE_NBYTES: Final = 65_536
"""How many bytes a line, or what ends in a delimiter, may have if nobody says otherwise."""


class Reading(Filling):
    """The reading half of `BufReader` and `BufStream`."""

    # What is in the buffer

    @property
    def buffered(self) -> BytesView:
        """The bytes that have been received and not been read, for who looks on."""
        return self._buffer.peek(len(self._buffer))

    @property
    def buffered_nbytes(self) -> int:
        """How many bytes have been received and not been read."""
        return len(self._buffer)

    async def fill_buf(self) -> BytesView:
        """Wait until there are bytes in the buffer and return them without taking them.

        Returns:
          A view of at least one byte; of none if, and only if, the stream has ended.

        Raises:
          As `receive_view`.

        Cancellation: atomic.

        Cost: no copy but of bytes that came in small pieces; proportional to the number of pieces.

        Idea: `BufRead::fill_buf` of Rust's `std::io`.
        """
        view = await self._until(lambda: self.buffered if self._buffer else None)
        return BytesView() if view is None else view

    def discard(self, nbytes: SupportsIndex) -> None:
        """Drop the first `nbytes` bytes of the buffer, which have been looked at.

        Raises:
          NotEnoughBytes: there are fewer in the buffer; nothing was dropped.
          TypeError, ValueError: `nbytes` is no integer, or negative.
          trio.BusyResourceError: a task is reading.
          trio.ClosedResourceError: this was closed.
        """
        if self._is_receiving or self._is_closed:
            self._refuse_reading_now()
        self._buffer.discard(nbytes)

    async def peek(self, nbytes: SupportsIndex) -> BytesView:
        """Wait until `nbytes` bytes have arrived and return them without taking them.

        Args:
          nbytes: at least 0.

        Returns:
          Exactly so many bytes; fewer if, and only if, the stream ends before.

        Raises:
          As `receive_view`.

        Cancellation: resumable. What has arrived is still to be read.

        Example:
          >>> async def main():
          ...     reader = BufReader(FakeRead(b"GET / HTTP/1.1"))
          ...     return await reader.peek(3), await reader.read_exactly(5)
          >>> trio.run(main)
          (BytesView(b'GET'), BytesView(b'GET /'))
        """
        wanted = count_of(nbytes, "nbytes")
        buffer = self._buffer
        view = await self._until(lambda: buffer.peek(wanted) if len(buffer) >= wanted else None)
        return self.buffered if view is None else view

    def unread(self, data: BytesView | Buffer) -> None:
        """Put bytes before those of the buffer: they are read next.

        Args:
          data: a view, or `bytes`; of other buffers a copy is made.

        Raises:
          TypeError: `data` is no view and no buffer.
          trio.BusyResourceError: a task is reading, which may have passed that place.
          trio.ClosedResourceError: this was closed.
        """
        if self._is_receiving or self._is_closed:
            self._refuse_reading_now()
        self._buffer.unread(data)

    # So many bytes

    async def read_exactly(self, nbytes: SupportsIndex) -> BytesView:
        """Wait until `nbytes` bytes have arrived and return them; see `Read.read_exactly`.

        Raises:
          UnexpectedEof: the stream ended before. What had arrived is still to be read.
          As `receive_view` otherwise.

        Cancellation: resumable. What has arrived is read by the next read, of whatever kind.

        Cost: no copy, and no call of the source if the bytes are in the buffer.
        """
        if self._is_receiving or self._is_closed:
            await self._refuse_receiving()
        self._is_receiving = True
        try:
            await checkpoint_if_cancelled()
            view = self._buffer.try_take(nbytes)
            if view is not None:
                try:
                    await cancel_shielded_checkpoint()
                except MemoryError:  # it is out of the buffer: give it away all the same
                    return view
                return view
            while await self._fill():
                view = self._buffer.try_take(nbytes)
                if view is not None:
                    return view
            raise UnexpectedEof(wanted=nbytes.__index__(), arrived=len(self._buffer))
        finally:
            self._is_receiving = False

    def try_read_exactly(self, nbytes: SupportsIndex) -> BytesView | None:
        """Return the next `nbytes` bytes if they are in the buffer, else None; never waits.

        Raises:
          TypeError, ValueError: `nbytes` is no integer, or negative.
          trio.BusyResourceError: a task is reading.
          trio.ClosedResourceError: this was closed.

        Cost: no checkpoint, no copy.
        """
        if self._is_receiving or self._is_closed:
            self._refuse_reading_now()
        return self._buffer.try_take(nbytes)

    # Until a delimiter

    async def read_until(
        self,
        delimiters: Buffer | Iterable[Buffer],
        max_bytes: SupportsIndex = MAX_LINE_NBYTES,
    ) -> BytesView:
        """Wait until a delimiter has arrived and return everything up to its end.

        Args:
          delimiters: bytes, or several. The one that ends first counts; of two that end at the
            same place, both are in what is returned anyway.
          max_bytes: the most bytes to return, delimiter included, at least 1.

        Returns:
          A view that ends in a delimiter.

        Raises:
          LimitExceeded: so many bytes have arrived and no delimiter has ended. They are still to
            be read: call again with a higher limit, `skip_until`, or close.
          UnexpectedEof: the stream ended before. What had arrived is still to be read.
          ValueError: a delimiter is empty, there is none, or `max_bytes` is below 1.
          As `receive_view` otherwise.

        Cancellation: resumable. What has arrived is read by the next read, and not searched again
        for the same delimiters.

        Cost: no copy but for searching, a window at a time; each byte is searched once.

        Example:
          >>> async def main():
          ...     reader = BufReader(FakeRead(b"key=value;"))
          ...     return await reader.read_until(b"="), await reader.read_until((b";", b"\\n"))
          >>> trio.run(main)
          (BytesView(b'key='), BytesView(b'value;'))
        """
        sought = delimiters_of(delimiters)
        limit = positive_count_of(max_bytes, "max_bytes")
        view = await self._until(lambda: self._take_until(sought, limit))
        if view is None:
            raise UnexpectedEof(wanted=len(self._buffer) + 1, arrived=len(self._buffer))
        return view

    def try_read_until(
        self,
        delimiters: Buffer | Iterable[Buffer],
        max_bytes: SupportsIndex = MAX_LINE_NBYTES,
    ) -> BytesView | None:
        """Return everything up to a delimiter if it is in the buffer, else None; never waits.

        Raises:
          LimitExceeded, ValueError: as `read_until`.
          trio.BusyResourceError: a task is reading.
          trio.ClosedResourceError: this was closed.

        Cost: no checkpoint; as `read_until`.
        """
        if self._is_receiving or self._is_closed:
            self._refuse_reading_now()
        limit = positive_count_of(max_bytes, "max_bytes")
        return self._take_until(delimiters_of(delimiters), limit)

    def _take_until(self, delimiters: Delimiters, limit: int) -> BytesView | None:
        found = self._buffer.find(delimiters, limit)
        if found is not None:
            return self._buffer.take(found[0])
        if len(self._buffer) >= limit:
            raise LimitExceeded(limit=limit, arrived=len(self._buffer))
        return None

    async def skip_until(self, delimiters: Buffer | Iterable[Buffer]) -> int:
        """Drop everything up to the end of the next delimiter, as it arrives.

        Returns:
          How many bytes were dropped by this call.

        Raises:
          UnexpectedEof: the stream ended before. All but what could have been the beginning of a
            delimiter was dropped.
          ValueError: a delimiter is empty, or there is none.
          As `receive_view` otherwise.

        Cancellation: resumable. What came before the delimiter, as far as it has arrived, is
        dropped; call again to go on.
        """
        sought = delimiters_of(delimiters)
        dropped = 0

        def drop() -> int | None:
            nonlocal dropped
            found = self._buffer.find(sought)
            step = max(0, len(self._buffer) - len(sought[0]) + 1) if found is None else found[0]
            self._buffer.discard(step)
            dropped += step
            return None if found is None else dropped

        nbytes = await self._until(drop)
        if nbytes is None:
            raise UnexpectedEof(wanted=len(self._buffer) + 1, arrived=len(self._buffer))
        return nbytes

    # Line by line

    async def read_line(
        self, max_bytes: SupportsIndex = MAX_LINE_NBYTES, newline: Buffer = b"\n"
    ) -> bytes | None:
        """Wait until a line has arrived and return it without its end; None at the stream's end.

        Args:
          max_bytes: the most bytes that a line may have, its end not counted, at least 0.
          newline: what ends a line.

        Returns:
          A line. The last of a stream needs no end.

        Raises:
          LimitExceeded: the line has more bytes. They are still to be read: call again with a
            higher limit, `skip_until` its end, or close.
          ValueError: `newline` is empty, or `max_bytes` negative.
          As `receive_view` otherwise.

        Cancellation: resumable. What has arrived is read by the next read, of whatever kind.
        """
        limit = count_of(max_bytes, "max_bytes")
        sought = (bytes(memoryview(newline)),)
        if sought == (b"",):
            raise ValueError("a newline has at least one byte")
        line = await self._until(lambda: self._take_line(sought, limit))
        if line is None and self._buffer:
            if len(self._buffer) > limit:
                raise LimitExceeded(limit=limit, arrived=len(self._buffer))
            return self._buffer.take_all().to_bytes()
        return line

    def try_read_line(
        self, max_bytes: SupportsIndex = MAX_LINE_NBYTES, newline: bytes = b"\n"
    ) -> bytes | None:
        """Return the next line if it is in the buffer, else None; never waits.

        The last line of a stream, if it has no end, is returned by `read_line` only.

        Raises:
          LimitExceeded, ValueError: as `read_line`.
          trio.BusyResourceError: a task is reading.
          trio.ClosedResourceError: this was closed.

        Cost: no checkpoint.
        """
        if self._is_receiving or self._is_closed:
            self._refuse_reading_now()
        if not newline:
            raise ValueError("a newline has at least one byte")
        return self._take_line((newline,), count_of(max_bytes, "max_bytes"))

    def _take_line(self, newline: Delimiters, limit: int) -> bytes | None:
        buffer = self._buffer
        if buffer._searched_for != newline:  # the common case: all of it is in the window
            text, at = buffer.text(), buffer._at
            stop = text.find(newline[0], at, at + limit + len(newline[0]))
            if stop >= 0:
                buffer._move_to(stop + len(newline[0]))
                return text[at:stop]
        found = buffer.find(newline, limit + len(newline[0]))
        if found is None:
            if len(buffer) >= limit + len(newline[0]):
                raise LimitExceeded(limit=limit, arrived=len(buffer))
            return None
        end, after = found
        line = buffer.peek_bytes(end - after)
        buffer.discard(end)
        return line

    def lines(
        self, newline: Buffer | None = b"\n", *, max_bytes: SupportsIndex = MAX_LINE_NBYTES
    ) -> FrameReceiveChannel[bytes]:
        """Return a channel of lines, as `bytes` without their ends.

        Args:
          newline: what ends a line; None for LF, CRLF and CR alike, as Python reads text files. A
            CR that is the last byte to arrive then waits for the next, which may be its LF.
          max_bytes: the most bytes that a line may have, its end not counted.

        The last line of a stream needs no end. So one that was cut, as the peer was cancelled in
        the middle of it, looks like a short one: where a line is a message, ask for
        ``frames(Delimited(b"\\n"), bytes)``, to which that is `UnexpectedEof`.

        Raises:
          ValueError: `newline` is empty, or `max_bytes` negative.

        Example:
          >>> async def main():
          ...     async for line in BufReader(FakeRead(b"one\\ntwo\\n")).lines():
          ...         print(line)
          >>> trio.run(main)
          b'one'
          b'two'
        """
        limit = count_of(max_bytes, "max_bytes")
        return FrameReceiveChannel(self, _lines(newline), limit, BYTES)

    def text_lines(
        self,
        encoding: str = "utf-8",
        newline: Buffer | None = b"\n",
        *,
        errors: str = "strict",
        max_bytes: SupportsIndex = MAX_LINE_NBYTES,
    ) -> FrameReceiveChannel[str]:
        """Return a channel of lines, as text without their ends; else as `lines`.

        Args:
          encoding: one that writes the ends of lines as ASCII does: most do, UTF-16 does not.
          newline: as for `lines`.
          errors: what to do with bytes that are no text, as for `bytes.decode`.
          max_bytes: as for `lines`; bytes, not characters.

        Raises:
          LookupError: there is no such encoding, or no such way to treat errors.
          ValueError: `encoding` writes the ends of lines otherwise; or as `lines`.
        """
        limit = count_of(max_bytes, "max_bytes")
        return FrameReceiveChannel(self, _lines(newline), limit, text_kind(encoding, errors))

    # In frames

    @overload
    def frames(
        self, framing: Framing, *, max_bytes: SupportsIndex = ...
    ) -> FrameReceiveChannel[BytesView]: ...

    @overload
    def frames(
        self, framing: Framing, item_type: type[T], *, max_bytes: SupportsIndex = ...
    ) -> FrameReceiveChannel[T]: ...

    def frames(
        self,
        framing: Framing,
        item_type: type[Any] = BytesView,
        *,
        max_bytes: SupportsIndex = MAX_FRAME_NBYTES,
    ) -> FrameReceiveChannel[Any]:
        """Return a channel of the payloads of frames.

        Args:
          framing: how frames are told apart: `LengthPrefixed`, `Delimited`, ... or one's own.
          item_type: what payloads are given as. `BytesView` and `memoryview` copy nothing, and
            keep the memory they lie in from being used again; `bytes` are copies, which is
            quicker up to some hundred bytes.
          max_bytes: the most bytes that a payload may have.

        Raises:
          TypeError: `framing` is no `Framing`, or `item_type` none of these.
          ValueError: `max_bytes` is negative.
        """
        if not isinstance(framing, Framing):
            raise TypeError(f"a Framing is wanted, not {type(framing).__name__}")
        limit = count_of(max_bytes, "max_bytes")
        return FrameReceiveChannel(self, framing, limit, kind_of(item_type))

    # Elsewhere in a file

    async def seek(self, offset: SupportsIndex, whence: int = io.SEEK_SET) -> int:
        """Read on from another place of a seekable source; what was buffered is dropped.

        Args:
          offset: in bytes, from where `whence` says.
          whence: `io.SEEK_SET`, from the beginning; `io.SEEK_CUR`, from the next byte to be read;
            `io.SEEK_END`, from the end.

        Returns:
          The new place, from the beginning.

        Raises:
          io.UnsupportedOperation: the source is no file.
          ValueError: the place is before the beginning, or `whence` is none of these.
          TypeError: `offset` is no integer.
          trio.BusyResourceError, trio.ClosedResourceError: as `receive_view`.

        Cancellation: atomic.
        """
        if self._is_receiving or self._is_closed:
            await self._refuse_receiving()
        self._is_receiving = True
        try:
            await checkpoint()
            file = self._seekable()
            place = operator.index(offset)
            if whence == io.SEEK_CUR:
                place += self._tell()
            elif whence == io.SEEK_END:
                place += await file.size()
            elif whence != io.SEEK_SET:
                raise ValueError(f"whence must be 0, 1 or 2, not {whence!r}")
            file.read_from(place)
            self._buffer.clear()
            return place
        finally:
            self._is_receiving = False

    def tell(self) -> int:
        """Return the place of the next byte to be read, from the beginning.

        Raises:
          io.UnsupportedOperation: the source is no file.
        """
        return self._tell()

    def _tell(self) -> int:
        offset: int = self._seekable().read_offset
        return offset - len(self._buffer)

    def _seekable(self) -> Any:
        source = self._source
        if not hasattr(source, "read_from"):
            raise io.UnsupportedOperation(f"{source!r} has no places to seek")
        return source


def _lines(newline: Buffer | None) -> Delimited | UniversalLines:
    return UniversalLines() if newline is None else Lines(newline)
