"""Numbers to the end of a byte sequence. Made by tools/generate_numbers.py: change that.

The names are those of the Rust crates; see `_numbers_get`. What does not fit its format is packed
once more by `packed_int` or `packed_float`, which say why it does not.
"""

from __future__ import annotations

import abc
from struct import error
from typing import SupportsIndex

from ._numbers import (
    F16_BE,
    F16_LE,
    F16_NE,
    F32_BE,
    F32_LE,
    F32_NE,
    F64_BE,
    F64_LE,
    F64_NE,
    I8,
    I16_BE,
    I16_LE,
    I16_NE,
    I32_BE,
    I32_LE,
    I32_NE,
    I64_BE,
    I64_LE,
    I64_NE,
    NATIVE,
    U8,
    U16_BE,
    U16_LE,
    U16_NE,
    U32_BE,
    U32_LE,
    U32_NE,
    U64_BE,
    U64_LE,
    U64_NE,
    int_bytes,
    packed_float,
    packed_int,
    sleb128,
    uleb128,
    width_of,
    zigzag,
)

_u8 = U8.pack
_u16_be = U16_BE.pack
_u16_le = U16_LE.pack
_u16_ne = U16_NE.pack
_u32_be = U32_BE.pack
_u32_le = U32_LE.pack
_u32_ne = U32_NE.pack
_u64_be = U64_BE.pack
_u64_le = U64_LE.pack
_u64_ne = U64_NE.pack
_i8 = I8.pack
_i16_be = I16_BE.pack
_i16_le = I16_LE.pack
_i16_ne = I16_NE.pack
_i32_be = I32_BE.pack
_i32_le = I32_LE.pack
_i32_ne = I32_NE.pack
_i64_be = I64_BE.pack
_i64_le = I64_LE.pack
_i64_ne = I64_NE.pack
_f16_be = F16_BE.pack
_f16_le = F16_LE.pack
_f16_ne = F16_NE.pack
_f32_be = F32_BE.pack
_f32_le = F32_LE.pack
_f32_ne = F32_NE.pack
_f64_be = F64_BE.pack
_f64_le = F64_LE.pack
_f64_ne = F64_NE.pack


