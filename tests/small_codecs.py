"""Codecs that are short enough to be seen to be right: what tests of messages are played with."""

from __future__ import annotations

import struct

from trio_bytesbuf.wire import Codec


class Raw(Codec[bytes]):
    """A payload is its own value, as `bytes`."""

    def encode(self, value):
        return value

    def decode(self, payload):
        return bytes(payload)


class AsGiven(Codec[object]):
    """A payload is its own value, as it is given to a codec."""

    def encode(self, value):
        return value

    def decode(self, payload):
        return payload


class Even(Codec[bytes]):
    """As `Raw`, but messages that begin with an odd byte are none, in many ways."""

    ERRORS = (ValueError, KeyError, MemoryError, RecursionError, LookupError)

    def encode(self, value):
        return value

    def decode(self, payload):
        data = bytes(payload)
        if data[:1] and data[0] % 2:
            raise self.ERRORS[data[0] // 2 % len(self.ERRORS)](data)
        return data


class Text(Codec[str]):
    """UTF-8, and nothing around it."""

    def encode(self, value):
        return value.encode()

    def decode(self, payload):
        return bytes(payload).decode()


class Number(Codec[int]):
    """A u32, little endian."""

    def encode(self, value):
        return struct.pack("<I", value)

    def decode(self, payload):
        return struct.unpack("<I", payload)[0]
