"""What it costs to hand bytes to another process on the same machine.

    python bench/handover.py [--quick] [--json FILE]

A parent process has the bytes in memory already; a child gets them through a multiprocessing pipe,
looks at their length and at the first and the last byte, lets go and says so. Wall time of the
whole round, over and over with the same bytes:

    share          `connection.send(share(view))`, and `open` in the child; the bytes stay where
                   they are
    pickle         `connection.send(data)` with `bytes`
    send_bytes     `connection.send_bytes(data)`: the same without the pickle

How to read it: microseconds for each round, and ours divided by each rival's. What is shared
costs the same at every size, so below some size the pipe is quicker. Nobody reads all
the bytes; whoever does pays for that in addition, the same for all three.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from _measure import Contest, Options, Report, size_name

from trio_bytesbuf import BytesView
from trio_bytesbuf.mem import SharedHandle, SharedPool, share

MIB = 1 << 20
SIZES = (4 << 10, 64 << 10, MIB, 64 * MIB)
PROMISED_NBYTES = 64 * MIB
PROMISED_RATIO = 1 / 20


def receive(connection: Connection[Any, Any]) -> None:
    """Take what comes, one thing after the other, until the pipe is closed. Run in a process."""
    while (how := connection.recv()) is not None:
        rounds, kind = how
        for _ in range(rounds):
            connection.send(look_at(connection.recv_bytes() if kind else connection.recv()))


def look_at(came: SharedHandle | bytes) -> tuple[int, int, int]:
    """Touch both ends of what came, and nothing else."""
    data = came.open() if isinstance(came, SharedHandle) else came
    return len(data), data[0], data[-1]


def sample(
    connection: Connection[Any, Any], data: BytesView | bytes, rounds: int, *, raw: bool
) -> float:
    """Hand `data` over so many times; return microseconds for each."""
    expected = (len(data), data[0], data[-1])
    connection.send((rounds, raw))
    start = time.perf_counter()
    for _ in range(rounds):
        if raw:
            connection.send_bytes(data)
        else:
            connection.send(share(data) if isinstance(data, BytesView) else data)
        answer = connection.recv()
        assert answer == expected, answer
    return (time.perf_counter() - start) / rounds * 1e6


def contest(connection: Connection[Any, Any], nbytes: int, turns: int, seconds: float) -> Contest:
    """Let the three hand over `nbytes` bytes."""
    data = bytes(range(1, 256)) * (nbytes // 255 + 1)
    data = data[:nbytes]
    view = BytesView.copied_from_slice(data, SharedPool())
    rivals: dict[str, Callable[..., float]] = {
        "share": partial(sample, connection, view, raw=False),
        "pickle": partial(sample, connection, data, raw=False),
        "send_bytes": partial(sample, connection, data, raw=True),
    }
    runs = {}
    for name, hand_over in rivals.items():
        once = hand_over(rounds=1) / 1e6
        runs[name] = partial(hand_over, rounds=max(1, round(seconds / once)))
    return Contest.of(size_name(nbytes), "µs", runs, turns)


def main() -> None:
    """Measure and print."""
    options = Options.parse(__doc__)
    report = Report()
    turns, seconds = (3, 0.05) if options.quick else (11, 0.3)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=receive, args=(theirs,))
    child.start()
    try:
        contests = [contest(ours, nbytes, turns, seconds) for nbytes in SIZES]
    finally:
        ours.send(None)
        child.join()
    report.compare("Handing bytes to another process", contests)
    for each in contests:
        if each.work == size_name(PROMISED_NBYTES):
            report.headline(f"{each.work} to another process", each, "share")
            ratio = each.ratio("share", "pickle")
            report.promised(f"share ÷ pickle, {each.work}", PROMISED_RATIO, ratio)
            report.remark(f"{each.work}: {1 / ratio:,.0f} times as quick as pickling")
    options.finish(report)


if __name__ == "__main__":
    main()
