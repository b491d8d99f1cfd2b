"""Lines about what is in a stream: what a `Walker` finds, told so that people can read it.

No line is wider than 80 columns, but where a value or an error is told.

Law 1. Nothing of a stream reaches the terminal but what can be printed: a name could move the
       cursor, or set the title of the window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from ..seq import BytesView
from ..seq._hexdump import ROW_NBYTES, letters_of
from ..seq._words import text_of_count
from ..wire._format import length_of
from ..wire._message_cutter import SMALL_NBYTES
from ._screen import Ink
from ._walk import Goodbye, Header, Message, Problem, Stop, Walker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..wire import Codec
    from ._screen import Line
    from ._walk import Item

MARGIN: Final = " " * 10
"""In front of what belongs to the line above: an offset, and two blanks."""


def printable(text: str) -> str:
    r"""Return `text` with what cannot be printed written as ``\\x1b``. (Law 1)"""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def rows_of(data: BytesView | bytes, shown_nbytes: int) -> Iterator[Line]:
    """Yield the first bytes of `data`, in rows of hexadecimal numbers and of letters."""
    shown = bytes(data[:shown_nbytes])
    for at in range(0, len(shown), ROW_NBYTES):
        row = shown[at : at + ROW_NBYTES]
        halves = (row[:8].hex(" "), row[8:].hex(" "))
        yield (
            (f"{MARGIN}{'  '.join(halves):<48}", Ink.BYTES),
            (f"  |{letters_of(row)}|", Ink.QUIET),
        )
    if shown_nbytes and len(data) > shown_nbytes:
        yield ((f"{MARGIN}and {text_of_count(len(data) - shown_nbytes, 'byte')} more", Ink.QUIET),)


@attrs.define(eq=False)
class Picture:
    """The lines about one stream."""

    walker: Walker
    codec: Codec[object] | None
    """What makes a value of a payload; None to show its bytes."""

    shown_nbytes: int
    """How much is shown of a payload, in bytes, and of a value, in characters."""

    problems: int = attrs.field(init=False, default=0)
    left_unchecked: bool = attrs.field(init=False, default=False)
    """Whether a checksum came that could not be checked."""

    _said_goodbye_at: int | None = attrs.field(init=False, default=None)

    def lines(self, before: Line = ()) -> Iterator[Line]:
        """Yield lines about all that has come, each item's first behind `before`."""
        while (item := self.walker.next_item()) is not None:
            yield from self._about(item, before)

    def last_lines(self) -> Iterator[Line]:
        """Yield lines about what came behind the end."""
        at, nbytes = self._said_goodbye_at, self.walker.behind_nbytes
        if at is not None and nbytes:
            text = f"{text_of_count(nbytes, 'byte')} behind the goodbye, or more"
            yield self._first((), at + 1, (text, Ink.PLAIN))
            yield from rows_of(self.walker.behind, self.shown_nbytes)

    def totals(self) -> str:
        """Return how much there was."""
        nbytes = self.walker.offset + self.walker.waiting_nbytes + self.walker.behind_nbytes
        parts = [text_of_count(self.walker.messages, "message"), text_of_count(nbytes, "byte")]
        if self.problems:
            parts.append(text_of_count(self.problems, "problem"))
        return ", ".join(parts)

    def _first(self, before: Line, offset: int, *words: tuple[str, Ink]) -> Line:
        return (*before, (f"{offset:08x}  ", Ink.OFFSET), *words)

    def _about(self, item: Item, before: Line) -> Iterator[Line]:
        match item:
            case Header():
                which = "with" if item.has_checksums else "without"
                text = f"version {item.version}, {which} checksums"
                yield self._first(before, item.offset, (text, Ink.PLAIN))
            case Message():
                yield self._first(before, item.offset, *self._about_message(item))
                yield from self._inside(item.payload)
            case Goodbye():
                self._said_goodbye_at = item.offset
                yield self._first(before, item.offset, ("goodbye", Ink.GOOD))
            case Stop():
                text = "the end, without a goodbye"
                yield self._first(before, item.offset, (text, Ink.PLAIN))
            case Problem():
                self.problems += 1
                yield self._first(before, item.offset, (f"wrong: {item.complaint}", Ink.BAD))
                yield from rows_of(self.walker.behind, self.shown_nbytes)

    def _about_message(self, message: Message) -> Iterator[tuple[str, Ink]]:
        nbytes = len(message.payload)
        text = f"message {message.number}: {text_of_count(nbytes, 'byte')}"
        if message.prefix != length_of(nbytes):
            text += f" (as {message.prefix.hex(' ')})"
        yield text, Ink.PLAIN
        if message.checksum is None:
            return
        yield f", checksum {message.checksum:016x} ", Ink.PLAIN
        if message.computed is None:
            self.left_unchecked = True
            yield "not checked", Ink.QUIET
        elif message.is_right:
            yield "right", Ink.GOOD
        else:
            self.problems += 1
            yield f"wrong, {message.computed:016x} computed", Ink.BAD

    def _inside(self, payload: BytesView) -> Iterator[Line]:
        """Yield a value, or bytes."""
        if self.codec is None:
            yield from rows_of(payload, self.shown_nbytes)
            return
        try:
            text = printable(repr(self._decoded(payload)))
        except Exception as exc:  # noqa: BLE001  # a codec, or a type, of somebody's own
            self.problems += 1
            yield ((f"{MARGIN}no value: {printable(_said_by(exc))}", Ink.BAD),)
            yield from rows_of(payload, self.shown_nbytes)
            return
        if not self.shown_nbytes:
            return
        more = len(text) - self.shown_nbytes
        yield ((MARGIN + text[: self.shown_nbytes], Ink.BYTES),)
        if more > 0:
            yield ((f"{MARGIN}and {text_of_count(more, 'character')} more", Ink.QUIET),)

    def _decoded(self, payload: BytesView) -> object:
        assert self.codec is not None
        if self.codec.takes_views:
            return self.codec.decode(payload)
        if len(payload) <= SMALL_NBYTES:
            return self.codec.decode(payload.to_bytes())
        return self.codec.decode(payload.contiguous())


def _said_by(exc: Exception) -> str:
    """Return what an error of somebody's own code says, whatever its `str` does."""
    try:
        return str(exc) or repr(exc)
    except Exception:  # noqa: BLE001  # it is somebody else's
        return type(exc).__name__
