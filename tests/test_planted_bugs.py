"""What the machine is worth: each bug planted here breaks one promise, and the machine sees it."""

import contextlib
from collections import deque
from collections.abc import Callable

import pytest
from hypothesis.stateful import RuleBasedStateMachine
from machine import BytesMachine
from machine_dividing import DividingMachine
from planting import check_that_it_is_seen, play

from trio_bytesbuf import BytesBuf, BytesView, MemoryInUse
from trio_bytesbuf.mem import _shelf
from trio_bytesbuf.mem._shelf import Shelf, ShelfStatistics
from trio_bytesbuf.seq import MemoryGuard, _builder, _builder_cuts, _unique, _window
from trio_bytesbuf.seq import _builder_contents as contents_module
from trio_bytesbuf.seq._block import Block
from trio_bytesbuf.seq._view import make_view
from trio_bytesbuf.seq._window import BytesBufVectoredWrite

BUGS = []


def bug(symptom: str, machine: type[RuleBasedStateMachine] = BytesMachine) -> Callable:
    """Count a function that breaks the library among the bugs; `machine` sees it as `symptom`."""

    def add(plant: Callable[[pytest.MonkeyPatch], None]) -> None:
        BUGS.append(pytest.param(plant, symptom, machine, id=plant.__name__))

    return add


# Blocks that are leased too early


@bug("other bytes")
def a_lease_without_any_proof(patch):
    """The newest block is leased, whoever looks at it."""
    lease = Shelf.lease

    def lease_the_newest(shelf):
        if not shelf._ring:
            return lease(shelf)
        return shelf._ring[-1]

    patch.setattr(Shelf, "lease", lease_the_newest)


@bug("other bytes")
def a_proof_that_overlooks_one_reference(patch):
    """A block counts as free when one memoryview of it is left."""
    lease = Shelf.lease

    def lease_with_a_wrong_baseline(shelf):
        with pytest.MonkeyPatch.context() as during_lease:
            during_lease.setattr(_shelf, "_LONE", _shelf._LONE + 1)
            return lease(shelf)

    patch.setattr(Shelf, "lease", lease_with_a_wrong_baseline)


@bug("other bytes")
def a_return_in_a_finalizer(patch):
    """A block goes home in its `__del__`, and what comes home is leased without proof."""

    class Lease(bytearray):
        home = None

        def __del__(self):
            if len(self.home._ring) < self.home.max_blocks:
                self.home._ring.append(self)

    def lease_what_came_home(shelf):
        if shelf._ring:
            return shelf._ring.pop()
        shelf._allocated += 1
        shelf._make(0)
        block = Lease(shelf.block_nbytes)
        block.home = shelf
        return block

    patch.setattr(Shelf, "lease", lease_what_came_home)


@bug("Law 2: a block twice")
def a_block_twice_in_the_ring(patch):
    """A block that is used again is put back twice, though each time with a proof."""
    lease = Shelf.lease

    def lease_and_return_twice(shelf):
        block = lease(shelf)
        if len(shelf._ring) < shelf.max_blocks:
            shelf._ring.append(block)
        return block

    patch.setattr(Shelf, "lease", lease_and_return_twice)


@bug("other bytes")
def a_block_returned_twice(patch):
    """A block that is in the ring twice is leased to two builders."""

    def lease_from_a_stack_of_pairs(shelf):
        if shelf._ring:
            return shelf._ring.pop()
        shelf._allocated += 1
        block = shelf._make(shelf.block_nbytes)
        shelf._ring.append(block)
        return block

    patch.setattr(Shelf, "lease", lease_from_a_stack_of_pairs)


# Memory that can be written after it was shown


@bug("filled bytes were written again")
def windows_that_nobody_counts(patch):
    """Bytes count as filled though a slice of their window is kept."""
    patch.setattr(_window, "open_slices", lambda _: 0)


@bug("other bytes")
def windows_that_stay_open(patch):
    """A window can still be written after its loan has ended."""

    def look_only(windows):
        if any(map(_window.open_slices, windows)):
            raise MemoryInUse("a slice is alive")

    patch.setattr(_window, "take_back", look_only)
    patch.setattr(contents_module, "take_back", look_only)


