"""What is no `Buf` but holds bytes: `as_buf`, for bytes, views, deques of chunks and files.

Law 1. A `ChunksBuf` has read what is before `_front`'s place in the first chunk of its deque; a
       chunk leaves the deque when its last byte is read. `_known` chunks of the deque have been
       counted into `_nbytes`; those appended later are behind them.
Law 2. A `FileBuf` stands at `_place`; `_ahead` is what the file has from there on, and the file
       itself stands behind that.
"""

from __future__ import annotations

import io
import os
from collections import deque
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, SupportsIndex, TypeAlias

from .._errors import UnexpectedEof
from ._buf import Buf
from ._flat import count_of
from ._numbers_put import PutNumbers
from ._reader import BytesReader
from ._view import BytesView

if TYPE_CHECKING:
    from ._flat import Buffer

    Source: TypeAlias = Buf | Buffer | deque[Any] | IO[bytes] | "Readable"

AHEAD_NBYTES: Final = 65536
"""How much of a file is read at a time: as much as a block of the pool."""


def as_buf(source: Source) -> Buf:
    """Return a `Buf` that reads `source`, whatever kind of holder of bytes that is.

    Args:
      source: a `Buf`, which is returned itself; a view, or any contiguous buffer, which stays as
        it is; a deque of such, which is emptied by reading (`ChunksBuf`); or a binary file that
        can be moved about in, read from where it stands (`FileBuf`).

    Raises:
      TypeError: it is none of these. Text is refused: encode it.
      io.UnsupportedOperation: a file that cannot be read, or cannot be moved about in.

    Cost: no copy, but what a file reads.

    Example:
      >>> as_buf(b"\\x01\\x02").get_u16_be(), as_buf(deque([b"\\x01", b"\\x02"])).get_u16_be()
      (258, 258)
    """
    if isinstance(source, Buf):
        return source
    if isinstance(source, deque):
        return ChunksBuf(source)
    if isinstance(source, BytesView):
        return BytesReader(source)
    if isinstance(source, PutNumbers):
        way = "; consume_all() of it can be read" if hasattr(source, "consume_all") else ""
        raise TypeError(f"a {type(source).__name__} is written to{way}")
    try:
        return BytesReader(BytesView(source))  # type: ignore[arg-type]  # found out by trying
    except TypeError:
        if not hasattr(source, "seek"):
            raise
    return FileBuf(source)  # type: ignore[arg-type]


