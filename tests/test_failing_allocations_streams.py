"""Each allocation fails once in sockets and pipes: all bytes, or a front and a broken half.

The system has taken or given bytes by then. So either the call can be made again and nothing is
missing, or the half is broken and says so each time: never a gap, and nothing twice.
"""

from __future__ import annotations

import contextlib
import os
import sys

import pytest
import trio
from allocations import Place, is_lack_of_memory, let_go, unheard, where_they_can
from pairs import big_buffers, noise

from trio_bytesbuf import (
    BytesBuf,
    BytesView,
    FdStream,
    GlobalPool,
    ReadInspectDecision,
    SocketStream,
)
from trio_bytesbuf.mem import CappedPool
from trio_bytesbuf.testing import Allocations, check_laws, fail_at_each_call

if sys.platform == "linux":  # elsewhere a pipe has no size that could be set
    import fcntl

pytestmark = [*where_they_can, pytest.mark.skipif(sys.platform != "linux", reason="of pipes' size")]

INCOMING = noise(150_000)
PARTS = [noise(700, 1), noise(1500, 2), noise(20_000, 3), noise(3, 4)]
OUTGOING = b"".join(PARTS)

POOLS = {"pool": GlobalPool, "capped": lambda: CappedPool(4 * 1_048_576)}


@contextlib.asynccontextmanager
async def a_socket(pool):
    ours, theirs = trio.socket.socketpair()
    a, b = SocketStream(ours, memory=pool), SocketStream(theirs)
    big_buffers(a)
    big_buffers(b)
    async with a, b:
        yield a, b, b


@contextlib.asynccontextmanager
async def a_pipe(pool):
    """One that is read, one that is written; their other ends are the peer's."""
    reading, feeding = os.pipe()
    draining, writing = os.pipe()
    for fd in (feeding, writing):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 1 << 18)
    a, b = FdStream(reading, memory=pool), FdStream(writing, memory=pool)
    c, d = FdStream(draining), FdStream(feeding)
    async with a, b, c, d:
        yield (a, b), c, d


KINDS = {"socket": a_socket, "pipe": a_pipe}


def receiving(place: Place):
    return place.it[0] if isinstance(place.it, tuple) else place.it


def sending(place: Place):
    return place.it[1] if isinstance(place.it, tuple) else place.it


def subject_of(kind: str, pool: str, data: bytes):
    """A stream to which `data` and the end were sent already."""

    @contextlib.asynccontextmanager
    async def subject():
        memory = POOLS[pool]()
        async with KINDS[kind](memory) as (ours, drain, feed):
            await feed.send_all(data)
            if kind == "socket":
                await feed.send_eof()
            else:
                await feed.aclose()
            place = Place(ours, peer=drain, pool=memory, a=BytesBuf(), b=[None] * 10)
            yield place
            place.got = place.b = place.a = None

    return subject


async def receive_view(place: Place) -> None:
    place.got = await receiving(place).receive_view()


async def receive_twice(place: Place) -> None:
    place.got = await receiving(place).receive_view(40_000)
    place.b[0] = await receiving(place).receive_view()


async def receive_some(place: Place) -> None:
    place.got = await receiving(place).receive_some()


async def read_exactly(place: Place) -> None:
    place.got = await receiving(place).read_exactly(100_000)


async def read_exactly_little(place: Place) -> None:
    place.got = await receiving(place).read_exactly(100)


async def read_contiguous(place: Place) -> None:
    place.got = await receiving(place).read_contiguous(100_000)


