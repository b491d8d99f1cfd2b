"""What to test one's own code with: hostile memories, and checks of the library's laws."""

from ._laws import check_laws as check_laws
from ._memories import FixedBlockMemory as FixedBlockMemory
from ._memories import TransparentMemory as TransparentMemory
