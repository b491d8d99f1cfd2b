"""`DatagramSocket`: datagrams in views, one at a time or all that are there.

The way of a received datagram:

    kernel --recvfrom--> block of the memory --(a slice of it)--> Datagram

Law 1. A waiting socket holds no memory, as in `_descriptor`: a receive is tried without blocking
       into memory that is leased for that try. Memory that has a cap may have to be waited for.
Law 2. A datagram that is not worth keeping its block is copied out, and the next one of the
       same batch goes to its place; after a small one the kernel fills plain `bytes`. A batch holds
       at most `BATCH_NBYTES` and one datagram more.
Law 3. A datagram is whole or an error. Each is received with room for a byte more than the longest
       one that is allowed: one that fills it is too long, on every system. What the memory gave may
       be less; the end of a datagram that is longer than that goes to plain `bytes`. What came
       before an error is returned first; the next call raises it.
Law 4. A datagram of no bytes is a datagram, and there is no end.
Law 5. The system is asked on a duplicate of the descriptor: the calls that tell who sent it are
       methods of the standard library's socket, and trio's are a full checkpoint each. The
       duplicate is closed with the socket, and not used once that is closed.
"""

from __future__ import annotations

import errno
import os
import socket as stdlib_socket
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs
import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from .._errors import BadMemory, BudgetExceeded, DatagramTruncated
from ..seq import BytesView
from ..seq._flat import positive_count_of
from ..seq._memory import memory_or_default
from ..seq._view import make_view
from ._descriptor import CLOSED_ERRNOS
from ._lease import Leases
from ._listen import _address, _renamed
from ._vectored import IOV_MAX, JOIN_ALL_NBYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from typing import SupportsIndex

    from ..seq import BlockRef, Memory

MAX_DATAGRAM_NBYTES: Final = 65_535
"""No UDP datagram is longer: its header has 16 bits for the length (RFC 768)."""

BATCH_DATAGRAMS: Final = 100
"""How many datagrams one batch has at the most if it is not told. A guess: at 2 µs for each, after
that it is another task's turn."""

BATCH_NBYTES: Final = 262_144
"""After so many bytes a batch is full: as much as a stream's receive takes at once."""

CAN_SCATTER = hasattr(stdlib_socket.socket, "recvmsg_into")
"""Whether the system has the call that receives one datagram into several buffers."""

CAN_GATHER = hasattr(stdlib_socket.socket, "sendmsg")
"""Whether the system has the call that sends several buffers as one datagram; Windows has not."""


@attrs.frozen
class Datagram:
    """A datagram that was received, whole."""

    view: BytesView
    """The bytes; there may be none."""

    address: Any
    """Who sent it: what the standard library's `recvfrom` says, a tuple for UDP. None or empty if
    the sender has no name, as most Unix sockets."""


