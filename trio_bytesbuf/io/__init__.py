"""Bytes in motion: sources and sinks of views, what they stand on, and what connects them.

How to read this room, in the order of the imports:

* what a source and a sink are: `_endpoint`, `_views` (iterating), `_inspect`, `_read_kept` (why a
  cancelled read loses nothing), `_read`, `_write`, `_trio_sides` (those that are trio's as well);
* what moves bytes: `_receive_size` and `_vectored` (what one system call is asked for), `_lease`
  (memory for a receive), `_descriptor`, and on it `_socket` and `_fd`; `_file_handle` and `_file`;
  `_datagram`; `_tally` (what passed through several of them);
* what stands on these: `_listen`, `_tls`, `_process`; `_from_trio` and `_to_trio` for streams of
  others; `_blocking`, `_beside` and `_in_thread` for code that blocks;
* what is made of any of them: `_combinators`, `_guards`, `_copy`, `_send_file`, `_relay`;
  `_capture_file` and `_capture`, which remember what passed.
"""

from ._beside import consumed_by as consumed_by
from ._beside import produced_by as produced_by
from ._blocking import BlockingReader as BlockingReader
from ._blocking import BlockingWriter as BlockingWriter
from ._capture import capture as capture
from ._capture_file import BadCapture as BadCapture
from ._capture_file import Capture as Capture
from ._capture_file import CaptureEvent as CaptureEvent
from ._capture_file import Direction as Direction
from ._combinators import ChainedRead as ChainedRead
from ._combinators import LimitedRead as LimitedRead
from ._copy import copy as copy
from ._datagram import Datagram as Datagram
from ._datagram import DatagramSocket as DatagramSocket
from ._datagram import bind_udp_socket as bind_udp_socket
from ._datagram import connect_udp_socket as connect_udp_socket
from ._descriptor import StreamStatistics as StreamStatistics
from ._endpoint import ReadWrite as ReadWrite
from ._fd import FdStream as FdStream
from ._file import File as File
from ._file import open_binary_file as open_binary_file
from ._from_trio import from_trio as from_trio
from ._guards import GuardedRead as GuardedRead
from ._guards import GuardedStream as GuardedStream
from ._guards import GuardedWrite as GuardedWrite
from ._guards import MinRate as MinRate
from ._guards import PeerTooSlow as PeerTooSlow
from ._in_thread import ReadInThread as ReadInThread
from ._in_thread import WriteInThread as WriteInThread
from ._inspect import ReadInspectDecision as ReadInspectDecision
from ._listen import SocketListener as SocketListener
from ._listen import UnixListener as UnixListener
from ._listen import open_tcp_listeners as open_tcp_listeners
from ._listen import open_tcp_stream as open_tcp_stream
from ._listen import open_unix_listener as open_unix_listener
from ._listen import open_unix_socket as open_unix_socket
from ._listen import serve_tcp as serve_tcp
from ._listen import serve_unix as serve_unix
from ._process import Process as Process
from ._process import open_process as open_process
from ._read import Read as Read
from ._relay import relay as relay
from ._send_file import send_file as send_file
from ._socket import SocketStream as SocketStream
from ._tls import TlsListener as TlsListener
from ._tls import TlsStream as TlsStream
from ._tls import open_ssl_over_tcp_listeners as open_ssl_over_tcp_listeners
from ._tls import open_ssl_over_tcp_stream as open_ssl_over_tcp_stream
from ._tls import serve_ssl_over_tcp as serve_ssl_over_tcp
from ._to_trio import to_trio as to_trio
from ._views import Batches as Batches
from ._views import Views as Views
from ._write import Write as Write
