"""`TrackingPool`: a pool that knows where each lease was taken, and whether it came home.

Each lease is on a *record* with the place in the program that took it. The record refers to the
block, so a block cannot vanish unseen; and whether it is home is asked of CPython's
reference count, as in `_shelf`:

    record ──> block <── managed buffer <── views       out
    record ──> block                                    home: only the record refers to it

Law 1. A lease is out until the count proves that nobody but its record refers to the block. No
       finalizer is asked, so cycles, tracebacks and threads hide nothing and spoil nothing.
Law 2. A block is on one record at most, and never on one and in a shelf's ring at once. A
       ring has only blocks that came home; each is proved free once more when it is leased.
Law 3. A record refers to nothing of the program but the block: a place is text and numbers.
Law 4. What is on record is at most twice what is out, and a few blocks: before a lease, records
       are looked through as soon as as many were added as had been left, or as many bytes.
Law 5. There is no lock and no finalizer. Who takes a record off the book owns its block.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from sys import getrefcount
from typing import TYPE_CHECKING, Any, Final, SupportsIndex

import attrs

from ..seq import BytesBuf, Memory
from ..seq._exports import forget_what_exports_nothing
from ..seq._proof import FREE_THREADED, REFERENCES_TO_A_LONE_EXPORTER
from ..seq._release import run_hooks_that_are_due
from ..seq._shown import Shown
from ..seq._source import origins
from ._holders import holders_of
from ._pool import MAX_IDLE_NBYTES, GlobalPool, PoolStatistics, check_pool
from ._shelf import Shelf, ShelfStatistics, known_shelves

if TYPE_CHECKING:
    from ..seq._picture import Picture

PLACES: Final = 4
"""How many calls are kept of each lease: who took it, and whom that was done for. A guess."""

SWEPT_NBYTES: Final = MAX_IDLE_NBYTES
"""How many bytes may be leased before records are looked through, however many are out."""

REPORTED: Final = 10
"""How many leases a report describes with their holders, which are slow to find. A guess."""

_OWN_FILES: Final = str(Path(__file__).parent.parent) + "/"

_Position = tuple[str, int, str]


@attrs.frozen
class Place:
    """A line of a program."""

    path: str
    """The file, as the interpreter has it."""

    line: int
    """The line, from 1."""

    function: str
    """The qualified name of the function."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line} in {self.function}"


@attrs.define(eq=False)
class _Record:
    """A lease, until it is home; then `block` is None."""

    block: bytearray | None
    shelf: _TrackedShelf | None
    number: int
    nbytes: int
    positions: tuple[_Position, ...]
    thread: str
    leased_at: float


@attrs.frozen
class Outstanding(Shown):
    """A lease that has not come home: how much, since when, who took it. Keeps no memory out.

    Made by `TrackingPool.outstanding`.
    """

    number: int
    """The how manieth lease of its pool this is, from 1."""

    nbytes: int
    """The size of the block, which may be more than was asked for."""

    places: tuple[Place, ...]
    """The line outside this library that took the lease, and the calls that led there."""

    thread: str
    """The name of the thread that took it."""

    age: float
    """Seconds since then."""

    _record: _Record = attrs.field(repr=False, eq=False, alias="record")

    @property
    def place(self) -> Place:
        """The line that took the lease."""
        return self.places[0]

    def holders(self) -> tuple[str, ...]:
        """Say who holds the memory at this moment, in words; empty once it is home.

        A few lines such as "BytesView in list in attribute `cache` of <Server object> in global
        `SERVER` of module app". What an array or C code holds cannot be looked into; then the
        line says so.

        Cost: tens of milliseconds, as every object of the process is looked at several times.
        """
        record = self._record
        block = record.block
        return () if block is None else holders_of(block, record)

    def __str__(self) -> str:
        return f"{self.nbytes} bytes, leased at {self.place} by thread {self.thread!r}"

    def _picture(self) -> Picture:
        from ._pictures import lease_picture  # only who looks pays for it

        places, holders = map(str, self.places), self.holders() or ("nobody any more",)
        return lease_picture(self.number, self.nbytes, self.age, self.thread, places, holders)


_LONE: Final = REFERENCES_TO_A_LONE_EXPORTER


