"""Receiving in views: what comes back, where it lies, what a waiting stream holds, cancellation."""

from __future__ import annotations

import hashlib
from collections import deque
from unittest import mock

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pairs import (
    MEMORIES,
    MEMORY_IDS,
    big_buffers,
    closing,
    noise,
    put_now,
    receive_exactly,
    receive_to_the_end,
    socketpair,
    tcp_pair,
)

from trio_bytesbuf import BytesBuf, BytesView, GlobalPool, MemoryInUse, Read
from trio_bytesbuf.io import SocketStream, _descriptor
from trio_bytesbuf.io._receive_size import ReceiveSize
from trio_bytesbuf.mem import Block, Memory, PlainMemory
from trio_bytesbuf.testing import FixedBlockMemory, check_laws

SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

every_memory = pytest.mark.parametrize("memory", MEMORIES, ids=MEMORY_IDS)


class GenerousMemory(Memory):
    """Gives more blocks than it was asked for, all larger: which a provider may."""

    def blocks(self, nbytes: int, /):
        return [Block(bytearray(2 * nbytes + 10)) for _ in range(5)]


@pytest.fixture
async def pair():
    a, b = await socketpair(GlobalPool())
    big_buffers(a)
    async with closing(a, b):
        yield a, b


# What comes back


@every_memory
async def test_what_is_received_is_what_was_sent(memory):
    """Over every memory, and every view obeys the laws of views."""
    data = noise(3000)
    a, b = await socketpair(memory())
    async with closing(a, b):
        put_now(a, data)
        await a.send_eof()
        got = BytesView()
        async for view in b.views():
            check_laws(view)
            got = got + view
        assert got == data


@pytest.mark.parametrize(
    "memory", [*MEMORIES, GenerousMemory], ids=[*MEMORY_IDS, "generous blocks"]
)
@pytest.mark.parametrize("max_bytes", [1, 6, 7, 8, 999, 20_000])
async def test_a_view_is_never_longer_than_max_bytes(memory, max_bytes):
    """However large or small the blocks are, and however large the receives have become."""
    a, b = await socketpair(memory())
    async with closing(a, b):
        big_buffers(a)
        put_now(a, noise(150_000))
        b._receive_size.nbytes = 262_144  # as if much had come before
        got = b""
        for _ in range(5):
            view = await b.receive_view(max_bytes)
            assert 1 <= len(view) <= max_bytes
            got += view.to_bytes()
        assert got == noise(150_000)[: len(got)]


async def test_without_max_bytes_a_view_is_never_longer_than_a_drain(pair):
    """Other tasks get their turn after 256 KiB, however much is at hand."""
    a, b = pair
    put_now(a, bytes(300_000))
    assert len(await b.receive_view()) == _descriptor.DRAIN_NBYTES == 262_144
    assert len(await b.receive_view()) == 300_000 - 262_144


async def test_one_call_returns_all_that_is_at_hand(pair):
    """In several reads, for one checkpoint."""
    a, b = pair
    put_now(a, noise(147_000))
    assert await b.receive_view() == noise(147_000)
    assert b.statistics().receive_calls == 3


async def test_a_view_is_empty_at_the_end_and_never_before(pair):
    """And again each time it is asked."""
    a, b = pair
    for nbytes in (1, 16_384, 70_000):
        put_now(a, bytes(nbytes))
        assert len(await b.receive_view()) == nbytes
    put_now(a, b"last")
    await a.send_eof()
    assert await b.receive_view() == b"last"
    for _ in range(3):
        assert await b.receive_view() == b""


async def test_bytes_right_before_the_end_come_first(pair):
    """A call that reads twice and meets the end in the second read returns the bytes."""
    a, b = pair
    put_now(a, bytes(16_384))
    await a.send_eof()
    assert len(await b.receive_view()) == 16_384
    assert not await b.receive_view()


