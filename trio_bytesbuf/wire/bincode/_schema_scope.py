"""What the names in an annotation mean, and what to call a type in an error."""

from __future__ import annotations

import builtins
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, ForwardRef, TypeVar, Union

import attrs

from ._rust_types import Array, Hook, RustChar, RustFloat, RustInt
from ._schema_nodes import Node

NO_NAMES: Final[Mapping[str, object]] = types.MappingProxyType({})


@attrs.frozen(eq=False)
class Scope:
    """Where an annotation was written: what its names and its type variables stand for."""

    spaces: tuple[Mapping[str, object], ...]
    """Where names are looked for, in this order."""

    variables: Mapping[object, Callable[[], Node]] = attrs.field(factory=dict)

    def __getitem__(self, name: str) -> object:
        for space in self.spaces:
            if name in space:
                return space[name]
        raise KeyError(name)

    def evaluate(self, annotation: str | ForwardRef) -> Any:
        """Return what the text of an annotation stands for. Raises what evaluating it raises."""
        if isinstance(annotation, str):
            text, module = annotation, None
        else:
            text, module = annotation.__forward_arg__, annotation.__forward_module__
        if module is not None:
            name = module if isinstance(module, str) else module.__name__
            return Scope((*self.spaces[:1], names_of_module(name))).evaluate(text)
        return eval(text, {"__builtins__": builtins}, _Names(self))  # noqa: S307  # it is source


class _Names(dict[str, object]):
    """Lets `eval` ask a scope."""

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self._scope = scope

    def __missing__(self, name: str) -> object:
        return self._scope[name]


def names_of_module(name: str | None) -> Mapping[str, object]:
    """Return the global names of a module; none if it is not there."""
    return vars(sys.modules[name]) if name in sys.modules else NO_NAMES


def scope_of_class(
    cls: type, names: Mapping[str, object], variables: Mapping[object, Callable[[], Node]]
) -> Scope:
    """Return the scope of the annotations in the body of `cls`.

    A class inside a function is the only one to know its own name, so that goes first there.
    """
    own: Mapping[str, object] = {cls.__name__: cls}
    around = names_of_module(cls.__module__)
    parameters = {param.__name__: param for param in getattr(cls, "__type_params__", ())}
    spaces = (own, around) if "<locals>" in cls.__qualname__ else (around, own)
    return Scope((parameters, names, *spaces, vars(cls)), variables)


def is_union(tp: object) -> bool:
    """Say whether `tp` was written with `|`, `Union` or `Optional`."""
    return typing.get_origin(tp) in {Union, types.UnionType}


def label_of(tp: object) -> str:
    """Return a type as its user wrote it, about."""
    origin, args = typing.get_origin(tp), typing.get_args(tp)
    if origin is Annotated:
        return _label_of_annotated(args[0], args[1:])
    if is_union(tp):
        return " | ".join(map(label_of, args))
    if tp is None or tp is types.NoneType:
        return "None"
    if tp is Ellipsis:
        return "..."
    if isinstance(tp, ForwardRef):
        return repr(tp.__forward_arg__)
    if isinstance(tp, (str, TypeVar)):
        return repr(tp)
    if origin is not None:
        if not args and origin is not tuple:
            return label_of(origin)
        return f"{label_of(origin)}[{', '.join(map(label_of, args)) or '()'}]"
    name = getattr(tp, "__qualname__", None) or getattr(tp, "__name__", None)
    return name.rpartition("<locals>.")[2] if isinstance(name, str) else repr(tp)


def _label_of_annotated(base: object, metadata: tuple[object, ...]) -> str:
    for said in metadata:
        match said:
            case RustInt(nbits, signed):
                return f"{'i' if signed else 'u'}{nbits}"
            case RustFloat(nbytes):
                return f"f{nbytes * 8}"
            case RustChar():
                return "char"
            case Array(count):
                return f"Annotated[{label_of(base)}, Array({count})]"
            case Hook():
                return f"Annotated[{label_of(base)}, Hook]"
    return label_of(base)
