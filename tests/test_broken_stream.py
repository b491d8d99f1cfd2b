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

from trio_bytesbuf import BytesView, GlobalPool, SocketStream
from trio_bytesbuf.io import _descriptor


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
