"""`send_file`: bytes of a file go to a socket without passing through this process.

    page cache or disk --sendfile, in a worker thread--> socket

Law 1. The event loop never waits for a disk, and `sendfile` may; so it is called in a thread. It
       cannot be told not to wait: asking for the page cache first (`RWF_NOWAIT`) is a guess at what
       will be there when it is sent, for each page that is asked for.
Law 2. A thread costs 65 µs to wake, and a socket takes some 500 KB at once. So the thread waits for
       the peer itself, for `PATIENCE_SECONDS`: a quick peer is served by one thread for
       `TURN_SECONDS`. A peer that was not as quick gets no patience the next time: slow ones are
       waited for in the event loop, and hold no thread.
Law 3. The thread is waited for, cancelled or not, so what was sent is known. It has a duplicate of
       the socket's descriptor and a share in the file's (`Handle`): either may be closed by another
       task meanwhile, and its number given away.

Measured with 256 MiB in the page cache, to a receiver over TCP that throws them away, as processor
time of the sender (and wall time): blocking `sendfile`, the floor, 0.012 s (0.051 s);
this way 0.019 (0.064); `sendfile` in the event loop after asking for a byte of each 64 KiB of the
page cache 0.024 (0.066), of each 4 KiB 0.070 (0.121), or after reading all of it 0.063 (0.099);
threads without patience 0.053 (0.100).
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

import attrs
import trio
from trio.lowlevel import checkpoint

from .._errors import UnexpectedEof
from ..seq import BytesView
from ..seq._flat import count_of
from ._file import READ_NOW_NBYTES, File, offset_of
from ._socket import SocketStream
from ._write import Write

if TYPE_CHECKING:
    from typing import SupportsIndex

    from ._file_handle import Handle

CAN_SEND_FILES = hasattr(os, "sendfile") and hasattr(select, "poll")
"""Whether the system sends files by itself; Windows does not."""

CALL_NBYTES: Final = 1 << 30
"""The most that one system call is asked for: more than any socket takes, and less than what some
systems take for a negative number."""

PATIENCE_SECONDS: Final = 0.005
"""How long a thread waits for the peer. A peer on this machine takes below 1 ms; the
figure is a guess at what is quick for one on the network."""

TURN_SECONDS: Final = 0.05
"""After so much time a thread gives its place to others, and a cancellation is looked at. A guess:
waking a thread then costs 0.1 % of the time."""

SMALL_NBYTES: Final = READ_NOW_NBYTES
"""Up to so many bytes, reading and sending is quicker if they are in the page cache, as it needs no
thread: 16 KiB 27 µs against 78, 256 KiB 62 against 105, but 512 KiB 173 against 159."""

FILE_ERRNOS: Final = {errno.EIO, errno.ESTALE, errno.EOVERFLOW, errno.EISDIR, errno.EACCES}
"""What the system says of a file and never of a socket; `sendfile` may say either's."""

UNABLE_ERRNOS: Final = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
"""What the system says of a file, or a kind of socket, that it cannot do this with."""

TOO_MANY_ERRNOS: Final = {errno.EMFILE, errno.ENFILE}
"""What it says when there is no descriptor left for the duplicate. Reading and sending needs none.
"""


async def send_file(
    sink: Write,
    file: File,
    offset: SupportsIndex = 0,
    nbytes: SupportsIndex | None = None,
) -> int:
    """Send bytes of a file, on a `SocketStream` without copying them into this process.

    The system sends the file's pages themselves: who changes them before the peer has
    received them changes what it receives. Where `file` reads next stays as it is.

    Args:
      sink: where to. What is no `SocketStream` gets views that were read, as do all sinks where the
        system cannot send files.
      file: where from.
      offset: where the first byte is, from the start of the file.
      nbytes: how many to send, at least 0; all to the end of the file if not given.

    Returns:
      How many bytes were sent: `nbytes`, if that was given.

    Raises:
      UnexpectedEof: the file has fewer than `nbytes` bytes from `offset` on. They were sent.
      trio.BusyResourceError: another task is sending to `sink`.
      trio.ClosedResourceError: one of the two was closed, here or by another task, or the end of
        the sink was announced.
      trio.BrokenResourceError: the connection is gone.
      io.UnsupportedOperation: the file was opened for writing only.
      OSError: what the system reported of the file, with its path.
      TypeError, ValueError: an argument is of a wrong type, or a number is negative.

    Cancellation: spoils. Some of the bytes were sent, in order; the sink's statistics say how many.
    A thread that sends is waited for, some 50 ms, and for the disk.

    Cost: no copy. For each 50 ms of sending, and for each time that the peer is slow, a thread is
    woken, some 65 µs. Up to 256 KiB, if `nbytes` says so, are read and sent instead.

    Example:
      >>> async def main(path):
      ...     async with await open_binary_file(path, "w+") as file:
      ...         await file.write_view(BytesView(b"Hello, world!"))
      ...         ours, theirs = trio.socket.socketpair()
      ...         async with SocketStream(ours) as sink, SocketStream(theirs) as peer:
      ...             return await send_file(sink, file, 7), await peer.receive_view()
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     trio.run(main, folder + "/greeting")
      (6, BytesView(b'world!'))
    """
    if not isinstance(sink, Write):
        raise TypeError(f"send_file sends to a Write, not to a {type(sink).__name__}")
    if not isinstance(file, File):
        raise TypeError(f"send_file sends a File, not a {type(file).__name__}")
    start = offset_of(offset)
    wanted = None if nbytes is None else count_of(nbytes, "nbytes")
    sent, is_over = 0, False
    if isinstance(sink, SocketStream) and _is_worth_a_thread(wanted):
        sent, is_over = await _send_by_system(sink, file, start, wanted)
    if not is_over:
        sent = await _read_and_send(sink, file, start, wanted, sent)
    if wanted is not None and sent < wanted:
        raise UnexpectedEof(wanted=wanted, arrived=sent)
    return sent


