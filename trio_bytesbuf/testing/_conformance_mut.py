"""The half of `_conformance` that checks a `BufMut`; what is said at its head holds here."""

from __future__ import annotations

import array
import struct
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

import attrs

from .._errors import BufferFull
from ..seq import BufMut, BytesReader, BytesView
from ._asserting import gives, holds, is_of_bytes, named, refuses, same
from ._conformance import (
    DATA,
    HUGE,
    NO_COUNTS,
    NO_WIDTHS,
    NUMBERS,
    VARINTS,
    AnIndex,
)

MakeBufMut: TypeAlias = Callable[[int], BufMut]
Written: TypeAlias = Callable[[BufMut], bytes]

LIMITLESS_NBYTES: Final = 1 << 20
"""Room that is not filled up to see what happens then, and that need not get less. More than any
block has here."""


@attrs.define
class _Filling:
    """A `BufMut` that is filled, and what it should hold."""

    target: BufMut
    written: Written
    wanted: bytes = b""
    room: int = 0

    def start(self) -> None:
        self.room = self.target.remaining_mut()
        self.stands("nothing")

    @property
    def has_end(self) -> bool:
        return self.room < LIMITLESS_NBYTES

    def stands(self, after: str) -> None:
        """Hold it to have what was put, and room for the rest."""
        target, room = self.target, self.room
        found = target.remaining_mut()
        if self.has_end:
            same(found, room, f"after {after}, {named(target, 'remaining_mut')}")
        else:
            holds(found >= room, f"after {after}, {named(target, 'remaining_mut')} gave {found}")
        what = f"after {after}, {named(target, 'has_remaining_mut')}"
        same(target.has_remaining_mut(), found > 0, what)
        same(self.written(target), self.wanted, f"after {after}, what was put")
        what = f"after {after}, {named(target, 'chunk_mut')}"
        chunk = target.chunk_mut()
        is_of_bytes(chunk, what)
        holds(not chunk.readonly, f"{what} cannot be written to")
        holds(bool(chunk.nbytes) is bool(found), f"{what} has {chunk.nbytes} bytes of {found}")
        holds(chunk.nbytes <= found, f"{what} has {chunk.nbytes} bytes of {found}")

    def puts(self, data: bytes, name: str, *args: object) -> None:
        """Call a method that puts `data`."""
        gives(self.target, name, args, None)
        self.counts(data)
        self.stands(named(self.target, name, args))

    def counts(self, data: bytes) -> None:
        self.wanted += data
        self.room -= len(data)

    def refuses(self, kind: type[Exception], name: str, *args: object, **fields: object) -> None:
        """Hold a call to raise, and to put nothing."""
        refuses(self.target, name, args, kind, **fields)
        self.stands(f"{named(self.target, name, args)} that was refused")

    def is_too_much(self, nbytes: int, name: str, *args: object) -> None:
        """Hold a call that puts `nbytes` bytes, more than fit, to be refused."""
        self.refuses(BufferFull, name, *args, requested=nbytes, available=self.room)

    def fills_up_to(self, room: int) -> None:
        """Leave so much room."""
        nbytes = self.room - room
        self.puts(b"\xa5" * nbytes, "put_repeated", 0xA5, nbytes)


def _filling(make: MakeBufMut, written: Written, nbytes: int) -> _Filling:
    target = make(nbytes)
    filling = _Filling(target, written)
    filling.start()
    what = named(target, "remaining_mut")
    holds(filling.room >= nbytes, f"{what} gave {filling.room}, less than {nbytes}")
    return filling


# What a BufMut is held to


def says_what_room_there_is(make: MakeBufMut, written: Written) -> None:
    """A new one is empty, and has room for as much as was wanted."""
    for nbytes in range(len(DATA) + 1):
        _filling(make, written, nbytes).puts(DATA[:nbytes], "put_slice", DATA[:nbytes])


def lends_room(make: MakeBufMut, written: Written) -> None:
    """What is written to the front of `chunk_mut` is put by `advance_mut`, and no more."""
    for most in (1, 2, 7, len(DATA)):
        filling = _filling(make, written, len(DATA))
        target = filling.target
        while left := DATA[len(filling.wanted) :]:
            chunk = target.chunk_mut()
            step = min(most, chunk.nbytes, len(left))
            chunk[:step] = left[:step]
            lent = chunk.nbytes
            if lent > step:
                chunk[step] = 0xA5  # not counted, so it does not matter
            del chunk  # somebody who can still write there would be refused, rightly
            for wrong, kind in NO_COUNTS:
                refuses(target, "advance_mut", (wrong,), kind)
            wanted = lent + 1
            refuses(target, "advance_mut", (wanted,), BufferFull, requested=wanted, available=lent)
            refuses(target, "advance_mut", (HUGE,), BufferFull, requested=HUGE)
            count = step if step % 2 else AnIndex(step)
            gives(target, "advance_mut", (count,), None)
            filling.counts(left[:step])
            filling.stands(f"advance_mut({step})")
        target.chunk_mut()
        filling.puts(b"", "advance_mut", 0)


