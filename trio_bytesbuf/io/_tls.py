"""`TlsStream`: views over TLS. `trio.SSLStream` does the TLS; here is what it leaves to others.

The way of a received byte:

    transport --receive_some--> OpenSSL --read: new bytes--> BytesView, without a copy

Law 1. No call asks OpenSSL for more than one record, or gives it more than `CHUNK_NBYTES`:
       it makes room for what it is asked for before it knows how much there is, and holds a second,
       encrypted copy of what it is given until all of it was sent.
Law 2. Every send of trio's stream costs checkpoints and a record, some 45 µs with the transport's
       own; so pieces are joined to chunks, and a piece that is larger than a chunk is cut.
Law 3. An end is for ever. (With `https_compatible`, trio's stream says it once and is broken then.)
Law 4. Nobody waits for a handshake that has failed. The first call on trio's stream shakes hands,
       the others wait for it, and if it fails they would wait for ever. So each of them waits in a
       cancel scope, which the first one cancels if it ends without a handshake.
Law 5. Closing never waits for another task of this program: trio's `aclose` would wait for a
       send, or a handshake, that is going on. Then the transport is closed without a farewell,
       which the peer sees as a cut.
Law 6. An error that is kept holds no bytes: its traceback, and its cause's, would hold trio's
       frames, and they the caller's memory.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio
from trio.lowlevel import checkpoint

from ..seq import BytesView, HasMemory
from ..seq._memory import memory_or_default
from ._listen import SocketListener, open_tcp_listeners, open_tcp_stream
from ._read_kept import Keeping
from ._trio_sides import ReceivesSome, SendsAll
from ._write import Write

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
    from typing import NoReturn

    from ..seq import Memory
    from ._listen import MemoryForEach

RECORD_NBYTES: Final = 16_384
"""The most bytes that a TLS record carries (RFC 8446, 5.1)."""

CHUNK_NBYTES: Final = 262_144
"""How much one send of trio's stream is given. Measured over a socket pair, TLS 1.3, in seconds of
processor time for a gigabyte: 3.3 with 16 KiB, 1.2 with 64 KiB, 0.95 with 256 KiB, 1.0 with a
mebibyte, 1.4 with 32; the same if the chunks are joined from pieces of 1 KiB to 64 KiB."""

T = TypeVar("T")


class TlsStream(ReceivesSome, SendsAll, trio.abc.Stream):
    """A stream over a `trio.SSLStream`, in trio's manner and in views.

    An honest `trio.abc.Stream`. What is received becomes views without a copy, at most a TLS
    record (16 KiB) at once. What is sent is encrypted from wherever it lies; small pieces are
    joined before, at most 256 KiB at a time.

    A peer that goes away without TLS's farewell may be an attacker who cuts the stream, and is
    `trio.BrokenResourceError`, unless `https_compatible` was said to trio's stream. (And unless
    its context has `ssl.OP_IGNORE_UNEXPECTED_EOF`; `open_ssl_over_tcp_stream` and
    its relatives take that out.)

    Closing says farewell to the peer, and shakes hands for that if it has not been done, so it may
    wait for the peer: use `trio.aclose_forcefully`, or a cancel scope, where it must not. But if
    another task is shaking hands or sending, closing ends that and cuts the connection: end those
    tasks first.

    Cancellation: before the handshake is done it spoils the stream, whatever the call:
    call `do_handshake` first where that matters. After it, receiving is atomic, but for the rare
    moment in which the peer wants an answer of TLS itself (new keys); sending spoils.

    Args:
      stream: the stream to be used, from now on by this only. Best over a `SocketStream`.
      memory: where builders for this stream reserve; what the transport says if not given.

    Raises:
      TypeError: `stream` is no `trio.SSLStream`, or `memory` no `Memory`.

    Example:
      >>> import ssl
      >>> async def main():
      ...     tcp = await open_tcp_stream("example.org", 443)
      ...     context = ssl.create_default_context()
      ...     stream = TlsStream(trio.SSLStream(tcp, context, server_hostname="example.org"))
      ...     await stream.write_view(BytesView(b"HEAD / HTTP/1.0\\r\\n\\r\\n"))
    """

    def __init__(self, stream: trio.SSLStream[Any], *, memory: Memory | None = None) -> None:
        if not isinstance(stream, trio.SSLStream):
            raise TypeError(f"a trio.SSLStream is wanted, not {type(stream).__name__}")
        if memory is None and isinstance(stream.transport_stream, HasMemory):
            memory = stream.transport_stream.memory
        self._memory = memory_or_default(memory)
        self._stream = stream
        self._is_ended = False
        self._has_shaken_hands = False
        self._shaking_hands: set[trio.CancelScope] = set()

    @property
    def memory(self) -> Memory:
        """Where builders for this stream reserve; what is received lies in `bytes` of OpenSSL's."""
        return self._memory

    @property
    def ssl_stream(self) -> trio.SSLStream[Any]:
        """The stream of trio's underneath."""
        return self._stream

    @property
    def transport_stream(self) -> trio.abc.Stream:
        """The stream that carries what is encrypted; None after `unwrap`, as trio has it."""
        transport: trio.abc.Stream = self._stream.transport_stream
        return transport

    def __repr__(self) -> str:
        return f"<TlsStream over {self._stream.transport_stream!r}>"

    # The handshake

    async def do_handshake(self) -> None:
        """Agree with the peer on keys, and check certificates, unless that was done.

        Every other call does it if need be. Any number of tasks may call this, at any time.

        Raises:
          trio.ClosedResourceError: this stream was closed.
          trio.BrokenResourceError: there was no agreement, or a certificate was not accepted;
            the cause says why.

        Cancellation: spoils, if the handshake was not done before.
        """
        if self._is_closed:
            await checkpoint()
            self._refuse_if_closed()
        await self._run(self._stream.do_handshake())

    def _is_before_handshake(self) -> bool:
        if not self._has_shaken_hands:
            try:
                self._stream.version  # noqa: B018  # which raises before the handshake is done
            except trio.NeedHandshakeError:
                return True
            self._has_shaken_hands = True
        return False

    async def _run(self, call: Coroutine[Any, Any, T]) -> T:
        """Await what a method of trio's stream returned, one that shakes hands if need be."""
        return await self._told(call if self._has_shaken_hands else self._with_handshake(call))

    async def _with_handshake(self, call: Coroutine[Any, Any, T]) -> T:
        """Await what may have to wait for a handshake that another task makes. (Law 4)"""
        with trio.CancelScope() as scope:
            is_first = not self._shaking_hands
            self._shaking_hands.add(scope)
            try:
                return await call
            finally:
                self._shaking_hands.discard(scope)
                if is_first and self._is_before_handshake():
                    for other in self._shaking_hands:
                        other.cancel()
        raise trio.BrokenResourceError

    async def _told(self, call: Coroutine[Any, Any, T]) -> T:
        """Await `call`; if the stream is broken, say why. (Law 6)"""
        try:
            return await call
        except trio.BrokenResourceError as exc:
            cause = exc.__cause__
        self._refuse_if_closed()
        why = "it failed before" if cause is None else str(cause)
        error = trio.BrokenResourceError(f"the TLS connection is broken: {why}")
        raise error from (None if cause is None else cause.with_traceback(None))

    # Receiving

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        return BytesView(await self._receive_some(max_bytes))

    async def _receive_some(self, max_bytes: int | None) -> bytes:
        if self._is_ended:
            await checkpoint()
            return b""
        asked = RECORD_NBYTES if max_bytes is None else min(max_bytes, RECORD_NBYTES)
        data = await self._run(self._stream.receive_some(asked))
        self._is_ended = not data
        return bytes(data)  # which is the same object, as trio's stream gives `bytes`

    # Sending

    async def _write_view(self, view: BytesView) -> None:
        try:
            await self._send(view._pieces)
        finally:
            del view  # an error that is kept holds this frame, but no memory

    async def _send_all(self, data: memoryview) -> None:
        await self._send((data,) if data.nbytes else ())

    async def _send(self, pieces: Sequence[memoryview]) -> None:
        chunk: bytes | memoryview
        lent = before = None  # to the transport, which knows how far this is
        if self._progress is not None and isinstance(self._stream.transport_stream, Write):
            lent = self._stream.transport_stream
            before, lent._progress = lent._progress, self._progress
        try:
            for chunk in chunks_of(pieces) if pieces else (b"",):
                await self._run(self._stream.send_all(chunk))
        finally:
            if lent is not None:
                lent._progress = before
            chunk = b""
            del pieces

    async def _wait_write_might_not_block(self) -> None:
        await self._told(self._stream.wait_send_all_might_not_block())

    # The end

    async def unwrap(self) -> tuple[trio.abc.Stream, BytesView]:
        """End the encryption in agreement with the peer, and give the transport back.

        Returns:
          The transport, and what was read from it behind the end of the encryption. If the
          transport is a `Read` of this library, as a `SocketStream` is, its next read begins with
          these bytes, and the view that is returned has none. (Unless a task has begun to read
          the transport meanwhile: it would get them too late, so they are returned.)

        Raises:
          RuntimeError: bytes that were received have not been read yet. Nothing has happened.
          trio.BusyResourceError: another task is reading or writing, or reads the transport.
          trio.ClosedResourceError: this stream was closed.
          trio.BrokenResourceError: the peer did not agree: it has sent more, or is gone.

        Cancellation: spoils.
        """
        if self._is_receiving or self._is_closed:
            await self._refuse_receiving()
        if self._is_sending:
            await self._refuse_sending()
        transport = self._stream.transport_stream
        if _is_being_read(transport) and not self._shaking_hands:  # who shakes hands reads it, too
            raise trio.BusyResourceError(f"a task is receiving from {transport!r}")
        self._is_receiving = self._is_sending = True
        try:
            if self._kept or self._stream.pending():
                await checkpoint()
                raise RuntimeError("read what was received before the encryption is ended")
            transport, trailing = await self._run(self._stream.unwrap())
            self._is_closed = True
        finally:
            self._is_receiving = self._is_sending = False
        rest = BytesView(bytes(trailing))
        if isinstance(transport, Keeping) and not _is_being_read(transport):
            transport._put_back([rest])
            rest = BytesView()
        return transport, rest

    async def _aclose(self) -> None:
        if self._is_sending or (self._shaking_hands and self._is_before_handshake()):
            await trio.aclose_forcefully(self._stream)
        else:
            await self._stream.aclose()

    # What the peers have agreed on

    def getpeercert(self, binary_form: bool = False) -> Any:
        """Return the peer's certificate; as `ssl.SSLSocket.getpeercert`.

        Raises:
          trio.NeedHandshakeError: the handshake is not done; so do the three others.
        """
        return self._stream.getpeercert(binary_form)

    def selected_alpn_protocol(self) -> str | None:
        """Return the protocol that was agreed on; as `ssl.SSLSocket.selected_alpn_protocol`."""
        protocol: str | None = self._stream.selected_alpn_protocol()
        return protocol

    def version(self) -> str | None:
        """Return the version of TLS, ``"TLSv1.3"``, say; as `ssl.SSLSocket.version`."""
        version: str | None = self._stream.version()
        return version

    def cipher(self) -> tuple[str, str, int] | None:
        """Return name, protocol and bits of the cipher; as `ssl.SSLSocket.cipher`."""
        cipher: tuple[str, str, int] | None = self._stream.cipher()
        return cipher


