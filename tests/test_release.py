"""Claims about release hooks: run once each, in time, and never while somebody sees the memory."""

import contextlib
import gc
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from leaving import HookError, LooksWhenItDies
from machine import EXAMPLES_FACTOR, FORMS, Kept, Phoenix, fresh_bytes
from planting import check_that_it_is_seen
from test_pool import is_too_deep
from threads import play_in_threads

from trio_bytesbuf import BadMemory, BytesBuf, BytesReader, BytesView, MemoryInUse
from trio_bytesbuf.mem import Block, MemoryShared, OpaqueMemory
from trio_bytesbuf.seq import _hook_errors, _release
from trio_bytesbuf.testing import check_laws

INVERTED = bytes(range(255, -1, -1))
"""What hooks make of each byte: another one, whatever it was."""

DATA = bytes(range(16))


@attrs.define(eq=False)
class Loan:
    """A block with a hook that writes all over it: who still looks at it sees that."""

    nbytes: int = 16
    then: Callable[[], object] = bool
    memory: bytearray = attrs.field(
        init=False, default=attrs.Factory(lambda self: bytearray(self.nbytes), takes_self=True)
    )
    released: int = attrs.field(init=False, default=0)

    def on_release(self) -> None:
        self.memory[:] = self.memory.translate(INVERTED)
        self.released += 1
        self.then()

    def block(self) -> Block:
        return Block(self.memory, on_release=self.on_release)

    def builder(self) -> BytesBuf:
        return BytesBuf.from_blocks([self.block()])

    def view(self, data: bytes | None = None) -> BytesView:
        """Return a view that shows `data` in this block."""
        buf = self.builder()
        buf.put_slice(bytes(range(self.nbytes)) if data is None else data)
        return buf.consume_all()


