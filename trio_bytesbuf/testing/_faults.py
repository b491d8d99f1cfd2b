"""`Fault`: what goes wrong at one call and at no other, and how it is made to.

Law 1. A fault strikes in the operation and nowhere else: not in its peer, nor while its subject is
       made or looked at. Tasks that the operation or its subject starts, and threads that these
       wait for, are part of it.
Law 2. It strikes one call (or `times` in a row) in each attempt; all others are made as they are.
       What fails has not been done: no byte was moved by it, no descriptor opened.
Law 3. What counts as struck was struck: a call that has no more to move than it may is not made
       short.

System calls are made to fail where Python makes them, see `_seams`. EINTR cannot come from there,
as Python makes a call again that was interrupted (PEP 475); `strace -e inject` makes the system say
it, and the tests of this library do so, also to see that these places are the right ones.
"""

from __future__ import annotations

import abc
import contextlib
import errno
import operator
import os
import socket
from functools import wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, SupportsIndex, TypeVar

from ..seq import Memory, MemoryShared
from ..seq._flat import positive_count_of
from ..seq._source import pass_on_blocks
from ._seams import ALL_CALLS, Strikes, seams, striking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

    from ..seq import Block, BlockRef

T = TypeVar("T")

READS: Final = frozenset({"read", "readv", "preadv", "pread", "recv", "recv_into", "recvfrom"})
"""System calls that bring bytes, by the names of Python's functions."""

WRITES: Final = frozenset({"write", "writev", "pwritev", "pwrite", "send", "sendmsg", "sendfile"})
"""System calls that take bytes."""


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
        token = striking.set(self)
        try:
            yield
        finally:
            striking.reset(token)

    async def strike(self, operation: Awaitable[T]) -> T:
        self._is_armed = True
        try:
            return await operation
        finally:
            self._is_armed = False

    def _strikes_now(self, what: str) -> bool:
        """Count a call; say whether it is the one that goes wrong."""
        if not self._is_armed or striking.get() is not self:
            return False
        at, self._calls = self._calls, self._calls + 1
        if not self._at <= at < self._at + self._times:
            return False
        self.struck = what
        return True


def spare() -> None:
    """Let nothing go wrong in this task from now on: it is the peer's."""
    striking.set(None)


# System calls


