"""Numbers of fixed width: equal to `struct` and `int.to_bytes`, however the bytes are cut.

Every accessor is tried on every kind of `Buf` and `BufMut`; `number_models` has those.
"""

from __future__ import annotations

import inspect
import itertools
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from number_models import (
    BOUNDED_TARGETS,
    BUFS,
    FIXED,
    FORMATS,
    PREFIXES,
    TARGETS,
    VARINTS,
    VERBS,
    WIDE,
    Format,
    Index,
    ThreeMethods,
    Varint,
    call,
    cannot_peek,
    check,
    every_buf,
    every_target,
    leaves,
    make_buf,
    refuses,
    same,
)

from trio_bytesbuf import BufferFull, BytesBuf, BytesReader, NotEnoughBytes
from trio_bytesbuf.seq import Buf, BufMut, BytearrayMut, SliceMut
from trio_bytesbuf.seq._numbers_fast import FastNumbers

GENERATOR = Path(__file__).parent.parent / "tools" / "generate_numbers.py"

few_examples = settings(max_examples=40)

# Which there are


def test_the_generated_files_are_what_the_generator_writes() -> None:
    """Nobody has edited them by hand, and the generator has been run after its last change."""
    room = Path(inspect.getfile(FastNumbers)).parent  # which may be an installed one
    done = subprocess.run([sys.executable, GENERATOR, "--check", room], check=False)
    assert done.returncode == 0, f"run {GENERATOR.name}"


@pytest.mark.parametrize(
    ("kind", "prefix", "others"),
    [
        (kind, prefix, {"view", "unpack"} if "peek" in prefix else set())
        for kind in (Buf, BytesReader)
        for prefix in ("get_", "try_get_", "peek_", "try_peek_")
    ]
    + [(BufMut, "put_", {"slice", "repeated", "struct", "str"})]
    + [(BytesBuf, "put_", {"slice", "repeated", "struct", "str", "view"})],
)
def test_every_format_has_its_accessors_and_there_are_no_others(
    kind: type, prefix: str, others: set[str]
) -> None:
    """The names, the arguments and the words of the formats of this file."""
    found = {name.removeprefix(prefix) for name in dir(kind) if name.startswith(prefix)}
    assert found == {form.name for form in FIXED + WIDE + VARINTS} | others
    for form in FIXED + WIDE + VARINTS:
        method = getattr(kind, prefix + form.name)
        wanted = ["value"] if prefix == "put_" else []
        wanted += ["nbytes"] if form in WIDE else ["max_bits=64"] if form in VARINTS else []
        signature = inspect.signature(method)
        names = [re.sub(":.*?(?= =|$)", "", str(one)) for one in signature.parameters.values()]
        assert [name.replace(" ", "") for name in names] == ["self", *wanted]
        assert inspect.getdoc(method)


def test_the_reader_has_a_fast_way_for_what_struct_knows() -> None:
    """And for nothing else; the quiet twins call it."""
    fast = {name.removeprefix("get_") for name in vars(FastNumbers) if name.startswith("get_")}
    assert fast == {form.name for form in FIXED if form.nbytes <= 8}
    for name in fast:
        assert getattr(BytesReader, f"get_{name}") is vars(FastNumbers)[f"get_{name}"]


# Fixed widths


@every_buf
def test_a_number_is_read_wherever_the_pieces_end(kind: str) -> None:
    """Every format, every place of one cut, and pieces of one byte; peeking moves nothing."""
    for form in FIXED + WIDE:
        data = bytes([7, *(0x81 + 7 * at for at in range(form.nbytes)), 9])
        expected = form.unpack(data[1:-1])
        for cuts in [set(), set(range(len(data))), *({cut} for cut in range(1, len(data)))]:
            for verb, moves in VERBS.items():
                buf = make_buf(kind, data, cuts)
                assert buf.get_u8() == 7  # leaves a reader at the end of its piece, if there is one
                if not moves and cannot_peek(buf, form.nbytes):
                    with pytest.raises(NotImplementedError, match="too few to peek"):
                        call(buf, verb, form)
                    check(buf, data[1:])
                    continue
                assert same(call(buf, verb, form), expected), (form, cuts, verb)
                check(buf, data[-1:] if moves else data[1:])


