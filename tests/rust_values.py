"""The types of the vectors in Python, and their values as the vectors write them.

What is made here knows nothing of the codec under test: it turns what JSON says into Python values.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import PurePosixPath
from typing import Annotated, Any, Generic, NamedTuple, NewType, TypeVar

import attrs

from trio_bytesbuf.wire import (
    Array,
    Duration,
    Err,
    Hook,
    Ok,
    SocketAddrV4,
    SocketAddrV6,
    Some,
    SystemTime,
    char,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
)

T = TypeVar("T")


@attrs.frozen
class Unit:
    pass


@attrs.frozen
class Newtype:
    value: u32


@attrs.frozen
class NewtypeStr:
    value: str


class TupleStruct(NamedTuple):
    first: u8
    second: i16
    third: str


@attrs.frozen
class Point:
    x: i32
    y: i32


@attrs.frozen
class Nested:
    id: u64
    p: Point
    tags: list[str]
    opt: Point | None
    inner: Newtype


@attrs.frozen
class Empty:
    pass


@attrs.frozen
class Nothing:
    pass


@attrs.frozen
class Circle:
    radius: f64


@attrs.frozen
class Segment:
    start: Point
    end: Point


@attrs.frozen
class Rect:
    w: u32
    h: u32
    label: str | None


Shape = Nothing | Circle | Segment | Rect


class Discr(enum.Enum):
    A = 10
    B = 300
    C = -5


@attrs.frozen
class Leaf:
    value: i64


@attrs.frozen
class Node:
    left: Tree
    right: Tree


Tree = Leaf | Node


@attrs.frozen
class WithBytes:
    id: u16
    data: bytes


@attrs.frozen
class Skips:
    a: u8
    b: u32 = attrs.field(default=7, init=False)
    c: u8


@attrs.frozen
class Gen(Generic[T]):
    v: T
    n: u8


@attrs.frozen
class Ping:
    pass


@attrs.frozen
class Text:
    text: str


@attrs.frozen
class Pair:
    first: u32
    second: i64


@attrs.frozen
class Blob:
    offset: u64
    data: bytes


DemoKind = Ping | Text | Pair | Blob


@attrs.frozen
class Demo:
    id: u64
    name: str
    score: f64
    delta: i32
    flag: bool
    tag: char | None
    kind: DemoKind
    tags: list[str]
    counts: dict[str, u32]
    pos: tuple[i16, u16]
    raw: Annotated[bytes, Array(4)]


@attrs.frozen
class BenchMsg:
    id: u64
    name: str
    payload: bytes


def variant_of_big(index: int) -> type:
    fields = {251: {"value": u8}, 252: {"a": u16, "b": str}, 299: {"a": u32, "b": bool}}
    made = {name: attrs.field(type=tp) for name, tp in fields.get(index, {}).items()}
    return attrs.make_class(f"V{index}", made, frozen=True)


BIG = [variant_of_big(index) for index in range(300)]
Big: Any = BIG[0]
for _variant in BIG[1:]:
    Big |= _variant


@attrs.frozen
class Range:
    start: u32
    end: u32


def _nonzero(number: int) -> int:
    if not number:
        raise ValueError("0 is no nonzero number")
    return number


NonZero = NewType("NonZero", int)
HOOKS = {NonZero: Hook(u32, to_wire=int, from_wire=_nonzero)}

Bytes4 = Annotated[bytes, Array(4)]

TYPES: Mapping[str, Any] = {
    "u8": u8, "u16": u16, "u32": u32, "u64": u64, "u128": u128, "usize": usize,
    "i8": i8, "i16": i16, "i32": i32, "i64": i64, "i128": i128, "isize": isize,
    "bool": bool, "f32": f32, "f64": f64, "char": char, "String": str, "&str": str,
    "Box<str>": str, "Cow<'static, str>": str, "()": None, "Unit": Unit, "Empty": Empty,
    "serde_bytes::ByteBuf": bytes, "Vec<u8>": bytes, "VecDeque<u8>": bytes,
    "[u8; 0]": Annotated[bytes, Array(0)], "[u8; 4]": Bytes4,
    "[u8; 32]": Annotated[bytes, Array(32)], "[u16; 3]": Annotated[list[u16], Array(3)],
    "[i64; 2]": Annotated[list[i64], Array(2)], "[String; 2]": Annotated[list[str], Array(2)],
    "[[u16; 2]; 2]": Annotated[list[Annotated[list[u16], Array(2)]], Array(2)],
    "Option<u8>": u8 | None, "Option<u32>": u32 | None, "Option<String>": str | None,
    "Option<()>": Some[None] | None, "Option<Option<u8>>": Some[u8 | None] | None,
    "Option<Vec<u16>>": list[u16] | None, "Newtype": Newtype, "NewtypeStr": NewtypeStr,
    "(u8,)": tuple[u8], "(u8, u16, u32)": tuple[u8, u16, u32],
    "(i8, i16, i32, i64, i128)": tuple[i8, i16, i32, i64, i128],
    "(String, bool, Option<char>)": tuple[str, bool, char | None],
    "((), ((), u8))": tuple[None, tuple[None, u8]], "TupleStruct": TupleStruct, "Point": Point,
    "Nested": Nested, "Skips": Skips, "Generic<u16>": Gen[u16], "Box<u32>": u32, "Shape": Shape,
    "Discr": Discr, "Tree": Tree, "Big": Big, "Result<u16, String>": Ok[u16] | Err[str],
    "Result<(), ()>": Ok[None] | Err[None], "Result<u8, u8>": Ok[u8] | Err[u8],
    "Vec<u16>": list[u16], "Vec<i32>": list[i32], "Vec<bool>": list[bool], "Vec<String>": list[str],
    "Vec<Vec<u8>>": list[bytes], "Vec<Vec<Vec<u32>>>": list[list[list[u32]]],
    "Vec<()>": list[None], "Vec<Option<u8>>": list[u8 | None], "Vec<Point>": list[Point],
    "Vec<f32>": list[f32], "Vec<char>": list[char], "Vec<u32>": list[u32],
    "BTreeMap<String, u32>": dict[str, u32], "BTreeMap<i32, Vec<u8>>": dict[i32, bytes],
    "BTreeMap<u8, BTreeMap<String, bool>>": dict[u8, dict[str, bool]],
    "BTreeMap<u16, ()>": dict[u16, None], "BTreeMap<u8, u8>": dict[u8, u8],
    "HashMap<String, u32>": dict[str, u32], "BTreeSet<u16>": set[u16],
    "BTreeSet<String>": set[str], "BTreeSet<u8>": set[u8], "HashSet<i64>": set[i64],
    "std::time::Duration": Duration, "std::time::SystemTime": SystemTime,
    "std::net::Ipv4Addr": IPv4Address, "std::net::Ipv6Addr": IPv6Address,
    "std::net::IpAddr": IPv4Address | IPv6Address,
    "std::net::SocketAddr": SocketAddrV4 | SocketAddrV6,
    "std::ops::Range<u32>": Range, "std::num::NonZeroU32": NonZero,
    "std::num::Wrapping<u16>": u16, "std::path::PathBuf": PurePosixPath, "Demo": Demo,
    "WithBytes": WithBytes, "BenchMsg": BenchMsg,
}  # fmt: skip
"""What the vectors call each type, and what it is in Python."""

VARIANTS: Mapping[str, tuple[type, ...]] = {
    "Shape": (Nothing, Circle, Segment, Rect),
    "Tree": (Leaf, Node),
    "Big": tuple(BIG),
    "DemoKind": (Ping, Text, Pair, Blob),
    "Result<u16, String>": (Ok, Err),
    "Result<(), ()>": (Ok, Err),
}


def float_of(bits: str) -> float:
    """Return the float of these bits; of a NaN of 32 bits, the one that has them in front."""
    number = int(bits, 16)
    if len(bits) == 18:
        return struct.unpack("<d", number.to_bytes(8, "little"))[0]
    if number & 0x7F800000 == 0x7F800000 and number & 0x7FFFFF:
        wide = (number >> 31 << 63) | 0x7FF << 52 | (number & 0x7FFFFF) << 29
        return struct.unpack("<d", wide.to_bytes(8, "little"))[0]
    return struct.unpack("<f", number.to_bytes(4, "little"))[0]


def bytes_of(said: dict[str, Any]) -> bytes:
    if "bytes_hex" in said:
        return bytes.fromhex(said["bytes_hex"])
    pattern = said["pattern"]
    return bytes(i * pattern["mul"] + pattern["add"] & 255 for i in range(pattern["len"]))


def plain(said: Any) -> Any:
    """Return what needs no knowledge of the type."""
    match said:
        case {"float_bits": bits}:
            return float_of(bits)
        case {"repeat": text, "count": count}:
            return text * count
        case {"bytes_hex": _} | {"pattern": _}:
            return bytes_of(said)
        case {"None": None}:
            return None
        case {"Some": inner}:
            return plain(inner)
        case {"map": pairs}:
            return {plain(key): plain(value) for key, value in pairs}
        case {"set": items}:
            return set(map(plain, items))
        case list():
            return list(map(plain, said))
        case _:
            return said


def value_of(rust_type: str, said: Any) -> Any:
    """Return the Python value that a vector describes."""
    match rust_type:
        case "Unit" | "Empty":
            return {"Unit": Unit, "Empty": Empty}[rust_type]()
        case "Option<()>":
            return None if "None" in said else Some(None)
        case "Option<Option<u8>>":
            return None if "None" in said else Some(plain(said["Some"]))
        case "Newtype" | "NewtypeStr":
            return {"Newtype": Newtype, "NewtypeStr": NewtypeStr}[rust_type](said)
        case "Point":
            return Point(**said)
        case "Range" | "std::ops::Range<u32>":
            return Range(**said)
        case "Vec<Point>":
            return [Point(**point) for point in said]
        case "TupleStruct":
            return TupleStruct(*said)
        case "Generic<u16>":
            return Gen(**said)
        case "Skips":
            return Skips(**said)
        case "Nested":
            point = said["opt"].get("Some")
            return Nested(
                said["id"], Point(**said["p"]), said["tags"], point and Point(**point),
                Newtype(said["inner"]),
            )  # fmt: skip
        case "WithBytes" | "BenchMsg":
            cls = {"WithBytes": WithBytes, "BenchMsg": BenchMsg}[rust_type]
            return cls(**{name: plain(part) for name, part in said.items()})
        case "Discr":
            return Discr[said["variant"]]
        case "std::time::Duration":
            return Duration(*said.values()) if isinstance(said, dict) else Duration(*said)
        case "std::time::SystemTime":
            return SystemTime(*said.values())
        case "std::net::Ipv4Addr":
            return IPv4Address(bytes_of(said))
        case "std::net::Ipv6Addr":
            return IPv6Address(bytes_of(said))
        case "std::net::IpAddr":
            return (IPv4Address, IPv6Address)[said["index"]](bytes_of(said["payload"]))
        case "std::net::SocketAddr":
            ip, port = said["payload"]
            return SocketAddrV4(IPv4Address(bytes_of(ip)), port)
        case "std::path::PathBuf":
            return PurePosixPath(said)
        case "Demo":
            parts = {name: plain(part) for name, part in said.items()}
            parts["kind"] = value_of("DemoKind", said["kind"])
            return Demo(**{**parts, "pos": tuple(parts["pos"])})
        case _ if rust_type in VARIANTS:
            return variant_of(rust_type, said)
        case _ if rust_type.startswith("("):
            return tuples_in(plain(said))
        case _:
            return plain(said)


def variant_of(rust_type: str, said: dict[str, Any] | str) -> Any:
    variants = VARIANTS[rust_type]
    if isinstance(said, str):  # the plain form of serde_json
        return next(cls for cls in variants if cls.__name__ == said)()
    cls, payload = variants[said["index"]], said["payload"]
    if rust_type == "Tree" and said["index"]:
        return cls(*(value_of("Tree", part) for part in payload))
    if cls is Segment:
        return cls(*(Point(**part) for part in payload))
    names = [field.name for field in attrs.fields(cls)]
    if not names:
        return cls()
    if isinstance(payload, dict) and set(payload) == set(names):
        return cls(**{name: plain(part) for name, part in payload.items()})
    if isinstance(payload, list):
        return cls(*map(plain, payload))
    return cls(plain(payload))


def tuples_in(value: Any) -> Any:
    return tuple(map(tuples_in, value)) if isinstance(value, list) else value
