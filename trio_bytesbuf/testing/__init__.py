"""What to test one's own code with: hostile memories, and checks of the library's laws."""

from ._laws import check_laws as check_laws
from ._memories import CountingMemory as CountingMemory
from ._memories import CountingStatistics as CountingStatistics
from ._memories import FixedBlockMemory as FixedBlockMemory
from ._memories import PoisoningPool as PoisoningPool
from ._memories import TransparentMemory as TransparentMemory
