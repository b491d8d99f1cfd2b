"""`BytesView` is a read-only `bytes`, however it is cut: the model is `bytes` itself."""

from __future__ import annotations

import array
import copy
import gc
import io
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    BYTES,
    MEMORIES,
    NO_BUFFERS,
    NO_COUNTS,
    OFFSETS,
    POOR_BYTES,
    cut_at,
    cut_bytes,
    words,
)

from trio_bytesbuf import BadMemory, BytesReader, BytesView, GlobalPool, NotEnoughBytes, Released
from trio_bytesbuf.mem import Block, Memory
from trio_bytesbuf.seq import _pieces
from trio_bytesbuf.testing import FixedBlockMemory, TransparentMemory, check_laws


def outcome(call: Callable[[], object]) -> object:
    """Return what a call returns, views as bytes, or the type of what it raises."""
    try:
        result = call()
    except (TypeError, ValueError, IndexError, LookupError) as exc:
        return type(exc)
    if isinstance(result, BytesView):
        check_laws(result)
        return bytes(result)
    if isinstance(result, (list, tuple)):
        return type(result)(outcome(lambda item=item: item) for item in result)
    return result


# Being a sequence


@given(cut_bytes())
def test_length_truth_and_items_are_those_of_the_bytes(drawn: tuple[bytes, BytesView]) -> None:
    """`len`, `bool`, iteration, `bytes()` and `to_bytes()` show the same bytes."""
    model, view = drawn
    check_laws(view)
    assert len(view) == len(model)
    assert bool(view) == bool(model)
    assert list(view) == list(model)
    assert bytes(view) == view.to_bytes() == model


@given(cut_bytes(), st.integers(-70, 70))
def test_an_index_gives_the_byte_or_an_index_error(
    drawn: tuple[bytes, BytesView], index: int
) -> None:
    """`view[i]` is `bytes[i]`, from both ends and outside."""
    model, view = drawn
    assert outcome(lambda: view[index]) == outcome(lambda: model[index])


@given(cut_bytes(), OFFSETS, OFFSETS, st.one_of(st.none(), st.integers(-4, 4)))
def test_a_slice_of_any_step_gives_the_bytes(
    drawn: tuple[bytes, BytesView], start: int | None, stop: int | None, step: int | None
) -> None:
    """`view[start:stop:step]` is the same slice of the bytes; a step of 0 is a ValueError."""
    model, view = drawn
    assert outcome(lambda: view[start:stop:step]) == outcome(lambda: model[start:stop:step])


@pytest.mark.parametrize("index", ["1", 1.0, None, (1,)], ids=repr)
@pytest.mark.parametrize("view", [b"", b"abc", b"a|bc"], ids=["empty", "one piece", "two pieces"])
def test_an_index_that_is_no_integer_is_a_type_error(view: bytes, index: object) -> None:
    """As with `bytes`, floats and texts do not index."""
    cut = BytesView.from_views(map(BytesView, view.split(b"|")))
    with pytest.raises(TypeError):
        cut[index]
    with pytest.raises(TypeError):
        cut[index if index is not None else "" :]


def test_an_index_outside_says_where_and_how_long() -> None:
    """The message of the IndexError has both numbers."""
    with pytest.raises(IndexError, match="byte 3 of a view of 3 bytes"):
        BytesView(b"abc")[3]
    with pytest.raises(IndexError, match="byte -4 of a view of 3 bytes"):
        cut_at(b"abc", {1})[-4]


@given(cut_bytes(), OFFSETS, OFFSETS)
def test_slicing_copies_nothing(
    drawn: tuple[bytes, BytesView], start: int | None, stop: int | None
) -> None:
    """Every piece of a slice lies in memory of the view that was cut."""
    _, view = drawn
    exporters = {id(piece.obj) for piece in view.pieces}
    assert {id(piece.obj) for piece in view[start:stop].pieces} <= exporters


# Comparing


@given(BYTES, st.sets(st.integers(1, 60), max_size=6), st.sets(st.integers(1, 60), max_size=6))
def test_equality_and_hash_do_not_see_the_cuts(
    data: bytes, cuts: set[int], other: set[int]
) -> None:
    """Views of the same bytes are equal and hash alike, and like the bytes."""
    one, two = cut_at(data, cuts), cut_at(data, other)
    assert one == two == data
    assert data == one
    assert one == bytearray(data)
    assert bytearray(data) == one
    assert one == memoryview(data)
    assert memoryview(data) == one
    assert hash(one) == hash(two) == hash(data)
    assert {data: "found"}[one] == "found"


@given(cut_bytes(), cut_bytes())
def test_views_are_equal_exactly_when_their_bytes_are(
    left: tuple[bytes, BytesView], right: tuple[bytes, BytesView]
) -> None:
    """`==` and `!=` agree with those of the bytes, for views and for bytes on either side."""
    equal = left[0] == right[0]
    assert (left[1] == right[1]) is equal
    assert (left[1] == right[0]) is equal
    assert (left[0] == right[1]) is equal
    assert (left[1] != right[1]) is not equal


