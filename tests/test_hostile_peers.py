"""Hostile peers: whatever one says, or does not say, costs what has arrived, and ends cleanly.

Each test sets a peer upon a real socket and bounds what it can do: by the memory that Python has
allocated at any moment (`grows_at_most`), by what the pool has lent, by the turns that other tasks
had, and by a deadline. Nothing is timed. Where a peer is slow, time is a clock that jumps.
"""

from __future__ import annotations

import contextlib
import gzip
import zlib
from functools import partial
from typing import Annotated, Any

import attrs
import pytest
import trio
import trio.testing
from hostile import (
    AT_ONCE,
    FLOOR,
    ITEMS,
    KINDS,
    LIMIT,
    Kind,
    Turns,
    against,
    each_kind,
    each_that_announces,
    each_without_an_end,
    grows_at_most,
    lent_nbytes,
    say,
    wire_of,
)
from pairs import closing, noise, reset, small_buffers, socketpair
from small_codecs import Raw
from test_tls import Contexts, contexts, shake_hands, tls_pair  # noqa: F401  # a fixture

from trio_bytesbuf import (
    BufferFull,
    BytesBufError,
    BytesView,
    CappedPool,
    GlobalPool,
    MessageEncoder,
    SocketStream,
    open_tcp_stream,
    relay,
    serve_ssl_over_tcp,
    serve_tcp,
)
from trio_bytesbuf._errors import (
    ChecksumMismatch,
    DecodeError,
    FrameTooLarge,
    LimitExceeded,
    MessageTooLarge,
    UnexpectedEof,
)
from trio_bytesbuf.buffered import (
    BadCompressedData,
    BufReader,
    BufStream,
    BufWriter,
    InflatedRead,
    LengthPrefixed,
    open_shared_writer,
)
from trio_bytesbuf.io import (
    GuardedRead,
    GuardedStream,
    GuardedWrite,
    MinRate,
    PeerTooSlow,
    TlsStream,
    open_ssl_over_tcp_stream,
)
from trio_bytesbuf.testing import check_laws
from trio_bytesbuf.wire import (
    Array,
    Bincode,
    TypedChannel,
    TypedReceiveChannel,
    TypedSendChannel,
    u8,
    u64,
)

PATIENCE = 20
"""Seconds after which a test gives up; each takes far less than one."""


async def for_ever(call: Any, use: Any = id) -> None:
    """Call again and again, until that raises."""
    while True:
        use(await call())


# Announcing


@pytest.mark.parametrize("way", ["receive", "receive_batch"])
@each_that_announces
async def test_announcing_2_to_the_64_bytes_is_refused_at_once(kind: Kind, way) -> None:
    """What came before is given, then the error, again and again; none of it was waited for."""
    for announced in (2**64 - 1, 2**63, 2**32, LIMIT + 1):
        with trio.fail_after(PATIENCE), grows_at_most(FLOOR):
            ours, peer = await against()
            async with closing(ours, peer):
                channel = kind.open(ours)
                await peer.send_all(wire_of(kind, *ITEMS) + kind.announce(announced) + b"and more")
                got: list[Any] = []
                while len(got) < len(ITEMS):
                    found = await getattr(channel, way)()
                    got += found if isinstance(found, list) else [found]
                assert got == list(ITEMS)
                for _ in range(2):
                    with pytest.raises((FrameTooLarge, MessageTooLarge)):
                        await getattr(channel, way)()
                    with pytest.raises((FrameTooLarge, MessageTooLarge)):
                        channel.try_receive()
                check_laws(channel._reader)


@each_that_announces
async def test_what_is_announced_and_allowed_costs_what_arrives(kind: Kind) -> None:
    """Of 2**55 bytes that are allowed 100,000 come: 4 times that, and `UnexpectedEof`."""
    with trio.fail_after(PATIENCE), grows_at_most(4 * 100_000 + FLOOR):
        ours, peer = await against()
        async with closing(ours, peer), trio.open_nursery() as nursery:
            channel = kind.open(ours, max_nbytes=2**64)

            async def announce_and_leave() -> None:
                await peer.send_all(wire_of(kind) + kind.announce(2**55))
                await say(peer, bytes(1000), 100)
                await peer.send_eof()

            nursery.start_soon(announce_and_leave)
            with pytest.raises(UnexpectedEof) as caught:
                await channel.receive()
            assert caught.value.arrived >= 100_000
            assert caught.value.wanted >= 2**55


