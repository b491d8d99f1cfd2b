"""`BufReader`: a buffer in front of any source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, cast

from ._filling import READ_AHEAD_NBYTES
from ._inner import SourceT_co
from ._reading import Reading

if TYPE_CHECKING:
    from typing import SupportsIndex

    from ..seq import BytesView


class BufReader(Reading, Generic[SourceT_co]):
    """Reads from any source by way of a buffer: exactly, until a delimiter, lines, frames.

    A `Read` and a `trio.abc.ReceiveStream` itself, so whatever reads those can go on with this one,
    with what is in the buffer first.

    Args:
      source: a `Read`, or any `trio.abc.ReceiveStream`. Closing this closes it.
      read_ahead_nbytes: the most bytes to receive at once, at least 1. What a read waits for may
        be more: the buffer then holds what has arrived of it.

    Raises:
      TypeError: `source` is neither, or `read_ahead_nbytes` is no integer.
      ValueError: `read_ahead_nbytes` is below 1.

    Example:
      >>> async def main():
      ...     reader = BufReader(FakeRead(b"HELO trio\\r\\n\\0\\5hello"))
      ...     print(await reader.read_until(b"\\r\\n", max_bytes=100))
      ...     nbytes = BytesReader(await reader.read_exactly(2)).get_u16_be()
      ...     print(await reader.read_exactly(nbytes))
      >>> trio.run(main)
      BytesView(b'HELO trio\\r\\n')
      BytesView(b'hello')

    Idea: `BufReader` of Rust's `std::io`; trio's issue 796.
    """

    def __init__(
        self,
        source: SourceT_co,
        *,
        read_ahead_nbytes: SupportsIndex = READ_AHEAD_NBYTES,
    ) -> None:
        self._read_from(source, read_ahead_nbytes)

    def __repr__(self) -> str:
        return f"<BufReader of {len(self._buffer)} bytes, over {self._inner!r}>"

    @property
    def inner(self) -> SourceT_co:
        """The source, as it was given. What is read of it by itself is missing here."""
        return cast("SourceT_co", self._inner)

    def into_inner(self) -> tuple[SourceT_co, BytesView]:
        """Give the source back, open, with the bytes that were received and not read; this is over.

        Raises:
          trio.BusyResourceError: a task is reading.
          trio.ClosedResourceError: this was closed, or gave the source back before.

        Idea: `into_inner` of Rust's `BufReader`, which loses the bytes.
        """
        if self._is_receiving or self._is_closed:
            self._refuse_reading_now()
        self._is_closed = True
        return self.inner, self._buffer.take_all()
