"""Files that block, as streams: each read and each write is a call in a thread.

Law 1. A read that nobody waits for any more goes on in its thread, and what it gets is what the
       next receive returns. So a cancelled receive ends at once, and loses nothing.
Law 2. Two calls of one file are never under way together; closing it is one of them.
Law 3. A thread that waits for a silent file is not counted against the limit of the process's
       threads: who makes the file speak may need one of them. There is one thread for each stream
       at most (Law 2), so there are as many as streams.
"""

from __future__ import annotations

import contextlib
import errno
import io
import sys
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import trio
from trio.lowlevel import checkpoint

from .._errors import BadSource
from ..seq import BytesView
from ._read import Read
from ._write import Write

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    class Readable(Protocol):
        """A file, as far as `ReadInThread` needs to know; `read1` is called if there is one."""

        def read(self, size: int, /) -> bytes: ...
        def close(self) -> None: ...

    class Writable(Protocol):
        """A file, as far as `WriteInThread` needs to know."""

        def write(self, data: memoryview, /) -> int | None: ...
        def close(self) -> None: ...


T = TypeVar("T")

CALL_NBYTES: Final = 262_144
"""How much one call in a thread asks for: as much as a receive of a socket."""


async def _in_own_thread(work: Callable[[], T], *, abandon_on_cancel: bool = False) -> T:
    """Return what `work` does, in a thread that no limit counts. (Law 3)"""
    return await trio.to_thread.run_sync(
        work, abandon_on_cancel=abandon_on_cancel, limiter=trio.CapacityLimiter(1)
    )


class _Call:
    """A call in a thread that outlives the task which wanted it."""

    def __init__(self, fn: Callable[[int], bytes], nbytes: int) -> None:
        self._fn = fn
        self._nbytes = nbytes
        self.over = trio.Event()
        self.data: bytes | None = None
        self.failure: BaseException | None = None

    def _call(self) -> None:
        try:
            self.data = self._fn(self._nbytes)
        except BaseException as exc:  # noqa: BLE001  # raised by the read that comes for it
            self.failure = exc

    async def run(self, then: Callable[[], Awaitable[None]]) -> None:
        await _in_own_thread(self._call, abandon_on_cancel=True)
        self.over.set()
        await then()


class ReadInThread(Read):
    """A file that blocks, as a source: each receive is one call of the file's, in a thread.

    For ``gzip.open(path)``, a member of a zip archive. Closing this closes the file.

    Standard input is better read by ``FdStream(os.dup(0))``, if it is a pipe or a terminal, and by
    ``ReadInThread(sys.stdin.buffer.raw)`` whatever it is. ``sys.stdin.buffer`` is refused: a thread
    that waits in it has it locked, and Python, which wants to close it when the program
    ends, aborts then. So it does with every buffered file of a silent pipe that somebody
    else closes at the end.

    Args:
      file: a binary file. Its `read1` is called, and asked for 256 KiB at a time, of which the next
        reads return what is left; or its `read` if there is no such method, and
        that is asked for no more than is wanted.

    Raises:
      TypeError: `file` is a text file, or has no method `read`.
      ValueError: it is ``sys.stdin.buffer``.
      Reading raises what the file does.

    Cancellation: atomic, and at once: a call that waits in its thread is not waited for; what it
    gets is what the next read returns. Closing does not wait for it either: the file is
    closed when it has returned.

    Cost: 60 µs for each call, so for each 256 KiB, or for each read if there is no `read1`. A
    thread while a call waits, and for as long as it does; one for each stream at most, and none of
    those that `trio.to_thread`'s limiter counts.

    Example:
      >>> import io
      >>> async def main():
      ...     async with ReadInThread(io.BytesIO(b"a file")) as source:
      ...         return await source.read_exactly(6)
      >>> trio.run(main)
      BytesView(b'a file')
    """

    def __init__(self, file: Readable) -> None:
        read1 = getattr(file, "read1", None)
        read = read1 or getattr(file, "read", None)
        if read is None or _is_text(file):
            raise TypeError(f"a binary file that can be read is wanted, not {file!r}")
        if _is_standard_input(file):
            raise ValueError(
                "a thread that waits in sys.stdin.buffer makes Python abort at its end: "
                "use FdStream(os.dup(0)), or sys.stdin.buffer.raw"
            )
        self._reads_ahead = read1 is not None
        self._file = file
        self._read: Callable[[int], bytes] = read
        self._call: _Call | None = None
        self._rest = BytesView()
        self._is_ended = False

    def __repr__(self) -> str:
        return f"<ReadInThread of {self._file!r}>"

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        if self._rest or self._is_ended:
            await checkpoint()
            self._refuse_if_closed()
        else:
            wanted = CALL_NBYTES if max_bytes is None or self._reads_ahead else max_bytes
            self._rest = await self._next(min(wanted, CALL_NBYTES))
            self._is_ended = not self._rest
        view = self._rest
        stop = len(view) if max_bytes is None else max_bytes
        self._rest = view[stop:]
        return view[:stop]

    async def _next(self, nbytes: int) -> BytesView:
        """Wait for what the call that is under way gets, or a new one."""
        call = self._call
        if call is None:
            call = self._call = _Call(self._read, nbytes)
            trio.lowlevel.spawn_system_task(call.run, self._close_if_wanted)  # Law 1
        await call.over.wait()
        self._refuse_if_closed()
        self._call = None
        if call.failure is not None:
            try:
                raise call.failure
            finally:
                del call  # whose error refers to this frame
        if not isinstance(call.data, bytes):
            raise BadSource(repr(self), f"returned a {type(call.data).__name__} instead of bytes")
        return BytesView(call.data)

    async def _close_if_wanted(self) -> None:
        if self._is_closed:
            with contextlib.suppress(Exception):  # nobody is there to be told
                await _close(self._file)

    async def _aclose(self) -> None:
        self._rest = BytesView()
        if self._call is None or self._call.over.is_set():
            await _close(self._file)
        else:  # Law 2: it is closed when the call is over
            self._call.over.set()  # which wakes who waits for it
        await checkpoint()


