"""What a relay counts: connections, bytes each way, and how the pool is doing.

Law 1. `connections_open()` plus the connections that ended is `connections_total`.
Law 2. What a direction counts never falls: a connection that ends leaves its counts behind.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Final

import attrs
import trio

from ..io._tally import StreamTally
from ..mem import GlobalPool, PoolStatistics, default_memory
from ..seq._words import text_of_count
from ._screen import Panel, Row
from ._words import text_of_nbytes, text_of_rate, text_of_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..io import SocketStream

HISTORY_SAMPLES: Final = 60
"""How many rates are remembered for the curve; more than a screen draws."""


@attrs.define(eq=False)
class Direction:
    """What was sent to one side: by streams that are closed, and by those that are open."""

    _tally: StreamTally = attrs.field(init=False, factory=StreamTally)
    _sampled_nbytes: int = attrs.field(init=False, default=0)
    history: deque[float] = attrs.field(init=False, factory=lambda: deque(maxlen=HISTORY_SAMPLES))
    """Bytes per second, one for each sample."""

    @contextlib.contextmanager
    def counting(self, stream: SocketStream) -> Iterator[None]:
        """Count what `stream` sends and copies, during the block and for good."""
        self._tally.add(stream)
        try:
            yield
        finally:
            self._tally.leave(stream)

    @property
    def nbytes(self) -> int:
        """Bytes that the kernel has taken for this side."""
        return self._tally.totals().sent_nbytes

    @property
    def copied_nbytes(self) -> int:
        """Bytes that the streams to this side copied, receiving or sending."""
        return self._tally.totals().copied_nbytes

    def sample(self, seconds: float) -> None:
        """Add to the history the rate since the last sample, which was `seconds` ago."""
        nbytes = self.nbytes
        self.history.append((nbytes - self._sampled_nbytes) / seconds if seconds > 0 else 0.0)
        self._sampled_nbytes = nbytes

    @property
    def rate(self) -> float:
        """The newest of the history, in bytes per second."""
        return self.history[-1] if self.history else 0.0

    def row(self, label: str) -> Row:
        """Return the line that shows this direction."""
        at = f"at {text_of_rate(self.rate)}"
        return Row(label, text_of_nbytes(self.nbytes), at, history=tuple(self.history))


@attrs.define(eq=False)
class Figures:
    """What a relay did since it was started, inside trio."""

    connections_total: int = attrs.field(init=False, default=0)
    connections_failed: int = attrs.field(init=False, default=0)
    to_target: Direction = attrs.field(init=False, factory=Direction)
    to_client: Direction = attrs.field(init=False, factory=Direction)
    _ended: int = attrs.field(init=False, default=0)
    _started_at: float = attrs.field(init=False, factory=trio.current_time)
    _sampled_at: float = attrs.field(init=False, factory=trio.current_time)

    @contextlib.contextmanager
    def connection(self) -> Iterator[int]:
        """Count a connection that lasts as long as the block; yields its number, from 1."""
        self.connections_total += 1
        try:
            yield self.connections_total
        finally:
            self._ended += 1

    def connections_open(self) -> int:
        """Return how many connections there are now."""
        return self.connections_total - self._ended

    def copied_nbytes(self) -> int:
        """Return how many bytes the streams on both sides copied in this process."""
        return self.to_target.copied_nbytes + self.to_client.copied_nbytes

    def age(self) -> str:
        """Return since when all this is counted."""
        return f"up {text_of_seconds(trio.current_time() - self._started_at)}"

    def sample(self) -> None:
        """Take the rates since the last sample."""
        now = trio.current_time()
        for direction in (self.to_target, self.to_client):
            direction.sample(now - self._sampled_at)
        self._sampled_at = now

    def panel(self, title: str) -> Panel:
        """Return what to show now; take a sample first."""
        connections = Row(
            "connections",
            f"{self.connections_open():,} now",
            f"{self.connections_total:,} in all, {self.connections_failed:,} failed",
        )
        rows = (
            connections,
            self.to_target.row("to the target"),
            self.to_client.row("to the clients"),
            pool_row(pool_statistics()),
        )
        return Panel(title, self.age(), rows)

    def totals(self) -> str:
        """Return the last line: what all of it came to."""
        return (
            f"stopped, {self.age()}: {text_of_count(self.connections_total, 'connection')}, "
            f"{self.connections_failed:,} failed, "
            f"{text_of_nbytes(self.to_target.nbytes)} to the target, "
            f"{text_of_nbytes(self.to_client.nbytes)} to the clients"
        )


def pool_statistics() -> PoolStatistics:
    """Return the statistics of the process's pool."""
    memory = default_memory()
    assert isinstance(memory, GlobalPool)
    return memory.statistics()


def pool_row(pool: PoolStatistics) -> Row:
    """Return the line that shows the pool."""
    detail = (
        f"idle, {text_of_nbytes(pool.lent_nbytes)} lent; "
        f"{text_of_count(pool.allocated, 'block')} allocated so far"
    )
    return Row("pool", text_of_nbytes(pool.idle_nbytes), detail)