READS = {
    "read_exactly": lambda source: source.read_exactly(2**62),
    "read_contiguous": lambda source: source.read_contiguous(2**31),
    "a chunk": lambda source: anext(source.chunks(2**62)),
    "read_to_end": lambda source: source.read_to_end(2**62),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("layer", [lambda stream: stream, BufReader], ids=["a socket", "buffered"])
async def test_a_read_of_what_was_announced_costs_what_arrives(read, layer) -> None:
    """Also where the caller believes the peer, and asks for all of it at once."""
    with trio.fail_after(PATIENCE), grows_at_most(4 * 100_000 + FLOOR):
        ours, peer = await against()
        async with closing(ours, peer):
            await peer.send_all(bytes(100_000))
            source = layer(ours)
            with trio.move_on_after(0.02):
                await read(source)
            await peer.send_eof()
            with contextlib.suppress(UnexpectedEof):
                assert len(await read(source)) == 100_000
            assert len(await source.read_to_end(100_000)) in {0, 100_000}


@attrs.frozen
class Node:
    """Contains itself, as deep as a peer likes."""

    nodes: list[Node]


@attrs.frozen
class Deep:
    """Lengths within lengths."""

    name: str
    tags: dict[str, list[bytes]]


HUGE = b"\xfd" + b"\xff" * 8
"""2**64 - 1, as bincode writes it."""

LENGTHS: dict[str, tuple[Any, bytes]] = {
    "str": (str, HUGE),
    "bytes": (bytes, HUGE),
    "a view": (BytesView, HUGE),
    "a list": (list[u8], HUGE),
    "a list of lists": (list[list[u64]], b"\x02\x00" + HUGE),
    "a list of nothing": (list[None], HUGE),
    "a list of nothing twice": (list[tuple[None, tuple[()]]], HUGE),
    "lists of nothing": (list[list[None]], b"\x02\x00" + HUGE),
    "a set": (set[u64], HUGE),
    "a dict": (dict[u64, str], HUGE),
    "a dict of nothing": (dict[None, None], HUGE),
    "in an Option": (list[str] | None, b"\x01" + HUGE),
    "in an enum": (u8 | list[str], b"\x01" + HUGE),
    "in a class": (Deep, b"\x01a\x01\x01b\x01" + HUGE),
    "in an array": (Annotated[tuple[str, ...], Array(2)], b"\x00" + HUGE),
    "of 128 bits": (list[u8], b"\xfe" + b"\xff" * 16),
    "nested for ever": (Node, b"\x01" * 60_000),
}


@pytest.mark.parametrize(("tp", "payload"), LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("version", [1, 2])
async def test_a_length_inside_a_message_costs_nothing(tp, payload, version) -> None:
    """It is a DecodeError whatever is behind it, and the next message is received."""
    options: Any = {"version": version, "sends_checksums": version == 2}
    encoder = MessageEncoder(Raw(), **options)
    codec: Bincode[Any] = Bincode(tp, max_nbytes=LIMIT, names=globals())
    good = {Node: Node([]), Deep: Deep("a", {})}.get(tp)
    after = codec.encode(good) if good else None
    with trio.fail_after(PATIENCE), grows_at_most(FLOOR):
        ours, peer = await against()
        async with closing(ours, peer):
            said = [payload, payload + bytes(1000)]
            sent = encoder.encode_header() + encoder.encode_many(said + ([after] if after else []))
            await peer.send_all(sent + encoder.encode_end())
            channel: TypedReceiveChannel[Any] = TypedReceiveChannel(
                ours, codec, peer_version=version, checks_checksums=version == 2
            )
            for _ in said:
                with pytest.raises(DecodeError):
                    await channel.receive()
            if good:
                assert await channel.receive() == good
            with pytest.raises(trio.EndOfChannel):
                await channel.receive()


@pytest.mark.parametrize(
    ("tp", "times"), [(list[list[u8]], 80), (list[set[u8]], 260), (list[dict[u8, u8]], 80)]
)
async def test_the_smallest_items_are_so_many_times_as_large_as_their_message(tp, times) -> None:
    """An empty container is one byte on the wire. So `max_nbytes` bounds values, by a factor."""
    codec: Bincode[Any] = Bincode(tp, max_nbytes=LIMIT)
    payload = b"\xfb" + (60_000).to_bytes(2, "little") + bytes(60_000)
    with trio.fail_after(PATIENCE), grows_at_most(times * len(payload) + FLOOR):
        ours, peer = await against()
        async with closing(ours, peer):
            encoder = MessageEncoder(Raw())
            await peer.send_all(encoder.encode_header() + encoder.encode_many([payload]))
            channel: TypedReceiveChannel[Any] = TypedReceiveChannel(ours, codec)
            assert len(await channel.receive()) == 60_000


# Dripping


@pytest.mark.needs_process
@each_kind
async def test_a_drip_costs_what_it_brings(kind: Kind) -> None:
    """An item that comes byte by byte is received, for at most 8 times its bytes."""
    payload = b"z" * 1500 if kind is not KINDS["always 5 bytes"] else b"z" * 5
    data = wire_of(kind, payload)
    with trio.fail_after(PATIENCE), grows_at_most(8 * len(data) + 60_000):
        ours, peer = await against()
        async with closing(ours, peer), trio.open_nursery() as nursery:
            channel = kind.open(ours)

            async def drip() -> None:
                for at in range(len(data)):
                    await peer.send_all(data[at : at + 1])
                    while ours.statistics().received_nbytes <= at:
                        await trio.lowlevel.checkpoint()
                await peer.send_all(kind.wire(payload))

            nursery.start_soon(drip)
            assert await channel.receive() == kind.decoded(payload)
            assert ours.statistics().receive_calls >= len(data) - 1
            assert await channel.receive() == kind.decoded(payload)
            assert lent_nbytes(ours) == 0


@each_kind
def test_a_byte_a_second_is_given_up_when_the_rate_says(kind: Kind) -> None:
    """At the exact second, wherever in an item the peer is; nothing that came is lost."""

    async def main() -> None:
        ours, peer = await socketpair(GlobalPool())
        data = wire_of(kind, *ITEMS)
        async with closing(ours, peer), trio.open_nursery() as nursery:

            async def drip() -> None:
                for at in range(len(data)):
                    await peer.send_all(data[at : at + 1])
                    await trio.sleep(1)

            began = trio.current_time()
            nursery.start_soon(drip)
            slow = kind.open(GuardedRead(ours, MinRate(100, seconds=10.5)))
            got = []
            with pytest.raises(PeerTooSlow) as caught:
                await for_ever(slow.receive, got.append)
            assert trio.current_time() - began == pytest.approx(10.5)
            assert caught.value.nbytes == 11
            assert got == [kind.decoded(item) for item in ITEMS[: len(got)]]
            while len(got) < len(ITEMS):  # who has more patience gets the rest
                with contextlib.suppress(PeerTooSlow):
                    got.append(await slow.receive())
            assert got == [kind.decoded(item) for item in ITEMS]

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.01))


