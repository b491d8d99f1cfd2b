"""`MessageEncoder`: what it says, once and in order, and what is refused without a trace."""

from __future__ import annotations

import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_codecs import Raw, Text
from strategies import cut_at, words

from trio_bytesbuf import BytesView
from trio_bytesbuf._errors import EncodeError, MessageTooLarge
from trio_bytesbuf.testing import check_laws
from trio_bytesbuf.wire import (
    Codec,
    MessageDecoder,
    MessageEncoder,
    MessageEvent,
    ProtocolVersion,
    ViewCodec,
)
from trio_bytesbuf.wire._checksum import KEY, siphash_for
from trio_bytesbuf.wire._format import header_of, length_of, payload_nbytes, prefix_nbytes
from trio_bytesbuf.wire._message_encoder import JOINED_NBYTES

HEADER = bytes.fromhex("020000000000000002")
SIZES = [0, 1, 251, 252, 255, 256, JOINED_NBYTES, JOINED_NBYTES + 1, 65_535, 65_536, 1 << 20]


def message(payload: bytes, *, checksums: bool = True) -> bytes:
    """A message as docs/wire_format.md has it, without the code that is tested."""
    nbytes = len(payload)
    if nbytes == 0:
        length = b"\xff"
    elif nbytes < 252:
        length = nbytes.to_bytes(1, "little")
    elif nbytes < 1 << 16:
        length = b"\xfc" + nbytes.to_bytes(2, "little")
    else:
        length = b"\xfd" + nbytes.to_bytes(4, "little")
    checksum = siphash_for("this")(KEY, payload).to_bytes(8, "little")
    return length + payload + checksum * checksums


# What is said


def test_the_header_stands_before_what_is_said_first() -> None:
    """Once, whatever it is: a message, several, a goodbye, or nothing but the header."""
    firsts = {
        "a message": (lambda e: e.encode(b"x"), HEADER + message(b"x")),
        "several": (lambda e: e.encode_many([b"x", b""]), HEADER + message(b"x") + message(b"")),
        "the header": (lambda e: e.encode_header(), HEADER),
        "the end": (lambda e: e.encode_end(), HEADER + b"\0"),
        "none": (lambda e: e.encode_many([]), b""),
    }
    for name, (say, wanted) in firsts.items():
        encoder = MessageEncoder(Raw())
        assert say(encoder) == wanted
        check_laws(encoder)
        if name == "the end":
            continue
        seen = HEADER if name == "none" else b""
        assert encoder.encode(b"y") == seen + message(b"y")
        assert encoder.encode_header() == b""
        assert encoder.encode_many([b"", b"z"]) == message(b"") + message(b"z")
        assert encoder.encode_end() == b"\0"
        check_laws(encoder)


@pytest.mark.parametrize("nbytes", SIZES)
@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize("codec", [Raw(), ViewCodec()])
def test_a_message_of_each_size(nbytes, checksums, codec) -> None:
    """Its length in as few bytes as it can be, the payload, and the sum; always as `bytes`."""
    payload = bytes(index * 7 & 255 for index in range(nbytes))
    encoder = MessageEncoder(codec, sends_checksums=checksums)
    header = encoder.encode_header()
    assert header == header_of(ProtocolVersion.V2, has_checksums=checksums)
    data = encoder.encode(payload)
    assert type(data) is bytes
    assert data == message(payload, checksums=checksums)
    assert encoder.encode_many([payload, b"x"]) == data + message(b"x", checksums=checksums)


def test_version_1_has_neither_header_nor_checksums() -> None:
    """And says nothing before it has something to say."""
    encoder = MessageEncoder(Raw(), version=1, sends_checksums=True)
    assert not encoder.sends_checksums
    assert encoder.version is ProtocolVersion.V1
    assert encoder.encode_header() == b""
    assert encoder.encode(b"x") == b"\1x"
    assert encoder.encode_end() == b"\0"


def test_nothing_comes_behind_the_end() -> None:
    """A ValueError, for whatever would be said, and for the end as well."""
    encoder = MessageEncoder(Raw())
    assert not encoder.is_ended
    encoder.encode_end()
    assert encoder.is_ended
    for say in (
        lambda: encoder.encode(b"x"),
        lambda: encoder.encode_many([b"x"]),
        lambda: encoder.encode_many([]),
        encoder.encode_header,
        encoder.encode_end,
    ):
        with pytest.raises(ValueError, match="nothing comes after it"):
            say()
        check_laws(encoder)


# What is refused


class Picky(Codec[str]):
    """Refuses what has an x in it, and raises what it likes."""

    def encode(self, value):
        if "x" in value:
            raise EncodeError("an x", ".") if value == "x" else ZeroDivisionError
        return value.encode()

    def decode(self, payload):
        return bytes(payload).decode()