def lends_all_its_room(make: MakeBufMut, written: Written) -> None:
    """Filling each `chunk_mut` wholly comes to the end that `remaining_mut` tells of."""
    filling = _filling(make, written, len(DATA))
    while filling.has_end and filling.room:
        nbytes = filling.target.chunk_mut().nbytes
        data = (DATA * (nbytes // len(DATA) + 1))[:nbytes]
        filling.target.chunk_mut()[:] = data
        filling.puts(data, "advance_mut", nbytes)


def puts_slices(make: MakeBufMut, written: Written) -> None:
    """`put_slice` copies all of any contiguous buffer, wherever that ends."""
    for nbytes in range(1, len(DATA) + 1):
        filling = _filling(make, written, len(DATA))
        for at in range(0, len(DATA), nbytes):
            part = DATA[at : at + nbytes]
            filling.puts(part, "put_slice", part)
    items = array.array("I", [1, 2, 3])
    view = BytesView(DATA[:5]) + DATA[5:9]
    source = bytearray(DATA)
    filling = _filling(make, written, 200)
    filling.puts(b"", "put_slice", b"")
    filling.puts(items.tobytes(), "put_slice", items)
    filling.puts(DATA[:9], "put_slice", view)
    filling.puts(DATA, "put_slice", source)
    source[:] = bytes(len(DATA))
    filling.stands("its source has changed")
    filling.puts(DATA[3:9], "put_slice", memoryview(DATA)[3:9])
    for wrong in ("text", 5, None, [1, 2], memoryview(bytes(8))[::2]):
        filling.refuses(TypeError, "put_slice", wrong)


def puts_all_or_nothing(make: MakeBufMut, written: Written) -> None:
    """What does not fit is refused with both numbers, and nothing of it was put."""
    for room in range(20):
        filling = _filling(make, written, len(DATA))
        if not filling.has_end:
            too_much = filling.room + 1
            filling.is_too_much(too_much, "put_repeated", 0, too_much)
            break
        filling.fills_up_to(room)
        for nbytes in (room + 1, room + 2, len(DATA)):
            data, zeros = DATA[:nbytes], bytes(nbytes)
            filling.is_too_much(nbytes, "put_slice", data)
            filling.is_too_much(nbytes, "put_repeated", 1, nbytes)
            filling.is_too_much(nbytes, "put_str", "z" * nbytes)
            filling.is_too_much(nbytes, "put_struct", f"{nbytes}s", zeros)
            for source in (BytesReader(data), BytesReader(BytesView(data[:1]) + data[1:])):
                filling.is_too_much(nbytes, "put", source)
                same(source.remaining(), nbytes, "what is left of a source that was not put,")
        filling.is_too_much(HUGE, "put_repeated", 1, HUGE)
        filling.puts(DATA[:room], "put_slice", DATA[:room])
        filling.is_too_much(1, "put_u8", 1)
        filling.puts(b"", "put_slice", b"")
        filling.puts(b"", "put", b"")


def puts_bufs(make: MakeBufMut, written: Written) -> None:
    """`put` copies what is left of a `Buf`, or of what `as_buf` takes, and reads it to the end."""
    for at in range(len(DATA) + 1):
        filling = _filling(make, written, 2 * len(DATA))
        cut = BytesReader(BytesView(DATA[:at]) + DATA[at:])
        cut.advance(at // 2)
        filling.puts(DATA[at // 2 :], "put", cut)
        same(cut.remaining(), 0, "what is left of a source that was put,")
        filling.puts(DATA[at:], "put", deque([b"", DATA[at:]]))
    filling = _filling(make, written, len(DATA))
    for wrong in ("text", 5, None, [1, 2]):
        filling.refuses(TypeError, "put", wrong)


def puts_numbers(make: MakeBufMut, written: Written) -> None:
    """`put_…` of each format is what `struct` and `int.to_bytes` say, or refused."""
    for accessor in NUMBERS:
        name = accessor.take.replace("get_", "put_")
        nbytes = accessor.nbytes
        filling = _filling(make, written, 4 * nbytes)
        for data in _bytes_of_numbers(name, nbytes):
            filling.puts(data, name, accessor.decode(data), *accessor.args)
        for value, kind in _no_numbers(name, nbytes):
            filling.refuses(kind, name, value, *accessor.args)
        if nbytes and filling.has_end:
            filling.fills_up_to(nbytes - 1)
            filling.is_too_much(nbytes, name, 0, *accessor.args)
    filling = _filling(make, written, len(DATA))
    for sized in ("uint_be", "uint_le", "uint_ne", "int_be", "int_le", "int_ne"):
        for width, kind in NO_WIDTHS:
            filling.refuses(kind, f"put_{sized}", 0, width)


def _bytes_of_numbers(name: str, nbytes: int) -> Iterable[bytes]:
    """Return the bytes of three numbers: none of them nan, which has too many."""
    if name.startswith("put_f"):
        code = {2: "e", 4: "f", 8: "d"}[nbytes]
        prefix = {"be": ">", "le": "<", "ne": "="}[name[-2:]]
        return [struct.pack(prefix + code, value) for value in (-0.0, 1.5, float("-inf"))]
    smallest = b"\x80"[:nbytes] + bytes(max(nbytes - 1, 0))
    return [DATA[:nbytes], b"\xff" * nbytes, smallest]


def _no_numbers(name: str, nbytes: int) -> Iterable[tuple[object, type[Exception]]]:
    """Return what a format does not hold, and what it raises then."""
    yield "1", TypeError
    yield None, TypeError
    if name.startswith("put_f"):
        yield 10**400, OverflowError
        if nbytes < 8:
            yield 1e300, OverflowError
        return
    yield 1.0, TypeError
    if nbytes:
        yield 1 << (8 * nbytes), OverflowError
        yield -(1 << (8 * nbytes)), OverflowError
    else:
        yield 1, OverflowError
    if name.startswith("put_u"):
        yield -1, OverflowError


def puts_variable_lengths(make: MakeBufMut, written: Written) -> None:
    """LEB128 and zigzag; a number of too many bits is refused."""
    for kind, numbers in VARINTS.items():
        name = f"put_{kind}"
        filling = _filling(make, written, len(DATA))
        for value, encoded in numbers.items():
            filling.puts(encoded, name, value)
        for value, max_bits in ((1 << 64, 64), (128, 7), (-(1 << 63) - 1, 64)):
            filling.refuses(OverflowError, name, value, max_bits)
        for wrong, error in ((0, ValueError), (-1, ValueError), (1.0, TypeError), ("8", TypeError)):
            filling.refuses(error, name, 1000, wrong)
        filling.refuses(TypeError, name, "1")
        if filling.has_end:
            filling.fills_up_to(2)
            filling.is_too_much(3, name, 1 << 15)


def puts_structs_and_text(make: MakeBufMut, written: Written) -> None:
    """`put_struct`, `put_str` and `put_repeated`, and what they refuse."""
    filling = _filling(make, written, 100)
    for layout in (">BH4s", struct.Struct(">BH4s")):
        filling.puts(b"\x01\x00\x02name", "put_struct", layout, 1, 2, b"name")
    filling.puts("grün".encode(), "put_str", "grün")
    filling.puts("grün".encode("latin-1"), "put_str", "grün", "latin-1")
    filling.puts(b"gr?n", "put_str", "grün", "ascii", "replace")
    filling.puts(b"", "put_str", "")
    filling.puts(b"\xff" * 5, "put_repeated", 255, 5)
    filling.puts(b"\0", "put_repeated", AnIndex(0), AnIndex(1))
    filling.puts(b"", "put_repeated", 1, 0)
    filling.refuses(struct.error, "put_struct", "no format")
    filling.refuses(struct.error, "put_struct", ">B", 256)
    filling.refuses(struct.error, "put_struct", ">BB", 1)
    filling.refuses(UnicodeEncodeError, "put_str", "grün", "ascii")
    for wrong in (b"bytes", 5, None):
        filling.refuses(TypeError, "put_str", wrong)
    for value, kind in NO_COUNTS:
        filling.refuses(kind, "put_repeated", value, 1)
        filling.refuses(kind, "put_repeated", 1, value)
    filling.refuses(ValueError, "put_repeated", 256, 1)


BUF_MUT_CHECKS: Final[tuple[Callable[[MakeBufMut, Written], None], ...]] = (
    says_what_room_there_is,
    lends_room,
    lends_all_its_room,
    puts_slices,
    puts_all_or_nothing,
    puts_bufs,
    puts_numbers,
    puts_variable_lengths,
    puts_structs_and_text,
)
"""Checks of a `BufMut`: each takes a factory, and a function that returns what was put."""
