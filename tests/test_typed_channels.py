"""The typed channels, by what their docstrings say: receiving, sending, the end, misuse.

Drawn scripts of both ends are in `test_typed_scripts`, the crate's own bytes in
`test_message_vectors`.
"""

from __future__ import annotations

import contextlib
import math
import sys
import warnings
from typing import Any

import pytest
import trio
import trio.testing
from pairs import Steps, clog, closing, noise, receive_to_the_end, small_buffers, socketpair
from small_codecs import AsGiven, Even, Number, Raw, Text
from test_tls import Contexts, contexts, shake_hands, tls_pair  # noqa: F401  # a fixture

from trio_bytesbuf import BufferFull, BytesView
from trio_bytesbuf._errors import (
    ChecksumHandshakeFailed,
    ChecksumMismatch,
    MessageTooLarge,
    MissingExtra,
    ProtocolVersionMismatch,
    UnexpectedEof,
)
from trio_bytesbuf.buffered import BufReader, BufStream, BufWriter, IntoInnerError
from trio_bytesbuf.testing import (
    Delay,
    FakeRead,
    FakeWrite,
    check_laws,
    lockstep_pair,
    memory_pair,
)
from trio_bytesbuf.wire import (
    MessageEncoder,
    ProtocolVersion,
    TypedChannel,
    TypedReceiveChannel,
    TypedSendChannel,
    ViewCodec,
)
from trio_bytesbuf.wire._message_cutter import BATCH_MESSAGES

HEADER = bytes.fromhex("020000000000000002")
FOREVER = Delay(math.inf)


def wire(*payloads: bytes, goodbye: bool = True, **options: Any) -> bytes:
    """What a sender of these payloads sends."""
    encoder = MessageEncoder(Raw(), max_nbytes=1 << 30, **options)
    data = encoder.encode_header() + encoder.encode_many(payloads)
    return data + encoder.encode_end() if goodbye else data


def over(data: bytes, *script: Any, codec: Any = None, **options: Any) -> TypedReceiveChannel[Any]:
    """A channel of `data`, which arrives as a script says, or else a byte at a time."""
    source = FakeRead(data, script=script, max_read_nbytes=None if script else 1)
    return TypedReceiveChannel(source, Raw() if codec is None else codec, **options)


async def filled(data: bytes, then: bytes = b"", **options: Any) -> TypedReceiveChannel[Any]:
    """A channel with `data` in its buffer, before which a header has been read."""
    script = [9, len(data), FOREVER] if not then else [9, len(data)]
    reader = BufReader(FakeRead(HEADER + data + then, script=script))
    channel = TypedReceiveChannel(reader, options.pop("codec", Raw()), **options)
    await reader.fill_buf()
    assert channel.try_receive() is None
    assert reader.buffered_nbytes == 0
    if data:
        assert await reader.fill_buf() == data
    return channel


def messages(*payloads: bytes) -> bytes:
    """Messages without a header in front of them."""
    return wire(*payloads, goodbye=False)[len(HEADER) :]


PAYLOADS = [b"one", b"", b"three", bytes(300), b"five"]
RECEIVING = {
    "receive": lambda channel: channel.receive(),
    "receive_batch": lambda channel: channel.receive_batch(),
    "a step": lambda channel: anext(channel),
    "a step of batches": lambda channel: anext(channel.batches()),
}
SENDING = {
    "send": lambda channel: channel.send(b"x"),
    "send_many": lambda channel: channel.send_many([b"x", b"y"]),
    "flush": lambda channel: channel.flush(),
    "send_eof": lambda channel: channel.send_eof(),
}
each_receiving = pytest.mark.parametrize("call", RECEIVING.values(), ids=RECEIVING)
each_sending = pytest.mark.parametrize("call", SENDING.values(), ids=SENDING)


# Receiving


@pytest.mark.parametrize("goodbye", [True, False])
async def test_messages_come_once_and_in_order(goodbye) -> None:
    """By each of the ways to receive, however they arrive; then it is EndOfChannel, for ever."""
    data = wire(*PAYLOADS, goodbye=goodbye)
    for size in (1, 3, 50, len(data)):
        source = FakeRead(data, max_read_nbytes=size)
        channel = TypedReceiveChannel(source, Raw())
        assert [item async for item in channel] == PAYLOADS
        source = FakeRead(data, max_read_nbytes=size)
        channel = TypedReceiveChannel(source, Raw())
        assert [item async for batch in channel.batches(2) for item in batch] == PAYLOADS
        for _ in range(2):
            for call in (channel.receive, channel.receive_batch):
                with trio.testing.assert_checkpoints(), pytest.raises(trio.EndOfChannel):
                    await call()
            assert [item async for item in channel] == []
            assert [batch async for batch in channel.batches()] == []
            assert channel.try_receive() is None
        check_laws(channel)


async def test_nothing_is_waited_for_behind_the_goodbye() -> None:
    """A peer that keeps its connection open after it has said goodbye keeps nobody waiting."""
    channel = over(wire(b"one"), 10_000, FOREVER)
    assert await channel.receive() == b"one"
    with pytest.raises(trio.EndOfChannel):
        await channel.receive()


async def test_what_is_at_hand_is_received_without_waiting() -> None:
    """`try_receive` returns a message or a default, which tells None from a message that is it."""
    channel = await filled(messages(b"one", b"two") + b"\3th")
    assert channel.try_receive() == b"one"
    assert channel.try_receive(default=5) == b"two"
    nothing = object()
    assert channel.try_receive() is None
    assert channel.try_receive(nothing) is nothing
    check_laws(channel)


async def test_a_batch_costs_one_checkpoint() -> None:
    """All messages at hand come with one, where each `receive` is one; `try_receive` is none."""
    data = messages(*[b"first"] * 100)
    channel = await filled(data)
    with Steps() as steps:
        assert len(await channel.receive_batch()) == 100
    assert steps.taken == 1
    channel._reader.unread(data)
    with Steps() as steps:
        for _ in range(80):
            await channel.receive()
    assert steps.taken == 80
    with Steps() as steps:
        for _ in range(20):
            assert channel.try_receive() is not None
    assert steps.taken == 0


