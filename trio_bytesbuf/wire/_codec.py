"""What turns values into the bytes of a message and back: the seam between channels and formats.

A codec has two methods and no state, so one serves any number of channels and threads. It sees
whole messages: where they begin and end is not its affair.

Law 1. `decode(encode(value))` is equal to `value`, for every value that `encode` takes.
Law 2. `decode` keeps nothing of a payload that is not its result's.
Law 3. A codec with `takes_views` is given `BytesView`s, and its results may share their memory.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Generic, TypeVar

from .._errors import EncodeError
from ..seq import BytesView

if TYPE_CHECKING:
    from ..seq._flat import Buffer

T = TypeVar("T")


class Codec(abc.ABC, Generic[T]):
    """How values of one type are written as bytes, and read.

    Implement two methods; give a channel an instance.

    Example:
      >>> class Words(Codec[list[str]]):
      ...     def encode(self, value):
      ...         return " ".join(value).encode()
      ...     def decode(self, payload):
      ...         return bytes(payload).decode().split()
      >>> Words().decode(Words().encode(["one", "two"]))
      ['one', 'two']
    """

    __slots__ = ()

    takes_views: bool = False
    """Whether `decode` is always given a `BytesView`: say True if results may show its memory."""

    @abc.abstractmethod
    def encode(self, value: T) -> Buffer | BytesView:
        """Return the bytes of `value`.

        Raises:
          EncodeError: it is no value of the type. A codec of your own may raise what it likes;
            nothing is sent.
          MessageTooLarge: it has more bytes than the codec writes.
        """

    @abc.abstractmethod
    def decode(self, payload: bytes | memoryview | BytesView) -> T:
        """Return the value of which `payload` is the bytes, all of them.

        Args:
          payload: `bytes` where they are few (up to 16 KiB), else a read-only, contiguous
            memoryview of where they lie; always a `BytesView` if `takes_views`.

        Raises:
          DecodeError: there is no such value. A codec of your own may raise what it likes; the
            message is gone, and the channel goes on.
        """


class ViewCodec(Codec[BytesView]):
    """Messages that are bytes and nothing else: views go in, views come out, nothing is copied.

    Whatever exports a buffer can be sent.

    Example:
      >>> ViewCodec().decode(ViewCodec().encode(b"as it is"))
      BytesView(b'as it is')
    """

    __slots__ = ()

    takes_views = True

    def encode(self, value: BytesView | Buffer) -> BytesView:
        """Return a view of `value`.

        Raises:
          EncodeError: it exports no buffer, or its memory has gaps.

        Cost: no copy.
        """
        try:
            return BytesView(value)
        except TypeError as exc:
            raise EncodeError(f"a {type(value).__name__} is no bytes: {exc}", "") from exc

    def decode(self, payload: bytes | memoryview | BytesView) -> BytesView:
        """Return a view of `payload`. Cost: no copy."""
        return BytesView(payload)

    def __repr__(self) -> str:
        return "ViewCodec()"
