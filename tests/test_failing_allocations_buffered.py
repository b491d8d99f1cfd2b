"""Each allocation fails once in buffered streams, typed channels and layers: no gap, no repeat."""

from __future__ import annotations

import contextlib
import zlib

import pytest
import trio
from allocations import Place, is_lack_of_memory, let_go, unheard, what_became, where_they_can
from pairs import big_buffers, noise, socketpair
from small_codecs import Text

from trio_bytesbuf import BufReader, BufWriter, BytesBuf, BytesView, CappedPool, UnexpectedEof
from trio_bytesbuf.buffered import (
    DeflatedWrite,
    InflatedRead,
    LengthPrefixed,
    Netstring,
    ReceiveBuffer,
)
from trio_bytesbuf.io import _read_kept, _relay
from trio_bytesbuf.testing import (
    Allocations,
    FakeRead,
    FakeWrite,
    check_laws,
    fail_at_each_call,
)
from trio_bytesbuf.wire import (
    MessageEncoder,
    TypedChannel,
    TypedReceiveChannel,
)

pytestmark = where_they_can

LINES = [b"short", b"", b"x" * 300, b"y" * 20_000, b"z", b"last"]
LINED = b"\n".join(LINES) + b"\n"
FRAMED = b"".join(b"%d:%s," % (len(line), line) for line in LINES)
PREFIXED = b"".join(len(line).to_bytes(4, "big") + line for line in LINES)
VALUES = ["", "short", "x" * 300, "y" * 20_000, "last"]


def messages() -> bytes:
    encoder = MessageEncoder(Text(), sends_checksums=False)
    data = b"".join(map(bytes, encoder.messages_of(VALUES)))
    encoder.has_said_something()
    return data + encoder.encode_end()


def failed_for_lack_of_memory(attempt) -> bool:
    let_go(attempt.error)
    assert attempt.error is None or is_lack_of_memory(attempt.error), attempt.error
    return attempt.error is not None


async def each(make, operation, check):
    @contextlib.asynccontextmanager
    async def subject():
        yield make()

    with unheard():
        table = await fail_at_each_call(subject, operation, Allocations(), check=check)
    assert table.failed
    return table


# Receiving

CHANNELS = {
    "lines": (lambda reader: reader.lines(), LINED),
    "views": (lambda reader: reader.frames(LengthPrefixed(4)), PREFIXED),
    "bytes": (lambda reader: reader.frames(Netstring(), bytes), FRAMED),
    "typed": (lambda reader: TypedReceiveChannel(reader, Text(), checks_checksums=False), None),
}


async def one_by_one(place: Place) -> None:
    for index in range(3):
        place.b[index] = await place.a.receive()


async def in_batches(place: Place) -> None:
    place.b[0] = await place.a.receive_batch()


async def a_batch_of_two(place: Place) -> None:
    place.b[0] = await place.a.receive_batch(2)
    place.b[1] = await place.a.receive_batch(2)


async def as_they_are(place: Place) -> None:
    place.b[0] = await place.a.receive()
    place.b[1] = place.a.try_receive()
    place.b[2] = place.a.try_receive()


@pytest.mark.parametrize("nbytes", [3000, 100_000], ids=["dribbling", "at once"])
@pytest.mark.parametrize("kind", CHANNELS)
@pytest.mark.parametrize(
    "operation", [one_by_one, in_batches, a_batch_of_two, as_they_are], ids=lambda it: it.__name__
)
async def test_each_frame_is_received_once(operation, kind, nbytes) -> None:
    """But for what is on its way out: of a batch all of it, of messages that of the codec."""
    make_channel, data = CHANNELS[kind]
    whole = VALUES if kind == "typed" else LINES

    def make() -> Place:
        reader = BufReader(FakeRead(messages() if data is None else data, max_read_nbytes=nbytes))
        return Place(reader, a=make_channel(reader), b=[None] * 3)

    async def check(place: Place, attempt) -> None:
        has_failed = failed_for_lack_of_memory(attempt)
        check_laws(place.it)
        got = []
        for one in place.b:
            got += one if isinstance(one, list) else [] if one is None else [one]
        with contextlib.suppress(trio.EndOfChannel):
            while True:
                got.append(await place.a.receive())
        got = [one if isinstance(one, str) else bytes(one) for one in got]
        assert has_failed or got == whole
        assert got == [value for value in whole if value in got]
        if operation in (one_by_one, as_they_are) and kind != "typed":
            assert got == whole

    await each(make, operation, check)


async def read_exactly(place: Place) -> None:
    place.got = await place.it.read_exactly(10_000)


async def read_until(place: Place) -> None:
    place.got = await place.it.read_until(b"xy", 50_000)


async def peek(place: Place) -> None:
    await place.it.peek(500)


async def fill_buf(place: Place) -> None:
    await place.it.fill_buf()


async def receive_view(place: Place) -> None:
    place.got = await place.it.receive_view(200)


async def read_to_end(place: Place) -> None:
    place.got = await place.it.read_to_end(1_000_000)


