"""Memory for one receive: leased now, or waited for where it has a cap.

Law 1. An error of the memory is never taken for one of the socket or the file: what a provider
       raises or returns that is no memory to write to is `BadMemory`. That the budget is used up is
       no such error.
Law 2. Closing ends every wait. Who waits here holds nothing, so nothing comes from the system that
       would wake it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import attrs
import trio

from .._errors import BadMemory
from ..mem._capped import CappedMemory

if TYPE_CHECKING:
    from ..seq import BlockRef, Memory


STARVED_TIMES: Final = 2
"""What has arrived and holds all memory that there is, is copied out of it if that is so many times
as much as its bytes are. So an item of half the cap, but for a block, always fits."""


def capped_of(memory: Memory) -> CappedMemory | None:
    """Return the memory with a cap that is behind a memory, or none."""
    capped = memory._waitable()
    return capped if isinstance(capped, CappedMemory) else None


@attrs.define(eq=False)
class Leases:
    """Where a socket or a file leases memory from."""

    _memory: Memory
    _capped: CappedMemory | None = attrs.field(init=False)
    _waits: set[trio.CancelScope] = attrs.field(init=False, factory=set)

    def __attrs_post_init__(self) -> None:
        self._capped = capped_of(self._memory)

    @property
    def can_wait(self) -> bool:
        """Whether the memory has a cap and can be waited for.

        A `BudgetExceeded` of another is from a provider of somebody else's.
        """
        return self._capped is not None

    @property
    def most_nbytes(self) -> int:
        """The most bytes that one receive may take of this memory."""
        return sys.maxsize if self._capped is None else self._capped._receive_nbytes

    def lease(self, nbytes: int) -> tuple[memoryview, BlockRef | None]:
        """Return at least one byte to write to, and what is to be said of its block. (Law 1)"""
        try:
            window, ref = self._memory._lease(nbytes)
            if window.nbytes and not window.readonly:
                return window, ref
        except (OSError, TypeError, ValueError, AttributeError) as exc:
            raise BadMemory(repr(self._memory), f"could not give memory: {exc}") from exc
        raise BadMemory(repr(self._memory), "gave no memory that can be written to")

    def lease_some(self, nbytes: int) -> tuple[memoryview, BlockRef | None]:
        """Do as `lease` does, but leave much of memory with a cap for the next receives."""
        if self._capped is not None:
            nbytes = min(nbytes, self._capped._worth_asking_for())
        return self.lease(nbytes)

    async def wait(self, nbytes: int) -> memoryview | None:
        """Stand in line for memory that has a cap; return None if `end_waits` came before.

        To be called outside `except`, which would keep frames, and they memory.
        """
        assert self._capped is not None
        window = None
        with trio.CancelScope() as scope:
            self._waits.add(scope)
            try:
                window = await self._capped._lease_wait(nbytes)
            finally:
                self._waits.discard(scope)
        return window

    async def wait_some(self, nbytes: int) -> memoryview | None:
        """Do as `wait` does, and take as much as `lease_some`."""
        assert self._capped is not None
        return await self.wait(min(nbytes, self._capped._worth_asking_for()))

    def end_waits(self) -> None:
        """Have every wait return. (Law 2)"""
        for scope in self._waits:
            scope.cancel()
