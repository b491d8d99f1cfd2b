"""`FrameCutter`: frames out of a buffer, for whoever has one: a decoder, a channel.

Law 1. A frame is taken when all of it is there and it could be made into what is wanted; until then
       its bytes stay. What is refused (too large, bad, no text) is the same when asked again.
Law 2. What comes before something that is refused is given away first.
Law 3. Frames that lie whole in the window are cut in one go; for one that does not, it is measured.
       Either way no byte is looked at again that was searched in vain.
Law 4. A frame that is skipped is dropped as it arrives. Until its end it is nothing else's turn.
"""

from __future__ import annotations

import codecs
import sys
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import attrs

from .._errors import BadFrame, FrameTooLarge, LimitExceeded, UnexpectedEof
from ..seq import BytesView
from ..seq._flat import positive_count_of
from ..seq._view import make_view
from ._framing import Extent

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import SupportsIndex

    from ..seq import BlockRef
    from ._framing import Framing
    from ._receive_buffer import ReceiveBuffer

T = TypeVar("T")

MAX_FRAME_NBYTES: Final = 1_048_576
"""How many bytes a payload may have if nobody says otherwise."""

BATCH_ITEMS: Final = 1000
"""How many frames one batch has at the most if nobody says otherwise: some 100 to 300 µs of
cutting, after which it is another task's turn."""

BATCH_MEMORYVIEWS: Final = 350
BATCH_VIEWS: Final = 150
"""How many if they are memoryviews or views: one and three objects that the garbage collector looks
at. Until 3.12 it does so after 700, and two batches exist at a time: 350 views in each cost twice
as much."""

SHOWN_NBYTES: Final = 32
"""How many bytes an error shows: enough to tell what they are of."""

OVERHEAD_NBYTES: Final = 65_536
"""How much a frame may have around its payload, and how much more than a payload may have arrived
while a framing cannot tell how long the frame is. A guess, for framings that set no such limit."""

BATCH_NBYTES: Final = 131_072
"""A batch takes no frame that begins behind so many bytes. Larger ones are no quicker: what was cut
first has left the cache when it is used."""

ENOUGH_NBYTES: Final = 32_768
"""With so many bytes a batch is good as it is: what comes next would cost another cut."""


@attrs.frozen
class Kind(Generic[T]):
    """What frames are given away as."""

    of_view: Callable[[BytesView], T]
    """Make one of a view."""

    of_slice: Callable[[Any, BlockRef | None], T] | None
    """Make one of what was cut out of a window; None if that is what is wanted."""

    is_copied: bool
    """Whether it is cut out of a copy of the window, as `bytes`."""

    batch_items: int = BATCH_ITEMS
    """How many one batch has at the most if nobody says otherwise."""


def _view_of(piece: memoryview, ref: BlockRef | None) -> BytesView:
    nbytes = len(piece)
    return make_view((piece,) if nbytes else (), nbytes, (ref,) if ref and nbytes else None)


VIEWS: Final = Kind(lambda view: view, _view_of, is_copied=False, batch_items=BATCH_VIEWS)
MEMORYVIEWS: Final = Kind(
    BytesView.contiguous, None, is_copied=False, batch_items=BATCH_MEMORYVIEWS
)
BYTES: Final = Kind(BytesView.to_bytes, None, is_copied=True)
KINDS: Final[dict[object, Kind[Any]]] = {BytesView: VIEWS, memoryview: MEMORYVIEWS, bytes: BYTES}


def kind_of(item_type: object) -> Kind[Any]:
    """Return how frames become of this type.

    Raises:
      TypeError: they do not.
    """
    kind = KINDS.get(item_type)
    if kind is None:
        raise TypeError(f"frames are BytesView, memoryview or bytes, not {item_type!r}")
    return kind


def text_kind(encoding: str, errors: str) -> Kind[str]:
    """Return how lines become text.

    Raises:
      LookupError: there is no such encoding, or no such way to treat errors.
      ValueError: it has other bytes for the ends of lines than ASCII has.
    """
    codecs.lookup_error(errors)  # which Python looks for at the first bad byte only
    if "a\r\n".encode(encoding, errors) != b"a\r\n" or b"\r\n".decode(encoding, errors) != "\r\n":
        raise ValueError(f"lines cannot be told apart in {encoding} before it is decoded")
    return Kind(
        lambda view: view.decode(encoding, errors),
        lambda line, _: line.decode(encoding, errors),
        is_copied=True,
    )


