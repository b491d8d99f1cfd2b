r"""Checks of whether somebody's own `Buf` or `BufMut` is one, to run one's tests over.

`BUF_CHECKS` and `BUF_MUT_CHECKS` are tuples of functions. Each makes what it checks with the
factory that it is given, as often as it needs; it returns if all is well and else raises
AssertionError, which says what was called, what came and what should have come. Where an
implementation raises what no law speaks of, that goes through. In a test:

    @pytest.mark.parametrize("check", BUF_CHECKS)
    def test_my_buf(check):
        check(MyBuf)

A check of a `Buf` takes `make`, which is called with bytes and returns a `Buf` that has these to be
read. Where they lie in several pieces is the factory's affair: give it several, hostile ones too.

A check of a `BufMut` takes `make`, which is called with a number and returns an empty `BufMut` that
has room for as many bytes or more; and `written`, which is called with one of those and
returns the bytes that were put into it so far.

Example:
  >>> class Countdown(Buf):
  ...     def __init__(self, data):
  ...         self.data = data
  ...     def remaining(self):
  ...         return len(self.data)
  ...     def chunk(self):
  ...         return memoryview(self.data)
  ...     def advance(self, nbytes):
  ...         self.data = self.data[nbytes:]
  >>> for check in BUF_CHECKS:
  ...     check(Countdown)
  Traceback (most recent call last):
  AssertionError: advance(68) of a Countdown returned None, not NotEnoughBytes
  >>> for check in BUF_MUT_CHECKS:
  ...     check(lambda nbytes: SliceMut(bytearray(nbytes)), lambda target: bytes(target.filled))

What makes the checks find something:

Law 1. What is right is said here again, by `struct` and `int.from_bytes`, and not with the
       library's own code.
Law 2. No byte of `DATA` comes twice, so bytes at the wrong place are wrong bytes.
Law 3. After every call, refused or not, everything that can be asked without moving is asked again.
       After the last one, what is left is read.

Idea: the macro `buf_tests` of the Rust crate bytes, which it runs over its own implementations.
"""

from __future__ import annotations

import array
import struct
import sys
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final, Literal, TypeAlias

import attrs

from .._errors import BufferFull, NotEnoughBytes, VarintTooLong
from ..seq import Buf, BytesBuf, BytesView
from ._asserting import complain, gives, holds, is_of_bytes, is_same, named, refuses, same

MakeBuf: TypeAlias = Callable[[bytes], Buf]
Order: TypeAlias = Literal["big", "little"]
Wrong: TypeAlias = tuple[tuple[object, type[Exception]], ...]
"""Arguments, each with what it raises."""

DATA: Final = bytes((255 + 181 * at) % 256 for at in range(67))
"""What is read and put. The first byte makes a number negative; 181 is odd, so all bytes differ;
67 is prime, so numbers do not end where it ends."""

HUGE: Final = 10**30
"""A count of bytes beyond what an index of the machine can be."""


