"""Typed channels and the real crates, async-io-typed 3.0.0 and 1.0.4, over loopback; and bincode.

The program in interop/ is the peer; its main.rs says what it does. What one side sends the other
receives, in both versions, with checksums and without, at each length that is written another way;
and each sees how the other ends, in peace, in the middle, and torn off.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import attrs
import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from interop_peer import Peer, came, interop_peer, name_of, payload_nbytes, payload_of
from rust_peer import Rust, built
from rust_values import Blob, Demo, DemoKind, Pair, Ping, Text

from trio_bytesbuf import (
    BytesView,
    ChecksumMismatch,
    DecodeError,
    EncodeError,
    MessageTooLarge,
    ProtocolVersionMismatch,
    UnexpectedEof,
)
from trio_bytesbuf.io import Read, SocketStream
from trio_bytesbuf.wire import (
    Array,
    Bincode,
    Codec,
    MessageEncoder,
    ProtocolVersion,
    TypedChannel,
    TypedReceiveChannel,
    TypedSendChannel,
    char,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    i128,
    u8,
    u16,
    u32,
    u64,
    u128,
)

VECTORS = Path(__file__).parent / "vectors"


@pytest.fixture(scope="session")
def program(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built program."""
    return built("interop", pytestconfig, tmp_path_factory)


@attrs.frozen
class Record:
    """What most messages are."""

    id: u64
    name: str
    payload: bytes


LIMIT = 1_048_576

NBYTES = [250, 251, 252, 253, 255, 256, 65_535, 65_536, LIMIT]
"""Lengths of messages around each that begins to be written another way; empty ones, and those of
a byte, are of types of their own. Up to the limit."""


def record(id_: int, message_nbytes: int) -> Record:
    """The program's record `id_`, as a message of so many bytes (if its id has one)."""
    return Record(id_, name_of(id_), payload_of(id_, payload_nbytes(message_nbytes)))


class Terms(NamedTuple):
    """A version, and who of the two wants checksums."""

    version: ProtocolVersion
    ours: bool
    theirs: bool

    def words(self) -> list[str]:
        """What the program is told."""
        return ["--version", str(int(self.version)), "--checksum", "on" if self.theirs else "off"]

    def sender(self, stream: Any, tp: Any = Record, **options: Any) -> TypedSendChannel[Any]:
        """A channel to the program."""
        return TypedSendChannel(
            stream, tp, version=self.version, sends_checksums=self.ours, **options
        )

    def receiver(self, stream: Any, tp: Any = Record, **options: Any) -> TypedReceiveChannel[Any]:
        """A channel from the program."""
        return TypedReceiveChannel(
            stream, tp, peer_version=self.version, checks_checksums=self.ours, **options
        )


V1, V2 = ProtocolVersion.V1, ProtocolVersion.V2

PLAIN = Terms(V2, ours=True, theirs=True)

TERMS = [
    Terms(V1, ours=False, theirs=False),
    PLAIN,
    Terms(V2, ours=True, theirs=False),
    Terms(V2, ours=False, theirs=True),
    Terms(V2, ours=False, theirs=False),
]


def title(terms: Terms) -> str:
    """How a test of these terms is called."""
    if terms.version is V1:
        return "version 1"
    return f"ours {'on' if terms.ours else 'off'}, theirs {'on' if terms.theirs else 'off'}"


every_terms = pytest.mark.parametrize("terms", TERMS, ids=title)


@contextlib.asynccontextmanager
async def peer_and_stream(
    program: Path, *words: object
) -> AsyncIterator[tuple[Peer, SocketStream]]:
    """Run the program, and connect to it."""
    async with interop_peer(program, *words) as peer:
        with trio.fail_after(20):
            async with SocketStream(await peer.connect()) as stream:
                yield peer, stream


async def sent_for_ever(channel: TypedSendChannel[Any], message: Any) -> None:
    """Send a message again and again, to a peer that is gone: sooner or later it is known."""
    while True:
        await channel.send(message)


# Whole conversations


