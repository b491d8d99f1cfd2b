"""`from_anyio` and `to_anyio`: anyio's byte streams as ours and ours as anyio's, over sockets."""

from __future__ import annotations

import contextlib
import socket as stdlib_socket
import struct
import subprocess
import sys

import anyio
import anyio.abc
import pytest
import test_tls
import trio
import trio.testing
from anyio.abc import SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream, BufferedByteStream
from anyio.streams.text import TextReceiveStream, TextStream
from anyio.streams.tls import TLSAttribute, TLSStream
from hypothesis import given
from hypothesis import strategies as st
from pairs import closing, noise, socketpair, tcp_pair

from trio_bytesbuf import BadSource, BufStream, BytesView, MissingExtra, capture
from trio_bytesbuf.io import Read, SocketStream, TlsStream, Write, from_anyio, from_trio, to_anyio
from trio_bytesbuf.mem import PlainMemory
from trio_bytesbuf.testing import (
    CLOGGED_SINK_CHECKS,
    SINK_CHECKS,
    SOURCE_CHECKS,
    STALLED_SOURCE_CHECKS,
    FakeRead,
    FakeWrite,
    Pending,
)

by_name = lambda check: check.__name__  # noqa: E731


contexts_of_tls = test_tls.contexts


@pytest.fixture(scope="module")
def contexts(contexts_of_tls):
    """Those of TLS's tests, but no server sends what no client reads: closing would be a reset."""
    contexts_of_tls.server.num_tickets = 0
    return contexts_of_tls


# Kinds of streams of anyio's: each of `KINDS` makes one over a connected socket, and its peer


class Somebodys(anyio.abc.ByteStream):
    """A stream that somebody else has made for anyio, over any other."""

    def __init__(self, inner):
        self.inner = inner

    async def receive(self, max_bytes=65_536):
        return await self.inner.receive(max_bytes)

    async def send(self, item):
        assert type(item) is bytes
        await self.inner.send(item)

    async def send_eof(self):
        await self.inner.send_eof()

    async def aclose(self):
        await self.inner.aclose()


async def anyios(socket: stdlib_socket.socket) -> anyio.abc.UNIXSocketStream:
    return await anyio.abc.UNIXSocketStream.from_socket(socket)


async def socket_kind(ours, theirs, contexts):
    return await anyios(ours), await anyios(theirs)


async def somebodys_kind(ours, theirs, contexts):
    return Somebodys(await anyios(ours)), await anyios(theirs)


async def buffered_kind(ours, theirs, contexts):
    return BufferedByteStream(await anyios(ours)), await anyios(theirs)


async def ours_kind(ours, theirs, contexts):
    """Ours as anyio's, which `from_anyio` is not to know."""
    stream = SocketStream(trio.socket.from_stdlib_socket(ours))
    return Somebodys(to_anyio(stream)), await anyios(theirs)


async def tls_kind(ours, theirs, contexts):
    streams = {}

    async def wrap(name, socket, context, **options):
        streams[name] = await TLSStream.wrap(
            await anyios(socket), ssl_context=context, standard_compatible=False, **options
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: wrap("ours", ours, contexts.client, hostname="localhost"))
        nursery.start_soon(lambda: wrap("theirs", theirs, contexts.server, server_side=True))
    return streams["ours"], streams["theirs"]


KINDS = [socket_kind, somebodys_kind, buffered_kind, ours_kind, tls_kind]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.split("_")[0])


@contextlib.contextmanager
def sockets():
    """Give away two connected sockets, and close them afterwards if nobody else has."""
    pair = stdlib_socket.socketpair()
    try:
        yield pair
    finally:
        for socket in pair:
            socket.close()


@pytest.fixture
def left_over():
    """Sockets and streams to close when the test is over."""
    with contextlib.ExitStack() as stack:
        yield stack


# Theirs as ours


