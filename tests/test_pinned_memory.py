"""What a buffered reader holds: nothing when idle, little while it waits, no copy to be spared.

A reader that waits in the middle of a message holds what has come of it, and not the large blocks
that it came in; thousands of connections wait so. What is larger than one receive is not copied.
"""

from __future__ import annotations

import contextlib
import math
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import hypothesis
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from pairs import big_buffers, socketpair
from strategies import cut_at

from trio_bytesbuf import BytesView, GlobalPool, SocketStream
from trio_bytesbuf.buffered import BufReader, BufStream, FixedLength, LengthPrefixed, Lines
from trio_bytesbuf.buffered._receive_buffer import PINNED_TIMES, TAIL_NBYTES
from trio_bytesbuf.testing import Delay, FakeRead

SMALLEST = 1024
"""Bytes whose owner is hardly worth a look: what any `bytes` object costs, and then some."""

WAITING: dict[str, Callable[[Any], Awaitable[object]]] = {
    "read_exactly": lambda reader: reader.read_exactly(1 << 20),
    "peek": lambda reader: reader.peek(1 << 20),
    "read_until": lambda reader: reader.read_until(b"\n", 1 << 21),
    "read_line": lambda reader: reader.read_line(1 << 21),
    "lines": lambda reader: reader.lines(max_bytes=1 << 21).receive(),
    "universal lines": lambda reader: reader.lines(None, max_bytes=1 << 21).receive(),
    "text_lines": lambda reader: reader.text_lines(max_bytes=1 << 21).receive(),
    "frames": lambda reader: reader.frames(FixedLength(1 << 20)).receive(),
    "batches": lambda reader: reader.frames(LengthPrefixed(4), bytes).receive_batch(),
}
every_wait = pytest.mark.parametrize("wait", WAITING.values(), ids=WAITING)


@contextlib.asynccontextmanager
async def over_a_pool() -> AsyncIterator[tuple[Any, SocketStream, GlobalPool]]:
    """A buffered reader over a socket that receives into a pool of its own; and its peer."""
    pool = GlobalPool()
    ours, theirs = await socketpair(pool)
    big_buffers(theirs)
    async with BufReader(ours) as reader, theirs:
        yield reader, theirs, pool


@contextlib.asynccontextmanager
async def waiting(wait: Callable[[Any], Awaitable[object]], reader: Any) -> AsyncIterator[None]:
    """Let a task wait, during the block."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, reader)
        await trio.testing.wait_all_tasks_blocked()
        yield
        nursery.cancel_scope.cancel()


@every_wait
@pytest.mark.parametrize("part", [0, 100, 5_000, 100_000])
@pytest.mark.parametrize("before", [0, 150_000])
async def test_half_a_message_pins_no_block_many_times_its_size(wait, part, before) -> None:
    """Whatever was read before, and whatever is waited for: at most four times what has come."""
    async with over_a_pool() as (reader, peer, pool):
        await peer.send_all(bytes(before) + b"\0\x0f\xff\xff" + b"x" * part)
        await reader.read_exactly(before)
        async with waiting(wait, reader):
            assert reader.buffered_nbytes == part + 4
            most = PINNED_TIMES * (part + 4)
            assert reader.buffered.retained_nbytes <= most + SMALLEST
            statistics = pool.statistics()
            assert statistics.lent_nbytes <= most
            await peer.send_all(b"y" * 3)
            await trio.testing.wait_all_tasks_blocked()
            assert reader.buffered_nbytes == part + 7
            assert reader.buffered.retained_nbytes <= most + SMALLEST
            assert pool.statistics().lent_nbytes <= most
            assert bytes(reader.buffered[-3:]) == b"yyy"


@every_wait
async def test_an_idle_reader_pins_nothing(wait) -> None:
    """When all was read and dropped every block is at home, whether somebody waits or nobody."""
    async with over_a_pool() as (reader, peer, pool):
        await peer.send_all(bytes(150_000))
        await reader.read_exactly(150_000)
        assert reader.buffered_nbytes == 0
        assert pool.statistics().allocated > 0
        assert pool.statistics().lent_nbytes == 0
        async with waiting(wait, reader):
            assert pool.statistics().lent_nbytes == 0


async def test_a_closed_reader_pins_nothing() -> None:
    """What was buffered is let go of by closing, and by `into_inner` when its bytes are dropped."""
    async with over_a_pool() as (reader, peer, pool):
        await peer.send_all(bytes(150_000))
        await reader.fill_buf()
        await reader.peek(150_000)
        assert pool.statistics().lent_nbytes > 0
        await reader.aclose()
        assert pool.statistics().lent_nbytes == 0
    async with over_a_pool() as (reader, peer, pool):
        await peer.send_all(bytes(150_000))
        await reader.peek(150_000)
        inner, rest = reader.into_inner()
        assert pool.statistics().lent_nbytes > 0
        assert len(rest) == 150_000
        del rest
        assert pool.statistics().lent_nbytes == 0
        await inner.aclose()


PARTS = st.lists(st.sampled_from([1, 90, 511, 512, 600, 5_000, 70_000]), min_size=1, max_size=12)


@hypothesis.settings(max_examples=60)
@given(parts=PARTS, taken=st.lists(st.sampled_from([0, 1, 500, 600, 4_999]), max_size=12))
async def test_whatever_has_come_little_is_pinned(parts, taken) -> None:
    """After any receives and reads, a waiting reader holds at most four times what is there."""
    async with over_a_pool() as (reader, peer, pool):
        takes = iter(taken)
        for nbytes in parts:
            await peer.send_all(b"z" * nbytes)
            await reader.peek(reader.buffered_nbytes + nbytes)
            reader.discard(min(next(takes, 0), reader.buffered_nbytes))
        async with waiting(WAITING["lines"], reader):
            nbytes = reader.buffered_nbytes
            assert nbytes == sum(parts) - (sum(parts) - nbytes)
            assert pool.statistics().lent_nbytes <= PINNED_TIMES * nbytes
            most = PINNED_TIMES * nbytes + SMALLEST
            assert reader.buffered.retained_nbytes <= most


# What a peer that drips costs


async def drip(reader: Any, wait: Callable[[Any], Awaitable[object]]) -> int:
    """Let a peer drip, and say how many bytes of memory that has cost."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        async with waiting(wait, reader):
            return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