async def test_a_batch_has_no_more_items_than_wanted() -> None:
    """`max_items` bounds a batch, and the default does; what is left is for the next."""
    channel = await filled(messages(*[b"x"] * 500))
    assert [len(await channel.receive_batch(1)) for _ in range(2)] == [1, 1]
    assert len(await channel.receive_batch(7)) == 7
    assert len(await channel.receive_batch()) == BATCH_MESSAGES
    assert len(await anext(channel.batches(90))) == 90
    assert len(await channel.receive_batch(10_000)) == 500 - 99 - BATCH_MESSAGES
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="at least 1"):
            channel.batches(wrong)
        with pytest.raises(ValueError, match="at least 1"):
            await channel.receive_batch(wrong)


async def test_each_way_to_receive_is_a_checkpoint() -> None:
    """Also where a message is there, or an error of one, or the end."""
    errors = Even.ERRORS
    channel = await filled(messages(b"\0", b"\1", b"\2", b"\3") + b"\0", codec=Even())
    with trio.testing.assert_checkpoints():
        await channel.receive()
    with trio.testing.assert_checkpoints(), pytest.raises(errors[0]):
        await channel.receive()
    with trio.testing.assert_checkpoints():
        await channel.receive_batch()
    with trio.testing.assert_checkpoints(), pytest.raises(errors[1]):
        await channel.receive_batch()
    for call in RECEIVING.values():
        ends = pytest.raises((trio.EndOfChannel, StopAsyncIteration))
        with trio.testing.assert_checkpoints(), ends:
            await call(channel)
    with trio.testing.assert_checkpoints():
        await channel.aclose()


# What goes wrong


@each_receiving
async def test_what_is_wrong_with_a_message_is_raised_once(call) -> None:
    """Its checksum, its codec: in its turn, by each way to receive; the channel goes on behind."""
    damaged = bytearray(messages(b"damaged"))
    damaged[-1] ^= 1
    data = messages(b"\0") + bytes(damaged) + messages(b"\1", b"\5", b"\2") + b"\0"
    for channel in (over(HEADER + data, codec=Even()), await filled(data, codec=Even())):
        got: list[object] = []
        while True:
            try:
                found = await call(channel)
            except (trio.EndOfChannel, StopAsyncIteration):
                break
            except Exception as exc:  # noqa: BLE001  # it is the outcome
                got.append(type(exc))
            else:
                got += found if isinstance(found, list) else [found]
            check_laws(channel)
        assert got == [b"\0", ChecksumMismatch, ValueError, MemoryError, b"\2"]


ENDINGS: dict[str, tuple[bytes, type[Exception]]] = {
    "another version": (bytes(9), ProtocolVersionMismatch),
    "no handshake": (HEADER[:8] + b"\7", ChecksumHandshakeFailed),
    "too large": (HEADER + b"\xfe" + b"\xff" * 8, MessageTooLarge),
    "too large by one": (HEADER + b"\xfd\1\0\x10\0", MessageTooLarge),
    "cut in the header": (HEADER[:3], UnexpectedEof),
    "cut in a length": (HEADER + b"\xfc", UnexpectedEof),
    "cut in a message": (HEADER + b"\5abc", UnexpectedEof),
    "cut in a checksum": (wire(b"abc", goodbye=False)[:-1], UnexpectedEof),
}


@pytest.mark.parametrize(("data", "error"), ENDINGS.values(), ids=ENDINGS)
async def test_what_ends_it_is_raised_for_ever(data, error) -> None:
    """By each way to receive, and each time as a new error with the same to say."""
    for channel in (over(data), over(data, 1000)):
        seen = []
        for call in (*RECEIVING.values(), *RECEIVING.values()):
            with pytest.raises(error) as excinfo:
                await call(channel)
            seen.append(excinfo.value)
            check_laws(channel)
        with pytest.raises(error) as excinfo:
            channel.try_receive()
        seen.append(excinfo.value)
        assert len(set(map(id, seen))) == len(seen)
        assert len(set(map(str, seen))) == 1
        await channel.aclose()


async def test_a_goodbye_can_be_required() -> None:
    """Then an end without one is UnexpectedEof, behind what came before it."""
    channel = over(wire(b"one", goodbye=False), requires_goodbye=True)
    assert await channel.receive() == b"one"
    for _ in range(2):
        with pytest.raises(UnexpectedEof):
            await channel.receive()


@pytest.mark.parametrize("where", [0, 5, 12, 21])
async def test_a_broken_connection_is_no_end(where) -> None:
    """What the stream raises comes through, at any place; what arrives later goes on from there."""
    data = wire(b"one", b"two")
    script = [*([where] if where else []), trio.BrokenResourceError()]
    channel = over(data, *script)
    got, errors = [], 0
    while True:
        try:
            got.append(await channel.receive())
        except trio.BrokenResourceError:
            errors += 1
        except trio.EndOfChannel:
            break
    assert errors == 1
    assert got == [b"one", b"two"]


@each_receiving
async def test_one_receives_at_a_time(call) -> None:
    """Another is refused, and the one that waits goes on."""
    channel = over(wire(b"one"), 12, Delay(0.02))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await call(channel)
        with pytest.raises(trio.BusyResourceError):
            channel.try_receive()
        with pytest.raises(trio.BusyResourceError):
            channel.into_inner()
        channel.optimize_memory_usage()  # which is for whoever waits
    with pytest.raises(trio.EndOfChannel):
        await channel.receive()


@each_receiving
async def test_closed_is_closed(call) -> None:
    """Also for a task that waits, or that has a message and lets others run first."""
    channel = over(wire(b"one"))
    await channel.aclose()
    await channel.aclose()
    with trio.testing.assert_checkpoints(), pytest.raises(trio.ClosedResourceError):
        await call(channel)
    with pytest.raises(trio.ClosedResourceError):
        channel.try_receive()
    with pytest.raises(trio.ClosedResourceError):
        channel.into_inner()
    channel = over(wire(b"one"), FOREVER)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.aclose)
        with pytest.raises(trio.ClosedResourceError):
            await call(channel)


