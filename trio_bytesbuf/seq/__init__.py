"""Bytes at rest: what a byte sequence is, and what can be done with it without any I/O.

How to read this room, each file importing only from those before it:

    what is proved  `_flat` (the door for foreign buffers), `_proof` (what reference counts
                    prove), `_unique` (that nobody else sees memory), `_release` (hooks)
    memory          `_block` (memory with one owner), `_source` (who gives blocks), `_exports`
                    (pieces in pickles), `_guard`
    a view          `_pieces` (searching in pieces), and three layers: `_view_queries` (what it
                    answers), `_view_cuts` (what is cut from it), `_view`
    reading         `_numbers` and four generated files, `_buf` (what can be read from), `_buf_file`
                    (that as a file), `_reader` (the cursor over a view), `_buf_adapters` (what
                    else can be read from), `_buf_combinators` (chains, limits)
    writing         `_buf_mut` (what can be written to), `_buf_mut_combinators`, `_window` (memory
                    lent for writing)
    a builder       three layers: `_builder_contents` (what it holds), `_builder_cuts` (how it is
                    cut and joined), `_builder`; `_builder_writer` (that as a file)
    providers       `_memory` (what a provider of memory implements)
    looking at it   `_words` and `_picture` (what is shown of a value), `_hexdump` (what is shown of
                    bytes); `_html` and `_rich` draw it, `_shown` is mixed into what is looked at
"""

from ._block import BLOCK_NBYTES_MAX as BLOCK_NBYTES_MAX
from ._block import Block as Block
from ._block import BlockRef as BlockRef
from ._buf import Buf as Buf
from ._buf_adapters import ChunksBuf as ChunksBuf
from ._buf_adapters import FileBuf as FileBuf
from ._buf_adapters import as_buf as as_buf
from ._buf_combinators import Chain as Chain
from ._buf_combinators import Limited as Limited
from ._buf_combinators import Reader as Reader
from ._buf_mut import BufMut as BufMut
from ._buf_mut_combinators import BytearrayMut as BytearrayMut
from ._buf_mut_combinators import ChainMut as ChainMut
from ._buf_mut_combinators import LimitedMut as LimitedMut
from ._buf_mut_combinators import SliceMut as SliceMut
from ._buf_mut_combinators import Writer as Writer
from ._buf_mut_combinators import as_buf_mut as as_buf_mut
from ._builder import BytesBuf as BytesBuf
from ._builder_writer import BytesBufWriter as BytesBufWriter
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
