"""Load and fairness: a thousand connections, of which some never read. What do the others feel?

    python tools/load.py [--connections 1000] [--bad 100] [--seconds 20] [--png FILE] [--json FILE]

One process serves typed messages over a pool with a cap, of which each connection has a share; a
second has the good clients, each of which sends a message of 1,000 bytes and receives it, again
and again; a third has the bad ones, which send messages of 10,000 bytes as fast as they are let,
and read nothing. The good ones run by themselves first, and then with the bad ones beside them.

Law 1. The bad ones are held up: the kernel takes no more from them. They cost the server no more
       than a share of the pool and what it has to send.
Law 2. The good ones have at least `1 / FACTOR` of the exchanges that they had alone, each of them
       at least a `FACTOR`th of the median, and half of their exchanges take at most `FACTOR` times
       as long; each costs the server at most `CPU_FACTOR` times as much processor time. (Machines
       are noisy, clocks more than that; the test that counts is `tests/test_fairness.py`.)
Law 3. Resident memory stays below connections times `PER_CONNECTION_NBYTES`.

Exit code 0 if they hold.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio
from _watch import most_descriptors, percentile, resident_nbytes

from trio_bytesbuf import (
    BytesView,
    CappedPool,
    MessageEncoder,
    SocketStream,
    TypedChannel,
    open_tcp_stream,
    serve_tcp,
)

FACTOR, CPU_FACTOR = 2.0, 1.3
SHARE_NBYTES = 131_072
PER_CONNECTION_NBYTES = 300_000
"""Its share, what it has to send, a message at either station, and 60,000 bytes of objects."""
GOOD_NBYTES, BAD_NBYTES = 1_000, 10_000
PERCENTS = (50, 90, 99)


# The clients, in processes of their own


async def be_good(port: int, count: int, seconds: float) -> None:
    """Exchange messages over `count` connections; print how many, and how long each took."""
    counts = [0] * count
    latencies: list[int] = []

    async def talk(at: int, stream: SocketStream, ends: float) -> None:
        message = bytes((at % 256,)) * GOOD_NBYTES
        async with TypedChannel(stream, sends=bytes, receives=bytes) as channel:
            while (began := trio.current_time()) < ends:
                await channel.send(message)
                if await channel.receive() != message:
                    raise AssertionError("a message came back otherwise than it went")
                latencies.append(int((trio.current_time() - began) * 1e6))
                counts[at] += 1

    streams = [await open_tcp_stream("127.0.0.1", port) for _ in range(count)]
    ends = trio.current_time() + seconds
    async with trio.open_nursery() as nursery:
        for at, stream in enumerate(streams):
            nursery.start_soon(talk, at, stream, ends)
    print(json.dumps({"counts": counts, "latencies": latencies}), flush=True)


async def be_bad(port: int, count: int) -> None:
    """Send over `count` connections and read nothing; print what was taken, every half second."""
    encoder: MessageEncoder[bytes] = MessageEncoder(bytes)
    front = BytesView(encoder.encode_header())
    message = BytesView(encoder.encode(bytes(BAD_NBYTES)))
    streams = [await open_tcp_stream("127.0.0.1", port) for _ in range(count)]

    async def send(stream: SocketStream) -> None:
        await stream.write_view(front)
        while True:
            await stream.write_view(message)

    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(send, stream)
        while True:
            await trio.sleep(0.5)
            print(sum(stream.statistics().sent_nbytes for stream in streams), flush=True)


# The run


@attrs.define
class Phase:
    """What was seen with so many bad connections."""

    bad: int
    counts: list[int] = attrs.field(factory=list)
    latencies: list[int] = attrs.field(factory=list)
    resident_nbytes: int = 0
    peak_lent_nbytes: int = 0
    cpu_seconds: float = 0
    """Of this process, while the good clients ran."""
    taken_nbytes: list[int] = attrs.field(factory=list)
    """Of the bad clients in all, each half second."""


async def serve(stream: SocketStream) -> None:
    """Answer each message with itself."""
    with contextlib.suppress(trio.BrokenResourceError):
        async with TypedChannel(stream, sends=bytes, receives=bytes) as channel:
            async for message in channel:
                await channel.send(message)


@contextlib.asynccontextmanager
async def child(*words: object) -> AsyncIterator[Any]:
    """Run this program as clients for the block; yields its standard output."""
    command = [sys.executable, __file__, *map(str, words)]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()


async def run(good: int, bad: int, seconds: float) -> Phase:
    """Serve good and bad clients for so long."""
    phase = Phase(bad)
    before = resident_nbytes()
    pool = CappedPool((good + bad) * SHARE_NBYTES)
    async with trio.open_nursery() as nursery:
        share = partial(pool.share, SHARE_NBYTES)
        start = partial(serve_tcp, host="127.0.0.1", memory=share)
        [listener] = await nursery.start(start, serve, 0)
        port = listener.socket.getsockname()[1]

        async def watch() -> None:
            while True:
                grown = resident_nbytes() - before
                phase.resident_nbytes = max(phase.resident_nbytes, grown)
                await trio.sleep(0.1)

        async def hear(output: Any) -> None:
            text = b""
            async for part in output:
                *lines, text = (text + part).split(b"\n")
                phase.taken_nbytes += map(int, lines)

        nursery.start_soon(watch)
        async with contextlib.AsyncExitStack() as stack:
            if bad:
                output = await stack.enter_async_context(child("bad", port, bad))
                hearing = await stack.enter_async_context(trio.open_nursery())
                hearing.start_soon(hear, output)
                await trio.sleep(3)  # until they are held up
            cpu = time.process_time()
            async with child("good", port, good, seconds) as output:
                answer = json.loads(b"".join([part async for part in output]))
            phase.cpu_seconds = time.process_time() - cpu
            if bad:
                hearing.cancel_scope.cancel()
        phase.peak_lent_nbytes = pool.statistics().peak_nbytes
        phase.counts, phase.latencies = answer["counts"], answer["latencies"]
        nursery.cancel_scope.cancel()
    return phase


def verdicts(alone: Phase, beset: Phase) -> dict[str, tuple[float, float]]:
    """Return each figure of the laws, and what it may be at the most."""
    connections = len(beset.counts) + beset.bad
    late = beset.taken_nbytes[len(beset.taken_nbytes) // 2 :] or [0]
    half = (percentile(alone.latencies, 50), percentile(beset.latencies, 50))
    return {
        "kB more that a bad one could send, late": (
            (late[-1] - late[0]) / 1e3 / max(1, beset.bad),
            65.536,
        ),
        "times as many exchanges alone": (sum(alone.counts) / sum(beset.counts), FACTOR),
        "median ÷ the fewest exchanges": (
            statistics.median(beset.counts) / max(1, min(beset.counts)),
            FACTOR,
        ),
        "times as much processor time for each exchange": (
            beset.cpu_seconds / sum(beset.counts) / (alone.cpu_seconds / sum(alone.counts)),
            CPU_FACTOR,
        ),
        "times as long an exchange, p50": (half[1] / half[0], FACTOR),
        "kB resident for each connection": (
            beset.resident_nbytes / 1e3 / connections,
            PER_CONNECTION_NBYTES / 1e3,
        ),
        "kB lent for each connection": (
            beset.peak_lent_nbytes / 1e3 / connections,
            SHARE_NBYTES / 1e3,
        ),
    }


def plot(alone: Phase, beset: Phase, path: Path) -> None:
    """Draw how long exchanges took, how many each connection had, and what bad ones could send."""
    from matplotlib import pyplot as plt  # only here: the figures need no plot

    figure, (times, shares, taken) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for phase in (alone, beset):
        label = f"{phase.bad} never read"
        ordered = [one / 1e3 for one in sorted(phase.latencies)][
            :: max(1, len(phase.latencies) // 2000)
        ]
        times.plot(ordered, [at / len(ordered) for at in range(len(ordered))], label=label)
        shares.plot(sorted(phase.counts), label=label)
    times.set(xlabel="an exchange, ms", ylabel="as long, or shorter", ylim=(0, 1))
    times.set_xlim(0, percentile(beset.latencies, 99.5) / 1e3)
    times.legend(fontsize=8)
    shares.set(xlabel="good connections, in order", ylabel="exchanges", ylim=(0, None))
    taken.plot(
        [at / 2 for at in range(len(beset.taken_nbytes))], [n / 1e6 for n in beset.taken_nbytes]
    )
    taken.set(xlabel="seconds", ylabel="taken of the bad ones, MB", ylim=(0, None))
    figure.savefig(path, dpi=110)


def main() -> int:
    """Run both, say what came of it, and return 0 if the laws hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=1_000, help="good and bad ones")
    parser.add_argument("--bad", type=int, default=100, help="how many of them never read")
    parser.add_argument("--seconds", type=float, default=20, help="of each of the two runs")
    parser.add_argument("--png", type=Path, help="where to draw it (needs matplotlib)")
    parser.add_argument("--json", type=Path, help="where to write what was seen")
    options = parser.parse_args()
    most_descriptors()
    good = options.connections - options.bad
    alone = trio.run(run, good, 0, options.seconds)
    beset = trio.run(run, good, options.bad, options.seconds)
    for phase in (alone, beset):
        shown = ", ".join(
            f"p{percent} {percentile(phase.latencies, percent) / 1e3:.0f} ms"
            for percent in PERCENTS
        )
        print(f"{good} good, {phase.bad} bad: {sum(phase.counts):,} exchanges, {shown}")
    seen = verdicts(alone, beset)
    for name, (value, most) in seen.items():
        print(f"  {name}: {value:,.2f}, at most {most:,.1f}{'' if value <= most else '  TOO MUCH'}")
    if options.json:
        phases = [attrs.asdict(alone), attrs.asdict(beset)]
        text = json.dumps({"phases": phases, "verdicts": seen})
        options.json.write_text(text, encoding="utf-8")
    if options.png:
        plot(alone, beset, options.png)
    return int(any(value > most for value, most in seen.values()))


if __name__ == "__main__":
    if sys.argv[1:2] == ["good"]:
        most_descriptors()
        trio.run(be_good, int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    elif sys.argv[1:2] == ["bad"]:
        most_descriptors()
        trio.run(be_bad, int(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(main())
