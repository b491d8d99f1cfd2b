"""`SharedWriter`: many tasks, one sink: whole messages, in order, fair, in few system calls."""

from __future__ import annotations

import contextlib
import gc
import random
import weakref
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import attrs
import hypothesis.strategies as st
import pytest
import trio
import trio.testing
from hypothesis import example, given
from pairs import clog, closing, noise, receive_exactly, small_buffers, socketpair

from trio_bytesbuf import BufferFull, BytesView
from trio_bytesbuf.buffered import (
    BufWriter,
    FrameDecoder,
    LengthPrefixed,
    SharedWriter,
    open_shared_writer,
)
from trio_bytesbuf.buffered._shared_writer import check_shared_writer
from trio_bytesbuf.io import Write
from trio_bytesbuf.testing import (
    Attempt,
    FakeWrite,
    MemoryStream,
    cancel_atomic_at_each_checkpoint,
    lockstep_pair,
)

blocked = trio.testing.wait_all_tasks_blocked


async def write(writer: SharedWriter, data: bytes) -> None:
    """`write`, as the others are called."""
    writer.write(data)


async def write_and_drain(writer: SharedWriter, data: bytes) -> None:
    """The way of asyncio's users."""
    writer.write(data)
    await writer.drain()


WRITING = {
    "write": write,
    "write and drain": write_and_drain,
    "write_when_room": lambda writer, data: writer.write_when_room(data),
    "send_all": lambda writer, data: writer.send_all(data),
}
WAITING = {
    "drain": lambda writer: writer.drain(),
    "flush": lambda writer: writer.flush(),
    "write_when_room": lambda writer: writer.write_when_room(b"x"),
    "send_all": lambda writer: writer.send_all(b"x"),
}


def each(calls: dict):
    """Run a test for each of `calls`, under its name."""
    return pytest.mark.parametrize("call", calls.values(), ids=calls.keys())


class Gate(Write):
    """A sink that takes as many bytes as it is told to, `at_once` at a time at the most."""

    def __init__(self, *, counts_exactly: bool = True, at_once: int = 1 << 30) -> None:
        self._counts_exactly = counts_exactly
        self.at_once = at_once
        self.taken = b""
        self.allowed_nbytes = 0
        self.failure: BaseException | None = None
        self._changed = trio.Event()

    def allow(self, nbytes: int) -> None:
        self.allowed_nbytes += nbytes
        self._changed.set()

    def fail(self, failure: BaseException) -> None:
        self.failure = failure
        self._changed.set()

    async def _write_view(self, view: BytesView) -> None:
        left = view.to_bytes()
        await trio.lowlevel.checkpoint()
        while left:
            if self.failure is not None:
                raise self.failure
            nbytes = min(self.allowed_nbytes, len(left), self.at_once)
            if not nbytes:
                self._changed = trio.Event()
                await self._changed.wait()
                continue
            self.allowed_nbytes -= nbytes
            self.taken += left[:nbytes]
            left = left[nbytes:]
            if self._counts_exactly and self._progress is not None:
                self._progress(nbytes)

    async def _aclose(self) -> None:
        self.fail(trio.ClosedResourceError("closed"))
        await trio.lowlevel.checkpoint()


# Few system calls


@each(WRITING)
async def test_what_is_written_in_one_round_is_one_system_call(
    call: Callable[[SharedWriter, bytes], Awaitable[None]],
):
    """However many tasks write in a round, the kernel is called once."""
    ours, theirs = await socketpair()
    async with closing(ours, theirs), open_shared_writer(ours) as writer:
        for turn in range(1, 4):
            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(call, writer, b"message")
            await writer.flush()
            assert ours.statistics().send_calls == turn
        assert await receive_exactly(theirs, 300 * 7) == b"message" * 300


async def test_tasks_that_wait_for_each_message_stay_together():
    """Tasks that a send wakes have their next messages in one send again, all the way."""
    ours, theirs = await socketpair()

    async def talk() -> None:
        for _ in range(10):
            await writer.send_all(b"message")

    async with closing(ours, theirs):
        async with open_shared_writer(ours) as writer, trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(talk)
        assert ours.statistics().send_calls == 10


