"""Order, equality and text of a view are those of its bytes, however it is cut."""

from __future__ import annotations

import operator
import random
import warnings
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import POOR_BYTES, cut_at, cut_bytes

from trio_bytesbuf import BytesView
from trio_bytesbuf.seq import _pieces

ORDERS = [operator.lt, operator.le, operator.gt, operator.ge]

# Order


@given(cut_bytes(), cut_bytes())
def test_order_is_that_of_the_bytes(
    left: tuple[bytes, BytesView], right: tuple[bytes, BytesView]
) -> None:
    """<, <=, > and >= of views, and of a view and bytes of any kind on either side."""
    for order in ORDERS:
        expected = order(left[0], right[0])
        assert order(left[1], right[1]) is expected
        for make in (bytes, bytearray, memoryview):
            assert order(left[1], make(right[0])) is expected
            assert order(make(left[0]), right[1]) is expected


@given(POOR_BYTES, POOR_BYTES, POOR_BYTES, st.sets(st.integers(1, 40)), st.sets(st.integers(1, 40)))
def test_a_common_beginning_decides_nothing(
    common: bytes, one: bytes, other: bytes, cuts: set[int], other_cuts: set[int]
) -> None:
    """Views that begin alike are ordered by what follows, and the shorter of two comes first."""
    left, right = cut_at(common + one, cuts), cut_at(common + other, other_cuts)
    for order in ORDERS:
        assert order(left, right) is order(one, other)
        assert order(left, left[:]) is order(common, common)
    assert (left < cut_at(common + one + b"\0", cuts)) is True


