"""Replay: the peer of a captured conversation says what it said, and hears every difference."""

from __future__ import annotations

import re

import pytest
import trio
import trio.testing
from counting import Lines
from hypothesis import given
from hypothesis import strategies as st
from pairs import noise

from trio_bytesbuf import BufStream, BytesView, LengthPrefixed
from trio_bytesbuf.io import Capture, CaptureEvent, Direction, capture
from trio_bytesbuf.testing import (
    SINK_CHECKS,
    SOURCE_CHECKS,
    STALLED_SOURCE_CHECKS,
    ReplayMismatch,
    memory_pair,
    replay,
)

IN, OUT = Direction.RECEIVED, Direction.SENT
SECOND = 1_000_000_000


def clocked(main, *args):
    """Run `main` by a clock that jumps, and return its result."""
    return trio.run(main, *args, clock=trio.testing.MockClock(autojump_threshold=0))


def received_in_threes(contents, *, ends: bool = True) -> Capture:
    """A capture in which `contents` came, three bytes at a time."""
    data = bytes(contents)
    parts = [data[at : at + 3] for at in range(0, len(data), 3)]
    events = [CaptureEvent(0, IN, part) for part in parts]
    return Capture([*events, CaptureEvent(0, IN)] if ends else events)


@pytest.mark.parametrize("check", SOURCE_CHECKS)
async def test_a_replay_is_a_read(check):
    """With all that is promised of one."""

    async def make(contents):
        return replay(received_in_threes(contents))

    await check(make)


@pytest.mark.parametrize("check", STALLED_SOURCE_CHECKS)
async def test_a_replay_that_waits_is_a_read(check):
    """Behind the last event, where nothing ended."""

    async def make(contents):
        return replay(received_in_threes(contents, ends=False))

    await check(make)


@pytest.mark.parametrize("check", SINK_CHECKS)
async def test_a_replay_is_a_write(check):
    """With all that is promised of one; of an incomplete capture, which takes everything."""

    async def make():
        sink = capture(replay(Capture([], "nothing was captured")))

        async def arrived():
            return bytes(sink.capture.sent)

        return sink, arrived

    await check(make)


def test_a_replay_is_a_trio_stream_and_shows_where_it_is():
    """Half-closeable; its repr says how far it is."""

    async def main():
        stream = replay(received_in_threes(b"abcd"))
        assert isinstance(stream, trio.abc.HalfCloseableStream)
        assert await stream.receive_some(2) == b"ab"
        assert repr(stream) == "<ReplayStream, 2 bytes received, 0 of 0 sent>"
        with pytest.raises(TypeError, match="not bytes"):
            replay(b"")

    trio.run(main)
    with pytest.raises(RuntimeError):
        replay(Capture([]))


# What was received comes again


@given(st.lists(st.tuples(st.sampled_from([IN, OUT]), st.integers(1, 2_000_000_000))), st.data())
def test_the_same_program_has_the_same_conversation(script, data):
    """With delays, captured again, it is the same capture: cuts, order, times, ends and all."""
    sizes = [data.draw(st.integers(1, 9)) for _ in script]
    now, events = 0, []
    for (direction, delay), nbytes in zip(script, sizes, strict=True):
        now += delay
        events.append(CaptureEvent(now, direction, noise(now % 1000 + nbytes)[-nbytes:]))
    talk = Capture([*events, CaptureEvent(now, OUT)])

    async def main():
        began = trio.current_time()
        stream = capture(replay(talk, with_delays=True))
        for event in talk.events[:-1]:
            if event.direction is IN:
                assert await stream.receive_view() == event.view
            else:
                await trio.sleep_until(began + event.seconds)
                await stream.write_view(event.view)
        await stream.aclose()
        stream.inner.check_finished()
        return stream.capture

    again = clocked(main)
    assert [(e.direction, e.view) for e in again.events] == [
        (e.direction, e.view) for e in talk.events
    ]
    assert [e.seconds for e in again.events] == pytest.approx([e.seconds for e in talk.events])


