"""`BytesReader`: takes exactly what is asked for, and is a binary file like `io.BytesIO`."""

from __future__ import annotations

import array
import csv
import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import BYTES, NO_BUFFERS, NO_COUNTS, POOR_BYTES, cut_at, cut_bytes, words

from trio_bytesbuf import BytesBuf, BytesReader, BytesView, NotEnoughBytes, Released
from trio_bytesbuf.mem import Block
from trio_bytesbuf.testing import FixedBlockMemory, check_laws


def snapshot(reader: BytesReader) -> tuple[int, int, bytes]:
    """Return where the reader is and what it would read."""
    check_laws(reader)
    return reader.tell(), len(reader), bytes(reader.peek_view(len(reader)))


# Taking


@given(
    cut_bytes(),
    st.lists(st.tuples(st.sampled_from(["take", "peek_view", "advance"]), st.integers(0, 20))),
)
def test_taking_goes_through_the_bytes_from_front_to_back(
    drawn: tuple[bytes, BytesView], steps: list[tuple[str, int]]
) -> None:
    """take, peek_view, advance and their quiet twins against an offset into the bytes."""
    model, view = drawn
    loud, quiet = BytesReader(view), BytesReader(view)
    at = 0
    for name, nbytes in steps:
        here, left = snapshot(loud), len(model) - at
        if nbytes > left:
            with pytest.raises(NotEnoughBytes) as caught:
                getattr(loud, name)(nbytes)
            assert (caught.value.requested, caught.value.available) == (nbytes, left)
            assert not getattr(quiet, f"try_{name}")(nbytes)
            assert snapshot(loud) == snapshot(quiet) == here
            continue
        taken = model[at : at + nbytes]
        expected = (None, True) if name == "advance" else (taken, taken)
        assert (getattr(loud, name)(nbytes), getattr(quiet, f"try_{name}")(nbytes)) == expected
        at += nbytes if name != "peek_view" else 0
        assert snapshot(loud) == snapshot(quiet) == (at, len(model) - at, model[at:])
    assert loud.take_rest() == model[at:]
    assert not loud
    assert view == model


def test_the_quiet_twins_say_no_without_raising() -> None:
    """None where bytes were wanted, False where only a move was."""
    reader = BytesReader(b"ab")
    assert reader.try_take(3) is None
    assert reader.try_peek_view(3) is None
    assert reader.try_advance(3) is False
    assert reader.try_take(0) == b""


@pytest.mark.parametrize("wrong", NO_COUNTS.values(), ids=NO_COUNTS)
@pytest.mark.parametrize(
    "name", ["take", "peek_view", "advance", "try_take", "try_peek_view", "try_advance"]
)
def test_what_is_no_count_is_refused(name: str, wrong: object) -> None:
    """Negative counts are ValueErrors with the number, others TypeErrors; nothing has moved."""
    reader = BytesReader(cut_at(b"abc", {1}))
    reader.advance(1)
    here = snapshot(reader)
    match = "nbytes must be at least 0, not -1" if wrong == -1 else None
    with pytest.raises(ValueError if wrong == -1 else TypeError, match=match):
        getattr(reader, name)(wrong)
    assert snapshot(reader) == here


@given(cut_bytes())
def test_taking_copies_nothing(drawn: tuple[bytes, BytesView]) -> None:
    """What is taken lies in the memory of the view."""
    _, view = drawn
    reader = BytesReader(view)
    taken = [reader.take(min(3, len(reader))) for _ in range(3)] + [reader.take_rest()]
    assert BytesView.from_views(taken) == view
    exporters = {id(piece.obj) for piece in view.pieces}
    assert {id(piece.obj) for part in taken for piece in part.pieces} <= exporters


@pytest.mark.parametrize("wrong", NO_BUFFERS.values(), ids=NO_BUFFERS)
def test_a_reader_wants_a_view_or_a_buffer(wrong: object) -> None:
    """Everything else is a TypeError; a released view says that it was released."""
    with pytest.raises(TypeError):
        BytesReader(wrong)
    view = BytesView(b"abc")
    view.release()
    with pytest.raises(Released, match="this BytesView was released"):
        BytesReader(view)


