"""`FrameDecoder`: what it says when, what it refuses, and what is left in it."""

from __future__ import annotations

import pytest
from strategies import NO_BUFFERS, NO_COUNTS

from trio_bytesbuf import BytesView
from trio_bytesbuf._errors import BadFrame, FrameTooLarge, LimitExceeded, UnexpectedEof
from trio_bytesbuf.buffered import (
    Delimited,
    Extent,
    FixedLength,
    FrameDecoder,
    FrameEvent,
    Framing,
    LengthPrefixed,
    Lines,
    Netstring,
    UniversalLines,
)


class Odd(Framing):
    """A framing of one's own: frames of one byte, with what a byte tells it to do."""

    def __init__(self) -> None:
        self.measured = 0

    def measure(self, buffer, _max_nbytes):
        self.measured += 1
        front = buffer.peek_bytes(1)
        if front == b"0":
            return Extent(0, 0)
        if front == b"k":
            raise KeyError("k")
        return Extent(0, 1)

    def wrap(self, _payload):
        return b"", b""


def test_what_is_missing_is_told_from_the_end() -> None:
    """NEED_DATA until the end is fed, END from then on, whenever it is asked."""
    decoder = FrameDecoder(LengthPrefixed(1))
    assert decoder.next_event() is FrameEvent.NEED_DATA
    decoder.feed(b"\1")
    assert decoder.next_event() is FrameEvent.NEED_DATA
    decoder.feed(b"a")
    assert decoder.next_event() == b"a"
    assert decoder.next_event() is FrameEvent.NEED_DATA
    decoder.feed_eof()
    decoder.feed_eof()
    for _ in range(3):
        assert decoder.next_event() is FrameEvent.END
        assert decoder.next_events() == []


@pytest.mark.parametrize("data", [b"a", b"", BytesView(b"a")])
def test_nothing_comes_behind_the_end(data) -> None:
    """A ValueError, and what is there is as it was."""
    decoder = FrameDecoder(Lines(), bytes)
    decoder.feed(b"last")
    decoder.feed_eof()
    with pytest.raises(ValueError, match="the end was fed"):
        decoder.feed(data)
    assert decoder.next_events() == [b"last"]


def test_frames_are_given_as_what_is_asked_for() -> None:
    """As views unless another type is named; as memory of the same bytes, or as copies."""
    data = b"\3abc" * 100
    for item_type in (BytesView, memoryview, bytes):
        decoder = FrameDecoder(LengthPrefixed(1), item_type)
        decoder.feed(data)
        one, *others = decoder.next_event(), *decoder.next_events()
        assert {type(frame) for frame in (one, *others)} == {item_type}
        assert [bytes(frame) for frame in others] == [b"abc"] * 99
        if item_type is BytesView:
            assert all(frame.pieces[0].obj is data for frame in others)
        elif item_type is memoryview:
            assert all(frame.obj is data and frame.readonly for frame in others)
    decoder = FrameDecoder(LengthPrefixed(1))
    decoder.feed(data)
    assert type(decoder.next_event()) is BytesView


@pytest.mark.parametrize("item_type", [BytesView, memoryview, bytes])
def test_an_empty_payload_is_a_frame(item_type) -> None:
    """It is no sign of the end, and keeps no memory."""
    decoder = FrameDecoder(Netstring(), item_type)
    decoder.feed(b"0:,0:,")
    assert decoder.next_event() == b""
    assert decoder.next_events() == [b""]
    assert decoder.next_event() is FrameEvent.NEED_DATA


def test_a_batch_has_no_more_than_is_wanted() -> None:
    """Batches of one, of some, and of all there are."""
    decoder = FrameDecoder(Delimited(b"\n"), bytes)
    decoder.feed(b"".join(b"%d\n" % index for index in range(3000)))
    assert decoder.next_events(1) == [b"0"]
    assert decoder.next_events(2) == [b"1", b"2"]
    assert len(decoder.next_events()) == 1000
    assert len(decoder.next_events(10**9)) == 1997