@every_terms
async def test_the_crate_receives_what_we_send(program: Path, terms: Terms) -> None:
    """Messages of every length, and our goodbye."""
    sent = [record(id_, nbytes) for id_, nbytes in enumerate(NBYTES)]
    async with peer_and_stream(program, "receive", *terms.words()) as (peer, stream):
        async with terms.sender(stream) as channel:
            for message in sent[:5]:
                await channel.send(message)
            await channel.send_many(sent[5:])
        assert await peer.said() == came(((one.id, one.payload) for one in sent), "end")


@every_terms
@pytest.mark.parametrize("nbytes", NBYTES)
async def test_we_receive_what_the_crate_sends(program: Path, terms: Terms, nbytes: int) -> None:
    """Messages of every length, whether checksums are sent, and its goodbye."""
    words = ["send", 3, payload_nbytes(nbytes), *terms.words()]
    async with peer_and_stream(program, *words) as (_, stream):
        channel = terms.receiver(stream, requires_goodbye=True)
        for id_ in range(3):
            assert await channel.receive() == record(id_, nbytes)
        for _ in range(2):
            with pytest.raises(trio.EndOfChannel):
                await channel.receive()
        assert channel.peer_version is terms.version
        assert channel.checks_checksums == (terms.ours and terms.theirs)


@every_terms
@pytest.mark.parametrize(
    ("kind", "tp", "messages"),
    [("unit", None, [None] * 3), ("byte", u8, [0, 1, 2])],
    ids=["no bytes", "one byte"],
)
async def test_the_shortest_messages_go_both_ways(
    program: Path, terms: Terms, kind: str, tp: Any, messages: list[Any]
) -> None:
    """Those that take no byte, whose length is written as FF, and those that take one."""
    words = ["--type", kind, *terms.words()]
    async with peer_and_stream(program, "receive", *words) as (peer, stream):
        async with terms.sender(stream, tp) as channel:
            await channel.send_many(messages)
        ids = [(one or 0, b"") for one in messages]
        assert await peer.said() == came(ids, "end")
    async with peer_and_stream(program, "send", 3, 0, *words) as (_, stream):
        assert [one async for one in terms.receiver(stream, tp)] == messages


@every_terms
async def test_an_echo_is_the_same_in_both_directions_at_once(program: Path, terms: Terms) -> None:
    """Over one `TypedChannel`, several connections to one program, by batches as they come."""
    messages = [record(id_, NBYTES[id_ % len(NBYTES)]) for id_ in range(20)]

    async def talk(peer: Peer) -> None:
        channel = TypedChannel(
            await peer.connect(),
            sends=Record,
            receives=Record,
            version=terms.version,
            peer_version=None,
            sends_checksums=terms.ours,
            checks_checksums=terms.ours,
        )
        async with channel, trio.open_nursery() as nursery:

            @nursery.start_soon
            async def say() -> None:
                for message in messages:
                    await channel.send(message)
                await channel.send_eof()

            echo: list[Any] = []
            async for batch in channel.batches():
                echo += batch
            assert echo == messages

    async with interop_peer(program, "echo", *terms.words()) as peer:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(talk, peer)
            for _ in range(3):
                assert await peer.said() == came(((one.id, one.payload) for one in messages), "end")


def demo(id_: int, nbytes: int) -> Demo:
    """The program's Demo `id_`."""
    kinds: list[Any] = [
        Ping(),
        Text("\U0001f980" * (id_ % 5)),
        Pair(id_ * 70_000, -id_),
        Blob(id_ << 33, payload_of(id_, nbytes)),
    ]
    return Demo(
        id=id_,
        name=name_of(id_),
        score=id_ / 8,
        delta=-id_ * 1_000,
        flag=id_ % 2 == 1,
        tag=None if id_ % 3 == 0 else "\xe9",
        kind=kinds[id_ % 4],
        tags=[name_of(at) for at in range(id_ % 4)],
        counts={name_of(at): at * 300 for at in range(id_ % 3)},
        pos=(-id_, id_),
        raw=bytes([0, 1, 254, id_]),
    )


