"""The bytes of the real crates: bincode 1.3.3, with serde, uuid and chrono."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from rust_values import HOOKS, TYPES, value_of

from trio_bytesbuf import BytesView, DecodeError
from trio_bytesbuf.wire import (
    Bincode,
    ChronoDateTime,
    ChronoNaiveDate,
    ChronoNaiveDateTime,
    ChronoNaiveTime,
    Duration,
    SocketAddrV4,
    SocketAddrV6,
    SystemTime,
    u8,
    u32,
)
from trio_bytesbuf.wire.bincode._explain_decode import explain_decode
from trio_bytesbuf.wire.bincode._explain_encode import explain_encode
from trio_bytesbuf.wire.bincode._runtime import large_u32
from trio_bytesbuf.wire.bincode._values import varint

VECTORS = Path(__file__).parent / "vectors"


def loaded(name: str) -> list[dict[str, Any]]:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


ENCODED = loaded("bincode.json")
DECODED = loaded("bincode_decode.json")
MAX_NBYTES = 4 << 20
MAX_EMPTIES = 1 << 21
"""Rust has no such limit, and a `Vec<()>` of a million among its vectors."""


def codec_of(rust_type: str) -> Bincode[Any]:
    return Bincode(TYPES[rust_type], max_nbytes=MAX_NBYTES, max_empties=MAX_EMPTIES, hooks=HOOKS)


def explained(codec: Bincode[Any], payload: bytes) -> object:
    view = BytesView(payload)
    return explain_decode(
        codec._schema, view, max_nbytes=MAX_NBYTES, max_depth=100, max_empties=MAX_EMPTIES
    )


def is_same(one: object, other: object) -> bool:
    """Say whether two values are equal, and floats to the bit."""
    if isinstance(one, float) and isinstance(other, float):
        return struct.pack("<d", one) == struct.pack("<d", other)
    return type(one) is type(other) and one == other


def in_order(value: object) -> object:
    """Return a set as the sorted list that Rust's ordered sets are written like."""
    return sorted(value) if isinstance(value, set) else value


BY_HAND = [vector for vector in ENCODED if vector["rust_type"].startswith("enum with")]
SETS = [vector for vector in ENCODED if "Set<" in vector["rust_type"]]
VALUES = [vector for vector in ENCODED if vector not in BY_HAND and vector not in SETS]


def name_of(vector: dict[str, Any]) -> str:
    return (
        vector.get("name") or f"{vector['rust_type']} {vector.get('value', vector.get('decode'))}"
    )


@pytest.mark.parametrize("vector", VALUES, ids=name_of)
def test_bincode_wrote_this_value_as_these_bytes(vector: dict[str, Any]) -> None:
    """Each value encodes to the crate's bytes, and these decode to it, on both paths."""
    wire = bytes.fromhex(vector["hex"])
    codec = codec_of(vector["rust_type"])
    value = value_of(vector["rust_type"], vector["value"])
    assert codec.encode(value) == wire
    assert explain_encode(codec._schema, value, max_empties=MAX_EMPTIES, max_depth=100)[0] == wire
    assert codec.encoded_size(value) == len(wire)
    assert is_same(codec.decode(wire), value)
    assert is_same(explained(codec, wire), value)


@pytest.mark.parametrize("vector", SETS, ids=name_of)
def test_bincode_wrote_this_set_as_these_bytes(vector: dict[str, Any]) -> None:
    """A set has no order: its items in Rust's order are these bytes, and these decode to it."""
    wire = bytes.fromhex(vector["hex"])
    tp = TYPES[vector["rust_type"]]
    value = value_of(vector["rust_type"], vector["value"])
    codec = codec_of(vector["rust_type"])
    assert Bincode(list[tp.__args__[0]]).encode(sorted(value)) == wire
    assert codec.decode(wire) == value == explained(codec, wire)
    assert codec.decode(codec.encode(value)) == value
    assert len(codec.encode(value)) == len(wire) == codec.encoded_size(value)


@pytest.mark.parametrize("vector", BY_HAND, ids=name_of)
def test_variants_far_out_are_numbered_as_these_bytes(vector: dict[str, Any]) -> None:
    """The number of a variant is written like any number, for which no Enum need be so large."""
    index = vector["value"]["index"]
    assert varint(index).hex() == large_u32(index).hex() == vector["hex"]
    assert Bincode(u32).encode(index).hex() == vector["hex"]


def test_no_vector_was_lost() -> None:
    """All 434 values and all 62 inputs are there."""
    assert len(VALUES) + len(SETS) + len(BY_HAND) == 434
    assert len(DECODED) == 62
    assert len(json.loads((VECTORS / "types.json").read_text())) == 17


def wire_of(said: str | dict[str, Any]) -> bytes:
    if isinstance(said, str):
        return bytes.fromhex(said)
    return bytes.fromhex(said["prefix"]) + bytes.fromhex(said["then_repeat"]) * said["count"]


@pytest.mark.parametrize("vector", DECODED, ids=name_of)
def test_bincode_decoded_these_bytes_so(vector: dict[str, Any]) -> None:
    """What the crate accepts is accepted, as the same value; what it refuses is a DecodeError."""
    codec = codec_of(vector["rust_type"])
    wire = wire_of(vector["hex"])
    if "err" in vector:
        with pytest.raises(DecodeError) as caught:
            codec.decode(wire)
        assert caught.value.path == (".y" if vector["name"] == "Point truncated" else "")
        assert 0 <= caught.value.offset <= len(wire)
        return
    value = value_of(vector["rust_type"], vector["ok"])
    assert is_same(codec.decode(wire), value)
    assert is_same(explained(codec, wire), value)
    if "canonical_hex" in vector:
        written = (
            Bincode(list[u8]).encode(sorted(value))
            if isinstance(value, set)
            else codec.encode(value)
        )
        assert written.hex() == vector["canonical_hex"]