def want_half(view: BytesView) -> ReadInspectDecision:
    return ReadInspectDecision.complete(len(view) // 2)


async def read_at_most_while(place: Place) -> None:
    place.got, place.a = await receiving(place).read_at_most_while(100_000, want_half)


async def read_to_end(place: Place) -> None:
    place.got = await receiving(place).read_to_end(1_000_000)


async def read_more_into(place: Place) -> None:
    await receiving(place).read_more_into(place.a)


async def read_into_room(place: Place) -> None:
    place.a.reserve(70_000)
    await receiving(place).read_more_into(place.a)


async def read_exactly_into(place: Place) -> None:
    await receiving(place).read_exactly_into(90_000, place.a)


async def chunks(place: Place) -> None:
    steps = receiving(place).chunks(50_000)
    place.got = await anext(steps)
    place.b[0] = await anext(steps)


async def views(place: Place) -> None:
    place.got = await anext(receiving(place).views())


RECEIVES = [
    receive_view,
    receive_twice,
    receive_some,
    read_exactly,
    read_exactly_little,
    read_contiguous,
    read_at_most_while,
    read_to_end,
    read_more_into,
    read_into_room,
    read_exactly_into,
    chunks,
    views,
]


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("operation", RECEIVES, ids=lambda it: it.__name__)
async def test_what_is_received_is_all_or_the_first_of_it(operation, kind, pool) -> None:
    """What was had before, and what the next reads get, is what was sent, or its front."""
    outcomes = set()

    async def check(place: Place, attempt) -> str:
        let_go(attempt.error)
        stream = receiving(place)
        if attempt.error is not None and not is_lack_of_memory(attempt.error):
            assert isinstance(attempt.error, trio.BrokenResourceError)  # told by a later receive
        check_laws(place.a)
        got = [place.got, place.b[0]]
        had = b"".join(bytes(one) for one in got if one is not None) + bytes(place.a.peek())
        assert INCOMING.startswith(had)
        try:
            rest = b""
            while view := await stream.receive_view():
                rest += bytes(view)
                del view
        except trio.BrokenResourceError:
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_view()
            became = "broken"  # told now, if this call had something to return first
        else:
            became = "resumed"
            assert had + rest == INCOMING
        assert INCOMING.startswith(had + rest)
        outcomes.add(became)
        got = place.got = place.a = place.b = None
        lent = place.pool.statistics().lent_nbytes
        assert lent == 0
        return became

    with unheard():
        table = await fail_at_each_call(
            subject_of(kind, pool, INCOMING), operation, Allocations(), check=check
        )
    assert table.failed
    assert "resumed" in outcomes  # what lacks memory before it receives has lost nothing


async def write_view(place: Place) -> None:
    await sending(place).write_view(BytesView.from_views(map(BytesView, PARTS)))


async def write_parts(place: Place) -> None:
    await sending(place).write_parts(PARTS)


async def send_all(place: Place) -> None:
    await sending(place).send_all(OUTGOING)


async def prepare_and_write(place: Place) -> None:
    await sending(place).prepare_and_write(len(OUTGOING), lambda buf: buf.put_slice(OUTGOING))


async def send_eof(place: Place) -> None:
    await sending(place).send_all(OUTGOING)
    if not isinstance(place.it, tuple):
        await sending(place).send_eof()


SENDS = [write_view, write_parts, send_all, prepare_and_write, send_eof]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("operation", SENDS, ids=lambda it: it.__name__)
async def test_what_is_sent_is_all_of_it_or_a_front_and_nothing_behind(operation, kind) -> None:
    """A half that lost count sends nothing more, not even an end that would call it all."""

    async def check(place: Place, attempt) -> str:
        let_go(attempt.error)
        assert attempt.error is None or is_lack_of_memory(attempt.error), attempt.error
        stream = sending(place)
        is_eof_said = operation is send_eof and attempt.error is None
        try:
            await stream.write_view(BytesView(b"next"))
            became = "goes on"
        except trio.BrokenResourceError:
            became = "broken"
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_all(b"again")
            with pytest.raises(trio.BrokenResourceError):
                await (stream.send_eof() if kind == "socket" else stream.send_all(b"again"))
        except trio.ClosedResourceError:
            assert operation is send_eof
            became = "ended"
        await stream.aclose()
        came = bytes(await place.peer.read_to_end(1_000_000))
        if became == "goes on":
            assert came in {OUTGOING + b"next", b"next"}
            assert came != b"next" or attempt.error is not None
        elif became == "broken":
            assert attempt.error is not None
            assert OUTGOING.startswith(came)
        else:
            assert came == OUTGOING
        assert not is_eof_said or became != "broken"
        return became

    with unheard():
        table = await fail_at_each_call(
            subject_of(kind, "pool", b""), operation, Allocations(), check=check
        )
    assert table.failed
