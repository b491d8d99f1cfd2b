"""Calls of somebody's own `Read` or `Write`, and what `_source_checks` and so on assert of them.

A complaint is an AssertionError that says what was called, what came and what should have
come; an error that the thing has raised is its cause.
"""

from __future__ import annotations

import contextlib
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import trio
import trio.testing

from ..seq import BytesBuf, Memory
from ._asserting import holds, is_error, named, same

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..io import Read, Write

E = TypeVar("E", bound=trio.abc.AsyncResource)

Call: TypeAlias = "tuple[str, tuple[object, ...]]"
"""A method's name and its arguments."""

PATIENCE: Final = 2.0
"""How many seconds something may take that ought to happen at once. A guess: a busy machine may let
a program wait for a tenth of that."""

CUSHION: Final = 0.01
"""For how many seconds nothing must happen until all tasks are taken to be waiting. A guess: TCP
may hand bytes on to a peer in the same system a moment after it took them."""


async def given(thing: object, call: Call) -> Any:
    """Hold a call to return something, and soon."""
    name, args = call
    try:
        with trio.fail_after(PATIENCE):
            return await getattr(thing, name)(*args)
    except Exception as error:
        raise AssertionError(f"{named(thing, name, args)} raised {error!r}") from error


async def gives(thing: object, call: Call, wanted: object) -> None:
    """Hold a call to return `wanted`."""
    same(await given(thing, call), wanted, named(thing, *call))


async def refuses(thing: object, call: Call, kind: type[Exception], **fields: object) -> None:
    """Hold a call to raise `kind`, with these attributes, and soon."""
    name, args = call
    what = named(thing, name, args)
    found = None
    try:
        with trio.fail_after(PATIENCE):
            found = await getattr(thing, name)(*args)
    except Exception as error:  # noqa: BLE001  # it is held to what is wanted
        is_error(error, kind, fields, what)
    else:
        raise AssertionError(f"{what} returned {found!r}, not {kind.__name__}")


class Task:
    """A call that is made in a task of its own, and what has become of it."""

    def __init__(self, thing: object, call: Call) -> None:
        self.what = named(thing, *call)
        self.error: Exception | None = None
        self.found: object = None
        self.is_done = trio.Event()
        self._made = partial(getattr(thing, call[0]), *call[1])

    async def run(self) -> None:
        try:
            self.found = await self._made()
        except Exception as error:  # noqa: BLE001  # looked at by the check
            self.error = error
        self.is_done.set()

    @property
    def outcome(self) -> str:
        """What has become of it, in words."""
        if not self.is_done.is_set():
            return f"{self.what} goes on waiting"
        if self.error is not None:
            return f"{self.what} raised {self.error!r}"
        return f"{self.what} returned {self.found!r}"

    def is_waiting(self, after: str) -> None:
        holds(not self.is_done.is_set(), f"after {after}, {self.outcome}")

    async def raises(self, kind: type[Exception], after: str) -> None:
        """Hold it to raise `kind` soon."""
        with trio.move_on_after(PATIENCE):
            await self.is_done.wait()
        complaint = f"after {after}, {self.outcome}, and should have raised {kind.__name__}"
        holds(isinstance(self.error, kind), complaint)


@asynccontextmanager
async def closing(thing: E) -> AsyncIterator[E]:
    """Close it after the block; what a check found there comes before an error of closing."""
    try:
        yield thing
    except BaseException:
        with contextlib.suppress(Exception):
            await trio.aclose_forcefully(thing)
        raise
    await given(thing, ("aclose", ()))


async def first_of(both: tuple[Task, Task]) -> Task:
    """Hold one of two calls at the same time to be told that the other is busy; return that one."""
    async with trio.open_nursery() as nursery:
        for task in both:
            nursery.start_soon(task.run)
        with trio.move_on_after(PATIENCE):
            for task in both:
                await task.is_done.wait()
        nursery.cancel_scope.cancel()
    outcomes = f"of two at the same time, {both[0].outcome} and {both[1].outcome}"
    busy = [isinstance(task.error, trio.BusyResourceError) for task in both]
    holds(sum(busy) == 1, outcomes)
    first = both[busy.index(False)]
    holds(first.is_done.is_set() and first.error is None, outcomes)
    return first


@asynccontextmanager
async def in_tasks(*tasks: Task) -> AsyncIterator[None]:
    """Run calls in tasks of their own during the block, and begin it when they wait."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(task.run)
        try:
            await trio.testing.wait_all_tasks_blocked(CUSHION)
            yield
        except Exception as error:  # noqa: BLE001  # raised below, where it is not in a group
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def passes_a_checkpoint(thing: object, call: Call) -> Any:
    """Hold a call to be a checkpoint; return what it returned."""
    found, complaint = None, None
    try:
        with trio.testing.assert_checkpoints():
            try:
                found = await given(thing, call)
            except AssertionError as error:
                complaint = error
    except AssertionError as error:
        if complaint is None:
            raise AssertionError(f"{named(thing, *call)} was no checkpoint") from error
    if complaint is not None:
        raise complaint
    return found


async def close_cancelled(thing: trio.abc.AsyncResource) -> None:
    """Close while cancelled."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await given(thing, ("aclose", ()))


def has_memory(thing: Read | Write) -> None:
    """Hold it to be a provider whose builders have as much room as is wanted."""
    holds(isinstance(thing.memory, Memory), f"its memory is a {type(thing.memory).__name__}")
    for nbytes in (0, 1, 1000):
        buf = thing.reserve(nbytes)
        holds(isinstance(buf, BytesBuf), f"reserve({nbytes}) gave a {type(buf).__name__}")
        same(len(buf), 0, f"the len of reserve({nbytes})")
        room = buf.remaining_capacity
        holds(room >= nbytes, f"reserve({nbytes}) gave room for {room} bytes")
        buf.put_slice(bytes(nbytes))
        same(bytes(buf.consume_all()), bytes(nbytes), f"what was put into reserve({nbytes})")
