"""`dump`: what is in a stream of messages is told, whatever it is; nothing crashes or hangs."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from programs import PATIENCE, running

from trio_bytesbuf import (
    BytesView,
    ChecksumHandshakeFailed,
    ChecksumMismatch,
    MessageTooLarge,
    ProtocolVersionMismatch,
    UnexpectedEof,
)
from trio_bytesbuf.cli import main
from trio_bytesbuf.cli._picture import Picture, printable
from trio_bytesbuf.cli._screen import plain
from trio_bytesbuf.cli._walk import Goodbye, Header, Item, Message, Problem, Stop, Walker
from trio_bytesbuf.io import Capture, CaptureEvent, Direction
from trio_bytesbuf.wire import (
    Codec,
    MessageDecoder,
    MessageEncoder,
    MessageEvent,
    ProtocolVersion,
    ViewCodec,
    u8,
)
from trio_bytesbuf.wire._checksum import KEY, siphash_for

IN, OUT = Direction.RECEIVED, Direction.SENT
VERSIONS = [None, ProtocolVersion.V1, ProtocolVersion.V2]


@attrs.frozen
class Greeting:
    """What the messages of these tests are."""

    number: u8
    text: str


class Odd(Codec[object]):
    """A codec that goes wrong in ways that nobody expects."""

    def encode(self, value: object) -> bytes:
        raise NotImplementedError

    def decode(self, payload: Any) -> object:
        data = bytes(payload)
        if data[:1] == b"\1":
            raise RecursionError
        if data[:1] == b"\2":
            return Unspeakable()
        return data.decode("latin-1")


class Unspeakable:
    """An object whose repr goes wrong."""

    def __repr__(self) -> str:
        raise ZeroDivisionError("\x1b[2J")


def stream_of(
    *payloads: bytes, version: int = 2, checksums: bool = True, end: bool = True
) -> bytes:
    """The bytes of a stream of messages."""
    encoder = MessageEncoder(ViewCodec(), version=version, sends_checksums=checksums)
    data = encoder.encode_header() + encoder.encode_many(map(BytesView, payloads))
    return data + encoder.encode_end() if end else data


def greetings(*texts: str, **options: Any) -> bytes:
    """A stream of greetings."""
    parts = [bytes([at, len(text)]) + text.encode() for at, text in enumerate(texts)]
    return stream_of(*parts, **options)


def checksum(payload: bytes) -> str:
    """A checksum as the dump writes it."""
    return f"{siphash_for('this test')(KEY, payload):016x}"


def walked(
    data: bytes, cuts: list[int], version: ProtocolVersion | None, max_nbytes: int
) -> tuple[list[Item], Walker]:
    """All items of bytes that come in pieces."""
    walker = Walker(version, max_nbytes)
    items = []
    edges = [0, *sorted(cuts), len(data)]
    for start, stop in itertools.pairwise(edges):
        walker.feed(BytesView(data[start:stop]))
        items += iter(walker.next_item, None)
    walker.feed_eof()
    items += iter(walker.next_item, None)
    return items, walker


# What stands where


def decoded(data: bytes, version: ProtocolVersion | None, max_nbytes: int) -> list[object]:
    """What a `MessageDecoder` says of the same bytes."""
    decoder = MessageDecoder(ViewCodec(), version=version, max_nbytes=max_nbytes)
    decoder.feed(data)
    decoder.feed_eof()
    found: list[object] = []
    while True:
        try:
            event = decoder.next_event()
        except ChecksumMismatch as exc:
            found.append((exc.sent, exc.computed))
        except (
            MessageTooLarge,
            ProtocolVersionMismatch,
            ChecksumHandshakeFailed,
            UnexpectedEof,
        ):
            return [*found, "problem"]
        else:
            if event is MessageEvent.END:
                return [*found, "end"]
            found.append(event)


def as_decoded(items: list[Item]) -> list[object]:
    """The same of the walker's items."""
    found: list[object] = []
    for item in items:
        match item:
            case Message():
                wrong = (item.checksum, item.computed)
                found.append(item.payload if item.is_right else wrong)
            case Goodbye() | Stop():
                found.append("end")
            case Problem():
                found.append("problem")
    return found


