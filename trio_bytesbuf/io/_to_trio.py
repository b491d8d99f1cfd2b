"""`to_trio`: what reads and writes views, as the trio streams that everybody else's code takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

import trio

from ..seq import BytesView
from ..seq._flat import positive_count_of
from ._endpoint import ReadWrite
from ._read import Read
from ._receive_size import PLAIN_RECEIVE_NBYTES
from ._write import Write

if TYPE_CHECKING:
    from ..seq._flat import Buffer


class ClosesByHalves(ReadWrite, Protocol):
    """As that, and it can say that it has no more to send."""

    async def send_eof(self) -> None:
        """Tell the peer that nothing more will be sent."""
        ...  # a protocol has no body


S = TypeVar("S", bound=trio.abc.Stream)


class TrioEnd(trio.abc.AsyncResource):
    """What the streams that `to_trio` makes have in common: an endpoint, which closes with them.

    Who may use which side, and when, is the endpoint's to say: its checks are called, and none
    is made twice.
    """

    def __init__(self, endpoint: Any) -> None:  # what it is, each kind of stream knows
        self.endpoint = endpoint

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self.endpoint!r}>"

    async def aclose(self) -> None:
        """Close the endpoint. Cancellation: it is closed all the same."""
        await self.endpoint.aclose()


class TrioReceiveStream(TrioEnd, trio.abc.ReceiveStream):
    """A `Read` as a trio stream."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait until there are bytes and return a copy of what is at hand, at most 64 KiB.

        Raises:
          As `Read.receive_view`.

        Cancellation: atomic.
        """
        limit = PLAIN_RECEIVE_NBYTES
        if max_bytes is not None:
            limit = positive_count_of(max_bytes, "max_bytes")
        return bytes(await self.endpoint.receive_view(limit))


class TrioSendStream(TrioEnd, trio.abc.SendStream):
    """A `Write` as a trio stream."""

    async def send_all(self, data: Buffer) -> None:
        """Send all of `data`; `bytes` and views uncopied, else a copy: sinks may keep views.

        Raises:
          As `Write.write_view`.

        Cancellation: spoils, as `Write.write_view`.
        """
        uncopied = isinstance(data, (bytes, BytesView))
        view = BytesView(data) if uncopied else BytesView.copied_from_slice(data)
        await self.endpoint.write_view(view)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until sending might not block; at once if the endpoint cannot say."""
        await self.endpoint.wait_write_might_not_block()


class TrioStream(TrioReceiveStream, TrioSendStream, trio.abc.Stream):
    """What is both a `Read` and a `Write`, as a trio stream."""


class TrioHalfCloseableStream(TrioStream, trio.abc.HalfCloseableStream):
    """What has a `send_eof` besides, as a trio stream."""

    async def send_eof(self) -> None:
        """Tell the peer that nothing more will be sent, as the endpoint does it."""
        await self.endpoint.send_eof()


@overload
def to_trio(endpoint: S) -> S: ...


@overload
def to_trio(endpoint: ClosesByHalves) -> trio.abc.HalfCloseableStream: ...


@overload
def to_trio(endpoint: ReadWrite) -> trio.abc.Stream: ...


@overload
def to_trio(endpoint: Read) -> trio.abc.ReceiveStream: ...


@overload
def to_trio(endpoint: Write) -> trio.abc.SendStream: ...


def to_trio(endpoint: Any) -> object:
    """Return `endpoint` as a trio stream, for h11, `trio.SSLStream` and whatever else takes one.

    A `Read` becomes a `trio.abc.ReceiveStream`, a `Write` a `trio.abc.SendStream`, and what is both
    a `trio.abc.Stream`, or if it has a `send_eof` a `trio.abc.HalfCloseableStream`. What is such a
    stream already, as `SocketStream` is, is returned itself. Closing the stream closes
    the endpoint. Either may be used: what the one has not returned yet, the other returns.

    Raises:
      TypeError: `endpoint` is neither a `Read` nor a `Write`.

    Cost: receiving copies once, because trio's streams return `bytes`.

    Example:
      >>> async def main():
      ...     stream = to_trio(FakeRead(b"abcdef"))
      ...     return await stream.receive_some(4)
      >>> trio.run(main)
      b'abcd'
    """
    reads, writes = isinstance(endpoint, Read), isinstance(endpoint, Write)
    if reads and writes:
        made = TrioHalfCloseableStream if hasattr(endpoint, "send_eof") else TrioStream
        return endpoint if isinstance(endpoint, trio.abc.Stream) else made(endpoint)
    if reads:
        is_one = isinstance(endpoint, trio.abc.ReceiveStream)
        return endpoint if is_one else TrioReceiveStream(endpoint)
    if writes:
        is_one = isinstance(endpoint, trio.abc.SendStream)
        return endpoint if is_one else TrioSendStream(endpoint)
    raise TypeError(f"to_trio wants a Read or a Write, not {type(endpoint).__name__}")
