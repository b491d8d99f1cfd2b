"""`FdStream`: pipes, FIFOs, terminals and whatever else Unix can wait for, as `SocketStream`s are.

How it receives and sends is in `_descriptor`; here is what differs from one descriptor to another.

Law 1. `O_NONBLOCK` is set for as long as the stream is open; closing it restores what was. The flag
       belongs to the open file, and so to everybody who shares it: see the class.
Law 2. A stream that waits for memory (`_descriptor`, Law 1) is not kept from its end: that nobody
       is left who could write is asked first (`POLLHUP`), and then how many bytes are
       left (`FIONREAD`), so that no byte can come in between. A no costs only a wait for memory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import struct
from typing import TYPE_CHECKING, Final

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from ._descriptor import DescriptorStream
from ._receive_size import SIZES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import SupportsIndex

    from ..seq import Memory

UNWAITABLE: Final = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a directory",
    stat.S_IFBLK: "a block device",
}
"""What `epoll` refuses: the system takes it to be ready always, and blocks in the read."""

PTY_MASTER: Final = (5, 2)
"""Linux's numbers for the master sides of pseudoterminals (`Documentation/admin-guide/devices.txt`,
`/dev/ptmx`). It alone says EIO, and no end, when no slave side is open any more."""


def require_descriptors() -> None:
    """Raise OSError if the system has no descriptors, but sockets', that can be waited for."""
    if not hasattr(trio.lowlevel, "FdStream"):
        raise OSError(errno.ENOTSUP, "this system has no descriptors that can be waited for")


class FdStream(DescriptorStream):
    """A stream over a Unix descriptor that is no socket: a pipe, a FIFO, a terminal, a device.

    An honest `trio.abc.Stream`, as `trio.lowlevel.FdStream` is one. `receive_view`, `views` and
    `write_view` are the faster way: bytes are received into pooled memory and sent from wherever
    they lie. Costs and limits are those of `SocketStream`.

    The stream owns the descriptor and closes it. It is non-blocking until then; this
    flag belongs to the open file, so whoever shares it, by `os.dup` or as a child process, meets
    it too. Standard streams of a terminal share one.

    The end of a terminal's master side is that no slave side is open any more (Linux calls this
    EIO). What ended can begin again where the system has it so: a FIFO that is opened for
    writing once more, a terminal after Ctrl-D.

    Args:
      fd: an open descriptor, or a `trio.lowlevel.FdStream`, whose descriptor is then used by both;
        close either.
      memory: where received bytes go; the process's pool if not given.
      max_receive_nbytes: the most bytes that one system call asks for, at least 1.

    Raises:
      TypeError: `fd` is neither, or `max_receive_nbytes` is no integer.
      ValueError: it is a regular file, a directory or a block device, which cannot be waited for;
        or `max_receive_nbytes` is below 1.
      OSError: no such descriptor is open, or the system has no such streams, as Windows.
      Whatever was raised, the descriptor is as before, and the caller's.

    Once it is closed, here or by another task, every method raises `trio.ClosedResourceError`, and
    so it does if others have closed the descriptor, as long as nothing else has got its number. But
    nobody wakes a task that waits meanwhile. Whoever closes what a stream owns has to call `aclose`
    instead.

    Example:
      >>> async def main():
      ...     reading, writing = os.pipe()
      ...     async with FdStream(reading) as source:
      ...         async with FdStream(writing) as sink:
      ...             await sink.write_view(BytesView(b"Hello, ") + b"world!")
      ...         return await source.read_to_end(100)
      >>> trio.run(main)
      BytesView(b'Hello, world!')
    """

    def __init__(
        self,
        fd: int | trio.lowlevel.FdStream,
        *,
        memory: Memory | None = None,
        max_receive_nbytes: SupportsIndex = SIZES[-1],
    ) -> None:
        require_descriptors()
        super().__init__(memory, max_receive_nbytes)
        if isinstance(fd, trio.lowlevel.FdStream):
            number = fd.fileno()
        elif isinstance(fd, int):
            number = fd
        else:
            raise TypeError(f"a descriptor is an integer, not {type(fd).__name__}")
        status = os.fstat(number)
        kind = UNWAITABLE.get(stat.S_IFMT(status.st_mode))
        if kind is not None:
            raise ValueError(
                f"descriptor {number} is {kind}: epoll cannot wait for it, so reading it would "
                "block all tasks; open a file by open_binary_file, whose threads wait"
            )
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(*PTY_MASTER):
            self._end_errnos = frozenset({errno.EIO})
        # trio's own stream keeps the flag and does what is not about speed.
        self._stream = trio.lowlevel.FdStream(fd) if isinstance(fd, int) else fd

    def fileno(self) -> int:
        """Return the descriptor, or -1 if it was closed."""
        return self._stream.fileno()

    def __repr__(self) -> str:
        fd = self.fileno()
        return f"<FdStream over descriptor {fd}>" if fd != -1 else "<FdStream, closed>"

    # Receiving

    async def _is_ended(self) -> bool:
        await _wait_for(self._open_fileno(), trio.lowlevel.wait_readable)
        return _has_nothing_to_come(self._open_fileno())  # Law 2

    async def _receive_plain(self, asked: int) -> bytes:
        await checkpoint_if_cancelled()
        try:
            data = os.read(self.fileno(), asked)
        except BlockingIOError:
            data = None
        if data is not None:
            await cancel_shielded_checkpoint()
            return data
        while True:
            await trio.lowlevel.wait_readable(self._open_fileno())
            with contextlib.suppress(BlockingIOError):  # another process was quicker
                return os.read(self.fileno(), asked)

    # Sending

    async def _wait_write_might_not_block(self) -> None:
        try:
            await _wait_for(self._open_fileno(), trio.lowlevel.wait_writable)
        except OSError as exc:
            await cancel_shielded_checkpoint()
            raise self._in_trios_words(exc) from exc.with_traceback(None)

    # The end

    async def _close_descriptor(self) -> None:
        try:
            self._stream.close()
        except OSError as exc:
            if exc.errno != errno.EBADF:  # others closed it: it is as it should be
                raise
        finally:
            await checkpoint()


async def _wait_for(fd: int, wait: Callable[[int], Awaitable[None]]) -> None:
    """Wait for `fd`, unless it is of a device that never blocks: `/dev/null`, `/dev/zero`."""
    try:
        await wait(fd)
    except PermissionError:  # how epoll says that; the system calls are ready always
        await checkpoint()


def _has_nothing_to_come(fd: int) -> bool:
    """Say whether `fd` is certainly at its end: nobody can write, and nothing is left. (Law 2)"""
    import fcntl  # here, because Windows has neither
    import termios

    asking = select.poll()
    asking.register(fd, 0)  # POLLHUP is told in any case
    if not any(event & select.POLLHUP for _, event in asking.poll(0)):
        return False
    unread: bytes = fcntl.ioctl(fd, termios.FIONREAD, bytes(struct.calcsize("i")))
    return not any(unread)
