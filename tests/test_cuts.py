"""Cuts of a view are those of `bytes`, and share its memory: nothing is copied."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import NO_BUFFERS, NO_COUNTS, POOR_BYTES, cut_at, cut_bytes, words

from trio_bytesbuf import BytesReader, BytesView, GlobalPool, NotEnoughBytes, Released
from trio_bytesbuf.seq import _pieces
from trio_bytesbuf.testing import check_laws

SPACED = st.lists(st.sampled_from(b" \t\n\r\v\f\x1c\x85\xa0ab"), max_size=40).map(bytes)
"""White space of ASCII, what is white space in text only, and other bytes."""

LINES = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"b ", b"\v\f", b"\x1c"]), max_size=30
)
"""Ends of lines next to each other, and what ends lines in text only."""

CHARS = st.one_of(st.none(), st.sampled_from([b"", b"a", b"ab", b"ab \n"]))

CASES = [
    ("lstrip", CHARS),
    ("rstrip", CHARS),
    ("strip", CHARS),
    ("removeprefix", POOR_BYTES.map(lambda data: data[:4])),
    ("removesuffix", POOR_BYTES.map(lambda data: data[:4])),
    ("partition", st.sampled_from([b"a", b"ab", b"aa", b"aba", b"x"])),
    ("rpartition", st.sampled_from([b"a", b"ab", b"aa", b"aba", b"x"])),
    ("split", st.sampled_from([b"a", b"ab", b"aa", b"aba", b"x"])),
    ("rsplit", st.sampled_from([b"a", b"ab", b"aa", b"aba", b"x"])),
]
NAMES = [name for name, _ in CASES]


def ranges(*views: BytesView) -> list[tuple[int, int]]:
    """Return where in memory each piece begins and ends."""
    starts = [np.frombuffer(p, "u1").ctypes.data for view in views for p in view.pieces]
    lengths = [piece.nbytes for view in views for piece in view.pieces]
    return [(start, start + nbytes) for start, nbytes in zip(starts, lengths, strict=True)]


def check_cut(cut: object, model: object, view: BytesView) -> None:
    """Check that a cut, or a list of cuts, has the model's bytes, and lies in memory of `view`."""
    if isinstance(model, (list, tuple)):
        assert type(cut) is type(model)
        assert len(cut) == len(model)
        for one, other in zip(cut, model, strict=True):
            check_cut(one, other, view)
        return
    assert type(cut) is BytesView
    check_laws(cut)
    assert bytes(cut) == model
    whole = ranges(view)
    for start, stop in ranges(cut):
        assert any(first <= start and stop <= last for first, last in whole)


# As bytes are cut


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=NAMES)
@given(data=st.data())
def test_cuts_are_those_of_bytes_and_copy_nothing(
    name: str, arguments: st.SearchStrategy[bytes | None], data: st.DataObject
) -> None:
    """What is sought may be bytes, a view, or a view that is itself cut."""
    model, view = data.draw(cut_bytes(st.one_of(POOR_BYTES, SPACED)))
    sought = data.draw(arguments)
    expected = getattr(model, name)(sought)
    for form in [sought] if sought is None else [sought, bytearray(sought), cut_at(sought, {1})]:
        check_cut(getattr(view, name)(form), expected, view)


@pytest.mark.parametrize("name", ["strip", "lstrip", "rstrip"])
@given(drawn=cut_bytes(SPACED))
def test_white_space_is_what_it_is_for_bytes(name: str, drawn: tuple[bytes, BytesView]) -> None:
    """Without an argument; what is white space in text only stays."""
    model, view = drawn
    check_cut(getattr(view, name)(), getattr(model, name)(), view)


@given(LINES.map(b"".join), st.sets(st.integers(1, 60)), st.booleans())
def test_lines_end_where_those_of_bytes_do(data: bytes, cuts: set[int], keepends: bool) -> None:
    """In CR, LF and CRLF, also when a cut goes through a CRLF, and nowhere else."""
    for view in (cut_at(data, cuts), cut_at(data, set(range(len(data)))), BytesView(data)):
        check_cut(view.splitlines(keepends), data.splitlines(keepends), view)
    assert cut_at(data, cuts).splitlines(keepends=True) == data.splitlines(keepends=True)


