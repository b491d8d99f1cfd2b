"""What is made of bufs: chains, limits, deques and files; and any of them as a standard file."""

from __future__ import annotations

import array
import csv
import gzip
import io
import itertools
import json
import os
import pickle
import shutil
import tarfile
import zipfile
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import BYTES, NO_COUNTS, POOR_BYTES, cut_at, cut_bytes

from trio_bytesbuf import (
    BufferFull,
    BytesBuf,
    BytesReader,
    BytesView,
    MemoryInUse,
    NotEnoughBytes,
    UnexpectedEof,
)
from trio_bytesbuf.seq import (
    Buf,
    BytearrayMut,
    Chain,
    ChainMut,
    ChunksBuf,
    FileBuf,
    Limited,
    LimitedMut,
    Reader,
    SliceMut,
    Writer,
    as_buf,
    as_buf_mut,
)
from trio_bytesbuf.testing import FixedBlockMemory

TEXT = b"".join(b"line %d of some text\n" % number for number in range(300))


class Little(Buf):
    """A user's: three methods, and two bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def remaining(self) -> int:
        return len(self.data)

    def chunk(self) -> memoryview:
        return memoryview(self.data)[:2]

    def advance(self, nbytes: int) -> None:
        self.data = self.data[self._wanted(nbytes) :]


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> tuple[bytes, Buf]:
    """Draw bytes, and chains and limits of all kinds of bufs over them."""
    how = draw(st.sampled_from(["leaf", "chain", "limit"] if depth else ["leaf"]))
    if how == "chain":
        near, first = draw(trees(depth - 1))
        far, last = draw(trees(depth - 1))
        return near + far, Chain(first, last)
    if how == "limit":
        data, inner = draw(trees(depth - 1))
        limit = draw(st.integers(0, 70))
        return data[:limit], Limited(inner, limit)
    data, view = draw(cut_bytes())
    make: Callable[[], Buf] = draw(
        st.sampled_from(
            [
                lambda: BytesReader(view),
                lambda: ChunksBuf(deque([b"", *view.pieces, b""])),
                lambda: FileBuf(io.BytesIO(data)),
                lambda: Little(data),
            ]
        )
    )
    return data, make()


# Chains and limits


@given(trees(), st.lists(st.integers(0, 9)), st.integers(0, 9))
def test_chunks_are_always_a_prefix_of_what_is_left(
    drawn: tuple[bytes, Buf], steps: list[int], max_chunks: int
) -> None:
    """However bufs are joined, no byte that is not shown is skipped: tokio-rs/bytes#701."""
    data, buf = drawn
    at = 0
    for step in [0, *steps]:
        step = min(step, len(data) - at)
        buf.advance(step)
        at += step
        for count in (None, max_chunks):
            chunks = buf.chunks_vectored(count)
            shown = b"".join(chunks)
            assert all(chunks)
            assert shown == data[at : at + len(shown)]
            assert bool(chunks) is (at < len(data) and count != 0)
        assert buf.chunk() == data[at : at + buf.chunk().nbytes]
    assert buf.take_rest() == data[at:]


def test_what_is_behind_chunks_that_are_not_shown_is_not_shown() -> None:
    """The example of the property above, as Rust's chain has it wrong."""
    chain = Chain(Little(b"abcd"), b"efgh")
    assert b"".join(chain.chunks_vectored()) == b"ab"
    assert b"".join(Chain(cut_at(b"abcd", {2}), b"efgh").chunks_vectored(2)) == b"abcd"
    assert b"".join(Chain(cut_at(b"abcd", {2}), b"efgh").chunks_vectored(3)) == b"abcdefgh"


def test_a_chain_shows_what_it_is_made_of() -> None:
    """What is first and last is the bufs themselves; into_inner gives both, as far as read."""
    first, last = BytesReader(b"abc"), ChunksBuf(deque([b"de", b"f"]))
    chain = Chain(first, last)
    assert (chain.first, chain.last) == (first, last)
    assert chain.take(4) == b"abcd"
    assert chain.into_inner() == (first, last)
    assert (first.remaining(), last.take_rest()) == (0, b"ef")
    assert isinstance(Chain(b"a", io.BytesIO(b"b")).last, FileBuf)


