"""Listening and connecting: trio's functions, with our streams."""

from __future__ import annotations

import contextlib
import errno
import os
import socket as stdlib_socket
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from ..seq import Memory
from ..seq._flat import count_of
from ..seq._memory import memory_or_default
from ._socket import SocketStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from typing import NoReturn, TypeAlias

    MemoryForEach: TypeAlias = Memory | Callable[[], Memory] | None

BACKLOG = 65_535
"""As many waiting connections as the system allows, which caps the number; trio asks the same."""


LARGEST_PORT = 65_535
"""More than that is not refused by every system: some take it modulo 65,536."""


class SocketListener(trio.abc.Listener[SocketStream]):
    """A listening socket whose connections are `SocketStream`s.

    Args:
      listener: trio's own.
      memory: for the streams; the process's pool if not given. A function is called
        for each connection: with `partial(pool.share, 262_144)`, each has a share of its own.
    """

    def __init__(self, listener: trio.SocketListener, *, memory: MemoryForEach = None) -> None:
        self._listener = listener
        self._memory = _checked(memory)

    @property
    def socket(self) -> trio.socket.SocketType:
        """The trio socket underneath."""
        return self._listener.socket

    async def accept(self) -> SocketStream:
        """Wait for a connection; as `trio.SocketListener.accept`. Cancellation: atomic."""
        memory = self._memory
        if not isinstance(memory, Memory):
            memory = memory_or_default(memory())  # before there is a connection to be lost
        return _stream_over(await self._listener.accept(), memory)

    async def aclose(self) -> None:
        """Close the listening socket. Cancellation: it is closed all the same."""
        await self._listener.aclose()


class UnixListener(SocketListener):
    """A listening Unix socket, which takes its file away when it is closed."""

    def __init__(
        self, listener: trio.SocketListener, path: Path, *, memory: MemoryForEach = None
    ) -> None:
        super().__init__(listener, memory=memory)
        self._path = path
        self._file_id = _file_id(path)

    async def aclose(self) -> None:
        """Close the socket and remove its file, unless another file has taken its place.

        Raises:
          OSError: the file could not be removed; the message names it. The socket is closed, and
            whoever listens there next replaces the file.

        Cancellation: it is closed all the same. That the file could not be removed is a
        RuntimeWarning then: a server that was told to stop has stopped.
        """
        failure = self._remove_file()
        try:
            await super().aclose()
        except BaseException:
            if failure is not None:
                warnings.warn(str(failure), RuntimeWarning, stacklevel=2)
            raise
        if failure is not None:
            raise failure

    def _remove_file(self) -> OSError | None:
        """Remove the file if it is ours; return what is to be said if that failed."""
        file_id, self._file_id = self._file_id, None
        try:
            if file_id is not None and _file_id(self._path) == file_id:
                self._path.unlink(missing_ok=True)
        except OSError as exc:
            failure = _renamed(exc, f"cannot remove {self._path}")
            failure.__cause__ = exc.with_traceback(None)
            return failure
        except BaseException:
            self.socket.close()
            raise
        return None


