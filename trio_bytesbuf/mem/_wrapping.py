"""Memory providers made of another: `OpaqueMemory` hides one, `CallbackMemory` is a function.

The only hard part is taking a builder apart, which is what a function answers with, and
what `blocks` has to give is blocks.

Law 1. What a builder gives up it does not have any more: its blocks have no owner until whoever
       asked becomes it, and its room is 0. So a builder that is kept can write nothing.
Law 2. A builder is only taken apart if nobody can write to its room by way of a window, and if
       nothing is filled. Otherwise it is refused, and the error names the provider.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import SupportsIndex

from .._errors import BadMemory, MemoryInUse
from ..seq import Block, BlockRef, BytesBuf, Memory, MemoryShared
from ..seq._source import pass_on_blocks


class OpaqueMemory(MemoryShared):
    """Does what another provider does, and does not show which one that is.

    For an object that publishes the memory it prefers, but wants nobody to depend on its type or
    to reach that type's other methods (`trim`, say). Only `BadMemory` names the provider behind.

    Args:
      memory: the provider to hide.

    Raises:
      TypeError: `memory` is not a `MemoryShared`.

    Cost: one call more than the provider itself.

    Example:
      >>> memory = OpaqueMemory(GlobalPool())
      >>> memory
      OpaqueMemory(...)
      >>> memory.reserve(100).remaining_capacity
      100
      >>> hasattr(memory, "trim")
      False

    Idea: bytesbuf's `OpaqueMemory`.
    """

    __slots__ = ("_memory",)

    def __init__(self, memory: MemoryShared) -> None:
        if not isinstance(memory, MemoryShared):
            raise TypeError(f"a MemoryShared is wanted, not {type(memory).__name__}")
        self._memory = memory

    def reserve(self, nbytes: SupportsIndex, /) -> BytesBuf:
        """Return what the provider behind returns for `reserve(nbytes)`."""
        return self._memory.reserve(nbytes)

    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        """Return what the provider behind returns for `blocks(nbytes)`, checked."""
        return pass_on_blocks(self._memory, nbytes)

    def _lease(self, nbytes: int, /) -> tuple[memoryview, BlockRef | None]:
        """Return what the provider behind returns for a receive."""
        return self._memory._lease(nbytes)

    def _waitable(self) -> Memory | None:
        return self._memory._waitable()

    def is_worth_keeping(self, filled_nbytes: int, capacity_nbytes: int, /) -> bool:
        """Return what the provider behind says."""
        return self._memory.is_worth_keeping(filled_nbytes, capacity_nbytes)

    def __repr__(self) -> str:
        return "OpaqueMemory(...)"


class CallbackMemory(MemoryShared):
    """A provider made of a function: to add some configuration on top of another provider.

    Args:
      reserve_fn: called with the number of bytes that are wanted, an int of at least 0, from
        any thread. It returns an empty `BytesBuf` that has room for at least so many, in
        blocks to which nobody else writes. What it raises is raised by whoever asked for memory.

    Raises:
      TypeError: `reserve_fn` cannot be called.

    Cost: what `reserve_fn` costs, and a builder more: its own is taken apart.

    Example:
      >>> class Context:
      ...     def reserve(self, nbytes, *, page_nbytes):
      ...         return default_memory().reserve(-(-nbytes // page_nbytes) * page_nbytes)
      >>> context = Context()
      >>> memory = CallbackMemory(lambda nbytes: context.reserve(nbytes, page_nbytes=4096))
      >>> memory.reserve(5000).remaining_capacity
      8192

    Idea: bytesbuf's `CallbackMemory`.
    """

    __slots__ = ("_reserve_fn",)

    def __init__(self, reserve_fn: Callable[[int], BytesBuf]) -> None:
        if not callable(reserve_fn):
            raise TypeError(f"a function is wanted, not {type(reserve_fn).__name__}")
        self._reserve_fn = reserve_fn

    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        """Return the blocks of the builder that the function returns.

        Raises:
          BadMemory: the function returned something else, a builder with bytes in it, or
            one to whose room somebody can write.
        """
        buf = self._reserve_fn(nbytes)
        if not isinstance(buf, BytesBuf):
            complaint = f"returned a {type(buf).__name__} where an empty BytesBuf is wanted"
            raise BadMemory(repr(self), complaint)
        if len(buf):
            raise BadMemory(repr(self), f"returned a BytesBuf with {len(buf)} bytes in it")
        try:
            return buf._give_up_blocks()
        except MemoryInUse as exc:
            raise BadMemory(repr(self), f"returned a BytesBuf that is in use: {exc}") from exc

    def __repr__(self) -> str:
        return f"CallbackMemory({self._reserve_fn!r})"
