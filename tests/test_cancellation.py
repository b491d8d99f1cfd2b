"""Cancelled at every moment, every async method keeps the word that its docstring gives.

*Atomic*: nothing happened. *Resumable*: what was taken is with the source or in the caller's
builder, and no byte is lost or comes twice. *Spoils*: the peer got a prefix, and closing works.
"""

from __future__ import annotations

import contextlib
import itertools
import runpy
import socket as stdlib_socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from pairs import clog, closing, each_of, noise, small_buffers, socketpair, tcp_pair

from trio_bytesbuf import BytesBuf, BytesView, CappedPool, GlobalPool, SocketStream
from trio_bytesbuf.io import ReadInspectDecision
from trio_bytesbuf.mem import Memory, PlainMemory
from trio_bytesbuf.testing import (
    Attempt,
    FixedBlockMemory,
    Moment,
    cancel_at_each_checkpoint,
    cancel_atomic_at_each_checkpoint,
    check_laws,
)

PARTS = 5
BEFORE = b"what the builder held before"
IN_PLACE_NBYTES = 20_000  # more than a stream's ROOM_NBYTES


@contextlib.asynccontextmanager
async def in_time(*streams: SocketStream) -> AsyncIterator[None]:
    """Close `streams` at the end of the block, which must not wait for ever."""
    with trio.fail_after(10):
        async with closing(*streams):
            yield


# Reading


@attrs.define(eq=False)
class Reading:
    """A stream that is read from, its peer, and what has become of the bytes."""

    source: SocketStream
    peer: SocketStream
    contents: bytes
    buf: BytesBuf
    """What the reads into a builder read into."""

    got: list[BytesView | bytes] = attrs.field(factory=list)
    """What an operation of several steps has given away so far."""

    began_with: int = 0
    """How many bytes had been received before the operation."""

    held: list[object] = attrs.field(factory=list)
    """Memory that is held until something has arrived."""

    @property
    def part(self) -> int:
        return len(self.contents) // PARTS

    @property
    def wanted(self) -> int:
        """So many bytes that the third part has to come, and some of it is left."""
        return 2 * self.part + self.part // 2

    def received_nbytes(self) -> int:
        return self.source.statistics().received_nbytes - self.began_with

    async def send(self) -> None:
        """Send the next part each time that everybody waits; then the end."""
        for at in range(self.began_with, len(self.contents), self.part):
            await trio.testing.wait_all_tasks_blocked()
            await self.peer.send_all(self.contents[at : at + self.part])
            if self.held:
                await trio.testing.wait_all_tasks_blocked()
                self.held.clear()
        await trio.testing.wait_all_tasks_blocked()
        await self.peer.send_eof()

    def inspect(self, view: BytesView) -> ReadInspectDecision:
        if len(view) < self.wanted:
            return ReadInspectDecision.continue_read()
        return ReadInspectDecision.complete(self.wanted)

    async def collect(self, steps: AsyncIterator[BytesView]) -> None:
        async for view in steps:
            self.got.append(view)

    async def collect_batches(self, steps: AsyncIterator[list[BytesView]]) -> None:
        async for batch in steps:
            self.got += batch

    async def while_(self) -> BytesView:
        view, rest = await self.source.read_at_most_while(10_000_000, self.inspect)
        return view + rest.consume_all()


def delivered(result: object) -> bytes:
    """Return the bytes in what an operation returned; numbers are of bytes that are in `buf`."""
    match result:
        case BytesBuf():
            return bytes(result.peek())
        case list():
            return b"".join(map(bytes, result))
        case bytes() | BytesView():
            return bytes(result)
        case None | int():
            return b""
        case _:
            raise AssertionError(result)


async def read_on(source: SocketStream) -> bytes:
    """Read the rest, by one kind of read after the other."""
    buf = BytesBuf()
    got = bytes(await source.receive_view(1))
    got += await source.receive_some(1)
    if got:
        await source.read_at_most_into(1, buf)
    got += bytes(buf.peek())
    async for view in source.views(3):
        got += bytes(view)
        break
    return got + bytes(await source.read_to_end(10_000_000))


