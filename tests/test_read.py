"""Every read against a model, over hostile cuts and over sockets; abandoned reads lose nothing."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import closing, noise, put_now, socketpair
from test_foreign import resident_nbytes

from trio_bytesbuf import (
    BytesBuf,
    BytesView,
    MemoryInUse,
    NotEnoughBytes,
    Read,
    SocketStream,
)
from trio_bytesbuf._errors import (
    BadMemory,
    BadSource,
    InspectionFailed,
    LimitExceeded,
    UnexpectedEof,
)
from trio_bytesbuf.io import ReadInspectDecision
from trio_bytesbuf.mem import PageMemory, PlainMemory
from trio_bytesbuf.testing import FakeRead, FixedBlockMemory, Null, Pending, check_laws

NBYTES = 200
CONTENTS = noise(NBYTES)
IN_TIME_SECONDS = 10
MIB = 1 << 20

SETTINGS = settings(deadline=None, max_examples=150)


async def generic(contents: bytes, cuts: list[int]) -> Read:
    """A source whose receives are cut where it is told."""
    return FakeRead(contents, script=cuts)


async def socket(contents: bytes, cuts: list[int]) -> Read:
    """A socket over blocks as small as the first cut, with everything at hand."""
    a, b = await socketpair(FixedBlockMemory(cuts[0] if cuts else 7))
    put_now(a, contents)
    await a.aclose()
    return b


async def roomy_socket(contents: bytes, cuts: list[int]) -> Read:
    """A socket that receives everything at once."""
    a, b = await socketpair(PlainMemory())
    put_now(a, contents)
    await a.aclose()
    return b


MAKERS = (generic, socket, roomy_socket)
cuts = st.lists(st.integers(1, 20), max_size=20)
makers = st.sampled_from(MAKERS)

# The model: all bytes, and how many have been given away. Each kind of read says what it may return


def complete_at(wanted: int, *, already: int = 0):
    """An inspector that wants so many bytes beyond those that were there already."""

    def inspect(view: BytesView) -> ReadInspectDecision:
        if len(view) < already + wanted:
            return ReadInspectDecision.continue_read()
        return ReadInspectDecision.complete(already + wanted)

    return inspect


class Model:
    """A source, and what is known of it: `at` bytes of `contents` were given away."""

    def __init__(self, source: Read, contents: bytes) -> None:
        self.source = source
        self.contents = contents
        self.at = 0

    @property
    def left(self) -> int:
        return len(self.contents) - self.at

    def gave(self, data: object, *, at_least: int, at_most: int) -> None:
        """Check that `data` comes next, and has so many bytes as far as there are so many."""
        data = bytes(data)
        assert min(at_least, self.left) <= len(data) <= at_most
        assert data == self.contents[self.at : self.at + len(data)]
        self.at += len(data)

    async def receive_view(self, n: int) -> None:
        self.gave(await self.source.receive_view(n), at_least=1, at_most=n)

    async def receive_any(self, _n: int) -> None:
        self.gave(await self.source.receive_view(), at_least=1, at_most=NBYTES)

    async def receive_some(self, n: int) -> None:
        if isinstance(self.source, SocketStream):
            self.gave(await self.source.receive_some(n), at_least=1, at_most=n)

    async def read_at_most(self, n: int) -> None:
        self.gave(await self.source.read_at_most(n), at_least=1, at_most=n)

    async def read_any(self, _n: int) -> None:
        buf = await self.source.read_any()
        check_laws(buf)
        self.gave(buf.consume_all(), at_least=1, at_most=NBYTES)

    async def _into(self, buf: BytesBuf, at_most: int, read) -> None:
        before = bytes(buf.peek())
        nbytes = await read(buf)
        check_laws(buf)
        after = bytes(buf.peek())
        assert after.startswith(before)
        assert len(after) - len(before) == nbytes
        self.gave(after[len(before) :], at_least=1, at_most=at_most)

    async def read_at_most_into(self, n: int) -> None:
        buf = PlainMemory().reserve(n % 7 * 3000)
        buf.put_view(BytesView(b"before"))
        await self._into(buf, n, lambda buf: self.source.read_at_most_into(n, buf))

    async def read_more_into(self, n: int) -> None:
        buf = FixedBlockMemory(3).reserve(n % 7 * 10)
        await self._into(buf, NBYTES, self.source.read_more_into)

    async def read_exactly(self, n: int) -> None:
        n %= 60
        if n <= self.left:
            self.gave(await self.source.read_exactly(n), at_least=n, at_most=n)
        else:
            with pytest.raises(UnexpectedEof) as caught:
                await self.source.read_exactly(n)
            assert (caught.value.wanted, caught.value.arrived) == (n, self.left)

    async def read_contiguous(self, n: int) -> None:
        n %= 60
        memory = PlainMemory() if n % 2 else None
        if n <= self.left:
            view = await self.source.read_contiguous(n, memory)
            assert len(view.pieces) == min(n, 1)
            self.gave(view, at_least=n, at_most=n)
        else:
            with pytest.raises(UnexpectedEof) as caught:
                await self.source.read_contiguous(n, memory)
            assert (caught.value.wanted, caught.value.arrived) == (n, self.left)

    async def read_exactly_into(self, n: int) -> None:
        n %= 60
        buf = PlainMemory().reserve(n % 3 * 20)
        buf.put_view(BytesView(b"before"))
        missing = max(n - len(b"before"), 0)
        if missing <= self.left:
            await self.source.read_exactly_into(n, buf)
            assert len(buf) == max(n, len(b"before"))
        else:
            with pytest.raises(UnexpectedEof) as caught:
                await self.source.read_exactly_into(n, buf)
            assert (caught.value.wanted, caught.value.arrived) == (n, len(buf))
            missing = self.left
        assert bytes(buf.consume(len(b"before"))) == b"before"
        self.gave(buf.consume_all(), at_least=missing, at_most=missing)

    async def read_to_end(self, n: int) -> None:
        if self.left <= n:
            self.gave(await self.source.read_to_end(n), at_least=NBYTES, at_most=n)
        else:
            with pytest.raises(LimitExceeded) as caught:
                await self.source.read_to_end(n)
            assert caught.value.limit == n < caught.value.arrived

    async def read_at_most_while(self, n: int) -> None:
        wanted = n % 60 + 1
        if wanted <= self.left:
            view, rest = await self.source.read_at_most_while(NBYTES, complete_at(wanted))
            self.gave(view, at_least=wanted, at_most=wanted)
            self.gave(rest.consume_all(), at_least=0, at_most=NBYTES)
        else:
            with pytest.raises(UnexpectedEof):
                await self.source.read_at_most_while(NBYTES, complete_at(wanted))

    async def read_at_most_into_while(self, n: int) -> None:
        wanted = n % 60 + 1
        buf = PlainMemory().reserve(n % 3 * 20)
        buf.put_view(BytesView(b"before"))
        inspect = complete_at(wanted, already=len(b"before"))
        if wanted <= self.left:
            view = await self.source.read_at_most_into_while(2 * NBYTES, buf, inspect)
            assert view[: len(b"before")] == b"before"
            self.gave(view[len(b"before") :], at_least=wanted, at_most=wanted)
        else:
            with pytest.raises(UnexpectedEof):
                await self.source.read_at_most_into_while(2 * NBYTES, buf, inspect)
            assert bytes(buf.consume(len(b"before"))) == b"before"
        self.gave(buf.consume_all(), at_least=0, at_most=NBYTES)

    async def a_step_of_views(self, n: int) -> None:
        view = await anext(self.source.views(n), BytesView())
        self.gave(view, at_least=1, at_most=n)

    async def a_step_of_batches(self, n: int) -> None:
        batch = await anext(self.source.views(n).batches(), [])
        assert all(1 <= len(view) <= n for view in batch)
        self.gave(b"".join(map(bytes, batch)), at_least=1, at_most=NBYTES)

    async def a_step_of_chunks(self, n: int) -> None:
        view = await anext(self.source.chunks(n), BytesView())
        self.gave(view, at_least=n, at_most=n)

    async def a_step_of_batches_of_chunks(self, n: int) -> None:
        batch = await anext(self.source.chunks(n).batches(), [])
        assert all(len(view) == n for view in batch[:-1])
        self.gave(b"".join(map(bytes, batch)), at_least=n, at_most=NBYTES)


KINDS = [name for name in vars(Model) if not name.startswith("_") and name not in ("left", "gave")]


@given(
    maker=makers,
    cuts=cuts,
    script=st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 120)), max_size=30),
)
@SETTINGS
def test_reads_of_all_kinds_in_any_order_give_the_contents_once(maker, cuts, script) -> None:
    """A drawn script over a source with drawn cuts; whatever fails leaves its bytes to the next."""

    async def main() -> None:
        async with await maker(CONTENTS, cuts) as source:
            model = Model(source, CONTENTS)
            with trio.fail_after(IN_TIME_SECONDS):
                for kind, n in script:
                    await getattr(model, kind)(n)
                await model.read_to_end(NBYTES)
            assert model.left == 0
            assert not await source.receive_view()

    trio.run(main)


# Abandoned reads: each may be cancelled when the source has no more for now

ABANDONED = {
    "read_exactly": lambda source, n: source.read_exactly(n),
    "read_contiguous": lambda source, n: source.read_contiguous(n),
    "read_to_end": lambda source, _n: source.read_to_end(NBYTES),
    "read_at_most_while": lambda source, n: source.read_at_most_while(NBYTES, complete_at(n)),
    "a step of chunks": lambda source, n: anext(source.chunks(n)),
    "a step of batches": lambda source, n: anext(source.chunks(n).batches()),
}


@given(
    is_socket=st.booleans(),
    script=st.lists(
        st.one_of(
            st.tuples(st.just("abandon"), st.sampled_from(list(ABANDONED)), st.integers(1, 30)),
            st.tuples(st.just("read"), st.sampled_from(KINDS), st.integers(1, 10)),
        ),
        max_size=15,
    ),
)
@SETTINGS
def test_reads_after_abandoned_reads_give_the_contents_once(is_socket, script) -> None:
    """Reads of any kind that were cancelled half way, and complete ones, in a drawn order."""

    async def main() -> None:
        a, b = await socketpair(FixedBlockMemory(2))
        pipe = b if is_socket else Through(b)
        sent = 0

        def send(nbytes: int) -> None:
            nonlocal sent
            put_now(a, CONTENTS[sent : sent + nbytes])
            sent = min(sent + nbytes, NBYTES)

        async with closing(a, b):
            model = Model(pipe, CONTENTS)
            for what, kind, n in script:
                if what == "read":
                    if sent - model.at < 130 and sent < NBYTES:
                        send(130 - (sent - model.at))
                    if sent - model.at >= 130:  # enough for every kind, so it cannot wait
                        with trio.fail_after(IN_TIME_SECONDS):
                            if kind != "read_to_end":
                                await getattr(model, kind)(n)
                    continue
                missing = n + 1  # so that the read cannot be complete
                if sent - model.at >= missing:
                    continue
                send(min(n, missing - 1 - (sent - model.at)))
                if sent - model.at >= n and kind != "read_to_end":
                    n = sent - model.at + 1
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(ABANDONED[kind], pipe, n)
                        await trio.testing.wait_all_tasks_blocked()
                        scope.cancel()
            put_now(a, CONTENTS[sent:])
            await a.send_eof()
            with trio.fail_after(IN_TIME_SECONDS):
                await model.read_to_end(NBYTES)
            assert model.left == 0

    trio.run(main)


class Through(Read):
    """A generic source in front of another: none of what a descriptor can do better."""

    def __init__(self, source: Read) -> None:
        self.source = source

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        return await self.source.receive_view(max_bytes)

    async def _aclose(self) -> None:
        await self.source.aclose()


# Builders of the user's


@given(
    nbytes=st.integers(1, 60_000),
    room=st.integers(0, 40_000),
    block=st.sampled_from([None, 100, 5000]),
    max_bytes=st.none() | st.integers(1, 30_000),
)
@settings(deadline=None, max_examples=40)
def test_filling_in_place_gives_the_same_bytes(nbytes, room, block, max_bytes) -> None:
    """A builder with and without room gets from a socket what it gets from a generic source."""
    contents = noise(nbytes)

    async def main() -> None:
        memory = PlainMemory() if block is None else FixedBlockMemory(block)
        a, b = await socketpair(PlainMemory())
        async with closing(a, b):
            put_now(a, contents)
            await a.send_eof()
            results = []
            for source in (b, FakeRead(contents)):
                buf = memory.reserve(room)
                buf.put_view(BytesView(b"before"))
                while True:
                    before = len(buf)
                    if max_bytes is None:
                        n = await source.read_more_into(buf)
                    else:
                        n = await source.read_at_most_into(max_bytes, buf)
                        assert n <= max_bytes
                    check_laws(buf)
                    assert len(buf) == before + n
                    if not n:
                        break
                results.append(bytes(buf.consume_all()))
            assert results == [b"before" + contents] * 2

    trio.run(main)


async def test_room_is_used_and_not_copied_to() -> None:
    """What a socket puts into a roomy builder lies where the room was."""
    a, b = await socketpair(PlainMemory())
    async with closing(a, b):
        put_now(a, CONTENTS)
        buf = PlainMemory().reserve(20_000)
        room = buf.remaining_capacity
        assert await b.read_more_into(buf) == NBYTES
        assert buf.remaining_capacity == room - NBYTES
        assert b.statistics().copied_nbytes == 0


@pytest.mark.parametrize("room", [0, 20_000])
async def test_a_builder_belongs_to_the_read_until_it_returns(room) -> None:
    """Who puts to it meanwhile is told; after a cancelled read it is free, and as it was."""
    for call in (
        lambda source, buf: source.read_at_most_into(5, buf),
        lambda source, buf: source.read_more_into(buf),
        lambda source, buf: source.read_exactly_into(100, buf),
        lambda source, buf: source.read_at_most_into_while(100, buf, complete_at(50)),
    ):
        a, b = await socketpair(PlainMemory())
        async with closing(a, b):
            for source in (b, Pending()):
                buf = PlainMemory().reserve(10 + room)
                buf.put_slice(b"before")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(call, source, buf)
                    await trio.testing.wait_all_tasks_blocked()
                    with pytest.raises(MemoryInUse):
                        buf.put_slice(b"x")
                    nursery.cancel_scope.cancel()
                assert buf.peek() == b"before"
                buf.put_slice(b"free")


async def test_only_builders_are_read_into() -> None:
    """And that is said before anything is received."""
    source = FakeRead(CONTENTS)
    for senseless in (bytearray(10), None, BytesView(b"x")):
        with pytest.raises(TypeError, match="BytesBuf"):
            await source.read_more_into(senseless)
        with pytest.raises(TypeError, match="BytesBuf"):
            await source.read_at_most_into(1, senseless)
        with pytest.raises(TypeError, match="BytesBuf"):
            await source.read_exactly_into(1, senseless)
        with pytest.raises(TypeError, match="BytesBuf"):
            await source.read_at_most_into_while(1, senseless, complete_at(1))
    assert await source.read_exactly(NBYTES) == CONTENTS


# Sizes


async def test_sizes_that_make_no_sense_are_refused() -> None:
    """Zero where at least one byte is wanted, negative ones, and what is no integer."""
    source = FakeRead(CONTENTS)
    buf = BytesBuf()
    at_least_one = (
        source.receive_view,
        source.read_at_most,
        lambda n: source.read_at_most_into(n, buf),
        lambda n: source.read_at_most_while(n, complete_at(1)),
        lambda n: source.read_at_most_into_while(n, buf, complete_at(1)),
    )
    at_least_none = (
        source.read_exactly,
        source.read_contiguous,
        lambda n: source.read_exactly_into(n, buf),
        source.read_to_end,
    )
    for call in (*at_least_one, *at_least_none):
        with pytest.raises(ValueError):
            await call(-1)
        with pytest.raises(TypeError):
            await call("5")
    for call in at_least_one:
        with pytest.raises(ValueError):
            await call(0)
    with pytest.raises(TypeError):
        await source.read_at_most(None)
    assert await source.read_exactly(NBYTES) == CONTENTS


async def test_nothing_is_received_for_no_bytes() -> None:
    """It is a checkpoint, also over a source that never has any."""
    source = Pending()
    with trio.fail_after(1):
        for call in (
            lambda: source.read_exactly(0),
            lambda: source.read_contiguous(0),
            lambda: source.read_exactly_into(0, BytesBuf()),
        ):
            with trio.testing.assert_checkpoints():
                assert not await call()


# The end, and limits


async def test_the_end_is_told_as_each_read_tells_it() -> None:
    """Empty where bytes are a value, an error where some are missing."""
    assert await Null().receive_view() == b""
    assert not await Null().read_any()
    assert await Null().read_more_into(BytesBuf()) == 0
    assert await Null().read_to_end(0) == b""
    for call in (
        lambda: Null().read_exactly(1),
        lambda: Null().read_contiguous(1),
        lambda: Null().read_exactly_into(1, BytesBuf()),
        lambda: Null().read_at_most_while(5, complete_at(1)),
        lambda: Null().read_at_most_into_while(5, BytesBuf(), complete_at(1)),
    ):
        with pytest.raises(UnexpectedEof) as caught:
            await call()
        assert caught.value.arrived == 0


async def test_a_limit_is_a_limit() -> None:
    """One byte more is an error, and all bytes are left to the next read."""
    source = FakeRead(CONTENTS, max_read_nbytes=13)
    with pytest.raises(LimitExceeded):
        await source.read_to_end(NBYTES - 1)
    with pytest.raises(LimitExceeded):
        await source.read_to_end(0)
    assert await source.read_to_end(NBYTES) == CONTENTS
    source = FakeRead(CONTENTS, max_read_nbytes=13)
    with pytest.raises(LimitExceeded) as caught:
        await source.read_at_most_while(50, complete_at(51))
    assert (caught.value.limit, caught.value.arrived) == (50, 50)
    view, rest = await source.read_at_most_while(50, complete_at(50))
    assert view == CONTENTS[:50]
    assert not rest
    assert await source.read_to_end(NBYTES) == CONTENTS[50:]


async def test_inspectors_that_err_lose_nothing() -> None:
    """Errors they report, raise, and make by asking for more than they were shown."""

    def fail(view: BytesView) -> ReadInspectDecision:
        return ReadInspectDecision.failed(KeyError("no"))

    def throw(view: BytesView) -> ReadInspectDecision:
        raise KeyError("no")

    cases = (
        (fail, InspectionFailed),
        (throw, KeyError),
        (lambda view: ReadInspectDecision.complete(len(view) + 1), NotEnoughBytes),
        (lambda _view: None, TypeError),
    )
    source = FakeRead(CONTENTS, max_read_nbytes=13)
    buf = BytesBuf()
    for inspect, error in cases:
        with pytest.raises(error):
            await source.read_at_most_while(100, inspect)
        with pytest.raises(error):
            await source.read_at_most_into_while(100, buf, inspect)
    assert bytes(buf.consume_all()) + bytes(await source.read_to_end(NBYTES)) == CONTENTS


# Bad sources


class Excessive(FakeRead):
    """Returns a byte more than it was asked for."""

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        return await super()._receive_view(None if max_bytes is None else max_bytes + 1)


class Confused(FakeRead):
    """Returns bytes where a view is wanted, when it is asked for the first time."""

    has_erred = False

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        if not self.has_erred:
            self.has_erred = True
            return bytes(await super()._receive_view(max_bytes))
        return await super()._receive_view(max_bytes)


LIMITED = {
    "receive_view": lambda source: source.receive_view(5),
    "read_at_most_into": lambda source: source.read_at_most_into(5, BytesBuf()),
    "read_exactly": lambda source: source.read_exactly(5),
    "read_contiguous": lambda source: source.read_contiguous(5),
    "read_exactly_into": lambda source: source.read_exactly_into(5, BytesBuf()),
    "read_to_end": lambda source: source.read_to_end(5),
    "read_at_most_while": lambda source: source.read_at_most_while(5, complete_at(5)),
    "a step of chunks": lambda source: anext(source.chunks(5)),
}
limited = pytest.mark.parametrize("call", LIMITED.values(), ids=LIMITED.keys())


@limited
async def test_a_source_that_returns_too_much_is_found_out(call) -> None:
    """And what it returned is read by the next read, in order."""
    source = Excessive(CONTENTS)
    with pytest.raises(BadSource, match="at most"):
        await call(source)
    got = b""
    while part := await source.receive_view():
        got += bytes(part)
    assert got == CONTENTS


@limited
async def test_a_source_that_returns_no_view_is_found_out(call) -> None:
    """And neither what it returned is lost, if it is bytes, nor what comes after."""
    source = Confused(CONTENTS)
    with pytest.raises(BadSource, match="returned a bytes"):
        await call(source)
    assert await source.read_exactly(NBYTES) == CONTENTS


# What is kept, closing, two tasks


async def abandon(source: Read, read) -> None:
    """Begin a read and cancel it when it waits."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_what_is_kept_may_not_be_read_after_closing() -> None:
    """A closed source is closed, whatever it still had, and holds no memory."""
    a, b = await socketpair()
    async with closing(a, b):
        put_now(a, b"abc")
        await abandon(b, lambda: b.read_exactly(10))
        assert len(b._kept) == 3
        await b.aclose()
        for call in (
            b.receive_view,
            b.receive_some,
            b.read_any,
            lambda: b.read_exactly(1),
            lambda: b.read_exactly(0),
            lambda: b.read_contiguous(1),
            lambda: b.read_exactly_into(1, BytesBuf()),
            lambda: b.read_to_end(10),
            lambda: b.read_at_most_while(10, complete_at(1)),
            lambda: anext(b.views()),
            lambda: anext(b.chunks(1)),
        ):
            with pytest.raises(trio.ClosedResourceError):
                await call()


