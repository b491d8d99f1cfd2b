"""Claims about the memories for tests: what is counted, and what a wrong proof looks like."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable

import numpy as np
import pytest
from pairs import closing, noise, put_now, socketpair

from trio_bytesbuf import BytesBuf, BytesView, GlobalPool, SocketStream
from trio_bytesbuf.mem import Block, Memory, PlainMemory, TrackingPool, _shelf
from trio_bytesbuf.mem._pool import BLOCK_SIZES, UNPOOLED_NBYTES
from trio_bytesbuf.testing import (
    CountingMemory,
    FixedBlockMemory,
    PoisoningPool,
    TransparentMemory,
    check_laws,
)
from trio_bytesbuf.testing import CountingStatistics as Counts

BLOCK = BLOCK_SIZES[0]

# CountingMemory


def test_nothing_is_counted_before_anything_is_asked() -> None:
    """All figures begin at 0."""
    memory = CountingMemory(PlainMemory())
    assert memory.statistics() == Counts(0, 0, 0, 0, 0, 0)


def test_every_way_of_asking_is_one_request() -> None:
    """What is counted is what the provider was asked for and gave, once each."""
    memory = CountingMemory(FixedBlockMemory(10))
    buf = memory.reserve(25)
    assert memory.statistics() == Counts(1, 0, 25, 3, 30, 0)
    buf.reserve(30, memory)  # there is enough already, so nobody is asked
    assert memory.statistics().requests == 1
    buf.reserve(31, memory)  # asks for the one byte that is missing
    assert memory.statistics() == Counts(2, 0, 26, 4, 40, 0)
    BytesView.copied_from_slice(b"a view of 18 bytes", memory)
    assert memory.statistics() == Counts(3, 0, 44, 6, 60, 0)
    memory.reserve(0)
    BytesBuf.from_blocks(memory.blocks(5))
    assert memory.statistics() == Counts(5, 0, 49, 7, 70, 0)


def test_a_request_in_vain_is_counted_and_gave_nothing() -> None:
    """Whether the provider raises or gives too little."""

    class Empty(Memory):
        def blocks(self, nbytes: int, /) -> Iterable[Block]:
            if nbytes > 5:
                raise KeyError("no memory")
            return ()

    memory = CountingMemory(Empty())
    for nbytes in (5, 6):
        with pytest.raises(Exception, match=r"no memory|gave 0"):
            memory.reserve(nbytes)
    assert memory.statistics() == Counts(2, 0, 11, 0, 0, 0)


def test_statistics_are_what_was_then() -> None:
    """A snapshot, so that a test can take the difference of two."""
    memory = CountingMemory(PlainMemory())
    before = memory.statistics()
    memory.reserve(1)
    assert (before.requests, memory.statistics().requests) == (0, 1)
    with pytest.raises(AttributeError):
        before.requests = 5  # type: ignore[misc]


async def test_what_a_stream_copies_out_is_counted() -> None:
    """As many bytes as the stream itself counts; what stays in its block is not among them."""
    memory = CountingMemory(GlobalPool())
    a, b = await socketpair(memory)
    async with closing(a, b):
        for nbytes in (20_000, 30_000, 5000, 40_000, 70_000):
            b._receive_size.nbytes = BLOCK  # so that a block is leased for each
            put_now(a, noise(nbytes))
            assert await b.receive_view() == noise(nbytes)
        assert memory.statistics().copied_nbytes == b.statistics().copied_nbytes >= 5000
        assert memory.statistics().leases >= 5
        assert memory.statistics().given_nbytes == BLOCK * memory.statistics().blocks


async def test_a_stream_that_only_asks_beforehand_copies_nothing() -> None:
    """When it is made it asks what would be worth keeping; nothing was received then."""
    memory = CountingMemory(GlobalPool())
    a, b = await socketpair()
    async with closing(a, b):
        for _ in range(3):
            SocketStream(b.socket, memory=memory)
        assert not memory.is_worth_keeping(100, BLOCK)
        window, _ = memory._lease(BLOCK)
        del window
        SocketStream(b.socket, memory=memory)
        assert not memory.is_worth_keeping(100, BLOCK)
        assert memory.statistics() == Counts(0, 1, BLOCK, 1, BLOCK, 0)


async def test_what_a_stream_receives_into_plain_bytes_is_not_counted() -> None:
    """Nobody asks memory for it: this is what the docstring says cannot be counted."""
    memory = CountingMemory(GlobalPool())
    a, b = await socketpair(memory)
    async with closing(a, b):
        put_now(a, b"little")
        assert await b.receive_view() == b"little"
    assert memory.statistics() == Counts(0, 0, 0, 0, 0, 0)


async def test_a_lease_is_counted_even_if_nothing_was_there() -> None:
    """A stream over a provider whose memory is always worth keeping tries, and waits."""
    memory = CountingMemory(PlainMemory())
    a, b = await socketpair(memory)
    async with closing(a, b):
        put_now(a, b"at hand")
        assert await b.receive_view() == b"at hand"
    counts = memory.statistics()
    assert (counts.leases, counts.blocks) == (1, 1)
    assert (counts.given_nbytes, counts.copied_nbytes) == (16_384, 0)


def test_a_copy_in_one_thread_is_not_mistaken_for_one_in_another() -> None:
    """Each thread has its own last lease."""
    memory = CountingMemory(GlobalPool())
    window, _ = memory._lease(BLOCK)
    thread = threading.Thread(target=memory.is_worth_keeping, args=(100, BLOCK))
    thread.start()
    thread.join()
    assert memory.statistics().copied_nbytes == 0
    assert not memory.is_worth_keeping(100, BLOCK)
    assert memory.statistics().copied_nbytes == 100
    assert window.nbytes == BLOCK


def test_counting_keeps_nothing_and_changes_nothing() -> None:
    """A block comes home as if nobody counted, and its advice is the provider's own."""
    pool = GlobalPool()
    memory = CountingMemory(pool)
    view = BytesView.copied_from_slice(bytes(BLOCK), memory)
    window, _ = memory._lease(BLOCK)
    assert pool.statistics().lent_nbytes == 2 * BLOCK
    del view, window
    assert (pool.statistics().lent_nbytes, pool.statistics().idle_nbytes) == (0, 2 * BLOCK)
    for sizes in ((1, BLOCK), (BLOCK, BLOCK), (20_000, BLOCK)):
        assert memory.is_worth_keeping(*sizes) == pool.is_worth_keeping(*sizes)