async def test_tasks_that_do_not_wait_cost_less_than_a_call_for_a_round():
    """Between two sends there is a whole round, in which all others write."""
    ours, theirs = await socketpair()

    async def talk() -> None:
        for _ in range(100):
            await writer.write_when_room(b"m")

    async with closing(ours, theirs):
        async with open_shared_writer(ours) as writer, trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(talk)
        assert ours.statistics().send_calls <= 100 // 2 + 2


async def test_an_idle_writer_costs_no_wakeups():
    """While nothing is written the background task does not run."""

    class Steps(trio.abc.Instrument):
        taken = 0

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.taken += "SharedWriter" in task.name

    steps = Steps()
    async with open_shared_writer(FakeWrite()) as writer:
        await writer.send_all(b"x")
        await blocked()
        trio.lowlevel.add_instrument(steps)
        for _ in range(20):
            await trio.lowlevel.checkpoint()
            await writer.flush()
            await writer.drain()
            writer.write(b"")
        await trio.sleep(0.01)
        assert steps.taken == 0
        await writer.send_all(b"y")
        assert steps.taken > 0
        trio.lowlevel.remove_instrument(steps)


# Whole messages, in order


async def test_frames_of_fifty_tasks_never_interleave():
    """Over a socket that takes little at a time, each frame arrives whole, each task's in order."""
    ours, theirs = await socketpair()
    small_buffers(ours)
    small_buffers(theirs)
    framing = LengthPrefixed(4)
    ways = list(WRITING.values())
    arrived: dict[int, list[bytes]] = {number: [] for number in range(50)}

    def payloads(number: int) -> list[bytes]:
        rng = random.Random(number)
        return [bytes([number]) + noise(rng.randrange(2000), number) for _ in range(12)]

    async def talk(number: int) -> None:
        for turn, payload in enumerate(payloads(number)):
            frame = framing.encode(BytesView(payload))
            await ways[(number + turn) % len(ways)](writer, frame)
            check_shared_writer(writer)

    async def listen() -> None:
        decoder = FrameDecoder(framing)
        left = 50 * 12
        while left:
            decoder.feed(await theirs.receive_view(3000))
            for payload in decoder.next_events():
                arrived[payload.to_bytes()[0]].append(payload.to_bytes())
                left -= 1

    with trio.fail_after(20):
        async with closing(ours, theirs), trio.open_nursery() as listening:
            listening.start_soon(listen)
            async with open_shared_writer(ours) as writer, trio.open_nursery() as nursery:
                for number in range(50):
                    nursery.start_soon(talk, number)
    assert arrived == {number: payloads(number) for number in range(50)}


async def test_messages_go_in_the_order_of_the_calls():
    """First come, first served, though a smaller one would fit before."""
    sink = Gate()
    messages = [b"a" * 9, b"bb", b"c" * 30, b"d", b"e" * 5]
    async with open_shared_writer(
        sink, low_water_nbytes=4, high_water_nbytes=10, max_nbytes=12
    ) as writer:
        async with trio.open_nursery() as nursery:
            for number, message in enumerate(messages):
                way = writer.send_all if number % 2 else writer.write_when_room
                nursery.start_soon(way, message)
                await blocked()
                check_shared_writer(writer)
            assert writer.unsent_nbytes == 11
            sink.allow(1000)
        await writer.flush()
    assert sink.taken == b"".join(messages)


async def test_one_who_gives_up_the_first_place_lets_the_next_go():
    """A message that fits goes as soon as the one before it, which does not, is cancelled."""
    async with open_shared_writer(
        Gate(), low_water_nbytes=1, high_water_nbytes=10, max_nbytes=12
    ) as writer:
        writer.write(b"12345678")
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def big() -> None:
                with scope:
                    await writer.write_when_room(b"too much")

            nursery.start_soon(big)
            await blocked()
            nursery.start_soon(writer.write_when_room, b"ab")
            await blocked()
            assert writer.unsent_nbytes == 8
            scope.cancel()
            await blocked()
            assert writer.unsent_nbytes == 10
            check_shared_writer(writer)
        writer._buffer._sink.allow(100)


async def test_what_can_be_changed_is_copied_at_the_call():
    """Memory that the caller changes while its message waits for room is not sent changed."""
    sink = Gate()
    data = bytearray(b"message")
    async with open_shared_writer(sink, low_water_nbytes=0, high_water_nbytes=0) as writer:
        writer.write(b"before ")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.send_all, data)
            await blocked()
            data[:] = b"CHANGED"
            sink.allow(100)
    assert sink.taken == b"before message"


