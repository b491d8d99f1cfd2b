"""Values show themselves: what is shown is right, and no value is too large or too odd."""

from __future__ import annotations

import gc
import html.parser
import io
import re
import shutil
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import rich.console
import trio
from counting import Functions
from hypothesis import given
from hypothesis import strategies as st
from strategies import cut_at, cut_bytes

from trio_bytesbuf import BytesBuf, BytesReader, BytesView, CappedPool, GlobalPool, default_memory
from trio_bytesbuf.mem import BufferMemory, PageMemory, TrackingPool, foreign_view
from trio_bytesbuf.seq._hexdump import (
    HEAD_ROWS,
    MAX_NOTES,
    MAX_ROWS,
    ROW_NBYTES,
    TAIL_ROWS,
    Row,
    check_dump,
    dump_of,
)
from trio_bytesbuf.seq._picture import BAR_WIDTH, bar
from trio_bytesbuf.testing import CountingMemory, FixedBlockMemory, check_laws

LONG = st.one_of(st.binary(max_size=60), st.binary(min_size=200, max_size=600))

MOST_SPANS = 2 * MAX_ROWS * (3 * ROW_NBYTES + 1)
"""Of bytes one by one: a row has a span for each byte, letter and block, and for its offset."""


class Checked(html.parser.HTMLParser):
    """Reads HTML that is nothing but text in two elements, each closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.spans = 0
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes) -> None:
        assert tag in {"pre", "span"}
        assert (tag == "pre") == (not self._open)
        assert {name for name, _ in attributes} <= {"style", "title"}
        for name, value in attributes:
            assert name != "style" or not re.search(r"url|@|expression|<|;.*\bcolor: #", value)
        self._open.append(tag)
        self.spans += tag == "span"

    def handle_endtag(self, tag) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data) -> None:
        assert self._open
        self.text += data

    def handle_comment(self, data) -> None:
        raise AssertionError(f"neither text nor an element: {data}")

    handle_decl = unknown_decl = handle_pi = handle_comment


def html_text(value: object) -> str:
    """Return the text of a value's HTML, which is well formed."""
    return Checked(value._repr_html_()).text


def rich_text(value: object, width: int = 200) -> str:
    console = rich.console.Console(file=io.StringIO(), width=width, record=True)
    console.print(value)
    return "\n".join(line.rstrip() for line in console.export_text().splitlines())


@attrs.frozen
class Byte:
    """A byte as it is read off a dump."""

    value: int
    mark: str
    letter: str


