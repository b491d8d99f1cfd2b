"""Claims about `PageMemory`: whole pages, given as bytes arrive, used again when that is safe."""

from __future__ import annotations

import errno
import gc
import itertools
import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from pairs import closing, noise, receive_exactly, socketpair
from test_foreign import resident_nbytes

from trio_bytesbuf import BytesView
from trio_bytesbuf.mem import BLOCK_NBYTES_MAX, PageMemory, Pages
from trio_bytesbuf.mem._pages import LARGE_BLOCK_SIZES, PAGE_BLOCK_SIZES
from trio_bytesbuf.mem._pool import check_pool
from trio_bytesbuf.testing import check_laws

SMALLEST, LARGEST = PAGE_BLOCK_SIZES[0], PAGE_BLOCK_SIZES[-1]
MIB, GIB = 1 << 20, 1 << 30


def filled(memory: PageMemory, value: int, nbytes: int = SMALLEST) -> BytesView:
    """Return a view of `nbytes` equal bytes in blocks that nothing else refers to."""
    buf = memory.reserve(nbytes)
    buf.put_repeated(value, nbytes)
    return buf.consume_all()


def address_of(memory: memoryview) -> int:
    return np.frombuffer(memory, np.uint8).ctypes.data


# Pages


@given(st.one_of(st.integers(1, 3 * LARGEST), st.integers(1, 100 * MIB)))
def test_every_block_begins_and_ends_on_a_page(nbytes: int) -> None:
    """Whatever is reserved, one block holds it, and its meta says how large pages are."""
    buf = PageMemory().reserve(nbytes)
    check_laws(buf)
    assert buf.remaining_capacity >= nbytes
    with buf.begin_vectored_write() as write:
        (piece,) = write.pieces
        assert address_of(piece) % mmap.PAGESIZE == 0
        assert piece.nbytes % mmap.PAGESIZE == 0
        assert write.metas == (Pages(mmap.PAGESIZE),)
        assert nbytes <= SMALLEST or piece.nbytes < 4 * nbytes + mmap.PAGESIZE
        del piece


def test_nothing_is_reserved_for_nothing() -> None:
    """And senseless sizes are refused."""
    assert PageMemory().reserve(0).remaining_capacity == 0
    for call in (PageMemory().reserve, lambda nbytes: PageMemory(max_idle_nbytes=nbytes)):
        with pytest.raises(ValueError):
            call(-1)
        with pytest.raises(TypeError):
            call(1.0)


def test_more_than_4_gib_are_several_blocks() -> None:
    """Each within what a block can have, and none of them touched."""
    before = resident_nbytes()
    buf = PageMemory().reserve(10 * GIB)
    assert buf.remaining_capacity == 10 * GIB
    with buf.begin_vectored_write() as write:
        sizes = [piece.nbytes for piece in write.pieces]
        assert [address_of(piece) % mmap.PAGESIZE for piece in write.pieces] == [0, 0, 0]
    assert len(sizes) == 3
    assert max(sizes) <= BLOCK_NBYTES_MAX
    assert resident_nbytes() - before < MIB


def test_more_than_the_system_can_give_is_a_memory_error() -> None:
    """Nothing of it stays mapped."""
    mapped = Path("/proc/self/statm").read_text().split()[0]
    for nbytes in (1 << 60, sys.maxsize):
        with pytest.raises(MemoryError):
            PageMemory().reserve(nbytes)
    gc.collect()
    assert int(Path("/proc/self/statm").read_text().split()[0]) - int(mapped) < 4 * MIB


# Resident memory


def test_resident_memory_follows_what_arrives() -> None:
    """A gigabyte costs nothing when it is reserved, and then what is put into it."""
    before = resident_nbytes()
    buf = PageMemory().reserve(GIB)
    assert resident_nbytes() - before < MIB
    chunk = bytes(MIB)
    for step in range(1, 33):
        buf.put_slice(chunk)
        grown = resident_nbytes() - before
        assert step * MIB <= grown + 128 * 1024
        assert grown < (step + 4) * MIB
    del buf
    assert resident_nbytes() - before < 4 * MIB


