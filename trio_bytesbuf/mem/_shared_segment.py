"""A segment: one block of memory that other processes can map, and the kernel's proof about it.

    memfd:   | header page: magic, size, generation | the block                      |
    ours:    one writable MAP_SHARED mapping; every view of ours refers to it
    a peer's: one read-only MAP_SHARED mapping of its own, through /proc/<pid>/fd/<n>

A memfd has no name that could be left behind: when the last descriptor and the last mapping are
gone, however the processes ended, the kernel frees the memory.

Law 1. A segment is home if nobody refers to our mapping (the reference count, counted by the
       shelf), no fork happened since the block was made, and, if a peer was told of what
       is in it, the kernel grants us the exclusive `flock`.
Law 2. A peer takes the shared `flock` before it maps, on an open file description of its own. A
       mapping keeps its file description open, so the lock lives exactly as long as the
       mapping, and that as long as any memoryview of it. No finalizer is asked; a peer that
       dies, or that closes all its descriptors, changes nothing of this. A child that inherits the
       mapping by `fork` shares the description, and so the lock.
Law 3. While we have the exclusive lock we count up `generation`, and then nobody is told of the
       block. Whoever was told earlier finds the lock taken or another generation, and gets an
       error. We ask for the lock only when nobody here refers to the mapping, nothing that
       is in transit included, so to a peer a taken lock means: too late.
Law 4. The size is sealed, so no peer can be killed by SIGBUS. Writing is sealed (Linux 5.1), so
       peers can only read.
Law 5. After `fork` no block that was made before is leased again by either side, as the other
       may see it. In the child, memory copies take the place of its writable mappings, so that
       a builder that was inherited neither writes into the parent's memory nor shows what the
       parent writes from then on. (What it had not shown yet may be the parent's by then.)

`__del__` closes the descriptor, as a mapping's own deallocation does. The memory is safe whenever
that happens: nothing but `share` and the proof use it, a descriptor that is closed proves nothing,
and a segment with a closed one cannot be shared.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import itertools
import mmap
import os
import struct
import sys
import weakref
from collections.abc import Callable
from typing import Any, Final, Self

import attrs

from .._errors import BadMemory, HandleExpired
from ..seq import Block, BlockRef
from ..seq._proof import address_of

if sys.platform != "win32":  # where `require_segments` says no
    import fcntl

HEADER_NBYTES: Final = mmap.PAGESIZE
"""The header has a page of its own, so that blocks begin at a page."""

HEADER: Final = struct.Struct("<8sQQ")
MAGIC: Final = b"bytesbuf"
NAME: Final = "trio_bytesbuf-"
"""How the kernel's names of our memfds begin; 16 random bytes follow, so they never repeat."""

# From <linux/fcntl.h>, where Python versions before 3.13 or other C libraries lack the names.
F_ADD_SEALS: Final = 1033
F_GET_SEALS: Final = 1034
F_SEAL_SHRINK: Final = 0x0002
F_SEAL_GROW: Final = 0x0004
F_SEAL_FUTURE_WRITE: Final = 0x0010
SIZE_SEALS: Final = F_SEAL_SHRINK | F_SEAL_GROW
MAP_FIXED: Final = 0x10

# A mapping keeps its file description open by itself; before 3.13 Python adds a descriptor to it.
_UNTRACKED: Final[dict[str, Any]] = {"trackfd": False} if sys.version_info >= (3, 13) else {}


@attrs.frozen
class SharedBlock:
    """What `BytesView.metas` says of a piece in shared memory, ours or received.

    For endpoints that can go a faster way: such a piece can be handed over by `share`.
    """

    owner_pid: int
    """The process that made the block, or that handed it to this one; it may be gone."""

    block_nbytes: int
    """How large the block is."""


class _Forks:
    """Which blocks a forked process may see: those of another epoch (Law 5)."""

    __slots__ = ("_epochs", "epoch", "under_way")

    def __init__(self) -> None:
        self._epochs = itertools.count(1)
        self.epoch = 0
        self.under_way = 0

    def begin(self) -> None:
        self.under_way += 1
        self.epoch = next(self._epochs)

    def end_in_parent(self) -> None:
        # Once more: what was leased by other threads since `begin` is seen by the child too.
        self.epoch = next(self._epochs)
        self.under_way -= 1

    def end_in_child(self) -> None:
        self.epoch = next(self._epochs)
        self.under_way = 0
        for forget in _FORGET:  # first, as what nobody refers to need not be copied
            forget()
        for segment in list(_OURS):
            segment.become_private()


