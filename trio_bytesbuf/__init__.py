"""Byte sequences for trio programs: pooled, cut and joined without copying, sent vectored.

How to read this package: five rooms, in the order in which bytes pass through them.

    seq        what a byte sequence is: views, readers, builders, and what they have in common
    mem        where its memory lives: the pool, and other providers
    io         how it moves: sources, sinks, sockets, pipes, files, TLS; trio's streams both ways
    buffered   how it is told apart: buffered streams, lines, frames, many for one checkpoint
    wire       what it means: codecs, messages, channels of typed values; hooks for serializers

`testing` is for tests of programs that use the library. Each room imports only from those
before it; `tests/test_house.py` holds us to that. The names below are the everyday ones; the rooms
have the others.
"""

from ._errors import BadFrame as BadFrame
from ._errors import BadMemory as BadMemory
from ._errors import BadSource as BadSource
from ._errors import BudgetExceeded as BudgetExceeded
from ._errors import BufferFull as BufferFull
from ._errors import BytesBufError as BytesBufError
from ._errors import ChecksumHandshakeFailed as ChecksumHandshakeFailed
from ._errors import ChecksumMismatch as ChecksumMismatch
from ._errors import DecodeError as DecodeError
from ._errors import EncodeError as EncodeError
from ._errors import FrameTooLarge as FrameTooLarge
from ._errors import HandleExpired as HandleExpired
from ._errors import InspectionFailed as InspectionFailed
from ._errors import LimitExceeded as LimitExceeded
from ._errors import MemoryInUse as MemoryInUse
from ._errors import MessageTooLarge as MessageTooLarge
from ._errors import MissingExtra as MissingExtra
from ._errors import NotAdjacent as NotAdjacent
from ._errors import NotEnoughBytes as NotEnoughBytes
from ._errors import ProtocolVersionMismatch as ProtocolVersionMismatch
from ._errors import Released as Released
from ._errors import UnexpectedEof as UnexpectedEof
from ._errors import UnreadPlaintext as UnreadPlaintext
from ._errors import VarintTooLong as VarintTooLong
from .buffered import BadCompressedData as BadCompressedData
from .buffered import BufReader as BufReader
from .buffered import BufStream as BufStream
from .buffered import BufWriter as BufWriter
from .buffered import DeflatedWrite as DeflatedWrite
from .buffered import Delimited as Delimited
from .buffered import Extent as Extent
from .buffered import FixedLength as FixedLength
from .buffered import FrameDecoder as FrameDecoder
from .buffered import FrameEvent as FrameEvent
from .buffered import FrameReceiveChannel as FrameReceiveChannel
from .buffered import FrameSendChannel as FrameSendChannel
from .buffered import Framing as Framing
from .buffered import InflatedRead as InflatedRead
from .buffered import IntoInnerError as IntoInnerError
from .buffered import LengthPrefixed as LengthPrefixed
from .buffered import Lines as Lines
from .buffered import Netstring as Netstring
from .buffered import ReceiveBuffer as ReceiveBuffer
from .buffered import SharedWriter as SharedWriter
from .buffered import UniversalLines as UniversalLines
from .buffered import VarintPrefixed as VarintPrefixed
from .buffered import open_shared_writer as open_shared_writer
from .buffered import upgrade_to_tls as upgrade_to_tls
from .io import BadCapture as BadCapture
from .io import BlockingReader as BlockingReader
from .io import Capture as Capture
from .io import DatagramSocket as DatagramSocket
from .io import FdStream as FdStream
from .io import File as File
from .io import GuardedRead as GuardedRead
from .io import GuardedStream as GuardedStream
from .io import GuardedWrite as GuardedWrite
from .io import MinRate as MinRate
from .io import PeerTooSlow as PeerTooSlow
from .io import Read as Read
from .io import ReadInspectDecision as ReadInspectDecision
from .io import SocketStream as SocketStream
from .io import TlsStream as TlsStream
from .io import Write as Write
from .io import capture as capture
from .io import from_trio as from_trio
from .io import open_binary_file as open_binary_file
from .io import open_process as open_process
from .io import open_ssl_over_tcp_stream as open_ssl_over_tcp_stream
from .io import open_tcp_stream as open_tcp_stream
from .io import open_unix_socket as open_unix_socket
from .io import produced_by as produced_by
from .io import relay as relay
from .io import send_file as send_file
from .io import serve_ssl_over_tcp as serve_ssl_over_tcp
from .io import serve_tcp as serve_tcp
from .io import serve_unix as serve_unix
from .io import to_trio as to_trio
from .mem import CappedPool as CappedPool
from .mem import GlobalPool as GlobalPool
from .mem import default_memory as default_memory
from .seq import Buf as Buf
from .seq import BufMut as BufMut
from .seq import BytesBuf as BytesBuf
from .seq import BytesReader as BytesReader
from .seq import BytesView as BytesView
from .seq import Chain as Chain
from .seq import Limited as Limited
from .seq import as_buf as as_buf
from .seq import as_buf_mut as as_buf_mut
from .wire import MessageDecoder as MessageDecoder
from .wire import MessageEncoder as MessageEncoder
from .wire import MessageEvent as MessageEvent
from .wire import ProtocolVersion as ProtocolVersion
from .wire import TypedChannel as TypedChannel
from .wire import TypedReceiveChannel as TypedReceiveChannel
from .wire import TypedSendChannel as TypedSendChannel