class HookedMemory(MemoryShared):
    """Uses blocks again when their hooks have run, which change every byte of them."""

    def __init__(self, block_nbytes: int = 16, then: Callable[[], object] = bool) -> None:
        self.block_nbytes = block_nbytes
        self.then = then
        self.idle: list[bytearray] = []
        self.made = 0

    def blocks(self, nbytes: int, /) -> Iterator[Block]:
        for _ in range(-(-nbytes // self.block_nbytes)):
            try:
                memory = self.idle.pop()
            except IndexError:
                memory = bytearray(self.block_nbytes)
                self.made += 1
            yield Block(memory, on_release=lambda memory=memory: self.come_home(memory))

    def come_home(self, memory: bytearray) -> None:
        memory[:] = memory.translate(INVERTED)
        self.idle.append(memory)
        self.then()

    def __repr__(self) -> str:
        return "HookedMemory()"


def collect_leases() -> None:
    """Collect garbage while leases are out; what rises from the dead dies in the second round."""
    for _ in range(3):
        if _release._OUT:
            gc.collect()


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """Every test leaves no lease, no doubt and no complaint behind."""
    collect_leases()
    yield
    collect_leases()
    assert not _release._OUT, "a hook that has not run"
    assert not _release._DOUBTED, "a lease that is over and still in doubt"
    assert not _hook_errors._FAILED, "a hook that has raised, and nobody was told"


# When a hook runs

HOLDERS = {
    "the view": lambda view: view,
    "a slice": lambda view: view[5:6],
    "a longer one": lambda view: view + b"more",
    "a memoryview": lambda view: view.pieces[0],
    "the first piece": lambda view: view.first_piece,
    "a slice of a memoryview": lambda view: view.pieces[0][3:4],
    "a cast": lambda view: view.contiguous().cast("H"),
    "an array": lambda view: np.asarray(view.contiguous())[::2],
    "a guard": lambda view: view.extend_lifetime(),
    "a builder": BytesBuf.from_view,
    "a reader": BytesReader,
    "an iterator": iter,
    "the exporter": lambda view: view.first_piece.obj,
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS.keys())
def test_a_hook_runs_when_the_last_that_shows_the_memory_dies_and_not_before(hold) -> None:
    """Whatever is left of a view delays the hook; then it runs at once, without a collection."""
    loan = Loan()
    view = loan.view()
    last = hold(view)
    del view
    gc.collect()
    assert (loan.released, loan.memory) == (0, DATA)
    gc.disable()
    try:
        del last
        assert (loan.released, loan.memory) == (1, DATA.translate(INVERTED))
    finally:
        gc.enable()


def test_a_hook_runs_when_a_view_is_released() -> None:
    """`release` lets go of the memory, though somebody still refers to the view."""
    loan = Loan()
    with loan.view():
        assert loan.released == 0
    assert loan.released == 1


@pytest.mark.parametrize("keep", [Loan.block, Loan.builder], ids=["a block", "an empty builder"])
def test_room_delays_the_hook_too(keep) -> None:
    """A block that nobody took, and room that nobody filled, are seen until they are dropped."""
    loan = Loan()
    kept = keep(loan)
    assert loan.released == 0
    del kept
    assert loan.released == 1


def test_a_hook_waits_for_both_halves_of_a_block_that_was_split() -> None:
    """The far part of a block has no hook of its own and holds the same memory."""
    loan = Loan()
    near = loan.builder()
    far = near.split_off_remaining(6)
    del near
    assert loan.released == 0
    far.put_slice(b"123456")
    view = far.consume_all()
    del far
    assert (loan.released, view) == (0, b"123456")
    del view
    assert loan.released == 1


def test_a_hook_runs_for_a_block_over_a_part_of_an_array() -> None:
    """Memory that starts in the middle of somebody's array is proved free as well."""
    whole = np.zeros(32, dtype="u1")
    released: list[str] = []
    blocks = [
        Block(memoryview(whole)[:16], on_release=lambda: released.append("left")),
        Block(memoryview(whole)[16:], on_release=lambda: released.append("right")),
    ]
    left, right = (BytesBuf.from_blocks([block]) for block in blocks)
    del blocks
    right.put_repeated(7, 16)
    view = right.consume_all()
    del right
    assert released == []
    del left
    assert released == ["left"]
    del view
    assert released == ["left", "right"]
    assert bytes(whole) == bytes(16) + b"\7" * 16


@pytest.mark.parametrize("in_a_thread", [False, True])
def test_the_last_view_may_die_in_any_thread(in_a_thread: bool) -> None:
    """The hook runs in the thread that dropped the memory last."""
    ran_in: list[threading.Thread] = []
    loan = Loan(then=lambda: ran_in.append(threading.current_thread()))
    views = [loan.view()]
    thread = threading.Thread(target=views.clear)
    if in_a_thread:
        thread.start()
        thread.join()
    else:
        views.clear()
    assert ran_in == [thread if in_a_thread else threading.current_thread()]


def test_a_hook_is_checked_when_the_block_is_made() -> None:
    """What cannot be called is refused; and what is no block has no hook that could run."""
    with pytest.raises(TypeError, match="on_release is called; a int cannot be"):
        Block(bytearray(1), on_release=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be writable"):
        Block(b"read-only", on_release=bool)
    with pytest.raises(ValueError, match="not 0"):
        Block(bytearray(), on_release=bool)


# Garbage


@pytest.mark.parametrize("generation", [0, 1, 2])
@pytest.mark.parametrize("pieces", [False, True])
def test_finalizers_of_garbage_see_the_bytes_and_the_hook_runs_after_them(
    generation: int, pieces: bool
) -> None:
    """A lease in dead cycles is over when the collection that found it has ended, young or old."""
    loan, seen = Loan(), []
    LooksWhenItDies(loan.view(), seen, pieces)
    gc.collect(generation)
    assert seen == [DATA]
    assert loan.released == 1


def test_what_comes_back_to_life_keeps_its_bytes() -> None:
    """A lease whose finalizer ran in vain is looked at again, and its hook runs when it is over."""
    loan, nest = Loan(), []
    Phoenix(Kept(loan.view(), DATA), nest)
    gc.collect()
    (risen,) = nest
    risen.check()
    gc.collect()
    assert loan.released == 0
    del nest[:], risen
    assert loan.released == 0, "the finalizer runs only once, so it cannot have run here"
    gc.collect(0)
    assert loan.released == 1


def test_a_young_collection_looks_only_at_leases_in_doubt(monkeypatch) -> None:
    """However many leases are out, a young collection costs nothing; a full one looks at all."""
    loans = [Loan() for _ in range(50)]
    views = [loan.view() for loan in loans]
    looked_at: list[object] = []
    open_slices = _release.open_slices

    def look(window):
        looked_at.append(window)
        return open_slices(window)

    gc.disable()
    try:
        monkeypatch.setattr(_release, "open_slices", look)
        gc.collect(0)
        gc.collect(1)
        assert looked_at == []
        gc.collect(2)
        assert len(looked_at) == 50
    finally:
        gc.enable()
    looked_at.clear()
    views.clear()
    assert [loan.released for loan in loans] == [1] * 50


def test_a_lease_whose_finalizer_never_came_to_its_end_is_found_by_a_full_collection() -> None:
    """A finalizer that is interrupted at once delays the hook and loses nothing."""
    loan = Loan()
    view = loan.view()
    lease_class = type(view.first_piece.obj)
    assert issubclass(lease_class, _release._Lease)
    finalizer = _release._Lease.__del__
    _release._Lease.__del__ = lambda _: None
    try:
        del view
    finally:
        _release._Lease.__del__ = finalizer
    gc.collect(0)
    assert loan.released == 0
    gc.collect()
    assert loan.released == 1


def test_a_lease_that_was_interrupted_while_it_was_made_dies_in_silence(monkeypatch) -> None:
    """It has no record yet, and its finalizer complains of nothing."""
    unraised: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unraised.append)
    _release._lease_class(4).from_buffer(bytearray(4))
    assert unraised == []


# Windows


@pytest.mark.parametrize("size", [4, 100_000])
def test_windows_over_hooked_blocks_delay_the_hook(size: int) -> None:
    """A window that outlives its builder, and a slice of one, can still write."""
    loan = Loan(size)
    buf = loan.builder()
    window = buf.chunk_mut()
    window[:2] = b"ab"
    part = window[:3]
    with pytest.raises(MemoryInUse):
        buf.advance_mut(2)
    del part
    buf.advance_mut(2)
    assert buf.peek() == b"ab"
    check_laws(buf)
    late = buf.chunk_mut()
    del buf, window
    assert loan.released == 0
    late[:] = b"z" * len(late)
    assert loan.released == 0
    del late
    assert loan.released == 1


def test_a_vectored_write_over_hooked_blocks_keeps_the_hooks_waiting() -> None:
    """Room that somebody may still write is given up by the builder, and not released."""
    loans = [Loan(4), Loan(6), Loan(8)]
    buf = BytesBuf.from_blocks([loan.block() for loan in loans])
    with buf.begin_vectored_write(10) as write:
        write.pieces[0][:] = b"0123"
        write.pieces[1][:2] = b"45"
        write.commit(6)
    assert (buf.peek(), buf.remaining_capacity) == (b"012345", 12)
    pens = []
    with buf.begin_vectored_write(5) as write:
        pens.append(write.pieces[0][1:2])
    check_laws(buf)
    del write
    assert (buf.peek(), buf.remaining_capacity) == (b"012345", 0)
    del buf
    assert [loan.released for loan in loans] == [1, 0, 1]
    pens[0][:] = b"!"
    pens.clear()
    assert [loan.released for loan in loans] == [1, 1, 1]


def test_a_guard_of_a_vectored_write_keeps_the_hook_waiting() -> None:
    """Whoever was told an address may write until the guard is released."""
    loan = Loan()
    buf = loan.builder()
    with buf.begin_vectored_write() as write:
        guard = write.extend_lifetime()
    del buf, write
    gc.collect()
    assert loan.released == 0
    guard.release()
    assert loan.released == 1


# What hooks do


@pytest.fixture
def told(monkeypatch) -> list[tuple[str, str]]:
    """Return what `sys.unraisablehook` is told: of whom, and which error."""
    heard: list[tuple[str, str]] = []
    monkeypatch.setattr(
        sys,
        "unraisablehook",
        lambda it: heard.append(  # CPython 3.14 says in its message whose it is
            (f"{it.object!r} {it.err_msg}", f"{it.exc_type.__name__}: {it.exc_value}")
        ),
    )
    return heard


def failing(*errors: BaseException) -> Callable[[], None]:
    """Return what raises these errors, one at each call, and then nothing."""
    left = list(errors)

    def fail() -> None:
        if left:
            raise left.pop(0)

    return fail


def test_what_a_hook_raises_is_the_providers_next_error_and_only_that(told) -> None:
    """`BadMemory` names the provider and the hook's error, at the next call and never again."""
    memory = HookedMemory(then=failing(HookError("no room on the shelf")))
    other = HookedMemory()
    BytesView.copied_from_slice(bytes(40), memory)
    other.reserve(5)
    with pytest.raises(BadMemory) as caught:
        memory.reserve(5)
    assert caught.value.provider == "HookedMemory()"
    assert caught.value.complaint == (
        "has a release hook that raised HookError: no room on the shelf"
    )
    del caught
    assert memory.reserve(5).remaining_capacity == 16
    assert told == []


def test_no_error_of_a_hook_is_lost(told) -> None:
    """One waits for the provider at a time; whoever listens is told of the others, in order."""
    memory = HookedMemory(then=failing(*[HookError(number) for number in range(5)]))
    BytesView.copied_from_slice(bytes(40), memory)  # three blocks
    _hook_errors.check_hook_errors()
    assert [error for _, error in told] == ["HookError: 1", "HookError: 2"]
    assert all("release hook of a HookedMemory" in whose for whose, _ in told)
    with pytest.raises(BadMemory, match="HookError: 0"):
        memory.reserve(1)
    memory.reserve(1)
    memory.then = bool
    with pytest.raises(BadMemory, match="HookError: 3"):
        memory.reserve(1)
    memory.reserve(1)
    assert len(told) == 2


def test_an_error_that_waits_in_vain_is_told_when_its_provider_dies(told) -> None:
    """It keeps neither the provider nor an entry, and no other provider is told of it."""
    memory = HookedMemory(then=failing(HookError("not asked again")))
    death = weakref.ref(memory)
    BytesView.copied_from_slice(DATA, memory)
    (key,) = _hook_errors._FAILED
    assert key == id(memory)
    assert told == []
    del memory
    gc.collect()
    assert death() is None
    assert not _hook_errors._FAILED
    ((whose, error),) = told
    assert error == "HookError: not asked again"
    assert f"<release hook of a HookedMemory, raised at {__file__}:" in whose


def test_a_provider_where_a_dead_one_was_is_not_told(told) -> None:
    """Law 3 of `_hook_errors`, also if the entry stayed, as there was no memory to remove it."""
    memory, other = HookedMemory(then=failing(HookError("old"))), HookedMemory()
    BytesView.copied_from_slice(DATA, memory)
    failure = _hook_errors._FAILED.pop(id(memory))
    failure.key = id(other)
    _hook_errors._FAILED[failure.key] = failure
    other.reserve(1)
    assert [error for _, error in told] == ["HookError: old"]
    assert not _hook_errors._FAILED
    memory.reserve(1)


def test_the_same_error_again_and_again_does_not_grow(told) -> None:
    """Law 4 of `_hook_errors`: no note, no traceback, however often it is raised."""
    error = HookError("always this one")
    memory = HookedMemory(then=failing(*[error] * 40))
    for _ in range(10):
        with contextlib.suppress(BadMemory):
            BytesView.copied_from_slice(bytes(40), memory)
    assert len(told) >= 10
    assert not hasattr(error, "__notes__")
    memory.then = bool
    with contextlib.suppress(BadMemory):
        memory.reserve(1)
    del memory
    frames = 0
    traceback = error.__traceback__
    while traceback is not None:
        traceback, frames = traceback.tb_next, frames + 1
    assert frames <= 5


@pytest.mark.parametrize("raises", [{0}, {3}, set(range(10))], ids=["first", "fourth", "all"])
@pytest.mark.parametrize("handling", [False, True])
def test_a_hook_that_raises_delays_no_other(raises: set[int], handling: bool, told) -> None:
    """Nothing that was over when it was raised is kept by what was raised."""
    gone: list[int] = []

    def end(number: int) -> None:
        gone.append(number)
        if number in raises:
            raise HookError(number)

    class Giver(MemoryShared):
        def blocks(self, nbytes: int, /) -> list[Block]:
            return [
                Block(bytearray(1), on_release=lambda number=number: end(number))
                for number in range(nbytes)
            ]

    memory = Giver()

    def use() -> None:
        buf = BytesBuf.with_capacity(10, memory)
        buf.put_slice(bytes(8))
        view = buf.consume(3)
        try:
            if handling:
                raise ValueError
        except ValueError:
            buf.truncate(1)
        del view
        buf.clear()

    use()
    assert sorted(gone) == list(range(10))
    with pytest.raises(BadMemory):
        memory.reserve(0)
    assert len(told) == len(raises) - 1


ASK = {
    "reserve": lambda memory: memory.reserve(1),
    "a builder": lambda memory: BytesBuf().reserve(1, memory),
    "copied_from_slice": lambda memory: BytesView.copied_from_slice(b"x", memory),
    "a receive": lambda memory: memory._lease(1),
    "hidden, reserve": lambda memory: OpaqueMemory(memory).reserve(1),
    "hidden, a builder": lambda memory: BytesBuf().reserve(1, OpaqueMemory(memory)),
    "hidden, a receive": lambda memory: OpaqueMemory(memory)._lease(1),
}


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK.keys())
@pytest.mark.parametrize("before", ASK.values(), ids=ASK.keys())
def test_every_door_tells_what_a_hook_has_raised(before, ask) -> None:
    """Whichever way memory was asked for, any way of asking its provider again is told."""

    def fail() -> None:
        raise HookError

    memory = HookedMemory(then=fail)
    before(memory)
    memory.then = bool
    with pytest.raises(BadMemory, match=r"^HookedMemory\(\) has a release hook that raised"):
        ask(memory)
    ask(memory)


CONTEXTS = ["nothing", "an error", "an error of its own", "a group"]


@pytest.mark.parametrize("handled", CONTEXTS)
def test_an_error_that_waits_keeps_no_variable_of_who_let_the_memory_go(handled: str) -> None:
    """Neither theirs nor those of their callers, whatever was handled; and it says where it was."""

    class Large(bytearray):
        pass

    fails = iter([True])

    def end() -> None:
        if not next(fails, False):
            return
        if handled == "an error of its own":
            try:
                raise HookError("inner")
            except HookError as exc:
                raise HookError("planted") from exc
        if handled == "a group":
            try:
                raise HookError("inner")
            except HookError as exc:
                raise ExceptionGroup("planted", [exc]) from None
        raise HookError("planted")

    class Giver(MemoryShared):
        def blocks(self, nbytes: int, /) -> list[Block]:
            return [Block(bytearray(nbytes), on_release=end)]

    def use(memory: Giver) -> "weakref.ref[Large]":
        large = Large(100)
        view = BytesView.copied_from_slice(b"abc", memory)
        try:
            if handled == "an error":
                raise ValueError
        except ValueError:
            del view
        else:
            del view
        return weakref.ref(large)

    memory = Giver()
    assert use(memory)() is None
    _hook_errors.check_hook_errors()
    with pytest.raises(BadMemory) as caught:
        memory.reserve(1)
    cause = caught.value.__cause__
    assert cause is not None
    assert not hasattr(cause, "__notes__")
    assert not isinstance(cause.__context__, ValueError)
    (note,) = caught.value.__notes__
    *_, last = note.splitlines()
    assert last.startswith(f"  {__file__}:")
    assert last.endswith(", in end")


def test_nobody_else_is_told_what_a_hook_of_a_block_without_provider_has_raised(told) -> None:
    """Blocks that were handed over as they are: the next one to do so has nothing to do with it."""
    BytesBuf.from_blocks([Block(bytearray(1), on_release=failing(HookError("oh")))])
    assert told == [(told[0][0], "HookError: oh")]
    assert "the caller of from_blocks()" in told[0][0]
    assert BytesBuf.from_blocks([Block(bytearray(1))]).remaining_capacity == 1
    Block(bytearray(1), on_release=failing(HookError("never owned")))
    assert [error for _, error in told] == ["HookError: oh", "HookError: never owned"]


def test_what_waits_at_the_end_of_the_program_is_told() -> None:
    """Nobody asks its provider any more, so `sys.unraisablehook` gets it."""
    done = in_a_process(
        "from test_release import *\n"
        "memory = HookedMemory(then=failing(KeyError('waits')))\n"
        "memory.reserve(1)\n"
        "print('end')"
    )
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
    assert "KeyError: 'waits'" in done.stderr


class Speechless(Exception):
    """An error whose words raise an error."""

    def __str__(self) -> str:
        raise HookError("of all things")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyboardInterrupt, "KeyboardInterrupt: "),
        (SystemExit, "SystemExit: "),
        (GeneratorExit, "GeneratorExit: "),
        (Speechless, "Speechless"),
    ],
)
def test_no_error_comes_out_of_a_hook_of_whatever_kind(error: type, words: str) -> None:
    """Dropping memory raises nothing; the next call for memory does."""

    def fail() -> None:
        raise error

    memory = HookedMemory(then=fail)
    memory.reserve(1)
    memory.then = bool
    with pytest.raises(BadMemory) as caught:
        memory.reserve(1)
    assert caught.value.complaint == f"has a release hook that raised {words}"


