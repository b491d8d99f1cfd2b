"""A block: writable memory with one owner, and marks for what is filled and what was seen.

From the first byte of a block to its last:

    | given away or seen | filled, not yet seen | room        |
    0                  start · · · · · · · · · end · · · · · stop

Law 1. start <= end <= stop. Bytes before `start` never change again, because a view of them
       may have been given out; bytes are only written from `end` on.
Law 2. A block has one owner, the `BytesBuf` it was handed to; handing it over twice is refused.
Law 3. While somebody may write through a window, no byte of that window counts as filled.

`check_block` raises if the first does not hold; `_buf` holds itself to the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ._flat import SoleOwner, flat

if TYPE_CHECKING:
    from ._flat import Buffer


@attrs.frozen(eq=False)
class Origin:
    """Where a piece of memory comes from, for pieces of which there is something to say."""

    meta: object = None
    """What the memory's provider says of it, for endpoints that can go a faster way."""

    owner: object = None
    """What must stay alive for as long as the memory is looked at."""

    may_change: bool = False
    """Whether somebody outside the library can write to the memory."""


@attrs.define(eq=False, init=False, repr=False)
class Block(SoleOwner):
    """Writable memory that a provider hands to one `BytesBuf`, which becomes its owner.

    Args:
      memory: the block: a writable, contiguous buffer of at least one byte that
        nobody else writes to while anybody can see it. A bytearray must not be resized.
      meta: what `BytesBuf.first_unfilled_slice_meta` and `BytesView.metas` say of it.
      owner: kept alive for as long as a byte of the block is referred to.

    Raises:
      TypeError: `memory` exports no buffer, has gaps, or is read-only.
      ValueError: `memory` is empty.

    Cost: one memoryview.
    """

    _memory: memoryview
    _start: int
    _end: int
    _stop: int
    _origin: Origin | None
    _has_owner: bool

    def __init__(self, memory: Buffer, *, meta: object = None, owner: object = None) -> None:
        if type(memory) is bytearray:  # as nearly all are, and one is made for each receive
            view = memoryview(memory)
        else:
            view = flat(memory)
            if view.readonly:
                raise TypeError(f"a block must be writable; this {type(memory).__name__} is not")
        nbytes = view.nbytes
        if not nbytes:
            raise ValueError("a block must have at least one byte")
        self._memory = view
        self._start = self._end = 0
        self._stop = nbytes
        self._origin = None if meta is None and owner is None else Origin(meta, owner)
        self._has_owner = False

    def __len__(self) -> int:
        return self._stop - self._start

    def __repr__(self) -> str:
        return f"<Block of {len(self)} bytes>"

    def _show(self, nbytes: int) -> memoryview:
        """Give away the first `nbytes` filled bytes; from now on they never change."""
        start = self._start
        self._start = stop = start + nbytes
        return self._memory[start:stop].toreadonly()

    def _split(self, at: int) -> Block:
        """Cut the room in two at offset `at`; return the far part as a block of its own."""
        far: Block = object.__new__(Block)
        far._memory = self._memory
        far._start = far._end = at
        far._stop = self._stop
        far._origin = self._origin
        far._has_owner = True
        self._stop = at
        return far


def check_block(block: Block) -> None:
    """Raise AssertionError if a law of this file is broken."""
    assert 0 <= block._start <= block._end <= block._stop, "Law 1"
    assert block._stop <= block._memory.nbytes, "a block longer than its memory"
    assert not block._memory.readonly, "a block that cannot be written"
