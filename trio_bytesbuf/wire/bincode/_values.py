"""What values must be to be written, and how they are shown in complaints.

Law 1. Nothing is converted that is not the same value in the end: no text for a number, no bytes
       for text, no True for 1, no 2**53 + 1 for a float, no 2**24 + 1 for an f32.
Law 2. What comes back is of the exact class, so no method that a subclass overrides is asked again.
"""

from __future__ import annotations

import reprlib
import struct
from collections import Counter
from collections.abc import Sequence
from typing import Final

import attrs

from ..._errors import BytesBufError
from ...seq import BytesView

MAX_SHOWN_NBITS: Final = 2_048
"""Larger numbers are shown by their size. Python may be told to refuse to print more digits."""


class _Repr(reprlib.Repr):
    """Shows what Python does not print, too."""

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() > MAX_SHOWN_NBITS:
            return f"<an int of {x.bit_length()} bits>"
        return super().repr_int(x, level)


_REPR: Final = _Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 60
_REPR.maxlevel = 3

_BITS32: Final = struct.Struct("<I")
_BITS64: Final = struct.Struct("<Q")
_FLOAT32: Final = struct.Struct("<f")
_FLOAT64: Final = struct.Struct("<d")


@attrs.define(eq=False, slots=False)
class Complaint(BytesBufError):
    """Where the explaining path stopped; the error that the user sees is made of it."""

    text: str
    offset: int = 0
    path: list[str] = attrs.field(factory=list)
    """From the inside to the outside."""

    def where(self) -> str:
        """Return the path as it is read."""
        return "".join(reversed(self.path))


def shown(value: object) -> str:
    """Return a short text of any value, whatever its `repr` does."""
    try:
        return _REPR.repr(value)
    except Exception:  # noqa: BLE001  # it is somebody else's
        return f"<an instance of {type(value).__name__}>"


def reason(exc: Exception) -> str:
    """Return what an error of somebody else's code says, whatever its `str` does."""
    try:
        text = str(exc)
    except Exception:  # noqa: BLE001  # it is somebody else's
        text = ""
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__


def mistaken(value: object, expected: str) -> Complaint:
    """Return the complaint that `value` is of the wrong class."""
    return Complaint(f"{expected} is expected, not {type(value).__name__} {shown(value)}")


def exact_int(value: object) -> int:
    """Return an int; not one of True."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__index__(value)
    raise mistaken(value, "an int")


def exact_float(value: object) -> float:
    """Return a float; of an int, if no digit is lost."""
    if isinstance(value, float):
        return float.__float__(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise mistaken(value, "a float")
    number = exact_int(value)
    try:
        made = float(number)
    except OverflowError:
        raise Complaint(f"{shown(number)} is too large for a float") from None
    if made != number:
        raise Complaint(f"a float would lose digits of {shown(number)}")
    return made


def exact_f32(value: object) -> float:
    """Return a float; of an int, if an f32 loses no digit. (A float is rounded, as in Rust.)"""
    made = exact_float(value)
    if isinstance(value, float):
        return made
    try:
        (kept,) = _FLOAT32.unpack(_FLOAT32.pack(made))
    except OverflowError:
        raise Complaint(f"{shown(value)} does not fit f32") from None
    if kept != made:
        raise Complaint(f"an f32 would lose digits of {shown(value)}")
    return made


def exact_str(value: object) -> str:
    """Return a str."""
    if isinstance(value, str):
        return str.__str__(value)
    raise mistaken(value, "a str")


def flat_bytes(value: object) -> bytes | memoryview:
    """Return bytes whose number cannot change any more, and whose length is that number."""
    if isinstance(value, bytes):
        return value if type(value) is bytes else b"".join((value,))
    if isinstance(value, bytearray):
        return bytes(memoryview(value))
    if isinstance(value, memoryview):
        if value.itemsize != 1 or value.ndim != 1 or not value.contiguous:
            has = f"items of {value.itemsize} bytes in {value.ndim} dimensions; cast it"
            if value.itemsize == 1 and value.ndim == 1:
                has = "gaps; take another slice"
            raise Complaint(
                f"a memoryview of single bytes without gaps is expected, and this has {has}, or "
                "copy it by bytes()"
            )
        return value
    if isinstance(value, BytesView):
        return value.contiguous()
    raise mistaken(value, "bytes")


def pack_f32(value: float) -> bytes:
    """Write 32 bits. The bits of a NaN stay, the quiet bit included, which conversions set.

    Raises:
      OverflowError: it is too large.
    """
    if value == value:
        return _FLOAT32.pack(value)
    (bits,) = _BITS64.unpack(_FLOAT64.pack(value))
    mantissa = bits >> 29 & 0x7FFFFF or 0x400000
    return _BITS32.pack(bits >> 32 & 0x8000_0000 | 0x7F80_0000 | mantissa)


def unpack_f32(data: bytes | memoryview, at: int) -> float:
    """Read 32 bits. The bits of a NaN stay."""
    (value,) = _FLOAT32.unpack_from(data, at)
    if value == value:
        return float(value)
    (bits,) = _BITS32.unpack_from(data, at)
    wide = (bits & 0x8000_0000) << 32 | 0x7FF0_0000_0000_0000 | (bits & 0x7FFFFF) << 29
    return float(_FLOAT64.unpack(_BITS64.pack(wide))[0])


def varint(value: int) -> bytes:
    """Return a number, at least 0 and of at most 128 bits, as bincode writes it."""
    if value < 251:
        return bytes((value,))
    for marker, nbits in ((251, 16), (252, 32), (253, 64), (254, 128)):
        if value >> nbits == 0:
            return bytes((marker,)) + value.to_bytes(nbits // 8, "little")
    raise Complaint(f"{shown(value)} has more than 128 bits")


def zigzag(value: int) -> int:
    """Return the number that stands for a signed one: 0, -1, 1, -2 are 0, 1, 2, 3."""
    return value << 1 if value >= 0 else (-value << 1) - 1


def unzigzag(value: int) -> int:
    """Return the signed number that `value` stands for."""
    return value >> 1 ^ -(value & 1)


def is_crowded(keys: Sequence[object], most: int) -> bool:
    """Say whether more than `most` of the keys have one and the same hash."""
    if len(keys) <= most:
        return False
    hashes = list(map(hash, keys))
    if len(hashes) - len(set(hashes)) < most:
        return False  # so it is, nearly always
    return max(Counter(hashes).values()) > most


VARINT_NBYTES: Final = {251: 2, 252: 4, 253: 8, 254: 16}
"""How many bytes follow which marker."""

CHAR_NBYTES: Final = bytes(
    1 if lead < 0x80 else 2 if 0xC2 <= lead < 0xE0 else 3 if 0xE0 <= lead < 0xF0
    else 4 if 0xF0 <= lead < 0xF5 else 0
    for lead in range(256)
)  # fmt: skip
"""How many bytes a character has that begins with this one; 0: none does."""
