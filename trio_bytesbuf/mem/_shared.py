"""`SharedPool`: a pool whose blocks other processes on the same machine can be shown.

It is `GlobalPool` with another kind of block and one more proof. A shelf finds a block to which
nobody here refers; then `_shared_segment` asks the kernel whether a peer sees it.

Law 1. Laws 1 to 4 of `_shelf` hold; that nobody can see a block is proved as Law 1 of
       `_shared_segment` says.
Law 2. The shelves keep at most `MAX_BLOCKS` blocks of each size, since each costs descriptors.
Law 3. After `fork` neither side keeps what was made before.

Which blocks are tried: first the newest and the oldest few, as in `_shelf`; if none is home, what
is in transit is looked at, and they are tried once more before a block is made.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable
from sys import getrefcount
from typing import Final, SupportsIndex

import attrs

from ..seq import BLOCK_NBYTES_MAX, Block, BlockRef
from ..seq._exports import forget_what_exports_nothing
from ..seq._flat import count_of
from ..seq._proof import REFERENCES_TO_A_LONE_EXPORTER
from ._pool import PoolStatistics, ShelvedMemory
from ._shared_handle import check_tickets, look_at_tickets
from ._shared_segment import Segment, check_segment, forget_at_fork, require_segments
from ._shelf import OLDEST_TRIED, Shelf, ShelfStatistics

BLOCK_SIZES: Final = (65_536, 262_144, 1_048_576, 4_194_304)
"""Larger ones than in `GlobalPool`, as handing over costs the same for each block."""

MAX_BLOCKS: Final = 16
"""How many blocks of each size are kept at most: with four sizes and two descriptors each, an
eighth of the 1,024 that a process commonly may have. A guess."""

MAX_IDLE_NBYTES: Final = 16 * 1_048_576
"""How much of each size is kept: four of the largest. A guess; what counts is that a new page
costs a page fault, about as much as filling it."""

_LONE: Final = REFERENCES_TO_A_LONE_EXPORTER


@attrs.define(eq=False)
class _SharedShelf(Shelf[Segment]):
    """A shelf that asks the kernel as well (Law 1)."""

    def lease(self) -> Segment:
        """Return a block that nobody can see, in whatever process."""
        segment = self._one_at_home()
        if segment is None and self._ring and look_at_tickets():
            segment = self._one_at_home()
        return self._lease_new() if segment is None else segment

    def _one_at_home(self) -> Segment | None:
        ring = self._ring
        for turn in range(min(len(ring), 1 + OLDEST_TRIED)):
            try:
                alone = getrefcount(segment := ring.popleft() if turn else ring.pop()) == _LONE
            except IndexError:  # another thread was quicker
                return None
            if alone and segment.is_home():
                ring.append(segment)
                return segment
            if not turn or len(ring) < self.max_blocks - 1:
                ring.append(segment)  # busy: it may be free when its turn comes again
            del segment
        return None

    def statistics(self) -> ShelfStatistics:
        """Look through the ring and count; what is at home is taken back."""
        idle = kept = 0
        for _ in range(len(self._ring)):
            try:
                alone = getrefcount(segment := self._ring.popleft()) == _LONE
            except IndexError:
                break
            idle += alone and segment.is_home()
            kept += 1
            self._ring.append(segment)
            del segment
        return ShelfStatistics(
            block_nbytes=self.block_nbytes,
            allocated=self._allocated,
            idle_nbytes=idle * self.block_nbytes,
            lent_nbytes=(kept - idle) * self.block_nbytes,
        )


class SharedPool(ShelvedMemory):
    """A pool of blocks that `share` can hand to other processes on the same machine. Linux only.

    A block is leased again only when it is proved that nobody can see it: here by CPython's
    reference count, elsewhere by the kernel, with which every process that has a block open
    holds a lock. A process that dies, on either side, leaves nothing behind: the
    memory has no name and is freed with its last user.

    Use it as the memory of what will be shared: `SharedPool().reserve(n)`, or
    `BytesView.copied_from_slice(data, pool)` for what lies elsewhere. Any thread may reserve.
    After `fork` both sides make new blocks, and no view of either changes. The child has copies
    of what it inherited and cannot share it; what an inherited builder had filled and not yet
    shown may be what the parent wrote meanwhile.

    Args:
      max_idle_nbytes: how many bytes are kept for later, for each size of block (64 KiB, 256 KiB,
        1 MiB, 4 MiB); at least 0. Of each size no more than 16 blocks are kept.

    Raises:
      NotImplementedError: this is not Linux, or /proc is not mounted.
      TypeError, ValueError: `max_idle_nbytes` is no integer, or negative.

    Cost: a lease 1 µs; 3 µs if the block was handed over; a new block some 20 µs and a page fault
    for each page that is filled. Each block has two descriptors (one from Python 3.13 on) while
    anything refers to it; what is kept has at most 128 in all. Where there
    are no more, `reserve` raises OSError.

    Example:
      >>> pool = SharedPool()
      >>> view = BytesView.copied_from_slice(b"seen by all", pool)
      >>> share(view).nbytes
      11
    """

    __slots__ = ()

    _shelf_type = _SharedShelf
    _block_sizes = BLOCK_SIZES
    _make_block = Segment.make

    def __init__(self, *, max_idle_nbytes: SupportsIndex = MAX_IDLE_NBYTES) -> None:
        require_segments()
        idle = count_of(max_idle_nbytes, "max_idle_nbytes")
        self._max_idle_nbytes = min(idle, sys.maxsize)
        self._shelves = tuple(
            _SharedShelf(size, min(idle // size, MAX_BLOCKS), self._make_block)
            for size in self._block_sizes
        )
        _POOLS.add(self)

    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        """Return blocks of at least `nbytes` bytes in all.

        More than would be kept is one block of its size, or as few as there can be.

        Raises:
          OSError: there is no memory, or there are no more descriptors.
        """
        blocks = []
        while nbytes > 0:
            segment = self._lease_segment(nbytes)
            blocks.append(segment.as_block())
            nbytes -= segment.block_nbytes
        return blocks

    def _lease(self, nbytes: int, /) -> tuple[memoryview, BlockRef]:
        """Return memory for one receive: a block of a pooled size."""
        segment = self._lease_segment(min(nbytes, BLOCK_SIZES[-1]))
        return segment.memory(), segment.ref

    def _lease_segment(self, nbytes: int) -> Segment:
        if nbytes > max(self._max_idle_nbytes, BLOCK_SIZES[-1]):
            return Segment.make(min(nbytes, BLOCK_NBYTES_MAX))
        shelf = self._shelves[-1]
        for fitting in self._shelves:
            if nbytes <= fitting.block_nbytes:
                shelf = fitting
                break
        segment: Segment = shelf.lease()
        return segment

    def trim(self) -> int:
        """Give idle memory back to the kernel; return how many bytes that were."""
        look_at_tickets()
        return super().trim()

    def statistics(self) -> PoolStatistics:
        """Return what the pool did and holds now. Cost: a look at each block that is kept.

        What other processes see, or may still open, counts as lent.
        """
        look_at_tickets()
        forget_what_exports_nothing()
        return super().statistics()


_POOLS: Final[weakref.WeakSet[SharedPool]] = weakref.WeakSet()


def _forget_all_blocks() -> None:
    for pool in list(_POOLS):
        for shelf in pool._shelves:
            shelf._ring.clear()


def check_shared_pool(pool: SharedPool) -> None:
    """Raise AssertionError if a law of a shelf, a segment or a ticket is broken."""
    for shelf in pool._shelves:
        kept = list(shelf._ring)
        assert len({id(segment) for segment in kept}) == len(kept), "Law 1: a block twice"
        assert len(kept) <= min(shelf.max_blocks, MAX_BLOCKS), "Law 2: too many blocks kept"
        for segment in kept:
            assert segment.block_nbytes == shelf.block_nbytes, "a block of another size"
            check_segment(segment)
    check_tickets()


forget_at_fork(_forget_all_blocks)
