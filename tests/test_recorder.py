"""A `FlowRecorder` loses no byte, keeps the peaks, stays small, and costs a look at the clock."""

from __future__ import annotations

import gc
import weakref

import attrs
import pytest
import trio
import trio.testing
from counting import Functions
from hypothesis import given
from hypothesis import strategies as st
from pairs import socketpair, tcp_pair

from trio_bytesbuf import BytesView, CappedPool, GlobalPool, SocketStream, relay
from trio_bytesbuf.buffered import BufStream
from trio_bytesbuf.io._tally import Totals
from trio_bytesbuf.testing import CountingMemory, FlowRecorder, FlowSample, PoolSample, _recorder
from trio_bytesbuf.testing._recorder import check_recorder

UP, DOWN = 3_000_000, 700_000
"""How many bytes go through the relay each way."""


async def relayed(recorder: FlowRecorder) -> None:
    """Pass bytes through a relay over TCP, whose two streams are watched and then closed."""
    pool = GlobalPool()
    recorder.watch(pool, "pool")
    client, outer = await tcp_pair()
    inner, server = await tcp_pair(pool)
    recorder.watch(outer, "client")
    recorder.watch(inner, "server")

    async def speak(stream: SocketStream, sent: int, received: int) -> None:
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(stream.read_exactly, received)
            await stream.write_view(BytesView(bytes(sent)))

    async with outer, inner, trio.open_nursery() as nursery:
        nursery.start_soon(speak, client, UP, DOWN)
        nursery.start_soon(speak, server, DOWN, UP)
        await relay(outer, inner)


def test_every_byte_of_a_relay_is_counted() -> None:
    """The last sample has exactly what passed, though the streams were closed before it."""
    recorder = FlowRecorder(interval=0.001)
    trio.run(relayed, recorder, instruments=[recorder])
    last = recorder.samples[-1]
    assert (last.streams["client"].received_nbytes, last.streams["client"].sent_nbytes) == (
        UP,
        DOWN,
    )
    assert (last.streams["server"].received_nbytes, last.streams["server"].sent_nbytes) == (
        DOWN,
        UP,
    )
    assert recorder.samples[0].seconds == 0
    assert any(sample.pools["pool"].lent_nbytes for sample in recorder.samples[1:])
    check_recorder(recorder)


def test_a_run_after_another_goes_on_where_it_was() -> None:
    """Counts and times grow from run to run, as from cell to cell of a notebook."""
    recorder = FlowRecorder(interval=1000)

    async def send(nbytes: int) -> None:
        a, b = await socketpair()
        async with a, b:
            recorder.watch(a, "all")
            await a.write_view(BytesView(bytes(nbytes)))

    for nbytes in (10, 20, 30):
        trio.run(send, nbytes, instruments=[recorder])
    assert recorder.samples[-1].streams["all"].sent_nbytes == 60
    check_recorder(recorder)


async def test_it_can_be_added_to_a_run_that_goes_on() -> None:
    """What happens between adding and removing is recorded; `sample` takes the last of it."""
    recorder = FlowRecorder(interval=1000)
    a, b = await socketpair()
    async with a, b:
        recorder.watch(a, "a")
        trio.lowlevel.add_instrument(recorder)
        await trio.testing.wait_all_tasks_blocked()
        await a.write_view(BytesView(bytes(100)))
        trio.lowlevel.remove_instrument(recorder)
        recorder.sample()
    assert [sample.streams["a"].sent_nbytes for sample in recorder.samples] == [0, 100]


async def test_a_stream_is_let_go_when_it_was_closed() -> None:
    """The sample after its end is the last to refer to it, and its bytes stay counted."""
    recorder = FlowRecorder()
    a, b = await socketpair()
    recorder.watch(a, "a")
    known = weakref.ref(a)
    async with a, b:
        await a.write_view(BytesView(bytes(100)))
    recorder.sample()
    del a
    gc.collect()
    assert known() is None
    recorder.sample()
    assert recorder.samples[-1].streams["a"] == Totals(0, 100, 0)


