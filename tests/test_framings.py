"""The framings: round trips, limits, errors and refusals are the same however the bytes are cut."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable

import attrs
import hypothesis.strategies as st
import pytest
import trio
from hypothesis import assume, example, given, settings
from machine_receive_buffer import DELIMITERS, found_in
from strategies import cut_at

from trio_bytesbuf import BytesView
from trio_bytesbuf._errors import BadFrame, FrameTooLarge, LimitExceeded, UnexpectedEof
from trio_bytesbuf.buffered import (
    BufReader,
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
    VarintPrefixed,
)
from trio_bytesbuf.testing import FakeRead


class Chunked(Framing):
    """A framing of one's own: the length in hexadecimal digits, CRLF, the payload, CRLF."""

    def measure(self, buffer, _max_nbytes):
        found = buffer.find((b"\n", b"\r\n"), 10)  # not the longest first: any order will do
        if found is None:
            if len(buffer) >= 10:
                raise BadFrame("no end of a length", buffer.peek_bytes(10))
            return None
        end, nbytes = found
        digits = buffer.peek_bytes(end - nbytes)
        try:
            return Extent(end, int(digits, 16), 2)
        except ValueError:
            raise BadFrame("no length", digits) from None

    def wrap(self, payload):
        return b"%x\r\n" % len(payload), b"\r\n"


FRAMINGS: dict[str, Framing] = {
    "CRLF": Delimited(b"\r\n"),
    "a delimiter that overlaps itself": Delimited(b"\n\n"),
    "another": Delimited(b"aba"),
    "several delimiters": Delimited((b"\r\n", b"\n", b"\0")),
    "one the end of the other": Delimited((b"\n", b"\r\n")),
    "one inside the other": Delimited((b"b", b"abab")),
    "lines": Lines(),
    "lines of CRLF": Lines(b"\r\n"),
    "universal lines": UniversalLines(),
    "fixed": FixedLength(3),
    "1 byte": LengthPrefixed(1),
    "2 bytes, little": LengthPrefixed(2, "little"),
    "3 bytes": LengthPrefixed(3),
    "4 bytes that count themselves": LengthPrefixed(4, includes_prefix=True),
    "5 bytes that count themselves": LengthPrefixed(5, "little", includes_prefix=True),
    "8 bytes": LengthPrefixed(8),
    "varint": VarintPrefixed(),
    "netstring": Netstring(),
    "chunked": Chunked(),
}


def each_of(framings: dict[str, Framing]) -> pytest.MarkDecorator:
    """Run a test once for each of `framings`, under its name."""
    return pytest.mark.parametrize("framing", framings.values(), ids=framings.keys())


def all_but(*types: type[Framing]) -> dict[str, Framing]:
    return {name: one for name, one in FRAMINGS.items() if not isinstance(one, types)}


each_framing = each_of(FRAMINGS)

ITEM_TYPES = (BytesView, memoryview, bytes)

PAYLOADS = st.lists(
    st.one_of(
        st.lists(st.sampled_from(b"ab\r\n\0,:1x"), max_size=6).map(bytes),
        st.binary(max_size=12),
        st.integers(0, 400).map(lambda nbytes: b"x" * nbytes),
    ),
    max_size=8,
)
HOSTILE = st.lists(
    st.sampled_from(
        (b"a", b"b", b"ab", b"aba", b"\r", b"\n", b"\r\n", b"\0", b"\1", b"\2x", b"\3", b"\x80")  # noqa: RUF005
        + (b"3:", b"0:", b"abc", b",", b"1", b"\0\0\0\5", b"\5\0\0\0\0", b"\0\0\2", b"\xff" * 9)
        + (b"3\r\nabc\r\n", b"x" * 20, b"3:abc,", b"x\n")
    ),
    max_size=14,
).map(b"".join)
CUTS = st.one_of(st.just("whole"), st.just("every byte"), st.sets(st.integers(1, 120), max_size=8))
WAYS = st.sampled_from(("events", "event", "two at a time"))


