"""`frames`, `lines`, `text_lines`: channels over a buffered reader, by what their docstrings say.

That no frame is lost or changed, however it was cut, is in `test_reading_scripts`.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
import trio.testing
from pairs import Steps

from trio_bytesbuf import BytesView, LimitExceeded, UnexpectedEof
from trio_bytesbuf._errors import BadFrame
from trio_bytesbuf.buffered import (
    BufReader,
    BufStream,
    BufWriter,
    Delimited,
    FixedLength,
    FrameReceiveChannel,
    Framing,
    LengthPrefixed,
    Lines,
    Netstring,
    UniversalLines,
    VarintPrefixed,
)
from trio_bytesbuf.buffered._cutter import (
    BATCH_ITEMS,
    BATCH_NBYTES,
    BATCH_VIEWS,
    ENOUGH_NBYTES,
)
from trio_bytesbuf.testing import Delay, FakeRead, FakeWrite, memory_pair

FRAMINGS: dict[str, Framing] = {
    "lines": Lines(),
    "universal lines": UniversalLines(),
    "delimited": Delimited(b"\r\n"),
    "several delimiters": Delimited((b";;", b"\n")),
    "fixed": FixedLength(5),
    "prefixed": LengthPrefixed(2),
    "odd prefixed": LengthPrefixed(3, "little", includes_prefix=True),
    "varint": VarintPrefixed(),
    "netstring": Netstring(),
}
every_framing = pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)


def sent(framing: Framing, *payloads: bytes) -> bytes:
    return b"".join(framing.encode(payload).to_bytes() for payload in payloads)


def over(data: bytes, *script: Any, **options: Any) -> BufReader[FakeRead]:
    """A reader of `data`, which arrives as a script says, or else a byte at a time."""
    options.setdefault("max_read_nbytes", None if script else 1)
    return BufReader(FakeRead(data, script=script, **options))


async def filled(data: bytes, then: bytes = b"") -> BufReader[FakeRead]:
    """A reader with `data` in its buffer."""
    script = [len(data), Delay(math.inf)] if not then else [len(data)]
    reader = BufReader(FakeRead(data + then, script=script))
    assert await reader.fill_buf() == data
    return reader


# What comes


@every_framing
@pytest.mark.parametrize("kind", [BytesView, bytes, memoryview])
async def test_frames_come_as_what_is_wanted(framing, kind) -> None:
    """Each frame once and in order, as the wanted type, by each of the ways to receive."""
    payloads = [b"first", b"other", b"third", b"final"]
    data = sent(framing, *payloads)
    for size in (1, 3, 7, len(data)):
        channel = over(data, max_read_nbytes=size).frames(framing, kind)
        got = [item async for item in channel]
        assert [bytes(item) for item in got] == payloads
        assert {type(item) for item in got} == {kind}
        channel = over(data, max_read_nbytes=size).frames(framing, kind)
        got = [item async for batch in channel.batches() for item in batch]
        assert [bytes(item) for item in got] == payloads
        assert {type(item) for item in got} == {kind}
    reader = await filled(data)
    channel = reader.frames(framing, kind)
    got = [channel.try_receive() for _ in range(4)]
    assert [bytes(item) for item in got if item is not None] == payloads
    assert channel.try_receive() is None


@every_framing
async def test_the_end_behind_a_whole_frame(framing) -> None:
    """It is EndOfChannel, for ever; iterations end; `try_receive` says nothing of it."""
    reader = over(sent(framing, b"first"))
    channel = reader.frames(framing)
    assert await channel.receive() == b"first"
    for _ in range(2):
        for call in (channel.receive, channel.receive_batch, channel.skip):
            with pytest.raises(trio.EndOfChannel):
                await call()
        assert [item async for item in channel] == []
        assert [batch async for batch in channel.batches()] == []
        assert channel.try_receive() is None


@every_framing
async def test_the_end_in_the_middle_of_a_frame(framing) -> None:
    """It is UnexpectedEof, again and again, and all is there; a last line is a line."""
    part = sent(framing, b"other")[:-1] if framing != Lines() else b"other"
    reader = over(sent(framing, b"first") + part)
    channel = reader.frames(framing)
    assert [bytes(item) for item in await channel.receive_batch()] == [b"first"]
    if isinstance(framing, Lines | UniversalLines):
        assert await channel.receive() == b"other"
        return
    steps = channel.batches()
    for call in (channel.receive, channel.receive_batch, channel.__anext__, steps.__anext__):
        with pytest.raises(UnexpectedEof) as excinfo:
            await call()
        assert excinfo.value.arrived == len(part)
        assert excinfo.value.wanted > len(part)
        assert reader.buffered == part
    with pytest.raises(UnexpectedEof):
        await channel.skip()


@pytest.mark.parametrize("framing", [f for f in FRAMINGS.values() if f != FixedLength(5)])
async def test_what_comes_before_an_error_is_given_first(framing) -> None:
    """A batch ends before a frame that is too large; then it is refused; then the next is asked."""
    payloads = [b"first", b"other", b"much too large", b"final"]
    for reader in (over(sent(framing, *payloads)), await filled(sent(framing, *payloads))):
        channel = reader.frames(framing, bytes, max_bytes=5)
        got = await channel.receive_batch()
        while len(got) < 2:
            got += await channel.receive_batch()
        assert got == payloads[:2]
        for call in (channel.receive, channel.receive_batch, channel.batches().__anext__):
            with pytest.raises(LimitExceeded) as excinfo:
                await call()
            assert excinfo.value.limit == 5
        await channel.skip()
        assert await channel.receive() == b"final"


async def test_a_large_frame_is_accepted_by_another_channel() -> None:
    """After `FrameTooLarge` a channel with a higher limit receives the frame, over one reader."""
    reader = await filled(sent(Netstring(), b"0123456789", b"x"))
    channel = reader.frames(Netstring(), max_bytes=5)
    with pytest.raises(LimitExceeded):
        channel.try_receive()
    assert await reader.frames(Netstring()).receive() == b"0123456789"
    assert channel.try_receive() == b"x"


async def test_channels_take_turns() -> None:
    """Two channels and the reader's own methods go on where the other stopped."""
    reader = over(b"GET /\n\0\5hello3:abc,rest", 1, 30)
    assert await reader.lines().receive() == b"GET /"
    assert await reader.frames(LengthPrefixed(2)).receive() == b"hello"
    assert await reader.frames(Netstring()).receive() == b"abc"
    assert await reader.read_to_end(9) == b"rest"


