"""The machine of `machine.py` over all providers at once, with processes.

Each lane has a builder over every provider of the library, so all of them must hold the same bytes
whatever is done. Beside what the other machine does, this one hands views to other
processes, forks with both sides leasing on, and drops providers before their blocks. Every
block is scribbled over when it is leased, so that whoever still looks at it sees that.
"""

import contextlib
import functools
import itertools
import os
import pickle
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import attrs
import hypothesis.strategies as st
import pytest
from hypothesis.stateful import precondition, rule
from machine import PICKS, SOME, BytesMachine, Kept, SmallPool, fresh_bytes

from trio_bytesbuf import BytesView, GlobalPool, HandleExpired, MemoryInUse
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
from trio_bytesbuf.seq import _hook_errors, _release
from trio_bytesbuf.testing import PoisoningPool

CAN_SHARE = hasattr(os, "memfd_create")
POISON = 0xDB


class Scribbling(OpaqueMemory):
    """Writes over what another provider gives, before anybody gets it."""

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory)
        self.inner = memory

    def reserve(self, nbytes, /):
        return Memory.reserve(self, nbytes)  # by way of `blocks`

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
    "buffer": lambda: BufferMemory(bytearray(1 << 16), 16),
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
        fresh_bytes(101)  # so that it writes other bytes than its parent
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


@attrs.frozen
class Peer:
    """A process that opens handles and keeps what they show."""

    connection: Connection

    def ask(self, *question: object) -> None:
        self.connection.send(question)
        answer = self.connection.recv()
        assert answer is None, f"the peer saw other bytes: {answer}"


@functools.cache
def peer() -> Peer:
    """Return the peer of this test run. It is older than all blocks, so it inherits none."""
    ours, theirs = Pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        theirs.close()
        return Peer(ours)
    ours.close()
    try:
        answer_questions(theirs)
    finally:
        os._exit(0)


def answer_questions(connection: Connection) -> None:
    """Play the peer until the other process is gone."""
    seen: list[Kept] = []
    with contextlib.suppress(EOFError):
        while True:
            match connection.recv():
                case "open", pickled, data:
                    try:
                        seen.append(Kept(pickle.loads(pickled).open(), data))
                    except HandleExpired as exc:
                        connection.send(f"nothing: {exc}")
                        continue
                case ("drop",):
                    seen.clear()
            wrong = [kept for kept in seen if kept.thing != kept.shown]
            connection.send(repr(wrong) if wrong else None)


class ProvidersMachine(BytesMachine):
    """A program that keeps everything, over every provider, in several processes."""

    names: tuple[str, ...] = tuple(PROVIDERS)

    def make_memories(self) -> tuple[Memory, ...]:
        if "shared" in self.names:
            peer().ask("drop")
        self.providers = {name: PROVIDERS[name]() for name in self.names}
        if "pool" in self.names:
            self.providers["pool"] = self.pool
        self.in_turn = (self.providers[name] for name in itertools.cycle(self.names))
        return self.lanes_memories()

    def lanes_memories(self) -> tuple[Memory, ...]:
        return tuple(Scribbling(memory) for memory in self.providers.values())

    def picked(self, pick: int) -> Memory:
        return self.providers[self.names[pick % len(self.names)]]

    def only_view(self, nbytes: int) -> Kept:
        """Return a view for somebody else to keep, of each provider in turn."""
        memory = next(self.in_turn)
        data = fresh_bytes(nbytes)
        return Kept(BytesView.copied_from_slice(data, Scribbling(memory)), data)

    @rule(pick=PICKS)
    def drop_a_provider_before_its_blocks(self, pick: int) -> None:
        """Its builders and views go on without it; new blocks come from a new one."""
        name = self.names[pick % len(self.names)]
        if name != "pool":
            self.providers[name] = PROVIDERS[name]()
        for lane in self.lanes:
            lane.memories = self.lanes_memories()

    @rule(pick=PICKS, nbytes=SOME)
    def keep_a_view_of_one_provider(self, pick: int, nbytes: int) -> None:
        data = fresh_bytes(nbytes)
        memory = Scribbling(self.picked(pick))
        self.keep([BytesView.copied_from_slice(data, memory)], data)

    @rule(pick=PICKS, nbytes=SOME)
    def lease_and_drop(self, pick: int, nbytes: int) -> None:
        Scribbling(self.picked(pick)).reserve(nbytes)

    @rule(pick=PICKS)
    def trim_a_provider(self, pick: int) -> None:
        trim = getattr(self.picked(pick), "trim", None)
        if trim is not None:
            trim()

    @precondition(lambda self: self.views)
    @rule()
    def fork_with_both_sides_leasing_on(self) -> None:
        """Neither side sees what the other leases, before, while, or after it does."""

        def child() -> None:
            if "buffer" in self.providers:
                with pytest.raises(MemoryInUse):  # it cannot know what the parent sees
                    self.providers.pop("buffer").reserve(1)
            self.lease_on()

        with forked(child, "the child saw other bytes"):
            self.lease_on()

    def lease_on(self) -> None:
        for memory in self.providers.values():
            for _ in range(3):
                data = fresh_bytes(33)
                self.keep([BytesView.copied_from_slice(data, Scribbling(memory))], data)
                self.lease_and_forget(memory, 33)
        self.everything_shows_what_it_should()

    def lease_and_forget(self, memory: Memory, nbytes: int) -> None:
        for _ in range(3):
            Scribbling(memory).reserve(nbytes)

    @precondition(lambda self: "shared" in self.names)
    @rule(nbytes=SOME, opened=st.booleans(), dropped=st.booleans(), kept=st.booleans())
    def hand_a_view_to_another_process(
        self, nbytes: int, opened: bool, dropped: bool, kept: bool
    ) -> None:
        """The peer sees the bytes as long as it looks, though this process has dropped them."""
        data = fresh_bytes(nbytes)
        pool = self.providers["shared"]
        view = BytesView.copied_from_slice(data, Scribbling(pool))
        pickled = pickle.dumps(share(view))
        if not dropped:
            self.keep([view], data)
        del view
        self.lease_and_forget(pool, nbytes)
        if opened:
            peer().ask("open", pickled, data)
            self.lease_and_forget(pool, nbytes)
            peer().ask("check")
            if not kept:
                peer().ask("drop")

    @precondition(lambda self: self.kept)
    @rule(pick=PICKS)
    def drop_one_from_the_middle(self, pick: int) -> None:
        del self.kept[pick % len(self.kept)]

    def check_that_all_is_home(self) -> None:
        """Nothing is lent by any provider, and every hook has run."""
        super().check_that_all_is_home()
        _release.run_hooks_that_are_due()
        for name, memory in self.providers.items():
            if hasattr(memory, "statistics") and name != "shared":
                assert memory.statistics().lent_nbytes == 0, f"{name}: lent, but nobody sees it"
            if name == "tracking":
                assert memory.outstanding() == (), "tracked, but nobody sees it"
        assert not _release._OUT, "a hook that has not run"
        assert not _hook_errors._FAILED, "a hook that has raised"
        self.providers.clear()
