"""`flush_before_waiting`: nobody waits for the reply to a request that was never sent."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from pairs import clog, closing, noise, receive_exactly, small_buffers, socketpair

from trio_bytesbuf import BytesBuf, BytesView, SocketStream
from trio_bytesbuf.buffered import BufStream, LengthPrefixed, Netstring
from trio_bytesbuf.io import GuardedStream, MinRate
from trio_bytesbuf.testing import lockstep_pair, memory_pair

REQUEST = b"request\n"
REPLY = b"5:reply,\nsecond line\n"
IN_TIME_SECONDS = 5

# Every way to wait for the peer, and what it gives of a reply


async def into_builder(stream: BufStream, name: str, *args: object) -> bytes:
    """What a read into a builder appends."""
    buf = BytesBuf()
    call = getattr(stream, name)
    await (call(*args, buf) if args else call(buf))
    return bytes(buf.consume_all())


async def into_bytes(read: Awaitable[BytesBuf]) -> bytes:
    """What a read returns in a builder."""
    return bytes((await read).consume_all())


WAYS: dict[str, tuple[Callable[[BufStream], Awaitable[object]], object]] = {
    "receive_view": (lambda s: s.receive_view(7), b"5:reply"),
    "receive_view of all": (lambda s: s.receive_view(), REPLY),
    "receive_some": (lambda s: s.receive_some(7), b"5:reply"),
    "read_any": (lambda s: into_bytes(s.read_any()), REPLY),
    "read_at_most": (lambda s: s.read_at_most(7), b"5:reply"),
    "read_exactly": (lambda s: s.read_exactly(7), b"5:reply"),
    "read_contiguous": (lambda s: s.read_contiguous(7), b"5:reply"),
    "read_to_end": (lambda s: s.read_to_end(1000), REPLY),
    "read_at_most_into": (lambda s: into_builder(s, "read_at_most_into", 7), b"5:reply"),
    "read_more_into": (lambda s: into_builder(s, "read_more_into"), REPLY),
    "read_exactly_into": (lambda s: into_builder(s, "read_exactly_into", 7), b"5:reply"),
    "a step of views": (lambda s: anext(s.views(7)), b"5:reply"),
    "a step of chunks": (lambda s: anext(s.chunks(7)), b"5:reply"),
    "a step of trio's iteration": (lambda s: anext(aiter(s)), REPLY),
    "fill_buf": (lambda s: s.fill_buf(), REPLY),
    "peek": (lambda s: s.peek(7), b"5:reply"),
    "read_until": (lambda s: s.read_until(b","), b"5:reply,"),
    "skip_until": (lambda s: s.skip_until(b","), 8),
    "read_line": (lambda s: s.read_line(), b"5:reply,"),
    "a line": (lambda s: s.lines().receive(), b"5:reply,"),
    "a line of text": (lambda s: s.text_lines().receive(), "5:reply,"),
    "a batch of lines": (lambda s: s.lines().receive_batch(1), [b"5:reply,"]),
    "a step of batches": (lambda s: anext(s.lines().batches(1)), [b"5:reply,"]),
    "a frame": (lambda s: s.frames(Netstring()).receive(), b"reply"),
    "skipping a frame": (lambda s: s.frames(Netstring()).skip(), None),
}


async def served(peer) -> None:
    """Read a request, and only then reply."""
    assert await peer.read_exactly(len(REQUEST)) == REQUEST
    await peer.write_view(BytesView(REPLY))
    await peer.send_eof()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("counts", [True, False], ids=["a socket", "in memory"])
async def test_a_request_is_sent_before_its_reply_is_waited_for(way, counts):
    """By every read and every channel, over a sink that counts and over one that does not."""
    ours, theirs = await socketpair() if counts else memory_pair()
    call, expected = WAYS[way]
    async with closing(ours, theirs):
        stream = BufStream(ours, flush_before_waiting=True)
        assert stream._sink._counts_exactly is counts
        with trio.fail_after(IN_TIME_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(served, theirs)
                stream.write(REQUEST)
                found = await call(stream)
        assert found == expected
        assert stream.unsent_nbytes == 0
        await stream.aclose()


@pytest.mark.parametrize("way", WAYS)
async def test_a_request_that_is_being_sent_slowly_is_sent_while_its_reply_is_waited_for(way):
    """By every read and every channel, when the peer takes it bit by bit."""
    ours, theirs = await socketpair()
    await clog(ours)
    big = noise(500_000)
    call, expected = WAYS[way]

    async def serve() -> None:
        arrived = bytearray()
        while not arrived.endswith(REQUEST):
            arrived += await theirs.receive_some(50_000)
        assert arrived.endswith(big + REQUEST)
        await theirs.write_view(BytesView(REPLY))
        await theirs.send_eof()

    async with closing(ours, theirs):
        stream = BufStream(ours, flush_before_waiting=True)
        with trio.fail_after(IN_TIME_SECONDS):
            async with trio.open_nursery() as nursery:
                stream.write(big)
                stream.write(REQUEST)
                nursery.start_soon(serve)
                found = await call(stream)
            assert found == expected
            await stream.aclose()


async def test_without_it_nothing_is_sent_by_reading():
    """The peer gets the request when it is flushed, and not before."""
    ours, theirs = await socketpair()
    async with closing(ours, theirs), BufStream(ours) as stream, trio.open_nursery() as nursery:
        stream.write(REQUEST)
        nursery.start_soon(stream.read_line)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert stream.unsent == REQUEST
        await stream.flush()
        await served(theirs)


async def test_what_is_at_hand_is_read_without_sending_anything():
    """A read that does not wait does not send."""
    ours, theirs = await socketpair()
    async with closing(ours, theirs), BufStream(ours, flush_before_waiting=True) as stream:
        await theirs.send_all(b"one\ntwo\n")
        assert await stream.read_line() == b"one"
        stream.write(b"reply to one")
        assert await stream.read_line() == b"two"
        assert stream.unsent == b"reply to one"


async def test_a_read_is_not_refused_because_another_task_flushes():
    """It waits for its bytes, and the other task goes on sending, each byte once."""
    ours, theirs = await socketpair()
    await clog(ours)
    data = noise(100_000)
    async with closing(ours, theirs):
        stream = BufStream(ours, flush_before_waiting=True)
        stream.write(data)
        lines = []

        async def read() -> None:
            lines.append(await stream.read_line())

        with trio.fail_after(IN_TIME_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.flush)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(read)
                await trio.testing.wait_all_tasks_blocked()
                assert stream.unsent_nbytes
                await theirs.send_all(b"line\n")
                await trio.testing.wait_all_tasks_blocked()
                assert lines == [b"line"]
                arrived = bytearray()
                while len(arrived) < len(data) or not arrived.endswith(data):
                    arrived += await theirs.receive_some()
            await stream.aclose()
            assert not await theirs.receive_some()


async def test_a_flush_is_not_refused_because_another_task_reads():
    """One task may read while another writes, and that the first sends as well is its affair."""
    ours, theirs = await socketpair()
    await clog(ours)
    async with closing(ours, theirs):
        stream = BufStream(ours, flush_before_waiting=True)
        stream.write(REQUEST)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.read_line)
            await trio.testing.wait_all_tasks_blocked()
            try:
                with trio.move_on_after(0.01):
                    await stream.flush()
            except trio.BusyResourceError as exc:
                refused = exc
            else:
                refused = None
            nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(stream)
        assert refused is None


@pytest.mark.parametrize("way", ["read_exactly", "read_contiguous"])
async def test_a_peer_that_reads_only_after_it_was_read_from_blocks_nobody(way):
    """4 MiB each way, over sockets that hold little, and both sides only ever read and write."""
    nbytes = 4 << 20
    ours, theirs = await socketpair()
    for end in (ours, theirs):
        small_buffers(end)
    data = [noise(nbytes, seed) for seed in (1, 2)]
    async with closing(ours, theirs):
        stream = BufStream(ours, flush_before_waiting=True, max_nbytes=nbytes)

        async def peer() -> None:
            await theirs.write_view(BytesView(data[1]))  # all of it, and reads nothing before
            assert await theirs.read_exactly(nbytes) == data[0]

        with trio.fail_after(2 * IN_TIME_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer)
                stream.write(data[0])
                assert await getattr(stream, way)(nbytes) == data[1]
                await stream.flush()
        await stream.aclose()


# What goes wrong with sending is no affair of reading


async def broken(ours: SocketStream, theirs: SocketStream) -> None:
    """A peer that takes nothing more, and still sends."""
    theirs.socket.shutdown(trio.socket.SHUT_RD)


async def announced(ours: SocketStream, theirs: SocketStream) -> None:
    """Somebody has announced the end, below the buffer."""
    await ours.send_eof()


@pytest.mark.parametrize("how", [broken, announced])
@pytest.mark.parametrize("way", ["read_line", "read_exactly"])
async def test_that_sending_fails_does_not_come_out_of_reading(how, way):
    """The read gets what has arrived; the next flush says what is the matter."""
    ours, theirs = await socketpair()
    async with closing(ours, theirs):
        await how(ours, theirs)
        stream = BufStream(ours, flush_before_waiting=True)
        stream.write(REQUEST)
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                await trio.testing.wait_all_tasks_blocked()
                await theirs.send_all(b"line\n")

            nursery.start_soon(send)
            if way == "read_line":
                assert await stream.read_line() == b"line"
            else:
                assert await stream.read_exactly(5) == b"line\n"
        assert stream.unsent == REQUEST
        for _ in range(2):
            with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
                await stream.flush()
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.aclose()


async def test_that_a_guard_gives_up_sending_does_not_come_out_of_reading():
    """`PeerTooSlow`, an error that is not trio's, stays where sending is; the flush raises it."""
    ours, theirs = await socketpair()
    await clog(ours)
    async with closing(ours, theirs):
        guard = GuardedStream(ours, receiving=MinRate(1, 60), sending=MinRate(1, 0.01))
        stream = BufStream(guard, flush_before_waiting=True)
        stream.write(REQUEST)
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                await trio.sleep(0.05)
                await theirs.send_all(b"line\n")

            nursery.start_soon(send)
            assert await stream.read_line() == b"line"
        assert stream.unsent == REQUEST
        with pytest.raises(trio.TooSlowError):
            await stream.flush()
        await trio.aclose_forcefully(stream)


