"""Builders cut where a block ends: memory does not say that they belong together, the seam does."""

from __future__ import annotations

import pytest

from trio_bytesbuf import BytesBuf, BytesView, NotAdjacent
from trio_bytesbuf.testing import FixedBlockMemory, check_laws

DATA = b"0123456789"


def of_blocks(nbytes: int) -> BytesBuf:
    """Return a builder of DATA in blocks of `nbytes` bytes."""
    buf = FixedBlockMemory(nbytes).reserve(len(DATA))
    buf.put_slice(DATA)
    return buf


@pytest.mark.parametrize("nbytes", [1, 2, 3, 5])
@pytest.mark.parametrize("at", range(len(DATA) + 1))
@pytest.mark.parametrize("cut", ["split_to", "split_off"])
def test_what_was_cut_is_joined_wherever_it_was_cut(cut: str, at: int, nbytes: int) -> None:
    """At the end of a block as in the middle of one; and nothing counts as seen by that."""
    buf = of_blocks(nbytes)
    if cut == "split_to":
        front, rest = buf.split_to(at), buf
    else:
        front, rest = buf, buf.split_off(at)
    assert (len(front), len(rest)) == (at, len(DATA) - at)
    front.unsplit(rest)
    check_laws(front)
    front.overwrite(0, DATA[::-1])
    assert front.freeze() == DATA[::-1]


def test_parts_are_joined_in_any_order_that_keeps_theirs() -> None:
    """The seam at the end of a part goes on to what the part is joined with."""
    a = of_blocks(2)
    b = a.split_off(2)
    c = b.split_off(4)
    b.unsplit(c)
    a.unsplit(b)
    assert a.freeze() == DATA
    a = of_blocks(2)
    c = a.split_off(6)
    b = a.split_off(2)
    a.unsplit(b)
    a.unsplit(c)
    assert a.freeze() == DATA


@pytest.mark.parametrize(
    "change",
    [
        lambda front, _: front.truncate(1),
        lambda front, _: front.put_view(BytesView(b"x")),
        lambda front, _: front.extend(b"x", FixedBlockMemory(1)),
        lambda _, rest: rest.consume(1),
    ],
)
def test_parts_that_do_not_end_at_the_seam_any_more_are_strangers(change) -> None:
    """Bytes that came between, or are missing, are noticed; both builders stay as they are."""
    front = of_blocks(2)
    rest = front.split_off(4)
    change(front, rest)
    before = front.peek(), rest.peek()
    with pytest.raises(NotAdjacent) as caught:
        front.unsplit(rest)
    assert (caught.value.nbytes, caught.value.other_nbytes) == tuple(map(len, before))
    assert (front.peek(), rest.peek()) == before


def test_the_parts_in_the_wrong_order_are_strangers() -> None:
    """A seam has a front and a rest."""
    front = of_blocks(2)
    rest = front.split_off(4)
    assert not rest.try_unsplit(front)
    assert front.try_unsplit(rest)
