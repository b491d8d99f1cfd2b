"""Ctrl-C between any two instructions of a builder: no view ever changes, and nothing hangs.

What was put or taken when it struck may be lost. That is all that is promised.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

import pytest

import trio_bytesbuf
from trio_bytesbuf import BytesBuf, BytesView
from trio_bytesbuf.seq import Block

OURS = trio_bytesbuf.__path__[0]


def interrupted_at(place: int, operation: Callable[[], object]) -> bool:
    """Run it with an interrupt at one of the places where CPython looks for signals.

    These are the entry of a function, and behind a call of C code. Say whether there was that one.
    """
    places = 0

    def look(frame, event, _):
        nonlocal places
        if event in ("call", "c_return") and frame.f_code.co_filename.startswith(OURS):
            places += 1
            if places == place:
                raise KeyboardInterrupt

    sys.setprofile(look)
    try:
        operation()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


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
            if not interrupted_at(place, operation):
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