@bug("room that somebody can write")
def a_vectored_write_that_keeps_its_blocks(patch):
    """Blocks that a kept slice can write are filled again by their builder."""
    end = BytesBufVectoredWrite._end
    patch.setattr(BytesBufVectoredWrite, "_end", lambda write, filled, _: end(write, filled, 0))


@bug("filled without a commit|other bytes")
def a_vectored_write_that_needs_no_commit(patch):
    """A vectored write that was left, or committed with nothing, counts as filled."""
    end = BytesBufVectoredWrite._end

    def end_and_fill(write, filled, abandoned):
        end(write, filled if filled or abandoned else write._limit, abandoned)

    patch.setattr(BytesBufVectoredWrite, "_end", end_and_fill)


@bug("other bytes")
def clear_gives_seen_bytes_back(patch):
    """An emptied builder fills its block from the beginning, though a view shows it."""
    clear = BytesBuf.clear

    def clear_the_block_too(buf):
        clear(buf)
        for block in list(buf._blocks)[:1]:
            buf._room += block._end
            block._start = block._end = 0

    patch.setattr(BytesBuf, "clear", clear_the_block_too)


@bug("other bytes")
def truncate_gives_seen_bytes_back(patch):
    """What is truncated becomes room again, though `peek` has shown it."""
    truncate = BytesBuf.truncate

    def truncate_as_if_unseen(buf, nbytes):
        room, excess = buf._room, len(buf) - nbytes
        truncate(buf, nbytes)
        for block in list(buf._blocks)[:1]:
            seen = min(max(0, excess - (buf._room - room)), block._start)
            block._start -= seen
            block._end -= seen
            buf._room += seen

    patch.setattr(BytesBuf, "truncate", truncate_as_if_unseen)


@bug("other bytes")
def consume_does_not_mark_what_it_gives_away(patch):
    """A block shows its bytes without noting that they were shown."""
    consume_all = BytesBuf.consume_all

    def consume_and_forget(buf):
        block = buf._blocks[-1] if buf._blocks else None
        start = block._start if block else 0
        view = consume_all(buf)
        if block in buf._blocks:
            block._start = start
        return view

    patch.setattr(BytesBuf, "consume_all", consume_and_forget)


@bug("other bytes")
def split_off_overlaps_by_one_byte(patch):
    """The last byte of a split builder is the first of the part that was split off."""
    split = Block._split

    def split_too_late(block, at):
        far = split(block, at)
        if block._end < at:
            far._start = far._end = at - 1
            far._stop -= 1
        return far

    patch.setattr(Block, "_split", split_too_late)


@bug("can be written through")
def views_that_can_be_written(patch):
    """A view's pieces are writable."""

    def consume_and_forget(buf, nbytes):
        if nbytes > len(buf):
            return None
        pieces, _, rest = buf._front(nbytes)
        buf._drop_front(nbytes, pieces, rest)
        return make_view(tuple(pieces), nbytes)

    patch.setattr(BytesBuf, "try_consume", consume_and_forget)


@bug("other bytes")
def foreign_memory_that_is_not_marked(patch):
    """A builder forgets that the memory of a view may change."""
    put_view = BytesBuf.put_view

    def put_view_unmarked(buf, view):
        put_view(buf, view)
        buf._refs = type(buf._refs)((None,) * len(buf._pieces))

    patch.setattr(BytesBuf, "put_view", put_view_unmarked)


# Memoryviews that are shared with the user


@bug("cannot be read")
def pieces_that_are_shared(patch):
    """`pieces` hands out the view's own memoryviews, which the user may release."""
    patch.setattr(BytesView, "pieces", property(lambda view: view._pieces))


@bug("cannot be read")
def contiguous_memory_that_is_shared(patch):
    """`contiguous` of one piece hands out the view's own memoryview."""
    contiguous = BytesView.contiguous
    patch.setattr(
        BytesView,
        "contiguous",
        lambda view: view._pieces[0] if len(view._pieces) == 1 else contiguous(view),
    )


@bug("cannot be read")
def a_first_piece_that_is_shared(patch):
    """`first_piece` hands out the view's own memoryview."""
    patch.setattr(
        BytesView, "first_piece", property(lambda view: (*view._pieces, memoryview(b""))[0])
    )


@bug("cannot be read")
def release_releases_what_others_show(patch):
    """`release` releases the memoryviews that other views have in common with this one."""
    release = BytesView.release

    def release_the_pieces_too(view):
        for piece in view._pieces:
            with contextlib.suppress(BufferError):
                piece.release()
        release(view)

    patch.setattr(BytesView, "release", release_the_pieces_too)


