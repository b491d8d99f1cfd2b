"""A pytest plugin: the fixture `tracked_memory`, which fails a test that keeps a lease.

pytest loads this file by itself where the package is installed; nothing else imports it, as
pytest is no dependency of ours at run time.

A lease has come home when CPython's reference count proves that nobody can see its memory. So what
could fool the judgement is what keeps memory for a while without being a leak:

Law 1. Garbage is no leak. It is collected first, as often as that helps.
Law 2. A test that did not pass is not judged: its traceback holds its frames, and its failure is
       what should be read. (A traceback that a passing test caught is garbage; Law 1.)
Law 3. A thread that is about to let go is waited for, a bounded time and only if something is out.
Law 4. What belongs to the test goes with the test: it is judged when all of its own fixtures,
       its instance and what it has logged are gone, and not in the fixture's own end.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Generator, Iterator
from typing import Final

import pytest

from ..mem import TrackingPool, default_memory, format_outstanding, set_default_memory

WAIT_SECONDS: Final = 1.0
"""How long other threads are given to let go. Only a test that leaks waits as long. A guess."""

PAUSE_SECONDS: Final = 0.02
"""How long is slept between two looks meanwhile: as long as a collection takes, about."""

COLLECTIONS: Final = 3
"""How many collections that change nothing in a row are enough. One runs finalizers, the next
frees what they brought back to life, as trio does with abandoned async generators."""

_PASSED: Final = pytest.StashKey[bool]()
_POOL: Final = pytest.StashKey[TrackingPool]()


@pytest.fixture
def tracked_memory(request: pytest.FixtureRequest) -> Iterator[TrackingPool]:
    """Track the memory of this test, and fail the test if a lease does not come home.

    A new `TrackingPool` is the default memory during the test. After a test that passed, the
    report names the line that took each lease and says who holds it now. Garbage, caught
    exceptions and threads that let go within a second are no leaks; what a global, an attribute
    of a class, a cache, a fixture of the module or a thread that goes on keeps is one.
    Streams that were opened before have the memory of before, which is not tracked.
    """
    before = default_memory()
    pool = TrackingPool()
    request.node.stash[_PASSED] = False
    request.node.stash[_POOL] = pool
    set_default_memory(pool)
    yield pool
    set_default_memory(before)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Note whether the test itself passed (Law 2)."""
    if call.when == "call":
        item.stash[_PASSED] = call.excinfo is None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Judge the test when everything else about it has ended (Law 4)."""
    try:
        yield
        if _POOL in item.stash and item.stash[_PASSED]:
            _judge(item, item.stash[_POOL])
    finally:
        item.stash[_PASSED] = False
        if _POOL in item.stash:
            del item.stash[_POOL]


def _judge(item: pytest.Item, pool: TrackingPool) -> None:
    if pool.outstanding():
        # pytest keeps the values of fixtures a little longer, and instances to the end of the run.
        getattr(item, "funcargs", {}).clear()
        getattr(getattr(item, "instance", None), "__dict__", {}).clear()
        report = _report(pool)
        if report:
            pytest.fail(f"memory did not come home: {report}", pytrace=False)


def _report(pool: TrackingPool) -> str:
    """Describe what is out and stays out, or return an empty text."""
    end = time.monotonic() + WAIT_SECONDS
    while (
        _is_something_out(pool)
        and threading.active_count() > 1  # somebody could still let go (Law 3)
        and time.monotonic() < end
    ):
        time.sleep(PAUSE_SECONDS)
    return format_outstanding(pool.outstanding())


def _is_something_out(pool: TrackingPool) -> bool:
    """Collect garbage as long as that brings leases home (Law 1); say whether one is left."""
    out = len(pool.outstanding())
    in_vain = 0
    while out and in_vain < COLLECTIONS:
        gc.collect()
        left = len(pool.outstanding())
        in_vain = 0 if left < out else in_vain + 1
        out = left
    return out > 0
