"""Guards: exact to the second by trio's clock, composable, and no hindrance to anything else."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import closing, noise, small_buffers, socketpair

from trio_bytesbuf import BytesBuf, BytesView
from trio_bytesbuf.io import (
    GuardedRead,
    GuardedStream,
    GuardedWrite,
    MinRate,
    PeerTooSlow,
    Read,
    Write,
    copy,
    open_binary_file,
    relay,
    to_trio,
)
from trio_bytesbuf.io._trio_sides import SendsEof
from trio_bytesbuf.mem import PlainMemory
from trio_bytesbuf.testing import (
    CLOGGED_SINK_CHECKS,
    SINK_CHECKS,
    SOURCE_CHECKS,
    STALLED_SOURCE_CHECKS,
    Delay,
    FakeRead,
    FakeWrite,
    Null,
    Pending,
    lockstep_pair,
    memory_pair,
)


def clocked(main, *args):
    """Run `main` by a clock that jumps, and return its result."""
    return trio.run(main, *args, clock=trio.testing.MockClock(autojump_threshold=0))


def fields(exc: PeerTooSlow) -> tuple[int, float, int]:
    return exc.nbytes, exc.seconds, exc.wanted


# Receiving


def model(script: list[tuple[float, int]], nbytes: int, seconds: float) -> tuple[float, int] | None:
    """When, and after how many bytes of a stretch, a guard gives up; told without scopes."""
    now = began = 0.0
    count = 0
    for delay, size in script:
        if now + delay >= began + seconds and delay:
            return began + seconds, count
        now += delay
        count += size
        if count >= nbytes:
            began, count = now, 0
    return None


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.5, 1.25, 2.75, 4.0]), st.integers(1, 5)), max_size=8),
    st.integers(1, 8),
    st.sampled_from([1.1, 3.3, 7.7]),
)
def test_a_guard_gives_up_when_a_stretch_takes_too_long_and_never_else(script, nbytes, seconds):
    """At the exact time, with the exact numbers, as a model without any scope says."""
    steps = [step for delay, size in script for step in (Delay(delay), size)]
    data = noise(sum(size for _, size in script) + 1)

    async def main():
        source = FakeRead(data, script=steps)
        guard = GuardedRead(source, MinRate(nbytes, seconds))
        began = trio.current_time()
        try:
            for _ in script:
                await guard.receive_view()
        except PeerTooSlow as exc:
            return trio.current_time() - began, fields(exc)
        return None

    found, expected = clocked(main), model(script, nbytes, seconds)
    assert (found is None) == (expected is None)
    if found is not None:
        assert found[0] == pytest.approx(expected[0])
        assert found[1] == (expected[1], seconds, nbytes)


def test_a_slow_drip_does_not_move_the_deadline():
    """A byte each second is a byte each second: after 10 seconds, 9 of 100 have come."""

    async def main():
        source = FakeRead(bytes(1000), script=[Delay(1), 1] * 900)
        guard = GuardedRead(source, MinRate(100, seconds=9.5))
        with pytest.raises(PeerTooSlow) as caught:
            await guard.read_exactly(1000)
        assert trio.current_time() == pytest.approx(began + 9.5)
        assert fields(caught.value) == (9, 9.5, 100)
        assert str(caught.value) == "9 bytes in 9.5 s of waiting, at least 100 wanted"
        # what came is there, and reading goes on with new time
        assert await guard.read_exactly(9) == bytes(9)
        patient = GuardedRead(guard, MinRate(1, seconds=1.5))  # each byte is progress
        with pytest.raises(PeerTooSlow) as caught:
            await patient.read_exactly(900)
        assert fields(caught.value) == (9, 9.5, 100)
        assert trio.current_time() == pytest.approx(began + 19)

    began = 0.0

    async def timed():
        nonlocal began
        began = trio.current_time()
        await main()

    clocked(timed)


def test_the_clock_stands_while_the_program_works():
    """Only waiting counts, however it is spread over calls."""

    async def main():
        guard = GuardedRead(FakeRead(bytes(100), script=[Delay(1), 1] * 99), MinRate(50, 4.5))
        for _ in range(4):
            await guard.receive_view()
            await trio.sleep(1000)
        began = trio.current_time()
        with pytest.raises(PeerTooSlow) as caught:
            await guard.receive_view()
        assert trio.current_time() - began == pytest.approx(0.5)
        assert fields(caught.value) == (4, 4.5, 50)

    clocked(main)


def test_of_several_scopes_the_outermost_wins():
    """A cancelled program sees no error of a guard's, and the inner of two guards speaks first."""

    async def main():
        guard = GuardedRead(Pending(), MinRate(1, 5))
        with trio.move_on_after(5) as outer:
            await guard.receive_view()
        assert outer.cancelled_caught
        with pytest.raises(PeerTooSlow), trio.move_on_after(7):
            await GuardedRead(GuardedRead(Pending(), MinRate(1, 5)), MinRate(2, 6)).receive_view()
        with pytest.raises(PeerTooSlow) as caught:
            await GuardedRead(GuardedRead(Pending(), MinRate(1, 6)), MinRate(2, 5)).receive_view()
        assert fields(caught.value) == (0, 5, 2)
        with pytest.raises(trio.TooSlowError):
            await GuardedRead(Pending(), MinRate(1, 6)).receive_view()

    clocked(main)


