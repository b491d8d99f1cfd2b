"""Failure at every call at which it can come, and the table that says what became of it.

What SQLite's tests do for files: let the first call fail, then the second, and so on, until an
attempt is over before its call came. After each, somebody looks whether all is as it was promised.
What can fail, and how it is made to, is in `_faults`.

Law 1. Each attempt is made on a fresh subject, and one call fails in it; the next attempt at the
       next call, until none fails any more. So no call is left out that the operation makes when it
       is not disturbed, unless told (`every`).
Law 2. What is proved must have happened: an operation in which nothing failed is no proof.
Law 3. An attempt has an end: the operation, the check, and the end of the subject together take
       `HANG_SECONDS` at the most. What takes longer hangs, and that is an error.
Law 4. An attempt leaves no descriptor open that was not open before it.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final, SupportsIndex, TypeVar

import attrs
import trio

from ..seq._flat import positive_count_of
from ._faults import Fault, spare
from ._seams import only_run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

S = TypeVar("S")

CALLS_MAX: Final = 10_000
"""How many attempts are made. A guess: with more it takes minutes, or the operation never ends."""

HANG_SECONDS: Final = 10.0
"""How long an attempt may take, by the clock of the run. Real ones take milliseconds."""


@attrs.frozen
class FailureAttempt:
    """One run of the operation: what failed, how it ended, and what became of it."""

    failed: str
    """Which call failed and how; empty if none did."""

    error: Exception | None = None
    """What the operation raised. None in a table, which keeps nobody's frames."""

    result: object = None
    """What it returned, if it returned. None in a table, which keeps nobody's memory."""

    ended: str = "completed"
    """The name of the error that it raised, or that it was completed."""

    became: str = ""
    """What the check has found: "resumed", say. Empty if it said nothing."""

    def __str__(self) -> str:
        return f"{self.failed or 'nothing failed':<28}  {self.ended:<20}  {self.became}".rstrip()


@attrs.frozen
class FailureTable:
    """All attempts, in order; `str` makes a table of them."""

    attempts: tuple[FailureAttempt, ...]
    """The last of them was not disturbed."""

    @property
    def failed(self) -> int:
        """In how many attempts a call failed."""
        return sum(bool(attempt.failed) for attempt in self.attempts)

    @property
    def outcomes(self) -> Counter[str]:
        """How the attempts in which one failed ended, and how often."""
        return Counter(
            ", ".join(filter(None, (each.ended, each.became)))
            for each in self.attempts
            if each.failed
        )

    def __str__(self) -> str:
        head = f"{'failed':<28}  {'ended':<20}  then"
        counts = ", ".join(f"{count} {name}" for name, count in self.outcomes.most_common())
        total = f"{len(self.attempts)} attempts, a call failed in {self.failed}: {counts}"
        return "\n".join([head, *map(str, self.attempts), total])


async def fail_at_each_call(
    subject: Callable[[], AbstractAsyncContextManager[S]],
    operation: Callable[[S], Awaitable[object]],
    fault: Fault,
    *,
    check: Callable[[S, FailureAttempt], Awaitable[str | None]],
    peer: Callable[[S], Awaitable[object]] | None = None,
    every: SupportsIndex = 1,
) -> FailureTable:
    """Run `operation` again and again, and let another call fail each time; have `check` look.

    In the first attempt the first call fails, in the next the second, and so on, until none fails
    before the operation is over.

    Args:
      subject: makes what one attempt works with, and an ``async with`` block ends it.
      operation: what fails; called with the subject.
      fault: which calls fail, and how: `SystemCalls`, `HookCalls`, `Allocations`.
      check: asserts what must hold after an attempt, whatever it raised; called with the subject
        and the `FailureAttempt`. It goes on with what is resumable, sees the rest closed, and may
        return in a word what it did, for the table.
      peer: called with the subject, runs beside the operation and the check, and is cancelled after
        that. Nothing fails in it.
      every: lets only every so-maniest call fail, at least 1: for operations that make very many.

    Returns:
      What was tried. Print it.

    Raises:
      TypeError, ValueError: `every` is no integer, or below 1.
      RuntimeError: this runs already in this process, in whatever task or thread.
      AssertionError: nothing ever failed; or an attempt did not end, or left a descriptor open; or
        there was no end to the calls.
      Whatever `peer` and `check` raise, with a note of what the attempt was.

    Cancellation: the attempt that is going on is given up, and its subject ended.

    Cost: an attempt for each call, each with a subject of its own.

    Example:
      >>> import contextlib, errno, trio.testing
      >>> @contextlib.asynccontextmanager
      ... async def pair():
      ...     ours, theirs = map(SocketStream, trio.socket.socketpair())
      ...     async with ours, theirs:
      ...         yield ours, theirs
      >>> async def send(pair):
      ...     await pair[0].write_view(BytesView(b"abc"))
      ...     await pair[0].send_eof()
      >>> async def all_or_broken(pair, attempt):
      ...     if attempt.error is None:
      ...         assert await pair[1].read_to_end(100) == b"abc"
      ...     else:
      ...         assert isinstance(attempt.error, trio.BrokenResourceError)
      >>> async def main():
      ...     print(await fail_at_each_call(
      ...         pair, send, SystemCalls(errno.ECONNRESET), check=all_or_broken
      ...     ))
      >>> trio.run(main)
      failed                        ended                 then
      writev: ECONNRESET            BrokenResourceError
      shutdown: ECONNRESET          BrokenResourceError
      nothing failed                completed
      3 attempts, a call failed in 2: 2 BrokenResourceError

    Idea: SQLite's tests, in which the n-th allocation, or the n-th call of the system, fails.
    """
    step = positive_count_of(every, "every")
    attempts: list[FailureAttempt] = []
    with only_run():
        fault.begin()
        while len(attempts) < CALLS_MAX:
            attempt = await _attempt(subject, operation, fault, check, peer)
            attempts.append(attempt)
            if not attempt.failed:
                break
            fault.go_on(step)
        else:
            raise AssertionError(
                f"the operation makes more than {CALLS_MAX:,} calls that can fail: "
                "try a smaller one"
            )
    table = FailureTable(tuple(attempts))
    if not table.failed:
        ended = attempts[-1].ended
        way = "" if ended == "completed" else f"; it ended with {ended} of its own"
        raise AssertionError(f"nothing failed: the operation makes no such call as {fault!r}{way}")
    return table


