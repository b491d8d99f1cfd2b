"""Numbers of variable width: LEB128 and zigzag, as in DWARF, WebAssembly, Protocol Buffers.

Every accessor is tried on every kind of `Buf` and `BufMut`; `number_models` has those.
"""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from number_models import (
    BUFS,
    TARGETS,
    VERBS,
    Varint,
    call,
    cannot_peek,
    check,
    leaves,
    make_buf,
    refuses,
)

from trio_bytesbuf import BytesReader, NotEnoughBytes, VarintTooLong
from trio_bytesbuf.seq import Buf, BytearrayMut

VECTORS = {
    # Protocol Buffers' guide to its encoding; what DWARF's figures have; WebAssembly's favourites
    "uleb128": {0: "00", 1: "01", 150: "9601", 300: "ac02", 2: "02", 127: "7f", 128: "8001"}
    | {129: "8101", 130: "8201", 12857: "b964", 624485: "e58e26", 2**64 - 1: "ff" * 9 + "01"},
    "sleb128": {0: "00", 2: "02", -2: "7e", 127: "ff00", -127: "817f", 128: "8001", -128: "807f"}
    | {129: "8101", -129: "ff7e", -1: "7f", 63: "3f", 64: "c000", -64: "40", -65: "bf7f"}
    | {-123456: "c0bb78", 2**63 - 1: "ff" * 9 + "00", -(2**63): "80" * 9 + "7f"},
    "zigzag": {0: "00", -1: "01", 1: "02", -2: "03", 2: "04", 63: "7e", -64: "7f", 64: "8001"}
    | {2**31 - 1: "feffffff0f", -(2**31): "ffffffff0f"}
    | {2**63 - 1: "fe" + "ff" * 8 + "01", -(2**63): "ff" * 9 + "01"},
}

LENIENT = [
    ("uleb128", "8000", 64, 0),
    ("uleb128", "8100", 64, 1),
    ("uleb128", "ff00", 8, 127),
    ("uleb128", "80" * 9 + "00", 64, 0),
    ("sleb128", "8000", 64, 0),
    ("sleb128", "ff7f", 64, -1),
    ("sleb128", "ff" * 9 + "7f", 64, -1),
    ("zigzag", "8100", 64, -1),
    ("zigzag", "8000", 64, 0),
]
"""Longer than need be, and no longer than the longest: these are read."""

TOO_LONG = [
    ("uleb128", "ff" * 9 + "02", 64),
    ("uleb128", "80" * 10, 64),
    ("uleb128", "80" * 10 + "00", 64),
    ("uleb128", "8000", 7),
    ("uleb128", "02", 1),
    ("uleb128", "ff02", 8),
    ("uleb128", "ffff", 8),
    ("sleb128", "ff" * 9 + "01", 64),
    ("sleb128", "80" * 9 + "7e", 64),
    ("sleb128", "80" * 9 + "40", 64),
    ("sleb128", "ff" * 10, 64),
    ("sleb128", "01", 1),
    ("sleb128", "ff00", 7),
    ("zigzag", "ff" * 9 + "02", 64),
    ("zigzag", "80" * 10, 64),
    ("zigzag", "02", 1),
]


def some_cuts(data: bytes) -> list[set[int]]:
    return [set(), set(range(len(data))), {1}, {len(data) - 1}]


@pytest.mark.parametrize(
    ("name", "text", "max_bits", "value"),
    [
        (name, text, 64, value)
        for name, vectors in VECTORS.items()
        for value, text in vectors.items()
    ]
    + LENIENT,
)
def test_known_varints_are_read(name: str, text: str, max_bits: int, value: int) -> None:
    """From every kind of Buf, over cuts, up to what is behind; every shorter part is refused."""
    data = bytes.fromhex(text)
    assert Varint(name, max_bits).read(data) == (value, len(data))
    for kind, cuts in itertools.product(BUFS, some_cuts(data)):
        for verb, moves in VERBS.items():
            buf = make_buf(kind, data + b"\xff", cuts)
            if cannot_peek(buf, len(data)):
                continue
            assert getattr(buf, f"{verb}_{name}")(max_bits) == value
            check(buf, b"\xff" if moves else data + b"\xff")
            for length in range(len(data)):
                check_truncated(make_buf(kind, data[:length], cuts), verb, name, max_bits)


def check_truncated(buf: Buf, verb: str, name: str, max_bits: int) -> None:
    """See that one byte more than there are is wanted, and nothing has moved."""
    available = buf.remaining()
    if cannot_peek(buf, available):
        return
    before = buf.peek_view(available).to_bytes()
    if verb.startswith("try_"):
        assert getattr(buf, f"{verb}_{name}")(max_bits) is None
    else:
        with pytest.raises(NotEnoughBytes) as caught:
            getattr(buf, f"{verb}_{name}")(max_bits)
        error = caught.value
        assert (error.requested, error.available) == (available + 1, available)
    check(buf, before)


