"""`Bincode`, the codec: bincode 1 as Rust's async-io-typed has it, for typed Python.

Integers are varints, little endian, zigzag if signed; nothing says what type a message has. Two
paths lead from a message to its value, and two back. The fast one is Python that is written for
the type and compiled once: it knows that something is wrong, and not what. Then the slow one, which
interprets the type, is run over the same message to say what, and where.

Law 1. The two paths have the same outcome for every message and every value. (If the slow one
       finds nothing wrong, that is an AssertionError: a bug here, or a class or a hook that does
       not always answer the same.)
Law 2. `decode` raises DecodeError, `encode` EncodeError and MessageTooLarge, whatever they are
       given and whatever classes and hooks raise. MemoryError and KeyboardInterrupt pass.
Law 3. What `encode` writes, `decode` with the same limits reads as an equal value (but for dicts
       and sets that no peer may fill so; see `MAX_COLLISIONS`).
Law 4. A codec has no state: it can be used in several threads at once.
"""

from __future__ import annotations

import functools
import struct
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, overload

import attrs

from ..._errors import EncodeError, MessageTooLarge
from ...seq import BytesView
from ...seq._flat import count_of, positive_count_of
from .._codec import Codec
from ._explain_decode import explain_decode
from ._explain_encode import explain_encode
from ._runtime import Refused
from ._rust_types import Array, Hook, RustChar, RustFloat, RustInt
from ._schema import schema_of
from ._schema_nodes import Schema
from ._schema_scope import NO_NAMES
from ._write_decoder import compile_decoder, compile_reader
from ._write_encoder import compile_encoder

if TYPE_CHECKING:
    from ...seq._flat import Buffer

T = TypeVar("T")

MAX_NBYTES: Final = 1_048_576
"""What async-io-typed allows a message, unless it is told otherwise."""

MAX_DEPTH: Final = 100
"""How deep a type may contain itself. serde_json's limit is 128; the slow path needs some three
frames of Python's 1,000 for each, and the program around it needs some, too."""

MAX_EMPTIES: Final = 1_024
"""How many items without bytes a message may have. Five bytes announced a million of them, which
took a second and 60 MB; and whoever sends lists of nothing sends how long they are."""

NO_HOOKS: Final[Mapping[Any, Hook]] = {}