@every_buf
def test_a_number_that_is_not_all_there_is_not_taken(kind: str) -> None:
    """NotEnoughBytes has both numbers, the twin answers None, and nothing has moved."""
    for form in FIXED + WIDE[::5]:
        for available in range(form.nbytes):
            data = bytes([7]) * (1 + available)
            for cuts in (set(), {1}, set(range(1 + available))):
                buf = make_buf(kind, data, cuts)
                buf.get_u8()
                for verb in VERBS:
                    if verb.startswith("try_"):
                        assert call(buf, verb, form) is None
                    else:
                        with pytest.raises(NotEnoughBytes) as caught:
                            call(buf, verb, form)
                        error = caught.value
                        assert (error.requested, error.available) == (form.nbytes, available)
                check(buf, data[1:])


@every_buf
def test_a_number_that_is_all_there_is_can_be_read(kind: str) -> None:
    """By the loud and the quiet; neither wants one byte more than it needs."""
    for form, verb in itertools.product(FIXED + WIDE, VERBS):
        data = bytes(0x81 + at for at in range(form.nbytes))
        buf = make_buf(kind, data)
        assert same(call(buf, verb, form), form.unpack(data))
        check(buf, b"" if VERBS[verb] else data)


@every_buf
@few_examples
@given(st.data())
def test_numbers_one_after_the_other_are_read_over_any_cuts(kind: str, data: st.DataObject) -> None:
    """Any bits in any formats, varints among them, by any verbs: as the models read them."""
    forms = data.draw(st.lists(FORMATS, min_size=1, max_size=6))
    packed = [
        form.pack(data.draw(form.values))
        if isinstance(form, Varint)
        else data.draw(st.binary(min_size=form.nbytes, max_size=form.nbytes))
        for form in forms
    ]
    rest = b"".join(packed)
    cuts = data.draw(
        st.just(range(len(rest))) | st.sets(st.integers(1, max(1, len(rest))), max_size=6)
    )
    buf = make_buf(kind, rest, cuts)
    for form, number in zip(forms, packed, strict=True):
        expected = form.read(number)[0] if isinstance(form, Varint) else form.unpack(number)
        verb = data.draw(st.sampled_from(["get", "try_get"]))
        if cannot_peek(buf, len(number)):
            if isinstance(form, Varint):  # which is peeked at before it is taken
                with pytest.raises(NotImplementedError, match="too few to peek"):
                    call(buf, verb, form)
                check(buf, rest)
                return
        else:
            assert same(call(buf, "peek", form), expected)
            assert same(call(buf, "try_peek", form), expected)
            check(buf, rest)
        assert same(call(buf, verb, form), expected)
        rest = rest[len(number) :]
        check(buf, rest)


@every_target
@few_examples
@given(
    numbers=st.lists(
        FORMATS.flatmap(lambda form: st.tuples(st.just(form), form.values)), max_size=6
    )
)
def test_numbers_are_put_as_the_models_pack_them_and_come_back(kind: str, numbers: Any) -> None:
    """Into every target, however its room is cut; the room for one more byte stays as it was."""
    expected = b"".join(form.pack(value) for form, value in numbers)
    target = TARGETS[kind](len(expected) + 1)
    room = target.remaining_mut()
    for form, value in numbers:
        getattr(target, f"put_{form.name}")(value, *form.args)
    assert leaves(target) == expected
    assert target.remaining_mut() == room - len(expected)
    reader = BytesReader(leaves(target))
    for form, value in numbers:
        found = call(reader, "get", form)
        assert found == value or math.isnan(found) is math.isnan(value) is True
    assert not reader


