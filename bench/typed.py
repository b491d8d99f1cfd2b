"""What it costs to receive typed messages, one way, over loopback TCP.

    python bench/typed.py [--quick] [--json FILE]

A message is a number, a name of some letters and 100 bytes: `{id: u64, name: String, payload:
Vec<u8>}` to Rust. A process of its own sends them as fast as it can, encoded before it began. Each
sample is a fresh process that receives until the end, loops over the values and adds up their ids:

    ours, bincode      `TypedReceiveChannel(..., Record).batches()`, every checksum checked
    ours, unchecked    the same, and the sender sends no checksums
    ours, msgpack      the same frames, with what msgspec makes of the payload; and unchecked, too
    Rust               the crate async-io-typed 3.0.0 itself, checked, sent by the same process,
                       over a socket as it is: it asks the system for each length and each payload
    Rust, buffered     the same with 256 KiB between the crate and the socket, which is for its user
                       to think of
    asyncio, msgpack   `StreamReader.readexactly`, twice for each message; msgspec decodes
    uvloop, msgpack    the same under uvloop's loop
    slices, msgpack    by hand, in plain trio: what is left and what came, added, and slices of it
    offsets, msgpack   by hand: a `bytearray` and slices, what was taken deleted at the end

asyncio and the loops by hand have lengths of 4 bytes, and no checksums; so what is held against
them is ours with msgpack and without checksums. The loops receive with
`receive_some()`, which takes 64 KiB at the most, and once more with 256 KiB, which is what ours
asks for; the quickest of the four is the one to beat. Rust is left out where it was not built: it
is the program in tests/interop, which `cargo build --release` makes there.

The last table is of messages that lie in the buffer: `await receive()`, checked, beside a bare
`await trio.lowlevel.checkpoint()`, in short samples taken in turn in one process.

How to read it: nanoseconds for each message, lower is better. CPU time is the receiver's alone;
wall time is the sender's, too, where the receiver waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import msgspec
import trio
from _loops import ASYNCIO, HAS_UVLOOP, TRIO, UVLOOP, remark_if_missing, run
from _measure import HERE, Contest, Options, Report, Stopwatch, peer
from _messages import by_rival, contests, of_trio

from trio_bytesbuf import SocketStream
from trio_bytesbuf.wire import Bincode, MessageEncoder, MsgpackCodec, TypedReceiveChannel, u64

PAYLOAD = bytes(100)
IN_BODY = 1000
"""How many messages the sender repeats; their ids are 0 to 999."""

AT_HAND = 100
READ_NBYTES = 262_144
PREFIX_NBYTES = 4

RUST_AT_MOST = 1 / 0.25
"""What was promised: a quarter of the Rust crate's own rate,"""

ASYNCIO_AT_MOST = 1 / 1.5
"""1.5 times the speed of msgspec over asyncio's streams, with msgspec,"""

TO_HAND_AT_MOST = 1 / 0.7
"""0.7 times the speed of what is written by hand, with msgspec, and"""

CHECKPOINTS_AT_MOST = 2.0
"""two bare checkpoints for a `receive()`."""

OURS, UNCHECKED = "ours, bincode", "ours, unchecked"
MSGPACK, BARE = "ours, msgpack", "ours, msgpack, unchecked"
RUST, BUFFERED, BY_ASYNCIO = "Rust", "Rust, buffered", "asyncio, msgpack"


@attrs.define
class Record:
    """A message."""

    id: u64
    name: str
    payload: bytes


class MsgspecRecord(msgspec.Struct, array_like=True):
    """The same, for msgspec."""

    id: int
    name: str
    payload: bytes


NAMES = [f"record {number}" for number in range(IN_BODY)]
RECORDS = [Record(number, name, PAYLOAD) for number, name in enumerate(NAMES)]
STRUCTS = [MsgspecRecord(number, name, PAYLOAD) for number, name in enumerate(NAMES)]

RECORD, PACKED = Bincode(Record), MsgpackCodec(MsgspecRecord)
decode = msgspec.msgpack.Decoder(MsgspecRecord).decode


# What is sent


def in_frames(
    codec: object, values: Sequence[object], *, checked: bool
) -> tuple[bytes, bytes, bytes]:
    """Return what is sent before all messages, the messages, and the end."""
    encoder: MessageEncoder[object] = MessageEncoder(codec, sends_checksums=checked)
    first = bytes(encoder.encode(values[0]))
    body = [bytes(encoder.encode(value)) for value in values]
    return first.removesuffix(body[0]), b"".join(body), bytes(encoder.encode_end())


def behind_lengths(count: int) -> tuple[bytes, bytes, bytes]:
    """The same for a length of four bytes, the highest first, and msgpack."""
    payloads = [msgspec.msgpack.encode(value) for value in STRUCTS[:count]]
    return b"", b"".join(len(each).to_bytes(4, "big") + each for each in payloads), b""


