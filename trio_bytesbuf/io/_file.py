"""`File`: a regular file whose bytes come and go in views, read and written at any offset.

A read has two ways, because a disk, unlike a peer, cannot be waited for without a thread:

    page cache --preadv(RWF_NOWAIT), in the event loop--> leased memory --> BytesView
    disk       --preadv, in a worker thread-------------> leased memory --> BytesView

Law 1. The event loop never waits for a disk. The first way is taken only where the system promises
       that it does not wait; it fails at once for bytes that are not in the page cache.
Law 2. A thread that reads has the memory and the descriptor as long as it runs. So a read may be
       abandoned when it is cancelled: whatever the thread still writes goes to memory that
       nobody else can lease, because its references are what the proof of the pool counts.
Law 3. A thread that writes is waited for, cancelled or not: nobody could say later what an
       abandoned one is going to change in the file.
Law 4. The descriptor is closed by the last who uses it once it is to be closed, so its number
       cannot become somebody else's file under a thread. The system's file belongs to a
       `FileIO`; one that nobody closed is its business, with its `ResourceWarning`.
Law 5. Offsets are ours and each half has its own; the system's own is used only where it has to be,
       under a lock. The offset of a half moves after the last checkpoint of its call, by what the
       call has returned or written.
"""

from __future__ import annotations

import errno
import io
import os
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import attrs
import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from .._errors import BudgetExceeded
from ..seq import BytesView
from ..seq._flat import count_of
from ..seq._memory import memory_or_default
from ..seq._view import make_view, said
from . import _file_handle
from ._file_handle import Handle, open_regular, refuse_unless_regular
from ._lease import Leases
from ._read import Read
from ._vectored import IOV_MAX, SendPlan
from ._write import Write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import SupportsIndex

    from ..seq import BlockRef, Memory

FileMode = Literal["r", "r+", "w", "w+", "x", "x+", "a"]
"""How a file is opened: as by `open`, without the ``b`` that goes without saying here."""

MODES: Final = ("r", "r+", "w", "w+", "x", "x+", "a")

LARGEST_OFFSET: Final = 1 << 62
"""No file has so many bytes, and with the size of a read added to it systems can still count."""

READ_NOW_NBYTES: Final = 262_144
"""How much one read takes at the most. Larger ones gain little from the page cache (64 KiB: 5.0
GB/s, 256 KiB: 7.3, 1 MiB: 7.7), and it is the 50 µs of work that a stream does between two
checkpoints as well. From the disk, where each read costs a thread that wakes up (65 µs), larger
ones were no quicker, as the system reads ahead meanwhile (256 KiB to 4 MiB: 2.8 GB/s)."""

READ_IN_THREAD_NBYTES: Final = 1_048_576
"""As much where the page cache cannot be asked, so that each read costs a thread: 2.5 GB/s at
256 KiB and 4.5 at this, which is the largest pooled block."""

WRITE_NBYTES: Final = 8_388_608
"""How much one thread writes at the most before a cancellation is looked at: some 5 ms into the
page cache. A guess at how long that may take."""


@attrs.frozen(eq=False)
class Lease:
    """Memory for one read, or a part of it."""

    window: memoryview
    """Where bytes go."""

    ref: BlockRef | None
    """What is to be said of the block."""

    room_nbytes: int
    """How large the block is, which may be more than the window."""

    is_plain: bool = False
    """Whether it is no provider's, so that keeping it costs nobody anything."""


def offset_of(offset: SupportsIndex) -> int:
    """Return a place in a file, or raise TypeError or ValueError."""
    at = count_of(offset, "offset")
    if at > LARGEST_OFFSET:
        raise ValueError(f"offset must be at most {LARGEST_OFFSET}, not {at}")
    return at


