"""`Keeping`: the half of `Read` that keeps what a read has got until all of it can be returned.

Law 1. One task for each side: a public method claims its side before it does anything else, and
       another task that comes meanwhile gets `trio.BusyResourceError`.
Law 2. Bytes that a read has taken from the source are in one of two places: with the caller,
       or in `_kept`, where a read that needs several receives gathers them. The next read, of
       whatever kind, begins with `_kept`. So a read that is cancelled, or ends with an error, loses
       nothing, and to call it again is to go on: reads are *atomic* or *resumable*, never worse.
Law 3. What is kept may be looked at only while the source is open.
Law 4. An interrupt (Ctrl-C) can come at every call of a function. So what gives back a claim, of
       the side or of a builder, is a plain assignment, first thing in a `finally`.
Law 5. Every async method is a checkpoint on every path that returns. The hooks are; where no hook
       is called there is a checkpoint of its own.
Law 6. Nothing is waited for that only what was gathered could give back. What it holds of a memory
       with a cap is copied out if that is twice as much as its bytes, and else `BudgetExceeded`.
"""

from __future__ import annotations

import abc
import contextlib
from typing import TYPE_CHECKING, NoReturn, cast

import trio
from trio.lowlevel import checkpoint

from .._errors import BadSource, MemoryInUse
from ..seq import BytesBuf, BytesView
from ..seq._flat import flat, positive_count_of
from ._endpoint import Endpoint
from ._lease import STARVED_TIMES, capped_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import SupportsIndex

    from ..mem._capped import CappedMemory
    from ..seq._flat import Buffer


def _refuse_to_starve(buf: BytesBuf, capped: CappedMemory) -> None:
    """Have room for another receive beside what `buf` holds, or raise BudgetExceeded. (Law 6)"""
    nbytes = len(buf)
    held = capped._starved_by([*buf._pieces, *(block._memory for block in buf._blocks)])
    if held >= STARVED_TIMES * nbytes:
        buf.put_view(BytesView(buf.peek().to_bytes()))
        try:
            buf.consume(nbytes)
        except MemoryError:  # then what was copied goes again
            buf.truncate(nbytes)
            raise
    elif held:
        raise capped._starved(held)


