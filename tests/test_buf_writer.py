"""`BufWriter`: what it takes, what it copies, when it refuses, and how it ends."""

from __future__ import annotations

import array
import contextlib
import gc
import operator
import traceback
import warnings

import numpy as np
import pytest
import trio
import trio.testing
from pairs import clog, closing, noise, receive_to_the_end, socketpair, tcp_pair

from trio_bytesbuf import BufferFull, BytesView, GlobalPool
from trio_bytesbuf.buffered import BufStream, BufWriter, IntoInnerError, Lines
from trio_bytesbuf.buffered._writing import JOINED_NBYTES
from trio_bytesbuf.io import Write, from_trio
from trio_bytesbuf.testing import (
    BUF_MUT_CHECKS,
    CLOGGED_SINK_CHECKS,
    SINK_CHECKS,
    Delay,
    FakeWrite,
    Pending,
    PoisoningPool,
    _calls,
    memory_pair,
)

BY_NAME = operator.attrgetter("__name__")
FOREVER = Delay(float("inf"))
CLASSES = pytest.mark.parametrize("kind", [BufWriter, BufStream])


# The promises of every sink, and of everything that can be filled


async def over_fake(kind):
    """Over a sink that counts and takes some bytes at a time, with a checkpoint before each."""
    sink = FakeWrite(max_write_nbytes=1000)

    async def arrived():
        await trio.lowlevel.checkpoint()
        return sink.contents.to_bytes()

    return kind(sink), arrived


async def over_socket(kind):
    """Over a socket, whose peer is closed with it."""
    ours, theirs = await socketpair()
    return kind(ours), arriving(theirs)


async def over_foreign(kind):
    """Over a stream of trio's own that does not say how far it is."""
    ours, theirs = trio.testing.memory_stream_pair()
    return kind(from_trio(ours)), arriving(theirs)


def arriving(stream):
    """Return a function that returns all that has arrived at `stream` so far."""
    there = bytearray()

    async def arrived():
        with trio.move_on_after(0.001):
            while data := await stream.receive_some():
                there.extend(data)
        return bytes(there)

    arrived.stream = stream
    return arrived


@pytest.mark.parametrize("check", SINK_CHECKS, ids=BY_NAME)
@pytest.mark.parametrize(
    ("kind", "over"),
    [
        (BufWriter, over_fake),
        (BufWriter, over_socket),
        (BufWriter, over_foreign),
        (BufStream, over_socket),
        (BufStream, over_foreign),
    ],
)
async def test_it_is_a_sink(kind, over, check):
    """The checks for everybody's sinks, over those that count and one that does not."""
    async with contextlib.AsyncExitStack() as peers:

        async def make():
            writer, arrived = await over(kind)
            if hasattr(arrived, "stream"):
                peers.push_async_callback(trio.aclose_forcefully, arrived.stream)
            return writer, arrived

        await check(make)


@pytest.mark.parametrize("check", CLOGGED_SINK_CHECKS, ids=BY_NAME)
@CLASSES
@pytest.mark.parametrize("counts", [True, False], ids=["counts", "does not count"])
async def test_it_is_a_sink_that_is_full(kind, counts, check, monkeypatch):
    """The checks for sinks that are full, but for one promise: that closing does not wait.

    Here it does: for another task that is sending, and then for what is in the buffer, a
    cancelled write's rest among it. Where the sink does not count, nothing can be sent after a
    cancelled write, so only the first holds. That closing is what the checks complain of says that
    all before was as promised.
    """
    monkeypatch.setattr(_calls, "PATIENCE", 0.3)  # seconds, most of which the two checks wait
    async with contextlib.AsyncExitStack() as peers:

        async def make():
            if not counts:
                return kind(Pending())
            ours, theirs = await socketpair()
            peers.push_async_callback(trio.aclose_forcefully, theirs)
            await clog(ours)
            return kind(ours)

        if counts or check.__name__ == "wakes_writers_when_closed":
            with pytest.raises(AssertionError, match=r"aclose\(\) of a \w+ raised TooSlowError"):
                await check(make)
        else:
            await check(make)


