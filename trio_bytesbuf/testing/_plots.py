"""Plots of what lies where, and of what happened when. Only who calls them needs matplotlib."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Final

import attrs

from .._errors import MissingExtra
from ..io._tally import Totals
from ..seq import BytesView
from ..seq._hexdump import known_of, nbytes_of, places
from ..seq._words import text_of_count, text_of_nbytes
from ._recorder import FlowRecorder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

MAX_BLOCKS: Final = 24
"""How many blocks are drawn: more would be thinner than their names."""

MAX_NUMBERED: Final = 4
"""Up to so many pieces of a block are told by their numbers; of more, only how many."""

MAX_TICKS: Final = 6
FIGURE_WIDTH: Final = 8.0
"""In inches, as all of matplotlib's."""

BAR_HEIGHT: Final = 0.7

DIRECTIONS: Final = {"received": "-", "sent": "--"}
"""How the lines are drawn: the colours tell the names."""

NOTHING: Final = Totals()


@attrs.define
class _Block:
    """A block, and which parts of it the pieces are: their numbers, starts and stops."""

    nbytes: int
    origin: str
    parts: list[tuple[int, int, int]] = attrs.field(init=False, factory=list)

    def words(self) -> str:
        """Say how large it is and which pieces lie there."""
        numbers = ", ".join(f"{index + 1}" for index, _, _ in self.parts)
        pieces = f"piece{'' if len(self.parts) == 1 else 's'} {numbers}"
        if len(self.parts) > MAX_NUMBERED:
            pieces = text_of_count(len(self.parts), "piece")
        return f"{text_of_nbytes(self.nbytes)}, {pieces}"


def plot_layout(view: BytesView, ax: Axes | None = None) -> Axes:
    """Draw how the pieces of `view` lie in their blocks of memory.

    A row for each block, as long as the block is: the first 24 of them, in the view's order. What
    the view shows is filled, in colours that go from its front to its end; pieces are numbered
    from 1. The rest of a block is what the view keeps from being used again.

    Args:
      view: what to draw.
      ax: where; axes of a new figure if not given.

    Returns:
      The axes that were drawn on.

    Raises:
      MissingExtra: matplotlib is not installed; the extra `plot` has it.
      TypeError: `view` is no `BytesView`.

    Cost: some microseconds for each piece, and the drawing. No byte is copied.

    Example:
      >>> view = BytesView.copied_from_slice(b"head" + bytes(100) + b"tail", FixedBlockMemory(64))
      >>> plot_layout(view[:4] + view[-4:]).get_title()
      '8 bytes, 2 pieces in 2 blocks of 128 B'
    """
    if not isinstance(view, BytesView):
        raise TypeError(f"plot_layout draws a BytesView, not {type(view).__name__}")
    blocks = _blocks_of(view)
    drawn = blocks[:MAX_BLOCKS]
    ax = _axes("plot_layout", ax, height=1.2 + 0.4 * len(drawn))
    npieces = len(view.block_refs)
    widest = max((block.nbytes for block in drawn), default=1)
    for row, block in enumerate(drawn):
        span = (row - BAR_HEIGHT / 2, BAR_HEIGHT)
        ax.broken_barh([(0, block.nbytes)], span, facecolor="none", edgecolor="gray")
        ax.broken_barh(
            [(start, stop - start) for _, start, stop in block.parts],
            span,
            facecolors=[_colour(index / max(1, npieces - 1)) for index, _, _ in block.parts],
            edgecolor="black",
            linewidth=0.4,
        )
        ax.text(block.nbytes + widest / 100, row, block.words(), va="center", fontsize=8)
    ax.set_yticks(range(len(drawn)), [f"#{row + 1} {one.origin}" for row, one in enumerate(drawn)])
    ax.set_ylim(max(len(drawn), 1) - 0.5, -0.5)  # the first on top
    ax.set_xlim(0, 1.3 * widest)  # and room for words
    _in_bytes(ax.xaxis, widest)
    ax.set_xlabel("offset in the block")
    title = f"{text_of_count(len(view), 'byte')}, {text_of_count(npieces, 'piece')} in "
    title += f"{text_of_count(len(blocks), 'block')} of {text_of_nbytes(view.retained_nbytes)}"
    if len(blocks) > len(drawn):
        title += f"; the first {len(drawn)} are drawn"
    ax.set_title(title)
    return ax