class DatagramSocket(trio.abc.AsyncResource):
    """A socket for datagrams, in views: UDP over IPv4 or IPv6, or a Unix socket.

    Iterating over it gives the datagrams one after the other; `receive_batch` is faster where many
    arrive.

    Errors are the system's, `OSError`, as with trio's own sockets: what it has to say of one
    datagram does not break the socket. A connected UDP socket is told by `ConnectionRefusedError`
    that nobody listened to what it had sent, and works on.

    Args:
      socket: a trio socket of type SOCK_DGRAM, bound or connected. It is this one's from now on.
      memory: where received bytes go; the process's pool if not given.
      max_datagram_nbytes: the longest datagram that is received, at least 1. What is not given is
        enough for UDP; over Unix sockets there can be longer ones.

    Raises:
      TypeError: `socket` is no trio socket, or `max_datagram_nbytes` is no integer.
      ValueError: it is not of type SOCK_DGRAM, or `max_datagram_nbytes` is below 1.

    Example:
      >>> async def main():
      ...     async with (
      ...         await bind_udp_socket("127.0.0.1", 0) as server,
      ...         await connect_udp_socket("127.0.0.1", server.socket.getsockname()[1]) as client,
      ...     ):
      ...         await client.send(BytesView(b"Hello?"))
      ...         question = await server.receive()
      ...         await server.send(question.view + b" Hello!", question.address)
      ...         print((await client.receive()).view)
      >>> trio.run(main)
      BytesView(b'Hello? Hello!')
    """

    def __init__(
        self,
        socket: trio.socket.SocketType,
        *,
        memory: Memory | None = None,
        max_datagram_nbytes: SupportsIndex = MAX_DATAGRAM_NBYTES,
    ) -> None:
        if not isinstance(socket, trio.socket.SocketType):
            raise TypeError(f"a trio socket is wanted, not {type(socket).__name__}")
        if socket.type != trio.socket.SOCK_DGRAM:
            raise ValueError("a socket of type SOCK_DGRAM is wanted")
        self._memory = memory_or_default(memory)
        self._leases = Leases(self._memory)
        self._limit = positive_count_of(max_datagram_nbytes, "max_datagram_nbytes")
        self._socket = socket
        self._receiver = stdlib_socket.fromfd(
            socket.fileno(), socket.family, socket.type, socket.proto
        )
        self._receiver.setblocking(False)
        self._owed: Exception | None = None  # to be raised by the next receive (Law 3)
        self._is_plain = False  # whether the last datagram was too small for leased memory
        self._is_starved = False
        self._is_receiving = self._is_sending = False

    @property
    def socket(self) -> trio.socket.SocketType:
        """The trio socket underneath."""
        return self._socket

    @property
    def memory(self) -> Memory:
        """Where received bytes go; bytes that are to be sent may be anywhere."""
        return self._memory

    def __repr__(self) -> str:
        return f"<DatagramSocket over {self._socket!r}>"

    # Receiving

    async def receive(self) -> Datagram:
        """Wait for a datagram and return it, whole, with the address of who sent it.

        Raises:
          DatagramTruncated: it was longer than `max_datagram_nbytes`, and is lost.
          OSError: what the system has to say, of something that was sent, too.
          trio.BusyResourceError: another task is receiving.
          trio.ClosedResourceError: this socket was closed, here or by another task.

        Cancellation: atomic. No datagram is lost.
        """
        return (await self._receive(1))[0]

    async def receive_batch(self, max_datagrams: SupportsIndex = BATCH_DATAGRAMS) -> list[Datagram]:
        """Wait for a datagram and return it with those that are there already: one checkpoint.

        Args:
          max_datagrams: the most datagrams to return, at least 1. With 256 KiB a batch is full
            as well.

        Returns:
          At least one datagram.

        Raises:
          TypeError, ValueError: `max_datagrams` is no integer, or below 1.
          As `receive` otherwise; datagrams that came before an error are returned before it.

        Cancellation: atomic. No datagram is lost.

        Cost: beside the checkpoint, one system call for each datagram, and one in vain.
        """
        return await self._receive(positive_count_of(max_datagrams, "max_datagrams"))

    def __aiter__(self) -> AsyncIterator[Datagram]:
        return self

    async def __anext__(self) -> Datagram:
        return await self.receive()

    async def _receive(self, max_datagrams: int) -> list[Datagram]:
        if self._is_receiving:
            raise trio.BusyResourceError(f"another task is already receiving from {self!r}")
        self._is_receiving = True
        try:
            await checkpoint_if_cancelled()
            batch = self._receive_now(max_datagrams)
            if batch:
                await cancel_shielded_checkpoint()
            while not batch:
                await trio.lowlevel.wait_readable(self._socket.fileno())
                window = None
                if self._is_starved:
                    window = await self._leases.wait(self._limit + 1)
                batch = self._receive_now(max_datagrams, window)
                del window
            return batch  # noqa: TRY300  # not in an `else`: that is the way of all others
        except OSError as exc:
            await cancel_shielded_checkpoint()
            if exc.errno in CLOSED_ERRNOS:
                raise trio.ClosedResourceError("this DatagramSocket was closed") from None
            raise exc.with_traceback(None) from None
        finally:
            self._is_receiving = False

    def _receive_now(self, max_datagrams: int, window: memoryview | None = None) -> list[Datagram]:
        """Return what is there, into `window` first if it is given; none if that is nothing yet.

        If that is because the memory has a cap that is reached, `_is_starved` says so.
        """
        if self._owed is not None:
            owed, self._owed = self._owed, None
            raise owed
        self._is_starved = False
        batch: list[Datagram] = []
        nbytes = 0
        ref: BlockRef | None = None
        try:
            while len(batch) < max_datagrams and nbytes < BATCH_NBYTES:
                if self._socket.fileno() == -1:
                    raise OSError(errno.EBADF, os.strerror(errno.EBADF))  # noqa: TRY301
                if window is None and not self._is_plain:
                    window, ref = self._leases.lease(self._limit + 1)
                view, address = self._receive_one(window, ref)
                batch.append(Datagram(view, address))
                nbytes += view._nbytes
                if view._pieces and window is not None and view._pieces[0].obj is window.obj:
                    window = ref = None
        except BlockingIOError:
            pass
        except BudgetExceeded:
            if not batch:
                if not self._leases.can_wait:
                    raise
                self._is_starved = True
        except Exception as exc:
            if not batch:
                raise
            if not isinstance(exc, BadMemory):  # which will be said again
                self._owed = exc.with_traceback(None)
        finally:
            del window, ref
        return batch

    def _receive_one(
        self, window: memoryview | None, ref: BlockRef | None
    ) -> tuple[BytesView, Any]:
        """Receive a datagram into `window`, and what does not fit into plain memory. (Law 3)"""
        limit = self._limit
        spilled = b""
        if window is None or (window.nbytes <= limit and not CAN_SCATTER):
            data, address = self._receiver.recvfrom(limit + 1)
            nbytes, room, piece = len(data), limit + 1, memoryview(data)
        elif window.nbytes <= limit:
            room = window.nbytes
            rest = bytearray(limit + 1 - room)
            nbytes, _, _, address = self._receiver.recvmsg_into((window, rest))
            piece, spilled = window[:nbytes].toreadonly(), bytes(rest[: max(0, nbytes - room)])
        else:
            room = window.nbytes
            nbytes, address = self._receiver.recvfrom_into(window, limit + 1)
            piece = window[:nbytes].toreadonly()
        if nbytes > limit:
            raise DatagramTruncated(limit)
        is_worth_keeping = self._memory.is_worth_keeping(min(nbytes, room), room)
        self._is_plain = not is_worth_keeping
        if not nbytes:
            return make_view((), 0), address
        if window is None or type(piece.obj) is bytes:
            return make_view((piece,), nbytes), address
        if spilled:
            refs = None if ref is None else (ref, None)
            return make_view((piece, memoryview(spilled)), nbytes, refs), address
        if is_worth_keeping:
            return make_view((piece,), nbytes, None if ref is None else (ref,)), address
        return make_view((memoryview(piece.tobytes()),), nbytes), address

    # Sending

    async def send(self, view: BytesView, address: Any = None) -> None:
        """Send the bytes of `view` as one datagram; they may be none.

        Args:
          view: the bytes. Pieces are not copied but where that is quicker: up to 16 KiB, or more
            pieces than the system takes in one call.
          address: whom to send it to, as for trio's `sendto`; none if the socket is connected.

        Raises:
          OSError: what the system has to say: it is too long, nobody listened to the last one, ...
          trio.BusyResourceError: another task is sending.
          trio.ClosedResourceError: this socket was closed, here or by another task.
          TypeError: `view` is not a `BytesView`.

        Cancellation: atomic. The datagram was sent whole, or not at all.
        """
        if not isinstance(view, BytesView):
            raise TypeError(f"send sends a BytesView, not {type(view).__name__}")
        if self._is_sending:
            raise trio.BusyResourceError(f"another task is already sending to {self!r}")
        self._is_sending = True
        try:
            await self._send(datagram_of(view._pieces, view._nbytes), address)
        except OSError as exc:
            if exc.errno in CLOSED_ERRNOS:
                raise trio.ClosedResourceError("this DatagramSocket was closed") from None
            raise exc.with_traceback(None) from None
        finally:
            self._is_sending = False
            del view  # an error that is kept holds this frame, but no memory

    async def _send(self, buffers: Sequence[bytes | memoryview], address: Any) -> None:
        try:
            if len(buffers) > 1:
                await self._socket.sendmsg(buffers, (), 0, address)
            elif address is None:
                await self._socket.send(buffers[0])
            else:
                await self._socket.sendto(buffers[0], address)
        finally:
            del buffers

    # Closing

    async def aclose(self) -> None:
        """Close the socket; tasks that wait for it get `trio.ClosedResourceError`.

        Cancellation: it is closed all the same.
        """
        self._leases.end_waits()
        self._socket.close()
        self._receiver.close()
        await checkpoint()


