"""`BufStream`: both halves of a stream, each by itself, and how they begin and end together."""

from __future__ import annotations

import contextlib
import gc
import io

import pytest
import trio
import trio.testing
from files import a_file
from pairs import ThroughViews, clog, closing, noise, receive_to_the_end, socketpair

from trio_bytesbuf import BytesView
from trio_bytesbuf.buffered import BufStream, IntoInnerError, Lines
from trio_bytesbuf.buffered._stream import HalfCloseableBufStream
from trio_bytesbuf.io import GuardedStream, MinRate, Read, Write, from_trio
from trio_bytesbuf.testing import Null, Pending, memory_pair

IN_TIME_SECONDS = 10


# What it is


class Foreign(trio.abc.Stream):
    """A stream of somebody else that has no `send_eof`."""

    def __init__(self) -> None:
        self.sent = b""

    async def send_all(self, data):
        self.sent += bytes(data)
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self):
        await trio.lowlevel.checkpoint()

    async def receive_some(self, _max_bytes=None):
        await trio.lowlevel.checkpoint()
        return b""

    async def aclose(self):
        await trio.lowlevel.checkpoint()


async def test_it_has_a_send_eof_if_what_it_stands_on_has_one():
    """And is a trio stream of that kind; a subclass is what it was said to be."""
    ours, theirs = await socketpair()
    guard = GuardedStream(theirs, receiving=MinRate(1, 1), sending=MinRate(1, 1))
    in_memory, other = trio.testing.memory_stream_pair()

    class Mine(BufStream):
        pass

    async with closing(ours, theirs, in_memory, other):
        for stream in (ours, guard, in_memory, from_trio(other)):
            made = BufStream(stream)
            assert type(made) is HalfCloseableBufStream
            assert isinstance(made, trio.abc.HalfCloseableStream)
            assert made.inner is stream
        for stream in (Null(), Pending(), Foreign(), from_trio(Foreign())):
            made = BufStream(stream)
            assert type(made) is BufStream
            assert isinstance(made, trio.abc.Stream)
            assert not hasattr(made, "send_eof")
            assert isinstance(made, Read)
            assert isinstance(made, Write)
        assert type(Mine(ours)) is Mine


@pytest.mark.parametrize("wrap", [lambda stream: stream, ThroughViews], ids=["bytes", "views"])
async def test_it_passes_trios_checks_of_a_half_closeable_stream(wrap):
    """Over memory, which does not count, so that nothing is left to be sent after a cancelled send.

    Over what counts one promise of the checks does not fit: they cancel a send, close both ends
    at once, and want no error; but what the send has left cannot be sent then, and closing says so.
    """

    async def make():
        return tuple(wrap(BufStream(end)) for end in trio.testing.memory_stream_pair())

    await trio.testing.check_half_closeable_stream(make, None)


async def test_both_directions_at_once():
    """4 MiB each way, while the other half is in use."""
    nbytes = 4 << 20
    ours, theirs = await socketpair()
    a, b = BufStream(ours), BufStream(theirs)

    async def write(stream, seed):
        data = noise(nbytes, seed)
        for at in range(0, nbytes, 50_000):
            stream.write(data[at : at + 50_000])
            await stream.drain()
        await stream.flush()

    async def read(stream, seed):
        assert await stream.read_exactly(nbytes) == noise(nbytes, seed)

    async with closing(a, b):
        with trio.fail_after(IN_TIME_SECONDS):
            async with trio.open_nursery() as nursery:
                for stream, seed in ((a, 1), (b, 2)):
                    nursery.start_soon(write, stream, seed)
                    nursery.start_soon(read, stream, 3 - seed)


