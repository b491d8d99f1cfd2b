"""A `BufStream` handed over to another layer: to TLS, which refuses plain text, and to others."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from pairs import clog, closing, noise, receive_exactly, reset, small_buffers, tcp_pair

from trio_bytesbuf import BytesView, SocketStream, open_tcp_stream
from trio_bytesbuf._errors import UnreadPlaintext
from trio_bytesbuf.buffered import BufReader, BufStream, IntoInnerError, upgrade_to_tls
from trio_bytesbuf.io import GuardedStream, MinRate, Read, TlsStream, Write, relay
from trio_bytesbuf.mem import Memory, PlainMemory
from trio_bytesbuf.testing import memory_pair

IN_TIME_SECONDS = 10.0
GO_AHEAD = b"220 go ahead\r\n"


@attrs.frozen
class Contexts:
    """What clients and servers need: one that trusts the certificate, one that has it."""

    client: ssl.SSLContext
    server: ssl.SSLContext


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    """Contexts for a certificate of `localhost` that nobody else has signed."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl: apt-get install openssl")
    folder = tmp_path_factory.mktemp("upgrade")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-out", certificate, "-keyout", key],
        check=True, capture_output=True,
    )  # fmt: skip
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, key)
    return Contexts(ssl.create_default_context(cafile=str(certificate)), server)


class OnlyOurs(Read, Write):
    """A stream in views that is no trio stream."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        return await self._stream.receive_view(max_bytes)

    async def _write_view(self, view: BytesView) -> None:
        await self._stream.write_view(view)

    async def _aclose(self) -> None:
        await self._stream.aclose()

    @property
    def memory(self) -> Memory:
        return self._stream.memory


Made = tuple[trio.abc.AsyncResource, trio.abc.AsyncResource]


async def of_trio() -> Made:
    """Socket streams of trio's own."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener:
        port = listener.socket.getsockname()[1]
        client = await trio.open_tcp_stream("127.0.0.1", port)
        return client, await listener.accept()


async def guarded() -> Made:
    a, b = await tcp_pair()
    rate = MinRate(1, IN_TIME_SECONDS)
    return GuardedStream(a, receiving=rate, sending=rate), GuardedStream(
        b, receiving=rate, sending=rate
    )


async def only_ours() -> Made:
    a, b = await tcp_pair(PlainMemory())
    return OnlyOurs(a), OnlyOurs(b)


async def in_memory() -> Made:
    return trio.testing.memory_stream_pair()


UNDER: dict[str, Callable[[], Awaitable[Made]]] = {
    "ours": tcp_pair,
    "trio's": of_trio,
    "guarded": guarded,
    "no trio stream": only_ours,
    "in memory": in_memory,
}


async def both(*calls: Callable[[], Awaitable[object]]) -> list[object]:
    """Run all of `calls` at once; return what they return."""
    results: list[object] = [None] * len(calls)

    async def run(at: int, call: Callable[[], Awaitable[object]]) -> None:
        results[at] = await call()

    with trio.fail_after(IN_TIME_SECONDS):
        async with trio.open_nursery() as nursery:
            for at, call in enumerate(calls):
                nursery.start_soon(run, at, call)
    return results


async def upgraded(a: BufStream, b: BufStream, contexts: Contexts) -> tuple[TlsStream, TlsStream]:
    """Upgrade both ends, `a` as the client, and shake hands."""
    client = await upgrade_to_tls(a, contexts.client, server_hostname="localhost")
    server = await upgrade_to_tls(b, contexts.server, server_side=True)
    await both(client.do_handshake, server.do_handshake)
    return client, server


# What must not happen


