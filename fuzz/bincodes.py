"""bincode: two paths with one outcome, whatever the bytes; and what is a value comes back."""

from __future__ import annotations

import enum
from datetime import timedelta
from typing import Annotated, Any, NamedTuple

import attrs
from _program import Program, in_pieces, within

from trio_bytesbuf import BytesView, DecodeError
from trio_bytesbuf.wire import (
    Array,
    Bincode,
    ChronoDateTime,
    Err,
    Ok,
    Some,
    SystemTime,
    char,
    f32,
    i8,
    i64,
    i128,
    u8,
    u16,
    u64,
    u128,
)
from trio_bytesbuf.wire.bincode._explain_decode import explain_decode

LIMITS = {"max_nbytes": 20_000, "max_depth": 40, "max_empties": 100}

PER_BYTE = 1000
"""A byte can be a record with a dict of its own, and at some depth a frame or three."""


class Kind(enum.Enum):
    """An enum without payloads."""

    ONE = 1
    TWO = 2
    THREE = 3


class Pair(NamedTuple):
    """A record."""

    number: u16
    text: str


@attrs.frozen
class Empty:
    """A record without fields."""


@attrs.frozen
class Tree:
    """A record that contains itself."""

    value: i64
    more: list[Tree]
    next: Tree | None = None


@attrs.frozen
class Wide:
    """A record of many kinds of fields."""

    a: u8
    b: bool
    c: i128
    d: float
    e: f32
    f: char
    g: bytes
    h: BytesView
    i: Kind
    j: Pair | None
    k: tuple[u16, ...]


TYPES: tuple[Any, ...] = (
    Wide,
    Tree,
    list[Pair],
    dict[str, list[u64]],
    dict[Pair, Kind],
    frozenset[frozenset[i8]],
    set[float],
    Empty | Pair | str,
    Ok[Tree] | Err[str],
    list[Empty],
    list[tuple[None, tuple[()]]],
    Some[str | None] | None,
    tuple[u8, i64, u128, BytesView],
    Annotated[list[u16], Array(5)],
    Annotated[bytes, Array(7)],
    list[bool | None],
    dict[u8, dict[u8, bytes]],
    timedelta | SystemTime,
    ChronoDateTime,
    list[BytesView],
    str,
    list[char],
)


@attrs.frozen
class _Made:
    codec: Bincode[Any]
    again: Bincode[Any]


_made: dict[int, _Made] = {}


def _codec(index: int) -> _Made:
    if index not in _made:
        again = {**LIMITS, "max_nbytes": 1 << 20}
        _made[index] = _Made(Bincode(TYPES[index], **LIMITS), Bincode(TYPES[index], **again))
    return _made[index]


def bincode(data: bytes) -> None:
    """Bytes as a value of each of some types."""
    program = Program(data)
    made = _codec(program.byte() % len(TYPES))
    sizes = program.take(1)
    wire = program.rest()

    def alone() -> Any:
        return _fast(made.codec, wire)

    kind, found = expected = within(len(wire), PER_BYTE, alone, data)
    slow = _slow(made.codec, wire)
    assert _told(slow) == _told(expected), (slow, expected)
    for form in (memoryview(wire), bytearray(wire), in_pieces(wire, sizes), in_pieces(wire, b"\1")):
        assert _told(_fast(made.codec, form)) == _told(expected), type(form)
    if kind == "error":
        assert 0 <= found[1] <= len(wire)
        return
    again = made.again.encode(found)
    # A number may be longer on the wire than it need be; text of times may be longer than sent.
    assert _told(_fast(made.again, again)) == _told(expected)
    # and a set has another order each time.
    assert len(made.again.encode(made.again.decode(again))) == len(again)
    assert made.again.encoded_size(found) == len(again)


def _told(outcome: tuple[str, Any]) -> tuple[str, object]:
    """Return an outcome as it can be compared: NaNs are equal, and pieces make no difference."""
    return outcome[0], _flat(outcome[1])


def _flat(value: Any) -> object:
    if isinstance(value, BytesView):
        return value.to_bytes()
    if attrs.has(type(value)):
        return type(value), [_flat(getattr(value, one.name)) for one in attrs.fields(type(value))]
    if isinstance(value, (set, frozenset)):
        return type(value), sorted((_flat(item) for item in value), key=repr)
    if isinstance(value, dict):
        return [(_flat(key), _flat(item)) for key, item in value.items()]
    if isinstance(value, (tuple, list)):
        return type(value), [_flat(item) for item in value]
    return repr(value)


def _fast(codec: Bincode[Any], payload: Any) -> tuple[str, Any]:
    try:
        return "value", codec.decode(payload)
    except DecodeError as error:
        return "error", (error.complaint, error.offset, error.path)


def _slow(codec: Bincode[Any], payload: bytes) -> tuple[str, Any]:
    try:
        return "value", explain_decode(codec._schema, BytesView(payload), **LIMITS)
    except DecodeError as error:
        return "error", (error.complaint, error.offset, error.path)
