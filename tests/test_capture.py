"""Captures: what passes is remembered as it passed, uncopied; a damaged file of it is found out."""

from __future__ import annotations

import zlib

import attrs
import pytest
import trio
import trio.testing
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pairs import clog, closing, noise, reset, small_buffers, socketpair, tcp_pair
from test_tls import contexts as tls_contexts

from trio_bytesbuf import BufStream, BytesView, LimitExceeded, TlsStream, open_binary_file
from trio_bytesbuf.io import (
    BadCapture,
    Capture,
    CaptureEvent,
    Direction,
    GuardedWrite,
    MinRate,
    Read,
    Write,
    capture,
    copy,
    relay,
    to_trio,
)
from trio_bytesbuf.io._capture_file import MAX_NANOSECONDS, PREAMBLE
from trio_bytesbuf.testing import (
    CLOGGED_SINK_CHECKS,
    SINK_CHECKS,
    SOURCE_CHECKS,
    STALLED_SOURCE_CHECKS,
    Delay,
    FakeRead,
    FakeWrite,
    FixedBlockMemory,
    Null,
    Pending,
    memory_pair,
)

contexts = tls_contexts

IN, OUT = Direction.RECEIVED, Direction.SENT


def told(captured: Capture) -> list[tuple[str, bytes | str]]:
    """What happened, without the times: a direction, and bytes, or how it ended."""
    return [
        (event.direction.value, bytes(event.view) or event.error or "end")
        for event in captured.events
    ]


# What a captured stream is


@pytest.mark.parametrize("check", SOURCE_CHECKS)
async def test_a_captured_source_is_a_read(check):
    """With all that is promised of one."""

    async def make(contents):
        return capture(FakeRead(contents, max_read_nbytes=3))

    await check(make)


@pytest.mark.parametrize("check", STALLED_SOURCE_CHECKS)
async def test_a_captured_source_that_waits_is_a_read(check):
    """Also while its peer is waited for."""

    async def make(contents):
        came = [len(contents)] if len(contents) else []
        return capture(FakeRead(bytes(contents) + b"x", script=[*came, Delay(float("inf"))]))

    await check(make)


@pytest.mark.parametrize("make_sink", [FakeWrite, lambda: FakeWrite(max_write_nbytes=30_000)])
@pytest.mark.parametrize("check", SINK_CHECKS)
async def test_a_captured_sink_is_a_write_and_knows_what_was_sent(check, make_sink):
    """With all that is promised of one; what arrives is what the capture says, cancelled or not."""

    async def make():
        captured = capture(make_sink())

        async def arrived():
            assert bytes(captured.capture.sent) == bytes(captured.inner.contents)
            return bytes(captured.inner.contents)

        return captured, arrived

    await check(make)


@pytest.mark.parametrize("check", CLOGGED_SINK_CHECKS)
async def test_a_captured_sink_that_waits_is_a_write(check):
    """Also while its peer is waited for."""

    async def make():
        return capture(Pending())

    await check(make)


async def test_a_captured_stream_is_what_it_was():
    """A trio stream as much as a `Read` and a `Write`, half-closeable if it was."""
    ours, theirs = trio.testing.memory_stream_pair()
    both = capture(ours)
    assert isinstance(both, (Read, Write))
    assert isinstance(both, trio.abc.HalfCloseableStream)
    assert to_trio(both) is both
    await theirs.send_all(b"abc")
    assert await both.receive_some(2) == b"ab"
    await both.send_eof()
    assert await theirs.receive_some() == b""
    async with both:
        assert bytes(await both.receive_view()) == b"c"

    assert isinstance(capture(trio.StapledStream(*trio.testing.memory_stream_one_way_pair())), Read)
    source, sink = capture(FakeRead(b"")), capture(FakeWrite())
    assert isinstance(source, trio.abc.ReceiveStream)
    assert not isinstance(source, Write)
    assert isinstance(sink, trio.abc.SendStream)
    assert not isinstance(sink, Read)
    assert not hasattr(sink, "send_eof")
    assert not isinstance(capture(Null()), trio.abc.HalfCloseableStream)

    class Ending(FakeWrite):
        async def send_eof(self):
            await trio.lowlevel.checkpoint()

    ending = capture(GuardedWrite(Ending(), MinRate(1, 60)))
    await ending.send_eof()
    assert told(ending.capture) == [("sent", "end")]
    assert repr(source) == "<CapturedRead of <FakeRead with 0 bytes left>>"
    assert source.memory is source.inner.memory