@given(cut_bytes())
def test_slices_come_piece_by_piece(drawn: tuple[bytes, BytesView]) -> None:
    """Chunk is what is left of the current piece; consume_all_slices visits all of them."""
    model, view = drawn
    reader = BytesReader(view)
    seen = []
    while reader:
        piece = reader.chunk()
        assert piece.readonly
        assert piece.nbytes
        seen.append(bytes(piece))
        reader.advance(piece.nbytes)
    assert reader.chunk().nbytes == 0
    assert seen == list(map(bytes, view.pieces))
    visited: list[bytes] = []
    again = BytesReader(view)
    if model:
        again.advance(1)
    again.consume_all_slices(lambda piece: visited.append(bytes(piece)))
    assert b"".join(visited) == model[1:]
    assert all(visited)
    assert not again


def test_a_visit_that_fails_leaves_the_reader_behind_what_was_visited() -> None:
    """The piece at which it failed can be visited again."""
    reader = BytesReader(cut_at(b"abcdef", {2, 4}))
    visited = []

    def visit(piece: memoryview) -> None:
        if piece == b"cd":
            raise ZeroDivisionError
        visited.append(bytes(piece))

    with pytest.raises(ZeroDivisionError):
        reader.consume_all_slices(visit)
    assert visited == [b"ab"]
    assert snapshot(reader) == (2, 4, b"cdef")


def test_a_visitor_may_release_what_it_was_shown() -> None:
    """The memoryview is the visitor's own."""
    reader = BytesReader(cut_at(b"abcdef", {2}))
    reader.consume_all_slices(memoryview.release)
    assert reader.seek(0) == 0
    assert reader.read() == b"abcdef"


def test_metas_follow_the_reader() -> None:
    """chunk_meta is that of the current piece; taken views keep theirs."""
    buf = BytesBuf.from_blocks([Block(bytearray(2), meta="one"), Block(bytearray(2), meta="two")])
    buf.put_slice(b"abcd")
    reader = BytesReader(buf.consume_all() + b"ef")
    assert reader.chunk_meta() == "one"
    assert reader.take(1).metas == ("one",)
    assert reader.peek_view(2).metas == ("one", "two")
    reader.advance(2)
    assert reader.chunk_meta() == "two"
    assert reader.take(2).metas == ("two", None)
    assert reader.chunk_meta() is None
    reader.advance(1)
    assert reader.chunk_meta() is None


@given(cut_bytes(), st.integers(0, 70))
def test_copy_to_slice_fills_the_target_or_does_nothing(
    drawn: tuple[bytes, BytesView], nbytes: int
) -> None:
    """All of the target, or NotEnoughBytes with both numbers and an untouched target."""
    model, view = drawn
    reader = BytesReader(view)
    target = bytearray(b"\xee" * nbytes)
    if nbytes > len(model):
        with pytest.raises(NotEnoughBytes) as caught:
            reader.copy_to_slice(target)
        assert (caught.value.requested, caught.value.available) == (nbytes, len(model))
        assert target == b"\xee" * nbytes
        assert reader.tell() == 0
    else:
        reader.copy_to_slice(target)
        assert target == model[:nbytes]
        assert snapshot(reader) == (nbytes, len(model) - nbytes, model[nbytes:])


@pytest.mark.parametrize("name", ["copy_to_slice", "readinto", "readinto1"])
@pytest.mark.parametrize(
    "target",
    [
        b"bytes",
        memoryview(bytearray(4)).toreadonly(),
        memoryview(bytearray(8))[::2],
        "text",
        4,
        None,
    ],
    ids=["bytes", "read-only", "gaps", "text", "int", "nothing"],
)
def test_a_target_that_cannot_be_written_is_refused(name: str, target: object) -> None:
    """A TypeError, and nothing was read."""
    reader = BytesReader(cut_at(b"abcdef", {2}))
    with pytest.raises(TypeError):
        getattr(reader, name)(target)
    assert reader.tell() == 0


