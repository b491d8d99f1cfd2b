"""What `soak.py` and `load.py` look at: this process, from outside and from inside."""

from __future__ import annotations

import gc
import os
import resource
import statistics
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import attrs
import trio

from trio_bytesbuf import CappedPool, GlobalPool


@attrs.frozen
class Sample:
    """This process at one moment."""

    seconds: float
    connections: int
    """How many there have been."""
    resident_nbytes: int
    descriptors: int
    lent_nbytes: int
    idle_nbytes: int
    """In blocks that the pools keep for the next lease."""
    tasks: int
    objects: int
    """That the garbage collector knows; 0 where nobody counted."""


def resident_nbytes() -> int:
    """Return how much memory this process has in use."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def sample(
    began: float, connections: int, pools: Sequence[GlobalPool | CappedPool], *, collects: bool
) -> Sample:
    """Look at this process; `collects` forces a collection first, and counts objects."""
    if collects:
        gc.collect()
    return Sample(
        seconds=trio.current_time() - began,
        connections=connections,
        resident_nbytes=resident_nbytes(),
        descriptors=len(os.listdir("/proc/self/fd")),  # noqa: PTH208  # no object for each
        lent_nbytes=sum(pool.statistics().lent_nbytes for pool in pools),
        idle_nbytes=sum(pool.statistics().idle_nbytes for pool in pools),
        tasks=trio.lowlevel.current_statistics().tasks_living,
        objects=len(gc.get_objects()) if collects else 0,
    )


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Return the median of the slopes between all pairs of points: one odd point does not count.

    Idea: the estimator of Theil and Sen.
    """
    points = list(zip(xs, ys, strict=True))
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1]
    return statistics.median(slopes) if slopes else 0.0


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that so many percent are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


def most_descriptors() -> int:
    """Ask for as many descriptors as this process may have, and return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
