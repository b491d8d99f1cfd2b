"""What one system call is given when many pieces are to be sent.

Law 1. The bytes of a plan are those of the pieces, in order; at each moment `buffers()` is a
       prefix of what is left.
Law 2. No call is given an empty buffer, or more than `IOV_MAX` of them.
Law 3. What is copied, to join small pieces, is at most `JOIN_ALL_NBYTES` if that is everything,
       else only pieces below `JOIN_BELOW_NBYTES`. Each buffer costs a call more than copying
       a small one does, and each piece costs Python a step of a loop.
Law 4. Pieces are looked at and joined when it is their turn, after all before them are sent: the
       copies that a plan holds are `JOIN_AHEAD_NBYTES` and one row of `JOIN_ALL_NBYTES` and a piece
       at the most, however long it is and however slow the peer.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..seq._pieces import Pieces

POSIX_IOV_MAX: Final = 16
"""What POSIX promises where the system does not say."""

IOV_MAX: Final[int] = os.sysconf("SC_IOV_MAX") if hasattr(os, "sysconf") else POSIX_IOV_MAX
"""How many buffers the system takes in one call."""

JOIN_ALL_NBYTES: Final = 16_384
"""Up to so many bytes in all, everything is joined: then no other way is quicker, whatever the
sizes of the pieces (`bench/join_or_gather.py`)."""

JOIN_BELOW_NBYTES: Final = 1024
"""In longer sends, pieces below this are joined with their neighbours: over a socket pair gathering
is quicker from 0.9 to 1.2 KiB on (`bench/join_or_gather.py`)."""

JOIN_AHEAD_NBYTES: Final = 262_144
"""After so many joined bytes, a call has enough: some 50 µs of work, and more than most sockets
take at once."""

MIN_STRETCH_PIECES: Final = JOIN_AHEAD_NBYTES // JOIN_BELOW_NBYTES
MAX_STRETCH_PIECES: Final = 4096
"""How many pieces are looked at for one call: so many that the call is little beside looking at
them, and not so many, however small they are, that it takes long: some 50 ns for each."""


@attrs.define(eq=False)
class SendPlan:
    """The pieces that are still to be sent, small neighbours joined.

    Args:
      pieces: what to send; none of them is empty.
      nbytes: how much that is in all.
    """

    _pieces: Pieces
    _nbytes: int
    _at: int = attrs.field(init=False, default=0)
    """How many of the pieces have been made into buffers."""

    _ready: deque[bytes | memoryview] = attrs.field(init=False, factory=deque)
    """Buffers that are still to be sent."""

    joined_nbytes: int = attrs.field(init=False, default=0)
    """How many bytes the last call of `buffers` has copied, to join them."""

    def __bool__(self) -> bool:
        return bool(self._ready) or self._at < len(self._pieces)

    def buffers(self) -> list[bytes | memoryview]:
        """Return the buffers for the next call, none if all is sent."""
        self.joined_nbytes = 0
        if not self._ready:
            self._make_ready()
        return list(self._ready)

    def advance(self, nbytes: int) -> None:
        """Drop what was sent: the first `nbytes` bytes, which need not end where a buffer does."""
        ready = self._ready
        while nbytes:
            first = ready[0]
            if nbytes < len(first):
                ready[0] = memoryview(first)[nbytes:]
                return
            nbytes -= len(first)
            ready.popleft()

    def _make_ready(self) -> None:
        """Make buffers for one call out of the next pieces. (Laws 2 and 4)"""
        pieces = self._pieces
        count = len(pieces)
        if self._at == count:
            return
        if count == 1 or self._nbytes <= JOIN_ALL_NBYTES:
            self._join(pieces)
            return
        most = MIN_STRETCH_PIECES
        if count > most:
            mean_count = JOIN_AHEAD_NBYTES * count // self._nbytes
            most = min(max(mean_count, most), MAX_STRETCH_PIECES)
        stretch = pieces[self._at : self._at + most]
        largest = max(map(len, stretch))
        if largest >= JOIN_BELOW_NBYTES:
            self._add(stretch)
            return
        stretch = stretch[: JOIN_AHEAD_NBYTES // largest]
        step = JOIN_ALL_NBYTES // largest
        for at in range(0, len(stretch), step)[:IOV_MAX]:  # and not piece by piece, in Python
            self._join(stretch[at : at + step])

    def _add(self, stretch: Pieces) -> None:
        """Make buffers of pieces, not all of which are small, as long as there is room."""
        ready = self._ready
        row: list[memoryview] = []
        row_nbytes = 0
        for piece in stretch:
            nbytes = piece.nbytes
            if row:
                if nbytes < JOIN_BELOW_NBYTES and row_nbytes < JOIN_ALL_NBYTES:
                    row.append(piece)
                    row_nbytes += nbytes
                    continue
                self._join(row)
                row = []
                if self.joined_nbytes >= JOIN_AHEAD_NBYTES:
                    return
            if len(ready) == IOV_MAX:
                return
            if nbytes < JOIN_BELOW_NBYTES:
                row.append(piece)
                row_nbytes = nbytes
            else:
                ready.append(piece)
                self._at += 1
        if row:
            self._join(row)

    def _join(self, row: Sequence[memoryview]) -> None:
        """Make one buffer of the next pieces, which are `row`."""
        if len(row) > 1:
            joined = b"".join(row)
            self.joined_nbytes += len(joined)
            self._ready.append(joined)
        else:
            self._ready.extend(row)
        self._at += len(row)