async def no_byte_is_lost_or_repeated(it: Reading, attempt: Attempt) -> None:
    """What was given away, what is in the builder and the rest are the contents."""
    check_laws(it.buf)
    assert bytes(it.buf.peek(len(BEFORE))) == BEFORE
    got = b"".join(map(bytes, it.got)) + delivered(attempt.result)
    got += bytes(it.buf.peek())[len(BEFORE) :]
    assert not it.source._is_receiving
    assert it.source._kept is None or len(it.source._kept)
    it.held.clear()
    assert got + await read_on(it.source) == it.contents


async def nothing_happened(it: Reading, attempt: Attempt) -> None:
    """An atomic read that was cancelled has not touched the builder, either."""
    if attempt.was_cancelled:
        assert it.buf.peek() == BEFORE
        assert it.received_nbytes() == 0
    else:
        assert attempt.result or len(it.buf) > len(BEFORE)
    await no_byte_is_lost_or_repeated(it, attempt)


ATOMIC = {
    "receive_view": lambda it: it.source.receive_view(),
    "receive_view of 3": lambda it: it.source.receive_view(3),
    "receive_some": lambda it: it.source.receive_some(),
    "receive_some of 3": lambda it: it.source.receive_some(3),
    "read_at_most": lambda it: it.source.read_at_most(3),
    "read_at_most_into": lambda it: it.source.read_at_most_into(3, it.buf),
    "read_more_into": lambda it: it.source.read_more_into(it.buf),
    "read_any": lambda it: it.source.read_any(),
    "a step of views": lambda it: anext(it.source.views()),
    "a step of views of 3": lambda it: anext(it.source.views(3)),
    "a step of batches of views": lambda it: anext(it.source.views().batches()),
    "a step of batches of views of 3": lambda it: anext(it.source.views(3).batches()),
}
RESUMABLE = {
    "read_exactly": lambda it: it.source.read_exactly(it.wanted),
    "read_contiguous": lambda it: it.source.read_contiguous(it.wanted),
    "read_exactly_into": lambda it: it.source.read_exactly_into(len(BEFORE) + it.wanted, it.buf),
    "read_to_end": lambda it: it.source.read_to_end(10_000_000),
    "read_at_most_while": lambda it: it.while_(),
    "a step of chunks": lambda it: anext(it.source.chunks(it.wanted)),
    "a step of batches of chunks": lambda it: anext(it.source.chunks(it.wanted).batches()),
    "all of views": lambda it: it.collect(it.source.views(it.part)),
    "all of batches of views": lambda it: it.collect_batches(it.source.views(it.part).batches()),
    "all of chunks": lambda it: it.collect(it.source.chunks(it.wanted)),
    "all of batches of chunks": lambda it: it.collect_batches(
        it.source.chunks(it.part // 2).batches()
    ),
}


@attrs.frozen
class Setting:
    """Where the bytes come from, how many, and how much room the builder has."""

    pair: Callable[..., Awaitable[tuple[SocketStream, SocketStream]]]
    memory: Callable[[], Memory]
    nbytes: int
    room: int = 0
    is_starved: bool = False

    @contextlib.asynccontextmanager
    async def __call__(self) -> AsyncIterator[Reading]:
        memory = self.memory()
        a, b = await self.pair(memory)
        async with in_time(a, b):
            buf = PlainMemory().reserve(len(BEFORE) + self.room)
            buf.put_slice(BEFORE)
            it = Reading(a, b, noise(self.nbytes), buf)
            if self.is_starved:
                held = memory.reserve(memory.max_nbytes)
                held.put_repeated(0, memory.max_nbytes)
                it.held.append(held)
                del held
            yield it


SETTINGS = {
    "socketpair, blocks of 1": Setting(socketpair, lambda: FixedBlockMemory(1), 25),
    "socketpair, pool": Setting(socketpair, GlobalPool, 25),
    "socketpair, pool, large": Setting(socketpair, GlobalPool, 100_000),
    "socketpair, room": Setting(socketpair, PlainMemory, 100_000, IN_PLACE_NBYTES),
    "socketpair, cap": Setting(socketpair, lambda: CappedPool(1 << 20), 25, is_starved=True),
    "TCP, blocks of 1": Setting(tcp_pair, lambda: FixedBlockMemory(1), 25),
    "TCP, pool": Setting(tcp_pair, GlobalPool, 25),
    "TCP, pool, large": Setting(tcp_pair, GlobalPool, 100_000),
    "TCP, room": Setting(tcp_pair, GlobalPool, 25, IN_PLACE_NBYTES),
}
in_each_setting = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
in_two_settings = pytest.mark.parametrize(
    "setting", [SETTINGS["socketpair, blocks of 1"], SETTINGS["TCP, room"]], ids=["1", "room"]
)


@in_each_setting
@each_of(ATOMIC)
async def test_atomic_reads(setting, call) -> None:
    """Cancelled, they have received nothing; the builder is as it was."""
    table = await cancel_atomic_at_each_checkpoint(
        setting, call, peer=Reading.send, progress=Reading.received_nbytes, check=nothing_happened
    )
    print(table)
    assert table.attempts[0].was_cancelled


@in_each_setting
@each_of(RESUMABLE)
async def test_resumable_reads(setting, call) -> None:
    """Cancelled, they leave what has arrived to the next read, of whatever kind."""
    table = await cancel_at_each_checkpoint(
        setting,
        call,
        peer=Reading.send,
        progress=Reading.received_nbytes,
        check=no_byte_is_lost_or_repeated,
    )
    print(table)
    assert table.blocked >= 3  # in the wait for each part
    assert table.partial >= 2


@in_each_setting
async def test_read_at_most_into_while(setting) -> None:
    """What has arrived is in the builder that was given, at each moment; nothing is kept."""

    async def check(it: Reading, attempt: Attempt) -> None:
        assert it.source._kept is None
        await no_byte_is_lost_or_repeated(it, attempt)

    # The decision counts the bytes that were there before.
    def inspect(it: Reading) -> Callable[[BytesView], ReadInspectDecision]:
        def decide(view: BytesView) -> ReadInspectDecision:
            if len(view) < len(BEFORE) + it.wanted:
                return ReadInspectDecision.continue_read()
            return ReadInspectDecision.complete(0)

        return decide

    table = await cancel_at_each_checkpoint(
        setting,
        lambda it: it.source.read_at_most_into_while(10_000_000, it.buf, inspect(it)),
        peer=Reading.send,
        progress=Reading.received_nbytes,
        check=check,
    )
    assert table.blocked >= 3


def with_kept(setting: Setting) -> Callable[[], contextlib.AbstractAsyncContextManager[Reading]]:
    """Let a part be kept, and another at hand, before the operation begins."""

    @contextlib.asynccontextmanager
    async def kept() -> AsyncIterator[Reading]:
        async with setting() as it:
            it.held.clear()
            await it.peer.send_all(it.contents[: it.part])
            while it.received_nbytes() < it.part:
                with trio.move_on_after(1) as scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(it.source.read_exactly, 10 * len(it.contents))
                        await trio.testing.wait_all_tasks_blocked()
                        scope.cancel()
            assert it.source._kept is not None
            assert len(it.source._kept) == it.part
            it.began_with = it.part
            yield it

    return kept


@in_two_settings
@each_of(ATOMIC)
async def test_atomic_reads_of_what_is_kept(setting, call) -> None:
    """Cancelled, they leave what is kept where it is; it is returned without being waited for."""
    table = await cancel_atomic_at_each_checkpoint(
        with_kept(setting), call, peer=None, progress=Reading.received_nbytes, check=and_the_rest
    )
    assert table.blocked == 0
    assert table.cancelled >= 2


async def and_the_rest(it: Reading, attempt: Attempt) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.send)
        await nothing_happened(it, attempt)


