"""Pieces of views as `PickleBuffer`s: not copied, not the end of the process, and known again.

A `PickleBuffer` of a memoryview makes that memoryview an exporter:

    PickleBuffer ─────────────────────┐
    view, slice ──> managed buffer ───┴──> exported slice ──> managed buffer ──> our block

Before CPython 3.13 the cyclic collector cannot cope with that. It clears an exported slice that is
garbage as if it exported nothing; whatever shows it lets go of it afterwards, through a null
pointer. So a list with a pickle's buffers that refers to itself ends the process.

Law 1. Where the collector is like that, an exported slice is never garbage while it exports:
       `_EXPORTED` refers to it, and lives until the process is gone. (Modules are cleared before.)
Law 2. It is forgotten when its reference count proves that nobody else refers to it: who
       shows memory refers to its exporter. As in a pool, nobody says when; it is asked.
Law 3. What is exported is a slice made for it, never a piece of a view: whoever has the buffer can
       reach its exporter, and release that.
Law 4. A buffer whose exporter *is* one of the slices, alive, shows a piece of a view we know;
       so what was said of that piece is true of it. Of any other memory nothing is known.

It is asked (Law 2) when more is pickled, when the oldest generation was collected, and when a pool
is about to make a block or counts what it has. From 3.13 on nothing is kept and so nothing asked.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import weakref
from collections.abc import Iterable, Iterator
from pickle import PickleBuffer
from sys import getrefcount
from typing import TYPE_CHECKING, Final

from ._proof import REFERENCES_TO_A_LONE_EXPORTER

if TYPE_CHECKING:
    from ._block import BlockRef

COLLECTOR_IS_SAFE: Final = sys.version_info >= (3, 13)
"""Whether exported memoryviews may be garbage; `tests/test_pickling.py` asks the interpreter."""

BUFFER_NBYTES_MAX: Final = 64 * 1_048_576
"""The most bytes that go as one buffer. Dask cuts longer ones there, and copies all of what it cut
when it puts it together again, as an array wants it; a view is content with several pieces."""

LOOKS: Final = 16
"""How many slices each request to forget some may look at, on average, at 0.08 µs a look: about
what a new block of 64 KiB costs. A guess."""

OLDEST_GENERATION: Final = 2


class _Exported(weakref.ref[memoryview]):
    """A slice that went into a `PickleBuffer`, and what is known of its memory (Law 4)."""

    __slots__ = ("block_ref", "kept", "key")
    key: int
    block_ref: BlockRef | None
    kept: memoryview | None
    """The slice itself where the collector wants it (Law 1)."""


_EXPORTED: Final[dict[int, _Exported]] = {}
_looks_saved: list[int] = [0]

ctypes.pythonapi.Py_IncRef(ctypes.py_object(_EXPORTED))  # Law 1: never given back

_LONE: Final = REFERENCES_TO_A_LONE_EXPORTER + 1
"""What `getrefcount` says of a slice that only its entry and a variable of ours refer to."""


def _gone(entry: _Exported, *, table: dict[int, _Exported] = _EXPORTED) -> None:
    table.pop(entry.key, None)


def pickle_buffers_of(
    pieces: Iterable[memoryview], refs: Iterable[BlockRef | None]
) -> Iterator[PickleBuffer]:
    """Yield the bytes of `pieces` as buffers for a pickle, without copying them.

    `refs` has what is said of each piece's memory; views unpickled in this process say it too.
    """
    forget_some()
    for piece, ref in zip(pieces, refs, strict=True):
        for start in range(0, piece.nbytes, BUFFER_NBYTES_MAX):
            part = piece[start : start + BUFFER_NBYTES_MAX]
            entry = _Exported(part, _gone)
            entry.key = id(part)
            entry.block_ref = ref
            entry.kept = None if COLLECTOR_IS_SAFE else part
            _EXPORTED[entry.key] = entry
            yield PickleBuffer(part)


def as_exported(buffer: memoryview) -> tuple[memoryview, BlockRef | None] | None:
    """Return a piece and its ref if `buffer` shows a piece of a view of this process (Law 4).

    `buffer` is flat. The piece has the exporter that the view's piece had, unless `buffer` is
    only a part of what was pickled.
    """
    exporter = buffer.obj
    entry = _EXPORTED.get(id(exporter))
    if entry is None or entry() is not exporter or not isinstance(exporter, memoryview):
        return None
    whole = buffer.nbytes == exporter.nbytes
    return (exporter[:] if whole else buffer), entry.block_ref


def forget_some() -> None:
    """Let go of the memory of pickles that are gone, unless that took too long now.

    Cost: nothing if there are no pickles; else `LOOKS` looks on average.
    """
    if _EXPORTED and not COLLECTOR_IS_SAFE:
        _looks_saved[0] += LOOKS
        if _looks_saved[0] >= len(_EXPORTED):
            forget_what_exports_nothing()


def forget_what_exports_nothing() -> None:
    """Let go of the memory of pickles that are gone. Cost: a look at each that is not."""
    if COLLECTOR_IS_SAFE:
        return
    _looks_saved[0] = 0
    for key in list(_EXPORTED):
        entry = _EXPORTED.get(key)
        part = None if entry is None else entry.kept
        if entry is not None and part is not None and getrefcount(entry.kept) == _LONE:
            # `part` is still referred to from here, so its identity is nobody else's yet.
            _EXPORTED.pop(key, None)


def _after_collection(phase: str, info: dict[str, int]) -> None:
    if phase == "stop" and info["generation"] == OLDEST_GENERATION:
        forget_what_exports_nothing()


def check_exports() -> None:
    """Raise AssertionError if a law of this file is broken."""
    for key, entry in _EXPORTED.copy().items():
        part = entry()
        assert part is None or id(part) == entry.key == key, "Law 4: a slice under another's name"
        assert COLLECTOR_IS_SAFE or entry.kept is part, "Law 1: an exported slice may be garbage"
        assert part is None or part.readonly, "memory of a view that can be written"


if not COLLECTOR_IS_SAFE:
    gc.callbacks.append(_after_collection)