# Batches


async def test_a_batch_has_no_more_items_than_wanted() -> None:
    """`max_items` bounds a batch, and the default does; what is left is for the next."""
    reader = await filled(b"x\n" * 2500)
    channel = reader.lines()
    assert [len(await channel.receive_batch(1)) for _ in range(2)] == [1, 1]
    assert len(await channel.receive_batch(7)) == 7
    assert len(await channel.receive_batch()) == BATCH_ITEMS
    assert len(await anext(channel.batches(90))) == 90
    assert len(await channel.receive_batch(10_000)) == 2500 - 99 - BATCH_ITEMS
    views = (await filled(b"x\n" * 2500)).frames(Delimited(b"\n"))
    assert len(await views.receive_batch()) == BATCH_VIEWS


@pytest.mark.parametrize("kind", [bytes, BytesView])
@every_framing
async def test_a_batch_has_no_more_bytes_than_it_should(framing, kind) -> None:
    """It ends with the frame that brings it to 128 KiB, however much there is at once."""
    if framing == FixedLength(5):
        framing = FixedLength(10_000)
    data = sent(framing, bytes(10_000)) * 100
    for ahead in (1 << 20, 1 << 22):
        reader = BufReader(FakeRead(data), read_ahead_nbytes=ahead)
        channel = reader.frames(framing, kind)
        sizes = [sum(map(len, batch)) async for batch in channel.batches()]
        assert sum(sizes) == 1_000_000
        assert max(sizes) < BATCH_NBYTES + 10_000
        assert min(sizes[:-1]) >= ENOUGH_NBYTES


@every_framing
async def test_a_batch_costs_one_checkpoint(framing) -> None:
    """All frames at hand come with one, where each `receive` is one; `try_receive` is none."""
    data = sent(framing, b"first") * 120
    reader = await filled(data)
    channel = reader.frames(framing)
    with Steps() as steps:
        assert len(await channel.receive_batch()) == 120
    assert steps.taken == 1
    reader.unread(data)
    with Steps() as steps:
        for _ in range(100):
            await channel.receive()
    assert steps.taken == 100
    with Steps() as steps:
        for _ in range(20):
            assert channel.try_receive() is not None
    assert steps.taken == 0


