"""Files that block, as streams: each read and each write is a call in a thread.

Law 1. A read that nobody waits for any more goes on in its thread, and what it gets is what the
       next receive returns. So a cancelled receive ends at once, and loses nothing.
Law 2. Two calls of one file are never under way together; closing it is one of them.
"""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Final, Protocol

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


CALL_NBYTES: Final = 262_144
"""How much one call in a thread reads, if it is not told: as much as a receive of a socket."""


class _Call:
    """A call in a thread that outlives the task which wanted it."""

    def __init__(self, fn: Callable[[int], bytes], nbytes: int) -> None:
        self._fn = fn
        self._nbytes = nbytes
        self.over = trio.Event()
        self.data: bytes | None = None
        self.failure: Exception | None = None

    async def run(self, then: Callable[[], Awaitable[None]]) -> None:
        try:
            self.data = await trio.to_thread.run_sync(
                self._fn, self._nbytes, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
            )
        except Exception as exc:  # noqa: BLE001  # raised by the read that comes for it
            self.failure = exc
        self.over.set()
        await then()


class ReadInThread(Read):
    """A file that blocks, as a source: each receive is one call of the file's, in a thread.

    For ``gzip.open(path)``, a member of a zip archive, ``sys.stdin.buffer``. Closing this
    closes the file.

    Args:
      file: a binary file; its `read1` is called, or its `read` if there is no such method.

    Raises:
      TypeError: `file` is a text file, or has no method `read`.
      Reading raises what the file does.

    Cancellation: atomic, and at once: a call that waits in its thread is not waited for; what it
    gets is what the next read returns. Closing does not wait for it either: the file is
    closed when it has returned.

    Cost: 60 µs for each 256 KiB.

    Example:
      >>> import io
      >>> async def main():
      ...     async with ReadInThread(io.BytesIO(b"a file")) as source:
      ...         return await source.read_exactly(6)
      >>> trio.run(main)
      BytesView(b'a file')
    """

    def __init__(self, file: Readable) -> None:
        read = getattr(file, "read1", None) or getattr(file, "read", None)
        if read is None or _is_text(file):
            raise TypeError(f"a binary file that can be read is wanted, not {file!r}")
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
            self._rest = await self._next(CALL_NBYTES if max_bytes is None else max_bytes)
            self._is_ended = not self._rest
        view = self._rest
        stop = len(view) if max_bytes is None else max_bytes
        self._rest = view[stop:]
        return view[:stop]

    async def _next(self, nbytes: int) -> BytesView:
        """Wait for what the call that is under way gets, or a new one."""
        call = self._call
        if call is None:
            call = self._call = _Call(self._read, min(nbytes, CALL_NBYTES))
            trio.lowlevel.spawn_system_task(call.run, self._close_if_wanted)  # Law 1
        await call.over.wait()
        self._refuse_if_closed()
        self._call = None
        if call.failure is not None:
            raise call.failure
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
      Writing raises what the file does.

    Cancellation: atomic. A write that has begun is waited for; it is either complete or not begun.

    Cost: 60 µs for each write.

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
        try:
            await trio.to_thread.run_sync(self._write, view)
        finally:
            self._idle.set()
            del view  # an error that is kept holds this frame, but no memory
        self._refuse_if_closed()

    def _write(self, view: BytesView) -> None:
        for piece in view.pieces:
            left = piece
            while left:
                written = self._file.write(left)
                left = left[left.nbytes if written is None else written :]

    async def _aclose(self) -> None:
        with trio.CancelScope(shield=True):
            await self._idle.wait()
        await _close(self._file)
        await checkpoint()


async def _close(file: Readable | Writable) -> None:
    """Close `file` in a thread, whatever is cancelled."""
    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(file.close)


def _is_text(file: object) -> bool:
    return isinstance(file, io.TextIOBase)