def test_a_chain_takes_from_bufs_that_show_little() -> None:
    """Three methods are enough to be taken from; what cannot be peeked at says so."""
    chain = Chain(Little(b"abcd"), Little(b"efgh"))
    with pytest.raises(
        NotImplementedError, match="Little shows 2 bytes of 4, too few to peek at 3"
    ):
        chain.peek_view(3)
    assert chain.take(3) == b"abc"
    assert chain.unpack("3s") == (b"def",)
    assert chain.take_rest() == b"gh"


def test_a_chain_that_is_not_long_enough_has_moved_neither() -> None:
    """Both are asked first."""
    chain = Chain(b"abc", b"def")
    for call in (chain.take, chain.advance, chain.peek_view):
        with pytest.raises(NotEnoughBytes, match="7 bytes were requested, 6 are available"):
            call(7)
    assert [buf.remaining() for buf in chain.into_inner()] == [3, 3]


@given(trees(), st.lists(st.tuples(st.integers(0, 70), st.integers(0, 9))))
def test_a_limit_can_be_raised_and_lowered(
    drawn: tuple[bytes, Buf], steps: list[tuple[int, int]]
) -> None:
    """The model is a slice; what is read through it moves the inner one, and the limit with it."""
    data, inner = drawn
    limited = Limited(inner, 5)
    at, limit = 0, 5
    for new_limit, nbytes in steps:
        left = data[at:][:limit]
        assert (limited.limit, limited.remaining()) == (limit, len(left))
        if nbytes > len(left):
            with pytest.raises(NotEnoughBytes) as caught:
                limited.take(nbytes)
            assert (caught.value.requested, caught.value.available) == (nbytes, len(left))
        else:
            assert limited.take(nbytes) == left[:nbytes]
            at += nbytes
            limit -= nbytes
        assert limited.limit == limit
        limit = new_limit
        limited.set_limit(new_limit)
    assert limited.inner is limited.into_inner() is inner
    assert inner.take_rest() == data[at:]


def test_what_the_inner_one_moves_by_itself_does_not_count() -> None:
    """The limit is of what is read through it."""
    inner = BytesReader(b"abcdef")
    limited = Limited(inner, 4)
    inner.advance(3)
    assert (limited.limit, limited.remaining()) == (4, 3)
    assert limited.take_rest() == b"def"
    assert limited.limit == 1


@pytest.mark.parametrize("wrong", NO_COUNTS.values(), ids=NO_COUNTS)
def test_what_is_no_limit_is_refused(wrong: object) -> None:
    """When it is made, and when it is set; the limit stays what it was."""
    kind = ValueError if wrong == -1 else TypeError
    for make in (
        lambda limit: Limited(b"abc", limit),
        lambda limit: LimitedMut(bytearray(), limit),
    ):
        with pytest.raises(kind):
            make(wrong)
        limited = make(2)
        with pytest.raises(kind):
            limited.set_limit(wrong)
        assert limited.limit == 2


# Room behind room, and less of it


def test_a_chain_of_room_shows_what_it_is_made_of() -> None:
    """The first is filled, then the last; both are at hand."""
    first, last = SliceMut(bytearray(3)), BytearrayMut(bytearray(b"-"))
    chain = ChainMut(first, last)
    chain.put_slice(b"abcdef")
    assert (chain.first, chain.last) == (first, last) == chain.into_inner()
    assert (bytes(first.filled), last.inner) == (b"abc", b"-def")


def test_a_chain_of_rooms_is_full_when_both_are() -> None:
    """The numbers are of both, and nothing was put into either."""
    chain = ChainMut(memoryview(bytearray(3)), memoryview(bytearray(4)))
    with pytest.raises(BufferFull, match="8 bytes do not fit, there is room for 7"):
        chain.put_slice(b"12345678")
    assert [target.remaining_mut() for target in chain.into_inner()] == [3, 4]


@given(st.lists(st.tuples(st.integers(0, 30), BYTES), max_size=8))
def test_a_limit_of_room_can_be_raised_and_lowered(steps: list[tuple[int, bytes]]) -> None:
    """What is put is put into the inner one, and less may be put from then on."""
    inner = BytesBuf()
    inner.reserve(1000, FixedBlockMemory(7))
    limited = LimitedMut(inner, 0)
    put = b""
    for limit, data in steps:
        limited.set_limit(limit)
        if len(data) > limit:
            with pytest.raises(BufferFull) as caught:
                limited.put_slice(data)
            assert (caught.value.requested, caught.value.available) == (len(data), limit)
            continue
        limited.put_slice(data)
        put += data
        assert limited.limit == limited.remaining_mut() == limit - len(data)
    assert limited.inner is limited.into_inner() is inner
    assert inner.peek() == put


