"""How much a block from the pool costs against new memory, by size.

    python bench/lease_by_size.py [--quick] [--json FILE] [--plot FILE.png]

A block is leased and let go at once, so that the next lease finds it free:

    shelf      `Shelf(n, 16).lease()`: the proof and the ring, nothing else
    reserve    `GlobalPool().reserve(n)`: the same as users have it, with a block and a builder
    bytearray  `bytearray(n)`: new memory, all of it written to
    bytes      `bytes(n)`: new memory that the system may hand out as zeros without touching it
    empty      `numpy.empty(n, numpy.uint8)`: new memory that nobody writes to

How to read it: lower is better. `shelf` and `reserve` cost the same at every size that is
pooled; `bytearray` and `bytes` grow with the size. Where they cross `shelf`, pooling as such begins
to pay; `reserve` is dearer by what a builder costs. Below `UNPOOLED_NBYTES` `reserve` makes a
bytearray. `empty` is written in C and touches nothing: what it saves, whoever fills the array pays
(the pages of new memory are cold, and beyond the allocator's limits unmapped again each time).
So a second table fills what was reserved.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from _measure import Contest, Options, Report, mark, nanoseconds, powers_of_two, save, size_name

from trio_bytesbuf import GlobalPool
from trio_bytesbuf.mem._pool import BLOCK_SIZES, UNPOOLED_NBYTES
from trio_bytesbuf.mem._shelf import Shelf

SIZES = powers_of_two(64, 4 << 20)
KEPT_BLOCKS = 16
NEW_MEMORY = ("bytearray", "bytes", "empty")
FILL_RATIOS = [("reserve", "bytearray"), ("reserve", "empty")]
RATIOS = [("reserve", "bytearray"), ("reserve", "bytes"), ("reserve", "empty")]

MOST_DEARER_NS = 600.0
"""How much `reserve` may cost beyond the best of its rivals below the sizes that are pooled."""


def contest(nbytes: int, *, turns: int, seconds: float) -> Contest:
    """Measure one size."""
    names = {
        "n": nbytes,
        "np": np,
        "shelf": Shelf(nbytes, KEPT_BLOCKS, bytearray),
        "pool": GlobalPool(),
    }
    statements = {
        "shelf": "shelf.lease()",
        "reserve": "pool.reserve(n)",
        "bytearray": "bytearray(n)",
        "bytes": "bytes(n)",
        "empty": "np.empty(n, np.uint8)",
    }
    rivals = {
        name: nanoseconds(statement, names, seconds=seconds)
        for name, statement in statements.items()
    }
    return Contest.of(size_name(nbytes), "ns", rivals, turns)


def filling_contest(nbytes: int, *, turns: int, seconds: float) -> Contest:
    """Measure reserving one size and copying that many bytes there."""
    names = {"n": nbytes, "np": np, "pool": GlobalPool(), "data": bytes(nbytes)}
    statements = {
        "reserve": "buf = pool.reserve(n); buf.put_slice(data)",
        "bytearray": "buf = bytearray(n); buf[:] = data",
        "empty": "memoryview(np.empty(n, np.uint8))[:] = data",
    }
    rivals = {
        name: nanoseconds(statement, names, seconds=seconds)
        for name, statement in statements.items()
    }
    return Contest.of(size_name(nbytes), "ns", rivals, turns)


def break_even(contests: list[Contest], name: str, least: int) -> float:
    """Return the size, at least `least`, from which on `name` is cheaper than a bytearray."""
    gains = [
        (nbytes, math.log(contest.ratio(name, "bytearray")))
        for nbytes, contest in zip(SIZES, contests, strict=True)
        if nbytes >= least
    ]
    dearer = [at for at, (_, gain) in enumerate(gains) if gain > 0]
    if not dearer:
        return gains[0][0]
    if dearer[-1] == len(gains) - 1:
        return math.inf
    (size, loss), (next_size, gain) = gains[dearer[-1] : dearer[-1] + 2]
    return float(size * (next_size / size) ** (loss / (loss - gain)))


def draw(contests: list[Contest], pays_from: dict[str, float], path: Path) -> None:
    """Plot cost over size, both logarithmic; a star where pooling begins to pay."""
    from matplotlib import pyplot as plt  # only here: the figures need no plot

    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for name, style in {
        "shelf": "o-",
        "reserve": "s-",
        "bytearray": "^-",
        "bytes": "v:",
        "empty": "x--",
    }.items():
        axes.loglog(
            SIZES, [each.median(name) for each in contests], style, label=name, base=2, markersize=4
        )
    for nbytes in BLOCK_SIZES:
        mark(axes, nbytes, f"blocks of {size_name(nbytes)}")
    mark(axes, UNPOOLED_NBYTES, "up to here not pooled", dashed=True)
    for name, start in pays_from.items():
        if SIZES[0] < start <= SIZES[-1]:
            medians = zip(SIZES, (each.median(name) for each in contests), strict=True)
            cost = next(median for size, median in medians if size >= start)
            axes.plot(start, cost, "k*", markersize=12, zorder=3)
            axes.annotate(
                f"pays from {start / 1024:.1f} KiB on",
                (start, cost),
                textcoords="offset points",
                xytext=(8, -14),
            )
    axes.set_yscale("log", base=10)
    axes.set_xticks(SIZES[::2], [size_name(nbytes) for nbytes in SIZES[::2]])
    axes.set(title="To lease a block and let it go", xlabel="size", ylabel="ns")
    axes.legend(loc="upper left")
    save(figure, path)


def main() -> None:
    """Measure, print, draw."""
    options = Options.parse(__doc__, plot="lease_by_size.png")
    report = Report()
    turns, seconds = (3, 0.005) if options.quick else (11, 0.05)
    contests = [contest(nbytes, turns=turns, seconds=seconds) for nbytes in SIZES]
    filled = [filling_contest(nbytes, turns=turns, seconds=seconds) for nbytes in SIZES]
    report.compare("Lease and let go, by size", contests, RATIOS)
    report.compare("Reserve, fill, let go, by size", filled, FILL_RATIOS)
    pays_from = {
        "shelf": break_even(contests, "shelf", SIZES[0]),
        "reserve": break_even(contests, "reserve", 2 * UNPOOLED_NBYTES),  # where it pools
    }
    for name, nbytes in pays_from.items():
        report.remark(f"`{name}` is cheaper than bytearray(n) from {nbytes / 1024:.2f} KiB on")
    dearest = max(
        each.median("reserve") - min(each.median(name) for name in NEW_MEMORY)
        for nbytes, each in zip(SIZES, contests, strict=True)
        if nbytes < BLOCK_SIZES[0]
    )
    report.promised("below 64 KiB, ns that reserve costs beyond the best", MOST_DEARER_NS, dearest)
    for name in NEW_MEMORY:
        worst = max(
            each.ratio("reserve", name)
            for nbytes, each in zip(SIZES, contests, strict=True)
            if nbytes >= BLOCK_SIZES[0]
        )
        report.promised(f"from 64 KiB up, reserve ÷ {name} at the worst size", 1.0, worst)
    at_64_kib = contests[SIZES.index(65_536)]
    report.promised(
        "lease and return of 64 KiB ÷ bytearray(65536)", 0.3, at_64_kib.ratio("shelf", "bytearray")
    )
    report.headline("reserve and drop 64 KiB", at_64_kib, "reserve", NEW_MEMORY, at_most=1.0)
    if options.plot is not None:
        draw(contests, pays_from, options.plot)
    options.finish(report)


if __name__ == "__main__":
    main()