def near_streams() -> st.SearchStrategy[bytes]:
    """Streams, parts of streams, changed streams, and anything else."""

    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        payloads = draw(st.lists(st.one_of(st.binary(max_size=9), st.just(bytes(260))), max_size=4))
        version = draw(st.sampled_from([1, 2]))
        checksums, end = draw(st.booleans()), draw(st.booleans())
        data = bytearray(stream_of(*payloads, version=version, checksums=checksums, end=end))
        for at in draw(st.lists(st.integers(0, max(0, len(data) - 1)), max_size=2)):
            data[at : at + 1] = draw(
                st.sampled_from([b"", b"\0", b"\xfc", b"\xfd", b"\xff", b"\2"])
            )
        return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)

    return st.one_of(changed(), st.binary(max_size=40))


@given(near_streams(), st.data())
def test_what_is_walked_is_what_is_decoded(data: bytes, drawn: st.DataObject) -> None:
    """The messages, checksums, ends and problems of a `MessageDecoder`; every byte in its place."""
    version = drawn.draw(st.sampled_from(VERSIONS))
    max_nbytes = drawn.draw(st.sampled_from([5, 300]))
    cuts = drawn.draw(st.lists(st.integers(0, len(data)), max_size=5))
    items, walker = walked(data, cuts, version, max_nbytes)
    assert as_decoded(items) == decoded(data, version, max_nbytes)

    at = 0
    for item in items:  # each begins where the one before it ends
        assert item.offset == at
        match item:
            case Header():
                at += 9 if item.version is ProtocolVersion.V2 else 0
            case Message():
                after = b"" if item.checksum is None else item.checksum.to_bytes(8, "little")
                whole = item.prefix + bytes(item.payload) + after
                assert data[at : at + len(whole)] == whole
                at += len(whole)
            case Goodbye():
                at += 1
    assert walker.is_over
    assert walker.offset == at
    assert walker.behind_nbytes == len(data) - at
    assert walker.behind == data[at : at + 64]
    assert walker.messages == sum(isinstance(item, Message) for item in items)
    assert walker.waiting_nbytes == 0


@given(near_streams(), st.sampled_from([None, Odd(), ViewCodec()]), st.integers(0, 40))
def test_whatever_the_bytes_lines_are_printable_and_not_wide(
    data: bytes, codec: Codec[object] | None, shown_nbytes: int
) -> None:
    """ASCII that a terminal takes, 80 columns where no value is told; and totals that add up."""
    walker = Walker(None, 300)
    picture = Picture(walker, codec, shown_nbytes)
    walker.feed(BytesView(data))
    walker.feed_eof()
    lines = [plain(line) for line in (*picture.lines(), *picture.last_lines())]
    for line in lines:
        assert line.endswith("\n")
        assert line[:-1].isprintable()
        assert codec is not None or "wrong" in line or len(line) <= 81, line
    assert picture.totals().startswith(f"{walker.messages:,} message")
    assert f"{len(data):,} byte" in picture.totals()
    is_bad = any("wrong" in line or "no value" in line for line in lines)
    assert is_bad == ("problem" in picture.totals())


def test_what_cannot_be_printed_is_escaped() -> None:
    """Control characters, and those that turn the direction of writing round."""
    assert printable("\x1b[2J\u202e\xe9 a\n") == "\\x1b[2J\\u202e\xe9 a\\n"


# The program


def dumped(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str], str]:
    """Run the command in this process: its exit code, its lines, and what it complains of."""
    try:
        code: Any = main(["dump", *map(str, arguments)])
    except SystemExit as exc:
        code = exc.code
    out, err = capfd.readouterr()
    return code, out.splitlines(), err