@given(cut_bytes(), cut_bytes(), st.integers(1, 4), st.integers(1, 8))
def test_order_is_the_same_however_small_the_windows(
    left: tuple[bytes, BytesView], right: tuple[bytes, BytesView], first: int, most: int
) -> None:
    """Windows of a few bytes put their edges everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_pieces, "FIRST_WINDOW_NBYTES", first)
        patch.setattr(_pieces, "WINDOW_NBYTES", max(first, most))
        for order in ORDERS:
            assert order(left[1], right[1]) is order(left[0], right[0])


def test_a_difference_behind_the_first_windows_decides() -> None:
    """One byte in a hundred thousand, in the first window, at an edge, and in the last one."""
    data = bytes(range(256)) * 400
    for at in (0, 255, 256, 767, 768, 65535, len(data) - 1):
        larger = bytearray(data)
        larger[at] = 255 if data[at] < 255 else 0
        expected = data < larger
        assert (cut_at(data, {at, 300}) < cut_at(bytes(larger), {700})) is expected
        assert (cut_at(data, {at + 1}) >= larger) is not expected


def test_sorting_sorts_by_the_bytes() -> None:
    """Views and bytes in one list, equal ones in the order in which they came."""
    words = [b"", b"\0", b"a", b"a\0", b"ab", b"abc", b"abd", b"b", b"\x7f", b"\x80", b"\xff"]
    mixed = [make(word) for word in words for make in (BytesView, bytes, lambda w: cut_at(w, {1}))]
    random.Random(5).shuffle(mixed)
    ordered = sorted(mixed)
    assert [bytes(word) for word in ordered] == sorted(bytes(word) for word in mixed)
    assert max(mixed) == b"\xff"
    assert min(mixed) == b""


@pytest.mark.parametrize("other", ["abc", 5, 1.5, None, [97], (97,), {97}], ids=repr)
@pytest.mark.parametrize("order", ORDERS)
def test_what_is_no_bytes_has_no_place_in_the_order(
    order: Callable[[object, object], bool], other: object
) -> None:
    """A TypeError on either side, as from `bytes`."""
    for view in (BytesView(), BytesView(b"abc"), cut_at(b"abc", {1})):
        with pytest.raises(TypeError, match="not supported between instances"):
            order(view, other)
        with pytest.raises(TypeError, match="not supported between instances"):
            order(other, view)


@pytest.mark.parametrize("order", ORDERS)
def test_numbers_in_memory_are_not_ordered_as_bytes(
    order: Callable[[object, object], bool],
) -> None:
    """A memoryview whose items are not bytes, or lie in rows, is refused; one with gaps is not."""
    view = cut_at(b"abcd", {1})
    for other in (
        memoryview(b"abcd").cast("I"),
        memoryview(b"abcd").cast("b"),
        memoryview(b"abcd").cast("B", (2, 2)),
    ):
        with pytest.raises(TypeError):
            order(view, other)
        with pytest.raises(TypeError):
            order(other, view)
    assert order(view, memoryview(b"a-b-c-e-")[::2]) is order(b"abcd", b"abce")


# Equality


@pytest.mark.parametrize("view", [BytesView(), BytesView(b"abc"), cut_at(b"abc", {1})], ids=repr)
def test_text_is_not_equal_and_the_warning_says_what_to_do(view: BytesView) -> None:
    """False as for `bytes`, but never silently: the usual mistake is a `decode()` forgotten."""
    text = bytes(view).decode()
    for compare in (lambda: view == text, lambda: text == view):
        with pytest.warns(BytesWarning, match=r"decode\(\)") as caught:
            assert compare() is False
        assert [warning.filename for warning in caught] == [__file__]
    for differ in (lambda: view != text, lambda: text != view):
        with pytest.warns(BytesWarning, match=r"decode\(\)"):
            assert differ() is True
    with pytest.warns(BytesWarning):
        assert view not in [text, 5]


@pytest.mark.parametrize("other", [5, None, 1.5, [97], object()], ids=repr)
def test_only_text_is_warned_of(other: object) -> None:
    """Numbers, None and lists are unequal in silence; so are other bytes, and equal ones equal."""
    view = cut_at(b"abc", {1})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert view != other
        assert other != view
        assert view != b"abd"
        assert view == b"abc"


@given(cut_bytes(), st.sampled_from("bc"))
def test_memory_of_other_items_is_equal_whenever_it_is_to_the_bytes(
    drawn: tuple[bytes, BytesView], form: str
) -> None:
    """Signed bytes are compared as numbers and chars as chars, by a view as by `bytes`."""
    model, view = drawn
    other = memoryview(model).cast(form)
    assert (view == other) is (memoryview(model) == other)
    assert (view != other) is (memoryview(model) != other)
    if view == other:
        assert hash(view) == hash(other)


# Text


@given(cut_bytes())
def test_iteration_goes_backwards_too(drawn: tuple[bytes, BytesView]) -> None:
    """`reversed` gives the bytes from the last to the first."""
    model, view = drawn
    assert list(reversed(view)) == list(reversed(model))


# Printed by `{:?}`, `{:x}` and `{:X}` of `bytes::Bytes`, version 1.10.1 of the Rust crate.
ALL_DEBUG = (
    r'b"\0\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17'
    r"\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"
    r" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz"
    r"{|}~\x7f\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94"
    r"\x95\x96\x97\x98\x99\x9a\x9b\x9c\x9d\x9e\x9f\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab"
    r"\xac\xad\xae\xaf\xb0\xb1\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xbb\xbc\xbd\xbe\xbf\xc0\xc1\xc2"
    r"\xc3\xc4\xc5\xc6\xc7\xc8\xc9\xca\xcb\xcc\xcd\xce\xcf\xd0\xd1\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9"
    r"\xda\xdb\xdc\xdd\xde\xdf\xe0\xe1\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xeb\xec\xed\xee\xef\xf0"
    r'\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa\xfb\xfc\xfd\xfe\xff"'
)
FORMS = [
    (b"", 'b""', "", ""),
    (b"hello", 'b"hello"', "68656c6c6f", "68656C6C6F"),
    (b"a\"b'c\\d", r'''b"a\"b'c\\d"''', "61226227635c64", "61226227635C64"),
    (b"\r\n\t\0", r'b"\r\n\t\0"', "0d0a0900", "0D0A0900"),
    ("h\xe9llo".encode(), r'b"h\xc3\xa9llo"', "68c3a96c6c6f", "68C3A96C6C6F"),
    (b"\x7f\x80{}", r'b"\x7f\x80{}"', "7f807b7d", "7F807B7D"),
    (b"\0hi\xff", r'b"\0hi\xff"', "006869ff", "006869FF"),
]


@pytest.mark.parametrize(("data", "debug", "lower", "upper"), FORMS)
@pytest.mark.parametrize("cuts", [set(), {1, 3}], ids=["one piece", "cut"])
def test_formats_are_those_of_rust(
    data: bytes, debug: str, lower: str, upper: str, cuts: set[int]
) -> None:
    """`?` is Debug, `x` is LowerHex and `X` is UpperHex of the crate."""
    view = cut_at(data, cuts)
    assert f"{view:?}" == debug
    assert f"{view:x}" == lower
    assert f"{view:X}" == upper


def test_every_byte_is_written_as_rust_writes_it() -> None:
    """All 256 of them."""
    assert f"{BytesView(bytes(range(256))):?}" == ALL_DEBUG


def test_other_formats_are_those_of_text() -> None:
    """Width and alignment go to the repr; what is no format of text is a ValueError."""
    view = cut_at(b"ab", {1})
    assert f"{view}" == str(view) == repr(view)
    assert f"{BytesView(b'ab'):>20}" == f"{BytesView(b'ab')!r:>20}"
    for wrong in ("d", "xx", "08x", "??"):
        with pytest.raises(ValueError, match="format"):
            format(view, wrong)
