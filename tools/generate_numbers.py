"""Write the numeric accessors of `trio_bytesbuf/seq`: four files, some two hundred methods.

    python tools/generate_numbers.py                     # rewrite the files
    python tools/generate_numbers.py --check [FOLDER]    # exit with 1 if one of them is another

`tests/test_numbers.py` runs the check. What the methods call is in `_numbers.py`, by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

ROOM = Path(__file__).parent.parent / "trio_bytesbuf" / "seq"

ORDERS = {"be": "big-endian", "le": "little-endian", "ne": "native order"}
ARGUMENT = {"be": '"big"', "le": '"little"', "ne": "NATIVE"}
KINDS = {"u": "unsigned", "i": "signed", "f": ""}


@attrs.frozen
class Number:
    """One format of a fixed width."""

    name: str
    """Such as u32_be."""

    nbytes: int

    @property
    def is_float(self) -> bool:
        """Whether it is one of IEEE 754's."""
        return self.name[0] == "f"

    @property
    def type(self) -> str:
        """Its type in Python."""
        return "float" if self.is_float else "int"

    @property
    def has_layout(self) -> bool:
        """Whether the module `struct` knows it."""
        return self.nbytes <= 8

    @property
    def from_bytes_arguments(self) -> str:
        """What `int.from_bytes` takes behind the bytes."""
        return f"{ARGUMENT[self.name[-2:]]}, signed={self.name[0] == 'i'}"

    @property
    def words(self) -> str:
        """With its article, such as `an unsigned 32-bit big-endian integer`."""
        noun = "float" if self.is_float else "integer"
        order = ORDERS.get(self.name[-2:], "")
        words = f"{KINDS[self.name[0]]} {8 * self.nbytes}-bit {order} {noun}".split()
        return with_article(" ".join(words))


def with_article(words: str) -> str:
    """Return the words with `a` or `an` before them."""
    return f"{'an' if words[0] in 'aeiou8' else 'a'} {words}"