@pytest.mark.parametrize("name", ["copy_to_slice", "readinto"])
def test_targets_count_in_bytes(name: str) -> None:
    """An array of two four-byte items takes eight bytes; an empty one none."""
    data = words().tobytes()
    for cuts in (set(), {3, 5}):
        reader = BytesReader(cut_at(data + b"more", cuts))
        target = array.array("I", [0, 0])
        getattr(reader, name)(target)
        assert target == words()
        assert reader.tell() == 8
        getattr(reader, name)(array.array("I"))
        assert reader.tell() == 8


def test_a_repr_says_where_the_reader_is() -> None:
    """Both numbers; and it does not raise when the reader is closed."""
    reader = BytesReader(b"abcdef")
    reader.advance(2)
    assert repr(reader) == "<BytesReader at 2 of 6 bytes>"
    reader.close()
    assert "BytesReader" in repr(reader)


# Being a file

STEPS = st.one_of(
    st.tuples(st.sampled_from(["read", "readline"]), st.none() | st.integers(-2, 30)),
    st.tuples(st.just("readlines"), st.none() | st.integers(-2, 0)),
    st.tuples(st.sampled_from(["read1", "readinto", "readinto1"]), st.integers(0, 30)),
    st.tuples(st.just("seek"), st.tuples(st.integers(-40, 90), st.integers(0, 3))),
    st.tuples(st.sampled_from(["tell", "next"]), st.none()),
)


def step(file: io.BufferedIOBase, name: str, argument: object) -> object:
    """Do one thing with a file; return what came, or the type of the error."""
    try:
        if name in {"readinto", "readinto1"}:
            target = bytearray(argument)
            nbytes = getattr(file, name)(target)
            assert not any(target[nbytes:])
            return bytes(target[:nbytes])
        if name == "seek":
            return file.seek(*argument)
        if name == "tell":
            return file.tell()
        if name == "next":
            return next(file, b"")
        return getattr(file, name)(argument)
    except ValueError as exc:
        return type(exc)


@given(cut_bytes(st.one_of(POOR_BYTES, BYTES)), st.lists(STEPS, max_size=12))
def test_a_reader_is_the_same_file_as_bytes_io(
    drawn: tuple[bytes, BytesView], steps: list[tuple[str, object]]
) -> None:
    """The same answers to every script of calls.

    The differences: read1 and readinto1 may stop where a piece ends, and seek goes no further
    than the end, and refuses every place before the front, where BytesIO refuses some.
    """
    model, view = drawn
    file, reader = io.BytesIO(model), BytesReader(view)
    for name, argument in steps:
        place = file.tell()
        expected, found = step(file, name, argument), step(reader, name, argument)
        check_laws(reader)
        if name in {"read1", "readinto1"}:
            assert expected.startswith(found)
            assert bool(found) == bool(expected)
            file.seek(place + len(found))
        elif name == "seek" and argument[1] < 3:
            offset, whence = argument
            target = (0, place, len(model))[whence] + offset
            assert found == (ValueError if target < 0 else min(target, len(model)))
            file.seek(place if target < 0 else found)
        else:
            assert found == expected, (name, argument)
        assert reader.tell() == file.tell()
    assert reader.read() == file.read()


@given(cut_bytes(POOR_BYTES), st.integers(1, 50))
def test_a_hint_to_readlines_stops_it_as_in_a_buffered_file(
    drawn: tuple[bytes, BytesView], hint: int
) -> None:
    """Whole lines, until they are over the hint; BytesIO alone stops when they reach it."""
    model, view = drawn
    file, reader = io.BufferedReader(io.BytesIO(model)), BytesReader(view)
    assert reader.readlines(hint) == file.readlines(hint)
    assert reader.tell() == file.tell()


