"""Where the memory of byte sequences lives, and how to find out where it went.

    who provides it    _pool (`GlobalPool`, on `_shelf`), _pages (mapped pages), _arena (a buffer
                       that is there already), _shared* (seen by other processes), _capped (with
                       a cap, to be waited for), _wrapping (over another provider)
    memory of others   _foreign (views of buffers and files)
    where it is now    _tracking, _holders (who took it, who has it), _diagnosis (pieces)
    who knows us       _dask

`_shelf` has what most rest upon: a block is leased again only when it is proved that nobody can see
it. Importing this room makes a `GlobalPool` the default memory of the process.
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
from ._capped import CappedPool as CappedPool
from ._capped import CappedStatistics as CappedStatistics
from ._capped import PoolShare as PoolShare
from ._diagnosis import piece_counts as piece_counts
from ._foreign import foreign_view as foreign_view
from ._foreign import view_of_file as view_of_file
from ._pages import PageMemory as PageMemory
from ._pages import Pages as Pages
from ._pages import default_page_memory as default_page_memory
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
