"""Claims about memory that is not ours: views of any buffer and of files, without a copy."""

from __future__ import annotations

import array
import ctypes
import errno
import gc
import importlib.util
import mmap
import os
import pickle
import random
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from pairs import closing, receive_exactly, socketpair
from strategies import BYTES, NO_BUFFERS, OFFSETS, POOR_BYTES
from test_view import outcome

from trio_bytesbuf import BytesBuf, BytesReader, BytesView
from trio_bytesbuf.mem import BLOCK_NBYTES_MAX, PageMemory, foreign_view, view_of_file
from trio_bytesbuf.mem._foreign import PIECE_NBYTES
from trio_bytesbuf.testing import check_laws

TEXT = b"somebody else's bytes, 32 of it."
FOUR_GIB_AND_A_HALF = (9 << 30) // 2


def mapped(data: bytes) -> mmap.mmap:
    """Return a mapping of at least one byte that begins with `data`."""
    mapping = mmap.mmap(-1, max(1, len(data)))
    mapping[: len(data)] = data
    return mapping


def read_only(values: np.ndarray) -> np.ndarray:
    values.flags.writeable = False
    return values


EXPORTERS: dict[str, Callable[[bytes], object]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": lambda data: memoryview(bytearray(data)),
    "array": lambda data: array.array("B", data),
    "numpy": lambda data: np.frombuffer(data, np.uint8).copy(),
    "read-only numpy": lambda data: read_only(np.frombuffer(data, np.uint8).copy()),
    "ctypes": lambda data: (ctypes.c_char * len(data)).from_buffer_copy(data),
    "mmap": lambda data: memoryview(mapped(data))[: len(data)],
}
ITEMS: dict[str, Callable[[bytes], object]] = {
    "array of words": lambda data: array.array("I", data),
    "float64": lambda data: np.frombuffer(data, np.float64).copy(),
    "int16 in two dimensions": lambda data: np.frombuffer(data, np.int16).reshape(4, -1).copy(),
    "complex, read-only": lambda data: read_only(np.frombuffer(data, np.complex64).copy()),
    "structs": lambda data: np.frombuffer(data, np.dtype([("a", "<u2"), ("b", "<u2")])).copy(),
    "bools in three dimensions": lambda data: memoryview(data).cast("?", (2, 4, 4)),
}


@st.composite
def foreign(draw: st.DrawFn, data: st.SearchStrategy[bytes] = BYTES) -> tuple[bytes, BytesView]:
    """Draw bytes, and a view of them in pieces of foreign memory of several kinds."""
    parts = [
        (part, foreign_view(EXPORTERS[kind](part)))
        for kind, part in draw(
            st.lists(st.tuples(st.sampled_from(sorted(EXPORTERS)), data), max_size=4)
        )
    ]
    return b"".join(part for part, _ in parts), BytesView.from_views(view for _, view in parts)


# Being a view


@given(foreign(), OFFSETS, OFFSETS, st.one_of(st.none(), st.integers(-4, 4)), st.integers(-70, 70))
def test_a_foreign_view_is_the_sequence_of_its_bytes(
    drawn: tuple[bytes, BytesView],
    start: int | None,
    stop: int | None,
    step: int | None,
    index: int,
) -> None:
    """Length, items, slices, text and copies are those of the bytes."""
    model, view = drawn
    check_laws(view)
    assert (len(view), list(view), bytes(view)) == (len(model), list(model), model)
    for call in (
        lambda data: data[index],
        lambda data: data[start:stop:step],
        lambda data: data.hex(),
        lambda data: data.decode(errors="replace"),
        lambda data: data + b"more",
        lambda data: b"more" + data,
    ):
        assert outcome(lambda call=call: call(view)) == outcome(lambda call=call: call(model))
    for same in (view, view.compact(), BytesView.copied_from_slice(view), view[:]):
        assert same == model == same
        assert same == view