async def test_what_comes_behind_the_reply_in_one_segment_is_refused(contexts):
    """A client that is told more than "go ahead" stops; all of it can be read, and sent."""
    a, b = await tcp_pair()
    client = BufStream(a)
    async with closing(client, a, b):
        await b.send_all(GO_AHEAD + b"250 AUTH PLAIN\r\n")
        assert await client.read_line(newline=b"\r\n") == GO_AHEAD[:-2]
        client.write(b"EHLO")
        with pytest.raises(UnreadPlaintext, match=r"^16 bytes that arrived before TLS") as caught:
            await upgrade_to_tls(client, contexts.client, server_hostname="localhost")
        assert caught.value.nbytes == 16
        assert client.unsent == b"EHLO"
        assert await client.read_line(newline=b"\r\n") == b"250 AUTH PLAIN"
        await client.flush()
        assert await receive_exactly(b, 4) == b"EHLO"
        await upgrade_to_tls(client, contexts.client, server_hostname="localhost")


async def test_a_command_that_is_pipelined_behind_starttls_is_refused(contexts):
    """A server is not led to take it for one that came under TLS; nor has it agreed yet."""
    a, b = await tcp_pair()
    server = BufStream(b)
    async with closing(server, a, b):
        await a.send_all(b"STARTTLS\r\nMAIL FROM:<x@example.org>\r\n")
        assert await server.read_line(newline=b"\r\n") == b"STARTTLS"
        server.write(GO_AHEAD)
        with pytest.raises(UnreadPlaintext) as caught:
            await upgrade_to_tls(server, contexts.server, server_side=True)
        assert caught.value.nbytes == len(b"MAIL FROM:<x@example.org>\r\n")
        assert server.unsent == GO_AHEAD
        with trio.move_on_after(0.05):
            await a.receive_some()
            pytest.fail("something was sent")
        assert await server.read_line(newline=b"\r\n") == b"MAIL FROM:<x@example.org>"


@pytest.mark.parametrize("is_server", [False, True], ids=["client", "server"])
async def test_what_comes_after_the_buffer_was_read_goes_to_tls_only(contexts, is_server):
    """It fails the handshake, and nobody reads it."""
    a, b = await tcp_pair()
    stream = BufStream(a)
    async with closing(stream, a, b):
        await b.send_all(b"STARTTLS\n")
        await stream.read_line()
        await b.send_all(b"MAIL FROM:<x@example.org>\r\n" * 10)
        if is_server:
            tls = await upgrade_to_tls(stream, contexts.server, server_side=True)
        else:
            tls = await upgrade_to_tls(stream, contexts.client, server_hostname="localhost")
        async with closing(tls):
            with trio.fail_after(IN_TIME_SECONDS), pytest.raises(trio.BrokenResourceError):
                await tls.receive_some()
            with pytest.raises(trio.BrokenResourceError):
                await tls.receive_some()


async def test_a_reader_that_gave_bytes_back_has_not_read_them(contexts):
    """What was unread, or kept by a read that did not succeed, counts."""
    a, b = await tcp_pair()
    stream = BufStream(a)
    async with closing(stream, a, b):
        stream.unread(b"abc")
        await b.send_all(b"de")
        with trio.move_on_after(0.05):
            await stream.read_exactly(6)
        with pytest.raises(UnreadPlaintext) as caught:
            await upgrade_to_tls(stream, contexts.server, server_side=True)
        assert caught.value.nbytes == 5
        assert await stream.read_exactly(5) == b"abcde"


@given(
    read=st.lists(st.binary(max_size=20), max_size=4),
    unread=st.binary(max_size=20),
    written=st.binary(max_size=20),
)
def test_either_nothing_is_unread_or_nothing_happens(contexts, read, unread, written):
    """Whatever was read and written before: refused with all of it in place, or all of it sent."""

    async def main() -> None:
        a, b = memory_pair()
        stream = BufStream(a)
        async with closing(stream, a, b):
            await b.write_view(BytesView(b"".join(read) + unread))
            for part in read:
                assert await stream.read_exactly(len(part)) == part
            await stream.peek(len(unread))
            stream.write(written)
            if unread:
                with pytest.raises(UnreadPlaintext) as caught:
                    await upgrade_to_tls(stream, contexts.server, server_side=True)
                assert caught.value.nbytes == len(unread)
                assert stream.buffered == unread
                assert stream.unsent == written
                await stream.flush()
            else:
                await upgrade_to_tls(stream, contexts.server, server_side=True)
                assert stream.unsent_nbytes == 0
            assert await b.read_exactly(len(written)) == written
            await trio.aclose_forcefully(a)

    trio.run(main)


