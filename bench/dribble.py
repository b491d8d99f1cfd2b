"""What it costs when a line of many MiB comes one byte at a time, and its end at last.

    python bench/dribble.py [--quick] [--json FILE] [--stream-mib N]

Who searches everything again with each byte takes a time for each byte that grows with the line;
who keeps an object for each byte takes some hundred times the line's memory. Each sample is a
fresh process that gets one line, byte by byte, and takes it as `bytes` when it ends:

    ours, decoder      `FrameDecoder(Delimited(...), bytes)`: `feed`, then `next_event`
    ours, stream       `BufReader(...).read_until(...)`, over a `Read` that gives one byte each time
    asyncio            `StreamReader.feed_data`, while another task awaits `readuntil`
    anyio              `BufferedByteReceiveStream.receive_until`, on trio
    tricycle           `TextReceiveStream.receive_line`

The first two also with three delimiters. No socket takes part, which would cost more than all
this. A stream, of whatever library, costs a checkpoint for each byte, which is most of its time:
ours goes up to 4 MiB, or N; it takes minutes. The others stop there or earlier, too.

How to read it: nanoseconds of processor time for each byte of the line's second half; what counts
is that they are the same in each line of the table. Peak memory is how much more of it is resident
at the worst moment than before the first byte, divided by the length of the line. A copy in which
it is whole is part of that: 2 is what is received, and the line that is returned.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import attrs
import tricycle
import trio
from _measure import Contest, Options, Report, Table, in_child, in_turn, shown, size_name
from _messages import ForAnyio
from anyio.streams.buffered import BufferedByteReceiveStream

from trio_bytesbuf import BytesView, Read
from trio_bytesbuf.buffered import BufReader, Delimited, FrameDecoder, FrameEvent

ONE = (b"\n",)
THREE = (b"\r\n", b"\n", b"--end--")
DRIP, END = b"x", b"\n"
MIB = 1 << 20
SLICE_NBYTES = 16_384
"""Of so many bytes the time is taken at once: short beside the noise of a shared machine."""

WARM_UP_NBYTES = 1000
"""A line before the one that counts: for the interpreter, and what is allocated only once."""

STREAM_MIB = 4
"""How long a line the streams get if nobody says otherwise."""

DECODER_MIB = 16
"""How long a line the decoders get, for each of whose bytes there is no checkpoint."""

TIMES_AT_MOST = 1.3
"""How much more a byte of the longest line may cost than one of the shortest. A guess: it would be
64 or 256 times as much where each byte is searched again."""

QUICK_NBYTES = MIB >> 2
"""How long a line everybody gets in a smoke test."""

LONG_NBYTES = MIB
"""From this length on a line comes once, not three times: it takes minutes."""

MEMORY_AT_MOST = 2.2
"""Peak memory, in lengths of the line."""

DECODER, STREAM = "ours, decoder", "ours, stream"


@attrs.define(eq=False)
class Drips:
    """So many bytes, one by one, and the end of the line; times each slice of them."""

    nbytes: int
    ticks: list[float] = attrs.field(init=False, factory=list)

    def __iter__(self) -> Iterator[bytes]:
        for at in range(self.nbytes):
            if not at % SLICE_NBYTES:
                self.ticks.append(time.process_time())
            yield DRIP
        self.ticks.append(time.process_time())
        yield END

    def ns(self) -> float:
        """Return the time of a byte when the line is more than half as long as in the end.

        Of the quickest slice: what else the machine does makes none quicker.
        """
        slices = [then - now for now, then in pairwise(self.ticks)]
        return min(slices[len(slices) // 2 :]) / min(SLICE_NBYTES, self.nbytes) * 1e9


class Dripping(Read):
    """A source that gives one byte each time."""

    def __init__(self, drips: Drips) -> None:
        super().__init__()
        self._drips = iter(drips)

    async def _receive_view(self, max_bytes: int | None) -> BytesView:  # noqa: ARG002
        await trio.lowlevel.checkpoint()
        return BytesView(next(self._drips))

    async def _aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class DrippingStream(trio.abc.ReceiveStream):
    """The same for those that want a stream of trio's."""

    def __init__(self, drips: Drips) -> None:
        self._drips = iter(drips)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:  # noqa: ARG002
        """Receive one byte."""
        await trio.lowlevel.checkpoint()
        return next(self._drips)

    async def aclose(self) -> None:
        """Do nothing."""
        await trio.lowlevel.checkpoint()


# One function for each rival: get one line, return it


def with_decoder(delimiters: tuple[bytes, ...], drips: Drips) -> bytes:
    """Feed a decoder."""
    decoder = FrameDecoder(Delimited(delimiters), bytes, max_nbytes=drips.nbytes)
    feed, next_event = decoder.feed, decoder.next_event
    line: bytes | FrameEvent = FrameEvent.NEED_DATA
    for drip in drips:
        assert line is FrameEvent.NEED_DATA
        feed(drip)
        line = next_event()
    assert isinstance(line, bytes)
    return line


async def with_stream(delimiters: tuple[bytes, ...], drips: Drips) -> bytes:
    """Read from a buffered reader."""
    reader = BufReader(Dripping(drips))
    line = await reader.read_until(delimiters, max_bytes=drips.nbytes + len(END))
    return line[: -len(END)].to_bytes()


async def with_asyncio(drips: Drips) -> bytes:
    """Feed a StreamReader, and let who waits have a look each time."""
    reader = asyncio.StreamReader(limit=drips.nbytes + len(END))
    line = asyncio.create_task(reader.readuntil(END))
    await asyncio.sleep(0)
    for drip in drips:
        reader.feed_data(drip)
        await asyncio.sleep(0)
    return (await line).removesuffix(END)


