"""TLS: shaking hands, receiving, sending and closing. A cut is never taken for an end.

The certificate is made by the program `openssl`; where there is none, nothing is tried.
"""

import contextlib
import functools
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator

import trio

from trio_bytesbuf import BufStream, BytesView, SocketStream
from trio_bytesbuf.io import TlsStream
from trio_bytesbuf.testing import FailureAttempt, HookCalls, check_laws

from .buffering import lines_are_whole, read_line_batches, send_lines
from .place import OUTGOING, Case, Place
from .streams import READING, no_byte_is_lost, parts_of

OPENSSL = shutil.which("openssl")
END = "the end"


@functools.cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return what a client and a server need to agree: one trusts the other's certificate."""
    assert OPENSSL is not None
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = f"{folder}/key.pem", f"{folder}/certificate.pem"
        command = (
            f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {key} "
            f"-out {certificate} -days 2 -subj /CN=localhost "
            "-addext subjectAltName=DNS:localhost,IP:127.0.0.1"
        )
        subprocess.run([OPENSSL, *command.split()], check=True, capture_output=True)  # noqa: S603
        client = ssl.create_default_context(cafile=certificate)
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.load_cert_chain(certificate, key)
    for context in (client, server):  # where Debian takes a cut for an end
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    return client, server


@contextlib.asynccontextmanager
async def tls(calls: HookCalls) -> AsyncIterator[Place]:
    """Connect a client and a server whose hands are not shaken."""
    it = Place(calls)
    for_client, for_server = contexts()
    ours, theirs = trio.socket.socketpair()
    async with SocketStream(ours, memory=it.memory) as client, SocketStream(theirs) as server:
        it.stream = TlsStream(trio.SSLStream(client, for_client, server_hostname="localhost"))
        it.peer = TlsStream(trio.SSLStream(server, for_server, server_side=True))
        yield it
        await trio.aclose_forcefully(it.stream)
        await trio.aclose_forcefully(it.peer)
    it.stream = it.peer = None
    it.nothing_is_lent()


@contextlib.asynccontextmanager
async def shaken(calls: HookCalls) -> AsyncIterator[Place]:
    """Connect a client and a server who have agreed."""
    async with tls(calls) as it:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(it.stream.do_handshake)
            nursery.start_soon(it.peer.do_handshake)
        yield it


@contextlib.asynccontextmanager
async def buffered_tls(calls: HookCalls) -> AsyncIterator[Place]:
    """Connect a client and a server who have agreed, the first of which is buffered."""
    async with shaken(calls) as it:
        inner = it.stream
        it.stream = BufStream(inner)
        yield it
        await trio.aclose_forcefully(it.stream)
        it.stream = inner


async def take_to_the_end(it: Place) -> None:
    """Be a peer that takes everything, and writes down whether there was an end or a cut."""
    with contextlib.suppress(trio.BrokenResourceError):
        async for view in it.peer.views():
            it.taken += view.to_bytes()
        it.more.append(END)
    it.is_over.set()


async def shake_hands(it: Place) -> None:
    """Shake hands, and no more."""
    await it.stream.do_handshake()


async def send_and_close(it: Place) -> None:
    """Send all, and say farewell; shake hands first if need be."""
    await it.stream.write_view(parts_of(OUTGOING))
    await it.stream.aclose()


async def send_buffered_and_close(it: Place) -> None:
    """Write in parts, flush now and then, and say farewell."""
    for at in range(0, len(OUTGOING), 30_000):
        it.stream.write(OUTGOING[at : at + 700])
        it.stream.write(OUTGOING[at + 700 : at + 30_000])
        await it.stream.drain()
    await it.stream.aclose()


async def no_cut_is_an_end(it: Place, attempt: FailureAttempt) -> str:
    """Check that the peer got the first bytes; all of them if it was told that it is the end."""
    became = ""
    if isinstance(it.stream, BufStream):
        check_laws(it.stream)
    if attempt.error is not None:
        assert isinstance(attempt.error, trio.BrokenResourceError), repr(attempt.error)
        try:
            await it.stream.send_all(b"a gap before this")
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            became = "broken" if isinstance(exc, trio.BrokenResourceError) else "closed"
        else:
            raise AssertionError("what could not be sent in whole is gone on with")
    await it.stream.aclose()
    await it.is_over.wait()
    assert OUTGOING.startswith(it.taken)
    if it.more or attempt.error is None:
        assert it.taken == OUTGOING
    return ", ".join(filter(None, (became, "an end" if it.more else "a cut")))


async def is_agreed_or_broken(it: Place, attempt: FailureAttempt) -> str:
    """Check that a handshake that failed fails again; after one that did not all can be said."""
    if attempt.error is not None:
        assert isinstance(attempt.error, trio.BrokenResourceError), repr(attempt.error)
        for again in (it.stream.do_handshake, it.stream.receive_view):
            try:
                await again()
            except trio.BrokenResourceError:
                continue
            raise AssertionError("a handshake that failed is gone on with")
        await it.stream.aclose()
        await it.is_over.wait()
        assert not it.taken
        assert not it.more
        return "broken"
    await it.stream.write_view(BytesView(OUTGOING))
    await it.stream.aclose()
    await it.is_over.wait()
    assert it.taken == OUTGOING
    return ""


def cases() -> Iterator[Case]:
    """Yield the handshake, receiving, sending and closing."""
    if OPENSSL is None:
        return
    both = ("busy", "short", "reset reads", "reset writes")
    yield Case("tls", "handshake", tls, shake_hands, is_agreed_or_broken, take_to_the_end, both)
    fails = ("busy", "short", "reset reads")
    for name in (
        "receive_view",
        "receive_some",
        "read_exactly",
        "read_exactly_into",
        "read_to_end",
        "read_at_most_while",
        "views",
        "chunks",
    ):
        more = (*fails, "memory", *(("hook",) if "while" in name else ()))
        yield Case("tls", name, shaken, READING[name], no_byte_is_lost, Place.send_incoming, more)
    sending = {
        "handshake, write, close": (tls, send_and_close, both),
        "write, close": (shaken, send_and_close, ("busy", "short", "reset writes")),
        "buffered write, close": (
            buffered_tls,
            send_buffered_and_close,
            ("busy", "short", "reset writes"),
        ),
    }
    for name, (subject, operation, kinds) in sending.items():
        yield Case("tls", name, subject, operation, no_cut_is_an_end, take_to_the_end, kinds)
    name = "buffered lines"
    yield Case("tls", name, buffered_tls, read_line_batches, lines_are_whole, send_lines, fails)