@given(cut_bytes(st.binary(min_size=1, max_size=60)), st.data())
def test_one_byte_that_differs_is_seen(drawn: tuple[bytes, BytesView], data: st.DataObject) -> None:
    """A change of any single byte makes views unequal, wherever the cuts are."""
    model, view = drawn
    at = data.draw(st.integers(0, len(model) - 1))
    changed = bytearray(model)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    cuts = data.draw(st.sets(st.integers(1, 60), max_size=6))
    assert view != cut_at(bytes(changed), cuts)
    assert view != bytes(changed)


@pytest.mark.filterwarnings("ignore::BytesWarning")
@pytest.mark.parametrize("other", ["abc", 5, None, ["a"], [97, 98, 99], (97, 98, 99)], ids=repr)
def test_a_view_is_never_equal_to_what_is_no_bytes(other: object) -> None:
    """Text, numbers and lists are unequal, as they are to `bytes`."""
    view = BytesView(b"abc")
    assert view != other
    assert other != view
    assert not view == other  # noqa: SIM201  # the operator itself is meant


def test_an_array_of_numbers_is_not_equal_to_its_bytes() -> None:
    """Items that are not bytes are not compared as if they were."""
    view = cut_at(b"abc", {1})
    for same in (view, view.compact()):
        assert same != memoryview(b"abc").cast("c")
        assert same != memoryview(b"abc").cast("B", (3, 1))
        assert same == memoryview(b"abc").cast("b") == same  # items of the same value, as in bytes
    assert BytesView(words().tobytes()) != memoryview(words())
    assert memoryview(words()) != BytesView(words().tobytes())
    assert BytesView(b"abc") != array.array("B", b"abc")


def test_a_memoryview_with_gaps_is_compared_by_its_items() -> None:
    """Every second byte of something is equal to those bytes."""
    assert BytesView(b"ace") == memoryview(b"abcdef")[::2]
    assert BytesView(b"acf") != memoryview(b"abcdef")[::2]


@pytest.mark.parametrize(
    "make",
    [bytearray, lambda data: array.array("B", data), lambda data: memoryview(bytearray(data))],
    ids=["bytearray", "array", "memoryview"],
)
def test_a_view_of_foreign_memory_that_may_change_has_no_hash(make: Callable[..., object]) -> None:
    """A value that could change under a dictionary is refused, also inside a longer view."""
    view = BytesView(make(b"abc"))
    assert view == b"abc"
    for unhashable in (view, view[1:], BytesView(b"0") + view, BytesReader(view).take(1)):
        with pytest.raises(TypeError, match="unhashable: this view shows memory that may change"):
            hash(unhashable)
    for hashable in (view.compact(), view[:0], view[::-1], BytesView.copied_from_slice(view)):
        assert hash(hashable) == hash(bytes(hashable))


def test_a_view_of_foreign_memory_shows_what_is_written_to_it() -> None:
    """Nothing was copied; a copy does not show it."""
    memory = bytearray(b"abc")
    view, copied = BytesView(memory), BytesView.copied_from_slice(memory)
    memory[0] = ord("x")
    assert view == b"xbc"
    assert copied == b"abc"


# Joining


@given(cut_bytes(), cut_bytes())
def test_adding_joins_views_and_bytes_on_both_sides(
    left: tuple[bytes, BytesView], right: tuple[bytes, BytesView]
) -> None:
    """`view + view`, `view + bytes`, `bytes + view` and `concat` are views of the joined bytes."""
    joined = left[0] + right[0]
    for view in (
        left[1] + right[1],
        left[1] + right[0],
        left[0] + right[1],
        bytearray(left[0]) + right[1],
        left[1] + memoryview(right[0]),
        left[1].concat(right[1]),
        left[1].concat(right[0]),
        BytesView.from_views([left[1], right[1]]),
    ):
        check_laws(view)
        assert type(view) is BytesView
        assert bytes(view) == joined


@given(st.lists(cut_bytes(), max_size=5))
def test_from_views_joins_without_copying(drawn: list[tuple[bytes, BytesView]]) -> None:
    """The pieces are those of the views, in their order; a generator of views will do."""
    joined = BytesView.from_views(view for _, view in drawn)
    assert joined == b"".join(model for model, _ in drawn)
    assert [id(piece.obj) for piece in joined.pieces] == [
        id(piece.obj) for _, view in drawn for piece in view.pieces
    ]


@pytest.mark.parametrize("other", NO_BUFFERS.values(), ids=NO_BUFFERS)
def test_what_is_no_buffer_cannot_be_joined(other: object) -> None:
    """Text, numbers, lists and memory with gaps are TypeErrors, on both sides."""
    view = BytesView(b"abc")
    with pytest.raises(TypeError):
        view + other
    with pytest.raises(TypeError):
        other + view
    with pytest.raises(TypeError):
        view.concat(other)
    with pytest.raises(TypeError):
        BytesView(other)
    with pytest.raises(TypeError):
        BytesView.copied_from_slice(other)
    with pytest.raises(TypeError):
        BytesView.from_views([view, other])


