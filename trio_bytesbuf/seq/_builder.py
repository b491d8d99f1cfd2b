"""`BytesBuf`, the builder: room that is filled from the front and handed out as views.

This file makes builders, gives them room and fills it. What they hold, with the laws
of that, is in `_builder_contents`; how they are cut and joined in `_builder_cuts`.
"""

from __future__ import annotations

import struct
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, Self, SupportsIndex, cast

import attrs

from .._errors import BufferFull, NotEnoughBytes
from ._block import Block, BlockRef, owned_block
from ._buf import Buf
from ._buf_adapters import as_buf
from ._buf_mut import byte_of
from ._builder_contents import Contents, check_contents
from ._builder_cuts import Dividing
from ._flat import count_of
from ._numbers import Packers
from ._shown import Shown
from ._source import default_source, own_blocks, take_ownership
from ._unique import is_alone, writable_pieces
from ._view import BytesView, make_view
from ._view_queries import flat_of
from ._window import BytesBufVectoredWrite, lend

if TYPE_CHECKING:
    from ._buf_adapters import Source
    from ._flat import Buffer
    from ._picture import Picture
    from ._pieces import Pieces
    from ._source import BlockSource

_new_object = object.__new__
_packers = Packers()

COALESCED_NBYTES: Final = 256
"""Pieces below this are joined with a view as small that is put behind them, which bounds what a
piece costs beside its bytes. Picked, not measured; copying so little does not show in time."""