async def test_resident_memory_follows_what_a_stream_receives() -> None:
    """A stream that received a little into large blocks has touched a little."""
    memory = PageMemory()
    ours, theirs = await socketpair(memory)
    async with closing(ours, theirs):
        before = resident_nbytes()
        views = []
        for _ in range(200):
            await theirs.send_all(b"x")
            views.append(await ours.receive_view())
    assert b"".join(map(bytes, views)) == 200 * b"x"
    assert all(view.metas == (Pages(mmap.PAGESIZE),) for view in views)
    assert sum(view.retained_nbytes for view in views) == 200 * SMALLEST
    assert resident_nbytes() - before < 200 * mmap.PAGESIZE + MIB


def test_idle_pages_are_bounded_and_trim_gives_them_back() -> None:
    """What comes home stays up to `max_idle_nbytes`; `trim` unmaps it, but nothing that is lent."""
    memory = PageMemory(max_idle_nbytes=4 * LARGEST)
    before = resident_nbytes()
    views = [filled(memory, value, LARGEST) for value in range(40)]
    # One at a time: forty of them would go through the heap, which keeps what it got.
    assert all(view == bytes((value,)) * LARGEST for value, view in enumerate(views))
    del views
    assert memory.statistics().idle_nbytes == 4 * LARGEST
    assert resident_nbytes() - before < 4 * LARGEST + 4 * MIB
    kept = filled(memory, 1)
    assert memory.trim() == 4 * LARGEST
    assert memory.trim() == 0
    assert resident_nbytes() - before < 4 * MIB
    assert kept == b"\1" * SMALLEST
    check_pool(memory)


def test_huge_blocks_are_not_kept() -> None:
    """They go back to the system with the last view."""
    memory = PageMemory()
    before = resident_nbytes()
    view = filled(memory, 1, 64 * MIB)
    assert resident_nbytes() - before > 63 * MIB
    del view
    assert resident_nbytes() - before < 4 * MIB
    assert memory.statistics().idle_nbytes == memory.statistics().lent_nbytes == 0


@pytest.mark.parametrize("nbytes", LARGE_BLOCK_SIZES)
def test_two_large_blocks_are_kept_for_whole_messages(nbytes: int) -> None:
    """One is looked at while the other is filled; what is still seen is never filled again."""
    memory = PageMemory()
    seen = filled(memory, 0, nbytes)
    for value in range(1, 5):
        view = filled(memory, value, nbytes)
        assert seen == bytes((value - 1,)) * nbytes
        seen = view
    assert memory.statistics().allocated == 2
    del seen, view
    assert memory.statistics().idle_nbytes == 2 * nbytes
    assert memory.trim() == 2 * nbytes
    filled(careful := PageMemory(max_idle_nbytes=0), 1, nbytes)
    assert careful.statistics().idle_nbytes == 0
    check_pool(memory)


def test_one_byte_of_a_large_block_makes_no_huge_page_resident() -> None:
    """A peer that announces much and sends little costs little."""
    buffers = []
    before = resident_nbytes()
    for _ in range(20):
        buffers.append(PageMemory().reserve(64 * MIB))
        buffers[-1].put_slice(b"x")
    assert resident_nbytes() - before < 4 * MIB


# Used again, and not too early


@pytest.mark.parametrize(
    "hold",
    [
        pytest.param(lambda view: view, id="the view"),
        pytest.param(lambda view: view[5:6], id="a slice"),
        pytest.param(lambda view: view.pieces[0], id="a memoryview"),
        pytest.param(lambda view: np.asarray(view.contiguous())[::2], id="an array"),
        pytest.param(lambda view: view.extend_lifetime(), id="a guard"),
    ],
)
@pytest.mark.parametrize("nbytes", PAGE_BLOCK_SIZES)
def test_a_block_comes_back_when_the_last_that_shows_it_dies(nbytes: int, hold: Callable) -> None:
    """And not before; then the same pages are leased again."""
    memory = PageMemory()
    view = filled(memory, 1, nbytes)
    address = address_of(view.first_piece)
    last = hold(view)
    del view
    other = filled(memory, 2, nbytes)
    assert address_of(other.first_piece) != address
    assert memory.statistics().lent_nbytes == 2 * nbytes
    del last, other
    assert memory.statistics().idle_nbytes == 2 * nbytes
    again = [filled(memory, 3, nbytes) for _ in range(2)]
    assert address in {address_of(view.first_piece) for view in again}
    assert memory.statistics().allocated == 2
    check_pool(memory)


