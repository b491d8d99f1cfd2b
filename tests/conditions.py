"""The whole suite again, under conditions that are worse than usual: `TRIO_BYTESBUF_SUITE=MODE`.

    poisoned    the default memory changes every byte of a block before it leases it again
    tiny        the default memory gives blocks of one byte, the first 300 of each request, and
                lends one byte to three of four receives (all of them took an hour)
    dev         Python's own checks (give `-X dev` as well; `tools/hostile_suite.py` does)
    gc          the garbage collector runs at every few allocations, and now and then between two
                steps of tasks
    threads     another thread drops and cuts views of the default memory all the time

Law 1. A mode changes nothing that is promised: a test that fails under it has found a bug, or says
       by a mark which of the mode's changes it cannot bear, and why.
Law 2. `counts_memory` marks tests that count receives, blocks or pieces of the default memory, let
       each of its many allocations fail, or look at the pool that it is; so do examples in the docs
       that show pieces (`SHOWN_PIECES`). In blocks of one byte they count something else: `tiny`
       leaves them out, and no other mode does.
Law 3. `counts_garbage` marks tests that count collections, or the steps of a program, to which what
       the collector calls adds; and tests where that finds no room: at the end of Python's stack,
       or where memory is lacking. `gc` leaves them out.
Law 4. `needs_process` marks tests of what the other thread of `threads` would feel or add to: they
       trace every allocation of the process, let one fail, or plant a bug in the memory that both
       use. That mode leaves them out.

Without the variable this file does nothing but know the marks.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
from collections.abc import Iterator

import pytest
import trio

from trio_bytesbuf import BytesView, GlobalPool, default_memory
from trio_bytesbuf.mem import Block, MemoryShared, PlainMemory, set_default_memory
from trio_bytesbuf.testing import PoisoningPool

MODES = ("poisoned", "tiny", "dev", "gc", "threads")
MODE = os.environ.get("TRIO_BYTESBUF_SUITE", "")

LEFT_OUT = {"tiny": "counts_memory", "gc": "counts_garbage", "threads": "needs_process"}
"""Which mark has a test left out of a mode."""

SHOWN_PIECES = {
    "README.md",
    "docs/buffered.md",
    "docs/coming_from/rust_bytes.md",
    "docs/howto/files.md",
    "docs/integrations.md",
    "docs/io.md",
    "docs/seeing.md",
    "trio_bytesbuf.io._datagram.DatagramSocket",
    "trio_bytesbuf.io._fd.FdStream",
    "trio_bytesbuf.io._file.File",
    "trio_bytesbuf.io._process.open_process",
    "trio_bytesbuf.io._send_file.send_file",
    "trio_bytesbuf.io._socket.SocketStream",
    "trio_bytesbuf.seq._buf_mut.BufMut.put_struct",
    "trio_bytesbuf.seq._builder.BytesBuf.begin_vectored_write",
    "trio_bytesbuf.seq._builder.BytesBuf.chunk_mut",
    "trio_bytesbuf.seq._builder.BytesBuf.try_from_unique",
    "trio_bytesbuf.seq._builder_contents.Contents.overwrite",
    "trio_bytesbuf.seq._builder_cuts.Dividing.split_to",
    "trio_bytesbuf.seq._builder_writer.BytesBufWriter",
    "trio_bytesbuf.testing._plots.plot_history",
    "trio_bytesbuf.testing._recorder.FlowRecorder",
}
"""Docstrings and pages of which an example prints how bytes lie in memory, or watches its pool."""

GC_THRESHOLD = 50
"""After how many objects that stay one collection runs; Python's own number is 700 to 2,000."""

COLLECT_EACH = 200
"""At each how many-th step of a task a full collection runs: it takes a millisecond."""

PAUSE_SECONDS = 0.0005

CRUMBS = 300
"""How many blocks of one byte a request gets."""


