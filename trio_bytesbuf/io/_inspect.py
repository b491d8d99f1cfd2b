"""`ReadInspectDecision`: what the inspector of a conditional read says of what has arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from ..seq._flat import count_of

if TYPE_CHECKING:
    from typing import SupportsIndex


@attrs.frozen
class ReadInspectDecision:
    """Whether a conditional read goes on, is complete, or has failed.

    Made by `continue_read()`, `complete(nbytes)` and `failed(error)`.

    Idea: bytesbuf_io's `ReadInspectDecision`, an enum there.
    """

    nbytes: int | None = None
    """How many bytes the read returns, or None if it does not end yet."""

    error: Exception | None = None
    """Why the read has failed, or None."""

    @staticmethod
    def continue_read() -> ReadInspectDecision:
        """Say that more bytes are wanted; an error if the read has no more to give."""
        return _CONTINUE

    @classmethod
    def complete(cls, nbytes: SupportsIndex) -> ReadInspectDecision:
        """Say that the first `nbytes` bytes are what was wanted; what follows them is kept.

        Raises:
          TypeError, ValueError: `nbytes` is no integer, or negative.
        """
        return cls(nbytes=count_of(nbytes, "nbytes"))

    @classmethod
    def failed(cls, error: Exception) -> ReadInspectDecision:
        """Say that what has arrived is wrong; the read raises `InspectionFailed` from `error`.

        Raises:
          TypeError: `error` is not an `Exception`.
        """
        if not isinstance(error, Exception):
            raise TypeError(f"an Exception is wanted, not {type(error).__name__}")
        return cls(error=error)


_CONTINUE: Final = ReadInspectDecision()
