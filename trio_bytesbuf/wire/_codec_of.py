"""`codec_of`: what channels do with what they are given: a codec is taken as it is."""

from __future__ import annotations

from typing import Any

from ._codec import Codec


def codec_of(codec_or_type: object, *, max_nbytes: int) -> Codec[Any]:
    """Return the codec that is meant.

    Args:
      codec_or_type: a `Codec`.
      max_nbytes: the most bytes that a message may have.

    Raises:
      TypeError: it is none.
    """
    if isinstance(codec_or_type, Codec):
        return codec_or_type
    raise TypeError(f"a Codec is wanted, not {codec_or_type!r} with at most {max_nbytes} bytes")
