"""`CappedPool`: memory with a hard cap that can be waited for: overload becomes backpressure.

`_ledger` has the laws: what counts as lent, how it comes home, whose turn it is. Here is what
a provider of memory needs beside that: which sizes a request is met with.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, SupportsIndex

import attrs
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled

from .._errors import BudgetExceeded
from ..seq import Block, BytesBuf, MemoryShared
from ..seq._builder import fresh
from ..seq._flat import SoleOwner, count_of, positive_count_of
from ..seq._release import hook_of, leased
from ..seq._shown import Shown
from ..seq._source import origins
from ._ledger import CAPPED_BLOCK_SIZES, Account, Ledger, Loan, check_ledger
from ._pool import MAX_IDLE_NBYTES

if TYPE_CHECKING:
    from ..seq._picture import Picture


@attrs.frozen
class CappedStatistics(Shown):
    """How a capped pool, or a share of one, stands at one moment."""

    max_nbytes: int
    """The cap."""

    lent_nbytes: int
    """Bytes in blocks that are not proved to be free, by a look at each."""

    peak_nbytes: int
    """The most that was lent at any time."""

    idle_nbytes: int
    """Bytes in blocks that are kept for the next lease: of the pool, and of all its shares."""

    waiting: int
    """How many tasks wait for memory; for a pool, those that wait for its shares as well."""

    def _picture(self) -> Picture:
        return self._picture_of("CappedStatistics")

    def _picture_of(self, title: str) -> Picture:
        from ._pictures import capped_picture  # only who looks pays for it

        return capped_picture(title, *attrs.astuple(self))


RECEIVES: Final = 4
"""A receive takes a fourth of the cap at the most, in blocks of a fourth of what is left or less.
A loop holds what it got last while it asks for more, and a buffer the front of what comes next: the
next receive has to fit beside both. And what trickles in pins little when there is little left."""


def _choices_of_sizes(nbytes: int, limit: int) -> tuple[tuple[int, ...], ...]:
    """Return sizes of blocks for `nbytes` bytes: few large ones, or exactly so many bytes."""
    rounded, exact = _sizes_for(nbytes, limit), _sizes_for(nbytes, nbytes)
    return (rounded,) if rounded == exact else (rounded, exact)


def _sizes_for(nbytes: int, limit: int) -> tuple[int, ...]:
    """Return the sizes of blocks that hold `nbytes` bytes and are at most `limit` in all."""
    largest = CAPPED_BLOCK_SIZES[-1]
    whole, rest = divmod(nbytes, largest)
    sizes = [largest] * whole
    if rest:
        sizes.append(next(size for size in CAPPED_BLOCK_SIZES if size >= rest))
    if sum(sizes) > limit:  # no room for rounding up, so the last block is exactly the rest
        sizes = [largest] * whole
        for size in reversed(CAPPED_BLOCK_SIZES[:-1]):
            whole, rest = divmod(rest, size)
            sizes += [size] * whole
        if rest:
            sizes.append(rest)
    return tuple(sizes)


class CappedMemory(SoleOwner, MemoryShared, Shown):
    """What a `CappedPool` and a `PoolShare` have in common: memory that can be waited for.

    A `SocketStream` over such memory receives nothing while there is no room; it waits in line, and
    holds no memory meanwhile. So the system's buffers fill, and the peer is slowed down.
    """

    __slots__ = ("_account", "_accounts", "_choices", "_ledger", "_max_nbytes", "_receive_nbytes")

    def __init__(self, ledger: Ledger, account: Account) -> None:
        self._ledger = ledger
        self._account = account
        self._accounts = (account,) if account is ledger.total else (account, ledger.total)
        self._max_nbytes = account.max_nbytes
        # What a receive is lent, the largest first: what there is, but no slivers.
        fit = [size for size in CAPPED_BLOCK_SIZES if size <= account.max_nbytes]
        self._choices = tuple((size,) for size in reversed(fit)) or ((account.max_nbytes,),)
        self._receive_nbytes = max(account.max_nbytes // RECEIVES, self._choices[-1][0])

    @property
    def max_nbytes(self) -> int:
        """The cap: what is lent here is never more than this. Larger requests cannot be met."""
        return self._max_nbytes

    def reserve(self, nbytes: SupportsIndex, /) -> BytesBuf:
        """Return an empty builder with room for at least `nbytes` bytes, now or not at all.

        Raises:
          BudgetExceeded: there is not enough room under the cap, or somebody waits for it.
            Also for a call from a finalizer or signal handler that interrupts another one.
          TypeError, ValueError: `nbytes` is no integer, or negative.

        Cost: 8 µs for up to 256 KiB; a look at every lent block if it is refused.
        """
        wanted = count_of(nbytes, "nbytes")
        if wanted > sys.maxsize:
            return super().reserve(wanted)  # which says that this is too much
        return self._builder(self._take_now(wanted))

    async def reserve_wait(self, nbytes: SupportsIndex, /) -> BytesBuf:
        """Wait until there is room under the cap; then return a builder as `reserve` does.

        Tasks are served in the order in which they came, like those of a `trio.CapacityLimiter`: a
        large request is not overtaken by small ones. Those that wait for room in a share of
        a pool do not hold up the others of that pool.

        Args:
          nbytes: how much room; at most `max_nbytes`.

        Raises:
          ValueError: `nbytes` is negative, or more than could ever be granted.
          TypeError: it is no integer.

        Cancellation: atomic. The task has left the line and holds nothing.

        Cost: one checkpoint if there is room.

        Example:
          >>> async def main():
          ...     pool = CappedPool(10_000)
          ...     held = [pool.reserve(10_000)]
          ...     async def let_go_soon():
          ...         held.clear()
          ...     async with trio.open_nursery() as nursery:
          ...         nursery.start_soon(let_go_soon)
          ...         return await pool.reserve_wait(4000)
          >>> trio.run(main)
          <BytesBuf of 0 bytes, room for 4096 more>
        """
        wanted = count_of(nbytes, "nbytes")
        if wanted > self._max_nbytes:
            raise ValueError(f"{wanted} bytes can never be granted: the cap is {self._max_nbytes}")
        await checkpoint_if_cancelled()
        choices = _choices_of_sizes(wanted, self._max_nbytes)
        loans = self._ledger.take(self._accounts, choices) if wanted else []
        if wanted and not loans:
            return self._builder(await self._ledger.take_wait(self._accounts, choices))
        buf = self._builder(loans)  # first: who looks meanwhile must see that it is lent
        await cancel_shielded_checkpoint()
        return buf

    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        """Return blocks of at least `nbytes` bytes in all, now or not at all.

        Raises:
          BudgetExceeded: as `reserve`.
        """
        return [
            Block(loan.memory, on_release=partial(self._ledger.came_home, loan))
            for loan in self._take_now(nbytes)
            if loan.memory is not None
        ]

    def _waitable(self) -> CappedMemory:
        return self

    def _take_now(self, nbytes: int) -> list[Loan]:
        if not nbytes:
            return []
        if nbytes <= self._max_nbytes:
            choices = _choices_of_sizes(nbytes, self._max_nbytes)
            loans = self._ledger.take(self._accounts, choices)
            if not loans:
                self._ledger.sweep(*self._accounts)
                loans = self._ledger.take(self._accounts, choices)
            if loans:
                return loans
        raise BudgetExceeded(requested=nbytes, available=self._available())

    def _available(self) -> int:
        if any(account.line for account in self._accounts):
            return 0
        return min(account.max_nbytes - account.lent_nbytes for account in self._accounts)

    def _builder(self, loans: list[Loan]) -> BytesBuf:
        # No tuple of a generator: CPython loses what is in one that it has no memory to shorten.
        views = [self._shown(loan) for loan in loans]
        return fresh(views, sum(view.nbytes for view in views))

    def _shown(self, loan: Loan) -> memoryview:
        assert loan.memory is not None
        return leased(memoryview(loan.memory), partial(self._ledger.came_home, loan))[0]

    def _choices_for(self, nbytes: int) -> Sequence[tuple[int, ...]]:
        choices = self._choices
        for index, (size,) in enumerate(choices):
            if size <= nbytes:
                return choices[index:]
        return choices[-1:]

    def _worth_asking_for(self) -> int:
        """Return how large the next block should be at the most, for one of many receives."""
        left = self._max_nbytes - self._account.lent_nbytes
        return max(left // RECEIVES, self._choices[-1][0])

    def _lease(self, nbytes: int, /) -> tuple[memoryview, None]:
        """Return memory for one receive: a block of what there is room for, at most `nbytes`."""
        loans = self._ledger.take(self._accounts, self._choices_for(nbytes))
        if not loans:
            raise BudgetExceeded(requested=nbytes, available=self._available())
        return self._shown(loans[0]), None

    async def _lease_wait(self, nbytes: int, /) -> memoryview:
        """Stand in line for what `_lease` gives; a checkpoint only if it has to wait."""
        loans = await self._ledger.take_wait(self._accounts, self._choices_for(nbytes))
        return self._shown(loans[0])

    def _starved_by(self, pieces: Iterable[memoryview]) -> int:
        """Return how many bytes these pieces hold here, if that leaves no room for another block.

        Else 0. Who waits for memory that he holds himself would wait for ever.

        Cost: nothing while there is room; else a look at each piece.
        """
        most = self._max_nbytes - self._choices[-1][0]
        if self._account.lent_nbytes <= most:
            return 0
        loans = {id(loan): loan for loan in map(self._loan_of, pieces) if loan is not None}
        held = sum(len(loan.memory or b"") for loan in loans.values())
        return held if held > most else 0

    def _starved(self, held: int) -> BudgetExceeded:
        """Return what tells that so much is held by who wants more."""
        least = self._choices[-1][0]
        return BudgetExceeded(requested=least, available=self._max_nbytes - held, held=held)

    def _loan_of(self, piece: memoryview) -> Loan | None:
        """Return the loan that a piece is a part of, if it counts here."""
        hook = hook_of(piece.obj)
        if not isinstance(hook, partial) or hook.func != self._ledger.came_home:
            return None
        loan: Loan = hook.args[0]
        return loan if self._account in loan.accounts else None

    def statistics(self) -> CappedStatistics:
        """Return how things stand. Cost: a look at every block that is lent."""
        ledger, account = self._ledger, self._account
        ledger.sweep(account)
        waiting = ledger.waiting if account is ledger.total else account.line
        return CappedStatistics(
            max_nbytes=account.max_nbytes,
            lent_nbytes=account.lent_nbytes,
            peak_nbytes=account.peak_nbytes,
            idle_nbytes=ledger.idle_nbytes,
            waiting=len(waiting),
        )

    def _picture(self) -> Picture:
        return self.statistics()._picture_of(type(self).__name__)


class CappedPool(CappedMemory):
    """A pool that never lends more than `max_nbytes` at once, and whose memory can be waited for.

    A server whose streams receive into it cannot be made to run out of memory by its peers: when
    the handlers hold as much as the cap allows, nothing more is received, and TCP tells the
    peers to wait. What counts are whole blocks that anybody can see: views, slices, arrays of them.

    Memory comes home when its reference count proves that nobody sees it, and is used again.
    Any thread may reserve, wait (each in a `trio.run` of its own) and drop.

    Args:
      max_nbytes: the most that is lent at once, in bytes of blocks; at least 1. Blocks have 4 KiB,
        16 KiB, 64 KiB or 256 KiB, so it should be many times that. A stream takes a fourth of this
        at the most for one receive.
      max_idle_nbytes: how many bytes are kept for the next lease. What is lent and what is kept
        are not more than `max_nbytes` together.

    Raises:
      TypeError, ValueError: a number is no integer, or too small.

    Cost: some 6 µs for a lease and its return, against 0.3 of a `GlobalPool`: a release hook has to
    say when the block is let go.

    Example:
      >>> pool = CappedPool(1_048_576)
      >>> held = pool.reserve(1_048_576)
      >>> pool.reserve(1)
      Traceback (most recent call last):
        ...
      trio_bytesbuf._errors.BudgetExceeded: 1 bytes were requested, the budget has 0 left
      >>> del held
      >>> pool.reserve(1).remaining_capacity
      4096
    """

    __slots__ = ()

    def __init__(
        self, max_nbytes: SupportsIndex, *, max_idle_nbytes: SupportsIndex = MAX_IDLE_NBYTES
    ) -> None:
        total = Account(positive_count_of(max_nbytes, "max_nbytes"))
        super().__init__(Ledger(total, count_of(max_idle_nbytes, "max_idle_nbytes")), total)

    def share(self, max_nbytes: SupportsIndex, /) -> PoolShare:
        """Return a part of this pool for one connection, with a cap of its own.

        A share is a cap and not a promise: all shares together may be more than the pool. Where
        they are not, no connection ever waits for another.

        Args:
          max_nbytes: the most that this share lends at once; at most the pool's. What is read as a
            whole (a line, a frame, a message) must fit: up to half of this, less 4 KiB, it always
            does. What holds all of it and is not whole yet raises `BudgetExceeded`.

        Raises:
          ValueError: it is below 1, or more than the pool's.
          TypeError: it is no integer.

        Example:
          >>> pool = CappedPool(1_048_576)
          >>> one, other = pool.share(65_536), pool.share(65_536)
          >>> held = one.reserve(65_536)
          >>> other.reserve(65_536).remaining_capacity
          65536
          >>> pool.statistics().lent_nbytes
          65536
        """
        nbytes = positive_count_of(max_nbytes, "max_nbytes")
        if nbytes > self._max_nbytes:
            raise ValueError(f"a share of {nbytes} bytes in a pool of {self._max_nbytes}")
        return PoolShare(self._ledger, Account(nbytes))

    def trim(self) -> int:
        """Give idle memory back to Python; return how many bytes that were."""
        return self._ledger.trim()

    def __repr__(self) -> str:
        return f"<CappedPool of {self._max_nbytes} bytes at {id(self):#x}>"


class PoolShare(CappedMemory):
    """A part of a `CappedPool` with a cap of its own; made by `CappedPool.share`.

    A connection that holds on to what it received starves itself and not the others. A share may be
    forgotten while its memory is lent: that counts in the pool until it comes home.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<PoolShare of {self._max_nbytes} bytes at {id(self):#x}>"


def _origin_of(exporter: object) -> str | None:
    hook = hook_of(exporter)
    is_ours = isinstance(hook, partial) and isinstance(getattr(hook.func, "__self__", None), Ledger)
    return "a CappedPool" if is_ours else None


origins.append(_origin_of)


def check_capped(pool: CappedMemory) -> None:
    """Raise AssertionError if a law of `_ledger` is broken. No other thread may be lending."""
    check_ledger(pool._ledger)
