"""`Handle`: a regular file as worker threads see it. Why it is as it is stands at `_file`."""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._vectored import SendPlan

CAN_ADDRESS = hasattr(os, "preadv") and hasattr(os, "pwritev")
"""Whether the system reads and writes several buffers at an offset; Windows does not."""

CAN_READ_NOW = hasattr(os, "preadv") and hasattr(os, "RWF_NOWAIT")
"""Whether the system can be asked for what is in the page cache and nothing else; Linux can."""

T = TypeVar("T")


@attrs.define(eq=False)
class Handle:
    """A descriptor that is closed by the last who uses it. (Law 4 of `_file`)"""

    raw: io.FileIO
    _path: object = attrs.field(init=False)
    _users: int = attrs.field(init=False, default=0)
    _is_closing: bool = attrs.field(init=False, default=False)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)
    _moving: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        self._path = self.raw.name

    @trio.lowlevel.enable_ki_protection  # an interrupt behind `acquire` would leave the lock held
    def __enter__(self) -> int:
        """Return the descriptor, which stays open until `__exit__`."""
        self._lock.acquire()  # and not `with`: it, too, may lack memory, on its way out
        try:
            if self._is_closing:
                raise trio.ClosedResourceError("this File was closed")
            fd = self.raw.fileno()
            self._users += 1
        finally:
            self._lock.release()
        return fd

    @trio.lowlevel.enable_ki_protection
    def __exit__(self, exc_type: object, exc: object, traceback: object) -> None:
        self._lock.acquire()
        self._users -= 1
        is_last = self._is_closing and not self._users
        self._lock.release()
        if is_last:
            self.raw.close()

    def close(self) -> None:
        """Close the descriptor, or have it closed by the last who uses it."""
        with self._lock:
            self._is_closing = True
            is_last = not self._users
        if is_last:
            self.raw.close()

    def read(self, windows: Sequence[memoryview], offset: int) -> int:
        """Read once, whatever that takes; return how much, 0 at the end of the file."""
        with self as fd:
            if CAN_ADDRESS:
                return os.preadv(fd, windows, offset)
            with self._moving:
                os.lseek(fd, offset, os.SEEK_SET)
                filled = 0
                for window in windows:
                    nbytes = self.raw.readinto(window) or 0
                    filled += nbytes
                    if nbytes < window.nbytes:
                        break
                return filled

    def read_now(self, windows: Sequence[memoryview], offset: int) -> int:
        """Read what is in the page cache, or raise BlockingIOError."""
        with self as fd:
            return os.preadv(fd, windows, offset, os.RWF_NOWAIT)

    def write(self, plan: SendPlan, offset: int | None) -> tuple[int, OSError | None]:
        """Write all of `plan`, at the end if there is no offset.

        Returns:
          How many bytes were written, and what went wrong then.
        """
        written = 0
        with self as fd:
            while plan:
                at = None if offset is None else offset + written
                try:
                    nbytes = self._write_once(fd, plan.buffers(), at)
                except OSError as exc:
                    return written, exc
                if not nbytes:  # no system is known to do so; better than to go on for ever
                    return written, OSError(errno.EIO, "the system wrote nothing")
                plan.advance(nbytes)
                written += nbytes
        return written, None

    def _write_once(self, fd: int, buffers: list[bytes | memoryview], offset: int | None) -> int:
        if CAN_ADDRESS:
            return os.writev(fd, buffers) if offset is None else os.pwritev(fd, buffers, offset)
        with self._moving:
            if offset is not None:
                os.lseek(fd, offset, os.SEEK_SET)
            return os.write(fd, buffers[0])

    def size(self) -> int:
        """Return how long the file is."""
        with self as fd:
            return os.fstat(fd).st_size

    def sync(self) -> None:
        """Have the system write everything to the disk."""
        with self as fd:
            os.fsync(fd)

    async def in_thread(self, work: Callable[[], T], *, abandon_on_cancel: bool = False) -> T:
        """Run `work` in a worker thread; an error of the system's gets the path."""
        try:
            return await trio.to_thread.run_sync(work, abandon_on_cancel=abandon_on_cancel)
        except OSError as exc:
            raise self.with_path(exc)  # noqa: B904  # it is the same one

    def with_path(self, exc: OSError) -> OSError:
        """Let an error of the system's say which file it is about."""
        if exc.filename is None and exc.errno is not None:
            exc.filename = self._path
        return exc


# Opening


def open_regular(path: str | bytes, mode: str) -> io.FileIO:
    """Open a regular file; look first, because opening a pipe waits, and a device may do things."""
    try:
        found = Path(os.fsdecode(path)).stat()
    except FileNotFoundError:
        pass  # to be made, or the error of `FileIO` is the better one
    else:
        refuse_unless_regular(path, found)
    return io.FileIO(path, mode, opener=_open_without_waiting)


def _open_without_waiting(path: str, flags: int) -> int:
    """Open, even if a pipe has taken the file's place just now."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)


def refuse_unless_regular(path: object, found: os.stat_result) -> None:
    """Raise for everything that has no offsets."""
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(found.st_mode):
        raise io.UnsupportedOperation(
            f"{path!r} is no regular file and has no offsets; FdStream is for pipes and terminals"
        )
