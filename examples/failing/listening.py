"""Listening and connecting, by TCP and by a Unix socket: making, accepting, closing."""

import contextlib
import tempfile
import warnings
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path

import trio

from trio_bytesbuf import SocketStream, open_tcp_stream, open_unix_socket, serve_unix
from trio_bytesbuf.io import SocketListener, UnixListener, open_tcp_listeners, open_unix_listener
from trio_bytesbuf.testing import FailureAttempt, HookCalls

from .place import Case, Place, Planted

HOST = "127.0.0.1"


@contextlib.asynccontextmanager
async def folder(calls: HookCalls) -> AsyncIterator[Place]:
    """Make a folder in which there can be a socket's file."""
    it = Place(calls)
    with tempfile.TemporaryDirectory() as name:
        it.path = name + "/socket"
        yield it
        it.more.clear()
    it.nothing_is_lent()


@contextlib.asynccontextmanager
async def folder_with_a_dead_socket(calls: HookCalls) -> AsyncIterator[Place]:
    """Make one in which there is the file of a program that has died."""
    async with folder(calls) as it:
        with trio.socket.socket(trio.socket.AF_UNIX) as socket:
            await socket.bind(it.path)
        yield it


@contextlib.asynccontextmanager
async def unix_listener(calls: HookCalls) -> AsyncIterator[Place]:
    """Listen on a Unix socket. Memory is asked for by a hook, for each connection."""
    async with folder(calls) as it:
        async with await open_unix_listener(it.path, memory=calls.wrap(lambda: it.pool)) as server:
            it.more.append(server)
            yield it
        assert not Path(it.path).exists()  # noqa: ASYNC240  # a look


@contextlib.asynccontextmanager
async def tcp_listener(calls: HookCalls) -> AsyncIterator[Place]:
    """Listen on a port. Memory is asked for by a hook, for each connection."""
    it = Place(calls)
    memory = calls.wrap(lambda: it.pool)
    (listener,) = await open_tcp_listeners(0, host=HOST, memory=memory)
    async with listener:
        it.more.append(listener)
        yield it
    it.more.clear()
    it.nothing_is_lent()


async def open_client(it: Place) -> SocketStream:
    """Connect to the listener, whichever it is."""
    if it.path:
        return await open_unix_socket(it.path, memory=it.pool)
    port = it.more[0].socket.getsockname()[1]
    return await open_tcp_stream(HOST, port, memory=it.pool)


async def connect(it: Place) -> None:
    """Connect."""
    it.stream = await open_client(it)


async def connect_and_wait(it: Place) -> None:
    """Be a peer that connects, and waits until it is over."""
    async with await open_client(it) as it.peer:
        it.is_over.set()
        await trio.sleep_forever()


async def accept(it: Place) -> None:
    """Accept a connection."""
    it.stream = await it.more[0].accept()


async def they_talk(client: SocketStream, server: SocketStream) -> None:
    """Check that the two are connected."""
    async with client, server:
        await client.send_all(b"Hello?")
        await client.send_eof()
        assert await server.read_to_end(100) == b"Hello?"
        await server.send_all(b"Hello!")
        await server.send_eof()
        assert await client.read_to_end(100) == b"Hello!"


async def takes_the_next(it: Place) -> None:
    """Check that the listener takes another client."""
    client = await open_client(it)
    await they_talk(client, await it.more[0].accept())


async def nobody_was_sent_away(it: Place, attempt: FailureAttempt) -> str:
    """Check that whoever waits is taken, at the second attempt if not at the first."""
    if attempt.error is not None:
        assert isinstance(attempt.error, (OSError, Planted, MemoryError)), repr(attempt.error)
        assert it.stream is None
        await accept(it)
    await it.is_over.wait()
    await they_talk(it.peer, it.stream)
    await takes_the_next(it)
    return "resumed" if attempt.error is not None else ""


async def is_connected(it: Place, attempt: FailureAttempt) -> str:
    """Check that the client was connected, or told the address; and that it works then."""
    listener: SocketListener = it.more[0]
    if attempt.error is not None:
        assert isinstance(attempt.error, OSError), repr(attempt.error)
        where = it.path or f"{HOST}:{listener.socket.getsockname()[1]}"
        assert where in str(attempt.error)
        if attempt.failed.startswith("getsockopt"):  # it had been made, and was given up
            await trio.aclose_forcefully(await listener.accept())
        await connect(it)
    with trio.fail_after(5):
        await they_talk(it.stream, await listener.accept())
    return "resumed" if attempt.error is not None else ""


