"""What can be asked of bytes that lie in several pieces: equality and search.

Functions over a tuple of flat memoryviews, none of them empty. Nothing here joins all the
pieces: at most `WINDOW_NBYTES` are copied at a time, because the fast searches of CPython
work on `bytes` only, and copying 64 KiB costs less than one comparison loop over a memoryview
does for 64 bytes (equality of 64 KiB: 169 µs by `memoryview.__eq__`, 3.5 µs by
`tobytes().startswith`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

Pieces = tuple[memoryview, ...]

WINDOW_NBYTES: Final = 65536
"""How many bytes are copied at a time: enough to forget the call, few enough for a cache."""


def cut(pieces: Pieces, start: int, stop: int) -> Iterator[tuple[int, memoryview]]:
    """Yield (index of the piece, its part) for the bytes from `start` to `stop`."""
    for index, piece in enumerate(pieces):
        nbytes = piece.nbytes
        if start < nbytes:
            yield index, piece[start:stop] if start or stop < nbytes else piece
        start = start - nbytes if start > nbytes else 0
        stop -= nbytes
        if stop <= 0:
            return


def windows(pieces: Pieces) -> Iterator[memoryview]:
    """Yield the pieces again, the long ones cut, so that none is over `WINDOW_NBYTES`."""
    for piece in pieces:
        if piece.nbytes <= WINDOW_NBYTES:
            yield piece
        else:
            for start in range(0, piece.nbytes, WINDOW_NBYTES):
                yield piece[start : start + WINDOW_NBYTES]


def equal(left: Pieces, right: Pieces) -> bool:
    """Compare two sequences of the same length, however each is cut."""
    others = windows(right)
    other = memoryview(b"")
    for piece in windows(left):
        mine = piece.tobytes()
        start = 0
        while start < len(mine):
            if not other.nbytes:
                other = next(others)
            nbytes = min(len(mine) - start, other.nbytes)
            if not mine.startswith(other[:nbytes], start):
                return False
            start += nbytes
            other = other[nbytes:]
    return True


def find(pieces: Pieces, sub: bytes, start: int, stop: int) -> int:
    """Return the lowest offset in [start, stop) at which `sub` begins and ends, or -1."""
    if stop - start < len(sub):
        return -1
    if not sub:
        return start
    overlap = len(sub) - 1
    tail = b""
    at = start
    for window in windows(tuple(part for _, part in cut(pieces, start, stop))):
        haystack = tail + window.tobytes()
        found = haystack.find(sub)
        if found >= 0:
            return at - len(tail) + found
        at += window.nbytes
        tail = haystack[-overlap:] if overlap else b""
    return -1


def rfind(pieces: Pieces, sub: bytes, start: int, stop: int) -> int:
    """Return the highest offset in [start, stop) at which `sub` begins and ends, or -1."""
    if stop - start < len(sub):
        return -1
    if not sub:
        return stop
    overlap = len(sub) - 1
    head = b""
    at = stop
    parts = tuple(part for _, part in cut(pieces, start, stop))
    for window in reversed(tuple(windows(parts))):
        at -= window.nbytes
        haystack = window.tobytes() + head
        found = haystack.rfind(sub)
        if found >= 0:
            return at + found
        head = haystack[:overlap]
    return -1


def check_pieces(pieces: Pieces, nbytes: int) -> None:
    """Raise AssertionError unless these are read-only pieces of `nbytes` bytes, none empty."""
    assert all(piece.readonly for piece in pieces), "a piece that can be written through"
    assert all(piece.nbytes for piece in pieces), "an empty piece"
    assert all(piece.format == "B" and piece.ndim == 1 for piece in pieces), "items are not bytes"
    assert sum(piece.nbytes for piece in pieces) == nbytes, "the length is not the sum"