# Values that depend on how they are cut


@bug("unequal to the same bytes in one piece")
def equality_that_sees_cuts(patch):
    """Two views are equal only if they are cut in the same places."""
    equal = BytesView.__eq__
    patch.setattr(
        BytesView,
        "__eq__",
        lambda left, right: (
            left._pieces == right._pieces if isinstance(right, BytesView) else equal(left, right)
        ),
    )


@bug("equal, with another hash")
def hashes_that_see_cuts(patch):
    """The hash of a view depends on how many pieces it has."""
    hash_of_bytes = BytesView.__hash__
    patch.setattr(
        BytesView,
        "__hash__",
        lambda view: hash_of_bytes(view) + len(view._pieces) // 2,
    )


# Too much, too little


@bug("other bytes")
def put_repeated_puts_one_too_few(patch):
    """`put_repeated` stops before the last byte."""
    put_repeated = BytesBuf.put_repeated
    patch.setattr(
        BytesBuf,
        "put_repeated",
        lambda buf, value, count: put_repeated(buf, value, max(0, count - 1)),
    )


@bug("more bytes than there are")
def try_consume_gives_what_there_is(patch):
    """`try_consume` of too much returns what there is."""
    try_consume = BytesBuf.try_consume
    patch.setattr(
        BytesBuf, "try_consume", lambda buf, nbytes: try_consume(buf, min(nbytes, len(buf)))
    )


@bug("reserved too little")
def reserve_forgets_the_last_byte(patch):
    """`reserve` makes room for one byte less than it was asked for."""
    reserve = BytesBuf.reserve
    patch.setattr(
        BytesBuf, "reserve", lambda buf, nbytes, memory: reserve(buf, max(0, nbytes - 1), memory)
    )


@bug("the memory is in use")
def puts_in_the_middle_of_a_vectored_write(patch):
    """A builder changes while its room is lent to a vectored write."""
    patch.setattr(BytesBuf, "_refuse_while_busy", lambda _: None)


# Figures


@bug("allocations are miscounted")
def allocations_that_are_not_counted(patch):
    """A block counts only if it is the first one."""
    lease_new = Shelf._lease_new

    def lease_uncounted(shelf):
        block = lease_new(shelf)
        shelf._allocated -= len(shelf._ring) > 1
        return block

    patch.setattr(Shelf, "_lease_new", lease_uncounted)


@bug("lent bytes are miscounted")
def idle_and_lent_mistaken_for_each_other(patch):
    """The statistics count what is lent as idle."""

    def count_all_as_idle(shelf):
        return ShelfStatistics(
            block_nbytes=shelf.block_nbytes,
            allocated=shelf._allocated,
            idle_nbytes=shelf.block_nbytes * len(shelf._ring),
            lent_nbytes=0,
        )

    patch.setattr(Shelf, "statistics", count_all_as_idle)


@bug("trim has left something")
def a_trim_that_forgets_nothing(patch):
    """`trim` says what it gives back, and keeps it."""
    patch.setattr(Shelf, "trim", lambda shelf: shelf.statistics().idle_nbytes)


@bug("Law 3: too many blocks")
def a_ring_without_a_bound(patch):
    """Blocks stay in the ring, however many there are, and new ones join them."""
    init = Shelf.__init__

    def init_without_bound(shelf, *sizes):
        init(shelf, *sizes)
        shelf._ring = deque()

    def lease_new_and_keep(shelf):
        block = shelf._make(shelf.block_nbytes)
        shelf._allocated += 1
        shelf._ring.append(block)
        return block

    patch.setattr(_shelf, "OLDEST_TRIED", 0)
    patch.setattr(Shelf, "__init__", init_without_bound)
    patch.setattr(Shelf, "_lease_new", lease_new_and_keep)


# Builders that are cut, joined and given memory back


def dividing(symptom: str) -> Callable:
    """Count a bug that the machine of dividing builders sees."""
    return bug(symptom, DividingMachine)


def is_ours(piece: memoryview) -> bool:
    return type(piece.obj) is bytearray


@dividing("other bytes|may be written|may write to the same byte")
def a_block_that_is_always_alone(patch):
    """A builder fills the front of its block again, though views show it."""
    patch.setattr(_builder, "is_alone", lambda _: True)


