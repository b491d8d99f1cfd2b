"""Ctrl-C between any two instructions: no view ever changes, nothing hangs, nothing stays claimed.

What was put, taken or read when it struck may be lost. That is all that is promised.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import signal
import sys
import tempfile
from collections.abc import Callable
from typing import Self

import pytest
import trio
import trio.testing
from pairs import closing, socketpair

import trio_bytesbuf
from trio_bytesbuf import BytesBuf, BytesView, MemoryInUse
from trio_bytesbuf.io._file_handle import Handle
from trio_bytesbuf.seq import Block

OURS = trio_bytesbuf.__path__[0]


class InterruptAt:
    """Strikes at one of the places where CPython looks for signals; `has_struck` says whether.

    These are the entry of a function, and behind a call of C code; only those in our files count.
    """

    def __init__(self, place: int) -> None:
        self.left = place
        self.has_struck = False

    def look(self, frame, event, _) -> None:
        if event in ("call", "c_return") and frame.f_code.co_filename.startswith(OURS):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    def __enter__(self) -> Self:
        gc.disable()  # what strikes in a callback of the collector's is raised by nobody
        sys.setprofile(self.look)
        return self

    def __exit__(self, exc_type, *_: object) -> bool:
        sys.setprofile(None)
        gc.enable()
        self.has_struck = exc_type is KeyboardInterrupt
        return self.has_struck


def filled() -> BytesBuf:
    """Return a builder of two pieces and a third block that is partly filled."""
    buf = BytesBuf.from_blocks([Block(bytearray(64)) for _ in range(3)])
    buf.put_slice(b"a" * 150)
    return buf


def unsplit_what_was_split() -> tuple[BytesBuf, Callable[[], object]]:
    buf = filled()
    other = buf.split_off(70)
    return buf, lambda: buf.unsplit(other)


def commit() -> tuple[BytesBuf, Callable[[], object]]:
    buf = BytesBuf.from_blocks([Block(bytearray(64)) for _ in range(3)])
    buf.put_slice(b"a" * 10)
    write = buf.begin_vectored_write(150)
    return buf, lambda: write.commit(150)


LARGE = BytesView(b"q" * 300) + b"r" * 300

OPERATIONS: dict[str, Callable[[BytesBuf], object]] = {
    "consume_all": lambda buf: buf.consume_all(),
    "consume": lambda buf: buf.consume(140),
    "peek": lambda buf: buf.peek(),
    "put_slice": lambda buf: buf.put_slice(b"b" * 42),
    "put_struct": lambda buf: buf.put_struct(">QQQQQH", 1, 2, 3, 4, 5, 6),
    "put_view": lambda buf: buf.put_view(LARGE),
    "truncate": lambda buf: buf.truncate(10),
    "split_to": lambda buf: buf.split_to(140),
    "split_off": lambda buf: buf.split_off(70),
    "split_off_remaining": lambda buf: buf.split_off_remaining(42),
    "freeze": lambda buf: buf.freeze(),
    "reserve": lambda buf: buf.reserve(1000),
    "overwrite": lambda buf: buf.overwrite(10, b"z" * 120),
    "extend": lambda buf: buf.extend(b"e" * 100),
}

MAKERS: dict[str, Callable[[], tuple[BytesBuf, Callable[[], object]]]] = {
    "unsplit": unsplit_what_was_split,
    "commit": commit,
}
for _name, _operation in OPERATIONS.items():

    def _make(operation=_operation) -> tuple[BytesBuf, Callable[[], object]]:
        buf = filled()
        return buf, lambda: operation(buf)

    MAKERS[_name] = _make


def use_on(buf: BytesBuf) -> list[tuple[BytesView, bytes]]:
    """Go on with a builder that was interrupted; return what it has shown, and what that was."""
    shown: list[tuple[BytesView, bytes]] = []
    uses = (
        lambda _: buf.consume_all(),
        lambda _: buf.reserve(70),
        lambda turn: buf.put_slice(bytes([66 + turn]) * 33),
        lambda _: buf.peek(),
    )
    for turn in range(6):
        for use in uses:
            try:
                view = use(turn)
            except Exception:  # noqa: BLE001  # a builder that says that it is broken is all right
                continue
            if isinstance(view, BytesView):
                shown.append((view, view.to_bytes()))
    return shown


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer to notice a hang with")
@pytest.mark.parametrize("name", MAKERS)
def test_an_interrupt_anywhere_changes_no_view_and_hangs_nothing(name: str) -> None:
    """Whatever the builder shows later stays as it was shown."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"it hangs after an interrupt in {name}")

    before = signal.signal(signal.SIGALRM, give_up)
    place = 0
    try:
        while True:
            place += 1
            buf, operation = MAKERS[name]()
            with InterruptAt(place) as interrupt:
                operation()
            if not interrupt.has_struck:
                break
            signal.setitimer(signal.ITIMER_REAL, 10)
            for view, data in use_on(buf):
                assert view.to_bytes() == data, (
                    f"a view changed after an interrupt at place {place}"
                )
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert place > 3, "there were no places to interrupt it at"