class Failing(trio.abc.Stream):
    """A stream of somebody else whose sending fails in its own words."""

    async def send_all(self, _data: object) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError(28, "no space left")

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, _max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return b"line\n"

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_that_a_foreign_stream_fails_in_its_own_words_does_not_come_out_of_reading():
    """The read goes on; the writer is spoiled, as the next flush says."""
    stream = BufStream(Failing(), flush_before_waiting=True)
    stream.write(REQUEST)
    assert await stream.read_line() == b"line"
    assert stream.unsent == REQUEST
    with pytest.raises(trio.BrokenResourceError):
        await stream.flush()
    await stream.aclose()


async def test_that_receiving_fails_is_raised_as_it_is():
    """An error of the source is no group because something was sent beside."""
    ours, theirs = await socketpair()
    await clog(ours)
    async with closing(ours, theirs):
        stream = BufStream(ours, flush_before_waiting=True)
        stream.write(REQUEST)
        async with trio.open_nursery() as nursery:

            async def close() -> None:
                await trio.testing.wait_all_tasks_blocked()
                await trio.aclose_forcefully(stream)  # else it sends what it has, and nobody reads

            nursery.start_soon(close)
            with pytest.raises(trio.ClosedResourceError):
                await stream.read_line()


async def test_bytes_that_came_are_not_lost_when_the_read_is_cancelled_at_that_moment():
    """Cancelled before, when, or after they came, beside a flush that waits: the next has them."""
    for turns in range(12):
        ours, theirs = await socketpair()
        await clog(ours)
        async with closing(ours, theirs):
            stream = BufStream(ours, flush_before_waiting=True)
            stream.write(REQUEST)
            lines = []

            async def read(stream=stream, lines=lines) -> None:
                lines.append(await stream.read_exactly(5))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await trio.testing.wait_all_tasks_blocked()
                await theirs.send_all(b"line\n")
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            if not lines:
                with trio.fail_after(IN_TIME_SECONDS):
                    assert await stream.read_exactly(5) == b"line\n"
            assert stream.unsent == REQUEST
            await trio.aclose_forcefully(stream)