@dividing("other bytes|may be written")
def a_view_that_is_always_unique(patch):
    """A view becomes a builder, though others show the same memory."""

    def is_apart(view):
        return all(map(is_ours, view._pieces)) and _unique._are_apart(view._pieces)

    patch.setattr(BytesView, "is_unique", is_apart)


@dividing("lies on itself|other bytes|may write to the same byte")
def uniqueness_that_overlooks_overlaps(patch):
    """A view that shows some bytes twice becomes a builder that writes what it has shown."""
    patch.setattr(_unique, "_are_apart", lambda _: True)


@dividing("other bytes|may be written")
def overwrite_ignores_what_was_shown(patch):
    """Filled bytes are written over, though a view shows them."""
    overwrite = BytesBuf.overwrite

    def overwrite_all(buf, offset, data):
        for index, piece in enumerate(buf._pieces):
            if is_ours(piece):
                buf._pieces[index] = next(_unique.writable_pieces((piece,)))
        overwrite(buf, offset, data)

    patch.setattr(BytesBuf, "overwrite", overwrite_all)


@dividing("other bytes|may be written")
def peek_leaves_what_it_shows_writable(patch):
    """What `peek` has shown does not count as shown."""

    def peek_and_forget(buf, max_nbytes=None):
        buf._seal()
        pieces = deque(buf._pieces)
        view = peek(buf, max_nbytes)
        buf._pieces = pieces
        return view

    peek = BytesBuf.peek
    patch.setattr(BytesBuf, "peek", peek_and_forget)


@dividing("strangers were joined|holds other bytes")
def unsplit_joins_strangers(patch):
    """Two builders are joined, whatever lies between them."""
    patch.setattr(_builder_cuts.Dividing, "_is_followed_by", lambda *_: True)


@dividing("write to the same byte|other bytes|may be written|worn down")
def a_block_cut_with_an_overlap(patch):
    """The last byte before a cut is the first behind it."""
    split = Block._split

    def split_too_late(block, at):
        far = split(block, at)
        far._start = far._end = at - 1
        far._stop -= 1
        return far

    patch.setattr(Block, "_split", split_too_late)


@dividing("write to the same byte|other bytes|may be written")
def split_off_overlaps_at_the_border(patch):
    """A builder that is cut behind what is filled leaves its last byte to both."""
    split_to = BytesBuf.split_to

    def split_to_and_share(buf, nbytes):
        front = split_to(buf, nbytes)
        block = buf._blocks[-1] if buf._blocks else None
        if nbytes and block and not buf._pieces and 0 < block._start == block._end:
            block._start = block._end = block._start - 1
            block._stop -= 1
        return front

    patch.setattr(BytesBuf, "split_to", split_to_and_share)


@dividing("guarded memory has other bytes")
def guards_that_no_proof_counts(patch):
    """A builder's guard keeps its memory alive, but not as it is."""
    patch.setattr(BytesBuf, "extend_lifetime", lambda buf: MemoryGuard(buf._blocks))


@dividing("room worn down to crumbs")
def unsplit_leaves_the_cut_in_the_room(patch):
    """Room that comes back stays cut in two."""
    patch.setattr(_builder_cuts, "_rooms", lambda near, far: (far + near, None))


@dividing("a refused call has changed something")
def extend_reserves_before_it_is_refused(patch):
    """A call that is refused has made room."""
    extend = BytesBuf.extend

    def reserve_first(buf, data, memory=None):
        buf.reserve(len(data), memory)
        extend(buf, data, memory)

    patch.setattr(BytesBuf, "extend", reserve_first)


@pytest.mark.needs_process
@pytest.mark.parametrize(("plant", "symptom", "machine"), BUGS)
def test_the_machine_sees_every_planted_bug(plant, symptom, machine, monkeypatch) -> None:
    """With the bug, some step shows what should never be seen: the bug's own symptom."""
    plant(monkeypatch)
    check_that_it_is_seen(machine, symptom)


@pytest.mark.parametrize("machine", [BytesMachine, DividingMachine])
def test_the_machine_sees_nothing_where_nothing_is_planted(machine) -> None:
    """The same runs of the same machine pass on the library as it is."""
    for seed in range(2):
        play(machine, seed)