def test_a_real_conversation_is_replayed_from_its_file():
    """A client over frames, captured, saved, loaded: its replay gives the same answers."""
    framing = LengthPrefixed(2)

    async def client(stream):
        async with BufStream(stream) as buffered:
            sender, answers = buffered.frame_sender(framing), buffered.frames(framing, bytes)
            for word in (b"one", b"two", b"three"):
                await sender.send(word)
            await buffered.send_eof()
            return [answer async for answer in answers]

    async def server(stream):
        async with BufStream(stream) as buffered:
            sender = buffered.frame_sender(framing)
            async for word in buffered.frames(framing, bytes):
                await sender.send(word.upper())

    async def live():
        ours, theirs = memory_pair()
        stream = capture(ours)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server, theirs)
            said = await client(stream)
        return said, stream.capture.to_bytes()

    async def again(captured):
        stream = replay(captured)
        said = await client(stream)
        stream.check_finished()
        return said

    said, file = trio.run(live)
    assert said == [b"ONE", b"TWO", b"THREE"]
    assert trio.run(again, Capture.from_bytes(file)) == said


async def test_a_reply_does_not_come_before_its_request(autojump_clock):
    """Not before all of it is sent, nor before the end that was sent before it."""
    talk = Capture(
        [
            CaptureEvent(0, OUT, b"ask"),
            CaptureEvent(0, OUT, b"ing"),
            CaptureEvent(0, IN, b"answer"),
            CaptureEvent(0, OUT),
            CaptureEvent(0, IN, b"goodbye"),
            CaptureEvent(0, IN),
        ]
    )
    stream = replay(talk)
    came = []

    async def read():
        async for data in stream:
            came.append(data)  # noqa: PERF401  # looked at meanwhile

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for data, then in ((b"askin", []), (b"g", [b"answer"])):
            await stream.send_all(data)
            await trio.testing.wait_all_tasks_blocked()
            assert came == then
        await stream.send_eof()
    assert came == [b"answer", b"goodbye"]
    stream.check_finished()


async def test_delays_are_those_of_then_and_no_wait_begins_anew(autojump_clock):
    """After the event before, whenever that was now; without `with_delays`, at once."""
    talk = Capture(
        [
            CaptureEvent(2 * SECOND, IN, b"hello"),
            CaptureEvent(3 * SECOND, OUT, b"ask"),
            CaptureEvent(7 * SECOND, IN, b"answer"),
            CaptureEvent(8 * SECOND, IN),
        ]
    )
    for with_delays in (True, False):
        began = trio.current_time()
        stream = replay(talk, with_delays=with_delays)
        assert await stream.receive_view() == b"hello"
        assert trio.current_time() - began == (2 if with_delays else 0)
        await trio.sleep(10)
        await stream.send_all(b"ask")
        asked = trio.current_time()
        for _ in range(3):
            with trio.move_on_after(1):
                await stream.receive_view()
                assert not with_delays
                break
        else:
            assert await stream.receive_view() == b"answer"
        assert trio.current_time() - asked == (4 if with_delays else 0)
        assert not await stream.receive_view()
        assert trio.current_time() - asked == (5 if with_delays else 0)


async def test_errors_come_where_they_came():
    """Once where something followed, and for ever where nothing did; both ways."""
    talk = Capture(
        [
            CaptureEvent(0, IN, b"a"),
            CaptureEvent(0, IN, error="PeerTooSlow: 0 bytes"),
            CaptureEvent(0, IN, b"b"),
            CaptureEvent(0, IN, error="BrokenResourceError: reset"),
            CaptureEvent(0, OUT, b"half"),
            CaptureEvent(0, OUT, error="BrokenResourceError: cut"),
        ]
    )
    stream = replay(talk)
    assert await stream.receive_view() == b"a"
    with pytest.raises(trio.BrokenResourceError, match="as it was captured: PeerTooSlow: 0 bytes"):
        await stream.receive_view()
    assert await stream.receive_view() == b"b"
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError, match="reset"):
            await stream.receive_view()
    with pytest.raises(trio.BrokenResourceError, match="cut"):
        await stream.send_all(b"half and the other half")
    with pytest.raises(trio.BrokenResourceError, match="cut"):
        await stream.send_all(b" and the other half")
    stream.check_finished()
    patient = replay(
        Capture([CaptureEvent(0, OUT, error="Slow: once"), CaptureEvent(0, OUT, b"a")])
    )
    with pytest.raises(trio.BrokenResourceError, match="once"):
        await patient.send_all(b"a")
    await patient.send_all(b"a")


