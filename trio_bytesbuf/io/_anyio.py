"""`from_anyio` and `to_anyio`: byte streams of anyio as ours, and ours as anyio's.

How they differ is in `_anyio_streams`, which the first call imports, because anyio is an extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import trio

from .._errors import MissingExtra
from ._from_trio import from_trio
from ._read import Read
from ._socket import SocketStream
from ._to_trio import to_trio
from ._write import Write

if TYPE_CHECKING:
    from types import ModuleType

    import anyio.abc
    import anyio.streams.tls

    from ..seq import Memory
    from ._endpoint import ReadWrite
    from ._from_trio import HalfCloseableAdapter, ReceiveAdapter, SendAdapter, StreamAdapter


def _streams_for(what: str) -> ModuleType:
    try:
        import anyio  # noqa: F401  # an extra
    except ImportError:
        raise MissingExtra(what=what, package="anyio", extra="anyio") from None
    from . import _anyio_streams

    return _anyio_streams


# What is known only as a ByteStream may be a socket all the same. Then it gets a SocketStream,
# which has every method of the adapter that types promise.
@overload
def from_anyio(  # type: ignore[overload-overlap]
    stream: anyio.abc.SocketStream, *, memory: Memory | None = None
) -> SocketStream | HalfCloseableAdapter: ...


@overload
def from_anyio(  # type: ignore[overload-overlap]
    stream: anyio.streams.tls.TLSStream, *, memory: Memory | None = None
) -> StreamAdapter: ...


@overload
def from_anyio(
    stream: anyio.abc.ByteStream, *, memory: Memory | None = None
) -> HalfCloseableAdapter: ...


@overload
def from_anyio(
    stream: anyio.abc.ByteReceiveStream, *, memory: Memory | None = None
) -> ReceiveAdapter: ...


@overload
def from_anyio(
    stream: anyio.abc.ByteSendStream, *, memory: Memory | None = None
) -> SendAdapter: ...


def from_anyio(stream: Any, *, memory: Memory | None = None) -> object:
    """Return a byte stream of anyio as a `Read`, a `Write`, or both; it is a trio stream, too.

    A socket of anyio's own is used by its descriptor: received into pooled memory and sent from
    where the bytes lie. What `to_anyio` has made is given back as what it was made of. All others
    are used by their `receive` and `send`. Errors are trio's; anyio's are their causes.

    Only on anyio's trio backend: in a program that `trio.run` runs, or `anyio.run` with
    ``backend="trio"``. Closing what this returns closes `stream`. Use one of the two.

    Args:
      stream: an `anyio.abc.ByteStream`, `ByteReceiveStream` or `ByteSendStream`. (One of objects
        that are bytes has no limit for a receive, and is not taken.)
      memory: where a socket's bytes are received, and where builders for the stream reserve;
        the process's pool if not given.

    Raises:
      MissingExtra: anyio is not installed.
      TypeError: `stream` is no byte stream of anyio's, or `memory` no `Memory`.

    Cancellation of its methods: as theirs in `Read` and `Write`; what `stream` itself loses when
    its `receive` is cancelled is lost.

    Cost: for sockets, as `SocketStream`. For others `receive` and `send`, one checkpoint more for
    each call, because streams for anyio need not be checkpoints, and a copy of what is sent, unless
    it is all of a `bytes`: anyio's streams take nothing else.

    Example:
      >>> from anyio.streams.buffered import BufferedByteStream
      >>> async def main():
      ...     ours, theirs = map(SocketStream, trio.socket.socketpair())
      ...     async with from_anyio(BufferedByteStream(to_anyio(ours))) as stream, theirs:
      ...         await theirs.send_all(b"abcdef")
      ...         return await stream.read_exactly(4)
      >>> trio.run(main)
      BytesView(b'abcd')
    """
    if isinstance(stream, (Read, Write)):
        return stream
    anyios = _streams_for("from_anyio")
    if isinstance(stream, anyios.ForAnyio):
        return from_trio(stream.endpoint, memory=memory)
    if (socket := anyios.socket_below(stream)) is not None:
        return SocketStream(trio.socket.from_stdlib_socket(socket), memory=memory)
    return from_trio(anyios.as_trio(stream), memory=memory)


@overload
def to_anyio(endpoint: ReadWrite | trio.abc.Stream) -> anyio.abc.ByteStream: ...


@overload
def to_anyio(endpoint: Read | trio.abc.ReceiveStream) -> anyio.abc.ByteReceiveStream: ...


@overload
def to_anyio(endpoint: Write | trio.abc.SendStream) -> anyio.abc.ByteSendStream: ...


def to_anyio(endpoint: Any) -> object:
    """Return `endpoint` as a byte stream of anyio, for whatever library takes one.

    A `Read` becomes an `anyio.abc.ByteReceiveStream`, a `Write` a `ByteSendStream`, and what is
    both a `ByteStream`; so does any trio stream, by its sides. Errors are anyio's; trio's are their
    causes. `extra` finds a socket's addresses and what TLS has agreed on, below captures and
    buffers, too. Closing the stream closes the endpoint. Either may be used: what the one has not
    returned yet, the other returns.

    Only on anyio's trio backend, as `from_anyio`. An endpoint that has no `send_eof`, TLS, say,
    raises NotImplementedError for it, as anyio's own TLS does.

    Raises:
      MissingExtra: anyio is not installed.
      TypeError: `endpoint` is neither a `Read`, nor a `Write`, nor a trio stream.

    Cancellation of its methods: `receive` is atomic, `send` spoils.

    Cost: as `to_trio`: receiving copies once, because anyio's streams return `bytes`.

    Example:
      >>> async def main():
      ...     stream = to_anyio(FakeRead(b"abcdef"))
      ...     return await stream.receive(4)
      >>> trio.run(main)
      b'abcd'
    """
    is_trios = isinstance(endpoint, (trio.abc.ReceiveStream, trio.abc.SendStream))
    if not is_trios and not isinstance(endpoint, (Read, Write)):
        kinds = "a Read, a Write or a trio stream"
        raise TypeError(f"to_anyio wants {kinds}, not {type(endpoint).__name__}")
    stream = endpoint if is_trios else to_trio(endpoint)
    return _streams_for("to_anyio").as_anyio(endpoint, stream)
