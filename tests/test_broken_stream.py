"""A connection that broke stays broken, gives what had arrived first, and holds no memory."""

from __future__ import annotations

import contextlib
import errno

import pytest
import trio
from pairs import (
    RECEIVING,
    SENDING,
    closing,
    each_of,
    put_now,
    receive_exactly,
    reset,
    tcp_pair,
    unix_pair,
)

from trio_bytesbuf import BadMemory, BytesView, GlobalPool, SocketStream
from trio_bytesbuf.io import _descriptor
from trio_bytesbuf.mem import Block, Memory
from trio_bytesbuf.testing import READS, SystemCalls, fail_at_each_call


@pytest.fixture(params=[True, False], ids=["in place", "through trio"])
def in_place(request, monkeypatch) -> bool:
    """With the calls that fill and send buffers in place, and as on a system without them."""
    monkeypatch.setattr(_descriptor, "CAN_READ_IN_PLACE", request.param)
    return request.param


def close_with_bytes_unread(stream: SocketStream, peer: SocketStream) -> None:
    put_now(peer, b"never read")
    stream.socket.close()


async def send_for_ever(stream: SocketStream) -> None:
    while True:
        await stream.send_all(b"x")


RESETS = [
    pytest.param(tcp_pair, lambda stream, _peer: reset(stream), id="TCP reset"),
    pytest.param(unix_pair, close_with_bytes_unread, id="Unix, closed with bytes unread"),
    pytest.param(tcp_pair, close_with_bytes_unread, id="TCP, closed with bytes unread"),
]


@pytest.mark.parametrize(("make", "break_it"), RESETS)
@each_of(RECEIVING)
async def test_a_reset_is_no_end_of_the_stream(make, break_it, call, in_place):
    """BrokenResourceError, each time: the kernel says it once and then pretends a clean end."""
    a, b = await make()
    async with closing(a, b):
        break_it(a, b)
        for _ in range(4):
            with pytest.raises(trio.BrokenResourceError):
                await call(b)


@pytest.mark.parametrize("first", RECEIVING.values(), ids=RECEIVING)
async def test_a_stream_stays_broken_whichever_method_met_the_reset(first, in_place):
    """What one receiving method was told, all others say as well."""
    a, b = await tcp_pair()
    async with closing(a, b):
        reset(a)
        with pytest.raises(trio.BrokenResourceError):
            await first(b)
        for call in RECEIVING.values():
            with pytest.raises(trio.BrokenResourceError):
                await call(b)
        with pytest.raises(trio.BrokenResourceError):
            await b.write_view(BytesView(b"x"))


@pytest.mark.parametrize("send", [SENDING["write_view"], SENDING["send_all"]], ids=["view", "all"])
@each_of(RECEIVING)
async def test_a_reset_that_a_send_was_told_of_is_no_clean_end_to_who_receives(
    send, call, in_place
):
    """The kernel tells a reset to whoever asks first; to the other half it is no end either."""
    a, b = await tcp_pair()
    async with closing(a, b):
        reset(a)
        with pytest.raises(trio.BrokenResourceError):
            await send(b)
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError):
                await call(b)


@pytest.mark.parametrize("nbytes", [1, 5000, 16_384, 16_384 + 65_536], ids=str)
@pytest.mark.parametrize("told_first", ["who receives", "who sends"])
async def test_what_arrived_before_a_reset_is_returned_first(nbytes, told_first, in_place):
    """Also when one call makes several reads and the last of them meets the reset."""
    a, b = await tcp_pair()
    async with closing(a, b):
        put_now(a, bytes(nbytes))
        reset(a)
        if told_first == "who sends":
            with pytest.raises(trio.BrokenResourceError):
                await b.send_all(b"x")
        assert await receive_exactly(b, nbytes) == bytes(nbytes)
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError):
                await b.receive_view()


@pytest.mark.counts_memory
@pytest.mark.parametrize("nbytes", [16_384, 16_384 + 65_536], ids=["one read", "two reads"])
async def test_a_reset_that_a_later_read_of_the_same_call_meets_is_for_the_next_call(nbytes):
    """The reads before it were full, so there is one more; what they brought is returned."""
    a, b = await tcp_pair()
    async with closing(a, b):
        put_now(a, bytes(nbytes))
        reset(a)
        assert len(await b.receive_view()) == nbytes
        for _ in range(3):
            with pytest.raises(trio.BrokenResourceError):
                await b.receive_view()


async def test_a_peer_that_finished_and_left_is_a_clean_end_even_if_nobody_listens_to_us(in_place):
    """Sending fails, since the peer is gone; but it had sent its end, and receiving says so."""
    a, b = await tcp_pair()
    async with closing(a, b):
        put_now(a, b"all I had to say")
        await a.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await send_for_ever(b)
        assert await b.receive_view() == b"all I had to say"
        assert not await b.receive_view()


