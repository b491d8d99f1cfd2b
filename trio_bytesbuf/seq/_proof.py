"""What CPython's own reference counts can prove about a piece of memory.

A memoryview does not refer to the object whose memory it shows. It refers to a small
hidden object, the *managed buffer*, and that one refers to the exporter:

    view ──┐
    slice ─┼──> managed buffer ──> exporter (a bytearray, a ctypes array, ...)
    slice ─┘    one for each memoryview(exporter) call

Two facts follow, and everything that this library says about safety rests on them; and a third
law says how the counts are asked for.

Law 1. If nobody but us refers to the exporter, then nobody can see its memory:
       every memoryview, every slice of one, every array made of one keeps the exporter
       referred to. `sys.getrefcount(exporter)` therefore proves that a block is free,
       *at the moment it is asked*, whatever finalizers did or did not do before.
Law 2. If a memoryview has a managed buffer of its own, then the references to that
       managed buffer count the slices of it that are alive. So a window that we lent for
       writing can be proved closed. `gc.get_referents` shows the managed buffer.

Law 3. What is asked about is never a local variable, but what an expression has just made: the
       result of a call, an attribute or an item.

           getrefcount(block := ring.pop())     the variable's reference, and the call's
           getrefcount(record.block)            the record's reference, and the call's
           getrefcount(blocks[0])               the tuple's reference, and the call's
           getrefcount((self,)[0])              the variable's, where there is only a variable

       Such a value is a reference of its own for as long as the call lasts, on every CPython.
       A local variable is not: from 3.14 on the compiler lends it to a call, uncounted, at
       some places of a function and not at others, so that what is measured at one place is
       one too much at another.

A baseline that is too high would call blocks free that somebody sees; one that is too low
only costs allocations. So by Law 3 it is a fixed number, the same at all places, and nothing that
a debugger adds while we look can raise it. Whether the interpreter keeps the laws, in each
form of Law 3, is checked when the package is imported, which is refused where it does not;
that each place asks as Law 3 says, and finds out what is seen, `tests/test_proof_places.py` checks.

Who sees memory is counted at least once on 3.14, too: a reference that was lent lasts no longer
than the variable that it was lent from, which is counted.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from pickle import PickleBuffer
from sys import getrefcount
from typing import TYPE_CHECKING, Final

from ._flat import flat

if TYPE_CHECKING:
    from ._flat import Buffer


def own_memoryview(exporter: Buffer, /) -> memoryview:
    """Return a memoryview with a managed buffer of its own, which `open_slices` can count."""
    if not isinstance(exporter, memoryview):
        return flat(exporter)
    # memoryview(memoryview) would share the managed buffer, so go back to what it shows.
    # A PickleBuffer of it would start a new one too, but before 3.13 the cyclic collector
    # crashes on garbage in which a memoryview is itself the exporter of something.
    try:
        window = own_memoryview(exporter.obj)
        if window.nbytes != exporter.nbytes:
            start = address_of(exporter) - address_of(window)
            window = window[start : start + exporter.nbytes]
    except (TypeError, BufferError):  # an exporter that cannot be asked again, or read-only
        return flat(PickleBuffer(exporter))
    return window.toreadonly() if exporter.readonly else window


def address_of(data: Buffer, /) -> int:
    """Return where in memory `data` begins, read-only or not: ctypes' own way needs writable."""
    buffer = _PyBuffer()
    reference = ctypes.byref(buffer)
    try:
        ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(data), reference, 0)
    except ctypes.ArgumentError as exc:  # which is what ctypes makes of a lack of memory
        raise MemoryError from exc
    try:
        return int(buffer.buf or 0)
    finally:
        ctypes.pythonapi.PyBuffer_Release(reference)


class _PyBuffer(ctypes.Structure):
    """What C code gets of an exporter: `Py_buffer` of CPython's headers."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


REFERENCES_TO_A_LONE_EXPORTER: Final = 2
"""What `getrefcount` says of that to which one reference is left, asked as Law 3 says: that one
and the call's. Who holds more of its own, say an item and a variable, adds them."""


def open_slices(window: memoryview, /) -> int:
    """Count the memoryviews, besides `window`, that show the memory of `window`.

    `window` comes from `own_memoryview`. Arrays made of a slice count through the slice
    that they hold. A slice that was released but is still referred to counts as well: nothing
    outside the interpreter can tell it from an open one.
    """
    return getrefcount(gc.get_referents(window)[0]) - REFERENCES_TO_A_LONE_EXPORTER


FREE_THREADED: Final = not getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether other threads run Python at this very moment, so that a count may be in flight.

Law 1 is only used where this is false; elsewhere the pool reuses nothing.
"""


class _Holder:
    """Something with an attribute."""

    __slots__ = ("held",)
    held: bytearray


def _counts_of_item(holder: list[bytearray]) -> set[int]:
    """Ask for the count of what only `holder` holds, in each form of Law 3."""
    of_item = getrefcount(holder[0])
    other = _Holder()
    other.held = holder.pop()
    of_attribute = getrefcount(other.held)
    holder.append(other.held)
    del other
    of_result = getrefcount(exporter := holder.pop())
    of_variable = getrefcount((exporter,)[0])
    holder.append(exporter)
    return {of_item, of_attribute, of_result, of_variable}


def check_proofs() -> None:
    """Raise ImportError unless the laws hold on this interpreter; run once, at import.

    While something traces the program, references may be added between our instructions. Then
    only what must hold all the same is demanded: that whoever sees memory is counted.
    """
    traced = sys.gettrace() is not None or sys.getprofile() is not None
    holder = [bytearray(2)]
    view = memoryview(holder[0])
    part = view[:1]
    del view
    seen = min(_counts_of_item(holder)) > REFERENCES_TO_A_LONE_EXPORTER
    del part
    unseen = _counts_of_item(holder) == {REFERENCES_TO_A_LONE_EXPORTER}
    window = own_memoryview(memoryview(holder[0]))
    other = own_memoryview(holder[0])
    alone = open_slices(window) == 0 == open_slices(other)
    part = window[1:]
    lent = open_slices(window) > 0 and (open_slices(other) == 0 or traced)
    del part
    if not (seen and lent and (traced or (unseen and alone))):
        raise ImportError(
            "trio_bytesbuf proves by CPython's reference counts that memory is free; "
            f"on {sys.implementation.name} {sys.version.split()[0]} they prove nothing"
        )


check_proofs()