async def _attempt(
    subject: Callable[[], AbstractAsyncContextManager[S]],
    operation: Callable[[S], Awaitable[object]],
    fault: Fault,
    check: Callable[[S, FailureAttempt], Awaitable[str | None]],
    peer: Callable[[S], Awaitable[object]] | None,
) -> FailureAttempt:
    """Make one attempt; return it without its error and its result."""
    before = open_descriptors()
    attempt: FailureAttempt | None = None
    failure: Exception | None = None
    with trio.CancelScope() as limit, fault.around():
        limit.deadline = trio.current_time() + HANG_SECONDS
        try:
            async with subject() as it:
                attempt = await _operate(it, operation, fault, check, peer)
                del it
        except Exception as exc:  # noqa: BLE001  # raised below
            failure = exc
    what = f"in the attempt: {fault.struck or 'nothing failed'}"
    if failure is None and limit.cancelled_caught:
        failure = AssertionError(f"it did not end within {HANG_SECONDS} seconds")
    if failure is None and (left := _left_open(before)):
        failure = AssertionError(f"it left descriptors open: {sorted(left)}")
    if failure is not None:
        failure.add_note(what)
        try:
            raise failure
        finally:
            failure = None  # it refers to this frame
    assert attempt is not None
    return attempt


async def _operate(
    subject: S,
    operation: Callable[[S], Awaitable[object]],
    fault: Fault,
    check: Callable[[S, FailureAttempt], Awaitable[str | None]],
    peer: Callable[[S], Awaitable[object]] | None,
) -> FailureAttempt:
    ended = FailureAttempt("")
    # Kept here to be raised outside of the nursery, which would wrap it in a group.
    failure: Exception | None = None

    async def beside() -> None:
        nonlocal failure
        spare()
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
            error: Exception | None = None
            try:
                result = await fault.strike(operation(subject))
            except Exception as exc:  # noqa: BLE001  # the check looks at it
                error = exc
            name = "completed" if error is None else type(error).__name__
            attempt = FailureAttempt(fault.struck, error, result, name)
            del result
            error = None
            became = await check(subject, attempt)
            ended = attrs.evolve(attempt, error=None, result=None, became=became or "")
            del attempt
        except Exception as exc:  # noqa: BLE001  # raised below
            failure = failure or exc
        nursery.cancel_scope.cancel()
    if failure is not None:
        try:
            raise failure
        finally:
            failure = None  # it refers to this frame
    return ended


def open_descriptors() -> frozenset[int]:
    """Return the numbers of the descriptors that this process has open; none if nobody can say."""
    try:
        return frozenset(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208  # numbers
    except OSError:
        return frozenset()


def _left_open(before: frozenset[int]) -> frozenset[int]:
    """Return the descriptors that are open and were not. (Law 4)"""
    if len(left := open_descriptors()) <= len(before):  # one of each is of the list itself
        return frozenset()
    gc.collect()
    left = open_descriptors()
    return left - before if len(left) > len(before) else frozenset()
