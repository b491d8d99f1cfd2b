"""Any `Buf` as a binary file: for `gzip`, `zipfile`, `csv` and everything else that reads files."""

from __future__ import annotations

import abc
import io
import operator
from typing import TYPE_CHECKING, Final, SupportsIndex

from ._flat import flat_writable

if TYPE_CHECKING:
    from ._buf import Buf
    from ._flat import Buffer

FIRST_LINE_NBYTES: Final = 256
"""How many bytes are looked at for the end of a line to begin with; most lines are shorter."""


class BinaryFile(io.BufferedIOBase):
    """What a binary file does that is read, told by what a `Buf` does."""

    __slots__ = ()

    @property
    @abc.abstractmethod
    def _buf(self) -> Buf:
        """What is read; raises ValueError if the file is closed."""

    def _count(self, size: SupportsIndex | None) -> int:
        count = -1 if size is None else operator.index(size)  # first: it may do anything with us
        left = self._buf.remaining()
        return left if count < 0 else min(count, left)

    def readable(self) -> bool:
        """Say that this file can be read."""
        return self._buf is not None  # or it is closed, and this raises

    def read(self, size: SupportsIndex | None = -1, /) -> bytes:
        """Return a copy of at most `size` bytes, of all that is left if it is negative or None."""
        return self._buf._take_bytes(self._count(size))

    def read1(self, size: SupportsIndex = -1, /) -> bytes:
        """Return a copy of at most `size` bytes, and of the current piece only."""
        count = self._count(size)
        return self._buf._take_bytes(min(count, self._buf.chunk().nbytes))

    def peek(self, size: SupportsIndex = 0, /) -> bytes:  # noqa: ARG002  # files take it as a hint
        """Return a copy of what is left of the current piece without moving; b"" at the end.

        This is the file's method, for `pickle` and its kin, which may get less or more than
        `size` from it; `peek_view` of a `Buf` gives what was asked for.
        """
        return self._buf.chunk()[: io.DEFAULT_BUFFER_SIZE].tobytes()

    def readinto(self, target: Buffer, /) -> int:
        """Copy into `target` and return how many bytes that were: 0 only at the end."""
        room = flat_writable(target)
        room = room[: self._count(room.nbytes)]
        self._buf._copy(room)
        return room.nbytes

    def readinto1(self, target: Buffer, /) -> int:
        """Copy into `target` from the current piece only; else like `readinto`."""
        return self.readinto(flat_writable(target)[: self._buf.chunk().nbytes])

    def readline(self, size: SupportsIndex | None = -1, /) -> bytes:
        """Return a copy of the bytes up to and with the next newline, at most `size`."""
        left = self._count(size)
        buf = self._buf
        parts: list[bytes] = []
        window = FIRST_LINE_NBYTES
        while left:
            near = buf.chunk()[: min(left, window)].tobytes()
            if not near:
                buf._chunk_of_some()  # which says what is wrong with this Buf
            end = near.find(b"\n") + 1
            part = near[:end] if end else near
            buf.advance(len(part))
            if end and not parts:  # the common case: a short line, all in one piece
                return part
            parts.append(part)
            if end:
                break
            left -= len(part)
            window *= 2
        return b"".join(parts)
