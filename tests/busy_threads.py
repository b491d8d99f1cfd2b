"""For tests of threads that wait: when they are where they should be, and that none stays busy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing


@pytest.fixture(autouse=True)
async def no_thread_stays_busy() -> AsyncIterator[None]:
    """When a test is over, no thread of trio's runs anything, and no token is held."""
    yield
    with trio.fail_after(5):
        await trio.testing.wait_all_threads_completed()
    assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0


@pytest.fixture
async def one_thread() -> AsyncIterator[None]:
    """The process's limit of threads is 1 for a test."""
    limiter = trio.to_thread.current_default_thread_limiter()
    before, limiter.total_tokens = limiter.total_tokens, 1
    yield
    limiter.total_tokens = before


async def wait_until(true: Callable[[], object]) -> None:
    """Wait until `true()`; for what threads do."""
    with trio.fail_after(5):
        while not true():  # noqa: ASYNC110  # a thread could not set an event at the right time
            await trio.sleep(0.002)
