"""The one door for foreign buffers and for counts: after it, lengths are in bytes and sane."""

from __future__ import annotations

import operator
import sys
from typing import TYPE_CHECKING, SupportsIndex

if sys.version_info >= (3, 12):
    from collections.abc import Buffer as Buffer
elif TYPE_CHECKING:
    from typing_extensions import Buffer as Buffer


def flat(data: Buffer, /) -> memoryview:
    """Return a memoryview of `data` in which one item is one byte.

    Raises:
      TypeError: `data` exports no buffer, or its memory has gaps.
    """
    view = memoryview(data)
    if type(data) is bytes or type(data) is bytearray:
        return view
    if view.ndim == 1 and view.format == "B" and view.c_contiguous:
        return view
    if not view.c_contiguous:
        raise TypeError(
            f"the memory of this {type(data).__name__} is not contiguous; copy it by bytes() first"
        )
    if 0 in (view.shape or ()):  # cast() refuses these
        return memoryview(b"" if view.readonly else bytearray())
    return view.cast("B")


def count_of(value: SupportsIndex, name: str, /) -> int:
    """Return `value` as a plain int that is at least 0.

    Raises:
      TypeError: it is no integer; a float is refused even when it is whole.
      ValueError: it is negative.
    """
    count = operator.index(value)
    if count < 0:
        raise ValueError(f"{name} must be at least 0, not {count}")
    return count
