"""`from_trio` and `to_trio`: other people's streams as ours, and ours as other people's."""

from __future__ import annotations

import contextlib
import math
import os
from itertools import pairwise

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from pairs import clog, noise, socketpair

from trio_bytesbuf import BytesView
from trio_bytesbuf._errors import BadSource
from trio_bytesbuf.io import (
    FdStream,
    GuardedWrite,
    MinRate,
    PeerTooSlow,
    Read,
    SocketStream,
    Write,
    _from_trio,
    from_trio,
    to_trio,
)
from trio_bytesbuf.mem import PlainMemory
from trio_bytesbuf.testing import (
    SINK_CHECKS,
    SOURCE_CHECKS,
    STALLED_SOURCE_CHECKS,
    FakeRead,
    FakeWrite,
    FixedBlockMemory,
    Pending,
    lockstep_pair,
    memory_pair,
)

PAIRS = {
    "memory": trio.testing.memory_stream_pair,
    "lockstep": trio.testing.lockstep_stream_pair,
}
every_pair = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
by_name = lambda check: check.__name__  # noqa: E731


class Foreign(trio.abc.HalfCloseableStream):
    """A stream that hides what it is over, records what it is sent, and returns what it is told."""

    def __init__(self, inner=None, *, returns=()):
        self.inner = inner
        self.returns = list(returns)
        self.sent = []
        self.closed = False

    async def receive_some(self, max_bytes=None):
        if self.inner is not None:
            return await self.inner.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        return self.returns.pop(0)

    async def send_all(self, data):
        self.sent.append(data)
        if self.inner is not None:
            await self.inner.send_all(data)
        else:
            await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self):
        await self.inner.wait_send_all_might_not_block()

    async def send_eof(self):
        await self.inner.send_eof()

    async def aclose(self):
        self.closed = True
        if self.inner is not None:
            await self.inner.aclose()


class Hidden(Read, Write):
    """A `Read` and a `Write` that is no trio stream, over one that says when it would block."""

    def __init__(self, inner: SocketStream) -> None:
        self.inner = inner

    async def _receive_view(self, max_bytes):
        return await self.inner.receive_view(max_bytes)

    async def _write_view(self, view):
        await self.inner.write_view(view)

    async def _wait_write_might_not_block(self):
        await self.inner.wait_write_might_not_block()

    async def _aclose(self):
        await self.inner.aclose()


class HiddenWithEof(Hidden):
    """Such a one that has an end to announce."""

    async def send_eof(self):
        if self._is_sending or self._is_closed:
            await self._refuse_sending()
        await self.inner.send_eof()


# Theirs as ours


@every_pair
@given(
    sizes=st.lists(st.integers(0, 200_000), max_size=4),
    cut=st.integers(100, 100_000),
    limits=st.lists(st.none() | st.integers(1, 300_000), min_size=1, max_size=4),
)
async def test_content_goes_through_adapters_as_it_is(pair, sizes, cut, limits):
    """Whatever pieces it is written in, whatever is read at a time."""
    ours, theirs = map(from_trio, pair())
    data = noise(sum(sizes))
    arrived = []

    async def send():
        at = 0
        for nbytes in sizes:
            whole = BytesView(data[at : at + nbytes])
            cuts = [whole[i : i + cut] for i in range(0, nbytes, cut)]
            await theirs.write_parts(cuts[:500])
            await theirs.send_all(BytesView.from_views(cuts[500:]))
            at += nbytes
        await theirs.send_eof()

    async with ours, theirs, trio.open_nursery() as nursery:
        nursery.start_soon(send)
        for at in range(10_000_000):
            limit = limits[at % len(limits)] if at < 50 else None  # else it takes too long
            view = await ours.receive_view(limit)
            if not view:
                break
            assert limit is None or len(view) <= limit
            arrived.append(bytes(view))
    assert b"".join(arrived) == data


def half_closeable(pair):
    async def make():
        a, b = pair()
        return from_trio(a), from_trio(b)

    return make


@every_pair
async def test_an_adapter_is_an_honest_trio_stream(pair):
    """It passes the checks that the stream itself passes."""
    await trio.testing.check_half_closeable_stream(half_closeable(pair), None)


async def test_an_adapter_passes_trios_checks_when_it_is_clogged():
    """Over a socket that it does not know of, as TLS libraries' streams are."""

    async def make():
        a, b = await socketpair()
        return from_trio(Foreign(a)), from_trio(Foreign(b))

    async def make_clogged():
        a, b = await socketpair()
        await clog(a)
        await clog(b)
        return from_trio(Foreign(a)), from_trio(Foreign(b))

    await trio.testing.check_half_closeable_stream(make, make_clogged)