def test_from_views_wants_views() -> None:
    """Bytes are wrapped by who calls, and the message says what came."""
    with pytest.raises(TypeError, match="from_views joins BytesViews, not bytes"):
        BytesView.from_views([b"abc"])
    with pytest.raises(TypeError, match="from_views joins BytesViews, not int"):
        BytesView.from_views(BytesView(b"abc"))


# Looking for things


@given(
    cut_bytes(POOR_BYTES),
    st.one_of(POOR_BYTES.filter(lambda s: len(s) < 5), st.just(b"")),
    OFFSETS,
    OFFSETS,
)
def test_searching_answers_as_bytes_do(
    drawn: tuple[bytes, BytesView], sub: bytes, start: int | None, stop: int | None
) -> None:
    """find, rfind, index, count, startswith, endswith: with bounds, over cuts, for empty subs."""
    model, view = drawn
    for name in ("find", "rfind", "index", "count", "startswith", "endswith"):
        expected = outcome(lambda name=name: getattr(model, name)(sub, start, stop))
        for sought in (sub, BytesView(sub), cut_at(sub, {1, 2}), bytearray(sub)):
            found = outcome(lambda name=name, sub=sought: getattr(view, name)(sub, start, stop))
            assert found == expected, name
    assert (sub in view) == (sub in model)
    assert (cut_at(sub, {1}) in view) == (sub in model)


@given(cut_bytes(POOR_BYTES), st.integers(0, 255))
def test_one_byte_is_searched_as_an_int(drawn: tuple[bytes, BytesView], byte: int) -> None:
    """`in`, find, rfind, index and count take a number from 0 to 255."""
    model, view = drawn
    assert (byte in view) == (byte in model)
    for name in ("find", "rfind", "index", "count"):
        expected = outcome(lambda name=name: getattr(model, name)(byte))
        assert outcome(lambda name=name: getattr(view, name)(byte)) == expected


@given(cut_bytes(POOR_BYTES), st.lists(POOR_BYTES.filter(lambda s: len(s) < 4), max_size=3))
def test_several_prefixes_are_tried_one_after_the_other(
    drawn: tuple[bytes, BytesView], several: list[bytes]
) -> None:
    """A tuple of prefixes or suffixes is as good as one."""
    model, view = drawn
    cut = tuple(cut_at(one, {1}) for one in several)
    assert (
        view.startswith(tuple(several)) == view.startswith(cut) == model.startswith(tuple(several))
    )
    assert view.endswith(tuple(several)) == view.endswith(cut) == model.endswith(tuple(several))


@given(cut_bytes(POOR_BYTES), POOR_BYTES.filter(lambda s: len(s) < 4), st.integers(-2, 4))
def test_partition_and_split_cut_where_bytes_do(
    drawn: tuple[bytes, BytesView], sep: bytes, maxsplit: int
) -> None:
    """The same parts, and a ValueError for an empty separator."""
    model, view = drawn
    for by in (sep, BytesView(sep), cut_at(sep, {1})):
        assert outcome(lambda by=by: view.partition(by)) == outcome(lambda: model.partition(sep))
        assert outcome(lambda by=by: view.split(by)) == outcome(lambda: model.split(sep))
        assert outcome(lambda by=by: view.split(by, maxsplit)) == outcome(
            lambda: model.split(sep, maxsplit)
        )


def test_a_search_crosses_the_window_that_is_copied_at_a_time() -> None:
    """What lies across two windows of 64 KiB, in one piece or in two, is found."""
    for edge in (65535, 65536, 65537, 131072):
        data = bytes(edge - 2) + b"needle" + bytes(70000)
        for view in (BytesView(data), cut_at(data, {edge}), cut_at(data, {edge - 1, edge + 1})):
            assert view.find(b"needle") == view.rfind(b"needle") == edge - 2
            assert view.count(b"needle") == 1
            assert view == data
            assert view[1:] != data[:-1]


@given(
    cut_bytes(POOR_BYTES),
    POOR_BYTES.filter(lambda s: 0 < len(s) < 6),
    st.integers(1, 4),
    st.integers(1, 8),
)
def test_searches_find_the_same_however_small_the_windows(
    drawn: tuple[bytes, BytesView], sub: bytes, first: int, most: int
) -> None:
    """Windows of a few bytes put their edges everywhere: in a match, beside it, in a piece."""
    model, view = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_pieces, "FIRST_WINDOW_NBYTES", first)
        patch.setattr(_pieces, "WINDOW_NBYTES", most)
        assert view.find(sub) == model.find(sub)
        assert view.rfind(sub) == model.rfind(sub)
        assert view.count(sub) == model.count(sub)
        assert outcome(lambda: view.split(sub)) == model.split(sub)
        assert list(BytesReader(view)) == list(io.BytesIO(model))
        assert view == BytesView(model)
        for at in range(len(model)):
            assert view != model[:at] + b"?" + model[at + 1 :]


def test_pieces_of_one_byte_hide_no_match() -> None:
    """A sub that is longer than every piece, and one that nearly matches before, are found."""
    view = cut_at(b"aaab" * 5, set(range(20)))
    assert view.find(b"aaabaaab") == 0
    assert view.rfind(b"aaabaaab") == 12
    assert view.find(b"abaaa", 3) == 6
    assert view.count(b"aa") == 5