class ChunksBuf(Buf):
    """Reads a deque of chunks from the left, and drops each from the deque when it is all read.

    Args:
      chunks: views, or contiguous buffers. More may be appended at the right at any time.

    Raises:
      TypeError: `chunks` is no deque, or one of them exports no buffer (found out when it is
        counted: here, or after it was appended).
      ValueError: the deque has a `maxlen`.
      RuntimeError: later, by any method: somebody else has taken chunks out.

    Cost: each chunk is counted once; nothing is copied.

    Idea: `Buf` for `VecDeque<u8>` in the Rust crate bytes, by chunks.
    """

    __slots__ = ("_chunks", "_front", "_known", "_nbytes")

    def __init__(self, chunks: deque[Any]) -> None:
        if not isinstance(chunks, deque):
            raise TypeError(f"a deque is wanted, not {type(chunks).__name__}")
        if chunks.maxlen is not None:
            raise ValueError(f"a deque of at most {chunks.maxlen} chunks drops some unread")
        self._chunks = chunks
        self._front = BytesReader(b"")
        self._known = self._nbytes = 0
        self._count()

    def __repr__(self) -> str:
        return f"<ChunksBuf of {self.remaining()} bytes in {len(self._chunks)} chunks>"

    def _count(self) -> None:
        """Look at what is new in the deque: count it, and have `_front` read the first chunk."""
        chunks = self._chunks
        if len(chunks) == self._known:
            return
        if len(chunks) < self._known:
            raise RuntimeError("somebody else has taken chunks out of this deque")
        new = list(islice(reversed(chunks), len(chunks) - self._known))
        self._nbytes += sum(len(_view_of(chunk)) for chunk in new)
        was_empty = not self._known
        self._known = len(chunks)
        if was_empty:
            self._begin()

    def _begin(self) -> None:
        """Read the first chunk that is not empty; drop those before it."""
        while self._known:
            self._front = BytesReader(_view_of(self._chunks[0]))
            if self._front.remaining():
                return
            self._chunks.popleft()
            self._known -= 1
        self._front = BytesReader(b"")

    def remaining(self) -> int:
        """Return how many bytes are left in all chunks."""
        self._count()
        return self._nbytes

    def chunk(self) -> memoryview:
        """Return what is left of the first chunk, as much of it as lies together."""
        self._count()
        return self._front.chunk()

    def advance(self, nbytes: SupportsIndex) -> None:
        """Move `nbytes` bytes on, and drop the chunks that were left behind.

        Raises:
          NotEnoughBytes: there are fewer; nothing has moved.
          TypeError, ValueError: `nbytes` is no integer, or negative.
        """
        missing = self._wanted(nbytes)
        while missing:
            step = min(missing, self._front.remaining())
            self._front.advance(step)
            self._nbytes -= step
            missing -= step
            if not self._front.remaining():
                self._chunks.popleft()
                self._known -= 1
                self._begin()

    def _parts(self, nbytes: int) -> list[BytesView]:
        """Return views of the next `nbytes` bytes, which are there."""
        parts = [self._front.peek_view(min(nbytes, self._front.remaining()))]
        nbytes -= len(parts[0])
        for chunk in islice(self._chunks, 1, None):
            if not nbytes:
                break
            parts.append(_view_of(chunk)[:nbytes])
            nbytes -= len(parts[-1])
        return parts

    def chunks_vectored(self, max_chunks: SupportsIndex | None = None) -> tuple[memoryview, ...]:
        """Return everything that is left as memoryviews, or the first `max_chunks` of them."""
        count = None if max_chunks is None else count_of(max_chunks, "max_chunks")
        left = self.remaining()
        if count is None:
            return BytesView.from_views(self._parts(left)).pieces
        shown: list[memoryview] = list(self._front.chunks_vectored(count)) if left else []
        for chunk in islice(self._chunks, 1, None):
            if len(shown) >= count:
                break
            shown += _view_of(chunk).pieces
        return tuple(shown[:count])

    def take(self, nbytes: SupportsIndex) -> BytesView:
        """Return a view of the next `nbytes` bytes and move behind them. Cost: no copy."""
        view = self.peek_view(nbytes)
        self.advance(len(view))
        return view

    def peek_view(self, nbytes: SupportsIndex) -> BytesView:
        """Return a view of the next `nbytes` bytes without moving. Cost: no copy."""
        return BytesView.from_views(self._parts(self._wanted(nbytes)))

    def _peek_bytes(self, nbytes: SupportsIndex, /) -> bytes:
        return self.peek_view(nbytes).to_bytes()

    def into_inner(self) -> deque[Any]:
        """Return the deque with what is not read, and nothing else, in it; then read no more."""
        if self.remaining():
            self._chunks[0] = self._front.take_rest()
        chunks, self._chunks = self._chunks, deque()
        self._known = self._nbytes = 0
        self._begin()
        return chunks


def _view_of(chunk: Buffer) -> BytesView:
    return chunk if isinstance(chunk, BytesView) else BytesView(chunk)


class Readable(Protocol):
    """A binary file, as far as it is read here; `gzip.GzipFile` is one, and `Reader` of a view."""

    def read(self, size: int, /) -> bytes: ...

    def seek(self, offset: int, whence: int, /) -> int: ...

    def tell(self) -> int: ...

    def seekable(self) -> bool: ...


