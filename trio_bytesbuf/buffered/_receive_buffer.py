"""`ReceiveBuffer`: bytes that have arrived and were not taken yet. It knows no event loop.

    | window: one piece, taken up to `_at` | rest: whole pieces | tail: small ones, joined |
    |        <-------------------------------- len(buffer) ------------------------------->|

Law 1. What is fed comes out, in order, once. `check_receive_buffer` looks at the books.
Law 2. No byte is copied that arrived in a piece of `SMALL_NBYTES` or more, but to be searched, a
       window at a time, or for Law 4. Smaller ones are joined, so a peer that drips costs the bytes
       it sends and not an object for each.
Law 3. What was searched in vain is not searched again: `find` remembers how far it came until
       bytes are taken. So is a window in which a framing found no whole frame (`_stuck_for`).
Law 4. While a peer is waited for (`settle`), the buffer holds no block that is much larger than
       what is in it, and no copy that was made for a search.
Law 5. The window is let go of as soon as all of it is taken.
"""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Final, SupportsIndex

import attrs

from .._errors import NotEnoughBytes
from ..seq import BytesView
from ..seq._flat import SoleOwner, count_of
from ..seq._pieces import windows
from ..seq._view import make_view, said

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..seq import BlockRef
    from ..seq._flat import Buffer

SMALL_NBYTES: Final = 512
"""Pieces below this are joined with others behind what is waiting already: a piece of its own
costs some 300 bytes beside its contents."""

TAIL_NBYTES: Final = 65_536
"""How much of small pieces is joined into one: as much as a large receive has."""

TEXT_NBYTES: Final = 65_536
"""How much of a window is copied at a time, to be searched. Copies of 256 KiB are mapped, touched
and unmapped by the allocator each time: a third of what lines cost."""

MERGED_NBYTES: Final = 4096
"""Up to so many bytes of a window are copied to be searched together with what comes next: a
sixteenth of that, so it does not count, and one line in eight hundred is no longer special."""

PINNED_TIMES: Final = 4
"""A block may be so many times as large as what is left of it while a peer is waited for. As the
pool itself has it (`Memory.is_worth_keeping`)."""

FIRST_SEARCH_NBYTES: Final = 256
"""How far a search for several delimiters looks for each of them to begin with: a line of text is
mostly shorter."""

EMPTY: Final = memoryview(b"")

Delimiters = tuple[bytes, ...]


