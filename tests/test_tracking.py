"""Claims about `TrackingPool`: what is out, who took it, who holds it; looking keeps nothing."""

from __future__ import annotations

import functools
import gc
import pickle
import random
import re
import sys
import threading
import types
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threads import play_in_threads

from trio_bytesbuf import (
    BytesBuf,
    BytesReader,
    BytesView,
    GlobalPool,
    default_memory,
)
from trio_bytesbuf.mem import (
    Memory,
    TrackingPool,
    format_outstanding,
    piece_counts,
    set_default_memory,
)
from trio_bytesbuf.mem._pool import BLOCK_SIZES, MAX_IDLE_NBYTES, UNPOOLED_NBYTES
from trio_bytesbuf.mem._tracking import REPORTED, SWEPT_NBYTES, check_tracking

BLOCK, LARGER, LARGEST = BLOCK_SIZES

# One of each way: not pooled, pooled, several blocks, more than a pool would keep.
SIZES = (1, UNPOOLED_NBYTES, UNPOOLED_NBYTES + 1, BLOCK, LARGEST, LARGEST + BLOCK + 1)
TOO_LARGE = MAX_IDLE_NBYTES + 1


def filled(pool: Memory, value: int = 0, nbytes: int = BLOCK) -> BytesView:
    """Return a view of `nbytes` equal bytes in blocks of `pool` that nothing else refers to."""
    buf = pool.reserve(nbytes)
    buf.put_repeated(value, nbytes)
    return buf.consume_all()


def line_of(function: Callable) -> int:
    """Return the second line of a function, where the leases below are."""
    return function.__code__.co_firstlineno + 1


# What is on record


def lease_builder(pool: TrackingPool, nbytes: int) -> object:
    return pool.reserve(nbytes)


def lease_for_a_receive(pool: TrackingPool, nbytes: int) -> object:
    return pool._lease(nbytes)


def lease_blocks(pool: TrackingPool, nbytes: int) -> object:
    return pool.blocks(nbytes)


def lease_copy(pool: TrackingPool, nbytes: int) -> object:
    return BytesView.copied_from_slice(bytes(nbytes), pool)


@pytest.mark.parametrize("nbytes", [*SIZES, TOO_LARGE])
@pytest.mark.parametrize("lease", [lease_builder, lease_for_a_receive, lease_blocks, lease_copy])
def test_every_lease_is_on_record_until_it_is_home(lease: Callable, nbytes: int) -> None:
    """Whichever way it was taken and however small, with the line outside the library."""
    pool = TrackingPool()
    held = lease(pool, nbytes)
    out = pool.outstanding()
    assert out
    assert sum(lease.nbytes for lease in out) == pool.statistics().lent_nbytes
    if lease is not lease_for_a_receive:  # which gets one block, and may get less
        assert pool.statistics().lent_nbytes >= nbytes
    for number, record in enumerate(out, 1):
        assert record.number == number
        assert (record.place.path, record.place.line) == (__file__, line_of(lease))
        assert record.place.function == lease.__qualname__
        assert record.places[1].function == sys._getframe().f_code.co_qualname
        assert record.thread == threading.current_thread().name
        assert 0 <= record.age < 60
        assert str(record).startswith(f"{record.nbytes} bytes, leased at {__file__}:")
    assert pool.statistics().leases == len(out)
    check_tracking(pool)
    del held
    assert pool.outstanding() == ()
    assert pool.statistics().lent_nbytes == 0
    check_tracking(pool)


def test_builders_that_use_the_default_memory_are_tracked() -> None:
    """`BytesBuf.reserve` without a memory is a lease like another."""
    before = default_memory()
    pool = TrackingPool()
    set_default_memory(pool)
    try:
        buf = BytesBuf()
        buf.reserve(10)
    finally:
        set_default_memory(before)
    assert [lease.nbytes for lease in pool.outstanding()] == [10]


@pytest.mark.parametrize(
    "hold",
    [
        pytest.param(lambda view: view, id="the view"),
        pytest.param(lambda view: view[5:6], id="a slice"),
        pytest.param(lambda view: view.pieces[0], id="a memoryview"),
        pytest.param(lambda view: np.asarray(view.contiguous())[::2], id="an array"),
        pytest.param(lambda view: view.extend_lifetime(), id="a guard"),
        pytest.param(BytesBuf.from_view, id="a builder"),
        pytest.param(BytesReader, id="a reader"),
        pytest.param(iter, id="an iterator"),
    ],
)
def test_a_lease_is_out_as_long_as_anything_shows_its_block(hold: Callable) -> None:
    """The last that refers to a block keeps it out, whatever it is, and looking does not."""
    pool = TrackingPool()
    view = filled(pool)
    last = hold(view)
    del view
    [lease] = pool.outstanding()
    assert lease.holders() != ()
    del last
    assert pool.outstanding() == ()
    assert lease.holders() == ()
    assert "nobody any more" in format_outstanding([lease])


