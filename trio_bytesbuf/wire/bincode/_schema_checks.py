"""What is checked of a schema when all its names are defined.

Law 1. Two variants of a union differ by class at run time, or the union is refused.
Law 2. What is a key of a dict or an item of a set can be one in Python.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Final

from ...seq import BytesView
from ._schema_nodes import (
    BYTES_KINDS,
    ArrayNode,
    BoolNode,
    ByteArrayNode,
    BytesNode,
    CharNode,
    EnumNode,
    FloatNode,
    HookNode,
    IntNode,
    MapNode,
    NeverNode,
    Node,
    OptionNode,
    RefNode,
    SeqNode,
    StrNode,
    StructNode,
    TupleNode,
    UnionNode,
    UnitNode,
    children,
)

Definitions = Mapping[str, Node]

KINDS: Final[Mapping[type, type]] = {
    IntNode: int,
    BoolNode: bool,
    FloatNode: float,
    CharNode: str,
    StrNode: str,
    UnitNode: types.NoneType,
    MapNode: dict,
    TupleNode: tuple,
}
"""The class of the values of a node, where it is always the same."""


def kinds_of(node: Node, definitions: Definitions) -> set[type] | None:
    """Return the classes that values of `node` have; None if they are not known."""
    found: set[type] = set()
    rest, seen = [node], set[str]()
    while rest:
        match rest.pop():
            case RefNode(name):
                if name not in seen:
                    seen.add(name)
                    rest.append(definitions[name])
            case OptionNode(inner):
                found.add(types.NoneType)
                rest.append(inner)
            case UnionNode(variants):
                rest += variants
            case SeqNode(kind) | ArrayNode(kind) | StructNode(kind) | EnumNode(kind):
                found.add(kind)
            case HookNode(kind=kind):
                if kind is None:
                    return None
                found.add(kind)
            case BytesNode() | ByteArrayNode():
                found.update(BYTES_KINDS)
            case NeverNode():
                pass
            case plain:
                found.add(KINDS[type(plain)])
    return found


def unhashable_in(node: Node, definitions: Definitions) -> str | None:
    """Return what in `node` has no hash; None if all has one."""
    seen: set[str] = set()

    def found(node: Node) -> Iterator[type]:
        match node:
            case SeqNode(kind) | ArrayNode(kind) if kind in {list, set}:
                yield kind
            case MapNode():
                yield dict
            case BytesNode(as_view=True) | ByteArrayNode(as_view=True):
                yield BytesView  # that of memory which may change has none
            case StructNode(cls) | HookNode(kind=type() as cls) if cls.__hash__ is None:
                yield cls
            case StructNode(cls) if not issubclass(cls, tuple):
                pass  # it has one, however it makes it
            case HookNode():
                pass
            case RefNode(name):
                if name not in seen:
                    seen.add(name)
                    yield from found(definitions[name])
            case _:
                for child in children(node):
                    yield from found(child)

    return next((cls.__name__ for cls in found(node)), None)
