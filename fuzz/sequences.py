"""Views and builders against `bytes` and `bytearray`: an input is a program of operations."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable
from typing import Any

import attrs
from _program import Program, in_pieces

from trio_bytesbuf import BufferFull, BytesBuf, BytesView, MemoryInUse, NotEnoughBytes
from trio_bytesbuf.mem import Memory
from trio_bytesbuf.testing import FixedBlockMemory, PoisoningPool, TransparentMemory, check_laws

MAX_KEPT = 12
MAX_NBYTES = 4000
"""What a program may hold: joining with itself doubles."""

MAX_STEPS = 200


# Views


@attrs.define(eq=False)
class Kept:
    """A view, and what it must show for ever."""

    view: BytesView
    shown: bytes

    def check(self) -> None:
        """See that it does."""
        check_laws(self.view)
        assert self.view.to_bytes() == self.shown
        assert len(self.view) == len(self.shown)


def views(data: bytes) -> None:
    """What views do that bytes do, and nothing else."""
    program = Program(data)
    kept = [Kept(BytesView(), b"")]
    for _ in range(MAX_STEPS):
        if not program:
            break
        step = program.pick(VIEW_STEPS)
        one = kept[program.byte() % len(kept)]
        made = step(program, one, kept)
        if made is not None and len(made.shown) <= MAX_NBYTES:
            made.check()
            kept.append(made)
            del kept[:-MAX_KEPT]
    for one in kept:
        one.check()


def _offset(program: Program, one: Kept) -> int | None:
    """Return an offset inside, at an end, outside, or none."""
    byte = program.byte()
    return None if byte == 255 else byte - 120 if byte < 240 else (byte - 247) * 10**20


def _few(program: Program, one: Kept) -> bytes:
    """Return a few bytes, of those that are there or others."""
    if program.byte() % 2:
        start = program.index(len(one.shown))
        return one.shown[start : start + program.byte() % 5]
    return program.take(program.byte() % 5)


def _new(program: Program, one: Kept, kept: list[Kept]) -> Kept:
    shown = program.take(program.byte())
    return Kept(in_pieces(shown, program.take(2)), shown)


def _slice(program: Program, one: Kept, kept: list[Kept]) -> Kept:
    part = slice(_offset(program, one), _offset(program, one))
    return Kept(one.view[part], one.shown[part])


def _range(program: Program, one: Kept, kept: list[Kept]) -> Kept | None:
    start, stop = program.index(len(one.shown) + 2), program.index(len(one.shown) + 2)
    is_inside = start <= stop <= len(one.shown)
    try:
        found = one.view.range(start, stop)
    except (NotEnoughBytes, ValueError):
        assert not is_inside
        return None
    assert is_inside
    return Kept(found, one.shown[start:stop])


def _join(program: Program, one: Kept, kept: list[Kept]) -> Kept:
    other = kept[program.byte() % len(kept)]
    return Kept(one.view.concat(other.view), one.shown + other.shown)


def _join_many(program: Program, one: Kept, kept: list[Kept]) -> Kept:
    chosen = [kept[program.byte() % len(kept)] for _ in range(program.byte() % 6)]
    joined = BytesView.from_views(item.view for item in chosen)
    return Kept(joined, b"".join(item.shown for item in chosen))


def _compare(program: Program, one: Kept, kept: list[Kept]) -> None:
    other = kept[program.byte() % len(kept)]
    assert (one.view == other.view) == (one.shown == other.shown)
    assert (one.view < other.view) == (one.shown < other.shown)
    assert (one.view >= other.shown) == (one.shown >= other.shown)
    with contextlib.suppress(TypeError):  # of memory that may change there is none
        assert hash(one.view) == hash(one.shown)
    assert one.view.hex() == one.shown.hex()
    assert list(one.view) == list(one.shown)


def _search(program: Program, one: Kept, kept: list[Kept]) -> None:
    sub = _few(program, one)
    start, stop = _offset(program, one), _offset(program, one)
    for name in ("find", "rfind", "count"):
        found = getattr(one.view, name)(sub, start, stop)
        assert found == getattr(one.shown, name)(sub, start, stop), (name, sub, start, stop)
    for name in ("startswith", "endswith"):
        found = getattr(one.view, name)(sub, start, stop)
        assert found == getattr(one.shown, name)(sub, start, stop), (name, sub, start, stop)
    assert (sub in one.view) == (sub in one.shown)


def _same_list(found: Any, expected: list[bytes] | tuple[bytes, ...]) -> Kept | None:
    assert [item.to_bytes() for item in found] == list(expected)
    for item in found:
        check_laws(item)
    return Kept(found[-1], expected[-1]) if expected else None


def _split(program: Program, one: Kept, kept: list[Kept]) -> Kept | None:
    name, sep = program.pick(("split", "rsplit")), _few(program, one) or b"\n"
    most = program.byte() % 5 - 1
    return _same_list(getattr(one.view, name)(sep, most), getattr(one.shown, name)(sep, most))


def _partition(program: Program, one: Kept, kept: list[Kept]) -> Kept | None:
    name, sep = program.pick(("partition", "rpartition")), _few(program, one) or b"\n"
    return _same_list(getattr(one.view, name)(sep), getattr(one.shown, name)(sep))


def _lines(program: Program, one: Kept, kept: list[Kept]) -> Kept | None:
    ends = program.byte() % 2 == 1
    return _same_list(one.view.splitlines(ends), one.shown.splitlines(ends))


def _strip(program: Program, one: Kept, kept: list[Kept]) -> Kept:
    name = program.pick(("strip", "lstrip", "rstrip"))
    chars = _few(program, one) or None
    return Kept(getattr(one.view, name)(chars), getattr(one.shown, name)(chars))


def _remove(program: Program, one: Kept, kept: list[Kept]) -> Kept:
    name, part = program.pick(("removeprefix", "removesuffix")), _few(program, one)
    return Kept(getattr(one.view, name)(part), getattr(one.shown, name)(part))


def _in_another_form(program: Program, one: Kept, kept: list[Kept]) -> Kept:
    match program.byte() % 5:
        case 0:
            return Kept(one.view.compact(), one.shown)
        case 1:
            return Kept(BytesView(one.view.contiguous()), one.shown)
        case 2:
            return Kept(pickle.loads(pickle.dumps(one.view)), one.shown)  # our own
        case 3:
            return Kept(BytesView.copied_from_slice(one.shown, FixedBlockMemory(3)), one.shown)
        case _:
            return Kept(BytesView.from_views(map(BytesView, one.view.pieces)), one.shown)


def _slice_ref(program: Program, one: Kept, kept: list[Kept]) -> Kept | None:
    pieces = one.view.pieces
    if not pieces:
        return None
    number = program.byte() % len(pieces)
    start = program.index(len(pieces[number]))
    part = pieces[number][start:]
    at = sum(map(len, pieces[:number])) + start
    return Kept(one.view.slice_ref(part), one.shown[at : at + len(part)])


VIEW_STEPS: tuple[Callable[[Program, Kept, list[Kept]], Kept | None], ...] = (
    _new, _slice, _range, _join, _join_many, _compare, _search, _split, _partition, _lines,
    _strip, _remove, _in_another_form, _slice_ref,
)  # fmt: skip


# Builders


class TinyPool(PoisoningPool):
    """A pool of so small blocks that a short program fills them, and uses them again."""

    __slots__ = ()
    _block_sizes = (16, 64)
    _unpooled_nbytes = 4

    def __init__(self) -> None:
        super().__init__(max_idle_nbytes=256)


@attrs.define(eq=False)
class Lane:
    """A builder, and what it must hold."""

    buf: BytesBuf
    model: bytearray

    def check(self) -> None:
        """See that it does, without showing it to a view."""
        check_laws(self.buf)
        assert len(self.buf) == len(self.model)
        assert b"".join(self.buf._filled()) == self.model


@attrs.define(eq=False)
class Site:
    """All that a program has."""

    memories: tuple[Memory, ...]
    lanes: list[Lane]
    kept: list[Kept]
    pens: list[memoryview]

    def keep(self, view: BytesView, shown: bytes | bytearray) -> None:
        """From now on, the view must show this."""
        self.kept.append(Kept(view, bytes(shown)))
        del self.kept[:-MAX_KEPT]

    def add(self, lane: Lane) -> None:
        """Have one lane more, and not too many."""
        self.lanes.append(lane)
        del self.lanes[:-4]


def builders(data: bytes) -> None:
    """Builders over tiny blocks, filled, cut, joined and emptied; whatever is seen stays."""
    program = Program(data)
    pool = TinyPool()
    site = Site(
        (pool, FixedBlockMemory(1), FixedBlockMemory(7), TransparentMemory()),
        [Lane(BytesBuf(), bytearray())],
        [],
        [],
    )
    for _ in range(MAX_STEPS):
        if not program:
            break
        step = program.pick(BUILDER_STEPS)
        lane = site.lanes[program.byte() % len(site.lanes)]
        step(program, site, lane)
        if len(lane.model) > MAX_NBYTES:
            lane.buf.truncate(10)
            del lane.model[10:]
        _scribble(site.pens)
        for one in (*site.lanes, *site.kept):
            one.check()
        check_laws(pool)


def _scribble(pens: list[memoryview]) -> None:
    """Write through each memoryview that can still be written through: it must reach nothing."""
    for pen in pens:
        with contextlib.suppress(ValueError):  # its loan has ended
            pen[:] = b"?" * len(pen)
    del pens[:-8]


def _put_slice(program: Program, site: Site, lane: Lane) -> None:
    data = program.take(program.byte() % 70)
    room = lane.buf.remaining_capacity
    try:
        lane.buf.put_slice(data)
    except BufferFull:
        assert len(data) > room
        return
    assert len(data) <= room
    lane.model += data


def _reserve(program: Program, site: Site, lane: Lane) -> None:
    nbytes = program.byte() % 100
    lane.buf.reserve(nbytes, program.pick(site.memories))
    assert lane.buf.remaining_capacity >= nbytes


def _extend(program: Program, site: Site, lane: Lane) -> None:
    data = program.take(program.byte() % 70)
    lane.buf.extend(data, program.pick(site.memories))
    lane.model += data


def _extend_from_within(program: Program, site: Site, lane: Lane) -> None:
    start = program.index(len(lane.model))
    stop = start + program.index(len(lane.model) - start)
    lane.buf.extend_from_within(start, stop, program.pick(site.memories))
    lane.model += lane.model[start:stop]


def _resize(program: Program, site: Site, lane: Lane) -> None:
    nbytes, value = program.byte(), program.byte()
    lane.buf.resize(nbytes, value, program.pick(site.memories))
    del lane.model[nbytes:]
    lane.model += bytes((value,)) * (nbytes - len(lane.model))


def _put_view(program: Program, site: Site, lane: Lane) -> None:
    if site.kept:
        kept = site.kept[program.byte() % len(site.kept)]
        start = program.index(len(kept.shown))
        lane.buf.put_view(kept.view[start:])
        lane.model += kept.shown[start:]


def _write_window(program: Program, site: Site, lane: Lane) -> None:
    window = lane.buf.chunk_mut()
    data = program.take(min(len(window), program.byte()))
    window[: len(data)] = data
    if program.byte() % 4 == 0 and window.nbytes:
        alias = window[:1]
        try:
            lane.buf.advance_mut(len(data))
        except MemoryInUse:
            pass
        else:
            raise AssertionError("filled memory that somebody can write")
        del alias
    site.pens.append(window)
    del window
    lane.buf.advance_mut(len(data))
    lane.model += data


def _write_vectored(program: Program, site: Site, lane: Lane) -> None:
    nbytes = program.index(lane.buf.remaining_capacity)
    data = program.take(program.index(nbytes))
    with lane.buf.begin_vectored_write(nbytes) as write:
        _spread(write.pieces, data)
        site.pens.extend(write.pieces)
        if program.byte() % 4:
            write.commit(len(data))
            lane.model += data


def _spread(pieces: tuple[memoryview, ...], data: bytes) -> None:
    at = 0
    for piece in pieces:
        part = data[at : at + len(piece)]
        piece[: len(part)] = part
        at += len(part)


def _peek(program: Program, site: Site, lane: Lane) -> None:
    nbytes = program.index(len(lane.model) + 3)
    site.keep(lane.buf.peek(nbytes), lane.model[:nbytes])


def _consume(program: Program, site: Site, lane: Lane) -> None:
    nbytes = program.index(len(lane.model) + 3)
    view = lane.buf.try_consume(nbytes)
    assert (view is None) == (nbytes > len(lane.model))
    if view is not None:
        site.keep(view, lane.model[:nbytes])
        del lane.model[:nbytes]


def _consume_all(program: Program, site: Site, lane: Lane) -> None:
    view = lane.buf.freeze() if program.byte() % 3 == 0 else lane.buf.consume_all()
    site.keep(view, lane.model)
    lane.model.clear()


def _truncate(program: Program, site: Site, lane: Lane) -> None:
    nbytes = program.index(len(lane.model) + 3)
    lane.buf.truncate(nbytes)
    del lane.model[nbytes:]


def _overwrite(program: Program, site: Site, lane: Lane) -> None:
    data = program.take(program.byte() % 9)
    at = program.index(len(lane.model))
    try:
        lane.buf.overwrite(at, data)
    except MemoryInUse:
        return
    except NotEnoughBytes:
        assert at + len(data) > len(lane.model)
        return
    lane.model[at : at + len(data)] = data


def _split_to(program: Program, site: Site, lane: Lane) -> None:
    at = program.index(len(lane.model))
    site.add(Lane(lane.buf.split_to(at), lane.model[:at]))
    del lane.model[:at]


def _split_off(program: Program, site: Site, lane: Lane) -> None:
    at = program.index(lane.buf.capacity)
    site.add(Lane(lane.buf.split_off(at), lane.model[at:]))
    del lane.model[at:]


def _split_off_remaining(program: Program, site: Site, lane: Lane) -> None:
    nbytes = program.index(lane.buf.remaining_capacity)
    part = lane.buf.split_off_remaining(nbytes)
    assert part.remaining_capacity == nbytes
    site.add(Lane(part, bytearray()))


def _unsplit(program: Program, site: Site, lane: Lane) -> None:
    other = site.lanes[program.byte() % len(site.lanes)]
    if other is not lane:
        room = lane.buf.remaining_capacity + other.buf.remaining_capacity
        if lane.buf.try_unsplit(other.buf):
            lane.model += other.model
            other.model.clear()
            assert lane.buf.remaining_capacity == room
        else:
            assert lane.model, "builders of which one is empty can be joined"
            assert other.model, "builders of which one is empty can be joined"


def _reclaim(program: Program, site: Site, lane: Lane) -> None:
    nbytes = program.byte()
    if lane.buf.try_reclaim(nbytes):
        assert lane.buf.remaining_capacity >= nbytes


def _from_unique(program: Program, site: Site, lane: Lane) -> None:
    if site.kept:
        kept = site.kept.pop(program.byte() % len(site.kept))
        buf = BytesBuf.try_from_unique(kept.view)
        if buf is None:
            site.kept.append(kept)
        else:
            site.add(Lane(buf, bytearray(kept.shown)))


def _drop(program: Program, site: Site, lane: Lane) -> None:
    del site.kept[: program.byte() % (MAX_KEPT + 1)]


def _put_number(program: Program, site: Site, lane: Lane) -> None:
    value = int.from_bytes(program.take(8), "little")
    lane.buf.reserve(20, program.pick(site.memories))
    match program.byte() % 3:
        case 0:
            lane.buf.put_u64_be(value)
            lane.model += value.to_bytes(8, "big")
        case 1:
            lane.buf.put_int_le(value, 9)
            lane.model += value.to_bytes(9, "little")
        case _:
            lane.buf.put_repeated(value & 255, 13)
            lane.model += bytes((value & 255,)) * 13


BUILDER_STEPS: tuple[Callable[[Program, Site, Lane], None], ...] = (
    _put_slice, _reserve, _extend, _extend_from_within, _resize, _put_view, _write_window,
    _write_vectored, _peek, _consume, _consume_all, _truncate, _overwrite, _split_to, _split_off,
    _split_off_remaining, _unsplit, _reclaim, _from_unique, _drop, _put_number,
)  # fmt: skip