def carried(framing: Framing, payloads: list[bytes]) -> list[bytes]:
    """Return those of `payloads` that the format can carry."""
    if isinstance(framing, FixedLength):
        return [payload[:3].ljust(3, b".") for payload in payloads]
    fitting = []
    for payload in payloads:
        try:
            framing.encode(payload)
        except ValueError:
            continue
        fitting.append(payload)
    return fitting


def wire_of(framing: Framing, payloads: list[bytes]) -> bytes:
    return b"".join(framing.encode(payload).to_bytes() for payload in payloads)


def cut(wire: bytes, cuts) -> list[bytes]:
    """Return `wire` in parts: whole, byte by byte, or ending at `cuts`."""
    if cuts == "whole":
        return [wire]
    if cuts == "every byte":
        return [wire[at : at + 1] for at in range(len(wire))]
    edges = [0, *sorted(at for at in cuts if at < len(wire)), len(wire)]
    return [wire[start:stop] for start, stop in itertools.pairwise(edges)]


def drain(decoder: FrameDecoder, way: str, frames: list[bytes]) -> None:
    """Add all frames that are there to `frames`; if an error comes, those before it."""
    while True:
        if way == "event":
            got = [decoder.next_event()]
        else:
            got = decoder.next_events(*(() if way == "events" else (2,)))
            assert len(got) <= 2 or way == "events"
        if not got or isinstance(got[0], FrameEvent):
            return
        frames += map(bytes, got)


def outcome(
    framing: Framing, wire: bytes, cuts, way: str, item_type=BytesView, max_nbytes: int = 1 << 20
) -> tuple[list[bytes], object]:
    """Return what a decoder makes of `wire` and of the end behind it: frames, and how it ended."""
    decoder = FrameDecoder(framing, item_type, max_nbytes=max_nbytes)
    frames: list[bytes] = []
    try:
        for part in cut(wire, cuts):
            decoder.feed(part)
            drain(decoder, way, frames)
        decoder.feed_eof()
        drain(decoder, way, frames)
    except (ValueError, EOFError) as error:
        return frames, error
    return frames, decoder.next_event()


def kind(end: object) -> object:
    """Return what is the same of an end, however the bytes were cut that led to it."""
    if isinstance(end, LimitExceeded):
        return LimitExceeded, end.limit
    if isinstance(end, UnexpectedEof):
        return UnexpectedEof, end.wanted, end.arrived
    return type(end)


def measured_only(framing: Framing) -> Framing:
    """Return the same framing without its shortcuts."""
    shortcuts = {"_cut": Framing._cut, "_cut_one": Framing._cut_one}
    plain = type("Plain", (type(framing),), {**shortcuts, "__slots__": ()})
    fields = attrs.fields(type(framing)) if attrs.has(type(framing)) else ()
    return plain(**{field.name: getattr(framing, field.name) for field in fields if field.init})


# Round trips


@each_framing
@settings(max_examples=25)
@given(payloads=PAYLOADS, cuts=CUTS, way=WAYS, item_type=st.sampled_from(ITEM_TYPES))
def test_payloads_come_out_as_they_went_in(framing, payloads, cuts, way, item_type) -> None:
    """Whatever the format can carry, however it is cut and asked for, and nothing else."""
    payloads = carried(framing, payloads)
    wire = wire_of(framing, payloads)
    assert outcome(framing, wire, cuts, way, item_type) == (payloads, FrameEvent.END)


@each_framing
@settings(max_examples=25)
@given(payloads=PAYLOADS, piece_cuts=st.sets(st.integers(1, 60), max_size=6))
def test_views_in_pieces_are_framed_as_bytes_are(framing, payloads, piece_cuts) -> None:
    """Payloads that lie in several pieces are encoded, and wires in several pieces decoded."""
    payloads = carried(framing, payloads)
    encoded = [framing.encode(cut_at(payload, piece_cuts)).to_bytes() for payload in payloads]
    assert b"".join(encoded) == wire_of(framing, payloads)
    decoder = FrameDecoder(framing)
    decoder.feed(cut_at(b"".join(encoded), piece_cuts))
    assert [frame.to_bytes() for frame in decoder.next_events()] == payloads