@pytest.mark.parametrize("payload", [b"\0", b"\1"])
async def test_a_receive_is_told_that_its_channel_was_closed(payload) -> None:
    """Also one that has a message, or the error of one, and only lets others run before that."""
    told = 0
    wanted = payload if payload == b"\0" else ValueError
    for _ in range(20):  # which of the two runs first is drawn by trio
        channel = await filled(messages(payload), codec=Even())
        outcome: list[object] = []

        async def receive(channel=channel, outcome=outcome) -> None:
            try:
                outcome.append(await channel.receive())
            except (trio.ClosedResourceError, ValueError) as exc:
                outcome.append(type(exc))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(channel.aclose)
        assert outcome in ([wanted], [trio.ClosedResourceError])
        told += outcome == [trio.ClosedResourceError]
    assert told


# What is known of the peer


async def test_what_was_agreed_on_can_be_read() -> None:
    """The version once it is known, and whether messages are checked."""
    channel = over(wire(b"x", sends_checksums=False))
    assert (channel.peer_version, channel.checks_checksums) == (None, True)
    await channel.receive()
    assert (channel.peer_version, channel.checks_checksums) == (ProtocolVersion.V2, False)
    channel = over(wire(b"x"), checks_checksums=False)
    await channel.receive()
    assert (channel.peer_version, channel.checks_checksums) == (ProtocolVersion.V2, False)
    channel = over(wire(b"x", version=1), peer_version=None)
    assert await channel.receive() == b"x"
    assert (channel.peer_version, channel.checks_checksums) == (ProtocolVersion.V1, False)
    sender = TypedSendChannel(FakeWrite(), Raw())
    assert (sender.version, sender.sends_checksums) == (ProtocolVersion.V2, True)
    sender = TypedSendChannel(FakeWrite(), Raw(), version=1)
    assert (sender.version, sender.sends_checksums) == (ProtocolVersion.V1, False)


@pytest.mark.parametrize("version", [1, 2])
async def test_a_server_answers_in_the_version_that_it_is_asked_in(version) -> None:
    """Two channels over one `BufStream`: the second is made when the first has found it out."""
    ours, theirs = memory_pair()
    client = TypedChannel(
        ours, sends=Text(), receives=Text(), version=version, peer_version=version
    )
    async with client, BufStream(theirs) as stream:
        await client.send("hello")
        requests = TypedReceiveChannel(stream, Text(), peer_version=None)
        request = await requests.receive()
        replies = TypedSendChannel(stream, Text(), version=requests.peer_version)
        await replies.send(request.upper())
        assert await client.receive() == "HELLO"
        await replies.send_eof()
        with pytest.raises(trio.EndOfChannel):
            await client.receive()
        assert client.peer_version == version


async def test_checksums_that_nobody_can_compute_are_an_error_at_once(monkeypatch) -> None:
    """When the channel is made, and nothing has been done to the stream."""
    monkeypatch.setitem(sys.modules, "siphashc", None)
    ours, theirs = memory_pair()
    for make in (
        lambda: TypedReceiveChannel(ours, Raw()),
        lambda: TypedSendChannel(ours, Raw()),
        lambda: TypedChannel(ours, sends=Raw(), receives=Raw(), sends_checksums=False),
        lambda: TypedChannel(ours, sends=Raw(), receives=Raw(), checks_checksums=False),
    ):
        with pytest.raises(MissingExtra) as excinfo:
            make()
        assert (excinfo.value.package, excinfo.value.extra) == ("siphashc", "checksum")
    off = {"sends_checksums": False, "checks_checksums": False}
    client = TypedChannel(ours, sends=Raw(), receives=Raw(), **off)
    server = TypedChannel(theirs, sends=Raw(), receives=Raw(), **off)
    async with client, server:
        await client.send(b"without")
        assert await server.receive() == b"without"


# Sending


async def aclose(thing: trio.abc.AsyncResource) -> None:
    """Close it."""
    await thing.aclose()


async def test_a_send_sends_a_message_and_what_was_fed() -> None:
    """In order, each once, behind one header; the closing byte comes last."""
    sink = FakeWrite()
    channel = TypedSendChannel(sink, Raw())
    channel.feed(b"one")
    channel.feed(b"two")
    assert not sink.contents
    assert channel.unsent_nbytes == len(wire(b"one", b"two", goodbye=False))
    await channel.send(b"three")
    assert sink.contents == wire(b"one", b"two", b"three", goodbye=False)
    channel.feed(b"four")
    await channel.send_many([b"five", b""])
    await channel.send_many([])
    channel.feed(b"six")
    await channel.flush()
    assert channel.unsent_nbytes == 0
    channel.feed(b"seven")
    await channel.aclose()
    parts = [b"one", b"two", b"three", b"four", b"five", b"", b"six", b"seven"]
    assert sink.contents == wire(*parts)
    check_laws(channel)


async def test_a_header_goes_out_with_the_first_flush() -> None:
    """Also when there is nothing else to send; several of no messages say nothing."""
    sink = FakeWrite()
    channel = TypedSendChannel(sink, Raw())
    await channel.send_many([])
    assert not sink.contents
    await channel.flush()
    assert sink.contents == HEADER
    await channel.flush()
    await channel.aclose()
    assert sink.contents == HEADER + b"\0"


@pytest.mark.parametrize("nbytes", [0, 252, 1024, 16_384, 16_385, 1_048_576])
@pytest.mark.parametrize("checksums", [True, False])
async def test_messages_of_each_size_go_over(nbytes, checksums) -> None:
    """Both ways over sockets, as bytes and as views."""
    payload = noise(nbytes)
    for codec in (Raw(), ViewCodec()):
        ours, theirs = await socketpair()
        client: Any = TypedChannel(ours, sends=codec, receives=codec, sends_checksums=checksums)
        server: Any = TypedChannel(theirs, sends=codec, receives=codec, sends_checksums=checksums)

        async def ask(client=client) -> None:
            await client.send(payload)
            client.feed(payload)
            await client.send_eof()

        async def echo(server=server) -> None:
            async for batch in server.batches():
                await server.send_many(batch)
            await server.send_eof()

        async with closing(client, server), trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(echo)
            assert [bytes(item) async for item in client] == [payload] * 2
        assert client.checks_checksums is checksums