class PutNumbers(abc.ABC):
    """Methods that put numbers.

    Each raises `BufferFull` if there is no room for the number, OverflowError if the number does
    not fit its format and TypeError if it is none; nothing was put then.
    """

    __slots__ = ()

    @abc.abstractmethod
    def put_slice(self, data: bytes, /) -> None: ...

    def put_u8(self, value: int) -> None:
        """Append `value` as an unsigned 8-bit integer."""
        try:
            data = _u8(value)
        except (error, OverflowError):
            data = packed_int(U8, value, "an unsigned 8-bit integer")
        self.put_slice(data)

    def put_u16_be(self, value: int) -> None:
        """Append `value` as an unsigned 16-bit big-endian integer."""
        try:
            data = _u16_be(value)
        except (error, OverflowError):
            data = packed_int(U16_BE, value, "an unsigned 16-bit big-endian integer")
        self.put_slice(data)

    def put_u16_le(self, value: int) -> None:
        """Append `value` as an unsigned 16-bit little-endian integer."""
        try:
            data = _u16_le(value)
        except (error, OverflowError):
            data = packed_int(U16_LE, value, "an unsigned 16-bit little-endian integer")
        self.put_slice(data)

    def put_u16_ne(self, value: int) -> None:
        """Append `value` as an unsigned 16-bit native order integer."""
        try:
            data = _u16_ne(value)
        except (error, OverflowError):
            data = packed_int(U16_NE, value, "an unsigned 16-bit native order integer")
        self.put_slice(data)

    def put_u32_be(self, value: int) -> None:
        """Append `value` as an unsigned 32-bit big-endian integer."""
        try:
            data = _u32_be(value)
        except (error, OverflowError):
            data = packed_int(U32_BE, value, "an unsigned 32-bit big-endian integer")
        self.put_slice(data)

    def put_u32_le(self, value: int) -> None:
        """Append `value` as an unsigned 32-bit little-endian integer."""
        try:
            data = _u32_le(value)
        except (error, OverflowError):
            data = packed_int(U32_LE, value, "an unsigned 32-bit little-endian integer")
        self.put_slice(data)

    def put_u32_ne(self, value: int) -> None:
        """Append `value` as an unsigned 32-bit native order integer."""
        try:
            data = _u32_ne(value)
        except (error, OverflowError):
            data = packed_int(U32_NE, value, "an unsigned 32-bit native order integer")
        self.put_slice(data)

    def put_u64_be(self, value: int) -> None:
        """Append `value` as an unsigned 64-bit big-endian integer."""
        try:
            data = _u64_be(value)
        except (error, OverflowError):
            data = packed_int(U64_BE, value, "an unsigned 64-bit big-endian integer")
        self.put_slice(data)

    def put_u64_le(self, value: int) -> None:
        """Append `value` as an unsigned 64-bit little-endian integer."""
        try:
            data = _u64_le(value)
        except (error, OverflowError):
            data = packed_int(U64_LE, value, "an unsigned 64-bit little-endian integer")
        self.put_slice(data)

    def put_u64_ne(self, value: int) -> None:
        """Append `value` as an unsigned 64-bit native order integer."""
        try:
            data = _u64_ne(value)
        except (error, OverflowError):
            data = packed_int(U64_NE, value, "an unsigned 64-bit native order integer")
        self.put_slice(data)

    def put_u128_be(self, value: int) -> None:
        """Append `value` as an unsigned 128-bit big-endian integer."""
        what = "an unsigned 128-bit big-endian integer"
        self.put_slice(int_bytes(value, 16, "big", what, signed=False))

    def put_u128_le(self, value: int) -> None:
        """Append `value` as an unsigned 128-bit little-endian integer."""
        what = "an unsigned 128-bit little-endian integer"
        self.put_slice(int_bytes(value, 16, "little", what, signed=False))

    def put_u128_ne(self, value: int) -> None:
        """Append `value` as an unsigned 128-bit native order integer."""
        what = "an unsigned 128-bit native order integer"
        self.put_slice(int_bytes(value, 16, NATIVE, what, signed=False))

    def put_i8(self, value: int) -> None:
        """Append `value` as a signed 8-bit integer."""
        try:
            data = _i8(value)
        except (error, OverflowError):
            data = packed_int(I8, value, "a signed 8-bit integer")
        self.put_slice(data)

    def put_i16_be(self, value: int) -> None:
        """Append `value` as a signed 16-bit big-endian integer."""
        try:
            data = _i16_be(value)
        except (error, OverflowError):
            data = packed_int(I16_BE, value, "a signed 16-bit big-endian integer")
        self.put_slice(data)

    def put_i16_le(self, value: int) -> None:
        """Append `value` as a signed 16-bit little-endian integer."""
        try:
            data = _i16_le(value)
        except (error, OverflowError):
            data = packed_int(I16_LE, value, "a signed 16-bit little-endian integer")
        self.put_slice(data)

    def put_i16_ne(self, value: int) -> None:
        """Append `value` as a signed 16-bit native order integer."""
        try:
            data = _i16_ne(value)
        except (error, OverflowError):
            data = packed_int(I16_NE, value, "a signed 16-bit native order integer")
        self.put_slice(data)

    def put_i32_be(self, value: int) -> None:
        """Append `value` as a signed 32-bit big-endian integer."""
        try:
            data = _i32_be(value)
        except (error, OverflowError):
            data = packed_int(I32_BE, value, "a signed 32-bit big-endian integer")
        self.put_slice(data)

    def put_i32_le(self, value: int) -> None:
        """Append `value` as a signed 32-bit little-endian integer."""
        try:
            data = _i32_le(value)
        except (error, OverflowError):
            data = packed_int(I32_LE, value, "a signed 32-bit little-endian integer")
        self.put_slice(data)

    def put_i32_ne(self, value: int) -> None:
        """Append `value` as a signed 32-bit native order integer."""
        try:
            data = _i32_ne(value)
        except (error, OverflowError):
            data = packed_int(I32_NE, value, "a signed 32-bit native order integer")
        self.put_slice(data)

    def put_i64_be(self, value: int) -> None:
        """Append `value` as a signed 64-bit big-endian integer."""
        try:
            data = _i64_be(value)
        except (error, OverflowError):
            data = packed_int(I64_BE, value, "a signed 64-bit big-endian integer")
        self.put_slice(data)

    def put_i64_le(self, value: int) -> None:
        """Append `value` as a signed 64-bit little-endian integer."""
        try:
            data = _i64_le(value)
        except (error, OverflowError):
            data = packed_int(I64_LE, value, "a signed 64-bit little-endian integer")
        self.put_slice(data)

    def put_i64_ne(self, value: int) -> None:
        """Append `value` as a signed 64-bit native order integer."""
        try:
            data = _i64_ne(value)
        except (error, OverflowError):
            data = packed_int(I64_NE, value, "a signed 64-bit native order integer")
        self.put_slice(data)

    def put_i128_be(self, value: int) -> None:
        """Append `value` as a signed 128-bit big-endian integer."""
        what = "a signed 128-bit big-endian integer"
        self.put_slice(int_bytes(value, 16, "big", what, signed=True))

    def put_i128_le(self, value: int) -> None:
        """Append `value` as a signed 128-bit little-endian integer."""
        what = "a signed 128-bit little-endian integer"
        self.put_slice(int_bytes(value, 16, "little", what, signed=True))

    def put_i128_ne(self, value: int) -> None:
        """Append `value` as a signed 128-bit native order integer."""
        what = "a signed 128-bit native order integer"
        self.put_slice(int_bytes(value, 16, NATIVE, what, signed=True))

    def put_f16_be(self, value: float) -> None:
        """Append `value` as a 16-bit big-endian float."""
        try:
            data = _f16_be(value)
        except (error, OverflowError):
            data = packed_float(F16_BE, value, "a 16-bit big-endian float")
        self.put_slice(data)

    def put_f16_le(self, value: float) -> None:
        """Append `value` as a 16-bit little-endian float."""
        try:
            data = _f16_le(value)
        except (error, OverflowError):
            data = packed_float(F16_LE, value, "a 16-bit little-endian float")
        self.put_slice(data)

    def put_f16_ne(self, value: float) -> None:
        """Append `value` as a 16-bit native order float."""
        try:
            data = _f16_ne(value)
        except (error, OverflowError):
            data = packed_float(F16_NE, value, "a 16-bit native order float")
        self.put_slice(data)

    def put_f32_be(self, value: float) -> None:
        """Append `value` as a 32-bit big-endian float."""
        try:
            data = _f32_be(value)
        except (error, OverflowError):
            data = packed_float(F32_BE, value, "a 32-bit big-endian float")
        self.put_slice(data)

    def put_f32_le(self, value: float) -> None:
        """Append `value` as a 32-bit little-endian float."""
        try:
            data = _f32_le(value)
        except (error, OverflowError):
            data = packed_float(F32_LE, value, "a 32-bit little-endian float")
        self.put_slice(data)

    def put_f32_ne(self, value: float) -> None:
        """Append `value` as a 32-bit native order float."""
        try:
            data = _f32_ne(value)
        except (error, OverflowError):
            data = packed_float(F32_NE, value, "a 32-bit native order float")
        self.put_slice(data)

    def put_f64_be(self, value: float) -> None:
        """Append `value` as a 64-bit big-endian float."""
        try:
            data = _f64_be(value)
        except (error, OverflowError):
            data = packed_float(F64_BE, value, "a 64-bit big-endian float")
        self.put_slice(data)

    def put_f64_le(self, value: float) -> None:
        """Append `value` as a 64-bit little-endian float."""
        try:
            data = _f64_le(value)
        except (error, OverflowError):
            data = packed_float(F64_LE, value, "a 64-bit little-endian float")
        self.put_slice(data)

    def put_f64_ne(self, value: float) -> None:
        """Append `value` as a 64-bit native order float."""
        try:
            data = _f64_ne(value)
        except (error, OverflowError):
            data = packed_float(F64_NE, value, "a 64-bit native order float")
        self.put_slice(data)

    def put_uint_be(self, value: int, nbytes: SupportsIndex) -> None:
        """Append `value` as an unsigned big-endian integer of `nbytes` bytes, 0 to 16."""
        what = f"an unsigned big-endian integer of {nbytes} bytes"
        self.put_slice(int_bytes(value, width_of(nbytes), "big", what, signed=False))

    def put_uint_le(self, value: int, nbytes: SupportsIndex) -> None:
        """Append `value` as an unsigned little-endian integer of `nbytes` bytes, 0 to 16."""
        what = f"an unsigned little-endian integer of {nbytes} bytes"
        self.put_slice(int_bytes(value, width_of(nbytes), "little", what, signed=False))

    def put_uint_ne(self, value: int, nbytes: SupportsIndex) -> None:
        """Append `value` as an unsigned native order integer of `nbytes` bytes, 0 to 16."""
        what = f"an unsigned native order integer of {nbytes} bytes"
        self.put_slice(int_bytes(value, width_of(nbytes), NATIVE, what, signed=False))

    def put_int_be(self, value: int, nbytes: SupportsIndex) -> None:
        """Append `value` as a signed big-endian integer of `nbytes` bytes, 0 to 16."""
        what = f"a signed big-endian integer of {nbytes} bytes"
        self.put_slice(int_bytes(value, width_of(nbytes), "big", what, signed=True))

    def put_int_le(self, value: int, nbytes: SupportsIndex) -> None:
        """Append `value` as a signed little-endian integer of `nbytes` bytes, 0 to 16."""
        what = f"a signed little-endian integer of {nbytes} bytes"
        self.put_slice(int_bytes(value, width_of(nbytes), "little", what, signed=True))

    def put_int_ne(self, value: int, nbytes: SupportsIndex) -> None:
        """Append `value` as a signed native order integer of `nbytes` bytes, 0 to 16."""
        what = f"a signed native order integer of {nbytes} bytes"
        self.put_slice(int_bytes(value, width_of(nbytes), NATIVE, what, signed=True))

    def put_uleb128(self, value: int, max_bits: SupportsIndex = 64) -> None:
        """Append `value` as an unsigned LEB128 number, which may have `max_bits` bits."""
        self.put_slice(uleb128(value, max_bits))

    def put_sleb128(self, value: int, max_bits: SupportsIndex = 64) -> None:
        """Append `value` as a signed LEB128 number, which may have `max_bits` bits."""
        self.put_slice(sleb128(value, max_bits))

    def put_zigzag(self, value: int, max_bits: SupportsIndex = 64) -> None:
        """Append `value` as a signed number in zigzag, which may have `max_bits` bits."""
        self.put_slice(zigzag(value, max_bits))
