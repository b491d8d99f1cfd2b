"""What the benchmarks of lines and frames share: a peer that sends, and who counts what came.

Each sample is a fresh process that receives from `_talk.py`, in another one, until the end.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias

import anyio
import attrs
import trio
from _loops import ASYNCIO, HAS_UVLOOP, TRIO, UVLOOP, run
from _measure import HERE, Contest, Stopwatch, Table, in_child, in_turn, shown

from trio_bytesbuf import SocketStream
from trio_bytesbuf.buffered import BufReader

Count: TypeAlias = Callable[[socket.socket], Awaitable[int]]
"""Receive until the end, loop over what came, message by message; return how many there were."""


@attrs.frozen
class Rival:
    """One way to receive messages."""

    count: Count
    loop: str = TRIO
    share: float = 1.0
    """For one that is slow: which share of the messages it gets."""


def under_uvloop(rivals: Mapping[str, Rival]) -> dict[str, Rival]:
    """Return those of asyncio once more, to run under uvloop's loop if it is installed."""
    return {
        name.replace(ASYNCIO, UVLOOP): attrs.evolve(rival, loop=UVLOOP)
        for name, rival in rivals.items()
        if HAS_UVLOOP and rival.loop == ASYNCIO
    }


@contextmanager
def talker(what: str, nbytes: int, count: int) -> Iterator[socket.socket]:
    """Give a connection to a process that sends so many messages."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        words = listener.getsockname()[1], what, nbytes, count
        command = [sys.executable, "-I", str(HERE / "_talk.py"), *map(str, words)]
        with subprocess.Popen(command) as process:
            try:
                with listener.accept()[0] as connection:
                    connection.setblocking(False)
                    yield connection
            finally:
                process.terminate()


async def timed(rival: Rival, connection: socket.socket, watch: Stopwatch) -> int:
    """Let one rival count, and time it without the start of its event loop."""
    with watch:
        return await rival.count(connection)


def sample(rival: Rival, what: str, nbytes: int, messages: int) -> dict[str, float]:
    """Receive in this process; return nanoseconds for each message, by two clocks."""
    messages = max(1, round(messages * rival.share))
    watch = Stopwatch()
    with talker(what, nbytes, messages) as connection:
        counted = run(rival.loop, timed, rival, connection, watch)
    assert counted == messages, f"{counted} of {messages} messages"
    return {"cpu": watch.cpu / messages * 1e9, "wall": watch.wall / messages * 1e9}


def contests(
    script: str, title: str, names: Mapping[str, dict[str, object]], turns: int
) -> tuple[Contest, Contest]:
    """Let each rival receive in a fresh process, in turn; return processor and wall time.

    Args:
      names: what to call each rival, and what the script's `sample` is told for it.
    """
    samples = {name: partial(in_child, script, **work) for name, work in names.items()}
    answers = in_turn(samples, turns)
    cpu, wall = (
        Contest(
            f"{title}, {words}".lstrip(", "),
            "ns",
            {name: [answer[clock] for answer in each] for name, each in answers.items()},
        )
        for clock, words in (("cpu", "CPU"), ("wall", "wall"))
    )
    return cpu, wall


def by_rival(title: str, contests: Sequence[Contest], ours: str) -> Table:
    """Show one rival in each row: its samples in each contest, and ours divided by them."""
    columns = ["ns for each message"]
    for contest in contests:
        columns += [contest.work, "min..max", f"{ours} ÷ it"]
    rows = []
    for name in dict.fromkeys(name for contest in contests for name in contest.samples):
        row = [name]
        for contest in contests:
            known = name in contest.samples
            row += (
                [
                    shown(contest.median(name)),
                    contest.spread(name),
                    f"{contest.ratio(ours, name):.2f}",
                ]
                if known
                else ["", "", ""]
            )
        rows.append(row)
    return Table(title, columns, rows)


# Streams, as each library has them


def of_trio(connection: socket.socket) -> trio.SocketStream:
    """Return trio's own stream."""
    return trio.SocketStream(trio.socket.from_stdlib_socket(connection))


def of_ours(connection: socket.socket) -> BufReader[SocketStream]:
    """Return a buffered reader over our stream."""
    return BufReader(SocketStream(trio.socket.from_stdlib_socket(connection)))


class ForAnyio(anyio.abc.ByteReceiveStream):
    """A trio stream as anyio wants it; does what anyio's own, which takes no ready socket, does."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Receive some."""
        data = await self._stream.receive_some(max_bytes)
        if not data:
            raise anyio.EndOfStream
        return bytes(data)

    async def aclose(self) -> None:
        """Close it."""
        await self._stream.aclose()
