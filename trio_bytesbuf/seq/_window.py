"""Windows: memory lent for writing, and the proof that a loan has ended.

Law 1. A window has a managed buffer of its own, so that `open_slices` counts who else can write.
Law 2. A loan ends when the window is released and no slice of it is left; until then none
       of its bytes counts as filled.
Law 3. Whoever keeps a slice beyond a vectored write keeps the room of the blocks that were lent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, Self, SupportsIndex

import attrs

from .._errors import BufferFull, MemoryInUse
from ._block import Block
from ._flat import SoleOwner, count_of
from ._guard import MemoryGuard
from ._proof import open_slices, own_memoryview


def lend(block: Block, stop: int) -> memoryview:
    """Return a window on the room of `block` up to `stop` (Law 1)."""
    return own_memoryview(block._memory)[block._end : stop]


def take_back(windows: Iterable[memoryview]) -> None:
    """End loans, or raise MemoryInUse if one of them cannot be ended (Law 2)."""
    windows = tuple(windows)
    refuse_if_open(windows)
    for window in windows:
        try:
            window.release()
        except BufferError:
            raise MemoryInUse(
                "something made of memory that was lent for writing still uses it; drop it first"
            ) from None


def refuse_if_open(windows: Iterable[memoryview]) -> None:
    """Raise MemoryInUse if a slice of a window is alive; end nothing."""
    if any(map(open_slices, windows)):
        raise MemoryInUse(
            "a slice of memory that was lent for writing is still alive; drop it first"
        )


class Lender(Protocol):
    """The builder, as far as a vectored write knows it."""

    def _end_write(self, filled_nbytes: int, abandoned_blocks: int) -> None: ...


@attrs.define(eq=False, init=False, repr=False)
class BytesBufVectoredWrite(SoleOwner):
    """The remaining capacity of a builder, lent for writing in several places at once.

    Made by `BytesBuf.begin_vectored_write`; see there. It ends when it is committed or left. Of one
    that was dropped instead, the builder keeps no room that was lent.
    """

    _buf: Lender | None
    _limit: int
    _pieces: tuple[memoryview, ...]
    _metas: tuple[object, ...]

    def __init__(self, buf: Lender, blocks: Iterable[Block], limit: int) -> None:
        self._buf = buf
        self._limit = limit
        pieces: list[memoryview] = []
        metas: list[object] = []
        for block in blocks:
            if not limit:
                break
            nbytes = min(limit, block._stop - block._end)
            pieces.append(lend(block, block._end + nbytes))
            metas.append(None if block._ref is None else block._ref.meta)
            limit -= nbytes
        self._pieces = tuple(pieces)
        self._metas = tuple(metas)

    @property
    def pieces(self) -> tuple[memoryview, ...]:
        """Writable memoryviews, in the order in which they count as filled."""
        return self._pieces

    @property
    def metas(self) -> tuple[object, ...]:
        """What each piece's memory provider says of it, or None."""
        return self._metas

    def commit(self, nbytes: SupportsIndex) -> None:
        """Count the first `nbytes` bytes as filled and end the write.

        Raises:
          BufferFull: more than was lent.
          MemoryInUse: a slice of a piece, or an array made of one, is still alive;
            drop it and call again.
          ValueError: the write was ended before, or `nbytes` is negative.
          TypeError: `nbytes` is no integer.

        Cost: no copy.
        """
        filled = count_of(nbytes, "nbytes")
        if self._buf is None:
            raise ValueError("this vectored write has ended")
        if filled > self._limit:
            raise BufferFull(requested=filled, available=self._limit)
        take_back(self._pieces)
        self._end(filled, 0)

    def extend_lifetime(self) -> MemoryGuard:
        """Return a guard that keeps the memory alive when the builder is gone.

        The guard shows nothing and writes nothing, but it cannot be told from somebody who does:
        `commit` is refused while it holds.
        """
        return MemoryGuard([piece[:] for piece in self._pieces])

    def _end(self, filled_nbytes: int, abandoned_blocks: int) -> None:
        if self._buf is not None:
            self._buf._end_write(filled_nbytes, abandoned_blocks)
            self._buf, self._pieces = None, ()  # the last, so that an interrupt has it ended again

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        lent = len(self._pieces)
        try:
            take_back(self._pieces)
        except (MemoryInUse, MemoryError):  # Law 3: a worker thread that was abandoned, say
            self._end(0, lent)
        else:
            self._end(0, 0)

    def __repr__(self) -> str:
        state = "ended" if self._buf is None else f"{self._limit} bytes lent"
        return f"<BytesBufVectoredWrite, {state}>"
