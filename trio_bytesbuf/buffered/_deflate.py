r"""`InflatedRead` and `DeflatedWrite`: compression by zlib, as a layer over any source or sink.

    source --receive--> input --zlib, at most STEP_NBYTES out--> ready --> whoever reads
       ^                  |
       +---- put back ----+   what is behind the end of the compressed bytes

Law 1. A few bytes may stand for a million times as many. So zlib is never asked for more than
       `STEP_NBYTES`, nor for more than one byte beyond `max_nbytes`: that one is never given, it
       shows that the limit is exceeded. Memory is what one receive has, and one step's output.
Law 2. zlib copies, at each call, what it had no room to decompress. So it is shown `FEED_NBYTES` of
       the input at a time, and the input moves on by what zlib took: nothing is copied twice that
       is not shown twice, and each output of a step pays for one such copy at the most.
Law 3. zlib may hold output back when its room is used up, though it has taken all input. So after
       a step without room left (`_is_full`) it is called again before anybody waits for the source.
Law 4. Nothing is awaited between a byte's leaving the source and its lying in the input, nor while
       zlib works. So a read that is cancelled has lost nothing.
Law 5. What is behind the end is not ours. It goes back in front of the source as soon as the end is
       seen; to see it, nothing behind it is waited for. Hence one gzip member is one stream here:
       to know whether another follows, a byte would have to be awaited that may never come.
Law 6. What was compressed can be sent only once and in order, as zlib goes on from there. If
       sending it did not come to its end, nothing more is sent: the peer sees a cut stream, and
       never one that looks complete.

Why not in a thread: a step of decompressing takes some 300 µs, one of compressing some 650 µs at
level 6 (measured with Python source on the developers' machine), and in between others run.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, Generic, Literal

import attrs
import trio
from trio.lowlevel import checkpoint, checkpoint_if_cancelled

from .._errors import BytesBufError, LimitExceeded, UnexpectedEof
from ..io import Read, Write
from ..seq import BytesReader, BytesView
from ..seq._flat import count_of

if TYPE_CHECKING:
    from types import TracebackType
    from typing import NoReturn, SupportsIndex

    from typing_extensions import TypeVar

    # As in `_inner`: who writes ``read: InflatedRead`` has said enough.
    SourceT_co = TypeVar("SourceT_co", bound=Read, covariant=True, default=Read)
    SinkT_co = TypeVar("SinkT_co", bound=Write, covariant=True, default=Write)
else:
    from typing import TypeVar

    SourceT_co = TypeVar("SourceT_co", covariant=True)
    SinkT_co = TypeVar("SinkT_co", covariant=True)

DeflateFormat = Literal["gzip", "zlib", "raw"]
"""What is around the compressed bytes: the header and checksum of a gzip file (RFC 1952), or those
of zlib (RFC 1950; HTTP calls it "deflate"), or nothing (RFC 1951)."""

WINDOW_BITS: Final[dict[str, int]] = {"gzip": 31, "zlib": 15, "raw": -15}
"""How zlib is told of a format. 15: a window of 32 KiB, which every decompressor can read."""

STEP_NBYTES: Final = 65_536
"""How much is decompressed before it is another task's turn, and received at once."""

FEED_NBYTES: Final = 16_384
"""How much zlib is shown at a time, and how much is compressed before it is another task's turn.
A quarter of a step, as text becomes three to five times smaller: one step's output of one copy."""

LACKED: Final = MemoryError("decompressing lacked memory")
"""What a layer keeps that has failed so; never raised itself, so that it refers to no frame."""

LACKS_MEMORY: Final = "Error -4 "
"""How the words begin in which Python says zlib's Z_MEM_ERROR, which is nobody's bad data."""

LEVEL: Final = 6
"""zlib's own default. Level 1 takes a third of the time, and a quarter more bytes."""


@attrs.define(eq=False, slots=False)
class BadCompressedData(BytesBufError, ValueError):
    """What arrived is not what was compressed, or not in this format; zlib's error is the cause."""

    inflated: int
    """How many bytes had been decompressed before. They can be read, or have been."""

    def __str__(self) -> str:
        return f"the compressed data is bad after {self.inflated} bytes: {self.__cause__}"


def _window_bits(format: DeflateFormat) -> int:  # noqa: A002  # the stdlib's word, as in tarfile
    bits = WINDOW_BITS.get(format)
    if bits is None:
        raise ValueError(f"format must be one of {', '.join(WINDOW_BITS)}, not {format!r}")
    return bits


