"""What passed through streams that come and go: counts that outlive them.

Law 1. No count ever falls: a stream that leaves leaves its counts behind.
Law 2. A stream is in at most once, so nothing is counted twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from ._descriptor import DescriptorStream


@attrs.frozen
class Totals:
    """What passed through all streams of a tally so far."""

    received_nbytes: int = 0
    sent_nbytes: int = 0
    copied_nbytes: int = 0


@attrs.define(eq=False)
class StreamTally:
    """The streams that are counted together, and what those that have left had counted."""

    _open: set[DescriptorStream] = attrs.field(init=False, factory=set)
    _left: Totals = attrs.field(init=False, factory=Totals)

    def add(self, stream: DescriptorStream) -> None:
        """Count `stream` from now on, with what passed through it before."""
        self._open.add(stream)

    def leave(self, stream: DescriptorStream) -> None:
        """Refer to `stream` no longer; what passed through it stays counted."""
        self._left = self._with([stream])
        self._open.remove(stream)

    def leave_closed(self) -> None:
        """Refer no longer to streams that were closed: nothing more passes through them."""
        for stream in [stream for stream in self._open if stream.fileno() == -1]:
            self.leave(stream)

    def totals(self) -> Totals:
        """Return what passed through all of them so far. Cost: a look at each that is open."""
        return self._with(self._open)

    def _with(self, streams: set[DescriptorStream] | list[DescriptorStream]) -> Totals:
        counts = [stream.statistics() for stream in streams]
        return Totals(
            self._left.received_nbytes + sum(one.received_nbytes for one in counts),
            self._left.sent_nbytes + sum(one.sent_nbytes for one in counts),
            self._left.copied_nbytes + sum(one.copied_nbytes for one in counts),
        )