@pytest.mark.parametrize("check", SOURCE_CHECKS, ids=by_name)
async def test_an_adapter_is_a_read(check):
    """The checks for everybody's sources."""

    async def made(contents):
        theirs, ours = trio.testing.memory_stream_pair()
        await theirs.send_all(contents)
        await theirs.send_eof()
        return from_trio(ours, memory=PlainMemory())

    await check(made)


@pytest.mark.parametrize("check", STALLED_SOURCE_CHECKS, ids=by_name)
async def test_an_adapter_is_a_read_that_waits(check):
    """The checks for sources that go silent."""

    async def made(contents):
        theirs, ours = trio.testing.memory_stream_pair()
        await theirs.send_all(contents)
        return from_trio(ours, memory=PlainMemory())

    await check(made)


@pytest.mark.parametrize("check", SINK_CHECKS, ids=by_name)
async def test_an_adapter_is_a_write(check):
    """The checks for everybody's sinks."""

    async def made():
        ours, theirs = trio.testing.memory_stream_pair()
        there = bytearray()

        async def arrived():
            with trio.move_on_after(0.001):
                while data := await theirs.receive_some():
                    there.extend(data)
            return bytes(there)

        return from_trio(ours, memory=PlainMemory()), arrived

    await check(made)


async def test_each_kind_of_stream_gets_its_own():
    """Sockets and descriptors their fast ways, others just the sides they have."""
    ours, theirs = trio.socket.socketpair()
    reading, writing = os.pipe()
    sending, receiving = trio.testing.memory_stream_one_way_pair()
    memory = PlainMemory()
    for stream, kind in (
        (trio.SocketStream(ours), SocketStream),
        (trio.lowlevel.FdStream(reading), FdStream),
        (sending, _from_trio.SendAdapter),
        (receiving, _from_trio.ReceiveAdapter),
        (Foreign(), _from_trio.HalfCloseableAdapter),
        (trio.StapledStream(sending, receiving), _from_trio.StapledAdapter),
    ):
        adapted = from_trio(stream, memory=memory)
        assert type(adapted) is kind
        assert adapted.memory is memory
        assert from_trio(adapted) is adapted
        for side in (trio.abc.SendStream, trio.abc.ReceiveStream):
            assert isinstance(adapted, side) == isinstance(stream, side)
        assert isinstance(adapted, Read) == isinstance(stream, trio.abc.ReceiveStream)
        await adapted.aclose()
    theirs.close()
    os.close(writing)


@pytest.mark.parametrize("wrong", [3, b"abc", None, object()], ids=repr)
def test_what_is_no_stream_is_refused(wrong):
    """By both, with the type's name."""
    with pytest.raises(TypeError, match=f"a trio stream, not {type(wrong).__name__}"):
        from_trio(wrong)
    with pytest.raises(TypeError, match=f"a Read or a Write, not {type(wrong).__name__}"):
        to_trio(wrong)
    with pytest.raises(TypeError, match="a Memory is wanted"):
        from_trio(Foreign(), memory=3)


async def test_adapted_descriptors_are_closed_by_closing():
    """The blocking mode is restored, and the stream beneath is closed as well."""
    reading, writing = os.pipe()
    shared = os.dup(reading)
    stream = trio.lowlevel.FdStream(reading)
    async with from_trio(stream), FdStream(writing):
        assert not os.get_blocking(shared)
    assert os.get_blocking(shared)
    assert stream.fileno() == -1
    os.close(shared)


async def test_bytes_that_somebody_else_can_write_are_copied():
    """A view stays as it is, whatever the stream does with the buffer it returned."""
    for buffer in (bytearray(b"abc"), memoryview(bytearray(b"abc"))):
        view = await from_trio(Foreign(returns=[buffer])).receive_view()
        buffer[:] = b"xyz"
        assert view == b"abc"
    buffer = bytearray(b"abc")
    with memoryview(buffer) as window:  # which refers to it as well
        stream = Foreign(returns=[buffer])
        del buffer
        view = await from_trio(stream).receive_view()
        window[:] = b"xyz"
        assert view == b"abc"


