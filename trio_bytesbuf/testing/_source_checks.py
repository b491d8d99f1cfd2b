"""Checks of whether somebody's own `Read` is one, to run one's tests over.

`SOURCE_CHECKS` and `STALLED_SOURCE_CHECKS` are tuples of async functions, one promise each. Each
makes what it checks with the factory that it is given, as often as it needs; it returns if all is
well and else raises AssertionError, which says what was called, what came and what should
have come. In a test:

    @pytest.mark.parametrize("check", SOURCE_CHECKS)
    async def test_my_source(check):
        await check(make_my_source)

A check of `SOURCE_CHECKS` takes an async function that is called with bytes and returns a new
`Read` that these are received from, and then the end. One of `STALLED_SOURCE_CHECKS` takes one
whose sources give the bytes and then neither more of them nor an end. How many bytes come at a
time is the factory's affair: give the checks several, hostile ones too. The check closes what it
was given.

Example:
  >>> class Hasty(FakeRead):
  ...     async def _receive_view(self, max_bytes):
  ...         return await super()._receive_view(None)
  >>> async def make(contents):
  ...     return Hasty(contents)
  >>> async def main():
  ...     for check in SOURCE_CHECKS:
  ...         await check(make)
  >>> trio.run(main)
  Traceback (most recent call last):
  AssertionError: receive_view(1) of a Hasty raised BadSource(...)

What makes the checks find something:

Law 1. No byte of `DATA` comes twice, so bytes at the wrong place are wrong bytes.
Law 2. After every call, refused, cancelled or not, the rest is received, and what has come in
       all is held to be exactly `DATA`.
Law 3. What must not wait for ever is given `PATIENCE` seconds, and no check hangs.

Idea: `trio.testing.check_two_way_stream`, a single function; our `BUF_CHECKS`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import trio

from .._errors import InspectionFailed, LimitExceeded, UnexpectedEof
from ..io import Read, ReadInspectDecision
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
from ._conformance import DATA, AnIndex

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MakeRead: TypeAlias = Callable[[bytes], Awaitable[Read]]
T = TypeVar("T")

ENOUGH: Final = len(DATA) + 1
"""More than there is."""


async def receives(source: Read, wanted: bytes, after: str) -> None:
    """Hold the rest of a source to be `wanted`, and its end to last."""
    found = []
    while view := await given(source, ("receive_view", ())):
        found.append(bytes(view))
        holds(len(found) <= ENOUGH, f"after {after}, there is no end to a {type(source).__name__}")
    same(b"".join(found), wanted, f"after {after}, the rest of a {type(source).__name__}")
    for call in (("receive_view", ()), ("receive_view", (1,)), ("read_any", ())):
        found = await given(source, call)
        holds(not found, f"after the end, {named(source, *call)} gave {found!r}")


# Every way to read


def a_line(view: BytesView) -> ReadInspectDecision:
    """Want 40 bytes."""
    is_all = len(view) >= 40
    return ReadInspectDecision.complete(40) if is_all else ReadInspectDecision.continue_read()


def readings() -> tuple[Call, ...]:
    """Return a call of each way to read; with builders of their own."""
    return (
        ("receive_view", ()),
        ("receive_view", (3,)),
        ("read_at_most", (3,)),
        ("read_any", ()),
        ("read_more_into", (BytesBuf(),)),
        ("read_at_most_into", (3, BytesBuf())),
        ("read_exactly", (0,)),
        ("read_exactly", (40,)),
        ("read_contiguous", (40,)),
        ("read_exactly_into", (40, BytesBuf())),
        ("read_to_end", (ENOUGH,)),
        ("read_at_most_while", (ENOUGH, a_line)),
        ("read_at_most_into_while", (ENOUGH, BytesBuf(), a_line)),
    )


def waiting_readings() -> list[Call]:
    """Return those that wait if nothing is there."""
    return [call for call in readings() if call != ("read_exactly", (0,))]


def taken_by(call: Call, found: object) -> bytes:
    """Return the bytes that a reading has given to its caller, whether it was over or not."""
    taken = b"".join(bytes(arg.peek()) for arg in call[1] if isinstance(arg, BytesBuf))
    match found:
        case BytesView() if call[0] == "read_at_most_into_while":
            return bytes(found) + taken
        case BytesView():
            return bytes(found)
        case BytesBuf():
            return bytes(found.peek())
        case (BytesView() as view, BytesBuf() as rest):
            return bytes(view) + bytes(rest.peek())
        case _:
            return taken


# What a source is held to


async def ends_for_ever(make: MakeRead) -> None:
    """All bytes come, in order; no view is empty before the end, and all are after it."""
    for nbytes in (0, 1, 2, len(DATA)):
        async with closing(await make(DATA[:nbytes])) as source:
            await receives(source, DATA[:nbytes], "nothing")


async def returns_no_more_than_asked(make: MakeRead) -> None:
    """A limit is kept to, whatever it is and whoever asks, and nothing behind it is lost."""
    for limit in (1, 2, 3, AnIndex(5), len(DATA) - 1, len(DATA), ENOUGH, 1 << 40):
        for name in ("receive_view", "read_at_most", "read_at_most_into"):
            async with closing(await make(DATA)) as source:
                await _comes_by(source, name, limit)


async def _comes_by(source: Read, name: str, limit: int | AnIndex) -> None:
    came, most = b"", limit.__index__()
    while len(came) < len(DATA):
        buf = BytesBuf()
        call = (name, (limit, buf) if name.endswith("into") else (limit,))
        found = await given(source, call)
        part = taken_by(call, found)
        what = named(source, *call)
        holds(0 < len(part) <= most, f"{what} gave {len(part)} bytes, with {len(came)} before")
        if isinstance(found, int):
            same(found, len(part), what)
        came += part
    same(came, DATA, f"all that {name}({limit}) gave")
    await receives(source, b"", f"all that {name}({limit}) gave")


async def reads_as_told(make: MakeRead) -> None:
    """Every way to read gives the first bytes, and leaves those behind them to the next."""
    for call in readings():
        async with closing(await make(DATA)) as source:
            taken = taken_by(call, await given(source, call))
            what = named(source, *call)
            if call[0] in {"read_exactly", "read_contiguous", "read_exactly_into"}:
                same(len(taken), call[1][0], f"the number of bytes of {what}")
            same(taken, DATA[: len(taken)], what)
            await receives(source, DATA[len(taken) :], what)


async def checkpoints(make: MakeRead) -> None:
    """Every read is a checkpoint: of bytes, of bytes that are kept already, of the end."""
    for call in readings():
        async with closing(await make(DATA)) as source:
            await passes_a_checkpoint(source, call)
        async with closing(await make(DATA)) as source:
            await refuses(source, ("read_exactly", (ENOUGH,)), UnexpectedEof)  # and keeps them
            await passes_a_checkpoint(source, call)
    for call in (("receive_view", ()), ("read_any", ()), ("read_to_end", (1,))):
        async with closing(await make(b"")) as source:
            await passes_a_checkpoint(source, call)


async def refuses_wrong_sizes(make: MakeRead) -> None:
    """No integer is a TypeError; too few bytes are a ValueError; nothing is lost."""
    positive = ("receive_view", "read_at_most", "read_at_most_into")
    others = ("read_exactly", "read_contiguous", "read_exactly_into", "read_to_end")
    async with closing(await make(DATA)) as source:
        for name in (*positive, *others):
            for wrong, kind in (
                (0, ValueError),
                (-1, ValueError),
                (1.0, TypeError),
                ("1", TypeError),
            ):
                if wrong == 0 and name in others:
                    continue
                args = (wrong, BytesBuf()) if name.endswith("into") else (wrong,)
                await refuses(source, (name, args), kind)
        for name in ("read_more_into", "read_at_most_into", "read_exactly_into"):
            room = bytearray(5)
            call = (name, (room,) if name == "read_more_into" else (5, room))
            await refuses(source, call, TypeError)
        await receives(source, DATA, "wrong arguments")


async def refuses_a_second_task(make: MakeRead) -> None:
    """Of two tasks that read at the same time one gets BusyResourceError, and no byte is lost."""
    for call in readings():
        async with closing(await make(DATA)) as source:
            both = (Task(source, call), Task(source, ("receive_view", (1,))))
            first = await first_of(both)
            taken = taken_by(call if first is both[0] else ("", ()), first.found)
            same(taken, DATA[: len(taken)], f"of two at the same time, {first.what}")
            await receives(source, DATA[len(taken) :], f"of two at the same time, {first.what}")


async def is_closed_for_good(make: MakeRead) -> None:
    """When closed, every read raises ClosedResourceError, though bytes were left, or were kept."""
    for is_keeping in (False, True):
        async with closing(await make(DATA)) as source:
            if is_keeping:
                await refuses(source, ("read_exactly", (ENOUGH,)), UnexpectedEof)
            await passes_a_checkpoint(source, ("aclose", ()))
            for call in readings():
                await refuses(source, call, trio.ClosedResourceError)
            await passes_a_checkpoint(source, ("aclose", ()))
            await refuses(source, ("receive_view", ()), trio.ClosedResourceError)


async def is_closed_even_if_cancelled(make: MakeRead) -> None:
    """A cancelled `aclose` raises nothing but its being cancelled, and everything is closed."""
    async with closing(await make(DATA)) as source:
        await close_cancelled(source)
        await refuses(source, ("receive_view", ()), trio.ClosedResourceError)
        await refuses(source, ("read_exactly", (1,)), trio.ClosedResourceError)


async def loses_nothing_when_cancelled(make: MakeRead) -> None:
    """Cancelled at any of its checkpoints, a read has lost nothing; the next one goes on."""
    for at in range(len(readings())):
        await _cancelled_everywhere(make, at)


async def _cancelled_everywhere(make: MakeRead, at: int) -> None:
    @asynccontextmanager
    async def subject() -> AsyncIterator[tuple[Read, Call]]:
        async with closing(await make(DATA)) as source:
            yield source, readings()[at]

    async def operation(subject: tuple[Read, Call]) -> object:
        return await given(*subject)

    async def check(subject: tuple[Read, Call], attempt: Attempt) -> None:
        source, call = subject
        taken = taken_by(call, attempt.result)
        what = f"{named(source, *call)} that was cancelled"
        same(taken, DATA[: len(taken)], what)
        if attempt.was_cancelled:
            await _goes_on(source, call, taken, what)
        else:
            await receives(source, DATA[len(taken) :], what)

    await cancel_atomic_at_each_checkpoint(
        subject, operation, peer=None, progress=lambda _: 0, check=check
    )


async def _goes_on(source: Read, call: Call, taken: bytes, what: str) -> None:
    """Hold a cancelled read to be resumable: called again it gives what it would have given."""
    is_into = any(isinstance(arg, BytesBuf) for arg in call[1])
    found = taken_by(call, await given(source, call))
    whole = found if is_into else taken + found
    same(whole, DATA[: len(whole)], f"called again, {what}")
    if call[0] in {"read_exactly", "read_contiguous", "read_exactly_into"}:
        same(len(whole), call[1][0], f"called again, the number of bytes of {what}")
    await receives(source, DATA[len(whole) :], f"called again, {what}")


async def says_what_had_arrived(make: MakeRead) -> None:
    """At an end that comes too early a read says how much there was, and it is still there."""
    for name in ("read_exactly", "read_contiguous"):
        for wanted in (ENOUGH, 10 * ENOUGH):
            async with closing(await make(DATA)) as source:
                for _ in range(2):
                    await refuses(
                        source, (name, (wanted,)), UnexpectedEof, wanted=wanted, arrived=len(DATA)
                    )
                await gives(source, (name, (20,)), BytesView(DATA[:20]))
                await receives(source, DATA[20:], f"UnexpectedEof of {name}")
    async with closing(await make(DATA)) as source:
        buf = BytesBuf()
        call = ("read_exactly_into", (ENOUGH, buf))
        await refuses(source, call, UnexpectedEof, wanted=ENOUGH, arrived=len(DATA))
        same(buf.peek(), BytesView(DATA), "what read_exactly_into left in its builder")
        await receives(source, b"", "UnexpectedEof of read_exactly_into")


async def reads_exactly(make: MakeRead) -> None:
    """`read_exactly` and its kin give as many bytes as are asked for, one call after another."""
    for nbytes in (0, 1, 2, 7, len(DATA)):
        for name in ("read_exactly", "read_contiguous"):
            async with closing(await make(DATA)) as source:
                for at in range(0, len(DATA) - nbytes + 1, nbytes or len(DATA)):
                    view = await given(source, (name, (nbytes,)))
                    same(view, BytesView(DATA[at : at + nbytes]), f"{name}({nbytes}) at {at}")
                    is_one = name == "read_exactly" or len(view.pieces) <= 1
                    holds(is_one, f"{name}({nbytes}) gave {len(view.pieces)} pieces")
                left = DATA[len(DATA) // nbytes * nbytes :] if nbytes else DATA
                await receives(source, left, f"{name}({nbytes})")


async def reads_into_builders(make: MakeRead) -> None:
    """What is read into a builder comes behind what it holds, in its room or not."""
    for room in (0, 10, 100_000):
        for name in ("read_more_into", "read_at_most_into", "read_exactly_into"):
            async with closing(await make(DATA)) as source:
                buf = BytesBuf.with_capacity(room)
                buf.put_view(BytesView(b"head"))
                before = buf.peek()
                while len(buf) < 34:
                    call = (name, {"read_more_into": (buf,)}.get(name, (34, buf)))
                    await given(source, call)
                found = bytes(buf.peek())
                same(found, b"head" + DATA[: len(found) - 4], f"the builder after {name}")
                same(before, BytesView(b"head"), f"a view of before {name}")
                await receives(source, DATA[len(found) - 4 :], name)


async def keeps_to_the_limit(make: MakeRead) -> None:
    """`read_to_end` accepts as much as it was told, and else leaves everything to the next read."""
    for limit in (len(DATA), ENOUGH, 1 << 40):
        async with closing(await make(DATA)) as source:
            await gives(source, ("read_to_end", (limit,)), BytesView(DATA))
            await gives(source, ("read_to_end", (0,)), BytesView())
    for limit in (0, 1, len(DATA) - 1):
        async with closing(await make(DATA)) as source:
            for _ in range(2):
                await refuses(source, ("read_to_end", (limit,)), LimitExceeded, limit=limit)
            await receives(source, DATA, f"LimitExceeded of read_to_end({limit})")


async def reads_while_more_is_wanted(make: MakeRead) -> None:
    """The inspector sees all that has arrived; what it wants is cut off, the rest handed over."""
    for nbytes in (0, 1, 40, len(DATA)):
        async with closing(await make(DATA)) as source:
            shown: list[int] = []
            call = ("read_at_most_while", (ENOUGH, _wanting(nbytes, shown)))
            view, rest = await given(source, call)
            same(view, BytesView(DATA[:nbytes]), f"{nbytes} bytes of {named(source, *call)}")
            arrived = nbytes + len(rest)
            same(bytes(rest.peek()), DATA[nbytes:arrived], f"the rest of {named(source, *call)}")
            holds(shown == sorted(set(shown)), f"the inspector was shown {shown} bytes")
            same(shown[-1], arrived, "the number of bytes that the inspector was shown")
            await receives(source, DATA[arrived:], "read_at_most_while")
    await _refuses_while(make, 40, _wanting(ENOUGH, []), LimitExceeded, limit=40, arrived=40)
    await _refuses_while(make, ENOUGH, _wanting(ENOUGH, []), UnexpectedEof, arrived=len(DATA))
    failed = ReadInspectDecision.failed(ValueError("no"))
    await _refuses_while(make, ENOUGH, lambda _: failed, InspectionFailed)


def _wanting(nbytes: int, shown: list[int]) -> Callable[[BytesView], ReadInspectDecision]:
    """Return an inspector that wants `nbytes` bytes, and holds what it is shown to be right."""

    def inspect(view: BytesView) -> ReadInspectDecision:
        shown.append(len(view))
        same(view, BytesView(DATA[: len(view)]), "what the inspector was shown")
        holds(bool(view), "the inspector was shown nothing")
        if len(view) < nbytes:
            return ReadInspectDecision.continue_read()
        return ReadInspectDecision.complete(nbytes)

    return inspect


async def _refuses_while(
    make: MakeRead,
    budget: int,
    inspect: Callable[[BytesView], ReadInspectDecision],
    kind: type[Exception],
    **fields: object,
) -> None:
    async with closing(await make(DATA)) as source:
        for _ in range(2):
            await refuses(source, ("read_at_most_while", (budget, inspect)), kind, **fields)
        await receives(source, DATA, f"{kind.__name__} of read_at_most_while")


async def cuts_chunks(make: MakeRead) -> None:
    """`views`, `chunks` and their batches give all bytes, in views as long as they were told."""
    for nbytes in (1, 3, len(DATA), ENOUGH):
        whole = [DATA[at : at + nbytes] for at in range(0, len(DATA), nbytes)]
        async with closing(await make(DATA)) as source:
            found = await _collected(source.chunks(nbytes))
            same(list(map(bytes, found)), whole, f"chunks({nbytes}) of a {type(source).__name__}")
        async with closing(await make(DATA)) as source:
            batches = await _collected(source.chunks(nbytes).batches())
            holds(all(batches), f"chunks({nbytes}).batches() gave an empty one")
            same(
                [bytes(view) for batch in batches for view in batch],
                whole,
                f"chunks({nbytes}).batches() of a {type(source).__name__}",
            )
        async with closing(await make(DATA)) as source:
            found = await _collected(source.views(nbytes))
            same(b"".join(map(bytes, found)), DATA, f"views({nbytes})")
            longest = max(map(len, found))
            holds(0 < longest <= nbytes, f"views({nbytes}) gave {longest} bytes")


async def _collected(steps: AsyncIterator[T]) -> list[T]:
    found: list[T] = []
    try:
        while len(found) <= ENOUGH:
            with trio.fail_after(PATIENCE):
                found.append(await anext(steps))
    except StopAsyncIteration:
        pass
    except Exception as error:
        raise AssertionError(f"a step of {steps!r} raised {error!r}") from error
    return found


async def gives_itself_back(make: MakeRead) -> None:
    """`into_inner` of an iterator returns the source, and what was not iterated over is in it."""
    for name in ("views", "chunks"):
        async with closing(await make(DATA)) as source:
            steps = getattr(source, name)(3)
            first = await given(steps, ("__anext__", ()))
            same(first, BytesView(DATA[: len(first)]), f"the first of {name}(3)")
            back = await passes_a_checkpoint(steps, ("into_inner", ()))
            holds(back is source, f"into_inner() of {name}(3) gave {back!r}")
            await refuses(steps, ("__anext__", ()), trio.ClosedResourceError)
            await receives(source, DATA[len(first) :], f"into_inner() of {name}(3)")


async def returns_views_that_stay(make: MakeRead) -> None:
    """What was received shows the same bytes when everything has been read, and after the end."""
    for limit in (1, 5, None):
        async with closing(await make(DATA)) as source:
            views, then = [], []
            while view := await given(source, ("receive_view", (limit,))):
                views.append(view)
                then.append(bytes(view))
            await given(source, ("aclose", ()))
            for view, was in zip(views, then, strict=True):
                same(bytes(view), was, "later, what was received")
            same(b"".join(then), DATA, f"all that receive_view({limit}) gave")


async def offers_memory(make: MakeRead) -> None:
    """`memory` is a `Memory`; `reserve` gives a builder with as much room of it as is wanted."""
    async with closing(await make(DATA)) as source:
        has_memory(source)
        await receives(source, DATA, "reserve()")


SOURCE_CHECKS: Final[tuple[Callable[[MakeRead], Awaitable[None]], ...]] = (
    ends_for_ever,
    returns_no_more_than_asked,
    reads_as_told,
    checkpoints,
    refuses_wrong_sizes,
    refuses_a_second_task,
    is_closed_for_good,
    is_closed_even_if_cancelled,
    loses_nothing_when_cancelled,
    says_what_had_arrived,
    reads_exactly,
    reads_into_builders,
    keeps_to_the_limit,
    reads_while_more_is_wanted,
    cuts_chunks,
    gives_itself_back,
    returns_views_that_stay,
    offers_memory,
)
"""Checks of a `Read`: each takes a factory of one over given bytes, and raises AssertionError."""


# What a source is held to that gives bytes and then neither more nor an end


async def waits_for_more(make: MakeRead) -> None:
    """When nothing is there a read waits; cancelled there it has lost nothing."""
    for call in waiting_readings():
        async with closing(await make(b"")) as source:
            task = Task(source, call)
            async with in_tasks(task):
                task.is_waiting("nothing")
    async with closing(await make(DATA)) as source:
        await gives(source, ("read_exactly", (len(DATA),)), BytesView(DATA))
        task = Task(source, ("receive_view", ()))
        async with in_tasks(task):
            task.is_waiting("all that there is")


async def keeps_what_arrived_while_it_waited(make: MakeRead) -> None:
    """A read that is cancelled while it waits for more has lost nothing of what came before."""
    for name in ("read_exactly", "read_contiguous", "read_to_end"):
        async with closing(await make(DATA)) as source:
            for _ in range(2):
                task = Task(source, (name, (ENOUGH,)))
                async with in_tasks(task):
                    task.is_waiting("all that there is")
            await gives(source, (name.replace("to_end", "exactly"), (7,)), BytesView(DATA[:7]))
            await gives(source, ("read_exactly", (len(DATA) - 7,)), BytesView(DATA[7:]))
    async with closing(await make(DATA)) as source:
        buf = BytesBuf()
        for _ in range(2):
            task = Task(source, ("read_exactly_into", (ENOUGH, buf)))
            async with in_tasks(task):
                task.is_waiting("all that there is")
        same(buf.peek(), BytesView(DATA), "what a cancelled read_exactly_into left in its builder")


async def refuses_a_second_task_while_it_waits(make: MakeRead) -> None:
    """While one task waits to read another gets BusyResourceError, whatever it calls."""
    async with closing(await make(b"")) as source:
        first = Task(source, ("receive_view", ()))
        async with in_tasks(first):
            for call in readings():
                await refuses(source, call, trio.BusyResourceError)
            first.is_waiting("BusyResourceError of others")


async def wakes_readers_when_closed(make: MakeRead) -> None:
    """A task that waits to read gets ClosedResourceError when another closes, even if cancelled."""
    for call in waiting_readings():
        for close in (partial(given, call=("aclose", ())), close_cancelled):
            async with closing(await make(b"")) as source:
                await _is_woken(source, call, close)


async def forgets_what_is_kept_when_closed(make: MakeRead) -> None:
    """Closed while a read waits for more, a source gives nothing of what had come before."""
    for call in (("read_exactly", (ENOUGH,)), ("read_to_end", (ENOUGH,))):
        async with closing(await make(DATA)) as source:
            await _is_woken(source, call, partial(given, call=("aclose", ())))


async def _is_woken(source: Read, call: Call, close: Callable[[Read], Awaitable[object]]) -> None:
    task = Task(source, call)
    async with in_tasks(task):
        task.is_waiting("nothing")
        await close(source)
        await task.raises(trio.ClosedResourceError, "aclose() by another task")
        for next_call in readings():
            await refuses(source, next_call, trio.ClosedResourceError)


STALLED_SOURCE_CHECKS: Final[tuple[Callable[[MakeRead], Awaitable[None]], ...]] = (
    waits_for_more,
    keeps_what_arrived_while_it_waited,
    refuses_a_second_task_while_it_waits,
    wakes_readers_when_closed,
    forgets_what_is_kept_when_closed,
)
"""Checks of a `Read` that goes silent: each takes a factory of one that gives bytes and no end."""
