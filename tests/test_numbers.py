"""The numeric accessors: generated, and equal to `struct` and `int.to_bytes` over hostile cuts."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import MEMORIES, cut_at

from trio_bytesbuf import BufferFull, BytesBuf, BytesReader, NotEnoughBytes
from trio_bytesbuf.testing import FixedBlockMemory, check_laws

GENERATOR = Path(__file__).parent.parent / "tools" / "generate_numbers.py"

CODES = {
    "u8": "B",
    "i8": "b",
    "u16": "H",
    "i16": "h",
    "u32": "I",
    "i32": "i",
    "u64": "Q",
    "i64": "q",
}
CODES |= {"f32": "f", "f64": "d"}
PREFIXES = {"be": ">", "le": "<", "ne": "="}
BYTE_ORDERS = {"be": "big", "le": "little", "ne": sys.byteorder}


@attrs.frozen
class Format:
    """One format of numbers, said again by hand: the model of one group of accessors."""

    kind: str
    nbits: int
    order: str

    def __str__(self) -> str:
        return f"{self.kind}{self.nbits}" + (f"_{self.order}" if self.nbits > 8 else "")

    @property
    def nbytes(self) -> int:
        return self.nbits // 8

    @property
    def least(self) -> int:
        return -(1 << self.nbits - 1) if self.kind == "i" else 0

    @property
    def most(self) -> int:
        return (1 << self.nbits - (self.kind == "i")) - 1

    @property
    def values(self) -> st.SearchStrategy[int | float]:
        if self.kind == "f":
            return st.floats(width=self.nbits)
        return st.integers(self.least, self.most) | st.sampled_from([self.least, self.most, 0])

    def pack(self, value: float) -> bytes:
        if self.nbits == 128:
            return value.to_bytes(16, BYTE_ORDERS[self.order], signed=self.kind == "i")
        return struct.pack(PREFIXES[self.order] + CODES[f"{self.kind}{self.nbits}"], value)

    def unpack(self, data: bytes) -> float:
        if self.nbits == 128:
            return int.from_bytes(data, BYTE_ORDERS[self.order], signed=self.kind == "i")
        return struct.unpack(PREFIXES[self.order] + CODES[f"{self.kind}{self.nbits}"], data)[0]


FORMATS = [
    Format(kind, nbits, order)
    for kind in "ui"
    for nbits in (8, 16, 32, 64, 128)
    for order in (("be", "le", "ne") if nbits > 8 else ("ne",))
] + [Format("f", nbits, order) for nbits in (32, 64) for order in ("be", "le", "ne")]

INTEGERS = [form for form in FORMATS if form.kind != "f"]

# There are many formats, and they share their code.
few_examples = settings(max_examples=25)

every_format = pytest.mark.parametrize("form", FORMATS, ids=str)


def same(one: float | None, other: float | None) -> bool:
    """Say whether two numbers are the same, of the same type, and -0.0 and nan told apart."""
    if isinstance(one, float) and isinstance(other, float):
        nans = math.isnan(one) and math.isnan(other)
        return nans or (one == other and math.copysign(1, one) == math.copysign(1, other))
    return type(one) is type(other) and one == other


def test_the_generated_file_is_what_the_generator_writes() -> None:
    """Nobody has edited it by hand, and the generator has been run after its last change."""
    done = subprocess.run([sys.executable, GENERATOR, "--check"], check=False)
    assert done.returncode == 0, f"run {GENERATOR.name}"


def test_every_format_has_its_accessors_and_there_are_no_others() -> None:
    """get_ and try_get_ on the reader, put_ on the builder, for the formats of this file."""
    suffixes = set(map(str, FORMATS))
    others = {"slice", "repeated", "view"}
    assert {name[4:] for name in dir(BytesReader) if name.startswith("get_")} == suffixes
    assert {name[8:] for name in dir(BytesReader) if name.startswith("try_get_")} == suffixes
    assert {name[4:] for name in dir(BytesBuf) if name.startswith("put_")} == suffixes | others


@every_format
@few_examples
@given(st.data())
def test_a_number_is_read_over_any_cuts_as_struct_reads_it(
    form: Format, data: st.DataObject
) -> None:
    """get_ and its quiet twin give the number and move behind it, wherever the pieces end."""
    before, after = data.draw(st.binary(max_size=3)), data.draw(st.binary(max_size=3))
    packed = data.draw(st.binary(min_size=form.nbytes, max_size=form.nbytes))
    cuts = data.draw(st.sets(st.integers(1, form.nbytes + 6), max_size=5))
    expected = form.unpack(packed)
    for name in (f"get_{form}", f"try_get_{form}"):
        reader = BytesReader(cut_at(before + packed + after, cuts))
        reader.advance(len(before))
        assert same(getattr(reader, name)(), expected)
        check_laws(reader)
        assert reader.tell() == len(before) + form.nbytes
        assert reader.read() == after


@every_format
@few_examples
@given(st.data())
def test_a_number_is_put_as_struct_packs_it_and_comes_back(
    form: Format, data: st.DataObject
) -> None:
    """put_ writes the same bytes into every memory; get_ reads the same value back."""
    value = data.draw(form.values)
    before = data.draw(st.integers(0, 8))
    for make_memory in MEMORIES.values():
        buf = make_memory().reserve(before + form.nbytes)
        buf.put_repeated(0, before)
        room = buf.remaining_capacity
        getattr(buf, f"put_{form}")(value)
        check_laws(buf)
        assert buf.remaining_capacity == room - form.nbytes
        reader = BytesReader(buf.consume_all())
        reader.advance(before)
        assert reader.peek_view(form.nbytes) == form.pack(value)
        assert same(getattr(reader, f"get_{form}")(), value)


@every_format
def test_a_number_that_is_not_all_there_is_not_taken(form: Format) -> None:
    """NotEnoughBytes has both numbers, the twin answers None, and the reader has not moved."""
    for available in range(form.nbytes):
        for cuts in (set(), set(range(form.nbytes))):
            reader = BytesReader(cut_at(b"x" + bytes(available), cuts))
            reader.advance(1)
            with pytest.raises(NotEnoughBytes) as caught:
                getattr(reader, f"get_{form}")()
            assert (caught.value.requested, caught.value.available) == (form.nbytes, available)
            assert str(form.nbytes) in str(caught.value)
            assert getattr(reader, f"try_get_{form}")() is None
            check_laws(reader)
            assert (reader.tell(), len(reader)) == (1, available)


@every_format
def test_a_number_for_which_there_is_no_room_is_not_put(form: Format) -> None:
    """BufferFull has both numbers, and nothing was put."""
    for available in range(form.nbytes):
        buf = FixedBlockMemory(1).reserve(available)
        with pytest.raises(BufferFull) as caught:
            getattr(buf, f"put_{form}")(1)
        assert (caught.value.requested, caught.value.available) == (form.nbytes, available)
        check_laws(buf)
        assert (len(buf), buf.remaining_capacity) == (0, available)


@pytest.mark.parametrize("form", INTEGERS, ids=str)
def test_an_integer_out_of_range_puts_nothing(form: Format) -> None:
    """One below the least and one above the most are refused; the least and the most are not."""
    buf = FixedBlockMemory(7).reserve(2 * form.nbytes)
    room = buf.remaining_capacity
    put = getattr(buf, f"put_{form}")
    for value in (form.least - 1, form.most + 1, 1 << 200):
        with pytest.raises((OverflowError, struct.error)):
            put(value)
    assert (len(buf), buf.remaining_capacity) == (0, room)
    put(form.least)
    put(form.most)
    assert buf.consume_all() == form.pack(form.least) + form.pack(form.most)


@pytest.mark.parametrize("order", ["be", "le", "ne"])
def test_a_float_too_large_for_its_format_puts_nothing(order: str) -> None:
    """1e39 is no 32-bit float; infinity is."""
    buf = FixedBlockMemory(3).reserve(8)
    put = getattr(buf, f"put_f32_{order}")
    with pytest.raises(OverflowError):
        put(1e39)
    assert len(buf) == 0
    put(math.inf)
    assert getattr(BytesReader(buf.consume_all()), f"get_f32_{order}")() == math.inf


@every_format
@pytest.mark.parametrize("value", ["1", None, b"1", 1j], ids=repr)
def test_what_is_no_number_puts_nothing(form: Format, value: object) -> None:
    """TypeError or struct.error, whatever the format."""
    buf = FixedBlockMemory(7).reserve(16)
    with pytest.raises((TypeError, struct.error)):
        getattr(buf, f"put_{form}")(value)
    assert len(buf) == 0


@pytest.mark.parametrize("form", INTEGERS, ids=str)
def test_a_fraction_is_no_integer_and_an_index_is_one(form: Format) -> None:
    """1.0 is refused as an integer; what has `__index__` is taken."""

    class Seven:
        def __index__(self) -> int:
            return 7

    buf = FixedBlockMemory(7).reserve(32)
    with pytest.raises((TypeError, struct.error)):
        getattr(buf, f"put_{form}")(1.0)
    assert len(buf) == 0
    getattr(buf, f"put_{form}")(Seven())
    assert buf.consume_all() == form.pack(7)


@given(st.data())
def test_a_struct_is_unpacked_over_any_cuts(data: st.DataObject) -> None:
    """Like struct.unpack; not enough bytes leave the reader where it was."""
    layout = struct.Struct(data.draw(st.sampled_from(["<", ">"])) + "BhIq3s")
    packed = data.draw(st.binary(min_size=layout.size, max_size=layout.size + 3))
    cuts = data.draw(st.sets(st.integers(1, layout.size), max_size=5))
    for name in ("unpack", "try_unpack"):
        reader = BytesReader(cut_at(packed, cuts))
        assert getattr(reader, name)(layout) == layout.unpack(packed[: layout.size])
        left = len(packed) - layout.size
        assert len(reader) == left
        with pytest.raises(NotEnoughBytes) as caught:
            reader.unpack(layout)
        assert (caught.value.requested, caught.value.available) == (layout.size, left)
        assert reader.try_unpack(layout) is None
        assert len(reader) == left
        check_laws(reader)


def test_an_empty_struct_needs_no_bytes() -> None:
    """There is always enough of nothing."""
    reader = BytesReader(b"")
    assert reader.unpack(struct.Struct("")) == ()
    assert reader.try_unpack(struct.Struct("")) == ()
