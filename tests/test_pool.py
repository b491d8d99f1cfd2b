"""Claims about `GlobalPool`: what comes back and when, and what no accident can do to it."""

import gc
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pools import CountingPool
from threads import play_in_threads

from trio_bytesbuf import BytesBuf, BytesReader, BytesView, GlobalPool, default_memory
from trio_bytesbuf.mem import PlainMemory, set_default_memory
from trio_bytesbuf.mem._pool import BLOCK_SIZES, UNPOOLED_NBYTES
from trio_bytesbuf.testing import check_laws

BLOCK, LARGER, LARGEST = BLOCK_SIZES


def filled(pool: GlobalPool, value: int = 0, nbytes: int = BLOCK) -> BytesView:
    """Return a view of `nbytes` equal bytes in blocks of `pool` that nothing else refers to."""
    buf = pool.reserve(nbytes)
    buf.put_repeated(value, nbytes)
    return buf.consume_all()


def block_of(view: BytesView) -> int:
    """Return the identity of the block that `view` begins in, without referring to it."""
    return id(view.first_piece.obj)


class Keeper:
    """Leases blocks, keeps some of them, and checks that all still show what was put there."""

    def __init__(self, pool: GlobalPool, value: int) -> None:
        self.pool = pool
        self.value = value
        self.kept: list[BytesView] = []
        self.random = random.Random(value)

    def lease(self) -> None:
        view = filled(self.pool, self.value, self.random.choice((BLOCK, LARGER)))
        self.check(view)
        if self.random.random() < 0.5:
            self.kept.append(view)
        if len(self.kept) > 4:
            self.check(self.kept.pop(self.random.randrange(4)))

    def check(self, view: BytesView) -> None:
        assert view.to_bytes().count(self.value) == len(view), "somebody else's bytes"

    def check_all(self) -> None:
        for view in self.kept:
            self.check(view)
        check_laws(self.pool)


# What comes back, and when


@pytest.mark.parametrize(
    "hold",
    [
        pytest.param(lambda view: view, id="the view"),
        pytest.param(lambda view: view[5:6], id="a slice"),
        pytest.param(lambda view: view + b"more", id="a longer one"),
        pytest.param(lambda view: view.pieces[0], id="a memoryview"),
        pytest.param(lambda view: np.asarray(view.contiguous())[::2], id="an array"),
        pytest.param(lambda view: view.extend_lifetime(), id="a guard"),
        pytest.param(BytesBuf.from_view, id="a builder"),
        pytest.param(BytesReader, id="a reader"),
        pytest.param(iter, id="an iterator"),
    ],
)
def test_a_block_comes_back_when_the_last_that_shows_it_dies_and_not_before(hold) -> None:
    """Whatever is left of a view keeps its block out of the pool; then the block is free."""
    pool = GlobalPool()
    view = filled(pool)
    last = hold(view)
    del view
    assert (pool.statistics().lent_nbytes, pool.statistics().idle_nbytes) == (BLOCK, 0)
    del last
    assert (pool.statistics().lent_nbytes, pool.statistics().idle_nbytes) == (0, BLOCK)
    filled(pool)
    assert pool.statistics().allocated == 1


def test_a_block_comes_back_when_its_view_is_released() -> None:
    """`release` lets go of the memory at once, though somebody still refers to the view."""
    pool = GlobalPool()
    with filled(pool) as view:
        assert pool.statistics().lent_nbytes == BLOCK
    assert pool.statistics().lent_nbytes == 0
    assert repr(view) == "<BytesView, released>"


def test_an_empty_builder_holds_its_block_too() -> None:
    """Room is lent, not only bytes."""
    pool = GlobalPool()
    buf = pool.reserve(BLOCK)
    assert pool.statistics().lent_nbytes == BLOCK
    del buf
    assert pool.statistics().lent_nbytes == 0


def test_the_block_leased_last_is_leased_first() -> None:
    """Of several free blocks, the newest is still in the processor's cache."""
    pool = GlobalPool()
    views = [filled(pool) for _ in range(3)]
    newest = block_of(views[-1])
    views.clear()
    assert block_of(filled(pool)) == newest


def test_an_old_block_is_found_when_the_newest_is_busy() -> None:
    """One view that is kept does not make the pool allocate."""
    pool = GlobalPool()
    oldest, newest = filled(pool), filled(pool)
    was_oldest = block_of(oldest)
    del oldest
    assert block_of(filled(pool)) == was_oldest
    assert newest == bytes(BLOCK)


