"""Writing Python: lines, names and constants of a function that is compiled when it is complete.

Law 1. What is written refers to nothing by a name of the user's but attributes and parameters;
       classes, hooks and tables are constants of the module, under names that are made here.
Law 2. A traceback, a debugger and `inspect` find the text: the module has a loader that knows it.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any, Final

import attrs

from ._schema_nodes import (
    ArrayNode,
    MapNode,
    Node,
    RefNode,
    Schema,
    SeqNode,
    StructNode,
    TupleNode,
    UnionNode,
    children,
)

MAX_INLINE: Final = 32
"""How many nodes below a class or a union are still written in place. Picked by eye: a call costs
as much as two fields, and what is written in place is written wherever it is used."""

MAX_NESTED: Final = 8
"""How deep blocks are nested: Python allows 20 loops within each other."""

_serial = itertools.count(1)


@attrs.frozen
class _Loader:
    """Gives the text of a compiled module to whoever asks for its source."""

    source: str

    def get_source(self, _name: str) -> str:
        return self.source


@attrs.define(eq=False)
class Source:
    """The text of a module that is being written, and its constants."""

    constants: dict[str, object] = attrs.field(factory=dict)
    _lines: list[str] = attrs.field(init=False, factory=list)
    _indent: int = attrs.field(init=False, default=0)
    _names: Iterator[int] = attrs.field(init=False, factory=itertools.count)
    _constant_names: dict[int, str] = attrs.field(init=False, factory=dict)

    @property
    def depth(self) -> int:
        """How deep in blocks the next line stands."""
        return self._indent

    def line(self, text: str) -> None:
        """Write a line."""
        self._lines.append(f"{'    ' * self._indent}{text}")

    @contextlib.contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Write a head, and what comes meanwhile below it."""
        self.line(f"{head}:")
        before = len(self._lines)
        self._indent += 1
        yield
        if len(self._lines) == before:
            self.line("pass")
        self._indent -= 1

    def fresh(self, hint: str) -> str:
        """Return a name that nothing else has."""
        return f"{hint}{next(self._names)}"

    def constant(self, value: object, hint: str) -> str:
        """Return the name of a constant with that value, the same object."""
        name = self._constant_names.get(id(value))
        if name is None:
            name = self._constant_names[id(value)] = self.fresh(hint.upper() + "_")
            self.constants[name] = value
        return name

    def mark(self) -> int:
        """Return where the next line will stand."""
        return len(self._lines)

    def insert(self, mark: int, text: str, indent: int) -> None:
        """Write a line where one stands already."""
        self._lines.insert(mark, f"{'    ' * indent}{text}")

    def compiled(self, label: str) -> dict[str, Any]:
        """Return the names of the module."""
        text = "\n".join(self._lines) + "\n"
        filename = f"<bincode {next(_serial)}> {label}"
        module: dict[str, Any] = {
            **self.constants,
            "__name__": filename,
            "__loader__": _Loader(text),
        }
        exec(compile(text, filename, "exec"), module)  # noqa: S102  # Law 1
        return module


@attrs.define(eq=False)
class Plan:
    """Which nodes get a function of their own."""

    schema: Schema
    _weights: dict[int, int] = attrs.field(init=False, factory=dict)

    def weight(self, node: Node) -> int:
        """Return how much text a node makes, where it is used."""
        known = self._weights.get(id(node))
        if known is None:
            below = sum(
                1 if self.is_apart(child) else self.weight(child) for child in children(node)
            )
            known = self._weights[id(node)] = 1 + below
        return known

    def is_apart(self, node: Node) -> bool:
        """Say whether a node is so large that it is written once, as a function."""
        return isinstance(node, COMPOUND) and self.weight(node) > MAX_INLINE

    def is_deep(self, node: Node, depth: int) -> bool:
        """Say whether a node must be a function because blocks are nested too deeply."""
        return depth > MAX_NESTED and isinstance(node, COMPOUND) and not isinstance(node, RefNode)


COMPOUND: Final = (StructNode, UnionNode, TupleNode, SeqNode, MapNode, ArrayNode)
"""Nodes that can be functions."""
