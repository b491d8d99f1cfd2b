"""What is shown of bytes: rows of sixteen, which piece each byte lies in, and in which block.

    0000  ┃16 03 01 02 00 01 00 01  fc┃03 03 5c│a1 7f 02 9e  ...........\\....  #1 #2

A bar stands before the first byte of a piece: a thin one where the piece before lies in the same
block of memory, a thick one where it does not. The blocks of a row stand behind it.

Law 1. The rows and the gap between them have all bytes, once each, in order: `check_dump` looks.
Law 2. What is copied is what the rows show, at most `MAX_ROWS` of them, however long the value is.
       Pieces are counted and measured by C code; only those that are shown are looked at here.
Law 3. Looking changes nothing: a builder goes on as if nobody had looked, and no view was made.
Law 4. A dump is text and numbers, and no code of the program is run to make it but what it
       wrote to export memory.
"""

from __future__ import annotations

import itertools
import operator
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import attrs

from ._picture import Look, Picture, Word, bar
from ._proof import address_of
from ._release import giver_of
from ._source import BlockSource, origins
from ._words import text_of_count, text_of_nbytes

if TYPE_CHECKING:
    from ._block import Block, BlockRef
    from ._picture import Line

ROW_NBYTES: Final = 16
MAX_ROWS: Final = 16
"""How many rows a value may have that is shown whole: half a screen."""

HEAD_ROWS: Final = 8
TAIL_ROWS: Final = 4
"""How many rows are shown of a longer one, of its front and of its end."""

MAX_NOTES: Final = 8
"""How many blocks are described below the rows."""

MAX_PLACED: Final = 1_000
"""Up to so many pieces it is shown where in their blocks they lie: 1.5 µs for each."""

MAX_META: Final = 40
"""How many characters are shown of a text that a provider says of its memory."""

_NBYTES, _EXPORTER = operator.attrgetter("nbytes"), operator.attrgetter("obj")


@attrs.frozen
class Run:
    """Bytes of one row that lie in one piece."""

    data: bytes
    piece: int
    block: int
    """The numbers of the piece and of its block, from 0."""

    begins: bool
    """Whether the piece begins here, and not in the row before."""


@attrs.frozen
class Row:
    """Sixteen bytes, or what is left at the end."""

    offset: int
    runs: tuple[Run, ...]


@attrs.frozen
class Gap:
    """Bytes that are not shown."""

    nbytes: int


@attrs.frozen
class Note:
    """What is known of a block."""

    block: int
    nbytes: int
    facts: tuple[str, ...]
    bar: str
    """Where in the block the value lies; empty if there are too many pieces to say."""


@attrs.frozen
class Dump:
    """Everything that is to be shown of bytes."""

    nbytes: int
    npieces: int
    nblocks: int
    rows: tuple[Row | Gap, ...]
    notes: tuple[Note, ...]


def dump_of(
    pieces: Sequence[memoryview],
    refs: Sequence[BlockRef | None],
    start: int = 0,
    rooms: Sequence[Block] = (),
) -> Dump:
    """Look at `pieces`, the first byte of which is called `start`, and at a builder's blocks."""
    ends = [*itertools.accumulate(map(_NBYTES, pieces))]
    exporters = [*map(id, map(_EXPORTER, pieces))]  # alive as long as the pieces are
    of_rooms = [id(block._memory.obj) for block in rooms]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(exporters + of_rooms))}
    nbytes = ends[-1] if ends else 0

    def row(at: int) -> Row:
        offset, stop, index, runs = at, min(at + ROW_NBYTES, nbytes), bisect_right(ends, at), []
        while at < stop:
            front = ends[index - 1] if index else 0
            data = pieces[index][at - front : stop - front].tobytes()
            runs.append(Run(data, index, numbers[exporters[index]], at == front))
            at, index = at + len(data), index + 1
        return Row(start + offset, tuple(runs))

    offsets = range(0, nbytes, ROW_NBYTES)
    rows: list[Row | Gap]
    if len(offsets) <= MAX_ROWS:
        rows = [*map(row, offsets)]
    else:
        gap = Gap((len(offsets) - HEAD_ROWS - TAIL_ROWS) * ROW_NBYTES)
        rows = [*map(row, offsets[:HEAD_ROWS]), gap, *map(row, offsets[-TAIL_ROWS:])]
    shown = [exporters[run.piece] for row in rows if isinstance(row, Row) for run in row.runs]
    noted = [*dict.fromkeys(shown + of_rooms)][:MAX_NOTES]
    return Dump(
        nbytes=nbytes,
        npieces=len(pieces),
        nblocks=len(numbers),
        rows=tuple(rows),
        notes=tuple(_notes(noted, numbers, pieces, refs, exporters, rooms)),
    )


def _notes(
    noted: Sequence[int],
    numbers: dict[int, int],
    pieces: Sequence[memoryview],
    refs: Sequence[BlockRef | None],
    exporters: Sequence[int],
    rooms: Sequence[Block],
) -> Iterator[Note]:
    """Yield what is known of the blocks in `noted`, each told by the identity of its exporter."""
    parts: dict[int, list[int]] = {key: [] for key in noted}
    for index, key in enumerate(exporters):
        if key in parts:
            parts[key].append(index)
    blocks = {id(block._memory.obj): block for block in rooms}
    for key in noted:
        block, indices = blocks.get(key), parts[key]
        if block is not None:
            memory, ref = block._memory, block._ref
        else:
            memory, ref = pieces[indices[0]], refs[indices[0]]
        exporter = memory.obj
        nbytes = nbytes_of(exporter, memory)
        facts = [*known_of(exporter, ref)]
        marks: list[tuple[int, int, str]] = []
        if len(pieces) > 1 and indices:
            facts.append(text_of_count(len(indices), "piece"))
        if block is not None:
            filled, free = sum(pieces[index].nbytes for index in indices), block._stop - block._end
            facts.append(f"{nbytes - filled - free:,} taken, {filled:,} filled, {free:,} free")
            marks += [(0, nbytes, "x"), *places(exporter, [memory[block._end : block._stop]], ".")]
        if len(pieces) <= MAX_PLACED:
            marks += places(exporter, [pieces[index] for index in indices], "#")
        drawn = bar(marks, nbytes) if marks else ""
        if drawn == "#" * len(drawn):  # it shows the whole block
            drawn = ""
        yield Note(numbers[key], nbytes, tuple(facts), drawn)


