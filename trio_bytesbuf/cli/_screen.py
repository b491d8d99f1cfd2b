"""What the commands show, and the plain ways of showing it: one line after the other.

A command describes its figures as a `Panel`, in words and numbers; a `Screen` knows how they
look. `Screen` itself is for pipes, log files and terminals without rich, `JsonScreen` for programs,
and `_live` has the one in colour.

Law 1. Nothing here waits for the reader of a pipe: lines are queued, and a thread writes them.
Law 2. Lines stay in order. Those that find no room are dropped, figures first, and where they are
       missing a line says how many.
Law 3. When the output cannot be written any more, nothing is; that is no error: a relay goes on
       serving when the program that kept its log is gone.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import sys
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, ClassVar, Final, Self, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

ROOM_FOR_LINES: Final = 1_000
ROOM_FOR_FIGURES: Final = 10
"""How many lines may wait for the reader before another one, or one of figures, is dropped."""

FLUSH_SECONDS: Final = 1.0
"""How long leaving a screen waits for the reader: lines that are read at all take far less."""


class Ink(enum.Enum):
    """What a word of a line is, for who has colours (`_live`)."""

    PLAIN = "plain"
    OFFSET = "offset"
    BYTES = "bytes"
    QUIET = "quiet"
    GOOD = "good"
    BAD = "bad"
    RECEIVED = "received"
    SENT = "sent"


Line: TypeAlias = tuple[tuple[str, Ink], ...]


def plain(line: Line) -> str:
    """Return the text of a line, without colours."""
    return "".join(text for text, _ in line) + "\n"


@attrs.frozen
class Event:
    """Something that has happened, and is told once."""

    text: str
    """For people: a line, or more of them."""

    name: str
    """For programs, as are the facts."""

    facts: Mapping[str, object] = attrs.field(factory=dict)
    """What belongs to it: what `json` can write."""


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
    facts: Mapping[str, object]
    """The same for a program: what `json` can write."""

    def plain(self) -> str:
        """Return the figures in one line of ASCII."""
        parts = [f"{row.label} {row.amount} {row.detail}".strip() for row in self.rows]
        return " | ".join((self.age, *parts))


@attrs.define(eq=False)
class Screen:
    """Standard output, as lines. Enter it before use; leaving it leaves the output tidy."""

    interval: float
    """Seconds between two calls of `show`."""

    shows_at_once: ClassVar[bool] = False
    """Whether to show figures before anything has happened."""

    _waiting: SimpleQueue[str | None] = attrs.field(init=False, factory=SimpleQueue)
    _dropped: int = attrs.field(init=False, default=0)
    _writer: threading.Thread = attrs.field(init=False)

    def __enter__(self) -> Self:
        # A daemon: it may be stuck in a write for ever, and the program must end all the same.
        self._writer = threading.Thread(target=_write_lines, args=(self._waiting,), daemon=True)
        self._writer.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._waiting.put(None)
        self._writer.join(FLUSH_SECONDS)

    def line(self, event: Event) -> None:
        """Write a line that stays, as soon as whoever reads lets us."""
        self._queue(event.text, ROOM_FOR_LINES)

    def show(self, panel: Panel) -> None:
        """Show `panel` in place of the one before it; here, as one more line."""
        self._queue(panel.plain(), ROOM_FOR_FIGURES)

    def clear(self) -> None:
        """Take away the panel that is shown, for good; lines can follow. Here, lines stay."""

    def _queue(self, text: str, room: int) -> None:
        if self._waiting.qsize() >= room:
            self._dropped += 1
            return
        if self._dropped:
            self._waiting.put(self._about_dropped(self._dropped))
            self._dropped = 0
        self._waiting.put(text)

    def _about_dropped(self, number: int) -> str:
        return f"lines dropped because nobody read them: {number:,}"


class JsonScreen(Screen):
    """Standard output, as lines of JSON: an object for each event, which it names."""

    def line(self, event: Event) -> None:
        """Write one event."""
        self._queue(json_of(event.name, event.facts), ROOM_FOR_LINES)

    def show(self, panel: Panel) -> None:
        """Write figures as one more event."""
        self._queue(json_of("figures", panel.facts), ROOM_FOR_FIGURES)

    def _about_dropped(self, number: int) -> str:
        return json_of("dropped", {"lines": number})


def json_of(name: str, facts: Mapping[str, object]) -> str:
    """Return an event as JSON in one line of ASCII."""
    return json.dumps({"event": name, **facts})


def _write_lines(waiting: SimpleQueue[str | None]) -> None:
    """Write what comes to `waiting`, until None does or nobody reads it any more (Law 3)."""
    with contextlib.suppress(OSError):
        for text in iter(waiting.get, None):
            write_line(text)


def write_line(text: str) -> None:
    """Write one line to standard output; otherwise as `write_text`."""
    write_text(f"{text}\n")


def write_text(text: str) -> None:
    """Write to standard output, which takes its time; what cannot be encoded is escaped.

    It goes past Python's buffer: a thread that is stuck there holds the buffer's lock, and at its
    end the interpreter dies of that.

    Raises:
      OSError: nobody reads it any more, the disk is full, or it is no file at all.
    """
    out = sys.stdout
    if out is None:  # the program was started without one
        return
    rest = text.encode(out.encoding or "ascii", "backslashreplace")
    while rest:
        rest = rest[os.write(out.fileno(), rest) :]
