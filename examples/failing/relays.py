"""The relay: bytes go both ways between two peers."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import trio

from trio_bytesbuf import SocketStream, relay
from trio_bytesbuf.testing import FailureAttempt, HookCalls

from .place import INCOMING, OUTGOING, Case, Place
from .streams import sockets


@contextlib.asynccontextmanager
async def relayed(calls: HookCalls) -> AsyncIterator[Place]:
    """Put a relay's two streams between two peers."""
    async with sockets(calls) as it:
        ours, theirs = trio.socket.socketpair()
        async with SocketStream(ours, memory=it.memory) as a, SocketStream(theirs) as b:
            it.more += [a, b]
            yield it
            it.more.clear()


async def talk(it: Place) -> None:
    """Be both peers: each sends something and its end, and takes what comes."""

    async def one(stream: SocketStream, data: bytes, taken: list[Any]) -> None:
        async def send() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(data)
                await stream.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            with contextlib.suppress(trio.BrokenResourceError):
                while view := await stream.receive_view():
                    taken.append(bytes(view))

    there: list[bytes] = []
    back: list[bytes] = []
    it.got += [there, back]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, it.peer, INCOMING, back)
        nursery.start_soon(one, it.more[1], OUTGOING, there)
    it.is_over.set()


async def both_ways(it: Place, attempt: FailureAttempt) -> str:
    """Check that each peer got what the other sent, or the first of it."""
    await it.stream.aclose()
    await it.more[0].aclose()
    await it.is_over.wait()
    there, back = map(b"".join, it.got)
    assert INCOMING.startswith(there)
    assert OUTGOING.startswith(back)
    assert attempt.error is not None or (there, back) == (INCOMING, OUTGOING)
    return "" if attempt.error is None else "the first bytes, both ways"


def cases() -> Iterator[Case]:
    """Yield the relay."""
    fails = ("busy", "short", "reset reads", "reset writes", "memory")
    yield Case(
        "relay", "relay", relayed, lambda it: relay(it.stream, it.more[0]), both_ways, talk, fails
    )
