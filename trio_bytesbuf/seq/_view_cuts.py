"""Cutting a view as one cuts a `bytes`: at separators, at lines, at its ends. Nothing is copied."""

from __future__ import annotations

import abc
import itertools
import operator
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Self, SupportsIndex, overload

import attrs

from .._errors import NotEnoughBytes
from . import _pieces
from ._flat import count_of
from ._view_queries import Queries, bytes_of

if TYPE_CHECKING:
    from ._flat import Buffer


@attrs.define(eq=False, init=False, repr=False)
class Cuts(Queries):
    """The part of a view that cuts; see `BytesView`."""

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> int: ...

    @overload
    def __getitem__(self, index: slice, /) -> Self: ...

    @abc.abstractmethod
    def __getitem__(self, index: SupportsIndex | slice, /) -> int | Self: ...

    @abc.abstractmethod
    def _part(self, index: int, offset: int, nbytes: int) -> Self:
        """Return the `nbytes` bytes from a place on; they are known to be there."""

    def split_at(self, at: SupportsIndex) -> tuple[Self, Self]:
        """Return the first `at` bytes, and those behind them.

        Raises:
          NotEnoughBytes: the view is shorter.
          TypeError, ValueError: `at` is no integer, or negative.

        Example:
          >>> BytesView(b"headbody").split_at(4)
          (BytesView(b'head'), BytesView(b'body'))

        Idea: `split_to` and `split_off` of the Rust crate bytes, for values that do not change.
        """
        nbytes = count_of(at, "at")
        if nbytes > self._nbytes:
            raise NotEnoughBytes(requested=nbytes, available=self._nbytes)
        return self[:nbytes], self[nbytes:]

    def partition(self, sep: Buffer) -> tuple[Self, Self, Self]:
        """Cut at the first `sep`: what is before it, itself, what is after it.

        Raises:
          ValueError: `sep` is empty.
        """
        nbytes = len(_separator_of(sep))
        at = self.find(sep)
        if at < 0:
            return self[:], self[:0], self[:0]
        return self[:at], self[at : at + nbytes], self[at + nbytes :]

    def rpartition(self, sep: Buffer) -> tuple[Self, Self, Self]:
        """Like `partition`, but cut at the last one; all is behind it if there is none."""
        nbytes = len(_separator_of(sep))
        at = self.rfind(sep)
        if at < 0:
            return self[:0], self[:0], self[:]
        return self[:at], self[at : at + nbytes], self[at + nbytes :]

    def split(self, sep: Buffer, maxsplit: int = -1) -> list[Self]:
        """Cut at every `sep`, at most `maxsplit` times if that is not negative.

        Raises:
          ValueError: `sep` is empty.

        Cost: as `find`, and proportional to the number of parts.
        """
        sought = _separator_of(sep)
        limit = operator.index(maxsplit)
        hits = _pieces.hits(self._pieces, sought)
        return self._cut_at(hits if limit < 0 else itertools.islice(hits, limit), len(sought))

    def rsplit(self, sep: Buffer, maxsplit: int = -1) -> list[Self]:
        """Like `split`, but cut from the end on: at the last ones, if not at all of them."""
        sought = _separator_of(sep)
        limit = operator.index(maxsplit)
        hits = _pieces.rhits(reversed(self._pieces), sought, self._nbytes)
        found = list(hits if limit < 0 else itertools.islice(hits, limit))
        return self._cut_at(reversed(found), len(sought))

    def _cut_at(self, places: Iterable[int], nbytes: int) -> list[Self]:
        """Return what lies before, between and behind separators of `nbytes` at these places."""
        cuts: list[int] = []
        start = 0
        for at in places:
            cuts += (at - start, nbytes)
            start = at + nbytes
        return list(self._cut_into((*cuts, self._nbytes - start)))[::2]

    def splitlines(self, keepends: bool = False) -> list[Self]:  # as bytes
        """Cut into lines, which end in CR, LF or CRLF; as `bytes.splitlines`.

        Cost: proportional to the number of lines, and one copy of everything to look at.
        """
        whole = bytes_of(self).splitlines(keepends=True)
        lines = self._cut_into(map(len, whole))
        if keepends:
            return list(lines)
        ends = (len(line.rstrip(b"\r\n")) if line else 0 for line in whole)
        return [line[:end] for line, end in zip(lines, ends, strict=True)]

    def _cut_into(self, lengths: Iterator[int] | tuple[int, ...]) -> Iterator[Self]:
        index = offset = 0
        for nbytes in lengths:
            yield self._part(index, offset, nbytes)
            index, offset = _pieces.place(self._pieces, offset + nbytes, index)

    def strip(self, chars: Buffer | None = None) -> Self:
        """Return the view without the bytes of `chars` at its ends; white space if not given."""
        return self.lstrip(chars).rstrip(chars)

    def lstrip(self, chars: Buffer | None = None) -> Self:
        """Like `strip`, at the front."""
        unwanted = None if chars is None else bytes_of(chars)
        start = 0
        for window in _pieces.windows(self._pieces, _pieces.FIRST_WINDOW_NBYTES):
            left = len(bytes(window).lstrip(unwanted))
            start += len(window) - left
            if left:
                break
        return self[start:]

    def rstrip(self, chars: Buffer | None = None) -> Self:
        """Like `strip`, at the end."""
        unwanted = None if chars is None else bytes_of(chars)
        stop = self._nbytes
        run = reversed(self._pieces)
        for window in _pieces.windows(run, _pieces.FIRST_WINDOW_NBYTES, backwards=True):
            left = len(bytes(window).rstrip(unwanted))
            stop -= len(window) - left
            if left:
                break
        return self[:stop]

    def removeprefix(self, prefix: Buffer) -> Self:
        """Return the view without `prefix`, if it begins with that."""
        sought = bytes_of(prefix)
        return self[len(sought) :] if self.startswith(sought) else self[:]

    def removesuffix(self, suffix: Buffer) -> Self:
        """Return the view without `suffix`, if it ends with that."""
        sought = bytes_of(suffix)
        return self[: self._nbytes - len(sought)] if self.endswith(sought) else self[:]


def _separator_of(sep: Buffer) -> bytes:
    separator = bytes_of(sep)
    if not separator:
        raise ValueError("empty separator")
    return separator