@pytest.mark.parametrize(("max_idle_nbytes", "kept"), [(0, 0), (BLOCK - 1, 0), (2 * BLOCK, 2)])
def test_idle_memory_is_bounded(max_idle_nbytes: int, kept: int) -> None:
    """Of each size, no more than `max_idle_nbytes` are kept, however many were leased at once."""
    pool = GlobalPool(max_idle_nbytes=max_idle_nbytes)
    views = [filled(pool, value) for value in range(5)]
    assert views == [bytes((value,)) * BLOCK for value in range(5)]
    views.clear()
    assert pool.statistics().idle_nbytes == kept * BLOCK
    check_laws(pool)


def test_a_pool_that_keeps_nothing_makes_every_block_anew() -> None:
    """With `max_idle_nbytes=0`, each lease allocates."""
    pool = GlobalPool(max_idle_nbytes=0)
    for _ in range(3):
        filled(pool)
    assert pool.statistics().allocated == 3


def test_trim_gives_idle_memory_back_and_leaves_lent_memory_alone() -> None:
    """`trim` says how much was idle; what is lent never comes back to this pool."""
    pool = GlobalPool()
    kept, idle = filled(pool, 1), filled(pool, 2)
    del idle
    assert pool.trim() == BLOCK
    assert (pool.statistics().lent_nbytes, pool.statistics().idle_nbytes) == (0, 0)
    assert pool.trim() == 0
    assert kept == b"\1" * BLOCK
    del kept
    assert pool.statistics().idle_nbytes == 0


def test_statistics_tell_the_sizes_apart() -> None:
    """There are figures for each size of block, and their sums."""
    pool = GlobalPool()
    views = [filled(pool, nbytes=nbytes) for nbytes in (BLOCK, LARGER, LARGER)]
    filled(pool, nbytes=LARGER)
    del views[1:]
    statistics = pool.statistics()
    figures = [
        (shelf.block_nbytes, shelf.allocated, shelf.lent_nbytes, shelf.idle_nbytes)
        for shelf in statistics.shelves
    ]
    assert figures == [
        (BLOCK, 1, BLOCK, 0),
        (LARGER, 3, 0, 3 * LARGER),
        (LARGEST, 0, 0, 0),
    ]
    assert statistics.allocated == 4
    assert (statistics.lent_nbytes, statistics.idle_nbytes) == (BLOCK, 3 * LARGER)


def test_views_outlive_their_pool() -> None:
    """A pool that is gone takes no memory with it that somebody can see."""

    class MortalPool(GlobalPool):
        """Has weak references, unlike its base."""

    pool = MortalPool()
    death = weakref.ref(pool)
    view, buf = filled(pool, 7), pool.reserve(BLOCK)
    del pool
    assert death() is None
    buf.put_repeated(8, BLOCK)
    assert view == b"\7" * BLOCK
    assert buf.consume_all() == b"\10" * BLOCK


# Sizes


@pytest.mark.parametrize(
    ("nbytes", "capacity"),
    [
        (0, 0),
        (1, 1),
        (UNPOOLED_NBYTES, UNPOOLED_NBYTES),
        (UNPOOLED_NBYTES + 1, BLOCK),
        (BLOCK, BLOCK),
        (BLOCK + 1, LARGER),
        (LARGER, LARGER),
        (LARGER + 1, LARGEST),
        (LARGEST, LARGEST),
        (LARGEST + 1, LARGEST + 1),
        (LARGEST + UNPOOLED_NBYTES + 1, LARGEST + BLOCK),
        (5 * LARGEST + LARGER, 5 * LARGEST + LARGER),
    ],
)
def test_a_request_gets_the_smallest_blocks_that_hold_it(nbytes: int, capacity: int) -> None:
    """Small requests get exactly their size, large ones the next size of block or several."""
    pool = GlobalPool()
    buf = pool.reserve(nbytes)
    assert buf.remaining_capacity == capacity
    buf.put_repeated(7, nbytes)
    check_laws(buf)
    assert buf.consume_all() == b"\7" * nbytes
    check_laws(pool)


@pytest.mark.parametrize("nbytes", [0, 1, UNPOOLED_NBYTES])
def test_little_is_not_pooled(nbytes: int) -> None:
    """A new small bytearray costs less than a proof."""
    pool = GlobalPool()
    filled(pool, nbytes=nbytes)
    assert pool.statistics().allocated == 0


