"""Where system calls are struck: at the functions of Python's own modules, while an attempt runs.

Law 1. A call is struck where it is looked up when it is made: `os.read`, a method of
       `socket.socket`, `fcntl.flock`. What kept the function before cannot be seen; trio, whose
       sockets keep some, is met in the one place where it calls them.
Law 2. Only tasks (and threads they wait for) in whose context a `Strikes` stands are met. To all
       others a seam is as if it was not there.
Law 3. Afterwards everything is what it was, by identity. So there are no seams while there are
       some: whoever took its own away second would put those of the first back.

A mapping is made by calling a class. `mmap.mmap` is replaced by one that makes the same objects,
and knows them as its own; a subclass of it gets a `__new__` of its own for as long. What C code
calls by itself is not met: the builtin `open`, closing, `getaddrinfo`, the loop's `epoll_wait`.
"""

from __future__ import annotations

import abc
import contextlib
import importlib
import mmap
import os
import socket
import threading
from contextvars import ContextVar
from functools import wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

OF_OS: Final = ("read", "readv", "preadv", "pread", "write", "writev", "pwritev", "pwrite")
OF_OS_TOO: Final = ("sendfile", "fsync", "fstat", "open", "dup", "lseek")
OF_FILES: Final = ("stat", "lstat", "readlink", "unlink", "memfd_create", "ftruncate")
OF_SOCKETS: Final = ("connect", "shutdown", "accept", "recv", "recvfrom", "recvfrom_into")
OF_SOCKETS_TOO: Final = ("recvmsg_into", "recv_into", "send", "sendmsg", "sendto")
OF_LISTENING: Final = ("bind", "listen", "setsockopt", "getsockopt", "connect_ex")
OF_FCNTL: Final = ("fcntl", "flock", "ioctl")

IN_OS: Final = (*OF_OS, *OF_OS_TOO, *OF_FILES)
IN_SOCKETS: Final = (*OF_SOCKETS, *OF_SOCKETS_TOO, *OF_LISTENING)

ALL_CALLS: Final = frozenset(("socket", "mmap", *IN_OS, *IN_SOCKETS, *OF_FCNTL))
"""What can be struck, by the names of Python's functions."""


class Strikes(abc.ABC):
    """What calls come by, in the tasks in whose context it stands."""

    @abc.abstractmethod
    def call(
        self,
        name: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> Any:
        """Make a system call, or let it go wrong."""


striking: Final[ContextVar[object | None]] = ContextVar("striking", default=None)
"""The fault that the tasks of an attempt are to meet: a `Strikes`, if it is one of system calls."""


def _through(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def made(*args: Any, **options: Any) -> Any:
        fault = striking.get()
        if not isinstance(fault, Strikes):
            return function(*args, **options)
        return fault.call(name, function, args, options)

    return made


def _making(init: Callable[..., None]) -> Callable[..., None]:
    """Return the constructor of a socket, in which `socket` may fail.

    Not for a descriptor that is there: `accept` and `fromfd` use it, too.
    """
    making = _through("socket", init)

    @wraps(init)
    def made(self: Any, *args: Any, **options: Any) -> None:
        fileno = args[3] if len(args) > 3 else options.get("fileno")
        (making if fileno is None else init)(self, *args, **options)

    return made


class _Mappings(type):
    """The class of what stands in for `mmap.mmap`: calling it makes a real one."""

    real: Final = mmap.mmap
    _made: Any = staticmethod(_through("mmap", real))

    def __call__(cls, *args: Any, **options: Any) -> Any:
        return cls._made(*args, **options)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.real)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.real)


@contextlib.contextmanager
def seams() -> Iterator[None]:
    """Let every system call of this process come by the `Strikes` of its task, if there is one."""
    with contextlib.ExitStack() as stack:

        def replace(owner: Any, name: str, value: object) -> None:
            stack.enter_context(_replaced(owner, name, value))

        for owner, names in ((os, IN_OS), (socket.socket, IN_SOCKETS), (_fcntl(), OF_FCNTL)):
            for name in names:
                if hasattr(owner, name):
                    replace(owner, name, _through(name, getattr(owner, name)))
        if hasattr(socket, "dup"):  # by which `socket.fromfd` makes its own
            replace(socket, "dup", _through("dup", socket.dup))
        replace(socket.socket, "__init__", _making(socket.socket.__init__))
        replace(mmap, "mmap", _Mappings("mmap", (), {}))
        for kind in _subclasses_of(_Mappings.real):
            replace(kind, "__new__", _through("mmap", kind.__new__))
        # trio keeps the methods of its sockets as they were when it was imported.
        kind = type(_any_socket())
        helper = kind._nonblocking_helper

        async def helped(self: Any, wait: Any, function: Any, *args: Any, **options: Any) -> Any:
            made = function
            if getattr(function, "__name__", "") in ALL_CALLS:
                made = _through(function.__name__, getattr(function, "__wrapped__", function))
            return await helper(self, wait, made, *args, **options)

        replace(kind, "_nonblocking_helper", helped)
        yield


def _fcntl() -> Any:
    """Return the module, or None on Windows, which has none."""
    try:
        return importlib.import_module("fcntl")
    except ImportError:
        return None


def _subclasses_of(kind: type) -> list[Any]:
    """Return all classes below `kind`, each once."""
    found: list[Any] = []
    below: Any
    for below in kind.__subclasses__():
        found += [each for each in (below, *_subclasses_of(below)) if each not in found]
    return found


def _any_socket() -> Any:
    with trio.socket.socket() as made:
        return made


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: object) -> Iterator[None]:
    is_own = name in vars(owner)
    before = vars(owner)[name] if is_own else None
    setattr(owner, name, value)
    try:
        yield
    finally:
        if is_own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


_RUN: Final = threading.Lock()


@contextlib.contextmanager
def only_run() -> Iterator[None]:
    """Be the only run of the tool in this process. (Law 3)

    Raises:
      RuntimeError: there is one already.
    """
    if not _RUN.acquire(blocking=False):
        raise RuntimeError(
            "fail_at_each_call runs in this process already: two at once would meet each other's "
            "system calls, and blame each other's descriptors"
        )
    try:
        yield
    finally:
        _RUN.release()
