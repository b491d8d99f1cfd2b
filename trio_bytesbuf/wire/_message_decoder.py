"""`MessageDecoder`: typed messages without any stream or event loop: bytes in, values out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import attrs

from ..buffered import ReceiveBuffer
from ..seq._flat import count_of
from ._codec_of import codec_of
from ._format import MAX_MESSAGE_NBYTES, ProtocolVersion
from ._message_cutter import NEED_DATA, MessageCutter, Nothing

if TYPE_CHECKING:
    from typing import SupportsIndex

    from ..seq import BytesView
    from ..seq._flat import Buffer
    from ._codec import Codec

T = TypeVar("T")


def cutter_of(
    buffer: ReceiveBuffer,
    codec_or_type: object,
    max_nbytes: SupportsIndex,
    checks_checksums: bool,  # as its callers have it
    version: ProtocolVersion | int | None,
    requires_goodbye: bool,
) -> MessageCutter[Any]:
    """Check and put together what `MessageDecoder` and the channels are given."""
    limit = count_of(max_nbytes, "max_nbytes")
    codec = codec_of(codec_or_type, max_nbytes=max(1, limit))
    expected = None if version is None else ProtocolVersion(version)
    return MessageCutter(buffer, codec, limit, checks_checksums, expected, requires_goodbye)


@attrs.define(eq=False, init=False, repr=False)
class MessageDecoder(Generic[T]):
    """Takes bytes as they come and gives the values that they are messages of.

    Args:
      codec_or_type: a `Codec`, or the type of the values, which `Bincode` makes one of.
      max_nbytes: the most bytes that a message may have, however its length is written. The
        `Bincode` of a type is held to it as well.
      checks_checksums: whether to check the checksums that the peer sends, if it does. False needs
        no extra.
      version: which version of the protocol the peer speaks; None to find it out. Only the first
        bytes tell: `02 00 00 00` and a fifth byte are version 2, everything else is version 1, so
        `02 00 00 00` waits for a fifth byte, or for the end.
      requires_goodbye: whether a stream that ends without its closing byte is an error, also
        between two messages. The crate takes that for an end as good as any, and so do others that
        are closed in a hurry; but it can be cut off there by anybody.

    Two kinds of errors: `ChecksumMismatch` and what the codec raises are of one message, which is
    gone; call again for the next. Everything else ends the stream: what was not understood is still
    there, for `take_rest`, and the error is raised again whenever asked.

    Raises:
      MissingExtra: checksums are to be checked, and the package for that is not installed.
      TypeError: an argument has another type than is said here.
      ValueError: `max_nbytes` is negative, or there is no such version.

    Example:
      >>> decoder = MessageDecoder(str, max_nbytes=100)
      >>> decoder.feed(bytes.fromhex("020000000000000002 03026869 2b90bd96515beea0 fc"))
      >>> decoder.next_event(), decoder.next_event()
      ('hi', <MessageEvent.NEED_DATA: 1>)
      >>> decoder.version, decoder.checks_checksums
      (<ProtocolVersion.V2: 2>, True)
      >>> decoder.feed_eof()
      >>> decoder.next_event()
      Traceback (most recent call last):
      trio_bytesbuf._errors.UnexpectedEof: wanted 3 bytes, the stream ended after 1

    Idea: h11's `Connection`; `AsyncReadTyped` of the Rust crate async-io-typed.
    """

    _buffer: ReceiveBuffer
    _cutter: MessageCutter[T]

    @overload
    def __init__(
        self,
        codec_or_type: Codec[T] | type[T],
        *,
        max_nbytes: SupportsIndex = ...,
        checks_checksums: bool = ...,
        version: ProtocolVersion | int | None = ...,
        requires_goodbye: bool = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        codec_or_type: object,
        *,
        max_nbytes: SupportsIndex = ...,
        checks_checksums: bool = ...,
        version: ProtocolVersion | int | None = ...,
        requires_goodbye: bool = ...,
    ) -> None: ...

    def __init__(
        self,
        codec_or_type: object,
        *,
        max_nbytes: SupportsIndex = MAX_MESSAGE_NBYTES,
        checks_checksums: bool = True,
        version: ProtocolVersion | int | None = ProtocolVersion.V2,
        requires_goodbye: bool = False,
    ) -> None:
        self._buffer = ReceiveBuffer()
        self._cutter = cutter_of(
            self._buffer, codec_or_type, max_nbytes, checks_checksums, version, requires_goodbye
        )

    def __repr__(self) -> str:
        return f"<MessageDecoder of {self._cutter.codec!r}, {len(self._buffer)} bytes waiting>"

    @property
    def version(self) -> ProtocolVersion | None:
        """The version that the peer speaks; None as long as nothing that arrived tells."""
        return self._cutter.version

    @property
    def checks_checksums(self) -> bool:
        """Whether messages are checked. Becomes False when the peer says that it sends none."""
        return self._cutter.checks_checksums

    @property
    def buffered_nbytes(self) -> int:
        """How many bytes were fed and not given away."""
        return len(self._buffer)

    def feed(self, data: BytesView | Buffer) -> None:
        """Put what has arrived behind what is there. Of mutable buffers a copy is made.

        Raises:
          ValueError: the end was fed before.
          TypeError: `data` is no view and no buffer.

        Cost: proportional to the number of pieces.
        """
        if self._cutter.is_eof:
            raise ValueError("the end was fed, and nothing comes after it")
        self._buffer.feed(data)

    def feed_eof(self) -> None:
        """Say that nothing more will come. Twice is harmless."""
        self._cutter.feed_eof()

    def next_event(self) -> T | Nothing:
        """Return the next message, or what keeps it from being there.

        Returns:
          `MessageEvent.END` behind the closing byte, and where the stream ends between messages.

        Raises:
          ChecksumMismatch: the message is not as it was sent; it is gone.
          DecodeError: it is no value of the type; it is gone. Codecs may raise others.
          MessageTooLarge: it announces more bytes than are allowed.
          ProtocolVersionMismatch: the peer speaks another version, or another protocol.
          ChecksumHandshakeFailed: the peer does not say whether it sends checksums.
          UnexpectedEof: the end was fed in the middle of a message or of the header; or, if that is
            required, before the closing byte.

        Cost: of payloads up to 16 KiB one copy; of larger ones none, or one if they lie in several
        pieces or are checked.
        """
        item = self._cutter.take()
        if item is NEED_DATA:
            self._buffer.settle()  # whoever feeds this waits for a peer now
        return item

    def next_events(self, max_items: SupportsIndex | None = None) -> list[T]:
        """Return the messages that are there, at most `max_items`; an empty list if there is none.

        As `receive_batch` of a channel: 150 if not given, and some 128 KiB. An empty list does not
        tell whether the stream has ended: `next_event` does.

        Raises:
          ValueError: `max_items` is below 1.
          As `next_event`; but what comes before the error is returned first.

        Cost: a third of what as many `next_event` cost, and the codec's work.
        """
        items = self._cutter.take_batch(self._cutter.batch_items(max_items))
        if not items:
            self._buffer.settle()
        return items

    def take_rest(self) -> BytesView:
        """Take what was fed and not given away: for who speaks another protocol from here on."""
        return self._buffer.take_all()
