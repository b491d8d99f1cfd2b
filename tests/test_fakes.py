"""`FakeRead`, `FakeWrite`, `Null`, `Pending`, and the streams in memory: what they say they do."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from trio_bytesbuf import BytesBuf, BytesView, UnexpectedEof
from trio_bytesbuf.io import Read, Write
from trio_bytesbuf.mem import PlainMemory
from trio_bytesbuf.testing import (
    Delay,
    FakeRead,
    FakeWrite,
    FixedBlockMemory,
    Null,
    Pending,
    TransparentMemory,
    dribbling,
    lockstep_pair,
    memory_pair,
)

SIZES = st.integers(1, 12)
LIMITS = st.none() | SIZES
STEPS = st.lists(st.one_of(SIZES, st.just(Delay(0)), st.builds(KeyError, st.integers())))


def played(steps: list) -> list:
    """Return the steps with the errors made anew: one that was raised has a traceback."""
    return [KeyError(*step.args) if isinstance(step, KeyError) else step for step in steps]


# FakeRead


@given(contents=st.binary(max_size=60), script=STEPS, max_read=LIMITS, limit=LIMITS)
async def test_a_fake_read_gives_its_contents(contents, script, max_read, limit) -> None:
    """Whatever the script: all bytes come, in order, no view too large, each error once."""
    source = FakeRead(contents, max_read_nbytes=max_read, script=played(script))
    came, errors = [], []
    while True:
        try:
            view = await source.receive_view(limit)
        except KeyError as error:
            errors.append(error.args)
            continue
        if not view:
            break
        came.append(bytes(view))
        assert len(view) <= min(max_read or math.inf, limit or math.inf)
    assert b"".join(came) == contents
    raised = [step.args for step in script if isinstance(step, KeyError)]
    assert errors == raised[: len(errors)]  # those behind bytes that there are not do not come
    assert not await source.receive_view()
    reached = len(contents) >= sum(step for step in script if isinstance(step, int))
    assert errors == raised or not reached


async def test_a_step_is_one_receive_at_least() -> None:
    """A receive ends where a step ends; a smaller one leaves the rest of the step."""
    source = FakeRead(b"abcdefgh", script=[3, 4])
    assert [bytes(view) async for view in source.views()] == [b"abc", b"defg", b"h"]
    source = FakeRead(b"abcdefgh", script=[3, 4])
    assert [bytes(view) async for view in source.views(2)] == [b"ab", b"c", b"de", b"fg", b"h"]


async def test_an_error_comes_at_its_place() -> None:
    """A read of several receives keeps what came before a scripted error, and goes on after it."""
    source = FakeRead(b"abcdef", script=[2, trio.BrokenResourceError("planted"), 1])
    with pytest.raises(trio.BrokenResourceError, match="planted"):
        await source.read_exactly(4)
    assert await source.read_exactly(4) == b"abcd"
    assert await source.read_to_end(100) == b"ef"


async def test_an_error_behind_the_last_byte() -> None:
    """Steps behind the last byte come before the end: a connection that breaks there."""
    source = FakeRead(b"ab", script=[2, trio.BrokenResourceError()])
    assert await source.receive_view() == b"ab"
    with pytest.raises(trio.BrokenResourceError):
        await source.receive_view()
    assert await source.receive_view() == b""


async def test_a_delay_takes_its_time(autojump_clock) -> None:
    """A delay is in seconds of trio's clock; one that is cancelled goes on, and loses nothing."""
    source = FakeRead(b"abcd", script=[1, Delay(10), 1, Delay(5)])
    start = trio.current_time()
    assert await source.receive_view() == b"a"
    assert trio.current_time() == start
    with trio.move_on_after(4) as scope:
        await source.receive_view()
    assert scope.cancelled_caught
    assert await source.receive_view() == b"b"
    assert trio.current_time() == start + 10
    assert await source.receive_view() == b"cd"
    assert trio.current_time() == start + 15


@pytest.mark.parametrize(
    "make", [BytesView, bytes, bytearray, memoryview], ids=lambda t: t.__name__
)
async def test_contents_are_any_buffer(make) -> None:
    """Contents are a buffer or a view, and a view's memory is not copied."""
    assert await FakeRead(make(b"abc")).read_to_end(9) == b"abc"


async def test_a_view_is_given_as_it_is() -> None:
    """Hostile pieces of the contents are the pieces that are received."""
    contents = BytesView.from_views([BytesView(b"ab"), BytesView(b"c")])
    view = await FakeRead(contents).receive_view()
    assert [bytes(piece) for piece in view.pieces] == [b"ab", b"c"]