@in_two_settings
@each_of(RESUMABLE)
async def test_resumable_reads_that_begin_with_what_is_kept(setting, call) -> None:
    """An abandoned read of another kind came before."""
    await cancel_at_each_checkpoint(
        with_kept(setting),
        call,
        peer=Reading.send,
        progress=Reading.received_nbytes,
        check=no_byte_is_lost_or_repeated,
    )


@each_of(RESUMABLE)
async def test_a_read_that_is_called_again_goes_on(call) -> None:
    """To call a resumable read again after it was cancelled is to have called it once."""

    async def again(it: Reading, attempt: Attempt) -> None:
        result = attempt.result if not attempt.was_cancelled else await call(it)
        await no_byte_is_lost_or_repeated(it, attrs.evolve(attempt, result=result))

    await cancel_at_each_checkpoint(
        SETTINGS["socketpair, blocks of 1"],
        call,
        peer=Reading.send,
        progress=Reading.received_nbytes,
        check=again,
    )


async def test_the_wait_for_memory_is_one_of_the_moments() -> None:
    """In the setting with a cap: once for the peer, and once for memory, before any byte comes."""
    table = await cancel_atomic_at_each_checkpoint(
        SETTINGS["socketpair, cap"],
        lambda it: it.source.receive_view(),
        peer=Reading.send,
        progress=Reading.received_nbytes,
        check=nothing_happened,
    )
    assert table.blocked >= 2


