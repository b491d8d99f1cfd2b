"""`LimitedRead` and `ChainedRead`: the bytes, where they end, and what a cancelled read leaves."""

from __future__ import annotations

import contextlib

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from pairs import closing, socketpair

from trio_bytesbuf import BytesBuf, BytesView, GlobalPool, UnexpectedEof
from trio_bytesbuf.io import ChainedRead, LimitedRead, Read
from trio_bytesbuf.testing import (
    SOURCE_CHECKS,
    STALLED_SOURCE_CHECKS,
    Delay,
    FakeRead,
    Null,
    Pending,
    cancel_atomic_at_each_checkpoint,
)

CONTENTS = st.binary(max_size=40)
STEPS = st.integers(1, 7)


def limited(contents: bytes, at_once: int = 3) -> LimitedRead:
    """A source of `contents` that is the beginning of a longer one."""
    source = FakeRead(contents + b"behind", max_read_nbytes=at_once)
    return LimitedRead(source, len(contents))


def chained(contents: bytes, at_once: int = 3) -> ChainedRead:
    """A source of `contents` in two halves."""
    half = len(contents) // 2
    halves = contents[:half], contents[half:]
    return ChainedRead(*(FakeRead(part, max_read_nbytes=at_once) for part in halves))


@pytest.mark.parametrize("at_once", [1, 3, 1000])
@pytest.mark.parametrize("make", [limited, chained])
@pytest.mark.parametrize("check", SOURCE_CHECKS, ids=lambda check: check.__name__)
async def test_each_is_a_source_like_any_other(check, make, at_once):
    """All promises of a `Read` hold, however few bytes come at a time."""

    async def new(contents) -> Read:
        return make(bytes(contents), at_once)

    await check(new)


@pytest.mark.parametrize("kind", ["limited", "chained"])
@pytest.mark.parametrize("check", STALLED_SOURCE_CHECKS, ids=lambda check: check.__name__)
async def test_each_waits_and_is_cancelled_like_any_other(check, kind):
    """Over a source that gives no more and does not end."""

    async def new(contents) -> Read:
        rest = ChainedRead(FakeRead(bytes(contents), max_read_nbytes=3), Pending())
        return rest if kind == "chained" else LimitedRead(rest, len(contents) + 1)

    await check(new)


@given(contents=CONTENTS, nbytes=st.integers(0, 50), at_once=STEPS, asked=STEPS)
def test_a_limit_divides_the_bytes(contents, nbytes, at_once, asked):
    """What comes through it are the first bytes; the source has the others."""

    async def main() -> None:
        source = FakeRead(contents, max_read_nbytes=at_once)
        limited = LimitedRead(source, nbytes)
        left = nbytes
        got = b""
        async for view in limited.views(asked):
            got += view.to_bytes()
            left -= len(view)
            assert limited.remaining == left
        assert got == contents[:nbytes]
        assert await source.read_to_end(100) == contents[nbytes:]

    trio.run(main)


@given(first=CONTENTS, last=CONTENTS, at_once=STEPS, asked=STEPS)
def test_a_chain_joins_the_bytes(first, last, at_once, asked):
    """In order, and its end is that of the last."""

    async def main() -> None:
        chain = ChainedRead(
            FakeRead(first, max_read_nbytes=at_once), FakeRead(last, max_read_nbytes=at_once)
        )
        got = b"".join([view.to_bytes() async for view in chain.views(asked)])
        assert got == first + last
        assert not await chain.receive_view()

    trio.run(main)


@pytest.mark.parametrize(
    "make", [LimitedRead, lambda source, _: ChainedRead(source, FakeRead(b""))]
)
async def test_what_the_source_has_kept_comes_first(make):
    """Bytes that an abandoned read of the source had got."""
    source = FakeRead(b"abcdef", max_read_nbytes=2)
    with pytest.raises(UnexpectedEof):
        await source.read_exactly(100)
    through = make(source, 6)
    assert await through.receive_view(2) == b"ab"
    assert await through.read_exactly(4) == b"cdef"


async def test_the_source_gets_back_what_a_limited_read_had_kept():
    """`into_inner` loses no byte, and what is left of the limit is not read any more."""
    source = FakeRead(b"abcdefgh", max_read_nbytes=1)
    limited = LimitedRead(source, 3)
    with pytest.raises(UnexpectedEof):
        await limited.read_exactly(4)
    assert limited.remaining == 3
    assert await limited.read_exactly(1) == b"a"
    assert limited.into_inner() is source
    assert limited.remaining == 0
    assert not await limited.receive_view()
    assert await source.read_to_end(100) == b"bcdefgh"


async def test_a_source_is_not_given_back_while_it_is_read():
    """Who waits for it would get bytes that are somebody else's."""
    limited = LimitedRead(Pending(), 3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(limited.receive_view)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            limited.into_inner()
        nursery.cancel_scope.cancel()
    limited.into_inner()


@pytest.mark.parametrize("has_kept", [True, False])
async def test_a_source_that_is_read_by_itself_gets_nothing_back(has_kept):
    """What was kept would come after the bytes that this task waits for; later it can be."""
    ours, theirs = await socketpair()
    limited = LimitedRead(ours, 3)
    async with closing(ours, theirs):
        if has_kept:
            await theirs.send_all(b"ab")
            with trio.move_on_after(0.01):
                await limited.read_exactly(3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.read_exactly, 4)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError, match="SocketStream"):
                limited.into_inner()
            assert limited.remaining == 3  # nothing has changed
            nursery.cancel_scope.cancel()
        await theirs.send_all(b"cd")
        assert limited.into_inner() is ours
        assert await ours.receive_view() == (b"ab" if has_kept else b"cd")


