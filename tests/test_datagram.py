"""`DatagramSocket`: datagrams over real UDP and Unix sockets."""

from __future__ import annotations

import contextlib
import errno
import gc
import socket as stdlib_socket
import weakref

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from pairs import MEMORIES, MEMORY_IDS, Steps, closing, noise

from trio_bytesbuf import BytesView, CappedPool, GlobalPool
from trio_bytesbuf._errors import BadMemory, DatagramTruncated
from trio_bytesbuf.io import (
    Datagram,
    DatagramSocket,
    _datagram,
    _vectored,
    bind_udp_socket,
    connect_udp_socket,
)
from trio_bytesbuf.io._lease import Leases
from trio_bytesbuf.mem import Memory, PlainMemory
from trio_bytesbuf.testing import (
    CountingMemory,
    FixedBlockMemory,
    cancel_atomic_at_each_checkpoint,
)

Pair = tuple[DatagramSocket, DatagramSocket]


def unix_pair(memory: Memory | None = None, **options) -> Pair:
    """Two connected Unix sockets, over which nothing is lost or overtakes."""
    a, b = trio.socket.socketpair(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM)
    return DatagramSocket(a, **options), DatagramSocket(b, memory=memory, **options)


async def udp_pair(host: str = "127.0.0.1", memory: Memory | None = None) -> Pair:
    """A connected socket and the one that it is connected to."""
    server = await bind_udp_socket(host, 0, memory=memory)
    return await connect_udp_socket(host, server.socket.getsockname()[1]), server


@pytest.fixture
async def pair():
    a, b = unix_pair()
    async with closing(a, b):
        yield a, b


def put_now(sender: DatagramSocket, *contents: bytes) -> None:
    """Send without any await."""
    for data in contents:
        sender._receiver.send(data)


# Contents


@pytest.mark.parametrize("make_memory", MEMORIES, ids=MEMORY_IDS)
@given(
    contents=st.lists(
        st.binary(max_size=8) | st.integers(0, 65_535).map(noise), min_size=1, max_size=12
    ),
    batch=st.none() | st.integers(1, 5),
)
def test_what_is_sent_arrives_whole_and_in_order(make_memory, contents, batch):
    """Whatever the sizes, by whichever method, in whatever memory; nothing is cut or joined."""

    async def main() -> None:
        a, b = unix_pair(make_memory())
        async with closing(a, b), trio.open_nursery() as nursery:

            async def send() -> None:
                for data in contents:
                    await a.send(BytesView(data))

            nursery.start_soon(send)
            got: list[Datagram] = []
            with trio.fail_after(10):
                while len(got) < len(contents):
                    if batch is None:
                        got.append(await b.receive())
                    else:
                        more = await b.receive_batch(batch)
                        assert 1 <= len(more) <= batch
                        got += more
        assert [datagram.view.to_bytes() for datagram in got] == contents

    trio.run(main)


@given(
    sizes=st.lists(st.sampled_from([0, 1, 1400, 16_384, 20_000, 65_535]), min_size=1, max_size=8)
)
def test_what_was_received_never_changes(sizes):
    """A batch is kept while the next ones are received into memory of the same pool."""

    async def main() -> None:
        a, b = unix_pair(GlobalPool())
        async with closing(a, b):
            kept = []
            for turn in range(3):
                async with trio.open_nursery() as nursery:

                    async def send(turn: int = turn) -> None:
                        for at, size in enumerate(sizes):
                            await a.send(BytesView(noise(size, 100 * turn + at)))

                    nursery.start_soon(send)
                    got: list[Datagram] = []
                    while len(got) < len(sizes):
                        got += await b.receive_batch()
                kept.append(got)
            for turn, batch in enumerate(kept):
                for at, (size, datagram) in enumerate(zip(sizes, batch, strict=True)):
                    assert datagram.view == noise(size, 100 * turn + at)

    trio.run(main)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_udp_tells_who_sent_it_and_answers_find_them(host):
    """Over IPv4 and IPv6; the largest datagram goes through whole."""
    try:
        a, b = await udp_pair(host)
    except OSError as exc:
        if exc.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
            raise
        pytest.skip(f"this machine has no {host}")
    async with closing(a, b):
        largest = BytesView(noise(65_507 if host != "::1" else 60_000))
        with trio.fail_after(5):
            for view in (BytesView(b"a") + b"b", BytesView(), largest):
                await a.send(view)
                datagram = await b.receive()
                assert datagram.view == view
                assert datagram.address == a.socket.getsockname()
                await b.send(datagram.view, datagram.address)
                assert (await a.receive()).view == view