def _is_being_read(transport: object) -> bool:
    return isinstance(transport, Keeping) and transport._is_receiving


def chunks_of(pieces: Sequence[memoryview]) -> Iterator[bytes | memoryview]:
    """Yield the bytes of `pieces` in chunks of `CHUNK_NBYTES`, but for the last. (Law 2)"""
    row: list[memoryview] = []
    room = CHUNK_NBYTES
    for piece in pieces:
        at = 0
        while piece.nbytes - at >= room:
            row.append(piece[at : at + room])
            yield b"".join(row) if len(row) > 1 else row[0]
            at += room
            row, room = [], CHUNK_NBYTES
        if at < piece.nbytes:
            row.append(piece[at:])
            room -= piece.nbytes - at
    if row:
        yield b"".join(row) if len(row) > 1 else row[0]


# Connecting and serving


class TlsListener(trio.abc.Listener[TlsStream]):
    """A listener whose connections are `TlsStream`s; `trio.SSLListener` with our streams.

    `accept` does not shake hands: the first use of a stream does, in its own task.

    Args:
      transport_listener: where connections come from.
      ssl_context: with the server's certificate.
      https_compatible: whether peers may leave out TLS's farewell; see `trio.SSLStream`.
    """

    def __init__(
        self,
        transport_listener: SocketListener,
        ssl_context: ssl.SSLContext,
        *,
        https_compatible: bool = False,
    ) -> None:
        self.transport_listener = transport_listener
        self._ssl_context = _without_ignored_cuts(ssl_context)
        self._https_compatible = https_compatible

    async def accept(self) -> TlsStream:
        """Wait for a connection. Cancellation: atomic."""
        return TlsStream(
            trio.SSLStream(
                await self.transport_listener.accept(),
                self._ssl_context,
                server_side=True,
                https_compatible=self._https_compatible,
            )
        )

    async def aclose(self) -> None:
        """Stop listening. Cancellation: it is closed all the same."""
        await self.transport_listener.aclose()


