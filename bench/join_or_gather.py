"""When to join pieces before sending and when to hand them to the kernel one by one.

    python bench/join_or_gather.py [--quick] [--json FILE] [--plot FILE.png]

A total of 4 KiB to 256 KiB is cut into pieces of 16 B to 64 KiB and sent into a socketpair:

    gather     `os.writev(pieces)`, at most IOV_MAX of them in one call
    join       `os.write(b"".join(pieces))`

The other end is emptied between two sends, by the same thread and outside the measured time: what
is measured is sending alone, and not how quickly somebody else wakes up.

How to read it: `gather ÷ join` below 1 means that the pieces should be left as they are. The
crossover is the size of a piece from which on gathering is the cheaper one; that is what
`JOIN_BELOW_NBYTES` should be. The last table asks whether `write_view`, which decides for each
piece, is as quick as joining everything and trio's `send_all`.
"""

from __future__ import annotations

import math
import os
import socket
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import trio
from _measure import Contest, Options, Report, mark, powers_of_two, save, shown, size_name

from trio_bytesbuf import BytesView, SocketStream
from trio_bytesbuf.io._vectored import IOV_MAX, JOIN_BELOW_NBYTES

PIECE_SIZES = powers_of_two(16, 64 << 10)
TOTALS = (4 << 10, 16 << 10, 64 << 10, 256 << 10)
SEND_BUFFER = 1 << 20
"""Room for the largest total with what the kernel adds to it, so that no send is cut short."""

MIXES = ((2, 100), (8, 100), (64, 100), (16, 1 << 10), (16, 4 << 10), (4, 16 << 10), (4, 64 << 10))
"""How many pieces of how many bytes the last table sends."""


def connected() -> tuple[socket.socket, socket.socket]:
    """Return two ends of a connection with large buffers, none of which waits."""
    source, sink = socket.socketpair()
    source.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    source.setblocking(False)
    sink.setblocking(False)
    return source, sink


def empty(sink: socket.socket, nbytes: int, room: bytearray) -> None:
    """Receive `nbytes`, all of which have been sent."""
    while nbytes:
        nbytes -= sink.recv_into(room, nbytes)


def pieces_of(nbytes: int, count: int) -> list[memoryview]:
    """Return `count` pieces, each of other memory than its neighbours."""
    data = memoryview(bytes((nbytes + 64) * count))
    return [data[at * (nbytes + 64) :][:nbytes] for at in range(count)]


def gather(fd: int, pieces: Sequence[memoryview]) -> int:
    """Send the pieces as they are."""
    sent = 0
    for at in range(0, len(pieces), IOV_MAX):
        sent += os.writev(fd, pieces[at : at + IOV_MAX])
    return sent


def join(fd: int, pieces: Sequence[memoryview]) -> int:
    """Send the pieces as one."""
    return os.write(fd, b"".join(pieces))


def send_microseconds(
    how: Callable[[int, Sequence[memoryview]], int], pieces: Sequence[memoryview], sends: int
) -> float:
    """Send the pieces again and again; return the median time of one."""
    total = sum(map(len, pieces))
    room = bytearray(total)
    took = []
    source, sink = connected()
    with source, sink:
        fd = source.fileno()
        for _ in range(sends):
            start = time.perf_counter_ns()
            sent = how(fd, pieces)
            took.append(time.perf_counter_ns() - start)
            assert sent == total, f"only {sent} of {total} bytes were taken"
            empty(sink, total, room)
    return statistics.median(took) / 1000


def crossover(contests: Sequence[Contest], sizes: Sequence[int]) -> float:
    """Return the size of a piece from which on gathering is cheaper, or infinity.

    Between two sizes, where a straight line between the logarithms says so.
    """
    gains = [math.log(contest.ratio("gather", "join")) for contest in contests]
    dearer = [at for at, gain in enumerate(gains) if gain > 0]
    if not dearer:
        return sizes[0]
    at = dearer[-1]
    if at == len(gains) - 1:
        return math.inf
    share = gains[at] / (gains[at] - gains[at + 1])
    return float(sizes[at] * (sizes[at + 1] / sizes[at]) ** share)


