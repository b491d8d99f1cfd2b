"""`relay`: what arrives on one stream goes out on the other, both ways, until both have ended."""

from __future__ import annotations

import trio

from ._socket import SocketStream


async def relay(a: SocketStream, b: SocketStream) -> None:
    """Pass bytes from `a` to `b` and from `b` to `a` until both sides have sent their end.

    The end of one direction is passed on by `send_eof`; the other direction goes on. Both streams
    are open afterwards; closing them is the caller's business, whatever happens here.

    Raises:
      trio.BrokenResourceError: one of the connections is gone. What had arrived from it was passed
        on before; what was on its way to it is lost.
      trio.ClosedResourceError: one of the streams was closed by another task.
      trio.BusyResourceError: another task uses one of the streams.

    Cancellation: spoils. Bytes may be lost between the streams: close both.

    Cost: no copy in Python but of receives below 64 KiB that fill little of their
    block. At most one receive is held for each direction, so the memory is bounded and a slow
    receiver slows the sender down.

    Example:
      >>> async def main():
      ...     async def proxy(client):
      ...         async with await open_tcp_stream("127.0.0.1", 8080) as server:
      ...             await relay(client, server)
      ...     await serve_tcp(proxy, 8000)
    """
    for stream in (a, b):
        if not isinstance(stream, SocketStream):
            raise TypeError(f"relay joins SocketStreams, not {type(stream).__name__}")
    failures: list[Exception] = []

    async def pass_on(source: SocketStream, sink: SocketStream) -> None:
        view = None
        try:
            while True:
                view = None  # while waiting, its block belongs to whoever needs one
                view = await source.receive_view()
                if not view:
                    break
                try:
                    await sink.write_view(view)
                except trio.BrokenResourceError as exc:
                    # The other direction goes on: what this sink had sent before may wait there.
                    failures.append(exc)
                    return
            await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError) as exc:
            failures.append(exc)
            nursery.cancel_scope.cancel()
        finally:
            del view  # an error that is kept holds this frame, but no memory

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pass_on, a, b)
        nursery.start_soon(pass_on, b, a)
    if failures:
        raise failures.pop(0)