def _without_ignored_cuts(context: ssl.SSLContext) -> ssl.SSLContext:
    """Have OpenSSL tell a stream that was cut from one that has ended."""
    if hasattr(ssl, "OP_IGNORE_UNEXPECTED_EOF"):  # 3.10 with OpenSSL 3
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


async def open_ssl_over_tcp_stream(
    host: str | bytes,
    port: int,
    *,
    https_compatible: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    memory: Memory | None = None,
    **options: Any,
) -> TlsStream:
    """Connect by TCP with TLS; `trio.open_ssl_over_tcp_stream`, with our stream.

    Does not shake hands: the first use of the stream does.

    Args:
      host: whom to connect to; its certificate has to be valid for this name.
      https_compatible: whether the peer may leave out TLS's farewell; see `trio.SSLStream`.
      ssl_context: `ssl.create_default_context()` if not given. The option that lets it take
        a cut for an end, if it has it, is taken out of it.
      memory: as for `open_tcp_stream`. Builders of the stream use it. What is received lies in
        `bytes` of 16 KiB at most, which a cap does not count.
      options: the others of `trio.open_tcp_stream`.

    Raises:
      OSError: no connection could be made; the message names host and port.

    Cancellation: atomic.
    """
    context = ssl.create_default_context() if ssl_context is None else ssl_context
    _without_ignored_cuts(context)
    tcp = await open_tcp_stream(host, port, memory=memory, **options)
    return TlsStream(
        trio.SSLStream(tcp, context, server_hostname=host, https_compatible=https_compatible)
    )


