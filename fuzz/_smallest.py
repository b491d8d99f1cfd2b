"""The smallest corpus that goes all the ways that a larger one goes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any

MAX_INPUTS = 12
"""How many inputs of a target are kept: those that go the most ways that no other before goes."""

MAX_NBYTES = 1200
"""Longer inputs are not kept: what they show, a shorter one shows as well, or will be found."""

MAX_LOOKED_AT = 150
"""How many inputs are traced, which takes a hundred times as long as to run them."""

Way = tuple[CodeType, int, int]
"""From one line of a function to another."""


def smallest(
    target: Callable[[bytes], None], inputs: Iterable[bytes], keep: Iterable[bytes] = ()
) -> list[bytes]:
    """Return inputs that go the ways of all of them, or nearly; `keep` counts as there already."""
    known: set[Way] = set()
    for data in keep:
        known |= ways_of(target, data)
    short = sorted({data for data in inputs if len(data) <= MAX_NBYTES}, key=len)
    spread = short[:: -(-len(short) // MAX_LOOKED_AT) or 1]
    open_ways = {data: ways_of(target, data) - known for data in spread}
    kept: list[bytes] = []
    while open_ways and len(kept) < MAX_INPUTS:
        best = max(open_ways, key=lambda data: (len(open_ways[data]), -len(data)))
        gone = open_ways.pop(best)
        if not gone:
            break
        kept.append(best)
        for ways in open_ways.values():
            ways -= gone
    return kept


def ways_of(target: Callable[[bytes], None], data: bytes) -> set[Way]:
    """Return the ways that an input goes through the package."""
    found: set[Way] = set()

    def enter(frame: FrameType, _event: str, _arg: Any) -> Any:
        code = frame.f_code
        if "trio_bytesbuf" not in code.co_filename:
            return None
        last = 0

        def step(frame: FrameType, _event: str, _arg: Any) -> Any:
            nonlocal last
            found.add((code, last, frame.f_lineno))
            last = frame.f_lineno
            return step

        return step

    sys.settrace(enter)
    try:
        with contextlib.suppress(Exception):  # a finding, which is for others to tell
            target(data)
    finally:
        sys.settrace(None)
    return found
