"""`relay`: bytes and ends pass both ways, errors end both directions, memory is bounded."""

from __future__ import annotations

import contextlib
import gc
import hashlib

import pytest
import trio
import trio.testing
from pairs import (
    Pair,
    big_buffers,
    clog,
    closing,
    noise,
    put_now,
    receive_exactly,
    receive_to_the_end,
    reset,
    socketpair,
    tcp_pair,
)

from trio_bytesbuf import BytesView, GlobalPool, SocketStream, relay
from trio_bytesbuf.io import (
    GuardedStream,
    MinRate,
    PeerTooSlow,
    Read,
    Write,
    _descriptor,
    from_trio,
)
from trio_bytesbuf.io._descriptor import DRAIN_NBYTES
from trio_bytesbuf.testing import FakeRead, FakeWrite, lockstep_pair, memory_pair


@contextlib.asynccontextmanager
async def relayed(make=socketpair, memory=None):
    """Yield (client, near, far, server): what `client` sends arrives at `near`, to be relayed."""
    client, near = await make(memory)
    far, server = await make(memory)
    async with closing(client, near, far, server):
        yield client, near, far, server


async def send_all_and_end(stream: SocketStream, data: bytes) -> None:
    await stream.send_all(data)
    await stream.send_eof()


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "through trio"])
@pytest.mark.parametrize("make", [socketpair, tcp_pair], ids=["socketpair", "TCP"])
@pytest.mark.parametrize("sizes", [(0, 0), (1, 0), (100, 5_000_000), (4_000_000, 4_000_000)])
async def test_bytes_pass_both_ways_unchanged(make, sizes, in_place, monkeypatch):
    """What one side sends is what the other receives, by checksum, and then the relay is over."""
    monkeypatch.setattr(_descriptor, "CAN_READ_IN_PLACE", in_place)
    there, back = noise(sizes[0], 1), noise(sizes[1], 2)
    got = {}

    async def receive(name: str, stream: SocketStream) -> None:
        got[name] = await receive_to_the_end(stream)

    async with relayed(make) as (client, near, far, server):
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(relay, near, far)
                nursery.start_soon(send_all_and_end, client, there)
                nursery.start_soon(send_all_and_end, server, back)
                nursery.start_soon(receive, "at the server", server)
                nursery.start_soon(receive, "at the client", client)
        assert digest(got["at the server"]) == digest(there)
        assert digest(got["at the client"]) == digest(back)
        for stream in (near, far):
            assert stream.socket.fileno() != -1, "closing is the caller's business"


@pytest.mark.parametrize("client_first", [True, False], ids=["client first", "server first"])
async def test_the_end_of_one_direction_is_passed_on_and_the_other_goes_on(client_first):
    """In either order: request and end one way, then the answer and its end the other way."""
    async with relayed() as (client, near, far, server), trio.open_nursery() as nursery:
        first, second = (client, server) if client_first else (server, client)
        finished = trio.Event()

        async def run() -> None:
            await relay(near, far)
            finished.set()

        nursery.start_soon(run)
        await send_all_and_end(first, b"all I have to say")
        assert await receive_to_the_end(second) == b"all I have to say"
        await trio.testing.wait_all_tasks_blocked()
        assert not finished.is_set()
        for _ in range(3):
            await second.send_all(b"not me")
            assert await first.receive_view() == b"not me"
        await second.send_eof()
        assert not await first.receive_view()
        with trio.fail_after(5):
            await finished.wait()


@pytest.mark.parametrize("broken", ["client", "server"])
async def test_a_reset_ends_both_directions_with_one_error(broken):
    """BrokenResourceError and no group; the other direction, which was waiting, is given up."""
    async with relayed(tcp_pair) as (client, near, far, server), trio.open_nursery() as nursery:

        async def break_one_side() -> None:
            await trio.testing.wait_all_tasks_blocked()
            reset(client if broken == "client" else server)

        nursery.start_soon(break_one_side)
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
            await relay(near, far)
        assert near.socket.fileno() != -1
        assert far.socket.fileno() != -1


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "through trio"])
async def test_what_a_side_sent_before_it_was_reset_is_passed_on(in_place, monkeypatch):
    """The error comes behind the bytes."""
    monkeypatch.setattr(_descriptor, "CAN_READ_IN_PLACE", in_place)
    async with relayed(tcp_pair) as (client, near, far, server):
        put_now(client, noise(50_000))
        reset(client)
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
            await relay(near, far)
        await far.aclose()
        assert await receive_to_the_end(server) == noise(50_000)


