"""What numbers and records cost: taken by a reader and put into a builder, against the usual ways.

    python bench/get_put.py [--quick] [--json FILE]

How to read it: nanoseconds for each number or record, and ours divided by each rival's. The rivals:

    struct          a `Struct` that was made once, and nothing else: `unpack_from(data, offset)` at
                    an offset that never moves, or `pack`: what all ways built on it pay.
    struct, moving  the same, with an offset that is moved on, as whoever reads a message must.
    bytearray       read: unpacked, then deleted from the front; write: `extend(pack(...))`.
    BytesIO         `unpack(read(n))`; `write(pack(...))`.
    construct       the library: declared formats, which it parses from and builds to a `BytesIO`.

A row "by its format" gives the format as text to each call, so `struct` looks it up in its cache.
A number below 257 needs no new `int` in CPython, so all that is not reading weighs more there.
The record has ten fields, mixed. A rival without such an operation leaves its cells empty.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping

import construct
from _measure import Contest, Options, Report, nanoseconds_from

from trio_bytesbuf import BytesBuf, BytesReader, BytesView

NUMBER = 500
"""Reads, or writes, in one sample: tens to hundreds of microseconds, so that few are interrupted,
and that a builder of 64 KiB, as pools lend it, has room for all."""

U32 = struct.Struct(">I")
RECORD = struct.Struct(">BHIQbhiqfd")
VALUES = (200, 60_000, 4_000_000_000, 1 << 63, -100, -30_000, -2_000_000_000, -1 << 62, 0.5, 0.25)
ARGUMENTS = ", ".join(map(str, VALUES))
FORMAT = repr(RECORD.format)

DECLARED = construct.Struct(
    "u8" / construct.Int8ub,
    "u16" / construct.Int16ub,
    "u32" / construct.Int32ub,
    "u64" / construct.Int64ub,
    "i8" / construct.Int8sb,
    "i16" / construct.Int16sb,
    "i32" / construct.Int32sb,
    "i64" / construct.Int64sb,
    "f32" / construct.Float32b,
    "f64" / construct.Float64b,
)

COUNT = NUMBER + 1  # one more, so that an offset behind the first is one to read at, too
NUMBERS = U32.pack(0xDEADBEEF) * COUNT
SMALL = U32.pack(77) * COUNT
RECORDS = RECORD.pack(*VALUES) * COUNT
ONE_BYTE, TWO_BYTES = b"\x4d" * COUNT, b"\xac\x02" * COUNT

ACROSS = BytesView.from_views(
    BytesView(NUMBERS[max(0, at - 2) : at + 2]) for at in range(0, len(NUMBERS), U32.size)
)
"""Every number in it begins with the last two bytes of one piece and ends in the next."""

NAMES: Mapping[str, object] = {
    "BytesBuf": BytesBuf,
    "BytesIO": io.BytesIO,
    "BytesReader": BytesReader,
    "Int32ub": construct.Int32ub,
    "VarInt": construct.VarInt,
    "across": ACROSS,
    "declared": DECLARED,
    "fields": dict(zip((field.name for field in DECLARED.subcons), VALUES, strict=True)),
    "numbers": NUMBERS,
    "one_byte": ONE_BYTE,
    "record": RECORD,
    "records": RECORDS,
    "small": SMALL,
    "struct": struct,
    "two_bytes": TWO_BYTES,
    "u32": U32,
}

Ways = Mapping[str, tuple[str, str]]
"""For each rival what is made before a sample, and what is measured."""


def reads(data: str, ours: str) -> Ways:
    """Return our way alone: a statement with `reader`."""
    return {"ours": (f"reader = BytesReader({data})", ours)}


def reads_u32(ours: str, *, moves: bool) -> Ways:
    """Return the ways to read a number of 32 bits, or to peek at it."""
    ways = {**reads("numbers", ours), "struct": ("offset = 4", "u32.unpack_from(numbers, offset)")}
    if moves:
        ways |= {
            "struct, moving": (
                "offset = 0",
                "(value,) = u32.unpack_from(numbers, offset); offset += 4",
            ),
            "bytearray": (
                "array = bytearray(numbers)",
                "(value,) = u32.unpack_from(array); del array[:4]",
            ),
            "BytesIO": ("file = BytesIO(numbers)", "(value,) = u32.unpack(file.read(4))"),
            "construct": ("file = BytesIO(numbers)", "value = Int32ub.parse_stream(file)"),
        }
    return ways


def varint_reads(data: str) -> Ways:
    """Return the ways to read a number of variable length; `struct` knows none."""
    return {
        **reads(data, "reader.get_uleb128()"),
        "construct": (f"file = BytesIO({data})", "VarInt.parse_stream(file)"),
    }


READING: Mapping[str, Ways] = {
    "get_u32_be": reads_u32("reader.get_u32_be()", moves=True),
    "get_u32_be below 257": {
        **reads("small", "reader.get_u32_be()"),
        "struct": ("offset = 4", "u32.unpack_from(small, offset)"),
        "struct, moving": (
            "offset = 0",
            "(value,) = u32.unpack_from(small, offset); offset += 4",
        ),
    },
    "try_get_u32_be": reads_u32("reader.try_get_u32_be()", moves=True),
    "peek_u32_be": reads_u32("reader.peek_u32_be()", moves=False),
    "get_u32_be across a border": {
        **reads("across", "reader.get_u32_be()"),
        "struct": (  # what is left to do for who has a list of `bytes`
            "left = right = b'abcd'",
            "u32.unpack(left[2:] + right[:2])",
        ),
    },
    "get_uleb128, 1 byte": varint_reads("one_byte"),
    "get_uleb128, 2 bytes": varint_reads("two_bytes"),
    "unpack": {
        **reads("records", "reader.unpack(record)"),
        "struct": ("offset = record.size", "record.unpack_from(records, offset)"),
        "struct, moving": (
            "offset = 0",
            "values = record.unpack_from(records, offset); offset += record.size",
        ),
        "bytearray": (
            "array = bytearray(records)",
            "values = record.unpack_from(array); del array[:record.size]",
        ),
        "BytesIO": ("file = BytesIO(records)", "record.unpack(file.read(record.size))"),
        "construct": ("file = BytesIO(records)", "declared.parse_stream(file)"),
    },
    "unpack by its format": {
        **reads("records", f"reader.unpack({FORMAT})"),
        "struct": (f"offset = {RECORD.size}", f"struct.unpack_from({FORMAT}, records, offset)"),
        "BytesIO": (
            "file = BytesIO(records)",
            f"struct.unpack({FORMAT}, file.read({RECORD.size}))",
        ),
    },
}


def writes(ours: str, pack: str, build: str | None = None) -> Ways:
    """Return the ways to write: our statement with `buf`, what packs, and construct's."""
    ways = {
        "ours": (f"buf = BytesBuf.with_capacity({64 << 10})", ours),
        "struct": ("", pack),
        "bytearray": ("array = bytearray()", f"array.extend({pack})"),
        "BytesIO": ("file = BytesIO()", f"file.write({pack})"),
    }
    if build is not None:
        ways["construct"] = ("file = BytesIO()", build)
    return ways


