"""Bufs made of bufs: one behind another, a part of one, one as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, SupportsIndex

from ._buf import Buf
from ._buf_adapters import as_buf
from ._buf_file import BinaryFile
from ._flat import count_of
from ._view import BytesView

if TYPE_CHECKING:
    from ._buf_adapters import Source


class Chain(Buf):
    """Reads one `Buf` and then another.

    Args:
      first, last: each a `Buf`, or what `as_buf` makes one of.

    Example:
      >>> chain = Chain(b"\\x12", b"\\x34more")
      >>> chain.get_u16_be() == 0x1234, chain.take_rest()
      (True, BytesView(b'more'))

    Idea: `Chain` of the Rust crate bytes; like it, but for the order of `chunks_vectored`.
    """

    __slots__ = ("_first", "_last")

    def __init__(self, first: Source, last: Source) -> None:
        self._first = as_buf(first)
        self._last = as_buf(last)

    def __repr__(self) -> str:
        return f"Chain({self._first!r}, {self._last!r})"

    @property
    def first(self) -> Buf:
        """What is read first."""
        return self._first

    @property
    def last(self) -> Buf:
        """What is read behind it."""
        return self._last

    def into_inner(self) -> tuple[Buf, Buf]:
        """Return both."""
        return self._first, self._last

    def remaining(self) -> int:
        """Return how many bytes are left in both."""
        return self._first.remaining() + self._last.remaining()

    def chunk(self) -> memoryview:
        """Return a chunk of the one that is being read."""
        return (self._first if self._first.remaining() else self._last).chunk()

    def advance(self, nbytes: SupportsIndex) -> None:
        """Move `nbytes` bytes on, from the first into the last.

        Raises:
          NotEnoughBytes: there are fewer; nothing has moved.
          TypeError, ValueError: `nbytes` is no integer, or negative.
        """
        wanted = self._wanted(nbytes)
        near = min(wanted, self._first.remaining())
        self._first.advance(near)
        self._last.advance(wanted - near)

    def chunks_vectored(self, max_chunks: SupportsIndex | None = None) -> tuple[memoryview, ...]:
        """Return chunks of the first, and behind them those of the last if that was all of it.

        A first one that cannot show everything ends the list: what is behind it is not next.
        """
        chunks = self._first.chunks_vectored(max_chunks)
        if sum(chunk.nbytes for chunk in chunks) < self._first.remaining():
            return chunks
        left = None if max_chunks is None else count_of(max_chunks, "max_chunks") - len(chunks)
        return chunks + self._last.chunks_vectored(left)

    def take(self, nbytes: SupportsIndex) -> BytesView:
        """Return a view of the next `nbytes` bytes and move behind them. Cost: as of the two."""
        try:
            view = self.peek_view(nbytes)
        except NotImplementedError:  # one of the two shows less than it has
            return super().take(nbytes)
        self.advance(len(view))
        return view

    def peek_view(self, nbytes: SupportsIndex) -> BytesView:
        """Return a view of the next `nbytes` bytes without moving. Cost: as of the two."""
        wanted = self._wanted(nbytes)
        near = min(wanted, self._first.remaining())
        if near == wanted:
            return self._first.peek_view(near)
        return self._first.peek_view(near) + self._last.peek_view(wanted - near)

    def _peek_bytes(self, nbytes: SupportsIndex, /) -> bytes:
        return self.peek_view(nbytes).to_bytes()


class Limited(Buf):
    """Reads at most so many bytes of a `Buf`, which moves with it.

    Args:
      buf: a `Buf`, or what `as_buf` makes one of.
      limit: how many bytes may be read through this.

    Raises:
      TypeError, ValueError: `limit` is no integer, or negative.

    Example:
      >>> body = as_buf(b"bodynext")
      >>> Limited(body, 4).take_rest(), body.take_rest()
      (BytesView(b'body'), BytesView(b'next'))

    Idea: `Take` of the Rust crate bytes; to take is to consume, here.
    """

    __slots__ = ("_inner", "_limit")

    def __init__(self, buf: Source, limit: SupportsIndex) -> None:
        self._inner = as_buf(buf)
        self._limit = count_of(limit, "limit")

    def __repr__(self) -> str:
        return f"Limited({self._inner!r}, {self._limit})"

    @property
    def inner(self) -> Buf:
        """What is read; what it moves by itself does not count."""
        return self._inner

    @property
    def limit(self) -> int:
        """How many bytes may still be read through this; the inner one may have fewer."""
        return self._limit

    def set_limit(self, limit: SupportsIndex) -> None:
        """Let `limit` bytes be read from here on.

        Raises:
          TypeError, ValueError: `limit` is no integer, or negative.
        """
        self._limit = count_of(limit, "limit")

    def into_inner(self) -> Buf:
        """Return what was read."""
        return self._inner

    def remaining(self) -> int:
        """Return how many bytes are left within the limit."""
        return min(self._limit, self._inner.remaining())

    def chunk(self) -> memoryview:
        """Return a chunk of the inner one, cut at the limit."""
        return self._inner.chunk()[: self._limit] if self._limit else memoryview(b"")

    def advance(self, nbytes: SupportsIndex) -> None:
        """Move `nbytes` bytes on.

        Raises:
          NotEnoughBytes: there are fewer within the limit; nothing has moved.
          TypeError, ValueError: `nbytes` is no integer, or negative.
        """
        wanted = self._wanted(nbytes)
        self._inner.advance(wanted)
        self._limit -= wanted

    def chunks_vectored(self, max_chunks: SupportsIndex | None = None) -> tuple[memoryview, ...]:
        """Return chunks of the inner one up to the limit."""
        chunks: list[memoryview] = []
        left = self._limit
        for chunk in self._inner.chunks_vectored(max_chunks):
            if not left:
                break
            chunks.append(chunk[:left])
            left -= chunks[-1].nbytes
        return tuple(chunks)

    def take(self, nbytes: SupportsIndex) -> BytesView:
        """Return a view of the next `nbytes` bytes and move behind them. Cost: as of the inner."""
        wanted = self._wanted(nbytes)
        view = self._inner.take(wanted)
        self._limit -= wanted
        return view

    def peek_view(self, nbytes: SupportsIndex) -> BytesView:
        """Return a view of the next `nbytes` bytes without moving. Cost: as of the inner."""
        return self._inner.peek_view(self._wanted(nbytes))

    def _peek_bytes(self, nbytes: SupportsIndex, /) -> bytes:
        return self._inner._peek_bytes(self._wanted(nbytes))


class Reader(BinaryFile):
    """Any `Buf` as a binary file to read from; `BytesReader` is one already.

    Args:
      buf: a `Buf`, or what `as_buf` makes one of.

    Example:
      >>> import csv, io
      >>> lines = io.TextIOWrapper(Reader(Chain(b"a,b\\nc", b",d\\n")), newline="")
      >>> list(csv.reader(lines))
      [['a', 'b'], ['c', 'd']]

    Idea: `Reader` of the Rust crate bytes.
    """

    __slots__ = ("_inner",)

    def __init__(self, buf: Source) -> None:
        self._inner = as_buf(buf)

    def __repr__(self) -> str:
        return f"Reader({self._inner!r})"

    @property
    def inner(self) -> Buf:
        """What is read."""
        return self._inner

    @property
    def _buf(self) -> Buf:
        if self.closed:
            raise ValueError("I/O operation on a closed reader")
        return self._inner

    def into_inner(self) -> Buf:
        """Close the file and return what it read, with what is left."""
        self.close()
        return self._inner