@every_kind
@pytest.mark.parametrize("check", SOURCE_CHECKS, ids=by_name)
async def test_a_stream_of_anyios_is_a_read(check, kind, contexts, left_over):
    """The checks for everybody's sources; some are no checkpoints by themselves."""

    async def made(contents):
        ours, theirs = await kind(*left_over.enter_context(sockets()), contexts)
        if contents:
            await theirs.send(contents)
        await trio.aclose_forcefully(theirs)
        return from_anyio(ours, memory=PlainMemory())

    await check(made)


@every_kind
@pytest.mark.parametrize("check", STALLED_SOURCE_CHECKS, ids=by_name)
async def test_a_stream_of_anyios_is_a_read_that_waits(check, kind, contexts, left_over):
    """The checks for sources that go silent: closing wakes who waits, with the right error."""

    async def made(contents):
        ours, theirs = await kind(*left_over.enter_context(sockets()), contexts)
        await theirs.send(contents)
        return from_anyio(ours, memory=PlainMemory())

    await check(made)


@every_kind
@pytest.mark.parametrize("check", SINK_CHECKS, ids=by_name)
async def test_a_stream_of_anyios_is_a_write(check, kind, contexts, left_over):
    """The checks for everybody's sinks."""

    async def made():
        ours, theirs = await kind(*left_over.enter_context(sockets()), contexts)
        there = bytearray()

        async def arrived():
            with trio.move_on_after(0.001), contextlib.suppress(anyio.EndOfStream):
                while True:
                    there.extend(await theirs.receive())
            return bytes(there)

        return from_anyio(ours, memory=PlainMemory()), arrived

    await check(made)


@every_kind
@pytest.mark.parametrize("check", CLOGGED_SINK_CHECKS, ids=by_name)
async def test_a_stream_of_anyios_is_a_write_that_waits(check, kind, contexts, left_over):
    """The checks for sinks that are full."""

    async def made():
        pair = left_over.enter_context(sockets())
        ours, _ = await kind(*pair, contexts)
        with contextlib.suppress(BlockingIOError):
            while True:
                pair[0].send(bytes(100_000))
        return from_anyio(ours, memory=PlainMemory())

    await check(made)


@given(
    sizes=st.lists(st.integers(0, 200_000), max_size=4),
    cut=st.integers(100, 100_000),
    limits=st.lists(st.none() | st.integers(1, 300_000), min_size=1, max_size=4),
)
@every_kind
async def test_content_goes_through_as_it_is(kind, contexts, sizes, cut, limits):
    """Whatever pieces it is written in, whatever is read at a time, both sides through adapters."""
    data = noise(sum(sizes))
    arrived = []
    with sockets() as pair:
        ours, theirs = map(from_anyio, await kind(*pair, contexts))

        async def send():
            at = 0
            for nbytes in sizes:
                whole = BytesView(data[at : at + nbytes])
                await theirs.write_parts([whole[i : i + cut] for i in range(0, nbytes, cut)])
                at += nbytes
            await trio.aclose_forcefully(theirs)

        async with closing(ours), trio.open_nursery() as nursery:
            nursery.start_soon(send)
            for at in range(10_000_000):
                limit = limits[at % len(limits)] if at < 50 else None  # else it takes too long
                view = await ours.receive_view(limit)
                if not view:
                    break
                assert limit is None or len(view) <= limit
                arrived.append(bytes(view))
    assert b"".join(arrived) == data


@every_kind
async def test_what_comes_is_an_honest_trio_stream(kind, contexts):
    """It passes trio's checks; by halves where it has an end to announce."""

    async def make():
        return tuple(map(from_anyio, await kind(*stdlib_socket.socketpair(), contexts)))

    if kind is tls_kind:
        one, other = await make()
        assert not isinstance(one, trio.abc.HalfCloseableStream)
        for stream in (one, other):
            await trio.aclose_forcefully(stream)
    elif kind is ours_kind:  # the peers differ
        await trio.testing.check_two_way_stream(make, None)
    else:
        await trio.testing.check_half_closeable_stream(make, None)