async def test_a_name_is_resolved_when_it_is_sent_to():
    """As trio's `sendto` does it."""
    async with await bind_udp_socket("127.0.0.1", 0) as a:
        await a.send(BytesView(b"x"), ("localhost", a.socket.getsockname()[1]))
        assert (await a.receive()).view == b"x"


async def test_datagrams_of_no_bytes_are_data_and_no_end(pair):
    """Iterating goes on; a view of no bytes is sent."""
    a, b = pair
    for data in (b"", b"", b"x", b""):
        await a.send(BytesView(data))
    with trio.fail_after(5):
        got = []
        async for datagram in b:
            got.append(datagram.view)
            if len(got) == 4:
                break
    assert got == [b"", b"", b"x", b""]


@pytest.mark.parametrize("sizes", [[5], [1] * 100, [20_000, 20_000], [40] * 1100, [2000] * 20])
async def test_all_pieces_are_one_datagram(pair, sizes):
    """Few or many, joined or gathered, more than the system takes in one call."""
    a, b = pair
    pieces = [BytesView(noise(size, at)) for at, size in enumerate(sizes)]
    view = BytesView.from_views(pieces)
    await a.send(view)
    datagram = await b.receive()
    assert datagram.view == view
    gathered = _datagram.datagram_of(view._pieces, len(view))
    assert 1 <= len(gathered) <= _vectored.IOV_MAX
    assert (len(gathered) > 1) == (1 < len(sizes) < 1000 and sum(sizes) > 16_384)


async def test_without_sendmsg_everything_is_joined(pair, monkeypatch):
    """As on Windows."""
    a, b = pair
    monkeypatch.setattr(_datagram, "CAN_GATHER", False)
    view = BytesView(noise(20_000)) + noise(20_000, 1)
    await a.send(view)
    assert (await b.receive()).view == view


# Too long, errors


@pytest.mark.parametrize("memory", [PlainMemory(), FixedBlockMemory(1), FixedBlockMemory(10)])
async def test_nothing_is_cut_silently(memory):
    """A datagram that is too long is an error, in its turn; those before and behind are whole."""
    a, b = unix_pair(memory, max_datagram_nbytes=10)
    async with closing(a, b):
        put_now(a, b"0123456789", b"0123456789X", b"y", b"z" * 1000, b"last")
        assert [each.view for each in await b.receive_batch()] == [b"0123456789"]
        with pytest.raises(DatagramTruncated, match="10 bytes"):
            await b.receive_batch()
        assert (await b.receive()).view == b"y"
        with pytest.raises(DatagramTruncated):
            await b.receive()
        assert (await b.receive()).view == b"last"


async def test_an_error_that_is_owed_survives_cancellation():
    """It is raised by the next call that is not cancelled."""
    a, b = unix_pair(max_datagram_nbytes=1)
    async with closing(a, b):
        put_now(a, b"a", b"bb", b"c")
        assert len(await b.receive_batch()) == 1
        with trio.CancelScope() as scope:
            scope.cancel()
            await b.receive()
        with pytest.raises(DatagramTruncated):
            await b.receive()
        assert (await b.receive()).view == b"c"


