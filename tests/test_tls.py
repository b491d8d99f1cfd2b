"""`TlsStream`: views over TLS, with real certificates and real sockets."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import subprocess
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from pairs import Steps, big_buffers, closing, noise, small_buffers, socketpair

from trio_bytesbuf import BufStream, BytesView
from trio_bytesbuf.io import (
    GuardedStream,
    GuardedWrite,
    MinRate,
    PeerTooSlow,
    TlsStream,
    _tls,
    from_trio,
    open_ssl_over_tcp_listeners,
    open_ssl_over_tcp_stream,
    relay,
    serve_ssl_over_tcp,
)
from trio_bytesbuf.io._trio_sides import ReceivesSome, SendsAll
from trio_bytesbuf.mem import PlainMemory
from trio_bytesbuf.testing import cancel_at_each_checkpoint


@attrs.frozen
class Contexts:
    """What clients and servers need: one that trusts the certificate, one that has it."""

    client: ssl.SSLContext
    server: ssl.SSLContext
    files: tuple[str, str]


@pytest.fixture(scope="module")
def contexts(tmp_path_factory) -> Contexts:
    """Contexts for a certificate of `localhost` that nobody else has signed."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no `openssl` to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = str(folder / "key.pem"), str(folder / "certificate.pem")
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    client = ssl.create_default_context(cafile=certificate)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, key)
    for context in (client, server):
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    return Contexts(client, server, (certificate, key))


Pair = tuple[TlsStream, TlsStream]


async def tls_pair(contexts: Contexts, maker=socketpair, **options) -> Pair:
    """A client and a server, whose hands are not shaken yet."""
    a, b = await maker(PlainMemory())
    return (
        TlsStream(trio.SSLStream(a, contexts.client, server_hostname="localhost", **options)),
        TlsStream(trio.SSLStream(b, contexts.server, server_side=True, **options)),
    )


async def shake_hands(*streams: TlsStream) -> None:
    """Let both sides do the handshake."""
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(stream.do_handshake)


@pytest.fixture
async def pair(contexts):
    a, b = await tls_pair(contexts)
    big_buffers(a.transport_stream)
    big_buffers(b.transport_stream)
    async with closing(a, b):
        await shake_hands(a, b)
        yield a, b


# Contents


@pytest.mark.parametrize("nbytes", [1, 16_384, 16_385, 262_144, 262_145, 8 << 20])
async def test_what_is_sent_arrives_whole_both_ways_at_once(pair, nbytes):
    """Both sides read and write at the same time, whatever the size."""
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for at, stream in enumerate(pair):
                nursery.start_soon(stream.write_view, BytesView(noise(nbytes, at)))

            async def expect(stream: TlsStream, seed: int) -> None:
                got = await stream.read_exactly(nbytes)
                assert got == noise(nbytes, seed)

            nursery.start_soon(expect, pair[0], 1)
            nursery.start_soon(expect, pair[1], 0)


async def test_writes_of_one_byte_arrive_in_order(pair):
    """A record for each, and each is read."""
    a, b = pair
    data = noise(500)
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            for at in range(len(data)):
                await a.write_view(BytesView(data[at : at + 1]))

        nursery.start_soon(send)
        assert await b.read_exactly(len(data)) == data


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 30))
def test_chunks_are_the_bytes_of_the_pieces_and_all_full_but_the_last(sizes, chunk_nbytes):
    """However they are cut; and a piece that is a chunk by itself is not copied."""
    whole = noise(sum(sizes))
    pieces, at = [], 0
    for size in sizes:
        if size:
            pieces.append(memoryview(whole)[at : at + size])
        at += size
    before = _tls.CHUNK_NBYTES
    _tls.CHUNK_NBYTES = chunk_nbytes
    try:
        chunks = list(_tls.chunks_of(pieces))
    finally:
        _tls.CHUNK_NBYTES = before
    assert b"".join(chunks) == whole
    assert all(len(chunk) == chunk_nbytes for chunk in chunks[:-1])
    assert all(0 < len(chunk) <= chunk_nbytes for chunk in chunks)
    if len(pieces) == 1:
        assert all(type(chunk) is memoryview for chunk in chunks)