async def test_many_batches_leave_time_to_others() -> None:
    """Each step of `batches` and of the channel is a checkpoint, that of the end, too."""
    channel = (await filled(b"one\ntwo\n", b"thr")).lines()
    with trio.testing.assert_checkpoints():
        await anext(channel)
    with trio.testing.assert_checkpoints():
        await channel.receive_batch()
    steps = channel.batches()
    with trio.testing.assert_checkpoints():
        assert await anext(steps) == [b"thr"]
    for call in (steps.__anext__, channel.__anext__):
        with trio.testing.assert_checkpoints(), pytest.raises(StopAsyncIteration):
            await call()
    with trio.testing.assert_checkpoints():
        await channel.aclose()


# Skipping


@every_framing
@pytest.mark.parametrize("then", ["receive", "try_receive", "receive_batch", "skip", "anext"])
async def test_a_skip_that_was_cancelled_is_gone_on_with(framing, then) -> None:
    """Cancelled in the middle of a frame, `skip` has decided: the next call gives the next one."""
    if isinstance(framing, FixedLength):
        framing = FixedLength(1000)
    payloads = [bytes([65 + at]) * 1000 for at in range(3)]
    data = sent(framing, *payloads)
    with_delay = [500, Delay(0.02), 1, Delay(0.02)]
    reader = over(data, *with_delay, max_read_nbytes=300)
    channel = reader.frames(framing, bytes)
    for _ in range(2):
        with trio.move_on_after(0.01) as scope:
            await channel.skip()
        assert scope.cancelled_caught
        assert reader.buffered_nbytes <= 1, "what has come of it is dropped"
    if then == "try_receive":
        assert channel.try_receive() is None
        while (item := channel.try_receive()) is None:
            await reader.peek(reader.buffered_nbytes + 1)
        assert item == payloads[1]
    elif then == "receive_batch":
        assert await channel.receive_batch(1) == payloads[1:2]
    elif then == "skip":
        await channel.skip()
        assert await channel.receive() == payloads[1]
    else:
        call = channel.receive if then == "receive" else channel.__anext__
        assert await call() == payloads[1]
    assert await channel.receive() == payloads[2]


@pytest.mark.parametrize(
    ("framing", "data", "error"),
    [
        (Lines(b"\r\n"), b"abcdef\r", trio.EndOfChannel),
        (UniversalLines(), b"abcdef\r", trio.EndOfChannel),
        (Delimited(b"\r\n"), b"abcdef\r", UnexpectedEof),
        (LengthPrefixed(1), b"\x09abcdef", UnexpectedEof),
    ],
)
async def test_the_end_in_a_frame_that_is_skipped(framing, data, error) -> None:
    """Nothing of a frame that was being skipped is received when the stream ends in it."""
    channel = over(data, 3, Delay(0.02), 1).frames(framing)
    with trio.move_on_after(0.01) as scope:
        await channel.skip()
    assert scope.cancelled_caught
    with pytest.raises(error):
        await channel.receive()


@every_framing
async def test_a_long_frame_is_skipped_as_it_arrives(framing) -> None:
    """Of a frame over every limit no more is ever in the buffer than one receive brings."""
    most = 0
    payload = bytes(60_000)
    if isinstance(framing, FixedLength):
        framing = FixedLength(len(payload))

    class Watched(FakeRead):
        async def _receive_view(self, max_bytes: int | None) -> BytesView:
            nonlocal most
            most = max(most, reader.buffered_nbytes)
            return await super()._receive_view(max_bytes)

    data = sent(framing, payload)
    reader = BufReader(Watched(data + data), read_ahead_nbytes=1000)
    channel = reader.frames(framing, max_bytes=10)
    await channel.skip()
    assert most <= 8
    assert reader.buffered == data[: reader.buffered_nbytes]
    await channel.skip()
    with pytest.raises(trio.EndOfChannel):
        await channel.skip()


# Lines and text


async def test_lines_end_as_told() -> None:
    """A delimiter of one's own; or LF, CRLF and CR alike, a CRLF cut in two as well."""
    data = b"one\r\ntwo\rthree\n\r\nfour"
    for size in range(1, len(data)):
        got = [line async for line in over(data, max_read_nbytes=size).lines(None)]
        assert got == [b"one", b"two", b"three", b"", b"four"]
        got = [line async for line in over(data, max_read_nbytes=size).lines()]
        assert got == data.split(b"\n")
        got = [line async for line in over(data, max_read_nbytes=size).lines(b"\r\n")]
        assert got == data.split(b"\r\n")


