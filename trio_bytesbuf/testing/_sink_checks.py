"""Checks of whether somebody's own `Write` is one, to run one's tests over.

`SINK_CHECKS` and `CLOGGED_SINK_CHECKS` are tuples of async functions, one promise each, as
`SOURCE_CHECKS` are. In a test:

    @pytest.mark.parametrize("check", SINK_CHECKS)
    async def test_my_sink(check):
        await check(make_my_sink)

A check of `SINK_CHECKS` takes an async function that returns a new `Write` and `arrived`, an async
function that returns, as `bytes`, all that has arrived behind it so far. It is called again
and again while a write goes on: where bytes have to be taken out for more to get in, it takes them
out, and waits no longer than a few milliseconds for any.

A check of `CLOGGED_SINK_CHECKS` takes an async function that returns a new `Write` into which
nothing gets any more. The check closes what it was given.

Example:
  >>> class Forgetful(FakeWrite):
  ...     async def _write_view(self, view):
  ...         await super()._write_view(view[:1000])
  >>> async def make():
  ...     sink = Forgetful()
  ...     async def arrived():
  ...         return bytes(sink.contents)
  ...     return sink, arrived
  >>> async def main():
  ...     for check in SINK_CHECKS:
  ...         await check(make)
  >>> trio.run(main)
  Traceback (most recent call last):
  AssertionError: after a large view, 1000 bytes had arrived behind a Forgetful, not 1000004

What makes the checks find something:

Law 1. No four bytes of `MUCH` come twice, and no byte of `DATA`; so bytes at the wrong place are
       wrong bytes.
Law 2. After every call, refused, cancelled or not, all that has arrived is looked at.
Law 3. What must not wait for ever is given `PATIENCE` seconds, and no check hangs.

Idea: `trio.testing.check_one_way_stream`, a single function; our `BUF_MUT_CHECKS`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

import trio

from ..io import Write
from ..seq import BytesBuf, BytesView
from ._asserting import holds, named, same
from ._calls import (
    PATIENCE,
    Call,
    Task,
    close_cancelled,
    closing,
    first_of,
    given,
    gives,
    has_memory,
    in_tasks,
    passes_a_checkpoint,
    refuses,
)
from ._cancel import Attempt, cancel_atomic_at_each_checkpoint
from ._conformance import DATA
from ._memories import PoisoningPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Arrived: TypeAlias = Callable[[], Awaitable[bytes]]
MakeWrite: TypeAlias = Callable[[], Awaitable[tuple[Write, Arrived]]]
MakeClogged: TypeAlias = Callable[[], Awaitable[Write]]

MUCH: Final = b"".join(at.to_bytes(4, "big") for at in range(250_001))
"""A megabyte: more than the kernel holds for a stream."""

POLL_SECONDS: Final = 0.001
"""How long to wait before asking again what has arrived."""


# What is asserted


@asynccontextmanager
async def drained(make: MakeWrite) -> AsyncIterator[tuple[Write, Arrived]]:
    """Make a sink, close it after the block, and take out what arrives all the while."""
    sink, arrived = await make()
    failure: Exception | None = None
    is_over, looked, found = False, trio.Event(), b""

    async def drain() -> None:
        nonlocal looked, found
        while not is_over:
            found = await arrived()
            looked.set()
            looked = trio.Event()
            await trio.sleep(POLL_SECONDS)

    async def by_now() -> bytes:
        for _ in range(2):  # the look that is under way may have been too early
            await looked.wait()
        return found

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain)
        try:
            async with closing(sink):
                yield sink, by_now
        except Exception as error:  # noqa: BLE001  # raised below, where it is not in a group
            failure = error
        is_over = True
    if failure is not None:
        raise failure


async def arrives(sink: Write, arrived: Arrived, wanted: bytes, after: str) -> None:
    """Hold exactly `wanted` to arrive, soon."""
    found = await arrived()
    with trio.move_on_after(PATIENCE):
        while len(found) < len(wanted):
            found = await arrived()
    what = f"behind a {type(sink).__name__}"
    complaint = f"{len(found)} bytes had arrived {what}, not {len(wanted)}"
    holds(len(found) == len(wanted), f"after {after}, {complaint}")
    holds(found == wanted, f"after {after}, other bytes had arrived {what}, or in another order")


async def sends(
    sink: Write, arrived: Arrived, call: Call, wanted: bytes, after: str | None = None
) -> None:
    """Hold a call to return, and exactly `wanted` to have arrived in all."""
    await gives(sink, call, None)
    await arrives(sink, arrived, wanted, after or named(sink, *call))


def puts(data: bytes) -> Callable[[BytesBuf], None]:
    """Return a function that fills a builder."""

    def fill(buf: BytesBuf) -> None:
        same(len(buf), 0, "the len of the builder to fill")
        room = buf.remaining_capacity
        holds(room >= len(data), f"the builder to fill has room for {room} bytes")
        buf.put_slice(data)

    return fill


def fails(buf: BytesBuf) -> NoReturn:
    """Put some bytes, and fail."""
    buf.put_slice(b"not sent")
    raise KeyError("fill")


def sendings(data: bytes) -> tuple[Call, ...]:
    """Return a call of each way to send `data`, which may be nothing."""
    return (
        ("write_view", (BytesView(data),)),
        ("write_parts", ([BytesView(data[:1]), BytesView(), BytesView(data[1:])],)),
        ("prepare_and_write", (len(data), puts(data))),
    )


WAITING: Final[Call] = ("wait_write_might_not_block", ())


# What a sink is held to


async def sends_everything_in_order(make: MakeWrite) -> None:
    """All bytes arrive in the order of the calls, whatever pieces they are in; none for none."""
    async with drained(make) as (sink, arrived):
        sent = b""
        for at in range(len(DATA)):
            sent += DATA[at : at + 1]
            await gives(sink, ("write_view", (BytesView(DATA[at : at + 1]),)), None)
            if at % 10 == 0:  # and look only now and then
                await sends(sink, arrived, ("write_view", (BytesView(),)), sent)
        pieces = [BytesView(DATA[at : at + 3]) for at in range(0, len(DATA), 3)]
        sent += DATA
        await sends(sink, arrived, ("write_view", (BytesView.from_views(pieces),)), sent)
        await sends(sink, arrived, WAITING, sent)


async def sends_large_views(make: MakeWrite) -> None:
    """A write of more than fits anywhere sends all of it, of one piece or of many."""
    for nbytes in (len(MUCH), 1001):
        async with drained(make) as (sink, arrived):
            pieces = [BytesView(MUCH[at : at + nbytes]) for at in range(0, len(MUCH), nbytes)]
            call = ("write_view", (BytesView.from_views(pieces),))
            await sends(sink, arrived, call, MUCH, "a large view")


async def sends_several_views(make: MakeWrite) -> None:
    """`write_parts` sends all views of an iterable, in order; of none, nothing."""
    async with drained(make) as (sink, arrived):
        await sends(sink, arrived, ("write_parts", ([],)), b"")
        views = (BytesView(DATA[at : at + 9]) for at in range(0, len(DATA), 9))
        await sends(sink, arrived, ("write_parts", (views,)), DATA)


async def sends_what_was_prepared(make: MakeWrite) -> None:
    """`prepare_and_write` sends what `fill` puts; if that raises, nothing."""
    async with drained(make) as (sink, arrived):
        await refuses(sink, ("prepare_and_write", (10, fails)), KeyError)
        await refuses(sink, ("prepare_and_write", (-1, puts(b""))), ValueError)
        await refuses(sink, ("prepare_and_write", (1.0, puts(b""))), TypeError)
        await arrives(sink, arrived, b"", "errors of prepare_and_write")
        await sends(sink, arrived, ("prepare_and_write", (0, puts(b""))), b"")
        await sends(sink, arrived, ("prepare_and_write", (len(DATA), puts(DATA))), DATA)


async def checkpoints(make: MakeWrite) -> None:
    """Every write is a checkpoint, of something and of nothing, and so is waiting to write."""
    async with drained(make) as (sink, arrived):
        sent = b""
        for data in (b"", DATA):
            for call in (*sendings(data), WAITING):
                await passes_a_checkpoint(sink, call)
                sent += data if call != WAITING else b""
                await arrives(sink, arrived, sent, call[0])


async def refuses_what_is_no_view(make: MakeWrite) -> None:
    """Anything but a view, or buffers where these are taken, is a TypeError; nothing is sent."""
    async with drained(make) as (sink, arrived):
        for wrong in (b"bytes", bytearray(5), memoryview(b"bytes"), "text", None, BytesBuf()):
            await refuses(sink, ("write_view", (wrong,)), TypeError)
        for neither in ("text", None, 5, BytesBuf()):
            await refuses(sink, ("write_parts", ([BytesView(b"view"), neither],)), TypeError)
        await arrives(sink, arrived, b"", "TypeError")


async def refuses_a_second_task(make: MakeWrite) -> None:
    """Of two tasks that write at the same time one gets BusyResourceError, and sends nothing."""
    for sent, call in (
        *((DATA, call) for call in sendings(DATA)),
        *((b"", call) for call in (*sendings(b""), WAITING)),
    ):
        async with drained(make) as (sink, arrived):
            both = (Task(sink, call), Task(sink, ("write_view", (BytesView(DATA[:5]),))))
            first = await first_of(both)
            wanted = sent if first is both[0] else DATA[:5]
            await arrives(sink, arrived, wanted, f"two at the same time, {first.what}")


async def is_closed_for_good(make: MakeWrite) -> None:
    """When closed, every write raises ClosedResourceError and sends nothing; `aclose` does not."""
    async with drained(make) as (sink, arrived):
        await sends(sink, arrived, ("write_view", (BytesView(DATA),)), DATA)
        await passes_a_checkpoint(sink, ("aclose", ()))
        for call in (*sendings(DATA), *sendings(b""), WAITING):
            await refuses(sink, call, trio.ClosedResourceError)
        await passes_a_checkpoint(sink, ("aclose", ()))
        await refuses(sink, ("write_view", (BytesView(DATA),)), trio.ClosedResourceError)
        await arrives(sink, arrived, DATA, "aclose()")


async def is_closed_even_if_cancelled(make: MakeWrite) -> None:
    """A cancelled `aclose` raises nothing but its being cancelled, and everything is closed."""
    async with drained(make) as (sink, _):
        await close_cancelled(sink)
        for call in (*sendings(DATA), *sendings(b""), WAITING):
            await refuses(sink, call, trio.ClosedResourceError)


async def sends_no_other_bytes_when_cancelled(make: MakeWrite) -> None:
    """Cancelled at any of its checkpoints, a write has sent the first bytes, or none."""
    for at in range(len(sendings(DATA))):
        await _cancelled_everywhere(make, at)


async def _cancelled_everywhere(make: MakeWrite, at: int) -> None:
    @asynccontextmanager
    async def subject() -> AsyncIterator[tuple[Write, Arrived]]:
        async with drained(make) as (sink, arrived):
            yield sink, arrived

    async def operation(subject: tuple[Write, Arrived]) -> object:
        return await given(subject[0], sendings(DATA)[at])

    async def check(subject: tuple[Write, Arrived], attempt: Attempt) -> None:
        sink, arrived = subject
        found = await arrived()
        nbytes = len(found) if attempt.was_cancelled else len(DATA)
        await arrives(sink, arrived, DATA[:nbytes], f"{sendings(DATA)[at][0]} that was cancelled")

    await cancel_atomic_at_each_checkpoint(
        subject, operation, peer=None, progress=lambda _: 0, check=check
    )


async def leaves_the_view_alone(make: MakeWrite) -> None:
    """A view shows the same after it was written, and can be dropped: its memory is used again."""
    pool = PoisoningPool()
    async with drained(make) as (sink, arrived):
        sent = b""
        for _ in range(4):  # in memory that is let go of after each
            part = MUCH[len(sent) :][:50_000]
            view = BytesView.copied_from_slice(part, pool)
            sent += part
            await sends(sink, arrived, ("write_view", (view,)), sent, "a view of pooled memory")
            try:
                shown = bytes(view)
            except Exception as error:
                raise AssertionError(f"a view that was written raised {error!r}") from error
            holds(shown == part, "a view that was written shows other bytes")
            del view
            pool.reserve(50_000).put_repeated(0xFF, 50_000)
            await arrives(sink, arrived, sent, "a view of pooled memory was dropped")


async def offers_memory(make: MakeWrite) -> None:
    """`memory` is a `Memory`; `reserve` gives a builder with as much room of it as is wanted."""
    async with drained(make) as (sink, arrived):
        has_memory(sink)
        await arrives(sink, arrived, b"", "reserve()")


SINK_CHECKS: Final[tuple[Callable[[MakeWrite], Awaitable[None]], ...]] = (
    sends_everything_in_order,
    sends_large_views,
    sends_several_views,
    sends_what_was_prepared,
    checkpoints,
    refuses_what_is_no_view,
    refuses_a_second_task,
    is_closed_for_good,
    is_closed_even_if_cancelled,
    sends_no_other_bytes_when_cancelled,
    leaves_the_view_alone,
    offers_memory,
)
"""Checks of a `Write`: each takes a factory of one and of `arrived`, and raises AssertionError."""


# What a sink is held to into which nothing gets


async def waits_for_room(make: MakeClogged) -> None:
    """A write into which nothing gets waits; cancelled there, the sink can still be closed."""
    for call in sendings(DATA):
        async with closing(await make()) as sink:
            task = Task(sink, call)
            async with in_tasks(task):
                task.is_waiting("nothing")
            await given(sink, ("aclose", ()))


async def refuses_a_second_task_while_it_waits(make: MakeClogged) -> None:
    """While one task waits to write another gets BusyResourceError, whatever it calls."""
    async with closing(await make()) as sink:
        first = Task(sink, ("write_view", (BytesView(DATA),)))
        async with in_tasks(first):
            for call in (*sendings(DATA), *sendings(b""), WAITING):
                await refuses(sink, call, trio.BusyResourceError)
            first.is_waiting("BusyResourceError of others")


async def wakes_writers_when_closed(make: MakeClogged) -> None:
    """A task that waits to write gets ClosedResourceError when another closes, cancelled or not."""
    for call in (*sendings(DATA), WAITING):
        for close in (partial(given, call=("aclose", ())), close_cancelled):
            async with closing(await make()) as sink:
                task = Task(sink, call)
                async with in_tasks(task):
                    if call == WAITING and task.is_done.is_set():
                        continue  # it may return early
                    task.is_waiting("nothing")
                    await close(sink)
                    await task.raises(trio.ClosedResourceError, "aclose() by another task")
                    for next_call in (*sendings(DATA), WAITING):
                        await refuses(sink, next_call, trio.ClosedResourceError)


CLOGGED_SINK_CHECKS: Final[tuple[Callable[[MakeClogged], Awaitable[None]], ...]] = (
    waits_for_room,
    refuses_a_second_task_while_it_waits,
    wakes_writers_when_closed,
)
"""Checks of a `Write` that is full: each takes a factory of one into which nothing gets."""
