"""`CappedPool`: memory with a hard cap, for which tasks wait in a queue.

    hooks of blocks ──> returned ──(settle)──> lent goes down ──(serve)──> the queue, from its head

Law 1. `lent` counts every block from the moment it is granted until its release hook has run,
       which is after the proof that nobody can see it (see `seq/_release.py`). It never goes over
       `max_nbytes`, neither the pool's nor a share's.
Law 2. Whoever waits is served in the order of the queue. Nobody overtakes the head, except those
       whose share has room, where the head's has not: who hoards waits for itself alone.
Law 3. A hook only puts the block on `returned` and wakes the trio run of the head; it takes no
       lock. Everything else happens under the lock, outside finalizers. A hint that is lost delays
       until the next one, the next call, or `LOOK_SECONDS`.
Law 4. A waiter that is cancelled is no longer in the queue and has no memory, even when it was
       granted some at that very moment.
Law 5. Idle blocks and lent ones together are never more than `max_nbytes`, so the cap is what the
       process has; a block is used again only if its reference count is that of a lone one.
"""

from __future__ import annotations

import abc
import contextlib
import os
import threading
import weakref
from collections import deque
from collections.abc import Iterable
from sys import getrefcount
from typing import Final, SupportsIndex

import attrs
import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled

from .._errors import BudgetExceeded
from ..seq import Block, BytesBuf, MemoryShared
from ..seq._flat import SoleOwner, count_of, positive_count_of
from ..seq._proof import REFERENCES_TO_A_LONE_EXPORTER

UNIT_NBYTES: Final = 4_096
"""Blocks are multiples of this, the size of a page, unless the cap is less: so there are few sizes
to look for among idle blocks, and what a small message takes from the cap is little."""

LARGEST_NBYTES: Final = 262_144
"""The largest block: what a stream takes in one turn. More is several blocks."""

LOOK_SECONDS: Final = 0.1
"""How long the head of the queue waits before it looks for itself. A guess: hints come at once."""

_LONE: Final = REFERENCES_TO_A_LONE_EXPORTER


@attrs.frozen
class CappedStatistics:
    """What a capped pool, or a share of one, lends at one moment."""

    max_nbytes: int
    """The cap."""

    lent_nbytes: int
    """Bytes in blocks that somebody can see."""

    peak_nbytes: int
    """The most that was ever lent."""

    waiting: int
    """How many tasks wait for memory."""


@attrs.define(eq=False)
class _Account:
    """How much the pool or one share may lend, and lends."""

    max_nbytes: int
    lent_nbytes: int = 0
    peak_nbytes: int = 0

    def has_room_for(self, nbytes: int) -> bool:
        return self.lent_nbytes + nbytes <= self.max_nbytes

    def lend(self, nbytes: int) -> None:
        self.lent_nbytes += nbytes
        self.peak_nbytes = max(self.peak_nbytes, self.lent_nbytes)


@attrs.define(eq=False)
class _Waiter:
    """A task in the queue; `granted` are its blocks when its turn has come."""

    share: _Account
    sizes: tuple[int, ...]
    token: trio.lowlevel.TrioToken
    event: trio.Event = attrs.field(factory=trio.Event)
    granted: list[Block] | None = None