class FileBuf(Buf):
    """Reads a binary file from where it stands to the end that it has now.

    Some of the file is read ahead, so it stands somewhere else until `into_inner` gives it back.

    Args:
      file: a binary file that can be read and moved about in.

    Raises:
      TypeError: `file` is a text file, or no file.
      io.UnsupportedOperation: it cannot be read, or cannot be moved about in.

    Nobody else should move the file meanwhile. One that became shorter raises `UnexpectedEof`.
    What the file itself raises, all methods may raise.
    """

    __slots__ = ("_ahead", "_end", "_file", "_place")

    def __init__(self, file: Readable | IO[bytes]) -> None:
        if not hasattr(file, "read") or hasattr(file, "encoding"):
            raise TypeError(f"a binary file is wanted, not {type(file).__name__}")
        if not file.seekable():
            raise io.UnsupportedOperation("seek: a file is wanted that can be moved about in")
        self._file = file
        self._ahead = memoryview(b"")
        self._place = file.tell()
        self._end = file.seek(0, os.SEEK_END)
        file.seek(self._place, os.SEEK_SET)
        file.read(0)

    def __repr__(self) -> str:
        return f"<FileBuf at {self._place} of {self._file!r}>"

    def remaining(self) -> int:
        """Return how many bytes there are up to the end that the file had."""
        return max(0, self._end - self._place)

    def _read_ahead(self, nbytes: int) -> None:
        """Have at least `nbytes` bytes in `_ahead`; the file should have them."""
        missing = nbytes - self._ahead.nbytes
        if missing <= 0:
            return
        parts: list[Buffer] = [self._ahead]
        self._file.seek(self._place + self._ahead.nbytes, os.SEEK_SET)  # an interrupt moved it
        try:
            while missing > 0:
                part = self._file.read(missing)
                if not part:
                    raise UnexpectedEof(wanted=nbytes, arrived=nbytes - missing)
                parts.append(part)
                missing -= len(part)
        finally:
            self._ahead = memoryview(b"".join(parts))  # what had arrived is not lost

    def chunk(self) -> memoryview:
        """Return what was read ahead; reads if that is nothing."""
        if not self._ahead.nbytes:
            self._read_ahead(min(AHEAD_NBYTES, self.remaining()))
        return self._ahead[:]

    def advance(self, nbytes: SupportsIndex) -> None:
        """Move `nbytes` bytes on; what was not read ahead is not read.

        Raises:
          NotEnoughBytes: there are fewer; nothing has moved.
          TypeError, ValueError: `nbytes` is no integer, or negative.
        """
        step = self._wanted(nbytes)
        if step > self._ahead.nbytes:
            self._file.seek(self._place + step, os.SEEK_SET)
        self._ahead = self._ahead[step:]
        self._place += step

    def take(self, nbytes: SupportsIndex) -> BytesView:
        """Return a view of the next `nbytes` bytes and move behind them.

        Cost: no copy of what is read ahead; else what the file costs.
        """
        view = self.peek_view(nbytes)
        self.advance(len(view))
        return view

    def peek_view(self, nbytes: SupportsIndex) -> BytesView:
        """Return a view of the next `nbytes` bytes without moving; reads them ahead."""
        wanted = self._wanted(nbytes)
        self._read_ahead(wanted)
        return BytesView(self._ahead[:wanted])

    def _peek_bytes(self, nbytes: SupportsIndex, /) -> bytes:
        return self.peek_view(nbytes).to_bytes()

    def _take_bytes(self, nbytes: SupportsIndex, /) -> bytes:
        return self.take(nbytes).to_bytes()

    def _copy(self, room: memoryview) -> None:
        self._read_ahead(room.nbytes)  # so that a file that became shorter moves nothing
        super()._copy(room)

    def into_inner(self) -> Readable | IO[bytes]:
        """Return the file, which stands where reading has got to; then read no more."""
        self._ahead = memoryview(b"")
        self._end = self._place
        self._file.seek(self._place, os.SEEK_SET)
        return self._file
