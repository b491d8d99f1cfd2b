"""The books of a `CappedPool`: what is lent, what came home, and whose turn it is.

Three questions, and who answers them:

    how much is lent?      the reference counts, and nothing else
    when to look again?    hints: a block's release hook, a timer, the end of a collection
    whose turn is it?      a line for each share, and one for the pool

    task ──> line of its share ──(the share has room)──> line of the pool ──(it has)──> memory

Law 1. A block counts as lent from before anybody gets it until the count of references proves that
       nobody sees it. `lent_nbytes` of a pool or share is the sum of its lent blocks and never
       above its cap; blocks that are lent or idle are never more than the pool's cap together.
Law 2. A hint proves nothing. A release hook only appends its loan to a deque and wakes the first of
       the lines that the loan concerns, by `TrioToken.run_sync_soon`, from whatever thread it runs
       in. It takes no lock of ours and raises nothing.
Law 3. Who stands first in a line looks for himself; nothing is granted to a task that sleeps. So a
       cancelled task has nothing to give back. It leaves its lines and wakes who is next.
Law 4. Nobody is overtaken. Memory is lent to the first of a line, or to anybody while the line is
       empty. A task stands in the pool's line only when its share has room for it: who hoards
       waits for himself, and the others do not wait for him.
Law 5. A lost hint delays and does no more: the first of a line looks again after 0.1 s (1 ms while
       a hint was given and the proof is still out), 0.2 s, ... up to 10 s, at every block. Who
       stands behind looks every 10 s whether he is the first.
       If that finds nothing for a second, memory may lie in garbage that nobody collects because
       a starved program allocates nothing; then the collector is run, at most every 10 s.

The books are kept under a lock, which only callers take. A finalizer or a signal handler that
interrupts its owner and asks for memory itself is refused, as if there were none; so what is
between two lines of a locked part is never seen. What lacks memory there changes nothing: numbers
are computed first and stored then. A block that an exception lets fall between
being booked and being handed out is seen by nobody, which Law 5 finds out.
"""

from __future__ import annotations

import gc
import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from sys import getrefcount
from typing import Final, TypeVar

import attrs
import trio

from ..seq._exports import forget_what_exports_nothing
from ..seq._proof import FREE_THREADED, REFERENCES_TO_A_LONE_EXPORTER
from ..seq._release import run_hooks_that_are_due

T = TypeVar("T")

CAPPED_BLOCK_SIZES: Final = (4096, 16_384, 65_536, 262_144)
"""The sizes of blocks. A lease costs a class for each size, and few sizes find free blocks more
often; the smallest is a page, so that a short message does not take 64 KiB from the budget."""

RELOOK_SOON_SECONDS: Final = 0.001
"""When to look again for a block whose hook has run while something on its way out still
referred to it: in another thread, that is a matter of microseconds. A guess."""

RELOOK_SECONDS: Final = 0.1
"""When the first of a line looks at every block for the first time. At 0.1 µs a block, 10,000
blocks cost a starved program 1 % of its time."""

RELOOK_MAX_SECONDS: Final = 10.0
"""How far that is doubled: ten thousand tasks, each the first in its share's line, wake a thousand
times a second."""

GARBAGE_WAIT_SECONDS: Final = 1.0
"""How long the first of a line waits before it has the garbage collected. A guess."""

GARBAGE_GAP_SECONDS: Final = 10.0
"""How long it is until that may happen again, for a pool. A guess: a collection of a large program
takes 0.1 s or more."""

_HELD: Final = REFERENCES_TO_A_LONE_EXPORTER + 1
"""What `getrefcount` says of memory that only its loan and a variable of ours refer to."""