# Writing


@attrs.define(eq=False)
class Writing:
    """A stream that is written to, and a peer that takes some of it when everybody waits."""

    sink: SocketStream
    peer: SocketStream
    payload: bytes
    step: int
    got: bytearray = attrs.field(factory=bytearray)
    has_ended: trio.Event = attrs.field(factory=trio.Event)
    began_with: int = 0

    def sent_nbytes(self) -> int:
        return self.sink.statistics().sent_nbytes - self.began_with

    async def take(self) -> None:
        while True:
            await trio.testing.wait_all_tasks_blocked()
            taken = 0
            while taken < self.step:
                data = await self.peer.receive_some(self.step)
                if not data:
                    self.has_ended.set()
                    return
                self.got += data
                taken += len(data)
                if not self.peer_has_more():
                    break

    def peer_has_more(self) -> bool:
        """Whether what was sent has not been taken yet."""
        return len(self.got) < self.sink.statistics().sent_nbytes


@contextlib.asynccontextmanager
async def over_socketpair() -> AsyncIterator[Writing]:
    a, b = await socketpair(GlobalPool())
    async with in_time(a, b):
        small_buffers(a)
        small_buffers(b)
        yield Writing(a, b, noise(50_000), 10_000)


@contextlib.asynccontextmanager
async def over_tcp() -> AsyncIterator[Writing]:
    a, b = await tcp_pair(GlobalPool())
    async with in_time(a, b):
        for stream in (a, b):  # small ones would have TCP wait for its timers
            for option in (stdlib_socket.SO_SNDBUF, stdlib_socket.SO_RCVBUF):
                stream.setsockopt(stdlib_socket.SOL_SOCKET, option, 150_000)
        yield Writing(a, b, noise(1_500_000), 300_000)


SINKS = {"socketpair": over_socketpair, "TCP": over_tcp}
to_each_sink = pytest.mark.parametrize("sink", SINKS.values(), ids=SINKS.keys())


async def a_prefix_arrived(it: Writing, attempt: Attempt) -> None:
    """Closing tells the peer of the end, and what it got is a prefix, or all."""
    assert not it.sink._is_sending
    await it.sink.aclose()
    await it.has_ended.wait()
    nbytes = it.sent_nbytes()
    assert it.got == it.payload[:nbytes]
    assert nbytes == attempt.progress
    if not attempt.was_cancelled:
        assert nbytes == len(it.payload)


def in_pieces(data: bytes, nbytes: int) -> list[BytesView]:
    return [BytesView(data[at : at + nbytes]) for at in range(0, len(data), nbytes)]