@pytest.mark.parametrize("sub", ["text", None, 1.5, [1]], ids=repr)
def test_what_is_no_buffer_cannot_be_sought(sub: object) -> None:
    """As with `bytes`: a TypeError, also for `in`."""
    view = BytesView(b"abc")
    for call in (view.find, view.rfind, view.index, view.count, view.partition, view.split):
        with pytest.raises(TypeError):
            call(sub)
    for call in (view.startswith, view.endswith):
        with pytest.raises(TypeError):
            call(sub)
        with pytest.raises(TypeError):
            call((sub,))
    with pytest.raises(TypeError):
        assert sub in view


def test_senseless_arguments_of_searches_are_refused() -> None:
    """A byte over 255 is a ValueError; a fraction as bound, an int as separator TypeErrors."""
    view = BytesView(b"a,b,c")
    for byte in (-1, 256):
        with pytest.raises(ValueError, match="range"):
            view.find(byte)
        with pytest.raises(ValueError, match="range"):
            assert byte in view
    with pytest.raises(TypeError):
        view.find(b"a", 1.0)
    with pytest.raises(TypeError):
        view.split(b",", 1.0)
    for call in (view.partition, view.split):
        with pytest.raises(TypeError):
            call(44)
    with pytest.raises(ValueError, match="subsection not found"):
        view.index(b"x")


@given(cut_bytes(POOR_BYTES))
def test_split_copies_nothing(drawn: tuple[bytes, BytesView]) -> None:
    """The parts lie in the memory of the view, and joined by the separator they are it again."""
    _, view = drawn
    parts = view.split(b"a")
    exporters = {id(piece.obj) for piece in view.pieces}
    assert {id(piece.obj) for part in parts for piece in part.pieces} <= exporters
    assert b"a".join(map(bytes, parts)) == bytes(view)


# Turning into something else


@given(cut_bytes(), st.sampled_from([(), (":",), (":", 2), (b"-", -3)]))
def test_hex_is_that_of_the_bytes(drawn: tuple[bytes, BytesView], arguments: tuple) -> None:
    """With and without separators."""
    model, view = drawn
    assert view.hex(*arguments) == model.hex(*arguments)


@given(
    st.text(max_size=20),
    st.sampled_from(["utf-8", "utf-16", "utf-32-le"]),
    st.sets(st.integers(1, 60)),
)
def test_text_is_decoded_across_cuts(text: str, encoding: str, cuts: set[int]) -> None:
    """A character that lies in two pieces is one character."""
    assert cut_at(text.encode(encoding), cuts).decode(encoding) == text


@given(cut_bytes(), st.sampled_from(["strict", "replace", "ignore", "backslashreplace"]))
def test_bytes_that_are_no_text_fail_as_bytes_do(
    drawn: tuple[bytes, BytesView], errors: str
) -> None:
    """The error handlers give the same text, and strict the same error."""
    model, view = drawn
    assert outcome(lambda: view.decode(errors=errors)) == outcome(
        lambda: model.decode(errors=errors)
    )
    assert outcome(lambda: view.decode("ascii", errors)) == outcome(
        lambda: model.decode("ascii", errors)
    )


@given(cut_bytes())
def test_contiguous_and_compact_hold_the_bytes_in_one_piece(
    drawn: tuple[bytes, BytesView],
) -> None:
    """contiguous() copies only if it must; compact() retains its own length and no more."""
    model, view = drawn
    flat = view.contiguous()
    assert flat.readonly
    assert flat == model
    if len(view.pieces) == 1:
        assert flat.obj is view.pieces[0].obj
    compact = view.compact()
    assert compact == view
    assert len(compact.pieces) == bool(model)
    assert compact.retained_nbytes == len(model)


def test_retained_nbytes_counts_each_block_once_and_whole() -> None:
    """Two small views of one large block cost that block, and both together no more."""
    buf = TransparentMemory().reserve(1000)
    buf.put_slice(b"head")
    head = buf.consume(4)
    buf.put_slice(b"tail")
    tail = buf.consume(4)
    other = BytesView(b"12345")
    assert head.retained_nbytes == tail.retained_nbytes == (head + tail).retained_nbytes == 1000
    assert (head + other + tail + other).retained_nbytes == 1005
    assert head.compact().retained_nbytes == 4
    assert BytesView().retained_nbytes == 0
    assert BytesView(words()).retained_nbytes == 8


@pytest.mark.parametrize(
    ("view", "text"),
    [
        (BytesView(), "BytesView(b'')"),
        (BytesView(b"abc"), "BytesView(b'abc')"),
        (BytesView(b"abc") + b"d", "<BytesView b'abcd', 4 bytes in 2 pieces>"),
        (BytesView(bytes(64)), f"BytesView({bytes(64)!r})"),
        (BytesView(b"x" * 65), f"<BytesView {b'x' * 64!r}..., 65 bytes in 1 pieces>"),
    ],
    ids=["empty", "one piece", "two pieces", "as much as is shown", "more than is shown"],
)
def test_a_repr_shows_the_bytes_and_how_they_lie(view: BytesView, text: str) -> None:
    """Up to 64 bytes, then dots; pieces are only mentioned when there are several."""
    assert repr(view) == text


