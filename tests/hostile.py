"""What hostile peers are set upon: each way to receive items from a stream, and its weak spots.

A `Kind` knows how to receive, what an item is on the wire, how more than there will ever be is
announced, and what an item without an end looks like. Peers are written with that alone.
"""

from __future__ import annotations

import contextlib
import gc
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from pairs import tcp_pair
from small_codecs import Raw

from trio_bytesbuf import GlobalPool, SocketStream
from trio_bytesbuf.buffered import (
    BufReader,
    Delimited,
    FixedLength,
    Framing,
    LengthPrefixed,
    Netstring,
    VarintPrefixed,
)
from trio_bytesbuf.mem import Memory, PlainMemory
from trio_bytesbuf.wire import MessageEncoder, TypedReceiveChannel

LIMIT = 65_536
"""How many bytes an item may have in these tests, unless one says otherwise."""

AT_ONCE = 262_144
"""How much a stream gives at once."""

FLOOR = 1_250_000
"""What one connection may take beside what has arrived: four times what a stream gives at once, for
its pooled blocks, the copy that is searched, and the peer's own sending; and the event loop's."""


@attrs.frozen
class Kind:
    """A way to receive."""

    open: Callable[..., Any]
    """Makes the channel of a stream, with a limit as `max_nbytes`."""

    wire: Callable[[bytes], bytes]
    """An item on the wire."""

    header: bytes = b""
    """What is said before the first item."""

    goodbye: bytes = b""
    """What is said behind the last one."""

    announce: Callable[[int], bytes] | None = None
    """The front of an item of so many bytes, if a length can be announced."""

    endless: bytes | None = None
    """Bytes that can be said for ever and are never an item, if there are any."""

    last_needs_no_end: bool = False
    """Whether what is there when the stream ends is an item."""

    decoded: Callable[[bytes], Any] = bytes
    """What is received for an item."""


def _lines(*args: Any, **options: Any) -> Callable[..., Any]:
    def open_channel(stream: Any, max_nbytes: int = LIMIT) -> Any:
        return BufReader(stream).lines(*args, **options, max_bytes=max_nbytes)

    return open_channel


def _text_lines(stream: Any, max_nbytes: int = LIMIT) -> Any:
    return BufReader(stream).text_lines(max_bytes=max_nbytes)


def _frames(framing: Framing) -> Callable[..., Any]:
    def open_channel(stream: Any, max_nbytes: int = LIMIT) -> Any:
        return BufReader(stream).frames(framing, bytes, max_bytes=max_nbytes)

    return open_channel


def _encode(framing: Framing, payload: bytes) -> bytes:
    encoded = framing.encode(payload)
    return encoded if isinstance(encoded, bytes) else encoded.to_bytes()


def _framed(framing: Framing, **options: Any) -> Kind:
    return Kind(_frames(framing), partial(_encode, framing), **options)


def _varint(nbytes: int) -> bytes:
    groups = []
    while nbytes > 0x7F:
        groups.append(nbytes & 0x7F | 0x80)
        nbytes >>= 7
    return bytes((*groups, nbytes))


def _line(end: bytes, payload: bytes) -> bytes:
    return payload + end


def _typed(version: int | None = 2, *, checksums: bool = True, finds_out: bool = False) -> Kind:
    encoder = MessageEncoder(Raw(), sends_checksums=checksums, version=version or 2)
    peer_version = None if finds_out else version

    def open_channel(stream: Any, max_nbytes: int = LIMIT) -> Any:
        return TypedReceiveChannel(
            stream,
            Raw(),
            max_nbytes=max_nbytes,
            checks_checksums=checksums,
            peer_version=peer_version,
        )

    def wire(payload: bytes) -> bytes:
        return encoder.encode_many([payload])

    header = encoder.encode_header()
    return Kind(
        open_channel,
        wire,
        header,
        goodbye=b"\0",
        announce=lambda nbytes: b"\xfe" + nbytes.to_bytes(8, "little"),
    )


