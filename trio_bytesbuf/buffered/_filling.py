"""`Filling`: the lower half of a buffered reader: a source, a buffer, and one task at a time.

The way of a received byte:

    source.receive_view --> buffer --(a slice of the same memory)--> whoever reads

Law 1. A byte is in the source, in the buffer, or with the caller: never in two of these, and never
       in none. Nothing is awaited between its leaving one and its arriving at the next, so a
       read that is cancelled has lost nothing.
Law 2. The source is asked only when what is in the buffer is not enough, and then for as much as
       it has, up to the capacity. Nothing is read that was announced and has not come.
Law 3. While the source is waited for, the buffer pins little (`ReceiveBuffer.settle`).
Law 4. Nothing is waited for that only the buffer itself could give back: what it holds of a memory
       with a cap is copied out if that is twice as much as its bytes, and else `BudgetExceeded`.
Law 5. What inherited reads have gathered when they are abandoned goes back to the front of the
       buffer before anybody else can read. So there is one order of bytes, whoever reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled

from ..io import Read, from_trio
from ..io._lease import STARVED_TIMES, capped_of
from ..io._trio_sides import ReceivesSome
from ..seq._flat import positive_count_of
from ._receive_buffer import ReceiveBuffer, check_receive_buffer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import SupportsIndex

    from ..mem._capped import CappedMemory
    from ..seq import BytesBuf, BytesView, Memory

T = TypeVar("T")

COPIED_NBYTES: Final = 16_384
"""What is less goes through the buffer also where it is to be in one piece: copying it costs less
than a receive of so little. As much as a first receive asks for."""

READ_AHEAD_NBYTES: Final = 262_144
"""How much is received at once if nobody says otherwise: what a socket gives for one checkpoint."""


class Filling(ReceivesSome):
    """A `Read` with a buffer between itself and its source."""

    _source: Read
    _inner: Any
    _buffer: ReceiveBuffer
    _read_ahead_nbytes: int
    _capped: CappedMemory | None

    def _read_from(self, source: Read | trio.abc.ReceiveStream, capacity: SupportsIndex) -> None:
        """Read from `source` from now on; the rest of a constructor."""
        self._read_ahead_nbytes = positive_count_of(capacity, "read_ahead_nbytes")
        made: object = source if isinstance(source, Read) else from_trio(source)
        if not isinstance(made, Read):
            kind = type(source).__name__
            raise TypeError(f"a Read or a trio.abc.ReceiveStream is wanted, not {kind}")
        self._source = made
        self._inner = source
        self._buffer = ReceiveBuffer()
        self._capped = capped_of(made)

    @property
    def memory(self) -> Memory:
        """Where received bytes go: the source's affair."""
        return self._source.memory

    # Who may read

    def _refuse_reading_now(self) -> NoReturn:
        """Raise what keeps the reading side from being claimed, without a checkpoint."""
        if self._is_receiving:
            raise trio.BusyResourceError(f"another task is already receiving from {self!r}")
        raise trio.ClosedResourceError(f"this {type(self).__name__} was closed")

    # Filling the buffer

    async def _fill(self) -> bool:
        """Wait until there are more bytes and put them into the buffer; say False at the end.

        A checkpoint. Atomic when it is cancelled.
        """
        buffer = self._buffer
        if buffer._stop:  # else there is nothing to be let go of
            buffer.settle()
            if self._capped is not None:
                self._refuse_to_starve(self._capped)
        view = await self._receive_from_source(self._read_ahead_nbytes)
        if not view._nbytes:
            return False
        try:
            buffer.feed(view)
        except MemoryError:  # it comes again
            self._source._keep(view)
            raise
        return True

    def _refuse_to_starve(self, capped: CappedMemory) -> None:
        """Have room for another receive, or raise BudgetExceeded. (Law 4)"""
        buffer = self._buffer
        held = capped._starved_by(buffer._held_pieces())
        if held >= STARVED_TIMES * len(buffer):
            buffer.compact()
        elif held:
            raise capped._starved(held)

    async def _until(self, take: Callable[[], T | None]) -> T | None:
        """Return what `take` gives, once it is something; None if the stream ends before.

        Claims the reading side. `take` is asked whenever there are more bytes. What it takes out of
        the buffer before it has something to return is not given back if this is cancelled.
        """
        if self._is_receiving or self._is_closed:
            await self._refuse_receiving()
        self._is_receiving = True
        try:
            await checkpoint_if_cancelled()
            found = take()
            if found is not None:
                try:
                    await cancel_shielded_checkpoint()
                except MemoryError:  # it is out of the buffer: give it away all the same
                    return found
                return found
            while await self._fill():
                found = take()
                if found is not None:
                    return found
            return None
        finally:
            self._is_receiving = False

    # What a `Read` has to have

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        await checkpoint_if_cancelled()
        nbytes = len(self._buffer)
        if nbytes:
            view = self._buffer.take(nbytes if max_bytes is None else min(nbytes, max_bytes))
            try:
                await cancel_shielded_checkpoint()
            except MemoryError:  # it is out of the buffer: give it away all the same
                return view
            return view
        if max_bytes is None or max_bytes >= self._read_ahead_nbytes:  # no need of the buffer
            return await self._receive_from_source(max_bytes)
        if not await self._fill():
            return self._buffer.take(0)
        return self._buffer.take(min(len(self._buffer), max_bytes))

    async def _receive_from_source(self, max_bytes: int | None) -> BytesView:
        return await self._source.receive_view(max_bytes)

    async def _receive_some(self, max_bytes: int | None) -> bytes:
        is_much = max_bytes is None or max_bytes >= COPIED_NBYTES
        if is_much and isinstance(self._source, ReceivesSome) and self._is_passage():
            return await self._source.receive_some(max_bytes)
        return (await self._receive_view(max_bytes)).to_bytes()

    def _is_passage(self) -> bool:
        """Whether what is received next can go past the buffer, with nothing to be done before."""
        return not self._buffer

    async def _aclose(self) -> None:
        self._buffer.clear()
        await self._source.aclose()

    # What inherited reads keep (Law 5)

    def _forget_if_empty(self) -> None:
        kept, self._kept = self._kept, None
        if kept and not self._is_closed:
            self._buffer.unread(kept.consume_all())

    def _put_back(self, views: Sequence[BytesView]) -> None:
        if self._is_receiving:
            raise trio.BusyResourceError(f"a task is receiving from {self!r}")
        for view in reversed(views):
            self._buffer.unread(view)

    async def _fill_room(self, buf: BytesBuf, max_bytes: int) -> int:
        """Have the source fill memory in place, once the buffer is empty."""
        source = self._source
        if source._is_receiving or source._is_closed:
            await source._refuse_receiving()
        if source._kept or max_bytes < COPIED_NBYTES or not self._is_passage():
            return await super()._fill_room(buf, max_bytes)
        source._is_receiving = True
        try:
            return await source._fill_room(buf, max_bytes)
        finally:
            source._is_receiving = False


def check_filling(reader: Filling) -> None:
    """Raise AssertionError if a law of this file, or of its buffer's, is broken."""
    check_receive_buffer(reader._buffer)
    assert reader._is_receiving or reader._kept is None, "Law 5: bytes beside the buffer"
