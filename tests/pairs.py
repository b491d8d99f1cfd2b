"""Pairs of connected streams, and what makes them hard to use: clogged, reset, read through views.

A *maker* is an async function that returns two connected streams over the memory it is given.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket as stdlib_socket
import struct
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

import pytest
import trio
import trio.testing

from trio_bytesbuf import BytesBuf, BytesView, GlobalPool, SocketStream
from trio_bytesbuf.mem import Memory, PlainMemory
from trio_bytesbuf.testing import FixedBlockMemory

Pair = tuple[SocketStream, SocketStream]
Maker = Callable[..., Awaitable[Pair]]


async def socketpair(memory: Memory | None = None) -> Pair:
    """Two streams over the ends of a socketpair."""
    a, b = trio.socket.socketpair()
    return SocketStream(a, memory=memory), SocketStream(b, memory=memory)


async def _connected(
    family: int, address: object
) -> tuple[trio.socket.SocketType, trio.socket.SocketType]:
    with trio.socket.socket(family) as listening:
        await listening.bind(address)
        listening.listen(1)
        client = trio.socket.socket(family)
        await client.connect(listening.getsockname())
        server, _ = await listening.accept()
    return client, server


async def tcp_pair(memory: Memory | None = None) -> Pair:
    """A connecting and an accepted stream over TCP."""
    a, b = await _connected(trio.socket.AF_INET, ("127.0.0.1", 0))
    return SocketStream(a, memory=memory), SocketStream(b, memory=memory)


async def unix_pair(memory: Memory | None = None) -> Pair:
    """A connecting and an accepted stream over a Unix socket with a name."""
    with tempfile.TemporaryDirectory() as folder:
        a, b = await _connected(trio.socket.AF_UNIX, str(Path(folder, "s")))
    return SocketStream(a, memory=memory), SocketStream(b, memory=memory)


async def wrapped_pair(memory: Memory | None = None) -> Pair:
    """Two streams over TCP that stand on `trio.SocketStream`s which somebody else made."""
    a, b = await _connected(trio.socket.AF_INET, ("127.0.0.1", 0))
    return (
        SocketStream(trio.SocketStream(a), memory=memory),
        SocketStream(trio.SocketStream(b), memory=memory),
    )


MAKERS: tuple[Maker, ...] = (socketpair, tcp_pair, unix_pair, wrapped_pair)

MEMORIES: tuple[Callable[[], Memory], ...] = (
    lambda: FixedBlockMemory(1),
    lambda: FixedBlockMemory(7),
    PlainMemory,
    GlobalPool,
)
MEMORY_IDS = ("blocks of 1", "blocks of 7", "plain", "pool")


async def clog(stream: SocketStream) -> None:
    """Fill everything between `stream` and its peer, so that one more byte would have to wait."""
    # TCP may move bytes on to the peer a moment after it said that it is full.
    cushion = 0 if stream.socket.family == trio.socket.AF_UNIX else 0.01

    async def fill() -> None:
        while True:
            await stream.send_all(bytes(10_000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fill)
        await trio.testing.wait_all_tasks_blocked(cushion)
        nursery.cancel_scope.cancel()


def small_buffers(stream: SocketStream) -> None:
    """Let the kernel hold as little for `stream` as it can be made to."""
    stream.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_SNDBUF, 1)
    stream.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_RCVBUF, 1)


def big_buffers(stream: SocketStream) -> None:
    """Let the kernel hold at least 400 kB for `stream`: what is sent is then at hand at once."""
    stream.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_SNDBUF, 1 << 22)
    stream.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_RCVBUF, 1 << 22)


def reset(stream: SocketStream) -> None:
    """Close a TCP stream so that its peer is told of a reset and not of an end."""
    stream.setsockopt(
        stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, struct.pack("ii", True, False)
    )
    stream.socket.close()


def put_now(stream: SocketStream, data: bytes) -> None:
    """Send `data` without any await; the kernel's buffer must have room for it."""
    sent = stdlib_socket.socket(fileno=stream.socket.fileno())
    try:
        assert sent.send(data) == len(data), "the kernel did not take it at once"
    finally:
        sent.detach()


@contextlib.asynccontextmanager
async def closing(*streams: trio.abc.AsyncResource):
    """Close `streams` at the end of the block, whatever happened in it."""
    try:
        yield streams
    finally:
        for stream in streams:
            await trio.aclose_forcefully(stream)


class ThroughViews(trio.abc.HalfCloseableStream):
    """A trio stream whose bytes all go through `receive_view` and `write_view`.

    trio's own checks call `receive_some` and `send_all` only; this lets them check the views' way.
    """

    def __init__(self, stream: SocketStream, *, at_most: int = 16_384) -> None:
        self.stream = stream
        self.at_most = at_most

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is None or (isinstance(max_bytes, int) and max_bytes > self.at_most):
            max_bytes = self.at_most
        view = await self.stream.receive_view(max_bytes)
        assert len(view) <= max_bytes
        return view.to_bytes()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.write_view(BytesView(data))

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def aclose(self) -> None:
        await self.stream.aclose()


async def receive_to_the_end(stream: SocketStream, max_bytes: int | None = None) -> bytes:
    """Return everything that arrives until the peer has sent its end."""
    return b"".join([view.to_bytes() async for view in stream.views(max_bytes)])


async def receive_exactly(stream: SocketStream, nbytes: int) -> bytes:
    """Return the next `nbytes` bytes; raise if they do not come, rather than wait for ever."""
    parts = []
    with trio.fail_after(10):
        while nbytes:
            view = await stream.receive_view(nbytes)
            assert view, "the stream ended too early"
            parts.append(view.to_bytes())
            nbytes -= len(view)
    return b"".join(parts)


def noise(nbytes: int, seed: int = 0) -> bytes:
    """Return `nbytes` bytes that are the same for the same seed and repeat nowhere."""
    return hashlib.shake_128(seed.to_bytes(8, "big")).digest(nbytes)


class Steps(trio.abc.Instrument):
    """Counts how often a task is let run again: one step for each checkpoint that it passed."""

    def __init__(self) -> None:
        self.taken = 0
        self._task = trio.lowlevel.current_task()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.taken += task is self._task

    def __enter__(self) -> Self:
        trio.lowlevel.add_instrument(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        trio.lowlevel.remove_instrument(self)


# Every way to use one half of a stream, by name

RECEIVING = {
    "receive_view": lambda stream: stream.receive_view(),
    "receive_view of 1": lambda stream: stream.receive_view(1),
    "receive_some": lambda stream: stream.receive_some(),
    "read_at_most_into": lambda stream: stream.read_at_most_into(5, BytesBuf()),
    "read_more_into": lambda stream: stream.read_more_into(BytesBuf()),
    "read_any": lambda stream: stream.read_any(),
    "a step of views": lambda stream: anext(stream.views(), None),
}
SENDING = {
    "write_view": lambda stream: stream.write_view(BytesView(b"x")),
    "an empty write_view": lambda stream: stream.write_view(BytesView()),
    "send_all": lambda stream: stream.send_all(b"x"),
    "an empty send_all": lambda stream: stream.send_all(b""),
    "wait_send_all_might_not_block": lambda stream: stream.wait_send_all_might_not_block(),
    "send_eof": lambda stream: stream.send_eof(),
}


def each_of(calls: dict):
    """Run a test once for each of `calls`, under its name."""
    return pytest.mark.parametrize("call", calls.values(), ids=calls.keys())
