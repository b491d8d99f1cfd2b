"""Builders that are cut, joined, written over and given memory back; first of all, the machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machine import MACHINE_SETTINGS
from machine_dividing import DividingMachine, snapshot
from strategies import MEMORIES

from trio_bytesbuf import BytesBuf, BytesView, MemoryInUse, NotAdjacent, NotEnoughBytes
from trio_bytesbuf.mem import PlainMemory
from trio_bytesbuf.seq._proof import address_of
from trio_bytesbuf.testing import CountingMemory, FixedBlockMemory, check_laws

TestDividingMachine = DividingMachine.TestCase
TestDividingMachine.settings = MACHINE_SETTINGS

LETTERS = b"abcdefghijklmnopqrstuvwxyz"


def filled(data: bytes = LETTERS, nbytes: int = 64) -> BytesBuf:
    """Return a builder with exactly so much capacity in one block."""
    buf = BytesBuf.with_capacity(nbytes, PlainMemory())
    buf.put_slice(data)
    return buf


# try_reclaim and reserve


def test_try_reclaim_answers_as_in_rust_but_for_a_piece_without_a_block() -> None:
    """The example of `BytesMut::try_reclaim`, step by step."""
    buf = BytesBuf.with_capacity(64, PlainMemory())
    assert buf.try_reclaim(64)
    buf.put_slice(b"abcd")
    split = buf.split()
    assert (buf.capacity, split.capacity) == (60, 4)
    assert not split.try_reclaim(64)
    assert not buf.try_reclaim(64)
    assert not split.try_reclaim(4)
    assert buf.try_reclaim(60)
    del buf
    assert not split.try_reclaim(64)
    split.clear()
    # Rust has 4 and then 64 here. What is split off is a piece here, without a block that
    # could be filled: clearing drops it, and its memory is free for others at once.
    assert split.capacity == 0
    assert not split.try_reclaim(64)


def test_a_block_comes_back_when_the_last_view_of_it_is_gone() -> None:
    """Each of several views keeps it; so does a clone of one."""
    buf = filled(b"abc", 6)
    first = buf.split().freeze()
    buf.put_slice(b"de")
    second = buf.split().freeze()
    clone = BytesView(second)
    assert not buf.try_reclaim(2**64)
    for _ in range(2):
        assert not buf.try_reclaim(6)
        first = clone = None
    assert (first, clone) == (None, None)
    assert not buf.try_reclaim(6)
    del second
    assert buf.try_reclaim(6)
    assert (len(buf), buf.capacity) == (0, 6)


def test_what_is_filled_moves_to_the_front_if_that_is_less() -> None:
    """One byte of six leaves room for five."""
    buf = filled(b"abc", 6)
    buf.consume(2)
    assert buf.capacity == 4
    assert not buf.try_reclaim(6)
    assert buf.try_reclaim(5)
    assert (buf.peek(), buf.capacity) == (b"c", 6)


def test_reserve_asks_for_no_memory_where_it_can_reclaim() -> None:
    """One request for ten thousand bytes that pass through a hundred; one more when one is kept."""
    memory = CountingMemory(PlainMemory())
    buf = BytesBuf.with_capacity(100, memory)
    for _ in range(200):
        buf.reserve(60, memory)
        buf.put_slice(bytes(50))
        buf.consume(50)
    assert memory.statistics().requests == 1
    buf.put_slice(b"kept")
    kept = buf.consume_all()
    buf.reserve(99, memory)
    assert memory.statistics().requests == 2
    assert kept == b"kept"


def test_the_same_memory_is_used_again_after_everything_was_consumed() -> None:
    """As `bytes_buf_mut_reuse_when_fully_consumed` has it: the address is the same."""
    buf = filled(bytes(100), 8192)
    address = address_of(buf._blocks[-1]._memory)
    buf.consume(100)
    buf.reserve(8192)
    buf.put_slice(b" ")
    assert address_of(buf.peek().pieces[0]) == address


# overwrite


@given(st.sampled_from(sorted(MEMORIES)), st.binary(max_size=50), st.integers(0, 10))
def test_a_length_is_written_when_its_body_is_there(memory, body: bytes, front: int) -> None:
    """However many blocks the length and the body are in, and whatever is before them."""
    buf = MEMORIES[memory]().reserve(front + 4 + len(body))
    buf.put_slice(bytes(front) + bytes(4) + body)
    buf.overwrite(front, len(body).to_bytes(4, "big"))
    check_laws(buf)
    assert buf.consume_all() == bytes(front) + len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize("at", range(6))
def test_what_was_shown_is_not_written_over(at: int) -> None:
    """Nor is anything before it, in the same call: it is refused as a whole."""
    buf = FixedBlockMemory(2).reserve(8)
    buf.put_slice(b"abcdef")
    shown = buf.peek(3)  # the second block counts as seen, to its end
    before = snapshot(buf)
    if at < 4:
        with pytest.raises(MemoryInUse):
            buf.overwrite(at, b"XX")
        assert snapshot(buf) == before
    elif at == 4:
        buf.overwrite(at, b"XX")
        assert buf.peek() == b"abcdXX"
    else:
        with pytest.raises(NotEnoughBytes):
            buf.overwrite(at, b"XX")
    assert shown == b"abc"


def test_what_put_view_appended_is_not_written_over() -> None:
    """It is somebody else's; what is consumed is not there any more."""
    view = BytesView(bytes(1000))
    buf = filled(b"abc")
    buf.put_view(view)
    with pytest.raises(MemoryInUse):
        buf.overwrite(2, b"XX")
    buf.overwrite(0, b"XY")
    taken = buf.consume(1)
    buf.overwrite(0, b"Z")
    assert (taken, buf.peek(2), view) == (b"X", b"Zc", bytes(1000))