SENT: dict[str, Callable[[int], tuple[bytes, bytes, bytes]]] = {
    "checked": lambda count: in_frames(RECORD, RECORDS[:count], checked=True),
    "unchecked": lambda count: in_frames(RECORD, RECORDS[:count], checked=False),
    "msgpack": lambda count: in_frames(PACKED, STRUCTS[:count], checked=True),
    "bare": lambda count: in_frames(PACKED, STRUCTS[:count], checked=False),
    "lengths": behind_lengths,
}


@contextlib.contextmanager
def sending(what: str, bodies: int, port: int) -> Iterator[None]:
    """Have a process call this port and send so many thousands of messages."""
    with tempfile.TemporaryDirectory() as folder:
        for name, part in zip(("head", "body", "tail"), SENT[what](IN_BODY), strict=True):
            Path(folder, name).write_bytes(part)
        with peer("repeat", port, folder, bodies):
            yield


# Who receives it; each returns how many messages there were, and the sum of their ids


async def with_ours(connection: socket.socket, codec: object) -> tuple[int, int]:
    """Receive in batches."""
    stream = SocketStream(trio.socket.from_stdlib_socket(connection))
    channel: TypedReceiveChannel[Record] = TypedReceiveChannel(stream, codec)
    count = total = 0
    async for batch in channel.batches():
        for record in batch:
            total += record.id
            count += 1
    return count, total


async def with_slices(connection: socket.socket, size: int | None) -> tuple[int, int]:
    """Cut messages by hand out of bytes."""
    stream = of_trio(connection)
    length = struct.Struct(">I").unpack_from
    count = total = 0
    rest = b""
    while chunk := await stream.receive_some(size):
        data = rest + chunk
        at, stop = 0, len(data)
        while (start := at + PREFIX_NBYTES) <= stop:
            end = start + length(data, at)[0]
            if end > stop:
                break
            total += decode(data[start:end]).id
            at = end
            count += 1
        rest = data[at:]
    return count, total


async def with_offsets(connection: socket.socket, size: int | None) -> tuple[int, int]:
    """Cut messages by hand out of a bytearray."""
    stream = of_trio(connection)
    length = struct.Struct(">I").unpack_from
    count = total = 0
    buffer = bytearray()
    while chunk := await stream.receive_some(size):
        buffer += chunk
        at, stop = 0, len(buffer)
        while (start := at + PREFIX_NBYTES) <= stop:
            end = start + length(buffer, at)[0]
            if end > stop:
                break
            total += decode(buffer[start:end]).id
            at = end
            count += 1
        del buffer[:at]
    return count, total


async def with_asyncio(connection: socket.socket) -> tuple[int, int]:
    """Read a length and a payload, one by one."""
    reader, writer = await asyncio.open_connection(sock=connection)
    count = total = 0
    try:
        while True:
            prefix = await reader.readexactly(PREFIX_NBYTES)
            total += decode(await reader.readexactly(int.from_bytes(prefix, "big"))).id
            count += 1
    except asyncio.IncompleteReadError:
        writer.close()
        return count, total


BY_HAND = {
    "slices, msgpack": partial(with_slices, size=None),
    "slices, 256 KiB": partial(with_slices, size=READ_NBYTES),
    "offsets, msgpack": partial(with_offsets, size=None),
    "offsets, 256 KiB": partial(with_offsets, size=READ_NBYTES),
}
Receive: TypeAlias = Callable[[socket.socket], Awaitable[tuple[int, int]]]

RIVALS: dict[str, tuple[str, str, Receive]] = {
    OURS: ("checked", TRIO, partial(with_ours, codec=RECORD)),
    UNCHECKED: ("unchecked", TRIO, partial(with_ours, codec=RECORD)),
    MSGPACK: ("msgpack", TRIO, partial(with_ours, codec=PACKED)),
    BARE: ("bare", TRIO, partial(with_ours, codec=PACKED)),
    BY_ASYNCIO: ("lengths", ASYNCIO, with_asyncio),
    **({"uvloop, msgpack": ("lengths", UVLOOP, with_asyncio)} if HAS_UVLOOP else {}),
    **{name: ("lengths", TRIO, each) for name, each in BY_HAND.items()},
}


def sample(rival: str, bodies: int) -> dict[str, float]:
    """Receive in this process, or have Rust do it; return nanoseconds for each message."""
    if rival in (RUST, BUFFERED):
        return sample_of_rust(bodies, READ_NBYTES if rival == BUFFERED else 0)
    what, loop, receive = RIVALS[rival]
    watch = Stopwatch()

    async def timed(connection: socket.socket) -> tuple[int, int]:
        with watch:
            return await receive(connection)

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        sending(what, bodies, listener.getsockname()[1]),
        listener.accept()[0] as connection,
    ):
        connection.setblocking(False)
        count, total = run(loop, timed, connection)
    assert count == bodies * IN_BODY, f"{count} of {bodies * IN_BODY} messages"
    assert total == bodies * sum(range(IN_BODY)), "these are other messages"
    return {"cpu": watch.cpu / count * 1e9, "wall": watch.wall / count * 1e9}


# The crate


