"""Rust's types for which Python has no name: widths of numbers, arrays, `Result`, times.

An annotation such as `u8` is `int` to a type checker and to the program; only codecs see more.

Law 1. A `Duration` and a `SystemTime` are what Rust's are, to the nanosecond; neither is negative.
Law 2. What is made of them for Python is exact, or it is not made: nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, Final, Generic, Self, TypeAlias, TypeVar

import attrs

from ...seq._flat import count_of

T = TypeVar("T")
E = TypeVar("E")

NANOS_OF_A_SECOND: Final = 1_000_000_000
U64_MAX: Final = (1 << 64) - 1
I64_MAX: Final = (1 << 63) - 1
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


# What stands behind a type, in Annotated


@attrs.frozen
class RustInt:
    """Says how wide an `int` is."""

    nbits: int
    signed: bool


@attrs.frozen
class RustFloat:
    """Says how wide a `float` is."""

    nbytes: int


@attrs.frozen
class RustChar:
    """Says that a `str` is one character."""


@attrs.frozen
class Array:
    """Says that a list, a tuple or bytes are an array of Rust, whose length is not written.

    Args:
      count: how many items it has, always.

    Example:
      >>> from typing import Annotated
      >>> Bincode(Annotated[list[u16], Array(3)]).encode([1, 2, 3]).hex()
      '010203'
    """

    count: int

    def __attrs_post_init__(self) -> None:
        count_of(self.count, "count")


@attrs.frozen
class Hook:
    """How a type is written that no codec knows: as another type, which one does know.

    Args:
      wire: the type that is written.
      to_wire: makes a value of it, from a value of the type in question.
      from_wire: makes the value again. What it raises says that there is no such value.

    Example:
      >>> from decimal import Decimal
      >>> hook = Hook(str, to_wire=str, from_wire=Decimal)
      >>> Bincode(Decimal, hooks={Decimal: hook}).encode(Decimal("1.50"))
      b'\\x041.50'

    It can stand behind a type, too: `Annotated[Decimal, hook]`.
    """

    wire: Any
    to_wire: Callable[[Any], Any] = attrs.field(kw_only=True)
    from_wire: Callable[[Any], Any] = attrs.field(kw_only=True)


u8: TypeAlias = Annotated[int, RustInt(8, signed=False)]
u16: TypeAlias = Annotated[int, RustInt(16, signed=False)]
u32: TypeAlias = Annotated[int, RustInt(32, signed=False)]
u64: TypeAlias = Annotated[int, RustInt(64, signed=False)]
u128: TypeAlias = Annotated[int, RustInt(128, signed=False)]
usize: TypeAlias = Annotated[int, RustInt(64, signed=False)]
i8: TypeAlias = Annotated[int, RustInt(8, signed=True)]
i16: TypeAlias = Annotated[int, RustInt(16, signed=True)]
i32: TypeAlias = Annotated[int, RustInt(32, signed=True)]
i64: TypeAlias = Annotated[int, RustInt(64, signed=True)]
i128: TypeAlias = Annotated[int, RustInt(128, signed=True)]
isize: TypeAlias = Annotated[int, RustInt(64, signed=True)]
f32: TypeAlias = Annotated[float, RustFloat(4)]
f64: TypeAlias = Annotated[float, RustFloat(8)]
char: TypeAlias = Annotated[str, RustChar()]


# Enums of the standard library that have no counterpart


@attrs.frozen
class Ok(Generic[T]):
    """That it went well: `Ok[int] | Err[str]` is Rust's `Result<i64, String>`.

    Example:
      >>> Bincode(Ok[int] | Err[str]).decode(bytes.fromhex("000a"))
      Ok(value=5)
    """

    value: T


@attrs.frozen
class Err(Generic[E]):
    """That it did not; see `Ok`."""

    error: E


@attrs.frozen
class Some(Generic[T]):
    """Something, even where that is None: `Some[int | None] | None` is `Option<Option<i64>>`.

    Example:
      >>> codec = Bincode(Some[int | None] | None)
      >>> codec.encode(None).hex(), codec.encode(Some(None)).hex(), codec.encode(Some(5)).hex()
      ('00', '0100', '01010a')
    """

    value: T


# Times


def _whole(value: object, name: str, most: int) -> None:
    if type(value) is not int:
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not 0 <= value <= most:
        raise ValueError(f"{name} must be from 0 to {most}, not {value}")


def _carried(secs: int, nanos: int) -> tuple[int, int]:
    """Make whole seconds of too many nanoseconds, as Rust does when it reads them."""
    return secs + nanos // NANOS_OF_A_SECOND, nanos % NANOS_OF_A_SECOND


@attrs.frozen(order=True)
class Duration:
    """A length of time as Rust has it: never negative, exact to the nanosecond.

    Args:
      secs: whole seconds, from 0 to 2**64 - 1.
      nanos: and so many billionths, below 1,000,000,000.

    Raises:
      TypeError, ValueError: one of them is something else.

    Example:
      >>> Duration(1, 500_000_000).to_timedelta()
      datetime.timedelta(seconds=1, microseconds=500000)
    """

    secs: int
    nanos: int = 0

    def __attrs_post_init__(self) -> None:
        _whole(self.secs, "secs", U64_MAX)
        _whole(self.nanos, "nanos", NANOS_OF_A_SECOND - 1)

    @classmethod
    def from_timedelta(cls, delta: timedelta) -> Self:
        """Return the same length of time.

        Raises:
          ValueError: it is negative.
        """
        if delta.days < 0:
            raise ValueError(f"a Duration cannot be negative, and this is {delta!r}")
        return cls(delta.days * 86_400 + delta.seconds, delta.microseconds * 1_000)

    def to_timedelta(self) -> timedelta:
        """Return the same length of time.

        Raises:
          ValueError: a timedelta would lose nanoseconds, or cannot be so long.
        """
        if self.nanos % 1_000:
            raise ValueError(f"a timedelta would lose nanoseconds of {self}; take a Duration")
        try:
            return timedelta(seconds=self.secs, microseconds=self.nanos // 1_000)
        except OverflowError:
            raise ValueError(f"no timedelta is as long as {self}; take a Duration") from None

    def _to_wire(self) -> tuple[int, int]:
        return self.secs, self.nanos

    @classmethod
    def _from_wire(cls, parts: tuple[int, int]) -> Self:
        return cls(*_carried(*parts))


@attrs.frozen(order=True)
class SystemTime:
    """A moment as Rust has it: so long after the beginning of 1970, UTC; never before.

    Args:
      secs: whole seconds, from 0 to 2**63 - 1.
      nanos: and so many billionths, below 1,000,000,000.

    Raises:
      TypeError, ValueError: one of them is something else.

    Example:
      >>> SystemTime(1_700_000_000).to_datetime()
      datetime.datetime(2023, 11, 14, 22, 13, 20, tzinfo=datetime.timezone.utc)
    """

    secs: int
    nanos: int = 0

    def __attrs_post_init__(self) -> None:
        _whole(self.secs, "secs", I64_MAX)
        _whole(self.nanos, "nanos", NANOS_OF_A_SECOND - 1)

    @classmethod
    def from_datetime(cls, moment: datetime) -> Self:
        """Return the same moment.

        Raises:
          ValueError: `moment` has no time zone, or lies before 1970.
        """
        if moment.utcoffset() is None:
            raise ValueError(f"a moment needs a time zone, and this has none: {moment!r}")
        since = moment - EPOCH
        if since.days < 0:
            raise ValueError(f"a SystemTime cannot lie before 1970, and this does: {moment!r}")
        return cls(since.days * 86_400 + since.seconds, since.microseconds * 1_000)

    def to_datetime(self) -> datetime:
        """Return the same moment, in UTC.

        Raises:
          ValueError: a datetime would lose nanoseconds, or cannot be so late.
        """
        if self.nanos % 1_000:
            raise ValueError(f"a datetime would lose nanoseconds of {self}; take a SystemTime")
        try:
            return EPOCH + timedelta(seconds=self.secs, microseconds=self.nanos // 1_000)
        except OverflowError:
            raise ValueError(f"no datetime is as late as {self}; take a SystemTime") from None

    def _to_wire(self) -> tuple[int, int]:
        return self.secs, self.nanos

    @classmethod
    def _from_wire(cls, parts: tuple[int, int]) -> Self:
        return cls(*_carried(*parts))


# Addresses


@attrs.frozen
class SocketAddrV4:
    """An address of IPv4 and a port. `SocketAddrV4 | SocketAddrV6` is Rust's `SocketAddr`."""

    ip: IPv4Address
    port: u16


@attrs.frozen
class SocketAddrV6:
    """An address of IPv6 and a port. Rust writes neither flow nor scope."""

    ip: IPv6Address
    port: u16