async def test_while_one_half_waits_the_other_works():
    """A task that reads is no hindrance to one that sends, nor the other way round."""
    ours, theirs = await socketpair()
    async with closing(ours, theirs), BufStream(ours) as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.read_line)
            await trio.testing.wait_all_tasks_blocked()
            await stream.send_all(b"sent")
            with pytest.raises(trio.BusyResourceError):
                await stream.read_line()
            with pytest.raises(trio.BusyResourceError):
                await stream.into_inner()
            assert await theirs.receive_some() == b"sent"
            nursery.cancel_scope.cancel()
        await clog(ours)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, b"more")
            await trio.testing.wait_all_tasks_blocked()
            await theirs.send_all(b"line\n")
            assert await stream.read_line() == b"line"
            with pytest.raises(trio.BusyResourceError):
                await stream.into_inner()
            nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(stream)


# The end that is announced


async def test_send_eof_flushes_first_and_reading_goes_on():
    """Twice is harmless; what is written after it is refused by every way."""
    ours, theirs = await socketpair()
    async with closing(ours, theirs), BufStream(ours) as stream:
        stream.write(b"all of it")
        for _ in range(2):
            with trio.testing.assert_checkpoints():
                await stream.send_eof()
        assert await receive_to_the_end(theirs) == b"all of it"
        for call in (lambda: stream.write(b"x"), lambda: stream.put_u8(1), stream.chunk_mut):
            with pytest.raises(trio.ClosedResourceError):
                call()
        for call in (
            lambda: stream.send_all(b"x"),
            lambda: stream.write_view(BytesView()),
            lambda: stream.frame_sender(Lines()).send(b"x"),
        ):
            with pytest.raises(trio.ClosedResourceError), trio.testing.assert_checkpoints():
                await call()
        await stream.flush()
        await theirs.send_all(b"reply\n")
        assert await stream.read_line() == b"reply"


async def test_what_is_written_while_the_end_is_announced_is_sent_or_refused():
    """Never taken and then not sent."""
    ours, theirs = await socketpair()
    await clog(ours)
    async with closing(ours, theirs), BufStream(ours) as stream:
        stream.write(b"first, ")
        taken = b"first, "
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_eof)
            await trio.testing.wait_all_tasks_blocked()
            stream.write(b"second")
            taken += b"second"
            arrived = b""
            for _ in range(1_000):
                with contextlib.suppress(trio.ClosedResourceError):
                    stream.write(b"!")
                    taken += b"!"
                part = await theirs.receive_some()
                if not part:
                    break
                arrived += part
        assert arrived.lstrip(b"\0") == taken
        assert not stream.unsent


async def test_an_end_whose_flush_is_cancelled_was_not_announced():
    """The rest is still there, and writing goes on."""
    ours, theirs = await socketpair()
    await clog(ours)
    async with closing(ours, theirs), BufStream(ours) as stream:
        stream.write(b"first, ")
        with trio.move_on_after(0.01) as scope:
            await stream.send_eof()
        assert scope.cancelled_caught
        assert stream.unsent == b"first, "
        stream.write(b"second")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_eof)
            assert (await receive_to_the_end(theirs)).lstrip(b"\0") == b"first, second"


async def test_an_end_cancelled_below_was_not_announced():
    """The bytes are sent; the end is, by the next."""

    class Slow(Null):
        waits = True

        async def send_eof(self):
            if self.waits:
                await trio.sleep_forever()
            await trio.lowlevel.checkpoint()

    sink = Slow()
    async with BufStream(sink) as stream:
        with trio.move_on_after(0.01):
            await stream.send_eof()
        stream.write(b"more")
        await stream.flush()
        sink.waits = False
        await stream.send_eof()
        with pytest.raises(trio.ClosedResourceError):
            stream.write(b"more")


# Giving back


async def test_the_stream_is_given_back_with_what_was_not_read():
    """Flushed and open, and this is over."""
    one, other = trio.socket.socketpair()
    ours, b = trio.SocketStream(one), trio.SocketStream(other)
    async with closing(ours, b):
        await b.send_all(b"line\nrest")
        stream = BufStream(ours)
        assert await stream.read_line() == b"line"
        stream.write(b"request")
        with trio.testing.assert_checkpoints():
            inner, rest = await stream.into_inner()
        assert inner is ours
        assert rest == b"rest"
        assert await b.receive_some() == b"request"
        for call in (stream.read_line, stream.flush, stream.drain, stream.into_inner):
            with pytest.raises(trio.ClosedResourceError):
                await call()
        with pytest.raises(trio.ClosedResourceError):
            stream.write(b"x")
        await stream.aclose()
        await ours.send_all(b"still open")
        assert await b.receive_some() == b"still open"


