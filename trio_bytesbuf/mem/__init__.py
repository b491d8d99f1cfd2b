"""Where the memory of byte sequences lives.

Importing this room makes a `GlobalPool` the default memory of the process.
"""

from ..seq import BLOCK_NBYTES_MAX as BLOCK_NBYTES_MAX
from ..seq import Block as Block
from ..seq import BlockRef as BlockRef
from ..seq import HasMemory as HasMemory
from ..seq import Memory as Memory
from ..seq import MemoryShared as MemoryShared
from ..seq import PlainMemory as PlainMemory
from ..seq import default_memory as default_memory
from ..seq import set_default_memory as set_default_memory
from ._arena import BufferMemory as BufferMemory
from ._arena import BufferOffset as BufferOffset
from ._diagnosis import piece_counts as piece_counts
from ._foreign import foreign_view as foreign_view
from ._foreign import view_of_file as view_of_file
from ._pages import PageMemory as PageMemory
from ._pages import Pages as Pages
from ._pool import GlobalPool as GlobalPool
from ._pool import PoolStatistics as PoolStatistics
from ._shared import SharedPool as SharedPool
from ._shared_handle import SharedHandle as SharedHandle
from ._shared_handle import share as share
from ._shared_segment import SharedBlock as SharedBlock
from ._shelf import ShelfStatistics as ShelfStatistics
from ._tracking import Outstanding as Outstanding
from ._tracking import Place as Place
from ._tracking import TrackingPool as TrackingPool
from ._tracking import TrackingStatistics as TrackingStatistics
from ._tracking import format_outstanding as format_outstanding
from ._wrapping import CallbackMemory as CallbackMemory
from ._wrapping import OpaqueMemory as OpaqueMemory

set_default_memory(GlobalPool())
