"""`Walker`: what stands where in a stream of typed messages, for people who look at its bytes.

A `MessageDecoder` gives values and keeps the rest to itself; this gives offsets, lengths and
checksums, and no values. What it takes for a message, a decoder does; tests hold them together.

Law 1. Every byte is of one item, or behind the last; an item says where it begins.
Law 2. Nothing raises. What makes no sense is a `Problem`, which is the last item.
Law 3. What is kept is less than a message and a feed, and no message is longer than the limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from .._errors import MissingExtra
from ..buffered import ReceiveBuffer
from ..seq import BytesView
from ..wire._checksum import KEY, siphash_for
from ..wire._format import (
    CHECKSUM_NBYTES,
    END,
    FRONT,
    HEADER_NBYTES,
    VERSION_NBYTES,
    WITH_CHECKSUMS,
    WITHOUT_CHECKSUMS,
    ProtocolVersion,
    payload_nbytes,
    prefix_nbytes,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SHOWN_NBYTES: Final = 64
"""How much is kept of what is no item: enough to see what it might be."""


@attrs.frozen
class Header:
    """What stands before the first message. Version 1 has none; it is said all the same."""

    offset: int
    version: ProtocolVersion
    has_checksums: bool


@attrs.frozen
class Message:
    """A message: its length, as it is written, its payload and its checksum."""

    offset: int
    number: int
    prefix: bytes
    payload: BytesView
    checksum: int | None
    """What came with it; None if none does."""

    computed: int | None
    """What it should be; None if that is not known."""

    @property
    def is_right(self) -> bool:
        """Whether nothing is known to be wrong with it."""
        return self.computed is None or self.checksum == self.computed


@attrs.frozen
class Goodbye:
    """The closing byte."""

    offset: int


@attrs.frozen
class Problem:
    """What ends the walk: bytes that make no sense, or too few of them."""

    offset: int
    complaint: str


@attrs.frozen
class Stop:
    """The end of the input, where a message could have begun: no goodbye was said."""

    offset: int


Item: TypeAlias = Header | Message | Goodbye | Problem | Stop


@attrs.define(eq=False)
class Walker:
    """A stream's bytes as they come, and the items that they are."""

    expected: ProtocolVersion | None
    """The version; None to find it out."""

    max_nbytes: int
    """How many bytes a message may have."""

    offset: int = attrs.field(init=False, default=0)
    """Where the next item begins."""

    behind_nbytes: int = attrs.field(init=False, default=0)
    """How many bytes came behind the last item."""

    behind: bytes = attrs.field(init=False, default=b"")
    """The first of them, or, behind a problem, those that it is about."""

    messages: int = attrs.field(init=False, default=0)
    _buffer: ReceiveBuffer = attrs.field(init=False, factory=ReceiveBuffer)
    _version: ProtocolVersion | None = attrs.field(init=False, default=None)
    _after_nbytes: int = attrs.field(init=False, default=0)
    _is_eof: bool = attrs.field(init=False, default=False)
    _is_over: bool = attrs.field(init=False, default=False)
    _siphash: Callable[[bytes, bytes], int] | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        try:
            self._siphash = siphash_for("looking at checksums")
        except MissingExtra:
            self._siphash = None

    @property
    def waiting_nbytes(self) -> int:
        """How many bytes have come that are not an item yet."""
        return len(self._buffer)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to find: behind a goodbye, or a problem."""
        return self._is_over

    def feed(self, view: BytesView) -> None:
        """Put what has come behind what is there."""
        if self._is_over:
            self._count_behind(view)
        else:
            self._buffer.feed(view)

    def feed_eof(self) -> None:
        """Say that no more will come."""
        self._is_eof = True

    def next_item(self) -> Item | None:
        """Return the next item; None if more has to come, or none is left."""
        if self._is_over:
            return None
        if self._version is None:
            return self._header()
        front = self._buffer.peek_bytes(1)
        if front is None:
            return self._stop() if self._is_eof else None
        if front[0] == END:
            self._take(1)
            self._end()
            return Goodbye(self.offset - 1)
        return self._message(front[0])

    # What there is

    def _header(self) -> Item | None:
        if self.expected is not None and self.expected is not ProtocolVersion.V2:
            return self._agree_on(self.expected, has_checksums=False, nbytes=0)
        front = self._buffer.peek(HEADER_NBYTES).to_bytes()
        if self.expected is None:
            is_second = front.startswith(FRONT) and len(front) > len(FRONT)
            may_be = FRONT.startswith(front) and not self._is_eof
            if not (is_second or may_be):
                return (
                    self._agree_on(ProtocolVersion.V1, has_checksums=False, nbytes=0)
                    if front
                    else self._stop()
                )
        theirs = int.from_bytes(front[:VERSION_NBYTES], "little")
        if len(front) >= VERSION_NBYTES and theirs != ProtocolVersion.V2:
            return self._problem(f"another version of the protocol, {theirs}, or another protocol")
        if len(front) < HEADER_NBYTES:
            return self._missing("a header", HEADER_NBYTES)
        feature = front[VERSION_NBYTES]
        if feature not in (WITH_CHECKSUMS, WITHOUT_CHECKSUMS):
            return self._problem(
                f"{feature:02x} behind the version, where 02 or 03 says if there are checksums"
            )
        has_checksums = feature == WITH_CHECKSUMS
        return self._agree_on(ProtocolVersion.V2, has_checksums=has_checksums, nbytes=HEADER_NBYTES)

    def _agree_on(self, version: ProtocolVersion, *, has_checksums: bool, nbytes: int) -> Header:
        self._version = version
        self._after_nbytes = CHECKSUM_NBYTES if has_checksums else 0
        header = Header(self.offset, version, has_checksums)
        self._take(nbytes)
        return header

    def _message(self, marker: int) -> Item | None:
        before = prefix_nbytes(marker)
        prefix = self._buffer.peek_bytes(before)
        if prefix is None:
            return self._missing("a length", before)
        nbytes = payload_nbytes(prefix)
        if nbytes > self.max_nbytes:
            return self._problem(
                f"the length of a message of {nbytes} bytes, more than the {self.max_nbytes} "
                f"that one may have"
            )
        total = before + nbytes + self._after_nbytes
        if total > len(self._buffer):
            return self._missing(f"a message of {nbytes} bytes", total)
        offset = self.offset
        view = self._take(total)
        payload, after = view[before : before + nbytes], view[before + nbytes :]
        checksum = computed = None
        if after:
            checksum = int.from_bytes(after.to_bytes(), "little")
            computed = None if self._siphash is None else self._siphash(KEY, payload.to_bytes())
        self.messages += 1
        return Message(offset, self.messages, prefix, payload, checksum, computed)

    def _missing(self, what: str, nbytes: int) -> Problem | Stop | None:
        if not self._is_eof:
            return None
        missing = nbytes - len(self._buffer)
        if missing == nbytes:
            return self._stop()
        return self._problem(f"the end, in the middle of {what}: {missing} bytes are missing")

    def _stop(self) -> Stop:
        self._end()
        return Stop(self.offset)

    def _problem(self, complaint: str) -> Problem:
        self._end()
        return Problem(self.offset, complaint)

    def _take(self, nbytes: int) -> BytesView:
        self.offset += nbytes
        return self._buffer.take(nbytes)

    def _end(self) -> None:
        self._is_over = True
        self._count_behind(self._buffer.take_all())

    def _count_behind(self, view: BytesView) -> None:
        self.behind += view[: SHOWN_NBYTES - len(self.behind)].to_bytes()
        self.behind_nbytes += len(view)