@attrs.define(eq=False, init=False, repr=False)
class ReceiveBuffer(SoleOwner):
    """A queue of bytes: fed with views as they arrive, searched, and taken from the front.

    What a `BufReader` reads from, and what a framing of your own measures. Taking copies nothing.

    Example:
      >>> buffer = ReceiveBuffer()
      >>> buffer.feed(b"HELO tr")
      >>> buffer.find((b"\\r\\n",))
      >>> buffer.feed(b"io\\r\\nQUIT")
      >>> buffer.find((b"\\r\\n",))
      (11, 2)
      >>> buffer.take(9), buffer.discard(2), len(buffer)
      (<BytesView b'HELO trio', 9 bytes in 2 pieces>, None, 4)

    Idea: h11's buffer of what was received, which remembers how far it was searched.
    """

    _window: memoryview
    _ref: BlockRef | None
    _at: int
    _stop: int
    _text: bytes | None
    _rest: deque[tuple[memoryview, BlockRef | None]]
    _rest_nbytes: int
    _unread_pieces: int
    _tail: bytearray
    _searched_for: Delimiters | None
    _searched_nbytes: int
    _stuck_for: object

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        rest: deque[tuple[memoryview, BlockRef | None]] = deque()
        tail = bytearray()
        # From here on nothing can fail.
        self._window, self._ref, self._text = EMPTY, None, None
        self._at = self._stop = self._rest_nbytes = 0
        self._searched_nbytes = self._unread_pieces = 0
        self._rest, self._tail = rest, tail
        self._searched_for = self._stuck_for = None

    def __len__(self) -> int:
        return self._stop - self._at + self._rest_nbytes

    def __repr__(self) -> str:
        return f"<ReceiveBuffer of {len(self)} bytes>"

    # Putting in

    def feed(self, data: BytesView | Buffer) -> None:
        """Put what has arrived behind everything else.

        Args:
          data: a view, whose bytes are not copied if they are many; or a buffer, which is copied
            unless it is `bytes`.

        Raises:
          TypeError: `data` is neither.
        """
        view = data if type(data) is BytesView else _fixed(data)
        nbytes = view._nbytes
        if not nbytes:
            return
        total = self._rest_nbytes + nbytes  # now, as even a number may lack memory
        if nbytes < SMALL_NBYTES and self._stop != self._at:
            if len(self._tail) + nbytes >= TAIL_NBYTES:
                self._seal()
            pieces = view._pieces
            self._tail += pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self._rest_nbytes = total
            return
        pieces, refs = view._pieces, view._refs
        if self._stop == self._at and len(pieces) == 1:  # the common case, written out
            self._window, self._ref = pieces[0], refs[0] if refs else None
            self._stop = nbytes
            self._text = self._searched_for = self._stuck_for = None
            return
        self._seal()
        fed = list(zip(pieces, refs or (None,) * len(pieces), strict=True))
        count = len(self._rest)
        try:
            self._rest += fed
            self._rest_nbytes = total
            if self._stop == self._at:
                self._turn()  # which moves a piece as the last that it does
        except BaseException:  # who fed it has it still
            while len(self._rest) > count:
                self._rest.pop()
            self._rest_nbytes = total - nbytes
            raise

    def unread(self, data: BytesView | Buffer) -> None:
        """Put bytes before everything else, to be taken next; otherwise as `feed`."""
        view = data if type(data) is BytesView else _fixed(data)
        if not view._nbytes:
            return
        refs = view._refs or (None,) * len(view._pieces)
        put = list(zip(view._pieces, refs, strict=True))
        if self._stop != self._at:
            put.append((self._window[self._at :], self._ref))
        window, ref = put[0]
        stop = window.nbytes
        rest_nbytes = len(self) + view._nbytes - stop
        unread_pieces = self._unread_pieces + len(view._pieces) + 1
        count = len(self._rest)
        try:
            self._rest.extendleft(put[:0:-1])
        except BaseException:
            while len(self._rest) > count:
                self._rest.popleft()
            raise
        # From here on nothing can fail.
        self._window, self._ref, self._stop, self._rest_nbytes = window, ref, stop, rest_nbytes
        self._text = self._searched_for = self._stuck_for = None
        self._at = 0
        self._unread_pieces = unread_pieces

    def _seal(self) -> None:
        """Make a piece of the small ones that were joined."""
        if self._tail:
            fresh = bytearray()
            self._rest.append((memoryview(bytes(self._tail)), None))
            self._tail = fresh

    def _turn(self) -> None:
        """Make what comes next the window. (Law 5)"""
        if not self._rest:
            self._seal()
        if self._rest:
            window, ref = self._rest[0]
            stop = window.nbytes
            rest_nbytes = self._rest_nbytes - stop
            self._rest.popleft()  # from here on nothing can fail
            self._window, self._ref, self._stop, self._rest_nbytes = window, ref, stop, rest_nbytes
        else:
            self._window, self._ref, self._stop = EMPTY, None, 0
        self._text = self._searched_for = self._stuck_for = None
        self._at = 0

    def settle(self) -> None:
        """Let go of memory that is much larger than what is left of it. (Law 4)"""
        self._text = None
        if self._unread_pieces:
            self._settle_unread()
        left = self._stop - self._at
        if left * PINNED_TIMES < memoryview(self._window.obj).nbytes:
            stuck, sought = self._stuck_for, self._searched_for
            self._window, self._ref = memoryview(self._window[self._at :].tobytes()), None
            self._at, self._stop = 0, left
            self._stuck_for, self._searched_for = stuck, sought

    def _settle_unread(self) -> None:
        """Copy what lies in much larger blocks, of the pieces that were put in front."""
        rest = self._rest
        for index in range(min(self._unread_pieces, len(rest))):
            piece, _ = rest[index]
            if piece.nbytes * PINNED_TIMES < memoryview(piece.obj).nbytes:
                rest[index] = (memoryview(piece.tobytes()), None)
        self._unread_pieces = 0

    def _held_pieces(self) -> list[memoryview]:
        """Return what is here, but for small pieces that were joined and the front of the first."""
        return [self._window, *(piece for piece, _ in self._rest)]

    @property
    def memory_nbytes(self) -> int:
        """How many bytes of memory are kept for what is here; blocks count whole, each once."""
        kept = {id(piece.obj): piece.obj for piece in self._held_pieces()} | {
            id(self._text): self._text or b""
        }
        return len(self._tail) + sum(memoryview(one).nbytes for one in kept.values())

    def compact(self) -> None:
        """Copy what is here if that keeps less memory; what was searched counts as new."""
        if self.memory_nbytes > len(self):
            data = memoryview(self.peek(len(self)).to_bytes())
            nbytes = data.nbytes
            self.clear()  # which does nothing if it lacks memory
            self._window, self._stop = data, nbytes

    # Taking out

    def try_take(self, nbytes: SupportsIndex) -> BytesView | None:
        """Like `take`, but None when there are fewer bytes."""
        if type(nbytes) is int:
            at = self._at
            stop = at + nbytes
            if at < stop < self._stop:  # the common case, written out: all of it is in the window
                ref = self._ref
                view = make_view((self._window[at:stop],), nbytes, None if ref is None else (ref,))
                self._at = stop  # last: what lacks memory has taken nothing
                self._searched_for = self._stuck_for = None
                return view
        return self._try_take_from_all(count_of(nbytes, "nbytes"))

    def _try_take_from_all(self, nbytes: int) -> BytesView | None:
        if nbytes > len(self):
            return None
        pieces: list[memoryview] = []
        refs: list[BlockRef | None] = []
        missing = nbytes
        before = self._stop - self._at + self._rest_nbytes
        try:
            while missing:
                piece = self._window[self._at : self._at + missing]
                pieces.append(piece)
                refs.append(self._ref)
                missing -= piece.nbytes
                self._move_to(self._at + piece.nbytes)
            return make_view(tuple(pieces), nbytes, said(refs))
        except BaseException:  # no memory: what is out already goes back
            taken = make_view(tuple(pieces), sum(map(len, pieces)), said(refs[: len(pieces)]))
            self.unread(taken[: before - len(self)])
            raise

    def take(self, nbytes: SupportsIndex) -> BytesView:
        """Take `nbytes` bytes from the front.

        Raises:
          NotEnoughBytes: there are fewer; nothing was taken.
          TypeError, ValueError: `nbytes` is no integer, or negative.

        Cost: no copy; proportional to the number of pieces.
        """
        view = self.try_take(nbytes)
        if view is None:
            raise NotEnoughBytes(requested=nbytes.__index__(), available=len(self))
        return view

    def take_all(self) -> BytesView:
        """Take everything."""
        return self.take(len(self))

    def discard(self, nbytes: SupportsIndex) -> None:
        """Drop `nbytes` bytes from the front; otherwise as `take`."""
        missing = count_of(nbytes, "nbytes")
        if missing > len(self):
            raise NotEnoughBytes(requested=missing, available=len(self))
        if missing < self._stop - self._at:
            self._move_to(self._at + missing)
        elif missing:
            self._try_take_from_all(missing)

    def _move_to(self, at: int) -> None:
        """Count the window as taken up to `at`."""
        if at == self._stop:
            self._turn()
            return
        self._at = at
        self._searched_for = self._stuck_for = None

    # Looking

    def peek(self, nbytes: SupportsIndex) -> BytesView:
        """Return the first `nbytes` bytes, or all if there are fewer, and leave them.

        Raises:
          TypeError, ValueError: `nbytes` is no integer, or negative.

        Cost: no copy but of bytes that came in small pieces; proportional to the number of pieces.
        """
        missing = wanted = min(count_of(nbytes, "nbytes"), len(self))
        pieces: list[memoryview] = []
        refs: list[BlockRef | None] = []
        for piece, ref in chain(((self._window[self._at :], self._ref),), self._rest):
            if not missing:
                break
            if piece.nbytes:
                pieces.append(piece[:missing])
                refs.append(ref)
                missing -= pieces[-1].nbytes
        if missing:
            pieces.append(memoryview(bytes(self._tail[:missing])))
            refs.append(None)
        return make_view(tuple(pieces), wanted, said(refs))

    def peek_bytes(self, nbytes: int) -> bytes | None:
        """Return a copy of the first `nbytes` bytes, or None if there are fewer: for headers."""
        at = self._at
        if at + nbytes <= self._stop:
            return self._window[at : at + nbytes].tobytes()
        return self.peek(nbytes).to_bytes() if nbytes <= len(self) else None

    def find(self, delimiters: Delimiters, max_nbytes: int | None = None) -> tuple[int, int] | None:
        """Return where the first delimiter ends, and how long it is; or None.

        The first is the one that ends first, so that no byte which is yet to come can change the
        answer; of two that end at the same place, the longer one.

        Args:
          delimiters: what to look for; none of them is empty.
          max_nbytes: look at so many bytes only. A delimiter has to end there or before.

        Cost: proportional to what was not searched before, as long as `delimiters` is the same
        and nothing is taken. What is searched is copied, 64 KiB at a time.
        """
        nbytes = len(self)
        limit = nbytes if max_nbytes is None else min(nbytes, max_nbytes)
        searched = self._searched_nbytes if self._searched_for == delimiters else 0
        if limit <= searched:
            return None
        before = max(map(len, delimiters)) - 1  # so many bytes of it may be known already
        start = max(0, searched - before)
        is_over = False
        if start + before < self._stop - self._at:
            text, at = self.text(), self._at
            stop = min(self._stop - at, limit)
            end, found = first_end(text, delimiters, at + start, at + stop)
            if found:
                return end - at, found
            is_over = stop == limit
            start = max(start, stop - before)
        if not is_over:
            end, found = _first_end_in(self._run(start, limit), delimiters, before)
            if found:
                return start + end, found
        self._searched_for, self._searched_nbytes = delimiters, limit
        return None

    def text(self) -> bytes:
        """Return the bytes of the window, to be searched: `memoryview` has no `find`.

        If they have to be copied, the window may become shorter.
        """
        if self._text is None:
            exporter = self._window.obj
            if type(exporter) is bytes and len(exporter) == self._stop:
                self._text = exporter
            else:
                self._narrow()
                self._text = self._window.tobytes()
        return self._text

    def _narrow(self) -> None:
        """Make the window as short as what is copied at a time."""
        stop = self._at + TEXT_NBYTES
        if stop < self._stop:
            window = self._window[self._at : stop]
            rest_nbytes = self._rest_nbytes + self._stop - stop
            self._rest.appendleft((self._window[stop:], self._ref))
            self._window, self._rest_nbytes = window, rest_nbytes
            self._at, self._stop = 0, TEXT_NBYTES

    def merge(self) -> bool:
        """Make one window of the little that is left of this one and what comes next; say if so.

        For who searches, and so has what comes next copied anyway.
        """
        left = self._stop - self._at
        if not 0 < left <= MERGED_NBYTES or not self._rest:
            return False
        piece, ref = self._rest[0]
        nbytes = min(piece.nbytes, TEXT_NBYTES)
        if nbytes < left:  # else what drips would be copied again and again
            return False
        text = b"".join((self._window[self._at :], piece[:nbytes]))
        window, stop = memoryview(text), len(text)
        rest_nbytes = self._rest_nbytes - nbytes
        if nbytes < piece.nbytes:
            self._rest[0] = (piece[nbytes:], ref)
        else:
            self._rest.popleft()
        self._window, self._ref, self._text = window, None, text
        self._at, self._stop = 0, stop
        self._rest_nbytes = rest_nbytes
        self._stuck_for = None
        return True

    def _run(self, start: int, stop: int) -> Iterable[memoryview]:
        """Return the bytes from `start` up to `stop`, in pieces.

        Begins at the end, because a search that goes on does; so what was searched costs nothing.
        One that begins in the window walks on from there, so what lies behind its hit does not.
        """
        if start <= self._stop - self._at:
            return self._run_on(start, stop)
        run: list[memoryview] = []
        end = len(self)
        begin = end - len(self._tail)
        if begin < stop and self._tail:
            run.append(memoryview(bytes(self._tail[max(0, start - begin) : stop - begin])))
        pieces = reversed(self._rest)
        while begin > start:
            end = begin
            piece = next(pieces, None)
            part = self._window[self._at :] if piece is None else piece[0]
            begin = end - part.nbytes
            if begin < stop:
                run.append(part[max(0, start - begin) : stop - begin])
        run.reverse()
        return run

    def _run_on(self, start: int, stop: int) -> Iterator[memoryview]:
        missing = stop - start
        for piece, _ in chain(((self._window[self._at + start :], None),), self._rest):
            yield piece[:missing]
            missing -= min(missing, piece.nbytes)
            if not missing:
                return
        yield memoryview(bytes(self._tail[:missing]))


