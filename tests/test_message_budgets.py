"""What one message more costs, counted: functions, checkpoints, system calls, leases, copies.

Each budget is exact. A change that costs a call for each message fails here; one that saves a call
writes the smaller number down, so that it stays saved. No clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
import trio.testing
from counting import PACKAGE, Functions, Lines, SystemCalls
from pairs import Steps, big_buffers, closing, put_now, socketpair
from pools import CountingPool

from trio_bytesbuf import BytesView, SocketStream
from trio_bytesbuf.buffered import (
    BufReader,
    BufWriter,
    LengthPrefixed,
    ReceiveBuffer,
    SharedWriter,
    open_shared_writer,
)

FEW, MANY = 10, 20
"""How many messages there are in two runs; the difference is what the others cost."""

LINE = b"x" * 79 + b"\n"
PAYLOAD = bytes(100)
FRAME = b"\0\0\0\x64" + PAYLOAD


@attrs.frozen
class Budget:
    """What one message costs."""

    functions: float
    """Functions of the package that are entered. The numbers are what they are."""

    checkpoints: float = 0
    reads: float = 0
    writes: float = 0
    leases: float = 0
    copied_nbytes: float = 0
    """As the streams count it: out of large blocks, and joined before sending."""


@attrs.define(eq=False)
class Stand:
    """A connection, and what messages go through."""

    sender: SocketStream
    receiver: SocketStream
    reader: BufReader[SocketStream]
    writer: BufWriter[SocketStream]
    shared: SharedWriter

    def put(self, data: bytes) -> None:
        """Let bytes arrive, at no cost."""
        put_now(self.sender, data)

    async def count(self, act: Act, messages: int) -> Budget:
        """Return what so many messages cost together."""
        streams = (self.sender, self.receiver)
        leases = self.receiver._memory.leases
        copied = sum(stream.statistics().copied_nbytes for stream in streams)
        with Functions() as functions, SystemCalls() as system, Steps() as steps:
            await act(self, messages)
        calls = system.counted
        return Budget(
            functions.count,
            steps.taken,
            calls["read"] + calls["readv"],
            calls["write"] + calls["writev"],
            self.receiver._memory.leases - leases,
            sum(stream.statistics().copied_nbytes for stream in streams) - copied,
        )


Act = Callable[[Stand, int], Awaitable[None]]


@pytest.fixture
async def stand():
    a, b = await socketpair(CountingPool())
    big_buffers(a)
    async with closing(a, b), open_shared_writer(a) as shared:
        await trio.testing.wait_all_tasks_blocked()
        yield Stand(a, b, BufReader(b), BufWriter(a), shared)


async def one_more(stand: Stand, act: Act) -> Budget:
    """Return what one message more costs, after some that were for learning."""
    await act(stand, FEW)
    few = await stand.count(act, FEW)
    many = await stand.count(act, MANY)
    difference = [
        (more - less) / (MANY - FEW)
        for more, less in zip(attrs.astuple(many), attrs.astuple(few), strict=True)
    ]
    return Budget(*difference)


# What is counted: functions that pass so many messages


async def write(stand: Stand, messages: int) -> None:
    """Into the buffer; all of them sent at once."""
    for _ in range(messages):
        stand.writer.write(PAYLOAD)
    await stand.writer.flush()


async def write_and_flush(stand: Stand, messages: int) -> None:
    for _ in range(messages):
        stand.writer.write(PAYLOAD)
        await stand.writer.flush()


async def write_and_flush_much(stand: Stand, messages: int) -> None:
    much = bytes(4096)
    for _ in range(messages):
        stand.writer.write(much)
        await stand.writer.flush()


async def send_frames(stand: Stand, messages: int) -> None:
    send = stand.writer.frame_sender(LengthPrefixed(4)).send
    for _ in range(messages):
        await send(PAYLOAD)


async def write_frames(stand: Stand, messages: int) -> None:
    write = stand.writer.frame_sender(LengthPrefixed(4)).write
    for _ in range(messages):
        write(PAYLOAD)
    await stand.writer.flush()


async def send_and_receive_views(stand: Stand, messages: int) -> None:
    view = BytesView(PAYLOAD)
    for _ in range(messages):
        await stand.sender.write_view(view)
        await stand.receiver.receive_view()


async def receive_bulk(stand: Stand, messages: int) -> None:
    """What fills a block, kept by nobody."""
    for _ in range(messages):
        stand.put(bytes(262_144))
        assert len(await stand.receiver.receive_view()) == 262_144


async def read_exactly(stand: Stand, messages: int) -> None:
    """What is in the buffer, and more behind it."""
    stand.put(PAYLOAD * (messages + 2))
    await stand.reader.read_exactly(len(PAYLOAD))
    for _ in range(messages):
        await stand.reader.read_exactly(len(PAYLOAD))
    stand.reader.discard(stand.reader.buffered_nbytes)


async def try_read_exactly(stand: Stand, messages: int) -> None:
    stand.put(PAYLOAD * (messages + 2))
    await stand.reader.read_exactly(len(PAYLOAD))
    for _ in range(messages):
        assert stand.reader.try_read_exactly(len(PAYLOAD)) is not None
    stand.reader.discard(stand.reader.buffered_nbytes)


async def fill_and_read_exactly(stand: Stand, messages: int) -> None:
    """Each for itself: a reply, waited for by nobody else."""
    for _ in range(messages):
        stand.put(PAYLOAD)
        await stand.reader.read_exactly(len(PAYLOAD))


async def read_line(stand: Stand, messages: int) -> None:
    stand.put(LINE * (messages + 2))
    for _ in range(messages + 1):
        assert await stand.reader.read_line() == LINE[:-1]
    stand.reader.discard(stand.reader.buffered_nbytes)


async def try_read_line(stand: Stand, messages: int) -> None:
    stand.put(LINE * (messages + 2))
    await stand.reader.read_line()
    for _ in range(messages):
        assert stand.reader.try_read_line() == LINE[:-1]
    stand.reader.discard(stand.reader.buffered_nbytes)


def channel(stand: Stand, kind: object):
    """Return a channel of lines, or of frames of a type, and what one of them is on the wire."""
    if kind == "lines":
        return stand.reader.lines(), LINE
    return stand.reader.frames(LengthPrefixed(4), kind), FRAME


def receive(kind: object) -> Act:
    async def act(stand: Stand, messages: int) -> None:
        items, sent = channel(stand, kind)
        stand.put(sent * (messages + 2))
        for _ in range(messages + 1):
            await items.receive()
        stand.reader.discard(stand.reader.buffered_nbytes)

    return act


def try_receive(kind: object) -> Act:
    async def act(stand: Stand, messages: int) -> None:
        items, sent = channel(stand, kind)
        stand.put(sent * (messages + 2))
        await items.receive()
        for _ in range(messages):
            assert items.try_receive() is not None
        stand.reader.discard(stand.reader.buffered_nbytes)

    return act


def one_batch(kind: object) -> Act:
    """All of them in one batch."""

    async def act(stand: Stand, messages: int) -> None:
        items, sent = channel(stand, kind)
        stand.put(sent * messages)
        assert len(await items.receive_batch()) == messages

    return act


def batches(kind: object) -> Act:
    """Each message is a batch of ten: what a batch costs itself."""

    async def act(stand: Stand, messages: int) -> None:
        items, sent = channel(stand, kind)
        for _ in range(messages):
            stand.put(sent * 10)
            assert len(await items.receive_batch()) == 10

    return act


async def write_shared(stand: Stand, messages: int) -> None:
    """By one task, in one round."""
    for _ in range(messages):
        stand.shared.write(PAYLOAD)
    await trio.testing.wait_all_tasks_blocked()


def shared(method: str) -> Act:
    """By a task for each message, in one round."""

    async def act(stand: Stand, messages: int) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(messages):
                nursery.start_soon(getattr(stand.shared, method), PAYLOAD)
        await trio.testing.wait_all_tasks_blocked()

    return act


async def send_shared_alone(stand: Stand, messages: int) -> None:
    """By one task, each in a round of its own."""
    for _ in range(messages):
        await stand.shared.write_when_room(PAYLOAD)
        await trio.testing.wait_all_tasks_blocked()


BUDGETS: dict[str, tuple[Act, Budget]] = {
    # what is written and sent
    "write": (write, Budget(1)),
    "write and flush": (write_and_flush, Budget(16, checkpoints=1, writes=1)),
    "write and flush 4 KiB": (write_and_flush_much, Budget(21, checkpoints=1, writes=1)),
    "write a frame": (write_frames, Budget(4)),
    "send a frame": (send_frames, Budget(18, checkpoints=1, writes=1)),
    # views, which no buffer is between
    "a view there": (send_and_receive_views, Budget(16, checkpoints=2, reads=1, writes=1)),
    "256 KiB received": (receive_bulk, Budget(15, checkpoints=1, reads=1, leases=1)),
    # what is read
    "read_exactly": (read_exactly, Budget(3, checkpoints=1)),
    "try_read_exactly": (try_read_exactly, Budget(3)),
    "read_exactly of what comes": (fill_and_read_exactly, Budget(27, checkpoints=1, reads=1)),
    "read_line": (read_line, Budget(7, checkpoints=1)),
    "try_read_line": (try_read_line, Budget(5)),
    # one by one
    "receive a line": (receive("lines"), Budget(4, checkpoints=1)),
    "try_receive a line": (try_receive("lines"), Budget(3)),
    "receive a view": (receive(BytesView), Budget(6, checkpoints=1)),
    "try_receive a view": (try_receive(BytesView), Budget(5)),
    "receive a memoryview": (receive(memoryview), Budget(4, checkpoints=1)),
    "try_receive a memoryview": (try_receive(memoryview), Budget(3)),
    "receive bytes": (receive(bytes), Budget(4, checkpoints=1)),
    "try_receive bytes": (try_receive(bytes), Budget(3)),
    # one more in a batch
    "a line in a batch": (one_batch("lines"), Budget(0)),
    "a view in a batch": (one_batch(BytesView), Budget(1)),
    "a memoryview in a batch": (one_batch(memoryview), Budget(0)),
    "bytes in a batch": (one_batch(bytes), Budget(0)),
    # one more batch
    "a batch of lines": (batches("lines"), Budget(37, checkpoints=1, reads=1)),
    "a batch of views": (batches(BytesView), Budget(41, checkpoints=1, reads=1)),
    "a batch of memoryviews": (batches(memoryview), Budget(31, checkpoints=1, reads=1)),
    "a batch of bytes": (batches(bytes), Budget(35, checkpoints=1, reads=1)),
    # by a shared writer; the checkpoints are those of tasks of their own, which nobody counts
    "write, shared": (write_shared, Budget(3)),
    "write_when_room, shared": (shared("write_when_room"), Budget(11)),
    "send_all, shared": (shared("send_all"), Budget(11)),
    "a shared round": (send_shared_alone, Budget(30, checkpoints=2, writes=1)),
}


@pytest.mark.parametrize(("act", "budget"), BUDGETS.values(), ids=BUDGETS)
async def test_one_message_more_costs_what_it_is_said_to_cost(stand, act, budget) -> None:
    """Exactly; no more, and no less without a word."""
    assert await one_more(stand, act) == budget


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        pytest.param("lines", 0, id="lines"),
        pytest.param(BytesView, 13, id="views"),
        pytest.param(memoryview, 7, id="memoryviews"),
        pytest.param(bytes, 7, id="bytes"),
    ],
)
async def test_one_item_more_in_a_batch_executes_few_lines(stand, kind, most) -> None:
    """Lines are cut by `bytes.split`, at no line of Python; frames in one loop."""
    act = one_batch(kind)
    await act(stand, FEW)
    executed = []
    for messages in (FEW, MANY):
        with Lines() as lines:
            await act(stand, messages)
        executed.append(lines.count)
    assert (executed[1] - executed[0]) / (MANY - FEW) <= most


async def test_the_budget_sees_one_more_function(stand, monkeypatch) -> None:
    """The count can fail: a function of the package between a reader and its buffer is counted."""
    source = "def through(take):\n    return lambda buffer, nbytes: take(buffer, nbytes)"
    names: dict[str, Callable] = {}
    exec(compile(source, f"{PACKAGE}/planted.py", "exec"), names)
    monkeypatch.setattr(ReceiveBuffer, "try_take", names["through"](ReceiveBuffer.try_take))
    assert await one_more(stand, try_read_exactly) == Budget(4)


async def test_the_budget_sees_one_more_system_call(stand) -> None:
    """The count can fail: a message sent in two halves is two calls and two checkpoints."""

    async def send_in_halves(stand: Stand, messages: int) -> None:
        for _ in range(messages):
            for half in (PAYLOAD[:50], PAYLOAD[50:]):
                stand.writer.write(half)
                await stand.writer.flush()

    assert await one_more(stand, send_in_halves) == Budget(32, checkpoints=2, writes=2)


async def test_functions_are_counted_once_however_often_they_are_resumed(stand) -> None:
    """A function that waits is entered once; that is what makes versions of CPython agree."""
    with Functions() as functions:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stand.receiver.receive_view)
            await trio.testing.wait_all_tasks_blocked()
            stand.put(PAYLOAD)
    assert functions.entered["receive_view"] == functions.entered["_receive_view"] == 1
    assert functions.entered["_receive_now"] == 2
