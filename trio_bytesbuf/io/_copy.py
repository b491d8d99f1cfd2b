"""`copy`: everything from a source to a sink."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio.lowlevel import checkpoint

from ..seq._flat import count_of
from ._read import Read
from ._write import Write

if TYPE_CHECKING:
    from typing import SupportsIndex


async def copy(source: Read, sink: Write, *, max_nbytes: SupportsIndex | None = None) -> int:
    """Pass bytes from `source` to `sink` until the source ends; return how many.

    Both are open afterwards. The end is not passed on; `send_eof` or `aclose` does that.

    Args:
      source: where bytes come from; what a read that was abandoned had got goes first.
      sink: where they go.
      max_nbytes: the most bytes to copy, at least 0; the rest stays with the source.

    Returns:
      How many bytes were copied.

    Raises:
      As `source.receive_view` and `sink.write_view`.
      TypeError: `source` is not a `Read`, `sink` not a `Write`, or `max_nbytes` no integer.
      ValueError: `max_nbytes` is negative.

    Cancellation: spoils. Bytes that were received may be lost; close both.

    Cost: no copy in Python but of small receives. One receive is held at a time, and none
    while the source is waited for; a slow sink slows the source down. From a file to a socket
    `send_file` is quicker: the bytes do not pass through this process.

    Example:
      >>> async def main():
      ...     sink = FakeWrite()
      ...     print(await copy(FakeRead(b"abcdef"), sink, max_nbytes=4))
      ...     return sink.contents
      >>> trio.run(main)
      4
      BytesView(b'abcd')

    Idea: `std::io::copy` of Rust, `shutil.copyfileobj`.
    """
    if not isinstance(source, Read):
        raise TypeError(f"copy takes from a Read, not from {type(source).__name__}")
    if not isinstance(sink, Write):
        raise TypeError(f"copy gives to a Write, not to {type(sink).__name__}")
    limit = None if max_nbytes is None else count_of(max_nbytes, "max_nbytes")
    if limit == 0:
        await checkpoint()
        return 0
    copied = 0
    view = None
    try:
        while limit is None or copied < limit:
            view = None  # while waiting, its block belongs to whoever needs one
            view = await source.receive_view(None if limit is None else limit - copied)
            if not view:
                break
            await sink.write_view(view)
            copied += len(view)
        return copied
    finally:
        del view  # an error that is kept holds this frame, but no memory
