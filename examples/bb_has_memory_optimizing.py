"""Publish memory made to measure: a UDP endpoint that wants whole pages.

    python examples/bb_has_memory_optimizing.py

The program has one place that knows how to get special memory, `IoMemory`, and several kinds of
endpoints with different wishes. Each endpoint publishes a `CallbackMemory` that asks that
place with its own wishes; whoever fills a packet only calls `reserve`.
"""

import attrs
import trio

from trio_bytesbuf import BytesBuf, BytesReader, BytesView, default_memory
from trio_bytesbuf.mem import CallbackMemory, Memory, PageMemory


@attrs.frozen
class Wishes:
    """What an endpoint wants its memory to be."""

    whole_pages: bool


FOR_UDP = Wishes(whole_pages=True)


class IoMemory:
    """The one place of the program that knows how to get special memory."""

    def __init__(self) -> None:
        self._pages = PageMemory()

    def reserve(self, nbytes: int, wishes: Wishes) -> BytesBuf:
        """Return an empty builder with room for `nbytes` bytes, as is wished."""
        memory = self._pages if wishes.whole_pages else default_memory()
        return memory.reserve(nbytes)


class UdpEndpoint:
    """Sends packets to one peer, each a view."""

    def __init__(self, socket: trio.socket.SocketType, io_memory: IoMemory) -> None:
        self._socket = socket
        self._memory = CallbackMemory(lambda nbytes: io_memory.reserve(nbytes, FOR_UDP))

    @property
    def memory(self) -> Memory:
        """Memory in whole pages, from the program's one place for it."""
        return self._memory

    async def send(self, packet: BytesView) -> None:
        """Send `packet`, gathered from where it lies."""
        print(f"sending a packet of {len(packet)} bytes, {packet.first_piece_meta}")
        await self._socket.sendmsg(packet.pieces)


async def main() -> None:
    """Send one packet of three numbers through the loopback."""
    with (
        trio.socket.socket(type=trio.socket.SOCK_DGRAM) as receiving,
        trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sending,
    ):
        await receiving.bind(("127.0.0.1", 0))
        await sending.connect(receiving.getsockname())
        endpoint = UdpEndpoint(sending, IoMemory())

        buf = endpoint.memory.reserve(1 + 8 + 16)
        buf.put_u8(42)
        buf.put_u64_be(43)
        buf.put_u128_be(44)
        await endpoint.send(buf.consume_all())

        reader = BytesReader(BytesView(await receiving.recv(1500)))
        print(f"received {reader.get_u8()}, {reader.get_u64_be()}, {reader.get_u128_be()}")


if __name__ == "__main__":
    trio.run(main)