async def test_where_an_incomplete_capture_ends_nobody_knows_more():
    """A receive says why, and what is sent beyond it is not compared."""
    stream = replay(
        Capture([CaptureEvent(0, OUT, b"ab"), CaptureEvent(0, IN, b"c")], "it was cut short")
    )
    await stream.send_all(b"abxyz")
    assert await stream.receive_view() == b"c"
    with pytest.raises(trio.BrokenResourceError, match="no more: it was cut short"):
        await stream.receive_view()
    with pytest.raises(ReplayMismatch):
        await replay(Capture([CaptureEvent(0, OUT, b"ab")], "cut short")).send_all(b"axxyz")


# What is sent is compared


@given(
    st.binary(min_size=1, max_size=50),
    st.data(),
)
def test_the_first_byte_that_differs_is_named(then, data):
    """However it was cut then and is cut now; what was sent before the write stands."""
    now = bytearray(then)
    at = data.draw(st.integers(0, len(then) - 1))
    now[at] ^= data.draw(st.integers(1, 255))
    cut_then = data.draw(st.integers(0, len(then)))
    cut_now = data.draw(st.integers(0, len(then)))

    async def main():
        events = [CaptureEvent(0, OUT, part) for part in (then[:cut_then], then[cut_then:]) if part]
        stream = replay(Capture(events))
        parts, sent = [bytes(now[:cut_now]), bytes(now[cut_now:])], 0
        if at >= cut_now:
            await stream.write_view(BytesView(parts.pop(0)))
            sent = cut_now
        with pytest.raises(ReplayMismatch) as caught:
            await stream.write_view(BytesView(parts[0]))
        assert (caught.value.offset, caught.value.then, caught.value.now) == (at, then[at], now[at])
        await stream.send_all(then[sent:])  # the right bytes can still be sent
        stream.check_finished()

    trio.run(main)


async def test_a_byte_far_out_is_found():
    """In a send of several times what is compared at a time."""
    then = noise(300_000)
    now = bytearray(then)
    now[200_001] ^= 255
    with pytest.raises(ReplayMismatch) as caught:
        await replay(Capture([CaptureEvent(0, OUT, then)])).send_all(now)
    assert caught.value.offset == 200_001


async def test_a_send_costs_the_same_however_long_the_conversation_is():
    """A capture of a day can be replayed: what was sent, or is to be sent, is not gone over."""
    executed = []
    for count in (20, 2_000):
        talk = Capture(CaptureEvent(at, OUT, b"0123456789") for at in range(count))
        stream = replay(talk)
        for _ in range(count // 2):
            await stream.send_all(b"0123456789")
        with Lines() as lines:
            for _ in range(5):
                await stream.send_all(b"0123456789")
        executed.append(lines.count)
    assert executed[1] <= executed[0] + 50


async def test_more_and_less_than_then():
    """More is refused, and an end too soon; what is missing at the end is told when asked."""
    talk = Capture([CaptureEvent(0, OUT, b"abc"), CaptureEvent(0, IN, b"xyz")])
    stream = replay(talk)
    with pytest.raises(ReplayMismatch) as caught:
        await stream.send_all(b"abcd")
    assert str(caught.value) == "byte 3 of what is sent was none then, and is 0x64 ('d') now"
    assert isinstance(caught.value, AssertionError)
    await stream.send_all(b"ab")
    missing = re.escape("byte 2 of what is sent was 0x63 ('c') then, and is none now")
    with pytest.raises(ReplayMismatch, match=missing):
        await stream.send_eof()
    with pytest.raises(ReplayMismatch, match=missing):
        stream.check_finished()
    await stream.send_all(b"c")
    assert await stream.receive_view(1) == b"x"
    with pytest.raises(ReplayMismatch) as caught:
        stream.check_finished()
    assert str(caught.value) == "byte 1 of what is received was 0x79 ('y') then, and is none now"
    assert caught.value.direction is IN
    assert await stream.receive_view() == b"yz"
    stream.check_finished()
    await stream.send_eof()
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"d")
    await stream.send_eof()
    with pytest.raises(ReplayMismatch, match=r"0x00 then, and is 0xff now"):
        await replay(Capture([CaptureEvent(0, OUT, b"\0")])).send_all(b"\xff")
