"""What to test one's own code with: hostile memories, and checks of laws.

How to read this room: `_memories` (hostile ones), `_laws` (whether an object of this library obeys
its laws), `_conformance` and `_conformance_mut` (whether somebody's own `Buf` or `BufMut`
is one), `_plugin` (the fixture `tracked_memory`, which pytest finds by itself).
"""

from ._conformance import BUF_CHECKS as BUF_CHECKS
from ._conformance_mut import BUF_MUT_CHECKS as BUF_MUT_CHECKS
from ._laws import check_laws as check_laws
from ._memories import CountingMemory as CountingMemory
from ._memories import CountingStatistics as CountingStatistics
from ._memories import FixedBlockMemory as FixedBlockMemory
from ._memories import PoisoningPool as PoisoningPool
from ._memories import TransparentMemory as TransparentMemory
