"""Hooks by which msgspec and cattrs write views, and read them, wherever `bytes` could stand.

Neither library is imported here, nor needed, before somebody calls these hooks for it.

Law 1. A view is written as the same library writes the same `bytes`: msgspec as base64 where the
       format is text and as binary data in msgpack, cattrs as the converter at hand does.
Law 2. What was written is read as an equal view. Read is also what `serde` writes in Rust for a
       `Bytes`, which is binary data in msgpack and a list of numbers in JSON and YAML.
Law 3. Whatever else is found where a view should be is an error; nothing is guessed. Above all,
       `bytes(5)` is five zeros, so a number never reaches it.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..seq import BytesView

if TYPE_CHECKING:
    from cattrs import BaseConverter


def msgspec_enc_hook(obj: object, /) -> memoryview:
    """Write a view as msgspec writes `bytes`: the `enc_hook` of its encoders.

    A hook of your own calls this one for what it does not know, or is called where this one
    raises NotImplementedError.

    Args:
      obj: what msgspec cannot write by itself.

    Returns:
      The bytes of the view, read-only, for msgspec to go on with.

    Raises:
      NotImplementedError: `obj` is no `BytesView`.
      Released: it was released.

    Cost: nothing for a view of one piece, which msgspec writes from where it lies; else one
    copy of all bytes.

    Example:
      >>> bytes(msgspec_enc_hook(BytesView(b"body")))
      b'body'

    With a class `Message(msgspec.Struct)` that has a field of type `BytesView`, this is
    `msgspec.json.encode(message, enc_hook=msgspec_enc_hook)`. As keys of a dict msgspec takes
    views in msgpack only; for keys in JSON it asks no hook when it reads.
    """
    if isinstance(obj, BytesView):
        return obj.contiguous()
    raise NotImplementedError(f"this hook writes BytesViews, and {type(obj).__name__} is none")


def msgspec_dec_hook(type: type, obj: object, /) -> BytesView:  # noqa: A002  # msgspec's word
    """Make a view of what msgspec has read: the `dec_hook` of its decoders.

    A hook of your own calls this one for types that it does not know, or is called where this
    one raises NotImplementedError.

    Args:
      type: which type is wanted.
      obj: what was read: binary data, base64 text as msgspec writes it, a list of numbers from
        0 to 255 as `serde_json` writes it, or a view, of which nothing needs to be made.

    Raises:
      NotImplementedError: `type` is not `BytesView`.
      ValueError: the text is no base64, or the list has something else in it.
      TypeError: `obj` is something else. Of these two msgspec makes a `ValidationError` that
        says where.

    Cost: no copy of binary data, but msgspec itself has made one; text and lists are decoded.

    Example:
      >>> msgspec_dec_hook(BytesView, "Ym9keQ=="), msgspec_dec_hook(BytesView, [111, 107])
      (BytesView(b'body'), BytesView(b'ok'))

    With a class `Message(msgspec.Struct)` that has a field of type `BytesView`, this is
    `msgspec.json.decode(data, type=Message, dec_hook=msgspec_dec_hook)`.
    """
    if type is not BytesView:
        raise NotImplementedError(f"this hook reads BytesViews, and {type!r} is another type")
    return _view_of(_from_base64(obj) if isinstance(obj, str) else obj)


def register_cattrs_hooks(converter: BaseConverter) -> None:
    """Teach a cattrs converter, and copies made of it later, to write and to read views.

    A view is unstructured as that converter unstructures `bytes`: left alone by a plain one and
    those for msgpack and YAML, base85 text by the one for JSON. Reading takes what that one writes,
    and binary data and lists of numbers from 0 to 255 besides, which is what serde writes.
    Where the converter has no text for `bytes`, text is taken for base64.

    Args:
      converter: a `cattrs.Converter`, or one that `cattrs.preconf` makes. Hooks for `BytesView`
        that you register afterwards go before these.

    Raises:
      Reading raises ValueError for text that is not what it should be and for lists with
      something else in them, and TypeError for other data. With `detailed_validation`, which is
      cattrs' default, they come in a group that says where. What the text is, the converter
      decides: that for msgspec overlooks characters that are not base64.

    Cost: one copy of the bytes for writing, none for reading binary data.

    Example:
      >>> import attrs, cattrs
      >>> @attrs.define
      ... class Message:
      ...     body: BytesView
      >>> converter = cattrs.Converter()
      >>> register_cattrs_hooks(converter)
      >>> converter.unstructure(Message(BytesView(b"ok")))
      {'body': b'ok'}
      >>> converter.structure({"body": [111, 107]}, Message)
      Message(body=BytesView(b'ok'))
    """
    # Factories are given the converter that asks, which may be a copy of this one.
    converter.register_unstructure_hook_factory(_is_view, _unstructure_hook)
    converter.register_structure_hook_factory(_is_view, _structure_hook)


def _is_view(type_: object) -> bool:
    return type_ is BytesView


def _unstructure_hook(_: object, converter: BaseConverter) -> Callable[[BytesView], object]:
    def unstructure(view: BytesView) -> object:
        return converter.unstructure(view.to_bytes(), bytes)

    return unstructure


def _structure_hook(_: object, converter: BaseConverter) -> Callable[[object, object], BytesView]:
    def structure(obj: object, _: object) -> BytesView:
        if not isinstance(obj, str):
            return _view_of(obj)
        try:
            return _view_of(converter.structure(obj, bytes))
        except TypeError:  # it calls bytes(obj), as converters do that have no text for bytes
            return _view_of(_from_base64(obj))

    return structure


def _view_of(obj: object) -> BytesView:
    """Make a view of what was read, if it is binary data in one of its forms."""
    if isinstance(obj, (bytes, bytearray, memoryview, BytesView)):
        return BytesView(obj)
    if isinstance(obj, (list, tuple)):
        return BytesView(_from_numbers(obj))
    raise TypeError(
        f"a BytesView is read from binary data, text or a list of numbers, not {type(obj).__name__}"
    )


def _from_numbers(numbers: Sequence[object]) -> bytes:
    if {int}.issuperset(map(type, numbers)):  # True is 1 for bytes(), and an error in Rust
        try:
            return bytes(numbers)  # type: ignore[arg-type]  # they are ints
        except ValueError:
            pass
    for index, number in enumerate(numbers):
        if type(number) is not int or not 0 <= number <= 255:
            raise ValueError(f"item {index} is no number from 0 to 255")
    raise AssertionError("bytes() refused numbers from 0 to 255")


def _from_base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError as exc:
        raise ValueError(f"the text is no base64: {exc}") from None