def test_a_tracking_pool_behind_it_sees_the_leases() -> None:
    """What is still held is asked of the one who knows."""
    tracking = TrackingPool()
    memory = CountingMemory(tracking)
    view = BytesView.copied_from_slice(bytes(BLOCK), memory)
    assert [lease.nbytes for lease in tracking.outstanding()] == [BLOCK]
    assert len(view) == BLOCK


def test_threads_lose_no_count() -> None:
    """Four threads that ask as fast as they can: the sums are exact."""
    memory = CountingMemory(TransparentMemory())

    def ask() -> None:
        for _ in range(3000):
            memory.reserve(3)
            memory._lease(4)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    switch_interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch_interval)
    assert memory.statistics() == Counts(12_000, 12_000, 84_000, 24_000, 84_000, 0)


@pytest.mark.parametrize("memory", [None, GlobalPool, bytearray(5), 5])
def test_only_a_memory_can_be_counted(memory) -> None:
    """Not even None, which elsewhere stands for the default."""
    with pytest.raises(TypeError, match="a Memory is wanted, not"):
        CountingMemory(memory)


def test_a_counting_memory_names_what_it_counts() -> None:
    """So that an error of either can be understood."""
    assert repr(CountingMemory(CountingMemory(PlainMemory()))) == (
        "CountingMemory(CountingMemory(PlainMemory()))"
    )


# PoisoningPool


def test_every_byte_of_a_block_is_another_when_it_is_leased_again() -> None:
    """Whatever was in it."""
    pool = PoisoningPool()
    before = bytes(range(256)) * (BLOCK // 256)
    BytesView.copied_from_slice(before, pool)
    window = pool.reserve(BLOCK).chunk_mut()
    assert pool.statistics().allocated == 1
    assert not np.any(np.frombuffer(before, "u1") == np.asarray(window))


def test_the_old_bytes_do_not_come_back_soon() -> None:
    """After 256 leases in which nobody wrote anything, and not earlier."""
    pool = PoisoningPool()
    BytesView.copied_from_slice(noise(BLOCK), pool)
    for _ in range(255):
        window = pool.reserve(BLOCK).chunk_mut()
        assert window[0] != noise(1)[0]
        del window
    assert pool.statistics().allocated == 1


@pytest.mark.parametrize("lease", [lambda pool: pool.reserve(BLOCK).chunk_mut(),
                                   lambda pool: pool._lease(BLOCK)[0]])  # fmt: skip
def test_new_blocks_are_not_all_zeros_either(lease) -> None:
    """Whoever reads room that nobody filled should not find what looks like a result."""
    window = lease(PoisoningPool())
    assert 0 not in bytes(window)


def test_what_somebody_sees_is_never_poisoned() -> None:
    """While views are kept, in whatever number, the pool makes new blocks."""
    pool = PoisoningPool(max_idle_nbytes=4 * BLOCK)
    kept = []
    for number in range(12):
        data = noise(BLOCK, number)
        kept.append((BytesView.copied_from_slice(data, pool), data))
        BytesView.copied_from_slice(noise(BLOCK), pool)
    for view, data in kept:
        assert view == data
    check_laws(pool)


def test_a_wrong_proof_shows_as_changed_bytes(monkeypatch) -> None:
    """With a baseline that overlooks one reference, the kept view shows other bytes at once.

    In a plain pool the old bytes stay until the next owner writes there.
    """
    seen = {}
    for make in (GlobalPool, PoisoningPool):
        with monkeypatch.context() as patch:
            pool = make()
            view = BytesView.copied_from_slice(noise(BLOCK), pool)
            patch.setattr(_shelf, "_LONE", _shelf._LONE + 1)
            pool.reserve(BLOCK)
            seen[make] = view == noise(BLOCK)
    assert seen == {GlobalPool: True, PoisoningPool: False}


def test_a_poisoning_pool_is_a_pool_otherwise() -> None:
    """The same sizes, the same statistics, the same answers, and its own name."""
    pool, poisoning = GlobalPool(), PoisoningPool()
    for nbytes in (1, UNPOOLED_NBYTES, UNPOOLED_NBYTES + 1, *BLOCK_SIZES, 3_000_000):
        sizes = [m.reserve(nbytes).remaining_capacity for m in (pool, poisoning)]
        assert sizes[0] == sizes[1]
    assert pool.statistics() == poisoning.statistics()
    assert poisoning.trim() == pool.trim()
    assert repr(poisoning).startswith("<PoisoningPool at 0x")
    with pytest.raises(ValueError, match="max_idle_nbytes"):
        PoisoningPool(max_idle_nbytes=-1)


async def test_streams_work_over_a_poisoning_pool() -> None:
    """What was received is never what the pool wrote."""
    a, b = await socketpair(PoisoningPool())
    async with closing(a, b):
        kept = []
        for number in range(20):
            data = noise(60_000, number)
            put_now(a, data)
            kept.append((await b.receive_view(), data))
            del kept[:-5]
        assert all(view == data for view, data in kept)
