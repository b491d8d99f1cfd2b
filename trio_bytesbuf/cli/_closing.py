"""How connections end: with the end of the stream where all is well, with a reset where it is not.

Law 1. A peer that is told "end of stream" believes that it has everything. So when one connection
       of a pair has died, the other one's peer is not told that, but gets an error.
Law 2. A reset throws away what the kernel has not sent yet. So the survivor's peer is first given
       a few seconds to take it, and no more, since it may read nothing. A cancellation gives none.
"""

from __future__ import annotations

import contextlib
import struct
import sys
from typing import TYPE_CHECKING, Final

import trio

if sys.platform == "linux":
    import fcntl
    import termios

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..io import SocketStream

LINGER_FOR_NOTHING: Final = struct.pack("ii", 1, 0)
"""For SO_LINGER: on, no seconds. Closing then resets a TCP connection, and closes a Unix one."""

TAKING_SECONDS: Final = 5.0
"""How long the survivor's peer may take for what the kernel holds for it."""

LOOK_AGAIN_SECONDS: Final = 0.02
"""Between two looks at what the kernel holds."""


def reset(stream: SocketStream) -> None:
    """Close `stream` at once; a TCP peer gets an error and not the end of the stream."""
    with contextlib.suppress(OSError, trio.ClosedResourceError):
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, LINGER_FOR_NOTHING)
    stream.socket.close()


@contextlib.asynccontextmanager
async def closing(stream: SocketStream) -> AsyncIterator[None]:
    """Close `stream` at the end of the block; reset it if an error or a cancellation ends it.

    After an error, the peer is given time for what was sent to it; after a cancellation, none.
    """
    try:
        try:
            yield
        except Exception:
            await _taken(stream)
            raise
    except BaseException:
        reset(stream)
        raise
    await stream.aclose()


async def _taken(stream: SocketStream) -> None:
    """Wait until the peer has taken all that was sent to it, is gone, or took too long."""
    with contextlib.suppress(OSError), trio.move_on_after(TAKING_SECONDS):
        while unsent_nbytes(stream):  # noqa: ASYNC110  # the kernel tells nobody when it is none
            await trio.sleep(LOOK_AGAIN_SECONDS)


def unsent_nbytes(stream: SocketStream) -> int:
    """Return how much a reset of `stream` would throw away: what its peer has not acknowledged.

    That is nothing for a Unix socket, whose peer has all of it; and we say so where the system
    does not tell.

    Raises:
      OSError: the connection is gone.
    """
    socket = stream.socket
    socket.getpeername()  # raises if it is gone; the kernel goes on counting what it threw away
    if sys.platform == "linux":
        if socket.family != trio.socket.AF_UNIX:
            queued = fcntl.ioctl(socket, termios.TIOCOUTQ, bytes(4))
            return int.from_bytes(queued, sys.byteorder)
    return 0