async def test_a_bit_of_everything_goes_both_ways(program: Path) -> None:
    """Integers, floats, characters, options, enums with all kinds of variants, maps and arrays."""
    messages = [demo(id_, 300) for id_ in range(40)]
    async with peer_and_stream(program, "send", 40, 300, "--type", "demo") as (_, stream):
        assert [one async for one in PLAIN.receiver(stream, Demo)] == messages
    async with peer_and_stream(program, "echo", "--type", "demo") as (peer, stream):
        async with TypedChannel(stream, sends=Demo, receives=Demo) as channel:
            await channel.send_many(messages)
            for message in messages:
                assert await channel.receive() == message
        said = await peer.said()
        assert (said["count"], said["errors"], said["ended"]) == (40, [], "end")


# How a conversation ends


async def test_the_crate_sees_how_we_end(program: Path) -> None:
    """With a goodbye, by force without one, in the middle of a message, with a reset."""
    whole = MessageEncoder(Record).encode(record(0, 300))

    async def closed(stream: SocketStream) -> None:
        await PLAIN.sender(stream).aclose()

    async def closed_by_force(stream: SocketStream) -> None:
        channel = PLAIN.sender(stream)
        await channel.send(record(0, 300))
        await trio.aclose_forcefully(channel)

    async def left_with_an_error(stream: SocketStream) -> None:
        with contextlib.suppress(KeyError):
            async with PLAIN.sender(stream) as channel:
                await channel.send(record(0, 300))
                raise KeyError

    async def cut(stream: SocketStream) -> None:
        await stream.send_all(whole[:-1])
        await stream.aclose()

    async def was_reset(stream: SocketStream) -> None:
        await stream.send_all(whole)
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()

    ends: list[tuple[Callable[[SocketStream], Awaitable[None]], int, str]] = [
        (closed, 0, "end"),
        (closed_by_force, 1, "end without goodbye"),
        (left_with_an_error, 1, "end without goodbye"),
        (cut, 0, "spins"),  # which is what it would do, for ever
        (was_reset, 1, "Io ConnectionReset"),
    ]
    for end, count, ended in ends:
        async with peer_and_stream(program, "receive") as (peer, stream):
            await end(stream)
            said = await peer.said()
        assert said["ended"] == ended, end.__name__
        assert said["errors"] == []
        assert ended == "Io ConnectionReset" or said["count"] == count


async def test_a_peer_that_is_killed_in_the_middle_is_seen(program: Path) -> None:
    """An end in the middle of a message, for good; what was whole before it is received."""
    words = ["send", 3, 50_000_000, "--limit", 60_000_000]
    async with peer_and_stream(program, *words) as (peer, stream):
        channel = PLAIN.receiver(stream, max_nbytes=60_000_000)
        assert len((await channel.receive()).payload) == 50_000_000
        await trio.lowlevel.wait_readable(stream.socket)  # no buffer holds all of the second
        peer.process.kill()
        for _ in range(2):
            with pytest.raises(UnexpectedEof) as caught:
                await channel.receive()
            assert 0 < caught.value.arrived < 50_000_000 < caught.value.wanted


async def test_a_peer_that_is_killed_while_it_has_not_read_everything_breaks(
    program: Path,
) -> None:
    """The system tells us of it by a reset: receiving and sending raise, and nothing waits."""
    words = ["send", 3, 50_000_000, "--limit", 60_000_000]
    async with peer_and_stream(program, *words) as (peer, stream):
        channel = TypedChannel(stream, sends=Record, receives=Record, max_nbytes=60_000_000)
        await channel.send(record(0, 300))  # which the program never reads
        assert (await channel.receive()).id == 0
        peer.process.kill()
        await peer.process.wait()
        with pytest.raises(trio.BrokenResourceError):
            await channel.receive()
        with pytest.raises(trio.BrokenResourceError):
            await sent_for_ever(channel, record(1, 300))
        await trio.aclose_forcefully(channel)


# What is wrong with a message


class Flipping(Read):
    """A source with one bit changed."""

    def __init__(self, source: Read, offset: int) -> None:
        self._source = source
        self._left = offset

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        data = bytearray(bytes(await self._source.receive_view(max_bytes)))
        if 0 <= self._left < len(data):
            data[self._left] ^= 1
        self._left -= len(data)
        return BytesView(bytes(data))

    async def _aclose(self) -> None:
        await self._source.aclose()


