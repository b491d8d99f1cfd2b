"""`Memory`: what a provider of memory implements, and the default one of the process."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from typing import SupportsIndex

from ._block import Block, Origin
from ._buf import BytesBuf
from ._flat import count_of
from ._source import default_source, own_blocks, set_default_source


class Memory(abc.ABC):
    """A provider of memory. Implement `blocks`; the rest comes for free.

    Example:
      >>> class Plain(Memory):
      ...     def blocks(self, nbytes):
      ...         return [Block(bytearray(max(nbytes, 1)))]
      >>> Plain().reserve(100).remaining_capacity
      100
    """

    __slots__ = ()

    @abc.abstractmethod
    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        """Return blocks that nobody else refers to, of at least `nbytes` bytes in all.

        Args:
          nbytes: at least 0; for 0, any blocks or none.
        """

    def reserve(self, nbytes: SupportsIndex, /) -> BytesBuf:
        """Return an empty builder with room for at least `nbytes` bytes.

        Raises:
          BadMemory: this provider gave too little, or what is no block of its own.
          TypeError, ValueError: `nbytes` is no integer, or negative.
        """
        return BytesBuf._of(*own_blocks(self, count_of(nbytes, "nbytes")))

    def lease(self, nbytes: int, /) -> tuple[memoryview, Origin | None]:
        """Return memory for one receive that would like `nbytes` bytes, and what to say of it.

        It is the first block of `blocks(nbytes)`, so it may be smaller. Called for every receive;
        a provider that can answer without making a block of it overrides this.

        Returns:
          A writable memoryview that nobody else sees, and the `Origin` of views of it.

        Raises:
          BadMemory: this provider gave too little, or what is no block of its own.
        """
        block = own_blocks(self, nbytes)[0][0]
        return block._memory, block._origin

    def is_worth_keeping(self, filled_nbytes: int, capacity_nbytes: int, /) -> bool:  # noqa: ARG002
        """Say whether a receive that filled so much of so much capacity should stay in it.

        Where the answer is no, streams copy what they received into plain bytes and give the
        memory back at once. Yes, unless a provider knows better.
        """
        return True


class PlainMemory(Memory):
    """Memory from the heap, one block for each request, never used twice."""

    __slots__ = ()

    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        """Return one block of `nbytes` bytes; none for 0."""
        return (Block(bytearray(nbytes)),) if nbytes else ()

    def __repr__(self) -> str:
        return "PlainMemory()"


def default_memory() -> Memory:
    """Return the memory that everything uses unless it is told otherwise: the process's pool."""
    memory = default_source()
    assert isinstance(memory, Memory)
    return memory


def memory_or_default(memory: Memory | None) -> Memory:
    """Return `memory`, or the default; raise TypeError if it is no `Memory`."""
    if memory is None:
        return default_memory()
    if not isinstance(memory, Memory):
        raise TypeError(f"a Memory is wanted, not {type(memory).__name__}")
    return memory


def set_default_memory(memory: Memory) -> None:
    """Let everything use `memory` unless it is told otherwise.

    Streams that exist already keep what they have.

    Raises:
      TypeError: `memory` is not a `Memory`.
    """
    set_default_source(memory_or_default(memory))


set_default_memory(PlainMemory())