@pytest.mark.parametrize(
    ("nbytes", "error"), [(-1, ValueError), (1.0, TypeError), ("1", TypeError), (None, TypeError)]
)
@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda nbytes: GlobalPool().reserve(nbytes), id="reserve"),
        pytest.param(lambda nbytes: GlobalPool(max_idle_nbytes=nbytes), id="max_idle_nbytes"),
    ],
)
def test_a_senseless_size_is_refused(use: Callable, nbytes: object, error: type) -> None:
    """Negative counts are ValueErrors, and what is no integer is a TypeError."""
    with pytest.raises(error):
        use(nbytes)


def test_a_size_is_whatever_is_an_integer() -> None:
    """`True` and numpy's integers are integers."""
    pool = GlobalPool(max_idle_nbytes=np.int64(BLOCK))
    assert pool.reserve(True).remaining_capacity == 1
    assert pool.reserve(np.uint32(BLOCK)).remaining_capacity == BLOCK
    assert pool.statistics().idle_nbytes == BLOCK


@pytest.mark.parametrize(
    ("filled_nbytes", "is_worth_it"),
    [(1, False), (UNPOOLED_NBYTES, False), (UNPOOLED_NBYTES + 1, True), (BLOCK, True)],
)
def test_a_receive_stays_in_its_block_if_it_is_large(filled_nbytes: int, is_worth_it: bool) -> None:
    """Up to the size that is not pooled, a copy costs less than the block it would pin."""
    assert GlobalPool().is_worth_keeping(filled_nbytes, BLOCK) == is_worth_it