@CLASSES
@pytest.mark.parametrize("call", ["flush", "drain"])
async def test_closing_waits_for_a_task_that_sends_and_sends_the_rest(kind, call):
    """Nothing that was taken is lost without a word, though a slow peer has somebody waiting."""
    ours, theirs = await socketpair()
    async with closing(ours, theirs):
        writer = kind(ours)
        writer.write(bytes(1_000_000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(getattr(writer, call))
            await trio.testing.wait_all_tasks_blocked()
            writer.write(b"goodbye")
            nursery.start_soon(writer.aclose)
            received = await receive_to_the_end(theirs)
        assert received == bytes(1_000_000) + b"goodbye"


@CLASSES
async def test_closing_waits_for_a_flush_of_nothing_and_not_for_ever(kind):
    """A task that flushes an empty buffer holds the claim for a checkpoint; then it is closed."""
    for _ in range(20):  # which of the two runs first is drawn by trio
        ours, theirs = await socketpair()
        async with closing(ours, theirs):
            writer = kind(ours)
            with trio.fail_after(5):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(quietly, writer.flush)
                    nursery.start_soon(writer.aclose)
            assert not await theirs.receive_some(1)


async def quietly(call):
    """Call something that may have been closed."""
    with contextlib.suppress(trio.ClosedResourceError):
        await call()


@CLASSES
async def test_a_block_that_an_error_ends_sends_nothing(kind):
    """What is half said is not to be taken for all; and the error is not hidden by another."""
    for error in (None, KeyError("half way")):
        ours, theirs = await socketpair()
        async with closing(ours, theirs):
            with contextlib.suppress(KeyError):
                async with kind(ours) as writer:
                    writer.write(b"half a mess")
                    if error is not None:
                        raise error
            assert await receive_to_the_end(theirs) == (b"half a mess" if error is None else b"")


@CLASSES
async def test_cancelled_on_a_full_sink_it_can_be_closed_forcefully(kind):
    """What stands for the promise that does not fit, and it lets the peer see the end."""
    ours, theirs = await socketpair()
    async with closing(ours, theirs):
        await clog(ours)
        writer = kind(ours)
        with trio.move_on_after(0.001):
            await writer.write_view(BytesView(b"never sent"))
        assert writer.unsent == b"never sent"
        await trio.aclose_forcefully(writer)
        assert writer.unsent_nbytes == 0
        assert not (await receive_to_the_end(theirs)).strip(b"\0")


@pytest.mark.parametrize("check", BUF_MUT_CHECKS, ids=BY_NAME)
@CLASSES
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # they are not sent, and not closed
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_it_can_be_filled(kind, check):
    """The checks for everything that numbers, structs and texts are put into."""

    def make(nbytes):
        most = max(nbytes, 1)
        return kind(Pending(), low_water_nbytes=0, high_water_nbytes=0, max_nbytes=most)

    check(make, lambda writer: writer.unsent.to_bytes())


# What is copied, and what not


MUTABLE = {
    "bytearray": lambda data: data,
    "a memoryview of one": memoryview,
    "a part of one": lambda data: memoryview(data)[3:],
    "a view of one": BytesView,
    "a slice of a view of one": lambda data: BytesView(data)[3:],
    "a view that is in part of one": lambda data: b"front" + BytesView(data),
    "array": lambda data: memoryview(data).cast("B"),
    "numpy": lambda data: np.frombuffer(data, np.uint8),
}
WRITING = {
    "write": lambda writer, data: writer.write(data),
    "put_slice": lambda writer, data: writer.put_slice(data),
}


@pytest.mark.parametrize("make", MUTABLE.values(), ids=MUTABLE)
@pytest.mark.parametrize("write", WRITING.values(), ids=WRITING)
@pytest.mark.parametrize("nbytes", [10, JOINED_NBYTES, JOINED_NBYTES + 1, 20_000])
async def test_what_can_be_changed_is_copied(make, write, nbytes):
    """By whoever gave it, at any time later, and not seen here."""
    source = bytearray(noise(nbytes))
    given = make(source)
    expected = bytes(given)
    sink = FakeWrite()
    async with BufWriter(sink) as writer:
        write(writer, given)
        source[:] = b"\xff" * nbytes
        assert writer.unsent == expected
    assert sink.contents == expected


@pytest.mark.parametrize("make", MUTABLE.values(), ids=MUTABLE)
@pytest.mark.parametrize("nbytes", [10, 200_000])
async def test_what_a_cancelled_send_leaves_is_a_copy_if_it_can_be_changed(make, nbytes):
    """The caller gets the buffer back when `send_all` is over, however that ends."""
    source = bytearray(noise(nbytes))
    given = make(source)
    expected = bytes(given)
    sink = FakeWrite(script=[nbytes // 2, Delay(0.01)])
    async with BufWriter(sink) as writer:
        with trio.move_on_after(0.001) as scope:
            await writer.send_all(given)
        assert scope.cancelled_caught
        source[:] = b"\xff" * nbytes
        assert writer.unsent == expected[nbytes // 2 :]
    assert sink.contents == expected


async def test_an_array_of_anything_is_its_bytes():
    """Items of several bytes, and of two dimensions."""
    sink = FakeWrite()
    numbers, table = array.array("I", range(500)), np.arange(3000.0).reshape(30, 100)
    async with BufWriter(sink) as writer:
        writer.write(numbers)
        writer.write(table)
        expected = numbers.tobytes() + table.tobytes()
        numbers[:] = array.array("I", [7] * 500)
        table[:] = 7
        assert writer.unsent == expected
    assert sink.contents == expected


@pytest.mark.parametrize("way", ["write", "send_all", "write_view"])
async def test_bytes_and_views_beyond_a_kibibyte_are_not_copied(way):
    """They lie where they were, until they are sent."""
    data = noise(JOINED_NBYTES + 1)
    pooled = BytesView.copied_from_slice(data, GlobalPool())
    sink = FakeWrite(script=[Delay(0.01)])
    async with BufWriter(sink) as writer:
        for given in (data, BytesView(data), pooled):
            if way == "write":
                writer.write(given)
            else:
                with trio.move_on_after(0):
                    sending = given if way == "send_all" else BytesView(given)
                    await getattr(writer, way)(sending)
        addresses = [address_of(piece) for piece in writer.unsent.pieces]
        assert addresses == [address_of(data), address_of(data), *map(address_of, pooled.pieces)]
    assert sink.contents == data * 3


def address_of(data) -> int:
    """Where bytes lie."""
    return np.frombuffer(data, np.uint8).ctypes.data


@pytest.mark.parametrize("nbytes", [100, 5000])
async def test_memory_of_views_is_used_again_when_it_is_sent(nbytes):
    """Not before; and neither the writer nor its last piece keeps it any longer."""
    pool = PoisoningPool()
    ours, theirs = await socketpair()
    async with closing(ours, theirs), BufWriter(ours) as writer:
        for at in range(20):
            writer.write(BytesView.copied_from_slice(noise(nbytes, at), pool))
            pool.reserve(nbytes).put_repeated(0xFF, nbytes)
        await writer.flush()
        for at in range(20):
            assert await theirs.read_exactly(nbytes) == noise(nbytes, at)


@pytest.mark.parametrize("pair", [socketpair, tcp_pair])
async def test_small_writes_are_one_system_call(pair):
    """Numbers, lines, texts and bytes, however many."""
    ours, theirs = await pair()
    async with closing(ours, theirs), BufWriter(ours) as writer:
        expected = b""
        for number in range(1000):
            writer.put_u16_be(number)
            writer.write_line("line")
            writer.write(bytearray(b"abc"))
            expected += number.to_bytes(2, "big") + b"line\nabc"
        await writer.flush()
        assert ours.statistics().send_calls == 1
        assert await theirs.read_exactly(len(expected)) == expected


async def test_small_ones_between_large_ones_stay_in_order():
    """Joined with their neighbours, and never across what is not copied."""
    sink = FakeWrite(max_write_nbytes=700)
    expected = b""
    async with BufWriter(sink) as writer:
        for at, nbytes in enumerate([1, 2000, 3, 1024, 1025, 5, 0, 6, 9000, 1024]):
            writer.write(noise(nbytes, at))
            expected += noise(nbytes, at)
            assert writer.unsent == expected
            assert writer.unsent_nbytes == len(expected)
    assert sink.contents == expected


@pytest.mark.parametrize("wrong", ["text", 5, None, [1], memoryview(bytes(8))[::2]], ids=repr)
async def test_what_is_no_buffer_is_refused(wrong):
    """And nothing is put."""
    async with BufWriter(FakeWrite()) as writer:
        for way in (writer.write, writer.put_slice):
            with pytest.raises(TypeError):
                way(wrong)
        with pytest.raises(TypeError):
            await writer.send_all(wrong)
        with pytest.raises(TypeError):
            await writer.write_view(wrong)
        assert not writer.unsent


async def test_lines():
    """Text as UTF-8, any buffer, any end; a line with an end in it is none."""
    sink = FakeWrite()
    async with BufWriter(sink) as writer:
        writer.write_line("grün")
        writer.write_line(b"bytes", b"\r\n")
        writer.write_line(BytesView(b"vi") + b"ew", newline=b"\0")
        writer.write_line(bytearray())
        for line in ("a\nb", b"\n", BytesView(b"a") + b"\n"):
            with pytest.raises(ValueError, match="would arrive as several"):
                writer.write_line(line)
    assert sink.contents == "grün\nbytes\r\nview\0\n".encode()


# Marks and the cap


@pytest.mark.parametrize(
    ("low", "high", "most"), [(2, 1, 3), (1, 3, 2), (3, 2, 1), (0, 0, 0), (-1, 1, 1)]
)
@CLASSES
def test_marks_in_another_order_are_refused(kind, low, high, most):
    """ValueError, for the writer and the stream."""
    with pytest.raises(ValueError, match="nbytes"):
        kind(Pending(), low_water_nbytes=low, high_water_nbytes=high, max_nbytes=most)


@pytest.mark.parametrize("name", ["low_water_nbytes", "high_water_nbytes", "max_nbytes"])
@CLASSES
def test_marks_that_are_no_integers_are_refused(kind, name):
    """TypeError, whichever it is; and what is no sink as well."""
    for wrong in (1.0, "1", *((None,) if name == "max_nbytes" else ())):
        with pytest.raises(TypeError):
            kind(Pending(), **{name: wrong})
    for wrong in (b"bytes", None, object()):
        with pytest.raises(TypeError):
            kind(wrong)


async def test_what_is_too_much_is_refused_with_both_numbers():
    """Nothing of it is put, by any way to write; to the last byte there is room."""
    sink = FakeWrite()
    cap = {"low_water_nbytes": 0, "high_water_nbytes": 0, "max_nbytes": 10}
    async with BufWriter(sink, **cap) as writer:
        writer.write(b"12345")
        sender = writer.frame_sender(Lines())
        for call, nbytes in (
            (lambda: writer.write(b"123456"), 6),
            (lambda: writer.write(bytes(2000)), 2000),
            (lambda: writer.write(bytearray(2000)), 2000),
            (lambda: writer.write(BytesView(b"123") + b"456"), 6),
            (lambda: writer.write_line("12345"), 6),
            (lambda: sender.write(b"12345"), 6),
            (lambda: writer.put_u64_be(1), 8),
            (lambda: writer.put_str("123456"), 6),
        ):
            with pytest.raises(BufferFull) as caught:
                call()
            assert (caught.value.requested, caught.value.available) == (nbytes, 5)
            assert writer.unsent == b"12345"
        writer.write(b"67890")
        assert writer.remaining_mut() == 0
        writer.write(b"")
        with pytest.raises(BufferFull):
            writer.write(b"x")
    assert sink.contents == b"1234567890"


async def test_drain_sends_down_to_the_low_mark_and_nothing_below_the_high_one():
    """`wants_drain` says when; otherwise it is a checkpoint, also while another task flushes."""
    sink = FakeWrite()
    async with BufWriter(sink, low_water_nbytes=3, high_water_nbytes=6, max_nbytes=100) as writer:
        for nbytes, wants in ((0, False), (6, False), (7, True), (50, True)):
            writer.write(noise(nbytes))
            before = len(sink.contents)
            assert writer.wants_drain is wants
            with trio.testing.assert_checkpoints():
                await writer.drain()
            assert not writer.wants_drain
            if wants:
                assert writer.unsent == noise(nbytes)[-3:]
            else:
                assert len(sink.contents) == before
            await writer.flush()


async def test_drain_is_refused_while_another_task_flushes_only_if_it_has_to_send():
    """BusyResourceError, and not where there is nothing to do."""
    sink = FakeWrite(script=[FOREVER])
    marks = {"low_water_nbytes": 0, "high_water_nbytes": 5, "max_nbytes": 100}
    writer = BufWriter(sink, **marks)
    writer.write(b"123")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.flush)
        await trio.testing.wait_all_tasks_blocked()
        await writer.drain()
        writer.write(b"4567")
        with pytest.raises(trio.BusyResourceError):
            await writer.drain()
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(writer)


async def test_sends_take_more_than_the_cap_but_not_behind_more():
    """`send_all` waits, so it takes anything; after one that was cancelled, BufferFull."""
    sink = FakeWrite(script=[3, Delay(0.01)])
    marks = {"low_water_nbytes": 0, "high_water_nbytes": 5, "max_nbytes": 10}
    async with BufWriter(sink, **marks) as writer:
        writer.write(b"12345")
        data = noise(5000)
        with trio.move_on_after(0.001):
            await writer.send_all(data)
        left = b"45" + data
        for send in (writer.send_all, lambda part: writer.write_view(BytesView(part))):
            with pytest.raises(BufferFull) as caught, trio.testing.assert_checkpoints():
                await send(b"more")
            assert (caught.value.requested, caught.value.available) == (4, 0)
        with pytest.raises(BufferFull) as caught:
            writer.write(b"x")
        assert (caught.value.requested, caught.value.available) == (1, 0)
        assert writer.unsent == left
        await writer.flush()
        await writer.send_all(b"end")
    assert sink.contents == b"12345" + data + b"end"


# Checkpoints


CALLS = {
    "flush": lambda writer: writer.flush(),
    "drain": lambda writer: writer.drain(),
    "send_all": lambda writer: writer.send_all(b""),
    "write_view": lambda writer: writer.write_view(BytesView()),
    "wait": lambda writer: writer.wait_send_all_might_not_block(),
    "aclose": lambda writer: writer.aclose(),
    "into_inner": lambda writer: writer.into_inner(),
    "send a frame": lambda writer: writer.frame_sender(Lines()).send(b"x"),
    "send no frames": lambda writer: writer.frame_sender(Lines()).send_batch([]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("counts", [True, False], ids=["counts", "does not count"])
@pytest.mark.parametrize("nbytes", [0, 5])
async def test_everything_is_a_checkpoint(call, counts, nbytes):
    """With something to send and with nothing, once and again, and when it is closed."""
    sink = FakeWrite() if counts else memory_pair()[0]
    writer = BufWriter(sink, low_water_nbytes=0, high_water_nbytes=0)
    for _ in range(2):
        with contextlib.suppress(trio.ClosedResourceError):
            writer.write(bytes(nbytes))
        with trio.testing.assert_checkpoints(), contextlib.suppress(trio.ClosedResourceError):
            await call(writer)
    await writer.aclose()
    with trio.testing.assert_checkpoints(), contextlib.suppress(trio.ClosedResourceError):
        await call(writer)


# Several tasks


@pytest.mark.parametrize("counts", [True, False], ids=["counts", "does not count"])
async def test_what_is_written_during_a_flush_is_sent_by_the_next(counts):
    """The flush sends what was there when it began, and the rest stays in order behind it."""
    if counts:
        ours, theirs = FakeWrite(script=[2, Delay(0.02)]), None
    else:
        ours, theirs = trio.testing.lockstep_stream_pair()
    writer = BufWriter(ours)
    writer.write(b"first, ")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.flush)
        await trio.testing.wait_all_tasks_blocked()
        writer.write(b"second, ")
        writer.put_u8(0x33)
        writer.write(noise(5000))
        if theirs is not None:
            assert await theirs.receive_some() == b"first, "
    assert writer.unsent == b"second, 3" + noise(5000)
    if theirs is not None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.aclose)
            assert await from_trio(theirs).read_to_end(9999) == b"second, 3" + noise(5000)
    else:
        await writer.aclose()
        assert ours.contents == b"first, second, 3" + noise(5000)


@pytest.mark.parametrize("name", ["flush", "send_all", "write_view", "send", "into_inner"])
async def test_of_two_that_send_one_is_refused(name):
    """BusyResourceError, without anything put, and the other goes on."""
    writer = BufWriter(FakeWrite(script=[FOREVER]))
    writer.write(b"123")
    call = {
        "flush": writer.flush,
        "send_all": lambda: writer.send_all(b"more"),
        "write_view": lambda: writer.write_view(BytesView(b"more")),
        "send": lambda: writer.frame_sender(Lines()).send(b"more"),
        "into_inner": writer.into_inner,
    }[name]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.flush)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await call()
        assert writer.unsent == b"123"
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(writer)


# The end


@CLASSES
async def test_closing_sends_what_is_left(kind):
    """All of it, and then the peer sees the end; twice is harmless."""
    ours, theirs = await socketpair()
    data = noise(1_000_000)
    async with closing(theirs):
        writer = kind(ours)
        writer.write(data)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.aclose)
            assert await receive_to_the_end(theirs) == data
        await writer.aclose()


@CLASSES
async def test_closing_waits_for_a_stuck_peer_until_it_is_cancelled(kind):
    """Then the sink is closed and the rest dropped; that is no error."""
    ours, theirs = await socketpair()
    await clog(ours)
    async with closing(theirs):
        writer = kind(ours)
        writer.write(noise(1000))
        with trio.move_on_after(0.02) as scope:
            await writer.aclose()
        assert scope.cancelled_caught
        assert writer.unsent_nbytes == 0
        assert ours.fileno() == -1
        with pytest.raises(trio.ClosedResourceError):
            writer.write(b"x")


@CLASSES
async def test_a_flush_of_another_task_is_told_when_it_is_closed_forcefully(kind):
    """ClosedResourceError, and nobody waits for what cannot be sent."""
    ours, theirs = await socketpair()
    await clog(ours)
    async with closing(theirs):
        writer = kind(ours)
        writer.write(b"123")

        async def flush():
            with pytest.raises(trio.ClosedResourceError):
                await writer.flush()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flush)
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(1):
                await trio.aclose_forcefully(writer)


class Silent(FakeWrite):
    """A sink that tells nothing, though the class that it is made of does."""

    async def _write_view(self, view):
        progress, self._progress = self._progress, None
        await super()._write_view(view)
        self._progress = progress


async def test_what_a_sink_has_taken_without_a_word_is_sent_once():
    """When a write returns, all of it is gone, whatever was told on the way."""
    sink = Silent()
    writer = BufWriter(sink)
    for data in (b"abc", b"def"):
        writer.write(data)
        await writer.flush()
        assert not writer.unsent
    assert sink.contents == b"abcdef"
    await writer.aclose()


class Late(Write):
    """A sink whose system call goes on while it is closed, as a thread does that writes a file."""

    def __init__(self, counts: bool) -> None:
        self._counts_exactly = counts
        self.over = trio.Event()

    async def _write_view(self, view):
        await self.over.wait()
        if self._progress is not None:
            self._progress(len(view))

    async def _aclose(self):
        self.over.set()
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("counts", [True, False], ids=["counts", "does not count"])
async def test_a_flush_that_ends_after_it_was_closed_breaks_nothing(counts):
    """What was sent after all counts for nobody: it was dropped before."""
    writer = BufWriter(Late(counts))
    writer.write(b"123")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.flush)
        await trio.testing.wait_all_tasks_blocked()
        await trio.aclose_forcefully(writer)
    assert writer.unsent_nbytes == 0
    assert not writer.unsent


