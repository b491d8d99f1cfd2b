"""Numbers of variable length: as Python's own arithmetic has them, in one piece or in many."""

from __future__ import annotations

from typing import Any

from _program import Program, in_pieces

from trio_bytesbuf import BytesBuf, BytesReader, NotEnoughBytes, VarintTooLong
from trio_bytesbuf.testing import check_laws

KINDS = ("uleb128", "sleb128", "zigzag")
BITS = (64, 1, 6, 7, 8, 14, 15, 32, 63, 128, 1000)


def numbers(data: bytes) -> None:
    """LEB128, signed and not, and zigzag."""
    program = Program(data)
    kind, bits = program.pick(KINDS), program.pick(BITS)
    sizes = program.take(2)
    wire = program.rest()
    expected = _by_hand(kind, wire, bits)
    for view in (in_pieces(wire, b""), in_pieces(wire, b"\1"), in_pieces(wire, sizes)):
        reader = BytesReader(view)
        for method in ("peek", "get"):
            found = _outcome(reader, f"{method}_{kind}", bits)
            assert found == expected, (method, kind, bits, wire)
        taken = len(wire) - reader.remaining()
        assert taken == (expected[1] if isinstance(expected, tuple) else 0)
        check_laws(reader)
    if isinstance(expected, tuple):
        buf = BytesBuf.with_capacity(200)
        getattr(buf, f"put_{kind}")(expected[0], bits)
        again = BytesReader(buf.consume_all())
        assert again.remaining() <= expected[1], "longer than what was sent"
        assert getattr(again, f"get_{kind}")(bits) == expected[0]
        assert not again.remaining()


def _outcome(reader: BytesReader, name: str, bits: int) -> Any:
    before = reader.remaining()
    quiet = getattr(reader, f"try_{name}")
    try:
        found = getattr(reader, name)(bits)
    except (NotEnoughBytes, VarintTooLong) as error:
        assert reader.remaining() == before, "an error has taken something"
        if isinstance(error, NotEnoughBytes):
            assert quiet(bits) is None
        return type(error)
    nbytes = before - reader.remaining()
    if not nbytes:  # a peek, of which the length is told by taking
        view = reader.peek_view(before)
        assert quiet(bits) == found
        twin = BytesReader(view)
        getattr(twin, name.replace("peek", "get"))(bits)
        nbytes = before - twin.remaining()
    return found, nbytes


def _by_hand(kind: str, wire: bytes, bits: int) -> Any:
    """Return the number and its length; or the error."""
    most = -(-bits // 7)
    end = next((index for index, byte in enumerate(wire) if byte < 0x80), None)
    body = wire[:most] if end is None else wire[: end + 1]
    value = sum((byte & 0x7F) << 7 * index for index, byte in enumerate(body))
    if kind != "sleb128":
        if end is not None and end < most and value >> bits == 0:
            return (value if kind == "uleb128" else (value >> 1) ^ -(value & 1)), end + 1
        known = sum((byte & 0x7F) << 7 * index for index, byte in enumerate(wire[:most]))
        is_long = known >> bits or len(wire) >= most
        return VarintTooLong if is_long else NotEnoughBytes
    if end is not None and end < most:
        if body[-1] & 0x40:
            value -= 1 << 7 * len(body)
        fits = -(1 << bits - 1) <= value < 1 << bits - 1
        return (value, end + 1) if fits else VarintTooLong
    return VarintTooLong if len(wire) >= most else NotEnoughBytes
