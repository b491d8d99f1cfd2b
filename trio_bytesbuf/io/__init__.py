"""Bytes in motion: sources and sinks of views, sockets, listeners, the relay.

How to read this room: `_abc` (what a source and a sink are), `_side` (one task for each half),
`_vectored` (what one send is given), `_receive_size` (what one receive asks for), `_socket`,
`_listen` (listening and connecting), `_relay`.
"""

from ._descriptor import StreamStatistics as StreamStatistics
from ._inspect import ReadInspectDecision as ReadInspectDecision
from ._listen import SocketListener as SocketListener
from ._listen import UnixListener as UnixListener
from ._listen import open_tcp_listeners as open_tcp_listeners
from ._listen import open_tcp_stream as open_tcp_stream
from ._listen import open_unix_listener as open_unix_listener
from ._listen import open_unix_socket as open_unix_socket
from ._listen import serve_tcp as serve_tcp
from ._listen import serve_unix as serve_unix
from ._read import Read as Read
from ._relay import relay as relay
from ._socket import SocketStream as SocketStream
from ._views import Batches as Batches
from ._views import Views as Views
from ._write import Write as Write