def test_a_receive_does_not_stay_in_a_block_that_is_mostly_empty() -> None:
    """Less than a quarter of a block is copied out."""
    assert GlobalPool().is_worth_keeping(LARGEST // 4, LARGEST)
    assert not GlobalPool().is_worth_keeping(LARGEST // 4 - 1, LARGEST)
    assert GlobalPool().is_worth_keeping(LARGEST // 4 + 1, LARGEST)


# The default


@pytest.fixture
def default_restored() -> Iterator[None]:
    """Put the default memory back after the test."""
    before = default_memory()
    yield
    set_default_memory(before)


@pytest.mark.counts_memory
def test_the_default_memory_is_one_pool() -> None:
    """Without being told otherwise, the process has one pool, and builders use it."""
    pool = default_memory()
    assert isinstance(pool, GlobalPool)
    buf = BytesBuf()
    lent_nbytes = pool.statistics().lent_nbytes
    buf.reserve(BLOCK)
    assert pool.statistics().lent_nbytes == lent_nbytes + BLOCK
    assert default_memory() is pool


@pytest.mark.usefixtures("default_restored")
def test_builders_use_the_default_memory_that_was_set() -> None:
    """`set_default_memory` counts from the next `reserve` on."""
    pool = GlobalPool()
    set_default_memory(pool)
    buf = BytesBuf()
    buf.reserve(BLOCK)
    assert pool.statistics().allocated == 1
    set_default_memory(PlainMemory())
    buf.reserve(BLOCK + 1)
    assert (pool.statistics().allocated, buf.remaining_capacity) == (1, BLOCK + 1)


@pytest.mark.usefixtures("default_restored")
def test_the_default_memory_is_a_memory() -> None:
    """Anything else is refused, and the default stays."""
    before = default_memory()
    with pytest.raises(TypeError):
        set_default_memory(bytearray)
    assert default_memory() is before


# Threads


def test_the_last_view_may_die_in_another_thread() -> None:
    """A block that was let go in one thread is leased in another."""
    pool = GlobalPool()
    views = [filled(pool)]
    block = block_of(views[0])
    thread = threading.Thread(target=views.clear)
    thread.start()
    thread.join()
    assert block_of(filled(pool)) == block


def test_four_threads_never_see_each_others_bytes() -> None:
    """Threads that lease, fill, keep and drop at once always find what they put."""
    pool = CountingPool(max_idle_nbytes=8 * BLOCK)
    keepers = [Keeper(pool, value) for value in range(1, 5)]
    end = time.monotonic() + 1.5

    def play(keeper: Keeper) -> None:
        while time.monotonic() < end:
            keeper.lease()

    play_in_threads(play, keepers)
    for keeper in keepers:
        keeper.check_all()
    assert pool.statistics().allocated < pool.leases, "nothing was used again"
    keepers.clear()
    del keeper
    assert pool.statistics().lent_nbytes == 0


def test_the_ring_keeps_its_bound_when_leases_overlap() -> None:
    """What is leased in another thread, while a block is out of the ring, fills the gap it left."""
    pool = GlobalPool(max_idle_nbytes=2 * BLOCK)
    shelf = pool._shelves[0]
    meanwhile: list[BytesView] = []

    class InterruptedRing(deque):
        def pop(self) -> bytearray:
            block = super().pop()
            if not meanwhile:
                meanwhile.append(BytesView())
                meanwhile.extend(filled(pool, value) for value in (1, 2))
            return block

    kept = [filled(pool), filled(pool)]
    kept.clear()
    shelf._ring = InterruptedRing(shelf._ring, shelf._ring.maxlen)
    filled(pool)
    check_laws(pool)


# Accidents


def test_a_finalizer_may_lease_while_a_lease_is_going_on() -> None:
    """Collections happen in the middle of leases; what they lease is nobody else's."""
    pool = GlobalPool(max_idle_nbytes=4 * BLOCK)
    inside, outside = Keeper(pool, 1), Keeper(pool, 2)

    class LeasesWhenItDies:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            inside.lease()

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for _ in range(200):
            LeasesWhenItDies()
            outside.lease()
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    inside.check_all()
    outside.check_all()
    assert inside.kept, "no collection"


def test_a_generator_brought_back_to_life_still_sees_its_bytes() -> None:
    """In the `finally` of a dead generator, its view is whole, and so it is afterwards."""
    pool = GlobalPool()
    seen: list[BytesView] = []

    def looks_once_more(view: BytesView, cycle: list[object]) -> Iterator[None]:
        try:
            yield
        finally:
            leased = filled(pool, 9)
            seen.extend((view, leased))

    cycle: list[object] = []
    generator = looks_once_more(filled(pool, 7), cycle)
    next(generator)
    cycle.append(generator)
    del generator, cycle
    gc.collect()
    later = filled(pool, 8)
    assert [view[-1] for view in (*seen, later)] == [7, 9, 8]
    assert seen[0] == b"\7" * BLOCK


def test_a_lease_at_the_recursion_limit_harms_nothing() -> None:
    """Wherever in a lease the stack ends, the pool goes on."""
    keeper = Keeper(CountingPool(max_idle_nbytes=4 * BLOCK), 1)

    def dive(frames: int) -> None:
        if frames:
            dive(frames - 1)
        else:
            keeper.lease()

    room = next(frames for frames in itertools.count() if is_too_deep(dive, frames))
    for _ in range(3):
        keeper.lease()
    keeper.check_all()
    assert room > 0
    assert keeper.pool.leases > room


def is_too_deep(dive: Callable[[int], None], frames: int) -> bool:
    """Say whether the stack ends before so many frames."""
    try:
        dive(frames)
    except RecursionError:
        return True
    return False


def lease_under_ctrl_c() -> None:
    """Interrupt a tight loop of leases at random moments. Run in a process."""
    before = sys.unraisablehook

    def report(unraisable) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            before(unraisable)

    sys.unraisablehook = report  # in a finalizer, or the collector's callback, nobody can raise it
    keeper = Keeper(GlobalPool(max_idle_nbytes=4 * BLOCK), 1)
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    for _ in range(200):
        with pytest.raises(KeyboardInterrupt):
            lease_until_interrupted(keeper)
        signal.setitimer(signal.ITIMER_REAL, 0)
        keeper.check_all()
    keeper.lease()


def lease_until_interrupted(keeper: Keeper) -> None:
    """Set the alarm, and lease. An interrupt in a finalizer is swallowed, so it rings again."""
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 1e-3), 1.0)
    while True:
        keeper.lease()


def lease_on_both_sides_of_a_fork() -> None:
    """Fork in the middle of using a pool; exit with the status of the child. Run in a process."""
    pool = GlobalPool(max_idle_nbytes=4 * BLOCK)
    inherited = Keeper(pool, 1)
    for _ in range(20):
        inherited.lease()
    child = os.fork()
    status = 1
    try:
        own = Keeper(pool, 3 if child else 2)
        for _ in range(200):
            own.lease()
        own.check_all()
        inherited.check_all()
        status = 0
    finally:
        if not child:
            os._exit(status)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


@pytest.mark.parametrize(
    "accident",
    [
        pytest.param(lease_under_ctrl_c, id="Ctrl-C"),
        pytest.param(lease_on_both_sides_of_a_fork, id="fork"),
    ],
)
def test_an_accident_in_a_process_of_its_own_harms_nothing(accident: Callable[[], None]) -> None:
    """After real SIGINTs, and on both sides of `os.fork`, everybody sees their own bytes only."""
    # Without coverage, which interrupts and forks would meet in the middle of its own work.
    environment = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import test_pool; test_pool.{accident.__name__}()"],
        cwd=Path(__file__).parent,
        env=environment,
        timeout=100,
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "")
