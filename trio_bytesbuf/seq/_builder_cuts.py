"""A builder cut in two, joined again, and turned into a view for good.

Nothing here copies bytes. What no view has seen stays writable (`overwrite`), on both sides.

Law 1. A block that is cut belongs to two builders, each with a part of its own: what is filled
       before the cut goes as a piece, the room behind it stays a block.
Law 2. Builders are *adjacent* when the last filled byte of one is followed in memory by the
       first of the other, in the same exporter. Joining them makes one piece of the two, so
       that cutting and joining in turns does not wear a builder down to crumbs.
Law 3. They are adjacent as well if they were cut where a block ends. Memory does not tell that,
       so both remember the cut, a *seam*; it holds while both still end there.
"""

from __future__ import annotations

from itertools import islice
from typing import Self, SupportsIndex

import attrs

from .._errors import NotAdjacent, NotEnoughBytes
from ._block import Block
from ._builder_contents import Contents
from ._flat import count_of
from ._proof import address_of
from ._unique import joined
from ._view import BytesView


@attrs.define(eq=False, init=False, repr=False)
class Dividing(Contents):
    """The part of a builder that cuts and joins; see `BytesBuf`."""

    def split(self) -> Self:
        """Move all filled bytes to a new builder, and keep the remaining capacity.

        Cost: proportional to the number of pieces; no copy.
        """
        return self.split_to(self._nbytes)

    def split_to(self, nbytes: SupportsIndex) -> Self:
        """Move the first `nbytes` filled bytes to a new builder; it has no capacity beside them.

        Raises:
          NotEnoughBytes: there are fewer; nothing was moved.
          TypeError, ValueError: `nbytes` is no integer, or negative.

        Cost: proportional to the number of pieces moved; no copy.

        Example:
          >>> buf = BytesBuf.with_capacity(100)
          >>> buf.put_slice(b"hello world")
          >>> hello = buf.split_to(5)
          >>> hello.freeze(), buf.freeze()
          (BytesView(b'hello'), BytesView(b' world'))
        """
        wanted = count_of(nbytes, "nbytes")
        if wanted > self._nbytes:
            raise NotEnoughBytes(requested=wanted, available=self._nbytes)
        front = self._of((), 0)
        pieces, refs, rest = self._front(wanted)
        front._pieces.extend(pieces)
        front._refs.extend(refs)
        front._unseen = True
        front._front_seam = self._front_seam if wanted else None
        front._nbytes = wanted
        seam = behind = None
        if rest is None and 0 < wanted < self._nbytes:
            seam, behind = _seam_between(front._last(), self._first(len(pieces)))
        self._drop_front(wanted, pieces, rest)
        if seam is not None:
            front._seam, self._front_seam = seam, behind
        return front

    def split_off(self, at: SupportsIndex) -> Self:
        """Keep the first `at` bytes of the capacity; move what is behind them to a new builder.

        Args:
          at: an offset in what is filled, which leaves no remaining capacity here; or beyond it.

        Raises:
          NotEnoughBytes: the capacity is less than `at`.
          TypeError, ValueError: `at` is no integer, or negative.
          MemoryInUse: a slice of a window is still alive.

        Cost: proportional to the number of pieces; no copy.
        """
        wanted = count_of(at, "at")
        if wanted > self._nbytes + self._room:
            raise NotEnoughBytes(requested=wanted, available=self._nbytes + self._room)
        if wanted > self._nbytes:
            return self.split_off_remaining(self._nbytes + self._room - wanted)
        self._close_window()
        front = self.split_to(wanted)
        self._swap(front)
        return front

    def _swap(self, other: Self) -> None:
        """Have what the other has, and the other way round; neither has lent a window."""
        self._pieces, other._pieces = other._pieces, self._pieces
        self._refs, other._refs = other._refs, self._refs
        self._blocks, other._blocks = other._blocks, self._blocks
        self._nbytes, other._nbytes = other._nbytes, self._nbytes
        self._room, other._room = other._room, self._room
        self._unseen, other._unseen = other._unseen, self._unseen
        self._seam, other._seam = other._seam, self._seam
        self._front_seam, other._front_seam = other._front_seam, self._front_seam

    def unsplit(self, other: Self) -> None:
        """Take back what was split off: all that `other` holds, which is behind it in memory.

        Two builders of which one has no filled bytes can always be joined. `other` is empty, and
        without capacity, afterwards. To append what is not adjacent, which copies nothing either:
        `buf.put_view(other.consume_all())`.

        Raises:
          NotAdjacent: both have filled bytes, and those of `other` do not follow in memory.
          TypeError, ValueError: `other` is no builder, or the same one.
          MemoryInUse: a slice of a window of one of them is still alive.

        Cost: proportional to the number of pieces of `other`; no copy.
        """
        if not self.try_unsplit(other):
            raise NotAdjacent(len(self), len(other))

    def try_unsplit(self, other: Self) -> bool:
        """Like `unsplit`, but False when it is not adjacent."""
        if not isinstance(other, Dividing):
            raise TypeError(f"a BytesBuf is wanted, not {type(other).__name__}")
        if other is self:
            raise ValueError("a builder cannot be joined with itself")
        if self._nbytes and other._nbytes and not self._is_followed_by(other):
            return False
        self._refuse_while_lent()
        other._refuse_while_lent()
        self._close_window()
        other._close_window()
        taken = self._of((), 0)
        other._swap(taken)  # first: what can be written through is never in both
        try:
            self._take_over(taken)
        except Exception:  # a lack of memory, however Python calls it
            other._swap(taken)
            raise
        self._reopen()
        return True

    def _take_over(self, other: Self) -> None:
        """Take all that `other` holds, which nobody else knows: all of it, or nothing."""
        nbytes, room = self._nbytes + other._nbytes, self._room + other._room
        if other._nbytes:
            self._seal()
            blocks, cut = _rooms(other._blocks, self._blocks)  # its pieces go on in its room
            self._append(other)
            self._seam = other._seam
        else:
            blocks, cut = _rooms(self._blocks, other._blocks)
        if cut is not None:
            cut[0]._stop = cut[1]._stop
        self._blocks = blocks
        self._nbytes, self._room = nbytes, room
        self._unseen |= other._unseen

    def _first(self, index: int = 0) -> memoryview:
        """Return the filled bytes from a piece on, as many as lie together; there are some."""
        if index < len(self._pieces):
            return self._pieces[index]
        block = self._blocks[-1]
        return block._memory[block._start : block._end]

    def _last(self) -> memoryview:
        """Return the last filled bytes, as many as lie together; there are some."""
        block = self._blocks[-1] if self._blocks else None
        if block is not None and block._start < block._end:
            return block._memory[block._start : block._end]
        return self._pieces[-1]

    def _is_followed_by(self, other: Self) -> bool:
        last, first = self._last(), other._first()
        end, start = address_of(last) + last.nbytes, address_of(first)
        if end == start and last.obj is first.obj:
            return True
        mine, others = self._seam, other._front_seam
        if mine is None or others is None or mine[0] is not others[0]:
            return False
        return (mine[1], others[1]) == (end, start)

    def _append(self, other: Self) -> None:
        """Append the pieces of `other`, the first one to the last of ours if they are adjacent."""
        pieces, refs = self._pieces, self._refs
        both = None
        if pieces and other._pieces and refs[-1] is other._refs[0]:
            both = joined(pieces[-1], other._pieces[0])
        last = len(pieces) - 1
        first = 0 if both is None else 1
        self._extend(islice(other._pieces, first, None), islice(other._refs, first, None))
        if both is not None:
            pieces[last] = both

    def _reopen(self) -> None:
        """Give the last piece back to the block that it was cut from, if no view has seen it."""
        if not (self._pieces and self._blocks) or self._pieces[-1].readonly:
            return
        block, piece = self._blocks[-1], self._pieces[-1]
        try:
            start = block._start - piece.nbytes
            if start < 0 or piece.obj is not block._memory.obj:
                return
            is_before = address_of(piece) == address_of(block._memory) + start
        except MemoryError:  # then it stays a piece
            return
        if is_before:
            block._start = start
            self._pieces.pop()
            self._refs.pop()

    def split_off_remaining(self, nbytes: SupportsIndex) -> Self:
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

    def try_split_off_remaining(self, nbytes: SupportsIndex) -> Self | None:
        """Like `split_off_remaining`, but None when there is less capacity."""
        missing = count_of(nbytes, "nbytes")
        if missing > self._room:
            return None
        self._close_window()
        moved: list[Block] = []
        room = whole = at = 0
        cut = None
        for block in self._blocks:  # from the far end, so that what is filled stays where it is
            if room == missing:
                break
            step = min(block._stop - block._end, missing - room)
            if step == block._stop - block._end and block._start == block._end:
                moved.append(block)
                whole += 1
            else:
                cut, at = block, block._stop - step
                moved.append(block._split(at))
            room += step
        kept = self._blocks[whole:]
        left = self._room - room
        other = self._of(reversed(moved), room)
        if cut is not None and at == cut._end:  # the first block, which has no more room then
            self._seal()
            kept.pop()
        if cut is not None:
            cut._stop = at
        self._blocks, self._room = kept, left
        return other

    def freeze(self) -> BytesView:
        """Take all filled bytes out for good: return a view of them, and let the capacity go.

        The builder is empty afterwards, and can be used again after `reserve`.

        Raises:
          MemoryInUse: a slice of a window is still alive.

        Cost: as `consume_all`.
        """
        self._give_up_blocks()
        return self.consume_all()

    def _give_up_blocks(self) -> list[Block]:
        """Take out all room, in its order, for another owner; what is filled stays."""
        self._close_window()
        self._seal()
        blocks, self._blocks, self._room = self._blocks[::-1], [], 0
        for block in blocks:
            block._has_owner = False
        return blocks


def _seam_between(
    last: memoryview, first: memoryview
) -> tuple[tuple[object, int] | None, tuple[object, int] | None]:
    """Return what both sides of a cut remember of it, if no memory can tell. (Law 3)"""
    end, start = address_of(last) + last.nbytes, address_of(first)
    if last.obj is first.obj and end == start:
        return None, None
    token = object()
    return (token, end), (token, start)


def _rooms(near: list[Block], far: list[Block]) -> tuple[list[Block], tuple[Block, Block] | None]:
    """Return the blocks of `near`, then those of `far`, which have no filled bytes.

    Returns:
      The blocks, and, if one was cut between the two and nothing of it is missing, its parts: only
      the near one is among the blocks, and is to be made whole again.
    """
    if near and far:
        last, following = near[0], far[-1]
        if last._memory is following._memory and last._stop == following._start:
            return far[:-1] + near, (last, following)
    return far + near, None