async def test_many_small_pieces_are_one_send_of_trios(pair, monkeypatch):
    """5,000 pieces of a byte are joined."""
    a, b = pair
    sent = []
    real = trio.SSLStream.send_all

    async def send_all(self, data):
        sent.append(len(data))
        await real(self, data)

    monkeypatch.setattr(trio.SSLStream, "send_all", send_all)
    await a.write_view(BytesView.from_views([BytesView(b"x")] * 5000))
    assert sent == [5000]
    assert await b.read_exactly(5000) == b"x" * 5000


async def test_what_is_received_is_not_copied_and_never_more_than_asked_for(pair):
    """A view of the very bytes that OpenSSL has filled, a record at most."""
    a, b = pair
    await a.write_view(BytesView(bytes(20_000)))
    assert len(await b.receive_view(10)) == 10
    view = await b.receive_view()
    assert len(view) == 16_384 - 10
    assert type(view.pieces[0].obj) is bytes
    assert len(await b.receive_some(10**12)) == 20_000 - 16_384


async def test_progress_is_told_as_the_transport_makes_it(contexts):
    """Each system call, and not each chunk; who was told before is told again."""
    a, b = await tls_pair(contexts)
    async with closing(a, b):
        await shake_hands(a, b)
        told: list[int] = []
        told_before: list[int] = []
        a.transport_stream._progress = told_before.append
        a._progress = told.append
        small_buffers(a.transport_stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.read_exactly, 300_000)
            await a.write_view(BytesView(bytes(300_000)))
        assert sum(told) > 300_000  # with what encryption adds
        assert max(told) < 100_000
        assert told_before == []
        a._progress = None
        await a.write_view(BytesView(b"x"))
        assert told_before


class Paced(ReceivesSome, SendsAll, trio.abc.Stream):
    """A transport in memory that takes so many bytes in a second, and says how far it is."""

    def __init__(self, stream: trio.abc.Stream, nbytes_per_second: float) -> None:
        self.stream = stream
        self.nbytes_per_second = nbytes_per_second

    async def _receive_view(self, max_bytes):
        return BytesView(await self._receive_some(max_bytes))

    async def _receive_some(self, max_bytes):
        return bytes(await self.stream.receive_some(max_bytes))

    async def _write_view(self, view):
        await self._send_all(view.contiguous())

    async def _send_all(self, data):
        for at in range(0, data.nbytes, 5_000):
            part = data[at : at + 5_000]
            await trio.sleep(part.nbytes / self.nbytes_per_second)
            await self.stream.send_all(part)
            if self._progress is not None:
                self._progress(part.nbytes)

    async def _wait_write_might_not_block(self):
        await trio.lowlevel.checkpoint()

    async def _aclose(self):
        await self.stream.aclose()


class Plain(trio.abc.Stream):
    """The same stream of somebody else's: it says nothing."""

    def __init__(self, inner: Paced) -> None:
        self.inner = inner
        self.receive_some = inner.receive_some
        self.send_all = inner.send_all
        self.wait_send_all_might_not_block = inner.wait_send_all_might_not_block
        self.aclose = inner.aclose

    async def receive_some(self, max_bytes=None): ...
    async def send_all(self, data): ...
    async def wait_send_all_might_not_block(self): ...
    async def aclose(self): ...


