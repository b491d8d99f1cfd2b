"""`Buf`: bytes that are read from the front, wherever they are. All from three methods.

Whoever has bytes to be read says how many (`remaining`), shows some (`chunk`) and moves on
(`advance`); numbers, structs, views, copies and peeks follow from that. They ask whether there
are enough bytes before anything moves, so:

Law 1. A call that is refused has moved nothing.
Law 2. `chunk` is empty at the end only; `advance(n)` drops the first n bytes that it, or
       `chunks_vectored`, showed.
Law 3. `chunks_vectored` shows the front of what remains, in order, no chunk empty. It shows
       all of it if it can, which is what lets a number be peeked at that lies in two chunks.

`testing.BUF_CHECKS` holds any implementation to these laws.
"""

from __future__ import annotations

import abc
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, SupportsIndex

from .._errors import NotEnoughBytes
from ._flat import count_of, flat_writable
from ._numbers import layout_of, varint_nbytes_max
from ._numbers_get import GetNumbers
from ._numbers_peek import PeekNumbers
from ._view import BytesView

if TYPE_CHECKING:
    from ._flat import Buffer
    from ._numbers import Read


class Buf(GetNumbers, PeekNumbers):
    """Bytes that are read from the front: implement three methods and get all the others.

    `get_u16_be` and its kin take numbers, `peek_u16_be` and its kin leave them in place. What there
    is too little for raises `NotEnoughBytes` with both numbers; the twin `try_…` of each answers
    None (or False) instead.

    To implement it: `remaining`, `chunk` and `advance`. Override `chunks_vectored` if the bytes
    lie in several pieces, or else peeks, and numbers of variable length, that lie in two of them
    raise NotImplementedError; and `take` and `peek_view` if they can be shown without a copy.
    `as_buf` makes one of whatever holds bytes; `BytesReader` is the one for views.

    Example:
      >>> class Zeros(Buf):
      ...     def __init__(self, nbytes):
      ...         self.nbytes = nbytes
      ...     def remaining(self):
      ...         return self.nbytes
      ...     def chunk(self):
      ...         return memoryview(bytes(min(self.nbytes, 4096)))
      ...     def advance(self, nbytes):
      ...         if nbytes > self.nbytes:
      ...             raise NotEnoughBytes(requested=nbytes, available=self.nbytes)
      ...         self.nbytes -= nbytes
      >>> zeros = Zeros(1_000_000)
      >>> zeros.get_u32_be(), zeros.try_get_uint_be(3), len(zeros)
      (0, 0, 999993)

    Idea: `Buf` of the Rust crate bytes.
    """

    __slots__ = ()

    # What an implementation has to have

    @abc.abstractmethod
    def remaining(self) -> int:
        """Return how many bytes are left; `len` says the same."""

    @abc.abstractmethod
    def chunk(self) -> memoryview:
        """Return bytes from the front, as many as lie together; an empty memoryview at the end.

        Valid until the next call that moves on.
        """

    @abc.abstractmethod
    def advance(self, nbytes: SupportsIndex) -> None:
        """Move `nbytes` bytes on.

        Raises:
          NotEnoughBytes: there are fewer; nothing has moved.
          TypeError, ValueError: `nbytes` is no integer, or negative.
        """

    # What follows from it

    def __len__(self) -> int:
        return self.remaining()

    def has_remaining(self) -> bool:
        """Say whether there is at least one more byte; `bool` says the same."""
        return self.remaining() > 0

    __bool__ = has_remaining

    def _wanted(self, nbytes: SupportsIndex) -> int:
        wanted = count_of(nbytes, "nbytes")
        available = self.remaining()
        if wanted > available:
            raise NotEnoughBytes(requested=wanted, available=available)
        return wanted

    def _are_there(self, nbytes: SupportsIndex) -> bool:
        return count_of(nbytes, "nbytes") <= self.remaining()

    def _chunk_of_some(self) -> memoryview:
        chunk = self.chunk()
        if not chunk.nbytes:
            raise RuntimeError(
                f"a {type(self).__name__} says that {self.remaining()} bytes are left, "
                "and shows none"
            )
        return chunk

    def try_advance(self, nbytes: SupportsIndex) -> bool:
        """Like `advance`, but False when there are fewer bytes."""
        if not self._are_there(nbytes):
            return False
        self.advance(nbytes)
        return True

    def chunks_vectored(self, max_chunks: SupportsIndex | None = None) -> tuple[memoryview, ...]:
        """Return bytes from the front as memoryviews in their order, none empty: for `sendmsg`.

        Args:
          max_chunks: at most so many of them; as many as can be shown if not given.

        Raises:
          TypeError, ValueError: `max_chunks` is no integer, or negative.
        """
        if max_chunks is not None and not count_of(max_chunks, "max_chunks"):
            return ()
        return (self.chunk(),) if self.remaining() else ()

    def take(self, nbytes: SupportsIndex) -> BytesView:
        """Return a view of the next `nbytes` bytes and move behind them.

        Raises:
          NotEnoughBytes: there are fewer; nothing was taken.
          TypeError, ValueError: `nbytes` is no integer, or negative.

        Cost: one copy, unless the implementation can show its memory: all of this library
        that are made of views or `bytes` can.
        """
        return BytesView(self._take_bytes(nbytes))

    def try_take(self, nbytes: SupportsIndex) -> BytesView | None:
        """Like `take`, but None when there are fewer bytes."""
        return self.take(nbytes) if self._are_there(nbytes) else None

    def take_rest(self) -> BytesView:
        """Return a view of everything that is left and move to the end."""
        return self.take(self.remaining())

    def peek_view(self, nbytes: SupportsIndex) -> BytesView:
        """Return a view of the next `nbytes` bytes without moving.

        Raises:
          NotEnoughBytes: there are fewer.
          NotImplementedError: they lie in several chunks, and `chunks_vectored` shows too few.
          TypeError, ValueError: `nbytes` is no integer, or negative.

        Cost: as `take`.
        """
        return BytesView(self._peek_bytes(nbytes))

    def try_peek_view(self, nbytes: SupportsIndex) -> BytesView | None:
        """Like `peek_view`, but None when there are fewer bytes."""
        return self.peek_view(nbytes) if self._are_there(nbytes) else None

    def copy_to_slice(self, target: Buffer) -> None:
        """Fill `target` with the next bytes and move behind them.

        Raises:
          NotEnoughBytes: there are fewer than `target` holds; nothing was copied.
          TypeError: `target` is no buffer, is read-only, or has gaps.

        Cost: one copy.
        """
        room = flat_writable(target)
        self._wanted(room.nbytes)
        self._copy(room)

    def try_copy_to_slice(self, target: Buffer) -> bool:
        """Like `copy_to_slice`, but False when there are fewer bytes."""
        room = flat_writable(target)
        if not self._are_there(room.nbytes):
            return False
        self._copy(room)
        return True

    def _copy(self, room: memoryview) -> None:
        """Fill `room`; the bytes for it are known to be there."""
        at, nbytes = 0, room.nbytes
        while at < nbytes:
            part = self._chunk_of_some()[: nbytes - at]
            step = part.nbytes
            room[at : at + step] = part
            self.advance(step)
            at += step

    def drain(self) -> Iterator[int]:
        """Yield the bytes one by one, each taken when it is yielded; stop when you like."""
        while self.remaining():
            yield self.get_u8()

    # Structs and numbers

    def unpack(self, layout: struct.Struct | str) -> tuple[Any, ...]:
        """Take what a `struct.Struct`, or its format, describes and return its values.

        Raises:
          NotEnoughBytes: it is not all there; nothing was taken.
          struct.error: `layout` is no format.

        Cost: no copy where it lies in one piece. A `Struct` that is made once is quicker than its
        format in words.

        Example:
          >>> BytesReader(b"\\x01\\x00\\x02name").unpack(">BH4s")
          (1, 2, b'name')
        """
        return self._take_struct(layout_of(layout))

    def try_unpack(self, layout: struct.Struct | str) -> tuple[Any, ...] | None:
        """Like `unpack`, but None when it is not all there."""
        known = layout_of(layout)
        return self._take_struct(known) if self.remaining() >= known.size else None

    def peek_unpack(self, layout: struct.Struct | str) -> tuple[Any, ...]:
        """Like `unpack`, without moving."""
        return self._peek_struct(layout_of(layout))

    def try_peek_unpack(self, layout: struct.Struct | str) -> tuple[Any, ...] | None:
        """Like `peek_unpack`, but None when it is not all there."""
        known = layout_of(layout)
        return self._peek_struct(known) if self.remaining() >= known.size else None

    def _take_struct(self, layout: struct.Struct, /) -> tuple[Any, ...]:
        nbytes = self._wanted(layout.size)
        chunk = self.chunk()
        if chunk.nbytes < nbytes:
            return layout.unpack(self._take_bytes(nbytes))
        values = layout.unpack_from(chunk)
        self.advance(nbytes)
        return values

    def _peek_struct(self, layout: struct.Struct, /) -> tuple[Any, ...]:
        return layout.unpack(self._peek_bytes(layout.size))

    def _take_bytes(self, nbytes: SupportsIndex, /) -> bytes:
        wanted = self._wanted(nbytes)
        chunk = self.chunk()
        if chunk.nbytes < wanted:
            room = bytearray(wanted)
            self._copy(memoryview(room))
            return bytes(room)
        data = chunk[:wanted].tobytes()
        self.advance(wanted)
        return data

    def _peek_bytes(self, nbytes: SupportsIndex, /) -> bytes:
        wanted = self._wanted(nbytes)
        chunk = self.chunk()
        if chunk.nbytes >= wanted:
            return chunk[:wanted].tobytes()
        parts: list[memoryview] = []
        missing = wanted
        for chunk in self.chunks_vectored(wanted):  # none is empty
            parts.append(chunk[:missing])
            missing -= parts[-1].nbytes
            if not missing:
                return b"".join(parts)
        raise NotImplementedError(
            f"the chunks_vectored of this {type(self).__name__} shows {wanted - missing} bytes "
            f"of {self.remaining()}, too few to peek at {wanted}"
        )

    def _varint(self, read: Read, max_bits: SupportsIndex) -> tuple[int, int] | None:
        most = varint_nbytes_max(max_bits)
        bits = max_bits.__index__()
        near = self.chunk()[:most].tobytes()
        found = read(near, bits)
        if found is None and (left := min(most, self.remaining())) > len(near):
            near = b"".join(self.chunks_vectored(most))[:most]  # no chunk is empty
            found = read(near, bits)
            if found is None and left > len(near):
                found = read(self._peek_bytes(left), bits)
        return found

    def _take_varint(self, read: Read, max_bits: SupportsIndex, /) -> int:
        found = self._varint(read, max_bits)
        if found is None:
            raise self._one_more()
        self.advance(found[1])
        return found[0]

    def _try_take_varint(self, read: Read, max_bits: SupportsIndex, /) -> int | None:
        found = self._varint(read, max_bits)
        if found is None:
            return None
        self.advance(found[1])
        return found[0]

    def _peek_varint(self, read: Read, max_bits: SupportsIndex, /) -> int:
        found = self._varint(read, max_bits)
        if found is None:
            raise self._one_more()
        return found[0]

    def _try_peek_varint(self, read: Read, max_bits: SupportsIndex, /) -> int | None:
        found = self._varint(read, max_bits)
        return None if found is None else found[0]

    def _one_more(self) -> NotEnoughBytes:
        available = self.remaining()
        return NotEnoughBytes(requested=available + 1, available=available)