FLIPPED = 9 + 300 + 3 + 8 + 3 + 200
"""A byte of the second payload, behind a header and a message of 300 bytes."""


@pytest.mark.parametrize("checks", [True, False], ids=["checked", "unchecked"])
async def test_a_changed_byte_is_seen_by_whoever_checks(program: Path, checks: bool) -> None:
    """By us and by the crate: one message is lost, the next is received. Unchecked, it is not."""
    encoder = MessageEncoder(Record)
    sent = [record(id_, 300) for id_ in range(3)]
    data = bytearray(encoder.encode_many(sent) + encoder.encode_end())
    data[FLIPPED] ^= 1
    changed = attrs.evolve(sent[1], payload=_flipped(sent[1].payload, data, sent[1]))
    words = ["--checksum", "on" if checks else "off"]
    async with peer_and_stream(program, "receive", *words) as (peer, stream):
        await stream.send_all(data)
        whole = [sent[0], sent[2]] if checks else [sent[0], changed, sent[2]]
        errors = [[1, "ChecksumMismatch"]] if checks else []
        expected = came(((one.id, one.payload) for one in whole), "end", *errors)
        assert await peer.said() == expected
    words = ["send", 3, payload_nbytes(300)]
    async with peer_and_stream(program, *words) as (_, stream):
        channel = TypedReceiveChannel(Flipping(stream, FLIPPED), Record, checks_checksums=checks)
        assert await channel.receive() == sent[0]
        if checks:
            with pytest.raises(ChecksumMismatch) as caught:
                await channel.receive()
            assert caught.value.sent != caught.value.computed
        else:
            assert await channel.receive() == changed
        assert await channel.receive() == sent[2]
        with pytest.raises(trio.EndOfChannel):
            await channel.receive()


def _flipped(payload: bytes, data: bytearray, one: Record) -> bytes:
    """The payload as it is in `data`."""
    begin = len(Bincode(Record).encode(one)) - len(payload)
    at = 9 + 300 + 3 + 8 + 3 + begin
    return bytes(data[at : at + len(payload)])


async def test_a_message_that_is_no_value_is_lost_and_the_next_is_received(program: Path) -> None:
    """Both sides say that it is none, and go on."""

    class Anything(Codec[bytes]):
        def encode(self, value: bytes) -> bytes:
            return value

        def decode(self, payload: Any) -> bytes:
            return bytes(payload)

    good = Bincode(Record).encode(record(1, 300))
    async with peer_and_stream(program, "receive") as (peer, stream):
        async with PLAIN.sender(stream, Anything()) as channel:
            await channel.send_many([good + b"\0", good[:-1], good])
        errors = [[0, "Bincode Custom"], [0, "Bincode Io"]]
        assert await peer.said() == came([(1, record(1, 300).payload)], "end", *errors)
    async with peer_and_stream(program, "send", 2, 0, "--type", "byte") as (_, stream):
        channel = PLAIN.receiver(stream, bool | None)
        assert await channel.receive() is None
        with pytest.raises(DecodeError):
            await channel.receive()
        with pytest.raises(trio.EndOfChannel):
            await channel.receive()


@every_terms
async def test_a_message_that_is_too_large_is_not_sent_and_ends_who_gets_it(
    program: Path, terms: Terms
) -> None:
    """A byte over the limit: our sending refuses it and goes on, either receiving gives up."""
    over = record(0, LIMIT + 1)
    async with peer_and_stream(program, "receive", *terms.words()) as (peer, stream):
        async with terms.sender(stream) as channel:
            with pytest.raises(MessageTooLarge) as caught:
                await channel.send(over)
            assert (caught.value.nbytes, caught.value.limit) == (LIMIT + 1, LIMIT)
            assert caught.value.direction == "sent"
            await channel.send(record(7, LIMIT))
        assert await peer.said() == came([(7, record(7, LIMIT).payload)], "end")

    async with peer_and_stream(program, "receive", *terms.words()) as (peer, stream):
        channel = terms.sender(stream, max_nbytes=LIMIT + 1)
        with pytest.raises(trio.BrokenResourceError):
            await sent_for_ever(channel, over)
        await trio.aclose_forcefully(channel)
        assert await peer.said() == came([], "end", [0, "ReceivedMessageTooLarge"])

    words = ["send", 2, payload_nbytes(LIMIT + 1), "--limit", LIMIT + 1, *terms.words()]
    async with peer_and_stream(program, *words) as (_, stream):
        receiver = terms.receiver(stream)
        for _ in range(2):
            with pytest.raises(MessageTooLarge) as caught:
                await receiver.receive()
            assert (caught.value.nbytes, caught.value.limit) == (LIMIT + 1, LIMIT)
            assert caught.value.direction == "received"

    words = ["send", 2, payload_nbytes(LIMIT + 1), *terms.words()]
    async with peer_and_stream(program, *words) as (peer, stream):
        assert [one async for one in terms.receiver(stream)] == []
        assert await peer.said() == {"count": 0, "ended": "Bincode SizeLimit"}


