"""Arguments whose methods call back: what they do happens first, and nothing is broken by it."""

from __future__ import annotations

import contextlib
import struct
from collections import deque
from collections.abc import Callable

import pytest

from trio_bytesbuf import BytesBuf, BytesReader
from trio_bytesbuf.testing import check_laws


class Meddling:
    """An integer whose owner is called when it is asked for."""

    def __init__(self, value: int, meddle: Callable[[], object]) -> None:
        self.value = value
        self.meddle = meddle

    def __index__(self) -> int:
        self.meddle()
        return self.value


def filled() -> BytesBuf:
    buf = BytesBuf.with_capacity(64)
    buf.put_slice(b"0123456789abcdefghij")
    return buf


MEDDLING: dict[str, Callable[[BytesBuf], object]] = {
    "clear": BytesBuf.clear,
    "consume_all": BytesBuf.consume_all,
    "freeze": BytesBuf.freeze,
    "split": BytesBuf.split,
    "put": lambda buf: buf.put_slice(b"more"),
    "window": BytesBuf.chunk_mut,
}

CALLS: dict[str, Callable[[BytesBuf, Meddling], object]] = {
    "truncate": lambda buf, number: buf.truncate(number),
    "resize": lambda buf, number: buf.resize(number),
    "peek": lambda buf, number: buf.peek(number),
    "consume": lambda buf, number: buf.try_consume(number),
    "split_off": lambda buf, number: buf.split_off(number),
    "overwrite": lambda buf, number: buf.overwrite(number, b"x"),
    "reserve": lambda buf, number: buf.reserve(number),
    "put_u32_be": lambda buf, number: buf.put_u32_be(number),
    "put_struct": lambda buf, number: buf.put_struct(">IQ", 1, number),
    "extend": lambda buf, number: buf.extend([1, number]),
}


@pytest.mark.parametrize("meddling", MEDDLING)
@pytest.mark.parametrize("call", CALLS)
def test_an_argument_that_changes_the_builder_breaks_no_law(call: str, meddling: str) -> None:
    """Whatever comes of it, the builder is sound and what it showed before is the same."""
    buf = filled()
    shown = buf.peek(3)
    with contextlib.suppress(ValueError, BufferError):
        CALLS[call](buf, Meddling(10, lambda: MEDDLING[meddling](buf)))
    check_laws(buf)
    assert shown == b"012"
    before = buf.peek().to_bytes()
    buf.extend(b"behind")
    assert buf.consume_all() == before + b"behind"


@pytest.mark.parametrize(
    "call",
    [
        lambda reader, number: reader.seek(number),
        lambda reader, number: reader.seek(number, 1),
        lambda reader, number: reader.read(number),
        lambda reader, number: reader.readline(number),
        lambda reader, number: reader.take(number) if len(reader) else None,
    ],
)
def test_an_argument_that_moves_the_reader_breaks_no_law(call) -> None:
    """The reader is somewhere in its view afterwards."""
    reader = BytesReader(b"0123456789")
    with contextlib.suppress(ValueError):
        call(reader, Meddling(7, reader.take_rest))
    check_laws(reader)
    assert 0 <= reader.tell() <= 10
    assert reader.seek(0) == 0
    assert reader.read() == b"0123456789"


@pytest.mark.parametrize("source", [lambda: BytesReader(b"ab"), lambda: deque([b"a", b"b"])])
def test_a_builder_grows_for_what_can_be_read(source) -> None:
    """`extend` takes what `as_buf` takes, and reads it to its end."""
    buf = BytesBuf()
    data = source()
    buf.extend(data)
    assert buf.freeze() == b"ab"
    assert not len(data)


def test_a_struct_is_packed_before_the_builder_is_looked_at() -> None:
    """A value that shows the room meanwhile does not see it written."""
    buf = filled()
    shown: list[object] = []

    def show() -> int:
        buf.put_u8(7)
        shown.append(buf.peek())
        return 1

    buf.put_struct(struct.Struct(">BB"), 255, Meddling(1, show))
    assert shown == [b"0123456789abcdefghij\x07"]
    assert buf.freeze() == b"0123456789abcdefghij\x07\xff\x01"