# What should


@pytest.mark.parametrize("maker", UNDER.values(), ids=UNDER.keys())
async def test_a_conversation_in_plain_text_goes_on_under_tls(contexts, maker):
    """Over every kind of stream. What is written last in plain text is sent by the upgrade."""
    below_a, below_b = await maker()
    a, b = BufStream(below_a), BufStream(below_b)
    async with closing(a, b):

        async def as_client() -> list[bytes]:
            a.write_line("STARTTLS")
            await a.flush()
            said = [await a.read_line()]
            tls = await upgrade_to_tls(a, contexts.client, server_hostname="localhost")
            async with BufStream(tls) as under:
                under.write_line("secret")
                await under.flush()
                said.append(await under.read_line())
                assert under.inner.getpeercert()
            return said

        async def as_server() -> list[bytes]:
            said = [await b.read_line()]
            b.write_line("go ahead")
            tls = await upgrade_to_tls(b, contexts.server, server_side=True)
            assert tls.memory is b.memory
            async with BufStream(tls) as under:
                said.append(await under.read_line())
                await under.send_all(b"heard\n")
                assert await under.read_line() is None
            return said

        assert await both(as_client, as_server) == [
            [b"go ahead", b"heard"],
            [b"STARTTLS", b"secret"],
        ]


async def test_plain_text_goes_on_after_tls(contexts):
    """`unwrap` gives our stream back; what came behind the end of TLS is read of it first."""
    a, b = await tcp_pair()
    async with closing(a, b):
        client, server = await upgraded(BufStream(a), BufStream(b), contexts)
        async with BufStream(server) as under:
            await client.send_all(b"under TLS\n")
            assert await under.read_line() == b"under TLS"
            inner, rest = await under.into_inner()
            assert inner is server
            assert rest == b""

        async def ends() -> None:
            transport, rest = await client.unwrap()
            assert (transport, rest) == (a, b"")
            await a.send_all(b"plain\nagain\n")

        _, (transport, rest) = await both(ends, server.unwrap)
        assert (transport, rest) == (b, b"")
        again = BufStream(transport)
        assert await again.read_line() == b"plain"
        with pytest.raises(UnreadPlaintext, match=r"^6 bytes"):  # and TLS does not begin twice
            await upgrade_to_tls(again, contexts.server, server_side=True)
        assert await again.read_line() == b"again"
        await upgraded(BufStream(a), again, contexts)


async def test_tls_within_tls(contexts):
    """As through a proxy that is spoken to under TLS."""
    a, b = await tcp_pair()
    async with closing(a, b):
        outer_a, outer_b = await upgraded(BufStream(a), BufStream(b), contexts)
        client, server = await upgraded(BufStream(outer_a), BufStream(outer_b), contexts)
        assert client.transport_stream is outer_a
        await client.send_all(noise(100_000))
        assert await server.read_exactly(100_000) == noise(100_000)


async def test_all_that_was_written_is_sent_in_plain_text_before(contexts):
    """However much it is, and though the peer is slow to read it."""
    a, b = await tcp_pair()
    small_buffers(a)
    stream = BufStream(a)
    data = noise(500_000)
    async with closing(stream, a, b):
        stream.write(data)

        async def upgrade() -> TlsStream:
            return await upgrade_to_tls(stream, contexts.client, server_hostname="localhost")

        async def take() -> bytes:
            await trio.testing.wait_all_tasks_blocked()
            assert not stream._is_closed
            return await receive_exactly(b, len(data))

        tls, got = await both(upgrade, take)
        assert got == data
        server = await upgrade_to_tls(BufStream(b), contexts.server, server_side=True)
        await both(tls.do_handshake, server.do_handshake)


