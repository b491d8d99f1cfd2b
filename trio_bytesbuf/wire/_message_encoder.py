"""`MessageEncoder`: typed messages without any stream: values in, bytes out.

    BEFORE ---> MESSAGES ---> ENDED        BEFORE ---> ENDED: a header, and a goodbye

Law 1. What is refused (too large, no value of the type) has changed nothing.
Law 2. The header stands in front of whatever is said first, once.
Law 3. Nothing is said after the goodbye.
"""

from __future__ import annotations

import enum
import struct
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

import attrs

from .._errors import MessageTooLarge
from ..seq import BytesView
from ..seq._flat import count_of, flat
from ._checksum import KEY, siphash_for
from ._codec_of import codec_of
from ._format import (
    GOODBYE,
    MAX_MESSAGE_NBYTES,
    ONE_BYTE,
    U16,
    ProtocolVersion,
    header_of,
    length_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import SupportsIndex

    from ._codec import Codec

T = TypeVar("T")

JOINED_NBYTES: Final = 16_384
"""Payloads up to here are copied behind their length; larger ones are sent from where they lie."""

_CHECKSUM: Final = struct.Struct("<Q").pack


class State(enum.Enum):
    """Where in its stream an encoder is."""

    BEFORE = "before anything was said"
    MESSAGES = "between messages"
    ENDED = "behind the goodbye"


_BEFORE: Final = State.BEFORE
_MESSAGES: Final = State.MESSAGES
_ENDED: Final = State.ENDED
"""To look a member up, or to hash one, may take memory."""

TRANSITIONS: Final = {
    State.BEFORE: {State.MESSAGES, State.ENDED},
    State.MESSAGES: {State.MESSAGES, State.ENDED},
    State.ENDED: frozenset[State](),
}


@attrs.define(eq=False, init=False, repr=False)
class MessageEncoder(Generic[T]):
    """Makes of values the bytes that a peer makes the same values of.

    Args:
      codec_or_type: a `Codec`, or the type of the values, which `Bincode` makes one of.
      max_nbytes: the most bytes that a message may have.
      sends_checksums: whether a checksum follows each message. A peer that checks none reads over
        them. False needs no extra. In version 1 there are none.
      version: which version of the protocol to speak: 2 is that of the crates 2 and 3.

    Raises:
      MissingExtra: checksums are to be sent, and the package for that is not installed.
      TypeError: an argument has another type than is said here.
      ValueError: `max_nbytes` is negative, or there is no such version.

    Example:
      >>> encoder = MessageEncoder(str)
      >>> encoder.encode("hi").hex(" ", -8)
      '0200000000000000 02030268692b90bd 96515beea0'
      >>> encoder.encode_end()
      b'\\x00'

    Idea: `AsyncWriteTyped` of the Rust crate async-io-typed.
    """

    codec: Codec[T]
    """What turns a value into bytes."""

    max_nbytes: int
    """The most bytes that a message may have."""

    version: ProtocolVersion
    """The version that is spoken."""

    _encode: Callable[[T], Any]
    _short_nbytes: int
    _header: bytes
    _state: State
    _siphash: Callable[[bytes, bytes], int] | None

    @overload
    def __init__(
        self,
        codec_or_type: Codec[T] | type[T],
        *,
        max_nbytes: SupportsIndex = ...,
        sends_checksums: bool = ...,
        version: ProtocolVersion | int = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        codec_or_type: object,
        *,
        max_nbytes: SupportsIndex = ...,
        sends_checksums: bool = ...,
        version: ProtocolVersion | int = ...,
    ) -> None: ...

    def __init__(
        self,
        codec_or_type: object,
        *,
        max_nbytes: SupportsIndex = MAX_MESSAGE_NBYTES,
        sends_checksums: bool = True,
        version: ProtocolVersion | int = ProtocolVersion.V2,
    ) -> None:
        self.max_nbytes = count_of(max_nbytes, "max_nbytes")
        self.codec = codec_of(codec_or_type, max_nbytes=max(1, self.max_nbytes))
        self._encode = self.codec.encode
        self._short_nbytes = min(self.max_nbytes, U16 - 1)
        self.version = ProtocolVersion(version)
        has_checksums = sends_checksums and self.version is not ProtocolVersion.V1
        self._siphash = siphash_for("sending checksums") if has_checksums else None
        self._header = header_of(self.version, has_checksums=has_checksums)
        self._state = State.BEFORE

    def __repr__(self) -> str:
        return f"<MessageEncoder of {self.codec!r}, {self._state.value}>"

    @property
    def sends_checksums(self) -> bool:
        """Whether a checksum follows each message."""
        return self._siphash is not None

    @property
    def is_ended(self) -> bool:
        """Whether the goodbye was said."""
        return self._state is State.ENDED

    def encode(self, value: T) -> bytes:
        """Return the message of a value, behind the header if it is the first.

        What is returned counts as said: send it, before whatever comes next.

        Raises:
          MessageTooLarge: it has more bytes than are allowed.
          EncodeError: the value cannot be written as the type that it should have. Codecs may raise
            others.
          ValueError: the end was encoded before.

        Whatever is raised, nothing was said, and others can be encoded.

        Cost: one copy of the payload, beside the codec's work and the checksum.
        """
        data = self.message_of(value)
        self.has_said_something()
        return data if type(data) is bytes else bytes(data)

    def encode_many(self, values: Iterable[T]) -> bytes:
        """Return the messages of all values, one after the other; if one is refused, of none.

        Otherwise as `encode`. Of no values, nothing, and no header.
        """
        data = b"".join(map(bytes, self.messages_of(values)))
        if data:
            self.has_said_something()
        return data

    def encode_header(self) -> bytes:
        """Return the header if nothing was said before, else nothing.

        For who has nothing to say yet, and a peer that waits for it.

        Raises:
          ValueError: the end was encoded before.
        """
        header = self.header_due()
        self.has_said_something()
        return header

    def encode_end(self) -> bytes:
        """Return the closing byte, behind the header if nothing was said before.

        Raises:
          ValueError: the end was encoded before.
        """
        data = self.goodbye_due()
        self.has_said_goodbye()
        return data

    # For who can only tell later whether it was said

    def header_due(self) -> bytes:
        """Return what has to stand before what is said next."""
        if self._state is State.MESSAGES:
            return b""
        if self._state is State.ENDED:
            raise ValueError("the end was encoded, and nothing comes after it")
        return self._header

    def has_said_something(self) -> None:
        """Count what was made last as said. It is on its way: so nothing here may lack memory."""
        if self._state is _BEFORE:
            self._state = _MESSAGES
        elif self._state is not _MESSAGES:
            self._go_to(_MESSAGES)

    def goodbye_due(self) -> bytes:
        """Do what `encode_end` does, but count nothing as said."""
        return self.header_due() + GOODBYE

    def has_said_goodbye(self) -> None:
        """Count the goodbye as said. As `has_said_something`, this takes no memory."""
        self._state = _ENDED

    def message_of(self, value: T) -> bytes | BytesView:
        """Do what `encode` does, but count nothing as said; large payloads are not copied."""
        made = self._encode(value)  # first: what it calls may have said something itself
        return self._framed(b"" if self._state is State.MESSAGES else self.header_due(), made)

    def messages_of(self, values: Iterable[T]) -> list[bytes | BytesView]:
        """Do what `encode_many` does, but count nothing as said."""
        all_made = [self._encode(value) for value in values]  # first, as in `message_of`
        before = self.header_due()
        parts: list[bytes | BytesView] = []
        for made in all_made:
            parts.append(self._framed(before, made))
            before = b""
        return parts

    def _framed(self, before: bytes, made: Any) -> bytes | BytesView:
        """Return what a codec has made as a message, behind some bytes."""
        siphash = self._siphash
        if type(made) is bytes and 0 < (nbytes := len(made)) <= self._short_nbytes:
            if siphash is None:  # the common case, written out
                return before + ONE_BYTE[nbytes] + made
            return b"".join((before, ONE_BYTE[nbytes], made, _CHECKSUM(siphash(KEY, made))))
        payload = made if isinstance(made, (bytes, BytesView)) else bytes(flat(made))
        nbytes = len(payload)
        if nbytes > self.max_nbytes:
            raise MessageTooLarge(limit=self.max_nbytes, arrived=0, nbytes=nbytes, direction="sent")
        before += length_of(nbytes)
        if siphash is None and nbytes > JOINED_NBYTES:
            return BytesView.from_views((BytesView(before), BytesView(payload)))
        data = payload if isinstance(payload, bytes) else payload.to_bytes()
        after = b"" if siphash is None else _CHECKSUM(siphash(KEY, data))
        if nbytes > JOINED_NBYTES:
            return BytesView.from_views(map(BytesView, (before, data, after)))
        return b"".join((before, data, after))

    def _go_to(self, state: State) -> None:
        if state not in TRANSITIONS[self._state]:
            raise AssertionError(f"no way leads from {self._state} to {state}")
        self._state = state


def check_message_encoder(encoder: MessageEncoder[Any]) -> None:
    """Raise AssertionError if a law of this file is broken."""
    assert encoder._state in TRANSITIONS, "no such state"
    due = b"" if encoder.is_ended else encoder.header_due()
    assert due == (encoder._header if encoder._state is State.BEFORE else b""), "Law 2"
    is_v1 = encoder.version is ProtocolVersion.V1
    assert not (is_v1 and (encoder._header or encoder.sends_checksums)), "version 1 has neither"
