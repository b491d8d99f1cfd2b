"""Views of memory that is not ours: of any buffer, and of files, which are not read for it.

Law 1. A piece has at most `PIECE_NBYTES` bytes, so each fits a block, and every piece but the last
       ends on a border of the system's pages if the memory begins on one.
Law 2. The `BlockRef` of each piece has an owner. Only memory of a `bytes` never changes; of all
       other memory somebody may have, or may get, a way to write to it, read-only or not: a
       read-only array can be a view of a writable one, and a file can be written by anybody.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import sys
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..seq import BLOCK_NBYTES_MAX, BlockRef, BytesView
from ..seq._flat import flat
from ..seq._view import make_view

if TYPE_CHECKING:
    from ..seq._flat import Buffer

    PathOrFd: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes] | int

PIECE_ALIGNMENT: Final = 2 * 1_048_576
"""A multiple of every size of page that systems use (4 to 64 KiB), and the large page of x86."""

PIECE_NBYTES: Final = BLOCK_NBYTES_MAX // PIECE_ALIGNMENT * PIECE_ALIGNMENT
"""The most bytes in one piece, 4 GiB - 2 MiB."""

# Before 3.13 each mapping of a file keeps a descriptor of its own, for `resize`.
_KEEP_NO_DESCRIPTOR: Final[dict[str, Any]] = (
    {"trackfd": False} if sys.version_info >= (3, 13) and os.name == "posix" else {}
)

# A FIFO must not wait for its writer, nor a terminal become ours: they are opened to be refused.
_OPEN_FLAGS: Final = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY")
)


def foreign_view(buffer: Buffer, *, owner: object = None, meta: object = None) -> BytesView:
    """Return a view of somebody else's memory that says whose it is; nothing is copied.

    `BytesView(data)` is the everyday form, which shares memory as well. Of this one, each piece
    has a `BlockRef` (`BytesView.block_refs`) with an owner, and memory of 4 GiB and more, which one
    block could not have, lies in several pieces.

    Args:
      buffer: any contiguous buffer: an array, a mapping, `bytes`; read-only, too. Whoever can
        write to it changes the view, which therefore has no hash, unless it is memory of a `bytes`.
      owner: kept alive for as long as a view, reader or builder refers to the memory; what
        exports the memory if not given. (That is kept alive by everything made of the memory.)
      meta: what `BytesView.metas` says of it.

    Raises:
      TypeError: `buffer` exports no buffer or has gaps; or is a `BytesView`, which knows whose
        its memory is.

    Cost: about 1.5 µs; a piece for every 4 GiB.

    Example:
      >>> view = foreign_view(bytearray(b"theirs"), meta="on loan")
      >>> view.metas, view.block_refs[0].owner
      (('on loan',), bytearray(b'theirs'))
    """
    if isinstance(buffer, BytesView):
        raise TypeError("foreign_view takes a buffer; a BytesView can be passed on as it is")
    memory = flat(buffer).toreadonly()
    exporter = _exporter_of(memory)
    ref = BlockRef(meta, exporter if owner is None else owner, type(exporter) is not bytes)
    nbytes = memory.nbytes
    pieces = tuple([memory[at : at + PIECE_NBYTES] for at in range(0, nbytes, PIECE_NBYTES)])
    return make_view(pieces, nbytes, (ref,) * len(pieces) or None)


def _exporter_of(memory: memoryview) -> object:
    exporter = memory.obj
    while type(exporter) is memoryview:
        exporter = exporter.obj
    return exporter


def view_of_file(file: PathOrFd, /) -> BytesView:
    """Return a view of a file as it is now, without reading it: the system does, when it is used.

    A file of any size takes no memory of its own until its bytes are looked at, and what was
    looked at the system can take away again, as it has the file. The view can be cut, searched and
    sent like any other.

    **Nobody may make the file shorter while the view is in use.** Looking at bytes that
    the file no longer has makes the system end the process (SIGBUS), and no `except` helps: this is
    the contract of mapped files everywhere. Writing a new file and renaming it over the
    old one is safe. What is written into the file shows in the view, which therefore has no hash.
    What is appended does not. A disk that fails, or a server of files that is gone, is
    a SIGBUS too. Where that cannot be accepted, read the file.

    Looking at bytes that are not in memory waits for the disk, and an event loop with it: search
    large files in a thread (`trio.to_thread.run_sync(view.find, b"...")`).

    Args:
      file: a path, or the descriptor of a file that is open for reading. The descriptor
        can be closed at once; its offset is neither used nor changed.

    Returns:
      A view with a piece for every 4 GiB, whose owner is the mapping; an empty one of
      an empty file.

    Raises:
      IsADirectoryError: it is a directory.
      OSError: it cannot be opened or mapped, or is no regular file (a FIFO, a device, a file of
        /proc). The path is in the message.
      TypeError: it is neither a path nor a descriptor.

    Cost: a few system calls, whatever the size. Before Python 3.13, a descriptor for as long as the
    memory is looked at.

    Example:
      >>> import tempfile
      >>> with tempfile.NamedTemporaryFile() as file:
      ...     _ = file.write(b"key=value")
      ...     file.flush()
      ...     view = view_of_file(file.name)
      >>> view.partition(b"=")[2]
      BytesView(b'value')
    """
    if isinstance(file, int):
        return _view_of_descriptor(file, file)
    path = os.fspath(file)
    if not hasattr(os, "O_NONBLOCK") and os.path.isdir(path):  # noqa: PTH112  # bytes, too
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    fd = os.open(path, _OPEN_FLAGS)
    try:
        return _view_of_descriptor(fd, path)
    finally:
        os.close(fd)


def _view_of_descriptor(fd: int, file: PathOrFd) -> BytesView:
    try:
        nbytes = _nbytes_of_regular_file(fd)
        if not nbytes:
            return BytesView()
        mapping = mmap.mmap(fd, nbytes, access=mmap.ACCESS_READ, **_KEEP_NO_DESCRIPTOR)
    except ValueError as exc:  # it has fewer bytes than a moment ago
        raise OSError(errno.EAGAIN, f"somebody makes the file shorter: {exc}", file) from exc
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, file) from exc
    return foreign_view(mapping)


def _nbytes_of_regular_file(fd: int) -> int:
    status = os.fstat(fd)
    if stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.ENODEV, "only regular files can be mapped")
    if not status.st_size and hasattr(os, "pread") and os.pread(fd, 1, 0):  # as most of /proc
        raise OSError(errno.ENODEV, "a file that does not say how long it is cannot be mapped")
    return status.st_size
