"""Writing the decoder of a type: one flat function, and more where a type contains itself.

    def decode(b[, view, refs][, left][, levels]): ...

`b` is the message. If views are cut from it, `view` is the message as a `BytesView`, `refs` what is
known of its one piece, or False if it has several; then `b` may be no more than its beginning.
`left` is a list of one number, how many more items without bytes may come; `levels` how
many more times a definition may be entered.

Law 1. A read is checked, by Python or by a comparison, before its value is used: no class, no hook
       and nobody else is ever given what was cut short by the end of the message.
Law 2. `at` only grows; when the value is complete it must stand at the end.
Law 3. A count is compared with the bytes that are left before anything is made for it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from ..seq._view import make_view
from ._bincode_runtime import (
    SMALL_BYTES,
    UNZIGZAG,
    Refused,
    floats_f32,
    varint,
)
from ._bincode_source import Plan, Source
from ._bincode_values import CHAR_NBYTES, unpack_f32
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

MAX_BRANCHES: Final = 8
"""A union of more variants looks its reader up in a table."""

MAX_UNROLLED: Final = 16
"""Arrays of fixed size up to so many items are read with what stands beside them."""

U32_MAX: Final = (1 << 32) - 1
U64_MAX: Final = (1 << 64) - 1

NAMES: Final[Mapping[str, object]] = {
    "Refused": Refused,
    "varint": varint,
    "unpack_from": struct.unpack_from,
    "unpack_u16": struct.Struct("<H").unpack_from,
    "unpack_f32": unpack_f32,
    "floats_f32": floats_f32,
    "make_view": make_view,
    "UNZIGZAG": UNZIGZAG,
    "CHAR_NBYTES": CHAR_NBYTES,
    "SMALL_BYTES": SMALL_BYTES,
    "BOOL_BYTES": b"\0\1",
}


def compile_decoder(schema: Schema) -> Callable[..., Any]:
    """Return the function that decodes values of a type."""
    return _Decoder(schema).compiled()


@attrs.frozen
class Fixed:
    """A run of bytes of a size that is known: how `struct` calls its parts."""

    codes: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        return struct.calcsize("<" + "".join(self.codes))


@attrs.define(eq=False)
class _Decoder:
    schema: Schema
    plan: Plan = attrs.field(init=False)
    source: Source = attrs.field(init=False)
    _functions: dict[int, tuple[str, Node]] = attrs.field(init=False, factory=dict)
    _tables: list[tuple[str, tuple[str, ...]]] = attrs.field(init=False, factory=list)
    _runs: dict[str, tuple[struct.Struct, Any]] = attrs.field(init=False, factory=dict)
    _more: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        schema = self.schema
        self.plan = Plan(schema)
        self.source = Source(dict(NAMES))
        params = ["view", "refs"] if schema.takes_views else []
        params += ["left"] if schema.counts_empties else []
        params += ["levels"] if schema.definitions else []
        self._more = "".join(f", {name}" for name in params)

    def compiled(self) -> Callable[..., Any]:
        source = self.source
        with source.block(f"def decode(b{self._more})"):
            self._head()
            value = self.parts(self.schema.root)
            with source.block("if at != total"):
                source.line("raise Refused")
            source.line(f"return {value}")
        done = 0
        while done < len(self._functions):
            name, node = list(self._functions.values())[done]
            done += 1
            with source.block(f"def {name}(b, at{self._more})"):
                self._head(at="")
                value = self.parts(node)
                source.line(f"return {value}, at")
        for name, functions in self._tables:
            source.line(f"{name} = ({', '.join(functions)},)")
        decode: Callable[..., Any] = source.compiled(f"decode {self.schema.label}")["decode"]
        return decode

    def _head(self, at: str = "at = ") -> None:
        views = self.schema.takes_views
        self.source.line("size = len(b)" if views else "size = total = len(b)")
        if views:
            self.source.line("total = len(view)")
        if at:
            self.source.line("at = 0")

    # Values

    def value(self, node: Node) -> str:
        """Write how a value is read; return an expression for it, to be used once."""
        if self.plan.is_apart(node) or self.plan.is_deep(node, self.source.depth):
            return self._called(node, self._more)
        return self.parts(node)

    def parts(self, node: Node) -> str:
        """Write how a value is read, here."""
        return str(WAYS[type(node)](self, node))

    def _called(self, node: Node, more: str) -> str:
        name, _ = self._functions.setdefault(id(node), (f"read_{len(self._functions)}", node))
        value = self.source.fresh("v")
        self.source.line(f"{value}, at = {name}(b, at{more})")
        return value

    def _refuse_if(self, condition: str) -> None:
        with self.source.block(f"if {condition}"):
            self.source.line("raise Refused")

    def byte(self, hint: str = "v") -> str:
        name = self.source.fresh(hint)
        self.source.line(f"{name} = b[at]")
        self.source.line("at += 1")
        return name

    def number(self, most: int, hint: str = "v") -> str:
        """Write how a number of variable length is read."""
        name = self.byte(hint)
        with self.source.block(f"if {name} > 250"):
            self._marked(name, most)
        return name

    def _marked(self, name: str, most: int) -> None:
        """Write how the number behind a marker is read; two bytes, the commonest, in place."""
        with self.source.block(f"if {name} == 251"):
            self.source.line(f"({name},) = unpack_u16(b, at)")
            self.source.line("at += 2")
        with self.source.block("else"):
            self.source.line(f"{name}, at = varint(b, at, {name}, {most})")

    def span(self, nbytes: str) -> str:
        """Write how the end of so many bytes is found (Law 1)."""
        end = self.source.fresh("e")
        self.source.line(f"{end} = at + {nbytes}")
        self._refuse_if(f"{end} > size")
        return end

    def assigned(self, expression: str, hint: str = "v") -> str:
        name = self.source.fresh(hint)
        self.source.line(f"{name} = {expression}")
        return name

    def count(self, least_nbytes: int) -> str:
        """Write how the number of items is read (Law 3)."""
        name = self.number(U64_MAX, "n")
        if least_nbytes:
            factor = "" if least_nbytes == 1 else f" * {least_nbytes}"
            self._refuse_if(f"{name}{factor} > total - at")
        else:
            self._charge(name)
        return name

    def _charge(self, number: str) -> None:
        self.source.line(f"left[0] -= {number}")
        self._refuse_if("left[0] < 0")

    # Runs of fixed size

    def fixed(self, node: Node) -> Fixed | None:
        """Return the run of bytes that a value is, if its size is known and it is small."""
        match node:
            case IntNode(8, signed):
                return Fixed(("b" if signed else "B",))
            case BoolNode():
                return Fixed(("B",))
            case FloatNode(nbytes):
                return Fixed(("f" if nbytes == 4 else "d",))
            case ByteArrayNode(count, as_view=False) if count:
                return Fixed((f"{count}s",))
            case ArrayNode(_, item, count) if 0 < count <= MAX_UNROLLED:
                one = self.fixed(item)
                many = one and one.codes * count
                return Fixed(many) if many and len(many) <= MAX_UNROLLED else None
            case TupleNode(items) if items:
                return self._fixed_all(items)
            case StructNode(fields=fields) if fields and not self.plan.is_apart(node):
                return self._fixed_all([field.node for field in fields])
            case _:
                return None

    def _fixed_all(self, nodes: Sequence[Node]) -> Fixed | None:
        runs = [self.fixed(node) for node in nodes]
        return None if None in runs else Fixed(sum((run.codes for run in runs if run), ()))

    def sequence(self, nodes: Sequence[Node]) -> list[str]:
        """Write how values one after the other are read; those of fixed size at once."""
        values: list[str] = []
        index = 0
        while index < len(nodes):
            run: list[Node] = []
            codes: tuple[str, ...] = ()
            while index < len(nodes) and (found := self.fixed(nodes[index])):
                run.append(nodes[index])
                codes += found.codes
                index += 1
            if len(codes) > 1:
                values += self._unpacked(run, codes)
            else:
                values += [self._kept(node) for node in run]
                if index < len(nodes):
                    values.append(self._kept(nodes[index]))
                    index += 1
        return values

    def _kept(self, node: Node) -> str:
        """Write how a value is read, before the next one is."""
        value = self.value(node)
        return value if value.isidentifier() else self.assigned(value)

    def _unpacked(self, run: Sequence[Node], codes: tuple[str, ...]) -> list[str]:
        format_ = struct.Struct("<" + "".join(codes))
        names = [self.source.fresh("v") for _ in codes]
        _, unpack = self._runs.setdefault(format_.format, (format_, format_.unpack_from))
        self.source.line(f"{', '.join(names)} = {self.source.constant(unpack, 'run')}(b, at)")
        self.source.line(f"at += {format_.size}")
        offset = -format_.size
        places = []
        for name, code in zip(names, codes, strict=True):
            places.append((name, offset))
            offset += struct.calcsize("<" + code)
        rest = iter(places)
        return [self._from_run(node, rest) for node in run]

    def _from_run(self, node: Node, rest: Iterator[tuple[str, int]]) -> str:
        match node:
            case BoolNode():
                name, _ = next(rest)
                self._refuse_if(f"{name} > 1")
                return f"({name} == 1)"
            case FloatNode(4):
                name, offset = next(rest)
                with self.source.block(f"if {name} != {name}"):
                    self.source.line(f"{name} = unpack_f32(b, at - {-offset})")
                return name
            case ArrayNode(kind, item, count):
                items = [self._from_run(item, rest) for _ in range(count)]
                return f"[{', '.join(items)}]" if kind is list else f"({', '.join(items)},)"
            case TupleNode(nodes):
                return f"({', '.join([self._from_run(item, rest) for item in nodes])},)"
            case StructNode():
                values = [self._from_run(field.node, rest) for field in node.fields]
                return self.assigned(self._made(node, values))
            case _:
                return next(rest)[0]

    # One way for each node

    def _int(self, node: IntNode) -> str:
        if node.nbits == 8:
            name = self.byte()
            return f"({name} - 256 if {name} > 127 else {name})" if node.signed else name
        most = (1 << node.nbits) - 1
        if not node.signed:
            return self.number(most)
        name = self.byte()
        with self.source.block(f"if {name} > 250"):
            self._marked(name, most)
            self.source.line(f"{name} = {name} >> 1 ^ -({name} & 1)")
        with self.source.block("else"):
            self.source.line(f"{name} = UNZIGZAG[{name}]")
        return name

    def _bool(self, _: BoolNode) -> str:
        name = self.byte()
        self._refuse_if(f"{name} > 1")
        return f"({name} == 1)"

    def _float(self, node: FloatNode) -> str:
        codes = ("f" if node.nbytes == 4 else "d",)
        format_ = struct.Struct("<" + codes[0])
        _, unpack = self._runs.setdefault(format_.format, (format_, format_.unpack_from))
        name = self.assigned(f"{self.source.constant(unpack, 'run')}(b, at)[0]")
        self.source.line(f"at += {node.nbytes}")
        if node.nbytes == 4:
            with self.source.block(f"if {name} != {name}"):
                self.source.line(f"{name} = unpack_f32(b, at - 4)")
        return name

    def _decoded(self, end: str) -> str:
        text = 'str(b[at:{}], "utf-8")' if self.schema.takes_views else "b[at:{}].decode()"
        name = self.assigned(text.format(end))
        self.source.line(f"at = {end}")
        return name

    def _char(self, _: CharNode) -> str:
        nbytes = self.assigned("CHAR_NBYTES[b[at]]", "n")
        self._refuse_if(f"not {nbytes}")
        return self._decoded(self.span(nbytes))

    def _str(self, _: StrNode) -> str:
        return self._decoded(self.span(self.number(U64_MAX, "n")))

    def _bytes(self, node: BytesNode) -> str:
        return self._cut(self.number(U64_MAX, "n"), as_view=node.as_view)

    def _byte_array(self, node: ByteArrayNode) -> str:
        return self._cut(str(node.count), as_view=node.as_view)

    def _cut(self, nbytes: str, *, as_view: bool) -> str:
        if not as_view:
            end = self.span(nbytes)
            cut = f"b[at:{end}]"
            name = self.assigned(f"bytes({cut})" if self.schema.takes_views else cut)
            self.source.line(f"at = {end}")
            return name
        end = self.assigned(f"at + {nbytes}", "e")
        self._refuse_if(f"{end} > total")
        name = self.source.fresh("v")
        with self.source.block("if refs is False"):
            self.source.line(f"{name} = view[at:{end}]")
        with self.source.block(f"elif {end} > at"):
            self.source.line(f"{name} = make_view((b[at:{end}],), {end} - at, refs)")
        with self.source.block("else"):
            self.source.line(f"{name} = make_view((), 0)")
        self.source.line(f"at = {end}")
        return name

    def _unit(self, _: UnitNode) -> str:
        return "None"

    def _never(self, _: NeverNode) -> str:
        self.source.line("raise Refused")
        return "None"

    def _option(self, node: OptionNode) -> str:
        tag = self.byte("t")
        name = self.source.fresh("v")
        with self.source.block(f"if {tag} == 1"):
            self.source.line(f"{name} = {self.value(node.inner)}")
        with self.source.block(f"elif {tag}"):
            self.source.line("raise Refused")
        with self.source.block("else"):
            self.source.line(f"{name} = None")
        return name

    def _seq(self, node: SeqNode) -> str:
        count = self.count(self.schema.least_nbytes(node.item))
        return self._many(node.kind, node.item, count)

    def _array(self, node: ArrayNode) -> str:
        if (run := self.fixed(node)) and len(run.codes) > 1:
            return self._unpacked([node], run.codes)[0]
        least = self.schema.least_nbytes(node.item)
        if least and node.count:
            self._refuse_if(f"{node.count * least} > total - at")
        elif node.count:
            self._charge(str(node.count))
        return self._many(node.kind, node.item, str(node.count))

    def _many(self, kind: type, item: Node, count: str) -> str:
        """Write how so many items are read; there may be bytes enough for them."""
        bulk = self._bulk(kind, item, count)
        if bulk is not None:
            return bulk
        items = self.source.fresh("v")
        if isinstance(item, IntNode):
            return self._ints(kind, item, count, items)
        self._loop(items, item, count)
        return items if kind is list else f"{kind.__name__}({items})"

    def _loop(self, items: str, item: Node, count: str) -> None:
        add = self.source.fresh("add")
        self.source.line(f"{items} = []")
        self.source.line(f"{add} = {items}.append")
        with self.source.block(f"for _ in range({count})"):
            self.source.line(f"{add}({self.value(item)})")

    def _bulk(self, kind: type, item: Node, count: str) -> str | None:
        """Write how items of one fixed size are read at once."""
        made = kind.__name__
        match item:
            case IntNode(8, False):
                end = self.span(count)
                name = self.assigned(f"{made}(b[at:{end}])")
            case IntNode(8, True):
                end = self.span(count)
                name = self.assigned(f'{made}(unpack_from(f"{{{count}}}b", b, at))')
            case BoolNode():
                end = self.span(count)
                chunk = self.assigned(f"{self._copy(end)}", "c")
                self._refuse_if(f"{chunk}.translate(None, BOOL_BYTES)")
                name = self.assigned(f"{made}(map(bool, {chunk}))")
            case FloatNode(8):
                end = self.span(f"{count} * 8")
                name = self.assigned(f'{made}(unpack_from(f"<{{{count}}}d", b, at))')
            case FloatNode(4):
                end = self.span(f"{count} * 4")
                name = self.assigned(f"{made}(floats_f32(b, at, {count}))")
            case _:
                return None
        self.source.line(f"at = {end}")
        return name

    def _copy(self, end: str) -> str:
        return f"bytes(b[at:{end}])" if self.schema.takes_views else f"b[at:{end}]"

    def _ints(self, kind: type, item: IntNode, count: str, items: str) -> str:
        """Write how numbers are read: at once, if all of them are small."""
        made = kind.__name__
        end = self.span(count)
        chunk = self.assigned(self._copy(end), "c")
        with self.source.block(f"if {chunk}.translate(None, SMALL_BYTES)"):
            self._loop(items, item, count)
            if kind is not list:
                self.source.line(f"{items} = {made}({items})")
        with self.source.block("else"):
            what = f"[UNZIGZAG[c] for c in {chunk}]" if item.signed else chunk
            made = f"{made}({what})" if not item.signed or kind is not list else what
            self.source.line(f"{items} = {made}")
            self.source.line(f"at = {end}")
        return items

    def _map(self, node: MapNode) -> str:
        schema = self.schema
        count = self.count(schema.least_nbytes(node.key) + schema.least_nbytes(node.value))
        made = self.assigned("{}")
        with self.source.block(f"for _ in range({count})"):
            key = self._kept(node.key)
            self.source.line(f"{made}[{key}] = {self._kept(node.value)}")
        return made

    def _tuple(self, node: TupleNode) -> str:
        values = self.sequence(node.items)
        return f"({', '.join(values)},)" if values else "()"

    def _made(self, node: StructNode, values: Sequence[str]) -> str:
        by_position, by_keyword = [], []
        for field, value in zip(node.fields, values, strict=True):
            if field.keyword is None:
                by_position.append(value)
            elif field.keyword.isascii():
                by_keyword.append(f"{field.keyword}={value}")
            else:  # the compiler would write it otherwise
                by_keyword.append(f"**{{{field.keyword!r}: {value}}}")
        arguments = ", ".join(by_position + by_keyword)
        return f"{self.source.constant(node.cls, 'class')}({arguments})"

    def _struct(self, node: StructNode) -> str:
        return self.assigned(self._made(node, self.sequence([field.node for field in node.fields])))

    def _enum(self, node: EnumNode) -> str:
        index = self.number(U32_MAX, "k")
        return self.assigned(f"{self.source.constant(node.members, 'members')}[{index}]")

    def _union(self, node: UnionNode) -> str:
        index = self.number(U32_MAX, "k")
        name = self.source.fresh("v")
        if len(node.variants) > MAX_BRANCHES:
            table = self.source.fresh("READERS_")
            functions = []
            for variant in node.variants:
                function, _ = self._functions.setdefault(
                    id(variant), (f"read_{len(self._functions)}", variant)
                )
                functions.append(function)
            self._tables.append((table, tuple(functions)))
            self.source.line(f"{name}, at = {table}[{index}](b, at{self._more})")
            return name
        for number, variant in enumerate(node.variants):
            with self.source.block(f"{'el' if number else ''}if {index} == {number}"):
                self.source.line(f"{name} = {self.value(variant)}")
        with self.source.block("else"):
            self.source.line("raise Refused")
        return name

    def _hook(self, node: HookNode) -> str:
        hook = self.source.constant(node.hook.from_wire, "hook")
        return self.assigned(f"{hook}({self.value(node.inner)})")

    def _ref(self, node: RefNode) -> str:
        self._refuse_if("not levels")
        return self._called(self.schema.definitions[node.name], f"{self._more} - 1")


WAYS: Final[Mapping[type, Callable[[_Decoder, Any], str]]] = {
    IntNode: _Decoder._int,
    BoolNode: _Decoder._bool,
    FloatNode: _Decoder._float,
    CharNode: _Decoder._char,
    StrNode: _Decoder._str,
    BytesNode: _Decoder._bytes,
    ByteArrayNode: _Decoder._byte_array,
    UnitNode: _Decoder._unit,
    NeverNode: _Decoder._never,
    OptionNode: _Decoder._option,
    SeqNode: _Decoder._seq,
    MapNode: _Decoder._map,
    ArrayNode: _Decoder._array,
    TupleNode: _Decoder._tuple,
    StructNode: _Decoder._struct,
    EnumNode: _Decoder._enum,
    UnionNode: _Decoder._union,
    HookNode: _Decoder._hook,
    RefNode: _Decoder._ref,
}
