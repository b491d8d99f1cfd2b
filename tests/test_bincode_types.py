"""What each Python type is on the wire, which are refused, and what is said of wrong values."""

from __future__ import annotations

import dataclasses
import enum
import gc
import ipaddress
import itertools
import linecache
import pathlib
import sys
import threading
import traceback
import tracemalloc
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import (
    Annotated,
    Any,
    ClassVar,
    Dict,
    Final,
    ForwardRef,
    Generic,
    List,
    Literal,
    NamedTuple,
    Never,
    NewType,
    Optional,
    TypeVar,
    Union,
)

import attrs
import pytest

from trio_bytesbuf import BytesView, DecodeError, EncodeError, MessageTooLarge
from trio_bytesbuf.wire import (
    Array,
    Bincode,
    ChronoDateTime,
    ChronoNaiveDate,
    ChronoNaiveDateTime,
    ChronoNaiveTime,
    Duration,
    Err,
    Hook,
    Ok,
    Some,
    SystemDateTime,
    SystemTime,
    char,
    f32,
    i8,
    i64,
    u8,
    u16,
    u32,
    u64,
    u128,
)
from trio_bytesbuf.wire.bincode._explain_decode import explain_decode
from trio_bytesbuf.wire.bincode._explain_encode import explain_encode
from trio_bytesbuf.wire.bincode._write_decoder import compile_reader

T = TypeVar("T")


@attrs.define
class Point:
    x: u8
    y: u8


@attrs.define
class Point3(Point):
    z: u8 = 0


@attrs.define
class Nil:
    pass


@attrs.define
class Hollow:
    a: Nil = attrs.field(factory=Nil)
    b: tuple[None] = (None,)


@dataclasses.dataclass
class Data:
    a: u8
    b: str = dataclasses.field(default="", kw_only=True)
    c: int = dataclasses.field(default=7, init=False)
    shared: ClassVar[int] = 5


class Named(NamedTuple):
    a: u8
    b: str


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"
    ALSO_RED = "r"


class Paint(enum.Enum):
    RED = "r"


class Weekday(enum.IntEnum):
    MONDAY = 1
    TUESDAY = 2


@attrs.define
class Pair(Generic[T]):
    first: T
    second: list[T]


S = TypeVar("S")


@attrs.define
class Swapped(Pair[S], Generic[S, T]):
    third: T


@attrs.define
class Fixed(Swapped[u8, str]):
    pass


@attrs.define
class Private:
    _secret: u8
    later: u8 = attrs.field(kw_only=True)
    cached: u8 = attrs.field(init=False, default=9)
    shouted: str = attrs.field(converter=str.upper)


@attrs.define
class Link:
    value: u8
    next: Link | None = None


@attrs.define
class Tree:
    children: list[Tree] = attrs.field(factory=list)


@attrs.define
class Even:
    number: u8 = attrs.field()

    @number.validator
    def _check(self, _: object, value: int) -> None:
        if value % 2:
            raise ValueError(f"{value} is odd")


@attrs.define
class Box:
    a: u8
    corner: Point
    flags: tuple[u8, bool]
    sides: Annotated[tuple[f32, ...], Array(2)]
    colour: Colour


@attrs.define
class Umlaut:
    größe: u8
    ﬁx: u8 = attrs.field(kw_only=True)  # the compiler makes "fi" of it


Strange: Any = attrs.make_class(
    "Strange",
    {"größe": attrs.field(type=u8), "weiß": attrs.field(type=u8, kw_only=True)},
)


Json = Union[None, bool, int, str, list["Json"], dict[str, "Json"]]
UserId = NewType("UserId", u32)
Inner = NewType("Inner", str)

WRITTEN: list[tuple[Any, Any, str]] = [
    (int, -1, "01"),
    (float, 1, "000000000000f03f"),
    (i8, -1, "ff"),
    (Point, Point(1, 2), "0102"),
    (Nil, Nil(), ""),
    (Data, Data(1, b="x"), "010178"),
    (Named, Named(1, "x"), "010178"),
    (Colour, Colour.GREEN, "01"),
    (Colour, Colour.ALSO_RED, "00"),
    (Weekday, Weekday.TUESDAY, "01"),
    (Private, Private(1, "a", later=2), "01020141"),
    (Pair[u8], Pair(1, [2, 3]), "01020203"),
    (Pair[Pair[str]], Pair(Pair("a", []), []), "01610000"),
    (Swapped[u8, str], Swapped(1, [2], "x"), "0101020178"),
    (Fixed, Fixed(1, [2], "x"), "0101020178"),
    (Link, Link(1, Link(2)), "01010200"),
    (Tree, Tree([Tree(), Tree([Tree()])]), "02000100"),
    (tuple[()], (), ""),
    (tuple[u8, ...], (1, 2), "020102"),
    (Annotated[tuple[u8, ...], Array(2)], (1, 2), "0102"),
    (Annotated[tuple[str, ...], Array(2)], ("a", ""), "016100"),
    (Annotated[BytesView, Array(2)], BytesView(b"ab"), "6162"),
    (frozenset[u8], frozenset({5}), "0105"),
    (dict[str, u8], {"b": 1, "a": 2}, "02016201016102"),
    (UserId, UserId(300), "fb2c01"),
    (Optional[UserId], None, "00"),
    (u8 | str, 5, "0005"),
    (str | u8, 5, "0105"),
    (bool | u8, True, "0001"),
    (bool | u8, 1, "0101"),
    (u8 | bool, True, "0101"),
    (Point | Nil, Nil(), "01"),
    (Point | Nil, Point(1, 2), "000102"),
    (Point | Nil | None, Nil(), "0101"),
    (Point | Nil | None, None, "00"),
    (Point | Point3, Point3(1, 2, 3), "01010203"),
    (bytes | list[u8], [1], "010101"),
    (Colour | Weekday, Weekday.MONDAY, "0100"),
    (Inner | Never, "a", "000161"),
    (Ok[u8] | Err[str], Err("x"), "010178"),
    (Ok[None] | Err[None], Ok(None), "00"),
    (Some[Some[u8 | None] | None], Some(Some(None)), "0100"),
    (Final[u8], 1, "01"),
    (Annotated[u8, "a remark"], 1, "01"),
    (Annotated[str, "a remark"], "x", "0178"),
    (Dict[str, List[u8]], {"a": [1]}, "0101610101"),
    (
        Box,
        Box(1, Point(2, 3), (4, True), (1.0, 2.0), Colour.GREEN),
        "01020304010000803f0000004001",
    ),
    (Umlaut, Umlaut(1, ﬁx=2), "0102"),
    (Strange, Strange(1, weiß=2), "0102"),
    (list[ForwardRef("Path", module="pathlib")], [pathlib.Path("a")], "010161"),
    (uuid.UUID, uuid.UUID(int=1), "10" + "00" * 15 + "01"),
    (pathlib.PurePosixPath, pathlib.PurePosixPath("/a"), "022f61"),
    (timedelta, timedelta(seconds=1, microseconds=1), "01fbe803"),
    (SystemDateTime, datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC), "0500"),
    (ChronoNaiveDate, date(5, 1, 2), b"\n0005-01-02".hex()),
]


def name_of(row: object) -> str:
    return str(row)[:60]


@pytest.mark.parametrize(("tp", "value", "wire"), WRITTEN, ids=name_of)
def test_a_value_of_this_type_is_these_bytes(tp: Any, value: Any, wire: str) -> None:
    """Written by hand from the definition of bincode; and they come back as an equal value."""
    codec = Bincode(tp)
    assert codec.encode(value).hex() == wire
    back = codec.decode(bytes.fromhex(wire))
    assert back == value
    assert type(back) is (float if tp is float else type(value))


