"""Streams for tests: in memory, in lock step, and a byte at a time.

`trio.testing` has the first two as trio streams; these are sources and sinks of views over them.
"""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import trio
import trio.testing
from trio.lowlevel import checkpoint

from ..io import Read
from ..io._trio_sides import SendsEof
from ..seq import BytesView, Memory
from ..seq._flat import positive_count_of
from ..seq._memory import memory_or_default
from ._memories import TransparentMemory

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import SupportsIndex


class MemoryStream(SendsEof, Read):
    """One of two connected streams in memory; made by `memory_pair` and `lockstep_pair`.

    What it receives is copied into blocks of `memory`; so hostile memory gives hostile views.
    """

    def __init__(
        self,
        stream: trio.abc.HalfCloseableStream,
        memory: Memory | None,
    ) -> None:
        self._stream = stream
        self._memory = TransparentMemory() if memory is None else memory_or_default(memory)
        self._uncopied = b""  # received, and no memory was to be had for it yet

    @property
    def memory(self) -> Memory:
        """Where received bytes go: one new block for each receive, if none was given."""
        return self._memory

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        if self._uncopied:
            await checkpoint()
            self._refuse_if_closed()
        else:
            self._uncopied = bytes(await self._stream.receive_some(max_bytes))
        view = BytesView.copied_from_slice(self._uncopied[:max_bytes], self._memory)
        self._uncopied = self._uncopied[len(view) :]
        return view

    async def _write_view(self, view: BytesView) -> None:
        await self._stream.send_all(view.to_bytes())
        self._refuse_if_closed()

    async def _wait_write_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()
        self._refuse_if_closed()

    async def _send_eof(self) -> None:
        await self._stream.send_eof()

    async def _aclose(self) -> None:
        await self._stream.aclose()


def memory_pair(memory: Memory | None = None) -> tuple[MemoryStream, MemoryStream]:
    """Return two connected streams in memory. A write returns at once, however much it sends.

    Args:
      memory: what either copies received bytes into; a `TransparentMemory` if not given.

    Example:
      >>> async def main():
      ...     a, b = memory_pair(FixedBlockMemory(2))
      ...     await a.write_view(BytesView(b"abc"))
      ...     return (await b.receive_view()).pieces
      >>> [bytes(piece) for piece in trio.run(main)]
      [b'ab', b'c']

    Idea: `trio.testing.memory_stream_pair`, which this is made of.
    """
    a, b = trio.testing.memory_stream_pair()
    return MemoryStream(a, memory), MemoryStream(b, memory)


def lockstep_pair(memory: Memory | None = None) -> tuple[MemoryStream, MemoryStream]:
    """Return two connected streams without any buffer: a write returns when all was received.

    Args:
      memory: what either copies received bytes into; a `TransparentMemory` if not given.

    Example:
      >>> async def main():
      ...     a, b = lockstep_pair()
      ...     async with trio.open_nursery() as nursery:
      ...         nursery.start_soon(a.write_view, BytesView(b"abc"))
      ...         return await b.read_exactly(3)
      >>> trio.run(main)
      BytesView(b'abc')

    Idea: `trio.testing.lockstep_stream_pair`, which this is made of.
    """
    a, b = trio.testing.lockstep_stream_pair()
    return MemoryStream(a, memory), MemoryStream(b, memory)


class _Dribbling(Read):
    """Receives as much at a time as it was told."""

    def __init__(self, source: Read | trio.abc.ReceiveStream, sizes: Iterable[int]) -> None:
        self._source = source
        self._sizes = cycle(sizes)
        self._size = next(self._sizes)

    @property
    def memory(self) -> Memory:
        return self._source.memory if isinstance(self._source, Read) else super().memory

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        size = self._size if max_bytes is None else min(max_bytes, self._size)
        if isinstance(self._source, Read):
            view = await self._source.receive_view(size)
        else:
            view = BytesView(bytes(await self._source.receive_some(size)))
        self._size = next(self._sizes)
        return view

    async def _aclose(self) -> None:
        await self._source.aclose()


def dribbling(source: Read | trio.abc.ReceiveStream, sizes: Iterable[SupportsIndex] = (1,)) -> Read:
    """Return a source that receives what `source` does, a byte at a time, or a few.

    Code that works with it does not depend on where a receive happens to end.

    Args:
      source: closed with the source that is returned.
      sizes: the most bytes of each receive, at least 1 each; at the end it begins anew. To draw
        them with hypothesis: ``st.lists(st.integers(1, 9), min_size=1)``.

    Raises:
      TypeError, ValueError: `sizes` has a number that is no integer or below 1, or no number.

    Cost: a call of `source` for each receive.

    Example:
      >>> async def main():
      ...     return [view async for view in dribbling(FakeRead(b"abcdefgh"), [1, 3]).views()]
      >>> trio.run(main)
      [BytesView(b'a'), BytesView(b'bcd'), BytesView(b'e'), BytesView(b'fgh')]

    Idea: Go's `iotest.OneByteReader`.
    """
    counts = [positive_count_of(size, "a size") for size in sizes]
    if not counts:
        raise ValueError("sizes must have at least one number")
    return _Dribbling(source, counts)
