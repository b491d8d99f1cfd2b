"""What a type is on the wire: a tree of nodes, which encoders and decoders are made from.

Law 1. A node says everything about its bytes; nobody below looks at a Python type again.
Law 2. The tree is finite. Where a type contains itself, a `RefNode` names one of the
       `definitions`; nothing else leads back up.
Law 3. What is of no size is so always: whatever has a length, a tag or a variant has a byte.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

import attrs

from ...seq import BytesView
from ._rust_types import Hook

NO_VALUE: Final = 1 << 80
"""The least size of what has no value at all: more bytes than anything has."""

MAX_COLLISIONS: Final = 512
"""So many items of one set, or keys of one dict, may have one and the same hash. Each is compared
with all others of that hash, so a byte of a key is compared 256 times at the most, on average,
however many sets and dicts a message has; 50,000 keys of one hash took 11 s. Ordinary keys collide,
too: -1 and -2 have the same hash, and so have the 512 tuples of nine of them."""

MAX_COLLISIONS_AROUND: Final = 128
"""The same of keys that have frozensets in them. To compare two of those is to look up the items of
one in the other, so what collides outside is multiplied by what collides inside. (Those of two
items with the same hash all have the same hash.)"""

MAX_COLLISIONS_INSIDE: Final = 16
"""The same of the frozensets in keys."""

BYTES_KINDS: Final = (bytes, bytearray, memoryview, BytesView)
"""What is taken where bytes are written."""


@attrs.frozen
class IntNode:
    """A number: raw if it has 8 bits, else a varint, zigzag if signed."""

    nbits: int
    signed: bool

    @property
    def least(self) -> int:
        """The least value."""
        return -(1 << self.nbits - 1) if self.signed else 0

    @property
    def most(self) -> int:
        """The greatest value."""
        return (1 << self.nbits - self.signed) - 1

    def __str__(self) -> str:
        return f"{'i' if self.signed else 'u'}{self.nbits}"


@attrs.frozen
class BoolNode:
    """One byte, 0 or 1."""


@attrs.frozen
class FloatNode:
    """4 or 8 bytes, little endian."""

    nbytes: int


@attrs.frozen
class CharNode:
    """A character: its UTF-8, without a length."""


@attrs.frozen
class StrNode:
    """A length and UTF-8."""


@attrs.frozen
class BytesNode:
    """A length and bytes; decoded as a view, or copied."""

    as_view: bool


@attrs.frozen
class ByteArrayNode:
    """So many bytes, without a length."""

    count: int
    as_view: bool


@attrs.frozen
class UnitNode:
    """None: no bytes."""


@attrs.frozen
class NeverNode:
    """A type without values."""


@attrs.frozen
class OptionNode:
    """0, or 1 and a value."""

    inner: Node


@attrs.frozen
class SeqNode:
    """A count and items: a list, a tuple, a set or a frozenset."""

    kind: type
    item: Node


@attrs.frozen
class MapNode:
    """A count, keys and values in turn: a dict."""

    key: Node
    value: Node


@attrs.frozen
class ArrayNode:
    """So many items, without a count: a list or a tuple."""

    kind: type
    item: Node
    count: int


@attrs.frozen
class TupleNode:
    """Items of one type each, one after the other."""

    items: tuple[Node, ...]


@attrs.frozen
class Field:
    """A field of a class: the attribute, and how the constructor is given it."""

    name: str
    node: Node
    keyword: str | None
    """None if it is given by position."""


@attrs.frozen(eq=False)
class StructNode:
    """An instance of a class: its fields, one after the other."""

    cls: type
    label: str
    fields: tuple[Field, ...] = attrs.field(repr=False)


@attrs.frozen
class EnumNode:
    """A member of an Enum: its position, as variants are numbered."""

    cls: type[enum.Enum]
    members: tuple[enum.Enum, ...] = attrs.field(repr=False)


@attrs.frozen
class UnionNode:
    """A value of one of several types: its position, then the value."""

    variants: tuple[Node, ...]
    kinds: Mapping[type, int] = attrs.field(eq=False, repr=False)
    """Which classes make a value which variant: no class twice."""


@attrs.frozen(eq=False)
class HookNode:
    """What a hook makes of a value, and how that is written."""

    inner: Node
    hook: Hook
    label: str
    kind: type | None
    """The class of the values, where it is known."""


@attrs.frozen
class RefNode:
    """The definition of that name."""

    name: str


Node: TypeAlias = (
    IntNode
    | BoolNode
    | FloatNode
    | CharNode
    | StrNode
    | BytesNode
    | ByteArrayNode
    | UnitNode
    | NeverNode
    | OptionNode
    | SeqNode
    | MapNode
    | ArrayNode
    | TupleNode
    | StructNode
    | EnumNode
    | UnionNode
    | HookNode
    | RefNode
)


def children(node: Node) -> tuple[Node, ...]:
    """Return the nodes right below; none below a `RefNode`."""
    match node:
        case OptionNode(inner) | HookNode(inner):
            return (inner,)
        case SeqNode(_, item) | ArrayNode(_, item):
            return (item,)
        case MapNode(key, value):
            return key, value
        case TupleNode(nodes) | UnionNode(nodes):
            return nodes
        case StructNode():
            return tuple(field.node for field in node.fields)
        case _:
            return ()


@attrs.define(eq=False, slots=False)
class Schema:
    """A type, whole: the tree, and what its `RefNode`s name."""

    label: str
    """The type, as an error or a `repr` calls it."""

    root: Node
    definitions: Mapping[str, Node]
    _least: dict[int, int] = attrs.field(init=False, factory=dict, repr=False)
    _empties: dict[int, int] = attrs.field(init=False, factory=dict, repr=False)

    def nodes(self) -> Iterator[Node]:
        """Yield every node once."""
        seen: set[int] = set()
        rest = [self.root, *self.definitions.values()]
        while rest:
            node = rest.pop()
            if id(node) not in seen:
                seen.add(id(node))
                yield node
                rest += children(node)

    @functools.cached_property
    def takes_views(self) -> bool:
        """Whether a value of the type shows memory of the message."""
        return any(getattr(node, "as_view", False) for node in self.nodes())

    @functools.cached_property
    def counts_empties(self) -> bool:
        """Whether a value can have many items that take no byte."""
        return any(self.is_counted(node) for node in self.nodes())

    def is_counted(self, node: Node) -> bool:
        """Say whether `node` has items of no size, which a limit must count."""
        match node:
            case SeqNode(_, item) | ArrayNode(_, item):
                return self.least_nbytes(item) == 0
            case MapNode():
                return self.least_nbytes(node.key) + self.least_nbytes(node.value) == 0
            case _:
                return False

    def empties_in(self, node: Node) -> int:
        """Return how many values a value of no size is made of, itself included.

        What is in an array in it counts by itself, when that is read or written.
        """
        known = self._empties.get(id(node))
        if known is None:
            match node:
                case TupleNode() | StructNode() | HookNode():
                    known = 1 + sum(map(self.empties_in, children(node)))
                case RefNode(name):
                    known = self.empties_in(self.definitions[name])
                case _:
                    known = 1
            self._empties[id(node)] = known
        return known

    def may_collide(self, node: Node) -> bool:
        """Say whether a peer can choose values of which any number have the same hash.

        Python's hashes of text and bytes have a secret in them, and of numbers of 64 bits only
        a few are equal. Those of larger numbers, tuples and classes can be computed.
        """
        match node:
            case IntNode(nbits):
                return nbits > 64
            case OptionNode() | UnionNode():
                return any(map(self.may_collide, children(node)))
            case SeqNode() | ArrayNode() | TupleNode() | StructNode() | HookNode() | RefNode():
                return True
            case _:
                return False

    def most_collisions(self, node: SeqNode | MapNode) -> int:
        """Return how many items of a set, or keys of a dict, may have the same hash."""
        if id(node) in self._nested:
            return MAX_COLLISIONS_INSIDE
        key = node.key if isinstance(node, MapNode) else node.item
        return MAX_COLLISIONS_AROUND if any(self._frozensets_in(key)) else MAX_COLLISIONS

    @functools.cached_property
    def _nested(self) -> set[int]:
        """The `id`s of the frozensets that are in keys."""
        found: set[int] = set()
        for node in self.nodes():
            match node:
                case MapNode(key):
                    found.update(map(id, self._frozensets_in(key)))
                case SeqNode(kind, key) if kind in {set, frozenset}:
                    found.update(map(id, self._frozensets_in(key)))
        return found

    def _frozensets_in(self, node: Node) -> Iterator[Node]:
        seen: set[int] = set()
        rest = [node]
        while rest:
            below = rest.pop()
            if id(below) in seen:
                continue
            seen.add(id(below))
            rest += children(below)
            if isinstance(below, SeqNode) and below.kind is frozenset:
                yield below
            elif isinstance(below, RefNode):
                rest.append(self.definitions[below.name])

    def least_nbytes(self, node: Node) -> int:
        """Return how many bytes a value has at the least; `NO_VALUE` if there is no value."""
        if id(node) not in self._least:
            self._measure()
        return self._least[id(node)]

    def _measure(self) -> None:
        """Find the least solution: begin with no values at all, and add what others allow."""
        nodes = list(self.nodes())
        sizes = self._least
        sizes.update((id(node), NO_VALUE) for node in nodes)
        changed = True
        while changed:
            changed = False
            for node in reversed(nodes):  # children come behind their parents
                size = min(self._size_by_parts(node), NO_VALUE)
                if size != sizes[id(node)]:
                    sizes[id(node)] = size
                    changed = True

    def _size_by_parts(self, node: Node) -> int:
        sizes = self._least
        match node:
            case UnitNode():
                return 0
            case FloatNode(nbytes) | ByteArrayNode(nbytes):
                return nbytes
            case ArrayNode():
                return node.count * sizes[id(node.item)] if node.count else 0
            case TupleNode() | StructNode():
                return sum(sizes[id(child)] for child in children(node))
            case UnionNode():
                return 1 + min(sizes[id(child)] for child in node.variants)
            case HookNode(inner):
                return sizes[id(inner)]
            case RefNode(name):
                return sizes[id(self.definitions[name])]
            case NeverNode():
                return NO_VALUE
            case EnumNode():
                return 1 if node.members else NO_VALUE
            case _:
                return 1


def check_schema(schema: Schema) -> None:
    """Raise AssertionError if a law of this file is broken."""
    nodes = list(schema.nodes())
    for node in nodes:
        if isinstance(node, RefNode):
            assert node.name in schema.definitions, "Law 2: a name that nothing has"
        if isinstance(node, UnionNode):
            assert set(node.kinds.values()) <= set(range(len(node.variants))), "a variant too many"
    for node in schema.definitions.values():
        assert not isinstance(node, RefNode), "Law 2: a definition that is only another name"
    tops = [schema.root, *schema.definitions.values()]
    waiting: list[tuple[Node, tuple[int, ...]]] = [(top, ()) for top in tops]
    while waiting:
        node, above = waiting.pop()
        assert id(node) not in above, "Law 2: a way that leads back up"
        waiting += [(child, (*above, id(node))) for child in children(node)]
    for node in nodes:
        sized = isinstance(
            node, (UnitNode, ArrayNode, ByteArrayNode, TupleNode, StructNode, HookNode, RefNode)
        )
        assert sized or schema.least_nbytes(node) > 0, "Law 3: a length, a tag or a number"