class InflatedRead(Read, Generic[SourceT_co]):
    """Reads compressed bytes from a source and gives them decompressed, up to a limit.

    It has ended where the compressed stream ends, which says so itself. Bytes behind that stay with
    the source: they are read from it next, whatever had arrived. So a compressed section can stand
    in the middle of a connection. Closing this closes the source; to go on with the source,
    call `into_inner`.

    A gzip file may have several members, one behind another; this reads one. For all of them,
    make one of these after another, as in the second example.

    A checksum is at the end: what is given before the end was not checked. A read of the last bytes
    need not see the end; the next one does.

    Args:
      source: a `Read`; `from_trio` makes one of a trio stream.
      format: "gzip", "zlib" or "raw"; HTTP's "deflate" is "zlib".
      max_nbytes: the most bytes to give in all, at least 0. There is no default, as compressed
        bytes can become a thousand times as many, and whoever sends them chooses that.

    Raises:
      TypeError: `source` is not a `Read`, or `max_nbytes` is no integer.
      ValueError: `format` is none of these, or `max_nbytes` is negative.

    Every read, besides what `Read` says, raises, and again whenever it is called again:
      LimitExceeded: there are more than `max_nbytes` bytes. So many were given before.
      BadCompressedData: the bytes are none of `format`, or were damaged. Of those before the
        damage, what was decompressed by the same step is not given, some 64 KiB.
      UnexpectedEof: the source ended first; `arrived` counts compressed bytes. All that could be
        decompressed of them was given before.

    Cancellation: as of the source: a receive is atomic.

    Cost: a step of 64 KiB of output takes some 300 µs, in which no other task runs; then there is a
    checkpoint. Memory: 64 KiB of input, one step's output, and zlib's own 40 KiB.

    Example:
      >>> import gzip
      >>> async def main():
      ...     reader = BufReader(FakeRead(gzip.compress(b"squeezed") + b"plain again"))
      ...     section = InflatedRead(reader, format="gzip", max_nbytes=1000)
      ...     print(await section.read_to_end(1000))
      ...     print(await section.into_inner().read_exactly(5))
      >>> trio.run(main)
      BytesView(b'squeezed')
      BytesView(b'plain')
      >>> async def members():
      ...     reader = BufReader(FakeRead(gzip.compress(b"one") + gzip.compress(b"two")))
      ...     while await reader.fill_buf():
      ...         member = InflatedRead(reader, format="gzip", max_nbytes=1000)
      ...         print(await member.read_to_end(1000))
      >>> trio.run(members)
      BytesView(b'one')
      BytesView(b'two')

    Idea: `GzDecoder` of the Rust crate flate2, in `bufread`, which reads one member and leaves
    what is behind it; `max_length` of Python's zlib.
    """

    def __init__(
        self,
        source: SourceT_co,
        *,
        format: DeflateFormat,  # noqa: A002
        max_nbytes: SupportsIndex,
    ) -> None:
        if not isinstance(source, Read):
            raise TypeError(f"a Read is wanted to read from, not {type(source).__name__}")
        self._zlib = zlib.decompressobj(_window_bits(format))
        self._inner = source
        self._max_nbytes = count_of(max_nbytes, "max_nbytes")
        self._input = BytesReader(BytesView())
        self._arrived_nbytes = 0
        self._ready = BytesView()
        self._inflated_nbytes = 0
        self._is_full = False
        self._failure: zlib.error | LimitExceeded | MemoryError | None = None

    def __repr__(self) -> str:
        return f"<InflatedRead, {self._inflated_nbytes} bytes decompressed, over {self._inner!r}>"

    @property
    def inner(self) -> SourceT_co:
        """The source. What is read of it by itself, before the end of this, is missing here."""
        return self._inner

    def into_inner(self) -> SourceT_co:
        """Give the source back, open; it goes on behind the compressed stream. This is over.

        Raises:
          RuntimeError: this was not read to its end: nobody else could go on in the middle. A
            ``read_to_end(0)`` makes sure of the end. To give up, close this, or take `inner`.
          trio.BusyResourceError: a task is reading, through this.
          trio.ClosedResourceError: this was closed, or gave the source back before.
        """
        if self._is_receiving:
            raise trio.BusyResourceError(f"a task is receiving from {self!r}")
        self._refuse_if_closed()
        if not self._zlib.eof or self._kept or self._ready or self._input.remaining():
            raise RuntimeError(f"{self!r} was not read to its end, so the source is in the middle")
        self._is_closed = True
        return self._inner

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        if not self._wants_input():
            await checkpoint()
            self._refuse_if_closed()  # by another task, during the checkpoint
        while True:
            if self._zlib.eof and self._input.remaining():  # Law 5
                empty = BytesReader(BytesView())
                self._inner._put_back([self._input.peek_view(self._input.remaining())])
                self._input = empty
            if self._ready:
                return self._take_ready(max_bytes)
            if self._failure is not None:
                self._fail(self._failure)
            if self._zlib.eof:
                return BytesView()
            if self._wants_input():
                await self._receive_input()
            self._inflate()

    def _wants_input(self) -> bool:
        """Whether nothing more can be said without more of the source."""
        return not (
            self._ready
            or self._is_full  # Law 3
            or self._input.remaining()
            or self._failure is not None
            or self._zlib.eof
        )

    def _take_ready(self, max_bytes: int | None) -> BytesView:
        view = self._ready if max_bytes is None else self._ready[:max_bytes]
        self._ready = self._ready[len(view) :]
        return view

    def _fail(self, failure: zlib.error | LimitExceeded | MemoryError) -> NoReturn:
        if isinstance(failure, MemoryError):  # zlib has gone on, and nobody knows how far
            raise trio.BrokenResourceError("decompressing lacked memory") from failure
        if isinstance(failure, LimitExceeded):
            raise LimitExceeded(limit=failure.limit, arrived=failure.arrived)
        raise BadCompressedData(self._inflated_nbytes) from failure

    async def _receive_input(self) -> None:
        """Wait for more of the source. (Law 4)"""
        view = await self._inner.receive_view(STEP_NBYTES)
        self._refuse_if_closed()
        if not view:
            arrived = self._arrived_nbytes
            raise UnexpectedEof(wanted=arrived + 1, arrived=arrived)
        try:
            arrived_nbytes = self._arrived_nbytes + len(view)
            self._input = BytesReader(view)
        except MemoryError:  # it comes again
            self._inner._put_back([view])
            raise
        self._arrived_nbytes = arrived_nbytes

    def _inflate(self) -> None:
        """Decompress a step's worth of the input, or what is at hand. (Laws 1 to 3)"""
        try:
            self._inflate_a_step()
        except MemoryError:
            self._failure = LACKED  # and not what is raised: that would keep its callers' frames
            raise

    def _inflate_a_step(self) -> None:
        allowed = self._max_nbytes - self._inflated_nbytes
        room = min(STEP_NBYTES, allowed + 1)
        parts: list[bytes] = []
        while room:
            fed = self._input.chunk()[:FEED_NBYTES]
            try:
                part = self._zlib.decompress(fed, room)
            except zlib.error as exc:
                if str(exc).startswith(LACKS_MEMORY):
                    raise MemoryError from exc
                self._failure = exc.with_traceback(None)  # which would hold this frame
                break
            # At the end some versions of Python have what is left in both of these.
            left = self._zlib.unused_data if self._zlib.eof else self._zlib.unconsumed_tail
            self._input.advance(len(fed) - len(left))
            room -= len(part)
            allowed -= len(part)
            if part:
                parts.append(part)
            if self._zlib.eof or not self._input.remaining():
                break
        self._is_full = not room
        if allowed < 0:
            parts[-1] = parts[-1][:-1]
            limit = self._max_nbytes
            self._failure = LimitExceeded(limit=limit, arrived=limit + 1)
        self._ready = BytesView.from_views(map(BytesView, parts))
        self._inflated_nbytes += len(self._ready)

    async def _aclose(self) -> None:
        self._input = BytesReader(BytesView())
        self._ready = BytesView()
        await self._inner.aclose()


