"""Each allocation fails once in builders, views and readers: nothing changes in part, no byte goes.

A call that raised has changed nothing; or it was done, and the way back failed.
"""

from __future__ import annotations

import struct

import pytest
from allocations import Place, fail_each, where_they_can

from trio_bytesbuf import BytesBuf, BytesReader, BytesView, GlobalPool
from trio_bytesbuf.testing import check_laws

pytestmark = where_they_can

PATTERN = bytes(range(256)) * 8
CHUNKED = BytesView.from_views([BytesView(bytes([65 + n]) * 700) for n in range(5)])
BLOCK_NBYTES = 1000


def filled() -> BytesBuf:
    """Pieces of views, pieces that no view has seen, a block that is partly filled, room."""
    buf = BytesBuf()
    buf.put_view(BytesView(b"x" * 300))
    buf.reserve(BLOCK_NBYTES)
    buf.put_slice(PATTERN[:500])
    buf.put_view(BytesView(b"y" * 300))
    buf.put_slice(PATTERN[:400])
    buf.reserve(3000)
    return buf


def roomy() -> BytesBuf:
    """Nothing but room, in several blocks; the first has 700 bytes left."""
    buf = BytesBuf.with_capacity(BLOCK_NBYTES)
    buf.put_slice(PATTERN[:300])
    buf.reserve(3000)
    return buf


def contents(buf: BytesBuf) -> bytes:
    return b"".join(bytes(piece) for piece in buf._filled())


def look_at(buf: BytesBuf) -> bytes:
    """See that a builder obeys its laws and can be used; return what it holds."""
    check_laws(buf)
    held = contents(buf)
    assert len(buf) == len(held)
    room = buf.remaining_capacity
    if room:
        buf.put_slice(b"z" * room)
    buf.reserve(100)
    buf.put_slice(b"end")
    check_laws(buf)
    assert bytes(buf.consume_all()) == held + b"z" * room + b"end"
    check_laws(buf)
    return held


def window(buf: BytesBuf, nbytes: int = 60) -> None:
    buf.chunk_mut()[:nbytes] = b"w" * nbytes
    buf.advance_mut(nbytes)


def window_to_the_brim(buf: BytesBuf) -> None:
    window(buf, 100)


def vectored(buf: BytesBuf, nbytes: int = 1500) -> None:
    write = buf.begin_vectored_write(nbytes)
    try:  # and not `with`, which lacks memory itself before it has begun
        for piece in write.pieces:
            piece[:] = b"w" * len(piece)
        del piece
        write.commit(nbytes)
    finally:
        write.__exit__()


def vectored_all(buf: BytesBuf) -> None:
    vectored(buf, 3000)


PUTS = {
    "put_slice": (lambda it: it.put_slice(PATTERN[:300]), PATTERN[:300]),
    "put_slice over blocks": (lambda it: it.put_slice(PATTERN[:1500]), PATTERN[:1500]),
    "put_slice to the brim": (lambda it: it.put_slice(PATTERN[:700]), PATTERN[:700]),
    "put_struct": (lambda it: it.put_struct("<300s", PATTERN[:300]), PATTERN[:300]),
    "put_struct over blocks": (lambda it: it.put_struct("<800s", PATTERN[:800]), PATTERN[:800]),
    "put_u32_be": (lambda it: it.put_u32_be(7), b"\0\0\0\7"),
    "put_u64_le": (lambda it: it.put_u64_le(1), b"\1" + bytes(7)),
    "put_uleb128": (lambda it: it.put_uleb128(300), b"\xac\x02"),
    "put_str": (lambda it: it.put_str("t" * 300), b"t" * 300),
    "put_repeated": (lambda it: it.put_repeated(5, 900), b"\5" * 900),
    "put_view little": (lambda it: it.put_view(BytesView(b"small")), b"small"),
    "put_view": (lambda it: it.put_view(CHUNKED), bytes(CHUNKED)),
    "extend": (lambda it: it.extend(PATTERN), PATTERN),
    "extend_from_within": (lambda it: it.extend_from_within(10, 290), None),
    "resize": (lambda it: it.resize(len(it) + 1900, 9), b"\x09" * 1900),
    "reserve": (lambda it: it.reserve(10_000), b""),
    "seal": (lambda it: it._seal(), b""),
}


