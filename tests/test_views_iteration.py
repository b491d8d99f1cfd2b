"""`Views` and `Batches`: steps and ends, and giving the source back in each state."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import closing, noise, socketpair

from trio_bytesbuf import BytesView, Read
from trio_bytesbuf.io._read import BATCH_VIEWS
from trio_bytesbuf.testing import FakeRead, Pending

CONTENTS = noise(100)
KINDS = {
    "views": lambda source: source.views(7),
    "chunks": lambda source: source.chunks(7),
    "batches of views": lambda source: source.views(7).batches(),
    "batches of chunks": lambda source: source.chunks(7).batches(),
}
of_each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def joined(items: list[BytesView | list[BytesView]]) -> bytes:
    """Return the bytes of views, or of lists of views."""
    return b"".join(
        bytes(view) for item in items for view in ([item] if isinstance(item, BytesView) else item)
    )


# Steps and ends


@given(
    nbytes=st.integers(0, 200),
    size=st.integers(1, 50),
    max_read_nbytes=st.none() | st.integers(1, 60),
)
@settings(deadline=None)
def test_views_and_chunks_are_the_contents_in_order(nbytes, size, max_read_nbytes) -> None:
    """Chunks are all of the size but for the last; views are none longer; no item is empty."""
    contents = noise(nbytes)

    async def main() -> None:
        def source() -> FakeRead:
            return FakeRead(contents, max_read_nbytes=max_read_nbytes)

        chunks = [view async for view in source().chunks(size)]
        assert chunks == [contents[at : at + size] for at in range(0, nbytes, size)]
        views = [view async for view in source().views(size)]
        assert all(1 <= len(view) <= size for view in views)
        assert joined(views) == contents
        batches = [batch async for batch in source().chunks(size).batches()]
        assert all(batches)
        assert [view for batch in batches for view in batch] == chunks
        batches = [batch async for batch in source().views(size).batches()]
        assert all(batches)
        assert all(1 <= len(view) <= size for batch in batches for view in batch)
        assert joined(batches) == contents

    trio.run(main)


@of_each_kind
async def test_a_step_after_the_end_is_the_end_again(kind) -> None:
    """And a new iterator over the source ends at once."""
    source = FakeRead(CONTENTS)
    steps = kind(source)
    assert joined([item async for item in steps]) == CONTENTS
    for _ in range(2):
        with pytest.raises(StopAsyncIteration):
            await anext(steps)
    assert [item async for item in kind(source)] == []


@of_each_kind
async def test_leaving_the_loop_keeps_the_source_and_every_byte(kind) -> None:
    """A later loop goes on where the former was left, also one of another kind."""
    source = FakeRead(CONTENTS, max_read_nbytes=20)
    items = []
    for _ in range(3):
        async for item in kind(source):
            items.append(item)
            break
    assert joined(items) + bytes(await source.read_to_end(1000)) == CONTENTS


@of_each_kind
async def test_every_step_is_a_checkpoint(kind) -> None:
    """Also one that finds its bytes at hand, and the one that finds the end."""
    steps = kind(FakeRead(CONTENTS))
    ended = False
    while not ended:
        with trio.testing.assert_checkpoints():
            ended = await anext(steps, None) is None


@pytest.mark.parametrize("kind", [Read.views, Read.chunks])
async def test_batches_have_a_thousand_views_at_the_most(kind) -> None:
    """However much is at hand; the rest of it is for the next step, and no byte is lost."""
    contents = noise(2 * BATCH_VIEWS + 123)
    batches = [batch async for batch in kind(FakeRead(contents), 1).batches()]
    assert BATCH_VIEWS == 1000
    assert [len(batch) for batch in batches] == [BATCH_VIEWS, BATCH_VIEWS, 123]
    assert joined(batches) == contents


async def test_sizes_are_checked_before_the_first_step() -> None:
    """Zero, negative and no integers."""
    source = FakeRead(CONTENTS)
    for kind in (source.views, source.chunks):
        for senseless in (0, -1):
            with pytest.raises(ValueError):
                kind(senseless)
        with pytest.raises(TypeError):
            kind(1.5)
    with pytest.raises(TypeError):
        source.chunks(None)


@of_each_kind
async def test_errors_come_out_of_a_step_and_the_next_goes_on(kind) -> None:
    """What had arrived before the error is not lost."""
    source = FakeRead(CONTENTS, script=[10, trio.BrokenResourceError()])
    steps = kind(source)
    items, errors = [], 0
    while True:
        try:
            item = await anext(steps, None)
        except trio.BrokenResourceError:
            errors += 1
            continue
        if item is None:
            break
        items.append(item)
    assert errors == 1
    assert joined(items) == CONTENTS


# Two tasks


@of_each_kind
async def test_one_task_at_a_time(kind) -> None:
    """A second one is refused, by the iterator as by the source; the first goes on."""
    a, b = await socketpair()
    async with closing(a, b):
        steps = kind(a)
        got = []

        async def step() -> None:
            got.append(await anext(steps))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(step)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await anext(steps)
            with pytest.raises(trio.BusyResourceError):
                await anext(kind(a))
            with pytest.raises(trio.BusyResourceError):
                await a.receive_view()
            await b.send_all(b"seven b")
        assert joined(got) == b"seven b"


# The end of an `async with` block


@of_each_kind
async def test_the_end_of_the_block_closes_the_source(kind) -> None:
    """After all of it, after some of it, and after an error, which comes through."""
    for leave_after in (0, 1, 100):
        source = FakeRead(CONTENTS, max_read_nbytes=10)
        async with kind(source) as steps:
            for _ in range(leave_after):
                await anext(steps, None)
        with pytest.raises(trio.ClosedResourceError):
            await source.receive_view()
    source = FakeRead(CONTENTS)
    with pytest.raises(KeyError):
        async with kind(source):
            raise KeyError
    with pytest.raises(trio.ClosedResourceError):
        await source.receive_view()


@of_each_kind
async def test_a_cancelled_block_closes_the_source_and_the_cancellation_goes_on(kind) -> None:
    """The iterator's own scope swallows nobody else's cancellation."""
    source = Pending()
    with trio.move_on_after(0.01) as scope:
        async with kind(source) as steps:
            await anext(steps)
    assert scope.cancelled_caught
    with pytest.raises(trio.ClosedResourceError):
        await source.receive_view()


@of_each_kind
async def test_aclose_without_a_block(kind) -> None:
    """It closes the source; a task in a step is told; twice is harmless."""
    source = Pending()
    steps = kind(source)

    async def step() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await anext(steps)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(step)
        await trio.testing.wait_all_tasks_blocked()
        await steps.aclose()
    with trio.testing.assert_checkpoints():
        await steps.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await anext(steps)


async def test_an_iterator_is_entered_once() -> None:
    """A second block would close what the first reads from."""
    async with FakeRead(CONTENTS).views() as steps:
        with pytest.raises(RuntimeError, match="already"):
            await steps.__aenter__()


# Giving the source back


@of_each_kind
async def test_into_inner_when_nobody_waits(kind) -> None:
    """The source comes back with every byte that was not given away; the iterator is over."""
    source = FakeRead(CONTENTS, max_read_nbytes=10)
    steps = kind(source)
    first = await anext(steps)
    with trio.testing.assert_checkpoints():
        assert await steps.into_inner() is source
    assert joined([first]) + bytes(await source.read_to_end(1000)) == CONTENTS
    for use in (steps.__anext__, steps.into_inner, steps.__aenter__):
        with pytest.raises(trio.ClosedResourceError):
            await use()
    with trio.testing.assert_checkpoints():
        await steps.aclose()
    await source.receive_view()  # it is still open


@of_each_kind
async def test_into_inner_within_the_block_leaves_the_source_open(kind) -> None:
    """The end of the block closes nothing that is not its own any more."""
    source = FakeRead(CONTENTS, max_read_nbytes=10)
    async with kind(source) as steps:
        first = await anext(steps)
        assert await steps.into_inner() is source
    assert joined([first]) + bytes(await source.read_to_end(1000)) == CONTENTS


@of_each_kind
async def test_into_inner_while_a_task_waits_in_a_block(kind) -> None:
    """That block ends without an error, and the source is free and has all bytes."""
    a, b = await socketpair()
    async with closing(a, b):
        steps = kind(a)
        items, after = [], []

        async def iterate() -> None:
            async with steps:
                async for item in steps:
                    items.append(item)  # noqa: PERF401  # a list that is abandoned would lose them
                raise AssertionError("the block has to end in the step")
            after.append("the block")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(iterate)
            await trio.testing.wait_all_tasks_blocked()
            await b.send_all(b"abc")
            await trio.testing.wait_all_tasks_blocked()
            assert await steps.into_inner() is a
            # The reading side is free at once, before that task has got out of its block.
            with trio.fail_after(1):
                await b.send_all(b"def")
                await b.send_eof()
                rest = await a.read_to_end(100)
        assert after == ["the block"]
        assert joined(items) + bytes(rest) == b"abcdef"


@of_each_kind
async def test_into_inner_while_a_task_waits_outside_of_a_block(kind) -> None:
    """That task cannot be abandoned without an error, so it is refused, and nothing changes."""
    a, b = await socketpair()
    async with closing(a, b):
        steps = kind(a)
        got = []

        async def step() -> None:
            got.append(await anext(steps))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(step)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError, match="async with"):
                await steps.into_inner()
            await b.send_all(b"seven b")
        assert joined(got) == b"seven b"
        assert await steps.into_inner() is a


@of_each_kind
@pytest.mark.parametrize("attempt", range(8))
async def test_into_inner_when_a_step_has_its_bytes_and_has_not_delivered_them(
    kind, attempt
) -> None:
    """What the step had got is with the source: either the block has it or the source, once."""
    a, b = await socketpair()
    async with closing(a, b):
        steps = kind(a)
        items = []

        async def iterate() -> None:
            async with steps:
                async for item in steps:
                    items.append(item)  # noqa: PERF401  # a list that is abandoned would lose them

        async with trio.open_nursery() as nursery:
            nursery.start_soon(iterate)
            await trio.testing.wait_all_tasks_blocked()
            # trio runs what is ready in any order, so over the attempts the step is still
            # blocked, was woken, or has its bytes and is at its checkpoint.
            await b.send_all(b"seven b" * 2)
            for _ in range(attempt):
                await trio.lowlevel.cancel_shielded_checkpoint()
            await steps.into_inner()
            with trio.fail_after(1):
                await b.send_eof()
                rest = await a.read_to_end(100)
        assert joined(items) + bytes(rest) == b"seven b" * 2


class Slow(FakeRead):
    """Has its bytes, and cannot be cancelled any more, for a while before it returns them."""

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        view = await super()._receive_view(max_bytes)
        with trio.CancelScope(shield=True):
            await trio.sleep(0.01)
        return view


@of_each_kind
async def test_what_a_step_gets_after_the_source_was_given_back_is_the_sources(kind) -> None:
    """`into_inner` waits for it, puts it in front of what follows, and delivers none of it."""
    source = Slow(CONTENTS)
    steps = kind(source)
    items = []

    async def iterate() -> None:
        async with steps:
            async for item in steps:
                items.append(item)  # noqa: PERF401  # a list that is abandoned would lose them

    async with trio.open_nursery() as nursery:
        nursery.start_soon(iterate)
        await trio.testing.wait_all_tasks_blocked()
        assert await steps.into_inner() is source
        assert await source.read_to_end(1000) == CONTENTS
    assert items == []


@of_each_kind
async def test_a_cancelled_into_inner_has_given_the_source_back(kind) -> None:
    """Idle, and with a task in a step."""
    source = FakeRead(CONTENTS)
    steps = kind(source)
    with trio.CancelScope() as scope:
        scope.cancel()
        await steps.into_inner()
    assert scope.cancelled_caught
    with pytest.raises(trio.ClosedResourceError):
        await anext(steps)
    assert await source.read_to_end(1000) == CONTENTS

    source = Slow(CONTENTS)
    steps = kind(source)

    async def iterate() -> None:
        async with steps:
            await anext(steps)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(iterate)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0) as scope:
            await steps.into_inner()
        assert scope.cancelled_caught
    assert await source.read_to_end(1000) == CONTENTS


async def test_batches_of_views_that_were_given_back_are_refused() -> None:
    """There is no source to make them from."""
    views = FakeRead(CONTENTS).views()
    await views.into_inner()
    with pytest.raises(trio.ClosedResourceError):
        views.batches()


class Exhausted(FakeRead):
    """Is made of an iterator, and does not know that the end of one is an error here."""

    async def _receive_view(self, max_bytes: int | None) -> BytesView:  # noqa: ARG002
        await trio.lowlevel.checkpoint()
        raise StopAsyncIteration


async def test_a_source_that_raises_stop_async_iteration_has_not_ended() -> None:
    """The loop would end in silence."""
    with pytest.raises(RuntimeError, match="StopAsyncIteration"):
        await anext(Exhausted(b"").views())
