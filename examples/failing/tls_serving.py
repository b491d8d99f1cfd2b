"""TLS listeners: making them, accepting, connecting, and a server and a client who talk."""

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import NoReturn

import trio

from trio_bytesbuf import BytesView
from trio_bytesbuf.io import (
    TlsListener,
    TlsStream,
    open_ssl_over_tcp_listeners,
    open_ssl_over_tcp_stream,
    serve_ssl_over_tcp,
)
from trio_bytesbuf.testing import FailureAttempt, HookCalls

from .place import OUTGOING, Case, Place, Planted
from .tls import OPENSSL, contexts

HOST = "127.0.0.1"
QUESTION = b"Hello?"
BOTH = ("busy", "short", "reset reads", "reset writes")


async def open_client(listener: TlsListener, it: Place) -> TlsStream:
    """Connect; hands are not shaken."""
    port = listener.transport_listener.socket.getsockname()[1]
    return await open_ssl_over_tcp_stream(HOST, port, ssl_context=contexts()[0], memory=it.pool)


async def answer(stream: TlsStream) -> None:
    """Be a server's handler, which answers a question at length."""
    async with stream:
        assert await stream.read_exactly(len(QUESTION)) == QUESTION
        await stream.write_view(BytesView(OUTGOING))


async def ask(stream: TlsStream, taken: bytearray) -> None:
    """Ask, and take the answer."""
    async with stream:
        await stream.send_all(QUESTION)
        async for view in stream.views():
            taken += view.to_bytes()


async def they_talk(client: TlsStream, server: TlsStream) -> None:
    """Check that the two are connected."""
    taken = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, server)
        nursery.start_soon(ask, client, taken)
    assert taken == OUTGOING


# Making, accepting, connecting


@contextlib.asynccontextmanager
async def nothing(calls: HookCalls) -> AsyncIterator[Place]:
    """Make nothing yet, but the certificate."""
    contexts()
    it = Place(calls)
    yield it
    it.nothing_is_lent()


async def listen(it: Place) -> None:
    """Listen."""
    it.more += await open_ssl_over_tcp_listeners(0, contexts()[1], host=HOST, memory=it.pool)


async def listens(it: Place, attempt: FailureAttempt) -> str:
    """Check that it listens, or the error names the address; then it works."""
    if attempt.error is not None:
        assert isinstance(attempt.error, OSError), repr(attempt.error)
        assert not it.more
        assert f"{HOST}:0" in str(attempt.error)
        await listen(it)
    async with it.more.pop() as listener:
        await they_talk(await open_client(listener, it), await listener.accept())
    return "resumed" if attempt.error is not None else ""


@contextlib.asynccontextmanager
async def listening(calls: HookCalls) -> AsyncIterator[Place]:
    """Listen. Memory is asked for by a hook, for each connection."""
    it = Place(calls)
    memory = calls.wrap(lambda: it.pool)
    (listener,) = await open_ssl_over_tcp_listeners(0, contexts()[1], host=HOST, memory=memory)
    async with listener:
        it.more.append(listener)
        yield it
    it.more.clear()
    it.nothing_is_lent()


async def connect(it: Place) -> None:
    """Connect."""
    it.stream = await open_client(it.more[0], it)


async def connect_and_wait(it: Place) -> None:
    """Be a peer that connects, and waits until it is over."""
    it.peer = await open_client(it.more[0], it)
    it.is_over.set()
    await trio.sleep_forever()


async def accept(it: Place) -> None:
    """Accept a connection."""
    it.stream = await it.more[0].accept()


async def nobody_was_sent_away(it: Place, attempt: FailureAttempt) -> str:
    """Check that whoever waits is taken, at the second attempt if not at the first."""
    if attempt.error is not None:
        assert isinstance(attempt.error, (OSError, Planted)), repr(attempt.error)
        assert it.stream is None
        await accept(it)
    await it.is_over.wait()
    await they_talk(it.peer, it.stream)
    return "resumed" if attempt.error is not None else ""


async def is_connected(it: Place, attempt: FailureAttempt) -> str:
    """Check that the client was connected, or told the address; and that it works then."""
    listener: TlsListener = it.more[0]
    if attempt.error is not None:
        assert isinstance(attempt.error, OSError), repr(attempt.error)
        assert HOST in str(attempt.error)
        if attempt.failed.startswith("getsockopt"):  # it had been made, and was given up
            await trio.aclose_forcefully(await listener.accept())
        await connect(it)
    await they_talk(it.stream, await listener.accept())
    return "resumed" if attempt.error is not None else ""


# Serving


@contextlib.asynccontextmanager
async def quietly(calls: HookCalls) -> AsyncIterator[Place]:
    """Make nothing yet; what `trio.serve_listeners` logs is not shown."""
    logger = logging.getLogger("trio.serve_listeners")
    logger.disabled, before = True, logger.disabled
    try:
        async with nothing(calls) as it:
            it.more.append(trio.Event())
            yield it
            it.more.clear()
    finally:
        logger.disabled = before


async def serve(it: Place) -> None:
    """Serve until the client has what it wants, or all that it gets."""

    def start(task_status: trio.TaskStatus[list[TlsListener]]) -> Awaitable[NoReturn]:
        return serve_ssl_over_tcp(
            answer, 0, contexts()[1], host=HOST, memory=it.pool, task_status=task_status
        )

    async with trio.open_nursery() as nursery:
        it.got += await nursery.start(start)
        it.more[0].set()
        await it.is_over.wait()
        nursery.cancel_scope.cancel()


async def be_served(it: Place) -> None:
    """Be a client that asks, and knows an end from a cut."""
    await it.more[0].wait()
    try:
        await ask(await open_client(it.got[0], it), it.taken)
        it.more.append("an end")
    except trio.BrokenResourceError:
        it.more.append("a cut")
    it.is_over.set()


async def all_was_served(it: Place, attempt: FailureAttempt) -> str:
    """Check that the client got all, or knows that it did not; nobody listens any more."""
    if attempt.error is not None:
        assert isinstance(attempt.error, ExceptionGroup), repr(attempt.error)
        assert attempt.error.split(trio.BrokenResourceError)[1] is None
    await it.is_over.wait()
    assert it.got[0].transport_listener.socket.fileno() == -1
    it.got.clear()
    became: str = it.more[-1]
    assert OUTGOING.startswith(it.taken)
    if became == "an end" and attempt.error is not None:  # it was not told the question
        assert not it.taken
        return "an end, nothing was sent"
    assert became == "a cut" or it.taken == OUTGOING
    assert became == "an end" or attempt.failed
    return became


def cases() -> Iterator[Case]:
    """Yield making listeners, accepting, connecting and serving."""
    if OPENSSL is None:
        return
    room = "tls listening"
    yield Case(room, "open listeners", nothing, listen, listens, None, ("make",))
    hooks = ("busy", "accept", "hook")
    yield Case(room, "accept", listening, accept, nobody_was_sent_away, connect_and_wait, hooks)
    yield Case(room, "connect", listening, connect, is_connected, None, ("connect",))
    fails = (*BOTH, "accept")
    yield Case(room, "serve_ssl_over_tcp", quietly, serve, all_was_served, be_served, fails)
