"""The machine of `ReceiveBuffer`: everything that can be done to one, against a `bytearray`.

The buffer's borders (what is small, how much is joined, how far the first search goes) are moved
down to a few bytes, so that a short play crosses each of them. What was taken is kept, and the pool
that the bytes came in writes all over each block that it leases again.
"""

from __future__ import annotations

from collections.abc import Iterable

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from machine import EXAMPLES_FACTOR, Kept, SmallPool

from trio_bytesbuf import BytesView, NotEnoughBytes
from trio_bytesbuf.buffered import _receive_buffer
from trio_bytesbuf.buffered._receive_buffer import (
    PINNED_TIMES,
    Delimiters,
    ReceiveBuffer,
    check_receive_buffer,
)
from trio_bytesbuf.seq import _pieces

MACHINE_SETTINGS = settings(
    max_examples=120 * EXAMPLES_FACTOR, stateful_step_count=40, deadline=None, print_blob=True
)

MAX_KEPT = 30

PARTS = st.sampled_from((b"a", b"b", b"\r", b"\n", b"\r\n", b"ab", b"aa", b"x" * 9, b"x" * 30))
"""What contents are made of: a delimiter comes seldom enough for a search to be in vain."""

CONTENTS = st.lists(PARTS, max_size=5).map(b"".join)
PIECES = st.lists(CONTENTS, max_size=4)
FORMS = st.sampled_from(("pool", "bytes", "mixed"))
COUNTS = st.one_of(st.integers(0, 12), st.integers(0, 150))
LIMITS = st.one_of(st.none(), st.integers(0, 80))

FAMILIES: tuple[Delimiters, ...] = (
    (b"\n",),
    (b"\r\n",),
    (b"\r\n", b"\n"),
    (b"\n", b"\r\n"),
    (b"\n", b"\r"),
    (b"aa",),
    (b"aba", b"ab", b"b"),
    (b"abab", b"ba"),
    (b"x" * 6, b"\r\n\r\n"),
    (b"xxx\r\n", b"b"),
    (b"never", b"\n"),
    (b"a", b"xa", b"xxa", b"xxxxxa"),
)
DELIMITERS = st.one_of(
    st.sampled_from(FAMILIES),
    st.lists(
        st.lists(st.sampled_from(b"abx\r\n"), min_size=1, max_size=6).map(bytes),
        min_size=1,
        max_size=4,
        unique=True,
    ).map(tuple),
)


def found_in(
    data: bytes | bytearray, delimiters: Delimiters, max_nbytes: int | None = None
) -> tuple[int, int] | None:
    """Return where the first delimiter ends and how long it is, looking at each end in turn."""
    limit = len(data) if max_nbytes is None else min(len(data), max_nbytes)
    for end in range(1, limit + 1):
        lengths = [len(one) for one in delimiters if data.endswith(one, 0, end)]
        if lengths:
            return end, max(lengths)
    return None


def view_of(pieces: Iterable[bytes], form: str, pool: SmallPool) -> BytesView:
    """Return a view of `pieces`, each in memory of its own or in blocks of the pool."""
    return BytesView.from_views(
        BytesView.copied_from_slice(piece, pool)
        if form == "pool" or (form == "mixed" and index % 2)
        else BytesView(piece)
        for index, piece in enumerate(pieces)
    )


