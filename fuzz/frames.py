"""Frames: cut hostilely as whole, in batches as one by one, measured as cut in a loop."""

from __future__ import annotations

from contextlib import suppress
from itertools import cycle
from typing import Any

from _program import Program, cut, in_pieces, within

from trio_bytesbuf import BytesView, LimitExceeded, UnexpectedEof
from trio_bytesbuf.buffered import (
    Delimited,
    FixedLength,
    FrameDecoder,
    FrameEvent,
    Framing,
    LengthPrefixed,
    Lines,
    Netstring,
    UniversalLines,
    VarintPrefixed,
)
from trio_bytesbuf.testing import check_laws

LIMITS = (1 << 20, 0, 1, 2, 7, 100, 1000)

PER_BYTE = 500
"""An empty frame of one byte is an empty view in a list; a piece of one byte has 360 beside it."""

LINES: tuple[Framing, ...] = (Lines(), Lines(b"\r\n"), UniversalLines())
DELIMITED: tuple[Framing, ...] = (
    Delimited(b"\n"),
    Delimited(b"\r\n"),
    Delimited(b"aba"),
    Delimited((b"\n", b"\r\n", b"\0")),
    Delimited((b"b", b"abab")),
    Delimited((b"abc", b"bc", b"c\n")),
)
LENGTHS: tuple[Framing, ...] = (
    *(LengthPrefixed(nbytes) for nbytes in range(1, 9)),
    *(LengthPrefixed(nbytes, "little") for nbytes in (2, 3, 4, 8)),
    *(LengthPrefixed(nbytes, includes_prefix=True) for nbytes in (1, 2, 4, 7, 8)),
)
VARINTS: tuple[Framing, ...] = (VarintPrefixed(),)
NETSTRINGS: tuple[Framing, ...] = (Netstring(),)
FIXED: tuple[Framing, ...] = (FixedLength(1), FixedLength(3), FixedLength(200))


def lines(data: bytes) -> None:
    """Lines, of each kind."""
    _play(LINES, data)


def delimited(data: bytes) -> None:
    """Frames behind which a delimiter stands, or one of several."""
    _play(DELIMITED, data)


def lengths(data: bytes) -> None:
    """Frames with a length in front, of each width."""
    _play(LENGTHS, data)


def varints(data: bytes) -> None:
    """Frames with a length of variable length."""
    _play(VARINTS, data)


def netstrings(data: bytes) -> None:
    """Netstrings."""
    _play(NETSTRINGS, data)


def fixed(data: bytes) -> None:
    """Frames of one size."""
    _play(FIXED, data)


def _play(framings: tuple[Framing, ...], data: bytes) -> None:
    program = Program(data)
    framing = program.pick(framings)
    max_nbytes = program.pick(LIMITS)
    batch = program.byte() or None
    sizes = program.take(4)
    wire = program.rest()

    def whole() -> tuple[list[bytes], object]:
        return outcome(framing, [wire], max_nbytes=max_nbytes)

    expected = within(len(wire), PER_BYTE, whole, data)
    item_types = cycle((bytes, memoryview, BytesView))
    for parts in ([wire], cut(wire, sizes), cut(wire, b"\1"), [in_pieces(wire, sizes)]):
        for way in ("event", batch):
            item_type = next(item_types)
            found = outcome(framing, parts, way, item_type, max_nbytes)
            assert found == expected, (way, item_type, parts)
    assert outcome(_measured_only(framing), [wire], "batch", max_nbytes=max_nbytes) == expected
    _skip_each(framing, wire, sizes, max_nbytes)
    sent, again = [], b""
    for frame in expected[0]:
        with suppress(ValueError):  # one of several delimiters ended it, and the first would not
            again += framing.encode(frame).to_bytes()
            sent.append(frame)
    assert outcome(framing, [again], max_nbytes=max_nbytes)[0] == sent


def outcome(
    framing: Framing,
    parts: list[Any],
    way: Any = "event",
    item_type: Any = BytesView,
    max_nbytes: int = 1 << 20,
) -> tuple[list[bytes], object]:
    """Return the frames that a decoder finds in `parts`, and how it ends."""
    decoder: FrameDecoder[Any] = FrameDecoder(framing, item_type, max_nbytes=max_nbytes)
    frames: list[bytes] = []
    try:
        for part in parts:
            decoder.feed(part)
            _drain(decoder, way, frames)
        decoder.feed_eof()
        _drain(decoder, way, frames)
    except (ValueError, EOFError) as error:
        before = decoder.buffered_nbytes
        try:
            decoder.next_event()
        except type(error) as second:
            assert _kind(second) == _kind(error)
        else:
            raise AssertionError("an error that is not said again") from error
        assert decoder.buffered_nbytes == before
        return frames, _kind(error)
    return frames, decoder.next_event()


def _drain(decoder: FrameDecoder[Any], way: Any, frames: list[bytes]) -> None:
    while True:
        if way == "event":
            event = decoder.next_event()
            found = [] if isinstance(event, FrameEvent) else [event]
        else:
            found = decoder.next_events(way if isinstance(way, int) else None)
        check_laws(decoder._buffer)
        for frame in found:
            if isinstance(frame, BytesView):
                check_laws(frame)
            frames.append(bytes(frame))
        if not found:
            return


def _kind(error: BaseException) -> object:
    """Return what is the same of an error however the bytes came."""
    if isinstance(error, LimitExceeded):
        return LimitExceeded, error.limit
    if isinstance(error, UnexpectedEof):
        return UnexpectedEof, error.wanted, error.arrived
    return type(error)


class _Measured(Framing):
    """A framing without its shortcuts."""

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self.measure = framing.measure  # type: ignore[method-assign]
        self.measure_last = framing.measure_last  # type: ignore[method-assign]
        self.droppable_nbytes = framing.droppable_nbytes  # type: ignore[method-assign]

    def measure(self, buffer: Any, max_nbytes: int) -> Any:
        """See `Framing`."""

    def wrap(self, payload: BytesView) -> tuple[bytes, bytes]:
        """See `Framing`."""
        return self._framing.wrap(payload)


def _measured_only(framing: Framing) -> Framing:
    return _Measured(framing)


def _skip_each(framing: Framing, wire: bytes, sizes: bytes, max_nbytes: int) -> None:
    """Skip every other frame: those between are the same, and what comes in parts, too."""
    if isinstance(framing, Netstring):
        return  # of which the comma is looked at if it is there; if it comes later, it is dropped
    ends = []
    for parts in ([wire], cut(wire, sizes), cut(wire, b"\1")):
        decoder: FrameDecoder[bytes] = FrameDecoder(framing, bytes, max_nbytes=max_nbytes)
        frames: list[bytes] = []
        try:
            decoder.skip_frame()
            for part in [*parts, None]:
                if part is None:
                    decoder.feed_eof()
                else:
                    decoder.feed(part)
                while not isinstance(event := decoder.next_event(), FrameEvent):
                    frames.append(event)
                    if len(frames) % 2:
                        decoder.skip_frame()
            ends.append((frames, None))
        except (ValueError, EOFError) as error:
            kind: Any = _kind(error)
            ends.append((frames, kind[0] if isinstance(kind, tuple) else kind))
        check_laws(decoder._buffer)
    assert ends[1:] == ends[:-1], ends
