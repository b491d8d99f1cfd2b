"""`BufferMemory`: blocks that are cut from one buffer which is there already.

What keeps what alive, from a slice of a block to the buffer:

    view, slice, array ──> exporter of the block ──> _Segment ──> memory (of the buffer), owner

Law 1. Each block has an exporter of its own, a ctypes array at the block's address. Nobody but the
       tuple `_blocks` refers to the exporter of a block that is free, so `sys.getrefcount`
       proves it; blocks never leave the tuple, so none can be lost, whatever interrupts a lease.
Law 2. The variable by which a thread looks at a block is its claim. It counts as a reference, so
       of two threads that look at the same block neither sees it free, or only the first does.
Law 3. The exporter refers to the buffer by way of its `_Segment` and in no other way, and a segment
       lets go of the memory before the owner (slots are cleared in the order of their names). So
       a `SharedMemory` that dies as the owner finds no more memory in use.
Law 4. Only the process that made the provider lends blocks: after `fork` the child may have the
       same buffer, but its counts know nothing of what the parent sees.

CPython finalizes everything in a garbage cycle before any of it goes away, and the finalizer of a
`SharedMemory` wants to unmap what blocks in the same cycle still show: it would complain on stderr
and leave its descriptor open. So those that are owners are referred to from here for as long as a
collection lasts, and from the end of the program on.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import sys
import weakref
from collections.abc import Iterable, Iterator
from sys import getrefcount
from typing import TYPE_CHECKING, Any, Final, SupportsIndex

import attrs

from .._errors import BufferFull, MemoryInUse
from ..seq import BLOCK_NBYTES_MAX, Block, BlockRef, MemoryShared
from ..seq._exports import forget_what_exports_nothing
from ..seq._flat import SoleOwner, flat, positive_count_of
from ..seq._proof import FREE_THREADED, REFERENCES_TO_A_LONE_EXPORTER
from ._shelf import OLDEST_TRIED, ShelfStatistics

if TYPE_CHECKING:
    from ..seq._flat import Buffer

_FREE: Final = REFERENCES_TO_A_LONE_EXPORTER + 1
"""What `getrefcount` says of a free block, to which the tuple and the claim refer (Law 2)."""

_IDLE: Final = REFERENCES_TO_A_LONE_EXPORTER
"""What it says of a free block that nobody claims."""


@attrs.frozen
class BufferOffset:
    """What the meta of a block of `BufferMemory` says: where in the buffer the block begins.

    A process that has mapped the same memory finds the block there; whoever passes on a part of a
    block has to say as well where in the block it begins.
    """

    offset: int
    """How many bytes of the buffer are before the block."""


@attrs.define(eq=False)
class _Segment:
    """The buffer, and what must outlive its use (Law 3)."""

    memory: memoryview
    owner: object


class BufferMemory(SoleOwner, MemoryShared):
    """Blocks of one size, cut from an existing buffer: shared memory, an array, a bytearray.

    The meta of each block is a `BufferOffset`, its owner is `owner`. A block is lent again only
    when it is proved that nobody can see it, as by `GlobalPool`; everything made of a block, a bare
    memoryview too, keeps the buffer and its owner alive. Received bytes always stay in their block.

    Over `multiprocessing.shared_memory`, pass the `SharedMemory` as the owner, so that it can be
    dropped at any time. Its `close()` raises BufferError while this provider or anything made
    of its blocks lives; it harms nothing, and works afterwards.

    Args:
      buffer: writable, contiguous memory. As long as this provider or anything made of its blocks
        lives, nobody else writes to it, in whatever process.
      block_nbytes: the size of the blocks, 1 to 4,294,967,295. What is left over at the end of the
        buffer is not used.
      owner: kept alive for as long as the memory can be seen; what exports the buffer if not given.

    Raises:
      TypeError: `buffer` exports no buffer, has gaps, or is read-only; or `block_nbytes` is no
        integer.
      ValueError: `block_nbytes` is out of its range, or larger than the buffer.
      RuntimeError: this Python is free-threaded.
      BufferFull: from `reserve` and receives, if too few blocks are free. Nothing
        was lent or received; drop views and try again.
      MemoryInUse: from the same, in a process that was forked since this provider was made.

    Cost: making it 2 µs for each block; a lease 0.8 µs, three times one of `GlobalPool`, and a look
    at all blocks when most are lent.

    Example:
      >>> memory = BufferMemory(bytearray(1_000_000), 65_536)
      >>> buf = memory.reserve(100_000)
      >>> buf.put_slice(b"somewhere in the million")
      >>> buf.remaining_capacity, memory.statistics().lent_nbytes, buf.peek().metas
      (131048, 131072, (BufferOffset(offset=0),))
    """

    __slots__ = ("_block_nbytes", "_blocks", "_last", "_pid", "_reached")

    def __init__(
        self, buffer: Buffer, block_nbytes: SupportsIndex, *, owner: object = None
    ) -> None:
        if FREE_THREADED:  # before anything here, and so the error's frame, shows the memory
            raise RuntimeError("on a free-threaded Python it cannot be proved that a block is free")
        size = positive_count_of(block_nbytes, "block_nbytes")
        memory = flat(buffer)
        if memory.readonly:
            raise TypeError(f"blocks must be writable; this {type(buffer).__name__} is not")
        if size > min(memory.nbytes, BLOCK_NBYTES_MAX):
            raise ValueError(
                f"blocks of {size} bytes cannot be cut from {memory.nbytes} bytes"
                if size > memory.nbytes
                else f"a block has at most {BLOCK_NBYTES_MAX} bytes, not {size}"
            )
        segment = _Segment(memory, memory.obj if owner is None else owner)
        _keep_out_of_garbage(segment)
        self._block_nbytes = size
        self._blocks = _exporters(segment, size)
        self._pid = os.getpid()
        # Only hints for where to look first; other threads may change them at any time.
        self._last = self._reached = 0

    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        """Return as many blocks as hold `nbytes` bytes, or raise BufferFull and return none."""
        size = self._block_nbytes
        needed = -(-nbytes // size)
        claimed: list[tuple[memoryview, BlockRef]] = []
        while len(claimed) < needed:
            claim = self._claim() if needed <= len(self._blocks) else None
            if claim is None:
                claimed.clear()  # an error that is kept holds this frame, but no memory
                raise BufferFull(requested=nbytes, available=self.statistics().idle_nbytes)
            claimed.append(claim)
        return [Block(memory, meta=ref.meta, owner=ref.owner) for memory, ref in claimed]

    def _lease(self, nbytes: int, /) -> tuple[memoryview, BlockRef]:
        """Return one block, however much is wanted: a receive fills no more than that."""
        claim = self._claim()
        if claim is None:
            raise BufferFull(requested=nbytes, available=0)
        return claim

    def _claim(self) -> tuple[memoryview, BlockRef] | None:
        """Return the memory of a block that is free, or None if a second look finds none, too."""
        found = self._look()
        if found is None:
            forget_what_exports_nothing()  # pickles that are gone may hold some
            found = self._look()
        return found

    def _look(self) -> tuple[memoryview, BlockRef] | None:
        """Return the memory of a block that is free, or None if none is.

        As on a shelf, the one leased last is tried first, because it is still in the processor's
        cache; then the few that follow it among those that were ever used, which are the likeliest
        to be free; then one that was never used; then all.
        """
        if os.getpid() != self._pid:
            raise MemoryInUse(
                "this BufferMemory was made by another process, which may lend the same blocks; "
                "make one of your own, over a part that no other process writes to"
            )
        blocks = self._blocks
        count, reached, last = len(blocks), self._reached, self._last
        for step in range(min(reached, OLDEST_TRIED + 1)):
            index = (last + step) % reached
            if getrefcount(block := blocks[index]) == _FREE:
                self._last = index
                return _shown(block)
        start = reached if reached < count else last
        for step in range(count):
            index = (start + step) % count
            if getrefcount(block := blocks[index]) == _FREE:
                self._last = index
                self._reached = max(reached, index + 1)
                return _shown(block)
        return None

    def statistics(self) -> ShelfStatistics:
        """Return how much is lent and how much is not now. Cost: a look at each block."""
        forget_what_exports_nothing()
        idle = 0
        for index in range(len(self._blocks)):
            idle += getrefcount(self._blocks[index]) == _IDLE
        return ShelfStatistics(
            block_nbytes=self._block_nbytes,
            allocated=self._reached,
            idle_nbytes=idle * self._block_nbytes,
            lent_nbytes=(len(self._blocks) - idle) * self._block_nbytes,
        )

    def __repr__(self) -> str:
        return f"<BufferMemory of {len(self._blocks)} blocks of {self._block_nbytes} bytes>"


def _exporters(segment: _Segment, nbytes: int) -> tuple[Any, ...]:
    """Return an exporter for each block of `nbytes` bytes of the segment."""
    array: Any = ctypes.c_ubyte * nbytes
    block_class: Any = type("BufferBlock", (array,), {"__slots__": ("ref", "segment")})
    address = ctypes.addressof(ctypes.c_char.from_buffer(segment.memory))
    blocks = []
    for offset in range(0, segment.memory.nbytes - nbytes + 1, nbytes):
        block = block_class.from_address(address + offset)
        block.segment = segment
        block.ref = BlockRef(BufferOffset(offset), segment.owner)
        blocks.append(block)
    return tuple(blocks)


def _shown(block: Any) -> tuple[memoryview, BlockRef]:
    return memoryview(block).cast("B"), block.ref


# Owners in garbage (the last paragraph of the head)

_segments: Final[dict[int, weakref.ref[_Segment]]] = {}
_held: Final[list[object]] = []


def _keep_out_of_garbage(segment: _Segment) -> None:
    """See to it that the segment's owner is not finalized in a cycle, if it is a SharedMemory.

    Any other owner could refer to views of the memory, and would never be collected.
    """
    module: Any = sys.modules.get("multiprocessing.shared_memory")
    if module is not None and type(segment.owner) is module.SharedMemory:
        key = id(segment)
        _segments[key] = weakref.ref(segment, lambda _: _segments.pop(key, None))


def _hold_owners(phase: str, info: object) -> None:  # noqa: ARG001
    """Refer to the owners while a collection is going on, and no longer."""
    _held.clear()
    if phase == "start":
        _held.extend(_owners())


def _owners() -> Iterator[object]:
    for reference in tuple(_segments.values()):
        segment = reference()
        if segment is not None:
            yield segment.owner


def _hold_owners_for_ever() -> None:
    """At the end of the program: collections call nobody any more, and the system unmaps all."""
    for owner in _owners():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))


gc.callbacks.append(_hold_owners)
atexit.register(_hold_owners_for_ever)


def check_buffer_memory(memory: BufferMemory) -> None:
    """Raise AssertionError if a law of this file is broken."""
    blocks = memory._blocks
    size = memory._block_nbytes
    first = ctypes.addressof(blocks[0])
    assert blocks[0].segment.memory.nbytes >= size * len(blocks), "blocks beyond the buffer"
    for index, block in enumerate(blocks):
        assert ctypes.sizeof(block) == size, "a block of another size"
        assert ctypes.addressof(block) - first == index * size, "blocks that overlap, or gaps"
        assert block.ref.meta.offset == index * size, "a meta that is wrong"
        assert block.segment is blocks[0].segment, "Law 3"
    assert 0 <= memory._reached <= len(blocks), "a hint beyond the blocks"
    assert 0 <= memory._last < len(blocks), "a hint beyond the blocks"
