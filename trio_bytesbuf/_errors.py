"""The errors this package defines: few, typed, under one base.

What trio has a word for is raised as trio's own: `trio.BusyResourceError`,
`trio.ClosedResourceError`, `trio.BrokenResourceError`, `trio.EndOfChannel`.
A wrong type is `TypeError` and a senseless number is `ValueError`, as everywhere in Python.
"""

from __future__ import annotations

from typing import Literal

import attrs


class BytesBufError(Exception):
    """Base of every error this package defines."""


@attrs.define(eq=False, slots=False)
class NotEnoughBytes(BytesBufError, ValueError):
    """More bytes were asked for than are there. Nothing was taken."""

    requested: int
    """How many bytes the call needed."""

    available: int
    """How many there are."""

    def __str__(self) -> str:
        return f"{self.requested} bytes were requested, {self.available} are available"


@attrs.define(eq=False, slots=False)
class BufferFull(BytesBufError, BufferError):
    """More bytes were put, or wanted of a memory that cannot grow, than there is room for.

    Nothing was put. A builder gets more room by `reserve`.
    """

    requested: int
    """How many bytes of room the call needed."""

    available: int
    """How many there are."""

    def __str__(self) -> str:
        return f"{self.requested} bytes do not fit, there is room for {self.available}"


@attrs.define(eq=False, slots=False)
class VarintTooLong(BytesBufError, ValueError):
    """A number of variable length goes on beyond what was allowed. Nothing was taken."""

    max_bits: int
    """How many bits its value may have."""

    def __str__(self) -> str:
        return f"this number of variable length has more than {self.max_bits} bits"


@attrs.define(eq=False, slots=False)
class NotAdjacent(BytesBufError, ValueError):
    """The bytes of two builders do not follow one another in memory. Neither has changed."""

    nbytes: int
    """How many filled bytes the first has."""

    other_nbytes: int
    """How many filled bytes the other has."""

    def __str__(self) -> str:
        return (
            f"the {self.other_nbytes} bytes of the other builder are not behind "
            f"the {self.nbytes} bytes of this one in memory"
        )


@attrs.define(eq=False, slots=False)
class BudgetExceeded(BytesBufError, MemoryError):
    """A memory with a cap has no room now. Nothing was reserved; `reserve_wait` waits for it.

    A read whose bytes hold all that there is says it, too, rather than waiting for ever. They are
    read by the next read.
    """

    requested: int
    """How many bytes were wanted."""

    available: int
    """How many there is room for; somebody else may come first."""

    held: int = 0
    """How many bytes of memory a read holds itself, so that it will never fit; 0: nothing is."""

    def __str__(self) -> str:
        text = f"{self.requested} bytes were requested, the budget has {self.available} left"
        if self.held:
            text += f"; what has arrived and is not whole yet holds {self.held} itself"
        return text


@attrs.define(eq=False, slots=False)
class MemoryInUse(BytesBufError, BufferError):
    """Memory that was lent for writing can still be written by whoever it was lent to."""

    why: str
    """What is still held, and what to do about it."""

    def __str__(self) -> str:
        return self.why


@attrs.define(eq=False, slots=False)
class Released(BytesBufError, ValueError):
    """A value was used after its `release()`."""

    what: str
    """The kind of value, for example ``"BytesView"``."""

    def __str__(self) -> str:
        return f"this {self.what} was released"


@attrs.define(eq=False, slots=False)
class BadMemory(BytesBufError):
    """A memory provider broke its promise. Nothing was written to what it gave."""

    provider: str
    """The provider, as its `repr` has it."""

    complaint: str
    """What it did."""

    def __str__(self) -> str:
        return f"{self.provider} {self.complaint}"


@attrs.define(eq=False, slots=False)
class HandleExpired(BytesBufError):
    """What a handle from another process stands for is not there any more. Nothing was opened."""

    why: str
    """What has become of it."""

    def __str__(self) -> str:
        return self.why


@attrs.define(eq=False, slots=False)
class UnexpectedEof(BytesBufError, EOFError):
    """The stream ended in the middle of something. What had arrived is still readable."""

    wanted: int
    """How many bytes the call needed."""

    arrived: int
    """How many had arrived."""

    def __str__(self) -> str:
        return f"wanted {self.wanted} bytes, the stream ended after {self.arrived}"


@attrs.define(eq=False, slots=False)
class LimitExceeded(BytesBufError, ValueError):
    """A read was not complete with what it was allowed to take. All of it is still readable."""

    limit: int
    """How many bytes were allowed."""

    arrived: int
    """How many had arrived, at least."""

    def __str__(self) -> str:
        return (
            f"at most {self.limit} bytes were allowed; {self.arrived} arrived, and that was not all"
        )


@attrs.define(eq=False, slots=False)
class InspectionFailed(BytesBufError, ValueError):
    """An inspector refused what had arrived; its error is the cause. All is still readable."""

    arrived: int
    """How many bytes it had been shown."""

    def __str__(self) -> str:
        return f"the inspector refused what had arrived, {self.arrived} bytes: {self.__cause__}"


