"""The laws at the head of `_proof`: whoever can see memory is counted, however they hold it."""

import array
import ctypes
import mmap
import subprocess
import sys
from pickle import PickleBuffer

import numpy as np
import pytest

from trio_bytesbuf.seq._proof import (
    REFERENCES_TO_A_LONE_EXPORTER,
    check_proofs,
    open_slices,
    own_memoryview,
)

HOLDERS = {
    "a memoryview": memoryview,
    "a slice": lambda block: memoryview(block)[1:2],
    "an empty slice": lambda block: memoryview(block)[4:],
    "a slice of a slice": lambda block: memoryview(block)[1:][1:],
    "a cast": lambda block: memoryview(block).cast("I"),
    "a read-only one": lambda block: memoryview(block).toreadonly(),
    "a memoryview of a memoryview": lambda block: memoryview(memoryview(block)),
    "a released one beside a slice": lambda block: released_beside_a_slice(memoryview(block)),
    "a numpy array": lambda block: np.frombuffer(block, np.uint8),
    "a slice of an array": lambda block: np.frombuffer(block, np.uint8)[1:2],
    "an array of a slice": lambda block: np.asarray(memoryview(block)[:2]),
    "a ctypes array": lambda block: (ctypes.c_ubyte * 4).from_buffer(block),
    "a ctypes array of a slice": lambda block: (ctypes.c_ubyte * 2).from_buffer(
        memoryview(block)[2:]
    ),
    "a PickleBuffer": PickleBuffer,
    "a PickleBuffer's raw memory": lambda block: PickleBuffer(block).raw(),
    "an own memoryview": own_memoryview,
    "an own memoryview of a memoryview": lambda block: own_memoryview(memoryview(block)),
    "an iterator over a memoryview": lambda block: iter(memoryview(block)),
    "a bound method of a memoryview": lambda block: memoryview(block).tobytes,
}
"""Ways to hold on to the memory of a block."""

ALIASES = {
    "a slice": lambda window: window[1:2],
    "an empty slice": lambda window: window[4:],
    "a slice of a slice": lambda window: window[1:][1:],
    "a cast": lambda window: window.cast("I"),
    "a read-only one": memoryview.toreadonly,
    "a memoryview of it": memoryview,
    "an array of it": np.asarray,
    "a ctypes array of a slice": lambda window: (ctypes.c_ubyte * 2).from_buffer(window[2:]),
    "a PickleBuffer of a slice": lambda window: PickleBuffer(window[:2]),
    "a released slice": lambda window: released(window[1:2]),
}
"""Ways to hold on to a window, besides the window itself."""

EXPORTERS = {
    "bytearray": lambda: bytearray(4),
    "bytes": lambda: b"1234",
    "array": lambda: array.array("B", bytes(4)),
    "array of numbers": lambda: array.array("I", [1]),
    "numpy": lambda: np.zeros(4, np.uint8),
    "ctypes": ctypes.c_ubyte * 4,
    "mmap": lambda: mmap.mmap(-1, 4),
    "memoryview": lambda: memoryview(bytearray(4)),
    "slice": lambda: memoryview(bytearray(9))[2:6],
    "read-only": lambda: memoryview(bytearray(4)).toreadonly(),
    "PickleBuffer": lambda: PickleBuffer(bytearray(4)),
}
"""What memory can belong to."""


def released(view: memoryview) -> memoryview:
    """Return `view`, which cannot be looked at any more."""
    view.release()
    return view


def released_beside_a_slice(view: memoryview) -> memoryview:
    """Return a slice of `view`, which cannot itself be looked at any more."""
    part = view[:1]
    view.release()
    return part


def is_alone(holder: list[bytearray]) -> bool:
    """Say whether nobody else refers to the block in `holder`, just as a shelf finds out."""
    count = sys.getrefcount(block := holder.pop())
    holder.append(block)
    return count == REFERENCES_TO_A_LONE_EXPORTER


def with_ids(cases: dict) -> list:
    return [pytest.param(case, id=name) for name, case in cases.items()]


