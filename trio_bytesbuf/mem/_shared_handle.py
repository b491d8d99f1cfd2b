"""`share` and `SharedHandle`: handing a view to another process without copying its bytes.

    sender                                     receiver
    share(view)          keeps the view
    pickle.dumps         a ticket keeps it too
                         ── some 200 bytes ──> pickle.loads
                                               open: lock, check, map; then mark the ticket
    next look: marked,
    the ticket goes

Law 1. From the pickling on until the receiver has the block locked, or until the deadline has
       passed, something in the sender refers to the block: a ticket. What is referred to is
       not leased.
Law 2. A ticket is a tiny memfd. The receiver marks it by writing a byte, after it has locked all
       blocks; it writes to nothing but the memfd of the ticket's own random name.
Law 3. The sender only looks: when its pool wants a block and finds none free, in `statistics`,
       `trim`, and when many tickets have been made since the last look. No signal, no thread.
Law 4. Tickets belong to the process that made them: after `fork` the child has none.

What may go wrong ends in one of two ways: the receiver dies before it opened, and the deadline ends
the ticket; or after, and the kernel drops its lock. A handle that comes too late gets
`HandleExpired`, and never other bytes; `_shared_segment` has the laws for that.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from typing import Final, Self

import attrs

from .._errors import HandleExpired, Released
from ..seq import BLOCK_NBYTES_MAX, BytesView
from ..seq._view import make_view
from ._shared_segment import NAME, Segment, open_memfd, require_segments

CLAIM_SECONDS: Final = 60.0
"""How long a pickle keeps memory that nobody opens. A guess: longer than a busy process is late."""

TICKETS_LOOKED_AT_LATEST: Final = 32
"""So many tickets are made at most between two looks at them; each is a descriptor. A guess."""


@attrs.define(eq=False)
class _Ticket:
    """A pickle that is under way: what it is of, and until when that is kept."""

    name: str
    fd: int
    view: BytesView
    deadline: float

    def is_over(self) -> bool:
        if time.monotonic() >= self.deadline:
            return True
        try:
            return os.fstat(self.fd).st_size > 0
        except OSError:  # somebody closed our descriptor; then only the deadline is left
            return False


@attrs.define(eq=False)
class _Tickets:
    """All tickets of this process. Only who takes one out of the dict closes it."""

    _out: dict[str, _Ticket] = attrs.field(factory=dict)
    _look_at: int = TICKETS_LOOKED_AT_LATEST

    def add(self, view: BytesView, seconds: float) -> _Ticket:
        if len(self._out) >= self._look_at:
            self.look()
        ticket = _Ticket(NAME + os.urandom(16).hex(), -1, view, time.monotonic() + seconds)
        self._out[ticket.name] = ticket  # before there is anything to close
        try:
            ticket.fd = os.memfd_create(ticket.name, os.MFD_CLOEXEC)
        except BaseException:
            self.take(ticket.name)
            raise
        return ticket

    def take(self, name: str) -> BytesView | None:
        """End a ticket; return its view, or None if it is no ticket of ours (any more)."""
        ticket = self._out.pop(name, None)
        if ticket is None:
            return None
        if ticket.fd >= 0:
            with contextlib.suppress(OSError):
                os.close(ticket.fd)
        return ticket.view

    def look(self) -> bool:
        """End all tickets that are over; say whether there were any."""
        over = [name for name, ticket in list(self._out.items()) if ticket.is_over()]
        for name in over:
            self.take(name)
        self._look_at = len(self._out) + TICKETS_LOOKED_AT_LATEST
        return bool(over)

    def forget_all(self) -> None:
        for name in list(self._out):
            self.take(name)


_TICKETS: Final = _Tickets()


def look_at_tickets() -> bool:
    """Let go of what was claimed or is too old; say whether there was any. No I/O but fstat."""
    return _TICKETS.look()


@attrs.frozen
class _BlockPlace:
    """Where a block is: all that the receiver needs to open it, and to be sure that it is it."""

    fd: int
    name: str
    block_nbytes: int
    generation: int


@attrs.frozen
class _Parcel:
    """What travels. Pieces are (index of a block, offset in it, nbytes)."""

    pid: int
    ticket_fd: int
    ticket_name: str
    blocks: tuple[_BlockPlace, ...]
    pieces: tuple[tuple[int, int, int], ...]

    def open(self) -> BytesView:
        """Return the view; of this process's own if it is still in transit here."""
        ours = _TICKETS.take(self.ticket_name)
        if ours is not None:
            return ours
        segments: list[Segment] = []
        try:
            for block in self.blocks:
                segments.append(Segment.open(self.pid, *attrs.astuple(block)))  # noqa: PERF401
        except BaseException:
            segments.clear()  # the traceback would keep them
            raise
        pieces, refs = [], []
        for index, offset, nbytes in self.pieces:
            segment = segments[index]
            pieces.append(segment.memory()[offset : offset + nbytes])
            refs.append(segment.ref)
        view = make_view(tuple(pieces), self.nbytes, tuple(refs) or None)
        self.mark()  # the last: what fails before can be done again
        return view

    def mark(self) -> None:
        """Tell the sender that it may let go. If that fails, the deadline does it."""
        if _TICKETS.take(self.ticket_name) is None:
            with contextlib.suppress(HandleExpired, OSError, MemoryError):
                fd = open_memfd(self.pid, self.ticket_fd, self.ticket_name, os.O_WRONLY)
                try:
                    os.write(fd, b"\1")
                finally:
                    os.close(fd)

    @property
    def nbytes(self) -> int:
        return sum(nbytes for _, _, nbytes in self.pieces)


