"""Memory: pools with a cap, pools that other processes see, and providers with hooks that raise.

After each failure the books are right: what was lent comes home, and nobody waits for ever.
"""

import contextlib
import gc
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import trio
import trio.testing

from trio_bytesbuf import BadMemory, BytesBuf, BytesView, SocketStream
from trio_bytesbuf.mem import (
    Block,
    CallbackMemory,
    CappedPool,
    Memory,
    MemoryShared,
    PageMemory,
    SharedPool,
    share,
    view_of_file,
)
from trio_bytesbuf.testing import FailingMemory, FailureAttempt, HookCalls, check_laws

from .files import file_of
from .place import INCOMING, OUTGOING, Case, Place, Planted, Subject
from .streams import READING, WRITING, a_prefix_was_sent, no_byte_is_lost

CAP_NBYTES = 262_144
CLAIM_SECONDS = 0.01


class Lender(MemoryShared):
    """Memory whose blocks come home by a hook, which is to fail when it has done its work."""

    def __init__(self, calls: HookCalls) -> None:
        self._come_home = calls.wrap(self._take_back)
        self.lent: set[int] = set()
        self._given = 0

    def _take_back(self, number: int) -> None:
        self.lent.remove(number)  # which it does once: the second time is a KeyError

    def blocks(self, nbytes: int, /) -> Iterator[Block]:
        """Give one block."""
        self._given += 1
        self.lent.add(self._given)
        yield Block(bytearray(nbytes), on_release=partial(self._come_home, self._given))


Check = Callable[[], None]


def over(make: Callable[[Place], tuple[Memory, Check]]) -> Subject:
    """Connect two streams, the first over memory that `make` makes; then check its books."""

    @contextlib.asynccontextmanager
    async def subject(calls: HookCalls) -> AsyncIterator[Place]:
        it = Place(calls)
        memory, is_home = make(it)
        it.more.append(memory)
        ours, theirs = trio.socket.socketpair()
        async with SocketStream(ours, memory=memory) as it.stream, SocketStream(theirs) as it.peer:
            yield it
        it.stream = it.peer = None
        it.more.clear()
        it.nothing_is_lent()
        del memory
        try:
            is_home()
        except AssertionError:  # maybe there is garbage
            gc.collect()
            is_home()

    return subject


def by_function(it: Place) -> tuple[Memory, Check]:
    """Return memory that a function gives, which is to fail."""
    return CallbackMemory(it.calls.wrap(it.pool.reserve)), lambda: None


def by_lender(it: Place) -> tuple[Memory, Check]:
    """Return memory whose release hooks are to fail."""
    lender = Lender(it.calls)

    def is_home() -> None:
        assert not lender.lent
        with contextlib.suppress(BadMemory):  # what the last hook has raised
            lender.reserve(1)

    return lender, is_home