def pytest_configure(config: pytest.Config) -> None:
    """Know the marks, and begin the mode."""
    config.addinivalue_line("markers", "counts_memory: counts receives, blocks or pieces")
    config.addinivalue_line(
        "markers", "counts_garbage: counts collections, or has no room for them"
    )
    config.addinivalue_line("markers", "needs_process: another thread that leases would feel it")
    if MODE and MODE not in MODES:
        raise pytest.UsageError(f"TRIO_BYTESBUF_SUITE is one of {', '.join(MODES)}, not {MODE!r}")
    if MODE == "dev" and not sys.flags.dev_mode:
        raise pytest.UsageError("TRIO_BYTESBUF_SUITE=dev needs python -X dev")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what a mode leaves out, and count it as deselected. (Law 2, Law 3)"""
    for item in items:
        if item.path.name == "test_docs.py" and item.name.partition("[")[2][:-1] in SHOWN_PIECES:
            item.add_marker("counts_memory")
    mark = LEFT_OUT.get(MODE)
    if mark is not None:
        left_out = [item for item in items if item.get_closest_marker(mark)]
        items[:] = [item for item in items if not item.get_closest_marker(mark)]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(autouse=bool(MODE))
def hostile_conditions() -> Iterator[None]:
    """Have the mode's conditions for one test."""
    with CONDITIONS[MODE]():
        yield


@contextlib.contextmanager
def _memory(memory: object) -> Iterator[None]:
    before = default_memory()
    set_default_memory(memory)
    try:
        yield
    finally:
        set_default_memory(before)


POISONED = PoisoningPool()


class Crumbs(MemoryShared):
    """Blocks of one byte to begin with, then the rest in one."""

    def __init__(self) -> None:
        self._leases = 0

    def blocks(self, nbytes: int, /) -> list[Block]:
        """See `Memory`."""
        few = min(nbytes, CRUMBS)
        rest = [] if few == nbytes else PlainMemory().blocks(nbytes - few)
        return [*(Block(bytearray(1)) for _ in range(few)), *rest]

    def _lease(self, nbytes: int, /) -> tuple[memoryview, None]:
        self._leases += 1
        return memoryview(bytearray(1 if self._leases % 4 else min(nbytes, 1000))), None


class Collecting(trio.abc.Instrument):
    """Runs a full collection between steps of tasks, now and then."""

    def __init__(self) -> None:
        self._steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002
        """See `trio.abc.Instrument`."""
        self._steps += 1
        if self._steps % COLLECT_EACH == 0:
            gc.collect()


@contextlib.contextmanager
def _collecting() -> Iterator[None]:
    threshold = gc.get_threshold()
    gc.set_threshold(GC_THRESHOLD, 5, 5)
    run = trio.run

    def run_collecting(*args: object, instruments: tuple[object, ...] = (), **kwargs: object):
        return run(*args, instruments=[*instruments, Collecting()], **kwargs)

    trio.run = run_collecting
    try:
        yield
    finally:
        trio.run = run
        gc.set_threshold(*threshold)


class Churn(threading.Thread):
    """Leases, cuts, keeps and drops views of a memory until it is told to stop."""

    def __init__(self, memory: GlobalPool) -> None:
        super().__init__(name="churn", daemon=True)
        self._memory = memory
        self._stopped = threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Do it, and see that nothing that is held changes."""
        kept: list[tuple[BytesView, bytes]] = []
        try:
            number = 0
            while not self._stopped.wait(PAUSE_SECONDS):
                number += 1
                shown = bytes((number & 255,)) * 20_000
                view = BytesView.copied_from_slice(shown, self._memory)
                kept.append((view[number % 100 :], shown[number % 100 :]))
                if len(kept) > 6:
                    for one, expected in kept:
                        assert one.to_bytes() == expected, "a view has changed meanwhile"
                    del kept[: number % 7]
        except BaseException as exc:  # noqa: BLE001  # which `stop` raises
            self.failure = exc

    def stop(self) -> None:
        """Have it end; raise what it raised."""
        self._stopped.set()
        self.join()
        if self.failure is not None:
            raise self.failure


@contextlib.contextmanager
def _churning() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    churn = Churn(POISONED)
    churn.start()
    try:
        with _memory(POISONED):
            yield
    finally:
        churn.stop()
        sys.setswitchinterval(interval)


CONDITIONS = {
    "": contextlib.nullcontext,
    "poisoned": lambda: _memory(POISONED),
    "tiny": lambda: _memory(Crumbs()),
    "dev": contextlib.nullcontext,
    "gc": _collecting,
    "threads": _churning,
}