def test_a_hook_may_lease() -> None:
    """A hook that reserves from its own provider gets the memory that has just come home."""
    turns = iter(range(5))
    seen: list[bytes] = []

    def lease() -> None:
        for turn in turns:
            data = bytes((turn,)) * 16
            view = BytesView.copied_from_slice(data, memory)
            seen.append(view.to_bytes())
            break  # and drop it, which runs the hook again

    memory = HookedMemory(then=lease)
    memory.reserve(1)
    assert seen == [bytes((turn,)) * 16 for turn in range(5)]
    assert len(memory.idle) == memory.made == 1


def test_a_hook_may_drop_its_provider() -> None:
    """The provider dies with its last lease, if nobody else refers to it."""
    holder = [HookedMemory()]
    holder[0].then = holder.clear
    death = weakref.ref(holder[0])
    view = BytesView.copied_from_slice(b"bytes", holder[0])
    gc.collect()
    assert death() is not None
    del view
    assert holder == []
    gc.collect()
    assert death() is None


def test_a_provider_may_go_before_its_blocks() -> None:
    """Leases hold what their hooks need, and are whole when the provider's name is gone."""
    memory = HookedMemory()
    view = BytesView.copied_from_slice(b"still here", memory)
    del memory
    gc.collect()
    assert view == b"still here"