KINDS: dict[str, Kind] = {
    "lines": Kind(
        _lines(), partial(_line, b"\n"), endless=b"x" * 997 + b"\r", last_needs_no_end=True
    ),
    "lines in CRLF": Kind(
        _lines(b"\r\n"), partial(_line, b"\r\n"), endless=b"\r" * 997, last_needs_no_end=True
    ),
    "lines of any end": Kind(
        _lines(None), partial(_line, b"\r\n"), endless=b"x" * 997, last_needs_no_end=True
    ),
    "lines of text": Kind(
        _text_lines,
        partial(_line, b"\n"),
        endless="é".encode() * 500,
        last_needs_no_end=True,
        decoded=bytes.decode,
    ),
    "delimited": _framed(Delimited(b"END"), endless=b"EN" * 500),
    "delimited by several": _framed(Delimited([b";", b"END"]), endless=b"EN" * 500),
    "8 bytes of length": _framed(LengthPrefixed(8), announce=lambda n: n.to_bytes(8, "big")),
    "8 bytes, with themselves": _framed(
        LengthPrefixed(8, "little", includes_prefix=True),
        announce=lambda n: min(n + 8, 2**64 - 1).to_bytes(8, "little"),
    ),
    "7 bytes of length": _framed(
        LengthPrefixed(7), announce=lambda n: min(n, 2**56 - 1).to_bytes(7, "big")
    ),
    "a varint": _framed(VarintPrefixed(), announce=_varint),
    "netstrings": _framed(Netstring(), announce=lambda n: b"%d:" % min(n, 10**19 - 1)),
    "always 5 bytes": _framed(FixedLength(5)),
    "typed": _typed(),
    "typed, not checked": _typed(checksums=False),
    "typed, version 1": _typed(1, checksums=False),
    "typed, whichever version": _typed(finds_out=True),
}

each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
each_that_announces = pytest.mark.parametrize(
    "kind",
    [kind for kind in KINDS.values() if kind.announce],
    ids=[name for name, kind in KINDS.items() if kind.announce],
)
each_without_an_end = pytest.mark.parametrize(
    "kind",
    [kind for kind in KINDS.values() if kind.endless],
    ids=[name for name, kind in KINDS.items() if kind.endless],
)

ITEMS = (b"hello", b"bytes", b"world")
"""Items that each kind can carry."""


def wire_of(kind: Kind, *payloads: bytes, goodbye: bool = False) -> bytes:
    """What a peer says that sends these."""
    return kind.header + b"".join(map(kind.wire, payloads)) + (kind.goodbye if goodbye else b"")


@contextlib.contextmanager
def grows_at_most(nbytes: int) -> Iterator[None]:
    """Let no more than `nbytes` bytes be allocated in the block at any moment, as Python counts.

    The pool of each connection is made in the block, so its blocks count.
    """
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before <= nbytes, f"{peak - before} bytes were needed"


async def against(memory: Memory | None = None) -> tuple[SocketStream, SocketStream]:
    """A stream of ours over a pool of its own, and its hostile peer, over TCP."""
    ours, peer = await tcp_pair(GlobalPool() if memory is None else memory)
    peer._memory = PlainMemory()
    return ours, peer


async def say(peer: SocketStream, data: bytes, times: int = 1) -> int:
    """Send `data` so many times, as far as it is taken; return how many bytes that were."""
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        for _ in range(times):
            await peer.send_all(data)
    return peer.statistics().sent_nbytes


class Turns:
    """How often another task had its turn."""

    taken = 0

    async def take(self) -> None:
        """Take turns for ever."""
        while True:
            self.taken += 1
            await trio.lowlevel.checkpoint()


def lent_nbytes(stream: SocketStream) -> int:
    """How much of the pool of `stream` somebody can see."""
    pool = stream.memory
    assert isinstance(pool, GlobalPool)
    return pool.statistics().lent_nbytes
