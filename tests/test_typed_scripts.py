"""Both ends of typed channels, played from drawn scripts, with cancellation wherever it can come.

The model is a list: what a sender says it has taken. What the receiver gets is the same list, in
order, each once, whatever was cancelled on either side; or, where a cancelled send spoils, the
beginning of it.
"""

from __future__ import annotations

import contextlib
import math
import socket as stdlib_socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import closing, noise
from small_codecs import Even, Raw

from trio_bytesbuf import BufferFull, BytesView, SocketStream, UnexpectedEof
from trio_bytesbuf.buffered import BufReader, BufStream, BufWriter
from trio_bytesbuf.mem import Memory
from trio_bytesbuf.testing import (
    Delay,
    FakeRead,
    FakeWrite,
    FixedBlockMemory,
    Moment,
    cancel_at_each_checkpoint,
    cancel_atomic_at_each_checkpoint,
    check_laws,
    lockstep_pair,
    memory_pair,
)
from trio_bytesbuf.wire import (
    MessageEncoder,
    TypedChannel,
    TypedReceiveChannel,
    TypedSendChannel,
)

IN_TIME_SECONDS = 20


def wire(*payloads: bytes, goodbye: bool = True, **options: Any) -> bytes:
    encoder = MessageEncoder(Raw(), **options)
    data = encoder.encode_header() + encoder.encode_many(payloads)
    return data + encoder.encode_end() if goodbye else data


# Cancelled at each checkpoint


@pytest.mark.parametrize("name", ["receive", "receive_batch", "async for"])
async def test_a_receive_can_be_cancelled_wherever_it_yields(name) -> None:
    """Nothing is lost, nothing comes twice: what was not returned is received next."""
    payloads = [b"one", bytes(300), b"three", b""]
    data = wire(*payloads)
    call = {
        "receive": lambda subject: subject.receive(),
        "receive_batch": lambda subject: subject.receive_batch(),
        "async for": lambda subject: anext(subject),
    }[name]

    @contextlib.asynccontextmanager
    async def subject():
        script = [4, Delay(0.001), 5, Delay(0.001), 2, Delay(0.001), 400]
        async with TypedReceiveChannel(FakeRead(data, script=script), Raw()) as channel:
            yield channel

    async def check(channel, attempt):
        check_laws(channel)
        got = attempt.result
        got = got if isinstance(got, list) else [] if got is None else [got]
        assert got + [item async for item in channel] == payloads

    table = await cancel_at_each_checkpoint(
        subject,
        call,
        peer=None,
        progress=lambda channel: len(data) - channel.inner._contents.remaining(),
        check=check,
    )
    assert table.partial


@pytest.mark.parametrize("payload", [b"\0", b"\1"])
async def test_what_has_arrived_is_not_lost_by_cancellation(payload) -> None:
    """A message, or what is wrong with one: who is cancelled before it came gets it next time."""
    wanted = payload if payload == b"\0" else "bad"

    @contextlib.asynccontextmanager
    async def subject():
        reader = BufReader(FakeRead(wire(payload, b"\2"), script=[1000]))
        channel = TypedReceiveChannel(reader, Even())
        await reader.fill_buf()
        yield channel
        await channel.aclose()

    async def receive(channel):
        try:
            return await channel.receive()
        except ValueError:
            return "bad"

    async def check(channel, attempt):
        check_laws(channel)
        if attempt.was_cancelled:
            assert await receive(channel) == wanted
        else:
            assert attempt.result == wanted
        assert await receive(channel) == b"\2"

    await cancel_atomic_at_each_checkpoint(
        subject, receive, peer=None, progress=lambda _channel: 0, check=check
    )