async def test_when_closed_everything_is_refused():
    """ClosedResourceError, from all ways to write and to send."""
    writer = BufWriter(FakeWrite())
    await writer.aclose()
    await refuses_everything(writer)


async def refuses_everything(writer):
    """Hold all ways to write and send to raise ClosedResourceError."""
    sender = writer.frame_sender(Lines())
    for call in (
        lambda: writer.write(b""),
        lambda: writer.write(b"x"),
        lambda: writer.write(bytes(5000)),
        lambda: writer.write_line("x"),
        lambda: writer.put_u8(1),
        writer.chunk_mut,
        lambda: sender.write(b"x"),
    ):
        with pytest.raises(trio.ClosedResourceError):
            call()
    for call in (
        writer.flush,
        writer.drain,
        writer.into_inner,
        writer.wait_write_might_not_block,
        lambda: writer.send_all(b""),
        lambda: writer.write_view(BytesView(b"x")),
        lambda: sender.send(b"x"),
        lambda: sender.send_batch([b"x"]),
    ):
        with pytest.raises(trio.ClosedResourceError), trio.testing.assert_checkpoints():
            await call()


@pytest.mark.parametrize("in_a_cycle", [False, True])
@CLASSES
def test_one_that_is_forgotten_warns_and_sends_nothing(kind, in_a_cycle):
    """ResourceWarning with the number of bytes; none if nothing is left, or it was closed."""
    sink = Pending() if kind is BufStream else FakeWrite()
    writer = kind(sink)
    writer.write(bytes(5000))
    writer.write(b"123")
    if in_a_cycle:
        writer.myself = writer
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        del writer
        gc.collect()
    assert [warning.category for warning in found] == [ResourceWarning]
    assert "forgotten with 5003 bytes that were not sent" in str(found[0].message)
    del found
    if kind is BufWriter:
        assert not sink.contents
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kind(sink)
        gc.collect()