@attrs.define(eq=False, init=False, repr=False)
class Bincode(Codec[T]):
    """Values of a Python type as bincode 1 writes them in Rust: varints, little endian.

    Args:
      tp: the type; `docs/bincode.md` has the table of what is what in Rust.
      max_nbytes: how many bytes a message may have, either way.
      max_depth: how many times, at most, a type may contain itself. (Python's own limit may be
        nearer, and gives the same errors.)
      max_empties: how many items that take no byte (None, instances of classes without fields)
        may be in the lists, sets, dicts and arrays of a message, either way; an item that is made
        of several counts as so many. No bytes of the peer pay for them.
      hooks: by type, how to write what has no counterpart, or has another one than here.
      names: what strings in `tp` mean, where they stand in no class: `globals()`, for example; and
        `locals()` for annotations that name what is defined inside a function.

    Raises:
      TypeError: a type in `tp` cannot be written. The message has the path to it.
      ValueError: `max_nbytes` or `max_depth` is below 1, or `max_empties` below 0.

    Cost: the first codec of a type takes some milliseconds, others some microseconds.

    Example:
      >>> import attrs
      >>> @attrs.frozen
      ... class Order:
      ...     id: int
      ...     item: str
      ...     tags: list[str] = []
      >>> codec = Bincode(Order)
      >>> codec.encode(Order(300, "tea")).hex(" ")
      'fb 58 02 03 74 65 61 00'
      >>> codec.decode(bytes.fromhex("fb58020374656100"))
      Order(id=300, item='tea', tags=[])
      >>> try:
      ...     codec.decode(bytes.fromhex("fb580203746561010568656c"))
      ... except DecodeError as exc:
      ...     print(exc)
      .tags[0], at byte 8: the message ends in it: it has 5 bytes, 3 are left

    Idea: the Rust crates bincode 1 and serde; msgspec, for compiling a type once.
    """

    takes_views: bool
    """Whether the type has a `BytesView` in it, which shows the memory of the message."""

    max_nbytes: int
    """How many bytes a message may have."""

    max_depth: int
    """How many times a type may contain itself."""

    max_empties: int
    """How many items without bytes a message may have."""

    _schema: Schema
    _encode: Callable[..., Any]
    _decode: Callable[..., Any]
    _is_unlimited: bool
    """Whether encoder and decoder need no numbers that count down."""

    _plain_nbytes: int
    """Up to so many bytes the decoder needs nothing else; -1 if it always does."""

    _depth: tuple[int, ...]

    @overload
    def __init__(
        self,
        tp: type[T],
        *,
        max_nbytes: int = MAX_NBYTES,
        max_depth: int = MAX_DEPTH,
        max_empties: int = MAX_EMPTIES,
        hooks: Mapping[Any, Hook] = NO_HOOKS,
        names: Mapping[str, object] = NO_NAMES,
    ) -> None: ...

    @overload
    def __init__(
        self: Bincode[Any],
        tp: Any,
        *,
        max_nbytes: int = MAX_NBYTES,
        max_depth: int = MAX_DEPTH,
        max_empties: int = MAX_EMPTIES,
        hooks: Mapping[Any, Hook] = NO_HOOKS,
        names: Mapping[str, object] = NO_NAMES,
    ) -> None: ...

    def __init__(
        self,
        tp: Any,
        *,
        max_nbytes: int = MAX_NBYTES,
        max_depth: int = MAX_DEPTH,
        max_empties: int = MAX_EMPTIES,
        hooks: Mapping[Any, Hook] = NO_HOOKS,
        names: Mapping[str, object] = NO_NAMES,
    ) -> None:
        self.max_nbytes = positive_count_of(max_nbytes, "max_nbytes")
        self.max_depth = positive_count_of(max_depth, "max_depth")
        self.max_empties = count_of(max_empties, "max_empties")
        try:
            compiled = _compiled_for(tp, hooks, names)
        except RecursionError:
            raise TypeError("the type is nested too deeply for Python's stack") from None
        schema = self._schema = compiled.schema
        self._encode, self._decode = compiled.encode, compiled.decode
        self.takes_views = schema.takes_views
        self._is_unlimited = not (schema.counts_empties or schema.definitions)
        self._plain_nbytes = self.max_nbytes if self._is_unlimited and not self.takes_views else -1
        self._depth = (self.max_depth,) if schema.definitions else ()

    def __repr__(self) -> str:
        limit = "" if self.max_nbytes == MAX_NBYTES else f", max_nbytes={self.max_nbytes}"
        depth = "" if self.max_depth == MAX_DEPTH else f", max_depth={self.max_depth}"
        empties = "" if self.max_empties == MAX_EMPTIES else f", max_empties={self.max_empties}"
        return f"Bincode({self._schema.label}{limit}{depth}{empties})"

    def encode(self, value: T) -> bytes:
        """Return the bytes of `value`.

        Args:
          value: one of the type, as exactly as Rust is about types: no True for a number, no list
            for a tuple, no number that does not fit. An int is taken for a float if no digit is
            lost, and subclasses of a class with fields as that class.

        Raises:
          EncodeError: it is no value of the type, or contains itself, or is nested too deeply, or
            has more than `max_empties` items without bytes.
          MessageTooLarge: it takes more than `max_nbytes`.

        Cost: about 0.1 µs for each field; one copy of the bytes.
        """
        try:
            if self._is_unlimited:
                data = b"".join(self._encode(value))
                if len(data) <= self.max_nbytes:
                    return data
                empties_left = self.max_empties
            else:
                parts, empties_left = self._parts(value)
                data = b"".join(parts)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001  # Law 2
            self._not_encoded(value)
        return self._checked(data, empties_left)

    def encoded_size(self, value: T) -> int:
        """Return how many bytes `encode` would make, however many are allowed.

        Raises:
          EncodeError: as for `encode`.

        Cost: that of `encode`, without the copy.
        """
        try:
            return sum(map(len, self._parts(value)[0]))
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001  # Law 2
            self._not_encoded(value)

    def decode(self, payload: Buffer | BytesView) -> T:
        """Return the value of which `payload` is the bytes, all of them.

        Args:
          payload: the message. If the type has a `BytesView` in it, that shows this memory.

        Raises:
          DecodeError: there is no such value; it has the byte and the path where that was seen.
            What a class or a hook raised is its cause.
          TypeError: `payload` exports no buffer.

        Cost: about 0.1 µs for each field, from `bytes`; anything else is copied first, unless the
          type `takes_views`.
        """
        try:
            if type(payload) is bytes and len(payload) <= self._plain_nbytes:
                value: T = self._decode(payload)
                return value
            return self._decode_otherwise(payload)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001, S110  # Law 2
            pass
        try:
            self._not_decoded(payload)
        finally:
            del payload  # an error that is kept holds this frame, but no memory

    # The ways less travelled

    def _limits(self) -> tuple[object, ...]:
        """Return what counts down while a message is read."""
        if self._schema.counts_empties:
            return ([self.max_empties], *self._depth)
        return self._depth

    def _parts(self, value: T) -> tuple[Any, int]:
        if not self._schema.counts_empties:
            return self._encode(value, *self._depth), self.max_empties
        left = [self.max_empties]
        parts = self._encode(value, left, *self._depth)
        return parts, left[0]

    def _checked(self, data: bytes, empties_left: int) -> bytes:
        if len(data) > self.max_nbytes:
            raise MessageTooLarge(self.max_nbytes, 0, len(data), "sent")
        if empties_left < 0:
            empties = self.max_empties - empties_left
            raise EncodeError(
                f"it has {empties} items that take no byte, max_empties={self.max_empties} are "
                "allowed",
                "",
            )
        return data

    def _not_encoded(self, value: T) -> NoReturn:
        explain_encode(self._schema, value, max_empties=self.max_empties, max_depth=self.max_depth)
        raise AssertionError(self._disagreement("encode"))

    def _decode_otherwise(self, payload: Buffer | BytesView) -> T:
        """Decode what is not `bytes`, or with limits or views, or too large."""
        if type(payload) is bytes and len(payload) <= self.max_nbytes:
            limits = self._limits()
            if self.takes_views:
                data = memoryview(payload)
                value: T = self._decode(data, data, None, *limits)
            else:
                value = self._decode(payload, *limits)
            return value
        view = payload if type(payload) is BytesView else BytesView(payload)
        if len(view) > self.max_nbytes:
            raise Refused
        pieces = view._pieces
        if not self.takes_views:
            value = self._decode(view.to_bytes(), *self._limits())
        elif len(pieces) == 1:
            value = self._decode(pieces[0], pieces[0], view._refs, *self._limits())
        else:
            try:  # what is not in a view mostly lies in front
                value = self._decode(view.first_piece, view, False, *self._limits())
            except (IndexError, struct.error, Refused):
                value = self._decode(view.contiguous(), view, False, *self._limits())
        return value

    def _not_decoded(self, payload: Buffer | BytesView) -> NoReturn:
        try:
            explain_decode(
                self._schema,
                BytesView(payload),
                max_nbytes=self.max_nbytes,
                max_depth=self.max_depth,
                max_empties=self.max_empties,
                quick=functools.partial(compile_reader, self._schema),
            )
        finally:
            del payload
        raise AssertionError(self._disagreement("decode"))

    def _disagreement(self, what: str) -> str:
        return (
            f"{self!r}: the compiled {what} refused what the explaining one accepts. Either a "
            "class or a hook does not always answer the same, or this is a bug of trio_bytesbuf"
        )