@attrs.define(eq=False)
class _Book:
    """All that a pool and its shares have in common."""

    total: _Account
    queue: deque[_Waiter] = attrs.field(factory=deque)
    _returned: deque[tuple[_Account, bytearray]] = attrs.field(factory=deque)
    _idle: dict[int, list[bytearray]] = attrs.field(factory=dict)
    _idle_nbytes: int = 0
    _lock: threading.RLock = attrs.field(factory=threading.RLock)
    __weakref__: object = attrs.field(init=False, repr=False)

    def settle(self) -> None:
        """Count what has come home."""
        with self._lock:
            while self._returned:
                share, block = self._returned.popleft()
                nbytes = len(block)
                self.total.lent_nbytes -= nbytes
                if share is not self.total:
                    share.lent_nbytes -= nbytes
                self._idle.setdefault(nbytes, []).append(block)
                self._idle_nbytes += nbytes
                del block

    def room(self, share: _Account) -> int:
        """Return how many bytes could be lent now, if nobody waited."""
        self.settle()
        return min(account.max_nbytes - account.lent_nbytes for account in (share, self.total))

    def take_now(self, share: _Account, sizes: tuple[int, ...]) -> list[Block] | None:
        """Return blocks of these sizes, or None if somebody else comes first or there is no room.

        Nothing that can run other code stands between the question for room and its answer.
        """
        nbytes = sum(sizes)
        with self._lock:
            self.settle()
            if self.queue or not (share.has_room_for(nbytes) and self.total.has_room_for(nbytes)):
                return None
            self._lend(share, nbytes)
        return self._blocks(share, sizes)

    def _lend(self, share: _Account, nbytes: int) -> None:
        self.total.lend(nbytes)
        if share is not self.total:
            share.lend(nbytes)

    def _blocks(self, share: _Account, sizes: tuple[int, ...]) -> list[Block]:
        """Make blocks that count already; what could not be made counts no more."""
        blocks: list[Block] = []
        try:
            for size in sizes:
                memory = self._memory(size)
                blocks.append(Block(memory, on_release=_ComesHome(self, share, memory)))
        except BaseException:
            with self._lock:
                self._lend(share, -sum(sizes[len(blocks) :]))
            raise
        return blocks

    def _memory(self, nbytes: int) -> bytearray:
        with self._lock:
            same = self._idle.get(nbytes, ())
            while same:
                memory = same.pop()
                self._idle_nbytes -= nbytes
                if getrefcount(memory) == _LONE:
                    return memory
                del memory
            while self._idle_nbytes and (
                self.total.lent_nbytes + self._idle_nbytes > self.total.max_nbytes
            ):
                size, blocks = next(iter(self._idle.items()))
                if blocks:
                    blocks.pop()
                    self._idle_nbytes -= size
                else:
                    del self._idle[size]
        return bytearray(nbytes)

    def come_home(self, share: _Account, memory: bytearray) -> None:
        """Note that nobody sees `memory`; called by hooks, in any thread (Law 3)."""
        self._returned.append((share, memory))
        with contextlib.suppress(IndexError, trio.RunFinishedError):
            self.queue[0].token.run_sync_soon(self.serve, idempotent=True)

    def serve(self) -> None:
        """Grant what can be granted (Law 2)."""
        with self._lock:
            self.settle()
            for waiter in list(self.queue):
                nbytes = sum(waiter.sizes)
                if not waiter.share.has_room_for(nbytes):
                    continue
                if not self.total.has_room_for(nbytes):
                    break
                with contextlib.suppress(ValueError):
                    self.queue.remove(waiter)
                    self._lend(waiter.share, nbytes)
                    waiter.granted = self._blocks(waiter.share, waiter.sizes)
                    try:
                        waiter.token.run_sync_soon(waiter.event.set)
                    except trio.RunFinishedError:
                        waiter.granted = None

    async def wait(self, share: _Account, sizes: tuple[int, ...]) -> list[Block]:
        """Wait for the turn of this task, and for room."""
        await checkpoint_if_cancelled()
        blocks = self.take_now(share, sizes) if sizes else []
        if blocks is not None:
            await cancel_shielded_checkpoint()
            return blocks
        waiter = _Waiter(share, sizes, trio.lowlevel.current_trio_token())
        self.queue.append(waiter)
        try:
            while waiter.granted is None:
                self.serve()  # what came home before we stood in the queue woke nobody
                is_head = self.queue and self.queue[0] is waiter
                with trio.move_on_after(LOOK_SECONDS if is_head else 10 * LOOK_SECONDS):
                    await waiter.event.wait()
        except BaseException:
            with contextlib.suppress(ValueError):
                self.queue.remove(waiter)
            waiter.granted = None
            self.serve()
            raise
        return waiter.granted

    def forget_what_was_lent(self) -> None:
        """Begin anew in a child, whose hooks never run for what its parent had leased."""
        self.total = attrs.evolve(self.total, lent_nbytes=0)
        self._returned.clear()
        self.queue.clear()
        self._lock = threading.RLock()


@attrs.frozen(eq=False)
class _ComesHome:
    """A release hook."""

    book: _Book
    share: _Account
    memory: bytearray

    def __call__(self) -> None:
        self.book.come_home(self.share, self.memory)