async def test_a_carriage_return_at_the_end() -> None:
    """The last CR to arrive waits for its LF, or for the end of the stream."""
    reader = await filled(b"one\r", b"\ntwo\r")
    channel = reader.lines(None)
    assert channel.try_receive() is None
    assert await channel.receive() == b"one"
    assert await channel.receive() == b"two"
    with pytest.raises(trio.EndOfChannel):
        await channel.receive()


@pytest.mark.parametrize("by_batch", [False, True])
@pytest.mark.parametrize("size", [1, 5, 100])
async def test_bytes_that_are_no_text(size, by_batch) -> None:
    """Lines before bad bytes come first; then it is UnicodeDecodeError; `skip` goes on."""
    reader = over(b"one\ntwo\nb\xffd\nfour\n\xff", max_read_nbytes=size)
    channel = reader.text_lines()
    for wanted in (["one", "two"], ["four"]):
        got: list[str] = []
        while len(got) < len(wanted):
            got += await channel.receive_batch() if by_batch else [await channel.receive()]
        assert got == wanted
        for _ in range(2):
            with pytest.raises(UnicodeDecodeError):
                await (channel.receive_batch() if by_batch else channel.receive())
        await channel.skip()
    with pytest.raises(trio.EndOfChannel):
        await channel.receive()


async def test_text_is_decoded_as_told() -> None:
    """By an encoding, and with a way to treat errors; characters of several bytes are never cut."""
    text = "größe\nλέξη\n漢字"
    for encoding in ("utf-8", "UTF8", "utf_8"):
        got = [line async for line in over(text.encode()).text_lines(encoding)]
        assert got == text.split("\n")
    got = [line async for line in over("größe\n".encode("latin-1")).text_lines("latin-1")]
    assert got == ["größe"]
    got = [line async for line in over(b"a\xff\n").text_lines(errors="replace")]
    assert got == ["a\N{REPLACEMENT CHARACTER}"]
    got = [line async for line in over(b"a\xff\n").text_lines("ascii", errors="ignore")]
    assert got == ["a"]
    assert await over(b"a\r\nb\rc").text_lines(newline=None).receive_batch() == ["a"]


def test_encodings_that_are_refused() -> None:
    """Unknown ones, and unknown ways to treat errors, are a LookupError; UTF-16 a ValueError."""
    reader = over(b"")
    for encoding, errors in (("no-such", "strict"), ("utf-8", "no-such"), ("latin-1", "no-such")):
        with pytest.raises(LookupError):
            reader.text_lines(encoding, errors=errors)
    for encoding in ("utf-16", "utf-16-le", "utf-32", "cp037"):
        with pytest.raises(ValueError, match="lines"):
            reader.text_lines(encoding)


async def test_a_limit_counts_bytes_without_the_end() -> None:
    """For text as for bytes; the line stays and can be skipped."""
    for channel in (
        over("größe\nx\n".encode()).text_lines(max_bytes=6),
        over("größe\nx\n".encode()).lines(max_bytes=6),
    ):
        with pytest.raises(LimitExceeded):
            await channel.receive()
        await channel.skip()
        assert await channel.receive() in ("x", b"x")
    assert await over("größe\n".encode()).text_lines(max_bytes=7).receive() == "größe"


def test_what_makes_no_channel() -> None:
    """What is no framing, and what no frame can be, is a TypeError."""
    reader = over(b"")
    for wrong in (b"\n", None, 4, Lines):
        with pytest.raises(TypeError, match="Framing"):
            reader.frames(wrong)  # type: ignore[call-overload]
    for odd in (str, bytearray, int, None):
        with pytest.raises(TypeError, match="BytesView"):
            reader.frames(Lines(), odd)


# Trio's channels


