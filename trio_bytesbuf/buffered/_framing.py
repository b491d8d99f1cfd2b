"""`Framing`: how messages are told apart in a stream of bytes. The formats are in `_framings`.

A framing is a value: it keeps nothing of any stream, so one serves any number of them, both ways.

Law 1. `measure` takes nothing out of the buffer. It may be asked again, with the same bytes or with
       more, and says the same once it has said something.
Law 2. What is announced costs nothing: `measure` tells how long a frame will be before it is there,
       and who asks holds that against a limit before waiting for a byte of it.
Law 3. `_cut` is a shortcut and changes no outcome: it cuts frames that lie whole in one window, as
       `measure` would, and stops before the first that does not, or that is over a limit, or bad.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, NamedTuple

from ..seq import BytesView

if TYPE_CHECKING:
    from ..seq._flat import Buffer
    from ._receive_buffer import ReceiveBuffer


class Extent(NamedTuple):
    """How long the frame at the front of a buffer is: bytes before its payload, payload, after.

    What is around a payload is dropped unseen; a framing that wants to check it does so when it
    measures. It may be 64 KiB at the most, and no number is negative, nor all of them 0: a frame
    that is measured otherwise is refused (`BadFrame`).
    """

    before: int
    """How many bytes come before the payload: a length, for example."""

    nbytes: int
    """How many bytes the payload has."""

    after: int = 0
    """How many bytes come after it: a delimiter, for example."""


class Framing(abc.ABC):
    """How messages are told apart in a stream of bytes: a format, for both directions.

    To write one's own: `measure` and `wrap`, which is some ten lines. Then `FrameDecoder`, and
    `frames` of any buffered reader, take it.

    Example:
      >>> class Sections(Framing):  # a kind in one byte, a length in two, then so many bytes
      ...     def measure(self, buffer, max_nbytes):
      ...         header = buffer.peek_bytes(3)
      ...         if header is None:
      ...             return None
      ...         return Extent(before=3, nbytes=int.from_bytes(header[1:], "big"))
      ...     def wrap(self, payload):
      ...         return b"\\1" + len(payload).to_bytes(2, "big"), b""
      >>> decoder = FrameDecoder(Sections())
      >>> decoder.feed(Sections().encode(b"abc") + b"\\1")
      >>> decoder.next_event(), decoder.next_event()
      (BytesView(b'abc'), <FrameEvent.NEED_DATA: 1>)
    """

    __slots__ = ()

    _needs_text = False
    """Whether `_cut` wants the bytes of the window, to search them."""

    _wraps_anything = False
    """Whether `wrap` looks at nothing but the payload's length. Not inherited: ask the class."""

    @abc.abstractmethod
    def measure(self, buffer: ReceiveBuffer, max_nbytes: int) -> Extent | None:
        """Say how long the frame at the front of `buffer` is, as soon as that can be told.

        Args:
          buffer: what has arrived and is not taken yet; look, and take nothing.
          max_nbytes: the most bytes the payload may have. For who has to search; an announced
            length is compared by the caller.

        Returns:
          The frame's extent, whether all of it has arrived or not; None if more is needed to tell.

        Raises:
          BadFrame: these are no bytes of this format.
          LimitExceeded: where a frame ends cannot be told from so many bytes. It is raised anyway
            when 64 KiB more than `max_nbytes` have come and this still says None.
        """

    @abc.abstractmethod
    def wrap(self, payload: BytesView) -> tuple[bytes, bytes]:
        """Return what is sent before `payload`, and what is sent after it.

        Raises:
          ValueError: the format cannot carry this payload.
        """

    def measure_last(self, buffer: ReceiveBuffer) -> Extent | None:
        """Say how long the last frame is, when the stream has ended and `measure` says None.

        Returns:
          Its extent; None, if it is not overridden: that the stream was cut.
        """
        return None

    def droppable_nbytes(self, buffer: ReceiveBuffer) -> int:
        """Return how many bytes can be dropped when a frame is skipped and `measure` says None.

        What is dropped must not change where the frame ends.
        """
        return 0

    def encode(self, payload: BytesView | Buffer) -> BytesView:
        """Return `payload` as it is sent, uncopied.

        Raises:
          ValueError: the format cannot carry this payload.
          TypeError: it is no view and no buffer.

        Cost: a piece for what is before, one for what is after.
        """
        view = payload if isinstance(payload, BytesView) else BytesView(payload)
        before, after = self.wrap(view)
        return BytesView.from_views((BytesView(before), view, BytesView(after)))

    def _cut(
        self,
        window: Any,
        text: bytes | None,
        at: int,
        items: list[Any],
        max_items: int,
        max_nbytes: int,
    ) -> int:
        """Append the payloads of whole frames in `window`, from `at` on; return where that ends.

        (Law 3)
        """
        return at

    def _cut_one(
        self, window: Any, text: bytes | None, at: int, max_nbytes: int
    ) -> tuple[Any, int] | None:
        """Return the payload of the frame at `at`, and where the frame ends; or None. (Law 3)"""
        items: list[Any] = []
        end = self._cut(window, text, at, items, 1, max_nbytes)
        return (items[0], end) if items else None