async def test_receive_some_returns_bytes(pair):
    """Trio's own method returns what trio's own type says."""
    a, b = pair
    put_now(a, b"abcdef")
    got = await b.receive_some(4)
    assert type(got) is bytes
    assert got == b"abcd"
    assert await b.receive_some() == b"ef"


async def test_views_end_with_the_stream_and_can_be_taken_up_again(pair):
    """Leaving the loop loses nothing; a new loop, or the same iterator, goes on."""
    a, b = pair
    put_now(a, b"abcdef")
    await a.send_eof()
    steps = b.views(2)
    async for view in steps:
        assert view == b"ab"
        break
    assert await anext(steps) == b"cd"
    assert [view async for view in b.views()] == [b"ef"]
    assert [view async for view in steps] == []


async def test_read_at_most_into_appends_and_says_how_much(pair):
    """Up to `nbytes`, behind what is in the builder already; 0 at the end."""
    a, b = pair
    put_now(a, b"abcdef")
    await a.send_eof()
    buf = BytesBuf()
    buf.reserve(2)
    buf.put_slice(b"->")
    assert await b.read_at_most_into(4, buf) == 4
    assert await b.read_at_most_into(4, buf) == 2
    assert await b.read_at_most_into(4, buf) == 0
    assert buf.consume_all() == b"->abcdef"
    check_laws(buf)


async def test_read_more_into_appends_what_is_at_hand(pair):
    """All of it; 0 at the end."""
    a, b = pair
    put_now(a, b"abcdef")
    await a.send_eof()
    buf = BytesBuf()
    assert await b.read_more_into(buf) == 6
    assert await b.read_more_into(buf) == 0
    assert buf.peek() == b"abcdef"


async def test_read_any_returns_a_new_builder(pair):
    """With what is at hand; an empty one at the end."""
    a, b = pair
    put_now(a, b"abc")
    await a.send_eof()
    assert (await b.read_any()).peek() == b"abc"
    assert len(await b.read_any()) == 0


@pytest.mark.parametrize("wrong", [bytearray(), None, BytesView()], ids=repr)
@pytest.mark.parametrize("method", ["read_more_into", "read_at_most_into"])
async def test_reading_into_what_is_no_builder_takes_nothing(pair, method, wrong):
    """It is refused before a byte is received."""
    a, b = pair
    put_now(a, b"safe")
    arguments = (wrong,) if method == "read_more_into" else (4, wrong)
    with pytest.raises((TypeError, AttributeError)):
        await getattr(b, method)(*arguments)
    assert await receive_exactly(b, 4) == b"safe"


@pytest.mark.parametrize("method", ["read_more_into", "read_at_most_into"])
async def test_reading_into_a_builder_that_somebody_writes_into_takes_nothing(pair, method):
    """MemoryInUse before a byte is received, and not after, when it would be lost."""
    a, b = pair
    put_now(a, b"safe")
    buf = GlobalPool().reserve(100)
    window = buf.chunk_mut()[:10]
    arguments = (buf,) if method == "read_more_into" else (4, buf)
    with pytest.raises(MemoryInUse):
        await getattr(b, method)(*arguments)
    del window
    assert await getattr(b, method)(*arguments) == 4
    assert buf.peek() == b"safe"


async def test_a_memory_that_fails_behind_bytes_loses_none():
    """What the first read of a call brought is returned; the next call says what is wrong."""

    class Failing(Memory):
        broken = False

        def blocks(self, nbytes: int, /):
            if self.broken:
                raise MemoryError("no more")
            return [Block(bytearray(nbytes))]

        def is_worth_keeping(self, filled_nbytes: int, capacity_nbytes: int, /) -> bool:
            return filled_nbytes > 16_384 or filled_nbytes < capacity_nbytes

    memory = Failing()
    a, b = await socketpair(memory)
    async with closing(a, b):
        big_buffers(a)
        put_now(a, noise(100_000))
        memory.broken = True
        assert await b.receive_view() == noise(16_384)
        with pytest.raises(MemoryError):
            await b.receive_view()
        memory.broken = False
        assert await receive_exactly(b, 83_616) == noise(100_000)[16_384:]