# Pieces and what is said of them


@given(cut_bytes())
def test_pieces_are_read_only_and_released_without_harm(drawn: tuple[bytes, BytesView]) -> None:
    """What is handed out is a slice of its own: closing it closes nothing else."""
    model, view = drawn
    assert b"".join(view.pieces) == model
    assert bytes(view.first_piece) == (bytes(view.pieces[0]) if model else b"")
    for piece in (*view.pieces, view.first_piece, view.contiguous()):
        assert piece.readonly
        piece.release()
    assert view == model


def test_metas_say_for_each_piece_what_its_provider_said() -> None:
    """Metadata follows the pieces through slices, joins, searches and readers."""
    pieces = [BytesView(b"a"), view_of(b"bcd", meta="disk"), BytesView(b"e"), view_of(b"f", meta=7)]
    view = BytesView.from_views(pieces)
    assert view == b"abcdef"
    assert view.metas == (None, "disk", None, 7)
    assert view.first_piece_meta is None
    assert view[2:4].metas == ("disk",)
    assert view[3:].metas == ("disk", None, 7)
    assert view[4:5].metas == (None,)
    assert view.partition(b"c")[2].metas == ("disk", None, 7)
    assert (view[5:] + view[:1]).metas == (7, None)
    assert view[1:].first_piece_meta == "disk"
    assert BytesView().metas == ()
    assert BytesView().first_piece_meta is None
    assert view.compact().metas == (None,)
    check_laws(view[4:5])


def view_of(data: bytes, *, meta: object) -> BytesView:
    """Return a copy of `data` in a block of which `meta` is said."""
    return BytesView.copied_from_slice(data, OneBlock(meta))


class OneBlock(Memory):
    """A provider of single blocks about which something is said."""

    def __init__(self, meta: object) -> None:
        self.meta = meta

    def blocks(self, nbytes: int, /) -> list[Block]:
        return [Block(bytearray(max(1, nbytes)), meta=self.meta)]


def test_a_block_keeps_its_owner_alive_for_as_long_as_a_view_shows_it() -> None:
    """The owner dies with the last view, not before."""

    class Owner:
        pass

    owner = Owner()
    seen = weakref.ref(owner)
    view = BytesView.copied_from_slice(b"abc", OwnedBlocks(owner))
    part = view[1:2]
    del owner, view
    gc.collect()
    assert seen() is not None
    assert part == b"b"
    del part
    gc.collect()
    assert seen() is None


class OwnedBlocks(Memory):
    """A provider whose blocks keep something alive."""

    def __init__(self, owner: object) -> None:
        self.owner: object | None = owner

    def blocks(self, nbytes: int, /) -> list[Block]:
        owner, self.owner = self.owner, None
        return [Block(bytearray(nbytes), owner=owner)]


# Making


@pytest.mark.parametrize("make_memory", MEMORIES.values(), ids=MEMORIES)
@given(data=cut_bytes())
def test_a_copy_from_any_memory_has_the_bytes(
    make_memory: Callable[[], Memory], data: tuple[bytes, BytesView]
) -> None:
    """copied_from_slice takes buffers and views, into every memory."""
    model, view = data
    for source in (model, bytearray(model), view):
        copied = BytesView.copied_from_slice(source, make_memory())
        check_laws(copied)
        assert copied == model
        assert hash(copied) == hash(model)
        assert BytesView.copied_from_slice(source) == model


def test_an_array_of_numbers_counts_bytes() -> None:
    """Two items of four bytes are eight bytes."""
    assert len(BytesView(words())) == 8
    assert len(BytesView.copied_from_slice(words(), FixedBlockMemory(3))) == 8
    assert BytesView(array.array("I")) == b""
    assert BytesView(memoryview(bytes(6)).cast("B", (2, 3))) == bytes(6)


def test_a_view_made_of_a_view_is_equal_and_released_by_itself() -> None:
    """The same pieces, two values."""
    view = cut_at(b"abcd", {2})
    other = BytesView(view)
    view.release()
    assert other == b"abcd"
    assert len(other.pieces) == 2


def test_a_memory_that_gives_too_little_is_named_with_both_numbers() -> None:
    """BadMemory has the provider's repr, what was asked for and what came."""
    with pytest.raises(BadMemory, match=r"^Miser was asked for 10 bytes and gave 9$") as caught:
        BytesView.copied_from_slice(bytes(10), Miser())
    assert caught.value.provider == "Miser"


def test_a_memory_that_gives_too_much_is_used_as_far_as_needed() -> None:
    """Blocks behind the last byte do not become pieces."""
    copied = BytesView.copied_from_slice(b"abcd", Spendthrift())
    check_laws(copied)
    assert list(map(bytes, copied.pieces)) == [b"abc", b"d"]


class Spendthrift(Memory):
    """A provider that gives more than it was asked for."""

    def blocks(self, nbytes: int, /) -> list[Block]:
        return [Block(bytearray(3)) for _ in range(nbytes)]


