"""`BytesBuf`, the builder: room that is filled from the front and handed out as views.

What a builder holds, in the order of its bytes:

    | pieces: shown, for ever the same | first block: filled part | rest of it | more blocks |
    |<--------------------- len(buf) ------------------------>|<- remaining_capacity ->|

Law 1. Only the first block can be partly filled. A block without room is turned into a piece.
Law 2. `_nbytes` is the sum of the pieces and the first block's filled bytes, `_room` that of
       the blocks' room; `check_buf` looks.
Law 3. A byte that a view has shown is never written again: what `peek` and `consume` show
       becomes pieces, and `truncate` gives back only what is filled in the first block.
Law 4. Bytes become filled only when nobody can write them any more. A window that was lent
       (`first_unfilled_slice`, `begin_vectored_write`) has a managed buffer of its own, so that
       `open_slices` can tell; while a slice of it lives, filling is refused.
Law 5. A call that is refused has changed nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, SupportsIndex

import attrs

from .._errors import BufferFull, MemoryInUse, NotEnoughBytes
from ._block import Block, BlockRef, check_apart, check_block, owned_block
from ._flat import SoleOwner, count_of
from ._guard import MemoryGuard
from ._numbers import PutNumbers
from ._pieces import check_pieces
from ._source import default_source, own_blocks, take_ownership
from ._view import BytesView, flat_of, make_view, said
from ._window import BytesBufVectoredWrite, lend, take_back

if TYPE_CHECKING:
    from ._flat import Buffer
    from ._pieces import Pieces
    from ._source import BlockSource

_new_object = object.__new__

COALESCED_NBYTES: Final = 256
"""Pieces below this are joined with a view as small that is put behind them, which bounds what a
piece costs beside its bytes. Picked, not measured; copying so little does not show in time."""


@attrs.define(eq=False, init=False, repr=False)
class BytesBuf(SoleOwner, PutNumbers):
    """Collects bytes in blocks of memory and hands them out as views, without copying them again.

    A builder has *filled* bytes, which `peek` and `consume` show, and *remaining capacity*, which
    `put_slice` and its kin fill. Nothing grows by itself: `reserve` adds capacity. Once a view
    has shown a byte it never changes, whatever is done to the builder later.

    `memory.reserve(nbytes)` makes one with room in it; `BytesBuf()` has none yet.

    Example:
      >>> buf = BytesBuf()
      >>> buf.reserve(100)
      >>> buf.put_slice(b"HDR")
      >>> buf.put_u16_be(1)
      >>> buf.consume_all() == b"HDR\\x00\\x01", buf.remaining_capacity >= 95
      (True, True)

    Idea: bytesbuf's `BytesBuf`. Not for use by two threads at once.
    """

    _pieces: deque[memoryview]
    _refs: deque[BlockRef | None]
    _blocks: list[Block]  # the first one last, because it is the one that leaves
    _nbytes: int
    _room: int
    _window: memoryview | None
    _busy: str | None
    _fresh: Sequence[Buffer]

    def __init__(self) -> None:
        self._hold([], 0)

    def _hold(self, blocks: list[Block], room: int) -> None:
        self._pieces = deque()
        self._refs = deque()
        self._nbytes = 0
        self._window = self._busy = None
        self._room = room
        self._blocks = blocks

    # Making one

    @classmethod
    def from_blocks(cls, blocks: Iterable[Block]) -> BytesBuf:
        """Return an empty builder that owns `blocks`: how a memory provider answers `reserve`.

        Args:
          blocks: used in this order. Nobody else may refer to their memory. What a release hook
            of one raises, the next call of this method raises, whoever makes it.

        Raises:
          BadMemory: one of them is not a block, or has an owner already.
        """
        blocks = list(blocks)
        return cls._of(blocks, take_ownership(blocks, "the caller of from_blocks()"))

    @classmethod
    def _of(cls, blocks: Iterable[Block], room: int) -> BytesBuf:
        buf: BytesBuf = _new_object(cls)
        buf._hold(list(blocks)[::-1], room)
        return buf

    @classmethod
    def from_view(cls, view: BytesView) -> BytesBuf:
        """Return a builder that is filled with the bytes of `view`, which are not copied."""
        if not isinstance(view, BytesView):
            raise TypeError(f"from_view takes a BytesView, not {type(view).__name__}")
        buf = cls()
        buf.put_view(view)
        return buf

    if not TYPE_CHECKING:  # a type checker would take this for permission to use any name

        def __getattr__(self, name: str) -> object:
            # Only reached for names that are missing: those of a builder from `fresh`, or a typo.
            if name in _MADE_WHEN_WANTED:
                blocks = [owned_block(memory) for memory in reversed(self._fresh)]
                self._hold(blocks, self._room)
                del self._fresh  # the last, so that an interrupt has this done again
                return getattr(self, name)
            raise AttributeError(f"'BytesBuf' object has no attribute {name!r}")

    # How much it holds

    def __len__(self) -> int:
        return self._nbytes

    @property
    def remaining_capacity(self) -> int:
        """How many bytes can be put before `reserve` is needed."""
        return self._room

    @property
    def capacity(self) -> int:
        """How many bytes the builder holds, filled or not: `len` and `remaining_capacity`."""
        return self._nbytes + self._room

    def reserve(self, nbytes: SupportsIndex, memory: BlockSource | None = None) -> None:
        """Make room, so that `nbytes` more bytes can be put.

        Args:
          nbytes: the remaining capacity that there must be afterwards, at the least.
          memory: where new blocks come from; the process's default memory if not given.

        Raises:
          BadMemory: `memory` gave too little.
          TypeError, ValueError: `nbytes` is no integer, or negative.

        Cost: nothing if there is enough room already.
        """
        missing = count_of(nbytes, "nbytes") - self._room
        if missing > 0:
            self._refuse_while_busy()
            blocks, room = own_blocks(default_source() if memory is None else memory, missing)
            self._blocks[:0] = reversed(blocks)
            self._room += room

    # Putting bytes in

    def put_slice(self, data: Buffer) -> None:
        """Copy `data` into the remaining capacity; `put_view` appends a view without a copy.

        Raises:
          BufferFull: there is not enough room.
          TypeError: `data` exports no buffer, or its memory has gaps.
          MemoryInUse: a slice of a window is still alive.

        Cost: one copy.
        """
        source = data if type(data) is bytes else flat_of(data)
        nbytes = len(source)
        if nbytes > self._room:
            raise BufferFull(requested=nbytes, available=self._room)
        self._close_window()
        if not nbytes:
            return
        block = self._blocks[-1]
        end = block._end
        if nbytes < block._stop - end:  # the common case: it fits, and there is room left
            block._memory[end : end + nbytes] = source
            block._end = end + nbytes
            self._nbytes += nbytes
            self._room -= nbytes
            return
        source = memoryview(source)
        at = 0
        while at < nbytes:
            block = self._blocks[-1]
            end = block._end
            step = min(block._stop - end, nbytes - at)
            block._memory[end : end + step] = source[at : at + step]
            self._fill(step)
            at += step

    def put_repeated(self, value: SupportsIndex, count: SupportsIndex) -> None:
        """Put the byte `value`, 0 to 255, `count` times.

        Raises:
          BufferFull: there is not enough room.
          TypeError, ValueError: a number is no integer, or out of its range.
          MemoryInUse: a slice of a window is still alive.
        """
        byte = count_of(value, "value")
        if byte > 255:
            raise ValueError(f"value must be a byte, at most 255, not {byte}")
        nbytes = count_of(count, "count")
        if nbytes > self._room:
            raise BufferFull(requested=nbytes, available=self._room)
        self.put_slice(bytes((byte,)) * nbytes)

    def put_view(self, view: BytesView) -> None:
        """Append the bytes of `view` without copying them, and without using capacity.

        A few bytes behind a few bytes are joined by copying: each piece costs some 360 bytes of
        memory, so a peer that sends single bytes would have a builder grow by that.

        Raises:
          TypeError: `view` is not a `BytesView`; `put_slice` copies other buffers.
          MemoryInUse: a slice of a window is still alive.

        Cost: proportional to the number of pieces of `view`.
        """
        if not isinstance(view, BytesView):
            raise TypeError(f"put_view appends a BytesView, not {type(view).__name__}")
        pieces = view._pieces
        refs = view._refs
        self._close_window()
        self._seal()
        if view._nbytes < COALESCED_NBYTES and refs is None and self._coalesce(pieces):
            self._nbytes += view._nbytes
            return
        self._pieces.extend(pieces)
        self._refs.extend((None,) * len(pieces) if refs is None else refs)
        self._nbytes += view._nbytes

    def _coalesce(self, pieces: Pieces) -> bool:
        """Join small pieces with a small last one, or say that it is not small (or not ours)."""
        if not pieces or not self._pieces or self._refs[-1] is not None:
            return False
        last = self._pieces[-1]
        if last.nbytes >= COALESCED_NBYTES:
            return False
        self._pieces[-1] = memoryview(b"".join((last, *pieces)))
        return True

    def _fill(self, nbytes: int) -> None:
        """Count the next `nbytes` bytes as filled; they are written already."""
        while nbytes:
            block = self._blocks[-1]
            step = min(nbytes, block._stop - block._end)
            block._end += step
            self._nbytes += step
            self._room -= step
            nbytes -= step
            if block._end == block._stop:
                self._seal()
                self._blocks.pop()

    def _seal(self) -> None:
        """Turn what is filled of the first block into a piece."""
        if self._blocks:
            block = self._blocks[-1]
            if block._start < block._end:
                self._pieces.append(block._show(block._end - block._start))
                self._refs.append(block._ref)

    # Taking bytes out

    def peek(self, max_nbytes: SupportsIndex | None = None) -> BytesView:
        """Return a view of the filled bytes and leave them in the builder.

        Args:
          max_nbytes: at most so many of them, from the front; all if not given.

        Raises:
          TypeError, ValueError: `max_nbytes` is no integer, or negative.

        Cost: proportional to the number of pieces shown; no copy.
        """
        self._seal()
        if max_nbytes is None or count_of(max_nbytes, "max_nbytes") >= self._nbytes:
            return make_view(tuple(self._pieces), self._nbytes, said(self._refs))
        limit = left = count_of(max_nbytes, "max_nbytes")
        shown: list[memoryview] = []
        refs: list[BlockRef | None] = []
        for piece, ref in zip(self._pieces, self._refs, strict=True):
            if not left:
                break
            shown.append(piece[:left])
            refs.append(ref)
            left -= shown[-1].nbytes
        return make_view(tuple(shown), limit, said(refs))

    def consume(self, nbytes: SupportsIndex) -> BytesView:
        """Cut `nbytes` bytes off the front and return a view of them.

        Raises:
          NotEnoughBytes: there are fewer; nothing was consumed.
          TypeError, ValueError: `nbytes` is no integer, or negative.

        Cost: proportional to the number of pieces taken; no copy.
        """
        view = self.try_consume(nbytes)
        if view is None:
            raise NotEnoughBytes(requested=nbytes.__index__(), available=self._nbytes)
        return view

    def try_consume(self, nbytes: SupportsIndex) -> BytesView | None:
        """Like `consume`, but None when there are fewer bytes."""
        wanted = count_of(nbytes, "nbytes")
        if wanted > self._nbytes:
            return None
        if wanted == self._nbytes:
            return self.consume_all()
        taken: list[memoryview] = []
        refs: list[BlockRef | None] = []
        missing = wanted
        while missing:
            if not self._pieces:  # the rest is in the first block, which goes on after it
                block = self._blocks[-1]
                taken.append(block._show(missing))
                refs.append(block._ref)
                break
            piece = self._pieces[0]
            if piece.nbytes <= missing:
                taken.append(self._pieces.popleft())
                refs.append(self._refs.popleft())
                missing -= piece.nbytes
            else:
                taken.append(piece[:missing])
                refs.append(self._refs[0])
                self._pieces[0] = piece[missing:]
                break
        self._nbytes -= wanted
        return make_view(tuple(taken), wanted, said(refs))

    def consume_all(self) -> BytesView:
        """Take all filled bytes out and return a view of them.

        Cost: proportional to the number of pieces; no copy.
        """
        view = self.peek()
        self._pieces.clear()
        self._refs.clear()
        self._nbytes = 0
        return view

    def truncate(self, nbytes: SupportsIndex) -> None:
        """Keep the first `nbytes` filled bytes and drop the others; no effect if there are fewer.

        Dropped bytes become capacity again if they are in the block being filled and never shown.

        Raises:
          TypeError, ValueError: `nbytes` is no integer, or negative.
          MemoryInUse: a slice of a window is still alive.
        """
        excess = self._nbytes - count_of(nbytes, "nbytes")
        if excess <= 0:
            return
        self._close_window()
        self._nbytes -= excess
        if self._blocks:
            block = self._blocks[-1]
            unseen = min(excess, block._end - block._start)
            block._end -= unseen
            self._room += unseen
            excess -= unseen
        while excess:
            piece = self._pieces.pop()
            if piece.nbytes > excess:
                self._pieces.append(piece[: piece.nbytes - excess])
                break
            self._refs.pop()
            excess -= piece.nbytes

    def clear(self) -> None:
        """Drop all filled bytes; as `truncate(0)`."""
        self.truncate(0)

    def split_off_remaining(self, nbytes: SupportsIndex) -> BytesBuf:
        """Move `nbytes` bytes of the remaining capacity to a new, empty builder.

        Raises:
          NotEnoughBytes: there is less capacity.
          TypeError, ValueError: `nbytes` is no integer, or negative.
          MemoryInUse: a slice of a window is still alive.

        Cost: no copy.
        """
        buf = self.try_split_off_remaining(nbytes)
        if buf is None:
            raise NotEnoughBytes(requested=nbytes.__index__(), available=self._room)
        return buf

    def try_split_off_remaining(self, nbytes: SupportsIndex) -> BytesBuf | None:
        """Like `split_off_remaining`, but None when there is less capacity."""
        missing = count_of(nbytes, "nbytes")
        if missing > self._room:
            return None
        self._close_window()
        moved: list[Block] = []
        room = whole = 0
        for block in self._blocks:  # from the far end, so that what is filled stays where it is
            if room == missing:
                break
            step = min(block._stop - block._end, missing - room)
            if step == block._stop - block._end and block._start == block._end:
                moved.append(block)
                whole += 1
            else:
                moved.append(block._split(block._stop - step))
            room += step
        del self._blocks[:whole]
        self._room -= room
        if self._blocks and self._blocks[-1]._end == self._blocks[-1]._stop:
            self._seal()
            self._blocks.pop()
        return BytesBuf._of(reversed(moved), room)

    # Writing in place

    def first_unfilled_slice(self) -> memoryview:
        """Lend the first stretch of remaining capacity for writing; `advance_mut` ends the loan.

        Returns:
          A writable memoryview, empty if there is no capacity. What is in it to begin with
          is anything: bytes that somebody else received, as likely as not.

        Raises:
          MemoryInUse: a slice of a window that was lent before is still alive.

        Example:
          >>> buf = BytesBuf()
          >>> buf.reserve(10)
          >>> buf.first_unfilled_slice()[:5] = b"12345"
          >>> buf.advance_mut(5)
          >>> buf.peek()
          BytesView(b'12345')
        """
        self._close_window()
        if not self._blocks:
            return memoryview(bytearray())
        block = self._blocks[-1]
        self._window = window = lend(block, block._stop)
        return window

    def first_unfilled_slice_meta(self) -> object:
        """Return what the provider says of the memory that would be filled next, or None."""
        if not self._blocks or self._blocks[-1]._ref is None:
            return None
        return self._blocks[-1]._ref.meta

    def advance_mut(self, nbytes: SupportsIndex) -> None:
        """Count the first `nbytes` bytes of the window as filled and end the loan.

        The window raises ValueError when it is used afterwards.

        Raises:
          BufferFull: the window is shorter, or none was lent.
          MemoryInUse: a slice of the window, or an array made of it, is still alive and
            could still be written; drop it and call again.
          TypeError, ValueError: `nbytes` is no integer, or negative.

        Cost: no copy.
        """
        filled = count_of(nbytes, "nbytes")
        available = 0
        if self._window is not None:
            available = self._blocks[-1]._stop - self._blocks[-1]._end
        if filled > available:
            raise BufferFull(requested=filled, available=available)
        self._close_window()
        self._fill(filled)

    def begin_vectored_write(
        self, max_nbytes: SupportsIndex | None = None
    ) -> BytesBufVectoredWrite:
        """Lend all remaining capacity, or the first `max_nbytes` of it, for writing.

        Returns:
          A context manager with `pieces` to write to and `commit` to say how much was written.
          If `commit` is not reached, nothing was written. Meanwhile nothing can be put, reserved,
          truncated or split off; what is filled can be looked at and consumed.

        Raises:
          NotEnoughBytes: there is less capacity than `max_nbytes`.
          MemoryInUse: a slice of a window is still alive, or another write is going on.
          TypeError, ValueError: `max_nbytes` is no integer, or negative.

        Example:
          >>> buf = BytesBuf()
          >>> buf.reserve(8)
          >>> with buf.begin_vectored_write(8) as write:
          ...     write.pieces[0][:2] = b"ok"
          ...     write.commit(2)
          >>> buf.peek()
          BytesView(b'ok')
        """
        write = self.try_begin_vectored_write(max_nbytes)
        if write is None:
            assert max_nbytes is not None
            raise NotEnoughBytes(requested=max_nbytes.__index__(), available=self._room)
        return write

    def try_begin_vectored_write(
        self, max_nbytes: SupportsIndex | None = None
    ) -> BytesBufVectoredWrite | None:
        """Like `begin_vectored_write`, but None when there is less capacity."""
        limit = self._room if max_nbytes is None else count_of(max_nbytes, "max_nbytes")
        if limit > self._room:
            return None
        self._close_window()
        write = BytesBufVectoredWrite(self, reversed(self._blocks), limit)
        self._busy = "a vectored write is going on in this builder; leave it first"
        return write

    def _end_write(self, filled_nbytes: int, abandoned_blocks: int) -> None:
        """Take back what a vectored write was lent; called by it, once."""
        self._busy = None
        for _ in range(abandoned_blocks):  # somebody else can still write to their room
            self._seal()
            block = self._blocks.pop()
            self._room -= block._stop - block._end
        self._fill(filled_nbytes)

    def _hand_over(self, operation: str) -> None:
        """Let nobody else put anything until `_hand_back`; the operation says what it is."""
        self._close_window()
        self._busy = f"{operation} is going on into this builder; wait for it"

    def _hand_back(self) -> None:
        self._busy = None

    def _refuse_while_busy(self) -> None:
        if self._busy is not None:
            raise MemoryInUse(self._busy)

    def _close_window(self) -> None:
        """End the loan of a window, or raise MemoryInUse if it cannot be ended (Law 4)."""
        if self._window is not None:
            take_back((self._window,))
            self._window = None
        if self._busy is not None:
            self._refuse_while_busy()

    # The rest

    def _give_up_blocks(self) -> list[Block]:
        """Take out all room, in its order, for another owner; what is filled stays."""
        self._close_window()
        self._seal()
        blocks, self._blocks, self._room = self._blocks[::-1], [], 0
        for block in blocks:
            block._has_owner = False
        return blocks

    def extend_lifetime(self) -> MemoryGuard:
        """Return a guard that keeps all memory of the builder alive when the builder is gone."""
        return MemoryGuard((*self._refs, *self._pieces, *self._blocks))  # owners outlive the rest

    def __repr__(self) -> str:
        return f"<BytesBuf of {self._nbytes} bytes, room for {self._room} more>"


_MADE_WHEN_WANTED: Final = frozenset(("_pieces", "_refs", "_blocks", "_nbytes", "_window", "_busy"))


def fresh(memories: Sequence[Buffer], nbytes: int) -> BytesBuf:
    """Make an empty builder that owns `memories`, which nobody else sees, of `nbytes` bytes in all.

    What it is made of costs four times what the builder itself does: it is made when first used.
    """
    buf: BytesBuf = _new_object(BytesBuf)
    buf._fresh = memories
    buf._room = nbytes
    return buf


def check_buf(buf: BytesBuf) -> None:
    """Raise AssertionError if a law of this file, or of a block in it, is broken."""
    check_apart(buf._blocks)
    for block in buf._blocks:
        check_block(block)
        assert block._has_owner, "a block that somebody else may take"
        assert block._end < block._stop, "Law 1: a block without room"
    for block in buf._blocks[:-1]:
        assert block._start == block._end, "Law 1: a filled block behind the first"
    filled = buf._blocks[-1]._end - buf._blocks[-1]._start if buf._blocks else 0
    check_pieces(tuple(buf._pieces), buf._nbytes - filled)
    assert len(buf._pieces) == len(buf._refs)
    assert buf._room == sum(block._stop - block._end for block in buf._blocks), "Law 2"
