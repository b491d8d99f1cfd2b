"""`TypedChannel`: both directions of a stream, each with values of its own type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import trio
from trio.lowlevel import checkpoint

from ..buffered import BufStream
from ..buffered._stream import Buffering
from ._format import MAX_MESSAGE_NBYTES, ProtocolVersion
from ._message_decoder import cutter_of
from ._message_encoder import MessageEncoder
from ._typed_receive import ReceivesMessages
from ._typed_send import SendsMessages, emptied, room_for

if TYPE_CHECKING:
    from typing import SupportsIndex

    from ..io._endpoint import ReadWrite
    from ..seq import BytesView
    from ._codec import Codec

S = TypeVar("S")
R = TypeVar("R")
S_contra = TypeVar("S_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class TypedChannel(
    ReceivesMessages[R_co],
    SendsMessages[S_contra],
    trio.abc.Channel[Any],
    Generic[S_contra, R_co],
):
    """Sends values of one type and receives those of another, over one stream.

    A `trio.abc.Channel`. One task may receive while another sends. Each direction has a header of
    its own, which goes out with the first message, flush or goodbye: who only listens has told its
    peer nothing.

    Args:
      stream: a trio stream, or what is both a `Read` and a `Write`. A `BufStream` is used as it is.
      sends: a `Codec`, or the type of the values that are sent.
      receives: a `Codec`, or the type of the values that are received.
      max_nbytes: the most bytes that a message may have, in either direction.
      sends_checksums: whether a checksum follows each message that is sent.
      checks_checksums: whether to check the checksums that the peer sends, if it does.
      version: which version of the protocol to speak.
      peer_version: which version the peer speaks; None to find it out. Finding it out changes
        nothing of what is sent here: for that, see `docs/typed.md`.
      requires_goodbye: whether a stream that ends without the peer's closing byte is an error, also
        between two messages.

    Raises:
      MissingExtra: checksums are wanted, and the package for them is not installed.
      TypeError: an argument has another type than is said here.
      ValueError: `max_nbytes` is negative, or there is no such version.

    Example:
      >>> async def main():
      ...     ours, theirs = memory_pair()
      ...     client = TypedChannel(ours, sends=str, receives=int)
      ...     server = TypedChannel(theirs, sends=int, receives=str)
      ...     async with client, server:
      ...         await client.send("how long is this?")
      ...         await server.send(len(await server.receive()))
      ...         return await client.receive()
      >>> trio.run(main)
      17

    Idea: `DuplexStreamTyped` of the Rust crate async-io-typed, which has one type for both.
    """

    @overload
    def __init__(
        self: TypedChannel[S, R],
        stream: ReadWrite | trio.abc.Stream,
        *,
        sends: Codec[S] | type[S],
        receives: Codec[R] | type[R],
        max_nbytes: SupportsIndex = ...,
        sends_checksums: bool = ...,
        checks_checksums: bool = ...,
        version: ProtocolVersion | int = ...,
        peer_version: ProtocolVersion | int | None = ...,
        requires_goodbye: bool = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        stream: ReadWrite | trio.abc.Stream,
        *,
        sends: object,
        receives: object,
        max_nbytes: SupportsIndex = ...,
        sends_checksums: bool = ...,
        checks_checksums: bool = ...,
        version: ProtocolVersion | int = ...,
        peer_version: ProtocolVersion | int | None = ...,
        requires_goodbye: bool = ...,
    ) -> None: ...

    def __init__(
        self,
        stream: ReadWrite | trio.abc.Stream,
        *,
        sends: object,
        receives: object,
        max_nbytes: SupportsIndex = MAX_MESSAGE_NBYTES,
        sends_checksums: bool = True,
        checks_checksums: bool = True,
        version: ProtocolVersion | int = ProtocolVersion.V2,
        peer_version: ProtocolVersion | int | None = ProtocolVersion.V2,
        requires_goodbye: bool = False,
    ) -> None:
        encoder: MessageEncoder[Any] = MessageEncoder(
            sends, max_nbytes=max_nbytes, sends_checksums=sends_checksums, version=version
        )
        self._own: BufStream[Any] | None = None
        if isinstance(stream, Buffering):
            both: Buffering[Any] = stream
        else:
            both = self._own = BufStream(stream, max_nbytes=room_for(encoder.max_nbytes))
        cutter = cutter_of(
            both._buffer, receives, max_nbytes, checks_checksums, peer_version, requires_goodbye
        )
        self._inner = stream
        self._receive_from(both, cutter)
        self._send_by(both, encoder)

    def __repr__(self) -> str:
        return (
            f"<TypedChannel that sends {self._encoder.codec!r} and "
            f"receives {self._cutter.codec!r}, over {self._inner!r}>"
        )

    @property
    def inner(self) -> Any:
        """The stream, as it was given; what goes past this is missing here."""
        return self._inner

    @property
    def memory_nbytes(self) -> int:
        """How many bytes of memory what has arrived, and what was not sent, keeps."""
        return self._reader._buffer.memory_nbytes + self._writer._held_nbytes()

    def optimize_memory_usage(self) -> None:
        """Copy what is in the buffers if that keeps less memory than where it lies.

        Seldom needed: a channel that waits keeps little anyway.

        Cost: one copy of what is in the buffers, if it is worth it.
        """
        self._reader._buffer.compact()
        self._writer._compact()

    async def into_inner(self) -> tuple[Any, BytesView]:
        """Send what is in the buffer, and give the stream back, open, with the bytes not read.

        The closing byte is not sent: `send_eof` before this does that. A `BufStream` that was given
        has the bytes that were not read itself.

        Raises:
          IntoInnerError: sending failed; the cause says why. This can still be used.
          trio.BusyResourceError: another task is sending or receiving.
          trio.ClosedResourceError: this was closed, or gave the stream back before.

        Cancellation: as `flush`; the stream was not given back.

        Idea: `into_inner` of the crate, which loses both.
        """
        if self._was_given_back:
            await checkpoint()
            self._refuse_now()
        if self._own is not None:
            given, unread = await self._own.into_inner()
        else:
            reader = self._reader
            if reader._is_receiving:
                await self._refuse_receiving()
            reader._is_receiving = True  # whoever comes while this waits shall not be cut off
            try:
                await emptied(self._writer)
            finally:
                reader._is_receiving = False
            given, unread = self._inner, self._reader._buffer.take(0)
        self._was_given_back = True
        return given, unread

    async def aclose(self) -> None:
        """Send what is in the buffer and the closing byte, and close the stream.

        Otherwise as `TypedSendChannel.aclose`. A task that is receiving gets
        `trio.ClosedResourceError`.
        """
        await SendsMessages.aclose(self)
