"""Soak: ten thousand connections and a million messages, with kills; does anything grow?

    python tools/soak.py [--seconds 600] [--connections 10000] [--seed 1] [--png FILE] [--json FILE]

One process serves; two others are its clients, and are started again when they were killed. There
are five services, which a connection picks from: lines through a `BufStream`, frames that are
answered by two tasks through one shared writer, typed messages over memory with a cap, a relay
to the typed service, and lines that are compressed over TLS. A connection sends some hundred
messages of 1 byte to 300,000, a few at a time, checks that they come back as they went, and ends
in one of these ways:

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
Law 2. Over the second half the objects that the garbage collector knows (but for tuples and cancel
       scopes, of which trio keeps some hundreds that are over) grow by fewer than `MAX_OBJECTS` for
       each 1,000 connections, one that each hundredth leaves, beside `NOISE_OBJECTS` in all.
Law 3. Over the second half resident memory, but for the blocks that the pools keep for the next
       lease (which have a cap, and come to it slowly: each rarer peak adds one), grows by less than
       `MAX_RESIDENT_NBYTES` for each 1,000 connections, beside `NOISE_NBYTES` in all. A connection
       that leaves its `SocketStream` leaves 1 kB, with a `TypedChannel` 3 kB; one that leaves a
       pooled block, 65 kB at least; so a sixth of the first is allowed. The noise is what Python's
       allocator maps at once, 1 MiB, twice: where it puts what lives long is chance. The slope is
       the median over all pairs of rests, so one odd rest does not count.
Law 4. Nothing came back otherwise than it went, and something from each service; nothing was raised
       but what a peer can cause; and every round came to its rest within `PATIENCE` seconds.

Exit code 0 if they hold. Latency is for the picture; a busy machine says little by it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import trio
import trio.testing
from _soak_clients import be_clients
from _soak_server import MIB, PATIENCE, SERVICES, Server, make_certificate
from _watch import Sample, most_descriptors, percentile, sample, slope

MAX_OBJECTS, NOISE_OBJECTS = 10, 20
MAX_RESIDENT_NBYTES = 160_000
NOISE_NBYTES = 2 * 1_048_576
ROUNDS = 40
PROCESSES = 2
PERCENTS = (50, 90, 99, 99.9)


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
    certificate: Path
    """With its key in the same file."""
    samples: list[tuple[Any, ...]] = attrs.field(factory=list)
    """As plain tuples, which are no objects to the garbage collector: Law 2 counts those."""
    rests: list[tuple[Any, ...]] = attrs.field(factory=list)
    latencies: list[tuple[Any, ...]] = attrs.field(factory=list)
    kills: list[float] = attrs.field(factory=list)
    wrong: list[str] = attrs.field(factory=list)
    right: Counter[str] = attrs.field(factory=Counter)
    messages: int = 0
    cancelled: int = 0

    async def run(self) -> None:
        """Serve, and have rounds of clients until there were enough, or the time is over."""
        draw = random.Random(self.seed)  # noqa: S311
        server = Server(random.Random(self.seed + 1), self.certificate)  # noqa: S311
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
        command.append(str(self.certificate))
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
            self.right.update(answer["right"])
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
            "objects for 1,000 connections": (objects, MAX_OBJECTS + NOISE_OBJECTS / span),
            "resident bytes for 1,000 connections": (
                resident,
                MAX_RESIDENT_NBYTES + NOISE_NBYTES / span,
            ),
            "messages that came back wrong": (len(self.wrong), 0),
            "services of which none came back": (len({*SERVICES} - {*self.right}), 0),
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
    with tempfile.TemporaryDirectory() as folder:
        certificate = make_certificate(Path(folder))
        run = Run(options.seconds, options.connections, options.seed, certificate)
        trio.run(run.run)
    last = Sample(*run.rests[-1])
    print(
        f"{last.connections:,} connections, {run.messages:,} messages, "
        f"{run.cancelled} handlers cancelled, {len(run.kills)} processes killed, "
        f"{len(run.rests)} rests in {last.seconds:.0f} s"
    )
    print("right:", ", ".join(f"{count:,} {name}" for name, count in run.right.items()))
    verdicts = run.verdicts()
    for name, (seen, most) in verdicts.items():
        print(f"  {name}: {seen:,.1f}, at most {most:,.1f}{'' if seen <= most else '  TOO MUCH'}")
    for complaint in run.wrong[:10]:
        print(" ", complaint)
    if options.json:
        everything = {**attrs.asdict(run), "verdicts": verdicts}
        options.json.write_text(json.dumps(everything, indent=1, default=str), encoding="utf-8")
    if options.png:
        run.plot(options.png)
    return int(any(seen > most for seen, most in verdicts.values()))


if __name__ == "__main__":
    if sys.argv[1:2] == ["clients"]:
        os.setpgid(0, 0)  # Ctrl-C is for the server, which kills these
        trio.run(be_clients, int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4])
    else:
        sys.exit(main())
