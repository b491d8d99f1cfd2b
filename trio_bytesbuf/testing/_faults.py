"""`Fault`: what goes wrong at one call and at no other, and how it is made to.

Law 1. A fault strikes in the operation and nowhere else: not in its peer, nor while its subject is
       made or looked at. Tasks that the operation or its subject starts, and threads that these
       wait for, are part of it.
Law 2. It strikes one call (or `times` in a row) in each attempt; all others are made as they are.
       What fails has not been done: no byte was moved by it, no descriptor opened.

System calls are made to fail where Python makes them: in the functions of `os`, in the methods
of sockets, and in the one place where trio makes those of its own. EINTR cannot come from there, as
Python makes a call again that was interrupted (PEP 475); `strace -e inject` makes the system say
it, and the tests of this library do so, also to see that these places are the right ones.
"""

from __future__ import annotations

import abc
import contextlib
import errno
import os
import socket
from contextvars import ContextVar
from functools import wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

from ..seq import MemoryShared
from ..seq._source import pass_on_blocks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

    from ..seq import Block, BlockRef, Memory

T = TypeVar("T")

READS: Final = frozenset({"read", "readv", "preadv", "pread", "recv", "recv_into", "recvfrom"})
"""System calls that bring bytes, by the names of Python's functions."""

WRITES: Final = frozenset({"write", "writev", "pwritev", "pwrite", "send", "sendmsg", "sendfile"})
"""System calls that take bytes."""

OF_OS: Final = ("read", "readv", "preadv", "pread", "write", "writev", "pwritev", "pwrite")
OF_OS_TOO: Final = ("sendfile", "fsync", "fstat", "open", "dup", "lseek")
OF_FILES: Final = ("stat", "lstat", "readlink", "unlink", "memfd_create", "ftruncate")
OF_SOCKETS: Final = ("connect", "shutdown", "accept", "recv", "recvfrom", "recvfrom_into")
OF_SOCKETS_TOO: Final = ("recvmsg_into", "recv_into", "send", "sendmsg", "sendto")
OF_LISTENING: Final = ("bind", "listen", "setsockopt")

_strikes: ContextVar[_Counting | None] = ContextVar("_strikes", default=None)
"""The fault that the tasks of an attempt are to meet. (Law 1)"""


class Fault(abc.ABC):
    """Something that goes wrong at one call of an operation; made once for all attempts."""

    struck: str = ""
    """What went wrong in this attempt; empty if nothing did."""

    @abc.abstractmethod
    def begin(self) -> None:
        """Let the first call be the next that goes wrong."""

    @abc.abstractmethod
    def go_on(self, every: int) -> None:
        """Let a later one be, `every` calls behind the one before."""

    @abc.abstractmethod
    def around(self) -> contextlib.AbstractContextManager[None]:
        """Return what is entered around an attempt: its subject, its operation, its check."""

    @abc.abstractmethod
    async def strike(self, operation: Awaitable[T]) -> T:
        """Run the operation, and let one call go wrong."""


class _Counting(Fault):
    """A fault that counts the calls as they come."""

    struck: str
    _at = 0
    _calls = 0
    _is_armed = False
    _times = 1

    def begin(self) -> None:
        self._at = 0

    def go_on(self, every: int) -> None:
        self._at += every

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        self.struck, self._calls = "", 0
        token = _strikes.set(self)
        try:
            yield
        finally:
            _strikes.reset(token)

    async def strike(self, operation: Awaitable[T]) -> T:
        self._is_armed = True
        try:
            return await operation
        finally:
            self._is_armed = False

    def _strikes_now(self, what: str) -> bool:
        """Count a call; say whether it is the one that goes wrong."""
        if not self._is_armed:
            return False
        at, self._calls = self._calls, self._calls + 1
        if not self._at <= at < self._at + self._times:
            return False
        self.struck = what
        return True


def spare() -> None:
    """Let nothing go wrong in this task from now on: it is the peer's."""
    _strikes.set(None)


# System calls