async def test_what_is_written_while_the_upgrade_flushes_is_sent_in_plain_text(contexts):
    """It was written before TLS began, so it is sent before."""
    a, b = await tcp_pair()
    stream = BufStream(a)
    async with closing(stream, a, b):
        await clog(a)
        stream.write(b"one ")

        async def upgrade() -> TlsStream:
            return await upgrade_to_tls(stream, contexts.server, server_side=True)

        async def write_more() -> bytes:
            await trio.testing.wait_all_tasks_blocked()
            stream.write(b"two")
            got = b""
            while not got.endswith(b"one two"):
                got += await b.receive_some()
            return got.strip(b"\0")

        _, got = await both(upgrade, write_more)
        assert got == b"one two"
        with pytest.raises(trio.ClosedResourceError):
            stream.write(b"three")


async def test_a_stream_is_given_up_by_the_upgrade(contexts):
    """To close it then is harmless; to use it, or to upgrade it twice, is refused."""
    a, b = await tcp_pair()
    async with closing(a, b):
        async with BufStream(a) as plain:
            tls = await upgrade_to_tls(plain, contexts.client, server_hostname="localhost")
            for call in (plain.read_line, plain.flush, plain.into_inner):
                with pytest.raises(trio.ClosedResourceError):
                    await call()
            with pytest.raises(trio.ClosedResourceError):
                await upgrade_to_tls(plain, contexts.client, server_hostname="localhost")
        server = await upgrade_to_tls(BufStream(b), contexts.server, server_side=True)
        await both(tls.do_handshake, server.do_handshake)


async def test_a_cut_is_no_end(contexts):
    """The option of Python's contexts that takes it for one is taken out."""
    option = getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    contexts.client.options |= option
    a, b = await tcp_pair()
    async with closing(a, b):
        client, _server = await upgraded(BufStream(a), BufStream(b), contexts)
        assert client.memory is a.memory
        await b.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()


async def test_https_compatible_is_passed_on(contexts):
    """Then a cut is an end."""
    a, b = await tcp_pair()
    async with closing(a, b):
        client = await upgrade_to_tls(
            BufStream(a), contexts.client, server_hostname="localhost", https_compatible=True
        )
        server = await upgrade_to_tls(BufStream(b), contexts.server, server_side=True)
        await both(client.do_handshake, server.do_handshake)
        await b.aclose()
        assert await client.receive_some() == b""


async def test_the_certificate_has_to_name_whom_the_client_talks_to(contexts):
    """Unless its context does not check that."""
    a, b = await tcp_pair()
    async with closing(a, b):
        server = await upgrade_to_tls(BufStream(b), contexts.server, server_side=True)
        other = await upgrade_to_tls(BufStream(a), contexts.client, server_hostname="example.org")

        with trio.fail_after(IN_TIME_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.do_handshake)
                with pytest.raises(trio.BrokenResourceError, match=r"not valid for 'example.org'"):
                    await other.do_handshake()
                nursery.cancel_scope.cancel()
    a, b = await tcp_pair()
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    async with closing(a, b):
        server = await upgrade_to_tls(BufStream(b), contexts.server, server_side=True)
        client = await upgrade_to_tls(BufStream(a), anyone)
        await both(client.do_handshake, server.do_handshake)


# What can go wrong


async def test_a_stream_that_another_task_uses_is_not_given_up(contexts):
    """Whether it reads, with or without bytes in the buffer, or sends."""
    a, b = await tcp_pair()
    stream = BufStream(a)
    async with closing(stream, a, b), trio.open_nursery() as nursery:
        for arrived in (b"", b"half a line"):
            nursery.start_soon(stream.read_line)
            await b.send_all(arrived)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await upgrade_to_tls(stream, contexts.server, server_side=True)
            await b.send_all(b"\n")
            await trio.testing.wait_all_tasks_blocked()
        await clog(a)
        stream.write(b"x")
        nursery.start_soon(stream.flush)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await upgrade_to_tls(stream, contexts.server, server_side=True)
        assert not stream._is_closed
        nursery.cancel_scope.cancel()


