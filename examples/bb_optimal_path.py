"""Go a faster way when all bytes lie in the right memory, and a slower one when they do not.

    python examples/bb_optimal_path.py

Some ways out of a process only take memory that was made known to them beforehand: RDMA cards and
io_uring's fixed buffers are two. `Connection` plays one of those. It publishes memory that it
knows and sends that as it lies; everything else is copied into such memory first. Whoever writes
need not know: the bytes arrive in either case.
"""

import mmap

import attrs
import trio

from trio_bytesbuf import BytesView, SocketStream, Write, default_memory
from trio_bytesbuf.mem import Block, MemoryShared


@attrs.frozen
class Registered:
    """What is said of memory that was made known to a connection."""

    region: int


class RegisteredMemory(MemoryShared):
    """A provider of one's own: whole pages, each block marked with the region it belongs to."""

    def __init__(self, region: int) -> None:
        self._mark = Registered(region)

    def blocks(self, nbytes: int, /) -> list[Block]:
        """Return one block of `nbytes` bytes; none for 0."""
        return [Block(mmap.mmap(-1, nbytes), meta=self._mark)] if nbytes else []

    def __repr__(self) -> str:
        return f"RegisteredMemory({self._mark.region})"


class Connection(Write):
    """A sink with two ways to the same peer."""

    def __init__(self, stream: SocketStream, region: int) -> None:
        self._stream = stream
        self._region = region
        self._memory = RegisteredMemory(region)

    @property
    def memory(self) -> RegisteredMemory:
        """Memory that may go the faster way."""
        return self._memory

    def can_go_as_it_lies(self, view: BytesView) -> bool:
        """Say whether each piece of `view` lies in memory of this connection's region."""
        return all(
            isinstance(meta, Registered) and meta.region == self._region for meta in view.metas
        )

    async def _write_view(self, view: BytesView) -> None:
        if self.can_go_as_it_lies(view):
            print(f"{len(view)} bytes by the faster way")
        else:
            print(f"{len(view)} bytes by way of a copy")
            view = BytesView.copied_from_slice(view, self._memory)
        assert self.can_go_as_it_lies(view)
        await self._stream.write_view(view)

    async def _aclose(self) -> None:
        await self._stream.aclose()


async def main() -> None:
    """Write a message in the right memory, one elsewhere, and one that is half and half."""
    ours, theirs = map(SocketStream, trio.socket.socketpair())
    async with Connection(ours, region=7) as connection, theirs:
        first = BytesView.copied_from_slice(b"Example message 1: hello, world!", connection.memory)
        second = BytesView.copied_from_slice(b"Message 2: goodbye", default_memory())
        for message in (first, second, first + second):
            await connection.write_view(message)
        await ours.send_eof()
        nbytes = sum([len(view) async for view in theirs.views()])
        print(f"{nbytes} bytes arrived")


if __name__ == "__main__":
    trio.run(main)
