"""`SocketStream`: a trio stream over a socket that receives into pooled memory and sends vectored.

How it receives and sends is in `_descriptor`; here is what makes it trio's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

import trio

from ._descriptor import DescriptorStream
from ._receive_size import SIZES
from ._trio_sides import SendsEof

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import SupportsIndex

    from ..seq import Memory
    from ..seq._flat import Buffer


class SocketStream(SendsEof, DescriptorStream, trio.abc.HalfCloseableStream):
    """A stream over a connected socket, in trio's manner and in views.

    An honest `trio.abc.HalfCloseableStream`: h11, `trio.SSLStream` and everything else
    that takes a trio stream takes this one. `receive_view`, `views` and `write_view` are the faster
    way: bytes are received into pooled memory and sent from wherever they lie.

    `receive_view` returns at most 256 KiB at once (unless `max_receive_nbytes` is more), so that
    other tasks get their turn. It copies nothing, or less than 64 KiB where that saves
    memory. `write_view` is one checkpoint if the kernel takes all at once; what is small is joined:
    16 KiB in all, or pieces below 1 KiB. ``async for data in stream`` is trio's and gives `bytes`;
    ``async for view in stream.views()`` gives views.

    Args:
      socket: a connected trio socket of type SOCK_STREAM, or a `trio.SocketStream`, whose
        socket is then used by both; close either.
      memory: where received bytes go; the process's pool if not given.
      max_receive_nbytes: the most bytes that one system call asks for, at least 1. Small receives
        ask for less anyway; a program with very many busy connections may want less, and so may
        one that does little with the bytes, on a machine whose system calls are cheap.

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
        super().__init__(memory, max_receive_nbytes)

    @property
    def socket(self) -> trio.socket.SocketType:
        """The trio socket underneath."""
        return self._socket

    def fileno(self) -> int:
        """Return the socket's descriptor, or -1 if it was closed."""
        return self._socket.fileno()

    def __repr__(self) -> str:
        return f"<SocketStream over {self._socket!r}>"

    # Receiving

    async def _is_ended(self) -> bool:
        return not await self._socket.recv(1, trio.socket.MSG_PEEK)

    async def _receive_plain(self, asked: int) -> bytes:
        return await self._socket.recv(asked)

    # Sending

    def _is_end_announced(self) -> bool:
        return self._socket.did_shutdown_SHUT_WR

    async def _send_without_writev(self, buffers: Sequence[bytes | memoryview]) -> int:
        # Released by `with`, because trio's frames may live on in a cycle.
        with memoryview(buffers[0]) as first:
            del buffers
            return await self._socket.send(first)

    async def _wait_write_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def _send_eof(self) -> None:
        if self._told_sending is not None:  # the peer would take what it has got for all
            await self._refuse_to_go_on()
        await self._stream.send_eof()

    # The socket

    async def _close_descriptor(self) -> None:
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