@pytest.mark.parametrize(
    ("transport", "wanted"),
    [
        (lambda paced: paced, MinRate(10_000, seconds=1)),
        (Plain, MinRate(60_000, seconds=6)),
        (lambda paced: from_trio(Plain(paced)), MinRate(60_000, seconds=6)),
    ],
    ids=["tells", "foreign", "adapted"],
)
def test_guarded_tls_cuts_off_who_is_too_slow_and_nobody_else(contexts, transport, wanted):
    """10 kB/s are wanted: 12 are enough for a chunk of 22 seconds, 8 are not."""

    async def main() -> None:
        raw, theirs = trio.testing.memory_stream_pair()
        paced = Paced(raw, 1e9)
        a = TlsStream(
            trio.SSLStream(transport(paced), contexts.client, server_hostname="localhost")
        )
        b = TlsStream(trio.SSLStream(theirs, contexts.server, server_side=True))
        await shake_hands(a, b)
        data = noise(300_000)
        guard = GuardedStream(a, receiving=wanted, sending=wanted)
        paced.nbytes_per_second = 12_000
        began = trio.current_time()
        await guard.write_view(BytesView(data))
        assert trio.current_time() - began == pytest.approx(300_000 / 12_000, rel=0.01)
        assert await b.read_exactly(len(data)) == data
        guard = GuardedStream(a, receiving=wanted, sending=wanted)  # with a stretch not begun
        paced.nbytes_per_second = 8_000
        began = trio.current_time()
        with pytest.raises(PeerTooSlow):
            await guard.write_view(BytesView(data))
        assert trio.current_time() - began == pytest.approx(wanted.seconds, abs=0.1)
        assert paced._progress is None

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_guarded_tls_over_a_peer_that_reads_little_by_little(contexts):
    """Over real sockets: a chunk takes longer than a stretch may, and each stretch has progress."""
    a, b = await tls_pair(contexts)
    async with closing(a, b):
        await shake_hands(a, b)
        small_buffers(a.transport_stream)
        small_buffers(b.transport_stream)
        guard = GuardedWrite(a, MinRate(1, seconds=0.4))

        async def read_slowly() -> None:
            for _ in range(16):
                await trio.sleep(0.04)
                await b.read_exactly(7_500)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_slowly)
            with trio.fail_after(10):
                await guard.write_view(BytesView(bytes(120_000)))
        with pytest.raises(PeerTooSlow), trio.fail_after(5):
            await guard.write_view(BytesView(bytes(1_000_000)))


async def test_a_relay_over_a_guard_over_tls(contexts, pair):
    """Bytes go both ways; the end of the one that TLS has no word for ends it."""
    client, near = pair
    far, server = await socketpair()
    slow = MinRate(1, seconds=60)
    data = noise(300_000)
    async with closing(far, server), trio.open_nursery() as nursery:
        guards = [GuardedStream(each, receiving=slow, sending=slow) for each in (near, far)]
        assert [hasattr(guard, "send_eof") for guard in guards] == [False, True]
        done = trio.Event()

        async def run() -> None:
            with trio.fail_after(10):
                await relay(*guards)
            done.set()

        nursery.start_soon(run)
        nursery.start_soon(client.write_view, BytesView(data))
        assert await server.read_exactly(len(data)) == data
        await server.write_view(BytesView(b"answer"))
        await server.send_eof()
        assert await client.read_exactly(6) == b"answer"
        await done.wait()


async def test_receiving_what_has_arrived_is_few_checkpoints(pair):
    """Of a new record two: trio's lock and the transport; of the rest of a record one."""
    a, b = pair
    await a.write_view(BytesView(bytes(100)))
    with Steps() as steps:
        await b.receive_view(50)
    first = steps.taken
    with Steps() as steps:
        await b.receive_view(50)
    assert (first, steps.taken) == (2, 1)


# trio's contract


class ThroughViews(trio.abc.Stream):
    """A TLS stream whose bytes all go through `receive_view` and `write_view`."""

    def __init__(self, stream: TlsStream) -> None:
        self.stream = stream

    async def receive_some(self, max_bytes=None):
        return (await self.stream.receive_view(max_bytes)).to_bytes()

    async def send_all(self, data):
        await self.stream.write_view(BytesView(data))

    async def wait_send_all_might_not_block(self):
        await self.stream.wait_write_might_not_block()

    async def aclose(self):
        await self.stream.aclose()


@pytest.mark.parametrize("wrap", [lambda stream: stream, ThroughViews], ids=["bytes", "views"])
async def test_trios_own_check_of_streams(contexts, wrap):
    """With a real context, over sockets, by bytes and by views."""

    async def maker() -> tuple:
        return tuple(map(wrap, await tls_pair(contexts)))

    async def clogged() -> tuple:
        a, b = await tls_pair(contexts)
        await shake_hands(a, b)
        # The session tickets that a server has still to send; and they have to be taken.
        await b.send_all(b"x")
        assert await a.receive_some(1) == b"x"
        await a.send_all(b"x")
        assert await b.receive_some(1) == b"x"
        # A send that was cancelled would break a stream. So the buffers are filled, then shrunk.
        for stream in (a, b):
            await stream.send_all(bytes(16_000))
            small_buffers(stream.transport_stream)
        return wrap(a), wrap(b)

    with trio.fail_after(60):
        await trio.testing.check_two_way_stream(maker, clogged)