class AnIndex:
    """An integer as numpy's are: no int, and good for one."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value

    def __repr__(self) -> str:
        return f"an index of {self.value}"


# What a Buf shows


def _stands(buf: Buf, left: bytes, after: str) -> None:
    """Hold a `Buf` to have exactly `left` to be read, without moving it."""
    nbytes = len(left)
    for found, wanted, what in (
        (buf.remaining(), nbytes, "remaining() of"),
        (len(buf), nbytes, "the len of"),
        (bool(buf), nbytes > 0, "the bool of"),
        (buf.has_remaining(), nbytes > 0, "has_remaining() of"),
    ):
        if not is_same(found, wanted):
            same(found, wanted, f"after {after}, {what} a {type(buf).__name__}")
    _shows(buf, left, None, after)  # before `chunk`, which may go on to the next piece, and after

    def named_chunk() -> str:
        return f"after {after}, {named(buf, 'chunk')}"

    chunk = buf.chunk()
    is_of_bytes(chunk, named_chunk)
    if bool(chunk.nbytes) is not bool(nbytes):
        raise AssertionError(f"{named_chunk()} has {chunk.nbytes} bytes of {nbytes}")
    if not is_same(chunk.tobytes(), left[: chunk.nbytes]):
        same(chunk.tobytes(), left[: chunk.nbytes], named_chunk())
    _shows(buf, left, None, after)


def _shows(buf: Buf, left: bytes, max_chunks: int | None, after: str) -> int:
    """Hold `chunks_vectored` to law 3 and return how many chunks it showed."""

    def what() -> str:
        return f"after {after}, {named(buf, 'chunks_vectored', (max_chunks,))}"

    chunks = buf.chunks_vectored() if max_chunks is None else buf.chunks_vectored(max_chunks)
    if not isinstance(chunks, tuple):
        complain(f"{what()} gave a {type(chunks).__name__}, not a tuple")
    for chunk in chunks:
        is_of_bytes(chunk, what)
        if not chunk.nbytes:
            raise AssertionError(f"{what()} has an empty chunk among {len(chunks)}")
    shown = b"".join(chunks)
    if shown != left[: len(shown)]:
        same(shown, left[: len(shown)], what())
    if (max_chunks is None or max_chunks) and bool(chunks) is not bool(left):
        raise AssertionError(f"{what()} shows {len(chunks)} chunks")
    if max_chunks is not None and len(chunks) > max_chunks:
        raise AssertionError(f"{what()} shows {len(chunks)} chunks")
    return len(chunks)


def _ends_with(buf: Buf, left: bytes, after: str) -> None:
    """Hold a `Buf` to read `left` and then be at its end."""
    _stands(buf, left, after)
    read = b""
    while len(read) < len(left):
        chunk = buf.chunk().tobytes()
        holds(
            len(chunk) > 0, f"{named(buf, 'chunk')} is empty, {len(left) - len(read)} bytes early"
        )
        read += chunk
        gives(buf, "advance", (len(chunk),), None)
    same(read, left, f"after {after}, reading a {type(buf).__name__} by chunks")
    _stands(buf, b"", "everything was read")


# Families of accessors: what is taken, peeked at and tried alike


@attrs.frozen
class _Accessor:
    """Two methods that read the same, their `try_` twins, and what they should say."""

    take: str
    peek: str
    nbytes: int
    decode: Callable[[bytes], object]
    args: tuple[object, ...] = ()
    starts: int = len(DATA)
    """From how many places it is tried, at most."""


def _number_accessors() -> Iterable[_Accessor]:
    orders: dict[str, Order] = {"_be": "big", "_le": "little", "_ne": sys.byteorder}
    for kind, is_signed in (("u", False), ("i", True)):
        for nbits in (8, 16, 32, 64, 128):
            several: dict[str, Order] = orders if nbits > 8 else {"": orders["_ne"]}
            for suffix, order in several.items():
                name = f"{kind}{nbits}{suffix}"
                decode = _int_decoder(order, is_signed)
                yield _Accessor(f"get_{name}", f"peek_{name}", nbits // 8, decode)
        for suffix, order in orders.items():
            name = f"uint{suffix}" if kind == "u" else f"int{suffix}"
            decode = _int_decoder(order, is_signed)
            for width in range(17):
                yield _Accessor(f"get_{name}", f"peek_{name}", width, decode, (width,), 2)
    for nbits, code in ((16, "e"), (32, "f"), (64, "d")):
        for suffix, prefix in (("_be", ">"), ("_le", "<"), ("_ne", "=")):
            name = f"f{nbits}{suffix}"
            yield _Accessor(
                f"get_{name}", f"peek_{name}", nbits // 8, _float_decoder(prefix + code)
            )


def _int_decoder(order: Order, is_signed: bool) -> Callable[[bytes], object]:
    return lambda data: int.from_bytes(data, order, signed=is_signed)


def _float_decoder(layout: str) -> Callable[[bytes], object]:
    return lambda data: struct.unpack(layout, data)[0]


NUMBERS: Final = tuple(_number_accessors())

VIEWS: Final = tuple(
    _Accessor("take", "peek_view", nbytes, BytesView, (count,))
    for nbytes in (*range(18), len(DATA) - 1, len(DATA))
    for count in ((nbytes, AnIndex(nbytes)) if nbytes == 3 else (nbytes,))
)

STRUCTS: Final = tuple(
    _Accessor("unpack", "peek_unpack", struct.calcsize(text), struct.Struct(text).unpack, (layout,))
    for text in (">BH4s", "<qd", "=e?", "5x", "", "67s")
    for layout in (text, struct.Struct(text))
)


def _peeks(buf: Buf, name: str, accessor: _Accessor, left: bytes) -> None:
    """Hold a peek at what is there to be right, or to be beyond what can be shown."""
    what = named(buf, name, accessor.args)
    try:
        found = getattr(buf, name)(*accessor.args)
    except NotImplementedError:
        shown = sum(chunk.nbytes for chunk in buf.chunks_vectored())
        holds(shown < accessor.nbytes, f"{what} was refused, though {shown} bytes are shown")
    else:
        same(found, accessor.decode(left[: accessor.nbytes]), what)
    _stands(buf, left, what)


def _reads(make: MakeBuf, accessor: _Accessor) -> None:
    """Read all of `DATA` by an accessor, from each place where it can begin."""
    nbytes = accessor.nbytes
    for start in range(min(max(nbytes, 1), len(DATA) - nbytes + 1, accessor.starts)):
        for prefix in ("", "try_") if start < 2 else ("",):
            buf = make(DATA)
            buf.advance(start)
            at = start
            while at + nbytes <= len(DATA):
                here = DATA[at:]
                _peeks(buf, prefix + accessor.peek, accessor, here)
                what = named(buf, prefix + accessor.take, accessor.args)
                wanted = accessor.decode(here[:nbytes])
                gives(buf, prefix + accessor.take, accessor.args, wanted)
                at += nbytes
                _stands(buf, DATA[at:], what)
                if not nbytes:
                    break
            if nbytes:
                _is_too_little(buf, accessor, DATA[at:])


def _is_too_little(buf: Buf, accessor: _Accessor, left: bytes) -> None:
    """Hold the four of an accessor to refuse what is not all there, and to stay."""
    for name in (accessor.take, accessor.peek):
        refuses(
            buf, name, accessor.args, NotEnoughBytes, requested=accessor.nbytes, available=len(left)
        )
        _stands(buf, left, named(buf, name, accessor.args))
        gives(buf, f"try_{name}", accessor.args, None)
        _stands(buf, left, named(buf, f"try_{name}", accessor.args))
    _ends_with(buf, left, "what was refused")


NO_LIMITS: Final[Wrong] = (
    (-1, ValueError),
    (-HUGE, ValueError),
    (1.0, TypeError),
    ("1", TypeError),
    (b"1", TypeError),
)
NO_COUNTS: Final[Wrong] = (*NO_LIMITS, (None, TypeError))
NO_WIDTHS: Final[Wrong] = (*NO_COUNTS, (17, ValueError), (HUGE, ValueError))


def _refuses_arguments(buf: Buf, names: Iterable[str], wrong: Wrong, left: bytes) -> None:
    for name in names:
        for argument, kind in wrong:
            refuses(buf, name, (argument,), kind)
            _stands(buf, left, named(buf, name, (argument,)))


# What a Buf is held to


def says_what_is_left(make: MakeBuf) -> None:
    """`remaining`, `len`, `bool`, `chunk` and `chunks_vectored` agree, from one byte to all."""
    for nbytes in range(len(DATA) + 1):
        _ends_with(make(DATA[:nbytes]), DATA[:nbytes], "nothing")


def advances(make: MakeBuf) -> None:
    """`advance` drops the first bytes, however many; by nothing it does not move."""
    for step in range(len(DATA) + 1):
        loud, quiet = make(DATA), make(DATA)
        _refuses_to_advance(loud, DATA)
        for at in range(step or 1, len(DATA) + 1, step or 1):
            count = step if at % 2 else AnIndex(step)
            gives(loud, "advance", (count,), None)
            gives(quiet, "try_advance", (count,), True)
            left = DATA[at if step else 0 :]
            _stands(loud, left, f"advance({step})")
            _stands(quiet, left, f"try_advance({step})")
        left = DATA[len(DATA) // step * step if step else 0 :]
        for buf in (loud, quiet):
            _refuses_to_advance(buf, left)
            _ends_with(buf, left, "advance() that was refused")


def _refuses_to_advance(buf: Buf, left: bytes) -> None:
    for excess in (1, 2, HUGE):
        wanted = len(left) + excess
        refuses(buf, "advance", (wanted,), NotEnoughBytes, requested=wanted, available=len(left))
        _stands(buf, left, f"advance({wanted})")
        gives(buf, "try_advance", (wanted,), False)
        _stands(buf, left, f"try_advance({wanted})")


def shows_chunks_in_order(make: MakeBuf) -> None:
    """`chunks_vectored` shows a prefix of what is left, at most as many chunks as are wanted."""
    for at in range(len(DATA) + 1):
        buf = make(DATA)
        buf.advance(at)
        count = _shows(buf, DATA[at:], None, f"advance({at})")
        for max_chunks in (*range(count + 2), HUGE):
            _shows(buf, DATA[at:], max_chunks, f"advance({at})")
        _ends_with(buf, DATA[at:], "chunks_vectored()")


def can_be_sent_by_chunks(make: MakeBuf) -> None:
    """Advancing by what `chunks_vectored` showed, or by a part of it, misses no byte."""
    for max_chunks in (None, 1, 2, 3):
        for lost in range(3):
            buf, sent = make(DATA), b""
            while len(sent) < len(DATA):
                shown = b"".join(buf.chunks_vectored(max_chunks))
                shown = shown[: max(1, len(shown) - lost)]
                same(shown, DATA[len(sent) :][: len(shown)], named(buf, "chunks_vectored"))
                holds(bool(shown), f"{named(buf, 'chunks_vectored')} shows nothing")
                buf.advance(len(shown))
                sent += shown
                _stands(buf, DATA[len(sent) :], f"advance({len(shown)})")


def reads_numbers(make: MakeBuf) -> None:
    """`get_…` and `peek_…` of each format are what `struct` and `int.from_bytes` say."""
    for accessor in NUMBERS:
        _reads(make, accessor)


def reads_variable_lengths(make: MakeBuf) -> None:
    """LEB128 and zigzag over any cuts; none of one that is cut off or too long."""
    for kind, numbers in VARINTS.items():
        data = b"".join(numbers.values())
        for prefix in ("", "try_"):
            buf, left = make(data), data
            for value, encoded in numbers.items():
                _takes_varint(buf, f"{prefix}peek_{kind}", left, value, 0)
                left = _takes_varint(buf, f"{prefix}get_{kind}", left, value, len(encoded))
        for encoded in numbers.values():
            for nbytes in range(len(encoded)):
                _cuts_varint_off(make(encoded[:nbytes]), kind, encoded[:nbytes])
        for name in (f"get_{kind}", f"peek_{kind}", f"try_get_{kind}", f"try_peek_{kind}"):
            _refuses_long_varint(make, name)


VARINTS: Final = {
    "uleb128": {
        0: b"\0",
        127: b"\x7f",
        128: b"\x80\x01",
        624485: b"\xe5\x8e\x26",
        (1 << 64) - 1: b"\xff" * 9 + b"\x01",
    },
    "sleb128": {
        0: b"\0",
        -1: b"\x7f",
        64: b"\xc0\x00",
        -123456: b"\xc0\xbb\x78",
        -1 << 63: b"\x80" * 9 + b"\x7f",
        (1 << 63) - 1: b"\xff" * 9 + b"\x00",
    },
    "zigzag": {
        0: b"\0",
        -1: b"\x01",
        1: b"\x02",
        150: b"\xac\x02",
        -1 << 63: b"\xff" * 9 + b"\x01",
    },
}
"""Numbers and their bytes, by hand from the formats' descriptions."""