async def test_what_is_refused_leaves_no_trace() -> None:
    """Too large, no value, no room: nothing was taken, and the next is the first."""
    sink = FakeWrite(script=[FOREVER])
    channel = TypedSendChannel(BufWriter(sink, max_nbytes=30), Text(), max_nbytes=20)
    for _ in range(2):
        with pytest.raises(MessageTooLarge) as excinfo:
            channel.feed("x" * 21)
        assert (excinfo.value.limit, excinfo.value.nbytes) == (20, 21)
        with pytest.raises(MessageTooLarge):
            await channel.send("x" * 21)
        with pytest.raises(MessageTooLarge):
            await channel.send_many(["x", "x" * 21])
        with pytest.raises(UnicodeEncodeError):
            channel.feed("\ud800")
        with pytest.raises(UnicodeEncodeError):
            await channel.send("\ud800")
        with pytest.raises(BufferFull) as full:
            channel.feed("x" * 20)
        assert (full.value.requested, full.value.available) == (38, 30)
        assert channel.unsent_nbytes == 0
        check_laws(channel)
    channel.feed("x")
    assert channel._writer.unsent[:9] == HEADER
    with trio.move_on_after(0.01):
        await channel.send("y" * 20)  # which waits, so it is taken beyond the mark
    before = channel.unsent_nbytes
    assert before > 30
    with pytest.raises(BufferFull):
        await channel.send("z")
    with pytest.raises(BufferFull):
        channel.feed("z")
    assert channel.unsent_nbytes == before
    await trio.aclose_forcefully(channel)


@pytest.mark.parametrize("max_nbytes", [0, 100, 1_048_576, 3_000_000])
async def test_who_drains_is_never_refused(max_nbytes) -> None:
    """While `wants_drain` is False there is room for any message that is allowed."""
    ours, theirs = memory_pair()
    channel = TypedSendChannel(ours, Raw(), max_nbytes=max_nbytes)
    both = TypedChannel(theirs, sends=Raw(), receives=Raw(), max_nbytes=max_nbytes)
    for sender in (channel, both):
        for _ in range(3):
            while not sender.wants_drain and sender.unsent_nbytes < 1_000_000:
                room = 65_536 - sender.unsent_nbytes
                if room > 20 and sender.unsent_nbytes:  # to the brim, and then the largest
                    sender.feed(bytes(min(max_nbytes, max(0, room - 40))))
                sender.feed(bytes(max_nbytes))
                if max_nbytes == 0:
                    break
            await sender.drain()
            assert sender.unsent_nbytes <= 16_384
    await trio.aclose_forcefully(channel)
    await trio.aclose_forcefully(both)


async def test_drain_waits_only_if_there_is_much() -> None:
    """Up to the high water mark it does nothing; beyond, it sends until the low one."""
    sink = FakeWrite()
    marks = {"low_water_nbytes": 20, "high_water_nbytes": 100, "max_nbytes": 1000}
    channel = TypedSendChannel(BufWriter(sink, **marks), Raw())
    channel.feed(bytes(70))
    assert not channel.wants_drain
    with trio.testing.assert_checkpoints():
        await channel.drain()
    assert not sink.contents
    channel.feed(bytes(70))
    assert channel.wants_drain
    await channel.drain()
    assert len(sink.contents) == 9 + 79 * 2 - 20
    await channel.aclose()


@each_sending
async def test_one_sends_at_a_time(call) -> None:
    """Another is refused, with nothing put; feeding is not refused."""
    sink = FakeWrite(script=[5, FOREVER])
    channel = TypedSendChannel(sink, Raw())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.send, b"one")
        await trio.testing.wait_all_tasks_blocked()
        before = channel.unsent_nbytes
        with pytest.raises(trio.BusyResourceError):
            await call(channel)
        with pytest.raises((trio.BusyResourceError, IntoInnerError)):
            await channel.into_inner()
        assert channel.unsent_nbytes == before
        channel.feed(b"two")
        assert channel.unsent_nbytes > before
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(channel)


@each_sending
async def test_nothing_is_sent_behind_the_end(call) -> None:
    """Closed, or having said goodbye: an error, and not a message that is lost without a word."""
    channel = TypedSendChannel(FakeWrite(), Raw())
    await channel.aclose()
    for _ in range(2):
        with trio.testing.assert_checkpoints(), pytest.raises(trio.ClosedResourceError):
            await call(channel)
        with pytest.raises(trio.ClosedResourceError):
            channel.feed(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await channel.drain()
    sink = FakeWrite()
    channel = TypedSendChannel(sink, Raw())
    await channel.send(b"last")
    await channel.send_eof()
    if call in (SENDING["send"], SENDING["send_many"]):
        with pytest.raises(trio.ClosedResourceError, match="goodbye"):
            await call(channel)
    else:
        await call(channel)
    with pytest.raises(trio.ClosedResourceError, match="goodbye"):
        channel.feed(b"x")
    await channel.aclose()
    assert sink.contents == wire(b"last")


@each_sending
async def test_each_way_to_send_is_a_checkpoint(call) -> None:
    """Also where nothing has to be sent."""
    channel = TypedSendChannel(FakeWrite(), Raw())
    for _ in range(2):
        with trio.testing.assert_checkpoints():
            await call(channel)
        if call is SENDING["send_eof"]:
            break
    await channel.aclose()


# The end of sending


async def test_closing_says_goodbye_once() -> None:
    """Behind what was fed, behind the header if nothing was; a second close says nothing."""
    for fed in ([], [b"one", b"two"]):
        sink = FakeWrite()
        channel = TypedSendChannel(sink, Raw())
        for payload in fed:
            channel.feed(payload)
        with trio.testing.assert_checkpoints():
            await channel.aclose()
        with trio.testing.assert_checkpoints():
            await channel.aclose()
        assert sink.contents == wire(*fed)
        sink = FakeWrite()
        async with TypedSendChannel(sink, Raw()) as channel:
            for payload in fed:
                channel.feed(payload)
        assert sink.contents == wire(*fed)


async def test_closing_waits_for_a_task_that_sends() -> None:
    """What it sends comes first, then what was fed meanwhile, then the goodbye."""
    ours, theirs = await socketpair()
    async with closing(theirs):
        channel = TypedSendChannel(ours, Raw())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.send, bytes(900_000))
            await trio.testing.wait_all_tasks_blocked()
            channel.feed(b"meanwhile")
            nursery.start_soon(channel.aclose)
            received = await receive_to_the_end(theirs)
        assert received == wire(bytes(900_000), b"meanwhile")


