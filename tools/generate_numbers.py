"""Write `trio_bytesbuf/seq/_numbers.py`: the numeric accessors, thirty lines for each format.

    python tools/generate_numbers.py            # rewrite the file
    python tools/generate_numbers.py --check    # exit with 1 if the file is another

`tests/test_numbers.py` runs the check.
"""

from __future__ import annotations

import sys
from pathlib import Path

TARGET = Path(__file__).parent.parent / "trio_bytesbuf" / "seq" / "_numbers.py"

ORDERS = {"be": (">", "big-endian"), "le": ("<", "little-endian"), "ne": ("=", "native order")}

# name -> (struct code or None where struct has none, bytes, type in Python)
FORMATS = {
    "u8": ("B", 1, "int"),
    "i8": ("b", 1, "int"),
    "u16": ("H", 2, "int"),
    "i16": ("h", 2, "int"),
    "u32": ("I", 4, "int"),
    "i32": ("i", 4, "int"),
    "u64": ("Q", 8, "int"),
    "i64": ("q", 8, "int"),
    "u128": (None, 16, "int"),
    "i128": (None, 16, "int"),
    "f32": ("f", 4, "float"),
    "f64": ("d", 8, "float"),
}

HEAD = '''"""Numbers in and out of byte sequences. Made by tools/generate_numbers.py: change that.

`GetNumbers` is what `BytesReader` inherits, `PutNumbers` what `BytesBuf` does. The names are
those of the Rust crates: `u16` is an unsigned number of 16 bits; `be`, `le` and `ne` are
big-endian, little-endian and the machine's own order.
"""

from __future__ import annotations

import abc
import struct
import sys
from collections.abc import Callable
from math import ldexp
from operator import index
from typing import Final, TypeVar, cast

'''


def accessors() -> list[tuple[str, str, str, int, str]]:
    """Return (suffix, struct prefix or byte order, words, nbytes, type) for every accessor."""
    rows = []
    for name, (code, nbytes, kind) in FORMATS.items():
        orders = ORDERS if nbytes > 1 else {"": ("=", "")}
        for order, (prefix, words) in orders.items():
            suffix = f"{name}_{order}" if order else name
            rows.append((suffix, f"{prefix}{code}" if code else order, words, nbytes, kind))
    return rows


def words_for(suffix: str, order_words: str) -> str:
    """Return the number's description, such as `unsigned 16-bit big-endian integer`."""
    kind, bits = suffix[0], suffix[1:].split("_")[0]
    sign = {"u": "unsigned ", "i": "signed ", "f": ""}[kind]
    noun = "float" if kind == "f" else "integer"
    return " ".join(f"{sign}{bits}-bit {order_words} {noun}".split())


def article(words: str) -> str:
    """Return the words with `a` or `an` before them."""
    return f"{'an' if words[0] in 'aeiou8' else 'a'} {words}"


def big_order(order: str) -> str:
    """Return the expression that `int.from_bytes` takes for a byte order."""
    return {"be": '"big"', "le": '"little"', "ne": "sys.byteorder"}[order]


def generated() -> str:
    """Return the whole text of the module."""
    rows = accessors()
    lines = [HEAD]
    for suffix, code, _, _, _ in rows:
        if code not in ORDERS:
            lines.append(f'_{suffix.upper()}: Final = struct.Struct("{code}")\n')
    lines.append('''

class GetNumbers(abc.ABC):
    """Reading numbers off the front of a byte sequence. A number may lie in several pieces."""

    __slots__ = ()

    @abc.abstractmethod
    def _read_struct(self, layout: struct.Struct) -> tuple[object, ...]: ...

    @abc.abstractmethod
    def _read_struct_or_none(self, layout: struct.Struct) -> tuple[object, ...] | None: ...

    @abc.abstractmethod
    def _read_bytes(self, nbytes: int) -> bytes: ...

    @abc.abstractmethod
    def _read_bytes_or_none(self, nbytes: int) -> bytes | None: ...
''')
    for suffix, code, order_words, nbytes, kind in rows:
        words = words_for(suffix, order_words)
        lines.append(f'''
    def get_{suffix}(self) -> {kind}:
        """Take {article(words)}; raises NotEnoughBytes if it is not all there."""
''')
        if code in ORDERS:
            signed = suffix.startswith("i")
            lines.append(f'''        data = self._read_bytes({nbytes})
        return int.from_bytes(data, {big_order(code)}, signed={signed})

    def try_get_{suffix}(self) -> {kind} | None:
        """Like `get_{suffix}`, but None if it is not all there."""
        data = self._read_bytes_or_none({nbytes})
        return None if data is None else int.from_bytes(data, {big_order(code)}, signed={signed})
''')
        else:
            lines.append(f'''        return cast("{kind}", self._read_struct(_{suffix.upper()})[0])

    def try_get_{suffix}(self) -> {kind} | None:
        """Like `get_{suffix}`, but None if it is not all there."""
        found = self._read_struct_or_none(_{suffix.upper()})
        return None if found is None else cast("{kind}", found[0])
''')
    lines.append('''

_Number = TypeVar("_Number", int, float)


def _real(value: float) -> float:
    return ldexp(value, 0)  # float() would take text for a number, too


def _packed(
    pack: Callable[[_Number], bytes],
    as_number: Callable[[_Number], _Number],
    value: _Number,
    what: str,
) -> bytes:
    try:
        return pack(as_number(value))
    except (struct.error, OverflowError):  # which do not name the value
        raise OverflowError(f"{value} does not fit {what}") from None


class PutNumbers(abc.ABC):
    """Appending numbers to a byte sequence.

    Every method raises `BufferFull` if there is no room for the number, OverflowError if the
    number does not fit its format and TypeError if it is none; each time nothing was put.
    """

    __slots__ = ()

    @abc.abstractmethod
    def put_slice(self, data: bytes) -> None: ...
''')
    for suffix, code, order_words, nbytes, kind in rows:
        words = words_for(suffix, order_words)
        lines.append(f'''
    def put_{suffix}(self, value: {kind}) -> None:
        """Append `value` as {article(words)}."""
''')
        if code in ORDERS:
            signed = suffix.startswith("i")
            arguments = f"{nbytes}, {big_order(code)}, signed={signed}"
            pack = f"lambda number: number.to_bytes({arguments})"
        else:
            pack = f"_{suffix.upper()}.pack"
        number = "index" if kind == "int" else "_real"
        lines.append(f'        what = "{article(words)}"\n')
        lines.append(f"        self.put_slice(_packed({pack}, {number}, value, what))\n")
    return "".join(lines)


def main() -> int:
    """Write the file, or compare it."""
    text = generated()
    if "--check" in sys.argv[1:]:
        return int(TARGET.read_text() != text)
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
