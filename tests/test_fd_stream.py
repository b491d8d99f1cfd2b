"""`FdStream` over real pipes, FIFOs, terminals and devices: a trio stream, and one of views."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tty

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from pairs import RECEIVING, SENDING, Steps, ThroughViews, each_of, noise

from trio_bytesbuf import BytesBuf, BytesView, GlobalPool
from trio_bytesbuf.io import FdStream
from trio_bytesbuf.mem import CappedPool, PlainMemory
from trio_bytesbuf.testing import (
    CLOGGED_SINK_CHECKS,
    SINK_CHECKS,
    SOURCE_CHECKS,
    STALLED_SOURCE_CHECKS,
    FixedBlockMemory,
    cancel_at_each_checkpoint,
    cancel_atomic_at_each_checkpoint,
)

MEMORIES = {
    "blocks of 1": lambda: FixedBlockMemory(1),
    "plain": PlainMemory,
    "pool": GlobalPool,
    "a share of a capped pool": lambda: CappedPool(1 << 20),
}
every_memory = pytest.mark.parametrize("memory", MEMORIES.values(), ids=MEMORIES)
by_name = lambda check: check.__name__  # noqa: E731

SENDING = {name: call for name, call in SENDING.items() if name != "send_eof"}


async def pipe(memory=None) -> tuple[FdStream, FdStream]:
    """The writing and the reading end of a pipe."""
    reading, writing = os.pipe()
    return FdStream(writing, memory=memory), FdStream(reading, memory=memory)


async def terminal(memory=None) -> tuple[FdStream, FdStream]:
    """The slave and the master side of a terminal that changes no byte."""
    master, slave = os.openpty()
    tty.setraw(slave)
    return FdStream(slave, memory=memory), FdStream(master, memory=memory)


every_maker = pytest.mark.parametrize("make", [pipe, terminal], ids=by_name)


@contextlib.asynccontextmanager
async def opened(make, memory=None):
    sink, source = await make(memory)
    async with sink, source:
        yield sink, source


def fill_up(fd: int) -> None:
    """Write to a non-blocking descriptor until it takes no byte more."""
    for nbytes in (65_536, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(fd, bytes(nbytes))


# The promises of trio's streams, and of ours


@pytest.mark.parametrize("wrap", [lambda stream: stream, ThroughViews], ids=["bytes", "views"])
async def test_a_pipe_passes_trios_checks_of_a_one_way_stream(wrap):
    """Clogged as well; by trio's own methods and by those of views."""

    async def make():
        return tuple(map(wrap, await pipe()))

    async def make_clogged():
        sink, source = await pipe()
        fill_up(sink.fileno())
        return wrap(sink), wrap(source)

    await trio.testing.check_one_way_stream(make, make_clogged)


@every_memory
async def test_a_pipe_passes_them_over_every_memory(memory):
    """Blocks of one byte and memory with a cap included."""

    async def make():
        return tuple(map(ThroughViews, await pipe(memory())))

    await trio.testing.check_one_way_stream(make, None)


async def test_a_terminal_goes_both_ways():
    """Each side reads what the other writes. (A master is not told that nobody reads.)"""
    async with opened(terminal) as (slave, master):
        for one, other in ((slave, master), (master, slave)):
            await one.write_view(BytesView(b"to the other side"))
            assert await other.read_exactly(17) == b"to the other side"


@every_maker
@every_memory
@pytest.mark.parametrize("check", SOURCE_CHECKS, ids=by_name)
async def test_it_is_a_read(check, memory, make):
    """The checks for everybody's sources, at the end of what was written."""

    async def made(contents):
        sink, source = await make(memory())
        await sink.send_all(contents)
        await sink.aclose()
        return source

    await check(made)


@every_memory
@pytest.mark.parametrize("check", STALLED_SOURCE_CHECKS, ids=by_name)
async def test_it_is_a_read_that_waits(check, memory):
    """The checks for sources that go silent."""
    async with contextlib.AsyncExitStack() as open_sinks:

        async def made(contents):
            sink, source = await pipe(memory())
            await open_sinks.enter_async_context(sink)
            await sink.send_all(contents)
            return source

        await check(made)