async def test_a_datagram_that_is_too_long_to_be_sent_is_an_oserror():
    """The socket works on."""
    a, b = await udp_pair()
    async with closing(a, b):
        with pytest.raises(OSError, match="long") as caught:
            await a.send(BytesView(bytes(70_000)))
        assert caught.value.errno == errno.EMSGSIZE
        await a.send(BytesView(b"x"))
        assert (await b.receive()).view == b"x"


async def test_a_refusal_is_an_oserror_and_the_socket_works_on():
    """Nobody listens on a port: ConnectionRefusedError, as trio's sockets have it."""
    a, b = await udp_pair()
    port = b.socket.getsockname()[1]
    async with closing(a):
        await b.aclose()
        await a.send(BytesView(b"x"))
        with trio.fail_after(5), pytest.raises(ConnectionRefusedError):
            await a.receive()
        async with await bind_udp_socket("127.0.0.1", port) as b:
            await a.send(BytesView(b"y"))
            assert (await b.receive()).view == b"y"


async def test_an_error_holds_no_memory():
    """Neither of the sender's, nor leased."""
    a, b = await udp_pair()
    memory = bytearray(70_000)
    async with closing(a, b):
        with pytest.raises(OSError, match="long") as caught:
            await a.send(BytesView(memory))
        memory.append(0)  # which raises BufferError as long as anybody looks at it
        assert caught.value.errno == errno.EMSGSIZE


class Bad(PlainMemory):
    """Memory whose provider cannot be relied on."""

    def _lease(self, _):
        raise OSError(errno.EBADF, "no memory here")


async def test_an_error_of_the_memory_is_not_taken_for_the_sockets():
    """BadMemory, with its name; the datagram is still there."""
    a, b = unix_pair(Bad())
    async with closing(a, b):
        put_now(a, b"x")
        with pytest.raises(BadMemory, match="no memory here"):
            await b.receive()
        b._memory = PlainMemory()
        b._leases = Leases(b._memory)
        assert (await b.receive()).view == b"x"


# Memory


async def test_a_waiting_socket_holds_no_memory():
    """The lease is over before the wait."""
    windows = []

    class Watched(PlainMemory):
        def _lease(self, nbytes):
            window, ref = super()._lease(nbytes)
            windows.append(weakref.ref(window))
            return window, ref

    a, b = unix_pair(Watched())
    async with closing(a, b), trio.open_nursery() as nursery:
        nursery.start_soon(b.receive)
        await trio.testing.wait_all_tasks_blocked()
        gc.collect()
        assert [window() for window in windows] == [None]
        put_now(a, b"x")


async def test_small_datagrams_pin_no_block_and_large_ones_stay_in_theirs():
    """The pool's own judgement; after a small one no block is leased at all."""
    memory = CountingMemory(GlobalPool())
    a, b = unix_pair(memory)
    async with closing(a, b):
        is_plain = []
        for size in (100, 100, 100, 60_000, 60_000, 100, 100):
            put_now(a, bytes(size))
            view = (await b.receive()).view
            is_plain.append(type(view.pieces[0].obj) is bytes)
    assert is_plain == [True, True, True, True, False, True, True]
    assert memory.statistics().leases == 3


async def test_a_batch_is_bounded_in_number_and_in_bytes(pair):
    """So is the memory that it needs, however many datagrams are there."""
    a, b = pair
    a.socket.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_SNDBUF, 1 << 20)
    put_now(a, *[b"x"] * 7)
    assert len(await b.receive_batch(5)) == 5
    assert len(await b.receive_batch(5)) == 2
    put_now(a, *[bytes(65_535)] * 3)
    assert len(await b.receive_batch()) == 3


async def test_a_batch_ends_with_so_many_bytes(pair, monkeypatch):
    """And one datagram more at the most."""
    a, b = pair
    monkeypatch.setattr(_datagram, "BATCH_NBYTES", 25)
    put_now(a, *[b"0123456789"] * 5)
    assert [len(await b.receive_batch()) for _ in range(2)] == [3, 2]