def build() -> str | None:
    """Build the program in tests/interop, if need be, and return where it is; None if it is not."""
    manifest = HERE.parent / "tests" / "interop" / "Cargo.toml"
    if shutil.which("cargo") is None or not manifest.exists():
        return None
    target = Path(tempfile.gettempdir(), "trio_bytesbuf_interop")
    command = ["cargo", "build", "--release", "--locked", "--manifest-path", str(manifest)]
    done = subprocess.run([*command, "--target-dir", str(target)], capture_output=True, check=False)
    return None if done.returncode else str(target / "release" / "interop")


def sample_of_rust(bodies: int, buffer_nbytes: int) -> dict[str, float]:
    """Let the crate receive from the same sender."""
    program = build()
    assert program is not None
    words = ["bench-receive", str(bodies * IN_BODY)]
    if buffer_nbytes:
        words += ["--buffer", str(buffer_nbytes)]
    with subprocess.Popen(
        [program, *words, "--payload", "bytes"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with sending("checked", bodies, port):
            said = json.loads(process.stdout.readline())
    assert "error" not in said, said
    return {
        "cpu": said["cpu_seconds"] / said["count"] * 1e9,
        "wall": said["seconds"] / said["count"] * 1e9,
    }


def compared(report: Report, turns: int, bodies: int) -> None:
    """Measure all of them, print the table and say what became of the promises."""
    has_rust = build() is not None
    if not has_rust:
        report.remark("the Rust crate was not measured: tests/interop cannot be built here")
    names = [*RIVALS, RUST, BUFFERED] if has_rust else [*RIVALS]
    work: dict[str, dict[str, object]] = {name: {"rival": name, "bodies": bodies} for name in names}
    cpu, wall = contests(__file__, "", work, turns)
    title = f"Typed messages over loopback TCP, {turns} turns of {bodies * IN_BODY:,}"
    report.add(by_rival(title, (cpu, wall), OURS), (cpu, wall))
    others = [name for name in RIVALS if not name.startswith("ours")]
    report.headline("typed messages, msgpack", cpu, BARE, others, at_most=TO_HAND_AT_MOST)
    if has_rust:
        report.headline("typed messages, bincode", cpu, OURS, [RUST], at_most=RUST_AT_MOST)
    for each in (cpu, wall):
        words = f"{each.work} time of"
        if has_rust:
            report.promised(f"{words} {OURS} ÷ {RUST}", RUST_AT_MOST, each.ratio(OURS, RUST))
            ratio = each.ratio(OURS, BUFFERED)
            report.remark(f"{words} {OURS} ÷ {BUFFERED}: {ratio:.2f}")
        best = min(BY_HAND, key=each.median)
        for ours, say in ((BARE, report.promised), (MSGPACK, None)):
            for rival, at_most in ((BY_ASYNCIO, ASYNCIO_AT_MOST), (best, TO_HAND_AT_MOST)):
                ratio = each.ratio(ours, rival)
                if say is None:
                    report.remark(f"{words} {ours} ÷ {rival}: {ratio:.2f}")
                else:
                    say(f"{words} {ours} ÷ {rival}", at_most, ratio)


# Messages that are in the buffer


async def nanoseconds_of(call: Callable[[], Awaitable[object]], number: int) -> float:
    """Return how long one of `number` calls takes."""
    start = time.perf_counter_ns()
    for _ in range(number):
        await call()
    return (time.perf_counter_ns() - start) / number


async def at_hand(samples: int) -> dict[str, dict[str, list[float]]]:
    """Take short samples in turn: receiving what is in the buffer, and bare checkpoints."""
    took: dict[str, dict[str, list[float]]] = {}
    for name, what, codec in ((OURS, "checked", RECORD), (MSGPACK, "msgpack", PACKED)):
        head, messages, _ = SENT[what](AT_HAND + 1)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stream = SocketStream(trio.socket.from_stdlib_socket(ours))
        channel: TypedReceiveChannel[Any] = TypedReceiveChannel(stream, codec)
        took[name] = {"receive": [], "checkpoint": []}
        with theirs:
            theirs.sendall(head)
            for _ in range(samples):
                theirs.sendall(messages)
                await channel.receive()  # which brings the others, too
                took[name]["receive"].append(await nanoseconds_of(channel.receive, AT_HAND))
                assert channel.try_receive() is None
                bare = await nanoseconds_of(trio.lowlevel.checkpoint, AT_HAND)
                took[name]["checkpoint"].append(bare)
            await channel.aclose()
    return took


def main() -> None:
    """Measure and print."""
    options = Options.parse(__doc__)
    options.answer(sample)
    report = Report()
    remark_if_missing(report)
    turns, bodies, samples = (3, 100, 300) if options.quick else (11, 500, 3_000)
    compared(report, turns, bodies)
    each = [Contest(title, "ns", took) for title, took in trio.run(at_hand, samples).items()]
    report.compare(f"Messages in the buffer, {samples} samples of {AT_HAND}", each)
    for contest in each:
        ratio = contest.ratio("receive", "checkpoint")
        words = f"await receive() of {contest.work} ÷ a bare checkpoint"
        report.promised(words, CHECKPOINTS_AT_MOST, ratio)
    options.finish(report)


if __name__ == "__main__":
    main()
