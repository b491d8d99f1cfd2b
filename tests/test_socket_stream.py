"""`SocketStream` keeps the promises of a trio stream: checks, errors, checkpoints, figures."""

from __future__ import annotations

import socket as stdlib_socket

import pytest
import trio
import trio.testing
from pairs import (
    MAKERS,
    MEMORIES,
    MEMORY_IDS,
    RECEIVING,
    SENDING,
    Steps,
    ThroughViews,
    clog,
    closing,
    each_of,
    put_now,
    receive_exactly,
    reset,
    small_buffers,
    socketpair,
    tcp_pair,
)

from trio_bytesbuf import BytesBuf, BytesView, SocketStream
from trio_bytesbuf.io import _descriptor
from trio_bytesbuf.mem import PlainMemory
from trio_bytesbuf.testing import FixedBlockMemory

every_maker = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
every_memory = pytest.mark.parametrize("memory", MEMORIES, ids=MEMORY_IDS)


@pytest.fixture(params=[True, False], ids=["in place", "through trio"])
def in_place(request, monkeypatch) -> bool:
    """With the calls that fill and send buffers in place, and as on a system without them."""
    monkeypatch.setattr(_descriptor, "CAN_READ_IN_PLACE", request.param)
    return request.param


# trio's own checks


def clogged(make, wrap):
    async def make_clogged():
        a, b = await make()
        await clog(a)
        await clog(b)
        return wrap(a), wrap(b)

    return make_clogged


def open_ended(make, wrap):
    async def make_open():
        a, b = await make()
        return wrap(a), wrap(b)

    return make_open


def itself(stream: SocketStream) -> SocketStream:
    return stream


@every_maker
@pytest.mark.parametrize("wrap", [itself, ThroughViews], ids=["as bytes", "as views"])
async def test_a_socket_stream_passes_the_checks_of_a_half_closeable_stream(make, wrap, in_place):
    """Trio's checks, the two-way and the one-way ones included, also with clogged streams."""
    await trio.testing.check_half_closeable_stream(open_ended(make, wrap), clogged(make, wrap))


@every_memory
async def test_a_socket_stream_passes_the_one_way_checks_over_every_memory(memory):
    """They hold whatever memory views are received into, one-byte blocks included."""

    async def make():
        a, b = await socketpair(memory())
        small_buffers(a)
        small_buffers(b)
        return a, b

    makers = open_ended(make, ThroughViews), clogged(make, ThroughViews)
    await trio.testing.check_one_way_stream(*makers)


@pytest.mark.parametrize(
    "memory", [lambda: FixedBlockMemory(999), PlainMemory], ids=["blocks of 999", "plain"]
)
async def test_a_socket_stream_passes_all_checks_over_memories_that_are_no_pool(memory):
    """The two-way check moves 2 MiB, so these blocks are not quite as small as they could be."""

    async def make():
        return await socketpair(memory())

    makers = open_ended(make, ThroughViews), clogged(make, ThroughViews)
    await trio.testing.check_half_closeable_stream(*makers)


@pytest.mark.parametrize(
    "check",
    [trio.testing.check_one_way_stream, trio.testing.check_two_way_stream],
    ids=lambda check: check.__name__,
)
async def test_a_socket_stream_passes_the_smaller_checks_too(check):
    """A stream that can be closed by halves is also a two-way and a one-way stream."""
    await check(open_ended(socketpair, itself), clogged(socketpair, itself))


# What it is made of


async def test_the_socket_underneath_is_the_one_that_was_given():
    """`socket` is the trio socket, also when a `trio.SocketStream` was given."""
    a, b = trio.socket.socketpair()
    theirs = trio.SocketStream(b)
    async with closing(SocketStream(a), SocketStream(theirs)) as (one, two):
        assert one.socket is a
        assert two.socket is b is theirs.socket


async def test_closing_a_wrapped_trio_stream_closes_both():
    """The socket is used by both: after either is closed, the other says so."""
    a, b = trio.socket.socketpair()
    theirs = trio.SocketStream(a)
    async with closing(SocketStream(theirs), SocketStream(b)) as (ours, _):
        await theirs.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await ours.receive_view()
        with pytest.raises(trio.ClosedResourceError):
            await ours.write_view(BytesView(b"x"))


def test_a_socket_of_the_standard_library_is_refused():
    """Only trio's sockets can be waited for."""
    a, b = stdlib_socket.socketpair()
    with a, b, pytest.raises(TypeError):
        SocketStream(a)


