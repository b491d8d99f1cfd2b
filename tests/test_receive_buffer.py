"""`ReceiveBuffer` alone: the machine, its errors, and what it costs, counted and not timed."""

from __future__ import annotations

import contextlib
import copy
import pickle
import tracemalloc
from collections import deque
from collections.abc import Iterator

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from machine_receive_buffer import FAMILIES, MACHINE_SETTINGS, ReceiveBufferMachine, found_in
from strategies import NO_BUFFERS, NO_COUNTS, words

from trio_bytesbuf import BytesView, NotEnoughBytes
from trio_bytesbuf.buffered import (
    Delimited,
    FrameDecoder,
    FrameEvent,
    LengthPrefixed,
    Lines,
    Netstring,
    ReceiveBuffer,
    UniversalLines,
    VarintPrefixed,
    _receive_buffer,
)
from trio_bytesbuf.buffered._receive_buffer import check_receive_buffer

TestReceiveBufferMachine = ReceiveBufferMachine.TestCase
TestReceiveBufferMachine.settings = MACHINE_SETTINGS


# What is refused


@pytest.mark.parametrize("call", ["take", "try_take", "discard", "peek"])
@pytest.mark.parametrize("nbytes", NO_COUNTS.values(), ids=NO_COUNTS.keys())
def test_what_is_no_count_is_refused(call, nbytes) -> None:
    """A negative number is a ValueError, what is no integer a TypeError; nothing is taken."""
    buffer = ReceiveBuffer()
    buffer.feed(b"abc")
    with pytest.raises(ValueError if nbytes == -1 else TypeError):
        getattr(buffer, call)(nbytes)
    assert buffer.take_all() == b"abc"


@pytest.mark.parametrize("call", ["feed", "unread"])
@pytest.mark.parametrize("data", NO_BUFFERS.values(), ids=NO_BUFFERS.keys())
def test_what_is_no_buffer_is_refused(call, data) -> None:
    """And nothing has gone in."""
    buffer = ReceiveBuffer()
    with pytest.raises(TypeError):
        getattr(buffer, call)(data)
    assert len(buffer) == 0


@pytest.mark.parametrize("call", ["take", "discard"])
def test_more_than_there_is_leaves_all_of_it(call) -> None:
    """The error tells both numbers; peeking gives what there is."""
    buffer = ReceiveBuffer()
    buffer.feed(b"abc")
    with pytest.raises(NotEnoughBytes) as caught:
        getattr(buffer, call)(4)
    assert (caught.value.requested, caught.value.available) == (4, 3)
    assert buffer.try_take(4) is None
    assert buffer.peek_bytes(4) is None
    assert buffer.peek(4) == b"abc" == buffer.take_all()


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_buffer_is_not_copied(clone) -> None:
    """Two buffers over the same memory would both give it away."""
    with pytest.raises(TypeError, match="cannot be copied"):
        clone(ReceiveBuffer())


def test_a_buffer_tells_how_much_it_holds() -> None:
    """In its repr, as len and as a truth."""
    buffer = ReceiveBuffer()
    assert not buffer
    buffer.feed(words())  # two items, eight bytes
    assert repr(buffer) == "<ReceiveBuffer of 8 bytes>"
    assert len(buffer) == 8
    assert buffer.take(8).to_bytes() == words().tobytes()