async def test_reading_cancelled_again_and_again_sends_each_byte_once():
    """The flush beside a read is cancelled with it, and gone on with by the next."""
    ours, theirs = await socketpair()
    small_buffers(ours)
    data = noise(300_000)
    async with closing(ours, theirs):
        stream = BufStream(ours, flush_before_waiting=True)
        stream.write(data)
        arrived = b""
        while len(arrived) < len(data):
            with trio.move_on_after(0.001):
                await stream.read_line()
            assert data.endswith(bytes(stream.unsent))
            if stream.unsent_nbytes == len(data) - len(arrived):
                continue
            arrived += await receive_exactly(theirs, 1)
            arrived += await theirs.receive_some(7_000)
        assert arrived == data
        await stream.aclose()


async def test_two_ends_that_both_are_tied_talk():
    """Each sends what it has written when it waits for the other, over a stream without buffer."""
    ours, theirs = lockstep_pair()
    framing = LengthPrefixed(2)

    async def serve() -> None:
        async with BufStream(theirs, flush_before_waiting=True) as stream:
            sender = stream.frame_sender(framing)
            async for payload in stream.frames(framing):
                sender.write(bytes(payload)[::-1])

    with trio.fail_after(IN_TIME_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            async with BufStream(ours, flush_before_waiting=True) as stream:
                sender, replies = stream.frame_sender(framing), stream.frames(framing)
                for text in (b"one", b"two", b"three"):
                    sender.write(text)
                    assert await replies.receive() == text[::-1]


# Two tasks that both send

FIRST = noise(500_000, 7)


async def flushed(stream: BufStream) -> None:
    """Flush to the end."""
    await stream.flush()


async def drained(stream: BufStream) -> None:
    """Drain, which stops at the low water mark."""
    await stream.drain()


async def flushed_in_vain(stream: BufStream) -> None:
    """Flush, and give up at once."""
    with trio.move_on_after(0):
        await stream.flush()


async def waited_for_room(stream: BufStream) -> None:
    """Wait until sending might not block, and send nothing."""
    await stream.wait_send_all_might_not_block()


SENDERS = [flushed, drained, flushed_in_vain, waited_for_room]


@pytest.mark.parametrize("send", SENDERS)
@pytest.mark.parametrize("first", ["sender", "reader"])
async def test_a_request_is_sent_though_another_task_sends_less_than_that(send, first):
    """Whoever comes first, and however the other task stops sending."""
    ours, theirs = await socketpair()
    small_buffers(ours)
    await clog(ours)
    async with closing(ours, theirs):
        stream = BufStream(ours, flush_before_waiting=True)
        lines = []

        async def read() -> None:
            stream.write(REQUEST)
            lines.append(await stream.read_line())

        async def other() -> None:
            await send(stream)

        async def serve() -> None:
            arrived = bytearray()
            while not arrived.endswith(REQUEST):
                arrived += await theirs.receive_some(50_000)
            assert arrived.endswith(FIRST + REQUEST)
            await theirs.send_all(REPLY)

        stream.write(FIRST)
        with trio.fail_after(IN_TIME_SECONDS):
            async with trio.open_nursery() as nursery:
                for task in (other, read) if first == "sender" else (read, other):
                    nursery.start_soon(task)
                    await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(serve)
        assert lines == [b"5:reply,"]
        await stream.aclose()


class Gated(trio.abc.Stream):
    """A stream of somebody else, which takes what it is sent when it is told to."""

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.asked = bytearray()
        self.has_request = trio.Event()

    async def send_all(self, data: bytes | memoryview) -> None:
        await self.gate.wait()
        self.asked += data
        if self.asked.endswith(REQUEST):
            self.has_request.set()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, _max_bytes: int | None = None) -> bytes:
        await self.has_request.wait()
        return b"line\n"

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_over_a_foreign_stream_the_task_that_sends_sends_the_request_too():
    """It cannot be called back, so it goes on until nobody waits for a reply to what is there."""
    below = Gated()
    stream = BufStream(below, flush_before_waiting=True)
    stream.write(b"first")
    with trio.fail_after(IN_TIME_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.flush)
            await trio.testing.wait_all_tasks_blocked()
            stream.write(REQUEST)
            nursery.start_soon(stream.read_line)
            await trio.testing.wait_all_tasks_blocked(0.01)
            below.gate.set()
    assert below.asked == b"first" + REQUEST
    await stream.aclose()