async def test_the_other_version_is_told_or_found_out(program: Path) -> None:
    """A receiver that was told wrongly says so; one that finds it out knows both."""
    async with peer_and_stream(program, "receive") as (peer, stream):
        channel = TypedSendChannel(stream, Record, version=V1)
        await channel.send(record(0, 300))
        assert await peer.said() == came([], "end", [0, "ProtocolVersionMismatch"])
        await trio.aclose_forcefully(channel)
    async with peer_and_stream(program, "send", 1, 30, "--version", 1) as (_, stream):
        for _ in range(2):
            receiver = TypedReceiveChannel(stream, Record)
            with pytest.raises(ProtocolVersionMismatch) as caught:
                await receiver.receive()
            assert caught.value.ours == 2
            assert caught.value.theirs.to_bytes(8, "little") == b"\x29\x00\x08name0"
            break
    for version in (V1, V2):
        async with peer_and_stream(program, "send", 1, 30, "--version", int(version)) as (
            _,
            stream,
        ):
            receiver = TypedReceiveChannel(stream, Record, peer_version=None)
            assert receiver.peer_version is None
            assert await receiver.receive() == Record(0, "name0000", payload_of(0, 30))
            assert receiver.peer_version is version


# bincode itself, on the crate


@pytest.fixture(scope="module")
def crate(program: Path) -> Iterator[Rust]:
    """The program, which reads bytes as a type and writes them again."""
    rust = Rust(program, "types")
    with rust.process as process:
        yield rust
        process.kill()  # that nobody writes to it any more, it may never see: tests fork


CRATES: list[dict[str, str]] = json.loads(
    (VECTORS / "bincode_crates.json").read_text(encoding="utf-8")
)["vectors"]


@pytest.mark.parametrize("vector", CRATES, ids=lambda vector: vector["rust_type"])
def test_the_vectors_are_what_the_crates_do(crate: Rust, vector: dict[str, str]) -> None:
    """What is pinned of uuid, chrono and std, the crates that are here do as well."""
    given_hex = vector.get("hex") or vector["decode"]
    verdict, *said = crate.play(f"{vector['rust_type']} {given_hex}")
    if "err" in vector:
        assert (verdict, *said) == ("err", vector["err"])
    else:
        assert verdict == "ok"
        assert said[0] == vector.get("hex", vector.get("canonical_hex"))


TEXT = st.text(st.characters(codec="utf-8"), max_size=5)


def integers(nbits: int, *, signed: bool = False) -> st.SearchStrategy[int]:
    """Integers of so many bits, and those near to where they begin to be written another way."""
    low, high = (-(1 << nbits - 1), (1 << nbits - 1) - 1) if signed else (0, (1 << nbits) - 1)
    near = st.sampled_from([0, 125, 126, 250, 251, 65_535, 65_536, 1 << 32, 1 << 64])
    edges = st.tuples(near, st.sampled_from([1, -1])).map(lambda both: both[0] * both[1])
    return st.one_of(st.integers(low, high), edges.filter(lambda n: low <= n <= high))


KINDS = st.one_of(
    st.builds(Ping),
    st.builds(Text, TEXT),
    st.builds(Pair, integers(32), integers(64, signed=True)),
    st.builds(Blob, integers(64), st.binary(max_size=5)),
)