def plot_history(recorder: FlowRecorder, ax: Axes | None = None) -> Axes:
    """Draw what a recorder saw: throughput as lines, and what pools had lent as areas.

    Lines are the bytes per second that were received (drawn through) and sent (dashed) under each
    name, by the scale on the left; areas have theirs on the right. Names under which nothing
    passed are not drawn.

    Args:
      recorder: what to draw.
      ax: where; axes of a new figure if not given. The areas have axes of their own, over these.

    Returns:
      The axes that were drawn on.

    Raises:
      MissingExtra: matplotlib is not installed; the extra `plot` has it.
      TypeError: `recorder` is no `FlowRecorder`.

    Example:
      >>> recorder = FlowRecorder()
      >>> recorder.watch(default_memory(), "pool")
      >>> trio.run(trio.sleep, 0, instruments=[recorder])
      >>> plot_history(recorder).get_xlabel()
      'seconds'
    """
    if not isinstance(recorder, FlowRecorder):
        raise TypeError(f"plot_history draws a FlowRecorder, not {type(recorder).__name__}")
    ax = _axes("plot_history", ax, height=3.6)
    samples = recorder.samples
    times = [sample.seconds for sample in samples]
    handles: list[Any] = []
    fastest = 1.0
    for number, name in enumerate(samples[-1].streams if samples else ()):
        totals = [sample.streams.get(name, NOTHING) for sample in samples]
        for what, style in DIRECTIONS.items():
            amounts = [getattr(one, f"{what}_nbytes") for one in totals]
            if amounts[-1]:
                rates = _rates(times, amounts)
                fastest = max(fastest, *rates)
                handles += ax.plot(
                    times, rates, style, color=f"C{number}", label=f"{name}, {what}",
                    drawstyle="steps-pre",
                )  # fmt: skip
    ax.set_xlabel("seconds")
    ax.set_ylabel("throughput")
    ax.set_ylim(0, 1.05 * fastest)
    _in_bytes(ax.yaxis, fastest, "/s")
    pools = samples[-1].pools if samples else {}
    if pools:
        other = ax.twinx()
        most = 1
        for number, name in enumerate(pools):
            stood = [sample.pools.get(name) for sample in samples]
            lent = [one.lent_nbytes if one else 0 for one in stood]
            most = max(most, *lent)
            area = other.fill_between(
                times, lent, step="pre", alpha=0.25, color=f"C{7 + number}", label=f"{name}, lent"
            )
            handles.append(area)
        other.set_ylabel("lent")
        other.set_ylim(0, 1.05 * most)
        _in_bytes(other.yaxis, most)
        ax.set_zorder(other.get_zorder() + 1)  # lines before areas
        ax.patch.set_visible(False)
    if handles:
        ax.legend(
            handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False
        )
    return ax


def _rates(times: Sequence[float], totals: Sequence[int]) -> list[float]:
    """Return the rate up to each time; the first is that of the second."""
    moments = itertools.pairwise(zip(times, totals, strict=True))
    rates = [(after - before) / (stop - start) for (start, before), (stop, after) in moments]
    return [rates[0] if rates else 0.0, *rates]


def _blocks_of(view: BytesView) -> list[_Block]:
    """Return the blocks of a view in its order, and where the pieces lie in each."""
    blocks: dict[int, _Block] = {}
    for index, (piece, ref) in enumerate(zip(view.pieces, view.block_refs, strict=True)):
        exporter = piece.obj
        block = blocks.get(id(exporter))
        if block is None:
            origin = next(iter(known_of(exporter, ref)))
            block = blocks[id(exporter)] = _Block(nbytes_of(exporter, piece), origin)
        block.parts += [(index, start, stop) for start, stop, _ in places(exporter, [piece], "")]
    return [*blocks.values()]


def _colour(share: float) -> tuple[float, float, float, float]:
    """Return a colour for a place between the front, 0, and the end, 1; prints in grey as well."""
    from matplotlib import colormaps  # an extra

    return colormaps["viridis"](0.3 + 0.65 * share)


def _axes(what: str, ax: Axes | None, height: float) -> Axes:
    """Return `ax`, or axes of a new figure that has this height in inches."""
    try:
        from matplotlib import pyplot as plt  # an extra
    except ImportError:
        raise MissingExtra(what, "matplotlib", "plot") from None
    if ax is None:
        _, ax = plt.subplots(figsize=(FIGURE_WIDTH, height), layout="constrained")
    return ax


def _in_bytes(axis: Axis, top: float, per: str = "") -> None:
    """Have an axis that goes up to `top` say amounts of bytes, at multiples of a power of two."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator  # an extra

    axis.set_major_locator(MultipleLocator(2 ** max(0, math.ceil(math.log2(top / MAX_TICKS)))))
    axis.set_major_formatter(FuncFormatter(lambda nbytes, _: text_of_nbytes(nbytes) + per))