def test_a_view_in_garbage_is_out_until_it_is_collected() -> None:
    """The count believes no finalizer; a collection brings the lease home."""
    pool = TrackingPool()
    cycle: list[object] = [filled(pool)]
    cycle.append(cycle)
    gc.disable()
    try:
        del cycle
        assert len(pool.outstanding()) == 1
        gc.collect()
        assert pool.outstanding() == ()
    finally:
        gc.enable()


def test_a_pickle_that_is_gone_holds_nothing() -> None:
    """What is only kept for the sake of the collector, before 3.13, is let go before judging."""
    pool = TrackingPool()
    view = filled(pool)
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(view, protocol=5, buffer_callback=buffers.append)
    del view
    assert len(pool.outstanding()) == 1
    assert pickle.loads(pickled, buffers=buffers) == bytes(BLOCK)
    buffers.clear()
    assert pool.outstanding() == ()


@given(nbytes=st.sampled_from(SIZES) | st.integers(0, 6 * LARGEST))
def test_sizes_are_those_of_the_pool_that_it_stands_for(nbytes: int) -> None:
    """A program gets the same blocks whether it is tracked or not."""
    tracked, plain = TrackingPool(), GlobalPool()
    for lease in (lambda pool: pool.blocks(nbytes), lambda pool: [pool._lease(nbytes)[0]]):
        assert [*map(len, lease(tracked))] == [*map(len, lease(plain))]
    assert tracked.reserve(nbytes).remaining_capacity == plain.reserve(nbytes).remaining_capacity


@pytest.mark.parametrize(
    ("nbytes", "error"), [(-1, ValueError), (1.0, TypeError), ("1", TypeError), (None, TypeError)]
)
def test_a_senseless_size_is_refused(nbytes: object, error: type) -> None:
    """As by the pool that it stands for; nothing is on record then."""
    pool = TrackingPool()
    with pytest.raises(error):
        pool.reserve(nbytes)
    assert pool.statistics().leases == 0


# A random program against a model

STEPS = st.lists(
    st.tuples(
        st.sampled_from(("lease", "cut", "drop", "lose", "collect", "trim", "look")),
        st.integers(0, 7),
        st.sampled_from(SIZES),
    ),
    max_size=30,
)


@settings(deadline=None)  # a look at who holds what takes long, and how long is no claim here
@given(steps=STEPS)
def test_what_is_out_is_what_a_model_says(steps: list[tuple[str, int, int]]) -> None:
    """Leases, slices, drops, garbage and collections in any order: the numbers agree, always.

    And whatever is used again meanwhile, each view shows what was put there.
    """
    pool = TrackingPool(max_idle_nbytes=2 * LARGEST)
    held: list[tuple[BytesView, frozenset[int], int]] = []  # a view, its leases, its value
    lost: set[int] = set()  # leases in garbage
    leases = 0
    gc.disable()
    gc.collect()
    gc.freeze()  # collections and looks are quick if they leave what was there before alone
    try:
        for step, at, nbytes in steps:
            if step == "lease":
                before, leases = leases, leases + len(list(GlobalPool().blocks(nbytes)))
                numbers = frozenset(range(before + 1, leases + 1))
                held.append((filled(pool, leases % 251, nbytes), numbers, leases % 251))
            elif step in {"drop", "lose", "cut"} and held:
                view, numbers, value = held.pop(at % len(held))
                if step == "cut":
                    held += [(view, numbers, value)] * 2
                elif step == "lose":
                    cycle: list[object] = [view]
                    cycle.append(cycle)
                    lost |= numbers
                    del cycle
                del view
            elif step == "collect":
                gc.collect()
                lost.clear()
            elif step == "trim":
                pool.trim()
            elif step == "look":
                format_outstanding(pool.outstanding()[:1])
            out = lost.union(*(numbers for _, numbers, _ in held))
            assert {lease.number for lease in pool.outstanding()} == out
            assert pool.statistics().leases == leases
            check_tracking(pool)
    finally:
        gc.enable()
    for view, _, value in held:
        assert view.to_bytes().count(value) == len(view), "somebody else's bytes"


# Who holds it