@pytest.mark.needs_process
@pytest.mark.parametrize("name", ["read_exactly", "read_line", "lines", "frames"])
async def test_a_peer_that_drips_costs_the_bytes_it_sends(name) -> None:
    """Of 5,000 bytes that came one by one there are no 5,000 pieces."""
    nbytes = 5_000
    source = FakeRead(b"z" * nbytes, script=[*[1] * nbytes, Delay(math.inf)])
    reader = BufReader(source)
    cost = await drip(reader, WAITING[name])
    assert reader.buffered_nbytes == nbytes
    assert len(reader.buffered.pieces) <= 2 + nbytes // TAIL_NBYTES
    assert cost < 3 * nbytes + 20_000


@pytest.mark.parametrize("name", ["read_to_end", "read_contiguous"])
async def test_what_cancelled_reads_have_gathered_is_no_heap_of_crumbs(
    name, autojump_clock
) -> None:
    """What an inherited read had gathered byte by byte goes back in few pieces."""
    nbytes = 20_000
    source = FakeRead(b"z" * nbytes, script=[*[1] * nbytes, Delay(math.inf)])
    reader = BufReader(source)
    with trio.move_on_after(1) as scope:
        await getattr(reader, name)(1 << 20)
    assert scope.cancelled_caught
    async with waiting(WAITING["lines"], reader):
        assert reader.buffered_nbytes == nbytes
        assert len(reader.buffered.pieces) <= nbytes // 200
        assert reader.buffered.retained_nbytes <= PINNED_TIMES * nbytes


# No copy


@pytest.mark.parametrize("ahead", [65_536, 100_000])
async def test_what_is_larger_than_a_receive_is_not_copied(ahead) -> None:
    """The pieces of a large message are those of the source, whoever reads it."""
    data = b"\0\x0f\xff\xfc" + bytes(0x0FFFFC)
    contents = cut_at(data, list(range(0, len(data), 50_000)))  # each with memory of its own
    owners = {id(piece.obj) for piece in contents.pieces}
    reads: dict[str, Callable[[Any], Awaitable[Any]]] = {
        "read_exactly": lambda reader: reader.read_exactly(len(data)),
        "peek": lambda reader: reader.peek(len(data)),
        "frames": lambda reader: reader.frames(LengthPrefixed(4)).receive(),
        "batches": lambda reader: anext(reader.frames(LengthPrefixed(4)).batches()),
        "read_to_end": lambda reader: reader.read_to_end(len(data)),
        "receive_view": lambda reader: reader.receive_view(),
    }
    for name, read in reads.items():
        reader = BufReader(FakeRead(contents), read_ahead_nbytes=ahead)
        found = await read(reader)
        view: BytesView = found[0] if isinstance(found, list) else found
        assert len(view) in (len(data), len(data) - 4), name
        assert {id(piece.obj) for piece in view.pieces} <= owners, name


async def test_small_frames_are_slices_of_what_was_received() -> None:
    """Frames as views, and what is read exactly, show the source's own memory."""
    data = (b"\0\0\0\x04abcd" * 1000) + b"x" * 100
    reader = BufReader(FakeRead(data))
    batch = await reader.frames(LengthPrefixed(4)).receive_batch(999)
    one = await reader.frames(LengthPrefixed(4)).receive()
    rest = await reader.read_exactly(100)
    assert len(batch) == 999
    assert {id(view.pieces[0].obj) for view in [*batch, one, rest]} == {id(data)}


async def test_over_a_pool_a_large_message_is_not_copied() -> None:
    """Of a large message over a socket nothing is copied but the ends of it that came alone."""
    nbytes = 400_000
    ours, theirs = await socketpair(GlobalPool())
    big_buffers(theirs)
    async with BufStream(ours) as reader, theirs:
        await theirs.send_all(b"x" * nbytes)
        await reader.fill_buf()  # the first receives are small, to learn
        view = await reader.read_exactly(nbytes)
        assert view == b"x" * nbytes
        assert len(view.pieces) <= ours.statistics().receive_calls
        blocks = [piece.obj for piece in view.pieces if type(piece.obj) is bytearray]
        assert sum(map(len, blocks)) >= nbytes - 3 * 65_536


# How often the source is asked


@pytest.mark.counts_memory
@pytest.mark.parametrize("framing", [Lines(), LengthPrefixed(2), FixedLength(16)])
async def test_many_messages_come_with_few_receives(framing) -> None:
    """Of 5,000 messages that are at hand, those of a whole receive come without any other."""
    data = framing.encode(b"sixteen bytes ..").to_bytes() * 5_000
    ours, theirs = await socketpair()
    big_buffers(theirs)
    async with BufReader(ours) as reader, theirs:
        await theirs.send_all(data)
        channel = reader.frames(framing, bytes)
        count = calls = 0
        while count < 5_000:
            count += len(await channel.receive_batch(10_000))
            calls += 1
        receives = ours.statistics().receive_calls
        assert receives <= 2 + len(data) // 16_384
        assert calls <= receives
