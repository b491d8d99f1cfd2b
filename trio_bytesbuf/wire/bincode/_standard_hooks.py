"""How types of Python's library are written as serde, uuid 1 and chrono 0.4 write theirs.

Each is a `Hook`. `STANDARD_HOOKS` are known without being asked for; those of chrono, and that of
`SystemTime` for a datetime, stand behind a type, because Python has one datetime for three of them.

Law 1. What these crates wrote is read; what is written here, they read: the tests have their bytes.
Law 2. A value that the other side cannot have is refused, never bent: years before 1 and leap
       seconds, which Python lacks; scopes of IPv6 addresses, which Rust does not write.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path, PosixPath, PurePath, PurePosixPath
from typing import Annotated, Final, TypeAlias, TypeVar
from uuid import UUID

from ._rust_types import Array, Duration, Hook, SystemTime, u32, u64

P = TypeVar("P", bound=PurePath)

_PARTS = tuple[u64, u32]
_DATE: Final = r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
_TIME: Final = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?"
_DATE_ONLY: Final = re.compile(_DATE, re.ASCII)
_TIME_ONLY: Final = re.compile(_TIME, re.ASCII)
_DATE_TIME: Final = re.compile(f"{_DATE}T{_TIME}", re.ASCII)
_MOMENT: Final = re.compile(
    rf"{_DATE}[Tt ]{_TIME}(?:[Zz]|(?P<sign>[+-])(?P<hours>\d\d):(?P<minutes>[0-5]\d))", re.ASCII
)


# Text, as chrono has it


def _matched(pattern: re.Pattern[str], text: str, what: str) -> dict[str, str]:
    found = pattern.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no {what} that Python can have")
    return found.groupdict("")


def _numbers(parts: dict[str, str], *names: str) -> list[int]:
    return [int(parts[name]) for name in names]


def _microsecond(parts: dict[str, str]) -> int:
    nanos = int(parts["fraction"].ljust(9, "0"))
    if nanos % 1_000:
        raise ValueError(f"Python would lose nanoseconds of .{parts['fraction']}")
    return nanos // 1_000


def _date_of(parts: dict[str, str]) -> date:
    return date(*_numbers(parts, "year", "month", "day"))


def _time_of(parts: dict[str, str]) -> time:
    hour, minute, second = _numbers(parts, "hour", "minute", "second")
    return time(hour, minute, second, _microsecond(parts))


def _fraction(microsecond: int) -> str:
    """Write as chrono does: no digits, three or six."""
    if not microsecond:
        return ""
    return f".{microsecond:06}" if microsecond % 1_000 else f".{microsecond // 1_000:03}"


def _date_text(value: date) -> str:
    if isinstance(value, datetime):
        raise ValueError(f"a date has no time, and this has: {value!r}")  # noqa: TRY004
    return f"{value.year:04}-{value.month:02}-{value.day:02}"


def _time_text(value: time) -> str:
    if value.tzinfo is not None:
        raise ValueError(f"a naive time has no time zone, and this has: {value!r}")
    return f"{value:%H:%M:%S}{_fraction(value.microsecond)}"


def _date_time_text(value: datetime) -> str:
    if value.tzinfo is not None:
        raise ValueError(f"a naive datetime has no time zone, and this has: {value!r}")
    return f"{_date_text(value.date())}T{_time_text(value.time())}"


def _moment_text(value: datetime) -> str:
    if value.utcoffset() is None:
        raise ValueError(f"a moment needs a time zone, and this has none: {value!r}")
    return _date_time_text(value.astimezone(UTC).replace(tzinfo=None)) + "Z"


def _date_from(text: str) -> date:
    return _date_of(_matched(_DATE_ONLY, text, "date"))


def _time_from(text: str) -> time:
    return _time_of(_matched(_TIME_ONLY, text, "time"))


def _date_time_from(text: str) -> datetime:
    parts = _matched(_DATE_TIME, text, "date and time")
    return datetime.combine(_date_of(parts), _time_of(parts))


def _moment_from(text: str) -> datetime:
    parts = _matched(_MOMENT, text, "moment")
    there = datetime.combine(_date_of(parts), _time_of(parts), UTC)
    if not parts["sign"]:
        return there
    offset = timedelta(hours=int(parts["hours"]), minutes=int(parts["minutes"]))
    return there - offset if parts["sign"] == "+" else there + offset


ChronoDateTime: TypeAlias = Annotated[
    datetime, Hook(str, to_wire=_moment_text, from_wire=_moment_from)
]
"""A moment as the crate chrono 0.4 writes `DateTime<Utc>`; a datetime with a time zone."""

ChronoNaiveDateTime: TypeAlias = Annotated[
    datetime, Hook(str, to_wire=_date_time_text, from_wire=_date_time_from)
]
"""A date and a time as the crate chrono 0.4 writes `NaiveDateTime`; without a time zone."""

ChronoNaiveDate: TypeAlias = Annotated[date, Hook(str, to_wire=_date_text, from_wire=_date_from)]
"""A date as the crate chrono 0.4 writes `NaiveDate`."""

ChronoNaiveTime: TypeAlias = Annotated[time, Hook(str, to_wire=_time_text, from_wire=_time_from)]
"""A time as the crate chrono 0.4 writes `NaiveTime`; without a time zone."""


# What serde itself and the crate uuid write

SystemDateTime: TypeAlias = Annotated[
    datetime,
    Hook(
        _PARTS,
        to_wire=lambda value: SystemTime.from_datetime(value)._to_wire(),
        from_wire=lambda parts: SystemTime._from_wire(parts).to_datetime(),
    ),
]
"""A moment as serde writes `SystemTime`; a datetime with a time zone, from 1970 on."""


def _ipv6_bytes(address: IPv6Address) -> bytes:
    if address.scope_id is not None:
        raise ValueError(f"Rust does not write the scope of {address}")
    return address.packed


def _path_hook(kind: Callable[[str], PurePath]) -> Hook:
    return Hook(str, to_wire=str, from_wire=kind)


STANDARD_HOOKS: Final[dict[object, Hook]] = {
    Duration: Hook(_PARTS, to_wire=Duration._to_wire, from_wire=Duration._from_wire),
    SystemTime: Hook(_PARTS, to_wire=SystemTime._to_wire, from_wire=SystemTime._from_wire),
    timedelta: Hook(
        _PARTS,
        to_wire=lambda value: Duration.from_timedelta(value)._to_wire(),
        from_wire=lambda parts: Duration._from_wire(parts).to_timedelta(),
    ),
    IPv4Address: Hook(
        Annotated[bytes, Array(4)],
        to_wire=lambda address: address.packed,
        from_wire=IPv4Address,
    ),
    IPv6Address: Hook(Annotated[bytes, Array(16)], to_wire=_ipv6_bytes, from_wire=IPv6Address),
    UUID: Hook(bytes, to_wire=lambda uuid: uuid.bytes, from_wire=lambda data: UUID(bytes=data)),
    **{kind: _path_hook(kind) for kind in (PurePath, Path, PurePosixPath, PosixPath)},
}
"""By type. What is not here, and no class with fields either, needs a hook of the caller's."""