class Miser(Memory):
    """A provider that gives one byte less than it was asked for."""

    def blocks(self, nbytes: int, /) -> list[Block]:
        return [Block(bytearray(nbytes - 1))]

    def __repr__(self) -> str:
        return "Miser"


# range


@given(cut_bytes(), st.integers(0, 70), st.integers(0, 70))
def test_a_range_is_the_slice_or_an_error_with_numbers(
    drawn: tuple[bytes, BytesView], start: int, stop: int
) -> None:
    """Unlike a slice, a range never gives fewer bytes than were asked for."""
    model, view = drawn
    if start > stop:
        for call in (view.range, view.try_range):
            with pytest.raises(ValueError, match=f"start {start} is beyond stop {stop}"):
                call(start, stop)
    elif stop > len(model):
        assert view.try_range(start, stop) is None
        with pytest.raises(NotEnoughBytes) as caught:
            view.range(start, stop)
        assert (caught.value.requested, caught.value.available) == (stop, len(model))
        assert str(caught.value) == f"{stop} bytes were requested, {len(model)} are available"
    else:
        assert view.range(start, stop) == view.try_range(start, stop) == model[start:stop]


@pytest.mark.parametrize("wrong", NO_COUNTS.values(), ids=NO_COUNTS)
def test_a_range_wants_counts(wrong: object) -> None:
    """Negative offsets are ValueErrors here, unlike in a slice; no integers are TypeErrors."""
    view = BytesView(b"abc")
    for arguments in ((wrong, 2), (0, wrong)):
        for call in (view.range, view.try_range):
            with pytest.raises(ValueError if wrong == -1 else TypeError):
                call(*arguments)


# Pickling and copying


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@given(drawn=cut_bytes())
def test_a_pickled_view_comes_back_equal(protocol: int, drawn: tuple[bytes, BytesView]) -> None:
    """In band, with every protocol."""
    model, view = drawn
    back = pickle.loads(pickle.dumps(view, protocol))
    check_laws(back)
    assert type(back) is BytesView
    assert back == model
    assert hash(back) == hash(model)


@given(cut_bytes())
def test_out_of_band_pickles_share_the_memory_of_the_pieces(
    drawn: tuple[bytes, BytesView],
) -> None:
    """Protocol 5 hands over each piece as it lies, and what comes back lies there too."""
    model, view = drawn
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(view, 5, buffer_callback=buffers.append)
    for buffer, piece in pairs(buffers, view):
        assert address_of(buffer) == address_of(piece)
    back = pickle.loads(pickled, buffers=buffers)
    check_laws(back)
    assert back == model
    for piece, old in pairs(back.pieces, view):
        assert address_of(piece) == address_of(old)


def pairs(buffers: Sequence[object], view: BytesView) -> list[tuple[object, memoryview]]:
    return list(zip(buffers, view.pieces, strict=True))


def test_whole_bytes_objects_are_pickled_out_of_band_without_a_copy() -> None:
    """On every version, each as itself; what comes back may be hashed."""
    data = [b"some", b"pieces"]
    view = BytesView.from_views(map(BytesView, data))
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(view, 5, buffer_callback=buffers.append)
    assert [address_of(buffer) for buffer in buffers] == [address_of(one) for one in data]
    for handed_over in (buffers, data, list(map(memoryview, data))):
        back = pickle.loads(pickled, buffers=handed_over)
        assert [address_of(piece) for piece in back.pieces] == [address_of(one) for one in data]
        assert hash(back) == hash(view)


def test_a_pickle_trusts_no_buffer_that_may_change() -> None:
    """Out-of-band memory that somebody can write has no hash, and empty buffers make no pieces."""
    view = cut_at(b"abcdef", {2, 4})
    pickled = pickle.dumps(view, 5, buffer_callback=lambda _: None)
    memory = bytearray(b"ab")
    for changing in (memory, memoryview(memory), memoryview(memory).toreadonly()):
        back = pickle.loads(pickled, buffers=[changing, b"", b"cdef"])
        check_laws(back)
        assert back == view
        assert len(back.pieces) == 2
        with pytest.raises(TypeError, match="may change"):
            hash(back)
        assert hash(back[2:]) == hash(b"cdef")


GARBAGE = """
import gc, pickle
from trio_bytesbuf import BytesView

for view in {views}:
    buffers = []
    pickle.dumps(view, protocol=5, buffer_callback=buffers.append)
    buffers.append(buffers)
    del view, buffers
    gc.collect()
"""


