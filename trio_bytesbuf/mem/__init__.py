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
from ._pool import GlobalPool as GlobalPool
from ._pool import PoolStatistics as PoolStatistics
from ._shelf import ShelfStatistics as ShelfStatistics

set_default_memory(GlobalPool())