class Segment(mmap.mmap):
    """A mapping of one memfd, ours or a peer's; what shows its memory refers to it."""

    __slots__ = (
        "_address",
        "_epoch",
        "_inode",
        "block_nbytes",
        "fd",
        "generation",
        "is_known_elsewhere",
        "maker_pid",
        "name",
        "ref",
    )

    block_nbytes: int
    fd: int  # -1 when it was closed
    generation: int
    is_known_elsewhere: bool  # whether a peer was told of this generation
    maker_pid: int | None  # the process that may write; None for a peer's
    name: str
    ref: BlockRef
    _address: int
    _epoch: int
    _inode: tuple[int, int]

    @classmethod
    def make(cls, block_nbytes: int) -> Self:
        """Make a new block. Cost: some 20 µs, and a page fault for each page that is used."""
        epoch = _FORKS.epoch
        name = NAME + os.urandom(16).hex()
        fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, HEADER_NBYTES + block_nbytes)
            fcntl.fcntl(fd, F_ADD_SEALS, SIZE_SEALS)
            segment = cls._map(fd, name, block_nbytes, mmap.PROT_READ | mmap.PROT_WRITE)
            HEADER.pack_into(segment, 0, MAGIC, block_nbytes, 0)
            seal_writing(fd)
            segment.maker_pid = os.getpid()
            segment.ref = BlockRef(meta=SharedBlock(os.getpid(), block_nbytes))
            segment._epoch = epoch
            _OURS.add(segment)
        except BaseException:
            os.close(fd)
            raise
        segment.fd = fd  # which is the segment's from here on
        return segment

    @classmethod
    def open(cls, pid: int, fd: int, name: str, block_nbytes: int, generation: int) -> Self:
        """Map a block of process `pid` for reading, or raise and map nothing (Law 2).

        Raises:
          HandleExpired: the process is gone, or its block is, or shows other bytes by now.
          BadMemory: what the process has there is not a block as they must be.
          OSError: this process may not look into the other, or has no more descriptors.
        """
        opened = open_memfd(pid, fd, name, os.O_RDONLY)
        try:
            _lock_and_check(opened, pid, HEADER_NBYTES + block_nbytes)
            segment = cls._map(opened, name, block_nbytes, mmap.PROT_READ)
            try:
                _check_header(segment, pid, generation)
            except BaseException:
                segment.close()  # the traceback would keep the mapping, and so the lock
                raise
            segment.generation = generation
            segment.is_known_elsewhere = True
            segment.maker_pid = None
            segment.ref = BlockRef(meta=SharedBlock(pid, block_nbytes))
        except BaseException:
            os.close(opened)
            raise
        segment.fd = opened  # which is the segment's from here on
        return segment

    @classmethod
    def _map(cls, fd: int, name: str, block_nbytes: int, prot: int) -> Self:
        status = os.fstat(fd)  # first: if it failed, its traceback would keep the mapping
        segment = cls(fd, HEADER_NBYTES + block_nbytes, mmap.MAP_SHARED, prot, **_UNTRACKED)
        segment._address = address_of(segment)
        segment.name = name
        segment.block_nbytes = block_nbytes
        segment.generation = 0
        segment.is_known_elsewhere = False
        segment._inode = status.st_dev, status.st_ino
        return segment

    def __del__(self) -> None:
        fd = getattr(self, "fd", -1)
        if fd >= 0:
            self.fd = -1
            with contextlib.suppress(OSError):
                os.close(fd)

    def memory(self) -> memoryview:
        """Return the block without its header."""
        return memoryview(self)[HEADER_NBYTES:]

    def as_block(self) -> Block:
        """Return the block for a builder."""
        return Block(self.memory(), meta=self.ref.meta)

    def offset_of(self, piece: memoryview) -> int:
        """Return where in the block `piece`, which shows a part of it, begins."""
        return address_of(piece) - self._address - HEADER_NBYTES

    def is_home(self) -> bool:
        """Prove the rest of Law 1, after it was counted that nobody refers to the mapping.

        In this order: a fork that begins after the count finds nobody who sees the block.
        """
        if self._epoch != _FORKS.epoch or _FORKS.under_way:
            return False
        return not self.is_known_elsewhere or self._take_back()

    def _take_back(self) -> bool:
        try:
            status = os.fstat(self.fd)
            if (status.st_dev, status.st_ino) != self._inode:
                return False  # somebody closed our descriptor and its number was used again
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.generation += 1
            HEADER.pack_into(self, 0, MAGIC, self.block_nbytes, self.generation)
            fcntl.flock(self.fd, fcntl.LOCK_UN)
        except OSError:  # a peer sees it, or cannot be let see it again: whatever, it is not proved
            return False
        self.is_known_elsewhere = False
        return True

    def become_private(self) -> None:
        """Put a copy in the place of the shared memory, in a child (Law 5).

        A private mapping of the same file would not do: its pages show what the parent writes
        until the child writes to them.
        """
        kept = bytes(self)
        flags = mmap.MAP_PRIVATE | MAP_FIXED | mmap.MAP_ANONYMOUS
        prot = mmap.PROT_READ | mmap.PROT_WRITE
        if libc_mmap()(self._address, len(self), prot, flags, -1, 0) == self._address:
            self[:] = kept