async def test_metas_of_a_memory_are_the_metas_of_received_views():
    """What a provider says of its blocks can be asked of what was received into them."""

    class Marked(Memory):
        def blocks(self, nbytes: int, /):
            return [Block(bytearray(nbytes), meta="mine")]

    a, b = await socketpair(Marked())
    async with closing(a, b):
        put_now(a, bytes(20_000))
        view = await b.receive_view()
        assert len(view.metas) > 1
        assert set(view.metas) == {"mine"}


# Sizes


async def test_receives_grow_within_one_call_when_much_is_at_hand(pair):
    """16 KiB, then 64 KiB, then 256 KiB, each step after a full read."""
    a, b = pair
    put_now(a, bytes(262_144))
    assert b.statistics().receive_size_nbytes == 16_384
    assert len(await b.receive_view()) == 262_144
    assert b.statistics().receive_calls == 3
    assert b.statistics().receive_size_nbytes == 262_144


async def test_receives_shrink_by_a_step_after_two_small_ones(pair):
    """Two in a row; a large one in between starts the count again."""
    a, b = pair
    put_now(a, bytes(262_144))
    await b.receive_view()
    seen = []
    for nbytes in (100, 100_000, 100, 100, 20_000, 100, 100):
        put_now(a, bytes(nbytes))
        assert len(await b.receive_view()) == nbytes
        seen.append(b.statistics().receive_size_nbytes)
    assert seen == [262_144, 262_144, 262_144, 65_536, 65_536, 65_536, 16_384]


async def test_receives_that_max_bytes_holds_down_do_not_shrink_the_size(pair):
    """A full read of what was asked for says nothing about how much is there."""
    a, b = pair
    put_now(a, bytes(262_144))
    await b.receive_view()
    put_now(a, bytes(100))
    for _ in range(10):
        assert len(await b.receive_view(10)) == 10
    assert b.statistics().receive_size_nbytes == 262_144


@SETTINGS
@given(st.lists(st.tuples(st.integers(0, 300_000), st.integers(1, 300_000)), max_size=30))
def test_a_receive_size_is_always_one_of_the_steps(receives):
    """And moves by at most one step for each receive."""
    size = ReceiveSize.up_to(262_144)
    steps = (16_384, 65_536, 262_144)
    for nbytes, limit in receives:
        before = steps.index(size.nbytes)
        asked = min(limit, size.nbytes)
        size.received(min(nbytes, asked), asked)
        assert abs(steps.index(size.nbytes) - before) <= 1


# Memory


async def receive_forever(stream: SocketStream) -> None:
    async for _ in stream.views():
        pass


@pytest.mark.parametrize(
    "before",
    [
        pytest.param([], id="nothing yet"),
        pytest.param([100], id="after 100 bytes"),
        pytest.param([200_000, 100], id="after a bulk transfer and a small message"),
    ],
)
async def test_waiting_streams_hold_no_block(before):
    """Fifty of them wait, and the pool has lent nothing."""
    pool = GlobalPool()
    pairs = [await socketpair(pool) for _ in range(50)]
    async with closing(*(stream for pair in pairs for stream in pair)):
        async with trio.open_nursery() as nursery:
            for a, b in pairs:
                big_buffers(a)
                nursery.start_soon(receive_forever, b)
            for nbytes in before:
                await trio.testing.wait_all_tasks_blocked()
                for a, _ in pairs:
                    put_now(a, bytes(nbytes))
            await trio.testing.wait_all_tasks_blocked()
            assert [b.statistics().received_nbytes for _, b in pairs] == [sum(before)] * 50
            statistics = pool.statistics()
            assert statistics.lent_nbytes == 0
            assert statistics.idle_nbytes <= 3 * 4 * 1_048_576
            nursery.cancel_scope.cancel()
        check_laws(pool)


