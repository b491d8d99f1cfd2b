"""The machine of dividing builders: several at once, each against a `bytearray` of its own.

Builders here are cut, joined, given back memory, written over, frozen and made of views again,
while everything that was ever shown may be kept, in any form. What a step drops is gone, so blocks
are used again all the time.

    owners  builders, each with its model and the memoryviews that can still write to its room
    kept    things that show bytes, with the bytes that they must show for ever
    guards  guards, with the addresses that must go on holding the same bytes
    pens    memoryviews for writing that outlived their loan; they write something else at each step

`test_dividing` plays it, `test_planted_bugs` shows what it catches.
"""

import ctypes
import gc
import itertools
from collections.abc import Callable, Iterator

import attrs
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from machine import (
    ALIASES,
    FORMS,
    PICKS,
    SIZES,
    SOME,
    Kept,
    SmallPool,
    filled_bytes,
    fresh_bytes,
    spread,
)

from trio_bytesbuf import (
    BufferFull,
    BytesBuf,
    BytesReader,
    BytesView,
    MemoryInUse,
    NotAdjacent,
    NotEnoughBytes,
)
from trio_bytesbuf.mem import PlainMemory
from trio_bytesbuf.seq import MemoryGuard, _builder
from trio_bytesbuf.seq._proof import address_of
from trio_bytesbuf.testing import FixedBlockMemory, check_laws

OWNERS_MAX = 6
"""Builders at a time; with more of them each one sees too little."""

MEMORIES = st.integers(0, 3)
COALESCED_NBYTES = 4
"""Instead of 256, so that views of the sizes here are both joined by copying and not."""


@attrs.define(eq=False)
class Owner:
    """A builder, what it must hold, and who can still write to memory that it has lent."""

    buf: BytesBuf
    model: bytearray = attrs.field(factory=bytearray)
    pens: list[memoryview] = attrs.field(factory=list)


@attrs.frozen(eq=False)
class KeptReader:
    """A reader that was kept, and what it must read."""

    thing: BytesReader
    shown: bytes

    def check(self) -> None:
        """Raise AssertionError if it reads anything else."""
        self.thing.seek(0)
        assert self.thing.read() == self.shown, "a kept reader shows other bytes"


@attrs.frozen(eq=False)
class Guarded:
    """A guard, and what lies at the addresses that it guards."""

    guard: MemoryGuard
    places: list[tuple[int, bytes]]

    def check(self) -> None:
        """Raise AssertionError if something else lies there."""
        for address, data in self.places:
            assert ctypes.string_at(address, len(data)) == data, "guarded memory has other bytes"


