"""`SharedWriter`: many tasks write to one sink, and what they write in a round is one send.

    write, write_when_room, send_all: any task            one task sends
    ---- message, message, message ----> | buffer | ----> flush ----> sink

Each message is put into the buffer in one step of one task, so messages never interleave; the
buffer is a `BufWriter` that only the sending task flushes, so nobody is refused because another
task sends. The bytes are counted in the order in which they were written: who waits for bytes to
be sent waits for a count.

Law 1. The sending task is woken by the first byte that is put into an empty buffer, and runs in
       the scheduler's next round: with it go all bytes that were written meanwhile. After a send it
       lets a whole round pass, so tasks that were woken by the send go together in the next one:
       measured with 50 tasks that never wait, a third fewer system calls, and no more time.
       It sleeps while nothing is to be sent.
Law 2. There is one queue for room, first come, first served. Who comes while others wait, waits
       behind them, though there be room. Above the high water mark nobody gets room before the
       buffer is down to the low one. `write` does not queue: it takes what there is up to
       `max_nbytes`.
Law 3. A message that waits for room is put by whoever makes room, in its turn. So it is either in
       the queue or in the buffer, and a task that is cancelled knows which.
Law 4. Only the end of the block cancels a send; cancelled tasks never do. So no message is sent in
       part unless the sink breaks, or the block is left by an exception.
Law 5. The first error of the sink is the last: nothing is sent after it, and everybody is told.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import attrs
import trio
from trio.lowlevel import (
    Abort,
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    current_task,
    enable_ki_protection,
    reschedule,
    wait_task_rescheduled,
)

from ._writer import MAX_NBYTES, BufWriter
from ._writing import _lasting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import SupportsIndex

    from ..io import Write
    from ..seq import BytesView
    from ..seq._flat import Buffer


@attrs.define(eq=False)
class _Turn:
    """A task that waits for room, or for bytes to be sent, or for one and then the other."""

    message: BytesView | None
    """What is to be put when there is room."""

    until_sent: bool
    """Whether room is not enough."""

    target_nbytes: int = 0
    """How many bytes must have been sent in all; known when the message is put."""

    is_done: bool = False
    """Whether that is so. If the task is woken and it is not, there is an error."""

    woken: trio.Event = attrs.field(factory=trio.Event)


class SharedWriter:
    """Writes of many tasks to one sink, one send for each round; made by `open_shared_writer`.

    Any task of the trio run that made it may call any method at any time; other threads come by
    `trio.from_thread`. Which method:

    * `write_when_room` if the answer comes by another way: requests, notifications;
    * `send_all` if the next step needs that the bytes are gone;
    * `write`, many times, and `drain` now and then, for many small pieces; `flush` at the end.
    """

    def __init__(self, buffer: BufWriter[Any]) -> None:
        self._buffer = buffer
        self._marks = buffer._marks
        buffer._progress = self._were_sent
        self._written_nbytes = 0
        self._sent_nbytes = 0
        self._is_congested = False  # above the high mark, and since then not at the low one
        self._for_room: OrderedDict[_Turn, None] = OrderedDict()
        self._for_sending: OrderedDict[_Turn, None] = OrderedDict()
        self._sleeper: trio.lowlevel.Task | None = None
        self._failure: Exception | None = None
        self._is_closed = False
        # What cancels the block does not end the sending: a task may still say goodbye, shielded.
        self._scope = trio.CancelScope(shield=True)
        self._ended = trio.Event()

    def __repr__(self) -> str:
        return f"<SharedWriter of {self.unsent_nbytes} bytes, over {self._buffer._inner!r}>"

    @property
    def unsent_nbytes(self) -> int:
        """How many bytes were written and, as far as is known, not sent.

        What waits for room is not among them.
        """
        return self._written_nbytes - self._sent_nbytes

    # Writing

    def write(self, data: BytesView | Buffer) -> None:
        """Put all bytes of `data` behind what is in the buffer; they are sent soon. Never waits.

        Takes what room there is, before the tasks that wait for some.

        Args:
          data: a view, or any contiguous buffer. What can be changed is copied.

        Raises:
          BufferFull: there would be more than `max_nbytes` in the buffer; nothing was put.
          TypeError: `data` is no view and no buffer.
          trio.ClosedResourceError: the block was left, or the sink closed.
          trio.BrokenResourceError: sending failed; the cause says why.

        Cost: as `BufWriter.write`; the first of a round wakes a task.
        """
        if self._is_closed or self._failure is not None:
            self._refuse()
        buffer = self._buffer
        before = buffer._buffered_nbytes
        buffer.write(data)
        try:
            self._were_put(buffer._buffered_nbytes - before)
        except MemoryError:
            buffer._take_back(before)
            raise

    async def write_when_room(self, data: BytesView | Buffer) -> None:
        """Wait for room in one's turn, and put all of `data`; it is sent soon.

        Messages of this and of `send_all` are sent in the order of the calls. One that has more
        than `max_nbytes` is put when the buffer is down to the low water mark.

        Args:
          data: a view, or any contiguous buffer. What can be changed is copied at the call.

        Raises:
          TypeError: `data` is no view and no buffer.
          trio.ClosedResourceError: the block was left, meanwhile or before, or the sink closed;
            nothing was put.
          trio.BrokenResourceError: sending failed; the cause says why. Nothing was put.

        Cancellation: atomic. When this returns all is in the buffer, and only the end of the sink
        or of the block keeps it from being sent.

        Cost: one checkpoint if there is room, and no system call of its own.

        Example:
          >>> async def main():
          ...     sink = FakeWrite()
          ...     async with open_shared_writer(sink) as writer:
          ...         async with trio.open_nursery() as nursery:
          ...             nursery.start_soon(writer.write_when_room, b"one,")
          ...             nursery.start_soon(writer.write_when_room, b"two,")
          ...     return sorted(sink.contents.to_bytes().split(b","))
          >>> trio.run(main)
          [b'', b'one', b'two']

        Idea: `send` of trio's memory channels.
        """
        turn = _Turn(_lasting(data), until_sent=False)
        del data  # an error that is kept holds this frame, but no memory
        await self._take_turn(turn)

    async def send_all(self, data: BytesView | Buffer) -> None:
        """Wait for room in one's turn, put all of `data`, and wait until the sink has taken it.

        As `write_when_room` otherwise.

        Raises:
          As `write_when_room`; but if sending fails, part of `data` may be sent.

        Cancellation: atomic before `data` has had its turn. After that it counts as written: it
        stays in the buffer and is sent, so never send it again. `write_when_room` and `flush`
        tell one from the other.
        """
        turn = _Turn(_lasting(data), until_sent=True)
        del data  # an error that is kept holds this frame, but no memory
        await self._take_turn(turn)

    async def drain(self) -> None:
        """Wait for room in one's turn, and put nothing.

        There is none from when the buffer is above the high water mark until it is down to the low
        one. Who comes then, waits; as does who comes while others wait.

        Many tasks that drain at once have room at once, so each may bring the buffer as far above
        the mark as it then writes. `write_when_room` does not.

        Raises:
          trio.ClosedResourceError: the block was left, meanwhile or before, or the sink closed.
          trio.BrokenResourceError: sending failed; the cause says why.

        Cancellation: atomic.

        Idea: asyncio's `StreamWriter.drain`.
        """
        await self._take_turn(_Turn(None, until_sent=False))

    async def flush(self) -> None:
        """Wait until the sink has taken all that was written before this call.

        What waits for room is not written yet.

        Raises:
          As `drain`.

        Cancellation: atomic. The sending goes on.
        """
        if self._is_closed or self._failure is not None:
            await checkpoint()
            self._refuse()
        await self._until_sent()

    async def _until_sent(self) -> None:
        await checkpoint_if_cancelled()
        turn = _Turn(None, until_sent=True)
        self._grant(turn)
        await self._wait(turn)

    # Turns

    async def _take_turn(self, turn: _Turn) -> None:
        """Wait until it is the turn of `turn`, and for what it waits for."""
        await checkpoint_if_cancelled()
        if self._is_closed or self._failure is not None:
            await cancel_shielded_checkpoint()
            self._refuse()
        if self._for_room or not self._has_room(turn):
            self._for_room[turn] = None
        else:
            self._grant(turn)
        await self._wait(turn)

    async def _wait(self, turn: _Turn) -> None:
        """Wait until `turn` is done with; a checkpoint, after which nothing is cancelled."""
        if turn.is_done:
            await cancel_shielded_checkpoint()
            return
        try:
            await turn.woken.wait()
        except BaseException as exc:
            if turn.is_done and isinstance(exc, trio.Cancelled):
                return  # its turn came after it was cancelled and before it ran (Law 3)
            self._for_sending.pop(turn, None)
            self._for_room.pop(turn, None)
            turn.message = None  # which a kept error would hold
            self._admit()  # those behind it may want less room
            raise
        if not turn.is_done:
            self._refuse()

    def _has_room(self, turn: _Turn) -> bool:
        if self._is_congested:
            return False
        unsent = self.unsent_nbytes
        nbytes = 0 if turn.message is None else turn.message._nbytes
        return unsent + nbytes <= self._marks.max_nbytes or unsent <= self._marks.low_nbytes

    def _admit(self) -> None:
        """Give room to those who wait for it, in order, as far as there is some. (Laws 2 and 3)"""
        while self._for_room:
            turn = next(iter(self._for_room))
            if not self._has_room(turn):
                return
            self._grant(turn)
            del self._for_room[turn]

    def _grant(self, turn: _Turn) -> None:
        """Put the message of `turn`; it is done, or goes on waiting until that is sent."""
        message = turn.message
        if turn.until_sent:
            self._for_sending[turn] = None  # first: behind the put nothing may lack memory
        if message is not None:
            before = self._buffer._buffered_nbytes
            try:
                self._buffer._put(message)
                try:
                    self._were_put(message._nbytes)
                except MemoryError:
                    self._buffer._take_back(before)
                    raise
            except BaseException:
                self._for_sending.pop(turn, None)
                raise
            turn.message = None
        if turn.until_sent and self._written_nbytes > self._sent_nbytes:
            turn.target_nbytes = self._written_nbytes
        else:
            self._for_sending.pop(turn, None)
            turn.is_done = True
            turn.woken.set()

    def _were_put(self, nbytes: int) -> None:
        """Note that so many bytes were put into the buffer, and have them sent."""
        written_nbytes = self._written_nbytes + nbytes
        is_above = written_nbytes - self._sent_nbytes > self._marks.high_nbytes
        if self._sleeper is not None and nbytes:
            reschedule(self._sleeper)  # the last that may lack memory
            self._sleeper = None
        self._written_nbytes = written_nbytes
        if is_above:
            self._is_congested = True

    def _were_sent(self, nbytes: int) -> None:
        """Note that so many bytes are sent, and wake who waits for that. Called by the buffer."""
        self._sent_nbytes += nbytes
        if self.unsent_nbytes <= self._marks.low_nbytes:
            self._is_congested = False
        while self._for_sending:
            turn = next(iter(self._for_sending))
            if turn.target_nbytes > self._sent_nbytes:
                break
            del self._for_sending[turn]
            turn.is_done = True
            turn.woken.set()
        self._admit()

    # The task that sends

    @enable_ki_protection  # an interrupt is for the block, which is told of it as itself
    async def _send_in_rounds(self) -> None:
        """Send what is written, until the block ends or sending fails. (Law 1)"""
        buffer = self._buffer
        try:
            with self._scope:
                while True:
                    if buffer._buffered_nbytes:
                        await checkpoint()  # others are in the middle of this round
                    else:
                        await self._sleep()
                    await buffer.flush()
        except Exception as exc:  # noqa: BLE001  # all who write are told
            self._failure = exc
            self._turn_away(self._for_sending)
            self._turn_away(self._for_room)
        finally:
            self._ended.set()

    async def _sleep(self) -> None:
        """Sleep until there is something to send."""

        def give_up(_: object) -> Abort:
            self._sleeper = None
            return Abort.SUCCEEDED

        self._sleeper = current_task()
        await wait_task_rescheduled(give_up)

    # Errors, and the end

    def _refuse(self) -> NoReturn:
        """Raise what keeps bytes from being written or sent."""
        failure = self._failure
        if isinstance(failure, trio.ClosedResourceError):
            raise trio.ClosedResourceError("the sink of this SharedWriter was closed") from failure
        if failure is not None:
            raise trio.BrokenResourceError(f"sending failed: {failure!r}") from failure
        raise trio.ClosedResourceError("the block of this SharedWriter was left")

    @staticmethod
    def _turn_away(turns: OrderedDict[_Turn, None]) -> None:
        """Wake those who will not have what they wait for."""
        while turns:
            turn, _ = turns.popitem(last=False)
            turn.message = None
            turn.woken.set()

    async def _finish(self) -> None:
        """Take nothing more, and wait until all is sent."""
        self._is_closed = True
        self._turn_away(self._for_room)
        if self._failure is not None:
            await checkpoint()
            self._refuse()
        await self._until_sent()

    async def _end(self) -> None:
        """Stop sending, and drop what is left; nothing, behind `_finish`."""
        self._is_closed = True
        self._scope.cancel()
        with trio.CancelScope(shield=True):
            await self._ended.wait()
        self._turn_away(self._for_sending)
        self._turn_away(self._for_room)
        self._buffer._drop()  # and not closed: the sink is not ours
        self._buffer._progress = None  # which refers to this
        self._written_nbytes = self._sent_nbytes


def check_shared_writer(writer: SharedWriter) -> None:
    """Raise AssertionError if a law is broken; to be called between the steps of tasks."""
    unsent, marks = writer.unsent_nbytes, writer._marks
    assert unsent == writer._buffer.unsent_nbytes
    assert unsent <= marks.high_nbytes or writer._is_congested
    assert unsent > marks.low_nbytes or not writer._is_congested
    assert not (unsent and writer._sleeper), "it sleeps, and there is something to send"
    waiting = list(writer._for_room)
    assert not (waiting and writer._has_room(waiting[0])), "there is room, and one waits for it"
    targets = [turn.target_nbytes for turn in writer._for_sending]
    assert targets == sorted(targets)
    assert all(writer._sent_nbytes < target <= writer._written_nbytes for target in targets)
    assert not any(turn.is_done or turn.woken.is_set() for turn in waiting)
    assert not (writer._failure and (waiting or targets)), "one waits, and nothing will be sent"


@asynccontextmanager
async def open_shared_writer(
    sink: Write | trio.abc.SendStream,
    *,
    low_water_nbytes: SupportsIndex | None = None,
    high_water_nbytes: SupportsIndex | None = None,
    max_nbytes: SupportsIndex = MAX_NBYTES,
) -> AsyncIterator[SharedWriter]:
    """Let many tasks write to `sink` during the block, and send what they write in few calls.

    Leaving the block normally sends what is in the buffer first, and waits for that as long as the
    peer takes: put a timeout around the block where peers may be stuck. Leaving it by an exception,
    or by cancellation, drops what is left; the peer may then have a part of a message, so close the
    sink. From then on tasks that still write, or wait for room, get `trio.ClosedResourceError`.

    The sink is not closed: other tasks may still receive from it. Nobody else may send to it during
    the block. To have it closed, too::

        async with stream, open_shared_writer(stream) as writer:
            ...

    Args:
      sink: a `Write`, or any `trio.abc.SendStream`.
      low_water_nbytes: who waits for room has some when no more is in the buffer.
      high_water_nbytes: when more is in the buffer there is no room.
      max_nbytes: `write` refuses what would bring more into the buffer, at least 1.

    Raises:
      TypeError: `sink` is neither, or a number is no integer.
      ValueError: the three numbers are not in this order.
      trio.BrokenResourceError: at the end of a block that raises nothing itself: sending failed,
        now or before; the cause says why. If the sink was closed, trio.ClosedResourceError.

    What the block raises comes out as it is, in no group. So do errors of the sink, which are
    raised by the methods of the writer, and at the end of the block; they do not cancel the block.

    Cancellation: at the end of the block: spoils, as any exception does.

    Cost: one background task, which sleeps while nothing is written. N tasks that write in the same
    round of trio's scheduler cost one system call, if the kernel has room.

    Example:
      >>> async def main():
      ...     ours, theirs = memory_pair()
      ...     async with ours, open_shared_writer(ours) as writer:
      ...         writer.write(b"one, ")
      ...         await writer.send_all(b"two")
      ...     return await theirs.read_to_end(100)
      >>> trio.run(main)
      BytesView(b'one, two')

    Idea: https://github.com/python-trio/trio/issues/328, which asks for a queue in `send_all`; the
    group commit of databases.
    """
    writer = SharedWriter(
        BufWriter(
            sink,
            low_water_nbytes=low_water_nbytes,
            high_water_nbytes=high_water_nbytes,
            max_nbytes=max_nbytes,
        )
    )
    raised: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer._send_in_rounds, name="the sending task of a SharedWriter")
        try:
            yield writer
            await writer._finish()
        except BaseException as exc:  # noqa: BLE001  # raised below, outside the nursery
            raised = exc
        await writer._end()
    try:
        if raised is not None:
            raise raised
    finally:
        del raised  # which refers to this frame