def read_off(text: str) -> dict[int, Byte]:
    """Read the numbers and the letters of a dump, by its columns."""
    shown = {}
    for line in (line.ljust(200) for line in text.splitlines()):
        if found := re.match(r"([0-9a-f]{4,}) (?=[ ┃│][0-9a-f]{2})", line):
            for cell in range(ROW_NBYTES):
                at = found.end() + 3 * cell + (cell >= ROW_NBYTES // 2)
                number = line[at + 1 : at + 3]
                if number.strip():
                    letter = line[found.end() + 3 * ROW_NBYTES + 3 + cell]
                    offset = int(found[1], 16) + cell
                    shown[offset] = Byte(int(number, 16), line[at], letter)
    return shown


def offsets_shown(nbytes: int) -> list[int]:
    """Return which bytes of so many are to be shown."""
    rows = -(-nbytes // ROW_NBYTES)
    if rows <= MAX_ROWS:
        return [*range(nbytes)]
    return [*range(HEAD_ROWS * ROW_NBYTES), *range((rows - TAIL_ROWS) * ROW_NBYTES, nbytes)]


SHOWN_BY = [html_text, rich_text]


@pytest.mark.parametrize("shown_by", SHOWN_BY)
@given(cut=cut_bytes(LONG))
def test_every_byte_that_is_shown_is_right_and_so_is_every_border(shown_by, cut) -> None:
    """Numbers, letters and borders of pieces are those of the view; both ends are shown."""
    model, view = cut
    text = shown_by(view)
    shown = read_off(text)
    assert [*shown] == offsets_shown(len(model))
    sizes = [len(piece) for piece in view.pieces]
    starts = {sum(sizes[:index]) for index in range(len(sizes)) if len(sizes) > 1}
    for offset, byte in shown.items():
        value = model[offset]
        assert byte.value == value
        assert byte.letter == (chr(value) if 32 <= value < 127 else ".")
        assert (byte.mark != " ") == (offset in starts)
    assert f"{len(model):,} byte" in text.splitlines()[0]
    between = len(model) - len(shown)
    assert (f"... {between:,} bytes between" in text) == bool(between)


@given(cut=cut_bytes(LONG))
def test_the_laws_of_a_dump_hold(cut) -> None:
    """Rows and gap have all bytes once."""
    model, view = cut
    dump = dump_of(view.pieces, view.block_refs)
    check_dump(dump)
    rows = [row for row in dump.rows if isinstance(row, Row)]
    data = b"".join(run.data for row in rows for run in row.runs)
    assert data == bytes(model[offset] for offset in offsets_shown(len(model)))


@given(cut=cut_bytes(LONG), at=st.integers(0, 600))
def test_a_reader_shows_what_it_has_not_read(cut, at) -> None:
    """What was read is not shown; offsets are those of the view; the reader has not moved."""
    model, view = cut
    at = min(at, len(model))
    reader = BytesReader(view)
    reader.advance(at)
    text = html_text(reader)
    shown = read_off(text)
    assert [*shown] == [at + offset for offset in offsets_shown(len(model) - at)]
    assert all(byte.value == model[offset] for offset, byte in shown.items())
    assert f"at {at:,} of {len(model):,} bytes, {len(model) - at:,} remaining" in text
    assert rich_text(reader).splitlines()[0] == text.splitlines()[0]
    assert reader.tell() == at
    check_laws(reader)
    reader.close()
    assert html_text(reader) == "BytesReader  closed"


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("put_slice"), st.binary(max_size=40)),
        st.tuples(st.just("put_view"), cut_bytes().map(lambda cut: cut[1])),
        st.tuples(st.just("consume"), st.integers(0, 30)),
        st.tuples(st.just("reserve"), st.integers(0, 50)),
        st.tuples(st.just("peek"), st.integers(0, 30)),
    ),
    max_size=8,
)


@given(acts=ACTS, block_nbytes=st.sampled_from([1, 7, 1000]))
def test_a_builder_shows_what_is_filled_and_goes_on_as_if_nobody_had_looked(
    acts, block_nbytes
) -> None:
    """Bytes, room and blocks are shown, and looking changes nothing in the builder."""
    seen, unseen = BytesBuf(), BytesBuf()
    for act, argument in acts:
        for buf in (seen, unseen):
            if act in {"put_slice", "reserve"}:
                nbytes = argument if act == "reserve" else len(argument)
                buf.reserve(nbytes, FixedBlockMemory(block_nbytes))
            if act == "consume":
                buf.consume(min(argument, len(buf)))
            elif act != "reserve":
                getattr(buf, act)(argument)
        text = html_text(seen)
        assert rich_text(seen, 1000).splitlines() == [line.rstrip() for line in text.splitlines()]
        room = f"{seen.remaining_capacity:,} more"
        assert room in text.splitlines()[0]
        model = b"".join(map(bytes, unseen._filled()))
        shown = read_off(text)
        assert [*shown] == offsets_shown(len(model))
        assert all(byte.value == model[offset] for offset, byte in shown.items())
        check_laws(seen)
        assert len(seen._pieces) == len(unseen._pieces)
        assert seen._unseen == unseen._unseen


@pytest.mark.counts_memory
def test_looking_at_a_builder_shows_its_bytes_to_nobody() -> None:
    """What was put can still be overwritten, and a window that is lent stays lent."""
    buf = BytesBuf.with_capacity(50)
    buf.put_slice(b"jello")
    window = buf.chunk_mut()
    assert "a window is lent" in html_text(buf)
    window[:1] = b"!"
    del window
    buf.advance_mut(1)
    buf.overwrite(0, b"h")
    assert "0 taken, 6 filled, 44 free" in html_text(buf)
    with buf.begin_vectored_write():
        assert "a vectored write is going on in this builder" in html_text(buf)
    assert buf.consume(2) == b"he"
    assert "2 taken, 4 filled, 44 free" in html_text(buf)
    assert buf.consume_all() == b"llo!"


