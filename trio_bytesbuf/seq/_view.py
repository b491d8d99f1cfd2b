"""`BytesView`, the value: bytes that never change, in any number of pieces.

Law 1. A view never changes: not its bytes, not its length, not its pieces. (`release` is the
       one exception; it takes the view out of use for good.)
Law 2. `_nbytes` is the sum of the pieces, and no piece is empty: `check_view` looks.
Law 3. The memoryviews in `_pieces` are shared by every view cut from this one. They are
       never handed to a caller, who could `release()` them under the others: callers
       get slices of their own.
Law 4. Two views are equal when their bytes are, however they are cut, and equal to the same
       `bytes`; equal values have equal hashes, or no hash at all (memory that may change).
Law 5. `_refs` is None, or one entry for each piece: None, or what `BlockRef` has to say.

Views are made for every receive, so they are attrs classes without the cost of frozen ones
(2.5 times that of a plain one): no method sets an attribute after construction.
"""

from __future__ import annotations

import contextlib
import itertools
import operator
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Final, NoReturn, Self, SupportsIndex, overload

import attrs

from .._errors import NotEnoughBytes, Released
from . import _pieces
from ._block import BlockRef
from ._exports import as_exported, pickle_buffers_of
from ._flat import count_of, flat
from ._guard import MemoryGuard
from ._proof import address_of
from ._shown import Shown
from ._source import own_blocks
from ._unique import is_unique
from ._view_cuts import Cuts
from ._view_queries import Queries, bytes_of, flat_of

if TYPE_CHECKING:
    from ._flat import Buffer
    from ._picture import Picture
    from ._pieces import Pieces
    from ._source import BlockSource

_new_object = object.__new__
_PIECES, _REFS, _NBYTES = map(operator.attrgetter, ("_pieces", "_refs", "_nbytes"))

FOREIGN: Final = BlockRef(may_change=True)
"""What is said of pieces over memory that somebody else can write to."""

REPR_NBYTES: Final = 64
"""How many bytes a `repr` shows: a line of a terminal, picked by eye."""

WRITABLE_BUFFER: Final = 1
"""`inspect.BufferFlags.WRITABLE`, which 3.11 does not have."""