async def test_each_kind_of_stream_gets_its_own():
    """Sockets of anyio's the fast way, others just the sides they have; what is ours, itself."""
    memory = PlainMemory()
    with sockets() as pair:
        one, other = map(SocketStream, map(trio.socket.from_stdlib_socket, pair))
        two_ways = to_anyio(one)
        assert from_anyio(two_ways) is one
        assert from_anyio(one) is one
        wrapped = from_anyio(await anyios(pair[1]), memory=memory)
        assert type(wrapped) is SocketStream
        assert wrapped.memory is memory
        assert wrapped.fileno() == pair[1].fileno()

        class Counting(type(await anyios(pair[1]))):
            """A socket of anyio's that somebody has taught something."""

        counting = from_anyio(Counting(trio.socket.from_stdlib_socket(pair[1])))
        assert not isinstance(counting, SocketStream)

        for stream, reads, writes in (
            (BufferedByteReceiveStream(two_ways), True, False),
            (Somebodys(two_ways), True, True),
            (SomebodysSink(), False, True),
        ):
            adapted = from_anyio(stream, memory=memory)
            assert adapted.memory is memory
            assert from_anyio(adapted) is adapted
            assert isinstance(adapted, Read) is isinstance(adapted, trio.abc.ReceiveStream) is reads
            assert isinstance(adapted, Write) is isinstance(adapted, trio.abc.SendStream) is writes
            assert f"over {stream!r}>" in repr(adapted)
        await other.aclose()
        await one.aclose()


class SomebodysSink(anyio.abc.ByteSendStream):
    """A sink that remembers what objects it was given."""

    def __init__(self):
        self.sent = []

    async def send(self, item):
        self.sent.append(item)

    async def aclose(self):
        pass


class SomebodysSource(anyio.abc.ByteReceiveStream):
    """A source that returns, or raises, what it is told, and is no checkpoint."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.asked = []

    async def receive(self, max_bytes=65_536):
        self.asked.append(max_bytes)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def aclose(self):
        raise anyio.BrokenResourceError


@pytest.mark.parametrize("wrong", [3, b"abc", None, anyio.create_memory_object_stream], ids=repr)
async def test_what_is_no_stream_is_refused(wrong):
    """By both, with the type's name; object streams of bytes are none."""
    kind = type(wrong).__name__
    with pytest.raises(TypeError, match=f"a byte stream of anyio's, not {kind}"):
        from_anyio(wrong)
    with pytest.raises(TypeError, match=f"a Read, a Write or a trio stream, not {kind}"):
        to_anyio(wrong)
    with pytest.raises(TypeError, match="a Memory is wanted"):
        from_anyio(SomebodysSource(), memory=3)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (anyio.ClosedResourceError(), trio.ClosedResourceError),
        (anyio.BrokenResourceError(), trio.BrokenResourceError),
        (ConnectionResetError(104, "reset"), trio.BrokenResourceError),
        (anyio.BusyResourceError("reading"), trio.BusyResourceError),
        (LookupError("no business of ours"), LookupError),
    ],
    ids=repr,
)
async def test_errors_are_trios_and_anyios_are_their_causes(theirs, ours):
    """What neither has a word for is raised as it is."""
    source = from_anyio(SomebodysSource(theirs))
    with pytest.raises(ours) as caught:
        await source.receive_view()
    assert theirs in {caught.value, caught.value.__cause__}
    await source.aclose()  # which raises, and is suppressed


class Woken(SomebodysSource):
    """A source that says something else than that it was closed to who waited for it."""

    def __init__(self, outcome):
        super().__init__(outcome)
        self.is_closed = trio.Event()

    async def receive(self, max_bytes=65_536):
        await self.is_closed.wait()
        return await super().receive(max_bytes)

    async def aclose(self):
        self.is_closed.set()