def test_looking_pins_nothing() -> None:
    """Once it was looked at, memory is still its owner's alone, and is leased again."""
    pool = GlobalPool()
    buf = pool.reserve(100_000)
    buf.put_slice(b"some bytes")
    view = buf.consume_all()
    del buf
    kept = [view._repr_html_(), view.__rich__(), view._picture()]
    assert view.is_unique()
    del view
    assert pool.statistics().lent_nbytes == 0
    assert kept


def test_a_gibibyte_in_ten_thousand_pieces_costs_what_is_shown() -> None:
    """Nothing is copied but the rows, and no function is called for a piece that is not shown."""
    chunk = BytesView(bytes(2**30 // 10_000))
    few, many = (BytesView.from_views([chunk] * pieces) for pieces in (100, 10_000))
    few._repr_html_()  # whatever is imported is
    entered = []
    for view in (few, many):
        with Functions() as functions:
            view._repr_html_()
        entered.append(functions.count)
    tracemalloc.start()
    try:
        text = many._repr_html_()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "10,000 pieces in 1 block" in text
    assert entered[1] <= entered[0]  # that of few pieces says where each lies
    assert peak < 4_000_000
    assert len(text) < 20_000


@given(nbytes=st.integers(1, 5_000))
def test_what_is_drawn_is_bounded(nbytes) -> None:
    """However many pieces of one byte there are, the cells are as many as the rows have."""
    view = BytesView.copied_from_slice(bytes(nbytes), FixedBlockMemory(1))
    checked = Checked(view._repr_html_())
    assert checked.spans <= MOST_SPANS
    assert len(checked.text.splitlines()) <= MAX_ROWS + MAX_NOTES + 3


def test_blocks_are_told_apart() -> None:
    """A border within a block is thin, one between two blocks is thick, and rows name blocks."""
    data = BytesView(b"0123456789")
    text = html_text(data[:3] + data[5:7] + b"other" + data[8:])
    shown = read_off(text)
    assert "".join(shown[offset].mark for offset in shown) == "┃  │ ┃    ┃ "
    assert text.splitlines()[1].endswith("  #1 #2")
    assert text.splitlines()[2].endswith("] 10 B, bytes, never changes, 3 pieces")
    assert text.splitlines()[3] == "#2 5 B, bytes, never changes, 1 piece"


ODD = type("<script>alert('&')</script>", (bytearray,), {})


def shown_origins() -> Iterator[tuple[object, str]]:
    """Yield values and what is to be said of where their memory is from."""
    buf = default_memory().reserve(100_000)
    buf.put_slice(b"abc")
    yield buf.consume_all(), "the default pool"
    pool = GlobalPool()
    held = pool.reserve(100_000)
    held.put_slice(b"abc")
    yield held, "a pool"
    tracking = TrackingPool()
    yield BytesView.copied_from_slice(b"abc", tracking), "lease 1 of a TrackingPool, taken at "
    yield BytesView.copied_from_slice(b"abc", CappedPool(100_000)), "a CappedPool"
    pages = PageMemory()
    yield BytesView.copied_from_slice(b"abc", pages), "meta Pages"
    yield BytesView(b"abc"), "bytes, never changes"
    yield BytesView(bytearray(b"abc")), "bytearray, foreign: somebody else may write to it"
    yield foreign_view(b"abc", meta="on <loan>"), "meta 'on <loan>'"
    yield BytesView(ODD(b"abc")), "<script>alert('&')</script>, foreign"
    arena = BufferMemory(bytearray(1000), 100)
    yield BytesView.copied_from_slice(b"abc", arena), "100 B"


@pytest.mark.counts_memory
def test_it_is_said_whose_memory_it_is() -> None:
    """The provider is told as far as it is known, and what is foreign; odd names are escaped."""
    for value, said in shown_origins():
        assert said in html_text(value)
        assert said in rich_text(value, 1000)


def shown_figures() -> Iterator[tuple[object, str]]:
    """Yield pools and figures, and some of what is to be said."""
    pool = GlobalPool()
    held = pool.reserve(65_536)
    yield pool, "GlobalPool  64.0 KiB lent, 0 B idle, 1 block made"
    yield pool.statistics(), "PoolStatistics  64.0 KiB lent"
    yield pool.statistics().shelves[0], "64.0 KiB"
    yield CountingMemory(pool).statistics(), "requested_nbytes"
    capped = CappedPool(1_048_576)
    some = capped.reserve(262_144)
    yield capped, "256 KiB of 1.00 MiB lent (25 %), 0 tasks waiting"
    yield capped.share(4096), "PoolShare  0 B of 4.00 KiB lent"
    yield capped.statistics(), "CappedStatistics  256 KiB of 1.00 MiB lent"
    tracking = TrackingPool()
    yield tracking, "no lease is out"
    out = [tracking.reserve(100) for _ in range(12)]
    yield tracking, "lease 10  100 B  0"
    yield tracking, f"MainThread  {__file__}:"
    yield tracking, "and 2 more"
    yield tracking.statistics(), "TrackingStatistics  1.17 KiB lent, 0 B idle, 12 blocks made, 12 l"
    lease = tracking.outstanding()[0]
    yield lease, "BytesBuf in list in local variable `out` of function shown_figures"
    del out
    gc.collect()
    yield lease, "nobody any more"
    del held, some


def test_pools_and_their_figures_show_themselves() -> None:
    """Every number is in the words, in both forms; the HTML is well formed."""
    for value, said in shown_figures():
        assert said in html_text(value)
        assert said in rich_text(value, 1000)


async def test_a_stream_has_figures_to_show() -> None:
    """What passed through a stream is shown by its names."""
    from pairs import socketpair

    a, b = await socketpair()
    async with a, b:
        await a.write_view(BytesView(bytes(2048)))
        text = html_text(a.statistics())
    assert re.search(r"^sent_nbytes +2,048 +2\.00 KiB$", text, re.MULTILINE)


def test_values_that_are_out_of_use_say_so() -> None:
    """A view that was released shows that, and an empty one shows nothing else."""
    view = BytesView(b"abc")
    view.release()
    assert html_text(view) == rich_text(view) == "BytesView  released"
    assert html_text(BytesView()) == rich_text(BytesView()) == "BytesView  0 bytes"
    assert html_text(BytesBuf()) == "BytesBuf  0 bytes filled, room for 0 more"


def test_a_narrow_console_cuts_lines_and_wraps_none() -> None:
    """A dump has as many lines in forty columns as in two hundred."""
    view = cut_at(bytes(range(200)), {5, 50, 100})
    assert len(rich_text(view, 40).splitlines()) == len(rich_text(view).splitlines())


@given(
    parts=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), max_size=4),
    whole=st.integers(1000, 5000),
)
def test_a_bar_is_to_scale_and_shows_what_is_small(parts, whole) -> None:
    """It is as wide as it should be, and no part that is not empty is drawn as nothing."""
    drawn = bar([(start, stop, "#") for start, stop in parts], whole)
    assert len(drawn) == BAR_WIDTH
    assert ("#" in drawn) == any(start < stop for start, stop in parts)
    filled = sum(stop - start for start, stop in parts if start < stop)
    assert drawn.count("#") <= filled * BAR_WIDTH / whole + 2 * len(parts)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
async def test_a_browser_reads_the_same_text(tmp_path: Path) -> None:
    """Chromium's parser finds the elements and the words that ours finds."""
    values = [value for value, _ in shown_origins()]
    page = "".join(f"<div>{value._repr_html_()}</div>" for value in values)
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html><meta charset=utf-8><body>{page}</body>", encoding="utf-8")
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    with trio.fail_after(60):
        done = await trio.run_process(
            command, capture_stdout=True, stderr=subprocess.DEVNULL, stdin=b""
        )
    dom = done.stdout.decode()
    shown = re.findall(r"<div>(<pre.*?</pre>)</div>", dom, re.DOTALL)
    assert [Checked(text).text for text in shown] == [html_text(value) for value in values]