# Going on and on


@each_without_an_end
async def test_64_mib_without_a_delimiter_are_refused_after_the_limit(kind: Kind) -> None:
    """When the limit and one receive have come; the peer's kernel holds the rest, and it waits."""
    endless = (kind.endless or b"") * 1000
    with trio.fail_after(PATIENCE), grows_at_most(4 * LIMIT + FLOOR + len(endless)):
        ours, peer = await against()
        async with closing(ours, peer), trio.open_nursery() as nursery:
            channel = kind.open(ours)
            nursery.start_soon(say, peer, endless, 64 * 1_048_576 // len(endless))
            for way in (channel.receive, channel.receive_batch):
                with pytest.raises(LimitExceeded) as caught:
                    await way()
                assert caught.value.limit == LIMIT
                assert caught.value.arrived >= LIMIT
            assert ours.statistics().received_nbytes <= LIMIT + AT_ONCE
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert peer.statistics().sent_nbytes < 32 * 1_048_576
            await channel.aclose()


@each_without_an_end
async def test_64_mib_without_a_delimiter_are_skipped_as_they_arrive(kind: Kind) -> None:
    """None of it is kept, and the item behind it is received."""
    endless = (kind.endless or b"") * 1000
    times = 64 * 1_048_576 // len(endless)
    with trio.fail_after(PATIENCE), grows_at_most(FLOOR + len(endless)):
        ours, peer = await against()
        async with closing(ours, peer), trio.open_nursery() as nursery:
            channel = kind.open(ours)

            async def go_on_and_on() -> None:
                await say(peer, endless, times)
                await say(peer, kind.wire(b"") + kind.wire(b"after"))

            nursery.start_soon(go_on_and_on)
            with pytest.raises(LimitExceeded):
                await channel.receive()
            await channel.skip()
            assert ours.statistics().received_nbytes >= times * len(endless)
            assert await channel.receive() == kind.decoded(b"after")


@pytest.mark.parametrize("payload", [b"", b"x"], ids=["empty", "one byte"])
@each_kind
async def test_a_flood_of_the_smallest_items_starves_nobody(kind: Kind, payload) -> None:
    """Each of 10,000 is received; others have their turn for each, or for each batch.

    Memory is what one receive and one batch need.
    """
    if kind is KINDS["always 5 bytes"]:
        payload = b"12345"
    flood = kind.wire(payload) * 1000
    with trio.fail_after(PATIENCE), grows_at_most(FLOOR + len(flood) + 1000 * 400):
        ours, peer = await against()
        async with closing(ours, peer), trio.open_nursery() as nursery:
            channel = kind.open(ours)
            turns = Turns()

            async def flood_and_leave() -> None:
                await peer.send_all(kind.header)
                await say(peer, flood, 10)
                await say(peer, kind.goodbye)
                await peer.send_eof()

            nursery.start_soon(flood_and_leave)
            nursery.start_soon(turns.take)
            for _ in range(500):
                assert await channel.receive() == kind.decoded(payload)
            assert turns.taken >= 500 - 1  # one a round, in whichever order
            count, turns.taken, batches = 500, 0, 0
            async for batch in channel.batches():
                assert len(batch) <= 1000
                count += len(batch)
                batches += 1
            assert count == 10_000
            assert turns.taken >= batches - 1
            nursery.cancel_scope.cancel()


BAD_ITEMS: dict[str, tuple[str, bytes, type[Exception]]] = {
    "checksums that are wrong": ("typed", b"\x01x" + bytes(8), ChecksumMismatch),
    "text that is none": ("lines of text", b"\xff\n", UnicodeDecodeError),
}


@pytest.mark.parametrize(("name", "bad", "error"), BAD_ITEMS.values(), ids=BAD_ITEMS)
@pytest.mark.parametrize("way", ["receive", "receive_batch"])
async def test_a_flood_of_bad_items_starves_nobody(name, bad, error, way) -> None:
    """Each error of an item is a turn for the others, and what is behind all of them is there."""
    kind = KINDS[name]
    with trio.fail_after(PATIENCE), grows_at_most(FLOOR):
        ours, peer = await against()
        async with closing(ours, peer), trio.open_nursery() as nursery:
            channel, turns = kind.open(ours), Turns()
            nursery.start_soon(say, peer, kind.header + bad * 2000 + kind.wire(b"good"))
            nursery.start_soon(turns.take)
            for _ in range(2000):
                with pytest.raises(error):
                    await getattr(channel, way)()
                if error is UnicodeDecodeError:
                    await channel.skip()
            assert await channel.receive() == kind.decoded(b"good")
            assert turns.taken >= 2000 - 1
            nursery.cancel_scope.cancel()


# Cutting


async def outcome_of(channel: Any, way: str) -> tuple[list[Any], type[Exception]]:
    """Receive until that raises; return what was received, and what was raised, twice."""
    got: list[Any] = []
    errors = []
    while len(errors) < 2:
        try:
            found = await getattr(channel, way)()
        except Exception as exc:  # noqa: BLE001  # it is the outcome
            errors.append(type(exc))
        else:
            assert not errors, "something came behind an error"
            got += found if isinstance(found, list) else [found]
    assert errors[0] is errors[1], "it was another error the second time"
    return got, errors[0]


def whole_items(kind: Kind, nbytes: int) -> int:
    """How many of `ITEMS` are whole in the first `nbytes` bytes of what a peer says."""
    return sum(len(wire_of(kind, *ITEMS[: at + 1])) <= nbytes for at in range(len(ITEMS)))


@pytest.mark.parametrize("way", ["receive", "receive_batch"])
@each_kind
async def test_a_reset_at_each_byte_leaves_the_whole_items_before_it(kind: Kind, way) -> None:
    """Exactly those, then `BrokenResourceError` for ever: a line that needs no end is not given.

    Whether the reset comes before the receiver looks, or while it waits, or was told to the sending
    half first. Only if the goodbye has come is it an end.
    """
    data = wire_of(kind, *ITEMS, goodbye=True)
    for cut in range(len(data) + 1):
        for when in ("before", "while it waits", "seen by a send"):
            ours, peer = await against()
            with trio.fail_after(PATIENCE):
                async with closing(ours, peer):
                    channel = kind.open(ours)
                    await peer.send_all(data[:cut])
                    if when == "while it waits":
                        outcome: list[Any] = []

                        async def receive(channel: Any = channel, outcome: Any = outcome) -> None:
                            outcome.append(await outcome_of(channel, way))

                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(receive)
                            await trio.testing.wait_all_tasks_blocked()
                            reset(peer)
                        got, error = outcome[0]
                    else:
                        reset(peer)
                        if when == "seen by a send":
                            with pytest.raises(trio.BrokenResourceError):
                                await ours.send_all(b"x")
                        got, error = await outcome_of(channel, way)
                    whole = whole_items(kind, cut)
                    assert got == [kind.decoded(item) for item in ITEMS[:whole]], (cut, when)
                    is_over = bool(kind.goodbye) and cut == len(data)
                    assert error is (trio.EndOfChannel if is_over else trio.BrokenResourceError)
                    check_laws(channel._reader)
                    assert lent_nbytes(ours) == 0


@pytest.mark.parametrize("version", [1, 2])
async def test_a_reset_at_each_byte_of_the_reply_breaks_both_halves(version) -> None:
    """A typed channel has received what was asked, each half is told, and nothing is left."""
    options: Any = {"version": version, "sends_checksums": version == 2}
    encoder = MessageEncoder(Raw(), **options)
    asked = encoder.encode_header() + encoder.encode_many(ITEMS)
    for cut in range(1, len(asked) + 1):
        ours, peer = await against()
        with trio.fail_after(PATIENCE):
            async with closing(ours, peer):
                channel = TypedChannel(
                    ours,
                    sends=Raw(),
                    receives=Raw(),
                    peer_version=version,
                    checks_checksums=version == 2,
                    **options,
                )
                await peer.send_all(asked)
                got = []
                for _ in ITEMS:
                    got.append(await channel.receive())
                    await channel.send(got[-1])
                assert got == list(ITEMS)
                assert await peer.read_exactly(cut) == asked[:cut]
                reset(peer)
                with pytest.raises(trio.BrokenResourceError):
                    await channel.receive()
                with pytest.raises(trio.BrokenResourceError):
                    await channel.send(b"more")
                with contextlib.suppress(trio.BrokenResourceError):
                    await channel.aclose()
                assert ours.fileno() == -1
                assert lent_nbytes(ours) == 0


@each_kind
async def test_a_half_closed_peer_is_answered(kind: Kind) -> None:
    """Its end is an end, and what is sent then arrives, however much."""
    with trio.fail_after(PATIENCE):
        ours, peer = await against()
        async with closing(ours, peer), trio.open_nursery() as nursery:
            await peer.send_all(wire_of(kind, *ITEMS))
            await peer.send_eof()
            got, error = await outcome_of(kind.open(ours), "receive")
            assert (got, error) == ([kind.decoded(item) for item in ITEMS], trio.EndOfChannel)
            nursery.start_soon(ours.send_all, noise(1_000_000))
            assert await peer.read_exactly(1_000_000) == noise(1_000_000)


@each_kind
async def test_an_end_at_each_byte_is_no_item(kind: Kind) -> None:
    """A peer that leaves in the middle of an item is `UnexpectedEof`, but for the last line."""
    data = wire_of(kind, *ITEMS)
    starts = [len(wire_of(kind, *ITEMS[:at])) for at in range(len(ITEMS) + 1)]
    for cut in range(len(data) + 1):
        ours, peer = await socketpair()
        with trio.fail_after(PATIENCE):
            async with closing(ours, peer):
                await peer.send_all(data[:cut])
                await peer.send_eof()
                got, error = await outcome_of(kind.open(ours), "receive_batch")
                whole = [kind.decoded(item) for item in ITEMS[: whole_items(kind, cut)]]
                if cut in {0, *starts}:
                    assert (got, error) == (whole, trio.EndOfChannel)
                elif kind.last_needs_no_end:
                    assert got[: len(whole)] == whole
                    assert len(got) <= len(whole) + 1
                    assert error is trio.EndOfChannel
                elif kind is KINDS["typed, whichever version"] and cut in {3, 4}:
                    # This is all of a stream in version 1, without its goodbye or with it.
                    assert (got, error) == ([b"\0\0"], trio.EndOfChannel)
                else:
                    assert (got, error) == (whole, UnexpectedEof)


@pytest.mark.parametrize("version", [1, 2])
async def test_what_is_sent_after_the_goodbye_is_not_read(version) -> None:
    """Who says goodbye and then 64 MiB fills its own kernel; what had come is given back."""
    options: Any = {"version": version, "sends_checksums": version == 2}
    encoder = MessageEncoder(Raw(), **options)
    said = encoder.encode_header() + encoder.encode_many(ITEMS) + encoder.encode_end()
    with trio.fail_after(PATIENCE), grows_at_most(FLOOR + 1_048_576):
        ours, peer = await against()
        async with closing(ours, peer), trio.open_nursery() as nursery:
            channel = TypedReceiveChannel(
                ours, Raw(), peer_version=version, checks_checksums=version == 2
            )
            await peer.send_all(said + b"behind")
            nursery.start_soon(say, peer, bytes(1_048_576), 64)
            assert await outcome_of(channel, "receive") == (list(ITEMS), trio.EndOfChannel)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert ours.statistics().received_nbytes <= AT_ONCE
            stream, unread = channel.into_inner()
            assert stream is ours
            rest = unread.to_bytes() + (await ours.read_exactly(6)).to_bytes()
            assert rest.startswith(b"behind")
            await trio.aclose_forcefully(ours)


@each_kind
async def test_a_peer_that_sends_after_we_closed_is_reset(kind: Kind) -> None:
    """Whatever it sends goes nowhere, costs nothing, and ends in its own error."""
    with trio.fail_after(PATIENCE), grows_at_most(FLOOR):
        ours, peer = await against()
        async with closing(ours, peer):
            await peer.send_all(wire_of(kind, *ITEMS))
            channel = kind.open(ours)
            assert await channel.receive() == kind.decoded(ITEMS[0])
            await channel.aclose()
            with pytest.raises(trio.BrokenResourceError):
                await for_ever(partial(peer.send_all, wire_of(kind, *ITEMS) * 100))
            assert lent_nbytes(ours) == 0
            with pytest.raises(trio.ClosedResourceError):
                await channel.receive()


# Never reading


@attrs.frozen
class Sender:
    """A way to send that has a buffer, and how much it holds."""

    make: Any
    feed: Any
    """Puts 1,000 bytes into the buffer, or raises."""

    def fill(self, writer: Any) -> None:
        """Put bytes into the buffer until that raises."""
        while True:
            self.feed(writer)


CAP = 200_000

SENDERS: dict[str, Sender] = {
    "BufWriter": Sender(
        lambda stream: BufWriter(stream, max_nbytes=CAP),
        lambda writer: writer.write(bytes(1000)),
    ),
    "BufStream": Sender(
        lambda stream: BufStream(stream, max_nbytes=CAP),
        lambda writer: writer.write(bytes(1000)),
    ),
    "typed": Sender(
        lambda stream: TypedSendChannel(BufWriter(stream, max_nbytes=CAP), Raw()),
        lambda channel: channel.feed(bytes(990)),
    ),
    "typed, both ways": Sender(
        lambda stream: TypedChannel(BufStream(stream, max_nbytes=CAP), sends=Raw(), receives=Raw()),
        lambda channel: channel.feed(bytes(990)),
    ),
}


@pytest.mark.parametrize("sender", SENDERS.values(), ids=SENDERS)
@pytest.mark.parametrize("ending", ["close", "close by force", "reset"])
async def test_a_peer_that_never_reads_fills_a_buffer_and_no_more(sender: Sender, ending) -> None:
    """What is fed is refused at the cap; a flush waits, can be given up, and loses nothing.

    Closing ends when its deadline says, by force at once, and when the peer resets.
    """
    with trio.fail_after(PATIENCE), grows_at_most(3 * CAP + FLOOR):
        ours, peer = await against()
        small_buffers(ours)
        small_buffers(peer)
        async with closing(ours, peer):
            writer = sender.make(ours)
            for _ in range(20):
                with pytest.raises(BufferFull):
                    sender.fill(writer)
                assert CAP - 1000 <= writer.unsent_nbytes <= CAP
                with trio.move_on_after(0.001) as scope:
                    await writer.flush()
                assert scope.cancelled_caught
            assert CAP - 1000 <= writer.unsent_nbytes <= CAP, "the kernel should be full by now"
            with trio.move_on_after(0.001) as scope:
                await writer.drain()
            assert scope.cancelled_caught
            if ending == "close":
                with trio.move_on_after(0.001) as scope:
                    await writer.aclose()
                assert scope.cancelled_caught
            elif ending == "close by force":
                await trio.aclose_forcefully(writer)
            else:
                reset(peer)
                with pytest.raises(trio.BrokenResourceError):
                    await writer.flush()
                await writer.aclose()  # it was said already
            assert ours.fileno() == -1


async def test_what_a_peer_that_never_read_finds_at_last_is_whole_messages() -> None:
    """A beginning of what was sent, no goodbye, and so, for who asks for one, no end."""
    sent = [noise(7000, seed) for seed in range(1000)]
    ours, peer = await against()
    small_buffers(ours)
    with trio.fail_after(PATIENCE):
        async with closing(ours, peer):
            channel = TypedSendChannel(ours, Raw())
            with trio.move_on_after(0.02) as scope:
                for message in sent:
                    await channel.send(message)
            assert scope.cancelled_caught
            await trio.aclose_forcefully(channel)
            receiver = TypedReceiveChannel(peer, Raw(), requires_goodbye=True)
            got, error = await outcome_of(receiver, "receive")
            assert 0 < len(got) < len(sent)
            assert got == sent[: len(got)]
            assert error is UnexpectedEof


def test_a_peer_that_never_reads_is_given_up_when_the_rate_says() -> None:
    """The guard's error comes out of every layer above it, by a clock that jumps."""

    async def main() -> None:
        for layer, send in (
            (BufWriter, "send_all"),
            (lambda guard: BufWriter(guard).frame_sender(LengthPrefixed()), "send"),
            (lambda guard: TypedSendChannel(guard, Raw()), "send"),
        ):
            ours, peer = await socketpair()
            sender: Any = layer(GuardedWrite(ours, MinRate(1, seconds=7)))
            async with closing(sender, peer):
                began = trio.current_time()
                with pytest.raises(PeerTooSlow):
                    await getattr(sender, send)(bytes(1_000_000))
                assert trio.current_time() - began == pytest.approx(7)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.01))


