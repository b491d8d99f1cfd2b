"""A store of numbers by name, spoken to in typed messages; a Rust program could be either end.

    python examples/typed_store.py

A request is one of three classes, which are the variants of an enum in Rust, in this order; a reply
is a number, or None. Both ends are here, connected by TCP. Many requests go out in one system
call, and are answered in as few.

    enum Request {
        Get { name: String }, Put { name: String, number: i64 }, Forget { name: String }
    }

    AsyncReadTyped<_, Request> and AsyncWriteTyped<_, Option<i64>>, over the halves of the socket
"""

from __future__ import annotations

from typing import Final

import attrs
import trio

from trio_bytesbuf import SocketStream, TypedChannel, open_tcp_stream, serve_tcp


@attrs.frozen
class Get:
    """What is the number of this name?"""

    name: str


@attrs.frozen
class Put:
    """This is the number of this name. The reply is what it was before."""

    name: str
    number: int


@attrs.frozen
class Forget:
    """There is none any more. The reply is what it was before."""

    name: str


Request = Get | Put | Forget
Reply = int | None

MAX_NBYTES: Final = 1000
"""How many bytes a message may have: whoever sends more is disconnected."""


def answer(store: dict[str, int], request: Request) -> Reply:
    """Do what is asked, and return the number that there was."""
    before = store.get(request.name)
    match request:
        case Put(name, number):
            store[name] = number
        case Forget(name):
            store.pop(name, None)
        case Get():
            pass
    return before


async def serve(stream: SocketStream, store: dict[str, int]) -> None:
    """Answer all requests of one connection, in order."""
    channel: TypedChannel[Reply, Request] = TypedChannel(
        stream, sends=Reply, receives=Request, max_nbytes=MAX_NBYTES
    )
    async with channel:
        async for batch in channel.batches():
            await channel.send_many(answer(store, request) for request in batch)


async def ask(stream: SocketStream) -> None:
    """Send requests, half of them at once, and print the replies."""
    channel: TypedChannel[Request, Reply] = TypedChannel(
        stream, sends=Request, receives=Reply, max_nbytes=MAX_NBYTES
    )
    async with channel:
        await channel.send(Put("three", 3))
        print("before:", await channel.receive())
        requests: list[Request] = [Get("three"), Get("four"), Forget("three"), Get("three")]
        await channel.send_many(requests)
        await channel.send_eof()
        async for reply in channel:
            print("reply:", reply)


async def main() -> None:
    """Start a server, and ask it."""
    store: dict[str, int] = {}

    async def handle(stream: SocketStream) -> None:
        await serve(stream, store)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(serve_tcp, handle, 0)
        port: int = listeners[0].socket.getsockname()[1]
        await ask(await open_tcp_stream("localhost", port))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
