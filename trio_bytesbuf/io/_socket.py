"""`SocketStream`: a trio stream over a socket that receives into pooled memory and sends vectored.

The way of a received byte:

    kernel --readv--> block of the memory --(a slice of it)--> BytesView --> the caller

Law 1. A waiting stream holds no memory. A receive is tried without blocking, into memory
       that is leased for that try; if nothing is there, the lease is over before the wait.
Law 2. A receive that got little is copied out of its block (`Memory.is_worth_keeping`); a
       stream that last got little leases no block but has the kernel fill plain `bytes`.
Law 3. What arrived is returned before any error is raised: an error that a receive meets
       behind bytes is kept for the next call, and a broken stream stays broken.
Law 4. One call takes what is at hand in several reads, up to `DRAIN_NBYTES`, for one checkpoint.
       Every call is a checkpoint, whatever its path.

The kernel is asked with `os.readv` and `os.writev` on the socket's descriptor, because trio's own
`recv_into` is a full checkpoint for every read. The descriptor is asked of the socket for
each call, after the last await, so that it is never one that was closed and given away again.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final, overload

import attrs
import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from ..seq import BytesView, default_memory
from ..seq._flat import flat
from ..seq._source import own_blocks
from ..seq._view import make_view, said
from ._abc import Read, Write
from ._receive_size import ReceiveSize
from ._side import Side
from ._vectored import IOV_MAX, SendPlan

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import SupportsIndex

    from ..seq import Memory
    from ..seq._block import Origin
    from ..seq._flat import Buffer

DRAIN_NBYTES: Final = 262_144
"""How much one call takes at the most if it is not told: some 50 µs of work, after which it is
another task's turn."""

CAN_READ_IN_PLACE: Final = hasattr(os, "readv") and hasattr(os, "writev")
"""Whether the system has the calls that fill and send several buffers at once; Windows has not."""


@attrs.frozen
class SocketStreamStatistics:
    """What passed through a `SocketStream` so far."""

    received_nbytes: int
    """Bytes received."""

    sent_nbytes: int
    """Bytes that the kernel has taken for sending."""

    receive_calls: int
    """System calls that received bytes or the end of the stream."""

    send_calls: int
    """System calls that sent bytes."""

    copied_nbytes: int
    """Bytes that were copied in this process: small receives out of large blocks, and small
    pieces that were joined before sending."""

    receive_size_nbytes: int
    """How much the next receive will ask for."""