async def test_a_shared_writer_holds_no_more_than_its_cap_for_a_peer_that_never_reads() -> None:
    """A hundred tasks that wait for room hold what each of them sends; none has its way."""
    with trio.fail_after(PATIENCE), grows_at_most(3 * CAP + 100 * 10_000 + FLOOR):
        ours, peer = await against()
        small_buffers(ours)
        async with closing(ours, peer), trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                async with open_shared_writer(ours, max_nbytes=CAP) as writer:
                    for _ in range(100):
                        nursery.start_soon(_send_for_ever, writer)
                    await trio.testing.wait_all_tasks_blocked(0.01)
                    assert CAP // 4 < writer.unsent_nbytes <= CAP
                    assert len(writer._for_room) == 100
                    scope.cancel()
            assert scope.cancelled_caught


async def _send_for_ever(writer: Any) -> None:
    with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
        while True:
            await writer.write_when_room(bytes(1000))


async def test_a_relay_holds_one_receive_for_a_peer_that_never_reads() -> None:
    """The other side's bytes stay in its kernel: backpressure goes through."""
    with trio.fail_after(PATIENCE), grows_at_most(FLOOR + 1_048_576):
        pool = GlobalPool()
        left, sender = await against(pool)
        right, _silent = await against(pool)
        async with closing(left, sender, right, _silent), trio.open_nursery() as nursery:
            nursery.start_soon(relay, left, right)
            nursery.start_soon(say, sender, bytes(1_048_576), 64)
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert sender.statistics().sent_nbytes < 32 * 1_048_576
            assert pool.statistics().lent_nbytes <= 2 * AT_ONCE
            behind = left.statistics().received_nbytes - right.statistics().sent_nbytes
            assert 0 <= behind <= AT_ONCE
            nursery.cancel_scope.cancel()