@pytest.mark.parametrize("which", ["receive", "receive_batch"])
async def test_memory_with_a_cap_is_waited_for(which):
    """No datagram is lost, and nobody holds memory meanwhile."""
    pool = CappedPool(65_536)
    a, b = unix_pair(pool)
    async with closing(a, b):
        put_now(a, noise(1000), noise(1000, 1))
        first = await b.receive()
        got: list[bytes] = []

        async def receive() -> None:
            answer = await getattr(b, which)()
            answer = answer if isinstance(answer, list) else [answer]
            got.extend(each.view.to_bytes() for each in answer)

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await trio.testing.wait_all_tasks_blocked()
                assert got == []
                assert first.view == noise(1000)
                del first
                pool.trim()
                reserved = await pool.reserve_wait(1)
                del reserved
        assert got == [noise(1000, 1)]


@pytest.mark.parametrize("cap_nbytes", [4096, 16_384, 65_536])
async def test_what_fits_into_memory_with_a_cap_is_in_it(cap_nbytes):
    """Also if the cap is below the longest datagram; only the end of a longer one is outside."""
    pool = CappedPool(cap_nbytes)
    a, b = unix_pair(pool)
    async with closing(a, b):
        for nbytes in (1000, 40_000):
            put_now(a, noise(nbytes))
            view = (await b.receive()).view
            assert view == noise(nbytes)
            assert pool.statistics().lent_nbytes == cap_nbytes
            outside = [piece.nbytes for piece in view.pieces if type(piece.obj) is bytes]
            assert sum(outside) == max(0, nbytes - cap_nbytes)
            del view


async def test_without_recvmsg_into_small_blocks_are_left_alone(monkeypatch):
    """As on Windows: plain memory, and nothing is cut."""
    monkeypatch.setattr(_datagram, "CAN_SCATTER", False)
    a, b = unix_pair(FixedBlockMemory(7))
    async with closing(a, b):
        for nbytes in (0, 5, 8, 65_535):
            put_now(a, noise(nbytes))
            view = (await b.receive()).view
            assert view == noise(nbytes)
            assert len(view.pieces) == (nbytes > 0)


async def test_closing_ends_the_wait_for_memory():
    """ClosedResourceError for who waits."""
    pool = CappedPool(65_536)
    a, b = unix_pair(pool)
    async with closing(a, b):
        put_now(a, b"x", b"y")
        first = await b.receive()
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:

                async def receive() -> None:
                    with pytest.raises(trio.ClosedResourceError):
                        await b.receive()

                nursery.start_soon(receive)
                await trio.testing.wait_all_tasks_blocked()
                await b.aclose()
        assert first.view == b"x"


# One task for each side, closing, cancellation, cost


CALLS = {
    "receive": lambda socket: socket.receive(),
    "receive_batch": lambda socket: socket.receive_batch(),
    "a step": lambda socket: anext(socket),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_closing_wakes_who_waits_and_one_task_receives(pair, call):
    """BusyResourceError for a second task, ClosedResourceError for the first, and ever after."""
    _, b = pair
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await call(b)

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await call(b)
        await b.aclose()
    with Steps() as steps, pytest.raises(trio.ClosedResourceError):
        await call(b)
    assert steps.taken >= 1
    with pytest.raises(trio.ClosedResourceError):
        await b.send(BytesView(b"x"))
    await b.aclose()


async def clog(socket: DatagramSocket) -> int:
    """Send until there is no room; return how many went."""
    count = 0
    while True:
        try:
            put_now(socket, bytes(10_000))
        except BlockingIOError:
            return count
        count += 1


async def test_a_sender_that_waits_is_one_of_its_side_and_cancelled_has_sent_nothing(pair):
    """Atomic, whole or not at all."""
    a, b = pair
    count = await clog(a)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.send, BytesView(b"never"))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await a.send(BytesView(b"x"))
        nursery.cancel_scope.cancel()
    got = 0
    with trio.move_on_after(0.05):
        async for datagram in b:
            assert datagram.view == bytes(10_000)
            got += 1
    assert got == count


