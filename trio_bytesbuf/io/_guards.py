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
Law 4. What guards a half-closeable stream is one, too. Calling `GuardedWrite` or `GuardedStream`
       chooses the class, as `pathlib.Path` does. So `relay`, `to_trio` and type checkers know.
Law 5. Of several scopes that are cancelled, the outermost wins, as always with trio: if that is
       not ours, no error of ours is raised. After one is raised, a new stretch begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar, overload

import attrs
import trio

from .._errors import BytesBufError
from ..seq import BytesView
from ..seq._flat import positive_count_of
from ._read import Read
from ._trio_sides import SendsEof
from ._write import Write

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import SupportsIndex

    from ..seq import BytesBuf, Memory
    from ._endpoint import ReadWrite
    from ._to_trio import ClosesByHalves

T = TypeVar("T")

SLICE_NBYTES: Final = 65_536
"""How much is sent at once to a sink that does not say how far it is: a block of the pool."""


LAST_LOOK_SECONDS: Final = 0.001
"""What a wait has at least: when an outer scope has ended the one before together with the stretch,
what was waited for may have come since. A guess: enough to look."""


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
    """One side's stretch: how much of it has come, and how much time is left. (Laws 1 to 3, 5)"""

    def __init__(self, rate: MinRate) -> None:
        self._rate = rate
        self._nbytes = 0
        self._left = rate.seconds
        self._scope: trio.CancelScope | None = None

    async def over(self, wait: Awaitable[T]) -> T:
        """Return what `wait` does; raise PeerTooSlow if the stretch's time is over before."""
        left = self._left if self._left > 0 else LAST_LOOK_SECONDS
        self._scope = scope = trio.CancelScope(deadline=trio.current_time() + left)
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

    Cost: some 15 µs for each receive; 8 of them are the cancel scope.

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


class SinkWithEof(Protocol):
    """What is a `Write` and can say that it has no more to send."""

    async def write_view(self, view: BytesView) -> None:
        """Send all bytes of `view`."""
        ...  # a protocol has no body

    async def send_eof(self) -> None:
        """Tell the peer that nothing more will be sent."""
        ...


class SinkGuard(Write):
    """What all guards of a sink have in common."""

    def __init__(self, sink: Write, rate: MinRate) -> None:
        _check(sink, Write, rate)
        self._sink = sink
        self._sending = _Stopwatch(rate)
        self._is_told = False  # by the sink, how far it is
        self._counts_exactly = sink._counts_exactly

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
                left = len(view) - at
                nbytes = left if self._is_told else min(left, SLICE_NBYTES)
                part = view[at : at + nbytes] if nbytes < len(view) else view
                await self._sending.over(sink.write_view(part))
                if not self._is_told:
                    self._sent(nbytes)
                if nbytes == left:
                    break
                at += nbytes
        finally:
            sink._progress = before
            view = part = BytesView()  # an error that is kept holds this frame, but no memory

    async def _wait_write_might_not_block(self) -> None:
        await self._sending.over(self._sink.wait_write_might_not_block())

    async def _send_eof(self) -> None:
        sink: Any = self._sink  # called only for one that has it
        await self._sending.over(sink.send_eof())

    async def _aclose(self) -> None:
        await self._sink.aclose()


class GuardedWrite(SinkGuard):
    """A sink that gives up when its peer is too slow.

    Args:
      sink: where bytes go; closing this closes it. If it has a method `send_eof`, so has this.
      rate: how fast bytes have to go while that is waited for. Sockets, pipes, files, TLS over
        sockets, and guards of them say how far they are; to other sinks, those of `from_trio`
        among them, 64 KiB are sent at a time, which count when all of them are taken: less than
        that for each `seconds` cannot be told from nothing.

    Raises:
      TypeError: `sink` is no `Write`, or `rate` no `MinRate`.
      Writing raises `PeerTooSlow`, and what the sink does.

    Cancellation: as the sink's. `PeerTooSlow` spoils it, as cancellation does.

    Cost: some 20 µs for each write, and 10 for each further 64 KiB where those are sent; 8 of them
      are the cancel scope.

    Example:
      >>> async def main():
      ...     async with GuardedWrite(Null(), MinRate(1, seconds=30)) as sink:
      ...         await sink.write_view(BytesView(b"hello"))
      >>> trio.run(main)
    """

    @overload
    def __new__(cls, sink: SinkWithEof, rate: MinRate) -> GuardedHalfCloseableWrite: ...

    @overload
    def __new__(cls, sink: Write, rate: MinRate) -> Self: ...

    def __new__(cls, sink: object, rate: MinRate) -> GuardedWrite:  # noqa: ARG004, PYI034
        by_halves = cls is GuardedWrite and hasattr(sink, "send_eof")
        return object.__new__(GuardedHalfCloseableWrite if by_halves else cls)


class GuardedHalfCloseableWrite(GuardedWrite, SendsEof):
    """What `GuardedWrite` makes of a sink that has a `send_eof`."""


class StreamGuard(GuardedRead, SinkGuard):
    """What all guards of a stream have in common."""

    def __init__(self, stream: ReadWrite, *, receiving: MinRate, sending: MinRate) -> None:
        both: Any = stream  # as is checked
        GuardedRead.__init__(self, both, receiving)
        SinkGuard.__init__(self, both, sending)


class GuardedStream(StreamGuard, GuardedWrite):
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

    @overload
    def __new__(
        cls, stream: ClosesByHalves, *, receiving: MinRate, sending: MinRate
    ) -> GuardedHalfCloseableStream: ...

    @overload
    def __new__(cls, stream: ReadWrite, *, receiving: MinRate, sending: MinRate) -> Self: ...

    def __new__(  # noqa: PYI034  # it chooses the class (Law 4)
        cls,
        stream: object,
        *,
        receiving: MinRate,  # noqa: ARG004
        sending: MinRate,  # noqa: ARG004
    ) -> GuardedStream:
        by_halves = cls is GuardedStream and hasattr(stream, "send_eof")
        return object.__new__(GuardedHalfCloseableStream if by_halves else cls)


class GuardedHalfCloseableStream(GuardedStream, SendsEof):
    """What `GuardedStream` makes of a stream that has a `send_eof`."""


def _check(inner: object, kind: type[Any], rate: object) -> None:
    if not isinstance(inner, kind):
        raise TypeError(f"a {kind.__name__} is wanted to be guarded, not {type(inner).__name__}")
    if not isinstance(rate, MinRate):
        raise TypeError(f"a MinRate is wanted, not {type(rate).__name__}")
