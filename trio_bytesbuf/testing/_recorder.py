"""`FlowRecorder`, a trio instrument: what streams moved and what pools had lent, over time.

trio tells instruments before it waits for the system and after. Between the two no task runs, so
what is true at the one is true until the other:

    tasks run ──> before_io_wait ──── nothing happens ────> after_io_wait ──> tasks run

Law 1. A sample has the totals of its moment. One is taken when the interval is over; if it ended
       in a wait, one at the wait's beginning and one at its end: no rate is smeared over idle time.
Law 2. Totals never fall, and the last sample has all bytes, whatever was dropped in between.
Law 3. At most `max_samples` are kept. When there are as many, each two become one, with the later
       one's totals and the larger one's lent bytes; and the interval doubles.
Law 4. A tick that takes no sample costs one look at the clock before the wait and one after it.
Law 5. Nothing is written anywhere, and no task is woken or held up.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Final, Protocol, SupportsIndex

import attrs
import trio

from ..io._descriptor import DescriptorStream
from ..io._tally import StreamTally, Totals
from ..seq._flat import count_of

INTERVAL_SECONDS: Final = 0.01
MAX_SAMPLES: Final = 1024
"""How finely, and how much at the most: ten seconds at full resolution, and twice the pixels that a
plot is wide. Picked, not measured."""

MIN_SAMPLES: Final = 4
"""Fewer leave nothing to see when two have become one."""


class PoolFigures(Protocol):
    """What is asked of a pool's statistics."""

    @property
    def lent_nbytes(self) -> int:
        """Bytes that somebody can see."""
        ...

    @property
    def idle_nbytes(self) -> int:
        """Bytes that are kept for later."""
        ...


class WatchedPool(Protocol):
    """A pool that can be watched: `GlobalPool`, `CappedPool`, a share of one, `PageMemory`, ..."""

    def statistics(self) -> PoolFigures:
        """Return how the pool stands now."""
        ...


@attrs.frozen
class PoolSample:
    """How a pool stood."""

    lent_nbytes: int
    """Bytes that somebody could see; the most of all samples that have become this one."""

    idle_nbytes: int
    """Bytes that were kept for later."""


@attrs.frozen
class FlowSample:
    """What there was at one moment, under the names that were given to `watch`."""

    seconds: float
    """The time since the first sample."""

    streams: Mapping[str, Totals]
    """Bytes received, sent and copied so far."""

    pools: Mapping[str, PoolSample]