async def test_a_cancelled_wait_has_used_its_time():
    """A program that asks again and again gives its peer no more of it."""

    async def main():
        guard = GuardedRead(Pending(), MinRate(1, 5))
        for _ in range(4):
            with trio.move_on_after(1):
                await guard.receive_view()
        began = trio.current_time()
        with pytest.raises(PeerTooSlow):
            await guard.receive_view()
        assert trio.current_time() - began == pytest.approx(1)

    await trio.to_thread.run_sync(clocked, main)


async def test_every_way_to_read_goes_through_the_guard():
    """And gets the same bytes as without."""
    data = noise(5000)
    slow = MinRate(1, 60)

    def guard() -> GuardedRead:
        return GuardedRead(FakeRead(data, max_read_nbytes=700), slow)

    assert await guard().read_exactly(5000) == data
    assert await guard().read_contiguous(5000) == data
    assert await guard().read_to_end(5000) == data
    assert b"".join([view.to_bytes() async for view in guard().views(33)]) == data
    assert b"".join([view.to_bytes() async for view in guard().chunks(33)]) == data
    buf = BytesBuf()
    await guard().read_exactly_into(5000, buf)
    assert buf.consume_all() == data
    for call in (
        lambda source: source.receive_view(),
        lambda source: source.read_more_into(BytesBuf()),
        lambda source: source.read_contiguous(5),
    ):
        with pytest.raises(PeerTooSlow):
            await call(GuardedRead(Pending(), MinRate(1, 0.01)))


# Sending


def test_a_sink_that_is_slow_is_given_up_at_the_exact_time():
    """It says how far it is: 10 bytes each second are too few of 100 in 5.5 seconds."""

    async def main():
        sink = FakeWrite(script=[Delay(1), 10] * 50)
        guard = GuardedWrite(sink, MinRate(10, seconds=1.5))
        began = trio.current_time()
        await guard.write_view(BytesView(noise(200)))  # longer than 1.5 seconds in all
        assert trio.current_time() - began == pytest.approx(20)
        guard = GuardedWrite(sink, MinRate(100, seconds=5.5))
        with pytest.raises(PeerTooSlow) as caught:
            await guard.write_view(BytesView(noise(200)))
        assert trio.current_time() - began == pytest.approx(25.5)
        assert fields(caught.value) == (50, 5.5, 100)
        assert sink._progress is None
        # two guards are both told, and nothing is counted twice
        sink = FakeWrite(script=[Delay(1), 10] * 21 + [Delay(math.inf)])
        inner = GuardedWrite(sink, MinRate(10, seconds=1.5))
        outer = GuardedWrite(inner, MinRate(20, seconds=2.5))
        await outer.write_view(BytesView(noise(200)))
        await outer.write_view(BytesView(noise(10)))
        with pytest.raises(PeerTooSlow) as caught:
            await GuardedWrite(outer, MinRate(100, seconds=1)).write_view(BytesView(b"x"))
        assert fields(caught.value) == (0, 1, 100)
        with pytest.raises(PeerTooSlow) as caught:
            await outer.write_view(BytesView(b"x"))
        assert fields(caught.value) == (10, 2.5, 20)

    clocked(main)


