"""What a builder holds, and how bytes are looked at, taken out and changed there.

In the order of its bytes:

    | pieces: full, or shown, or a view's | first block: filled part | rest of it | more blocks |
    |<------------------------ len(buf) ------------------------->|<- remaining_capacity ->|

Law 1. Only the first block can be partly filled. A block without room is turned into a piece.
Law 2. `_nbytes` is the sum of the pieces and the first block's filled bytes, `_room` that of
       the blocks' room; `check_contents` looks.
Law 3. A byte that a view has shown is never written again. A piece that can be written through
       has been shown by no view, and nobody but the builder refers to it: showing it makes it
       read-only, `overwrite` writes to no other, and `truncate` gives back only what is filled
       in the first block.
Law 4. Bytes become filled only when nobody can write them any more. A window that was lent
       (`chunk_mut`, `begin_vectored_write`) has a managed buffer of its own, so that
       `open_slices` can tell; while a slice of it lives, filling is refused.
Law 5. A call that is refused, or that lacks memory, has changed nothing. So what can lack memory
       (a slice, a number above 256, room in a deque) comes before the first change, or is undone.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from sys import getrefcount
from typing import TYPE_CHECKING, Self, SupportsIndex

import attrs

from .._errors import MemoryInUse, NotEnoughBytes
from ._block import Block, BlockRef, check_apart, check_block
from ._buf_mut import BufMut
from ._flat import SoleOwner, count_of
from ._guard import MemoryGuard
from ._pieces import check_pieces
from ._proof import REFERENCES_TO_A_LONE_EXPORTER
from ._view import BytesView, make_view, said
from ._view_queries import flat_of
from ._window import refuse_if_open, take_back

if TYPE_CHECKING:
    from ._flat import Buffer

_new_object = object.__new__


@attrs.define(eq=False, init=False, repr=False)
class Contents(SoleOwner, BufMut):
    """The half of a builder that holds; see `BytesBuf`."""

    _pieces: deque[memoryview]
    _refs: deque[BlockRef | None]
    _blocks: list[Block]  # the first one last, because it is the one that leaves
    _nbytes: int
    _room: int
    _window: memoryview | None
    _busy: str | None
    _loan: tuple[weakref.ref[object], int] | None  # a vectored write, and how many blocks it has
    _abandoned: int  # blocks whose room somebody else can still write to; `_room` is 0 meanwhile
    _unseen: bool  # whether there may be pieces that can be written through
    _seam: tuple[object, int] | None
    _front_seam: tuple[object, int] | None
    _fresh: Sequence[Buffer]

    def __init__(self) -> None:
        self._hold([], 0)

    def _hold(self, blocks: list[Block], room: int) -> None:
        pieces: deque[memoryview] = deque()
        refs: deque[BlockRef | None] = deque()
        self._pieces, self._refs = pieces, refs
        self._nbytes = 0
        self._window = self._busy = self._loan = self._seam = self._front_seam = None
        self._unseen = False
        self._abandoned = 0
        self._room = room
        self._blocks = blocks

    @classmethod
    def _of(cls, blocks: Iterable[Block], room: int) -> Self:
        buf: Self = _new_object(cls)
        held = [*iter(blocks)]  # CPython loses a list that it has no memory to copy, for ever
        held.reverse()
        buf._hold(held, room)
        return buf

    # How much it holds

    def __len__(self) -> int:
        return self._nbytes

    @property
    def remaining_capacity(self) -> int:
        """How many bytes can be put before `reserve` is needed."""
        return self._room

    def remaining_mut(self) -> int:
        """Return the `remaining_capacity`, under the name that every `BufMut` has for it."""
        return self._room

    @property
    def capacity(self) -> int:
        """How many bytes the builder holds, filled or not: `len` and `remaining_capacity`."""
        return self._nbytes + self._room

    # Filling

    def _holds_in_one_block(self, nbytes: int) -> bool:
        """Say whether what is filled and what will be, `nbytes` bytes in all, is one stretch."""
        if self._pieces or not self._blocks:
            return not nbytes
        block = self._blocks[-1]
        return nbytes <= block._stop - block._start

    def _fill(self, nbytes: int) -> None:
        """Count the next `nbytes` bytes as filled; they are written already."""
        if not nbytes:
            return
        filled, room = self._nbytes + nbytes, self._room - nbytes
        blocks = self._blocks
        block = blocks[-1]
        end = block._end + nbytes
        if end < block._stop:  # the common case
            block._end = end
            self._nbytes, self._room = filled, room
            return
        kept = blocks[:]
        full: list[memoryview] = []
        refs: list[BlockRef | None] = []
        while end >= block._stop:
            kept.pop()
            full.append(block._memory[block._start : block._stop])
            refs.append(block._ref)
            nbytes = end - block._stop
            if not nbytes:
                break
            block = kept[-1]
            end = block._end + nbytes
        count = len(self._pieces)
        self._unseen = True
        self._blocks = kept  # first: nobody may write to what becomes a piece (Law 3)
        try:
            self._extend(full, refs)
        except BaseException:
            if len(self._pieces) == count:  # unless a second interrupt has left one there
                self._blocks = blocks
            raise
        if nbytes:
            block._end = end
        self._nbytes, self._room = filled, room

    def _extend(self, pieces: Iterable[memoryview], refs: Iterable[BlockRef | None]) -> None:
        """Append pieces with what is said of them: all of them, or none."""
        count = len(self._pieces)
        try:
            self._pieces.extend(pieces)
            self._refs.extend(refs)
        except BaseException:
            for given in (self._pieces, self._refs):
                while len(given) > count:
                    given.pop()
            raise

    def _seal(self) -> None:
        """Turn what is filled of the first block into a piece."""
        if self._blocks:
            block = self._blocks[-1]
            start, end = block._start, block._end
            if start < end:
                piece = block._memory[start:end]
                count = len(self._pieces)
                self._unseen = True
                block._start = end  # first: nobody may write to what becomes a piece (Law 3)
                try:
                    self._refs.append(block._ref)
                    self._pieces.append(piece)
                except BaseException:
                    if len(self._pieces) == count:
                        while len(self._refs) > count:
                            self._refs.pop()
                        block._start = start
                    raise

    # Looking at bytes and taking them out

    def peek(self, max_nbytes: SupportsIndex | None = None) -> BytesView:
        """Return a view of the filled bytes and leave them in the builder.

        Args:
          max_nbytes: at most so many of them, from the front; all if not given.

        Raises:
          TypeError, ValueError: `max_nbytes` is no integer, or negative.

        Cost: proportional to the number of pieces shown; no copy.
        """
        wanted = None if max_nbytes is None else count_of(max_nbytes, "max_nbytes")
        limit = self._nbytes if wanted is None else min(wanted, self._nbytes)
        self._seal()
        if limit == self._nbytes:
            whole = tuple(self._pieces)
            if self._unseen:
                whole = tuple([piece if piece.readonly else piece.toreadonly() for piece in whole])
                self._pieces = deque(whole)
                self._unseen = False
            return make_view(whole, limit, said(self._refs))
        shown: list[memoryview] = []
        left = limit
        for index, piece in enumerate(self._pieces):
            if not left:
                break
            if not piece.readonly:
                self._pieces[index] = piece = piece.toreadonly()
            if piece.nbytes > left:
                piece = piece[:left]
            shown.append(piece)
            left -= piece.nbytes
        refs = [ref for ref, _ in zip(self._refs, shown, strict=False)]
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
        if wanted and not self._pieces:  # a common case: all in the first block
            block = self._blocks[-1]
            left, stop = self._nbytes - wanted, block._start + wanted
            ref = block._ref
            piece = block._front(stop).toreadonly()
            view = make_view((piece,), wanted, None if ref is None else (ref,))
            self._front_seam = None
            self._nbytes, block._start = left, stop
            return view
        if wanted == self._nbytes:
            return self.consume_all()
        pieces, refs, rest = self._front(wanted)
        shown = tuple([piece if piece.readonly else piece.toreadonly() for piece in pieces])
        view = make_view(shown, wanted, said(refs))
        self._drop_front(wanted, pieces, rest)
        return view

    def _front(
        self, nbytes: int
    ) -> tuple[list[memoryview], list[BlockRef | None], memoryview | int | None]:
        """Return the first `nbytes` bytes, which are there; what is unseen can be written to.

        Returns:
          The pieces, what is said of each, and, for `_drop_front`: what is left of the piece, or
          where the block begins then, that the last of them is a part of.
        """
        pieces: list[memoryview] = []
        refs: list[BlockRef | None] = []
        for piece, ref in zip(self._pieces, self._refs, strict=True):
            if not nbytes:
                break
            refs.append(ref)
            if piece.nbytes > nbytes:
                pieces.append(piece[:nbytes])
                return pieces, refs, piece[nbytes:]
            pieces.append(piece)
            nbytes -= piece.nbytes
        if not nbytes:
            return pieces, refs, None
        block = self._blocks[-1]  # which goes on behind it
        stop = block._start + nbytes
        pieces.append(block._front(stop))
        refs.append(block._ref)
        return pieces, refs, stop

    def _drop_front(
        self, nbytes: int, pieces: list[memoryview], rest: memoryview | int | None
    ) -> None:
        """Take out what `_front` has returned."""
        left = self._nbytes - nbytes
        turns = repeat(None, len(pieces) - (rest is not None))
        if nbytes:
            self._front_seam = None
        self._nbytes = left  # first, so that never more is counted than is there
        for _ in turns:
            self._pieces.popleft()
            self._refs.popleft()
        if isinstance(rest, memoryview):
            self._pieces[0] = rest
        elif rest is not None:
            self._blocks[-1]._start = rest

    def consume_all(self) -> BytesView:
        """Take all filled bytes out and return a view of them.

        Cost: proportional to the number of pieces; no copy.
        """
        nbytes = self._nbytes
        if nbytes and not self._pieces:  # the common case: all in the first block
            block = self._blocks[-1]
            ref = block._ref
            stop = block._start + nbytes
            piece = block._front(stop).toreadonly()
            view = make_view((piece,), nbytes, None if ref is None else (ref,))
            self._front_seam = None
            self._nbytes, block._start = 0, stop
            return view
        view = self.peek()
        pieces: deque[memoryview] = deque()
        refs: deque[BlockRef | None] = deque()
        self._front_seam = None
        self._pieces, self._refs, self._nbytes = pieces, refs, 0  # no call between the stores
        return view

    def truncate(self, nbytes: SupportsIndex) -> None:
        """Keep the first `nbytes` filled bytes and drop the others; no effect if there are fewer.

        Dropped bytes become capacity again if they are in the block being filled and never shown.

        Raises:
          TypeError, ValueError: `nbytes` is no integer, or negative.
          MemoryInUse: a slice of a window is still alive.
        """
        kept = count_of(nbytes, "nbytes")  # first: its __index__ may do anything with us
        excess = self._nbytes - kept
        if excess <= 0:
            return
        self._close_window()
        block = self._blocks[-1] if self._blocks else None
        end = 0
        room = self._room
        if block is not None:
            unseen = min(excess, block._end - block._start)
            end = block._end - unseen
            room += unseen
            excess -= unseen
        whole, last = 0, None
        for piece in reversed(self._pieces) if excess else ():
            if piece.nbytes > excess:
                last = piece[: piece.nbytes - excess]
                break
            whole += 1
            excess -= piece.nbytes
            if not excess:
                break
        turns = repeat(None, whole)
        if block is not None:
            block._end = end
        self._nbytes, self._room = kept, room
        for _ in turns:
            self._pieces.pop()
            self._refs.pop()
        if last is not None:
            self._pieces[-1] = last

    def clear(self) -> None:
        """Drop all filled bytes; as `truncate(0)`."""
        self.truncate(0)

    # Changing bytes that no view has seen

    def overwrite(self, offset: SupportsIndex, data: Buffer) -> None:
        """Write `data` over filled bytes that no view has seen yet: a length before its body, say.

        What `peek` shows counts as seen up to the end of the piece in which it ends, and so does
        what `put_view` appended, unless it was so little that it was copied.

        Args:
          offset: where in the builder the first byte of `data` goes.

        Raises:
          NotEnoughBytes: the filled bytes end before the last byte of `data`.
          MemoryInUse: a view may show one of them.
          TypeError, ValueError: `data` exports no buffer or has gaps, or `offset` is no
            integer, or negative.

        Cost: one copy, and a look at each piece.

        Example:
          >>> buf = BytesBuf.with_capacity(100)
          >>> buf.put_u16_be(0)
          >>> buf.put_str("some text")
          >>> buf.overwrite(0, (len(buf) - 2).to_bytes(2, "big"))
          >>> buf.consume_all()
          BytesView(b'\\x00\\tsome text')
        """
        source = flat_of(data)
        start = count_of(offset, "offset")
        if start + source.nbytes > self._nbytes:
            raise NotEnoughBytes(requested=start + source.nbytes, available=self._nbytes)
        targets: list[memoryview] = []
        missing = source.nbytes
        for piece in self._filled():
            if not missing:
                break
            if start >= piece.nbytes:
                start -= piece.nbytes
                continue
            if piece.readonly:
                raise MemoryInUse("a view may show these bytes, so they cannot change any more")
            targets.append(piece[start : start + missing])
            missing -= targets[-1].nbytes
            start = 0
        parts = []
        at = 0
        for target in targets:
            parts.append(source[at : at + target.nbytes])
            at += target.nbytes
        for target, part in zip(targets, parts, strict=True):
            target[:] = part

    def _filled(self) -> Iterator[memoryview]:
        """Yield what is filled, in order; what can be written through was shown by no view."""
        yield from self._pieces
        if self._blocks:
            block = self._blocks[-1]
            if block._start < block._end:
                yield block._memory[block._start : block._end]

    # Who else is at it

    def _hand_over(self, operation: str) -> None:
        """Let nobody else put anything until `_busy` is None again; say what is going on."""
        self._close_window()
        self._busy = f"{operation} is going on into this builder; wait for it"

    def _refuse_while_busy(self) -> None:
        self._end_dropped_write()
        if self._abandoned:
            self._drop_abandoned()
        elif self._busy is not None:
            raise MemoryInUse(self._busy)

    def _end_dropped_write(self) -> None:
        """End a vectored write that was not left, and that nobody has any more."""
        if self._loan is not None and self._loan[0]() is None:
            self._end_write(0, self._loan[1])

    def _end_write(self, filled_nbytes: int, abandoned_blocks: int) -> None:
        """Take back what a vectored write was lent; called by it, once."""
        self._abandoned = abandoned_blocks
        if not abandoned_blocks:
            self._fill(filled_nbytes)
            self._busy = self._loan = None
            return
        self._loan = None
        try:
            self._drop_abandoned()
        except MemoryError:  # then whoever puts something next does it
            return

    def _drop_abandoned(self) -> None:
        """Keep what is filled, and no room that somebody else can still write to; not busy then."""
        self._room = 0
        self._seal()
        kept = self._blocks[: -self._abandoned]
        room = sum(block._stop - block._end for block in kept)
        self._blocks, self._room = kept, room
        self._abandoned = 0
        self._busy = None

    def _refuse_while_lent(self) -> None:
        """Raise what `_close_window` would raise for a slice, and close nothing."""
        self._refuse_while_busy()
        if self._window is not None:
            refuse_if_open((self._window,))

    def _close_window(self) -> None:
        """End the loan of a window, or raise MemoryInUse if it cannot be ended (Law 4)."""
        if self._window is not None:
            take_back((self._window,))
            self._window = None
        if self._busy is not None:
            self._refuse_while_busy()

    def extend_lifetime(self) -> MemoryGuard:
        """Return a guard that keeps all memory of the builder alive when the builder is gone."""
        # Slices, which the proofs count; owners outlive the rest.
        rooms = [block._memory[:] for block in self._blocks]
        return MemoryGuard((*self._refs, *(piece[:] for piece in self._pieces), *rooms))

    def __repr__(self) -> str:
        return f"<BytesBuf of {self._nbytes} bytes, room for {self._room} more>"


def check_contents(buf: Contents) -> None:
    """Raise AssertionError if a law of this file, or of a block in it, is broken."""
    check_apart(buf._blocks)
    for block in buf._blocks:
        check_block(block)
        assert block._has_owner, "a block that somebody else may take"
        assert block._end < block._stop, "Law 1: a block without room"
    for block in buf._blocks[:-1]:
        assert block._start == block._end, "Law 1: a filled block behind the first"
    filled = buf._blocks[-1]._end - buf._blocks[-1]._start if buf._blocks else 0
    assert buf._unseen or all(piece.readonly for piece in buf._pieces), "Law 3: not noted"
    check_pieces(tuple(piece.toreadonly() for piece in buf._pieces), buf._nbytes - filled)
    for index in range(len(buf._pieces)):
        alone = getrefcount(buf._pieces[index]) <= REFERENCES_TO_A_LONE_EXPORTER
        assert alone or buf._pieces[index].readonly, "Law 3: an unseen piece is shared"
    assert len(buf._pieces) == len(buf._refs)
    room = sum(block._stop - block._end for block in buf._blocks)
    assert buf._room == (0 if buf._abandoned else room), "Law 2"
