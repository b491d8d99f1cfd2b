"""Amounts as people say them. All of it is ASCII."""

from __future__ import annotations

from typing import Final

UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB")


def text_of_nbytes(nbytes: float) -> str:
    """Return an amount of bytes with three or four digits: `512 B`, `1.50 KiB`, `12.0 GiB`."""
    if nbytes < 1024:
        return f"{nbytes:.0f} B"
    amount = float(nbytes)
    unit = UNITS[0]
    for unit in UNITS:  # noqa: B007  # the unit at which the loop ends is the answer
        amount /= 1024
        if amount < 999.5:
            break
    digits = 2 if amount < 9.995 else 1 if amount < 99.95 else 0
    return f"{amount:.{digits}f} {unit}"


def text_of_count(number: int, noun: str) -> str:
    """Return `1 message`, `2 messages`, `1,000 messages`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