class Silent(Write):
    """A sink that takes a time for each byte, and does not say how far it is."""

    def __init__(self, seconds_per_byte: float) -> None:
        self.seconds_per_byte = seconds_per_byte
        self.sizes: list[int] = []

    async def _write_view(self, view: BytesView) -> None:
        await trio.sleep(len(view) * self.seconds_per_byte)
        self.sizes.append(len(view))

    async def _aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def test_a_sink_that_says_nothing_is_sent_slices():
    """Each of which is progress when it is complete; also through two guards."""

    async def main():
        sink = Silent(1e-4)  # 6.5536 s for 64 KiB
        began = trio.current_time()
        guard = GuardedWrite(GuardedWrite(sink, MinRate(65_536, 7)), MinRate(65_536, 8))
        await guard.write_view(BytesView(bytes(200_000)))
        assert sink.sizes == [65_536] * 3 + [200_000 - 3 * 65_536]
        assert trio.current_time() - began == pytest.approx(20)
        await guard.write_view(BytesView())
        with pytest.raises(PeerTooSlow) as caught:
            await GuardedWrite(sink, MinRate(65_537, 7)).write_view(BytesView(bytes(200_000)))
        assert fields(caught.value) == (65_536, 7, 65_537)

    clocked(main)


async def test_a_peer_that_reads_nothing_from_a_real_socket_is_given_up():
    """What the kernel takes moves the deadline; when it takes no more, that is the end of it."""
    a, b = await socketpair()
    small_buffers(a)
    small_buffers(b)
    async with closing(a, b):
        guard = GuardedWrite(a, MinRate(1, seconds=0.2))
        async with trio.open_nursery() as nursery:

            async def read_slowly():
                for _ in range(8):  # longer than 0.2 s in all, and never that long without progress
                    await trio.sleep(0.05)
                    await b.read_exactly(10_000)

            nursery.start_soon(read_slowly)
            with trio.fail_after(10):
                await guard.write_view(BytesView(bytes(80_000)))
        with pytest.raises(PeerTooSlow) as caught, trio.fail_after(5):
            await guard.write_view(BytesView(bytes(1_000_000)))
        assert (caught.value.nbytes, caught.value.wanted) == (0, 1)
        assert a._progress is None
        with pytest.raises(PeerTooSlow), trio.fail_after(5):
            await guard.wait_write_might_not_block()


# The rest of a stream


def far(stream):
    """Guard `stream` with rates that it never falls below."""
    return GuardedStream(stream, receiving=MinRate(1, 60), sending=MinRate(1, 60))


@pytest.mark.parametrize("check", SOURCE_CHECKS)
async def test_a_guarded_source_is_a_read(check):
    """With all that is promised of one."""

    async def make(contents):
        return GuardedRead(FakeRead(contents, max_read_nbytes=3), MinRate(1, 60))

    await check(make)


@pytest.mark.parametrize("check", STALLED_SOURCE_CHECKS)
async def test_a_guarded_source_that_waits_is_a_read(check):
    """Also while its peer is waited for."""

    async def make(contents):
        came = [len(contents)] if len(contents) else []
        source = FakeRead(bytes(contents) + b"x", script=[*came, Delay(math.inf)])
        return GuardedRead(source, MinRate(1, 60))

    await check(make)


