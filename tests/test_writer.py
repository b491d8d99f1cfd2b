"""`BytesBufWriter`: a builder as a binary file; the model is `io.BytesIO`."""

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import BYTES, MEMORIES, NO_BUFFERS, cut_at, cut_bytes, words

from trio_bytesbuf import BadMemory, BytesBuf, BytesReader, BytesView, MemoryInUse, Released
from trio_bytesbuf.mem import Block, Memory
from trio_bytesbuf.seq import BytesBufWriter
from trio_bytesbuf.testing import FixedBlockMemory, TransparentMemory, check_laws


class Ledger(Memory):
    """A provider of blocks of exactly what was asked for that writes down what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        self.asked.append(nbytes)
        return [Block(bytearray(nbytes))]


@pytest.mark.parametrize("make_memory", MEMORIES.values(), ids=MEMORIES)
@settings(max_examples=10)  # 64 KiB in blocks of one byte take their time
@given(drawn=st.lists(cut_bytes(), max_size=6), before=BYTES)
def test_a_writer_takes_what_bytes_io_takes(
    make_memory: Callable[[], Memory], drawn: list[tuple[bytes, BytesView]], before: bytes
) -> None:
    """Everything is taken at once, behind what the builder held; views are as good as bytes."""
    file = io.BytesIO()
    buf = BytesBuf.from_view(BytesView(before))
    writer = BytesBufWriter(buf, make_memory())
    for model, view in drawn:
        assert writer.write(model) == file.write(model)
        assert writer.write(view) == file.write(model)
        writer.writelines([model, bytearray(model)])
        file.writelines([model, bytearray(model)])
    assert writer.into_inner() is buf
    check_laws(buf)
    assert buf.consume_all() == before + file.getvalue()


def test_memory_is_asked_for_ahead_in_two_steps() -> None:
    """4 KiB for a first small write; from then on, or for a large one, 64 KiB or what is needed."""
    ledger = Ledger()
    writer = BytesBufWriter(memory=ledger)
    for _ in range(4096):
        writer.write(b"x")
    assert ledger.asked == [4096]
    writer.write(b"x")
    assert ledger.asked == [4096, 65536]
    writer.write(bytes(100_000))
    assert ledger.asked == [4096, 65536, 100_000 - 65535]
    assert len(writer.into_inner()) == 4097 + 100_000
    ledger = Ledger()
    BytesBufWriter(memory=ledger).write(bytes(4097))
    assert ledger.asked == [65536]
    BytesBufWriter(TransparentMemory().reserve(1), ledger).write(b"ab")
    assert ledger.asked == [65536, 65535]


def test_nothing_is_asked_for_while_there_is_room() -> None:
    """An empty write needs none."""
    ledger = Ledger()
    writer = BytesBufWriter(TransparentMemory().reserve(10), ledger)
    assert writer.write(b"") == 0
    assert writer.write(b"0123456789") == 10
    assert ledger.asked == []


def test_items_are_counted_in_bytes() -> None:
    """Two numbers of four bytes are eight bytes written."""
    writer = BytesBufWriter(memory=FixedBlockMemory(3))
    assert writer.write(words()) == 8
    assert writer.write(memoryview(bytes(4)).cast("B", (2, 2))) == 4
    assert writer.into_inner().consume_all() == words().tobytes() + bytes(4)


@pytest.mark.parametrize("wrong", NO_BUFFERS.values(), ids=NO_BUFFERS)
def test_what_is_no_buffer_is_refused_and_changes_nothing(wrong: object) -> None:
    """A TypeError; no memory was asked for."""
    ledger = Ledger()
    writer = BytesBufWriter(memory=ledger)
    with pytest.raises(TypeError):
        writer.write(wrong)
    assert ledger.asked == []
    assert len(writer.into_inner()) == 0


def test_a_released_view_is_refused() -> None:
    """Released, as everywhere."""
    view = BytesView(b"abc")
    view.release()
    with pytest.raises(Released, match="this BytesView was released"):
        BytesBufWriter().write(view)


def test_a_memory_that_gives_too_little_is_named_and_nothing_is_written() -> None:
    """BadMemory passes through with its numbers."""

    class Miser(Memory):
        def blocks(self, nbytes: int, /) -> Iterable[Block]:
            return [Block(bytearray(nbytes // 2))]

        def __repr__(self) -> str:
            return "Miser"

    buf = BytesBuf()
    with pytest.raises(BadMemory, match="Miser was asked for 4096 bytes and gave 2048"):
        BytesBufWriter(buf, Miser()).write(b"abc")
    assert buf.capacity == 0


def test_a_write_into_a_builder_whose_room_is_lent_is_refused() -> None:
    """MemoryInUse, and nothing was written."""
    buf = TransparentMemory().reserve(10)
    writer = BytesBufWriter(buf)
    kept = buf.chunk_mut()[:1]
    with pytest.raises(MemoryInUse):
        writer.write(b"abc")
    assert (len(buf), buf.remaining_capacity) == (0, 10)
    del kept
    assert writer.write(b"abc") == 3


def test_a_closed_writer_refuses_to_write_and_gives_the_builder_back() -> None:
    """into_inner closes, and may be called again."""
    writer = BytesBufWriter()
    with writer:
        writer.write(b"abc")
    assert writer.closed
    with pytest.raises(ValueError, match="I/O operation on a closed writer"):
        writer.write(b"d")
    with pytest.raises(ValueError, match="closed"):
        writer.flush()
    assert writer.into_inner() is writer.into_inner()
    assert writer.into_inner().consume_all() == b"abc"


def test_a_writer_says_what_kind_of_file_it_is() -> None:
    """Writable, not readable, not seekable, with no descriptor."""
    writer = BytesBufWriter()
    assert writer.writable()
    assert not writer.readable()
    assert not writer.seekable()
    assert writer.flush() is None
    for call in (writer.read, writer.tell, writer.fileno):
        with pytest.raises(io.UnsupportedOperation):
            call()


# The standard library writes to it


def written(write: Callable[[BytesBufWriter], object]) -> BytesView:
    """Return what `write` wrote, out of blocks of seven bytes."""
    buf = BytesBuf()
    write(BytesBufWriter(buf, FixedBlockMemory(7)))
    check_laws(buf)
    return buf.consume_all()


def test_text_is_written_through_a_text_io_wrapper() -> None:
    """What is printed or written as rows, encoded, with line ends."""

    def write(writer: BytesBufWriter) -> None:
        with io.TextIOWrapper(writer, encoding="utf-8", newline="\r\n") as text:
            print("Käse", file=text)
            csv.writer(text, lineterminator="\n").writerow(["a,b", 1])

    assert written(write) == 'Käse\r\n"a,b",1\r\n'.encode()


def test_archives_are_written_and_read_back() -> None:
    """gzip, zip and tar, as streams without seeking."""

    def write_gzip(writer: BytesBufWriter) -> None:
        with gzip.GzipFile(fileobj=writer, mode="wb") as file:
            file.write(b"text " * 1000)

    assert gzip.decompress(bytes(written(write_gzip))) == b"text " * 1000

    def write_zip(writer: BytesBufWriter) -> None:
        with zipfile.ZipFile(writer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("one.txt", "1" * 1000)

    with zipfile.ZipFile(BytesReader(written(write_zip))) as archive:
        assert archive.read("one.txt") == b"1" * 1000

    def write_tar(writer: BytesBufWriter) -> None:
        info = tarfile.TarInfo("one.txt")
        info.size = 3
        with tarfile.open(fileobj=writer, mode="w|") as archive:
            archive.addfile(info, io.BytesIO(b"abc"))

    with tarfile.open(fileobj=BytesReader(written(write_tar))) as archive:
        assert archive.extractfile("one.txt").read() == b"abc"


def test_pickle_json_and_copies_are_written_to_it() -> None:
    """Whatever takes a file."""
    value = {"key": list(range(100))}
    pickled = written(lambda w: pickle.dump(value, w))
    assert pickle.load(BytesReader(pickled)) == value

    def write_json(writer: BytesBufWriter) -> None:
        with io.TextIOWrapper(writer, encoding="utf-8") as text:
            json.dump(value, text)

    assert json.load(BytesReader(written(write_json))) == value
    data = bytes(range(256)) * 300
    source = BytesReader(cut_at(data, {1000, 2000}))
    assert written(lambda w: shutil.copyfileobj(source, w)) == data
