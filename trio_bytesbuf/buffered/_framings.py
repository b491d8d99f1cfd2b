"""The framings that are in use everywhere: lengths in front, delimiters behind, fixed sizes.

Each says how long the frame at the front is (`measure`), and most have a loop for the frames that
lie whole in one window (`_cut`): that loop is where the time goes, so it is written out in each.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, Literal, SupportsIndex

import attrs

from .._errors import BadFrame, LimitExceeded
from ..seq._flat import positive_count_of
from ._framing import Extent, Framing
from ._receive_buffer import first_end

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..seq import BytesView
    from ..seq._flat import Buffer
    from ._receive_buffer import Delimiters, ReceiveBuffer

CUT_NBYTES: Final = 65_536
"""How many bytes of lines are cut at once: some 60 µs of work."""

MAX_PREFIX_NBYTES: Final = 8
MAX_VARINT_NBYTES: Final = 10
"""A number of 64 bits has so many groups of seven."""

MAX_NETSTRING_DIGITS: Final = 19
"""As many as a number of 63 bits has."""

LAYOUTS: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}


def _given(delimiters: Buffer | Iterable[Buffer], /) -> Delimiters:
    """Return delimiters as bytes, in the order in which they were given.

    Raises:
      ValueError: there is none, or one is empty.
      TypeError: one is no buffer.
    """
    several: Any = delimiters if isinstance(delimiters, (tuple, list)) else (delimiters,)
    found = tuple(bytes(memoryview(one)) for one in several)
    if not found or b"" in found:
        raise ValueError("a delimiter has at least one byte, and there is at least one")
    return found


def delimiters_of(given: Buffer | Iterable[Buffer], /) -> Delimiters:
    """Return delimiters as `find` wants them: the longest first; otherwise as `_given`."""
    if type(given) is bytes and given:
        return (given,)
    return tuple(sorted(_given(given), key=len, reverse=True))


@attrs.frozen
class Delimited(Framing):
    """Frames that end in a delimiter, or in one of several; the delimiter is not of the payload.

    Args:
      delimiters: bytes, or a list of such. What is sent ends in the first of them.

    A stream that ends behind a payload and before its delimiter was cut: `UnexpectedEof`.

    Example:
      >>> decoder = FrameDecoder(Delimited(b"\\r\\n"))
      >>> decoder.feed(b"EHLO me\\r\\nQUIT\\r\\n")
      >>> decoder.next_events()
      [BytesView(b'EHLO me'), BytesView(b'QUIT')]
    """

    _needs_text = True

    delimiters: Delimiters = attrs.field(converter=_given)
    _sought: Delimiters = attrs.field(init=False, eq=False, repr=False)
    _only: bytes | None = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        sought = delimiters_of(self.delimiters)
        object.__setattr__(self, "_sought", sought)
        object.__setattr__(self, "_only", sought[0] if len(sought) == 1 else None)

    def measure(self, buffer: ReceiveBuffer, max_nbytes: int) -> Extent | None:
        """Search the delimiter; see `Framing`."""
        limit = max_nbytes + len(self._sought[0])
        found = buffer.find(self._sought, limit)
        if found is not None:
            return Extent(0, found[0] - found[1], found[1])
        if len(buffer) >= limit:
            raise LimitExceeded(limit=max_nbytes, arrived=len(buffer))
        return None

    def droppable_nbytes(self, buffer: ReceiveBuffer) -> int:
        """All but what may be the beginning of a delimiter."""
        return max(0, len(buffer) - len(self._sought[0]) + 1)

    def wrap(self, payload: BytesView) -> tuple[bytes, bytes]:
        """Refuse a payload that has a delimiter in it; see `Framing`."""
        end = self.delimiters[0]
        whole = payload.to_bytes() + end
        # Nor may its last bytes be the beginning of one that `end` completes.
        if first_end(whole, self._sought, 0, len(whole)) != (len(whole), len(end)):
            raise ValueError("this payload has a delimiter in it, so it would arrive in parts")
        return b"", end

    def _cut(
        self,
        window: Any,
        text: bytes | None,
        at: int,
        items: list[Any],
        max_items: int,
        max_nbytes: int,
    ) -> int:
        assert text is not None
        delimiters = self._sought
        if len(delimiters) == 1:
            return _cut_lines(delimiters[0], window, text, at, items, max_items, max_nbytes)
        for _ in range(max_items):
            stop = at + max_nbytes + len(delimiters[0])
            end, found = first_end(text, delimiters, at, min(stop, len(text)))
            if not found or end - found - at > max_nbytes:
                break
            items.append(window[at : end - found])
            at = end
        return at

    def _cut_one(
        self, window: Any, text: bytes | None, at: int, max_nbytes: int
    ) -> tuple[Any, int] | None:
        assert text is not None
        sought = self._only
        if sought is None:
            return super()._cut_one(window, text, at, max_nbytes)
        nbytes = len(sought)
        stop = text.find(sought, at, at + max_nbytes + nbytes)
        return None if stop < 0 else (window[at:stop], stop + nbytes)


def _cut_lines(
    delimiter: bytes,
    window: Any,
    text: bytes,
    at: int,
    items: list[Any],
    max_items: int,
    max_nbytes: int,
) -> int:
    """Cut at each delimiter, all of `CUT_NBYTES` at once."""
    some = text[at : at + CUT_NBYTES] if len(text) > 2 * CUT_NBYTES else text[at:]
    lines = some.split(delimiter, max_items)  # from the front: a delimiter may overlap itself
    end = at + len(some) - len(lines.pop())
    if not lines:
        last = text.find(delimiter, at, at + max_nbytes + len(delimiter))
        if last < 0:
            return at
        lines = [text[at:last]]
        end = last + len(delimiter)
    if end - at > max_nbytes and max(map(len, lines)) > max_nbytes:
        fitting = next(i for i, line in enumerate(lines) if len(line) > max_nbytes)
        del lines[fitting:]
        end = at + sum(map(len, lines)) + fitting * len(delimiter)
    if window is text:
        items += lines
        return end
    for line in lines:
        items.append(window[at : at + len(line)])
        at += len(line) + len(delimiter)
    return end


@attrs.frozen
class Lines(Delimited):
    """Lines of text, as bytes without their ends; the last needs no end.

    Args:
      delimiters: what ends a line. A carriage return before a line feed is of the line, unless it
        is of the delimiter.
    """

    delimiters: Delimiters = attrs.field(default=(b"\n",), converter=_given)

    def measure_last(self, buffer: ReceiveBuffer) -> Extent | None:
        """What is left is the last line."""
        return Extent(0, len(buffer))


@attrs.frozen
class UniversalLines(Framing):
    """Lines that end in LF, in CRLF or in CR, as Python reads text files; the last needs no end.

    A CR that is the last byte to arrive ends no line before the next byte, which may be its LF,
    or the end of the stream. What is sent ends in LF.
    """

    _needs_text = True

    def measure(self, buffer: ReceiveBuffer, max_nbytes: int) -> Extent | None:
        """Search the end of the line; see `Framing`."""
        found = buffer.find(CR_OR_LF, max_nbytes + 1)
        if found is None:
            if len(buffer) > max_nbytes:
                raise LimitExceeded(limit=max_nbytes, arrived=len(buffer))
            return None
        end, _ = found
        seen = buffer.peek(end + 1)[end - 1 :].to_bytes()
        if seen == b"\r":
            return None
        return Extent(0, end - 1, 2 if seen == b"\r\n" else 1)

    def measure_last(self, buffer: ReceiveBuffer) -> Extent | None:
        """What is left is the last line, and a CR its end."""
        nbytes = len(buffer)
        is_ended = buffer.peek(nbytes).endswith(b"\r")
        return Extent(0, nbytes - is_ended, int(is_ended))

    def droppable_nbytes(self, buffer: ReceiveBuffer) -> int:
        """All but a CR at the end."""
        return max(0, len(buffer) - 1)

    def wrap(self, payload: BytesView) -> tuple[bytes, bytes]:
        """Refuse a payload of several lines; see `Framing`."""
        if len(payload.splitlines()) > 1 or payload.endswith((b"\r", b"\n")):
            raise ValueError("this payload has the end of a line in it")
        return b"", b"\n"

    def _cut(
        self,
        window: Any,
        text: bytes | None,
        at: int,
        items: list[Any],
        max_items: int,
        max_nbytes: int,
    ) -> int:
        assert text is not None
        for _ in range(max_items):
            end, found = first_end(text, CR_OR_LF, at, min(at + max_nbytes + 1, len(text)))
            if not found:
                break
            after = end
            if text[end - 1] != LF:
                if end == len(text):  # its LF may be yet to come
                    break
                after = end + (text[end] == LF)
            items.append(window[at : end - 1])
            at = after
        return at


CR_OR_LF: Final = (b"\n", b"\r")
LF: Final = 10


def _frame_nbytes(nbytes: SupportsIndex) -> int:
    return positive_count_of(nbytes, "nbytes")


def _prefix_nbytes(nbytes: SupportsIndex) -> int:
    return positive_count_of(nbytes, "prefix_nbytes")


@attrs.frozen
class FixedLength(Framing):
    """Frames of so many bytes each, and nothing around them.

    Args:
      nbytes: how many bytes each payload has, at least 1.
    """

    _wraps_anything = True

    nbytes: int = attrs.field(converter=_frame_nbytes)

    def measure(self, buffer: ReceiveBuffer, max_nbytes: int) -> Extent | None:
        """Say what is always so; see `Framing`."""
        return Extent(0, self.nbytes) if buffer else None

    def wrap(self, payload: BytesView) -> tuple[bytes, bytes]:
        """Refuse a payload of another length; see `Framing`."""
        if len(payload) != self.nbytes:
            raise ValueError(f"a payload has {self.nbytes} bytes here, this one {len(payload)}")
        return b"", b""

    def _cut(
        self,
        window: Any,
        text: bytes | None,
        at: int,
        items: list[Any],
        max_items: int,
        max_nbytes: int,
    ) -> int:
        nbytes = self.nbytes
        if nbytes > max_nbytes:
            return at
        count = min((len(window) - at) // nbytes, max_items)
        end = at + count * nbytes
        items += [window[start : start + nbytes] for start in range(at, end, nbytes)]
        return end


@attrs.frozen
class LengthPrefixed(Framing):
    """Frames with their length in front, in so many bytes.

    Args:
      prefix_nbytes: how many bytes the length has, 1 to 8.
      byteorder: the order of these bytes.
      includes_prefix: whether the length counts itself, as some formats do (PostgreSQL's).

    Example:
      >>> framing = LengthPrefixed(2, "little", includes_prefix=True)
      >>> framing.encode(b"abc").to_bytes()
      b'\\x05\\x00abc'
    """

    _wraps_anything = True

    prefix_nbytes: int = attrs.field(
        default=4,
        converter=_prefix_nbytes,
        validator=attrs.validators.le(MAX_PREFIX_NBYTES),
    )
    byteorder: Literal["big", "little"] = attrs.field(
        default="big", validator=attrs.validators.in_(("big", "little"))
    )
    includes_prefix: bool = attrs.field(default=False, kw_only=True)
    _unpack: Any = attrs.field(init=False, eq=False, repr=False)
    _own_nbytes: int = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        letter = LAYOUTS.get(self.prefix_nbytes)
        sign = ">" if self.byteorder == "big" else "<"
        unpack = None if letter is None else struct.Struct(sign + letter).unpack_from
        object.__setattr__(self, "_unpack", unpack)
        object.__setattr__(self, "_own_nbytes", self.prefix_nbytes * self.includes_prefix)

    def measure(self, buffer: ReceiveBuffer, max_nbytes: int) -> Extent | None:
        """Read the length; see `Framing`."""
        prefix = buffer.peek_bytes(self.prefix_nbytes)
        if prefix is None:
            return None
        nbytes = int.from_bytes(prefix, self.byteorder) - self._own_nbytes
        if nbytes < 0:
            raise BadFrame(
                f"a length of {nbytes + self._own_nbytes} that should count its own "
                f"{self._own_nbytes} bytes",
                prefix,
            )
        return Extent(self.prefix_nbytes, nbytes)

    def wrap(self, payload: BytesView) -> tuple[bytes, bytes]:
        """Refuse a payload whose length does not fit; see `Framing`."""
        length = len(payload) + self._own_nbytes
        if length >> (8 * self.prefix_nbytes):
            raise ValueError(f"a length of {length} does not fit into {self.prefix_nbytes} bytes")
        return length.to_bytes(self.prefix_nbytes, self.byteorder), b""

    def _cut(
        self,
        window: Any,
        text: bytes | None,
        at: int,
        items: list[Any],
        max_items: int,
        max_nbytes: int,
    ) -> int:
        unpack = self._unpack
        if unpack is None:
            return at
        prefix_nbytes, own_nbytes = self.prefix_nbytes, self._own_nbytes
        stop = len(window)
        append = items.append
        if stop - at <= max_nbytes and not own_nbytes:  # so none is too large, or negative
            start = at
            with suppress(struct.error, OverflowError):  # no room for a length: that is the end
                for _ in repeat(None, max_items):
                    nbytes = unpack(window, at)[0]
                    start = at + prefix_nbytes
                    at = start + nbytes
                    append(window[start:at])
            if at > stop:  # looked at once, and not for each: the last is not whole
                items.pop()
                at = start - prefix_nbytes
            return at
        for _ in range(max_items):
            start = at + prefix_nbytes
            if start > stop:
                break
            nbytes = unpack(window, at)[0] - own_nbytes
            end = start + nbytes
            if end > stop or nbytes > max_nbytes or nbytes < 0:
                break
            append(window[start:end])
            at = end
        return at

    def _cut_one(
        self,
        window: Any,
        text: bytes | None,
        at: int,
        max_nbytes: int,
    ) -> tuple[Any, int] | None:
        unpack = self._unpack
        if unpack is None:
            return None
        try:
            nbytes = unpack(window, at)[0] - self._own_nbytes
        except struct.error:  # it is not all there
            return None
        start = at + self.prefix_nbytes
        end = start + nbytes
        if end > len(window) or nbytes > max_nbytes or nbytes < 0:
            return None
        return window[start:end], end


@attrs.frozen
class VarintPrefixed(Framing):
    """Frames with their length in front, in groups of seven bits, the lowest first (LEB128).

    As Protocol Buffers write it. A length that is written longer than it need be is refused, and
    so is one of more than 64 bits.
    """

    _wraps_anything = True

    def measure(self, buffer: ReceiveBuffer, max_nbytes: int) -> Extent | None:
        """Read the length; see `Framing`."""
        prefix = buffer.peek_bytes(min(len(buffer), MAX_VARINT_NBYTES))
        assert prefix is not None
        value = 0
        for index, byte in enumerate(prefix):
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                if index and not byte:
                    raise BadFrame("a length that is longer than it need be", prefix[: index + 1])
                if value >> 64:
                    raise BadFrame("a length of more than 64 bits", prefix[: index + 1])
                return Extent(index + 1, value)
        if len(prefix) == MAX_VARINT_NBYTES:
            raise BadFrame("a length of more than 64 bits", prefix)
        return None

    def wrap(self, payload: BytesView) -> tuple[bytes, bytes]:
        """See `Framing`."""
        rest = len(payload)
        groups = bytearray()
        while rest > 0x7F:
            groups.append(rest & 0x7F | 0x80)
            rest >>= 7
        groups.append(rest)
        return bytes(groups), b""

    def _cut(
        self,
        window: Any,
        text: bytes | None,
        at: int,
        items: list[Any],
        max_items: int,
        max_nbytes: int,
    ) -> int:
        stop = len(window)
        for _ in range(max_items):
            if at >= stop:
                break
            nbytes = window[at]
            start = at + 1
            if nbytes > 0x7F:  # up to two groups here, 16 KiB; `measure` knows the others
                if start >= stop or not 0 < window[start] < 0x80:
                    break
                nbytes = nbytes & 0x7F | window[start] << 7
                start += 1
            end = start + nbytes
            if end > stop or nbytes > max_nbytes:
                break
            items.append(window[start:end])
            at = end
        return at


@attrs.frozen
class Netstring(Framing):
    """Frames such as ``5:hello,``: the length in digits, a colon, the payload, a comma.

    Source: D. J. Bernstein, "Netstrings", 1997. A length with a leading zero is refused, and so is
    anything else in the comma's place, once it is there. Of a frame that is skipped while it
    arrives, what stands in the comma's place is dropped unseen, as the payload is.
    """

    _wraps_anything = True

    def measure(self, buffer: ReceiveBuffer, max_nbytes: int) -> Extent | None:
        """Read the length, and look at the comma if it is there; see `Framing`."""
        start = buffer.peek_bytes(min(len(buffer), MAX_NETSTRING_DIGITS + 1))
        assert start is not None
        digits, colon, _ = start.partition(b":")
        if (digits and not digits.isdigit()) or (colon and not digits):
            raise BadFrame("something else than the digits of a length", start)
        if len(digits) > 1 and digits.startswith(b"0"):
            raise BadFrame("a length with a leading zero", start)
        if not colon:
            if len(digits) > MAX_NETSTRING_DIGITS:
                raise BadFrame(f"a length of more than {MAX_NETSTRING_DIGITS} digits", start)
            return None
        before, nbytes = len(digits) + 1, int(digits)
        if nbytes <= max_nbytes and before + nbytes < len(buffer):
            comma = buffer.peek(before + nbytes + 1)[-1]
            if comma != COMMA:
                raise BadFrame("no comma behind the payload", bytes((comma,)))
        return Extent(before, nbytes, 1)

    def wrap(self, payload: BytesView) -> tuple[bytes, bytes]:
        """See `Framing`."""
        return b"%d:" % len(payload), b","


COMMA: Final = 44
