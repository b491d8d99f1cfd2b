"""The checks of sources and sinks: every fake passes them, and every stream, in every memory.

That they find bugs is in `test_planted_endpoint_bugs`.
"""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio
import trio.testing
from pairs import MEMORIES, MEMORY_IDS, Pair, socketpair, tcp_pair

from trio_bytesbuf import BytesView
from trio_bytesbuf.io import Read, Write
from trio_bytesbuf.mem import Memory
from trio_bytesbuf.testing import (
    CLOGGED_SINK_CHECKS,
    SINK_CHECKS,
    SOURCE_CHECKS,
    STALLED_SOURCE_CHECKS,
    Delay,
    FakeRead,
    FakeWrite,
    Pending,
    dribbling,
    lockstep_pair,
    memory_pair,
)

NAME = operator.attrgetter("__name__")

source_checks = pytest.mark.parametrize("check", SOURCE_CHECKS, ids=NAME)
stalled_source_checks = pytest.mark.parametrize("check", STALLED_SOURCE_CHECKS, ids=NAME)
sink_checks = pytest.mark.parametrize("check", SINK_CHECKS, ids=NAME)
clogged_sink_checks = pytest.mark.parametrize("check", CLOGGED_SINK_CHECKS, ids=NAME)
every_memory = pytest.mark.parametrize("memory", MEMORIES, ids=MEMORY_IDS)
every_socket = pytest.mark.parametrize("pair", [socketpair, tcp_pair], ids=NAME)


@pytest.fixture
async def peers() -> AsyncIterator[contextlib.AsyncExitStack]:
    """What is at the other ends, to be closed after the test."""
    async with contextlib.AsyncExitStack() as stack:
        yield stack


# Sources without a peer


def by_single_bytes(data: bytes) -> BytesView:
    return BytesView.from_views([BytesView(data[at : at + 1]) for at in range(len(data))])


def endless(contents: bytes) -> FakeRead:
    """All contents, and then silence."""
    return FakeRead(contents, script=[len(contents), Delay(math.inf)] if contents else STALL)


STALL = (Delay(math.inf),)

FAKES: dict[str, Callable[[bytes], Read]] = {
    "all at once": FakeRead,
    "a byte at a time": lambda data: FakeRead(data, max_read_nbytes=1),
    "three at a time, in pieces": lambda data: FakeRead(by_single_bytes(data), max_read_nbytes=3),
    "by a script": lambda data: FakeRead(data, script=[1, Delay(0), 2, 3, 50], max_read_nbytes=20),
    "in a memory of tiny blocks": lambda data: FakeRead(data, memory=MEMORIES[0]()),
    "dribbling": lambda data: dribbling(FakeRead(data)),
    "dribbling by sizes": lambda data: dribbling(FakeRead(data, max_read_nbytes=4), [7, 1, 3]),
    "dribbling twice": lambda data: dribbling(dribbling(FakeRead(data), [5]), [2, 9]),
}
STALLED_FAKES: dict[str, Callable[[bytes], Read]] = {
    "by a script": endless,
    "a few at a time": lambda data: FakeRead(
        data, script=[*[1] * len(data), Delay(math.inf)], max_read_nbytes=20
    ),
    "dribbling": lambda data: dribbling(endless(data), [2, 1]),
}


@source_checks
@pytest.mark.parametrize("make", FAKES.values(), ids=FAKES)
async def test_every_fake_is_a_source(make, check) -> None:
    """Fakes keep all promises, whatever they give at a time."""

    async def source(contents: bytes) -> Read:
        return make(contents)

    await check(source)


@stalled_source_checks
@pytest.mark.parametrize("make", STALLED_FAKES.values(), ids=STALLED_FAKES)
async def test_every_stalled_fake_is_a_source(make, check) -> None:
    """Fakes that go silent keep the promises of waiting."""

    async def source(contents: bytes) -> Read:
        return make(contents)

    await check(source)


WITHOUT_CONTENTS = [
    check
    for check in STALLED_SOURCE_CHECKS
    if check.__name__ in {"refuses_a_second_task_while_it_waits", "wakes_readers_when_closed"}
]


@pytest.mark.parametrize("check", WITHOUT_CONTENTS, ids=NAME)
async def test_pending_is_a_stalled_source(check) -> None:
    """`Pending` waits, refuses others and is woken, where no contents are wanted of it."""

    async def source(contents: bytes) -> Read:
        assert not contents
        return Pending()

    await check(source)


# Streams as sources


async def ended(make: Callable[..., Awaitable[Pair]], memory: Memory, contents: bytes) -> Read:
    """Return a socket's stream that is sent `contents`, and the end."""
    source, peer = await make(memory)
    async with peer:
        await peer.send_all(contents)
    return source