async def test_a_drain_behind_a_read_that_has_sent_all_sends_nothing():
    """While it waits for its turn the buffer gets shorter than the low water mark."""
    below = Gated()
    stream = BufStream(below, flush_before_waiting=True)
    stream.write(FIRST + REQUEST)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.read_line)
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.start_soon(stream.drain)
        await trio.testing.wait_all_tasks_blocked(0.01)
        below.gate.set()
    assert below.asked == FIRST + REQUEST
    assert (stream.unsent_nbytes, stream.unsent) == (0, b"")
    await stream.aclose()


async def test_closing_sends_the_rest_of_what_a_read_was_sending():
    """`aclose` flushes, though a read is in the middle of that."""
    ours, theirs = await socketpair()
    await clog(ours)
    arrived = bytearray()

    async def receive() -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            async for data in theirs:
                arrived.extend(data)

    async with closing(ours, theirs):
        stream = BufStream(ours, flush_before_waiting=True)
        stream.write(FIRST)

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.read_line()

        with trio.fail_after(IN_TIME_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await trio.testing.wait_all_tasks_blocked()
                stream.write(REQUEST)
                nursery.start_soon(receive)
                await stream.aclose()
    assert arrived.endswith(FIRST + REQUEST)


async def test_what_is_no_error_comes_out_of_reading_in_no_group():
    """Neither an interrupt nor what somebody's source raises; and what it refers to is freed."""

    class Interrupted(SocketStream):
        async def _receive_view(self, _max_bytes: int | None) -> BytesView:
            await trio.testing.wait_all_tasks_blocked()
            raise KeyboardInterrupt

    below, theirs = trio.socket.socketpair()
    ours = Interrupted(trio.SocketStream(below))
    async with closing(ours, SocketStream(trio.SocketStream(theirs))):
        await clog(ours)
        stream = BufStream(ours, flush_before_waiting=True)
        stream.write(REQUEST)
        gc.collect()
        gc.disable()
        try:
            with pytest.raises(KeyboardInterrupt) as caught:
                await stream.read_line()
            await trio.aclose_forcefully(stream)
            seen = weakref.ref(stream)
            del stream, caught
            await trio.lowlevel.checkpoint()
            assert seen() is None
        finally:
            gc.enable()