def _takes_varint(buf: Buf, name: str, left: bytes, value: int, nbytes: int) -> bytes:
    """Hold a call to give `value` and move by `nbytes`, if it can look so far; return the rest."""
    what = named(buf, name)
    try:
        found = getattr(buf, name)()
    except NotImplementedError:
        shown = sum(chunk.nbytes for chunk in buf.chunks_vectored())
        holds(shown < len(left), f"{what} was refused, though everything is shown")
        _stands(buf, left, what)
        buf.advance(nbytes)
    else:
        same(found, value, what)
    _stands(buf, left[nbytes:], what)
    return left[nbytes:]


def _cuts_varint_off(buf: Buf, kind: str, left: bytes) -> None:
    for name in (f"get_{kind}", f"peek_{kind}"):
        if sum(chunk.nbytes for chunk in buf.chunks_vectored()) < len(left):
            continue  # it may well say that it cannot look so far ahead
        refuses(buf, name, (), NotEnoughBytes, requested=len(left) + 1, available=len(left))
        _stands(buf, left, named(buf, name))
        gives(buf, f"try_{name}", (), None)
        _stands(buf, left, named(buf, f"try_{name}"))
    _ends_with(buf, left, f"get_{kind}() that was refused")


def _refuses_long_varint(make: MakeBuf, name: str) -> None:
    for max_bits, encoded in ((64, b"\xff" * 10), (8, b"\x80\x7d"), (7, b"\xff\x01")):
        buf = make(encoded)
        if sum(chunk.nbytes for chunk in buf.chunks_vectored()) < len(encoded):
            continue
        refuses(buf, name, (max_bits,), VarintTooLong, max_bits=max_bits)
        _ends_with(buf, encoded, named(buf, name, (max_bits,)))
    buf = make(b"\x01")
    for wrong, error in ((0, ValueError), (-1, ValueError), (1.0, TypeError), ("8", TypeError)):
        refuses(buf, name, (wrong,), error)
    _ends_with(buf, b"\x01", f"wrong arguments of {name}")