@each_framing
@settings(max_examples=50)
@given(wire=HOSTILE, cuts=CUTS, way=WAYS, item_type=st.sampled_from(ITEM_TYPES))
@example(wire=b"x\n\n\ny\n\n\n", cuts="whole", way="events", item_type=bytes)
@example(wire=b"xababay", cuts="whole", way="events", item_type=BytesView)
def test_the_shortcut_and_the_cuts_change_no_outcome(framing, wire, cuts, way, item_type) -> None:
    """The same frames and the same end as when each frame is measured, byte by byte. (Law 3)"""
    frames, end = outcome(measured_only(framing), wire, "every byte", "event", bytes, 8)
    whole, whole_end = outcome(framing, wire, "whole", "events", item_type, 8)
    some, some_end = outcome(framing, wire, cuts, way, item_type, 8)
    assert (whole, kind(whole_end)) == (frames, kind(end))
    assert (some, kind(some_end)) == (frames, kind(end))


@each_framing
@settings(max_examples=25)
@given(wire=HOSTILE, cuts=CUTS, max_nbytes=st.integers(0, 30))
def test_an_error_says_the_same_with_the_shortcut_and_without(
    framing, wire, cuts, max_nbytes
) -> None:
    """Cut alike and asked alike, the error has the same words. (Law 3)"""
    frames, end = outcome(framing, wire, cuts, "events", bytes, max_nbytes)
    plain = outcome(measured_only(framing), wire, cuts, "events", bytes, max_nbytes)
    assert (frames, type(end), str(end)) == (plain[0], type(plain[1]), str(plain[1]))


@given(delimiters=DELIMITERS, wire=HOSTILE, cuts=CUTS, way=WAYS, is_lines=st.booleans())
def test_delimited_frames_are_what_the_model_says(delimiters, wire, cuts, way, is_lines) -> None:
    """Frames end where a delimiter ends first; of two that end there, at the longer one."""
    expected, rest = [], wire
    while found := found_in(rest, delimiters):
        end, nbytes = found
        expected.append(rest[: end - nbytes])
        rest = rest[end:]
    frames, end = outcome((Lines if is_lines else Delimited)(delimiters), wire, cuts, way)
    if is_lines:
        assert (frames, end) == ([*expected, rest] if rest else expected, FrameEvent.END)
    else:
        assert frames == expected
        assert kind(end) == (
            (UnexpectedEof, len(rest) + 1, len(rest)) if rest else type(FrameEvent.END)
        )


@given(
    data=st.lists(st.sampled_from((b"a", b"\r", b"\n", b"\r\n", b"bc", b"\x0b\x85")), max_size=20),
    cuts=CUTS,
    way=WAYS,
    item_type=st.sampled_from(ITEM_TYPES),
)
def test_universal_lines_are_those_of_text_files(data, cuts, way, item_type) -> None:
    """As `io.TextIOWrapper` with newline=None tells them apart, and `bytes.splitlines`."""
    wire = b"".join(data)
    frames, end = outcome(UniversalLines(), wire, cuts, way, item_type)
    text = io.TextIOWrapper(io.BytesIO(wire), encoding="latin-1", newline=None)
    assert [frame.decode("latin-1") for frame in frames] == [line.rstrip("\n") for line in text]
    assert frames == wire.splitlines()
    assert end is FrameEvent.END


def test_a_cr_waits_for_the_byte_behind_it() -> None:
    """A CR at the end may be half of a CRLF: its line comes with the next byte, or at the end."""
    decoder = FrameDecoder(UniversalLines(), bytes)
    decoder.feed(b"one\r")
    assert decoder.next_events() == []
    decoder.feed(b"\n")
    assert decoder.next_events() == [b"one"]
    decoder.feed(b"two\r")
    assert decoder.next_event() is FrameEvent.NEED_DATA
    decoder.feed_eof()
    assert decoder.next_event() == b"two"
    assert decoder.next_event() is FrameEvent.END


