"""Whether cutting in two and joining again costs the same for a large buffer as for a small one.

    python bench/split_join.py [--quick] [--json FILE]

Each buffer is cut in its middle, and the halves are joined again:

    BytesBuf      `front = buf.split_to(half)`, then `front.unsplit(buf)`
    bytearray     `front = array[:half]`, `del array[:half]`, then `front += array`
    BytesView     `view[:half] + view[half:]`
    bytes         `data[:half] + data[half:]`

How to read it: the first table has our types against their rivals, at each size. In the second the
columns are sizes: what does not depend on the size has ratios of 1. The rivals copy, so that theirs
follow the size as soon as copying costs more than calling does.
"""

from __future__ import annotations

from _measure import Contest, Options, Report, in_turn, nanoseconds_from, size_name

from trio_bytesbuf import BytesBuf, BytesView

SIZES = (1 << 10, 64 << 10, 1 << 20, 16 << 20)
SMALLEST, *LARGER = map(size_name, SIZES)

SETUP = {
    "BytesBuf": "buf = BytesBuf.with_capacity({nbytes}); buf.put_repeated(1, {nbytes})",
    "bytearray": "array = bytearray({nbytes})",
    "BytesView": "view = BytesView(bytes({nbytes}))",
    "bytes": "data = bytes({nbytes})",
}
STATEMENT = {
    "BytesBuf": "front = buf.split_to({half}); front.unsplit(buf); buf = front",
    "bytearray": "front = array[:{half}]; del array[:{half}]; front += array; array = front",
    "BytesView": "view[:{half}] + view[{half}:]",
    "bytes": "data[:{half}] + data[{half}:]",
}
COPYING = {"bytearray", "bytes"}
RATIOS = [("BytesBuf", "bytearray"), ("BytesView", "bytes")]

AT_MOST = 1.25
"""Independent of the size means this, at the most: caches and a noisy machine leave no 1.00."""


def number_of(name: str, nbytes: int) -> int:
    """Return how often to do it for one sample; less often where that copies a lot."""
    return max(1, min(200, (4 << 20) // nbytes)) if name in COPYING else 200


def main() -> None:
    """Measure and print."""
    options = Options.parse(__doc__)
    report = Report()
    names = {"BytesBuf": BytesBuf, "BytesView": BytesView}
    samples = in_turn(
        {
            f"{name} {size_name(nbytes)}": nanoseconds_from(
                SETUP[name].format(nbytes=nbytes),
                STATEMENT[name].format(half=nbytes // 2),
                names,
                number=number_of(name, nbytes),
            )
            for name in SETUP
            for nbytes in SIZES
        },
        turns=3 if options.quick else 51,
    )
    by_size = [
        Contest(size, "ns", {name: samples[f"{name} {size}"] for name in SETUP})
        for size in map(size_name, SIZES)
    ]
    report.compare("Cut in the middle and joined again", by_size, RATIOS)
    for contest in (by_size[0], by_size[-1]):
        scenario = f"cut and join {contest.work}"
        report.headline(scenario, contest, "BytesBuf", ["bytearray", "bytes"])
    by_type = [
        Contest(name, "ns", {size: samples[f"{name} {size}"] for size in map(size_name, SIZES)})
        for name in SETUP
    ]
    report.compare("The same by size", by_type, [(size, SMALLEST) for size in LARGER])
    for contest in by_type:
        if contest.work not in COPYING:
            for size in LARGER:
                ratio = contest.ratio(size, SMALLEST)
                report.promised(f"{contest.work}, {size} ÷ {SMALLEST}", AT_MOST, ratio)
    options.finish(report)


if __name__ == "__main__":
    main()