def reads_structs(make: MakeBuf) -> None:
    """`unpack` and `peek_unpack` are what `struct` says, of formats and of structs."""
    for accessor in STRUCTS:
        _reads(make, accessor)
    for name in ("unpack", "try_unpack", "peek_unpack", "try_peek_unpack"):
        buf = make(DATA)
        refuses(buf, name, ("no format",), struct.error)
        refuses(buf, name, (5,), TypeError)
        _ends_with(buf, DATA, named(buf, name, ("no format",)))


def takes_views(make: MakeBuf) -> None:
    """`take` and `peek_view` give views of exactly as many bytes as were asked for."""
    for accessor in VIEWS:
        _reads(make, accessor)


def gives_views_that_stay(make: MakeBuf) -> None:
    """What was taken or peeked at shows the same bytes when everything has been read."""
    for nbytes in range(1, len(DATA)):
        buf = make(DATA)
        views = [buf.peek_view(min(nbytes, buf.chunk().nbytes)), buf.take(nbytes), buf.take_rest()]
        _stands(buf, b"", "take_rest()")
        for view, wanted in zip(views, (DATA, DATA, DATA[nbytes:]), strict=True):
            same(view, BytesView(wanted[: len(view)]), f"later, {named(buf, 'take', (nbytes,))}")


