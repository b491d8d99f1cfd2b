"""What is kept never changes: the machine, and a program with abandoned async generators."""

import gc
from collections.abc import AsyncIterator

import hypothesis.strategies as st
import pytest
import trio
from hypothesis import given, settings
from machine import EXAMPLES_FACTOR, MACHINE_SETTINGS, BytesMachine, Kept, SmallPool, fresh_bytes

from trio_bytesbuf import BytesView
from trio_bytesbuf.testing import check_laws

TestBytesMachine = BytesMachine.TestCase
TestBytesMachine.settings = MACHINE_SETTINGS

WAYS = ("kept", "dropped", "dropped in a cycle")
STEPS = st.lists(
    st.tuples(st.sampled_from((*WAYS, "leased", "collected", "slept")), st.integers(1, 40)),
    min_size=1,
    max_size=30,
)
"""What happens, and to how many bytes."""


async def last_look(kept: Kept, looks: list[Kept], cycle: list[object]) -> AsyncIterator[None]:
    """Show nothing. When abandoned, look at what was kept: before and after a checkpoint."""
    try:
        yield
    finally:
        looks.append(Kept(bytes(kept.thing), kept.shown))
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        looks.append(Kept(bytes(kept.thing), kept.shown))


async def play(steps: list[tuple[str, int]], pool: SmallPool) -> list[Kept]:
    """Keep and abandon async generators that keep views; return what these saw in the end."""
    looks: list[Kept] = []
    generators = []
    for step, nbytes in steps:
        if step in WAYS:
            data = fresh_bytes(nbytes)
            cycle: list[object] = []
            generator = last_look(Kept(BytesView.copied_from_slice(data, pool), data), looks, cycle)
            await anext(generator)
            if step == "kept":
                generators.append(generator)
            elif step == "dropped in a cycle":
                cycle.append(generator)
            del generator, cycle
        elif step == "leased":
            pool.reserve(nbytes)
        elif step == "collected":
            gc.collect(0)
        else:
            await trio.lowlevel.checkpoint()
        check_laws(pool)
        pool.check_statistics()
    return looks


@pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning")
@settings(max_examples=100 * EXAMPLES_FACTOR, deadline=None, print_blob=True)
@given(STEPS)
def test_an_abandoned_async_generator_sees_in_its_finally_what_it_kept(steps) -> None:
    """Abandoned generators are brought back to life by trio; their blocks were leased to nobody."""
    pool = SmallPool()
    looks = trio.run(play, steps, pool)
    gc.collect(0)
    assert len(looks) == 2 * sum(step in WAYS for step, _ in steps)
    for look in looks:
        look.check()
    assert pool.statistics().lent_nbytes == 0
