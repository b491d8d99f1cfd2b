"""`Endpoint`: what sources and sinks have in common: memory of their own, and an end."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Protocol

import trio

from ..seq import Memory, default_memory
from ..seq._source import pass_on_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import SupportsIndex

    from ..seq import Block, BlockRef, BytesBuf, BytesView


class Endpoint(Memory, trio.abc.AsyncResource):
    """A place that bytes come from or go to: a `Memory`, a `HasMemory` and an `AsyncResource`.

    Implement `_aclose`; say by `memory` which memory suits this place best.
    """

    _is_closed = False

    _progress: Callable[[int], object] | None = None
    """Called with the number of bytes that a system call has moved, by the task that moves them.
    Guards set it, to see that a long send goes on, and buffered writers, to know what is left."""

    _counts_exactly = False
    """Whether `_progress` is told of exactly the bytes that were given to be sent, each as soon as
    it cannot be called back, and of all of them. Then a cancelled send can be gone on with."""

    @property
    def memory(self) -> Memory:
        """The memory that suits this place best: where received bytes go, if any do."""
        return default_memory()

    def reserve(self, nbytes: SupportsIndex, /) -> BytesBuf:
        """Return an empty builder with room for at least `nbytes` bytes of `memory`."""
        return self.memory.reserve(nbytes)

    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        """Return blocks of `memory`."""
        return pass_on_blocks(self.memory, nbytes)

    def _lease(self, nbytes: int, /) -> tuple[memoryview, BlockRef | None]:
        return self.memory._lease(nbytes)

    def _waitable(self) -> Memory | None:
        return self.memory._waitable()

    def is_worth_keeping(self, filled_nbytes: int, capacity_nbytes: int, /) -> bool:
        """Say what `memory` says."""
        return self.memory.is_worth_keeping(filled_nbytes, capacity_nbytes)

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise trio.ClosedResourceError(f"this {type(self).__name__} was closed")

    async def aclose(self) -> None:
        """Close this; tasks that wait for it get `trio.ClosedResourceError`. Twice is harmless.

        Cancellation: it is closed all the same.
        """
        if self._is_closed:
            await trio.lowlevel.checkpoint()
            return
        self._is_closed = True
        await self._aclose()

    @abc.abstractmethod
    async def _aclose(self) -> None:
        """Close what is behind this. Called once, by `aclose`.

        A checkpoint; when it is cancelled everything has to be closed all the same. Tasks that
        are in another hook must get `trio.ClosedResourceError`.
        """


class ReadWrite(Protocol):
    """What is a `Read` and a `Write`, which is more than a type checker has a word for."""

    async def receive_view(self, max_bytes: SupportsIndex | None = None) -> BytesView:
        """Wait until there are bytes and return what is at hand."""
        ...  # a protocol has no body

    async def write_view(self, view: BytesView) -> None:
        """Send all bytes of `view`."""
        ...

    async def aclose(self) -> None:
        """Close this."""
        ...
