"""Structs and text in bytes: equal to `struct` and `str.encode`, however the bytes are cut."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from number_models import (
    BOUNDED_TARGETS,
    BUFS,
    FIXED,
    TARGETS,
    VARINTS,
    WIDE,
    call,
    cannot_peek,
    check,
    every_buf,
    every_target,
    leaves,
    make_buf,
    refuses,
)
from number_models import VERBS as NUMBER_VERBS
from strategies import cut_at

from trio_bytesbuf import BufferFull, BytesReader, NotEnoughBytes
from trio_bytesbuf.seq import Buf, BytearrayMut, Chain, Limited, Reader, SliceMut

LAYOUTS = ["", "<", "0s", "B", ">BhIq3s", "<?ed2x", "@bqP", "=5sf", "10p", "3xH", "!2H0I", "<16s"]

VERBS = {"unpack": True, "try_unpack": True, "peek_unpack": False, "try_peek_unpack": False}
"""What reads structs, and whether it moves."""

SPOKEN = {"Struct": struct.Struct, "words": str}


@pytest.mark.parametrize("spoken", SPOKEN)
@every_buf
def test_a_struct_is_unpacked_over_any_cuts(kind: str, spoken: str) -> None:
    """Like struct.unpack, at the front and behind something, of nothing as well."""
    for text, before, rest in itertools.product(LAYOUTS, (0, 1), (b"", b"rest")):
        layout = SPOKEN[spoken](text)
        nbytes = struct.calcsize(text)
        data = bytes(before) + bytes(at & 1 for at in range(nbytes)) + rest
        expected = struct.unpack(text, data[before : before + nbytes])
        for cuts in [set(), set(range(len(data))), *({cut} for cut in range(1, len(data)))]:
            for verb, moves in VERBS.items():
                buf = make_buf(kind, data, cuts)
                for _ in range(before):
                    buf.get_u8()
                if not moves and cannot_peek(buf, nbytes):
                    continue
                assert getattr(buf, verb)(layout) == expected
                check(buf, rest if moves else data[before:])


@every_buf
def test_a_struct_that_is_not_all_there_is_not_taken(kind: str) -> None:
    """NotEnoughBytes has both numbers, the twins answer None, and nothing has moved."""
    for text in LAYOUTS:
        nbytes = struct.calcsize(text)
        for available, spoken in itertools.product(range(nbytes), SPOKEN.values()):
            layout, data = spoken(text), bytes(available)
            for buf in (make_buf(kind, data), make_buf(kind, data, set(range(nbytes)))):
                assert buf.try_unpack(layout) is buf.try_peek_unpack(layout) is None
                for verb in ("unpack", "peek_unpack"):
                    with pytest.raises(NotEnoughBytes) as caught:
                        getattr(buf, verb)(layout)
                    error = caught.value
                    assert (error.requested, error.available) == (nbytes, available)
                check(buf, data)


@every_buf
@pytest.mark.parametrize("verb", VERBS)
def test_an_empty_struct_needs_no_bytes(kind: str, verb: str) -> None:
    """There is always enough of nothing, at the end as well."""
    for text in ("", "<", "0s"):
        buf = make_buf(kind, b"a")
        buf.get_u8()
        assert getattr(buf, verb)(text) == struct.unpack(text, b"")
        check(buf, b"")


NO_LAYOUTS = {
    "unknown": ("zz", struct.error),
    "no pointers in network order": (">P", struct.error),
    "a count of nothing": ("3", struct.error),
    "too large": (f"{2**62}Q", struct.error),
    "int": (5, TypeError),
    "nothing": (None, TypeError),
    "list": ([], TypeError),
}


@pytest.mark.parametrize(("layout", "error"), NO_LAYOUTS.values(), ids=NO_LAYOUTS)
def test_what_is_no_layout_is_refused(layout: Any, error: type[Exception]) -> None:
    """By the loud and the quiet, twice over, whether there are bytes or not; nothing has moved."""
    for kind, data in itertools.product(BUFS, (b"", bytes(20))):
        buf = make_buf(kind, data, {1})
        for verb in [*VERBS, *VERBS]:
            with pytest.raises(error):
                getattr(buf, verb)(layout)
        check(buf, data)
    for make in TARGETS.values():
        target = make(20)
        for _ in range(2):
            refuses(target, error, "put_struct", layout, 1)


@every_target
@pytest.mark.parametrize("spoken", SPOKEN)
def test_a_struct_is_put_as_struct_packs_it(kind: str, spoken: str) -> None:
    """Every target, both manners of speaking, and twice; it comes back."""
    for text in LAYOUTS:
        layout = struct.Struct(text)
        values = layout.unpack(bytes(at & 1 for at in range(layout.size)))
        target = TARGETS[kind](2 * layout.size)
        for _ in range(2):
            target.put_struct(SPOKEN[spoken](text), *values)
        assert leaves(target) == layout.pack(*values) * 2
        reader = BytesReader(leaves(target))
        assert reader.unpack(text) == reader.unpack(text) == values


WRONG_VALUES: list[tuple[Any, ...]] = [(), (1,), (1, 2, 3), (256, 1), (1, "1"), (None, 1), (1, 1.5)]


@every_target
@pytest.mark.parametrize("values", WRONG_VALUES, ids=repr)
def test_values_that_do_not_fit_put_nothing(kind: str, values: tuple[Any, ...]) -> None:
    """Too few, too many, too large, of another kind: struct.error, as of struct."""
    with pytest.raises(struct.error):
        struct.pack(">BH", *values)
    for layout in (">BH", struct.Struct(">BH")):
        refuses(TARGETS[kind](20), struct.error, "put_struct", layout, *values)


def test_a_struct_or_a_text_for_which_there_is_no_room_is_not_put() -> None:
    """BufferFull has both numbers; nothing fits where there is no room at all."""
    for nbytes, name, *args in [
        (6, "put_struct", ">IH", 1, 2),
        (8, "put_str", "größer"),
        (6, "put_str", "abc", "utf-16-be"),
    ]:
        for kind in BOUNDED_TARGETS:
            target = TARGETS[kind](nbytes - 1)
            target.put_repeated(7, target.remaining_mut() - nbytes + 1)
            error = refuses(target, BufferFull, name, *args)
            assert (error.requested, error.available) == (nbytes, nbytes - 1)
    full = SliceMut(bytearray())
    full.put_struct("")
    full.put_str("")
    assert full.remaining_mut() == 0


# Text


@every_target
@settings(max_examples=40)
@given(
    texts=st.lists(
        st.tuples(
            st.text(max_size=8),
            st.sampled_from(["utf-8", "utf-16-le", "ascii", "latin-1"]),
            st.sampled_from(["replace", "backslashreplace", "ignore"]),
        ),
        max_size=4,
    )
)
def test_text_is_put_as_it_is_encoded(kind: str, texts: list[tuple[str, str, str]]) -> None:
    """Any text, encoding and way with what has no bytes, into every target."""
    expected = b"".join(text.encode(encoding, errors) for text, encoding, errors in texts)
    target = TARGETS[kind](len(expected))
    for text, encoding, errors in texts:
        target.put_str(text, encoding, errors=errors)
    assert leaves(target) == expected


class Spelling(str):
    """A text of somebody's own kind."""

    __slots__ = ()