class SocketStream(Read, Write, trio.abc.HalfCloseableStream):
    """A stream over a connected socket, in trio's manner and in views.

    An honest `trio.abc.HalfCloseableStream`: h11, `trio.SSLStream` and everything else
    that takes a trio stream takes this one. `receive_view`, `views` and `write_view` are the faster
    way: bytes are received into pooled memory and sent from wherever they lie.

    Args:
      socket: a connected trio socket of type SOCK_STREAM, or a `trio.SocketStream`, whose
        socket is then used by both; close either.
      memory: where received bytes go; the process's pool if not given.

    Raises:
      TypeError: `socket` is neither.
      ValueError: it is not of type SOCK_STREAM.

    Example:
      >>> async def main():
      ...     ours, theirs = trio.socket.socketpair()
      ...     async with SocketStream(ours) as a, SocketStream(theirs) as b:
      ...         await a.write_view(BytesView(b"Hello, ") + b"world!")
      ...         await a.send_eof()
      ...         async for view in b.views():
      ...             print(view)
      >>> trio.run(main)
      BytesView(b'Hello, world!')
    """

    def __init__(
        self,
        socket: trio.socket.SocketType | trio.SocketStream,
        *,
        memory: Memory | None = None,
    ) -> None:
        # trio's own stream sets the socket's options and does what is not about speed.
        self._stream = (
            socket if isinstance(socket, trio.SocketStream) else trio.SocketStream(socket)
        )
        self._socket = self._stream.socket
        self._memory = default_memory() if memory is None else memory
        self._receiving = Side("receiving from this stream")
        self._sending = Side("sending on this stream")
        self._receive_size = ReceiveSize()
        self._receive_failure: OSError | None = None
        self._received_nbytes = self._receive_calls = 0
        self._sent_nbytes = self._send_calls = 0
        self._copied_nbytes = 0

    @property
    def socket(self) -> trio.socket.SocketType:
        """The trio socket underneath."""
        return self._socket

    def statistics(self) -> SocketStreamStatistics:
        """Return what passed through so far."""
        return SocketStreamStatistics(
            received_nbytes=self._received_nbytes,
            sent_nbytes=self._sent_nbytes,
            receive_calls=self._receive_calls,
            send_calls=self._send_calls,
            copied_nbytes=self._copied_nbytes,
            receive_size_nbytes=self._receive_size.nbytes,
        )

    def __repr__(self) -> str:
        return f"<SocketStream over {self._socket!r}>"

    # Receiving

    async def receive_view(self, max_bytes: SupportsIndex | None = None) -> BytesView:
        """Wait until there are bytes and return what is at hand, as `Read.receive_view` has it.

        Args:
          max_bytes: the most bytes to return, at least 1. If not given: at most 256 KiB, and
            asked for in steps that follow what arrives.

        Returns:
          A view of at least one byte; of none if, and only if, the peer has sent its end.

        Raises:
          trio.BusyResourceError: another task is receiving.
          trio.ClosedResourceError: this stream was closed, here or by another task.
          trio.BrokenResourceError: the connection is gone. What had arrived was returned before.
          TypeError, ValueError: `max_bytes` is no integer, or below 1.

        Cancellation: atomic. No byte is lost.

        Cost: one checkpoint; no copy, or one of at most 64 KiB where that saves memory.
        """
        limit = _limit_of(max_bytes, DRAIN_NBYTES)
        with self._receiving:
            await checkpoint_if_cancelled()
            if not CAN_READ_IN_PLACE:
                return await self._receive_through_trio(limit)
            view = self._receive_now(limit)
            if view is not None:
                await cancel_shielded_checkpoint()
                return view
            while view is None:
                await trio.lowlevel.wait_readable(self._socket)
                view = self._receive_now(limit)
            return view

    def _receive_now(self, limit: int) -> BytesView | None:
        """Return what is at hand, at most `limit` bytes, or None if that is nothing yet."""
        pieces: list[memoryview] = []
        origins: list[Origin | None] = []
        total = 0
        size = self._receive_size
        with _socket_errors:
            if self._receive_failure is not None:
                raise self._receive_failure
            fd = self._socket.fileno()
            while total < limit:
                asked = min(size.nbytes, limit - total)
                try:
                    nbytes = self._read_into(fd, asked, pieces, origins)
                except BlockingIOError:
                    break
                except OSError as exc:
                    if exc.errno not in CLOSED_ERRNOS:
                        self._receive_failure = exc
                    if total:
                        break
                    raise
                total += nbytes
                self._receive_calls += 1
                self._received_nbytes += nbytes
                if not nbytes:
                    return make_view(tuple(pieces), total, said(origins))
                size.received(nbytes, asked)
                if nbytes < asked:
                    break
        return make_view(tuple(pieces), total, said(origins)) if total else None

    def _read_into(
        self, fd: int, asked: int, pieces: list[memoryview], origins: list[Origin | None]
    ) -> int:
        """Read once, at most `asked` bytes; add what was read, and return how much that was."""
        memory = self._memory
        if not memory.is_worth_keeping(asked, asked):
            data = os.read(fd, asked)
            if data:
                pieces.append(memoryview(data))
                origins.append(None)
            return len(data)
        blocks, room = own_blocks(memory, asked)
        windows = [block._memory[block._start : block._stop] for block in blocks[:IOV_MAX]]
        if room > asked and len(blocks) <= IOV_MAX:
            windows[-1] = windows[-1][: asked - room]
        nbytes = os.readv(fd, windows)
        del windows
        parts: list[memoryview] = []
        left = nbytes
        for block in blocks:
            if not left:
                break
            step = min(left, len(block))
            block._end += step
            parts.append(block._show(step))
            origins.append(block._origin)
            left -= step
        if nbytes and not memory.is_worth_keeping(nbytes, room):
            self._copied_nbytes += nbytes
            origins[len(pieces) :] = (None,)
            parts = [memoryview(b"".join(parts))]
        pieces += parts
        return nbytes

    async def _receive_through_trio(self, limit: int) -> BytesView:
        """Receive where the system cannot fill buffers in place; the half checkpoint is done."""
        with _socket_errors:
            data = await self._socket.recv(min(limit, self._receive_size.nbytes))
        self._receive_calls += 1
        self._received_nbytes += len(data)
        self._receive_size.received(len(data), limit)
        return BytesView(data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait until there are bytes and return them as `bytes`; trio's own method.

        Raises:
          As `receive_view`.

        Cancellation: atomic.
        """
        limit = _limit_of(max_bytes, self._receive_size.nbytes)
        with self._receiving:
            if self._receive_failure is not None:
                await checkpoint()
            with _socket_errors:
                if self._receive_failure is not None:
                    raise self._receive_failure
                data = await self._socket.recv(limit)
        self._receive_calls += 1
        self._received_nbytes += len(data)
        self._receive_size.received(len(data), limit)
        return data

    # Sending

    async def write_view(self, view: BytesView) -> None:
        """Send all bytes of `view`, as `Write.write_view` has it.

        Raises:
          trio.BusyResourceError: another task is sending.
          trio.ClosedResourceError: this stream was closed, or `send_eof` was called.
          trio.BrokenResourceError: the connection is gone.
          TypeError: `view` is not a `BytesView`.

        Cancellation: spoils. Some of the bytes may have been sent: close the stream.

        Cost: one checkpoint if the kernel takes all at once; pieces below 4 KiB are joined.
        """
        if not isinstance(view, BytesView):
            raise TypeError(f"write_view sends a BytesView, not {type(view).__name__}")
        with self._sending:
            await self._send(view._pieces)

    async def send_all(self, data: Buffer) -> None:
        """Send all of `data`; trio's own method. As `write_view` otherwise."""
        source = flat(data)
        try:
            with self._sending:
                await self._send((source,) if source.nbytes else ())
        finally:
            if source is not data:
                source.release()

    async def _send(self, pieces: Iterable[memoryview]) -> None:
        if self._socket.did_shutdown_SHUT_WR:
            raise trio.ClosedResourceError("the end of this stream was announced by send_eof")
        await checkpoint_if_cancelled()
        plan = SendPlan.of(pieces)
        self._copied_nbytes += plan.joined_nbytes
        with _socket_errors:
            while True:
                fd = self._socket.fileno()
                if fd == -1:
                    raise trio.ClosedResourceError("this stream was closed")
                if not plan:
                    break
                if not CAN_READ_IN_PLACE:
                    nbytes = await self._socket.send(plan.buffers()[0])
                else:
                    try:
                        nbytes = os.writev(fd, plan.buffers())
                    except BlockingIOError:
                        await trio.lowlevel.wait_writable(self._socket)
                        continue
                self._send_calls += 1
                self._sent_nbytes += nbytes
                plan.advance(nbytes)
                if plan:
                    await checkpoint()
        await cancel_shielded_checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until sending might not block; trio's own method.

        Raises:
          As `write_view`.

        Cancellation: atomic.
        """
        with self._sending:
            await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Tell the peer that nothing more will be sent; receiving goes on. Twice is harmless.

        Raises:
          As `write_view`.

        Cancellation: atomic.
        """
        with self._sending:
            await self._stream.send_eof()

    # The socket

    async def aclose(self) -> None:
        """Close the socket; tasks that wait for it get `trio.ClosedResourceError`.

        Cancellation: the stream is closed all the same.
        """
        await self._stream.aclose()

    @overload
    def setsockopt(self, level: int, option: int, value: int | Buffer) -> None: ...

    @overload
    def setsockopt(self, level: int, option: int, value: None, length: int) -> None: ...

    def setsockopt(
        self, level: int, option: int, value: int | Buffer | None, length: int | None = None
    ) -> None:
        """Set an option of the socket; as `trio.SocketStream.setsockopt`."""
        if value is None and length is not None:
            self._stream.setsockopt(level, option, None, length)
        else:
            assert value is not None
            self._stream.setsockopt(level, option, value)

    def getsockopt(self, level: int, option: int, buffersize: int = 0) -> int | bytes:
        """Return an option of the socket; as `trio.SocketStream.getsockopt`."""
        return self._stream.getsockopt(level, option, buffersize)


CLOSED_ERRNOS: Final = {errno.EBADF, errno.ENOTSOCK}
"""What the system says of a descriptor that is not open any more, on Unix and on Windows."""


class _SocketErrors:
    """Says in trio's words what the system said of a socket. (A generator would cost 1 µs more.)"""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(exc, OSError):
            if exc.errno in CLOSED_ERRNOS:
                raise trio.ClosedResourceError("this stream was closed") from None
            raise trio.BrokenResourceError(f"the connection is broken: {exc}") from exc


_socket_errors: Final = _SocketErrors()


def _limit_of(max_bytes: SupportsIndex | None, otherwise: int) -> int:
    if max_bytes is None:
        return otherwise
    limit = max_bytes.__index__() if hasattr(max_bytes, "__index__") else None
    if limit is None:
        raise TypeError(f"max_bytes must be an integer, not {type(max_bytes).__name__}")
    if limit < 1:
        raise ValueError(f"max_bytes must be at least 1, not {limit}")
    return limit