def test_a_negative_count_reads_everything_that_is_left() -> None:
    """As with every file; read1 stays within one piece."""
    for count in (-1, -5):
        assert BytesReader(cut_at(b"abcd", {2})).read(count) == b"abcd"
        assert BytesReader(cut_at(b"abcd", {2})).read1(count) == b"ab"
        assert BytesReader(cut_at(b"ab\ncd", {2})).readline(count) == b"ab\n"
    assert BytesReader(b"abcd").read(None) == b"abcd"


@pytest.mark.parametrize("name", ["read", "read1", "readline", "seek"])
@pytest.mark.parametrize("wrong", [1.0, "1"], ids=repr)
def test_sizes_and_places_are_integers(name: str, wrong: object) -> None:
    """Anything else is a TypeError, and the reader has not moved."""
    reader = BytesReader(b"abc\n")
    reader.advance(1)
    with pytest.raises(TypeError):
        getattr(reader, name)(wrong)
    assert reader.tell() == 1


def test_senseless_seeks_say_what_is_wrong_with_them() -> None:
    """Both errors carry the number, and the reader has not moved."""
    reader = BytesReader(b"abc")
    reader.advance(1)
    with pytest.raises(ValueError, match="cannot seek to -1, before the front"):
        reader.seek(-2, os.SEEK_CUR)
    with pytest.raises(ValueError, match="whence must be 0, 1 or 2, not 3"):
        reader.seek(0, 3)
    assert reader.tell() == 1


def test_a_reader_says_what_kind_of_file_it_is() -> None:
    """Readable, seekable, not writable, with no descriptor."""
    reader = BytesReader(b"abc")
    assert reader.readable()
    assert reader.seekable()
    assert not reader.writable()
    assert not reader.isatty()
    with pytest.raises(io.UnsupportedOperation):
        reader.fileno()
    with pytest.raises(io.UnsupportedOperation):
        reader.write(b"x")


AFTER_CLOSING: dict[str, Callable[[BytesReader], object]] = {
    "len": len,
    "bool": bool,
    "take": lambda reader: reader.take(0),
    "try_take": lambda reader: reader.try_take(1),
    "take_rest": lambda reader: reader.take_rest(),
    "peek_view": lambda reader: reader.peek_view(1),
    "try_peek_view": lambda reader: reader.try_peek_view(1),
    "advance": lambda reader: reader.advance(0),
    "try_advance": lambda reader: reader.try_advance(1),
    "chunk": lambda reader: reader.chunk(),
    "chunk_meta": lambda reader: reader.chunk_meta(),
    "consume_all_slices": lambda reader: reader.consume_all_slices(print),
    "copy_to_slice": lambda reader: reader.copy_to_slice(bytearray(1)),
    "get_u8": lambda reader: reader.get_u8(),
    "try_get_u8": lambda reader: reader.try_get_u8(),
    "get_u128_be": lambda reader: reader.get_u128_be(),
    "read": lambda reader: reader.read(),
    "read1": lambda reader: reader.read1(),
    "readinto": lambda reader: reader.readinto(bytearray(1)),
    "readinto1": lambda reader: reader.readinto1(bytearray(1)),
    "readline": lambda reader: reader.readline(),
    "readlines": lambda reader: reader.readlines(),
    "iter": iter,
    "seek": lambda reader: reader.seek(0),
    "tell": lambda reader: reader.tell(),
}


@pytest.mark.parametrize("call", AFTER_CLOSING.values(), ids=AFTER_CLOSING)
def test_a_closed_reader_refuses_everything(call: Callable[[BytesReader], object]) -> None:
    """As with any closed file: a ValueError that speaks of closing. Closing twice is harmless."""
    view = BytesView(b"abc")
    with BytesReader(view) as reader:
        assert reader.get_u8() == ord("a")
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        call(reader)
    assert view == b"abc"


def test_a_closed_reader_holds_no_memory() -> None:
    """The bytearray under it can be resized again."""
    memory = bytearray(b"abc")
    reader = BytesReader(memory)
    reader.close()
    memory.append(0)
    assert memory == b"abc\0"


# The standard library reads it

