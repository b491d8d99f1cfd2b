"""Find a leak: who took the memory that does not come home, and who holds it now.

    python examples/leak.py

A server takes a name and a message from each client and makes two mistakes: it keeps the names in a
cache that nobody empties, as views, and it leaves a line for its log behind, to be
written later, that still sees the whole message. `TrackingPool` names the lines and the holders.
"""

import gc
from collections.abc import Callable
from functools import partial

import trio

from trio_bytesbuf import BytesView, SocketStream, default_memory
from trio_bytesbuf.io import open_tcp_listeners, open_tcp_stream
from trio_bytesbuf.mem import TrackingPool, format_outstanding, set_default_memory

NAME_NBYTES = 5
MESSAGE_NBYTES = 40_000

GUESTS: list[BytesView] = []


class Log:
    """Lines that are only made when somebody wants to read them."""

    def __init__(self) -> None:
        self.lines: list[Callable[[], str]] = []


LOG = Log()


async def receive_exactly(stream: SocketStream, nbytes: int) -> BytesView:
    """Receive so many bytes into one block."""
    buf = stream.memory.reserve(nbytes)
    while len(buf) < nbytes:
        buf.put_slice(await stream.receive_view(nbytes - len(buf)))
    return buf.consume_all()


async def serve(stream: SocketStream) -> None:
    """Welcome one client."""
    async with stream:
        name = await receive_exactly(stream, NAME_NBYTES)
        message = await receive_exactly(stream, MESSAGE_NBYTES)
        GUESTS.append(name)  # bytes(name) would do, and keep no memory
        LOG.lines.append(lambda: f"received {len(message)} bytes")  # so would its length
        await stream.send_all(b"Welcome!")


async def visit(port: int) -> None:
    """Be a client."""
    async with await open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"Ariel" + bytes(MESSAGE_NBYTES))
        await receive_exactly(stream, len(b"Welcome!"))


async def main() -> None:
    """Serve one client, end the server, and look what is left."""
    before = default_memory()
    pool = TrackingPool()
    set_default_memory(pool)
    try:
        [listener] = await open_tcp_listeners(0, host="127.0.0.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.serve_listeners, serve, [listener]))
            await visit(listener.socket.getsockname()[1])
            nursery.cancel_scope.cancel()
    finally:
        set_default_memory(before)
    gc.collect()  # garbage is no leak
    print(format_outstanding(pool.outstanding()))


if __name__ == "__main__":
    trio.run(main)
