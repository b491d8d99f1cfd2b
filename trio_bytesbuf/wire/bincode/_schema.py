"""What a Python type means on the wire: the one place that knows annotations.

`schema_of` reads a type and makes the tree of nodes. It is asked once for each codec; all it finds
wrong is a TypeError that says where.

Law 1. The order in a union counts, as the order of variants does in Rust. (For Python, `A | B`
       and `B | A` are equal; nothing here may look a union up by its value.)
Law 2. A name in an annotation means what it means where it was written: for a field, in the class
       and the module that define it, not in those that inherit it.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from typing import Annotated, Any, Final, ForwardRef, Generic, NoReturn, TypeVar

import attrs

from ...seq import BytesView
from ._rust_types import Array, Hook, RustChar, RustFloat, RustInt
from ._schema_checks import kinds_of, unhashable_in
from ._schema_classes import MISSING, Unfit, fields_of, is_struct
from ._schema_nodes import (
    NO_VALUE,
    ArrayNode,
    BoolNode,
    ByteArrayNode,
    BytesNode,
    CharNode,
    EnumNode,
    Field,
    FloatNode,
    HookNode,
    IntNode,
    MapNode,
    NeverNode,
    Node,
    OptionNode,
    RefNode,
    Schema,
    SeqNode,
    StrNode,
    StructNode,
    TupleNode,
    UnionNode,
    UnitNode,
)
from ._schema_scope import Scope, is_union, label_of, names_of_module, scope_of_class
from ._standard_hooks import STANDARD_HOOKS

Variables = Mapping[object, Callable[[], Node]]

MAX_OPEN: Final = 64
"""How deep names may be nested: beyond that, a generic class contains ever new kinds of itself."""

MAX_NESTED: Final = 128
"""How deep a type may be nested as it is written, which is three frames of Python's stack for each.
Where text is made of it, Python's parser gives up at some 200 brackets."""

PLAIN: Final[Mapping[object, Node]] = {
    None: UnitNode(),
    types.NoneType: UnitNode(),
    bool: BoolNode(),
    int: IntNode(64, signed=True),
    float: FloatNode(8),
    str: StrNode(),
    bytes: BytesNode(as_view=False),
    BytesView: BytesNode(as_view=True),
    typing.Never: NeverNode(),
    typing.NoReturn: NeverNode(),
}

ADVICE: Final[Mapping[object, str]] = {
    datetime: "say which: SystemDateTime, ChronoDateTime or ChronoNaiveDateTime",
    date: "take ChronoNaiveDate",
    time: "take ChronoNaiveTime",
    bytearray: "take bytes or BytesView; a bytearray can be written where they are expected",
    memoryview: "take bytes or BytesView; a memoryview can be written where they are expected",
    list: "say of what: list[int]",
    tuple: "say of what: tuple[int, str], tuple[int, ...] or tuple[()]",
    typing.Tuple: "say of what: tuple[int, str], tuple[int, ...] or tuple[()]",  # noqa: UP006
    dict: "say of what: dict[str, int]",
    set: "say of what: set[int]",
    frozenset: "say of what: frozenset[int]",
    Any: "it could be anything",
    object: "it could be anything",
}


def schema_of(tp: object, hooks: Mapping[Any, Hook], names: Mapping[str, object]) -> Schema:
    """Return what `tp` is on the wire.

    Args:
      hooks: how types are written that are not known, or are to be written otherwise.
      names: what strings in `tp` mean that stand in no class.

    Raises:
      TypeError: a type in it is not supported. The message has the path to it.
    """
    builder = _Builder(hooks, names)
    try:
        root = builder.build(tp, Scope((names,)))
        builder.settle()
    except RecursionError:
        raise TypeError(f"{label_of(tp)} is nested too deeply") from None
    schema = Schema(label_of(tp), root, builder.definitions)
    if schema.least_nbytes(root) >= NO_VALUE:
        raise TypeError(f"{schema.label} has no values: it contains itself without end, or nothing")
    return schema