async def test_closing_wakes_a_sender_that_waits(pair):
    """ClosedResourceError."""
    a, _ = pair
    await clog(a)
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await a.send(BytesView(b"x"))

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        await a.aclose()


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_no_datagram_is_lost_wherever_a_receive_is_cancelled(call, is_there):
    """At every checkpoint, before and after it was woken: it has it, or the next one gets it."""
    sent: list[bytes] = []

    @contextlib.asynccontextmanager
    async def subject():
        a, b = unix_pair()
        sent.clear()
        async with closing(a, b):
            if is_there:
                await send((a, b))
            yield a, b

    async def send(pair: Pair) -> None:
        await trio.testing.wait_all_tasks_blocked()
        put_now(pair[0], b"1")
        sent.append(b"1")

    def taken(pair: Pair) -> int:
        try:
            return len(sent) - len(pair[1]._receiver.recv(1, trio.socket.MSG_PEEK))
        except BlockingIOError:
            return len(sent)

    async def not_lost(pair: Pair, attempt) -> None:
        if attempt.was_cancelled:
            with trio.fail_after(5):
                assert (await pair[1].receive()).view == b"1"

    table = await cancel_atomic_at_each_checkpoint(
        subject,
        lambda pair: call(pair[1]),
        peer=None if is_there else send,
        progress=taken,
        check=not_lost,
    )
    assert table.cancelled


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("count", [1, 50])
async def test_receiving_what_is_there_is_one_checkpoint(pair, call, count):
    """However many datagrams it is."""
    a, b = pair
    b.socket.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_RCVBUF, 1 << 20)
    sent = 0
    while sent < count:
        try:
            put_now(a, b"x")
        except BlockingIOError:  # the queue of a Unix socket is short
            break
        sent += 1
    with Steps() as steps:
        got = await call(b)
    assert steps.taken == 1
    assert not isinstance(got, list) or len(got) == sent


async def test_sending_is_one_checkpoint(pair):
    """Whatever the pieces."""
    a, _ = pair
    for view in (BytesView(b"x"), BytesView(b"x" * 20_000) + b"y" * 20_000, BytesView()):
        with Steps() as steps:
            await a.send(view)
        assert steps.taken == 1


# Making one


async def test_only_a_datagram_socket_of_trios_is_taken():
    """And nothing is left open."""
    with trio.socket.socket() as stream, pytest.raises(ValueError, match="SOCK_DGRAM"):
        DatagramSocket(stream)
    with (
        stdlib_socket.socket(type=stdlib_socket.SOCK_DGRAM) as plain,
        pytest.raises(TypeError, match="trio socket"),
    ):
        DatagramSocket(plain)
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as socket:
        with pytest.raises(ValueError, match="max_datagram_nbytes"):
            DatagramSocket(socket, max_datagram_nbytes=0)
        with pytest.raises(TypeError, match="Memory"):
            DatagramSocket(socket, memory=7)


async def test_wrong_arguments_are_told_at_once(pair):
    """And nothing has happened."""
    a, _ = pair
    with pytest.raises(TypeError, match="BytesView"):
        await a.send(b"x")
    with pytest.raises(ValueError, match="max_datagrams"):
        await a.receive_batch(0)
    with pytest.raises(ValueError, match="65535"):
        await bind_udp_socket("127.0.0.1", 65_536)


async def test_errors_of_binding_and_connecting_name_the_address():
    """An address that is taken, and a name that does not exist."""
    async with await bind_udp_socket("127.0.0.1", 0) as taken:
        port = taken.socket.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot bind 127.0.0.1:{port}") as caught:
            await bind_udp_socket("127.0.0.1", port)
        assert caught.value.errno == errno.EADDRINUSE
        assert "DatagramSocket over" in repr(taken)
        assert taken.memory is not None
    with pytest.raises(OSError, match=r"cannot connect to nobody\.invalid:7"):
        await connect_udp_socket("nobody.invalid", 7)