@pytest.mark.parametrize("data", [b"abc", bytearray(b"abc"), memoryview(b"abc"), BytesView(b"abc")])
async def test_send_all_takes_any_bytes(pair, data):
    """As trio's own streams do, and views."""
    a, b = pair
    await a.send_all(data)
    await a.send_all(b"")
    await a.write_view(BytesView())
    assert await b.receive_some() == b"abc"


async def test_there_is_no_half_close(pair):
    """TLS has none that every peer understands; so there is no method to be called in vain."""
    assert not isinstance(pair[0], trio.abc.HalfCloseableStream)
    assert not hasattr(pair[0], "send_eof")


async def test_the_end_is_an_end_for_ever_and_the_other_side_can_still_be_closed(contexts):
    """After the peer's farewell every receive gives nothing; each is a checkpoint."""
    a, b = await tls_pair(contexts)
    async with closing(a, b):
        await shake_hands(a, b)
        await a.send_all(b"last words")
        await a.aclose()
        assert await b.read_to_end(100) == b"last words"
        for _ in range(3):
            with Steps() as steps:
                assert not await b.receive_view()
            assert steps.taken == 1
        await b.aclose()
        for call in (b.receive_view, b.receive_some, b.do_handshake, b.unwrap):
            with pytest.raises(trio.ClosedResourceError):
                await call()
        with pytest.raises(trio.ClosedResourceError):
            await b.write_view(BytesView(b"x"))


async def test_a_stream_that_was_cut_is_broken_and_no_end(contexts):
    """Whoever can cut the TCP connection must not be able to pass that off as an end."""
    a, b = await tls_pair(contexts)
    async with closing(a, b):
        await shake_hands(a, b)
        await a.send_all(b"half of it")
        await a.transport_stream.aclose()
        assert await b.read_exactly(10) == b"half of it"
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="TLS"):
                await b.receive_view()


async def test_with_https_compatible_a_cut_is_an_end_for_ever(contexts):
    """As trio has it, but the second receive says the same."""
    a, b = await tls_pair(contexts, https_compatible=True)
    async with closing(a, b):
        await shake_hands(a, b)
        await a.transport_stream.aclose()
        assert [await b.receive_view() for _ in range(3)] == [b"", b"", b""]


async def test_a_wrong_certificate_breaks_both_sides_and_the_cause_says_why(contexts):
    """A name that the certificate is not for."""
    a, b = await socketpair(PlainMemory())
    client = TlsStream(trio.SSLStream(a, contexts.client, server_hostname="example.org"))
    server = TlsStream(trio.SSLStream(b, contexts.server, server_side=True))
    async with closing(client, server), trio.open_nursery() as nursery:

        async def serve() -> None:
            with pytest.raises(trio.BrokenResourceError) as caught:
                await server.receive_view()
            assert isinstance(caught.value.__cause__, ssl.SSLError)

        nursery.start_soon(serve)
        with pytest.raises(trio.BrokenResourceError, match=r"example\.org") as caught:
            await client.write_view(BytesView(b"secret"))
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        await client.aclose()


# The handshake, closing, unwrapping


@pytest.mark.parametrize("https_compatible", [False, True])
async def test_nobody_waits_for_a_handshake_that_has_failed(contexts, https_compatible):
    """A reader shakes hands, a writer waits for it; the peer goes away: both are told."""
    a, b = await tls_pair(contexts, https_compatible=https_compatible)
    async with closing(a, b):
        told: list[str] = []

        async def receive() -> None:
            try:
                told.append(f"received {await b.receive_view()!r}")
            except trio.BrokenResourceError:
                told.append("broken")

        async def send() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await b.write_view(BytesView(b"x"))
            told.append("not sent")

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(send)
                await trio.testing.wait_all_tasks_blocked()
                await a.transport_stream.aclose()
        assert told == ["received BytesView(b'')" if https_compatible else "broken", "not sent"]


