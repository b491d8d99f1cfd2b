"""Claims about `BufferMemory`: blocks of a buffer that is there already, and who keeps it alive."""

from __future__ import annotations

import array
import gc
import itertools
import mmap
import pickle
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from multiprocessing.shared_memory import SharedMemory

import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pairs import closing, noise, socketpair
from strategies import NO_BUFFERS
from test_foreign import run

from trio_bytesbuf import BufferFull, BytesBuf, BytesReader, BytesView
from trio_bytesbuf.mem import BLOCK_NBYTES_MAX, BufferMemory, BufferOffset, _arena
from trio_bytesbuf.mem._arena import check_buffer_memory
from trio_bytesbuf.testing import check_laws


@pytest.fixture
def shm() -> Iterator[SharedMemory]:
    """A segment of a few pages."""
    segment = SharedMemory(create=True, size=8 * 4096)
    segment.unlink()
    yield segment
    gc.collect()
    segment.close()


def filled(memory: BufferMemory, value: int, nbytes: int) -> BytesView:
    """Return a view of `nbytes` equal bytes in blocks that nothing else refers to."""
    buf = memory.reserve(nbytes)
    buf.put_repeated(value, nbytes)
    return buf.consume_all()


BUFFERS: dict[str, Callable[[int], object]] = {
    "bytearray": bytearray,
    "memoryview": lambda nbytes: memoryview(bytearray(nbytes + 5))[5:],
    "array": lambda nbytes: array.array("H", bytes(nbytes)),
    "numpy": lambda nbytes: np.zeros((nbytes // 8, 2), np.float32),
    "mmap": lambda nbytes: memoryview(mmap.mmap(-1, nbytes))[:nbytes],
}


@pytest.mark.parametrize("make", BUFFERS.values(), ids=BUFFERS)
def test_blocks_lie_in_the_buffer_where_their_metas_say(make: Callable) -> None:
    """All of it is lent, piece by piece, at the offsets of the metas, and nothing beyond."""
    buffer = make(64)
    memory = BufferMemory(buffer, 24)
    check_buffer_memory(memory)
    buf = memory.reserve(48)
    buf.put_slice(bytes(range(48)))
    view = buf.consume_all()
    check_laws(view)
    flat = memoryview(buffer).cast("B")
    assert view.metas == (BufferOffset(0), BufferOffset(24))
    for piece, meta in zip(view.pieces, view.metas, strict=True):
        assert flat[meta.offset : meta.offset + 24] == piece
        start = np.frombuffer(flat, np.uint8).ctypes.data
        assert np.frombuffer(piece, np.uint8).ctypes.data == start + meta.offset
    assert flat.tobytes() == bytes(range(48)) + bytes(16)
    exporter = buffer.obj if isinstance(buffer, memoryview) else buffer
    assert all(ref.owner is exporter for ref in view.block_refs)
    assert hash(view) == hash(bytes(range(48)))


class LeasesAndDrops(RuleBasedStateMachine):
    """Leases, keeps and drops views in any order, and looks at every byte of those it keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = bytearray(70)
        self.memory = BufferMemory(self.buffer, 10)
        self.kept: list[tuple[BytesView, bytes, int]] = []
        self.values = itertools.cycle(range(1, 256))

    @rule(nbytes=st.integers(0, 80), part=st.booleans())
    def lease(self, nbytes: int, part: bool) -> None:
        blocks = -(-nbytes // 10)
        free = 7 - sum(count for _, _, count in self.kept)
        if blocks > free:
            with pytest.raises(BufferFull) as raised:
                self.memory.reserve(nbytes)
            assert (raised.value.requested, raised.value.available) == (nbytes, free * 10)
            return
        value = next(self.values)
        view = filled(self.memory, value, nbytes)
        if part and nbytes:
            view, blocks = view[-1:], 1
        self.kept.append((view, bytes((value,)) * len(view), blocks))

    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        if self.kept:
            del self.kept[data.draw(st.integers(0, len(self.kept) - 1))]

    @invariant()
    def every_view_shows_its_bytes(self) -> None:
        assert all(view == expected for view, expected, _ in self.kept)
        lent = sum(count for _, _, count in self.kept)
        statistics = self.memory.statistics()
        assert (statistics.lent_nbytes, statistics.idle_nbytes) == (lent * 10, (7 - lent) * 10)
        check_buffer_memory(self.memory)


TestLeasesAndDrops = LeasesAndDrops.TestCase


def test_the_block_leased_last_is_leased_first_and_fresh_ones_only_when_needed() -> None:
    """A program that holds one view while it makes the next alternates between two blocks."""
    memory = BufferMemory(bytearray(1000), 10)
    view = filled(memory, 0, 1)
    for value in range(1, 50):
        view = filled(memory, value, 1)
    assert view == bytes((49,))
    assert memory.statistics().allocated == 2
    newest = view.metas
    del view
    assert filled(memory, 0, 1).metas == newest


@given(st.integers(1, 40), st.integers(1, 40))
def test_as_many_blocks_are_cut_as_fit(buffer_nbytes: int, block_nbytes: int) -> None:
    """All of them can be lent at once, and one more byte is refused."""
    if block_nbytes > buffer_nbytes:
        with pytest.raises(ValueError, match="cannot be cut"):
            BufferMemory(bytearray(buffer_nbytes), block_nbytes)
        return
    memory = BufferMemory(bytearray(buffer_nbytes), block_nbytes)
    capacity = buffer_nbytes // block_nbytes * block_nbytes
    with pytest.raises(BufferFull):
        memory.reserve(capacity + 1)
    view = filled(memory, 1, capacity)
    assert len(view.pieces) == buffer_nbytes // block_nbytes
    with pytest.raises(BufferFull):
        memory.reserve(1)
    del view
    assert memory.reserve(capacity).remaining_capacity == capacity


def test_an_error_that_is_kept_keeps_no_block() -> None:
    """What was claimed before the blocks ran out is free again at once."""
    memory = BufferMemory(bytearray(30), 10)
    held = filled(memory, 1, 10)
    with pytest.raises(BufferFull) as raised:
        memory.reserve(30)
    assert (raised.value.requested, raised.value.available) == (30, 20)
    assert memory.reserve(20).remaining_capacity == 20
    assert held == b"\1" * 10


# Bad input


def test_what_is_no_writable_buffer_is_refused() -> None:
    """Read-only memory, memory with gaps, and what exports none."""
    for wrong in (*NO_BUFFERS.values(), bytes(10), memoryview(b"abc"), np.zeros((4, 4))[:, 1]):
        with pytest.raises(TypeError):
            BufferMemory(wrong, 1)
    with pytest.raises(TypeError, match="must be writable; this memoryview is not"):
        BufferMemory(memoryview(bytearray(5)).toreadonly(), 1)


@pytest.mark.parametrize(
    ("nbytes", "error"), [(0, ValueError), (-1, ValueError), (1.0, TypeError), ("1", TypeError)]
)
def test_a_senseless_size_of_block_is_refused(nbytes: object, error: type) -> None:
    """No bytes, negative ones, and what is no integer."""
    with pytest.raises(error):
        BufferMemory(bytearray(10), nbytes)
    with pytest.raises(ValueError):
        BufferMemory(bytearray(), 1)
    with pytest.raises(ValueError):
        BufferMemory(bytearray(10), 1).reserve(-1)


def test_a_block_is_never_larger_than_blocks_may_be() -> None:
    """Also of a buffer that has so much."""
    with mmap.mmap(-1, BLOCK_NBYTES_MAX + 1, flags=mmap.MAP_PRIVATE) as mapping:
        with pytest.raises(ValueError, match=f"at most {BLOCK_NBYTES_MAX} bytes"):
            BufferMemory(mapping, BLOCK_NBYTES_MAX + 1)
        memory = BufferMemory(mapping, BLOCK_NBYTES_MAX)
        assert memory.reserve(5).remaining_capacity == BLOCK_NBYTES_MAX
        del memory


def test_it_refuses_a_python_that_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a free-threaded one, counts may be in flight."""
    monkeypatch.setattr(_arena, "FREE_THREADED", True)
    with pytest.raises(RuntimeError, match="free-threaded"):
        BufferMemory(bytearray(10), 1)


@pytest.mark.parametrize("act", [pickle.dumps, lambda memory: __import__("copy").copy(memory)])
def test_a_provider_cannot_be_copied(act: Callable) -> None:
    """Two of it would lend the same blocks."""
    with pytest.raises(TypeError, match="owns memory"):
        act(BufferMemory(bytearray(10), 1))


# Who keeps what alive


class Owner:
    """Can be watched."""


@pytest.mark.parametrize(
    "hold",
    [
        pytest.param(lambda view: view[5:6], id="a slice"),
        pytest.param(lambda view: view.pieces[0], id="a memoryview"),
        pytest.param(lambda view: view.pieces[0][3:4], id="a slice of one"),
        pytest.param(lambda view: np.asarray(view.contiguous())[::2], id="an array"),
        pytest.param(lambda view: view.extend_lifetime(), id="a guard"),
        pytest.param(BytesBuf.from_view, id="a builder"),
        pytest.param(BytesReader, id="a reader"),
        pytest.param(iter, id="an iterator"),
    ],
)
def test_whatever_shows_a_block_keeps_the_buffer_and_its_owner(hold: Callable) -> None:
    """When provider, buffer and owner were dropped before; and it lets them go at its end."""

    class Buffer(bytearray):
        """Can be watched."""

    buffer, owner = Buffer(100), Owner()
    deaths = weakref.ref(buffer), weakref.ref(owner)
    memory = BufferMemory(buffer, 50, owner=owner)
    last = hold(filled(memory, 1, 50))
    gc.disable()
    try:
        del memory, buffer, owner
        assert all(death() is not None for death in deaths)
        del last
        assert [death() for death in deaths] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("order", [*itertools.permutations(("memory", "view", "part", "piece"))])
def test_what_is_dropped_in_whatever_order_shows_its_bytes_to_the_end(order: tuple) -> None:
    """The provider first, too; a block is lent again only after its last witness."""
    memory = BufferMemory(bytearray(100), 10)
    view = filled(memory, 7, 10)
    held = {"memory": memory, "view": view, "part": view[1:9], "piece": view.first_piece}
    del memory, view
    for name in order:
        del held[name]
        kept = [held[name] for name in held if name != "memory"]
        if "memory" in held:
            filled(held["memory"], 9, 100 if not kept else 90)
        assert all(bytes(one) == b"\7" * len(one) for one in kept)


def test_close_is_refused_while_blocks_live_and_works_afterwards(shm: SharedMemory) -> None:
    """A BufferError, and nothing breaks: views show their bytes, and blocks can be lent."""
    memory = BufferMemory(shm.buf, 4096, owner=shm)
    view = filled(memory, 7, 5000)
    for _ in range(2):
        with pytest.raises(BufferError):
            shm.close()
    assert view == b"\7" * 5000
    assert filled(memory, 8, 5000) == b"\10" * 5000
    check_buffer_memory(memory)
    del memory
    with pytest.raises(BufferError):
        shm.close()
    del view
    shm.close()


@pytest.mark.parametrize("cyclic", ["none", "view", "memory", "shm", "view memory shm"])
def test_a_shared_memory_is_dropped_in_any_order_in_silence(cyclic: str) -> None:
    """In all orders, and with any of them in garbage cycles, nobody complains and nothing leaks."""
    run(f"""
        for order in itertools.permutations(("shm", "memory", "view", "piece")):
            shm = SharedMemory(create=True, size=8192)
            shm.unlink()
            fd = shm._fd
            memory = BufferMemory(shm.buf, 4096, owner=shm)
            buf = memory.reserve(5)
            buf.put_slice(b"abcde")
            view = buf.consume_all()
            held = dict(shm=shm, memory=memory, view=view, piece=view.first_piece)
            del buf
            cycle = [held[name] for name in {cyclic!r}.split() if name in held]
            cycle.append(cycle)
            del shm, memory, view, cycle
            for name in order:
                del held[name]
                shown = [held[name] for name in ("view", "piece") if name in held]
                assert all(bytes(one) == b"abcde" for one in shown)
                del shown
            gc.collect()
            try:
                os.fstat(fd)
            except OSError:
                pass
            else:
                raise AssertionError(f"{{order}} leaves a descriptor")
    """)


def test_a_program_may_end_with_everything_alive() -> None:
    """Whatever the interpreter does at its end, it is silent."""
    run("""
        shm = SharedMemory(create=True, size=8192)
        shm.unlink()
        memory = BufferMemory(shm.buf, 4096, owner=shm)
        view = memory.reserve(5)
        view.put_slice(b"abcde")
        view = view.consume_all()
        kept = [view, memory, shm]
        kept.append(kept)
    """)


def test_an_owner_that_holds_the_views_is_collected() -> None:
    """A cycle by way of the owner is garbage as any other."""
    owner = Owner()
    death = weakref.ref(owner)
    owner.memory = BufferMemory(bytearray(10), 10, owner=owner)
    owner.view = filled(owner.memory, 1, 10)
    del owner
    gc.collect()
    assert death() is None


def test_a_finalizer_in_a_cycle_sees_its_bytes() -> None:
    """And what it brings back to life stays whole, while blocks are lent around it."""
    memory = BufferMemory(bytearray(30), 10)
    seen: list[object] = []

    class Resurrects:
        def __init__(self, view: BytesView) -> None:
            self.cycle, self.view, self.piece = self, view, view.first_piece

        def __del__(self) -> None:
            seen.extend((self.piece, filled(memory, 9, 10)))

    Resurrects(filled(memory, 7, 10))
    gc.collect()
    later = filled(memory, 8, 10)
    assert [bytes(kept) for kept in (*seen, later)] == [b"\7" * 10, b"\11" * 10, b"\10" * 10]
    with pytest.raises(BufferFull):
        memory.reserve(1)
    seen.clear()
    gc.collect()
    assert memory.statistics().lent_nbytes == 10


# Processes and threads


def test_a_forked_child_is_refused_blocks() -> None:
    """It has the same shared memory as its parent, and other counts."""
    run("""
        memory = BufferMemory(bytearray(100), 10)
        child = os.fork()
        if not child:
            try:
                memory.reserve(1)
            except MemoryInUse as refusal:
                os._exit(0 if "another process" in str(refusal) else 2)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert memory.reserve(100).remaining_capacity == 100
    """)


def test_another_process_finds_the_bytes_by_the_meta() -> None:
    """It maps the same segment by its name and looks where the meta says."""
    run("""
        import subprocess
        shm = SharedMemory(create=True, size=8192)
        try:
            memory = BufferMemory(shm.buf, 1000, owner=shm)
            kept, buf = memory.reserve(1), memory.reserve(5)
            buf.put_slice(b"abcde")
            view = buf.consume_all()
            at = view.first_piece_meta.offset
            assert at == 1000
            fd = os.open("/dev/shm/" + view.block_refs[0].owner.name, os.O_RDONLY)
            assert os.pread(fd, 5, at) == b"abcde"
            assert view_of_file(fd)[at : at + 5] == view
        finally:
            shm.unlink()
    """)


def test_threads_never_see_each_others_bytes() -> None:
    """With fewer blocks than threads would like; who finds none tries again."""
    memory = BufferMemory(bytearray(300), 100)
    failures: list[object] = []
    lent = []

    def play(value: int) -> None:
        for _ in range(500):
            while True:
                try:
                    view = filled(memory, value, 100)
                except BufferFull:
                    continue
                break
            lent.append(value)
            if view.to_bytes().count(value) != 100:
                failures.append(value)
            del view  # who waits with a block in hand would wait for ever

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=play, args=(value,)) for value in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failures == []
    assert len(lent) == 2000
    del threads, thread
    assert memory.statistics().lent_nbytes == 0
    check_buffer_memory(memory)


# With streams


async def test_a_stream_receives_into_shared_memory(shm: SharedMemory) -> None:
    """Everything that arrives lies in the segment; blocks that come home are used again."""
    memory = BufferMemory(shm.buf, 4096, owner=shm)
    ours, theirs = await socketpair(memory)
    data = noise(200_000)
    async with closing(ours, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(theirs.send_all, data)
        received = b""
        while len(received) < len(data):
            view = await ours.receive_view()
            check_laws(view)
            for piece, meta in zip(view.pieces, view.metas, strict=True):
                assert shm.buf[meta.offset : meta.offset + piece.nbytes] == piece
            received += bytes(view)
            del view, piece
        assert received == data
        assert ours.statistics().copied_nbytes == 0
    assert memory.statistics().lent_nbytes == 0


async def test_a_full_memory_loses_nothing() -> None:
    """The receive says so, and what was sent arrives when blocks are free again."""
    memory = BufferMemory(bytearray(2000), 1000)
    ours, theirs = await socketpair(memory)
    async with closing(ours, theirs):
        await theirs.send_all(noise(5000))
        first = await ours.receive_view()
        assert len(first) == 2000
        with pytest.raises(BufferFull):
            await ours.receive_view()
        assert first == noise(5000)[:2000]
        del first
        assert await ours.receive_view() == noise(5000)[2000:4000]
        assert await ours.receive_view() == noise(5000)[4000:]