@attrs.define(eq=False, init=False, repr=False)
class BytesView(Cuts, Shown):
    """An immutable sequence of bytes that shares memory with others instead of copying it.

    Behaves like a read-only `bytes`: `len`, indexing, slicing, `in`, iteration, `==`, `hash`,
    `+`, `find`, `split`, `decode`, ... Cutting, joining and passing it on copy nothing. It may lie
    in several pieces; only `pieces`, `first_piece` and the cost of things tell.

    Args:
      data: the bytes. They are not copied. A view over memory that somebody else can
        write to (a bytearray, an array) shows what is written, and has no hash.

    Raises:
      TypeError: `data` exports no buffer, or its memory has gaps.

    Cost: making one from `bytes` about 0.3 µs, cutting a view of one piece about six
    times a memoryview's own slice; a view of n pieces takes time proportional to n.

    Example:
      >>> greeting = BytesView(b"Hello, ") + BytesView(b"world!")
      >>> greeting[7:12] == b"world", len(greeting.pieces)
      (True, 2)

    `release()`, or `with`, drops what the view refers to; using it afterwards raises `Released`.
    Idea: bytesbuf's `BytesView`; its cursor is a type of its own here, `BytesReader`.
    """

    def __init__(self, data: Buffer = b"") -> None:
        if isinstance(data, BytesView):
            self._pieces, self._nbytes, self._refs = data._pieces, data._nbytes, data._refs
            return
        piece = flat(data)
        self._nbytes = piece.nbytes
        self._pieces = (piece.toreadonly(),) if piece.nbytes else ()
        self._refs = None if type(piece.obj) is bytes or not piece.nbytes else (FOREIGN,)

    @classmethod
    def from_views(cls, views: Iterable[BytesView]) -> BytesView:
        """Return the bytes of `views`, one after the other, without copying them.

        Raises:
          TypeError: one of them is not a `BytesView`.

        Cost: proportional to the number of pieces.

        Example:
          >>> BytesView.from_views([BytesView(b"GET "), BytesView(b"/")]) == b"GET /"
          True
        """
        views = [*iter(views)]  # CPython loses a list that it has no memory to copy, for ever
        for kind in set(map(type, views)):  # no loop over the views in Python: 60 ns for each
            if not issubclass(kind, BytesView):
                raise TypeError(f"from_views joins BytesViews, not {kind.__name__}")
        # And so it does with what is in a tuple that it has no memory to shorten.
        pieces = (*itertools.chain.from_iterable(map(_PIECES, views)),)
        refs = None
        if any(map(_REFS, views)):
            refs = tuple(
                itertools.chain.from_iterable(
                    view._refs or (None,) * len(view._pieces) for view in views
                )
            )
        return make_view(pieces, sum(map(_NBYTES, views)), refs)

    @classmethod
    def copied_from_slice(cls, data: Buffer, memory: BlockSource | None = None) -> BytesView:
        """Copy `data` into memory of our own; nobody can change the view afterwards.

        Args:
          data: a view, or any contiguous buffer.
          memory: where the copy lives; plain `bytes` if not given.

        Raises:
          TypeError: `data` exports no buffer, or its memory has gaps.
          BadMemory: `memory` gave less than it was asked for.

        Cost: one copy.
        """
        if memory is None:
            return cls(bytes_of(data))
        source = flat_of(data)
        pieces, refs = [], []
        at = 0
        for block in own_blocks(memory, source.nbytes)[0]:
            nbytes = min(len(block), source.nbytes - at)
            if not nbytes:
                break
            block._memory[block._end : block._end + nbytes] = source[at : at + nbytes]
            block._end += nbytes
            pieces.append(block._front(block._end).toreadonly())
            refs.append(block._ref)
            at += nbytes
        return make_view(tuple(pieces), at, said(refs))

    # How long it is and what it is made of

    def __len__(self) -> int:
        return self._nbytes

    @property
    def pieces(self) -> Pieces:
        """The bytes as read-only memoryviews, none of them empty; releasing them is harmless."""
        return tuple([piece[:] for piece in self._pieces])

    @property
    def first_piece(self) -> memoryview:
        """The first of `pieces`, or an empty memoryview."""
        return self._pieces[0][:] if self._pieces else memoryview(b"")

    @property
    def block_refs(self) -> tuple[BlockRef | None, ...]:
        """What is known of each piece's memory beside its bytes, or None: as many as pieces."""
        return (None,) * len(self._pieces) if self._refs is None else self._refs

    @property
    def metas(self) -> tuple[object, ...]:
        """What each piece's memory provider says of it, or None: as many as there are pieces."""
        return tuple(None if ref is None else ref.meta for ref in self.block_refs)

    @property
    def first_piece_meta(self) -> object:
        """The first of `metas`, or None if the view is empty."""
        return next(iter(self.metas), None)

    @property
    def retained_nbytes(self) -> int:
        """How many bytes of memory cannot be used again while this view is alive.

        Blocks count whole, each once, so a small view of a large block shows its price here;
        `compact` is the cure.
        """
        exporters = {id(piece.obj): piece.obj for piece in self._pieces}
        return sum(memoryview(exporter).nbytes for exporter in exporters.values())

    def to_bytes(self) -> bytes:
        """Return a copy of the bytes. Cost: one copy."""
        return b"".join(self._pieces)

    __bytes__ = to_bytes

    def contiguous(self) -> memoryview:
        """Return the bytes as one read-only memoryview: the way into C code.

        Cost: nothing for a view of one piece, else one copy of all bytes.
        """
        if len(self._pieces) == 1:
            return self._pieces[0][:]
        return memoryview(self.to_bytes())

    def compact(self) -> BytesView:
        """Return an equal view that retains its own length of memory and no more.

        Cost: one copy.
        """
        return BytesView(self.to_bytes())

    def extend_lifetime(self) -> MemoryGuard:
        """Return a guard that keeps the memory alive when this view is gone."""
        # A tuple lets go of its last item first: owners outlive what they own.
        return MemoryGuard((*(self._refs or ()), *self._pieces))

    # Taking out of use

    def release(self) -> None:
        """Drop the memory; using the view afterwards raises `Released`. Twice is harmless.

        Views cut from this one, and memoryviews taken from it, go on working.
        """
        if type(self) is BytesView:
            object.__setattr__(self, "__class__", _Released)
        with contextlib.suppress(AttributeError):
            del self._pieces, self._nbytes, self._refs

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    if not TYPE_CHECKING:

        def __init_subclass__(cls) -> None:
            cls.__getattr__ = _missing

    # Cutting and joining

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> int: ...

    @overload
    def __getitem__(self, index: slice, /) -> BytesView: ...

    def __getitem__(self, index: SupportsIndex | slice, /) -> int | BytesView:
        """Return a byte, or the bytes of a slice; a slice with a step other than 1 is copied."""
        pieces = self._pieces
        if isinstance(index, slice):
            if index.step is not None and index.step != 1:
                return BytesView(self.to_bytes()[index])
            if len(pieces) == 1:
                piece = pieces[0][index]
                nbytes = piece.nbytes
                return make_view((piece,), nbytes, self._refs) if nbytes else make_view((), 0)
            start, stop, _ = index.indices(self._nbytes)
            if start >= stop:
                return make_view((), 0)
            return part_of(pieces, self._refs, *_pieces.place(pieces, start), stop - start)
        at = operator.index(index)
        if at < 0:
            at += self._nbytes
        if at >= 0:
            for piece in pieces:
                nbytes = piece.nbytes
                if at < nbytes:
                    return piece[at]
                at -= nbytes
        raise IndexError(f"byte {index} of a view of {self._nbytes} bytes")

    def range(self, start: SupportsIndex, stop: SupportsIndex) -> BytesView:
        """Return the bytes from `start` up to `stop`; unlike a slice, never fewer.

        Raises:
          NotEnoughBytes: the view ends before `stop`.
          TypeError, ValueError: an offset is no integer, is negative, or `start` is over `stop`.

        Cost: no copy; proportional to the number of pieces.
        """
        view = self.try_range(start, stop)
        if view is None:
            raise NotEnoughBytes(requested=stop.__index__(), available=self._nbytes)
        return view

    def try_range(self, start: SupportsIndex, stop: SupportsIndex) -> BytesView | None:
        """Like `range`, but None when the view ends before `stop`."""
        first, last = count_of(start, "start"), count_of(stop, "stop")
        if first > last:
            raise ValueError(f"start {first} is beyond stop {last}")
        return self[first:last] if last <= self._nbytes else None

    def concat(self, other: BytesView | Buffer) -> BytesView:
        """Return the bytes of this view and then those of `other`, without copying either.

        Raises:
          TypeError: `other` is no view and no buffer.
        """
        if not isinstance(other, BytesView):
            other = BytesView(other)
        if not other._nbytes:
            return self[:]
        return BytesView.from_views((self, other)) if self._nbytes else other[:]

    def __add__(self, other: BytesView | Buffer) -> BytesView:
        if isinstance(other, str):
            return NotImplemented
        try:
            return self.concat(other)
        except TypeError:
            return NotImplemented

    def __radd__(self, other: Buffer) -> BytesView:
        if isinstance(other, str):
            return NotImplemented
        try:
            return BytesView(other).concat(self)
        except TypeError:
            return NotImplemented

    # Whose memory it is

    def is_unique(self) -> bool:
        """Say whether nobody else can see this memory, so that `BytesBuf.try_from_unique` takes it.

        False where that cannot be proved: for `bytes`, for mappings, for what a `CappedPool` or a
        `TrackingPool` keeps books on, while a debugger looks on. An empty view has no memory to
        share, so it is.

        Cost: some microseconds; more if pools keep many blocks.
        """
        return is_unique(self)

    def slice_ref(self, part: Buffer) -> BytesView:
        """Return the view of `part`, memory that a parser found in this view, by its address.

        Args:
          part: a view of one piece, or a buffer, that shows memory of this view.

        Raises:
          ValueError: it shows other memory, or lies in several pieces.
          TypeError: `part` exports no buffer, or its memory has gaps.

        Cost: no copy; proportional to the number of pieces.

        Example:
          >>> view = BytesView(b"key=value")
          >>> value = view.contiguous()[4:]
          >>> view.slice_ref(value)
          BytesView(b'value')

        Idea: `Bytes::slice_ref` of the Rust crate bytes.
        """
        if isinstance(part, BytesView) and len(part._pieces) > 1:
            raise ValueError("this part lies in several pieces")
        sought = flat_of(part)
        if not sought.nbytes:
            return self[:0]
        address = address_of(sought)
        for index, piece in enumerate(self._pieces):
            offset = address - address_of(piece)
            if offset >= 0 and offset + sought.nbytes <= piece.nbytes:
                return part_of(self._pieces, self._refs, index, offset, sought.nbytes)
        raise ValueError(f"these {sought.nbytes} bytes do not lie in one piece of this view")

    def _part(self, index: int, offset: int, nbytes: int) -> BytesView:
        return part_of(self._pieces, self._refs, index, offset, nbytes)

    # As Python sees it

    def __repr__(self) -> str:
        try:
            shown = self[:REPR_NBYTES].to_bytes()
        except Released:
            return "<BytesView, released>"
        dots = "..." if self._nbytes > REPR_NBYTES else ""
        if len(self._pieces) < 2 and not dots:
            return f"BytesView({shown!r})"
        return f"<BytesView {shown!r}{dots}, {self._nbytes} bytes in {len(self._pieces)} pieces>"

    def _picture(self) -> Picture:
        from ._hexdump import hex_picture  # only who looks pays for it
        from ._words import text_of_count

        try:
            facts = [text_of_count(self._nbytes, "byte")]
        except Released:
            return hex_picture("BytesView", ["released"], (), ())
        return hex_picture("BytesView", facts, self._pieces, self.block_refs)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[object, ...]:
        """Pickle each piece as a buffer of its own: with protocol 5, out of band, uncopied."""
        if protocol.__index__() < 5:
            return BytesView, (self.to_bytes(),)
        return _unpickled, tuple(pickle_buffers_of(self._pieces, self.block_refs))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __buffer__(self, flags: int) -> memoryview:
        """Lend the memory of a view of one piece to C code; CPython asks this from 3.12 on.

        Raises:
          BufferError: the view has several pieces, or somebody wants to write.
        """
        if flags & WRITABLE_BUFFER:
            raise BufferError("a BytesView cannot be written to")
        if len(self._pieces) > 1:
            raise BufferError(
                f"this BytesView lies in {len(self._pieces)} pieces; take contiguous() of it"
            )
        return self.first_piece