async def test_a_reset_of_both_sides_is_one_error():
    """Two directions fail in the same step, and one error comes out."""
    async with relayed(tcp_pair) as (client, near, far, server), trio.open_nursery() as nursery:

        async def break_both_sides() -> None:
            await trio.testing.wait_all_tasks_blocked()
            reset(client)
            reset(server)

        nursery.start_soon(break_both_sides)
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
            await relay(near, far)


async def test_a_receiver_that_leaves_ends_the_relay_though_its_sender_goes_on():
    """A write that fails gives up the direction that was reading, too."""
    async with relayed() as (client, near, far, server), trio.open_nursery() as nursery:
        await server.aclose()

        async def send_for_ever() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                while True:
                    await client.send_all(bytes(10_000))

        nursery.start_soon(send_for_ever)
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
            await relay(near, far)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("which", ["near", "far"])
@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_a_stream_that_is_closed_ends_the_relay(which, when):
    """ClosedResourceError, one and no group, whichever it is and whenever it happens."""
    async with relayed() as (_client, near, far, _server), trio.open_nursery() as nursery:
        victim = near if which == "near" else far

        async def close_it() -> None:
            await trio.testing.wait_all_tasks_blocked()
            await victim.aclose()

        if when == "before":
            await victim.aclose()
        else:
            nursery.start_soon(close_it)
        with trio.fail_after(5), pytest.raises(trio.ClosedResourceError):
            await relay(near, far)


async def test_a_stream_that_another_task_receives_from_is_busy():
    """BusyResourceError, and the other task goes on."""
    async with relayed() as (client, near, far, _server), trio.open_nursery() as nursery:
        got = []

        async def receive() -> None:
            got.append(await near.receive_view())

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(5), pytest.raises(trio.BusyResourceError):
            await relay(near, far)
        put_now(client, b"for the other task")
        await trio.testing.wait_all_tasks_blocked()
        assert got == [b"for the other task"]


async def test_a_stream_that_another_task_sends_on_is_busy():
    """BusyResourceError as soon as there is something to pass on."""
    async with relayed() as (client, near, far, _server):
        await clog(far)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.write_view, BytesView(b"mine"))
            await trio.testing.wait_all_tasks_blocked()
            put_now(client, b"to be passed on")
            with trio.fail_after(5), pytest.raises(trio.BusyResourceError):
                await relay(near, far)
            nursery.cancel_scope.cancel()


async def test_what_a_dead_side_had_sent_is_passed_on_however_much_it_is():
    """A server that answers early, at length, and dies while the client is still sending."""
    answer = noise(1_000_000)
    async with relayed(tcp_pair) as (client, near, far, server):
        for stream in (client, near, far, server):
            big_buffers(stream)
        put_now(far, b"what the server will not read")
        with trio.fail_after(10):
            await server.send_all(answer)  # all of it fits into the kernel
        await server.aclose()  # with something unread, which resets the connection
        put_now(client, b"what the server will not get")
        got = bytearray()

        async def read_the_answer():
            with contextlib.suppress(trio.BrokenResourceError):
                async for view in client.views():
                    got.extend(view.to_bytes())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_the_answer)
            with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
                await relay(near, far)
            await near.aclose()
    assert len(got) > 2 * DRAIN_NBYTES
    assert bytes(got) == answer