class CappedMemory(SoleOwner, MemoryShared):
    """What a `CappedPool` and its shares have in common: memory that one can wait for."""

    __slots__ = ("_book", "_share")

    _book: _Book
    _share: _Account

    @property
    def max_nbytes(self) -> int:
        """The most bytes that blocks of this memory can have while somebody can see them."""
        return min(self._share.max_nbytes, self._book.total.max_nbytes)

    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        """Return blocks of at least `nbytes` bytes in all.

        Raises:
          BudgetExceeded: there is no room for them now, or somebody waits who comes first.
        """
        if not nbytes:
            return ()
        blocks = self._book.take_now(self._share, self._sizes(nbytes))
        if blocks is None:
            raise BudgetExceeded(nbytes, max(0, self._book.room(self._share)))
        return blocks

    async def reserve_wait(self, nbytes: SupportsIndex, /) -> BytesBuf:
        """Wait until there is room and return an empty builder with at least `nbytes` bytes.

        Tasks are served in the order in which they began to wait, whatever they want; `reserve`
        does not overtake them. A task whose share is exhausted is passed over until it is not.

        Raises:
          ValueError: `nbytes` is negative, or more than the cap: there will never be so much.
          TypeError: `nbytes` is no integer.

        Cancellation: atomic. Nothing was reserved, and the place in the queue is given up.

        Cost: one checkpoint if there is room.

        Idea: `trio.CapacityLimiter`.
        """
        wanted = count_of(nbytes, "nbytes")
        if wanted > self.max_nbytes:
            raise ValueError(f"{wanted} bytes are more than the cap of {self.max_nbytes}")
        return BytesBuf.from_blocks(await self._book.wait(self._share, self._sizes(wanted)))

    async def _lease_wait(self, nbytes: int, /) -> memoryview:
        """Wait in the queue for memory for one receive."""
        size = min(UNIT_NBYTES, self.max_nbytes)
        (block,) = await self._book.wait(self._share, (size,))
        return block._memory[:nbytes]

    def _lease(self, nbytes: int, /) -> tuple[memoryview, None]:
        """Return memory for one receive: less than is wanted, if there is no room for more."""
        room = self._book.room(self._share)
        unit = min(UNIT_NBYTES, self.max_nbytes)
        size = min(nbytes, LARGEST_NBYTES, room)
        blocks = self._book.take_now(self._share, (max(unit, size - size % unit),))
        if blocks is None:
            raise BudgetExceeded(nbytes, max(0, room))
        return blocks[0]._memory, None

    def _sizes(self, nbytes: int) -> tuple[int, ...]:
        """Return the sizes of blocks that hold `nbytes` bytes, without going over the cap."""
        whole, rest = divmod(nbytes, LARGEST_NBYTES)
        rounded = -(-rest // UNIT_NBYTES) * UNIT_NBYTES
        if whole * LARGEST_NBYTES + rounded > self.max_nbytes:
            rounded = rest
        return (LARGEST_NBYTES,) * whole + ((rounded,) if rounded else ())

    @abc.abstractmethod
    def statistics(self) -> CappedStatistics:
        """Return what is lent now."""

    def _statistics(self, waiting: int) -> CappedStatistics:
        self._book.settle()
        share = self._share
        return CappedStatistics(share.max_nbytes, share.lent_nbytes, share.peak_nbytes, waiting)


class CappedPool(CappedMemory):
    """Memory of which no more than `max_nbytes` bytes are lent at any time. One can wait for it.

    As the memory of streams it turns overload into backpressure: a stream for which there is no
    room leaves what arrived in the kernel, so that its peer is slowed down, and takes its turn.
    Give each connection a `share`, so that one that hoards starves alone.

    What counts is what somebody can see: views that are kept count until they are dropped, whole
    blocks each. What `receive_some` returns are `bytes`, and they do not count. After `fork`
    the child has the whole budget, and what it inherited does not count.

    Args:
      max_nbytes: the cap, at least 1.

    Raises:
      TypeError, ValueError: `max_nbytes` is no integer, or below 1.

    Cost: a lease some 5 µs, as each block has a release hook.

    Example:
      >>> pool = CappedPool(100_000)
      >>> buf = pool.reserve(90_000)
      >>> pool.reserve(20_000)
      Traceback (most recent call last):
      trio_bytesbuf._errors.BudgetExceeded: 20000 bytes were requested, the budget has 9888 left
      >>> del buf
      >>> pool.reserve(20_000).remaining_capacity >= 20_000
      True
    """

    __slots__ = ()

    def __init__(self, max_nbytes: SupportsIndex) -> None:
        self._share = _Account(positive_count_of(max_nbytes, "max_nbytes"))
        self._book = _Book(self._share)
        _BOOKS.add(self._book)

    def share(self, max_nbytes: SupportsIndex) -> PoolShare:
        """Return a memory that lends at most `max_nbytes` bytes of this pool, for one connection.

        A share is a cap and keeps nothing free for its user.

        Raises:
          TypeError, ValueError: `max_nbytes` is no integer, or below 1.
        """
        return PoolShare(self._book, positive_count_of(max_nbytes, "max_nbytes"))

    def statistics(self) -> CappedStatistics:
        """Return what is lent now."""
        return self._statistics(len(self._book.queue))

    def __repr__(self) -> str:
        return f"<CappedPool of {self.max_nbytes} bytes at {id(self):#x}>"


class PoolShare(CappedMemory):
    """A part of what a `CappedPool` may lend; made by its `share`."""

    __slots__ = ()

    def __init__(self, book: _Book, max_nbytes: int) -> None:
        self._book = book
        self._share = _Account(max_nbytes)

    def statistics(self) -> CappedStatistics:
        """Return what is lent now."""
        waiting = sum(waiter.share is self._share for waiter in list(self._book.queue))
        return self._statistics(waiting)

    def __repr__(self) -> str:
        return f"<PoolShare of {self._share.max_nbytes} bytes at {id(self):#x}>"


_BOOKS: Final[weakref.WeakSet[_Book]] = weakref.WeakSet()


def _begin_anew() -> None:
    for book in list(_BOOKS):
        book.forget_what_was_lent()


def check_capped(pool: CappedMemory) -> None:
    """Raise AssertionError if a law of this file is broken."""
    book = pool._book
    book.settle()
    for account in (pool._share, book.total):
        assert 0 <= account.lent_nbytes <= account.max_nbytes, "Law 1: over the cap"
    idle = sum(size * len(blocks) for size, blocks in book._idle.items())
    assert idle == book._idle_nbytes, "idle bytes are miscounted"
    assert book.total.lent_nbytes + idle <= book.total.max_nbytes, "Law 5: idle over the cap"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
