"""Typed messages: however they come, the same values and errors; and the walker sees the same."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import attrs
from _program import Program, cut, in_pieces, within

from trio_bytesbuf import BytesView
from trio_bytesbuf._errors import LimitExceeded, UnexpectedEof
from trio_bytesbuf.cli._picture import Picture
from trio_bytesbuf.cli._walk import Goodbye, Header, Message, Problem, Stop, Walker
from trio_bytesbuf.testing import check_laws
from trio_bytesbuf.wire import (
    Bincode,
    Codec,
    JsonCodec,
    MessageDecoder,
    MessageEncoder,
    MessageEvent,
    MsgpackCodec,
    ProtocolVersion,
    ViewCodec,
)

LIMITS = (1 << 20, 1, 2, 100, 300, 70_000)
VERSIONS = (ProtocolVersion.V2, ProtocolVersion.V1, None)

PER_BYTE = 600
"""A message without a payload is one byte, and an object or an error for it."""


class Raw(Codec[bytes]):
    """A payload is its own value."""

    def encode(self, value: bytes) -> bytes:
        """See `Codec`."""
        return value

    def decode(self, payload: Any) -> bytes:
        """See `Codec`."""
        return bytes(payload)


class Kind(enum.Enum):
    """An enum, for records."""

    ONE = 1
    TWO = 2


@attrs.frozen
class Record:
    """A record, as programs have them."""

    id: int
    name: str
    places: list[tuple[int, float]]
    kind: Kind
    body: BytesView
    more: dict[str, int | None]


class Pair(NamedTuple):
    """A small record."""

    left: str
    right: list[int]


CODECS: tuple[Codec[Any], ...] = (
    Raw(),
    Bincode(Record),
    Bincode(Pair | None),
    Bincode(str),
    ViewCodec(),
    MsgpackCodec(dict[str, list[int]]),
    MsgpackCodec(list[Pair]),
    JsonCodec(list[Pair]),
    JsonCodec(dict[str, list[int]]),
)


def messages(data: bytes) -> None:
    """A decoder of each codec, of a peer of each version."""
    program = Program(data)
    codec, version = program.pick(CODECS), program.pick(VERSIONS)
    max_nbytes, flags = program.pick(LIMITS), program.byte()
    batch, sizes = program.byte() or None, program.take(3)
    wire = _wire(program, flags)
    options = {
        "max_nbytes": max_nbytes,
        "version": version,
        "checks_checksums": flags & 4 == 0,
        "requires_goodbye": flags & 8 != 0,
    }

    def whole() -> list[Any]:
        return _outcome(codec, options, [wire], None)

    expected = within(len(wire), PER_BYTE, whole, data)
    for parts in ([wire], cut(wire, sizes), cut(wire, b"\1"), [in_pieces(wire, sizes)]):
        for way in (None, batch or 1000):
            found = _outcome(codec, options, parts, way)
            assert found == expected, (way, found, expected)


def _wire(program: Program, flags: int) -> bytes:
    """Return bytes as they are; or payloads, which are cut out of them, as a peer would send them.

    A checksum is eight bytes that no fuzzer guesses.
    """
    if flags & 1:
        return program.rest()
    version = ProtocolVersion.V1 if flags & 2 else ProtocolVersion.V2
    encoder: MessageEncoder[bytes] = MessageEncoder(
        Raw(), version=version, sends_checksums=flags & 16 == 0
    )
    sent = b""
    while program:
        sent += encoder.encode(program.take(program.byte()))
    damage = sent[flags : flags + 1] if flags & 32 else b""
    if damage:
        sent = sent[:flags] + bytes((damage[0] ^ flags,)) + sent[flags + 1 :]
    return sent + (encoder.encode_end() if flags & 64 else b"")


def _outcome(
    codec: Codec[Any], options: dict[str, Any], parts: list[Any], batch: int | None
) -> list[Any]:
    """Return the values, and between them what was wrong; at last how it ends."""
    decoder: MessageDecoder[Any] = MessageDecoder(codec, **options)
    told: list[Any] = []
    for part in [*parts, None]:
        if part is None:
            decoder.feed_eof()
        else:
            decoder.feed(part)
        end = _drain(decoder, batch, told)
        if end is not MessageEvent.NEED_DATA:
            break
    told.append(_kind(end) if isinstance(end, Exception) else end)
    told.append((decoder.version, decoder.checks_checksums))
    return told


def _drain(decoder: MessageDecoder[Any], batch: int | None, told: list[Any]) -> Any:
    """Take what there is; return why there is no more."""
    while True:
        before = decoder.buffered_nbytes
        try:
            items = [] if batch is None else decoder.next_events(batch)
            if not items:
                item = decoder.next_event()
                if isinstance(item, MessageEvent):
                    return item
                items = [item]
            told += map(_told, items)
        except Exception as error:  # noqa: BLE001  # codecs may raise what they like
            check_laws(decoder)
            if decoder._cutter.is_over:
                return error
            assert decoder.buffered_nbytes < before, "what is wrong has not gone"
            told.append(type(error))
        check_laws(decoder)


def _told(value: Any) -> str:
    """Return a value in words, in which pieces make no difference."""
    if isinstance(value, BytesView):
        return repr(value.to_bytes())
    if isinstance(value, Record):
        return repr(attrs.evolve(value, body=value.body.compact()))
    return repr(value)


def _kind(error: Exception) -> Any:
    if isinstance(error, LimitExceeded):
        return type(error), error.limit
    if isinstance(error, UnexpectedEof):
        return UnexpectedEof, error.wanted, error.arrived
    return type(error), str(error)


# What `dump` shows


def walk(data: bytes) -> None:
    """Every byte is of one item; messages are those of a decoder; lines can be printed."""
    program = Program(data)
    codec, version = program.pick((*CODECS, None)), program.pick(VERSIONS)
    max_nbytes, flags, sizes = program.pick(LIMITS), program.byte(), program.take(2)
    wire = _wire(program, flags)
    told = [
        _walked(version, max_nbytes, parts)
        for parts in ([wire], cut(wire, sizes), cut(wire, b"\1"), [in_pieces(wire, sizes)])
    ]
    assert all(one == told[0] for one in told), told
    options = {"max_nbytes": max_nbytes, "version": version}
    *decoded, end, _ = _outcome(Raw(), options, [wire], None)
    values = [one for one in decoded if isinstance(one, str)]
    items, _ = told[0]
    seen = [repr(item.payload.to_bytes()) for item in items if _is_right(item)]
    assert seen == values, "the walker has other messages than the decoder"
    is_well = end is MessageEvent.END
    assert is_well == isinstance(items[-1], (Goodbye, Stop)), (end, items[-1])
    picture = Picture(Walker(version, max_nbytes), codec, 50)
    picture.walker.feed(in_pieces(wire, sizes))
    picture.walker.feed_eof()
    for line in (*picture.lines(), *picture.last_lines()):
        assert all(text.isprintable() for text, _ in line), line


def _is_right(item: object) -> bool:
    return isinstance(item, Message) and item.is_right


def _walked(version: Any, max_nbytes: int, parts: list[Any]) -> tuple[list[Any], object]:
    walker = Walker(version, max_nbytes)
    items: list[Any] = []
    total = 0
    for part in [*parts, None]:
        if part is None:
            walker.feed_eof()
        else:
            walker.feed(BytesView(part))
            total += len(part)
        while (item := walker.next_item()) is not None:
            items.append(item)
    at = 0
    for item in items:
        assert item.offset == at, "bytes of no item"
        if isinstance(item, Header):
            at += 9 if item.version is ProtocolVersion.V2 else 0
        elif isinstance(item, Message):
            checksum = 0 if item.checksum is None else 8
            at += len(item.prefix) + len(item.payload) + checksum
        else:
            at += isinstance(item, Goodbye)
    assert isinstance(items[-1], (Goodbye, Problem, Stop)), items
    assert at + walker.behind_nbytes == total
    return items, (walker.behind_nbytes, bytes(walker.behind))
