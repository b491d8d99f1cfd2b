"""What can be written to but is no `BufMut`, and what is made of those that are."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, SupportsIndex, TypeAlias

from .._errors import BufferFull
from ._buf_mut import BufMut
from ._flat import count_of, flat_writable
from ._view_queries import flat_of

if TYPE_CHECKING:
    from ._flat import Buffer

    Target: TypeAlias = BufMut | Buffer


def as_buf_mut(target: Target) -> BufMut:
    """Return a `BufMut` that fills `target`.

    Args:
      target: a `BufMut`, which is returned itself; a bytearray, which grows (`BytearrayMut`); or
        any other writable, contiguous buffer, which is filled from its front (`SliceMut`).

    Raises:
      TypeError: it is none of these.

    Example:
      >>> data = bytearray(b"ab")
      >>> as_buf_mut(data).put_u16_be(0x6364)
      >>> data
      bytearray(b'abcd')
    """
    if isinstance(target, BufMut):
        return target
    return BytearrayMut(target) if isinstance(target, bytearray) else SliceMut(target)


class BytearrayMut(BufMut):
    """Appends to a bytearray, which grows as needed.

    Args:
      target: the bytearray. It must not be exported (by a memoryview, say) while it grows.

    Raises:
      TypeError: `target` is no bytearray.

    Idea: `BufMut` for `Vec<u8>` in the Rust crate bytes.
    """

    __slots__ = ("_inner", "_spare")

    SPARE_NBYTES = 64
    """How much room `chunk_mut` lends: Rust's number."""

    def __init__(self, target: bytearray) -> None:
        if not isinstance(target, bytearray):
            raise TypeError(f"a bytearray is wanted, not {type(target).__name__}")
        self._inner = target
        self._spare = bytearray()

    def __repr__(self) -> str:
        return f"<BytearrayMut of {len(self._inner)} bytes>"

    @property
    def inner(self) -> bytearray:
        """The bytearray."""
        return self._inner

    def remaining_mut(self) -> int:
        """Return how many bytes can be put before no machine could address them."""
        return sys.maxsize - len(self._inner)

    def chunk_mut(self) -> memoryview:
        """Lend some room; it is copied to the end of the bytearray when it is filled."""
        if not self._spare:
            self._spare = bytearray(self.SPARE_NBYTES)
        return memoryview(self._spare)

    def advance_mut(self, nbytes: SupportsIndex) -> None:
        """Append the first `nbytes` bytes of what was lent.

        Raises:
          BufferFull: less was lent; nothing was appended.
          TypeError, ValueError: `nbytes` is no integer, or negative.
        """
        filled = count_of(nbytes, "nbytes")
        if filled > len(self._spare):
            raise BufferFull(requested=filled, available=len(self._spare))
        self._inner += memoryview(self._spare)[:filled]
        self._spare = bytearray()

    def put_slice(self, data: Buffer, /) -> None:
        """Append a copy of `data`.

        Raises:
          TypeError: `data` exports no buffer, or its memory has gaps.
        """
        self._inner += flat_of(data)


class SliceMut(BufMut):
    """Fills writable memory from its front; there is no more room than that.

    Args:
      target: any writable, contiguous buffer.

    Raises:
      TypeError: `target` is no buffer, is read-only, or has gaps.

    Idea: `BufMut` for `&mut [u8]` in the Rust crate bytes.
    """

    __slots__ = ("_filled", "_inner")

    def __init__(self, target: Buffer) -> None:
        self._inner = flat_writable(target)
        self._filled = 0

    def __repr__(self) -> str:
        return f"<SliceMut, {self._filled} of {self._inner.nbytes} bytes filled>"

    @property
    def filled(self) -> memoryview:
        """What was put so far."""
        return self._inner[: self._filled]

    def remaining_mut(self) -> int:
        """Return how many bytes are not filled yet."""
        return self._inner.nbytes - self._filled

    def chunk_mut(self) -> memoryview:
        """Lend everything that is not filled yet."""
        return self._inner[self._filled :]

    def advance_mut(self, nbytes: SupportsIndex) -> None:
        """Count `nbytes` more bytes as filled.

        Raises:
          BufferFull: there are not as many; nothing was counted.
          TypeError, ValueError: `nbytes` is no integer, or negative.
        """
        filled = count_of(nbytes, "nbytes")
        self._refuse_if_too_much(filled)
        self._filled += filled