__all__ = [
    "BadCapture",
    "BadCompressedData",
    "BadFrame",
    "BadMemory",
    "BadSource",
    "BlockingReader",
    "BudgetExceeded",
    "Buf",
    "BufMut",
    "BufReader",
    "BufStream",
    "BufWriter",
    "BufferFull",
    "BytesBuf",
    "BytesBufError",
    "BytesReader",
    "BytesView",
    "CappedPool",
    "Capture",
    "Chain",
    "ChecksumHandshakeFailed",
    "ChecksumMismatch",
    "DatagramSocket",
    "DecodeError",
    "DeflatedWrite",
    "Delimited",
    "EncodeError",
    "Extent",
    "FdStream",
    "File",
    "FixedLength",
    "FrameDecoder",
    "FrameEvent",
    "FrameReceiveChannel",
    "FrameSendChannel",
    "FrameTooLarge",
    "Framing",
    "GlobalPool",
    "GuardedRead",
    "GuardedStream",
    "GuardedWrite",
    "HandleExpired",
    "InflatedRead",
    "InspectionFailed",
    "IntoInnerError",
    "LengthPrefixed",
    "LimitExceeded",
    "Limited",
    "Lines",
    "MemoryInUse",
    "MessageDecoder",
    "MessageEncoder",
    "MessageEvent",
    "MessageTooLarge",
    "MinRate",
    "MissingExtra",
    "Netstring",
    "NotAdjacent",
    "NotEnoughBytes",
    "PeerTooSlow",
    "ProtocolVersion",
    "ProtocolVersionMismatch",
    "Read",
    "ReadInspectDecision",
    "ReceiveBuffer",
    "Released",
    "SharedWriter",
    "SocketStream",
    "TlsStream",
    "TypedChannel",
    "TypedReceiveChannel",
    "TypedSendChannel",
    "UnexpectedEof",
    "UniversalLines",
    "UnreadPlaintext",
    "VarintPrefixed",
    "VarintTooLong",
    "Write",
    "as_buf",
    "as_buf_mut",
    "capture",
    "default_memory",
    "from_trio",
    "open_binary_file",
    "open_process",
    "open_shared_writer",
    "open_ssl_over_tcp_stream",
    "open_tcp_stream",
    "open_unix_socket",
    "produced_by",
    "relay",
    "send_file",
    "serve_ssl_over_tcp",
    "serve_tcp",
    "serve_unix",
    "to_trio",
    "upgrade_to_tls",
]
