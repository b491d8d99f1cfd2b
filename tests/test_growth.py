"""Twice as many pieces cost twice as much, not four times: guarded by counting. No clock.

A step is a line that Python executes in the package. Work that C does within one line is
counted where it could grow: bytes that a search or a `readline` copies to look at.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import trio_bytesbuf
from trio_bytesbuf import BytesBuf, BytesReader, BytesView, as_buf
from trio_bytesbuf.seq import _pieces

pytestmark = pytest.mark.counts_garbage

PACKAGE = str(Path(trio_bytesbuf.__file__).parent)

MOST_GROWTH = 2.3
"""What twice as many pieces may cost: twice, and a little for windows that begin small."""


def steps_of(call: Callable[[], object]) -> int:
    """Return how many lines of the package a call executes."""
    steps = 0

    def count(frame, event, _):
        nonlocal steps
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        steps += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        call()
    finally:
        sys.settrace(before)
    return steps


@pytest.fixture
def copied(monkeypatch) -> Iterator[list[int]]:
    """Collects the lengths of all windows that are searched or compared, and of all `tobytes`."""
    lengths: list[int] = []
    windows = _pieces.windows

    def counted(*args, **kwargs):
        for window in windows(*args, **kwargs):
            lengths.append(len(window))
            yield window

    def note(frame, event, called):
        if event != "c_call" or not frame.f_code.co_filename.startswith(PACKAGE):
            return
        if called.__name__ == "tobytes":
            lengths.append(called.__self__.nbytes)

    monkeypatch.setattr(_pieces, "windows", counted)
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield lengths
    finally:
        sys.setprofile(before)


def cut_in(count: int, piece: bytes) -> BytesView:
    """Return a view of `count` pieces, each with the same bytes."""
    return BytesView.from_views([BytesView(piece)] * count)


def to_the_end(reader: BytesReader, read: Callable[[BytesReader], object]) -> None:
    while reader:
        read(reader)


def consume(view: BytesView) -> None:
    buf = BytesBuf.from_view(view)
    while buf:
        assert buf.consume(12) == b"0123456\n0123"
        assert buf.consume(4) == b"456\n"


def reading(read: Callable[[BytesReader], object]) -> Callable[[BytesView], None]:
    return lambda view: to_the_end(BytesReader(view), read)


CALLS: dict[str, Callable[[BytesView], object]] = {
    "BytesBuf.consume": consume,
    "advance": reading(lambda reader: reader.advance(16)),
    "copy_to_slice": reading(lambda reader: reader.copy_to_slice(bytearray(16))),
    "chunk_meta": reading(lambda reader: (reader.chunk_meta(), reader.take(16))),
    "get_u32_be": reading(lambda reader: reader.get_u32_be()),
    "get_u32_be across pieces": lambda view: to_the_end(
        BytesReader(view[1:-3]), lambda reader: reader.get_u32_be()
    ),
    "get_u128_le across pieces": reading(lambda reader: reader.get_u128_le()),
    "peek_view": reading(lambda reader: (reader.peek_view(20), reader.advance(20))),
    "read": reading(lambda reader: reader.read(16)),
    "readline": lambda view: list(BytesReader(view)),
    "readline of limited length": reading(lambda reader: reader.readline(4)),
    "seek forward": reading(lambda reader: reader.seek(reader.tell() + 16)),
    "take": reading(lambda reader: reader.take(16)),
    "take_rest": lambda view: BytesReader(view).take_rest(),
    "unpack": reading(lambda reader: reader.unpack("<2Q")),
    "count": lambda view: view.count(b"\n"),
    "count across pieces": lambda view: view.count(b"\n0"),
    "equality": lambda view: view == BytesView.from_views([view[:3], view[3:]]),
    "equality with bytes": lambda view: view == bytes(view),
    "find": lambda view: view.find(b"nowhere"),
    "find of as much as the half": lambda view: view.find(b"x" * (len(view) // 2)),
    "iteration": list,
    "iteration backwards": lambda view: list(reversed(view)),
    "lstrip": lambda view: view.lstrip(b"0123456\n"),
    "order": lambda view: view < BytesView.from_views([view[:3], view[3:]]),
    "order of bytes": lambda view: view <= bytes(view),
    "partition": lambda view: view.partition(b"nowhere"),
    "removeprefix": lambda view: view.removeprefix(view[: len(view) // 2]),
    "removesuffix": lambda view: view.removesuffix(view[len(view) // 2 :]),
    "rfind": lambda view: view.rfind(b"nowhere"),
    "rfind of as much as the half": lambda view: view.rfind(b"x" * (len(view) // 2)),
    "rpartition": lambda view: view.rpartition(b"nowhere"),
    "rsplit": lambda view: view.rsplit(b"\n"),
    "rsplit across pieces": lambda view: view.rsplit(b"\n0"),
    "rsplit of the half": lambda view: view.rsplit(b"\n", len(view) // 16),
    "rstrip": lambda view: view.rstrip(b"0123456\n"),
    "slice_ref": lambda view: view.slice_ref(view.pieces[-1]),
    "slicing": lambda view: view[3:-3],
    "split": lambda view: view.split(b"\n"),
    "split across pieces": lambda view: view.split(b"\n0"),
    "split_at": lambda view: view.split_at(len(view) // 2),
    "splitlines": BytesView.splitlines,
    "splitlines across pieces": lambda view: BytesView.from_views([view[4:], view]).splitlines(),
    "strip": lambda view: view.strip(b"0123456\n"),
}
"""What goes through a view once, in any number of calls."""


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_twice_as_many_pieces_cost_twice_as_much(call, copied) -> None:
    """Lines executed and bytes copied, for 200 pieces and for 400."""
    costs = []
    for count in (200, 400):
        view = cut_in(count, b"0123456\n")
        copied.clear()
        costs.append((steps_of(lambda view=view: call(view)), sum(copied)))
    (steps, nbytes), (more_steps, more_nbytes) = costs
    assert more_steps <= MOST_GROWTH * steps + 10
    assert more_nbytes <= MOST_GROWTH * nbytes


def test_the_guard_sees_a_walk_from_the_front() -> None:
    """The count can fail: reading by slices of the view, as a reader must not, is quadratic."""

    def read_by_slices(view: BytesView) -> None:
        for at in range(0, len(view), 16):
            assert len(view[at : at + 16]) == 16

    few, many = (
        steps_of(lambda count=count: read_by_slices(cut_in(count, b"0123456\n")))
        for count in (200, 400)
    )
    assert many > MOST_GROWTH * few + 10


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda reader: reader.take(12), id="take"),
        pytest.param(lambda reader: reader.get_u128_be(), id="get_u128_be"),
        pytest.param(lambda reader: reader.readline(), id="readline"),
        pytest.param(lambda reader: reader.read(20), id="read"),
        pytest.param(lambda reader: reader.seek(20, 1), id="seek"),
    ],
)
def test_a_reader_pays_for_no_piece_before_or_far_behind_its_place(read) -> None:
    """The same lines are executed at the front of a short view and in the middle of a long one."""
    front = BytesReader(cut_in(100, b"01234567890123\n"))
    middle = BytesReader(cut_in(1000, b"01234567890123\n"))
    middle.seek(7500)
    assert steps_of(lambda: read(middle)) == steps_of(lambda: read(front))


def test_what_is_found_early_costs_the_same_however_much_is_behind_it(copied) -> None:
    """A search copies 256 bytes to begin with, and looks at no more pieces than that takes."""
    few, many = (cut_in(count, b"0123456\n") for count in (100, 1000))
    assert steps_of(lambda: few.find(b"\n01")) == steps_of(lambda: many.find(b"\n01"))
    assert BytesView(bytes(1 << 20)).find(b"\0") == 0
    assert copied == [256, 256, 256]


@pytest.mark.parametrize("nbytes", [16, 255, 256, 257, 1000, 100_000])
def test_lines_of_one_large_piece_are_copied_a_few_times_at_most(nbytes, copied) -> None:
    """Not 64 KiB for each line: copies are 256 bytes, or less than four times what is read."""
    line = bytes(nbytes - 1) + b"\n"
    count = max(2, 400_000 // nbytes)
    view = BytesView(line * count)
    assert set(BytesReader(view)) == {line}
    assert len(view) <= sum(copied) <= count * max(4 * nbytes, 256)


def test_small_pieces_are_gathered_and_not_searched_one_by_one(copied) -> None:
    """A search for a long sub in pieces of a byte copies each byte once."""
    view = cut_in(3000, b"a")
    for search in (view.find, view.rfind, view.count):
        copied.clear()
        search(b"b" * 500)
        assert copied == [500, 1000, 1500]


@pytest.mark.parametrize("backwards", [False, True])
def test_windows_depend_on_the_length_only(backwards) -> None:
    """The first is as large as it was asked for, the others grow to 64 KiB."""
    data = bytes(range(256)) * 1000
    for cuts in ([len(data)], [1, 299, 301, len(data) - 601], [1000] * 256):
        pieces, rest = [], memoryview(data)
        for nbytes in cuts:
            pieces.append(rest[:nbytes])
            rest = rest[nbytes:]
        run = list(_pieces.windows(pieces[:: -1 if backwards else 1], 300, backwards=backwards))
        lengths = [300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 65536, 65536]
        assert [len(window) for window in run] == [*lengths, len(data) - sum(lengths)]
        assert b"".join(reversed(run) if backwards else run) == data


@pytest.mark.parametrize(
    "look",
    [
        lambda buf: buf.peek_u32_be(),
        lambda buf: buf.peek_uleb128(),
        lambda buf: buf.peek_unpack(">BH"),
        lambda buf: buf.peek_view(5),
        lambda buf: buf.chunks_vectored(3),
    ],
)
def test_a_number_over_chunks_costs_the_same_however_many_are_behind_it(look) -> None:
    """A peer that sends single bytes does not have us go through all of them for each number."""
    few, many = (as_buf(deque([b"\x81", b"\x01"] * count)) for count in (50, 500))
    assert look(few) == look(many)
    assert steps_of(lambda: look(few)) == steps_of(lambda: look(many))