@attrs.define(eq=False, repr=False)
class SharedHandle:
    """A view in shared memory, as something small that can be pickled. Made by `share`.

    Pickle it, send it by any way to one process on the same machine, and let that call `open`.
    Meanwhile the sender may drop both the view and the handle: the pickle keeps the memory
    until it was opened, or for `claim_seconds`. One pickle is for one receiver; pickle
    the handle again for the next.

    Who has a handle keeps the memory, as who has the view does; `release` lets go.

    Example:
      >>> handle = share(BytesView.copied_from_slice(b"handed over", SharedPool()))
      >>> handle.nbytes, handle.open() == b"handed over"
      (11, True)
    """

    _view: BytesView | None
    _parcel: _Parcel | None
    _nbytes: int
    _claim_seconds: float

    @property
    def nbytes(self) -> int:
        """How many bytes the view has."""
        return self._nbytes

    def open(self) -> BytesView:
        """Return the view; no byte is copied.

        In another process its pieces are read-only mappings of the sender's blocks, which the
        sender does not use again while anything refers to them here: the view, the handle, what
        is cut or made of them. They stay whole when the sender ends, and can be shared again.

        Raises:
          HandleExpired: it was not opened in time, or was opened before in another process,
            or the sender has ended.
          Released: this handle was released.
          BadMemory: what the sender has is not what a `SharedPool` makes.
          OSError: this process may not look into the sender's (another user's, say), or has no
            more descriptors.

        Cost: some 40 µs for each block, and two descriptors for each (one from Python 3.13 on)
        while something refers to it. Then a page fault for every few pages that are looked at.
        Nothing in the process that made it.
        """
        if self._view is None:
            if self._parcel is None:
                raise Released("SharedHandle")
            self._view = self._parcel.open()
            self._parcel = None
        return BytesView(self._view)

    def release(self) -> None:
        """Let the memory go; views that were opened stay. Releasing twice is harmless.

        A handle that has arrived and was not opened tells the sender so. Pickles that were made
        of this handle stay good.
        """
        parcel, self._parcel, self._view = self._parcel, None, None
        if parcel is not None:
            parcel.mark()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle, and keep the memory for the one who will open it.

        Raises:
          Released, HandleExpired: as `open`.
          OSError: there are no more descriptors; each pickle needs one until it was opened.
        """
        view = self.open()
        blocks, pieces = _places_of(view)
        travels = tuple(attrs.astuple(block) for block in blocks)
        ticket = _TICKETS.add(view, self._claim_seconds)
        try:
            where = (os.getpid(), ticket.fd, ticket.name, travels, pieces)
            how = _arrived, (*where, self._claim_seconds)
        except BaseException:
            _TICKETS.take(ticket.name)
            raise
        else:
            return how

    def __repr__(self) -> str:
        if self._view is None:
            state = "released" if self._parcel is None else f"from process {self._parcel.pid}"
            return f"<SharedHandle of {self._nbytes} bytes, {state}>"
        return f"<SharedHandle of {self._nbytes} bytes>"


def share(view: BytesView, *, claim_seconds: float = CLAIM_SECONDS) -> SharedHandle:
    """Return a small handle of `view` that can be pickled for another process on this machine.

    The bytes must be in the memory of a `SharedPool`, or have been received by such a handle. The
    other process must be allowed to look into this one: the same user, as a rule. It can read
    the whole of the blocks that it gets a piece of, so share only with whom you trust.

    Args:
      view: what to hand over; it may lie in several pieces and be a part of something.
      claim_seconds: how long each pickle of the handle keeps the memory for a receiver that does
        not open it; above 0, finite. Afterwards that pickle may be worth nothing.

    Raises:
      TypeError: `view` is no `BytesView`, or `claim_seconds` no number.
      ValueError: a piece is not in shared memory of this process; or `claim_seconds` is not
        above 0 and finite.

    Cost: 2 µs, more with many pieces; pickling 30 µs, as it makes a memfd. (Processor time.)

    Example:
      >>> view = BytesView.copied_from_slice(b"x" * 1_000_000, SharedPool())
      >>> share(view)  # pickle and send this, and let the other process call `open`
      <SharedHandle of 1000000 bytes>
    """
    if not isinstance(view, BytesView):
        raise TypeError(f"share hands over BytesViews, not {type(view).__name__}")
    if not 0.0 < claim_seconds < math.inf:
        raise ValueError(f"claim_seconds must be above 0 and finite, not {claim_seconds}")
    require_segments()
    _segments_of(view)
    return SharedHandle(BytesView(view), None, len(view), float(claim_seconds))


def _segments_of(view: BytesView) -> list[Segment]:
    """Return the segment of each piece, or raise ValueError if one cannot be shared from here."""
    segments = []
    for at, (piece, ref) in enumerate(zip(view._pieces, view.block_refs, strict=True)):
        segment: object = piece.obj
        if not isinstance(segment, Segment) or (ref is not None and ref.may_change):
            raise ValueError(
                f"piece {at} is not in shared memory; "
                "share BytesView.copied_from_slice(view, pool) instead, with a SharedPool"
            )
        if segment.fd < 0 or segment.maker_pid not in (None, os.getpid()):
            raise ValueError(
                f"piece {at} is in memory that only the process before the fork can share; "
                "share BytesView.copied_from_slice(view, pool) instead, with a SharedPool"
            )
        segments.append(segment)
    return segments


def _places_of(view: BytesView) -> tuple[list[_BlockPlace], tuple[tuple[int, int, int], ...]]:
    """Say where the pieces of `view` are; from now on their blocks are known elsewhere."""
    indices: dict[str, int] = {}
    blocks: list[_BlockPlace] = []
    pieces = []
    for segment, piece in zip(_segments_of(view), view._pieces, strict=True):
        segment.is_known_elsewhere = True
        index = indices.setdefault(segment.name, len(blocks))
        if index == len(blocks):
            blocks.append(
                _BlockPlace(segment.fd, segment.name, segment.block_nbytes, segment.generation)
            )
        pieces.append((index, segment.offset_of(piece), piece.nbytes))
    return blocks, tuple(pieces)


def _arrived(
    pid: int,
    ticket_fd: int,
    ticket_name: str,
    blocks: tuple[tuple[int, str, int, int], ...],
    pieces: tuple[tuple[int, int, int], ...],
    claim_seconds: float,
) -> SharedHandle:
    """Unpickle a handle; raise ValueError for what `__reduce__` never wrote. Opens nothing."""
    try:
        places = tuple(_BlockPlace(*block) for block in blocks)
        parcel = _Parcel(pid, ticket_fd, ticket_name, places, tuple(pieces))
        counts = [pid, ticket_fd]
        for place in places:
            counts += (place.fd, place.generation, place.block_nbytes)
        for index, offset, nbytes in parcel.pieces:
            counts += (index, offset, nbytes - 1, places[index].block_nbytes - offset - nbytes)
        words = (ticket_name, *(place.name for place in places))
        sane = (
            all(type(count) is int and count >= 0 for count in counts)
            and all(place.block_nbytes <= BLOCK_NBYTES_MAX for place in places)
            and all(type(word) is str and word.startswith(NAME) for word in words)
            and 0 < claim_seconds < math.inf
        )
    except (TypeError, ValueError, IndexError) as exc:
        raise ValueError("this is no pickled SharedHandle") from exc
    if not sane:
        raise ValueError("this is no pickled SharedHandle")
    return SharedHandle(None, parcel, parcel.nbytes, float(claim_seconds))


def check_tickets() -> None:
    """Raise AssertionError if a ticket has lost its descriptor."""
    for name, ticket in list(_TICKETS._out.items()):
        assert name == ticket.name, "Law 2: a ticket under another name"
        assert os.fstat(ticket.fd).st_size <= 1, "Law 2: more than a mark"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_TICKETS.forget_all)
