"""Where blocks come from, as far as a builder needs to know: one method, and a default.

What a provider gave is checked here, once for everybody, so that a provider that is wrong gets an
error with its name and nobody gets memory that is not what it seems.
"""

from __future__ import annotations

import abc
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from .._errors import BadMemory
from ._block import Block
from ._hook_errors import raise_what_hooks_raised


class BlockSource(abc.ABC):
    """What hands out blocks: the half of `Memory` that knows no builder."""

    __slots__ = ("__weakref__",)  # what waits to be told to a provider does not keep it

    @abc.abstractmethod
    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        """Return blocks that nobody else refers to, of at least `nbytes` bytes in all.

        Called from any thread if the provider is a `MemoryShared`. The caller becomes the
        owner of what is returned, all of it, and fills it from the front. That no two blocks have
        memory in common is not checked, because it would cost more than a lease; `check_laws` of
        `testing` looks at a builder's.

        Args:
          nbytes: at least 0; for 0, any blocks or none.
        """


_default: list[BlockSource] = []

origins: Final[list[Callable[[object], str | None]]] = []
"""What providers say, in a few words, of what exports memory: None if it is not of theirs. Only
asked when a value is looked at, so it may take its time."""


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
        not a block, or a block that has an owner already; or a release hook of one that it gave
        has raised something, and then it is not asked.
    """
    if nbytes > sys.maxsize:
        raise MemoryError(f"{nbytes} bytes are more than this machine can address")
    if not isinstance(source, BlockSource):
        raise TypeError(f"a Memory is wanted, not {type(source).__name__}")
    raise_what_hooks_raised(source)
    given = source.blocks(nbytes)
    if not isinstance(given, Iterable):
        raise BadMemory(repr(source), f"gave a {type(given).__name__} where blocks are wanted")
    blocks = [*iter(given)]  # CPython loses a list that it has no memory to copy, for ever
    room = take_ownership(blocks, source)
    if room < nbytes:
        _give_back(blocks)
        raise BadMemory(repr(source), f"was asked for {nbytes} bytes and gave {room}")
    return blocks, room


def pass_on_blocks(source: BlockSource, nbytes: int) -> list[Block]:
    """Ask `source` for blocks, check them as `own_blocks` does, and return them without an owner.

    For a provider that gives what another one gave: complaints name that one.
    """
    blocks, _ = own_blocks(source, nbytes)
    _give_back(blocks)
    return blocks


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
        record = block._record
        if record is not None and not isinstance(record.giver, BlockSource):
            record.giver = giver  # the first provider it came from; the others pass it on
        room += block._stop - block._end
    return room


def _give_back(blocks: Sequence[Block]) -> None:
    for block in blocks:
        block._has_owner = False
