"""What the commands show, and the plain way of showing it: one line after the other.

A command describes its figures as a `Panel`, in words and numbers; a `Screen` knows how they
look. `Screen` itself is for pipes, log files and terminals without rich; `_live` has the other one.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, ClassVar, Self

import attrs

if TYPE_CHECKING:
    from types import TracebackType


@attrs.frozen
class Row:
    """One line of figures."""

    label: str
    amount: str
    detail: str = ""

    history: tuple[float, ...] | None = None
    """What to draw as a curve, oldest first; none of it negative."""

    done: float | None = None
    """What to draw as a bar, from 0 to 1."""


@attrs.frozen
class Panel:
    """Figures of one moment."""

    title: str
    age: str
    rows: tuple[Row, ...]

    def plain(self) -> str:
        """Return the figures in one line of ASCII."""
        parts = [f"{row.label} {row.amount} {row.detail}".strip() for row in self.rows]
        return " | ".join((self.age, *parts))


@attrs.define(eq=False)
class Screen:
    """Standard output, as lines. Enter it before use; leaving it leaves the output tidy.

    When the output cannot be written any more, nothing is; that is no error: a relay goes on
    serving when the program that kept its log is gone.
    """

    interval: float
    """Seconds between two calls of `show`."""

    shows_at_once: ClassVar[bool] = False
    """Whether to show figures before anything has happened."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def line(self, text: str) -> None:
        """Write one line that stays, and flush it."""
        write_line(text)

    def show(self, panel: Panel) -> None:
        """Show `panel` in place of the one before it; here, as one more line."""
        self.line(panel.plain())


def write_line(text: str) -> None:
    """Write one line to standard output and flush it; what cannot be encoded is escaped."""
    out = sys.stdout
    if out is None:  # the program was started without one
        return
    encoding = out.encoding or "ascii"
    try:
        out.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        out.flush()
    except OSError:  # nobody reads it any more, or the disk is full
        _give_up_output()


def _give_up_output() -> None:
    """Send what is still in the buffer, and all that follows, to nowhere (Python's own advice)."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