@pytest.mark.parametrize(
    "outcome",
    [
        anyio.EndOfStream(),
        anyio.BrokenResourceError(),
        anyio.BusyResourceError("reading"),
        OSError(9, "bad descriptor"),
    ],
    ids=repr,
)
async def test_who_waits_when_it_is_closed_hears_that_and_nothing_else(outcome):
    """Whatever a stream says then: an end, for one, would pass for the peer's."""
    source = from_anyio(Woken(outcome))
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wait():
            with pytest.raises(trio.ClosedResourceError):
                await source.receive_view()

        await trio.testing.wait_all_tasks_blocked()
        await source.aclose()


async def test_no_bytes_are_no_end_and_an_end_is_for_ever():
    """Bytes that a stream would return after its end are never asked for; limits are passed on."""
    theirs = SomebodysSource(b"", b"", b"abc", b"", anyio.EndOfStream(), b"never")
    source = from_anyio(theirs)
    assert await source.receive_view(7) == b"abc"
    for _ in range(3):
        assert not await source.receive_view()
    assert theirs.outcomes == [b"never"]
    assert theirs.asked == [7, 7, 7, 65_536, 65_536]


@pytest.mark.parametrize(
    ("wrong", "complaint"), [("abc", "returned a str"), (b"abcdef", "asked for 4 bytes at most")]
)
async def test_a_stream_that_returns_what_it_should_not_is_bad(wrong, complaint):
    """As every other source."""
    with pytest.raises(BadSource, match=complaint):
        await from_anyio(SomebodysSource(wrong)).receive_view(4)


@given(st.lists(st.integers(1, 200_000), max_size=6))
async def test_what_is_sent_is_bytes_and_copied_only_if_it_must_be(sizes):
    """A `bytes` that is a piece by itself is sent itself, if nothing is joined to it."""
    pieces = [noise(nbytes, seed) for seed, nbytes in enumerate(sizes)]
    theirs = SomebodysSink()
    await from_anyio(theirs).write_parts(map(BytesView, pieces))
    assert b"".join(theirs.sent) == b"".join(pieces)
    assert all(type(item) is bytes for item in theirs.sent)
    large = [piece for piece in pieces if len(piece) > 65_536]
    assert all(any(item is piece for item in theirs.sent) for piece in large)
    theirs.sent.clear()
    await from_anyio(theirs).write_view(BytesView(bytearray(200_000)))
    assert [len(item) for item in theirs.sent] == [65_536, 65_536, 65_536, 3_392]


# Ours as theirs


async def test_ends_limits_and_iteration_are_as_anyio_has_them():
    """`EndOfStream` again and again, `ValueError` for no bytes, 64 KiB if not told otherwise."""
    stream = to_anyio(FakeRead(noise(200_000)))
    assert isinstance(stream, anyio.abc.ByteReceiveStream)
    assert await stream.receive(3) == noise(200_000)[:3]
    for wrong, error in ((0, ValueError), (-1, ValueError), ("1", TypeError)):
        with pytest.raises(error):
            await stream.receive(wrong)
    rest = [data async for data in stream]
    assert b"".join(rest) == noise(200_000)[3:]
    assert max(map(len, rest)) <= 65_536
    for _ in range(2):
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()


async def test_errors_are_anyios_and_trios_are_their_causes():
    """Busy, closed by us, closed by who waits, and a reset, on each side."""
    stream = to_anyio(Pending())
    async with trio.open_nursery() as nursery:
        for call in (stream.receive, lambda: stream.send(b"x")):
            nursery.start_soon(call)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(anyio.BusyResourceError) as caught:
                await call()
            assert isinstance(caught.value.__cause__, trio.BusyResourceError)
        nursery.cancel_scope.cancel()

    a, b = await tcp_pair()
    ours = to_anyio(a)
    b.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, struct.pack("ii", True, False))
    b.socket.close()
    for call in (ours.receive, lambda: ours.send(b"x")):
        with pytest.raises(anyio.BrokenResourceError) as caught:
            await call()
        assert isinstance(caught.value.__cause__, trio.BrokenResourceError)
    for _ in range(2):
        await ours.aclose()
    for call in (ours.receive, lambda: ours.send(b"x"), ours.send_eof):
        with pytest.raises(anyio.ClosedResourceError) as caught:
            await call()
        assert isinstance(caught.value.__cause__, trio.ClosedResourceError)


