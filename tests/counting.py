"""What a call costs, counted and not timed: functions and lines of the package, system calls.

CPython tells of each function that is entered and of each line; what it tells is the same whatever
else the machine does. Functions are also the same on all versions, where comprehensions, which are
functions up to 3.11, are left out. Lines are not quite: a version may tell of a `with` or a `try`
once more than another.
"""

from __future__ import annotations

import collections
import gc
import os
import sys
from pathlib import Path
from typing import Self

import trio_bytesbuf

PACKAGE = str(Path(trio_bytesbuf.__file__).parent)

COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>"}
MOVING_BYTES = ("read", "readv", "write", "writev")


def is_entered(frame) -> bool:
    """Say whether a frame begins; what was suspended and is resumed tells of a call as well."""
    code = frame.f_code
    is_resumed = code.co_code[frame.f_lasti + 1] & 3  # the argument of RESUME
    return not is_resumed and code.co_name not in COMPREHENSIONS


class Functions:
    """Counts the functions of the package that are entered during a block, in all tasks.

    The garbage collector is off meanwhile: it calls functions of ours when it pleases.
    """

    def __init__(self) -> None:
        self.entered: collections.Counter[str] = collections.Counter()

    @property
    def count(self) -> int:
        return self.entered.total()

    def _note(self, frame, event, _) -> None:
        if event == "call":
            code = frame.f_code
            if code.co_filename.startswith(PACKAGE) and is_entered(frame):
                self.entered[code.co_name] += 1

    def __enter__(self) -> Self:
        self._was_enabled = gc.isenabled()
        gc.disable()
        self._before = sys.getprofile()
        sys.setprofile(self._note)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.setprofile(self._before)
        if self._was_enabled:
            gc.enable()


class Lines:
    """Counts the lines of the package that are executed during a block, in this task's calls."""

    def __init__(self) -> None:
        self.count = 0

    def _note(self, frame, event, _):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        self.count += event == "line"
        return self._note

    def __enter__(self) -> Self:
        self._was_enabled = gc.isenabled()
        gc.disable()
        self._before = sys.gettrace()
        sys.settrace(self._note)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.settrace(self._before)
        if self._was_enabled:
            gc.enable()


class SystemCalls:
    """Counts the system calls that move bytes during a block, by name."""

    def __init__(self) -> None:
        self.counted: collections.Counter[str] = collections.Counter()

    def _counting(self, name: str):
        real = self._real[name]

        def call(*args):
            self.counted[name] += 1
            return real(*args)

        return call

    def __enter__(self) -> Self:
        self._real = {name: getattr(os, name) for name in MOVING_BYTES}
        for name in MOVING_BYTES:
            setattr(os, name, self._counting(name))
        return self

    def __exit__(self, *exc_info: object) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)
