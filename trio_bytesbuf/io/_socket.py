"""`SocketStream`: a trio stream over a socket that receives into pooled memory and sends vectored.

The way of a received byte:

    kernel --readv--> block of the memory --(a slice of it)--> BytesView --> the caller

Law 1. A waiting stream holds no memory. A receive is tried without blocking, into memory
       that is leased for that try; if nothing is there, the lease is over before the wait.
       Memory that has a cap may have to be waited for, too; then the wait for it is the last.
Law 2. A receive that got little is copied out of its block (`Memory.is_worth_keeping`); a
       stream that last got little leases no block but has the kernel fill plain `bytes`.
Law 3. What arrived is returned before any error is raised, and a broken stream stays broken. The
       system tells of a reset once, to whichever half asks first, and pretends a clean end from
       then on; so what either half is told is kept, as number and text: the exception itself
       would hold its frames, and they a block.
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

from .._errors import BadMemory, BudgetExceeded
from ..mem._capped import CappedMemory
from ..mem._ledger import CAPPED_BLOCK_SIZES
from ..seq import BytesView
from ..seq._flat import flat, positive_count_of
from ..seq._memory import memory_or_default
from ..seq._view import make_view
from ._abc import Read, Write
from ._receive_size import SIZES, ReceiveSize
from ._side import Side
from ._vectored import SendPlan

if TYPE_CHECKING:
    from typing import SupportsIndex

    from ..seq import BlockRef, Memory
    from ..seq._flat import Buffer

DRAIN_NBYTES: Final = 262_144
"""How much one call takes at the most if it is not told: some 50 µs of work, after which it is
another task's turn."""

DRAIN_READS: Final = 16
"""How many reads one call makes at the most, for memories whose blocks are small: 64 KiB in all in
blocks of a page."""

PLAIN_RECEIVE_NBYTES: Final = 65_536
"""What `receive_some` asks for at most if it is not told, as trio's does. The allocator maps and
unmaps a larger `bytes` each time: 8 µs for a receive of 100 bytes."""

