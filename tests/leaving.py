"""How processes of their own end with a lease somewhere; without what tests import, for speed."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading

from trio_bytesbuf import BytesBuf, BytesView
from trio_bytesbuf.mem import Block
from trio_bytesbuf.seq import _release


class HookError(Exception):
    """What a hook raises in tests."""


class LooksWhenItDies:
    """Part of a cycle. Its finalizer reads the view that is in the same garbage."""

    def __init__(self, view: BytesView, seen: list[bytes], pieces: bool) -> None:
        self.cycle, self.seen = self, seen
        self.held = view.pieces if pieces else view

    def __del__(self) -> None:
        _release.run_hooks_that_are_due()
        shown = b"".join(self.held) if isinstance(self.held, tuple) else bytes(self.held)
        self.seen.append(shown)


def leave(where: str, error: str) -> None:
    """End a process with a lease in some place. Run in a process."""

    def hook() -> None:
        os.write(1, b"hook")
        if error:
            raise HookError(error)

    buf = BytesBuf.from_blocks([Block(bytearray(16), on_release=hook)])
    buf.put_slice(b"bytes")
    view = buf.consume_all()
    if where == "cycle":
        cycle: list[object] = [view]
        cycle.append(cycle)
    elif where == "finalizer":
        sys.modules["__main__"].left = LooksWhenItDies(view, [], False)
    elif where == "thread":
        forever = threading.Event()
        threading.Thread(target=lambda _: forever.wait(), args=(view,), daemon=True).start()
    elif where == "for ever":
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(view))
    elif where == "callback":
        gc.callbacks.append(lambda *_, kept=view: kept)
    else:
        sys.modules[where].left = view