@pytest.mark.parametrize("name", VECTORS)
def test_known_varints_are_put(name: str) -> None:
    """Into every target; never longer than need be."""
    for make, (value, text) in itertools.product(TARGETS.values(), VECTORS[name].items()):
        target = make(10)
        getattr(target, f"put_{name}")(value)
        assert leaves(target).hex() == text == Varint(name).pack(value).hex()


@pytest.mark.parametrize(("name", "text", "max_bits"), TOO_LONG)
def test_a_varint_that_is_too_long_is_not_taken(name: str, text: str, max_bits: int) -> None:
    """VarintTooLong has the limit; the quiet twins raise it too, for waiting does not help."""
    data = bytes.fromhex(text)
    for kind, cuts in itertools.product(BUFS, some_cuts(data)):
        buf = make_buf(kind, data, cuts)
        if cannot_peek(buf, min(len(data), math.ceil(max_bits / 7))):
            continue
        for verb in VERBS:
            with pytest.raises(VarintTooLong, match=f"more than {max_bits} bits") as caught:
                getattr(buf, f"{verb}_{name}")(max_bits)
            assert caught.value.max_bits == max_bits
        check(buf, data)


@given(
    name=st.sampled_from(sorted(VECTORS)),
    max_bits=st.integers(1, 80),
    data=st.lists(st.integers(0, 255) | st.integers(128, 255), max_size=14).map(bytes),
    kind=st.sampled_from([kind for kind in BUFS if kind != "three methods"]),
    cuts=st.sets(st.integers(1, 13)),
)
def test_any_bytes_are_a_varint_or_too_long_or_too_few(
    name: str, max_bits: int, data: bytes, kind: str, cuts: set[int]
) -> None:
    """Whatever comes, all verbs agree with the model, and only a number that is had moves."""
    expected = Varint(name, max_bits).read(data)
    for verb, moves in VERBS.items():
        buf = make_buf(kind, data, cuts)
        method = getattr(buf, f"{verb}_{name}")
        if isinstance(expected, tuple):
            assert method(max_bits) == expected[0]
            check(buf, data[expected[1] :] if moves else data)
        elif expected is NotEnoughBytes:
            check_truncated(buf, verb, name, max_bits)
        else:
            with pytest.raises(VarintTooLong):
                method(max_bits)
            check(buf, data)


@pytest.mark.parametrize("name", VECTORS)
def test_the_limits_of_every_number_of_bits(name: str) -> None:
    """The least and the most come back; one beyond is neither put nor read."""
    for max_bits in range(1, 130):
        form = Varint(name, max_bits)
        wider = Varint(name, max_bits + 2)
        for value in (form.least, form.most):
            target = BytearrayMut(bytearray())
            getattr(target, f"put_{name}")(value, max_bits)
            assert leaves(target) == form.pack(value)
            assert call(BytesReader(leaves(target)), "get", form) == value
        for value in {form.least - 1, form.most + 1} - {-1 if name == "uleb128" else None}:
            with pytest.raises(OverflowError):
                getattr(target, f"put_{name}")(value, max_bits)
            with pytest.raises(VarintTooLong):
                call(BytesReader(wider.pack(value)), "get", form)


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize("max_bits", [10**10, 10**30], ids=["10**10", "10**30"])
def test_a_huge_number_of_bits_is_no_limit(name: str, max_bits: int) -> None:
    """Nothing is made that is as large; only what is there is looked at."""
    for value in (0, 1, 2**1000 - 1, *(() if name == "uleb128" else (-1, -(2**1000)))):
        target = BytearrayMut(bytearray())
        getattr(target, f"put_{name}")(value, max_bits)
        for kind in BUFS:
            for verb in VERBS:
                buf = make_buf(kind, leaves(target) + b"\xff")
                assert getattr(buf, f"{verb}_{name}")(max_bits) == value


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize(
    ("max_bits", "error"),
    [(0, ValueError), (-1, ValueError), (-(10**30), ValueError)]
    + [(wrong, TypeError) for wrong in (64.0, "64", None)],
)
def test_what_is_no_number_of_bits_is_refused(
    name: str, max_bits: object, error: type[Exception]
) -> None:
    """By the loud and the quiet, whether there are bytes or not; nothing has moved."""
    for kind, data in itertools.product(BUFS, (b"", b"\x01", b"\x81\x01")):
        buf = make_buf(kind, data)
        for verb in VERBS:
            with pytest.raises(error) as caught:
                getattr(buf, f"{verb}_{name}")(max_bits)
            assert not isinstance(caught.value, (NotEnoughBytes, VarintTooLong))
        check(buf, data)
    for make in TARGETS.values():
        target = make(20)
        for value in (0, 1, 300):
            refuses(target, error, f"put_{name}", value, max_bits)