async def test_what_cannot_be_captured_is_refused():
    """By name, and at once."""
    with pytest.raises(TypeError, match="not int"):
        capture(5)
    with pytest.raises(ValueError, match="max_nbytes"):
        capture(FakeRead(b""), max_nbytes=-1)
    with pytest.raises(TypeError):
        capture(FakeRead(b""), max_nbytes=1.5)


def test_a_capture_is_made_in_trio():
    """Its clock is trio's."""
    with pytest.raises(RuntimeError):
        capture(FakeRead(b""))


# What is remembered


async def test_both_directions_are_remembered_in_order_with_their_times(autojump_clock):
    """As they were cut, each when it happened, and their ends."""
    ours, theirs = memory_pair()
    stream = capture(ours)
    await trio.sleep(1)
    await stream.write_view(BytesView(b"ask"))
    await trio.sleep(0.25)
    await theirs.write_view(BytesView(b"answer"))
    assert await stream.receive_view(4) == b"answ"
    assert await stream.receive_view() == b"er"
    await theirs.send_eof()
    assert not await stream.receive_view()
    assert not await stream.receive_view()
    await trio.sleep(0.5)
    await stream.aclose()
    captured = stream.capture
    assert told(captured) == [
        ("sent", b"ask"),
        ("received", b"answ"),
        ("received", b"er"),
        ("received", "end"),
        ("sent", "end"),
    ]
    assert [event.seconds for event in captured.events] == [1.0, 1.25, 1.25, 1.25, 1.75]
    assert [event.is_end for event in captured.events] == [False] * 3 + [True] * 2
    assert (captured.received, captured.sent) == (b"answer", b"ask")
    assert repr(captured) == (
        "<Capture: 6 bytes received, 3 sent, receiving ended, sending ended, "
        "5 events in 1.750000 s>"
    )
    assert captured.incomplete == ""


async def test_nothing_is_copied_but_what_may_change():
    """What was received and sent is kept where it lies; a bytearray is copied before it goes."""
    data = noise(50_000)
    source = capture(FakeRead(data))
    received = await source.receive_view()
    (event,) = source.capture.events
    assert event.view.contiguous().obj is received.contiguous().obj is data

    sink = capture(FakeWrite())
    changing = bytearray(b"first")
    await sink.write_view(BytesView(data))
    await sink.send_all(data)
    await sink.write_view(BytesView(changing))
    await sink.send_all(changing)
    changing[:] = b"later"
    kept = [event.view for event in sink.capture.events]
    assert kept[0].contiguous().obj is data
    assert kept[1].contiguous().obj is data
    assert kept[2:] == [b"first", b"first"]


async def test_what_is_changed_while_it_is_sent_is_remembered_as_it_went():
    """The peer got what the capture has, even of a program that writes to its buffer too early."""
    inner = FakeWrite(script=[2, Delay(0.01)])
    sink = capture(inner)
    changing = bytearray(b"abcd")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sink.write_view, BytesView(changing))
        await trio.testing.wait_all_tasks_blocked()
        changing[:] = b"ABCD"
    assert sink.capture.sent == inner.contents
    assert len(inner.contents) == 4


async def test_a_view_that_is_released_stays_in_the_capture():
    """Whoever received or sent it may release it; the capture has a view of its own."""
    ours, theirs = memory_pair()
    stream = capture(ours)
    with BytesView(b"out") as view:
        await stream.write_view(view)
    await theirs.write_view(BytesView(b"in"))
    with await stream.receive_view() as view:
        pass
    assert (stream.capture.received, stream.capture.sent) == (b"in", b"out")