@given(foreign(POOR_BYTES), POOR_BYTES.filter(lambda sub: len(sub) < 5), OFFSETS, OFFSETS)
def test_searching_foreign_memory_answers_as_bytes_do(
    drawn: tuple[bytes, BytesView], sub: bytes, start: int | None, stop: int | None
) -> None:
    """find, rfind, index, count, startswith, endswith, split, partition: as those of `bytes`."""
    model, view = drawn
    for name in ("find", "rfind", "index", "count", "startswith", "endswith"):
        for sought in (sub, foreign_view(bytearray(sub))):
            assert outcome(lambda n=name, s=sought: getattr(view, n)(s, start, stop)) == outcome(
                lambda n=name: getattr(model, n)(sub, start, stop)
            )
    assert (sub in view) == (sub in model)
    assert outcome(lambda: view.split(sub)) == outcome(lambda: model.split(sub))
    assert outcome(lambda: view.partition(sub)) == outcome(lambda: model.partition(sub))


@given(foreign(), st.integers(0, 100), st.integers(0, 60))
def test_foreign_views_pass_through_builders_and_readers(
    drawn: tuple[bytes, BytesView], cut: int, first: int
) -> None:
    """A builder takes them without a copy, a reader moves through them, and both keep the refs."""
    model, view = drawn
    buf = BytesBuf()
    buf.reserve(3)
    buf.put_slice(b"<")
    buf.put_view(view)
    buf.put_slice(b">")
    check_laws(buf)
    whole = buf.consume_all()
    check_laws(whole)
    assert whole == b"<" + model + b">"
    assert whole.block_refs[1:-1] == view.block_refs
    assert [piece.obj for piece in whole.pieces][1:-1] == [piece.obj for piece in view.pieces]
    reader = BytesReader(view)
    taken = reader.take(min(first, len(model)))
    assert (taken, reader.take(len(reader))) == (model[:first], model[first:])
    assert view[cut:].block_refs == view.block_refs[len(view.block_refs) - len(view[cut:].pieces) :]


@given(foreign())
def test_foreign_views_are_pickled_in_band_and_out_of_band(drawn: tuple[bytes, BytesView]) -> None:
    """What is unpickled has the same bytes; out of band, buffers stand for the pieces."""
    model, view = drawn
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(view, protocol)) == model
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(view, 5, buffer_callback=buffers.append)
    assert [bytes(buffer) for buffer in buffers] == [bytes(piece) for piece in view.pieces]
    assert pickle.loads(data, buffers=buffers) == model