def copies_into_memory(make: MakeBuf) -> None:
    """`copy_to_slice` fills any writable memory that is not larger than what is left."""
    for name, yes, no in (("copy_to_slice", None, None), ("try_copy_to_slice", True, False)):
        for nbytes in range(len(DATA) + 1):
            buf, room = make(DATA), bytearray(b"room" * 20)
            target = memoryview(room)[1 : 1 + nbytes]
            what = named(buf, name, (f"{nbytes} bytes",))
            gives(buf, name, (target,), yes)
            same(bytes(room), b"r" + DATA[:nbytes] + (b"room" * 20)[1 + nbytes :], what)
            _stands(buf, DATA[nbytes:], what)
            too_much = bytearray(b"x" * (len(DATA) - nbytes + 1))
            if no is None:
                available = len(DATA) - nbytes
                refuses(
                    buf, name, (too_much,), NotEnoughBytes,
                    requested=len(too_much), available=available,
                )  # fmt: skip
            else:
                gives(buf, name, (too_much,), no)
            same(bytes(too_much), b"x" * len(too_much), f"refused, {what}")
            _ends_with(buf, DATA[nbytes:], f"refused, {what}")
        buf, items = make(DATA), array.array("I", [0] * 4)
        gives(buf, name, (items,), yes)
        same(items.tobytes(), DATA[: 4 * items.itemsize], named(buf, name, (items,)))
        left = DATA[4 * items.itemsize :]
        wrong = (b"read-only", "text", 5, None, memoryview(bytearray(8))[::2])
        _refuses_arguments(buf, [name], tuple((argument, TypeError) for argument in wrong), left)