class ChainMut(BufMut):
    """Fills one `BufMut` and then another.

    Args:
      first, last: each a `BufMut`, or what `as_buf_mut` makes one of.

    Idea: `Chain` of the Rust crate bytes, whose one type serves both directions.
    """

    __slots__ = ("_first", "_last")

    def __init__(self, first: Target, last: Target) -> None:
        self._first = as_buf_mut(first)
        self._last = as_buf_mut(last)

    def __repr__(self) -> str:
        return f"ChainMut({self._first!r}, {self._last!r})"

    @property
    def first(self) -> BufMut:
        """What is filled first."""
        return self._first

    @property
    def last(self) -> BufMut:
        """What is filled behind it."""
        return self._last

    def into_inner(self) -> tuple[BufMut, BufMut]:
        """Return both."""
        return self._first, self._last

    def _current(self) -> BufMut:
        return self._first if self._first.remaining_mut() else self._last

    def remaining_mut(self) -> int:
        """Return how many bytes can be put in both, or that no machine has more."""
        return min(sys.maxsize, self._first.remaining_mut() + self._last.remaining_mut())

    def chunk_mut(self) -> memoryview:
        """Lend room of the one that is being filled."""
        return self._current().chunk_mut()

    def advance_mut(self, nbytes: SupportsIndex) -> None:
        """Count the first `nbytes` bytes of what was lent as filled.

        Raises:
          BufferFull: less was lent; nothing was counted.
          TypeError, ValueError: `nbytes` is no integer, or negative.
        """
        self._current().advance_mut(nbytes)

    def put_slice(self, data: Buffer, /) -> None:
        """Copy `data` behind what is filled, into both if need be.

        Raises:
          BufferFull: there is not enough room in both.
          TypeError: `data` exports no buffer, or its memory has gaps.
        """
        source = flat_of(data)
        self._refuse_if_too_much(source.nbytes)
        near = min(source.nbytes, self._first.remaining_mut())
        if near < source.nbytes:
            self._last.chunk_mut()  # if it refuses, then now, and not when half is put
        self._first.put_slice(source[:near])
        self._last.put_slice(source[near:])


class LimitedMut(BufMut):
    """Puts at most so many bytes into a `BufMut`.

    Args:
      target: a `BufMut`, or what `as_buf_mut` makes one of.
      limit: how many bytes may be put through this.

    Raises:
      TypeError, ValueError: `limit` is no integer, or negative.

    Idea: `Limit` of the Rust crate bytes.
    """

    __slots__ = ("_inner", "_limit")

    def __init__(self, target: Target, limit: SupportsIndex) -> None:
        self._inner = as_buf_mut(target)
        self._limit = count_of(limit, "limit")

    def __repr__(self) -> str:
        return f"LimitedMut({self._inner!r}, {self._limit})"

    @property
    def inner(self) -> BufMut:
        """What is filled; what is put into it by others does not count."""
        return self._inner

    @property
    def limit(self) -> int:
        """How many bytes may still be put through this; the inner one may have less room."""
        return self._limit

    def set_limit(self, limit: SupportsIndex) -> None:
        """Let `limit` bytes be put from here on.

        Raises:
          TypeError, ValueError: `limit` is no integer, or negative.
        """
        self._limit = count_of(limit, "limit")

    def into_inner(self) -> BufMut:
        """Return what was filled."""
        return self._inner

    def remaining_mut(self) -> int:
        """Return how many bytes can be put within the limit."""
        return min(self._limit, self._inner.remaining_mut())

    def chunk_mut(self) -> memoryview:
        """Lend room of the inner one, cut at the limit.

        A part that was cut is a slice of what the inner one lent. If that is a builder, drop it
        before `advance_mut`, which is refused while somebody could still write to it.
        """
        room = self._inner.chunk_mut()
        return room if room.nbytes <= self._limit else room[: self._limit]

    def advance_mut(self, nbytes: SupportsIndex) -> None:
        """Count the first `nbytes` bytes of what was lent as filled.

        Raises:
          BufferFull: less was lent; nothing was counted.
          MemoryInUse: a part that was lent is still alive, and the inner one can tell.
          TypeError, ValueError: `nbytes` is no integer, or negative.
        """
        filled = count_of(nbytes, "nbytes")
        if filled > self._limit:
            raise BufferFull(requested=filled, available=self._limit)
        self._inner.advance_mut(filled)
        self._limit -= filled

    def put_slice(self, data: Buffer, /) -> None:
        """Copy `data` behind what is filled.

        Raises:
          BufferFull: there is not enough room within the limit.
          TypeError: `data` exports no buffer, or its memory has gaps.
        """
        source = flat_of(data)
        self._refuse_if_too_much(source.nbytes)
        self._inner.put_slice(source)
        self._limit -= source.nbytes


class Writer(io.BufferedIOBase):
    """Any `BufMut` as a binary file to write to. `BytesBufWriter` is one that grows.

    Args:
      target: a `BufMut`, or what `as_buf_mut` makes one of.

    Example:
      >>> import gzip
      >>> data = bytearray()
      >>> with gzip.open(Writer(data), "wb") as file:
      ...     _ = file.write(b"hello " * 100)
      >>> gzip.decompress(data) == b"hello " * 100
      True

    Idea: `Writer` of the Rust crate bytes, which writes what there is room for and says how much.
    A buffered file of Python's writes all or raises.
    """

    __slots__ = ("_inner",)

    def __init__(self, target: Target) -> None:
        self._inner = as_buf_mut(target)

    def __repr__(self) -> str:
        return f"Writer({self._inner!r})"

    @property
    def inner(self) -> BufMut:
        """What is filled."""
        return self._inner

    def writable(self) -> bool:
        """Say that this file can be written."""
        self._refuse_if_closed()
        return True

    def _refuse_if_closed(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on a closed writer")

    def write(self, data: Buffer, /) -> int:
        """Append a copy of `data` and return its length in bytes.

        Raises:
          BufferFull: there is not enough room; nothing was written.
          TypeError: `data` exports no buffer, or its memory has gaps.
          ValueError: the writer is closed.
        """
        self._refuse_if_closed()
        source = flat_of(data)
        self._inner.put_slice(source)
        return source.nbytes

    def into_inner(self) -> BufMut:
        """Close the file and return what it filled."""
        self.close()
        return self._inner
