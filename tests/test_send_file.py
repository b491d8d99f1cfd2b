"""`send_file`: what is sent is what the file has, to peers that are quick, slow or gone."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from unittest import mock

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import clog, closing, noise, reset, socketpair, tcp_pair
from test_tls import contexts as tls_contexts

from trio_bytesbuf import BytesView, SocketStream
from trio_bytesbuf._errors import UnexpectedEof
from trio_bytesbuf.io import (
    File,
    GuardedStream,
    GuardedWrite,
    MinRate,
    PeerTooSlow,
    TlsStream,
    Write,
    _send_file,
    from_trio,
    open_binary_file,
    send_file,
)
from trio_bytesbuf.testing import FakeWrite

contexts = tls_contexts

NBYTES = 3_000_001
"""Larger than what one socket takes at once."""

DATA = noise(NBYTES)


class Kept(Write):
    """A sink that is no socket, and keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    async def _write_view(self, view: BytesView) -> None:
        await trio.lowlevel.checkpoint()
        self.got.append(bytes(view))

    async def _aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@contextlib.asynccontextmanager
async def a_file(contents: bytes = DATA) -> AsyncIterator[File]:
    """A file without a name that has `contents`."""
    raw = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # the File closes it
    raw.write(contents)
    async with File(raw) as file:
        yield file


@pytest.fixture(params=["by the system", "in small parts", "without sendfile", "not for this file"])
def way(request, monkeypatch):
    """Each of the ways that a system may leave."""
    call = os.sendfile
    if request.param == "in small parts":
        monkeypatch.setattr(os, "sendfile", lambda a, b, at, n: call(a, b, at, min(n, 100_000)))
    elif request.param == "without sendfile":
        monkeypatch.setattr(_send_file, "CAN_SEND_FILES", False)
    elif request.param == "not for this file":

        def refuse(*_):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

        monkeypatch.setattr(os, "sendfile", refuse)
    return request.param


async def received(stream: SocketStream, *, delay: float = 0.0) -> bytes:
    """Return the checksum of everything that comes; a slow reader takes a rest now and then."""
    digest = hashlib.sha256()
    async for view in stream.views(200_000 if delay else None):
        digest.update(bytes(view))
        await trio.sleep(delay)
    return digest.digest()


@pytest.mark.parametrize("make", [socketpair, tcp_pair])
@pytest.mark.parametrize("delay", [0.0, 0.002, 0.02], ids=["quick", "slow", "very slow"])
async def test_what_arrives_is_what_the_file_has(make, delay, way):
    """All of it, once and in order, however slow the peer."""
    ours, theirs = await make()
    async with closing(ours, theirs), a_file() as file, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def check() -> None:
            assert await received(theirs, delay=delay) == hashlib.sha256(DATA).digest()

        assert await send_file(ours, file) == NBYTES
        assert file.read_offset == 0
        assert ours.statistics().sent_nbytes == NBYTES
        assert ours.statistics().send_calls > 0
        await ours.send_eof()


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=30), st.integers(0, 40), st.none() | st.integers(0, 40), st.booleans())
async def test_offsets_and_lengths(contents, offset, nbytes, by_system):
    """What is sent is that slice of the file; a file too short is said to be, after all it has."""
    expected = contents[offset:] if nbytes is None else contents[offset : offset + nbytes]
    ours, theirs = await socketpair()
    with mock.patch.object(_send_file, "SMALL_NBYTES", -1 if by_system else 1 << 18):
        async with closing(ours, theirs), a_file(contents) as file:
            if nbytes is None or nbytes == len(expected):
                assert await send_file(ours, file, offset, nbytes) == len(expected)
            else:
                with pytest.raises(UnexpectedEof) as caught:
                    await send_file(ours, file, offset, nbytes)
                assert (caught.value.wanted, caught.value.arrived) == (nbytes, len(expected))
            await ours.send_eof()
            assert await theirs.read_to_end(1_000) == expected


async def test_other_sinks_get_views():
    """What is no socket is written to, and claimed only while it is."""
    sink = Kept()
    async with a_file() as file, sink:
        assert await send_file(sink, file, 5, NBYTES - 10) == NBYTES - 10
        with pytest.raises(UnexpectedEof):
            await send_file(sink, file, NBYTES - 3, 4)
    assert b"".join(sink.got) == DATA[5:-5] + DATA[-3:]


async def test_a_file_goes_into_a_file(tmp_path):
    """A `File` is a sink as well."""
    async with a_file() as file, await open_binary_file(tmp_path / "copy", "x") as copy:
        assert await send_file(copy, file) == NBYTES
    assert (tmp_path / "copy").read_bytes() == DATA