@pytest.mark.parametrize("kind", BOUNDED_TARGETS)
def test_a_number_for_which_there_is_no_room_is_not_put(kind: str) -> None:
    """BufferFull has both numbers, and nothing was put."""
    for form in FIXED + WIDE[::5]:
        for available in {0, form.nbytes // 2, form.nbytes - 1} & set(range(form.nbytes)):
            target = TARGETS[kind](available)
            target.put_repeated(7, target.remaining_mut() - available)
            error = refuses(target, BufferFull, f"put_{form.name}", 1, *form.args)
            assert (error.requested, error.available) == (form.nbytes, available)


def test_a_varint_for_which_there_is_no_room_is_not_put() -> None:
    """As many bytes as the value has are wanted, and no more."""
    target = SliceMut(bytearray(1))
    error = refuses(target, BufferFull, "put_uleb128", 300)
    assert (error.requested, error.available) == (2, 1)
    target.put_uleb128(127)
    assert leaves(target) == b"\x7f"


@pytest.mark.parametrize("form", FIXED + WIDE[::4] + VARINTS, ids=str)
def test_a_value_out_of_range_puts_nothing(form: Format | Varint) -> None:
    """The error names the value, or its length if it is long, and the format. The limits are in."""
    for make in TARGETS.values():
        target = make(20)
        put = f"put_{form.name}"
        for value in form.misfits:
            long = isinstance(value, int) and value.bit_length() > 256
            name = f"an integer of {value.bit_length()} bits" if long else str(value)
            match = f"^{re.escape(name)} does not fit an? .*(integer|float|number)"
            refuses(target, OverflowError, put, value, *form.args, match=match)
        if not isinstance(form, Format) or form.kind != "f":
            getattr(target, put)(form.least, *form.args)
            assert leaves(target) == form.pack(form.least)
            assert same(call(BytesReader(form.pack(form.most)), "get", form), form.most)


@pytest.mark.parametrize("form", FIXED + WIDE[::5] + VARINTS, ids=str)
def test_what_is_no_number_puts_nothing(form: Format | Varint) -> None:
    """TypeError; a fraction is no integer, even if it is whole."""
    wrong: list[object] = ["1", None, b"1", 1j, [], "nan"]
    if getattr(form, "kind", "") != "f":
        wrong += [1.0, math.nan]
    for make in TARGETS.values():
        target = make(16)
        for value in wrong:
            refuses(target, TypeError, f"put_{form.name}", value, *form.args)


@pytest.mark.parametrize("form", FIXED + WIDE[1::5] + VARINTS, ids=str)
def test_bools_and_what_has_an_index_are_integers(form: Format | Varint) -> None:
    """As values and as arguments; one that does not fit is named by its value."""
    args = tuple(map(Index, form.args))
    target = BytearrayMut(bytearray())
    put = getattr(target, f"put_{form.name}")
    put(False, *args)
    if getattr(form, "nbytes", 1):
        put(True, *args)
        put(Index(1), *args)
        assert leaves(target) == form.pack(0) + form.pack(1) * 2
    reader = BytesReader(leaves(target) + bytes(16))
    for verb in VERBS:
        assert getattr(reader, f"{verb}_{form.name}")(*args) in (0, 1)
    if getattr(form, "kind", "") != "f":
        much, match = Index(1 << 200), f"^{1 << 200} does not fit"
        refuses(target, OverflowError, f"put_{form.name}", much, *args, match=match)


@pytest.mark.parametrize("order", PREFIXES)
def test_floats_that_are_no_everyday_numbers(order: str) -> None:
    """Infinities, a nan with its sign, both zeros, the least of the subnormals: as by struct."""
    for nbits, least in {16: 2.0**-24, 32: 2.0**-149, 64: 2.0**-1074}.items():
        form = next(form for form in FIXED if form.name == f"f{nbits}_{order}")
        for value in (math.inf, -math.inf, math.nan, -math.nan, 0.0, -0.0, least, -least, True, 3):
            target = BytesBuf.with_capacity(8)
            getattr(target, f"put_{form.name}")(value)
            packed = leaves(target)
            assert packed == form.pack(value)
            assert same(call(BytesReader(packed), "get", form), form.unpack(packed))
            assert math.isnan(value) or call(ThreeMethods([packed]), "peek", form) == value


# Widths that are an argument


@pytest.mark.parametrize("name", sorted({form.name for form in WIDE}))
@pytest.mark.parametrize(
    ("nbytes", "error"),
    [(-1, ValueError), (17, ValueError), (10**30, ValueError), (-(10**30), ValueError)]
    + [(wrong, TypeError) for wrong in (1.0, "1", None)],
)
def test_what_is_no_width_is_refused(name: str, nbytes: object, error: type[Exception]) -> None:
    """By the loud and the quiet, whether the bytes are there or not; nothing has moved."""
    for kind, available in itertools.product(BUFS, (0, 20)):
        buf = make_buf(kind, bytes(available), {3})
        for verb in VERBS:
            with pytest.raises(error) as caught:
                getattr(buf, f"{verb}_{name}")(nbytes)
            assert not isinstance(caught.value, NotEnoughBytes)
        check(buf, bytes(available))
    for make in TARGETS.values():
        refuses(make(20), error, f"put_{name}", 0, nbytes)