@given(cut_bytes(POOR_BYTES), st.sampled_from([b"a", b"aa", b"aba", b"x"]), st.integers(-2, 5))
def test_rsplit_keeps_the_front_whole(
    drawn: tuple[bytes, BytesView], sep: bytes, maxsplit: int
) -> None:
    """At most `maxsplit` cuts, counted from the end; overlapping hits are taken from the end."""
    model, view = drawn
    check_cut(view.rsplit(sep, maxsplit), model.rsplit(sep, maxsplit), view)
    check_cut(view.rsplit(sep, maxsplit=maxsplit), model.rsplit(sep, maxsplit), view)


@given(
    cut_bytes(POOR_BYTES),
    st.sampled_from([b"a", b"ab", b"aa", b"aba"]),
    st.integers(1, 4),
    st.integers(1, 8),
)
def test_cuts_are_the_same_however_small_the_windows(
    drawn: tuple[bytes, BytesView], sep: bytes, first: int, most: int
) -> None:
    """Windows of a few bytes put their edges everywhere."""
    model, view = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_pieces, "FIRST_WINDOW_NBYTES", first)
        patch.setattr(_pieces, "WINDOW_NBYTES", max(first, most))
        for name in ("rsplit", "rpartition", "strip", "lstrip", "rstrip"):
            check_cut(getattr(view, name)(sep), getattr(model, name)(sep), view)
        check_cut(view.splitlines(), model.splitlines(), view)