WRITING: Mapping[str, Ways] = {
    "put_u32_be": writes(
        "buf.put_u32_be(4000000000)",
        "u32.pack(4000000000)",
        "Int32ub.build_stream(4000000000, file)",
    ),
    "put_uleb128, 1 byte": {
        name: way
        for name, way in writes("buf.put_uleb128(77)", "", "VarInt.build_stream(77, file)").items()
        if name in {"ours", "construct"}
    },
    "put_struct": writes(
        f"buf.put_struct(record, {ARGUMENTS})",
        f"record.pack({ARGUMENTS})",
        "declared.build_stream(fields, file)",
    ),
    "put_struct by its format": writes(
        f"buf.put_struct({FORMAT}, {ARGUMENTS})", f"struct.pack({FORMAT}, {ARGUMENTS})"
    ),
}

PROMISED = {
    "get_u32_be": ("struct", 2.5),
    "get_u32_be below 257": ("struct", 2.5),
    "unpack": ("struct", 2.0),
    "put_struct": ("bytearray", 1.5),
    "put_struct by its format": ("bytearray", 1.5),
}


def contest(work: str, ways: Ways, turns: int) -> Contest:
    """Let our way and those of the rivals do the work."""
    samples = {
        rival: nanoseconds_from(setup or "pass", statement, NAMES, number=NUMBER)
        for rival, (setup, statement) in ways.items()
    }
    return Contest.of(work, "ns", samples, turns)


def main() -> None:
    """Measure and print."""
    options = Options.parse(__doc__)
    report = Report()
    turns = 5 if options.quick else 301
    contests: list[Contest] = []
    for title, rows in {"Reading": READING, "Writing": WRITING}.items():
        table = [contest(work, ways, turns) for work, ways in rows.items()]
        report.compare(title, table)
        contests += table
    for done in contests:
        if done.work in PROMISED:
            rival, at_most = PROMISED[done.work]
            report.headline(done.work, done, "ours", [rival], at_most=at_most)
            report.promised(f"{done.work} ÷ {rival}", at_most, done.ratio("ours", rival))
    options.finish(report)


if __name__ == "__main__":
    main()
