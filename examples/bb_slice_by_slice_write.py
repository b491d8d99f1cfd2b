"""Write into a builder's memory itself, a slice at a time.

    python examples/bb_slice_by_slice_write.py

`put_slice` does this for you. Do it by hand when something else fills the memory: `recv_into`, a
decompressor, numpy. How much fits into one slice is the memory's business, down to a single byte.
"""

from trio_bytesbuf import BytesBuf, BytesView, default_memory
from trio_bytesbuf.mem import Memory
from trio_bytesbuf.testing import FixedBlockMemory

TIMES = 8888
COLOUR = b"octarine"


def emit(payload: bytes, buf: BytesBuf) -> None:
    """Write `payload` into the room of `buf`."""
    assert buf.remaining_capacity >= len(payload)
    missing = memoryview(payload)
    while missing:
        room = buf.chunk_mut()
        nbytes = min(len(room), len(missing))
        room[:nbytes] = missing[:nbytes]
        # Bytes count as filled when nobody can write to them any more, so the slice goes first.
        del room
        buf.advance_mut(nbytes)
        missing = missing[nbytes:]


def message_in(memory: Memory) -> BytesView:
    """Return the colour, many times, in `memory`."""
    buf = memory.reserve(TIMES * len(COLOUR))
    for _ in range(TIMES):
        emit(COLOUR, buf)
    return buf.consume_all()


def main() -> None:
    """Write the same message into kind memory and into hostile memory."""
    for memory in (default_memory(), FixedBlockMemory(3)):
        message = message_in(memory)
        print(f"{TIMES} times the colour: {len(message)} bytes in {len(message.pieces)} pieces")
        assert message == COLOUR * TIMES


if __name__ == "__main__":
    main()