def test_a_hook_may_collect_and_look_for_hooks_itself() -> None:
    """Hooks inside of hooks run once each."""
    inner = Loan()
    outer = Loan(then=lambda: (views.clear(), gc.collect(), _release.run_hooks_that_are_due()))
    views = [inner.view()]
    outer.view()
    assert (outer.released, inner.released) == (1, 1)


def test_ten_thousand_leases_leave_nothing() -> None:
    """Every hook ran once, and the tables are as empty as before."""
    memory = HookedMemory()
    views = []
    for number in range(10_000):
        views.append(BytesView.copied_from_slice(number.to_bytes(2, "big"), memory))
        if number % 3:
            views.pop(number % len(views))
    assert len(_release._OUT) == len(views)
    assert memory.made < 10_000
    views.clear()
    assert len(memory.idle) == memory.made
    assert (_release._OUT, _hook_errors._FAILED, _release._DOUBTED) == ({}, {}, {})


def test_more_sizes_than_are_remembered() -> None:
    """A size whose class was forgotten gets a new one; leases of the old one go on."""
    loans = [Loan(size) for size in range(1, 2 * _release.LEASE_CLASSES + 1)]
    views = [loan.view(b"\7" * loan.nbytes) for loan in loans]
    again = [Loan(size) for size in range(1, 2 * _release.LEASE_CLASSES + 1)]
    views += [loan.view(b"\7" * loan.nbytes) for loan in again]
    gc.collect()
    assert _release._lease_class.cache_info().currsize == _release.LEASE_CLASSES
    assert all(view == b"\7" * len(view) for view in views)
    views.clear()
    assert {loan.released for loan in (*loans, *again)} == {1}


