"""Memories for tests: hostile ones, one that counts, and one that shows when the pool was wrong.

Code that works with the hostile ones works with every memory.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, SupportsIndex

import attrs

from ..mem import GlobalPool
from ..mem._shelf import Shelf
from ..seq import Block, BlockRef, Memory, MemoryShared, PlainMemory
from ..seq._flat import count_of
from ..seq._memory import memory_or_default
from ..seq._shown import Shown
from ..seq._source import pass_on_blocks

if TYPE_CHECKING:
    from ..seq._picture import Picture


class TransparentMemory(PlainMemory):
    """One new block for each request, exactly as large as what was asked for.

    Idea: `mem::testing::TransparentMemory` of bytesbuf.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "TransparentMemory()"


class FixedBlockMemory(MemoryShared):
    """Blocks of one size, down to a single byte: every place where a piece can end gets tried.

    Args:
      block_nbytes: the size of the blocks, at least 1.

    Raises:
      TypeError, ValueError: `block_nbytes` is no integer, or below 1.

    Idea: `mem::testing::FixedBlockMemory` of bytesbuf.

    Example:
      >>> buf = FixedBlockMemory(3).reserve(4)
      >>> buf.put_slice(b"abcd")
      >>> [bytes(piece) for piece in buf.peek().pieces]
      [b'abc', b'd']
    """

    __slots__ = ("_block_nbytes",)

    def __init__(self, block_nbytes: SupportsIndex) -> None:
        self._block_nbytes = count_of(block_nbytes, "block_nbytes")
        if not self._block_nbytes:
            raise ValueError("block_nbytes must be at least 1, not 0")

    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        """Return as many blocks as hold `nbytes` bytes."""
        size = self._block_nbytes
        return [Block(bytearray(size)) for _ in range(-(-nbytes // size))]

    def _lease(self, nbytes: int, /) -> tuple[memoryview, None]:  # noqa: ARG002
        """Return one block, however much is wanted: a receive fills no more than that."""
        return memoryview(bytearray(self._block_nbytes)), None

    def __repr__(self) -> str:
        return f"FixedBlockMemory({self._block_nbytes})"


@attrs.frozen
class CountingStatistics(Shown):
    """What a `CountingMemory` was asked for and gave so far."""

    requests: int
    """How often memory was asked for by `reserve` or `blocks`, in vain or not. A request for no
    bytes counts as well; a builder that has enough room asks nobody."""

    leases: int
    """How often a stream took memory to try a receive, whether anything was there or not."""

    requested_nbytes: int
    """How many bytes all those wanted."""

    blocks: int
    """How many blocks they got."""

    given_nbytes: int
    """How many bytes these have: more than was wanted where blocks have a size of their own."""

    copied_nbytes: int
    """How many received bytes a stream copied out of its block, as they were not worth keeping."""

    def _picture(self) -> Picture:
        from ..seq._picture import picture_of_numbers  # only who looks pays for it

        return picture_of_numbers("CountingStatistics", attrs.asdict(self))


class CountingMemory(MemoryShared):
    """Gives what another provider gives, and counts it: what a piece of code asks memory for.

    To be trusted in every thread, as far as `memory` is itself. What nobody tells a provider it
    cannot count: bytes that a stream received into plain `bytes` because little came last
    time, what is still held (a `TrackingPool` knows), and copies that are made of a view later.

    Args:
      memory: who gives the memory.

    Raises:
      TypeError: `memory` is not a `Memory`.

    Example:
      >>> memory = CountingMemory(FixedBlockMemory(10))
      >>> view = BytesView.copied_from_slice(b"twelve bytes", memory)
      >>> memory.statistics().requests, memory.statistics().blocks
      (1, 2)
      >>> memory.statistics().requested_nbytes, memory.statistics().given_nbytes
      (12, 20)

    Idea: the counting allocators of native programs' tests.
    """

    __slots__ = (
        "_blocks",
        "_copied_nbytes",
        "_given_nbytes",
        "_leases",
        "_memory",
        "_of_thread",
        "_requested_nbytes",
        "_requests",
    )

    # The counts are only ever changed by `self._x += n` with `n` in a local name, in which CPython
    # with its lock switches to no other thread (after a call, `len` included, it may); so there
    # is no lock of ours for a finalizer to wait for.

    def __init__(self, memory: Memory) -> None:
        if memory is None:
            raise TypeError("a Memory is wanted, not None")
        self._memory = memory_or_default(memory)
        self._requests = self._leases = self._requested_nbytes = 0
        self._blocks = self._given_nbytes = self._copied_nbytes = 0
        self._of_thread = _LastLease()

    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        """Return what the provider behind gives, checked and counted."""
        self._requests += 1
        self._requested_nbytes += nbytes
        blocks = pass_on_blocks(self._memory, nbytes)
        nblocks, given_nbytes = len(blocks), sum(map(len, blocks))
        self._blocks += nblocks
        self._given_nbytes += given_nbytes
        return blocks

    def _waitable(self) -> Memory | None:
        return self._memory._waitable()

    def _lease(self, nbytes: int, /) -> tuple[memoryview, BlockRef | None]:
        """Return what the provider behind gives for a receive, counted."""
        self._leases += 1
        self._requested_nbytes += nbytes
        window, ref = self._memory._lease(nbytes)
        given_nbytes = window.nbytes
        self._blocks += 1
        self._given_nbytes += given_nbytes
        self._of_thread.window = weakref.ref(window)
        return window, ref

    def is_worth_keeping(self, filled_nbytes: int, capacity_nbytes: int, /) -> bool:
        """Return what the provider behind says, and count what is copied for it.

        A stream asks as well when it is made, to know beforehand. It has no memory then; so an
        answer counts only while the memory that this thread was lent last is still there.
        """
        is_worth_it = self._memory.is_worth_keeping(filled_nbytes, capacity_nbytes)
        window = self._of_thread.window
        if not is_worth_it and window is not None and window() is not None:
            self._copied_nbytes += filled_nbytes
        return is_worth_it

    def statistics(self) -> CountingStatistics:
        """Return what was asked for and given so far."""
        return CountingStatistics(
            requests=self._requests,
            leases=self._leases,
            requested_nbytes=self._requested_nbytes,
            blocks=self._blocks,
            given_nbytes=self._given_nbytes,
            copied_nbytes=self._copied_nbytes,
        )

    def __repr__(self) -> str:
        return f"CountingMemory({self._memory!r})"


class _LastLease(threading.local):
    """A weak reference to what was lent last in this thread, if anything was."""

    window: weakref.ref[memoryview] | None = None


_OTHER_BYTES: Final = bytes((value + 0x9D) % 256 for value in range(256))
"""What becomes of each byte. Always another one, so that nothing that is looked at stays the same;
and as the step is odd, the old bytes come back after 256 leases only."""


class _PoisoningShelf(Shelf[bytearray]):
    """Changes every byte of a block between the proof that nobody sees it and its lease."""

    __slots__ = ()

    def lease(self) -> bytearray:
        block = super().lease()
        block[:] = block.translate(_OTHER_BYTES)
        return block


class PoisoningPool(GlobalPool):
    """A `GlobalPool` that changes every byte of a block once it is proved that nobody sees it.

    If somebody does see it, because the proof is wrong or memory was kept alive by address only,
    then the bytes change under their eyes, and a test that compares them fails. Without this, a
    block's old bytes stay until its next owner happens to write there. New blocks are not all
    zeros either: whoever reads room that they have not filled finds that out, too.

    Small requests get blocks that are never used again, as from `GlobalPool`.

    Args and errors as of `GlobalPool`.

    Cost: some 50 µs more for a lease of 64 KiB.

    Example:
      >>> pool = PoisoningPool()
      >>> bytes(pool.reserve(100_000).chunk_mut()[:3])
      b'\x9d\x9d\x9d'
      >>> bytes(pool.reserve(100_000).chunk_mut()[:3])  # the same block again
      b':::'

    Idea: allocators that fill freed memory with a pattern, as CPython's debug hooks do.
    """

    __slots__ = ()

    _shelf_type = _PoisoningShelf
