"""A shelf: blocks of one size, leased again only when it is proved that nobody can see them.

A shelf keeps its recent blocks in a ring and never hears when one is let go. There is no
finalizer to believe. When a block is wanted, the shelf looks whether one of its own is free
*now*: `sys.getrefcount` says that nobody but the shelf refers to it.

    ring:  oldest  [ b0 | b1 | b2 | b3 ]  leased last

Law 1. A block leaves the shelf by `lease` only, and only if it is new or if the count proves, after
       it was taken out of the ring, that the caller's own variable is all that refers to it.
Law 2. A block is in the ring at most once.
Law 3. The ring holds at most `max_blocks` blocks; what is pushed out is freed by Python as soon
       as nobody refers to it. Forgetting a block costs one allocation, never a byte.
Law 4. There is no lock and no finalizer: `deque.pop` takes a block out for one thread, and a block
       that is out of the ring is nobody else's to lease. An exception or a signal in
       between forgets the block (Law 3).

Which block is tried first matters more than anything else here. The one leased last is still
in the processor's cache: receiving a gigabyte into it took 0.75 to 0.80 of trio's CPU time, and
into the one leased longest ago 0.95 (64 KiB reads, 16 blocks, 2 MiB of second-level cache). So the
newest is tried first; if it is busy, the oldest few are, which are the likeliest to be free.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from sys import getrefcount
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import attrs

from ..seq._exports import forget_some, forget_what_exports_nothing
from ..seq._proof import FREE_THREADED, REFERENCES_TO_A_LONE_EXPORTER
from ..seq._shown import Shown
from ..seq._unique import keepers

if TYPE_CHECKING:
    from ..seq._flat import Buffer
    from ..seq._picture import Picture

E = TypeVar("E", bound="Buffer")

OLDEST_TRIED: Final = 4
"""How many of the oldest blocks are looked at before a new one is made. Each look costs about
0.1 µs, a new block of 64 KiB 1.3 to 1.7 µs; more looks than this can cost more than they save."""

_LONE: Final = REFERENCES_TO_A_LONE_EXPORTER


@attrs.frozen
class ShelfStatistics(Shown):
    """What a pool did and holds, for one size of block."""

    block_nbytes: int
    """The size of the blocks."""

    allocated: int
    """How many leases had to make a new block. Leases as such are not counted: counting
    would cost a fifth of one; `testing.CountingMemory` does it."""

    idle_nbytes: int
    """Bytes in blocks that are kept and that nobody can see."""

    lent_nbytes: int
    """Bytes in blocks that are kept and that somebody can see. Blocks that the ring has
    forgotten while they were lent are not counted: nobody tells the pool what becomes of them."""

    def _picture(self) -> Picture:
        from ._pictures import shelf_picture  # only who looks pays for it

        return shelf_picture("ShelfStatistics", attrs.astuple(self))


@attrs.define(eq=False)
class Shelf(Generic[E]):
    """Blocks of `block_nbytes` bytes, at most `max_blocks` of them kept.

    A block is any object that exports that much writable memory and is referred to by all
    that shows it: a bytearray, a mapping, a ctypes array. `make(block_nbytes)` makes one.
    """

    block_nbytes: int
    max_blocks: int
    _make: Callable[[int], E]
    _ring: deque[E] = attrs.field(
        init=False,
        default=attrs.Factory(lambda self: deque(maxlen=self.max_blocks), takes_self=True),
    )
    _allocated: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        _shelves.append(weakref.ref(self, _shelves.remove))

    def lease(self) -> E:
        """Return a block that nobody can see. It goes home by being forgotten."""
        ring = self._ring
        if ring:
            try:
                if getrefcount(block := ring.pop()) == _LONE:
                    ring.append(block)
                    return block
            except IndexError:  # another thread was quicker
                return self._lease_new()
            ring.append(block)
            del block
            for _ in range(min(len(ring), OLDEST_TRIED)):
                try:
                    alone = getrefcount(block := ring.popleft()) == _LONE
                except IndexError:
                    break
                if alone:
                    ring.append(block)
                    return block
                if len(ring) < self.max_blocks - 1:
                    ring.append(block)  # busy: it may be free when its turn comes again
                del block
        return self._lease_new()

    def _lease_new(self) -> E:
        forget_some()  # what pickles that are gone still hold is free for the next lease
        block = self._make(self.block_nbytes)
        self._allocated += 1
        if len(self._ring) < self.max_blocks and not FREE_THREADED:
            self._ring.append(block)
        return block

    def trim(self) -> int:
        """Forget all blocks; return how many bytes of them were idle."""
        idle_nbytes = self.statistics().idle_nbytes
        self._ring.clear()
        return idle_nbytes

    def statistics(self) -> ShelfStatistics:
        """Look through the ring and count."""
        forget_what_exports_nothing()
        idle = kept = 0
        for _ in range(len(self._ring)):
            try:
                idle += getrefcount(block := self._ring.popleft()) == _LONE
            except IndexError:
                break
            kept += 1
            self._ring.append(block)
            del block
        return ShelfStatistics(
            block_nbytes=self.block_nbytes,
            allocated=self._allocated,
            idle_nbytes=idle * self.block_nbytes,
            lent_nbytes=(kept - idle) * self.block_nbytes,
        )


_shelves: Final[list[weakref.ref[Shelf[Any]]]] = []


def known_shelves() -> list[Shelf[Any]]:
    """Return all shelves that there are."""
    return [shelf for known in tuple(_shelves) if (shelf := known()) is not None]


def shelves_that_keep(exporter: Buffer) -> list[Shelf[Any]]:
    """Return the shelves in whose rings this block is."""
    nbytes = memoryview(exporter).nbytes
    return [
        shelf
        for shelf in known_shelves()
        if shelf.block_nbytes == nbytes and any(block is exporter for block in shelf._ring.copy())
    ]


def _times_kept(exporter: bytearray) -> int:
    """Say how many rings this block is in; a shelf refers to a block, and sees nothing by that."""
    return len(shelves_that_keep(exporter))


keepers.append(_times_kept)


def check_shelf(shelf: Shelf[Any]) -> None:
    """Raise AssertionError if a law of this file is broken."""
    kept = list(shelf._ring)
    assert len({id(block) for block in kept}) == len(kept), "Law 2: a block twice in the ring"
    assert len(kept) <= shelf.max_blocks, "Law 3: too many blocks kept"
    sizes = {memoryview(block).nbytes for block in kept}
    assert sizes <= {shelf.block_nbytes}, "a block of another size"
