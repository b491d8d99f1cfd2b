"""`Writing`: what a buffered writer does: it takes bytes at once and sends them when told to.

    | queue: pieces, in order | tail: small ones, joined |
    |<------------------ buffered_nbytes --------------->|

Law 1. What is in the buffer has not been sent, as far as the sink tells; what was sent is in it no
       more. Sinks that count exactly (`_counts_exactly`) tell of each byte when it is gone, so a
       flush that is cancelled is gone on with by the next, and no byte is sent twice.
Law 2. Other sinks tell nothing before all is sent. If a flush over one is cancelled nobody knows
       what the peer has, so the writer is spoiled: it sends nothing more, and shows what it has.
Law 3. What is taken cannot be changed by who gave it: mutable memory is copied, `bytes` and the
       memory of views is not, unless it is little.
Law 4. `write` never waits and takes everything or nothing: never more than `max_nbytes` in all.
Law 5. Nothing is sent by a finalizer.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final, NoReturn, SupportsIndex

import attrs
import trio
from trio.lowlevel import checkpoint

from .._errors import BufferFull
from ..io import Write, from_trio
from ..io._trio_sides import SendsAll
from ..seq import BufMut, BytesView
from ..seq._flat import count_of, flat, positive_count_of
from ..seq._view import make_view
from ._cutter import MAX_FRAME_NBYTES
from ._frames import JOINED_NBYTES, FrameSendChannel
from ._framing import Framing

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import TracebackType

    from ..seq import Memory
    from ..seq._flat import Buffer

LOW_WATER_NBYTES: Final = 16_384
HIGH_WATER_NBYTES: Final = 65_536
"""As asyncio's streams have them, which is what users of `drain` are used to."""

LENT_NBYTES: Final = 4096
"""How much room `chunk_mut` lends at a time."""


@attrs.frozen
class Marks:
    """How much a buffered writer holds before somebody should wait, and before it refuses."""

    low_nbytes: int
    high_nbytes: int
    max_nbytes: int

    @classmethod
    def of(
        cls, low: SupportsIndex | None, high: SupportsIndex | None, most: SupportsIndex
    ) -> Marks:
        """Check and return them; what is None is as usual, or as high as it can be.

        Raises:
          ValueError: they are not in this order, or `most` is below 1.
        """
        max_nbytes = positive_count_of(most, "max_nbytes")
        high_nbytes = min(HIGH_WATER_NBYTES, max_nbytes)
        if high is not None:
            high_nbytes = count_of(high, "high_water_nbytes")
        low_nbytes = min(LOW_WATER_NBYTES, high_nbytes)
        if low is not None:
            low_nbytes = count_of(low, "low_water_nbytes")
        marks = cls(low_nbytes, high_nbytes, max_nbytes)
        if not marks.low_nbytes <= marks.high_nbytes <= marks.max_nbytes:
            raise ValueError(
                f"low_water_nbytes {marks.low_nbytes}, high_water_nbytes {marks.high_nbytes} and "
                f"max_nbytes {marks.max_nbytes} must be in this order"
            )
        return marks