@pytest.mark.parametrize("name", PUTS)
@pytest.mark.parametrize("make", [filled, roomy], ids=["filled", "roomy"])
async def test_what_is_put_is_put_wholly_or_not_at_all(name, make) -> None:
    """And the builder can be used afterwards."""
    operation, put = PUTS[name]
    before = contents(make())
    whole = before + (before[10:290] if put is None else put)

    def look(buf: BytesBuf, is_done: bool) -> None:
        held = look_at(buf)
        assert held == whole or (held == before and not is_done)

    assert (await fail_each(make, operation, look)).failed


TAKES = {
    "consume a bit": (lambda it: it.consume(100), 100),
    "consume a piece": (lambda it: it.consume(300), 300),
    "consume some": (lambda it: it.consume(1250), 1250),
    "consume all": (lambda it: it.consume_all(), None),
    "consume all of it": (lambda it: it.consume(len(it)), None),
    "try_consume": (lambda it: it.try_consume(1101), 1101),
    "split_to": (lambda it: it.split_to(450), 450),
    "split_to a seam": (lambda it: it.split_to(800), 800),
    "split": (lambda it: it.split(), None),
    "freeze": (lambda it: it.freeze(), None),
}


@pytest.mark.parametrize("name", TAKES)
async def test_what_is_taken_is_with_the_caller_or_still_there(name) -> None:
    """Each byte is in one of the two places, once."""
    operation, nbytes = TAKES[name]
    before = contents(filled())
    wanted = before[:nbytes]

    def make() -> Place:
        return Place(filled())

    def take(place: Place) -> None:
        place.got = operation(place.it)

    def look(place: Place, is_done: bool) -> None:
        got = b"" if place.got is None else bytes(taken(place.got))
        left = look_at(place.it)
        assert got + left == before
        assert got == wanted or (not got and not is_done)

    assert (await fail_each(make, take, look)).failed


def taken(got: BytesBuf | BytesView) -> BytesView:
    check_laws(got)
    return got if isinstance(got, BytesView) else got.consume_all()