@pytest.mark.counts_garbage
def test_a_tick_without_a_sample_is_two_looks_at_the_clock() -> None:
    """No statistics are asked for; the functions entered are two for each tick."""
    recorder = FlowRecorder(interval=1000)
    recorder.watch(GlobalPool(), "pool")

    async def ticks(number: int) -> None:
        for _ in range(number):
            await trio.lowlevel.checkpoint()

    entered = []
    for number in (100, 200):
        with Functions() as functions:
            trio.run(ticks, number, instruments=[recorder])
        entered.append(functions.count)
    assert entered[1] - entered[0] == 2 * 100


@attrs.define
class Pool:
    """A pool whose figures are drawn."""

    lent_nbytes: int = 0
    idle_nbytes: int = 0

    def statistics(self) -> Pool:
        return attrs.evolve(self)


@given(
    steps=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1000)), max_size=80),
    max_samples=st.integers(4, 10),
)
def test_memory_is_bounded_and_peaks_stay(steps, max_samples) -> None:
    """However long it goes on there are few samples; first, last and peak are among them."""
    recorder = FlowRecorder(interval=1, max_samples=max_samples)
    pool = Pool()
    recorder.watch(pool, "pool")
    now = 100
    recorder._take(now)
    for seconds, lent in steps:
        now += seconds
        pool.lent_nbytes = lent
        recorder._take(now)
        check_recorder(recorder)
    samples = recorder.samples
    assert samples[0].seconds == 0
    assert samples[-1].seconds == now - 100
    peak = max((lent for _, lent in steps), default=0)
    assert max(sample.pools["pool"].lent_nbytes for sample in samples) == peak
    assert recorder.interval >= 1


def test_idle_time_has_a_sample_at_each_end(monkeypatch) -> None:
    """A rate is not spread over a wait: what had happened before it is known from before it."""
    now = 100.0
    monkeypatch.setattr(_recorder.time, "monotonic", lambda: now)
    recorder = FlowRecorder(interval=1)
    recorder.before_run()
    now = 100.5
    recorder.before_io_wait(100)
    now = 110.0
    recorder.after_io_wait(100)
    assert [sample.seconds for sample in recorder.samples] == [0, 0.5, 10]
    recorder.before_io_wait(100)
    now = 110.9
    recorder.after_io_wait(100)
    assert len(recorder.samples) == 3


def test_only_what_has_figures_can_be_watched() -> None:
    """Anything else, and a name that means two pools, is refused, and nothing is watched then."""
    recorder = FlowRecorder()
    for wrong in (None, object(), CountingMemory(GlobalPool()), BytesView()):
        with pytest.raises(TypeError, match=type(wrong).__name__):
            recorder.watch(wrong, "wrong")
    pool = CappedPool(100_000)
    recorder.watch(pool, "pool")
    recorder.watch(pool, "pool")
    with pytest.raises(ValueError, match="'pool'"):
        recorder.watch(pool.share(1000), "pool")
    recorder.sample()
    assert recorder.samples == (FlowSample(0.0, {}, {"pool": PoolSample(0, 0)}),)


async def test_a_stream_on_top_of_another_has_no_counts_of_its_own() -> None:
    """A `BufStream` is refused: the stream below it is the one that counts."""
    a, b = await socketpair()
    async with a, b:
        with pytest.raises(TypeError, match="BufStream"):
            FlowRecorder().watch(BufStream(a), "a")


@pytest.mark.parametrize("interval", [0, -1.0, float("nan")])
def test_an_interval_is_above_0(interval) -> None:
    """Any other is a ValueError that names it."""
    with pytest.raises(ValueError, match="interval"):
        FlowRecorder(interval=interval)


def test_a_few_samples_are_the_least() -> None:
    """Below 4 is a ValueError, and what is no integer a TypeError."""
    with pytest.raises(ValueError, match="not 3"):
        FlowRecorder(max_samples=3)
    with pytest.raises(TypeError):
        FlowRecorder(max_samples=4.0)
