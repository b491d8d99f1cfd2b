"""bincode 1.3 as the vectors need it, written down a second time: values as they stand in them.

How values are written in the vectors: integers, booleans and short strings as JSON has them; other
things as objects with one key, which `plain` takes away.
"""

from __future__ import annotations

import struct


def plain(value: object) -> object:
    """Return a value without the objects that only say how to make it."""
    if isinstance(value, dict) and value.keys() == {"pattern"}:
        shape = value["pattern"]
        return bytes((i * shape["mul"] + shape["add"]) & 255 for i in range(shape["len"]))
    if isinstance(value, dict) and value.keys() == {"bytes_hex"}:
        return bytes.fromhex(value["bytes_hex"])
    if isinstance(value, dict) and value.keys() == {"repeat", "count"}:
        return value["repeat"] * value["count"]
    return value


def varint(number: int) -> bytes:
    """An unsigned integer as bincode has it."""
    if number < 251:
        return bytes((number,))
    for marker, size in ((251, 2), (252, 4), (253, 8)):
        if number < 1 << 8 * size:
            return bytes((marker,)) + number.to_bytes(size, "little")
    return b"\xfe" + number.to_bytes(16, "little")


def zigzag(number: int) -> bytes:
    """A signed integer as bincode has it."""
    return varint(number * 2 if number >= 0 else -number * 2 - 1)


def text(value: object) -> bytes:
    """A String."""
    data = str(plain(value)).encode()
    return varint(len(data)) + data


def blob(value: object) -> bytes:
    """A Vec of u8."""
    data = bytes(plain(value))  # type: ignore[call-overload]
    return varint(len(data)) + data


def _demo_kind(value: dict) -> bytes:
    payload = value["payload"]
    bodies = {
        "Ping": lambda: b"",
        "Text": lambda: text(payload),
        "Pair": lambda: varint(payload[0]) + zigzag(payload[1]),
        "Blob": lambda: varint(payload["offset"]) + blob(payload["data"]),
    }
    return varint(value["index"]) + bodies[value["variant"]]()


def _demo(value: dict) -> bytes:
    tag = value["tag"].get("Some")
    counts = value["counts"]["map"]
    return b"".join(
        (
            varint(value["id"]),
            text(value["name"]),
            int(value["score"]["float_bits"], 16).to_bytes(8, "little"),
            zigzag(value["delta"]),
            bytes((value["flag"],)),
            b"\0" if tag is None else b"\1" + tag.encode(),
            _demo_kind(value["kind"]),
            varint(len(value["tags"])) + b"".join(map(text, value["tags"])),
            varint(len(counts)) + b"".join(text(key) + varint(n) for key, n in counts),
            zigzag(value["pos"][0]) + varint(value["pos"][1]),
            bytes(plain(value["raw"])),
        )
    )


def _bench(value: dict) -> bytes:
    return varint(value["id"]) + text(value["name"]) + blob(value["payload"])


MODELS = {
    "()": lambda _: b"",
    "u8": lambda value: struct.pack("B", value),
    "bool": lambda value: struct.pack("?", value),
    "String": text,
    "(u8, u8)": bytes,
    "(Vec<u8>, Vec<u8>)": lambda value: b"".join(map(blob, value)),
    "Option<u8>": lambda value: b"\0" if value is None else b"\1" + bytes((value,)),
    "DemoKind": lambda value: {"Ping": b"\0"}[value],
    "Demo": _demo,
    "BenchMsg": _bench,
}


def encoded(rust_type: str, value: object) -> bytes:
    """Return the bytes that bincode makes of a value of a vector."""
    return MODELS[rust_type](value)
