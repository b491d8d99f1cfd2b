"""An input's bytes as choices, and what all targets judge by.

Law 1. A target is a function of its input's bytes and of nothing else: the same bytes, the same
       steps. So each finding can be played again, and is a test once it is in the corpus.
Law 2. Choices come from the front, and are 0 when there are no more. So a longer input goes on
       where a shorter one ended, which is how a fuzzer finds its way.
"""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from trio_bytesbuf import BytesView

T = TypeVar("T")

MEASURED_ONE_IN = 32
"""Of so many inputs the memory of one is measured, which takes five times as long."""

BASE_NBYTES = 1_048_576
"""What any input may take: caches of Python's and ours, a step of an inflation, an error's path."""


class Program:
    """Choices out of bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def byte(self) -> int:
        """Take one byte."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def pick(self, things: Sequence[T]) -> T:
        """Choose one of a few."""
        return things[self.byte() % len(things)]

    def index(self, count: int) -> int:
        """Choose a number from 0 to `count`, also if that is large."""
        return int.from_bytes((self.byte(), self.byte() if count > 255 else 0), "little") % (
            count + 1
        )

    def take(self, nbytes: int) -> bytes:
        """Take so many bytes, or what is left."""
        start = self._at
        self._at = min(start + nbytes, max(start, len(self._data)))
        return self._data[start : self._at]

    def rest(self) -> bytes:
        """Take all that is left."""
        return self.take(len(self._data))


def cut(wire: bytes, sizes: bytes) -> list[bytes]:
    """Return `wire` in parts of these sizes, in turn; a size of 0 is 1,000 bytes."""
    if not sizes:
        return [wire]
    parts, at, turn = [], 0, 0
    while at < len(wire):
        size = sizes[turn % len(sizes)] or 1000
        parts.append(wire[at : at + size])
        at += size
        turn += 1
    return parts


def in_pieces(data: bytes, sizes: bytes) -> BytesView:
    """Return a view of `data` in pieces of these sizes."""
    return BytesView.from_views(map(BytesView, cut(data, sizes)))


def within(nbytes: int, per_byte: int, call: Callable[[], T], seed: bytes) -> T:
    """Return what `call` does; of some inputs, see that it takes no more memory than it may.

    Args:
      nbytes: how many bytes came from the peer.
      per_byte: how many times as many bytes may be held at once for them, beside `BASE_NBYTES`.
      call: what is measured.
      seed: by which it is chosen which inputs are measured: the input.
    """
    if zlib.crc32(seed) % MEASURED_ONE_IN or tracemalloc.is_tracing():
        return call()
    tracemalloc.start()
    try:
        result = call()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    limit = BASE_NBYTES + per_byte * nbytes
    assert peak <= limit, f"{nbytes} bytes took {peak} of memory, where {limit} are allowed"
    return result
