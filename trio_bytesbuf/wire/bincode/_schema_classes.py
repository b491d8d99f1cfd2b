"""Which fields a class has, and how its constructor takes them: attrs, dataclasses, NamedTuples.

Law. A value is made by position only if the constructor has those names in that order: a class
     with an `__init__` of its own may have others, and a value would get its fields mixed up.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeGuard

import attrs


class Described(NamedTuple):
    """A field as the class has it."""

    name: str
    parameter: str
    """What the constructor calls it."""

    by_keyword: bool
    annotation: object
    owner: type
    """The class whose body has the annotation."""


class Unfit(Exception):
    """Why a class cannot be used."""


MISSING = object()
"""The annotation of what has none."""


def is_struct(tp: object) -> TypeGuard[type]:
    """Say whether `tp` is a class with fields."""
    return isinstance(tp, type) and (
        attrs.has(tp) or dataclasses.is_dataclass(tp) or _is_named_tuple(tp)
    )


def _is_named_tuple(cls: type) -> bool:
    return issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple)


def fields_of(cls: type) -> list[Described]:
    """Return the fields that are written, in their order: those that the constructor takes.

    Raises:
      Unfit: the constructor does not take them, or takes an InitVar: its value is nowhere to be
        read, and its default would be applied a second time.
    """
    described = list(_described(cls))
    for name in _init_vars(cls):
        raise Unfit(f"its constructor takes {name}, an InitVar, and no instance has that")
    _check_constructor(cls, described)
    return described


def _described(cls: Any) -> Iterator[Described]:
    annotations = list(_annotations(cls))

    def of(name: str, parameter: str, by_keyword: bool, otherwise: object) -> Described:
        for owner, own in annotations:
            if name in own:
                return Described(name, parameter, by_keyword, own[name], owner)
        return Described(name, parameter, by_keyword, otherwise, cls)

    if attrs.has(cls):
        for one in attrs.fields(cls):
            if one.init:
                found = MISSING if one.type is None else one.type
                yield of(one.name, one.alias or one.name, bool(one.kw_only), found)
    elif dataclasses.is_dataclass(cls):
        for field in dataclasses.fields(cls):
            if field.init:
                yield of(field.name, field.name, bool(field.kw_only), field.type)
    else:
        for name in cls._fields:
            yield of(name, name, False, MISSING)


def _init_vars(cls: type) -> Iterator[str]:
    """Yield what the constructor of a dataclass takes that is declared, but no field."""
    declared: Mapping[str, object] = getattr(cls, "__dataclass_fields__", {})
    if attrs.has(cls) or not declared:
        return
    fields = {field.name for field in dataclasses.fields(cls)}
    try:
        parameters = inspect.signature(cls).parameters
    except (TypeError, ValueError):  # it is told when the constructor is checked
        return
    for name in parameters:
        if name in declared and name not in fields:
            yield name


def _annotations(cls: type) -> Iterator[tuple[type, Mapping[str, object]]]:
    for owner in cls.__mro__:
        try:
            yield owner, inspect.get_annotations(owner)
        except (TypeError, ValueError):  # a class written in C
            continue


def _check_constructor(cls: type, described: list[Described]) -> None:
    by_position = [one.parameter for one in described if not one.by_keyword]
    by_keyword = {one.parameter: one.parameter for one in described if one.by_keyword}
    try:
        bound = inspect.signature(cls).bind(*by_position, **by_keyword)
    except (TypeError, ValueError) as exc:
        raise Unfit(f"its constructor does not take its fields: {exc}") from None
    if any(name != given for name, given in bound.arguments.items()):
        raise Unfit("its constructor takes other names, or another order, than it has fields")
