"""Pictures for rich. Only who prints with rich imports this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from ._picture import Look

if TYPE_CHECKING:
    from ._picture import Line, Picture, Word

COLOURS: Final = ("blue", "yellow", "green", "magenta", "red", "cyan")
"""The terminal's own, so that they suit its background; the order is that of the HTML."""

LOOKS: Final = {Look.PLAIN: "", Look.STRONG: "bold", Look.QUIET: "dim"}


def group_of(picture: Picture) -> Group:
    """Return lines that are cut, and not wrapped, where the console is too narrow for them."""
    return Group(*map(_text, picture.all_lines()))


def _text(line: Line) -> Text:
    # A line each: what is one Text the console joins with its neighbours, and wraps after all.
    words = ((word.text, _style(word)) for word in line)
    return Text.assemble(*words, no_wrap=True, overflow="ellipsis")


def _style(word: Word) -> str:
    return LOOKS[word.look] if word.block is None else COLOURS[word.block % len(COLOURS)]
