r"""`Capture`: what passed over a stream, in what order and when; and the file it is kept in.

A capture file is a preamble and records. Numbers are LEB128: seven bits in each byte, the lowest
first, the high bit set in all bytes but the last, at most 64 bits.

    preamble   89 "bytesbuf" 0D 0A, then the version of this format: 01

    record     kind      one byte
               delay     nanoseconds since the record before it, or since the capture began
               length    how many bytes follow; not in kinds 2 and 3, which end here
               ...       what follows

    kind       0         bytes were received        1   bytes were sent
               2         nothing more comes         3   nothing more will be sent
               4         receiving failed: UTF-8    5   sending failed: UTF-8
               6         more passed, but is not here; why: UTF-8

    the end    07, then the CRC-32 of all bytes before it, as zlib has it: 4 bytes, the lowest first

Law 1. A file ends with its end, behind which is nothing. So one that was cut short, wherever, is
       known to be; what was whole is loaded, and the capture says that it is not all.
Law 2. Behind a record of kind 2 or 3 there is none of its direction, behind one of kind 6 only the
       end. Bytes and texts are not empty. What is there instead, `BadCapture` says, and where.
Law 3. A damaged byte of a whole file does not go unnoticed: a record is none, or the file seems
       cut short, or the checksum is another.
Law 4. What is loaded are views of the file's bytes. A length that is a lie costs nothing.

Idea: the preamble is made like PNG's: it shows a file that was changed on its way.
"""

from __future__ import annotations

import enum
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from .._errors import BytesBufError, LimitExceeded, NotEnoughBytes, VarintTooLong
from ..seq import BytesReader, BytesView
from ..seq._flat import count_of
from ..seq._numbers import uleb128

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn, SupportsIndex

    from ..seq._flat import Buffer

PREAMBLE: Final = b"\x89bytesbuf\r\n\x01"

MAX_FILE_NBYTES: Final = 268_435_456
"""What is loaded if the caller does not say otherwise: a quarter of a GiB, a lot to look at. An
event takes some 100 times as much memory as the shortest record: a stranger's file has a limit."""

MAX_NANOSECONDS: Final = (1 << 63) - 1
"""292 years, the most that an event's time can be."""


class Direction(enum.Enum):
    """Which way bytes went, as the side saw it that captured them."""

    RECEIVED = "received"
    SENT = "sent"


VERBS: Final = {Direction.RECEIVED: "receiving", Direction.SENT: "sending"}


class Kind(enum.IntEnum):
    """What a record is, or the end of the file."""

    RECEIVED = 0
    SENT = 1
    RECEIVED_END = 2
    SENT_END = 3
    RECEIVING_FAILED = 4
    SENDING_FAILED = 5
    INCOMPLETE = 6
    END = 7


BYTES: Final = {Direction.RECEIVED: Kind.RECEIVED, Direction.SENT: Kind.SENT}
ENDS: Final = {Direction.RECEIVED: Kind.RECEIVED_END, Direction.SENT: Kind.SENT_END}
FAILURES: Final = {Direction.RECEIVED: Kind.RECEIVING_FAILED, Direction.SENT: Kind.SENDING_FAILED}
DIRECTIONS: Final = {
    kind: direction for kinds in (BYTES, ENDS, FAILURES) for direction, kind in kinds.items()
}


@attrs.define(eq=False, slots=False)
class BadCapture(BytesBufError, ValueError):
    """A file is no capture, or was damaged. Nothing was loaded."""

    complaint: str
    """What is there."""

    offset: int
    """Where, in bytes from the file's beginning."""

    def __str__(self) -> str:
        return f"this is no capture: at byte {self.offset} there is {self.complaint}"


def _check_nanoseconds(_event: CaptureEvent, _field: object, nanoseconds: int) -> None:
    if not 0 <= nanoseconds <= MAX_NANOSECONDS:
        raise ValueError(f"an event is at 0 to {MAX_NANOSECONDS} ns, not at {nanoseconds}")


@attrs.frozen
class CaptureEvent:
    """One thing that happened to a stream: bytes passed, or a direction ended, or failed.

    Raises:
      ValueError: `nanoseconds` is negative, or 292 years.
    """

    nanoseconds: int = attrs.field(validator=_check_nanoseconds)
    """When, since the capture began."""

    direction: Direction
    """Which way."""

    view: BytesView = attrs.field(factory=BytesView, converter=BytesView)
    """The bytes that passed; none if the direction has ended, or failed."""

    error: str = ""
    """How it failed; empty if it did not."""

    @property
    def seconds(self) -> float:
        """When, in seconds since the capture began."""
        return self.nanoseconds / 1e9

    @property
    def is_end(self) -> bool:
        """Whether this is the end of its direction: nothing more comes, or will be sent."""
        return not self.view and not self.error


