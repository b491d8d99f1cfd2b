"""What one system call is given when many pieces are to be sent.

Law 1. The bytes of a plan are those of the pieces, in order; at each moment `buffers()` is a
       prefix of what is left.
Law 2. No call is given an empty buffer, or more than `IOV_MAX` of them.
Law 3. What is copied, to join small pieces, is at most `JOIN_ALL_NBYTES` if that is everything,
       else only pieces below `JOIN_BELOW_NBYTES`. Each buffer costs a call more than copying
       a small one does, and each piece costs Python a step of a loop.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
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


@attrs.define(eq=False)
class SendPlan:
    """The pieces that are still to be sent, small neighbours joined."""

    _left: deque[bytes | memoryview]
    joined_nbytes: int = 0
    """How many bytes were copied to join them."""

    @classmethod
    def of(cls, pieces: Pieces, nbytes: int) -> SendPlan:
        """Make a plan for sending `pieces`, `nbytes` bytes in all; none of them is empty."""
        if len(pieces) < 2:
            return cls(deque(pieces))
        if nbytes <= JOIN_ALL_NBYTES:
            return cls(deque((b"".join(pieces),)), nbytes)
        largest = max(map(len, pieces))
        if largest < JOIN_BELOW_NBYTES:  # no loop in Python: a thousand small pieces are common
            step = JOIN_ALL_NBYTES // largest
            rows = [pieces[at : at + step] for at in range(0, len(pieces), step)]
            return cls(deque(map(b"".join, rows)), nbytes)
        plan = cls(deque())
        row: list[memoryview] = []
        row_nbytes = 0
        for piece in pieces:
            if piece.nbytes >= JOIN_BELOW_NBYTES:
                plan._add(row)
                plan._left.append(piece)
                row, row_nbytes = [], 0
                continue
            row.append(piece)
            row_nbytes += piece.nbytes
            if row_nbytes >= JOIN_ALL_NBYTES:  # a long row of small pieces is joined in steps
                plan._add(row)
                row, row_nbytes = [], 0
        plan._add(row)
        return plan

    def _add(self, row: list[memoryview]) -> None:
        if len(row) > 1:
            joined = b"".join(row)
            self.joined_nbytes += len(joined)
            self._left.append(joined)
        else:
            self._left.extend(row)

    def __bool__(self) -> bool:
        return bool(self._left)

    def buffers(self) -> list[bytes | memoryview]:
        """Return the buffers for the next call."""
        return list(itertools.islice(self._left, IOV_MAX))

    def advance(self, nbytes: int) -> None:
        """Drop what was sent: the first `nbytes` bytes, which need not end where a buffer does."""
        left = self._left
        while nbytes:
            first = left[0]
            if nbytes < len(first):
                left[0] = memoryview(first)[nbytes:]
                return
            nbytes -= len(first)
            left.popleft()
