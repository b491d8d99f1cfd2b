"""Streams between anyio's kinds and trio's: what `from_anyio` and `to_anyio` make. Needs anyio.

On anyio's trio backend tasks, cancelling and clock are trio's, so a stream of the one kind is one
of the other, but for names and habits:

    trio                            anyio
    receive_some() returns b""      receive() raises EndOfStream
    ClosedResourceError             ClosedResourceError, another class
    BrokenResourceError             BrokenResourceError, another class, or OSError
    BusyResourceError               BusyResourceError, another class
    a stream that has no send_eof   send_eof() raises NotImplementedError

Law 1. An error is raised in the words of who calls, from the other's as its cause. What neither has
       a word for (`BadSource`, `PeerTooSlow`, `ValueError`) is raised as it is.
Law 2. An end is an end for ever, whatever the stream says later; to have received no bytes is not
       an end, and the wait goes on, as anyio advises.
Law 3. Every call is a checkpoint, though streams for anyio need not be: a buffered one returns what
       it has, and a socket sends nothing, at once. Whether a call is cancelled is asked before it;
       what it has received then is returned.
Law 4. A stream of anyio's is given `bytes` to send, as its type says; it may keep them.
"""

from __future__ import annotations

import socket as stdlib_socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.abc
import trio
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from ..seq._flat import positive_count_of
from ._socket import SocketStream
from ._tls import TlsStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

RECEIVE_NBYTES: Final = 65_536
"""What anyio's streams return at the most if they are not told."""

SEND_NBYTES: Final = 65_536
"""How much is copied for one `send`, so that a large piece is never there twice."""

GONE: Final = (anyio.BrokenResourceError, OSError)
"""How anyio's streams say that the connection is gone; TLS lets errors of OpenSSL through."""


# anyio's as trio's


class OfAnyio(trio.abc.AsyncResource):
    """What the trio streams over anyio's have in common: a stream, which closes with them."""

    def __init__(self, stream: Any) -> None:  # each subclass calls what its kind of stream has
        self._stream = stream
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self._stream!r}>"

    @contextmanager
    def _in_trios_words(self) -> Iterator[None]:
        """Raise what anyio's stream raises as trio would. (Law 1)"""
        try:
            yield
        except (anyio.ClosedResourceError, anyio.BusyResourceError, *GONE) as exc:
            if self._is_closed or isinstance(exc, anyio.ClosedResourceError):
                raise trio.ClosedResourceError("the stream of anyio's was closed") from exc
            if isinstance(exc, anyio.BusyResourceError):
                raise trio.BusyResourceError(f"another task is using {self._stream!r}") from exc
            raise trio.BrokenResourceError(str(exc) or "the connection is gone") from exc

    async def aclose(self) -> None:
        """Close anyio's stream; a peer that was gone before is no error, as in trio's TLS."""
        self._is_closed = True
        with suppress(anyio.ClosedResourceError, anyio.BusyResourceError, *GONE):
            await self._stream.aclose()
        await checkpoint()


