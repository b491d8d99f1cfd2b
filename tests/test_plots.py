"""Plots have what they should: artists are counted and measured, on matplotlib's own canvas."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from strategies import cut_bytes

from trio_bytesbuf import BytesView
from trio_bytesbuf._errors import MissingExtra
from trio_bytesbuf.io._tally import Totals
from trio_bytesbuf.testing import (
    FixedBlockMemory,
    FlowRecorder,
    FlowSample,
    PoolSample,
    plot_history,
    plot_layout,
)
from trio_bytesbuf.testing._plots import MAX_BLOCKS

figure = pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")


def axes():
    """Return axes of a figure that no window belongs to."""
    return figure.Figure().subplots()


def extents(collection) -> list[tuple[float, float]]:
    """Return where each bar of a collection begins and ends."""
    return [(path.get_extents().x0, path.get_extents().x1) for path in collection.get_paths()]


@settings(max_examples=15)
@given(cut=cut_bytes())
def test_a_layout_has_a_bar_for_each_block_and_one_for_each_piece(cut) -> None:
    """Bars are as long as what they stand for; there is a bound for blocks."""
    _, view = cut
    ax = plot_layout(view, axes())
    blocks = dict.fromkeys(id(piece.obj) for piece in view.pieces)
    drawn = min(len(blocks), MAX_BLOCKS)
    assert len(ax.collections) == 2 * drawn
    assert len(ax.get_yticks()) == drawn
    pieces = [bar for parts in ax.collections[1::2] for bar in extents(parts)]
    if drawn == len(blocks):
        # By block: pieces that CPython has in one object, such as two of one byte, come together.
        assert sorted(stop - start for start, stop in pieces) == sorted(map(len, view.pieces))
    assert ax.get_title().startswith(f"{len(view)} byte")


def test_pieces_are_drawn_where_they_lie() -> None:
    """Two slices of one block are two parts of one bar, the rest of it is left empty."""
    view = BytesView.copied_from_slice(bytes(300), FixedBlockMemory(128))
    ax = plot_layout(view[10:20] + view[100:150], axes())
    assert extents(ax.collections[0]) == [(0, 128)]
    assert extents(ax.collections[1]) == [(10, 20), (100, 128)]
    assert extents(ax.collections[3]) == [(0, 22)]
    assert [text.get_text() for text in ax.texts] == ["128 B, pieces 1, 2", "128 B, piece 3"]
    assert ax.get_title() == "60 bytes, 3 pieces in 2 blocks of 256 B"


def recorded(*samples: FlowSample) -> FlowRecorder:
    """Return a recorder that has these samples."""
    recorder = FlowRecorder()
    recorder._samples = [*samples]
    return recorder


def test_a_history_has_a_line_for_each_direction_and_an_area_for_each_pool() -> None:
    """Lines are rates and not totals; what comes later was nothing before; no idle lines."""
    recorder = recorded(
        FlowSample(0.0, {}, {}),
        FlowSample(1.0, {"a": Totals(100, 0)}, {"pool": PoolSample(50, 0)}),
        FlowSample(3.0, {"a": Totals(100, 600), "b": Totals()}, {"pool": PoolSample(70, 0)}),
    )
    ax = plot_history(recorder, axes())
    assert {line.get_label(): [*line.get_ydata()] for line in ax.lines} == {
        "a, received": [100, 100, 0],
        "a, sent": [0, 0, 300],
    }
    (other,) = (one for one in ax.figure.axes if one is not ax)
    assert [area.get_label() for area in other.collections] == ["pool, lent"]
    assert other.get_ylim()[1] >= 70
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "a, received", "a, sent", "pool, lent",
    ]  # fmt: skip


@pytest.mark.parametrize("number", [0, 1])
def test_a_recorder_that_saw_little_can_be_drawn(number) -> None:
    """No sample, or one, makes an empty plot and no error."""
    samples = [FlowSample(0.0, {"a": Totals(5, 5)}, {"pool": PoolSample(0, 0)})] * number
    assert plot_history(recorded(*samples), axes()).get_xlabel() == "seconds"
    assert plot_layout(BytesView(), axes()).get_title() == "0 bytes, 0 pieces in 0 blocks of 0 B"


def test_only_what_can_be_drawn_is() -> None:
    """Anything else is a TypeError that says what it is."""
    with pytest.raises(TypeError, match="bytes"):
        plot_layout(b"bytes")
    with pytest.raises(TypeError, match="list"):
        plot_history([])


def test_without_matplotlib_it_is_said_what_is_missing(monkeypatch) -> None:
    """The error names the extra."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"trio_bytesbuf\[plot\]"):
        plot_layout(BytesView(b"abc"))
    with pytest.raises(MissingExtra, match="plot_history"):
        plot_history(FlowRecorder())