@attrs.define(eq=False)
class _Book:
    """The records of one pool."""

    _out: dict[int, _Record] = attrs.field(init=False, factory=dict)
    _numbers: Iterator[int] = attrs.field(init=False, factory=lambda: itertools.count(1))
    _leases: int = attrs.field(init=False, default=0)
    _unpooled: int = attrs.field(init=False, default=0)
    _swept_leases: int = attrs.field(init=False, default=0)
    _new_nbytes: int = attrs.field(init=False, default=0)

    def write(self, block: bytearray, shelf: _TrackedShelf | None) -> bytearray:
        """Put a block that nobody else sees on record, and return it to whoever leases it."""
        number = next(self._numbers)
        nbytes = len(block)
        positions = _positions()
        thread = threading.current_thread().name
        self._out[number] = _Record(
            block, shelf, number, nbytes, positions, thread, time.monotonic()
        )
        self._leases += 1  # nothing comes between under the GIL: there is no call in it
        self._unpooled += shelf is None
        self._new_nbytes += nbytes
        return block

    def sweep_if_due(self) -> None:
        """Look through the records if enough were added since (Law 4)."""
        if self._leases >= self._swept_leases or self._new_nbytes >= SWEPT_NBYTES:
            self.sweep()

    def sweep(self) -> list[_Record]:
        """Send home what is home, and return the records of what is out, the oldest first."""
        forget_what_exports_nothing()
        self._new_nbytes = 0
        out = []
        for record in list(self._out.values()):
            if getrefcount(record.block) != _LONE:
                out.append(record)
            elif self._out.pop(record.number, None) is not None:  # Law 5
                block, record.block = record.block, None
                if record.shelf is not None and block is not None:
                    record.shelf.keep(block)
                del block
        self._swept_leases = self._leases + len(out)
        return out