def test_names_in_strings_are_those_that_were_given() -> None:
    """A union that contains itself by its name is written, once it is said what that means."""
    codec = Bincode(Json, names=globals())
    value = {"a": [1, None, True, "x", {"b": []}], "c": None}
    assert codec.decode(codec.encode(value)) == value
    with pytest.raises(TypeError, match="name 'Json' is not defined"):
        Bincode(Json)


def test_classes_of_a_function_know_their_own_name() -> None:
    """A class that only a function knows can contain itself; a neighbour there has to be named."""

    @attrs.define
    class Tree:
        value: u8
        left: Tree | None = None
        right: Tree | None = None

    codec = Bincode(Tree)
    tree = Tree(1, Tree(2), Tree(3, Tree(4)))
    assert codec.decode(codec.encode(tree)) == tree

    @attrs.define
    class Forest:
        trees: list[Local]

    with pytest.raises(TypeError, match=r"Forest\.trees.*'Local' is not defined"):
        Bincode(Forest)
    assert Bincode(Forest, names={"Local": Tree}).encode(Forest([Tree(1)])).hex() == "01010000"


def test_names_mean_what_they_mean_where_they_were_written() -> None:
    """A field of an inherited class is looked up in that class's module, not in the heir's."""
    module = type(sys)("elsewhere")
    sys.modules["elsewhere"] = module
    try:
        exec(
            "from __future__ import annotations\nimport attrs\nText = bytes\n"
            "@attrs.define\nclass Base:\n    text: Text\n",
            module.__dict__,
        )

        @attrs.define
        class Heir(module.Base):
            more: Text

        assert Bincode(Heir).encode(Heir(b"\xff", "y")).hex() == "01ff0179"
    finally:
        del sys.modules["elsewhere"]


Text = str


GENERIC = """
@attrs.define
class Page[T]:
    items: list[T]
    next: "Page[T] | None" = None
"""


def test_type_statements_name_types() -> None:
    """An alias with a name can contain itself, and is a variant of its own in a union."""
    text = """
type Plain = u8 | str
type Nested = u8 | list[Nested]
type Both[T] = tuple[T, list[T]]
type Option = u8 | None
"""
    if sys.version_info >= (3, 12):
        exec(text, globals())
        exec(GENERIC, globals())
        page = globals()["Page"]
        value = page([1], page([2]))
        assert Bincode(page[u8]).encode(value).hex() == "010101010200"
        assert Bincode(page[u8]).decode(bytes.fromhex("010101010200")) == value
    else:
        from typing_extensions import TypeAliasType

        globals()["Plain"] = TypeAliasType("Plain", u8 | str)
        globals()["Nested"] = TypeAliasType("Nested", Union[u8, list["Nested"]])
        globals()["Both"] = TypeAliasType("Both", tuple[T, list[T]], type_params=(T,))
        globals()["Option"] = TypeAliasType("Option", Optional[u8])
    names = globals()
    assert Bincode(names["Plain"]).encode("x").hex() == "010178"
    assert Bincode(Union[names["Plain"], bytes]).encode("x").hex() == "00010178"
    assert Bincode(names["Nested"]).encode([1, [2], []]).hex() == "01030001010100020100"
    assert Bincode(names["Nested"]).decode(bytes.fromhex("01030001010100020100")) == [1, [2], []]
    assert Bincode(names["Both"][str]).encode(("a", [])).hex() == "016100"
    assert Bincode(Union[names["Option"], bytes]).encode(None).hex() == "0000"
    with pytest.raises(TypeError, match="None would mean two things"):
        Bincode(Optional[names["Option"]])


def test_the_order_of_a_union_counts_though_python_says_it_does_not() -> None:
    """`A | B` and `B | A` are equal and have one hash; codecs do not take one for the other."""
    assert (u8 | str) == (str | u8)
    assert [Bincode(tp).encode(1).hex() for tp in (u8 | str, str | u8, u8 | str)] == [
        "0001", "0101", "0001",
    ]  # fmt: skip
    assert [Bincode(list[tp]).encode([1]).hex() for tp in (u8 | str, str | u8)] == [
        "010001", "010101",
    ]  # fmt: skip


def test_the_most_specific_variant_is_written() -> None:
    """By class first, then by the nearest class above it."""

    class Nearer(Point3):
        pass

    assert Bincode(Point | Point3).encode(Nearer(1, 2, 3)).hex() == "01010203"
    assert Bincode(Point3 | Point).encode(Nearer(1, 2, 3)).hex() == "00010203"
    assert Bincode(Point | Nil).encode(Nearer(1, 2, 3)).hex() == "000102"


@pytest.mark.parametrize("count", [2, 8, 9, 40, 300])
def test_unions_may_have_any_number_of_variants(count: int) -> None:
    """Few are told apart in place, more by a table, those above 250 have a longer number."""
    made = [attrs.make_class(f"V{i}", {"v": attrs.field(type=u8)}) for i in range(count)]
    tp: Any = made[0]
    for cls in made[1:]:
        tp |= cls
    codec = Bincode(tp)
    for index, cls in enumerate(made):
        wire = Bincode(tuple[u32, u8]).encode((index, index % 200))
        assert codec.encode(cls(index % 200)) == wire
        assert codec.decode(wire) == cls(index % 200)
    with pytest.raises(DecodeError, match=f"no variant {count}, only {count}"):
        codec.decode(Bincode(tuple[u32, u8]).encode((count, 0)))


def test_large_and_deep_types_are_compiled() -> None:
    """What is too large for one function becomes several; loops may be nested at will."""
    tp: Any = u8
    value: Any = 5
    for _ in range(60):
        tp, value = list[tp], [value]
    codec = Bincode(tp)
    assert codec.encode(value) == b"\1" * 60 + b"\5"
    assert codec.decode(b"\1" * 60 + b"\5") == value

    for kind, wrap, wire in (
        (lambda tp: tuple[u8, tp], lambda value: (1, value), b"\1"),
        (lambda tp: tuple[str, tp], lambda value: ("", value), b"\0"),
        (lambda tp: tuple[u8, Annotated[list[tp], Array(1)]], lambda value: (1, [value]), b"\1"),
    ):
        tp, value = u8, 5
        for _ in range(60):
            tp, value = kind(tp), wrap(value)
        codec = Bincode(tp)
        assert codec.encode(value) == wire * 60 + b"\5"
        assert codec.decode(wire * 60 + b"\5") == value

    leaf: Any = attrs.make_class("Leaf", {f"f{i}": attrs.field(type=str) for i in range(10)})
    wide: Any = leaf
    made: Any = leaf(*"abcdefghij")
    for depth in range(12):  # 4 ** 12 leaves, if all of them were written in place
        wide = attrs.make_class(
            f"Wide{depth}", {f"f{i}": attrs.field(type=list[wide]) for i in range(4)}
        )
        made = wide([made], [], [], [])
    codec = Bincode(wide)
    assert codec.decode(codec.encode(made)) == made


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Keep the callbacks of collections, in whatever thread, from the end of the stack."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.counts_garbage
@pytest.mark.usefixtures("no_collection")
def test_a_type_that_is_nested_too_deeply_is_refused() -> None:
    """However deep, whoever finds it out: hashing, reading, naming or compiling it."""
    for kind in (lambda tp: list[tp], lambda tp: tuple[u8, tp], lambda tp: dict[u8, tp | None]):
        for depth in (140, 400, 1_100, 3_300):
            tp: Any = u8
            for _ in range(depth):
                tp = kind(tp)
            with pytest.raises(TypeError, match="nested too deeply"):
                Bincode(tp)
            with pytest.raises(TypeError, match="nested too deeply"):
                Bincode(tp, names=globals())