# Streams: whoever was interrupted leaves no claim behind

READS = {
    "receive_view": lambda stream, _: stream.receive_view(),
    "receive_some": lambda stream, _: stream.receive_some(),
    "read_exactly": lambda stream, _: stream.read_exactly(150),
    "read_contiguous": lambda stream, _: stream.read_contiguous(150),
    "read_exactly_into": lambda stream, buf: stream.read_exactly_into(150, buf),
    "read_more_into": lambda stream, buf: stream.read_more_into(buf),
    "a chunk": lambda stream, _: anext(stream.chunks(150)),
}
WRITES = {
    "write_view": lambda stream: stream.write_view(BytesView(bytes(2000)) + bytes(20_000)),
    "write_parts": lambda stream: stream.write_parts([b"header", b"body"]),
    "send_all": lambda stream: stream.send_all(b"data"),
    "send_eof": lambda stream: stream.send_eof(),
}


@pytest.mark.parametrize("room", [0, 40_000], ids=["appended", "in place"])
@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_an_interrupted_read_leaves_nothing_claimed(read, room: int) -> None:
    """Wherever it strikes, the stream can be read and the builder be put to afterwards.

    A builder that was being filled in place can be out of use, as after an interrupt in its own
    calls; it says so.
    """
    for place in itertools.count(1):
        ours, theirs = await socketpair()
        async with closing(ours, theirs):
            buf = BytesBuf.with_capacity(room)
            await theirs.send_all(bytes(100))

            async def more(socket: trio.socket.SocketType = theirs.socket) -> None:
                await trio.testing.wait_all_tasks_blocked()
                await socket.send(bytes(100))  # trio's own, which is not interrupted

            async with trio.open_nursery() as nursery:
                nursery.start_soon(more)
                with InterruptAt(place) as interrupt:
                    await read(ours, buf)
            await theirs.send_all(b"after")
            while not (await ours.receive_view()).endswith(b"after"):
                pass
            with contextlib.suppress(MemoryInUse) if room else contextlib.nullcontext():
                buf.reserve(5)
                buf.put_slice(b"after")
        if not interrupt.has_struck:
            break
    assert place > 10


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_an_interrupted_write_leaves_nothing_claimed(write) -> None:
    """Wherever it strikes, the next write is not refused as the second of two."""
    for place in itertools.count(1):
        ours, theirs = await socketpair()
        async with closing(ours, theirs):
            with InterruptAt(place) as interrupt:
                await write(ours)
            with contextlib.suppress(trio.ClosedResourceError):  # after send_eof
                await ours.send_all(b"after")
        if not interrupt.has_struck:
            break
    assert place > 3


async def test_a_files_lock_is_taken_and_given_back_without_interrupts() -> None:
    """What Ctrl-C leaves held there, the next use of the file waits for, for ever."""
    protected = []

    class Lock:
        def acquire(self) -> None:
            protected.append(trio.lowlevel.currently_ki_protected())

        def release(self) -> None:
            protected.append(trio.lowlevel.currently_ki_protected())

    with tempfile.TemporaryFile("w+b", buffering=0) as raw:
        handle = Handle(raw)
        handle._lock = Lock()
        with handle:
            pass
    assert protected == [True] * 4
