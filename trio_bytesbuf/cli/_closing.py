"""How connections end: with the end of the stream where all is well, with a reset where it is not.

A peer that is told "end of stream" believes that it has everything. So when one connection of a
pair has died, the other one's peer must not be told that. A reset also never waits: the kernel
forgets what it had not sent yet.
"""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..io import SocketStream

LINGER_FOR_NOTHING: Final = struct.pack("ii", 1, 0)
"""For SO_LINGER: on, no seconds. Closing then resets a TCP connection, and closes a Unix one."""


def reset(stream: SocketStream) -> None:
    """Close `stream` at once; a TCP peer gets an error and not the end of the stream."""
    with contextlib.suppress(OSError, trio.ClosedResourceError):
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, LINGER_FOR_NOTHING)
    stream.socket.close()


@contextlib.asynccontextmanager
async def closing(stream: SocketStream) -> AsyncIterator[None]:
    """Close `stream` at the end of the block; reset it if an error or a cancellation ends it."""
    try:
        yield
    except BaseException:
        reset(stream)
        raise
    await stream.aclose()
