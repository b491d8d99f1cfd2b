"""`TypedSendChannel`: trio's channel of values, which go over a stream as messages.

Law 1. A message is in the writer's buffer whole, or not at all; and what is in there is sent, in
       order, once. So no cancelled send leaves a part of one to what is sent next.
Law 2. What is refused (too large, no value of the type, no room) has changed nothing: not even the
       header counts as sent.
Law 3. A stream that is closed in peace ends in the closing byte, behind everything that was taken.
       One that is closed by force does not: what was half said is not to be taken for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, overload

import trio
from trio.lowlevel import checkpoint, checkpoint_if_cancelled

from ..buffered import BufWriter
from ..buffered._writer import MAX_NBYTES, IntoInnerError
from ..buffered._writing import HIGH_WATER_NBYTES, Writing, check_writing
from ..io._trio_sides import SendsEof
from ..seq import BytesView
from ._format import MAX_MESSAGE_NBYTES, OVERHEAD_NBYTES, ProtocolVersion
from ._message_encoder import MessageEncoder, check_message_encoder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import SupportsIndex

    from ..io import Write
    from ._codec import Codec

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class SendsMessages(trio.abc.SendChannel[T_contra]):
    """The sending half of `TypedSendChannel` and `TypedChannel`."""

    _writer: Writing
    _encoder: MessageEncoder[T_contra]
    _was_given_back: bool

    def _send_by(self, writer: Writing, encoder: MessageEncoder[T_contra]) -> None:
        """Send by way of `writer` from now on; a part of a constructor."""
        self._writer = writer
        self._encoder = encoder
        self._was_given_back = False

    # What the peer is told

    @property
    def version(self) -> ProtocolVersion:
        """The version of the protocol that is spoken."""
        return self._encoder.version

    @property
    def sends_checksums(self) -> bool:
        """Whether a checksum follows each message. That the peer checks it nobody says."""
        return self._encoder.sends_checksums

    # What is in the buffer

    @property
    def unsent_nbytes(self) -> int:
        """How many bytes of messages were taken and, as far as is known, not sent."""
        return self._writer.unsent_nbytes

    @property
    def wants_drain(self) -> bool:
        """Whether there is more in the buffer than the high water mark: time for `drain`."""
        return self._writer.wants_drain

    # Who may send

    def _refuse_now(self) -> NoReturn:
        """Raise what keeps a message from being taken, without a checkpoint."""
        if self._was_given_back:
            raise trio.ClosedResourceError(f"this {type(self).__name__} gave its stream back")
        if self._encoder.is_ended and not self._writer._is_closed:
            raise trio.ClosedResourceError("the goodbye was said, and nothing comes after it")
        self._writer._refuse_writing_now()

    async def _claim(self) -> None:
        """Claim the sending side, or raise what keeps it from being claimed.

        Cancelled, nothing was claimed.
        """
        writer = self._writer
        if (writer._is_sending or writer._is_closed) and not self._was_given_back:
            await writer._refuse_sending()
        if self._was_given_back:
            await checkpoint()
            self._refuse_now()
        await checkpoint_if_cancelled()
        writer._is_sending = True

    def _put(self, value: T_contra) -> None:
        """Put a message into the buffer, whatever is in there: who calls this waits for it."""
        self._writer._put_to_send((self._encoder.message_of(value),))
        self._encoder.has_said_something()

    def _put_header(self) -> None:
        """Put the header into the buffer, however full that is, if nothing was said before."""
        if not self._has_ended() and (header := self._encoder.header_due()):
            self._writer._put(BytesView(header))
            self._encoder.has_said_something()

    def _put_goodbye(self) -> None:
        """Put the closing byte into the buffer, however full that is, if it was not put before."""
        if not self._has_ended():
            self._writer._put(BytesView(self._encoder.goodbye_due()))
            self._encoder.has_said_goodbye()

    def _has_ended(self) -> bool:
        """Say whether nothing can be put into the buffer any more."""
        writer = self._writer
        is_over = writer._is_closed or writer._is_spoiled or writer._is_end_announced
        return is_over or self._encoder.is_ended

    # Sending

    def feed(self, value: T_contra) -> None:
        """Put a message into the buffer; `flush`, or the next `send`, sends it. Never waits.

        What is not above the high water mark has room for a message of any size that is allowed,
        so whoever calls `drain` now and then is never refused.

        Raises:
          MessageTooLarge: the message has more bytes than are allowed.
          EncodeError: the value cannot be written as the type that it should have. Codecs may raise
            others.
          BufferFull: the buffer has no room for it.
          trio.ClosedResourceError: this was closed, or the goodbye said.
          trio.BrokenResourceError: an earlier flush was cancelled or failed, over a stream that
            does not say how much it has sent.

        Whatever is raised, nothing was taken, and others can be fed.

        Cost: the codec's work, the checksum, and one copy up to 16 KiB.
        """
        writer, encoder = self._writer, self._encoder
        if writer._is_closed or encoder.is_ended or self._was_given_back:
            self._refuse_now()
        writer.write(encoder.message_of(value))
        encoder.has_said_something()

    async def send(self, value: T_contra) -> None:
        """Send a message, and all that is in the buffer before it.

        Takes a message also where `feed` has no room, since the caller waits.

        Raises:
          MessageTooLarge, EncodeError: as `feed`; nothing was sent.
          BufferFull: the buffer is full of messages from sends that were cancelled; flush first.
          trio.BusyResourceError: another task is sending.
          trio.ClosedResourceError: this was closed, here or by another task, or the goodbye said.
          trio.BrokenResourceError: the connection is gone; or as `feed`.

        Cancellation: if it is cancelled before it has begun, nothing was done. Once it has to wait,
        the message counts as sent: what the peer has not got stays in the buffer, in order. Call
        `flush` to go on, and never send the value again. Who has to know which of the two it was
        calls `feed`, which takes the message or raises, and then `flush`, which can be repeated.
        Over TLS and streams of others, which do not say how far they are, a cancelled send
        *spoils*: close this, nothing more is sent.

        Cost: as `feed`, and one system call if the peer keeps up.
        """
        await self._claim()
        writer = self._writer
        try:
            if self._encoder.is_ended:
                self._refuse_now()
            self._put(value)
            await writer._flush(writer._buffered_nbytes)
        finally:
            writer._is_sending = False

    async def send_many(self, values: Iterable[T_contra]) -> None:
        """Send several messages at once; else as `send`. If one is refused none is sent.

        Args:
          values: all of them are encoded before anything is sent.

        Cancellation: as `send`, of all of them.
        """
        await self._claim()
        writer, encoder = self._writer, self._encoder
        try:
            if encoder.is_ended:
                self._refuse_now()
            parts = encoder.messages_of(values)
            writer._put_to_send(parts)
            if parts:
                encoder.has_said_something()
            del parts
            await writer._flush(writer._buffered_nbytes)
        finally:
            writer._is_sending = False

    async def flush(self) -> None:
        """Send what is in the buffer now, and the header if nothing was sent before.

        Raises:
          As `send`, but for what is wrong with a message.

        Cancellation: *resumable* over sockets, pipes, files and guards of them: call it again.
        *Spoils* over TLS and streams of others.

        Cost: one system call if the peer keeps up.
        """
        await self._claim()
        writer = self._writer
        try:
            self._put_header()
            await writer._flush(writer._buffered_nbytes)
        finally:
            writer._is_sending = False

    async def drain(self) -> None:
        """If more than the high water mark is in the buffer, send until it is the low one.

        Raises:
          As `flush`; but where nothing has to be sent, a flush of another task is no hindrance.

        Cancellation: as `flush`.
        """
        if self._was_given_back:
            await checkpoint()
            self._refuse_now()
        await self._writer.drain()

    # The end

    async def send_eof(self) -> None:
        """Say goodbye: send what is in the buffer and the closing byte. Receiving goes on.

        Where the stream has a `send_eof`, that comes behind it. Twice is harmless.

        Raises:
          As `flush`.

        Cancellation: as `flush`; the goodbye counts as said, and nothing can be sent any more but
        by calling this again.
        """
        await self._claim()
        writer = self._writer
        try:
            self._put_goodbye()
            await writer._flush(writer._buffered_nbytes)
            if isinstance(writer, SendsEof):
                await writer._send_eof()
        finally:
            writer._is_sending = False

    async def aclose(self) -> None:
        """Send what is in the buffer and the closing byte, and close the stream.

        Waits for that, and for another task that is sending, as long as the peer takes: put a
        timeout around it where peers may be stuck. A stream that was given back stays open.

        Raises:
          trio.BrokenResourceError, trio.ClosedResourceError: not all messages could be sent: the
            peer is gone, or the stream was closed beneath this. It is closed all the same. That
            only the goodbye could not be said is no error.

        Cancellation: it is closed all the same; what was not sent is dropped, and the peer can
        tell, as the closing byte comes last. `trio.aclose_forcefully` sends nothing; nor does the
        end of an ``async with`` block that an error ends.
        """
        if self._was_given_back:
            await checkpoint()
            return
        writer = self._writer
        unsent_nbytes = writer.unsent_nbytes
        is_silent = not unsent_nbytes
        is_untold = writer._is_spoiled and not (writer._is_broken or writer._is_closed or is_silent)
        self._put_goodbye()
        try:
            await writer.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            if not is_silent:
                raise
        if is_untold:
            await checkpoint_if_cancelled()  # who closes by force knows
            raise trio.BrokenResourceError(
                f"{unsent_nbytes} bytes of messages may not have been sent: an earlier flush was "
                "cancelled, over a stream that does not say how much it has sent"
            )

    async def __aexit__(self, *exc_info: object) -> None:
        if exc_info[0] is None:
            await self.aclose()
        else:  # what was to be said may be half said, and the peer must not take it for all
            await trio.aclose_forcefully(self)


def room_for(max_nbytes: int) -> int:
    """Return how much a buffer holds that takes any message while it is not to be drained."""
    return max(MAX_NBYTES, HIGH_WATER_NBYTES + max_nbytes + OVERHEAD_NBYTES)


class TypedSendChannel(SendsMessages[T_contra]):
    """Sends typed values over any stream: the writing end of the Rust crate async-io-typed.

    A `trio.abc.SendChannel`. Closing it sends what is in the buffer and the closing byte, and
    closes the stream.

    Args:
      sink: a trio stream, or a `Write`. A `BufWriter` or `BufStream` is used as it is: what is in
        its buffer goes first, and its marks are those of `feed` and `drain`.
      codec_or_type: a `Codec`, or the type of the values, which `Bincode` makes one of.
      max_nbytes: the most bytes that a message may have.
      sends_checksums: whether a checksum follows each message; a peer that checks none reads over
        them. False needs no extra. In version 1 there are none.
      version: which version of the protocol to speak. Only a receiver can find out what its peer
        speaks.

    Raises:
      MissingExtra: checksums are to be sent, and the package for that is not installed.
      TypeError: an argument has another type than is said here.
      ValueError: `max_nbytes` is negative, or there is no such version.

    Example:
      >>> async def main():
      ...     sink = FakeWrite()
      ...     async with TypedSendChannel(sink, str, sends_checksums=False) as channel:
      ...         await channel.send("hi")
      ...         channel.feed("all")
      ...     return sink.contents.to_bytes().hex(" ", -9)
      >>> trio.run(main)
      '020000000000000003 030268690403616c6c 00'

    Idea: `AsyncWriteTyped` of the Rust crate async-io-typed.
    """

    @overload
    def __init__(
        self: TypedSendChannel[T],
        sink: Write | trio.abc.SendStream,
        codec_or_type: Codec[T] | type[T],
        *,
        max_nbytes: SupportsIndex = ...,
        sends_checksums: bool = ...,
        version: ProtocolVersion | int = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        sink: Write | trio.abc.SendStream,
        codec_or_type: object,
        *,
        max_nbytes: SupportsIndex = ...,
        sends_checksums: bool = ...,
        version: ProtocolVersion | int = ...,
    ) -> None: ...

    def __init__(
        self,
        sink: Write | trio.abc.SendStream,
        codec_or_type: object,
        *,
        max_nbytes: SupportsIndex = MAX_MESSAGE_NBYTES,
        sends_checksums: bool = True,
        version: ProtocolVersion | int = ProtocolVersion.V2,
    ) -> None:
        encoder: MessageEncoder[Any] = MessageEncoder(
            codec_or_type, max_nbytes=max_nbytes, sends_checksums=sends_checksums, version=version
        )
        own = None
        if not isinstance(sink, Writing):
            own = BufWriter(sink, max_nbytes=room_for(encoder.max_nbytes))
        self._own = own
        self._inner = sink
        self._send_by(sink if own is None else own, encoder)  # type: ignore[arg-type]  # a Writing

    def __repr__(self) -> str:
        return f"<TypedSendChannel of {self._encoder.codec!r} over {self._inner!r}>"

    @property
    def inner(self) -> Any:
        """The sink, as it was given. What is sent to it by itself comes before what is buffered."""
        return self._inner

    @property
    def memory_nbytes(self) -> int:
        """How many bytes of memory what was not sent keeps; objects count whole, each once."""
        return self._writer._held_nbytes()

    def optimize_memory_usage(self) -> None:
        """Copy what was not sent if that keeps less memory than where it lies.

        Seldom needed: what was sent keeps none. Does nothing while a task is sending.

        Cost: one copy of what is in the buffer, if it is worth it.
        """
        self._writer._compact()

    async def into_inner(self) -> Any:
        """Send what is in the buffer, and give the sink back, open; this is over.

        The closing byte is not sent: `send_eof` before this does that.

        Raises:
          IntoInnerError: sending failed; the cause says why. This can still be used.
          trio.BusyResourceError: another task is sending.
          trio.ClosedResourceError: this was closed, or gave the sink back before.

        Cancellation: as `flush`; the sink was not given back.

        Idea: `into_inner` of the crate, which loses what was fed.
        """
        if self._was_given_back:
            await checkpoint()
            self._refuse_now()
        if self._own is None:
            await emptied(self._writer)
        else:
            await self._own.into_inner()
        self._was_given_back = True
        return self._inner


async def emptied(writer: Writing) -> None:
    """Send what is in the buffer of a writer that somebody else goes on with.

    Raises:
      IntoInnerError: sending failed.
      trio.BusyResourceError, trio.ClosedResourceError: as `flush`.
    """
    try:
        await writer.flush()
        while writer.unsent_nbytes:  # what was written meanwhile
            await writer.flush()
    except (trio.BusyResourceError, trio.ClosedResourceError):
        raise
    except Exception as exc:
        raise IntoInnerError(writer, writer.unsent) from exc


def check_sends_messages(channel: SendsMessages[Any]) -> None:
    """Raise AssertionError if a law of this file, or of what it stands on, is broken."""
    check_writing(channel._writer)
    check_message_encoder(channel._encoder)
    was_closed = channel._writer._is_closed
    assert not was_closed or not channel._writer._queue, "what was not sent outlives the end"
