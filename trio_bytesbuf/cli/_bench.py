"""`bench`: what four everyday tasks cost on this machine, here and in plain trio.

A peer in a process of its own sends over loopback TCP; each sample is one connection, received to
its end by `trio.run`. Both ways see the same bytes, and take turns, so that a machine which slows
down slows both.

Law 1. What is compared is the processor time of receiving: the peer's is not in it, nor is waiting.
Law 2. The plain way is what a good programmer writes by hand with nothing but trio and the
       standard library; and both ways must count as much, or the benchmark fails.
"""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs
import trio

from ..buffered import BufReader, LengthPrefixed
from ..io import SocketStream
from ..wire import MessageEncoder, TypedReceiveChannel, u64
from ..wire._format import END, HEADER_NBYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Way: TypeAlias = Callable[[trio.SocketStream], Awaitable[int]]

PEER: Final = Path(__file__).with_name("_bench_peer.py")

CHUNK_NBYTES: Final = 262_144
LINE_NBYTES: Final = 80
FRAME_NBYTES: Final = 100
ITEMS_IN_BODY: Final = 1_000

BUSY_SHARE: Final = 0.5
"""Of the cores: if more of them have other work, that is said. A guess."""

TWO_BYTES_FOLLOW: Final = 251
"""What bincode writes in front of a number that has two bytes."""


class BenchFailed(Exception):
    """Nothing could be measured; the text says why."""


@attrs.frozen
class Order:
    """What the typed messages of the benchmark are."""

    number: u64
    item: str
    note: bytes


@attrs.frozen
class Sent:
    """What the peer sends: a beginning, a body many times, an end."""

    beginning: bytes
    body: bytes
    times: int
    end: bytes

    def ask(self, connection: socket.socket) -> None:
        """Tell the peer to send it."""
        parts = self.beginning, self.body, self.end
        numbers = (*map(len, parts), self.times)
        connection.sendall(" ".join(map(str, numbers)).encode() + b"\n" + b"".join(parts))


@attrs.frozen
class Task:
    """One thing to do, and the two ways to do it; each returns how many it counted."""

    name: str
    unit: str
    sent: Sent
    count: int
    """How many there are to be counted: bytes, lines, frames, messages."""

    scale: float
    """Makes the unit of seconds for each."""

    here: Way
    plain: Way


@attrs.frozen
class Result:
    """What both ways took, turn by turn, in the task's unit."""

    task: Task
    here: list[float]
    plain: list[float]

    @property
    def ratios(self) -> list[float]:
        """How many times as much it took here, in each turn."""
        return [ours / theirs for ours, theirs in zip(self.here, self.plain, strict=True)]

    def row(self) -> str:
        """Return the line of the table."""
        ratios = self.ratios
        spread = f"{min(ratios):.2f}..{max(ratios):.2f}"
        here, plain = statistics.median(self.here), statistics.median(self.plain)
        what = f"{self.task.name}, {self.task.unit}"
        return f"{what:<40} {here:>7.3f} {plain:>11.3f} {statistics.median(ratios):>7.2f}  {spread}"

    def facts(self) -> dict[str, object]:
        """Return the same for a program."""
        return {
            "task": self.task.name,
            "unit": self.task.unit,
            "here": statistics.median(self.here),
            "plain_trio": statistics.median(self.plain),
            "ratio": statistics.median(self.ratios),
            "here_samples": self.here,
            "plain_trio_samples": self.plain,
        }


HEAD: Final = f"{'CPU time, less is better':<40} {'here':>7} {'plain trio':>11} {'ratio':>7}"


# In bulk


async def views_here(stream: trio.SocketStream) -> int:
    """Count bytes that come as views."""
    count = 0
    async for view in SocketStream(stream).views():
        count += len(view)
        del view  # its block is free for the next receive
    return count


async def bytes_plain(stream: trio.SocketStream) -> int:
    """Count bytes that come as trio gives them."""
    count = 0
    while data := await stream.receive_some():
        count += len(data)
        del data
    return count


# Lines


async def lines_here(stream: trio.SocketStream) -> int:
    """Count lines in batches."""
    count = 0
    async for batch in BufReader(SocketStream(stream)).lines().batches():
        for _line in batch:
            count += 1
    return count


async def lines_plain(stream: trio.SocketStream) -> int:
    """Count lines, split by hand."""
    count = 0
    rest = b""
    while data := await stream.receive_some():
        lines = (rest + data).split(b"\n")
        rest = lines.pop()
        for _line in lines:
            count += 1
    return count


# Frames


async def frames_here(stream: trio.SocketStream) -> int:
    """Count frames in batches."""
    count = 0
    frames = BufReader(SocketStream(stream)).frames(LengthPrefixed(4), bytes)
    async for batch in frames.batches():
        for _frame in batch:
            count += 1
    return count


