"""What things cost, guarded by counting: checkpoints, system calls, leases, copies. No clock.

Every count is exact, for bytes that are in the kernel's buffer before the call.
"""

from __future__ import annotations

import collections
import os

import pytest
import trio
import trio.testing
from pairs import Steps, big_buffers, clog, closing, noise, put_now, socketpair
from pools import CountingPool

from trio_bytesbuf import BytesBuf, BytesView

pytestmark = pytest.mark.counts_memory


@pytest.fixture
def calls(monkeypatch) -> collections.Counter[str]:
    """Counts the system calls that move bytes, by name."""
    counted: collections.Counter[str] = collections.Counter()

    def counting(name: str):
        real = getattr(os, name)

        def call(*args):
            counted[name] += 1
            return real(*args)

        return call

    for name in ("read", "readv", "write", "writev"):
        monkeypatch.setattr(os, name, counting(name))
    return counted


@pytest.fixture
async def pair():
    a, b = await socketpair(CountingPool())
    big_buffers(a)
    async with closing(a, b):
        yield a, b


def leases_of(stream) -> int:
    return stream._memory.leases


# One checkpoint for each call


@pytest.mark.parametrize(
    "receive",
    [
        pytest.param(lambda stream: stream.receive_view(), id="receive_view"),
        pytest.param(lambda stream: stream.receive_view(10), id="receive_view of 10"),
        pytest.param(lambda stream: anext(stream.views()), id="a step of views"),
        pytest.param(lambda stream: stream.read_more_into(BytesBuf()), id="read_more_into"),
        pytest.param(lambda stream: stream.read_any(), id="read_any"),
        pytest.param(lambda stream: stream.receive_some(), id="receive_some"),
    ],
)
@pytest.mark.parametrize("nbytes", [100, 16_384, 262_144])
async def test_receiving_what_is_at_hand_is_one_checkpoint(pair, receive, nbytes):
    """However much it is, up to what one call takes."""
    a, b = pair
    put_now(a, bytes(nbytes))
    with Steps() as steps:
        await receive(b)
    assert steps.taken == 1


async def test_receiving_the_end_is_one_checkpoint(pair):
    """And one read."""
    a, b = pair
    await a.send_eof()
    with Steps() as steps:
        assert not await b.receive_view()
    assert steps.taken == 1
    assert b.statistics().receive_calls == 1


async def test_waiting_for_bytes_is_one_checkpoint_as_well(pair, calls):
    """The wait is the checkpoint: one read in vain, one that is told that there is something."""
    a, b = pair
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            await trio.testing.wait_all_tasks_blocked()
            put_now(a, b"x")

        nursery.start_soon(send)
        with Steps() as steps:
            assert await b.receive_view() == b"x"
        assert steps.taken == 1
        assert calls == {"read": 2}
        assert b.statistics().receive_calls == 1


@pytest.mark.parametrize(
    ("view", "writes"),
    [
        pytest.param(BytesView(), 0, id="nothing"),
        pytest.param(BytesView(b"x" * 100), 1, id="one small piece"),
        pytest.param(
            BytesView.from_views([BytesView(b"x")] * 5000), 1, id="5,000 pieces of a byte"
        ),
        pytest.param(BytesView(bytes(200_000)), 1, id="one large piece"),
        pytest.param(BytesView.from_views([BytesView(bytes(5000))] * 40), 1, id="40 large pieces"),
    ],
)
async def test_a_send_that_the_kernel_takes_is_one_checkpoint_and_one_call(
    pair, calls, view, writes
):
    """Whatever the pieces are."""
    a, _ = pair
    with Steps() as steps:
        await a.write_view(view)
    assert steps.taken == 1
    assert calls == ({"writev": writes} if writes else {})
    assert a.statistics().send_calls == writes


async def test_send_all_costs_what_write_view_costs(pair, calls):
    """One checkpoint, one call, no copy."""
    a, _ = pair
    with Steps() as steps:
        await a.send_all(bytearray(100_000))
    assert steps.taken == 1
    assert calls == {"writev": 1}
    assert a.statistics().copied_nbytes == 0


async def test_a_send_that_waits_once_is_two_steps_and_two_calls():
    """One call in vain, one wait, one call that sends; and the checkpoint at the end."""
    a, b = await socketpair()
    async with closing(a, b):
        await clog(a)
        before = a.statistics().send_calls
        async with trio.open_nursery() as nursery:

            async def make_room() -> None:
                await trio.testing.wait_all_tasks_blocked()
                left = a.statistics().sent_nbytes
                while left:
                    left -= len(await b.receive_view())

            nursery.start_soon(make_room)
            with Steps() as steps:
                await a.write_view(BytesView(b"x"))
        assert steps.taken == 2
        assert a.statistics().send_calls == before + 1


# System calls


@pytest.mark.parametrize("nbytes", [1, 100, 16_383])
async def test_a_small_message_is_one_read_and_no_lease(pair, calls, nbytes):
    """Into plain `bytes`: no pooled block, no copy."""
    a, b = pair
    for _ in range(20):
        put_now(a, bytes(nbytes))
        await b.receive_view()
    assert calls == {"read": 20}
    assert leases_of(b) == 0
    assert b.statistics().copied_nbytes == 0