CAN_READ_IN_PLACE = hasattr(os, "readv") and hasattr(os, "writev")
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
      max_receive_nbytes: the most bytes that one system call asks for, at least 1. Small receives
        ask for less anyway; a program with very many busy connections may want less.

    Raises:
      TypeError: `socket` is neither, or `max_receive_nbytes` is no integer.
      ValueError: it is not of type SOCK_STREAM, or `max_receive_nbytes` is below 1.

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
        max_receive_nbytes: SupportsIndex = SIZES[-1],
    ) -> None:
        # trio's own stream sets the socket's options and does what is not about speed.
        self._stream = (
            socket if isinstance(socket, trio.SocketStream) else trio.SocketStream(socket)
        )
        self._socket = self._stream.socket
        self._memory = memory_or_default(memory)
        # Up to this size a receive would not stay in this memory anyway (Law 2).
        self._plain_nbytes = max(
            (size for size in SIZES if not self._memory.is_worth_keeping(size, size)), default=0
        )
        self._receiving = Side("receiving from this stream")
        self._sending = Side("sending on this stream")
        cap = positive_count_of(max_receive_nbytes, "max_receive_nbytes")
        self._receive_size = ReceiveSize.up_to(cap)
        capped = self._memory._waitable()
        self._capped = capped if isinstance(capped, CappedMemory) else None
        if self._capped is not None:  # whose blocks stay with what was received
            sizes = [size for size in CAPPED_BLOCK_SIZES if size < cap]
            self._receive_size = ReceiveSize((*sizes, cap), (*sizes, cap)[0])
        self._drain_nbytes = max(DRAIN_NBYTES, cap)
        self._failure: tuple[object, ...] | None = None
        self._starving = trio.CancelScope()  # the wait for memory; closing this stream ends it
        self._received_nbytes = self._receive_calls = 0
        self._sent_nbytes = self._send_calls = 0
        self._copied_nbytes = 0

    @property
    def socket(self) -> trio.socket.SocketType:
        """The trio socket underneath."""
        return self._socket

    @property
    def memory(self) -> Memory:
        """Where received bytes go; bytes that are to be sent may be anywhere."""
        return self._memory

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
          max_bytes: the most bytes to return, at least 1. More than 256 KiB are never returned
            at once (unless `max_receive_nbytes` is more), so that other tasks get their turn.

        Returns:
          A view of at least one byte; of none if, and only if, the peer has sent its end.

        Raises:
          trio.BusyResourceError: another task is receiving.
          trio.ClosedResourceError: this stream was closed, here or by another task.
          trio.BrokenResourceError: the connection is gone. What had arrived was returned before.
          TypeError, ValueError: `max_bytes` is no integer, or below 1.

        Cancellation: atomic. No byte is lost.

        Cost: one checkpoint; no copy, or one of less than 64 KiB where that saves memory.
        """
        limit = self._drain_nbytes
        if max_bytes is not None:
            limit = min(limit, positive_count_of(max_bytes, "max_bytes"))
        self._receiving.enter()
        try:
            if not CAN_READ_IN_PLACE:
                return await self._receive_through_trio(limit)
            await checkpoint_if_cancelled()
            try:
                view = self._receive_now(limit)
                if view is not None:
                    await cancel_shielded_checkpoint()
                    return view
                while view is None:
                    await trio.lowlevel.wait_readable(self._socket)
                    view = self._receive_now(limit)
                return view  # noqa: TRY300  # not in an `else`: that is the way of all others
            except BudgetExceeded:
                if self._capped is None:
                    raise  # from a provider of somebody else's, who cannot be waited for
                # What the traceback refers to is let go of before the wait
            view = await self._receive_in_turn(limit)
        except OSError as exc:
            await cancel_shielded_checkpoint()
            raise self._in_trios_words(exc) from exc.with_traceback(None)
        finally:
            self._receiving.taken = False
        return view

    def _receive_now(self, limit: int) -> BytesView | None:
        """Return what is at hand, at most `limit` bytes, or None if that is nothing yet."""
        fd = self._socket.fileno()
        size = self._receive_size
        views: list[BytesView] = []
        left = limit
        for _ in range(DRAIN_READS):
            asked = min(size.nbytes, left)
            try:
                received, offered = self._read(fd, asked)
            except BlockingIOError:
                break
            except Exception as exc:
                if not views:
                    raise
                if isinstance(exc, OSError):
                    self._in_trios_words(exc)
                break  # Law 3. What a memory has to complain of, it will say again.
            nbytes = received._nbytes
            self._receive_calls += 1
            self._received_nbytes += nbytes
            size.received(nbytes, asked)
            views.append(received)
            left -= nbytes
            if nbytes < offered or not left:
                break
        if len(views) > 1:
            return BytesView.from_views(views)
        view = views[0] if views else None
        if not view and self._failure is not None:
            raise OSError(*self._failure)
        return view

    async def _receive_in_turn(self, limit: int) -> BytesView:
        """Wait for memory that has a cap, and receive into it what is there then.

        Law 1 holds: no memory is held until it is this task's turn to have some, and none while
        the peer is waited for.
        """
        assert self._capped is not None
        while await self._socket.recv(1, trio.socket.MSG_PEEK):  # the end needs no memory
            window = None
            with trio.CancelScope() as self._starving:
                window = await self._capped._lease_wait(min(self._receive_size.nbytes, limit))
            if window is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            asked = min(limit, window.nbytes)
            try:
                view, _ = self._fill(self._socket.fileno(), asked, window, None)
            except BlockingIOError:
                continue
            finally:
                del window
            self._receive_calls += 1
            self._received_nbytes += view._nbytes
            self._receive_size.received(view._nbytes, asked)
            break
        else:
            view = make_view((), 0)
        if not view and self._failure is not None:
            raise OSError(*self._failure)
        return view

    def _read(self, fd: int, asked: int) -> tuple[BytesView, int]:
        """Read once, at most `asked` bytes; return them and how many there was room for."""
        if asked <= self._plain_nbytes:
            data = os.read(fd, asked)
            return make_view((memoryview(data),) if data else (), len(data)), asked
        try:
            window, ref = self._memory._lease(asked)
            room = window.nbytes
        except (OSError, TypeError, ValueError, AttributeError) as exc:
            # An OSError of the memory must not be taken for the connection's.
            raise BadMemory(repr(self._memory), f"could not give memory: {exc}") from exc
        if not room or window.readonly:
            raise BadMemory(repr(self._memory), "gave no memory that can be written to")
        return self._fill(fd, asked, window, ref)

    def _fill(
        self, fd: int, asked: int, window: memoryview, ref: BlockRef | None
    ) -> tuple[BytesView, int]:
        """Read once into memory that was leased for this; as `_read` otherwise."""
        room = window.nbytes
        if room > asked:
            nbytes = os.readv(fd, (window[:asked],))
        else:
            nbytes = os.readv(fd, (window,))
            asked = room
        if not nbytes:
            return make_view((), 0), asked
        piece = window[:nbytes].toreadonly()
        if self._memory.is_worth_keeping(nbytes, room):
            return make_view((piece,), nbytes, None if ref is None else (ref,)), asked
        self._copied_nbytes += nbytes
        return make_view((memoryview(piece.tobytes()),), nbytes), asked

    async def _receive_through_trio(self, limit: int) -> BytesView:
        """Receive where the system cannot fill buffers in place."""
        return BytesView(await self._receive_bytes(min(limit, self._receive_size.nbytes)))

    async def _receive_bytes(self, asked: int) -> bytes:
        data = await self._socket.recv(asked)
        if not data and self._failure is not None:
            raise OSError(*self._failure)
        self._receive_calls += 1
        self._received_nbytes += len(data)
        self._receive_size.received(len(data), asked)
        return data

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait until there are bytes and return them as `bytes`; trio's own method.

        Raises:
          As `receive_view`.

        Cancellation: atomic.
        """
        limit = min(self._receive_size.nbytes, PLAIN_RECEIVE_NBYTES)
        if max_bytes is not None:
            limit = min(self._drain_nbytes, positive_count_of(max_bytes, "max_bytes"))
        with self._receiving:
            try:
                return await self._receive_bytes(limit)
            except OSError as exc:
                raise self._in_trios_words(exc) from exc.with_traceback(None)

    # Sending

    async def write_view(self, view: BytesView) -> None:
        """Send all bytes of `view`, as `Write.write_view` has it.

        Raises:
          trio.BusyResourceError: another task is sending.
          trio.ClosedResourceError: this stream was closed, or `send_eof` was called.
          trio.BrokenResourceError: the connection is gone.
          TypeError: `view` is not a `BytesView`.

        Cancellation: spoils. Some of the bytes may have been sent: close the stream.

        Cost: one checkpoint if the kernel takes all at once. What is small is joined: 16 KiB in
        all, or pieces below 1 KiB.
        """
        if not isinstance(view, BytesView):
            raise TypeError(f"write_view sends a BytesView, not {type(view).__name__}")
        try:
            with self._sending:
                await self._send(SendPlan.of(view._pieces, view._nbytes))
        finally:
            del view  # an error that is kept holds this frame, but no memory

    async def send_all(self, data: Buffer) -> None:
        """Send all of `data`; trio's own method. As `write_view` otherwise; takes views, too."""
        if isinstance(data, BytesView):
            await self.write_view(data)
            return
        with flat(data) as source, self._sending:
            await self._send(SendPlan.of((source,) if source.nbytes else (), source.nbytes))

    async def _send(self, plan: SendPlan) -> None:
        if self._socket.did_shutdown_SHUT_WR:
            await checkpoint()
            raise trio.ClosedResourceError("the end of this stream was announced by send_eof")
        await checkpoint_if_cancelled()
        self._copied_nbytes += plan.joined_nbytes
        try:
            while True:
                fd = self._socket.fileno()
                if fd == -1:
                    raise OSError(errno.EBADF, os.strerror(errno.EBADF))  # noqa: TRY301
                if not plan:
                    break
                if not CAN_READ_IN_PLACE:
                    # Released by `with`, because trio's frames may live on in a cycle.
                    with memoryview(plan.buffers()[0]) as first:
                        sent = await self._socket.send(first)
                else:
                    try:
                        sent = os.writev(fd, plan.buffers())
                    except BlockingIOError:
                        await trio.lowlevel.wait_writable(self._socket)
                        continue
                self._send_calls += 1
                self._sent_nbytes += sent
                plan.advance(sent)
                if plan:
                    await checkpoint()
        except OSError as exc:
            await cancel_shielded_checkpoint()
            raise self._in_trios_words(exc) from exc.with_traceback(None)
        finally:
            del plan  # an error that is looked at holds this frame, but not the caller's memory
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

    def _in_trios_words(self, exc: OSError) -> trio.ClosedResourceError | trio.BrokenResourceError:
        """Return what trio calls an error that the system reported, and keep it (Law 3)."""
        if exc.errno in CLOSED_ERRNOS:
            return trio.ClosedResourceError("this stream was closed")
        if exc.errno != errno.EPIPE:  # which speaks of the sending half alone
            self._failure = exc.args
        return trio.BrokenResourceError(f"the connection is broken: {exc}")

    async def aclose(self) -> None:
        """Close the socket; tasks that wait for it get `trio.ClosedResourceError`.

        Cancellation: the stream is closed all the same.
        """
        self._starving.cancel()
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
