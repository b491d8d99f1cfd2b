"""Claims about pickled views: no byte is copied out of band, nothing crashes, memory comes home."""

import array
import copy
import gc
import mmap
import os
import pickle
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import cut_bytes

from trio_bytesbuf import BytesBuf, BytesView, GlobalPool
from trio_bytesbuf.mem import Block
from trio_bytesbuf.seq import _exports
from trio_bytesbuf.testing import FixedBlockMemory, check_laws

BLOCK = 65_536
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def address_of(buffer: object) -> int:
    """Return where in memory a buffer begins."""
    return np.frombuffer(memoryview(buffer), dtype="u1").__array_interface__["data"][0]


def places(buffers: Sequence[object]) -> list[tuple[int, int]]:
    """Return where buffers begin and how long they are."""
    return [(address_of(one), memoryview(one).nbytes) for one in buffers]


def dumped(value: object) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """Pickle `value` out of band."""
    buffers: list[pickle.PickleBuffer] = []
    return pickle.dumps(value, 5, buffer_callback=buffers.append), buffers


def pooled(pool: GlobalPool, nbytes: int = BLOCK, value: int = 7) -> BytesView:
    """Return a view of a whole number of blocks of `pool`."""
    buf = pool.reserve(nbytes)
    buf.put_repeated(value, nbytes)
    return buf.consume_all()


def mapped() -> BytesView:
    memory = mmap.mmap(-1, 3 * mmap.PAGESIZE)
    memory[:3] = b"map"
    return BytesView(memory)


VIEWS: dict[str, Callable[[], BytesView]] = {
    "pooled block": lambda: pooled(GlobalPool()),
    "slice of a block": lambda: pooled(GlobalPool())[100:-100],
    "bytes": lambda: BytesView(b"whole"),
    "slice of bytes": lambda: BytesView(b"a part")[2:-1],
    "bytearray": lambda: BytesView(bytearray(b"foreign")),
    "array of ints": lambda: BytesView(array.array("I", [1, 2, 3])),
    "numpy": lambda: BytesView(np.arange(30).reshape(5, 6)),
    "mmap": mapped,
    "several pieces": lambda: (
        pooled(GlobalPool())[5:] + b"bytes" + b"slice"[1:] + bytearray(b"own") + mapped()[1:]
    ),
    "many crumbs": lambda: BytesView.copied_from_slice(bytes(range(100)), FixedBlockMemory(3)),
    "empty": BytesView,
}
each_view = pytest.mark.parametrize(
    "make", [pytest.param(make, id=name) for name, make in VIEWS.items()]
)


@attrs.define
class Message:
    """What views are usually in."""

    head: BytesView
    body: list[BytesView]
    more: dict[str, object] = attrs.Factory(dict)


# Zero copies, by addresses


@each_view
def test_out_of_band_every_buffer_is_the_memory_of_its_piece(make: Callable[[], BytesView]) -> None:
    """One buffer for each piece, read-only, at the same place; so is the view that comes back."""
    view = make()
    pickled, buffers = dumped(view)
    assert places(buffers) == places(view.pieces)
    assert all(buffer.raw().readonly for buffer in buffers)
    assert len(pickled) < 100 + 3 * len(buffers), "bytes of the view are in the pickle"
    back = pickle.loads(pickled, buffers=buffers)
    check_laws(back)
    _exports.check_exports()
    assert places(back.pieces) == places(view.pieces)
    assert back == view


@given(cut_bytes(st.binary(max_size=200)), st.integers(0, 200), st.integers(0, 200))
def test_any_part_of_any_view_is_pickled_where_it_lies(
    drawn: tuple[bytes, BytesView], start: int, stop: int
) -> None:
    """However it was cut."""
    model, view = drawn
    part = view[start:stop]
    pickled, buffers = dumped(part)
    back = pickle.loads(pickled, buffers=buffers)
    check_laws(back)
    assert places(buffers) == places(part.pieces) == places(back.pieces)
    assert back == model[start:stop]


