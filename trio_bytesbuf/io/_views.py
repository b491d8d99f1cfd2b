"""`Views` and `Batches`: async iterators over what a source receives.

Law 1. A step that is cancelled has taken nothing from the source: the reads that steps are made of
       are resumable. So an iterator holds no bytes, and giving the source back loses none.
Law 2. Whoever has been given the source back is its only reader: `into_inner` returns when the
       task that was waiting in a step is out of it, and what that step had got is the source's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

    from ..seq import BytesView


class Source(Protocol):
    """What is iterated over, as far as an iterator needs to know: a `Read`."""

    async def aclose(self) -> None:
        """Close it."""

    def _put_back(self, views: Sequence[BytesView]) -> None:
        """Let the next read begin with `views`."""


S = TypeVar("S", bound=Source)
T = TypeVar("T", bound="BytesView | list[BytesView]")


class Iteration(trio.abc.AsyncResource, Generic[S, T]):
    """Steps over a source until one gives nothing; closing it closes the source."""

    def __init__(self, source: S, step: Callable[[], Awaitable[T]]) -> None:
        self._source: S | None = source
        self._step = step
        self._is_stepping = False
        self._scope: trio.CancelScope | None = None
        self._out: trio.Event | None = None  # while somebody waits for a step to be over

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._source!r}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        source = self._given()
        if self._is_stepping:
            raise trio.BusyResourceError("another task waits for the next step of this iterator")
        self._is_stepping = True
        try:
            try:
                item = await self._step()
            except StopAsyncIteration as exc:  # a source's mistake would look like the end
                raise RuntimeError("a source raised StopAsyncIteration") from exc
            if self._source is None:  # given back while this step was on its way out
                source._put_back(item if isinstance(item, list) else [item])
                await trio.lowlevel.checkpoint()  # where the block is cancelled
                self._given()
        finally:
            self._is_stepping = False
            if self._out is not None:
                self._out.set()
        if not item:
            raise StopAsyncIteration
        return item

    def _given(self) -> S:
        if self._source is None:
            raise trio.ClosedResourceError("the source of this iterator was given back")
        return self._source

    async def into_inner(self) -> S:
        """Give the source back, with every byte that it has not given away; iterating is over.

        In an ``async with`` block of this iterator, a step that another task waits in is
        abandoned: that block ends there, without an error, and leaves the source open.

        Raises:
          trio.BusyResourceError: a task waits in a step, and not in an ``async with`` block.
          trio.ClosedResourceError: the source was given back before.

        Cancellation: the source counts as given back.

        Idea: bytesbuf_io's `ReadAsFuturesStream::into_inner`.
        """
        source = self._given()
        if self._is_stepping and self._scope is None:
            raise trio.BusyResourceError(
                "a task waits for the next step; iterate inside `async with` to have it abandoned"
            )
        self._source = None
        if self._is_stepping:
            assert self._scope is not None
            self._scope.cancel()
            self._out = trio.Event()
            await self._out.wait()
        else:
            await trio.lowlevel.checkpoint()
        return source

    async def aclose(self) -> None:
        """Close the source, unless it was given back. Cancellation: it is closed all the same."""
        if self._source is None:
            await trio.lowlevel.checkpoint()
            return
        await self._source.aclose()

    async def __aenter__(self) -> Self:
        self._given()
        if self._scope is not None:
            raise RuntimeError("this iterator has been entered already")
        self._scope = trio.CancelScope()
        self._scope.__enter__()
        return self

    # trio's declaration has no way to say that the end of a block can be without an error.
    async def __aexit__(  # type: ignore[override]
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        assert self._scope is not None
        try:
            if not self._scope.cancel_called:  # by `into_inner`: nothing to close, nor to wait for
                await self.aclose()
        finally:
            swallowed = self._scope.__exit__(exc_type, exc, traceback)
        return bool(swallowed)


class Batches(Iteration[S, "list[BytesView]"]):
    """Lists of views, each of what is at hand and never empty; made by `Views.batches`."""


class Views(Iteration[S, "BytesView"]):
    """The views that a source receives, one for each step; made by `Read.views` and `Read.chunks`.

    Each step is a checkpoint. To end early and keep the source, leave the loop, or call
    `into_inner`. ``async with source.views() as views`` closes the source at the end of the block,
    as trio's channels are closed.

    Example:
      >>> async def main():
      ...     async with FakeRead(b"abcdefgh", max_read_nbytes=3).views() as views:
      ...         async for view in views:
      ...             print(view)
      >>> trio.run(main)
      BytesView(b'abc')
      BytesView(b'def')
      BytesView(b'gh')
    """

    def __init__(
        self,
        source: S,
        step: Callable[[], Awaitable[BytesView]],
        batch: Callable[[], Awaitable[list[BytesView]]],
    ) -> None:
        super().__init__(source, step)
        self._batch = batch

    def batches(self) -> Batches[S]:
        """Return an iterator over lists of such views: all that are at hand, for one checkpoint.

        A list is never empty, and never longer than 1,000 views.

        Example:
          >>> async def main():
          ...     async for batch in FakeRead(b"abcdefgh").chunks(3).batches():
          ...         print(batch)
          >>> trio.run(main)
          [BytesView(b'abc'), BytesView(b'def')]
          [BytesView(b'gh')]
        """
        return Batches(self._given(), self._batch)