class Keeping(Endpoint):
    """What receives views, one task at a time, and keeps what an abandoned read had got."""

    _kept: BytesBuf | None = None
    _is_receiving = False

    @abc.abstractmethod
    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        """Wait until there are bytes and return what is at hand; called by the public methods.

        Called for one task at a time, and not after `aclose` has begun. Has to be a checkpoint.
        Cancelled, it must have taken nothing from where the bytes come from.

        Args:
          max_bytes: the most bytes to return, at least 1, or None: the source decides.

        Returns:
          A view of at least one byte; of none if, and only if, the stream has ended, and
          then for ever.
        """

    async def receive_view(self, max_bytes: SupportsIndex | None = None) -> BytesView:
        """Wait until there are bytes and return what is at hand.

        Args:
          max_bytes: the most bytes to return, at least 1; the source decides if not given.

        Returns:
          A view of at least one byte; of none if, and only if, the stream has ended.

        Raises:
          trio.BusyResourceError: another task is reading.
          trio.ClosedResourceError: this source was closed, here or by another task.
          trio.BrokenResourceError: the connection is gone. What had arrived was returned before.
          BadSource: the source returned more than it was asked for, or no view.
          TypeError, ValueError: `max_bytes` is no integer, or below 1.

        Cancellation: atomic. No byte is lost.
        """
        limit = None if max_bytes is None else positive_count_of(max_bytes, "max_bytes")
        if self._is_receiving or self._is_closed:
            await self._refuse_receiving()
        self._is_receiving = True
        try:
            if self._kept:
                await checkpoint()
                return self._take_kept(limit)
            view = await self._receive_view(limit)
            if type(view) is not BytesView or (limit is not None and view._nbytes > limit):
                self._complain(view, limit)
            return view
        finally:
            self._is_receiving = False

    async def _refuse_receiving(self) -> NoReturn:
        """Raise what keeps the reading side from being claimed. (Laws 1 and 3)"""
        if self._is_receiving:
            raise trio.BusyResourceError(f"another task is already receiving from {self!r}")
        await checkpoint()
        raise trio.ClosedResourceError(f"this {type(self).__name__} was closed")

    async def aclose(self) -> None:
        """Close this; tasks that wait for it get `trio.ClosedResourceError`. Twice is harmless.

        Bytes that an abandoned read has kept are gone, and their memory is free.

        Cancellation: it is closed all the same.
        """
        self._kept = None  # a read that goes on has a name of its own for it
        await super().aclose()

    # What is kept

    def _take_kept(self, max_bytes: int | None) -> BytesView:
        """Return the first of the kept bytes; there are some."""
        self._refuse_if_closed()  # by another task, during a checkpoint
        assert self._kept is not None
        nbytes = len(self._kept) if max_bytes is None else min(max_bytes, len(self._kept))
        view = self._kept.consume(nbytes)
        if not self._kept:
            self._kept = None
        return view

    def _put_back(self, views: Sequence[BytesView]) -> None:
        """Let the next read begin with `views`, and then what is kept already.

        A read that goes on would return later bytes before these, so there must be none.
        """
        if self._is_receiving:
            raise trio.BusyResourceError(f"a task is receiving from {self!r}")
        buf = BytesBuf()
        for view in views:
            buf.put_view(view)
        if self._kept is not None:
            buf.put_view(self._kept.consume_all())
        self._kept = buf
        self._forget_if_empty()

    def _complain(self, view: object, limit: int | None) -> NoReturn:
        """Raise BadSource for what a hook has returned; keep it if it is bytes."""
        if not isinstance(view, BytesView):
            with contextlib.suppress(TypeError):  # if it is no buffer either
                self._gathering().put_view(BytesView(bytes(flat(cast("Buffer", view)))))
            raise BadSource(repr(self), f"returned a {type(view).__name__} instead of a BytesView")
        self._gathering().put_view(view)
        raise BadSource(repr(self), f"was asked for {limit} bytes at most and returned {len(view)}")

    def _gathering(self) -> BytesBuf:
        """Return the builder that a read of several receives gathers bytes in."""
        if self._kept is None:
            self._kept = BytesBuf()
        return self._kept

    def _keep(self, view: BytesView) -> None:
        """Let the next read go on with what has arrived and could not be put where it belongs."""
        self._gathering().put_view(view)

    def _forget_if_empty(self) -> None:
        """Forget the builder if nothing is in it, or nobody may look at it any more."""
        if not self._kept or self._is_closed:
            self._kept = None

    async def _receive_into(self, buf: BytesBuf, max_bytes: int | None) -> int:
        """Append what is at hand to `buf`, at most `max_bytes`; return how much that was.

        Sources that can fill memory in place use the capacity of `buf`; see `_descriptor`.
        """
        if buf and (capped := capped_of(self)) is not None:
            _refuse_to_starve(buf, capped)
        buf._hand_over("a read")
        try:
            view = await self._receive_view(max_bytes)
        finally:
            buf._busy = None
        if type(view) is not BytesView or (max_bytes is not None and view._nbytes > max_bytes):
            self._complain(view, max_bytes)
        try:
            buf.put_view(view)
        except (MemoryError, MemoryInUse):
            self._keep(view)
            raise
        return view._nbytes

    async def _fill_room(self, buf: BytesBuf, max_bytes: int) -> int:
        """Fill the capacity of `buf` with what is at hand; there is room for `max_bytes`."""
        buf._hand_over("a read")
        try:
            view = await self._receive_view(max_bytes)
        finally:
            buf._busy = None
        if type(view) is not BytesView or view._nbytes > max_bytes:
            self._complain(view, max_bytes)
        try:
            buf.put_slice(view)
        except (MemoryError, MemoryInUse):
            self._keep(view)
            raise
        return view._nbytes