def drains(make: MakeBuf) -> None:
    """`drain` takes each byte when it yields it, and no more."""
    for nbytes in range(len(DATA) + 1):
        buf = make(DATA)
        taken = list(islice(buf.drain(), nbytes))
        same(taken, list(DATA[:nbytes]), named(buf, "drain"))
        _stands(buf, DATA[nbytes:], f"{nbytes} bytes of drain()")
        taken += islice(buf.drain(), len(DATA))  # and not a list of all: it need not end
        same(taken, list(DATA), named(buf, "drain"))
        _stands(buf, b"", "drain()")


def is_put(make: MakeBuf) -> None:
    """`BufMut.put` copies all of it; what does not fit leaves it where it was."""
    for start in range(len(DATA) + 1):
        buf = make(DATA)
        buf.advance(start)
        left = DATA[start:]
        target = BytesBuf.with_capacity(len(DATA))
        if left:
            target.put_repeated(0, target.remaining_capacity - len(left) + 1)
            args = (buf,)
            refuses(target, "put", args, BufferFull, requested=len(left), available=len(left) - 1)
            _stands(buf, left, "put() that was refused")
        target = BytesBuf.with_capacity(len(DATA))
        gives(target, "put", (buf,), None)
        same(bytes(target.consume_all()), left, f"put() of a {type(buf).__name__}")
        _stands(buf, b"", "put()")


def refuses_wrong_arguments(make: MakeBuf) -> None:
    """What is no count is a TypeError, a negative one a ValueError; nothing has moved."""
    for at in (0, 1, len(DATA)):
        buf, left = make(DATA), DATA[at:]
        buf.advance(at)
        counted = ("advance", "try_advance", "take", "try_take", "peek_view", "try_peek_view")
        _refuses_arguments(buf, counted, NO_COUNTS, left)
        _refuses_arguments(buf, ["chunks_vectored"], NO_LIMITS, left)
        for kind in ("uint_be", "uint_le", "uint_ne", "int_be", "int_le", "int_ne"):
            sized = [f"{prefix}_{kind}" for prefix in ("get", "try_get", "peek", "try_peek")]
            _refuses_arguments(buf, sized, NO_WIDTHS, left)
        _ends_with(buf, left, "wrong arguments")


BUF_CHECKS: Final[tuple[Callable[[MakeBuf], None], ...]] = (
    says_what_is_left,
    advances,
    shows_chunks_in_order,
    can_be_sent_by_chunks,
    reads_numbers,
    reads_variable_lengths,
    reads_structs,
    takes_views,
    gives_views_that_stay,
    copies_into_memory,
    drains,
    is_put,
    refuses_wrong_arguments,
)
"""Checks of a `Buf`: each takes a factory of one over given bytes, and raises AssertionError."""