@pytest.mark.parametrize("half", ["receiving", "sending"])
async def test_an_error_that_is_kept_holds_no_memory(half):
    """Nor does a cycle: the collector has no part in it."""
    pool = GlobalPool()
    gc.disable()
    try:
        async with relayed(tcp_pair, memory=pool) as (client, near, far, server):
            for stream in (client, near, far, server):
                big_buffers(stream)
            if half == "sending":
                reset(server)
                await trio.testing.wait_all_tasks_blocked()
            put_now(client, bytes(60_000))
            if half == "receiving":
                reset(client)
            with trio.fail_after(5), pytest.raises(trio.BrokenResourceError) as kept:
                await relay(near, far)
            assert pool.statistics().allocated > 0
            assert pool.statistics().lent_nbytes == 0, kept
    finally:
        gc.enable()


async def test_a_memory_that_fails_is_not_taken_for_a_broken_connection():
    """What is no matter of the streams comes out as trio's nurseries raise it."""

    class Failing(GlobalPool):
        def _lease(self, nbytes: int, /):
            raise MemoryError(f"no more, and certainly not {nbytes} bytes")

    async with relayed(memory=Failing()) as (client, near, far, _server):
        big_buffers(client)
        put_now(client, bytes(100_000))
        with trio.fail_after(5), pytest.raises(ExceptionGroup) as info:
            await relay(near, far)
        assert info.group_contains(MemoryError)


@pytest.mark.parametrize("state", ["idle", "clogged", "not yet started"])
async def test_a_relay_can_be_cancelled(state):
    """Idle, in the middle of a write that waits, and before it began; both streams stay open."""
    async with relayed() as (client, near, far, _server):
        if state == "clogged":
            await clog(far)
            put_now(client, bytes(1000))
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                if state == "not yet started":
                    scope.cancel()
                nursery.start_soon(relay, near, far)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        assert scope.cancelled_caught
        assert near.socket.fileno() != -1
        assert far.socket.fileno() != -1


async def test_relaying_is_a_checkpoint_when_both_sides_have_ended_already():
    """Nothing to do is no reason not to let other tasks run."""
    async with relayed() as (client, near, far, server):
        await client.send_eof()
        await server.send_eof()
        with trio.testing.assert_checkpoints():
            await relay(near, far)
        assert not await client.receive_view()
        assert not await server.receive_view()


# What it costs


async def at_hand(nbytes: int, pool: GlobalPool) -> tuple[Pair, Pair]:
    """Two pairs to be relayed; `nbytes` bytes and the end are waiting at the first."""
    client, near = await socketpair(pool)
    far, server = await socketpair(pool)
    big_buffers(client)
    big_buffers(far)
    put_now(client, noise(nbytes))
    await client.send_eof()
    await server.send_eof()
    return (client, near), (far, server)


async def test_bulk_bytes_are_not_copied_in_python():
    """16 KiB, 64 KiB and 66 kB are received by one call, sent by one call, copied by neither."""
    nbytes = 16_384 + 65_536 + 66_000
    (client, near), (far, server) = await at_hand(nbytes, GlobalPool())
    async with closing(client, near, far, server):
        await relay(near, far)
        assert (near.statistics().receive_calls, far.statistics().send_calls) == (4, 1)
        assert near.statistics().copied_nbytes == 0
        assert far.statistics().copied_nbytes == 0
        assert far.statistics().sent_nbytes == nbytes
        assert await receive_to_the_end(server) == noise(nbytes)


async def test_a_rest_that_fills_little_of_its_block_is_all_that_is_copied():
    """The third read brings 18,080 bytes into a block of 256 KiB: those, and no others."""
    nbytes = 16_384 + 65_536 + 18_080
    (client, near), (far, server) = await at_hand(nbytes, GlobalPool())
    async with closing(client, near, far, server):
        await relay(near, far)
        assert near.statistics().copied_nbytes == 18_080
        assert far.statistics().copied_nbytes == 0