# Backpressure


@pytest.mark.parametrize(
    "call", [WRITING["write_when_room"], WRITING["send_all"]], ids=["write_when_room", "send_all"]
)
async def test_a_peer_that_does_not_read_is_sent_no_more_than_the_mark(call: Callable):
    """Tasks that wait for room bring the buffer above the high mark by one message at most."""
    ours, theirs = await socketpair()
    small_buffers(ours)
    await clog(ours)
    clogged_nbytes = ours.statistics().sent_nbytes
    arrived = bytearray()

    async def talk(number: int) -> None:
        for turn in range(10):
            await call(writer, bytes([number, turn]) * 500)

    with trio.fail_after(10):
        async with (
            closing(ours, theirs),
            open_shared_writer(
                ours, low_water_nbytes=2000, high_water_nbytes=8000, max_nbytes=20_000
            ) as writer,
            trio.open_nursery() as nursery,
        ):
            for number in range(50):
                nursery.start_soon(talk, number)
            await blocked()
            assert 8000 < writer.unsent_nbytes <= 9000
            while len(arrived) < clogged_nbytes + 500_000:
                arrived += (await theirs.receive_view(5000)).to_bytes()
                await blocked()
                check_shared_writer(writer)
                assert writer.unsent_nbytes <= 9000
    turns: dict[int, list[int]] = {}
    for at in range(clogged_nbytes, len(arrived), 1000):
        number, turn = arrived[at : at + 2]
        assert arrived[at : at + 1000] == bytes([number, turn]) * 500
        turns.setdefault(number, []).append(turn)
    assert turns == {number: list(range(10)) for number in range(50)}


@each({name: call for name, call in WRITING.items() if name != "write"})
async def test_a_greedy_task_does_not_starve_the_others(call: Callable):
    """While the peer is slow, a task that always has more gets one turn where each other has one.

    From the low mark to the high one there is room for 5 messages.
    """
    sink = Gate()

    async def talk(number: int, turns: int) -> None:
        for _ in range(turns):
            await call(writer, bytes([number]) * 10)

    async with open_shared_writer(
        sink, low_water_nbytes=50, high_water_nbytes=100, max_nbytes=1000
    ) as writer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk, 0, 200)
            await blocked()
            for number in range(1, 6):
                nursery.start_soon(talk, number, 10)
            while nursery.child_tasks:
                sink.allow(10)
                await blocked()
                check_shared_writer(writer)
        sink.allow(10_000)
    turns = sink.taken[::10]
    assert turns.count(0) == 200
    last_of_the_others = max(turns.rindex(number) for number in range(1, 6))
    assert turns[:last_of_the_others].count(0) <= 11 + 3 * 10


async def test_drain_waits_from_the_high_mark_to_the_low_one():
    """At the high mark nobody waits; above it all do, also who comes later, down to the low one."""
    sink = Gate()
    drained: list[str] = []

    async def drain(name: str) -> None:
        await writer.drain()
        drained.append(name)

    async with open_shared_writer(
        sink, low_water_nbytes=4, high_water_nbytes=10, max_nbytes=100
    ) as writer:
        writer.write(bytes(10))
        await writer.drain()
        writer.write(b"x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain, "first")
            await blocked()
            sink.allow(6)
            await blocked()
            assert writer.unsent_nbytes == 5
            nursery.start_soon(drain, "second")
            await blocked()
            assert drained == []
            sink.allow(1)
            await blocked()
            assert sorted(drained) == ["first", "second"]
        sink.allow(100)


async def test_write_never_has_more_than_max_nbytes():
    """`write` takes what there is up to the cap, and then refuses and puts nothing."""
    sink = Gate()
    async with open_shared_writer(
        sink, low_water_nbytes=1, high_water_nbytes=2, max_nbytes=10
    ) as writer:
        writer.write(b"1234567")
        with pytest.raises(BufferFull):
            writer.write(b"8901")
        writer.write(b"890")
        assert writer.unsent_nbytes == 10
        assert "10 bytes" in repr(writer)
        sink.allow(100)
    assert sink.taken == b"1234567890"


async def test_a_message_larger_than_the_cap_goes_when_little_is_left():
    """`write_when_room` takes any message, at the low mark."""
    sink = Gate()
    async with open_shared_writer(
        sink, low_water_nbytes=1, high_water_nbytes=2, max_nbytes=3
    ) as writer:
        await writer.write_when_room(b"ab")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.send_all, b"large")
            await blocked()
            assert writer.unsent_nbytes == 2
            sink.allow(1)
            await blocked()
            assert writer.unsent_nbytes == 6
            sink.allow(100)
    assert sink.taken == b"ablarge"


