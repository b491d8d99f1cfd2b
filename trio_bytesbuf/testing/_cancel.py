"""Cancellation at every moment at which it can come, and the table that says which those were.

A task can only be cancelled where it yields to trio. It yields in two ways: at a *schedule point*
it lets others run and is run again whatever happens; at a *blocked* one it waits for something.
From a wait there are two ways out, and cancellation can come before either: while the task is
still blocked, when the wait is given up, and after it was *woken*, when the wait succeeds and
whatever comes next is cancelled. Where bytes get lost it is mostly there: they have been
taken, and a `checkpoint_if_cancelled` stands between them and the caller.

Law 1. Each attempt is made on a fresh subject and cancelled at one moment; the next attempt at the
       next moment, until an attempt is over before its moment came. So no moment is left out that
       the operation comes by when it is not disturbed.
Law 2. What is proved must have happened: an operation that was never cancelled, never while it was
       blocked, or never after it had done a part of its work, is no proof, and that is an error.
"""

from __future__ import annotations

import enum
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final, Self, TypeVar

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

S = TypeVar("S")

MOMENTS_MAX: Final = 1_000
"""How many moments an operation may have; an attempt is made for each. A guess: with more, the
attempts take minutes, or the operation never ends."""


class Moment(enum.Enum):
    """When an attempt was cancelled."""

    BEFORE = "before it began"
    """The first thing that can be cancelled is."""

    SCHEDULE_POINT = "schedule point"
    """It let other tasks run, without waiting for anything."""

    BLOCKED = "blocked"
    """It waited for something."""

    WOKEN = "woken"
    """What it waited for has happened, and it has not been run yet."""

    NEVER = "not cancelled"
    """It was over before."""


@attrs.frozen
class Attempt:
    """One run of the operation: when it was cancelled, and how it ended."""

    checkpoint: int
    """How often it had yielded to trio when it was cancelled."""

    moment: Moment
    """Where it was then."""

    progress: int
    """How much it had done when it ended."""

    was_cancelled: bool
    """Whether it ended by being cancelled; otherwise it was completed all the same."""

    result: object = None
    """What it returned if it was completed; None in a table, which keeps nobody's memory."""

    def __str__(self) -> str:
        ended = "cancelled" if self.was_cancelled else "completed"
        return f"{self.checkpoint:>10}  {self.moment.value:<15}  {self.progress:>8}  {ended}"


@attrs.frozen
class CancellationTable:
    """All attempts, in order; `str` makes a table of them."""

    attempts: tuple[Attempt, ...]
    """The last of them was not disturbed."""

    @property
    def cancelled(self) -> int:
        """How many attempts ended by being cancelled."""
        return sum(attempt.was_cancelled for attempt in self.attempts)

    @property
    def blocked(self) -> int:
        """How many of these were cancelled while they waited for something."""
        return sum(
            attempt.was_cancelled and attempt.moment is Moment.BLOCKED for attempt in self.attempts
        )

    @property
    def partial(self) -> int:
        """How many of these had done a part of their work."""
        return sum(attempt.was_cancelled and attempt.progress > 0 for attempt in self.attempts)

    def __str__(self) -> str:
        head = f"{'checkpoint':>10}  {'when':<15}  {'progress':>8}  ended"
        total = (
            f"{len(self.attempts)} attempts, {self.cancelled} cancelled: "
            f"{self.blocked} while blocked, {self.partial} after partial progress"
        )
        return "\n".join([head, *map(str, self.attempts), total])


