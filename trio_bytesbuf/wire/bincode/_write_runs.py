"""Writing how values are read that lie one after the other; those of known size, by one call.

Law. A run is read by one `unpack_from`, which raises if it is not there, whole. Only then is
     anything made of its parts.
"""

from __future__ import annotations

import abc
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from ._schema_nodes import (
    ArrayNode,
    BoolNode,
    ByteArrayNode,
    FloatNode,
    IntNode,
    Node,
    Schema,
    StructNode,
    TupleNode,
)
from ._source import Plan, Source

MAX_UNROLLED: Final = 16
"""Arrays of fixed size up to so many items are read with what stands beside them."""


def _plan(writer: RunDecoder) -> Plan:
    return Plan(writer.schema)


@attrs.define(eq=False)
class RunDecoder(abc.ABC):
    """What a decoder is written with."""

    schema: Schema
    plan: Plan = attrs.field(init=False, default=attrs.Factory(_plan, takes_self=True))
    source: Source = attrs.field(init=False, factory=Source)
    _runs: dict[str, tuple[struct.Struct, Any]] = attrs.field(init=False, factory=dict)

    @abc.abstractmethod
    def value(self, node: Node) -> str:
        """Write how a value is read; return an expression for it, to be used once."""

    # Words

    def refuse_if(self, condition: str) -> None:
        with self.source.block(f"if {condition}"):
            self.source.line("raise Refused")

    def assigned(self, expression: str, hint: str = "v") -> str:
        name = self.source.fresh(hint)
        self.source.line(f"{name} = {expression}")
        return name

    def byte(self, hint: str = "v") -> str:
        name = self.source.fresh(hint)
        self.source.line(f"{name} = b[at]")
        self.source.line("at += 1")
        return name

    def kept(self, node: Node) -> str:
        """Write how a value is read, before the next one is."""
        value = self.value(node)
        return value if value.isidentifier() else self.assigned(value)

    def made(self, node: StructNode, values: Sequence[str]) -> str:
        """Return the call that makes an instance."""
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

    def unpack_of(self, codes: tuple[str, ...]) -> str:
        """Return the name of what unpacks a run."""
        form = struct.Struct("<" + "".join(codes))
        _, unpack = self._runs.setdefault(form.format, (form, form.unpack_from))
        return self.source.constant(unpack, "run")

    # Runs

    def codes_of(self, node: Node) -> tuple[str, ...] | None:
        """Return how `struct` calls the parts of a value, if their size is known and small."""
        match node:
            case IntNode(8, signed):
                return ("b" if signed else "B",)
            case BoolNode():
                return ("B",)
            case FloatNode(nbytes):
                return ("f" if nbytes == 4 else "d",)
            case ByteArrayNode(count, as_view=False) if count:
                return (f"{count}s",)
            case ArrayNode(_, item, count) if 0 < count <= MAX_UNROLLED:
                codes = (self.codes_of(item) or ()) * count
                return codes if 0 < len(codes) <= MAX_UNROLLED else None
            case TupleNode(items) if items:
                return self._all_codes(items)
            case StructNode(fields=fields) if fields and not self.plan.is_apart(node):
                return self._all_codes([field.node for field in fields])
            case _:
                return None

    def _all_codes(self, nodes: Sequence[Node]) -> tuple[str, ...] | None:
        codes: tuple[str, ...] = ()
        for node in nodes:
            found = self.codes_of(node)
            if found is None:
                return None
            codes += found
        return codes

    def sequence(self, nodes: Sequence[Node]) -> list[str]:
        """Write how values one after the other are read; those of known size at once."""
        values: list[str] = []
        index = 0
        while index < len(nodes):
            run: list[Node] = []
            codes: tuple[str, ...] = ()
            while index < len(nodes) and (found := self.codes_of(nodes[index])):
                run.append(nodes[index])
                codes += found
                index += 1
            if len(codes) > 1:
                values += self.unpacked(run, codes)
                continue
            values += map(self.kept, run)
            if index < len(nodes):
                values.append(self.kept(nodes[index]))
                index += 1
        return values

    def unpacked(self, run: Sequence[Node], codes: tuple[str, ...]) -> list[str]:
        """Write how a run is read; return an expression for each of its values."""
        names = [self.source.fresh("v") for _ in codes]
        size = struct.calcsize("<" + "".join(codes))
        self.source.line(f"{', '.join(names)} = {self.unpack_of(codes)}(b, at)")
        self.source.line(f"at += {size}")
        places: list[tuple[str, int]] = []
        for name, code in zip(names, codes, strict=True):
            places.append((name, size))  # how far it lies before `at`
            size -= struct.calcsize("<" + code)
        rest = iter(places)
        return [self._from_run(node, rest) for node in run]

    def _from_run(self, node: Node, rest: Iterator[tuple[str, int]]) -> str:
        match node:
            case BoolNode():
                name, _ = next(rest)
                self.refuse_if(f"{name} > 1")
                return f"({name} == 1)"
            case FloatNode(4):
                name, before = next(rest)
                with self.source.block(f"if {name} != {name}"):
                    self.source.line(f"{name} = unpack_f32(b, at - {before})")
                return name
            case ArrayNode(kind, item, count):
                items = [self._from_run(item, rest) for _ in range(count)]
                return f"[{', '.join(items)}]" if kind is list else f"({', '.join(items)},)"
            case TupleNode(nodes):
                return f"({', '.join([self._from_run(item, rest) for item in nodes])},)"
            case StructNode():
                values = [self._from_run(field.node, rest) for field in node.fields]
                return self.assigned(self.made(node, values))
            case _:
                return next(rest)[0]
