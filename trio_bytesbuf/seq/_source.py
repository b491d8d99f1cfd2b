"""Where blocks come from, as far as a builder needs to know: one method, and a default."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Protocol

from .._errors import BadMemory
from ._block import Block


class BlockSource(Protocol):
    """Anything that hands out blocks; every `Memory` is one."""

    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        """Return blocks that nobody else refers to, of at least `nbytes` bytes in all."""
        ...  # a protocol has no body


_default: list[BlockSource] = []


def default_source() -> BlockSource:
    """Return where blocks come from when a call does not say; `_memory` sets the first."""
    return _default[0]


def set_default_source(source: BlockSource) -> None:
    """Let blocks come from `source` when a call does not say."""
    _default[:] = [source]


def own_blocks(source: BlockSource, nbytes: int) -> tuple[list[Block], int]:
    """Ask `source` for blocks, become their owner, and return them with their room.

    Raises:
      BadMemory: `source` gave fewer bytes than it was asked for, something that is
        not a block, or a block that has an owner already.
    """
    if nbytes > sys.maxsize:
        raise MemoryError(f"{nbytes} bytes are more than this machine can address")
    try:
        give = source.blocks
    except AttributeError:
        raise TypeError(f"a Memory is wanted, not {type(source).__name__}") from None
    given = give(nbytes)
    if not isinstance(given, Iterable):
        raise BadMemory(repr(source), f"gave a {type(given).__name__} where blocks are wanted")
    blocks = list(given)
    room = take_ownership(blocks, source)
    if room < nbytes:
        _give_back(blocks)
        raise BadMemory(repr(source), f"was asked for {nbytes} bytes and gave {room}")
    return blocks, room


def take_ownership(blocks: Sequence[Block], giver: BlockSource | str) -> int:
    """Mark every block as owned, or raise BadMemory and mark none; return their room."""
    room = 0
    for taken, block in enumerate(blocks):
        if type(block) is not Block or block._has_owner:
            _give_back(blocks[:taken])
            complaint = f"gave a {type(block).__name__} where a Block is wanted"
            if type(block) is Block:
                complaint = "gave a block that has an owner already"
            raise BadMemory(giver if isinstance(giver, str) else repr(giver), complaint)
        block._has_owner = True
        room += block._stop
    return room


def _give_back(blocks: Sequence[Block]) -> None:
    for block in blocks:
        block._has_owner = False
