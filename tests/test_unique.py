"""`is_unique` and `try_from_unique`: yes exactly when nobody else can see the memory."""

import ctypes
import mmap
import pickle
import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from threads import play_in_threads

from trio_bytesbuf import BytesBuf, BytesReader, BytesView, GlobalPool
from trio_bytesbuf.mem import Memory, PlainMemory
from trio_bytesbuf.seq import _unique
from trio_bytesbuf.testing import FixedBlockMemory, check_laws

POOLED_NBYTES = 65_536
"""The smallest block that `GlobalPool` keeps."""

DATA = bytes(range(250)) * 80  # more than a pool gives without a shelf
MEMORIES = {
    "plain": PlainMemory,
    "blocks of 4999": lambda: FixedBlockMemory(4999),
    "pool": GlobalPool,
}


def frozen(memory: Memory | None = None, data: bytes = DATA) -> BytesView:
    """Return a view that nobody else knows of."""
    buf = BytesBuf.with_capacity(len(data), memory or PlainMemory())
    buf.put_slice(data)
    return buf.freeze()


def in_a_thread(view: BytesView) -> object:
    """Have a thread hold a piece; return what lets it go."""
    piece, go = view.pieces[0], threading.Event()
    thread = threading.Thread(target=lambda _: go.wait(), args=(piece,), daemon=True)
    thread.start()

    class Held:
        def __del__(self) -> None:
            go.set()
            thread.join()

    return Held()


def in_a_traceback(view: BytesView) -> BaseException:
    """Return an error whose traceback has a frame with a piece in it."""

    def fail() -> None:
        piece = view.pieces[0]
        raise KeyError(len(piece))

    try:
        fail()
    except KeyError as error:
        return error.with_traceback(error.__traceback__.tb_next)


def pickled(view: BytesView) -> list[pickle.PickleBuffer]:
    buffers: list[pickle.PickleBuffer] = []
    pickle.dumps(view, 5, buffer_callback=buffers.append)
    return buffers


def some_of(iterator: Iterator[int]) -> Iterator[int]:
    next(iterator)
    return iterator


HOLDERS: dict[str, Callable[[BytesView], object]] = {
    "slice": lambda view: view[1:3],
    "memoryview": lambda view: view.pieces[-1],
    "slice of a memoryview": lambda view: view.pieces[0][1:2],
    "reader": BytesReader,
    "second view": BytesView,
    "joined": lambda view: view + b"more",
    "guard": BytesView.extend_lifetime,
    "numpy": lambda view: np.frombuffer(view.pieces[0], "u1"),
    "numpy, cut": lambda view: np.frombuffer(view.pieces[0], "u1")[5:],
    "ctypes": lambda view: (ctypes.c_char * 1).from_buffer(view.pieces[0].obj),
    "exporter": lambda view: view.pieces[0].obj,
    "out of band": pickled,
    "iterator": lambda view: some_of(iter(view)),
    "thread": in_a_thread,
    "traceback": in_a_traceback,
    "builder": BytesBuf.from_view,
}


@pytest.mark.parametrize("memory", MEMORIES.values(), ids=MEMORIES)
@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
def test_a_view_is_unique_exactly_while_nobody_else_sees_it(hold, memory) -> None:
    """No while somebody holds it, in whatever form, and yes as soon as that is gone."""
    view = frozen(memory())
    assert view.is_unique()
    held = hold(view)
    assert not view.is_unique()
    assert BytesBuf.try_from_unique(view) is None
    assert view == DATA, "a refused view was changed"
    del held
    GlobalPool().statistics()  # before 3.13, what was pickled is let go when somebody asks
    assert view.is_unique()
    buf = BytesBuf.try_from_unique(view)
    buf.overwrite(0, DATA[::-1])
    check_laws(buf)
    assert buf.consume_all() == DATA[::-1]


def test_a_builder_with_the_rest_of_the_block_makes_a_view_not_unique() -> None:
    """Its block is the same memory; when the builder is gone, or has let go, the view is alone."""
    buf = BytesBuf.with_capacity(100, PlainMemory())
    buf.put_slice(b"abc")
    view = buf.consume_all()
    assert not view.is_unique()
    buf.freeze()
    assert view.is_unique()


def test_blocks_that_a_pool_keeps_are_taken() -> None:
    """A shelf refers to its block and sees nothing; the pool does not lease it meanwhile."""
    pool = GlobalPool()
    view = frozen(pool, bytes(POOLED_NBYTES))
    assert pool.statistics().lent_nbytes == POOLED_NBYTES
    buf = BytesBuf.try_from_unique(view)
    assert buf is not None
    other = pool.reserve(POOLED_NBYTES)
    other.put_repeated(1, POOLED_NBYTES)
    assert buf.peek() == bytes(POOLED_NBYTES)