def _check_events(_capture: Capture, _field: object, events: tuple[CaptureEvent, ...]) -> None:
    now = 0
    ended: set[Direction] = set()
    for index, event in enumerate(events):
        if event.nanoseconds < now:
            raise ValueError(f"event {index} is before the one before it")
        if event.direction in ended:
            raise ValueError(f"event {index} is behind the end of what was {event.direction.value}")
        if event.view and event.error:
            raise ValueError(f"event {index} has bytes and an error")
        now = event.nanoseconds
        if event.is_end:
            ended.add(event.direction)


def _events_of(events: Iterable[CaptureEvent]) -> tuple[CaptureEvent, ...]:
    return tuple(events)


@attrs.frozen(repr=False)
class Capture:
    """A conversation: everything that passed over a stream, and when. It never changes.

    `capture` makes them, `testing.replay` plays them again, and ``python -m trio_bytesbuf dump``
    shows a file of one.

    Raises:
      ValueError: the events are not in order, or go on behind an end.

    Example:
      >>> async def main():
      ...     stream = capture(FakeRead(b"hello", max_read_nbytes=3))
      ...     await stream.read_to_end(100)
      ...     return stream.capture
      >>> captured = trio.run(main)
      >>> [bytes(event.view) for event in captured.events]
      [b'hel', b'lo', b'']
      >>> Capture.from_bytes(captured.to_bytes()) == captured
      True
    """

    events: tuple[CaptureEvent, ...] = attrs.field(converter=_events_of, validator=_check_events)
    """What happened, in order."""

    incomplete: str = ""
    """Why this is not all that passed; empty if it is."""

    @property
    def received(self) -> BytesView:
        """All bytes that were received. No copy."""
        return self._joined(Direction.RECEIVED)

    @property
    def sent(self) -> BytesView:
        """All bytes that were sent. No copy."""
        return self._joined(Direction.SENT)

    def _joined(self, direction: Direction) -> BytesView:
        return BytesView.from_views(
            event.view for event in self.events if event.direction is direction
        )

    def __repr__(self) -> str:
        seconds = self.events[-1].seconds if self.events else 0.0
        parts = [f"{len(self.received)} bytes received", f"{len(self.sent)} sent"]
        parts += (
            f"{VERBS[event.direction]} {event.error or 'ended'}"
            for event in self.events
            if not event.view
        )
        parts.append(f"{len(self.events)} events in {seconds:.6f} s")
        if self.incomplete:
            parts.append(f"incomplete: {self.incomplete}")
        return f"<Capture: {', '.join(parts)}>"

    # The file

    def to_bytes(self) -> bytes:
        """Return the capture as the bytes of a file. Cost: one copy."""
        return b"".join(self._parts())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the capture to a file, in the place of what is there. This blocks.

        Raises:
          OSError: what the system says. What was written until then can be loaded.

        Cost: no copy of the bytes that passed.
        """
        with Path(path).open("wb") as file:
            file.writelines(self._parts())

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, max_nbytes: SupportsIndex = MAX_FILE_NBYTES
    ) -> Capture:
        """Read a capture from a file. This blocks.

        Args:
          path: the file.
          max_nbytes: the most bytes that it may have, at least 0.

        Raises:
          OSError: what the system says.
          As `from_bytes` otherwise.
        """
        limit = count_of(max_nbytes, "max_nbytes")
        with Path(path).open("rb") as file:
            return cls.from_bytes(file.read(limit + 1), max_nbytes=limit)

    @classmethod
    def from_bytes(
        cls, data: Buffer | BytesView, *, max_nbytes: SupportsIndex = MAX_FILE_NBYTES
    ) -> Capture:
        """Return the capture that is in the bytes of a file.

        One that was cut short is loaded up to its last whole record, and `incomplete` says so.

        Args:
          data: the bytes; the capture's views share them.
          max_nbytes: the most bytes that they may be, at least 0.

        Raises:
          BadCapture: they are no capture, or were damaged.
          LimitExceeded: they are more than `max_nbytes`.
          TypeError, ValueError: `data` is no buffer; `max_nbytes` is no integer, or negative.

        Cost: no copy; some 400 bytes and 6 µs for each event.
        """
        limit = count_of(max_nbytes, "max_nbytes")
        file = BytesView(data)
        if len(file) > limit:
            raise LimitExceeded(limit=limit, arrived=len(file))
        return cls(*_Loading(file).loaded())

    def _parts(self) -> Iterator[bytes | memoryview]:
        """Yield the parts of the file."""
        crc, now = 0, 0
        parts: tuple[bytes | memoryview, ...] = (PREAMBLE,)
        for kind, nanoseconds, view in self._records():
            for part in parts:
                crc = zlib.crc32(part, crc)
                yield part
            head = bytes((kind,)) + uleb128(nanoseconds - now, 64)
            now = nanoseconds
            parts = (head,) if view is None else (head + uleb128(len(view), 64), *view.pieces)
        for part in parts:
            crc = zlib.crc32(part, crc)
            yield part
        yield bytes((Kind.END,)) + crc.to_bytes(4, "little")

    def _records(self) -> Iterator[tuple[Kind, int, BytesView | None]]:
        """Yield of each record its kind, its time, and what follows its length."""
        now = 0
        for event in self.events:
            now = event.nanoseconds
            if event.view:
                yield BYTES[event.direction], now, event.view
            elif event.error:
                yield FAILURES[event.direction], now, _text(event.error)
            else:
                yield ENDS[event.direction], now, None
        if self.incomplete:
            yield Kind.INCOMPLETE, now, _text(self.incomplete)


def _text(text: str) -> BytesView:
    return BytesView(text.encode("utf-8", "backslashreplace"))


class _Loading:
    """The bytes of a file, and how far they are read."""

    def __init__(self, file: BytesView) -> None:
        self._file = file
        self._reader = BytesReader(file)
        self._now = 0
        self._ended: set[Direction] = set()
        self._events: list[CaptureEvent] = []
        self._incomplete = ""

    def loaded(self) -> tuple[list[CaptureEvent], str]:
        """Return the events, and why they are not all."""
        if not self._file.startswith(PREAMBLE[:-1]):
            self._complain("no capture's preamble", 0)
        if not self._file.startswith(PREAMBLE):
            self._complain(f"another version than {PREAMBLE[-1]}", len(PREAMBLE) - 1)
        self._reader.advance(len(PREAMBLE))
        try:
            while self._record():
                pass
        except NotEnoughBytes:  # Law 1
            cut = f"its file was cut short, and ends at byte {len(self._file)}"
            return self._events, f"{self._incomplete}; {cut}" if self._incomplete else cut
        except VarintTooLong:
            self._complain("a number of more than 64 bits", self._offset())
        return self._events, self._incomplete

    def _offset(self) -> int:
        return len(self._file) - self._reader.remaining()

    def _complain(self, complaint: str, offset: int) -> NoReturn:
        raise BadCapture(complaint, offset)

    def _record(self) -> bool:
        """Take a record; false if it was the end."""
        at = self._offset()
        number = self._reader.get_u8()
        if number == Kind.END:
            self._check_end(at)
            return False
        if number > Kind.END:
            self._complain(f"a record of the unknown kind {number}", at)
        if self._incomplete:
            self._complain("a record behind the last", at)
        kind = Kind(number)
        now = self._now + self._reader.get_uleb128()
        if now > MAX_NANOSECONDS:
            self._complain("a time beyond 292 years", at)
        direction = DIRECTIONS.get(kind)
        if direction in self._ended:
            self._complain(f"a record behind the end of what was {direction.value}", at)
        if kind in ENDS.values():
            self._events.append(CaptureEvent(now, DIRECTIONS[kind]))
            self._ended.add(DIRECTIONS[kind])
        else:
            self._take_what_follows(kind, now, at)
        self._now = now
        return True

    def _take_what_follows(self, kind: Kind, now: int, at: int) -> None:
        view = self._reader.take(self._reader.get_uleb128())
        if not view:
            self._complain("a record with nothing in it", at)
        if kind in BYTES.values():
            self._events.append(CaptureEvent(now, DIRECTIONS[kind], view))
            return
        try:
            text = view.decode()
        except UnicodeDecodeError:
            self._complain("a text that is not UTF-8", at)
        if kind is Kind.INCOMPLETE:
            self._incomplete = text
        else:
            self._events.append(CaptureEvent(now, DIRECTIONS[kind], error=text))

    def _check_end(self, at: int) -> None:
        found = self._reader.get_u32_le()
        if self._reader.remaining():
            self._complain("more, behind the end", self._offset())
        crc = 0
        for piece in self._file[:at].pieces:
            crc = zlib.crc32(piece, crc)
        if found != crc:
            self._complain(f"the checksum {found:08x}, of bytes whose checksum is {crc:08x}", at)