@CLASSES
async def test_one_that_was_closed_or_flushed_is_forgotten_in_silence(kind):
    """Forcefully closed, too: who did that knows."""
    ours, theirs = await socketpair()
    async with closing(ours, theirs):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            writer = kind(ours)
            await writer.send_all(b"123")
            del writer
            gc.collect()
            writer = kind(ours)
            writer.write(b"123")
            await trio.aclose_forcefully(writer)
            del writer
            gc.collect()
        assert not found


async def test_the_sink_is_given_back_as_it_was_given():
    """Flushed and open, trio's own stream and not what stands in between."""
    ours, theirs = trio.testing.memory_stream_pair()
    writer = BufWriter(ours)
    assert writer.inner is ours
    writer.write(b"all of it")
    assert await writer.into_inner() is ours
    assert await theirs.receive_some() == b"all of it"
    await refuses_everything(writer)
    await writer.aclose()
    await ours.send_all(b"still open")
    assert await theirs.receive_some() == b"still open"


async def test_a_sink_that_cannot_be_emptied_is_not_given_back():
    """IntoInnerError has the writer and what was not sent; both can be used."""
    reason = OSError("no space")
    sink = FakeWrite(script=[3, reason])
    writer = BufWriter(sink)
    writer.write(b"12345")
    with pytest.raises(IntoInnerError, match="2 bytes could not be sent: no space") as caught:
        await writer.into_inner()
    error = caught.value
    assert error.buffered is writer
    assert error.unsent == b"45"
    assert error.__cause__ is reason
    error.buffered.write(b"6")
    assert await writer.into_inner() is sink
    assert sink.contents == b"123456"