def nbytes_of(exporter: object, memory: memoryview) -> int:
    """Return how large the whole block is, or at least what is seen of it."""
    try:
        return memoryview(exporter).nbytes  # type: ignore[arg-type]  # it exported `memory`
    except (TypeError, ValueError, BufferError):  # and will not do it again
        return memory.nbytes


def places(
    exporter: object, parts: Iterable[memoryview], mark: str
) -> Iterator[tuple[int, int, str]]:
    """Yield where in the memory of `exporter` each part lies, as `bar` wants it."""
    try:
        front = address_of(exporter)  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        return
    for part in parts:
        at = address_of(part) - front
        yield at, at + part.nbytes, mark


def known_of(exporter: object, ref: BlockRef | None) -> Iterator[str]:
    """Yield whose memory it is, and what is special about it."""
    giver = giver_of(exporter)
    known = type(giver).__name__ if isinstance(giver, BlockSource) else type(exporter).__name__
    yield next(filter(None, (tell(exporter) for tell in origins)), known)
    if ref is not None and ref.may_change:
        yield "foreign: somebody else may write to it"
    elif type(exporter) is bytes:
        yield "never changes"
    if ref is not None and ref.meta is not None:
        meta = ref.meta
        yield f"meta {meta[:MAX_META]!r}" if type(meta) is str else f"meta {type(meta).__name__}"


# Pictures


def hex_picture(
    title: str,
    facts: Iterable[str],
    pieces: Sequence[memoryview],
    refs: Sequence[BlockRef | None],
    *,
    start: int = 0,
    rooms: Sequence[Block] = (),
) -> Picture:
    """Return a picture of bytes; see `dump_of`. How they are cut is said behind `facts`."""
    dump = dump_of(pieces, refs, start, rooms)
    return Picture(title, (*facts, *_counts(dump)), tuple(_lines(dump)))


def _counts(dump: Dump) -> Iterator[str]:
    if dump.nblocks:
        pieces = text_of_count(dump.npieces, "piece")
        yield f"{pieces} in {text_of_count(dump.nblocks, 'block')}"


def _lines(dump: Dump) -> Iterator[Line]:
    if not dump.nblocks:
        return
    last = dump.rows[-1] if dump.rows else None
    width = max(4, len(f"{last.offset:x}") if isinstance(last, Row) else 0)
    for row in dump.rows:
        if isinstance(row, Gap):
            yield (Word(f"{'':{width}}  ... {row.nbytes:,} bytes between", Look.QUIET),)
        else:
            yield (Word(f"{row.offset:0{width}x} ", Look.QUIET), *_words(row, dump))
    for note in dump.notes:
        facts = ", ".join((text_of_nbytes(note.nbytes), *note.facts))
        drawn = f" [{note.bar}]" if note.bar else ""
        yield (Word(f"#{note.block + 1}", block=note.block), Word(f"{drawn} {facts}"))
    if dump.nblocks > len(dump.notes):
        more = dump.nblocks - len(dump.notes)
        yield (Word(f"and {text_of_count(more, 'block')} more", Look.QUIET),)


def _words(row: Row, dump: Dump) -> Iterator[Word]:
    """Yield the bytes of a row as numbers, as letters, and the blocks that they lie in."""
    at = 0
    before: Run | None = None
    for run in row.runs:
        mark = " "
        if run.begins and dump.npieces > 1:
            mark = "│" if before is not None and before.block == run.block else "┃"
        text = ""
        for byte in run.data:
            text += f"{' ' if at == ROW_NBYTES // 2 else ''}{mark}{byte:02x}"
            at += 1
            mark = " "
        yield Word(text, block=run.block, note=f"piece {run.piece + 1}, block #{run.block + 1}")
        before = run
    missing = 3 * (ROW_NBYTES - at) + (at <= ROW_NBYTES // 2)
    yield Word(" " * (missing + 2))
    for run in row.runs:
        yield Word(letters_of(run.data), block=run.block)
    if dump.nblocks > 1:
        yield Word(" " * (ROW_NBYTES - at + 1))
        for block in dict.fromkeys(run.block for run in row.runs):
            yield Word(" ")
            yield Word(f"#{block + 1}", block=block)


def letters_of(data: bytes) -> str:
    """Return a character for each byte: its own if it is ASCII that can be printed, else a dot."""
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)


def check_dump(dump: Dump) -> None:
    """Raise AssertionError if a law of this file is broken."""
    shown = [row for row in dump.rows if isinstance(row, Row)]
    gaps = [row.nbytes for row in dump.rows if isinstance(row, Gap)]
    sizes = [sum(len(run.data) for run in row.runs) for row in shown]
    assert sum(sizes) + sum(gaps) == dump.nbytes, "Law 1"
    assert all(size == ROW_NBYTES for size in sizes[:-1]), "Law 1: a short row within"
    assert all(run.data for row in shown for run in row.runs), "an empty run"
    assert len(shown) <= MAX_ROWS, "Law 2"
    assert len(dump.notes) <= min(MAX_NOTES, dump.nblocks), "Law 2"