def _missing(_view: BytesView, name: str) -> NoReturn:
    """Raise what it means that a view has no such attribute: a slot that is empty, or a typo."""
    if name in ("_pieces", "_nbytes", "_refs"):
        raise Released("BytesView")
    raise AttributeError(f"'BytesView' object has no attribute {name!r}")


class _Released(BytesView):
    """A view that was released.

    A class of its own, because until 3.12 a class with `__getattr__` costs 15 to 30 ns for each
    attribute that is looked up, also for those that are there: a tenth of reading so many bytes.
    """

    __slots__ = ()


_Released.__name__ = _Released.__qualname__ = "BytesView"

for _layer in (BytesView, Cuts, Queries):
    # Who knows attrs classes (attrs.asdict, msgspec, cattrs) takes them for records and writes
    # their public fields. A view has none, so it would be written as {}, and its bytes be lost.
    delattr(_layer, "__attrs_attrs__")


def make_view(
    pieces: Pieces, nbytes: int, refs: tuple[BlockRef | None, ...] | None = None
) -> BytesView:
    """Make a view of pieces that obey the laws; nothing is looked at, so this is quick."""
    view: BytesView = _new_object(BytesView)
    view._pieces = pieces
    view._nbytes = nbytes
    view._refs = refs
    return view


def part_of(
    pieces: Pieces,
    refs: tuple[BlockRef | None, ...] | None,
    index: int,
    offset: int,
    nbytes: int,
) -> BytesView:
    """Make a view of the `nbytes` bytes from a place on; they are known to be there."""
    parts = (*_pieces.parts(pieces, index, offset, nbytes),)
    if refs is not None:
        refs = said(refs[index : index + len(parts)])
    return make_view(parts, nbytes, refs)