def test_four_threads_share_a_provider_with_hooks() -> None:
    """Threads that lease, fill, keep and drop at once always find what they put."""
    memory = HookedMemory()

    def play(value: int) -> None:
        kept: list[BytesView] = []
        data = bytes((value,)) * 40
        for step in range(500):
            kept.append(BytesView.copied_from_slice(data, memory))
            if step % 3:
                assert kept.pop(step % len(kept)) == data, "somebody else's bytes"
            if step % 50 == 0:
                cycle: list[object] = [kept.pop()] if kept else []
                cycle.append(cycle)
        assert all(view == data for view in kept), "somebody else's bytes"

    play_in_threads(play, range(1, 5))
    gc.collect()
    assert len(memory.idle) == memory.made < 2000
    assert len({id(block) for block in memory.idle}) == memory.made, "a block that came home twice"


# The machine

SIZES = st.integers(1, 40)
PICKS = st.integers(0, 255)
HOLDS = {
    **FORMS,
    "view": lambda view: view,
    "slice": lambda view: view[:],
    "guarded": lambda view: (view.extend_lifetime(), view)[1],
    "array over a slice": lambda view: np.asarray(view.contiguous())[:],
}


@attrs.define(eq=False)
class Sleeper:
    """A view in a corner of its own: a guard, an iterator, a reader; shows nothing at once."""

    thing: object
    loan: Loan


