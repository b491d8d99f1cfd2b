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
from bincode_model import encoded
from small_codecs import Raw

from trio_bytesbuf._errors import (
    MessageTooLarge,
    UnexpectedEof,
)
from trio_bytesbuf.testing import FakeWrite, check_laws
from trio_bytesbuf.wire import MessageDecoder, MessageEncoder, MessageEvent, TypedSendChannel

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


# Streams


@each("streams")
def test_streams_are_written_to_the_byte(version: int, case: dict) -> None:
    """Header, lengths, payloads, checksums, goodbye: each message where the crate has it."""
    payloads = [encoded(case["rust_type"], message) for message in case["messages"]]
    assert [len(payload) for payload in payloads] == case["payload_lens"]
    encoder = MessageEncoder(
        Raw(), max_nbytes=case["limit"], sends_checksums=case["checksum"], version=version
    )
    data = b""
    for payload, offset in zip(payloads, case["offsets_after_each_send"], strict=True):
        data += encoder.encode(payload)
        assert len(data) == offset
    data += encoder.encode_end()
    assert len(data) == case["offset_after_close"] == case["len"]
    assert hashlib.sha256(data).hexdigest() == case["sha256"]
    assert data.hex() == case.get("hex", data.hex())


@each("streams")
@pytest.mark.parametrize("size", [1, 4096, None])
def test_streams_are_read_however_they_come(version: int, case: dict, size: int | None) -> None:
    """Byte by byte, in pages, at once; told the version, or finding it out."""
    payloads = [encoded(case["rust_type"], message) for message in case["messages"]]
    options = {"sends_checksums": case["checksum"], "max_nbytes": case["limit"]}
    encoder = MessageEncoder(Raw(), version=version, **options)
    data = encoder.encode_many(payloads) + encoder.encode_end()
    assert hashlib.sha256(data).hexdigest() == case["sha256"]
    if size == 1 and len(data) > 10_000:
        size = len(data) // 1000 | 1
    for expected in (version, None):
        decoder = MessageDecoder(Raw(), max_nbytes=case["limit"], version=expected)
        got = []
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
        assert got == payloads
        assert decoder.version == version
        assert decoder.checks_checksums is case["checksum"]
        check_laws(decoder)


# What a reader makes of bytes


@each("truncation")
def test_every_truncation_is_told_from_an_end(version: int, case: dict) -> None:
    """As many messages as the crate has; then an end where it has one, and an error, not a loop."""
    data = whole(case)
    payloads = [encoded(case["rust_type"], message) for message in case["messages"]]
    assert len(case["rows"]) == len(data) + 1
    for row in case["rows"]:
        decoder = MessageDecoder(Raw(), version=version)
        decoder.feed(data[: row["prefix_len"]])
        count = row["messages_decoded"]
        assert [decoder.next_event() for _ in range(count)] == payloads[:count]
        wanted = {"pending": NEED_DATA, "end": END}[row["connection_left_open"]]
        assert decoder.next_event() is wanted
        decoder.feed_eof()
        if row["eof_as_zero_read"] == "end" or not row["prefix_len"]:
            assert decoder.next_event() is END
        else:
            assert row["eof_as_zero_read"] == "spin"
            with pytest.raises(UnexpectedEof):
                decoder.next_event()


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
        sink, Raw(), max_nbytes=case["limit"], sends_checksums=case["checksum"]
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
                channel.feed(encoded(case["rust_type"], step["value"]))
            elif step["op"] == "drop":
                assert channel.unsent_nbytes == 0
            else:
                value = [encoded(case["rust_type"], step["value"])] if "value" in step else []
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
    channel = TypedSendChannel(sink, Raw(), version=1)
    assert not channel.sends_checksums
    if case["name"] == "send, close, drop":
        await channel.send(encoded("String", "a"))
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
    payload = encoded("String", "y" * 260)
    sink = FakeWrite(max_write_nbytes=1)
    async with TypedSendChannel(sink, Raw(), version=1) as channel:
        await channel.send(payload)
    assert bytes(sink.contents[:8]).hex() == right
    decoder = MessageDecoder(Raw(), version=1)
    for byte in bytes(sink.contents):
        decoder.feed(bytes((byte,)))
        event = decoder.next_event()
        if event is not NEED_DATA:
            assert event in (payload, END)
    assert event is END