# Cancellation


@attrs.define(eq=False)
class Subject:
    """A writer above its high mark, whose peer has not begun to read."""

    writer: SharedWriter
    theirs: MemoryStream
    began_with: int
    arrived: bytearray = attrs.field(factory=bytearray)

    def put_nbytes(self) -> int:
        return self.writer._written_nbytes - self.began_with

    async def read(self) -> None:
        await blocked()
        while view := await self.theirs.receive_view(3):
            self.arrived += view.to_bytes()
            await blocked()


@contextlib.asynccontextmanager
async def congested():
    ours, theirs = lockstep_pair()
    with trio.fail_after(10):
        async with (
            closing(ours, theirs),
            open_shared_writer(ours, low_water_nbytes=0, high_water_nbytes=0) as writer,
        ):
            writer.write(b"before")
            yield Subject(writer, theirs, 6)


async def all_is_there(subject: Subject, attempt: Attempt) -> None:
    """What was put arrives once and whole; what was not put does not arrive."""
    check_shared_writer(subject.writer)
    await subject.writer.flush()
    await blocked()
    assert subject.arrived == b"before" + b"message"[: attempt.progress]
    if not attempt.was_cancelled:
        assert attempt.progress in (0, 7)


async def test_write_when_room_is_atomic():
    """Cancelled wherever it may be, it has put nothing; not cancelled, all."""
    table = await cancel_atomic_at_each_checkpoint(
        congested,
        lambda subject: subject.writer.write_when_room(b"message"),
        peer=Subject.read,
        progress=Subject.put_nbytes,
        check=all_is_there,
    )
    assert table.attempts[-1].progress == 7


async def test_send_all_is_atomic_before_its_turn():
    """Cancelled while it waits for room, it has put nothing."""
    table = await cancel_atomic_at_each_checkpoint(
        congested,
        lambda subject: subject.writer.send_all(b"message"),
        peer=Subject.read,
        progress=Subject.put_nbytes,
        check=all_is_there,
    )
    assert table.attempts[-1].progress == 7


@pytest.mark.parametrize("sent_nbytes", range(6 + 7))
async def test_send_all_stays_in_the_buffer_after_its_turn(sent_nbytes: int):
    """Cancelled when so many bytes are sent, the message is whole all the same, or not begun."""
    sink = Gate()
    async with open_shared_writer(sink, low_water_nbytes=2, high_water_nbytes=2) as writer:
        writer.write(b"before")
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(writer.send_all, b"message")
                await blocked()
                sink.allow(sent_nbytes)
                await blocked()
                scope.cancel()
        assert scope.cancelled_caught
        check_shared_writer(writer)
        writer.write(b" after")
        sink.allow(100)
    assert sink.taken == b"before" + (b"message" if sent_nbytes >= 4 else b"") + b" after"


@each({"drain": WAITING["drain"], "flush": WAITING["flush"]})
async def test_waits_are_atomic(call: Callable):
    """`drain` and `flush`, cancelled, change nothing of what is sent."""
    await cancel_atomic_at_each_checkpoint(
        congested,
        lambda subject: call(subject.writer),
        peer=Subject.read,
        progress=Subject.put_nbytes,
        check=all_is_there,
    )


@each(WAITING)
async def test_who_gives_up_leaves_nothing_behind(call: Callable):
    """While the peer is stuck any number of calls may time out, and memory does not grow."""
    for high_nbytes in (0, 1000):  # without room, and with
        sink = Gate()
        async with open_shared_writer(
            sink, low_water_nbytes=0, high_water_nbytes=high_nbytes
        ) as writer:
            writer.write(b"x")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call, writer)
                await blocked()
                nursery.cancel_scope.cancel()
            assert not writer._for_room
            assert not writer._for_sending
            check_shared_writer(writer)
            sink.allow(100)


