"""What a message costs to encode and to decode: our bincode against what else writes values.

    python bench/codec_alone.py [--quick] [--json FILE]

How to read it: nanoseconds for each message, and ours divided by each rival's. The rivals:

    msgspec     MessagePack, from a Struct and into one, in C. It checks types when it reads only.
    pickle      protocol 5, of the same attrs class: in C, and nothing for messages of strangers.
    construct   declared formats, in Python as well, compiled where construct can.
    borsh       borsh-construct: another format of Rust's, declared with construct.

"view" is the message with a `BytesView` for its payload. An "order" has a bit of everything, as
messages of programs do. "numbers" are a list of a thousand, most of them of three bytes. A rival
without such a thing leaves its cells empty.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import attrs
import borsh_construct as borsh
import construct
import msgspec
from _measure import Contest, Options, Report, nanoseconds

from trio_bytesbuf import BytesView
from trio_bytesbuf.wire import Bincode, f64, u8, u32, u64

PAYLOAD = bytes(range(100))
NUMBERS = [number * 2 for number in range(1000)]


@attrs.define
class Message:
    """What the benchmark of the channels sends, too."""

    id: u64
    name: str
    payload: bytes


@attrs.define
class WithView:
    """The same, and its payload is not copied."""

    id: u64
    name: str
    payload: BytesView


@attrs.define
class Place:
    """A part of an order."""

    x: f64
    y: f64
    level: u8


@attrs.define
class Paid:
    """A variant."""

    cents: u64


@attrs.define
class Open:
    """Another."""

    reason: str


@attrs.define
class Order:
    """A record with a bit of everything."""

    id: u64
    place: Place
    tags: list[str]
    counts: dict[str, u32]
    state: Paid | Open
    note: str | None
    is_urgent: bool


class MessageStruct(msgspec.Struct):
    """The message for msgspec."""

    id: int
    name: str
    payload: bytes


class PlaceStruct(msgspec.Struct, array_like=True):
    """A part of an order, without names on the wire, as bincode has none."""

    x: float
    y: float
    level: int


class PaidStruct(msgspec.Struct, tag=0, array_like=True):
    """A variant."""

    cents: int


class OpenStruct(msgspec.Struct, tag=1, array_like=True):
    """Another."""

    reason: str


class OrderStruct(msgspec.Struct, array_like=True):
    """The order for msgspec."""

    id: int
    place: PlaceStruct
    tags: list[str]
    counts: dict[str, int]
    state: PaidStruct | OpenStruct
    note: str | None
    is_urgent: bool


DECLARED = construct.Struct(
    "id" / construct.Int64ul,
    "name" / construct.PascalString(construct.VarInt, "utf8"),
    "payload" / construct.Prefixed(construct.VarInt, construct.GreedyBytes),
).compile()

BORSH = borsh.CStruct("id" / borsh.U64, "name" / borsh.String, "payload" / borsh.Bytes)

FIELDS: dict[str, Any] = {"id": 300, "name": "message-300", "payload": PAYLOAD}
ORDER = Order(
    70_000, Place(1.5, -2.5, 3), ["a", "bb", "ccc"], {"x": 1, "yy": 300}, Open("late"), None, True
)
ORDER_STRUCT = OrderStruct(
    70_000, PlaceStruct(1.5, -2.5, 3), ["a", "bb", "ccc"], {"x": 1, "yy": 300},
    OpenStruct("late"), None, is_urgent=True,
)  # fmt: skip


@attrs.frozen
class Way:
    """How one rival writes and reads one kind of message."""

    encode: Any
    decode: Any
    value: Any
    wire: Any


def ours(tp: type, value: object) -> Way:
    """Return the way of our codec."""
    codec: Bincode[Any] = Bincode(tp)
    return Way(codec.encode, codec.decode, value, codec.encode(value))


def msgpack(tp: Any, value: object) -> Way:
    """Return msgspec's."""
    encode = msgspec.msgpack.Encoder().encode
    return Way(encode, msgspec.msgpack.Decoder(tp).decode, value, encode(value))


def pickled(value: object) -> Way:
    """Return pickle's."""
    return Way(lambda v: pickle.dumps(v, 5), pickle.loads, value, pickle.dumps(value, 5))


def declared(form: Any, value: object) -> Way:
    """Return construct's, and borsh's."""
    return Way(form.build, form.parse, value, form.build(value))


WORK: Mapping[str, Mapping[str, Way]] = {
    "message": {
        "ours": ours(Message, Message(**FIELDS)),
        "msgspec": msgpack(MessageStruct, MessageStruct(**FIELDS)),
        "pickle": pickled(Message(**FIELDS)),
        "construct": declared(DECLARED, FIELDS),
        "borsh": declared(BORSH, FIELDS),
    },
    "view": {
        "ours": ours(WithView, WithView(300, "message-300", BytesView(PAYLOAD))),
        "msgspec": msgpack(MessageStruct, MessageStruct(**FIELDS)),
    },
    "order": {
        "ours": ours(Order, ORDER),
        "msgspec": msgpack(OrderStruct, ORDER_STRUCT),
        "pickle": pickled(ORDER),
    },
    "numbers": {
        "ours": ours(list[u64], NUMBERS),
        "msgspec": msgpack(list[int], NUMBERS),
        "pickle": pickled(NUMBERS),
        "construct": declared(construct.PrefixedArray(construct.VarInt, construct.VarInt), NUMBERS),
        "borsh": declared(borsh.Vec(borsh.U64), NUMBERS),
    },
}

PROMISED_MICROSECONDS = 1.0
"""For a message, either way."""


def contest(work: str, statement: str, ways: Mapping[str, Way], options: Options) -> Contest:
    """Let our codec and the rivals do the work."""
    seconds, turns = (0.002, 3) if options.quick else (0.02, 51)
    rivals = {
        name: nanoseconds(statement, attrs.asdict(way, recurse=False), seconds=seconds)
        for name, way in ways.items()
    }
    return Contest.of(work, "ns", rivals, turns)


def main() -> None:
    """Measure and print."""
    options = Options.parse(__doc__)
    report = Report()
    for title, statement in (("Encoding", "encode(value)"), ("Decoding", "decode(wire)")):
        contests = [contest(work, statement, ways, options) for work, ways in WORK.items()]
        report.compare(title, contests)
        message = contests[0]
        for each in contests:
            scenario = f"{title.lower()}, bincode: {each.work}"
            report.headline(scenario, each, "ours")
        report.promised(
            f"{title} a message, in µs", PROMISED_MICROSECONDS, message.median("ours") / 1000
        )
    sizes = {name: len(way.wire) for name, way in WORK["order"].items()}
    report.remark(f"bytes of an order: {', '.join(f'{who} {n}' for who, n in sizes.items())}")
    options.finish(report)


if __name__ == "__main__":
    main()
