"""`DescriptorStream`: a stream over a non-blocking descriptor, a socket's or another.

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
       would hold its frames, and they a block. Some errors pass (ENOBUFS: no memory for now), but
       what was being sent then was sent in part; so a half that was told stops for good.
Law 4. One call takes what is at hand in several reads, up to `DRAIN_NBYTES`, for one checkpoint.
       Every call is a checkpoint, whatever its path.
Law 5. A builder that has room for a receive is filled in place; the loan of its room ends before
       each wait, so whoever is cancelled there leaves it as it was.

The kernel is asked with `os.readv` and `os.writev` on the descriptor, because trio's own
`recv_into` is a full checkpoint for every read. The descriptor is asked for at each
call, after the last await, so that it is never one that was closed and given away again.
"""

from __future__ import annotations

import abc
import contextlib
import errno
import os
from typing import TYPE_CHECKING, Final

import attrs
import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from .._errors import BadMemory, BudgetExceeded
from ..mem._ledger import CAPPED_BLOCK_SIZES
from ..seq import BytesView
from ..seq._flat import positive_count_of
from ..seq._memory import memory_or_default
from ..seq._shown import Shown
from ..seq._view import make_view
from ._lease import Leases
from ._receive_size import PLAIN_RECEIVE_NBYTES, SIZES, ReceiveSize
from ._trio_sides import ReceivesSome, SendsAll
from ._vectored import IOV_MAX, SendPlan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn, SupportsIndex

    from ..seq import BlockRef, BytesBuf, Memory
    from ..seq._picture import Picture
    from ..seq._pieces import Pieces

DRAIN_NBYTES: Final = 262_144
"""How much one call takes at the most if it is not told: some 50 µs of work, after which it is
another task's turn."""

DRAIN_READS: Final = 16
"""How many reads one call makes at the most, for memories whose blocks are small: 64 KiB in all in
blocks of a page."""

ROOM_NBYTES: Final = 16_384
"""A builder with so much room is filled in place, whatever is wanted. For less, one receive into
memory of the stream's is cheaper than several system calls. As much as a first receive asks for."""

CAN_READ_IN_PLACE = hasattr(os, "readv") and hasattr(os, "writev")
"""Whether the system has the calls that fill and send several buffers at once; Windows has not."""

CLOSED_ERRNOS: Final = {errno.EBADF, errno.ENOTSOCK}
"""What the system says of a descriptor that is not open any more, on Unix and on Windows."""

LOST: Final = (errno.ENOMEM, "for lack of memory, nobody knows how far this has come")
"""What a half of a stream is told that could not keep its books of what the system did."""


@attrs.frozen
class StreamStatistics(Shown):
    """What passed through a stream so far."""

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

    def _picture(self) -> Picture:
        from ..seq._picture import picture_of_numbers  # only who looks pays for it

        return picture_of_numbers("StreamStatistics", attrs.asdict(self))