class File(Read, Write):
    """A regular file as a source and a sink of views, with reads and writes at any offset as well.

    Two ways to use it, also at once. As a stream: `receive_view` and all that `Read` has go on from
    `read_offset`, `write_view` and all that `Write` has from `write_offset`, one task for
    each. By offset: `read_at` and `write_at`, from any number of tasks.

    The end of the file is where it is when a read gets there. If somebody shortens the file, that
    is where reading ends; if somebody writes more to it, reading goes on.

    A read that is cancelled has never been. A write that is cancelled has written everything before
    `write_offset` and nothing behind it, so writing can go on from there; up to 8 MiB it is atomic.

    What is in the page cache is read at once. For everything else a worker thread waits for the
    disk, one of those of `trio.to_thread`, and never the event loop.

    Args:
      raw: an open file, as `open(path, "rb", buffering=0)` returns. It belongs to this now.
      memory: where bytes that are read go; the process's pool if not given.

    Raises:
      TypeError: `raw` is no unbuffered binary file.
      io.UnsupportedOperation: it is a pipe, a terminal, a device, a socket.

    Example:
      >>> async def main(path):
      ...     async with await open_binary_file(path, "w+") as file:
      ...         await file.write_parts([BytesView(b"Hello, "), BytesView(b"world!")])
      ...         await file.write_at(0, BytesView(b"J"))
      ...         return await file.read_to_end(100), await file.read_at(7, 5)
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     trio.run(main, folder + "/greeting")
      (BytesView(b'Jello, world!'), BytesView(b'world'))
    """

    _counts_exactly = True

    def __init__(self, raw: io.FileIO, *, memory: Memory | None = None) -> None:
        if not isinstance(raw, io.FileIO):
            raise TypeError(f"a File needs an unbuffered binary file, not {type(raw).__name__}")
        self._memory = memory_or_default(memory)
        found = os.fstat(raw.fileno())
        refuse_unless_regular(raw.name, found)
        self._handle = Handle(raw)
        self._can_read, self._can_write = raw.readable(), raw.writable()
        self._appends = "a" in raw.mode
        self._read_offset = 0
        self._write_offset = found.st_size if self._appends else 0
        self._can_read_now = _file_handle.CAN_READ_NOW
        self._leases = Leases(self._memory)

    @property
    def memory(self) -> Memory:
        """Where bytes that are read go; bytes that are to be written may be anywhere."""
        return self._memory

    @property
    def name(self) -> object:
        """The path, as it was given to whatever opened the file."""
        return self._handle.raw.name

    def __repr__(self) -> str:
        closed = ", closed" if self._is_closed else ""
        return f"<File {self.name!r} of mode {self._handle.raw.mode!r}{closed}>"

    # Where the halves are

    @property
    def read_offset(self) -> int:
        """The offset of the byte that the next read begins with."""
        return self._read_offset - (0 if self._kept is None else len(self._kept))

    @property
    def write_offset(self) -> int:
        """The offset that the next write begins at.

        In mode "a" this counts what was written, from the size that the file had when it was
        opened; the system writes at the end, wherever that is.
        """
        return self._write_offset

    def read_from(self, offset: SupportsIndex) -> None:
        """Let the next read begin at `offset`, in bytes from the start of the file.

        Raises:
          trio.BusyResourceError: a task is reading.
          trio.ClosedResourceError: this file was closed.
          TypeError, ValueError: `offset` is no integer, negative, or over 2 ** 62.
        """
        at = offset_of(offset)
        self._refuse_if_closed()
        if self._is_receiving:
            raise trio.BusyResourceError(f"another task is reading from {self!r}")
        self._kept = None
        self._read_offset = at

    def write_from(self, offset: SupportsIndex) -> None:
        """Let the next write begin at `offset`, which may be behind the end of the file.

        Raises:
          io.UnsupportedOperation: this file only appends.
          trio.BusyResourceError: a task is writing.
          As `read_from` otherwise.
        """
        at = offset_of(offset)
        self._refuse_if_closed()
        self._refuse_if_appending()
        if self._is_sending:
            raise trio.BusyResourceError(f"another task is writing to {self!r}")
        self._write_offset = at

    # Reading

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        view = await self._read(self._read_offset, max_bytes)
        self._read_offset += view._nbytes
        return view

    async def read_at(self, offset: SupportsIndex, max_bytes: SupportsIndex) -> BytesView:
        """Return the `max_bytes` bytes at `offset`, fewer only where the file ends before.

        Any number of tasks may do so at once. Nothing else moves.

        Args:
          offset: in bytes from the start of the file, at least 0. Behind the end there is nothing.
          max_bytes: at least 0.

        Raises:
          trio.ClosedResourceError: this file was closed, here or by another task.
          io.UnsupportedOperation: it was opened for writing only.
          OSError: what the system reported, with the path.
          BadMemory: the memory gave none.
          TypeError, ValueError: a number is no integer, or negative; `offset` is over 2 ** 62.

        Cancellation: atomic. A thread that waits for the disk is left to itself.

        Cost: the memory for all of it at once: of memory with a cap, do not ask for more than that.
        No copy in Python; a piece for each 256 KiB, and a checkpoint. A thread, some 65 µs,
        for what is not in the page cache, and at the end of the file; else about 5 µs.
        """
        at, left = offset_of(offset), count_of(max_bytes, "max_bytes")
        if not left:
            await checkpoint()
            self._refuse_reading()
        views = []
        while left:
            view = await self._read(at, left)
            if not view:
                break
            views.append(view)
            at += view._nbytes
            left -= view._nbytes
        return views[0] if len(views) == 1 else BytesView.from_views(views)

    async def _read(self, offset: int, max_bytes: int | None) -> BytesView:
        """Read once from `offset` on; return at least one byte, none at the end of the file."""
        await checkpoint_if_cancelled()
        if self._is_closed or not self._can_read:
            await cancel_shielded_checkpoint()
            self._refuse_reading()
        most = READ_NOW_NBYTES if self._can_read_now else READ_IN_THREAD_NBYTES
        most = min(most, self._leases.most_nbytes)
        leased = await self._leased(most if max_bytes is None else min(max_bytes, most))
        windows = [lease.window for lease in leased]
        try:
            nbytes = self._read_now(windows, offset)
            if nbytes:
                await cancel_shielded_checkpoint()
            else:
                work = partial(self._handle.read, windows, offset)
                try:
                    nbytes = await self._handle.in_thread(work, abandon_on_cancel=True)
                finally:
                    del work
                self._refuse_if_closed()
            return self._view_of(leased, nbytes)
        finally:
            del windows, leased  # an error that is kept holds this frame, but no memory

    def _refuse_reading(self) -> None:
        self._refuse_if_closed()
        if not self._can_read:
            raise io.UnsupportedOperation(f"{self!r} was opened for writing only")

    def _read_now(self, windows: Sequence[memoryview], offset: int) -> int:
        """Read what is in the page cache; return 0 if a thread has to do it.

        So is the end of the file: Linux 5.9 and 5.10 say 0 where they mean "not now".
        """
        if not self._can_read_now:
            return 0
        try:
            return self._handle.read_now(windows, offset)
        except BlockingIOError:
            return 0
        except OSError as exc:
            if exc.errno not in {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}:
                raise self._handle.with_path(exc)  # noqa: B904  # it is the same one
            self._can_read_now = False  # this file system never does
            return 0

    async def _leased(self, nbytes: int) -> list[Lease]:
        """Return memory for one read: in several blocks if they are small, at least one byte."""
        memory = self._memory
        if not memory.is_worth_keeping(nbytes, nbytes):  # it would not stay there anyway
            return [Lease(memoryview(bytearray(nbytes)), None, nbytes, is_plain=True)]
        leased: list[Lease] = []
        left = nbytes
        while left and len(leased) < IOV_MAX:
            try:
                window, ref = self._leases.lease_some(left)
            except BudgetExceeded:
                if not leased and not self._leases.can_wait:
                    raise
                break
            leased.append(Lease(window[:left], ref, window.nbytes))
            left -= leased[-1].window.nbytes
        if not leased:
            awaited = await self._leases.wait_some(nbytes)
            self._refuse_if_closed()
            assert awaited is not None
            window = awaited
            leased.append(Lease(window[:nbytes], None, window.nbytes))
        return leased

    def _view_of(self, leased: Sequence[Lease], nbytes: int) -> BytesView:
        """Return the first `nbytes` bytes of what was leased; copied if they fill little of it."""
        pieces: list[memoryview] = []
        refs: list[BlockRef | None] = []
        left = nbytes
        for lease in leased:
            if not left:
                break
            filled = min(left, lease.window.nbytes)
            left -= filled
            piece = lease.window[:filled].toreadonly()
            is_full_and_plain = lease.is_plain and filled == lease.room_nbytes
            if is_full_and_plain or self._memory.is_worth_keeping(filled, lease.room_nbytes):
                pieces.append(piece)
                refs.append(lease.ref)
            else:
                pieces.append(memoryview(piece.tobytes()))
                refs.append(None)
        return make_view(tuple(pieces), nbytes, said(refs))

    # Writing

    async def _write_view(self, view: BytesView) -> None:
        try:
            if not view:
                await checkpoint()
                self._refuse_writing()
            for start in range(0, view._nbytes, WRITE_NBYTES):
                offset = None if self._appends else self._write_offset
                part = view[start : start + WRITE_NBYTES]
                written, exc = await self._written(part, offset)
                self._write_offset += written
                if exc is not None:
                    raise exc
        finally:
            part = view  # an error that is kept holds this frame, but no memory
            del view, part

    async def write_at(self, offset: SupportsIndex, view: BytesView) -> None:
        """Write all bytes of `view` at `offset`, in bytes from the start of the file.

        Any number of tasks may do so at once; where they overlap, anything may be the outcome.
        Behind the end of the file, what is between is zeros.

        Raises:
          trio.ClosedResourceError: this file was closed, here or by another task.
          io.UnsupportedOperation: it was opened for reading only, or to append.
          OSError: what the system reported, with the path: a full disk, say.
          TypeError, ValueError: `offset` is no integer, negative, or over 2 ** 62; `view` is no
            `BytesView`.

        Cancellation: resumable. To call this again writes the same bytes to the same place. Up to
        8 MiB it is atomic.

        Cost: a thread, some 65 µs, for each 8 MiB; no copy in Python but of small pieces.
        """
        at = offset_of(offset)
        if not isinstance(view, BytesView):
            raise TypeError(f"write_at writes a BytesView, not {type(view).__name__}")
        try:
            if not view or self._appends:
                await checkpoint()
                self._refuse_writing()
                self._refuse_if_appending()
            for start in range(0, view._nbytes, WRITE_NBYTES):
                part = view[start : start + WRITE_NBYTES]
                _, exc = await self._written(part, at + start)
                if exc is not None:
                    raise exc
        finally:
            part = view  # an error that is kept holds this frame, but no memory
            del view, part

    async def _written(self, view: BytesView, offset: int | None) -> tuple[int, OSError | None]:
        """Write all bytes of `view` in a thread that is waited for; as `Handle.write`. (Law 3)"""
        await checkpoint_if_cancelled()
        if self._is_closed or not self._can_write:
            await cancel_shielded_checkpoint()
            self._refuse_writing()
        work = partial(self._handle.write, SendPlan(view._pieces, view._nbytes), offset)
        try:
            written, exc = await self._handle.in_thread(work)
        finally:
            del work, view
        if written and self._progress is not None:
            self._progress(written)
        return written, None if exc is None else self._handle.with_path(exc)

    def _refuse_writing(self) -> None:
        self._refuse_if_closed()
        if not self._can_write:
            raise io.UnsupportedOperation(f"{self!r} was opened for reading only")

    def _refuse_if_appending(self) -> None:
        if self._appends:
            raise io.UnsupportedOperation(f"{self!r} was opened to append: it has no other place")

    # The whole file

    async def size(self) -> int:
        """Return how long the file is, in bytes.

        Raises:
          trio.ClosedResourceError: this file was closed.
          OSError: what the system reported, with the path.

        Cancellation: atomic.
        """
        await self._checkpoint_if_closed()
        return await self._handle.in_thread(self._handle.size, abandon_on_cancel=True)

    async def sync(self) -> None:
        """Wait until everything that was written is on the disk, as far as the system knows.

        Raises:
          As `size`; an OSError means that written bytes may be lost, whatever is tried.

        Cancellation: atomic. A thread that has begun is waited for.
        """
        await self._checkpoint_if_closed()
        await self._handle.in_thread(self._handle.sync)

    async def _checkpoint_if_closed(self) -> None:
        if self._is_closed:
            await checkpoint()
            self._refuse_if_closed()

    async def _aclose(self) -> None:
        self._leases.end_waits()
        with trio.CancelScope(shield=True):
            await self._handle.in_thread(self._handle.close)
        await checkpoint_if_cancelled()


