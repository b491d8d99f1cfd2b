"""Functions that read or write a file, run in a thread beside a block of a task.

    produced_by        task: a `Read`    <--  thread: pack(file)     the thread waits for the task
    consumed_by        task: a `Write`   -->  thread: parse(file)    the thread waits for the task

The files are those of `_blocking`.

Law 1. A thread that waits for tasks is not counted against a limit which those tasks need threads
       of: it would keep what it waits for from coming about.
Law 2. The function is over before the block is: whatever ends the block ends the function's next
       wait, and the thread is waited for.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint

from ..seq import BytesView
from ._blocking import BlockingReader, BlockingWriter
from ._endpoint import Endpoint
from ._read import Read
from ._write import Write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

E = TypeVar("E", bound=Endpoint)


class _Work:
    """A function in a thread, and what became of it."""

    def __init__(self, fn: Callable[[Any], object], file: BlockingReader | BlockingWriter) -> None:
        self._fn = fn
        self._file = file
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self.failure: BaseException | None = None
        self._is_told = False

    def _call(self) -> None:
        with self._file as file:
            self._fn(file)

    async def run(self, over: Callable[[], object]) -> None:
        """Call the function in a thread, and `over` when it has returned; raise nothing."""
        try:
            with self.scope:
                own = trio.CapacityLimiter(1)  # Law 7
                await trio.to_thread.run_sync(self._call, limiter=own)
        except BaseException as exc:  # noqa: BLE001  # raised where the stream is used
            self.failure = exc
        over()
        self.ended.set()

    def tell(self) -> None:
        """Raise what the function has raised, once."""
        if self.failure is not None and not self._is_told:
            self._is_told = True
            raise self.failure


class _Produced(Read):
    """What a function in a thread writes."""

    def __init__(self, channel: trio.MemoryReceiveChannel[BytesView]) -> None:
        self._channel = channel
        self._rest = BytesView()
        self.work: _Work | None = None  # set right after

    def __repr__(self) -> str:
        return f"<what {self.work._fn!r} writes>" if self.work else "<what is written>"

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        if self._rest:
            await checkpoint()
            self._refuse_if_closed()
            view = self._rest
        else:
            try:
                view = await self._channel.receive()
            except trio.EndOfChannel:
                await cancel_shielded_checkpoint()
                failure = None if self.work is None else self.work.failure
                if failure is not None:
                    assert self.work is not None
                    if isinstance(failure, Exception):
                        self.work.tell()
                    raise trio.BrokenResourceError("the function has failed") from failure
                return BytesView()
        stop = len(view) if max_bytes is None else max_bytes
        self._rest = view[stop:]
        return view[:stop]

    async def _aclose(self) -> None:
        self._rest = BytesView()
        self._channel.close()
        if self.work is not None:
            self.work.scope.cancel()
        await checkpoint()


class _Consumed(Write):
    """What a function in a thread reads."""

    def __init__(self, channel: trio.MemorySendChannel[BytesView]) -> None:
        self._channel = channel
        self.work: _Work | None = None  # set right after

    def __repr__(self) -> str:
        return f"<what {self.work._fn!r} reads>" if self.work else "<what is read>"

    async def _write_view(self, view: BytesView) -> None:
        if not view:
            await checkpoint()
            return
        try:
            await self._channel.send(view)
        except trio.BrokenResourceError:
            assert self.work is not None
            if isinstance(self.work.failure, Exception):
                self.work.tell()
            raise trio.BrokenResourceError("the function reads no more") from self.work.failure
        finally:
            del view  # an error that is kept holds this frame, but no memory

    async def _aclose(self) -> None:
        self._channel.close()
        await checkpoint()


@asynccontextmanager
async def _beside(work: _Work, over: Callable[[], object], end: E) -> AsyncIterator[E]:
    """Run `work` while the block uses `end`; see that it is over when the block is."""
    raised: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work.run, over)
        try:
            yield end
        except BaseException as exc:  # noqa: BLE001  # raised below, outside the nursery
            raised = exc
            work.scope.cancel()
        with trio.CancelScope(shield=True):  # what cancels this task ends the thread's waits
            await end.aclose()
            await work.ended.wait()
    try:
        if raised is not None:
            raise raised
        work.tell()
    finally:
        del raised  # which refers to this frame


@asynccontextmanager
async def produced_by(fn: Callable[[BlockingWriter], object]) -> AsyncIterator[Read]:
    """Run `fn` in a thread, with a file to write to; what it writes is read in the block.

    Args:
      fn: called with an open `BlockingWriter`, which is closed when it returns.

    Returns:
      A source, that ends when `fn` has returned. It holds one view, of some 256 KiB; then `fn`
      waits until that is read.

    Raises:
      What `fn` raises: by the read after what was written before; at the end of the
      block if nobody has read that far, and the block raises nothing itself. Reads after that
      raise `trio.BrokenResourceError`.

    Cancellation: `fn` is ended by `trio.Cancelled` when it next writes, and waited for; also when
    the block is left, or the source closed, before `fn` has returned.

    Cost: a thread for as long as `fn` runs, which no limiter counts, because it waits for tasks
    that may need threads themselves. Where there may be very many at a time, bound that, as by
    a `trio.CapacityLimiter` around the block.

    Example:
      >>> import gzip
      >>> def compress(file):
      ...     with gzip.open(file, "wb") as packed:
      ...         packed.write(b"many bytes" * 100)
      >>> async def main():
      ...     async with produced_by(compress) as source:
      ...         return gzip.decompress(bytes(await source.read_to_end(10_000)))[:10]
      >>> trio.run(main)
      b'many bytes'
    """
    send, receive = trio.open_memory_channel[BytesView](0)
    sink, source = _Consumed(send), _Produced(receive)
    work = sink.work = source.work = _Work(fn, BlockingWriter(sink))
    async with _beside(work, send.close, source):
        yield source


@asynccontextmanager
async def consumed_by(fn: Callable[[BlockingReader], object]) -> AsyncIterator[Write]:
    """Run `fn` in a thread, with a file to read; what it reads is written in the block.

    Args:
      fn: called with an open `BlockingReader`, which ends when the block does, or the sink is
        closed.

    Returns:
      A sink. A write returns when `fn` has come for the bytes.

    Raises:
      What `fn` raises: by the next write, or at the end of the block if that raises nothing itself.
      trio.BrokenResourceError: by a write, when `fn` has returned or failed. One that may
        return early can read the rest: ``shutil.copyfileobj(file, open(os.devnull, "wb"))``.

    Cancellation: `fn` is ended by `trio.Cancelled` when it next reads, and waited for; also when
    the block raises something, so that `fn` never takes a part for the whole.

    Cost: a thread of its own, as for `produced_by`.

    Example:
      >>> import json
      >>> async def main():
      ...     found = []
      ...     async with consumed_by(lambda file: found.append(json.load(file))) as sink:
      ...         await sink.write_view(BytesView(b'{"a": '))
      ...         await sink.write_view(BytesView(b"[1, 2]}"))
      ...     return found
      >>> trio.run(main)
      [{'a': [1, 2]}]
    """
    send, receive = trio.open_memory_channel[BytesView](0)
    sink, source = _Consumed(send), _Produced(receive)
    work = sink.work = _Work(fn, BlockingReader(source))
    async with _beside(work, receive.close, sink):
        yield sink