class FlowRecorder(trio.abc.Instrument):
    """Records how many bytes streams moved and how much memory pools had lent, over time.

    Give it to `trio.run(main, instruments=[recorder])`, or to `trio.lowlevel.add_instrument` in a
    run that goes on, and `watch` what is of interest. `samples` are numbers;
    `plot_history` draws them. It may be used in one run after the other (the cells of a
    notebook), and then goes on where it was.

    Args:
      interval: seconds between two samples, above 0; to begin with. It doubles whenever there are
        `max_samples`.
      max_samples: how many samples are kept at the most; at least 4.

    Raises:
      TypeError, ValueError: a number is none, or too small.

    Cost: 0.2 µs for each tick of trio's loop, and for each sample what the pools'
    `statistics()` cost, some 10 µs for a `GlobalPool`, and 1 µs for each open stream.

    Example:
      >>> async def main():
      ...     ours, theirs = trio.socket.socketpair()
      ...     async with SocketStream(ours) as stream, SocketStream(theirs) as peer:
      ...         recorder.watch(stream, "client")
      ...         await stream.write_view(BytesView(bytes(100)))
      ...         await peer.read_exactly(100)
      >>> recorder = FlowRecorder()
      >>> recorder.watch(default_memory(), "pool")
      >>> trio.run(main, instruments=[recorder])
      >>> recorder.samples[-1].streams["client"].sent_nbytes
      100
    """

    def __init__(
        self, *, interval: float = INTERVAL_SECONDS, max_samples: SupportsIndex = MAX_SAMPLES
    ) -> None:
        if not interval > 0:
            raise ValueError(f"interval must be above 0 seconds, not {interval}")
        self._max_samples = count_of(max_samples, "max_samples")
        if self._max_samples < MIN_SAMPLES:
            raise ValueError(f"max_samples must be at least {MIN_SAMPLES}, not {max_samples}")
        self._interval = float(interval)
        self._tallies: dict[str, StreamTally] = {}
        self._pools: dict[str, WatchedPool] = {}
        self._samples: list[FlowSample] = []
        self._started_at = self._waiting_since = 0.0
        self._due_at = 0.0

    def watch(self, watched: DescriptorStream | WatchedPool, name: str) -> None:
        """Record `watched` from the next sample on, under `name`.

        Streams under one name are counted together. A stream is kept until the first sample
        after it was closed. Its bytes count from when it was opened.

        Args:
          watched: a `SocketStream` or `FdStream`, or a pool whose `statistics()` say what is
            lent and idle. A stream on top of another has no counts of its own: watch the one below.
          name: what it is called in samples and plots.

        Raises:
          TypeError: it is neither.
          ValueError: another pool has that name.
        """
        if isinstance(watched, DescriptorStream):
            self._tallies.setdefault(name, StreamTally()).add(watched)
            return
        statistics: object = watched.statistics() if hasattr(watched, "statistics") else None
        if not (hasattr(statistics, "lent_nbytes") and hasattr(statistics, "idle_nbytes")):
            raise TypeError(
                f"a SocketStream, an FdStream or a pool with statistics is wanted, "
                f"not {type(watched).__name__}"
            )
        if self._pools.setdefault(name, watched) is not watched:
            raise ValueError(f"another pool is watched as {name!r}")

    @property
    def interval(self) -> float:
        """Seconds between two samples, now."""
        return self._interval

    @property
    def samples(self) -> tuple[FlowSample, ...]:
        """What was recorded, the oldest first; the times grow."""
        return tuple(self._samples)

    def sample(self) -> None:
        """Take a sample now, whether it is due or not.

        After `remove_instrument`, say, which nobody tells the instrument of.
        """
        self._take(time.monotonic())

    # What trio calls

    def before_run(self) -> None:
        """Take a sample; called by trio."""
        self.sample()

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002
        """Take a sample if it is due; called by trio."""
        now = self._waiting_since = time.monotonic()
        if now >= self._due_at:
            self._take(now)

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002
        """Take samples if one was due meanwhile; called by trio."""
        now = time.monotonic()
        if now >= self._due_at:
            self._take(self._waiting_since)
            self._take(now)

    def after_run(self) -> None:
        """Take a sample; called by trio."""
        self.sample()

    def _take(self, now: float) -> None:
        if not self._samples:
            self._started_at = now
        seconds = now - self._started_at
        streams = {name: tally.totals() for name, tally in self._tallies.items()}
        pools = {}
        for name, pool in self._pools.items():
            statistics = pool.statistics()
            pools[name] = PoolSample(statistics.lent_nbytes, statistics.idle_nbytes)
        sample = FlowSample(seconds, streams, pools)
        for tally in self._tallies.values():
            tally.leave_closed()
        if self._samples and seconds <= self._samples[-1].seconds:  # the same moment again
            sample = _merged(self._samples.pop(), sample)
        self._samples.append(sample)
        if len(self._samples) >= self._max_samples:
            self._halve()
        self._due_at = now + self._interval

    def _halve(self) -> None:
        """Make one of each two samples, but for the first and the last (Law 3)."""
        first, *middle, last = self._samples
        pairs = zip(middle[::2], middle[1::2], strict=False)
        odd = middle[len(middle) - len(middle) % 2 :]
        self._samples = [first, *(_merged(*pair) for pair in pairs), *odd, last]
        self._interval *= 2

    def __repr__(self) -> str:
        seconds = self._samples[-1].seconds if self._samples else 0.0
        return f"<FlowRecorder, {len(self._samples)} samples of {seconds:.1f} s>"


def _merged(earlier: FlowSample, later: FlowSample) -> FlowSample:
    """Return one sample for two: the later one, with the most that was lent."""
    pools = {
        name: attrs.evolve(pool, lent_nbytes=max(pool.lent_nbytes, before.lent_nbytes))
        if (before := earlier.pools.get(name))
        else pool
        for name, pool in later.pools.items()
    }
    return FlowSample(max(earlier.seconds, later.seconds), later.streams, pools)


def check_recorder(recorder: FlowRecorder) -> None:
    """Raise AssertionError if a law of this file is broken."""
    samples = recorder.samples
    assert len(samples) < recorder._max_samples, "Law 3"
    for earlier, later in itertools.pairwise(samples):
        assert earlier.seconds < later.seconds, "times that do not grow"
        for name, totals in earlier.streams.items():
            assert totals.received_nbytes <= later.streams[name].received_nbytes, "Law 2"
            assert totals.sent_nbytes <= later.streams[name].sent_nbytes, "Law 2"
