"""Soak: ten thousand connections and a million messages, with kills; does anything grow?

    python tools/soak.py [--seconds 600] [--connections 10000] [--seed 1] [--png FILE] [--json FILE]

One process serves; two others are its clients, and are started again when they were killed. There
are four services, which a connection picks from: lines through a `BufStream`, frames that are
answered by two tasks through one shared writer, typed messages over memory with a cap, and a relay
to the typed service. A connection sends some hundred messages of 1 byte to 300,000, a few at a
time, checks that they come back as they went, and ends in one of these ways:

    goodbye       all was answered, and both sides close
    half close    it announces its end and reads the rest
    reset         SO_LINGER 0, wherever it is
    cut           it closes in the middle of a message
    cancel        its exchange is cancelled wherever it is; then it closes

The server cancels one handler in thirty at any moment of its own, and one in four rounds a client
process is killed. The connections are opened in rounds. Behind each round all have
ended, and the server *rests*: the garbage is collected, and it is looked at. What must hold:

Law 1. At each rest there are as many descriptors and as many tasks as at the first, and no block of
       a pool is lent: exactly, so the slopes of all three are 0.
Law 2. Over the second half the objects that the garbage collector knows grow by fewer than
       `MAX_OBJECTS` for each 1,000 connections: one object that each hundredth connection leaves.
Law 3. Over the second half resident memory, but for the blocks that the pools keep for the next
       lease (which have a cap, and come to it slowly: each rarer peak adds one), grows by less than
       `MAX_RESIDENT_NBYTES` for each 1,000 connections, beside `NOISE_NBYTES` in all. A connection
       that leaves its `SocketStream` leaves 1 kB, with a `TypedChannel` 3 kB; one that leaves a
       pooled block, 65 kB at least; so a sixth of the first is asked for. The noise is what Python's
       allocator maps at once, 1 MiB, twice: where it puts what lives long is chance. The slope is
       the median over all pairs of rests, so one odd rest does not count.
Law 4. Nothing came back otherwise than it went; nothing was raised but what a peer can cause; and
       every round came to its rest within `PATIENCE` seconds.

Exit code 0 if they hold. Latency is for the picture; a busy machine says little by it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import socket as stdlib_socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio
import trio.testing
from _watch import Sample, most_descriptors, percentile, sample, slope

from trio_bytesbuf import (
    BufStream,
    BytesView,
    CappedPool,
    GlobalPool,
    LengthPrefixed,
    LimitExceeded,
    ProtocolVersionMismatch,
    SocketStream,
    TypedChannel,
    UnexpectedEof,
    open_shared_writer,
    open_tcp_stream,
    relay,
    serve_tcp,
)

MAX_OBJECTS = 10
MAX_RESIDENT_NBYTES = 160_000
NOISE_NBYTES = 2 * 1_048_576
PATIENCE = 30.0
ROUNDS = 40
PROCESSES = 2
AT_A_TIME = 50
"""How many connections a client process has at a time."""

MIB = 1_048_576
SHARE_NBYTES = 2 * MIB
CAP_NBYTES = 64 * MIB
MAX_MESSAGE_NBYTES = 400_000

SERVICES = ("lines", "frames", "typed", "relay")
ENDINGS = ("goodbye", "half close", "reset", "cut", "cancel")
PERCENTS = (50, 90, 99, 99.9)
SIZES = (*[20] * 30, *[200] * 20, *[2_000] * 8, *[20_000] * 2)
"""Mostly small ones; one in two hundred has `LARGE_NBYTES`, and a few have one byte."""
LARGE_NBYTES = 300_000
MESSAGES = 300
"""A connection sends at most so many, on the average half."""

PEER_ERRORS = (
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.EndOfChannel,
    UnexpectedEof,
    LimitExceeded,
    ProtocolVersionMismatch,
    ConnectionError,
)
"""What the other side can cause by how it ends."""

FRAMING = LengthPrefixed(4)


# Serving


@attrs.define
class Server:
    """The services, and what became of their connections."""

    random: random.Random
    pool: GlobalPool = attrs.field(factory=GlobalPool)
    capped: CappedPool = attrs.field(factory=lambda: CappedPool(CAP_NBYTES))
    ports: dict[str, int] = attrs.field(factory=dict)
    connections: int = 0
    open_connections: int = 0
    messages: int = 0
    cancelled: int = 0
    all_ended: trio.Event = attrs.field(factory=trio.Event)

    async def serve(self, nursery: trio.Nursery) -> None:
        """Listen for all services."""
        for name in SERVICES:
            memory: Any = self.pool
            if name == "typed":
                memory = partial(self.capped.share, SHARE_NBYTES)
            start = partial(serve_tcp, host="127.0.0.1", memory=memory)
            handler = partial(self.handle, getattr(self, f"serve_{name}"))
            [listener] = await nursery.start(start, handler, 0)
            self.ports[name] = listener.socket.getsockname()[1]

    async def handle(
        self, service: Callable[[SocketStream], Awaitable[None]], stream: SocketStream
    ) -> None:
        """Serve one connection, for a while that may be short."""
        self.connections += 1
        self.open_connections += 1
        seconds = self.random.uniform(0, 0.2) if self.random.random() < 1 / 30 else PATIENCE
        try:
            with trio.move_on_after(seconds) as scope:
                await service(stream)
            self.cancelled += scope.cancelled_caught
        except* PEER_ERRORS:
            pass
        finally:
            await trio.aclose_forcefully(stream)
            self.open_connections -= 1
            if not self.open_connections:
                self.all_ended.set()
                self.all_ended = trio.Event()

    async def serve_lines(self, stream: SocketStream) -> None:
        """Answer each line with itself, as many as are at hand by one flush."""
        async with BufStream(stream) as buffered:
            async for batch in buffered.lines(max_bytes=MAX_MESSAGE_NBYTES).batches():
                for line in batch:
                    buffered.write_line(line)
                    await buffered.drain()
                self.messages += len(batch)
                await buffered.flush()

    async def serve_frames(self, stream: SocketStream) -> None:
        """Answer frames by two tasks that share a writer; a frame says which of them."""
        async with stream, open_shared_writer(stream, max_nbytes=2 * MIB) as writer:

            async def answer(frames: trio.MemoryReceiveChannel[BytesView]) -> None:
                async for frame in frames:
                    await writer.write_when_room(FRAMING.encode(frame))
                    self.messages += 1
                    del frame

            async with trio.open_nursery() as nursery:
                ways = []
                for _ in range(2):
                    send, receive = trio.open_memory_channel[BytesView](10)
                    ways.append(send)
                    nursery.start_soon(answer, receive)
                reader = BufStream(stream)
                try:
                    async for frame in reader.frames(FRAMING, max_bytes=MAX_MESSAGE_NBYTES):
                        await ways[frame[0] % 2].send(frame)
                        del frame
                except PEER_ERRORS:
                    nursery.cancel_scope.cancel()
                finally:
                    for send in ways:
                        send.close()

    async def serve_typed(self, stream: SocketStream) -> None:
        """Answer each message with itself."""
        async with TypedChannel(
            stream, sends=bytes, receives=bytes, max_nbytes=MAX_MESSAGE_NBYTES
        ) as channel:
            async for message in channel:
                await channel.send(message)
                self.messages += 1

    async def serve_relay(self, stream: SocketStream) -> None:
        """Join the connection with one to the typed service."""
        async with await open_tcp_stream(
            "127.0.0.1", self.ports["typed"], memory=self.pool
        ) as upstream:
            await relay(stream, upstream)


# The clients, in processes of their own


class Wrong(Exception):
    """Something came back otherwise than it went."""


@attrs.define
class Clients:
    """One process of clients."""

    random: random.Random
    ports: dict[str, int]
    messages: int = 0
    latencies: list[int] = attrs.field(factory=list)
    wrong: list[str] = attrs.field(factory=list)

    def payload(self) -> bytes:
        """Return a message that nobody else sends, without a line feed in it."""
        draw = self.random
        nbytes = LARGE_NBYTES if draw.random() < 1 / 200 else draw.choice(SIZES)
        nbytes = 1 if draw.random() < 1 / 20 else draw.randint(1, nbytes)
        return (b"%x " % draw.getrandbits(64) * (nbytes // 10 + 1))[:nbytes]

    async def round(self, count: int) -> None:
        """Open `count` connections, some at a time."""
        limiter = trio.CapacityLimiter(AT_A_TIME)
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                borrower = object()
                await limiter.acquire_on_behalf_of(borrower)
                nursery.start_soon(self.connection, limiter, borrower)

    async def connection(self, limiter: trio.CapacityLimiter, borrower: object) -> None:
        """Talk over one connection, and end it in some way."""
        name, ending = self.random.choice(SERVICES), self.random.choice(ENDINGS)
        left = self.random.randint(1, MESSAGES)
        try:
            with trio.fail_after(PATIENCE):
                stream = await open_tcp_stream("127.0.0.1", self.ports[name])
                async with opened(name, stream) as talk:
                    while left > 0:
                        batch = [self.payload() for _ in range(self.random.randint(1, 20))]
                        left -= len(batch)
                        if left <= 0 and ending != "goodbye":
                            await self.end(ending, talk, stream, batch)
                            return
                        await self.exchange(talk, batch)
        except* PEER_ERRORS:
            pass
        except* (Wrong, trio.TooSlowError) as group:
            self.wrong += [f"{name}, {ending}: {exc!r}" for exc in group.exceptions]
        finally:
            limiter.release_on_behalf_of(borrower)

    async def exchange(self, talk: Talk, batch: list[bytes]) -> None:
        """Send some messages and receive them; frames may come in another order."""
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.send, batch)
            got = [await talk.receive() for _ in batch]
        self.latencies.append(int((trio.current_time() - began) * 1e6))
        self.messages += len(batch)
        if talk.is_ordered:
            is_right = got == batch
        else:  # each task keeps the order of its own
            is_right = all(
                [one for one in got if one[0] % 2 == way]
                == [one for one in batch if one[0] % 2 == way]
                for way in (0, 1)
            )
        if not is_right:
            raise Wrong(f"{len(batch)} messages came back otherwise than they went")

    async def end(self, ending: str, talk: Talk, stream: SocketStream, batch: list[bytes]) -> None:
        """End a connection otherwise than in peace."""
        if ending == "cancel":
            with trio.move_on_after(self.random.uniform(0, 0.02)):
                await self.exchange(talk, batch)
        elif ending == "half close":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(talk.send_and_end, batch)
                with contextlib.suppress(trio.EndOfChannel):
                    while True:
                        await talk.receive()
        elif ending == "cut":
            await stream.send_all(b"\x7b" * self.random.randint(1, 9))
        else:
            with trio.move_on_after(self.random.uniform(0, 0.01)):
                await talk.send(batch)
            linger = struct.pack("ii", True, False)
            stream.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, linger)
        await trio.aclose_forcefully(stream)


@attrs.frozen
class Talk:
    """A connection as something that sends and receives messages."""

    send: Callable[[list[bytes]], Awaitable[None]]
    send_and_end: Callable[[list[bytes]], Awaitable[None]]
    receive: Callable[[], Awaitable[bytes]]
    is_ordered: bool = True


@contextlib.asynccontextmanager
async def opened(name: str, stream: SocketStream) -> AsyncIterator[Talk]:
    """Speak to the service of this name for the block."""
    if name in {"typed", "relay"}:
        async with TypedChannel(
            stream, sends=bytes, receives=bytes, max_nbytes=MAX_MESSAGE_NBYTES
        ) as channel:

            async def say_and_end(batch: list[bytes]) -> None:
                await channel.send_many(batch)
                await channel.send_eof()

            yield Talk(channel.send_many, say_and_end, channel.receive)
        return
    async with BufStream(stream, max_nbytes=16 * MIB) as buffered:
        receive: Callable[[], Awaitable[bytes]]
        if name == "lines":
            receive = buffered.lines(max_bytes=MAX_MESSAGE_NBYTES).receive
        else:
            receive = buffered.frames(FRAMING, bytes, max_bytes=MAX_MESSAGE_NBYTES).receive

        async def send(batch: list[bytes]) -> None:
            for payload in batch:
                if name == "lines":
                    buffered.write_line(payload)
                else:
                    buffered.write(FRAMING.encode(BytesView(payload)))
            await buffered.flush()

        async def send_and_end(batch: list[bytes]) -> None:
            await send(batch)
            await stream.send_eof()

        yield Talk(send, send_and_end, receive, is_ordered=name == "lines")


async def be_clients(seed: int, ports: dict[str, int]) -> None:
    """Do rounds as standard input says; after each, say what came of it."""
    clients = Clients(random.Random(seed), ports)  # noqa: S311  # no secrets
    async for line in trio.wrap_file(sys.stdin):
        await clients.round(int(line))
        said = {name: getattr(clients, name) for name in ("messages", "latencies", "wrong")}
        print(json.dumps(said), flush=True)
        clients.messages, clients.latencies, clients.wrong = 0, [], []


# The run


async def buried(process: trio.Process) -> None:
    """Kill a process, and leave nothing of it."""
    process.kill()
    await process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            await pipe.aclose()


@attrs.define
class Run:
    """A soak: rounds, rests, and what was seen."""

    seconds: float
    connections: int
    seed: int
    samples: list[tuple[Any, ...]] = attrs.field(factory=list)
    """As plain tuples, which are no objects to the garbage collector: Law 2 counts those."""
    rests: list[tuple[Any, ...]] = attrs.field(factory=list)
    latencies: list[tuple[Any, ...]] = attrs.field(factory=list)
    kills: list[float] = attrs.field(factory=list)
    wrong: list[str] = attrs.field(factory=list)
    messages: int = 0
    cancelled: int = 0

    async def run(self) -> None:
        """Serve, and have rounds of clients until there were enough, or the time is over."""
        draw = random.Random(self.seed)  # noqa: S311
        server = Server(random.Random(self.seed + 1))  # noqa: S311
        pools = (server.pool, server.capped)
        each = max(PROCESSES, self.connections // ROUNDS)
        async with trio.open_nursery() as nursery:
            await server.serve(nursery)
            began = trio.current_time()
            nursery.start_soon(self.watch, server, began)
            processes = [await self.start(server, draw.getrandbits(32)) for _ in range(PROCESSES)]
            try:
                while server.connections < self.connections and (
                    trio.current_time() - began < self.seconds or len(self.rests) < 4
                ):
                    latencies: list[int] = []
                    victim = draw.randrange(PROCESSES) if draw.random() < 1 / 4 else None
                    delay = draw.uniform(0.1, 1)
                    async with trio.open_nursery() as rounds:
                        for process in processes:
                            count = each // PROCESSES
                            rounds.start_soon(self.one_round, process, count, latencies)
                        if victim is not None:
                            await trio.sleep(delay)
                            processes[victim].send_signal(signal.SIGKILL)
                            self.kills.append(trio.current_time() - began)
                    if victim is not None:
                        await buried(processes[victim])
                        processes[victim] = await self.start(server, draw.getrandbits(32))
                    with trio.fail_after(PATIENCE):
                        while server.open_connections:
                            await server.all_ended.wait()
                    await trio.testing.wait_all_tasks_blocked(0.05)
                    self.rests.append(
                        attrs.astuple(sample(began, server.connections, pools, collects=True))
                    )
                    shown = [percentile(latencies, percent) / 1e3 for percent in PERCENTS]
                    self.latencies.append((trio.current_time() - began, *shown))
                    self.messages, self.cancelled = server.messages, server.cancelled
            finally:
                for process in processes:
                    with trio.CancelScope(shield=True):
                        await buried(process)
            nursery.cancel_scope.cancel()

    async def start(self, server: Server, seed: int) -> trio.Process:
        """Start a process of clients."""
        command = [sys.executable, __file__, "clients", str(seed), json.dumps(server.ports)]
        return await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    async def one_round(self, process: trio.Process, count: int, latencies: list[int]) -> None:
        """Have a process do a round, unless it is killed meanwhile."""
        assert process.stdin is not None
        assert process.stdout is not None
        said = b""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await process.stdin.send_all(b"%d\n" % count)
            while not said.endswith(b"\n"):
                part = await process.stdout.receive_some()
                if not part:  # it was killed
                    return
                said += part
            answer = json.loads(said)
            latencies += answer["latencies"]
            self.wrong += answer["wrong"]

    async def watch(self, server: Server, began: float) -> None:
        """Look at the server twice a second."""
        while True:
            pools = (server.pool, server.capped)
            self.samples.append(
                attrs.astuple(sample(began, server.connections, pools, collects=False))
            )
            await trio.sleep(0.5)

    # What came of it

    def verdicts(self) -> dict[str, tuple[float, float]]:
        """Return each figure of the laws, and what it may be at the most."""
        rests = [Sample(*rest) for rest in self.rests]
        first, half = rests[0], rests[len(rests) // 2 :]
        thousands = [rest.connections / 1000 for rest in half]
        span = max(thousands[-1] - thousands[0], 1e-9)
        resident = slope(thousands, [rest.resident_nbytes - rest.idle_nbytes for rest in half])
        objects = slope(thousands, [rest.objects for rest in half])
        return {
            "descriptors more at a rest": (
                max(abs(rest.descriptors - first.descriptors) for rest in rests),
                0,
            ),
            "tasks more at a rest": (
                max(abs(rest.tasks - first.tasks) for rest in rests),
                0,
            ),
            "bytes lent at a rest": (max(rest.lent_nbytes for rest in rests), 0),
            "objects for 1,000 connections": (objects, MAX_OBJECTS + 20 / span),
            "resident bytes for 1,000 connections": (
                resident,
                MAX_RESIDENT_NBYTES + NOISE_NBYTES / span,
            ),
            "messages that came back wrong": (len(self.wrong), 0),
        }

    def plot(self, path: Path) -> None:
        """Draw what was seen over time."""
        from matplotlib import pyplot as plt  # only here: the figures need no plot

        def points(
            of: list[tuple[Any, ...]], value: Callable[[Sample], float]
        ) -> tuple[list[float], list[float]]:
            seen = [Sample(*one) for one in of]
            return [one.seconds for one in seen], list(map(value, seen))

        figure, panels = plt.subplots(5, 1, figsize=(9, 12), sharex=True, layout="constrained")
        rows: list[tuple[str, Callable[[Sample], float]]] = [
            ("resident, MiB", lambda one: one.resident_nbytes / MIB),
            ("descriptors", lambda one: one.descriptors),
            ("lent, and kept (line), MiB", lambda one: one.lent_nbytes / MIB),
            ("tasks", lambda one: one.tasks),
        ]
        for panel, (name, value) in zip(panels, rows, strict=False):
            panel.plot(*points(self.samples, value), lw=0.6, color="0.6")
            panel.plot(*points(self.rests, value), "o", ms=3, color="C0")
            if "lent" in name:
                panel.plot(*points(self.rests, lambda one: one.idle_nbytes / MIB), lw=1, color="C1")
            panel.set_ylabel(name)
            panel.set_ylim(bottom=0)
        times, *columns = zip(*self.latencies, strict=True)
        for percent, column in zip(PERCENTS, columns, strict=True):
            panels[4].plot(times, column, label=f"p{percent:g}", lw=1)
        panels[4].set_yscale("log")
        panels[4].set_ylabel("an exchange, ms")
        panels[4].legend(ncols=4, fontsize=8)
        panels[4].set_xlabel("seconds")
        for panel in panels:
            for kill in self.kills:
                panel.axvline(kill, color="C3", lw=0.4)
        panels[0].set_title(
            f"{Sample(*self.rests[-1]).connections:,} connections, {self.messages:,} messages, "
            f"{self.cancelled} handlers cancelled, {len(self.kills)} clients killed (red); "
            "dots: at rest",
            fontsize=9,
        )
        figure.savefig(path, dpi=110)


def main() -> int:
    """Run, say what came of it, and return 0 if the laws hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600, help="no more rounds after so long")
    parser.add_argument("--connections", type=int, default=10_000, help="how many in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--png", type=Path, help="where to draw it (needs matplotlib)")
    parser.add_argument("--json", type=Path, help="where to write all that was seen")
    options = parser.parse_args()
    most_descriptors()
    run = Run(options.seconds, options.connections, options.seed)
    trio.run(run.run)
    last = Sample(*run.rests[-1])
    print(
        f"{last.connections:,} connections, {run.messages:,} messages, "
        f"{run.cancelled} handlers cancelled, {len(run.kills)} processes killed, "
        f"{len(run.rests)} rests in {last.seconds:.0f} s"
    )
    verdicts = run.verdicts()
    for name, (seen, most) in verdicts.items():
        print(f"  {name}: {seen:,.1f}, at most {most:,.1f}{'' if seen <= most else '  TOO MUCH'}")
    for complaint in run.wrong[:10]:
        print(" ", complaint)
    if options.json:
        options.json.write_text(
            json.dumps({**attrs.asdict(run), "verdicts": verdicts}, indent=1), encoding="utf-8"
        )
    if options.png:
        run.plot(options.png)
    return int(any(seen > most for seen, most in verdicts.values()))


if __name__ == "__main__":
    if sys.argv[1:2] == ["clients"]:
        os.setpgid(0, 0)  # Ctrl-C is for the server, which kills these
        trio.run(be_clients, int(sys.argv[2]), json.loads(sys.argv[3]))
    else:
        sys.exit(main())