async def test_it_is_a_channel_of_trios() -> None:
    """A `trio.abc.ReceiveChannel`, over a `BufStream` as over a `BufReader`; closed by a block."""
    ours, theirs = memory_pair()
    stream = BufStream(ours)
    await theirs.write_view(BytesView(b"one\n"))
    async with stream.lines() as channel:
        assert isinstance(channel, FrameReceiveChannel | trio.abc.ReceiveChannel)
        assert await channel.receive() == b"one"
    for call in (channel.receive, channel.receive_batch, channel.skip, channel.__anext__):
        with pytest.raises(trio.ClosedResourceError):
            await call()
    with pytest.raises(trio.ClosedResourceError):
        channel.try_receive()
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive_view()
    await channel.aclose()
    await theirs.aclose()


async def test_a_channel_that_is_closed_although_cancelled() -> None:
    """`aclose` closes when it is cancelled; nothing pins what had arrived."""
    reader = await filled(b"one\ntwo\n")
    with trio.CancelScope() as scope:
        scope.cancel()
        await reader.lines().aclose()
    assert reader.buffered_nbytes == 0
    with pytest.raises(trio.ClosedResourceError):
        await reader.lines().receive()


async def test_frames_of_any_size_both_ways() -> None:
    """What is sent by `frame_sender` arrives by `frames`, through a hundred cuts."""
    payloads = [bytes([65 + n % 26]) * (n * n) for n in range(60)]
    for framing in FRAMINGS.values():
        if isinstance(framing, FixedLength):
            continue
        ours, theirs = memory_pair()
        async with BufReader(ours, read_ahead_nbytes=97) as reader:
            async with BufWriter(theirs) as writer:
                sender = writer.frame_sender(framing)
                for payload in payloads[:30]:
                    await sender.send(payload)
                await sender.send_batch(payloads[30:])
            assert [bytes(item) async for item in reader.frames(framing)] == payloads


async def test_a_frame_is_waited_for_by_one() -> None:
    """While one task waits for a frame another is refused, by every way to receive."""
    reader = over(b"", Delay(math.inf))
    channel = reader.lines()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.receive)
        await trio.testing.wait_all_tasks_blocked()
        for other in (channel, reader.frames(Netstring())):
            for call in (other.receive, other.receive_batch, other.skip, other.__anext__):
                with pytest.raises(trio.BusyResourceError):
                    await call()
            with pytest.raises(trio.BusyResourceError):
                other.try_receive()
        nursery.cancel_scope.cancel()


async def test_a_channel_says_what_it_is() -> None:
    """Its `repr` names the framing and the reader."""
    assert repr((await filled(b"abc")).frames(FixedLength(2))) == (
        "<FrameReceiveChannel of FixedLength(nbytes=2) over "
        "<BufReader of 3 bytes, over <FakeRead with 0 bytes left>>>"
    )


async def test_a_skip_that_is_refused_has_not_begun():
    """Bytes of another format are passed by in another way, and the next frame is nobody's skip."""
    reader = BufReader(FakeRead(b"no frame\n3:one,3:two,"))
    frames = reader.frames(Netstring())
    for _ in range(2):
        with pytest.raises(BadFrame):
            await frames.skip()
    await reader.skip_until(b"\n")
    assert [bytes(frame) async for frame in frames] == [b"one", b"two"]


async def test_a_receive_is_told_that_its_channel_was_closed():
    """Also one that has a frame already, and only lets others run before it returns it."""
    told = 0
    for _ in range(20):  # which of the two runs first is drawn by trio
        channel = (await filled(b"3:one,")).frames(Netstring())
        outcome: list[object] = []

        async def receive(channel=channel, outcome=outcome) -> None:
            try:
                outcome.append(await channel.receive())
            except trio.ClosedResourceError as exc:
                outcome.append(exc)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(channel.aclose)
        assert outcome == [b"one"] or isinstance(outcome[0], trio.ClosedResourceError)
        told += outcome != [b"one"]
    assert told


class Counting(LengthPrefixed):
    """A format of one's own that is made of one of ours."""

    def wrap(self, payload):
        assert type(payload) is BytesView
        before, after = super().wrap(payload)
        return before, after + bytes((payload.count(b"x"),))


async def test_a_framing_of_ones_own_is_given_views_whatever_it_is_made_of() -> None:
    """What is quick for ours is nothing that a subclass has to know of."""
    sink = FakeWrite()
    channel = BufWriter(sink).frame_sender(Counting(1))
    await channel.send(b"xox")
    await channel.send_batch([b"o", BytesView(b"xx")])
    assert sink.contents == b"\3xox\2\1o\0\2xx\2"
    await channel.aclose()