def test_a_file_is_shown_message_by_message(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Offsets, lengths, checksums, and bytes; as many of them as one wants."""
    path = tmp_path / "stream"
    path.write_bytes(greetings("hello", "x" * 20))
    first, second = checksum(b"\0\5hello"), checksum(b"\1\x14" + b"x" * 20)
    code, lines, err = dumped(capfd, path)
    assert (code, err) == (0, "")
    assert lines == [
        "00000000  version 2, with checksums",
        f"00000009  message 1: 7 bytes, checksum {first} right",
        "          00 05 68 65 6c 6c 6f                              |..hello|",
        f"00000019  message 2: 22 bytes, checksum {second} right",
        "          01 14 78 78 78 78 78 78  78 78 78 78 78 78 78 78  |..xxxxxxxxxxxxxx|",
        "          78 78 78 78 78 78                                 |xxxxxx|",
        "00000038  goodbye",
        "2 messages, 57 bytes",
    ]
    code, lines, _ = dumped(capfd, path, "--show", 3)
    assert lines[2] == "          00 05 68                                          |..h|"
    assert lines[3] == "          and 4 bytes more"
    code, lines, _ = dumped(capfd, path, "--show", 0)
    assert [line[:19] for line in lines] == [
        "00000000  version 2", "00000009  message 1", "00000019  message 2", "00000038  goodbye",
        "2 messages, 57 byte",
    ]  # fmt: skip


def test_values_are_shown_of_a_type_or_by_a_codec(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is no value is told, its bytes are shown, and the code is 1."""
    path = tmp_path / "stream"
    path.write_bytes(greetings("hello", "all"))
    for name in ("test_dump:Greeting", "test_dump:Types.greeting"):
        code, lines, _ = dumped(capfd, path, "--type", name)
        assert code == 0
        assert "          Greeting(number=0, text='hello')" in lines
        assert "          Greeting(number=1, text='all')" in lines
    code, lines, _ = dumped(capfd, path, "--type", "builtins:bool")
    assert code == 1
    assert lines[2].startswith("          no value: the value, at byte 1: ")
    assert lines[3] == "          00 05 68 65 6c 6c 6f                              |..hello|"
    assert lines[-1] == "2 messages, 40 bytes, 2 problems"

    path.write_bytes(stream_of(b"\1", b"\2", b"\x1b]0;mine\a", b"y" * 500))
    code, lines, _ = dumped(capfd, path, "--type", "test_dump:ODD", "--show", 30)
    assert code == 1
    assert "          no value: RecursionError()" in lines
    assert "          no value: \\x1b[2J" in lines
    assert r"          '\x1b]0;mine\x07'" in lines
    assert lines[-4:-2] == ["          '" + "y" * 29, "          and 472 characters more"]


class Types:
    """Where a type may be found."""

    greeting = Greeting


ODD = Odd()


def test_what_is_wrong_is_told_where_it_is(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One message with another checksum, which is passed by; and each way for a stream to end."""
    path = tmp_path / "stream"
    good = greetings("hello", "all")
    changed = bytearray(good)
    changed[12] ^= 1
    path.write_bytes(changed)
    code, lines, _ = dumped(capfd, path)
    assert code == 1
    sent, computed = checksum(b"\0\5hello"), checksum(bytes(changed[10:17]))
    assert lines[1] == f"00000009  message 1: 7 bytes, checksum {sent} wrong, {computed} computed"
    assert lines[-2:] == ["00000027  goodbye", "2 messages, 40 bytes, 1 problem"]
    v2 = ("--version", 2)
    for data, offset, complaint, options in (
        (good[:20], 9, "the end, in the middle of a message of 7 bytes: 5 bytes are missing", ()),
        (good[:5], 0, "the end, in the middle of a header: 4 bytes are missing", ()),
        (good[:9] + b"\xfd\1", 9, "the end, in the middle of a length: 3 bytes are missing", ()),
        (b"\3" + good[1:], 0, "another version of the protocol, 3, or another protocol", v2),
        (good[:8] + b"\7", 0, "07 behind the version, where 02 or 03 says if there are checksums",
         ()),
        (good, 9, "the length of a message of 7 bytes, more than the 6 that one may have",
         ("--max-bytes", 6)),
    ):  # fmt: skip
        path.write_bytes(data)
        code, lines, err = dumped(capfd, path, *options)
        assert (code, err) == (1, "")
        assert f"{offset:08x}  wrong: {complaint}" in lines
        assert lines[-1].endswith("1 problem")
    for data, last in (
        (good[:-1], "00000027  the end, without a goodbye"),
        (b"", "00000000  the end, without a goodbye"),
        (good + b"more", "          6d 6f 72 65                                       |more|"),
    ):
        path.write_bytes(data)
        code, lines, err = dumped(capfd, path)
        assert (code, err, lines[-2]) == (0, "", last)


def test_odd_lengths_and_version_1(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A length that is written at more length than it need be is shown; there is no header."""
    path = tmp_path / "stream"
    path.write_bytes(b"\1a\xfc\1\0b\xff\0")
    expected = [
        "00000000  version 1, without checksums",
        "00000000  message 1: 1 byte",
        "          61                                                |a|",
        "00000002  message 2: 1 byte (as fc 01 00)",
        "          62                                                |b|",
        "00000006  message 3: 0 bytes",
        "00000007  goodbye",
        "3 messages, 8 bytes",
    ]
    for options in ((), ("--version", 1)):
        assert dumped(capfd, path, *options) == (0, expected, "")


def test_each_direction_of_a_capture_has_its_type(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What was sent and what was received may be of two types; `--type` is of the one not given."""
    talk = Capture([CaptureEvent(0, OUT, greetings("ask")), CaptureEvent(1, IN, greetings("no"))])
    path = tmp_path / "talk"
    talk.save(path)
    greeting, other = "test_dump:Greeting", "builtins:bytes"
    for options, count in (
        (("--sent", greeting, "--received", greeting), 2),
        (("--sent", greeting), 1),
        (("--received", greeting, "--type", greeting), 2),
        (("--type", other, "--sent", greeting), 1),
        ((), 0),
    ):
        _, lines, _ = dumped(capfd, path, *options)
        assert sum("Greeting(" in line for line in lines) == count, options


def test_a_capture_is_shown_in_its_order(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With times, both directions, errors and ends; each direction has its own offsets."""
    ask, answer = greetings("ask"), greetings("answer", end=False)
    talk = Capture(
        [
            CaptureEvent(0, OUT, ask[:12]),
            CaptureEvent(1_500_000, OUT, ask[12:]),
            CaptureEvent(2_000_000, IN, answer),
            CaptureEvent(3_000_000_000, IN, error="Broken\x1b: reset"),
            CaptureEvent(3_000_000_000, IN),
        ]
    )
    path = tmp_path / "talk"
    talk.save(path)
    code, lines, err = dumped(capfd, path, "--type", "test_dump:Greeting")
    assert (code, err) == (1, "")  # because of the error
    assert [re.sub(r"checksum \w+", "checksum", line) for line in lines] == [
        "  0.000000 > 00000000  version 2, with checksums",
        "  0.001500 > 00000009  message 1: 5 bytes, checksum right",
        "          Greeting(number=0, text='ask')",
        "  0.001500 > 00000017  goodbye",
        "  0.002000 < 00000000  version 2, with checksums",
        "  0.002000 < 00000009  message 1: 8 bytes, checksum right",
        "          Greeting(number=0, text='answer')",
        "  3.000000 <           Broken\\x1b: reset",
        "  3.000000 < 0000001a  the end, without a goodbye",
        "< received: 1 message, 26 bytes",
        "> sent: 1 message, 24 bytes",
    ]
    path.write_bytes(talk.to_bytes()[:-20])
    code, lines, _ = dumped(capfd, path)
    assert code == 1
    assert (
        f"this is not all: its file was cut short, and ends at byte {path.stat().st_size}" in lines
    )
    damaged = bytearray(talk.to_bytes())
    damaged[20] ^= 1
    path.write_bytes(damaged)
    code, lines, err = dumped(capfd, path)
    assert (code, lines) == (1, [])
    assert "this is no capture: at byte" in err


def test_what_cannot_be_shown_is_one_line_and_1(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """No such file, no such type, nobody who listens; a wrong command line is 2."""
    path = tmp_path / "stream"
    path.write_bytes(greetings("hello"))
    for arguments, code, words in (
        ((tmp_path / "none",), 1, "is no file that is there, and no address (HOST:PORT"),
        ((tmp_path,), 1, "Is a directory"),
        (("127.0.0.1:1",), 1, "cannot open 127.0.0.1:1: Connection refused"),
        ((f"unix:{tmp_path}/none",), 1, "No such file or directory"),
        (("127.0.0.1:0",), 1, "no address"),
        ((path, "--type", "no_such_module:x"), 2, "No module named 'no_such_module'"),
        ((path, "--type", "test_dump"), 2, "is not of the form MODULE:TYPE"),
        ((path, "--type", "test_dump:nothing"), 2, "has no attribute 'nothing'"),
        ((path, "--type", "builtins:len"), 2, "no messages are of this type: "),
        ((path, "--version", 3), 2, "invalid choice"),
        ((path, "--show", -1), 2, "no number from 0 upwards"),
        ((path, "--max-bytes", "x"), 2, "no number of bytes"),
    ):
        found, lines, err = dumped(capfd, *arguments)
        assert (found, lines) == (code, []), arguments
        assert words in err
        assert "Traceback" not in err
    if Path("/dev/full").exists():
        with Path("/dev/full").open("w") as full, contextlib.redirect_stdout(full):
            assert main(["dump", str(path)]) == 1
        assert "cannot write: No space left on device" in capfd.readouterr().err


def test_without_the_package_checksums_are_told_and_not_checked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would have to be installed is said once."""
    monkeypatch.setitem(sys.modules, "siphashc", None)
    path = tmp_path / "stream"
    path.write_bytes(bytes.fromhex("020000000000000002 0161 0000000000000000 00"))
    code, lines, _ = dumped(capfd, path)
    assert code == 0
    assert lines[1] == "00000009  message 1: 1 byte, checksum 0000000000000000 not checked"
    assert lines[-1] == "checksums were not checked: pip install 'trio_bytesbuf[checksum]'"


# Where the bytes come from, and who reads of them


async def test_an_address_is_read_from_until_a_peer_ends_or_breaks(tmp_path: Path) -> None:
    """TCP and a Unix socket, by its address or its path; messages are shown as they come."""
    address = f"unix:{tmp_path}/socket"
    for name in (address, address.removeprefix("unix:")):
        with trio.socket.socket(trio.socket.AF_UNIX) as listening:
            await listening.bind(address.removeprefix("unix:"))
            listening.listen(1)
            async with running("dump", name) as program:
                peer, _ = await listening.accept()
                data = greetings("hello", "all")
                with peer:
                    await peer.send(data[:30])
                    await program.line_with("message 1: 7 bytes")
                    await peer.send(data[30:])
                    await program.line_with("goodbye")
                last = await program.line_with("2 messages, 40 bytes")
                assert await program.end(last) == (0, "2 messages, 40 bytes", "")
        await trio.Path(address.removeprefix("unix:")).unlink()

    with trio.socket.socket() as listening:
        await listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        async with running("dump", f"127.0.0.1:{listening.getsockname()[1]}") as program:
            peer, _ = await listening.accept()
            await peer.send(greetings("hello", end=False))
            await program.line_with("message 1: 7 bytes")
            linger = struct.pack("ii", 1, 0)
            peer.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, linger)
            peer.close()
            assert await program.line_with("cannot read") == (
                "wrong: cannot read: Connection reset by peer"
            )
            code, _, err = await program.end()
            assert (code, err) == (1, "")


def run(
    *arguments: str, stdin: bytes | int | None = None, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run the command as a program of its own."""
    how = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "trio_bytesbuf", "dump", *arguments],
        capture_output=True,
        timeout=PATIENCE,
        **how,
        **options,
    )


def test_standard_input_may_be_a_pipe_a_file_nothing_or_not_there(tmp_path: Path) -> None:
    """Captures too; a FIFO is read as a file."""
    data = greetings("hello")
    path = tmp_path / "talk"
    Capture([CaptureEvent(0, OUT, data)]).save(path)
    assert b"message 1: 7 bytes" in run("-", stdin=data).stdout
    assert b"> 00000009  message 1: 7 bytes" in run("-", stdin=path.read_bytes()).stdout
    with path.open("rb") as file:
        assert b"> 00000009  message 1: 7 bytes" in run("-", stdin=file.fileno()).stdout
    done = run("-", stdin=subprocess.DEVNULL)
    assert done.stdout == b"00000000  the end, without a goodbye\n0 messages, 0 bytes\n"
    done = run("-", preexec_fn=lambda: os.close(0))
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"there is no standard input" in done.stderr
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(["sh", "-c", f"cat '{path}' > '{fifo}'"]):
        assert b"> 00000009  message 1: 7 bytes" in run(str(fifo)).stdout


ENDLESS = "import os\nwhile True: os.write(1, b'\\5hello' * 1000)"


@contextlib.contextmanager
def endless_dump(**options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Dump a stream that has no end; yields the program."""
    with (
        subprocess.Popen(
            [sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as source,
        subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "trio_bytesbuf", "dump", "-"],
            stdin=source.stdout,
            stderr=subprocess.PIPE,
            **options,
        ) as program,
    ):
        try:
            yield program
        finally:
            source.kill()
            program.kill()


def test_whoever_has_seen_enough_closes_the_pipe() -> None:
    """As `head` does: no traceback, and nothing was wrong."""
    with endless_dump(stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        for _ in range(3):
            program.stdout.readline()
        program.stdout.close()
        assert program.wait(PATIENCE) == 0
        assert program.stderr.read() == b""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="/proc tells who uses memory")
def test_endless_input_costs_no_memory_and_ctrl_c_ends_it_well(tmp_path: Path) -> None:
    """What is shown grows, memory does not; at the end there are the totals."""
    with (tmp_path / "out").open("wb") as out, endless_dump(stdout=out) as program:

        def resident() -> int:
            pages = Path(f"/proc/{program.pid}/statm").read_text().split()[1]
            return int(pages) * os.sysconf("SC_PAGESIZE")

        def shown_to(nbytes: int) -> None:
            while os.fstat(out.fileno()).st_size < nbytes:
                assert program.poll() is None
                select.select([], [], [], 0.01)

        shown_to(1_000_000)
        before = resident()
        shown_to(8_000_000)
        assert resident() - before < 4_000_000
        program.send_signal(signal.SIGINT)
        assert program.wait(PATIENCE) == 0
        assert program.stderr is not None
        assert program.stderr.read() == b""
    last = (tmp_path / "out").read_bytes().splitlines()[-1].decode()
    found = re.fullmatch(r"([\d,]+) messages, ([\d,]+) bytes", last)
    assert found
    messages, nbytes = (int(number.replace(",", "")) for number in found.groups())
    assert messages * 6 <= nbytes < messages * 6 + 70_000  # what is not shown yet


async def test_ctrl_c_while_nobody_says_anything_or_reads_anything() -> None:
    """A silent FIFO, a silent peer and a full pipe hold up nothing."""
    with trio.socket.socket() as listening:
        await listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        async with running("dump", f"127.0.0.1:{listening.getsockname()[1]}") as program:
            peer, _ = await listening.accept()
            with peer:
                await peer.send(greetings("hello", end=False))
                await program.line_with("message 1")
                assert await program.stop() == (0, "1 message, 25 bytes", "")
                peer.close()
    with endless_dump(stdout=subprocess.PIPE) as silent:
        assert silent.stdout is not None
        assert silent.stdout.readline()
        await trio.sleep(0.3)  # the pipe is full by then
        silent.send_signal(signal.SIGINT)
        assert await trio.to_thread.run_sync(silent.wait, PATIENCE) == 0


def on_a_terminal(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command with a terminal of 80 columns; its code, and what the terminal gets."""
    import pty

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    shown = b""
    try:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "trio_bytesbuf", "dump", *arguments],
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color", **environment},
        )
        os.close(theirs)
        theirs = -1
        with contextlib.suppress(OSError):  # EIO: the program has ended
            while data := os.read(ours, 65_536):
                shown += data
        return process.wait(PATIENCE), shown.decode()
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)