async def open_binary_file(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    mode: FileMode = "r",
    *,
    memory: Memory | None = None,
) -> File:
    """Open a regular file of bytes.

    Args:
      path: where it is.
      mode: "r" to read, "r+" to read and write what is there, "w" to write a new file or empty an
        old one, "x" to write a file that must not exist yet, "w+" and "x+" to read as
        well, "a" to append.
      memory: where bytes that are read go; the process's pool if not given.

    Raises:
      OSError: what the system reported, with the path, such as FileNotFoundError.
      io.UnsupportedOperation: it is no regular file. `FdStream` is for pipes and terminals.
      IsADirectoryError: it is a directory.
      TypeError, ValueError: there is no such mode, or an argument is of a wrong type.

    Cancellation: atomic for "r" and "r+". Otherwise the file may have been made, or emptied.

    Example:
      >>> async def main(path):
      ...     async with await open_binary_file(path, "x") as file:
      ...         await file.write_view(BytesView(b"a" * 1000))
      ...     async with await open_binary_file(path) as file:
      ...         return [len(view) async for view in file.chunks(400)]
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     trio.run(main, folder + "/letters")
      [400, 400, 200]
    """
    memory = memory_or_default(memory)
    if mode not in MODES:
        raise ValueError(f"a mode is one of {', '.join(MODES)}, not {mode!r}; all are of bytes")
    name = os.fspath(path)
    raw = await trio.to_thread.run_sync(open_regular, name, mode)
    try:
        return File(raw, memory=memory)
    except BaseException:
        raw.close()
        raise
