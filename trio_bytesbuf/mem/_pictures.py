"""How pools, their figures and their leases are shown: pictures of numbers and texts.

Only who looks imports this. It knows no class of the room, so all of them can use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from ..seq._picture import Look, Picture, Word, bar, table
from ..seq._words import text_of_count, text_of_nbytes

if TYPE_CHECKING:
    from ..seq._picture import Line

LENT, IDLE = "#", "-"

MAX_LEASES: Final = 10
"""How many leases are shown one by one; a report of `format_outstanding` describes as many."""

HEAD: Final = (Look.QUIET,)


def pool_picture(
    title: str,
    allocated: int,
    idle_nbytes: int,
    lent_nbytes: int,
    shelves: Iterable[Sequence[int]],
    *facts: str,
) -> Picture:
    """Return what is shown of a pool; `shelves` are as `shelf_lines` takes them."""
    amounts = (
        f"{text_of_nbytes(lent_nbytes)} lent",
        f"{text_of_nbytes(idle_nbytes)} idle",
        f"{text_of_count(allocated, 'block')} made",
    )
    return Picture(title, (*amounts, *facts), shelf_lines(shelves))


def shelf_lines(shelves: Iterable[Sequence[int]]) -> tuple[Line, ...]:
    """Return a table of shelves, with a bar for each to the scale of the fullest one.

    A shelf is what `ShelfStatistics` has, in its order.
    """
    shelves = [*shelves]
    whole = max((idle + lent for _, _, idle, lent in shelves), default=0) or 1
    rows = [
        (
            text_of_nbytes(size),
            text_of_nbytes(lent),
            text_of_nbytes(idle),
            f"{allocated:,}",
            f"[{bar([(lent, lent + idle, IDLE), (0, lent, LENT)], whole)}]",
        )
        for size, allocated, idle, lent in shelves
    ]
    return table([("blocks of", "lent", "idle", "made", f"{LENT} lent  {IDLE} idle"), *rows], HEAD)


def shelf_picture(title: str, shelf: Sequence[int]) -> Picture:
    """Return what is shown of one shelf alone."""
    return Picture(title, (), shelf_lines([shelf]))


def capped_picture(
    title: str,
    max_nbytes: int,
    lent_nbytes: int,
    peak_nbytes: int,
    idle_nbytes: int,
    waiting: int,
) -> Picture:
    """Return what is shown of a pool with a cap: how much of it is used, and was."""
    used = lent_nbytes * 100 // max_nbytes
    facts = (
        f"{text_of_nbytes(lent_nbytes)} of {text_of_nbytes(max_nbytes)} lent ({used} %)",
        f"{text_of_count(waiting, 'task')} waiting",
    )
    drawn = bar([(0, peak_nbytes, IDLE), (0, lent_nbytes, LENT)], max_nbytes)
    legend = f"{LENT} lent, {IDLE} peak {text_of_nbytes(peak_nbytes)}"
    return Picture(
        title, facts, ((Word(f"[{drawn}] {legend}; {text_of_nbytes(idle_nbytes)} idle"),),)
    )


def lease_lines(leases: Sequence[tuple[int, int, float, str, str]]) -> Iterator[Line]:
    """Yield a line for each of the first leases, and how many more there are.

    A lease is its number, its size, its age in seconds, its thread, and the place that took it.
    """
    if not leases:
        yield (Word("no lease is out", Look.QUIET),)
        return
    rows = [
        (f"lease {number}", text_of_nbytes(nbytes), f"{age:.1f} s", thread)
        for number, nbytes, age, thread, _ in leases[:MAX_LEASES]
    ]
    head, *lines = table([("out", "size", "age", "thread"), *rows], HEAD)
    yield (*head, Word("  leased at", Look.QUIET))
    for line, lease in zip(lines, leases, strict=False):
        yield (*line, Word(f"  {lease[-1]}"))
    if len(leases) > MAX_LEASES:
        yield (Word(f"and {len(leases) - MAX_LEASES:,} more", Look.QUIET),)


def lease_picture(
    number: int, nbytes: int, age: float, thread: str, places: Iterable[str], holders: Iterable[str]
) -> Picture:
    """Return what is shown of one lease: where it was taken, and who has it now."""
    lines = [
        (Word("leased at", Look.QUIET),),
        *((Word(f"  {place}"),) for place in places),
        (Word("held by", Look.QUIET),),
        *((Word(f"  {holder}"),) for holder in holders),
    ]
    facts = (text_of_nbytes(nbytes), f"{age:.1f} s ago by {thread}")
    return Picture(f"lease {number}", facts, tuple(lines))
