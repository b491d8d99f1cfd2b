"""Numbers off the front of a memoryview. Made by tools/generate_numbers.py: change that.

The same as `_numbers_get` has, for a cursor that keeps a memoryview and an offset in it: less than
half the time, because nothing is called but what unpacks; `super()` would cost a twentieth more,
even where it is not reached. A number that is not all in this memoryview is left to the slow way,
which also finds out whether it is there at all.
"""

from __future__ import annotations

from struct import error

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
)
from ._numbers_get import GetNumbers

_u8 = U8.unpack_from
_u16_be = U16_BE.unpack_from
_u16_le = U16_LE.unpack_from
_u16_ne = U16_NE.unpack_from
_u32_be = U32_BE.unpack_from
_u32_le = U32_LE.unpack_from
_u32_ne = U32_NE.unpack_from
_u64_be = U64_BE.unpack_from
_u64_le = U64_LE.unpack_from
_u64_ne = U64_NE.unpack_from
_i8 = I8.unpack_from
_i16_be = I16_BE.unpack_from
_i16_le = I16_LE.unpack_from
_i16_ne = I16_NE.unpack_from
_i32_be = I32_BE.unpack_from
_i32_le = I32_LE.unpack_from
_i32_ne = I32_NE.unpack_from
_i64_be = I64_BE.unpack_from
_i64_le = I64_LE.unpack_from
_i64_ne = I64_NE.unpack_from
_f16_be = F16_BE.unpack_from
_f16_le = F16_LE.unpack_from
_f16_ne = F16_NE.unpack_from
_f32_be = F32_BE.unpack_from
_f32_le = F32_LE.unpack_from
_f32_ne = F32_NE.unpack_from
_f64_be = F64_BE.unpack_from
_f64_le = F64_LE.unpack_from
_f64_ne = F64_NE.unpack_from