@pytest.mark.parametrize("make_sink", [FakeWrite, lambda: FakeWrite(max_write_nbytes=30_000)])
@pytest.mark.parametrize("check", SINK_CHECKS)
async def test_a_guarded_sink_is_a_write(check, make_sink):
    """With all that is promised of one."""

    async def make():
        sink = make_sink()

        async def arrived():
            return bytes(sink.contents)

        return GuardedWrite(sink, MinRate(1, 60)), arrived

    await check(make)


@pytest.mark.parametrize("check", CLOGGED_SINK_CHECKS)
async def test_a_guarded_sink_that_waits_is_a_write(check):
    """Also while its peer is waited for."""

    async def make():
        return GuardedWrite(Pending(), MinRate(1, 60))

    await check(make)


async def test_guarded_streams_are_relayed_and_copied():
    """Ends are passed on, and a silent peer ends the relay."""
    a, b = await socketpair()
    c, d = await socketpair()
    data = noise(300_000)
    async with closing(a, b, c, d), trio.open_nursery() as nursery:
        nursery.start_soon(relay, far(b), far(c))
        with trio.fail_after(5):
            nursery.start_soon(far(a).write_view, BytesView(data))
            assert await far(d).read_exactly(300_000) == data
            await far(a).send_eof()
            assert not await d.receive_view()
            await d.send_all(b"answer")
            await d.send_eof()
            sink = FakeWrite()
            assert await copy(far(a), GuardedWrite(sink, MinRate(1, 60))) == 6
            assert sink.contents == b"answer"
    e, f = await socketpair()
    async with closing(e, f):
        silent = GuardedStream(e, receiving=MinRate(1, 0.05), sending=MinRate(1, 60))
        raised = []
        try:
            await relay(silent, far(Pending()))
        except* PeerTooSlow as group:  # by itself, or in the group of the relay's nursery
            raised.append(group)
        assert raised