@pytest.mark.parametrize("check", SINK_CHECKS, ids=by_name)
async def test_it_is_a_write(check):
    """The checks for everybody's sinks."""
    async with contextlib.AsyncExitStack() as open_sources:

        async def made():
            sink, source = await pipe()
            await open_sources.enter_async_context(source)
            there = bytearray()

            async def arrived():
                with contextlib.suppress(BlockingIOError):
                    while data := os.read(source.fileno(), 65_536):
                        there.extend(data)
                return bytes(there)

            return sink, arrived

        await check(made)


@pytest.mark.parametrize("check", CLOGGED_SINK_CHECKS, ids=by_name)
async def test_it_is_a_write_that_waits(check):
    """The checks for sinks that are full."""
    async with contextlib.AsyncExitStack() as open_sources:

        async def made():
            sink, source = await pipe()
            await open_sources.enter_async_context(source)
            fill_up(sink.fileno())
            return sink

        await check(made)


# What arrives


@given(
    sizes=st.lists(st.integers(0, 100_000), max_size=5),
    limits=st.lists(st.none() | st.integers(1, 70_000), min_size=1, max_size=5),
    memory=st.sampled_from(sorted(MEMORIES)),
)
async def test_what_arrives_is_what_was_sent(sizes, limits, memory):
    """Whatever is written in one go, and however much is asked for at a time."""
    views = [BytesView(noise(nbytes, seed)) for seed, nbytes in enumerate(sizes)]
    arrived = bytearray()

    async def send():
        async with sink:
            for view in views:
                await sink.write_view(view)

    async with opened(pipe, MEMORIES[memory]()) as (sink, source), trio.open_nursery() as nursery:
        nursery.start_soon(send)
        for at in range(sys.maxsize):
            limit = limits[at % len(limits)]
            # Blocks of one byte take a while: but for a few, the rest comes as plain bytes
            view = await source.receive_view(limit) if at < 50 else await source.receive_some()
            assert limit is None or at >= 50 or len(view) <= limit
            if not view:
                break
            arrived += bytes(view)
    assert arrived == b"".join(map(bytes, views))


async def test_a_builder_with_room_is_filled_in_place():
    """The bytes lie in the builder's own block afterwards; nothing was leased or copied."""
    async with opened(pipe) as (sink, source):
        data = noise(30_000)
        await sink.send_all(data)
        buf = FixedBlockMemory(65_536).reserve(40_000)
        room = buf.remaining_capacity
        assert await source.read_more_into(buf) == 30_000
        assert buf.remaining_capacity == room - 30_000
        assert buf.peek() == data
        assert source.statistics().copied_nbytes == 0


async def test_a_receive_that_finds_bytes_is_one_checkpoint():
    """As cheap in steps of the task as a checkpoint is."""
    async with opened(pipe) as (sink, source):
        for call in RECEIVING.values():
            await sink.send_all(bytes(10))
            with Steps() as steps:
                await call(source)
            assert steps.taken == 1


async def test_a_reader_at_the_end_does_not_wait_for_memory():
    """Where all memory of a cap is taken, the end is told all the same, from either kind."""
    for make in (pipe, terminal):
        memory = CappedPool(65_536)
        async with opened(make, memory) as (sink, source):
            window, _ = memory._lease(65_536)
            await sink.aclose()
            with trio.fail_after(5):
                assert await source.receive_view() == b""
            del window


async def test_what_was_written_before_the_end_waits_for_memory():
    """That nobody can write any more is no end while there are bytes left."""
    memory = CappedPool(65_536)
    async with opened(pipe, memory) as (sink, source):
        window, _ = memory._lease(65_536)
        await sink.send_all(b"abc")
        await sink.aclose()
        with trio.move_on_after(0.01):
            await source.receive_view()
            pytest.fail("there was no memory to receive into")
        del window
        with trio.fail_after(5):
            assert await source.read_to_end(100) == b"abc"