# Types that are compiled already


@attrs.frozen
class Compiled:
    """What is made once for a type."""

    schema: Schema
    encode: Callable[..., Any]
    decode: Callable[..., Any]

    @classmethod
    def of(cls, schema: Schema) -> Compiled:
        """Compile a schema."""
        return cls(schema, compile_encoder(schema), compile_decoder(schema))


@attrs.frozen
class _Key:
    """A type and hooks, by identity: for Python, unions in another order are equal."""

    parts: tuple[object, ...]
    tp: Any = attrs.field(eq=False)
    hooks: Mapping[Any, Hook] = attrs.field(eq=False)


def _compiled_for(tp: Any, hooks: Mapping[Any, Hook], names: Mapping[str, object]) -> Compiled:
    if names:  # what they mean may change
        return Compiled.of(schema_of(tp, hooks, names))
    hooks = dict(hooks)
    said = tuple((id(one), id(hook)) for one, hook in hooks.items())
    return _compiled(_Key((_identity(tp), *said), tp, hooks))


@functools.lru_cache(maxsize=512)  # for programs that make types as they go
def _compiled(key: _Key) -> Compiled:
    return Compiled.of(schema_of(key.tp, key.hooks, NO_NAMES))


def _identity(tp: object) -> object:
    args = typing.get_args(tp)
    if args:
        return (id(typing.get_origin(tp)), *map(_identity, args))
    return tp if isinstance(tp, (RustInt, RustFloat, RustChar, Array, str)) else id(tp)