async def test_nobody_reads_or_sends_while_the_upgrade_flushes(contexts):
    """So nothing gets into the buffer behind its back."""
    a, b = await tcp_pair()
    stream = BufStream(a)
    async with closing(stream, a, b), trio.open_nursery() as nursery:
        await clog(a)
        stream.write(b"x")
        nursery.start_soon(partial(upgrade_to_tls, stream, contexts.server, server_side=True))
        await trio.testing.wait_all_tasks_blocked()
        for call in (stream.receive_view, stream.fill_buf, stream.read_line, stream.flush):
            with pytest.raises(trio.BusyResourceError):
                await call()
        with pytest.raises(trio.BusyResourceError):
            stream.unread(b"x")
        nursery.cancel_scope.cancel()


async def test_an_upgrade_that_is_cancelled_is_called_again(contexts):
    """The stream is as it was, but for what was sent; no byte is sent twice, or not at all."""
    a, b = await tcp_pair()
    small_buffers(a)
    stream = BufStream(a)
    data = noise(600_000)
    async with closing(stream, a, b):
        stream.write(data)
        got = b""
        tls = None
        cancelled = 0
        with trio.fail_after(IN_TIME_SECONDS):
            while tls is None:
                with trio.move_on_after(0.01):
                    tls = await upgrade_to_tls(stream, contexts.client, server_hostname="localhost")
                cancelled += tls is None
                assert stream._is_closed is (tls is not None)
                with trio.move_on_after(0.01):  # there may be nothing, on a busy machine
                    got += await b.receive_some(50_000)
        assert cancelled > 1
        got += await receive_exactly(b, len(data) - len(got))
        assert got == data
        server = await upgrade_to_tls(BufStream(b), contexts.server, server_side=True)
        await both(tls.do_handshake, server.do_handshake)


async def test_an_upgrade_cancelled_at_once_has_done_nothing(contexts):
    """It is a checkpoint, refused or not."""
    a, b = await tcp_pair()
    stream = BufStream(a)
    async with closing(stream, a, b):
        with trio.CancelScope() as scope:
            scope.cancel()
            await upgrade_to_tls(stream, contexts.server, server_side=True)
        assert scope.cancelled_caught
        await b.send_all(b"still here\n")
        assert await stream.read_line() == b"still here"


async def test_what_is_wrong_is_found_before_the_stream_is_given_up(contexts):
    """And before anything is sent."""
    a, b = await tcp_pair()
    stream = BufStream(a)
    wrong = [
        (TypeError, "a BufStream", (a, contexts.client), {}),
        (TypeError, "a BufStream", (BufReader(a), contexts.client), {}),
        (TypeError, "an ssl.SSLContext", (stream, None), {}),
        (ValueError, "server_hostname", (stream, contexts.client), {}),
        (
            ValueError,
            "server_hostname",
            (stream, contexts.server),
            {"server_side": True, "server_hostname": "localhost"},
        ),
        (ValueError, "server_hostname", (stream, contexts.client), {"server_hostname": ""}),
        (ssl.SSLError, "(?i)server", (stream, contexts.server), {}),
        (
            ssl.SSLError,
            "(?i)client",
            (stream, contexts.client),
            {"server_side": True},
        ),
    ]
    async with closing(stream, a, b):
        stream.write(b"still here\n")
        for error, what, args, options in wrong:
            with pytest.raises(error, match=what):
                await upgrade_to_tls(*args, **options)
        assert stream.unsent == b"still here\n"
        await stream.flush()
        assert await receive_exactly(b, 11) == b"still here\n"


async def test_a_connection_that_is_gone_is_told_with_what_was_not_sent(contexts):
    """`IntoInnerError`, and the stream is not given up."""
    a, b = await tcp_pair()
    stream = BufStream(a)
    async with closing(stream):
        stream.write(noise(100))
        reset(b)
        with pytest.raises(IntoInnerError) as caught:
            await upgrade_to_tls(stream, contexts.server, server_side=True)
        assert caught.value.unsent == noise(100)
        assert isinstance(caught.value.__cause__, trio.BrokenResourceError)
        assert caught.value.buffered is stream


# Other layers


