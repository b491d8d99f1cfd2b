"""Pictures: what is shown of a value, as lines of words, whoever draws them.

Law 1. A picture is text and numbers. It refers to no memory of what it shows, so having looked
       at a view pins nothing.
Law 2. What it has to say is in its words. Looks (colours, bold) say it once more, for the eye:
       where they are lost, as on a page that strips styles, nothing is.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from ._words import text_of_nbytes

BAR_WIDTH: Final = 32
"""How many characters show a whole block, or the largest of several amounts."""


class Look(enum.Enum):
    """How a word looks, beside what it says."""

    PLAIN = "plain"
    STRONG = "strong"
    QUIET = "quiet"


@attrs.frozen
class Word:
    """Some text in one look."""

    text: str
    look: Look = Look.PLAIN

    block: int | None = None
    """The number of the block of memory that it is about, from 0: one colour for each."""

    note: str = ""
    """More about it, for who points at it."""


Line: TypeAlias = tuple[Word, ...]


@attrs.frozen
class Picture:
    """What is shown of one value."""

    title: str
    facts: tuple[str, ...]
    lines: tuple[Line, ...] = ()

    def all_lines(self) -> Sequence[Line]:
        """Return the heading, and the lines below it."""
        head = [Word(self.title, Look.STRONG)]
        if self.facts:
            head.append(Word(f"  {', '.join(self.facts)}"))
        return (tuple(head), *self.lines)

    def plain(self) -> str:
        """Return the text alone, without a line end behind the last line."""
        return "\n".join("".join(word.text for word in line) for line in self.all_lines())


def table(rows: Iterable[Sequence[str]], looks: Iterable[Look] = ()) -> tuple[Line, ...]:
    """Return lines of rows, all as long as each other: the first column to the left, others right.

    Rows have the looks given, in this order; those beyond are plain.
    """
    cells = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    given = [*looks]
    given += [Look.PLAIN] * (len(cells) - len(given))
    return tuple(
        (
            Word(
                "  ".join(
                    cell.rjust(width) if at else cell.ljust(width)
                    for at, (cell, width) in enumerate(zip(row, widths, strict=True))
                ).rstrip(),
                look,
            ),
        )
        for row, look in zip(cells, given, strict=True)
    )


def picture_of_numbers(title: str, numbers: Mapping[str, int]) -> Picture:
    """Return what is shown of plain counts: each with its name, amounts of bytes in words too."""
    rows = [
        (name, f"{value:,}", text_of_nbytes(value) if "nbytes" in name and value >= 1024 else "")
        for name, value in numbers.items()
    ]
    return Picture(title, (), table(rows))


def bar(parts: Iterable[tuple[int, int, str]], whole: int, width: int = BAR_WIDTH) -> str:
    """Return `width` characters to the scale of `whole`; each part is a start, a stop, a mark.

    Later parts are drawn over earlier ones. Something is never drawn as nothing.
    """
    marks = ["."] * width
    for start, stop, mark in parts:
        if start < stop:
            first = min(start * width // whole, width - 1)
            last = max(first + 1, min(-(-stop * width // whole), width))
            marks[first:last] = mark * (last - first)
    return "".join(marks)