@pytest.mark.parametrize("kind", ["bytes", "mapping", "foreign bytearray", "array"])
def test_memory_that_others_may_have_is_not_taken(kind: str) -> None:
    """What is not a bytearray never is; a bytearray is when its variable is gone."""
    memory = {
        "bytes": lambda: b"abc",
        "mapping": lambda: mmap.mmap(-1, 3),
        "foreign bytearray": lambda: bytearray(b"abc"),
        "array": lambda: np.zeros(3, "u1"),
    }[kind]()
    view = BytesView(memory)
    assert BytesBuf.try_from_unique(view) is None
    del memory
    assert view.is_unique() == (kind == "foreign bytearray")


def test_a_view_that_shows_a_byte_twice_is_not_unique() -> None:
    """As a builder it would write to a byte that it has shown elsewhere."""
    for start in (3, 5):
        view = frozen()
        view = view[:5] + view[start:]
        assert view.is_unique() == (start == 5)
        assert (BytesBuf.try_from_unique(view) is None) == (start == 3)


def test_a_released_view_and_other_things_are_refused() -> None:
    """With a TypeError for what is no view."""
    with pytest.raises(TypeError, match="BytesView"):
        BytesBuf.try_from_unique(b"abc")
    view = frozen()
    BytesBuf.try_from_unique(view)
    assert repr(view) == "<BytesView, released>"


def test_a_pool_that_forgets_a_block_meanwhile_does_not_hide_who_sees_it(monkeypatch) -> None:
    """Another thread may trim the pool between the two counts; the answer stays no."""
    pool = GlobalPool()
    view = frozen(pool, bytes(POOLED_NBYTES))
    seer = memoryview(view.pieces[0].obj)
    times_kept = _unique.keepers[0]

    def keep_and_trim(exporter: object) -> int:
        kept = times_kept(exporter)
        pool.trim()
        return kept

    monkeypatch.setattr(_unique, "keepers", [keep_and_trim])
    assert not view.is_unique()
    assert seer.nbytes == POOLED_NBYTES


def test_who_looks_at_a_view_while_it_is_taken_keeps_what_was_seen(monkeypatch) -> None:
    """Another thread with the same view may look after the first proof; so there is a second."""
    view, seen = frozen(), []

    def look(exporter: object) -> int:
        if not seen:
            seen.extend(view.pieces)  # the counts of the only piece have been asked already
        return 0

    monkeypatch.setattr(_unique, "keepers", [look])
    assert BytesBuf.try_from_unique(view) is None
    assert seen[0] == DATA
    assert view == DATA, "a refused view was released"


@pytest.mark.parametrize("setter", ["settrace", "setprofile"])
def test_no_tracer_makes_the_answer_a_wrong_yes(setter: str) -> None:
    """One that keeps all local variables may make it no; with a holder, it always is."""
    kept: list[object] = []

    def tracer(frame, event, arg):
        kept.append(dict(frame.f_locals))
        return tracer

    view = frozen()
    held = view.pieces[0]
    before = getattr(sys, setter.replace("set", "get"))()
    getattr(sys, setter)(tracer)
    try:
        seen = view.is_unique()
        taken = BytesBuf.try_from_unique(view)
        free = frozen()
        granted = BytesBuf.try_from_unique(free)
    finally:
        getattr(sys, setter)(before)
    assert (seen, taken) == (False, None)
    assert granted is None, "the tracer has its memory in a dict"
    assert held == DATA


def test_threads_that_lease_from_the_same_pool_corrupt_nothing() -> None:
    """Some take views and reclaim blocks, others lease and look, all from one small pool."""
    pool = GlobalPool(max_idle_nbytes=3 * POOLED_NBYTES)

    def play(seed: object) -> None:
        kept: list[tuple[BytesView, int]] = []
        buf = pool.reserve(POOLED_NBYTES)
        for step in range(150):
            value = (int(seed) * 151 + step) % 256
            view = frozen(pool, bytes((value,)) * 20_000)
            if step % 3:
                kept.append((view[5:], value))
            taken = BytesBuf.try_from_unique(view)
            assert (taken is None) == bool(step % 3) or taken is None
            if taken is not None:
                taken.overwrite(0, bytes(20_000))
            if not buf.try_reclaim(20_000):
                buf = pool.reserve(POOLED_NBYTES)
            buf.put_repeated(value, 20_000)
            kept.append((buf.consume_all(), value))
            for shown, expected in kept:
                assert shown[0] == shown[-1] == expected
            del kept[: step % 5], view, taken
            shown = None
            if step % 50 == 0:
                pool.trim()

    play_in_threads(play, range(4), 1e-5)
    check_laws(pool)