async def listen(it: Place) -> None:
    """Listen, by a Unix socket if there is a path."""
    if it.path:
        it.more.append(await open_unix_listener(it.path, memory=it.pool))
    else:
        it.more += await open_tcp_listeners(0, host=HOST, memory=it.pool)


@contextlib.asynccontextmanager
async def nothing(calls: HookCalls) -> AsyncIterator[Place]:
    """Make nothing yet."""
    it = Place(calls)
    yield it
    it.nothing_is_lent()


async def listens(it: Place, attempt: FailureAttempt) -> str:
    """Check that it listens, or has left no file that it made; then it works."""
    if attempt.error is not None:
        assert isinstance(attempt.error, OSError), repr(attempt.error)
        assert not it.more
        assert (it.path or f"{HOST}:0") in str(attempt.error)
        if it.path and attempt.failed.startswith("listen"):
            assert not Path(it.path).exists()  # noqa: ASYNC240  # a look
        await listen(it)
    await takes_the_next(it)
    await it.more.pop().aclose()
    assert not it.path or not Path(it.path).exists()  # noqa: ASYNC240  # a look
    return "resumed" if attempt.error is not None else ""


async def close(it: Place) -> None:
    """Stop listening."""
    await it.more[0].aclose()


async def has_stopped(it: Place, attempt: FailureAttempt) -> str:
    """Check that nobody listens; a file that stayed was told of, and is in nobody's way."""
    try:
        await it.more[0].accept()
    except trio.ClosedResourceError:
        pass
    else:
        raise AssertionError("it was closed, and a client accepted")
    is_there = Path(it.path).exists()  # noqa: ASYNC240  # a look
    assert is_there == (attempt.error is not None)
    assert attempt.error is None or f"cannot remove {it.path}" in str(attempt.error)
    async with await open_unix_listener(it.path):
        pass
    return "nobody listens"


@contextlib.asynccontextmanager
async def folder_and_warnings(calls: HookCalls) -> AsyncIterator[Place]:
    """Make a folder in which there can be a socket's file, and listen to warnings."""
    async with folder(calls) as it:
        with warnings.catch_warnings(record=True) as it.got:
            warnings.simplefilter("always")
            yield it


async def serve(it: Place) -> None:
    """Serve by a Unix socket until that is cancelled."""

    async def handler(stream: SocketStream) -> None:
        await stream.aclose()

    def start(task_status: trio.TaskStatus[list[UnixListener]]) -> Awaitable[object]:
        return serve_unix(handler, it.path, task_status=task_status)

    async with trio.open_nursery() as nursery:
        it.more += await nursery.start(start)
        nursery.cancel_scope.cancel()


async def has_been_stopped(it: Place, attempt: FailureAttempt) -> str:
    """Check that being cancelled raised nothing; of a file that stays a warning tells."""
    stays = Path(it.path).exists()  # noqa: ASYNC240  # a look
    said = [str(each.message) for each in it.got]
    if it.more:
        assert attempt.error is None
        assert it.more[0].socket.fileno() == -1
        assert len(said) == stays
        assert all(f"cannot remove {it.path}" in each for each in said)
    else:
        assert isinstance(attempt.error, ExceptionGroup)
        assert attempt.error.split(OSError)[1] is None
        assert it.path in str(attempt.error.exceptions[0])
        assert not said
    async with await open_unix_listener(it.path):
        pass
    return "a warning names the file" if said else "" if it.more else "nobody listens"


def cases() -> Iterator[Case]:
    """Yield making listeners, accepting and connecting."""
    made = {
        "open_tcp_listeners": nothing,
        "open_unix_listener": folder,
        "the same, for a dead one": folder_with_a_dead_socket,
    }
    for name, subject in made.items():
        yield Case("listening", name, subject, listen, listens, None, ("make",))
    name = "close, Unix"
    yield Case("listening", name, unix_listener, close, has_stopped, None, ("make",))
    name = "serve_unix, cancelled"
    yield Case("listening", name, folder_and_warnings, serve, has_been_stopped, None, ("make",))
    for name, subject in (("TCP", tcp_listener), ("Unix", unix_listener)):
        fails = ("busy", "accept", "hook")
        yield Case(
            "listening",
            f"accept, {name}",
            subject,
            accept,
            nobody_was_sent_away,
            connect_and_wait,
            fails,
        )
        yield Case(
            "listening", f"connect, {name}", subject, connect, is_connected, None, ("connect",)
        )
