"""`Allocations`: the n-th time that Python wants memory, it gets none.

CPython's own tests have the switch for it, `_testcapi.set_nomemory`, which not every build has. It
stands for the whole process; so it is on only while a step of the operation runs, and off while
the operation waits and others run. How many allocations a step makes cannot be asked: whether one
failed in it is found out by allocating until one does.

CPython 3.12 and 3.13 take a reference too many from the code of a nested function, a lambda or a
generator expression when there is no memory for the function itself; later it is gone while
somebody runs it. So from here all such code is referred to many times.

Free-threaded builds have the switch, and crash by it: their objects must come from one allocator.

What watches the program line by line (coverage, a debugger, a profiler) allocates in each step as
well, and would be struck in the operation's place; so nothing may.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ._faults import Fault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator, Iterator

T = TypeVar("T")

_testcapi: Any = None
with contextlib.suppress(ImportError):  # on a build without CPython's own tests
    _testcapi = importlib.import_module("_testcapi")


TAKES_CODE_AWAY: Final = sys.version_info >= (3, 12)
"""Whether nested code loses a reference each time that its function cannot be made."""

IS_FREE_THREADED_BUILD: Final = "t" in getattr(sys, "abiflags", "")

TIMES_HELD: Final = 1000
"""How often that may happen to one. A guess: an attempt is one time at the most."""

_seen_modules: Final[set[str]] = set()
_seen_classes: Final[dict[int, type]] = {}  # by identity; some are among their own attributes
_held: Final[dict[int, tuple[types.CodeType, ...]]] = {}  # each once, by identity


def _hold_nested_code() -> None:
    """Refer to the code of all functions in functions of modules that are not Python's own."""
    for name in set(sys.modules) - _seen_modules:
        _seen_modules.add(name)
        if name.partition(".")[0] not in sys.stdlib_module_names or name == "__main__":
            for value in list(vars(sys.modules[name]).values()):
                _hold_code_in(value, name)


def _hold_code_in(value: Any, module: str) -> None:
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    if isinstance(value, type) and value.__module__ == module and id(value) not in _seen_classes:
        _seen_classes[id(value)] = value
        for inner in list(vars(value).values()):
            _hold_code_in(inner, module)
    elif isinstance(value, property):
        for function in (value.fget, value.fset, value.fdel):
            _hold_code_in(function, module)
    elif isinstance(value, types.FunctionType):
        _hold_code_in_code(value.__code__)
        _hold_code_in(getattr(value, "__wrapped__", None), module)


def _hold_code_in_code(code: types.CodeType) -> None:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType) and id(constant) not in _held:
            _held[id(constant)] = (constant,) * TIMES_HELD
            _hold_code_in_code(constant)


MONITORING_TOOLS: Final = 6
"""How many can use `sys.monitoring` at a time."""


def _is_watched() -> bool:
    if sys.gettrace() is not None or sys.getprofile() is not None:
        return True
    monitoring = getattr(sys, "monitoring", None)  # from 3.12 on
    return monitoring is not None and any(map(monitoring.get_tool, range(MONITORING_TOOLS)))


class Allocations(Fault):
    """The n-th allocation of a step of the operation fails, then those of its next step.

    A step is what a task does from one checkpoint to the next. Only the steps of the task that runs
    the operation count. Let it not wait for the system, nor for time, nor open a cancel scope or a
    nursery: trio's own books are not made for it. Threads are struck as well while a step runs.

    What is raised is mostly MemoryError; where CPython forgets to say so, SystemError. What is
    struck in a finalizer, or as a generator is closed, goes to `sys.unraisablehook`. Operations put
    what they get into something that is there: on its way out of an operation a result may be lost.

    Raises:
      RuntimeError: this Python cannot do so now; see `can_fail`.
    """

    struck: str

    def __init__(self) -> None:
        if not self.can_fail():
            raise RuntimeError(
                "allocations fail only where Python has _testcapi.set_nomemory and is no "
                "free-threaded build, and while nothing watches what runs: no coverage, no debugger"
            )
        self.begin()

    def __repr__(self) -> str:
        return "Allocations()"

    @staticmethod
    def can_fail() -> bool:
        """Say whether this build of Python can do so, and nothing watches what runs."""
        can_switch = hasattr(_testcapi, "set_nomemory") and not IS_FREE_THREADED_BUILD
        return can_switch and not _is_watched()

    def begin(self) -> None:
        """See `Fault.begin`."""
        self._step = self._at = self._steps = 0
        if TAKES_CODE_AWAY:
            _hold_nested_code()

    def go_on(self, every: int) -> None:
        """See `Fault.go_on`."""
        self._at += every

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """See `Fault.around`."""
        self.struck = ""
        yield

    async def strike(self, operation: Awaitable[T]) -> T:
        """See `Fault.strike`."""
        self._steps = 0
        result: T = await self._stepped(operation.__await__())
        return result

    @types.coroutine
    def _stepped(self, steps: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        send: Any = steps.send
        value: Any = None
        while True:
            try:
                trap = self._one_step(send, value)
            except StopIteration as exc:
                result: T = exc.value
                return result
            try:
                value = yield trap
                send = steps.send
            except BaseException as exc:  # noqa: BLE001  # it is the operation's
                value, send = exc, steps.throw

    def _one_step(self, send: Any, value: Any) -> Any:
        """Make a step; let an allocation fail in it if it is its turn."""
        if self._steps != self._step or self.struck:
            self._steps += 1
            return send(value)
        self._steps += 1
        at = self._at
        probes = range(at + 2)
        _testcapi.set_nomemory(at, at + 1)
        try:
            return send(value)
        finally:
            struck = True
            try:
                for _ in probes:
                    object()
            except MemoryError:
                struck = False
            _testcapi.remove_mem_hooks()
            if struck:
                self.struck = f"allocation in step {self._step}"
            else:  # it has no more: the next step's turn, in this attempt
                self._step, self._at = self._step + 1, 0