def by_cap(it: Place) -> tuple[Memory, Check]:
    """Return a share of a pool with a cap, which is to fail."""
    pool = CappedPool(CAP_NBYTES)

    def is_home() -> None:
        check_laws(pool)
        assert (pool.statistics().lent_nbytes, pool.statistics().waiting) == (0, 0)
        assert pool.reserve(CAP_NBYTES).remaining_capacity == CAP_NBYTES

    it.buf = pool.reserve(CAP_NBYTES)  # so that others have to wait
    return FailingMemory(pool.share(CAP_NBYTES // 2), it.calls), is_home


def by_segments(it: Place) -> tuple[Memory, Check]:
    """Return memory that other processes can see."""
    pool = SharedPool()

    def is_home() -> None:
        check_laws(pool)
        assert not pool.statistics().lent_nbytes

    return FailingMemory(pool, it.calls), is_home


def by_pages(it: Place) -> tuple[Memory, Check]:
    """Return memory in whole pages, whose mappings are to fail."""
    pool = PageMemory()

    def is_home() -> None:
        check_laws(pool)
        assert not pool.statistics().lent_nbytes

    it.more.append(pool)
    return pool, is_home


async def take_and_drop(it: Place) -> None:
    """Receive all, and let go of what was received at once."""
    async for view in it.stream.views():
        it.got.append(bytes(view))


async def take_when_there_is_room(it: Place) -> None:
    """Receive all, by a share of a pool whose whole budget somebody else holds at first."""
    failure: Exception | None = None

    async def let_go() -> None:
        await trio.testing.wait_all_tasks_blocked()
        it.buf = BytesBuf()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_go)
        try:
            await take_and_drop(it)
        except Exception as exc:  # noqa: BLE001  # raised below, outside of the nursery
            failure = exc
        nursery.cancel_scope.cancel()
    it.buf = BytesBuf()
    if failure is not None:
        try:
            raise failure
        finally:
            failure = None  # it refers to this frame


async def books_are_right(it: Place, attempt: FailureAttempt) -> str:
    """Check that no byte is lost, and that a hook's error is told as the memory's."""
    if isinstance(attempt.error, BadMemory):
        assert isinstance(attempt.error.__cause__, (Planted, OSError))
    return await no_byte_is_lost(it, attempt)


# Waiting in line


@contextlib.asynccontextmanager
async def capped(calls: HookCalls) -> AsyncIterator[Place]:
    """Make a pool with a cap, and two shares."""
    it = Place(calls)
    pool = CappedPool(CAP_NBYTES)
    it.more += [pool, pool.share(CAP_NBYTES), pool.share(CAP_NBYTES // 2)]
    yield it
    it.more.clear()


async def work_in_turn(it: Place) -> None:
    """Have nine tasks wait for memory of which there is enough for two, and work with it."""
    errors: list[Exception] = []

    async def one(nbytes: int, memory: CappedPool) -> None:
        buf = await memory.reserve_wait(nbytes)
        try:
            await trio.lowlevel.checkpoint()
            it.calls.come_by("work")
            it.got.append(len(OUTGOING[: buf.remaining_capacity]))
        except (Planted, MemoryError) as exc:
            errors.append(exc.with_traceback(None))

    async with trio.open_nursery() as nursery:
        for memory in it.more:
            for part in (2, 3, 2):
                nursery.start_soon(one, CAP_NBYTES // part // 2, memory)
    if errors:
        raise errors[0]


async def nobody_waits(it: Place, attempt: FailureAttempt) -> str:
    """Check that each task had its turn, but for the one that failed, and that all is at home."""
    pool = it.more[0]
    check_laws(pool)
    assert len(it.got) == 9 - (attempt.error is not None)
    assert (pool.statistics().lent_nbytes, pool.statistics().waiting) == (0, 0)
    assert (await pool.reserve_wait(CAP_NBYTES)).remaining_capacity == CAP_NBYTES
    return "the others had their turn" if attempt.error is not None else ""


# Shared


@contextlib.asynccontextmanager
async def shared(calls: HookCalls) -> AsyncIterator[Place]:
    """Make a pool that other processes can see."""
    it = Place(calls)
    pool = SharedPool()
    it.more.append(pool)
    yield it
    it.more.clear()
    it.got.clear()
    check_laws(pool)
    for _ in range(100):  # what was to be claimed is waited for
        if not pool.statistics().lent_nbytes:
            break
        await trio.sleep(CLAIM_SECONDS)
    assert not pool.statistics().lent_nbytes
    pool.trim()


async def hand_over(it: Place) -> BytesView:
    """Fill two blocks, and hand them over by a pickle."""
    pool: SharedPool = it.more[0]
    first = BytesView.copied_from_slice(INCOMING[:70_000], pool)
    both = BytesView.from_views([first, BytesView.copied_from_slice(INCOMING[70_000:], pool)])
    handle = pickle.dumps(share(both, claim_seconds=CLAIM_SECONDS))
    arrived: BytesView = pickle.loads(handle).open()  # noqa: S301  # our own
    return arrived


async def is_handed_over(it: Place, attempt: FailureAttempt) -> str:
    """Check that what was handed over is it; if it failed, it can be tried again."""
    view = attempt.result
    if attempt.error is not None:
        assert isinstance(attempt.error, OSError), repr(attempt.error)
        check_laws(it.more[0])
        view = await hand_over(it)
    assert view == INCOMING
    return "resumed" if attempt.error is not None else ""


@contextlib.asynccontextmanager
async def a_file(calls: HookCalls) -> AsyncIterator[Place]:
    """Make a file that can be mapped."""
    async with file_of(calls, INCOMING, "r") as it:
        yield it


async def view_file(it: Place) -> BytesView:
    """Look at a file in memory."""
    return view_of_file(it.path)


async def is_seen(it: Place, attempt: FailureAttempt) -> str:
    """Check that what is seen is the file, or the error names it."""
    view = attempt.result
    if attempt.error is not None:
        assert isinstance(attempt.error, OSError), repr(attempt.error)
        view = view_of_file(it.path)
    assert view == INCOMING
    return "resumed" if attempt.error is not None else ""


def cases() -> Iterator[Case]:
    """Yield receiving and sending over each memory; waiting in line; handing over."""
    hooks = ("hook", "hook, done", "memory")
    for name in ("receive_view", "read_exactly", "read_exactly_into", "read_at_most_into"):
        operation = READING[name]
        yield Case(
            "callback",
            name,
            over(by_function),
            operation,
            books_are_right,
            Place.send_incoming,
            hooks,
        )
        yield Case(
            "shared pool",
            name,
            over(by_segments),
            operation,
            books_are_right,
            Place.send_incoming,
            ("segment", "reset reads", "memory"),
        )
        yield Case(
            "pages",
            name,
            over(by_pages),
            operation,
            books_are_right,
            Place.send_incoming,
            ("pages", "reset reads"),
        )
    name = "prepare_and_write"
    yield Case(
        "callback",
        name,
        over(by_function),
        WRITING[name],
        a_prefix_was_sent,
        Place.take_all,
        hooks,
    )
    for name, operation in (
        ("views, dropped", take_and_drop),
        ("read_exactly_into", READING["read_exactly_into"]),
    ):
        yield Case(
            "release hook",
            name,
            over(by_lender),
            operation,
            books_are_right,
            Place.send_incoming,
            ("hook, done",),
        )
    yield Case(
        "capped pool",
        "views, waiting",
        over(by_cap),
        take_when_there_is_room,
        books_are_right,
        Place.send_incoming,
        ("busy", "short", "reset reads", "memory"),
    )
    yield Case(
        "capped pool", "reserve_wait, 9 tasks", capped, work_in_turn, nobody_waits, None, hooks[::2]
    )
    yield Case("shared pool", "share, open", shared, hand_over, is_handed_over, None, ("segment",))
    yield Case("mapping", "view_of_file", a_file, view_file, is_seen, None, ("segment",))
