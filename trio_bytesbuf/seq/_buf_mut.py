"""`BufMut`: room that is filled from the front, wherever it is. All from three methods.

Whoever has room says how much (`remaining_mut`), lends some (`chunk_mut`) and is told how much of
that was filled (`advance_mut`). They ask whether there is room before anything is written, so:

Law 1. A call that is refused has put nothing.
Law 2. `chunk_mut` is empty only when there is no room; `advance_mut(n)` counts the first n bytes
       of what it lent as filled, and ends the loan.

`testing.BUF_MUT_CHECKS` holds any implementation to these laws.
"""

from __future__ import annotations

import abc
import struct
from typing import TYPE_CHECKING, Final, SupportsIndex

from .._errors import BufferFull
from ._buf_adapters import as_buf
from ._flat import count_of
from ._numbers import layout_of
from ._numbers_put import PutNumbers
from ._view_queries import flat_of

if TYPE_CHECKING:
    from ._buf_adapters import Source
    from ._flat import Buffer

RUN_NBYTES: Final = 65536
"""How many equal bytes are put at a time: as many as a block of the pool has."""


class BufMut(PutNumbers):
    """Room that is filled from the front: implement three methods and get all the others.

    What does not fit raises `BufferFull`, with both numbers. `as_buf_mut` makes one of whatever
    can be written to; `BytesBuf` is the one whose bytes become views.

    To implement it: `remaining_mut`, `chunk_mut` and `advance_mut`.

    Example:
      >>> room = bytearray(8)
      >>> target = as_buf_mut(memoryview(room))
      >>> target.put_u16_be(1)
      >>> target.put(as_buf(b"ab"))
      >>> target.remaining_mut(), room
      (4, bytearray(b'\\x00\\x01ab\\x00\\x00\\x00\\x00'))

    Idea: `BufMut` of the Rust crate bytes.
    """

    __slots__ = ()

    # What an implementation has to have

    @abc.abstractmethod
    def remaining_mut(self) -> int:
        """Return how many bytes can be put."""

    @abc.abstractmethod
    def chunk_mut(self) -> memoryview:
        """Lend room from the front, as much as lies together, for writing; empty if there is none.

        What is in it to begin with is anything. Valid until `advance_mut`, or a call that puts.
        """

    @abc.abstractmethod
    def advance_mut(self, nbytes: SupportsIndex) -> None:
        """Count the first `nbytes` bytes of what `chunk_mut` lent as filled.

        Raises:
          BufferFull: that was shorter; nothing was counted.
          TypeError, ValueError: `nbytes` is no integer, or negative.
        """

    # What follows from it

    def has_remaining_mut(self) -> bool:
        """Say whether there is room for at least one more byte."""
        return self.remaining_mut() > 0

    def _refuse_if_too_much(self, nbytes: int) -> None:
        available = self.remaining_mut()
        if nbytes > available:
            raise BufferFull(requested=nbytes, available=available)

    def put_slice(self, data: Buffer, /) -> None:
        """Copy `data` behind what is filled.

        Raises:
          BufferFull: there is not enough room.
          TypeError: `data` exports no buffer, or its memory has gaps.

        Cost: one copy.
        """
        source = flat_of(data)
        at, nbytes = 0, source.nbytes
        self._refuse_if_too_much(nbytes)
        while at < nbytes:
            room = self.chunk_mut()
            step = min(room.nbytes, nbytes - at)
            if not step:
                raise RuntimeError(
                    f"a {type(self).__name__} says that there is room for "
                    f"{self.remaining_mut()} bytes and lends none"
                )
            room[:step] = source[at : at + step]
            del room  # a window that somebody can still write to would be refused
            self.advance_mut(step)
            at += step

    def put(self, source: Source) -> None:
        """Copy everything that is left in `source`, and move it to its end.

        Args:
          source: a `Buf`, or what `as_buf` makes one of.

        Raises:
          BufferFull: there is not enough room; `source` has not moved.
          TypeError: `source` holds no bytes.
          UnexpectedEof: a file became shorter meanwhile; what it had was put.

        Cost: one copy.
        """
        buf = as_buf(source)
        self._refuse_if_too_much(buf.remaining())
        while buf.remaining():
            chunk = buf._chunk_of_some()
            self.put_slice(chunk)
            buf.advance(chunk.nbytes)

    def put_repeated(self, value: SupportsIndex, count: SupportsIndex) -> None:
        """Put the byte `value`, 0 to 255, `count` times.

        Raises:
          BufferFull: there is not enough room.
          TypeError, ValueError: a number is no integer, or out of its range.
        """
        byte = byte_of(value)
        nbytes = count_of(count, "count")
        self._refuse_if_too_much(nbytes)
        run = bytes((byte,)) * min(nbytes, RUN_NBYTES)
        while nbytes > len(run):
            self.put_slice(run)
            nbytes -= len(run)
        self.put_slice(run[:nbytes])

    def put_struct(self, layout: struct.Struct | str, *values: object) -> None:
        """Put what a `struct.Struct`, or its format, makes of `values`.

        Raises:
          BufferFull: there is not enough room.
          struct.error: `layout` is no format, or a value does not fit it.

        Cost: a `Struct` that is made once is quicker than its format in words.

        Example:
          >>> buf = BytesBuf.with_capacity(8)
          >>> buf.put_struct(">BH4s", 1, 2, b"name")
          >>> buf.peek()
          BytesView(b'\\x01\\x00\\x02name')
        """
        self.put_slice(layout_of(layout).pack(*values))

    def put_str(self, text: str, encoding: str = "utf-8", errors: str = "strict") -> None:
        """Put the bytes of `text`; an f-string formats.

        Raises:
          BufferFull: there is not enough room.
          TypeError: `text` is no str.
          UnicodeEncodeError: `encoding` has no bytes for it.
        """
        if not isinstance(text, str):
            raise TypeError(f"text is wanted, not {type(text).__name__}")
        self.put_slice(text.encode(encoding, errors))


def byte_of(value: SupportsIndex) -> int:
    """Return `value` as an int from 0 to 255.

    Raises:
      TypeError: it is no integer.
      ValueError: it is out of range.
    """
    byte = count_of(value, "value")
    if byte > 255:
        raise ValueError(f"value must be a byte, at most 255, not {byte}")
    return byte