async def cancel_at_each_checkpoint(
    subject: Callable[[], AbstractAsyncContextManager[S]],
    operation: Callable[[S], Awaitable[object]],
    *,
    peer: Callable[[S], Awaitable[object]] | None,
    progress: Callable[[S], int],
    check: Callable[[S, Attempt], Awaitable[object]],
) -> CancellationTable:
    """Cancel `operation` at every moment at which that can happen, and have `check` look each time.

    The first attempt is cancelled before it begins, the next at the first checkpoint, and so on,
    until one is over before it is cancelled. A checkpoint that waits for something counts twice:
    once cancelled while it is blocked, and once when it has been woken.

    For operations that do their work in parts: *resumable* ones, and those that cancellation
    *spoils*. For *atomic* ones there is `cancel_atomic_at_each_checkpoint`.

    Args:
      subject: makes what one attempt works with, and an ``async with`` block ends it.
      operation: what is cancelled; called with the subject. Only checkpoints of the task that
        it is called in count, not those of tasks that it starts.
      peer: makes it block; called with the subject, runs beside the operation and beside
        `check`, and is cancelled after that. It waits by
        ``await trio.testing.wait_all_tasks_blocked()`` for the operation to be blocked. None says
        that the operation need not block.
      progress: says how much the operation has done, for example how many bytes it has taken.
        It must not await anything.
      check: asserts what must hold after an attempt; called with the subject and the `Attempt`.

    Returns:
      What was tried. Print it.

    Raises:
      AssertionError: nothing was ever cancelled; or nothing while it was blocked, though there is a
        `peer`; or nothing after it had made some progress; or there was no end to the checkpoints.
      Whatever `operation`, `peer`, `progress` and `check` raise, with a note of what the attempt
      was.

    Cancellation: the attempt that is going on is given up, and its subject ended.

    Cost: an attempt for each moment, each with a subject of its own.

    Example:
      >>> import contextlib, trio.testing
      >>> @contextlib.asynccontextmanager
      ... async def pair():
      ...     ours, theirs = map(SocketStream, trio.socket.socketpair())
      ...     async with ours, theirs:
      ...         yield ours, theirs
      >>> async def send(pair):
      ...     for part in (b"abc", b"def"):
      ...         await trio.testing.wait_all_tasks_blocked()
      ...         await pair[1].send_all(part)
      ...     await pair[1].send_eof()
      >>> async def no_byte_is_lost_or_repeated(pair, attempt):
      ...     rest = await pair[0].read_to_end(100)
      ...     assert (attempt.result or BytesView()) + rest == b"abcdef"
      >>> async def main():
      ...     print(await cancel_at_each_checkpoint(
      ...         pair,
      ...         lambda pair: pair[0].read_exactly(5),
      ...         peer=send,
      ...         progress=lambda pair: pair[0].statistics().received_nbytes,
      ...         check=no_byte_is_lost_or_repeated,
      ...     ))
      >>> trio.run(main)
      checkpoint  when             progress  ended
               0  before it began         0  cancelled
               1  blocked                 0  cancelled
               1  woken                   3  cancelled
               2  blocked                 3  cancelled
               2  woken                   5  completed
               2  not cancelled           5  completed
      6 attempts, 4 cancelled: 2 while blocked, 2 after partial progress

    Idea: the failing allocators of C libraries' tests, which let the first allocation fail, then
    the second, and so on.
    """
    table = await _attempt_all(subject, operation, peer, progress, check)
    _refuse_unproved(table, peer)
    if not table.partial:
        raise AssertionError(
            "the operation was never cancelled after it had made some progress: let the peer give "
            f"it its work in parts, or call it atomic\n{table}"
        )
    return table


async def cancel_atomic_at_each_checkpoint(
    subject: Callable[[], AbstractAsyncContextManager[S]],
    operation: Callable[[S], Awaitable[object]],
    *,
    peer: Callable[[S], Awaitable[object]] | None,
    progress: Callable[[S], int],
    check: Callable[[S, Attempt], Awaitable[object]],
) -> CancellationTable:
    """Do what `cancel_at_each_checkpoint` does, for an operation that does all or nothing.

    Raises:
      AssertionError: an attempt was cancelled that had made some progress.
      As `cancel_at_each_checkpoint` otherwise.

    Cancellation: as `cancel_at_each_checkpoint`.
    """
    table = await _attempt_all(subject, operation, peer, progress, check)
    _refuse_unproved(table, peer)
    if table.partial:
        raise AssertionError(f"it was cancelled after some progress: it is not atomic\n{table}")
    return table


def _refuse_unproved(table: CancellationTable, peer: object) -> None:
    """Raise if the operation was not cancelled as it can be. (Law 2)"""
    if not table.cancelled:
        why = "it has no checkpoint"
        if any(attempt.moment is not Moment.NEVER for attempt in table.attempts[1:]):
            why = "it shields itself, or swallows trio.Cancelled"
        raise AssertionError(f"the operation was never cancelled: {why}\n{table}")
    if peer is not None and not table.blocked:
        raise AssertionError(
            "the operation was never cancelled while it was blocked: let the peer wait until it "
            f"is, or say peer=None\n{table}"
        )