def test_a_batch_ends_with_the_frame_that_brings_it_to_128_kib() -> None:
    """Large frames do not make a batch of any size."""
    for feed in (b"".join, lambda frames: BytesView.from_views(map(BytesView, frames))):
        framing = LengthPrefixed(4)
        decoder = FrameDecoder(framing)
        decoder.feed(feed([framing.encode(bytes(100_000)).to_bytes() for _ in range(10)]))
        got = 0
        while batch := decoder.next_events():
            assert len(batch) == 1
            got += 1
        assert got == 10


@pytest.mark.parametrize("count", [0, -1, 1.0, "1"], ids=str)
def test_a_batch_of_no_count_is_refused(count) -> None:
    """As everywhere."""
    decoder = FrameDecoder(Lines())
    decoder.feed(b"a\n")
    with pytest.raises(ValueError if count in (0, -1) else TypeError):
        decoder.next_events(count)
    assert decoder.next_event() == b"a"


@pytest.mark.parametrize("limit", NO_COUNTS.values(), ids=NO_COUNTS.keys())
def test_a_limit_that_is_no_count_is_refused(limit) -> None:
    """As everywhere."""
    with pytest.raises(ValueError if limit == -1 else TypeError):
        FrameDecoder(Lines(), max_nbytes=limit)


def test_a_limit_of_nothing_lets_empty_payloads_pass() -> None:
    """And nothing else."""
    decoder = FrameDecoder(LengthPrefixed(1), max_nbytes=0)
    decoder.feed(b"\0\0\1")
    assert decoder.next_events() == [b"", b""]
    with pytest.raises(FrameTooLarge, match="may have 0 bytes at the most, this one has 1"):
        decoder.next_events()


def test_what_is_no_framing_and_no_type_of_frames_is_refused() -> None:
    """A TypeError that names what is wanted."""
    with pytest.raises(TypeError, match="a Framing is wanted, not bytes"):
        FrameDecoder(b"\n")
    with pytest.raises(TypeError, match="a Framing is wanted, not ABCMeta"):
        FrameDecoder(Lines)
    for item_type in (str, bytearray, None, []):
        with pytest.raises(TypeError):
            FrameDecoder(Lines(), item_type)


@pytest.mark.parametrize("data", NO_BUFFERS.values(), ids=NO_BUFFERS.keys())
def test_what_is_no_buffer_is_refused(data) -> None:
    """And nothing has gone in."""
    decoder = FrameDecoder(Lines())
    with pytest.raises(TypeError):
        decoder.feed(data)
    assert decoder.buffered_nbytes == 0


def test_memory_that_changes_is_copied() -> None:
    """What was fed is what comes out, whatever its owner does with the memory."""
    decoder = FrameDecoder(Delimited(b"\n"), bytes)
    for nbytes in (3, 1000):
        changing = bytearray(b"x" * nbytes + b"\n")
        decoder.feed(changing)
        changing[:] = bytes(len(changing))
    assert decoder.next_events() == [b"x" * 3, b"x" * 1000]


def test_the_rest_is_for_who_speaks_another_protocol() -> None:
    """What was fed and not given away, counted, shown in the repr and taken."""
    decoder = FrameDecoder(Delimited(b"\r\n"))
    decoder.feed(b"GO\r\n\0\1\2")
    assert decoder.buffered_nbytes == 7
    assert decoder.next_event() == b"GO"
    assert decoder.buffered_nbytes == 3
    assert repr(decoder) == (
        "<FrameDecoder of Delimited(delimiters=(b'\\r\\n',)), 3 bytes waiting>"
    )
    assert decoder.take_rest() == b"\0\1\2"
    assert decoder.take_rest() == b""
    assert decoder.buffered_nbytes == 0