async def test_bytes_that_nobody_else_has_are_not_copied():
    """`bytes` and a bytearray of its own are shown where they lie."""
    data = bytes(100)
    view = await from_trio(Foreign(returns=[data])).receive_view()
    assert view.pieces[0].obj is data
    view = await from_trio(Foreign(returns=[bytearray(100)])).receive_view()
    assert type(view.pieces[0].obj) is bytearray


async def test_a_stream_that_returns_too_much_is_bad_and_loses_nothing():
    """By either way to receive; what it returned is read next."""
    for call in ("receive_view", "receive_some"):
        for returned in (b"abcdef", bytearray(b"abcdef")):
            adapter = from_trio(Foreign(returns=[returned, b"gh"]))
            with pytest.raises(BadSource, match="asked for 4 bytes at most and returned 6"):
                await getattr(adapter, call)(4)
            assert await adapter.receive_some(2) == b"ab"
            assert await adapter.read_exactly(6) == b"cdefgh"


@pytest.mark.parametrize("wrong", [None, "abc", 3], ids=repr)
async def test_a_stream_that_returns_no_bytes_is_bad(wrong):
    """The complaint says what it returned."""
    with pytest.raises(BadSource, match=f"returned a {type(wrong).__name__} instead of bytes"):
        await from_trio(Foreign(returns=[wrong])).receive_view()


@given(st.lists(st.integers(1, 150_000), max_size=12))
async def test_pieces_are_joined_up_to_a_size(sizes):
    """Nothing is sent twice or left out; neighbours that would fit are joined, others uncopied."""
    stream = Foreign()
    pieces = [noise(nbytes, seed) for seed, nbytes in enumerate(sizes)]
    await from_trio(stream).write_parts(map(BytesView, pieces))
    assert b"".join(stream.sent) == b"".join(pieces)
    sent = [len(data) for data in stream.sent]
    if pieces:
        joined = _from_trio.JOIN_NBYTES
        assert all(one + other > joined for one, other in pairwise(sent))
        whole = [data.obj for data in stream.sent if isinstance(data, memoryview)]
        assert all(any(each is piece for piece in pieces) for each in whole)
        assert all(any(each is piece for each in whole) for piece in pieces if len(piece) > joined)
    else:
        assert stream.sent == [b""]


async def test_an_adapter_does_not_say_how_far_it_is():
    """Only the stream knows; a guard that took a `send_all` for progress would send it too much."""
    told = []
    for stream in (Foreign(), trio.StapledStream(Foreign(), Foreign())):
        adapter = from_trio(stream)
        adapter._progress = told.append
        await adapter.write_parts([BytesView(bytes(70_000)), BytesView(bytes(80_000))])
        assert told == []


async def test_a_stapled_stream_says_what_its_sink_says():
    """A pipe tells each system call, by either way to send; who was told before is told again."""
    reading, writing = os.pipe()
    stapled = trio.StapledStream(trio.lowlevel.FdStream(writing), Foreign())
    told, told_before = [], []
    async with from_trio(stapled) as ours, FdStream(reading) as theirs:
        ours._sink._progress = told_before.append
        ours._progress = told.append
        for send in (lambda data: ours.write_view(BytesView(data)), ours.send_all):
            told.clear()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(theirs.read_exactly, 300_000)
                await send(bytes(300_000))
            assert sum(told) == 300_000
            assert len(told) > 1  # a pipe holds less
        await ours._sink.write_view(BytesView(b"abc"))
    assert told_before == [3]


