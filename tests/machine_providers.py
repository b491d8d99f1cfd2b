"""The machine of `machine.py` over all providers at once, with processes.

Each lane has a builder over every provider of the library, so all of them must hold the same bytes
whatever is done. Beside what the other machine does, this one hands views to other
processes, forks with both sides leasing on, and drops providers before their blocks. Every
block is scribbled over when it is leased, so that whoever still looks at it sees that.
"""

import contextlib
import gc
import os
import pickle
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import precondition, rule
from machine import PICKS, SOME, BytesMachine, SmallPool, fresh_bytes

from trio_bytesbuf import BytesView, GlobalPool, MemoryInUse
from trio_bytesbuf.mem import (
    Block,
    BufferMemory,
    CallbackMemory,
    CappedPool,
    Memory,
    MemoryShared,
    OpaqueMemory,
    PageMemory,
    SharedPool,
    TrackingPool,
    share,
)
from trio_bytesbuf.seq import _release
from trio_bytesbuf.testing import PoisoningPool

CAN_SHARE = hasattr(os, "memfd_create")
POISON = 0xDB


class Scribbling(OpaqueMemory):
    """Writes over what another provider gives, before anybody gets it."""

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory)
        self.inner = memory

    def blocks(self, nbytes, /):
        blocks = list(super().blocks(nbytes))
        for block in blocks:
            room = block._stop - block._end
            block._memory[block._end : block._stop] = fresh_bytes(room % 64) + bytes(
                room - room % 64
            )
        return blocks


class SmallTrackingPool(TrackingPool):
    """Tracks, with blocks of few bytes."""

    _block_sizes = (16, 64)
    _unpooled_nbytes = 4


class HookedMemory(MemoryShared):
    """Overwrites its blocks as soon as its hook says that nobody sees them, and uses them again."""

    def __init__(self) -> None:
        self.idle: list[bytearray] = []

    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        for _ in range(-(-nbytes // 16)):
            memory = self.idle.pop() if self.idle else bytearray(16)
            yield Block(memory, on_release=lambda memory=memory: self.come_home(memory))

    def come_home(self, memory: bytearray) -> None:
        memory[:] = bytes((POISON,)) * len(memory)
        self.idle.append(memory)


PROVIDERS: dict[str, Callable[[], Memory]] = {
    "pool": SmallPool,
    "tracking": SmallTrackingPool,
    "poisoning": lambda: PoisoningPool(max_idle_nbytes=1 << 20),
    "hooked": HookedMemory,
    "capped": lambda: CappedPool(1 << 24),
    "pages": PageMemory,
    "callback": lambda: CallbackMemory(GlobalPool().reserve),
    "buffer": lambda: BufferMemory(bytearray(1 << 20), 16),
}
if CAN_SHARE:
    PROVIDERS["shared"] = SharedPool


@contextlib.contextmanager
def forked(child: Callable[[], None], complaint: str) -> Iterator[None]:
    """Run `child` in a forked process meanwhile; it must not fail."""
    with warnings.catch_warnings():  # threads of earlier tests may be about
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        status = 1
        try:
            child()
            status = 0
        except BaseException:  # noqa: BLE001  # nothing may get out of this process
            traceback.print_exc()
        finally:
            os._exit(status)
    try:
        yield
    finally:
        _, status = os.waitpid(pid, 0)
    assert status == 0, complaint


class ProvidersMachine(BytesMachine):
    """A program that keeps everything, over every provider, in several processes."""

    def make_memories(self) -> tuple[Memory, ...]:
        self.providers = {name: make() for name, make in PROVIDERS.items()}
        self.providers["pool"] = self.pool
        return self.lanes_memories()

    def lanes_memories(self) -> tuple[Memory, ...]:
        return tuple(Scribbling(memory) for memory in self.providers.values())

    @rule(name=st.sampled_from(sorted(set(PROVIDERS) - {"pool"})))
    def drop_a_provider_before_its_blocks(self, name: str) -> None:
        """Its builders and views go on without it; new blocks come from a new one."""
        self.providers[name] = PROVIDERS[name]()
        for lane in self.lanes:
            lane.memories = self.lanes_memories()

    @rule(name=st.sampled_from(sorted(PROVIDERS)), nbytes=SOME)
    def keep_a_view_of_one_provider(self, name: str, nbytes: int) -> None:
        data = fresh_bytes(nbytes)
        memory = Scribbling(self.providers[name])
        self.keep([BytesView.copied_from_slice(data, memory)], data)

    @rule(name=st.sampled_from(sorted(PROVIDERS)), nbytes=SOME)
    def lease_and_drop(self, name: str, nbytes: int) -> None:
        Scribbling(self.providers[name]).reserve(nbytes)

    @rule(name=st.sampled_from(sorted(PROVIDERS)))
    def trim_a_provider(self, name: str) -> None:
        trim = getattr(self.providers[name], "trim", None)
        if trim is not None:
            trim()

    @precondition(lambda self: self.views)
    @rule()
    def fork_with_both_sides_leasing_on(self) -> None:
        """Neither side sees what the other leases, before, while, or after it does."""

        def child() -> None:
            with pytest.raises(MemoryInUse):  # it cannot know what the parent sees
                self.providers.pop("buffer").reserve(1)
            self.lease_on()

        with forked(child, "the child saw other bytes"):
            self.lease_on()

    def lease_on(self) -> None:
        for _ in range(3):
            for memory in self.providers.values():
                data = fresh_bytes(33)
                self.keep([BytesView.copied_from_slice(data, Scribbling(memory))], data)
            del self.kept[-2:]
        self.everything_shows_what_it_should()

    @precondition(lambda _: CAN_SHARE)
    @rule(nbytes=SOME, opened=st.booleans(), dropped=st.booleans())
    def hand_a_view_to_another_process(self, nbytes: int, opened: bool, dropped: bool) -> None:
        """The other process sees the bytes even if this one drops them before it looks."""
        kept_data = fresh_bytes(nbytes)
        pool = self.providers["shared"]
        view = BytesView.copied_from_slice(kept_data, Scribbling(pool))
        handle = share(view)
        pickled = pickle.dumps(handle)
        if dropped:
            del view, handle

        def child() -> None:
            if opened:
                assert pickle.loads(pickled).open() == kept_data

        with forked(child, "the other process saw other bytes"):
            for _ in range(3):
                Scribbling(pool).reserve(nbytes)
        if not dropped:
            self.keep([view], kept_data)

    @precondition(lambda self: self.kept)
    @rule(pick=PICKS)
    def drop_one_from_the_middle(self, pick: int) -> None:
        del self.kept[pick % len(self.kept)]

    def teardown(self) -> None:
        """Drop everything; nothing is lent then by any provider, and every hook has run."""
        super().teardown()
        if sys.exception() is not None:
            return
        gc.collect()
        _release.run_hooks_that_are_due()
        for name, memory in self.providers.items():
            if hasattr(memory, "statistics") and name != "shared":
                assert memory.statistics().lent_nbytes == 0, f"{name}: lent, but nobody sees it"
        assert self.providers["tracking"].outstanding() == (), "tracked, but nobody sees it"
        assert not _release._OUT, "a hook that has not run"
        assert not _release._FAILED, "a hook that has raised"
        self.providers.clear()
