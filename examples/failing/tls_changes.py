"""Into TLS, out of it, and its end: STARTTLS from either side, `unwrap`, closing."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import trio

from trio_bytesbuf import BufStream, BytesView, SocketStream
from trio_bytesbuf.buffered import IntoInnerError, upgrade_to_tls
from trio_bytesbuf.io import TlsStream
from trio_bytesbuf.testing import FailureAttempt, HookCalls

from .place import OUTGOING, Case, Place
from .tls import END, OPENSSL, contexts, shaken, take_to_the_end

CRLF = b"\r\n"
REQUEST = b"STARTTLS\r\n"
REPLY = b"220 go on\r\n"
PLAIN = b"in plain text again"
FAILS = ("busy", "short", "reset reads", "reset writes")


# Into TLS


@contextlib.asynccontextmanager
async def plain(calls: HookCalls) -> AsyncIterator[Place]:
    """Connect two buffered streams."""
    contexts()  # made here, and not where calls fail
    it = Place(calls)
    ours, theirs = trio.socket.socketpair()
    async with SocketStream(ours, memory=it.memory) as a, SocketStream(theirs) as b:
        it.stream, it.peer = BufStream(a), BufStream(b)
        yield it
        for stream in (it.stream, it.peer, *it.got):
            await trio.aclose_forcefully(stream)
    it.stream = it.peer = None
    it.nothing_is_lent()


async def is_told(stream: BufStream[Any], wanted: bytes) -> None:
    """Read a line; raise EOFError if there is none."""
    line = await stream.read_line(newline=CRLF)
    if line is None:
        raise EOFError
    assert line + CRLF == wanted


async def ask_for_tls(it: Place, stream: BufStream[Any]) -> TlsStream:
    """Be the client."""
    await stream.send_all(REQUEST)
    await is_told(stream, REPLY)
    tls = await upgrade_to_tls(stream, contexts()[0], server_hostname="localhost")
    it.got.append(tls)
    await tls.do_handshake()
    return tls


async def agree_to_tls(it: Place, stream: BufStream[Any]) -> TlsStream:
    """Be the server. The reply is flushed by the upgrade."""
    await is_told(stream, REQUEST)
    stream.write(REPLY)
    tls = await upgrade_to_tls(stream, contexts()[1], server_side=True)
    it.got.append(tls)
    await tls.do_handshake()
    return tls


ROLES = {"client": ask_for_tls, "server": agree_to_tls}


async def upgrade_and_send(it: Place, role: str) -> None:
    """Go on in TLS, send all, and say farewell."""
    tls = await ROLES[role](it, it.stream)
    await tls.write_view(BytesView(OUTGOING))
    await tls.aclose()


async def upgrade_and_take(it: Place, role: str) -> None:
    """Be a peer that goes on in TLS, takes everything, and knows an end from a cut."""
    with contextlib.suppress(trio.BrokenResourceError, IntoInnerError, EOFError):
        tls = await ROLES[role](it, it.peer)
        async for view in tls.views():
            it.taken += view.to_bytes()
        it.more.append(END)
    it.is_over.set()


async def nothing_is_said_in_the_open(it: Place, attempt: FailureAttempt, role: str) -> str:
    """Check that the peer got the first bytes, by TLS; and that TLS that is broken stays so."""
    became = ""
    if attempt.error is not None:
        kinds = (trio.BrokenResourceError, IntoInnerError)
        assert isinstance(attempt.error, kinds), repr(attempt.error)
        ours = [each for each in it.got if is_of(role, each)]
        if isinstance(attempt.error, IntoInnerError):  # it was not given up, and shows what is left
            assert not ours
            assert bytes(it.stream.unsent) == REPLY
        for again in [ours[0].do_handshake, partial(ours[0].send_all, b"a gap")] if ours else ():
            try:
                await again()
            except trio.BrokenResourceError:
                became = "broken"
            except trio.ClosedResourceError:
                became = "closed"
            else:
                raise AssertionError("TLS that is broken is gone on with")
        await trio.aclose_forcefully(ours[0] if ours else it.stream)
    await it.is_over.wait()
    assert OUTGOING.startswith(it.taken)
    if it.more or attempt.error is None:
        assert it.taken == OUTGOING
    return ", ".join(filter(None, (became, "an end" if it.more else "a cut")))


def is_of(role: str, stream: TlsStream) -> bool:
    """Say whether a stream is that of the client, or of the server."""
    return bool(stream.ssl_stream.server_side) == (role == "server")


# Out of it


async def unwrap_and_send(it: Place) -> None:
    """End the encryption in agreement, and send something in plain text."""
    it.got += await it.stream.unwrap()
    await it.got[0].send_all(PLAIN)
    await it.got[0].send_eof()


async def unwrap_and_take(it: Place) -> None:
    """Be a peer that is told the end of the encryption, agrees, and takes what comes then."""
    with contextlib.suppress(trio.BrokenResourceError):
        async for view in it.peer.views():
            it.taken += view.to_bytes()
        it.more.append(END)
        transport, rest = await it.peer.unwrap()
        it.taken += rest.to_bytes()
        async for view in transport.views():
            it.taken += view.to_bytes()
    it.is_over.set()


async def is_agreed_on(it: Place, attempt: FailureAttempt) -> str:
    """Check that plain text came only behind an end, and that what failed stays broken."""
    became = ""
    if attempt.error is not None:
        assert isinstance(attempt.error, trio.BrokenResourceError), repr(attempt.error)
        is_unwrapped = bool(it.got)
        stream = it.got[0] if is_unwrapped else it.stream
        if not is_unwrapped:
            for again in (partial(stream.send_all, b"a gap before this"), it.stream.unwrap):
                try:
                    await again()
                except trio.BrokenResourceError:
                    continue
                raise AssertionError("what the peer has not agreed to is gone on with")
            became = "broken"
        await trio.aclose_forcefully(stream)
    else:
        assert it.got[1] == b""
    await it.is_over.wait()
    assert PLAIN.startswith(it.taken)
    assert it.more or not it.taken
    assert attempt.error is not None or it.taken == PLAIN
    return ", ".join(filter(None, (became, "an end" if it.more else "a cut")))


async def close(it: Place) -> None:
    """Say farewell, having said nothing."""
    await it.stream.aclose()


async def is_closed(it: Place, attempt: FailureAttempt) -> str:
    """Check that it is closed, whatever failed; the peer was told the end, or sees a cut."""
    assert attempt.error is None
    for again in (it.stream.receive_view, it.stream.unwrap):
        try:
            await again()
        except trio.ClosedResourceError:
            continue
        raise AssertionError("it was closed, and gone on with")
    await it.is_over.wait()
    assert not it.taken
    return "an end" if it.more else "a cut"


def cases() -> Iterator[Case]:
    """Yield going into TLS, out of it, and closing."""
    if OPENSSL is None:
        return
    for role, other in (("client", "server"), ("server", "client")):
        yield Case(
            "tls",
            f"STARTTLS, {role}",
            plain,
            partial(upgrade_and_send, role=role),
            partial(nothing_is_said_in_the_open, role=role),
            partial(upgrade_and_take, role=other),
            FAILS,
        )
    yield Case("tls", "unwrap", shaken, unwrap_and_send, is_agreed_on, unwrap_and_take, FAILS)
    fails = ("busy", "short", "reset writes")
    yield Case("tls", "close", shaken, close, is_closed, take_to_the_end, fails)