@pytest.mark.parametrize("method", [SharedWriter.write_when_room, SharedWriter.send_all])
async def test_an_error_that_is_kept_keeps_no_message(method: Callable):
    """The memory of a cancelled message is free, though somebody looks at the error."""
    kept: list[BaseException] = []

    async def send() -> None:
        with scope:
            try:
                await method(writer, messages.pop())
            except trio.Cancelled as exc:
                kept.append(exc)
                raise

    sink = Gate()
    scope = trio.CancelScope()
    messages = [BytesView(noise(5000))]
    alive = weakref.ref(messages[0])
    async with open_shared_writer(sink, low_water_nbytes=0, high_water_nbytes=0) as writer:
        writer.write(b"x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await blocked()
            assert alive() is not None
            scope.cancel()
        assert kept
        gc.collect()
        assert alive() is None
        sink.allow(100)


@each(WAITING)
@pytest.mark.parametrize("state", ["idle", "busy", "failed", "left"])
async def test_every_call_is_a_checkpoint(call: Callable, state: str):
    """Whether it has to wait, has nothing to do, or is refused."""
    sink = FakeWrite(script=[trio.BrokenResourceError()] if state == "failed" else [])
    with contextlib.suppress(trio.BrokenResourceError):
        async with open_shared_writer(sink) as writer:
            if state != "idle":
                writer.write(b"x")
            if state == "failed":
                await blocked()
            if state != "left":
                await looks_like_a_checkpoint(call, writer, refused=state == "failed")
    if state == "left":
        await looks_like_a_checkpoint(call, writer, refused=True)


async def looks_like_a_checkpoint(call: Callable, writer: SharedWriter, *, refused: bool) -> None:
    """Assert that it lets others run, and can be cancelled."""
    errors = (trio.BrokenResourceError, trio.ClosedResourceError)
    with trio.testing.assert_checkpoints(), contextlib.ExitStack() as stack:
        if refused:
            stack.enter_context(pytest.raises(errors))
        await call(writer)
    with trio.CancelScope() as scope:
        scope.cancel()
        await call(writer)
    assert scope.cancelled_caught


# Errors


async def test_a_broken_peer_is_told_of_to_everybody():
    """Who waits, who calls later, and the end of the block: each gets an error of its own."""
    ours, theirs = await socketpair()
    await clog(ours)
    told: list[BaseException] = []

    async def wait(call: Callable) -> None:
        try:
            await call(writer)
        except trio.BrokenResourceError as exc:
            told.append(exc)

    async with closing(ours, theirs):
        with pytest.raises(trio.BrokenResourceError, match="failed") as at_the_end:  # noqa: PT012
            async with (
                open_shared_writer(ours, low_water_nbytes=0, high_water_nbytes=0) as writer,
                trio.open_nursery() as nursery,
            ):
                writer.write(b"x")
                for call in WAITING.values():
                    nursery.start_soon(wait, call)
                await blocked()
                assert not told
                await theirs.aclose()
                await blocked()
                assert len(told) == len(WAITING)
                check_shared_writer(writer)
                for call in WAITING.values():
                    await wait(call)
                with pytest.raises(trio.BrokenResourceError) as of_write:
                    writer.write(b"y")
    told += [of_write.value, at_the_end.value]
    assert len(set(map(id, told))) == 2 * len(WAITING) + 2
    assert len({id(exc.__cause__) for exc in told}) == 1
    assert isinstance(told[0].__cause__, trio.BrokenResourceError)


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (trio.ClosedResourceError("by somebody"), trio.ClosedResourceError),
        (trio.BusyResourceError("somebody sends"), trio.BrokenResourceError),
        (ValueError("of a wrapper"), trio.BrokenResourceError),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_any_error_of_the_sink_reaches_who_writes(failure: Exception, raised: type):
    """As closed if it was closed, and as broken otherwise; the sink's own error is the cause."""
    with pytest.raises(raised) as at_the_end:  # noqa: PT012  # the block is what is tested
        async with open_shared_writer(FakeWrite(script=[failure])) as writer:
            with pytest.raises(raised) as told:
                await writer.send_all(b"x")
    assert at_the_end.value.__cause__ is told.value.__cause__ is failure


async def test_closing_the_sink_wakes_who_waits():
    """The task that receives may close the stream; who waits to send is told."""
    ours, theirs = await socketpair()
    await clog(ours)
    async with closing(ours, theirs):
        with pytest.raises(trio.ClosedResourceError):  # noqa: PT012  # the block is what is tested
            async with open_shared_writer(ours) as writer, trio.open_nursery() as nursery:

                @nursery.start_soon
                async def _() -> None:
                    with pytest.raises(trio.ClosedResourceError, match="sink"):
                        await writer.send_all(b"x")

                await blocked()
                await ours.aclose()


@pytest.mark.parametrize("data", [None, "text", 7])
async def test_what_is_no_bytes_is_refused(data: object):
    """With a TypeError of the call, and nothing is put."""
    sink = FakeWrite()
    async with open_shared_writer(sink) as writer:
        for call in WRITING.values():
            with pytest.raises(TypeError):
                await call(writer, data)
    assert not sink.contents


async def test_wrong_arguments_come_in_no_group():
    """Marks out of order are a ValueError and no sink is a TypeError, as for `BufWriter`."""
    with pytest.raises(ValueError, match="in this order"):
        async with open_shared_writer(FakeWrite(), low_water_nbytes=2, high_water_nbytes=1):
            pass
    with pytest.raises(TypeError):
        async with open_shared_writer(object()):
            pass


# The end of the block


async def test_leaving_the_block_sends_everything_and_closes_nothing():
    """Also what others wrote; the sink can be used afterwards, and who comes late is refused."""
    sink = FakeWrite(max_write_nbytes=2)
    async with open_shared_writer(sink) as writer:
        writer.write(b"abcde")
    assert sink.contents == b"abcde"
    assert writer.unsent_nbytes == 0
    await sink.write_view(BytesView(b"f"))
    assert sink.contents == b"abcdef"
    with pytest.raises(trio.ClosedResourceError, match="left"):
        writer.write(b"g")
    for call in WAITING.values():
        with pytest.raises(trio.ClosedResourceError, match="left"):
            await call(writer)


async def test_leaving_the_block_turns_away_who_waits_for_room():
    """What had its turn is sent, what had not is not, and each is told which."""
    sink = Gate()
    ended: dict[bytes, str] = {}

    async def send(message: bytes) -> None:
        try:
            await writer.send_all(message)
            ended[message] = "sent"
        except trio.ClosedResourceError:
            ended[message] = "refused"

    async with (
        trio.open_nursery() as nursery,
        open_shared_writer(sink, low_water_nbytes=0, high_water_nbytes=0) as writer,
    ):
        for message in (b"one", b"two"):
            nursery.start_soon(send, message)
            await blocked()

        @nursery.start_soon
        async def _() -> None:
            await blocked()
            assert ended == {b"two": "refused"}
            with pytest.raises(trio.ClosedResourceError):
                writer.write(b"three")
            sink.allow(100)

    assert ended == {b"one": "sent", b"two": "refused"}
    assert sink.taken == b"one"


async def test_what_the_block_raises_comes_out_as_itself():
    """In no group, with no error of the sink in its place; and what is left is dropped."""
    for sink in (Gate(), FakeWrite(script=[ValueError("of the sink")])):
        failure = KeyError("of the block")
        with pytest.raises(KeyError) as caught:  # noqa: PT012  # the block is what is tested
            async with open_shared_writer(sink) as writer:
                writer.write(b"x" * 2000)
                await blocked()
                raise failure
        assert caught.value is failure
        assert failure.__cause__ is None
        assert failure.__context__ is None
        assert writer.unsent_nbytes == writer._buffer.unsent_nbytes == 0


@pytest.mark.parametrize("when", ["in the block", "at its end"])
async def test_a_cancelled_block_is_left_at_once(when: str):
    """Though the peer is stuck; other tasks that wait for the writer are told."""
    ours, theirs = await socketpair()
    await clog(ours)
    refused = []

    async def outside(call: Callable) -> None:
        try:
            await call(writer)
        except trio.ClosedResourceError as exc:
            refused.append(exc)

    async with closing(ours, theirs), trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with open_shared_writer(ours, low_water_nbytes=0, high_water_nbytes=0) as writer:
                writer.write(b"x")
                for call in WAITING.values():
                    nursery.start_soon(outside, call)
                await blocked()
                scope.cancel()
                if when == "in the block":
                    await trio.sleep_forever()
        assert scope.cancelled_caught
        await blocked()
        assert len(refused) == len(WAITING)


async def test_a_cancelled_block_can_still_say_goodbye():
    """What is sent shielded is sent, because the block's end ends the sending and nothing else."""
    sink = FakeWrite()
    with trio.CancelScope() as scope:
        async with open_shared_writer(sink) as writer:
            try:
                scope.cancel()
                await trio.lowlevel.checkpoint()
            finally:
                with trio.CancelScope(shield=True):
                    await writer.send_all(b"goodbye")
    assert scope.cancelled_caught
    assert sink.contents == b"goodbye"


async def test_an_interrupt_does_not_hit_the_sending_task():
    """It is protected, so a KeyboardInterrupt is raised in the block, and comes in no group."""
    protected = []

    class Sink(FakeWrite):
        async def _write_view(self, view: BytesView) -> None:
            protected.append(trio.lowlevel.currently_ki_protected())
            await super()._write_view(view)

    async with open_shared_writer(Sink()) as writer:
        await writer.send_all(b"x")
    assert protected == [True]


# Sinks that do not say how far they are


async def test_what_is_written_while_another_task_flushes_waits_for_the_next_flush():
    """`BufWriter.write` takes bytes during a flush, over a sink that does not count, too."""
    sink = Gate(counts_exactly=False)
    writer = BufWriter(sink)
    writer.write(b"one")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.flush)
        await blocked()
        writer.write(b"two")
        sink.allow(3)
    assert sink.taken == b"one"
    sink.allow(3)
    await writer.flush()
    assert sink.taken == b"onetwo"


