"""Numbers in and out of byte sequences. Made by tools/generate_numbers.py: change that.

`GetNumbers` is what `BytesReader` inherits, `PutNumbers` what `BytesBuf` does. The names are
those of the Rust crates: `u16` is an unsigned number of 16 bits; `be`, `le` and `ne` are
big-endian, little-endian and the machine's own order.
"""

from __future__ import annotations

import abc
import struct
import sys
from collections.abc import Callable
from math import ldexp
from operator import index
from typing import Final, TypeVar, cast

_U8: Final = struct.Struct("=B")
_I8: Final = struct.Struct("=b")
_U16_BE: Final = struct.Struct(">H")
_U16_LE: Final = struct.Struct("<H")
_U16_NE: Final = struct.Struct("=H")
_I16_BE: Final = struct.Struct(">h")
_I16_LE: Final = struct.Struct("<h")
_I16_NE: Final = struct.Struct("=h")
_U32_BE: Final = struct.Struct(">I")
_U32_LE: Final = struct.Struct("<I")
_U32_NE: Final = struct.Struct("=I")
_I32_BE: Final = struct.Struct(">i")
_I32_LE: Final = struct.Struct("<i")
_I32_NE: Final = struct.Struct("=i")
_U64_BE: Final = struct.Struct(">Q")
_U64_LE: Final = struct.Struct("<Q")
_U64_NE: Final = struct.Struct("=Q")
_I64_BE: Final = struct.Struct(">q")
_I64_LE: Final = struct.Struct("<q")
_I64_NE: Final = struct.Struct("=q")
_F32_BE: Final = struct.Struct(">f")
_F32_LE: Final = struct.Struct("<f")
_F32_NE: Final = struct.Struct("=f")
_F64_BE: Final = struct.Struct(">d")
_F64_LE: Final = struct.Struct("<d")
_F64_NE: Final = struct.Struct("=d")