class SystemCalls(_Counting):
    """The n-th system call fails, or moves few bytes.

    Args:
      failure: an `errno`, which the call fails with; or, with `max_bytes`, None.
      of: which calls count, by the names of Python's functions; all that are known if not given.
        `READS` and `WRITES` are sets of them.
      times: how many in a row fail, at least 1. EAGAIN ten times is what a busy system says.
      max_bytes: the n-th read or write moves so many bytes at the most, at least 1, and no error is
        raised.

    Example:
      >>> SystemCalls(errno.ECONNRESET)
      SystemCalls(ECONNRESET)
      >>> SystemCalls(max_bytes=1, of=READS)
      SystemCalls(at most 1 byte)
    """

    def __init__(
        self,
        failure: int | None = None,
        *,
        of: Iterable[str] | None = None,
        times: int = 1,
        max_bytes: int | None = None,
    ) -> None:
        if (failure is None) == (max_bytes is None):
            raise ValueError("a call fails with an errno, or moves few bytes: say one of both")
        if times < 1 or (max_bytes is not None and max_bytes < 1):
            raise ValueError("a call fails once at least, or moves one byte at least")
        if of is None:
            of = READS | WRITES if failure is None else ALL_CALLS
        if isinstance(of, str):
            raise TypeError(f"`of` is a set of names, not one: say {{{of!r}}}")
        self._of = frozenset(of)
        unknown = self._of - ALL_CALLS
        if unknown:
            raise ValueError(
                f"these are no calls that can be made to fail: {sorted(unknown)}; "
                f"there are {', '.join(sorted(ALL_CALLS))}"
            )
        self._failure, self._times, self._max_bytes = failure, times, max_bytes

    def __repr__(self) -> str:
        return f"SystemCalls({self._words()})"

    def _words(self) -> str:
        if self._failure is None:
            return f"at most {self._max_bytes} byte{'' if self._max_bytes == 1 else 's'}"
        name = errno.errorcode.get(self._failure, str(self._failure))
        return name if self._times == 1 else f"{name}, {self._times} times"

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """See `Fault.around`."""
        with super().around(), _seams():
            yield

    def call(
        self,
        name: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> Any:
        """Make a system call, or let it go wrong."""
        is_left_out = name not in self._of or (options and self._failure is None)
        if is_left_out or not self._strikes_now(f"{name}: {self._words()}"):
            return function(*args, **options)
        if self._failure is not None:
            raise OSError(self._failure, os.strerror(self._failure))
        assert self._max_bytes is not None
        return function(*_shortened(name, args, self._max_bytes))


def _shortened(name: str, args: tuple[Any, ...], most: int) -> tuple[Any, ...]:
    """Return the arguments of a call that moves at most `most` bytes, if it can be told to."""
    if name in {"readv", "writev", "preadv", "pwritev", "sendmsg"}:
        place = 0 if name == "sendmsg" else 1
        left, buffers = most, []
        for buffer in args[place]:
            view = memoryview(buffer).cast("B")[:left]
            left -= view.nbytes
            if view.nbytes:
                buffers.append(view)
        return (*args[:place], buffers, *args[place + 1 :])
    if name in {"read", "pread", "sendfile", "recv"}:
        place = {"sendfile": 3}.get(name, 1)
        return (*args[:place], min(args[place], most), *args[place + 1 :])
    if name in {"write", "pwrite", "send"}:
        return (args[0], memoryview(args[1]).cast("B")[:most], *args[2:])
    return args


def _through(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def made(*args: Any, **options: Any) -> Any:
        fault = _strikes.get()
        if not isinstance(fault, SystemCalls):
            return function(*args, **options)
        return fault.call(name, function, args, options)

    return made


def _making(init: Callable[..., None]) -> Callable[..., None]:
    """Return the constructor of a socket, in which `socket` may fail; `accept` uses it, too."""

    @wraps(init)
    def made(self: Any, *args: Any, **options: Any) -> None:
        fault = _strikes.get()
        if isinstance(fault, SystemCalls) and options.get("fileno") is None:
            fault.call("socket", init, (self, *args), options)
        else:
            init(self, *args, **options)

    return made


ALL_CALLS: Final = frozenset(
    ("socket", *OF_OS, *OF_OS_TOO, *OF_FILES, *OF_SOCKETS, *OF_SOCKETS_TOO, *OF_LISTENING)
)


@contextlib.contextmanager
def _seams() -> Iterator[None]:
    """Let every system call of this process come by `SystemCalls.call`."""
    with contextlib.ExitStack() as stack:
        for name in (*OF_OS, *OF_OS_TOO, *OF_FILES):
            if hasattr(os, name):
                stack.enter_context(_replaced(os, name, _through(name, getattr(os, name))))
        for name in (*OF_SOCKETS, *OF_SOCKETS_TOO, *OF_LISTENING):
            if hasattr(socket.socket, name):
                function = getattr(socket.socket, name)
                stack.enter_context(_replaced(socket.socket, name, _through(name, function)))
        making = _making(socket.socket.__init__)
        stack.enter_context(_replaced(socket.socket, "__init__", making))
        # trio keeps the methods of its sockets as they were when it was imported.
        kind: Any = type(_any_socket())
        helper = kind._nonblocking_helper

        async def helped(self: Any, wait: Any, function: Any, *args: Any, **options: Any) -> Any:
            made = function
            if getattr(function, "__name__", "") in ALL_CALLS:
                made = _through(function.__name__, getattr(function, "__wrapped__", function))
            return await helper(self, wait, made, *args, **options)

        stack.enter_context(_replaced(kind, "_nonblocking_helper", helped))
        yield


def _any_socket() -> trio.socket.SocketType:
    with trio.socket.socket() as made:
        return made


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: object) -> Iterator[None]:
    is_own = name in vars(owner)
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if is_own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


# Calls of what the user has written


class HookCalls(_Counting):
    """The n-th call of something of the user's raises: of an inspector, a codec, a memory.

    Wrap what is to count: functions by `wrap`, memory by `FailingMemory`.

    Args:
      error: makes what is raised; called each time.
      before: whether it is raised instead of the call, or else behind it.

    Example:
      >>> calls = HookCalls(lambda: KeyError("planted"))
      >>> calls.wrap(len)(b"abc")
      3
    """

    def __init__(self, error: Callable[[], Exception], *, before: bool = True) -> None:
        self._error = error
        self._before = before

    def __repr__(self) -> str:
        return f"HookCalls({type(self._error()).__name__})"

    def come_by(self, what: str) -> None:
        """Count a call; raise if it is the one that goes wrong."""
        if self._strikes_now(f"{what}: {type(error := self._error()).__name__}"):
            raise error

    def wrap(self, function: Callable[..., T]) -> Callable[..., T]:
        """Return a function that does the same, and counts."""
        name = getattr(function, "__name__", type(function).__name__)

        @wraps(function)
        def made(*args: Any, **options: Any) -> T:
            if self._before:
                self.come_by(name)
                return function(*args, **options)
            result = function(*args, **options)
            self.come_by(name)
            return result

        return made


class FailingMemory(MemoryShared):
    """Gives what another provider gives; the n-th time that it is asked, it raises MemoryError.

    Args:
      memory: who gives the memory.
      calls: when to raise, and what; `HookCalls(MemoryError)` says it as Python would.
    """

    __slots__ = ("_calls", "_memory")

    def __init__(self, memory: Memory, calls: HookCalls) -> None:
        self._memory = memory
        self._calls = calls

    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        """Return what the provider behind gives, or raise."""
        self._calls.come_by("memory")
        return pass_on_blocks(self._memory, nbytes)

    def _lease(self, nbytes: int, /) -> tuple[memoryview, BlockRef | None]:
        self._calls.come_by("memory")
        return self._memory._lease(nbytes)

    def _waitable(self) -> Memory | None:
        return self._memory._waitable()

    def is_worth_keeping(self, filled_nbytes: int, capacity_nbytes: int, /) -> bool:
        """Say what the provider behind says."""
        return self._memory.is_worth_keeping(filled_nbytes, capacity_nbytes)

    def __repr__(self) -> str:
        return f"FailingMemory({self._memory!r})"
