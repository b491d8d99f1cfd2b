"""numpy and views share memory both ways, with no glue but the buffer protocol."""

from __future__ import annotations

import gc
import struct
import sys

import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from pairs import closing, noise, socketpair
from strategies import cut_at

from trio_bytesbuf import (
    BytesBuf,
    BytesView,
    FixedLength,
    FrameDecoder,
    FrameEvent,
    GlobalPool,
    LengthPrefixed,
    MemoryInUse,
)
from trio_bytesbuf.mem import foreign_view

BLOCK = 65_536
RECORD = np.dtype([("id", "<u4"), ("price", "<f8"), ("flags", "u1"), ("name", "S5")])
STRUCT = struct.Struct("<IdB5s")
assert RECORD.itemsize == STRUCT.size == 18

PLAIN = ["u1", "<u2", ">i4", "<i8", "<f4", ">f8", "<c16", "?", "S3", RECORD]
"""Types of items: of either byte order, wider than any alignment that a frame has, and records."""


def address(buffer: object) -> int:
    """Return where a buffer's memory begins."""
    return np.frombuffer(buffer, "u1").ctypes.data


# Views as arrays


@pytest.mark.parametrize("dtype", PLAIN, ids=str)
@given(skipped=st.integers(0, 50), count=st.integers(1, 500))
def test_an_array_of_a_view_of_one_piece_is_its_memory(dtype, skipped, count) -> None:
    """Whatever the items and wherever in its block they begin: the address is the piece's."""
    dtype = np.dtype(dtype)
    data = noise(skipped + count * dtype.itemsize)
    view = BytesView.copied_from_slice(data, GlobalPool())[skipped:]
    array = np.frombuffer(view.contiguous(), dtype)
    assert array.ctypes.data == address(view.first_piece)
    assert array.tobytes() == data[skipped:]
    assert np.shares_memory(array.view("u1"), np.frombuffer(view.first_piece, "u1"))
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):  # nobody gets to write by way of it
        array.flags.writeable = True


def test_from_python_3_12_on_a_view_is_a_buffer_itself() -> None:
    """One of one piece; one of several says what to call, and nothing was copied behind it."""
    view = BytesView.copied_from_slice(noise(1_000), GlobalPool())
    if sys.version_info < (3, 12):
        with pytest.raises(TypeError, match="bytes-like object is required, not 'BytesView'"):
            np.frombuffer(view, "u1")
        return
    assert np.frombuffer(view, "<u4").ctypes.data == address(view.first_piece)
    with pytest.raises(BufferError, match=r"2 pieces; take contiguous\(\)"):
        np.frombuffer(view + b"more", "u1")


@given(cuts=st.lists(st.integers(1, 999), max_size=5))
def test_arrays_of_pieces_share_memory_and_one_of_all_copies_if_there_are_several(cuts) -> None:
    """`pieces` is the way to look at each where it lies, `contiguous` the way to have one array."""
    data = noise(1_000)
    view = cut_at(data, cuts)
    arrays = [np.frombuffer(piece, "u1") for piece in view.pieces]
    whole = np.frombuffer(view.contiguous(), "u1")
    assert np.concatenate(arrays).tobytes() == whole.tobytes() == data
    shared = [np.shares_memory(whole, array) for array in arrays]
    assert shared == [len(arrays) == 1] * len(arrays)
    assert [array.ctypes.data for array in arrays] == [address(piece) for piece in view.pieces]


