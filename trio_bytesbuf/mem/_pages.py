"""`PageMemory`: blocks that begin on a page, and that cost memory only as bytes arrive.

Law 1. A block is a private anonymous mapping of its own. `mmap.mmap(-1, n)` would be a shared one:
       after `fork`, parent and child would write to each other's blocks.
Law 2. The mapping is the exporter, so the proof of `_shelf` holds for it, and it is unmapped
       when Python frees it, after everything that showed it.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from typing import Any, ClassVar, Final

import attrs

from ..seq import Block, BlockRef
from ._foreign import PIECE_NBYTES
from ._pool import BLOCK_SIZES, UNPOOLED_NBYTES, ShelvedMemory

PAGE_NBYTES: Final = mmap.PAGESIZE
"""The size of the system's pages."""

PAGE_BLOCK_SIZES: Final = tuple(
    size for size in (UNPOOLED_NBYTES, *BLOCK_SIZES) if size % PAGE_NBYTES == 0
)
"""The sizes of pooled blocks: what streams ask for, from their first receive to their largest. A
mapping costs a system call and a fault for each page, so small ones are kept, too."""

# Windows has neither the word nor `fork`.
_PRIVATE: Final[dict[str, Any]] = (
    {"flags": mmap.MAP_PRIVATE} if hasattr(mmap, "MAP_PRIVATE") else {}
)


@attrs.frozen
class Pages:
    """What the meta of a block of `PageMemory` says: that it begins and ends on a page."""

    page_nbytes: int
    """The size of the system's pages."""


_REF: Final = BlockRef(Pages(PAGE_NBYTES))


def map_pages(nbytes: int) -> mmap.mmap:
    """Return a private mapping of `nbytes` bytes, rounded up to pages, that nobody has touched."""
    pages = -(-nbytes // PAGE_NBYTES)
    try:
        return mmap.mmap(-1, pages * PAGE_NBYTES, **_PRIVATE)
    except OSError as exc:
        raise MemoryError(f"the system has no {nbytes} bytes of pages to give: {exc}") from exc


class PageMemory(ShelvedMemory):
    """Memory in whole pages, which the system gives when they are first written to.

    For huge buffers, because `reserve` of a gigabyte takes no memory until bytes arrive, and then
    page by page; and for what wants to begin on a page, such as unbuffered files. The meta of each
    block is a `Pages`. Received bytes always stay in it, however little of it they fill.

    Up to 1 MiB, blocks are used again, by the proof that `GlobalPool` uses, and their pages stay
    resident while they are kept. A larger block is given back to the system as soon as nobody can
    see it; a view of a few of its bytes keeps all of it.

    Args:
      max_idle_nbytes: how many bytes are kept for later, for each size of block; at least 0.

    Raises:
      TypeError, ValueError: `max_idle_nbytes` is no integer, or negative.
      MemoryError: from `reserve`, if the system does not give so much.

    Cost: a lease as of `GlobalPool`; a new block one system call, and a fault for each page when it
    is first touched.

    Example:
      >>> buf = PageMemory().reserve(10_000_000_000)
      >>> buf.put_slice(b"first page")
      >>> buf.remaining_capacity // 1_000_000_000, buf.peek().metas
      (10, (Pages(page_nbytes=...),))
    """

    __slots__ = ()

    _block_sizes: ClassVar[tuple[int, ...]] = PAGE_BLOCK_SIZES
    _make_block = staticmethod(map_pages)

    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        """Return one block of at least `nbytes` bytes; several of 4 GiB if one could not do."""
        if not nbytes:
            return ()
        for shelf in self._shelves:
            if nbytes <= shelf.block_nbytes:
                return (Block(shelf.lease(), meta=_REF.meta),)
        whole, rest = divmod(nbytes, PIECE_NBYTES)
        mappings = [map_pages(PIECE_NBYTES) for _ in range(whole)]
        if rest:
            mappings.append(map_pages(rest))
        return [Block(mapping, meta=_REF.meta) for mapping in mappings]

    def _lease(self, nbytes: int, /) -> tuple[memoryview, BlockRef]:
        """Return memory for one receive: a block of a pooled size."""
        for shelf in self._shelves:
            if nbytes <= shelf.block_nbytes:
                return memoryview(shelf.lease()), _REF
        return memoryview(self._shelves[-1].lease()), _REF
