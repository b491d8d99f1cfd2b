"""`FrameDecoder`: a framing without any stream, event loop or clock: bytes in, frames out."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

import attrs

from ..seq import BytesView
from ..seq._flat import count_of
from ._cutter import MAX_FRAME_NBYTES, FrameCutter, kind_of
from ._framing import Framing
from ._receive_buffer import ReceiveBuffer

if TYPE_CHECKING:
    from typing import SupportsIndex

    from ..seq._flat import Buffer

T = TypeVar("T", BytesView, memoryview, bytes)


class FrameEvent(enum.Enum):
    """What `FrameDecoder.next_event` says where it has no frame."""

    NEED_DATA = 1
    """The frame at the front is not all there; feed more."""

    END = 2
    """The stream has ended behind a whole frame. It is said again whenever asked."""


@attrs.define(eq=False, init=False, repr=False)
class FrameDecoder(Generic[T]):
    """Takes bytes as they come and gives whole frames: a framing, usable with any source or none.

    Args:
      framing: how frames are told apart.
      item_type: what frames are given as: `BytesView`, `memoryview` or `bytes`.
      max_nbytes: the most bytes that a frame's payload may have.

    An error changes nothing: asked again, the decoder raises it again. What it is about is still
    there, for `skip_frame`, or for `take_rest`.

    Raises:
      TypeError: `framing` is no `Framing`, or an argument has another type than is said here.
      ValueError: `max_nbytes` is negative.

    Example:
      >>> decoder = FrameDecoder(LengthPrefixed(1), max_nbytes=10)
      >>> decoder.feed(b"\\3abc\\4de")
      >>> decoder.next_event(), decoder.next_event()
      (BytesView(b'abc'), <FrameEvent.NEED_DATA: 1>)
      >>> decoder.feed_eof()
      >>> decoder.next_event()
      Traceback (most recent call last):
      trio_bytesbuf._errors.UnexpectedEof: wanted 5 bytes, the stream ended after 3

    Idea: h11's `Connection`, and trio's issue 796.
    """

    _buffer: ReceiveBuffer
    _cutter: FrameCutter[T]
    _is_ended: bool

    @overload
    def __init__(
        self: FrameDecoder[BytesView], framing: Framing, *, max_nbytes: SupportsIndex = ...
    ) -> None: ...

    @overload
    def __init__(
        self, framing: Framing, item_type: type[T], *, max_nbytes: SupportsIndex = ...
    ) -> None: ...

    def __init__(
        self,
        framing: Framing,
        item_type: type[Any] = BytesView,
        *,
        max_nbytes: SupportsIndex = MAX_FRAME_NBYTES,
    ) -> None:
        if not isinstance(framing, Framing):
            raise TypeError(f"a Framing is wanted, not {type(framing).__name__}")
        self._buffer = ReceiveBuffer()
        limit = count_of(max_nbytes, "max_nbytes")
        self._cutter = FrameCutter(self._buffer, framing, limit, kind_of(item_type))
        self._is_ended = False

    def __repr__(self) -> str:
        return f"<FrameDecoder of {self._cutter._framing!r}, {len(self._buffer)} bytes waiting>"

    @property
    def buffered_nbytes(self) -> int:
        """How many bytes were fed and not given away."""
        return len(self._buffer)

    def feed(self, data: BytesView | Buffer) -> None:
        """Put what has arrived behind what is there. Of mutable buffers a copy is made.

        Raises:
          ValueError: the end was fed before.
          TypeError: `data` is no view and no buffer.

        Cost: proportional to the number of pieces.
        """
        if self._is_ended:
            raise ValueError("the end was fed, and nothing comes after it")
        self._buffer.feed(data)

    def feed_eof(self) -> None:
        """Say that nothing more will come. Twice is harmless."""
        self._is_ended = True

    def next_event(self) -> T | Literal[FrameEvent.NEED_DATA, FrameEvent.END]:
        """Return the next frame, or what keeps it from being there.

        Raises:
          FrameTooLarge: the frame has more bytes than are allowed; it is known before they come.
          LimitExceeded: so many bytes have come, and no end of the frame.
          BadFrame: these are no bytes of this format.
          UnexpectedEof: the end was fed in the middle of a frame.

        Cost: no copy; proportional to what was not looked at before.
        """
        item = self._cutter.take()
        if item is None and self._is_ended:
            item = self._cutter.take_last()
        if item is not None:
            return item
        if self._is_ended:
            return FrameEvent.END
        self._buffer.settle()  # whoever feeds this waits for a peer now
        return FrameEvent.NEED_DATA

    def next_events(self, max_items: SupportsIndex | None = None) -> list[T]:
        """Return the frames that are there, at most `max_items`; an empty list if there is none.

        As `receive_batch` of a channel: if not given, 1,000, or 350 memoryviews, or 150 views; and
        some 128 KiB.

        An empty list does not tell whether the stream has ended: `next_event` does.

        Raises:
          ValueError: `max_items` is below 1.
          As `next_event`; but what comes before the error is returned first.

        Cost: a fifth of what as many `next_event` cost.
        """
        items = self._cutter.take_batch(self._cutter.batch_items(max_items))
        if not items and self._is_ended:
            last = self._cutter.take_last()
            return [] if last is None else [last]
        if not items:
            self._buffer.settle()
        return items

    def skip_frame(self) -> None:
        """Drop the frame at the front, what is here of it and the rest when it comes.

        Raises:
          BadFrame: where a frame ends cannot be told from bytes of another format.
        """
        self._cutter.skip()

    def take_rest(self) -> BytesView:
        """Take what was fed and not given away: for who speaks another protocol from here on."""
        return self._buffer.take_all()
