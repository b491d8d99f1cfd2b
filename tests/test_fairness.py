"""Load with peers that never read: the others are served as without them, and memory has its cap.

Counted, not timed: exchanges, steps of the scheduler, bytes. `tools/load.py` is the long form, with
a thousand connections, clocks and a plot.
"""

from __future__ import annotations

import contextlib
import socket as stdlib_socket
from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import pytest
import trio
import trio.testing
from hostile import grows_at_most
from small_codecs import Raw

from trio_bytesbuf import (
    BufStream,
    CappedPool,
    LengthPrefixed,
    SocketStream,
    TypedChannel,
    open_tcp_stream,
    relay,
    serve_tcp,
)

GOOD, BAD = 40, 20
EXCHANGES = 60
"""How many the quickest of the good connections has when counting ends."""

MESSAGE = 10_000
SHARE = 131_072
"""How much of the pool a connection may have."""

PER_CONNECTION = 300_000
"""How much memory a connection costs at the most: its share, what it has to send, a message at each
of three stations, and 60,000 bytes of objects, of both sides and of a relay."""

STIRRING = 65_536
"""TCP may still move bytes between full buffers, long after it said that they are; so much at most.
Who is not held up sends ten times as much before the good ones are done."""

PATIENCE = 30
FRAMING = LengthPrefixed(4)


async def serve_typed(stream: SocketStream) -> None:
    """Answer each message with itself."""
    async with TypedChannel(stream, sends=Raw(), receives=Raw()) as channel:
        async for message in channel:
            await channel.send(message)


async def serve_frames(stream: SocketStream) -> None:
    """Answer each frame with itself; peers speak typed messages, of which this knows nothing."""
    async with BufStream(stream) as buffered:
        async for view in buffered.views():
            buffered.write(view)
            del view
            await buffered.flush()


def modest_buffers(stream: SocketStream) -> None:
    """Let the kernel hold some 64 KiB for `stream`, and not what it likes."""
    stream.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_SNDBUF, 32_768)
    stream.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_RCVBUF, 32_768)


class AllSteps(trio.abc.Instrument):
    """Counts the steps of all tasks, by what they run."""

    def __init__(self) -> None:
        self.taken: dict[str, int] = {}

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        name = task.name.rpartition(".")[2]
        self.taken[name] = self.taken.get(name, 0) + 1


