"""Build a message, send it over a socket, read it on the other side.

    python examples/bb_basic.py

A million bytes of numbers go into a builder, the builder turns into a view, and the view goes
through a socket. It may arrive in any number of pieces; a `BytesReader` does not care.
"""

import trio

from trio_bytesbuf import BytesBuf, BytesReader, BytesView, SocketStream
from trio_bytesbuf.mem import Memory

WORDS = 123_456
WORD_NBYTES = 8


def counted_up(memory: Memory) -> BytesView:
    """Return the numbers from 0 on, in 8 bytes each."""
    buf = memory.reserve(WORDS * WORD_NBYTES)
    print(f"asked for {WORDS * WORD_NBYTES} bytes, got room for {buf.capacity}")
    for number in range(WORDS):
        buf.put_u64_le(number)
    return buf.consume_all()


async def produce(stream: SocketStream) -> None:
    """Send the message, and that it was the last one."""
    await stream.write_view(counted_up(stream.memory))
    await stream.send_eof()


async def consume(stream: SocketStream) -> None:
    """Receive until the end, and add the numbers up."""
    buf = BytesBuf()
    while await stream.read_more_into(buf):
        pass
    reader = BytesReader(buf.consume_all())
    print(f"received {len(reader)} bytes")
    total = 0
    while reader:
        total += reader.get_u64_le()
    print(f"the sum of all numbers is {total}")


async def main() -> None:
    """Run both ends of one connection."""
    ours, theirs = map(SocketStream, trio.socket.socketpair())
    async with ours, theirs, trio.open_nursery() as nursery:
        nursery.start_soon(produce, ours)
        nursery.start_soon(consume, theirs)


if __name__ == "__main__":
    trio.run(main)
