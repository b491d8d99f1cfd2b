"""Release hooks: telling a provider that nobody can see its block any more.

A block with a hook is shown through a *lease*, a small object that exports the block's memory.
Every memoryview of the block keeps the lease referred to:

    view, slice, array ──> managed buffer ──> lease ──> memory of the provider

Law 1. The hook runs once for each lease, after it was proved that nobody refers to the lease:
       in the lease's finalizer if the count there says so, else when a collection has ended and
       nothing shows the memory beside our own window. A finalizer alone is not believed: the cyclic
       collector runs it while memoryviews in the same garbage are whole.
Law 2. A lease is looked up in `_OUT` by whoever wants to run its hook, and only who finds
       it runs it. A finalizer that was not believed delays the hook until the collection that ran
       it has ended; one that never ran, or was interrupted at once, until the next full one.
Law 3. Nothing comes out of a finalizer. What a hook raises, `_hook_errors` tells the provider, or
       whoever listens. An interrupt or the end of the stack right before a hook counts as
       raised by it: the block may be lost then, and somebody is told.
Law 4. Hooks run in the process that leased: after `fork` the child forgets all leases.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import sys
from collections.abc import Callable
from sys import getrefcount
from typing import Any, Final

import attrs

from ._hook_errors import note
from ._proof import REFERENCES_TO_A_LONE_EXPORTER, open_slices, own_memoryview

LEASE_CLASSES: Final = 64
"""How many sizes of lease are remembered: ctypes wants a class for each, 20 µs to make."""


@attrs.define(eq=False)
class _Record:
    """A lease that is out, and what to do when it is over."""

    window: memoryview
    hook: Callable[[], object]
    giver: object = None

    def over(self) -> None:
        """Run the hook, unless somebody did (Law 2); raise nothing (Law 3)."""
        try:
            key = id(self)  # for which there may be no memory: then it is looked at again
        except MemoryError:
            return
        before = sys.exception()
        try:
            _DOUBTED.pop(key, None)
            if _OUT.pop(key, None) is not None:
                self.hook()
        except BaseException as exc:  # noqa: BLE001  # it is raised where it can be handled
            note(exc, self.giver, before)


_OUT: Final[dict[int, _Record]] = {}
"""Every lease whose hook has not run."""

_DOUBTED: Final[dict[int, _Record]] = {}
"""Those among them whose finalizer has run and was not believed."""

_OLDEST_GENERATION: Final = 2


class _Lease:
    """What every lease has beside its memory; mixed into a ctypes array of the right size."""

    __slots__ = ()
    record: _Record

    def __del__(self) -> None:
        try:
            if getrefcount((self,)[0]) == _REFERENCES_WHILE_DYING:
                self.record.over()
            else:
                _DOUBTED[id(self.record)] = self.record
        except BaseException:  # noqa: BLE001  # half made, interrupted, or at the interpreter's end
            return


def _measure(seen: list[int]) -> int:
    """Count what refers to an object whose finalizer runs because nobody does."""

    class Probe:
        __slots__ = ()

        def __del__(self) -> None:
            seen.append(getrefcount((self,)[0]))

    Probe()
    return seen[0]


_REFERENCES_WHILE_DYING: Final = min(_measure([]), REFERENCES_TO_A_LONE_EXPORTER + 1)
"""The variable's, the call's, and that of who runs the finalizer. More is never believed: a
debugger that looks while we measure must not raise it (`_proof`)."""


@functools.lru_cache(LEASE_CLASSES)
def _lease_class(nbytes: int) -> Any:
    array: Any = ctypes.c_ubyte * nbytes
    return type("Lease", (_Lease, array), {"__slots__": ("record",)})


def leased(memory: memoryview, hook: Callable[[], object]) -> tuple[memoryview, _Record]:
    """Return a memoryview of the writable `memory`, and the record of the loan.

    `hook` is called when nobody refers to what is returned, nor to anything made of it.
    """
    window = own_memoryview(memory)
    record = _Record(window, hook)
    lease = _lease_class(memory.nbytes).from_buffer(window)
    lease.record = record
    _OUT[id(record)] = record
    return memoryview(lease).cast("B"), record


def hook_of(exporter: object) -> Callable[[], object] | None:
    """Return the hook of what exports memory, if it is a lease."""
    return exporter.record.hook if isinstance(exporter, _Lease) else None


def giver_of(exporter: object) -> object:
    """Return the provider of what exports memory, if it is a lease and its provider is known."""
    return exporter.record.giver if isinstance(exporter, _Lease) else None


def run_hooks_that_are_due() -> None:
    """Look at every lease that is out, and run the hooks of those that are over (Law 1)."""
    _run_those_over(_OUT)


def _run_those_over(records: dict[int, _Record]) -> None:
    for record in list(records.values()):  # a list is there before it looks; hooks change the dict
        if not open_slices(record.window):
            record.over()


def _after_collection(phase: str, info: dict[str, int]) -> None:
    """Look at few leases after a young collection: 10,000 that are out would take 2 ms or more."""
    if phase == "stop":
        full = info["generation"] == _OLDEST_GENERATION
        _run_those_over(_OUT if full else _DOUBTED)


gc.callbacks.append(_after_collection)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_OUT.clear)
    os.register_at_fork(after_in_child=_DOUBTED.clear)
