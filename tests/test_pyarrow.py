"""Arrow's buffers and views share memory both ways; tables cross a socket, columns uncopied."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from pairs import closing, noise, socketpair, tcp_pair
from strategies import cut_at

from trio_bytesbuf import BufStream, BytesBuf, BytesReader, BytesView, GlobalPool
from trio_bytesbuf.mem import foreign_view
from trio_bytesbuf.seq import BytesBufWriter

pa = pytest.importorskip("pyarrow", reason="pyarrow is large, and not installed: pip install it")

BLOCK = 65_536


def address(buffer: object) -> int:
    """Return where a buffer's memory begins."""
    return np.frombuffer(buffer, "u1").ctypes.data


class Pieces(io.RawIOBase):
    """A file whose writer's buffers become pieces of a view, uncopied: all the glue there is.

    Arrow writes `bytes`, which never change, and the buffers of its columns, which do not either.
    """

    def __init__(self) -> None:
        self.buf = BytesBuf()

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.buf.put_view(BytesView(data))
        return len(data)


def table_of(nrows: int, seed: int = 0):
    """Return a table with numbers, texts, and numbers some of which are missing."""
    numbers = np.frombuffer(noise(8 * nrows, seed), "<i8")
    return pa.table(
        {
            "number": numbers,
            "text": [f"row {at}" for at in range(nrows)],
            "maybe": pa.array([None if at % 3 else at for at in range(nrows)], pa.float64()),
        }
    )


def written(table, file) -> None:
    """Write a table as a stream of record batches."""
    with pa.ipc.new_stream(pa.PythonFile(file, mode="w"), table.schema) as writer:
        writer.write_table(table, max_chunksize=50_000)


def pieces_of(table) -> BytesView:
    """Return a table as a view, columns uncopied."""
    file = Pieces()
    written(table, file)
    return file.buf.consume_all()


def buffers_of(table) -> Iterator:
    """Yield the buffers that a table's columns lie in."""
    for column in table.columns:
        for chunk in column.chunks:
            yield from filter(None, chunk.buffers())


def lies_in(buffer, memory) -> bool:
    """Say whether a buffer of Arrow's is part of some memory."""
    start = address(memory)
    stop = start + memoryview(memory).nbytes
    return start <= buffer.address and buffer.address + buffer.size <= stop


# Buffers


@given(skipped=st.integers(0, 100), nbytes=st.integers(1, 100_000))
def test_a_buffer_of_a_view_of_one_piece_is_its_memory(skipped, nbytes) -> None:
    """At the same address, read-only, and each piece of several is one."""
    data = noise(skipped + nbytes)
    view = BytesView.copied_from_slice(data, GlobalPool())[skipped:]
    for piece in view.pieces:
        buffer = pa.py_buffer(piece)
        assert (buffer.address, buffer.size) == (address(piece), piece.nbytes)
        assert not buffer.is_mutable
    buffer = pa.py_buffer(view.contiguous())
    assert (buffer.address == address(view.first_piece)) is (len(view.pieces) == 1)
    assert buffer.equals(pa.py_buffer(data[skipped:]))


def test_a_buffer_keeps_its_block_from_being_leased_again() -> None:
    """So does an array over it, and a slice of the array; then the block is free."""
    pool = GlobalPool()
    view = BytesView.copied_from_slice(np.arange(5_000, dtype="<i4"), pool)
    buffer = pa.py_buffer(view.contiguous())
    view.release()
    array = pa.Array.from_buffers(pa.int32(), 5_000, [None, buffer])
    del buffer
    part = array[100:110]
    del array
    assert pool.statistics().lent_nbytes == BLOCK
    BytesView.copied_from_slice(b"\xff" * BLOCK, pool)
    assert part.to_pylist() == list(range(100, 110))
    del part
    assert pool.statistics().lent_nbytes == 0


@pytest.mark.parametrize("make", [BytesView, foreign_view])
def test_a_view_of_a_buffer_is_its_memory(make) -> None:
    """It keeps the array alive, and has no hash: numpy or C may have a way to write there."""
    array = pa.array(range(1_000), pa.int64())
    buffer = array.buffers()[1]
    view = make(buffer)
    assert (address(view.first_piece), len(view)) == (buffer.address, 8_000)
    if make is foreign_view:
        assert view.block_refs[0].owner.address == buffer.address
    del array, buffer
    [pa.array(range(1_000, 2_000), pa.int64()) for _ in range(5)]
    assert np.frombuffer(view.contiguous(), "<i8").tolist() == list(range(1_000))
    with pytest.raises(TypeError, match="unhashable"):
        hash(view)


