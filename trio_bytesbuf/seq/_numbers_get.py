"""Numbers off the front of a byte sequence. Made by tools/generate_numbers.py: change that.

The names are those of the Rust crates: `u16` is an unsigned number of 16 bits; `be`, `le` and `ne`
are big-endian, little-endian and the machine's own order. A number may lie in several pieces.
"""

from __future__ import annotations

import abc
import struct
from typing import Any, SupportsIndex

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
    Read,
    read_sleb128,
    read_uleb128,
    read_zigzag,
    width_of,
)


class GetNumbers(abc.ABC):
    """Methods that get; every one raises `NotEnoughBytes` if the number is not all there."""

    __slots__ = ()

    @abc.abstractmethod
    def remaining(self) -> int: ...

    @abc.abstractmethod
    def _take_struct(self, layout: struct.Struct, /) -> tuple[Any, ...]: ...

    @abc.abstractmethod
    def _take_bytes(self, nbytes: int, /) -> bytes: ...

    @abc.abstractmethod
    def _take_varint(self, read: Read, max_bits: SupportsIndex, /) -> int: ...

    @abc.abstractmethod
    def _try_take_varint(self, read: Read, max_bits: SupportsIndex, /) -> int | None: ...

    def get_u8(self) -> int:
        """Take an unsigned 8-bit integer."""
        value: int = self._take_struct(U8)[0]
        return value

    def try_get_u8(self) -> int | None:
        """Like `get_u8`, but None if it is not all there."""
        return self.get_u8() if self.remaining() >= 1 else None

    def get_u16_be(self) -> int:
        """Take an unsigned 16-bit big-endian integer."""
        value: int = self._take_struct(U16_BE)[0]
        return value

    def try_get_u16_be(self) -> int | None:
        """Like `get_u16_be`, but None if it is not all there."""
        return self.get_u16_be() if self.remaining() >= 2 else None

    def get_u16_le(self) -> int:
        """Take an unsigned 16-bit little-endian integer."""
        value: int = self._take_struct(U16_LE)[0]
        return value

    def try_get_u16_le(self) -> int | None:
        """Like `get_u16_le`, but None if it is not all there."""
        return self.get_u16_le() if self.remaining() >= 2 else None

    def get_u16_ne(self) -> int:
        """Take an unsigned 16-bit native order integer."""
        value: int = self._take_struct(U16_NE)[0]
        return value

    def try_get_u16_ne(self) -> int | None:
        """Like `get_u16_ne`, but None if it is not all there."""
        return self.get_u16_ne() if self.remaining() >= 2 else None

    def get_u32_be(self) -> int:
        """Take an unsigned 32-bit big-endian integer."""
        value: int = self._take_struct(U32_BE)[0]
        return value

    def try_get_u32_be(self) -> int | None:
        """Like `get_u32_be`, but None if it is not all there."""
        return self.get_u32_be() if self.remaining() >= 4 else None

    def get_u32_le(self) -> int:
        """Take an unsigned 32-bit little-endian integer."""
        value: int = self._take_struct(U32_LE)[0]
        return value

    def try_get_u32_le(self) -> int | None:
        """Like `get_u32_le`, but None if it is not all there."""
        return self.get_u32_le() if self.remaining() >= 4 else None

    def get_u32_ne(self) -> int:
        """Take an unsigned 32-bit native order integer."""
        value: int = self._take_struct(U32_NE)[0]
        return value

    def try_get_u32_ne(self) -> int | None:
        """Like `get_u32_ne`, but None if it is not all there."""
        return self.get_u32_ne() if self.remaining() >= 4 else None

    def get_u64_be(self) -> int:
        """Take an unsigned 64-bit big-endian integer."""
        value: int = self._take_struct(U64_BE)[0]
        return value

    def try_get_u64_be(self) -> int | None:
        """Like `get_u64_be`, but None if it is not all there."""
        return self.get_u64_be() if self.remaining() >= 8 else None

    def get_u64_le(self) -> int:
        """Take an unsigned 64-bit little-endian integer."""
        value: int = self._take_struct(U64_LE)[0]
        return value

    def try_get_u64_le(self) -> int | None:
        """Like `get_u64_le`, but None if it is not all there."""
        return self.get_u64_le() if self.remaining() >= 8 else None

    def get_u64_ne(self) -> int:
        """Take an unsigned 64-bit native order integer."""
        value: int = self._take_struct(U64_NE)[0]
        return value

    def try_get_u64_ne(self) -> int | None:
        """Like `get_u64_ne`, but None if it is not all there."""
        return self.get_u64_ne() if self.remaining() >= 8 else None

    def get_u128_be(self) -> int:
        """Take an unsigned 128-bit big-endian integer."""
        return int.from_bytes(self._take_bytes(16), "big", signed=False)

    def try_get_u128_be(self) -> int | None:
        """Like `get_u128_be`, but None if it is not all there."""
        return self.get_u128_be() if self.remaining() >= 16 else None

    def get_u128_le(self) -> int:
        """Take an unsigned 128-bit little-endian integer."""
        return int.from_bytes(self._take_bytes(16), "little", signed=False)

    def try_get_u128_le(self) -> int | None:
        """Like `get_u128_le`, but None if it is not all there."""
        return self.get_u128_le() if self.remaining() >= 16 else None

    def get_u128_ne(self) -> int:
        """Take an unsigned 128-bit native order integer."""
        return int.from_bytes(self._take_bytes(16), NATIVE, signed=False)

    def try_get_u128_ne(self) -> int | None:
        """Like `get_u128_ne`, but None if it is not all there."""
        return self.get_u128_ne() if self.remaining() >= 16 else None

    def get_i8(self) -> int:
        """Take a signed 8-bit integer."""
        value: int = self._take_struct(I8)[0]
        return value

    def try_get_i8(self) -> int | None:
        """Like `get_i8`, but None if it is not all there."""
        return self.get_i8() if self.remaining() >= 1 else None

    def get_i16_be(self) -> int:
        """Take a signed 16-bit big-endian integer."""
        value: int = self._take_struct(I16_BE)[0]
        return value

    def try_get_i16_be(self) -> int | None:
        """Like `get_i16_be`, but None if it is not all there."""
        return self.get_i16_be() if self.remaining() >= 2 else None

    def get_i16_le(self) -> int:
        """Take a signed 16-bit little-endian integer."""
        value: int = self._take_struct(I16_LE)[0]
        return value

    def try_get_i16_le(self) -> int | None:
        """Like `get_i16_le`, but None if it is not all there."""
        return self.get_i16_le() if self.remaining() >= 2 else None

    def get_i16_ne(self) -> int:
        """Take a signed 16-bit native order integer."""
        value: int = self._take_struct(I16_NE)[0]
        return value

    def try_get_i16_ne(self) -> int | None:
        """Like `get_i16_ne`, but None if it is not all there."""
        return self.get_i16_ne() if self.remaining() >= 2 else None

    def get_i32_be(self) -> int:
        """Take a signed 32-bit big-endian integer."""
        value: int = self._take_struct(I32_BE)[0]
        return value

    def try_get_i32_be(self) -> int | None:
        """Like `get_i32_be`, but None if it is not all there."""
        return self.get_i32_be() if self.remaining() >= 4 else None

    def get_i32_le(self) -> int:
        """Take a signed 32-bit little-endian integer."""
        value: int = self._take_struct(I32_LE)[0]
        return value

    def try_get_i32_le(self) -> int | None:
        """Like `get_i32_le`, but None if it is not all there."""
        return self.get_i32_le() if self.remaining() >= 4 else None

    def get_i32_ne(self) -> int:
        """Take a signed 32-bit native order integer."""
        value: int = self._take_struct(I32_NE)[0]
        return value

    def try_get_i32_ne(self) -> int | None:
        """Like `get_i32_ne`, but None if it is not all there."""
        return self.get_i32_ne() if self.remaining() >= 4 else None

    def get_i64_be(self) -> int:
        """Take a signed 64-bit big-endian integer."""
        value: int = self._take_struct(I64_BE)[0]
        return value

    def try_get_i64_be(self) -> int | None:
        """Like `get_i64_be`, but None if it is not all there."""
        return self.get_i64_be() if self.remaining() >= 8 else None

    def get_i64_le(self) -> int:
        """Take a signed 64-bit little-endian integer."""
        value: int = self._take_struct(I64_LE)[0]
        return value

    def try_get_i64_le(self) -> int | None:
        """Like `get_i64_le`, but None if it is not all there."""
        return self.get_i64_le() if self.remaining() >= 8 else None

    def get_i64_ne(self) -> int:
        """Take a signed 64-bit native order integer."""
        value: int = self._take_struct(I64_NE)[0]
        return value

    def try_get_i64_ne(self) -> int | None:
        """Like `get_i64_ne`, but None if it is not all there."""
        return self.get_i64_ne() if self.remaining() >= 8 else None

    def get_i128_be(self) -> int:
        """Take a signed 128-bit big-endian integer."""
        return int.from_bytes(self._take_bytes(16), "big", signed=True)

    def try_get_i128_be(self) -> int | None:
        """Like `get_i128_be`, but None if it is not all there."""
        return self.get_i128_be() if self.remaining() >= 16 else None

    def get_i128_le(self) -> int:
        """Take a signed 128-bit little-endian integer."""
        return int.from_bytes(self._take_bytes(16), "little", signed=True)

    def try_get_i128_le(self) -> int | None:
        """Like `get_i128_le`, but None if it is not all there."""
        return self.get_i128_le() if self.remaining() >= 16 else None

    def get_i128_ne(self) -> int:
        """Take a signed 128-bit native order integer."""
        return int.from_bytes(self._take_bytes(16), NATIVE, signed=True)

    def try_get_i128_ne(self) -> int | None:
        """Like `get_i128_ne`, but None if it is not all there."""
        return self.get_i128_ne() if self.remaining() >= 16 else None

    def get_f16_be(self) -> float:
        """Take a 16-bit big-endian float."""
        value: float = self._take_struct(F16_BE)[0]
        return value

    def try_get_f16_be(self) -> float | None:
        """Like `get_f16_be`, but None if it is not all there."""
        return self.get_f16_be() if self.remaining() >= 2 else None

    def get_f16_le(self) -> float:
        """Take a 16-bit little-endian float."""
        value: float = self._take_struct(F16_LE)[0]
        return value

    def try_get_f16_le(self) -> float | None:
        """Like `get_f16_le`, but None if it is not all there."""
        return self.get_f16_le() if self.remaining() >= 2 else None

    def get_f16_ne(self) -> float:
        """Take a 16-bit native order float."""
        value: float = self._take_struct(F16_NE)[0]
        return value

    def try_get_f16_ne(self) -> float | None:
        """Like `get_f16_ne`, but None if it is not all there."""
        return self.get_f16_ne() if self.remaining() >= 2 else None

    def get_f32_be(self) -> float:
        """Take a 32-bit big-endian float."""
        value: float = self._take_struct(F32_BE)[0]
        return value

    def try_get_f32_be(self) -> float | None:
        """Like `get_f32_be`, but None if it is not all there."""
        return self.get_f32_be() if self.remaining() >= 4 else None

    def get_f32_le(self) -> float:
        """Take a 32-bit little-endian float."""
        value: float = self._take_struct(F32_LE)[0]
        return value

    def try_get_f32_le(self) -> float | None:
        """Like `get_f32_le`, but None if it is not all there."""
        return self.get_f32_le() if self.remaining() >= 4 else None

    def get_f32_ne(self) -> float:
        """Take a 32-bit native order float."""
        value: float = self._take_struct(F32_NE)[0]
        return value

    def try_get_f32_ne(self) -> float | None:
        """Like `get_f32_ne`, but None if it is not all there."""
        return self.get_f32_ne() if self.remaining() >= 4 else None

    def get_f64_be(self) -> float:
        """Take a 64-bit big-endian float."""
        value: float = self._take_struct(F64_BE)[0]
        return value

    def try_get_f64_be(self) -> float | None:
        """Like `get_f64_be`, but None if it is not all there."""
        return self.get_f64_be() if self.remaining() >= 8 else None

    def get_f64_le(self) -> float:
        """Take a 64-bit little-endian float."""
        value: float = self._take_struct(F64_LE)[0]
        return value

    def try_get_f64_le(self) -> float | None:
        """Like `get_f64_le`, but None if it is not all there."""
        return self.get_f64_le() if self.remaining() >= 8 else None

    def get_f64_ne(self) -> float:
        """Take a 64-bit native order float."""
        value: float = self._take_struct(F64_NE)[0]
        return value

    def try_get_f64_ne(self) -> float | None:
        """Like `get_f64_ne`, but None if it is not all there."""
        return self.get_f64_ne() if self.remaining() >= 8 else None

    def get_uint_be(self, nbytes: SupportsIndex) -> int:
        """Take an unsigned big-endian integer of `nbytes` bytes, 0 to 16."""
        data = self._take_bytes(width_of(nbytes))
        return int.from_bytes(data, "big", signed=False)

    def try_get_uint_be(self, nbytes: SupportsIndex) -> int | None:
        """Like `get_uint_be`, but None if it is not all there."""
        return self.get_uint_be(nbytes) if self.remaining() >= width_of(nbytes) else None

    def get_uint_le(self, nbytes: SupportsIndex) -> int:
        """Take an unsigned little-endian integer of `nbytes` bytes, 0 to 16."""
        data = self._take_bytes(width_of(nbytes))
        return int.from_bytes(data, "little", signed=False)

    def try_get_uint_le(self, nbytes: SupportsIndex) -> int | None:
        """Like `get_uint_le`, but None if it is not all there."""
        return self.get_uint_le(nbytes) if self.remaining() >= width_of(nbytes) else None

    def get_uint_ne(self, nbytes: SupportsIndex) -> int:
        """Take an unsigned native order integer of `nbytes` bytes, 0 to 16."""
        data = self._take_bytes(width_of(nbytes))
        return int.from_bytes(data, NATIVE, signed=False)

    def try_get_uint_ne(self, nbytes: SupportsIndex) -> int | None:
        """Like `get_uint_ne`, but None if it is not all there."""
        return self.get_uint_ne(nbytes) if self.remaining() >= width_of(nbytes) else None

    def get_int_be(self, nbytes: SupportsIndex) -> int:
        """Take a signed big-endian integer of `nbytes` bytes, 0 to 16."""
        data = self._take_bytes(width_of(nbytes))
        return int.from_bytes(data, "big", signed=True)

    def try_get_int_be(self, nbytes: SupportsIndex) -> int | None:
        """Like `get_int_be`, but None if it is not all there."""
        return self.get_int_be(nbytes) if self.remaining() >= width_of(nbytes) else None

    def get_int_le(self, nbytes: SupportsIndex) -> int:
        """Take a signed little-endian integer of `nbytes` bytes, 0 to 16."""
        data = self._take_bytes(width_of(nbytes))
        return int.from_bytes(data, "little", signed=True)

    def try_get_int_le(self, nbytes: SupportsIndex) -> int | None:
        """Like `get_int_le`, but None if it is not all there."""
        return self.get_int_le(nbytes) if self.remaining() >= width_of(nbytes) else None

    def get_int_ne(self, nbytes: SupportsIndex) -> int:
        """Take a signed native order integer of `nbytes` bytes, 0 to 16."""
        data = self._take_bytes(width_of(nbytes))
        return int.from_bytes(data, NATIVE, signed=True)

    def try_get_int_ne(self, nbytes: SupportsIndex) -> int | None:
        """Like `get_int_ne`, but None if it is not all there."""
        return self.get_int_ne(nbytes) if self.remaining() >= width_of(nbytes) else None

    def get_uleb128(self, max_bits: SupportsIndex = 64) -> int:
        """Take an unsigned LEB128 number; `VarintTooLong` if it has over `max_bits` bits."""
        return self._take_varint(read_uleb128, max_bits)

    def try_get_uleb128(self, max_bits: SupportsIndex = 64) -> int | None:
        """Like `get_uleb128`, but None if it is not all there."""
        return self._try_take_varint(read_uleb128, max_bits)

    def get_sleb128(self, max_bits: SupportsIndex = 64) -> int:
        """Take a signed LEB128 number; `VarintTooLong` if it has over `max_bits` bits."""
        return self._take_varint(read_sleb128, max_bits)

    def try_get_sleb128(self, max_bits: SupportsIndex = 64) -> int | None:
        """Like `get_sleb128`, but None if it is not all there."""
        return self._try_take_varint(read_sleb128, max_bits)

    def get_zigzag(self, max_bits: SupportsIndex = 64) -> int:
        """Take a signed number in zigzag; `VarintTooLong` if it has over `max_bits` bits."""
        return self._take_varint(read_zigzag, max_bits)

    def try_get_zigzag(self, max_bits: SupportsIndex = 64) -> int | None:
        """Like `get_zigzag`, but None if it is not all there."""
        return self._try_take_varint(read_zigzag, max_bits)