async def open_ssl_over_tcp_listeners(
    port: int,
    ssl_context: ssl.SSLContext,
    *,
    host: str | bytes | None = None,
    https_compatible: bool = False,
    backlog: int | None = None,
    memory: MemoryForEach = None,
) -> list[TlsListener]:
    """Listen for TCP connections with TLS; as `trio.open_ssl_over_tcp_listeners`.

    The option that lets `ssl_context` take a cut for an end, if it has it, is taken out of it.

    Raises:
      OSError: the address is in use, or not ours; the message names it.

    Cancellation: atomic.
    """
    return [
        TlsListener(listener, ssl_context, https_compatible=https_compatible)
        for listener in await open_tcp_listeners(port, host=host, backlog=backlog, memory=memory)
    ]


async def serve_ssl_over_tcp(
    handler: Callable[[TlsStream], Awaitable[object]],
    port: int,
    ssl_context: ssl.SSLContext,
    *,
    host: str | bytes | None = None,
    https_compatible: bool = False,
    backlog: int | None = None,
    memory: MemoryForEach = None,
    handler_nursery: trio.Nursery | None = None,
    task_status: trio.TaskStatus[list[TlsListener]] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Run `handler(stream)` for each connection; `trio.serve_ssl_over_tcp` with our streams.

    Args:
      memory: as for `serve_tcp`.

    Raises:
      OSError: the address is in use, or not ours.
      Whatever `handler` raises, which ends the server: `trio.BrokenResourceError`, too, from a
        peer with which no handshake comes about.

    Cancellation: stops listening and cancels the handlers.
    """
    listeners = await open_ssl_over_tcp_listeners(
        port,
        ssl_context,
        host=host,
        https_compatible=https_compatible,
        backlog=backlog,
        memory=memory,
    )
    await trio.serve_listeners(
        handler, listeners, handler_nursery=handler_nursery, task_status=task_status
    )