@pytest.mark.parametrize("name", ["send", "send_many", "flush", "send_eof", "drain"])
async def test_a_send_can_be_cancelled_wherever_it_yields(name) -> None:
    """Before it began, nothing was taken. From then on its messages count as sent, each once."""
    before, others = [b"fed", bytes(2000)], [b"one", bytes(1500), b"three"]
    calls: dict[str, tuple[Callable[[Any], Awaitable[object]], list[bytes]]] = {
        "send": (lambda channel: channel.send(others[1]), [others[1]]),
        "send_many": (lambda channel: channel.send_many(others), others),
        "flush": (lambda channel: channel.flush(), []),
        "send_eof": (lambda channel: channel.send_eof(), []),
        "drain": (lambda channel: channel.drain(), []),
    }
    call, taken = calls[name]

    @contextlib.asynccontextmanager
    async def subject():
        sink = FakeWrite(max_write_nbytes=900, script=[500, Delay(0.001), 700, Delay(0.001)])
        marks = {"low_water_nbytes": 0, "high_water_nbytes": 100, "max_nbytes": 1 << 20}
        channel = TypedSendChannel(BufWriter(sink, **marks), Raw())
        for payload in before:
            channel.feed(payload)
        yield channel
        await trio.aclose_forcefully(channel)

    async def check(channel, attempt):
        check_laws(channel)
        sink = channel.inner.inner
        has_begun = attempt.moment is not Moment.BEFORE
        wanted = [*before, *(taken if has_begun else [])]
        data = wire(*wanted, goodbye=name == "send_eof" and has_begun)
        assert bytes(sink.contents) + bytes(channel._writer.unsent) == data
        if name == "send_eof":
            await channel.send_eof()
            with pytest.raises(trio.ClosedResourceError):
                channel.feed(b"x")
        else:
            await channel.flush()
            assert sink.contents == wire(*wanted, goodbye=False)
            channel.feed(b"next")
            wanted.append(b"next")
        await channel.aclose()
        assert sink.contents == wire(*wanted)

    table = await cancel_at_each_checkpoint(
        subject,
        call,
        peer=None,
        progress=lambda channel: len(channel.inner.inner.contents),
        check=check,
    )
    assert table.partial


async def test_a_close_can_be_cancelled_wherever_it_yields() -> None:
    """It is closed all the same; the goodbye is there if, and only if, everything else is."""
    payloads = [b"one", bytes(2000), b"three"]
    data = wire(*payloads)

    @contextlib.asynccontextmanager
    async def subject():
        sink = FakeWrite(max_write_nbytes=900, script=[500, Delay(0.001), 700, Delay(0.001)])
        channel = TypedSendChannel(sink, Raw())
        for payload in payloads:
            channel.feed(payload)
        yield channel
        await channel.aclose()

    async def check(channel, attempt):
        check_laws(channel)
        sent = bytes(channel.inner.contents)
        assert data.startswith(sent)
        assert sent == data or attempt.was_cancelled
        assert channel.unsent_nbytes == 0
        for call in (channel.flush, lambda: channel.send(b"x")):
            with pytest.raises(trio.ClosedResourceError):
                await call()
        await channel.aclose()
        assert channel.inner.contents == sent

    table = await cancel_at_each_checkpoint(
        subject,
        lambda channel: channel.aclose(),
        peer=None,
        progress=lambda channel: len(channel.inner.contents),
        check=check,
    )
    assert table.partial


# Two scripts and their model


ENDS = (trio.EndOfChannel, UnexpectedEof, trio.BrokenResourceError, trio.ClosedResourceError)


