"""What views cost against memoryviews and bytes when they are cut, joined, searched, read.

    python bench/slices.py [--quick] [--json FILE]

How to read it: nanoseconds for each operation, and ours divided by each rival's. A slice of a view
costs a fixed multiple of a memoryview's slice, because it is a Python object around one; a
slice of bytes costs a copy, so that from some size on it is the dearer one. Views of several
pieces must find the piece first. Rivals that have no such operation leave their cells empty.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from _measure import Contest, Options, Report, nanoseconds, size_name

from trio_bytesbuf import BytesReader, BytesView

SLICE_SIZES = (64, 4 << 10, 64 << 10)
PIECES = 16
DATA = bytes(range(256)) * 1024
PART = len(DATA) // PIECES

VIEW = BytesView(DATA)
CUT = BytesView.from_views(BytesView(DATA[at : at + PART]) for at in range(0, len(DATA), PART))
"""The same bytes in pieces of 16 KiB, each with memory of its own."""

NAMES: Mapping[str, object] = {
    "data": DATA,
    "memory": memoryview(DATA),
    "view": VIEW,
    "cut": CUT,
    "same": bytes(bytearray(DATA)),
    "other": BytesView(bytes(bytearray(DATA))),
    "views": [VIEW[at : at + PART] for at in range(0, len(DATA), PART)],
    "memories": [memoryview(DATA)[at : at + PART] for at in range(0, len(DATA), PART)],
    "many": [DATA[at : at + PART] for at in range(0, len(DATA), PART)],
    "from_views": BytesView.from_views,
    "reader": BytesReader(VIEW),
    "unpack_from": struct.Struct(">I").unpack_from,
    "u32": struct.Struct(">I"),
}

Statements = Mapping[str, str]


def slices(nbytes: int) -> dict[str, Statements]:
    """Return how to cut `nbytes` out of the middle."""
    of = f"[1000:{1000 + nbytes}]"
    several = f"[{PART - 32}:{PART - 32 + nbytes}]"  # begins 32 bytes before a piece ends
    size = size_name(nbytes)
    return {
        f"slice {size}, one piece": {
            "view": f"view{of}",
            "memoryview": f"memory{of}",
            "bytes": f"data{of}",
        },
        f"slice {size} over pieces": {
            "view": f"cut{several}",
            "memoryview": f"memory{several}",
            "bytes": f"data{several}",
        },
    }


WORK: dict[str, Statements] = {
    **{name: how for nbytes in SLICE_SIZES for name, how in slices(nbytes).items()},
    "one byte": {"view": "view[1000]", "memoryview": "memory[1000]", "bytes": "data[1000]"},
    "make one": {"view": "View(data)", "memoryview": "memoryview(data)"},
    "join 16 of 16 KiB": {
        "view": "from_views(views)",
        "memoryview": "b''.join(memories)",
        "bytes": "b''.join(many)",
    },
    "find 3 bytes, 1 KiB ahead": {
        "view": "view.find(b'\\xff\\x00\\x01', 0, 1024)",
        "bytes": "data.find(b'\\xff\\x00\\x01', 0, 1024)",
    },
    "find, not in 256 KiB": {"view": "view.find(b'zzz')", "bytes": "data.find(b'zzz')"},
    "find, not in 16 pieces": {"view": "cut.find(b'zzz')", "bytes": "data.find(b'zzz')"},
    "256 KiB == bytes": {
        "view": "view == same",
        "memoryview": "memory == same",
        "bytes": "data == same",
    },
    "256 KiB == view": {
        "view": "view == other",
        "memoryview": "memory == same",
        "bytes": "data == same",
    },
    "get_u32_be": {
        "view": "reader.seek(0); reader.get_u32_be()",
        "memoryview": "int.from_bytes(memory[0:4], 'big')",
        "bytes": "int.from_bytes(data[0:4], 'big')",
        "struct": "unpack_from(memory, 0)",
    },
    "seek alone": {"view": "reader.seek(0)"},
    "unpack a Struct": {
        "view": "reader.seek(0); reader.unpack(u32)",
        "struct": "unpack_from(memory, 0)",
    },
}


SHOWN = (
    "slice 64 B, one piece",
    "slice 64 KiB, one piece",
    "join 16 of 16 KiB",
    "find, not in 16 pieces",
)
"""What the picture of all scenarios shows."""


def main() -> None:
    """Measure and print."""
    options = Options.parse(__doc__)
    report = Report()
    turns, seconds = (3, 0.005) if options.quick else (11, 0.05)
    names = {**NAMES, "View": BytesView}
    contests = [
        Contest.of(
            work,
            "ns",
            {
                rival: nanoseconds(statement, names, seconds=seconds)
                for rival, statement in statements.items()
            },
            turns,
        )
        for work, statements in WORK.items()
    ]
    report.compare("Views against memoryviews and bytes", contests)
    for contest in contests:
        if contest.work in SHOWN:
            report.headline(contest.work, contest, "view")
    for contest in contests:
        if contest.work.startswith("slice") and "one piece" in contest.work:
            ratio = contest.ratio("view", "memoryview")
            report.promised(f"{contest.work} ÷ memoryview's", 8, ratio)
    options.finish(report)


if __name__ == "__main__":
    main()
