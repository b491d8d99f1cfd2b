"""What to test one's own code with: hostile memories, and checks of laws.

How to read this room: `_memories` (hostile ones), `_laws` (whether an object of this library obeys
its laws), `_asserting` (what checks say), `_conformance` and `_conformance_mut` (whether
somebody's own `Buf` or `BufMut` is one), `_fakes` (sources and sinks without a peer), `_streams`
(in memory, in lock step, a byte at a time), `_replay` (a captured conversation, played again),
`_source_checks` and `_sink_checks` (whether somebody's own `Read` or `Write` is one), `_cancel`
(cancellation wherever it can come), `_fail` with `_faults`, `_seams` and `_allocations` (failure
wherever it can come), `_recorder` (what passed and what was lent, over time), `_plots` (that, and
how views lie in memory, drawn), `_plugin` (the fixture `tracked_memory`, which pytest finds by
itself).
"""

from ._allocations import Allocations as Allocations
from ._cancel import Attempt as Attempt
from ._cancel import CancellationTable as CancellationTable
from ._cancel import Moment as Moment
from ._cancel import cancel_at_each_checkpoint as cancel_at_each_checkpoint
from ._cancel import cancel_atomic_at_each_checkpoint as cancel_atomic_at_each_checkpoint
from ._conformance import BUF_CHECKS as BUF_CHECKS
from ._conformance_mut import BUF_MUT_CHECKS as BUF_MUT_CHECKS
from ._fail import FailureAttempt as FailureAttempt
from ._fail import FailureTable as FailureTable
from ._fail import fail_at_each_call as fail_at_each_call
from ._fakes import Delay as Delay
from ._fakes import FakeRead as FakeRead
from ._fakes import FakeWrite as FakeWrite
from ._fakes import Null as Null
from ._fakes import Pending as Pending
from ._faults import READS as READS
from ._faults import WRITES as WRITES
from ._faults import FailingMemory as FailingMemory
from ._faults import Fault as Fault
from ._faults import HookCalls as HookCalls
from ._faults import SystemCalls as SystemCalls
from ._laws import check_laws as check_laws
from ._memories import CountingMemory as CountingMemory
from ._memories import CountingStatistics as CountingStatistics
from ._memories import FixedBlockMemory as FixedBlockMemory
from ._memories import PoisoningPool as PoisoningPool
from ._memories import TransparentMemory as TransparentMemory
from ._plots import plot_history as plot_history
from ._plots import plot_layout as plot_layout
from ._recorder import FlowRecorder as FlowRecorder
from ._recorder import FlowSample as FlowSample
from ._recorder import PoolSample as PoolSample
from ._replay import ReplayMismatch as ReplayMismatch
from ._replay import ReplayStream as ReplayStream
from ._replay import replay as replay
from ._sink_checks import CLOGGED_SINK_CHECKS as CLOGGED_SINK_CHECKS
from ._sink_checks import SINK_CHECKS as SINK_CHECKS
from ._sink_checks import MakeClogged as MakeClogged
from ._sink_checks import MakeWrite as MakeWrite
from ._source_checks import SOURCE_CHECKS as SOURCE_CHECKS
from ._source_checks import STALLED_SOURCE_CHECKS as STALLED_SOURCE_CHECKS
from ._source_checks import MakeRead as MakeRead
from ._streams import MemoryStream as MemoryStream
from ._streams import dribbling as dribbling
from ._streams import lockstep_pair as lockstep_pair
from ._streams import memory_pair as memory_pair
