"""Encoding as it is meant: slow, with the path of what is wrong.

Run only when the compiled encoder has refused a value, to say why, and by tests, which hold the two
to the same outcome.

Law 1. Counts are those of a copy: what an iterator gives, and not what a `len` says, is counted.
Law 2. What code that is not ours raises, a property or a hook, becomes a complaint.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from ..._errors import EncodeError
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
from ._values import (
    Complaint,
    exact_f32,
    exact_float,
    exact_int,
    exact_str,
    flat_bytes,
    mistaken,
    pack_f32,
    reason,
    shown,
    varint,
    zigzag,
)


def explain_encode(
    schema: Schema, value: object, *, max_empties: int, max_depth: int
) -> tuple[bytes, int]:
    """Return the bytes of `value`, and how many more items without bytes it may have.

    That is below 0 if it has too many.

    Raises:
      EncodeError: it is no value of the type.
    """
    writing = Writing(schema, max_empties, max_depth)
    cause: BaseException | None
    try:
        writing.value(schema.root, value)
        return bytes(writing.out), writing.empties_left
    except Complaint as exc:
        error, cause = EncodeError(exc.text, exc.where()), exc.__cause__
    except RecursionError as exc:
        text = "it is nested too deeply for what is left of Python's stack"
        error, cause = EncodeError(text, ""), exc.__cause__
    except MemoryError:
        raise
    except Exception as exc:  # noqa: BLE001  # of an object that pretends to be of another class
        error, cause = EncodeError(reason(exc), ""), exc
    raise error from cause


@attrs.define(eq=False)
class Writing:
    """A message that is being written."""

    schema: Schema
    empties_left: int
    levels_left: int
    out: bytearray = attrs.field(factory=bytearray)

    def value(self, node: Node, value: object) -> None:
        """Write a value."""
        WRITERS[type(node)](self, node, value)


def _int(writing: Writing, node: IntNode, value: object) -> None:
    number = exact_int(value)
    if not node.least <= number <= node.most:
        raise Complaint(f"{shown(number)} does not fit {node}: {node.least} to {node.most}")
    if node.nbits == 8:
        writing.out.append(number & 255)
    else:
        writing.out += varint(zigzag(number) if node.signed else number)


def _bool(writing: Writing, _: BoolNode, value: object) -> None:
    if value is not True and value is not False:
        raise mistaken(value, "a bool")
    writing.out.append(value)


def _float(writing: Writing, node: FloatNode, value: object) -> None:
    number = exact_f32(value) if node.nbytes == 4 else exact_float(value)
    try:
        writing.out += pack_f32(number) if node.nbytes == 4 else struct.pack("<d", number)
    except OverflowError:
        raise Complaint(f"{number} does not fit f32") from None


def _utf8(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as exc:
        raise Complaint(f"no UTF-8 can be made of it: {exc.reason} at {exc.start}") from None


def _char(writing: Writing, _: CharNode, value: object) -> None:
    text = exact_str(value)
    if len(text) != 1:
        raise Complaint(f"one character is expected, not {len(text)}: {shown(text)}")
    writing.out += _utf8(text)


def _str(writing: Writing, _: StrNode, value: object) -> None:
    data = _utf8(exact_str(value))
    writing.out += varint(len(data))
    writing.out += data


def _flat(value: object) -> bytes | memoryview:
    data: bytes | memoryview = _asked(flat_bytes, value)
    return data


def _bytes(writing: Writing, _: BytesNode, value: object) -> None:
    data = _flat(value)
    writing.out += varint(len(data))
    writing.out += data


def _byte_array(writing: Writing, node: ByteArrayNode, value: object) -> None:
    data = _flat(value)
    if len(data) != node.count:
        raise Complaint(f"{node.count} bytes are expected, not {len(data)}")
    writing.out += data


def _unit(_writing: Writing, _: UnitNode, value: object) -> None:
    if value is not None:
        raise mistaken(value, "None")


def _never(_writing: Writing, _: NeverNode, value: object) -> None:
    raise mistaken(value, "nothing at all")


def _option(writing: Writing, node: OptionNode, value: object) -> None:
    writing.out.append(value is not None)
    if value is not None:
        WRITERS[type(node.inner)](writing, node.inner, value)


def _asked(work: Callable[..., Any], *args: object) -> Any:
    """Let code that is not ours answer (Law 2)."""
    try:
        return work(*args)
    except (Complaint, MemoryError):
        raise
    except Exception as exc:  # whatever it raises
        raise Complaint(reason(exc)) from exc


def _items(writing: Writing, item: Node, values: list[object]) -> None:
    if not writing.schema.least_nbytes(item):
        writing.empties_left -= len(values) * writing.schema.empties_in(item)
    write = WRITERS[type(item)]
    index = 0
    try:
        for index, value in enumerate(values):  # noqa: B007  # it says where
            write(writing, item, value)
    except Complaint as exc:
        exc.path.append(f"[{index}]")
        raise


def _copied(kind: type, value: object) -> list[object]:
    if not isinstance(value, kind):
        raise mistaken(value, f"a {kind.__name__}")
    items: list[object] = _asked(list, value)
    return items


def _seq(writing: Writing, node: SeqNode, value: object) -> None:
    items = _copied(node.kind, value)
    writing.out += varint(len(items))
    _items(writing, node.item, items)


def _array(writing: Writing, node: ArrayNode, value: object) -> None:
    items = _copied(node.kind, value)
    if len(items) != node.count:
        raise Complaint(f"{node.count} items are expected, not {len(items)}")
    _items(writing, node.item, items)


def _map(writing: Writing, node: MapNode, value: object) -> None:
    if not isinstance(value, dict):
        raise mistaken(value, "a dict")
    pairs: list[tuple[object, object]] = _asked(lambda: list(value.items()))
    writing.out += varint(len(pairs))
    schema = writing.schema
    if not schema.least_nbytes(node.key) + schema.least_nbytes(node.value):
        empties = schema.empties_in(node.key) + schema.empties_in(node.value)
        writing.empties_left -= len(pairs) * empties
    for index, (key, item) in enumerate(pairs):
        try:
            WRITERS[type(node.key)](writing, node.key, key)
        except Complaint as exc:
            exc.path.append(f" (key {index})")
            raise
        try:
            WRITERS[type(node.value)](writing, node.value, item)
        except Complaint as exc:
            exc.path.append(f"[{shown(key)}]")
            raise


def _tuple(writing: Writing, node: TupleNode, value: object) -> None:
    items = _copied(tuple, value)
    if len(items) != len(node.items):
        raise Complaint(f"{len(node.items)} items are expected, not {len(items)}")
    index = 0
    try:
        for index, (item, one) in enumerate(zip(node.items, items, strict=True)):  # noqa: B007
            WRITERS[type(item)](writing, item, one)
    except Complaint as exc:
        exc.path.append(f"[{index}]")
        raise


def _struct(writing: Writing, node: StructNode, value: object) -> None:
    if not isinstance(value, node.cls):
        raise mistaken(value, node.label)
    name = ""
    try:
        for field in node.fields:
            name = field.name
            held = _asked(getattr, value, name)
            WRITERS[type(field.node)](writing, field.node, held)
    except Complaint as exc:
        exc.path.append(f".{name}")
        raise


def _enum(writing: Writing, node: EnumNode, value: object) -> None:
    if type(value) is not node.cls:
        raise mistaken(value, f"a member of {node.cls.__name__}")
    for index, member in enumerate(node.members):
        if member is value:
            writing.out += varint(index)
            return
    raise Complaint(f"{shown(value)} is none of the variants of {node.cls.__name__}")


def _union(writing: Writing, node: UnionNode, value: object) -> None:
    members = " or ".join(kind.__name__ for kind in node.kinds) or "nothing"
    for kind in type(value).__mro__:
        index = node.kinds.get(kind)
        if index is not None:
            break
    else:
        raise mistaken(value, members)
    variant = node.variants[index]
    if isinstance(value, bool) and isinstance(variant, IntNode):  # an int by class, and by no other
        raise mistaken(value, members)
    writing.out += varint(index)
    WRITERS[type(variant)](writing, variant, value)


def _hook(writing: Writing, node: HookNode, value: object) -> None:
    if node.kind is not None and not isinstance(value, node.kind):
        raise mistaken(value, node.label)
    wired = _asked(node.hook.to_wire, value)
    WRITERS[type(node.inner)](writing, node.inner, wired)


def _ref(writing: Writing, node: RefNode, value: object) -> None:
    if not writing.levels_left:
        raise Complaint("it is nested too deeply, or contains itself")
    writing.levels_left -= 1
    target = writing.schema.definitions[node.name]
    WRITERS[type(target)](writing, target, value)
    writing.levels_left += 1


WRITERS: Final[Mapping[type, Callable[[Writing, Any, Any], None]]] = {
    IntNode: _int,
    BoolNode: _bool,
    FloatNode: _float,
    CharNode: _char,
    StrNode: _str,
    BytesNode: _bytes,
    ByteArrayNode: _byte_array,
    UnitNode: _unit,
    NeverNode: _never,
    OptionNode: _option,
    SeqNode: _seq,
    MapNode: _map,
    ArrayNode: _array,
    TupleNode: _tuple,
    StructNode: _struct,
    EnumNode: _enum,
    UnionNode: _union,
    HookNode: _hook,
    RefNode: _ref,
}