async def unread(place: Place) -> None:
    view = await place.it.receive_view(200)
    place.got = view
    place.it.unread(view)
    place.got = None


@pytest.mark.parametrize("nbytes", [700, 100_000], ids=["dribbling", "at once"])
@pytest.mark.parametrize(
    "operation",
    [read_exactly, read_until, peek, fill_buf, receive_view, read_to_end, unread],
    ids=lambda it: it.__name__,
)
async def test_each_byte_is_read_once(operation, nbytes) -> None:
    """What was got and what the next read gets is all, in order."""
    data = LINED.replace(b"x\n", b"xy")

    def make() -> Place:
        return Place(BufReader(FakeRead(data, max_read_nbytes=nbytes)))

    async def check(place: Place, attempt) -> None:
        has_failed = failed_for_lack_of_memory(attempt)
        check_laws(place.it)
        got = b"" if place.got is None else bytes(place.got)
        rest = bytes(await place.it.read_to_end(1_000_000))
        assert got + rest == data or (operation is unread and has_failed and rest == data)

    await each(make, operation, check)


# Sending


def encoded(frames) -> bytes:
    return b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)


async def flush(place: Place) -> None:
    place.it.write(b"little")
    place.it.write(b"x" * 5000)
    await place.it.flush()


async def send_all(place: Place) -> None:
    await place.it.send_all(b"little" + b"x" * 5000)


async def send_frames(place: Place) -> None:
    channel = place.it.frame_sender(LengthPrefixed(4))
    await channel.send(b"little")
    await channel.send_batch([b"x" * 5000, b"last"])


SENT = {
    flush: (b"little", b"x" * 5000),
    send_all: (b"little" + b"x" * 5000,),
    send_frames: (encoded([b"little"]), encoded([b"x" * 5000, b"last"])),
}


@pytest.mark.parametrize("operation", SENT, ids=lambda it: it.__name__)
async def test_what_is_buffered_is_sent_once_or_not_called_sent(operation) -> None:
    """Over a socket: what the peer gets is a front of what was written, whole parts of it unsent.

    A writer that is not broken goes on where it is, and no byte is missing or comes twice.
    """
    parts = SENT[operation]

    @contextlib.asynccontextmanager
    async def subject():
        a, b = await socketpair()
        big_buffers(a)
        async with a, b:
            yield Place(BufWriter(a), peer=b, a=a)

    async def check(place: Place, attempt) -> str:
        has_failed = failed_for_lack_of_memory(attempt)
        writer = place.it
        check_laws(writer)
        try:
            await writer.flush()
            became = "goes on"
        except trio.BrokenResourceError:
            became = "broken"
            with pytest.raises(trio.BrokenResourceError):
                await writer.send_all(b"again")
            writer._drop()
        await trio.aclose_forcefully(writer)
        await place.a.aclose()
        came = bytes(await place.peer.read_to_end(1_000_000))
        fronts = {b"".join(parts[:count]) for count in range(len(parts) + 1)}
        if became == "goes on":
            assert came in fronts
            assert has_failed or came == b"".join(parts)
        else:
            assert has_failed
            assert b"".join(parts).startswith(came)
        return became

    with unheard():
        table = await fail_at_each_call(subject, operation, Allocations(), check=check)
    assert what_became(table) == {"goes on", "broken"}


async def test_a_value_is_sent_whole_and_once_or_not_at_all() -> None:
    """`send` and `send_many` of a typed channel, and its goodbye; the peer's channel looks."""

    async def send(place: Place) -> None:
        await place.it.send("first")
        await place.it.send_many(["second", "y" * 20_000])
        await place.it.send_eof()

    @contextlib.asynccontextmanager
    async def subject():
        a, b = await socketpair()
        big_buffers(a)
        async with a, b:
            ours = TypedChannel(a, receives=Text(), sends=Text(), sends_checksums=False)
            theirs = TypedReceiveChannel(b, Text(), checks_checksums=False, requires_goodbye=True)
            yield Place(ours, peer=theirs, a=a)

    async def check(place: Place, attempt) -> str:
        has_failed = failed_for_lack_of_memory(attempt)
        check_laws(place.it)
        became = "goes on"
        try:
            await place.it.send_eof()  # once more, if that is what failed
        except trio.BrokenResourceError:
            became = "broken"
        await trio.aclose_forcefully(place.it)
        got = []
        try:
            while True:
                got.append(await place.peer.receive())
        except trio.EndOfChannel:
            ended = True
        except (trio.BrokenResourceError, UnexpectedEof):
            ended = False
        whole = ["first", "second", "y" * 20_000]
        assert got in ([], whole[:1], whole) or (became == "broken" and got == whole[: len(got)])
        assert has_failed or (ended and got == whole)
        assert ended or became == "broken"
        return became

    with unheard():
        table = await fail_at_each_call(subject, send, Allocations(), check=check)
    assert what_became(table) == {"goes on", "broken"}