async def test_who_waits_when_it_is_closed_is_told_so():
    """In anyio's words."""
    a, b = await socketpair()
    ours = to_anyio(a)
    async with b, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wait():
            with pytest.raises(anyio.ClosedResourceError):
                await ours.receive()

        await trio.testing.wait_all_tasks_blocked()
        await ours.aclose()


async def test_each_side_is_there_if_the_endpoint_has_it():
    """Of our endpoints and of trio's streams; an end is announced where there is a word for it."""
    sending, receiving = trio.testing.memory_stream_one_way_pair()
    for endpoint, reads, writes in (
        (FakeRead(b""), True, False),
        (FakeWrite(), False, True),
        (Pending(), True, True),
        (sending, False, True),
        (receiving, True, False),
    ):
        stream = to_anyio(endpoint)
        assert isinstance(stream, anyio.abc.ByteReceiveStream) is reads
        assert isinstance(stream, anyio.abc.ByteSendStream) is writes
        assert isinstance(stream, anyio.abc.ByteStream) is (reads and writes)
        assert stream.endpoint is endpoint
        assert repr(stream).endswith(f" over {endpoint!r}>")
    with pytest.raises(NotImplementedError, match="cannot announce its end but by closing"):
        await to_anyio(Pending()).send_eof()
    a, b = await socketpair()
    async with a, to_anyio(b) as stream:
        for _ in range(2):
            await stream.send_eof()
        assert not await a.receive_view()


@pytest.mark.parametrize("family", ["IPv4", "IPv6", "Unix"])
async def test_typed_attributes_are_those_that_anyio_has_for_that_socket(family):
    """The same names and the same values, below a capture and a buffer, too."""
    with contextlib.ExitStack() as stack:
        if family == "Unix":
            raw, _ = map(stack.enter_context, stdlib_socket.socketpair())
            theirs = await anyio.abc.UNIXSocketStream.from_socket(raw)
        else:
            host, kind = ("127.0.0.1", stdlib_socket.AF_INET)
            if family == "IPv6":
                host, kind = ("::1", stdlib_socket.AF_INET6)
            listening = stack.enter_context(stdlib_socket.create_server((host, 0), family=kind))
            raw = stack.enter_context(stdlib_socket.socket(kind))
            raw.connect(listening.getsockname())
            stack.enter_context(listening.accept()[0])
            theirs = await anyio.abc.SocketStream.from_socket(raw)
        ours = SocketStream(trio.socket.from_stdlib_socket(raw))
        for endpoint in (ours, BufStream(ours), capture(ours), from_trio(ours), ours._stream):
            stream = to_anyio(endpoint)
            values = [
                {name: value() for name, value in each.extra_attributes.items()}
                for each in (stream, theirs)
            ]
            assert values[0] == values[1]
            assert stream.extra(SocketAttribute.raw_socket) is raw
        assert to_anyio(FakeRead(b"")).extra(SocketAttribute.family, None) is None


# Libraries for anyio over ours