async def test_a_reader_waits_for_memory_that_has_a_cap():
    """It gets its bytes when there is room again, and none of them is lost meanwhile."""
    memory = CappedPool(65_536)
    async with opened(pipe, memory) as (sink, source):
        window, _ = memory._lease(65_536)
        await sink.send_all(b"abc")
        with trio.move_on_after(0.01):
            await source.receive_view()
            pytest.fail("there was no memory to receive into")
        del window
        with trio.fail_after(5):
            assert await source.receive_view() == b"abc"


async def test_a_cancelled_receive_takes_nothing():
    """Whenever it is cancelled: what it had not returned is received by the next."""

    async def send(streams):
        await trio.testing.wait_all_tasks_blocked()
        await streams[0].send_all(b"abcdef")
        await streams[0].aclose()

    async def nothing_is_lost(streams, attempt):
        rest = await streams[1].read_to_end(100)
        assert bytes(attempt.result or b"") + bytes(rest) == b"abcdef"

    for call in (lambda source: source.receive_view(4), lambda source: source.receive_some(4)):
        await cancel_atomic_at_each_checkpoint(
            lambda: opened(pipe),
            lambda streams, call=call: call(streams[1]),
            peer=send,
            progress=lambda _: 0,
            check=nothing_is_lost,
        )


async def test_a_cancelled_send_has_sent_a_prefix():
    """Whenever it is cancelled: what arrives is the beginning of what was to be sent."""
    data = noise(200_000)
    received = bytearray()

    async def receive(streams):
        for _ in range(8):
            await trio.testing.wait_all_tasks_blocked()
            with contextlib.suppress(BlockingIOError):
                received.extend(os.read(streams[1].fileno(), 50_000))

    async def a_prefix_arrived(streams, attempt):
        sent = streams[0].statistics().sent_nbytes
        assert attempt.was_cancelled or sent == len(data)
        await streams[0].aclose()
        received.extend(bytes(await streams[1].read_to_end(1 << 20)))
        assert received == data[:sent]
        received.clear()

    await cancel_at_each_checkpoint(
        lambda: opened(pipe),
        lambda streams: streams[0].write_view(BytesView(data)),
        peer=receive,
        progress=lambda streams: streams[0].statistics().sent_nbytes,
        check=a_prefix_arrived,
    )


# The end, and errors


async def test_the_end_of_a_master_is_that_no_slave_is_open():
    """What was written before comes first; then the end, by every method, and no error."""
    for call in RECEIVING.values():
        async with opened(terminal) as (slave, master):
            await slave.send_all(b"last")
            await slave.aclose()
            assert await master.read_exactly(4) == b"last"
            for _ in range(2):
                with trio.testing.assert_checkpoints():
                    assert not await call(master)
                with trio.testing.assert_checkpoints():
                    assert await master.receive_some() == b""
            room = BytesBuf()
            room.reserve(65_536)
            assert await master.read_more_into(room) == 0


async def test_a_slave_whose_master_is_gone_ends_and_takes_nothing():
    """Here the system tells the end itself; writing is an error."""
    async with opened(terminal) as (slave, master):
        await master.aclose()
        assert await slave.receive_view() == b""
        with pytest.raises(trio.BrokenResourceError, match="Input/output error"):
            await slave.send_all(b"x")


async def test_a_terminal_goes_on_after_its_end_is_typed():
    """Ctrl-D ends what is read, as everywhere; what is typed after it is read as well."""
    master, slave = os.openpty()
    async with FdStream(master) as typing, FdStream(slave) as reading:
        await typing.send_all(b"one\n\x04two\n")
        assert await reading.read_to_end(100) == b"one\n"
        assert await reading.receive_view() == b"two\n"


