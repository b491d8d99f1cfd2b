"""The clients of the soak, many in a process: what they say, and how they end."""

from __future__ import annotations

import contextlib
import json
import random
import socket as stdlib_socket
import ssl
import struct
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import attrs
import trio
from _soak_server import (
    FRAMING,
    MAX_MESSAGE_NBYTES,
    MAX_SEALED_NBYTES,
    MIB,
    PATIENCE,
    PEER_ERRORS,
    SERVICES,
)

from trio_bytesbuf import (
    BufReader,
    BufStream,
    BufWriter,
    BytesView,
    DeflatedWrite,
    Delimited,
    InflatedRead,
    SocketStream,
    TypedChannel,
    open_tcp_stream,
)
from trio_bytesbuf.io import TlsStream

AT_A_TIME = 50
"""How many connections a client process has at a time."""

ENDINGS = ("goodbye", "half close", "reset", "cut", "cancel")
SIZES = (*[20] * 30, *[200] * 20, *[2_000] * 8, *[20_000] * 2)
"""Mostly small ones; one in two hundred has `LARGE_NBYTES`, and a few have one byte."""
LARGE_NBYTES = 300_000
LINES = Delimited(b"\n")
"""As `lines` would give the last line also if the server was cancelled in the middle of it."""
MESSAGES = 300
"""A connection sends at most so many, on the average half."""


class Wrong(Exception):
    """Something came back otherwise than it went."""


@attrs.define
class Clients:
    """One process of clients."""

    random: random.Random
    ports: dict[str, int]
    context: ssl.SSLContext
    right: Counter[str] = attrs.field(factory=Counter)
    """How many messages came back as they went, of each service."""
    latencies: list[int] = attrs.field(factory=list)
    wrong: list[str] = attrs.field(factory=list)

    def payload(self) -> bytes:
        """Return a message that nobody else sends, without a line feed in it."""
        draw = self.random
        nbytes = LARGE_NBYTES if draw.random() < 1 / 200 else draw.choice(SIZES)
        nbytes = 1 if draw.random() < 1 / 20 else draw.randint(1, nbytes)
        return (b"%x " % draw.getrandbits(64) * (nbytes // 10 + 1))[:nbytes]

    async def round(self, count: int) -> None:
        """Open `count` connections, some at a time."""
        limiter = trio.CapacityLimiter(AT_A_TIME)
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                borrower = object()
                await limiter.acquire_on_behalf_of(borrower)
                nursery.start_soon(self.connection, limiter, borrower)

    async def connection(self, limiter: trio.CapacityLimiter, borrower: object) -> None:
        """Talk over one connection, and end it in some way."""
        name, ending = self.random.choice(SERVICES), self.random.choice(ENDINGS)
        left = self.random.randint(1, MESSAGES)
        try:
            with trio.fail_after(PATIENCE):
                stream = await open_tcp_stream("127.0.0.1", self.ports[name])
                async with opened(name, stream, self.context) as talk:
                    while left > 0:
                        batch = [self.payload() for _ in range(self.random.randint(1, 20))]
                        left -= len(batch)
                        if left <= 0 and ending != "goodbye":
                            await self.end(ending, talk, stream, batch)
                            return
                        await self.exchange(talk, batch)
                        self.right[name] += len(batch)
        except* PEER_ERRORS:
            pass
        except* (Wrong, trio.TooSlowError) as group:
            self.wrong += [f"{name}, {ending}: {exc!r}" for exc in group.exceptions]
        finally:
            limiter.release_on_behalf_of(borrower)

    async def exchange(self, talk: Talk, batch: list[bytes]) -> None:
        """Send some messages and receive them; frames may come in another order."""
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.send, batch)
            got = [await talk.receive() for _ in batch]
        self.latencies.append(int((trio.current_time() - began) * 1e6))
        if talk.is_ordered:
            is_right = got == batch
        else:  # each task keeps the order of its own
            is_right = all(
                [one for one in got if one[0] % 2 == way]
                == [one for one in batch if one[0] % 2 == way]
                for way in (0, 1)
            )
        if not is_right:
            raise Wrong(f"{len(batch)} messages came back otherwise than they went")

    async def end(self, ending: str, talk: Talk, stream: SocketStream, batch: list[bytes]) -> None:
        """End a connection otherwise than in peace."""
        if ending == "cancel":
            with trio.move_on_after(self.random.uniform(0, 0.02)):
                await self.exchange(talk, batch)
        elif ending == "half close":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(talk.send_and_end, batch)
                with contextlib.suppress(trio.EndOfChannel):
                    while True:
                        await talk.receive()
        elif ending == "cut":
            await talk.cut(b"\x7b" * self.random.randint(1, 9))
        else:
            with trio.move_on_after(self.random.uniform(0, 0.01)):
                await talk.send(batch)
            linger = struct.pack("ii", True, False)
            stream.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, linger)
        await trio.aclose_forcefully(stream)