async def test_closing_by_force_says_no_goodbye() -> None:
    """Forced, cancelled, by an error in a block: what was half said is not to be taken for all."""
    for how in ("forced", "error", "cancelled"):
        ours, theirs = await socketpair()
        async with closing(theirs):
            channel = TypedSendChannel(ours, Raw())
            await channel.send(b"one")
            channel.feed(b"two")
            if how == "forced":
                await trio.aclose_forcefully(channel)
            elif how == "error":
                with pytest.raises(KeyError):
                    async with channel:
                        raise KeyError
            else:
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await channel.aclose()
                assert scope.cancelled_caught
            assert await receive_to_the_end(theirs) == wire(b"one", goodbye=False)
            assert channel.unsent_nbytes == 0
            with pytest.raises(trio.ClosedResourceError):
                channel.feed(b"x")


async def test_closing_is_cancelled_where_a_peer_is_stuck() -> None:
    """The stream is closed all the same, and the peer can tell that the goodbye is missing."""
    ours, theirs = await socketpair()
    await clog(ours)
    async with closing(theirs):
        channel = TypedSendChannel(ours, Raw())
        channel.feed(b"one")
        with trio.move_on_after(0.02) as scope:
            await channel.aclose()
        assert scope.cancelled_caught
        assert ours.fileno() == -1
        check_laws(channel)


@pytest.mark.parametrize("fed", [False, True])
@pytest.mark.parametrize(
    ("who", "error"),
    [("theirs", trio.BrokenResourceError), ("ours", trio.ClosedResourceError)],
)
async def test_a_goodbye_that_nobody_hears_is_no_error(who, error, fed) -> None:
    """Who closed the stream first has missed nothing, unless there were messages left."""
    ours, theirs = memory_pair()
    channel = TypedSendChannel(ours, Raw())
    await channel.send(b"one")
    if fed:
        channel.feed(b"two")
    await {"theirs": theirs, "ours": ours}[who].aclose()
    if fed:
        with pytest.raises(error):
            await channel.aclose()
    else:
        await channel.aclose()
    with pytest.raises(trio.ClosedResourceError):
        channel.feed(b"three")


async def test_a_goodbye_finds_room_in_a_full_buffer() -> None:
    """Not a byte more fits, and it is sent all the same."""
    sink = FakeWrite()
    channel = TypedSendChannel(BufWriter(sink, max_nbytes=20), Raw())
    channel.feed(b"ab")
    with pytest.raises(BufferFull):
        channel.feed(b"")
    await channel.aclose()
    assert sink.contents == wire(b"ab")


async def test_receiving_goes_on_behind_a_goodbye() -> None:
    """Over a socket the peer gets the closing byte and the end of the stream, and can answer."""
    for make in (socketpair, _memory_pair, _lockstep_pair):
        ours, theirs = await make()
        client = TypedChannel(ours, sends=Text(), receives=Text())
        async with closing(client, theirs), trio.open_nursery() as nursery:
            nursery.start_soon(client.send_many, ["one", "two"])
            await trio.testing.wait_all_tasks_blocked()
            server = TypedChannel(theirs, sends=Text(), receives=Text())
            assert await server.receive_batch() == ["one", "two"]
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(client.send_eof)
            with pytest.raises(trio.EndOfChannel):
                await server.receive()
            nursery.start_soon(server.send, "answer")
            assert await client.receive() == "answer"
            await trio.testing.wait_all_tasks_blocked()
            await client.send_eof()
            nursery.start_soon(server.aclose)
            with pytest.raises(trio.EndOfChannel):
                await client.receive()


async def test_a_stream_is_half_closed_behind_a_goodbye() -> None:
    """So a peer that only listens for the end of the stream hears it, too."""
    ours, theirs = await socketpair()
    channel = TypedChannel(ours, sends=Raw(), receives=Raw())
    async with closing(channel, theirs):
        await channel.send_eof()
        with trio.fail_after(5):
            assert await receive_to_the_end(theirs) == wire()
        await theirs.send_all(wire(b"still heard"))
        assert await channel.receive() == b"still heard"


async def _memory_pair():
    return memory_pair()


async def _lockstep_pair():
    return lockstep_pair()


async def test_a_stream_that_knows_no_half_close_says_goodbye() -> None:
    """The closing byte is what the peer goes by."""
    ours, theirs = memory_pair()
    client = TypedChannel(WithoutEof(ours), sends=Text(), receives=Text())
    server = TypedChannel(theirs, sends=Text(), receives=Text())
    await client.send("one")
    await client.send_eof()
    assert [item async for item in server] == ["one"]
    await server.send("two")
    assert await client.receive() == "two"
    await client.aclose()
    await server.aclose()


class WithoutEof(trio.abc.Stream):
    """A stream that has no `send_eof`."""

    def __init__(self, stream) -> None:
        self.stream = stream

    async def send_all(self, data) -> None:
        await self.stream.write_view(BytesView(bytes(data)))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes=None):
        return bytes(await self.stream.receive_view(max_bytes))

    async def aclose(self) -> None:
        await self.stream.aclose()


async def test_a_channel_that_is_forgotten_warns_and_sends_nothing() -> None:
    """No I/O in finalizers: what was fed is not sent, and that is said; what was sent is silent."""
    sink = FakeWrite()
    channel: Any = TypedSendChannel(sink, Raw())
    await channel.send(b"one")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del channel
    channel = TypedSendChannel(sink, Raw())
    channel.feed(b"two")
    with pytest.warns(ResourceWarning, match="21 bytes that were not sent"):
        del channel
    assert sink.contents == wire(b"one", goodbye=False)


# Giving the stream back


