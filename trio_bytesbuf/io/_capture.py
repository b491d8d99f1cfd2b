"""`capture`: a stream that remembers what passes over it, without copying.

Law 1. What a capture has is what passed, cut as it passed: a view for each receive, and of what
       was sent a part for each time that the sink said how far it was (`_progress`). Of a sink
       that does not count exactly, a view is there when all of it is gone; of one that failed or
       was cancelled, nothing, since nobody knows.
Law 2. Views are kept as they are. Only what is to be sent and lies where somebody may write to it
       is copied, before it is sent.
Law 3. Nothing is awaited between a byte's passing and its being remembered.
Law 4. What is remembered ends at `max_nbytes`, for good, and the capture says so: a hole in the
       middle would make a conversation of what was none. It ends as well where something comes
       behind an end, for which a file has no place.
Law 5. Errors of ours that no peer could see (`trio.BusyResourceError`, `trio.ClosedResourceError`)
       are not of the conversation. Cancellation is no error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, overload

import trio

from ..seq import BytesReader, BytesView
from ..seq._flat import count_of
from ._capture_file import Capture, CaptureEvent, Direction
from ._endpoint import Endpoint
from ._from_trio import from_trio
from ._read import Read
from ._receive_size import PLAIN_RECEIVE_NBYTES
from ._trio_sides import ReceivesSome, SendsAll, SendsEof
from ._write import Write

if TYPE_CHECKING:
    from typing import SupportsIndex

    from ..seq import Memory
    from ._endpoint import ReadWrite
    from ._to_trio import ClosesByHalves


LACKED_MEMORY: Final = "recording stopped for lack of memory"

_RECEIVED: Final = Direction.RECEIVED
_SENT: Final = Direction.SENT
"""To look a member up may take memory, and what has come by then would be lost."""


class Recorder:
    """What both sides of a stream write to. (Laws 3 and 4)"""

    def __init__(self, max_nbytes: int | None) -> None:
        self._began = trio.current_time()
        self._happened: list[tuple[float, Direction, BytesView, str]] = []
        self._ended: set[Direction] = set()
        self._max_nbytes = max_nbytes
        self._nbytes = 0
        self._missed_nbytes = 0
        self._went_on = ""
        self.is_full: bool = False

    def passed(self, direction: Direction, view: BytesView) -> None:
        """Remember bytes; some, or none of them, if that is all there is room for.

        For lack of memory it stops remembering: what passes is not to be lost for that.
        """
        try:
            self._remember(direction, view)
        except MemoryError:
            self._went_on, self.is_full = LACKED_MEMORY, True

    def _remember(self, direction: Direction, view: BytesView) -> None:
        if direction in self._ended and view and not self.is_full:  # a terminal, a file that grows
            self._went_on = f"recording stopped where more was {direction.value} behind an end"
            self.is_full = True
        room = len(view) if self._max_nbytes is None else self._max_nbytes - self._nbytes
        if self.is_full or len(view) > room:
            self._missed_nbytes += len(view) - (0 if self.is_full else room)
            view = view[: 0 if self.is_full else room]
        if view:
            self._add(direction, view)
            self._nbytes += len(view)
        self.is_full = self.is_full or self._missed_nbytes > 0

    def ended(self, direction: Direction) -> None:
        """Remember the end of a direction."""
        if not self.is_full:
            self._add(direction)
            self._ended.add(direction)

    def failed(self, direction: Direction, exc: Exception) -> None:
        """Remember an error, in words."""
        is_ours = isinstance(exc, (trio.BusyResourceError, trio.ClosedResourceError))
        if not is_ours and not self.is_full:  # Law 5
            self._add(direction, error=f"{type(exc).__name__}: {exc}")

    def _add(self, direction: Direction, view: BytesView | None = None, *, error: str = "") -> None:
        if direction not in self._ended:
            # A view of its own, since whoever has that one may release it. An event of it is made
            # when somebody asks: making one takes as long as all this.
            kept = BytesView() if view is None else BytesView(view)
            self._happened.append((trio.current_time(), direction, kept, error))

    def capture(self) -> Capture:
        """Return what there is."""
        why = self._went_on
        if self._missed_nbytes and not why:
            why = (
                f"recording stopped after {self._nbytes} bytes, as it was told to; "
                f"{self._missed_nbytes} more passed"
            )
        events = (
            CaptureEvent(round((at - self._began) * 1e9), direction, view, error)
            for at, direction, view, error in self._happened
        )
        return Capture(events, why)


class Captured(Endpoint):
    """What all captured streams have in common: what they stand on, and what is remembered."""

    def __init__(self, inner: Any, recorder: Recorder) -> None:  # what it is, subclasses know
        self._inner = inner
        self._recorder = recorder

    @property
    def inner(self) -> Any:
        """What is captured; what passes over it by itself is not."""
        return self._inner

    @property
    def capture(self) -> Capture:
        """What has passed so far. Cost: some 3 µs for each event; no copy of bytes."""
        return self._recorder.capture()

    @property
    def memory(self) -> Memory:
        """What the captured stream says."""
        memory: Memory = self._inner.memory
        return memory

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._inner!r}>"

    async def _aclose(self) -> None:
        try:
            await self._inner.aclose()
        finally:
            if isinstance(self, Write):
                self._recorder.ended(_SENT)


class CapturedRead(Captured, ReceivesSome):
    """What `capture` makes of a source."""

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        try:
            view: BytesView = await self._inner.receive_view(max_bytes)
        except Exception as exc:
            self._recorder.failed(_RECEIVED, exc)
            raise
        if view:
            self._recorder.passed(_RECEIVED, view)
        else:
            self._recorder.ended(_RECEIVED)
        return view

    async def _receive_some(self, max_bytes: int | None) -> bytes:
        limit = PLAIN_RECEIVE_NBYTES if max_bytes is None else max_bytes
        return bytes(await self._receive_view(limit))


class CapturedWrite(Captured, SendsAll):
    """What `capture` makes of a sink."""

    def __init__(self, inner: Any, recorder: Recorder) -> None:
        super().__init__(inner, recorder)
        self._counts_exactly = inner._counts_exactly
        self._unsent = BytesReader(BytesView())  # what the sink has not told us of

    async def _write_view(self, view: BytesView) -> None:
        sink = self._inner
        before, sink._progress = sink._progress, self._hear
        try:
            lasting = view if self._recorder.is_full else _lasting(view)  # Law 2
            self._unsent = BytesReader(lasting)
            await sink.write_view(lasting)  # and no other: Law 1
            if not self._counts_exactly:
                self._recorder.passed(_SENT, lasting)
        except Exception as exc:
            self._recorder.failed(_SENT, exc)
            raise
        finally:
            sink._progress = before
            self._unsent = BytesReader(BytesView())
            view = lasting = BytesView()  # an error that is kept holds this frame, but no memory

    def _hear(self, nbytes: int) -> None:
        """Be told by the sink what the system has taken."""
        if self._counts_exactly:  # Law 1
            self._recorder.passed(_SENT, self._unsent.take(nbytes))
        if self._progress is not None:
            self._progress(nbytes)

    def _write_now(self, view: BytesView) -> int:
        sink = self._inner
        if sink._is_sending or sink._is_closed:
            return 0
        nbytes: int = sink._write_now(view)
        if nbytes:
            self._recorder.passed(_SENT, _lasting(view[:nbytes]))
        return nbytes

    async def _send_all(self, data: memoryview) -> None:
        # What a memoryview shows can be changed by whoever has its exporter, but for that of bytes.
        await self._write_view(BytesView(data))

    async def _wait_write_might_not_block(self) -> None:
        await self._inner.wait_write_might_not_block()

    async def _send_eof(self) -> None:  # for those subclasses that have `send_eof`
        try:
            await self._inner.send_eof()
        except Exception as exc:
            self._recorder.failed(_SENT, exc)
            raise
        self._recorder.ended(_SENT)


class CapturedHalfCloseableWrite(CapturedWrite, SendsEof):
    """What `capture` makes of a sink that has a `send_eof`."""


class CapturedStream(CapturedRead, CapturedWrite, trio.abc.Stream):
    """What `capture` makes of a stream."""


class CapturedHalfCloseableStream(CapturedStream, SendsEof, trio.abc.HalfCloseableStream):
    """What `capture` makes of a stream that has a `send_eof`."""


def _lasting(view: BytesView) -> BytesView:
    """Return a view of the same bytes that nobody can change."""
    may_change = any(ref is not None and ref.may_change for ref in view.block_refs)
    return view.compact() if may_change else view


@overload
def capture(
    stream: ClosesByHalves | trio.abc.HalfCloseableStream,
    *,
    max_nbytes: SupportsIndex | None = None,
) -> CapturedHalfCloseableStream: ...


@overload
def capture(
    stream: ReadWrite | trio.abc.Stream, *, max_nbytes: SupportsIndex | None = None
) -> CapturedStream: ...


@overload
def capture(
    stream: Read | trio.abc.ReceiveStream, *, max_nbytes: SupportsIndex | None = None
) -> CapturedRead: ...


@overload
def capture(
    stream: Write | trio.abc.SendStream, *, max_nbytes: SupportsIndex | None = None
) -> CapturedWrite: ...


def capture(stream: Any, *, max_nbytes: SupportsIndex | None = None) -> object:
    """Return `stream`, remembering what passes over it, in which direction and when.

    What is returned is used in place of `stream`: it is a `Read`, a `Write` or both, and the trio
    stream that goes with that. Its `capture` is what has passed so far, a `Capture`: to look at,
    to save to a file, to replay in a test. Closing it closes `stream`.

    Put it beneath what is to be watched, and above what makes bytes look random: a capture above
    TLS can be read and replayed, one beneath it cannot.

    What was captured is kept as it lies: so long as a capture is there, so are the blocks that
    its bytes are in, and a pool has to make new ones. Long conversations want `max_nbytes`.

    Args:
      stream: any trio stream, `Read` or `Write`.
      max_nbytes: how many bytes to remember, of both directions together, at least 0; all if not
        given. When more pass, nothing is remembered any more, and `Capture.incomplete` says so.

    Raises:
      TypeError: `stream` is none of these, or `max_nbytes` no integer.
      ValueError: `max_nbytes` is negative.
      RuntimeError: this is not called in trio, whose clock it reads.

    Cancellation: as of `stream`. Of a send that was cancelled, what was really sent is
      remembered, if `stream` says what that is: sockets, pipes and files do.

    Cost: some 5 µs for each receive and each send, and 400 bytes of memory. What is sent from
      memory that somebody can write to (a bytearray) is copied.

    Example:
      >>> async def main():
      ...     ours, theirs = trio.testing.memory_stream_pair()
      ...     await theirs.send_all(b"hello")
      ...     stream = capture(ours)
      ...     print(await stream.receive_some())
      ...     await stream.send_all(b"hi")
      ...     return stream.capture
      >>> captured = trio.run(main)
      b'hello'
      >>> captured.received, captured.sent
      (BytesView(b'hello'), BytesView(b'hi'))

    Idea: tcpdump; bytesbuf has none.
    """
    limit = None if max_nbytes is None else count_of(max_nbytes, "max_nbytes")
    if not isinstance(stream, (Read, Write, trio.abc.ReceiveStream, trio.abc.SendStream)):
        raise TypeError(f"capture wants a stream, a Read or a Write, not {type(stream).__name__}")
    inner: Any = from_trio(stream)
    recorder = Recorder(limit)
    by_halves = hasattr(inner, "send_eof")
    if not isinstance(inner, Write):
        return CapturedRead(inner, recorder)
    if isinstance(inner, Read):
        made = CapturedHalfCloseableStream if by_halves else CapturedStream
        return made(inner, recorder)
    return (CapturedHalfCloseableWrite if by_halves else CapturedWrite)(inner, recorder)