# Saying nothing


@pytest.mark.parametrize("said", ["nothing", "a part of a message"])
async def test_hundreds_of_silent_connections_cost_little_and_hinder_nobody(said) -> None:
    """300 hold no block and at most 40,000 bytes each, their peers' included.

    Who comes then is served, and all are given up when the rate says. `test_ten_thousand` has the
    long form.
    """
    silent = 300
    pool = CappedPool(4 * AT_ONCE)
    ended, all_ended = 0, trio.Event()

    async def serve(stream: SocketStream) -> None:
        nonlocal ended
        guard = GuardedStream(stream, receiving=MinRate(1, 0.5), sending=MinRate(1, 0.5))
        try:
            async with TypedChannel(guard, sends=Raw(), receives=Raw()) as channel:
                async for message in channel:
                    await channel.send(message)
        except PeerTooSlow:
            ended += 1
            if ended == silent:
                all_ended.set()

    peers = []
    with trio.fail_after(PATIENCE), grows_at_most(silent * 40_000 + FLOOR):
        async with trio.open_nursery() as nursery:
            share = partial(pool.share, 2 * AT_ONCE)
            start = partial(serve_tcp, host="127.0.0.1", memory=share)
            listeners = await nursery.start(start, serve, 0)
            port = listeners[0].socket.getsockname()[1]
            for _ in range(silent):
                peer = await open_tcp_stream("127.0.0.1", port)
                if said != "nothing":
                    await peer.send_all(wire_of(KINDS["typed"], b"hello")[:12])
                peers.append(peer)
            await trio.testing.wait_all_tasks_blocked()
            assert pool.statistics().lent_nbytes == 0
            async with TypedChannel(
                await open_tcp_stream("127.0.0.1", port), sends=Raw(), receives=Raw()
            ) as good:
                await good.send(b"still there?")
                assert await good.receive() == b"still there?"
            for peer in peers:  # each is told
                with contextlib.suppress(trio.BrokenResourceError):
                    while await peer.receive_view():
                        pass
                await peer.aclose()
            await all_ended.wait()
            assert pool.statistics().lent_nbytes == 0
            nursery.cancel_scope.cancel()