def test_what_is_refused_leaves_no_trace() -> None:
    """Neither a header nor a part of several messages counts as said."""
    encoder = MessageEncoder(Picky(), max_nbytes=5)
    for _ in range(2):
        with pytest.raises(EncodeError):
            encoder.encode("x")
        with pytest.raises(ZeroDivisionError):
            encoder.encode_many(["one", "xx"])
        with pytest.raises(MessageTooLarge) as excinfo:
            encoder.encode("sixsix".replace("x", "y"))
        error = excinfo.value
        assert (error.limit, error.nbytes, error.direction) == (5, 6, "sent")
        with pytest.raises(MessageTooLarge):
            encoder.encode_many(["one", "seven!!"])
        check_laws(encoder)
    assert encoder.encode("five!") == HEADER + message(b"five!")


def test_a_limit_of_nothing_lets_empty_messages_pass() -> None:
    """And nothing else."""
    encoder = MessageEncoder(Raw(), max_nbytes=0)
    assert encoder.encode(b"") == HEADER + message(b"")
    with pytest.raises(MessageTooLarge, match="may have 0 bytes at the most, this one, to be sent"):
        encoder.encode(b"x")


class Anything(Codec[object]):
    """A payload is whatever it is."""

    def encode(self, value):
        return value

    def decode(self, payload):
        return payload


def test_codecs_may_give_any_buffer() -> None:
    """Whatever exports one, in pieces or not; what does not is a TypeError."""
    encoder = MessageEncoder(Anything())
    encoder.encode_header()
    big = bytes(range(256)) * 100
    for payload in (
        b"abc",
        bytearray(b"abc"),
        memoryview(b"abc"),
        BytesView(b"abc"),
        BytesView(b"ab") + BytesView(b"c"),
        words(),
        array.array("B"),
        BytesView(),
        big,
        memoryview(big),
        cut_at(big, [5, 20_000]),
        BytesView(bytearray(big)),
    ):
        assert encoder.encode(payload) == message(bytes(payload))
    for payload in ("text", 5, None, memoryview(bytes(8))[::2]):
        with pytest.raises(TypeError):
            encoder.encode(payload)
    assert encoder.encode(b"") == message(b"")


def test_what_is_no_codec_is_refused() -> None:
    """A TypeError that says what it is."""
    for make in (MessageEncoder, MessageDecoder):
        with pytest.raises(TypeError):
            make(5)


def test_a_repr_says_where_it_is() -> None:
    """Of what, and whether anything was said."""
    encoder = MessageEncoder(ViewCodec())
    assert repr(encoder) == "<MessageEncoder of ViewCodec(), before anything was said>"
    encoder.encode_end()
    assert repr(encoder) == "<MessageEncoder of ViewCodec(), behind the goodbye>"


# Lengths


@given(nbytes=st.integers(0, (1 << 64) - 1))
def test_lengths_are_read_as_they_are_written(nbytes) -> None:
    """In as few bytes as the format has for them."""
    prefix = length_of(nbytes)
    assert payload_nbytes(prefix) == nbytes
    assert prefix_nbytes(prefix[0]) == len(prefix)
    sizes = [1, 3, 5, 9]
    limits = [251, (1 << 16) - 1, (1 << 32) - 1, (1 << 64) - 1]
    assert len(prefix) == next(s for s, most in zip(sizes, limits, strict=True) if nbytes <= most)
    assert prefix != b"\0"


@given(
    values=st.lists(st.text(max_size=300), max_size=20),
    sizes=st.lists(st.integers(0, 5), min_size=1, max_size=5),
    checksums=st.booleans(),
    version=st.sampled_from([1, 2]),
)
def test_what_is_said_is_heard(values, sizes, checksums, version) -> None:
    """Said one by one and by several, heard one by one: the same values, in order, and an end."""
    encoder = MessageEncoder(Text(), sends_checksums=checksums, version=version)
    decoder = MessageDecoder(Text(), version=version)
    left = list(values)
    turn = 0
    while left:
        count = sizes[turn % len(sizes)]
        turn += 1
        if count:
            decoder.feed(encoder.encode_many(left[:count]))
        else:
            count = 1
            decoder.feed(encoder.encode(left[0]))
        del left[:count]
    decoder.feed(encoder.encode_end())
    heard = []
    while (event := decoder.next_event()) is not MessageEvent.END:
        heard.append(event)
    assert heard == values
    assert decoder.version == version
    assert decoder.checks_checksums == encoder.sends_checksums


def test_what_makes_the_values_may_say_something_itself() -> None:
    """It goes first, and the header goes once: a second one would be read as messages."""
    encoder = MessageEncoder(Text(), sends_checksums=False)
    said: list[bytes] = []

    def values():
        said.append(encoder.encode("one"))
        yield "two"

    said.append(encoder.encode_many(values()))
    assert b"".join(said) == encoder._header + b"\3one\3two"