async def test_only_what_was_really_sent_is_remembered():
    """Of a send that is cancelled, over a socket: what the peer then finds, and no byte more."""
    ours, theirs = await socketpair()
    small_buffers(ours)
    data = noise(1_000_000)
    async with closing(ours, theirs):
        stream = capture(ours)
        with trio.move_on_after(0.02):
            await stream.write_view(BytesView(data))
        await stream.aclose()
        arrived = bytes(await theirs.read_to_end(len(data)))
        assert 0 < len(arrived) < len(data)
        assert stream.capture.sent == arrived == data[: len(arrived)]


async def test_of_a_sink_that_does_not_count_a_failed_send_is_not_remembered():
    """Nobody knows how much of it was sent; that it failed is known."""

    class Breaking(trio.abc.SendStream):
        broken = False

        async def send_all(self, data):  # noqa: ARG002
            await trio.lowlevel.checkpoint()
            if self.broken:
                raise trio.BrokenResourceError("the cable was cut")

        async def wait_send_all_might_not_block(self):
            await trio.lowlevel.checkpoint()

        async def aclose(self):
            await trio.lowlevel.checkpoint()

    sink = capture(Breaking())
    await sink.send_all(b"good")
    sink.inner._stream.broken = True
    with pytest.raises(trio.BrokenResourceError):
        await sink.write_view(BytesView(b"bad"))
    assert told(sink.capture) == [
        ("sent", b"good"),
        ("sent", "BrokenResourceError: the cable was cut"),
    ]
    assert "sending BrokenResourceError: the cable was cut" in repr(sink.capture)


async def test_errors_are_remembered_but_not_mistakes_of_ours():
    """A broken connection is of the conversation; a busy or a closed stream is not."""
    source = capture(FakeRead(b"abc", script=[2, trio.BrokenResourceError("gone")]))
    assert await source.receive_view() == b"ab"
    with pytest.raises(trio.BrokenResourceError):
        await source.receive_view()
    await source.inner.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await source.receive_view()
    assert told(source.capture) == [("received", b"ab"), ("received", "BrokenResourceError: gone")]

    failing = capture(FakeWrite(script=[2, trio.BrokenResourceError("gone")]))
    with pytest.raises(trio.BrokenResourceError):
        await failing.write_view(BytesView(b"abc"))
    assert told(failing.capture) == [("sent", b"ab"), ("sent", "BrokenResourceError: gone")]

    ours, theirs = await tcp_pair()
    async with closing(theirs):
        stream = capture(ours)
        await theirs.send_all(b"never read")
        reset(theirs)
        await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_eof()
        await stream.aclose()
    assert told(stream.capture)[0][1].startswith("BrokenResourceError: ")


async def test_a_cancelled_receive_is_not_remembered(autojump_clock):
    """What it would have got comes to the next one, and is remembered then."""
    ours, theirs = memory_pair()
    stream = capture(ours)
    with trio.move_on_after(1):
        await stream.read_exactly(5)
    await theirs.write_view(BytesView(b"hel"))
    with trio.move_on_after(1):
        await stream.read_exactly(5)
    await theirs.write_view(BytesView(b"lo"))
    assert await stream.read_exactly(5) == b"hello"
    assert told(stream.capture) == [("received", b"hel"), ("received", b"lo")]


@given(st.lists(st.tuples(st.sampled_from([IN, OUT]), st.integers(1, 9))), st.integers(0, 40))
def test_remembering_ends_at_the_limit(script, limit):
    """As many bytes as were allowed, none behind a hole, and how many are missing."""

    async def main():
        ours, theirs = memory_pair()
        stream, passed = capture(ours, max_nbytes=limit), []
        for at, (direction, nbytes) in enumerate(script):
            data = bytes([at]) * nbytes
            passed += [(direction, byte) for byte in data]
            if direction is IN:
                await theirs.write_view(BytesView(data))
                await stream.read_exactly(nbytes)
            else:
                await stream.write_view(BytesView(data))
        await stream.aclose()
        return passed, stream.capture

    passed, captured = trio.run(main)
    kept = [(event.direction, byte) for event in captured.events for byte in event.view]
    assert kept == passed[:limit]
    if len(passed) > limit:
        more = len(passed) - limit
        assert captured.incomplete == (
            f"recording stopped after {limit} bytes, as it was told to; {more} more passed"
        )
        assert not any(event.is_end for event in captured.events)
        assert "incomplete: recording stopped" in repr(captured)
    else:
        assert captured.incomplete == ""
        assert captured.events[-1].is_end