def _positions() -> tuple[_Position, ...]:
    """Return where the nearest function outside this package is, and its callers (Law 3)."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OWN_FILES):
        frame = frame.f_back
    found: list[_Position] = []
    above: Any = frame
    while above is not None and len(found) < PLACES:
        code = above.f_code
        found.append((code.co_filename, above.f_lineno or 0, code.co_qualname))
        above = above.f_back
    return tuple(found)


@attrs.define(eq=False)
class _TrackedShelf(Shelf[bytearray]):
    """A shelf whose ring has the blocks that came home; what is out is in the book."""

    book: _Book = attrs.field(init=False, factory=_Book)

    def lease(self) -> bytearray:
        """Return a block that nobody can see, which is on record."""
        self.book.sweep_if_due()
        while self._ring:
            try:
                alone = getrefcount(block := self._ring.pop()) == _LONE
            except IndexError:  # another thread was quicker
                break
            if alone:
                return self.book.write(block, self)
            del block
        self._allocated += 1
        return self.book.write(self._make(self.block_nbytes), self)

    def keep(self, block: bytearray) -> None:
        """Take home a block that only the caller refers to."""
        if not FREE_THREADED:
            self._ring.append(block)

    def statistics(self) -> ShelfStatistics:
        """Count what is home and what is out, both exactly."""
        lent = sum(record.shelf is self for record in self.book.sweep())
        return ShelfStatistics(
            block_nbytes=self.block_nbytes,
            allocated=self._allocated,
            idle_nbytes=len(self._ring) * self.block_nbytes,
            lent_nbytes=lent * self.block_nbytes,
        )


@attrs.frozen
class TrackingStatistics(PoolStatistics):
    """What a `TrackingPool` did and holds at one moment; all of `lent_nbytes` is counted here."""

    leases: int
    """How many blocks were leased since the pool was made, of any size."""

    def _picture_of(self, title: str, *facts: str) -> Picture:
        from ..seq._words import text_of_count  # only who looks pays for it

        return super()._picture_of(title, text_of_count(self.leases, "lease"), *facts)


class TrackingPool(GlobalPool):
    """A pool for finding leaks: it can tell which leases are out, who took them and who holds them.

    Gives the same sizes as `GlobalPool` and uses blocks again by the same proof, but puts every
    lease on record, also the small ones that a `GlobalPool` does not pool. Any thread may
    reserve and any thread may drop. For tests and for the search for a leak in a running
    program; `set_default_memory(TrackingPool())` makes everything use it that is opened later.

    Args:
      max_idle_nbytes: how many bytes are kept for later, for each size of block; at least 0.

    Raises:
      TypeError, ValueError: `max_idle_nbytes` is no integer, or negative.

    Cost: 7 to 10 µs more for each lease than a `GlobalPool` takes, at any size.

    Example:
      >>> pool = TrackingPool()
      >>> buf = pool.reserve(100)
      >>> [lease.nbytes for lease in pool.outstanding()]
      [100]
      >>> del buf
      >>> pool.outstanding()
      ()
    """

    __slots__ = ("_book",)

    _shelf_type = _TrackedShelf

    def __init__(self, *, max_idle_nbytes: SupportsIndex = MAX_IDLE_NBYTES) -> None:
        super().__init__(max_idle_nbytes=max_idle_nbytes)
        self._book = _Book()
        for shelf in self._shelves:
            assert isinstance(shelf, _TrackedShelf)
            shelf.book = self._book

    def reserve(self, nbytes: SupportsIndex, /) -> BytesBuf:
        """Return an empty builder with room for at least `nbytes` bytes.

        Raises:
          TypeError, ValueError: `nbytes` is no integer, or negative.
        """
        return Memory.reserve(self, nbytes)  # by way of `blocks`

    def _plain(self, nbytes: int) -> bytearray:
        self._book.sweep_if_due()
        return self._book.write(bytearray(nbytes), None)

    def outstanding(self) -> tuple[Outstanding, ...]:
        """Return the leases that have not come home, the oldest first.

        A view in garbage that was not collected yet is still there: call `gc.collect()` before, if
        that does not count. What is returned keeps nothing out.

        Cost: a look at each lease that is out.
        """
        forget_what_exports_nothing()
        run_hooks_that_are_due()
        now = time.monotonic()
        return tuple(
            Outstanding(
                number=record.number,
                nbytes=record.nbytes,
                places=tuple(itertools.starmap(Place, record.positions)),
                thread=record.thread,
                age=now - record.leased_at,
                record=record,
            )
            for record in self._book.sweep()
        )

    def statistics(self) -> TrackingStatistics:
        """Return what the pool did and holds now, exactly.

        The sums count every lease and all that is out, also what the shelves do not: blocks of
        other sizes, and blocks beyond what is kept. Cost: a look at each lease that is out.
        """
        shelves = tuple(shelf.statistics() for shelf in self._shelves)
        return TrackingStatistics(
            leases=self._book._leases,
            allocated=self._book._unpooled + sum(shelf.allocated for shelf in shelves),
            idle_nbytes=sum(shelf.idle_nbytes for shelf in shelves),
            lent_nbytes=sum(record.nbytes for record in self._book.sweep()),
            shelves=shelves,
        )

    def _picture(self) -> Picture:
        from ._pictures import lease_lines  # only who looks pays for it

        picture = super()._picture()
        out = [
            (lease.number, lease.nbytes, lease.age, lease.thread, str(lease.place))
            for lease in self.outstanding()
        ]
        return attrs.evolve(picture, lines=(*picture.lines, *lease_lines(out)))

    def __repr__(self) -> str:
        return f"<TrackingPool at {id(self):#x}>"


def format_outstanding(leases: Iterable[Outstanding], /) -> str:
    """Describe leases for a person: how much, the lines that took them, and who holds them now.

    The first ten are described one by one; the others are counted for each line. No line end at
    the end; empty for no leases.

    Cost: that of `Outstanding.holders` for each that is described.

    Example:
      >>> pool = TrackingPool()
      >>> buf = pool.reserve(100)
      >>> format_outstanding(pool.outstanding()).splitlines()[0]
      '1 lease is out, 100 bytes:'
    """
    leases = list(leases)
    if not leases:
        return ""
    nbytes = sum(lease.nbytes for lease in leases)
    out = "1 lease is out" if len(leases) == 1 else f"{len(leases)} leases are out"
    lines = [f"{out}, {nbytes} bytes:"]
    for lease in leases[:REPORTED]:
        lines.append(f"  {lease.nbytes} bytes, leased {lease.age:.1f} s ago by {lease.thread} at")
        lines += [f"    {place}" for place in lease.places]
        lines.append("  held by")
        lines += [f"    {holder}" for holder in lease.holders() or ("nobody any more",)]
    others = Counter(str(lease.place) for lease in leases[REPORTED:])
    lines += [f"  and {count} more, leased at {place}" for place, count in others.most_common()]
    return "\n".join(lines)


def _origin_of(exporter: object) -> str | None:
    for shelf in known_shelves():
        if isinstance(shelf, _TrackedShelf):
            for record in list(shelf.book._out.values()):
                if record.block is exporter:
                    place = Place(*record.positions[0])
                    return f"lease {record.number} of a TrackingPool, taken at {place}"
    return None


origins.append(_origin_of)


def check_tracking(pool: TrackingPool) -> None:
    """Raise AssertionError if a law of this file, or of a shelf, is broken."""
    check_pool(pool)
    records = pool._book.sweep()
    out = {id(record.block) for record in records}
    assert len(out) == len(records), "Law 2: a block on two records"
    for shelf in pool._shelves:
        assert not out & {id(block) for block in shelf._ring}, "Law 2: leased and in the ring"
    for record in records:
        assert record.block is not None, "Law 5: a record on the book without its block"
        assert len(record.block) == record.nbytes, "a block that was resized"