def test_over_a_stream_in_lock_step():
    """A peer that takes a byte each second is too slow for 5 bytes in 4.5 seconds."""

    async def main():
        a, b = lockstep_pair()
        guard = GuardedStream(a, receiving=MinRate(5, 4.5), sending=MinRate(5, 4.5))

        async def drip():
            for _ in range(9):
                await trio.sleep(1)
                await b.write_view(BytesView(b"x"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            with pytest.raises(PeerTooSlow) as caught:
                await guard.read_exactly(9)
            assert fields(caught.value) == (4, 4.5, 5)
            assert await guard.read_exactly(8) == b"x" * 8
            assert trio.current_time() == pytest.approx(began + 8)
            assert await a.read_exactly(1) == b"x"
        with pytest.raises(PeerTooSlow) as caught:
            await guard.write_view(BytesView(b"nobody takes this"))
        assert fields(caught.value) == (0, 4.5, 5)

    began = 0.0

    async def timed():
        nonlocal began
        began = trio.current_time()
        await main()

    clocked(timed)


async def test_a_guard_keeps_the_abilities_of_what_it_guards():
    """memory, `send_eof` if there is one, closing, busy, and nothing that was not there."""
    a, b = await socketpair(PlainMemory())
    slow = MinRate(1, 5)
    guard = GuardedStream(a, receiving=slow, sending=slow)
    async with closing(b):
        assert guard.memory is a.memory
        assert isinstance(guard, Read)
        assert isinstance(guard, Write)
        await guard.write_view(BytesView(b"abc"))
        await guard.send_eof()
        assert await b.read_to_end(3) == b"abc"
        with pytest.raises(trio.ClosedResourceError):
            await guard.write_view(BytesView(b"d"))
        async with trio.open_nursery() as nursery:

            async def read():
                with pytest.raises(trio.ClosedResourceError):
                    await guard.receive_view()

            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await guard.receive_view()
            await guard.aclose()
        assert a.fileno() == -1
        with pytest.raises(trio.ClosedResourceError):
            await guard.send_eof()
    assert not hasattr(GuardedWrite(Null(), slow), "send_eof")
    assert not hasattr(GuardedRead(Null(), slow), "write_view")


async def test_what_guards_a_half_closeable_stream_is_one():
    """By `to_trio` and a second guard as well; a class of one's own stays what it is."""
    a, b = await socketpair()
    slow = MinRate(1, 5)

    class Own(GuardedStream):
        pass

    async with closing(a, b):
        for guard in (far(a), far(far(a)), GuardedWrite(a, slow), GuardedWrite(far(a), slow)):
            assert isinstance(guard, SendsEof)
            assert isinstance(guard, GuardedWrite)
        assert isinstance(far(a), GuardedStream)
        assert isinstance(far(a), GuardedRead)
        assert isinstance(to_trio(far(a)), trio.abc.HalfCloseableStream)
        assert not isinstance(to_trio(far(Null())), trio.abc.HalfCloseableStream)
        assert type(Own(a, receiving=slow, sending=slow)) is Own
        await far(far(a)).send_eof()
        assert not await b.receive_view()


def test_the_end_is_sent_in_time_and_by_one_task():
    """A `send_eof` that waits for the peer is a wait for the peer."""

    class Slow(Null):
        async def send_eof(self):
            await trio.sleep(4)

    async def main():
        await far(Slow()).send_eof()
        assert trio.current_time() - began == pytest.approx(4)
        guard = GuardedWrite(Slow(), MinRate(1, 3))
        async with trio.open_nursery() as nursery:

            async def end():
                with pytest.raises(PeerTooSlow) as caught:
                    await guard.send_eof()
                assert fields(caught.value) == (0, 3, 1)

            nursery.start_soon(end)
            await trio.sleep(1)
            for call in (guard.send_eof, lambda: guard.write_view(BytesView(b"x"))):
                with pytest.raises(trio.BusyResourceError):
                    await call()

    began = 0.0

    async def timed():
        nonlocal began
        began = trio.current_time()
        await main()

    clocked(timed)


async def test_a_guarded_file_is_written_and_read(tmp_path):
    """It says how far it is; what comes out is what went in."""
    data = noise(500_000)
    async with await open_binary_file(tmp_path / "f", "w+") as file:
        guard = far(file)
        assert not hasattr(guard, "send_eof")
        told = []
        guard._progress = told.append
        await guard.write_view(BytesView(data))
        assert sum(told) == len(data)
        assert file._progress is None
        file.read_from(0)
        assert await guard.read_exactly(len(data)) == data
        assert not await guard.receive_view()


async def test_rates_and_what_is_guarded_are_checked():
    """At once, and by name."""
    for nbytes, seconds in ((0, 1), (1, 0), (1, -1), (1, math.nan)):
        with pytest.raises(ValueError, match=r"nbytes|seconds"):
            MinRate(nbytes, seconds)
    slow = MinRate(1, 5)
    for call in (
        lambda: GuardedRead(FakeWrite(), slow),
        lambda: GuardedWrite(FakeRead(b""), slow),
        lambda: GuardedRead(FakeRead(b""), 5),
        lambda: GuardedStream(FakeRead(b""), receiving=slow, sending=slow),
        lambda: GuardedStream(FakeWrite(), receiving=slow, sending=slow),
        lambda: GuardedStream(Null(), receiving=slow, sending=None),
        lambda: MinRate("1", 5),
    ):
        with pytest.raises(TypeError):
            call()


async def test_what_has_come_since_an_outer_timeout_is_received(autojump_clock) -> None:
    """The caller's timeout and the stretch end together; the bytes came afterwards, in time."""
    ours, theirs = memory_pair()
    async with GuardedRead(ours, MinRate(1, 10)) as guarded, theirs:
        with trio.move_on_after(10):
            await guarded.receive_view()
        await theirs.write_view(BytesView(b"hello"))
        await trio.sleep(50)
        assert await guarded.receive_view() == b"hello"