async def test_closing_under_a_read_that_had_got_something() -> None:
    """It is told, and what it had got is forgotten."""
    for call in (
        lambda source: source.read_exactly(10),
        lambda source: source.read_contiguous(10),
        lambda source: source.read_to_end(10),
        lambda source: source.read_at_most_while(10, complete_at(10)),
    ):
        a, b = await socketpair()
        async with closing(a, b):
            put_now(a, b"abc")

            async def read(source=b, call=call) -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await call(source)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await trio.testing.wait_all_tasks_blocked()
                await b.aclose()
            assert b._kept is None


async def test_what_is_kept_is_closed_during_the_checkpoint_of_a_read() -> None:
    """No byte of a closed source is given away, however it comes about."""
    for call in (
        lambda source: source.receive_view(),
        lambda source: source.receive_some(),
        lambda source: source.read_any(),
        lambda source: source.read_exactly(3),
        lambda source: source.read_exactly_into(3, BytesBuf()),
        lambda source: source.read_contiguous(3),
        lambda source: anext(source.chunks(3)),
        lambda source: source.read_at_most_while(3, complete_at(3)),
        lambda source: source.read_at_most_into_while(3, BytesBuf(), complete_at(3)),
    ):
        a, b = await socketpair()
        async with closing(a, b):
            put_now(a, b"abc")
            await abandon(b, lambda b=b: b.read_exactly(10))
            outcomes = []

            async def read(source=b, call=call, outcomes=outcomes) -> None:
                try:
                    await call(source)
                except trio.ClosedResourceError:
                    outcomes.append("closed")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await trio.lowlevel.cancel_shielded_checkpoint()
                # The reading task has begun and is at its checkpoint, or is over.
                if b._is_receiving:
                    b.socket.close()
                    b._is_closed = True
                    outcomes.append("in time")
            if outcomes:
                assert sorted(outcomes) == ["closed", "in time"]


