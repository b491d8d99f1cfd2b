"""The program in interop/, which speaks the typed protocol by the real crates: run, and heard.

Its main.rs says what it can be asked for. Messages are made of a number and a size on both sides:
`payload_of` and `name_of` are what the program makes.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import zlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import attrs
import trio

PATIENCE = 20.0
"""Seconds after which a test gives up on the program; all of it takes far less than one."""

RECORD_OVERHEAD = 10
"""How many bytes a record has around a payload of up to 250 bytes and its length, while its id is
below 251: the id, the name, and the length of the name."""


def payload_of(id_: int, nbytes: int) -> bytes:
    """Byte i of payload `id_` is the low byte of id_ + i."""
    whole = bytes(range(256))
    start = id_ % 256
    turned = whole[start:] + whole[:start]
    return (turned * (nbytes // 256 + 1))[:nbytes]


def name_of(id_: int) -> str:
    """The name of record `id_`."""
    return f"name{id_ % 10_000:04}"


def payload_nbytes(message_nbytes: int) -> int:
    """How large the payload of a record is which is encoded in so many bytes."""
    for prefix in (1, 3, 5):
        nbytes = message_nbytes - RECORD_OVERHEAD - prefix
        if (1 if nbytes < 251 else 3 if nbytes < 2**16 else 5) == prefix:
            return nbytes
    raise ValueError(f"no record has {message_nbytes} bytes")


def came(payloads: Iterable[tuple[int, bytes]], ended: str, *errors: list[Any]) -> dict[str, Any]:
    """What the program says of having received these ids and payloads."""
    ids, crc, count = 0, 0, 0
    for id_, payload in payloads:
        ids, crc, count = ids + id_, zlib.crc32(payload, crc), count + 1
    return {"count": count, "ids": ids, "crc32": crc, "errors": list(errors), "ended": ended}


@attrs.define(eq=False)
class Peer:
    """The running program, and the port at which it listens, or 0."""

    process: trio.Process
    port: int = 0
    _arrived: bytes = b""

    async def line(self) -> str:
        """Return the next line that it says."""
        assert self.process.stdout is not None
        with trio.fail_after(PATIENCE):
            while b"\n" not in self._arrived:
                data = await self.process.stdout.receive_some()
                if not data:
                    raise AssertionError(f"the program ended with {await self.process.wait()}")
                self._arrived += data
        line, _, self._arrived = self._arrived.partition(b"\n")
        return line.decode()

    async def said(self) -> Any:
        """Return what the next line says."""
        return json.loads(await self.line())

    async def connect(self) -> trio.SocketStream:
        """Connect to it, with trio's own stream."""
        return await trio.open_tcp_stream("127.0.0.1", self.port)


@contextlib.asynccontextmanager
async def interop_peer(program: Path, *words: object) -> AsyncIterator[Peer]:
    """Run the program; yields it when it listens, or at once if it is told to call somebody."""
    process = await trio.lowlevel.open_process(
        [program, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        peer = Peer(process)
        if "--connect" not in words:
            peer.port = int(await peer.line())
        yield peer
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdin.aclose()
        await process.stdout.aclose()