TYPES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "bool": (bool, st.booleans()),
    "u8": (u8, integers(8)),
    "u16": (u16, integers(16)),
    "u32": (u32, integers(32)),
    "u64": (u64, integers(64)),
    "u128": (u128, integers(128)),
    "i8": (i8, integers(8, signed=True)),
    "i16": (i16, integers(16, signed=True)),
    "i32": (i32, integers(32, signed=True)),
    "i64": (i64, integers(64, signed=True)),
    "i128": (i128, integers(128, signed=True)),
    "f32": (f32, st.floats(width=32)),
    "f64": (f64, st.floats()),
    "char": (char, st.characters(codec="utf-8")),
    "String": (str, TEXT),
    "()": (None, st.none()),
    "Option<u32>": (u32 | None, st.none() | integers(32)),
    "(u8, String)": (tuple[u8, str], st.tuples(integers(8), TEXT)),
    "Vec<u8>": (bytes, st.binary()),
    "Vec<String>": (list[str], st.lists(TEXT, max_size=3)),
    "[u16; 3]": (
        Annotated[list[u16], Array(3)],
        st.lists(integers(16), min_size=3, max_size=3),
    ),
    "BTreeMap<String, u32>": (dict[str, u32], st.dictionaries(TEXT, integers(32), max_size=3)),
    "DemoKind": (DemoKind, KINDS),
    "Demo": (
        Demo,
        st.builds(
            Demo,
            id=integers(64),
            name=TEXT,
            score=st.floats(),
            delta=integers(32, signed=True),
            flag=st.booleans(),
            tag=st.none() | st.characters(codec="utf-8"),
            kind=KINDS,
            tags=st.lists(TEXT, max_size=3),
            counts=st.dictionaries(TEXT, integers(32), max_size=3),
            pos=st.tuples(integers(16, signed=True), integers(16)),
            raw=st.binary(min_size=4, max_size=4),
        ),
    ),
}
"""What the program calls a type, what it is here, and values of it."""


def in_order(value: Any) -> Any:
    """The same with its maps sorted, as the crate's are."""
    if isinstance(value, Demo):
        return attrs.evolve(value, counts=in_order(value.counts))
    return dict(sorted(value.items())) if isinstance(value, dict) else value


@st.composite
def typed_bytes(draw: st.DrawFn) -> tuple[str, bytes, bytearray]:
    """A type, the bytes of one of its values, and the same with some of them changed."""
    rust_type = draw(st.sampled_from(sorted(TYPES)))
    tp, values = TYPES[rust_type]
    whole = Bincode(tp).encode(in_order(draw(values)))
    data = bytearray(whole)
    for at in draw(st.lists(st.integers(0, len(data)), max_size=3)):
        data[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return rust_type, whole, data


@settings(max_examples=500)
@given(typed_bytes())
@example(("f32", b"", bytearray.fromhex("0100807f")))
@example(("BTreeMap<String, u32>", b"\0", bytearray.fromhex("03 0162 02 0161 01 0162 03")))
def test_bytes_are_a_value_here_if_and_only_if_the_crate_says_so(
    crate: Rust, drawn: tuple[str, bytes, bytearray]
) -> None:
    """What we write it reads, and whatever the bytes; each value is written as the crate does."""
    rust_type, whole, data = drawn
    codec = Bincode(TYPES[rust_type][0])
    if whole:
        verdict, written, *_ = crate.play(f"{rust_type} {whole.hex()}")
        assert (verdict, written) == ("ok", whole.hex())
    verdict, *said = crate.play(f"{rust_type} {data.hex()}")
    try:
        value = codec.decode(bytes(data))
    except DecodeError:
        assert verdict == "err"
        return
    assert verdict == "ok"
    if rust_type == "f32" and value != value:
        assert said[0] == data.hex()  # Python's floats have 64 bits: a NaN becomes another one
    else:
        assert codec.encode(in_order(value)).hex() == said[0]


@pytest.mark.parametrize("rust_type", sorted(TYPES))
def test_what_is_no_value_here_is_not_written(rust_type: str) -> None:
    """An object of no type is refused by all."""
    with pytest.raises(EncodeError):
        Bincode(TYPES[rust_type][0]).encode(object())
