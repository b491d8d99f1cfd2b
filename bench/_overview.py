"""The picture of all scenarios: ours ÷ the quickest rival, from what the last runs have left."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from _measure import Headline, save, shown

BETTER, WORSE, INK, FAINT = "#2a78b5", "#d08a2e", "#222222", "#b0b0b0"
NARROWEST, WIDEST = 1 / 64, 16
"""Bars end there, and say how much further they would go. Chosen so that the rest can be read."""


def headlines(folder: Path, names: Iterable[str]) -> list[Headline]:
    """Return those of all results in a folder, in this order."""
    found = []
    for path in (folder / f"{name}.json" for name in names):
        if path.exists():
            report = json.loads(path.read_text(encoding="utf-8"))
            found += [Headline(**each) for each in report.get("headlines", ())]
    return found


def draw(bars: list[Headline], path: Path) -> None:
    """Draw a bar for each scenario, the best on top, from 1 to the ratio."""
    from matplotlib import pyplot as plt  # only here: the figures need no plot

    bars = sorted(bars, key=lambda bar: bar.ratio)
    height = 0.9 + 0.24 * len(bars)
    figure, axes = plt.subplots(figsize=(9.5, height), layout="constrained")
    for at, bar in enumerate(bars):
        end = min(max(bar.ratio, NARROWEST), WIDEST)
        colour = BETTER if bar.ratio <= 1 else WORSE
        axes.barh(at, end - 1, left=1, height=0.62, color=colour)
        low, high = (min(max(each, NARROWEST), WIDEST) for each in (bar.least, bar.most))
        axes.plot([low, high], [at, at], color=INK, linewidth=0.8, alpha=0.6)
        words = f"{shown(bar.ratio)} × {bar.rival}"
        axes.annotate(
            words,
            (1, at),
            xytext=(4 if bar.ratio <= 1 else -4, 0),
            textcoords="offset points",
            va="center",
            ha="left" if bar.ratio <= 1 else "right",
            fontsize=7.5,
            color=INK,
            bbox={"color": "white", "alpha": 0.75, "pad": 0.6, "linewidth": 0},
        )
        if bar.at_most is not None:
            axes.plot([bar.at_most] * 2, [at - 0.42, at + 0.42], color=INK, linewidth=2)
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_xscale("log", base=2)
    ticks = [2.0**power for power in range(-6, 5)]
    axes.set_xlim(NARROWEST, WIDEST)
    axes.set_xticks(ticks, [f"{tick:g}" if tick >= 1 else f"1/{1 / tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(bars)), [bar.scenario for bar in bars], fontsize=8)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.grid(axis="x", color=FAINT, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.set_title(
        "Cost here ÷ that of the quickest rival (less is better)", loc="left", fontsize=11
    )
    axes.set_xlabel(
        "bar: median; thin line: from the least to the most of all turns; "
        "thick mark: at most, as promised",
        fontsize=8,
    )
    save(figure, path)
    plt.close(figure)
