"""`TypedReceiveChannel`: trio's channel of the values that a peer sends over a stream.

Law 1. A channel holds no bytes: messages are cut out of the reader's buffer when they are given
       away. So nothing is lost when a task is cancelled, and what follows the end is the reader's.
Law 2. What goes wrong with one message is raised once, in its turn; the channel goes on behind it.
       What ends the stream is raised by every call from then on.
Law 3. `receive`, and each step of ``async for``, is a checkpoint for each message, as trio has it.
       What is quick is a batch, one checkpoint for all messages at hand, and `try_receive`, none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, Self, TypeVar, overload

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from ..buffered import BufReader
from ..buffered._filling import check_filling
from ..buffered._reading import Reading
from ._format import MAX_MESSAGE_NBYTES, ProtocolVersion
from ._message_cutter import NEED_DATA, OVER, MessageCutter, check_message_cutter
from ._message_decoder import cutter_of

if TYPE_CHECKING:
    from typing import SupportsIndex

    from ..io import Read
    from ..seq import BytesView
    from ._codec import Codec

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Default = TypeVar("Default")

NO_MORE: Final = "the peer has no more to say"


class ReceivesMessages(trio.abc.ReceiveChannel[T_co], Generic[T_co]):
    """The receiving half of `TypedReceiveChannel` and `TypedChannel`."""

    _reader: Reading
    _cutter: MessageCutter[T_co]
    _was_given_back: bool

    def _receive_from(self, reader: Reading, cutter: MessageCutter[T_co]) -> None:
        """Receive from `reader` from now on; a part of a constructor."""
        self._reader = reader
        self._cutter = cutter
        self._was_given_back = False

    # What is known of the peer

    @property
    def peer_version(self) -> ProtocolVersion | None:
        """The version of the protocol that the peer speaks; None as long as nothing tells."""
        return self._cutter.version

    @property
    def checks_checksums(self) -> bool:
        """Whether messages are checked. Becomes False when the peer says that it sends none."""
        return self._cutter.checks_checksums

    # Who may receive

    def _refuse_receiving_now(self) -> NoReturn:
        """Raise what keeps this side from being claimed, without a checkpoint."""
        if self._was_given_back:  # whoever has it now may be receiving; that is not our affair
            raise trio.ClosedResourceError(f"this {type(self).__name__} gave its stream back")
        self._reader._refuse_reading_now()

    async def _refuse_receiving(self) -> NoReturn:
        """Raise what keeps this side from being claimed."""
        if self._was_given_back or not self._reader._is_receiving:
            await checkpoint()
        self._refuse_receiving_now()

    # Receiving

    @overload
    def try_receive(self) -> T_co | None: ...

    @overload
    def try_receive(self, default: Default) -> T_co | Default: ...

    def try_receive(self, default: object = None) -> object:
        """Return the next message if all of it is in the buffer, else `default`; never waits.

        Args:
          default: something that is no message, where None can be one.

        That there is none says nothing of the end: `receive` does.

        Raises:
          trio.BusyResourceError: a task is receiving.
          trio.ClosedResourceError: this was closed.
          As `receive`, of what is wrong with a message or the stream.

        Cost: no checkpoint.
        """
        reader = self._reader
        if reader._is_receiving or reader._is_closed or self._was_given_back:
            self._refuse_receiving_now()
        item = self._cutter.take()
        return default if item is NEED_DATA or item is OVER else item

    async def receive(self) -> T_co:
        """Wait until a whole message has arrived and return its value.

        Raises:
          trio.EndOfChannel: the peer said goodbye; or its stream has ended between two messages,
            unless that is not to count.
          ChecksumMismatch: the message is not as it was sent. It is gone; receive the next.
          DecodeError: the message is no value of the type. It is gone; receive the next. Codecs may
            raise others.
          MessageTooLarge: the message announces more bytes than are allowed.
          ProtocolVersionMismatch: the peer speaks another version, or another protocol.
          ChecksumHandshakeFailed: the peer does not say whether it sends checksums.
          UnexpectedEof: the stream has ended in the middle of a message, or of the header.
          trio.BusyResourceError: another task is receiving.
          trio.ClosedResourceError: this was closed, here or by another task.
          trio.BrokenResourceError: the connection is gone.

        From `MessageTooLarge` to `UnexpectedEof`, messages cannot be told apart any more: the same
        is raised again whenever asked. Close.

        Cancellation: resumable. No message is lost, nor what is wrong with one.
        """
        reader = self._reader
        if reader._is_receiving or reader._is_closed or self._was_given_back:
            await self._refuse_receiving()
        reader._is_receiving = True
        cutter = self._cutter
        try:
            try:
                item = cutter.look()
            except Exception:
                await checkpoint()  # the peer may have sent many of these
                reader._refuse_if_closed()  # by another task
                cutter.pass_by()
                raise
            if item is not NEED_DATA:
                await checkpoint()
                reader._refuse_if_closed()  # by another task
                cutter.pass_by()
            while item is NEED_DATA:
                if not await reader._fill():
                    cutter.feed_eof()
                item = cutter.take()
            if item is OVER:
                raise trio.EndOfChannel(NO_MORE)
            return item
        finally:
            cutter._seen_nbytes = 0  # if this was cancelled, it is looked at again
            reader._is_receiving = False

    async def receive_batch(self, max_items: SupportsIndex | None = None) -> list[T_co]:
        """Wait until there is a whole message, and return all that are there, for one checkpoint.

        Args:
          max_items: the most messages to return, at least 1; if not given, 150. A batch ends with
            the message that brings it to 128 KiB anyway, and may end at 32.

        Returns:
          At least one value.

        Raises:
          As `receive`, but what comes before an error is returned first.

        Cancellation: resumable. No message is lost, nor what is wrong with one.
        """
        cutter = self._cutter
        count = cutter.batch_items(max_items)
        reader = self._reader
        if reader._is_receiving or reader._is_closed or self._was_given_back:
            await self._refuse_receiving()
        reader._is_receiving = True
        try:
            await checkpoint_if_cancelled()
            try:
                items = cutter.take_batch(count)
            except Exception:
                await cancel_shielded_checkpoint()  # the peer may have sent many of these
                raise
            if items or cutter.is_over:
                try:
                    await cancel_shielded_checkpoint()
                except MemoryError:  # it is out of the buffer: give it away all the same
                    if items:
                        return items
                    raise
            while not (items or cutter.is_over):
                if not await reader._fill():
                    cutter.feed_eof()
                items = cutter.take_batch(count)
            if not items:
                raise trio.EndOfChannel(NO_MORE)
            return items
        finally:
            reader._is_receiving = False

    def batches(self, max_items: SupportsIndex | None = None) -> MessageBatches[T_co]:
        """Return an async iterator over lists of messages, until the peer has no more to say.

        Each step equals `receive_batch(max_items)`, with its errors.

        Cancellation: resumable. No message is lost; iterate again to go on.
        """
        return MessageBatches(self, self._cutter.batch_items(max_items))


class MessageBatches(Generic[T_co]):
    """Lists of messages, each of what is at hand and never empty; made by `batches`."""

    def __init__(self, channel: ReceivesMessages[T_co], max_items: int) -> None:
        self._channel = channel
        self._max_items = max_items

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[T_co]:
        try:
            return await self._channel.receive_batch(self._max_items)
        except trio.EndOfChannel:
            raise StopAsyncIteration from None


class TypedReceiveChannel(ReceivesMessages[T_co]):
    """Receives typed values over any stream: the reading end of the Rust crate async-io-typed.

    A `trio.abc.ReceiveChannel`. Closing it closes the stream.

    Args:
      source: a trio stream, or a `Read`. A `BufReader` or `BufStream` is used as it is: what is in
        its buffer comes first, and what comes behind the end is still in it.
      codec_or_type: a `Codec`, or the type of the values, which `Bincode` makes one of.
      max_nbytes: the most bytes that a message may have, however its length is written.
      checks_checksums: whether to check the checksums that the peer sends, if it does. False needs
        no extra.
      peer_version: which version of the protocol the peer speaks; None to find it out, as
        `MessageDecoder` does.
      requires_goodbye: whether a stream that ends without its closing byte is an error, also
        between two messages.

    Raises:
      MissingExtra: checksums are to be checked, and the package for that is not installed.
      TypeError: an argument has another type than is said here.
      ValueError: `max_nbytes` is negative, or there is no such version.

    Example:
      >>> async def main():
      ...     source = FakeRead(bytes.fromhex("020000000000000003 03026869 0403616c6c 00"))
      ...     async with TypedReceiveChannel(source, str) as channel:
      ...         print(await channel.receive())
      ...         async for batch in channel.batches():
      ...             print(batch)
      >>> trio.run(main)
      hi
      ['all']

    Idea: `AsyncReadTyped` of the Rust crate async-io-typed.
    """

    @overload
    def __init__(
        self: TypedReceiveChannel[T],
        source: Read | trio.abc.ReceiveStream,
        codec_or_type: Codec[T] | type[T],
        *,
        max_nbytes: SupportsIndex = ...,
        checks_checksums: bool = ...,
        peer_version: ProtocolVersion | int | None = ...,
        requires_goodbye: bool = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        source: Read | trio.abc.ReceiveStream,
        codec_or_type: object,
        *,
        max_nbytes: SupportsIndex = ...,
        checks_checksums: bool = ...,
        peer_version: ProtocolVersion | int | None = ...,
        requires_goodbye: bool = ...,
    ) -> None: ...

    def __init__(
        self,
        source: Read | trio.abc.ReceiveStream,
        codec_or_type: object,
        *,
        max_nbytes: SupportsIndex = MAX_MESSAGE_NBYTES,
        checks_checksums: bool = True,
        peer_version: ProtocolVersion | int | None = ProtocolVersion.V2,
        requires_goodbye: bool = False,
    ) -> None:
        reader = source if isinstance(source, Reading) else BufReader(source)
        cutter = cutter_of(
            reader._buffer,
            codec_or_type,
            max_nbytes,
            checks_checksums,
            peer_version,
            requires_goodbye,
        )
        self._receive_from(reader, cutter)
        self._inner = source

    def __repr__(self) -> str:
        return f"<TypedReceiveChannel of {self._cutter.codec!r} over {self._inner!r}>"

    @property
    def inner(self) -> Any:
        """The source, as it was given. What is read of it by itself is missing here."""
        return self._inner

    @property
    def memory_nbytes(self) -> int:
        """How many bytes of memory what has arrived keeps; blocks count whole, each once."""
        return self._reader._buffer.memory_nbytes

    def optimize_memory_usage(self) -> None:
        """Copy what has arrived if that keeps less memory than where it lies.

        Seldom needed: a channel that waits keeps little anyway, and none of what it gave away.

        Cost: one copy of what is in the buffer, if it is worth it.
        """
        self._reader._buffer.compact()

    def into_inner(self) -> tuple[Any, BytesView]:
        """Give the source back, open, with the bytes that were received and not read; this is over.

        A `BufReader` or `BufStream` that was given has those bytes itself.

        Raises:
          trio.BusyResourceError: a task is receiving.
          trio.ClosedResourceError: this was closed, or gave the source back before.

        Idea: `into_inner` of the crate, which loses the bytes.
        """
        reader = self._reader
        if reader._is_receiving or reader._is_closed or self._was_given_back:
            self._refuse_receiving_now()
        self._was_given_back = True
        buffer = reader._buffer
        return self._inner, buffer.take(0 if reader is self._inner else len(buffer))

    async def aclose(self) -> None:
        """Close the stream, unless it was given back. Cancellation: it is closed all the same."""
        if self._was_given_back:
            await checkpoint()
        else:
            await self._reader.aclose()


def check_receives_messages(channel: ReceivesMessages[Any]) -> None:
    """Raise AssertionError if a law of this file, or of what it stands on, is broken."""
    check_filling(channel._reader)
    check_message_cutter(channel._cutter)
    assert channel._cutter._buffer is channel._reader._buffer, "Law 1: bytes beside the buffer"
    is_looking = channel._reader._is_receiving
    assert is_looking or not channel._cutter._seen_nbytes, "Law 1: seen, and not taken"