class Sender:
    """Plays a script on a sending channel, and keeps what that has taken."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.taken: list[bytes] = []

    @property
    def is_spoiled(self) -> bool:
        return self.channel._writer._is_spoiled

    async def send(self, call: Callable[..., Awaitable[object]], values: list[bytes]) -> None:
        """Send, and count what a cancelled send has taken, as its docstring says."""
        count = len(self.taken)
        if trio.current_effective_deadline() > -math.inf and not self.is_spoiled:
            self.taken += values
        try:
            await call()
        except (trio.BrokenResourceError, BufferFull):
            del self.taken[count:]

    async def step(self, step: str, values: list[bytes]) -> None:
        channel = self.channel
        if step == "feed":
            with contextlib.suppress(trio.BrokenResourceError, BufferFull):
                for value in values:
                    channel.feed(value)
                    self.taken.append(value)
        elif step == "send":
            await self.send(lambda: channel.send(values[0]), values[:1])
        elif step == "send_many":
            await self.send(lambda: channel.send_many(values), values)
        else:
            await self.send(getattr(channel, step), [])


class Receiver:
    """Plays a script on a receiving channel, and keeps what came of it."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.got: list[object] = []

    async def step(self, step: str, count: int) -> None:
        channel = self.channel
        try:
            if step == "receive":
                self.got.append(await channel.receive())
            elif step == "receive_batch":
                batch = await channel.receive_batch(count)
                assert 0 < len(batch) <= count
                self.got += batch
            elif step == "try_receive":
                for _ in range(count):
                    nothing = object()
                    item = channel.try_receive(nothing)
                    if item is not nothing:
                        self.got.append(item)
            else:
                channel.optimize_memory_usage()
        except Even.ERRORS as exc:
            self.got.append(type(exc))

    async def drain(self) -> type[Exception]:
        """Receive until the end, and say which it was."""
        while True:
            try:
                async for batch in self.channel.batches():
                    self.got += batch
            except Even.ERRORS as exc:
                self.got.append(type(exc))
            except (UnexpectedEof, trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                return type(exc)
            else:
                return trio.EndOfChannel


def outcome(value: bytes) -> object:
    """What a receiver has of a value."""
    if value[:1] and value[0] % 2:
        return Even.ERRORS[value[0] // 2 % len(Even.ERRORS)]
    return value


async def cancelled_after(turns: int | None, call: Callable[[], Awaitable[object]]) -> None:
    """Call something, and cancel it when other tasks have had so many turns."""
    if turns is None:
        await call()
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


async def _sockets(memory: Memory | None) -> tuple[Any, Any]:
    a, b = stdlib_socket.socketpair()
    for one in (a, b):
        one.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_SNDBUF, 4096)
    ours, theirs = map(trio.socket.from_stdlib_socket, (a, b))
    return SocketStream(ours, memory=memory), SocketStream(theirs, memory=memory)


async def _in_memory(memory: Memory | None) -> tuple[Any, Any]:
    return memory_pair(memory)


async def _in_lockstep(memory: Memory | None) -> tuple[Any, Any]:
    return lockstep_pair(memory)


PAIRS = {"sockets": _sockets, "memory": _in_memory, "lockstep": _in_lockstep}
SIZES = st.sampled_from([0, 1, 2, 5, 100, 251, 252, 1023, 5000, 16_384, 16_385, 40_000])
VALUES = st.builds(noise, SIZES, st.integers(0, 1000))
TURNS = st.none() | st.integers(0, 6)
SENDING = st.lists(
    st.tuples(
        st.sampled_from(["feed", "send", "send_many", "flush", "drain"]),
        st.lists(VALUES, min_size=1, max_size=3),
        TURNS,
    ),
    max_size=10,
)
RECEIVING = st.lists(
    st.tuples(
        st.sampled_from(["receive", "receive_batch", "try_receive", "optimize"]),
        st.integers(1, 4),
        st.integers(0, 6),
    ),
    max_size=12,
)
MEMORIES = st.sampled_from([None, FixedBlockMemory(7), FixedBlockMemory(1000)])


async def play_sender(sender: Sender, script: list[tuple[str, list[bytes], int | None]]) -> None:
    """Play the script, and end in peace, or by force where nothing can be sent any more."""
    for step, values, turns in script:
        await cancelled_after(turns, lambda s=step, v=values: sender.step(s, v))
        check_laws(sender.channel)
    if sender.is_spoiled:
        await trio.aclose_forcefully(sender.channel)
    else:
        await sender.channel.send_eof()
        check_laws(sender.channel)


async def play_receiver(
    receiver: Receiver, script: list[tuple[str, int, int]], result: list[type[Exception]]
) -> None:
    """Play the script, and receive the rest."""
    for step, count, turns in script:
        with contextlib.suppress(*ENDS):
            await cancelled_after(turns, lambda s=step, c=count: quiet(receiver.step(s, c)))
        check_laws(receiver.channel)
    result.append(await receiver.drain())


async def quiet(step: Awaitable[object]) -> None:
    """Do a step of a receiver, for whom an end is none of its affair until the last."""
    with contextlib.suppress(*ENDS):
        await step


def compare(sender: Sender, receiver: Receiver, end: type[Exception]) -> None:
    """All that was taken came, in order, each once; or the beginning, if a send was spoiled."""
    wanted = [outcome(value) for value in sender.taken]
    if sender.is_spoiled or sender.channel._writer._is_closed:
        assert receiver.got == wanted[: len(receiver.got)]
    else:
        assert end is trio.EndOfChannel
        assert receiver.got == wanted


@pytest.mark.parametrize("pair", PAIRS)
@settings(max_examples=40, deadline=None)
@given(
    sending=SENDING, receiving=RECEIVING, memory=MEMORIES, checksums=st.booleans(),
    version=st.sampled_from([1, 2]),
)  # fmt: skip
def test_one_direction(pair, sending, receiving, memory, checksums, version) -> None:
    """A sender and a receiver, each with a script of its own, over each kind of stream."""

    async def main() -> None:
        ours, theirs = await PAIRS[pair](memory)
        options = {"max_nbytes": 50_000}
        sender = Sender(
            TypedSendChannel(
                BufStream(ours), Even(), sends_checksums=checksums, version=version, **options
            )
        )
        receiver = Receiver(TypedReceiveChannel(theirs, Even(), peer_version=version, **options))
        ends: list[type[Exception]] = []
        async with closing(ours, theirs):
            with trio.fail_after(IN_TIME_SECONDS):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(play_receiver, receiver, receiving, ends)
                    await play_sender(sender, sending)
            compare(sender, receiver, ends[0])
            if sender.taken and not sender.is_spoiled:
                assert receiver.channel.peer_version == version
                assert receiver.channel.checks_checksums is (checksums and version == 2)

    trio.run(main)


@pytest.mark.parametrize("pair", PAIRS)
@settings(max_examples=25, deadline=None)
@given(scripts=st.lists(st.tuples(SENDING, RECEIVING), min_size=2, max_size=2), memory=MEMORIES)
def test_both_directions(pair, scripts, memory) -> None:
    """Four scripts over one pair of streams: sending on either side, receiving on either side."""

    async def main() -> None:
        ends: list[list[type[Exception]]] = [[], []]
        channels = [
            TypedChannel(stream, sends=Even(), receives=Even(), max_nbytes=50_000)
            for stream in await PAIRS[pair](memory)
        ]
        senders = [Sender(channel) for channel in channels]
        receivers = [Receiver(channel) for channel in reversed(channels)]
        async with closing(*channels):
            with trio.fail_after(IN_TIME_SECONDS):
                async with trio.open_nursery() as nursery:
                    for at, (sending, receiving) in enumerate(scripts):
                        nursery.start_soon(play_both, senders[at], sending)
                        nursery.start_soon(play_receiver, receivers[at], receiving, ends[at])
            for sender, receiver, end in zip(senders, receivers, ends, strict=True):
                if any(one.is_spoiled for one in senders):
                    wanted = [outcome(value) for value in sender.taken]
                    assert receiver.got == wanted[: len(receiver.got)]
                else:
                    compare(sender, receiver, end[0])

    trio.run(main)


async def play_both(sender: Sender, script: list[tuple[str, list[bytes], int | None]]) -> None:
    """Play a sender's script on a channel that somebody receives from as well."""
    with contextlib.suppress(trio.BrokenResourceError):  # the other side may have been spoiled
        await play_sender(sender, script)


# Cuts that no script has


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(VALUES, max_size=6),
    size=st.sampled_from([1, 2, 7, 1000, 20_000, 100_000]),
    ways=st.lists(st.sampled_from(["receive", "receive_batch", "try_receive"]), min_size=1),
    memory=MEMORIES,
)
def test_ways_to_receive_can_be_mixed(values, size, ways, memory) -> None:
    """Whatever the pieces are that messages come in, and by whatever way each is received."""
    data = wire(*values)
    if size < 7 and len(data) > 3000:
        size = 500

    async def main() -> None:
        source = FakeRead(data, max_read_nbytes=size, memory=memory)
        receiver = Receiver(TypedReceiveChannel(source, Even()))
        turn = 0
        with contextlib.suppress(trio.EndOfChannel):
            while True:
                way = ways[turn % len(ways)]
                before = len(receiver.got)
                await receiver.step(way, 2)
                if way == "try_receive" and len(receiver.got) == before:
                    await receiver.step("receive", 1)
                check_laws(receiver.channel)
                turn += 1
        assert receiver.got == [outcome(value) for value in values]

    trio.run(main)


async def test_a_view_that_was_received_outlives_its_channel() -> None:
    """What was given away is its owner's: closing, and what comes next, do not touch it."""
    from trio_bytesbuf.wire import ViewCodec

    ours, theirs = await _sockets(None)
    payloads = [noise(3000, seed) for seed in range(20)]
    kept: list[BytesView] = []
    async with closing(ours, theirs), trio.open_nursery() as nursery:
        sender = TypedSendChannel(ours, Raw())
        receiver = TypedReceiveChannel(theirs, ViewCodec())
        nursery.start_soon(sender.send_many, payloads)
        while len(kept) < len(payloads):
            kept += await receiver.receive_batch(3)
        await receiver.aclose()
    assert kept == payloads