class SystemCalls(_Counting, Strikes):
    """The n-th system call fails, or moves few bytes.

    Args:
      failure: an `errno`, which the call fails with; or, with `max_bytes`, None. Calls that say so
        by what they return, do: `connect_ex`, and `getsockopt` of SO_ERROR, which is how a
        connection fails that was under way.
      of: which calls count, by the names of Python's functions; all that are known if not given.
        `READS` and `WRITES` are sets of them; with `max_bytes` there are no others.
      times: how many in a row fail, at least 1. EAGAIN ten times is what a busy system says.
      max_bytes: the n-th read or write moves so many bytes at the most, at least 1, and no error is
        raised. One that wants no more does not count, nor does one of a datagram.

    Raises:
      TypeError: a number is no integer, or `of` a name and no set of names.
      ValueError: neither `failure` nor `max_bytes` is given, or both; a number is below 1, or no
        errno; `of` has no names, or others than there are.

    Example:
      >>> SystemCalls(errno.ECONNRESET)
      SystemCalls(ECONNRESET)
      >>> SystemCalls(max_bytes=1, of=READS)
      SystemCalls(at most 1 byte)
    """

    def __init__(
        self,
        failure: SupportsIndex | None = None,
        *,
        of: Iterable[str] | None = None,
        times: SupportsIndex = 1,
        max_bytes: SupportsIndex | None = None,
    ) -> None:
        self._times = positive_count_of(times, "times")
        self._failure: int | None = None
        self._max_bytes: int | None = None
        known = ALL_CALLS
        if failure is not None and max_bytes is None:
            self._failure = operator.index(failure)
            if self._failure not in errno.errorcode:
                raise ValueError(f"{self._failure} is no errno of this system")
        elif failure is None and max_bytes is not None:
            self._max_bytes = positive_count_of(max_bytes, "max_bytes")
            known = READS | WRITES
        else:
            raise ValueError("a call fails with an errno, or moves few bytes: say one of both")
        self._of = _names_in(known if of is None else of, known)

    def __repr__(self) -> str:
        return f"SystemCalls({self._words()})"

    def _words(self) -> str:
        if self._failure is None:
            return f"at most {self._max_bytes} byte{'' if self._max_bytes == 1 else 's'}"
        name = errno.errorcode[self._failure]
        return name if self._times == 1 else f"{name}, {self._times} times"

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """See `Fault.around`."""
        with super().around(), seams():
            yield

    def call(
        self,
        name: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> Any:
        """Make a system call, or let it go wrong."""
        shorter: tuple[Any, ...] | None = None
        if name in self._of and self._max_bytes is not None and not options:
            shorter = _shortened(name, args, self._max_bytes)
        may_go_wrong = name in self._of and (shorter is not None or self._failure is not None)
        if not may_go_wrong or not self._strikes_now(f"{name}: {self._words()}"):
            return function(*args, **options)
        if shorter is not None:
            return function(*shorter)
        assert self._failure is not None
        is_said = name == "getsockopt" and args[1:] == (socket.SOL_SOCKET, socket.SO_ERROR)
        if is_said or name == "connect_ex":
            return self._failure
        raise OSError(self._failure, os.strerror(self._failure))


def _names_in(of: Iterable[str], known: frozenset[str]) -> frozenset[str]:
    """Return the names of calls, all of which are known."""
    if isinstance(of, str):
        raise TypeError(f"`of` is a set of names, not one: say {{{of!r}}}")
    names = frozenset(of)
    if not names:
        raise ValueError("`of` has no names: no call would go wrong")
    if unknown := names - known:
        what = "fail" if known is ALL_CALLS else "move few bytes (max_bytes)"
        raise ValueError(
            f"these are no calls that can be made to {what}: {sorted(unknown)}; "
            f"there are {', '.join(sorted(known))}"
        )
    return names


def _shortened(name: str, args: tuple[Any, ...], most: int) -> tuple[Any, ...] | None:
    """Return the arguments of a call that moves at most `most` bytes; None if it does anyhow."""
    if isinstance(args[0], socket.socket) and args[0].type != socket.SOCK_STREAM:
        return None  # a datagram would be cut, which no system does
    if name in {"readv", "writev", "preadv", "pwritev", "sendmsg"}:
        views = [memoryview(buffer).cast("B") for buffer in args[1]]
        if sum(view.nbytes for view in views) <= most:
            return None
        left, buffers = most, []
        for view in views:
            if left and view.nbytes:
                buffers.append(view[:left])
                left -= buffers[-1].nbytes
        return (args[0], buffers, *args[2:])
    if name in {"write", "pwrite", "send"}:
        view = memoryview(args[1]).cast("B")
        return None if view.nbytes <= most else (args[0], view[:most], *args[2:])
    if name == "recv_into":
        room = memoryview(args[1]).nbytes
        asked = args[2] if len(args) > 2 and args[2] else room
        return None if asked <= most else (*args[:2], most, *args[3:])
    place = 3 if name == "sendfile" else 1  # read, pread, recv, recvfrom, sendfile
    return None if args[place] <= most else (*args[:place], most, *args[place + 1 :])


# Calls of what the user has written


class HookCalls(_Counting):
    """The n-th call of something of the user's raises: of an inspector, a codec, a memory.

    Wrap what is to count: functions by `wrap`, memory by `FailingMemory`.

    Args:
      error: makes what is raised; called each time.
      before: whether it is raised instead of the call, or else behind it.

    Raises:
      TypeError: `error` is no function.

    Example:
      >>> calls = HookCalls(lambda: KeyError("planted"))
      >>> calls.wrap(len)(b"abc")
      3
    """

    def __init__(self, error: Callable[[], Exception], *, before: bool = True) -> None:
        if not callable(error):
            raise TypeError(f"a function that makes an error is wanted, not {error!r}")
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

    Who need not ask is not struck: a stream over the default pool takes small traffic without
    leasing memory for it.

    Args:
      memory: who gives the memory.
      calls: when to raise, and what; `HookCalls(MemoryError)` says it as Python would.

    Raises:
      TypeError: `memory` is no `Memory`, or `calls` no `HookCalls`.
    """

    __slots__ = ("_calls", "_memory")

    def __init__(self, memory: Memory, calls: HookCalls) -> None:
        if not isinstance(memory, Memory):
            raise TypeError(f"a Memory is wanted, not {type(memory).__name__}")
        if not isinstance(calls, HookCalls):
            raise TypeError(f"calls are counted by a HookCalls, not {type(calls).__name__}")
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