async def _attempt_all(
    subject: Callable[[], AbstractAsyncContextManager[S]],
    operation: Callable[[S], Awaitable[object]],
    peer: Callable[[S], Awaitable[object]] | None,
    progress: Callable[[S], int],
    check: Callable[[S, Attempt], Awaitable[object]],
) -> CancellationTable:
    attempts: list[Attempt] = []
    while len(attempts) <= MOMENTS_MAX:
        async with subject() as it:
            attempt = await _attempt(it, operation, peer, progress, check, len(attempts))
        attempts.append(attempt)
        if attempt.moment is Moment.NEVER:
            return CancellationTable(tuple(attempts))
        del it
    raise AssertionError(
        f"the operation has more than {MOMENTS_MAX:,} moments at which it can be cancelled: "
        "try a smaller one"
    )


async def _attempt(
    subject: S,
    operation: Callable[[S], Awaitable[object]],
    peer: Callable[[S], Awaitable[object]] | None,
    progress: Callable[[S], int],
    check: Callable[[S, Attempt], Awaitable[object]],
    at: int,
) -> Attempt:
    """Make one attempt, cancelled at the moment `at`; return it without its result."""
    trigger = _Trigger(at)
    attempt: Attempt | None = None
    # Kept here to be raised outside of the nursery, which would wrap it in a group.
    failure: Exception | None = None

    async def beside() -> None:
        nonlocal failure
        try:
            if peer is not None:
                await peer(subject)
        except Exception as exc:  # noqa: BLE001  # raised below
            failure = failure or exc
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(beside)
        try:
            result: object = None
            with trigger:
                result = await operation(subject)
            attempt = trigger.attempt(progress(subject), result)
            del result
            await check(subject, attempt)
        except Exception as exc:  # noqa: BLE001  # raised below
            failure = failure or exc
        nursery.cancel_scope.cancel()
    if failure is not None:
        failure.add_note(f"in the attempt: checkpoint {trigger.checkpoint}, {trigger.moment.value}")
        try:
            raise failure
        finally:
            failure = None  # it refers to this frame
    assert attempt is not None
    return attrs.evolve(attempt, result=None)


class _Trigger(trio.abc.Instrument):
    """Cancels what the current task does in a ``with`` block, at one of its moments."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._task = trio.lowlevel.current_task()
        self._scope = trio.CancelScope()
        self._is_in_step = True
        self._was_rescheduled = False
        self._moments = 0
        self.checkpoint = 0  # as in `Attempt`
        self.moment = Moment.NEVER

    def __enter__(self) -> Self:
        trio.lowlevel.add_instrument(self)
        self._scope.__enter__()
        self._come_by(Moment.BEFORE)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        trio.lowlevel.remove_instrument(self)
        return self._scope.__exit__(exc_type, exc, traceback)

    def attempt(self, progress: int, result: object) -> Attempt:
        """Return what became of it."""
        was_cancelled = self._scope.cancelled_caught
        return Attempt(self.checkpoint, self.moment, progress, was_cancelled, result)

    def _come_by(self, moment: Moment) -> None:
        if self.moment is Moment.NEVER and self._moments == self._at:
            self.moment = moment
            self._scope.cancel()
        self._moments += 1

    # What trio tells of the task

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note that the task runs now."""
        if task is self._task:
            self._is_in_step, self._was_rescheduled = True, False

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        """Note that the task will run again: in its own step if it waits for nothing."""
        if task is not self._task or self.moment is not Moment.NEVER:
            return
        if self._is_in_step:
            self._was_rescheduled = True
        else:
            self._come_by(Moment.WOKEN)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note that the task has yielded."""
        if task is not self._task or self.moment is not Moment.NEVER:
            return
        self._is_in_step = False
        self.checkpoint += 1
        self._come_by(Moment.SCHEDULE_POINT if self._was_rescheduled else Moment.BLOCKED)