@pytest.mark.parametrize(
    ("kwargs", "kind"),
    [
        ({"max_read_nbytes": 0}, ValueError),
        ({"max_read_nbytes": 1.0}, TypeError),
        ({"script": [0]}, ValueError),
        ({"script": [-1]}, ValueError),
        ({"script": ["1"]}, TypeError),
        ({"script": [KeyError]}, TypeError),
        ({"memory": 5}, TypeError),
    ],
    ids=repr,
)
def test_wrong_arguments(kwargs, kind) -> None:
    """What cannot be meant is refused when a fake is made."""
    with pytest.raises(kind):
        FakeRead(b"abc", **kwargs)
    kwargs = {name.replace("read", "write"): value for name, value in kwargs.items()}
    with pytest.raises(kind):
        FakeWrite(**kwargs)


@pytest.mark.parametrize("seconds", [-1, math.nan])
def test_wrong_delays(seconds) -> None:
    """A delay is no less than nothing, and a number."""
    with pytest.raises(ValueError, match="at least 0 seconds"):
        Delay(seconds)


# FakeWrite


@given(
    parts=st.lists(st.binary(max_size=20), max_size=6),
    script=STEPS,
    max_write=LIMITS,
)
async def test_a_fake_write_keeps_what_it_is_sent(parts, script, max_write) -> None:
    """Whatever the script: what was taken before an error and all that came later is there."""
    sink = FakeWrite(max_write_nbytes=max_write, script=played(script))
    wanted = b""
    for part in parts:
        try:
            await sink.write_view(BytesView(part))
        except KeyError:
            found = bytes(sink.contents)
            assert found.startswith(wanted)
            assert part.startswith(found[len(wanted) :])
            wanted = found
        else:
            wanted += part
        assert sink.contents == wanted


async def test_a_cancelled_write_has_got_half_way(autojump_clock) -> None:
    """What a cancelled write had sent is there, to the byte; `max_write_nbytes` at a time."""
    sink = FakeWrite(script=[5, Delay(10)])
    with trio.move_on_after(1):
        await sink.write_view(BytesView(b"abcdefgh"))
    assert sink.contents == b"abcde"
    sink = FakeWrite(max_write_nbytes=3)
    with trio.CancelScope() as scope:
        sink._progress = lambda _: scope.cancel()  # after the first step, whoever else is to run
        await sink.write_view(BytesView(b"abcdefgh"))
    assert scope.cancelled_caught
    assert sink.contents == b"abc"


async def test_waiting_to_write_waits_for_a_delay(autojump_clock) -> None:
    """`wait_write_might_not_block` sits through a delay, and the write need not any more."""
    sink = FakeWrite(script=[Delay(3)])
    start = trio.current_time()
    await sink.wait_write_might_not_block()
    assert trio.current_time() == start + 3
    await sink.write_view(BytesView(b"abc"))
    assert trio.current_time() == start + 3


async def test_contents_after_closing() -> None:
    """What was written can be looked at when the sink is closed; an earlier look stays the same."""
    sink = FakeWrite()
    await sink.write_view(BytesView(b"abc"))
    before = sink.contents
    await sink.write_view(BytesView(b"def"))
    await sink.aclose()
    assert (before, sink.contents) == (b"abc", b"abcdef")


async def test_progress_is_told() -> None:
    """A sink tells of each step it takes, as sockets tell of each system call."""
    told = []
    sink = FakeWrite(max_write_nbytes=3)
    sink._progress = told.append
    await sink.write_view(BytesView(b"abcdefgh"))
    assert told == [3, 3, 2]


# Null and Pending


async def test_null() -> None:
    """`Null` has ended, and takes everything."""
    async with Null() as null:
        assert await null.receive_view() == b""
        with pytest.raises(UnexpectedEof):
            await null.read_exactly(1)
        await null.write_view(BytesView(bytes(10_000_000)))
        await null.wait_write_might_not_block()
        assert await null.read_to_end(0) == b""
    for call in (null.receive_view(), null.write_view(BytesView())):
        with pytest.raises(trio.ClosedResourceError):
            await call


async def test_pending(autojump_clock) -> None:
    """`Pending` waits in every call, in both halves at once, until it is closed."""
    pending = Pending()
    ended = []

    async def waits(call) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await call
        ended.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits, pending.read_exactly(1))
        nursery.start_soon(waits, pending.write_view(BytesView(b"abc")))
        await trio.sleep(1000)
        assert not ended
        await pending.aclose()
    assert len(ended) == 2


@pytest.mark.parametrize("make", [lambda **kw: FakeRead(b"", **kw), FakeWrite, Null, Pending])
def test_their_memory(make) -> None:
    """The memory that they show is the one they were given, or one whose blocks are exact."""
    memory = PlainMemory()
    assert make(memory=memory).memory is memory
    assert isinstance(make().memory, TransparentMemory)
    assert len(make(memory=FixedBlockMemory(7)).reserve(8).chunk_mut()) == 7