async def test_a_stream_that_only_gets_small_messages_never_leases(pair):
    """The kernel fills plain `bytes`, which is less work than a lease."""
    a, b = pair
    for _ in range(10):
        put_now(a, bytes(16_000))
        assert len(await b.receive_view()) == 16_000
    assert b._memory.statistics().allocated == 0


async def test_a_small_receive_into_a_large_block_is_copied_out(pair):
    """The block is free before the caller sees the view, and the figures say what it cost."""
    a, b = pair
    b._receive_size.nbytes = 262_144
    put_now(a, noise(1000))
    view = await b.receive_view()
    assert view == noise(1000)
    assert view.retained_nbytes == 1000
    assert b._memory.statistics().lent_nbytes == 0
    assert b.statistics().copied_nbytes == 1000


async def test_a_large_receive_stays_where_the_kernel_put_it(pair):
    """In a block of the pool, which is lent until the view is gone."""
    a, b = pair
    b._receive_size.nbytes = 262_144
    put_now(a, noise(100_000))
    view = await b.receive_view()
    assert b.statistics().copied_nbytes == 0
    assert b._memory.statistics().lent_nbytes == 262_144
    assert view == noise(100_000)
    part = view[5:9]
    del view
    assert b._memory.statistics().lent_nbytes == 262_144
    del part
    assert b._memory.statistics().lent_nbytes == 0


