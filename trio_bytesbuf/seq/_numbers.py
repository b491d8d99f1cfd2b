"""What a number is in bytes: layouts, variable lengths, and what is said of one that does not fit.

The methods that put and get them are generated, thirty formats each: `_numbers_get`,
`_numbers_peek`, `_numbers_fast` and `_numbers_put`, all by tools/generate_numbers.py.

Formats: *LEB128* as in DWARF and WebAssembly (seven bits a byte, the lowest first, the top bit says
that more follow); *zigzag* (0, -1, 1, -2, ... as 0, 1, 2, 3, ...) over it as in Protocol Buffers.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from functools import lru_cache
from math import ldexp
from operator import index
from typing import Final, Literal, SupportsIndex

from .._errors import VarintTooLong
from ._flat import count_of, positive_count_of

Order = Literal["big", "little"]

NATIVE: Final[Order] = sys.byteorder

U8: Final = struct.Struct("=B")
I8: Final = struct.Struct("=b")
U16_BE: Final = struct.Struct(">H")
U16_LE: Final = struct.Struct("<H")
U16_NE: Final = struct.Struct("=H")
I16_BE: Final = struct.Struct(">h")
I16_LE: Final = struct.Struct("<h")
I16_NE: Final = struct.Struct("=h")
U32_BE: Final = struct.Struct(">I")
U32_LE: Final = struct.Struct("<I")
U32_NE: Final = struct.Struct("=I")
I32_BE: Final = struct.Struct(">i")
I32_LE: Final = struct.Struct("<i")
I32_NE: Final = struct.Struct("=i")
U64_BE: Final = struct.Struct(">Q")
U64_LE: Final = struct.Struct("<Q")
U64_NE: Final = struct.Struct("=Q")
I64_BE: Final = struct.Struct(">q")
I64_LE: Final = struct.Struct("<q")
I64_NE: Final = struct.Struct("=q")
F16_BE: Final = struct.Struct(">e")
F16_LE: Final = struct.Struct("<e")
F16_NE: Final = struct.Struct("=e")
F32_BE: Final = struct.Struct(">f")
F32_LE: Final = struct.Struct("<f")
F32_NE: Final = struct.Struct("=f")
F64_BE: Final = struct.Struct(">d")
F64_LE: Final = struct.Struct("<d")
F64_NE: Final = struct.Struct("=d")

LAYOUTS_KEPT: Final = 100
"""How many formats in words are kept as a `Struct`; as many as the module `struct` keeps."""

_named = lru_cache(LAYOUTS_KEPT)(struct.Struct)


def layout_of(layout: struct.Struct | str) -> struct.Struct:
    """Return the `Struct` that a format in words describes, or itself."""
    return layout if isinstance(layout, struct.Struct) else _named(layout)


class Packers(dict["struct.Struct | str", Callable[..., bytes]]):
    """What packs, for each layout that was used lately: to look it up costs half of asking for it.

    Always the method of `Struct` itself, so that what comes out is `bytes` and nothing else.
    """

    __slots__ = ()

    def __missing__(self, layout: struct.Struct | str) -> Callable[..., bytes]:
        pack: Callable[..., bytes] = struct.Struct.pack.__get__(layout_of(layout))
        if len(self) >= LAYOUTS_KEPT:
            self.clear()
        self[layout] = pack
        return pack


WIDTH_MAX: Final = 16
"""The most bytes of a number whose width is an argument: as many as the widest with a name."""


def width_of(nbytes: SupportsIndex) -> int:
    """Return how many bytes a number shall have, or raise ValueError."""
    width = count_of(nbytes, "nbytes")
    if width > WIDTH_MAX:
        raise ValueError(f"a number has at most {WIDTH_MAX} bytes, not {width}")
    return width


NAMED_NBITS_MAX: Final = 256
"""Longer integers are not written out in errors. Twice the widest format with a name; Python itself
refuses to write numbers of more than 4300 digits, by a ValueError."""

# Fixed widths


def packed_int(layout: struct.Struct, value: int, what: str) -> bytes:
    """Return an integer's bytes; `what` is the format's name, for the error."""
    try:
        return layout.pack(value)
    except (struct.error, OverflowError):  # which name no value and are no TypeErrors
        raise _misfit(index(value), what) from None


def packed_float(layout: struct.Struct, value: float, what: str) -> bytes:
    """Return a float's bytes."""
    try:
        return layout.pack(value)
    except (struct.error, OverflowError):
        # float() would take text for a number, too; ldexp() would refuse a huge integer by itself.
        raise _misfit(value if isinstance(value, int) else ldexp(value, 0), what) from None