class HooksMachine(RuleBasedStateMachine):
    """A program that keeps views of hooked blocks everywhere; hooks overwrite what they release."""

    def __init__(self) -> None:
        super().__init__()
        gc.disable()  # collections are steps, so that a failure can be played again
        gc.collect()
        gc.freeze()
        self.loans: list[Loan] = []
        self.kept: list[tuple[Kept, tuple[Loan, ...]]] = []
        self.risen: list[Kept] = []
        self.looks: list[Kept] = []
        self.silent: list[Sleeper] = []
        self.builders: list[tuple[BytesBuf, Loan]] = []

    def lent(self, nbytes: int) -> tuple[BytesView, bytes, Loan]:
        loan = Loan(nbytes)
        self.loans.append(loan)
        data = fresh_bytes(nbytes)
        return loan.view(data), data, loan

    @rule(nbytes=SIZES, form=st.sampled_from(sorted(HOLDS)))
    def keep(self, nbytes: int, form: str) -> None:
        view, data, loan = self.lent(nbytes)
        self.kept.append((Kept(HOLDS[form](view), data), (loan,)))

    @rule(sizes=st.lists(SIZES, min_size=2, max_size=4), skip=SIZES)
    def keep_over_several_blocks(self, sizes: list[int], skip: int) -> None:
        loans = tuple(Loan(size) for size in sizes)
        self.loans += loans
        data = fresh_bytes(sum(sizes))
        buf = BytesBuf.from_blocks([loan.block() for loan in loans])
        buf.put_slice(data)
        self.kept.append((Kept(buf.consume_all()[skip:], data[skip:]), ()))

    @precondition(lambda self: self.kept)
    @rule(pick=PICKS, start=SIZES)
    def cut(self, pick: int, start: int) -> None:
        kept, _ = self.kept[pick % len(self.kept)]
        if isinstance(kept.thing, BytesView):
            self.kept.append((Kept(kept.thing[start:], kept.shown[start:]), ()))

    @rule(nbytes=SIZES, make=st.sampled_from(["guard", "iterator", "reader", "window", "block"]))
    def keep_in_silence(self, nbytes: int, make: str) -> None:
        """These show nothing, but could; so the hook must wait for them."""
        loan = Loan(nbytes)
        self.loans.append(loan)
        made = {
            "guard": lambda: loan.view().extend_lifetime(),
            "iterator": lambda: iter(loan.view()),
            "reader": lambda: BytesReader(loan.view()),
            "window": lambda: loan.builder().chunk_mut(),
            "block": loan.block,
        }[make]()
        self.silent.append(Sleeper(made, loan))

    @rule(nbytes=SIZES)
    def rise_again(self, nbytes: int) -> None:
        view, data, _ = self.lent(nbytes)
        Phoenix(Kept(view, data), self.risen)

    @rule(nbytes=SIZES)
    def look_in_a_finalizer(self, nbytes: int) -> None:
        view, data, _ = self.lent(nbytes)
        seen: list[bytes] = []
        LooksWhenItDies(view, seen, pieces=nbytes % 2 == 0)
        self.looks.append(Kept(seen, data))

    @rule(nbytes=SIZES)
    def drop_in_a_thread(self, nbytes: int) -> None:
        views = [self.lent(nbytes)[0]]
        thread = threading.Thread(target=views.clear)
        thread.start()
        thread.join()
        assert self.loans[-1].released == 1, "dropped in a thread and not released"

    @rule(nbytes=SIZES)
    def drop_at_once(self, nbytes: int) -> None:
        self.lent(nbytes)
        assert self.loans[-1].released == 1, "dropped and not released"

    @precondition(lambda self: self.kept)
    @rule(pick=PICKS, count=st.integers(1, 4))
    def drop_some(self, pick: int, count: int) -> None:
        first = pick % len(self.kept)
        del self.kept[first : first + count]

    @rule()
    def drop_silent_and_risen(self) -> None:
        self.silent.clear()
        self.risen.clear()

    @rule(generation=st.integers(0, 2))
    def collect(self, generation: int) -> None:
        gc.collect(generation)

    @rule()
    def look_for_hooks(self) -> None:
        _release.run_hooks_that_are_due()

    @invariant()
    def what_is_kept_shows_what_it_should(self) -> None:
        for kept, loans in self.kept:
            kept.check()
            if not isinstance(kept.thing, bytes | bytearray) and shares(kept.thing):
                assert not any(loan.released for loan in loans), "released while it is kept"
        for risen in self.risen:
            risen.check()
        for sleeper in self.silent:
            assert not sleeper.loan.released, "released while somebody could look"
        for look in self.looks:
            assert look.thing in ([], [look.shown]), "a finalizer saw other bytes"
        assert all(loan.released <= 1 for loan in self.loans), "a hook that ran twice"

    def teardown(self) -> None:
        """Drop everything: then every hook has run, once, and the tables are empty."""
        try:
            self.kept.clear()
            self.silent.clear()
            for _ in range(3):
                self.risen.clear()
                gc.collect()
            if sys.exception() is None:
                assert all(loan.released == 1 for loan in self.loans), "a hook that has not run"
                assert all(look.thing == [look.shown] for look in self.looks), "no finalizer"
        finally:
            gc.enable()