def _is_worth_a_thread(wanted: int | None) -> bool:
    return CAN_SEND_FILES and (wanted is None or wanted > SMALL_NBYTES)


# Reading and sending


async def _read_and_send(sink: Write, file: File, start: int, wanted: int | None, sent: int) -> int:
    """Send the bytes from `start + sent` on; return how many it were, with those `sent` before."""
    view = None
    if sink._is_sending or sink._is_closed:
        await sink._refuse_sending()
    sink._is_sending = True
    try:
        if sent == wanted:
            await sink._write_view(BytesView())  # which checks the sink, and is a checkpoint
            file._refuse_reading()
        while sent != wanted:
            left = READ_NOW_NBYTES if wanted is None else min(wanted - sent, READ_NOW_NBYTES)
            view = None  # its block can be used for the next
            view = await file.read_at(start + sent, left)
            if not view:
                break
            sink._refuse_if_closed()
            await sink._write_view(view)
            sent += len(view)
    finally:
        sink._is_sending = False
        del view  # an error that is kept holds this frame, but no memory
    return sent


# Having the system send


@attrs.frozen
class Turn:
    """What a thread has done in its turn."""

    sent_nbytes: int
    calls: int
    is_at_end: bool
    """Whether the file has ended."""

    is_blocked: bool
    """Whether the peer was too slow to be waited for."""

    error: OSError | None


async def _send_by_system(
    sink: SocketStream, file: File, start: int, wanted: int | None
) -> tuple[int, bool]:
    """Have the system send bytes of the file.

    Returns:
      How many were sent, and whether that is all: if not, the system cannot do it.
    """
    if sink._is_sending or sink._is_closed:
        await sink._refuse_sending()
    sink._is_sending = True
    try:
        if sink._is_end_announced() or sink.fileno() == -1:
            await checkpoint()
            raise trio.ClosedResourceError("this sink was closed, or its end was announced")
        file._refuse_reading()
        if sink._told_sending is not None:
            await sink._refuse_to_go_on()
        try:
            own = os.dup(sink.fileno())  # (Law 3)
        except OSError as exc:
            if exc.errno not in TOO_MANY_ERRNOS:
                raise
            return 0, False
        try:
            return await _take_turns(sink, own, file, start, wanted)
        finally:
            os.close(own)
    finally:
        sink._is_sending = False


async def _take_turns(
    sink: SocketStream, own: int, file: File, start: int, wanted: int | None
) -> tuple[int, bool]:
    """Let threads send to `own`, one after the other; as `_send_by_system` otherwise."""
    sent = 0
    patience = PATIENCE_SECONDS
    while True:
        left = None if wanted is None else wanted - sent
        work = partial(_send_for_a_turn, own, file._handle, start + sent, left, patience)
        turn = await trio.to_thread.run_sync(work)
        sent += turn.sent_nbytes
        sink._send_calls += turn.calls
        sink._sent_nbytes += turn.sent_nbytes
        if turn.error is not None:
            if turn.error.errno in UNABLE_ERRNOS:
                return sent, False
            _raise_for(turn.error, sink, file)
        if turn.is_at_end or sent == wanted:
            return sent, True
        file._refuse_if_closed()
        if sink.fileno() == -1:
            raise trio.ClosedResourceError("this SocketStream was closed")
        if turn.is_blocked:
            began = time.monotonic()
            await trio.lowlevel.wait_writable(sink.fileno())
            is_quick = time.monotonic() - began < PATIENCE_SECONDS  # (Law 2)
            patience = PATIENCE_SECONDS if is_quick else 0


def _send_for_a_turn(own: int, file: Handle, start: int, left: int | None, patience: float) -> Turn:
    """Send from `start` on until the turn is over, the peer is slow, or there is no more."""
    ends = time.monotonic() + TURN_SECONDS
    peer = select.poll()
    peer.register(own, select.POLLOUT)
    sent = calls = 0
    is_at_end = is_blocked = False
    error = None
    with file as source:
        while sent != left:
            asked = CALL_NBYTES if left is None else min(left - sent, CALL_NBYTES)
            try:
                nbytes = os.sendfile(own, source, start + sent, asked)
            except BlockingIOError:
                if not peer.poll(patience * 1000):
                    is_blocked = True
                    break
            except OSError as exc:
                error = exc
                break
            else:
                calls += 1
                sent += nbytes
                if not nbytes:
                    is_at_end = True
                    break
            if time.monotonic() >= ends:
                break
    return Turn(sent, calls, is_at_end, is_blocked, error)


def _raise_for(exc: OSError, sink: SocketStream, file: File) -> NoReturn:
    """Raise what an error of `sendfile` means: of the file, or of the socket."""
    if exc.errno in FILE_ERRNOS:
        raise file._handle.with_path(exc)
    if exc.errno == errno.EPIPE and _is_reset(sink):
        # `sendfile` sends in steps, and says nothing of the one that was told of the reset. (To
        # `writev` no step is hidden: it is told itself.) Whether the peer had ended its half before
        # cannot be asked any more; an end that is called broken is the lesser harm.
        exc = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    raise sink._sending_failed(exc) from exc.with_traceback(None)


def _is_reset(sink: SocketStream) -> bool:
    """Say whether the connection is gone, and not only the half that sends."""
    if sink.fileno() == -1 or sink.socket.family not in {socket.AF_INET, socket.AF_INET6}:
        return False
    try:
        sink.socket.getpeername()
    except OSError:
        return True
    return False