@pytest.mark.parametrize("nbytes", [1, 511, 512, 5000])
def test_foreign_memory_is_marked_as_such_on_its_way_through(nbytes) -> None:
    """What is known of a block goes with each part of it; a copy made to settle is ours."""
    memory = bytearray(b"x" * nbytes)
    buffer = ReceiveBuffer()
    buffer.feed(BytesView(memory))
    marked = BytesView(memory)._refs
    assert marked is not None
    assert buffer.peek(1)._refs == marked
    front = buffer.take(1)
    assert front._refs == marked
    buffer.unread(front)
    assert buffer.take(1)._refs == marked
    if nbytes > 4:
        buffer.discard(nbytes - 1 - nbytes // 5)
        buffer.settle()
        memory[:] = b"y" * nbytes
        settled = buffer.take_all()
        assert (settled.to_bytes(), settled._refs) == (b"x" * (nbytes // 5), None)


@pytest.mark.parametrize("call", ["take", "try_take", "discard"])
def test_the_memory_of_a_search_ends_when_bytes_are_taken(call) -> None:
    """What was searched from another front says nothing of this one."""
    buffer = ReceiveBuffer()
    buffer.feed(b"x" * 100)
    assert buffer.find((b"\n",)) is None
    getattr(buffer, call)(90)
    buffer.feed(b"\n")
    check_receive_buffer(buffer)
    assert buffer.find((b"\n",)) == (11, 1)


def test_the_memory_of_a_search_ends_when_bytes_are_unread() -> None:
    """What was not in what was there may be in what is put before it."""
    buffer = ReceiveBuffer()
    buffer.feed(b"x" * 100)
    assert buffer.find((b"\n",)) is None
    buffer.unread(b"y\n")
    check_receive_buffer(buffer)
    assert buffer.find((b"\n",)) == (2, 1)


def test_the_memory_of_a_search_is_kept_when_it_settles() -> None:
    """Waiting for more makes nothing forgotten, though the copies are let go of."""
    buffer = ReceiveBuffer()
    buffer.feed(b"x" * 100_000)
    buffer.discard(90_000)
    with counting() as count:
        assert buffer.find((b"\r\n",)) is None
        assert count.searched >= 10_000
        buffer.settle()
        count.searched = count.copied = 0
        buffer.feed(b"y\r\n")
        assert buffer.find((b"\r\n",)) == (10_003, 2)
        assert count.searched < 10
        assert count.copied == 0
    check_receive_buffer(buffer)


@pytest.mark.parametrize("delimiters", FAMILIES, ids=repr)
def test_a_delimiter_is_found_across_any_two_borders(delimiters) -> None:
    """Every way to lie in three pieces; searched at the end only, or after each of them."""
    for sought in delimiters:
        wire = b"xx" + sought + b"y"
        for first in range(len(wire) + 1):
            for second in range(first, len(wire) + 1):
                for is_searched in (False, True):
                    buffer = ReceiveBuffer()
                    for stop, piece in (
                        (first, wire[:first]),
                        (second, wire[first:second]),
                        (len(wire), wire[second:]),
                    ):
                        buffer.feed(piece)
                        if is_searched or stop == len(wire):
                            expected = found_in(wire[:stop], delimiters)
                            for most in range(stop if is_searched else 0):
                                bounded = found_in(wire[:stop], delimiters, most)
                                assert buffer.find(delimiters, most) == bounded
                            assert buffer.find(delimiters) == expected


# Costs, counted


@attrs.define
class Count:
    """How many bytes were looked at, copied to be searched, and pieces walked over."""

    searched: int = 0
    copied: int = 0
    walked: int = 0


class Searched(bytes):
    """Bytes that count what is looked at in them."""

    count: Count

    def find(self, sub, start=0, stop=None):
        at = super().find(sub, start, stop)
        end = min(len(self), len(self) if stop is None else stop) if at < 0 else at + len(sub)
        self.count.searched += max(0, end - start)
        return at

    def rfind(self, sub, start=0, stop=None):
        at = super().rfind(sub, start, stop)
        end = min(len(self), len(self) if stop is None else stop)
        self.count.searched += max(0, end - max(at, start))
        return at

    def __getitem__(self, index):
        part = super().__getitem__(index)
        if isinstance(index, slice):  # to be split
            self.count.searched += len(part)
        return part


class Walked(deque):
    """A deque that counts how many of its items are passed."""

    count: Count

    def __iter__(self):
        for item in super().__iter__():
            self.count.walked += 1
            yield item

    def __reversed__(self):
        for item in super().__reversed__():
            self.count.walked += 1
            yield item


@contextlib.contextmanager
def counting() -> Iterator[Count]:
    """Count what all buffers that are made in the block search, copy and walk over."""
    count = Count()
    text, windows, clear = ReceiveBuffer.text, _receive_buffer.windows, ReceiveBuffer.clear

    def counted_text(buffer):
        if buffer._text is None:
            found = Searched(text(buffer))
            found.count = count
            count.copied += len(found) if found != buffer._window.obj else 0
            buffer._text = found
        return buffer._text

    def counted_windows(run, nbytes):
        for window in windows(run, nbytes):
            count.searched += len(window)
            yield window

    def counted_clear(buffer):
        clear(buffer)
        buffer._rest = Walked()
        buffer._rest.count = count

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ReceiveBuffer, "text", counted_text)
        patch.setattr(ReceiveBuffer, "clear", counted_clear)
        patch.setattr(_receive_buffer, "windows", counted_windows)
        yield count


LINE_NBYTES = 5_000
LINE_FRAMINGS = {
    "LF": (Lines(), b"\n"),
    "CRLF": (Delimited(b"\r\n"), b"\r\n"),
    "six bytes": (Delimited(b"\r\n.\r\n."), b"\r\n.\r\n."),
    "one that never comes": (Delimited((b"\n", b"\0never")), b"\n"),
    "four": (Delimited((b"\r\n", b"\n", b";", b"\0")), b"\r\n"),
    "universal": (UniversalLines(), b"\r\n"),
}
each_line_framing = pytest.mark.parametrize(
    ("framing", "end"), LINE_FRAMINGS.values(), ids=LINE_FRAMINGS.keys()
)


@each_line_framing
@pytest.mark.parametrize("waiting_nbytes", [0, 1, 200 * 1024])
@pytest.mark.parametrize("item_type", [BytesView, bytes])
def test_a_line_that_drips_is_searched_once(framing, end, waiting_nbytes, item_type) -> None:
    """Each byte is looked at a few times for a delimiter, and not once for each that follows."""
    with counting() as count:
        decoder = FrameDecoder(framing, item_type)
        decoder.feed(b"w" * waiting_nbytes)
        assert decoder.next_event() is FrameEvent.NEED_DATA
        for _ in range(LINE_NBYTES):
            decoder.feed(b"x")
            assert decoder.next_event() is FrameEvent.NEED_DATA
            decoder._buffer.settle()  # as who waits for a peer does
        decoder.feed(end + b"y")
        line = decoder.next_event()
    assert bytes(line) == b"w" * waiting_nbytes + b"x" * LINE_NBYTES
    longest = len(end) + 6  # a look back for each delimiter, at each new byte
    delimiters = getattr(framing, "delimiters", "\r\n")
    assert count.searched < len(delimiters) * (3 * waiting_nbytes + LINE_NBYTES * longest) + 1000
    assert count.copied <= 2 * waiting_nbytes + 1000
    assert count.walked <= 3 * LINE_NBYTES


@each_line_framing
@pytest.mark.parametrize("way", ["event", "events"])
def test_many_lines_at_once_are_searched_once(framing, end, way) -> None:
    """A delimiter that is far away, or never comes, is not looked for to the end in each line."""
    wire = (b"x" * 20 + end) * 5000
    with counting() as count:
        decoder = FrameDecoder(framing, bytes)
        decoder.feed(wire)
        lines = 0
        if way == "event":
            while decoder.next_event() is not FrameEvent.NEED_DATA:
                lines += 1
        else:
            while batch := decoder.next_events():
                lines += len(batch)
    assert lines == 5000
    delimiters = getattr(framing, "delimiters", "\r\n")
    # Of several, one that is not in this line is looked for in the first step of each search.
    steps = 5000 * _receive_buffer.FIRST_SEARCH_NBYTES if len(delimiters) > 1 else 0
    split_again = 5 * 65_536  # what was cut off behind the last of a batch of 1000
    assert count.searched < 3 * len(wire) + (len(delimiters) - 1) * steps + split_again + 1000


@pytest.mark.parametrize(
    "framing",
    [LengthPrefixed(2), LengthPrefixed(3), VarintPrefixed(), Netstring(), Delimited(b"\r\n")],
    ids=repr,
)
@pytest.mark.parametrize("way", ["event", "events"])
def test_frames_over_many_pieces_walk_over_each_piece_once(framing, way) -> None:
    """A frame across a border costs what lies under it, and not what waits behind it."""
    frames, piece_nbytes = 1000, 600
    payload = b"x" * 700
    wire = b"".join(framing.encode(payload).to_bytes() for _ in range(frames))
    with counting() as count:
        decoder = FrameDecoder(framing)
        for at in range(0, len(wire), piece_nbytes):
            decoder.feed(wire[at : at + piece_nbytes])
        pieces = len(decoder._buffer._rest) + 1
        assert pieces > frames
        count.walked = 0
        got = 0
        if way == "event":
            while decoder.next_event() is not FrameEvent.NEED_DATA:
                got += 1
        else:
            while batch := decoder.next_events():
                got += len(batch)
    assert got == frames
    assert count.walked < 8 * pieces


@pytest.mark.needs_process
@pytest.mark.parametrize("piece_nbytes", [1, 7, 100, 511, 600])
def test_what_drips_in_costs_the_memory_of_its_bytes(piece_nbytes) -> None:
    """However small the pieces: at most twice the bytes and a constant, also at the worst time."""
    nbytes = 150_000
    piece = bytes(piece_nbytes)
    buffer = ReceiveBuffer()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(nbytes // piece_nbytes):
            buffer.feed(BytesView(piece[:1] + piece[1:]))
            buffer.settle()
        held, peak = (count - before for count in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    assert len(buffer) >= nbytes - piece_nbytes
    # The tail, twice while a piece is made of it, and what a bytearray keeps to grow into.
    assert held < 2 * nbytes + 40_000
    assert peak < 2 * nbytes + 3 * _receive_buffer.TAIL_NBYTES


def test_what_is_announced_costs_no_memory() -> None:
    """A length of 2**62 within the limit: what is held is what has come."""
    tracemalloc.start()
    try:
        decoder = FrameDecoder(LengthPrefixed(8), bytes, max_nbytes=1 << 63)
        before, _ = tracemalloc.get_traced_memory()
        decoder.feed((1 << 62).to_bytes(8, "big") + bytes(1000))
        assert decoder.next_event() is FrameEvent.NEED_DATA
        decoder.skip_frame()
        decoder.feed(bytes(1000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 20_000


def test_large_pieces_are_given_away_uncopied() -> None:
    """What came in a piece of 512 bytes or more is the same memory all the way. (Law 2)"""
    pieces = [bytes([index]) * 512 for index in range(4)]
    buffer = ReceiveBuffer()
    for piece in pieces:
        buffer.feed(piece)
        assert buffer.find((b"\r\n",)) is None
        buffer.settle()
    assert [part.obj for part in buffer.take_all().pieces] == pieces
    buffer.unread(BytesView.from_views(map(BytesView, pieces)))
    taken = buffer.take(2048)
    assert all(part.obj is piece for part, piece in zip(taken.pieces, pieces, strict=True))


def test_a_buffer_that_waits_holds_no_large_block_for_a_slice_that_was_put_back() -> None:
    """It is not the window any more when another is put before it. (Law 4)"""
    buffer = ReceiveBuffer()
    expected = b""
    for value in range(20):
        piece = bytes([value]) * 600
        buffer.unread(BytesView(piece + bytes(65_536))[:600])
        expected = piece + expected
    buffer.settle()
    check_receive_buffer(buffer)
    pieces = [buffer._window, *(piece for piece, _ in buffer._rest)]
    assert sum(memoryview(piece.obj).nbytes for piece in pieces) < 4 * len(buffer)
    assert buffer.take_all() == expected


def test_what_is_left_of_a_window_is_no_large_block_when_something_is_put_before_it() -> None:
    """The window becomes one of the pieces behind it. (Law 4)"""
    buffer = ReceiveBuffer()
    buffer.feed(bytes(65_536))
    buffer.discard(65_530)
    buffer.unread(b"x")
    buffer.settle()
    assert memoryview(buffer._rest[0][0].obj).nbytes == 6
    assert buffer.take_all() == b"x" + bytes(6)


@given(
    pieces=st.lists(st.integers(0, 1500), max_size=8),
    taken=st.integers(0, 3000),
    searched=st.booleans(),
)
def test_compacting_keeps_the_bytes_and_no_more_memory_than_they_are(pieces, taken, searched):
    """Whatever blocks the bytes lie in, and whatever copy was made of them for a search."""
    block = bytes(range(256)) * 64
    buffer = ReceiveBuffer()
    for nbytes in pieces:
        buffer.feed(BytesView(block)[100 : 100 + nbytes])
    buffer.discard(min(taken, len(buffer)))
    if searched:
        buffer.find((b"no such text",))
    before = buffer.peek(len(buffer)).to_bytes()
    assert buffer.memory_nbytes >= len(buffer)
    buffer.compact()
    check_receive_buffer(buffer)
    assert buffer.memory_nbytes == len(before)
    assert buffer.take_all() == before
    assert buffer.memory_nbytes == 0