async def test_two_tasks_cannot_read_at_once() -> None:
    """The second is refused, by every method, and the first is not disturbed."""
    a, b = await socketpair()
    async with closing(a, b):
        got = []

        async def read() -> None:
            got.append(await b.read_exactly(6))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            put_now(a, b"abc")
            await trio.testing.wait_all_tasks_blocked()
            for call in (
                b.receive_view,
                b.receive_some,
                b.read_any,
                lambda: b.read_at_most(1),
                lambda: b.read_at_most_into(1, BytesBuf()),
                lambda: b.read_more_into(BytesBuf()),
                lambda: b.read_exactly(1),
                lambda: b.read_exactly(0),
                lambda: b.read_contiguous(1),
                lambda: b.read_exactly_into(1, BytesBuf()),
                lambda: b.read_to_end(10),
                lambda: b.read_at_most_while(10, complete_at(1)),
                lambda: b.read_at_most_into_while(10, BytesBuf(), complete_at(1)),
                lambda: anext(b.views()),
                lambda: anext(b.views().batches()),
                lambda: anext(b.chunks(1)),
                lambda: anext(b.chunks(1).batches()),
            ):
                with pytest.raises(trio.BusyResourceError):
                    await call()
            put_now(a, b"def")
        assert got == [b"abcdef"]


