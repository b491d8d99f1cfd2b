"""`Write`: a sink for bytes that come in views. Two short methods to implement, others for free."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, cast

import trio
from trio.lowlevel import checkpoint

from ..seq import BytesView
from ..seq._view import make_view
from ._endpoint import Endpoint
from ._vectored import JOIN_AHEAD_NBYTES, JOIN_ALL_NBYTES, JOIN_BELOW_NBYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import SupportsIndex

    from ..seq import BytesBuf
    from ..seq._flat import Buffer


class Write(Endpoint):
    """A sink for bytes that come in views, for one writing task at a time.

    Implement `_write_view` and `_aclose`; and `_wait_write_might_not_block` where the sink can
    say when that is.

    Idea: bytesbuf_io's `Write` and `WriteExt`.
    """

    _is_sending = False

    @abc.abstractmethod
    async def _write_view(self, view: BytesView) -> None:
        """Send all bytes of `view`, which may be none; called by the public methods.

        Called for one task at a time, and not after `aclose` has begun. Has to be a checkpoint.
        """

    async def _wait_write_might_not_block(self) -> None:
        """Wait until sending might not block; may return early, but never late."""
        await checkpoint()

    def _write_now(self, view: BytesView) -> int:  # noqa: ARG002  # who can look at it
        """Send what goes without waiting and return how much that is; no checkpoint.

        Called as `_write_view` is. What keeps it from going will keep the next send from it, too,
        and is raised there.
        """
        return 0

    async def write_view(self, view: BytesView) -> None:
        """Send all bytes of `view`, without copying more than is quicker than not copying.

        Raises:
          trio.BusyResourceError: another task is writing.
          trio.ClosedResourceError: this sink was closed, here or by another task, or its
            end was announced.
          trio.BrokenResourceError: the connection is gone.
          TypeError: `view` is not a `BytesView`.

        Cancellation: spoils. Some of the bytes may have been sent; close the sink.
        """
        if not isinstance(view, BytesView):
            raise TypeError(f"write_view sends a BytesView, not {type(view).__name__}")
        if self._is_sending or self._is_closed:
            await self._refuse_sending()
        self._is_sending = True
        try:
            await self._write_view(view)
        finally:
            self._is_sending = False
            del view  # an error that is kept holds this frame, but no memory

    async def _refuse_sending(self) -> None:
        """Raise what keeps the sending side from being claimed, or wait until nothing does."""
        if self._is_sending:
            raise trio.BusyResourceError(f"another task is already sending to {self!r}")
        await checkpoint()
        raise trio.ClosedResourceError(f"this {type(self).__name__} was closed")

    async def write_parts(self, parts: Iterable[BytesView | Buffer]) -> None:
        """Send the bytes of all `parts`, in order, as one `write_view` does: header and body, say.

        Args:
          parts: views, or buffers, which are not copied but where that is quicker.

        Raises:
          TypeError: one of them is neither.
          As `write_view` otherwise.

        Cancellation: spoils, as `write_view`.

        Example:
          >>> async def main():
          ...     sink = FakeWrite()
          ...     await sink.write_parts([b"header, ", BytesView(b"body")])
          ...     return sink.contents.to_bytes()
          >>> trio.run(main)
          b'header, body'
        """
        parts = list(parts)
        if [*map(type, parts)].count(bytes) == len(parts):  # a third less than a set of them
            await self.write_view(_view_of(cast("list[bytes]", parts)))
            return
        views = [part if isinstance(part, BytesView) else BytesView(part) for part in parts]
        await self.write_view(BytesView.from_views(views))

    async def prepare_and_write(
        self, capacity_nbytes: SupportsIndex, fill: Callable[[BytesBuf], object]
    ) -> None:
        """Have `fill` put bytes into memory that suits this sink, and send them.

        Args:
          capacity_nbytes: how much room the builder has, at least; it can reserve more.
          fill: called with an empty builder. What it raises is raised here, and nothing is sent.

        Raises:
          TypeError, ValueError: `capacity_nbytes` is no integer, or negative.
          As `write_view` otherwise, and what `fill` raises.

        Cancellation: spoils, as `write_view`. `fill` is called before the first checkpoint.

        Example:
          >>> async def main():
          ...     sink = FakeWrite()
          ...     await sink.prepare_and_write(8, lambda buf: buf.put_u32_be(7))
          ...     return sink.contents
          >>> trio.run(main)
          BytesView(b'\\x00\\x00\\x00\\x07')

        Idea: bytesbuf_io's `WriteExt::prepare_and_write`, whose function returns the view.
        """
        if self._is_sending or self._is_closed:  # before `fill` takes anything from anywhere
            await self._refuse_sending()
        buf = self.reserve(capacity_nbytes)
        fill(buf)
        await self.write_view(buf.consume_all())

    async def wait_write_might_not_block(self) -> None:
        """Wait until sending might not block, or return at once if the sink cannot say.

        Raises:
          As `write_view`.

        Cancellation: atomic.
        """
        if self._is_sending or self._is_closed:
            await self._refuse_sending()
        self._is_sending = True
        try:
            await self._wait_write_might_not_block()
        finally:
            self._is_sending = False


def _view_of(parts: list[bytes]) -> BytesView:
    """Return a view of `parts`, which are joined where sending would join them anyway."""
    nbytes = sum(map(len, parts))
    are_small = nbytes < len(parts) * JOIN_BELOW_NBYTES  # by and large: it is not worth more
    if nbytes <= JOIN_ALL_NBYTES or (are_small and nbytes <= JOIN_AHEAD_NBYTES):
        return BytesView(b"".join(parts))  # a view of each would cost more than copying it
    return make_view(tuple(map(memoryview, filter(None, parts))), nbytes)