async def test_a_task_that_gives_up_waiting_for_a_handshake_does_not_disturb_it(contexts):
    """Only whoever shakes hands spoils it."""
    a, b = await tls_pair(contexts)
    async with closing(a, b):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.do_handshake)
            await trio.testing.wait_all_tasks_blocked()
            await b.wait_write_might_not_block()
            with trio.move_on_after(0.01):
                await b.write_view(BytesView(b"x"))
            await a.do_handshake()
        await b.write_view(BytesView(b"y"))
        assert await a.receive_view() == b"y"


@pytest.mark.parametrize("before_handshake", [False, True])
@pytest.mark.parametrize("side", ["receiving", "reading", "sending", "shaking hands"])
async def test_closing_wakes_whoever_waits_and_waits_for_nobody(contexts, side, before_handshake):
    """ClosedResourceError for them, and `aclose` returns although the peer is deaf."""
    a, b = await tls_pair(contexts)
    async with closing(a, b):
        if not before_handshake:
            await shake_hands(a, b)

        call = {
            "receiving": lambda: a.receive_view(),
            "reading": lambda: a.read_exactly(10),
            "sending": lambda: a.write_view(BytesView(bytes(8 << 20))),
            "shaking hands": a.do_handshake if before_handshake else a.receive_some,
        }[side]

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await call()

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                if before_handshake and side == "shaking hands":
                    nursery.start_soon(wait)  # who waits for the first
                    await trio.testing.wait_all_tasks_blocked()
                await a.aclose()


async def test_a_cancelled_receive_has_taken_nothing(pair):
    """Once the handshake is done receiving is atomic; reads are resumable."""
    a, b = pair
    with trio.move_on_after(0.01) as scope:
        await b.receive_view()
    assert scope.cancelled_caught
    await a.write_view(BytesView(b"abc"))
    with trio.move_on_after(0.01) as scope:
        await b.read_exactly(5)
    assert scope.cancelled_caught
    await a.write_view(BytesView(b"de"))
    assert await b.read_exactly(5) == b"abcde"


async def test_no_byte_is_lost_wherever_a_read_is_cancelled(contexts):
    """At every checkpoint of a read over three records, before and after it was woken."""

    @contextlib.asynccontextmanager
    async def shaken():
        a, b = await tls_pair(contexts)
        async with closing(a, b):
            await shake_hands(a, b)
            yield a, b

    async def send(pair: Pair) -> None:
        for part in (b"ab", b"cd", b"ef"):
            await trio.testing.wait_all_tasks_blocked()
            await pair[0].send_all(part)
        await pair[0].aclose()

    async def nothing_lost(pair: Pair, attempt) -> None:
        rest = await pair[1].read_to_end(100)
        assert (attempt.result or BytesView()) + rest == b"abcdef"

    table = await cancel_at_each_checkpoint(
        shaken,
        lambda pair: pair[1].read_exactly(5),
        peer=send,
        progress=lambda pair: pair[1].transport_stream.statistics().received_nbytes,
        check=nothing_lost,
    )
    assert table.blocked >= 3


async def test_a_cancelled_send_spoils(pair):
    """And says so from then on."""
    a, _ = pair
    with trio.move_on_after(0.05) as scope:
        await a.write_view(BytesView(bytes(32 << 20)))
    assert scope.cancelled_caught
    with pytest.raises(trio.BrokenResourceError):
        await a.write_view(BytesView(b"x"))


async def test_one_task_for_each_side(pair):
    """The second one gets BusyResourceError; both sides at once are fine."""
    a, _ = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.receive_view)
        await trio.testing.wait_all_tasks_blocked()
        for call in (a.receive_view, a.receive_some, a.unwrap):
            with pytest.raises(trio.BusyResourceError):
                await call()
        await a.write_view(BytesView(b"x"))
        nursery.cancel_scope.cancel()


async def test_unwrap_gives_the_transport_back_and_its_next_bytes(pair):
    """What came behind the end of the encryption is what the transport's next read begins with."""
    a, b = pair
    raw = b.transport_stream

    async def end_and_go_on() -> None:
        transport, rest = await a.unwrap()
        assert not rest
        await transport.write_view(BytesView(b"in the clear"))
        await transport.aclose()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_and_go_on)
            transport, rest = await b.unwrap()
        assert transport is raw
        assert not rest
        assert await raw.read_exactly(12) == b"in the clear"
    for stream in (a, b):
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_view()
        await stream.aclose()
    await raw.aclose()