class Server:
    """Something that a program has."""

    greeting: object = None

    def __init__(self) -> None:
        self.cache: list[object] = []


class Slotted:
    """Keeps its attributes in slots."""

    __slots__ = ("empty", "view")


class Proxy:
    """Says that it is something else, and cannot say what."""

    def __init__(self, view: BytesView) -> None:
        self.view = view

    @property
    def __class__(self) -> type:
        raise RuntimeError("nobody should ask")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("nobody should compare")

    def __repr__(self) -> str:
        raise RuntimeError("nobody should print")

    __hash__ = None


@pytest.fixture
def program() -> types.ModuleType:
    """A module with globals. It is new: the collector does not know the old ones (conftest.py)."""
    module = types.ModuleType("program")
    module.KEPT = []
    module.Server = type("Server", (Server,), {"greeting": None})
    module.SERVER = module.Server()
    return module


def in_a_slot(view: BytesView) -> object:
    slotted = Slotted()
    slotted.view = view
    return slotted


def in_a_closure(view: BytesView) -> object:
    return lambda: view


def in_a_generator(view: BytesView) -> object:
    def generate(kept: BytesView) -> Iterator[None]:
        yield
        kept.release()

    generator = generate(view)
    next(generator)
    return generator


class Pause:
    """What a coroutine waits for."""

    def __await__(self) -> Iterator[None]:
        yield


def in_a_coroutine(view: BytesView) -> object:
    async def wait(kept: BytesView) -> None:
        await Pause()

    coroutine = wait(view)
    coroutine.send(None)
    return coroutine


def in_an_async_generator(view: BytesView) -> object:
    async def generate(kept: BytesView) -> AsyncIterator[None]:
        yield

    generator = generate(view)
    with pytest.raises(StopIteration):
        generator.asend(None).send(None)
    return generator


def in_a_cell_of_a_generator(view: BytesView) -> object:
    def generate(kept: BytesView) -> Iterator[Callable]:
        yield lambda: kept

    generator = generate(view)
    next(generator)
    return generator


def in_a_traceback(view: BytesView) -> object:
    def fail(kept: BytesView) -> None:
        raise ValueError("oh no")

    try:
        fail(view)
    except ValueError as exc:
        exc.__traceback__ = exc.__traceback__.tb_next  # without this function, which has `view`
        return exc


def in_another_module(view: BytesView) -> object:
    module = types.ModuleType("elsewhere")
    module.greeting = view
    return module


def in_a_class(view: BytesView) -> object:
    return type("Local", (), {"greeting": view})


def in_attributes(view: BytesView) -> object:
    outer, inner = Server(), Server()
    outer.cache, inner.cache = inner, {"last": view}
    return outer


HERE = "in list in global `KEPT` of module program"


@pytest.mark.parametrize(
    ("hold", "line"),
    [
        (lambda view: view, f"BytesView {HERE}"),
        (lambda view: view.pieces, f"memoryview in tuple {HERE}"),
        (lambda view: {"a": deque([view])}, f"BytesView in deque in dict {HERE}"),
        (BytesReader, f"BytesReader {HERE}"),
        (lambda view: view.extend_lifetime(), f"MemoryGuard {HERE}"),
        (BytesBuf.from_view, f"BytesBuf {HERE}"),
        (in_a_slot, f"BytesView in attribute `view` of <Slotted object> {HERE}"),
        (Proxy, f"BytesView in attribute `view` of <Proxy object> {HERE}"),
        (
            in_attributes,
            (
                "BytesView in dict in attribute `cache` of <Server object>"
                f" in attribute `cache` of <Server object> {HERE}"
            ),
        ),
        (in_a_closure, rf"BytesView in closure of function in_a_closure\S+ as `view` {HERE}"),
        (
            in_a_generator,
            rf"BytesView in local variable `kept` of function \S+generate, {__file__}",
        ),
        (in_a_cell_of_a_generator, r"BytesView in local variable `kept` of function \S+generate, "),
        (in_a_coroutine, rf"BytesView in local variable `kept` of function \S+wait, {__file__}"),
        (in_an_async_generator, r"BytesView in local variable `kept` of function \S+generate, "),
        (
            in_a_traceback,
            (
                rf"BytesView in local variable `kept` of function \S+fail, {__file__}:\d+"
                rf" in traceback of ValueError\('oh no'\) {HERE}"
            ),
        ),
        (in_another_module, "BytesView in global `greeting` of module elsewhere"),
        (in_a_class, "BytesView in attribute `greeting` of class Local"),
        (
            lambda view: functools.partial(len, view),
            f"BytesView in tuple in attribute `args` of <partial object> {HERE}",
        ),
        (
            lambda view: np.asarray(view.contiguous()),
            "memoryview, which only something refers to that cannot be looked into",
        ),
    ],
)
def test_the_holder_is_named(hold: Callable, line: str, program: types.ModuleType) -> None:
    """From the view on, up to something with a name; then the lease comes home (Law 1)."""
    pool = TrackingPool()
    program.KEPT.append(hold(filled(pool)))
    try:
        [lease] = pool.outstanding()
        [holder, *more] = lease.holders()
        assert re.match(line, holder)
        assert more == []
        assert f"    {holder}" in format_outstanding([lease]).splitlines()
    finally:
        program.KEPT.clear()
    gc.collect()  # exceptions and functions may be in cycles
    assert pool.outstanding() == ()


