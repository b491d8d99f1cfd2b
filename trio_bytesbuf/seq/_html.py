"""Pictures as HTML, for notebooks.

Law 1. Every text is escaped, whatever it is, and nothing but text comes from what is shown.
Law 2. No scripts, no style sheets, nothing from elsewhere: a page that is kept stays as it is.
Law 3. No colour of text is set and every background is translucent, so it can be read in every
       theme, light or dark. Styles are as plain as the sanitizers of notebooks let through.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final

from ._picture import Look

if TYPE_CHECKING:
    from ._picture import Line, Picture, Word

BACKGROUNDS: Final = (
    "rgba(66, 133, 244, .25)",
    "rgba(245, 150, 20, .28)",
    "rgba(30, 170, 100, .25)",
    "rgba(170, 90, 220, .25)",
    "rgba(225, 70, 90, .25)",
    "rgba(0, 170, 190, .28)",
)
"""One block's after the other's; in this order neighbours differ for the colour-blind as well."""

LOOKS: Final = {
    Look.PLAIN: "",
    Look.STRONG: "font-weight: bold",
    Look.QUIET: "opacity: .65",
}

FRAME: Final = (
    "margin: 0; padding: 0; background: transparent; color: inherit; overflow-x: auto; "
    "white-space: pre; font-family: 'DejaVu Sans Mono', Menlo, Consolas, monospace; "
    "font-size: 12px; line-height: 1.4"
)


def html_of(picture: Picture) -> str:
    """Return a `<pre>` with styles of its own."""
    lines = "\n".join(map(_line, picture.all_lines()))
    return f'<pre style="{FRAME}">{lines}</pre>'


def _line(line: Line) -> str:
    return "".join(map(_word, line))


def _word(word: Word) -> str:
    text = html.escape(word.text)
    style = LOOKS[word.look]
    if word.block is not None:
        style = f"background-color: {BACKGROUNDS[word.block % len(BACKGROUNDS)]}"
    if not style:
        return text
    note = f' title="{html.escape(word.note)}"' if word.note else ""
    return f'<span style="{style}"{note}>{text}</span>'
