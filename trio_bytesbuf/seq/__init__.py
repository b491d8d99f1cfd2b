"""Bytes at rest: what a byte sequence is, and what can be done with it without any I/O.

How to read this room, each file importing only from those before it: `_flat` (the door for
foreign buffers), `_proof` (what reference counts prove), `_release` (hooks), `_block` (memory with
one owner), `_source` (where blocks come from), `_exports` (pieces in pickles), `_pieces` (searching
in pieces), `_guard`, `_view` (the value), `_numbers` (generated), `_reader` (its cursor), `_window`
(memory lent for writing), `_buf` (the builder), `_writer` (the builder as a file), `_memory` (what
a provider implements).
"""

from ._block import BLOCK_NBYTES_MAX as BLOCK_NBYTES_MAX
from ._block import Block as Block
from ._block import BlockRef as BlockRef
from ._buf import BytesBuf as BytesBuf
from ._guard import MemoryGuard as MemoryGuard
from ._memory import HasMemory as HasMemory
from ._memory import Memory as Memory
from ._memory import MemoryShared as MemoryShared
from ._memory import PlainMemory as PlainMemory
from ._memory import default_memory as default_memory
from ._memory import set_default_memory as set_default_memory
from ._reader import BytesReader as BytesReader
from ._view import BytesView as BytesView
from ._window import BytesBufVectoredWrite as BytesBufVectoredWrite
from ._writer import BytesBufWriter as BytesBufWriter