def test_a_limit_lends_no_more_than_may_be_filled() -> None:
    """What is lent is cut at the limit; what is filled is counted on both sides."""
    inner = SliceMut(bytearray(9))
    limited = LimitedMut(inner, 4)
    assert limited.chunk_mut().nbytes == 4
    limited.advance_mut(3)
    assert (limited.limit, inner.remaining_mut()) == (1, 6)
    with pytest.raises(BufferFull, match="2 bytes do not fit, there is room for 1"):
        limited.advance_mut(2)


# Deques


@given(st.lists(st.one_of(st.integers(0, 9), BYTES), max_size=30))
def test_a_deque_may_grow_while_it_is_read(steps: list[int | bytes]) -> None:
    """What is appended is counted when it is asked for; what is read leaves the deque."""
    chunks: deque[bytes] = deque()
    buf = ChunksBuf(chunks)
    left = b""
    for step in steps:
        if isinstance(step, bytes):
            chunks.append(step)
            left += step
        elif step > len(left):
            with pytest.raises(NotEnoughBytes) as caught:
                buf.take(step)
            assert caught.value.available == len(left)
        else:
            assert buf.take(step) == left[:step]
            left = left[step:]
        assert sum(map(len, chunks)) >= len(left)
        assert len(buf) == len(left)
    inner = buf.into_inner()
    assert inner is chunks
    assert b"".join(map(bytes, inner)) == left
    assert (buf.remaining(), buf.chunk().nbytes, buf.chunks_vectored()) == (0, 0, ())


def test_a_chunk_leaves_its_deque_when_it_is_read() -> None:
    """Neither before nor later, and the empty ones behind it go with it."""
    chunks = deque([b"", b"ab", b"", b"cd"])
    buf = ChunksBuf(chunks)
    assert list(chunks) == [b"ab", b"", b"cd"]
    buf.advance(1)
    assert list(chunks) == [b"ab", b"", b"cd"]
    buf.advance(1)
    assert list(chunks) == [b"cd"]
    buf.advance(1)
    assert buf.into_inner() == deque([b"d"])


@pytest.mark.parametrize("wrong", ["text", 5, None, [1], memoryview(b"abcd")[::2]])
def test_what_is_no_chunk_is_found_when_it_is_counted(wrong: object) -> None:
    """At once, or after it was appended."""
    with pytest.raises(TypeError):
        ChunksBuf(deque([b"ab", wrong]))
    chunks: deque[object] = deque([b"ab"])
    buf = ChunksBuf(chunks)
    chunks.append(wrong)
    with pytest.raises(TypeError):
        buf.remaining()
    chunks.pop()
    assert buf.take_rest() == b"ab"
    with pytest.raises(TypeError, match="a deque is wanted, not list"):
        ChunksBuf([b"ab"])


# Files


def test_a_file_comes_back_where_reading_has_got_to(tmp_path: Path) -> None:
    """Whatever was read ahead; and reading begins where the file stands."""
    path = tmp_path / "file"
    path.write_bytes(TEXT)
    with path.open("rb") as file:
        file.seek(5)
        buf = as_buf(file)
        assert isinstance(buf, FileBuf)
        assert len(buf) == len(TEXT) - 5
        assert buf.take(3) == TEXT[5:8]
        assert buf.peek_view(100) == TEXT[8:108]
        assert buf.into_inner() is file
        assert file.tell() == 8
        assert not buf.remaining()
        buf = FileBuf(file)
        buf.advance(1000)
        assert buf.into_inner().tell() == 1008
        assert file.read(7) == TEXT[1008:1015]
    with path.open("rb", buffering=0) as raw:
        assert as_buf(raw).take_rest() == TEXT


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 40))
def test_a_file_that_shrank_says_what_is_missing(keep: int, at: int, nbytes: int) -> None:
    """UnexpectedEof with both numbers; what is still there can be read."""
    file = io.BytesIO(bytes(range(40)))
    buf = FileBuf(file)
    buf.advance(at)
    file.truncate(keep)
    there = max(0, keep - at)
    wanted = min(nbytes, 40 - at)
    if wanted <= there:
        assert buf.take(wanted) == bytes(range(at, at + wanted))
        return
    with pytest.raises(UnexpectedEof) as caught:
        buf.take(wanted)
    assert (caught.value.wanted, caught.value.arrived) == (wanted, there)
    assert buf.remaining() == 40 - at
    if there:
        assert buf.take(there) == bytes(range(at, keep))