@pytest.mark.parametrize(
    ("close", "words"),
    [
        (FakeRead(b"abc"), "<FakeRead with 3 bytes left>"),
        (FakeWrite(), "<FakeWrite of 0 bytes>"),
    ],
)
def test_reprs(close, words) -> None:
    """Errors name a fake by what is left of it."""
    assert repr(close) == words


# Streams


@given(contents=st.binary(max_size=60), sizes=st.lists(SIZES, min_size=1), limit=LIMITS)
async def test_dribbling_by_sizes(contents, sizes, limit) -> None:
    """Each receive gives what the next size says, if so much is wanted, and nothing is lost."""
    source = dribbling(FakeRead(contents), sizes)
    views = [view async for view in source.views(limit)]
    assert b"".join(map(bytes, views)) == contents
    for at, view in enumerate(views[:-1]):
        assert len(view) == min(sizes[at % len(sizes)], limit or math.inf)


async def test_dribbling_keeps_its_place_when_cancelled(autojump_clock) -> None:
    """A cancelled receive has not used up a size."""
    source = dribbling(FakeRead(b"abcdef", script=[Delay(2)]), [1, 3])
    with trio.move_on_after(1):
        await source.receive_view()
    assert [bytes(view) async for view in source.views()] == [b"a", b"bcd", b"e", b"f"]


async def test_dribbling_shows_the_memory_and_closes_what_it_reads() -> None:
    """A dribbling source has the memory of what it reads, and closes it."""
    memory = FixedBlockMemory(5)
    inner = FakeRead(b"abc", memory=memory)
    source = dribbling(inner)
    assert source.memory is memory
    await source.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await inner.receive_view()


@pytest.mark.parametrize(
    ("sizes", "kind"), [([], ValueError), ([0], ValueError), ([1.0], TypeError)]
)
def test_dribbling_by_wrong_sizes(sizes, kind) -> None:
    """Sizes are at least one, and at least 1."""
    with pytest.raises(kind):
        dribbling(FakeRead(b"abc"), sizes)


async def test_lock_step() -> None:
    """A write in lock step returns when the last byte was received, and no sooner."""
    a, b = lockstep_pair()
    is_sent = False

    async def send() -> None:
        nonlocal is_sent
        await a.write_view(BytesView(b"abcd"))
        is_sent = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        assert await b.read_exactly(3) == b"abc"
        await trio.testing.wait_all_tasks_blocked()
        assert not is_sent
        assert await b.receive_view() == b"d"
        await trio.testing.wait_all_tasks_blocked()
        assert is_sent


async def test_a_memory_pair_holds_everything() -> None:
    """A write in memory returns at once, and the end comes behind all that was written."""
    a, b = memory_pair()
    await a.write_view(BytesView(bytes(10_000_000)))
    await a.send_eof()
    assert len(await b.read_to_end(1 << 30)) == 10_000_000
    await b.write_view(BytesView(b"the other way goes on"))
    assert await a.read_exactly(9) == b"the other"
    with pytest.raises(trio.ClosedResourceError):
        await a.write_view(BytesView(b"x"))


@pytest.mark.parametrize("pair", [memory_pair, lockstep_pair], ids=lambda pair: pair.__name__)
async def test_pairs_copy_into_their_memory(pair) -> None:
    """What is received lies in blocks of the memory; if there is none now, no byte is lost."""

    class Scarce(FixedBlockMemory):
        is_scarce = True

        def blocks(self, nbytes):
            if self.is_scarce:
                raise MemoryError
            return super().blocks(nbytes)

    memory = Scarce(2)
    a, b = pair(memory)
    assert a.memory is b.memory is memory
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.write_view, BytesView(b"abcde"))
        with pytest.raises(MemoryError):
            await b.receive_view(3)
        memory.is_scarce = False
        view = await b.receive_view()
        assert [bytes(piece) for piece in view.pieces] == [b"ab", b"c"]
        assert await b.read_exactly(2) == b"de"


@pytest.mark.parametrize("pair", [memory_pair, lockstep_pair], ids=lambda pair: pair.__name__)
async def test_pairs_end_when_the_peer_closes(pair) -> None:
    """A closed peer is the end; a write to it in lock step is a broken connection."""
    a, b = pair()
    await b.aclose()
    assert await a.receive_view() == b""
    assert isinstance(a, Read)
    assert isinstance(a, Write)
    if pair is lockstep_pair:
        with pytest.raises(trio.BrokenResourceError):
            await a.write_view(BytesView(b"x"))
    await a.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await a.send_eof()


async def test_a_builder_over_a_fake() -> None:
    """A builder that is read into is lent while a fake delays, as with any source."""
    source = FakeRead(b"abc", script=[Delay(0.01)])
    buf = BytesBuf()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.read_more_into, buf)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(BufferError):
            buf.put_slice(b"x")
    assert buf.peek() == b"abc"
