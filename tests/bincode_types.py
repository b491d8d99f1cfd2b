"""Types drawn at random, with values of theirs and with values that are nearly theirs."""

from __future__ import annotations

import dataclasses
import enum
import itertools
import pathlib
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, NamedTuple

import attrs
from hypothesis import strategies as st

from trio_bytesbuf import BytesView
from trio_bytesbuf.wire import (
    Array,
    Duration,
    Err,
    Hook,
    Ok,
    Some,
    SystemTime,
    char,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    i128,
    u8,
    u16,
    u32,
    u64,
    u128,
)

HOOKS = {Decimal: Hook(str, to_wire=str, from_wire=Decimal)}


@attrs.frozen
class Case:
    """A type, its values, and values that a careless caller might take for its values."""

    tp: Any
    values: st.SearchStrategy[Any] = attrs.field(repr=False)
    wild: st.SearchStrategy[Any] = attrs.field(repr=False)
    kinds: frozenset[type] = frozenset()
    is_hashable: bool = True


class Numbered(enum.IntEnum):
    ONE = 1
    TWO = 2


JUNK: list[Any] = [
    None, True, False, 0, 1, 5, 255, 256, -1, -129, 1 << 64, -(1 << 127) - 1, 1 << 128, 1.5, 0.0,
    float("nan"), float("inf"), 1e300, (1 << 53) + 1, "", "x", "xy", "\ud800", "é", b"", b"abcd",
    bytearray(b"abcd"), memoryview(b"abcd"), memoryview(b"abcd").cast("I"),
    memoryview(b"abcd")[::2],
    BytesView(b"abcd"), BytesView(b"ab") + BytesView(b"cd"), [], [1], (), (1,), (1, 2), {}, {1: 2},
    set(), {1}, frozenset(), Numbered.TWO, Ok(1), Err(""), Some(None), object(), int,
    Decimal("NaN"),
    Duration(1), timedelta(-1), IPv6Address("fe80::1%eth0"), pathlib.Path("\udcff"),
]  # fmt: skip

junk = st.integers(0, len(JUNK) - 1).map(JUNK.__getitem__)  # not all of them have a hash


def leaf(tp: Any, values: st.SearchStrategy[Any], *kinds: type, is_hashable: bool = True) -> Case:
    return Case(tp, values, values | junk, frozenset(kinds), is_hashable)


def integer(tp: Any, nbits: int, *, signed: bool) -> Case:
    least = -(1 << nbits - 1) if signed else 0
    most = (1 << nbits - signed) - 1
    edges = [0, 1, 125, 126, 250, 251, 65535, 65536, 1 << 32, least, most, -125, -126, -1]
    inside = [edge for edge in edges if least <= edge <= most]
    return leaf(tp, st.sampled_from(inside) | st.integers(least, most), int)


bytes_kinds = (bytes, bytearray, memoryview, BytesView)
texts = st.text(st.characters(codec="utf-8"), max_size=5) | st.sampled_from(["é" * 125, "x" * 251])
binary = st.binary(max_size=6) | st.sampled_from([bytes(250), bytes(251)])

LEAVES = [
    integer(u8, 8, signed=False), integer(u16, 16, signed=False), integer(u32, 32, signed=False),
    integer(u64, 64, signed=False), integer(u128, 128, signed=False), integer(i8, 8, signed=True),
    integer(i16, 16, signed=True), integer(i32, 32, signed=True), integer(i64, 64, signed=True),
    integer(i128, 128, signed=True), integer(int, 64, signed=True),
    leaf(bool, st.booleans(), bool),
    leaf(f32, st.floats(width=32, allow_nan=False), float, is_hashable=False),
    leaf(f64, st.floats(allow_nan=False), float, is_hashable=False),
    leaf(char, st.characters(codec="utf-8"), str),
    leaf(str, texts, str), leaf(bytes, binary, *bytes_kinds),
    leaf(BytesView, binary.map(BytesView), *bytes_kinds, is_hashable=False),
    leaf(Annotated[bytes, Array(4)], st.binary(min_size=4, max_size=4), *bytes_kinds),
    leaf(Annotated[BytesView, Array(2)], st.binary(min_size=2, max_size=2).map(BytesView),
         *bytes_kinds, is_hashable=False),
    leaf(type(None), st.none(), type(None)),
    leaf(Numbered, st.sampled_from(Numbered), Numbered),
    leaf(Duration, st.builds(Duration, st.integers(0, (1 << 64) - 1), st.integers(0, 999_999_999)),
         Duration),
    leaf(SystemTime, st.builds(SystemTime, st.integers(0, 1 << 40)), SystemTime),
    leaf(timedelta, st.timedeltas(min_value=timedelta()), timedelta),
    leaf(IPv4Address, st.ip_addresses(v=4), IPv4Address),
    leaf(IPv6Address, st.ip_addresses(v=6), IPv6Address),
    leaf(Decimal, st.decimals(allow_nan=False), Decimal, is_hashable=False),
]  # fmt: skip

serial = itertools.count()


def listed(case: Case, size: int) -> Case:
    few = {"max_size": size}
    return Case(
        list[case.tp], st.lists(case.values, **few), st.lists(case.wild, **few) | junk,
        frozenset({list}), is_hashable=False,
    )  # fmt: skip


def tupled(case: Case) -> Case:
    return Case(
        tuple[case.tp, ...], st.lists(case.values, max_size=3).map(tuple),
        st.lists(case.wild, max_size=3).map(tuple) | junk, frozenset({tuple}), case.is_hashable,
    )  # fmt: skip