def test_a_file_that_grew_ends_where_it_did() -> None:
    """How much was promised to be left stays so."""
    file = io.BytesIO(b"abc")
    buf = FileBuf(file)
    file.seek(0, io.SEEK_END)
    file.write(b"def")
    file.seek(0)
    assert buf.take_rest() == b"abc"


def test_files_that_cannot_be_moved_about_in_are_refused() -> None:
    """A pipe is, and so is what was opened for writing only."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as pipe, os.fdopen(write_end, "wb") as other:
        for make in (as_buf, FileBuf):
            with pytest.raises(io.UnsupportedOperation, match="seek"):
                make(pipe)
        with pytest.raises(io.UnsupportedOperation):
            as_buf(other)


def test_files_that_are_not_binary_are_refused(tmp_path: Path) -> None:
    """Text is no bytes, and what only writes has none."""
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    with path.open(encoding="ascii") as text:
        for make in (as_buf, FileBuf):
            with pytest.raises(TypeError, match="a binary file is wanted, not TextIOWrapper"):
                make(text)
    with pytest.raises(TypeError, match="StringIO"):
        as_buf(io.StringIO("text"))
    with path.open("ab") as writable, pytest.raises(io.UnsupportedOperation):
        as_buf(writable)
    with pytest.raises(TypeError, match="a binary file is wanted, not object"):
        FileBuf(object())


@pytest.mark.parametrize("wrong", ["text", None, 5, [1, 2], memoryview(bytes(8))[::2], object()])
def test_as_buf_refuses_what_holds_no_bytes(wrong: object) -> None:
    """A TypeError, from whatever takes a source."""
    for call in (
        as_buf, Reader, BytesBuf().put, lambda source: Chain(b"", source),
        lambda source: Chain(source, b""), lambda source: Limited(source, 3),
    ):  # fmt: skip
        with pytest.raises(TypeError):
            call(wrong)


@pytest.mark.parametrize(
    "wrong", ["text", None, 5, [1, 2], b"read-only", memoryview(bytearray(8))[::2]]
)
def test_as_buf_mut_refuses_what_cannot_be_filled(wrong: object) -> None:
    """A TypeError, from whatever takes a target."""
    for call in (
        as_buf_mut, Writer, SliceMut, BytearrayMut, lambda target: ChainMut(bytearray(), target),
        lambda target: ChainMut(target, bytearray()), lambda target: LimitedMut(target, 3),
    ):  # fmt: skip
        with pytest.raises(TypeError):
            call(wrong)


def test_what_is_a_buf_already_is_returned_itself() -> None:
    """as_buf and as_buf_mut make nothing of it."""
    for buf in (BytesReader(b""), Chain(b"", b""), Little(b"")):
        assert as_buf(buf) is buf
    for target in (BytesBuf(), BytearrayMut(bytearray()), ChainMut(bytearray(), bytearray())):
        assert as_buf_mut(target) is target


# Any Buf as a file


def over_odd_cuts(data: bytes) -> BytesView:
    return cut_at(data, set(itertools.accumulate(itertools.chain([1, 2, 3], range(5, 500, 7)))))


READERS: dict[str, Callable[[bytes], io.BufferedIOBase]] = {
    "the cursor": lambda data: BytesReader(over_odd_cuts(data)),
    "of a view": lambda data: Reader(over_odd_cuts(data)),
    "of a chain": lambda data: Reader(Chain(data[:50], Chain(io.BytesIO(data[50:90]), data[90:]))),
    "of a limit": lambda data: Reader(Limited(over_odd_cuts(data + b"more"), len(data))),
    "of a deque": lambda data: Reader(deque([data[:9], b"", over_odd_cuts(data[9:])])),
    "of a user's": lambda data: Reader(Little(data)),
}
every_reader = pytest.mark.parametrize("make", READERS.values(), ids=READERS)


FILE_CALLS = st.one_of(
    st.tuples(st.sampled_from(["read", "readline"]), st.integers(-1, 20) | st.none()),
    st.tuples(st.just("readline")),
    st.tuples(st.just("read")),
    st.tuples(st.just("readlines")),
    st.tuples(st.sampled_from(["readinto", "read1", "readinto1", "peek"]), st.integers(0, 20)),
    st.tuples(st.just("next")),
)


def call_both(model: io.BytesIO, file: io.BufferedIOBase, name: str, *args: int | None) -> None:
    """Make a call of a file and of its model, and compare."""
    if name == "next":
        assert next(file, b"") == next(model, b"")
    elif name == "peek":
        at = model.tell()
        near = file.peek(*args)
        assert near == model.read(len(near))
        assert bool(near) is (at < len(model.getvalue()))
        model.seek(at)
    elif name in {"readinto", "readinto1"}:
        room = bytearray(b"x" * args[0])
        nbytes = getattr(file, name)(room)
        expected = model.read(args[0] if name == "readinto" else nbytes)
        assert room == expected.ljust(args[0], b"x")
        assert nbytes == len(expected)
    elif name == "read1":  # one piece of it, and nothing only at the end
        data = file.read1(*args)
        at_end = model.tell() == len(model.getvalue())
        assert data == model.read(len(data))
        assert bool(data) is (bool(args[0]) and not at_end)
    else:
        assert getattr(file, name)(*args) == getattr(model, name)(*args)


@every_reader
@given(POOR_BYTES | BYTES, st.lists(FILE_CALLS, max_size=12))
def test_a_reader_is_a_file_as_bytes_io_is(
    make: Callable[[bytes], io.BufferedIOBase], data: bytes, calls: list[tuple[str, int]]
) -> None:
    """Scripts of calls over hostile cuts give what io.BytesIO gives."""
    model, file = io.BytesIO(data), make(data)
    for name, *args in calls:
        call_both(model, file, name, *args)
    assert file.read() == model.read()
    assert file.read() == b""
    assert file.readable()
    assert not file.writable()


@given(
    cut_bytes(),
    st.lists(st.one_of(FILE_CALLS, st.tuples(st.just("seek"), st.integers(0, 60)))),
)
def test_a_cursor_can_be_moved_about_in_as_well(
    drawn: tuple[bytes, BytesView], calls: list[tuple[str, int]]
) -> None:
    """The same scripts with seeks, within what is there."""
    data, view = drawn
    model, file = io.BytesIO(data), BytesReader(view)
    for name, *args in calls:
        if name == "seek":
            args = [min(args[0], len(data))]
        call_both(model, file, name, *args)
        assert file.tell() == model.tell()
    assert file.read() == model.read()


@every_reader
def test_standard_readers_take_a_reader(
    make: Callable[[bytes], io.BufferedIOBase], tmp_path: Path
) -> None:
    """io, gzip, tarfile as a stream, csv, pickle and shutil find a file like any other."""
    assert io.BufferedReader(make(TEXT), 16).read() == TEXT
    assert [*io.BufferedReader(make(TEXT))] == TEXT.splitlines(keepends=True)
    assert gzip.GzipFile(fileobj=make(gzip.compress(TEXT))).read() == TEXT
    rows = [["a", 'b"c'], ["d\ne", "f"]] * 50
    table = io.StringIO(newline="")
    csv.writer(table).writerows(rows)
    lines = io.TextIOWrapper(make(table.getvalue().encode()), "utf-8", newline="")
    assert list(csv.reader(lines)) == rows
    thing = {"rows": rows, "text": TEXT, "numbers": list(range(1000))}
    for protocol in (0, 2, 5):
        assert pickle.load(make(pickle.dumps(thing, protocol))) == thing
    copied = io.BytesIO()
    shutil.copyfileobj(make(TEXT), copied)
    assert copied.getvalue() == TEXT
    archive = tmp_path / "archive"
    for mode in ("w", "w:gz"):
        with tarfile.open(archive, mode) as tar:
            info = tarfile.TarInfo("text")
            info.size = len(TEXT)
            tar.addfile(info, io.BytesIO(TEXT))
        with tarfile.open(fileobj=make(archive.read_bytes()), mode="r|*") as tar:
            for member in tar:
                assert tar.extractfile(member).read() == TEXT


def test_a_zip_wants_to_be_moved_about_in() -> None:
    """The cursor can; any other Buf says that it cannot, as a pipe does."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("text", TEXT)
    with zipfile.ZipFile(BytesReader(over_odd_cuts(archive.getvalue()))) as file:
        assert file.read("text") == TEXT
    data = archive.getvalue()
    chain = Chain(data[:20], data[20:])
    reader = Reader(chain)
    assert not reader.seekable()
    for call in (reader.tell, lambda: reader.seek(0)):
        with pytest.raises(io.UnsupportedOperation):
            call()
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(reader)
    with zipfile.ZipFile(BytesReader(chain.take_rest())) as file:
        assert file.read("text") == TEXT