def system_calls(
    report: Report, *, turns: int, seconds: float
) -> dict[int, tuple[list[int], list[Contest], float]]:
    """Compare the two calls for each total; return sizes, contests and crossover of each."""
    curves = {}
    for total in TOTALS:
        sizes = [nbytes for nbytes in PIECE_SIZES if 2 * nbytes <= total]
        contests = []
        for nbytes in sizes:
            pieces = pieces_of(nbytes, total // nbytes)
            once = send_microseconds(gather, pieces, 3)
            sends = max(3, round(seconds * 1e6 / once))
            rivals = {
                how.__name__: partial(send_microseconds, how, pieces, sends)
                for how in (gather, join)
            }
            work = f"{total // nbytes} of {size_name(nbytes)}"
            contests.append(Contest.of(work, "µs", rivals, turns))
        at = crossover(contests, sizes)
        curves[total] = sizes, contests, at
        report.compare(f"Sending {size_name(total)} in pieces", contests)
        where = f"pieces from {shown(at)} B on" if math.isfinite(at) else "no pieces"
        report.remark(f"of {size_name(total)} in all, {where} are better gathered")
    report.remark(f"JOIN_BELOW_NBYTES is {JOIN_BELOW_NBYTES}")
    return curves


def written_microseconds(kind: str, count: int, nbytes: int, sends: int) -> float:
    """Send a view of `count` pieces through a stream; return the median time of one."""

    async def main() -> float:
        pieces = pieces_of(nbytes, count)
        view = BytesView.from_views(map(BytesView, pieces))
        total = count * nbytes
        room = bytearray(total)
        took = []
        source, sink = connected()
        theirs = trio.SocketStream(trio.socket.from_stdlib_socket(source))
        ours = SocketStream(theirs)
        with sink:
            async with ours:
                for _ in range(sends):
                    start = time.perf_counter_ns()
                    if kind == "write_view":
                        await ours.write_view(view)
                    elif kind == "join, send_all":
                        await theirs.send_all(b"".join(pieces))
                    else:
                        for piece in pieces:
                            await theirs.send_all(piece)
                    took.append(time.perf_counter_ns() - start)
                    empty(sink, total, room)
        return statistics.median(took) / 1000

    return trio.run(main)


def streams(report: Report, *, turns: int, sends: int) -> None:
    """Compare `write_view` with what is done without it."""
    kinds = ("write_view", "join, send_all", "send_all each")
    contests = [
        Contest.of(
            f"{count} of {size_name(nbytes)}",
            "µs",
            {kind: partial(written_microseconds, kind, count, nbytes, sends) for kind in kinds},
            turns,
        )
        for count, nbytes in MIXES
    ]
    report.compare("A view of several pieces through a stream", contests)
    for (count, nbytes), contest in zip(MIXES, contests, strict=True):
        if count == 16:  # the others are alike
            scenario = f"send {count} pieces of {size_name(nbytes)}"
            report.headline(scenario, contest, "write_view")


def draw(curves: dict[int, tuple[list[int], list[Contest], float]], path: Path) -> None:
    """Plot gather ÷ join over the size of a piece, one line for each total."""
    from matplotlib import pyplot as plt  # only here: the figures need no plot

    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for total, (sizes, contests, _) in curves.items():
        ratios = [contest.ratio("gather", "join") for contest in contests]
        axes.loglog(sizes, ratios, "o-", base=2, markersize=4, label=f"{size_name(total)} in all")
    axes.axhline(1, color="0.6", linewidth=1)
    mark(axes, JOIN_BELOW_NBYTES, "joined below this", dashed=True)
    axes.set_xticks(PIECE_SIZES[::2], [size_name(nbytes) for nbytes in PIECE_SIZES[::2]])
    axes.set_yticks([0.5, 1, 2, 4, 8], ["½", "1", "2", "4", "8"])
    axes.set(title="writev ÷ (join and write)", xlabel="size of a piece", ylabel="times the time")
    axes.legend()
    save(figure, path)


def main() -> None:
    """Measure, print, draw."""
    options = Options.parse(__doc__, plot="join_or_gather.png")
    report = Report()
    turns, seconds, sends = (3, 0.003, 300) if options.quick else (11, 0.03, 3_000)
    curves = system_calls(report, turns=turns, seconds=seconds)
    streams(report, turns=turns, sends=sends)
    if options.plot is not None:
        draw(curves, options.plot)
    options.finish(report)


if __name__ == "__main__":
    main()
