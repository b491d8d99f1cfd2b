"""`replay`: a captured conversation, played again by a stream that has the peer's part in it.

Law 1. What was received comes again, cut as it was, and not before everything is sent that had been
       sent before it: a reply does not come before its request.
Law 2. What is sent is held against what was sent then, byte by byte, however either was cut. A
       write with a byte that differs is refused as a whole.
Law 3. Where the capture ends without an end of what was received, a receive waits until it is
       closed or cancelled, as the one did that was not captured. Of an incomplete capture nobody
       knows how it went on: a receive raises, and whatever is sent beyond it is taken.
Law 4. An error comes where it came, once, as a `trio.BrokenResourceError`; if nothing came behind
       it, again and again.
Law 5. With delays, what was received comes as long after the event before it as it did then,
       whenever that was now. A wait that is cancelled does not begin anew. Sending takes no time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

import attrs
import trio
from trio.lowlevel import checkpoint

from .._errors import BytesBufError
from ..io import Capture, Direction
from ..io._receive_size import PLAIN_RECEIVE_NBYTES
from ..io._trio_sides import ReceivesSome, SendsAll, SendsEof
from ..seq import BytesReader, BytesView

if TYPE_CHECKING:
    from ..io import CaptureEvent

RECEIVED: Final = Direction.RECEIVED
SENT: Final = Direction.SENT

COMPARED_NBYTES: Final = 65_536
"""How much is looked at at a time, to find the byte at which two sends differ."""


@attrs.define(eq=False, slots=False)
class ReplayMismatch(BytesBufError, AssertionError):
    """Something else was sent, or less was received, than when the conversation was captured."""

    offset: int
    """Where, in bytes from the beginning of what was sent, or received."""

    then: int | None
    """The byte that was there then; None if there was none any more."""

    now: int | None
    """The byte that is there now; None if there is none any more."""

    direction: Direction = Direction.SENT
    """Which way."""

    def __str__(self) -> str:
        return (
            f"byte {self.offset} of what is {self.direction.value} was {_shown(self.then)} then, "
            f"and is {_shown(self.now)} now"
        )


def _shown(byte: int | None) -> str:
    if byte is None:
        return "none"
    return f"{byte:#04x} ({chr(byte)!r})" if 32 <= byte < 127 else f"{byte:#04x}"


@attrs.frozen
class Turn:
    """An event, and what has to be over before it comes."""

    event: CaptureEvent
    delay: float
    """How many seconds after the event before it."""

    sent_nbytes: int
    """How much was sent until then, this event not included."""

    sent_end: bool
    """Whether the end was sent before."""


def _turns_of(capture: Capture) -> list[Turn]:
    turns: list[Turn] = []
    nbytes, before, ended = 0, 0, False
    for event in capture.events:
        turns.append(Turn(event, (event.nanoseconds - before) / 1e9, nbytes, ended))
        before = event.nanoseconds
        if event.direction is Direction.SENT:
            nbytes += len(event.view)
            ended = event.is_end
    return turns


class ReplayStream(SendsEof, ReceivesSome, SendsAll, trio.abc.HalfCloseableStream):
    """The peer of a captured conversation; `replay` makes it."""

    _counts_exactly = True

    def __init__(self, capture: Capture, *, with_delays: bool) -> None:
        self._incomplete = capture.incomplete
        self._with_delays = with_delays
        expected = capture.sent
        self._sent_nbytes_then = len(expected)
        self._expected = BytesReader(expected)  # what is to be sent yet
        turns = _turns_of(capture)
        self._coming = [at for at, turn in enumerate(turns) if turn.event.direction is RECEIVED]
        self._going = [at for at, turn in enumerate(turns) if turn.event.direction is SENT]
        self._failing = [at for at in self._going if turns[at].event.error]
        self._turns = turns
        self._came = 0  # how many of `_coming` are over
        self._went = 0  # how many of `_going`
        self._failed = 0  # how many of `_failing`
        self._taken_nbytes = 0  # of the first that is not over
        self._received_nbytes = 0
        self._sent_nbytes = 0
        self._sent_end = False
        self._over_at = {-1: trio.current_time()}  # when which turn was over
        self._moved = trio.Event()  # set, and made anew, when something was sent, or closed

    def __repr__(self) -> str:
        return (
            f"<ReplayStream, {self._received_nbytes} bytes received, "
            f"{self._sent_nbytes} of {self._sent_nbytes_then} sent>"
        )

    def check_finished(self) -> None:
        """Raise ReplayMismatch unless everything was received and sent that was then."""
        self._refuse_less()
        for at in self._coming[self._came :]:
            if view := self._turns[at].event.view:
                byte = view[self._taken_nbytes]
                raise ReplayMismatch(self._received_nbytes, byte, None, RECEIVED)

    def _refuse_less(self) -> None:
        """Raise ReplayMismatch if less was sent than then."""
        if self._expected.remaining():
            raise ReplayMismatch(self._sent_nbytes, self._expected.peek_view(1)[0], None)

    # Receiving

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        await checkpoint()
        at = await self._next_turn()
        event = self._turns[at].event
        if event.error:
            if self._came + 1 < len(self._coming):  # Law 4
                self._is_over(at)
                self._came += 1
            raise trio.BrokenResourceError(f"as it was captured: {event.error}")
        if event.is_end:
            return BytesView()
        view = event.view[self._taken_nbytes :][:max_bytes]
        self._taken_nbytes += len(view)
        self._received_nbytes += len(view)
        if self._taken_nbytes == len(event.view):
            self._is_over(at)
            self._came += 1
            self._taken_nbytes = 0
        return view

    async def _next_turn(self) -> int:
        """Wait until it is the turn of what comes next. (Laws 1, 3 and 5)"""
        while True:
            self._refuse_if_closed()
            if self._came == len(self._coming):
                if self._incomplete:
                    raise trio.BrokenResourceError(f"the capture has no more: {self._incomplete}")
                await self._moved.wait()
                continue
            at = self._coming[self._came]
            turn = self._turns[at]
            if self._sent_nbytes < turn.sent_nbytes or self._sent_end < turn.sent_end:
                await self._moved.wait()
                continue
            now = trio.current_time()
            due = self._over_at.setdefault(at - 1, now) + turn.delay
            if not self._with_delays or self._taken_nbytes or due <= now:
                return at
            with trio.move_on_at(due):
                await self._moved.wait()

    async def _receive_some(self, max_bytes: int | None) -> bytes:
        limit = PLAIN_RECEIVE_NBYTES if max_bytes is None else max_bytes
        return bytes(await self._receive_view(limit))

    # Sending

    async def _write_view(self, view: BytesView) -> None:
        await checkpoint()
        self._refuse_if_closed()
        self._refuse_behind_the_end()
        room = self._room()
        self._compare(view[:room])
        self._sent(len(view[:room]))
        if room is not None and len(view) > room:
            self._fail()

    async def _send_all(self, data: memoryview) -> None:
        await self._write_view(BytesView(data))

    async def _send_eof(self) -> None:
        await checkpoint()
        self._refuse_if_closed()
        self._refuse_less()
        self._end()

    async def _aclose(self) -> None:
        self._end()
        await checkpoint()

    def _refuse_behind_the_end(self) -> None:
        if self._sent_end:
            raise trio.ClosedResourceError("the end of what is sent was sent before")

    def _room(self) -> int | None:
        """Return how much can be sent until sending fails; None if it does not."""
        if self._failed == len(self._failing):
            return None
        return self._turns[self._failing[self._failed]].sent_nbytes - self._sent_nbytes

    def _compare(self, view: BytesView) -> None:
        """Raise ReplayMismatch if `view` is not what comes next. (Laws 2 and 3)"""
        expected = self._expected.peek_view(min(len(view), self._expected.remaining()))
        if self._incomplete:
            view = view[: len(expected)]
        if view == expected:
            return
        start = 0
        while view[start : start + COMPARED_NBYTES] == expected[start : start + COMPARED_NBYTES]:
            start += COMPARED_NBYTES
        now = bytes(view[start : start + COMPARED_NBYTES])
        then = bytes(expected[start : start + COMPARED_NBYTES])
        at = next((at for at, (a, b) in enumerate(zip(then, now, strict=False)) if a != b), None)
        if at is None:
            at = len(then)
        raise ReplayMismatch(
            self._sent_nbytes + start + at, then[at] if at < len(then) else None, now[at]
        )

    def _sent(self, nbytes: int) -> None:
        """Count what was sent, and end the turns that it fills."""
        self._sent_nbytes += nbytes
        self._expected.advance(min(nbytes, self._expected.remaining()))
        while self._went < len(self._going):
            at = self._going[self._went]
            turn = self._turns[at]
            nbytes_then = turn.sent_nbytes + len(turn.event.view)
            if not turn.event.view or self._sent_nbytes < nbytes_then:
                break
            self._is_over(at)
            self._went += 1
        if self._progress is not None and nbytes:
            self._progress(nbytes)
        self._move()

    def _fail(self) -> NoReturn:
        """Raise the error that comes next. (Law 4)"""
        at = self._going[self._went]
        if self._went + 1 < len(self._going):
            self._is_over(at)
            self._went += 1
            self._failed += 1
        raise trio.BrokenResourceError(f"as it was captured: {self._turns[at].event.error}")

    def _end(self) -> None:
        self._sent_end = True
        for at in self._going[self._went :]:
            if self._turns[at].event.is_end:
                self._is_over(at)
        self._move()

    def _is_over(self, at: int) -> None:
        self._over_at[at] = trio.current_time()

    def _move(self) -> None:
        """Wake whoever waits to receive."""
        self._moved.set()
        self._moved = trio.Event()


def replay(capture: Capture, *, with_delays: bool = False) -> ReplayStream:
    """Return a stream that plays the peer's part of a captured conversation.

    What was received is received again, cut as it was; what is sent is compared with what was sent.
    So a conversation that showed a bug, captured once, is a test. It is a `Read`, a `Write` and a
    trio stream.

    A receive waits until everything has been sent that had been sent before it. So a program that
    now sends less waits for ever: put a `trio.fail_after` around it. What was captured beneath TLS
    cannot be replayed, since TLS never sends the same bytes twice.

    Args:
      capture: what to play.
      with_delays: whether what is received comes as late as it did, by trio's clock; with
        `trio.testing.MockClock` that takes no time.

    Raises:
      TypeError: `capture` is no `Capture`.
      RuntimeError: this is not called in trio, whose clock it reads.

    Sending raises:
      ReplayMismatch: another byte is sent than then, or one where none was sent. Nothing of it
        counts as sent.
      trio.BrokenResourceError: sending failed then, too; receiving raises this as well.

    When all is over, `check_finished()` raises ReplayMismatch if less was sent, or received.

    Cancellation: atomic, both ways.

    Cost: the bytes are compared, and not copied.

    Example:
      >>> async def client(stream):
      ...     await stream.send_all(b"HELO a\\r\\n")
      ...     return await stream.receive_some()
      >>> talk = Capture([
      ...     CaptureEvent(0, Direction.SENT, b"HELO trio\\r\\n"),
      ...     CaptureEvent(3_000_000, Direction.RECEIVED, b"250 ok\\r\\n"),
      ... ])
      >>> async def main():
      ...     return await client(replay(talk))
      >>> trio.run(main)
      Traceback (most recent call last):
      trio_bytesbuf.testing._replay.ReplayMismatch: byte 5 of what is sent was 0x74 ('t') then...

    Idea: VCR of Ruby, for bytes; `tokio_test::io::Builder`.
    """
    if not isinstance(capture, Capture):
        raise TypeError(f"a Capture is wanted to replay, not {type(capture).__name__}")
    return ReplayStream(capture, with_delays=with_delays)
