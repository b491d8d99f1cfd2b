"""Files and memory: what a read leases, waits for, keeps and gives back."""

from __future__ import annotations

import errno
import gc

import pytest
import trio
import trio.testing
from files import MEMORIES, a_file, ability, cancelled_at_the_gate, each_way, gate
from pairs import noise

from trio_bytesbuf import CappedPool, GlobalPool
from trio_bytesbuf._errors import BadMemory, BudgetExceeded
from trio_bytesbuf.mem import PlainMemory
from trio_bytesbuf.testing import FixedBlockMemory

way = each_way


async def test_small_blocks_are_filled_together(way):
    """A read is not one block long: a thread for each byte would be a shame."""
    async with a_file(noise(900), FixedBlockMemory(1)) as (file, _):
        view = await file.receive_view()
    assert len(view) == len(view.pieces) == 900


async def test_little_in_a_large_block_is_copied_out_of_it():
    """A view of a few bytes does not pin the block that they were read into."""
    async with a_file(b"few", GlobalPool()) as (file, _):
        (piece,) = (await file.receive_view()).pieces
    assert memoryview(piece.obj).nbytes == 3


@pytest.mark.parametrize("memory", ["pool", "pages", "plain", "capped", "blocks of 7"])
async def test_an_abandoned_thread_writes_to_memory_that_nobody_sees(memory):
    """What is leased while an abandoned thread still runs never changes by what it reads."""
    provider = MEMORIES[memory]()
    with ability("threads"):
        async with a_file(b"\xff" * 100_000, provider) as (file, _):
            with gate("preadv") as held:
                await cancelled_at_the_gate(held, file.receive_view)
                gc.collect()
                bufs = []
                for _ in range(4):
                    buf = provider.reserve(100_000)
                    buf.put_slice(bytes(100_000))
                    bufs.append(buf.consume_all())
                await held.let_go()
            assert all(view == bytes(100_000) for view in bufs)


async def test_the_memory_of_an_abandoned_thread_comes_back():
    """When the thread is through, its block can be leased again: a cap counts it until then."""
    pool = CappedPool(300_000)
    with ability("threads"):
        async with a_file(bytes(262_144), pool) as (file, _):
            with gate("preadv") as held:
                await cancelled_at_the_gate(held, file.receive_view)
                with pytest.raises(BudgetExceeded):
                    pool.reserve(262_144)
                await held.let_go()
            with trio.fail_after(5):
                buf = await pool.reserve_wait(262_144)
    assert buf.remaining_capacity >= 262_144


async def test_a_read_waits_for_memory_that_has_a_cap(way):
    """Where the budget is used up a read stands in line, and goes on when there is some."""
    pool = CappedPool(65_536)
    async with a_file(noise(65_536), pool) as (file, _):
        held = [await file.receive_view()]
        with trio.move_on_after(0.05) as scope:
            await file.read_at(0, 65_536)
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def read() -> None:
                assert await file.read_at(0, 30_000) == noise(65_536)[:30_000]

            await trio.testing.wait_all_tasks_blocked()
            held.clear()


@pytest.mark.parametrize("given_memory", ["nothing", "read-only", "an error"])
async def test_bad_memory_is_told_from_a_bad_file(given_memory):
    """What a provider does wrong is said of the provider."""

    class Bad(PlainMemory):
        def _lease(self, nbytes):
            if given_memory == "nothing":
                return memoryview(bytearray()), None
            if given_memory == "read-only":
                return memoryview(bytes(nbytes)), None
            raise OSError(errno.ENOMEM, "none")

    async with a_file(b"abc", Bad()) as (file, _):
        with pytest.raises(BadMemory):
            await file.receive_view()
        assert file.read_offset == 0