@pytest.mark.parametrize("peer", ["anyio's", "ours"])
async def test_anyios_tls_works_over_our_streams(peer, contexts):
    """A handshake, a megabyte both ways, and the farewell; with anyio's own TLS and with trio's."""
    a, b = await socketpair()
    data = noise(1_000_000)
    done = []

    async def client():
        stream = await TLSStream.wrap(
            to_anyio(a), ssl_context=contexts.client, hostname="localhost"
        )
        async with from_anyio(stream) as tls:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tls.write_view, BytesView(data))
                assert await tls.read_exactly(len(data)) == data
            assert stream.extra(SocketAttribute.family) == stdlib_socket.AF_UNIX
        done.append("client")

    async def server():
        if peer == "ours":
            tls = TlsStream(trio.SSLStream(b, contexts.server, server_side=True))
        else:
            tls = from_anyio(
                await TLSStream.wrap(to_anyio(b), ssl_context=contexts.server, server_side=True)
            )
        async with tls:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tls.write_view, BytesView(data))
                assert await tls.read_exactly(len(data)) == data
            assert not await tls.receive_view()
        done.append("server")

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client)
            nursery.start_soon(server)
    assert sorted(done) == ["client", "server"]


async def test_anyio_sees_what_our_tls_has_agreed_on(contexts):
    """By the names that anyio's own TLS uses, and the socket's below."""
    streams = await socketpair()
    ours = TlsStream(trio.SSLStream(streams[0], contexts.client, server_hostname="localhost"))
    theirs: list[TLSStream] = []

    async def server():
        theirs.append(
            await TLSStream.wrap(
                to_anyio(streams[1]), ssl_context=contexts.server, server_side=True
            )
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server)
        nursery.start_soon(ours.do_handshake)
    stream = to_anyio(ours)
    for name in (TLSAttribute.alpn_protocol, TLSAttribute.cipher, TLSAttribute.tls_version):
        assert stream.extra(name) == theirs[0].extra(name)
    assert stream.extra(TLSAttribute.server_side) is False
    assert stream.extra(TLSAttribute.shared_ciphers) is None
    certificate = stream.extra(TLSAttribute.peer_certificate)
    assert certificate["subject"] == ((("commonName", "localhost"),),)
    assert stream.extra(TLSAttribute.peer_certificate_binary)
    assert stream.extra(SocketAttribute.family) == stdlib_socket.AF_UNIX
    with pytest.raises(NotImplementedError):
        await stream.send_eof()
    for each in (*theirs, ours):
        await trio.aclose_forcefully(each)


def test_anyios_wrappers_work_over_our_streams_in_an_anyio_program():
    """Buffered and text streams, run by `anyio.run`."""

    async def main():
        a, b = await socketpair()
        async with a, b:
            buffered, text = BufferedByteStream(to_anyio(a)), TextStream(to_anyio(b))
            await text.send("HELO tr\xefo\r\nrest")
            assert await buffered.receive_until(b"\r\n", 100) == "HELO tr\xefo".encode()
            assert await buffered.receive_exactly(4) == b"rest"
            await buffered.send(b"250 ok")
            assert await text.receive() == "250 ok"
        letters = "\xe4\u20ac\U0001f600" * 5
        cut = TextReceiveStream(to_anyio(FakeRead(letters.encode(), max_read_nbytes=1)))
        return "".join([part async for part in cut]) == letters

    assert anyio.run(main, backend="trio")


# anyio is an extra


def test_anyio_is_imported_by_the_first_call_and_its_absence_has_a_name():
    """Without it everything else can be imported, and the error says what to install."""
    program = """
import sys
import trio_bytesbuf.io as io
from trio_bytesbuf.testing import FakeRead
assert "anyio" not in sys.modules
sys.modules["anyio"] = None  # as if it were not installed
for call, argument in ((io.to_anyio, FakeRead(b"")), (io.from_anyio, object())):
    try:
        call(argument)
    except ImportError as exc:
        print(type(exc).__name__, exc)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        str_of(what="to_anyio"),
        str_of(what="from_anyio"),
    ]


def str_of(what: str) -> str:
    return f"MissingExtra {MissingExtra(what=what, package='anyio', extra='anyio')}"