@pytest.mark.parametrize("wrong", [None, 3, "socket"], ids=repr)
def test_what_is_no_socket_at_all_is_refused(wrong):
    """TypeError, before anything is asked of it."""
    with pytest.raises(TypeError):
        SocketStream(wrong)


async def test_a_datagram_socket_is_refused():
    """A stream needs a socket of type SOCK_STREAM."""
    with (
        trio.socket.socket(type=trio.socket.SOCK_DGRAM) as socket,
        pytest.raises(ValueError, match="SOCK_STREAM"),
    ):
        SocketStream(socket)


async def test_an_unconnected_socket_is_broken_from_the_beginning(in_place):
    """Whatever is asked of a socket that was never connected, the answer is BrokenResourceError."""
    async with closing(SocketStream(trio.socket.socket())) as (stream,):
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_view()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await stream.write_view(BytesView(b"x"))
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_eof()


async def test_socket_options_pass_through_in_every_form():
    """`setsockopt` and `getsockopt` take what trio's take."""
    level, option = stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NODELAY
    a, b = await tcp_pair()
    async with closing(a, b):
        assert a.getsockopt(level, option), "trio switches it on"
        a.setsockopt(level, option, 0)
        assert not a.getsockopt(level, option)
        a.setsockopt(level, option, (1).to_bytes(4, "little"))
        assert a.getsockopt(level, option)
        assert isinstance(a.getsockopt(level, option, 4), bytes)
        with pytest.raises(OSError, match=r"."):
            a.setsockopt(level, option, None, 0)


async def test_its_repr_names_the_socket():
    """Enough to find a stream in a log."""
    a, b = await tcp_pair()
    async with closing(a, b):
        assert str(a.socket.getsockname()[1]) in repr(a)


# Wrong arguments

WRONG_MAX_BYTES = [
    pytest.param(0, ValueError, id="zero"),
    pytest.param(-1, ValueError, id="negative"),
    pytest.param(1.5, TypeError, id="float"),
    pytest.param(4.0, TypeError, id="whole float"),
    pytest.param("4", TypeError, id="str"),
    pytest.param(b"4", TypeError, id="bytes"),
    pytest.param(int, TypeError, id="a class"),
]


@pytest.mark.parametrize(("wrong", "error"), WRONG_MAX_BYTES)
@pytest.mark.parametrize("method", ["receive_view", "receive_some", "read_at_most_into"])
async def test_a_wrong_max_bytes_is_refused_and_takes_nothing(method, wrong, error, in_place):
    """The bytes that are at hand are still there afterwards."""
    a, b = await socketpair()
    async with closing(a, b):
        put_now(a, b"safe")
        arguments = (wrong, BytesBuf()) if method == "read_at_most_into" else (wrong,)
        with pytest.raises(error):
            await getattr(b, method)(*arguments)
        assert await receive_exactly(b, 4) == b"safe"


@pytest.mark.parametrize(("wrong", "error"), WRONG_MAX_BYTES)
async def test_views_with_a_wrong_max_bytes_are_refused_by_the_first_step(wrong, error):
    """As `receive_view(max_bytes)` would be."""
    a, b = await socketpair()
    async with closing(a, b):
        put_now(a, b"safe")
        with pytest.raises(error):
            await anext(b.views(wrong))
        assert await receive_exactly(b, 4) == b"safe"


async def test_max_bytes_may_be_anything_that_is_an_integer():
    """The integers of numpy, for example: whatever has `__index__`."""

    class Three:
        def __index__(self) -> int:
            return 3

    a, b = await socketpair()
    async with closing(a, b):
        put_now(a, b"abcdef")
        assert await b.receive_view(Three()) == b"abc"
        assert await b.receive_view(True) == b"d"


@pytest.mark.parametrize("wrong", [b"bytes", bytearray(b"x"), None, "text", [b"x"]], ids=repr)
async def test_write_view_refuses_what_is_no_view(wrong):
    """TypeError, and nothing was sent."""
    a, b = await socketpair()
    async with closing(a, b):
        with pytest.raises(TypeError, match="BytesView"):
            await a.write_view(wrong)
        assert a.statistics().send_calls == 0


@pytest.mark.parametrize("wrong", ["text", None, 3, memoryview(bytes(8))[::2]], ids=repr)
async def test_send_all_refuses_what_has_no_flat_bytes(wrong):
    """TypeError, and nothing was sent."""
    a, b = await socketpair()
    async with closing(a, b):
        with pytest.raises(TypeError):
            await a.send_all(wrong)
        assert a.statistics().send_calls == 0


