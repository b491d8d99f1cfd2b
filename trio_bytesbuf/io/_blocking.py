"""Files that block, for code in threads, over sources and sinks that do not.

    BlockingReader     task: source      -->  thread: parse(file)    the thread waits for the source
    BlockingWriter     task: sink        <--  thread: pack(file)     the thread waits for the sink

Functions of such files, as streams, are in `_beside`; files that block, as streams, are in
`_in_thread`.

Law 1. While a `BlockingReader` is open, the source is its own: another reader of the source gets
       `trio.BusyResourceError`. So what it has received and nobody has read (`_at_hand`) can
       be put back whenever it is closed, by whatever thread, and is in order.
Law 2. A call that ends with an error has read nothing: what it had received is at hand.
Law 3. What waits for trio waits in the task that started the thread, by `trio.from_thread.run`;
       so whatever cancels that task ends the wait.
Law 4. `_at_hand` belongs to who holds `_claim`: one read, with its wait in trio, or the giving
       back, which keeps it. The claim is tried, and never waited for. A giving back that does not
       get it ends the read's wait, and is tried again by the read when that is over; so a file
       may be closed while a thread that was abandoned is in it.
Law 5. What is to be sent is taken from the buffer in trio, right before the send. So who is refused
       (in the wrong thread, or because another task sends) has lost nothing. After a send that
       failed nothing more is sent, because nobody knows how much of it was.
Law 6. A finalizer never waits: it gives the source back, from another thread than trio's
       by a callback, and it sends nothing.
"""

from __future__ import annotations

import contextlib
import io
import operator
import sys
import threading
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from ..seq import BytesBufWriter, BytesReader, BytesView
from ..seq._flat import flat_writable
from ..seq._view_queries import flat_of
from ._read import Read
from ._write import Write

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import SupportsIndex

    from ..seq._flat import Buffer

A = TypeVar("A")
T = TypeVar("T")

SEND_NBYTES: Final = 262_144
"""How much a `BlockingWriter` gathers before it goes to trio, which takes some 60 µs: as long as
copying that much."""

UNCOPIED_NBYTES: Final = 65_536
"""`bytes` of this size are sent as they are. A block of the pool has as much, and copying less
than that costs less than a send of its own."""


def _in_trio(afn: Callable[..., Awaitable[T]], *args: object) -> T:
    """Call `afn` in the task that started this thread."""
    if trio.lowlevel.in_trio_run():
        raise RuntimeError(
            "this file blocks: use it in a thread, by trio.to_thread.run_sync, and not in a task"
        )
    return trio.from_thread.run(afn, *args)