# What is refused


class Flags(enum.Flag):
    A = 1


class Plain:
    a: int


class Typed(dict):
    pass


@attrs.define
class Untyped:
    a = attrs.field()


@attrs.define(init=False)
class OwnInit:
    a: u8
    b: u8

    def __init__(self, b: int, a: int) -> None:
        self.__attrs_init__(a, b)


@dataclasses.dataclass
class WithInitVar:
    a: u8
    b: dataclasses.InitVar[int]


@dataclasses.dataclass
class Price:
    cents: u32
    factor: dataclasses.InitVar[int] = 100
    currency: ClassVar[str] = "EUR"

    def __post_init__(self, factor: int) -> None:
        self.cents *= factor


@dataclasses.dataclass
class Discounted(Price):
    less: u32 = 0


@attrs.define
class Endless:
    more: Endless


@attrs.define
class Growing(Generic[T]):
    more: Growing[list[T]] | None


@attrs.define
class Holder:
    items: list[dict[str, complex]]


REFUSED: list[tuple[Any, str]] = [
    (Holder, r"Holder\.items\[\]\[\]: complex cannot be written: no type of Rust"),
    (Plain, "Plain cannot be written: no type of Rust is known for it; a hook"),
    (Typed, "Typed cannot be written"),
    (object, "it could be anything"),
    (Any, "it could be anything"),
    (list, r"say of what: list\[int\]"),
    (tuple, "say of what"),
    (dict, "say of what"),
    (List, "say of what"),
    (bytearray, "take bytes or BytesView"),
    (datetime, "say which: SystemDateTime, ChronoDateTime or ChronoNaiveDateTime"),
    (date, "take ChronoNaiveDate"),
    (time, "take ChronoNaiveTime"),
    (Literal[1], "no type of Rust"),
    (Flags, "flags are combined"),
    (dict[int], "say of what"),
    (Optional[list["Missing"]], "name 'Missing' is not defined"),
    (Annotated[list[u8], Array(2), Array(3)], "two things at once"),
    (Untyped, r"Untyped\.a: .*its field a has no type"),
    (OwnInit, "another order"),
    (WithInitVar, "its constructor takes b, an InitVar, and no instance has that"),
    (list[Price], r"\[\]: Price cannot be written: its constructor takes factor, an InitVar"),
    (Discounted, "its constructor takes factor, an InitVar"),
    (Pair, r"Pair\.first: ~T cannot be written: the type variable stands for no type here"),
    (Growing[u8], "nested too deeply"),
    (Endless, "it contains itself without end"),
    (Never, "has no values"),
    (list["Missing"], "is not defined; if it is defined inside a function, give it by names="),
    (list["1 +"], "SyntaxError"),
    (u8 | int, "u8 and int cannot be told apart, both are of class int"),
    (str | char, "cannot be told apart"),
    (bytes | BytesView, "cannot be told apart"),
    (list[u8] | list[str], "cannot be told apart"),
    (Ok[u8] | Ok[str], "cannot be told apart"),
    (Inner | str, "cannot be told apart"),
    (set[list[u8]], "not every list has a hash"),
    (dict[Point, u8], r"\(keys\): Point cannot be written: not every Point has a hash"),
    (dict[tuple[u8, dict[u8, u8]], u8], "not every dict has a hash"),
    (set[BytesView], "not every BytesView has a hash"),
    (Annotated[str, Array(3)], r"an array is a list\[X\]"),
    (Annotated[tuple[u8, str], Array(2)], r"an array is a list\[X\]"),
    (Annotated[u8, Array(2)], "two things at once"),
    (Annotated[str, u8.__metadata__[0]], "says nothing of a str"),
]


@pytest.mark.parametrize(("tp", "message"), REFUSED, ids=name_of)
def test_a_type_that_cannot_be_written_is_refused_when_the_codec_is_made(
    tp: Any, message: str
) -> None:
    """The TypeError says where and why."""
    with pytest.raises(TypeError, match=message):
        Bincode(tp)


def test_limits_that_make_no_sense_are_refused() -> None:
    """Zero bytes or levels are ValueErrors, what is no number TypeErrors."""
    for bad in ({"max_nbytes": 0}, {"max_depth": 0}, {"max_depth": -1}):
        with pytest.raises(ValueError, match="at least 1"):
            Bincode(u8, **bad)
    with pytest.raises(ValueError, match="max_empties"):
        Bincode(u8, max_empties=-1)
    with pytest.raises(TypeError):
        Bincode(u8, max_nbytes=1.5)
    with pytest.raises(ValueError, match="at least 0, not -1"):
        Array(-1)
    with pytest.raises(TypeError):
        Array("4")


# What is said of wrong values


class Sly(str):
    def encode(self, *_: object) -> bytes:
        return b"sly"

    def __len__(self) -> int:
        return 99


class SlyList(list):
    def __len__(self) -> int:
        return 99


class SlyInt(int):
    def __index__(self) -> int:
        return 99