async def test_a_source_is_given_back_with_what_is_unread() -> None:
    """Bytes behind the goodbye are somebody else's; a reader that was given has them itself."""
    source = FakeRead(wire(b"one") + b"plain text")
    channel = TypedReceiveChannel(source, Raw())
    assert [item async for item in channel] == [b"one"]
    assert channel.inner is source
    assert channel.into_inner() == (source, b"plain text")
    for call in RECEIVING.values():
        with trio.testing.assert_checkpoints(), pytest.raises(trio.ClosedResourceError):
            await call(channel)
    with pytest.raises(trio.ClosedResourceError):
        channel.into_inner()
    with trio.testing.assert_checkpoints():
        await channel.aclose()
    assert await source.read_at_most(1) == b""
    reader = BufReader(FakeRead(b"HELO\n" + wire(b"one") + b"plain text"))
    assert await reader.read_line() == b"HELO"
    channel = TypedReceiveChannel(reader, Raw())
    assert await channel.receive() == b"one"
    with pytest.raises(trio.EndOfChannel):
        await channel.receive()
    assert channel.into_inner() == (reader, b"")
    with pytest.raises(trio.ClosedResourceError):
        channel.try_receive()
    assert await reader.read_to_end(100) == b"plain text"


async def test_what_was_not_understood_is_given_back_too() -> None:
    """A peer that speaks another protocol can be listened to from its first byte."""
    channel = over(b"GET / HTTP/1.1\r\n\r\n", 1000)
    with pytest.raises(ProtocolVersionMismatch):
        await channel.receive()
    _, unread = channel.into_inner()
    assert unread == b"GET / HTTP/1.1\r\n\r\n"


async def test_a_sink_is_given_back_without_a_goodbye() -> None:
    """What was fed is sent first; nothing if nothing was said; the closing byte only if wanted."""
    for given in (FakeWrite, lambda: BufWriter(FakeWrite())):
        sink: Any = given()
        behind = sink.inner if isinstance(sink, BufWriter) else sink
        channel = TypedSendChannel(sink, Raw())
        assert channel.inner is sink
        assert await channel.into_inner() is sink
        assert not behind.contents
        for call in (*SENDING.values(), lambda channel: channel.drain()):
            with trio.testing.assert_checkpoints(), pytest.raises(trio.ClosedResourceError):
                await call(channel)
        with pytest.raises(trio.ClosedResourceError):
            channel.feed(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await channel.into_inner()
        with trio.testing.assert_checkpoints():
            await channel.aclose()
        assert not behind.contents
        channel = TypedSendChannel(sink, Raw())
        channel.feed(b"one")
        await channel.into_inner()
        assert behind.contents == wire(b"one", goodbye=False)
        channel = TypedSendChannel(sink, Raw())
        await channel.send_eof()
        await channel.into_inner()
        assert behind.contents == wire(b"one", goodbye=False) + wire()
        await sink.aclose()


@pytest.mark.parametrize("wraps", [False, True])
async def test_a_stream_is_given_back_whole(wraps) -> None:
    """Flushed, and with what arrived and was not read."""
    ours, theirs = memory_pair()
    stream: Any = BufStream(ours) if wraps else ours
    channel = TypedChannel(stream, sends=Raw(), receives=Raw())
    await theirs.write_view(BytesView(wire(b"one") + b"rest"))
    assert await channel.receive() == b"one"
    with pytest.raises(trio.EndOfChannel):
        await channel.receive()
    channel.feed(b"two")
    assert channel.inner is stream
    given, unread = await channel.into_inner()
    assert given is stream
    assert await theirs.receive_view() == wire(b"two", goodbye=False)
    if wraps:
        assert unread == b""
        assert await stream.read_exactly(4) == b"rest"
    else:
        assert unread == b"rest"
    for call in (*RECEIVING.values(), *SENDING.values(), lambda channel: channel.into_inner()):
        with trio.testing.assert_checkpoints(), pytest.raises(trio.ClosedResourceError):
            await call(channel)
    await channel.aclose()
    await stream.write_view(BytesView(b"still open"))
    assert await theirs.receive_view() == b"still open"
    await stream.aclose()
    await theirs.aclose()


async def test_a_stream_that_cannot_be_emptied_is_not_given_back() -> None:
    """An error says why, and the channel can be used, or closed, as before."""
    for wraps in (False, True):
        sink = FakeWrite(script=[5, trio.BrokenResourceError()])
        channel = TypedSendChannel(BufWriter(sink) if wraps else sink, Raw())
        channel.feed(b"one")
        with pytest.raises(IntoInnerError) as caught:
            await channel.into_inner()
        assert caught.value.unsent == wire(b"one", goodbye=False)[5:]
        assert isinstance(caught.value.__cause__, trio.BrokenResourceError)
        await channel.send(b"two")
        await channel.aclose()
        assert sink.contents == wire(b"one", b"two")


async def test_a_writer_is_given_back_empty() -> None:
    """Also of what somebody else wrote to it meanwhile: it goes on with nothing in its buffer."""
    sink = FakeWrite(script=[5, Delay(0.01)])
    writer = BufWriter(sink)
    channel = TypedSendChannel(writer, Raw())
    channel.feed(b"one")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.into_inner)
        await trio.testing.wait_all_tasks_blocked()
        writer.write(b"and that")
    assert writer.unsent_nbytes == 0
    assert sink.contents == wire(b"one", goodbye=False) + b"and that"
    await writer.aclose()


async def test_a_stream_that_another_task_uses_is_not_given_back() -> None:
    """BusyResourceError, whichever half it uses."""
    for wraps in (False, True):
        ours, theirs = lockstep_pair()
        stream: Any = BufStream(ours) if wraps else ours
        channel = TypedChannel(stream, sends=Raw(), receives=Raw())
        for call in (channel.receive, lambda channel=channel: channel.send(b"x")):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(trio.BusyResourceError):
                    await channel.into_inner()
                nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(channel)
        await theirs.aclose()


@pytest.mark.parametrize("wraps", [False, True])
async def test_nobody_receives_while_a_stream_is_given_back(wraps) -> None:
    """A receive that began meanwhile would take what is the next owner's."""
    ours, theirs = lockstep_pair()
    stream: Any = BufStream(ours) if wraps else ours
    channel = TypedChannel(stream, sends=Raw(), receives=Raw())
    channel.feed(b"one")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.into_inner)
        await trio.testing.wait_all_tasks_blocked()
        for call in RECEIVING.values():
            with pytest.raises(trio.BusyResourceError), trio.fail_after(20):
                await call(channel)
        assert await theirs.receive_view() == wire(b"one", goodbye=False)
    await stream.aclose()
    await theirs.aclose()