class DeflatedWrite(Write, Generic[SinkT_co]):
    """Compresses what is written and sends it on to a sink.

    Each write is sent so that the peer can decompress all of it at once, as the promise of a
    `Write` is. That costs some 5 bytes a time, and worse compression if little is written at a
    time: Python source became 4.1 times smaller in writes of 16 KiB or more, 3.2 in
    256 bytes. Where it matters put a buffer in front, ``BufWriter(DeflatedWrite(sink, ...))``:
    what is written there is compressed together, and its `flush` is when the peer gets it.

    The stream needs an end of its own, which `finish` or `aclose` sends. A block ``async with``
    that ends by an error, or is cancelled, sends none, so that the peer does not take what there
    is for all of it.

    Args:
      sink: a `Write`; `from_trio` makes one of a trio stream.
      format: "gzip", "zlib" or "raw"; HTTP's "deflate" is "zlib".
      level: from 0, not compressed at all, and 1, the fastest, to 9, the smallest.

    Raises:
      TypeError: `sink` is not a `Write`, or `level` is no integer.
      ValueError: `format` is none of these, or `level` is out of its range.

    Every write, besides what `Write` says, raises:
      trio.BrokenResourceError: an earlier write was cancelled or failed.

    Cancellation: spoils; close it. Nothing more is sent, not even the end.

    Cost: 16 KiB take some 650 µs at level 6, in which no other task runs; then there is a
    checkpoint. Memory: one such step's output, and zlib's own 260 KiB.

    Example:
      >>> import gzip
      >>> async def main():
      ...     sink = FakeWrite()
      ...     async with DeflatedWrite(sink, format="gzip") as writer:
      ...         await writer.write_view(BytesView(b"to be squeezed"))
      ...     return gzip.decompress(sink.contents.to_bytes())
      >>> trio.run(main)
      b'to be squeezed'

    Idea: `GzEncoder` of the Rust crate flate2, whose `finish` gives the sink back.
    """

    def __init__(
        self,
        sink: SinkT_co,
        *,
        format: DeflateFormat,  # noqa: A002
        level: SupportsIndex = LEVEL,
    ) -> None:
        if not isinstance(sink, Write):
            raise TypeError(f"a Write is wanted to write to, not {type(sink).__name__}")
        level = count_of(level, "level")
        if level > zlib.Z_BEST_COMPRESSION:
            raise ValueError(f"level must be from 0 to 9, not {level}")
        self._is_spoiled = False  # its own from the start: to get it later may lack memory
        self._zlib = zlib.compressobj(level, zlib.DEFLATED, _window_bits(format))
        self._inner = sink

    def __repr__(self) -> str:
        return f"<DeflatedWrite over {self._inner!r}>"

    @property
    def inner(self) -> SinkT_co:
        """The sink. What is sent to it by itself, before the end of this, damages the stream."""
        return self._inner

    async def finish(self) -> SinkT_co:
        """Send the end of the compressed stream, and give the sink back, open; this is over.

        Raises:
          trio.BusyResourceError: another task is writing.
          trio.ClosedResourceError: this was closed, or gave the sink back before.
          trio.BrokenResourceError: the connection is gone; or an earlier write was cancelled or
            failed.

        Cancellation: spoils. The sink was not given back; close this.
        """
        if self._is_sending or self._is_closed:
            await self._refuse_sending()
        self._is_sending = True
        try:
            await self._refuse_if_spoiled()
            await self._send_end()
            self._is_closed = True
        finally:
            self._is_sending = False
        return self._inner

    async def _write_view(self, view: BytesView) -> None:
        await self._refuse_if_spoiled()
        left = BytesReader(view)
        self._is_spoiled = True  # Law 6
        try:
            while True:
                compressed = self._deflate(left)
                await self._inner.write_view(BytesView(compressed))
                if not left.remaining():
                    break
        finally:
            del view, left  # an error that is kept holds this frame, but no memory
        self._is_spoiled = False

    def _deflate(self, left: BytesReader) -> bytes:
        """Compress a step's worth of `left`; behind the last of it, all that zlib holds back."""
        if not left.remaining():
            return b""  # nothing was written, so nothing is held back
        parts = []
        room = FEED_NBYTES
        while room and left.remaining():
            fed = left.chunk()[:room]
            parts.append(self._zlib.compress(fed))
            room -= len(fed)
            left.advance(len(fed))
        if not left.remaining():
            parts.append(self._zlib.flush(zlib.Z_SYNC_FLUSH))
        return b"".join(parts)

    async def _wait_write_might_not_block(self) -> None:
        await self._refuse_if_spoiled()
        await self._inner.wait_write_might_not_block()

    async def _refuse_if_spoiled(self) -> None:
        await checkpoint_if_cancelled()  # here, this spoils nothing
        if self._is_spoiled:
            await checkpoint()
            raise trio.BrokenResourceError(
                "an earlier write did not come to its end, and nobody knows what the peer has"
            )

    async def _send_end(self) -> None:
        self._is_spoiled = True
        await self._inner.write_view(BytesView(self._zlib.flush(zlib.Z_FINISH)))
        self._is_spoiled = False

    async def _aclose(self) -> None:
        try:
            if not (self._is_sending or self._is_spoiled):
                await self._send_end()
        finally:
            await self._inner.aclose()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is not None:
            self._is_spoiled = True  # what was written is not all
        await self.aclose()


def check_inflated_read(read: InflatedRead) -> None:
    """Raise AssertionError if a law of this file is broken."""
    assert len(read._ready) <= STEP_NBYTES, "Law 1"
    assert read._input.remaining() <= STEP_NBYTES, "Law 1"
    assert read._inflated_nbytes <= read._max_nbytes, "Law 1"
    assert not (read._zlib.eof and read._input.remaining()), "Law 5"