MORE_FORMS: dict[str, Callable[[BytesView], object]] = {
    **FORMS,
    "same pieces": BytesView,
    "slice of slices": lambda view: tuple(piece[:] for piece in view.pieces),
    "arrays": lambda view: tuple(np.frombuffer(piece, "u1") for piece in view.pieces),
    "whole, cut in the middle": lambda view: view[: len(view) // 2] + view[len(view) // 2 :],
}


def extent(piece: memoryview) -> tuple[int, int]:
    """Return the addresses of the first byte of `piece`, and of the one behind its last."""
    start = address_of(piece)
    return start, start + piece.nbytes


def writable_extents(buf: BytesBuf) -> Iterator[tuple[int, int]]:
    """Yield where `buf` believes that it may write."""
    for piece in buf._pieces:
        if not piece.readonly:
            yield extent(piece)
    for block in buf._blocks:
        yield extent(block._memory[block._start : block._stop])


def snapshot(buf: BytesBuf) -> tuple[object, ...]:
    """Return everything that a refused call must leave as it is."""
    return (
        filled_bytes(buf),
        (len(buf), buf.remaining_capacity, buf.capacity, buf._busy),
        [(*extent(piece), piece.readonly) for piece in buf._pieces],
        list(buf._refs),
        [(id(block), block._start, block._end, block._stop) for block in buf._blocks],
    )


def follows(buf: BytesBuf, other: BytesBuf) -> bool:
    """Say whether the bytes of `other` lie behind those of `buf`, found out in another way.

    That a seam is noted where it should be, and holds no longer than it should: test_seams.
    """
    left, right = list(buf._filled())[-1], next(iter(other._filled()))
    end, start = extent(left)[1], extent(right)[0]
    if left.obj is right.obj and end == start:
        return True
    mine, others = buf._seam, other._front_seam
    return (
        None not in (mine, others) and mine[0] is others[0] and (mine[1], others[1]) == (end, start)
    )


class DividingMachine(RuleBasedStateMachine):
    """A program that cuts and joins builders, and keeps what they show."""

    def __init__(self) -> None:
        super().__init__()
        gc.disable()  # a collection in the middle of a step could not be played again
        self.coalesced_nbytes = _builder.COALESCED_NBYTES
        _builder.COALESCED_NBYTES = COALESCED_NBYTES
        self.pool = SmallPool()
        self.memories = (FixedBlockMemory(1), FixedBlockMemory(7), PlainMemory(), self.pool)
        self.owners: list[Owner] = []
        self.kept: list[Kept | KeptReader] = []
        self.guards: list[Guarded] = []
        self.pens: list[memoryview] = []

    # What the rules have in common

    def owner(self, pick: int) -> Owner:
        """Return one of the builders."""
        if not self.owners:
            self.adopt(BytesBuf())
        return self.owners[pick % len(self.owners)]

    def adopt(self, buf: BytesBuf, model: bytes = b"") -> None:
        """From now on, `buf` is one of the builders. If there are too many, the oldest goes."""
        self.owners.append(Owner(buf, bytearray(model)))
        del self.owners[:-OWNERS_MAX]

    def keep(self, view: BytesView, shown: bytes) -> None:
        """From now on, `view` must show these bytes."""
        assert view == shown, "a new view shows other bytes"
        self.kept.append(Kept(view, bytes(shown)))

    def allowed(self, owner: Owner, call: Callable[[], object]) -> bool:
        """Make a call that is refused, and changes nothing, only where a window can be written."""
        before = snapshot(owner.buf)
        try:
            call()
        except MemoryInUse:
            assert owner.pens, "refused, but nobody can write"
            assert snapshot(owner.buf) == before, "a refused call has changed something"
            return False
        return True

    def refused(
        self, owner: Owner, errors: type[Exception], call: Callable[..., object], *args: object
    ) -> None:
        """Make a call that must be refused with such an error, and change nothing."""
        before = snapshot(owner.buf)
        with pytest.raises((errors, MemoryInUse) if owner.pens else errors):
            call(*args)
        assert snapshot(owner.buf) == before, "a refused call has changed something"

    @property
    def views(self) -> list[Kept]:
        """Those of the kept things that are views."""
        return [kept for kept in self.kept if isinstance(kept.thing, BytesView)]

    # Making and dropping

    @rule(memory=MEMORIES, nbytes=SIZES)
    def with_capacity(self, memory: int, nbytes: int) -> None:
        buf = BytesBuf.with_capacity(nbytes, self.memories[memory])
        assert buf.remaining_capacity >= nbytes
        self.adopt(buf)

    @rule(pick=PICKS)
    def drop_a_builder(self, pick: int) -> None:
        if self.owners:
            self.pens += self.owners.pop(pick % len(self.owners)).pens

    @rule(pick=PICKS, count=st.integers(1, 12))
    def drop_what_was_kept(self, pick: int, count: int) -> None:
        first = pick % (len(self.kept) + 1)
        del self.kept[first : first + count]

    @rule()
    def drop_everything_kept(self) -> None:
        self.kept.clear()
        self.guards.clear()
        self.pens.clear()

    @rule(pick=PICKS)
    def drop_pens(self, pick: int) -> None:
        self.owner(pick).pens.clear()

    # Room

    @rule(pick=PICKS, memory=MEMORIES, nbytes=SIZES)
    def reserve(self, pick: int, memory: int, nbytes: int) -> None:
        buf = self.owner(pick).buf
        before = buf.remaining_capacity
        buf.reserve(nbytes, self.memories[memory])
        assert buf.remaining_capacity >= max(nbytes, before), "reserved too little"

    @rule(pick=PICKS, nbytes=SIZES, more=st.booleans())
    def try_reclaim(self, pick: int, nbytes: int, more: bool) -> None:
        owner = self.owner(pick)
        buf, room = owner.buf, owner.buf.remaining_capacity
        wanted = room + 1 if more else nbytes
        before = snapshot(buf)
        answers: list[bool] = []
        if self.allowed(owner, lambda: answers.append(buf.try_reclaim(wanted))):
            if answers[0]:
                assert buf.remaining_capacity >= max(room, wanted), "reclaimed too little"
                if more:
                    self.fill_all_room(pick)
            else:
                assert snapshot(buf) == before, "a refused call has changed something"

    # Filling

    @rule(pick=PICKS, nbytes=SIZES)
    def put_slice(self, pick: int, nbytes: int) -> None:
        owner = self.owner(pick)
        data = fresh_bytes(min(nbytes, owner.buf.remaining_capacity))
        if self.allowed(owner, lambda: owner.buf.put_slice(data)):
            owner.model += data

    @rule(pick=PICKS)
    def fill_all_room(self, pick: int) -> None:
        """Whoever could still see the room, or a part of it, will see other bytes there."""
        self.put_slice(pick, self.owner(pick).buf.remaining_capacity)

    @rule(pick=PICKS, excess=SOME)
    def put_too_much(self, pick: int, excess: int) -> None:
        owner = self.owner(pick)
        data = bytes(owner.buf.remaining_capacity + excess)
        self.refused(owner, BufferFull, owner.buf.put_slice, data)

    @precondition(lambda self: self.views)
    @rule(pick=PICKS, which=PICKS, start=SIZES, nbytes=SIZES)
    def put_view(self, pick: int, which: int, start: int, nbytes: int) -> None:
        owner, kept = self.owner(pick), self.views[which % len(self.views)]
        part = slice(start % (len(kept.shown) + 1), start + nbytes)
        if self.allowed(owner, lambda: owner.buf.put_view(kept.thing[part])):
            owner.model += kept.shown[part]

    @rule(pick=PICKS, nbytes=SIZES, memory=MEMORIES, as_ints=st.booleans())
    def extend(self, pick: int, nbytes: int, memory: int, as_ints: bool) -> None:
        owner, data = self.owner(pick), fresh_bytes(nbytes)
        given = list(data) if as_ints else data
        if self.allowed(owner, lambda: owner.buf.extend(given, self.memories[memory])):
            owner.model += data

    @rule(pick=PICKS, start=PICKS, stop=PICKS, memory=MEMORIES)
    def extend_from_within(self, pick: int, start: int, stop: int, memory: int) -> None:
        owner = self.owner(pick)
        first, last = sorted((start % (len(owner.model) + 1), stop % (len(owner.model) + 1)))
        call = owner.buf.extend_from_within
        self.refused(owner, NotEnoughBytes, call, first, len(owner.model) + 1)
        if len(owner.model) + last - first > 200:  # doubled too often already
            return
        if self.allowed(owner, lambda: call(first, last, self.memories[memory])):
            owner.model += owner.model[first:last]

    @rule(pick=PICKS, nbytes=SIZES, value=st.integers(0, 255), memory=MEMORIES)
    def resize(self, pick: int, nbytes: int, value: int, memory: int) -> None:
        owner = self.owner(pick)
        if self.allowed(owner, lambda: owner.buf.resize(nbytes, value, self.memories[memory])):
            missing = nbytes - len(owner.model)
            owner.model[nbytes:] = bytes((value,)) * max(0, missing)

    @rule(pick=PICKS, nbytes=SIZES)
    def truncate(self, pick: int, nbytes: int) -> None:
        owner = self.owner(pick)
        if self.allowed(owner, lambda: owner.buf.truncate(nbytes)):
            del owner.model[nbytes:]

    @rule(pick=PICKS)
    def clear(self, pick: int) -> None:
        owner = self.owner(pick)
        if self.allowed(owner, owner.buf.clear):
            owner.model.clear()

    # Filling in place

    @rule(pick=PICKS, nbytes=SIZES)
    def write_to_a_window(self, pick: int, nbytes: int) -> None:
        owner = self.owner(pick)
        if owner.pens:
            self.refused(owner, MemoryInUse, owner.buf.chunk_mut)
            return
        window = owner.buf.chunk_mut()
        data = fresh_bytes(min(nbytes, len(window)))
        window[: len(data)] = data
        owner.buf.advance_mut(len(data))
        self.pens.append(window)
        owner.model += data

    @rule(pick=PICKS, start=SIZES, alias=st.sampled_from(sorted(ALIASES)))
    def keep_a_slice_of_a_window(self, pick: int, start: int, alias: str) -> None:
        """What follows may be refused, but no byte that the slice reaches counts as filled."""
        owner = self.owner(pick)
        if owner.pens or not owner.buf.remaining_capacity:
            return
        window = owner.buf.chunk_mut()
        owner.pens.append(ALIASES[alias](window[start % len(window) :]))
        del window
        buf, room = owner.buf, owner.buf.remaining_capacity
        self.refused(owner, MemoryInUse, buf.advance_mut, 1)
        self.refused(owner, MemoryInUse, buf.extend, bytes(room + 1))
        self.refused(owner, MemoryInUse, buf.resize, len(buf) + room + 1)
        assert not buf.try_reclaim(room + 1), "what somebody can write was reclaimed"
        self.refused(owner, MemoryInUse, buf.split_off, len(buf))
        self.refused(owner, MemoryInUse, buf.freeze)

    @rule(pick=PICKS, nbytes=SIZES, part=PICKS, keeps=st.booleans())
    def write_vectored(self, pick: int, nbytes: int, part: int, keeps: bool) -> None:
        """What is filled can be looked at, taken out and written over meanwhile."""
        owner = self.owner(pick)
        buf, room = owner.buf, owner.buf.remaining_capacity
        if owner.pens:
            self.refused(owner, MemoryInUse, buf.begin_vectored_write)
            return
        limit = min(nbytes, room)
        data = fresh_bytes(limit)
        with buf.begin_vectored_write(limit) as write:
            spread(write.pieces, data)
            (self.peek, self.consume, self.split_and_show)[part % 3](pick, part)
            self.overwrite(pick, part, nbytes)
            self.refused(owner, MemoryInUse, buf.put_slice, b"")
            self.refused(owner, MemoryInUse, buf.freeze)
            if keeps and write.pieces:
                self.pens.append(write.pieces[part % len(write.pieces)][part % 3 :])
                self.refused(owner, MemoryInUse, write.commit, limit)
            else:
                write.commit(limit)
                owner.model += data
        if keeps and limit:
            assert buf.remaining_capacity <= room - limit, "room that somebody can write"

    # Writing over

    @rule(pick=PICKS, offset=PICKS, nbytes=SIZES)
    def overwrite(self, pick: int, offset: int, nbytes: int) -> None:
        owner = self.owner(pick)
        start = offset % (len(owner.model) + 1)
        data = fresh_bytes(min(nbytes, len(owner.model) - start))
        before = snapshot(owner.buf)
        try:
            owner.buf.overwrite(start, data)
        except MemoryInUse:
            assert snapshot(owner.buf) == before, "a refused call has changed something"
        else:
            owner.model[start : start + len(data)] = data
        self.refused(
            owner, NotEnoughBytes, owner.buf.overwrite, start, bytes(len(owner.model) - start + 1)
        )

    @rule(pick=PICKS, nbytes=SOME, offset=PICKS, memory=MEMORIES)
    def put_and_overwrite(self, pick: int, nbytes: int, offset: int, memory: int) -> None:
        """What was just put can be written over, however many blocks it is in."""
        owner, data = self.owner(pick), fresh_bytes(nbytes)
        if self.allowed(owner, lambda: owner.buf.extend(data, self.memories[memory])):
            patch = fresh_bytes(nbytes - offset % nbytes)
            at = len(owner.model) + nbytes - len(patch)
            owner.model += data
            owner.buf.overwrite(at, patch)
            owner.model[at:] = patch

    # Showing and taking out

    @rule(pick=PICKS, limit=st.none() | PICKS)
    def peek(self, pick: int, limit: int | None) -> None:
        owner = self.owner(pick)
        nbytes = None if limit is None else limit % (len(owner.model) + 2)
        self.keep(owner.buf.peek(nbytes), owner.model[:nbytes])

    @rule(pick=PICKS, limit=PICKS)
    def consume(self, pick: int, limit: int) -> None:
        owner = self.owner(pick)
        nbytes = limit % (len(owner.model) + 1)
        self.keep(owner.buf.consume(nbytes), owner.model[:nbytes])
        del owner.model[:nbytes]

    @rule(pick=PICKS, limit=PICKS)
    def consume_and_drop(self, pick: int, limit: int) -> None:
        owner = self.owner(pick)
        nbytes = limit % (len(owner.model) + 1)
        owner.buf.consume(nbytes)
        del owner.model[:nbytes]

    @rule(pick=PICKS)
    def consume_all(self, pick: int) -> None:
        owner = self.owner(pick)
        self.keep(owner.buf.consume_all(), owner.model)
        owner.model.clear()

    @rule(pick=PICKS, excess=SOME)
    def take_too_much(self, pick: int, excess: int) -> None:
        owner = self.owner(pick)
        buf, room = owner.buf, owner.buf.remaining_capacity
        for call in (buf.consume, buf.split_to):
            self.refused(owner, NotEnoughBytes, call, len(buf) + excess)
        self.refused(owner, NotEnoughBytes, buf.split_off, buf.capacity + excess)
        self.refused(owner, NotEnoughBytes, buf.split_off_remaining, room + excess)

    @rule(pick=PICKS, limit=PICKS)
    def guard_and_consume(self, pick: int, limit: int) -> None:
        """The memory of what was consumed stays as it is for C code, though no view is left."""
        owner = self.owner(pick)
        nbytes = limit % (len(owner.model) + 1)
        guard = owner.buf.extend_lifetime()
        pieces = owner.buf.consume(nbytes).pieces
        self.guards.append(Guarded(guard, [(address_of(each), bytes(each)) for each in pieces]))
        del owner.model[:nbytes]

    # Dividing

    @rule(pick=PICKS)
    def split(self, pick: int) -> None:
        owner = self.owner(pick)
        room = owner.buf.remaining_capacity
        front = owner.buf.split()
        assert (front.remaining_capacity, owner.buf.remaining_capacity) == (0, room)
        model = bytes(owner.model)
        owner.model.clear()
        self.adopt(front, model)

    @rule(pick=PICKS, at=PICKS)
    def split_to(self, pick: int, at: int) -> None:
        owner = self.owner(pick)
        nbytes, room = at % (len(owner.model) + 1), owner.buf.remaining_capacity
        front = owner.buf.split_to(nbytes)
        assert (front.capacity, owner.buf.remaining_capacity) == (nbytes, room)
        model = bytes(owner.model[:nbytes])
        del owner.model[:nbytes]
        self.adopt(front, model)

    @rule(pick=PICKS, at=PICKS)
    def split_and_show(self, pick: int, at: int) -> None:
        owner = self.owner(pick)
        nbytes = at % (len(owner.model) + 1)
        self.keep(owner.buf.split_to(nbytes).freeze(), owner.model[:nbytes])
        del owner.model[:nbytes]

    @rule(pick=PICKS, at=PICKS, where=st.sampled_from(["within", "border", "room"]))
    def split_off(self, pick: int, at: int, where: str) -> None:
        owner = self.owner(pick)
        buf, filled, capacity = owner.buf, len(owner.model), owner.buf.capacity
        place = {
            "within": at % (filled + 1),
            "border": filled,
            "room": filled + at % (capacity - filled + 1),
        }[where]
        parts: list[BytesBuf] = []
        if self.allowed(owner, lambda: parts.append(buf.split_off(place))):
            assert (buf.capacity, parts[0].capacity) == (place, capacity - place)
            model = bytes(owner.model[place:])
            del owner.model[place:]
            self.adopt(parts[0], model)

    @rule(pick=PICKS, nbytes=PICKS)
    def split_off_remaining(self, pick: int, nbytes: int) -> None:
        owner = self.owner(pick)
        room = owner.buf.remaining_capacity
        wanted = nbytes % (room + 1)
        parts: list[BytesBuf] = []
        if self.allowed(owner, lambda: parts.append(owner.buf.split_off_remaining(wanted))):
            assert (len(parts[0]), parts[0].remaining_capacity) == (0, wanted)
            assert owner.buf.remaining_capacity == room - wanted
            self.adopt(parts[0])

    @rule(pick=PICKS, other=PICKS)
    def unsplit(self, pick: int, other: int) -> None:
        """Whatever is not adjacent is refused; what is adjacent comes back, with its capacity."""
        left, right = self.owner(pick), self.owner(other)
        if left is right:
            self.refused(left, ValueError, left.buf.unsplit, left.buf)
            return
        if left.pens or right.pens:
            return
        capacities = left.buf.capacity + right.buf.capacity
        if left.model and right.model and not follows(left.buf, right.buf):
            before = snapshot(left.buf), snapshot(right.buf)
            assert not left.buf.try_unsplit(right.buf), "strangers were joined"
            with pytest.raises(NotAdjacent):
                left.buf.unsplit(right.buf)
            assert (snapshot(left.buf), snapshot(right.buf)) == before, "refused, but changed"
            return
        assert left.buf.try_unsplit(right.buf), "what is adjacent was not joined"
        assert (left.buf.capacity, right.buf.capacity) == (capacities, 0)
        left.model += right.model
        right.model.clear()

    @rule(pick=PICKS, at=PICKS, shown=st.booleans())
    def split_off_and_unsplit(self, pick: int, at: int, shown: bool) -> None:
        """What was cut is joined wherever that was, in no more blocks and pieces than before."""
        owner = self.owner(pick)
        buf = owner.buf
        if owner.pens:
            return
        if shown:
            self.peek(pick, at)
        sizes = buf.capacity, len(list(buf._filled())), len(buf._blocks)
        other = buf.split_off(at % (buf.capacity + 1))
        buf.unsplit(other)
        assert (buf.capacity, other.capacity) == (sizes[0], 0)
        assert len(list(buf._filled())) <= sizes[1] + 1, "worn down to crumbs"
        assert len(buf._blocks) <= sizes[2], "room worn down to crumbs"

    # Between builders and views

    @rule(pick=PICKS)
    def freeze(self, pick: int) -> None:
        owner = self.owner(pick)
        views: list[BytesView] = []
        if self.allowed(owner, lambda: views.append(owner.buf.freeze())):
            assert owner.buf.capacity == 0
            self.keep(views[0], owner.model)
            owner.model.clear()

    @precondition(lambda self: self.views)
    @rule(pick=PICKS)
    def try_from_unique(self, pick: int) -> None:
        """If it is granted, all of it is written over at once: whoever sees it would see that."""
        kept = self.views[pick % len(self.views)]
        buf = BytesBuf.try_from_unique(kept.thing)
        if buf is None:
            kept.check()
            return
        self.kept.remove(kept)
        data = fresh_bytes(len(kept.shown))
        assert filled_bytes(buf) == kept.shown, "a builder of a view holds other bytes"
        buf.overwrite(0, data)
        self.adopt(buf, data)

    @rule(memory=MEMORIES, nbytes=SIZES)
    def freeze_and_take_back(self, memory: int, nbytes: int) -> None:
        """What nobody else sees can always be changed again."""
        data = fresh_bytes(nbytes)
        buf = BytesBuf.with_capacity(nbytes, self.memories[memory])
        buf.put_slice(data)
        back = BytesBuf.try_from_unique(buf.freeze())
        assert back is not None, "nobody else sees it, but it is refused"
        self.adopt(back, data)

    @rule(memory=MEMORIES, nbytes=SOME, form=st.sampled_from(sorted(MORE_FORMS)))
    def freeze_keep_and_take_back(self, memory: int, nbytes: int, form: str) -> None:
        """What somebody else sees is written over if it is granted all the same."""
        data, other_data = fresh_bytes(nbytes), fresh_bytes(nbytes)
        buf = BytesBuf.with_capacity(nbytes, self.memories[memory])
        buf.put_slice(data)
        view = buf.freeze()
        self.kept.append(Kept(MORE_FORMS[form](view), data))
        back = BytesBuf.try_from_unique(view)
        if back is not None:
            back.overwrite(0, other_data)
            self.adopt(back, other_data)

    @rule(memory=MEMORIES, nbytes=SOME, form=st.sampled_from(sorted(MORE_FORMS)))
    def consume_keep_and_reclaim(self, memory: int, nbytes: int, form: str) -> None:
        """The front of a block is filled again if that is granted, though somebody may see it."""
        data = fresh_bytes(nbytes)
        buf = BytesBuf.with_capacity(2 * nbytes, self.memories[memory])
        buf.put_slice(data)
        self.kept.append(Kept(MORE_FORMS[form](buf.consume_all()), data))
        buf.try_reclaim(buf.remaining_capacity + 1)
        data = fresh_bytes(buf.remaining_capacity)
        buf.put_slice(data)
        self.adopt(buf, data)

    @rule(nbytes=SOME, stop=SIZES, start=SIZES)
    def take_back_what_lies_on_itself(self, nbytes: int, stop: int, start: int) -> None:
        """Two pieces of one view may show the same byte; two that can be written must not."""
        data = fresh_bytes(nbytes)
        view = BytesView.copied_from_slice(data, PlainMemory())
        view = view[:stop] + view[start:]
        buf = BytesBuf.try_from_unique(view)
        overlap = start < min(stop, nbytes)
        assert (buf is None) == overlap, "memory that lies on itself can be written"
        if buf is not None:
            self.adopt(buf, data[:stop] + data[start:])

    # Keeping in other forms

    @precondition(lambda self: self.views)
    @rule(pick=PICKS, form=st.sampled_from(sorted(MORE_FORMS)))
    def keep_in_another_form(self, pick: int, form: str) -> None:
        kept = self.views[pick % len(self.views)]
        self.kept.append(Kept(MORE_FORMS[form](kept.thing), kept.shown))

    @precondition(lambda self: self.views)
    @rule(pick=PICKS)
    def keep_a_reader(self, pick: int) -> None:
        kept = self.views[pick % len(self.views)]
        self.kept.append(KeptReader(BytesReader(kept.thing), kept.shown))

    @precondition(lambda self: self.views)
    @rule(pick=PICKS, stop=SIZES, start=SIZES, instead=st.booleans())
    def cut_and_join(self, pick: int, stop: int, start: int, instead: bool) -> None:
        """A view that shows some of its bytes twice, or without those in the middle."""
        kept = self.views[pick % len(self.views)]
        self.keep(kept.thing[:stop] + kept.thing[start:], kept.shown[:stop] + kept.shown[start:])
        if instead:
            self.kept.remove(kept)

    # After each step

    def write_with_all_pens(self) -> None:
        """Write something else through each memoryview that can; forget those that cannot."""
        for pens in (self.pens, *(owner.pens for owner in self.owners)):
            for pen in pens[:]:
                try:
                    pen[:] = fresh_bytes(len(pen))
                except ValueError:  # its loan has ended
                    pens.remove(pen)

    def check_who_may_write(self) -> None:
        """Compare addresses: what a builder may write, no other may, and nothing kept shows."""
        writable = sorted(
            itertools.chain.from_iterable(writable_extents(owner.buf) for owner in self.owners)
        )
        for (_, stop), (start, _) in itertools.pairwise(writable):
            assert stop <= start, "two may write to the same byte"
        shown = {extent(piece) for kept in self.views for piece in kept.thing._pieces}
        marked = sorted([(*each, True) for each in writable] + [(*each, False) for each in shown])
        written = seen = 0
        for start, stop, may_write in marked:
            assert start >= (seen if may_write else written), "a byte that is shown may be written"
            if may_write:
                written = max(written, stop)
            else:
                seen = max(seen, stop)

    @invariant()
    def everything_shows_what_it_should(self) -> None:
        self.write_with_all_pens()
        for kept in (*self.kept, *self.guards):
            kept.check()
        for owner in self.owners:
            assert filled_bytes(owner.buf) == owner.model, f"{owner.buf} holds other bytes"
            assert len(owner.buf) == len(owner.model)
            assert owner.buf.capacity == len(owner.buf) + owner.buf.remaining_capacity
            check_laws(owner.buf)
        self.check_who_may_write()
        check_laws(self.pool)

    def teardown(self) -> None:
        """Leave the library as it was."""
        _builder.COALESCED_NBYTES = self.coalesced_nbytes
        gc.enable()
