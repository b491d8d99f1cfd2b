"""Compressed bytes: as zlib has them, never more than is allowed, however they come."""

from __future__ import annotations

import zlib
from typing import Any

import trio
from _program import Program, cut, in_pieces, within

from trio_bytesbuf import BytesView, LimitExceeded, UnexpectedEof
from trio_bytesbuf.buffered import BadCompressedData, InflatedRead
from trio_bytesbuf.testing import FakeRead, check_laws

FORMATS = {"gzip": 31, "zlib": 15, "raw": -15}
LIMITS = (100_000, 0, 1, 10, 1000, 65_536, 65_537)

PER_BYTE = 60
"""What is decompressed is bounded by the limit, which is in the base; so this is the input."""


def inflate(data: bytes) -> None:
    """Any bytes, or what zlib made of them and something behind, in each format."""
    program = Program(data)
    name: Any = program.pick(tuple(FORMATS))
    max_nbytes = program.pick(LIMITS)
    is_honest, repeated = program.byte() % 2, program.byte()
    sizes = program.take(3)
    wire = program.rest()
    if is_honest:
        cutter = zlib.compressobj(6, zlib.DEFLATED, FORMATS[name])
        wire = cutter.compress(wire * repeated) + cutter.flush() + wire[:3]
    expected = _by_zlib(name, wire, max_nbytes)
    for parts in ([wire], cut(wire, sizes), cut(wire, b"\1") if len(wire) < 2000 else [wire]):

        def read(parts: list[bytes] = parts) -> Any:
            return trio.run(_outcome, name, parts, max_nbytes)

        found, end, behind = within(len(wire), PER_BYTE, read, data)
        if end is BadCompressedData:
            # Or both are true: the damage is right behind the limit, and zlib saw it at once.
            assert expected[1] in (end, LimitExceeded), expected[1]
            assert expected[0].startswith(found), "bytes that zlib does not know"
        else:
            assert (found, end) == expected[:2], (end, expected[1])
        if end is None:
            assert behind == expected[2], "what is behind the end is not there"


def _by_zlib(name: str, wire: bytes, max_nbytes: int) -> tuple[bytes, object, bytes]:
    """Return what zlib makes of the bytes, one after the other, until it has more than it may."""
    unzip = zlib.decompressobj(FORMATS[name])
    found = b""
    for at in range(len(wire)):
        left = wire[at : at + 1]
        while True:
            try:
                part = unzip.decompress(left, max_nbytes + 1 - len(found))
            except zlib.error:
                return found, BadCompressedData, b""
            found += part
            if len(found) > max_nbytes:
                return found[:max_nbytes], LimitExceeded, b""
            if unzip.eof:
                return found, None, wire[at + 1 :]
            left = unzip.unconsumed_tail
            if not left and not part:
                break
    return found, UnexpectedEof, b""


async def _outcome(name: Any, parts: list[bytes], max_nbytes: int) -> tuple[bytes, object, bytes]:
    source = FakeRead(in_pieces(b"".join(parts), b""), script=[len(part) for part in parts if part])
    read = InflatedRead(source, format=name, max_nbytes=max_nbytes)
    found = b""
    try:
        while view := await read.receive_view():
            check_laws(read)
            found += view.to_bytes()
            assert len(found) <= max_nbytes
    except (BadCompressedData, LimitExceeded, UnexpectedEof) as error:
        end: object = type(error)
        for _ in range(2):
            try:
                await read.receive_view()
            except type(error) as second:
                assert str(second) == str(error)
            else:
                raise AssertionError("an error that is not said again") from error
        return found, end, b""
    behind: BytesView = await read.into_inner().read_to_end(1 << 20)
    return found, None, behind.to_bytes()
