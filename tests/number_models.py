"""Models of numbers in bytes, said again by hand, and everything they are read from and put into.

`struct`, `int.to_bytes` and digits of text are the models; every kind of `Buf` and `BufMut` is
here, also what somebody else makes who implements three methods and no more.
"""

from __future__ import annotations

import io
import itertools
import math
import struct
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import strategies as st
from strategies import MEMORIES, cut_at

from trio_bytesbuf import BytesBuf, BytesReader, NotEnoughBytes, VarintTooLong
from trio_bytesbuf.seq import (
    Buf,
    BufMut,
    BytearrayMut,
    Chain,
    ChainMut,
    ChunksBuf,
    FileBuf,
    Limited,
    LimitedMut,
    SliceMut,
)
from trio_bytesbuf.testing import check_laws

# Formats

CODES = {"u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q"}
CODES |= {"i64": "q", "f16": "e", "f32": "f", "f64": "d"}
PREFIXES = {"be": ">", "le": "<", "ne": "="}
BYTE_ORDERS = {"be": "big", "le": "little", "ne": sys.byteorder}


@attrs.frozen
class Format:
    """One format: the model of `get_…`, `peek_…` and `put_…`, and of their quiet twins."""

    name: str
    nbytes: int
    kind: str
    order: str
    args: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.name + "".join(f"({arg})" for arg in self.args)

    @property
    def signed(self) -> bool:
        return self.kind == "i"

    @property
    def least(self) -> int:
        return -(256**self.nbytes // 2) if self.signed else 0

    @property
    def most(self) -> int:
        return 256**self.nbytes + self.least - 1 if self.nbytes else 0

    @property
    def values(self) -> st.SearchStrategy[int | float]:
        if self.kind == "f":
            return st.floats(width=8 * self.nbytes)
        return st.integers(self.least, self.most) | st.sampled_from([self.least, self.most, 0])

    @property
    def misfits(self) -> list[int | float]:
        if self.kind == "f":
            return [1 << 1024, {2: 65520.0, 4: 1e39, 8: -(10**5000)}[self.nbytes]]
        return [self.least - 1, self.most + 1, 1 << 200, -(10**5000)]

    def pack(self, value: Any) -> bytes:
        if (code := CODES.get(f"{self.kind}{8 * self.nbytes}")) and not self.args:
            return struct.pack(PREFIXES[self.order] + code, value)
        return value.to_bytes(self.nbytes, BYTE_ORDERS[self.order], signed=self.signed)

    def unpack(self, data: bytes) -> int | float:
        if (code := CODES.get(f"{self.kind}{8 * self.nbytes}")) and not self.args:
            return struct.unpack(PREFIXES[self.order] + code, data)[0]
        return int.from_bytes(data, BYTE_ORDERS[self.order], signed=self.signed)


@attrs.frozen
class Varint:
    """One format of variable length; digits of text are the model, no shifts as in the library."""

    name: str
    max_bits: int = 64

    def __str__(self) -> str:
        return f"{self.name}({self.max_bits})"

    @property
    def args(self) -> tuple[int, ...]:
        return (self.max_bits,)

    @property
    def signed(self) -> bool:
        return self.name != "uleb128"

    @property
    def least(self) -> int:
        return -(2 ** (self.max_bits - 1)) if self.signed else 0

    @property
    def most(self) -> int:
        return 2**self.max_bits + self.least - 1

    @property
    def values(self) -> st.SearchStrategy[int]:
        small = st.integers(max(self.least, -300), min(self.most, 300))
        limits = st.sampled_from([self.least, self.most])
        return small | limits | st.integers(self.least, self.most)

    @property
    def misfits(self) -> list[int]:
        return [self.least - 1, self.most + 1, 1 << 200, -(10**5000)]

    def pack(self, value: int) -> bytes:
        if self.name == "zigzag":
            value = 2 * value if value >= 0 else -2 * value - 1
        digits = 1
        if self.name == "sleb128":
            while not -(128**digits) <= 2 * value < 128**digits:
                digits += 1
        else:
            while value >= 128**digits:
                digits += 1
        bits = f"{value % 128**digits:0{7 * digits}b}"
        groups = [bits[at : at + 7] for at in range(0, len(bits), 7)][::-1]
        return bytes(int("1" + group, 2) for group in groups[:-1]) + bytes([int(groups[-1], 2)])

    def read(self, data: bytes) -> tuple[int, int] | type[Exception]:
        """Return the value and its length, or why there is none."""
        longest = math.ceil(self.max_bits / 7)
        ends = [at for at, byte in enumerate(data[:longest], 1) if byte < 128]
        if not ends:
            return VarintTooLong if len(data) >= longest else NotEnoughBytes
        bits = "".join(f"{byte % 128:07b}" for byte in reversed(data[: ends[0]]))
        value = int(bits, 2)
        if self.name == "sleb128" and bits[0] == "1":
            value -= 2 ** len(bits)
        if self.name == "zigzag":
            value = value // 2 if value % 2 == 0 else -(value + 1) // 2
        return (value, ends[0]) if self.least <= value <= self.most else VarintTooLong


FIXED = [
    Format(f"{kind}{nbits}{order and '_' + order}", nbits // 8, kind, order or "ne")
    for kind, widths in {
        "u": (8, 16, 32, 64, 128),
        "i": (8, 16, 32, 64, 128),
        "f": (16, 32, 64),
    }.items()
    for nbits in widths
    for order in (PREFIXES if nbits > 8 else ("",))
]
WIDE = [
    Format(f"{kind}_{order}", nbytes, "i" if kind == "int" else "u", order, (nbytes,))
    for kind in ("uint", "int")
    for order in PREFIXES
    for nbytes in range(17)
]
VARINTS = [Varint(name) for name in ("uleb128", "sleb128", "zigzag")]

FORMATS = st.one_of(
    st.sampled_from(FIXED),
    st.sampled_from(WIDE),
    st.builds(Varint, st.sampled_from(["uleb128", "sleb128", "zigzag"]), st.integers(1, 140)),
)

VERBS = {"get": True, "try_get": True, "peek": False, "try_peek": False}
"""What reads, and whether it moves."""


def same(one: object, other: object) -> bool:
    """Say whether two numbers are the same, of the same type, to the last bit of a nan."""
    if isinstance(one, float) and isinstance(other, float):
        return struct.pack("<d", one) == struct.pack("<d", other)
    return type(one) is type(other) and one == other


@attrs.frozen
class Index:
    """What is an integer, but no int."""

    value: int

    def __index__(self) -> int:
        return self.value


# What is read from and written to


class ThreeMethods(Buf):
    """What somebody else makes who implements no more than is asked for."""

    def __init__(self, parts: list[bytes]) -> None:
        self.parts = [part for part in parts if part]

    def remaining(self) -> int:
        return sum(map(len, self.parts))

    def chunk(self) -> memoryview:
        return memoryview(self.parts[0] if self.parts else b"")

    def advance(self, nbytes: Any) -> None:
        left = self._wanted(nbytes)
        while left:
            step = min(left, len(self.parts[0]))
            left -= step
            self.parts[0] = self.parts[0][step:]
            if not self.parts[0]:
                del self.parts[0]


class FourMethods(ThreeMethods):
    """The same, with all of its chunks to be seen."""

    def chunks_vectored(self, max_chunks: Any = None) -> tuple[memoryview, ...]:
        return tuple(map(memoryview, self.parts))[:max_chunks]


class Crumbs(io.BytesIO):
    """A file that gives one byte at a time."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(1 if size else 0)


def viewed(parts: list[bytes]) -> BytesReader:
    return BytesReader(cut_at(b"".join(parts), list(itertools.accumulate(map(len, parts)))))


def read_ahead_to_the_first_cut(parts: list[bytes]) -> FileBuf:
    buf = FileBuf(Crumbs(b"".join(parts)))
    buf.peek_view(len(parts[0]))
    return buf


BUFS: dict[str, Callable[[list[bytes]], Buf]] = {
    "BytesReader": viewed,
    "ChunksBuf": lambda parts: ChunksBuf(deque(parts)),
    "Chain": lambda parts: Chain(FourMethods(parts[:1]), deque(parts[1:])),
    "Chain of Chain": lambda parts: Chain(Chain(parts[0], b""), Chain(b"", viewed(parts[1:]))),
    "Limited": lambda parts: Limited(viewed([*parts, b"\xff", bytes(20)]), sum(map(len, parts))),
    "FileBuf": read_ahead_to_the_first_cut,
    "three methods": ThreeMethods,
    "four methods": FourMethods,
}

every_buf = pytest.mark.parametrize("kind", BUFS)


def make_buf(kind: str, data: bytes, cuts: Any = ()) -> Buf:
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
    return BUFS[kind]([data[start:stop] for start, stop in itertools.pairwise(edges)])


def check(buf: Buf, rest: bytes) -> None:
    """See that this is left, and that the laws hold."""
    if isinstance(buf, BytesReader):
        check_laws(buf)
    assert (buf.remaining(), len(buf), bool(buf)) == (len(rest), len(rest), bool(rest))
    assert buf.chunk() == rest[: buf.chunk().nbytes]
    if not isinstance(buf, ThreeMethods) or isinstance(buf, FourMethods):
        assert buf.peek_view(len(rest)) == rest


def call(buf: Any, verb: str, form: Format | Varint) -> Any:
    return getattr(buf, f"{verb}_{form.name}")(*form.args)


def cannot_peek(buf: Buf, nbytes: int) -> bool:
    """Say whether this shows no more than a chunk, and that is too short."""
    return type(buf) is ThreeMethods and buf.chunk().nbytes < nbytes


class ThreeMethodsMut(BufMut):
    """What somebody else fills who implements no more than is asked for, a byte at a time."""

    def __init__(self, nbytes: int) -> None:
        self.rooms = [bytearray(1) for _ in range(nbytes)]
        self.filled = b""

    def remaining_mut(self) -> int:
        return len(self.rooms)

    def chunk_mut(self) -> memoryview:
        return memoryview(self.rooms[0]) if self.rooms else memoryview(bytearray())

    def advance_mut(self, nbytes: Any) -> None:
        for _ in range(nbytes):
            self.filled += self.rooms.pop(0)


def leaves(target: BufMut) -> bytes:
    """Return what was put."""
    match target:
        case BytesBuf():
            check_laws(target)
            return bytes(target.peek())
        case SliceMut() | ThreeMethodsMut():
            return bytes(target.filled)
        case BytearrayMut():
            return bytes(target.inner)
        case ChainMut():
            return leaves(target.first) + leaves(target.last)
        case LimitedMut():
            return leaves(target.inner)
    raise AssertionError(target)


# Each has room for at least so many bytes.
TARGETS: dict[str, Callable[[int], BufMut]] = {
    **{
        f"BytesBuf, {name}": lambda nbytes, make=make: make().reserve(nbytes)
        for name, make in MEMORIES.items()
    },
    "BytearrayMut": lambda _: BytearrayMut(bytearray()),
    "SliceMut": lambda nbytes: SliceMut(bytearray(nbytes)),
    "ChainMut": lambda nbytes: ChainMut(
        memoryview(bytearray(nbytes // 2)), SliceMut(bytearray(nbytes))
    ),
    "LimitedMut": lambda nbytes: LimitedMut(bytearray(), nbytes),
    "three methods": ThreeMethodsMut,
}

BOUNDED_TARGETS = [kind for kind in TARGETS if kind != "BytearrayMut"]

every_target = pytest.mark.parametrize("kind", TARGETS)


def refuses(
    target: BufMut, error: type[Exception], name: str, *args: Any, match: str | None = None
) -> Any:
    """See that the method of this name raises, and that nothing was put."""
    before = leaves(target), target.remaining_mut()
    with pytest.raises(error, match=match) as caught:
        getattr(target, name)(*args)
    assert (leaves(target), target.remaining_mut()) == before
    return caught.value