@attrs.define(eq=False, init=False, repr=False)
class BytesBuf(Dividing, Shown):
    """Collects bytes in blocks of memory and hands them out as views, without copying them again.

    A builder has *filled* bytes, which `peek` and `consume` show, and *remaining capacity*, which
    `put_slice` and its kin fill. Nothing but `extend` grows by itself: `reserve` adds capacity.
    Once a view has shown a byte it never changes, whatever is done to the builder later. An
    interrupt (Ctrl-C) in the middle of a call may leave the builder without some of its bytes, or
    out of use; it changes no view.

    `BytesBuf.with_capacity(nbytes)`, or `memory.reserve(nbytes)`, makes one with room in it;
    `BytesBuf()` has none yet.

    Example:
      >>> buf = BytesBuf()
      >>> buf.reserve(100)
      >>> buf.put_slice(b"HDR")
      >>> buf.put_u16_be(1)
      >>> buf.consume_all() == b"HDR\\x00\\x01", buf.remaining_capacity >= 95
      (True, True)

    Idea: bytesbuf's `BytesBuf`, and `BytesMut` of the crate bytes. Not for use by two
    threads at once.
    """

    # Making one

    @classmethod
    def from_blocks(cls, blocks: Iterable[Block]) -> Self:
        """Return an empty builder that owns `blocks`: how a memory provider answers `reserve`.

        Args:
          blocks: used in this order. Nobody else may refer to their memory. What a release hook
            of one raises goes to `sys.unraisablehook`, unless a provider passes the builder on.

        Raises:
          BadMemory: one of them is not a block, or has an owner already.
        """
        blocks = [*iter(blocks)]
        return cls._of(blocks, take_ownership(blocks, "the caller of from_blocks()"))

    @classmethod
    def from_view(cls, view: BytesView) -> Self:
        """Return a builder that is filled with the bytes of `view`, which are not copied."""
        if not isinstance(view, BytesView):
            raise TypeError(f"from_view takes a BytesView, not {type(view).__name__}")
        buf = cls()
        buf.put_view(view)
        return buf

    @classmethod
    def with_capacity(cls, nbytes: SupportsIndex, memory: BlockSource | None = None) -> Self:
        """Return an empty builder with room for at least `nbytes` bytes; see `reserve`."""
        buf = cls()
        buf.reserve(nbytes, memory)
        return buf

    @classmethod
    def zeroed(cls, nbytes: SupportsIndex, memory: BlockSource | None = None) -> Self:
        """Return a builder that is filled with `nbytes` zeros; see `reserve`."""
        buf = cls.with_capacity(nbytes, memory)
        buf.put_repeated(0, nbytes)
        return buf

    @classmethod
    def try_from_unique(cls, view: BytesView) -> Self | None:
        """Return a builder over the memory of `view`, to be changed in place; or None.

        The view is released then: it was the only one to show that memory, or this is None. It
        is also None for memory that is not a bytearray (`bytes`, a mapping, what another process
        may see), for that of a `CappedPool` or a `TrackingPool`, which keep books on it, and
        while a debugger looks on; `is_unique` says it beforehand. `BytesBuf.from_view` takes any
        view, and changes none of its bytes.

        Raises:
          TypeError: `view` is not a `BytesView`.

        Cost: proportional to the number of pieces; no copy.

        Example:
          >>> buf = BytesBuf.with_capacity(5)
          >>> buf.put_slice(b"jello")
          >>> buf = BytesBuf.try_from_unique(buf.freeze())
          >>> buf.overwrite(0, b"h")
          >>> buf.freeze()
          BytesView(b'hello')

        Idea: `Bytes::try_into_mut` of the Rust crate bytes.
        """
        if not isinstance(view, BytesView):
            raise TypeError(f"a BytesView is wanted, not {type(view).__name__}")
        if not view.is_unique():
            return None
        taken = make_view(view._pieces, view._nbytes, view._refs)
        buf: Self | None = None
        try:
            view.release()  # first, so that no other thread comes to see anything through it
            if taken.is_unique():  # or one did, after we had looked
                made = cls()
                made._refs.extend(map(_ours, taken.block_refs))
                made._unseen = True
                made._pieces.extend(writable_pieces(taken._pieces))
                made._nbytes = taken._nbytes
                buf = made
        finally:
            if buf is None:
                view._pieces, view._nbytes, view._refs = taken._pieces, taken._nbytes, taken._refs
        return buf

    # Making room

    def reserve(self, nbytes: SupportsIndex, memory: BlockSource | None = None) -> None:
        """Make room, so that `nbytes` more bytes can be put.

        Args:
          nbytes: the remaining capacity that there must be afterwards, at the least.
          memory: where new blocks come from; the process's default memory if not given.

        Raises:
          BadMemory: `memory` gave too little.
          TypeError, ValueError: `nbytes` is no integer, or negative.

        Cost: nothing if there is enough room already; else new memory, or what `try_reclaim` costs.
        """
        wanted = count_of(nbytes, "nbytes")
        if self._loan is not None:
            self._end_dropped_write()
        missing = wanted - self._room
        if missing > 0:
            self._refuse_while_busy()
            if self._blocks and self.try_reclaim(self._room + missing):
                return
            blocks, room = own_blocks(default_source() if memory is None else memory, missing)
            room += self._room
            self._blocks[:0] = reversed(blocks)
            self._room = room

    def try_reclaim(self, nbytes: SupportsIndex) -> bool:
        """Make room for `nbytes` bytes without new memory, or say that this is not possible.

        The first block's front, from which views were cut, is used again if all of them are
        gone. What is filled behind it and not seen yet is moved there if that is less.

        Raises:
          TypeError, ValueError: `nbytes` is no integer, or negative.

        Cost: some microseconds, and one copy of what is moved, at most half a block.

        Idea: `BytesMut::try_reclaim` of the Rust crate bytes.
        """
        wanted = count_of(nbytes, "nbytes")
        if wanted <= self._room:
            return True
        if not self._blocks or self._window is not None or self._busy is not None:
            return False
        block = self._blocks[-1]
        filled = block._end - block._start
        whole = block._memory.nbytes
        gained = whole - filled - (block._stop - block._end)
        room = self._room + gained
        if room < wanted or filled > block._start or not is_alone(block):
            return False
        block._memory[:filled] = block._memory[block._start : block._end]
        block._start, block._end, block._stop = 0, filled, whole
        self._room = room
        return True

    def resize(
        self, nbytes: SupportsIndex, value: SupportsIndex = 0, memory: BlockSource | None = None
    ) -> None:
        """Truncate to `nbytes` filled bytes, or put the byte `value` until there are as many.

        Raises:
          BadMemory: `memory` gave too little.
          TypeError, ValueError: a number is no integer, or out of its range.
          MemoryInUse: a slice of a window is still alive.
        """
        byte = byte_of(value)
        missing = count_of(nbytes, "nbytes") - self._nbytes
        if missing <= 0:
            self.truncate(nbytes)
        else:
            self._close_window()  # or refuse before anything has changed
            self.reserve(missing, memory)
            self.put_repeated(byte, missing)

    def extend(
        self, data: Source | Iterable[SupportsIndex], memory: BlockSource | None = None
    ) -> None:
        """Copy `data` behind what is filled, and grow for it.

        Args:
          data: a view, or any contiguous buffer; a `Buf`, or what else `as_buf` takes, which is
            read to its end; or an iterable of byte values from 0 to 255, as for
            `bytearray.extend`.
          memory: where more room comes from; the process's default memory if not given.

        Raises:
          BadMemory: `memory` gave too little.
          TypeError, ValueError: `data` is none of these; nothing was put.
          MemoryInUse: a slice of a window is still alive.

        Cost: one copy.
        """
        if isinstance(data, str):
            raise TypeError("bytes are wanted, not str; encode it, or use put_str")
        if isinstance(data, (Buf, deque)) or hasattr(data, "read"):
            buf = as_buf(data)  # type: ignore[arg-type]  # found out by trying
            self._close_window()
            self.reserve(buf.remaining(), memory)
            self.put(buf)
            return
        try:
            source = flat_of(data)  # type: ignore[arg-type]  # found out by trying
        except TypeError:
            if not isinstance(data, Iterable) or isinstance(data, memoryview):
                raise
            source = memoryview(bytes(bytearray(cast("Iterable[SupportsIndex]", data))))
        self._close_window()  # or refuse before anything has changed
        self.reserve(source.nbytes, memory)
        self.put_slice(source)

    def extend_from_within(
        self, start: SupportsIndex, stop: SupportsIndex, memory: BlockSource | None = None
    ) -> None:
        """Copy the filled bytes from `start` up to `stop` behind what is filled, and grow for it.

        Raises:
          NotEnoughBytes: `stop` is beyond what is filled.
          BadMemory: `memory` gave too little.
          TypeError, ValueError: an offset is no integer, is negative, or `start` is over `stop`.
          MemoryInUse: a slice of a window is still alive.

        Cost: one copy; the bytes do not count as seen.

        Idea: `BytesMut::extend_from_within` of the Rust crate bytes, from 1.12 on.
        """
        first, last = count_of(start, "start"), count_of(stop, "stop")
        if first > last:
            raise ValueError(f"start {first} is beyond stop {last}")
        if last > self._nbytes:
            raise NotEnoughBytes(requested=last, available=self._nbytes)
        self.extend(b"".join(_parts(self._filled(), first, last - first)), memory)

    # Putting bytes in

    def put_slice(self, data: Buffer, /) -> None:
        """Copy `data` into the remaining capacity; `put_view` appends a view without a copy.

        Raises:
          BufferFull: there is not enough room.
          TypeError: `data` exports no buffer, or its memory has gaps.
          MemoryInUse: a slice of a window is still alive.

        Cost: one copy.
        """
        source = data if type(data) is bytes else flat_of(data)
        nbytes = len(source)
        if self._window is None and self._busy is None and self._blocks:
            block = self._blocks[-1]
            end = block._end
            stop = end + nbytes
            if stop < block._stop:  # the common case: it fits, and there is room left
                filled, room = self._nbytes + nbytes, self._room - nbytes  # may lack memory
                block._memory[end:stop] = source
                block._end = stop
                self._nbytes = filled
                self._room = room
                return
        self._put_over_blocks(memoryview(source))

    def put_struct(self, layout: struct.Struct | str, *values: object) -> None:
        """Put what a `struct.Struct`, or its format, makes of `values`; see `BufMut`.

        Raises:
          BufferFull: there is not enough room.
          struct.error: `layout` is no format, or a value does not fit it.
          TypeError: `layout` is neither.
          MemoryInUse: a slice of a window is still alive.

        Cost: one copy. It is packed first and put then, as an `__index__` of a value may do
        anything with the builder.
        """
        data = _packers[layout](*values)
        # As in put_slice, which is not called: that would cost a tenth more.
        nbytes = len(data)
        if self._window is None and self._busy is None and self._blocks:
            block = self._blocks[-1]
            end = block._end
            stop = end + nbytes
            if stop < block._stop:
                filled, room = self._nbytes + nbytes, self._room - nbytes
                block._memory[end:stop] = data
                block._end = stop
                self._nbytes = filled
                self._room = room
                return
        self._put_over_blocks(memoryview(data))

    def _put_over_blocks(self, source: memoryview) -> None:
        """Copy `source` into as many blocks as it needs, if there is room."""
        nbytes = source.nbytes
        self._refuse_while_busy()
        if nbytes > self._room:
            raise BufferFull(requested=nbytes, available=self._room)
        self._close_window()
        at = 0
        for block in reversed(self._blocks):
            if at == nbytes:
                break
            end = block._end
            step = min(block._stop - end, nbytes - at)
            block._memory[end : end + step] = source[at : at + step]
            at += step
        if at < nbytes:
            raise RuntimeError("this builder was interrupted half-way; make a new one")
        self._fill(nbytes)

    def put_view(self, view: BytesView) -> None:
        """Append the bytes of `view` without copying them, and without using capacity.

        A few bytes behind a few bytes are joined by copying: each piece costs some 360 bytes of
        memory, so a peer that sends single bytes would have a builder grow by that.

        Raises:
          TypeError: `view` is not a `BytesView`; `put_slice` copies other buffers.
          MemoryInUse: a slice of a window is still alive.

        Cost: proportional to the number of pieces of `view`.
        """
        if not isinstance(view, BytesView):
            raise TypeError(f"put_view appends a BytesView, not {type(view).__name__}")
        pieces = view._pieces
        refs = view._refs
        self._close_window()
        self._seal()
        total = self._nbytes + view._nbytes  # now, as even a number may lack memory
        if view._nbytes < COALESCED_NBYTES and refs is None and self._coalesce(pieces):
            self._nbytes = total
            return
        self._extend(pieces, (None,) * len(pieces) if refs is None else refs)
        self._nbytes = total

    def _coalesce(self, pieces: Pieces) -> bool:
        """Join small pieces with a small last one, or say that it is not small (or not ours)."""
        if not pieces or not self._pieces or self._refs[-1] is not None:
            return False
        last = self._pieces[-1]
        if last.nbytes >= COALESCED_NBYTES:
            return False
        joined = b"".join((last, *pieces))
        self._pieces[-1] = memoryview(joined if last.readonly else bytearray(joined))
        return True

    # Writing in place

    def chunk_mut(self) -> memoryview:
        """Lend the first stretch of remaining capacity for writing; `advance_mut` ends the loan.

        Returns:
          A writable memoryview, empty if there is no capacity. What is in it to begin with
          is anything: bytes that somebody else received, as likely as not.

        Raises:
          MemoryInUse: a slice of a window that was lent before is still alive.

        Example:
          >>> buf = BytesBuf()
          >>> buf.reserve(10)
          >>> buf.chunk_mut()[:5] = b"12345"
          >>> buf.advance_mut(5)
          >>> buf.peek()
          BytesView(b'12345')
        """
        self._close_window()
        if not self._blocks:
            return memoryview(bytearray())
        block = self._blocks[-1]
        self._window = window = lend(block, block._stop)
        return window

    def chunk_mut_meta(self) -> object:
        """Return what the provider says of the memory that would be filled next, or None."""
        if not self._blocks or self._blocks[-1]._ref is None:
            return None
        return self._blocks[-1]._ref.meta

    def advance_mut(self, nbytes: SupportsIndex) -> None:
        """Count the first `nbytes` bytes of the window as filled and end the loan.

        The window raises ValueError when it is used afterwards.

        Raises:
          BufferFull: the window is shorter, or none was lent.
          MemoryInUse: a slice of the window, or an array made of it, is still alive and
            could still be written; drop it and call again.
          TypeError, ValueError: `nbytes` is no integer, or negative.

        Cost: no copy.
        """
        filled = count_of(nbytes, "nbytes")
        available = 0
        if self._window is not None:
            available = self._blocks[-1]._stop - self._blocks[-1]._end
        if filled > available:
            raise BufferFull(requested=filled, available=available)
        self._close_window()
        self._fill(filled)

    def begin_vectored_write(
        self, max_nbytes: SupportsIndex | None = None
    ) -> BytesBufVectoredWrite:
        """Lend all remaining capacity, or the first `max_nbytes` of it, for writing.

        Returns:
          A context manager with `pieces` to write to and `commit` to say how much was written.
          If `commit` is not reached, nothing was written. Meanwhile nothing can be put, reserved,
          truncated or split off; what is filled can be looked at and consumed.

        Raises:
          NotEnoughBytes: there is less capacity than `max_nbytes`.
          MemoryInUse: a slice of a window is still alive, or another write is going on.
          TypeError, ValueError: `max_nbytes` is no integer, or negative.

        Example:
          >>> buf = BytesBuf()
          >>> buf.reserve(8)
          >>> with buf.begin_vectored_write(8) as write:
          ...     write.pieces[0][:2] = b"ok"
          ...     write.commit(2)
          >>> buf.peek()
          BytesView(b'ok')
        """
        write = self.try_begin_vectored_write(max_nbytes)
        if write is None:
            assert max_nbytes is not None
            raise NotEnoughBytes(requested=max_nbytes.__index__(), available=self._room)
        return write

    def try_begin_vectored_write(
        self, max_nbytes: SupportsIndex | None = None
    ) -> BytesBufVectoredWrite | None:
        """Like `begin_vectored_write`, but None when there is less capacity."""
        limit = self._room if max_nbytes is None else count_of(max_nbytes, "max_nbytes")
        if limit > self._room:
            return None
        self._close_window()
        write = BytesBufVectoredWrite(self, reversed(self._blocks), limit)
        self._loan = weakref.ref(write), len(write.pieces)
        self._busy = "a vectored write is going on in this builder; leave it first"
        return write

    def _picture(self) -> Picture:
        from ._hexdump import hex_picture  # only who looks pays for it
        from ._words import text_of_count

        pieces = [*self._filled()]
        refs = [*self._refs, *(block._ref for block in self._blocks[-1:])][: len(pieces)]
        facts = [f"{text_of_count(self._nbytes, 'byte')} filled", f"room for {self._room:,} more"]
        if self._window is not None:
            facts.append("a window is lent")
        if self._busy is not None:
            facts.append(self._busy.partition(";")[0])
        return hex_picture("BytesBuf", facts, pieces, refs, rooms=self._blocks[::-1])