@SETTINGS
@given(
    st.lists(
        st.tuples(st.integers(1, 90_000), st.sampled_from([None, 1, 100, 20_000, 70_000])),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([GlobalPool, PlainMemory, lambda: FixedBlockMemory(700)]),
    st.integers(1, 4),
    st.booleans(),
)
async def test_views_keep_their_bytes_while_the_stream_goes_on_receiving(
    steps, memory, keep_each, in_place
):
    """Some views are kept, some let go, so that blocks are used again in between."""
    with mock.patch.object(_descriptor, "CAN_READ_IN_PLACE", in_place):
        a, b = await socketpair(memory())
        async with closing(a, b), trio.open_nursery() as nursery:

            async def send() -> None:
                for number, (nbytes, _) in enumerate(steps):
                    await a.send_all(noise(nbytes, number))
                await a.send_eof()

            nursery.start_soon(send)
            whole = hashlib.sha256()
            kept = deque(maxlen=60)
            count = 0
            max_bytes = deque(limit for _, limit in steps)
            while view := await b.receive_view(max_bytes[0] if count < 400 else None):
                assert max_bytes[0] is None or count >= 400 or len(view) <= max_bytes[0]
                max_bytes.rotate()
                data = view.to_bytes()
                whole.update(data)
                count += 1
                if count % keep_each == 0:
                    kept.append((view, data))
        expected = b"".join(noise(nbytes, number) for number, (nbytes, _) in enumerate(steps))
        assert whole.digest() == hashlib.sha256(expected).digest()
        assert all(view == data for view, data in kept)


async def test_a_memoryview_kept_by_accident_keeps_its_bytes(pair):
    """Not the view but a slice of one of its pieces: the pool must see that as well."""
    a, b = pair
    b._receive_size.nbytes = 65_536
    put_now(a, noise(60_000, 1))
    piece = (await b.receive_view()).pieces[0][100:200]
    for seed in range(2, 12):
        put_now(a, noise(60_000, seed))
        await b.receive_view()
    assert piece == noise(60_000, 1)[100:200]


# Cancellation


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "through trio"])
@pytest.mark.parametrize("method", ["receive_view", "receive_some", "views", "read_more_into"])
@pytest.mark.parametrize("make", [socketpair, tcp_pair], ids=["socketpair", "TCP"])
async def test_cancelled_receives_lose_no_byte(make, method, in_place, monkeypatch):
    """Cancelled at the first checkpoint, while waiting, and while bytes are arriving: 600 times."""
    monkeypatch.setattr(_descriptor, "CAN_READ_IN_PLACE", in_place)
    data = noise(60_000)
    got = bytearray()
    a, b = await make()

    async def once() -> None:
        match method:
            case "views":
                async for view in b.views(50):
                    got.extend(view.to_bytes())
            case "read_more_into":
                buf = BytesBuf()
                try:
                    await b.read_at_most_into(50, buf)
                finally:
                    got.extend(buf.consume_all().to_bytes())
            case _:
                got.extend(bytes(await getattr(b, method)(50)))

    async def send_bit_by_bit() -> None:
        for start in range(0, 30_000, 50):
            put_now(a, data[start : start + 50])
            for _ in range(start // 50 % 4):
                await trio.lowlevel.checkpoint()
        await a.send_all(data[30_000:])
        await a.send_eof()

    async def cancel_after(steps: int, scope: trio.CancelScope) -> None:
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        scope.cancel()

    cancelled = 0
    async with closing(a, b), trio.open_nursery() as nursery:
        nursery.start_soon(send_bit_by_bit)
        for turn in range(600):
            with trio.CancelScope() as scope:
                if turn % 5 == 0:
                    scope.cancel()
                nursery.start_soon(cancel_after, turn % 5, scope)
                await once()
            cancelled += scope.cancelled_caught
        got.extend(await receive_to_the_end(b))
    assert cancelled > 60
    assert bytes(got) == data


async def test_a_receive_cancelled_while_it_waits_takes_nothing(pair):
    """Nor one whose bytes arrive in the very step in which it is cancelled."""
    a, b = pair
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:

            async def send_and_cancel() -> None:
                await trio.testing.wait_all_tasks_blocked()
                put_now(a, b"at the last moment")
                scope.cancel()

            nursery.start_soon(send_and_cancel)
            await b.receive_view()
        assert scope.cancelled_caught
    assert await b.receive_view() == b"at the last moment"


async def test_views_can_be_cancelled_and_resumed(pair):
    """The iterator remains good after a cancelled step."""
    a, b = pair
    steps = b.views()
    with trio.move_on_after(0) as scope:
        await anext(steps)
    assert scope.cancelled_caught
    put_now(a, b"after that")
    assert await anext(steps) == b"after that"


# A source of one's own


class Countdown(Read):
    """A source that somebody else wrote: nothing but the two methods that are asked for."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.closed = False

    async def _receive_view(self, max_bytes) -> BytesView:
        await trio.lowlevel.checkpoint()
        nbytes = min(self.left, 3 if max_bytes is None else max_bytes)
        self.left -= nbytes
        return BytesView(bytes(range(self.left, self.left + nbytes)))

    async def _aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


async def test_a_source_of_ones_own_gets_the_rest_for_free():
    """`_receive_view` and `_aclose` are written; `async with`, `views` and the reads are given."""
    async with Countdown(10) as source:
        assert [view.to_bytes() async for view in source.views(4)] == [
            bytes([6, 7, 8, 9]),
            bytes([2, 3, 4, 5]),
            bytes([0, 1]),
        ]
    assert source.closed
    source = Countdown(7)
    buf = BytesBuf()
    assert await source.read_at_most_into(2, buf) == 2
    assert await source.read_more_into(buf) == 3
    assert buf.consume_all() == bytes([5, 6, 2, 3, 4])
    assert (await source.read_any()).peek() == bytes([0, 1])
    assert not await source.read_any()


@pytest.mark.parametrize("missing", ["_receive_view", "_aclose"])
def test_a_source_without_its_two_methods_cannot_be_made(missing):
    """Python says which one is missing."""
    methods = {"_receive_view": Countdown._receive_view, "_aclose": Countdown._aclose}
    del methods[missing]
    with pytest.raises(TypeError, match=missing):
        type("Halfway", (Read,), methods)()
