"""`BytesBuf`: the model is a `bytearray`; what was refused has changed nothing."""

from __future__ import annotations

import array
import copy
import ctypes
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import BYTES, MEMORIES, NO_BUFFERS, NO_COUNTS, cut_at, cut_bytes, words

from trio_bytesbuf import (
    BadMemory,
    BufferFull,
    BytesBuf,
    BytesView,
    GlobalPool,
    MemoryInUse,
    NotEnoughBytes,
    Released,
    default_memory,
)
from trio_bytesbuf.mem import Block, Memory, set_default_memory
from trio_bytesbuf.seq._builder import COALESCED_NBYTES
from trio_bytesbuf.testing import FixedBlockMemory, TransparentMemory, check_laws

every_memory = pytest.mark.parametrize("make_memory", MEMORIES.values(), ids=MEMORIES)


def state(buf: BytesBuf) -> tuple[object, ...]:
    """Return everything that a refused call must not change, without touching the builder."""
    check_laws(buf)
    return (
        len(buf),
        buf.capacity,
        buf.remaining_capacity,
        [(id(piece), bytes(piece)) for piece in buf._pieces],
        [(id(b), b._start, b._end, b._stop, bytes(b._memory[: b._end])) for b in buf._blocks],
    )


def filled(data: bytes = b"abcde", *, room: int = 3, block_nbytes: int = 4) -> BytesBuf:
    """Return a builder with `data` in it and `room` left, in small blocks."""
    nbytes = len(data) + room
    sizes = [block_nbytes] * (nbytes // block_nbytes) + [nbytes % block_nbytes]
    buf = BytesBuf.from_blocks([Block(bytearray(size)) for size in sizes if size])
    buf.put_slice(data)
    return buf


class Ledger(Memory):
    """A provider of blocks of exactly what was asked for that writes down what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        self.asked.append(nbytes)
        return [Block(bytearray(nbytes))]


# Filling and taking out, against a bytearray

SMALL = st.integers(0, 20)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["put_slice", "put_view"]), cut_bytes(st.binary(max_size=20))),
    st.tuples(st.just("put_repeated"), st.tuples(st.integers(0, 255), SMALL)),
    st.tuples(
        st.sampled_from(["consume", "truncate", "reserve", "split", "window", "write"]), SMALL
    ),
    st.tuples(st.sampled_from(["peek", "consume_all", "clear"]), st.none()),
)


@every_memory
@given(steps=st.lists(STEPS, max_size=15))
def test_a_builder_is_filled_and_emptied_as_a_bytearray_is(
    make_memory: Callable[[], Memory], steps: list[tuple[str, object]]
) -> None:
    """The same bytes and the right figures after every step, and no view ever changes."""
    memory = make_memory()
    buf, model = memory.reserve(0), bytearray()
    seen: list[tuple[BytesView, bytes]] = []
    for name, argument in steps:
        room = buf.remaining_capacity
        if name == "put_slice":
            data, source = argument
            buf.reserve(len(data), memory)
            room = buf.remaining_capacity
            assert room >= len(data)
            buf.put_slice(source)
            model += data
            room -= len(data)
        elif name == "put_view":
            buf.put_view(argument[1])
            model += argument[0]
        elif name == "put_repeated":
            value, count = argument
            buf.reserve(count, memory)
            room = buf.remaining_capacity - count
            buf.put_repeated(value, count)
            model += bytes([value]) * count
        elif name == "reserve":
            buf.reserve(argument, memory)
            assert buf.remaining_capacity >= max(room, argument)
            room = buf.remaining_capacity
        elif name == "consume":
            nbytes = min(argument, len(model))
            seen.append((buf.consume(nbytes), bytes(model[:nbytes])))
            del model[:nbytes]
        elif name in {"peek", "consume_all"}:
            seen.append((getattr(buf, name)(), bytes(model)))
            if name == "consume_all":
                model.clear()
        elif name in {"truncate", "clear"}:
            nbytes = argument or 0
            dropped = max(0, len(model) - nbytes)
            buf.truncate(nbytes) if name == "truncate" else buf.clear()
            del model[nbytes:]
            assert room <= buf.remaining_capacity <= room + dropped
            room = buf.remaining_capacity
        elif name == "split":
            nbytes = min(argument, room)
            split = buf.split_off_remaining(nbytes)
            check_laws(split)
            assert (len(split), split.remaining_capacity) == (0, nbytes)
            split.put_repeated(0xEE, nbytes)
            room -= nbytes
        elif name == "window":
            window = buf.chunk_mut()
            nbytes = min(argument, window.nbytes)
            window[:] = b"w" * window.nbytes
            buf.advance_mut(nbytes)
            model += b"w" * nbytes
            room -= nbytes
        else:
            nbytes = min(argument, room)
            with buf.begin_vectored_write(nbytes) as write:
                for piece in write.pieces:
                    piece[:] = b"v" * piece.nbytes
                write.commit(nbytes // 2)
            model += b"v" * (nbytes // 2)
            room -= nbytes // 2
        check_laws(buf)
        assert (len(buf), buf.remaining_capacity) == (len(model), room)
        assert buf.capacity == len(model) + room
        for view, expected in seen:
            assert view == expected
    for view, _ in seen:
        check_laws(view)
    assert buf.peek() == model


def test_the_figures_of_a_builder_say_what_can_be_put() -> None:
    """Capacity is what is filled and what is not; consuming takes capacity away."""
    buf = FixedBlockMemory(10).reserve(25)
    assert (len(buf), buf.remaining_capacity, buf.capacity) == (0, 30, 30)
    buf.put_slice(b"123456789012")
    assert (len(buf), buf.remaining_capacity, buf.capacity) == (12, 18, 30)
    shown = buf.peek()  # so that nothing of its blocks can be used again
    buf.put_view(BytesView(b"abc"))
    assert (len(buf), buf.remaining_capacity, buf.capacity) == (15, 18, 33)
    kept = buf.consume(11)
    assert (len(buf), buf.remaining_capacity, buf.capacity) == (4, 18, 22)
    buf.reserve(18)
    assert buf.remaining_capacity == 18
    buf.reserve(19, FixedBlockMemory(10))
    assert buf.remaining_capacity == 28
    buf.put_repeated(0, 28)
    assert (len(buf), buf.remaining_capacity, buf.capacity) == (32, 0, 32)
    assert (kept, shown) == (b"12345678901", b"123456789012")
    assert BytesBuf().capacity == 0


def test_a_builder_is_false_when_nothing_is_filled() -> None:
    """Whatever its capacity; and builders are equal only to themselves."""
    buf = TransparentMemory().reserve(10)
    assert not buf
    buf.put_u8(0)
    assert buf
    assert buf == buf
    assert buf != filled(b"\0")
    assert len({buf, filled()}) == 2
    assert repr(buf) == "<BytesBuf of 1 bytes, room for 9 more>"


def test_only_what_is_missing_is_asked_of_the_memory() -> None:
    """Nothing if there is room enough, and else the difference."""
    ledger = Ledger()
    buf = BytesBuf()
    buf.reserve(0, ledger)
    buf.reserve(10, ledger)
    buf.reserve(10, ledger)
    buf.put_slice(b"1234")
    buf.reserve(10, ledger)
    assert ledger.asked == [10, 4]


@pytest.mark.counts_memory
def test_reserve_takes_the_default_memory_unless_told_otherwise() -> None:
    """What set_default_memory says holds for builders that exist already."""
    ledger, before = Ledger(), default_memory()
    buf = BytesBuf()
    set_default_memory(ledger)
    try:
        assert default_memory() is ledger
        buf.reserve(12)
    finally:
        set_default_memory(before)
    assert ledger.asked == [12]
    assert isinstance(before, GlobalPool)
    with pytest.raises(TypeError, match="a Memory is wanted, not int"):
        set_default_memory(5)
    assert default_memory() is before


@given(BYTES)
def test_whatever_exports_bytes_can_be_put(data: bytes) -> None:
    """Buffers of every kind, and views in pieces. They are copied: later writes do not show."""
    writable = bytearray(data)
    sources = [data, writable, memoryview(writable), array.array("B", data), cut_at(data, {1, 2})]
    for source in sources:
        buf = FixedBlockMemory(7).reserve(len(data))
        buf.put_slice(source)
        check_laws(buf)
        assert buf.consume_all() == data
    buf = TransparentMemory().reserve(len(data))
    buf.put_slice(writable)
    view = buf.consume_all()
    writable[:] = bytes(len(data))
    assert view == data
    assert hash(view) == hash(data)


def test_items_are_counted_in_bytes() -> None:
    """Two numbers of four bytes need room for eight."""
    buf = FixedBlockMemory(3).reserve(12)
    buf.put_slice(words())
    assert buf.consume_all() == words().tobytes()
    with pytest.raises(BufferFull, match="8 bytes do not fit, there is room for 4"):
        buf.put_slice(words())
    buf.put_slice(memoryview(bytes(4)).cast("B", (2, 2)))
    assert len(buf) == 4
    buf.put_slice(array.array("I"))
    assert len(buf) == 4


@given(cut_bytes(), cut_bytes())
def test_put_view_copies_nothing_and_uses_no_capacity(
    one: tuple[bytes, BytesView], two: tuple[bytes, BytesView]
) -> None:
    """The pieces of what comes out are those that went in, if they are not tiny."""
    large = BytesView(bytes(COALESCED_NBYTES))
    buf = BytesBuf()
    for view in (one[1], large, two[1]):
        buf.put_view(view)
    assert buf.capacity == len(buf) == len(one[0]) + len(large) + len(two[0])
    out = buf.consume_all()
    check_laws(out)
    assert out == one[0] + large.to_bytes() + two[0]
    assert [id(p.obj) for p in out.pieces] == [
        id(p.obj) for view in (one[1], large, two[1]) for p in view.pieces
    ]


@given(st.lists(st.integers(0, 40), max_size=300))
def test_a_few_bytes_behind_a_few_bytes_are_joined(sizes: list[int]) -> None:
    """However little is put at a time, the pieces stay few, and what was shown stays as it was."""
    buf, model, shown = BytesBuf(), bytearray(), []
    for at, nbytes in enumerate(sizes):
        data = bytes((at % 251,)) * nbytes
        buf.put_view(BytesView(data))
        model += data
        if at % 7 == 0:
            shown.append((buf.peek(), bytes(model)))
    check_laws(buf)
    assert buf.peek() == bytes(model)
    assert len(buf.peek().pieces) <= 1 + len(model) // COALESCED_NBYTES
    assert all(view == data for view, data in shown)


@given(cut_bytes(), st.integers(0, 60))
def test_peeking_at_a_beginning_shows_no_more(drawn: tuple[bytes, BytesView], limit: int) -> None:
    """`peek(n)` is the first n bytes of `peek()`, and leaves everything as it is."""
    data, view = drawn
    buf = BytesBuf.from_view(view)
    shown = buf.peek(limit)
    check_laws(shown)
    assert shown == data[:limit]
    assert buf.consume_all() == data


@pytest.mark.parametrize("owner", ["buf", "block", "write", "pool"])
@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, pickle.dumps], ids=lambda f: f.__name__)
def test_what_owns_memory_exists_once(owner: str, how: Callable[[object], object]) -> None:
    """A copied builder or block could write what the original has shown."""
    buf = filled(b"abc", room=3)
    things = {
        "buf": buf,
        "block": Block(bytearray(3)),
        "write": filled(room=2).begin_vectored_write(),
        "pool": GlobalPool(),
    }
    with pytest.raises(TypeError, match=f"a {type(things[owner]).__name__} owns memory"):
        how(things[owner])
    assert buf.consume_all() == b"abc"


def test_a_view_of_memory_that_may_change_stays_one_in_a_builder() -> None:
    """It comes out without a hash, and the bytes around it with one."""
    buf = filled(b"abc", room=3)
    buf.put_view(BytesView(bytearray(b"xyz")))
    buf.put_slice(b"def")
    view = buf.consume_all()
    assert view == b"abcxyzdef"
    with pytest.raises(TypeError, match="unhashable"):
        hash(view)
    assert hash(view[:3]) == hash(b"abc")
    assert hash(view[6:]) == hash(b"def")


def test_a_released_view_cannot_be_put() -> None:
    """Released, and nothing was appended."""
    view = BytesView(b"abc")
    view.release()
    buf = filled()
    before = state(buf)
    for call in (buf.put_view, buf.put_slice, BytesBuf.from_view):
        with pytest.raises(Released, match="this BytesView was released"):
            call(view)
    assert state(buf) == before


def test_peeking_shows_what_consuming_gives_and_both_stay_as_they_are() -> None:
    """What was shown is never written again, though it is dropped and others are put."""
    buf = TransparentMemory().reserve(10)
    buf.put_slice(b"abc")
    shown = buf.peek()
    buf.clear()
    assert buf.remaining_capacity == 7
    buf.put_slice(b"xyz")
    assert (shown, buf.consume_all()) == (b"abc", b"xyz")


def test_what_nobody_has_seen_is_given_back_when_it_is_dropped() -> None:
    """Truncating makes room again, up to what a view has shown."""
    buf = TransparentMemory().reserve(10)
    buf.put_slice(b"abcdef")
    buf.truncate(9)
    assert (len(buf), buf.remaining_capacity) == (6, 4)
    buf.truncate(4)
    assert (len(buf), buf.remaining_capacity) == (4, 6)
    assert buf.consume(2) == b"ab"
    buf.clear()
    assert (len(buf), buf.remaining_capacity) == (0, 8)


# What is refused

REFUSALS = {
    "put_slice": (lambda buf: buf.put_slice(b"1234"), BufferFull, (4, 3)),
    "put_repeated": (lambda buf: buf.put_repeated(0, 4), BufferFull, (4, 3)),
    "put_repeated, huge": (lambda buf: buf.put_repeated(0, 10**18), BufferFull, (10**18, 3)),
    "put_u32_be": (lambda buf: buf.put_u32_be(0), BufferFull, (4, 3)),
    "advance_mut": (lambda buf: buf.advance_mut(1), BufferFull, (1, 0)),
    "consume": (lambda buf: buf.consume(6), NotEnoughBytes, (6, 5)),
    "split_off_remaining": (lambda buf: buf.split_off_remaining(4), NotEnoughBytes, (4, 3)),
    "begin_vectored_write": (lambda buf: buf.begin_vectored_write(4), NotEnoughBytes, (4, 3)),
}


@pytest.mark.parametrize(("call", "error", "numbers"), REFUSALS.values(), ids=REFUSALS)
def test_too_much_is_refused_with_both_numbers_and_changes_nothing(
    call: Callable[[BytesBuf], object], error: type[Exception], numbers: tuple[int, int]
) -> None:
    """What was requested and what there is, as fields and in the message."""
    buf = filled()
    before = state(buf)
    with pytest.raises(error) as caught:
        call(buf)
    assert (caught.value.requested, caught.value.available) == numbers
    assert all(str(number) in str(caught.value) for number in numbers)
    assert state(buf) == before


def test_the_quiet_twins_answer_none_and_change_nothing() -> None:
    """One more than there is, for each of them."""
    buf = filled()
    before = state(buf)
    assert buf.try_consume(6) is None
    assert buf.try_split_off_remaining(4) is None
    assert buf.try_begin_vectored_write(4) is None
    assert state(buf) == before
    assert buf.try_consume(0) == b""
    assert len(buf.try_split_off_remaining(3)) == 0


COUNTED = [
    "reserve",
    "consume",
    "try_consume",
    "truncate",
    "split_off_remaining",
    "try_split_off_remaining",
    "advance_mut",
    "begin_vectored_write",
    "try_begin_vectored_write",
]


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize("wrong", NO_COUNTS.values(), ids=NO_COUNTS)
def test_what_is_no_count_is_refused_and_changes_nothing(name: str, wrong: object) -> None:
    """Negative counts are ValueErrors with the number, others TypeErrors."""
    if wrong is None and "vectored" in name:
        return  # there None means everything
    buf = filled()
    before = state(buf)
    match = "must be at least 0, not -1" if wrong == -1 else None
    with pytest.raises(ValueError if wrong == -1 else TypeError, match=match):
        getattr(buf, name)(wrong)
    assert state(buf) == before


@pytest.mark.parametrize(
    ("value", "count", "error"),
    [
        (256, 1, ValueError),
        (-1, 1, ValueError),
        (1.0, 1, TypeError),
        ("a", 1, TypeError),
        (b"a", 1, TypeError),
        (1, -1, ValueError),
        (1, 1.0, TypeError),
    ],
    ids=repr,
)
def test_put_repeated_wants_a_byte_and_a_count(
    value: object, count: object, error: type[Exception]
) -> None:
    """Everything else is refused and nothing put."""
    buf = filled()
    before = state(buf)
    with pytest.raises(error):
        buf.put_repeated(value, count)
    assert state(buf) == before


@pytest.mark.parametrize("wrong", NO_BUFFERS.values(), ids=NO_BUFFERS)
def test_what_is_no_buffer_is_refused_and_changes_nothing(wrong: object) -> None:
    """Text, numbers, lists and memory with gaps cannot be put."""
    buf = filled()
    before = state(buf)
    with pytest.raises(TypeError):
        buf.put_slice(wrong)
    with pytest.raises(
        TypeError, match=f"put_view appends a BytesView, not {type(wrong).__name__}"
    ):
        buf.put_view(wrong)
    with pytest.raises(TypeError):
        BytesBuf.from_view(wrong)
    assert state(buf) == before


# Blocks


def test_blocks_are_used_in_the_order_in_which_they_are_given() -> None:
    """And the builder has the room of all of them."""
    buf = BytesBuf.from_blocks(Block(bytearray(nbytes)) for nbytes in (2, 3, 1))
    check_laws(buf)
    assert buf.remaining_capacity == 6
    buf.put_slice(b"abcdef")
    assert [bytes(piece) for piece in buf.consume_all().pieces] == [b"ab", b"cde", b"f"]
    assert BytesBuf.from_blocks([]).capacity == 0


@pytest.mark.parametrize(
    ("memory", "error", "match"),
    [
        (b"abc", TypeError, "a block must be writable; this bytes is not"),
        (memoryview(bytearray(3)).toreadonly(), TypeError, "this memoryview is not"),
        (memoryview(bytearray(8))[::2], TypeError, "not contiguous"),
        ("text", TypeError, None),
        (5, TypeError, None),
        (np.array([None], dtype=object), TypeError, "objects and not bytes"),
        (bytearray(), ValueError, "has 1 to"),
        (array.array("I"), ValueError, "has 1 to"),
    ],
    ids=["bytes", "read-only", "gaps", "text", "int", "objects", "empty", "empty array"],
)
def test_what_cannot_be_a_block_is_refused(
    memory: object, error: type[Exception], match: str | None
) -> None:
    """A block is writable, contiguous and not empty."""
    with pytest.raises(error, match=match):
        Block(memory)


def test_a_block_counts_bytes_and_may_be_a_part_of_something() -> None:
    """An array of two numbers is eight bytes; a part of a bytearray leaves the rest alone."""
    numbers = array.array("I", [0, 0])
    assert len(Block(numbers)) == 8
    whole = bytearray(b"........")
    block = Block(memoryview(whole)[2:5])
    assert (len(block), repr(block)) == (3, "<Block of 3 bytes>")
    buf = BytesBuf.from_blocks([block])
    buf.put_slice(b"abc")
    assert whole == b"..abc..."
    buf = BytesBuf.from_blocks([Block(numbers)])
    buf.put_u32_ne(7)
    assert numbers[0] == 7
    buf.chunk_mut()[:4] = (8).to_bytes(4, "little")
    buf.advance_mut(4)
    assert len(buf.consume_all()) == 8


def test_a_block_has_one_owner() -> None:
    """The same block twice, or once more, is refused; those beside it stay free."""
    one, two = Block(bytearray(3)), Block(bytearray(4))
    with pytest.raises(BadMemory, match="gave a block that has an owner already"):
        BytesBuf.from_blocks([one, two, one])
    buf = BytesBuf.from_blocks([two, one])
    assert buf.remaining_capacity == 7
    fresh = Block(bytearray(5))
    with pytest.raises(BadMemory, match="gave a block that has an owner already"):
        BytesBuf.from_blocks([fresh, one])
    assert BytesBuf.from_blocks([fresh]).remaining_capacity == 5
    assert buf.remaining_capacity == 7


@pytest.mark.parametrize(
    "wrong", [bytearray(3), None, BytesBuf()], ids=["bytearray", "None", "buf"]
)
def test_what_is_no_block_is_refused(wrong: object) -> None:
    """The message says what came instead."""
    fresh = Block(bytearray(5))
    with pytest.raises(BadMemory, match=f"a {type(wrong).__name__} where a Block is wanted"):
        BytesBuf.from_blocks([fresh, wrong])
    assert BytesBuf.from_blocks([fresh]).remaining_capacity == 5


class Liar(Memory):
    """A provider that gives what it is told to give."""

    def __init__(self, *given: object) -> None:
        self.given = given

    def blocks(self, nbytes: int, /) -> Iterable[Block]:  # noqa: ARG002
        return self.given

    def __repr__(self) -> str:
        return "Liar()"


def test_a_provider_that_breaks_its_promise_is_named_and_changes_nothing() -> None:
    """Too little, no blocks, or blocks of somebody else: BadMemory names it and says which."""
    owned = Block(bytearray(100))
    owner = BytesBuf.from_blocks([owned])
    lies = {
        "Liar() was asked for 7 bytes and gave 0": Liar(),
        "Liar() was asked for 7 bytes and gave 6": Liar(Block(bytearray(4)), Block(bytearray(2))),
        "Liar() gave a bytearray where a Block is wanted": Liar(bytearray(100)),
        "Liar() gave a block that has an owner already": Liar(owned),
    }
    buf = filled()
    before = state(buf)
    for message, liar in lies.items():
        with pytest.raises(BadMemory) as caught:
            buf.reserve(10, liar)
        assert str(caught.value) == message
        assert (caught.value.provider, caught.value.complaint) == ("Liar()", message[7:])
        assert state(buf) == before
        with pytest.raises(BadMemory):
            liar.reserve(7)
    assert owner.remaining_capacity == 100


def test_blocks_that_were_too_few_can_be_given_again() -> None:
    """A provider that gave too little is still the owner of what it gave."""
    block = Block(bytearray(4))
    with pytest.raises(BadMemory, match="was asked for 5 bytes and gave 4"):
        Liar(block).reserve(5)
    assert Liar(block).reserve(4).remaining_capacity == 4


@pytest.mark.parametrize("wrong", NO_COUNTS.values(), ids=NO_COUNTS)
def test_a_memory_reserves_counts(wrong: object) -> None:
    """Negative counts are ValueErrors, others TypeErrors; the provider is not asked."""
    ledger = Ledger()
    with pytest.raises(ValueError if wrong == -1 else TypeError):
        ledger.reserve(wrong)
    assert ledger.asked == []


def test_metas_say_where_bytes_will_be_written_and_where_they_lie() -> None:
    """For the next byte, for each piece of a vectored write, and for the views that come out."""
    buf = BytesBuf.from_blocks(
        [Block(bytearray(2), meta="one"), Block(bytearray(2)), Block(bytearray(2), meta="three")]
    )
    assert buf.chunk_mut_meta() == "one"
    with buf.begin_vectored_write() as write:
        assert write.metas == ("one", None, "three")
        assert [piece.nbytes for piece in write.pieces] == [2, 2, 2]
    buf.put_slice(b"ab")
    assert buf.chunk_mut_meta() is None
    buf.put_slice(b"cd")
    assert buf.chunk_mut_meta() == "three"
    buf.put_slice(b"e")
    buf.put_view(BytesView(b"x"))
    buf.put_slice(b"f")
    assert buf.chunk_mut_meta() is None
    assert buf.peek().metas == ("one", None, "three", None, "three")
    assert buf.consume(1).metas == ("one",)
    assert buf.consume(2).metas == ("one", None)
    assert buf.consume_all().metas == (None, "three", None, "three")
    assert BytesBuf().chunk_mut_meta() is None


# Windows

KEEPERS: dict[str, Callable[[memoryview], object]] = {
    "slice": lambda window: window[:1],
    "empty slice": lambda window: window[:0],
    "cast": lambda window: window.cast("b"),
    "read-only": memoryview.toreadonly,
    "memoryview": memoryview,
    "numpy": lambda window: np.frombuffer(window, dtype="u1"),
    "numpy, asarray": np.asarray,
    "ctypes": lambda window: (ctypes.c_ubyte * 1).from_buffer(window),
    "pickle buffer": pickle.PickleBuffer,
}
"""Ways to be able to write through a window after it was taken back."""

keepers = pytest.mark.parametrize("keep", KEEPERS.values(), ids=KEEPERS)

CLOSING: dict[str, Callable[[BytesBuf], object]] = {
    "advance_mut": lambda buf: buf.advance_mut(1),
    "advance_mut, nothing": lambda buf: buf.advance_mut(0),
    "put_slice": lambda buf: buf.put_slice(b"1"),
    "put_slice, nothing": lambda buf: buf.put_slice(b""),
    "put_repeated": lambda buf: buf.put_repeated(0, 1),
    "put_u8": lambda buf: buf.put_u8(0),
    "put_view": lambda buf: buf.put_view(BytesView(b"x")),
    "truncate": lambda buf: buf.truncate(1),
    "clear": BytesBuf.clear,
    "split_off_remaining": lambda buf: buf.split_off_remaining(1),
    "try_split_off_remaining": lambda buf: buf.try_split_off_remaining(1),
    "chunk_mut": lambda buf: buf.chunk_mut().nbytes,
    "begin_vectored_write": lambda buf: buf.begin_vectored_write(1),
    "try_begin_vectored_write": lambda buf: buf.try_begin_vectored_write(1),
}
"""What ends the loan of a window first."""

closing = pytest.mark.parametrize("call", CLOSING.values(), ids=CLOSING)


@keepers
@closing
def test_nothing_counts_as_filled_while_somebody_can_still_write_it(
    call: Callable[[BytesBuf], object], keep: Callable[[memoryview], object]
) -> None:
    """MemoryInUse and nothing changed; when the keeper lets go, the same call goes through."""
    buf = filled()
    kept = keep(buf.chunk_mut())
    before = state(buf)
    with pytest.raises(
        MemoryInUse, match=r"lent for writing (is still alive|still uses it); drop it first"
    ):
        call(buf)
    assert state(buf) == before
    del kept
    call(buf)


@closing
def test_a_window_is_closed_when_its_loan_ends(call: Callable[[BytesBuf], object]) -> None:
    """Whoever kept the window itself gets a ValueError instead of somebody's bytes."""
    buf = filled()
    window = buf.chunk_mut()
    call(buf)
    with pytest.raises(ValueError, match="released"):
        window[0] = 1


def test_a_window_is_written_and_counted_stretch_by_stretch() -> None:
    """It is the rest of the first block with room, and advance_mut goes no further."""
    buf = filled()
    assert buf.chunk_mut().nbytes == 3
    window = buf.chunk_mut()
    window[:] = b"fgh"
    with pytest.raises(BufferFull) as caught:
        buf.advance_mut(4)
    assert (caught.value.requested, caught.value.available) == (4, 3)
    buf.advance_mut(2)
    with pytest.raises(BufferFull) as caught:
        buf.advance_mut(1)
    assert (caught.value.requested, caught.value.available) == (1, 0)
    assert buf.chunk_mut().nbytes == 1
    buf.advance_mut(0)
    assert buf.consume_all() == b"abcdefg"
    assert buf.remaining_capacity == 1


def test_without_capacity_the_window_is_empty_and_writable() -> None:
    """Code that fills windows in a loop needs no special case."""
    window = BytesBuf().chunk_mut()
    assert window.nbytes == 0
    assert not window.readonly
    buf = BytesBuf()
    buf.chunk_mut()
    buf.advance_mut(0)


def test_reading_and_reserving_leave_a_window_open() -> None:
    """Bytes before the window, and room behind it, are another matter."""
    buf = filled()
    window = buf.chunk_mut()
    assert buf.peek() == b"abcde"
    assert buf.consume(2) == b"ab"
    buf.reserve(100)
    assert buf.consume_all() == b"cde"
    window[:1] = b"x"
    buf.advance_mut(1)
    assert buf.consume_all() == b"x"


def test_a_builder_cannot_be_filled_from_its_own_window() -> None:
    """Source and target would be the same memory."""
    buf = filled()
    with pytest.raises(MemoryInUse):
        buf.put_slice(buf.chunk_mut())
    assert len(buf) == 5


# Vectored writes


@given(
    sizes=st.lists(st.integers(1, 5), max_size=6),
    before=st.integers(0, 6),
    data=st.data(),
)
def test_a_vectored_write_fills_the_pieces_in_their_order(
    sizes: list[int], before: int, data: st.DataObject
) -> None:
    """Whatever is committed, up to the limit, is what was written first; the rest stays room."""
    buf = BytesBuf.from_blocks([Block(bytearray(size)) for size in sizes])
    before = min(before, sum(sizes))
    buf.put_repeated(ord("-"), before)
    room = buf.remaining_capacity
    limit = data.draw(st.none() | st.integers(0, room), label="max_nbytes")
    lent = room if limit is None else limit
    nbytes = data.draw(st.integers(0, lent), label="nbytes")
    model = bytes(range(1, lent + 1))
    with buf.begin_vectored_write(limit) as write:
        assert sum(piece.nbytes for piece in write.pieces) == lent
        assert all(piece.nbytes and not piece.readonly for piece in write.pieces)
        assert len(write.metas) == len(write.pieces)
        at = 0
        for piece in write.pieces:
            piece[:] = model[at : at + piece.nbytes]
            at += piece.nbytes
        write.commit(nbytes)
        assert write.pieces == ()
    check_laws(buf)
    assert buf.remaining_capacity == room - nbytes
    assert buf.consume_all() == b"-" * before + model[:nbytes]


def test_what_is_not_committed_was_not_written() -> None:
    """Neither when the block is left early nor when it fails."""
    buf = filled()
    before = state(buf)
    with buf.begin_vectored_write() as write:
        write.pieces[0][:] = b"xyz"
    assert state(buf)[:4] == before[:4]
    with pytest.raises(ZeroDivisionError), buf.begin_vectored_write(2) as write:
        raise ZeroDivisionError
    assert state(buf)[:4] == before[:4]
    buf.put_slice(b"fgh")
    assert buf.consume_all() == b"abcdefgh"


def test_a_commit_of_more_than_was_lent_is_refused_with_both_numbers() -> None:
    """The limit is what was lent, not what the builder has; the write goes on."""
    buf = filled(room=10)
    with buf.begin_vectored_write(6) as write:
        assert repr(write) == "<BytesBufVectoredWrite, 6 bytes lent>"
        with pytest.raises(BufferFull) as caught:
            write.commit(7)
        assert (caught.value.requested, caught.value.available) == (7, 6)
        for wrong, error in ((-1, ValueError), (1.0, TypeError), ("1", TypeError)):
            with pytest.raises(error):
                write.commit(wrong)
        write.pieces[0][:3] = b"fgh"
        write.commit(3)
        with pytest.raises(ValueError, match="this vectored write has ended"):
            write.commit(0)
        assert repr(write) == "<BytesBufVectoredWrite, ended>"
    with pytest.raises(ValueError, match="this vectored write has ended"):
        write.commit(0)
    assert buf.consume_all() == b"abcdefgh"


REFUSED_WHILE_WRITING = {name: call for name, call in CLOSING.items() if name != "advance_mut"}
REFUSED_WHILE_WRITING["reserve"] = lambda buf: buf.reserve(100)


@pytest.mark.parametrize("call", REFUSED_WHILE_WRITING.values(), ids=REFUSED_WHILE_WRITING)
def test_a_builder_refuses_to_change_while_a_vectored_write_goes_on(
    call: Callable[[BytesBuf], object],
) -> None:
    """MemoryInUse says so; the write is not disturbed. Afterwards the same call goes through."""
    buf = filled()
    before = state(buf)
    with buf.begin_vectored_write() as write:
        with pytest.raises(MemoryInUse, match="a vectored write is going on"):
            call(buf)
        assert state(buf) == before
        with pytest.raises(MemoryInUse, match="a vectored write is going on"):
            buf.put_slice(bytes(buf.remaining_capacity + 1))  # this comes before BufferFull
        write.pieces[0][:1] = b"f"
        write.commit(1)
    assert buf.peek() == b"abcdef"
    call(buf)


def test_a_vectored_write_that_nobody_has_any_more_has_ended() -> None:
    """Nothing of it counts as filled, and its room is nobody's: a slice may be left somewhere."""
    for keeps in (False, True):
        buf = filled()
        write = buf.begin_vectored_write()
        kept = write.pieces[0][:] if keeps else bytearray(1)
        with pytest.raises(MemoryInUse, match="a vectored write is going on"):
            buf.reserve(100)
        del write
        buf.extend(b"more")
        kept[:] = b"?" * len(kept)
        assert buf.consume_all() == b"abcdemore"
        check_laws(buf)


def test_bytes_can_be_read_while_a_vectored_write_goes_on() -> None:
    """What is filled already is not part of the write."""
    buf = filled()
    with buf.begin_vectored_write() as write:
        assert buf.peek() == b"abcde"
        assert buf.consume(2) == b"ab"
        buf.reserve(3)
        write.pieces[0][:] = b"fgh"
        write.commit(3)
    assert buf.consume_all() == b"cdefgh"


@keepers
@pytest.mark.parametrize("which", [0, -1], ids=["first piece", "last piece"])
def test_a_commit_is_refused_while_somebody_can_still_write(
    which: int, keep: Callable[[memoryview], object]
) -> None:
    """MemoryInUse and nothing filled; when the keeper lets go, the commit goes through."""
    buf = filled(room=9)
    with buf.begin_vectored_write() as write:
        for piece in write.pieces:
            piece[:] = b"x" * piece.nbytes
        del piece
        kept = keep(write.pieces[which])
        with pytest.raises(
            MemoryInUse, match=r"lent for writing (is still alive|still uses it); drop it first"
        ):
            write.commit(9)
        assert len(buf) == 5
        del kept
        write.commit(9)
    assert buf.consume_all() == b"abcde" + b"x" * 9


@keepers
def test_whoever_keeps_a_slice_beyond_a_write_keeps_the_room_that_was_lent(
    keep: Callable[[memoryview], object],
) -> None:
    """What is written through it later shows up nowhere; the builder goes on without that room."""
    buf = filled(room=11)
    with buf.begin_vectored_write(4) as write:
        pieces = write.pieces
        kept = keep(pieces[0])
        assert [piece.nbytes for piece in pieces] == [3, 1]
    check_laws(buf)
    assert (len(buf), buf.remaining_capacity) == (5, 4)
    buf.put_slice(b"fghi")
    view = buf.consume_all()
    np.frombuffer(pieces[0], dtype="u1")[:] = 0xEE
    assert view == b"abcdefghi"
    del kept


def test_two_vectored_writes_at_a_time_are_refused_and_one_after_the_other_are_not() -> None:
    """Also over the same room."""
    buf = filled()
    with buf.begin_vectored_write(), pytest.raises(MemoryInUse):
        buf.begin_vectored_write(0)
    for _ in range(3):
        with buf.begin_vectored_write(1) as write:
            write.pieces[0][0] = ord("z")
            write.commit(1)
    assert buf.consume_all() == b"abcdezzz"


# Splitting off room


@given(
    sizes=st.lists(st.integers(1, 6), max_size=6),
    filled_nbytes=st.integers(0, 36),
    consumed_nbytes=st.integers(0, 36),
    nbytes=st.integers(0, 36),
)
def test_room_that_is_split_off_is_filled_by_itself(
    sizes: list[int], filled_nbytes: int, consumed_nbytes: int, nbytes: int
) -> None:
    """No byte of room is lost or shared: both are filled to the brim and hold their own."""
    buf = BytesBuf.from_blocks([Block(bytearray(size)) for size in sizes])
    filled_nbytes = min(filled_nbytes, sum(sizes))
    buf.put_repeated(ord("a"), filled_nbytes)
    consumed = buf.consume(min(consumed_nbytes, filled_nbytes))
    room = buf.remaining_capacity
    nbytes = min(nbytes, room)
    split = buf.split_off_remaining(nbytes)
    check_laws(buf)
    check_laws(split)
    assert (buf.remaining_capacity, split.remaining_capacity) == (room - nbytes, nbytes)
    assert (len(buf), len(split)) == (filled_nbytes - len(consumed), 0)
    split.put_repeated(ord("s"), nbytes)
    buf.put_repeated(ord("b"), room - nbytes)
    assert split.consume_all() == b"s" * nbytes
    assert buf.consume_all() == b"a" * (filled_nbytes - len(consumed)) + b"b" * (room - nbytes)
    assert consumed == b"a" * len(consumed)


def test_metas_and_owners_go_with_the_room() -> None:
    """Both halves of a block that is cut in two say the same of it."""
    buf = BytesBuf.from_blocks([Block(bytearray(4), meta="one"), Block(bytearray(4), meta="two")])
    split = buf.split_off_remaining(6)
    split.put_repeated(0, 6)
    buf.put_repeated(0, 2)
    assert split.consume_all().metas == ("one", "two")
    assert buf.consume_all().metas == ("one",)


# Keeping memory alive


def address(buf: BytesBuf) -> int:
    """Return where the next byte would be written."""
    return np.frombuffer(buf.chunk_mut(), "u1").__array_interface__["data"][0]


def guard_of_a_write(buf: BytesBuf) -> object:
    """Return what a write leaves behind that was given up while a device still writes."""
    with buf.begin_vectored_write() as write:
        return write.extend_lifetime()


HOLDERS: dict[str, Callable[[BytesBuf], object]] = {
    "guard of a builder": lambda buf: buf.extend_lifetime(),
    "guard of a view": lambda buf: buf.peek().extend_lifetime(),
    "guard of a write": guard_of_a_write,
    "view": BytesBuf.peek,
    "split-off room": lambda buf: buf.split_off_remaining(1),
    "kept slice": lambda buf: buf.chunk_mut()[:1],
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
def test_a_pooled_block_is_not_leased_again_while_something_holds_it(
    hold: Callable[[BytesBuf], object],
) -> None:
    """The builder may be gone; when the holder goes too, the very same memory is leased again."""
    pool = GlobalPool()
    buf = pool.reserve(65536)
    where = address(buf)
    buf.put_slice(b"abc")
    held = hold(buf)
    del buf
    other = pool.reserve(65536)
    assert address(other) != where
    assert pool.statistics().lent_nbytes == 2 * 65536
    del held
    assert pool.statistics().lent_nbytes == 65536
    assert address(pool.reserve(65536)) == where


def test_a_guard_lets_go_when_it_is_told_to() -> None:
    """release() twice, or with; the guard itself stays."""
    pool = GlobalPool()
    buf = pool.reserve(65536)
    guard = buf.extend_lifetime()
    assert repr(guard) == "<MemoryGuard of 1 pieces>"
    del buf
    with guard as entered:
        assert entered is guard
        assert pool.statistics().lent_nbytes == 65536
    assert pool.statistics().lent_nbytes == 0
    guard.release()
    assert repr(guard) == "<MemoryGuard of 0 pieces>"


def test_a_guard_of_a_builder_changes_nothing_about_it() -> None:
    """It may be filled, consumed and written while the guard is held."""
    buf = filled()
    with buf.extend_lifetime():
        buf.put_slice(b"f")
        buf.chunk_mut()[:1] = b"g"
        buf.advance_mut(1)
        assert buf.consume_all() == b"abcdefg"


def test_a_guard_of_a_write_is_taken_for_somebody_who_may_write() -> None:
    """So a commit is refused while it is held, and goes through after its release."""
    buf = filled()
    with buf.begin_vectored_write() as write:
        guard = write.extend_lifetime()
        with pytest.raises(MemoryInUse):
            write.commit(0)
        guard.release()
        write.pieces[0][:1] = b"f"
        write.commit(1)
    assert buf.consume_all() == b"abcdef"


IN_A_CYCLE = """
import gc
from trio_bytesbuf import BytesBuf
from trio_bytesbuf.mem import Block

for memory in (bytearray(8), memoryview(bytearray(8)), memoryview(bytearray(16))[4:12]):
    for lend in (BytesBuf.chunk_mut, BytesBuf.begin_vectored_write):
        for keep in (True, False):
            for _ in range(20):
                buf = BytesBuf.from_blocks([Block(memory)])
                cycle = [buf]
                window = lend(buf)
                if keep:
                    cycle.append(window)
                cycle.append(cycle)
                del buf, window, cycle
                gc.collect()
print("alive")
"""


def test_lent_room_that_dies_in_a_cycle_crashes_nothing() -> None:
    """Before 3.13 the collector crashes on memoryviews that export; so no window is made of one."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", IN_A_CYCLE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_a_block_that_is_a_part_of_something_is_lent_and_no_more() -> None:
    """Windows on a part of a bytearray, an array, and a two-dimensional array end where it ends."""
    letters, numbers = bytearray(b"." * 8), array.array("I", [0, 0, 0])
    grid = np.zeros((3, 4), dtype="u1")
    parts = [memoryview(letters)[2:6], memoryview(numbers)[1:2], memoryview(grid[1:2, 0:4])]
    for part in parts:
        buf = BytesBuf.from_blocks([Block(part)])
        assert buf.remaining_capacity == 4
        window = buf.chunk_mut()
        assert window.nbytes == 4
        window[:] = b"abcd"
        kept = window[:1]
        with pytest.raises(MemoryInUse):
            buf.advance_mut(4)
        del kept
        buf.advance_mut(4)
        assert buf.consume_all() == b"abcd"
    assert letters == b"..abcd.."
    assert numbers.tobytes() == bytes(4) + b"abcd" + bytes(4)
    assert grid.tobytes() == bytes(4) + b"abcd" + bytes(4)