class ReceivesFromAnyio(OfAnyio, trio.abc.ReceiveStream):
    """A `ByteReceiveStream` of anyio's as a `trio.abc.ReceiveStream`."""

    _is_ended = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait until there are bytes and return at most 64 KiB of them. (Laws 2 and 3)"""
        limit = RECEIVE_NBYTES if max_bytes is None else min(max_bytes, RECEIVE_NBYTES)
        data = b""
        while not data:
            await checkpoint_if_cancelled()
            if not self._is_ended:
                with self._in_trios_words():
                    data = await self._received(limit)
            await cancel_shielded_checkpoint()
            if self._is_ended:
                break
        return data

    async def _received(self, limit: int) -> bytes:
        try:
            return await self._stream.receive(limit)  # type: ignore[no-any-return]
        except anyio.EndOfStream as exc:
            if self._is_closed:  # that is why it has ended
                raise anyio.ClosedResourceError from exc
            self._is_ended = True
            return b""


class SendsToAnyio(OfAnyio, trio.abc.SendStream):
    """A `ByteSendStream` of anyio's as a `trio.abc.SendStream`."""

    _is_end_announced = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`. (Laws 3 and 4)"""
        await checkpoint_if_cancelled()
        with self._in_trios_words():
            if self._is_end_announced:  # anyio's sockets ask the system, which calls it broken
                raise anyio.ClosedResourceError
            for part in as_bytes(memoryview(data)):
                await self._stream.send(part)
        await cancel_shielded_checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """Return at once: anyio's streams cannot say when that is."""
        await checkpoint()


class StreamOfAnyio(ReceivesFromAnyio, SendsToAnyio, trio.abc.Stream):
    """A `ByteStream` of anyio's that has no end to announce, TLS, as a `trio.abc.Stream`."""


class HalfCloseableOfAnyio(StreamOfAnyio, trio.abc.HalfCloseableStream):
    """A `ByteStream` of anyio's as a `trio.abc.HalfCloseableStream`."""

    async def send_eof(self) -> None:
        """Tell the peer that nothing more will be sent; nothing can be sent after it."""
        await checkpoint_if_cancelled()
        with self._in_trios_words():
            await self._stream.send_eof()
        self._is_end_announced = True
        await cancel_shielded_checkpoint()


def as_trio(stream: object) -> OfAnyio:
    """Return `stream` as the trio stream that it has the sides for."""
    if isinstance(stream, TLSStream):  # which cannot announce its end
        return StreamOfAnyio(stream)
    if isinstance(stream, anyio.abc.ByteStream):
        return HalfCloseableOfAnyio(stream)
    if isinstance(stream, anyio.abc.ByteReceiveStream):
        return ReceivesFromAnyio(stream)
    if isinstance(stream, anyio.abc.ByteSendStream):
        return SendsToAnyio(stream)
    raise TypeError(f"from_anyio wants a byte stream of anyio's, not {type(stream).__name__}")


def as_bytes(data: memoryview) -> Iterator[bytes]:
    """Yield `data` as `bytes`: uncopied if it is all of some, else in copies of a part each."""
    whole = data.obj
    if type(whole) is bytes and len(whole) == data.nbytes:
        yield from (whole,) if whole else ()
        return
    for at in range(0, data.nbytes, SEND_NBYTES):
        yield bytes(data[at : at + SEND_NBYTES])


def socket_below(stream: object) -> stdlib_socket.socket | None:
    """Return the socket of a stream of anyio's that is a socket and nothing else, or None.

    Somebody's own subclass may do more than the socket below it does, and is used as it is.
    """
    is_anyios = type(stream).__module__.partition(".")[0] == "anyio"
    if is_anyios and isinstance(stream, anyio.abc.SocketStream):
        found = stream.extra(SocketAttribute.raw_socket, None)  # noqa: S610  # this is no Django
        return found if isinstance(found, stdlib_socket.socket) else None
    return None


# trio's as anyio's


class ForAnyio(anyio.abc.AsyncResource, anyio.TypedAttributeProvider):
    """What the streams that `to_anyio` makes have in common: a trio stream, and an endpoint.

    Who may use which side, and when, is the endpoint's to say: its checks are called, and none
    is made twice.
    """

    def __init__(self, endpoint: object, stream: Any) -> None:
        self.endpoint = endpoint
        self._stream = stream

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self.endpoint!r}>"

    async def aclose(self) -> None:
        """Close the endpoint. Cancellation: it is closed all the same."""
        with in_anyios_words("using"):
            await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """What anyio calls the socket, its addresses, and what TLS has agreed on."""
        return attributes_of(self.endpoint)


class AnyioByteReceiveStream(ForAnyio, anyio.abc.ByteReceiveStream):
    """What bytes are received from, as anyio has it."""

    async def receive(self, max_bytes: int = RECEIVE_NBYTES) -> bytes:
        """Wait until there are bytes and return a copy of what is at hand.

        Raises:
          anyio.EndOfStream: the stream has ended.
          anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.BusyResourceError: as
            `Read.receive_view` raises those of trio.
          TypeError, ValueError: `max_bytes` is no integer, or below 1.

        Cancellation: atomic.
        """
        with in_anyios_words("reading from"):
            data = await self._stream.receive_some(positive_count_of(max_bytes, "max_bytes"))
        if not data:
            raise anyio.EndOfStream
        return bytes(data)


class AnyioByteSendStream(ForAnyio, anyio.abc.ByteSendStream):
    """What bytes are sent to, as anyio has it."""

    async def send(self, item: bytes) -> None:
        """Send all of `item`, uncopied.

        Raises:
          anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.BusyResourceError: as
            `Write.write_view` raises those of trio.

        Cancellation: spoils, as `Write.write_view`.
        """
        with in_anyios_words("writing to"):
            await self._stream.send_all(item)


class AnyioByteStream(AnyioByteReceiveStream, AnyioByteSendStream, anyio.abc.ByteStream):
    """What is both, as anyio has it."""

    async def send_eof(self) -> None:
        """Tell the peer that nothing more will be sent, as the endpoint does it.

        Raises:
          NotImplementedError: the endpoint has no way to say that, as anyio's own TLS has none.
        """
        if not isinstance(self._stream, trio.abc.HalfCloseableStream):
            raise NotImplementedError(f"{self.endpoint!r} cannot announce its end but by closing")
        with in_anyios_words("writing to"):
            await self._stream.send_eof()


def as_anyio(endpoint: object, stream: object) -> ForAnyio:
    """Return `stream`, which is the endpoint as trio has it, as anyio has it."""
    if isinstance(stream, trio.abc.Stream):
        return AnyioByteStream(endpoint, stream)
    if isinstance(stream, trio.abc.ReceiveStream):
        return AnyioByteReceiveStream(endpoint, stream)
    return AnyioByteSendStream(endpoint, stream)


@contextmanager
def in_anyios_words(action: str) -> Iterator[None]:
    """Raise what a trio stream raises as anyio would. (Law 1)"""
    try:
        yield
    except trio.BusyResourceError as exc:
        raise anyio.BusyResourceError(action) from exc
    except trio.ClosedResourceError as exc:
        raise anyio.ClosedResourceError(*exc.args) from exc
    except trio.BrokenResourceError as exc:
        raise anyio.BrokenResourceError(*exc.args) from exc


def attributes_of(endpoint: object) -> dict[Any, Callable[[], Any]]:
    """Return what anyio's `extra` is to find of an endpoint, and of what it stands on."""
    if isinstance(endpoint, (TlsStream, trio.SSLStream)):
        ssl: Any = endpoint.ssl_stream if isinstance(endpoint, TlsStream) else endpoint
        return {**attributes_of(endpoint.transport_stream), **_attributes_of_tls(ssl)}
    if isinstance(endpoint, (SocketStream, trio.SocketStream)):
        return _attributes_of_socket(endpoint.socket)
    inner = getattr(endpoint, "inner", None)
    return {} if inner is None else attributes_of(inner)


def _attributes_of_tls(ssl: Any) -> dict[Any, Callable[[], Any]]:
    """Return what was agreed on; asked before the handshake, trio raises `NeedHandshakeError`."""
    named: tuple[tuple[Any, Callable[[], Any]], ...] = (
        (TLSAttribute.alpn_protocol, lambda: ssl.selected_alpn_protocol()),
        (TLSAttribute.channel_binding_tls_unique, lambda: ssl.get_channel_binding()),
        (TLSAttribute.cipher, lambda: ssl.cipher()),
        (TLSAttribute.peer_certificate, lambda: ssl.getpeercert()),
        (TLSAttribute.peer_certificate_binary, lambda: ssl.getpeercert(binary_form=True)),
        (TLSAttribute.server_side, lambda: ssl.server_side),
        (TLSAttribute.shared_ciphers, lambda: ssl.shared_ciphers() if ssl.server_side else None),
        (TLSAttribute.tls_version, lambda: ssl.version()),
    )
    return dict(named)


def _attributes_of_socket(socket: trio.socket.SocketType) -> dict[Any, Callable[[], Any]]:
    found: dict[Any, Callable[[], Any]] = {
        SocketAttribute.family: lambda: socket.family,
        SocketAttribute.local_address: lambda: _address(socket.getsockname()),
    }
    if (raw := getattr(socket, "_sock", None)) is not None:  # where anyio, too, finds it
        found[SocketAttribute.raw_socket] = lambda: raw
    has_ports = socket.family in {stdlib_socket.AF_INET, stdlib_socket.AF_INET6}
    if has_ports:
        found[SocketAttribute.local_port] = lambda: socket.getsockname()[1]
    with suppress(OSError):  # it is connected no more
        peer = _address(socket.getpeername())
        found[SocketAttribute.remote_address] = lambda: peer
        if has_ports:
            found[SocketAttribute.remote_port] = lambda: peer[1]
    return found


def _address(address: Any) -> Any:
    """Return an address as anyio has it: of IPv6 host and port alone, and the scope in the host."""
    if not isinstance(address, tuple) or len(address) < 4:
        return address
    host, port, _, scope = address
    return (f"{host.partition('%')[0]}%{scope}" if scope else host), port