_OURS: Final[weakref.WeakSet[Segment]] = weakref.WeakSet()
_FORKS: Final = _Forks()
_FORGET: Final[list[Callable[[], None]]] = []


def _lock_and_check(opened: int, pid: int, total_nbytes: int) -> None:
    """Take the shared lock of what is offered as a block, and see whether it may be mapped."""
    try:
        fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise HandleExpired("the block was taken back by its owner") from None
    seals = fcntl.fcntl(opened, F_GET_SEALS)
    if os.fstat(opened).st_size != total_nbytes or seals & SIZE_SEALS != SIZE_SEALS:
        raise BadMemory(f"process {pid}", "offers a block of another size, or one not sealed")


def _check_header(segment: Segment, pid: int, generation: int) -> None:
    magic, block_nbytes, its_generation = HEADER.unpack_from(segment)
    if (magic, block_nbytes) != (MAGIC, segment.block_nbytes):
        raise BadMemory(f"process {pid}", "offers memory that is not a block")
    if its_generation != generation:
        raise HandleExpired("the block was leased again by its owner")


def seal_writing(fd: int) -> None:
    """Let nobody else write; kernels before 5.1 do not know how."""
    try:
        fcntl.fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise


def open_memfd(pid: int, fd: int, name: str, mode: int) -> int:
    """Open the memfd `name` that process `pid` has under number `fd`.

    Raises:
      HandleExpired: it does not have it (any more).
      OSError: this process may not look into the other, or has no more descriptors.
    """
    path = f"/proc/{pid}/fd/{fd}"
    link = f"/memfd:{name} (deleted)"
    why = f"process {pid} has ended, or let go of what was to be opened"
    try:
        # Twice: opening a device can do things, and the number may be used again meanwhile.
        if os.readlink(path) == link:  # noqa: PTH115  # no path, though it looks like one
            opened = os.open(path, mode | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
            try:
                is_it = os.readlink(f"/proc/self/fd/{opened}") == link  # noqa: PTH115
            except BaseException:
                os.close(opened)
                raise
            if is_it:
                return opened
            os.close(opened)
    except (FileNotFoundError, ProcessLookupError):
        pass
    raise HandleExpired(why)


@functools.cache
def libc_mmap() -> Any:
    """Return the C library's `mmap`; Python's own cannot say where."""
    function = ctypes.CDLL(None).mmap
    function.restype = ctypes.c_void_p
    function.argtypes = (
        *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int),
        *(ctypes.c_int, ctypes.c_int, ctypes.c_long),
    )
    return function


def require_segments() -> None:
    """Raise NotImplementedError where there cannot be segments; get ready for a fork."""
    if not hasattr(os, "memfd_create") or not hasattr(os, "register_at_fork"):
        raise NotImplementedError("memory shared between processes needs Linux: memfd_create")
    if not os.path.lexists("/proc/self/fd"):
        raise NotImplementedError("memory shared between processes needs /proc to be mounted")
    libc_mmap()


def forget_at_fork(forget: Callable[[], None]) -> None:
    """Let `forget` be called on both sides after every fork (Law 5)."""
    _FORGET.append(forget)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_parent=forget)


def check_segment(segment: Segment) -> None:
    """Raise AssertionError if a law of this file is broken."""
    header = HEADER.unpack_from(segment)
    assert header == (MAGIC, segment.block_nbytes, segment.generation), "Law 3: another header"
    assert len(segment) == HEADER_NBYTES + segment.block_nbytes, "a mapping of another size"
    seals = fcntl.fcntl(segment.fd, F_GET_SEALS)
    assert seals & SIZE_SEALS == SIZE_SEALS, "Law 4: the size is not sealed"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_FORKS.begin,
        after_in_parent=_FORKS.end_in_parent,
        after_in_child=_FORKS.end_in_child,
    )