async def test_sinks_that_do_not_count_get_everything_too():
    """Over TLS, say: what is written during a send goes with the next."""
    sink = Gate(counts_exactly=False)
    async with (
        open_shared_writer(sink, low_water_nbytes=0, high_water_nbytes=5, max_nbytes=100) as writer,
        trio.open_nursery() as nursery,
    ):
        for number in range(10):
            nursery.start_soon(writer.send_all, b"%d" % number * 3)
            await blocked()
            check_shared_writer(writer)
        assert writer.unsent_nbytes == 6  # the first two: above the mark
        sink.allow(4)
        await blocked()
        assert writer.unsent_nbytes == 3  # of the second it tells when all of it is sent
        check_shared_writer(writer)
        sink.allow(100)
    assert sink.taken == b"".join(b"%d" % number * 3 for number in range(10))


# Against a model


STEPS = st.one_of(
    st.tuples(st.sampled_from(["write", "room", "send"]), st.integers(0, 12)),
    st.tuples(st.sampled_from(["drain", "flush"]), st.just(0)),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("allow"), st.integers(1, 15)),
)


@attrs.define(eq=False)
class Call:
    """A call that may be waiting, in the model and in truth."""

    kind: str
    message: bytes
    target: int | None = None
    """How many bytes must have been sent; None before it has room."""

    expected: str = "waits"
    ended: str = "waits"
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