class DescriptorStream(ReceivesSome, SendsAll, trio.abc.Stream):
    """What `SocketStream` and `FdStream` have in common: all but the descriptor itself.

    Raises:
      TypeError, ValueError: `max_receive_nbytes` is no integer, or below 1.
    """

    def __init__(self, memory: Memory | None, max_receive_nbytes: SupportsIndex) -> None:
        self._memory = memory_or_default(memory)
        # Up to this size a receive would not stay in this memory anyway (Law 2).
        self._plain_nbytes = max(
            (size for size in SIZES if not self._memory.is_worth_keeping(size, size)), default=0
        )
        cap = positive_count_of(max_receive_nbytes, "max_receive_nbytes")
        self._receive_size = ReceiveSize.up_to(cap)
        self._leases = Leases(self._memory)
        self._drain_nbytes = max(DRAIN_NBYTES, cap)
        if self._leases.can_wait:  # whose blocks stay with what was received
            self._drain_nbytes = min(self._drain_nbytes, self._leases.most_nbytes)
            cap = min(cap, self._drain_nbytes)
            sizes = [size for size in CAPPED_BLOCK_SIZES if size < cap]
            self._receive_size = ReceiveSize((*sizes, cap), (*sizes, cap)[0])
        self._failure: tuple[object, ...] | None = None  # what either half was told
        self._told_receiving: tuple[object, ...] | None = None
        self._complaint: BadMemory | None = None
        self._told_sending: tuple[object, ...] | None = None
        self._received_nbytes = self._receive_calls = 0
        self._sent_nbytes = self._send_calls = 0
        self._copied_nbytes = 0

    @property
    def memory(self) -> Memory:
        """Where received bytes go; bytes that are to be sent may be anywhere."""
        return self._memory

    def statistics(self) -> StreamStatistics:
        """Return what passed through so far."""
        return StreamStatistics(
            received_nbytes=self._received_nbytes,
            sent_nbytes=self._sent_nbytes,
            receive_calls=self._receive_calls,
            send_calls=self._send_calls,
            copied_nbytes=self._copied_nbytes,
            receive_size_nbytes=self._receive_size.nbytes,
        )

    # The descriptor

    _counts_exactly = True

    _end_errnos: frozenset[int] = frozenset()
    """The errors by which the system tells who receives of the end; see `_fd`."""

    @abc.abstractmethod
    def fileno(self) -> int:
        """Return the descriptor, or -1 if it was closed."""

    def _open_fileno(self) -> int:
        """Return the descriptor, or raise OSError if it was closed."""
        fd = self.fileno()
        if fd == -1:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return fd

    @abc.abstractmethod
    async def _is_ended(self) -> bool:
        """Wait until something can be received, and say whether that is the end.

        To say no where it is the end is allowed: the read that follows will tell.
        """

    @abc.abstractmethod
    async def _receive_plain(self, asked: int) -> bytes:
        """Wait until there are bytes and return at most `asked` of them. A checkpoint."""

    def _is_end_announced(self) -> bool:
        """Say whether `send_eof` was called."""
        return False

    # Receiving

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        limit = self._drain_nbytes
        if max_bytes is not None and max_bytes < limit:
            limit = max_bytes
        if not CAN_READ_IN_PLACE:
            return await self._receive_without_readv(limit)
        await checkpoint_if_cancelled()
        try:
            try:
                view = self._receive_now(limit)
                if view is not None:
                    try:
                        await cancel_shielded_checkpoint()
                    except MemoryError:  # it has arrived: give it away all the same
                        return view
                    return view
                while view is None:
                    await trio.lowlevel.wait_readable(self.fileno())
                    view = self._receive_now(limit)
                return view  # noqa: TRY300  # not in an `else`: that is the way of all others
            except BudgetExceeded:
                if not self._leases.can_wait:
                    raise
                # What the traceback refers to is let go of before the wait
            return await self._receive_in_turn(limit)
        except OSError as exc:
            await cancel_shielded_checkpoint()
            if not self._tells_the_end(exc):
                raise self._receiving_failed(exc) from exc.with_traceback(None)
            return make_view((), 0)

    async def _receive_without_readv(self, limit: int) -> BytesView:
        """Receive at most `limit` bytes where the system has no `readv`."""
        try:
            return BytesView(await self._receive_bytes(min(limit, self._receive_size.nbytes)))
        except OSError as exc:
            await cancel_shielded_checkpoint()
            raise self._receiving_failed(exc) from exc.with_traceback(None)

    def _receive_now(self, limit: int) -> BytesView | None:
        """Return what is at hand, at most `limit` bytes, or None if that is nothing yet."""
        if self._told_receiving is not None:
            raise OSError(*self._told_receiving)
        if self._complaint is not None:
            complaint, self._complaint = self._complaint, None
            raise complaint
        fd = self.fileno()
        size = self._receive_size
        views: list[BytesView] = []
        received = None
        left = limit
        try:
            for _ in range(DRAIN_READS):
                asked = min(size.nbytes, left)
                try:
                    received, offered = self._read(fd, asked)
                except BlockingIOError:
                    break
                except Exception as exc:
                    if not views:
                        raise
                    if isinstance(exc, BadMemory):
                        self._complaint = exc.with_traceback(None)
                    elif isinstance(exc, OSError) and not self._tells_the_end(exc):
                        self._in_trios_words(exc)
                    break  # Law 3
                nbytes = received._nbytes
                self._receive_calls += 1
                self._received_nbytes += nbytes
                size.received(nbytes, asked)
                views.append(received)
                received = None
                left -= nbytes
                if nbytes < offered or not left:
                    break
            view = views[0] if len(views) == 1 else BytesView.from_views(views) if views else None
        except MemoryError:
            if received is not None or views:
                self._lose_what_arrived()
            raise
        if not view and self._failure is not None:
            raise OSError(*self._failure)
        return view

    async def _receive_in_turn(self, limit: int) -> BytesView:
        """Wait for memory that has a cap, and receive into it what is there then.

        Law 1 holds: no memory is held until it is this task's turn to have some, and none while
        the peer is waited for.
        """
        while not await self._is_ended():  # which needs no memory
            window = await self._leases.wait_some(min(self._receive_size.nbytes, limit))
            if window is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            asked = min(limit, window.nbytes)
            try:
                view, _ = self._read_leased(self.fileno(), asked, window, None)
                self._receive_calls += 1
                self._received_nbytes += view._nbytes
                self._receive_size.received(view._nbytes, asked)
            except BlockingIOError:
                continue
            except MemoryError:
                self._lose_what_arrived()
                raise
            finally:
                del window
            break
        else:
            view = make_view((), 0)
        if not view and self._failure is not None:
            raise OSError(*self._failure)
        return view

    def _read(self, fd: int, asked: int) -> tuple[BytesView, int]:
        """Read once, at most `asked` bytes; return them and how many there was room for."""
        if asked <= self._plain_nbytes:
            try:
                data = os.read(fd, asked)
                return make_view((memoryview(data),) if data else (), len(data)), asked
            except MemoryError:
                self._lose_what_arrived()
                raise
        leases = self._leases
        lease = leases.lease if leases._capped is None else leases.lease_some  # one call each
        window, ref = lease(asked)
        return self._read_leased(fd, asked, window, ref)

    def _read_leased(
        self, fd: int, asked: int, window: memoryview, ref: BlockRef | None
    ) -> tuple[BytesView, int]:
        """Read once into memory that was leased for this; as `_read` otherwise."""
        room = window.nbytes
        part = window[:asked] if room > asked else window
        try:
            nbytes = os.readv(fd, (part,))
            if not nbytes:
                return make_view((), 0), part.nbytes
            piece = part[:nbytes].toreadonly()
            refs = None if ref is None else (ref,)
            if not self._memory.is_worth_keeping(nbytes, room):
                with contextlib.suppress(MemoryError):  # then it stays where it is
                    piece, refs = memoryview(piece.tobytes()), None
                    self._copied_nbytes += nbytes
            return make_view((piece,), nbytes, refs), part.nbytes
        except MemoryError:
            self._lose_what_arrived()
            raise

    def _lose_what_arrived(self) -> None:
        """Break for who receives: bytes may have left the system that cannot be returned.

        What comes behind them must not be taken for them.
        """
        self._told_receiving = self._failure = LOST

    async def _receive_into(self, buf: BytesBuf, max_bytes: int | None) -> int:
        """Fill the room of `buf` if it is worth it; else append views of the stream's memory."""
        room = buf.remaining_capacity
        if room < ROOM_NBYTES and (max_bytes is None or room < max_bytes):
            return await super()._receive_into(buf, max_bytes)
        return await self._fill_room(buf, room if max_bytes is None else min(max_bytes, room))

    async def _fill_room(self, buf: BytesBuf, max_bytes: int) -> int:
        """Fill the room of `buf` in place, with at most `max_bytes` bytes. (Law 5)"""
        if not CAN_READ_IN_PLACE:
            return await super()._fill_room(buf, max_bytes)
        limit = min(max_bytes, self._drain_nbytes)
        await checkpoint_if_cancelled()
        try:
            nbytes = self._fill_now(buf, limit)
            if nbytes is not None:
                await self._pass_lending(buf)
            while nbytes is None:
                await self._wait_lending(buf)
                nbytes = self._fill_now(buf, limit)
        except OSError as exc:
            await cancel_shielded_checkpoint()
            if not self._tells_the_end(exc):
                raise self._receiving_failed(exc) from exc.with_traceback(None)
            return 0
        return nbytes

    async def _wait_lending(self, buf: BytesBuf) -> None:
        """Wait until something can be received; `buf` belongs to this read meanwhile."""
        buf._hand_over("a read")
        try:
            await trio.lowlevel.wait_readable(self.fileno())
        finally:
            buf._busy = None

    @staticmethod
    async def _pass_lending(buf: BytesBuf) -> None:
        """Let other tasks run; `buf` belongs to this read meanwhile."""
        buf._hand_over("a read")
        try:
            await cancel_shielded_checkpoint()
        finally:
            buf._busy = None

    def _fill_now(self, buf: BytesBuf, limit: int) -> int | None:
        """Read once into the room of `buf`; return how much, or None if that is nothing yet."""
        if self._told_receiving is not None:
            raise OSError(*self._told_receiving)
        write = buf.begin_vectored_write(limit)
        try:  # and not `with`, which may lack memory itself, and then never ends the loan
            pieces = write.pieces[:IOV_MAX]
            try:
                nbytes = os.readv(self.fileno(), pieces)
                del pieces
                write.commit(nbytes)
            except BlockingIOError:
                return None
            except MemoryError:
                self._lose_what_arrived()
                raise
        finally:
            write.__exit__()
        self._receive_calls += 1
        self._received_nbytes += nbytes
        if not nbytes and self._failure is not None:
            raise OSError(*self._failure)
        return nbytes

    async def _receive_bytes(self, asked: int) -> bytes:
        if self._told_receiving is not None:
            raise OSError(*self._told_receiving)
        try:
            data = await self._receive_plain(asked)
            self._receive_calls += 1
            self._received_nbytes += len(data)
            self._receive_size.received(len(data), asked)
        except MemoryError:
            self._lose_what_arrived()
            raise
        if not data and self._failure is not None:
            raise OSError(*self._failure)
        return data

    async def _receive_some(self, max_bytes: int | None) -> bytes:
        asked = min(self._receive_size.nbytes, PLAIN_RECEIVE_NBYTES)
        if max_bytes is not None:
            asked = min(self._drain_nbytes, max_bytes)
        try:
            return await self._receive_bytes(asked)
        except OSError as exc:
            await cancel_shielded_checkpoint()
            if not self._tells_the_end(exc):
                raise self._receiving_failed(exc) from exc.with_traceback(None)
            return b""

    # Sending

    async def _write_view(self, view: BytesView) -> None:
        try:
            await self._send(view._pieces, view._nbytes)
        finally:
            del view  # an error that is kept holds this frame, but no memory

    async def _send_all(self, data: memoryview) -> None:
        await self._send((data,) if data.nbytes else (), data.nbytes)

    async def _send(self, pieces: Pieces, nbytes: int) -> None:
        """Send all bytes of `pieces`, which are `nbytes`."""
        if self._is_end_announced():
            await checkpoint()
            raise trio.ClosedResourceError("the end of this stream was announced by send_eof")
        if self._told_sending is not None:
            await self._refuse_to_go_on()
        count = len(pieces)
        plan = SendPlan(pieces, nbytes) if count > 1 else None
        await checkpoint_if_cancelled()
        try:
            while True:
                fd = self._open_fileno()
                if not nbytes:
                    break
                buffers: Sequence[bytes | memoryview] = pieces
                if plan is not None:  # a single piece, the common case, needs none
                    buffers = plan.buffers()
                    self._copied_nbytes += plan.joined_nbytes
                try:
                    if CAN_READ_IN_PLACE:
                        sent = os.writev(fd, buffers)
                    else:
                        sent = await self._send_without_writev(buffers)
                except BlockingIOError:
                    sent = 0
                if not sent:  # out of `except`: a cancelled wait would have a context, that frames
                    await trio.lowlevel.wait_writable(fd)
                    continue
                self._send_calls += 1
                self._sent_nbytes += sent
                if self._progress is not None:
                    self._progress(sent)
                nbytes -= sent
                if nbytes:
                    if plan is None:
                        pieces = (pieces[0][sent:],)
                    else:
                        plan.advance(sent)
                    await checkpoint()
            await cancel_shielded_checkpoint()
        except OSError as exc:
            await cancel_shielded_checkpoint()
            raise self._sending_failed(exc) from exc.with_traceback(None)
        except MemoryError:  # nobody knows how much was sent
            self._told_sending = LOST
            raise
        finally:  # an error that is looked at holds this frame, but not the caller's memory
            del plan, pieces
            buffers = ()

    def _write_now(self, view: BytesView) -> int:
        if not CAN_READ_IN_PLACE or self._is_end_announced() or self._told_sending is not None:
            return 0
        plan = SendPlan(view._pieces, view._nbytes)
        try:
            sent = os.writev(self._open_fileno(), plan.buffers())
        except BlockingIOError:
            return 0
        except OSError as exc:
            self._sending_failed(exc)  # which keeps it (Law 3)
            return 0
        try:
            self._copied_nbytes += plan.joined_nbytes
            self._send_calls += 1
            self._sent_nbytes += sent
        except MemoryError:  # only what is for statistics is missing
            return sent
        return sent

    async def _send_without_writev(self, buffers: Sequence[bytes | memoryview]) -> int:
        """Send some of `buffers` where the system has no `writev`."""
        return os.write(self.fileno(), buffers[0])

    # Errors and the end

    def _tells_the_end(self, exc: OSError) -> bool:
        """Say whether this error is how the system tells who receives of the end."""
        return exc.errno in self._end_errnos

    def _receiving_failed(self, exc: OSError) -> Exception:
        """Do as `_in_trios_words`, and let who receives be told the same from now on."""
        if exc.errno not in CLOSED_ERRNOS:
            self._told_receiving = exc.args
        return self._in_trios_words(exc)

    def _sending_failed(self, exc: OSError) -> Exception:
        """Do as `_in_trios_words`, and let who sends be told the same from now on.

        Of EPIPE the system tells by itself, as long as it is so: a FIFO may be opened again.
        """
        if exc.errno not in CLOSED_ERRNOS and exc.errno != errno.EPIPE:
            self._told_sending = exc.args
        return self._in_trios_words(exc)

    async def _refuse_to_go_on(self) -> NoReturn:
        """Raise what keeps anything from being sent behind a send that failed half way."""
        await checkpoint()
        told = self._told_sending
        if self.fileno() == -1 or told is None:
            told = (errno.EBADF, os.strerror(errno.EBADF))
        raise self._sending_failed(OSError(*told))

    def _in_trios_words(self, exc: OSError) -> trio.ClosedResourceError | trio.BrokenResourceError:
        """Return what trio calls an error that the system reported, and keep it (Law 3)."""
        if exc.errno in CLOSED_ERRNOS:
            return trio.ClosedResourceError(f"this {type(self).__name__} was closed")
        if exc.errno != errno.EPIPE:  # which speaks of the sending half alone
            self._failure = exc.args
        return trio.BrokenResourceError(f"the connection is broken: {exc}")

    async def _aclose(self) -> None:
        self._leases.end_waits()
        await self._close_descriptor()

    @abc.abstractmethod
    async def _close_descriptor(self) -> None:
        """Close the descriptor, wake who waits for it, and checkpoint."""
