"""`Read`: a source of bytes that come in views. Two short methods to implement, many for free.

What makes them safe to cancel is in `_read_kept`: whatever is read in several receives is gathered
in a builder that stays with the source until the read is complete.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Self

from trio.lowlevel import checkpoint

from .._errors import BadMemory, InspectionFailed, LimitExceeded, NotEnoughBytes, UnexpectedEof
from ..mem import default_page_memory
from ..mem._foreign import PIECE_NBYTES
from ..seq import BytesBuf, BytesView
from ..seq._flat import count_of, positive_count_of
from ._inspect import ReadInspectDecision
from ._read_kept import Keeping
from ._views import Views

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import SupportsIndex

    from ..seq import Memory

BATCH_VIEWS: Final = 1000
"""How many views one batch has at the most: some 400 µs of cutting, after which it is another
task's turn."""


class Read(Keeping):
    """A source of bytes that comes in views, for one reading task at a time.

    Implement `_receive_view` and `_aclose`; the rest comes for free: reading exactly, reading
    while an inspector wants more, iterating, keeping what a cancelled read had got.

    Example:
      >>> class Zeros(Read):
      ...     async def _receive_view(self, max_bytes):
      ...         await trio.lowlevel.checkpoint()
      ...         return BytesView(bytes(max_bytes or 10))
      ...     async def _aclose(self):
      ...         await trio.lowlevel.checkpoint()
      >>> trio.run(Zeros().read_exactly, 3)
      BytesView(b'\\x00\\x00\\x00')

    Idea: bytesbuf_io's `Read` and `ReadExt`. A `Read` there has three methods to implement, and
    what a cancelled `read_exactly` had got is lost.
    """

    # Reading into builders

    async def read_at_most_into(self, nbytes: SupportsIndex, buf: BytesBuf) -> int:
        """Wait until there are bytes and append at most `nbytes` of them to `buf`.

        Returns:
          How many bytes were appended; 0 if, and only if, the stream has ended.

        Raises:
          As `receive_view`, and `MemoryInUse` if a slice of a window of `buf` is still alive. Until
          this returns `buf` belongs to it: what somebody puts meanwhile is refused, as
          `MemoryInUse`, or as `BufferFull` if there is no room either.
          TypeError: `buf` is not a `BytesBuf`.

        Cancellation: atomic. Nothing was appended and no byte is lost.

        Cost: no copy. A source that can fills the capacity of `buf` in place, if there is a
        receive's worth of it; otherwise `buf` gets views of what was received.
        """
        return await self._read_into(buf, positive_count_of(nbytes, "nbytes"))

    async def read_more_into(self, buf: BytesBuf) -> int:
        """Wait until there are bytes and append what is at hand; else as `read_at_most_into`."""
        return await self._read_into(buf, None)

    async def _read_into(self, buf: BytesBuf, max_bytes: int | None) -> int:
        _check_builder(buf)
        if self._is_receiving or self._is_closed:
            await self._refuse_receiving()
        self._is_receiving = True
        try:
            if not self._kept:
                return await self._receive_into(buf, max_bytes)
            await self._checkpoint_with(buf)
            view = self._take_kept(max_bytes)
            buf.put_view(view)
            return len(view)
        finally:
            self._is_receiving = False

    async def _checkpoint_with(self, buf: BytesBuf) -> None:
        """Checkpoint while `buf` belongs to this read."""
        buf._hand_over("a read")
        try:
            await checkpoint()
        finally:
            buf._busy = None
        self._refuse_if_closed()

    async def read_any(self) -> BytesBuf:
        """Wait until there are bytes and return them in a new builder; an empty one at the end.

        Raises:
          As `receive_view`.

        Cancellation: atomic. No byte is lost.
        """
        buf = BytesBuf()
        await self.read_more_into(buf)
        return buf

    async def read_at_most(self, nbytes: SupportsIndex) -> BytesView:
        """Return what `receive_view(nbytes)` does: the limit is not optional here."""
        return await self.receive_view(positive_count_of(nbytes, "nbytes"))

    # Reading until there is enough

    async def read_exactly(self, nbytes: SupportsIndex) -> BytesView:
        """Wait until `nbytes` bytes have arrived and return them.

        Args:
          nbytes: at least 0; for 0, an empty view, and nothing is received.

        Raises:
          UnexpectedEof: the stream ended before. What had arrived is read by the next read.
          As `receive_view` otherwise.

        Cancellation: resumable. What has arrived is read by the next read, of whatever kind.

        Cost: no copy; the view has a piece for each receive. Memory is proportional to what has
        arrived, not to `nbytes`. `read_contiguous` returns one piece.

        Example:
          >>> async def main():
          ...     source = FakeRead(b"\\0\\3abcdef", max_read_nbytes=1)
          ...     header = BytesReader(await source.read_exactly(2))
          ...     return await source.read_exactly(header.get_u16_be())
          >>> trio.run(main)
          BytesView(b'abc')
        """
        wanted = count_of(nbytes, "nbytes")
        if self._is_receiving or self._is_closed:
            await self._refuse_receiving()
        self._is_receiving = True
        try:
            if wanted and not self._kept:  # mostly one receive is enough: no builder for it
                view = await self._receive_view(wanted)
                if type(view) is not BytesView or view._nbytes > wanted:
                    self._complain(view, wanted)
                if view._nbytes == wanted:
                    return view
                if not view:
                    raise UnexpectedEof(wanted=wanted, arrived=0)
                try:
                    self._gathering().put_view(view)
                except MemoryError:
                    self._keep(view)
                    raise
                del view
            buf = self._gathering()
            await self._gather(buf, wanted, self._receive_into)
            return buf.consume(wanted)
        finally:
            self._is_receiving = False
            self._forget_if_empty()

    async def read_contiguous(
        self, nbytes: SupportsIndex, memory: Memory | None = None
    ) -> BytesView:
        """Wait until `nbytes` bytes have arrived and return them as a view of one piece.

        Args:
          nbytes: at least 0, and without `memory` at most 4 GiB less 2 MiB.
          memory: a provider whose `reserve(nbytes)` gives one block; `default_page_memory()` if not
            given. Its pages become resident as bytes arrive, so a peer that announces much
            and sends little costs little.

        Raises:
          BadMemory: `memory` gave several blocks where one is needed.
          ValueError: `nbytes` is more than one block can have.
          MemoryError: the system has not so much address space to give.
          As `read_exactly` otherwise.

        Cancellation: resumable. To call this again is to go on in the same block.

        Cost: sources that can fill memory in place copy nothing, all others once.
        """
        wanted = count_of(nbytes, "nbytes")
        if self._is_receiving or self._is_closed:
            await self._refuse_receiving()
        self._is_receiving = True
        try:
            buf = self._gathering()
            if len(buf) < wanted and not buf._holds_in_one_block(wanted):
                buf = one_block(wanted, memory)
                buf.put_slice(self._gathering().consume_all())
                self._kept = buf
            await self._gather(buf, wanted, self._fill_room)
            if not buf._pieces or buf._pieces[0].nbytes >= wanted:
                return buf.consume(wanted)
            view = BytesView(buf.peek(wanted).contiguous())
            buf.consume(wanted)  # last: what is in the buffer is not lost for lack of memory
            return view
        finally:
            self._is_receiving = False
            self._forget_if_empty()

    async def read_exactly_into(self, nbytes: SupportsIndex, buf: BytesBuf) -> None:
        """Read until `buf` holds `nbytes` bytes; those that it holds already count.

        Raises:
          UnexpectedEof: the stream ended before. What had arrived is in `buf`.
          As `read_at_most_into` otherwise.

        Cancellation: resumable. What has arrived is in `buf`; call this again to go on.

        Cost: as `read_at_most_into`.
        """
        wanted = count_of(nbytes, "nbytes")
        _check_builder(buf)
        if self._is_receiving or self._is_closed:
            await self._refuse_receiving()
        self._is_receiving = True
        try:
            if self._kept and len(buf) < wanted:
                await self._checkpoint_with(buf)
                buf.put_view(self._take_kept(wanted - len(buf)))
            await self._gather(buf, wanted, self._receive_into)
        finally:
            self._is_receiving = False

    async def _gather(
        self,
        buf: BytesBuf,
        wanted: int,
        receive: Callable[[BytesBuf, int], Awaitable[int]],
    ) -> None:
        """Receive until `buf` holds `wanted` bytes."""
        if len(buf) >= wanted:
            await self._checkpoint_with(buf)
        while len(buf) < wanted:
            if not await receive(buf, wanted - len(buf)):
                raise UnexpectedEof(wanted=wanted, arrived=len(buf))

    async def read_to_end(self, max_nbytes: SupportsIndex) -> BytesView:
        """Read until the stream ends and return everything.

        Args:
          max_nbytes: the most bytes to accept, at least 0.

        Raises:
          LimitExceeded: more arrived. It is read by the next read, and so is all before it.
          As `receive_view` otherwise.

        Cancellation: resumable. What has arrived is read by the next read, of whatever kind.

        Cost: no copy; memory proportional to what has arrived.
        """
        limit = count_of(max_nbytes, "max_nbytes")
        if self._is_receiving or self._is_closed:
            await self._refuse_receiving()
        self._is_receiving = True
        try:
            buf = self._gathering()
            while len(buf) <= limit:
                if not await self._receive_into(buf, limit + 1 - len(buf)):
                    return buf.consume_all()
            await checkpoint()
            raise LimitExceeded(limit=limit, arrived=len(buf))
        finally:
            self._is_receiving = False
            self._forget_if_empty()

    # Reading while an inspector wants more

    async def read_at_most_while(
        self, max_nbytes: SupportsIndex, inspect: Callable[[BytesView], ReadInspectDecision]
    ) -> tuple[BytesView, BytesBuf]:
        """Read until `inspect` says how much of what has arrived is wanted.

        Args:
          max_nbytes: the most bytes to read, at least 1.
          inspect: called with everything that has arrived, at least one byte, after each
            receive. What it raises is raised here.

        Returns:
          The bytes that were wanted, and a builder with what arrived after them. It is the caller's
          now: read on with `read_at_most_into_while`.

        Raises:
          LimitExceeded: `max_nbytes` bytes have arrived, and `inspect` wants more.
          InspectionFailed: `inspect` said so; its error is the cause.
          UnexpectedEof: the stream ended, and `inspect` wants more: a byte more at least, which is
            what `wanted` says.
          NotEnoughBytes: `inspect` wants more than it was shown.
          As `receive_view` otherwise. What had arrived is read by the next read.

        Cancellation: resumable. What has arrived is read by the next read, of whatever kind.

        Example:
          >>> async def main():
          ...     def line(view):
          ...         end = view.find(b"\\n")
          ...         if end == -1:
          ...             return ReadInspectDecision.continue_read()
          ...         return ReadInspectDecision.complete(end + 1)
          ...     source = FakeRead(b"HELO a\\nQUIT\\n", max_read_nbytes=5)
          ...     first, rest = await source.read_at_most_while(100, line)
          ...     return first, await source.read_at_most_into_while(100, rest, line)
          >>> trio.run(main)
          (BytesView(b'HELO a\\n'), BytesView(b'QUIT\\n'))

        Idea: bytesbuf_io's `ReadExt::read_at_most_while`.
        """
        limit = positive_count_of(max_nbytes, "max_nbytes")
        if self._is_receiving or self._is_closed:
            await self._refuse_receiving()
        self._is_receiving = True
        try:
            buf = self._gathering()
            wanted = await self._wait_inspected(buf, limit, inspect)
            found = buf.peek(wanted), buf
            buf.consume(wanted)  # last: what is in the buffer is not lost for lack of memory
            self._kept = None
            return found
        finally:
            self._is_receiving = False
            self._forget_if_empty()

    async def read_at_most_into_while(
        self,
        max_nbytes: SupportsIndex,
        buf: BytesBuf,
        inspect: Callable[[BytesView], ReadInspectDecision],
    ) -> BytesView:
        """Read into `buf` until `inspect` says how much of what it holds is wanted.

        As `read_at_most_while`, but what arrives goes to `buf`, and stays there whatever happens.
        Bytes that `buf` holds already are looked at before anything is received; they count.

        Raises:
          TypeError: `buf` is not a `BytesBuf`.
          As `read_at_most_while` and `read_at_most_into` otherwise.

        Cancellation: resumable. What has arrived is in `buf`; call this again to go on.
        """
        limit = positive_count_of(max_nbytes, "max_nbytes")
        _check_builder(buf)
        if self._is_receiving or self._is_closed:
            await self._refuse_receiving()
        self._is_receiving = True
        try:
            if self._kept:
                await self._checkpoint_with(buf)
                if len(buf) < limit:
                    buf.put_view(self._take_kept(limit - len(buf)))
            return buf.consume(await self._wait_inspected(buf, limit, inspect))
        finally:
            self._is_receiving = False

    async def _wait_inspected(
        self, buf: BytesBuf, limit: int, inspect: Callable[[BytesView], ReadInspectDecision]
    ) -> int:
        """Receive into `buf` until `inspect` says how many bytes of it are wanted; return that."""
        if buf:
            await self._checkpoint_with(buf)
        while True:
            if buf:
                view = buf.peek(min(limit, len(buf)))
                decision = inspect(view)
                if not isinstance(decision, ReadInspectDecision):
                    raise TypeError(
                        f"an inspector returns a ReadInspectDecision, not {type(decision).__name__}"
                    )
                if decision.error is not None:
                    raise InspectionFailed(arrived=len(view)) from decision.error
                if decision.nbytes is not None:
                    if decision.nbytes > len(view):
                        raise NotEnoughBytes(requested=decision.nbytes, available=len(view))
                    return decision.nbytes
                del view  # what is received next may be joined with it
            if len(buf) >= limit:
                raise LimitExceeded(limit=limit, arrived=len(buf))
            if not await self._receive_into(buf, limit - len(buf)):
                raise UnexpectedEof(wanted=len(buf) + 1, arrived=len(buf))

    # Iterating

    def views(self, max_bytes: SupportsIndex | None = None) -> Views[Self]:
        """Return an async iterator over what is received, until the stream ends.

        Args:
          max_bytes: the most bytes for each view, at least 1; the source decides if not given.

        Each step equals `receive_view(max_bytes)`, with its errors, and is a checkpoint.

        Cancellation: atomic. No byte is lost; iterate again to go on.
        """
        limit = None if max_bytes is None else positive_count_of(max_bytes, "max_bytes")
        return Views(self, partial(self.receive_view, limit), partial(self._receive_batch, limit))

    def chunks(self, nbytes: SupportsIndex) -> Views[Self]:
        """Return an async iterator over views of exactly `nbytes` bytes; the last may be shorter.

        Args:
          nbytes: at least 1.

        Each step has the errors of `read_exactly`, but for the end of the stream.

        Cancellation: resumable. No byte is lost; iterate again to go on.

        Example:
          >>> async def main():
          ...     return [view async for view in FakeRead(b"abcdefgh").chunks(3)]
          >>> trio.run(main)
          [BytesView(b'abc'), BytesView(b'def'), BytesView(b'gh')]
        """
        size = positive_count_of(nbytes, "nbytes")
        return Views(self, partial(self._read_chunk, size), partial(self._read_chunks, size))

    async def _receive_batch(self, max_bytes: int | None) -> list[BytesView]:
        """Return what one receive gets, in views of at most `max_bytes` bytes."""
        view = await self.receive_view()
        if not view:
            return []
        try:
            if max_bytes is None:
                return [view]
            batch, rest = _cut(view, max_bytes)
            if rest:
                self._put_back([rest])
        except MemoryError:
            self._keep(view)
            raise
        return batch

    async def _read_chunk(self, nbytes: int) -> BytesView:
        """Return `nbytes` bytes, or what is left."""
        if self._is_receiving or self._is_closed:
            await self._refuse_receiving()
        self._is_receiving = True
        try:
            buf = self._gathering()
            await self._gather_or_end(buf, nbytes, nbytes)
            return buf.consume(min(nbytes, len(buf)))
        finally:
            self._is_receiving = False
            self._forget_if_empty()

    async def _read_chunks(self, nbytes: int) -> list[BytesView]:
        """Return as many views of `nbytes` bytes as are at hand, at least one, or what is left."""
        if self._is_receiving or self._is_closed:
            await self._refuse_receiving()
        self._is_receiving = True
        try:
            buf = self._gathering()
            await self._gather_or_end(buf, nbytes, None)
            wanted = min(len(buf) // nbytes, BATCH_VIEWS) * nbytes or len(buf)
            batch, _ = _cut(buf.peek(wanted), nbytes)
            buf.consume(wanted)  # last: what is in the buffer is not lost for lack of memory
            return batch
        finally:
            self._is_receiving = False
            self._forget_if_empty()

    async def _gather_or_end(self, buf: BytesBuf, wanted: int, max_bytes: int | None) -> None:
        """Receive until `buf` holds `wanted` bytes (`max_bytes`: and never more), or the end."""
        if len(buf) >= wanted:
            await self._checkpoint_with(buf)
        while len(buf) < wanted:
            left = None if max_bytes is None else max_bytes - len(buf)
            if not await self._receive_into(buf, left):
                break


def _cut(view: BytesView, nbytes: int) -> tuple[list[BytesView], BytesView]:
    """Return up to `BATCH_VIEWS` views of `nbytes` bytes, the last maybe shorter; and the rest."""
    stop = min(len(view), BATCH_VIEWS * nbytes)
    return [view[at : min(at + nbytes, stop)] for at in range(0, stop, nbytes)], view[stop:]


def one_block(nbytes: int, memory: Memory | None) -> BytesBuf:
    """Return an empty builder whose first `nbytes` bytes of room are one stretch of memory."""
    if memory is None:
        memory = default_page_memory()
        if nbytes > PIECE_NBYTES:
            raise ValueError(f"nbytes must be at most {PIECE_NBYTES}, not {nbytes}")
    buf = memory.reserve(nbytes)
    if not buf._holds_in_one_block(nbytes):
        raise BadMemory(repr(memory), f"gave several blocks where one of {nbytes} bytes is needed")
    return buf


def _check_builder(buf: BytesBuf) -> None:
    if not isinstance(buf, BytesBuf):
        raise TypeError(f"a BytesBuf is wanted to read into, not {type(buf).__name__}")