def test_lines_over_several_windows_of_cutting() -> None:
    """Lines are cut 64 KiB at a time: none is lost or torn where that ends."""
    for nbytes in (0, 1, 1021, 65_534, 65_535, 65_536, 65_537, 200_000):
        lines = [b"%07d" % index + b"y" * nbytes for index in range(3 + 300_000 // (nbytes + 8))]
        for delimiter in (b"\n", b"\r\n"):
            framing = Delimited(delimiter)
            got = outcome(framing, delimiter.join([*lines, b""]), "whole", "events", bytes)
            assert got == (lines, FrameEvent.END)


@pytest.mark.parametrize("nbytes", [0, 1, 127, 128, 129, 16_383, 16_384, 16_385, 2_097_152])
def test_varints_of_every_number_of_groups(nbytes) -> None:
    """Where a group more is needed, it is written and read."""
    wire = wire_of(VarintPrefixed(), [bytes(nbytes)] * 2)
    assert len(wire) == 2 * (nbytes + max(1, -(-nbytes.bit_length() // 7)))
    for way in ("event", "events"):
        got = outcome(VarintPrefixed(), wire, "whole", way, max_nbytes=nbytes)
        assert got == ([bytes(nbytes)] * 2, FrameEvent.END)


# Refusals of `wrap`


@given(delimiters=DELIMITERS, payload=st.lists(st.sampled_from(b"abx\r\n"), max_size=6).map(bytes))
@example(delimiters=(b"\n", b"\r\n"), payload=b"a\r")
@example(delimiters=(b"aa",), payload=b"a")
@example(delimiters=(b"b\n", b"b"), payload=b"a")
def test_delimited_refuses_exactly_what_would_arrive_otherwise(delimiters, payload) -> None:
    """A payload with a delimiter in it, or with half of one that what follows completes."""
    framing = Delimited(delimiters)
    wire = payload + delimiters[0]
    if found_in(wire, delimiters) == (len(wire), len(delimiters[0])):
        assert framing.encode(payload).to_bytes() == wire
    else:
        with pytest.raises(ValueError, match="has a delimiter in it"):
            framing.encode(payload)


@pytest.mark.parametrize("payload", [b"\n", b"\r", b"a\r", b"a\n", b"a\r\n", b"a\nb", b"\rb"])
def test_universal_lines_refuse_the_end_of_a_line(payload) -> None:
    """A payload that has one in it, or ends in one, would arrive in parts or shorter."""
    with pytest.raises(ValueError, match="the end of a line"):
        UniversalLines().encode(payload)


@pytest.mark.parametrize(
    ("framing", "most"),
    [
        (LengthPrefixed(1), 255),
        (LengthPrefixed(1, includes_prefix=True), 254),
        (LengthPrefixed(2, "little"), 65_535),
        (LengthPrefixed(2, includes_prefix=True), 65_533),
    ],
)
def test_a_length_that_does_not_fit_is_refused(framing, most) -> None:
    """The longest payload is carried, one byte more is refused."""
    assert outcome(framing, wire_of(framing, [b"x" * most]), "whole", "events")[0] == [b"x" * most]
    with pytest.raises(ValueError, match="does not fit"):
        framing.encode(b"x" * (most + 1))


@pytest.mark.parametrize("payload", [b"", b"ab", b"abcd"])
def test_fixed_length_refuses_another_length(payload) -> None:
    """There would be no telling where the frame ends."""
    with pytest.raises(ValueError, match="3 bytes"):
        FixedLength(3).encode(payload)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Delimited(b""), ValueError),
        (lambda: Delimited(()), ValueError),
        (lambda: Delimited((b"a", b"")), ValueError),
        (lambda: Delimited("text"), TypeError),
        (lambda: Delimited((b"a", 5)), TypeError),
        (lambda: FixedLength(0), ValueError),
        (lambda: FixedLength(1.0), TypeError),
        (lambda: LengthPrefixed(0), ValueError),
        (lambda: LengthPrefixed(9), ValueError),
        (lambda: LengthPrefixed(2, "middle"), ValueError),
        (lambda: Netstring().encode("text"), TypeError),
    ],
)
def test_senseless_formats_are_refused(make: Callable[[], object], error) -> None:
    """When they are made, and not when the first frame comes."""
    with pytest.raises(error):
        make()


def test_framings_are_values() -> None:
    """Equal, hashed alike, and shown with what they were made of."""
    assert Delimited([b"\n"]) == Delimited(b"\n") != Lines(b"\n")
    assert hash(LengthPrefixed(2)) == hash(LengthPrefixed(2))
    assert LengthPrefixed(2) != LengthPrefixed(2, "little")
    assert repr(FixedLength(3)) == "FixedLength(nbytes=3)"


# Limits


@each_framing
@pytest.mark.parametrize("cuts", ["whole", "every byte"])
@pytest.mark.parametrize("way", ["event", "events"])
def test_a_limit_is_kept_to_the_byte(framing, cuts, way) -> None:
    """As many bytes as are allowed pass; with one less allowed, what is before comes, then it."""
    payload = b"x" * 3
    wire = wire_of(framing, [payload, payload])
    assert outcome(framing, wire, cuts, way, max_nbytes=3) == ([payload] * 2, FrameEvent.END)
    frames, end = outcome(framing, wire, cuts, way, max_nbytes=2)
    assert (frames, kind(end)) == ([], (LimitExceeded, 2))


@each_of(all_but(FixedLength))
@settings(max_examples=15)
@given(nbytes=st.integers(4, 250), cuts=CUTS, way=WAYS)
def test_a_frame_over_the_limit_is_skipped_and_the_next_one_comes(
    framing, nbytes, cuts, way
) -> None:
    """In any cut: errors are the same when asked again, keep the data, and come in their turn."""
    limit = 3
    big, small = b"x" * nbytes, b"yy"
    decoder = FrameDecoder(framing, bytes, max_nbytes=limit)
    frames = []
    for part in cut(wire_of(framing, [small, big, small, small]), cuts):
        decoder.feed(part)
        while True:
            try:
                got = [decoder.next_event()] if way == "event" else decoder.next_events()
            except LimitExceeded as error:  # in which call depends on the cuts
                held = decoder.buffered_nbytes
                assert error.limit == limit  # noqa: PT017
                assert frames == [small]
                for ask in (decoder.next_event, decoder.next_events):
                    with pytest.raises(type(error)) as again:
                        ask()
                    assert str(again.value) == str(error)  # noqa: PT017
                assert decoder.buffered_nbytes == held
                if isinstance(error, FrameTooLarge):
                    assert error.announced == nbytes  # noqa: PT017
                decoder.skip_frame()
                continue
            if not got or isinstance(got[0], FrameEvent):
                break
            frames += got
    assert frames == [small] * 3
    decoder.feed_eof()
    assert decoder.next_event() is FrameEvent.END


@each_framing
@settings(max_examples=20)
@given(payloads=PAYLOADS, cuts=CUTS, skipped=st.integers(0, 7))
def test_any_frame_can_be_skipped_in_any_cut(framing, payloads, cuts, skipped) -> None:
    """A frame that is skipped before, while or after it arrives is missing, and no other."""
    payloads = carried(framing, payloads)
    assume(skipped < len(payloads))
    decoder = FrameDecoder(framing, bytes)
    frames = []
    is_skipped = False
    for part in [b"", *cut(wire_of(framing, payloads), cuts)]:
        decoder.feed(part)
        while True:
            if len(frames) == skipped and not is_skipped:
                is_skipped = True
                decoder.skip_frame()
            frame = decoder.next_event()
            if isinstance(frame, FrameEvent):
                break
            frames.append(frame)
    assert frames == [*payloads[:skipped], *payloads[skipped + 1 :]]


BOMBS = {
    "1 byte": (LengthPrefixed(1), b"\xff"),
    "4 bytes": (LengthPrefixed(4), b"\xff" * 4),
    "8 bytes": (LengthPrefixed(8), b"\xff" * 8),
    "8 bytes that count themselves": (LengthPrefixed(8, includes_prefix=True), b"\xff" * 8),
    "varint": (VarintPrefixed(), b"\xff" * 9 + b"\1"),
    "netstring": (Netstring(), b"9" * 19 + b":"),
    "fixed": (FixedLength(1 << 62), b"x"),
    "chunked": (Chunked(), b"ffffffff\r\n"),
}


@pytest.mark.parametrize(("framing", "bomb"), BOMBS.values(), ids=BOMBS.keys())
def test_an_announced_length_is_refused_before_its_bytes_come(framing, bomb) -> None:
    """It is held against the limit as soon as it is known; within the limit it costs nothing."""
    decoder = FrameDecoder(framing, max_nbytes=254)
    decoder.feed(bomb)
    with pytest.raises(FrameTooLarge) as caught:
        decoder.next_event()
    assert caught.value.announced > 254
    assert caught.value.arrived == len(bomb) == decoder.buffered_nbytes

    for ways in (1, -1):
        decoder = FrameDecoder(framing, max_nbytes=1 << 64)
        decoder.feed(bomb + b"abc")
        answers = [decoder.next_event, decoder.next_events][::ways]
        assert [answer() for answer in answers] == [FrameEvent.NEED_DATA, []][::ways]
    decoder.feed_eof()
    with pytest.raises(UnexpectedEof) as cut_off:
        decoder.next_event()
    assert cut_off.value.arrived == len(bomb) + 3


# What is no frame

BAD = {
    "a length shorter than itself": (LengthPrefixed(4, includes_prefix=True), b"\0\0\0\3abc"),
    "a length of 0 that counts itself": (LengthPrefixed(1, includes_prefix=True), b"\0"),
    "three bytes that count themselves": (LengthPrefixed(3, includes_prefix=True), b"\0\0\2"),
    "a varint of two groups, one enough": (VarintPrefixed(), b"\x80\0"),
    "a varint of three groups, two enough": (VarintPrefixed(), b"\x80\x81\0"),
    "a varint of ten groups, nine enough": (VarintPrefixed(), b"\x80" * 9 + b"\0"),
    "a varint of 65 bits": (VarintPrefixed(), b"\xff" * 9 + b"\2"),
    "a varint without an end": (VarintPrefixed(), b"\x80" * 10),
    "no digits": (Netstring(), b":abc,"),
    "no digit at all": (Netstring(), b"x"),
    "a sign": (Netstring(), b"+3:abc,"),
    "a minus": (Netstring(), b"-1:"),
    "a space": (Netstring(), b" 3:abc,"),
    "an underscore, as int takes it": (Netstring(), b"1_0:"),
    "a digit that is not ASCII": (Netstring(), b"\xd9\xa1:a,"),
    "a leading zero": (Netstring(), b"03:abc,"),
    "two zeros": (Netstring(), b"00"),
    "20 digits": (Netstring(), b"1" * 20),
    "20 digits and a colon": (Netstring(), b"1" * 20 + b":"),
    "no comma": (Netstring(), b"3:abc;"),
    "no comma, and none to come": (Netstring(), b"0:x"),
    "no length at all": (Chunked(), b"xyz\r\n"),
}


@pytest.mark.parametrize(("framing", "bad"), BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("cuts", ["whole", "every byte"])
@pytest.mark.parametrize("way", ["event", "events"])
def test_what_is_no_frame_is_refused_in_its_turn(framing, bad, cuts, way) -> None:
    """After what comes before; the same when asked again; and it is all still there."""
    decoder = FrameDecoder(framing, bytes)
    frames = []
    caught = None
    for part in cut(wire_of(framing, [b"one", b"two"]) + bad, cuts):
        decoder.feed(part)
        try:
            drain(decoder, way, frames)
        except BadFrame as error:
            caught = error
    assert frames == [b"one", b"two"]
    assert caught is not None
    assert caught.front
    assert str(caught).startswith("instead of a frame, there is ")
    for ask in (decoder.next_event, decoder.next_events):
        with pytest.raises(BadFrame) as again:
            ask()
        assert again.value.complaint == caught.complaint
    assert decoder.take_rest().to_bytes() == bad


@each_of(all_but(Lines, UniversalLines))  # whose last frame needs no end
@settings(max_examples=25)
@given(payloads=PAYLOADS, missing=st.integers(1, 500), cuts=CUTS, way=WAYS)
def test_a_stream_that_ends_in_a_frame_says_so_and_keeps_what_came(
    framing, payloads, missing, cuts, way
) -> None:
    """UnexpectedEof, after the whole frames and each time it is asked for; the rest is there."""
    payloads = carried(framing, payloads)
    assume(payloads)
    last = wire_of(framing, payloads[-1:])
    rest = last[: max(1, len(last) - missing)]
    assume(len(rest) < len(last))
    decoder = FrameDecoder(framing, bytes)
    frames = []
    for part in cut(wire_of(framing, payloads[:-1]) + rest, cuts):
        decoder.feed(part)
        drain(decoder, way, frames)
    assert frames == payloads[:-1]
    decoder.feed_eof()
    for ask in (decoder.next_event, decoder.next_events, decoder.next_event):
        with pytest.raises(UnexpectedEof) as caught:
            ask()
        assert caught.value.arrived == len(rest)
        assert len(rest) < caught.value.wanted <= len(last)
    assert decoder.take_rest().to_bytes() == rest
    assert decoder.next_event() is FrameEvent.END


@pytest.mark.parametrize(
    ("framing", "wire", "wanted"),
    [
        (LengthPrefixed(4), b"\0\0\0\5ab", 9),
        (VarintPrefixed(), b"\5ab", 6),
        (Netstring(), b"5:abcde", 8),
        (FixedLength(3), b"a", 3),
        (LengthPrefixed(4), b"\0\0", 3),
        (Delimited(b"\r\n"), b"abc\r", 5),
    ],
)
def test_what_was_wanted_is_the_frame_if_its_length_is_known(framing, wire, wanted) -> None:
    """The whole frame; or, where its length cannot be told yet, one byte more."""
    _, end = outcome(framing, wire, "whole", "event")
    assert kind(end) == (UnexpectedEof, wanted, len(wire))


# Lines of text


async def texts(reader: BufReader, way: str, **options) -> list[str | type]:
    """Return the lines of text, and UnicodeDecodeError for each line that is none and skipped."""
    channel = reader.text_lines(**options)
    got: list[str | type] = []
    while True:
        try:
            if way == "receive":
                got.append(await channel.receive())
            else:
                got += await channel.receive_batch()
        except UnicodeDecodeError as error:
            held = reader.buffered.to_bytes()
            with pytest.raises(UnicodeDecodeError) as again:
                await channel.receive()
            assert str(again.value) == str(error)  # noqa: PT017
            assert reader.buffered.to_bytes().startswith(held)
            got.append(UnicodeDecodeError)
            await channel.skip()
        except trio.EndOfChannel:
            return got


@pytest.mark.parametrize("way", ["receive", "receive_batch"])
@pytest.mark.parametrize("newline", [b"\n", None])
@pytest.mark.parametrize("max_read_nbytes", [1, 3, 7, 1000])
async def test_a_line_that_is_no_text_is_refused_alone(way, newline, max_read_nbytes) -> None:
    """Lines before it come first, it stays until it is skipped, and those behind it come then."""
    wire = "eins\nzwölf\n".encode() + b"b\xffd\n" + b"fine\n" * 3 + b"\xc3\n\xc3\n" + b"last"
    reader = BufReader(FakeRead(wire, max_read_nbytes=max_read_nbytes))
    bad = UnicodeDecodeError
    expected = ["eins", "zwölf", bad, "fine", "fine", "fine", bad, bad, "last"]
    assert await texts(reader, way, newline=newline) == expected


async def test_text_is_decoded_as_it_is_asked_for() -> None:
    """Other encodings, and other ways to treat what is no text."""
    wire = b"b\xe4r\nb\xff\n"
    assert await texts(BufReader(FakeRead(wire)), "receive_batch", encoding="latin-1") == [
        "bär",
        "bÿ",
    ]
    assert await texts(BufReader(FakeRead(wire)), "receive_batch", errors="replace") == [
        "b�r",
        "b�",
    ]
    with pytest.raises(ValueError, match="utf-16"):
        BufReader(FakeRead(b"")).text_lines("utf-16")
    with pytest.raises(LookupError):
        BufReader(FakeRead(b"")).text_lines("no such encoding")