@attrs.define(eq=False)
class FrameCutter(Generic[T]):
    """What a framing makes of what is in a buffer."""

    _buffer: ReceiveBuffer
    _framing: Framing
    _max_nbytes: int
    _kind: Kind[T]
    _of_slice: Any = attrs.field(init=False)
    _is_copied: bool = attrs.field(init=False)
    _needs_text: bool = attrs.field(init=False)
    _cut_one: Any = attrs.field(init=False)
    _seen_end: int = attrs.field(init=False, default=0)
    _is_skipping: bool = attrs.field(init=False, default=False)
    _has_dropped: bool = attrs.field(init=False, default=False)
    _drop_nbytes: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._cut_one = self._framing._cut_one
        self._of_slice, self._is_copied = self._kind.of_slice, self._kind.is_copied
        self._needs_text = self._framing._needs_text or self._is_copied

    def take(self) -> T | None:
        """Return the frame at the front, or None if it is not all there."""
        buffer = self._buffer
        if not self._is_skipping and buffer._stuck_for is not self._framing:
            # `look` and `pass_by`, written out: calls are most of what the common case costs.
            text = (buffer._text or buffer.text()) if self._needs_text else None
            found = self._cut_one(
                text if self._is_copied else buffer._window, text, buffer._at, self._max_nbytes
            )
            if found is not None:
                item, end = found
                of_slice = self._of_slice
                if of_slice is not None:
                    item = of_slice(item, buffer._ref)
                if end < buffer._stop:
                    buffer._at = end
                    buffer._searched_for = buffer._stuck_for = None
                else:
                    buffer._move_to(end)
                taken: T = item
                return taken
            seen = self._look_further()
        else:
            seen = self.look()
        if seen is not None:
            self.pass_by()
        return seen

    def look(self) -> T | None:
        """Return the frame at the front and leave it there, until `pass_by`."""
        buffer = self._buffer
        framing = self._framing
        if not self._is_skipping and (buffer._stuck_for is not framing or not self._is_stuck()):
            text = (buffer._text or buffer.text()) if self._needs_text else None
            found = self._cut_one(
                text if self._is_copied else buffer._window, text, buffer._at, self._max_nbytes
            )
            if found is not None:
                item: T
                item, self._seen_end = found
                of_slice = self._of_slice
                return item if of_slice is None else of_slice(item, buffer._ref)
            return self._look_further()
        return self._look_everywhere()

    def _look_further(self) -> T | None:
        """Look for the frame at the front when it does not lie whole in the window as it is."""
        self._buffer._stuck_for = self._framing
        return self._look_everywhere() if self._is_stuck() else self.look()

    def _is_stuck(self) -> bool:
        """Say whether no frame lies whole in the window, also if more is made one with it.

        Asked when it is so for the window as it is.
        """
        return not (self._needs_text and self._buffer.merge())

    def pass_by(self) -> None:
        """Take out the frame that `look` has shown; the buffer is as it was then."""
        buffer = self._buffer
        end = self._seen_end
        if end < buffer._stop:  # the common case, written out
            buffer._at = end
            buffer._searched_for = buffer._stuck_for = None
        else:
            buffer.discard(end - buffer._at)

    def batch_items(self, max_items: SupportsIndex | None) -> int:
        """Return how many frames a batch has at the most.

        Raises:
          TypeError, ValueError: `max_items` is no integer, or below 1.
        """
        if max_items is None:
            return self._kind.batch_items
        return positive_count_of(max_items, "max_items")

    def take_batch(self, max_items: int) -> list[T]:
        """Return the frames that are there, at most `max_items`; an empty list if none is."""
        if max_items == 1:  # for which nothing is to be cut ahead
            item = self.take()
            return [] if item is None else [item]
        buffer = self._buffer
        items: list[T] = []
        before = len(buffer)
        taken = 0
        while (missing := max_items - len(items)) and taken < ENOUGH_NBYTES:
            try:
                found = self._cut(missing, BATCH_NBYTES - taken)
                if not found:
                    one: list[Any] = [None]  # now: behind `take` nothing may lack memory
                    one[0] = self.take()
                    if one[0] is None:
                        break
                    found = one
            except Exception:  # a framing of one's own may raise others than ours
                if items:
                    break  # Law 2
                raise
            items = items + found if items else found
            try:
                taken = before - len(buffer)
            except MemoryError:  # what is out is given away
                break
        return items

    def _cut(self, max_items: int, max_nbytes: int) -> list[T]:
        """Take frames that lie whole in the first bytes of the window; fewer, if one is refused."""
        buffer = self._buffer
        framing = self._framing
        if self._is_skipping or (buffer._stuck_for is framing and self._is_stuck()):
            return []
        text = buffer.text() if self._needs_text else None
        start = at = buffer._at
        whole = buffer._window
        if buffer._stop - at > max_nbytes:  # the rest is for the next batch
            stop, at = at + max_nbytes, 0
            text, whole = text and text[start:stop], whole[start:stop]
        window = text if self._is_copied else whole
        ref = buffer._ref
        items: list[Any] = []
        end = framing._cut(window, text, at, items, max_items, self._max_nbytes)
        if not items:
            if whole is not buffer._window:
                return []
            buffer._stuck_for = framing
            return [] if self._is_stuck() else self._cut(max_items, max_nbytes)
        is_last = whole is buffer._window and len(items) < max_items
        if self._of_slice is _view_of and ref is None:  # the common case, written out
            make = make_view
            items = [make((it,), n) if (n := len(it)) else make((), 0) for it in items]
        elif self._of_slice is not None:
            try:
                items = [self._of_slice(item, ref) for item in items]
            except UnicodeError:  # fewer then, until the bad one is not among them
                return self._cut(max_items // 2, max_nbytes) if max_items > 1 else []
        buffer._move_to(start - at + end)
        if is_last and buffer._window is whole:
            buffer._stuck_for = framing
        return items

    def _look_everywhere(self) -> T | None:
        """Return the frame at the front, wherever its bytes are."""
        if self._is_skipping and not self.skip():
            return None
        if not self._buffer:
            return None
        extent = self._measured()
        return None if extent is None else self._look_at(extent)

    def _measured(self) -> Extent | None:
        """Return what the framing says of the front of the buffer, if it makes sense."""
        buffer = self._buffer
        extent = self._framing.measure(buffer, self._max_nbytes)
        if extent is None:
            if len(buffer) > self._max_nbytes + OVERHEAD_NBYTES:
                raise LimitExceeded(limit=self._max_nbytes, arrived=len(buffer))
            return None
        return self._checked(extent)

    def _checked(self, extent: Extent) -> Extent:
        if not isinstance(extent, Extent):
            raise TypeError(f"a framing measures an Extent, not {type(extent).__name__}")
        if min(extent) < 0 or not any(extent):
            raise BadFrame(f"what {self._framing!r} measures as {extent}", self._front())
        if extent.before + extent.after > OVERHEAD_NBYTES:
            raise BadFrame(f"too much around a payload, {extent}", self._front())
        return extent

    def _front(self) -> bytes:
        """Return what an error shows of the buffer."""
        return self._buffer.peek(SHOWN_NBYTES).to_bytes()

    def _look_at(self, extent: Extent) -> T | None:
        """Return the frame of this extent if all of it is there."""
        before, nbytes, after = extent
        buffer = self._buffer
        if nbytes > self._max_nbytes:
            raise FrameTooLarge(limit=self._max_nbytes, arrived=len(buffer), announced=nbytes)
        total = before + nbytes + after
        if total > len(buffer):
            return None
        self._seen_end = buffer._at + total
        return self._kind.of_view(buffer.peek(before + nbytes)[before:])

    def take_last(self) -> T | None:
        """Return the last frame of a stream that has ended, or None if there is none.

        Raises:
          UnexpectedEof: the stream was cut in the middle of a frame.
        """
        buffer = self._buffer
        if self._is_skipping:
            self.skip_last()
        if not buffer:
            return None
        extent = self._measured() or self._last_measured()
        item = None if extent is None else self._look_at(extent)
        if item is None:
            wanted = len(buffer) + 1 if extent is None else sum(extent)
            raise UnexpectedEof(wanted=wanted, arrived=len(buffer))
        self.pass_by()
        return item

    def _last_measured(self) -> Extent | None:
        extent = self._framing.measure_last(self._buffer)
        return None if extent is None else self._checked(extent)

    def skip(self) -> bool:
        """Drop what there is of the frame at the front; say whether that was all of it. (Law 4)"""
        buffer = self._buffer
        if not self._drop_nbytes:
            extent = self._framing.measure(buffer, sys.maxsize) if buffer else None
            total = 0 if extent is None else sum(self._checked(extent))
            self._is_skipping = True  # and not before: what is refused has not begun
            if extent is None:
                nbytes = self._framing.droppable_nbytes(buffer) if buffer else 0
                if not nbytes and len(buffer) > self._max_nbytes + OVERHEAD_NBYTES:
                    raise LimitExceeded(limit=self._max_nbytes, arrived=len(buffer))
                buffer.discard(nbytes)
                self._has_dropped = self._has_dropped or nbytes > 0
                return False
            self._drop_nbytes = total
        step = min(self._drop_nbytes, len(buffer))
        buffer.discard(step)
        self._drop_nbytes -= step
        self._is_skipping = self._has_dropped = self._drop_nbytes > 0
        return not self._is_skipping

    def skip_last(self) -> bool:
        """Drop the last frame of a stream that has ended; say whether there was one."""
        buffer = self._buffer
        if not (buffer or self._has_dropped):
            self._is_skipping = False
            return False
        extent = None if self._drop_nbytes else self._framing.measure_last(buffer)
        if extent is None:
            raise UnexpectedEof(wanted=max(1, self._drop_nbytes), arrived=len(buffer))
        nbytes = len(buffer) if self._has_dropped else sum(self._checked(extent))
        if nbytes > len(buffer):
            raise UnexpectedEof(wanted=nbytes, arrived=len(buffer))
        buffer.discard(nbytes)
        self._is_skipping = self._has_dropped = False
        return True