def test_a_framing_serves_any_number_of_decoders() -> None:
    """It keeps nothing of any stream."""
    framing = LengthPrefixed(1)
    decoders = [FrameDecoder(framing, bytes, max_nbytes=limit) for limit in (2, 5)]
    for decoder in decoders:
        decoder.feed(b"\1a\3bcd")
        assert decoder.next_event() == b"a"
    with pytest.raises(FrameTooLarge):
        decoders[0].next_event()
    assert decoders[1].next_event() == b"bcd"


# Skipping


def test_a_frame_is_dropped_as_it_arrives() -> None:
    """What was skipped is not held until its end has come."""
    decoder = FrameDecoder(LengthPrefixed(4), bytes, max_nbytes=10)
    decoder.feed((100_000).to_bytes(4, "big"))
    with pytest.raises(FrameTooLarge):
        decoder.next_event()
    decoder.skip_frame()
    for _ in range(100):
        decoder.feed(bytes(1000))
        assert decoder.next_event() is FrameEvent.NEED_DATA
        assert decoder.buffered_nbytes == 0
    decoder.feed(b"\0\0\0\1a")
    assert decoder.next_event() == b"a"


@pytest.mark.parametrize(
    ("framing", "end", "left"),
    [(Delimited(b"\r\n"), b"\r\n", 1), (Delimited(b"<end>"), b"<end>", 4), (Lines(), b"\n", 0)],
)
def test_of_a_line_that_is_skipped_only_half_a_delimiter_is_kept(framing, end, left) -> None:
    """So that the end of the line is found in any cut."""
    decoder = FrameDecoder(framing, bytes)
    decoder.skip_frame()
    for _ in range(100):
        decoder.feed(b"x" * 1000)
        assert decoder.next_event() is FrameEvent.NEED_DATA
        assert decoder.buffered_nbytes == left
    decoder.feed(end[:-1])
    assert decoder.next_event() is FrameEvent.NEED_DATA
    decoder.feed(end[-1:] + b"next" + end)
    assert decoder.next_event() == b"next"


@pytest.mark.parametrize("framing", [Lines(), UniversalLines()], ids=["LF", "universal"])
@pytest.mark.parametrize("last", [b"abc", b"abc\r"])
def test_a_last_line_without_an_end_can_be_skipped(framing, last) -> None:
    """The end is its end."""
    decoder = FrameDecoder(framing, bytes)
    decoder.feed(last)
    decoder.skip_frame()
    assert decoder.next_event() is FrameEvent.NEED_DATA
    decoder.feed_eof()
    assert decoder.next_event() is FrameEvent.END
    assert decoder.buffered_nbytes == 0


@pytest.mark.parametrize("framing", [LengthPrefixed(1), Netstring(), FixedLength(9)], ids=str)
def test_a_stream_that_ends_in_a_frame_that_is_skipped_was_cut(framing) -> None:
    """As one that ends in a frame that is read."""
    decoder = FrameDecoder(framing, bytes)
    decoder.feed(framing.encode(b"123456789").to_bytes()[:-2])
    decoder.skip_frame()
    assert decoder.next_event() is FrameEvent.NEED_DATA
    decoder.feed_eof()
    for _ in range(2):
        with pytest.raises(UnexpectedEof) as caught:
            decoder.next_event()
        assert caught.value.wanted - caught.value.arrived == 2


def test_a_cr_that_ends_a_skipped_line_waits_for_its_lf() -> None:
    """And with another byte behind it, that byte is of the next line."""
    for behind in (b"\nnext\n", b"next\n"):
        decoder = FrameDecoder(UniversalLines(), bytes)
        decoder.skip_frame()
        decoder.feed(b"skipped\r")
        assert decoder.next_event() is FrameEvent.NEED_DATA
        decoder.feed(behind)
        assert decoder.next_event() == b"next"


def test_where_no_frame_ends_none_is_skipped() -> None:
    """The bytes of another format are still there."""
    decoder = FrameDecoder(Netstring())
    decoder.feed(b"GET / HTTP/1.1\r\n")
    for _ in range(2):
        with pytest.raises(BadFrame, match="GET"):
            decoder.skip_frame()
    assert decoder.take_rest() == b"GET / HTTP/1.1\r\n"


