"""Send the same fixed bytes to everybody, around a few that are new each time.

    python examples/bb_static_data.py

A view of a `bytes` literal refers to the literal, so fixed parts are views made once, when the
module is imported, and used in every answer of every connection.
"""

import functools
import time

import trio

from trio_bytesbuf import BytesBuf, BytesView, SocketStream, open_tcp_stream, serve_tcp

CONNECTIONS = 10
PREFIX = BytesView(b"Unix-Milliseconds: ")
SUFFIX = BytesView(b"\r\n\r\n")


async def tell_the_time(stream: SocketStream) -> None:
    """Send the one answer that this server has, and close."""
    now = b"%d" % (time.time_ns() // 1_000_000)
    async with stream:
        await stream.write_view(BytesView.from_views([PREFIX, BytesView(now), SUFFIX]))


async def main() -> None:
    """Serve on a free port, and ask a few times."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            functools.partial(serve_tcp, host="127.0.0.1"), tell_the_time, 0
        )
        port = listeners[0].socket.getsockname()[1]
        for _ in range(CONNECTIONS):
            async with await open_tcp_stream("127.0.0.1", port) as stream:
                buf = BytesBuf()
                while await stream.read_more_into(buf):
                    pass
                print(f"received {buf.consume_all().decode()!r}")
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