async def frames_plain(stream: trio.SocketStream) -> int:
    """Count frames, sliced by hand."""
    count = 0
    length = struct.Struct(">I").unpack_from
    rest = b""
    while data := await stream.receive_some():
        data = rest + data
        at, stop = 0, len(data)
        while (start := at + 4) <= stop:
            end = start + length(data, at)[0]
            if end > stop:
                break
            _frame = data[start:end]
            at = end
            count += 1
        rest = data[at:]
    return count


# Typed messages


async def orders_here(stream: trio.SocketStream) -> int:
    """Count messages in batches."""
    count = 0
    channel = TypedReceiveChannel(SocketStream(stream), Order, checks_checksums=False)  # none come
    async for batch in channel.batches():
        for _order in batch:
            count += 1
    return count


async def orders_plain(stream: trio.SocketStream) -> int:
    """Count messages, taken apart by hand by somebody who knows that all lengths are one byte."""
    count = 0
    two_bytes = struct.Struct("<H").unpack_from
    rest = b""
    while len(rest) < HEADER_NBYTES:
        rest += await stream.receive_some()
    rest = rest[HEADER_NBYTES:]
    while data := await stream.receive_some():
        data = rest + data
        at, stop = 0, len(data)
        while at < stop:
            nbytes = data[at]
            end = at + 1 + nbytes
            if end > stop or nbytes == END:
                break
            number = data[at + 1]
            at += 2
            if number == TWO_BYTES_FOLLOW:
                (number,) = two_bytes(data, at)
                at += 2
            item_end = at + 1 + data[at]
            item = data[at + 1 : item_end].decode()
            _order = Order(number, item, data[item_end + 1 : end])
            at = end
            count += 1
        rest = data[at:]
    return count


def tasks() -> Iterator[Task]:
    """Yield what is measured."""
    times = 1_000
    yield Task(
        "in bulk", "s/GB", Sent(b"", bytes(CHUNK_NBYTES), times, b""),
        CHUNK_NBYTES * times, 1e9, views_here, bytes_plain,
    )  # fmt: skip
    line = b"x" * (LINE_NBYTES - 1) + b"\n"
    frame = FRAME_NBYTES.to_bytes(4, "big") + bytes(FRAME_NBYTES)
    times = 300
    for name, item, here, plain in (
        (f"lines of {LINE_NBYTES} bytes", line, lines_here, lines_plain),
        (f"frames of 4 + {FRAME_NBYTES} bytes", frame, frames_here, frames_plain),
    ):
        sent = Sent(b"", item * ITEMS_IN_BODY, times, b"")
        yield Task(name, "µs each", sent, ITEMS_IN_BODY * times, 1e6, here, plain)
    encoder = MessageEncoder(Order, sends_checksums=False)
    orders = (Order(at, f"item {at}", bytes(FRAME_NBYTES)) for at in range(ITEMS_IN_BODY))
    times = 100
    sent = Sent(encoder.encode_header(), encoder.encode_many(orders), times, encoder.encode_end())
    yield Task(
        "typed messages, bincode", "µs each", sent, ITEMS_IN_BODY * times, 1e6,
        orders_here, orders_plain,
    )  # fmt: skip


@contextlib.contextmanager
def peer() -> Iterator[int]:
    """Run the peer; yields its port.

    Raises:
      BenchFailed: it does not come up.
    """
    command = [sys.executable, "-I", "-S", str(PEER)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise BenchFailed("the process that sends has not started")
            yield int(line)
        finally:
            process.kill()


def sample(task: Task, way: Way, port: int) -> float:
    """Let one way do the task once; return what it took, in the task's unit."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        task.sent.ask(connection)

        async def receive() -> int:
            return await way(trio.SocketStream(trio.socket.from_stdlib_socket(connection)))

        start = time.process_time()
        count = trio.run(receive)
        took = time.process_time() - start
    if count != task.count:
        raise BenchFailed(f"{task.name}: {count:,} came, and {task.count:,} were sent")
    return took / count * task.scale


def measure(turns: int) -> Iterator[Result]:
    """Yield what each task took, as soon as it is known.

    Raises:
      BenchFailed: something is wrong with the peer, or with the numbers.
    """
    try:
        with peer() as port:
            for task in tasks():
                ways = task.here, task.plain
                for way in ways:  # whatever happens only once: pools, caches
                    sample(task, way, port)
                here, plain = zip(
                    *([sample(task, way, port) for way in ways] for _ in range(turns)), strict=True
                )
                yield Result(task, list(here), list(plain))
    except OSError as exc:
        raise BenchFailed(str(exc)) from exc


@attrs.frozen
class Machine:
    """What the figures depend on besides the code."""

    python: str = attrs.field(factory=platform.python_version)
    trio: str = trio.__version__
    system: str = attrs.field(factory=lambda: f"{platform.system()} {platform.release()}")
    cores: int = attrs.field(factory=lambda: os.cpu_count() or 1)
    load: float = attrs.field(factory=lambda: round(os.getloadavg()[0], 2))
    """How many tasks have run, or waited for a core, before: over the last minute."""

    @property
    def is_busy(self) -> bool:
        """Whether it has other work to do."""
        return self.load > BUSY_SHARE * self.cores
