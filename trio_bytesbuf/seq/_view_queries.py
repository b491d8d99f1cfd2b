"""What can be asked of bytes in pieces, as of a `bytes`: equality, order, search, text.

Nothing here makes a view, and no answer depends on how the bytes are cut. `_pieces` does the work.
"""

from __future__ import annotations

import itertools
import operator
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

import attrs

from . import _pieces
from ._flat import flat

if TYPE_CHECKING:
    from ._block import BlockRef
    from ._flat import Buffer
    from ._pieces import Pieces

    Sub: TypeAlias = Buffer | int


@attrs.define(eq=False, init=False, repr=False)
class Queries:
    """The half of a view that answers; see `BytesView`."""

    _pieces: Pieces
    _nbytes: int
    _refs: tuple[BlockRef | None, ...] | None

    # Comparing

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Queries):
            if self._nbytes != other._nbytes:
                return False
            return self._pieces is other._pieces or _pieces.equal(self._pieces, other._pieces)
        if isinstance(other, (bytes, bytearray, memoryview)):
            view = memoryview(other)
            if view.ndim != 1 or view.format != "B":
                return flat_of(self) == view  # by their items, as `bytes` does
            if view.nbytes != self._nbytes:
                return False
            if not view.c_contiguous:
                view = memoryview(view.tobytes())
            return not self._nbytes or _pieces.equal(self._pieces, (view,))
        if isinstance(other, str):
            warnings.warn(
                "bytes are compared with text, to which they are never equal; decode() them",
                BytesWarning,
                stacklevel=2,
            )
        return NotImplemented

    def _order(self, other: object) -> int | None:
        """Return -1, 0 or 1 as the bytes come before others, are equal, or come behind."""
        pieces, nbytes = self._pieces, self._nbytes
        if isinstance(other, Queries):
            others, others_nbytes = other._pieces, other._nbytes
        elif isinstance(other, (bytes, bytearray, memoryview)):
            view = memoryview(other)
            if view.ndim != 1 or view.format != "B":
                return None
            view = view if view.c_contiguous else memoryview(view.tobytes())
            others, others_nbytes = (view,) if view.nbytes else (), view.nbytes
        else:
            return None
        order = _pieces.compare(pieces, others, min(nbytes, others_nbytes))
        return order or (nbytes > others_nbytes) - (nbytes < others_nbytes)

    def __lt__(self, other: object) -> bool:
        """Say whether the bytes come before others in the order of `bytes`."""
        order = self._order(other)
        return NotImplemented if order is None else order < 0

    def __le__(self, other: object) -> bool:
        order = self._order(other)
        return NotImplemented if order is None else order <= 0

    def __gt__(self, other: object) -> bool:
        order = self._order(other)
        return NotImplemented if order is None else order > 0

    def __ge__(self, other: object) -> bool:
        order = self._order(other)
        return NotImplemented if order is None else order >= 0

    def __hash__(self) -> int:
        if self._refs and any(ref and ref.may_change for ref in self._refs):
            raise TypeError(
                "unhashable: this view shows memory that may change; take compact() of it first"
            )
        return hash(bytes_of(self))

    # Looking for things

    def __iter__(self) -> Iterator[int]:
        return itertools.chain.from_iterable(self._pieces)

    def __reversed__(self) -> Iterator[int]:
        return itertools.chain.from_iterable(map(reversed, reversed(self._pieces)))

    def __contains__(self, sub: object) -> bool:
        return self.find(sub) >= 0  # type: ignore[arg-type]  # find refuses what is no buffer

    def _bounds(self, start: int | None, stop: int | None) -> tuple[int, int]:
        """Return from where to where to look; the first is over the second if nowhere."""
        first, last, _ = slice(start, stop).indices(self._nbytes)
        if start is not None and operator.index(start) > self._nbytes:
            first = self._nbytes + 1  # as in `bytes`: not even an empty one is behind the end
        return first, last

    def _run(self, start: int, stop: int) -> Iterator[memoryview]:
        return _pieces.parts(self._pieces, *_pieces.place(self._pieces, start), stop - start)

    def find(self, sub: Sub, start: int | None = None, stop: int | None = None) -> int:
        """Return the lowest offset at which `sub` begins, or -1.

        Args:
          sub: a buffer, a view, or one byte as an int.
          start, stop: look only there; as in a slice.

        Cost: proportional to the bytes looked at and the number of pieces; copies them, little to
        begin with and never over 64 KiB at a time, or the length of `sub` if that is more.
        """
        first, last = self._bounds(start, stop)
        return _pieces.find(self._pieces, _sub_of(sub), first, last)

    def rfind(self, sub: Sub, start: int | None = None, stop: int | None = None) -> int:
        """Return the highest offset at which `sub` begins, or -1; like `find` otherwise."""
        first, last = self._bounds(start, stop)
        return _pieces.rfind(self._pieces, _sub_of(sub), first, last)

    def index(self, sub: Sub, start: int | None = None, stop: int | None = None) -> int:
        """Like `find`, but raises ValueError where `find` says -1."""
        at = self.find(sub, start, stop)
        if at < 0:
            raise ValueError("subsection not found")
        return at

    def rindex(self, sub: Sub, start: int | None = None, stop: int | None = None) -> int:
        """Like `rfind`, but raises ValueError where `rfind` says -1."""
        at = self.rfind(sub, start, stop)
        if at < 0:
            raise ValueError("subsection not found")
        return at

    def count(self, sub: Sub, start: int | None = None, stop: int | None = None) -> int:
        """Count the places where `sub` is, not overlapping; for an empty one as `bytes` does."""
        sought = _sub_of(sub)
        first, last = self._bounds(start, stop)
        if not sought:
            return max(0, last - first + 1)
        return sum(1 for _ in _pieces.hits(self._run(first, last), sought))

    def startswith(
        self,
        prefix: Buffer | tuple[Buffer, ...],
        start: int | None = None,
        stop: int | None = None,
    ) -> bool:
        """Say whether the view, or a slice of it, begins with `prefix`, or with one of several."""
        first, last = self._bounds(start, stop)
        for sought in map(bytes_of, prefix if isinstance(prefix, tuple) else (prefix,)):
            nbytes = len(sought)
            if nbytes <= last - first and self._is_at(first, sought):
                return True
        return False

    def endswith(
        self,
        suffix: Buffer | tuple[Buffer, ...],
        start: int | None = None,
        stop: int | None = None,
    ) -> bool:
        """Say whether the view, or a slice of it, ends with `suffix`, or with one of several."""
        first, last = self._bounds(start, stop)
        for sought in map(bytes_of, suffix if isinstance(suffix, tuple) else (suffix,)):
            nbytes = len(sought)
            if nbytes <= last - first and self._is_at(last - nbytes, sought):
                return True
        return False

    def _is_at(self, start: int, sought: bytes) -> bool:
        return b"".join(self._run(start, start + len(sought))) == sought

    # Turning into something else

    def hex(self, sep: str | bytes | None = None, bytes_per_sep: int = 1) -> str:
        """Return the bytes as hexadecimal digits; as `bytes.hex`."""
        data = bytes_of(self)
        return data.hex() if sep is None else data.hex(sep, bytes_per_sep)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the text that the bytes spell; as `bytes.decode`, across pieces too."""
        if not self._nbytes:
            return ""
        return str(flat_of(self), encoding, errors)

    def __format__(self, spec: str) -> str:
        """Format as Rust does: `x` and `X` give digits, `?` what its `Debug` prints.

        Example:
          >>> view = BytesView(b"ok\\n\\xff")
          >>> f"{view:x} {view:X} {view:?}"
          '6f6b0aff 6F6B0AFF b"ok\\\\n\\\\xff"'
        """
        if spec == "x":
            return self.hex()
        if spec == "X":
            return self.hex().upper()
        if spec == "?":
            return f'b"{"".join(map(_DEBUG.__getitem__, self))}"'
        return format(str(self), spec)


def _debug_form(byte: int) -> str:
    """Return a byte as Rust's `Debug` of bytes writes it, which Python's `repr` does not quite."""
    named = {0: "\\0", 9: "\\t", 10: "\\n", 13: "\\r", 34: '\\"', 92: "\\\\"}
    return named.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}")


_DEBUG = tuple(map(_debug_form, range(256)))


def flat_of(data: Buffer | Queries) -> memoryview:
    """Like `flat`, but takes views on every version; one of several pieces is copied."""
    if not isinstance(data, Queries):
        return flat(data)
    return data._pieces[0][:] if len(data._pieces) == 1 else memoryview(bytes_of(data))


def bytes_of(data: Buffer | Queries) -> bytes:
    """Return a copy of the bytes."""
    return b"".join(data._pieces) if isinstance(data, Queries) else bytes(flat(data))


def _sub_of(sub: Sub) -> bytes:
    return bytes((sub,)) if isinstance(sub, int) else bytes_of(sub)
