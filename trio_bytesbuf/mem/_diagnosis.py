"""Questions that are asked seldom, and so cost nothing until they are."""

from __future__ import annotations

import gc
from collections import Counter

from ..seq import BytesView
from ._pool import GlobalPool
from ._tracking import TrackingPool


def piece_counts(pool: GlobalPool | None = None) -> dict[int, int]:
    """Return how many live views have how many pieces: the number of pieces, then of views.

    Many views of many pieces say that data arrives, or is put together, in crumbs: each piece costs
    some 360 bytes, and sending many of them takes more calls. `BytesView.compact` joins them.

    Args:
      pool: count only views with a piece in a block that this pool has now. A `TrackingPool` has
        has all that it leased; a `GlobalPool` has forgotten some of what was lent for long. Views
        of all memory are counted if not given, views of no bytes among them.

    Raises:
      TypeError: `pool` is no `GlobalPool`.

    Cost: a look at every object that the collector knows, some 10 ms for 100,000 of them.

    Example:
      >>> pool = TrackingPool()
      >>> view = BytesView.copied_from_slice(b"abc", pool)
      >>> piece_counts(pool)
      {1: 1}
      >>> joined = view + view
      >>> piece_counts(pool)
      {1: 1, 2: 1}

    Idea: bytesbuf's metric of slices in a view, which is counted when one is made.
    """
    blocks = None if pool is None else _blocks_of(pool)
    counts: Counter[int] = Counter()
    for view in gc.get_objects():
        if type(view) is BytesView:
            try:
                pieces = view._pieces
            except AttributeError:  # in the making
                continue
            if blocks is None or any(id(piece.obj) in blocks for piece in pieces):
                counts[len(pieces)] += 1
    return dict(sorted(counts.items()))


def _blocks_of(pool: GlobalPool) -> set[int]:
    """Return the identities of the blocks that `pool` has now."""
    if not isinstance(pool, GlobalPool):
        raise TypeError(f"a GlobalPool is wanted, not {type(pool).__name__}")
    blocks = {id(block) for shelf in pool._shelves for block in list(shelf._ring)}
    if isinstance(pool, TrackingPool):
        blocks |= {id(record.block) for record in pool._book.sweep()}
    return blocks