@pytest.mark.parametrize(
    "views",
    [
        "BytesView(b'whole'),",
        "BytesView(b'a part')[1:3],",
        "BytesView(bytearray(b'foreign')),",
        "BytesView(b'a') + bytearray(3) + b'many'[1:],",
        "(BytesView(bytes(100))[at:] for at in range(50))",
    ],
)
def test_out_of_band_buffers_in_a_garbage_cycle_do_no_harm(views: str) -> None:
    """Before 3.13 the cyclic collector crashes on memoryviews of memoryviews; there are none."""
    done = subprocess.run(
        [sys.executable, "-c", GARBAGE.format(views=views)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def address_of(buffer: object) -> int:
    """Return where in memory a buffer begins."""
    return np.frombuffer(memoryview(buffer), dtype="u1").__array_interface__["data"][0]


def test_pickled_bytes_of_foreign_memory_are_a_copy() -> None:
    """What was pickled does not change when the memory does."""
    memory = bytearray(b"abc")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        pickled = pickle.dumps(BytesView(memory), protocol)
        memory[0] += 1
        assert pickle.loads(pickled)[0] == memory[0] - 1


def test_copies_of_a_view_are_the_view() -> None:
    """A value needs no copy of itself."""
    view = cut_at(b"abc", {1})
    assert copy.copy(view) is view
    assert copy.deepcopy([view])[0] is view


# Being a buffer


@pytest.mark.skipif(sys.version_info < (3, 12), reason="PEP 688 came with Python 3.12")
def test_a_view_of_one_piece_is_a_buffer_that_cannot_be_written() -> None:
    """C code reads it without a copy; numpy, sockets and files take it as it is."""
    data = b"one piece"
    view = BytesView(data)
    with memoryview(view) as buffer:
        assert buffer.readonly
        assert address_of(buffer) == address_of(data)
    assert np.frombuffer(view, dtype="u1").tobytes() == data
    assert bytearray(view) == data
    assert b"".join([view, view]) == data * 2
    with memoryview(BytesView()) as buffer:
        assert buffer.nbytes == 0
    with pytest.raises(BufferError, match="cannot be written"):
        view.__buffer__(1)
    with pytest.raises(TypeError):
        BytesReader(b"xyz").readinto(view)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="PEP 688 came with Python 3.12")
def test_a_view_of_several_pieces_is_no_buffer_and_says_what_to_do() -> None:
    """The error counts the pieces and names contiguous()."""
    view = cut_at(b"abc", {1, 2})
    with pytest.raises(BufferError, match=r"lies in 3 pieces; take contiguous\(\) of it"):
        memoryview(view)
    assert memoryview(view.contiguous()) == b"abc"


# Never changing, and going out of use

CALLS: dict[str, Callable[[BytesView], object]] = {
    "__add__": lambda view: view + b"x",
    "__bytes__": bytes,
    "__buffer__": lambda view: view[:1].__buffer__(0),
    "__contains__": lambda view: b"x" in view,
    "__eq__": lambda view: view == b"abcdef",
    "__format__": lambda view: f"{view:x} {view:X} {view:?}",
    "__ge__": lambda view: view >= b"abd",
    "__getitem__": lambda view: (view[0], view[1:3], view[::2]),
    "__gt__": lambda view: view > b"abd",
    "__hash__": hash,
    "__iter__": list,
    "__le__": lambda view: view <= b"abd",
    "__len__": len,
    "__lt__": lambda view: view < b"abd",
    "__ne__": lambda view: view != b"abcdef",
    "__radd__": lambda view: b"x" + view,
    "__reduce_ex__": lambda view: [view.__reduce_ex__(protocol) for protocol in range(6)],
    "__reversed__": lambda view: list(reversed(view)),
    "compact": BytesView.compact,
    "concat": lambda view: view.concat(b"x"),
    "contiguous": BytesView.contiguous,
    "copied_from_slice": BytesView.copied_from_slice,
    "count": lambda view: view.count(b"a"),
    "decode": BytesView.decode,
    "endswith": lambda view: view.endswith((b"x", b"f")),
    "extend_lifetime": BytesView.extend_lifetime,
    "find": lambda view: view.find(b"de"),
    "first_piece": lambda view: view.first_piece,
    "first_piece_meta": lambda view: view.first_piece_meta,
    "from_views": lambda view: BytesView.from_views([view, view]),
    "hex": BytesView.hex,
    "index": lambda view: view.index(b"de"),
    "is_unique": BytesView.is_unique,
    "lstrip": lambda view: view.lstrip(b"ab"),
    "metas": lambda view: view.metas,
    "block_refs": lambda view: view.block_refs,
    "partition": lambda view: view.partition(b"de"),
    "pieces": lambda view: view.pieces,
    "range": lambda view: view.range(0, 2),
    "retained_nbytes": lambda view: view.retained_nbytes,
    "removeprefix": lambda view: view.removeprefix(b"ab"),
    "removesuffix": lambda view: view.removesuffix(b"ef"),
    "rfind": lambda view: view.rfind(b"de"),
    "rindex": lambda view: view.rindex(b"de"),
    "rpartition": lambda view: view.rpartition(b"de"),
    "rsplit": lambda view: view.rsplit(b"c"),
    "rstrip": lambda view: view.rstrip(b"ef"),
    "slice_ref": lambda view: view.slice_ref(b""),
    "split": lambda view: view.split(b"c"),
    "split_at": lambda view: view.split_at(2),
    "splitlines": BytesView.splitlines,
    "startswith": lambda view: view.startswith((b"x", b"a")),
    "strip": lambda view: view.strip(b"abef"),
    "to_bytes": BytesView.to_bytes,
    "try_range": lambda view: view.try_range(0, 2),
}
"""Every method and property that needs the bytes, with a call of it."""

NEEDS_NO_BYTES = {
    "release", "__enter__", "__exit__", "__repr__", "__rich__", "__copy__", "__deepcopy__",
}  # fmt: skip


def test_the_list_of_calls_is_complete() -> None:
    """Every public attribute, and every special method that is ours, is in one of the two lists."""
    layers = BytesView.__mro__[:-1]  # `object` is not ours
    assert all(layer.__module__.startswith("trio_bytesbuf.seq.") for layer in layers)
    ours = {
        name
        for layer in layers
        for name, value in vars(layer).items()
        if not name.startswith("_") or (name.startswith("__") and callable(value))
    }
    of_the_class = {"__init__", "__getattr__"}
    by_attrs = {name for name in ours if name.startswith("__attrs")}
    by_attrs |= {"__getstate__", "__setstate__", "__replace__"}
    assert not ours - of_the_class - by_attrs - set(CALLS) - NEEDS_NO_BYTES
    public = {name for name in dir(BytesView) if not name.startswith("_")}
    assert public <= set(CALLS) | NEEDS_NO_BYTES


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("cuts", [set(), {2, 4}], ids=["one piece", "three pieces"])
def test_no_method_changes_a_view(cuts: set[int], call: Callable[[BytesView], object]) -> None:
    """After any call the view has the same bytes in the same pieces."""
    view = cut_at(b"abcdef", cuts)
    before = (view._pieces, [id(piece) for piece in view._pieces], view._nbytes, view._refs)
    call(view)
    after = (view._pieces, [id(piece) for piece in view._pieces], view._nbytes, view._refs)
    assert after == before
    assert view == b"abcdef"
    check_laws(view)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_released_view_refuses_everything(call: Callable[[BytesView], object]) -> None:
    """Every method that needs the bytes raises Released, which says what was released."""
    view = cut_at(b"abcdef", {2})
    view.release()
    with pytest.raises(Released, match=r"^this BytesView was released$"):
        call(view)


def test_releasing_twice_is_harmless_and_shows() -> None:
    """And the repr, which is for debugging, never raises."""
    with BytesView(b"abc") as view:
        assert view == b"abc"
    view.release()
    assert repr(view) == "<BytesView, released>"


def test_a_with_block_releases_also_when_it_fails() -> None:
    """The view is out of use, the error is passed on."""
    view = BytesView(b"abc")
    with pytest.raises(ZeroDivisionError), view:
        raise ZeroDivisionError
    with pytest.raises(Released):
        len(view)


def test_releasing_changes_no_law_of_equality_and_hash() -> None:
    """A view in a dictionary is found when its twin is released, which is equal to nothing."""
    view, twin = cut_at(b"abcdef", {3}), cut_at(b"abcdef", {1})
    found = {view: "found"}
    twin_hash = hash(twin)
    twin.release()
    assert found[b"abcdef"] == "found"
    assert hash(view) == twin_hash
    for compare in (lambda: view == twin, lambda: twin == view, lambda: twin < view):
        with pytest.raises(Released):
            compare()
    for compare in (
        lambda: twin == b"abcdef",
        lambda: bytearray(b"abcdef") == twin,
        lambda: hash(twin),
    ):
        with pytest.raises(Released):
            compare()


def test_what_was_cut_from_a_released_view_goes_on_working() -> None:
    """Releasing drops what this value refers to, and nothing under anybody else."""
    view = cut_at(b"abcdef", {3})
    part, piece, reader, joined = view[1:5], view.first_piece, BytesReader(view), view + b"g"
    reader.advance(1)
    view.release()
    assert part == b"bcde"
    assert piece == b"abc"
    assert (reader.take(3), reader.get_u8(), reader.read()) == (b"bcd", ord("e"), b"f")
    assert joined == b"abcdefg"


def test_releasing_gives_a_block_back_to_the_pool() -> None:
    """The pool counts the block as lent until the only view of it is released."""
    pool = GlobalPool()
    view = BytesView.copied_from_slice(bytes(65536), pool)
    assert pool.statistics().lent_nbytes == 65536
    view.release()
    assert pool.statistics().lent_nbytes == 0


def test_a_view_refuses_new_attributes() -> None:
    """A typo is an AttributeError, for reading and for writing."""
    view = BytesView(b"abc")
    with pytest.raises(AttributeError, match="no attribute 'lenght'"):
        view.lenght  # noqa: B018  # the look-up is what is tested
    with pytest.raises(AttributeError):
        view.lenght = 3


def test_a_view_is_a_value_and_no_record_of_its_slots() -> None:
    """What takes attrs classes apart leaves it whole: `attrs.asdict`, and whoever looks like it."""

    @attrs.define
    class Message:
        body: BytesView

    view = BytesView(b"abc")
    assert not attrs.has(BytesView)
    assert not any("__attrs_attrs__" in vars(layer) for layer in BytesView.__mro__)
    assert attrs.asdict(Message(view)) == {"body": view}
    assert attrs.astuple(Message(view)) == (view,)


def test_the_pieces_of_a_view_work_with_files(tmp_path: Path) -> None:
    """What takes an iterable of buffers takes the pieces as they are."""
    view = cut_at(b"some bytes", {4})
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.writelines(view.pieces)
    assert path.read_bytes() == view