# Every call is a checkpoint


CHECKPOINTS_WHEN_CLOSED = [*RECEIVING, *SENDING]
CHECKPOINTS_WHEN_CLOSED.remove("wait_send_all_might_not_block")  # trio's own raises at once


@each_of(RECEIVING)
async def test_receiving_what_is_at_hand_is_a_checkpoint(call, in_place):
    """However quick it is, other tasks get their turn, and a cancelled task takes nothing."""
    a, b = await socketpair()
    async with closing(a, b):
        put_now(a, b"0123456789")
        with trio.CancelScope() as scope:
            scope.cancel()
            await call(b)
        assert scope.cancelled_caught
        assert b.statistics().received_nbytes == 0
        with trio.testing.assert_checkpoints():
            await call(b)
        assert b.statistics().received_nbytes > 0


@each_of(RECEIVING)
async def test_receiving_the_end_is_a_checkpoint_each_time(call, in_place):
    """A loop around the end of a stream does not stop the world."""
    a, b = await socketpair()
    async with closing(a, b):
        await a.send_eof()
        for _ in range(3):
            with trio.testing.assert_checkpoints():
                assert not await call(b)


@each_of(SENDING)
async def test_sending_is_a_checkpoint(call, in_place):
    """Also where there is nothing to wait for, or nothing to send; cancelled, it sends nothing."""
    a, b = await socketpair()
    async with closing(a, b):
        with trio.CancelScope() as scope:
            scope.cancel()
            await call(a)
        assert scope.cancelled_caught
        assert a.statistics().sent_nbytes == 0
        with trio.testing.assert_checkpoints():
            await call(a)


async def test_closing_is_a_checkpoint_each_time():
    """Closing twice is silent, and a checkpoint both times."""
    a, b = await socketpair()
    async with closing(a, b):
        for _ in range(2):
            with trio.testing.assert_checkpoints():
                await a.aclose()


@each_of({name: RECEIVING.get(name) or SENDING[name] for name in CHECKPOINTS_WHEN_CLOSED})
async def test_refusing_because_the_stream_is_closed_is_a_checkpoint(call, in_place):
    """A loop that ignores the error still lets other tasks run."""
    a, b = await socketpair()
    async with closing(a, b):
        await a.aclose()
        with Steps() as steps, pytest.raises(trio.ClosedResourceError):
            await call(a)
        assert steps.taken


@each_of(RECEIVING)
async def test_refusing_because_the_connection_is_broken_is_a_checkpoint(call, in_place):
    """Each time it is asked."""
    a, b = await tcp_pair()
    async with closing(a, b):
        reset(a)
        for _ in range(3):
            with Steps() as steps, pytest.raises(trio.BrokenResourceError):
                await call(b)
            assert steps.taken


# Closed


@each_of(RECEIVING | SENDING)
async def test_a_closed_stream_refuses_everything(call, in_place):
    """ClosedResourceError, however often one tries."""
    a, b = await socketpair()
    async with closing(a, b):
        put_now(b, b"unread")
        await a.aclose()
        for _ in range(2):
            with pytest.raises(trio.ClosedResourceError):
                await call(a)


@every_maker
@each_of(RECEIVING)
async def test_closing_wakes_a_task_that_waits_for_bytes(make, call, in_place):
    """It gets ClosedResourceError, not silence."""
    a, b = await make()
    async with closing(a, b), trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await call(b)

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await b.aclose()


@every_maker
async def test_closing_wakes_a_task_that_waits_to_send(make, in_place):
    """It gets ClosedResourceError, not silence."""
    a, b = await make()
    async with closing(a, b), trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await a.write_view(BytesView(bytes(1 << 26)))

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await a.aclose()


@pytest.mark.parametrize("method", ["write_view", "send_all"])
@pytest.mark.parametrize("data", [b"", b"x"], ids=["empty", "one byte"])
async def test_nothing_can_be_sent_after_the_end_was_announced(method, data, in_place):
    """ClosedResourceError after `send_eof`, for empty data too; and a checkpoint."""
    a, b = await socketpair()
    async with closing(a, b):
        await a.send_eof()
        with Steps() as steps, pytest.raises(trio.ClosedResourceError, match="send_eof"):
            await getattr(a, method)(data if method == "send_all" else BytesView(data))
        assert steps.taken