async def test_what_is_written_while_the_sink_is_given_back_is_sent_as_well():
    """Until it is given back, the writer takes bytes, and none is lost."""
    sink = FakeWrite(script=[1, Delay(0.01)])
    writer = BufWriter(sink)
    writer.write(b"123")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.into_inner)
        await trio.testing.wait_all_tasks_blocked()
        writer.write(b"456")
    assert sink.contents == b"123456"


async def test_giving_back_can_be_cancelled_and_gone_on_with():
    """The sink was not given back, and the rest is still there."""
    sink = FakeWrite(script=[1, Delay(0.01)])
    writer = BufWriter(sink)
    writer.write(b"123")
    with trio.move_on_after(0.001):
        await writer.into_inner()
    assert writer.unsent == b"23"
    assert await writer.into_inner() is sink
    assert sink.contents == b"123"


# Sinks that do not count


class Foreign(trio.abc.SendStream):
    """Sends half of what it is given, waits, and keeps all that was ever sent."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.is_closed = False

    async def send_all(self, data):
        data = bytes(data)
        await trio.lowlevel.checkpoint()
        self.sent += data[: len(data) // 2]
        await trio.sleep(0.01)
        self.sent += data[len(data) // 2 :]

    async def wait_send_all_might_not_block(self):
        await trio.lowlevel.checkpoint()

    async def aclose(self):
        self.is_closed = True
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("way", ["flush", "send_all", "drain", "write_view", "into_inner"])
async def test_a_cancelled_flush_over_a_sink_that_does_not_count_spoils(way):
    """Everything after is refused, `unsent` shows what may not have arrived, nothing goes twice."""
    foreign = Foreign()
    writer = BufWriter(foreign, low_water_nbytes=0, high_water_nbytes=0)
    writer.write(b"12345678")
    with trio.move_on_after(0.005) as scope:
        if way in ("send_all", "write_view"):
            await getattr(writer, way)(BytesView())
        else:
            await getattr(writer, way)()
    assert scope.cancelled_caught
    assert foreign.sent == b"1234"
    assert writer.unsent == b"12345678"
    for call in (lambda: writer.write(b"x"), lambda: writer.put_u8(1), writer.chunk_mut):
        with pytest.raises(trio.BrokenResourceError):
            call()
    for call in (
        writer.flush,
        writer.drain,
        lambda: writer.send_all(b""),
        lambda: writer.write_view(BytesView(b"x")),
    ):
        with pytest.raises(trio.BrokenResourceError), trio.testing.assert_checkpoints():
            await call()
    with pytest.raises(IntoInnerError) as caught:
        await writer.into_inner()
    assert isinstance(caught.value.__cause__, trio.BrokenResourceError)
    assert caught.value.unsent == writer.unsent == b"12345678"
    with trio.testing.assert_checkpoints():
        await writer.aclose()
    assert foreign.is_closed
    assert foreign.sent == b"1234"


async def test_an_error_of_sending_keeps_no_memory_of_the_writer_that_was_closed():
    """Its traceback has our frames, and they let go of what they were given."""

    class Broken(Write):
        async def _write_view(self, view: BytesView) -> None:
            del view
            await trio.lowlevel.checkpoint()
            raise trio.BrokenResourceError

        async def _aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    writer = BufWriter(Broken())
    with pytest.raises(trio.BrokenResourceError) as caught:
        await writer.write_view(BytesView(bytes(8192)))
    await trio.aclose_forcefully(writer)
    frames = traceback.walk_tb(caught.tb)
    held = [frame for frame, _ in frames if isinstance(frame.f_locals.get("view"), BytesView)]
    assert not held


def test_the_books_are_a_writers_own_from_the_start() -> None:
    """An attribute that an instance gets later may lack memory then, between what has to agree."""
    assert vars(BufWriter(FakeWrite())).keys() >= {"_buffered_nbytes", "_told_nbytes", "_tail"}