class GetNumbers(abc.ABC):
    """Reading numbers off the front of a byte sequence. A number may lie in several pieces."""

    __slots__ = ()

    @abc.abstractmethod
    def _read_struct(self, layout: struct.Struct) -> tuple[object, ...]: ...

    @abc.abstractmethod
    def _read_struct_or_none(self, layout: struct.Struct) -> tuple[object, ...] | None: ...

    @abc.abstractmethod
    def _read_bytes(self, nbytes: int) -> bytes: ...

    @abc.abstractmethod
    def _read_bytes_or_none(self, nbytes: int) -> bytes | None: ...

    def get_u8(self) -> int:
        """Take an unsigned 8-bit integer; raises NotEnoughBytes if it is not all there."""
        return cast("int", self._read_struct(_U8)[0])

    def try_get_u8(self) -> int | None:
        """Like `get_u8`, but None if it is not all there."""
        found = self._read_struct_or_none(_U8)
        return None if found is None else cast("int", found[0])

    def get_i8(self) -> int:
        """Take a signed 8-bit integer; raises NotEnoughBytes if it is not all there."""
        return cast("int", self._read_struct(_I8)[0])

    def try_get_i8(self) -> int | None:
        """Like `get_i8`, but None if it is not all there."""
        found = self._read_struct_or_none(_I8)
        return None if found is None else cast("int", found[0])

    def get_u16_be(self) -> int:
        """Take an unsigned 16-bit big-endian integer; raises NotEnoughBytes if it is not all there."""
        return cast("int", self._read_struct(_U16_BE)[0])

    def try_get_u16_be(self) -> int | None:
        """Like `get_u16_be`, but None if it is not all there."""
        found = self._read_struct_or_none(_U16_BE)
        return None if found is None else cast("int", found[0])

    def get_u16_le(self) -> int:
        """Take an unsigned 16-bit little-endian integer; raises NotEnoughBytes if it is not all there."""
        return cast("int", self._read_struct(_U16_LE)[0])

    def try_get_u16_le(self) -> int | None:
        """Like `get_u16_le`, but None if it is not all there."""
        found = self._read_struct_or_none(_U16_LE)
        return None if found is None else cast("int", found[0])

    def get_u16_ne(self) -> int:
        """Take an unsigned 16-bit native order integer; raises NotEnoughBytes if it is not all there."""
        return cast("int", self._read_struct(_U16_NE)[0])

    def try_get_u16_ne(self) -> int | None:
        """Like `get_u16_ne`, but None if it is not all there."""
        found = self._read_struct_or_none(_U16_NE)
        return None if found is None else cast("int", found[0])

    def get_i16_be(self) -> int:
        """Take a signed 16-bit big-endian integer; raises NotEnoughBytes if it is not all there."""
        return cast("int", self._read_struct(_I16_BE)[0])

    def try_get_i16_be(self) -> int | None:
        """Like `get_i16_be`, but None if it is not all there."""
        found = self._read_struct_or_none(_I16_BE)
        return None if found is None else cast("int", found[0])

    def get_i16_le(self) -> int:
        """Take a signed 16-bit little-endian integer; raises NotEnoughBytes if it is not all there."""
        return cast("int", self._read_struct(_I16_LE)[0])

    def try_get_i16_le(self) -> int | None:
        """Like `get_i16_le`, but None if it is not all there."""
        found = self._read_struct_or_none(_I16_LE)
        return None if found is None else cast("int", found[0])

    def get_i16_ne(self) -> int:
        """Take a signed 16-bit native order integer; raises NotEnoughBytes if it is not all there."""
        return cast("int", self._read_struct(_I16_NE)[0])

    def try_get_i16_ne(self) -> int | None:
        """Like `get_i16_ne`, but None if it is not all there."""
        found = self._read_struct_or_none(_I16_NE)
        return None if found is None else cast("int", found[0])

    def get_u32_be(self) -> int:
        """Take an unsigned 32-bit big-endian integer; raises NotEnoughBytes if it is not all there."""
        return cast("int", self._read_struct(_U32_BE)[0])

    def try_get_u32_be(self) -> int | None:
        """Like `get_u32_be`, but None if it is not all there."""
        found = self._read_struct_or_none(_U32_BE)
        return None if found is None else cast("int", found[0])

    def get_u32_le(self) -> int:
        """Take an unsigned 32-bit little-endian integer; raises NotEnoughBytes if it is not all there."""
        return cast("int", self._read_struct(_U32_LE)[0])

    def try_get_u32_le(self) -> int | None:
        """Like `get_u32_le`, but None if it is not all there."""
        found = self._read_struct_or_none(_U32_LE)
        return None if found is None else cast("int", found[0])

    def get_u32_ne(self) -> int:
        """Take an unsigned 32-bit native order integer; raises NotEnoughBytes if it is not all there."""
        return cast("int", self._read_struct(_U32_NE)[0])

    def try_get_u32_ne(self) -> int | None:
        """Like `get_u32_ne`, but None if it is not all there."""
        found = self._read_struct_or_none(_U32_NE)
        return None if found is None else cast("int", found[0])

    def get_i32_be(self) -> int:
        """Take a signed 32-bit big-endian integer; raises NotEnoughBytes if it is not all there."""
        return cast("int", self._read_struct(_I32_BE)[0])

    def try_get_i32_be(self) -> int | None:
        """Like `get_i32_be`, but None if it is not all there."""
        found = self._read_struct_or_none(_I32_BE)
        return None if found is None else cast("int", found[0])

    def get_i32_le(self) -> int:
        """Take a signed 32-bit little-endian integer; raises NotEnoughBytes if it is not all there."""
        return cast("int", self._read_struct(_I32_LE)[0])

    def try_get_i32_le(self) -> int | None:
        """Like `get_i32_le`, but None if it is not all there."""
        found = self._read_struct_or_none(_I32_LE)
        return None if found is None else cast("int", found[0])

    def get_i32_ne(self) -> int:
        """Take a signed 32-bit native order integer; raises NotEnoughBytes if it is not all there."""
        return cast("int", self._read_struct(_I32_NE)[0])

    def try_get_i32_ne(self) -> int | None:
        """Like `get_i32_ne`, but None if it is not all there."""
        found = self._read_struct_or_none(_I32_NE)
        return None if found is None else cast("int", found[0])

    def get_u64_be(self) -> int:
        """Take an unsigned 64-bit big-endian integer; raises NotEnoughBytes if it is not all there."""
        return cast("int", self._read_struct(_U64_BE)[0])

    def try_get_u64_be(self) -> int | None:
        """Like `get_u64_be`, but None if it is not all there."""
        found = self._read_struct_or_none(_U64_BE)
        return None if found is None else cast("int", found[0])

    def get_u64_le(self) -> int:
        """Take an unsigned 64-bit little-endian integer; raises NotEnoughBytes if it is not all there."""
        return cast("int", self._read_struct(_U64_LE)[0])

    def try_get_u64_le(self) -> int | None:
        """Like `get_u64_le`, but None if it is not all there."""
        found = self._read_struct_or_none(_U64_LE)
        return None if found is None else cast("int", found[0])

    def get_u64_ne(self) -> int:
        """Take an unsigned 64-bit native order integer; raises NotEnoughBytes if it is not all there."""
        return cast("int", self._read_struct(_U64_NE)[0])

    def try_get_u64_ne(self) -> int | None:
        """Like `get_u64_ne`, but None if it is not all there."""
        found = self._read_struct_or_none(_U64_NE)
        return None if found is None else cast("int", found[0])

    def get_i64_be(self) -> int:
        """Take a signed 64-bit big-endian integer; raises NotEnoughBytes if it is not all there."""
        return cast("int", self._read_struct(_I64_BE)[0])

    def try_get_i64_be(self) -> int | None:
        """Like `get_i64_be`, but None if it is not all there."""
        found = self._read_struct_or_none(_I64_BE)
        return None if found is None else cast("int", found[0])

    def get_i64_le(self) -> int:
        """Take a signed 64-bit little-endian integer; raises NotEnoughBytes if it is not all there."""
        return cast("int", self._read_struct(_I64_LE)[0])

    def try_get_i64_le(self) -> int | None:
        """Like `get_i64_le`, but None if it is not all there."""
        found = self._read_struct_or_none(_I64_LE)
        return None if found is None else cast("int", found[0])

    def get_i64_ne(self) -> int:
        """Take a signed 64-bit native order integer; raises NotEnoughBytes if it is not all there."""
        return cast("int", self._read_struct(_I64_NE)[0])

    def try_get_i64_ne(self) -> int | None:
        """Like `get_i64_ne`, but None if it is not all there."""
        found = self._read_struct_or_none(_I64_NE)
        return None if found is None else cast("int", found[0])

    def get_u128_be(self) -> int:
        """Take an unsigned 128-bit big-endian integer; raises NotEnoughBytes if it is not all there."""
        data = self._read_bytes(16)
        return int.from_bytes(data, "big", signed=False)

    def try_get_u128_be(self) -> int | None:
        """Like `get_u128_be`, but None if it is not all there."""
        data = self._read_bytes_or_none(16)
        return None if data is None else int.from_bytes(data, "big", signed=False)

    def get_u128_le(self) -> int:
        """Take an unsigned 128-bit little-endian integer; raises NotEnoughBytes if it is not all there."""
        data = self._read_bytes(16)
        return int.from_bytes(data, "little", signed=False)

    def try_get_u128_le(self) -> int | None:
        """Like `get_u128_le`, but None if it is not all there."""
        data = self._read_bytes_or_none(16)
        return None if data is None else int.from_bytes(data, "little", signed=False)

    def get_u128_ne(self) -> int:
        """Take an unsigned 128-bit native order integer; raises NotEnoughBytes if it is not all there."""
        data = self._read_bytes(16)
        return int.from_bytes(data, sys.byteorder, signed=False)

    def try_get_u128_ne(self) -> int | None:
        """Like `get_u128_ne`, but None if it is not all there."""
        data = self._read_bytes_or_none(16)
        return None if data is None else int.from_bytes(data, sys.byteorder, signed=False)

    def get_i128_be(self) -> int:
        """Take a signed 128-bit big-endian integer; raises NotEnoughBytes if it is not all there."""
        data = self._read_bytes(16)
        return int.from_bytes(data, "big", signed=True)

    def try_get_i128_be(self) -> int | None:
        """Like `get_i128_be`, but None if it is not all there."""
        data = self._read_bytes_or_none(16)
        return None if data is None else int.from_bytes(data, "big", signed=True)

    def get_i128_le(self) -> int:
        """Take a signed 128-bit little-endian integer; raises NotEnoughBytes if it is not all there."""
        data = self._read_bytes(16)
        return int.from_bytes(data, "little", signed=True)

    def try_get_i128_le(self) -> int | None:
        """Like `get_i128_le`, but None if it is not all there."""
        data = self._read_bytes_or_none(16)
        return None if data is None else int.from_bytes(data, "little", signed=True)

    def get_i128_ne(self) -> int:
        """Take a signed 128-bit native order integer; raises NotEnoughBytes if it is not all there."""
        data = self._read_bytes(16)
        return int.from_bytes(data, sys.byteorder, signed=True)

    def try_get_i128_ne(self) -> int | None:
        """Like `get_i128_ne`, but None if it is not all there."""
        data = self._read_bytes_or_none(16)
        return None if data is None else int.from_bytes(data, sys.byteorder, signed=True)

    def get_f32_be(self) -> float:
        """Take a 32-bit big-endian float; raises NotEnoughBytes if it is not all there."""
        return cast("float", self._read_struct(_F32_BE)[0])

    def try_get_f32_be(self) -> float | None:
        """Like `get_f32_be`, but None if it is not all there."""
        found = self._read_struct_or_none(_F32_BE)
        return None if found is None else cast("float", found[0])

    def get_f32_le(self) -> float:
        """Take a 32-bit little-endian float; raises NotEnoughBytes if it is not all there."""
        return cast("float", self._read_struct(_F32_LE)[0])

    def try_get_f32_le(self) -> float | None:
        """Like `get_f32_le`, but None if it is not all there."""
        found = self._read_struct_or_none(_F32_LE)
        return None if found is None else cast("float", found[0])

    def get_f32_ne(self) -> float:
        """Take a 32-bit native order float; raises NotEnoughBytes if it is not all there."""
        return cast("float", self._read_struct(_F32_NE)[0])

    def try_get_f32_ne(self) -> float | None:
        """Like `get_f32_ne`, but None if it is not all there."""
        found = self._read_struct_or_none(_F32_NE)
        return None if found is None else cast("float", found[0])

    def get_f64_be(self) -> float:
        """Take a 64-bit big-endian float; raises NotEnoughBytes if it is not all there."""
        return cast("float", self._read_struct(_F64_BE)[0])

    def try_get_f64_be(self) -> float | None:
        """Like `get_f64_be`, but None if it is not all there."""
        found = self._read_struct_or_none(_F64_BE)
        return None if found is None else cast("float", found[0])

    def get_f64_le(self) -> float:
        """Take a 64-bit little-endian float; raises NotEnoughBytes if it is not all there."""
        return cast("float", self._read_struct(_F64_LE)[0])

    def try_get_f64_le(self) -> float | None:
        """Like `get_f64_le`, but None if it is not all there."""
        found = self._read_struct_or_none(_F64_LE)
        return None if found is None else cast("float", found[0])

    def get_f64_ne(self) -> float:
        """Take a 64-bit native order float; raises NotEnoughBytes if it is not all there."""
        return cast("float", self._read_struct(_F64_NE)[0])

    def try_get_f64_ne(self) -> float | None:
        """Like `get_f64_ne`, but None if it is not all there."""
        found = self._read_struct_or_none(_F64_NE)
        return None if found is None else cast("float", found[0])