async def test_a_fifo_can_be_opened_again_after_its_end(tmp_path):
    """A reader that stays gets what the next writer writes."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    async with FdStream(os.open(path, os.O_RDONLY | os.O_NONBLOCK)) as source:
        for data in (b"first", b"second"):
            async with FdStream(os.open(path, os.O_WRONLY)) as sink:
                await sink.send_all(data)
            assert await source.read_to_end(100) == data


@each_of({name: call for name, call in SENDING.items() if "empty" not in name and "_all" in name})
async def test_writing_to_a_pipe_that_nobody_reads_is_broken(call):
    """EPIPE, and no signal kills the program; the waiting is over at once."""
    async with opened(pipe) as (sink, source):
        await source.aclose()
        if call is SENDING["wait_send_all_might_not_block"]:
            await call(sink)
            return
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="Broken pipe"):
                await call(sink)


async def test_a_sender_that_waits_is_told_when_its_reader_goes():
    """The pipe is full, and then nobody can ever empty it."""
    async with opened(pipe) as (sink, source), trio.open_nursery() as nursery:

        async def send():
            with pytest.raises(trio.BrokenResourceError):
                await sink.write_view(BytesView(bytes(1 << 20)))

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        await source.aclose()


@every_maker
@pytest.mark.parametrize("closer", [FdStream.aclose, lambda stream: stream._stream.aclose()])
@each_of(RECEIVING)
async def test_closing_wakes_who_receives(call, closer, make):
    """ClosedResourceError, whether it was closed here or by trio's stream underneath."""
    async with opened(make) as (_sink, source), trio.open_nursery() as nursery:

        async def receive():
            with pytest.raises(trio.ClosedResourceError):
                await call(source)

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await closer(source)


@each_of({name: call for name, call in SENDING.items() if "empty" not in name})
async def test_closing_wakes_who_sends(call):
    """ClosedResourceError for whoever waits for room in a full pipe."""
    async with opened(pipe) as (sink, _source), trio.open_nursery() as nursery:
        fill_up(sink.fileno())

        async def send():
            with pytest.raises(trio.ClosedResourceError):
                await call(sink)

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        await sink.aclose()


@each_of({**RECEIVING, **SENDING})
async def test_a_stream_that_was_closed_stays_closed(call):
    """Every method says so, those that have nothing to do as well."""
    async with opened(terminal) as (slave, _master):
        await slave.aclose()
        for _ in range(2):
            with pytest.raises(trio.ClosedResourceError):
                await call(slave)


@pytest.mark.parametrize("call", [*RECEIVING.values(), *SENDING.values()])
async def test_a_descriptor_that_others_have_closed_is_closed(call):
    """ClosedResourceError from every method; closing it then is harmless."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    async with FdStream(ours) as stream:
        os.close(ours)
        if call in (SENDING["an empty write_view"], SENDING["an empty send_all"]):
            await call(stream)  # which asks the system for nothing
        else:
            with pytest.raises(trio.ClosedResourceError):
                await call(stream)
    os.close(theirs)
    assert stream.fileno() == -1


# The descriptor


async def test_blocking_is_as_before_once_it_is_closed():
    """A descriptor that shares the open file sees the flag come and go."""
    for was_blocking in (True, False):
        reading, writing = os.pipe()
        shared = os.dup(reading)
        os.set_blocking(reading, was_blocking)
        async with FdStream(reading) as stream:
            assert stream.fileno() == reading
            assert not os.get_blocking(shared)
        assert os.get_blocking(shared) == was_blocking
        assert stream.fileno() == -1
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(reading)
        os.close(shared)
        os.close(writing)


async def test_it_is_closed_even_if_closing_is_cancelled():
    """Nothing is left open, and the flag is restored."""
    async with opened(pipe) as (_sink, source):
        fd = source.fileno()
        await trio.aclose_forcefully(source)
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)
        await source.aclose()


async def test_files_that_cannot_be_waited_for_are_refused(tmp_path):
    """The error says what it is and what to use; the descriptor stays with the caller, blocking."""
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    for what, kind in ((path, "a regular file"), (tmp_path, "a directory")):
        fd = os.open(what, os.O_RDONLY)
        try:
            with pytest.raises(ValueError, match=f"is {kind}: epoll .* open_binary_file"):
                FdStream(fd)
            assert os.get_blocking(fd)
        finally:
            os.close(fd)


@pytest.mark.parametrize("wrong", ["3", 3.0, None, sys.stdin], ids=repr)
def test_what_is_no_descriptor_is_refused(wrong):
    """An integer is wanted, and no file object, whose own buffer would be passed by."""
    with pytest.raises(TypeError, match="a descriptor is an integer, not"):
        FdStream(wrong)


def test_a_descriptor_that_is_not_open_is_refused():
    """The system's own error."""
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    with pytest.raises(OSError, match="Bad file"):
        FdStream(reading)