@pytest.mark.parametrize("through", [lambda source: source, lambda source: LimitedRead(source, 99)])
async def test_closing_gives_the_memory_of_what_was_kept_back(through):
    """A block that an abandoned read had half filled is the pool's again."""
    pool = GlobalPool()
    source = through(FakeRead(b"abc"))
    with pytest.raises(UnexpectedEof):
        await source.read_contiguous(60_000, pool)
    assert pool.statistics().lent_nbytes > 0
    await source.aclose()
    assert pool.statistics().lent_nbytes == 0
    with pytest.raises(trio.ClosedResourceError):
        await source.receive_view()


READS = {
    "gathering": (b"abc", lambda source, pool: source.read_contiguous(60_000, pool)),
    "waiting": (b"", lambda source, _: source.receive_view()),
}


@pytest.mark.parametrize(("kept", "read"), READS.values(), ids=READS)
async def test_closing_under_a_read_gives_its_memory_back(kept, read):
    """When the read has ended, which it does at once."""
    pool = GlobalPool()
    ours, theirs = await socketpair(pool)
    async with closing(ours, theirs):
        await theirs.send_all(b"first")
        assert await ours.read_exactly(5) == b"first"
        await theirs.send_all(kept)
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await read(ours, pool)

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await ours.aclose()
        assert ours._kept is None
        assert pool.statistics().lent_nbytes == 0


async def test_closing_between_keeping_and_reading_gives_the_memory_back():
    """The read of what is kept is in its checkpoint when another task closes the source."""
    pool = GlobalPool()
    for read in (
        lambda source: source.receive_view(),
        lambda source: source.read_more_into(BytesBuf()),
        lambda source: source.read_exactly(3),
    ):
        source = FakeRead(b"abc")
        with pytest.raises(UnexpectedEof):
            await source.read_contiguous(60_000, pool)
        async with trio.open_nursery() as nursery:

            async def wait(call=read, source=source) -> None:
                with contextlib.suppress(trio.ClosedResourceError):
                    await call(source)

            nursery.start_soon(wait)
            nursery.start_soon(source.aclose)
        assert source._kept is None
        assert pool.statistics().lent_nbytes == 0


class Counting(FakeRead):
    """Counts the bytes that were taken from it."""

    taken = 0

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        view = await super()._receive_view(max_bytes)
        self.taken += len(view)
        return view


@pytest.mark.parametrize("which", ["limited", "first", "last"])
async def test_a_cancelled_receive_takes_nothing(which):
    """At every checkpoint: what comes afterwards is everything."""
    made = []

    @contextlib.asynccontextmanager
    async def subject():
        source = Counting(b"abcd", script=[Delay(0.01)])
        made.append(source)
        yield {
            "limited": lambda: LimitedRead(source, 4),
            "first": lambda: ChainedRead(source, FakeRead(b"")),
            "last": lambda: ChainedRead(FakeRead(b""), source),
        }[which]()

    async def check(read, attempt) -> None:
        assert (attempt.result or BytesView()) + await read.read_to_end(4) == b"abcd"

    await cancel_atomic_at_each_checkpoint(
        subject,
        lambda read: read.receive_view(2),
        peer=None,
        progress=lambda _read: made[-1].taken,
        check=check,
    )


@pytest.mark.parametrize(
    "make", [LimitedRead, lambda source, _: ChainedRead(source, FakeRead(b""))]
)
async def test_memory_is_the_sources(make):
    """So that builders for what is read come from where it is received to."""
    pool = GlobalPool()
    source = FakeRead(b"", memory=pool)
    assert make(source, 6).memory is source.memory
    assert make(source, 6).reserve(100_000).remaining_capacity == 262_144


async def test_a_chain_closes_both():
    """Even when closing the first fails, and when it is cancelled."""

    class Sticky(FakeRead):
        async def _aclose(self) -> None:
            await super()._aclose()
            raise RuntimeError("it sticks")

    last = FakeRead(b"x")
    with pytest.raises(RuntimeError, match="sticks"):
        await ChainedRead(Sticky(b""), last).aclose()
    with pytest.raises(trio.ClosedResourceError):
        await last.receive_view()
    first, last = FakeRead(b"x"), FakeRead(b"x")
    await trio.aclose_forcefully(ChainedRead(first, last))
    for source in (first, last):
        with pytest.raises(trio.ClosedResourceError):
            await source.receive_view()


async def test_a_limited_read_closes_its_source_and_wakes_who_waits():
    """ClosedResourceError, as of the source itself."""
    ours, theirs = await socketpair()
    limited = LimitedRead(ours, 10)
    async with closing(ours, theirs), trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await limited.receive_view()

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await limited.aclose()
        assert ours.fileno() == -1


def test_only_reads_are_read():
    """Wrong arguments are refused when they are given."""
    for wrong in (b"abc", None, BytesView(b"abc")):
        with pytest.raises(TypeError):
            LimitedRead(wrong, 3)
        with pytest.raises(TypeError):
            ChainedRead(wrong, Null())
        with pytest.raises(TypeError):
            ChainedRead(Null(), wrong)
    with pytest.raises(ValueError):
        LimitedRead(Null(), -1)
    with pytest.raises(TypeError):
        LimitedRead(Null(), 1.0)


def test_they_say_what_they_are():
    """In a few words, with what they read."""
    limited = LimitedRead(FakeRead(b"abc"), 2)
    assert repr(limited) == f"<LimitedRead, 2 bytes left of {limited.inner!r}>"
    chain = ChainedRead(FakeRead(b"a"), FakeRead(b"b"))
    assert repr(chain) == f"<ChainedRead of {chain.first!r} and {chain.last!r}>"