# TLS


async def test_a_slow_handshake_hinders_nobody_and_can_be_given_up(contexts: Contexts) -> None:  # noqa: F811
    """Peers that say nothing, or the beginning of a handshake byte by byte, keep their own tasks.

    Another is served meanwhile, and a deadline ends them, closed.
    """
    given_up = 0

    async def serve(stream: TlsStream) -> None:
        nonlocal given_up
        with trio.move_on_after(0.3) as scope:
            await stream.do_handshake()
        if scope.cancelled_caught:
            given_up += 1
            await trio.aclose_forcefully(stream)
            return
        async with stream:
            await stream.write_view(await stream.receive_view())

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            start = partial(serve_ssl_over_tcp, serve, 0, contexts.server, host="127.0.0.1")
            listeners = await nursery.start(start)
            port = listeners[0].transport_listener.socket.getsockname()[1]
            silent = await open_tcp_stream("127.0.0.1", port)
            slow = await open_tcp_stream("127.0.0.1", port)

            async def drip() -> None:
                with contextlib.suppress(trio.BrokenResourceError):
                    for byte in b"\x16\x03\x01\x02\x00" + bytes(500):
                        await slow.send_all(bytes((byte,)))
                        await trio.sleep(0.01)

            nursery.start_soon(drip)
            async with await open_ssl_over_tcp_stream(
                "localhost", port, ssl_context=contexts.client
            ) as good:
                await good.write_view(BytesView(b"hello"))
                assert await good.receive_view() == b"hello"
            for peer in (silent, slow):
                with contextlib.suppress(trio.BrokenResourceError):
                    assert not await peer.receive_view()
                await peer.aclose()
            assert given_up == 2
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"\x16\x03\x01\xff\xff" + bytes(70_000),
        noise(70_000),
        b"\0" * 70_000,
    ],
    ids=["HTTP", "a record of 65,535 bytes", "noise", "zeros"],
)
async def test_what_is_no_tls_is_refused_soon(contexts: Contexts, said) -> None:  # noqa: F811
    """With `BrokenResourceError` for ever, and for what has arrived at the most."""
    with trio.fail_after(PATIENCE), grows_at_most(4 * len(said) + FLOOR):
        ours, peer = await against()
        async with closing(ours, peer):
            stream = TlsStream(trio.SSLStream(ours, contexts.server, server_side=True))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(say, peer, said)
                for _ in range(2):
                    with pytest.raises(trio.BrokenResourceError):
                        await stream.receive_view()
                await trio.aclose_forcefully(stream)