class Paced(trio.abc.HalfCloseableStream):
    """A sink of somebody else's, whose peer takes so many bytes in a second."""

    def __init__(self, nbytes_per_second):
        self.nbytes_per_second = nbytes_per_second
        self.taken = bytearray()

    async def receive_some(self, max_bytes=None):  # noqa: ARG002
        await trio.sleep(math.inf)

    async def send_all(self, data):
        await trio.sleep(len(data) / self.nbytes_per_second)
        self.taken += data

    async def wait_send_all_might_not_block(self):
        await trio.lowlevel.checkpoint()

    async def send_eof(self):
        await trio.sleep(10)

    async def aclose(self):
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    "adapted",
    [from_trio, lambda stream: from_trio(trio.StapledStream(stream, stream))],
    ids=["stream", "stapled"],
)
@pytest.mark.parametrize("piece_nbytes", [1_000, 70_000, 5_000_000])
def test_guarded_adapters_cut_off_who_is_too_slow_and_nobody_else(adapted, piece_nbytes):
    """100 kB/s are wanted: a peer that takes ten times that is not too slow, one of half is."""
    data = noise(5_000_000)
    pieces = [BytesView(data[at : at + piece_nbytes]) for at in range(0, len(data), piece_nbytes)]

    async def main():
        stream = Paced(1_000_000)
        guard = GuardedWrite(adapted(stream), MinRate(100_000, seconds=1))
        began = trio.current_time()
        await guard.write_parts(pieces)
        assert trio.current_time() - began == pytest.approx(5)
        assert stream.taken == data
        with pytest.raises(PeerTooSlow):
            await guard.send_eof()  # which takes 10 seconds
        guard = GuardedWrite(adapted(Paced(50_000)), MinRate(100_000, seconds=1))
        began = trio.current_time()
        with pytest.raises(PeerTooSlow) as caught:
            await guard.write_parts(pieces)
        assert (caught.value.nbytes, trio.current_time() - began) == (0, pytest.approx(1))

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_guarded_adapter_over_a_stream_in_lock_step():
    """10 kB each 10 ms are a megabyte a second; when the peer takes no more it is cut off."""

    async def main():
        ours, theirs = trio.testing.lockstep_stream_pair()
        guard = GuardedWrite(from_trio(ours), MinRate(100_000, seconds=1))
        data = noise(2_000_000)

        async def take():
            taken = bytearray()
            while len(taken) < len(data):
                await trio.sleep(0.01)
                taken += await theirs.receive_some(10_000)
            assert taken == data

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await guard.write_view(BytesView(data))
        with pytest.raises(PeerTooSlow):
            await guard.write_view(BytesView(b"x"))

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_a_stapled_stream_is_used_by_its_parts():
    """Two pipes, by their descriptors; its end is that the sending one is closed."""
    (r1, w1), (r2, w2) = os.pipe(), os.pipe()
    ours = from_trio(trio.StapledStream(trio.lowlevel.FdStream(w1), trio.lowlevel.FdStream(r2)))
    theirs = trio.StapledStream(FdStream(w2), FdStream(r1))
    async with ours, theirs:
        await ours.write_view(BytesView(b"there"))
        assert await theirs.receive_some() == b"there"
        await theirs.send_all(noise(50_000))
        assert await ours.read_exactly(50_000) == noise(50_000)
        assert type(ours._source) is FdStream
        assert ours._source.statistics().received_nbytes == 50_000
        await ours.send_eof()
        assert await theirs.receive_some() == b""
        with pytest.raises(trio.ClosedResourceError):
            await ours.write_view(BytesView(b"x"))
        await theirs.send_eof()
        assert await ours.receive_some() == b""


async def test_a_stapled_stream_passes_trios_checks():
    """By the adapter, over two pipes for each side."""

    async def make():
        (r1, w1), (r2, w2) = os.pipe(), os.pipe()
        raw = trio.lowlevel.FdStream
        return (
            from_trio(trio.StapledStream(raw(w1), raw(r2))),
            from_trio(trio.StapledStream(raw(w2), raw(r1))),
        )

    await trio.testing.check_half_closeable_stream(make, None)


async def test_a_cancelled_read_through_an_adapter_loses_nothing():
    """What a longer read had got is kept, and trio's own method begins with it."""
    ours, theirs = map(from_trio, trio.testing.memory_stream_pair())
    async with ours, theirs:
        await theirs.send_all(b"abc")
        with trio.move_on_after(0.01):
            await ours.read_exactly(10)
        await theirs.send_all(b"def")
        assert await ours.receive_some(2) == b"ab"
        assert await ours.read_exactly(4) == b"cdef"


async def test_trios_errors_are_passed_on():
    """Whatever the stream raises is what is raised."""
    ours, theirs = trio.testing.memory_stream_pair()
    adapter = from_trio(ours)
    await theirs.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await adapter.write_view(BytesView(b"x"))
    await ours.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await adapter.receive_view()
    await adapter.aclose()
    assert repr(adapter) == f"<StapledAdapter over {adapter._stream!r}>"


# Ours as theirs


@pytest.mark.parametrize("hidden", [Hidden, HiddenWithEof])
async def test_what_reads_and_writes_passes_trios_checks(hidden):
    """Clogged as well; by halves where it has an end to announce."""

    async def make():
        a, b = await socketpair()
        return to_trio(hidden(a)), to_trio(hidden(b))

    async def make_clogged():
        a, b = await socketpair()
        await clog(a)
        await clog(b)
        return to_trio(hidden(a)), to_trio(hidden(b))

    if hidden is HiddenWithEof:
        await trio.testing.check_half_closeable_stream(make, make_clogged)
    else:
        await trio.testing.check_two_way_stream(make, make_clogged)