class WriteInThread(Write):
    """A file that blocks, as a sink: each write is a call of the file's, in a thread.

    Closing this closes the file, which then writes what it has buffered.

    Args:
      file: a binary file.

    Raises:
      TypeError: `file` is a text file, or has no method `write`.
      BlockingIOError: by a write, if a raw file (`io.RawIOBase`) is non-blocking, and full: it
        returns None. `FdStream` is what can wait for it. A part may have been written.
      OSError: by a write, if the file writes nothing of it.
      Writing raises what the file does. After an error a part may have been written.

    Cancellation: atomic. A write that has begun is waited for; it is either complete or not begun.

    Cost: 60 µs for each write. A thread while the file blocks; one for each stream at most, and
    none of those that `trio.to_thread`'s limiter counts.

    Example:
      >>> import io
      >>> async def main():
      ...     file = io.BytesIO()
      ...     await WriteInThread(file).write_view(BytesView(b"a file"))
      ...     return file.getvalue()
      >>> trio.run(main)
      b'a file'
    """

    def __init__(self, file: Writable) -> None:
        if not hasattr(file, "write") or _is_text(file):
            raise TypeError(f"a binary file that can be written to is wanted, not {file!r}")
        self._file = file
        self._idle = trio.Event()
        self._idle.set()

    def __repr__(self) -> str:
        return f"<WriteInThread to {self._file!r}>"

    async def _write_view(self, view: BytesView) -> None:
        self._idle = trio.Event()
        held = [view]
        try:
            await _in_own_thread(lambda: self._write(held))
        finally:
            self._idle.set()
            held.clear()  # an error that is kept holds this frame, but no memory
            del view
        self._refuse_if_closed()

    def _write(self, held: list[BytesView]) -> None:
        piece = left = memoryview(b"")
        try:
            for piece in held[0].pieces:
                left = piece
                while left:
                    written = self._file.write(left)
                    if written is None and isinstance(self._file, io.RawIOBase):
                        raise BlockingIOError(errno.EAGAIN, f"{self._file!r} would block")
                    if written is not None and written <= 0:
                        raise OSError(errno.EIO, f"{self._file!r} writes nothing")
                    left = left[left.nbytes if written is None else written :]
        finally:
            del piece, left

    async def _aclose(self) -> None:
        with trio.CancelScope(shield=True):
            await self._idle.wait()
        await _close(self._file)
        await checkpoint()


async def _close(file: Readable | Writable) -> None:
    """Close `file` in a thread, whatever is cancelled."""
    with trio.CancelScope(shield=True):
        await _in_own_thread(file.close)


def _is_text(file: object) -> bool:
    return isinstance(file, io.TextIOBase)


def _is_standard_input(file: object) -> bool:
    """Say whether Python itself closes `file` at its end."""
    return isinstance(file, io.BufferedReader) and any(
        file is getattr(stream, "buffer", None) for stream in (sys.stdin, sys.__stdin__)
    )
