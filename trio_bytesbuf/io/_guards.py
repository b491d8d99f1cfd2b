"""Guards: streams that give up on a peer which is too slow.

`trio.fail_after` around a whole transfer is wrong twice: too short for the large, too long for the
dead. A rate is what is meant.

Law 1. The clock runs while the peer is waited for, and stands while the program works. It is
       trio's clock.
Law 2. A *stretch* begins with the first wait, and again when the one before is complete:
       `MinRate.nbytes` bytes, which may take `MinRate.seconds` of waiting. A byte now and then
       counts as a byte, and moves nothing else; a surplus is not credited to the next stretch.
Law 3. Every wait is in one scope, whose deadline is the end of the stretch. A sink that says what
       the system has taken (`_progress`) moves that deadline; to all others slices are sent, each
       of which counts when it is complete. Which kind a sink is, its first slice shows.
Law 4. Of several scopes that are cancelled, the outermost wins, as always with trio: if that is
       not ours, no error of ours is raised. After one is raised, a new stretch begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
import trio

from .._errors import BytesBufError
from ..seq import BytesView
from ..seq._flat import positive_count_of
from ._read import Read
from ._write import Write

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import SupportsIndex

    from ..seq import BytesBuf, Memory

T = TypeVar("T")

SLICE_NBYTES: Final = 65_536
"""How much is sent at once to a sink that does not say how far it is: a block of the pool."""


def _count_of(nbytes: SupportsIndex) -> int:
    return positive_count_of(nbytes, "nbytes")


def _check_seconds(_rate: MinRate, _field: object, seconds: float) -> None:
    if not seconds > 0:  # so that nan is refused, too
        raise ValueError(f"a rate is per more than 0 seconds, not per {seconds}")


@attrs.frozen
class MinRate:
    """At least `nbytes` bytes for each `seconds` seconds of waiting.

    ``MinRate(1, 30)`` only asks for some progress: a byte every 30 seconds. A larger `nbytes` with
    as much larger `seconds` is the same rate, and forgives a longer stall.

    Raises:
      TypeError, ValueError: `nbytes` is no integer, or below 1; `seconds` is not more than 0.
    """

    nbytes: int = attrs.field(converter=_count_of)
    """How many bytes."""

    seconds: float = attrs.field(validator=_check_seconds)
    """In how many seconds, by trio's clock."""


@attrs.define(eq=False, slots=False)
class PeerTooSlow(BytesBufError, trio.TooSlowError):
    """Too few bytes came from, or went to, a peer in the time that a guard allows.

    Receiving can go on, with new time; a sink is spoilt, close it.
    """

    nbytes: int
    """How many bytes there were."""

    seconds: float
    """How many seconds they were waited for."""

    wanted: int
    """How many bytes were wanted in that time."""

    def __str__(self) -> str:
        return f"{self.nbytes} bytes in {self.seconds} s of waiting, at least {self.wanted} wanted"


class _Stopwatch:
    """One side's stretch: how much of it has come, and how much time is left. (Laws 1 to 4)"""

    def __init__(self, rate: MinRate) -> None:
        self._rate = rate
        self._nbytes = 0
        self._left = rate.seconds
        self._scope: trio.CancelScope | None = None

    async def over(self, wait: Awaitable[T]) -> T:
        """Return what `wait` does; raise PeerTooSlow if the stretch's time is over before."""
        self._scope = scope = trio.CancelScope(deadline=trio.current_time() + self._left)
        try:
            with scope:
                return await wait
        finally:
            self._left = scope.deadline - trio.current_time()
            self._scope = None
        too_slow = PeerTooSlow(self._nbytes, self._rate.seconds, self._rate.nbytes)
        self._begin()
        raise too_slow

    def moved(self, nbytes: int) -> None:
        """Count bytes that were received, or that a wait which goes on has sent."""
        self._nbytes += nbytes
        if self._nbytes >= self._rate.nbytes:
            self._begin()

    def _begin(self) -> None:
        self._nbytes = 0
        self._left = self._rate.seconds
        if self._scope is not None:
            self._scope.deadline = trio.current_time() + self._left


class GuardedRead(Read):
    """A source that gives up when its peer is too slow.

    Args:
      source: what to read; closing this closes it.
      rate: how fast bytes have to come while they are waited for.

    Raises:
      TypeError: `source` is no `Read`, or `rate` no `MinRate`.
      Reading raises `PeerTooSlow`, and what the source does.

    Cancellation: as the source's. Reading can go on after `PeerTooSlow`: nothing is lost.

    Cost: 10 µs for each receive; 8 of them are the cancel scope.

    Example:
      >>> async def main():
      ...     async with GuardedRead(Pending(), MinRate(1_000, seconds=0.01)) as source:
      ...         await source.read_exactly(10_000)
      >>> trio.run(main)
      Traceback (most recent call last):
      trio_bytesbuf.io._guards.PeerTooSlow: 0 bytes in 0.01 s of waiting, at least 1000 wanted

    Idea: Apache's `mod_reqtimeout`, trio's issue 414, httpx's issue 1450.
    """

    def __init__(self, source: Read, rate: MinRate) -> None:
        _check(source, Read, rate)
        self._source = source
        self._receiving = _Stopwatch(rate)

    @property
    def memory(self) -> Memory:
        """The source's."""
        return self._source.memory

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._source!r}>"

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        view = await self._receiving.over(self._source.receive_view(max_bytes))
        self._receiving.moved(len(view))
        return view

    async def _receive_into(self, buf: BytesBuf, max_bytes: int | None) -> int:
        """Let the source use the room of `buf`, if it can."""
        nbytes = await self._receiving.over(self._source._read_into(buf, max_bytes))
        self._receiving.moved(nbytes)
        return nbytes

    async def _aclose(self) -> None:
        await self._source.aclose()


