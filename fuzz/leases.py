"""Leases of each provider: nothing that can be seen changes, and nobody has more than the cap."""

from __future__ import annotations

from typing import Any

from _program import Program
from sequences import TinyPool

from trio_bytesbuf import BytesBuf, BytesView
from trio_bytesbuf._errors import BudgetExceeded, BufferFull
from trio_bytesbuf.mem import BufferMemory, CappedPool, TrackingPool
from trio_bytesbuf.testing import CountingMemory, check_laws

MAX_STEPS = 150
CAP_NBYTES = 40_000
SHARE_NBYTES = 9_000


def leases(data: bytes) -> None:
    """Reserved, filled, shown, cut, kept and dropped, in any order."""
    program = Program(data)
    capped = CappedPool(CAP_NBYTES)
    arena = BufferMemory(bytearray(1000), 48)
    counted = CountingMemory(TinyPool())
    memories: tuple[Any, ...] = (
        TinyPool(), capped, capped.share(SHARE_NBYTES), arena, TrackingPool(), counted,
    )  # fmt: skip
    bufs: list[BytesBuf] = []
    kept: list[tuple[BytesView, bytes]] = []
    mark = 0
    view = buf = None  # type: ignore[assignment]
    for _ in range(MAX_STEPS):
        if not program:
            break
        match program.byte() % 8:
            case 0 | 1:
                memory = program.pick(memories)
                nbytes = program.byte() * program.pick((1, 1, 5, 60))
                try:
                    buf = memory.reserve(nbytes)
                except (BudgetExceeded, BufferFull) as error:
                    assert error.requested >= nbytes > 0
                else:
                    assert buf.remaining_capacity >= nbytes
                    bufs.append(buf)
            case 2 | 3 if bufs:
                buf = bufs[program.byte() % len(bufs)]
                mark += 1
                data = bytes((mark & 255,)) * program.index(min(buf.remaining_capacity, 3000))
                buf.put_slice(data)
            case 4 if bufs:
                buf = bufs[program.byte() % len(bufs)]
                view = buf.consume_all()
                kept.append((view, view.to_bytes()))
            case 5 if kept:
                view, shown = kept[program.byte() % len(kept)]
                at = program.index(len(shown))
                kept.append((view[at:], shown[at:]))
            case 6:
                del kept[: program.byte() % (len(kept) + 1)]
            case 7:
                del bufs[: program.byte() % (len(bufs) + 1)]
                view = buf = None  # type: ignore[assignment]
            case _:
                pass
        _check(memories, kept)
    del view, buf, bufs, kept
    for memory in memories:
        if memory is not counted:
            check_laws(memory)
    assert capped.statistics().lent_nbytes == 0, "nothing is held, and it is lent"
    assert arena.statistics().lent_nbytes == 0, "nothing is held, and it is lent"


def _check(memories: tuple[Any, ...], kept: list[tuple[BytesView, bytes]]) -> None:
    for view, shown in kept:
        check_laws(view)
        assert view.to_bytes() == shown, "what is seen has changed"
    for memory in memories[:-1]:
        check_laws(memory)
    assert memories[1].statistics().lent_nbytes <= CAP_NBYTES
    assert memories[2].statistics().lent_nbytes <= SHARE_NBYTES