class BlockingReader(io.BufferedIOBase):
    """A source as a binary file, for code that reads files, in a thread.

    Made in a task, read in a thread that ``trio.to_thread.run_sync`` started, closed anywhere.
    While it is open the source is its own. Closing it leaves the source open, and puts back what
    was received and not read. A thread that is in it meanwhile, because it was abandoned, gets
    ValueError.

    `read`, `readinto` and `readline` wait until they have what was asked for; `read1`, `peek` and
    `readinto1` until there are bytes. It cannot seek.

    The thread is held while the source is silent. `trio.to_thread.run_sync` starts 40 at a time if
    it is not told; when all of them wait here, no file is read or written. So where there may be
    many, give them a limit of their own:
    ``run_sync(parse, file, limiter=trio.CapacityLimiter(...))``.

    Args:
      source: what to read.

    Raises:
      TypeError: `source` is no `Read`.
      trio.BusyResourceError: a task is reading it. Reading raises it while another thread reads.
      trio.ClosedResourceError: it was closed.
      RuntimeError: this was not called in a task. Reading raises it in trio's own thread, and in
        threads that trio did not start.
      Reading raises what `Read.receive_view` does, and `trio.Cancelled` if the task that
      started the thread was cancelled.

    Cancellation: reads are resumable. What a cancelled one had received is read by the next one,
    or put back.

    Cost: 60 µs whenever nothing is at hand; one receive then brings up to 256 KiB of a
    socket. One copy, into the `bytes` that are returned. Otherwise a short read takes 2 µs and a
    line 6; `io.BufferedReader` around this makes that 1 and 0.3, but what it has buffered is not
    put back, and a read of its that is cancelled loses bytes.

    Example:
      >>> import csv, io
      >>> def rows(file):
      ...     with io.TextIOWrapper(file, newline="") as text:
      ...         return list(csv.reader(text))
      >>> async def main():
      ...     source = FakeRead(b"a,b\\n1,2\\n", max_read_nbytes=3)
      ...     return await trio.to_thread.run_sync(rows, BlockingReader(source))
      >>> trio.run(main)
      [['a', 'b'], ['1', '2']]

    Idea: tokio-util's `SyncIoBridge`, which loses what is in its buffer; trio's issue 1024.
    """

    _owns_source = False
    _waiting: trio.CancelScope | None = None  # the wait of the read that is under way

    def __init__(self, source: Read) -> None:
        if not isinstance(source, Read):
            raise TypeError(f"a BlockingReader reads a Read, not {type(source).__name__}")
        self._token = trio.lowlevel.current_trio_token()
        if source._is_receiving:
            raise trio.BusyResourceError(f"another task is already receiving from {source!r}")
        source._refuse_if_closed()
        source._is_receiving = self._owns_source = True  # Law 1
        self._source = source
        self._claim = threading.Lock()
        self._at_hand = _AtHand(BytesView())

    def __repr__(self) -> str:
        return f"<BlockingReader of {self._source!r}>"

    def readable(self) -> bool:
        """Say that this file can be read."""
        self._refuse_if_closed()
        return True

    def read(self, size: SupportsIndex | None = -1, /) -> bytes:
        """Return `size` bytes, fewer only at the end; all that come if it is negative or None."""
        count = self._count(size)
        return self._with_at_hand(count, BytesReader.read, count)

    def read1(self, size: SupportsIndex = -1, /) -> bytes:
        """Return at most `size` bytes of what is at hand; b"" only at the end, or for 0."""
        count = self._count(size)
        return self._with_at_hand(min(count, 1), BytesReader.read1, count)

    def peek(self, size: SupportsIndex = 0, /) -> bytes:
        """Return bytes that are at hand, without moving; b"" only at the end."""
        return self._with_at_hand(1, BytesReader.peek, size)

    def readinto(self, target: Buffer, /) -> int:
        """Fill `target` and return how many bytes that took; fewer only at the end."""
        room = flat_writable(target)
        return self._with_at_hand(room.nbytes, BytesReader.readinto, room)

    def readinto1(self, target: Buffer, /) -> int:
        """Copy what is at hand into `target` and return how many bytes; 0 only at the end."""
        room = flat_writable(target)
        return self._with_at_hand(min(room.nbytes, 1), BytesReader.readinto1, room)

    def readline(self, size: SupportsIndex | None = -1, /) -> bytes:
        """Return the bytes up to and with the next newline, at most `size`."""
        count = self._count(size)
        self._begin()
        try:
            line = self._at_hand.readline(count)
            if line.endswith(b"\n") or len(line) == count:
                return line
            self._at_hand.seek(-len(line), io.SEEK_CUR)
            _in_trio(self._receive, count - len(line), b"\n")
            return self._at_hand.readline(count)
        finally:
            self._end()

    @staticmethod
    def _count(size: SupportsIndex | None) -> int:
        count = -1 if size is None else operator.index(size)
        return sys.maxsize if count < 0 else count

    def _refuse_if_closed(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on a closed file")

    def _begin(self) -> None:
        """Claim what is at hand for one read. (Law 4)"""
        self._refuse_if_closed()
        if not self._claim.acquire(blocking=False):
            self._refuse_if_closed()
            raise trio.BusyResourceError("another thread is reading this file")

    def _end(self) -> None:
        self._claim.release()
        if self.closed:  # meanwhile, by who could not give the source back
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._give_back)

    def _with_at_hand(self, nbytes: int, read: Callable[[BytesReader, A], T], arg: A) -> T:
        """Call `read` when `nbytes` bytes are at hand, or all that come."""
        self._begin()
        try:
            missing = nbytes - self._at_hand.remaining()
            if missing > 0:
                _in_trio(self._receive, missing, None)
            return read(self._at_hand, arg)
        finally:
            self._end()

    async def _receive(self, missing: int, end: bytes | None) -> None:
        """Receive until `missing` bytes more are at hand, or `end` is, or the stream ends."""
        if trio.lowlevel.current_trio_token() is not self._token:
            raise RuntimeError("this file belongs to another trio.run")
        self._refuse_if_closed()
        source = self._source
        views = [_rest_of(self._at_hand)]
        try:
            with trio.CancelScope() as self._waiting:
                while missing > 0:
                    source._is_receiving = False  # claimed again before anybody else has a turn
                    try:
                        view = await source.receive_view()
                    finally:
                        source._is_receiving = True
                    views.append(view)
                    missing -= len(view)
                    if not view or (end is not None and end in view):
                        break
        finally:
            self._waiting = None
            self._at_hand = _AtHand(BytesView.from_views(views))  # Law 2
        self._refuse_if_closed()

    def close(self) -> None:
        """Give the source back, with what was received and not read. Twice is harmless."""
        if not self.closed:
            super().close()
            if not self._owns_source:
                return
            try:
                here = trio.lowlevel.current_trio_token()
            except RuntimeError:
                here = None
            if here is self._token:
                self._give_back()
            else:  # before the thread's result is, for callbacks are run in order
                with contextlib.suppress(trio.RunFinishedError):
                    self._token.run_sync_soon(self._give_back)

    def _give_back(self) -> None:
        """Let others read the source, unless a read is under way; end its wait then. (Law 4)"""
        if not self._claim.acquire(blocking=False):
            if self._waiting is not None:
                self._waiting.cancel()
            return
        self._source._is_receiving = False
        rest = _rest_of(self._at_hand)
        if rest and not self._source._is_closed:
            self._source._put_back([rest])