@attrs.define(eq=False, slots=False)
class BadSource(BytesBufError):
    """A source broke its promise. What it gave, if it was bytes, is still readable."""

    source: str
    """The source, as its `repr` has it."""

    complaint: str
    """What it did."""

    def __str__(self) -> str:
        return f"{self.source} {self.complaint}"


@attrs.define(eq=False, slots=False)
class DatagramTruncated(BytesBufError, ValueError):
    """A datagram was longer than its socket takes. It is lost; others are not."""

    limit: int
    """How many bytes a datagram may have."""

    def __str__(self) -> str:
        return f"a datagram of more than {self.limit} bytes arrived, and is lost"


@attrs.define(eq=False, slots=False)
class FrameTooLarge(LimitExceeded):
    """A frame has, or announces, more bytes than are allowed. Nothing was taken, or sent."""

    announced: int
    """How many bytes its payload has."""

    def __str__(self) -> str:
        return f"a frame may have {self.limit} bytes at the most, this one has {self.announced}"


@attrs.define(eq=False, slots=False)
class BadFrame(BytesBufError, ValueError):
    """What has arrived is not of the format that was agreed on. Nothing was taken."""

    complaint: str
    """What is there."""

    front: bytes
    """The bytes it was seen by."""

    def __str__(self) -> str:
        return f"instead of a frame, there is {self.complaint}: {self.front!r}"


@attrs.define(eq=False, slots=False)
class UnreadPlaintext(BytesBufError):
    """Bytes that arrived before TLS began are not read yet. They are still readable.

    Whoever sent them, they must not count as said under TLS.
    """

    nbytes: int
    """How many bytes they are."""

    def __str__(self) -> str:
        return f"{self.nbytes} bytes that arrived before TLS began have not been read"


@attrs.define(eq=False, slots=False)
class MessageTooLarge(LimitExceeded):
    """A message has more bytes than are allowed.

    One that was to be sent was not, and the channel goes on. One that was announced ends its
    channel: what follows it is somewhere behind it.
    """

    nbytes: int
    """How many bytes it has, or announces."""

    direction: Literal["sent", "received"]
    """Which way it was to go."""

    def __str__(self) -> str:
        return (
            f"a message may have {self.limit} bytes at the most, "
            f"this one, to be {self.direction}, has {self.nbytes}"
        )


@attrs.define(eq=False, slots=False)
class ChecksumMismatch(BytesBufError, ValueError):
    """A message arrived otherwise than it was sent. It is gone; the channel goes on.

    If it was the length that was damaged, what follows makes no sense either.
    """

    sent: int
    """The checksum that came with it."""

    computed: int
    """The checksum of what came."""

    def __str__(self) -> str:
        return (
            f"the checksum {self.sent:#018x} came with a message whose checksum "
            f"is {self.computed:#018x}"
        )


@attrs.define(eq=False, slots=False)
class ProtocolVersionMismatch(BytesBufError, ValueError):
    """The peer speaks another version of the protocol, or another protocol. It ends the channel."""

    ours: int
    """The version that was expected."""

    theirs: int
    """What stands where the peer's version should; any number of 64 bits if it has none."""

    def __str__(self) -> str:
        return f"this is version {self.ours} of the protocol, the peer's is {self.theirs}"


@attrs.define(eq=False, slots=False)
class ChecksumHandshakeFailed(BytesBufError, ValueError):
    """The peer does not say whether it sends checksums. It ends the channel."""

    value: int
    """The byte that should say so, 2 (it does) or 3 (it does not)."""

    def __str__(self) -> str:
        return f"2 or 3 says whether checksums are sent, the peer said {self.value}"


@attrs.define(eq=False, slots=False)
class DecodeError(BytesBufError, ValueError):
    """A message is no value of the type that was expected. It is gone; the channel goes on."""

    complaint: str
    """What is there instead."""

    offset: int
    """Where in the message, in bytes from its beginning."""

    path: str
    """Where in the value: ``.tags[3]``, for example; empty for the value itself."""

    def __str__(self) -> str:
        where = f"{self.path or 'the value'}, at byte {self.offset}"
        return f"{where}: {self.complaint}"


@attrs.define(eq=False, slots=False)
class EncodeError(BytesBufError, ValueError):
    """A value cannot be written as the type that it should have. Nothing was sent."""

    complaint: str
    """What is wrong with it."""

    path: str
    """Where in the value: ``.tags[3]``, for example; empty for the value itself."""

    def __str__(self) -> str:
        return f"{self.path or 'the value'}: {self.complaint}"


@attrs.define(eq=False, slots=False)
class MissingExtra(BytesBufError, ImportError):
    """Something was asked for that needs a package which is not installed."""

    what: str
    """What was asked for."""

    package: str
    """The package it needs."""

    extra: str
    """The extra of this library that installs it."""

    def __str__(self) -> str:
        return (
            f"{self.what} needs the package {self.package}: "
            f"pip install 'trio_bytesbuf[{self.extra}]'"
        )
