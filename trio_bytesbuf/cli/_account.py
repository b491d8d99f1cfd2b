"""`Account`: what is told of one stream of messages, whoever it is told to.

A `Walker` finds what there is; an account makes lines of it, for people (`_picture`) or for
programs (`_records`), counts what is wrong, and decodes the messages.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

import attrs

from ..wire._message_cutter import SMALL_NBYTES
from ._walk import Message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from ..io import Direction
    from ..seq import BytesView
    from ..wire import Codec
    from ._screen import Line
    from ._walk import Item, Walker

    Moment: TypeAlias = "tuple[float, Direction] | None"
    """When something came, in seconds, and which way; None of what is no capture."""


@attrs.define(eq=False)
class Account(abc.ABC):
    """The lines about one stream."""

    walker: Walker
    codec: Codec[object] | None
    """What makes a value of a payload; None to show its bytes."""

    shown_nbytes: int
    """How much is shown of a payload, in bytes, and of a value, in characters."""

    problems: int = attrs.field(init=False, default=0)
    left_unchecked: bool = attrs.field(init=False, default=False)
    """Whether a checksum came that could not be checked."""

    def lines(self, moment: Moment = None) -> Iterator[Line]:
        """Yield lines about all that has come; it came at this moment."""
        while (item := self.walker.next_item()) is not None:
            if isinstance(item, Message) and item.checksum is not None:
                self.left_unchecked |= item.computed is None
                self.problems += not item.is_right
            yield from self._about(item, moment)

    @abc.abstractmethod
    def last_lines(self) -> Iterator[Line]:
        """Yield lines about what came behind the end."""

    @abc.abstractmethod
    def total_lines(self, direction: Direction | None) -> Iterator[Line]:
        """Yield lines about how much there was, of what a capture has one way, or of a stream."""

    @staticmethod
    @abc.abstractmethod
    def error_line(moment: tuple[float, Direction], error: str) -> Line:
        """Return the line about an error that a capture has in the place of bytes."""

    @staticmethod
    @abc.abstractmethod
    def trouble_line(text: str) -> Line:
        """Return the line about what went wrong beside the stream itself."""

    @staticmethod
    @abc.abstractmethod
    def unchecked_lines() -> Iterator[Line]:
        """Yield lines that say why checksums were not checked, and what can be done."""

    @abc.abstractmethod
    def _about(self, item: Item, moment: Moment) -> Iterator[Line]:
        """Yield lines about one item."""

    @property
    def nbytes(self) -> int:
        """How many bytes have come."""
        return self.walker.offset + self.walker.waiting_nbytes + self.walker.behind_nbytes

    def _decoded(self, payload: BytesView) -> object:
        assert self.codec is not None
        if self.codec.takes_views:
            return self.codec.decode(payload)
        if len(payload) <= SMALL_NBYTES:
            return self.codec.decode(payload.to_bytes())
        return self.codec.decode(payload.contiguous())


def said_by(exc: Exception) -> str:
    """Return what an error of somebody's own code says, whatever its `str` does."""
    try:
        return str(exc) or repr(exc)
    except Exception:  # noqa: BLE001  # it is somebody else's
        return type(exc).__name__
