"""What has arrived holds all memory that a share has: that is said, and not waited for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pairs import big_buffers, closing, noise, socketpair
from small_codecs import Text

from trio_bytesbuf import (
    BudgetExceeded,
    BufReader,
    BytesBuf,
    BytesView,
    CappedPool,
    ReadInspectDecision,
    SocketStream,
)
from trio_bytesbuf.buffered import Delimited, LengthPrefixed
from trio_bytesbuf.io import GuardedStream, MinRate
from trio_bytesbuf.testing import check_laws
from trio_bytesbuf.wire import TypedReceiveChannel, TypedSendChannel

SHARE_NBYTES = 65_536
LEAST_NBYTES = 4096
"""The smallest block of a share."""

ITEM = noise(200_000).replace(b"\n", b"\0") + b"\n"
PATIENCE = 30


def to_a_newline(view: BytesView) -> ReadInspectDecision:
    end = view.find(b"\n")
    if end == -1:
        return ReadInspectDecision.continue_read()
    return ReadInspectDecision.complete(end + 1)


WHOLE: dict[str, Callable[[SocketStream], Awaitable[object]]] = {
    "read_exactly": lambda stream: stream.read_exactly(len(ITEM)),
    "read_to_end": lambda stream: stream.read_to_end(1_000_000),
    "read_at_most_while": lambda stream: stream.read_at_most_while(1_000_000, to_a_newline),
    "chunks": lambda stream: anext(stream.chunks(len(ITEM))),
}

BUFFERED: dict[str, Callable[[BufReader], Awaitable[object]]] = {
    "read_exactly": lambda reader: reader.read_exactly(len(ITEM)),
    "read_until": lambda reader: reader.read_until(b"\n", max_bytes=1_000_000),
    "lines": lambda reader: reader.lines(max_bytes=1_000_000).receive(),
    "batches": lambda reader: anext(reader.lines(max_bytes=1_000_000).batches()),
}


async def taken(stream) -> bytes:
    """Return everything to the end, letting go of each part of it."""
    got = b""
    while view := await stream.receive_view():
        got += bytes(view)
        del view
    return got


async def check_starving(read, stream, pool: CappedPool) -> None:
    """See that it says so, as often as it is asked, and that the bytes are there all the same."""
    for _ in range(2):
        with pytest.raises(BudgetExceeded, match="is not whole yet holds") as caught:
            await read(stream)
        assert 0 < caught.value.held <= SHARE_NBYTES
        assert caught.value.available < LEAST_NBYTES <= caught.value.requested
        del caught
    if isinstance(stream, BufReader):
        check_laws(stream)
    assert await taken(stream) == ITEM
    assert pool.statistics().lent_nbytes == 0


async def sent(sender: SocketStream, data: bytes) -> None:
    await sender.send_all(data)
    await sender.send_eof()


@pytest.mark.parametrize("is_guarded", [False, True])
@pytest.mark.parametrize("way", WHOLE)
async def test_a_read_that_holds_all_memory_says_so_and_loses_nothing(way, is_guarded) -> None:
    """Of a stream, and through a guard, which gathers above it."""
    pool = CappedPool(1_048_576)
    theirs, ours = await socketpair(pool.share(SHARE_NBYTES))
    rate = MinRate(1, seconds=PATIENCE)
    stream = GuardedStream(ours, receiving=rate, sending=rate) if is_guarded else ours
    with trio.fail_after(PATIENCE):
        async with closing(theirs, ours), trio.open_nursery() as nursery:
            nursery.start_soon(sent, theirs, ITEM)
            await check_starving(WHOLE[way], stream, pool)


@pytest.mark.parametrize("way", BUFFERED)
async def test_a_buffered_read_that_holds_all_memory_says_so_and_loses_nothing(way) -> None:
    """Lines, frames, and what inherited reads gather."""
    pool = CappedPool(1_048_576)
    theirs, ours = await socketpair(pool.share(SHARE_NBYTES))
    with trio.fail_after(PATIENCE):
        async with closing(theirs, ours), trio.open_nursery() as nursery:
            nursery.start_soon(sent, theirs, ITEM)
            await check_starving(BUFFERED[way], BufReader(ours), pool)


async def test_a_message_that_holds_all_memory_says_so() -> None:
    """Those before it are received."""
    theirs, ours = await socketpair(CappedPool(1_048_576).share(SHARE_NBYTES))
    receiver = TypedReceiveChannel(ours, Text(), checks_checksums=False)

    async def send() -> None:
        async with TypedSendChannel(theirs, Text(), sends_checksums=False) as channel:
            await channel.send("first")
            await channel.send("x" * 200_000)

    with trio.fail_after(PATIENCE):
        async with closing(theirs, ours), trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert await receiver.receive() == "first"
            for _ in range(2):
                with pytest.raises(BudgetExceeded):
                    await receiver.receive()
            nursery.cancel_scope.cancel()


async def test_room_of_a_builder_needs_no_other_memory() -> None:
    """All of the share is room of the builder that is read into: that is filled."""
    share = CappedPool(1_048_576).share(SHARE_NBYTES)
    theirs, ours = await socketpair(share)
    with trio.fail_after(PATIENCE):
        async with closing(theirs, ours), trio.open_nursery() as nursery:
            nursery.start_soon(sent, theirs, ITEM)
            buf: BytesBuf = share.reserve(SHARE_NBYTES)
            await ours.read_exactly_into(SHARE_NBYTES, buf)
            assert buf.peek() == ITEM[:SHARE_NBYTES]
            with pytest.raises(BudgetExceeded):
                await ours.read_exactly_into(SHARE_NBYTES + 1, buf)
            front = bytes(buf.consume_all())
            assert front + await taken(ours) == ITEM


async def test_what_somebody_else_can_give_back_is_waited_for() -> None:
    """Though the reader holds the rest: it goes on when they let go."""
    share = CappedPool(1_048_576).share(SHARE_NBYTES)
    theirs, ours = await socketpair(share)
    reader = BufReader(ours)
    held = [share.reserve(SHARE_NBYTES // 2)]
    line = ITEM[:40_000] + b"\n"
    got = []

    async def read() -> None:
        got.append(await reader.read_until(b"\n", max_bytes=100_000))

    with trio.fail_after(PATIENCE):
        async with closing(theirs, ours), trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await theirs.send_all(line)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert not got
            held.clear()
    assert got == [line]


@given(is_buffered=st.booleans(), cuts=st.lists(st.integers(1, 30_000), max_size=30))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_half_of_a_share_always_fits(is_buffered: bool, cuts: list[int]) -> None:
    """However it is cut: what fills little of its block is copied out of it."""
    nbytes = (SHARE_NBYTES - LEAST_NBYTES) // 2
    item = ITEM[:nbytes]

    async def main() -> None:
        theirs, ours = await socketpair(CappedPool(1_048_576).share(SHARE_NBYTES))
        big_buffers(theirs)
        read_exactly = (BufReader(ours) if is_buffered else ours).read_exactly

        async def send() -> None:
            rest = item * 3
            for cut in cuts:
                await theirs.send_all(rest[:cut])
                rest = rest[cut:]
                await trio.testing.wait_all_tasks_blocked()
            await sent(theirs, rest)

        with trio.fail_after(PATIENCE):
            async with closing(theirs, ours), trio.open_nursery() as nursery:
                nursery.start_soon(send)
                for _ in range(3):
                    assert await read_exactly(nbytes) == item

    trio.run(main)


def test_frames_of_half_a_share_fit() -> None:
    """The framings measure what is in the buffer, and so does the budget."""
    nbytes = (SHARE_NBYTES - LEAST_NBYTES) // 2 - 4

    async def main() -> None:
        theirs, ours = await socketpair(CappedPool(1_048_576).share(SHARE_NBYTES))
        frame = nbytes.to_bytes(4, "big") + ITEM[:nbytes]
        async with closing(theirs, ours), trio.open_nursery() as nursery:
            nursery.start_soon(sent, theirs, frame * 20)
            frames = BufReader(ours).frames(LengthPrefixed(4))
            count = 0
            async for received in frames:
                assert received == ITEM[:nbytes]
                count += 1
                del received
            assert count == 20

    trio.run(main)


async def views(stream: SocketStream, nbytes: int) -> int:
    count = 0
    async for view in stream.views():
        count += len(view)
    return count


async def batches_of_views(stream: SocketStream, nbytes: int) -> int:
    count = 0
    async for batch in stream.views().batches():
        for view in batch:
            count += len(view)
    return count


async def chunks(stream: SocketStream, nbytes: int) -> int:
    count = 0
    async for view in stream.chunks(nbytes):
        count += len(view)
    return count


async def batches_of_chunks(stream: SocketStream, nbytes: int) -> int:
    count = 0
    async for batch in stream.chunks(nbytes).batches():
        for view in batch:
            count += len(view)
    return count


async def frames(stream: SocketStream, nbytes: int) -> int:
    count = 0
    async for view in BufReader(stream).frames(Delimited(b"\n")):
        count += len(view) + 1
    return count


async def batches_of_frames(stream: SocketStream, nbytes: int) -> int:
    count = 0
    async for batch in BufReader(stream).frames(Delimited(b"\n")).batches():
        for view in batch:
            count += len(view) + 1
    return count


LOOPS = [
    views,
    batches_of_views,
    chunks,
    batches_of_chunks,
    frames,
    batches_of_frames,
]


@pytest.mark.parametrize("share_nbytes", [65_536, 262_144])
@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_a_loop_that_holds_what_it_got_last_gets_the_next(loop, share_nbytes: int) -> None:
    """Items of an eighth of the share, however they are cut, and though none is let go of."""
    nbytes = share_nbytes // 8
    item = b"x" * (nbytes - 1) + b"\n"

    @given(
        count=st.integers(5, 30),
        cuts=st.lists(st.sampled_from([1, 100, 3000, 5000, 17_000, 66_000]), max_size=20),
    )
    @settings(
        max_examples=12,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        phases=[Phase.generate],  # to make one smaller would wait for each try
    )
    def go_on(count: int, cuts: list[int]) -> None:
        async def main() -> None:
            theirs, ours = await socketpair(CappedPool(1_048_576).share(share_nbytes))

            async def send() -> None:
                rest = item * count
                for cut in cuts:
                    await theirs.send_all(rest[:cut])
                    rest = rest[cut:]
                    await trio.testing.wait_all_tasks_blocked()
                await sent(theirs, rest)

            with trio.fail_after(PATIENCE):
                async with closing(theirs, ours), trio.open_nursery() as nursery:
                    nursery.start_soon(send)
                    assert await loop(ours, nbytes) == count * nbytes

        trio.run(main)

    go_on()
