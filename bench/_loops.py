"""The event loops that rivals run on, by name; uvloop only where it is installed."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import trio

if TYPE_CHECKING:
    from _measure import Report

TRIO, ASYNCIO, UVLOOP = "trio", "asyncio", "uvloop"

HAS_UVLOOP = importlib.util.find_spec("uvloop") is not None

T = TypeVar("T")


def run(loop: str, main: Callable[..., Awaitable[T]], *args: object) -> T:
    """Run `main(*args)` in a new event loop of this name."""
    if loop == TRIO:
        return trio.run(main, *args)

    async def awaited() -> T:
        return await main(*args)

    if loop == ASYNCIO:
        return asyncio.run(awaited())
    import uvloop  # only if there is one

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(awaited())


def remark_if_missing(report: Report) -> None:
    """Say so where rivals on uvloop are left out."""
    if not HAS_UVLOOP:
        report.remark("not measured: uvloop, which is not installed")