async def test_announcing_the_end_twice_is_harmless_and_receiving_goes_on(in_place):
    """The other direction does not notice."""
    a, b = await socketpair()
    async with closing(a, b):
        await a.send_eof()
        await a.send_eof()
        assert not await b.receive_view()
        await b.write_view(BytesView(b"still here"))
        assert await a.receive_view() == b"still here"


# Busy


@each_of(RECEIVING)
async def test_a_second_receiving_task_is_refused_at_once(call, in_place):
    """BusyResourceError; the first one goes on waiting and gets its bytes."""
    a, b = await socketpair()
    async with closing(a, b), trio.open_nursery() as nursery:
        got = []

        async def first() -> None:
            got.append(await b.receive_view())

        nursery.start_soon(first)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError, match="receiving"):
            await call(b)
        put_now(a, b"for the first")
        await trio.testing.wait_all_tasks_blocked()
        assert got == [b"for the first"]


@each_of(SENDING)
async def test_a_second_sending_task_is_refused_at_once(call, in_place):
    """BusyResourceError for whatever belongs to the sending half."""
    a, b = await socketpair()
    async with closing(a, b):
        await clog(a)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.write_view, BytesView(b"first"))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError, match="sending"):
                await call(a)
            nursery.cancel_scope.cancel()


async def test_one_task_may_receive_while_another_sends(in_place):
    """The halves are separate."""
    a, b = await socketpair()
    async with closing(a, b):
        await clog(a)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.write_view, BytesView(b"first"))
            await trio.testing.wait_all_tasks_blocked()
            put_now(b, b"the other way")
            assert await a.receive_view() == b"the other way"
            nursery.cancel_scope.cancel()


async def test_a_refused_or_cancelled_call_leaves_the_half_free(in_place):
    """What ended, however it ended, is not in the way of the next call."""
    a, b = await socketpair()
    async with closing(a, b):
        with trio.move_on_after(0):
            await b.receive_view()
        with pytest.raises(ValueError, match="max_bytes"):
            await b.receive_view(0)
        put_now(a, b"x")
        assert await b.receive_view() == b"x"


# Figures


@pytest.mark.counts_memory
async def test_statistics_count_bytes_and_calls_exactly(monkeypatch):
    """Each figure, after known traffic."""
    a, b = await socketpair()
    async with closing(a, b):
        nothing = a.statistics()
        assert (nothing.received_nbytes, nothing.receive_calls) == (0, 0)
        assert (nothing.sent_nbytes, nothing.send_calls, nothing.copied_nbytes) == (0, 0, 0)
        assert nothing.receive_size_nbytes == 16_384

        await a.write_view(BytesView(b"one"))
        await a.send_all(b"")
        await a.send_all(b"three")
        sent = a.statistics()
        assert (sent.sent_nbytes, sent.send_calls, sent.copied_nbytes) == (8, 2, 0)

        await a.write_view(BytesView.from_views([BytesView(b"ab"), BytesView(b"cde")]))
        joined = a.statistics()
        assert (joined.sent_nbytes, joined.send_calls, joined.copied_nbytes) == (13, 3, 5)

        assert len(await b.receive_view(4)) == 4
        assert len(await b.receive_some(4)) == 4
        assert len(await b.receive_view()) == 5
        await a.send_eof()
        assert not await b.receive_view()
        assert not await b.receive_some()
        received = b.statistics()
        assert (received.received_nbytes, received.receive_calls) == (13, 5)
        assert received.copied_nbytes == 0
        assert a.statistics() == joined


async def test_statistics_through_trio_count_the_same():
    """The way without in-place calls has the same figures for the same traffic."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_descriptor, "CAN_READ_IN_PLACE", False)
        a, b = await socketpair()
        async with closing(a, b):
            await a.write_view(BytesView(b"one"))
            await a.send_all(b"three")
            assert await receive_exactly(b, 8) == b"onethree"
            await a.send_eof()
            assert not await b.receive_view()
            assert (a.statistics().sent_nbytes, a.statistics().send_calls) == (8, 2)
            assert (b.statistics().received_nbytes, b.statistics().receive_calls) == (8, 2)


async def test_nothing_is_filled_for_a_stream_that_cannot_send(in_place) -> None:
    """What `fill` takes from somewhere would be lost."""
    a, b = await socketpair()
    async with closing(a, b):
        await clog(a)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.write_view, BytesView(b"waits"))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await a.prepare_and_write(5, lambda _: pytest.fail("it was called"))
            nursery.cancel_scope.cancel()
        await a.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await a.prepare_and_write(5, lambda _: pytest.fail("it was called"))
