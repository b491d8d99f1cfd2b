"""`relay`: what arrives on one stream goes out on the other, both ways, until both have ended.

Law 1. While one end is waited for, nothing is held for that direction.
Law 2. A direction ends in one of three ways. Its end is passed on and the other direction goes on;
       or its sink is broken, and the other goes on, because what this sink had sent before may
       wait there; or nothing more can come of the other direction either, and both end.
Law 3. An end that the sink has no word for ends both directions, so that the caller closes the
       sink: that is the word it has. To go on would wait for a peer that was never told,
       maybe for ever.

`os.splice` would keep the bytes in the kernel: a pipe for each direction, between two sockets.
It was measured (`bench/relay.py`) and not taken. In bulk over loopback TCP it took 0.7 of our
processor time with pipes of 64 KiB and 0.3 with pipes of 1 MiB, at about the same speed, as the two
ends are what limits that; for 64 KiB there and back the time was 0.8, the processor time between
0.6 and the same; for 1,000 bytes 0.9 and 0.8. Against that stand four descriptors more for each
relay, and that Linux gives one user 64 MiB of pipes unless told otherwise: for 32 relays with pipes
of 1 MiB, for 512 of 64 KiB. From then on every new pipe of that user's programs, not only ours,
has room for two pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from ._read import Read
from ._write import Write

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._endpoint import ReadWrite


STREAM_ERRORS: Final = (
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.BusyResourceError,
    trio.TooSlowError,
)
"""What a stream has to say about itself: it comes out of a relay as it is, and not in a group."""


async def relay(a: ReadWrite, b: ReadWrite) -> None:
    """Pass bytes from `a` to `b` and from `b` to `a` until both sides have sent their end.

    The end of one direction is passed on by `send_eof` where the sink has that method, as trio's
    half-closeable streams have; the other direction goes on. Other sinks (TLS, a terminal) can
    say it only by being closed: an end that is to go there ends the relay, when all bytes before it
    have been sent, and what was on its way in the other direction is lost. Both streams are open
    afterwards; closing them is the caller's business, whatever happens here.

    Args:
      a, b: each a `Read` and a `Write`: a stream of ours. What a read that was abandoned had got
        goes first. Of a trio stream, `from_trio` makes one.

    Raises:
      trio.BrokenResourceError: one of the connections is gone. What had arrived from it was passed
        on before; what was on its way to it is lost.
      trio.ClosedResourceError: one of the streams was closed by another task.
      trio.BusyResourceError: another task uses one of the streams.
      PeerTooSlow: one of the streams is guarded, and its peer was too slow.
      TypeError: `a` or `b` is not both a `Read` and a `Write`.
      ExceptionGroup: around any other error, of a stream's memory, say; as nurseries raise it.

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
        if not isinstance(stream, Read) or not isinstance(stream, Write):
            raise TypeError(f"relay joins what is a Read and a Write, not {type(stream).__name__}")
    failures: list[Exception] = []
    async with trio.open_nursery() as nursery:
        end_both = nursery.cancel_scope.cancel
        nursery.start_soon(_pass_on, a, b, failures, end_both)
        nursery.start_soon(_pass_on, b, a, failures, end_both)
    if failures:
        raise failures.pop(0)


async def _pass_on(
    source: ReadWrite,
    sink: ReadWrite,
    failures: list[Exception],
    end_both: Callable[[], object],
) -> None:
    """Pass bytes from `source` to `sink` until the end, and then that. (Law 2)"""
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
                failures.append(exc)
                return
        # Not every stream that can do it is trio's by its type: streams in memory are not.
        send_eof = getattr(sink, "send_eof", None)
        if send_eof is None:
            end_both()  # Law 3
        else:
            await send_eof()
    except STREAM_ERRORS as exc:
        failures.append(exc)
        end_both()
    finally:
        del view  # an error that is kept holds this frame, but no memory
