"""Memories that are hostile on purpose: code that works with them works with every memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import SupportsIndex

from ..seq import Block, MemoryShared
from ..seq._flat import count_of


class TransparentMemory(MemoryShared):
    """One new block for each request, exactly as large as what was asked for.

    Idea: `mem::testing::TransparentMemory` of bytesbuf.
    """

    __slots__ = ()

    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        """Return one block of `nbytes` bytes; none for 0."""
        return [Block(bytearray(nbytes))] if nbytes else []

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