@contextlib.asynccontextmanager
async def listening(handler: Callable[[trio.SocketStream], Awaitable[object]]):
    """Serve connections with `handler`; yields the port."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            nursery.start_soon(trio.serve_listeners, handler, [listener])
            yield listener.socket.getsockname()[1]
            nursery.cancel_scope.cancel()


async def proxy(stream: trio.SocketStream) -> None:
    """A proxy that knows CONNECT."""
    async with BufStream(stream) as client:
        request = (await client.read_until(b"\r\n\r\n")).to_bytes()
        host, _, port = request.split()[1].decode().rpartition(":")
        async with await open_tcp_stream(host, int(port)) as target:
            client.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await client.flush()  # a client that waits for it sends nothing
            await relay(client, target)


async def echo(stream: trio.SocketStream) -> None:
    """Send everything back, and then its length."""
    async with stream:
        nbytes = 0
        async for data in stream:
            nbytes += len(data)
            await stream.send_all(data)
        await stream.send_all(b"%d" % nbytes)


@pytest.mark.parametrize("early_nbytes", [0, 1, 300_000])
async def test_a_relay_goes_on_with_what_the_client_sent_too_early(early_nbytes):
    """CONNECT: what comes with the request reaches the target first, and the end does, too."""
    data = noise(600_000)
    async with listening(echo) as target, listening(proxy) as port:
        with trio.fail_after(IN_TIME_SECONDS):
            async with BufStream(await open_tcp_stream("127.0.0.1", port)) as client:

                async def send() -> None:
                    client.write(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % target)
                    client.write(data[:early_nbytes])
                    await client.flush()
                    await client.send_all(data[early_nbytes:])
                    await client.send_eof()

                async def receive() -> None:
                    assert await client.read_until(b"\r\n\r\n") == b"HTTP/1.1 200 OK\r\n\r\n"
                    assert await client.read_exactly(len(data)) == data
                    assert await client.read_to_end(100) == b"%d" % len(data)

                await both(send, receive)


async def test_tls_through_a_proxy(contexts):
    """CONNECT, and then an upgrade: the client's certificate check is of the target."""

    async def secret(stream: trio.SocketStream) -> None:
        tls = await upgrade_to_tls(BufStream(stream), contexts.server, server_side=True)
        async with BufStream(tls) as under:
            await under.send_all(b"hello, " + (await under.read_line()) + b"\n")

    async with listening(secret) as target, listening(proxy) as port:
        with trio.fail_after(IN_TIME_SECONDS):
            client = BufStream(await open_tcp_stream("127.0.0.1", port))
            client.write(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % target)
            await client.flush()
            await client.read_until(b"\r\n\r\n")
            tls = await upgrade_to_tls(client, contexts.client, server_hostname="localhost")
            async with BufStream(tls) as under:
                under.write_line("client")
                await under.flush()
                assert await under.read_line() == b"hello, client"


async def test_trios_code_reads_what_came_with_the_reply():
    """As a library for WebSockets does that takes any trio stream, after "101 Switching"."""
    a, b = await tcp_pair()
    stream = BufStream(a)
    async with closing(stream, a, b):
        await b.send_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x05hello")
        await stream.read_until(b"\r\n\r\n")
        taken: trio.abc.Stream = stream
        assert isinstance(taken, trio.abc.HalfCloseableStream)
        assert await taken.receive_some() == b"\x81\x05hello"
        await taken.send_all(b"\x88\x00")
        assert await receive_exactly(b, 2) == b"\x88\x00"


async def test_the_stream_below_is_had_with_what_was_not_read():
    """For a layer that wants no buffer: all of what came, once."""
    a, b = await tcp_pair()
    stream = BufStream(a)
    async with closing(stream, a, b):
        await b.send_all(b"line\nrest")
        await stream.read_line()
        stream.write(b"reply")
        inner, rest = await stream.into_inner()
        assert inner is a
        assert rest == b"rest"
        assert await receive_exactly(b, 5) == b"reply"
        await b.send_all(b", more")
        assert await inner.receive_some() == b", more"
        await inner.aclose()