def _fixed(data: BytesView | Buffer) -> BytesView:
    """Return a view of bytes that nobody else can change."""
    if isinstance(data, (BytesView, bytes)):
        return BytesView(data)
    return BytesView.copied_from_slice(data)


def first_end(text: bytes, delimiters: Delimiters, start: int, stop: int) -> tuple[int, int]:
    """Return where the first delimiter in [start, stop) ends, and its length; which is 0 if none.

    As `find` has it: of two that end at the same place, the longer one.
    """
    if len(delimiters) == 1:
        sought = delimiters[0]
        at = text.find(sought, start, stop)
        return (at + len(sought), len(sought)) if at >= 0 else (0, 0)
    begin, step = start, FIRST_SEARCH_NBYTES
    while begin < stop:  # in steps: one that is far away is not looked for to the end, each time
        best, found = min(begin + step, stop), 0
        for sought in delimiters:
            nbytes = len(sought)
            at = text.find(sought, max(start, begin - nbytes + 1), best)
            if at >= 0 and (at + nbytes < best or nbytes > found):
                best, found = at + nbytes, nbytes
        if found:
            return best, found
        begin, step = best, step * 2
    return 0, 0


def _first_end_in(
    run: Iterable[memoryview], delimiters: Delimiters, before: int
) -> tuple[int, int]:
    """Do as `first_end` in bytes that lie in pieces."""
    at = 0
    tail = b""
    for window in windows(run, FIRST_SEARCH_NBYTES):
        text = tail + window
        end, found = first_end(text, delimiters, 0, len(text))
        if found:
            return at + end, found
        tail = text[-before:] if before else b""
        at += len(text) - len(tail)
    return 0, 0


def check_receive_buffer(buffer: ReceiveBuffer) -> None:
    """Raise AssertionError if a law of this file is broken."""
    assert buffer._stop == buffer._window.nbytes, "Law 1"
    assert 0 <= buffer._at <= buffer._stop, "Law 1"
    rest = [piece for piece, _ in buffer._rest]
    assert buffer._rest_nbytes == sum(map(len, rest)) + len(buffer._tail), "Law 1"
    assert all(piece.nbytes and piece.readonly for piece in rest), "a piece as views have none"
    assert buffer._window.readonly, "a window that can be written through"
    assert len(buffer._tail) < TAIL_NBYTES, "Law 2"
    assert buffer._text is None or buffer._text == buffer._window, "a text that is not the window's"
    assert buffer._at < buffer._stop or not buffer._rest_nbytes, "Law 5"
    assert buffer._at < buffer._stop or buffer._window is EMPTY, "Law 5"
    assert buffer._searched_for is None or buffer._searched_nbytes <= len(buffer), "Law 3"
