"""The one door for foreign buffers and for counts: after it, lengths are in bytes and sane."""

from __future__ import annotations

import operator
import sys
from typing import TYPE_CHECKING, NoReturn, SupportsIndex

if sys.version_info >= (3, 12):
    from collections.abc import Buffer as Buffer
elif TYPE_CHECKING:
    from typing_extensions import Buffer as Buffer


class SoleOwner:
    """What owns memory that it may write to, and so must not exist twice."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuse `copy`, `deepcopy` and `pickle`, all of which ask this."""
        raise TypeError(f"a {type(self).__name__} owns memory, so it cannot be copied or pickled")


def flat(data: Buffer, /) -> memoryview:
    """Return a memoryview of `data` in which one item is one byte.

    Raises:
      TypeError: `data` exports no buffer, its memory has gaps, or it holds references to objects,
        which whoever writes bytes there would destroy.
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
    if "O" in view.format:
        raise TypeError(f"the items of this {type(data).__name__} are objects and not bytes")
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


def positive_count_of(value: SupportsIndex, name: str, /) -> int:
    """Like `count_of`, but at least 1."""
    count = operator.index(value)
    if count < 1:
        raise ValueError(f"{name} must be at least 1, not {count}")
    return count


def flat_writable(target: Buffer, /) -> memoryview:
    """Like `flat`, but raises TypeError if the memory is read-only."""
    room = flat(target)
    if room.readonly:
        raise TypeError(f"cannot write into this {type(target).__name__}: it is read-only")
    return room