async def test_wrong_arguments_leave_the_descriptor_alone():
    """It is the caller's still, and blocking."""
    reading, writing = os.pipe()
    for wrong in ({"memory": 3}, {"max_receive_nbytes": 0}, {"max_receive_nbytes": 1.5}):
        with pytest.raises((TypeError, ValueError)):
            FdStream(reading, **wrong)
        assert os.get_blocking(reading)
    os.close(reading)
    os.close(writing)


async def test_devices_that_never_block_are_streams_too():
    """Epoll knows of no waiting for them, and none is needed."""
    async with FdStream(os.open("/dev/null", os.O_RDWR)) as null:
        await null.wait_send_all_might_not_block()
        await null.write_view(BytesView(b"gone"))
        assert await null.receive_view() == b""
    for memory in (None, CappedPool(65_536)):
        async with FdStream(os.open("/dev/zero", os.O_RDWR), memory=memory) as zeros:
            assert await zeros.read_exactly(1000) == bytes(1000)


async def test_a_device_that_never_blocks_is_read_when_there_is_memory_again():
    """Waiting for it must not fail where only memory has to be waited for."""
    memory = CappedPool(65_536)
    async with FdStream(os.open("/dev/zero", os.O_RDONLY), memory=memory) as zeros:
        window, _ = memory._lease(65_536)
        with trio.move_on_after(0.01):
            await zeros.receive_view(10)
        del window
        with trio.fail_after(5):
            assert await zeros.receive_view(10) == bytes(10)


async def test_it_stands_on_trios_stream_as_well():
    """One descriptor for both; closing either closes it, and restores the flag."""
    reading, writing = os.pipe()
    shared = os.dup(reading)
    theirs = trio.lowlevel.FdStream(reading)
    async with FdStream(writing) as sink, FdStream(theirs) as ours:
        await sink.send_all(b"abcdef")
        assert await ours.receive_view(3) == b"abc"
        assert await theirs.receive_some(3) == b"def"
    assert theirs.fileno() == -1
    assert os.get_blocking(shared)
    os.close(shared)


async def test_its_repr_names_the_descriptor():
    """And says when it is closed."""
    async with opened(pipe) as (sink, source):
        assert repr(source) == f"<FdStream over descriptor {source.fileno()}>"
        await sink.aclose()
        assert repr(sink) == "<FdStream, closed>"


async def test_two_processes_may_read_one_pipe():
    """Bytes that the other has taken do not make an end, whatever memory is waited for."""
    memory = CappedPool(65_536)
    async with opened(pipe, memory) as (sink, source):
        window, _ = memory._lease(65_536)
        async with trio.open_nursery() as nursery:

            async def receive():
                assert await source.receive_view() == b"ours"

            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            await sink.send_all(b"theirs")
            assert os.read(source.fileno(), 6) == b"theirs"
            del window
            await trio.testing.wait_all_tasks_blocked()
            await sink.send_all(b"ours")


def test_the_module_imports_where_there_are_no_such_descriptors():
    """As on Windows: no termios; FdStream then says what is missing."""
    program = (
        "import sys, trio.lowlevel\n"
        "sys.modules.update(termios=None, tty=None)\n"
        "del trio.lowlevel.FdStream\n"
        "import trio_bytesbuf.io as io\n"
        "try:\n    io.FdStream(0)\n"
        "except OSError as exc:\n    print(exc)\n"
        "a, b = trio.testing.memory_stream_pair()\n"
        "print(type(io.from_trio(a)).__name__)\n"
    )
    program = program.replace("trio.lowlevel\n", "trio.lowlevel, trio.testing\n", 1)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, env=environment, text=True
    )
    assert "no descriptors that can be waited for" in done.stdout, done.stderr
    assert "HalfCloseableAdapter" in done.stdout or "StapledAdapter" in done.stdout
