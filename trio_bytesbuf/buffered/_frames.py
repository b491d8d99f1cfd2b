"""`FrameReceiveChannel` and `FrameSendChannel`: trio's channels, over framed bytes.

Law 1. A channel holds no bytes: frames are cut out of the reader's buffer when they are given
       away. So the reader, or another channel over it, goes on where this one stopped.
Law 2. `receive`, and each step of ``async for``, is a checkpoint for each frame, as trio has it.
       What is quick is a batch, one checkpoint for all frames at hand, and `try_receive`, none.
Law 3. A frame is sent whole or not at all, as far as the peer can tell: a send that is cancelled
       leaves what was not sent in the writer, and what is sent next goes behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, Self, TypeVar

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from .._errors import FrameTooLarge
from ..seq import BytesView
from ._cutter import FrameCutter

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import SupportsIndex

    from ..seq._flat import Buffer
    from ._cutter import Kind
    from ._filling import Filling
    from ._framing import Framing

T_co = TypeVar("T_co", covariant=True)

NO_MORE: Final = "the stream has ended, and there are no more frames"


class FrameReceiveChannel(trio.abc.ReceiveChannel[T_co], Generic[T_co]):
    """Whole frames, one by one or all that are at hand; made by `frames`, `lines`, `text_lines`.

    A `trio.abc.ReceiveChannel`. Closing it closes the reader; to go on with the reader, just do.

    Example:
      >>> async def main():
      ...     reader = BufReader(FakeRead(b"3:one,3:two,5:three,", max_read_nbytes=13))
      ...     frames = reader.frames(Netstring())
      ...     print(await frames.receive())
      ...     async for batch in frames.batches():
      ...         print(batch)
      >>> trio.run(main)
      BytesView(b'one')
      [BytesView(b'two')]
      [BytesView(b'three')]
    """

    def __init__(self, reader: Filling, framing: Framing, limit: int, kind: Kind[Any]) -> None:
        self._reader = reader
        self._cutter: FrameCutter[T_co] = FrameCutter(reader._buffer, framing, limit, kind)

    def __repr__(self) -> str:
        return f"<FrameReceiveChannel of {self._cutter._framing!r} over {self._reader!r}>"

    def try_receive(self) -> T_co | None:
        """Return the next frame if all of it is in the buffer, else None; never waits.

        None says nothing of the end of the stream: `receive` does.

        Raises:
          trio.BusyResourceError: a task is reading.
          trio.ClosedResourceError: the reader was closed.
          As `receive`, of frames that are too large or bad.

        Cost: no checkpoint.
        """
        reader = self._reader
        if reader._is_receiving or reader._is_closed:
            reader._refuse_reading_now()
        return self._cutter.take()

    async def receive(self) -> T_co:
        """Wait until a whole frame has arrived and return it.

        Raises:
          trio.EndOfChannel: the stream has ended behind a whole frame.
          UnexpectedEof: the stream has ended in the middle of a frame.
          FrameTooLarge: the frame has, or announces, more bytes than are allowed. To go on with the
            next, call `skip`; to accept it, make another channel over the reader.
          LimitExceeded: as many bytes have come, and no end of the frame.
          BadFrame: these are no bytes of the format.
          UnicodeDecodeError: a line is no text; `skip` goes on with the next.
          trio.BusyResourceError: another task is reading.
          trio.ClosedResourceError: the reader was closed, here or by another task.
          trio.BrokenResourceError: the connection is gone.

        Whatever is raised, what has arrived is still to be read.

        Cancellation: resumable. No byte is lost.
        """
        reader = self._reader
        if reader._is_receiving or reader._is_closed:
            await reader._refuse_receiving()
        reader._is_receiving = True
        try:
            if reader._buffer._stop:  # else there is nothing to be looked at
                item = self._cutter.look()
                if item is not None:
                    await checkpoint()
                    if reader._is_closed:  # by another task
                        reader._refuse_if_closed()
                    self._cutter.pass_by()
                    return item
            while await reader._fill():
                item = self._cutter.take()
                if item is not None:
                    return item
            item = self._cutter.take_last()
            if item is not None:
                return item
            raise trio.EndOfChannel(NO_MORE)
        finally:
            reader._is_receiving = False

    async def receive_batch(self, max_items: SupportsIndex | None = None) -> list[T_co]:
        """Wait until there is a whole frame, and return all that are there, for one checkpoint.

        Args:
          max_items: the most frames to return, at least 1; if not given, 1,000, or 350
            memoryviews, or 150 views. A batch ends with the frame that brings it to 128 KiB
            anyway, and may end at 32.

        Returns:
          At least one frame.

        Raises:
          As `receive`, but what comes before an error is returned first.

        Cancellation: resumable. No byte is lost.
        """
        count = self._cutter.batch_items(max_items)
        reader = self._reader
        if reader._is_receiving or reader._is_closed:
            await reader._refuse_receiving()
        reader._is_receiving = True
        try:
            await checkpoint_if_cancelled()
            if reader._buffer._stop:
                items = self._cutter.take_batch(count)
                if items:
                    try:
                        await cancel_shielded_checkpoint()
                    except MemoryError:  # it is out of the buffer: give it away all the same
                        return items
                    return items
            while await reader._fill():
                items = self._cutter.take_batch(count)
                if items:
                    return items
            item = self._cutter.take_last()
            if item is not None:
                return [item]
            raise trio.EndOfChannel(NO_MORE)
        finally:
            reader._is_receiving = False

    def batches(self, max_items: SupportsIndex | None = None) -> FrameBatches[T_co]:
        """Return an async iterator over lists of frames, until the stream ends.

        Each step equals `receive_batch(max_items)`, with its errors.

        Cancellation: resumable. No byte is lost; iterate again to go on.

        Example:
          >>> async def main():
          ...     reader = BufReader(FakeRead(b"one\\ntwo\\nthree"))
          ...     async for batch in reader.lines().batches():
          ...         print(batch)
          >>> trio.run(main)
          [b'one', b'two']
          [b'three']
        """
        return FrameBatches(self, self._cutter.batch_items(max_items))

    async def skip(self) -> None:
        """Drop the next frame, however long it is, as it arrives.

        Raises:
          trio.EndOfChannel: there is none.
          As `receive` otherwise.

        Cancellation: resumable. What has come of the frame is dropped; the next call of this
        channel, of whatever kind, drops the rest first.
        """
        reader = self._reader
        if reader._is_receiving or reader._is_closed:
            await reader._refuse_receiving()
        reader._is_receiving = True
        try:
            await checkpoint_if_cancelled()
            if reader._buffer and self._cutter.skip():
                await cancel_shielded_checkpoint()
                return
            while await reader._fill():
                if self._cutter.skip():
                    return
            if not self._cutter.skip_last():
                raise trio.EndOfChannel(NO_MORE)
        finally:
            reader._is_receiving = False

    async def aclose(self) -> None:
        """Close the reader, and with it the stream. Cancellation: it is closed all the same."""
        await self._reader.aclose()


class FrameBatches(Generic[T_co]):
    """Lists of frames, each of what is at hand and never empty; made by `batches`."""

    def __init__(self, channel: FrameReceiveChannel[T_co], max_items: int) -> None:
        self._channel = channel
        self._max_items = max_items

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[T_co]:
        try:
            return await self._channel.receive_batch(self._max_items)
        except trio.EndOfChannel:
            raise StopAsyncIteration from None


class FrameSink(Protocol):
    """What frames are sent with: a buffered writer."""

    _is_closed: bool
    _is_sending: bool
    _buffered_nbytes: int

    def write(self, data: BytesView | Buffer) -> None:
        """Put all bytes of `data` into the buffer."""
        ...  # a protocol has no body

    def _put_to_send(self, parts: Collection[bytes | BytesView]) -> None:
        """Put all bytes of `parts` into the buffer, however many: they are sent at once."""
        ...

    async def _flush(self, nbytes: int) -> None:
        """Send so many bytes of the buffer; who calls this has claimed the side."""
        ...

    async def _refuse_sending(self) -> None:
        """Raise what keeps the side from being claimed, or wait until nothing does."""
        ...

    async def aclose(self) -> None:
        """Send what is in the buffer, and close."""
        ...


JOINED_NBYTES: Final = 1024
"""Up to so many bytes are copied behind what is there, by a writer, and here behind the length: a
piece of its own costs more, here and in the system call."""


class FrameSendChannel(trio.abc.SendChannel["BytesView | Buffer"]):
    """Sends whole frames; made by `frame_sender` of a buffered writer.

    A `trio.abc.SendChannel`. Closing it flushes and closes the writer.

    Example:
      >>> async def main():
      ...     sink = FakeWrite()
      ...     channel = BufWriter(sink).frame_sender(LengthPrefixed(2))
      ...     await channel.send(b"one")
      ...     await channel.send_batch([b"two", b"three"])
      ...     return sink.contents.to_bytes()
      >>> trio.run(main)
      b'\\x00\\x03one\\x00\\x03two\\x00\\x05three'
    """

    def __init__(self, writer: FrameSink, framing: Framing, limit: int) -> None:
        self._writer = writer
        self._framing = framing
        self._max_nbytes = limit
        self._wraps_anything = "_wraps_anything" in vars(type(framing))

    def __repr__(self) -> str:
        return f"<FrameSendChannel of {self._framing!r} over {self._writer!r}>"

    def _encode(self, payload: BytesView | Buffer) -> bytes | BytesView:
        if type(payload) is bytes and self._wraps_anything:  # the common case, written out
            nbytes = len(payload)
            if nbytes <= JOINED_NBYTES and nbytes <= self._max_nbytes:
                before, after = self._framing.wrap(payload)  # type: ignore[arg-type]
                return before + payload + after
        view = payload if isinstance(payload, BytesView) else BytesView(payload)
        if len(view) > self._max_nbytes:
            raise FrameTooLarge(limit=self._max_nbytes, arrived=0, announced=len(view))
        return self._framing.encode(view)

    def write(self, payload: BytesView | Buffer) -> None:
        """Put a frame into the writer's buffer; the next flush sends it. Never waits.

        Raises:
          FrameTooLarge: the payload has more bytes than are allowed.
          ValueError: the format cannot carry it.
          BufferFull: the writer's buffer has no room for it; nothing was put.
          As `BufWriter.write` otherwise.
        """
        self._writer.write(self._encode(payload))

    async def send(self, value: BytesView | Buffer) -> None:
        """Send a frame, and all that the writer has buffered before.

        Raises:
          FrameTooLarge, ValueError: as `write`; nothing was sent.
          As `BufWriter.send_all` otherwise.

        Cancellation: as `BufWriter.send_all`: over sinks that report progress the frame, once it
        was begun, stays in the writer, and whatever is sent next goes behind it; do not send it
        again.
        """
        writer = self._writer
        frame = self._encode(value)
        if writer._is_sending or writer._is_closed:
            await writer._refuse_sending()
        writer._is_sending = True
        try:
            writer._put_to_send((frame,))
            del frame  # an error that is kept holds this frame, but no memory
            await writer._flush(writer._buffered_nbytes)
        finally:
            writer._is_sending = False

    async def send_batch(self, payloads: Iterable[BytesView | Buffer]) -> None:
        """Send several frames at once; else as `send`. If one is refused none is sent."""
        await self._send([self._encode(payload) for payload in payloads])

    async def _send(self, frames: Collection[bytes | BytesView]) -> None:
        writer = self._writer
        if writer._is_sending or writer._is_closed:
            await writer._refuse_sending()
        writer._is_sending = True
        try:
            writer._put_to_send(frames)
            del frames  # an error that is kept holds this frame, but no memory
            await writer._flush(writer._buffered_nbytes)
        finally:
            writer._is_sending = False

    async def aclose(self) -> None:
        """Flush and close the writer; as `BufWriter.aclose`."""
        await self._writer.aclose()