@pytest.mark.parametrize(
    "keep",
    [
        lambda array: array,
        lambda array: array[::7],
        lambda array: array.reshape(-1, 2).T,
        lambda array: array.view("<u2"),
        lambda array: np.broadcast_to(array, (3, array.size)),
        lambda array: memoryview(array),
        lambda array: iter(array.flat),
    ],
    ids=["array", "strided", "turned", "other items", "broadcast", "memoryview", "iterator"],
)
def test_an_array_keeps_its_block_from_being_leased_again(keep) -> None:
    """While anything that numpy made of it lives, others get other memory; then they get it."""
    pool = GlobalPool()
    view = BytesView.copied_from_slice(b"\xaa" * 20_000, pool)
    assert len(view.pieces) == 1
    where = address(view.first_piece)
    kept = keep(np.frombuffer(view.contiguous(), "u1"))
    view.release()
    others = [BytesView.copied_from_slice(b"\xbb" * BLOCK, pool) for _ in range(3)]
    assert where not in map(address, (other.first_piece for other in others))
    assert pool.statistics().lent_nbytes == 4 * BLOCK
    del kept
    gc.collect()  # numpy's own cycles, if it has made any
    assert pool.statistics().lent_nbytes == 3 * BLOCK
    again = BytesView.copied_from_slice(b"\xcc" * BLOCK, pool)
    assert address(again.first_piece) == where


# Records in frames

ROWS = st.lists(
    st.tuples(
        st.integers(0, 2**32 - 1),
        st.floats(allow_nan=False),
        st.integers(0, 255),
        st.binary(min_size=5, max_size=5),
    ),
    max_size=40,
)


def rows_of(array: np.ndarray) -> list[tuple[object, ...]]:
    """Return records as `struct` has them: numpy leaves zeros at the end of a text out."""
    return [STRUCT.unpack(row.tobytes()) for row in array]


@given(
    tables=st.lists(ROWS, max_size=5),
    cuts=st.lists(st.integers(0, 2_000), max_size=6),
)
def test_records_in_frames_are_arrays(tables, cuts) -> None:
    """Each frame's payload is an array of records, however the frames arrived; mostly uncopied."""
    framing = LengthPrefixed(4)
    payloads = [b"".join(STRUCT.pack(*row) for row in rows) for rows in tables]
    sent = b"".join(b"".join((*framing.wrap(each)[:1], each)) for each in payloads)
    decoder = FrameDecoder(framing)
    for piece in cut_at(sent, [cut for cut in cuts if cut <= len(sent)]).pieces:
        decoder.feed(piece)
    found = []
    while (event := decoder.next_event()) is not FrameEvent.NEED_DATA:
        records = np.frombuffer(event.contiguous(), RECORD)
        found.append(rows_of(records))
        if len(event.pieces) == 1:
            assert records.ctypes.data == address(event.first_piece)
    assert found == tables


async def test_records_that_arrive_through_a_socket_lie_where_they_were_received() -> None:
    """Frames of whole records: each batch is an array over the block that the kernel filled."""
    table = np.zeros(1_000, RECORD)
    table["id"] = np.arange(1_000)
    table["price"] = np.linspace(0, 1, 1_000)
    a, b = await socketpair(GlobalPool())
    async with closing(a, b):
        await a.write_view(foreign_view(table))
        view = await b.read_contiguous(table.nbytes)
        arrived = np.frombuffer(view.contiguous(), RECORD)
        assert arrived.ctypes.data == address(view.first_piece)
        assert np.array_equal(arrived, table)
        assert arrived["price"].sum() == pytest.approx(500)
    decoder = FrameDecoder(FixedLength(RECORD.itemsize * 100))
    decoder.feed(view)
    hundreds = [np.frombuffer(decoder.next_event().contiguous(), RECORD) for _ in range(10)]
    assert all(np.shares_memory(arrived.view("u1"), each.view("u1")) for each in hundreds)
    assert [int(each["id"][0]) for each in hundreds] == list(range(0, 1_000, 100))


# Arrays as views


@pytest.mark.parametrize("make", [BytesView, foreign_view])
@pytest.mark.parametrize("dtype", PLAIN, ids=str)
@pytest.mark.parametrize("is_writable", [True, False])
def test_a_view_of_an_array_is_its_memory(make, dtype, is_writable) -> None:
    """It shows what is written to the array, so it has no hash, though the array is read-only."""
    dtype = np.dtype(dtype)
    base = np.frombuffer(noise(dtype.itemsize * 12), dtype).reshape(3, 4).copy()
    array = base[:]
    array.flags.writeable = is_writable
    view = make(array)
    assert len(view) == array.nbytes
    assert address(view.first_piece) == array.ctypes.data
    base.view("u1")[1, 1] ^= 0xFF
    assert view == array.tobytes()
    assert view.first_piece.readonly
    with pytest.raises(TypeError, match="unhashable"):
        hash(view)
    if make is foreign_view:
        assert view.block_refs[0].owner is array


