"""Writing the decoder of a type: one flat function, and more where a type contains itself.

    def decode(b[, view, refs][, left][, levels]): ...

`b` is the message. If views are cut from it, and it lies in one piece, `refs` is what is known of
that piece and `view` the same as `b`; else `refs` is False, `view` the message as a `BytesView`,
and `b` may be no more than its beginning. `left` is a list of one number, how many more items
without bytes may come; `levels` how many more times a definition may be entered.

Law 1. A read is checked, by Python or by a comparison, before its value is used: no class, no hook
       and nobody else is ever given what was cut short by the end of the message.
Law 2. `at` only grows; when the value is complete it must stand at the end.
Law 3. A count is compared with the bytes that are left before anything is made for it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from ...seq._view import make_view
from ._runtime import (
    SMALL_BYTES,
    UNZIGZAG,
    Refused,
    floats_f32,
    varint,
)
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
from ._values import CHAR_NBYTES, is_crowded, unpack_f32
from ._write_runs import RunDecoder

MAX_BRANCHES: Final = 8
"""A union of more variants looks its reader up in a table."""

U32_MAX: Final = (1 << 32) - 1
U64_MAX: Final = (1 << 64) - 1

NAMES: Final[Mapping[str, object]] = {
    "Refused": Refused,
    "varint": varint,
    "unpack_from": struct.unpack_from,
    "unpack_u16": struct.Struct("<H").unpack_from,
    "unpack_u32": struct.Struct("<I").unpack_from,
    "unpack_f32": unpack_f32,
    "floats_f32": floats_f32,
    "is_crowded": is_crowded,
    "make_view": make_view,
    "UNZIGZAG": UNZIGZAG,
    "CHAR_NBYTES": CHAR_NBYTES,
    "SMALL_BYTES": SMALL_BYTES,
    "BOOL_BYTES": b"\0\1",
}


def compile_decoder(schema: Schema) -> Callable[..., Any]:
    """Return the function that decodes values of a type."""
    return _Decoder(schema).compiled()


def compile_reader(schema: Schema, node: Node) -> Callable[..., Any]:
    """Return a function that reads a value of `node`: of `b` and `at`, and where it ends."""
    return _Decoder(schema).compiled_reader(node)


@attrs.define(eq=False)
class _Decoder(RunDecoder):
    _functions: dict[int, tuple[str, Node]] = attrs.field(init=False, factory=dict)
    _tables: list[tuple[str, tuple[str, ...]]] = attrs.field(init=False, factory=list)
    _more: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        schema = self.schema
        self.source.constants.update(NAMES)
        params = ["view", "refs"] if schema.takes_views else []
        params += ["left"] if schema.counts_empties else []
        params += ["levels"] if schema.definitions else []
        self._more = "".join(f", {name}" for name in params)

    def compiled(self) -> Callable[..., Any]:
        """Return the function that decodes a message."""
        source = self.source
        with source.block(f"def decode(b{self._more})"):
            self._head()
            value = self.parts(self.schema.root)
            with source.block("if at != total"):
                source.line("raise Refused")
            source.line(f"return {value}")
        return self._compiled("decode")

    def compiled_reader(self, node: Node) -> Callable[..., Any]:
        """Return the function that reads a value of `node` in the middle of a message."""
        return self._compiled(self._function(node))

    def _compiled(self, name: str) -> Callable[..., Any]:
        """Write the functions that were called; return the one of that name."""
        source = self.source
        done = 0
        while done < len(self._functions):
            called, node = list(self._functions.values())[done]
            done += 1
            with source.block(f"def {called}(b, at{self._more})"):
                self._head(at="")
                value = self.parts(node)
                source.line(f"return {value}, at")
        for table, functions in self._tables:
            source.line(f"{table} = ({', '.join(functions)},)")
        made: Callable[..., Any] = source.compiled(f"decode {self.schema.label}")[name]
        return made

    def _function(self, node: Node) -> str:
        return self._functions.setdefault(id(node), (f"read_{len(self._functions)}", node))[0]

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
        name = self._function(node)
        value = self.source.fresh("v")
        self.source.line(f"{value}, at = {name}(b, at{more})")
        return value

    def number(self, most: int, hint: str = "v") -> str:
        """Write how a number of variable length is read."""
        name = self.byte(hint)
        with self.source.block(f"if {name} > 250"):
            self._marked(name, most)
        return name

    def _marked(self, name: str, most: int) -> None:
        """Write how the number behind a marker is read; those of two and four bytes in place."""
        with self.source.block(f"if {name} == 251"):
            self.source.line(f"({name},) = unpack_u16(b, at)")
            self.source.line("at += 2")
        if most >= U32_MAX:
            with self.source.block(f"elif {name} == 252"):
                self.source.line(f"({name},) = unpack_u32(b, at)")
                self.source.line("at += 4")
        with self.source.block("else"):
            self.source.line(f"{name}, at = varint(b, at, {name}, {most})")

    def span(self, nbytes: str) -> str:
        """Write how the end of so many bytes is found (Law 1)."""
        end = self.source.fresh("e")
        self.source.line(f"{end} = at + {nbytes}")
        self.refuse_if(f"{end} > size")
        return end

    def count(self, *nodes: Node) -> str:
        """Write how the number of items is read, made of `nodes` (Law 3)."""
        least_nbytes = sum(map(self.schema.least_nbytes, nodes))
        name = self.number(U64_MAX, "n")
        if least_nbytes:
            factor = "" if least_nbytes == 1 else f" * {least_nbytes}"
            self.refuse_if(f"{name}{factor} > total - at")
        else:
            self._charge(name, *nodes)
        return name

    def _charge(self, count: str, *nodes: Node) -> None:
        empties = sum(map(self.schema.empties_in, nodes))
        self.source.line(f"left[0] -= {count}{'' if empties == 1 else f' * {empties}'}")
        self.refuse_if("left[0] < 0")

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
        self.refuse_if(f"{name} > 1")
        return f"({name} == 1)"

    def _float(self, node: FloatNode) -> str:
        unpack = self.unpack_of(("f" if node.nbytes == 4 else "d",))
        name = self.assigned(f"{unpack}(b, at)[0]")
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
        self.refuse_if(f"not {nbytes}")
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
        self.refuse_if(f"{end} > total")
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
        count = self.count(node.item)
        return self._many(node, count)

    def _array(self, node: ArrayNode) -> str:
        codes = self.codes_of(node)
        if codes and len(codes) > 1:
            return self.unpacked([node], codes)[0]
        least = self.schema.least_nbytes(node.item)
        if least and node.count:
            self.refuse_if(f"{node.count * least} > total - at")
        elif node.count:
            self._charge(str(node.count), node.item)
        return self._many(node, str(node.count))

    def _many(self, node: SeqNode | ArrayNode, count: str) -> str:
        """Write how so many items are read; there may be bytes enough for them."""
        kind, item = node.kind, node.item
        bulk = self._bulk(kind, item, count)
        if bulk is not None:
            return bulk
        items = self.source.fresh("v")
        if isinstance(item, IntNode):
            return self._ints(node, item, count, items)
        self._loop(items, item, count)
        self._check_crowd(node, items)
        return items if kind is list else f"{kind.__name__}({items})"

    def _check_crowd(self, node: SeqNode | ArrayNode, items: str) -> None:
        if (
            isinstance(node, SeqNode)
            and node.kind in {set, frozenset}
            and self.schema.may_collide(node.item)
        ):
            most = self.schema.most_collisions(node)
            self.refuse_if(f"is_crowded({items}, {most})")

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
                self.refuse_if(f"{chunk}.translate(None, BOOL_BYTES)")
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

    def _ints(self, node: SeqNode | ArrayNode, item: IntNode, count: str, items: str) -> str:
        """Write how numbers are read: at once, if all of them are small."""
        kind = node.kind
        made = kind.__name__
        end = self.span(count)
        chunk = self.assigned(self._copy(end), "c")
        with self.source.block(f"if {chunk}.translate(None, SMALL_BYTES)"):
            self._loop(items, item, count)
            self._check_crowd(node, items)
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
        count = self.count(node.key, node.value)
        made = self.assigned("{}")
        keys = self.assigned("[]") if schema.may_collide(node.key) else ""
        values = self.assigned("[]") if keys else ""
        with self.source.block(f"for _ in range({count})"):
            key = self.kept(node.key)
            if keys:
                self.source.line(f"{keys}.append({key})")
                self.source.line(f"{values}.append({self.kept(node.value)})")
            else:
                self.source.line(f"{made}[{key}] = {self.kept(node.value)}")
        if keys:
            most = schema.most_collisions(node)
            self.refuse_if(f"is_crowded({keys}, {most})")
            self.source.line(f"{made}.update(zip({keys}, {values}))")
        return made

    def _tuple(self, node: TupleNode) -> str:
        values = self.sequence(node.items)
        return f"({', '.join(values)},)" if values else "()"

    def _struct(self, node: StructNode) -> str:
        return self.assigned(self.made(node, self.sequence([field.node for field in node.fields])))

    def _enum(self, node: EnumNode) -> str:
        index = self.number(U32_MAX, "k")
        return self.assigned(f"{self.source.constant(node.members, 'members')}[{index}]")

    def _union(self, node: UnionNode) -> str:
        index = self.number(U32_MAX, "k")
        name = self.source.fresh("v")
        if len(node.variants) > MAX_BRANCHES:
            table = self.source.fresh("READERS_")
            self._tables.append((table, tuple(map(self._function, node.variants))))
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
        self.refuse_if("not levels")
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