@pytest.mark.parametrize("sep", [b"aa", b"aaa"])
@pytest.mark.parametrize("first", [1, 2, 3, 5])
def test_hits_do_not_overlap_over_the_edges_of_windows(sep: bytes, first: int) -> None:
    """From the end and from the front, wherever in a row of equal bytes the windows begin."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_pieces, "FIRST_WINDOW_NBYTES", first)
        patch.setattr(_pieces, "WINDOW_NBYTES", first)
        for nbytes in range(20):
            model = b"a" * nbytes
            for view in (BytesView(model), cut_at(model, set(range(nbytes)))):
                check_cut(view.rsplit(sep), model.rsplit(sep), view)
                check_cut(view.split(sep), model.split(sep), view)


@pytest.mark.parametrize("at", [0, 1, 255, 256, 257, 767, 768, 65535, 65536, 131_072])
def test_a_strip_goes_as_far_as_it_must_and_no_farther(at: int) -> None:
    """One byte that stays, around the edges of the windows in which a strip looks."""
    data = bytes(at) + b"x" + bytes(200)
    for view in (BytesView(data), cut_at(data, {at}), cut_at(data, {1, at - 1, at + 1})):
        check_cut(view.lstrip(b"\0"), data.lstrip(b"\0"), view)
        check_cut(view.strip(b"\0"), b"x", view)
        check_cut(view.strip(b"\0x"), b"", view)
    back = cut_at(bytes(200) + b"x" + bytes(at), {200, 300})
    check_cut(back.rstrip(b"\0"), bytes(200) + b"x", back)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", NO_BUFFERS.values(), ids=NO_BUFFERS)
def test_what_is_no_buffer_cuts_nothing(name: str, wrong: object) -> None:
    """A TypeError, as from `bytes`, also where nothing would have been found."""
    for view in (BytesView(), BytesView(b"abc"), cut_at(b"abc", {1})):
        if wrong is None and name.endswith("strip"):
            continue  # white space
        with pytest.raises(TypeError):
            getattr(view, name)(wrong)


@pytest.mark.parametrize("name", ["removeprefix", "removesuffix"])
def test_several_prefixes_are_not_removed(name: str) -> None:
    """`startswith` takes a tuple, `removeprefix` does not: not even one that is not there."""
    for data in (b"abc", b"xyz"):
        with pytest.raises(TypeError):
            getattr(BytesView(data), name)((b"a", b"c"))


@pytest.mark.parametrize("name", ["split", "rsplit", "partition", "rpartition"])
def test_an_empty_separator_is_a_value_error(name: str) -> None:
    """With the message of `bytes`; also as an empty view."""
    for empty in (b"", BytesView()):
        with pytest.raises(ValueError, match=r"^empty separator$"):
            getattr(cut_at(b"abc", {1}), name)(empty)


@pytest.mark.parametrize("name", ["split", "rsplit"])
def test_a_maximum_that_is_no_integer_is_a_type_error(name: str) -> None:
    """Floats and texts count nothing."""
    for wrong in (1.0, "1", None):
        with pytest.raises(TypeError):
            getattr(BytesView(b"a,b"), name)(b",", wrong)


@given(cut_bytes(POOR_BYTES), st.integers(0, 3), st.sampled_from([b"a", b"ab", b""]))
def test_rindex_is_rfind_or_an_error(
    drawn: tuple[bytes, BytesView], start: int, sub: bytes
) -> None:
    """The offset that `bytes.rindex` finds, and its ValueError."""
    model, view = drawn
    if model.rfind(sub, start) < 0:
        with pytest.raises(ValueError, match=r"^subsection not found$"):
            view.rindex(sub, start)
    else:
        assert view.rindex(sub, start) == model.rindex(sub, start)


# split_at


@given(cut_bytes(), st.integers(0, 70))
def test_split_at_gives_both_sides_or_both_numbers(drawn: tuple[bytes, BytesView], at: int) -> None:
    """The two slices, without a copy; unlike slices, never fewer bytes than were asked for."""
    model, view = drawn
    if at <= len(model):
        check_cut(view.split_at(at), (model[:at], model[at:]), view)
        front, back = view.split_at(at)
        assert front + back == view
    else:
        with pytest.raises(NotEnoughBytes) as caught:
            view.split_at(at)
        assert (caught.value.requested, caught.value.available) == (at, len(model))


@pytest.mark.parametrize("wrong", NO_COUNTS.values(), ids=NO_COUNTS)
def test_split_at_wants_a_count(wrong: object) -> None:
    """Negative is a ValueError, what is no integer a TypeError."""
    with pytest.raises(ValueError if wrong == -1 else TypeError):
        BytesView(b"abc").split_at(wrong)


def test_what_is_said_of_memory_follows_the_cuts() -> None:
    """A part of memory that may change has no hash; one of fixed memory beside it has."""
    view = BytesView(bytearray(b"may change, ")) + BytesView(b"is fixed")
    changing, fixed = view.rsplit(b", ")
    for parts in (view.rpartition(b", ")[:1], view.split_at(4)[:1], [changing], [view.rstrip()]):
        with pytest.raises(TypeError, match="may change"):
            hash(parts[0])
    assert hash(fixed) == hash(view.removeprefix(b"may change, ")) == hash(b"is fixed")
    assert hash(view.lstrip(b"may chnge,")) == hash(b"is fixed")


# slice_ref


def test_slice_ref_gives_the_view_of_a_part() -> None:
    """The cases of the crate's own tests: in the middle, at both ends, empty."""
    view = BytesView(b"012345678")
    for start, stop in ((0, 0), (0, 3), (2, 6), (7, 9), (9, 9)):
        part = view.contiguous()[start:stop]
        check_cut(view.slice_ref(part), b"012345678"[start:stop], view)
        assert view.slice_ref(view[start:stop]) == view[start:stop]
        assert ranges(view.slice_ref(part)) == ranges(view[start:stop])


def test_an_empty_part_may_be_of_any_memory() -> None:
    """It has no place; of an empty view too, but not of one that was released."""
    for view in (BytesView(), BytesView(b"abcde"), cut_at(b"abcde", {2})):
        for empty in (b"", bytearray(), view[:0], memoryview(b"some other slice")[:0]):
            check_cut(view.slice_ref(empty), b"", view)
    view.release()
    with pytest.raises(Released):
        view.slice_ref(b"")


@pytest.mark.parametrize("make", [bytes, bytearray, np.array, BytesView], ids=lambda m: m.__name__)
def test_a_part_of_other_memory_is_refused_however_equal_it_is(
    make: Callable[[bytes], object],
) -> None:
    """The address counts; the message has the number of bytes."""
    view = BytesView(b"012345678")
    with pytest.raises(ValueError, match=r"^these 4 bytes do not lie in one piece of this view$"):
        view.slice_ref(make(bytes(bytearray(b"0123"))))