def shares(thing: object) -> bool:
    """Say whether `thing` may show a block, and not a copy of what was in it."""
    return isinstance(thing, memoryview | np.ndarray | tuple)


MACHINE = settings(
    max_examples=100 * EXAMPLES_FACTOR, stateful_step_count=40, deadline=None, print_blob=True
)


def test_no_program_sees_a_hook_run_early_or_twice() -> None:
    """Whatever is kept, wherever: hooks run once each, and only when nobody can see the memory."""
    run_state_machine_as_test(HooksMachine, settings=MACHINE)


def believe_finalizers(patch: pytest.MonkeyPatch) -> None:
    """Run the hook in the finalizer, whatever the count says."""
    patch.setattr(_release._Lease, "__del__", lambda lease: lease.record.over())


def forget_doubts(patch: pytest.MonkeyPatch) -> None:
    """Run no hook of a lease that was doubted."""
    patch.setattr(_release, "_run_those_over", lambda _: None)


def run_hooks_without_looking(patch: pytest.MonkeyPatch) -> None:
    """Believe that every lease is over when a collection has ended."""
    patch.setattr(_release, "open_slices", lambda _: 0)


def run_hooks_twice(patch: pytest.MonkeyPatch) -> None:
    """Run a hook without asking whether somebody did."""
    over = _release._Record.over
    patch.setattr(_release._Record, "over", lambda record: (over(record), record.hook()))