def test_a_reader_that_is_closed_says_so_and_gives_back_what_it_read() -> None:
    """Every call that needs the bytes is a ValueError then; the Buf is as it was left."""
    inner = Chain(b"ab", b"cd")
    reader = Reader(inner)
    assert reader.inner is inner
    assert reader.read(1) == b"a"
    assert reader.into_inner() is inner
    assert reader.closed
    for call in (reader.read, reader.read1, reader.readline, reader.peek, reader.readable):
        with pytest.raises(ValueError, match="I/O operation on a closed"):
            call()
    with pytest.raises(ValueError, match="closed"):
        reader.readinto(bytearray(3))
    assert inner.take_rest() == b"bcd"


def test_a_reader_refuses_room_that_it_cannot_fill() -> None:
    """Read-only room is a TypeError, and nothing was read; room of items is filled by bytes."""
    reader = Reader(Chain(b"abcd", b"efgh"))
    for call in (reader.readinto, reader.readinto1):
        with pytest.raises(TypeError):
            call(b"read-only")
    items = array.array("I", [0, 0])
    assert reader.readinto(items) == 8
    assert items.tobytes() == b"abcdefgh"


class ShowsNothing(Little):
    """Breaks the law that there is a chunk if anything is left."""

    def chunk(self) -> memoryview:
        return memoryview(b"")