# Streams of record batches


@pytest.mark.parametrize("nrows", [0, 1, 1_000, 120_000])
def test_columns_that_are_written_lie_in_the_view_where_they_lie_in_the_table(nrows) -> None:
    """Each buffer of 64 bytes or more is a piece at its own address; only heads are new."""
    table = table_of(nrows)
    view = pieces_of(table)
    pieces = [(address(piece), piece.nbytes) for piece in view.pieces]
    for buffer in buffers_of(table.slice(0, 50_000).combine_chunks()):
        if nrows <= 50_000 and buffer.size > 4_000:
            assert any(start == buffer.address for start, _ in pieces)
    stops = {start for start, _ in pieces}
    numbers = table["number"].chunk(0).buffers()[1]
    for at in range(0, nrows, 50_000):  # each batch begins in the middle of the column
        if nrows >= 1_000:
            assert numbers.address + 8 * at in stops
    assert pa.ipc.open_stream(view.contiguous()).read_all().equals(table)


@given(cuts=st.lists(st.integers(0, 3_000), max_size=8))
def test_arrow_reads_a_view_in_pieces_as_a_file(cuts) -> None:
    """A `BytesReader` is the file; what is read is copied, and the bytes behind it are left."""
    table = table_of(100)
    file = BytesBufWriter()
    written(table, file)
    data = bytes(file.into_inner().consume_all())
    reader = BytesReader(cut_at(data + b"behind", [cut for cut in cuts if cut <= len(data)]))
    assert pa.ipc.open_stream(reader).read_all().equals(table)
    assert bytes(reader.take(reader.remaining())) == b"behind"


@pytest.mark.parametrize("nrows", [0, 1, 5_000, 150_000])
@pytest.mark.parametrize("pair", [socketpair, tcp_pair], ids=lambda pair: pair.__name__)
@pytest.mark.parametrize("pooled", [False, True], ids=["pages", "pool"])
@pytest.mark.parametrize("buffered", [False, True], ids=["socket", "buffered"])
async def test_a_table_crosses_a_socket_and_no_column_is_copied(
    nrows, pair, pooled, buffered
) -> None:
    """Sent from the pieces; received into one block, in which all columns lie, as its length says.

    A block of the pool is taken for what fits one, pages of the process otherwise.
    """
    table = table_of(nrows)
    view = pieces_of(table)
    pool = GlobalPool()
    memory = pool if pooled and len(view) <= 1_048_576 else None
    a, b = await pair()
    async with closing(a, b), trio.open_nursery() as nursery:
        source = BufStream(b) if buffered else b
        nursery.start_soon(a.write_parts, [len(view).to_bytes(8, "big"), view])
        header = BytesReader(await source.read_exactly(8))
        arrived = await source.read_contiguous(header.get_u64_be(), memory)
    [block] = arrived.pieces
    found = pa.ipc.open_stream(arrived.contiguous()).read_all()
    assert found.equals(table)
    assert all(lies_in(buffer, block) for buffer in buffers_of(found) if buffer.size)
    assert any(buffer.size for buffer in buffers_of(found)) is (nrows > 0)
    if memory is not None:
        del arrived, block
        assert (pool.statistics().lent_nbytes > 0) is (len(view) > 16_384)  # less is not pooled
        del found
        assert pool.statistics().lent_nbytes == 0


async def test_the_columns_are_sent_from_where_they_lie() -> None:
    """What is written to a column's memory while it waits to be sent is what arrives."""
    column = np.zeros(1_000_000, "<i8")
    view = pieces_of(pa.table({"zeros": column}))
    a, b = await socketpair()
    async with closing(a, b), trio.open_nursery() as nursery:
        nursery.start_soon(a.write_view, view)
        await trio.testing.wait_all_tasks_blocked()
        column[-1_000:] = 7  # which nobody may do; here it shows that there is no copy
        arrived = await b.read_contiguous(len(view))
    [found] = pa.ipc.open_stream(arrived.contiguous()).read_all()["zeros"].chunks[-1:]
    assert found[-1_000:].to_pylist() == [7] * 1_000