@attrs.define(eq=False)
class Waiter:
    """A task that stands in line."""

    token: trio.lowlevel.TrioToken
    accounts: list[Account] = attrs.Factory(list)
    woken: trio.Event = attrs.Factory(trio.Event)
    is_gone: bool = False
    """Whether it stands in line no more, though it could not be taken out for lack of memory."""

    def wake(self) -> bool:
        """Have the task look again, from any thread; say whether there is one any more."""
        if not self.woken.is_set():
            try:
                self.token.run_sync_soon(self._set, idempotent=True)
            except trio.RunFinishedError:
                return False
        return True

    def _set(self) -> None:
        self.woken.set()


@attrs.define(eq=False)
class Account:
    """A cap, what is lent under it, and who waits."""

    max_nbytes: int
    lent_nbytes: int = 0
    peak_nbytes: int = 0
    line: deque[Waiter] = attrs.Factory(deque)

    def first(self) -> Waiter | None:
        try:
            while (waiter := self.line[0]).is_gone:
                self.leave(waiter)  # by name: another thread may have taken it out
        except IndexError:  # nobody, or another thread changes the line at this moment
            return None
        return waiter

    def wake_first(self) -> None:
        """Have the first of the line look again; forget those whose `trio.run` is over."""
        waiter = self.first()
        while waiter is not None and not waiter.wake():
            self.leave(waiter)
            waiter = self.first()

    def leave(self, waiter: Waiter) -> None:
        try:
            self.line.remove(waiter)
        except ValueError:  # somebody saw that its run is over
            return


@attrs.define(eq=False)
class Loan:
    """A block that was lent; `memory` is None when it has come home."""

    memory: bytearray | None
    accounts: tuple[Account, ...]