async def test_a_long_relay_copies_at_most_64_kib_for_each_receive():
    """Whatever the kernel hands over: larger receives are not copied, and sending joins nothing."""
    pool = GlobalPool()
    async with relayed(memory=pool) as (client, near, far, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay, near, far)
            nursery.start_soon(send_all_and_end, client, bytes(1 << 24))
            nursery.start_soon(send_all_and_end, server, b"")
            assert len(await receive_to_the_end(server)) == 1 << 24
        receives = near.statistics()
        assert receives.copied_nbytes <= receives.receive_calls * 65_536
        assert far.statistics().copied_nbytes == 0


async def test_a_receiver_that_never_reads_bounds_what_a_relay_holds():
    """At most one receive for each direction, 256 KiB, whatever the senders would like to send."""
    pool = GlobalPool()
    async with relayed(memory=pool) as (client, near, far, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay, near, far)
            nursery.start_soon(client.send_all, bytes(1 << 25))
            nursery.start_soon(server.send_all, bytes(1 << 25))
            await trio.testing.wait_all_tasks_blocked()
            held = pool.statistics()
            # A receive is two pooled blocks at most: one of 64 KiB and one of 256 KiB.
            assert held.lent_nbytes <= 2 * (65_536 + 262_144)
            before = near.statistics(), far.statistics()
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            assert (near.statistics(), far.statistics()) == before, "nothing moves any more"
            for stream in (near, far):
                passed = stream.statistics()
                other = far if stream is near else near
                waiting = passed.received_nbytes - other.statistics().sent_nbytes
                assert 0 <= waiting <= 262_144
            nursery.cancel_scope.cancel()
        assert pool.statistics().lent_nbytes == 0


async def test_an_idle_relay_holds_no_block():
    """Neither the last view that it received nor one that it sent."""
    pool = GlobalPool()
    async with (
        relayed(memory=pool) as (client, near, far, server),
        trio.open_nursery() as nursery,
    ):
        big_buffers(client)
        nursery.start_soon(relay, near, far)
        nursery.start_soon(client.send_all, bytes(1 << 22))
        left = 1 << 22
        while left:
            left -= len(await server.receive_view())
        await trio.testing.wait_all_tasks_blocked()
        near._receive_size.nbytes = 262_144
        put_now(client, bytes(100_000))  # stays in its block, until it is sent
        left = 100_000
        while left:
            left -= len(await server.receive_some())
        await trio.testing.wait_all_tasks_blocked()
        assert pool.statistics().lent_nbytes == 0
        nursery.cancel_scope.cancel()