async def test_what_is_copied_out_of_a_share_is_there_once() -> None:
    """What a read has gathered, and holds all its memory, though it is little."""

    def make() -> Place:
        share = CappedPool(65_536).share(65_536)
        buf = BytesBuf()
        for number in range(16):
            buf.put_view(BytesView.copied_from_slice(bytes([number]) * 4096, share)[:1500])
        return Place(buf, pool=share)

    async def make_room(place: Place) -> None:
        _read_kept._refuse_to_starve(place.it, place.pool)

    async def check(place: Place, attempt) -> str:
        has_failed = failed_for_lack_of_memory(attempt)
        check_laws(place.it)
        assert has_failed or place.pool.statistics().lent_nbytes == 0
        assert place.it.consume_all() == b"".join(bytes([number]) * 1500 for number in range(16))
        return ""

    await each(make, make_room, check)


async def test_what_is_compacted_is_there_all_the_same() -> None:
    """The buffer of a reader, copied or not."""

    def make() -> Place:
        buffer = ReceiveBuffer()
        for piece in (b"little", b"x" * 5000, b"y" * 9000, b"tail"):
            buffer.feed(BytesView(bytearray(piece)))
        buffer.discard(2)
        return Place(buffer)

    async def compact(place: Place) -> None:
        place.it.compact()

    async def check(place: Place, attempt) -> str:
        failed_for_lack_of_memory(attempt)
        check_laws(place.it)
        assert place.it.take_all() == b"ttle" + b"x" * 5000 + b"y" * 9000 + b"tail"
        return ""

    await each(make, compact, check)


# Layers


async def test_what_is_decompressed_is_all_or_the_layer_says_so() -> None:
    """What was got and what comes next is a front of the data; the end is no lie."""
    data = bytes(range(256)) * 400
    packed = zlib.compress(data)

    def make() -> Place:
        source = BufReader(FakeRead(packed + b"behind"))
        return Place(InflatedRead(source, format="zlib", max_nbytes=1_000_000), peer=source)

    async def read(place: Place) -> None:
        place.got = await place.it.receive_view(30_000)
        place.a = await place.it.receive_view()

    async def check(place: Place, attempt) -> str:
        has_failed = failed_for_lack_of_memory(attempt)
        got = b"".join(bytes(one) for one in (place.got, getattr(place, "a", None)) if one)
        try:
            while view := await place.it.receive_view():
                got += bytes(view)
        except trio.BrokenResourceError:
            assert has_failed
            assert data.startswith(got)
            return "broken"
        assert got == data
        assert await place.it.into_inner().read_exactly(6) == b"behind"
        return "resumed"

    assert what_became(await each(make, read, check)) == {"resumed", "broken"}


async def test_what_is_compressed_is_a_stream_or_a_cut_one() -> None:
    """Never one that looks complete and is not."""
    data = bytes(range(256)) * 100

    def make() -> Place:
        sink = FakeWrite()
        return Place(DeflatedWrite(sink, format="zlib"), peer=sink)

    async def write(place: Place) -> None:
        await place.it.write_view(BytesView(data[:20_000]))
        await place.it.write_view(BytesView(data[20_000:]))
        await place.it.finish()

    async def check(place: Place, attempt) -> str:
        has_failed = failed_for_lack_of_memory(attempt)
        unzip = zlib.decompressobj()
        got = unzip.decompress(place.peer.contents.to_bytes())
        if not has_failed:
            assert unzip.eof
            assert got == data
            return "whole"
        assert data.startswith(got)
        assert not unzip.eof or got == data
        try:
            await place.it.write_view(BytesView(b"more"))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return "broken"
        got = zlib.decompressobj().decompress(place.peer.contents.to_bytes())
        assert got in {b"more", data[:20_000] + b"more", data + b"more"}
        return "goes on"

    assert what_became(await each(make, write, check)) >= {"goes on", "broken"}


@pytest.mark.counts_memory
async def test_a_relay_passes_on_a_front_and_no_end_before_the_end() -> None:
    """What lacks memory in a direction ends it; the peer never takes a part for all."""
    data = noise(150_000)

    @contextlib.asynccontextmanager
    async def subject():
        a, left = await socketpair()
        b, right = await socketpair()
        for stream in (a, left, b, right):
            big_buffers(stream)
        async with a, left, b, right:
            await left.send_all(data)
            await left.send_eof()
            place = Place(a, a=left, b=b, peer=right)
            place.got = []
            yield place

    async def pass_on(place: Place) -> None:
        await _relay._pass_on(place.it, place.b, place.got, nothing)

    async def check(place: Place, attempt) -> str:
        has_failed = failed_for_lack_of_memory(attempt)
        was_ended = place.b.socket.did_shutdown_SHUT_WR
        await place.b.aclose()
        came = bytes(await place.peer.read_to_end(1_000_000))
        assert data.startswith(came)
        assert came == data or ((has_failed or place.got) and not was_ended)
        return "whole" if came == data else "a front"

    with unheard():
        table = await fail_at_each_call(subject, pass_on, Allocations(), check=check)
    assert what_became(table) == {"whole", "a front"}


def nothing() -> None:
    """End nothing: there is one direction only."""
