"""What the tests have in common in which each allocation fails: subjects, and who looks afterwards.

An operation puts what it has got into a `Place`, which takes it without an allocation: so what was
given away is not lost on its way to the test, and a test can ask for every byte.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from trio_bytesbuf.testing import Allocations, FailureTable, fail_at_each_call

where_they_can = [
    pytest.mark.counts_garbage,
    pytest.mark.needs_process,
    pytest.mark.skipif(
        not Allocations.can_fail(), reason="no set_nomemory to use here, or watched"
    ),
]
"""The marks of such tests."""


class Place:
    """What an operation works with, and what it has got."""

    __slots__ = ("a", "b", "got", "it", "peer", "pool")

    def __init__(self, it: Any = None, **others: Any) -> None:
        self.it = it
        self.got: Any = None
        for name, value in others.items():
            setattr(self, name, value)


def is_lack_of_memory(error: BaseException) -> bool:
    """Say whether this is what Python raises then; where it forgets to, it notices that itself."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_lack_of_memory, error.exceptions))
    return isinstance(error, (MemoryError, SystemError))


def let_go(error: BaseException | None) -> None:
    """Forget the frames of an error, which refer to what it was raised over."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__context__


@contextlib.contextmanager
def unheard():
    """Forget what is raised where nobody can hear it: pytest would keep it, and its frames.

    Generators that lack memory to be closed, say.
    """
    before = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = before


async def fail_each(
    make: Callable[[], Any],
    operation: Callable[[Any], object],
    look: Callable[[Any, bool], object],
) -> FailureTable:
    """Let each allocation of an operation that awaits nothing fail.

    Args:
      make: makes what an attempt works with.
      operation: what fails.
      look: asserts what must hold; called with the subject, and whether nothing was raised.
    """

    @contextlib.asynccontextmanager
    async def subject():
        yield make()

    async def run(it: Any) -> None:
        operation(it)

    async def check(it: Any, attempt: Any) -> None:
        let_go(attempt.error)
        assert attempt.error is None or is_lack_of_memory(attempt.error), attempt.error
        look(it, attempt.error is None)

    with unheard():
        return await fail_at_each_call(subject, run, Allocations(), check=check)


def what_became(table: FailureTable) -> set[str | None]:
    """Return what `check` has said of the attempts in which an allocation failed."""
    return {attempt.became for attempt in table.attempts if attempt.failed}