async def test_fifty_relays_at_once_do_not_mix_up_their_bytes():
    """Over one pool; each has bytes of its own, both ways."""
    pool = GlobalPool()
    wrong = []

    async def one(number: int) -> None:
        there, back = noise(200_000, 2 * number), noise(100_000, 2 * number + 1)
        async with (
            relayed(memory=pool) as (client, near, far, server),
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(relay, near, far)
            nursery.start_soon(send_all_and_end, client, there)
            nursery.start_soon(send_all_and_end, server, back)
            if await receive_to_the_end(server) != there:
                wrong.append((number, "there"))
            if await receive_to_the_end(client) != back:
                wrong.append((number, "back"))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(one, number)
    assert not wrong
    assert pool.statistics().lent_nbytes == 0


# Streams that are no sockets


class Quiet(Read, Write):
    """A stream that can say its end only by being closed, as TLS can."""

    def __init__(self, stream: SocketStream) -> None:
        self.stream = stream

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        return await self.stream.receive_view(max_bytes)

    async def _write_view(self, view: BytesView) -> None:
        await self.stream.write_view(view)

    async def _aclose(self) -> None:
        await self.stream.aclose()


class Hidden(trio.abc.HalfCloseableStream):
    """A stream of somebody else's: what is inside cannot be seen."""

    def __init__(self, stream: SocketStream) -> None:
        self.stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self.stream.receive_some(max_bytes)

    async def send_all(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def aclose(self) -> None:
        await self.stream.aclose()


def guarded(stream: SocketStream) -> GuardedStream:
    """A stream with rates that nothing here falls below."""
    slow = MinRate(1, seconds=60)
    return GuardedStream(stream, receiving=slow, sending=slow)


KINDS = {
    "socket": lambda stream: stream,
    "guarded": guarded,
    "adapter": lambda stream: from_trio(Hidden(stream)),
    "stapled": lambda stream: from_trio(trio.StapledStream(stream, stream)),
}


@pytest.mark.parametrize("far_kind", KINDS)
@pytest.mark.parametrize("near_kind", KINDS)
async def test_bytes_and_ends_pass_between_streams_of_all_kinds(near_kind, far_kind):
    """Both ways, and the end of one way before anything goes the other."""
    request, answer = noise(300_000, 1), noise(500_000, 2)
    async with relayed() as (client, near, far, server):
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(relay, KINDS[near_kind](near), KINDS[far_kind](far))
                nursery.start_soon(send_all_and_end, client, request)
                assert await receive_to_the_end(server) == request
                nursery.start_soon(send_all_and_end, server, answer)
                assert await receive_to_the_end(client) == answer


async def test_bytes_and_ends_pass_between_memory_streams():
    """Which hand over everything at once, or wait for their receiver."""
    for make in (memory_pair, lockstep_pair):
        client, near = make()
        far, server = make()
        async with closing(client, near, far, server):
            with trio.fail_after(5):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(relay, near, far)
                    nursery.start_soon(client.write_view, BytesView(b"request"))
                    assert await server.read_exactly(7) == b"request"
                    nursery.start_soon(client.send_eof)
                    assert not await server.receive_view()
                    nursery.start_soon(server.write_view, BytesView(b"answer"))
                    assert await client.read_exactly(6) == b"answer"
                    nursery.start_soon(server.send_eof)
                    assert not await client.receive_view()


async def test_an_end_that_the_sink_has_no_word_for_ends_the_relay():
    """After all bytes before it; or the other direction would wait for a peer that was not told."""
    async with relayed() as (client, near, far, server):
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(relay, near, Quiet(far))
                nursery.start_soon(send_all_and_end, client, noise(1_000_000))
                got = await receive_exactly(server, 1_000_000)
        assert got == noise(1_000_000)
        await far.aclose()
        assert not await server.receive_view(), "closing is how this end is told"


async def test_an_end_that_comes_from_such_a_stream_is_passed_on():
    """It is the sink that has to have a word; the other direction goes on."""
    async with relayed() as (client, near, far, server):
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(relay, near, Quiet(far))
                await send_all_and_end(server, b"answer")
                assert await receive_to_the_end(client) == b"answer"
                await client.send_all(b"and more")
                assert await server.receive_view() == b"and more"
                await client.send_eof()


async def test_what_an_abandoned_read_had_got_is_passed_on_first():
    """A proxy that has looked at a header, and gave up, has lost none of it."""
    async with relayed() as (client, near, far, server):
        await client.send_all(b"head")
        with trio.move_on_after(0.01):
            await near.read_exactly(100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay, near, far)
            nursery.start_soon(send_all_and_end, client, b" and body")
            nursery.start_soon(send_all_and_end, server, b"")
            assert await receive_to_the_end(server) == b"head and body"


async def test_a_peer_that_is_too_slow_ends_the_relay_with_one_error():
    """PeerTooSlow, and no group."""
    async with relayed() as (_client, near, far, _server):
        hasty = MinRate(1_000_000, seconds=0.02)
        stream = GuardedStream(near, receiving=hasty, sending=hasty)
        with trio.fail_after(5), pytest.raises(PeerTooSlow):
            await relay(stream, far)


async def test_only_what_can_be_read_and_written_is_relayed():
    """Neither one half nor a trio stream that nobody has wrapped."""
    async with relayed() as (_client, near, far, _server):
        for wrong in (Hidden(far), FakeRead(b"x"), FakeWrite(), None):
            with pytest.raises(TypeError, match="is a Read and a Write"):
                await relay(near, wrong)
            with pytest.raises(TypeError, match="is a Read and a Write"):
                await relay(wrong, near)
