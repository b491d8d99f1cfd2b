"""Decoding as it is meant: slow, with the offset and the path of what is wrong.

Run only when the compiled decoder has refused a message, to say why, and by tests, which hold the
two to the same outcome.

Law 1. Every read is checked before it is made. A count is checked against the bytes that are left
       before anything is made for it, so memory and time follow the bytes that are there.
Law 2. Items that take no byte are counted over the whole message, and limited by themselves.
Law 3. What a class or a hook raises becomes a complaint about the bytes its values were read from.
Law 4. To explain takes its time, and whoever sends nonsense shall not decide how much. So the items
       of long lists and dicts are read by compiled code, as long as it can read them, and after so
       many steps the answer is how far it got. A node's reader is compiled once, however many
       lists of such items there are.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from ..._errors import DecodeError
from ...seq import BytesView
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
    CHAR_NBYTES,
    VARINT_NBYTES,
    Complaint,
    is_crowded,
    reason,
    shown,
    unpack_f32,
    unzigzag,
)

MANY: Final = 64
"""From so many items on they are read by compiled code. It costs a millisecond to compile it."""

SLOW_STEP: Final = 10
"""How many steps an item counts for that is read here: what it takes, in those of compiled code."""

Quick = Callable[[Node], Callable[..., Any]]


def explain_decode(
    schema: Schema,
    payload: BytesView,
    *,
    max_nbytes: int,
    max_depth: int,
    max_empties: int,
    quick: Quick | None = None,
    max_steps: int = 1_000_000,
) -> object:
    """Return the value of which `payload` is the bytes.

    Args:
      quick: compiles the reader of a node. Without it everything is read here.
      max_steps: after so many it is given up (Law 4). A million takes some 0.3 s.

    Raises:
      DecodeError: there is none.
    """
    data = payload.to_bytes()
    reading = Reading(schema, data, payload, max_empties, max_depth, quick, max_steps)
    cause: BaseException | None
    try:
        return reading.whole(max_nbytes)
    except Complaint as exc:
        error = DecodeError(exc.text, exc.offset, exc.where())
        cause = exc.__cause__
    except RecursionError as exc:
        text = "it is nested too deeply for what is left of Python's stack"
        error, cause = DecodeError(text, reading.at, ""), exc.__cause__
    finally:
        del payload, data, reading  # an error that is kept holds this frame, but no memory
    raise error from cause


@attrs.define(eq=False)
class Reading:
    """A message that is being read."""

    schema: Schema
    data: bytes
    view: BytesView
    max_empties: int
    levels_left: int
    quick: Quick | None
    steps_left: int
    at: int = 0
    empties_left: int = attrs.field(
        init=False, default=attrs.Factory(lambda self: self.max_empties, takes_self=True)
    )
    _compiled: dict[int, Callable[..., Any]] = attrs.field(init=False, factory=dict)
    """By the `id` of a node, which the schema keeps alive."""

    def whole(self, max_nbytes: int) -> object:
        """Read all of it."""
        if len(self.data) > max_nbytes:
            raise Complaint(
                f"the message has {len(self.data)} bytes, {max_nbytes} are allowed", max_nbytes
            )
        value = self.value(self.schema.root)
        if self.at != len(self.data):
            raise Complaint(f"{len(self.data) - self.at} bytes are left over", self.at)
        return value

    def value(self, node: Node) -> Any:
        """Read a value."""
        return READERS[type(node)](self, node)

    def place(self, nbytes: int, start: int) -> int:
        """Go over so many bytes; return where they begin. `start` is where the item does."""
        left = len(self.data) - self.at
        if nbytes > left:
            raise Complaint(
                f"the message ends in it: it has {nbytes} bytes, {left} are left", start
            )
        at = self.at
        self.at += nbytes
        return at

    def bytes(self, nbytes: int, start: int) -> bytes:
        """Read so many bytes."""
        at = self.place(nbytes, start)
        return self.data[at : self.at]

    def varint(self, nbits: int, what: str) -> int:
        """Read a number of at most so many bits."""
        start = self.at
        marker = self.bytes(1, start)[0]
        if marker < 251:
            return marker
        if marker == 255 or (marker == 254 and nbits < 128):
            raise Complaint(f"{what} cannot begin with byte {marker}", start)
        number = int.from_bytes(self.bytes(VARINT_NBYTES[marker], start), "little")
        if number >> nbits:
            raise Complaint(f"{number} is too large for {what}", start)
        return number

    def count(self, *nodes: Node) -> int:
        """Read how many items there are, made of `nodes` (Law 1)."""
        least_nbytes = sum(map(self.schema.least_nbytes, nodes))
        start = self.at
        number = self.varint(64, "a count")
        left = len(self.data) - self.at
        if number * least_nbytes > left:
            raise Complaint(f"{number} items are announced, {left} bytes are left", start)
        if not least_nbytes:
            self.charge(number * sum(map(self.schema.empties_in, nodes)), start)
        return number

    def step(self, cost: int) -> None:
        """Count a step (Law 4)."""
        self.steps_left -= cost
        if self.steps_left < 0:
            raise Complaint("from here on something is wrong; to find out what takes long", self.at)

    def item_reader(self, node: Node, count: int) -> Callable[[], Any]:
        """Return what reads one of so many items."""
        read = READERS[type(node)]

        def slowly() -> Any:
            self.step(SLOW_STEP)
            return read(self, node)

        if self.quick is None or count < MANY:
            return slowly
        compiled = self._compiled.get(id(node))
        if compiled is None:
            compiled = self._compiled[id(node)] = self.quick(node)
        views = (self.view, False) if self.schema.takes_views else ()

        def quickly() -> Any:
            self.step(1)
            left = [self.empties_left]
            limits: tuple[object, ...] = (left,) if self.schema.counts_empties else ()
            limits += (self.levels_left,) if self.schema.definitions else ()
            try:
                value, at = compiled(self.data, self.at, *views, *limits)
            except MemoryError:
                raise
            except Exception:  # noqa: BLE001  # it is asked why
                return slowly()
            self.at, self.empties_left = at, left[0]
            return value

        return quickly

    def charge(self, number: int, start: int) -> None:
        """Count items that take no byte (Law 2)."""
        self.empties_left -= number
        if self.empties_left < 0:
            raise Complaint(
                f"{number} more items that take no byte are too many: "
                f"max_empties={self.max_empties} are allowed",
                start,
            )


def _int(reading: Reading, node: IntNode) -> int:
    start = reading.at
    if node.nbits == 8:
        return int.from_bytes(reading.bytes(1, start), "little", signed=node.signed)
    number = reading.varint(node.nbits, f"{'an' if node.signed else 'a'} {node}")
    return unzigzag(number) if node.signed else number


def _bool(reading: Reading, _: BoolNode) -> bool:
    start = reading.at
    byte = reading.bytes(1, start)[0]
    if byte > 1:
        raise Complaint(f"a bool is 0 or 1, not {byte}", start)
    return byte == 1


def _float(reading: Reading, node: FloatNode) -> float:
    at = reading.place(node.nbytes, reading.at)
    if node.nbytes == 4:
        return unpack_f32(reading.data, at)
    return float(struct.unpack_from("<d", reading.data, at)[0])


def _text(data: bytes, start: int, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise Complaint(f"{what} is no UTF-8: {exc.reason}", start + exc.start) from None


def _char(reading: Reading, _: CharNode) -> str:
    start = reading.at
    lead = reading.bytes(1, start)[0]
    nbytes = CHAR_NBYTES[lead]
    if not nbytes:
        raise Complaint(f"no character begins with byte {lead}", start)
    return _text(bytes((lead,)) + reading.bytes(nbytes - 1, start), start, "a char")


def _str(reading: Reading, _: StrNode) -> str:
    start = reading.at
    data = reading.bytes(reading.varint(64, "a length"), start)
    return _text(data, reading.at - len(data), "a str")


def _bytes(reading: Reading, node: BytesNode | ByteArrayNode) -> bytes | BytesView:
    start = reading.at
    nbytes = reading.varint(64, "a length") if isinstance(node, BytesNode) else node.count
    at = reading.place(nbytes, start)
    return reading.view[at : reading.at] if node.as_view else reading.data[at : reading.at]


def _unit(_reading: Reading, _: UnitNode) -> None:
    return None


def _never(reading: Reading, _: NeverNode) -> object:
    raise Complaint("there is no value of this variant", reading.at)


def _option(reading: Reading, node: OptionNode) -> object:
    start = reading.at
    tag = reading.bytes(1, start)[0]
    if tag > 1:
        raise Complaint(f"an Option begins with 0 or 1, not {tag}", start)
    return reading.value(node.inner) if tag else None


def _items(reading: Reading, item: Node, count: int) -> list[object]:
    read = reading.item_reader(item, count)
    items: list[object] = []
    try:
        for _ in range(count):
            items.append(read())  # noqa: PERF401  # len(items) says where
    except Complaint as exc:
        exc.path.append(f"[{len(items)}]")
        raise
    return items


def _seq(reading: Reading, node: SeqNode) -> object:
    start = reading.at
    items = _items(reading, node.item, reading.count(node.item))
    if node.kind is list:
        return items
    if node.kind is not tuple and reading.schema.may_collide(node.item):
        _check_crowd(items, reading.schema.most_collisions(node), start)
    return _made(node.kind, (items,), {}, f"a {node.kind.__name__}", start)


def _array(reading: Reading, node: ArrayNode) -> object:
    start = reading.at
    least = reading.schema.least_nbytes(node.item)
    left = len(reading.data) - reading.at
    if node.count * least > left:
        raise Complaint(f"the message ends in it: {node.count} items, {left} bytes are left", start)
    if not least:
        reading.charge(node.count * reading.schema.empties_in(node.item), start)
    return node.kind(_items(reading, node.item, node.count))


def _check_crowd(keys: list[object], most: int, start: int) -> None:
    if _made(is_crowded, (keys, most), {}, "a set or a dict", start):
        raise Complaint(f"more than {most} items have the same hash", start)


def _map(reading: Reading, node: MapNode) -> Any:
    pairs: list[tuple[object, object]] = []
    began = reading.at
    count = reading.count(node.key, node.value)
    read_key = reading.item_reader(node.key, count)
    read_value = reading.item_reader(node.value, count)
    for index in range(count):
        start = reading.at
        try:
            key = read_key()
            _made(hash, (key,), {}, "a dict", start)
        except Complaint as exc:
            exc.path.append(f" (key {index})")
            raise
        try:
            value = read_value()
        except Complaint as exc:
            exc.path.append(f"[{shown(key)}]")
            raise
        pairs.append((key, value))
    if reading.schema.may_collide(node.key):
        most = reading.schema.most_collisions(node)
        _check_crowd([key for key, _ in pairs], most, began)
    return _made(dict, (pairs,), {}, "a dict", began)


def _tuple(reading: Reading, node: TupleNode) -> tuple[object, ...]:
    items: list[object] = []
    try:
        for item in node.items:
            items.append(READERS[type(item)](reading, item))  # noqa: PERF401
    except Complaint as exc:
        exc.path.append(f"[{len(items)}]")
        raise
    return tuple(items)


def _made(
    work: Callable[..., Any],
    args: tuple[object, ...],
    named: Mapping[str, object],
    what: str,
    start: int,
) -> Any:
    """Let code that is not ours make something (Law 3)."""
    try:
        return work(*args, **named)
    except MemoryError:
        raise
    except Exception as exc:  # whatever it raises
        raise Complaint(f"{what} cannot be made of this: {reason(exc)}", start) from exc
    finally:
        del args, named


def _struct(reading: Reading, node: StructNode) -> object:
    start = reading.at
    by_position: list[object] = []
    by_keyword: dict[str, object] = {}
    name = ""
    try:
        for field in node.fields:
            name = field.name
            value = READERS[type(field.node)](reading, field.node)
            if field.keyword is None:
                by_position.append(value)
            else:
                by_keyword[field.keyword] = value
    except Complaint as exc:
        exc.path.append(f".{name}")
        raise
    return _made(node.cls, tuple(by_position), by_keyword, node.label, start)


def _variant(reading: Reading, count: int, what: str) -> int:
    start = reading.at
    index = reading.varint(32, "the number of a variant")
    if index >= count:
        raise Complaint(f"{what} has no variant {index}, only {count}", start)
    return index


def _enum(reading: Reading, node: EnumNode) -> object:
    return node.members[_variant(reading, len(node.members), node.cls.__name__)]


def _union(reading: Reading, node: UnionNode) -> object:
    variant = node.variants[_variant(reading, len(node.variants), "the union")]
    return READERS[type(variant)](reading, variant)


def _hook(reading: Reading, node: HookNode) -> object:
    start = reading.at
    wired = reading.value(node.inner)
    return _made(node.hook.from_wire, (wired,), {}, node.label, start)


def _ref(reading: Reading, node: RefNode) -> object:
    if not reading.levels_left:
        raise Complaint("it is nested too deeply", reading.at)
    reading.step(SLOW_STEP)
    reading.levels_left -= 1
    target = reading.schema.definitions[node.name]
    value = READERS[type(target)](reading, target)
    reading.levels_left += 1
    return value


READERS: Final[Mapping[type, Callable[[Reading, Any], Any]]] = {
    IntNode: _int,
    BoolNode: _bool,
    FloatNode: _float,
    CharNode: _char,
    StrNode: _str,
    BytesNode: _bytes,
    ByteArrayNode: _bytes,
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
