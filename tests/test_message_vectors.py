"""What the real crates wrote and read: async-io-typed 3.0.0 (version 2) and 1.0.4 (version 1).

`vectors/frames.json` and `frames_v1.json` were made by a Rust program that uses them. Where this
library does something else it does so on purpose: the tables below have each case, and why.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import trio
from rust_values import TYPES as ALL_TYPES
from rust_values import DemoKind, value_of

from trio_bytesbuf._errors import (
    ChecksumHandshakeFailed,
    ChecksumMismatch,
    DecodeError,
    MessageTooLarge,
    ProtocolVersionMismatch,
    UnexpectedEof,
)
from trio_bytesbuf.testing import FakeWrite, check_laws
from trio_bytesbuf.wire import MessageDecoder, MessageEncoder, MessageEvent, TypedSendChannel, u8

TYPES = {
    **ALL_TYPES,
    "(Vec<u8>, Vec<u8>)": tuple[bytes, bytes],
    "(u8, u8)": tuple[u8, u8],
    "DemoKind": DemoKind,
}
VECTORS = Path(__file__).parent / "vectors"
FILES = {2: json.loads((VECTORS / "frames.json").read_text())}
FILES[1] = json.loads((VECTORS / "frames_v1.json").read_text())

NEED_DATA, END = MessageEvent.NEED_DATA, MessageEvent.END


def each(part: str):
    """Run a test once for each case of a part of the files."""
    cases = [(version, case) for version, file in FILES.items() for case in file[part]]
    ids = [f"v{version}: {case['name']}" for version, case in cases]
    return pytest.mark.parametrize(("version", "case"), cases, ids=ids)


def test_all_of_the_files_is_looked_at() -> None:
    """The parts that the tests below run through are all there are, and as many as there were."""
    parts = {"crate", "streams", "write_cases", "read_cases", "truncation"}
    assert set(FILES[2]) == parts
    assert set(FILES[1]) == parts | {"defects_1.0.0_to_1.0.2"}
    counts = [len(file[part]) for file in FILES.values() for part in sorted(parts - {"crate"})]
    assert counts == [47, 30, 5, 15, 8, 19, 2, 2]


def whole(case: dict) -> bytes:
    """Return the bytes of a case, which are written in full."""
    data = bytes.fromhex(case["hex"])
    assert hashlib.sha256(data).hexdigest() == case.get("sha256", hashlib.sha256(data).hexdigest())
    return data


def values_of(case: dict) -> list[object]:
    """Return the messages of a case as Python has them."""
    return [value_of(case["rust_type"], message) for message in case["messages"]]


# Streams


@each("streams")
def test_streams_are_written_to_the_byte(version: int, case: dict) -> None:
    """Header, lengths, payloads, checksums, goodbye: each message where the crate has it."""
    encoder: MessageEncoder[object] = MessageEncoder(
        TYPES[case["rust_type"]],
        max_nbytes=case["limit"],
        sends_checksums=case["checksum"],
        version=version,
    )
    data = b""
    for value, offset in zip(values_of(case), case["offsets_after_each_send"], strict=True):
        data += encoder.encode(value)
        assert len(data) == offset
    data += encoder.encode_end()
    assert len(data) == case["offset_after_close"] == case["len"]
    assert hashlib.sha256(data).hexdigest() == case["sha256"]
    assert data.hex() == case.get("hex", data.hex())


@each("streams")
@pytest.mark.parametrize("size", [1, 4096, None])
def test_streams_are_read_however_they_come(version: int, case: dict, size: int | None) -> None:
    """Byte by byte, in pages, at once; told the version, or finding it out."""
    tp, values, limit = TYPES[case["rust_type"]], values_of(case), case["limit"]
    encoder: MessageEncoder[object] = MessageEncoder(
        tp, version=version, sends_checksums=case["checksum"], max_nbytes=limit
    )
    data = encoder.encode_many(values) + encoder.encode_end()
    assert hashlib.sha256(data).hexdigest() == case["sha256"]
    if size == 1 and len(data) > 10_000:
        size = len(data) // 1000 | 1
    for expected in (version, None):
        decoder: MessageDecoder[object] = MessageDecoder(tp, max_nbytes=limit, version=expected)
        got: list[object] = []
        for start in range(0, len(data), size or len(data)):
            decoder.feed(data[start : start + (size or len(data))])
            while (event := decoder.next_event()) not in (NEED_DATA, END):
                got.append(event)
        if event is NEED_DATA:
            assert (data, expected) == (b"\2\0\0\0", None), "which could be version 2 so far"
            decoder.feed_eof()
            got.append(decoder.next_event())
            event = decoder.next_event()
        assert event is END
        assert got == values
        assert decoder.version == version
        assert decoder.checks_checksums is case["checksum"]
        check_laws(decoder)


# What a reader makes of bytes


@each("truncation")
def test_every_truncation_is_told_from_an_end(version: int, case: dict) -> None:
    """As many messages as the crate has; then an end where it has one, and an error, not a loop."""
    data = whole(case)
    values = values_of(case)
    assert len(case["rows"]) == len(data) + 1
    for row in case["rows"]:
        decoder: MessageDecoder[object] = MessageDecoder(TYPES[case["rust_type"]], version=version)
        decoder.feed(data[: row["prefix_len"]])
        count = row["messages_decoded"]
        assert [decoder.next_event() for _ in range(count)] == values[:count]
        wanted = {"pending": NEED_DATA, "end": END}[row["connection_left_open"]]
        assert decoder.next_event() is wanted
        decoder.feed_eof()
        if row["eof_as_zero_read"] == "end" or not row["prefix_len"]:
            assert decoder.next_event() is END
        else:
            assert row["eof_as_zero_read"] == "spin"
            with pytest.raises(UnexpectedEof):
                decoder.next_event()


ERRORS = {
    "ProtocolVersionMismatch": ProtocolVersionMismatch,
    "ChecksumHandshakeFailed": ChecksumHandshakeFailed,
    "ChecksumMismatch": ChecksumMismatch,
    "ReceivedMessageTooLarge": MessageTooLarge,
    "Bincode": DecodeError,
}
FIELDS = {
    "our_version": "ours",
    "their_version": "theirs",
    "checksum_value": "value",
    "sent_checksum": "sent",
    "computed_checksum": "computed",
}
READ_OTHERWISE: dict[str, tuple[list[object], str]] = {
    "limit 10, 1-byte length 11": ([MessageTooLarge], "a limit holds for every length"),
    "limit 10, 1-byte length 251": ([MessageTooLarge], "a limit holds for every length"),
    "limit 10, 1-byte length 201": ([MessageTooLarge], "a limit holds for every length"),
    "limit 0, 1-byte length 1": ([MessageTooLarge], "a limit holds for every length"),
    "nothing at all": ([END], "who connects and hangs up has said nothing, and nothing wrong"),
    "random after header, checksum on": (
        [ChecksumMismatch, UnexpectedEof],
        "an end in the middle is an error and not an endless loop",
    ),
    "short version 1 stream (3 bytes) given to a version 2 reader": (
        [UnexpectedEof],
        "an end in the middle is an error and not an endless loop",
    ),
}
"""By case: what comes of it here, and why. As in the crate, an error of a message is said once.
What ends a stream for good is said again whenever asked, where the crate says that it is over."""

ENDINGS = (MessageTooLarge, ProtocolVersionMismatch, ChecksumHandshakeFailed, UnexpectedEof)


@each("read_cases")
@pytest.mark.parametrize("size", [1, 1000])
def test_whatever_comes_is_answered_as_by_the_crate(version: int, case: dict, size: int) -> None:
    """Values, errors with their fields, ends, in order; and what is left unread is the rest."""
    data = whole(case)
    checks = case.get("reader_checksum", False)
    decoder: MessageDecoder[object] = MessageDecoder(
        TYPES[case["rust_type"]],
        max_nbytes=case.get("limit", 10 if "limit 10" in case["name"] else 1_048_576),
        checks_checksums=checks,
        version=version,
    )
    said: list[object] = []
    errors: list[Exception] = []

    def listen() -> None:
        while not said or (said[-1] is not END and said[-1] not in ENDINGS):
            try:
                event = decoder.next_event()
            except Exception as exc:  # noqa: BLE001  # it is the answer
                errors.append(exc)
                said.append(type(exc))
            else:
                if event is NEED_DATA:
                    return
                said.append(event)

    for start in range(0, len(data), size):
        decoder.feed(data[start : start + size])
        listen()
    while_open = list(said)
    decoder.feed_eof()
    listen()
    results = case["results"]
    wanted: list[object] = []
    for result in results:
        if result == "end":
            wanted.append(END)
        elif "ok" in result:
            wanted.append(value_of(case["rust_type"], result["ok"]))
        elif result != "spin":
            wanted.append(ERRORS[result["err"]])
    if any(error in ENDINGS for error in wanted):
        assert wanted.pop() is END, "the crate says once what is wrong, and then that it is over"
    if case["name"] in READ_OTHERWISE:
        assert said != wanted or "spin" in results
        wanted = READ_OTHERWISE[case["name"]][0]
    else:
        assert "spin" not in results
        told = [result for result in results if isinstance(result, dict) and "err" in result]
        for error, result in zip(errors, told, strict=True):
            for name in FIELDS.keys() & result.keys():
                assert getattr(error, FIELDS[name]) == result[name]
        unread = decoder.take_rest()
        assert data.endswith(bytes(unread))
        if errors and isinstance(errors[-1], ENDINGS):
            # The crate has read what was wrong; here it is still there.
            seen = len(unread) - case["unread_bytes"]
            assert seen in ({8, 9} if wanted[-1] is not MessageTooLarge else {3, 5, 9})
        else:
            assert len(unread) == case["unread_bytes"]
    assert said == wanted
    if "results_if_connection_stays_open" in case:
        assert case["results_if_connection_stays_open"][-1] == "pending"
        assert len(while_open) == len(case["results_if_connection_stays_open"]) - 1
        assert while_open == said[: len(while_open)]
    if "reader_checksum_enabled_after" in case:
        assert decoder.checks_checksums is case["reader_checksum_enabled_after"]


def test_no_case_is_read_otherwise_that_is_not_there() -> None:
    """No entry of the table is left over."""
    names = {case["name"] for file in FILES.values() for case in file["read_cases"]}
    assert set(READ_OTHERWISE) <= names


# What a writer does

CLOSED = trio.ClosedResourceError
WRITTEN_OTHERWISE: dict[tuple[str, int], tuple[object, int, str]] = {
    ("drop with no message", 0): ("ok", 0, "nothing is sent by a finalizer"),
    ("send, drop without close", 1): ("ok", 20, "nothing is sent by a finalizer"),
    ("feed, close (no flush), into_inner", 1): ("ok", 21, "closing never omits the goodbye"),
    ("feed, close (no flush), into_inner", 2): (CLOSED, 21, "what is closed is not given back"),
    ("feed, close (no flush), drop", 1): ("ok", 21, "closing never omits the goodbye"),
    ("send after close", 2): (CLOSED, 21, "a message that is lost is an error"),
    ("send after close", 3): (CLOSED, 21, "and so is what would send it"),
    ("too large, then ok", 1): (MessageTooLarge, 28, "the error that is meant"),
    ("feed too large and ok, flush twice", 0): (MessageTooLarge, 0, "refused when it is fed"),
    ("feed too large and ok, flush twice", 2): ("ok", 21, "so a flush has no old errors"),
    ("first message too large", 0): (MessageTooLarge, 0, "not even a header is sent"),
    ("limit 0 and u8", 0): (MessageTooLarge, 0, "not even a header is sent"),
}
"""By case and step: what comes of it here, how many bytes are written then, and why."""


@pytest.mark.parametrize("case", FILES[2]["write_cases"], ids=lambda case: case["name"])
async def test_scripts_of_a_writer_are_as_in_the_crate(case: dict) -> None:
    """Each step has its result, and has written as many bytes; all bytes are the crate's.

    Not compared is in how many writes: here a message goes with its header, and with others.
    """
    sink = FakeWrite()
    channel = TypedSendChannel(
        sink,
        TYPES[case["rust_type"]],
        max_nbytes=case["limit"],
        sends_checksums=case["checksum"],
    )
    steps = {
        "send": channel.send,
        "flush": channel.flush,
        "close": channel.aclose,
        "into_inner": channel.into_inner,
    }
    is_otherwise = False
    for index, step in enumerate(case["ops"]):
        result, nbytes = step["result"], step["bytes_written_so_far"]
        otherwise = WRITTEN_OTHERWISE.get((case["name"], index))
        if otherwise is not None:
            assert (result, nbytes) != otherwise[:2], "this is no difference any more"
            result, nbytes, _ = otherwise
            is_otherwise = is_otherwise or nbytes != step["bytes_written_so_far"]
        got: object = "ok"
        try:
            if step["op"] == "feed":
                channel.feed(value_of(case["rust_type"], step["value"]))
            elif step["op"] == "drop":
                assert channel.unsent_nbytes == 0
            else:
                value = [value_of(case["rust_type"], step["value"])] if "value" in step else []
                await steps[step["op"]](*value)
        except Exception as exc:  # noqa: BLE001  # it is the result
            got = type(exc)
        assert got == result, step
        assert len(sink.contents) == nbytes, step
        check_laws(channel)
    wanted = whole(case)
    if nbytes == case["len"]:
        assert sink.contents == wanted
    else:
        assert is_otherwise
        written = bytes(sink.contents)
        assert wanted.startswith(written) or written == wanted + b"\0"


def test_every_difference_is_of_a_case() -> None:
    """No entry of the table is left over."""
    steps = {
        (case["name"], index)
        for case in FILES[2]["write_cases"]
        for index in range(len(case["ops"]))
    }
    assert set(WRITTEN_OTHERWISE) <= steps


@pytest.mark.parametrize("case", FILES[1]["write_cases"], ids=lambda case: case["name"])
async def test_scripts_of_a_writer_of_version_1_are_as_in_the_crate(case: dict) -> None:
    """No header, no checksums; nothing at all if nothing is said."""
    sink = FakeWrite()
    channel = TypedSendChannel(sink, str, version=1)
    assert not channel.sends_checksums
    if case["name"] == "send, close, drop":
        await channel.send("a")
        await channel.aclose()
    else:
        assert case["name"] == "flush only, into_inner"
        await channel.flush()
        assert await channel.into_inner() is sink
    assert sink.contents == bytes.fromhex(case["hex"])
    assert case["results"] == ["ok"] * len(case["results"])


async def test_lengths_survive_writes_that_are_cut() -> None:
    """What crates 1.0.0 to 1.0.2 did not: a length of several bytes, written and read in parts."""
    (defect,) = FILES[1]["defects_1.0.0_to_1.0.2"]
    right = defect["short_write_of_length_header"]["crate_1.0.4_first8"]
    sink = FakeWrite(max_write_nbytes=1)
    async with TypedSendChannel(sink, str, version=1) as channel:
        await channel.send("y" * 260)
    assert bytes(sink.contents[:8]).hex() == right
    decoder = MessageDecoder(str, version=1)
    for byte in bytes(sink.contents):
        decoder.feed(bytes((byte,)))
        event = decoder.next_event()
        if event is not NEED_DATA:
            assert event in ("y" * 260, END)
    assert event is END