class GuardedWrite(Write):
    """A sink that gives up when its peer is too slow.

    Args:
      sink: where bytes go; closing this closes it. If it has a method `send_eof`, so has this.
      rate: how fast bytes have to go while that is waited for. Sockets, pipes and guards
        of them say how far they are; to other sinks, 64 KiB are sent at a time, and a lower
        rate than that for each `seconds` makes no sense.

    Raises:
      TypeError: `sink` is no `Write`, or `rate` no `MinRate`.
      Writing raises `PeerTooSlow`, and what the sink does.

    Cancellation: as the sink's. `PeerTooSlow` spoils it, as cancellation does.

    Cost: 10 µs for each write, or for each 64 KiB; 8 of them are the cancel scope.

    Example:
      >>> async def main():
      ...     async with GuardedWrite(Null(), MinRate(1, seconds=30)) as sink:
      ...         await sink.write_view(BytesView(b"hello"))
      >>> trio.run(main)
    """

    def __init__(self, sink: Write, rate: MinRate) -> None:
        _check(sink, Write, rate)
        self._sink = sink
        self._sending = _Stopwatch(rate)
        self._is_told = False  # by the sink, how far it is

    @property
    def memory(self) -> Memory:
        """The sink's."""
        return self._sink.memory

    def __repr__(self) -> str:
        return f"<{type(self).__name__} to {self._sink!r}>"

    def _sent(self, nbytes: int) -> None:
        self._sending.moved(nbytes)
        if self._progress is not None:
            self._progress(nbytes)

    def _hear(self, nbytes: int) -> None:
        """Be told by the sink what the system has taken."""
        self._is_told = True
        self._sent(nbytes)

    async def _write_view(self, view: BytesView) -> None:
        sink, at = self._sink, 0
        before, sink._progress = sink._progress, self._hear
        try:
            while True:
                part = view[at:] if self._is_told else view[at : at + SLICE_NBYTES]
                await self._sending.over(sink.write_view(part))
                at += len(part)
                if not self._is_told:
                    self._sent(len(part))
                if at == len(view):
                    break
        finally:
            sink._progress = before
            view = part = BytesView()  # an error that is kept holds this frame, but no memory

    async def _wait_write_might_not_block(self) -> None:
        await self._sending.over(self._sink.wait_write_might_not_block())

    if not TYPE_CHECKING:  # for whom a sink either has it or not

        def __getattr__(self, name: str) -> Callable[[], Awaitable[None]]:
            if name == "send_eof":
                return _send_eof_of(self, self._sink.send_eof)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    async def _aclose(self) -> None:
        await self._sink.aclose()


def _send_eof_of(
    guard: Write, send_eof: Callable[[], Awaitable[None]]
) -> Callable[[], Awaitable[None]]:
    async def guarded_send_eof() -> None:
        if guard._is_sending or guard._is_closed:
            await guard._refuse_sending()
        guard._is_sending = True
        try:
            await send_eof()
        finally:
            guard._is_sending = False

    return guarded_send_eof


class GuardedStream(GuardedRead, GuardedWrite):
    """A stream that gives up when its peer is too slow, in either direction.

    Args:
      stream: what is both a `Read` and a `Write`; closing this closes it. If it has a method
        `send_eof`, so has this.
      receiving: how fast bytes have to come while they are waited for.
      sending: how fast they have to go; as for `GuardedWrite`.

    Raises:
      TypeError: `stream` is not both, or a rate is no `MinRate`.
      Reading and writing raise `PeerTooSlow`, and what the stream does.

    Cancellation: as the stream's.

    Cost: as of `GuardedRead` and `GuardedWrite`.

    Example:
      >>> async def handle(client):
      ...     slow = MinRate(1_000, seconds=10)
      ...     async with GuardedStream(client, receiving=slow, sending=slow) as guarded:
      ...         header = await guarded.read_exactly(64)
      >>> async def main():
      ...     await serve_tcp(handle, 8000)
    """

    def __init__(self, stream: Read, *, receiving: MinRate, sending: MinRate) -> None:
        _check(stream, Write, sending)
        assert isinstance(stream, Write)
        GuardedRead.__init__(self, stream, receiving)
        GuardedWrite.__init__(self, stream, sending)


def _check(inner: object, kind: type[Any], rate: object) -> None:
    if not isinstance(inner, kind):
        raise TypeError(f"a {kind.__name__} is wanted to be guarded, not {type(inner).__name__}")
    if not isinstance(rate, MinRate):
        raise TypeError(f"a MinRate is wanted, not {type(rate).__name__}")