@pytest.mark.parametrize("order", [*itertools.permutations(("memory", "view", "part", "piece"))])
def test_what_is_dropped_in_whatever_order_shows_its_bytes_to_the_end(order: tuple) -> None:
    """The provider first, too."""
    memory = PageMemory()
    view = filled(memory, 7)
    held = {"memory": memory, "view": view, "part": view[1:9], "piece": view.first_piece}
    del memory, view
    for name in order:
        del held[name]
        if "memory" in held:
            assert filled(held["memory"], 9) == b"\11" * SMALLEST
        for kept in (held[name] for name in held if name != "memory"):
            assert bytes(kept) == b"\7" * len(kept)


def test_garbage_cycles_give_pages_back() -> None:
    """A cycle keeps its block until it is collected; what its finalizer resurrects is whole."""
    memory = PageMemory()
    seen: list[object] = []

    class Resurrects:
        def __init__(self, view: BytesView) -> None:
            self.cycle, self.view, self.piece = self, view, view.first_piece

        def __del__(self) -> None:
            seen.extend((self.piece, filled(memory, 9)))

    Resurrects(filled(memory, 7))
    gc.collect()
    assert [bytes(kept) for kept in seen] == [b"\7" * SMALLEST, b"\11" * SMALLEST]
    seen.clear()
    gc.collect()
    assert memory.statistics().lent_nbytes == 0
    assert memory.statistics().allocated == 2


def test_threads_never_see_each_others_bytes() -> None:
    """Each thread finds what it put."""
    memory = PageMemory()
    failures: list[object] = []

    def play(value: int) -> None:
        for _ in range(300):
            view = filled(memory, value)
            if view.to_bytes().count(value) != SMALLEST:
                failures.append(value)

    threads = [threading.Thread(target=play, args=(value,)) for value in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    check_pool(memory)


def test_parent_and_child_do_not_share_pages() -> None:
    """After `fork`, what one of them leases and writes never shows in the other's views."""
    script = """
import os, sys
from trio_bytesbuf.mem import PageMemory
memory = PageMemory()
def filled(value):
    buf = memory.reserve(10_000); buf.put_repeated(value, 10_000); return buf.consume_all()
held, idle = filled(1), filled(2)
del idle
ready, go = os.pipe(), os.pipe()
child = os.fork()
if not child:
    views = [filled(3) for _ in range(3)]
    os.write(ready[1], b"x"); os.read(go[0], 1)
    fine = all(view == bytes((3,)) * 10_000 for view in views) and held == bytes((1,)) * 10_000
    os._exit(0 if fine else 1)
os.read(ready[0], 1)
views = [filled(4) for _ in range(3)]
os.write(go[1], b"x")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert all(view == bytes((4,)) * 10_000 for view in views) and held == bytes((1,)) * 10_000
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={name: value for name, value in os.environ.items() if "COVERAGE" not in name},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


# With streams


async def test_a_stream_receives_into_pages() -> None:
    """Much and little stay in the pages they arrived in, and come home."""
    memory = PageMemory()
    ours, theirs = await socketpair(memory)
    data = noise(3 * MIB)
    async with closing(ours, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(theirs.send_all, data)
        views = []
        while sum(map(len, views)) < len(data):
            views.append(await ours.receive_view())
            check_laws(views[-1])
        assert all(address_of(view.first_piece) % mmap.PAGESIZE == 0 for view in views)
        assert b"".join(map(bytes, views)) == data
        assert ours.statistics().copied_nbytes == 0
        views.clear()
        nursery.start_soon(theirs.send_all, data)
        assert await receive_exactly(ours, len(data)) == data
    assert memory.statistics().lent_nbytes == 0
    check_pool(memory)


def refuse(*_: object, **__: object) -> None:
    """Do as the system does when it has no memory."""
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


async def test_a_stream_says_when_there_are_no_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent waits in the system, and arrives when there is memory again."""
    memory = PageMemory(max_idle_nbytes=0)
    ours, theirs = await socketpair(memory)
    async with closing(ours, theirs):
        await theirs.send_all(b"waits")
        with monkeypatch.context() as context:
            context.setattr(mmap, "mmap", refuse)
            with pytest.raises(MemoryError, match="Cannot allocate memory"):
                await ours.receive_view()
        assert await ours.receive_view() == b"waits"
