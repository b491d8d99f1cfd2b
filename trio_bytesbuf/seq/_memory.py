"""`Memory`: what a provider of memory implements, and the default one of the process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, SupportsIndex, runtime_checkable

from ._block import Block, BlockRef, cut_to_blocks
from ._builder import BytesBuf
from ._flat import count_of
from ._source import BlockSource, default_source, own_blocks, set_default_source


class Memory(BlockSource):
    """A provider of memory. Implement `blocks`; the rest comes for free.

    `blocks(nbytes)` returns `Block`s that nobody else refers to, of at least `nbytes` bytes in all.
    What is given is checked: too little, a block that has an owner or something that is no block
    is a `BadMemory` with the provider's name for whoever asked. A provider that can be
    called by several threads at once says so by being a `MemoryShared`.

    Example:
      >>> class Plain(Memory):
      ...     def blocks(self, nbytes):
      ...         return [Block(bytearray(max(nbytes, 1)))]
      >>> Plain().reserve(100).remaining_capacity
      100

    Idea: bytesbuf's `Memory`, which is asked for a builder instead of blocks.
    """

    __slots__ = ()

    def reserve(self, nbytes: SupportsIndex, /) -> BytesBuf:
        """Return an empty builder with room for at least `nbytes` bytes.

        Raises:
          BadMemory: this provider gave too little, or what is no block of its own; or a
            release hook of one of its blocks has raised something since the last call.
          TypeError, ValueError: `nbytes` is no integer, or negative.
        """
        return BytesBuf._of(*own_blocks(self, count_of(nbytes, "nbytes")))

    def _lease(self, nbytes: int, /) -> tuple[memoryview, BlockRef | None]:
        """Return memory for one receive that would like `nbytes` bytes, and what to say of it.

        A writable memoryview that nobody else sees: the first block of `blocks(nbytes)`, so
        it may be smaller. Called for every receive, which is why the providers of this library
        override it; they do without the block.
        """
        block = own_blocks(self, nbytes)[0][0]
        return block._memory[block._end : block._stop], block._ref

    def _waitable(self) -> Memory | None:
        """Return the provider to be waited for when this one says `BudgetExceeded`, if any."""
        return None

    def is_worth_keeping(self, filled_nbytes: int, capacity_nbytes: int, /) -> bool:  # noqa: ARG002
        """Say whether a receive that filled so much of so much capacity should stay in it.

        Where the answer is no, streams copy what they received into plain bytes and give the
        memory back at once. Yes, unless a provider knows better.
        """
        return True


class MemoryShared(Memory):
    """A provider whose `blocks` any thread may call at any time. Adds a promise and no method.

    All providers of this library are. Blocks of any provider may be dropped in any thread.

    Idea: bytesbuf's `MemoryShared`.
    """

    __slots__ = ()


@runtime_checkable
class HasMemory(Protocol):
    """What prefers some memory for the bytes that it is given, and says which.

    Ask it before bytes are put anywhere: a stream that can send memory of one kind faster than
    others publishes a provider of it. What has no preference passes on that of whatever it
    hands its bytes to, or says `default_memory()`.

    Idea: bytesbuf's `HasMemory`.

    Example:
      >>> async def main():
      ...     ours, theirs = trio.socket.socketpair()
      ...     async with SocketStream(ours) as stream, SocketStream(theirs):
      ...         return isinstance(stream, HasMemory), stream.memory is default_memory()
      >>> trio.run(main)
      (True, True)
    """

    @property
    def memory(self) -> Memory:
        """The provider that suits this object best."""
        ...  # a protocol has no body


class PlainMemory(MemoryShared):
    """Memory from the heap, one block for each request, never used twice."""

    __slots__ = ()

    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        """Return one block of `nbytes` bytes; none for 0, several for more than one can have."""
        return [Block(memory) for memory in cut_to_blocks(bytearray(nbytes))]

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