# Framings of one's own that are wrong


@pytest.mark.parametrize(
    ("wrong", "error", "words"), [(b"0", BadFrame, "measures as"), (b"k", KeyError, "k")]
)
def test_a_wrong_framing_loses_no_frames(wrong, error, words) -> None:
    """Whatever it raises: what comes before is given away first, and the rest is still there."""
    decoder = FrameDecoder(Odd(), bytes)
    decoder.feed(b"ab" + wrong + b"c")
    assert decoder.next_events() == [b"a", b"b"]
    for ask in (decoder.next_events, decoder.next_event):
        with pytest.raises(error, match=words):
            ask()
    assert decoder.take_rest() == wrong + b"c"


class Says(Framing):
    """A framing that says what it was told to say."""

    def __init__(self, extent) -> None:
        self.extent = extent

    def measure(self, buffer, max_nbytes):  # noqa: ARG002
        return self.extent

    def wrap(self, payload):  # noqa: ARG002
        return b"", b""


@pytest.mark.parametrize(
    "extent",
    [Extent(0, 2, -1), Extent(-1, 2), Extent(3, -1), Extent(0, 0), Extent(65_537, 1)],
    ids=repr,
)
def test_an_extent_that_makes_no_sense_is_refused(extent) -> None:
    """Whether a frame is asked for or skipped; no byte is given away twice, none is taken."""
    decoder = FrameDecoder(Says(extent), bytes)
    decoder.feed(b"abcd")
    for ask in (decoder.next_event, decoder.next_events, decoder.skip_frame):
        with pytest.raises(BadFrame):
            ask()
    assert decoder.take_rest() == b"abcd"


def test_what_is_no_extent_is_the_framings_mistake() -> None:
    """A TypeError that says what is wanted."""
    decoder = FrameDecoder(Says((0, 2, 0)))
    decoder.feed(b"abcd")
    with pytest.raises(TypeError, match="measures an Extent, not tuple"):
        decoder.next_event()


@pytest.mark.parametrize("ask", ["next_event", "next_events", "skip_frame"])
def test_a_framing_that_never_knows_does_not_gather_for_ever(ask) -> None:
    """LimitExceeded, some way behind the limit; what has come is there still."""
    decoder = FrameDecoder(Says(None), max_nbytes=1000)
    decoder.feed(bytes(60_000))
    getattr(decoder, ask)()
    decoder.feed(bytes(10_000))
    with pytest.raises(LimitExceeded, match="at most 1000 bytes were allowed; 70000 arrived"):
        getattr(decoder, ask)()
    assert len(decoder.take_rest()) == 70_000


def test_a_framing_is_asked_once_for_each_frame() -> None:
    """And once more to see that there is none, or not at all, if there are no bytes."""
    framing = Odd()
    decoder = FrameDecoder(framing, bytes)
    decoder.feed(b"x" * 1000)
    assert len(decoder.next_events()) == 1000
    assert framing.measured == 1000
    assert decoder.next_events() == []
    assert decoder.next_event() is FrameEvent.NEED_DATA
    assert framing.measured == 1000


@pytest.mark.parametrize("ask", ["next_event", "next_events"])
def test_a_decoder_that_wants_more_pins_no_block(ask) -> None:
    """Whoever feeds it waits for a peer then, maybe for long."""
    decoder = FrameDecoder(Lines())
    decoder.feed(b"line\n" * 1000 + b"half")
    while getattr(decoder, ask)() not in (FrameEvent.NEED_DATA, []):
        pass
    assert memoryview(decoder._buffer._window.obj).nbytes == decoder.buffered_nbytes == 4
    assert decoder._buffer._text is None
    decoder.feed(b" a line\n")
    assert decoder.next_event() == b"half a line"