Pretender = type("int", (), {"__repr__": lambda _: 1 // 0})
"""A class that is called int, and cannot be shown."""


WRONG: list[tuple[Any, Any, str]] = [
    (u8, 256, "the value: 256 does not fit u8: 0 to 255"),
    (u8, -1, "-1 does not fit u8"),
    (i8, 128, "128 does not fit i8: -128 to 127"),
    (u16, 65536, "does not fit u16"),
    (u32, 1 << 32, "does not fit u32"),
    (u64, 1 << 64, "does not fit u64"),
    (u128, 1 << 128, "does not fit u128"),
    (i64, 1 << 63, "does not fit i64"),
    (i64, -(1 << 63) - 1, "does not fit i64"),
    (u8, True, "an int is expected, not bool True"),
    (u8, 1.0, "an int is expected, not float 1.0"),
    (u8, None, "an int is expected, not NoneType None"),
    (bool, 1, "a bool is expected, not int 1"),
    (float, True, "a float is expected, not bool"),
    (float, "1", "a float is expected, not str"),
    (float, (1 << 53) + 1, "a float would lose digits of 9007199254740993"),
    (float, 10**400, "is too large for a float"),
    (f32, 1e300, "1e[+]300 does not fit f32"),
    (f32, (1 << 24) + 1, "an f32 would lose digits of 16777217"),
    (f32, 1 << 130, "13[0-9.]+ does not fit f32"),
    (list[f32], [0.1, (1 << 24) + 1], r"\[1\]: an f32 would lose digits of 16777217"),
    (tuple[f32, f32, f32], (0.1, 1, -(1 << 24) - 1), r"\[2\]: an f32 would lose digits"),
    (str, b"x", "a str is expected, not bytes b'x'"),
    (str, "a\ud800", "no UTF-8 can be made of it: surrogates not allowed at 1"),
    (char, "", "one character is expected, not 0"),
    (char, "ab", "one character is expected, not 2"),
    (char, "\udc00", "no UTF-8"),
    (bytes, "x", "bytes is expected, not str"),
    (bytes, memoryview(b"abcd").cast("I"), "items of 4 bytes"),
    (bytes, memoryview(bytes(4))[::2], "and this has gaps; take another slice, or copy it by"),
    (bytes, memoryview(bytes(4)).cast("B", (2, 2)), "items of 1 bytes in 2 dimensions; cast it"),
    (Annotated[bytes, Array(4)], b"abc", "4 bytes are expected, not 3"),
    (None, 0, "None is expected, not int 0"),
    (list[u8], (1,), "a list is expected, not tuple"),
    (list[u8], [1, 256], r"\[1\]: 256 does not fit u8"),
    (list[u64], [1, -1], r"\[1\]: -1 does not fit u64"),
    (list[int], [1, True], r"\[1\]: an int is expected, not bool"),
    (list[bool], [True, 1], r"\[1\]: a bool is expected"),
    (list[float], [0.5, "x"], r"\[1\]: a float is expected"),
    (tuple[u8, u8], (1,), "2 items are expected, not 1"),
    (tuple[u8, u8], [1, 2], "a tuple is expected, not list"),
    (tuple[()], (1,), "0 items are expected"),
    (Annotated[list[u8], Array(2)], [1, 2, 3], "2 items are expected, not 3"),
    (set[u8], frozenset(), "a set is expected"),
    (dict[str, u8], {"a": 1, 2: 3}, r"\(key 1\): a str is expected"),
    (dict[str, u8], {"a": 256}, r"\['a'\]: 256 does not fit"),
    (Point, Nil(), r"Point is expected, not Nil"),
    (Point, (1, 2), "Point is expected, not tuple"),
    (Point, Point(1, 256), r"\.y: 256 does not fit u8"),
    (list[Point], [Point(0, 0), Point(None, 0)], r"\[1\]\.x: an int is expected"),
    (Colour, "r", "a member of Colour is expected, not str"),
    (Weekday, 1, "a member of Weekday is expected, not int"),
    (Colour, Paint.RED, "a member of Colour is expected, not Paint"),
    (u8 | str, 1.5, "int or str is expected, not float"),
    (u8 | str, True, "int or str is expected, not bool True"),
    (int | float, True, "int or float is expected, not bool True"),
    (list[int | float | None], [True], "int or float is expected, not bool True"),
    (Inner | Never, 5, "str is expected, not int"),
    (Union[None, Never], 5, "nothing at all is expected, not int"),
    (timedelta, timedelta(-1), "a Duration cannot be negative"),
    (SystemDateTime, datetime(1969, 1, 1, tzinfo=UTC), "before 1970"),
    (SystemDateTime, datetime(2000, 1, 1), "needs a time zone"),
    (ChronoDateTime, datetime(2000, 1, 1), "needs a time zone"),
    (ChronoDateTime, datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "OverflowError"),
    (ChronoNaiveDateTime, datetime(2000, 1, 1, tzinfo=UTC), "no time zone"),
    (ChronoNaiveDate, datetime(2000, 1, 1), "a date has no time"),
    (ChronoNaiveTime, time(1, tzinfo=UTC), "no time zone"),
    (ipaddress.IPv6Address, ipaddress.IPv6Address("fe80::1%eth0"), "scope"),
    (ipaddress.IPv6Address, ipaddress.IPv4Address("1.2.3.4"), "IPv6Address is expected"),
    (pathlib.PurePosixPath, pathlib.PurePosixPath("\udcff"), "no UTF-8"),
    (uuid.UUID, "00000000-0000-0000-0000-000000000000", "UUID is expected, not str"),
]  # fmt: skip


@pytest.mark.parametrize(("tp", "value", "message"), WRONG, ids=name_of)
def test_a_value_that_is_none_of_the_type_is_not_written(tp: Any, value: Any, message: str) -> None:
    """The EncodeError says where and what; so does asking for the size."""
    codec = Bincode(tp)
    with pytest.raises(EncodeError, match=message):
        codec.encode(value)
    with pytest.raises(EncodeError, match=message):
        codec.encoded_size(value)


UNSHOWABLE: list[tuple[Any, Any, str]] = [
    (int, 10**5_000, "<an int of 16610 bits> does not fit i64"),
    (list[u64], [1, -(10**5_000)], r"\[1\]: <an int of 16610 bits> does not fit u64"),
    (u128, SlyInt(10**5_000), "<an int of 16610 bits> does not fit u128"),
    (float, 10**5_000, "<an int of 16610 bits> is too large for a float"),
    (f32, 10**5_000, "<an int of 16610 bits> is too large for a float"),
    (str, 10**5_000, "a str is expected, not int <an int of 16610 bits>"),
    (str, [[10**5_000]], r"a str is expected, not list \[\[<an int of 16610 bits>\]\]"),
    (str, Fraction(10**5_000), "a str is expected, not Fraction <"),
    (str, SlyInt(10**5_000), "a str is expected, not SlyInt <"),
    (Point, Point(10**5_000, 1), r"\.x: <an int of 16610 bits> does not fit u8"),
    # From 3.14 on `reprlib` sees that its class is not the real one, and says the other.
    (u8, Pretender(), "an int is expected, not int <(an instance of int>|int instance at )"),
]  # fmt: skip


def test_what_python_does_not_print_is_shown_otherwise() -> None:
    """Numbers of more digits than it likes by their size; what cannot be shown, by its class."""
    for tp, value, message in UNSHOWABLE:
        with pytest.raises(EncodeError, match=message):
            Bincode(tp).encode(value)


def test_an_int_is_taken_for_an_f32_if_no_digit_is_lost() -> None:
    """Those of up to 24 bits, and others with zeros behind; a float is rounded to the nearest."""
    for number in (0, 5, -(1 << 24), (1 << 24) + 2, 1 << 127):
        assert Bincode(f32).encode(number) == Bincode(f32).encode(float(number))
        assert Bincode(list[f32]).decode(Bincode(list[f32]).encode([number, 0.5]))[0] == number
    assert Bincode(f32).decode(Bincode(f32).encode(16777217.0)) == 16777216.0


def test_subclasses_are_written_as_what_they_are_and_not_as_they_say() -> None:
    """Methods that a subclass overrides are not believed: lengths are those of what is written."""
    assert Bincode(str).encode(Sly("abc")) == b"\3abc"
    assert Bincode(char).encode(Sly("a")) == b"a"
    assert Bincode(list[u8]).encode(SlyList([1, 2])) == b"\2\1\2"
    assert Bincode(list[str]).encode(SlyList(["a"])) == b"\1\1a"
    assert Bincode(u8).encode(SlyInt(5)) == b"\5"
    assert Bincode(list[u64]).encode([SlyInt(5)]) == b"\1\5"
    assert Bincode(u8).encode(Weekday.TUESDAY) == b"\2"
    assert Bincode(dict[str, u8]).encode(OrderedDict(a=1)) == b"\1\1a\1"
    assert Bincode(Point).encode(Point3(1, 2, 3)) == b"\1\2"
    assert Bincode(tuple[u8, str]).encode(Named(1, "")) == b"\1\0"


def test_bytes_are_written_of_whatever_holds_bytes() -> None:
    """A view in pieces, too; released, it is an error."""
    view = BytesView(b"ab") + BytesView(b"cd")
    for tp in (bytes, BytesView):
        for value in (b"abcd", bytearray(b"abcd"), memoryview(b"abcd"), view):
            assert Bincode(tp).encode(value) == b"\4abcd"
            assert Bincode(tp).encoded_size(value) == 5
    view.release()
    for tp in (bytes, BytesView):
        with pytest.raises(EncodeError, match="released"):
            Bincode(tp).encode(view)


def test_what_a_value_raises_is_the_cause() -> None:
    """A property, or a class that pretends to be another, ends in an EncodeError."""

    class Sneaky(Point):
        def __init__(self) -> None:
            pass

        @property
        def x(self) -> int:
            raise OSError("no x today")

    with pytest.raises(EncodeError, match=r"\.x: OSError: no x today") as caught:
        Bincode(Point).encode(Sneaky())
    assert isinstance(caught.value.__cause__, OSError)

    class Pretender:
        __class__ = int

    with pytest.raises(EncodeError):
        Bincode(u8).encode(Pretender())


# What is said of wrong bytes

DAMAGED: list[tuple[Any, str, str, int, str]] = [
    (Point, "01", ".y", 1, "has 1 bytes, 0 are left"),
    (Point, "010203", "", 2, "1 bytes are left over"),
    (list[Point], "020102ff", "", 0, "2 items are announced, 3 bytes are left"),
    (list[str], "0201610561", "[1]", 3, "it has 5 bytes, 1 are left"),
    (dict[str, bool], "01016102", "['a']", 3, "a bool is 0 or 1, not 2"),
    (dict[bool, u8], "010200", " (key 0)", 1, "a bool is 0 or 1, not 2"),
    (tuple[u8, bool, f32], "010200000000", "[1]", 1, "a bool is 0 or 1, not 2"),
    (tuple[u8, Annotated[list[bool], Array(2)]], "010103", "[1][1]", 2, "a bool is 0 or 1, not 3"),
    (list[bool], "03010002", "[2]", 3, "a bool is 0 or 1, not 2"),
    (tuple[u8, u16], "01ff", "[1]", 1, "cannot begin with byte 255"),
    (Link, "010102", ".next.next", 3, "has 1 bytes"),
    (Link, "01010202", ".next.next", 3, "an Option begins with 0 or 1, not 2"),
    (str, "02c328", "", 1, "no UTF-8: invalid continuation byte"),
    (char, "c3", "", 0, "the message ends in it"),
    (char, "ff", "", 0, "no character begins with byte 255"),
    (Colour, "02", "", 0, "Colour has no variant 2, only 2"),
    (Point | Nil, "05", "", 0, "no variant 5, only 2"),
    (Inner | Never, "01", "", 1, "no value of this variant"),
    (u16, "fc00000100", "", 0, "65536 is too large for a u16"),
    (list[Even], "020203", "[1]", 2, "Even cannot be made of this: ValueError: 3 is odd"),
    (timedelta, "0001", "", 0, "lose nanoseconds of Duration"),
    (timedelta, "fdffffffffffffffff00", "", 0, "take a Duration"),
    (SystemDateTime, "0001", "", 0, "take a SystemTime"),
    (SystemDateTime, "fdffffffffffffff7f00", "", 0, "take a SystemTime"),
    (uuid.UUID, "0100", "", 0, "UUID cannot be made of this"),
]


@pytest.mark.parametrize(("tp", "wire", "path", "offset", "complaint"), DAMAGED, ids=name_of)
def test_wrong_bytes_are_told_by_place(
    tp: Any, wire: str, path: str, offset: int, complaint: str
) -> None:
    """The DecodeError has the path in the value and the byte in the message."""
    with pytest.raises(DecodeError) as caught:
        Bincode(tp).decode(bytes.fromhex(wire))
    assert (caught.value.path, caught.value.offset) == (path, offset)
    assert complaint in caught.value.complaint


def test_a_payload_that_is_no_buffer_is_a_type_error() -> None:
    """That is a mistake of the caller, not of the peer."""
    for tp in (u8, BytesView, Tree):
        with pytest.raises(TypeError):
            Bincode(tp).decode("text")
        with pytest.raises(TypeError):
            Bincode(tp).decode(None)


def test_what_a_class_raises_is_the_cause() -> None:
    """A validator's own error stays at hand, and the error of decoding has no other context."""
    with pytest.raises(DecodeError) as caught:
        Bincode(Even).decode(b"\3")
    assert isinstance(caught.value.__cause__, ValueError)
    assert "is odd" in "".join(traceback.format_exception(caught.value))
    with pytest.raises(DecodeError) as caught:
        Bincode(u8).decode(b"")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_classes_are_never_given_what_the_end_of_the_message_cut_short() -> None:
    """Of a truncated message nothing half is shown to a validator, on neither path."""
    seen: list[str] = []

    @attrs.define
    class Witness:
        text: str = attrs.field(validator=lambda _self, _field, value: seen.append(value))
        data: Annotated[bytes, Array(3)] = attrs.field(
            validator=lambda _self, _field, value: seen.append(value)
        )

    codec = Bincode(list[Witness])
    wire = codec.encode([Witness("text", b"abc"), Witness("more", b"def")])
    seen.clear()
    for nbytes in range(len(wire)):
        with pytest.raises(DecodeError):
            codec.decode(wire[:nbytes])
        with pytest.raises(DecodeError):
            codec.decode(memoryview(wire)[:nbytes])
    assert set(seen) <= {"text", b"abc", "more", b"def"}
    assert "text" in seen


# Limits


def test_a_message_that_is_too_large_is_not_written_and_not_read() -> None:
    """Up to the limit it is; the errors have both numbers."""
    codec = Bincode(bytes, max_nbytes=100)
    assert codec.decode(codec.encode(bytes(99))) == bytes(99)
    with pytest.raises(MessageTooLarge) as caught:
        codec.encode(bytes(100))
    assert attrs.asdict(caught.value) == {
        "limit": 100, "arrived": 0, "nbytes": 101, "direction": "sent",
    }  # fmt: skip
    assert codec.encoded_size(bytes(100)) == 101
    with pytest.raises(DecodeError, match="has 101 bytes, 100 are allowed") as refused:
        codec.decode(b"\x64" + bytes(100))
    assert refused.value.offset == 100
    for tp in (BytesView, list[None], Tree):
        with pytest.raises(DecodeError, match="has 101 bytes, 100 are allowed"):
            Bincode(tp, max_nbytes=100).decode(bytes(101))


CLAIMS = [
    list[u8], list[u64], list[bool], list[str], list[float], list[f32], list[i8], list[Point],
    list[list[u8]], set[u16], frozenset[str], dict[u8, u8], dict[str, list[u8]], tuple[u8, ...],
    bytes, str, BytesView, list[Annotated[bytes, Array(4)]], list[Tree], Tree, list[Nil | Point],
    list[u8 | None], list[None], list[Nil], list[tuple[()]], dict[None, None], set[None],
    list[Annotated[list[u8], Array(0)]], list[Annotated[list[None], Array(9)]],
]  # fmt: skip


@pytest.mark.parametrize("tp", CLAIMS, ids=str)
@pytest.mark.parametrize("count", ["fdffffffffffffffff", "fdffffffffffffff7f", "fcffffffff"])
def test_a_claimed_count_costs_nothing(tp: Any, count: str) -> None:
    """However many items are announced, memory follows the bytes that are there."""
    codec = Bincode(tp)
    payload = bytes.fromhex(count) + bytes(50)
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            codec.decode(payload)
        with pytest.raises(DecodeError):
            codec.decode(memoryview(payload))
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


EMPTIES: list[tuple[Any, Any, int]] = [
    (list[None], lambda count: [None] * count, 1),
    (list[Nil], lambda count: [Nil()] * count, 1),
    (dict[u16, list[tuple[()]]], lambda count: dict.fromkeys(range(count), [()]), 1),
    (list[list[None]], lambda count: [[None]] * count, 1),
    (list[tuple[None, ...]], lambda count: [(None, None)] * count, 2),
    (list[tuple[None, Nil]], lambda count: [(None, Nil())] * count, 3),
    (list[Hollow], lambda count: [Hollow()] * count, 4),
    (list[Annotated[list[None], Array(9)]], lambda count: [[None] * 9] * count, 10),
    (list[Annotated[list[Hollow], Array(2)]], lambda count: [[Hollow()] * 2] * count, 9),
    (list[Annotated[list[Nil], Array(1)] | u8], lambda count: [[Nil()]] * count, 1),
    (tuple[list[None], list[None]], lambda count: ([None] * count,) * 2, 2),
    (tuple[dict[None, Nil], list[dict[None, Nil]]],
     lambda count: ({None: Nil()}, [{None: Nil()}] * (count - 1)), 2),
]  # fmt: skip


@pytest.mark.parametrize(("tp", "value_of", "empties"), EMPTIES, ids=name_of)
def test_items_without_bytes_have_a_limit(tp: Any, value_of: Any, empties: int) -> None:
    """Over the whole message, nested ones and those of arrays included, in both directions."""
    codec = Bincode(tp, max_empties=500)
    schema = codec._schema
    for count in {1, 30, 499 // empties, 500 // empties, 500 // empties + 1, 700}:
        value = value_of(count)
        wire = Bincode(tp, max_empties=1 << 20).encode(value)
        left = explain_encode(schema, value, max_empties=500, max_depth=1)[1]
        assert left == 500 - count * empties
        if count * empties <= 500:
            assert codec.encode(value) == wire
            assert codec.decode(wire) == value
        else:
            with pytest.raises(EncodeError, match=r"take no byte, max_empties=500 are allowed"):
                codec.encode(value)
            with pytest.raises(DecodeError, match=r"are too many: max_empties=500 are allowed"):
                codec.decode(wire)
        assert codec.encoded_size(value) == len(wire)


def test_few_bytes_make_few_items() -> None:
    """Unless more are asked for, a thousand; with none allowed, what has bytes goes both ways."""
    claim = b"\xfc" + (1_000_000).to_bytes(4, "little")
    for tp in (list[None], list[Nil], tuple[Hollow, ...], list[Annotated[list[None], Array(1)]]):
        with pytest.raises(DecodeError, match="max_empties=1024 are allowed"):
            Bincode(tp).decode(claim)
    assert Bincode(list[None]).decode(Bincode(u64).encode(1_024)) == [None] * 1_024
    assert len(Bincode(list[None], max_empties=1_000_000).decode(claim)) == 1_000_000
    nothing = Bincode(tuple[list[None], list[str]], max_empties=0)
    assert nothing.decode(nothing.encode(([], ["a"]))) == ([], ["a"])
    with pytest.raises(EncodeError, match="has 1 items that take no byte, max_empties=0 are"):
        nothing.encode(([None], []))


@pytest.mark.parametrize("count", [10, 63, 64, 5_000])
def test_what_is_wrong_in_a_long_list_is_found_by_its_place(count: int) -> None:
    """However many items are right, the one that is not is told; views and counts are still so."""
    wire = Bincode(list[tuple[u8, str, bool]]).encode([(1, "x", True)] * count)
    with pytest.raises(DecodeError) as caught:
        Bincode(list[tuple[u8, str, bool]]).decode(wire[:-1] + b"\2")
    assert caught.value.path == f"[{count - 1}][2]"
    assert caught.value.offset == len(wire) - 1
    pairs = Bincode(dict[u16, tuple[BytesView, list[None]]], max_empties=count)
    wire = pairs.encode({number: (BytesView(b"ab"), [None]) for number in range(count)})
    with pytest.raises(DecodeError) as caught:
        pairs.decode(wire[:-1] + b"\xff")
    assert caught.value.path == f"[{count - 1}][1]"
    wire = Bincode(list[Link]).encode([linked(3)] * count)
    with pytest.raises(DecodeError) as caught:
        Bincode(list[Link]).decode(wire[:-1] + b"\7")
    assert caught.value.path == f"[{count - 1}].next.next.next"


def test_explanations_end_when_they_take_long() -> None:
    """What is wrong behind a hundred thousand branches is an error that says how far it got."""
    tree = Tree()
    for _ in range(10):
        tree = Tree([tree] * 3)
    codec = Bincode(Tree)
    wire = codec.encode(tree)
    assert len(wire) > 80_000
    with pytest.raises(DecodeError, match="from here on something is wrong") as caught:
        codec.decode(wire[:-1] + b"\5")
    assert 40_000 < caught.value.offset < len(wire) - 1
    assert caught.value.path.startswith(".children[")


def test_an_explanation_compiles_a_node_once() -> None:
    """Not for each list of such items: a quarter of a MiB of lists took a second to be refused."""
    codec = Bincode(list[list[list[int]]])
    wire = codec.encode([[[1] * 64] * 63] * 63)
    nodes: list[object] = []

    def quick(node):
        nodes.append(node)
        return compile_reader(codec._schema, node)

    with pytest.raises(DecodeError) as caught:
        explain_decode(
            codec._schema,
            BytesView(wire[:-1] + b"\xff"),
            max_nbytes=1 << 20,
            max_depth=1,
            max_empties=1,
            quick=quick,
        )
    assert caught.value.path == "[62][62][63]"
    assert len(nodes) == 1


COLLIDING = [
    (set[u128], lambda number: number * ((1 << 61) - 1)),
    (frozenset[u128 | str], lambda number: number * ((1 << 61) - 1)),
    (dict[u128, u8], lambda number: number * ((1 << 61) - 1)),
    (dict[uuid.UUID, u8], lambda number: uuid.UUID(int=number * ((1 << 61) - 1))),
    (set[tuple[u128, u8]], lambda number: (number * ((1 << 61) - 1), 0)),
]


@pytest.mark.parametrize(("tp", "key_of"), COLLIDING, ids=name_of)
def test_keys_with_the_same_hash_are_refused_when_they_are_many(tp: Any, key_of: Any) -> None:
    """Each would be compared with each; as many that differ are welcome, and some that do not."""
    key = tp.__args__[0]

    def wire(keys: list[object]) -> bytes:
        return Bincode(list[tuple[key, u8]] if tp.__origin__ is dict else list[key]).encode(
            [(one, 1) for one in keys] if tp.__origin__ is dict else keys
        )

    assert len({hash(key_of(number)) for number in range(1, 20_000)}) == 1
    codec = Bincode(tp)
    with pytest.raises(DecodeError, match="more than 512 items have the same hash"):
        codec.decode(wire([key_of(number) for number in range(1, 20_000)]))
    most = 512
    assert len(codec.decode(wire([key_of(number) for number in range(1, most + 1)]))) == most
    with pytest.raises(DecodeError, match="more than 512 items have the same hash"):
        codec.decode(wire([key_of(number) for number in range(1, most + 2)]))
    spread = [number if key is not uuid.UUID else uuid.UUID(int=number) for number in range(5_000)]
    if "tuple" in str(key):
        spread = [(number, 0) for number in spread]
    assert len(codec.decode(wire(spread))) == 5_000


@attrs.frozen
class Cell:
    x: int
    y: int


ORDINARY: list[tuple[Any, Any]] = [
    (set[tuple[int, int]], {(x, y) for x in (-1, -2) for y in range(101)}),
    (set[tuple[int, int, int, int]], set(itertools.product((-2, -1, 0, 1), repeat=4))),
    (set[tuple[int, ...]], set(itertools.product((-2, -1, 0, 1), repeat=6))),
    (dict[Cell, u8], {Cell(x, y): 1 for x in range(-40, 41) for y in range(-40, 41)}),
    (
        dict[tuple[float, float], int],
        {(float(x), float(y)): x * y for x in range(-30, 31) for y in range(-30, 31)},
    ),
    (
        set[frozenset[int]],
        {
            frozenset(some)
            for size in range(5)
            for some in itertools.combinations(range(-8, 8), size)
        },
    ),
    (set[frozenset[tuple[int, int]]], {frozenset([(x, -1), (x, -2)]) for x in range(-60, 60)}),
    (frozenset[tuple[int, ...]], frozenset(itertools.product((-2, -1), repeat=5))),
    *(
        (set[tuple[int, ...]], set(itertools.product((-2, -1), repeat=length)))
        for length in (7, 8, 9)
    ),
]


@pytest.mark.parametrize(("tp", "value"), ORDINARY, ids=lambda one: str(one)[:40])
def test_ordinary_keys_collide_and_come_back(tp: Any, value: Any) -> None:
    """In CPython -1 and -2 have the same hash, and so has all that differs only by them."""
    codec = Bincode(tp)
    wire = codec.encode(value)
    assert codec.decode(wire) == value
    limits = {"max_nbytes": codec.max_nbytes, "max_depth": 100, "max_empties": 0}
    assert explain_decode(codec._schema, BytesView(wire), **limits) == value


def test_what_collides_in_frozensets_multiplies_what_collides_around_them() -> None:
    """So fewer may: 16 in those that are in keys, and 128 of those keys."""
    codec = Bincode(set[frozenset[u128]])
    wires = Bincode(list[list[u128]])
    number = (1 << 61) - 1
    for inner, outer, message in (
        (16, 1, ""),
        (17, 1, "than 16 "),
        (2, 128, ""),
        (2, 129, "than 128 "),
    ):
        keys = [[one * number + add for one in range(1, inner + 1)] for add in range(outer)]
        wire = wires.encode(keys)
        if message:
            with pytest.raises(DecodeError, match=message):
                codec.decode(wire)
        else:
            assert codec.decode(wire) == set(map(frozenset, keys))
    wide: Any = frozenset[u128]
    for depth in range(30):  # what is met again is not looked into again
        name = f"Wide{depth}"
        wide = attrs.make_class(name, dict.fromkeys("ab", attrs.field(type=wide)), frozen=True)
    schema = Bincode(set[wide])._schema
    assert schema.most_collisions(schema.root) == 128
    free = Bincode(frozenset[u128])  # is in no key
    assert len(free.decode(free.encode(frozenset(one * number for one in range(1, 513))))) == 512


@pytest.mark.parametrize("kind", [set, frozenset, dict])
def test_keys_that_collide_are_compared_a_bounded_number_of_times(kind: type) -> None:
    """Not at all if they are too many; else each with each, which is half their limit for each."""
    compared = 0

    @attrs.frozen(eq=False)
    class Key:
        number: u32

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return isinstance(other, Key) and self.number == other.number

        def __hash__(self) -> int:
            return 7

    codec: Any = Bincode(dict[Key, u8] if kind is dict else kind[Key])
    wires = Bincode(dict[u32, u8] if kind is dict else list[u32])

    def wire(count: int) -> bytes:
        return wires.encode(dict.fromkeys(range(count), 1) if kind is dict else [*range(count)])

    with pytest.raises(DecodeError, match="have the same hash"):
        codec.decode(wire(50_000))
    assert compared == 0
    most = 512
    assert len(codec.decode(wire(most))) == most
    assert 0 < compared <= 2 * most * most  # a table that grows compares no key again


def linked(length: int) -> Link:
    link = Link(0)
    for _ in range(length - 1):
        link = Link(1, link)
    return link


def test_nesting_has_a_limit_of_its_own() -> None:
    """As deep as is allowed goes both ways; one more is an error with a word for it."""
    codec = Bincode(Link, max_depth=20)
    wire = codec.encode(linked(20))
    assert codec.decode(wire) == linked(20)
    deeper = Bincode(Link).encode(linked(21))
    with pytest.raises(DecodeError, match="nested too deeply") as caught:
        codec.decode(deeper)
    assert caught.value.path == ".next" * 20
    with pytest.raises(EncodeError, match="nested too deeply"):
        codec.encode(linked(21))
    with pytest.raises(DecodeError, match="nested too deeply"):
        Bincode(Tree).decode(b"\1" * 1_000_000)


def test_what_contains_itself_cannot_be_written() -> None:
    """A cycle is nested too deeply, and no RecursionError."""
    link = Link(1)
    link.next = link
    with pytest.raises(EncodeError, match="nested too deeply, or contains itself"):
        Bincode(Link).encode(link)
    tree = Tree()
    tree.children.append(tree)
    with pytest.raises(EncodeError, match="nested too deeply"):
        Bincode(Tree).encode(tree)


def test_the_end_of_pythons_stack_is_an_error_of_the_same_kind() -> None:
    """A limit beyond Python's, or a stack that is nearly used up, is no RecursionError."""
    deep = Bincode(Link, max_depth=100_000)
    with pytest.raises(DecodeError, match="nested too deeply"):
        deep.decode(b"\1\1" * 50_000 + b"\1\0")
    with pytest.raises(EncodeError, match="nested too deeply"):
        deep.encode(linked(50_000))
    wire = Bincode(Link).encode(linked(50))

    def far_down(frames: int) -> object:
        return far_down(frames - 1) if frames else Bincode(Link).decode(wire[:-1])

    depth = sys.getrecursionlimit() - len(traceback.extract_stack()) - 60
    with pytest.raises(DecodeError, match="nested too deeply"):
        far_down(depth)


# Hooks

MONEY = Hook(str, to_wire=str, from_wire=Decimal)


def test_a_hook_says_what_is_written_of_a_class() -> None:
    """By its class in `hooks`, or in place; in unions and containers, too."""
    codec = Bincode(dict[str, list[Decimal | u8]], hooks={Decimal: MONEY})
    value = {"a": [Decimal("1.50"), 7]}
    assert codec.encode(value).hex() == "010161020004312e35300107"
    assert codec.decode(codec.encode(value)) == value
    assert Bincode(Annotated[Decimal, MONEY]).encode(Decimal(1)) == b"\x011"


def test_a_hook_goes_before_what_is_known() -> None:
    """A class with fields, and one of the standard library, can be written otherwise."""
    point = Hook(u8, to_wire=lambda p: p.x, from_wire=lambda x: Point(x, 0))
    assert Bincode(Point, hooks={Point: point}).encode(Point(5, 0)) == b"\5"
    number = Hook(u128, to_wire=lambda u: u.int, from_wire=lambda n: uuid.UUID(int=n))
    assert Bincode(uuid.UUID, hooks={uuid.UUID: number}).encode(uuid.UUID(int=5)) == b"\5"


def test_values_of_a_hook_without_a_class_are_no_variants() -> None:
    """A NewType is no class at run time, and what its hook makes of it is not known."""
    hooks = {UserId: Hook(u32, to_wire=int, from_wire=UserId)}
    assert Bincode(list[UserId], hooks=hooks).encode([UserId(5)]) == b"\1\5"
    with pytest.raises(TypeError, match="UserId is no class that values could be told by"):
        Bincode(Union[UserId, str], hooks=hooks)


def test_a_hook_is_asked_about_values_of_its_class_only() -> None:
    """`str` would make text of anything."""
    with pytest.raises(EncodeError, match="Decimal is expected, not int 5"):
        Bincode(Decimal, hooks={Decimal: MONEY}).encode(5)


def test_what_a_hook_raises_is_the_cause() -> None:
    """The path is there; an error of another codec, inside a hook, is no exception to that."""
    inner = Bincode(u8)
    boxed = Hook(bytes, to_wire=inner.encode, from_wire=inner.decode)
    codec = Bincode(list[Decimal], hooks={Decimal: attrs.evolve(MONEY, to_wire=_broken)})
    with pytest.raises(EncodeError, match=r"\[0\]: ZeroDivisionError") as refused:
        codec.encode([Decimal(1)])
    assert isinstance(refused.value.__cause__, ZeroDivisionError)
    with pytest.raises(DecodeError, match=r"\[1\], at byte 3: Decimal cannot be made"):
        codec.decode(bytes.fromhex("0201310178"))
    with pytest.raises(DecodeError) as caught:
        Bincode(list[Annotated[int, boxed]]).decode(bytes.fromhex("01020102"))
    assert (caught.value.path, caught.value.offset) == ("[0]", 1)
    assert isinstance(caught.value.__cause__, DecodeError)


def _broken(_: object) -> str:
    raise ZeroDivisionError


def test_a_hook_that_does_not_always_answer_the_same_is_found_out() -> None:
    """It is refused once, and accepted when it is asked why: that is said, not hidden."""
    answers = iter([ValueError("not now"), Decimal(1)])

    def fickle(_: object) -> Decimal:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    hook = attrs.evolve(MONEY, from_wire=fickle)
    with pytest.raises(AssertionError, match="does not always answer the same"):
        Bincode(Decimal, hooks={Decimal: hook}).decode(b"\x011")


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_what_is_nobodys_fault_passes(error: type[BaseException]) -> None:
    """These are no errors of decoding or encoding."""

    def raising(_: object) -> Any:
        raise error

    hook = Hook(str, to_wire=raising, from_wire=raising)
    codec = Bincode(list[Decimal], hooks={Decimal: hook})
    with pytest.raises(error):
        codec.decode(b"\1\0")
    with pytest.raises(error):
        codec.encode([Decimal(1)])
    with pytest.raises(error):
        codec.encoded_size([Decimal(1)])


# Views


@attrs.define
class Packet:
    id: u64
    body: BytesView
    tail: u8 = 0


def test_views_show_the_memory_of_the_message() -> None:
    """From bytes, a memoryview or a view, nothing is copied; so a view keeps the message."""
    codec = Bincode(Packet)
    assert codec.takes_views
    assert not Bincode(Point).takes_views
    body = bytes(range(256)) * 10
    wire = codec.encode(Packet(300, BytesView(body), 7))
    for payload in (wire, memoryview(wire), BytesView(wire)):
        packet = codec.decode(payload)
        assert packet == Packet(300, BytesView(body), 7)
        assert packet.body.pieces[0].obj is wire
    empty = codec.decode(codec.encode(Packet(0, BytesView(b""))))
    assert empty.body.pieces == ()


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 100, 2_500, 2_565])
def test_views_of_a_message_in_pieces_are_in_pieces(cut: int) -> None:
    """What is not in a view may lie beyond the first piece; the view shows the pieces still."""
    codec = Bincode(Packet)
    wire = codec.encode(Packet(300, BytesView(bytes(range(256)) * 10), 7))
    parts = [wire[:cut], wire[cut:]]
    packet = codec.decode(BytesView(parts[0]) + BytesView(parts[1]))
    assert packet == codec.decode(wire)
    assert {id(piece.obj) for piece in packet.body.pieces} <= {id(part) for part in parts}


def test_views_of_memory_that_may_change_say_so() -> None:
    """A bytearray is shared, not copied; a type without views copies it."""
    memory = bytearray(Bincode(Packet).encode(Packet(1, BytesView(b"abc"))))
    packet = Bincode(Packet).decode(memory)
    memory[2:5] = b"xyz"
    assert packet.body == b"xyz"
    with pytest.raises(TypeError, match="unhashable"):
        hash(packet.body)


def test_a_released_payload_is_an_error_of_the_caller() -> None:
    """What was released has no bytes."""
    from trio_bytesbuf import Released

    view = BytesView(b"\0\0")
    view.release()
    with pytest.raises(Released):
        Bincode(Packet).decode(view)


# Times and other values


def test_durations_and_moments_are_exact() -> None:
    """What Python cannot have is not made; what Rust cannot have is not, either."""
    assert Duration.from_timedelta(timedelta(days=1, microseconds=1)) == Duration(86_400, 1_000)
    assert SystemTime.from_datetime(datetime(2000, 1, 1, tzinfo=UTC)).to_datetime().year == 2000
    assert Duration(1, 5) < Duration(1, 6) < Duration(2)
    for bad in ((-1, 0), (1 << 64, 0), (0, 10**9), (0, -1)):
        with pytest.raises(ValueError, match="must be from 0 to"):
            Duration(*bad)
    for wrong in ((1.0, 0), (1, True), ("1", 0)):
        with pytest.raises(TypeError, match="must be an int"):
            SystemTime(*wrong)
    with pytest.raises(ValueError, match="must be from 0 to"):
        SystemTime(1 << 63)
    with pytest.raises(ValueError, match="take a Duration"):
        Duration(0, 1).to_timedelta()
    with pytest.raises(ValueError, match="take a SystemTime"):
        SystemTime(1 << 60).to_datetime()
    assert Bincode(Duration).decode(bytes.fromhex("01fc00ca9a3b")) == Duration(2)


# The codec itself


def test_the_text_that_was_compiled_can_be_read_in_a_traceback() -> None:
    """Whoever debugs a class sees the line that called it."""

    @attrs.define
    class Stopping:
        a: u8

        def __attrs_post_init__(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        Bincode(Stopping).decode(b"\1")
    linecache.clearcache()
    text = "".join(traceback.format_exception(caught.value))
    assert "in decode" in text
    assert "CLASS_" in text


def test_a_type_is_compiled_once() -> None:
    """Codecs share what was compiled, if type and hooks are the same; limits are their own."""
    assert Bincode(Point)._decode is Bincode(Point, max_nbytes=5)._decode
    assert Bincode(list[u8 | str])._decode is Bincode(list[u8 | str])._decode
    hooks = {Decimal: MONEY}
    assert Bincode(Decimal, hooks=hooks)._encode is Bincode(Decimal, hooks=dict(hooks))._encode
    other = {Decimal: Hook(str, to_wire=str, from_wire=Decimal)}
    assert Bincode(Decimal, hooks=hooks)._encode is not Bincode(Decimal, hooks=other)._encode


def test_a_codec_says_what_it_is_of() -> None:
    """Its repr has the type, and limits that are not the usual ones."""
    assert repr(Bincode(dict[str, list[u16 | None]])) == "Bincode(dict[str, list[u16 | None]])"
    assert repr(Bincode(Pair[u8], max_nbytes=5, max_depth=7)) == (
        "Bincode(Pair[u8], max_nbytes=5, max_depth=7)"
    )
    assert repr(Bincode(None, max_empties=0)) == "Bincode(None, max_empties=0)"
    assert repr(Bincode(Annotated[bytes, Array(4)])) == "Bincode(Annotated[bytes, Array(4)])"


def test_codecs_are_made_and_used_in_threads() -> None:
    """There is nothing that two threads could spoil for each other."""
    results: list[object] = []

    def work() -> None:
        made = attrs.make_class("Made", {"a": attrs.field(type=list[u64])})
        for number in range(200):
            codec = Bincode(made | Nil)
            assert codec.decode(codec.encode(made([number]))) == made([number])
            assert Bincode(Link).decode(b"\1\1\2\0") == Link(1, Link(2))
        results.append(made)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
