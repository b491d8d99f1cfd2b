"""How cost grows: with the pieces of a view, with connections, with the size of messages.

    python bench/growth.py [--quick] [--json FILE] [--plot FILE.png]

Everything is given for each piece, each connection, each byte, so what grows as its task does is
flat, and what falls has a cost that is the same for a large one and a small one:

    pieces        1 to 10,000 pieces of 16 bytes: a view sliced, searched in vain, iterated by its
                  pieces, copied, joined of as many views, hashed; and a view of pieces of 1 KiB,
                  which are not joined, sent by `writev` and received
    connections   1 to 10,000: memory of those that wait (`idle_connections`), and processor time
                  of a round in which each sends 64 bytes and receives as many (`latency`)
    message size  1 B to 64 MiB over loopback TCP: `BufReader.read_exactly`, frames as `BytesView`,
                  `BufWriter.write` and `flush`; the peer is a process of its own

Beside them, in grey, the same work without this library: memoryviews sliced one by one, plain
trio's connections, trio's `recv_into` a new bytearray. What fits into a cache is cheaper than what
does not, for everybody.

How to read it: of all turns the quickest, because what else the machine does makes none quicker.
An exponent is the slope of the whole cost where both axes are logarithmic: 0 is a cost that does
not grow, 1 is linear, 2 is quadratic. It is given for the upper sizes, from 100 pieces, 100
connections and 64 KiB to the most; below, most is what any call costs. A remark tells of the
steepest step from one size to the next.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import attrs
import idle_connections
import latency
import trio
from _measure import (
    Contest,
    Options,
    Report,
    Stopwatch,
    Table,
    in_child,
    in_turn,
    nanoseconds,
    peer,
    save,
    shown,
    size_name,
)
from _messages import of_ours, talker

from trio_bytesbuf import BytesView, SocketStream
from trio_bytesbuf.buffered import BufWriter, LengthPrefixed

PIECES = (1, 10, 100, 1_000, 10_000)
CONNECTIONS = (1, 10, 100, 1_000, 10_000)
NBYTES = (1, 16, 256, 4 << 10, 64 << 10, 1 << 20, 8 << 20, 64 << 20)
UPPER = {"pieces": 100, "connections": 100, "message size": 64 << 10}
"""From where on a step must not be steeper than linear."""

MOST_EXPONENT = 1.1
"""What still counts as linear: a machine with caches and other work leaves no 1.00. Where the same
work without this library grows faster than that, as much as it does."""

PIECE_NBYTES = 16
SENT_PIECE_NBYTES = 1 << 10
ROUND, MEMORY = "a round", "idle memory"
PAGE_NBYTES = os.sysconf("SC_PAGE_SIZE")
"""The least memory that can be told of; one connection may take less."""

THEIRS = "plain: "
"""What the names begin with of what is done without this library."""

REQUESTS = 10_000
MOST_MESSAGES = 100_000
MOST_NBYTES = 256 << 20
"""Of each size of message so many pass, or as many as have so many bytes."""

Curve: TypeAlias = dict[int, list[float]]
"""What each size has cost as a whole, turn by turn."""


# Pieces


def statements() -> dict[str, str]:
    """Return what is done to a view, by name."""
    return {
        "slice": "view[1:-1]",
        "find": "view.find(b'nowhere')",
        "iterate pieces": "for piece in view.pieces: pass",
        "to_bytes": "view.to_bytes()",
        "join": "from_views(views)",
        "hash": "hash(from_views(views))",
        f"{THEIRS}slices": "for piece in [memory[:] for memory in memories]: pass",
    }


def nanoseconds_sent(count: int, messages: int) -> float:
    """Send a view of so many pieces, which another task receives; return the time of one."""

    async def main() -> float:
        ours, theirs = trio.socket.socketpair()
        room = bytearray(1 << 20)

        async def drain() -> None:
            while await theirs.recv_into(room):
                pass

        piece = BytesView(bytes(SENT_PIECE_NBYTES))
        view = BytesView.from_views([piece] * count)
        watch = Stopwatch()
        async with trio.open_nursery() as nursery, SocketStream(ours) as stream:
            nursery.start_soon(drain)
            await stream.write_view(view)
            with watch:
                for _ in range(messages):
                    await stream.write_view(view)
        theirs.close()
        return watch.cpu / messages * 1e9

    return trio.run(main)


def of_pieces(counts: Sequence[int], turns: int, seconds: float) -> dict[str, Curve]:
    """Measure what is done to views of so many pieces."""
    samples: dict[str, Callable[[], float]] = {}
    for count in counts:
        views = [BytesView(bytes([at % 251]) * PIECE_NBYTES) for at in range(count)]
        names = {
            "view": BytesView.from_views(views),
            "views": views,
            "from_views": BytesView.from_views,
            "memories": [view.first_piece for view in views],
        }
        for name, statement in statements().items():
            samples[f"{name} {count}"] = nanoseconds(statement, names, seconds=seconds)
        messages = max(3, round(seconds * 1e6 / 2 / count))
        samples[f"send {count}"] = partial(nanoseconds_sent, count, messages)
    took = in_turn(samples, turns)
    ours = [name for name in statements() if not name.startswith(THEIRS)]
    names_in_order = [*ours, "send", *(name for name in statements() if name not in ours)]
    return {name: {count: took[f"{name} {count}"] for count in counts} for name in names_in_order}


# Connections


def of_connections(counts: Sequence[int], turns: int, requests: int) -> dict[str, Curve]:
    """Measure what so many connections cost, in a fresh process for each sample."""
    kinds = (ROUND, MEMORY, THEIRS + ROUND, THEIRS + MEMORY)
    samples = {
        f"{what} {count}": partial(
            in_child, __file__, what=what, count=count, requests=max(requests, 2 * count)
        )
        for count in counts
        for what in kinds
    }
    took = in_turn(samples, turns)
    return {
        what: {count: [each["cost"] for each in took[f"{what} {count}"]] for count in counts}
        for what in kinds
    }


def of_so_many(what: str, count: int, requests: int) -> float:
    """Return nanoseconds of a round over all connections, or bytes of all that wait."""
    idle_connections.most_connections()  # which raises the limit of descriptors
    is_ours = not what.startswith(THEIRS)
    if what.endswith(MEMORY):
        kind = "ours" if is_ours else "trio"
        return max(PAGE_NBYTES, idle_connections.sample(kind, count)["resident"] * count)
    rival = latency.RIVALS[latency.VIEWS if is_ours else "trio"]
    times = max(1, requests // count)
    done = latency.talked(rival, count, times, latency.REQUEST_NBYTES)
    return done.watch.cpu / times * 1e9


# Sizes of messages


async def read_all(connection: socket.socket, nbytes: int, messages: int) -> Stopwatch:
    """Read messages whose size is known."""
    watch = Stopwatch()
    async with of_ours(connection) as reader:
        with watch:
            for _ in range(messages):
                await reader.read_exactly(nbytes)
    return watch


async def fill_all(connection: socket.socket, nbytes: int, messages: int) -> Stopwatch:
    """Receive messages whose size is known, in plain trio, each into new memory."""
    watch = Stopwatch()
    theirs = trio.socket.from_stdlib_socket(connection)
    with watch:
        for _ in range(messages):
            room = memoryview(bytearray(nbytes))
            while room:
                room = room[await theirs.recv_into(room) :]
    return watch


async def receive_all(connection: socket.socket, nbytes: int, messages: int) -> Stopwatch:
    """Receive frames one by one."""
    watch = Stopwatch()
    async with of_ours(connection) as reader:
        frames = reader.frames(LengthPrefixed(4), max_bytes=nbytes)
        with watch:
            for _ in range(messages):
                await frames.receive()
    return watch


async def write_all(connection: socket.socket, nbytes: int, messages: int) -> Stopwatch:
    """Write messages, and flush each."""
    watch = Stopwatch()
    message = bytes(nbytes)
    stream = SocketStream(trio.socket.from_stdlib_socket(connection))
    async with BufWriter(stream, max_nbytes=max(nbytes, 1 << 20)) as writer:
        with watch:
            for _ in range(messages):
                writer.write(message)
                await writer.flush()
    return watch


FILL = f"{THEIRS}recv_into"
WAYS = {
    "read_exactly": read_all,
    "frames": receive_all,
    "write and flush": write_all,
    FILL: fill_all,
}


def of_size(way: str, nbytes: int, most_messages: int, most_nbytes: int) -> float:
    """Return what one message of this size costs, in nanoseconds."""
    messages = max(3, min(most_messages, most_nbytes // nbytes))
    pass_on = WAYS[way]
    if way == "frames":
        with talker("frames", nbytes, messages) as connection:
            watch = trio.run(pass_on, connection, nbytes, messages)
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            words = ("drain", port) if pass_on is write_all else ("send", port, nbytes * messages)
            with peer(*words), listener.accept()[0] as connection:
                connection.setblocking(False)
                watch = trio.run(pass_on, connection, nbytes, messages)
    return watch.cpu / messages * 1e9


def of_sizes(
    sizes: Sequence[int], turns: int, most_messages: int, most_nbytes: int
) -> dict[str, Curve]:
    """Measure messages of these sizes, one way in a fresh process."""
    work = {"sizes": sizes, "most_messages": most_messages, "most_nbytes": most_nbytes}
    took = in_turn({way: partial(in_child, __file__, what=way, **work) for way in WAYS}, turns)
    return {
        way: {nbytes: [each[str(nbytes)] for each in took[way]] for nbytes in sizes} for way in WAYS
    }


def sample(what: str, **work: int | Sequence[int]) -> dict[str, float]:
    """Do the part of it that wants a process of its own."""
    if what in WAYS:
        sizes = work.pop("sizes")
        assert isinstance(sizes, Sequence)
        return {str(nbytes): of_size(what, nbytes, **work) for nbytes in sizes}  # type: ignore[arg-type]  # numbers
    return {"cost": of_so_many(what, **work)}  # type: ignore[arg-type]  # numbers


# What is said


@attrs.frozen
class Panel:
    """One thing that there may be more or less of."""

    name: str
    unit: str
    each: str
    """What the cost is given for: each piece, each connection, each byte."""

    curves: Mapping[str, Curve]

    def cost(self, name: str, size: int) -> float:
        """Return the least cost of one size as a whole."""
        return min(self.curves[name][size])

    def exponent(self, name: str, size: int, larger: int) -> float:
        """Return how the whole cost grows from one size to another."""
        return math.log(self.cost(name, larger) / self.cost(name, size), larger / size)

    def upper(self, name: str) -> list[int]:
        """Return the sizes that must be linear; all, where they are not more (a smoke test)."""
        sizes = list(self.curves[name])
        upper = [size for size in sizes if size >= UPPER[self.name]]
        return upper if len(upper) > 1 else sizes

    def growth(self, name: str) -> float:
        """Return the exponent of the upper sizes."""
        sizes = self.upper(name)
        return self.exponent(name, sizes[0], sizes[-1])

    def steepest(self, name: str) -> str:
        """Say which step from one of the upper sizes to the next is the steepest, and how steep."""
        steps = pairwise(self.upper(name))
        exponent, size, larger = max((self.exponent(name, *step), *step) for step in steps)
        return f"{exponent:.2f} from {self.size(size)} to {self.size(larger)}"

    def size(self, size: int) -> str:
        """Return what to call a size."""
        return size_name(size) if self.each == "byte" else f"{size:,}"

    def tell(self, report: Report) -> None:
        """Print the table, and what became of the promise."""
        sizes = list(next(iter(self.curves.values())))
        contests = [
            Contest(f"{self.size(size)}, {self.name}", self.unit, samples)
            for size in sizes
            if (samples := {name: curve[size] for name, curve in self.curves.items()})
        ]
        rows = [
            [self.size(size), *(shown(self.cost(name, size) / size) for name in self.curves)]
            for size in sizes
        ]
        rows.append(["exponent", *(f"{self.growth(name):.2f}" for name in self.curves)])
        columns = [f"{self.unit} for each {self.each}", *self.curves]
        report.add(Table(f"How cost grows with {self.name}", columns, rows), contests)
        ours = [name for name in self.curves if not name.startswith(THEIRS)]
        theirs = [name for name in self.curves if name not in ours]
        worst = max(ours, key=self.growth)
        words = f"the largest exponent with {self.name} ({worst})"
        at_most = max(MOST_EXPONENT, *map(self.growth, theirs))
        report.promised(words, at_most, self.growth(worst))
        for name in (worst, *theirs):
            report.remark(f"{name}: the steepest step is {self.steepest(name)}")


LEAST_HEIGHT = 1e4
"""How many times the lowest cost of a panel its highest one is, at least."""

COLOURS = ("#1f6fb2", "#d1691e", "#2b8a57", "#b03a6f", "#7a5bb5", "#8a7a1c", "#4f5b66")
MARKERS = "os^Dvx*P"


def draw(panels: Sequence[Panel], path: Path) -> None:
    """Plot the cost of each piece, connection and byte."""
    from matplotlib import pyplot as plt  # only here: the figures need no plot

    figure, all_axes = plt.subplots(1, len(panels), figsize=(14, 4.8), layout="constrained")
    for axes, panel in zip(all_axes, panels, strict=True):
        for number, name in enumerate(panel.curves):
            sizes = list(panel.curves[name])
            costs = [panel.cost(name, size) / size for size in sizes]
            is_ours = not name.startswith(THEIRS)
            axes.plot(
                sizes,
                costs,
                linestyle="-" if is_ours else "--",
                marker=MARKERS[number],
                color=COLOURS[number] if is_ours else "0.6",
                markersize=5,
                linewidth=1.5,
                label=f"{name} ({panel.growth(name):.2f})",
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        if panel.each == "byte":
            axes.set_xticks(sizes, [panel.size(size).replace(" ", "\n") for size in sizes])
        else:
            axes.set_xticks(sizes, [panel.size(size) for size in sizes])
        low, high = axes.get_ylim()
        middle = math.sqrt(low * high)
        if high < low * LEAST_HEIGHT:  # or little would look like much
            root = math.sqrt(LEAST_HEIGHT)
            axes.set_ylim(middle / root, middle * root)
        axes.minorticks_off()
        axes.grid(color="0.9", linewidth=0.6)
        axes.axvspan(max(UPPER[panel.name], sizes[0]), sizes[-1], color="0.96", zorder=0)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.set_title(f"{panel.name}: {panel.unit} for each {panel.each}", loc="left", fontsize=10)
        place = "lower left" if panel.each == "byte" else "upper right"
        axes.legend(title="name (exponent)", loc=place, fontsize=8, title_fontsize=8, frameon=False)
    figure.suptitle(
        "How cost grows: flat is linear, falling is better; rising would be worse than linear. "
        "Exponents are of the shaded part.",
        fontsize=10,
        x=0.01,
        ha="left",
    )
    save(figure, path)


def main() -> None:
    """Measure, print, draw."""
    options = Options.parse(__doc__, plot="growth.png")
    options.answer(sample)
    report = Report()
    most = idle_connections.most_connections()
    if options.quick:
        pieces = of_pieces(PIECES[::2], 1, 0.002)
        connections = of_connections((10, 100), 1, 200)
        sizes = of_sizes(NBYTES[::2], 1, 1_000, 16 << 20)
    else:
        pieces = of_pieces(PIECES, 11, 0.03)
        counts = [min(count, most) for count in CONNECTIONS]
        connections = of_connections(counts, 3, REQUESTS)
        sizes = of_sizes(NBYTES, 5, MOST_MESSAGES, MOST_NBYTES)
    panels = [
        Panel("pieces", "ns", "piece", pieces),
        Panel("connections", "ns, or bytes of memory,", "connection", connections),
        Panel("message size", "ns", "byte", sizes),
    ]
    for panel in panels:
        panel.tell(report)
    if options.plot is not None:
        draw(panels, options.plot)
    options.finish(report)


if __name__ == "__main__":
    main()