async def test_beneath_a_buffered_stream():
    """What it sends without waiting counts as well; a flush that was cancelled is gone on with."""
    ours, theirs = await socketpair()
    small_buffers(ours)
    data = noise(300_000)
    async with closing(theirs), BufStream(capture(ours), flush_before_waiting=True) as stream:
        stream.write(b"request\n")
        await theirs.send_all(b"reply\n")
        assert await stream.read_line() == b"reply"
        assert stream.inner.capture.sent == b"request\n"
        stream.write(data)
        with trio.move_on_after(0.02):
            await stream.flush()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.flush)
            assert await theirs.read_exactly(8 + len(data)) == b"request\n" + data
        assert stream.inner.capture.sent == b"request\n" + data
        assert stream.inner.capture.received == b"reply\n"


async def test_beneath_and_above_tls(contexts):
    """Beneath, records; above, what was said."""
    ours, theirs = await socketpair()
    beneath = capture(ours)
    client = trio.SSLStream(beneath, contexts.client, server_hostname="localhost")
    server = TlsStream(trio.SSLStream(theirs, contexts.server, server_side=True))
    above = capture(client)
    async with server, trio.open_nursery() as nursery:
        nursery.start_soon(server.send_all, b"the answer")
        await above.send_all(b"the question")
        assert await above.read_exactly(10) == b"the answer"
        assert await server.read_exactly(12) == b"the question"
        nursery.start_soon(server.read_to_end, 0)
        await above.aclose()
    assert (above.capture.sent, above.capture.received) == (b"the question", b"the answer")
    assert beneath.capture.sent[0] == 22  # a handshake
    assert beneath.capture.sent.find(b"question") == -1


async def test_a_relay_and_a_copy_over_captures(tmp_path):
    """They know a captured stream for what it is."""
    data = noise(200_000)
    a, b = await socketpair()
    c, d = await socketpair()
    async with closing(a, b, c, d), trio.open_nursery() as nursery:
        left = capture(b)
        nursery.start_soon(relay, left, c)
        nursery.start_soon(a.write_view, BytesView(data))
        assert await d.read_exactly(len(data)) == data
        await d.send_all(b"done")
        await d.send_eof()
        assert await a.read_to_end(4) == b"done"
        await a.send_eof()
    assert (left.capture.received, left.capture.sent) == (data, b"done")
    assert told(left.capture)[-1] == ("received", "end")
    async with await open_binary_file(tmp_path / "f", "w") as file:
        sink = capture(file)
        await copy(FakeRead(data), sink)
    assert sink.capture.sent == data


async def test_busy_while_a_send_waits():
    """Two tasks that send are told apart as ever, and the capture has what the first one sent."""
    ours, theirs = await socketpair()
    async with closing(ours, theirs):
        stream = capture(ours)
        await clog(ours)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write_view, BytesView(b"waits"))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await stream.write_view(BytesView(b"refused"))
            assert stream._write_now(BytesView(b"refused")) == 0
            nursery.cancel_scope.cancel()
        assert told(stream.capture) == []


# The file

VIEWS = st.binary(min_size=1, max_size=300).map(BytesView)
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
GAPS = st.one_of(st.integers(0, 1000), st.integers(0, 1 << 55))


@st.composite
def captures(draw: st.DrawFn) -> Capture:
    """Any capture that there can be."""
    now, events, ended = 0, [], set()
    for kind in draw(st.lists(st.sampled_from(["bytes", "bytes", "bytes", "error", "end"]))):
        direction = draw(st.sampled_from([IN, OUT]))
        if direction in ended:
            continue
        now += draw(GAPS)
        match kind:
            case "bytes":
                events.append(CaptureEvent(now, direction, draw(VIEWS)))
            case "error":
                events.append(CaptureEvent(now, direction, error=draw(TEXTS)))
            case _:
                events.append(CaptureEvent(now, direction))
                ended.add(direction)
    return Capture(events, draw(st.one_of(st.just(""), TEXTS)))


