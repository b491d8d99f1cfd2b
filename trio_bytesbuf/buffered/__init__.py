"""Bytes in messages: buffered streams, lines, frames, and many of them for one checkpoint.

How to read this room, in the order of the imports:

* what has arrived and is not read: `_receive_buffer`;
* how frames are told apart: `_framing` (what a framing is), `_framings` (those in use everywhere),
  `_cutter` (frames out of a buffer), `_decoder` (without any stream);
* over streams: `_filling` (a source and a buffer), `_frames` (channels), `_reading` and `_reader`,
  `_writing` and `_writer`, `_shared_writer`, `_stream`;
* in between: `_deflate` (compressed streams);
* from one layer to the next: `_upgrade` (to TLS in mid-stream).
"""

from ._decoder import FrameDecoder as FrameDecoder
from ._decoder import FrameEvent as FrameEvent
from ._deflate import BadCompressedData as BadCompressedData
from ._deflate import DeflatedWrite as DeflatedWrite
from ._deflate import DeflateFormat as DeflateFormat
from ._deflate import InflatedRead as InflatedRead
from ._frames import FrameBatches as FrameBatches
from ._frames import FrameReceiveChannel as FrameReceiveChannel
from ._frames import FrameSendChannel as FrameSendChannel
from ._framing import Extent as Extent
from ._framing import Framing as Framing
from ._framings import Delimited as Delimited
from ._framings import FixedLength as FixedLength
from ._framings import LengthPrefixed as LengthPrefixed
from ._framings import Lines as Lines
from ._framings import Netstring as Netstring
from ._framings import UniversalLines as UniversalLines
from ._framings import VarintPrefixed as VarintPrefixed
from ._reader import BufReader as BufReader
from ._receive_buffer import ReceiveBuffer as ReceiveBuffer
from ._shared_writer import SharedWriter as SharedWriter
from ._shared_writer import open_shared_writer as open_shared_writer
from ._stream import BufStream as BufStream
from ._stream import HalfCloseableBufStream as HalfCloseableBufStream
from ._upgrade import upgrade_to_tls as upgrade_to_tls
from ._writer import BufWriter as BufWriter
from ._writer import IntoInnerError as IntoInnerError