def _file_id(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


async def open_tcp_stream(
    host: str | bytes, port: int, *, memory: Memory | None = None, **options: Any
) -> SocketStream:
    """Connect by TCP; `trio.open_tcp_stream`, whose other options it takes, with our stream.

    Raises:
      OSError: no connection could be made; the message names host and port.

    Cancellation: atomic.
    """
    memory = memory_or_default(memory)
    where = _address(host, port)
    try:
        stream = await trio.open_tcp_stream(host, port, **options)
    except OSError as exc:
        raise _renamed(exc, f"cannot connect to {where}") from exc
    return _stream_over(stream, memory)


async def open_unix_socket(
    path: str | bytes | os.PathLike[str], *, memory: Memory | None = None
) -> SocketStream:
    """Connect to the Unix socket at `path`; `trio.open_unix_socket` with our stream.

    Raises:
      OSError: no connection could be made; the message names the path.

    Cancellation: atomic.
    """
    memory = memory_or_default(memory)
    where = _unix_address(path)
    try:
        stream = await trio.open_unix_socket(where)
    except OSError as exc:
        raise _renamed(exc, f"cannot connect to {where}") from exc
    return _stream_over(stream, memory)


async def open_tcp_listeners(
    port: int,
    *,
    host: str | bytes | None = None,
    backlog: int | None = None,
    memory: MemoryForEach = None,
) -> list[SocketListener]:
    """Listen for TCP connections; as `trio.open_tcp_listeners`.

    Raises:
      OSError: the address is in use, or not ours; the message names it.

    Cancellation: atomic.
    """
    memory = _checked(memory)
    where = _address(host, port)
    try:
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    except OSError as exc:
        raise _renamed(exc, f"cannot listen on {where}") from exc
    return [SocketListener(listener, memory=memory) for listener in listeners]


async def open_unix_listener(
    path: str | bytes | os.PathLike[str],
    *,
    backlog: int | None = None,
    memory: MemoryForEach = None,
) -> UnixListener:
    """Listen for connections on a Unix socket at `path`, whose file goes when the listener does.

    A socket file that a program left behind when it died is replaced; one that somebody listens
    on is not. (A program that has made its file and does not listen yet looks like a dead one.)

    Raises:
      OSError: something is at `path` already, or it cannot be made; the message names it.

    Cancellation: atomic.
    """
    await trio.lowlevel.checkpoint()
    where = _unix_address(path)
    memory = _checked(memory)
    waiting = BACKLOG if backlog is None else min(count_of(backlog, "backlog"), BACKLOG)
    place = Path(where).absolute()  # noqa: ASYNC240  # looks up the working directory, no more
    try:
        socket = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        try:
            await _bind_to_path(socket, where, place)
            with _file_taken_away(place):
                socket.listen(waiting)
                return UnixListener(trio.SocketListener(socket), place, memory=memory)
        except BaseException:
            socket.close()
            raise
    except OSError as exc:
        raise _renamed(exc, f"cannot listen on {place}") from exc


async def _bind_to_path(socket: trio.socket.SocketType, where: str, place: Path) -> None:
    """Bind, in place of a socket that nobody listens on if there is one."""
    try:
        await socket.bind(where)
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE or not _removed_if_left_behind(place):
            raise
        await socket.bind(where)


@contextlib.contextmanager
def _file_taken_away(place: Path) -> Iterator[None]:
    """Remove the file that was made a moment ago if what is done with it fails: nobody else would.

    Whether it still is the same file is not asked: the call that tells may be what has failed.
    """
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            place.unlink()
        raise


def _checked(memory: MemoryForEach) -> Memory | Callable[[], Memory]:
    """Return `memory`, or the default; raise TypeError if it is neither, nor a function."""
    if callable(memory) and not isinstance(memory, Memory):
        return memory
    return memory_or_default(memory)


def _stream_over(stream: trio.SocketStream, memory: Memory | None) -> SocketStream:
    """Make our stream of trio's, which is closed if that cannot be done."""
    try:
        return SocketStream(stream, memory=memory)
    except BaseException:  # of a memory that is asked what it is good for
        stream.socket.close()
        raise


def _removed_if_left_behind(path: Path) -> bool:
    """Remove `path` if it is a socket that nobody listens on; say whether it was."""
    if not stat.S_ISSOCK(path.lstat().st_mode):
        return False
    with stdlib_socket.socket(stdlib_socket.AF_UNIX, stdlib_socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(os.fspath(path)) != errno.ECONNREFUSED:
            return False
    path.unlink()
    return True


def _address(host: str | bytes | None, port: int) -> str:
    """Return the address for error messages; raise ValueError for what is no port."""
    if count_of(port, "port") > LARGEST_PORT:
        raise ValueError(f"port must be at most {LARGEST_PORT}, not {port}")
    return f"{'*' if host is None else os.fsdecode(host)}:{port}"


def _unix_address(path: str | bytes | os.PathLike[str]) -> str:
    """Return the path as text; raise ValueError for what the system would cut short."""
    where = os.fsdecode(path)
    if not where or "\0" in where:
        raise ValueError(f"{where!r} is no path for a socket")
    return where


def _renamed(exc: OSError, what: str) -> OSError:
    """Return the same error with a text that says what could not be done."""
    text = f"{what}: {exc.strerror or exc}"
    return OSError(text) if exc.errno is None else type(exc)(exc.errno, text)


async def serve_tcp(
    handler: Callable[[SocketStream], Awaitable[object]],
    port: int,
    *,
    host: str | bytes | None = None,
    backlog: int | None = None,
    memory: MemoryForEach = None,
    handler_nursery: trio.Nursery | None = None,
    task_status: trio.TaskStatus[list[SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Run `handler(stream)` for each TCP connection; `trio.serve_tcp` with our streams.

    Args:
      memory: for the streams; the process's pool if not given. A function is called for each
        connection, so that each can have a share of a pool with a cap.

    Raises:
      OSError: the address is in use, or not ours.
      Whatever `handler` raises, which ends the server; see `trio.serve_listeners`.

    Cancellation: stops listening and cancels the handlers.

    Example:
      >>> import functools
      >>> async def main():
      ...     pool = CappedPool(64 * 1_048_576)
      ...     async def echo(stream):
      ...         async for view in stream.views():
      ...             await stream.write_view(view)
      ...     await serve_tcp(echo, 7000, memory=functools.partial(pool.share, 262_144))
    """
    listeners = await open_tcp_listeners(port, host=host, backlog=backlog, memory=memory)
    await trio.serve_listeners(
        handler, listeners, handler_nursery=handler_nursery, task_status=task_status
    )


async def serve_unix(
    handler: Callable[[SocketStream], Awaitable[object]],
    path: str | os.PathLike[str],
    *,
    backlog: int | None = None,
    memory: MemoryForEach = None,
    handler_nursery: trio.Nursery | None = None,
    task_status: trio.TaskStatus[list[UnixListener]] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Run `handler(stream)` for each connection to a Unix socket at `path`; else as `serve_tcp`.

    Raises:
      OSError: something is at `path` already, or it cannot be made; the message names it.
      Whatever `handler` raises, as with `serve_tcp`.

    Cancellation: stops listening, removes the socket's file and cancels the handlers. If the file
    cannot be removed, that is a RuntimeWarning which names it: being cancelled stays what it is.
    """
    listener = await open_unix_listener(path, backlog=backlog, memory=memory)
    await trio.serve_listeners(
        handler, [listener], handler_nursery=handler_nursery, task_status=task_status
    )