async def with_anyio(drips: Drips) -> bytes:
    """Read from anyio's buffered stream."""
    stream = BufferedByteReceiveStream(ForAnyio(DrippingStream(drips)))
    return await stream.receive_until(END, drips.nbytes + len(END))


async def with_tricycle(drips: Drips) -> str:
    """Read from tricycle's stream of text."""
    stream = tricycle.TextReceiveStream(DrippingStream(drips), "ascii", newline="\n")
    return (await stream.receive_line()).removesuffix("\n")


def run_asyncio(drips: Drips) -> bytes:
    """Run asyncio's rival."""
    return asyncio.run(with_asyncio(drips))


def run_trio(get: Callable[[Drips], Awaitable[bytes | str]], drips: Drips) -> bytes | str:
    """Run one of the rivals that need trio."""
    return trio.run(get, drips)


@attrs.frozen
class Rival:
    """One way to get a line, and how long a line it gets, in MiB."""

    get: Callable[[Drips], bytes | str]
    most_mib: float = STREAM_MIB


RIVALS = {
    DECODER: Rival(partial(with_decoder, ONE), most_mib=DECODER_MIB),
    f"{DECODER}, 3 delimiters": Rival(partial(with_decoder, THREE), most_mib=DECODER_MIB),
    STREAM: Rival(partial(run_trio, partial(with_stream, ONE))),
    f"{STREAM}, 3 delimiters": Rival(partial(run_trio, partial(with_stream, THREE))),
    "asyncio": Rival(run_asyncio, most_mib=4),
    "anyio": Rival(partial(run_trio, with_anyio), most_mib=4),
    "tricycle": Rival(partial(run_trio, with_tricycle), most_mib=1),
}
LENGTHS = (MIB >> 4, MIB >> 2, MIB, MIB << 2, MIB << 4)
UNITS = {"ns": "ns of CPU for each byte", "memory": "peak memory ÷ length"}

Answers: TypeAlias = Mapping[str, Sequence[Mapping[str, float]]]
"""What each rival answered, turn by turn, about lines of one length."""


def resident(what: str) -> int:
    """Return how many bytes of this process are resident (`VmRSS`), or were at most (`VmHWM`).

    Not `ru_maxrss`: that begins with what the process had that started this one.
    """
    with Path("/proc/self/status").open(encoding="ascii") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(what))


def sample(rival: str, nbytes: int) -> dict[str, float]:
    """Get one line in this process."""
    get = RIVALS[rival].get
    get(Drips(WARM_UP_NBYTES))
    before = resident("VmRSS")
    drips = Drips(nbytes)
    got = len(get(drips))
    assert got == nbytes, f"{got} of {nbytes} bytes"
    return {"ns": drips.ns(), "memory": (resident("VmHWM") - before) / nbytes}


def stream_mib() -> float:
    """Take `--stream-mib` out of the command line, of which `Options` knows nothing."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--stream-mib", type=float, default=STREAM_MIB)
    given, rest = parser.parse_known_args(sys.argv[1:])
    sys.argv[1:] = rest
    most: float = given.stream_mib
    return most


def most_nbytes(name: str, quick: bool, most_of_streams: float) -> float:
    """Return how long a line a rival gets."""
    if quick:
        return QUICK_NBYTES
    return (most_of_streams if name.startswith(STREAM) else RIVALS[name].most_mib) * MIB


def tables(report: Report, answers: Mapping[int, Answers]) -> None:
    """Print one table for the time and one for the memory."""
    for clock, unit in UNITS.items():
        each = [
            Contest(
                size_name(nbytes),
                unit,
                {name: [answer[clock] for answer in taken] for name, taken in by_name.items()},
            )
            for nbytes, by_name in answers.items()
        ]
        rows = [
            [
                contest.work,
                *(
                    shown(contest.median(name)) if name in contest.samples else ""
                    for name in RIVALS
                ),
            ]
            for contest in each
        ]
        report.add(Table(f"One line, byte by byte: {unit}", ["length", *RIVALS], rows), each)


def promises(report: Report, answers: Mapping[int, Answers]) -> None:
    """Say what became of the promises; of the others, how they do."""
    for name in RIVALS:
        known = [nbytes for nbytes in answers if name in answers[nbytes]]
        medians = {
            nbytes: statistics.median(answer["ns"] for answer in answers[nbytes][name])
            for nbytes in known
        }
        shortest, longest = known[0], known[-1]
        times = medians[longest] / medians[shortest]
        words = f"{name}: a byte of {size_name(longest)} ÷ one of {size_name(shortest)}"
        if not name.startswith("ours"):
            report.remark(f"{words}: {times:.2f}")
            continue
        report.promised(words, TIMES_AT_MOST, times)
        memory = [
            statistics.median(answer["memory"] for answer in answers[nbytes][name])
            for nbytes in known
            if nbytes >= MIB  # a shorter one finds room in what is resident before
        ]
        if memory:
            report.promised(f"{name}: peak memory, in lengths", MEMORY_AT_MOST, max(memory))


def main() -> None:
    """Measure and print."""
    most_of_streams = stream_mib()
    options = Options.parse(__doc__)
    options.answer(sample)
    report = Report()
    answers = {}
    for nbytes in LENGTHS:
        rivals = {
            name: partial(in_child, __file__, rival=name, nbytes=nbytes)
            for name in RIVALS
            if nbytes <= most_nbytes(name, options.quick, most_of_streams)
        }
        if rivals:
            answers[nbytes] = in_turn(rivals, 1 if options.quick or nbytes >= LONG_NBYTES else 3)
    tables(report, answers)
    promises(report, answers)
    options.finish(report)


if __name__ == "__main__":
    main()