# Cutting and joining


@pytest.mark.parametrize("at", range(len(LETTERS) + 1))
def test_both_parts_of_a_cut_are_the_whole(at: int) -> None:
    """At every place, for `split_off` and `split_to`; joined, it is the whole again."""
    buf = filled()
    back = buf.split_off(at)
    assert (buf.peek(), back.peek()) == (LETTERS[:at], LETTERS[at:])
    buf, address = filled(), 0
    address = address_of(buf._blocks[-1]._memory)
    front = buf.split_to(at)
    front.unsplit(buf)
    assert (len(front._pieces), front.capacity, buf.capacity) == (0, 64, 0)
    assert front.peek() == LETTERS
    assert address_of(front.peek().pieces[0]) == address, "bytes were copied"


def test_a_cut_in_the_room_divides_the_capacity() -> None:
    """128 bytes here, the others there; beyond the capacity, and filled bytes, it is refused."""
    buf = BytesBuf.with_capacity(1024, PlainMemory())
    other = buf.split_off(128)
    assert (buf.capacity, other.capacity) == (128, 896)
    with pytest.raises(NotEnoughBytes):
        buf.split_off(129)
    with pytest.raises(NotEnoughBytes):
        buf.split_to(1)


def test_joining_with_an_empty_one_brings_its_capacity() -> None:
    """On either side; what was split off at the border comes back, written or not."""
    empty, buf = BytesBuf(), filled()
    buf.unsplit(BytesBuf())
    empty.unsplit(buf)
    assert (empty.peek(), empty.capacity) == (LETTERS, 64)
    for data in (b"", b"ccdd"):
        buf = filled(b"aabb")
        other = buf.split_off(4)
        other.put_slice(data)
        buf.unsplit(other)
        assert (buf.capacity, buf.consume_all()) == (64, b"aabb" + data)


def test_strangers_and_what_has_a_gap_are_not_joined() -> None:
    """Where Rust copies, this refuses; `put_view` says how to append them without a copy."""
    buf, stranger = filled(), filled()
    middle = buf.split_off(8)
    last = middle.split_off(4)
    for other in (stranger, last):
        assert not buf.try_unsplit(other)
        with pytest.raises(NotAdjacent):
            buf.unsplit(other)
    assert (buf.peek(), last.peek(), stranger.peek()) == (LETTERS[:8], LETTERS[12:], LETTERS)
    middle.unsplit(last)
    buf.unsplit(middle)
    assert buf.consume_all() == LETTERS
    with pytest.raises(ValueError, match="itself"):
        buf.unsplit(buf)


@pytest.mark.parametrize("shown", [False, True], ids=["unseen", "shown"])
def test_a_thousand_rounds_of_cutting_and_joining_leave_no_crumbs(shown: bool) -> None:
    """As many pieces and blocks as after one, in filled bytes and in the room, and all capacity."""
    buf = filled(bytes(500), 1000)
    for step in range(1000):
        if shown:
            buf.peek()
        buf.unsplit(buf.split_off(step * 7 % 1001))
        assert buf.capacity == 1000
        assert len(buf._pieces) + len(buf._blocks) <= 3
    assert len(buf.chunk_mut()) == 500
    check_laws(buf)


def test_a_refused_join_leaves_windows_open() -> None:
    """It has changed nothing, so what was lent can still be filled."""
    buf = filled(b"a")
    window = buf.chunk_mut()
    assert not buf.try_unsplit(filled(b"b"))
    window[:1] = b"x"
    buf.advance_mut(1)
    assert buf.consume_all() == b"ax"


@pytest.mark.parametrize("call", ["extend", "resize"])
def test_what_grows_makes_no_room_when_it_is_refused(call: str) -> None:
    """While a slice of a window lives."""
    buf = filled(b"a")
    kept = buf.chunk_mut()[1:]
    with pytest.raises(MemoryInUse):
        getattr(buf, call)(bytes(1000) if call == "extend" else 1000)
    assert (buf.capacity, kept.nbytes) == (64, 62)


# Freezing


@pytest.mark.parametrize(
    "before",
    [
        lambda buf: buf.consume(1),
        lambda buf: buf.split_to(1),
        lambda buf: buf.truncate(25),
        lambda buf: buf.split_off(25),
        lambda buf: (buf.split_to(0), buf.consume(1)),
    ],
)
def test_what_is_frozen_is_what_was_left(before) -> None:
    """After each way of taking some away; it is a builder again when the rest is gone."""
    buf, expected = filled(), filled()
    before(expected)
    left = bytes(expected.peek())
    before(buf)
    view = buf.freeze()
    assert (view, buf.capacity) == (left, 0)
    assert len(left) == 25
    back = BytesBuf.try_from_unique(view)
    assert back.consume_all() == left


def test_a_guard_keeps_a_block_from_being_reclaimed() -> None:
    """C code may read at an address for as long as the guard lives; no law is broken by it."""
    buf = filled(b"abc", 10)
    guard = buf.extend_lifetime()
    check_laws(buf)
    buf.consume_all()
    assert not buf.try_reclaim(10)
    guard.release()
    assert buf.try_reclaim(10)