@attrs.define(eq=False)
class Ledger:
    """The books of a pool and its shares. The last of a loan's accounts is always the pool's."""

    total: Account
    max_idle_nbytes: int
    idle_nbytes: int = 0
    idle: dict[int, deque[bytearray]] = attrs.field(
        factory=lambda: {size: deque() for size in CAPPED_BLOCK_SIZES}
    )
    """Deques, because taking one out of a list may lack memory."""
    lent: dict[int, Loan] = attrs.Factory(dict)
    hinted: deque[Loan] = attrs.Factory(deque)
    waiting: set[Waiter] = attrs.Factory(set)
    swept_at: float = -math.inf
    collected_at: float = -math.inf
    _lock: threading.RLock = attrs.Factory(threading.RLock)
    _inside: bool = False

    def __attrs_post_init__(self) -> None:
        _LEDGERS.add(self)

    @contextmanager
    def _open(self) -> Iterator[bool]:
        """Hold the lock; yields False to who has interrupted himself, and must change nothing."""
        with self._lock:
            if self._inside:
                yield False
                return
            self._inside = True
            try:
                yield True
            finally:
                self._inside = False

    # What is lent, and what has come home

    def take(
        self,
        accounts: tuple[Account, ...],
        choices: Sequence[tuple[int, ...]],
        me: Waiter | None = None,
    ) -> list[Loan]:
        """Lend blocks of the first of these sizes that there is room for; none if nothing fits.

        Nor if somebody else than `me` is first in one of the lines (Law 4).
        """
        with self._lock:
            if self._inside:
                return []
            self._inside = True
            try:
                if self.hinted:
                    self._settle()
                for account in accounts:
                    if account.line and account.first() not in {None, me}:
                        return []
                room = min(account.max_nbytes - account.lent_nbytes for account in accounts)
                loans: list[Loan] = []
                for sizes in choices:
                    if sum(sizes) <= room:
                        try:
                            for size in sizes:
                                loans.append(self._lend(size, accounts))  # noqa: PERF401
                        except BaseException:  # no memory: those before it go home at once
                            self.hinted.extend(loans)
                            raise
                        break
                return loans
            finally:
                self._inside = False

    def _lend(self, nbytes: int, accounts: tuple[Account, ...]) -> Loan:
        own, total = accounts[0], self.total  # which are one, if it is no share's
        own_nbytes, total_nbytes = own.lent_nbytes + nbytes, total.lent_nbytes + nbytes
        shelf = self.idle.get(nbytes)
        if shelf:
            memory = shelf[-1]
            idle_nbytes = self.idle_nbytes - nbytes
        else:
            self._shrink_idle(total.max_nbytes - total_nbytes)
            memory = bytearray(nbytes)
            idle_nbytes = self.idle_nbytes
        loan = Loan(memory, accounts)
        self.lent[id(loan)] = loan  # the last that can lack memory
        if shelf:
            shelf.pop()
        self.idle_nbytes = idle_nbytes
        own.lent_nbytes = own_nbytes
        total.lent_nbytes = total_nbytes
        if own_nbytes > own.peak_nbytes:
            own.peak_nbytes = own_nbytes
        if total_nbytes > total.peak_nbytes:
            total.peak_nbytes = total_nbytes
        return loan

    def _shrink_idle(self, max_nbytes: int) -> None:
        for size in self.idle:  # not `items`: CPython crashes when that lacks memory
            shelf = self.idle[size]
            while shelf and self.idle_nbytes > max_nbytes:
                idle_nbytes = self.idle_nbytes - size
                shelf.pop()
                self.idle_nbytes = idle_nbytes

    def came_home(self, loan: Loan) -> None:
        """Say that a look might be worth it: what a release hook does (Law 2)."""
        try:
            self.hinted.append(loan)
            for account in loan.accounts:
                if account.line:
                    account.wake_first()
        except MemoryError:  # a hint that is lost (Law 5)
            return

    def _settle(self) -> None:
        """Look at the blocks that hints were given for."""
        for _ in range(len(self.hinted)):
            if self._is_home(self.hinted[0]):
                self.hinted.popleft()
            else:
                self.hinted.rotate(-1)

    def _is_home(self, loan: Loan) -> bool:
        """Take a block back if it is proved that nobody sees it (Law 1)."""
        memory = loan.memory
        if memory is None:  # a sweep was quicker than the hint
            return True
        if getrefcount(loan.memory) != _HELD:
            return False
        nbytes, key = len(memory), id(loan)
        own, total = loan.accounts[0], self.total
        own_nbytes, total_nbytes = own.lent_nbytes - nbytes, total.lent_nbytes - nbytes
        idle_nbytes = self.idle_nbytes + nbytes
        # Counts of a free-threaded build are good enough for a budget, and not for using it again.
        keep = idle_nbytes <= self.max_idle_nbytes and not FREE_THREADED
        loan.memory = None
        del self.lent[key]
        own.lent_nbytes = own_nbytes
        total.lent_nbytes = total_nbytes
        if keep and nbytes in self.idle:
            try:
                self.idle[nbytes].append(memory)
            except MemoryError:  # then it is not kept
                return True
            self.idle_nbytes = idle_nbytes
        return True

    def sweep(self, *accounts: Account) -> None:
        """Look at every block, and sum up what is left: also what an interrupt left uncounted."""
        forget_what_exports_nothing()
        run_hooks_that_are_due()  # a hook that was lost holds the memory that it is about
        with self._open() as may:
            if may:
                self._settle()
                for loan in list(self.lent.values()):
                    self._is_home(loan)
                sums = dict.fromkeys((*accounts, self.total), 0)
                for loan in self.lent.values():
                    for account in loan.accounts:
                        sums[account] = sums.get(account, 0) + len(loan.memory or b"")
                for account in sums:
                    account.lent_nbytes = sums[account]
                self.idle_nbytes = sum(size * len(self.idle[size]) for size in self.idle)
                self.swept_at = time.monotonic()

    def trim(self) -> int:
        with self._open() as may:
            nbytes = self.idle_nbytes if may else 0
            if may:
                self._settle()
                nbytes = self.idle_nbytes
                self._shrink_idle(0)
        return nbytes

    # Waiting

    async def take_wait(
        self, accounts: tuple[Account, ...], choices: Sequence[tuple[int, ...]]
    ) -> list[Loan]:
        """Stand in line for what `take` lends. Cancellation: atomic (Law 3).

        A checkpoint only if it has to wait.
        """
        loans = self.take(accounts, choices)
        if loans:
            return loans
        least = sum(choices[-1])
        me = Waiter(trio.lowlevel.current_trio_token())

        def fits(account: Account) -> bool:
            with self._open() as may:
                if may:
                    self._settle()
            return least <= account.max_nbytes - account.lent_nbytes

        self.waiting.add(me)
        try:
            for account in accounts[:-1]:
                await self._until(me, account, partial(fits, account))
            return await self._until(me, accounts[-1], lambda: self.take(accounts, choices, me))
        finally:
            me.is_gone = True
            self.waiting.discard(me)
            for account in reversed(me.accounts):
                account.leave(me)
                account.wake_first()

    async def _until(self, me: Waiter, account: Account, look: Callable[[], T]) -> T:
        """Stand in the account's line until it is this task's turn and `look` finds something."""
        me.accounts.append(account)
        account.line.append(me)
        delay = 0.0
        waited_since = None
        while True:
            me.woken = trio.Event()  # before looking: who comes home from now on sets this one
            if account.first() is me:
                found = look()
                if found:
                    return found
                if waited_since is None:
                    waited_since = trio.current_time()
                shortest = RELOOK_SOON_SECONDS if self.hinted else RELOOK_SECONDS
                delay = min(max(delay, shortest), RELOOK_MAX_SECONDS)
            with trio.move_on_after(delay or RELOOK_MAX_SECONDS) as scope:
                await me.woken.wait()
            if not scope.cancelled_caught:
                delay = 0.0
            elif waited_since is not None:
                delay *= 2
                self._look_hard(trio.current_time() - waited_since)

    def _look_hard(self, waited_seconds: float) -> None:
        """Do what finds memory whose hint was lost (Law 5)."""
        now = time.monotonic()
        if (
            waited_seconds >= GARBAGE_WAIT_SECONDS
            and now - self.collected_at >= GARBAGE_GAP_SECONDS
            and gc.isenabled()
        ):
            gc.collect()
            self.collected_at = time.monotonic()
        if now - self.swept_at >= RELOOK_SECONDS:
            self.sweep()

    def forget_other_process(self) -> None:
        """Be of use after `fork`: the tasks that wait, and who held the lock, are the parent's."""
        self._lock = threading.RLock()
        self._inside = False
        for waiter in self.waiting:
            for account in waiter.accounts:
                account.line.clear()
        self.waiting.clear()


