"""How much to ask for: more when the last receive was full, less when the last two were small."""

from __future__ import annotations

from typing import Final

import attrs

SIZES: Final = (16_384, 65_536, 262_144)
"""What a stream asks for, in steps. The first costs no pooled block; the others are sizes of pooled
blocks. Over 256 KiB nothing is gained (`bench/receive.py`), as a receive then leaves the cache. On
some machines it does so from 64 KiB on; but what is done with the bytes, frames or a relay, was
quicker with 256 KiB on all (docs/costs.md)."""

PLAIN_RECEIVE_NBYTES: Final = 65_536
"""What `receive_some` asks for at most if it is not told, as trio's does. The allocator maps and
unmaps a larger `bytes` each time: 8 µs for a receive of 100 bytes."""

SMALL_RECEIVES: Final = 2
"""After so many receives in a row that would have fitted the step below, the size goes down."""


@attrs.define(eq=False)
class ReceiveSize:
    """The size of the next receive, for one stream."""

    _sizes: tuple[int, ...]
    nbytes: int
    _step: int = attrs.field(init=False, default=0)
    _small: int = attrs.field(init=False, default=0)

    @classmethod
    def up_to(cls, cap_nbytes: int) -> ReceiveSize:
        """Begin with little; never ask for more than `cap_nbytes`."""
        sizes = (*(size for size in SIZES if size < cap_nbytes), cap_nbytes)
        return cls(sizes, sizes[0])

    def received(self, nbytes: int, asked: int) -> None:
        """Learn from a receive that got `nbytes` of the `asked` bytes there was room for."""
        if nbytes >= self.nbytes:
            self._small = 0
            if self._step < len(self._sizes) - 1:
                self._go(self._step + 1)
        elif nbytes == asked or not self._step or nbytes > self._sizes[self._step - 1]:
            self._small = 0
        else:
            self._small += 1
            if self._small == SMALL_RECEIVES:
                self._small = 0
                self._go(self._step - 1)

    def _go(self, step: int) -> None:
        self._step = step
        self.nbytes = self._sizes[step]
