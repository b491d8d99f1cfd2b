"""What can be asked of bytes that lie in several pieces: where, which part, equality, search.

Functions over a tuple of flat memoryviews, none of them empty. A *place* is the index of a piece
and an offset in it; whoever goes on from a place never pays for the pieces before it.

Law 1. Everything goes through the pieces once, however they are cut and however many hits there
       are, and stops where it knows the answer. `tests/test_growth.py` counts.
Law 2. Nothing joins all the pieces. A window at a time is copied, of 64 KiB or the length of what
       is sought, because the fast searches of CPython work on `bytes` only, and copying 64 KiB
       costs less than one comparison loop over a memoryview does for 64 bytes (equality of
       64 KiB: 169 µs by `memoryview.__eq__`, 3.5 µs by `tobytes().startswith`).
Law 3. Where windows begin and end depends on the number of bytes only, never on the cuts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

Pieces = tuple[memoryview, ...]

FIRST_WINDOW_NBYTES: Final = 256
"""How many bytes a search copies to begin with: a line of text is mostly shorter."""

WINDOW_NBYTES: Final = 65536
"""How many bytes are copied at a time: enough to forget the call, few enough for a cache."""


def place(pieces: Pieces, offset: int, index: int = 0) -> tuple[int, int]:
    """Return the place `offset` bytes behind the front of piece `index`."""
    while index < len(pieces) and offset >= pieces[index].nbytes:
        offset -= pieces[index].nbytes
        index += 1
    return index, offset


def parts(pieces: Pieces, index: int, offset: int, nbytes: int) -> Iterator[memoryview]:
    """Yield, piece by piece, the `nbytes` bytes from a place on; they are known to be there."""
    while nbytes > 0:
        piece = pieces[index]
        if offset or nbytes < piece.nbytes:
            piece = piece[offset : offset + nbytes]
        yield piece
        nbytes -= piece.nbytes
        index += 1
        offset = 0


def windows(
    run: Iterable[memoryview], nbytes: int, *, backwards: bool = False
) -> Iterator[bytes | memoryview]:
    """Yield the bytes of `run` in windows: the first of `nbytes`, then larger, up to 64 KiB.

    Only the last window may be shorter. Backwards, `run` comes from its last part to its first,
    and so do the windows; within each, bytes stand in their own order.
    """
    gathered: list[memoryview] = []
    missing = nbytes
    for part in run:
        while part.nbytes >= missing:
            if backwards:
                window, part = part[-missing:], part[:-missing]
            else:
                window, part = part[:missing], part[missing:]
            yield _joined([*gathered, window], backwards) if gathered else window
            gathered = []
            if nbytes < WINDOW_NBYTES:
                nbytes = min(2 * nbytes, WINDOW_NBYTES)
            missing = nbytes
        if part.nbytes:
            gathered.append(part)
            missing -= part.nbytes
    if gathered:
        yield _joined(gathered, backwards)


def _joined(gathered: list[memoryview], backwards: bool) -> bytes:
    return b"".join(reversed(gathered) if backwards else gathered)


def equal(left: Pieces, right: Pieces) -> bool:
    """Compare two sequences of the same length, however each is cut."""
    others = windows(right, WINDOW_NBYTES)
    return all(
        bytes(mine).startswith(other)  # as long as each other, by Law 3
        for mine, other in zip(windows(left, WINDOW_NBYTES), others, strict=True)
    )


def compare(left: Pieces, right: Pieces, nbytes: int) -> int:
    """Return -1, 0 or 1 as the first `nbytes` bytes of `left` come before, are or come behind."""
    mine = windows(parts(left, 0, 0, nbytes), FIRST_WINDOW_NBYTES)
    others = windows(parts(right, 0, 0, nbytes), FIRST_WINDOW_NBYTES)
    for one, other in zip(mine, others, strict=True):  # as long as each other, by Law 3
        one_copy, other_copy = bytes(one), bytes(other)
        if one_copy != other_copy:
            return -1 if one_copy < other_copy else 1
    return 0


def hits(run: Iterable[memoryview], sub: bytes) -> Iterator[int]:
    """Yield the offsets at which `sub`, which is not empty, is in `run`; none overlap."""
    at = 0
    tail = b""
    for window in windows(run, max(FIRST_WINDOW_NBYTES, len(sub))):
        haystack = tail + window
        start = 0
        while (found := haystack.find(sub, start)) >= 0:
            yield at + found
            start = found + len(sub)
        start = max(start, len(haystack) - len(sub) + 1)
        at += start
        tail = haystack[start:]


def rhits(run: Iterable[memoryview], sub: bytes, at: int) -> Iterator[int]:
    """Like `hits`, from the last hit to the first; so does `run` come, which ends at `at`."""
    head = b""
    for window in windows(run, max(FIRST_WINDOW_NBYTES, len(sub)), backwards=True):
        at -= len(window)
        haystack = bytes(window) + head
        stop = len(haystack)
        while (found := haystack.rfind(sub, 0, stop)) >= 0:
            yield at + found
            stop = found
        head = haystack[: min(stop, len(sub) - 1)]


def find(pieces: Pieces, sub: bytes, start: int, stop: int) -> int:
    """Return the lowest offset in [start, stop) at which `sub` begins and ends, or -1."""
    if stop - start < len(sub):
        return -1
    if not sub:
        return start
    found = next(hits(parts(pieces, *place(pieces, start), stop - start), sub), -1)
    return found if found < 0 else start + found


def rfind(pieces: Pieces, sub: bytes, start: int, stop: int) -> int:
    """Return the highest offset in [start, stop) at which `sub` begins and ends, or -1."""
    if stop - start < len(sub):
        return -1
    if not sub:
        return stop
    run = reversed(tuple(parts(pieces, *place(pieces, start), stop - start)))
    return next(rhits(run, sub, stop), -1)


def check_pieces(pieces: Pieces, nbytes: int) -> None:
    """Raise AssertionError unless these are read-only pieces of `nbytes` bytes, none empty."""
    assert all(piece.readonly for piece in pieces), "a piece that can be written through"
    assert all(piece.nbytes for piece in pieces), "an empty piece"
    assert all(piece.format == "B" and piece.ndim == 1 for piece in pieces), "items are not bytes"
    assert sum(piece.nbytes for piece in pieces) == nbytes, "the length is not the sum"