def test_a_terminal_shows_colours_unless_it_is_told_not_to(tmp_path: Path) -> None:
    """The same text in either case; a long value is not broken into lines."""
    path = tmp_path / "stream"
    changed = bytearray(greetings("hello", "[bold]y" * 30))
    changed[12] ^= 1
    path.write_bytes(changed)
    lines = run(str(path), "--type", "builtins:str").stdout.decode().splitlines()
    code, shown = on_a_terminal(str(path), "--type", "builtins:str")
    assert code == 1
    assert re.sub(r"\x1b\[[\d;]*m", "", shown).split("\r\n") == [*lines, ""]
    assert "\x1b[1;31m" in shown  # what is wrong
    assert "\x1b[32mright" in shown
    for options, environment in ((["--plain"], {}), ([], {"TERM": "dumb"})):
        code, shown = on_a_terminal(str(path), "--type", "builtins:str", *options, **environment)
        assert (code, shown.split("\r\n")) == (1, [*lines, ""])


def test_no_rich_no_colours(tmp_path: Path) -> None:
    """They come from an extra."""
    path = tmp_path / "stream"
    path.write_bytes(greetings("hello"))
    script = (
        "import sys; sys.modules['rich'] = None\n"
        "from trio_bytesbuf.cli import _main\n"
        "sys.stdout.isatty = lambda: True\n"
        f"sys.exit(_main.main(['dump', {str(path)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == run(str(path)).stdout
