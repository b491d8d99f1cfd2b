"""Codecs that are not bincode: views as they are, msgspec's formats, and codecs of the user's."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import NO_BUFFERS, cut_bytes

from trio_bytesbuf import BytesView, DecodeError, EncodeError, MissingExtra
from trio_bytesbuf.wire import Bincode, Codec, JsonCodec, MsgpackCodec, ViewCodec, codec_of, u8

FORMATS = [MsgpackCodec, JsonCodec]


class Order(msgspec.Struct):
    id: int
    tags: list[str] = []
    body: BytesView = BytesView(b"")


@attrs.define
class Item:
    name: str
    amount: int


# Views


@given(cut_bytes())
def test_views_go_through_as_they_are(drawn: tuple[bytes, BytesView]) -> None:
    """Whatever pieces they lie in, the same memory comes out."""
    data, view = drawn
    codec = ViewCodec()
    assert codec.takes_views
    encoded = codec.encode(view)
    assert encoded == data == codec.decode(encoded)
    assert [id(piece.obj) for piece in encoded.pieces] == [id(piece.obj) for piece in view.pieces]


def test_whatever_holds_bytes_can_be_a_message() -> None:
    """A bytearray and a memoryview are shown, not copied; what holds none is an EncodeError."""
    codec = ViewCodec()
    memory = bytearray(b"abc")
    shown = codec.encode(memory)
    memory[0] = 0x78
    assert shown == b"xbc"
    assert codec.decode(memoryview(b"abc")) == b"abc"
    assert repr(codec) == "ViewCodec()"


@pytest.mark.parametrize("data", NO_BUFFERS.values(), ids=NO_BUFFERS.keys())
def test_what_holds_no_bytes_is_no_message(data: Any) -> None:
    """The error says what it was."""
    with pytest.raises(EncodeError, match=type(data).__name__):
        ViewCodec().encode(data)


# msgspec


@pytest.mark.parametrize("make", FORMATS)
def test_values_of_msgspec_come_back(make: Any) -> None:
    """Structs, attrs classes and what is built in; views in them, too."""
    order = Order(5, ["a", "b"], BytesView(b"body"))
    codec = make(Order)
    assert not codec.takes_views
    wire = codec.encode(order)
    assert codec.decode(wire) == order
    assert codec.decode(memoryview(wire)) == order
    assert codec.decode(BytesView(wire[:5]) + BytesView(wire[5:])) == order
    assert make(Item).decode(make(Item).encode(Item("tea", 3))) == Item("tea", 3)
    assert make(dict[str, int]).decode(make(Any).encode({"a": 1})) == {"a": 1}
    assert repr(codec) == f"{make.__name__}(Order)"


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below),
    max_leaves=10,
)


@pytest.mark.parametrize("make", FORMATS)
@given(value=values, data=st.data())
def test_damage_is_a_decode_error_or_a_value(make: Any, value: object, data: st.DataObject) -> None:
    """Whatever the bytes are, nothing else is raised."""
    codec = make(Any)
    wire = codec.encode(value)
    assert codec.decode(wire) == value
    at = data.draw(st.integers(0, len(wire) - 1))
    damaged = wire[:at] + bytes([data.draw(st.integers(0, 255))]) + wire[at + 1 :]
    for payload in (wire[:at], damaged, data.draw(st.binary(max_size=20))):
        with contextlib.suppress(DecodeError):
            codec.encode(codec.decode(payload))


def test_msgspecs_errors_tell_the_place_where_it_tells_it() -> None:
    """The path of the field, or the byte; msgspec's own error is the cause."""
    with pytest.raises(DecodeError, match="Expected `str`, got `int`") as caught:
        JsonCodec(Order).decode(b'{"id": 1, "tags": ["a", 2]}')
    assert (caught.value.path, caught.value.offset) == (".tags[1]", 0)
    assert isinstance(caught.value.__cause__, msgspec.ValidationError)
    with pytest.raises(DecodeError, match=r"trailing characters$") as caught:
        JsonCodec(Order).decode(b'{"id": 1} x')
    assert (caught.value.path, caught.value.offset) == ("", 11)  # it counts the one it has read
    with pytest.raises(DecodeError, match="truncated"):
        MsgpackCodec(Order).decode(b"\x81\xa2id")


@pytest.mark.parametrize("make", FORMATS)
def test_what_msgspec_cannot_write_or_read_is_an_error_of_ours(make: Any) -> None:
    """Cycles, numbers that are too large, surrogates, strange classes; nesting without end."""
    cycle: list[object] = []
    cycle.append(cycle)
    for bad in (
        cycle,
        "\ud800",
        object(),
        {1: {2: object}},
        1 << 65 if make is MsgpackCodec else 1j,
    ):
        with pytest.raises(EncodeError) as refused:
            make(Any).encode(bad)
        assert refused.value.__cause__ is not None
    with pytest.raises(DecodeError, match=r"recursion|Stack overflow"):  # the latter from 3.14
        make(Any).decode((b"[" if make is JsonCodec else b"\x91") * 100_000)


@pytest.mark.parametrize("make", FORMATS)
def test_a_type_that_msgspec_does_not_support_is_a_type_error(make: Any) -> None:
    """At once, and not with the first message."""
    with pytest.raises(TypeError):
        make(list[int] | list[str])


@pytest.mark.parametrize("make", FORMATS)
def test_without_msgspec_the_error_says_what_to_install(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "msgspec", None)
    with pytest.raises(MissingExtra, match=r"trio_bytesbuf\[msgspec\]") as caught:
        make(int)
    assert caught.value.what == make.__name__


# From what is given to a codec


class Upper(Codec[str]):
    def encode(self, value: str) -> bytes:
        return value.upper().encode()

    def decode(self, payload: bytes | memoryview | BytesView) -> str:
        return bytes(payload).decode()


def test_a_codec_is_taken_as_it_is_and_a_type_is_compiled() -> None:
    """One's own codec, too; the limit is that of what is made here."""
    own = Upper()
    assert codec_of(own) is own
    assert not own.takes_views
    compiled = codec_of(list[u8], max_nbytes=5)
    assert isinstance(compiled, Bincode)
    assert compiled.max_nbytes == 5
    assert codec_of(u8 | None).encode(5) == b"\1\5"


def test_what_is_no_type_and_no_codec_is_a_type_error() -> None:
    """A class of codecs is the likeliest mistake."""
    with pytest.raises(TypeError, match="Upper is a class of codecs; make one of it"):
        codec_of(Upper)
    with pytest.raises(TypeError, match="no type of Rust"):
        codec_of(5)