@source_checks
@every_memory
@every_socket
async def test_socket_streams_are_sources(pair, memory, check) -> None:
    """A stream over a socket keeps all promises, in every memory."""

    async def source(contents: bytes) -> Read:
        return await ended(pair, memory(), contents)

    await check(source)


@stalled_source_checks
@every_memory
@every_socket
async def test_silent_socket_streams_are_sources(pair, memory, check, peers) -> None:
    """A stream whose peer goes silent keeps the promises of waiting."""

    async def source(contents: bytes) -> Read:
        stream, peer = await pair(memory())
        await peers.enter_async_context(peer)
        await peer.send_all(contents)
        return stream

    await check(source)


@source_checks
@every_memory
async def test_memory_streams_are_sources(memory, check) -> None:
    """A stream in memory keeps all promises, in every memory."""

    async def source(contents: bytes) -> Read:
        stream, peer = memory_pair(memory())
        await peer.write_view(BytesView(contents))
        await peer.send_eof()
        return stream

    await check(source)


@source_checks
async def test_dribbling_trio_streams_are_sources(check) -> None:
    """A trio stream that dribbles keeps all promises."""

    async def source(contents: bytes) -> Read:
        send, receive = trio.testing.memory_stream_one_way_pair()
        await send.send_all(contents)
        await send.aclose()
        return dribbling(receive, [3, 1])

    await check(source)


@stalled_source_checks
@every_memory
async def test_silent_memory_streams_are_sources(memory, check) -> None:
    """A stream in memory whose peer goes silent keeps the promises of waiting."""

    async def source(contents: bytes) -> Read:
        stream, peer = memory_pair(memory())
        await peer.write_view(BytesView(contents))
        return stream

    await check(source)


# Sinks


Arrived = Callable[[], Awaitable[bytes]]


def arrived_in(sink: FakeWrite) -> Arrived:
    async def arrived() -> bytes:
        return bytes(sink.contents)

    return arrived


def arrived_at(receive: Callable[[], Awaitable[bytes | BytesView]]) -> Arrived:
    """Take out what is there, and wait a little."""
    found = bytearray()

    async def arrived() -> bytes:
        with trio.move_on_after(0.002):
            while data := await receive():
                found.extend(bytes(data))
        return bytes(found)

    return arrived


FAKE_SINKS: dict[str, Callable[[], FakeWrite]] = {
    "at once": FakeWrite,
    "some at a time": lambda: FakeWrite(max_write_nbytes=999),
    "by a script": lambda: FakeWrite(script=[1, Delay(0), 2, Delay(0.001), 3]),
    "in a memory of tiny blocks": lambda: FakeWrite(memory=MEMORIES[0]()),
}


@sink_checks
@pytest.mark.parametrize("make", FAKE_SINKS.values(), ids=FAKE_SINKS)
async def test_every_fake_is_a_sink(make, check) -> None:
    """Fakes keep all promises, whatever they take at a time."""

    async def made() -> tuple[Write, Arrived]:
        sink = make()
        return sink, arrived_in(sink)

    await check(made)


@sink_checks
@every_memory
@every_socket
async def test_socket_streams_are_sinks(pair, memory, check, peers) -> None:
    """A stream over a socket keeps all promises, in every memory."""

    async def made() -> tuple[Write, Arrived]:
        sink, peer = await pair(memory())
        await peers.enter_async_context(peer)
        return sink, arrived_at(peer.receive_some)

    await check(made)


@sink_checks
@pytest.mark.parametrize("pair", [memory_pair, lockstep_pair], ids=NAME)
async def test_memory_streams_are_sinks(pair, check) -> None:
    """Streams in memory keep all promises, those in lock step, too."""

    async def made() -> tuple[Write, Arrived]:
        sink, peer = pair()
        return sink, arrived_at(peer.receive_view)

    await check(made)


@clogged_sink_checks
async def test_full_socket_streams_are_sinks(check, peers) -> None:
    """A stream that is full keeps the promises of waiting."""

    async def made() -> Write:
        sink, peer = await socketpair()
        await peers.enter_async_context(peer)
        with trio.move_on_after(0.01):
            await sink.send_all(bytes(10_000_000))
        return sink

    await check(made)


FULL: dict[str, Callable[[], Write]] = {
    "Pending": Pending,
    "a fake that takes its time": lambda: FakeWrite(script=STALL),
    "a fake that got half way": lambda: FakeWrite(script=[5, Delay(math.inf)]),
    "a stream in lock step": lambda: lockstep_pair()[0],
}


@clogged_sink_checks
@pytest.mark.parametrize("make", FULL.values(), ids=FULL)
async def test_full_fakes_are_sinks(make, check) -> None:
    """What nothing gets into keeps the promises of waiting."""

    async def made() -> Write:
        return make()

    await check(made)