def said(refs: Iterable[BlockRef | None]) -> tuple[BlockRef | None, ...] | None:
    """Return refs as a view keeps them: None if none of them says anything (Law 5)."""
    refs = tuple(refs)
    return refs if any(refs) else None


def _unpickled(*buffers: Buffer) -> BytesView:
    """Make a view of the buffers that go with a pickle, whoever made them, of whatever."""
    pieces: list[memoryview] = []
    refs: list[BlockRef | None] = []
    for piece in map(flat, buffers):
        if piece.nbytes:
            foreign = piece.toreadonly(), None if _is_fixed(piece) else FOREIGN
            shown, ref = as_exported(piece) or foreign
            pieces.append(shown)
            refs.append(ref)
    return make_view(tuple(pieces), sum(piece.nbytes for piece in pieces), said(refs))


def _is_fixed(exporter: object) -> bool:
    """Say whether nobody can write to this memory: it is that of a `bytes`."""
    while type(exporter) is memoryview:
        exporter = exporter.obj
    return type(exporter) is bytes


def check_view(view: BytesView) -> None:
    """Raise AssertionError if a law of this file is broken."""
    _pieces.check_pieces(view._pieces, view._nbytes)
    assert view._refs is None or len(view._refs) == len(view._pieces), "Law 5"
    assert view._refs is None or any(view._refs), "refs that say nothing"