async def test_unwrap_puts_back_what_trio_has_read_too_much_of(pair, monkeypatch):
    """Trailing bytes are the transport's again; of a foreign transport they are returned."""
    a, _ = pair
    raw = a.transport_stream

    async def unwrap(self):
        await trio.lowlevel.checkpoint()
        return raw, bytearray(b"more")

    monkeypatch.setattr(trio.SSLStream, "unwrap", unwrap)
    transport, rest = await a.unwrap()
    assert (transport, rest) == (raw, b"")
    assert await raw.receive_view() == b"more"
    await raw.aclose()


async def test_unwrap_loses_nothing_that_was_not_read(pair):
    """It refuses, and everything is as before."""
    a, b = pair
    await a.write_view(BytesView(b"abcdef"))
    assert await b.receive_view(2) == b"ab"
    with pytest.raises(RuntimeError, match="read what was received"):
        await b.unwrap()
    with trio.move_on_after(0.01):
        await b.read_exactly(10)
    with pytest.raises(RuntimeError, match="read what was received"):
        await b.unwrap()
    assert await b.read_exactly(4) == b"cdef"


async def test_a_transport_that_is_read_by_itself_is_not_given_back(pair):
    """What was read too much of would come too late; the encryption goes on."""
    a, _ = pair
    raw = a.transport_stream
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raw.read_exactly, 10)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError, match="SocketStream"):
            await a.unwrap()
        nursery.cancel_scope.cancel()
    await a.write_view(BytesView(b"still encrypted"))
    assert await pair[1].read_exactly(15) == b"still encrypted"


async def test_trailing_bytes_go_to_the_caller_if_a_task_reads_the_transport(pair, monkeypatch):
    """One that began while `unwrap` was under way has waited for what comes after them."""
    a, b = pair
    raw = a.transport_stream

    async with trio.open_nursery() as nursery:

        async def unwrap(self):
            nursery.start_soon(raw.read_exactly, 4)
            await trio.testing.wait_all_tasks_blocked()
            return raw, bytearray(b"more")

        monkeypatch.setattr(trio.SSLStream, "unwrap", unwrap)
        assert await a.unwrap() == (raw, b"more")
        await b.transport_stream.send_all(b"next")
    await raw.aclose()


async def test_unwrapping_waits_for_a_handshake_that_is_going_on(contexts):
    """Who shakes hands reads the transport, and that is no reason to refuse."""
    a, b = await tls_pair(contexts)
    async with closing(a, b, a.transport_stream, b.transport_stream):
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(a.do_handshake)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(a.unwrap)
                await trio.testing.wait_all_tasks_blocked()
                await b.unwrap()
        assert a._is_closed
        assert b._is_closed


async def test_an_error_that_is_kept_holds_no_memory_of_the_callers(pair):
    """Neither its traceback nor its cause's."""
    a, b = pair
    await b.transport_stream.aclose()
    memory = bytearray(1_000_000)
    with pytest.raises(trio.BrokenResourceError) as caught:
        await a.write_view(BytesView(memory))
    memory.append(0)  # which raises BufferError as long as anybody looks at it
    assert caught.value.__cause__ is not None


async def test_what_was_agreed_on_can_be_asked_for(contexts):
    """As trio forwards it: not before the handshake."""
    a, b = await tls_pair(contexts)
    async with closing(a, b):
        for ask in (a.version, a.cipher, a.getpeercert, a.selected_alpn_protocol):
            with pytest.raises(trio.NeedHandshakeError):
                ask()
        await shake_hands(a, b)
        assert a.version() == b.version() == "TLSv1.3"
        assert a.cipher() == b.cipher()
        assert ("DNS", "localhost") in a.getpeercert()["subjectAltName"]
        assert isinstance(a.getpeercert(binary_form=True), bytes)
        assert a.selected_alpn_protocol() is None
        assert a.ssl_stream.transport_stream is a.transport_stream
        assert a.memory is a.transport_stream.memory
        other = PlainMemory()
        assert TlsStream(a.ssl_stream, memory=other).memory is other
        assert "TlsStream over <SocketStream" in repr(a)