@pytest.mark.parametrize(
    ("plant", "symptom"),
    [
        (believe_finalizers, "other bytes"),
        (forget_doubts, "has not run"),
        (run_hooks_without_looking, "other bytes|released while"),
        (run_hooks_twice, "ran twice|and not released"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_machine_sees_planted_bugs(plant, symptom, monkeypatch) -> None:
    """It can fail: each of these breaks one law, and the machine says which."""
    with monkeypatch.context() as patch:
        plant(patch)
        check_that_it_is_seen(HooksMachine, symptom)
    gc.collect()
    _release._OUT.clear()
    _release._DOUBTED.clear()
    _hook_errors._FAILED.clear()


# Accidents


def hooks_at_the_recursion_limit() -> None:
    """Lease and drop wherever the stack may end. Run in a process."""
    unraised: list[object] = []
    sys.unraisablehook = lambda unraisable: unraised.append(unraisable.exc_type)
    memory = HookedMemory()

    def lease() -> None:
        view = BytesView.copied_from_slice(DATA, memory)
        assert view == DATA

    def dive(frames: int) -> None:
        if frames:
            dive(frames - 1)
        else:
            lease()

    room = next(frames for frames in itertools.count() if is_too_deep(dive, frames))
    assert room > 50
    gc.collect()
    assert set(unraised) <= {RecursionError}  # of finalizers that could not even begin
    with contextlib.suppress(BadMemory):
        lease()  # is told of the hooks for which there was no room on the stack
    lease()
    assert len({id(block) for block in memory.idle}) == len(memory.idle), "home twice"
    assert (_release._OUT, _hook_errors._FAILED, _release._DOUBTED) == ({}, {}, {})


def hooks_under_ctrl_c() -> None:
    """Interrupt a tight loop of leases and garbage at random moments. Run in a process."""
    unraised: list[Any] = []
    sys.unraisablehook = unraised.append  # which is not Python, so no interrupt can hit it
    memory = HookedMemory()
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    kept: list[BytesView] = []

    def play() -> None:
        # An interrupt in a finalizer is swallowed, so it rings again.
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 1e-3), 0.02)
        for step in itertools.count():
            with contextlib.suppress(BadMemory):  # a hook that was interrupted
                kept.append(BytesView.copied_from_slice(DATA, memory))
            if step % 3 == 0:
                cycle: list[object] = [kept.pop()] if kept else []
                cycle.append(cycle)
            del kept[:-3]

    for _ in range(100):
        try:
            with pytest.raises(KeyboardInterrupt):
                play()
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:  # once more, before it could be stopped
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert {args.exc_type for args in unraised} <= {KeyboardInterrupt}  # in a finalizer's head
        unraised.clear()
        assert all(view == DATA for view in kept)
    kept.clear()
    gc.collect()
    assert _release._OUT == {}
    assert len({id(block) for block in memory.idle}) == len(memory.idle), "home twice"
    with contextlib.suppress(BadMemory):
        memory.reserve(1)
    memory.reserve(1)


def hooks_on_both_sides_of_a_fork() -> None:
    """Fork with leases out, some of them in garbage; exit with the child's status."""
    gc.disable()
    loans = [Loan() for _ in range(3)]
    seen: list[bytes] = []
    view, nest = loans[0].view(), []
    LooksWhenItDies(loans[1].view(), seen, False)
    Phoenix(Kept(loans[2].view(), DATA), nest)
    child = os.fork()
    if not child:
        status = 1
        try:
            del view
            gc.collect()
            nest.clear()
            gc.collect()
            assert [loan.released for loan in loans] == [0, 0, 0], "a hook of the parent's"
            assert seen == [DATA]
            own = Loan()
            own.view()
            assert own.released == 1, "its own hooks"
            LooksWhenItDies(own.view(), seen, True)
            gc.collect()
            assert own.released == 2
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [loan.released for loan in loans] == [0, 0, 0]
    assert view == DATA
    del view
    gc.collect()
    nest.clear()
    gc.collect()
    assert [loan.released for loan in loans] == [1, 1, 1]
    assert seen == [DATA]


def a_hook_that_forks() -> None:
    """Fork in the middle of running hooks after a collection: the child runs none of the others."""
    gc.disable()
    children: list[int] = []

    def fork() -> None:
        if not children:
            children.append(os.fork())

    loans = [Loan(then=fork) for _ in range(3)]
    seen: list[bytes] = []
    for loan in loans:
        LooksWhenItDies(loan.view(), seen, False)
    gc.collect()
    released = sorted(loan.released for loan in loans)
    if not children[0]:
        os._exit(released != [0, 0, 1])
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
    assert released == [1, 1, 1]


def in_a_process(code: str) -> subprocess.CompletedProcess[str]:
    """Run `code`, without coverage, which interrupts and forks would meet in its own work."""
    environment = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(__file__).parent,
        env=environment,
        timeout=100,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "accident",
    [
        hooks_at_the_recursion_limit,
        hooks_under_ctrl_c,
        hooks_on_both_sides_of_a_fork,
        a_hook_that_forks,
    ],
)
def test_an_accident_in_a_process_of_its_own_harms_nothing(accident: Callable[[], None]) -> None:
    """At the end of the stack, after real SIGINTs around `os.fork`: never early, never twice."""
    result = in_a_process(f"import test_release; test_release.{accident.__name__}()")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("where", "outputs"),
    [
        ("cycle", {"hook"}),
        ("json", {"hook", ""}),
        ("finalizer", {"hook", ""}),
        ("__main__", {"hook", ""}),
        ("sys", {"hook", ""}),
        ("builtins", {"hook", ""}),
        ("trio_bytesbuf", {"hook", ""}),
        ("trio_bytesbuf.seq._release", {"hook", ""}),
        ("thread", {"hook", ""}),
        ("callback", {"hook", ""}),
        ("for ever", {""}),
    ],
)
@pytest.mark.parametrize("error", ["", "at the very end"])
def test_the_end_of_the_interpreter_is_silent(where: str, outputs: set[str], error: str) -> None:
    """Wherever a lease is at the end: its hook runs once or not at all; nobody complains."""
    result = in_a_process(f"import json, leaving; leaving.leave({where!r}, {error!r})")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout in outputs