class ReceiveBufferMachine(RuleBasedStateMachine):
    """One buffer, and a `bytearray` that holds what it should."""

    def __init__(self) -> None:
        super().__init__()
        self.borders = pytest.MonkeyPatch()
        self.borders.setattr(_receive_buffer, "SMALL_NBYTES", 8)
        self.borders.setattr(_receive_buffer, "TAIL_NBYTES", 24)
        self.borders.setattr(_receive_buffer, "FIRST_SEARCH_NBYTES", 4)
        self.borders.setattr(_pieces, "WINDOW_NBYTES", 16)
        self.pool = SmallPool()
        self.buffer = ReceiveBuffer()
        self.model = bytearray()
        self.sought: Delimiters = (b"\r\n", b"\n")
        self.kept: list[Kept] = []

    def teardown(self) -> None:
        self.borders.undo()

    def keep(self, view: BytesView, shown: bytes) -> None:
        """Check what was given away, and look at it again after each later step."""
        assert view.to_bytes() == shown, "other bytes came out than went in"
        self.kept = [*self.kept[-MAX_KEPT:], Kept(view, shown)]

    # Putting in

    @rule(pieces=PIECES, form=FORMS)
    def feed_a_view(self, pieces: list[bytes], form: str) -> None:
        self.buffer.feed(view_of(pieces, form, self.pool))
        self.model += b"".join(pieces)

    @rule(data=CONTENTS)
    def feed_bytes(self, data: bytes) -> None:
        self.buffer.feed(data)
        self.model += data

    @rule(data=CONTENTS)
    def feed_what_changes_then(self, data: bytes) -> None:
        changing = bytearray(data)
        self.buffer.feed(changing)
        changing[:] = b"\xff" * len(data)
        self.model += data

    @rule(data=CONTENTS)
    def drip(self, data: bytes) -> None:
        for index in range(len(data)):
            self.buffer.feed(data[index : index + 1])
        self.model += data

    @rule(data=CONTENTS)
    def drip_and_find(self, data: bytes) -> None:
        for index in range(len(data)):
            self.buffer.feed(data[index : index + 1])
            self.model += data[index : index + 1]
            self.find(None)

    @rule(pieces=PIECES, form=FORMS)
    def unread(self, pieces: list[bytes], form: str) -> None:
        self.buffer.unread(view_of(pieces, form, self.pool))
        self.model[:0] = b"".join(pieces)

    @rule(nbytes=COUNTS)
    def take_and_unread(self, nbytes: int) -> None:
        """What was taken is put back: nothing has changed."""
        view = self.buffer.try_take(nbytes)
        if view is not None:
            self.buffer.unread(view)

    # Taking out

    @rule(nbytes=COUNTS, is_tried=st.booleans())
    def take(self, nbytes: int, is_tried: bool) -> None:
        if nbytes > len(self.model):
            if is_tried:
                assert self.buffer.try_take(nbytes) is None, "more than there is"
            else:
                with pytest.raises(NotEnoughBytes) as caught:
                    self.buffer.take(nbytes)
                assert caught.value.requested == nbytes
                assert caught.value.available == len(self.model)
            return
        taken = self.buffer.try_take(nbytes) if is_tried else self.buffer.take(nbytes)
        assert taken is not None, "fewer than there are"
        self.keep(taken, bytes(self.model[:nbytes]))
        del self.model[:nbytes]

    @rule()
    def take_all(self) -> None:
        self.keep(self.buffer.take_all(), bytes(self.model))
        self.model.clear()

    @rule(nbytes=COUNTS)
    def discard(self, nbytes: int) -> None:
        if nbytes > len(self.model):
            with pytest.raises(NotEnoughBytes):
                self.buffer.discard(nbytes)
            return
        self.buffer.discard(nbytes)
        del self.model[:nbytes]

    @rule()
    def clear(self) -> None:
        self.buffer.clear()
        self.model.clear()

    # Looking

    @rule(nbytes=COUNTS)
    def peek(self, nbytes: int) -> None:
        self.keep(self.buffer.peek(nbytes), bytes(self.model[:nbytes]))

    @rule(nbytes=COUNTS)
    def peek_bytes(self, nbytes: int) -> None:
        expected = bytes(self.model[:nbytes]) if nbytes <= len(self.model) else None
        assert self.buffer.peek_bytes(nbytes) == expected, "other bytes came out than went in"

    @rule(delimiters=DELIMITERS)
    def look_for_something_else(self, delimiters: Delimiters) -> None:
        self.sought = delimiters
        self.find(None)

    @rule(max_nbytes=LIMITS)
    def find(self, max_nbytes: int | None) -> None:
        expected = found_in(self.model, self.sought, max_nbytes)
        found = self.buffer.find(self.sought, max_nbytes)
        assert found == expected, f"a search found {found} and not {expected}"

    @rule(max_nbytes=LIMITS)
    def read_until(self, max_nbytes: int | None) -> None:
        found = self.buffer.find(self.sought, max_nbytes)
        expected = found_in(self.model, self.sought, max_nbytes)
        assert found == expected, f"a search found {found} and not {expected}"
        if found is not None:
            self.take(found[0], False)

    @rule()
    def settle(self) -> None:
        self.buffer.settle()
        window = self.buffer._window
        left = window.nbytes - self.buffer._at
        assert memoryview(window.obj).nbytes <= PINNED_TIMES * left, "Law 4: a block is pinned"
        assert self.buffer._text is None, "Law 4: a copy is kept"

    # Always

    @invariant()
    def holds_what_it_should(self) -> None:
        check_receive_buffer(self.buffer)
        assert len(self.buffer) == len(self.model), "it counts other bytes than it holds"
        shown = self.buffer.peek(len(self.model))
        assert shown.to_bytes() == self.model, "other bytes came out than went in"

    @invariant()
    def shows_what_it_has_shown(self) -> None:
        for kept in self.kept:
            kept.check()