async def test_a_reset_within_each_part_of_a_record_is_no_end(contexts: Contexts) -> None:  # noqa: F811
    """Lines over TLS: those that came whole, and then `BrokenResourceError`."""
    for cut in (0, 1, 5, 20, 28):
        a, b = await tls_pair(contexts, against)
        with trio.fail_after(PATIENCE):
            async with closing(a, b):
                await shake_hands(a, b)
                lines = BufReader(b).lines()
                await a.write_view(BytesView(b"one\ntwo"))
                record = b"\x17\x03\x03\x00\x18" + noise(24)
                await a.transport_stream.send_all(record[:cut])
                reset(a.transport_stream)
                assert await outcome_of(lines, "receive") == ([b"one"], trio.BrokenResourceError)


# Compressed bombs


def bomb(nbytes: int, fmt: str) -> bytes:
    """As many zeros, compressed to a thousandth."""
    wbits = {"gzip": 31, "zlib": 15, "raw": -15}[fmt]
    deflate = zlib.compressobj(9, zlib.DEFLATED, wbits)
    part = bytes(1_048_576)
    return b"".join(deflate.compress(part) for _ in range(nbytes // len(part))) + deflate.flush()


@pytest.mark.parametrize("fmt", ["gzip", "zlib", "raw"])
async def test_a_compressed_bomb_gives_what_is_allowed_and_no_more(fmt) -> None:
    """64 MiB in 64 KiB, of which a mebibyte is allowed: so much is given, then LimitExceeded."""
    data = bomb(64 * 1_048_576, fmt)
    assert len(data) < 70_000
    with trio.fail_after(PATIENCE), grows_at_most(FLOOR):
        ours, peer = await against()
        async with closing(ours, peer), trio.open_nursery() as nursery:
            nursery.start_soon(say, peer, data)
            source = InflatedRead(ours, format=fmt, max_nbytes=1_048_576)
            given: list[int] = []
            for _ in range(2):
                with pytest.raises(LimitExceeded):
                    await for_ever(source.receive_view, lambda view: given.append(len(view)))
                assert sum(given) == 1_048_576
            await source.aclose()


async def test_a_bomb_within_a_bomb_is_held_by_either_limit() -> None:
    """Layers that are read one through the other each hold a step, and the inner limit counts."""
    data = gzip.compress(bomb(16 * 1_048_576, "gzip"))
    with trio.fail_after(PATIENCE), grows_at_most(FLOOR):
        ours, peer = await against()
        async with closing(ours, peer):
            await peer.send_all(data)
            outer = InflatedRead(ours, format="gzip", max_nbytes=1_048_576)
            lines = BufReader(InflatedRead(outer, format="gzip", max_nbytes=2**30)).lines(
                max_bytes=LIMIT
            )
            with pytest.raises(LimitExceeded):
                await lines.receive()
            await lines.aclose()


@pytest.mark.parametrize(
    ("fmt", "start", "more"),
    [
        ("raw", b"", b"\0\0\0\xff\xff" * 13_000),
        ("gzip", b"\x1f\x8b\x08\x08\0\0\0\0\0\0", b"n" * 65_000),
        ("gzip", b"\x1f\x8b\x08\x10\0\0\0\0\0\0", b"c" * 65_000),
    ],
    ids=["empty blocks", "a name without an end", "a comment without an end"],
)
async def test_compressed_bytes_that_become_nothing_starve_nobody(fmt, start, more) -> None:
    """16 MiB of which nothing comes are read as they arrive, others have turns, none is kept."""
    with trio.fail_after(PATIENCE), grows_at_most(FLOOR + len(more)):
        ours, peer = await against()
        async with closing(ours, peer), trio.open_nursery() as nursery:
            turns = Turns()

            async def say_nothing() -> None:
                await peer.send_all(start)
                await say(peer, more, 256)
                await peer.send_eof()

            nursery.start_soon(say_nothing)
            nursery.start_soon(turns.take)
            source = InflatedRead(ours, format=fmt, max_nbytes=1000)
            with pytest.raises(UnexpectedEof):
                await source.receive_view()
            assert turns.taken >= 16 * 1_048_576 // AT_ONCE
            nursery.cancel_scope.cancel()


# Garbage


GARBAGE_ERRORS = (
    BytesBufError,
    UnicodeDecodeError,
    trio.EndOfChannel,
)
"""What noise may be called. Whatever else comes out of a decoder is a bug."""


@each_kind
async def test_noise_is_an_item_or_a_documented_error(kind: Kind) -> None:
    """By a channel and in pieces as they come: it ends, within memory, with one of ours."""
    with trio.fail_after(PATIENCE), grows_at_most(FLOOR):
        for seed in range(30):
            ours, peer = await socketpair(GlobalPool())
            async with closing(ours, peer):
                front = kind.header if seed % 2 else b""
                await peer.send_all(front + noise(3000, seed))
                await peer.send_eof()
                channel = kind.open(ours)
                last: type[Exception] | None = None
                for _ in range(4000):
                    try:
                        assert await channel.receive() is not None
                    except GARBAGE_ERRORS as exc:
                        last = type(exc)
                        if last is UnicodeDecodeError:
                            await channel.skip()
                        elif last not in {ChecksumMismatch, DecodeError}:
                            break
                assert last is not None
                assert last is not UnicodeDecodeError
                check_laws(channel._reader)


@pytest.mark.parametrize("fmt", ["gzip", "zlib", "raw"])
async def test_noise_is_no_compressed_data(fmt) -> None:
    """It is said so, or it ends too soon; what it happened to stand for is bounded."""
    with trio.fail_after(PATIENCE), grows_at_most(FLOOR):
        for seed in range(30):
            ours, peer = await socketpair(GlobalPool())
            async with closing(ours, peer):
                start = gzip.compress(noise(100, seed))[:50] if fmt == "gzip" else b""
                await peer.send_all(start + noise(3000, seed))
                await peer.send_eof()
                source = InflatedRead(ours, format=fmt, max_nbytes=LIMIT)
                ending = (BadCompressedData, UnexpectedEof, LimitExceeded)
                try:
                    while await source.receive_view():
                        pass
                except ending:
                    continue
                # raw deflate has no checksum: noise may be a whole stream, and a short one
                assert fmt == "raw"


TYPES: dict[str, Any] = {
    "numbers": list[u64],
    "text": dict[str, list[str]],
    "a class": Deep,
    "itself": Node,
    "a union": u8 | str | list[bytes] | None,
}


@pytest.mark.parametrize("tp", TYPES.values(), ids=TYPES)
async def test_noise_in_whole_messages_is_a_value_or_a_decode_error(tp) -> None:
    """Each message is one or the other, in its turn, and the channel goes on to the end."""
    encoder = MessageEncoder(Raw())
    payloads = [noise(seed % 40, seed) for seed in range(300)]
    with trio.fail_after(PATIENCE), grows_at_most(FLOOR):
        ours, peer = await socketpair(GlobalPool())
        async with closing(ours, peer):
            await peer.send_all(
                encoder.encode_header() + encoder.encode_many(payloads) + encoder.encode_end()
            )
            channel: TypedReceiveChannel[Any] = TypedReceiveChannel(ours, tp)
            values = errors = 0
            while True:
                try:
                    await channel.receive()
                except DecodeError:
                    errors += 1
                except trio.EndOfChannel:
                    break
                else:
                    values += 1
            assert values + errors == len(payloads)
            assert errors
