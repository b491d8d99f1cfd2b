"""From what a user gives a channel to a codec."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from ._codec import Codec
from .bincode._bincode import MAX_NBYTES, Bincode

T = TypeVar("T")


@overload
def codec_of(codec: Codec[T], /, *, max_nbytes: int = ...) -> Codec[T]: ...


@overload
def codec_of(tp: type[T], /, *, max_nbytes: int = ...) -> Codec[T]: ...


@overload
def codec_of(tp: Any, /, *, max_nbytes: int = ...) -> Codec[Any]: ...


def codec_of(type_or_codec: Any, /, *, max_nbytes: int = MAX_NBYTES) -> Codec[Any]:
    """Return a codec as it is, and of a type the `Bincode` of it.

    Args:
      max_nbytes: how many bytes a message may have; what a codec allows is its own affair.

    Raises:
      TypeError: it is a class of codecs, of which an instance is needed, or no type that can be
        written.

    Cost: that of `Bincode`, which compiles a type once.

    Example:
      >>> codec_of(list[str]), codec_of(ViewCodec())
      (Bincode(list[str]), ViewCodec())
    """
    if isinstance(type_or_codec, Codec):
        return type_or_codec
    if isinstance(type_or_codec, type) and issubclass(type_or_codec, Codec):
        raise TypeError(f"{type_or_codec.__name__} is a class of codecs; make one of it")
    return Bincode(type_or_codec, max_nbytes=max_nbytes)