TEXT = "name,price\nKäse,3\n\n'Brot',4"


def every_cut(data: bytes) -> list[BytesReader]:
    """Return readers over `data`: whole, in single bytes, and in pieces of seven."""
    return [BytesReader(cut_at(data, range(0, len(data), size))) for size in (1, 7, len(data) or 1)]


def test_text_io_wrapper_reads_it() -> None:
    """Characters and line ends that lie in two pieces come out whole."""
    for reader in every_cut(TEXT.replace("\n", "\r\n").encode()):
        with io.TextIOWrapper(reader, encoding="utf-8") as text:
            assert text.read(3) == TEXT[:3]
            assert text.read() == TEXT[3:]
            text.seek(0)
            assert text.readlines() == TEXT.splitlines(keepends=True)
        assert reader.closed


def test_csv_reads_it() -> None:
    """Row by row."""
    for reader in every_cut(TEXT.encode()):
        rows = list(csv.reader(io.TextIOWrapper(reader, encoding="utf-8")))
        assert rows == [["name", "price"], ["Käse", "3"], [], ["'Brot'", "4"]]


def test_gzip_reads_it() -> None:
    """Also two members one after the other, and seeking within what is unpacked."""
    packed = gzip.compress(b"first " * 100) + gzip.compress(b"second")
    for reader in every_cut(packed):
        with gzip.GzipFile(fileobj=reader) as file:
            assert file.read(5) == b"first"
            assert file.read() == b" " + b"first " * 99 + b"second"
            assert file.seek(6) == 6
            assert file.read(5) == b"first"


def test_zipfile_and_tarfile_read_it() -> None:
    """Archives that are read from their end, or with seeks."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one.txt", "1" * 1000)
        archive.writestr("two.txt", "2")
    for reader in every_cut(packed.getvalue()):
        with zipfile.ZipFile(reader) as archive:
            assert archive.testzip() is None
            assert archive.read("two.txt") == b"2"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo("one.txt")
        info.size = 600
        archive.addfile(info, io.BytesIO(b"1" * 600))
    for reader in every_cut(packed.getvalue())[1:]:
        with tarfile.open(fileobj=reader) as archive:
            assert archive.extractfile("one.txt").read() == b"1" * 600


def test_buffered_reader_reads_it() -> None:
    """A reader may also stand under another buffer."""
    for reader in every_cut(TEXT.encode()):
        buffered = io.BufferedReader(reader, 5)
        assert buffered.readline() == b"name,price\n"
        assert buffered.read() == TEXT.encode()[11:]


def test_a_view_that_is_released_leaves_its_readers_alone() -> None:
    """The reader holds a view of its own."""
    buf = FixedBlockMemory(2).reserve(6)
    buf.put_slice(b"abcdef")
    with buf.consume_all() as view:
        reader = BytesReader(view)
    assert reader.take(3) == b"abc"
    assert reader.readline() == b"def"


@given(cut_bytes(), st.integers(0, 60), st.integers(-1, 60))
def test_a_files_peek_moves_nothing_and_is_empty_only_at_the_end(
    cut: tuple[bytes, BytesView], at: int, size: int
) -> None:
    """`peek` gives a beginning of what is left, at least one byte if there is one."""
    data, view = cut
    reader = BytesReader(view)
    reader.seek(at)
    left = data[reader.tell() :]
    shown = reader.peek(size)
    assert left.startswith(shown)
    assert bool(shown) == bool(left)
    assert (reader.tell(), len(reader)) == (len(data) - len(left), len(left))


def test_no_chunk_is_empty_behind_a_number_that_ended_its_piece() -> None:
    """A place at the end of a piece is the front of the next for all who ask."""
    for read in (
        BytesReader.get_u16_be,
        lambda reader: reader.unpack(">BB"),
        lambda reader: (reader.get_uleb128(), reader.get_uleb128()),
    ):
        reader = BytesReader(BytesView(b"\1\2") + b"rest")
        read(reader)
        assert reader.chunks_vectored(1) == (b"rest",)
