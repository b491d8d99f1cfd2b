"""A block: writable memory with one owner, and marks for what is filled and what was seen.

From the first byte of a block to its last:

    | given away         | filled, not yet seen | room        |
    0                  start · · · · · · · · · end · · · · · stop

Law 1. start <= end <= stop. The bytes before `start` are somebody else's: a view may show them.
       Bytes that are filled were shown by nobody, and only the owner can write to them.
Law 2. A block has one owner, the `BytesBuf` it was handed to; handing it over twice is refused.
Law 3. While somebody may write through a window, no byte of that window counts as filled.

`check_block` raises if the first does not hold; `_builder_contents` holds itself to the others.
That two blocks have no memory in common is their provider's word: to look costs 1 µs a block, so
only `check_apart` does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import attrs

from ._flat import SoleOwner, flat
from ._proof import address_of
from ._release import leased

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._flat import Buffer
    from ._release import _Record


BLOCK_NBYTES_MAX: Final = 0xFFFF_FFFF
"""The most bytes that one block can have, as for bytesbuf's `BlockSize`: what systems count with 32
bits stays possible. Larger memory is several blocks."""


@attrs.frozen(eq=False)
class BlockRef:
    """What is known of the memory of a piece beside its bytes; asked of views, by `block_refs`.

    Idea: bytesbuf's `BlockRef`; counting the references is CPython's business here.
    """

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
      memory: the block: a writable, contiguous buffer of 1 to 4,294,967,295 bytes that
        nobody else writes to while anybody can see it. A bytearray must not be resized.
      meta: what `BytesBuf.chunk_mut_meta` and `BytesView.metas` say of it.
      owner: kept alive for as long as a view or a builder refers to the block. (What exports
        `memory` is kept alive by everything that is made of it, in any case.)
      on_release: called without arguments, once, when nobody can see the memory any more, in
        whatever thread dropped it last, and only in the process that made the block. It may give
        the memory to somebody else. What it raises is a `BadMemory` of the provider's next call;
        more than one error, or one for which no such call comes, goes to `sys.unraisablehook`.
        It must not refer to what shows the block: then that is never let go.
        For memory that is still seen when the interpreter ends it may not be called at all.

    Raises:
      TypeError: `memory` exports no buffer, has gaps, or is read-only; or `on_release` is nothing
        that can be called.
      ValueError: `memory` is empty, or too large for one block.

    Cost: one memoryview; 2 µs more with `on_release`.

    Example:
      >>> gone = []
      >>> buf = BytesBuf.from_blocks([Block(bytearray(100), on_release=lambda: gone.append(100))])
      >>> del buf
      >>> gone
      [100]
    """

    _memory: memoryview
    _start: int
    _end: int
    _stop: int
    _ref: BlockRef | None
    _has_owner: bool
    _record: _Record | None

    def __init__(
        self,
        memory: Buffer,
        *,
        meta: object = None,
        owner: object = None,
        on_release: Callable[[], object] | None = None,
    ) -> None:
        if type(memory) is bytearray:  # as nearly all are, and one is made for each receive
            view = memoryview(memory)
        else:
            view = flat(memory)
            if view.readonly:
                raise TypeError(f"a block must be writable; this {type(memory).__name__} is not")
        nbytes = view.nbytes
        if not 1 <= nbytes <= BLOCK_NBYTES_MAX:
            raise ValueError(f"a block has 1 to {BLOCK_NBYTES_MAX} bytes, not {nbytes}")
        self._record = None
        if on_release is not None:
            if not callable(on_release):
                raise TypeError(f"on_release is called; a {type(on_release).__name__} cannot be")
            view, self._record = leased(view, on_release)
        self._memory = view
        self._start = self._end = 0
        self._stop = nbytes
        self._ref = None if meta is None and owner is None else BlockRef(meta, owner)
        self._has_owner = False

    def __len__(self) -> int:
        return self._stop - self._start

    def __repr__(self) -> str:
        return f"<Block of {len(self)} bytes>"

    def _front(self, stop: int) -> memoryview:
        """Return what is filled up to `stop`, to be written to until it is shown.

        Whoever takes it moves `_start` to `stop`, once nothing can lack memory any more.
        """
        if stop > self._end:  # an interrupt broke the builder: never show what may be written
            raise RuntimeError("this builder was interrupted half-way; make a new one")
        return self._memory[self._start : stop]

    def _split(self, at: int) -> Block:
        """Return the room from offset `at` on as a block of its own.

        Whoever takes it moves `_stop` to `at`, once nothing can lack memory any more.
        """
        far: Block = object.__new__(Block)
        far._memory = self._memory
        far._start = far._end = at
        far._stop = self._stop
        far._ref = self._ref
        far._record = None
        far._has_owner = True
        return far


def cut_to_blocks(memory: bytearray) -> list[bytearray | memoryview]:
    """Return `memory` as what blocks can be made of: itself, or parts that are small enough.

    It is allocated whole before, so that the system says at once if that is too much.
    """
    if len(memory) <= BLOCK_NBYTES_MAX:
        return [memory] if memory else []
    whole = memoryview(memory)
    return [whole[at : at + BLOCK_NBYTES_MAX] for at in range(0, len(whole), BLOCK_NBYTES_MAX)]


def owned_block(memory: Buffer) -> Block:
    """Make a block that has its owner, quickly, of what this library knows to be fit for one."""
    block: Block = object.__new__(Block)
    block._memory = view = memoryview(memory)
    block._start = block._end = 0
    block._stop = view.nbytes
    block._ref = block._record = None
    block._has_owner = True
    return block


def check_block(block: Block) -> None:
    """Raise AssertionError if a law of this file is broken."""
    assert 0 <= block._start <= block._end <= block._stop, "Law 1"
    assert block._stop <= block._memory.nbytes, "a block longer than its memory"
    assert not block._memory.readonly, "a block that cannot be written"


def check_apart(blocks: Iterable[Block]) -> None:
    """Raise AssertionError if what is written to one block can be seen in another."""
    parts = sorted((address_of(block._memory) + block._start, len(block)) for block in blocks)
    for (start, nbytes), (following, _) in itertools.pairwise(parts):
        assert start + nbytes <= following, "two blocks have memory in common"
