"""The wire of the Rust crate async-io-typed: its constants, and what can be said of it by sums.

    version 1:                       | message | message | ... | 00 |
    version 2:  | version | 02 or 03 | message | message | ... | 00 |
                     8         1

    a message:  | length | payload | checksum |
                  1 to 9            8, after 02

Each direction of a connection is a stream of its own. `docs/wire_format.md` says all of it; this
file is where the numbers are.

The markers of lengths are not those that bincode has for its integers (251 to 254).
"""

from __future__ import annotations

import enum
from typing import Final

MAX_MESSAGE_NBYTES: Final = 1_048_576
"""How many bytes a message may have if nobody says otherwise. As the crate has it."""

END: Final = 0
U16: Final = 252
U32: Final = 253
U64: Final = 254
EMPTY: Final = 255

GOODBYE: Final = bytes((END,))
"""The byte behind the last message."""

LENGTH_NBYTES: Final = {U16: 2, U32: 4, U64: 8}
"""How many bytes of length follow each marker; all others are the length themselves."""

VERSION_NBYTES: Final = 8
HEADER_NBYTES: Final = VERSION_NBYTES + 1

WITH_CHECKSUMS: Final = 2
WITHOUT_CHECKSUMS: Final = 3

CHECKSUM_NBYTES: Final = 8

OVERHEAD_NBYTES: Final = HEADER_NBYTES + 1 + LENGTH_NBYTES[U64] + CHECKSUM_NBYTES + 1
"""How much a message can have around it: a header, a length, a checksum, and a goodbye."""


class ProtocolVersion(enum.IntEnum):
    """A version of the protocol, which is the crate's, not of the crate."""

    V1 = 1
    """Crates 1.0.x: no header, no checksums. This number never stands on the wire."""

    V2 = 2
    """Crates 2.x and 3.x: a header with the version, and checksums if it says so."""


FRONT: Final = int(ProtocolVersion.V2).to_bytes(VERSION_NBYTES, "little")[:4]
"""By these and a fifth byte a receiver knows version 2: in version 1 they are a whole stream."""

ONE_BYTE: Final = tuple(bytes((value,)) for value in range(256))
"""Each byte by its value."""


def header_of(version: ProtocolVersion, *, has_checksums: bool) -> bytes:
    """Return what stands before the first message."""
    if version is ProtocolVersion.V1:
        return b""
    feature = WITH_CHECKSUMS if has_checksums else WITHOUT_CHECKSUMS
    return int(version).to_bytes(VERSION_NBYTES, "little") + ONE_BYTE[feature]


def length_of(nbytes: int) -> bytes:
    """Return what stands before a payload of `nbytes` bytes, in as few bytes as it can be."""
    if nbytes < U16:
        return ONE_BYTE[nbytes or EMPTY]
    if nbytes < 1 << 16:
        return ONE_BYTE[U16] + nbytes.to_bytes(2, "little")
    if nbytes < 1 << 32:
        return ONE_BYTE[U32] + nbytes.to_bytes(4, "little")
    return ONE_BYTE[U64] + nbytes.to_bytes(8, "little")


def prefix_nbytes(marker: int) -> int:
    """Return how many bytes a length has that begins with `marker`, which is one of them."""
    return 1 + LENGTH_NBYTES.get(marker, 0)


def payload_nbytes(prefix: bytes) -> int:
    """Return the length that `prefix` says, which is as long as `prefix_nbytes` has it.

    It need not be the shortest way to say it: the crate takes all of them.
    """
    marker = prefix[0]
    if marker in LENGTH_NBYTES:
        return int.from_bytes(prefix[1:], "little")
    return 0 if marker == EMPTY else marker
