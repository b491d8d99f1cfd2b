"""Each allocation fails once in pools: nothing is lent for ever, and the books of a cap hold."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle

import pytest
import trio
import trio.testing
from allocations import Place, fail_each, is_lack_of_memory, let_go, unheard, where_they_can

from trio_bytesbuf import BytesBuf, BytesView, GlobalPool
from trio_bytesbuf.mem import BufferMemory, CappedPool, SharedPool, TrackingPool, _ledger, share
from trio_bytesbuf.mem._shared_handle import _TICKETS
from trio_bytesbuf.testing import Allocations, check_laws, fail_at_each_call

pytestmark = where_they_can

CAP_NBYTES = 1_048_576

POOLS = {
    "GlobalPool": GlobalPool,
    "TrackingPool": TrackingPool,
    "CappedPool": lambda: CappedPool(CAP_NBYTES),
    "a share": lambda: CappedPool(CAP_NBYTES).share(CAP_NBYTES),
    "SharedPool": SharedPool,
    "BufferMemory": lambda: BufferMemory(bytearray(CAP_NBYTES), 65_536),
}


def reserve(place: Place, nbytes: int) -> None:
    place.got = place.it.reserve(nbytes)


def lease(place: Place) -> None:
    place.got = place.it._lease(70_000)


def lease_and_return(place: Place) -> None:
    place.got = place.it.reserve(70_000)
    place.got = None


def drop(place: Place) -> None:
    place.got = place.a = None


def fill_and_drop(place: Place) -> None:
    buf = place.it.reserve(100_000)
    buf.put_slice(b"x" * 50_000)
    place.got = buf.consume(40_000)
    place.got = None


USES = {
    "reserve little": lambda place: reserve(place, 100),
    "reserve a block": lambda place: reserve(place, 65_536),
    "reserve blocks": lambda place: reserve(place, 600_000),
    "a lease": lease,
    "lease and return": lease_and_return,
    "drop": drop,
    "fill and drop": fill_and_drop,
    "blocks": lambda place: place.it.blocks(100_000),
    "a builder's reserve": lambda place: BytesBuf().reserve(100_000, place.it),
    "a copy": lambda place: BytesView.copied_from_slice(b"x" * 100_000, place.it),
    "statistics": lambda place: place.it.statistics(),
}


def nothing_is_lent(pool) -> None:
    """See that all memory is home, and that all of it can be had again."""
    gc.collect()
    assert pool.statistics().lent_nbytes == 0
    check_laws(pool)
    if isinstance(pool, TrackingPool):
        assert pool.outstanding() == ()
    if not isinstance(pool, (GlobalPool, SharedPool)):
        whole = pool.reserve(CAP_NBYTES)
        assert whole.remaining_capacity == CAP_NBYTES
        check_laws(pool)
        del whole
        gc.collect()
        assert pool.statistics().lent_nbytes == 0


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", POOLS)
async def test_what_was_lent_comes_home(kind, use) -> None:
    """The laws hold at once; when everything is dropped nothing is lent, and all can be had."""
    seen = 0

    def make() -> Place:
        place = Place(POOLS[kind]())
        place.a = place.it.reserve(200_000)
        place.got = place.it.reserve(70_000)
        place.got = None
        return place

    def look(place: Place, _: bool) -> None:
        nonlocal seen
        seen += 1
        check_laws(place.it)
        if isinstance(place.got, BytesBuf):
            check_laws(place.got)
        place.got = place.a = None
        nothing_is_lent(place.it)

    assert (await fail_each(make, USES[use], look)).failed
    assert seen


@contextlib.asynccontextmanager
async def with_a_waiter(cap_nbytes: int = CAP_NBYTES):
    """A pool that is all lent, and a task that stands in line for it."""
    place = Place(CappedPool(cap_nbytes))
    place.got = place.it.reserve(cap_nbytes)
    served = trio.Event()

    async def wait() -> None:
        await place.it.reserve_wait(cap_nbytes)
        served.set()

    async with trio.open_nursery() as nursery:
        place.peer = served
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        yield place
        nursery.cancel_scope.cancel()


def shared() -> Place:
    pool = SharedPool()
    view = BytesView.copied_from_slice(b"x" * 100_000, pool)
    return Place(share(view), pool=pool)


def forget_what_is_in_transit() -> None:
    for ticket in [*_TICKETS._out]:
        _TICKETS.take(ticket)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="SharedPool needs Linux")
async def test_what_is_handed_over_waits_for_one_who_has_it_or_for_nobody() -> None:
    """What could not be pickled keeps nothing for the minute in which it could be claimed."""

    def hand_over(place: Place) -> None:
        place.got = place.it.__reduce__()  # what the pickler does with it, it does not tell

    def look(place: Place, is_done: bool) -> None:
        assert place.it.open() == b"x" * 100_000
        assert place.got is not None or not _TICKETS._out
        forget_what_is_in_transit()
        place.it = None
        nothing_is_lent(place.pool)

    assert (await fail_each(shared, hand_over, look)).failed


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="SharedPool needs Linux")
async def test_what_could_not_be_opened_can_be_opened_again() -> None:
    """And the sender is told once it is; by way of the kernel, as in another process."""
    forget_what_is_in_transit()
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    def make() -> Place:
        place = shared()
        place.a = pickle.loads(pickle.dumps(place.it))
        forget_what_is_in_transit()
        return place

    def take(place: Place) -> None:
        place.got = place.a.open()

    def look(place: Place, _: bool) -> None:
        place.got = None
        assert place.a.open() == b"x" * 100_000
        place.a = place.it = None
        nothing_is_lent(place.pool)
        place.pool = None
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208

    assert (await fail_each(make, take, look)).failed


async def test_who_waits_is_served_though_the_hint_is_lost() -> None:
    """Memory is dropped, and what would have woken the task lacks memory itself."""

    async def let_it_go(place: Place) -> None:
        drop(place)

    async def check(place: Place, attempt) -> None:
        let_go(attempt.error)
        drop(place)
        with trio.fail_after(5):
            await place.peer.wait()
        check_laws(place.it)
        nothing_is_lent(place.it)

    with unheard():
        table = await fail_at_each_call(with_a_waiter, let_it_go, Allocations(), check=check)
    assert table.failed


async def test_who_could_not_leave_the_line_stands_in_nobodys_way() -> None:
    """A task that was gone, and lacked the memory to be taken out, is passed over.

    The steps of a task that waits cannot be struck: a cancel scope of trio's that lacks memory
    is never left.
    """
    pool = CappedPool(CAP_NBYTES)
    line = pool._account.line
    gone = [_ledger.Waiter(trio.lowlevel.current_trio_token(), is_gone=True) for _ in range(2)]
    line.extend(gone)
    assert pool.reserve(100).remaining_capacity
    assert not line
    line.extend(gone)
    with trio.fail_after(5):
        assert (await pool.reserve_wait(CAP_NBYTES)).remaining_capacity == CAP_NBYTES


async def test_to_wait_for_memory_that_is_there_lends_it_or_nothing() -> None:
    """`reserve_wait` of a pool and of a share, where nobody has to wait."""
    for of_share in (False, True):

        @contextlib.asynccontextmanager
        async def a_pool():
            pool = CappedPool(CAP_NBYTES)
            yield Place(pool.share(CAP_NBYTES) if of_share else pool)  # noqa: B023

        async def wait(place: Place) -> None:
            place.got = await place.it.reserve_wait(300_000)

        async def check(place: Place, attempt) -> None:
            let_go(attempt.error)
            assert place.got is not None or is_lack_of_memory(attempt.error)
            check_laws(place.it)
            place.got = None
            nothing_is_lent(place.it)

        with unheard():
            table = await fail_at_each_call(a_pool, wait, Allocations(), check=check)
        assert table.failed