async def test_a_broken_stream_keeps_no_block(in_place):
    """What the stream remembers of an error does not hold the memory of the failed receive."""
    pool = GlobalPool()
    a, b = await tcp_pair(pool)
    async with closing(a, b):
        put_now(a, bytes(16_384 + 65_536))
        reset(a)
        assert await receive_exactly(b, 16_384 + 65_536)
        with contextlib.suppress(trio.BrokenResourceError):
            await b.receive_view()
        with contextlib.suppress(trio.BrokenResourceError):
            await b.receive_view()
        assert pool.statistics().lent_nbytes == 0


async def test_a_broken_stream_is_no_cycle_for_the_collector():
    """The error that is remembered does not refer back to the stream."""
    a, b = await tcp_pair()
    async with closing(a, b):
        reset(a)
        with contextlib.suppress(trio.BrokenResourceError):
            await b.receive_view()
        trace = b.__dict__.values()
        assert not any(isinstance(kept, BaseException) for kept in trace)


async def test_the_error_says_why():
    """The system's own error is the cause."""
    a, b = await tcp_pair()
    async with closing(a, b):
        reset(a)
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError) as info:
                await b.receive_view()
            assert isinstance(info.value.__cause__, ConnectionResetError)
            assert info.value.__cause__.errno == errno.ECONNRESET


# Errors that pass, as the system's lack of memory does


def failing(number: int, of: object, **options: object) -> SystemCalls:
    return SystemCalls(number, of=of, **options)


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENOMEM, errno.ECONNRESET])
@pytest.mark.parametrize("how", ["write_view", "send_all", "write_parts"])
async def test_nothing_is_sent_behind_a_send_that_failed_half_way(number, how):
    """The peer would take what comes then for what was missing; nor is it told of an end."""

    @contextlib.asynccontextmanager
    async def pair():
        streams = await tcp_pair()
        async with closing(*streams):
            yield streams

    async def send(streams) -> None:
        await getattr(streams[0], how)([b"first"] if how == "write_parts" else BytesView(b"first"))

    async def nothing_comes_behind(streams, attempt) -> None:
        a, b = streams
        if attempt.error is None:
            return
        assert isinstance(attempt.error, trio.BrokenResourceError)
        for call in (
            a.send_all(b"second"),
            a.write_view(BytesView(b"second")),
            a.send_all(b""),
            a.send_eof(),
        ):
            with pytest.raises(trio.BrokenResourceError):
                await call
        assert a._write_now(BytesView(b"second")) == 0
        put_now(b, b"still to be received")
        assert await a.receive_view() == b"still to be received"
        await a.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await a.send_all(b"second")
        assert await b.read_to_end(100) == b""

    fault = failing(number, {"writev"})
    table = await fail_at_each_call(pair, send, fault, check=nothing_comes_behind)
    assert table.failed == 1


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENOMEM, errno.ECONNRESET])
@each_of(RECEIVING)
async def test_who_was_told_when_receiving_is_told_again(number, call):
    """Also if the system has forgotten it, and something has arrived since."""

    @contextlib.asynccontextmanager
    async def pair():
        streams = await tcp_pair()
        async with closing(*streams):
            put_now(streams[0], b"x")
            yield streams

    async def receive(streams) -> None:
        await call(streams[1])

    async def is_told_again(streams, attempt) -> None:
        for each in RECEIVING.values() if attempt.error is not None else ():
            with pytest.raises(trio.BrokenResourceError):
                await each(streams[1])

    table = await fail_at_each_call(pair, receive, failing(number, READS), check=is_told_again)
    assert table.failed >= 1


class ComplainsOnce(Memory):
    """Memory of small blocks that is out of order once, at the second block it is asked for."""

    asked = 0

    def blocks(self, nbytes, /):
        self.asked += 1
        if self.asked == 2:
            raise BadMemory(repr(self), "is out of order")
        return [Block(bytearray(4096)) for _ in range(-(-nbytes // 4096))]


async def test_what_a_memory_complains_of_after_the_first_bytes_is_said_next_time():
    """The bytes that had come are returned first, then the complaint is raised, then the rest."""
    a, b = await unix_pair(memory=ComplainsOnce())
    async with closing(a, b):
        await a.send_all(bytes(10_000))
        assert len(await b.receive_view()) == 4096
        with pytest.raises(BadMemory, match="is out of order"):
            await b.receive_view()
        assert len(await receive_exactly(b, 10_000 - 4096)) == 10_000 - 4096