async def test_a_request_and_its_answer_are_four_calls(pair, calls):
    """One to send and one to receive, on each side, when the bytes are there in time."""
    a, b = pair
    for _ in range(10):
        await a.write_view(BytesView(bytes(100)))
        await b.write_view(await b.receive_view())
        await a.receive_view()
    assert calls == {"read": 20, "writev": 20}


@pytest.mark.parametrize(
    ("nbytes", "plain", "into_blocks"),
    [
        pytest.param(16_384, 1, 1, id="a full first step, and a second in vain"),
        pytest.param(16_384 + 1, 1, 1, id="a byte more"),
        pytest.param(16_384 + 65_535, 1, 1, id="not quite full"),
        pytest.param(16_384 + 65_536 + 1, 1, 2, id="the third step"),
        pytest.param(262_144, 1, 2, id="as much as one call takes"),
        pytest.param(300_000, 1, 2, id="more than one call takes"),
    ],
)
async def test_a_first_bulk_receive_takes_as_many_reads_as_there_are_steps(
    pair, calls, nbytes, plain, into_blocks
):
    """Sizes grow within one call; a read that was not full is the last one."""
    a, b = pair
    put_now(a, bytes(nbytes))
    assert len(await b.receive_view()) == min(nbytes, 262_144)
    assert (calls["read"], calls["readv"]) == (plain, into_blocks)
    assert leases_of(b) == into_blocks


async def test_bulk_that_is_at_hand_costs_one_read_for_each_quarter_mebibyte(pair, calls):
    """After the first call: one read, one lease, one checkpoint for each 256 KiB; no copy."""
    a, b = pair
    put_now(a, bytes(262_144))
    await b.receive_view()
    calls.clear()
    before = leases_of(b)
    for _ in range(64):  # 16 MiB
        put_now(a, bytes(262_144))
        with Steps() as steps:
            assert len(await b.receive_view()) == 262_144
        assert steps.taken == 1
    assert calls == {"readv": 64}
    assert leases_of(b) - before == 64
    assert b.statistics().copied_nbytes == 0


async def test_bulk_whose_views_are_let_go_needs_one_block(pair):
    """16 MiB pass through the same 256 KiB of memory."""
    a, b = pair
    for _ in range(64):
        put_now(a, bytes(262_144))
        view = await b.receive_view()
        assert len(view) == 262_144
        del view
    statistics = b._memory.statistics()
    assert leases_of(b) >= 64
    assert statistics.allocated == 2, "one of 64 KiB for the first steps, one of 256 KiB"


async def test_a_wait_after_bulk_leases_one_block_for_the_try_and_gives_it_back(pair, calls):
    """Waiting itself holds nothing; waking up leases again."""
    a, b = pair
    put_now(a, bytes(262_144))
    await b.receive_view()
    calls.clear()
    before = leases_of(b)
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            await trio.testing.wait_all_tasks_blocked()
            assert b._memory.statistics().lent_nbytes == 0
            assert leases_of(b) - before == 1
            put_now(a, b"x")

        nursery.start_soon(send)
        assert await b.receive_view() == b"x"
    assert calls == {"readv": 2}
    assert leases_of(b) - before == 2


# Copies


@pytest.mark.parametrize(
    ("nbytes", "copied"),
    [
        pytest.param(1, 1, id="a byte"),
        pytest.param(16_384, 16_384, id="16 KiB"),
        pytest.param(65_535, 65_535, id="a byte less than a quarter of the block"),
        pytest.param(65_537, 0, id="a byte more than a quarter"),
        pytest.param(262_144, 0, id="all of it"),
    ],
)
async def test_a_receive_into_a_large_block_is_copied_out_up_to_a_quarter(pair, nbytes, copied):
    """Beyond that the block is worth keeping."""
    a, b = pair
    b._receive_size.nbytes = 262_144
    put_now(a, noise(nbytes))
    assert await b.receive_view() == noise(nbytes)
    assert b.statistics().copied_nbytes == copied


@pytest.mark.parametrize(
    ("sizes", "copied"),
    [
        pytest.param([100], 0, id="one piece"),
        pytest.param([4, 100], 104, id="a header and a small body"),
        pytest.param([4, 100_000], 0, id="a header and a large body"),
        pytest.param([4, 4, 100_000, 7, 7], 22, id="small neighbours on both sides"),
        pytest.param([50_000] * 4, 0, id="large pieces"),
    ],
)
async def test_sending_copies_small_neighbours_only(pair, sizes, copied):
    """Joining them is quicker than handing each to the kernel; nothing else is copied."""
    a, _ = pair
    await a.write_view(BytesView.from_views([BytesView(bytes(nbytes)) for nbytes in sizes]))
    assert a.statistics().copied_nbytes == copied
    assert a.statistics().send_calls == 1


async def test_what_was_received_is_sent_on_without_a_copy(pair):
    """The view goes into `writev` as it came out of `readv`."""
    a, b = pair
    big_buffers(b)
    put_now(a, noise(147_920))
    await b.write_view(await b.receive_view())
    assert b.statistics().copied_nbytes == 0
    assert await a.receive_view() == noise(147_920)