@pytest.mark.parametrize(("start", "stop"), [(0, 3), (2, 6), (5, 9)])
def test_a_part_must_lie_in_the_view_and_not_only_beside_it(start: int, stop: int) -> None:
    """Neighbours in the same memory are foreign, and so is what reaches over an end."""
    whole = BytesView(b"012345678")
    view = whole[3:5]
    with pytest.raises(ValueError, match="do not lie in one piece of this view"):
        view.slice_ref(whole[start:stop])
    assert whole.slice_ref(view) == b"34"


@given(cut_bytes(st.binary(min_size=1, max_size=60)), st.data())
def test_any_part_of_any_piece_is_found_where_it_lies(
    drawn: tuple[bytes, BytesView], data: st.DataObject
) -> None:
    """Its bytes, its place, and what is said of its memory."""
    _, view = drawn
    piece = data.draw(st.sampled_from(view.pieces))
    start = data.draw(st.integers(0, piece.nbytes - 1))
    part = piece[start : data.draw(st.integers(start + 1, piece.nbytes))]
    found = view.slice_ref(part)
    check_cut(found, bytes(part), view)
    assert ranges(found) == [
        (np.frombuffer(part, "u1").ctypes.data, np.frombuffer(part, "u1").ctypes.data + len(part))
    ]
    assert hash(found) == hash(bytes(part))


def test_a_part_in_several_pieces_is_refused() -> None:
    """Whether it comes as a view, or as memory over the seam of two pieces that are neighbours."""
    view = cut_at(b"abcdef", {3})
    with pytest.raises(ValueError, match=r"^this part lies in several pieces$"):
        view.slice_ref(view[2:4])
    data = b"abcdef"
    neighbours = BytesView(data)[:3] + BytesView(data)[3:]
    with pytest.raises(ValueError, match=r"^these 2 bytes do not lie in one piece"):
        neighbours.slice_ref(memoryview(data)[2:4])
    assert neighbours.slice_ref(memoryview(data)[3:5]) == b"de"


def test_what_a_parser_made_of_a_view_is_found_again() -> None:
    """An array of numpy, a writable slice of the bytearray below, and numbers, counted in bytes."""
    memory = bytearray(b"header: value\r\n")
    view = BytesView(memory)
    array = np.frombuffer(view.contiguous(), dtype="u1")[8:13]
    for part in (array, memoryview(memory)[8:13], view.contiguous()[8:13], view[8:13]):
        found = view.slice_ref(part)
        check_cut(found, b"value", view)
        with pytest.raises(TypeError, match="may change"):
            hash(found)  # as of the view itself
    memory[8:13] = b"VALUE"
    assert found == b"VALUE"
    numbers = words()
    assert view_of_second(numbers) == numbers.tobytes()[4:]


def view_of_second(numbers: object) -> BytesView:
    """Return the second of two numbers of four bytes."""
    return BytesView(numbers).slice_ref(memoryview(numbers)[1:])


@pytest.mark.parametrize("wrong", NO_BUFFERS.values(), ids=NO_BUFFERS)
def test_a_part_that_is_no_buffer_is_a_type_error(wrong: object) -> None:
    """Text, numbers, lists and memory with gaps, in a view or not."""
    data = bytes(8)
    with pytest.raises(TypeError):
        BytesView(data).slice_ref(wrong)
    with pytest.raises(TypeError):
        BytesView(data).slice_ref(memoryview(data)[::2])


def test_a_found_part_holds_the_memory_of_the_pool() -> None:
    """The block is lent until the part is gone too."""
    pool = GlobalPool()
    view = BytesView.copied_from_slice(bytes(65536), pool)
    part = view.slice_ref(view.first_piece[100:200])
    view.release()
    assert pool.statistics().lent_nbytes == 65536
    assert BytesReader(part).read() == bytes(100)
    part.release()
    assert pool.statistics().lent_nbytes == 0