@pytest.mark.parametrize("pair", [memory_pair, lockstep_pair], ids=by_name)
@pytest.mark.parametrize("memory", [lambda: None, lambda: FixedBlockMemory(999)])
async def test_streams_in_memory_pass_trios_checks(pair, memory):
    """One-way and two-way, over views in blocks of any size."""

    async def make():
        a, b = pair(memory())
        return to_trio(a), to_trio(b)

    await trio.testing.check_one_way_stream(make, None)
    await trio.testing.check_two_way_stream(make, None)


async def test_each_kind_of_endpoint_gets_its_sides():
    """And what is a trio stream already stays what it is."""
    assert isinstance(to_trio(FakeRead(b"")), trio.abc.ReceiveStream)
    assert not isinstance(to_trio(FakeRead(b"")), trio.abc.SendStream)
    assert isinstance(to_trio(FakeWrite()), trio.abc.SendStream)
    assert not isinstance(to_trio(FakeWrite()), trio.abc.ReceiveStream)
    assert isinstance(to_trio(Pending()), trio.abc.Stream)
    assert not isinstance(to_trio(Pending()), trio.abc.HalfCloseableStream)
    assert isinstance(to_trio(memory_pair()[0]), trio.abc.HalfCloseableStream)
    sending, receiving = trio.testing.memory_stream_one_way_pair()
    for one in (
        *await socketpair(),
        from_trio(sending),
        from_trio(receiving),
        from_trio(Foreign()),
    ):
        assert to_trio(one) is one
        await one.aclose()


async def test_a_sink_that_keeps_views_keeps_what_was_sent():
    """Memory that the caller writes to afterwards was copied; `bytes` and views were not."""

    class Keeper(FakeWrite):
        async def _write_view(self, view):
            kept.append(view)
            await trio.lowlevel.checkpoint()

    kept = []
    stream = to_trio(Keeper())
    buffer, constant, view = bytearray(b"abc"), b"def", BytesView(b"ghi")
    for data in (buffer, memoryview(buffer), constant, view):
        await stream.send_all(data)
    buffer[:] = b"xyz"
    assert [bytes(each) for each in kept] == [b"abc", b"abc", b"def", b"ghi"]
    assert kept[2].pieces[0].obj is constant
    assert kept[3].pieces[0].obj is view.pieces[0].obj


async def test_closing_the_stream_closes_the_endpoint():
    """Whatever kind it is; receiving from either is an error then."""
    source = FakeRead(b"abc")
    stream = to_trio(source)
    assert repr(stream) == f"<TrioReceiveStream over {source!r}>"
    assert await stream.receive_some(2) == b"ab"
    assert await source.receive_view() == b"c"
    await stream.aclose()
    for receive in (stream.receive_some, source.receive_view):
        with pytest.raises(trio.ClosedResourceError):
            await receive()


@given(st.binary(max_size=300_000), st.integers(1, 100_000))
async def test_content_goes_there_and_back(data, step):
    """Theirs as ours as theirs: the same bytes."""
    a, b = trio.testing.memory_stream_pair()
    ours, theirs = to_trio(Through(from_trio(a))), to_trio(Through(from_trio(b)))

    async def send():
        for at in range(0, len(data), step):
            await theirs.send_all(data[at : at + step])
        await theirs.aclose()

    arrived = bytearray()
    async with ours, theirs, trio.open_nursery() as nursery:
        nursery.start_soon(send)
        while part := await ours.receive_some():
            arrived += part
    assert arrived == data


class Through(Hidden):
    """`Hidden`, over any endpoint."""


async def test_a_second_task_is_refused():
    """By adapters both ways, on each side; a wait for room is a use of the sending side."""
    a, _ = trio.testing.lockstep_stream_pair()
    pending = to_trio(Pending())
    for stream in (from_trio(a), pending):
        with contextlib.suppress(trio.ClosedResourceError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.receive_some)
                nursery.start_soon(stream.send_all, b"x")
                await trio.testing.wait_all_tasks_blocked()
                for call in (
                    stream.receive_some,
                    lambda stream=stream: stream.send_all(b"y"),
                    stream.wait_send_all_might_not_block,
                ):
                    with pytest.raises(trio.BusyResourceError):
                        await call()
                nursery.cancel_scope.cancel()
