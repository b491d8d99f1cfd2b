"""Quantities and errors as people say them. All of it is ASCII."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..seq._words import text_of_nbytes as text_of_nbytes

if TYPE_CHECKING:
    from collections.abc import Iterator


def text_of_rate(nbytes_per_second: float) -> str:
    """Return a rate: `97.2 MiB/s`."""
    return f"{text_of_nbytes(nbytes_per_second)}/s"


def text_of_seconds(seconds: float) -> str:
    """Return a duration: `0:01:23`, or `2d 0:01:23`."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    clock = f"{hour}:{minute:02}:{second:02}"
    return f"{days}d {clock}" if days else clock


def text_of_error(exc: BaseException) -> str:
    """Return in one line why something failed: the system's words, each reason once."""
    return " ".join("; ".join(dict.fromkeys(_reasons_of(exc))).split())


def _reasons_of(exc: BaseException) -> Iterator[str]:
    if isinstance(exc, BaseExceptionGroup):
        for part in exc.exceptions:
            yield from _reasons_of(part)
    elif exc.__cause__ is not None:
        # trio says what was tried and keeps what the system said of it for the cause.
        yield from _reasons_of(exc.__cause__)
    elif isinstance(exc, OSError) and exc.strerror:
        yield _system_text_of(exc)
    else:
        yield str(exc) or type(exc).__name__


def _system_text_of(exc: OSError) -> str:
    """Return the system's own words: trio's connecting puts the address in front of them."""
    if exc.errno and exc.strerror and os.strerror(exc.errno) in exc.strerror:
        return os.strerror(exc.errno)
    return exc.strerror or str(exc)
