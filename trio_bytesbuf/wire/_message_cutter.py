"""`MessageCutter`: values out of a buffer, for whoever has one: a decoder, a channel.

    HEADER ---> MESSAGES ---> ENDED           an error that ends it: HEADER, MESSAGES ---> FAILED
      |                         ^
      +-------------------------+   nothing was ever said

Law 1. A message is taken when all of it is there and it is known what becomes of it: a value, or an
       error that is its own (its checksum, its codec). Either way it is passed by, and what follows
       is the next. Until then its bytes stay, so who is cancelled has lost nothing.
Law 2. An error that is the stream's (another version, no header, a length over the limit, an end in
       the middle) ends it: the bytes that it was seen by stay, and it is raised again for ever.
Law 3. What comes before an error is given away first.
Law 4. Every length is held to the limit as soon as it has arrived. What is announced costs nothing
       before it comes.
Law 5. Messages that lie whole in the window, and are small, are cut in one loop from its text; one
       that does not, or is not, is measured. Either way the outcome is the same.
"""

from __future__ import annotations

import enum
import struct
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NoReturn, TypeVar

import attrs

from .._errors import (
    ChecksumHandshakeFailed,
    ChecksumMismatch,
    MessageTooLarge,
    ProtocolVersionMismatch,
    UnexpectedEof,
)
from ..buffered._cutter import BATCH_NBYTES, ENOUGH_NBYTES
from ..seq._flat import positive_count_of
from ..seq._view import make_view
from ._checksum import KEY, siphash_for
from ._format import (
    CHECKSUM_NBYTES,
    EMPTY,
    END,
    FRONT,
    HEADER_NBYTES,
    U16,
    VERSION_NBYTES,
    WITH_CHECKSUMS,
    WITHOUT_CHECKSUMS,
    ProtocolVersion,
    payload_nbytes,
    prefix_nbytes,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import SupportsIndex

    from ..buffered import ReceiveBuffer
    from ._codec import Codec

T = TypeVar("T")

SMALL_NBYTES: Final = 16_384
"""Payloads up to here are given to a codec as `bytes`, which it reads twice as fast as memory of
another kind; larger ones from where they lie. As much as a first receive asks for."""

BATCH_MESSAGES: Final = 150
"""How many messages one batch has at the most if nobody says otherwise. A checkpoint for each 150
is 0.02 µs for a message; larger batches were no quicker, and the garbage collector looks at values
that are objects once there are 700."""

_CHECKSUM: Final = struct.Struct("<Q").unpack_from


class MessageEvent(enum.Enum):
    """What a decoder says where it has no message."""

    NEED_DATA = 1
    """The message at the front, or the header, is not all there; feed more."""

    END = 2
    """The peer has no more to say. It is said again whenever asked."""


NEED_DATA: Final = MessageEvent.NEED_DATA
OVER: Final = MessageEvent.END

Nothing = Literal[MessageEvent.NEED_DATA, MessageEvent.END]

Ending = MessageTooLarge | ProtocolVersionMismatch | ChecksumHandshakeFailed | UnexpectedEof
"""What ends a stream for good. (Law 2)"""


class State(enum.Enum):
    """Where in its stream a cutter is."""

    HEADER = "before the first message"
    MESSAGES = "between messages, or in one that is not all there"
    ENDED = "behind the end"
    FAILED = "where nothing makes sense any more"


TRANSITIONS: Final = {
    State.HEADER: {State.MESSAGES, State.ENDED, State.FAILED},
    State.MESSAGES: {State.ENDED, State.FAILED},
    State.ENDED: frozenset[State](),
    State.FAILED: frozenset[State](),
}


def plain_nbytes_of(codec: Codec[Any]) -> int:
    """Return up to how many bytes the plain way decodes as `decode` does; -1 if it never does.

    It goes with the `decode` of its own class. A subclass that has another has none.
    """
    owner = next(cls for cls in type(codec).__mro__ if "decode" in vars(cls))
    return codec._plain_nbytes if "_plain_nbytes" in vars(owner) else -1


@attrs.define(eq=False)
class MessageCutter(Generic[T]):
    """What a codec makes of the messages in a buffer."""

    _buffer: ReceiveBuffer
    codec: Codec[T]
    max_nbytes: int
    checks_checksums: bool
    """Whether they are to be checked; and, once it is known, whether there are any."""

    expected: ProtocolVersion | None
    """The peer's version; None to find it out."""

    requires_goodbye: bool
    version: ProtocolVersion | None = attrs.field(init=False, default=None)
    """The peer's version, once it is known."""

    _state: State = attrs.field(init=False, default=State.HEADER)
    _failure: Ending | None = attrs.field(init=False, default=None)
    is_eof: bool = attrs.field(init=False, default=False)
    _after_nbytes: int = attrs.field(init=False, default=0)
    _seen_nbytes: int = attrs.field(init=False, default=0)
    _siphash: Callable[[bytes, bytes], int] | None = attrs.field(init=False, default=None)
    _decode: Any = attrs.field(init=False)
    _decode_small: Any = attrs.field(init=False)
    _takes_views: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._decode, self._takes_views = self.codec.decode, self.codec.takes_views
        is_plain = min(self.max_nbytes, SMALL_NBYTES) <= plain_nbytes_of(self.codec)
        self._decode_small = self.codec._decode if is_plain else self._decode
        if self.expected is ProtocolVersion.V1:
            self._agree_on(ProtocolVersion.V1, has_checksums=False)
        elif self.checks_checksums:
            self._siphash = siphash_for("checking checksums")

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes out of it."""
        return self._state is State.ENDED or self._state is State.FAILED

    def feed_eof(self) -> None:
        """Say that nothing more will come."""
        self.is_eof = True

    # From state to state

    def _go_to(self, state: State) -> None:
        if state not in TRANSITIONS[self._state]:
            raise AssertionError(f"no way leads from {self._state} to {state}")
        self._state = state

    def _agree_on(self, version: ProtocolVersion, *, has_checksums: bool) -> None:
        """Go on to the messages: what comes before them has been read."""
        self._go_to(State.MESSAGES)
        self.version = version
        self._after_nbytes = CHECKSUM_NBYTES if has_checksums else 0
        if not has_checksums:
            self.checks_checksums, self._siphash = False, None

    def _fail(self, error: Ending) -> NoReturn:
        """End it for good. (Law 2)"""
        self._go_to(State.FAILED)
        self._failure = error
        raise attrs.evolve(error)  # each time another: an error keeps where it was raised

    def _missing(self, wanted: int) -> Nothing:
        """Return what it means that less is there than the `wanted` bytes of what comes next."""
        if not self.is_eof:
            return NEED_DATA
        arrived = len(self._buffer)
        if arrived or self.requires_goodbye:
            self._fail(UnexpectedEof(wanted=wanted, arrived=arrived))
        self._go_to(State.ENDED)
        return OVER

    def _read_header(self) -> Nothing | None:
        """Read what stands before the first message; None if it was all there."""
        front = self._buffer.peek(HEADER_NBYTES).to_bytes()
        if self.expected is None and len(front) <= len(FRONT):
            is_other = not FRONT.startswith(front)
            if not (is_other or self.is_eof):
                return NEED_DATA
            if not front:
                return self._missing(1)
            self._agree_on(ProtocolVersion.V1, has_checksums=False)
            return None
        if self.expected is None and not front.startswith(FRONT):
            self._agree_on(ProtocolVersion.V1, has_checksums=False)
            return None
        theirs = int.from_bytes(front[:VERSION_NBYTES], "little")
        if len(front) >= VERSION_NBYTES and theirs != ProtocolVersion.V2:
            self._fail(ProtocolVersionMismatch(ours=int(ProtocolVersion.V2), theirs=theirs))
        if len(front) < HEADER_NBYTES:
            return self._missing(HEADER_NBYTES)
        feature = front[VERSION_NBYTES]
        if feature not in (WITH_CHECKSUMS, WITHOUT_CHECKSUMS):
            self._fail(ChecksumHandshakeFailed(value=feature))
        self._buffer.discard(HEADER_NBYTES)
        try:
            self._agree_on(ProtocolVersion.V2, has_checksums=feature == WITH_CHECKSUMS)
        except MemoryError:
            self._buffer.unread(front)
            raise
        return None

    # One message

    def take(self) -> T | Nothing:
        """Return the message at the front, or what keeps it from being there."""
        try:
            item = self.look()
        except Exception:
            self.pass_by()
            raise
        if self._seen_nbytes:  # else what is known of a message that drips stays known
            self.pass_by()
        return item

    def look(self) -> T | Nothing:
        """Do as `take`, but leave the message, or what is wrong with it, until `pass_by`."""
        if self._state is State.MESSAGES:
            items: list[T] = []
            self._seen_nbytes = self._cut(items, 1, SMALL_NBYTES)
            if items:
                return items[0]
        return self._look_everywhere()

    def pass_by(self) -> None:
        """Take out what `look` has shown; the same bytes are at the front, wherever they lie."""
        buffer = self._buffer
        nbytes, self._seen_nbytes = self._seen_nbytes, 0
        end = buffer._at + nbytes
        if end < buffer._stop:  # the common case, written out
            buffer._at = end
            buffer._searched_for = buffer._stuck_for = None
        else:
            buffer.discard(nbytes)

    def _look_everywhere(self) -> T | Nothing:
        """Return the message at the front, wherever its bytes are."""
        self._seen_nbytes = 0
        if self._failure is not None:
            raise attrs.evolve(self._failure)
        if self._state is State.ENDED:
            return OVER
        if self._state is State.HEADER:
            nothing = self._read_header()
            if nothing is not None:
                return nothing
        buffer = self._buffer
        if not buffer:
            return self._missing(1)
        marker = buffer._window[buffer._at]
        if marker == END:
            buffer.discard(1)
            self._go_to(State.ENDED)
            return OVER
        before = prefix_nbytes(marker)
        prefix = buffer.peek_bytes(before)
        if prefix is None:
            return self._missing(before)
        nbytes = payload_nbytes(prefix)
        if nbytes > self.max_nbytes:
            error = MessageTooLarge(
                limit=self.max_nbytes, arrived=len(buffer), nbytes=nbytes, direction="received"
            )
            self._fail(error)
        total = before + nbytes + self._after_nbytes
        if total > len(buffer):
            return self._missing(total)
        return self._decoded(before, nbytes, total)

    def _decoded(self, before: int, nbytes: int, total: int) -> T:
        """Return what the codec makes of a message that is all there, if it is as it was sent."""
        view = self._buffer.peek(total)
        payload = view[before : before + nbytes]
        data = b""
        item: T
        try:
            if self._siphash is None:
                given: Any = payload
                if not self._takes_views:
                    is_small = nbytes <= SMALL_NBYTES
                    given = payload.to_bytes() if is_small else payload.contiguous()
                self._seen_nbytes = total  # from here on what is raised is the message's own
                item = self._decode(given)
                return item
            data = payload.to_bytes()
            computed = self._siphash(KEY, data)
            sent = int.from_bytes(view[before + nbytes :].to_bytes(), "little")
            self._seen_nbytes = total  # from here on what is raised is the message's own
            if sent != computed:
                raise ChecksumMismatch(sent=sent, computed=computed)
            if self._takes_views:
                item = self._decode(payload)
            else:
                item = self._decode(data if nbytes <= SMALL_NBYTES else memoryview(data))
            return item
        finally:
            given = b""
            del view, payload, data  # an error that is kept holds this frame, but no memory

    # Many messages

    def batch_items(self, max_items: SupportsIndex | None) -> int:
        """Return how many messages a batch has at the most.

        Raises:
          TypeError, ValueError: `max_items` is no integer, or below 1.
        """
        return BATCH_MESSAGES if max_items is None else positive_count_of(max_items, "max_items")

    def take_batch(self, max_items: int) -> list[T]:
        """Return the messages that are there, at most `max_items`; an empty list if none is."""
        buffer = self._buffer
        items: list[T] = []
        taken = 0
        while (missing := max_items - len(items)) and taken < ENOUGH_NBYTES:
            count = len(items)
            try:
                nbytes = 0
                if self._state is State.MESSAGES:
                    nbytes = self._cut(items, missing, BATCH_NBYTES - taken)
                if nbytes:
                    buffer._move_to(buffer._at + nbytes)
                else:
                    item = self._look_everywhere()
                    if item is NEED_DATA or item is OVER:
                        break
                    nbytes, self._seen_nbytes = self._seen_nbytes, 0
                    items.append(item)
                    self._seen_nbytes = nbytes
                    self.pass_by()
            except Exception:  # a codec of one's own may raise others than ours
                del items[count:]  # of which the bytes are still there: for lack of memory
                if items:
                    self._seen_nbytes = 0
                    break  # Law 3
                self.pass_by()
                raise
            taken += nbytes
        return items

    def _cut(self, items: list[T], max_items: int, max_nbytes: int) -> int:
        """Put messages that lie whole in the window into `items`; say how many bytes they were.

        None begins behind the first `max_nbytes` bytes. If there is something wrong with one, those
        before it are all; if there is none before it, what its codec raised is raised.
        """
        buffer = self._buffer
        if buffer._stuck_for is self:
            return self._cut(items, max_items, max_nbytes) if self._merge() else 0
        siphash, takes_views = self._siphash, self._takes_views
        text: Any = buffer._text
        if takes_views and siphash is None:
            text = buffer._window
        elif text is None:
            if self._is_large():
                buffer._stuck_for = self
                return 0
            text = buffer.text()
        window, start, stop = buffer._window, buffer._at, buffer._stop
        ref = None if buffer._ref is None else (buffer._ref,)
        decode, after = self._decode_small, self._after_nbytes
        limit = min(self.max_nbytes, SMALL_NBYTES)
        last = min(stop, start + max_nbytes)
        at = behind = start
        payload: Any = b""
        try:
            for _ in repeat(None, max_items):
                if at >= last:
                    break
                nbytes = text[at]
                begin = at + 1
                if nbytes >= U16:
                    if nbytes == U16:
                        begin = at + 3
                        if begin > stop:
                            break
                        nbytes = text[at + 1] | text[at + 2] << 8
                    elif nbytes == EMPTY:
                        nbytes = 0
                    else:  # a large one, or an odd way to say a small one
                        break
                elif nbytes == END:
                    break
                end = begin + nbytes
                if end + after > stop or nbytes > limit:
                    break
                payload = text[begin:end]
                if siphash is not None and siphash(KEY, payload) != _CHECKSUM(text, end)[0]:
                    break
                behind = end + after
                if takes_views:
                    if siphash is not None:
                        payload = window[begin:end]
                    payload = make_view((payload,), nbytes, ref) if nbytes else make_view((), 0)
                items.append(decode(payload))
                at = behind
        except Exception:
            if not items:
                self._seen_nbytes = behind - start
                if decode is self._decode or behind == start:  # or no codec has seen it
                    raise
                items.append(self._decode(payload))  # which says what is wrong
                at = behind
        finally:
            del text, window, payload, ref  # an error that is kept holds this frame, but no memory
        if at == start:
            buffer._stuck_for = self
            return self._cut(items, max_items, max_nbytes) if self._merge() else 0
        return at - start

    def _merge(self) -> bool:
        """Make more of the window, if it is copied anyway to be cut; say if so."""
        return not (self._takes_views and self._siphash is None) and self._buffer.merge()

    def _is_large(self) -> bool:
        """Say whether what comes next is better measured: its window would be copied in vain."""
        buffer = self._buffer
        at = buffer._at
        if at == buffer._stop:
            return True
        marker = buffer._window[at]
        if marker != U16:
            return U16 < marker < EMPTY
        prefix = buffer.peek_bytes(prefix_nbytes(marker))
        return prefix is not None and payload_nbytes(prefix) > SMALL_NBYTES


def check_message_cutter(cutter: MessageCutter[Any]) -> None:
    """Raise AssertionError if a law of this file is broken."""
    assert (cutter._failure is not None) == (cutter._state is State.FAILED), "Law 2"
    assert cutter._seen_nbytes <= len(cutter._buffer), "Law 1"
    is_before = cutter._state is State.HEADER
    assert not is_before or cutter.version is None, "a version that was not read"
    assert cutter._state is not State.MESSAGES or cutter.version is not None, "no version"
    assert cutter._after_nbytes == 0 or cutter.version is ProtocolVersion.V2, "whose checksums?"
    checks = cutter._siphash is not None
    assert checks == cutter.checks_checksums, "checksums are checked, or they are not"
    has_some = cutter._after_nbytes > 0
    assert is_before or not checks or has_some or cutter.is_over, "no checksums to check"