def _ours(ref: BlockRef | None) -> BlockRef | None:
    """Say of memory that is ours alone now that nobody else changes it."""
    if ref is None or not ref.may_change:
        return ref
    return None if ref.meta is None and ref.owner is None else attrs.evolve(ref, may_change=False)


def _parts(pieces: Iterable[memoryview], start: int, nbytes: int) -> Iterator[memoryview]:
    """Yield `nbytes` bytes of the pieces from `start` on; they are there."""
    for piece in pieces:
        part = piece[start : start + nbytes]
        start = max(0, start - piece.nbytes)
        nbytes -= part.nbytes
        yield part


_MADE_WHEN_WANTED: Final = frozenset(Contents.__slots__) - {"_room", "_fresh", "__weakref__"}


class _Fresh(BytesBuf):
    """A builder that becomes a plain one when something in it is first asked for.

    A class of its own, because until 3.12 a class with `__getattr__` costs 15 to 30 ns for each
    attribute that is looked up, also for those that are there: half of what `put_slice` takes.
    """

    __slots__ = ()

    if not TYPE_CHECKING:  # a type checker would take this for permission to use any name

        def __getattr__(self, name: str) -> object:
            # Only reached for names that are missing: those of a builder from `fresh`, or a typo.
            if name in _MADE_WHEN_WANTED:
                blocks = [owned_block(memory) for memory in reversed(self._fresh)]
                self._hold(blocks, self._room)
                del self._fresh
                self.__class__ = BytesBuf
                return getattr(self, name)
            raise AttributeError(f"'BytesBuf' object has no attribute {name!r}")


_Fresh.__name__ = _Fresh.__qualname__ = "BytesBuf"

for _layer in (BytesBuf, Dividing, Contents):
    # As for views: who knows attrs classes would write a builder as a record without fields.
    delattr(_layer, "__attrs_attrs__")


def fresh(memories: Sequence[Buffer], nbytes: int) -> BytesBuf:
    """Make an empty builder that owns `memories`, which nobody else sees, of `nbytes` bytes in all.

    What it is made of costs four times what the builder itself does: it is made when first used.
    """
    buf: BytesBuf = _new_object(_Fresh)
    buf._fresh = memories
    buf._room = nbytes
    return buf


def check_buf(buf: BytesBuf) -> None:
    """Raise AssertionError if a law of builders is broken."""
    check_contents(buf)