@attrs.frozen
class Talk:
    """A connection as something that sends and receives messages."""

    send: Callable[[list[bytes]], Awaitable[None]]
    send_and_end: Callable[[list[bytes]], Awaitable[None]]
    receive: Callable[[], Awaitable[bytes]]
    cut: Callable[[bytes], Awaitable[None]]
    """Send what is no message."""
    is_ordered: bool = True


def opened(
    name: str, stream: SocketStream, context: ssl.SSLContext
) -> contextlib.AbstractAsyncContextManager[Talk]:
    """Speak to the service of this name for the block."""
    if name == "sealed":
        return sealed(TlsStream(trio.SSLStream(stream, context, server_hostname="localhost")))
    return {"lines": lines, "frames": frames, "typed": typed, "relay": typed}[name](stream)


@contextlib.asynccontextmanager
async def typed(stream: SocketStream) -> AsyncIterator[Talk]:
    """Send and receive typed messages."""
    async with TypedChannel(
        stream, sends=bytes, receives=bytes, max_nbytes=MAX_MESSAGE_NBYTES
    ) as channel:

        async def send_and_end(batch: list[bytes]) -> None:
            await channel.send_many(batch)
            await channel.send_eof()

        yield Talk(channel.send_many, send_and_end, channel.receive, stream.send_all)


@contextlib.asynccontextmanager
async def frames(stream: SocketStream) -> AsyncIterator[Talk]:
    """Send and receive frames, which may come back in another order."""
    async with BufStream(stream, max_nbytes=16 * MIB) as buffered:
        receive = buffered.frames(FRAMING, bytes, max_bytes=MAX_MESSAGE_NBYTES).receive

        async def send(batch: list[bytes]) -> None:
            for payload in batch:
                buffered.write(FRAMING.encode(BytesView(payload)))
            await buffered.flush()

        async def send_and_end(batch: list[bytes]) -> None:
            await send(batch)
            await stream.send_eof()

        yield Talk(send, send_and_end, receive, stream.send_all, is_ordered=False)


@contextlib.asynccontextmanager
async def lines(stream: SocketStream) -> AsyncIterator[Talk]:
    """Send and receive lines."""
    async with BufStream(stream, max_nbytes=16 * MIB) as buffered:
        receive = buffered.frames(LINES, bytes, max_bytes=MAX_MESSAGE_NBYTES).receive
        send = partial(send_lines, buffered)

        async def send_and_end(batch: list[bytes]) -> None:
            await send(batch)
            await stream.send_eof()

        yield Talk(send, send_and_end, receive, stream.send_all)


@contextlib.asynccontextmanager
async def sealed(stream: TlsStream) -> AsyncIterator[Talk]:
    """Send and receive compressed lines over TLS, which ends in both directions at once."""
    inflated = InflatedRead(stream, format="zlib", max_nbytes=MAX_SEALED_NBYTES)
    deflated = DeflatedWrite(stream, format="zlib", level=1)
    async with (
        BufReader(inflated) as reader,
        BufWriter(deflated, max_nbytes=16 * MIB) as writer,
    ):
        send = partial(send_lines, writer)

        async def send_and_end(batch: list[bytes]) -> None:
            await send(batch)
            await deflated.finish()

        receive = reader.frames(LINES, bytes, max_bytes=MAX_MESSAGE_NBYTES).receive
        yield Talk(send, send_and_end, receive, stream.send_all)


async def send_lines(writer: BufWriter | BufStream, batch: list[bytes]) -> None:
    """Send each of `batch` as a line."""
    for payload in batch:
        writer.write_line(payload)
    await writer.flush()


async def be_clients(seed: int, ports: dict[str, int], certificate: str) -> None:
    """Do rounds as standard input says; after each, say what came of it."""
    context = ssl.create_default_context(cafile=certificate)
    clients = Clients(random.Random(seed), ports, context)  # noqa: S311  # no secrets
    async for line in trio.wrap_file(sys.stdin):
        await clients.round(int(line))
        said = {name: getattr(clients, name) for name in ("right", "latencies", "wrong")}
        print(json.dumps(said), flush=True)
        clients.right, clients.latencies, clients.wrong = Counter(), [], []
