"""Hostile inputs: bytes in pieces that end where they should not, memories that hand out crumbs."""

from __future__ import annotations

import array
import itertools
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st

from trio_bytesbuf import BytesView, GlobalPool
from trio_bytesbuf.mem import Memory
from trio_bytesbuf.testing import FixedBlockMemory

# Machines that are shared with others are slow now and then, and that is no failure.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

MEMORIES: dict[str, Callable[[], Memory]] = {
    "blocks of 1": lambda: FixedBlockMemory(1),
    "blocks of 7": lambda: FixedBlockMemory(7),
    "pool": GlobalPool,
}

# Few different bytes, so that what is looked for is found, nearly found, and found overlapping.
POOR_BYTES = st.lists(st.sampled_from(b"ab\n"), max_size=40).map(bytes)
BYTES = st.one_of(POOR_BYTES, st.binary(max_size=60))

# Where a slice or a search may begin and end: inside, at the ends, far outside, or not given.
OFFSETS = st.one_of(st.none(), st.integers(-70, 70), st.sampled_from([-(10**30), 10**30]))

NO_COUNTS = {"negative": -1, "float": 1.0, "text": "1", "nothing": None}
"""What is no count of bytes; -1 is a ValueError, the others are TypeErrors."""

NO_BUFFERS = {
    "text": "text",
    "int": 5,
    "nothing": None,
    "list": [1, 2],
    "gaps": memoryview(bytes(8))[::2],
}
"""What cannot be taken for bytes: always a TypeError."""


def words() -> array.array[int]:
    """Return a buffer of two items and eight bytes."""
    return array.array("I", [0x01020304, 0x05060708])


def cut_at(data: bytes, cuts: set[int] | list[int]) -> BytesView:
    """Return `data` as a view whose pieces end at `cuts`, each in memory of its own."""
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
    return BytesView.from_views(
        BytesView(data[start:stop]) for start, stop in itertools.pairwise(edges)
    )


@st.composite
def cut_bytes(draw: st.DrawFn, data: st.SearchStrategy[bytes] = BYTES) -> tuple[bytes, BytesView]:
    """Draw bytes, and a view of the same bytes in hostile pieces."""
    model = draw(data)
    how = draw(st.sampled_from(["drawn", "every byte", "whole"]))
    if how == "drawn":
        cuts = draw(st.sets(st.integers(1, max(1, len(model) - 1)), max_size=6))
    else:
        cuts = set(range(len(model))) if how == "every byte" else set()
    return model, cut_at(model, cuts)