# One piece


@pytest.mark.parametrize("maker", MAKERS)
async def test_a_contiguous_read_gives_one_piece(maker) -> None:
    """However the bytes come, and whatever was kept before."""
    async with await maker(CONTENTS, [3] * 100) as source:
        with pytest.raises(UnexpectedEof):
            await source.read_exactly(NBYTES + 1)
        first = await source.read_contiguous(100)
        assert len(first.pieces) == 1
        second = await source.read_contiguous(NBYTES - 100)
        assert len(second.pieces) == 1
        assert bytes(first) + bytes(second) == CONTENTS


@pytest.mark.parametrize("is_generic", [False, True])
async def test_a_contiguous_read_that_is_called_again_goes_on_in_the_same_block(is_generic) -> None:
    """No matter how often it is abandoned, memory is reserved once and nothing is moved."""
    a, b = await socketpair(PlainMemory())
    async with closing(a, b):
        source = Through(b) if is_generic else b
        asked = []

        class Noting(PlainMemory):
            def blocks(self, nbytes: int, /):
                asked.append(nbytes)
                return super().blocks(nbytes)

        memory = Noting()
        for at in range(0, 180, 20):
            put_now(a, CONTENTS[at : at + 20])
            await abandon(source, lambda: source.read_contiguous(NBYTES, memory))
        put_now(a, CONTENTS[180:])
        view = await source.read_contiguous(NBYTES, memory)
        assert view == CONTENTS
        assert len(view.pieces) == 1
        assert asked == [NBYTES]