TALK = Capture(
    [
        CaptureEvent(10, OUT, b"HELO trio\r\n"),
        CaptureEvent(5_000_000, IN, b"250 "),
        CaptureEvent(5_000_001, IN, b"ok\r\n"),
        CaptureEvent(6_000_000, OUT, bytes(300)),
        CaptureEvent(6_000_000, OUT),
        CaptureEvent(7_000_000_000, IN, error="BrokenResourceError: reset"),
        CaptureEvent(7_000_000_000, IN),
    ],
)


def test_the_bytes_of_a_file_are_as_its_page_says():
    """Written by hand from the head of _capture_file.py."""
    talk = Capture([CaptureEvent(300, OUT, b"hi"), CaptureEvent(301, IN, error="e")], "why")
    front = (
        b"\x89bytesbuf\r\n\x01"
        b"\x01\xac\x02\x02hi"  # sent, after 300 ns, 2 bytes
        b"\x04\x01\x01e"
        b"\x06\x00\x03why"
    )
    assert talk.to_bytes() == front + b"\x07" + zlib.crc32(front).to_bytes(4, "little")
    ends = Capture([CaptureEvent(0, IN), CaptureEvent(128, OUT)])
    assert ends.to_bytes()[len(PREAMBLE) : -5] == b"\x02\x00\x03\x80\x01"


@given(captures(), st.integers(1, 50))
@example(TALK, 7)
def test_a_file_has_all_of_a_capture(captured, block_nbytes):
    """It is loaded as it was saved, whatever pieces the file's bytes come in."""
    data = captured.to_bytes()
    assert Capture.from_bytes(data) == captured
    assert Capture.from_bytes(bytearray(data)) == captured
    in_pieces = BytesView.copied_from_slice(data, FixedBlockMemory(block_nbytes))
    assert Capture.from_bytes(in_pieces) == captured


def test_a_file_on_disk(tmp_path):
    """`save` writes what `to_bytes` returns, and `load` has a limit."""
    path = tmp_path / "talk.capture"
    TALK.save(path)
    assert path.read_bytes() == TALK.to_bytes()
    assert Capture.load(path) == TALK
    assert Capture.load(str(path), max_nbytes=len(TALK.to_bytes())) == TALK
    with pytest.raises(LimitExceeded):
        Capture.load(path, max_nbytes=len(TALK.to_bytes()) - 1)
    with pytest.raises(LimitExceeded):
        Capture.from_bytes(TALK.to_bytes(), max_nbytes=10)
    with pytest.raises(OSError, match="nothing here"):
        Capture.load(tmp_path / "nothing here")


def loaded_from(data: bytes) -> Capture | BadCapture:
    """What a file of these bytes is."""
    try:
        return Capture.from_bytes(data)
    except BadCapture as exc:
        return exc


@pytest.mark.parametrize("captured", [TALK, attrs.evolve(TALK, incomplete="as it was told to")])
def test_a_file_that_is_cut_short_is_loaded_and_says_so(captured):
    """At every byte: whole records in order, as many as there are, and never taken for all."""
    data = captured.to_bytes()
    seen = set()
    for nbytes in range(len(data)):
        if nbytes < len(PREAMBLE):
            with pytest.raises(BadCapture):
                Capture.from_bytes(data[:nbytes])
            continue
        loaded = Capture.from_bytes(data[:nbytes])
        assert loaded.incomplete.endswith(f"its file was cut short, and ends at byte {nbytes}")
        assert loaded.events == captured.events[: len(loaded.events)]
        seen.add(len(loaded.events))
    assert seen == set(range(len(captured.events) + 1))