class Writing(SendsAll, BufMut):
    """The writing half of `BufWriter` and `BufStream`."""

    _sink: Write
    _inner: Any
    _marks: Marks
    _queue: list[memoryview]
    _tail: bytearray
    _buffered_nbytes = 0
    _told_nbytes = 0  # by the sink, in all
    _is_spoiled = False
    _is_broken = False
    _is_end_announced = False
    _lent: bytearray | None = None
    _sending_is_over: trio.Event | None = None
    """While somebody waits until no task is sending."""

    def _write_to(self, sink: Write | trio.abc.SendStream, marks: Marks) -> None:
        """Write to `sink` from now on; the rest of a constructor."""
        self._marks = marks
        self._queue = []
        self._tail = bytearray()
        # Each its own from the start: to get one later may lack memory, in the middle of the books.
        self._buffered_nbytes = self._told_nbytes = 0
        self._is_spoiled = self._is_broken = self._is_end_announced = False
        made: object = sink if isinstance(sink, Write) else from_trio(sink)
        if not isinstance(made, Write):
            raise TypeError(f"a Write or a SendStream is wanted, not {type(sink).__name__}")
        self._sink = made
        self._inner = sink

    @property
    def memory(self) -> Memory:
        """The sink's."""
        return self._sink.memory

    # What is in the buffer

    @property
    def unsent(self) -> BytesView:
        """The bytes that were written and, as far as is known, not sent; for who looks on."""
        return self._front(self._buffered_nbytes)

    @property
    def unsent_nbytes(self) -> int:
        """How many bytes were written and, as far as is known, not sent."""
        return self._buffered_nbytes

    @property
    def wants_drain(self) -> bool:
        """Whether there is more in the buffer than the high water mark: time for `drain`."""
        return self._buffered_nbytes > self._marks.high_nbytes

    def _refuse_writing_now(self) -> NoReturn:
        """Raise what keeps bytes from being taken, without a checkpoint."""
        if self._is_closed:
            raise trio.ClosedResourceError(f"this {type(self).__name__} was closed")
        if self._is_end_announced:
            raise trio.ClosedResourceError("the end of this stream was announced by send_eof")
        raise trio.BrokenResourceError(
            "an earlier flush did not come to its end, and nobody knows what the peer has"
        )

    # Writing, which never waits

    def write(self, data: BytesView | Buffer) -> None:
        """Put all bytes of `data` behind what is in the buffer; a flush sends them. Never waits.

        Args:
          data: a view, or any contiguous buffer. What can be changed is copied.

        Raises:
          BufferFull: there would be more than `max_nbytes` in the buffer; nothing was put.
          TypeError: `data` is no view and no buffer.
          trio.ClosedResourceError: this was closed, or the end of the stream announced.
          trio.BrokenResourceError: an earlier flush was cancelled or failed, over a sink that does
            not say how much it has sent.

        Cost: one copy up to 1 KiB, and none of `bytes` and views beyond.
        """
        if self._is_closed or self._is_spoiled or self._is_end_announced:
            self._refuse_writing_now()
        if type(data) is bytes or type(data) is bytearray:
            nbytes = len(data)
            total = self._buffered_nbytes + nbytes
            if nbytes <= JOINED_NBYTES and total <= self._marks.max_nbytes:
                self._tail += data  # the common case, written out: a request, a reply, a header
                self._buffered_nbytes = total
                return
        view = _lasting(data)
        nbytes = view._nbytes
        if nbytes and self._buffered_nbytes + nbytes > self._marks.max_nbytes:
            raise BufferFull(
                requested=nbytes, available=max(0, self._marks.max_nbytes - self._buffered_nbytes)
            )
        self._put(view)

    def _put(self, view: BytesView) -> None:
        """Put a view whose bytes will not change behind what is there. All of it, or nothing."""
        total = self._buffered_nbytes + view._nbytes  # now, as even a number may lack memory
        if view._nbytes <= JOINED_NBYTES:
            pieces = view._pieces
            self._tail += pieces[0] if len(pieces) == 1 else b"".join(pieces)
        else:
            self._seal()
            self._queue += view._pieces
        self._buffered_nbytes = total

    def _seal(self) -> None:
        """Make a piece of the small ones that were joined."""
        if self._tail:
            fresh = bytearray()
            self._queue.append(memoryview(self._tail).toreadonly())
            self._tail = fresh

    def write_line(self, line: str | BytesView | Buffer, newline: Buffer = b"\n") -> None:
        """Put a line and its end; text as UTF-8. Otherwise as `write`.

        Raises:
          ValueError: the line has a `newline` in it, so it would arrive as several; or, if that is
            CRLF, a CR or a LF, which some peers take for the end of a line. Or `newline` is empty.
        """
        end = bytes(memoryview(newline))
        data = line.encode() if isinstance(line, str) else line
        view = data if isinstance(data, BytesView) else BytesView(data)
        if not end:
            raise ValueError("a newline has at least one byte")
        whole = view.to_bytes() + end
        unwanted = (b"\r", b"\n") if end == b"\r\n" else (end,)
        if any(-1 < whole.find(one) < len(view) for one in unwanted):
            raise ValueError(f"this line has one of {unwanted} in it, and would arrive as several")
        self.write(whole)

    # Writing as a `BufMut`: numbers, structs, texts

    def remaining_mut(self) -> int:
        """Return how many bytes can be put before `max_nbytes` are in the buffer."""
        return max(0, self._marks.max_nbytes - self._buffered_nbytes)

    def put_slice(self, data: Buffer, /) -> None:
        """Do what `write` does, under the name that every `BufMut` has for it."""
        self.write(data)

    def chunk_mut(self) -> memoryview:
        """Lend room for writing; `advance_mut` ends the loan. See `BufMut`."""
        if self._is_closed or self._is_spoiled or self._is_end_announced:
            self._refuse_writing_now()
        self._lent = bytearray(min(LENT_NBYTES, self.remaining_mut()))
        return memoryview(self._lent)

    def advance_mut(self, nbytes: SupportsIndex) -> None:
        """Write the first `nbytes` bytes of the room that was lent; see `BufMut`."""
        filled = count_of(nbytes, "nbytes")
        lent = self._lent or bytearray()
        if filled > len(lent):
            raise BufferFull(requested=filled, available=len(lent))
        self.write(lent[:filled])
        self._lent = None

    # Sending

    async def flush(self) -> None:
        """Send what is in the buffer now; what is written meanwhile stays for the next flush.

        Raises:
          trio.BusyResourceError: another task is flushing or sending.
          trio.ClosedResourceError: this was closed, here or by another task.
          trio.BrokenResourceError: the connection is gone; or an earlier flush was cancelled over
            a sink that does not say how much it has sent. `unsent` has what was not sent.

        Cancellation: *resumable* over sockets, pipes, files and guards of them: what was not sent
        stays in the buffer, and the next flush goes on there. *Spoils* over TLS and streams of
        others, which do not say how far they are: close this, nothing more is sent.

        Cost: one system call if the peer keeps up.
        """
        if self._is_sending or self._is_closed:
            await self._refuse_sending()
        self._is_sending = True
        try:
            await self._flush(self._buffered_nbytes)
        finally:
            self._is_sending = False

    async def drain(self) -> None:
        """If more than the high water mark is in the buffer, send until it is the low one.

        Raises:
          As `flush`; but where nothing has to be sent, a flush of another task is no hindrance.

        Cancellation: as `flush`.
        """
        if not (self.wants_drain or self._is_closed):
            await checkpoint()
            return
        if self._is_sending or self._is_closed:
            await self._refuse_sending()
        self._is_sending = True
        try:
            # Less than the mark, if that was sent while this waited for its turn.
            await self._flush(max(0, self._buffered_nbytes - self._marks.low_nbytes))
        finally:
            self._is_sending = False

    async def _flush(self, nbytes: int) -> None:
        """Send the first `nbytes` bytes of the buffer. (Laws 1 and 2)"""
        if self._is_spoiled or not nbytes:
            try:
                await checkpoint()
            finally:
                self._tell_that_sending_is_over()
            if self._is_spoiled:
                self._refuse_writing_now()
            return
        view = self._front(nbytes)
        sink = self._sink
        if sink._counts_exactly:
            before = sink._progress
            goal = self._told_nbytes + nbytes
            try:
                sink._progress = self._sent
                await sink.write_view(view)
                self._is_broken = False
                if self._told_nbytes < goal:  # a subclass of a sink that tells may not
                    self._sent(goal - self._told_nbytes)
            except trio.BrokenResourceError:
                self._is_broken = True  # whoever flushed is told now, and need not be by `aclose`
                raise
            finally:
                sink._progress = before
                self._tell_that_sending_is_over()
                del view  # an error that is kept holds this frame, but no memory
        else:
            try:
                await sink.write_view(view)
            except BaseException as exc:
                self._is_spoiled = True  # and not before: others may write meanwhile
                self._is_broken = not isinstance(exc, trio.Cancelled)
                raise
            else:
                self._sent(nbytes)
            finally:
                self._tell_that_sending_is_over()
                del view

    def _front(self, nbytes: int) -> BytesView:
        """Return the first `nbytes` bytes of the buffer, which are there."""
        self._seal()
        if nbytes == self._buffered_nbytes:
            return make_view(tuple(self._queue), nbytes)
        return make_view(tuple(self._queue), self._buffered_nbytes)[:nbytes]

    def _sent(self, nbytes: int) -> None:
        """Drop the first `nbytes` bytes, which are sent."""
        told_nbytes = self._told_nbytes + nbytes
        behind = min(nbytes, self._buffered_nbytes)  # less if this was closed, and all dropped
        left = self._buffered_nbytes - behind
        queue = self._queue
        count = 0
        for piece in queue:
            if behind < piece.nbytes:
                break
            behind -= piece.nbytes
            count += 1
        rest = queue[count][behind:] if behind else None
        del queue[:count]
        if rest is not None:
            queue[0] = rest
        self._told_nbytes, self._buffered_nbytes = told_nbytes, left
        if self._progress is not None:
            self._progress(nbytes)

    async def _write_view(self, view: BytesView) -> None:
        """Do what `send_all` does, with a view."""
        try:
            await self._send(_lasting(view))
        finally:
            del view  # an error that is kept holds this frame, but no memory

    async def _send_all(self, data: memoryview) -> None:
        # A copy, as the rest stays here if this is cancelled: of what is `bytes` already, none.
        exporter = data.obj
        is_whole = type(exporter) is bytes and len(exporter) == data.nbytes
        await self._send(BytesView(exporter if is_whole else bytes(data)))

    async def _send(self, view: BytesView) -> None:
        # Refused before a checkpoint could be cancelled: what is cancelled counts as written.
        self._put_to_send((view,))
        del view
        await self._flush(self._buffered_nbytes)

    def _put_to_send(self, parts: Collection[bytes | BytesView]) -> None:
        """Put all bytes of `parts`, however many: whoever calls this waits until they are sent."""
        if self._is_spoiled or self._is_end_announced:
            self._refuse_writing_now()
        if self._buffered_nbytes > self._marks.max_nbytes:
            raise BufferFull(requested=sum(map(len, parts)), available=0)
        total = self._buffered_nbytes
        try:
            for part in parts:
                if type(part) is bytes and len(part) <= JOINED_NBYTES:
                    nbytes = self._buffered_nbytes + len(part)
                    self._tail += part
                    self._buffered_nbytes = nbytes
                else:
                    self._put(_lasting(part))
        except BaseException:
            self._take_back(total)
            raise

    def _take_back(self, nbytes: int) -> None:
        """Drop what was put behind the first `nbytes` bytes: not all that belongs to it was."""
        view = self._front(self._buffered_nbytes)[:nbytes]
        self._queue[:] = view._pieces
        self._buffered_nbytes = nbytes

    async def send_all(self, data: BytesView | Buffer) -> None:
        """Write all of `data`, and flush: when this returns, all is sent.

        Takes more than `max_nbytes`, since the caller waits, but not while that much is in the
        buffer already, from sends that were cancelled.

        Raises:
          BufferFull: more than `max_nbytes` bytes are in the buffer; flush first. Nothing was put.
          TypeError: `data` is no view and no buffer.
          As `flush` otherwise.

        Cancellation: `data` counts as written, whatever was sent of it. To go on, call `flush`,
        and never this again with the same bytes. Otherwise as `flush`.
        """
        await super().send_all(data)

    async def _wait_write_might_not_block(self) -> None:
        try:
            await self._sink.wait_write_might_not_block()
        finally:
            self._tell_that_sending_is_over()

    # Its memory

    def _held_nbytes(self) -> int:
        """Return how many bytes of memory what was not sent keeps; objects count whole, once."""
        exporters = {id(piece.obj): piece.obj for piece in self._queue}
        return len(self._tail) + sum(memoryview(one).nbytes for one in exporters.values())

    def _compact(self) -> None:
        """Copy what was not sent, if it keeps more than it is; not while somebody sends it."""
        if not self._is_sending and self._held_nbytes() > self._buffered_nbytes:
            self._seal()
            data = b"".join(self._queue)
            self._queue[:] = [memoryview(data)] if data else []

    # In frames

    def frame_sender(
        self, framing: Framing, *, max_bytes: SupportsIndex = MAX_FRAME_NBYTES
    ) -> FrameSendChannel:
        """Return a channel that sends payloads in frames.

        Args:
          framing: how frames are told apart.
          max_bytes: the most bytes that a payload may have.

        Raises:
          TypeError: `framing` is no `Framing`.
          ValueError: `max_bytes` is negative.
        """
        if not isinstance(framing, Framing):
            raise TypeError(f"a Framing is wanted, not {type(framing).__name__}")
        return FrameSendChannel(self, framing, count_of(max_bytes, "max_bytes"))

    # The end

    async def _flush_before_closing(self) -> None:
        """Wait for what another task sends, and send the rest."""
        await self._wait_until_idle()
        await self._flush_if_idle()

    async def _wait_until_idle(self) -> None:
        """Wait until no task is sending."""
        while self._is_sending:
            if self._sending_is_over is None:
                self._sending_is_over = trio.Event()
            await self._sending_is_over.wait()

    def _tell_that_sending_is_over(self) -> None:
        """Wake who waits for it; the claim is given up before any of them runs."""
        if self._sending_is_over is not None:
            self._sending_is_over.set()
            self._sending_is_over = None

    async def _flush_if_idle(self) -> None:
        """Send what is in the buffer, unless another task does, or nothing can be sent any more."""
        is_hopeless = self._is_spoiled or self._is_broken
        if self._buffered_nbytes and not (self._is_sending or is_hopeless):
            self._is_sending = True
            try:
                await self._flush(self._buffered_nbytes)
            finally:
                self._is_sending = False

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is None:
            await self.aclose()
        else:  # what was to be said may be half said, and the peer must not take it for all
            await trio.aclose_forcefully(self)

    def _drop(self) -> None:
        """Forget what was not sent: this was closed."""
        self._queue.clear()
        self._tail = bytearray()
        self._buffered_nbytes = 0

    def __del__(self) -> None:
        nbytes = self._buffered_nbytes
        if nbytes and not self._is_closed:
            warnings.warn(
                f"a {type(self).__name__} was forgotten with {nbytes} bytes that were not sent",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )


def _lasting(data: BytesView | Buffer) -> BytesView:
    """Return a view of bytes that nobody can change. (Law 3)"""
    if isinstance(data, BytesView):
        refs = data._refs
        if refs is None or not any(ref is not None and ref.may_change for ref in refs):
            return data
        return BytesView(data.to_bytes())
    if type(data) is bytes:
        return BytesView(data)
    with flat(data) as source:
        return BytesView(bytes(source))


def check_writing(writer: Writing) -> None:
    """Raise AssertionError if a law of this file is broken."""
    held = sum(piece.nbytes for piece in writer._queue) + len(writer._tail)
    assert writer._buffered_nbytes == held, "Law 1: the books are wrong"
    assert all(piece.nbytes and piece.readonly for piece in writer._queue), "Law 3"