@attrs.define
class Load:
    """Clients that exchange messages, and some that only send."""

    port: int
    counts: list[int] = attrs.field(factory=lambda: [0] * GOOD)
    enough: trio.Event = attrs.field(factory=trio.Event)
    bad: list[SocketStream] = attrs.field(factory=list)

    async def good_client(self, number: int) -> None:
        """Send a message, receive it, and again."""
        async with TypedChannel(
            await open_tcp_stream("127.0.0.1", self.port), sends=Raw(), receives=Raw()
        ) as channel:
            while not self.enough.is_set():
                message = bytes((number,)) * (MESSAGE // 10)
                await channel.send(message)
                assert await channel.receive() == message
                self.counts[number] += 1
                if self.counts[number] == EXCHANGES:
                    self.enough.set()

    async def bad_client(self) -> None:
        """Send for ever, and read nothing."""
        stream = await open_tcp_stream("127.0.0.1", self.port)
        modest_buffers(stream)
        self.bad.append(stream)
        channel = TypedChannel(stream, sends=Raw(), receives=Raw())
        try:
            for number in range(1_000_000):
                await channel.send(number.to_bytes(4, "big") * (MESSAGE // 4))
        finally:
            await trio.aclose_forcefully(channel)

    def sent_nbytes(self) -> list[int]:
        """How much the kernel has taken of each bad client."""
        return [stream.statistics().sent_nbytes for stream in self.bad]


@attrs.define
class Outcome:
    """What was counted."""

    steps: float
    """Steps of all tasks for each exchange."""
    steps_of_bad: int
    counts: list[int]
    lent_nbytes: int
    behind_nbytes: list[int]


async def run(handler: Callable[[SocketStream], Awaitable[None]], bad: int) -> Outcome:
    """Let the bad clients send until they are blocked, and then the good ones exchange."""
    pool = CappedPool((GOOD + 2 * BAD) * SHARE)
    streams: list[SocketStream] = []

    async def handle(stream: SocketStream) -> None:
        streams.append(stream)
        modest_buffers(stream)
        with contextlib.suppress(trio.BrokenResourceError):
            await handler(stream)

    async def listen(
        nursery: trio.Nursery, handler: Callable[[SocketStream], Awaitable[None]]
    ) -> int:
        share = partial(pool.share, SHARE)
        start = partial(serve_tcp, host="127.0.0.1", memory=share)
        [listener] = await nursery.start(start, handler, 0)
        port: int = listener.socket.getsockname()[1]
        return port

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            if handler is serve_relay:
                upstream = await listen(nursery, serve_typed)
                handler = partial(serve_relay, port=upstream)
            load = Load(await listen(nursery, handle))
            for _ in range(bad):
                nursery.start_soon(load.bad_client)
            blocked_at, before = [0], [-1]
            while blocked_at != before:
                await trio.testing.wait_all_tasks_blocked(0.05)
                blocked_at, before = load.sent_nbytes(), blocked_at
            assert len(blocked_at) == bad
            assert all(blocked_at)
            behind = [
                stream.statistics().received_nbytes - stream.statistics().sent_nbytes
                for stream in streams
            ]
            steps = AllSteps()
            trio.lowlevel.add_instrument(steps)
            async with trio.open_nursery() as clients:
                for number in range(GOOD):
                    clients.start_soon(load.good_client, number)
            trio.lowlevel.remove_instrument(steps)
            more = [now - at for now, at in zip(load.sent_nbytes(), blocked_at, strict=True)]
            assert max(more, default=0) <= STIRRING, "the peer was not held up"
            lent = pool.statistics().lent_nbytes
            nursery.cancel_scope.cancel()
    return Outcome(
        steps=sum(steps.taken.values()) / sum(load.counts),
        steps_of_bad=steps.taken.get("bad_client", 0),
        counts=load.counts,
        lent_nbytes=lent,
        behind_nbytes=behind,
    )


async def serve_relay(stream: SocketStream, port: int = 0) -> None:
    """Join the connection with another to a server."""
    async with await open_tcp_stream("127.0.0.1", port, memory=stream.memory) as upstream:
        await relay(stream, upstream)


@pytest.mark.parametrize("handler", [serve_typed, serve_frames, serve_relay])
async def test_peers_that_never_read_are_held_up_and_hold_up_nobody(handler) -> None:
    """Every good connection gets its share of the exchanges, for the same steps as without them.

    The bad ones are blocked in the middle of a send and hardly run at all; they keep no more than
    their share of the pool, and all together no more memory than connections times a cap.
    """
    alone = await run(handler, bad=0)
    with grows_at_most((GOOD + BAD) * PER_CONNECTION):
        beset = await run(handler, bad=BAD)
    for outcome in (alone, beset):
        assert max(outcome.counts) <= 2 * min(outcome.counts), "some starve"
    assert beset.steps <= 1.1 * alone.steps
    assert beset.steps_of_bad <= BAD * STIRRING // MESSAGE
    assert beset.lent_nbytes <= (GOOD + 2 * BAD) * SHARE
    assert len(beset.behind_nbytes) == BAD
    if handler is not serve_relay:  # which answers by way of another connection
        assert max(beset.behind_nbytes) <= SHARE + 3 * MESSAGE


async def test_a_peer_that_reads_at_last_gets_all_in_order() -> None:
    """Being held up costs no message: what was sent comes back, once it is read."""
    got: list[bytes] = []
    pool = CappedPool(4 * SHARE)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            share = partial(pool.share, SHARE)
            start = partial(serve_tcp, host="127.0.0.1", memory=share)
            [listener] = await nursery.start(start, serve_typed, 0)
            stream = await open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
            modest_buffers(stream)
            channel = TypedChannel(stream, sends=Raw(), receives=Raw())
            sent = [number.to_bytes(4, "big") * (MESSAGE // 4) for number in range(300)]

            async def send_all() -> None:
                for message in sent:
                    await channel.send(message)
                await channel.send_eof()

            nursery.start_soon(send_all)
            await trio.testing.wait_all_tasks_blocked(0.05)
            held_up_at = stream.statistics().sent_nbytes
            assert held_up_at < len(sent) * MESSAGE
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert stream.statistics().sent_nbytes == held_up_at
            got = [message async for message in channel]
            assert got == sent
            await channel.aclose()
            nursery.cancel_scope.cancel()
    assert pool.statistics().lent_nbytes == 0