@attrs.define(eq=False)
class _Builder:
    hooks: Mapping[Any, Hook]
    names: Mapping[str, object]
    definitions: dict[str, Node] = attrs.field(init=False, factory=dict)
    _path: list[str] = attrs.field(init=False, factory=list)
    _open: dict[object, str] = attrs.field(init=False, factory=dict)
    _done: dict[object, Node] = attrs.field(init=False, factory=dict)
    _recursive: set[str] = attrs.field(init=False, factory=set)
    _kept: list[object] = attrs.field(init=False, factory=list)
    _taken: set[str] = attrs.field(init=False, factory=set)
    _checks: list[Callable[[], None]] = attrs.field(init=False, factory=list)

    # Where we are

    @contextlib.contextmanager
    def _at(self, segment: str) -> Iterator[None]:
        self._path.append(segment)
        yield
        self._path.pop()

    def _refuse(self, tp: object, why: str) -> NoReturn:
        path, label = "".join(self._path), label_of(tp)
        where = f"{path}: " if path and path != label else ""
        raise TypeError(f"{where}{label} cannot be written: {why}")

    def _later(self, check: Callable[[], None]) -> None:
        """Keep a check for when all names are defined; the path will be as it is now."""
        path = self._path.copy()

        def there() -> None:
            self._path = path
            check()

        self._checks.append(there)

    def settle(self) -> None:
        """Make the checks that had to wait."""
        for check in self._checks:
            check()

    def _named(self, key: object, label: str, make: Callable[[], Node], *kept: object) -> Node:
        """Make the node of what may contain itself (Law 2 of the nodes)."""
        if key in self._done:
            return self._done[key]
        if key in self._open:
            self._recursive.add(self._open[key])
            return RefNode(self._open[key])
        if len(self._open) > MAX_OPEN:
            raise RecursionError
        self._kept += kept  # what keys name by its id stays alive
        name = label
        while name in self._taken:
            name += "'"
        self._taken.add(name)
        self._open[key] = name
        node = make()
        del self._open[key]
        if name in self._recursive:
            self.definitions[name] = node
            node = RefNode(name)
        self._done[key] = node
        return node

    # Types

    def build(self, tp: Any, scope: Scope) -> Node:
        if not self._path:
            with self._at(label_of(tp)):
                return self.build(tp, scope)
        if len(self._path) > MAX_NESTED:
            raise RecursionError
        if isinstance(tp, (str, ForwardRef)):
            return self._forward(tp, scope)
        if isinstance(tp, TypeVar):
            if tp not in scope.variables:
                self._refuse(tp, "the type variable stands for no type here")
            return scope.variables[tp]()
        if is_union(tp):
            return self._union(tp, scope)
        origin = typing.get_origin(tp)
        if origin is Annotated:
            return self._annotated(tp, scope)
        if origin is Final:
            return self.build(typing.get_args(tp)[0], scope)
        hook = self._hook_for(tp)
        if hook is not None:
            return self._hooked(tp, hook, scope)
        if isinstance(tp, typing.NewType):
            key = ("new type", id(tp))
            inner = Scope((self.names, names_of_module(tp.__module__)))
            return self._named(key, label_of(tp), lambda: self.build(tp.__supertype__, inner), tp)
        if _is_alias(origin or tp):
            return self._alias(tp, scope)
        if _hashable(tp) and tp in PLAIN:
            return PLAIN[tp]
        if origin in {list, set, frozenset, tuple, dict}:
            return self._container(tp, origin, scope)
        if isinstance(tp, type) and issubclass(tp, enum.Enum):
            return self._enum(tp)
        if is_struct(origin or tp):
            return self._struct(tp, origin or tp, scope)
        advice = ADVICE.get(tp) if _hashable(tp) else None
        return self._refuse(
            tp, advice or "no type of Rust is known for it; a hook says what to write"
        )

    def _forward(self, text: str | ForwardRef, scope: Scope) -> Node:
        try:
            tp = scope.evaluate(text)
        except Exception as exc:  # noqa: BLE001  # whatever evaluating an annotation raises
            advice = "; if it is defined inside a function, give it by names=locals()"
            said = f"{type(exc).__name__}: {exc}{advice if isinstance(exc, NameError) else ''}"
            self._refuse(text, f"it cannot be resolved here: {said}")
        if isinstance(tp, type) or _is_alias(typing.get_origin(tp) or tp):
            return self.build(tp, scope)
        name = text if isinstance(text, str) else text.__forward_arg__
        return self._named(("text", name, id(scope)), name, lambda: self.build(tp, scope), scope)

    def _alias(self, tp: Any, scope: Scope) -> Node:
        """Build what a `type` statement defines."""
        alias = typing.get_origin(tp) or tp
        arguments = [self.build(arg, scope) for arg in typing.get_args(tp)]
        variables = self._bound(tp, alias.__type_params__, arguments)
        inner = Scope((self.names, names_of_module(alias.__module__)), variables)

        def make() -> Node:
            try:
                value = alias.__value__
            except Exception as exc:  # noqa: BLE001  # whatever evaluating it raises
                self._refuse(tp, f"it cannot be resolved: {type(exc).__name__}: {exc}")
            return self.build(value, inner)

        return self._named(("alias", id(alias), *arguments), label_of(tp), make, alias)

    def _bound(self, tp: object, params: tuple[object, ...], arguments: list[Node]) -> Variables:
        if not arguments:
            return {}
        if len(params) != len(arguments):
            self._refuse(tp, f"it has {len(params)} type variables")
        return {
            param: functools.partial(_itself, node)
            for param, node in zip(params, arguments, strict=True)
        }

    def _hook_for(self, tp: Any) -> Hook | None:
        if not _hashable(tp):
            return None
        return self.hooks.get(tp) or STANDARD_HOOKS.get(tp)

    def _hooked(self, tp: Any, hook: Hook, scope: Scope) -> Node:
        cls = typing.get_origin(tp) or tp
        kind = cls if isinstance(cls, type) else None

        def make() -> Node:
            return HookNode(self.build(hook.wire, scope), hook, label_of(tp), kind)

        return self._named(("hook", id(hook), id(tp)), label_of(tp), make, hook, tp)

    def _annotated(self, tp: Any, scope: Scope) -> Node:
        base, *metadata = typing.get_args(tp)
        ours = (RustInt, RustFloat, RustChar, Array, Hook)
        said = [one for one in metadata if isinstance(one, ours)]
        if len(said) > 1:
            self._refuse(tp, "it is said to be two things at once")
        match said:
            case [RustInt(nbits, signed)] if base is int:
                return IntNode(nbits, signed)
            case [RustFloat(nbytes)] if base is float:
                return FloatNode(nbytes)
            case [RustChar()] if base is str:
                return CharNode()
            case [Array(count)]:
                return self._array(tp, base, count, scope)
            case [Hook() as hook]:
                return self._hooked(base, hook, scope)
            case []:
                return self.build(base, scope)
        return self._refuse(tp, f"{said[0]} says nothing of a {label_of(base)}")

    def _array(self, tp: object, base: Any, count: int, scope: Scope) -> Node:
        if base is bytes or base is BytesView:
            return ByteArrayNode(count, as_view=base is BytesView)
        match typing.get_origin(base), typing.get_args(base):
            case (origin, (item,)) if origin is list:
                pass
            case (origin, (item, more)) if origin is tuple and more is Ellipsis:
                pass
            case _:
                self._refuse(tp, "an array is a list[X], a tuple[X, ...], bytes or a BytesView")
        with self._at("[]"):
            return ArrayNode(origin, self.build(item, scope), count)

    def _container(self, tp: Any, kind: Any, scope: Scope) -> Node:
        args = typing.get_args(tp)
        if tp in ADVICE:  # typing.List without an argument, and the like
            self._refuse(tp, ADVICE[tp])
        if kind is dict:
            if len(args) != 2:
                self._refuse(tp, ADVICE[dict])
            with self._at(" (keys)"):
                key = self.build(args[0], scope)
                self._later(lambda: self._check_hashable(args[0], key))
            with self._at("[]"):
                return MapNode(key, self.build(args[1], scope))
        if kind is tuple and not (len(args) == 2 and args[1] is Ellipsis):
            nodes = []
            for index, arg in enumerate(args):
                with self._at(f"[{index}]"):
                    nodes.append(self.build(arg, scope))
            return TupleNode(tuple(nodes))
        if not args:
            self._refuse(tp, ADVICE[kind])
        with self._at("[]"):
            item = self.build(args[0], scope)
            if kind in {set, frozenset}:
                self._later(lambda: self._check_hashable(args[0], item))
            return SeqNode(kind, item)

    def _enum(self, tp: type[enum.Enum]) -> Node:
        if issubclass(tp, enum.Flag):
            self._refuse(tp, "flags are combined, and a variant is one; a hook can write a number")
        return EnumNode(tp, tuple(tp))

    def _check_hashable(self, tp: object, node: Node) -> None:
        name = unhashable_in(node, self.definitions)
        if name is not None:
            self._refuse(tp, f"not every {name} has a hash")

    # Classes

    def _struct(self, tp: Any, cls: type, scope: Scope) -> Node:
        arguments = [self.build(arg, scope) for arg in typing.get_args(tp)]
        variables = self._bound(tp, getattr(cls, "__parameters__", ()), arguments)

        def make() -> Node:
            try:
                described = fields_of(cls)
            except Unfit as exc:
                self._refuse(tp, str(exc))
            scopes = self._scopes(cls, variables)
            fields = []
            for one in described:
                with self._at(f".{one.name}"):
                    if one.annotation is MISSING:
                        self._refuse(tp, f"its field {one.name} has no type")
                    node = self.build(one.annotation, scopes[one.owner])
                fields.append(Field(one.name, node, one.parameter if one.by_keyword else None))
            return StructNode(cls, label_of(tp), tuple(fields))

        return self._named((cls, *arguments), label_of(tp), make)

    def _scopes(self, cls: type, variables: Variables) -> Mapping[type, Scope]:
        """Return the scope of `cls` and of what it inherits from, whose variables may differ."""
        scopes: dict[type, Scope] = {}

        def enter(cls: type, variables: Variables) -> None:
            if scopes.get(cls) is not None and scopes[cls].variables:
                return
            scope = scopes[cls] = scope_of_class(cls, self.names, variables)
            for base in vars(cls).get("__orig_bases__", cls.__bases__):
                origin = typing.get_origin(base) or base
                if isinstance(origin, type) and origin is not Generic:
                    params = getattr(origin, "__parameters__", ())
                    args = typing.get_args(base)
                    enter(origin, self._unbuilt(params, args, scope))

        enter(cls, variables)
        return scopes

    def _unbuilt(
        self, params: tuple[object, ...], args: tuple[object, ...], scope: Scope
    ) -> Variables:
        """Bind variables to types that are only built if a field uses them."""
        return {
            param: functools.partial(self.build, arg, scope)
            for param, arg in zip(params, args, strict=False)
        }

    # Unions

    def _union(self, tp: Any, scope: Scope) -> Node:
        args = typing.get_args(tp)
        variants = [arg for arg in args if arg is not types.NoneType]
        nodes = [self.build(arg, scope) for arg in variants]
        node: Node = nodes[0]
        if len(nodes) > 1:
            kinds: dict[type, int] = {}
            node = UnionNode(tuple(nodes), kinds)
            self._later(lambda: self._tell_apart(tp, variants, nodes, kinds))
        if len(variants) == len(args):
            return node
        self._later(lambda: self._check_option(tp, node))
        return OptionNode(node)

    def _tell_apart(
        self, tp: object, variants: list[Any], nodes: list[Node], kinds: dict[type, int]
    ) -> None:
        for index, (variant, node) in enumerate(zip(variants, nodes, strict=True)):
            found = kinds_of(node, self.definitions)
            if found is None:
                self._refuse(tp, f"{label_of(variant)} is no class that values could be told by")
            for kind in found:
                other = kinds.setdefault(kind, index)
                if other != index:
                    self._refuse(
                        tp,
                        f"{label_of(variants[other])} and {label_of(variant)} cannot be told apart,"
                        f" both are of class {kind.__name__}; put them into classes of your own",
                    )

    def _check_option(self, tp: object, node: Node) -> None:
        if types.NoneType in (kinds_of(node, self.definitions) or ()):
            self._refuse(tp, "None would mean two things; put what is inside into Some[...]")


def _itself(node: Node) -> Node:
    return node


def _hashable(tp: object) -> bool:
    try:
        hash(tp)
    except TypeError:
        return False
    return True


def _is_alias(tp: object) -> bool:
    """Say whether a `type` statement made it; 3.11 knows only typing_extensions' imitation."""
    return type(tp).__name__ == "TypeAliasType"
