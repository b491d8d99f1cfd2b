"""Writing the encoder of a type: one flat function, and more where a type contains itself.

    def encode(v[, left][, levels]): ...    returns the parts of the message, to be joined
    def write_1(v, out[, left][, levels]): ...    adds parts to `out`

`left` is a list of one number, how many more items without bytes may come; `levels` how many
more times a definition may be entered.

Law 1. What is written is of the exact class that was asked for, or was made so: see the laws of
       `_values`. The parts of a message cannot change any more before they are joined,
       as far as their number of bytes goes.
Law 2. Parts wait in `_pending` as long as the text is straight. Whoever begins a block adds them
       to `out` first, and adds what the block made before it ends: so their order is theirs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from . import _runtime as runtime
from ._schema_nodes import (
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
    Schema,
    SeqNode,
    StrNode,
    StructNode,
    TupleNode,
    UnionNode,
    UnitNode,
)
from ._source import Plan, Source
from ._values import (
    exact_f32,
    exact_float,
    exact_int,
    exact_str,
    flat_bytes,
    pack_f32,
    varint,
)

MAX_BRANCHES: Final = 8
"""A union of more variants looks its writer up in a table."""

LEAST_RUN: Final = 3
"""So many numbers of fixed size, one after the other, are packed by one call."""

NAMES: Final[Mapping[str, object]] = {
    "BYTE": runtime.BYTE,
    "SIGNED": runtime.SIGNED,
    "Refused": runtime.Refused,
    "kind_of": runtime.kind_of,
    "large_u64": runtime.large_u64,
    "pieces_of": runtime.pieces_of,
    "refuse": runtime.refuse,
    "exact_f32": exact_f32,
    "exact_float": exact_float,
    "exact_int": exact_int,
    "exact_str": exact_str,
    "flat_bytes": flat_bytes,
    "pack_f32": pack_f32,
    "pack_f64": struct.Struct("<d").pack,
    "utf8": str.encode,
}

BULK: Final[Mapping[Node, Callable[..., bytes]]] = {
    IntNode(8, signed=False): runtime.bytes_of_u8,
    IntNode(8, signed=True): runtime.bytes_of_i8,
    BoolNode(): runtime.bytes_of_bool,
    FloatNode(4): runtime.bytes_of_f32,
    FloatNode(8): runtime.bytes_of_f64,
}
"""How many items of one kind are written at once."""


def compile_encoder(schema: Schema) -> Callable[..., Any]:
    """Return the function that makes the parts of a message."""
    return _Encoder(schema).compiled()


@attrs.frozen
class _Part:
    """A part of a message, as an expression; and, of a number, what `struct` calls it."""

    expression: str
    code: str = ""
    number: str = ""


@attrs.define(eq=False)
class _Encoder:
    schema: Schema
    plan: Plan = attrs.field(init=False)
    source: Source = attrs.field(init=False)
    _functions: dict[int, tuple[str, Node]] = attrs.field(init=False, factory=dict)
    _tables: list[tuple[str, tuple[str, ...]]] = attrs.field(init=False, factory=list)
    _runs: dict[str, tuple[struct.Struct, Any]] = attrs.field(init=False, factory=dict)
    _pending: list[_Part] = attrs.field(init=False, factory=list)
    _uses_out: bool = attrs.field(init=False, default=False)
    _more: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        schema = self.schema
        self.plan = Plan(schema)
        self.source = Source(dict(NAMES))
        params = ["left"] if schema.counts_empties else []
        params += ["levels"] if schema.definitions else []
        self._more = "".join(f", {name}" for name in params)

    def compiled(self) -> Callable[..., Any]:
        source = self.source
        with source.block(f"def encode(v{self._more})"):
            start = source.mark()
            self.parts(self.schema.root, "v")
            if self._uses_out:
                source.insert(start, "out = []", 1)
                self.flush()
                source.line("return out")
            else:
                source.line(f"return ({self._joined()})")
        done = 0
        while done < len(self._functions):
            name, node = list(self._functions.values())[done]
            done += 1
            with source.block(f"def {name}(v, out{self._more})"):
                self.parts(node, "v")
                self.flush()
        for name, functions in self._tables:
            source.line(f"{name} = ({', '.join(functions)},)")
        encode: Callable[..., Any] = source.compiled(f"encode {self.schema.label}")["encode"]
        return encode

    # Parts

    def _joined(self) -> str:
        """Return the pending parts as the inside of a tuple; none is pending any more."""
        expressions: list[str] = []
        parts, self._pending = self._pending, []
        index = 0
        while index < len(parts):
            end = index
            while end < len(parts) and parts[end].code:
                end += 1
            run = parts[index:end]
            if len(run) >= LEAST_RUN or [part.code for part in run] == ["d", "d"]:
                format_ = struct.Struct("<" + "".join(part.code for part in run))
                _, pack = self._runs.setdefault(format_.format, (format_, format_.pack))
                numbers = ", ".join(part.number for part in run)
                expressions.append(f"{self.source.constant(pack, 'pack')}({numbers})")
                index = end
            else:
                expressions.append(parts[index].expression)
                index += 1
        return "".join(f"{expression}, " for expression in expressions).rstrip(" ")

    def put(self, expression: str, code: str = "", number: str = "") -> None:
        self._pending.append(_Part(expression, code, number))

    def flush(self) -> None:
        """Write how the pending parts are added (Law 2)."""
        self._uses_out = True
        count = len(self._pending)
        if not count:
            return
        joined = self._joined()
        if joined.count(",") == 1 and not joined.startswith("*"):
            self.source.line(f"out.append({joined[:-1]})")
        else:
            self.source.line(f"out += ({joined})")

    def number(self, number: str, large: str = "large_u64") -> None:
        """Put a number of variable length, known to be an int."""
        self.put(f"BYTE[{number}] if 0 <= {number} < 251 else {large}({number})")

    def assigned(self, expression: str, hint: str = "v") -> str:
        name = self.source.fresh(hint)
        self.source.line(f"{name} = {expression}")
        return name

    def _refuse_if(self, condition: str) -> None:
        with self.source.block(f"if {condition}"):
            self.source.line("raise Refused")

    def _exact(self, kind: str, v: str, via: str) -> None:
        with self.source.block(f"if type({v}) is not {kind}"):
            self.source.line(f"{v} = {via}({v})")

    # Values

    def value(self, node: Node, v: str) -> None:
        """Write how the value of that name is written."""
        if self.plan.is_apart(node) or self.plan.is_deep(node, self.source.depth):
            self._call(node, v, self._more)
        else:
            self.parts(node, v)

    def parts(self, node: Node, v: str) -> None:
        """Write how it is written, here."""
        WAYS[type(node)](self, node, v)

    def _call(self, node: Node, v: str, more: str) -> None:
        self.flush()
        name = self._function(node)
        self.source.line(f"{name}({v}, out{more})")

    def _function(self, node: Node) -> str:
        return self._functions.setdefault(id(node), (f"write_{len(self._functions)}", node))[0]

    # One way for each node

    def _int(self, node: IntNode, v: str) -> None:
        self._exact("int", v, "exact_int")
        if node.nbits == 8 and node.signed:
            self.put(f"BYTE[{v} & 255] if -129 < {v} < 128 else refuse()", "b", v)
        elif node.nbits == 8:
            self.put(f"BYTE[{v}] if {v} >= 0 else refuse()", "B", v)
        else:
            function = runtime.LARGE[node.nbits, node.signed]
            large = self.source.constant(function, "large")
            if node.signed:
                self.put(f"SIGNED[{v}] if -126 < {v} < 126 else {large}({v})")
            else:
                self.number(v, large)

    def _bool(self, _: BoolNode, v: str) -> None:
        self._refuse_if(f"{v} is not True and {v} is not False")
        self.put(f"BYTE[{v}]", "B", v)

    def _float(self, node: FloatNode, v: str) -> None:
        self._exact("float", v, "exact_f32" if node.nbytes == 4 else "exact_float")
        if node.nbytes == 4:
            self.put(f"pack_f32({v})")
        else:
            self.put(f"pack_f64({v})", "d", v)

    def _char(self, _: CharNode, v: str) -> None:
        self._exact("str", v, "exact_str")
        self._refuse_if(f"len({v}) != 1")
        self.put(f"utf8({v})")

    def _str(self, _: StrNode, v: str) -> None:
        data = self.assigned(f"utf8({v})", "s")
        self.number(self.assigned(f"len({data})", "n"))
        self.put(data)

    def _bytes(self, node: BytesNode, v: str) -> None:
        if node.as_view:
            count, pieces = self.source.fresh("n"), self.source.fresh("p")
            self.source.line(f"{count}, {pieces} = pieces_of({v})")
            self.number(count)
            self.put(f"*{pieces}")
        else:
            self._exact("bytes", v, "flat_bytes")
            self.number(self.assigned(f"len({v})", "n"))
            self.put(v)

    def _byte_array(self, node: ByteArrayNode, v: str) -> None:
        self._exact("bytes", v, "flat_bytes")
        self._refuse_if(f"len({v}) != {node.count}")
        self.put(v)

    def _unit(self, _: UnitNode, v: str) -> None:
        self._refuse_if(f"{v} is not None")

    def _never(self, _node: NeverNode, _v: str) -> None:
        self.source.line("raise Refused")

    def _option(self, node: OptionNode, v: str) -> None:
        self.flush()
        with self.source.block(f"if {v} is None"):
            self.put("BYTE[0]")
            self.flush()
        with self.source.block("else"):
            self.put("BYTE[1]")
            self.value(node.inner, v)
            self.flush()

    def _copied(self, kind: type, v: str) -> str:
        self._refuse_if(f"not isinstance({v}, {kind.__name__})")
        return self.assigned(f"list({v})")

    def _seq(self, node: SeqNode, v: str) -> None:
        items = self._copied(node.kind, v)
        self.number(self.assigned(f"len({items})", "n"))
        self._items(node.item, items)

    def _array(self, node: ArrayNode, v: str) -> None:
        items = self._copied(node.kind, v)
        self._refuse_if(f"len({items}) != {node.count}")
        self._items(node.item, items)

    def _items(self, item: Node, items: str) -> None:
        self._charge(items, item)
        bulk = BULK.get(item) if isinstance(item, (IntNode, BoolNode, FloatNode)) else None
        if bulk is not None:
            self.put(f"{self.source.constant(bulk, 'bulk')}({items})")
        elif isinstance(item, IntNode):
            way = runtime.parts_of_signed if item.signed else runtime.parts_of_unsigned
            large = self.source.constant(runtime.LARGE[item.nbits, item.signed], "large")
            self.put(f"*{self.source.constant(way, 'parts')}({items}, {large})")
        else:
            self.flush()
            one = self.source.fresh("v")
            with self.source.block(f"for {one} in {items}"):
                self.value(item, one)
                self.flush()

    def _charge(self, items: str, *nodes: Node) -> None:
        """Write how items without bytes are counted, which are made of `nodes`."""
        if not any(map(self.schema.least_nbytes, nodes)):
            empties = sum(map(self.schema.empties_in, nodes))
            self.source.line(f"left[0] -= len({items}) * {empties}")

    def _map(self, node: MapNode, v: str) -> None:
        self._refuse_if(f"not isinstance({v}, dict)")
        pairs = self.assigned(f"list({v}.items())")
        self.number(self.assigned(f"len({pairs})", "n"))
        self._charge(pairs, node.key, node.value)
        self.flush()
        key, value = self.source.fresh("k"), self.source.fresh("v")
        with self.source.block(f"for {key}, {value} in {pairs}"):
            self.value(node.key, key)
            self.value(node.value, value)
            self.flush()

    def _tuple(self, node: TupleNode, v: str) -> None:
        items = self._copied(tuple, v)
        self._refuse_if(f"len({items}) != {len(node.items)}")
        if node.items:
            names = [self.source.fresh("v") for _ in node.items]
            self.source.line(f"{', '.join(names)}, = {items}")
            for item, name in zip(node.items, names, strict=True):
                self.value(item, name)

    def _struct(self, node: StructNode, v: str) -> None:
        cls = self.source.constant(node.cls, "class")
        self._refuse_if(f"type({v}) is not {cls} and not isinstance({v}, {cls})")
        self._fields(node, v)

    def _fields(self, node: StructNode, v: str) -> None:
        for field in node.fields:
            name = field.name  # the compiler would write others than ASCII otherwise
            held = f"{v}.{name}" if name.isascii() else f"getattr({v}, {name!r})"
            self.value(field.node, self.assigned(held))

    def _enum(self, node: EnumNode, v: str) -> None:
        cls = self.source.constant(node.cls, "class")
        self._refuse_if(f"type({v}) is not {cls}")
        written = {member._name_: varint(index) for index, member in enumerate(node.members)}
        self.put(f"{self.source.constant(written, 'variants')}[{v}._name_]")

    def _union(self, node: UnionNode, v: str) -> None:
        kinds = self.source.constant(node.kinds, "kinds")
        index = self.assigned(f"{kinds}.get(type({v}))", "k")
        with self.source.block(f"if {index} is None"):
            self.source.line(f"{index} = kind_of({v}, {kinds})")
        if len(node.variants) > MAX_BRANCHES:
            table = self.source.fresh("WRITERS_")
            self._tables.append((table, tuple(map(self._function, node.variants))))
            self.number(index)
            self.flush()
            self.source.line(f"{table}[{index}]({v}, out{self._more})")
            return
        self.flush()
        for number, variant in enumerate(node.variants):
            with self.source.block(f"{'el' if number else ''}if {index} == {number}"):
                self.put(f"BYTE[{number}]")
                if isinstance(variant, StructNode) and not self.plan.is_apart(variant):
                    self._fields(variant, v)
                else:
                    self.value(variant, v)
                self.flush()

    def _hook(self, node: HookNode, v: str) -> None:
        if node.kind is not None:
            kind = self.source.constant(node.kind, "class")
            self._refuse_if(f"not isinstance({v}, {kind})")
        hook = self.source.constant(node.hook.to_wire, "hook")
        self.value(node.inner, self.assigned(f"{hook}({v})"))

    def _ref(self, node: RefNode, v: str) -> None:
        self._refuse_if("not levels")
        self._call(self.schema.definitions[node.name], v, f"{self._more} - 1")


WAYS: Final[Mapping[type, Callable[[_Encoder, Any, str], None]]] = {
    IntNode: _Encoder._int,
    BoolNode: _Encoder._bool,
    FloatNode: _Encoder._float,
    CharNode: _Encoder._char,
    StrNode: _Encoder._str,
    BytesNode: _Encoder._bytes,
    ByteArrayNode: _Encoder._byte_array,
    UnitNode: _Encoder._unit,
    NeverNode: _Encoder._never,
    OptionNode: _Encoder._option,
    SeqNode: _Encoder._seq,
    MapNode: _Encoder._map,
    ArrayNode: _Encoder._array,
    TupleNode: _Encoder._tuple,
    StructNode: _Encoder._struct,
    EnumNode: _Encoder._enum,
    UnionNode: _Encoder._union,
    HookNode: _Encoder._hook,
    RefNode: _Encoder._ref,
}