class Model:
    """What the writer should do, said as simply as it can be."""

    def __init__(self, low: int, high: int, most: int) -> None:
        self.low, self.high, self.most = low, high, most
        self.written = b""
        self.sent = 0
        self.is_congested = False
        self.queue: list[Call] = []
        self.sending: list[Call] = []

    @property
    def unsent(self) -> int:
        return len(self.written) - self.sent

    def put(self, message: bytes) -> None:
        self.written += message
        self.is_congested |= self.unsent > self.high

    def can_write(self, message: bytes) -> bool:
        return self.unsent + len(message) <= self.most

    def call(self, call: Call) -> None:
        if call.kind == "flush":
            call.target = len(self.written)
            self.sending.append(call)
        else:
            self.queue.append(call)
        self.settle()

    def send(self, nbytes: int) -> None:
        """One by one, as the sink takes them; room is had at once."""
        while nbytes and self.unsent:
            nbytes -= 1
            self.sent += 1
            self.is_congested &= self.unsent > self.low
            self.settle()

    def settle(self) -> None:
        while self.queue and not self.is_congested:
            first = self.queue[0]
            if self.unsent > self.low and not self.can_write(first.message):
                break
            self.queue.pop(0)
            self.put(first.message)
            first.target = len(self.written) if first.kind == "send" else 0
            self.sending.append(first)
        for call in self.sending:
            if call.target <= self.sent:
                call.expected = "returned"
        self.sending = [call for call in self.sending if call.expected == "waits"]

    def cancel(self, call: Call) -> None:
        call.expected = "cancelled"
        for calls in (self.queue, self.sending):
            if call in calls:
                calls.remove(call)
        self.settle()


