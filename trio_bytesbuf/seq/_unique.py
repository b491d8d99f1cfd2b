"""Whether nobody else can see some memory: by CPython's counts, as `_proof` explains.

    view ── tuple ── piece ──> managed buffer ──> bytearray <── a pool's shelf, perhaps

Law 1. Memory is somebody's alone if each arrow to it is known: the tuple is referred to by the view
       only, a piece by the tuple only, the managed buffer by these pieces only, and the
       bytearray by that managed buffer, and by as many shelves as say so (`keepers`).
Law 2. Only bytearrays are ever called alone: what else exports memory may have other users
       that no count shows, in another process or in C.
Law 3. The count of an object is asked before who keeps it: a pool that forgets the object in
       between, in another thread, must not make us subtract a reference that was not counted.
Law 4. Pieces that lie on each other see one another, so they are not alone.
Law 5. Whatever else refers to one of them (a debugger, a profiler) makes the answer no,
       which costs a copy and never a byte.
"""

from __future__ import annotations

import gc
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from sys import getrefcount
from typing import Any, Final, Protocol

from ._proof import FREE_THREADED, REFERENCES_TO_A_LONE_EXPORTER, address_of

keepers: Final[list[Callable[[bytearray], int]]] = []
"""Say how often they refer to a bytearray only to lend it out when nobody else sees it."""


class _HasPieces(Protocol):
    _pieces: tuple[memoryview, ...]


class _HasMemory(Protocol):
    _memory: memoryview


def _kept(exporter: Any) -> int:
    return sum(keeper(exporter) for keeper in keepers)


def _counts_of_view(view: _HasPieces) -> list[tuple[int, int, int, int]]:
    """Return for each piece how often the tuple, it, its managed buffer and exporter are known."""
    pieces = view._pieces
    slices = Counter(id(gc.get_referents(piece)[0]) for piece in pieces)
    buffers = Counter(
        exporter for exporter, _ in {(id(p.obj), id(gc.get_referents(p)[0])) for p in pieces}
    )
    counts = []
    exporter: Any
    for index in range(len(pieces)):  # an iterator would be one more that refers to the tuple
        piece = pieces[index]
        counts.append(
            (
                getrefcount(view._pieces),
                getrefcount(pieces[index]),
                getrefcount(managed := gc.get_referents(piece)[0]) - slices[id(managed)],
                getrefcount(exporter := piece.obj) - buffers[id(exporter)] - _kept(exporter),
            )
        )
        del managed, exporter
    return counts


def _counts_of_block(block: _HasMemory) -> tuple[int, int, int]:
    """Return how often the block's memoryview, its managed buffer and its exporter are known.

    `_kept` costs a look at each block of each pool, so it is not asked if the answer is no already.
    """
    memory = block._memory
    exporter: Any
    first = getrefcount(block._memory)
    second = getrefcount(gc.get_referents(memory)[0])
    if second > _LONE:
        return first, second, 0
    return first, second, getrefcount(exporter := memory.obj) - _kept(exporter)


# Law 1. What an arrow leads to has its one reference, or a variable's in place of those that
# were subtracted; and that of a variable beside it where the functions above have one.
_LONE: Final = REFERENCES_TO_A_LONE_EXPORTER
_OF_VIEW: Final = (_LONE + 1, _LONE + 1, _LONE, _LONE)
_OF_BLOCK: Final = (_LONE + 1, _LONE, _LONE + 1)


def is_unique(view: _HasPieces) -> bool:
    """Say whether nobody but `view` can see the memory of its pieces."""
    if any(type(piece.obj) is not bytearray for piece in view._pieces) or FREE_THREADED:
        return False
    alone = all(counts == _OF_VIEW for counts in _counts_of_view(view))
    return alone and _are_apart(view._pieces)


def _are_apart(pieces: Sequence[memoryview]) -> bool:
    parts = sorted((address_of(piece), piece.nbytes) for piece in pieces)
    return all(at + nbytes <= after for (at, nbytes), (after, _) in itertools.pairwise(parts))


def is_alone(block: _HasMemory) -> bool:
    """Say whether nobody but `block` can see any of the memory that it is, or was cut from."""
    if FREE_THREADED or type(block._memory.obj) is not bytearray:
        return False
    return _counts_of_block(block) == _OF_BLOCK


def writable_pieces(pieces: Sequence[memoryview]) -> Iterator[memoryview]:
    """Yield the same stretches of their bytearrays, to be written to."""
    for piece in pieces:
        whole = memoryview(piece.obj)
        start = address_of(piece) - address_of(whole)
        yield whole[start : start + piece.nbytes]


def joined(left: memoryview, right: memoryview) -> memoryview | None:
    """Return one memoryview of two if they are adjacent and it can be had, or else None."""
    exporter: Any = left.obj
    if right.obj is not exporter or left.readonly != right.readonly:
        return None
    if type(exporter) is not bytearray and type(exporter) is not bytes:
        return None
    address = address_of(left)
    if address + left.nbytes != address_of(right):
        return None
    whole = memoryview(exporter)
    start = address - address_of(whole)
    both = whole[start : start + left.nbytes + right.nbytes]
    return both.toreadonly() if left.readonly else both