async def test_the_end_of_five_gigabytes(tmp_path):
    """Offsets that 32 bits cannot hold are offsets."""
    ours, theirs = await socketpair()
    with (tmp_path / "sparse").open("wb") as made:
        made.seek(5 << 30)
        made.write(b"the end")
    async with closing(ours, theirs), await open_binary_file(tmp_path / "sparse") as file:
        assert await send_file(ours, file, (5 << 30) - 2) == 9
        assert await theirs.receive_view() == b"\0\0the end"


async def test_slow_peers_are_waited_for_in_the_event_loop(monkeypatch):
    """A thread has patience once; a peer that was too slow for it holds no thread any more."""
    patience = []
    turn = _send_file._send_for_a_turn

    def noted(*args):
        patience.append(args[-1])
        return turn(*args)

    monkeypatch.setattr(_send_file, "_send_for_a_turn", noted)
    ours, theirs = await socketpair()
    async with closing(ours, theirs), a_file() as file, trio.open_nursery() as nursery:
        nursery.start_soon(partial(received, theirs, delay=0.03))
        await send_file(ours, file)
        await ours.send_eof()
    assert patience[0] == _send_file.PATIENCE_SECONDS
    assert 0 in patience


# One task, one sink, one end


async def test_the_sink_is_busy_meanwhile(way):
    """Nobody else may send in the midst of a file, nor send one while somebody sends."""
    ours, theirs = await socketpair()
    async with closing(ours, theirs), a_file() as file, trio.open_nursery() as nursery:
        nursery.start_soon(send_file, ours, file)
        while not ours.statistics().sent_nbytes:  # noqa: ASYNC110  # a thread has no event for it
            await trio.sleep(0.001)
        with pytest.raises(trio.BusyResourceError):
            await ours.write_view(BytesView(b"x"))
        with pytest.raises(trio.BusyResourceError):
            await send_file(ours, file)
        nursery.cancel_scope.cancel()


Sink = tuple[Write, Callable[[], Awaitable[bytes]]]


@contextlib.asynccontextmanager
async def fake() -> AsyncIterator[Sink]:
    """A sink that is a stand-in, and takes what it is given in parts."""
    async with FakeWrite(max_write_nbytes=10_000) as sink:

        async def arrived() -> bytes:
            await trio.lowlevel.checkpoint()
            return sink.contents.to_bytes()

        yield sink, arrived


@contextlib.asynccontextmanager
async def over_sockets(wrap: Callable[[SocketStream, bool], Write]) -> AsyncIterator[Sink]:
    """A sink that stands on a socket, whose peer reads while the sink is written to."""
    a, b = await socketpair()
    ours, theirs = wrap(a, True), wrap(b, False)
    got = bytearray()
    is_over = trio.Event()

    async def arrived() -> bytes:
        await ours.aclose()
        with trio.fail_after(5):
            await is_over.wait()
        return bytes(got)

    async with closing(ours, theirs), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def receive() -> None:
            async for view in theirs.views():
                got.extend(view.to_bytes())
            is_over.set()

        yield ours, arrived


class Opaque(trio.abc.Stream):
    """A trio stream of somebody else's, which has no quicker way for views."""

    def __init__(self, inner: SocketStream) -> None:
        self._inner = inner

    async def send_all(self, data: bytes) -> None:
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._inner.aclose()


def guarded(stream: SocketStream, _: bool) -> GuardedStream:
    """A stream that is given all the time it needs."""
    rate = MinRate(1, seconds=5)
    return GuardedStream(stream, receiving=rate, sending=rate)


OTHERS = {
    "a fake": fake,
    "an adapter": partial(over_sockets, lambda stream, _: from_trio(Opaque(stream))),
    "stapled": partial(over_sockets, lambda s, _: from_trio(trio.StapledStream(s, s))),
    "a guard": partial(over_sockets, guarded),
}


@pytest.fixture(params=[*OTHERS, "TLS"])
def other_sink(request):
    """Each kind of sink that the system cannot send a file to."""
    if request.param == "TLS":
        made = request.getfixturevalue("contexts")

        def secured(stream: SocketStream, is_ours: bool) -> TlsStream:
            if is_ours:
                inner = trio.SSLStream(stream, made.client, server_hostname="localhost")
            else:
                inner = trio.SSLStream(stream, made.server, server_side=True)
            return TlsStream(inner)

        return partial(over_sockets, secured)
    return OTHERS[request.param]


async def test_other_sinks_are_held_from_the_first_byte_to_the_last(other_sink):
    """Another task that writes is told so, again and again; no byte of its gets into the file."""
    async with a_file() as file, other_sink() as (sink, arrived):
        refused = 0
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def interfere() -> None:
                nonlocal refused
                while sink._is_sending or not refused:
                    if sink._is_sending:
                        for call in (
                            lambda: sink.write_view(BytesView(b"x")),
                            lambda: send_file(sink, file, 0, 1),
                            sink.wait_write_might_not_block,
                        ):
                            with pytest.raises(trio.BusyResourceError):
                                await call()
                        refused += 1
                    await trio.lowlevel.checkpoint()

            assert await send_file(sink, file) == NBYTES
        assert refused > NBYTES // _send_file.READ_NOW_NBYTES
        await sink.write_view(BytesView(b"!"))
        assert await arrived() == DATA + b"!"