CHANGES = {
    "truncate little": (lambda it: it.truncate(1450), lambda all_: all_[:1450]),
    "truncate much": (lambda it: it.truncate(350), lambda all_: all_[:350]),
    "clear": (lambda it: it.clear(), lambda _: b""),
    "overwrite": (
        lambda it: it.overwrite(1150, b"o" * 300),
        lambda all_: all_[:1150] + b"o" * 300 + all_[1450:],
    ),
    "peek": (lambda it: it.peek(), lambda all_: all_),
    "peek a bit": (lambda it: it.peek(1000), lambda all_: all_),
    "extend_lifetime": (lambda it: it.extend_lifetime(), lambda all_: all_),
    "split_off_remaining": (lambda it: it.split_off_remaining(2500), lambda all_: all_),
    "split all room off": (
        lambda it: it.split_off_remaining(it.remaining_capacity),
        lambda all_: all_,
    ),
    "a window": (window, lambda all_: all_ + b"w" * 60),
    "a window to the brim": (window_to_the_brim, lambda all_: all_ + b"w" * 100),
    "a vectored write": (vectored, lambda all_: all_ + b"w" * 1500),
    "a vectored write of all": (vectored_all, lambda all_: all_ + b"w" * 3000),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_builder_is_changed_wholly_or_not_at_all(name) -> None:
    """A window that was lent is closed by whatever comes next."""
    operation, model = CHANGES[name]
    before = contents(filled())

    def look(buf: BytesBuf, is_done: bool) -> None:
        held = look_at(buf)
        assert held == model(before) or (held == before and not is_done)

    assert (await fail_each(filled, operation, look)).failed


async def test_who_keeps_a_slice_of_a_write_keeps_its_room_and_no_other() -> None:
    """The builder is not busy afterwards, and gives nobody else the room of that slice."""
    before, room = contents(filled()), filled().remaining_capacity

    def abandon(place: Place) -> None:
        write = place.it.begin_vectored_write(100)
        try:
            place.got = write.pieces[0][:]
        finally:
            write.__exit__()

    def look(place: Place, is_done: bool) -> None:
        buf = place.it
        check_laws(buf)
        buf.resize(len(buf) + 1)
        buf.truncate(len(buf) - 1)
        check_laws(buf)
        left = buf.remaining_capacity
        assert left == room - (0 if place.got is None else 100)
        buf.put_slice(b"z" * left)
        if place.got is not None:
            place.got[:] = b"?" * len(place.got)
        assert contents(buf) == before + b"z" * left
        assert place.got is not None or not is_done
        place.got = None

    assert (await fail_each(lambda: Place(filled()), abandon, look)).failed


@pytest.mark.parametrize("at", [200, 450, 800, 1100, 1500, 2000])
async def test_what_is_joined_is_in_one_of_the_two(at) -> None:
    """`split_off` and `unsplit`, in pieces, between them and in the room."""
    before = contents(filled())

    def split(place: Place) -> None:
        place.got = place.it.split_off(at)

    def look(place: Place, is_done: bool) -> None:
        left = look_at(place.it)
        assert left == before if place.got is None else left + look_at(place.got) == before
        assert place.got is not None or not is_done

    assert (await fail_each(lambda: Place(filled()), split, look)).failed

    def make() -> Place:
        buf = filled()
        return Place(buf, a=buf.split_off(at))

    def join(place: Place) -> None:
        place.it.unsplit(place.a)

    def look_at_both(place: Place, is_done: bool) -> None:
        room = place.it.remaining_capacity + place.a.remaining_capacity
        front, back = look_at(place.it), look_at(place.a)
        assert front + back == before
        assert room == filled().remaining_capacity
        assert not is_done or front == before

    assert (await fail_each(make, join, look_at_both)).failed


async def test_room_that_is_used_again_is_used_once() -> None:
    """`try_reclaim` moves what is filled, or says no; `try_from_unique` gives the view back."""

    def make() -> BytesBuf:
        buf = BytesBuf.with_capacity(BLOCK_NBYTES)
        buf.put_slice(PATTERN[:900])
        buf.consume(600)
        return buf

    def look(buf: BytesBuf, _: bool) -> None:
        assert look_at(buf) == PATTERN[600:900]

    assert (await fail_each(make, lambda buf: buf.try_reclaim(600), look)).failed

    def make_view() -> Place:
        return Place(BytesBuf.from_view(BytesView(bytearray(PATTERN))).freeze())

    def turn(place: Place) -> None:
        place.got = BytesBuf.try_from_unique(place.it)

    def look_at_either(place: Place, is_done: bool) -> None:
        if place.got is None:
            check_laws(place.it)
            assert place.it == PATTERN
        else:
            assert look_at(place.got) == PATTERN

    assert (await fail_each(make_view, turn, look_at_either)).failed


VIEWS = {
    "slice": lambda it: it[500:2900],
    "join": lambda it: BytesView.from_views([it, it]),
    "plus": lambda it: it + b"x" * 300,
    "to_bytes": lambda it: BytesView(it.to_bytes()),
    "compact": lambda it: it.compact(),
    "find": lambda it: it.find(b"CD"),
    "split": lambda it: it.split(b"BC"),
    "hash": hash,
    "equal": lambda it: it == bytes(it),
    "split_at": lambda it: it.split_at(1000),
    "contiguous": lambda it: it.contiguous(),
    "copied into a pool": lambda it: BytesView.copied_from_slice(it, GlobalPool()),
    "metas": lambda it: it.block_refs,
    "pieces": lambda it: it.pieces,
}


@pytest.mark.parametrize("name", VIEWS)
async def test_a_view_stays_what_it_is(name) -> None:
    """And what is made of it is the same at the second try."""
    operation = VIEWS[name]
    wanted = operation(CHUNKED)

    def look(view: BytesView, _: bool) -> None:
        check_laws(view)
        assert view == bytes(CHUNKED)
        assert operation(view) == wanted

    assert (await fail_each(lambda: CHUNKED[:], operation, look)).failed


READS = {
    "take": lambda it: it.take(800),
    "get_u16_be": lambda it: BytesView(struct.pack(">H", it.get_u16_be())),
    "get_u64_le": lambda it: BytesView(struct.pack("<Q", it.get_u64_le())),
    "unpack": lambda it: BytesView(it.unpack("300s")[0]),
    "seek": lambda it: BytesView(b"x" * it.seek(800)),
    "copy_to_slice": lambda it: BytesView(copied(it)),
    "take_rest": lambda it: it.take(it.remaining()),
}


def copied(reader: BytesReader) -> bytearray:
    target = bytearray(900)
    reader.copy_to_slice(target)
    return target


@pytest.mark.parametrize("name", READS)
async def test_a_reader_has_moved_or_has_not(name) -> None:
    """What was got is gone from it; what was not is there, but for the value on its way out."""
    operation = READS[name]
    whole = bytes(CHUNKED)[699:]
    got = bytes(operation(BytesReader(CHUNKED[699:])))

    def look(reader: BytesReader, is_done: bool) -> None:
        check_laws(reader)
        left = bytes(reader.take(reader.remaining()))
        assert left == whole[len(got) :] or (left == whole and not is_done)

    assert (await fail_each(lambda: BytesReader(CHUNKED[699:]), operation, look)).failed
