"""`BytesReader`, the cursor: a `Buf` that reads a view, and a binary file object.

Law 1. The view never changes; only the reader's place in it does.
Law 2. `_chunk` is the piece at `_index`, or an empty memoryview behind the last, and `_offset` is
       where the next byte is in it. What gets numbers moves `_offset` and looks at nothing else,
       so it can be the length of `_chunk`: `_settle` goes to the next piece then.
Law 3. `_before` is what the pieces before have; with `_offset` it is the place counted from the
       front. The pieces before cost nothing, however many there are.
Law 4. A call that is refused has not moved.
"""

from __future__ import annotations

import operator
import os
import struct
from collections.abc import Callable, Iterator
from itertools import islice
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, SupportsIndex

from ._buf import Buf
from ._buf_file import BinaryFile
from ._flat import count_of
from ._numbers import layout_of, varint_nbytes_max
from ._numbers_fast import FastNumbers
from ._pieces import parts, place
from ._shown import Shown
from ._view import BytesView, make_view, part_of

if TYPE_CHECKING:
    from ._block import BlockRef
    from ._flat import Buffer
    from ._numbers import Read
    from ._picture import Picture
    from ._pieces import Pieces

_NOTHING: Final = memoryview(b"")


class BytesReader(FastNumbers, Buf, BinaryFile, Shown):
    """Reads the bytes of a view one after the other: takes views, numbers, structs, lines.

    Two manners of asking meet here. `take`, `get_u16_be` and the like give exactly what was asked
    for or raise `NotEnoughBytes`; each has a quiet twin, `try_…`, that answers None. `read`,
    `readinto`, `readline`, `seek` and `tell` are those of a binary file, for `io.TextIOWrapper`,
    `gzip`, `zipfile` and everything else that reads files.

    Args:
      view: what to read; other buffers are wrapped without a copy.

    Raises:
      TypeError: `view` is no view and no buffer.

    Example:
      >>> reader = BytesReader(BytesView(b"\\x00\\x05") + b"hello!")
      >>> reader.take(reader.get_u16_be()) == b"hello", len(reader)
      (True, 1)

    Idea: the consuming half of bytesbuf's `BytesView`, which is a type of its own here, and
    `Buf` for `Bytes` in the crate bytes.
    """

    __slots__ = ("_before", "_chunk", "_index", "_nbytes", "_offset", "_pieces", "_refs")

    def __init__(self, view: BytesView | Buffer) -> None:
        view = view if isinstance(view, BytesView) else BytesView(view)
        pieces = view._pieces
        self._pieces: Pieces = pieces
        self._refs: tuple[BlockRef | None, ...] | None = view._refs
        self._nbytes = view._nbytes
        self._index = self._offset = self._before = 0
        self._chunk = pieces[0] if pieces else _NOTHING

    def remaining(self) -> int:
        """Return how many bytes are left; `len` says the same."""
        return self._nbytes - self._before - self._offset or self._nothing_left()

    def _nothing_left(self) -> int:
        if self.closed:
            raise ValueError("I/O operation on a closed reader")
        return 0

    def __repr__(self) -> str:
        return f"<BytesReader at {self._before + self._offset} of {self._nbytes} bytes>"

    def _picture(self) -> Picture:
        from ._hexdump import hex_picture  # only who looks pays for it

        if self.closed:
            return hex_picture("BytesReader", ["closed"], (), ())
        at, rest = self.tell(), tuple(self._next(self.remaining()))
        facts = [f"at {at:,} of {self._nbytes:,} bytes", f"{self.remaining():,} remaining"]
        refs = (self._refs or (None,) * len(self._pieces))[self._index :]
        return hex_picture("BytesReader", facts, rest, refs, start=at)

    @property
    def _buf(self) -> Buf:
        self.remaining()
        return self

    # Moving

    def _move(self, nbytes: int) -> None:
        """Go `nbytes` bytes on; they are known to be there."""
        behind = self._offset + nbytes
        if behind < self._chunk.nbytes:
            self._offset = behind
            return
        pieces = self._pieces
        index, offset = place(pieces, behind, self._index)
        chunk = pieces[index] if index < len(pieces) else _NOTHING
        before = self._before + (behind - offset)  # now, as even a number may lack memory
        # No call between these, so that an interrupt finds all of them stored, or none.
        self._index, self._offset, self._chunk = index, offset, chunk
        self._before = before

    def _settle(self) -> None:
        """Leave a piece that is all read (Law 2)."""
        if self._offset == self._chunk.nbytes:
            self._move(0)

    def advance(self, nbytes: SupportsIndex) -> None:
        """Move `nbytes` bytes on.

        Raises:
          NotEnoughBytes: there are fewer; the reader has not moved.
          TypeError, ValueError: `nbytes` is no integer, or negative.
        """
        self._move(self._wanted(nbytes))

    # Showing

    def chunk(self) -> memoryview:
        """Return what is left of the current piece, or an empty memoryview at the end."""
        self._settle()
        return self._chunk[self._offset :] if self.remaining() else memoryview(b"")

    def chunk_meta(self) -> object:
        """Return what the memory's provider says of the current piece, or None."""
        return self.peek_view(1).first_piece_meta if self.remaining() else None

    def chunks_vectored(self, max_chunks: SupportsIndex | None = None) -> tuple[memoryview, ...]:
        """Return everything that is left as memoryviews, or the first `max_chunks` of them."""
        chunks = self._next(self.remaining())
        if max_chunks is None:
            return tuple(chunks)
        return tuple(islice(chunks, min(count_of(max_chunks, "max_chunks"), len(self._pieces))))

    def consume_all_slices(self, visit: Callable[[memoryview], object]) -> None:
        """Call `visit` with each piece that is left, as a memoryview, and move to the end.

        If `visit` raises, the reader stands behind the pieces that were visited before.
        """
        while self.remaining():
            piece = self.chunk()
            visit(piece[:])
            self._move(piece.nbytes)

    def _next(self, nbytes: int) -> Iterator[memoryview]:
        """Yield the next `nbytes` bytes, piece by piece; they are known to be there."""
        self._settle()
        return parts(self._pieces, self._index, self._offset, nbytes)

    # Taking

    def take(self, nbytes: SupportsIndex) -> BytesView:
        """Return a view of the next `nbytes` bytes and move behind them.

        Raises:
          NotEnoughBytes: there are fewer; nothing was taken.
          TypeError, ValueError: `nbytes` is no integer, or negative.

        Cost: no copy.
        """
        view = self.peek_view(nbytes)
        self._move(view._nbytes)
        return view

    def peek_view(self, nbytes: SupportsIndex) -> BytesView:
        """Return a view of the next `nbytes` bytes without moving.

        Raises:
          NotEnoughBytes: there are fewer.
          TypeError, ValueError: `nbytes` is no integer, or negative.

        Cost: no copy.
        """
        wanted = self._wanted(nbytes)
        if not wanted:
            return make_view((), 0)
        self._settle()
        offset = self._offset
        if offset + wanted <= self._chunk.nbytes:
            refs = self._refs
            if refs is not None:
                refs = refs[self._index : self._index + 1] if refs[self._index] else None
            return make_view((self._chunk[offset : offset + wanted],), wanted, refs)
        return part_of(self._pieces, self._refs, self._index, offset, wanted)

    def _copy(self, room: memoryview) -> None:
        at = 0
        for part in self._next(room.nbytes):
            room[at : at + part.nbytes] = part
            at += part.nbytes
        self._move(at)

    def unpack(self, layout: struct.Struct | str) -> tuple[Any, ...]:
        """Take what a `struct.Struct`, or its format, describes and return its values; see `Buf`.

        Raises:
          NotEnoughBytes: it is not all there; nothing was taken.
          struct.error: `layout` is no format.
          TypeError: `layout` is neither.

        Cost: no copy where it lies in one piece. A `Struct` that is made once is quicker than its
        format in words.
        """
        if type(layout) is not Struct:
            layout = layout_of(layout)
        try:  # as _take_struct does, which is not called: that would cost a third more
            values = layout.unpack_from(self._chunk, self._offset)
        except struct.error:
            return self._take_struct(layout)
        nbytes = layout.size
        if not nbytes:  # unpacks from nothing, so a closed reader has to be asked for
            self.remaining()
        self._offset += nbytes
        return values

    def _take_struct(self, layout: struct.Struct, /) -> tuple[Any, ...]:
        behind = self._offset + layout.size
        if behind > self._chunk.nbytes:  # not all in this piece, or not there at all
            return layout.unpack(self._take_bytes(layout.size))
        values = layout.unpack_from(self._chunk, self._offset)
        self._offset = behind
        return values

    def _peek_struct(self, layout: struct.Struct, /) -> tuple[Any, ...]:
        if not layout.size:
            self.remaining()
        try:
            return layout.unpack_from(self._chunk, self._offset)
        except struct.error:
            return layout.unpack(self._peek_bytes(layout.size))

    def _take_varint(self, read: Read, max_bits: SupportsIndex, /) -> int:
        bits = operator.index(max_bits)
        most = varint_nbytes_max(bits)
        offset = self._offset
        found = read(self._chunk[offset : offset + most].tobytes(), bits)
        if found is None:  # not all in this piece, or not there at all
            return super()._take_varint(read, bits)
        self._offset = offset + found[1]
        return found[0]

    def _take_bytes(self, nbytes: SupportsIndex, /) -> bytes:
        wanted = self._wanted(nbytes)
        data = b"".join(self._next(wanted))
        self._move(wanted)
        return data

    def _peek_bytes(self, nbytes: SupportsIndex, /) -> bytes:
        return b"".join(self._next(self._wanted(nbytes)))

    # The manners of a binary file that can be moved about in

    def seekable(self) -> bool:
        """Say that this file can be moved about in."""
        return self.readable()

    def seek(self, offset: SupportsIndex, whence: int = os.SEEK_SET, /) -> int:
        """Move to `offset`, counted from the front, from here or from the end; return the place.

        Beyond the end there is no place; the end is meant then.

        Raises:
          ValueError: the place is before the front, or `whence` is none of the three.
        """
        distance = operator.index(offset)  # first: it may do anything with us
        here = self.tell()
        bases = {os.SEEK_SET: 0, os.SEEK_CUR: here, os.SEEK_END: self._nbytes}
        if whence not in bases:
            raise ValueError(f"whence must be 0, 1 or 2, not {whence}")
        position = bases[whence] + distance
        if position < 0:
            raise ValueError(f"cannot seek to {position}, before the front")
        if position < here:
            index, offset = place(self._pieces, position)
            before = position - offset
            self._index, self._offset, self._chunk = index, offset, self._pieces[index]
            self._before = before
        else:
            self._move(min(position, self._nbytes) - here)
        return self.tell()

    def tell(self) -> int:
        """Return how many bytes are before the reader's place."""
        return self._nbytes - self.remaining()

    def close(self) -> None:
        """Drop the memory; every later call raises ValueError, as with any closed file."""
        if not self.closed:
            self._pieces, self._refs, self._chunk = (), None, _NOTHING
            self._nbytes = self._index = self._offset = self._before = 0
        super().close()


def check_reader(reader: BytesReader) -> None:
    """Raise AssertionError if a law of this file is broken."""
    pieces, index = reader._pieces, reader._index
    assert reader._before == sum(piece.nbytes for piece in pieces[:index]), "Law 3"
    assert reader._chunk is (pieces[index] if index < len(pieces) else _NOTHING), "Law 2"
    assert 0 <= reader._offset <= reader._chunk.nbytes, "Law 2"