def test_attributes_of_globals_and_classes_are_named(program: types.ModuleType) -> None:
    """What is reached by a name in a module is told by that name."""
    pool = TrackingPool()
    program.SERVER.cache.append(filled(pool))
    program.Server.greeting = filled(pool)
    try:
        lines = [lease.holders() for lease in pool.outstanding()]
    finally:
        program.SERVER.cache.clear()
        program.Server.greeting = None
    where = "<Server object> in global `SERVER` of module program"
    assert lines == [
        (f"BytesView in list in attribute `cache` of {where}",),
        ("BytesView in attribute `greeting` of class Server",),
    ]
    assert pool.outstanding() == ()


def test_local_variables_that_run_are_named_and_let_go() -> None:
    """A variable of a running function is told with its line, and looking leaves nothing there."""
    pool = TrackingPool()
    view = filled(pool)
    [lease] = pool.outstanding()
    [holder] = lease.holders()
    function = sys._getframe().f_code.co_qualname
    assert holder.startswith(f"BytesView in local variable `view` of function {function}, ")
    assert len(view) == BLOCK
    del view
    assert pool.outstanding() == ()


def test_looking_leaves_the_dict_of_locals_alone_that_a_program_has() -> None:
    """Before 3.13 that dict and the one that looking makes are the same."""
    pool = TrackingPool()
    view = filled(pool)
    mine = locals()
    [lease] = pool.outstanding()
    lease.holders()
    assert mine["view"] is view


def test_variables_of_other_threads_are_named() -> None:
    """A thread that waits is told by its function and by its name, and lets go afterwards."""
    pool = TrackingPool()
    started, end = threading.Event(), threading.Event()

    def keep(kept: BytesView) -> None:
        started.set()
        end.wait(60)

    thread = threading.Thread(target=keep, args=(filled(pool),), name="keeper")
    thread.start()
    started.wait()
    [lease] = pool.outstanding()
    holders = lease.holders()
    end.set()
    thread.join()
    assert any(re.search(r"local variable `kept` of function \S+keep, ", line) for line in holders)
    assert any("thread 'keeper'" in line for line in holders)
    del thread
    assert pool.outstanding() == ()


def test_looking_is_bounded(program: types.ModuleType) -> None:
    """A thousand holders, or a hundred levels, give a few lines."""
    pool = TrackingPool()
    view = filled(pool)
    program.KEPT.extend([view] for _ in range(1000))
    del view
    deep = filled(pool)
    for _ in range(100):
        deep = [deep]
    try:
        wide_lines, deep_lines = [lease.holders() for lease in pool.outstanding()]
    finally:
        program.KEPT.clear()
    assert 1 <= len(wide_lines) <= 4
    assert len(deep_lines) == 1
    assert deep_lines[0].endswith("in list in list, and so on")
    del deep
    assert pool.outstanding() == ()


# The report


def test_a_report_counts_what_it_does_not_describe() -> None:
    """Ten leases are described; the others are counted for each line."""
    pool = TrackingPool()
    views = [filled(pool, nbytes=1) for _ in range(REPORTED + 5)]
    report = format_outstanding(pool.outstanding()).splitlines()
    assert report[0] == f"{REPORTED + 5} leases are out, {REPORTED + 5} bytes:"
    assert sum(line == "  held by" for line in report) == REPORTED
    assert report[-1].startswith(f"  and 5 more, leased at {__file__}:")
    views.clear()
    assert format_outstanding(pool.outstanding()) == ""


# What the pool holds