@pytest.mark.parametrize("name", ["read", "readline", "readlines"])
def test_a_reader_of_what_shows_nothing_ends(name: str) -> None:
    """A Buf that breaks its law is an error and not a loop without end."""
    with pytest.raises(RuntimeError, match="says that 3 bytes are left, and shows none"):
        getattr(Reader(ShowsNothing(b"abc")), name)()


# Any BufMut as a file


def room_of(nbytes: int) -> ChainMut:
    return ChainMut(memoryview(bytearray(nbytes // 3)), memoryview(bytearray(nbytes - nbytes // 3)))


def put_into_room(target: ChainMut) -> bytes:
    return bytes(target.first.filled) + bytes(target.last.filled)


def written(target: object) -> bytes:
    if isinstance(target, ChainMut):
        return written(target.first) + written(target.last)
    if isinstance(target, LimitedMut):
        return written(target.inner)
    return bytes(target.inner if isinstance(target, BytearrayMut) else target.filled)


WRITERS: dict[str, Callable[[], Writer]] = {
    "a bytearray": lambda: Writer(bytearray()),
    "a slice": lambda: Writer(memoryview(bytearray(100_000))),
    "a chain": lambda: Writer(
        ChainMut(memoryview(bytearray(100)), ChainMut(LimitedMut(bytearray(), 50), bytearray()))
    ),
}


@pytest.mark.parametrize("make", WRITERS.values(), ids=WRITERS)
def test_standard_writers_take_a_writer(make: Callable[[], Writer]) -> None:
    """gzip, zipfile, tarfile as a stream, csv, json and io find a file like any other."""

    def after(write: Callable[[Writer], object]) -> bytes:
        writer = make()
        write(writer)
        return written(writer.inner)

    def zipped(writer: Writer) -> None:
        with zipfile.ZipFile(writer, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("text", TEXT)

    def gzipped(writer: Writer) -> None:
        with gzip.open(writer, "wb") as file:
            file.write(TEXT)

    def tarred(writer: Writer) -> None:
        with tarfile.open(fileobj=writer, mode="w|") as tar:
            info = tarfile.TarInfo("text")
            info.size = len(TEXT)
            tar.addfile(info, io.BytesIO(TEXT))

    def as_text(write: Callable[[io.TextIOWrapper], object]) -> Callable[[Writer], None]:
        def write_text(writer: Writer) -> None:
            text = io.TextIOWrapper(writer, "utf-8", newline="")
            write(text)
            text.detach()

        return write_text

    def buffered(writer: Writer) -> None:
        file = io.BufferedWriter(writer, 16)
        for line in TEXT.splitlines(keepends=True):
            file.write(line)
        file.detach()

    assert zipfile.ZipFile(io.BytesIO(after(zipped))).read("text") == TEXT
    assert gzip.decompress(after(gzipped)) == TEXT
    with tarfile.open(fileobj=io.BytesIO(after(tarred))) as tar:
        assert tar.extractfile("text").read() == TEXT
    rows = [["a", 'b"c'], ["d\ne", "f"]] * 50
    table = after(as_text(lambda text: csv.writer(text).writerows(rows)))
    assert list(csv.reader(io.StringIO(table.decode(), newline=""))) == rows
    assert json.loads(after(as_text(lambda text: json.dump(rows, text)))) == rows
    assert after(buffered) == TEXT
    assert after(lambda writer: shutil.copyfileobj(io.BytesIO(TEXT), writer)) == TEXT
    assert pickle.loads(after(lambda writer: pickle.dump(rows, writer))) == rows
    assert after(lambda writer: writer.writelines([TEXT, BytesView(b"view")])) == TEXT + b"view"


@settings(max_examples=50)
@given(st.lists(BYTES, max_size=8), st.integers(0, 100))
def test_a_writer_writes_all_or_nothing(parts: list[bytes], nbytes: int) -> None:
    """What does not fit is BufferFull with both numbers; shorter things may still be written."""
    target = room_of(nbytes)
    writer = Writer(target)
    expected = b""
    for part in parts:
        room = nbytes - len(expected)
        if len(part) > room:
            with pytest.raises(BufferFull) as caught:
                writer.write(part)
            assert (caught.value.requested, caught.value.available) == (len(part), room)
        else:
            assert writer.write(part) == len(part)
            expected += part
        assert put_into_room(target) == expected


def test_a_writer_that_is_closed_says_so_and_gives_back_what_it_filled() -> None:
    """ValueError then; the BufMut is as it was left."""
    target = BytearrayMut(bytearray())
    writer = Writer(target)
    assert writer.writable()
    assert not writer.readable()
    assert not writer.seekable()
    assert writer.inner is target
    assert writer.write(array.array("H", [1, 2])) == 4
    for wrong in ("text", None, 5, memoryview(bytes(8))[::2]):
        with pytest.raises(TypeError):
            writer.write(wrong)
    assert writer.into_inner() is target
    for call in (writer.writable, lambda: writer.write(b"a")):
        with pytest.raises(ValueError, match="I/O operation on a closed"):
            call()
    assert target.inner == array.array("H", [1, 2]).tobytes()


def test_a_deque_that_is_not_ours_alone_is_refused() -> None:
    """One that drops chunks by itself at once; one from which chunks were taken when it shows."""
    with pytest.raises(ValueError, match="at most 2 chunks drops some unread"):
        ChunksBuf(deque([b"ab"], maxlen=2))
    chunks = deque([b"ab", b"cd"])
    buf = ChunksBuf(chunks)
    chunks.popleft()
    with pytest.raises(RuntimeError, match="taken chunks out"):
        buf.get_u8()


def test_a_chain_of_targets_writes_nothing_if_the_second_refuses() -> None:
    """Though there is room in both."""
    first, last = SliceMut(bytearray(1)), BytesBuf.with_capacity(8)
    pen = last.chunk_mut()[:1]
    with pytest.raises(MemoryInUse):
        ChainMut(first, last).put_slice(b"xyz")
    assert bytes(first.filled) == b""
    del pen
    ChainMut(first, last).put_slice(b"xyz")
    assert (bytes(first.filled), last.peek()) == (b"x", b"yz")


def test_what_is_written_to_says_how_it_is_read() -> None:
    """A builder is no `Buf`, and the error names the way."""
    with pytest.raises(TypeError, match=r"consume_all\(\) of it can be read"):
        as_buf(BytesBuf())