async def test_a_guard_is_sent_to_by_reading(monkeypatch):
    """The system sends past a guard, whose clock would not see it; so it is not asked."""

    def never(*_):
        raise AssertionError("sendfile was called")

    monkeypatch.setattr(os, "sendfile", never)
    ours, theirs = await socketpair()
    rate = MinRate(1000, seconds=0.05)
    async with closing(ours, theirs), a_file() as file:
        guard = GuardedWrite(ours, rate)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(received, theirs)
            assert await send_file(guard, file) == NBYTES
            nursery.cancel_scope.cancel()
        await clog(ours)
        with pytest.raises(PeerTooSlow):
            await send_file(guard, file)


@pytest.mark.parametrize("nbytes", [None, 0, 5, 1_000_000])
async def test_closed_ones_are_refused(nbytes, way):
    """A closed sink, one whose end was announced, a closed file: trio's word, and a checkpoint."""
    ours, theirs = await socketpair()
    async with closing(ours, theirs):
        async with a_file() as file:
            await ours.send_eof()
            with pytest.raises(trio.ClosedResourceError), trio.testing.assert_checkpoints():
                await send_file(ours, file, 0, nbytes)
            await ours.aclose()
            with pytest.raises(trio.ClosedResourceError), trio.testing.assert_checkpoints():
                await send_file(ours, file, 0, nbytes)
        with pytest.raises(trio.ClosedResourceError):
            await send_file(theirs, file, 0, nbytes)
        await theirs.send_eof()  # nobody holds its side


@pytest.mark.parametrize("what", ["sink", "file"])
async def test_closing_either_ends_it(what, way):
    """Who is sending is told, also one who waits for a peer that takes nothing."""
    ours, theirs = await socketpair()
    async with closing(ours, theirs), a_file() as file, trio.open_nursery() as nursery:
        is_told = trio.Event()

        @nursery.start_soon
        async def send() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await send_file(ours, file)
            is_told.set()

        while not ours.statistics().sent_nbytes:  # noqa: ASYNC110  # a thread has no event for it
            await trio.sleep(0.001)
        await trio.sleep(0.03)
        await (ours if what == "sink" else file).aclose()
        if what == "file":  # which is noticed when the peer takes something
            nursery.start_soon(received, theirs)
        with trio.fail_after(5):
            await is_told.wait()
        await ours.aclose()


async def test_descriptors_are_not_given_away_under_a_thread(monkeypatch):
    """Both are closed, and their numbers taken by others, before the thread's call: no harm."""
    entered, opened = threading.Event(), threading.Event()
    call = os.sendfile
    calls = []

    def held_up(sink, source, offset, nbytes):
        entered.set()
        assert opened.wait(10)
        calls.append((os.fstat(sink).st_ino, os.fstat(source).st_ino))
        return call(sink, source, offset, min(nbytes, 1_000))

    monkeypatch.setattr(_send_file, "TURN_SECONDS", 0)
    ours, theirs = await socketpair()
    async with closing(ours, theirs), a_file() as file, trio.open_nursery() as nursery:
        numbers = [ours.fileno(), file._handle.raw.fileno()]
        inodes = tuple(os.fstat(fd).st_ino for fd in numbers)
        with mock.patch.object(os, "sendfile", held_up):

            @nursery.start_soon
            async def send() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await send_file(ours, file)

            await trio.to_thread.run_sync(entered.wait, 10)
            await ours.aclose()
            await file.aclose()
            with contextlib.ExitStack() as stack:
                for _ in range(8):
                    stack.enter_context(tempfile.TemporaryFile())
                opened.set()
                async for _ in theirs.views():
                    pass
            await trio.testing.wait_all_tasks_blocked()
    assert set(calls) == {inodes}


async def test_a_cancelled_one_knows_how_far_it_came(way):
    """It ends soon, the thread with it; what had been sent is a prefix, and nothing follows."""
    ours, theirs = await socketpair()
    async with closing(ours, theirs), a_file() as file:
        with trio.move_on_after(0.1) as scope:
            await send_file(ours, file)
        assert scope.cancelled_caught
        sent = ours.statistics().sent_nbytes
        await ours.aclose()
        assert await theirs.read_to_end(NBYTES) == DATA[:sent]
    assert 0 < sent < NBYTES