def test_statistics_count_what_the_ring_of_a_pool_forgets() -> None:
    """More blocks than are kept, and blocks of no pooled size, are all counted as lent."""
    pool = TrackingPool(max_idle_nbytes=BLOCK)
    views = [filled(pool) for _ in range(5)] + [filled(pool, nbytes=7)]
    statistics = pool.statistics()
    assert (statistics.leases, statistics.allocated) == (6, 6)
    assert (statistics.lent_nbytes, statistics.idle_nbytes) == (5 * BLOCK + 7, 0)
    assert statistics.shelves[0].lent_nbytes == 5 * BLOCK
    views.clear()
    statistics = pool.statistics()
    assert (statistics.lent_nbytes, statistics.idle_nbytes) == (0, BLOCK)
    filled(pool)
    assert (pool.statistics().leases, pool.statistics().allocated) == (7, 6)
    assert pool.trim() == BLOCK
    assert pool.statistics().idle_nbytes == 0


def test_what_came_home_is_not_kept_on_record() -> None:
    """A million bytes' worth of leases that came home leave no more than the sweep's allowance."""
    pool = TrackingPool()
    small = [filled(pool, nbytes=1) for _ in range(1000)]
    most = 0
    for _ in range(300):
        filled(pool, nbytes=LARGEST)
        records = list(pool._book._out.values())
        most = max(most, sum(record.nbytes for record in records))
    assert most <= SWEPT_NBYTES + 2 * LARGEST
    small.clear()
    for _ in range(5000):
        filled(pool, nbytes=1)
        most = len(pool._book._out)
    assert most <= 3


# Threads and finalizers


def test_threads_lease_and_drop_at_once() -> None:
    """Every lease is counted once, everybody sees their own bytes, and all comes home."""
    pool = TrackingPool()
    leases = 300

    def play(value: int) -> None:
        mine = random.Random(value)
        kept: list[BytesView] = []
        for _ in range(leases):
            kept.append(filled(pool, value, mine.choice((100, BLOCK, BLOCK, LARGER))))
            if len(kept) > 4:
                view = kept.pop(mine.randrange(4))
                assert view.to_bytes().count(value) == len(view), "somebody else's bytes"
                del view
            if mine.random() < 0.1:
                pool.outstanding()

    play_in_threads(play, range(1, 5))
    statistics = pool.statistics()
    assert (statistics.leases, statistics.lent_nbytes) == (4 * leases, 0)
    assert statistics.allocated < statistics.leases, "nothing was used again"
    check_tracking(pool)


def test_a_finalizer_may_lease_while_a_lease_is_going_on() -> None:
    """Collections happen in the middle of leases; what they lease is on record as well."""
    pool = TrackingPool()
    inside: list[BytesView] = []

    class LeasesWhenItDies:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            inside.append(filled(pool, 1))
            del inside[:-3]

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        outside = []
        for _ in range(200):
            LeasesWhenItDies()
            outside.append(filled(pool, 2))
            del outside[:-3]
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert inside, "no collection"
    assert all(view == b"\1" * BLOCK for view in inside)
    assert all(view == b"\2" * BLOCK for view in outside)
    assert len(pool.outstanding()) == len(inside) + len(outside)
    check_tracking(pool)
    inside.clear()
    outside.clear()
    assert pool.outstanding() == ()


def test_the_laws_notice_a_block_that_is_leased_and_in_the_ring() -> None:
    """`check_tracking` can fail."""
    pool = TrackingPool()
    view = filled(pool)
    [record] = pool._book.sweep()
    pool._shelves[0]._ring.append(record.block)
    with pytest.raises(AssertionError, match="Law 2"):
        check_tracking(pool)
    filled(pool, 9)
    assert view == bytes(BLOCK), "a block that somebody sees was leased"


# Pieces


def test_pieces_of_live_views_are_counted() -> None:
    """Each live view counts once, under its number of pieces, for each pool that it shows."""
    tracked, plain = TrackingPool(), GlobalPool()
    assert piece_counts(tracked) == piece_counts(plain) == {}
    views = [filled(pool, nbytes=BLOCK) for pool in (tracked, plain)]
    views.append(views[0] + views[1])
    views.append(views[0] + b"more" + views[0])
    assert piece_counts(tracked) == {1: 1, 2: 1, 3: 1}
    assert piece_counts(plain) == {1: 1, 2: 1}
    everywhere = piece_counts()
    views.append(BytesView())
    assert piece_counts()[0] == everywhere.get(0, 0) + 1
    views[0].release()
    assert piece_counts(tracked) == {2: 1, 3: 1}
    views.clear()
    assert piece_counts(tracked) == {}


def test_only_pools_have_blocks_to_look_for() -> None:
    """Another memory cannot say which blocks are its own."""
    with pytest.raises(TypeError):
        piece_counts(default_memory)