def test_text_is_utf_8_and_strict_if_nothing_is_said() -> None:
    """Subclasses of str are text, too."""
    target = BytearrayMut(bytearray())
    target.put_str("aß\U0001f600")
    target.put_str(Spelling("b"))
    assert leaves(target) == b"a\xc3\x9f\xf0\x9f\x98\x80b"


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (("a\ud800",), UnicodeEncodeError),
        (("ß", "ascii"), UnicodeEncodeError),
        (("a", "no such encoding"), LookupError),
        ((b"a",), TypeError),
        ((bytearray(b"a"),), TypeError),
        ((5,), TypeError),
        ((None,), TypeError),
        ((["a"],), TypeError),
    ],
    ids=repr,
)
def test_what_is_no_text_puts_nothing(args: Any, error: type[Exception]) -> None:
    """Bytes are no text; what the encoding has no bytes for is refused as str.encode does."""
    for make in TARGETS.values():
        refuses(make(20), error, "put_str", *args)


# Closed readers

CLOSED = {
    "the reader": lambda reader: reader,
    "a limit on it": lambda reader: Limited(reader, 5),
    "a chain of it": lambda reader: Chain(reader, b"more"),
    "a chain to it": lambda reader: Chain(b"", reader),
}


@pytest.mark.parametrize("around", CLOSED)
@pytest.mark.parametrize("before", [0, 1, 2, 3])
def test_a_closed_reader_gives_no_numbers(around: str, before: int) -> None:
    """ValueError from every accessor, quiet ones too, also for nothing; wherever it stood."""
    reader = BytesReader(cut_at(b"abc", {1, 2}))
    buf: Buf = CLOSED[around](reader)
    for _ in range(before):
        reader.get_u8()
    reader.close()
    for form, verb in itertools.product(FIXED + WIDE + VARINTS, NUMBER_VERBS):
        with pytest.raises(ValueError, match="closed"):
            call(buf, verb, form)
    for layout, verb in itertools.product(("", "B", struct.Struct(""), struct.Struct("H")), VERBS):
        with pytest.raises(ValueError, match="closed"):
            getattr(buf, verb)(layout)


def test_a_closed_file_over_a_buf_leaves_the_buf_open() -> None:
    """The file is closed, what it read is not."""
    inner = BytesReader(b"\x01\x02")
    file = Reader(inner)
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.read(1)
    assert inner.get_u16_be() == 0x0102