class FastNumbers(GetNumbers):
    """Methods that get, over `_chunk` from `_offset` on; a subclass has slots for both."""

    _chunk: memoryview
    _offset: int

    def get_u8(self) -> int:
        """Take an unsigned 8-bit integer."""
        value: int
        offset = self._offset
        try:
            (value,) = _u8(self._chunk, offset)
        except error:
            return GetNumbers.get_u8(self)
        self._offset = offset + 1
        return value

    def get_u16_be(self) -> int:
        """Take an unsigned 16-bit big-endian integer."""
        value: int
        offset = self._offset
        try:
            (value,) = _u16_be(self._chunk, offset)
        except error:
            return GetNumbers.get_u16_be(self)
        self._offset = offset + 2
        return value

    def get_u16_le(self) -> int:
        """Take an unsigned 16-bit little-endian integer."""
        value: int
        offset = self._offset
        try:
            (value,) = _u16_le(self._chunk, offset)
        except error:
            return GetNumbers.get_u16_le(self)
        self._offset = offset + 2
        return value

    def get_u16_ne(self) -> int:
        """Take an unsigned 16-bit native order integer."""
        value: int
        offset = self._offset
        try:
            (value,) = _u16_ne(self._chunk, offset)
        except error:
            return GetNumbers.get_u16_ne(self)
        self._offset = offset + 2
        return value

    def get_u32_be(self) -> int:
        """Take an unsigned 32-bit big-endian integer."""
        value: int
        offset = self._offset
        try:
            (value,) = _u32_be(self._chunk, offset)
        except error:
            return GetNumbers.get_u32_be(self)
        self._offset = offset + 4
        return value

    def get_u32_le(self) -> int:
        """Take an unsigned 32-bit little-endian integer."""
        value: int
        offset = self._offset
        try:
            (value,) = _u32_le(self._chunk, offset)
        except error:
            return GetNumbers.get_u32_le(self)
        self._offset = offset + 4
        return value

    def get_u32_ne(self) -> int:
        """Take an unsigned 32-bit native order integer."""
        value: int
        offset = self._offset
        try:
            (value,) = _u32_ne(self._chunk, offset)
        except error:
            return GetNumbers.get_u32_ne(self)
        self._offset = offset + 4
        return value

    def get_u64_be(self) -> int:
        """Take an unsigned 64-bit big-endian integer."""
        value: int
        offset = self._offset
        try:
            (value,) = _u64_be(self._chunk, offset)
        except error:
            return GetNumbers.get_u64_be(self)
        self._offset = offset + 8
        return value

    def get_u64_le(self) -> int:
        """Take an unsigned 64-bit little-endian integer."""
        value: int
        offset = self._offset
        try:
            (value,) = _u64_le(self._chunk, offset)
        except error:
            return GetNumbers.get_u64_le(self)
        self._offset = offset + 8
        return value

    def get_u64_ne(self) -> int:
        """Take an unsigned 64-bit native order integer."""
        value: int
        offset = self._offset
        try:
            (value,) = _u64_ne(self._chunk, offset)
        except error:
            return GetNumbers.get_u64_ne(self)
        self._offset = offset + 8
        return value

    def get_i8(self) -> int:
        """Take a signed 8-bit integer."""
        value: int
        offset = self._offset
        try:
            (value,) = _i8(self._chunk, offset)
        except error:
            return GetNumbers.get_i8(self)
        self._offset = offset + 1
        return value

    def get_i16_be(self) -> int:
        """Take a signed 16-bit big-endian integer."""
        value: int
        offset = self._offset
        try:
            (value,) = _i16_be(self._chunk, offset)
        except error:
            return GetNumbers.get_i16_be(self)
        self._offset = offset + 2
        return value

    def get_i16_le(self) -> int:
        """Take a signed 16-bit little-endian integer."""
        value: int
        offset = self._offset
        try:
            (value,) = _i16_le(self._chunk, offset)
        except error:
            return GetNumbers.get_i16_le(self)
        self._offset = offset + 2
        return value

    def get_i16_ne(self) -> int:
        """Take a signed 16-bit native order integer."""
        value: int
        offset = self._offset
        try:
            (value,) = _i16_ne(self._chunk, offset)
        except error:
            return GetNumbers.get_i16_ne(self)
        self._offset = offset + 2
        return value

    def get_i32_be(self) -> int:
        """Take a signed 32-bit big-endian integer."""
        value: int
        offset = self._offset
        try:
            (value,) = _i32_be(self._chunk, offset)
        except error:
            return GetNumbers.get_i32_be(self)
        self._offset = offset + 4
        return value

    def get_i32_le(self) -> int:
        """Take a signed 32-bit little-endian integer."""
        value: int
        offset = self._offset
        try:
            (value,) = _i32_le(self._chunk, offset)
        except error:
            return GetNumbers.get_i32_le(self)
        self._offset = offset + 4
        return value

    def get_i32_ne(self) -> int:
        """Take a signed 32-bit native order integer."""
        value: int
        offset = self._offset
        try:
            (value,) = _i32_ne(self._chunk, offset)
        except error:
            return GetNumbers.get_i32_ne(self)
        self._offset = offset + 4
        return value

    def get_i64_be(self) -> int:
        """Take a signed 64-bit big-endian integer."""
        value: int
        offset = self._offset
        try:
            (value,) = _i64_be(self._chunk, offset)
        except error:
            return GetNumbers.get_i64_be(self)
        self._offset = offset + 8
        return value

    def get_i64_le(self) -> int:
        """Take a signed 64-bit little-endian integer."""
        value: int
        offset = self._offset
        try:
            (value,) = _i64_le(self._chunk, offset)
        except error:
            return GetNumbers.get_i64_le(self)
        self._offset = offset + 8
        return value

    def get_i64_ne(self) -> int:
        """Take a signed 64-bit native order integer."""
        value: int
        offset = self._offset
        try:
            (value,) = _i64_ne(self._chunk, offset)
        except error:
            return GetNumbers.get_i64_ne(self)
        self._offset = offset + 8
        return value

    def get_f16_be(self) -> float:
        """Take a 16-bit big-endian float."""
        value: float
        offset = self._offset
        try:
            (value,) = _f16_be(self._chunk, offset)
        except error:
            return GetNumbers.get_f16_be(self)
        self._offset = offset + 2
        return value

    def get_f16_le(self) -> float:
        """Take a 16-bit little-endian float."""
        value: float
        offset = self._offset
        try:
            (value,) = _f16_le(self._chunk, offset)
        except error:
            return GetNumbers.get_f16_le(self)
        self._offset = offset + 2
        return value

    def get_f16_ne(self) -> float:
        """Take a 16-bit native order float."""
        value: float
        offset = self._offset
        try:
            (value,) = _f16_ne(self._chunk, offset)
        except error:
            return GetNumbers.get_f16_ne(self)
        self._offset = offset + 2
        return value

    def get_f32_be(self) -> float:
        """Take a 32-bit big-endian float."""
        value: float
        offset = self._offset
        try:
            (value,) = _f32_be(self._chunk, offset)
        except error:
            return GetNumbers.get_f32_be(self)
        self._offset = offset + 4
        return value

    def get_f32_le(self) -> float:
        """Take a 32-bit little-endian float."""
        value: float
        offset = self._offset
        try:
            (value,) = _f32_le(self._chunk, offset)
        except error:
            return GetNumbers.get_f32_le(self)
        self._offset = offset + 4
        return value

    def get_f32_ne(self) -> float:
        """Take a 32-bit native order float."""
        value: float
        offset = self._offset
        try:
            (value,) = _f32_ne(self._chunk, offset)
        except error:
            return GetNumbers.get_f32_ne(self)
        self._offset = offset + 4
        return value

    def get_f64_be(self) -> float:
        """Take a 64-bit big-endian float."""
        value: float
        offset = self._offset
        try:
            (value,) = _f64_be(self._chunk, offset)
        except error:
            return GetNumbers.get_f64_be(self)
        self._offset = offset + 8
        return value

    def get_f64_le(self) -> float:
        """Take a 64-bit little-endian float."""
        value: float
        offset = self._offset
        try:
            (value,) = _f64_le(self._chunk, offset)
        except error:
            return GetNumbers.get_f64_le(self)
        self._offset = offset + 8
        return value

    def get_f64_ne(self) -> float:
        """Take a 64-bit native order float."""
        value: float
        offset = self._offset
        try:
            (value,) = _f64_ne(self._chunk, offset)
        except error:
            return GetNumbers.get_f64_ne(self)
        self._offset = offset + 8
        return value
