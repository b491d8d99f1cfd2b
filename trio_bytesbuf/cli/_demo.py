"""`demo`: a source, a relay and a sink in one process, with real TCP connections between them.

    source --bytes--> relay --bytes--> sink
    source <--reply-- relay <--reply-- sink

Both ends take a checksum of the bytes as they pass. The sink's reply is its own checksum, and
the demonstration succeeds if that is the source's.
"""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, Final

import attrs
import trio

from ..io import open_tcp_listeners, open_tcp_stream
from ..seq import BytesView
from ..seq._words import text_of_count
from ._address import TcpAddress, address_of
from ._closing import closing
from ._figures import pool_row, pool_statistics
from ._relay import Relay
from ._screen import Panel, Row
from ._words import text_of_error, text_of_nbytes, text_of_rate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..io import SocketListener
    from ._figures import Figures
    from ._screen import Screen

HOST: Final = "127.0.0.1"

STOCK_NBYTES: Final = 8 * 1_048_576
"""Random bytes that are made once, and sent again and again from shifting offsets: real random
bytes for all would take longer than sending them. More than a second-level cache holds."""

CHUNK_NBYTES: Final = 262_144
"""As much as one receive takes at the most."""

SHIFT_NBYTES: Final = 1_000_003
"""From one chunk's offset to the next one's. A prime, so that no offset comes twice in 2 TB: bytes
that are lost, doubled or change places change the checksum."""


class DemoFailed(Exception):
    """What was received is not what was sent, or nothing was; the text says which."""


@attrs.define(eq=False)
class Tally:
    """What passed one end: how much, and its checksum."""

    nbytes: int = attrs.field(init=False, default=0)
    crc32: int = attrs.field(init=False, default=0)
    """The checksum, which depends on the order. The standard library has none that is quicker:
    1.9 GB/s here, SHA-256 1.1, BLAKE2b 0.6. With those the demonstration was mostly checksums."""

    def add(self, view: BytesView) -> None:
        """Count `view`, whose turn this is."""
        self.nbytes += len(view)
        for piece in view.pieces:
            self.crc32 = zlib.crc32(piece, self.crc32)

    def __str__(self) -> str:
        return f"{self.nbytes} bytes, crc32 {self.crc32:08x}"


@attrs.define(eq=False)
class Demo:
    """One demonstration with `nbytes` bytes."""

    nbytes: int
    screen: Screen
    sent: Tally = attrs.field(init=False, factory=Tally)
    received: Tally = attrs.field(init=False, factory=Tally)
    reply: str = attrs.field(init=False, default="")
    seconds: float = attrs.field(init=False, default=0.0)

    async def run(self) -> None:
        """Send, relay, receive, compare, and say how it went.

        Raises:
          DemoFailed: a connection failed, or the ends do not agree.

        Cancellation: everything is closed.
        """
        pool_before = pool_statistics()
        try:
            figures = await self._pump()
        except* (trio.BrokenResourceError, OSError) as failures:
            raise DemoFailed(f"a connection failed: {text_of_error(failures)}") from failures
        if self.reply != str(self.sent) or self.received.nbytes != self.nbytes:
            raise DemoFailed(f"sent {self.sent}; the sink's reply is {self.reply or 'nothing'!r}")
        pool = pool_statistics()
        self._report(figures, pool.allocated - pool_before.allocated)

    async def _pump(self) -> Figures:
        (sink_listener,) = await open_tcp_listeners(0, host=HOST)
        (relay_listener,) = await open_tcp_listeners(0, host=HOST)
        target = address_of(sink_listener)
        bridge = Relay(target, self.screen)
        self.screen.line(
            f"source -> relay {address_of(relay_listener)} -> sink {target}, "
            f"{text_of_nbytes(self.nbytes)}"
        )
        async with sink_listener, relay_listener, trio.open_nursery() as watch:
            watch.start_soon(self._show_for_ever, bridge.figures)
            started_at = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sink, sink_listener)
                nursery.start_soon(_relay_once, bridge, relay_listener)
                nursery.start_soon(self._source, relay_listener)
            self.seconds = trio.current_time() - started_at
            watch.cancel_scope.cancel()
        return bridge.figures

    async def _source(self, relay_listener: SocketListener) -> None:
        address = address_of(relay_listener)
        assert isinstance(address, TcpAddress)
        stream = await open_tcp_stream(address.host, address.port)
        async with closing(stream):
            for view in views_to_send(self.nbytes):
                self.sent.add(view)
                await stream.write_view(view)
            await stream.send_eof()
            self.reply = b"".join([bytes(view) async for view in stream.views()]).decode()

    async def _sink(self, listener: SocketListener) -> None:
        stream = await listener.accept()
        async with closing(stream):
            async for view in stream.views():
                self.received.add(view)
                del view  # its block is free for the next receive
            await stream.send_all(str(self.received).encode())

    async def _show_for_ever(self, figures: Figures) -> None:
        while True:
            await trio.sleep(self.screen.interval)
            figures.sample()
            self.screen.show(self._panel(figures))

    def _panel(self, figures: Figures) -> Panel:
        done = self.received.nbytes / self.nbytes
        progress = Row(
            "received",
            f"{100 * done:.0f} %",
            f"{text_of_nbytes(self.received.nbytes)} of {text_of_nbytes(self.nbytes)}",
            done=done,
        )
        rows = (progress, figures.to_target.row("relayed"), pool_row(pool_statistics()))
        return Panel("trio_bytesbuf demo: source -> relay -> sink", figures.age(), rows)

    def _report(self, figures: Figures, allocated: int) -> None:
        rate = text_of_rate(self.nbytes / self.seconds)
        for row in (
            Row("time", f"{self.seconds:.2f} s, {rate}", "both checksums included"),
            Row("checksums", "equal,", f"crc32 {self.sent.crc32:08x}"),
            Row("reply", text_of_nbytes(figures.to_client.nbytes), "from the sink to the source"),
            Row("pool", text_of_count(allocated, "block"), "allocated for all that passed"),
            Row("copied", text_of_nbytes(figures.copied_nbytes()), "in Python by the relay"),
        ):
            self.screen.line(f"{row.label:<10} {row.amount} {row.detail}")


async def _relay_once(bridge: Relay, listener: SocketListener) -> None:
    await bridge.handle(await listener.accept())


def views_to_send(nbytes: int) -> Iterator[BytesView]:
    """Yield views of random bytes, `nbytes` in all; none of them costs a copy."""
    stock = BytesView(os.urandom(STOCK_NBYTES))
    start = 0
    while nbytes:
        step = min(CHUNK_NBYTES, nbytes)
        yield stock[start : start + step]
        start = (start + SHIFT_NBYTES) % (STOCK_NBYTES - CHUNK_NBYTES)
        nbytes -= step


async def run_demo(nbytes: int, screen: Screen) -> None:
    """Run a demonstration on `screen`; as `Demo.run`."""
    with screen:
        await Demo(nbytes, screen).run()
