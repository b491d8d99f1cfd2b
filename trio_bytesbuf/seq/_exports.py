"""Pieces of views as `PickleBuffer`s, on interpreters whose collector mistreats them.

Before CPython 3.13 the cyclic collector crashes on garbage in which a memoryview is itself the
exporter of something, and a `PickleBuffer` of a piece (or whatever is made of it, in a pickle's
callback, in a queue) makes it one. So there each such piece is referred to from here, which
keeps it out of any garbage, until it exports nothing any more. Nobody tells us when that is:
`memoryview.release` refuses as long as it does, so it is asked again now and then.
"""

from __future__ import annotations

import sys
from collections import deque
from pickle import PickleBuffer
from typing import Final

_COLLECTOR_IS_SAFE: Final = sys.version_info >= (3, 13)
_exporting: Final[deque[memoryview]] = deque()


def pickle_buffer_of(piece: memoryview) -> PickleBuffer:
    """Return `piece` as a buffer for pickles, without copying it."""
    if _COLLECTOR_IS_SAFE:
        return PickleBuffer(piece)
    forget_what_exports_nothing()
    kept = piece[:]
    buffer = PickleBuffer(kept)
    _exporting.append(kept)
    return buffer


def forget_what_exports_nothing() -> None:
    """Let go of the memory of pickles that are gone. Cost: a look at each that is not."""
    for _ in range(len(_exporting)):
        try:
            kept = _exporting.popleft()
        except IndexError:  # another thread looks as well
            return
        try:
            kept.release()
        except BufferError:
            _exporting.append(kept)
