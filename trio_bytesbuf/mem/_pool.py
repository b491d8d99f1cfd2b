"""`GlobalPool`: memory for streams, used again and again as soon as nobody can see it."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Final, SupportsIndex

import attrs

from ..seq import Block, BytesBuf, MemoryShared
from ..seq._block import cut_to_blocks
from ..seq._builder import fresh
from ..seq._flat import SoleOwner, count_of
from ..seq._shown import Shown
from ..seq._source import default_source, origins
from ._shelf import Shelf, ShelfStatistics, check_shelf, shelves_that_keep

if TYPE_CHECKING:
    from ..seq._picture import Picture

BLOCK_SIZES: Final = (65_536, 262_144, 1_048_576)
"""The sizes of pooled blocks. `bench/lease_by_size.py` plots why there is none below 64 KiB:
a builder on a pooled block costs more than a new `bytearray` up to some 34 KiB, and pins more."""

UNPOOLED_NBYTES: Final = 16_384
"""Requests up to this size get a new block of exactly their size, and receives up to
this size are copied out of pooled blocks (0.1 to 0.4 µs), so that idle connections pin nothing."""

MAX_IDLE_NBYTES: Final = 4 * 1_048_576
"""How much of each size is kept: twice a core's second-level cache on common servers. Beyond that a
block is cold when its turn comes again. Not measured any finer."""


@attrs.frozen
class PoolStatistics(Shown):
    """What a pool did and holds at one moment."""

    allocated: int
    """How many blocks were made since the pool was; all other leases used one again."""

    idle_nbytes: int
    """Bytes in blocks that are kept for the next lease."""

    lent_nbytes: int
    """Bytes in blocks that the pool keeps and somebody can see."""

    shelves: tuple[ShelfStatistics, ...]
    """The same for each size of block."""

    def _picture(self) -> Picture:
        return self._picture_of(type(self).__name__)

    def _picture_of(self, title: str, *facts: str) -> Picture:
        from ._pictures import pool_picture  # only who looks pays for it

        shelves = map(attrs.astuple, self.shelves)
        return pool_picture(
            title, self.allocated, self.idle_nbytes, self.lent_nbytes, shelves, *facts
        )


class ShelvedMemory(SoleOwner, MemoryShared, Shown):
    """What pools have in common: a shelf for each size of block.

    Raises:
      TypeError, ValueError: `max_idle_nbytes` is no integer, or negative.
    """

    __slots__ = ("_max_idle_nbytes", "_shelves")

    _shelf_type: ClassVar[type[Shelf[Any]]] = Shelf
    _block_sizes: ClassVar[tuple[int, ...]]
    _make_block: ClassVar[Any]  # makes a block of so many bytes; types take it for a method

    def __init__(self, *, max_idle_nbytes: SupportsIndex = MAX_IDLE_NBYTES) -> None:
        idle = count_of(max_idle_nbytes, "max_idle_nbytes")
        self._max_idle_nbytes = min(idle, sys.maxsize)
        self._shelves = tuple(
            self._shelf_type(size, self._max_idle_nbytes // size, self._make_block)
            for size in self._block_sizes
        )

    def trim(self) -> int:
        """Give idle memory back; return how many bytes that were."""
        return sum(shelf.trim() for shelf in self._shelves)

    def statistics(self) -> PoolStatistics:
        """Return what the pool did and holds now. Cost: a look at each block that is kept."""
        shelves = tuple(shelf.statistics() for shelf in self._shelves)
        return PoolStatistics(
            allocated=sum(shelf.allocated for shelf in shelves),
            idle_nbytes=sum(shelf.idle_nbytes for shelf in shelves),
            lent_nbytes=sum(shelf.lent_nbytes for shelf in shelves),
            shelves=shelves,
        )

    def _picture(self) -> Picture:
        return self.statistics()._picture_of(type(self).__name__)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x}>"


class GlobalPool(ShelvedMemory):
    """A pool of blocks. A block is leased again only when it is proved that nobody can see it.

    The proof is made when the block is wanted, by CPython's reference count, and no finalizer
    has any part in it; so whatever a program does with views, memoryviews or arrays of
    received bytes (keeps them for ever, in a cycle, in another thread), the bytes stay what they
    are, and the price is one allocation. Any thread may reserve and any thread may drop.

    One pool serves the whole process unless told otherwise: `default_memory()`.

    Args:
      max_idle_nbytes: how many bytes are kept for later, for each size of block; at least 0.

    Raises:
      TypeError, ValueError: `max_idle_nbytes` is no integer, or negative.

    Cost: leasing and returning 64 KiB less than a tenth of `bytearray(65536)`.

    Example:
      >>> pool = GlobalPool()
      >>> pool.reserve(100_000).remaining_capacity
      262144
      >>> pool.statistics().idle_nbytes
      262144
    """

    __slots__ = ()

    # What the pools for tests have otherwise.
    _block_sizes: ClassVar[tuple[int, ...]] = BLOCK_SIZES
    _make_block = bytearray
    _unpooled_nbytes: ClassVar[int] = UNPOOLED_NBYTES

    def reserve(self, nbytes: SupportsIndex, /) -> BytesBuf:
        """Return an empty builder with room for at least `nbytes` bytes.

        Raises:
          TypeError, ValueError: `nbytes` is no integer, or negative.

        Cost: about 0.5 µs for up to 1 MiB.
        """
        wanted = nbytes if type(nbytes) is int and nbytes > 0 else count_of(nbytes, "nbytes")
        if 0 < wanted <= self._unpooled_nbytes:
            return fresh((bytearray(wanted),), wanted)
        for shelf in self._shelves:
            if 0 < wanted <= (size := shelf.block_nbytes):
                return fresh((shelf.lease(),), size)
        if wanted > sys.maxsize:
            return super().reserve(nbytes)  # which says that this is too much
        memories = self._memories(wanted)
        return fresh(memories, sum(map(len, memories)))

    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        """Return pooled blocks of at least `nbytes` bytes in all.

        A request that is too little to be worth it, or more than the pool would keep, gets one
        plain block of its size, or as few as there can be.
        """
        return [Block(memory) for memory in self._memories(nbytes)]

    def _memories(self, nbytes: int) -> list[Any]:
        """Return what the blocks of a request are made of."""
        if not nbytes:
            return []
        if nbytes <= self._unpooled_nbytes:
            return [self._plain(nbytes)]
        for shelf in self._shelves:
            if nbytes <= shelf.block_nbytes:
                return [shelf.lease()]
        if nbytes > self._max_idle_nbytes:  # more than could be kept for the next time
            return cut_to_blocks(self._plain(nbytes))
        largest = self._shelves[-1]
        whole, rest = divmod(nbytes, largest.block_nbytes)
        return [largest.lease() for _ in range(whole)] + self._memories(rest)

    def _plain(self, nbytes: int) -> bytearray:
        """Return memory that is not pooled."""
        return bytearray(nbytes)

    def _lease(self, nbytes: int, /) -> tuple[memoryview, None]:
        """Return memory for one receive: a block of a pooled size, or a plain one for little."""
        if nbytes <= self._unpooled_nbytes:
            return memoryview(self._plain(nbytes)), None
        for shelf in self._shelves:
            if nbytes <= shelf.block_nbytes:
                return memoryview(shelf.lease()), None
        return memoryview(self._shelves[-1].lease()), None

    def is_worth_keeping(self, filled_nbytes: int, capacity_nbytes: int, /) -> bool:
        """No for little, and for blocks that are mostly empty: a copy costs less than it pins."""
        return filled_nbytes > self._unpooled_nbytes and 4 * filled_nbytes >= capacity_nbytes


def _origin_of(exporter: Any) -> str | None:
    """Say that a pool keeps this block; it may have forgotten one of its own that is lent."""
    if not isinstance(exporter, (bytearray, mmap.mmap)) or not (
        keepers := shelves_that_keep(exporter)
    ):
        return None
    default = default_source()
    ours = default._shelves if isinstance(default, ShelvedMemory) else ()
    return "the default pool" if any(shelf in ours for shelf in keepers) else "a pool"


origins.append(_origin_of)


def check_pool(pool: ShelvedMemory) -> None:
    """Raise AssertionError if a law of a shelf is broken."""
    for shelf in pool._shelves:
        check_shelf(shelf)