_Number = TypeVar("_Number", int, float)


def _real(value: float) -> float:
    return ldexp(value, 0)  # float() would take text for a number, too


def _packed(
    pack: Callable[[_Number], bytes],
    as_number: Callable[[_Number], _Number],
    value: _Number,
    what: str,
) -> bytes:
    try:
        return pack(as_number(value))
    except (struct.error, OverflowError):  # which do not name the value
        raise OverflowError(f"{value} does not fit {what}") from None


class PutNumbers(abc.ABC):
    """Appending numbers to a byte sequence.

    Every method raises `BufferFull` if there is no room for the number, OverflowError if the
    number does not fit its format and TypeError if it is none; each time nothing was put.
    """

    __slots__ = ()

    @abc.abstractmethod
    def put_slice(self, data: bytes) -> None: ...

    def put_u8(self, value: int) -> None:
        """Append `value` as an unsigned 8-bit integer."""
        what = "an unsigned 8-bit integer"
        self.put_slice(_packed(_U8.pack, index, value, what))

    def put_i8(self, value: int) -> None:
        """Append `value` as a signed 8-bit integer."""
        what = "a signed 8-bit integer"
        self.put_slice(_packed(_I8.pack, index, value, what))

    def put_u16_be(self, value: int) -> None:
        """Append `value` as an unsigned 16-bit big-endian integer."""
        what = "an unsigned 16-bit big-endian integer"
        self.put_slice(_packed(_U16_BE.pack, index, value, what))

    def put_u16_le(self, value: int) -> None:
        """Append `value` as an unsigned 16-bit little-endian integer."""
        what = "an unsigned 16-bit little-endian integer"
        self.put_slice(_packed(_U16_LE.pack, index, value, what))

    def put_u16_ne(self, value: int) -> None:
        """Append `value` as an unsigned 16-bit native order integer."""
        what = "an unsigned 16-bit native order integer"
        self.put_slice(_packed(_U16_NE.pack, index, value, what))

    def put_i16_be(self, value: int) -> None:
        """Append `value` as a signed 16-bit big-endian integer."""
        what = "a signed 16-bit big-endian integer"
        self.put_slice(_packed(_I16_BE.pack, index, value, what))

    def put_i16_le(self, value: int) -> None:
        """Append `value` as a signed 16-bit little-endian integer."""
        what = "a signed 16-bit little-endian integer"
        self.put_slice(_packed(_I16_LE.pack, index, value, what))

    def put_i16_ne(self, value: int) -> None:
        """Append `value` as a signed 16-bit native order integer."""
        what = "a signed 16-bit native order integer"
        self.put_slice(_packed(_I16_NE.pack, index, value, what))

    def put_u32_be(self, value: int) -> None:
        """Append `value` as an unsigned 32-bit big-endian integer."""
        what = "an unsigned 32-bit big-endian integer"
        self.put_slice(_packed(_U32_BE.pack, index, value, what))

    def put_u32_le(self, value: int) -> None:
        """Append `value` as an unsigned 32-bit little-endian integer."""
        what = "an unsigned 32-bit little-endian integer"
        self.put_slice(_packed(_U32_LE.pack, index, value, what))

    def put_u32_ne(self, value: int) -> None:
        """Append `value` as an unsigned 32-bit native order integer."""
        what = "an unsigned 32-bit native order integer"
        self.put_slice(_packed(_U32_NE.pack, index, value, what))

    def put_i32_be(self, value: int) -> None:
        """Append `value` as a signed 32-bit big-endian integer."""
        what = "a signed 32-bit big-endian integer"
        self.put_slice(_packed(_I32_BE.pack, index, value, what))

    def put_i32_le(self, value: int) -> None:
        """Append `value` as a signed 32-bit little-endian integer."""
        what = "a signed 32-bit little-endian integer"
        self.put_slice(_packed(_I32_LE.pack, index, value, what))

    def put_i32_ne(self, value: int) -> None:
        """Append `value` as a signed 32-bit native order integer."""
        what = "a signed 32-bit native order integer"
        self.put_slice(_packed(_I32_NE.pack, index, value, what))

    def put_u64_be(self, value: int) -> None:
        """Append `value` as an unsigned 64-bit big-endian integer."""
        what = "an unsigned 64-bit big-endian integer"
        self.put_slice(_packed(_U64_BE.pack, index, value, what))

    def put_u64_le(self, value: int) -> None:
        """Append `value` as an unsigned 64-bit little-endian integer."""
        what = "an unsigned 64-bit little-endian integer"
        self.put_slice(_packed(_U64_LE.pack, index, value, what))

    def put_u64_ne(self, value: int) -> None:
        """Append `value` as an unsigned 64-bit native order integer."""
        what = "an unsigned 64-bit native order integer"
        self.put_slice(_packed(_U64_NE.pack, index, value, what))

    def put_i64_be(self, value: int) -> None:
        """Append `value` as a signed 64-bit big-endian integer."""
        what = "a signed 64-bit big-endian integer"
        self.put_slice(_packed(_I64_BE.pack, index, value, what))

    def put_i64_le(self, value: int) -> None:
        """Append `value` as a signed 64-bit little-endian integer."""
        what = "a signed 64-bit little-endian integer"
        self.put_slice(_packed(_I64_LE.pack, index, value, what))

    def put_i64_ne(self, value: int) -> None:
        """Append `value` as a signed 64-bit native order integer."""
        what = "a signed 64-bit native order integer"
        self.put_slice(_packed(_I64_NE.pack, index, value, what))

    def put_u128_be(self, value: int) -> None:
        """Append `value` as an unsigned 128-bit big-endian integer."""
        what = "an unsigned 128-bit big-endian integer"
        self.put_slice(_packed(lambda number: number.to_bytes(16, "big", signed=False), index, value, what))

    def put_u128_le(self, value: int) -> None:
        """Append `value` as an unsigned 128-bit little-endian integer."""
        what = "an unsigned 128-bit little-endian integer"
        self.put_slice(_packed(lambda number: number.to_bytes(16, "little", signed=False), index, value, what))

    def put_u128_ne(self, value: int) -> None:
        """Append `value` as an unsigned 128-bit native order integer."""
        what = "an unsigned 128-bit native order integer"
        self.put_slice(_packed(lambda number: number.to_bytes(16, sys.byteorder, signed=False), index, value, what))

    def put_i128_be(self, value: int) -> None:
        """Append `value` as a signed 128-bit big-endian integer."""
        what = "a signed 128-bit big-endian integer"
        self.put_slice(_packed(lambda number: number.to_bytes(16, "big", signed=True), index, value, what))

    def put_i128_le(self, value: int) -> None:
        """Append `value` as a signed 128-bit little-endian integer."""
        what = "a signed 128-bit little-endian integer"
        self.put_slice(_packed(lambda number: number.to_bytes(16, "little", signed=True), index, value, what))

    def put_i128_ne(self, value: int) -> None:
        """Append `value` as a signed 128-bit native order integer."""
        what = "a signed 128-bit native order integer"
        self.put_slice(_packed(lambda number: number.to_bytes(16, sys.byteorder, signed=True), index, value, what))

    def put_f32_be(self, value: float) -> None:
        """Append `value` as a 32-bit big-endian float."""
        what = "a 32-bit big-endian float"
        self.put_slice(_packed(_F32_BE.pack, _real, value, what))

    def put_f32_le(self, value: float) -> None:
        """Append `value` as a 32-bit little-endian float."""
        what = "a 32-bit little-endian float"
        self.put_slice(_packed(_F32_LE.pack, _real, value, what))

    def put_f32_ne(self, value: float) -> None:
        """Append `value` as a 32-bit native order float."""
        what = "a 32-bit native order float"
        self.put_slice(_packed(_F32_NE.pack, _real, value, what))

    def put_f64_be(self, value: float) -> None:
        """Append `value` as a 64-bit big-endian float."""
        what = "a 64-bit big-endian float"
        self.put_slice(_packed(_F64_BE.pack, _real, value, what))

    def put_f64_le(self, value: float) -> None:
        """Append `value` as a 64-bit little-endian float."""
        what = "a 64-bit little-endian float"
        self.put_slice(_packed(_F64_LE.pack, _real, value, what))

    def put_f64_ne(self, value: float) -> None:
        """Append `value` as a 64-bit native order float."""
        what = "a 64-bit native order float"
        self.put_slice(_packed(_F64_NE.pack, _real, value, what))