async def test_foreign_views_are_sent_from_where_they_lie() -> None:
    """Arrays, mappings and bytes go out of one `write_view`, and arrive in order."""
    data = [bytes((value,)) * 20_000 for value in range(len(EXPORTERS))]
    view = BytesView.from_views(
        foreign_view(make(part)) for make, part in zip(EXPORTERS.values(), data, strict=True)
    )
    ours, theirs = await socketpair()
    async with closing(ours, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(ours.write_view, view)
        assert await receive_exactly(theirs, len(view)) == b"".join(data)
    assert ours.statistics().copied_nbytes == 0


# Sharing, and whose it is


@pytest.mark.parametrize("make", EXPORTERS.values(), ids=EXPORTERS)
def test_nothing_is_copied_and_the_owner_is_who_exports(make: Callable) -> None:
    """The view's memory is that of the buffer, at the same address, and read-only."""
    data = make(TEXT)
    view = foreign_view(data)
    (piece,), (ref,) = view.pieces, view.block_refs
    assert piece.readonly
    exporter = data.obj if isinstance(data, memoryview) else data
    assert piece.obj is exporter
    assert ref.owner is exporter
    assert (ref.meta, view.metas) == (None, (None,))
    address = np.frombuffer(piece, np.uint8).ctypes.data
    assert address == np.frombuffer(data, np.uint8).ctypes.data


@pytest.mark.parametrize("make", ITEMS.values(), ids=ITEMS)
def test_items_of_any_kind_are_taken_as_their_bytes(make: Callable) -> None:
    """Whatever the items and the dimensions, the view counts and shows bytes."""
    data = make(TEXT)
    view = foreign_view(data)
    check_laws(view)
    assert view == TEXT
    assert view.retained_nbytes == len(TEXT)


@pytest.mark.parametrize("make", EXPORTERS.values(), ids=EXPORTERS)
def test_only_bytes_are_sure_not_to_change(make: Callable) -> None:
    """A view of `bytes` has their hash; of anything else, read-only or not, none."""
    view = foreign_view(make(TEXT), meta="m")
    if type(view.first_piece.obj) is bytes:
        assert hash(view) == hash(TEXT)
        assert not view.block_refs[0].may_change
    else:
        assert view.block_refs[0].may_change
        with pytest.raises(TypeError, match="may change"):
            hash(view)


def test_a_memoryview_of_bytes_is_as_sure_as_they_are() -> None:
    """However it was cut and cast."""
    view = foreign_view(memoryview(memoryview(TEXT)[8:16]).cast("I"))
    assert hash(view) == hash(TEXT[8:16])
    assert view.block_refs[0].owner is TEXT


def test_what_the_owner_writes_shows() -> None:
    """Also through a read-only view of a writable array, which is why there is no hash."""
    values = np.zeros(8, np.uint8)
    view = foreign_view(read_only(values[:]))
    values[3] = 7
    assert view == bytes(3) + b"\7" + bytes(4)


def test_an_owner_and_a_meta_of_ones_own_go_with_every_piece() -> None:
    """They are kept by cutting, joining, building and reading."""
    owner, meta = object(), "m"
    view = foreign_view(bytearray(TEXT), owner=owner, meta=meta)
    buf = BytesBuf.from_view(b"none" + view)
    refs = [*view[3:].block_refs, *BytesReader(view).take(3).block_refs, buf.peek().block_refs[1]]
    assert [(ref.owner, ref.meta) for ref in refs] == [(owner, meta)] * 3
    assert buf.peek().metas == (None, meta)


@pytest.mark.parametrize("hold", [lambda view: view[3:], BytesReader, BytesBuf.from_view,
                                  lambda view: view.extend_lifetime()],
                         ids=["a view", "a reader", "a builder", "a guard"])  # fmt: skip
def test_the_owner_lives_for_as_long_as_the_memory_is_looked_at(hold: Callable) -> None:
    """And no longer, without a collection."""

    class Owner:
        """Can be watched."""

    owner = Owner()
    death = weakref.ref(owner)
    view = foreign_view(bytearray(TEXT), owner=owner)
    held = hold(view)
    gc.disable()
    try:
        del owner, view
        assert death() is not None
        del held
        assert death() is None
    finally:
        gc.enable()


def test_a_shared_memory_as_the_owner_may_be_dropped_first() -> None:
    """Run as a program, because what it must not do is to write to stderr."""
    run("""
        shm = SharedMemory(create=True, size=4096)
        shm.unlink()
        shm.buf[:3] = b"abc"
        view = foreign_view(shm.buf, owner=shm)[1:]
        del shm
        assert view == b"bc" + bytes(len(view) - 2)
        del view
    """)


def run(script: str) -> None:
    """Run a program that must end well and say nothing."""
    lines = script.splitlines()
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    head = (
        "import gc, os, sys, itertools",
        "from multiprocessing.shared_memory import SharedMemory",
        "from trio_bytesbuf import *",
        "from trio_bytesbuf.mem import *",
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join((*head, *(x[indent:] for x in lines)))],
        env={name: value for name, value in os.environ.items() if "COVERAGE" not in name},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("empty", [b"", bytearray(), np.zeros((3, 0)), memoryview(b"")], ids=type)
def test_an_empty_buffer_is_an_empty_view(empty: object) -> None:
    """It has no piece, no owner, and the hash of no bytes."""
    view = foreign_view(empty, owner=object(), meta="m")
    check_laws(view)
    assert (view, view.pieces, view.block_refs, hash(view)) == (b"", (), (), hash(b""))


@pytest.mark.parametrize("wrong", NO_BUFFERS.values(), ids=NO_BUFFERS)
def test_what_is_no_buffer_is_refused(wrong: object) -> None:
    """Text, numbers, lists, and memory with gaps are TypeErrors."""
    with pytest.raises(TypeError):
        foreign_view(wrong)
    with pytest.raises(TypeError, match="not contiguous"):
        foreign_view(np.zeros((4, 4))[:, 1])


def test_a_view_of_ours_is_refused() -> None:
    """It knows whose memory it shows, and would lose that; on all versions alike."""
    with pytest.raises(TypeError, match="can be passed on as it is"):
        foreign_view(BytesView(TEXT))


def test_memory_over_4_gib_is_several_pieces_on_borders_of_pages() -> None:
    """Each piece fits a block; what is untouched stays untouched."""
    with mmap.mmap(-1, FOUR_GIB_AND_A_HALF, **PRIVATE) as mapping:
        mapping[PIECE_NBYTES - 3 : PIECE_NBYTES + 3] = b"border"
        before = resident_nbytes()
        view = foreign_view(mapping, meta="m")
        check_laws(view)
        first, last = (piece.nbytes for piece in view.pieces)
        assert (first, first + last) == (PIECE_NBYTES, FOUR_GIB_AND_A_HALF)
        assert first <= BLOCK_NBYTES_MAX
        assert first % mmap.PAGESIZE == 0
        assert view.metas == ("m", "m")
        assert view[PIECE_NBYTES - 3 : PIECE_NBYTES + 3] == b"border"
        assert view.find(b"border", PIECE_NBYTES - 100_000) == PIECE_NBYTES - 3
        assert resident_nbytes() - before < 1 << 20
        view.release()


PRIVATE = {"flags": mmap.MAP_PRIVATE}


def resident_nbytes() -> int:
    """Return how much memory of this process is resident."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


# Files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of a few pages that repeat nowhere."""
    path = tmp_path / "file"
    path.write_bytes(random.Random(1).randbytes(50_000))
    return path


@pytest.fixture
def descriptor(file: Path) -> Iterator[int]:
    """The descriptor of the file."""
    fd = os.open(file, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("name", [Path, str, os.fsencode], ids=["Path", "str", "bytes"])
def test_a_file_is_viewed_by_its_path(file: Path, name: Callable) -> None:
    """Any path will do; the owner is the mapping, and a change of the file shows."""
    view = view_of_file(name(file))
    check_laws(view)
    assert view == file.read_bytes()
    assert type(view.block_refs[0].owner) is mmap.mmap
    assert view.first_piece.readonly
    with file.open("r+b") as writing:
        writing.write(b"new")
    assert view[:4] == file.read_bytes()[:4]
    assert view.block_refs[0].may_change
    with pytest.raises(TypeError, match="may change"):
        hash(view)


def test_a_descriptor_can_be_closed_at_once_and_is_not_moved(file: Path) -> None:
    """The view goes on; the descriptor's offset counts for nothing."""
    with file.open("rb", buffering=0) as opened:
        opened.seek(1000)
        view = view_of_file(opened.fileno())
        assert opened.tell() == 1000
    file.unlink()
    assert len(view) == 50_000
    assert view[1000:1010].to_bytes() == view.to_bytes()[1000:1010]


def open_descriptors() -> int:
    """Count them."""
    return len([*Path("/proc/self/fd").iterdir()])


@pytest.mark.skipif(sys.version_info < (3, 13), reason="mappings keep a descriptor before 3.13")
def test_a_view_keeps_no_descriptor(file: Path) -> None:
    """A program may view more files than it may open."""
    before = open_descriptors()
    views = [view_of_file(file) for _ in range(3)]
    assert open_descriptors() == before
    assert len(views) == 3


def test_no_descriptor_is_left_open_when_a_file_cannot_be_viewed(tmp_path: Path) -> None:
    """Nor after the views of those that could are gone."""
    before = open_descriptors()
    for path in (tmp_path, "/dev/null", "/proc/self/maps"):
        with pytest.raises(OSError):
            view_of_file(path)
    assert open_descriptors() == before


def test_an_empty_file_is_an_empty_view(tmp_path: Path) -> None:
    """The system maps no empty file; the view is one all the same."""
    (tmp_path / "empty").touch()
    view = view_of_file(tmp_path / "empty")
    check_laws(view)
    assert (view, hash(view)) == (b"", hash(b""))


def test_what_cannot_be_mapped_is_named(tmp_path: Path, descriptor: int) -> None:
    """Directories, FIFOs, devices, files without a length and missing ones: an OSError at once."""
    os.mkfifo(tmp_path / "fifo")
    for path, number in (
        (tmp_path, errno.EISDIR),
        (tmp_path / "fifo", errno.ENODEV),
        ("/dev/null", errno.ENODEV),
        ("/proc/self/maps", errno.ENODEV),
        (tmp_path / "missing", errno.ENOENT),
        (b"missing", errno.ENOENT),
    ):
        with pytest.raises(OSError) as raised:
            view_of_file(path)
        assert raised.value.errno == number
        assert raised.value.filename == (os.fspath(path))
        assert str(raised.value.filename) in str(raised.value)
    with pytest.raises(IsADirectoryError):
        view_of_file(os.fsencode(tmp_path))


def test_a_descriptor_that_cannot_be_mapped_is_named(tmp_path: Path) -> None:
    """One that is closed, one of a pipe, and one that is open for writing only."""
    reading, writing = os.pipe()
    only_writing = os.open(tmp_path / "new", os.O_WRONLY | os.O_CREAT)
    os.write(only_writing, b"x")
    try:
        for fd, number in (
            (reading, errno.ENODEV),
            (only_writing, errno.EACCES),
            (-1, errno.EBADF),
        ):
            with pytest.raises(OSError) as raised:
                view_of_file(fd)
            assert (raised.value.errno, raised.value.filename) == (number, fd)
    finally:
        for fd in (reading, writing, only_writing):
            os.close(fd)


@pytest.mark.parametrize("wrong", [1.5, None, ["x"], BytesView(b"path")], ids=repr)
def test_what_is_no_path_is_a_type_error(wrong: object) -> None:
    """Neither floats nor lists name a file."""
    with pytest.raises(TypeError):
        view_of_file(wrong)


def test_a_file_that_gets_shorter_in_between_is_an_error(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between asking for its length and mapping it; the error names the file."""
    asked = os.fstat

    def shrinks(fd: int) -> os.stat_result:
        status = asked(fd)
        os.truncate(file, 10)
        return status

    monkeypatch.setattr(os, "fstat", shrinks)
    with pytest.raises(OSError, match="shorter") as raised:
        view_of_file(file)
    assert raised.value.filename == str(file)


def test_a_file_that_gets_shorter_later_ends_the_process_as_documented(file: Path) -> None:
    """The docstring warns of SIGBUS; were it not so any more, it should say so."""
    script = (
        "import os, sys; from trio_bytesbuf.mem import view_of_file\n"
        "view = view_of_file(sys.argv[1]); os.truncate(sys.argv[1], 0); view[20_000]"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, file], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGBUS


def test_a_file_that_is_replaced_stays_as_it_was(file: Path, tmp_path: Path) -> None:
    """Renaming a new file over the old one is safe."""
    before = file.read_bytes()
    view = view_of_file(file)
    (tmp_path / "new").write_bytes(b"")
    (tmp_path / "new").replace(file)
    assert view == before


async def test_a_file_is_sent_from_its_mapping(file: Path) -> None:
    """Nothing is copied in this process on the way to the socket."""
    ours, theirs = await socketpair(PageMemory())
    view = view_of_file(file)
    async with closing(ours, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(ours.write_view, view)
        assert await receive_exactly(theirs, 50_000) == view
    assert ours.statistics().copied_nbytes == 0


def test_the_mapping_goes_with_the_last_that_shows_it(file: Path) -> None:
    """In whatever order view, slice and memoryview die, in a cycle too."""

    def mappings() -> int:
        return Path("/proc/self/maps").read_text().count(str(file))

    view = view_of_file(file)
    part, piece = view[5:9], view.first_piece
    assert mappings() == 1
    del view, piece
    assert mappings() == 1
    cycle: list[object] = [part]
    cycle.append(cycle)
    del part, cycle
    gc.collect()
    assert mappings() == 0


# The example


@pytest.mark.parametrize(
    "gibibytes",
    [
        4.5,
        pytest.param(
            8,
            marks=pytest.mark.skipif(
                os.environ.get("TRIO_BYTESBUF_LONG") != "1",
                reason="takes 8 s: only with TRIO_BYTESBUF_LONG=1",
            ),
        ),
    ],
)
def test_a_file_larger_than_its_welcome_is_searched_in_little_memory(
    gibibytes: float, tmp_path: Path
) -> None:
    """A sparse file of several pieces: the needle is found within 64 MiB beside the mapping."""
    path = Path(__file__).parent.parent / "examples" / "sparse_file.py"
    spec = importlib.util.spec_from_file_location("sparse_file", path)
    example = importlib.util.module_from_spec(spec)
    sys.modules["sparse_file"] = example
    spec.loader.exec_module(example)
    sparse = tmp_path / "sparse"
    hidden_at = example.make_sparse_file(sparse, int(gibibytes * (1 << 30)))
    try:
        found = example.search(sparse)
    finally:
        sparse.unlink()
    assert found.offset == hidden_at
    assert found.nbytes == gibibytes * (1 << 30)
    assert found.pieces == -(-found.nbytes // PIECE_NBYTES) > 1
    assert found.anonymous_nbytes < 64 << 20
    assert found.file_nbytes <= found.nbytes + (64 << 20)