def test_an_array_lives_as_long_as_a_view_of_it() -> None:
    """Nobody else has to keep it."""
    view = foreign_view(np.arange(100_000, dtype="<u4"))[4:8]
    gc.collect()
    [np.empty(100_000, "<u4").fill(7) for _ in range(5)]  # whose memory would be taken
    assert int.from_bytes(bytes(view), "little") == 1


@pytest.mark.parametrize(
    ("array", "error", "cure"),
    [
        (np.arange(10)[::2], TypeError, np.ascontiguousarray),
        (np.zeros((3, 4), order="F"), TypeError, lambda array: array.T),
        (np.array(["2026-11-30"], "M8[s]"), ValueError, lambda array: array.view("i8")),
        (np.array([None, 1]), TypeError, lambda array: array.astype("S5")),
    ],
    ids=["gaps", "columns first", "dates", "objects"],
)
def test_what_is_no_row_of_bytes_is_refused_and_can_be_made_one(array, error, cure) -> None:
    """Items that are apart, in another order, that the protocol has no word for, or that point."""
    for make in (foreign_view, BytesView):
        with pytest.raises(error):
            make(array)
    assert foreign_view(cure(array)) == cure(array).tobytes()


async def test_an_array_is_sent_from_where_it_lies() -> None:
    """What is written to it before its bytes have left is what arrives: there is no copy."""
    array = np.zeros(4_000_000, "u1")
    a, b = await socketpair()
    async with closing(a, b), trio.open_nursery() as nursery:
        nursery.start_soon(a.write_view, foreign_view(array))
        await trio.testing.wait_all_tasks_blocked()
        array[-1_000_000:] = 1
        arrived = np.frombuffer((await b.read_exactly(array.nbytes)).contiguous(), "u1")
    assert arrived.sum() == 1_000_000


# Builders filled by numpy


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=100))
def test_numpy_writes_into_a_builders_room(numbers) -> None:
    """An array of the window is the builder's memory; while it lives, nothing counts as filled."""
    pool = GlobalPool()
    buf = BytesBuf()
    buf.reserve(8 * len(numbers), pool)
    window = np.frombuffer(buf.chunk_mut(), "<f8", count=len(numbers))
    assert window.flags.writeable
    where = window.ctypes.data
    np.negative(numbers, out=window)
    with pytest.raises(MemoryInUse):
        buf.advance_mut(window.nbytes)
    nbytes = window.nbytes
    del window
    buf.advance_mut(nbytes)
    view = buf.consume_all()
    assert address(view.first_piece) == where
    assert np.frombuffer(view.contiguous(), "<f8").tolist() == [-number for number in numbers]


@given(st.integers(1, 300_000))
def test_numpy_fills_room_in_several_blocks(nbytes) -> None:
    """By a vectored write, one array for each piece; nothing is copied, and all of it counts."""
    buf = BytesBuf()
    buf.reserve(nbytes // 2 + 1, GlobalPool())
    buf.reserve(nbytes, GlobalPool())
    with buf.begin_vectored_write(nbytes) as write:
        arrays, at = [np.frombuffer(piece, "u1") for piece in write.pieces], 0
        for array in arrays:
            array[:] = np.arange(at, at + array.size)
            at += array.size
        where = [array.ctypes.data for array in arrays]
        del arrays, array
        write.commit(nbytes)
    view = buf.consume_all()
    assert [address(piece) for piece in view.pieces] == where
    assert view == (np.arange(nbytes) % 256).astype("u1").tobytes()