def datagram_of(pieces: Sequence[memoryview], nbytes: int) -> Sequence[bytes | memoryview]:
    """Return the buffers to be gathered for one datagram: at least one, at most `IOV_MAX`."""
    if len(pieces) == 1:
        return pieces
    if nbytes <= JOIN_ALL_NBYTES or len(pieces) > IOV_MAX or not CAN_GATHER:
        return (b"".join(pieces),)
    return pieces


# Binding and connecting


async def bind_udp_socket(
    host: str | bytes, port: int, *, memory: Memory | None = None
) -> DatagramSocket:
    """Return a UDP socket that receives what is sent to `host` and `port`.

    Args:
      host: an address or name of this machine; ``"0.0.0.0"`` or ``"::"`` for all of its addresses.
        The first address of a name that works is taken.
      port: 0 for one that is free: ``socket.getsockname()`` says which.
      memory: where received bytes go; the process's pool if not given.

    Raises:
      OSError: the address is in use, or not ours; the message names it.

    Cancellation: atomic.
    """
    return await _open(host, port, memory, "bind")


async def connect_udp_socket(
    host: str | bytes, port: int, *, memory: Memory | None = None
) -> DatagramSocket:
    """Return a UDP socket that sends to `host` and `port`, and receives only what comes from there.

    Nothing is sent for that, so nothing says whether there is anybody.

    Raises:
      OSError: there is no such host, or no way to it; the message names it.

    Cancellation: atomic.
    """
    return await _open(host, port, memory, "connect")


async def _open(
    host: str | bytes, port: int, memory: Memory | None, what: Literal["bind", "connect"]
) -> DatagramSocket:
    memory = memory_or_default(memory)
    where = _address(host, port)
    try:
        found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_DGRAM)
        failure: OSError | None = None
        for family, kind, protocol, _, address in found:
            try:
                socket = trio.socket.socket(family, kind, protocol)
            except OSError as exc:  # a family that this system does not have
                failure = failure or exc
                continue
            try:
                await (socket.bind(address) if what == "bind" else socket.connect(address))
                return DatagramSocket(socket, memory=memory)
            except BaseException as exc:
                socket.close()
                if not isinstance(exc, OSError):
                    raise
                failure = failure or exc
        assert failure is not None, "getaddrinfo returns at least one address, or raises"
        raise failure
    except OSError as exc:
        raise _renamed(exc, f"cannot {what} {'to ' * (what == 'connect')}{where}") from exc
