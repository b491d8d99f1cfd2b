"""What compiled encoders and decoders call for the rarer cases, and the tables they look into.

Whatever raises here, and however, only says "not so": the explaining path finds out why.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn

from ...seq import BytesView
from ._values import (
    exact_f32,
    exact_float,
    exact_int,
    flat_bytes,
    pack_f32,
    unpack_f32,
    unzigzag,
    zigzag,
)


class Refused(Exception):
    """A value or a message is not what it should be."""


def refuse(*_: object) -> NoReturn:
    """Raise, where Python wants an expression."""
    raise Refused


# Reading

_U32: Final = struct.Struct("<I").unpack_from
_U64: Final = struct.Struct("<Q").unpack_from
_U128: Final = struct.Struct("<QQ").unpack_from

SMALL_BYTES: Final = bytes(range(251))
"""The bytes that are numbers by themselves."""

UNZIGZAG: Final = tuple(unzigzag(number) for number in range(251))
"""The signed number that a small one stands for."""


def varint(data: bytes | memoryview, at: int, marker: int, most: int) -> tuple[int, int]:
    """Return the number behind a marker, at most `most`, and where it ends.

    The marker is not 251, which is read in place.

    Raises:
      Refused, struct.error: there is none.
    """
    if marker == 252:
        number = _U32(data, at)[0]
        at += 4
    elif marker == 253:
        number = _U64(data, at)[0]
        at += 8
    elif marker == 254 and most >> 64:
        low, high = _U128(data, at)
        number = high << 64 | low
        at += 16
    else:
        raise Refused
    if number > most:
        raise Refused
    return number, at


def floats_f32(data: bytes | memoryview, at: int, count: int) -> Sequence[float]:
    """Read so many."""
    values = struct.unpack_from(f"<{count}f", data, at)
    total = sum(values)
    if total == total:  # none of them is a NaN, which would lose bits
        return values
    return [unpack_f32(data, at + 4 * index) for index in range(count)]


# Writing

BYTE: Final = tuple(bytes((number,)) for number in range(256))
"""A byte, as bytes."""

SIGNED: Final = tuple(
    BYTE[zigzag(number)] for number in (*range(126), *range(-125, 0))
)  # an index below 0 counts from the end
"""A small signed number, as it is written."""

_PACK16: Final = struct.Struct("<BH").pack
_PACK32: Final = struct.Struct("<BI").pack
_PACK64: Final = struct.Struct("<BQ").pack


def large_u16(number: int) -> bytes:
    """Return a number above 250 as it is written. Raises struct.error if it does not fit."""
    return _PACK16(251, number)


def large_u32(number: int) -> bytes:
    """Return a number above 250 as it is written. Raises struct.error if it does not fit."""
    return _PACK16(251, number) if number < 0x10000 else _PACK32(252, number)


def large_u64(number: int) -> bytes:
    """Return a number above 250 as it is written. Raises struct.error if it does not fit."""
    if number < 0x10000:
        return _PACK16(251, number)
    return _PACK32(252, number) if number < 0x1_0000_0000 else _PACK64(253, number)


def large_u128(number: int) -> bytes:
    """Return a number above 250 as it is written. Raises OverflowError if it does not fit."""
    if number < 0x1_0000_0000_0000_0000:
        return large_u64(number)
    return b"\xfe" + number.to_bytes(16, "little")


def large_i16(number: int) -> bytes:
    """Return a number below -125 or above 125. Raises struct.error if it does not fit."""
    return large_u16(zigzag(number))


def large_i32(number: int) -> bytes:
    """Return a number below -125 or above 125. Raises struct.error if it does not fit."""
    return large_u32(zigzag(number))


def large_i64(number: int) -> bytes:
    """Return a number below -125 or above 125. Raises struct.error if it does not fit."""
    return large_u64(zigzag(number))


def large_i128(number: int) -> bytes:
    """Return a number below -125 or above 125. Raises OverflowError if it does not fit."""
    return large_u128(zigzag(number))


LARGE: Final = {
    (16, False): large_u16,
    (32, False): large_u32,
    (64, False): large_u64,
    (128, False): large_u128,
    (16, True): large_i16,
    (32, True): large_i32,
    (64, True): large_i64,
    (128, True): large_i128,
}
"""By width and sign."""

_INT: Final = {int}
_BOOL: Final = {bool}
_FLOAT: Final = {float}


def _ints(values: Sequence[Any]) -> Sequence[int]:
    return values if _INT.issuperset(map(type, values)) else list(map(exact_int, values))


def _floats(values: Sequence[Any], exact: Callable[[object], float]) -> Sequence[float]:
    return values if _FLOAT.issuperset(map(type, values)) else list(map(exact, values))


def bytes_of_u8(values: Sequence[Any]) -> bytes:
    """Write numbers of one byte."""
    return bytes(_ints(values))


def bytes_of_i8(values: Sequence[Any]) -> bytes:
    """Write numbers of one byte."""
    return struct.pack(f"{len(values)}b", *_ints(values))


def bytes_of_bool(values: Sequence[Any]) -> bytes:
    """Write bools."""
    if not _BOOL.issuperset(map(type, values)):
        raise Refused
    return bytes(values)


def bytes_of_f64(values: Sequence[Any]) -> bytes:
    """Write floats."""
    return struct.pack(f"<{len(values)}d", *_floats(values, exact_float))


def bytes_of_f32(values: Sequence[Any]) -> bytes:
    """Write floats."""
    return b"".join(map(pack_f32, _floats(values, exact_f32)))


def parts_of_unsigned(values: Sequence[Any], large: Any) -> Iterable[bytes]:
    """Write numbers of variable length."""
    values = _ints(values)
    try:
        small = bytes(values)
    except ValueError:
        pass
    else:
        if not small.translate(None, SMALL_BYTES):
            return (small,)
    return [BYTE[value] if 0 <= value < 251 else large(value) for value in values]


def parts_of_signed(values: Sequence[Any], large: Any) -> Iterable[bytes]:
    """Write numbers of variable length."""
    values = _ints(values)
    return [SIGNED[value] if -126 < value < 126 else large(value) for value in values]


def pieces_of(value: object) -> tuple[int, tuple[bytes | memoryview, ...]]:
    """Return how many bytes there are, and the pieces they lie in."""
    if type(value) is BytesView:
        return value._nbytes, value._pieces
    data = flat_bytes(value)
    return len(data), (data,)


def kind_of(value: object, kinds: Mapping[type, int]) -> int:
    """Return which variant of a union a value is, whose class is not one of the `kinds`."""
    for kind in type(value).__mro__:
        if kind in kinds:
            return kinds[kind]
    raise Refused