@given(
    st.lists(st.integers(0, 20), min_size=3, max_size=3).map(sorted),
    st.lists(STEPS, max_size=40),
)
@example([0, 0, 5], [("send", 3), ("room", 12), ("send", 2), ("cancel", 1), ("allow", 9)])
@example([2, 5, 8], [("write", 6), ("room", 9), ("room", 1), ("cancel", 0), ("allow", 4)])
@example([0, 1, 4], [("send", 7), ("write", 0)])
def test_any_script_does_what_the_model_does(marks: list[int], steps: list[tuple[str, int]]):
    """Who returns, who waits, what is refused, and what the sink has, after each step."""
    low, high, most = marks[0], marks[1], max(1, marks[2])

    async def main() -> None:
        sink = Gate(at_once=1)
        model = Model(low, high, most)
        calls: list[Call] = []
        letters = iter(range(10**6))

        async def run(call: Call) -> None:
            with call.scope:
                if call.kind == "room":
                    await writer.write_when_room(call.message)
                elif call.kind == "send":
                    await writer.send_all(call.message)
                else:
                    await getattr(writer, call.kind)()
                call.ended = "returned"
            if call.scope.cancelled_caught:
                call.ended = "cancelled"

        async with (
            open_shared_writer(
                sink, low_water_nbytes=low, high_water_nbytes=high, max_nbytes=most
            ) as writer,
            trio.open_nursery() as nursery,
        ):
            for kind, number in steps:
                message = bytes(next(letters) % 251 for _ in range(number))
                if kind == "write":
                    if not message or model.can_write(message):  # nothing fits everywhere
                        writer.write(message)
                        model.put(message)
                    else:
                        with pytest.raises(BufferFull):
                            writer.write(message)
                elif kind == "allow":
                    allowed = min(number, writer.unsent_nbytes)  # and none for what comes later
                    sink.allow(allowed)
                    model.send(allowed)
                elif kind == "cancel":
                    waiting = [call for call in calls if call.expected == "waits"]
                    if waiting:
                        call = waiting[number % len(waiting)]
                        call.scope.cancel()
                        model.cancel(call)
                else:
                    calls.append(Call(kind, message if kind in ("room", "send") else b""))
                    nursery.start_soon(run, calls[-1])
                    model.call(calls[-1])
                await blocked()
                check_shared_writer(writer)
                assert writer.unsent_nbytes == model.unsent
                assert sink.taken == model.written[: model.sent]
                assert [call.ended for call in calls] == [call.expected for call in calls]
            sink.allow(10**6)
            model.send(10**6)
        assert sink.taken == model.written
        assert [call.ended for call in calls] == [call.expected for call in calls]

    trio.run(main)


async def test_a_writer_whose_block_was_left_is_in_no_reference_cycle():
    """It goes when the last task lets go of it, and not when the collector comes."""
    gc.collect()
    gc.disable()
    try:
        async with open_shared_writer(FakeWrite()) as writer:
            await writer.send_all(b"message")
        seen = weakref.ref(writer)
        del writer
        await trio.lowlevel.checkpoint()
        assert seen() is None
    finally:
        gc.enable()


async def test_a_send_that_lacked_memory_was_not_put() -> None:
    """Who is told so sends again, and the message comes once."""

    class LacksMemoryOnce(OrderedDict):
        is_short = True

        def __setitem__(self, key, value) -> None:
            if self.is_short:
                self.is_short = False
                raise MemoryError
            super().__setitem__(key, value)

    sink = FakeWrite()
    async with open_shared_writer(sink) as writer:
        writer._for_sending = LacksMemoryOnce()
        with pytest.raises(MemoryError):
            await writer.send_all(b"message")
        await writer.send_all(b"message")
    assert sink.contents.to_bytes() == b"message"
