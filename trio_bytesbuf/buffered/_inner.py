"""Type variables for what a buffered reader, writer or stream stands on.

With defaults, so that who writes ``reader: BufReader`` has said enough. Before Python 3.13 only
type checkers know these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trio
    from typing_extensions import TypeVar

    from ..io import Read, ReadWrite, Write
    from ..io._to_trio import ClosesByHalves

    Source = Read | trio.abc.ReceiveStream
    Sink = Write | trio.abc.SendStream
    Stream = ReadWrite | trio.abc.Stream

    SourceT_co = TypeVar("SourceT_co", bound=Source, covariant=True, default=Source)
    SinkT_co = TypeVar("SinkT_co", bound=Sink, covariant=True, default=Sink)
    StreamT_co = TypeVar("StreamT_co", bound=Stream, covariant=True, default=Stream)
    HalfCloseableT = TypeVar("HalfCloseableT", bound=ClosesByHalves | trio.abc.HalfCloseableStream)
else:
    from typing import TypeVar

    SourceT_co = TypeVar("SourceT_co", covariant=True)
    SinkT_co = TypeVar("SinkT_co", covariant=True)
    StreamT_co = TypeVar("StreamT_co", covariant=True)