async def test_from_trio_knows_a_stream_of_trios(contexts):
    """It is wrapped as it is, with the memory that was said."""
    a, b = await tls_pair(contexts)
    async with closing(a, b):
        memory = PlainMemory()
        stream = from_trio(a.ssl_stream, memory=memory)
        assert isinstance(stream, TlsStream)
        assert stream.memory is memory


def test_only_a_stream_of_trios_is_wrapped():
    """A TypeError at once, and not when the first bytes are sent."""
    with pytest.raises(TypeError, match="SSLStream"):
        TlsStream(object())


# Connecting and serving


@pytest.fixture
def lax(contexts) -> ssl.SSLContext:
    """A server's context as some builds of Python make it: one that takes a cut for an end."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*contexts.files)
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


async def test_serving_and_connecting(contexts, lax):
    """Trio's functions with our streams; a cut is told from an end whatever the context says."""
    ends: list[str] = []
    memory = PlainMemory()

    async def echo(stream: TlsStream) -> None:
        assert stream.memory is memory
        try:
            async for view in stream.views():
                await stream.write_view(view)
        except trio.BrokenResourceError:
            ends.append("cut")
        else:
            ends.append("end")
        await trio.aclose_forcefully(stream)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(
                lambda task_status: serve_ssl_over_tcp(
                    echo, 0, lax, host="127.0.0.1", memory=memory, task_status=task_status
                )
            )
            port = listener.transport_listener.socket.getsockname()[1]
            for goodbye in ("end", "cut"):
                stream = await open_ssl_over_tcp_stream(
                    "localhost", port, ssl_context=contexts.client
                )
                await stream.write_view(BytesView(b"hello"))
                assert await stream.read_exactly(5) == b"hello"
                await (stream if goodbye == "end" else stream.transport_stream).aclose()
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert ends[-1] == goodbye
            nursery.cancel_scope.cancel()


async def test_connecting_without_a_context_trusts_nobody_unknown(contexts):
    """The default context checks certificates."""
    (listener,) = await open_ssl_over_tcp_listeners(0, contexts.server, host="127.0.0.1")
    port = listener.transport_listener.socket.getsockname()[1]
    async with listener, trio.open_nursery() as nursery:

        async def accept() -> None:
            async with await listener.accept() as stream:
                with pytest.raises(trio.BrokenResourceError):
                    await stream.do_handshake()

        nursery.start_soon(accept)
        stream = await open_ssl_over_tcp_stream("localhost", port)
        with pytest.raises(trio.BrokenResourceError, match="certificate"):
            await stream.do_handshake()
        await stream.aclose()
    with pytest.raises(OSError, match=f"localhost:{port}"):
        await open_ssl_over_tcp_stream("localhost", port)


# The first program that a reader sees


def the_readmes_server():
    """The README's server of lines over TLS."""
    readme = Path(__file__).parent.parent / "README.md"
    program = readme.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    names = {"__name__": "readme"}
    exec(compile(program, str(readme), "exec"), names)
    return names["shout"]


async def test_the_readmes_server_shouts_and_refuses_one_client_and_not_the_others(
    contexts, capsys
):
    """Lines come back in capitals; a line without an end costs its sender the connection."""
    shout = the_readmes_server()
    async with trio.open_nursery() as nursery:
        serve = partial(serve_ssl_over_tcp, host="127.0.0.1")
        listeners = await nursery.start(serve, shout, 0, contexts.server)
        port = listeners[0].transport_listener.socket.getsockname()[1]

        async def dial():
            stream = await open_ssl_over_tcp_stream("localhost", port, ssl_context=contexts.client)
            return BufStream(stream)

        with trio.fail_after(10):
            good, bad, quiet = await dial(), await dial(), await dial()
            await quiet.aclose()
            await bad.send_all(b"x" * 2_000)
            with contextlib.suppress(trio.BrokenResourceError):
                assert await bad.read_line() is None
            await good.send_all("one\ntwo ½\nthr".encode())
            assert await good.read_line() == b"ONE"
            assert await good.read_line() == "TWO ½".encode()
            await good.send_all(b"ee\n")
            assert await good.read_line() == b"THREE"
            await good.aclose()
            await bad.aclose()
            await trio.testing.wait_all_tasks_blocked(0.05)
        (line,) = capsys.readouterr().err.splitlines()
        assert "LimitExceeded(limit=1000, " in line
        nursery.cancel_scope.cancel()