@pytest.mark.parametrize("hold", with_ids(HOLDERS))
def test_a_block_is_alone_if_and_only_if_nothing_holds_its_memory(hold) -> None:
    """Law 1: everything that can show the memory counts, until it is dropped."""
    ring = [bytearray(4)]
    assert is_alone(ring)
    holder = hold(ring[0])
    assert not is_alone(ring)
    del holder
    assert is_alone(ring)


def test_a_released_memoryview_does_not_keep_its_block() -> None:
    """After `release`, a memoryview shows nothing and holds nothing, though it is referred to."""
    ring = [bytearray(4)]
    view = released(memoryview(ring[0]))
    assert is_alone(ring)
    with pytest.raises(ValueError, match="released"):
        view[0]


@pytest.mark.parametrize("alias", with_ids(ALIASES))
def test_a_window_has_open_slices_if_and_only_if_somebody_else_can_write(alias) -> None:
    """Law 2: whatever shows the window's memory counts, until it is dropped.

    A slice that was released but is still referred to counts too: a mistake on the safe side.
    """
    window = own_memoryview(bytearray(4))
    assert open_slices(window) == 0
    held = alias(window)
    assert open_slices(window) == 1
    del held
    assert open_slices(window) == 0


def test_every_slice_counts_once() -> None:
    """The references to a managed buffer are as many as there are memoryviews on it."""
    window = own_memoryview(bytearray(4))
    slices = [window[start:] for start in range(4)]
    assert open_slices(window) == len(slices)


@pytest.mark.parametrize("make", with_ids(EXPORTERS))
def test_windows_on_the_same_memory_are_counted_apart(make) -> None:
    """Each own memoryview has a managed buffer of its own, whatever its memory belongs to."""
    exporter = make()
    window, other = own_memoryview(exporter), own_memoryview(exporter)
    part = window[:2]
    assert (open_slices(window), open_slices(other)) == (1, 0)
    part.release()


@pytest.mark.parametrize("make", with_ids(EXPORTERS))
def test_an_own_memoryview_shows_the_memory_it_was_made_of(make) -> None:
    """It is a flat memoryview of the same bytes, writable where these are."""
    exporter = make()
    window = own_memoryview(exporter)
    assert (window.format, window.ndim) == ("B", 1)
    assert bytes(window) == bytes(memoryview(exporter).cast("B"))
    assert window.readonly == memoryview(exporter).readonly


def test_a_window_keeps_the_block_under_it_even_when_the_memoryview_between_is_gone() -> None:
    """A loan holds the block itself."""
    ring = [bytearray(4)]
    window = own_memoryview(memoryview(ring[0]))[1:]
    assert not is_alone(ring)
    window[0] = 7
    assert ring[0] == b"\0\7\0\0"
    del window
    assert is_alone(ring)


def test_the_proofs_hold_here() -> None:
    """What the import has checked still holds in the middle of a program."""
    assert check_proofs() is None


def test_an_interpreter_that_counts_otherwise_is_refused() -> None:
    """Where the count of references proves nothing, the package cannot be imported."""
    script = "import sys; sys.getrefcount = lambda thing: 1; import trio_bytesbuf"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode != 0
    assert "they prove nothing" in result.stderr


CURIOUS_DEBUGGER = """
import sys

def look(frame, event, arg):
    if frame.f_code.co_filename.endswith("_proof.py"):
        frame.f_locals  # before 3.13 this makes a snapshot that refers to every local variable
        return look

sys.settrace(look)
import trio_bytesbuf
sys.settrace(None)
from trio_bytesbuf.mem._shelf import Shelf
from trio_bytesbuf.seq import _proof

shelf = Shelf(16, 4, bytearray)
view = memoryview(shelf.lease())
assert shelf.lease() is not view.obj, "a block that somebody sees was leased"
window = _proof.own_memoryview(bytearray(2))
part = window[1:]
assert _proof.open_slices(window) > 0, "a window that somebody can write counts as closed"
"""


def test_a_debugger_that_looks_while_we_measure_cannot_raise_the_baseline() -> None:
    """No reference beyond the known ones is believed, so nothing that is seen counts as free."""
    done = subprocess.run(
        [sys.executable, "-c", CURIOUS_DEBUGGER], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