NUMBERS = [
    Number(f"{kind}{bits}_{order}" if bits > 8 else f"{kind}{bits}", bits // 8)
    for kind, widths in {
        "u": (8, 16, 32, 64, 128),
        "i": (8, 16, 32, 64, 128),
        "f": (16, 32, 64),
    }.items()
    for bits in widths
    for order in (ORDERS if bits > 8 else ("",))
]

# Of a width that is an argument: name, its words, what `int.from_bytes` takes.
WIDE = [
    (
        f"{kind}_{order}",
        with_article(f"{words} {ORDERS[order]} integer of `nbytes` bytes"),
        f"{ARGUMENT[order]}, signed={kind == 'int'}",
    )
    for kind, words in {"uint": "unsigned", "int": "signed"}.items()
    for order in ORDERS
]

VARINTS = {
    "uleb128": "an unsigned LEB128 number",
    "sleb128": "a signed LEB128 number",
    "zigzag": "a signed number in zigzag",
}

NOTE = "Made by tools/generate_numbers.py: change that."


def imported(names: Iterator[str], module: str = "_numbers") -> str:
    """Return import lines, one for each name, as ruff sorts them."""
    lines = "".join(f"    {name},\n" for name in sorted(names, key=ruff_order))
    return f"from .{module} import (\n{lines})\n"


def ruff_order(name: str) -> tuple[int, list[str | int]]:
    """Constants first, then classes, then functions; 8 before 16."""
    kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return kind, [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def layouts() -> Iterator[str]:
    """Yield the names of the layouts in `_numbers.py`."""
    return (number.name.upper() for number in NUMBERS if number.has_layout)


def reading(verb: str, word: str, module: str) -> str:
    """Return the module of the methods that get, or peek at, numbers."""
    taker = {"get": "take", "peek": "peek"}[verb]
    lines = [
        f'''"""Numbers {module} a byte sequence. {NOTE}

The names are those of the Rust crates: `u16` is an unsigned number of 16 bits; `be`, `le` and `ne`
are big-endian, little-endian and the machine's own order. A number may lie in several pieces.
"""

from __future__ import annotations

import abc
import struct
from typing import Any, SupportsIndex

'''
    ]
    lines.append(
        imported(
            iter([*layouts(), "NATIVE", "Read", "width_of", *(f"read_{name}" for name in VARINTS)])
        )
    )
    lines.append(f'''

class {verb.capitalize()}Numbers(abc.ABC):
    """Methods that {verb}; every one raises `NotEnoughBytes` if the number is not all there."""

    __slots__ = ()

    @abc.abstractmethod
    def remaining(self) -> int: ...

    @abc.abstractmethod
    def _{taker}_struct(self, layout: struct.Struct, /) -> tuple[Any, ...]: ...

    @abc.abstractmethod
    def _{taker}_bytes(self, nbytes: int, /) -> bytes: ...

    @abc.abstractmethod
    def _{taker}_varint(self, read: Read, max_bits: SupportsIndex, /) -> int: ...

    @abc.abstractmethod
    def _try_{taker}_varint(self, read: Read, max_bits: SupportsIndex, /) -> int | None: ...
''')
    for number in NUMBERS:
        if number.has_layout:
            value = f"self._{taker}_struct({number.name.upper()})[0]"
            body = f"        value: {number.type} = {value}\n        return value\n"
        else:
            arguments = f"self._{taker}_bytes({number.nbytes}), {number.from_bytes_arguments}"
            body = f"        return int.from_bytes({arguments})\n"
        lines.append(f'''
    def {verb}_{number.name}(self) -> {number.type}:
        """{word} {number.words}."""
{body}
    def try_{verb}_{number.name}(self) -> {number.type} | None:
        """Like `{verb}_{number.name}`, but None if it is not all there."""
        return self.{verb}_{number.name}() if self.remaining() >= {number.nbytes} else None
''')
    for name, words, arguments in WIDE:
        lines.append(f'''
    def {verb}_{name}(self, nbytes: SupportsIndex) -> int:
        """{word} {words}, 0 to 16."""
        data = self._{taker}_bytes(width_of(nbytes))
        return int.from_bytes(data, {arguments})

    def try_{verb}_{name}(self, nbytes: SupportsIndex) -> int | None:
        """Like `{verb}_{name}`, but None if it is not all there."""
        return self.{verb}_{name}(nbytes) if self.remaining() >= width_of(nbytes) else None
''')
    for name, words in VARINTS.items():
        lines.append(f'''
    def {verb}_{name}(self, max_bits: SupportsIndex = 64) -> int:
        """{word} {words}; `VarintTooLong` if it has over `max_bits` bits."""
        return self._{taker}_varint(read_{name}, max_bits)

    def try_{verb}_{name}(self, max_bits: SupportsIndex = 64) -> int | None:
        """Like `{verb}_{name}`, but None if it is not all there."""
        return self._try_{taker}_varint(read_{name}, max_bits)
''')
    return "".join(lines)


def fast() -> str:
    """Return the module of the methods that a cursor over memoryviews has in place of others."""
    lines = [
        f'''"""Numbers off the front of a memoryview. {NOTE}

The same as `_numbers_get` has, for a cursor that keeps a memoryview and an offset in it: less than
half the time, because nothing is called but what unpacks; `super()` would cost a twentieth more,
even where it is not reached. A number that is not all in this memoryview is left to the slow way,
which also finds out whether it is there at all.
"""

from __future__ import annotations

from struct import error

'''
    ]
    lines.append(imported(layouts()))
    lines.append("from ._numbers_get import GetNumbers\n\n")
    lines += [f"_{name.lower()} = {name}.unpack_from\n" for name in layouts()]
    lines.append('''

class FastNumbers(GetNumbers):
    """Methods that get, over `_chunk` from `_offset` on; a subclass has slots for both."""

    _chunk: memoryview
    _offset: int
''')
    for number in NUMBERS:
        if number.has_layout:
            lines.append(f'''
    def get_{number.name}(self) -> {number.type}:
        """Take {number.words}."""
        value: {number.type}
        offset = self._offset
        try:
            (value,) = _{number.name}(self._chunk, offset)
        except error:
            return GetNumbers.get_{number.name}(self)
        self._offset = offset + {number.nbytes}
        return value
''')
    return "".join(lines)


def writing() -> str:
    """Return the module of the methods that put numbers."""
    names = (*layouts(), "NATIVE", "int_bytes", "packed_int", "packed_float", "width_of", *VARINTS)
    packers = [f"_{name.lower()} = {name}.pack\n" for name in layouts()]
    lines = [
        f'''"""Numbers to the end of a byte sequence. {NOTE}

The names are those of the Rust crates; see `_numbers_get`. What does not fit its format is packed
once more by `packed_int` or `packed_float`, which say why it does not.
"""

from __future__ import annotations

import abc
from struct import error
from typing import SupportsIndex

{imported(iter(names))}
{"".join(packers)}

class PutNumbers(abc.ABC):
    """Methods that put numbers.

    Each raises `BufferFull` if there is no room for the number, OverflowError if the number does
    not fit its format and TypeError if it is none; nothing was put then.
    """

    __slots__ = ()

    @abc.abstractmethod
    def put_slice(self, data: bytes, /) -> None: ...
'''
    ]
    for number in NUMBERS:
        if number.has_layout:
            packed = f'packed_{number.type}({number.name.upper()}, value, "{number.words}")'
            # The second is of floats, and of what is no int but has an index, in Python 3.11.
            body = f"""        try:
            data = _{number.name}(value)
        except (error, OverflowError):
            data = {packed}
        self.put_slice(data)
"""
        else:
            order, signed = number.from_bytes_arguments.split(", ")
            body = f'''        what = "{number.words}"
        self.put_slice(int_bytes(value, {number.nbytes}, {order}, what, {signed}))
'''
        lines.append(f'''
    def put_{number.name}(self, value: {number.type}) -> None:
        """Append `value` as {number.words}."""
{body}''')
    for name, words, arguments in WIDE:
        order, signed = arguments.split(", ")
        lines.append(f'''
    def put_{name}(self, value: int, nbytes: SupportsIndex) -> None:
        """Append `value` as {words}, 0 to 16."""
        what = f"{words.replace("`nbytes`", "{nbytes}")}"
        self.put_slice(int_bytes(value, width_of(nbytes), {order}, what, {signed}))
''')
    for name, words in VARINTS.items():
        lines.append(f'''
    def put_{name}(self, value: int, max_bits: SupportsIndex = 64) -> None:
        """Append `value` as {words}, which may have `max_bits` bits."""
        self.put_slice({name}(value, max_bits))
''')
    return "".join(lines)


FILES: dict[str, Callable[[], str]] = {
    "_numbers_get.py": lambda: reading("get", "Take", "off the front of"),
    "_numbers_peek.py": lambda: reading("peek", "Look at", "at the front of"),
    "_numbers_fast.py": fast,
    "_numbers_put.py": writing,
}


def main() -> int:
    """Write the files, or compare them."""
    is_check = sys.argv[1:2] == ["--check"]
    room = Path(sys.argv[2]) if is_check and sys.argv[2:] else ROOM
    texts = {room / name: generated() for name, generated in FILES.items()}
    if is_check:
        return int(any(path.read_text() != text for path, text in texts.items()))
    for path, text in texts.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
