"""Sources made of sources: the first bytes of one, one behind another.

Law 1. A combinator takes bytes by the public `receive_view` of what it reads, so it begins with
       what that source has kept, and one task at a time reads it.
Law 2. It counts, and goes on to the next, between two awaits: a receive that is cancelled has
       taken nothing, and has changed nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..seq import BytesView
from ..seq._flat import count_of
from ._read import Read

if TYPE_CHECKING:
    from typing import SupportsIndex

    from ..seq import Memory


class LimitedRead(Read):
    """Reads at most so many bytes of a source; what comes behind them stays with the source.

    It has ended when the limit is reached, or when the source has ended. Closing it closes the
    source; to go on with the source, call `into_inner` and do not close this.

    Args:
      source: a `Read`.
      nbytes: how many bytes may be read through this, at least 0.

    Raises:
      TypeError: `source` is not a `Read`, or `nbytes` is no integer.
      ValueError: `nbytes` is negative.

    Cancellation: as of the source: a receive is atomic.

    Cost: no copy; `read_contiguous` copies once.

    Example:
      >>> async def main():
      ...     source = FakeRead(b"bodynext")
      ...     async for view in LimitedRead(source, 4).views(3):
      ...         print(view)
      ...     print(await source.receive_view())
      >>> trio.run(main)
      BytesView(b'bod')
      BytesView(b'y')
      BytesView(b'next')

    Idea: `Take` of Rust's `std::io`; `Limited` is the same for bytes that are there.
    """

    def __init__(self, source: Read, nbytes: SupportsIndex) -> None:
        self._inner = _checked(source)
        self._left = count_of(nbytes, "nbytes")

    def __repr__(self) -> str:
        return f"<LimitedRead, {self.remaining} bytes left of {self._inner!r}>"

    @property
    def inner(self) -> Read:
        """What is read; what is read of it by itself does not count."""
        return self._inner

    @property
    def remaining(self) -> int:
        """How many bytes may still be read through this; the source may end before."""
        return self._left + (0 if self._kept is None else len(self._kept))

    @property
    def memory(self) -> Memory:
        """What the source says."""
        return self._inner.memory

    def into_inner(self) -> Read:
        """Return the source, with every byte that was not given away; this has ended then.

        Raises:
          trio.BusyResourceError: a task is reading, through this or the source itself. Nothing
            has changed.
        """
        if self._is_receiving:
            raise trio.BusyResourceError(f"a task is receiving from {self!r}")
        self._inner._put_back([] if self._kept is None else [self._kept.peek()])
        self._kept = None
        self._left = 0
        return self._inner

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        if not self._left:
            await trio.lowlevel.checkpoint()
            return BytesView()
        limit = self._left if max_bytes is None else min(max_bytes, self._left)
        view = await self._inner.receive_view(limit)
        self._left -= len(view)
        return view

    async def _aclose(self) -> None:
        await self._inner.aclose()


class ChainedRead(Read):
    """Reads one source to its end and then another. Closing it closes both.

    Args:
      first, last: each a `Read`.

    Raises:
      TypeError: one of them is not a `Read`.

    Cancellation: as of the two: a receive is atomic.

    Cost: no copy; `read_contiguous` copies once.

    Example:
      >>> async def main():
      ...     chain = ChainedRead(FakeRead(b"head"), FakeRead(b"body"))
      ...     return await chain.read_exactly(6)
      >>> trio.run(main)
      BytesView(b'headbo')

    Idea: `Chain` of Rust's `std::io`; `Chain` is the same for bytes that are there.
    """

    def __init__(self, first: Read, last: Read) -> None:
        self._first = _checked(first)
        self._last = _checked(last)
        self._current = self._first

    def __repr__(self) -> str:
        return f"<ChainedRead of {self._first!r} and {self._last!r}>"

    @property
    def first(self) -> Read:
        """What is read first."""
        return self._first

    @property
    def last(self) -> Read:
        """What is read behind it."""
        return self._last

    @property
    def memory(self) -> Memory:
        """What the source says that is being read."""
        return self._current.memory

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        view = await self._current.receive_view(max_bytes)
        if view or self._current is self._last:
            return view
        self._current = self._last
        return await self._last.receive_view(max_bytes)

    async def _aclose(self) -> None:
        try:
            await self._first.aclose()
        finally:
            await self._last.aclose()


def _checked(source: Read) -> Read:
    if not isinstance(source, Read):
        raise TypeError(f"a Read is wanted to read from, not {type(source).__name__}")
    return source
