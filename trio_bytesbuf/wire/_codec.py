"""What turns values into the bytes of a message and back: the seam between channels and formats.

A codec has two methods and no state, so one serves any number of channels and threads. It sees
whole messages: where they begin and end is not its affair.

Law 1. `decode(encode(value))` is equal to `value`, for every value that `encode` takes.
Law 2. `decode` keeps nothing of a payload that is not its result's.
Law 3. A codec with `takes_views` is given `BytesView`s, and its results may share their memory.
"""

from __future__ import annotations

import abc
import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

from .._errors import DecodeError, EncodeError, MissingExtra
from ..seq import BytesView
from ._serialization import msgspec_dec_hook, msgspec_enc_hook

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

    _decode: Any = None
    """Decodes `bytes` with a call less than `decode`, which is asked if this raises anything."""

    _plain_nbytes: int = -1
    """How many they may be; -1 if there is no such way. Stands in the class that has `decode`:
    subclasses that have a `decode` of their own are asked by that."""

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


# By msgspec

_WHERE: Final = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_BYTE: Final = re.compile(r" \(byte (?P<offset>\d+)\)$")


def _msgspec(what: str) -> ModuleType:
    try:
        import msgspec  # an extra
    except ImportError:
        raise MissingExtra(what, "msgspec", "msgspec") from None
    return msgspec


class _MsgspecCodec(Codec[T]):
    """What the two formats have in common."""

    __slots__ = ("_decode", "_encode", "_tp")

    _plain_nbytes = sys.maxsize

    def __init__(self, tp: Any, module: Any) -> None:
        self._tp = tp
        self._encode: Callable[[Any], bytes] = module.Encoder(enc_hook=msgspec_enc_hook).encode
        self._decode = module.Decoder(tp, dec_hook=msgspec_dec_hook).decode

    def encode(self, value: T) -> bytes:
        """Return the bytes of `value`, of which msgspec does not look whether it is of the type.

        Raises:
          EncodeError: msgspec cannot write it; its own error is the cause.
        """
        try:
            return self._encode(value)
        except MemoryError:
            raise
        except Exception as exc:  # msgspec's, a hook's, of the value's own methods
            raise EncodeError(f"{type(exc).__name__}: {exc}", "") from exc

    def decode(self, payload: Buffer | BytesView) -> T:
        """Return the value of which `payload` is the bytes, all of them.

        Raises:
          DecodeError: msgspec does not find one; its own error is the cause. It has the path or the
            byte if msgspec says it, else 0.
        """
        data = payload.contiguous() if isinstance(payload, BytesView) else payload
        try:
            value: T = self._decode(data)
        except MemoryError:
            raise
        except Exception as exc:  # msgspec's, a hook's, of a class
            complaint = str(exc) or type(exc).__name__
            place, byte = _WHERE.search(complaint), _BYTE.search(complaint)
            raise DecodeError(
                _BYTE.sub("", _WHERE.sub("", complaint)),
                int(byte["offset"]) if byte else 0,
                place["path"] if place else "",
            ) from exc
        finally:
            del payload, data  # an error that is kept holds this frame, but no memory
        return value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({getattr(self._tp, '__qualname__', self._tp)})"


class MsgpackCodec(_MsgspecCodec[T]):
    """Values as msgspec writes them in MessagePack; `BytesView`s in them as binary data.

    Args:
      tp: what msgspec knows as a type: a Struct, an attrs class, `dict[str, int]`, ...

    Raises:
      MissingExtra: msgspec is not installed.
      TypeError: msgspec does not support `tp`.

    Example:
      >>> codec = MsgpackCodec(dict[str, int])
      >>> codec.encode({"a": 1}).hex(), codec.decode(bytes.fromhex("81a16101"))
      ('81a16101', {'a': 1})
    """

    __slots__ = ()

    @overload
    def __init__(self, tp: type[T]) -> None: ...

    @overload
    def __init__(self: MsgpackCodec[Any], tp: Any) -> None: ...

    def __init__(self, tp: Any) -> None:
        super().__init__(tp, _msgspec("MsgpackCodec").msgpack)


class JsonCodec(_MsgspecCodec[T]):
    """Values as msgspec writes them in JSON; `BytesView`s in them as base64.

    Args:
      tp: what msgspec knows as a type: a Struct, an attrs class, `dict[str, int]`, ...

    Raises:
      MissingExtra: msgspec is not installed.
      TypeError: msgspec does not support `tp`.

    Example:
      >>> codec = JsonCodec(dict[str, int])
      >>> codec.encode({"a": 1}), codec.decode(b'{"a": 1}')
      (b'{"a":1}', {'a': 1})
    """

    __slots__ = ()

    @overload
    def __init__(self, tp: type[T]) -> None: ...

    @overload
    def __init__(self: JsonCodec[Any], tp: Any) -> None: ...

    def __init__(self, tp: Any) -> None:
        super().__init__(tp, _msgspec("JsonCodec").json)
