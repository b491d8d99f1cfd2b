"""Plots of what lies where, and of what happened when. Only who calls them needs matplotlib."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import attrs

from .._errors import MissingExtra
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

MAX_NUMBERED: Final = 60
"""Up to so many pieces have their numbers in them."""

BAR_HEIGHT: Final = 0.7


@attrs.define
class _Block:
    """A block, and which parts of it the pieces are: their numbers, starts and stops."""

    nbytes: int
    origin: str
    parts: list[tuple[int, int, int]] = attrs.field(init=False, factory=list)


def plot_layout(view: BytesView, ax: Axes | None = None) -> Axes:
    """Draw how the pieces of `view` lie in their blocks of memory.

    A row for each block, as long as the block is: the first 24 of them, in the view's order. What
    the view shows is filled, in colours that go from its front to its end, and numbered from 1
    where there are few pieces. The rest of a block is what the view keeps from being used again.

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
    ax = _axes("plot_layout", ax)
    blocks = _blocks_of(view)
    drawn = blocks[:MAX_BLOCKS]
    pieces = view.block_refs
    for row, block in enumerate(drawn):
        span = (row - BAR_HEIGHT / 2, BAR_HEIGHT)
        ax.broken_barh([(0, block.nbytes)], span, facecolor="none", edgecolor="gray")
        ax.broken_barh(
            [(start, stop - start) for _, start, stop in block.parts],
            span,
            facecolors=[_colour(index / max(1, len(pieces) - 1)) for index, _, _ in block.parts],
            edgecolor="black",
            linewidth=0.4,
        )
        for index, start, stop in block.parts if len(pieces) <= MAX_NUMBERED else ():
            ax.text((start + stop) / 2, row, f"{index + 1}", ha="center", va="center", fontsize=8)
    names = [f"#{row + 1} {block.origin}" for row, block in enumerate(drawn)]
    ax.set_yticks(range(len(drawn)), names)
    ax.set_ylim(max(len(drawn), 1) - 0.5, -0.5)  # the first on top
    ax.set_xlim(0, 1.02 * max((block.nbytes for block in drawn), default=1))
    _in_bytes(ax.xaxis)
    ax.set_xlabel("offset in the block")
    title = f"{text_of_count(len(view), 'byte')}, {text_of_count(len(pieces), 'piece')} in "
    title += f"{text_of_count(len(blocks), 'block')} of {text_of_nbytes(view.retained_nbytes)}"
    if len(blocks) > len(drawn):
        title += f"; the first {len(drawn)} are drawn"
    ax.set_title(title)
    return ax


def plot_history(recorder: FlowRecorder, ax: Axes | None = None) -> Axes:
    """Draw what a recorder saw: throughput as lines, and what pools had lent as areas.

    Lines are bytes per second that were received and sent under each name, by the scale on the
    left; areas have their scale on the right. Names under which nothing passed are left out.

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
    ax = _axes("plot_history", ax)
    samples = recorder.samples
    times = [sample.seconds for sample in samples]
    handles: list[Any] = []
    for name in samples[-1].streams if samples else ():
        totals = [sample.streams.get(name) for sample in samples]
        for what in ("received", "sent"):
            amounts = [getattr(one, f"{what}_nbytes") if one else 0 for one in totals]
            if amounts[-1]:
                rates = _rates(times, amounts)
                handles += ax.plot(times, rates, label=f"{name}, {what}", drawstyle="steps-pre")
    ax.set_xlabel("seconds")
    ax.set_ylabel("bytes per second")
    _in_bytes(ax.yaxis, "/s")
    ax.set_ylim(bottom=0)
    pools = samples[-1].pools if samples else {}
    if pools:
        other = ax.twinx()
        for number, name in enumerate(pools):
            stood = [sample.pools.get(name) for sample in samples]
            lent = [one.lent_nbytes if one else 0 for one in stood]
            colour = f"C{7 + number}"  # behind the lines, whose colours are the first
            handles.append(
                other.fill_between(
                    times, lent, step="pre", alpha=0.3, color=colour, label=f"{name}, lent"
                )
            )
        other.set_ylabel("bytes lent")
        _in_bytes(other.yaxis)
        other.set_ylim(bottom=0)
        ax.set_zorder(other.get_zorder() + 1)
        ax.patch.set_visible(False)
    if handles:
        ax.legend(handles=handles, loc="upper left")
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


def _colour(share: float) -> tuple[float, float, float]:
    """Return a light colour for a place between the front, 0, and the end, 1."""
    return (0.55 + 0.4 * share, 0.75 - 0.05 * share, 0.95 - 0.5 * share)


def _axes(what: str, ax: Axes | None) -> Axes:
    try:
        from matplotlib import pyplot as plt  # an extra
    except ImportError:
        raise MissingExtra(what, "matplotlib", "plot") from None
    return plt.subplots(layout="constrained")[1] if ax is None else ax


def _in_bytes(axis: Axis, per: str = "") -> None:
    """Have numbers along an axis written as amounts of bytes, at round ones."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator  # an extra

    axis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 4, 8, 10], integer=True))
    axis.set_major_formatter(FuncFormatter(lambda nbytes, _: text_of_nbytes(nbytes) + per))