def arrayed(case: Case, count: int) -> Case:
    size = {"min_size": count, "max_size": count}
    return Case(
        Annotated[list[case.tp], Array(count)], st.lists(case.values, **size),
        st.lists(case.wild, max_size=count + 1) | junk, frozenset({list}), is_hashable=False,
    )  # fmt: skip


def sets_of(case: Case) -> Case:
    sets = st.frozensets(case.values, max_size=3)
    return Case(frozenset[case.tp], sets, sets | junk, frozenset({frozenset}), is_hashable=True)


def mapped(key: Case, value: Case) -> Case:
    return Case(
        dict[key.tp, value.tp], st.dictionaries(key.values, value.values, max_size=3),
        st.dictionaries(key.values, value.wild, max_size=3) | junk, frozenset({dict}),
        is_hashable=False,
    )  # fmt: skip


def some(case: Case) -> Case:
    return Case(
        Some[case.tp], st.builds(Some, case.values), st.builds(Some, case.wild) | junk,
        frozenset({Some}), case.is_hashable,
    )  # fmt: skip


def optional(case: Case) -> Case:
    if type(None) in case.kinds:
        case = some(case)
    return Case(
        case.tp | None, st.none() | case.values, st.none() | case.wild,
        case.kinds | {type(None)}, case.is_hashable,
    )  # fmt: skip


def in_order(items: list[Case]) -> Case:
    return Case(
        tuple[*[case.tp for case in items]] if items else tuple[()],
        st.tuples(*[case.values for case in items]),
        st.tuples(*[case.wild for case in items]) | junk, frozenset({tuple}),
        all(case.is_hashable for case in items),
    )  # fmt: skip


def with_attrs(fields: list[Case]) -> type:
    made = {}
    for index, case in enumerate(fields):
        keyword = index % 3 == 2
        made[f"_a{index}" if index % 2 else f"a{index}"] = attrs.field(
            type=case.tp, kw_only=keyword
        )
    return attrs.make_class(f"Attrs{next(serial)}", made, frozen=True)


def with_dataclass(fields: list[Case]) -> type:
    made = [(f"d{index}", case.tp) for index, case in enumerate(fields)]
    return dataclasses.make_dataclass(f"Data{next(serial)}", made, frozen=True)


def with_named_tuple(fields: list[Case]) -> type:
    made = [(f"n{index}", case.tp) for index, case in enumerate(fields)]
    return NamedTuple(f"Named{next(serial)}", made)


def classed(make: Callable[[list[Case]], type], fields: list[Case]) -> Case:
    cls = make(fields)
    if make is with_attrs:
        names = [field.alias for field in attrs.fields(cls)]
    elif make is with_dataclass:
        names = [field.name for field in dataclasses.fields(cls)]
    else:
        names = list(cls._fields)
    values = {name: case.values for name, case in zip(names, fields, strict=True)}
    wild = {name: case.wild for name, case in zip(names, fields, strict=True)}
    return Case(
        cls, st.builds(cls, **values), st.builds(cls, **wild) | junk, frozenset({cls}),
        all(case.is_hashable for case in fields),
    )  # fmt: skip


def united(cases: list[Case]) -> Case:
    """Make a union; what could not be told apart is put into a class."""
    kinds: set[type] = set()
    variants: list[Case] = []
    for case in cases:
        found = case
        if kinds & case.kinds or type(None) in case.kinds or not case.kinds:
            found = classed(with_attrs, [case])
        kinds |= found.kinds
        variants.append(found)
    tp = variants[0].tp
    for variant in variants[1:]:
        tp |= variant.tp
    return Case(
        tp, st.one_of([case.values for case in variants]),
        st.one_of([case.wild for case in variants]),
        frozenset(kinds), all(case.is_hashable for case in variants),
    )  # fmt: skip


def recursive(case: Case) -> Case:
    """Make a class that contains itself, in a list and as an option."""
    name = f"Tree{next(serial)}"
    cls = attrs.make_class(
        name,
        {"held": attrs.field(type=case.tp), "more": attrs.field(type=f"list[{name}]"),
         "next": attrs.field(type=f"{name} | None")},
    )  # fmt: skip

    def trees(held: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        ends = st.builds(cls, held, st.just([]), st.none())
        return st.recursive(
            ends,
            lambda below: st.builds(cls, held, st.lists(below, max_size=2), st.none() | below),
            max_leaves=4,
        )

    return Case(
        cls, trees(case.values), trees(case.wild) | junk, frozenset({cls}), is_hashable=False
    )


@st.composite
def cases(draw: st.DrawFn, depth: int = 3) -> Case:
    """Draw a type."""
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        return draw(st.sampled_from(LEAVES))
    below = cases(depth - 1)
    match draw(st.integers(0, 12)):
        case 0:
            return listed(draw(below), draw(st.sampled_from([3, 3, 20])))
        case 1:
            return tupled(draw(below))
        case 2:
            return arrayed(draw(below), draw(st.sampled_from([0, 1, 3, 17])))
        case 3:
            return sets_of(draw(below.filter(lambda case: case.is_hashable)))
        case 4:
            return mapped(draw(below.filter(lambda case: case.is_hashable)), draw(below))
        case 5:
            return optional(draw(below))
        case 6:
            return in_order(draw(st.lists(below, max_size=3)))
        case 7:
            return some(draw(below))
        case 8:
            return recursive(draw(below))
        case 9:
            return united(draw(st.lists(below, min_size=2, max_size=10 if depth == 1 else 3)))
        case _:
            make = draw(st.sampled_from([with_attrs, with_dataclass, with_named_tuple]))
            return classed(make, draw(st.lists(below, max_size=5)))