def int_bytes(value: int, width: int, order: Order, what: str, *, signed: bool) -> bytes:
    """Return the bytes of an integer of any width."""
    number = index(value)
    if number and not width:  # to_bytes() of CPython makes no bytes of -1, and says nothing
        raise _misfit(number, what)
    try:
        return number.to_bytes(width, order, signed=signed)
    except OverflowError:
        raise _misfit(number, what) from None


def _misfit(value: float, what: str) -> OverflowError:
    if isinstance(value, int) and (nbits := value.bit_length()) > NAMED_NBITS_MAX:
        return OverflowError(f"an integer of {nbits} bits does not fit {what}")
    return OverflowError(f"{value} does not fit {what}")


# Variable widths

Read = Callable[[bytes, int], "tuple[int, int] | None"]
"""Takes bytes and the most bits that a value may have; returns the value and how many bytes it
had, or None if more must come."""


def varint_nbytes_max(max_bits: SupportsIndex) -> int:
    """Return how many bytes a number of `max_bits` bits has, at the most."""
    return -(-positive_count_of(max_bits, "max_bits") // 7)


def read_uleb128(data: bytes, max_bits: int) -> tuple[int, int] | None:
    """Read an unsigned number."""
    if data and data[0] < 0x80 and max_bits >= 7:  # the common case
        return data[0], 1
    value = shift = 0
    for nbytes, byte in enumerate(data, 1):
        value |= (byte & 0x7F) << shift
        if value >> max_bits:
            break
        if byte < 0x80:
            return value, nbytes
        shift += 7
        if shift >= max_bits:
            break
    else:
        return None
    raise VarintTooLong(max_bits)


def read_sleb128(data: bytes, max_bits: int) -> tuple[int, int] | None:
    """Read a signed number in two's complement."""
    most = varint_nbytes_max(max_bits)
    value = shift = 0
    for nbytes, byte in enumerate(data, 1):
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            if byte & 0x40:
                value -= 1 << shift
            if _signed_nbits(value) <= max_bits:
                return value, nbytes
            break
        if nbytes == most:
            break
    else:
        return None
    raise VarintTooLong(max_bits)


def read_zigzag(data: bytes, max_bits: int) -> tuple[int, int] | None:
    """Read a signed number in zigzag."""
    found = read_uleb128(data, max_bits)
    if found is None:
        return None
    value, nbytes = found
    return (value >> 1) ^ -(value & 1), nbytes


def uleb128(value: int, max_bits: SupportsIndex) -> bytes:
    """Return the bytes of an unsigned number."""
    left = index(value)
    if 0 <= left < 0x80 and index(max_bits) >= 7:  # the common case
        return bytes((left,))
    if left < 0 or left.bit_length() > positive_count_of(max_bits, "max_bits"):
        raise _misfit(left, f"an unsigned LEB128 number of {index(max_bits)} bits")
    data = bytearray()
    while left >= 0x80:
        data.append(left & 0x7F | 0x80)
        left >>= 7
    data.append(left)
    return bytes(data)


def sleb128(value: int, max_bits: SupportsIndex) -> bytes:
    """Return the bytes of a signed number in two's complement."""
    left = _signed(value, max_bits, "a signed LEB128 number")
    data = bytearray()
    while not -0x40 <= left < 0x40:
        data.append(left & 0x7F | 0x80)
        left >>= 7
    data.append(left & 0x7F)
    return bytes(data)


def zigzag(value: int, max_bits: SupportsIndex) -> bytes:
    """Return the bytes of a signed number in zigzag."""
    number = _signed(value, max_bits, "a zigzag number")
    return uleb128(number << 1 if number >= 0 else ~(number << 1), max_bits)


def _signed_nbits(value: int) -> int:
    """Return how many bits it has in two's complement: no limit is made to compare it with."""
    return (value if value >= 0 else ~value).bit_length() + 1


def _signed(value: int, max_bits: SupportsIndex, what: str) -> int:
    number = index(value)
    bits = positive_count_of(max_bits, "max_bits")
    if _signed_nbits(number) > bits:
        raise _misfit(number, f"{what} of {bits} bits")
    return number
