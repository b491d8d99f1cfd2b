"""Publish the memory of what you wrap: a stream that counts zeros and passes everything on.

    python examples/bb_has_memory_forwarding.py

`ZeroCounter` only looks at bytes, so it has no wish of its own about where they lie. The stream
that it passes them to may have one, so its `memory` is that stream's, and whoever writes to it
puts the bytes in the right place without knowing why.
"""

import trio

from trio_bytesbuf import BytesView, SocketStream, Write
from trio_bytesbuf.mem import HasMemory, Memory
from trio_bytesbuf.testing import FixedBlockMemory

PAYLOAD_NBYTES = 12_345


class ZeroCounter(Write):
    """A sink in front of a stream that knows how many zeros went through it."""

    def __init__(self, stream: SocketStream) -> None:
        self.zeros = 0
        self._stream = stream

    @property
    def memory(self) -> Memory:
        """What the stream prefers."""
        return self._stream.memory

    async def _write_view(self, view: BytesView) -> None:
        await self._stream.write_view(view)
        self.zeros += view.count(0)  # once they are sent

    async def _aclose(self) -> None:
        await self._stream.aclose()


def payload_for(sink: HasMemory) -> BytesView:
    """Return bytes that count up, again and again, in the memory that `sink` prefers."""
    buf = sink.memory.reserve(PAYLOAD_NBYTES)
    for number in range(PAYLOAD_NBYTES):
        buf.put_u8(number % 256)
    return buf.consume_all()


async def main() -> None:
    """Send the payload through a counter, over a stream that wants blocks of 4 KiB."""
    near, far = trio.socket.socketpair()
    ours = SocketStream(near, memory=FixedBlockMemory(4096))
    async with ZeroCounter(ours) as counter, SocketStream(far) as theirs:
        payload = payload_for(counter)
        print(f"the payload lies in pieces of {[piece.nbytes for piece in payload.pieces]} bytes")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive, theirs)
            await counter.write_view(payload)
            await ours.send_eof()
        print(f"sent {len(payload)} bytes, {counter.zeros} of them zeros")


async def receive(stream: SocketStream) -> None:
    """Take what comes until the end."""
    nbytes = sum([len(view) async for view in stream.views()])
    print(f"received {nbytes} bytes")


if __name__ == "__main__":
    trio.run(main)