_LEDGERS: Final[weakref.WeakSet[Ledger]] = weakref.WeakSet()


def _after_fork() -> None:
    for ledger in tuple(_LEDGERS):
        ledger.forget_other_process()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def check_ledger(ledger: Ledger) -> None:
    """Raise AssertionError if a law of this file is broken. Call it while no other thread lends."""
    lent: dict[Account, int] = {}
    for loan in ledger.lent.values():
        assert loan.memory is not None, "a block that came home and is still lent"
        assert loan.accounts[-1] is ledger.total, "Law 1: a loan that the pool does not know of"
        for account in loan.accounts:
            lent[account] = lent.get(account, 0) + len(loan.memory)
    assert ledger.total.lent_nbytes == lent.get(ledger.total, 0), "Law 1: the pool's sum is wrong"
    for account, nbytes in lent.items():
        assert account.lent_nbytes == nbytes <= account.max_nbytes, "Law 1"
        assert nbytes <= account.peak_nbytes <= account.max_nbytes, "a peak that is none"
    idle = sum(size * len(shelf) for size, shelf in ledger.idle.items())
    assert ledger.idle_nbytes == idle <= ledger.max_idle_nbytes, "the idle sum is wrong"
    assert idle + ledger.total.lent_nbytes <= ledger.total.max_nbytes, "Law 1: with idle ones"
    assert all(waiter in ledger.waiting for waiter in ledger.total.line), "a stranger in line"