@each_view
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_in_band_every_protocol_gives_back_equal_bytes_that_are_fixed(
    protocol: int, make: Callable[[], BytesView]
) -> None:
    """They are in the pickle, so nobody can change them, and they have a hash."""
    view = make()
    back = pickle.loads(pickle.dumps(view, protocol))
    check_laws(back)
    assert back == view
    assert hash(back) == hash(view.to_bytes())


@each_view
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_views_in_other_things_are_pickled_with_them(
    protocol: int, make: Callable[[], BytesView]
) -> None:
    """In lists, dicts and attrs classes; the same view twice is one view again."""
    view = make()
    message = Message(view, [view, view[1:]], {"tail": view[-3:], "n": 1})
    back = pickle.loads(pickle.dumps(message, protocol))
    assert back == message
    assert back.body[0] is back.head
    if protocol == 5:
        pickled, buffers = dumped(message)
        again = pickle.loads(pickled, buffers=buffers)
        assert again == message
        parts = [*view.pieces, *view[1:].pieces, *view[-3:].pieces]
        assert places(buffers) == places(parts)


@each_view
def test_copies_share_all_memory(make: Callable[[], BytesView]) -> None:
    """`copy` and `deepcopy`, of a view and of what it is in, copy no byte."""
    view = make()
    message = Message(view, [view])
    for back in (copy.copy(view), copy.deepcopy(view), copy.deepcopy(message).head):
        assert places(back.pieces) == places(view.pieces)


def test_long_pieces_go_as_several_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is over the largest; together they are the piece, and the bytes are the same."""
    monkeypatch.setattr(_exports, "BUFFER_NBYTES_MAX", 10)
    view = BytesView(bytes(range(25))) + b"short"
    pickled, buffers = dumped(view)
    assert [memoryview(buffer).nbytes for buffer in buffers] == [10, 10, 5, 5]
    assert pickle.loads(pickled, buffers=buffers) == view
    assert pickle.loads(pickle.dumps(view, 5)) == view


# What is known of memory that comes back


def test_our_own_memory_is_known_again() -> None:
    """In the same process: the same exporter, the same metas, the same hash, or none."""
    buf = BytesBuf.from_blocks([Block(bytearray(4), meta="here")])
    buf.put_slice(b"abcd")
    view = buf.consume_all() + bytearray(b"changing") + b"bytes"
    pickled, buffers = dumped(view)
    back = pickle.loads(pickled, buffers=[memoryview(buffer) for buffer in buffers])
    assert back.block_refs == view.block_refs
    assert [piece.obj for piece in back.pieces] == [piece.obj for piece in view.pieces]
    assert all(a.obj is b.obj for a, b in zip(back.pieces, view.pieces, strict=True))
    assert hash(back[:4]) == hash(b"abcd")
    with pytest.raises(TypeError, match="may change"):
        hash(back[4:8])


def test_a_part_of_our_memory_is_known_too() -> None:
    """A transport may cut what it was given; the parts are still of memory that is fixed."""
    pickled, (buffer,) = dumped(pooled(GlobalPool()))
    back = pickle.loads(pickled, buffers=[memoryview(buffer)[10:20]])
    assert hash(back) == hash(b"\7" * 10)


def test_memory_that_only_looks_like_ours_is_not_trusted() -> None:
    """Read-only memory of somebody else may change all the same."""
    pickled, _ = dumped(BytesView(b"abc"))
    memory = bytearray(b"abc")
    theirs = memoryview(memory).toreadonly()
    for buffer in (memory, theirs, pickle.PickleBuffer(theirs), np.frombuffer(theirs, "u1")):
        back = pickle.loads(pickled, buffers=[buffer])
        with pytest.raises(TypeError, match="may change"):
            hash(back)
    assert hash(pickle.loads(pickled, buffers=[b"abc"])) == hash(b"abc")


def test_releasing_what_a_buffer_shows_leaves_the_view_whole() -> None:
    """Whoever has the buffer can reach its exporter; it is no piece of the view."""
    view = pooled(GlobalPool())
    _, (buffer,) = dumped(view)
    exporter = memoryview(buffer).obj
    buffer.release()
    if isinstance(exporter, memoryview):
        exporter.release()
    assert view.count(7) == BLOCK


# Memory comes home


@pytest.mark.parametrize("hold", [lambda b: b, lambda b: b.raw(), np.frombuffer, memoryview])
def test_memory_of_a_pickle_comes_home_when_its_buffers_are_gone(hold: Callable) -> None:
    """Not before; and then after a sweep, or, where none is needed, at once."""
    pool = GlobalPool()
    pickled, buffers = dumped(pooled(pool))
    held = [hold(buffer) for buffer in buffers]
    del buffers
    _exports.forget_what_exports_nothing()
    assert pool.statistics().lent_nbytes == BLOCK
    held.append(held)
    del held
    gc.collect()
    assert pool.statistics().lent_nbytes == 0
    assert not _exports._EXPORTED or not _exports.COLLECTOR_IS_SAFE or len(pickled)


@pytest.mark.skipif(_exports.COLLECTOR_IS_SAFE, reason="nothing is kept from 3.13 on")
def test_pickling_forgets_what_is_gone_and_takes_no_longer_for_what_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Old buffers that live on are looked at now and then, not each time."""
    _exports.forget_what_exports_nothing()
    alive = [dumped(BytesView(b"x" * 9)[1:]) for _ in range(1000)]
    sweeps = []
    sweep = _exports.forget_what_exports_nothing
    monkeypatch.setattr(
        _exports, "forget_what_exports_nothing", lambda: (sweeps.append(1), sweep())
    )
    gc.disable()
    try:
        for _ in range(500):
            dumped(BytesView(b"gone"))
    finally:
        gc.enable()
    assert 1 <= len(sweeps) <= 500 * _exports.LOOKS // 1000 + 1
    assert len(_exports._EXPORTED) < 1000 + 500
    del alive
    sweep()
    assert not [entry for entry in _exports._EXPORTED.values() if entry().nbytes == 8]


