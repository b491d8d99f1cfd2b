"""Each allocation fails once: books stay right, nothing is put or taken in part.

By CPython's own switch, so only where `_testcapi` is there; what runs here waits for nothing.
"""

from __future__ import annotations

import contextlib

import pytest
from allocations import where_they_can
from small_codecs import Text

from trio_bytesbuf import BufWriter, BytesBuf, BytesView
from trio_bytesbuf.buffered import ReceiveBuffer
from trio_bytesbuf.testing import Allocations, FakeWrite, check_laws, fail_at_each_call
from trio_bytesbuf.wire import MessageDecoder, MessageEncoder, TypedSendChannel
from trio_bytesbuf.wire._format import HEADER_NBYTES

pytestmark = where_they_can

SMALL = BytesView(b"small")
LARGE = BytesView.from_views([BytesView(bytes([65 + n]) * 700) for n in range(5)])
VALUES = ["", "short", "x" * 300, "y" * 20_000, "last"]


def subject_of(make):
    @contextlib.asynccontextmanager
    async def subject():
        yield make()

    return subject


def filled() -> ReceiveBuffer:
    """A buffer with a window, half taken, whole pieces and a tail."""
    buffer = ReceiveBuffer()
    buffer.feed(LARGE)
    buffer.feed(SMALL)
    buffer.feed(b"!")
    buffer.take(300)
    return buffer


FILLED = (bytes(LARGE) + b"small!")[300:]
TAKEN = bytes(LARGE)

CHANGES = {
    "feed little": (lambda it: it.feed(SMALL), lambda all_: all_ + bytes(SMALL)),
    "feed much": (lambda it: it.feed(LARGE), lambda all_: all_ + bytes(LARGE)),
    "unread": (lambda it: it.unread(SMALL), lambda all_: bytes(SMALL) + all_),
    "take a bit": (lambda it: it.take(10), lambda all_: all_[10:]),
    "take some": (lambda it: it.take(2500), lambda all_: all_[2500:]),
    "take all": (lambda it: it.take_all(), lambda _: b""),
    "discard": (lambda it: it.discard(2500), lambda all_: all_[2500:]),
    "discard all": (lambda it: it.discard(len(it)), lambda _: b""),
}


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "unread"])
@pytest.mark.parametrize("make", [filled, ReceiveBuffer], ids=["filled", "empty"])
async def test_a_buffer_is_changed_wholly_or_not_at_all(name, make) -> None:
    """What was fed is in it once, what was taken is out of it, or nothing has happened."""
    change, model = CHANGES[name]
    before = bytes(make().take_all())
    if not before and not name.startswith("feed"):
        return

    async def operation(buffer: ReceiveBuffer) -> None:
        change(buffer)

    async def check(buffer: ReceiveBuffer, attempt) -> None:
        check_laws(buffer)
        left = bytes(buffer.take_all())
        if attempt.error is None:
            assert left == model(before)
        else:  # it may have been done, and the way back have failed
            assert isinstance(attempt.error, MemoryError)
            assert left in {before, model(before)}

    table = await fail_at_each_call(subject_of(make), operation, Allocations(), check=check)
    assert table.failed


async def test_a_writer_takes_all_or_nothing_and_its_books_are_right() -> None:
    """Little and much; what is flushed afterwards is what was taken."""

    async def operation(writer: BufWriter) -> None:
        writer.write(b"little")
        writer.write(LARGE)
        writer.write(b"again")

    async def check(writer: BufWriter, attempt) -> None:
        check_laws(writer)
        await writer.flush()
        whole = b"little" + bytes(LARGE) + b"again"
        sent = bytes(writer._sink.contents)
        assert sent in {b"", whole[:6], whole[:-5], whole}
        assert attempt.error is not None or sent == whole

    table = await fail_at_each_call(
        subject_of(lambda: BufWriter(FakeWrite())), operation, Allocations(), check=check
    )
    assert table.failed


async def test_of_many_messages_all_are_sent_or_none() -> None:
    """`send_many` puts all of them into the buffer, or nothing, not even the header."""

    def make() -> TypedSendChannel[str]:
        return TypedSendChannel(FakeWrite(), Text(), sends_checksums=False)

    async def operation(channel) -> None:
        channel._put_header()
        channel._writer._put_to_send(channel._encoder.messages_of(VALUES))

    encoder = MessageEncoder(Text(), sends_checksums=False)
    whole = b"".join(map(bytes, encoder.messages_of(VALUES)))  # with the header

    async def check(channel, attempt) -> None:
        check_laws(channel._writer)
        unsent = bytes(channel._writer.unsent)
        assert unsent in {b"", whole[:HEADER_NBYTES], whole}
        assert attempt.error is not None or unsent == whole
        channel._writer._drop()

    table = await fail_at_each_call(subject_of(make), operation, Allocations(), check=check)
    assert table.failed


@pytest.mark.parametrize("checksums", [True, False], ids=["checked", "unchecked"])
async def test_a_message_is_given_away_once_whatever_memory_lacks(checksums) -> None:
    """One by one and in batches: no value is repeated or made up, and one is lost at the most.

    That is one whose codec has seen it and raised, as is promised, or that was on its way out: as
    can be a batch, and all of it with it.
    """
    encoder = MessageEncoder(Text(), sends_checksums=checksums)
    data = b"".join(map(bytes, encoder.messages_of(VALUES)))
    encoder.has_said_something()
    data += encoder.encode_end()
    for in_batches in (True, False):

        def make() -> tuple[MessageDecoder[str], list[str]]:
            decoder = MessageDecoder(Text(), checks_checksums=checksums)
            decoder.feed(data)
            return decoder, []

        async def operation(it) -> None:
            decoder, got = it
            for _ in range(10):
                if in_batches:  # noqa: B023
                    batch = decoder.next_events()
                    got += batch
                elif isinstance(item := decoder.next_event(), str):
                    got.append(item)

        async def check(it, attempt) -> None:
            decoder, got = it
            check_laws(decoder)
            while isinstance(item := decoder.next_event(), str):
                got.append(item)
            missing = [value for value in VALUES if value not in got]
            assert got == [value for value in VALUES if value in got]
            if not in_batches:  # noqa: B023  # of a batch, all can be on their way
                assert len(missing) <= (attempt.error is not None)
            assert attempt.error is not None or not missing

        table = await fail_at_each_call(
            subject_of(make), operation, Allocations(), check=check, every=1
        )
        assert table.failed


@pytest.mark.parametrize("view", [SMALL, LARGE], ids=["little", "much"])
async def test_a_builder_gets_a_view_wholly_or_not_at_all(view) -> None:
    """`put_view` has changed nothing if it raised."""

    def make() -> BytesBuf:
        buf = BytesBuf()
        buf.put_view(BytesView(b"before"))
        return buf

    async def operation(buf: BytesBuf) -> None:
        buf.put_view(view)

    async def check(buf: BytesBuf, attempt) -> None:
        check_laws(buf)
        whole = b"before" + bytes(view)
        got = bytes(buf.peek())
        assert got == whole or (attempt.error is not None and got == b"before")

    table = await fail_at_each_call(subject_of(make), operation, Allocations(), check=check)
    assert table.failed