async def test_who_gave_a_stream_back_is_told_so_whatever_its_owner_does() -> None:
    """ClosedResourceError, also while somebody else receives from it, and sends."""
    ours, theirs = lockstep_pair()
    stream = BufStream(ours)
    channel = TypedChannel(stream, sends=Raw(), receives=Raw())
    await channel.into_inner()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.receive_view)
        nursery.start_soon(stream.write_view, BytesView(b"x"))
        await trio.testing.wait_all_tasks_blocked()
        for call in (*RECEIVING.values(), *SENDING.values()):
            with trio.testing.assert_checkpoints(), pytest.raises(trio.ClosedResourceError):
                await call(channel)
        with pytest.raises(trio.ClosedResourceError):
            channel.try_receive()
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(stream)
    await theirs.aclose()


# Both ways


async def test_both_ways_at_once() -> None:
    """One task receives while another sends, values of two types, over sockets that hold little."""
    ours, theirs = await socketpair()
    small_buffers(ours)
    small_buffers(theirs)
    client = TypedChannel(ours, sends=Text(), receives=Number())
    server = TypedChannel(theirs, sends=Number(), receives=Text())
    words = ["x" * (index * 37 % 400) for index in range(1000)]

    async def serve() -> None:
        async with server:
            async for batch in server.batches():
                for word in batch:
                    server.feed(len(word))
                await server.drain()

    async def ask() -> None:
        for word in words:
            client.feed(word)
            await client.drain()
        await client.send_eof()

    async with client, trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        nursery.start_soon(ask)
        lengths = [length async for length in client]
    assert lengths == list(map(len, words))


async def test_who_only_listens_has_said_nothing() -> None:
    """Each direction has a header of its own, which waits for something to be said."""
    ours, theirs = memory_pair()
    client = TypedChannel(ours, sends=Raw(), receives=Raw())
    server = TypedChannel(theirs, sends=Raw(), receives=Raw())
    await client.send(b"one")
    assert await server.receive() == b"one"
    with trio.move_on_after(0.01) as scope:
        await client.receive()
    assert scope.cancelled_caught
    assert client.peer_version is None
    await server.flush()
    with trio.move_on_after(0.01) as scope:
        await client.receive()
    assert scope.cancelled_caught
    assert client.peer_version is ProtocolVersion.V2
    await client.aclose()
    await server.aclose()


async def test_a_stream_that_flushes_before_waiting_sends_what_was_fed() -> None:
    """A `BufStream` that is given has its own ways: a request is sent by waiting for its reply."""
    ours, theirs = await socketpair()
    stream = BufStream(ours, flush_before_waiting=True)
    client = TypedChannel(stream, sends=Text(), receives=Text())
    server = TypedChannel(theirs, sends=Text(), receives=Text())

    async def serve() -> None:
        await server.send((await server.receive()).upper())

    async with closing(client, server), trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        client.feed("hello")
        assert await client.receive() == "HELLO"


async def test_closing_ends_a_receive() -> None:
    """A task that waits in the same channel is told, and the goodbye was said."""
    ours, theirs = await socketpair()
    channel = TypedChannel(ours, sends=Raw(), receives=Raw())

    async def receive() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await channel.receive()

    async with closing(theirs), trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await channel.aclose()
        assert await receive_to_the_end(theirs) == HEADER + b"\0"


def test_they_are_channels_of_trios() -> None:
    """So whatever takes trio's channels takes these; what is no stream is a TypeError."""
    receiving = TypedReceiveChannel(FakeRead(b""), Raw())
    sending = TypedSendChannel(FakeWrite(), Raw())
    ours, _ = memory_pair()
    both = TypedChannel(ours, sends=Raw(), receives=Raw())
    assert isinstance(receiving, trio.abc.ReceiveChannel)
    assert isinstance(sending, trio.abc.SendChannel)
    assert isinstance(both, trio.abc.Channel)
    assert not isinstance(receiving, trio.abc.SendChannel)
    for wrong in (5, b"", None, FakeWrite()):
        with pytest.raises(TypeError):
            TypedReceiveChannel(wrong, Raw())
        with pytest.raises(TypeError):
            TypedChannel(wrong, sends=Raw(), receives=Raw())
    with pytest.raises(TypeError):
        TypedSendChannel(FakeRead(b""), Raw())


async def test_a_repr_says_what_goes_over_what() -> None:
    """The codecs, and the stream as it was given."""
    source, sink = FakeRead(b""), FakeWrite()
    assert repr(TypedReceiveChannel(source, ViewCodec())) == (
        f"<TypedReceiveChannel of ViewCodec() over {source!r}>"
    )
    assert repr(TypedSendChannel(sink, ViewCodec())) == (
        f"<TypedSendChannel of ViewCodec() over {sink!r}>"
    )
    ours, _ = memory_pair()
    assert repr(TypedChannel(ours, sends=ViewCodec(), receives=ViewCodec())) == (
        f"<TypedChannel that sends ViewCodec() and receives ViewCodec(), over {ours!r}>"
    )


# Memory


async def test_memory_can_be_seen_and_given_up() -> None:
    """What has arrived keeps its blocks; on demand, only itself; what was given away, nothing."""
    data = wire(bytes(100), bytes(100), bytes(100))
    block = data + bytes(100_000)
    channel = TypedReceiveChannel(FakeRead(BytesView(block)[: len(data)]), Raw())
    assert channel.memory_nbytes == 0
    assert await channel.receive() == bytes(100)
    assert channel.memory_nbytes >= len(block)
    channel.optimize_memory_usage()
    assert channel.memory_nbytes == 2 * 109 + 1
    check_laws(channel)
    assert await channel.receive_batch() == [bytes(100)] * 2
    with pytest.raises(trio.EndOfChannel):
        await channel.receive()
    assert channel.memory_nbytes == 0


async def test_memory_of_what_was_not_sent_can_be_given_up() -> None:
    """Of a large message of which most was sent, what is left is kept, and not all of it."""
    sink = FakeWrite(script=[99_000, FOREVER])
    channel = TypedSendChannel(sink, Raw(), sends_checksums=False)
    with trio.move_on_after(0.01):
        await channel.send(bytes(100_000))
    left = channel.unsent_nbytes
    assert left == 100_000 + 9 + 5 - 99_000
    assert channel.memory_nbytes >= 100_000
    channel.optimize_memory_usage()
    assert channel.memory_nbytes == left
    check_laws(channel)
    assert channel._writer.unsent == bytes(left)
    await trio.aclose_forcefully(channel)
    assert channel.memory_nbytes == 0