async def test_pages_become_resident_as_bytes_arrive() -> None:
    """A peer that announces 64 MiB and sends 1 costs one, and a little."""
    a, b = await socketpair(PlainMemory())
    async with closing(a, b):

        async def send() -> None:
            await a.send_all(bytes(MIB))

        before = resident_nbytes()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.read_contiguous, 64 * MIB)
            nursery.start_soon(send)
            while b.statistics().received_nbytes < MIB:
                await trio.testing.wait_all_tasks_blocked()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert len(b._kept) == MIB
        assert b._kept.remaining_capacity >= 63 * MIB
        # As much again for what the interpreter and its allocator take meanwhile: a guess.
        assert resident_nbytes() - before < 2 * MIB


async def test_memory_in_several_blocks_is_refused() -> None:
    """And nothing is received, or lost."""
    source = FakeRead(CONTENTS, max_read_nbytes=10)
    with pytest.raises(BadMemory, match="several blocks"):
        await source.read_contiguous(100, FixedBlockMemory(10))
    assert await source.read_contiguous(10, FixedBlockMemory(10)) == CONTENTS[:10]
    assert await source.read_contiguous(NBYTES - 10, PageMemory()) == CONTENTS[10:]


def test_every_read_is_in_the_model() -> None:
    """No public async method of `Read` is left out of the drawn scripts."""
    methods = {
        name
        for each in Read.__mro__
        if each.__module__.startswith("trio_bytesbuf")
        for name, value in vars(each).items()
        if not name.startswith("_") and getattr(value, "__code__", None) is not None
        and value.__code__.co_flags & 0x80
    }  # fmt: skip
    assert methods - set(KINDS) <= {"aclose", "reserve_wait", "relay_to"}
    assert len(list(itertools.chain(KINDS))) >= 16
