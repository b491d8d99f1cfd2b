"""`BufWriter`: a buffer in front of any sink, and what is raised when it cannot be emptied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, cast

import attrs

from .._errors import BytesBufError
from ._inner import SinkT_co
from ._writing import Marks, Writing

if TYPE_CHECKING:
    from typing import SupportsIndex

    from ..seq import BytesView


MAX_NBYTES: Final = 1_048_576
"""How much is buffered at the most if nobody says otherwise."""


@attrs.define(eq=False, slots=False)
class IntoInnerError(BytesBufError):
    """What was buffered could not be sent, so the stream was not given back; the cause says why.

    Idea: `IntoInnerError` of the Rust crate bufstream.
    """

    buffered: Any
    """The `BufWriter` or `BufStream`, which is as usable as it was."""

    unsent: BytesView
    """What was not sent, as far as is known."""

    def __str__(self) -> str:
        return f"{len(self.unsent)} bytes could not be sent: {self.__cause__}"


class BufWriter(Writing, Generic[SinkT_co]):
    """Takes bytes at once, keeps them, and sends them to any sink when it is told to.

    A `Write` and a `trio.abc.SendStream` itself, whose `write_view` and `send_all` send what is in
    the buffer, and then their own. A `BufMut`, too: `put_u16_be` and all its kin write to it.

    Closing sends what is in the buffer first, and waits for that, and for another task that is
    sending, as long as the peer takes: put a timeout around it where peers may be stuck. Closed
    by cancellation, by `trio.aclose_forcefully`, or at the end of an ``async with`` block that an
    error ends, it drops what is left, so that half of a message is not taken for all. A writer
    that is forgotten sends nothing and warns (ResourceWarning). Closing a second time does
    nothing, also while the first waits; to end that, cancel it.

    Args:
      sink: a `Write`, or any `trio.abc.SendStream`. Closing this closes it.
      low_water_nbytes: `drain` sends until no more is in the buffer; 16 KiB if not given.
      high_water_nbytes: `drain` does nothing before more is in the buffer; 64 KiB if not given.
      max_nbytes: what would bring more into the buffer is refused, at least 1; lowers the other
        two, where they are not given.

    Raises:
      TypeError: `sink` is neither, or a number is no integer.
      ValueError: the three numbers are not in this order.

    Example:
      >>> async def main():
      ...     sink = FakeWrite()
      ...     async with BufWriter(sink) as writer:
      ...         writer.write(b"HELO ")
      ...         writer.write_line("trio", b"\\r\\n")
      ...         writer.put_u16_be(7)
      ...     return sink.contents.to_bytes()
      >>> trio.run(main)
      b'HELO trio\\r\\n\\x00\\x07'

    Idea: `BufWriter` of Rust's `std::io`, which flushes when it is dropped; asyncio's `drain`.
    """

    def __init__(
        self,
        sink: SinkT_co,
        *,
        low_water_nbytes: SupportsIndex | None = None,
        high_water_nbytes: SupportsIndex | None = None,
        max_nbytes: SupportsIndex = MAX_NBYTES,
    ) -> None:
        self._write_to(sink, Marks.of(low_water_nbytes, high_water_nbytes, max_nbytes))

    def __repr__(self) -> str:
        return f"<BufWriter of {self._buffered_nbytes} bytes, over {self._inner!r}>"

    @property
    def inner(self) -> SinkT_co:
        """The sink, as it was given. What is sent to it by itself comes before what is buffered."""
        return cast("SinkT_co", self._inner)

    async def into_inner(self) -> SinkT_co:
        """Flush, and give the sink back, open; this is over.

        Raises:
          IntoInnerError: flushing failed; the cause says why. This can still be used.
          trio.BusyResourceError: another task is flushing or sending.
          trio.ClosedResourceError: this was closed, or gave the sink back before.

        Cancellation: as `flush`; the sink was not given back.

        Idea: `into_inner` of the Rust crate bufstream.
        """
        if self._is_sending or self._is_closed:
            await self._refuse_sending()
        self._is_sending = True
        try:
            await self._flush(self._buffered_nbytes)
            while self._buffered_nbytes:  # what was written meanwhile
                await self._flush(self._buffered_nbytes)
            self._is_closed = True
        except Exception as exc:
            self._refuse_if_closed()  # by another task
            raise IntoInnerError(self, self.unsent) from exc
        finally:
            self._is_sending = False
        return self.inner

    async def _aclose(self) -> None:
        try:
            await self._flush_before_closing()
        finally:
            self._drop()
            await self._sink.aclose()