async def test_memory_of_both_directions_is_one_number() -> None:
    """And is given up together, before a message is whole as well as behind it."""
    ours, theirs = memory_pair()
    channel = TypedChannel(ours, sends=Raw(), receives=Raw())
    await theirs.write_view(BytesView(wire(bytes(500), goodbye=False)[:-3]))
    async with trio.open_nursery() as nursery:
        got: list[bytes] = []

        async def receive() -> None:
            got.append(await channel.receive())

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        channel.feed(bytes(200))
        channel.optimize_memory_usage()
        assert channel.memory_nbytes == 500 + 3 + 8 - 3 + 9 + 209
        await theirs.write_view(BytesView(wire(bytes(500), goodbye=False)[-3:]))
    assert got == [bytes(500)]
    await trio.aclose_forcefully(channel)
    await theirs.aclose()


async def test_a_message_is_not_changed_by_giving_memory_up_while_it_is_received() -> None:
    """`receive` has looked at a message, and lets others run before it takes it."""
    for _ in range(10):
        channel = await filled(messages(b"one", b"two"))
        got: list[bytes] = []

        async def receive(channel=channel, got=got) -> None:
            got.extend([await channel.receive(), await channel.receive()])

        async def give_up(channel=channel) -> None:
            for _ in range(4):
                channel.optimize_memory_usage()
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(give_up)
        assert got == [b"one", b"two"]


async def test_codecs_are_given_what_they_were_promised() -> None:
    """Small payloads as bytes, large ones as a memoryview, over a channel as without one."""
    data = wire(bytes(16_384), bytes(16_385))
    channel = over(data, 1 << 20, codec=AsGiven())
    assert [type(item) async for item in channel] == [bytes, memoryview]


def test_a_broken_law_is_seen() -> None:
    """`check_laws` looks at both halves of a channel, and at what they stand on."""

    def broken(half: str, **changes: object) -> TypedChannel[bytes, bytes]:
        channel = TypedChannel(memory_pair()[0], sends=Raw(), receives=Raw())
        check_laws(channel)
        for name, value in changes.items():
            setattr(getattr(channel, half), name, value)
        return channel

    for half, changes in (
        ("_cutter", {"_seen_nbytes": 1}),
        ("_cutter", {"version": ProtocolVersion.V2}),
        ("_cutter", {"_buffer": BufReader(FakeRead(b""))._buffer}),
        ("_encoder", {"version": ProtocolVersion.V1}),
        ("_writer", {"_queue": [memoryview(b"x")]}),
    ):
        with pytest.raises(AssertionError):
            check_laws(broken(half, **changes))
    with pytest.raises(TypeError, match="no laws"):
        check_laws(Raw())  # type: ignore[arg-type]


# Streams that do not say how far they are


@pytest.mark.parametrize("told", [False, True])
async def test_closing_tells_of_messages_that_were_lost_if_nobody_was_told(told) -> None:
    """A flush that was cancelled has told nobody; one that failed has. By force, nobody asks."""
    for close in (aclose, trio.aclose_forcefully):
        ours, theirs = trio.testing.lockstep_stream_pair()
        channel = TypedSendChannel(ours, Raw())
        channel.feed(b"one")
        with trio.move_on_after(0.01) as scope, contextlib.suppress(trio.BrokenResourceError):
            if told:
                await theirs.aclose()
            await channel.flush()
        assert scope.cancelled_caught != told
        with contextlib.ExitStack() as stack:
            if close is aclose and not told:
                complaint = "may not have been sent: an earlier flush was cancelled"
                stack.enter_context(pytest.raises(trio.BrokenResourceError, match=complaint))
            await close(channel)
        with pytest.raises(trio.ClosedResourceError):
            await ours.send_all(b"x")
        await aclose(channel)  # twice is harmless


# TLS, which does not say how far it is


async def test_a_cancelled_send_over_tls_spoils(contexts: Contexts) -> None:  # noqa: F811
    """Nothing more is sent; what arrives ends in the middle, and has no goodbye."""
    a, b = await tls_pair(contexts)
    async with closing(a, b):
        await shake_hands(a, b)
        channel = TypedSendChannel(a, Raw(), max_nbytes=1 << 23)
        with trio.move_on_after(0.02) as scope:
            await channel.send(bytes(1 << 22))
        assert scope.cancelled_caught
        for call in SENDING.values():
            with pytest.raises(trio.BrokenResourceError):
                await call(channel)
        with pytest.raises(trio.BrokenResourceError):
            channel.feed(b"x")
        # TLS's own goodbye may have to wait for the peer; if it has not, what is lost is told.
        with contextlib.suppress(trio.BrokenResourceError), trio.move_on_after(0.05):
            await channel.aclose()
        receiving = TypedReceiveChannel(b, Raw(), max_nbytes=1 << 23)
        with pytest.raises((UnexpectedEof, trio.BrokenResourceError)), trio.fail_after(20):
            await receiving.receive()


async def test_messages_over_tls(contexts: Contexts) -> None:  # noqa: F811
    """Undisturbed, it is as over anything else; the goodbye tells the end from a cut."""
    a, b = await tls_pair(contexts)
    async with closing(a, b):
        await shake_hands(a, b)
        client = TypedChannel(a, sends=Text(), receives=Text(), requires_goodbye=True)
        server = TypedChannel(b, sends=Text(), receives=Text(), requires_goodbye=True)

        async def serve() -> None:
            async for text in server:
                await server.send(text.upper())
            await server.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await client.send_many(["one", "two"])
            await client.send_eof()
            assert [text async for text in client] == ["ONE", "TWO"]


async def test_channels_in_a_stack_close_in_order() -> None:
    """As async context managers, both ends: the one that is left last has the other's goodbye."""
    ours, theirs = memory_pair()
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(TypedReceiveChannel(theirs, Text()))
        client = await stack.enter_async_context(TypedSendChannel(ours, Text()))
        await client.send("one")
    with pytest.raises(trio.ClosedResourceError):
        await server.receive()
