"""The machine: builders, views and pools against a `bytearray`, with everything kept on purpose.

It plays a hostile but honest program: one that writes only to what it was lent, and apart from that
keeps whatever it gets, in every form and in every corner where Python lets things survive.

    lanes   one builder over each memory; all of them must hold what the lane's model holds
    kept    things that show bytes, with the bytes that they must show for ever
    risen   the same, come back from dead cycles
    pens    memoryviews for writing, which write something else after each step
    looks   what was seen in finalizers and in other threads, with what should have been

Whatever the machine does not hold on to it has dropped, so the pool leases blocks again all the
time; its shelves write all over each block that they lease. `test_planted_bugs` shows what
the machine catches.
"""

import contextlib
import gc
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterable, Iterator

import attrs
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trio_bytesbuf import BufferFull, BytesBuf, BytesView, GlobalPool, MemoryInUse, NotEnoughBytes
from trio_bytesbuf.mem import Memory, PlainMemory
from trio_bytesbuf.mem._shelf import Shelf
from trio_bytesbuf.testing import FixedBlockMemory, check_laws

EXAMPLES_FACTOR = 100 if os.environ.get("TRIO_BYTESBUF_LONG") == "1" else 1
"""The second tier plays a hundred times as many examples."""

MACHINE_SETTINGS = settings(
    max_examples=200 * EXAMPLES_FACTOR, stateful_step_count=40, deadline=None, print_blob=True
)

LANES = st.integers(0, 1)
SIZES = st.integers(0, 40)
"""Counts of bytes. The blocks have 1, 7, 16 and 64, so this crosses their borders often."""

SOME = st.integers(1, 40)
PICKS = st.integers(0, 255)
"""Which of the things there are, modulo their number."""

CIRCLE = bytes(range(251))
_places = [0]