async def test_a_cancelled_one_waits_for_its_thread():
    """A thread that is held up in the disk is waited for: what was sent is known."""
    entered, opened = threading.Event(), threading.Event()
    call = os.sendfile

    def held_up(*args):
        entered.set()
        assert opened.wait(10)
        return call(*args)

    ours, theirs = await socketpair()
    with mock.patch.object(os, "sendfile", held_up):
        async with closing(ours, theirs), a_file() as file, trio.open_nursery() as nursery:
            is_over = trio.Event()

            @nursery.start_soon
            async def send() -> None:
                try:
                    await send_file(ours, file)
                finally:
                    is_over.set()

            await trio.to_thread.run_sync(entered.wait, 10)
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked(0.02)
                assert not is_over.is_set()
                opened.set()
                await is_over.wait()
            assert ours.statistics().sent_nbytes > 0


async def test_nothing_is_sent_for_who_is_cancelled_before(way):
    """The first thing that happens is a checkpoint."""
    ours, theirs = await socketpair()
    async with closing(ours, theirs), a_file() as file:
        for nbytes in (None, 0, 5, 1_000_000):
            with trio.CancelScope() as scope:
                scope.cancel()
                await send_file(ours, file, 0, nbytes)
            assert scope.cancelled_caught
        assert not ours.statistics().sent_nbytes


# What goes wrong


async def test_a_peer_that_resets_is_told_of(way):
    """By trio's word, also while it is waited for; and the stream stays broken."""
    ours, theirs = await tcp_pair()
    async with closing(ours, theirs), a_file() as file, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def leave() -> None:
            await theirs.receive_view()
            reset(theirs)

        async def send_on() -> None:
            while True:  # the system takes some megabytes before it hears of anything
                await send_file(ours, file)

        with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
            await send_on()
        with pytest.raises(trio.BrokenResourceError):
            await ours.receive_view()


async def test_a_clogged_peer_that_leaves_is_told_of(way):
    """Not a byte could be sent, and none can be."""
    ours, theirs = await tcp_pair()
    async with closing(ours, theirs), a_file() as file, trio.open_nursery() as nursery:
        await clog(ours)

        @nursery.start_soon
        async def leave() -> None:
            await trio.sleep(0.05)
            reset(theirs)

        with pytest.raises(trio.BrokenResourceError), trio.fail_after(5):
            await send_file(ours, file)


async def test_an_error_of_the_disk_is_the_files_and_not_the_peers(monkeypatch):
    """It is raised as it is, with the path, after what was sent before; the stream is well."""
    call, left = os.sendfile, [10_000]

    def fail(sink, source, offset, nbytes):
        if not left:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return call(sink, source, offset, left.pop())

    monkeypatch.setattr(os, "sendfile", fail)
    ours, theirs = await socketpair()
    async with closing(ours, theirs), a_file() as file:
        with pytest.raises(OSError, match="Input/output") as caught:
            await send_file(ours, file)
        assert caught.value.filename == file.name
        await ours.write_view(BytesView(b"!"))
        assert await theirs.read_exactly(10_001) == DATA[:10_000] + b"!"


async def test_a_file_that_is_cut_short_meanwhile_just_ends(way):
    """It is an error if more was asked for, and it says how much was sent."""
    ours, theirs = await socketpair()
    async with closing(ours, theirs), a_file() as file, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def cut() -> None:
            while not ours.statistics().sent_nbytes:  # noqa: ASYNC110
                await trio.sleep(0.001)
            os.ftruncate(file._handle.raw.fileno(), 1_500_000)
            await received(theirs)

        with pytest.raises(UnexpectedEof) as caught:
            await send_file(ours, file, 0, NBYTES)
        assert caught.value.arrived == ours.statistics().sent_nbytes < NBYTES
        await ours.send_eof()


async def test_wrong_arguments():
    """Builtin errors, before anything is sent."""
    ours, theirs = await socketpair()
    async with closing(ours, theirs), a_file(b"abc") as file:
        for numbers in ((-1,), (0, -1)):
            with pytest.raises(ValueError, match="at least 0"):
                await send_file(ours, file, *numbers)
        for call in (
            lambda: send_file(ours, file, 0.0),
            lambda: send_file(ours, file, 0, "1"),
            lambda: send_file(ours, file._handle.raw),
            lambda: send_file(ours.socket, file),
        ):
            with pytest.raises(TypeError):
                await call()
        assert not ours.statistics().sent_nbytes


async def test_a_file_for_writing_only_is_refused(tmp_path, way):
    """As reading it would be; and the sink is free afterwards."""
    ours, theirs = await socketpair()
    async with closing(ours, theirs), await open_binary_file(tmp_path / "f", "w") as file:
        for nbytes in (None, 0, 5, 1_000_000):
            with pytest.raises(io.UnsupportedOperation):
                await send_file(ours, file, 0, nbytes)
        await ours.write_view(BytesView(b"x"))
