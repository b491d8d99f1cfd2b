"""`PageMemory`: blocks that begin on a page, and that cost memory only as bytes arrive.

Law 1. A block is a private anonymous mapping of its own. `mmap.mmap(-1, n)` would be a shared one:
       after `fork`, parent and child would write to each other's blocks.
Law 2. The mapping is the exporter, so the proof of `_shelf` holds for it, and it is unmapped
       when Python frees it, after everything that showed it.
Law 3. Of a new block, at most twice what was written is resident, counted in pages. Faults are what
       filling it costs most: 8 MiB took 3.9 ms in pages of 4 KiB and 0.8 ms in pages of 2 MiB.
       So the system is asked for huge pages, but only behind as much as one of them is large.
"""

from __future__ import annotations

import contextlib
import functools
import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Final, SupportsIndex

import attrs

from ..seq import Block, BlockRef
from ._foreign import PIECE_NBYTES
from ._pool import BLOCK_SIZES, MAX_IDLE_NBYTES, UNPOOLED_NBYTES, ShelvedMemory
from ._shelf import Shelf

PAGE_NBYTES: Final = mmap.PAGESIZE
"""The size of the system's pages."""

PAGE_BLOCK_SIZES: Final = tuple(
    size for size in (UNPOOLED_NBYTES, *BLOCK_SIZES) if size % PAGE_NBYTES == 0
)
"""The sizes of pooled blocks: what streams ask for, from their first receive to their largest. A
mapping costs a system call and a fault for each page, so small ones are kept, too."""

LARGE_BLOCK_SIZES: Final = (4_194_304, 16_777_216)
"""The sizes of blocks for whole messages. A message of 8 MiB in a block that is used again was
received in 2.8 ms of processor time, in a new one in 5.1 (`bench/whole_message.py`)."""

LARGE_BLOCKS: Final = 2
"""How many large blocks of a size are kept: one that is looked at, one that is filled meanwhile."""

SMALLEST_HUGE_NBYTES: Final = 1_048_576
"""No system has huge pages below this size; smaller mappings do not ask."""

_HUGE_PAGE_SIZE: Final = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")

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
        mapping = mmap.mmap(-1, pages * PAGE_NBYTES, **_PRIVATE)
    except OSError as exc:
        raise MemoryError(f"the system has no {nbytes} bytes of pages to give: {exc}") from exc
    if nbytes > SMALLEST_HUGE_NBYTES:
        huge = huge_page_nbytes()
        if 0 < 2 * huge <= pages * PAGE_NBYTES:
            with contextlib.suppress(OSError):  # a kernel that was built without them
                mapping.madvise(mmap.MADV_HUGEPAGE, huge, pages * PAGE_NBYTES - huge)  # Law 3
    return mapping


@functools.cache
def huge_page_nbytes() -> int:
    """Return the size of the pages that the system may use for large mappings; 0: it has none."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return 0
    try:
        nbytes = int(_HUGE_PAGE_SIZE.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
    return nbytes if nbytes % PAGE_NBYTES == 0 else 0


class PageMemory(ShelvedMemory):
    """Memory in whole pages, which the system gives when they are first written to.

    For huge buffers, because `reserve` of a gigabyte takes no memory until bytes arrive, and then
    page by page; and for what wants to begin on a page, such as unbuffered files. The meta of each
    block is a `Pages`. Received bytes always stay in it, however little of it they fill.

    Up to 16 MiB, blocks are used again, by the proof that `GlobalPool` uses, and their pages stay
    resident while they are kept. A larger block is given back to the system as soon as nobody can
    see it; a view of a few of its bytes keeps all of it.

    Args:
      max_idle_nbytes: how many bytes are kept for later, for each size of block up to 1 MiB; at
        least 0. Of 4 MiB and of 16 MiB two blocks each are kept, unless this is 0.

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

    def __init__(self, *, max_idle_nbytes: SupportsIndex = MAX_IDLE_NBYTES) -> None:
        super().__init__(max_idle_nbytes=max_idle_nbytes)
        kept = LARGE_BLOCKS if self._max_idle_nbytes else 0
        self._shelves += tuple(Shelf(size, kept, map_pages) for size in LARGE_BLOCK_SIZES)

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
        nbytes = min(nbytes, PAGE_BLOCK_SIZES[-1])
        shelf = next(shelf for shelf in self._shelves if nbytes <= shelf.block_nbytes)
        return memoryview(shelf.lease()), _REF


_process_pages: Final = PageMemory()


def default_page_memory() -> PageMemory:
    """Return the pages that `read_contiguous` uses unless it is told otherwise.

    Two messages of up to 4 MiB and two of up to 16 MiB are kept resident for the next ones:
    `default_page_memory().trim()` gives them back to the system.
    """
    return _process_pages