def test_threads_may_pickle_and_forget_at_once() -> None:
    """Nothing is lost, nothing raises, and all memory comes home."""
    pool = GlobalPool()
    wrong: list[object] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        held = []
        try:
            for _ in range(300):
                view = pooled(pool, value=seed)
                pickled, buffers = dumped(view)
                held.append((pickled, buffers))
                if len(held) > rng.randrange(8):
                    pickled, buffers = held.pop(rng.randrange(len(held)))
                    back = pickle.loads(pickled, buffers=buffers)
                    assert back[::4096] == bytes((seed,)) * 16
                if rng.random() < 0.3:
                    _exports.forget_what_exports_nothing()
        except BaseException as exc:  # noqa: BLE001
            wrong.append(exc)

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
    assert not wrong
    _exports.check_exports()
    _exports.forget_what_exports_nothing()
    assert pool.statistics().lent_nbytes == 0


# Garbage

GARBAGE = """
import gc, pickle, random, sys, threading
import numpy as np
from trio_bytesbuf import BytesView, GlobalPool
from trio_bytesbuf.seq import _exports

seed, rounds, nthreads, naked = map(int, sys.argv[1:])
pool = GlobalPool(max_idle_nbytes=1 << 20)

class Node:
    pass

def naked_buffers(view):
    return list(map(pickle.PickleBuffer, view.pieces))

def buffers_of(view):
    if naked:
        return naked_buffers(view)
    buffers = []
    pickle.dumps(view, 5, buffer_callback=buffers.append)
    return buffers

def view_of(rng):
    buf = pool.reserve(65_536)
    buf.put_repeated(1, 65_536)
    kinds = [buf.consume_all(), BytesView(bytes(99))[1:], BytesView(bytearray(9)), BytesView(b"w")]
    return BytesView.from_views(rng.sample(kinds, rng.randint(1, 4)))[rng.randrange(3):]

MAKE = [
    lambda b, v: b,
    lambda b, v: b.raw(),
    memoryview,
    np.frombuffer,
    lambda b, v: memoryview(b)[1:],
    lambda b, v: np.frombuffer(b.raw(), "u1")[::2],
    lambda b, v: memoryview(np.frombuffer(b, "u1")),
    lambda b, v: pickle.loads(pickle.dumps(v, 5, buffer_callback=lambda _: None),
                              buffers=[b] + [b""] * (len(v.pieces) - 1)),
    lambda b, v: iter(memoryview(b)),
]
MAKE[2] = lambda b, v: memoryview(b)
MAKE[3] = lambda b, v: np.frombuffer(b, "u1")

def one_round(rng):
    early = [Node() for _ in range(rng.randrange(3))]
    view = view_of(rng)
    buffers = buffers_of(view)
    held = [rng.choice(MAKE)(b, view) for b in buffers for _ in range(rng.randint(1, 3))]
    if rng.random() < .5:
        held += buffers
    if rng.random() < .5:
        held.append(view)
    held.append(rng)                       # a view may be empty
    rng.shuffle(held)
    nodes = early + [Node() for _ in range(rng.randint(1, 3))]
    rng.shuffle(nodes)
    for node, after in zip(nodes, nodes[1:] + nodes[:1]):
        node.after = after
        node.held = rng.sample(held, rng.randint(1, len(held)))
        node.frames = held if rng.random() < .5 else tuple(held)
    held.append(nodes)
    if rng.random() < .1:
        setattr(sys, "kept%d" % rng.randrange(5), nodes)   # until the very end, some of them
    if rng.random() < .3:
        _exports.forget_what_exports_nothing()
    del early, view, buffers, held, nodes, node, after
    if rng.random() < .7:
        gc.collect(rng.randrange(3))

def work(seed):
    rng = random.Random(seed)
    for _ in range(rounds):
        one_round(rng)

sys.setswitchinterval(1e-5)
threads = [threading.Thread(target=work, args=(seed * 100 + n,)) for n in range(1, nthreads)]
for thread in threads:
    thread.start()
work(seed * 100)
for thread in threads:
    thread.join()
_exports.check_exports()
gc.collect()
kept = [getattr(sys, name) for name in dir(sys) if name.startswith("kept")]
if seed % 2:                       # nothing is kept to the end: all memory is home
    for name in [name for name in dir(sys) if name.startswith("kept")]:
        delattr(sys, name)
    kept.clear()
    gc.collect()
    _exports.forget_what_exports_nothing()
    print("lent", pool.statistics().lent_nbytes, "exported", len(_exports._EXPORTED))
else:
    print("lent at the end")
gc.disable()
"""


def run_garbage(seed: int, rounds: int, threads: int, *, naked: bool = False) -> tuple[int, str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    arguments = map(str, (seed, rounds, threads, int(naked)))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", GARBAGE, *arguments],
        capture_output=True, text=True, timeout=120, check=False, env=environment,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("fixed", [3, 4, None])
def test_buffers_in_garbage_never_crash_and_their_memory_comes_home(
    fixed: int | None, threads: int
) -> None:
    """Whatever is made of them, in cycles of many shapes, however the collector comes by them."""
    seed = random.randrange(10**6) if fixed is None else fixed
    code, said = run_garbage(seed, 1500 // threads, threads)
    expected = "lent 0 exported 0" if seed % 2 else "lent at the end"
    assert (code, said.strip()) == (0, expected), f"seed {seed}"


@pytest.mark.skipif(_exports.COLLECTOR_IS_SAFE, reason="the collector copes from 3.13 on")
def test_the_same_garbage_of_naked_buffers_crashes() -> None:
    """Which is why there is a law about it, and shows that the test above can fail."""
    code, _ = run_garbage(3, 1500, 1, naked=True)
    assert code < 0, "this interpreter's collector copes: COLLECTOR_IS_SAFE is too careful"