# What the crates uuid and chrono write, and serde for types of std

CRATES = json.loads((VECTORS / "bincode_crates.json").read_text(encoding="utf-8"))
WRITTEN = [vector for vector in CRATES["vectors"] if "value" in vector]
READ = [vector for vector in CRATES["vectors"] if "decode" in vector]
ONLY_RUST = "only Rust"


def moment(text: str) -> datetime:
    whole, _, nanos = text.partition(".")
    assert nanos.endswith("000")
    return datetime.fromisoformat(whole).replace(microsecond=int(nanos) // 1000)


def socket_address(text: str) -> SocketAddrV4 | SocketAddrV6:
    host, _, port = text.rpartition(":")
    if host.startswith("["):
        return SocketAddrV6(IPv6Address(host.strip("[]")), int(port))
    return SocketAddrV4(IPv4Address(host), int(port))


def numbers(text: str) -> list[int]:
    return list(map(int, text.split()))


FROM_CRATES: dict[str, tuple[Any, Callable[[str], object]]] = {
    "uuid::Uuid": (UUID, UUID),
    "chrono::DateTime<Utc>": (ChronoDateTime, lambda text: moment(text).replace(tzinfo=UTC)),
    "chrono::NaiveDateTime": (ChronoNaiveDateTime, moment),
    "chrono::NaiveDate": (ChronoNaiveDate, date.fromisoformat),
    "chrono::NaiveTime": (ChronoNaiveTime, lambda text: moment(f"2000-01-01T{text}").time()),
    "std::time::Duration": (Duration, lambda text: Duration(*numbers(text))),
    "std::time::SystemTime": (SystemTime, lambda text: SystemTime(*numbers(text))),
    "std::net::Ipv4Addr": (IPv4Address, IPv4Address),
    "std::net::Ipv6Addr": (IPv6Address, IPv6Address),
    "std::net::IpAddr": (IPv4Address | IPv6Address, ip_address),
    "std::net::SocketAddrV4": (SocketAddrV4, socket_address),
    "std::net::SocketAddrV6": (SocketAddrV6, socket_address),
    "std::net::SocketAddr": (SocketAddrV4 | SocketAddrV6, socket_address),
    "std::path::PathBuf": (PurePosixPath, PurePosixPath),
}


def python_lacks(vector: dict[str, Any]) -> bool:
    """Say whether Python has no such value: odd nanoseconds, years and seconds out of range."""
    if "chrono" not in vector["rust_type"]:
        return False
    text = bytes.fromhex(vector.get("canonical_hex", vector.get("hex", "")))[1:].decode()
    odd = text.rstrip("Z").rpartition(".")[2]
    return (
        text[0] in "+-" or text.startswith("0000") or ":60" in text
        or ("." in text and int(odd.ljust(9, "0")) % 1000 > 0)
    )  # fmt: skip


@pytest.mark.parametrize("vector", WRITTEN, ids=name_of)
def test_these_crates_wrote_this_value_as_these_bytes(vector: dict[str, Any]) -> None:
    """A value that Python has, too, is the same bytes; any other one is a DecodeError."""
    tp, made = FROM_CRATES[vector["rust_type"]]
    codec = Bincode(tp)
    wire = bytes.fromhex(vector["hex"])
    if python_lacks(vector):
        with pytest.raises(DecodeError):
            codec.decode(wire)
    elif vector["value"] == "":
        assert codec.decode(wire) == made("")
    elif ONLY_RUST in vector["value"]:  # flow and scope of an address, which Rust drops
        assert codec.encode(codec.decode(wire)) == wire
    else:
        assert codec.encode(made(vector["value"])) == wire
        assert codec.decode(wire) == made(vector["value"])


@pytest.mark.parametrize("vector", READ, ids=name_of)
def test_these_crates_read_these_bytes_so(vector: dict[str, Any]) -> None:
    """What they refuse is refused. What is accepted here, they accept, as the same value."""
    tp, _ = FROM_CRATES[vector["rust_type"]]
    codec = Bincode(tp)
    wire = bytes.fromhex(vector["decode"])
    try:
        value = codec.decode(wire)
    except DecodeError:
        # chrono forgives more than it writes, spaces for example, and has more values
        assert "err" in vector or "chrono" in vector["rust_type"]
    else:
        assert codec.encode(value).hex() == vector["canonical_hex"]


def test_of_what_these_crates_forgive_the_usual_is_forgiven_here() -> None:
    """Of text that chrono does not write itself, RFC 3339 in all its forms is read."""
    accepted = []
    for vector in READ:
        if vector["rust_type"] == "chrono::DateTime<Utc>" and "ok" in vector:
            wire = bytes.fromhex(vector["decode"])
            with contextlib.suppress(DecodeError):
                Bincode(ChronoDateTime).decode(wire)
                accepted.append(wire[1:].decode())
    assert accepted == [
        "2014-07-08T09:10:11Z", "2014-07-08T09:10:11z", "2014-07-08 09:10:11Z",
        "2014-07-08T09:10:11+00:00", "2014-07-08T09:10:11+02:30", "2014-07-08T09:10:11.5Z",
        "2014-07-08T09:10:11-00:00",
    ]  # fmt: skip