async def test_a_stream_that_cannot_be_emptied_is_not_given_back():
    """IntoInnerError has the stream and what was not sent; what was received is still there."""
    ours, theirs = await socketpair()
    async with closing(ours):
        await theirs.send_all(b"line\nrest")
        stream = BufStream(ours)
        assert await stream.read_line() == b"line"
        await theirs.aclose()
        stream.write(b"request")
        with pytest.raises(IntoInnerError) as caught:
            await stream.into_inner()
        assert caught.value.buffered is stream
        assert caught.value.unsent == b"request"
        assert isinstance(caught.value.__cause__, trio.BrokenResourceError)
        assert await stream.read_exactly(4) == b"rest"
        await trio.aclose_forcefully(stream)


async def test_one_that_was_given_back_is_forgotten_in_silence():
    """Nothing is left to warn of, and warnings are errors here."""
    ours, theirs = memory_pair()
    async with closing(ours, theirs):
        stream = BufStream(ours)
        stream.write(b"x")
        await stream.into_inner()
        del stream
        gc.collect()


async def test_closing_flushes_and_wakes_who_reads():
    """A task that reads gets ClosedResourceError when another closes, and the peer gets all."""
    ours, theirs = await socketpair()
    async with closing(theirs):
        stream = BufStream(ours)
        stream.write(b"goodbye")

        async def read():
            with pytest.raises(trio.ClosedResourceError):
                await stream.read_line()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            await stream.aclose()
        assert await receive_to_the_end(theirs) == b"goodbye"


# Files


async def test_seek_flushes_and_goes_on_elsewhere():
    """Reading and writing both; what was read ahead is dropped, what was written is there."""
    async with a_file(b"0123456789") as (file, raw):
        async with BufStream(file) as stream:
            assert await stream.read_exactly(2) == b"01"
            assert stream.tell() == 2
            stream.write(b"ab")
            with trio.testing.assert_checkpoints():
                assert await stream.seek(0) == 0
            assert stream.unsent_nbytes == 0
            assert await stream.read_exactly(4) == b"ab23"
            assert await stream.seek(2, io.SEEK_CUR) == 6
            stream.write(b"cd")
            assert await stream.seek(-5, io.SEEK_END) == 5
            assert await stream.read_to_end(100) == b"5cd89"
            with pytest.raises(ValueError, match="whence"):
                await stream.seek(0, 7)
            with pytest.raises(ValueError, match="offset"):
                await stream.seek(-1)
        raw.seek(0)
        assert raw.read() == b"ab2345cd89"


async def test_where_there_are_no_places_nothing_is_flushed():
    """UnsupportedOperation, and what was written is still to be sent."""
    ours, theirs = await socketpair()
    async with closing(ours, theirs), BufStream(ours) as stream:
        stream.write(b"x")
        with pytest.raises(io.UnsupportedOperation):
            await stream.seek(0)
        assert stream.unsent == b"x"


async def test_everything_is_a_checkpoint():
    """Reading what is at hand, sending nothing, and the ends."""
    ours, theirs = await socketpair()
    async with closing(theirs):
        stream = BufStream(ours, flush_before_waiting=True)
        await theirs.send_all(b"line\n" * 20)
        for call in (
            stream.fill_buf,
            stream.read_line,
            lambda: stream.read_exactly(5),
            lambda: stream.receive_view(5),
            lambda: stream.receive_some(5),
            lambda: stream.lines().receive(),
            lambda: stream.peek(5),
            stream.flush,
            stream.drain,
            lambda: stream.send_all(b"x"),
            stream.wait_send_all_might_not_block,
            stream.send_eof,
            stream.aclose,
            stream.aclose,
        ):
            with trio.testing.assert_checkpoints():
                await call()