SPOILING = {
    "write_view": lambda it: it.sink.write_view(BytesView(it.payload)),
    "write_view of pieces": lambda it: it.sink.write_view(
        BytesView.from_views(in_pieces(it.payload, len(it.payload) // 50))
    ),
    "write_parts": lambda it: it.sink.write_parts(in_pieces(it.payload, len(it.payload) // 7)),
    "prepare_and_write": lambda it: it.sink.prepare_and_write(
        len(it.payload), lambda buf: buf.put_slice(it.payload)
    ),
    "send_all": lambda it: it.sink.send_all(it.payload),
    "send_all of a bytearray": lambda it: it.sink.send_all(bytearray(it.payload)),
    "send_all of a view": lambda it: it.sink.send_all(BytesView(it.payload)),
}


@to_each_sink
@each_of(SPOILING)
async def test_writes(sink, call) -> None:
    """Cancelled, a write has sent a prefix; the stream can be closed, and its end is seen."""
    table = await cancel_at_each_checkpoint(
        sink, call, peer=Writing.take, progress=Writing.sent_nbytes, check=a_prefix_arrived
    )
    print(table)
    assert table.blocked >= 1


ATOMIC_SENDING = {
    "wait_write_might_not_block": lambda it: it.sink.wait_write_might_not_block(),
    "wait_send_all_might_not_block": lambda it: it.sink.wait_send_all_might_not_block(),
}


@to_each_sink
@each_of(ATOMIC_SENDING)
async def test_waiting_until_sending_might_not_block(sink, call) -> None:
    """Cancelled, it has sent nothing, and sending goes on as if it had not been called."""

    @contextlib.asynccontextmanager
    async def clogged() -> AsyncIterator[Writing]:
        async with sink() as it:
            await clog(it.sink)
            it.began_with = it.sink.statistics().sent_nbytes
            yield it

    async def check(it: Writing, attempt: Attempt) -> None:
        await it.sink.send_all(b"go on")
        await it.sink.aclose()
        await it.has_ended.wait()
        assert it.got == bytes(it.began_with) + b"go on"

    table = await cancel_atomic_at_each_checkpoint(
        clogged, call, peer=Writing.take, progress=Writing.sent_nbytes, check=check
    )
    assert table.blocked == 1


@to_each_sink
async def test_send_eof(sink) -> None:
    """Cancelled, it has not told of the end; called again, it does, and twice is harmless."""

    async def check(it: Writing, attempt: Attempt) -> None:
        if attempt.was_cancelled:
            await it.sink.send_all(b"go on")
        await it.sink.send_eof()
        expected = b"go on" if attempt.was_cancelled else b""
        assert await it.peer.read_to_end(100) == expected

    await cancel_atomic_at_each_checkpoint(
        sink,
        lambda it: it.sink.send_eof(),
        peer=None,
        progress=Writing.sent_nbytes,
        check=check,
    )


@to_each_sink
async def test_closing(sink) -> None:
    """Cancelled, it is closed all the same; whoever waits in it is told, and so is the peer."""
    waiting: list[str] = []

    async def close_under_a_reader(it: Writing) -> None:
        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await it.sink.read_exactly(100)
            waiting.append("told")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()
            await it.sink.aclose()

    async def check(it: Writing, attempt: Attempt) -> None:
        assert it.sink.fileno() == -1
        with pytest.raises(trio.ClosedResourceError):
            await it.sink.receive_view()
        assert await it.peer.receive_view() == b""

    table = await cancel_atomic_at_each_checkpoint(
        sink,
        lambda it: it.sink.aclose(),
        peer=None,
        progress=Writing.sent_nbytes,
        check=check,
    )
    assert table.attempts[0].moment is Moment.BEFORE
    async with sink() as it:
        await close_under_a_reader(it)
    assert waiting == ["told"]


async def test_every_method_of_a_stream_is_tried() -> None:
    """No async method is left out above."""
    names = {
        name
        for name in dir(SocketStream)
        if not name.startswith("_") and hasattr(getattr(SocketStream, name), "__code__")
        and getattr(SocketStream, name).__code__.co_flags & 0x80
    }  # fmt: skip
    tried = itertools.chain(ATOMIC, RESUMABLE, SPOILING, ATOMIC_SENDING)
    words = {word for name in tried for word in name.split()}
    assert names - words == {"read_at_most_into_while", "send_eof", "aclose"}


def test_the_example_prints_the_table(capsys) -> None:
    """A line for each method: some attempts were blocked, and some half way if that is possible."""
    example = Path(__file__).parent.parent / "examples" / "cancellation_table.py"
    runpy.run_path(str(example), run_name="__main__")
    lines, _, full = capsys.readouterr().out.partition("\n\n")
    rows = [line.rsplit(maxsplit=5) for line in lines.splitlines()[1:]]
    assert len(rows) >= 20
    for name, promise, attempts, cancelled, blocked, partial in rows:
        assert int(attempts) > int(cancelled) >= int(blocked) >= 1, name
        assert (int(partial) > 0) == (promise != "atomic"), name
    assert "not cancelled" in full
