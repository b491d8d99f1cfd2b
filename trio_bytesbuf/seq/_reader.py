"""`BytesReader`, the cursor: reads a view from front to back, and is a binary file object.

Law 1. The view never changes; only the reader's place in it does.
Law 2. `_piece` and `_offset` name the next byte; `_offset` is below that piece's length, or
       `_piece` is behind the last. `_position` is the same place counted from the front.
       Reading goes on from there, so the pieces before cost nothing, however many there are.
Law 3. A call that is refused has not moved.
"""

from __future__ import annotations

import io
import operator
import os
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, SupportsIndex

from .._errors import NotEnoughBytes
from ._flat import count_of, flat
from ._numbers import GetNumbers
from ._pieces import FIRST_WINDOW_NBYTES, hits, parts, place
from ._view import BytesView, make_view, part_of

if TYPE_CHECKING:
    from ._flat import Buffer
    from ._pieces import Pieces


class BytesReader(GetNumbers, io.BufferedIOBase):
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

    Idea: the consuming half of bytesbuf's `BytesView`, which is a type of its own here.
    """

    def __init__(self, view: BytesView | Buffer) -> None:
        view = view if isinstance(view, BytesView) else BytesView(view)
        self._pieces: Pieces = view._pieces
        self._nbytes = view._nbytes
        self._refs = view._refs
        self._piece = self._offset = self._position = 0

    def __len__(self) -> int:
        """Return how many bytes are left."""
        self._refuse_if_closed()
        return self._nbytes - self._position

    def __bool__(self) -> bool:
        return self._position < self._nbytes or len(self) > 0

    def _refuse_if_closed(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on a closed reader")

    def __repr__(self) -> str:
        return f"<BytesReader at {self._position} of {self._nbytes} bytes>"

    def _move(self, nbytes: int) -> None:
        """Go `nbytes` bytes on; they are known to be there."""
        self._position += nbytes
        self._piece, self._offset = place(self._pieces, self._offset + nbytes, self._piece)

    def _next(self, nbytes: int) -> Iterator[memoryview]:
        """Yield the next `nbytes` bytes, piece by piece; they are known to be there."""
        return parts(self._pieces, self._piece, self._offset, nbytes)

    def _wanted(self, nbytes: SupportsIndex) -> int:
        wanted = count_of(nbytes, "nbytes")
        if not wanted or wanted > self._nbytes - self._position:
            available = len(self)
            if wanted > available:
                raise NotEnoughBytes(requested=wanted, available=available)
        return wanted

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

    def try_take(self, nbytes: SupportsIndex) -> BytesView | None:
        """Like `take`, but None when there are fewer bytes."""
        return self.take(nbytes) if count_of(nbytes, "nbytes") <= len(self) else None

    def take_rest(self) -> BytesView:
        """Return a view of everything that is left and move to the end."""
        return self.take(len(self))

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
        piece, offset = self._pieces[self._piece], self._offset
        if wanted <= piece.nbytes - offset:
            refs = self._refs
            if refs is not None:
                refs = refs[self._piece : self._piece + 1] if refs[self._piece] else None
            return make_view((piece[offset : offset + wanted],), wanted, refs)
        return part_of(self._pieces, self._refs, self._piece, offset, wanted)

    def try_peek_view(self, nbytes: SupportsIndex) -> BytesView | None:
        """Like `peek_view`, but None when there are fewer bytes."""
        return self.peek_view(nbytes) if count_of(nbytes, "nbytes") <= len(self) else None

    def advance(self, nbytes: SupportsIndex) -> None:
        """Move `nbytes` bytes on.

        Raises:
          NotEnoughBytes: there are fewer; the reader has not moved.
          TypeError, ValueError: `nbytes` is no integer, or negative.
        """
        self._move(self._wanted(nbytes))

    def try_advance(self, nbytes: SupportsIndex) -> bool:
        """Like `advance`, but False when there are fewer bytes."""
        if count_of(nbytes, "nbytes") > len(self):
            return False
        self.advance(nbytes)
        return True

    def first_slice(self) -> memoryview:
        """Return what is left of the current piece, or an empty memoryview at the end."""
        if self._piece == len(self._pieces):
            self._refuse_if_closed()
            return memoryview(b"")
        return self._pieces[self._piece][self._offset :]

    def first_slice_meta(self) -> object:
        """Return what the memory's provider says of the current piece, or None."""
        return self.peek_view(1).first_piece_meta if self else None

    def consume_all_slices(self, visit: Callable[[memoryview], object]) -> None:
        """Call `visit` with each piece that is left, as a memoryview, and move to the end.

        If `visit` raises, the reader stands behind the pieces that were visited before.
        """
        while self:
            piece = self.first_slice()
            visit(piece[:])
            self._move(piece.nbytes)

    def copy_to_slice(self, target: Buffer) -> None:
        """Fill `target` with the next bytes and move behind them.

        Raises:
          NotEnoughBytes: there are fewer than `target` holds; nothing was copied.
          TypeError: `target` is no buffer, is read-only, or has gaps.

        Cost: one copy.
        """
        room = _writable(target)
        self._wanted(room.nbytes)
        self._copy(room)

    def _copy(self, room: memoryview) -> None:
        at = 0
        for part in self._next(room.nbytes):
            room[at : at + part.nbytes] = part
            at += part.nbytes
        self._move(at)

    def unpack(self, layout: struct.Struct | str) -> tuple[object, ...]:
        """Take what a `struct.Struct`, or its format, describes and return its values.

        Raises:
          NotEnoughBytes: it is not all there; nothing was taken.

        Cost: no copy where it lies in one piece.
        """
        return self._read_struct(_layout_of(layout))

    def try_unpack(self, layout: struct.Struct | str) -> tuple[object, ...] | None:
        """Like `unpack`, but None when it is not all there."""
        return self._read_struct_or_none(_layout_of(layout))

    def _read_struct(self, layout: struct.Struct) -> tuple[object, ...]:
        nbytes = layout.size
        if nbytes > self._nbytes - self._position:
            raise NotEnoughBytes(requested=nbytes, available=len(self))
        if not nbytes:
            return layout.unpack(b"")
        piece, offset = self._pieces[self._piece], self._offset
        if offset + nbytes < piece.nbytes:  # the common case: all in one piece, and more behind it
            values = layout.unpack_from(piece, offset)
            self._offset = offset + nbytes
            self._position += nbytes
            return values
        return layout.unpack(self._read_bytes(nbytes))

    def _read_struct_or_none(self, layout: struct.Struct) -> tuple[object, ...] | None:
        if layout.size <= self._nbytes - self._position:
            return self._read_struct(layout)
        self._refuse_if_closed()
        return None

    def _read_bytes(self, nbytes: int) -> bytes:
        wanted = self._wanted(nbytes)
        data = b"".join(self._next(wanted))
        self._move(wanted)
        return data

    def _read_bytes_or_none(self, nbytes: int) -> bytes | None:
        return self._read_bytes(nbytes) if nbytes <= len(self) else None

    # The manners of a binary file

    def _file_count(self, size: SupportsIndex | None) -> int:
        left = len(self)
        if size is None:
            return left
        count = operator.index(size)
        return left if count < 0 else min(count, left)

    def readable(self) -> bool:
        """Say that this file can be read."""
        return True

    def seekable(self) -> bool:
        """Say that this file can be moved about in."""
        return True

    def read(self, size: SupportsIndex | None = -1, /) -> bytes:
        """Return a copy of at most `size` bytes, of all that is left if it is negative or None."""
        return self._read_bytes(self._file_count(size))

    def read1(self, size: SupportsIndex = -1, /) -> bytes:
        """Return a copy of at most `size` bytes, and of the current piece only."""
        count = self._file_count(size)
        return self._read_bytes(min(count, self.first_slice().nbytes))

    def peek(self, size: SupportsIndex = 0, /) -> bytes:  # noqa: ARG002  # files take it as a hint
        """Return a copy of what is left of the current piece without moving; b"" at the end.

        This is the file's method, for `pickle` and its kin, which may get less or more than
        `size` from it; `peek_view` gives what was asked for.
        """
        self._file_count(0)
        return self.first_slice()[: io.DEFAULT_BUFFER_SIZE].tobytes()

    def readinto(self, target: Buffer, /) -> int:
        """Copy into `target` and return how many bytes that were: 0 only at the end."""
        room = _writable(target)
        room = room[: self._file_count(room.nbytes)]
        self._copy(room)
        return room.nbytes

    def readinto1(self, target: Buffer, /) -> int:
        """Copy into `target` from the current piece only; else like `readinto`."""
        return self.readinto(_writable(target)[: self.first_slice().nbytes])

    def readline(self, size: SupportsIndex | None = -1, /) -> bytes:
        """Return a copy of the bytes up to and with the next newline, at most `size`."""
        count = self._file_count(size)
        if not count:
            return b""
        piece, offset = self._pieces[self._piece], self._offset
        near = piece[offset : offset + min(count, FIRST_WINDOW_NBYTES)].tobytes()
        if end := near.find(b"\n") + 1:  # the common case: a short line, all in one piece
            self._move(end)
            return near[:end]
        end = next(hits(self._next(count), b"\n"), -1)
        return self._read_bytes(count if end < 0 else end + 1)

    def seek(self, offset: SupportsIndex, whence: int = os.SEEK_SET, /) -> int:
        """Move to `offset`, counted from the front, from here or from the end; return the place.

        Raises:
          ValueError: the place is before the front, or `whence` is none of the three.
        """
        self._refuse_if_closed()
        bases = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._nbytes}
        if whence not in bases:
            raise ValueError(f"whence must be 0, 1 or 2, not {whence}")
        position = bases[whence] + operator.index(offset)
        if position < 0:
            raise ValueError(f"cannot seek to {position}, before the front")
        if position < self._position:
            self._piece = self._offset = self._position = 0
        self._move(min(position, self._nbytes) - self._position)
        return self._position

    def tell(self) -> int:
        """Return how many bytes are before the reader's place."""
        self._refuse_if_closed()
        return self._position

    def close(self) -> None:
        """Drop the memory; every later call raises ValueError, as with any closed file."""
        if not self.closed:
            self._pieces, self._refs = (), None
            self._nbytes = self._piece = self._offset = self._position = 0
        super().close()


def _layout_of(layout: struct.Struct | str) -> struct.Struct:
    return layout if isinstance(layout, struct.Struct) else struct.Struct(layout)


def _writable(target: Buffer) -> memoryview:
    room = flat(target)
    if room.readonly:
        raise TypeError(f"cannot read into this {type(target).__name__}: it is read-only")
    return room


def check_reader(reader: BytesReader) -> None:
    """Raise AssertionError if a law of this file is broken."""
    before = sum(piece.nbytes for piece in reader._pieces[: reader._piece])
    assert reader._position == before + reader._offset, "Law 2"
    assert reader._piece == len(reader._pieces) or (
        reader._offset < reader._pieces[reader._piece].nbytes
    ), "Law 2"
