"""What the soak serves: five services, each of which answers with what came."""

from __future__ import annotations

import random
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from trio_bytesbuf import (
    BufReader,
    BufStream,
    BufWriter,
    BytesView,
    CappedPool,
    DeflatedWrite,
    GlobalPool,
    InflatedRead,
    LengthPrefixed,
    LimitExceeded,
    ProtocolVersionMismatch,
    SocketStream,
    TypedChannel,
    UnexpectedEof,
    open_shared_writer,
    open_tcp_stream,
    relay,
    serve_ssl_over_tcp,
    serve_tcp,
)
from trio_bytesbuf.buffered import BadCompressedData
from trio_bytesbuf.io import TlsStream

MIB = 1_048_576
SHARE_NBYTES = 2 * MIB
CAP_NBYTES = 64 * MIB
MAX_MESSAGE_NBYTES = 400_000
MAX_SEALED_NBYTES = 1 << 40
"""The most bytes that one connection may send compressed: the soak has no limit."""

SERVICES = ("lines", "frames", "typed", "relay", "sealed")

FRAMING = LengthPrefixed(4)

PATIENCE = 30.0

PEER_ERRORS = (
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.EndOfChannel,
    UnexpectedEof,
    LimitExceeded,
    ProtocolVersionMismatch,
    BadCompressedData,
    ConnectionError,
)
"""What the other side can cause by how it ends."""


@attrs.define
class Server:
    """The services, and what became of their connections."""

    random: random.Random
    certificate: Path
    pool: GlobalPool = attrs.field(factory=GlobalPool)
    capped: CappedPool = attrs.field(factory=lambda: CappedPool(CAP_NBYTES))
    ports: dict[str, int] = attrs.field(factory=dict)
    connections: int = 0
    open_connections: int = 0
    messages: int = 0
    cancelled: int = 0
    all_ended: trio.Event = attrs.field(factory=trio.Event)

    async def serve(self, nursery: trio.Nursery) -> None:
        """Listen for all services."""
        for name in SERVICES:
            memory: Any = self.pool
            if name == "typed":
                memory = partial(self.capped.share, SHARE_NBYTES)
            start: Any = partial(serve_tcp, host="127.0.0.1", memory=memory)
            if name == "sealed":
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(self.certificate)
                start = partial(
                    serve_ssl_over_tcp, ssl_context=context, host="127.0.0.1", memory=memory
                )
            handler = partial(self.handle, getattr(self, f"serve_{name}"))
            [listener] = await nursery.start(start, handler, 0)
            if name == "sealed":
                listener = listener.transport_listener
            self.ports[name] = listener.socket.getsockname()[1]

    async def handle(
        self, service: Callable[[Any], Awaitable[None]], stream: SocketStream | TlsStream
    ) -> None:
        """Serve one connection, for a while that may be short."""
        self.connections += 1
        self.open_connections += 1
        seconds = self.random.uniform(0, 0.2) if self.random.random() < 1 / 30 else PATIENCE
        try:
            with trio.move_on_after(seconds) as scope:
                await service(stream)
            self.cancelled += scope.cancelled_caught
        except* PEER_ERRORS:
            pass
        finally:
            await trio.aclose_forcefully(stream)
            self.open_connections -= 1
            if not self.open_connections:
                self.all_ended.set()
                self.all_ended = trio.Event()

    async def serve_lines(self, stream: SocketStream) -> None:
        """Answer lines."""
        async with BufStream(stream) as buffered:
            await self.answer_lines(buffered, buffered)

    async def serve_sealed(self, stream: TlsStream) -> None:
        """Answer lines that are compressed, over TLS."""
        inflated = InflatedRead(stream, format="zlib", max_nbytes=MAX_SEALED_NBYTES)
        async with (
            BufReader(inflated) as reader,
            BufWriter(DeflatedWrite(stream, format="zlib", level=1)) as writer,
        ):
            await self.answer_lines(reader, writer)

    async def answer_lines(
        self, reader: BufReader | BufStream, writer: BufWriter | BufStream
    ) -> None:
        """Answer each line with itself, as many as are at hand by one flush."""
        async for batch in reader.lines(max_bytes=MAX_MESSAGE_NBYTES).batches():
            for line in batch:
                writer.write_line(line)
                await writer.drain()
            self.messages += len(batch)
            await writer.flush()

    async def serve_frames(self, stream: SocketStream) -> None:
        """Answer frames by two tasks that share a writer; a frame says which of them."""
        async with stream, open_shared_writer(stream, max_nbytes=2 * MIB) as writer:

            async def answer(frames: trio.MemoryReceiveChannel[BytesView]) -> None:
                async for frame in frames:
                    await writer.write_when_room(FRAMING.encode(frame))
                    self.messages += 1
                    del frame

            async with trio.open_nursery() as nursery:
                ways = []
                for _ in range(2):
                    send, receive = trio.open_memory_channel[BytesView](10)
                    ways.append(send)
                    nursery.start_soon(answer, receive)
                reader = BufStream(stream)
                try:
                    async for frame in reader.frames(FRAMING, max_bytes=MAX_MESSAGE_NBYTES):
                        await ways[frame[0] % 2].send(frame)
                        del frame
                except PEER_ERRORS:
                    nursery.cancel_scope.cancel()
                finally:
                    for send in ways:
                        send.close()

    async def serve_typed(self, stream: SocketStream) -> None:
        """Answer each message with itself."""
        async with TypedChannel(
            stream, sends=bytes, receives=bytes, max_nbytes=MAX_MESSAGE_NBYTES
        ) as channel:
            async for message in channel:
                await channel.send(message)
                self.messages += 1

    async def serve_relay(self, stream: SocketStream) -> None:
        """Join the connection with one to the typed service."""
        async with await open_tcp_stream(
            "127.0.0.1", self.ports["typed"], memory=self.pool
        ) as upstream:
            await relay(stream, upstream)


def make_certificate(folder: Path) -> Path:
    """Make a file with a certificate of localhost, which signs itself, and its key."""
    path = folder / "localhost.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-keyout", path, "-out", folder / "certificate.pem", "-days", "2",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + (folder / "certificate.pem").read_text())
    return path
