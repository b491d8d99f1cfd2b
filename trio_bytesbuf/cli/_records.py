"""Lines of JSON about what is in a stream: what a `Walker` finds, told to programs.

Each line is an object; `item` says of what. Offsets and lengths are bytes, bytes are hexadecimal
digits, and a key whose value is not known is null.

Law 1. A line is one line of ASCII, whatever the bytes are.
Law 2. A value is told as what `json` has: attrs classes and dataclasses are objects, whose first
       key, `class`, no field can have; enums are their names, bytes are hexadecimal digits, and
       what is none of these is its repr.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import attrs

from ..io import Direction
from ..seq import BytesView
from ._account import Account, said_by
from ._screen import Ink
from ._walk import Goodbye, Header, Message, Problem, Stop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._account import Moment
    from ._screen import Line
    from ._walk import Item

MAX_LEVELS: Final = 50
"""How deep in a value its parts are told; deeper ones are their repr. A guess."""

NAMES: Final = {Direction.RECEIVED: "received", Direction.SENT: "sent"}


@attrs.define(eq=False)
class Records(Account):
    """The lines about one stream, for programs."""

    _has_said_goodbye: bool = attrs.field(init=False, default=False)

    def last_lines(self) -> Iterator[Line]:
        """As `Account.last_lines`."""
        if self._has_said_goodbye and self.walker.behind_nbytes:
            nbytes = self.walker.behind_nbytes
            yield _line("behind", None, offset=self.walker.offset, nbytes=nbytes, **self._behind())

    def total_lines(self, direction: Direction | None) -> Iterator[Line]:
        """As `Account.total_lines`."""
        yield _line(
            "total",
            None,
            direction=None if direction is None else NAMES[direction],
            messages=self.walker.messages,
            nbytes=self.nbytes,
            problems=self.problems,
        )

    @staticmethod
    def error_line(moment: tuple[float, Direction], error: str) -> Line:
        """As `Account.error_line`."""
        return _line("error", moment, complaint=error)

    @staticmethod
    def trouble_line(text: str) -> Line:
        """As `Account.trouble_line`."""
        return _line("trouble", None, complaint=text)

    @staticmethod
    def unchecked_lines() -> Iterator[Line]:
        """As `Account.unchecked_lines`: none, as each message has told it."""
        yield from ()

    def _about(self, item: Item, moment: Moment) -> Iterator[Line]:
        match item:
            case Header():
                version, checksums = int(item.version), item.has_checksums
                yield _line(
                    "header", moment, offset=item.offset, version=version, checksums=checksums
                )
            case Message():
                yield self._about_message(item, moment)
            case Goodbye():
                self._has_said_goodbye = True
                yield _line("goodbye", moment, offset=item.offset)
            case Stop():
                yield _line("stop", moment, offset=item.offset)
            case Problem():
                self.problems += 1
                complaint = item.complaint
                yield _line(
                    "problem", moment, offset=item.offset, complaint=complaint, **self._behind()
                )

    def _about_message(self, message: Message, moment: Moment) -> Line:
        payload = message.payload
        facts: dict[str, object] = {
            "offset": message.offset,
            "number": message.number,
            "nbytes": len(payload),
            "checksum": _digits(message.checksum),
            "computed": _digits(message.computed),
            "payload": payload[: self.shown_nbytes].to_bytes().hex(),
        }
        if self.codec is not None:
            try:
                facts["value"] = jsonable(self._decoded(payload))
            except Exception as exc:  # noqa: BLE001  # a codec, or a type, of somebody's own
                self.problems += 1
                facts["complaint"] = said_by(exc)
        return _line("message", moment, **facts)

    def _behind(self) -> dict[str, object]:
        return {"bytes": self.walker.behind[: self.shown_nbytes].hex()}


def _line(item: str, moment: Moment, **facts: object) -> Line:
    when: dict[str, object] = {}
    if moment is not None:
        when = {"seconds": moment[0], "direction": NAMES[moment[1]]}
    return ((json.dumps({"item": item, **when, **facts}), Ink.PLAIN),)


def _digits(checksum: int | None) -> str | None:
    return None if checksum is None else f"{checksum:016x}"


def jsonable(value: object, levels: int = MAX_LEVELS) -> object:
    """Return what stands for `value` in JSON (Law 2)."""
    inside = levels - 1
    match value:
        case enum.Enum():
            return value.name
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else repr(value)
        case bytes() | bytearray() | memoryview() | BytesView():
            return bytes(value).hex()
        case _ if not levels:
            return repr(value)
        case Mapping():
            return {_key(key): jsonable(each, inside) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [jsonable(each, inside) for each in value]
    if attrs.has(kind := type(value)):
        names = [field.name for field in attrs.fields(kind)]
    elif dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
    else:
        return repr(value)
    told = {name: jsonable(getattr(value, name), inside) for name in names}
    return {"class": kind.__name__, **told}


def _key(key: object) -> str:
    told = jsonable(key)
    return told if isinstance(told, str) else json.dumps(told)