class _AtHand(BytesReader):
    """What was received and not read.

    The collector closes files that it finds in a dead cycle, in any order: this one, too, before
    the `BlockingReader` whose closing puts back what is in it.
    """

    __slots__ = ()

    def __del__(self) -> None:
        """Do not close it."""


def _rest_of(reader: BytesReader) -> BytesView:
    return reader.take(reader.remaining())


class BlockingWriter(BytesBufWriter):
    """A sink as a binary file, for code that writes files, in a thread.

    Written to in a thread that ``trio.to_thread.run_sync`` started, and closed or flushed there:
    what is buffered when it is merely dropped is not sent. Closing it leaves the sink open. The
    thread is held while the sink is clogged: for many threads see `BlockingReader`.

    Args:
      sink: where what is written goes.

    Raises:
      TypeError: `sink` is no `Write`.
      RuntimeError: something had to be sent in trio's own thread, or in one that trio did not
        start. Nothing was sent, and what was taken is buffered: flush or close it elsewhere.
      trio.BusyResourceError: a task is sending to `sink`. What was taken is buffered, as above.
      trio.BrokenResourceError: sending has failed before. Nothing is sent after that.
      Writing raises what `Write.write_view` does, and `trio.Cancelled` if the task that
      started the thread was cancelled.

    Cancellation: spoils, as `Write.write_view`.

    Cost: 60 µs for each 256 KiB. One copy; none for `bytes` of 64 KiB and more. A short write takes
    10 µs; for very many of them put an `io.BufferedWriter` around this.

    Example:
      >>> def write(file):
      ...     with file:
      ...         file.write(b"from a thread")
      >>> async def main():
      ...     sink = FakeWrite()
      ...     await trio.to_thread.run_sync(write, BlockingWriter(sink))
      ...     return sink.contents
      >>> trio.run(main)
      BytesView(b'from a thread')
    """

    _sink: Write | None = None
    _is_spoilt = False
    _is_closing = False

    def __init__(self, sink: Write) -> None:
        if not isinstance(sink, Write):
            raise TypeError(f"a BlockingWriter writes to a Write, not {type(sink).__name__}")
        super().__init__(memory=sink)
        self._sink = sink

    def __repr__(self) -> str:
        return f"<BlockingWriter to {self._sink!r}>"

    def write(self, data: Buffer, /) -> int:
        """Take all of `data`, send what is enough for a send, and return the length of `data`."""
        self._refuse_if_closed()
        self._refuse_if_spoilt()
        source = flat_of(data)
        nbytes = source.nbytes
        if nbytes >= UNCOPIED_NBYTES and type(data) is bytes:
            self._buf.put_view(BytesView(data))
            self._send_if(SEND_NBYTES)
            return nbytes
        for at in range(0, nbytes, SEND_NBYTES):  # so that memory is bounded
            super().write(source[at : at + SEND_NBYTES])
            self._send_if(SEND_NBYTES)
        return nbytes

    def flush(self) -> None:
        """Send everything that was written so far."""
        if self._is_closing:
            return
        self._refuse_if_closed()
        self._refuse_if_spoilt()
        self._send_if(1)

    def _refuse_if_spoilt(self) -> None:
        if self._is_spoilt:
            raise trio.BrokenResourceError("sending what was written to this file has failed")

    def _send_if(self, nbytes: int) -> None:
        """Send all that is buffered if that is `nbytes` bytes at least."""
        if len(self._buf) >= nbytes:
            _in_trio(self._send)

    async def _send(self) -> None:
        assert self._sink is not None
        if self._sink._is_sending:
            await self._sink._refuse_sending()
        self._is_spoilt = True  # Law 5
        await self._sink.write_view(self._buf.consume_all())
        self._is_spoilt = False

    def close(self) -> None:
        """Send what is buffered, unless sending has failed, and close this file, not the sink.

        It stays open if nothing could be sent from here: see RuntimeError and BusyResourceError.
        """
        try:
            if self._sink is not None and not self._is_spoilt:
                self._send_if(1)
        finally:
            if self._sink is None or self._is_spoilt or not self._buf:
                self._is_closing = True
                super().close()  # which flushes, as files do
                self._is_closing = False

    def __del__(self) -> None:
        """Do nothing, where files send what they have buffered. (Law 6)"""


# A function in a thread as a stream
