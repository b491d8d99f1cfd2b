"""Random types: what is written is read, damage is an error or a value, and two paths are one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from bincode_types import HOOKS, LEAVES, Case, cases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trio_bytesbuf import BytesView, DecodeError, EncodeError
from trio_bytesbuf.wire import Array, Bincode, f32, f64, u64
from trio_bytesbuf.wire.bincode._explain_decode import explain_decode
from trio_bytesbuf.wire.bincode._explain_encode import explain_encode
from trio_bytesbuf.wire.bincode._schema_nodes import check_schema

quick = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.data_too_large,
    ],
)

ENCODE_LIMITS = {"max_empties": 2_000, "max_depth": 40}
LIMITS = {"max_nbytes": 20_000, **ENCODE_LIMITS}


NANS = [0x7F800001, 0x7FC00000, 0xFFC12345, 0xFFBFFFFF, 0x7F800000, 0xFF800000]
"""Quiet ones, signalling ones, and infinities."""


def codec_for(case: Case) -> Bincode[Any]:
    codec: Bincode[Any] = Bincode(case.tp, hooks=HOOKS, **LIMITS)
    check_schema(codec._schema)
    return codec


def same(one: object, other: object) -> bool:
    """Say whether two values are equal, or would be if NaNs were."""
    return type(one) is type(other) and (one == other or repr(one) == repr(other))


def decoded_fast(codec: Bincode[Any], payload: bytes | BytesView) -> tuple[str, Any]:
    try:
        return "value", codec.decode(payload)
    except DecodeError as exc:
        return "error", (exc.complaint, exc.offset, exc.path)


def decoded_slowly(codec: Bincode[Any], payload: bytes | BytesView) -> tuple[str, Any]:
    try:
        return "value", explain_decode(codec._schema, BytesView(payload), **LIMITS)
    except DecodeError as exc:
        return "error", (exc.complaint, exc.offset, exc.path)


def encoded_slowly(codec: Bincode[Any], value: object) -> bytes:
    return explain_encode(codec._schema, value, **ENCODE_LIMITS)[0]


def outcome_of(
    encode: Callable[[Bincode[Any], object], bytes], codec: Bincode[Any], value: object
) -> tuple[str, Any]:
    try:
        return "value", encode(codec, value)
    except EncodeError as exc:
        return "error", (exc.complaint, exc.path)


def check_both_ways(codec: Bincode[Any], payload: bytes | BytesView) -> None:
    """Assert that both paths agree, and that a value is one of the type, to the last part."""
    outcome, found = decoded_fast(codec, payload)
    expected_outcome, expected = decoded_slowly(codec, payload)
    assert (outcome, same(found, expected)) == (expected_outcome, True)
    if outcome == "value":
        again = codec.encode(found)
        assert len(again) == len(encoded_slowly(codec, found))
        assert same(codec.decode(again), found)
    else:
        assert 0 <= found[1] <= len(payload)


@quick
@given(st.data())
def test_values_of_random_types_come_back(data: st.DataObject) -> None:
    """Law 3 of the codec; and both paths write the same bytes, of the size that was told."""
    case = data.draw(cases())
    codec = codec_for(case)
    for value in data.draw(st.lists(case.values, min_size=1, max_size=3)):
        wire = codec.encode(value)
        assert wire == encoded_slowly(codec, value)
        assert len(wire) == codec.encoded_size(value)
        assert codec.decode(wire) == value
        assert type(codec.decode(wire)) is type(value)
        assert decoded_slowly(codec, wire) == ("value", value)
        pieces = [BytesView(wire[at : at + 3]) for at in range(0, len(wire), 3)]
        assert codec.decode(BytesView.from_views(pieces)) == value
        assert codec.decode(memoryview(wire)) == value
        assert codec.decode(bytearray(wire)) == value


@quick
@given(st.data())
def test_damage_is_an_error_or_a_value_of_the_type(data: st.DataObject) -> None:
    """Every truncation is an error; a flipped byte is one, or gives a value that comes back."""
    case = data.draw(cases())
    codec = codec_for(case)
    wire = codec.encode(data.draw(case.values))
    for nbytes in range(min(len(wire), 40)):
        assert decoded_fast(codec, wire[:nbytes])[0] == "error"
        check_both_ways(codec, wire[:nbytes])
    for at in range(min(len(wire), 40)):
        byte = data.draw(st.sampled_from([0, 1, 2, 127, 128, 250, 251, 252, 253, 254, 255]))
        check_both_ways(codec, wire[:at] + bytes([byte]) + wire[at + 1 :])
    assert decoded_fast(codec, wire + b"\0")[0] == "error"
    check_both_ways(codec, wire + b"\0")


@quick
@given(cases(), st.lists(st.binary(max_size=40), max_size=10))
def test_garbage_is_an_error_or_a_value_of_the_type(case: Case, payloads: list[bytes]) -> None:
    """Whatever the bytes are, both paths say the same, in pieces too."""
    codec = codec_for(case)
    for payload in payloads:
        check_both_ways(codec, payload)
        pieces = [BytesView(payload[at : at + 2]) for at in range(0, len(payload), 2)]
        in_pieces = BytesView.from_views(pieces)
        assert same(decoded_fast(codec, in_pieces), decoded_fast(codec, payload))


@quick
@given(st.data())
def test_what_is_no_value_of_the_type_is_not_written(data: st.DataObject) -> None:
    """Both paths write the same, or both refuse; what was written comes back as an equal value."""
    case = data.draw(cases())
    codec = codec_for(case)
    for value in data.draw(st.lists(case.wild, min_size=1, max_size=5)):
        written, found = outcome_of(encoded_slowly, codec, value)
        assert outcome_of(Bincode.encode, codec, value) == (written, found)
        if written == "value":
            check_both_ways(codec, found)
            assert decoded_fast(codec, found)[0] == "value"


@settings(quick, max_examples=25)
@given(st.data())
@pytest.mark.parametrize("case", LEAVES, ids=lambda case: str(case.tp)[-60:])
def test_many_are_the_bytes_of_each_one_after_the_other(case: Case, data: st.DataObject) -> None:
    """What is read and written at once, in lists, arrays and runs, is what it is one by one."""
    one = Bincode(case.tp, hooks=HOOKS)
    values = data.draw(st.lists(case.values, max_size=20))
    wires = [one.encode(value) for value in values]
    many = Bincode(list[case.tp], hooks=HOOKS)
    joined = Bincode(u64).encode(len(values)) + b"".join(wires)
    array = Bincode(Annotated[list[case.tp], Array(len(values))], hooks=HOOKS)
    run = Bincode(tuple[*[case.tp] * len(values)] if values else tuple[()], hooks=HOOKS)
    for codec, wire, value in (
        (many, joined, values), (array, joined[1:], values), (run, joined[1:], tuple(values)),
    ):  # fmt: skip
        assert codec.encode(value) == wire
        assert codec.decode(wire) == value
        for at in range(min(len(wire), 30)):
            byte = data.draw(st.sampled_from([0, 2, 3, 250, 251, 252, 253, 255]))
            check_both_ways(codec, wire[:at] + bytes([byte]) + wire[at + 1 :])


@given(st.lists(st.integers(0, (1 << 32) - 1) | st.sampled_from(NANS), min_size=2, max_size=20))
def test_floats_keep_every_bit(numbers: list[int]) -> None:
    """Also those of NaNs, quiet and signalling ones, alone, in lists and in runs."""
    wire = b"".join(number.to_bytes(4, "little") for number in numbers)
    run = Bincode(tuple[*[f32] * len(numbers)])
    many = Bincode(Annotated[list[f32], Array(len(numbers))])
    alone = Bincode(f32)
    for codec in (run, many):
        assert codec.encode(codec.decode(wire)) == wire
        assert encoded_slowly(codec, decoded_slowly(codec, wire)[1]) == wire
    assert (
        b"".join(alone.encode(alone.decode(wire[at : at + 4])) for at in range(0, len(wire), 4))
        == wire
    )
    if len(numbers) % 2 == 0:
        wide = Bincode(list[f64])
        wire = Bincode(u64).encode(len(numbers) // 2) + wire
        assert wide.encode(wide.decode(wire)) == wire
