"""Datagram sockets: each datagram is whole or not there, and no error is the end."""

import contextlib
from collections.abc import AsyncIterator, Iterator

import trio

from trio_bytesbuf import BytesView
from trio_bytesbuf.io import DatagramSocket, bind_udp_socket, connect_udp_socket
from trio_bytesbuf.testing import FailureAttempt, HookCalls, check_laws

from .place import INCOMING, Case, Place

DATAGRAMS = [INCOMING[n : n + n * 571 % 9000] for n in range(12)]
"""From none to some thousand bytes."""

LAST = b"the last"


@contextlib.asynccontextmanager
async def datagram_sockets(calls: HookCalls) -> AsyncIterator[Place]:
    """Connect two sockets for datagrams; Unix ones, which lose none."""
    it = Place(calls)
    ours, theirs = trio.socket.socketpair(type=trio.socket.SOCK_DGRAM)
    async with (
        DatagramSocket(ours, memory=it.memory) as it.stream,
        DatagramSocket(theirs) as it.peer,
    ):
        yield it
    it.stream = it.peer = None
    it.nothing_is_lent()


async def send_datagrams(it: Place) -> None:
    """Be a peer that sends them all."""
    for data in DATAGRAMS:
        await it.peer.send(BytesView(data))


async def receive(it: Place) -> None:
    """Receive one by one."""
    while len(it.got) < len(DATAGRAMS):
        it.got.append((await it.stream.receive()).view)


async def receive_batch(it: Place) -> None:
    """Receive what is there, again and again."""
    while len(it.got) < len(DATAGRAMS):
        it.got += [each.view for each in await it.stream.receive_batch()]


async def all_arrive(it: Place, attempt: FailureAttempt) -> str:
    """Check that each came, whole and in order, those behind the error, too."""
    if attempt.error is not None:
        assert isinstance(attempt.error, (OSError, MemoryError)), repr(attempt.error)
        while len(it.got) < len(DATAGRAMS):
            it.got.append((await it.stream.receive()).view)
    for view in it.got:
        check_laws(view)
    assert it.got == DATAGRAMS
    return "resumed" if attempt.error is not None else ""


async def send(it: Place) -> None:
    """Send them all, in pieces, counting those that were sent."""
    for data in DATAGRAMS:
        half = len(data) // 2
        await it.stream.send(BytesView.from_views([BytesView(data[:half]), BytesView(data[half:])]))
        it.more.append(data)


async def take_datagrams(it: Place) -> None:
    """Be a peer that takes them all: few wait in the system at once."""
    async for datagram in it.peer:
        it.got.append(datagram.view)
        if datagram.view == LAST:
            it.is_over.set()


async def all_others_arrived(it: Place, attempt: FailureAttempt) -> str:
    """Check that what was sent came; the one that failed did not, and the next one does."""
    assert attempt.error is None or isinstance(attempt.error, OSError), repr(attempt.error)
    await it.stream.send(BytesView(LAST))
    await it.is_over.wait()
    assert it.got == [*it.more, LAST]
    return "the next is sent" if attempt.error is not None else ""


HOST = "127.0.0.1"


@contextlib.asynccontextmanager
async def a_port(calls: HookCalls) -> AsyncIterator[Place]:
    """Bind a socket, to which another is to be connected."""
    it = Place(calls)
    async with await bind_udp_socket(HOST, 0) as it.peer:
        yield it
        await it.stream.aclose()
    it.stream = it.peer = None
    it.nothing_is_lent()


async def bind(it: Place) -> None:
    """Bind a socket to a port of its own."""
    it.path = f"cannot bind {HOST}:0"
    it.stream = await bind_udp_socket(HOST, 0, memory=it.pool)


async def connect(it: Place) -> None:
    """Connect a socket to the port."""
    port = it.peer.socket.getsockname()[1]
    it.path = f"cannot connect to {HOST}:{port}"
    it.stream = await connect_udp_socket(HOST, port, memory=it.pool)


async def is_made(it: Place, attempt: FailureAttempt) -> str:
    """Check that the socket works, or the error names the address; then it can be made."""
    if attempt.error is not None:
        assert isinstance(attempt.error, OSError), repr(attempt.error)
        assert it.path in str(attempt.error)
        assert it.stream is None
        await (bind(it) if " bind " in it.path else connect(it))
    if " bind " in it.path:
        await it.peer.send(BytesView(LAST), it.stream.socket.getsockname())
    else:
        await it.stream.send(BytesView(b""))
        await it.peer.send(BytesView(LAST), (await it.peer.receive()).address)
    assert (await it.stream.receive()).view == LAST
    return "resumed" if attempt.error is not None else ""


def cases() -> Iterator[Case]:
    """Yield binding and connecting, receiving and sending."""
    for name, operation in (("bind", bind), ("connect", connect)):
        yield Case("datagrams", name, a_port, operation, is_made, None, ("make datagrams",))
    fails = ("busy", "datagrams in", "memory")
    for name, operation in (("receive", receive), ("receive_batch", receive_batch)):
        yield Case(
            "datagrams", name, datagram_sockets, operation, all_arrive, send_datagrams, fails
        )
    fails_too = ("busy", "datagrams out")
    yield Case(
        "datagrams", "send", datagram_sockets, send, all_others_arrived, take_datagrams, fails_too
    )