def fresh_bytes(nbytes: int) -> bytes:
    """Return bytes that differ from their neighbours and from what was made shortly before."""
    start = _places[0]
    _places[0] = (start + nbytes) % len(CIRCLE)
    return (CIRCLE * (nbytes // len(CIRCLE) + 2))[start : start + nbytes]


class ScribblingShelf(Shelf):
    """A shelf that writes all over each block it leases: who still looks at it sees that."""

    def lease(self) -> bytearray:
        block = super().lease()
        block[:] = fresh_bytes(len(block))
        return block


class SmallPool(GlobalPool):
    """A pool with blocks so small, and so few, that a test uses them again all the time."""

    _shelf_type = ScribblingShelf
    _unpooled_nbytes = 4

    def __init__(self, *, block_sizes: Iterable[int] = (16, 64), max_blocks: int = 3) -> None:
        super().__init__()
        self.made = 0
        self._shelves = tuple(ScribblingShelf(size, max_blocks, self.make) for size in block_sizes)

    def make(self, nbytes: int) -> bytearray:
        self.made += 1
        return bytearray(nbytes)

    def check_statistics(self) -> None:
        """Compare the statistics with what can be found out in other ways."""
        statistics = self.statistics()
        assert self.made == statistics.allocated, "allocations are miscounted"
        kept = [block for shelf in self._shelves for block in shelf._ring]
        lent_nbytes = sum(len(block) for block in kept if is_exported(block))
        assert statistics.lent_nbytes == lent_nbytes, "lent bytes are miscounted"
        assert statistics.idle_nbytes + lent_nbytes == sum(map(len, kept)), "idle ones are"


def is_exported(block: bytearray) -> bool:
    """Say whether somebody can see `block`, by trying to resize it instead of by counting."""
    try:
        block.append(0)
    except BufferError:
        return True
    block.pop()
    return False


def read(pieces: Iterable[object]) -> bytes:
    """Return the bytes of `pieces`, which can always be read."""
    try:
        return b"".join(map(bytes, pieces))
    except (TypeError, ValueError) as error:  # a memoryview that somebody has released
        raise AssertionError("memory that was shown cannot be read any more") from error


@attrs.frozen(eq=False)
class Kept:
    """Something that shows bytes, and the bytes that it must show."""

    thing: object
    shown: bytes

    def check(self) -> None:
        """Raise AssertionError if it shows anything else, or is not what it should be."""
        seen = read(self.thing if isinstance(self.thing, tuple) else (self.thing,))
        assert seen == self.shown, f"a kept {type(self.thing).__name__} shows other bytes"
        if isinstance(self.thing, BytesView):
            check_laws(self.thing)
            assert self.thing == self.shown, "unequal to the same bytes"
            assert self.thing == BytesView(self.shown), "unequal to the same bytes in one piece"
            assert hash(self.thing) == hash(self.shown), "equal, with another hash"


def pickled_without_copying(view: BytesView) -> BytesView:
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(view, 5, buffer_callback=buffers.append)
    return pickle.loads(data, buffers=buffers)


FORMS: dict[str, Callable[[BytesView], object]] = {
    "pieces": lambda view: view.pieces,
    "contiguous": BytesView.contiguous,
    "array": lambda view: np.asarray(view.contiguous()),
    "cast": lambda view: view.contiguous().cast("c"),
    "pickled with 4": lambda view: pickle.loads(pickle.dumps(view, 4)),
    "pickled with 5": lambda view: pickle.loads(pickle.dumps(view, 5)),
    "pickled without copying": pickled_without_copying,
    "compact": BytesView.compact,
}
"""What else a program makes of a view, and may keep instead of it."""


ALIASES: dict[str, Callable[[memoryview], memoryview]] = {
    "slice": lambda window: window[:3],
    "cast": lambda window: window.cast("b").cast("B"),
    "memoryview": memoryview,
    "array": lambda window: memoryview(np.asarray(window)),
    "export": lambda window: pickle.PickleBuffer(window).raw(),
}
"""What else can write to a window."""


class Phoenix:
    """Part of a cycle. When the cycle dies, what it has kept comes back to life."""

    def __init__(self, kept: Kept, nest: list[Kept]) -> None:
        self.kept, self.nest = kept, nest
        self.cycle = self

    def __del__(self) -> None:
        self.nest.append(self.kept)


def last_look(
    kept: Kept, pool: SmallPool, looks: list[Kept], cycle: list[object]
) -> Iterator[None]:
    """Look at something in a `finally`, after the pool leased a block as large as it."""
    try:
        yield
    finally:
        pool.reserve(len(kept.shown))
        looks.append(Kept(bytes(kept.thing), kept.shown))


@attrs.define(eq=False)
class Lane:
    """One builder over each memory, and the bytes that they all hold."""

    memories: tuple[Memory, ...]
    bufs: list[BytesBuf] = attrs.Factory(
        lambda self: [memory.reserve(0) for memory in self.memories], takes_self=True
    )
    model: bytearray = attrs.field(factory=bytearray)

    def with_room(self, nbytes: int) -> list[BytesBuf]:
        """Return the builders, each of them with room for `nbytes` more bytes."""
        for buf, memory in zip(self.bufs, self.memories, strict=True):
            buf.reserve(nbytes, memory)
            assert buf.remaining_capacity >= nbytes, "reserved too little"
        return self.bufs

    def check(self) -> None:
        """Compare the builders with the model."""
        for buf in self.bufs:
            assert filled_bytes(buf) == self.model, f"{buf} holds other bytes"
            check_laws(buf)
            assert (len(buf), buf.capacity) == (len(self.model), len(self.model) + buf._room)


def filled_bytes(buf: BytesBuf) -> bytes:
    """Return what `buf` holds without `peek`, which would count as having shown it."""
    unseen = [block._memory[block._start : block._end] for block in buf._blocks[-1:]]
    return read((*buf._pieces, *unseen))


def spread(pieces: Iterable[memoryview], data: bytes) -> None:
    """Write `data` over `pieces`, from the first one on."""
    for piece in pieces:
        nbytes = min(len(piece), len(data))
        piece[:nbytes], data = data[:nbytes], data[nbytes:]


def write_again(pen: memoryview, buf: BytesBuf, unharmed: set[bytes]) -> None:
    """Write through `pen` once more. It should reach nothing that counts as filled."""
    pen[:] = fresh_bytes(len(pen))
    assert filled_bytes(buf) in unharmed, "filled bytes were written again"


def is_refused(call: Callable[..., None], *arguments: object) -> bool:
    """Say whether `call` finds that the memory is in use."""
    try:
        call(*arguments)
    except MemoryInUse:
        return True
    return False


class BytesMachine(RuleBasedStateMachine):
    """A program that keeps everything. What it keeps must never change."""

    def __init__(self) -> None:
        super().__init__()
        gc.disable()  # collections are steps, so that a failure can be played again
        gc.collect()
        gc.freeze()  # and they look only at what this machine made, and take no time
        self.pool = SmallPool()
        memories = self.make_memories()
        self.lanes = [Lane(memories), Lane(memories)]
        self.kept: list[Kept] = []
        self.risen: list[Kept] = []
        self.looks: list[Kept] = []
        self.pens: list[memoryview] = []

    def make_memories(self) -> tuple[Memory, ...]:
        """Return what the lanes are built over."""
        return (FixedBlockMemory(1), FixedBlockMemory(7), PlainMemory(), self.pool)

    @property
    def views(self) -> list[Kept]:
        """Those of the kept things that are views."""
        return [kept for kept in self.kept if isinstance(kept.thing, BytesView)]

    def keep(self, things: Iterable[object], shown: bytes) -> None:
        """From now on, `things` must show these bytes."""
        self.kept.extend(Kept(thing, shown) for thing in things)

    def only_view(self, nbytes: int) -> Kept:
        """Return a pooled view for somebody else to keep: the machine has dropped it."""
        data = fresh_bytes(nbytes)
        return Kept(BytesView.copied_from_slice(data, self.pool), data)

    # Filling

    @rule(lane=LANES, nbytes=SIZES)
    def reserve(self, lane: int, nbytes: int) -> None:
        self.lanes[lane].with_room(nbytes)

    @rule(lane=LANES, nbytes=SIZES)
    def put_slice(self, lane: int, nbytes: int) -> None:
        data = fresh_bytes(nbytes)
        for buf in self.lanes[lane].with_room(nbytes):
            buf.put_slice(data)
        self.lanes[lane].model += data

    @rule(lane=LANES, value=st.integers(0, 255), count=SIZES)
    def put_repeated(self, lane: int, value: int, count: int) -> None:
        for buf in self.lanes[lane].with_room(count):
            buf.put_repeated(value, count)
        self.lanes[lane].model += bytes((value,)) * count

    @rule(lane=LANES)
    def put_too_much(self, lane: int) -> None:
        for buf in self.lanes[lane].bufs:
            with pytest.raises(BufferFull):
                buf.put_slice(bytes(buf.remaining_capacity + 1))

    @precondition(lambda self: self.views)
    @rule(lane=LANES, pick=PICKS, nbytes=SIZES)
    def put_view(self, lane: int, pick: int, nbytes: int) -> None:
        kept = self.views[pick % len(self.views)]
        for buf in self.lanes[lane].bufs:
            buf.put_view(kept.thing[:nbytes])
        self.lanes[lane].model += kept.shown[:nbytes]

    @rule(nbytes=SOME)
    def put_memory_that_somebody_else_writes(self, nbytes: int) -> None:
        """What has a hash never changes; what may change has none."""
        own, foreign = fresh_bytes(5), bytearray(fresh_bytes(nbytes))
        self.pens.append(memoryview(foreign))
        buf = BytesBuf.from_view(BytesView.copied_from_slice(own, self.pool))
        buf.put_view(BytesView(foreign))
        view = buf.consume_all()
        try:
            hash(view)
        except TypeError:
            self.keep([view[:5]], own)
            view = view.compact()
        self.keep([view], own + foreign)

    # Filling in place

    @rule(lane=LANES, nbytes=SIZES)
    def write_to_windows(self, lane: int, nbytes: int) -> None:
        data = fresh_bytes(nbytes)
        for buf in self.lanes[lane].with_room(nbytes):
            done = 0
            while done < nbytes:
                window = buf.chunk_mut()
                spread([window], data[done:])
                step = min(len(window), nbytes - done)
                buf.advance_mut(step)
                self.pens.append(window)
                done += step
        self.lanes[lane].model += data

    @rule(lane=LANES, nbytes=SOME, alias=st.sampled_from(sorted(ALIASES)))
    def keep_an_alias_of_a_window(self, lane: int, nbytes: int, alias: str) -> None:
        """Nothing counts as filled before the alias is dropped, because it can still write."""
        for buf in self.lanes[lane].with_room(nbytes):
            before = filled_bytes(buf)
            pen = ALIASES[alias](buf.chunk_mut())
            data = fresh_bytes(len(pen))
            pen[:] = data
            refused = is_refused(buf.advance_mut, len(data))
            write_again(pen, buf, {before, before + data})
            assert refused, "the memory is in use"
            assert is_refused(buf.put_slice, b""), "the memory is in use"
            data = bytes(pen)
            del pen
            buf.advance_mut(len(data))
            assert filled_bytes(buf) == before + data
            buf.truncate(len(before))

    @rule(nbytes=SOME)
    def keep_a_window_longer_than_its_builder(self, nbytes: int) -> None:
        self.pens.append(self.pool.reserve(nbytes).chunk_mut())

    @rule(lane=LANES, nbytes=SIZES, spare=SIZES)
    def commit_a_vectored_write(self, lane: int, nbytes: int, spare: int) -> None:
        data = fresh_bytes(nbytes)
        for buf in self.lanes[lane].with_room(nbytes + spare):
            with buf.begin_vectored_write(nbytes + spare) as write:
                spread(write.pieces, data)
                assert is_refused(buf.put_slice, b""), "the memory is in use"
                self.pens.extend(write.pieces)
                write.commit(nbytes)
        self.lanes[lane].model += data

    @rule(lane=LANES, nbytes=SIZES)
    def abandon_a_vectored_write(self, lane: int, nbytes: int) -> None:
        for buf in self.lanes[lane].with_room(nbytes):
            room = buf.remaining_capacity
            with contextlib.suppress(KeyError), buf.begin_vectored_write() as write:
                spread(write.pieces, fresh_bytes(nbytes))
                self.pens.extend(write.pieces)
                raise KeyError
            assert buf.remaining_capacity == room, "filled without a commit"

    @rule(lane=LANES, nbytes=SOME, pick=PICKS)
    def keep_a_slice_of_a_vectored_write(self, lane: int, nbytes: int, pick: int) -> None:
        """Whoever keeps a slice keeps the room that it can write."""
        for buf in self.lanes[lane].with_room(nbytes):
            before, room = filled_bytes(buf), buf.remaining_capacity
            with buf.begin_vectored_write(nbytes) as write:
                data = read(write.pieces)
                pen = write.pieces[pick % len(write.pieces)][:]
                refused = is_refused(write.commit, nbytes)
            write_again(pen, buf, {before, before + data})
            assert refused, "the memory is in use"
            self.pens.append(pen)
            assert buf.remaining_capacity <= room - nbytes, "room that somebody can write"

    # Taking out

    @rule(lane=LANES)
    def peek(self, lane: int) -> None:
        lane = self.lanes[lane]
        self.keep([buf.peek() for buf in lane.bufs], bytes(lane.model))

    @rule(lane=LANES, pick=PICKS)
    def consume(self, lane: int, pick: int) -> None:
        lane = self.lanes[lane]
        nbytes = pick % (len(lane.model) + 1)
        self.keep([buf.consume(nbytes) for buf in lane.bufs], bytes(lane.model[:nbytes]))
        del lane.model[:nbytes]

    @rule(lane=LANES)
    def consume_all(self, lane: int) -> None:
        lane = self.lanes[lane]
        self.keep([buf.consume_all() for buf in lane.bufs], bytes(lane.model))
        lane.model.clear()

    @rule(lane=LANES, excess=SOME)
    def consume_too_much(self, lane: int, excess: int) -> None:
        for buf in self.lanes[lane].bufs:
            assert buf.try_consume(len(buf) + excess) is None, "more bytes than there are"
            with pytest.raises(NotEnoughBytes):
                buf.consume(len(buf) + excess)

    @rule(lane=LANES, nbytes=SIZES, is_seen=st.booleans())
    def truncate(self, lane: int, nbytes: int, is_seen: bool) -> None:
        if is_seen:
            self.peek(lane)
        for buf in self.lanes[lane].bufs:
            buf.truncate(nbytes)
        del self.lanes[lane].model[nbytes:]

    @rule(lane=LANES, is_seen=st.booleans())
    def clear(self, lane: int, is_seen: bool) -> None:
        if is_seen:
            self.peek(lane)
        for buf in self.lanes[lane].bufs:
            buf.clear()
        self.lanes[lane].model.clear()

    @rule(lane=LANES, nbytes=SIZES)
    def split_off_remaining(self, lane: int, nbytes: int) -> None:
        """The room that was split off is the other lane's from now on."""
        lane, other = self.lanes[lane], 1 - lane
        parts = [buf.split_off_remaining(nbytes) for buf in lane.with_room(nbytes)]
        assert [part.remaining_capacity for part in parts] == [nbytes] * len(parts)
        self.lanes[other] = Lane(lane.memories, parts)

    # Keeping

    @precondition(lambda self: self.views)
    @rule(pick=PICKS, start=SIZES, nbytes=SIZES)
    def cut(self, pick: int, start: int, nbytes: int) -> None:
        kept = self.views[pick % len(self.views)]
        part = slice(start, start + nbytes)
        self.keep([kept.thing[part]], kept.shown[part])

    @precondition(lambda self: self.views)
    @rule(pick=PICKS, other=PICKS)
    def join(self, pick: int, other: int) -> None:
        views = self.views
        left, right = views[pick % len(views)], views[other % len(views)]
        joined = left.thing[:40] + right.thing[:40]
        self.keep([joined], left.shown[:40] + right.shown[:40])

    @precondition(lambda self: self.views)
    @rule(pick=PICKS, form=st.sampled_from(sorted(FORMS)))
    def keep_in_another_form(self, pick: int, form: str) -> None:
        kept = self.views[pick % len(self.views)]
        self.keep([FORMS[form](kept.thing)], kept.shown)

    @precondition(lambda self: self.views)
    @rule(pick=PICKS)
    def release_what_the_view_hands_out(self, pick: int) -> None:
        """A memoryview that a view gave to the user is the user's to release."""
        view = self.views[pick % len(self.views)].thing
        for piece in (view.first_piece, view.contiguous(), *view.pieces):
            piece.release()

    @precondition(lambda self: self.views)
    @rule(pick=PICKS)
    def release_a_view(self, pick: int) -> None:
        kept = self.views[pick % len(self.views)]
        self.kept.remove(kept)
        kept.thing.release()

    @rule(nbytes=SOME)
    def keep_in_a_cycle_that_rises_again(self, nbytes: int) -> None:
        Phoenix(self.only_view(nbytes), self.risen)

    @rule(nbytes=SOME)
    def keep_in_an_abandoned_generator(self, nbytes: int) -> None:
        cycle: list[object] = []
        generator = last_look(self.only_view(nbytes), self.pool, self.looks, cycle)
        next(generator)
        cycle.append(generator)

    @rule(nbytes=SOME)
    def keep_in_another_thread(self, nbytes: int) -> None:
        arguments = [self.only_view(nbytes), self.pool, self.looks, []]
        look = threading.Thread(target=lambda: list(last_look(*arguments)))
        look.start()
        look.join()

    # Dropping

    @precondition(lambda self: self.kept)
    @rule(pick=PICKS, count=st.integers(1, 8))
    def drop_some(self, pick: int, count: int) -> None:
        first = pick % len(self.kept)
        del self.kept[first : first + count]

    @rule()
    def drop_all(self) -> None:
        self.kept.clear()
        self.risen.clear()

    @precondition(lambda self: self.pens)
    @rule(pick=PICKS)
    def drop_pens(self, pick: int) -> None:
        del self.pens[pick % len(self.pens) :]

    @rule(lane=LANES)
    def drop_builders(self, lane: int) -> None:
        self.lanes[lane] = Lane(self.lanes[lane].memories)

    @rule()
    def collect(self) -> None:
        gc.collect()

    @rule()
    def trim(self) -> None:
        idle_nbytes = self.pool.statistics().idle_nbytes
        assert self.pool.trim() == idle_nbytes
        after = self.pool.statistics()
        assert (after.idle_nbytes, after.lent_nbytes) == (0, 0), "trim has left something"

    # After each step

    def write_with_all_pens(self) -> None:
        """Write something else through each memoryview that can still write; forget the others."""
        writable = []
        for pen in self.pens:
            with contextlib.suppress(ValueError):  # the loan of this one has ended
                pen[:] = fresh_bytes(len(pen))
                writable.append(pen)
        self.pens[:] = writable

    @invariant()
    def everything_shows_what_it_should(self) -> None:
        self.write_with_all_pens()
        for kept in (*self.kept, *self.risen, *self.looks):
            kept.check()
        for lane in self.lanes:
            lane.check()
        check_laws(self.pool)
        self.pool.check_statistics()

    def check_that_all_is_home(self) -> None:
        """Nothing is lent: everything was dropped and collected."""
        assert self.pool.statistics().lent_nbytes == 0, "nobody can see it, but it is lent"

    def teardown(self) -> None:
        """Drop everything; unless a step has failed, nothing is lent then."""
        try:
            self.lanes.clear()
            self.pens.clear()
            for _ in range(2):  # the first collection brings back what was in cycles
                self.drop_all()
                gc.collect()
            if sys.exception() is None:  # else its traceback keeps what the step was looking at
                for look in self.looks:
                    look.check()
                self.check_that_all_is_home()
        finally:
            gc.enable()