@given(st.data(), captures())
def test_a_byte_that_was_changed_does_not_go_unnoticed(data, captured):
    """Any change of a file is an error, or a capture that says that it is not all."""
    file = bytearray(captured.to_bytes())
    at = data.draw(st.integers(0, len(file) - 1))
    file[at] ^= data.draw(st.integers(1, 255))
    loaded = loaded_from(bytes(file))
    if isinstance(loaded, BadCapture):
        assert 0 <= loaded.offset <= len(file)
        assert f"at byte {loaded.offset} there is {loaded.complaint}" in str(loaded)
    else:
        assert "cut short" in loaded.incomplete


@given(st.binary(max_size=200))
def test_garbage_is_an_error_or_a_short_capture(data):
    """With and without the preamble; what is loaded is no more than there is."""
    assume(not data.startswith(PREAMBLE))
    with pytest.raises(BadCapture):
        Capture.from_bytes(data)
    loaded = loaded_from(PREAMBLE + data)
    assert isinstance(loaded, BadCapture) or len(loaded.received) + len(loaded.sent) <= len(data)


@pytest.mark.parametrize(
    ("records", "complaint", "offset"),
    [
        (b"\x08", "a record of the unknown kind 8", 12),
        (b"\x00\x00\x00", "a record with nothing in it", 12),
        (b"\x02\x00\x00\x00\x01a", "a record behind the end of what was received", 14),
        (b"\x03\x00\x03\x00", "a record behind the end of what was sent", 14),
        (b"\x06\x00\x01a\x02\x00", "a record behind the last", 16),
        (b"\x04\x00\x01\xff", "a text that is not UTF-8", 12),
        (b"\x02" + b"\xff" * 10, "a number of more than 64 bits", 13),
        (b"\x02" + b"\xff" * 9 + b"\x01", "a time beyond 292 years", 12),
        (b"\x07\x00\x00\x00\x00", "the checksum 00000000, of bytes whose checksum is", 12),
    ],
)
def test_what_is_no_record_is_named(records, complaint, offset):
    """With its place in the file."""
    with pytest.raises(BadCapture) as caught:
        Capture.from_bytes(PREAMBLE + records)
    assert caught.value.complaint.startswith(complaint)
    assert caught.value.offset == offset


def test_other_files_and_other_versions_are_told_apart():
    """A file that is none, one of another version, and one with something behind its end."""
    whole = TALK.to_bytes()
    for data, complaint, offset in (
        (b"\x7fELF" + bytes(100), "no capture's preamble", 0),
        (PREAMBLE[:-1] + b"\x02" + whole[len(PREAMBLE) :], "another version than 1", 11),
        (whole + b"x", "more, behind the end", len(whole)),
    ):
        with pytest.raises(BadCapture) as caught:
            Capture.from_bytes(data)
        assert (caught.value.complaint, caught.value.offset) == (complaint, offset)


def test_events_that_cannot_be_are_refused():
    """So every capture that there is can be saved."""
    for nanoseconds in (-1, MAX_NANOSECONDS + 1):
        with pytest.raises(ValueError, match="ns"):
            CaptureEvent(nanoseconds, IN)
    CaptureEvent(MAX_NANOSECONDS, IN)
    for events, complaint in (
        ([CaptureEvent(2, IN, b"a"), CaptureEvent(1, OUT, b"b")], "before the one before"),
        ([CaptureEvent(1, IN), CaptureEvent(1, IN, b"b")], "behind the end of what was received"),
        ([CaptureEvent(1, IN, b"b", "and an error")], "bytes and an error"),
    ):
        with pytest.raises(ValueError, match=complaint):
            Capture(events)


class GoesOn(Read):
    """A source that has more behind its end, as a terminal has, or a file that grows."""

    def __init__(self) -> None:
        self.views = [b"one", b"", b"two"]

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        await trio.lowlevel.checkpoint()
        return BytesView(self.views.pop(0))[:max_bytes]

    async def _aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_what_comes_behind_an_end_is_no_silent_hole() -> None:
    """It is not remembered, since a capture has no place for it; and the capture says so."""
    stream = capture(GoesOn())
    got = [bytes(await stream.receive_view()) for _ in range(3)]
    assert got == [b"one", b"", b"two"]
    assert stream.capture.received == b"one"
    assert stream.capture.incomplete == "recording stopped where more was received behind an end"
    await stream.aclose()
