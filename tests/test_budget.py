"""Claims about `CappedPool`: the cap holds, waiting is in order, overload is backpressure."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.lowlevel
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pairs import big_buffers, closing, noise, put_now, receive_exactly, small_buffers, socketpair

from trio_bytesbuf import BudgetExceeded, BytesView, CappedPool, SocketStream, relay, serve_tcp
from trio_bytesbuf.io import open_tcp_listeners, open_tcp_stream
from trio_bytesbuf.mem import Memory, _ledger
from trio_bytesbuf.testing import FailureAttempt, HookCalls, check_laws, fail_at_each_call

PAGE = 4096
PATIENCE = 20
SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def filled(memory: Memory, nbytes: int, value: int = 1) -> BytesView:
    buf = memory.reserve(nbytes)
    buf.put_repeated(value, buf.remaining_capacity)
    return buf.consume_all()


@pytest.fixture(autouse=True)
def in_time():
    """A test that would wait for ever fails instead."""
    done = threading.Event()

    def give_up() -> None:
        if not done.wait(60):
            os.abort()  # faulthandler, which pytest has on, shows where everybody is

    watch = threading.Thread(target=give_up, daemon=True)
    watch.start()
    yield
    done.set()
    watch.join()


# Without waiting


@given(
    cap=st.integers(1, 1_200_000),
    wanted=st.lists(st.integers(0, 400_000), max_size=12),
)
@SETTINGS
def test_the_cap_is_never_exceeded(cap: int, wanted: list[int]) -> None:
    """What is lent never sums to more, and a request that is refused has lent nothing."""
    pool = CappedPool(cap)
    held = []
    for nbytes in wanted:
        before = pool.statistics().lent_nbytes
        try:
            held.append(pool.reserve(nbytes))
        except BudgetExceeded as exc:
            refused = exc
        else:
            refused = None
        if refused is not None:
            assert refused.requested == nbytes
            assert pool.statistics().lent_nbytes == before
        assert sum(buf.remaining_capacity for buf in held) == pool.statistics().lent_nbytes <= cap
        check_laws(pool)
    held.clear()
    assert pool.statistics().lent_nbytes == 0
    assert len(pool.reserve(cap).split_off_remaining(cap)) == 0
    assert pool.statistics().peak_nbytes == cap or cap % PAGE == 0


@pytest.mark.parametrize("cap", [1, 10, PAGE, PAGE + 1, 100_000, 262_144, 1_000_001])
def test_all_of_the_cap_can_be_had_at_once(cap: int) -> None:
    """Rounding up to whole blocks never makes a request fail that the cap allows."""
    pool = CappedPool(cap)
    held = pool.reserve(cap)
    assert held.remaining_capacity == cap == pool.statistics().lent_nbytes
    with pytest.raises(BudgetExceeded) as caught:
        pool.reserve(1)
    assert (caught.value.requested, caught.value.available) == (1, 0)
    assert isinstance(caught.value, MemoryError)


def test_a_byte_does_not_take_a_large_block() -> None:
    """The smallest block is a page."""
    pool = CappedPool(1_048_576)
    held = [pool.reserve(1) for _ in range(256)]
    assert pool.statistics().lent_nbytes == 256 * PAGE == pool.max_nbytes
    assert held


def test_what_is_shown_stays_lent() -> None:
    """A slice of a view keeps its block out of the budget; the last one brings it home."""
    pool = CappedPool(PAGE)
    view = filled(pool, PAGE)
    part = memoryview(view.first_piece)[5:6]
    del view
    with pytest.raises(BudgetExceeded):
        pool.reserve(1)
    assert part[0] == 1
    del part
    filled(pool, PAGE)


def test_who_hoards_starves_himself() -> None:
    """A share has a cap of its own; what it may not have the others can."""
    pool = CappedPool(10 * PAGE)
    greedy, modest = pool.share(4 * PAGE), pool.share(4 * PAGE)
    held = [greedy.reserve(PAGE) for _ in range(4)]
    with pytest.raises(BudgetExceeded):
        greedy.reserve(1)
    held.append(modest.reserve(4 * PAGE))
    assert greedy.statistics().lent_nbytes == modest.statistics().lent_nbytes == 4 * PAGE
    assert pool.statistics().lent_nbytes == 8 * PAGE
    check_laws(pool)
    del greedy, modest  # what they lent counts until it comes home
    assert pool.statistics().lent_nbytes == 8 * PAGE
    held.clear()
    assert pool.statistics().lent_nbytes == 0


@pytest.mark.parametrize("senseless", [0, -1, 1.5, "1"])
def test_a_cap_is_a_positive_integer(senseless) -> None:
    """Of the pool as of a share."""
    with pytest.raises((TypeError, ValueError)):
        CappedPool(senseless)
    with pytest.raises((TypeError, ValueError)):
        CappedPool(100).share(senseless)


# Waiting: one loop


async def test_what_can_never_be_granted_is_refused_at_once() -> None:
    """Whether by the pool or by the share."""
    pool = CappedPool(1000)
    for memory, nbytes in ((pool, 1001), (pool.share(100), 101), (pool, -1)):
        with pytest.raises(ValueError):
            await memory.reserve_wait(nbytes)


@pytest.mark.parametrize("nbytes", [0, 1, 1000])
async def test_waiting_is_a_checkpoint_and_can_be_cancelled_at_it(nbytes: int) -> None:
    """Also when nothing has to be waited for."""
    pool = CappedPool(1000)
    with trio.testing.assert_checkpoints():
        buf = await pool.reserve_wait(nbytes)
    assert buf.remaining_capacity >= nbytes
    del buf
    with trio.CancelScope() as scope:
        scope.cancel()
        await pool.reserve_wait(nbytes)
    assert scope.cancelled_caught
    assert pool.statistics().lent_nbytes == 0


class Script:
    """A pool in use, and a model: who holds what, and who waits, in the order of coming."""

    def __init__(self, nursery: trio.Nursery, cap: int) -> None:
        self.nursery = nursery
        self.pool = CappedPool(cap)
        self.room = cap
        self.queue: list[tuple[int, int]] = []
        self.holds: dict[int, int] = {}
        self.held: dict[int, object] = {}
        self.scopes: dict[int, trio.CancelScope] = {}
        self.served: list[int] = []
        self.expected: list[int] = []
        self.names = 0

    async def wait_for(self, name: int, nbytes: int) -> None:
        with self.scopes[name]:
            self.held[name] = await self.pool.reserve_wait(nbytes)
            self.served.append(name)

    def grant(self) -> None:
        while self.queue and self.queue[0][1] <= self.room:
            name, nbytes = self.queue.pop(0)
            self.room -= nbytes
            self.holds[name] = nbytes
            self.expected.append(name)

    async def wait(self, nbytes: int) -> None:
        self.names += 1
        self.scopes[self.names] = trio.CancelScope()
        self.queue.append((self.names, nbytes))
        self.nursery.start_soon(self.wait_for, self.names, nbytes)

    async def reserve(self, nbytes: int) -> None:
        self.names += 1
        if not self.queue and nbytes <= self.room:
            self.held[self.names] = self.pool.reserve(nbytes)
            self.holds[self.names] = nbytes
            self.room -= nbytes
        else:
            with pytest.raises(BudgetExceeded):
                self.pool.reserve(nbytes)

    async def drop(self, index: int) -> None:
        if self.holds:
            name = sorted(self.holds)[index % len(self.holds)]
            self.room += self.holds.pop(name)
            del self.held[name]

    async def cancel(self, index: int) -> None:
        if self.queue:
            name, _ = self.queue.pop(index % len(self.queue))
            self.scopes[name].cancel()

    async def check(self) -> None:
        self.grant()
        with trio.fail_after(PATIENCE):
            while self.served != self.expected:
                await trio.lowlevel.checkpoint()
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        assert self.served == self.expected, "somebody was served out of turn"
        stats = self.pool.statistics()
        assert stats.lent_nbytes == sum(self.holds.values()) <= stats.max_nbytes
        assert stats.peak_nbytes <= stats.max_nbytes
        assert stats.waiting == len(self.queue)
        check_laws(self.pool)


UNITS = st.integers(1, 10).map(lambda n: n * PAGE)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), UNITS),
        st.tuples(st.just("reserve"), UNITS),
        st.tuples(st.just("drop"), st.integers(0, 9)),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
    ),
    max_size=25,
)


@given(STEPS)
@SETTINGS
def test_every_script_of_waits_and_drops_goes_as_a_queue_does(steps) -> None:
    """First come, first served, whatever is wanted, dropped or cancelled; all are served."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            script = Script(nursery, 10 * PAGE)
            for what, argument in steps:
                # No page is the exact sum of the blocks for it unless it is one of their sizes, so
                # the model counts in what the pool rounds to.
                if what in {"wait", "reserve"}:
                    argument = CappedPool(10 * PAGE).reserve(argument).remaining_capacity
                await getattr(script, what)(argument)
                await script.check()
            while script.holds:
                await script.drop(0)
                await script.check()
            assert not script.queue, "a waiter that nobody serves"
            assert script.pool.statistics().lent_nbytes == 0

    trio.run(main)


async def test_a_large_request_is_not_overtaken() -> None:
    """Small ones that came later wait, though there would be room; so does `reserve`."""
    pool = CappedPool(4 * PAGE)
    held = [pool.reserve(PAGE) for _ in range(3)]
    order = []

    async def wait(nbytes: int) -> None:
        held.append(await pool.reserve_wait(nbytes))
        order.append(nbytes)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, 4 * PAGE)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(wait, 1)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(BudgetExceeded):
            pool.reserve(1)
        assert order == []
        held.clear()
        await trio.sleep(0.01)
        assert order == [4 * PAGE]
        held.clear()
    assert order == [4 * PAGE, 1]


async def test_a_full_share_does_not_hold_up_the_pool() -> None:
    """Who waits for his own share is not in the way of others; when there is room he is served."""
    pool = CappedPool(4 * PAGE)
    share = pool.share(PAGE)
    held = [share.reserve(PAGE)]
    got = []

    async def wait() -> None:
        got.append(await share.reserve_wait(PAGE))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert share.statistics().waiting == pool.statistics().waiting == 1
        assert await pool.reserve_wait(PAGE) is not None
        assert got == []
        held.clear()
    assert len(got) == 1


@pytest.mark.parametrize("moment", range(12))
async def test_who_is_cancelled_when_memory_comes_home_loses_none_of_it(moment: int) -> None:
    """At every tick around the grant: he has it or he has not, and the next in line is served."""
    pool = CappedPool(PAGE)
    held = [pool.reserve(PAGE)]
    got = []

    async def first() -> None:
        got.append(await pool.reserve_wait(PAGE))

    async def second() -> None:
        await pool.reserve_wait(PAGE)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def cancellable() -> None:
                with scope:
                    await first()

            nursery.start_soon(cancellable)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(second)
            await trio.testing.wait_all_tasks_blocked()
            held.clear()
            for _ in range(moment):
                await trio.lowlevel.checkpoint()
            scope.cancel()
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            got.clear()
    assert pool.statistics().lent_nbytes == 0
    assert pool.statistics().waiting == 0
    check_laws(pool)


async def test_memory_that_is_garbage_comes_home() -> None:
    """A cycle that nobody collects but the collector wakes who waits."""
    pool = CappedPool(PAGE)
    gc.disable()
    try:
        cycle: list[object] = [filled(pool, PAGE)]
        cycle.append(cycle)
        del cycle
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.reserve_wait, PAGE)
            await trio.testing.wait_all_tasks_blocked()
            assert pool.statistics().waiting == 1
            gc.collect()
            with trio.fail_after(PATIENCE):
                await pool.reserve_wait(1)
    finally:
        gc.enable()


async def test_a_starved_program_collects_its_garbage() -> None:
    """Who waits allocates nothing, so no collection would ever begin by itself."""
    pool = CappedPool(PAGE)
    cycle: list[object] = [filled(pool, PAGE)]
    cycle.append(cycle)
    gc.collect()
    del cycle
    with trio.fail_after(PATIENCE):
        await pool.reserve_wait(PAGE)


async def test_a_lost_hint_delays_and_does_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block whose hook never runs is found by looking at its count."""
    from trio_bytesbuf.seq import _release

    pool = CappedPool(PAGE)
    held = [pool.reserve(PAGE)]
    held[0].put_slice(b"x")
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.reserve_wait, PAGE)
            await trio.testing.wait_all_tasks_blocked()
            _release._OUT.clear()
            held.clear()


def test_a_request_that_finds_no_memory_half_way_holds_up_nobody(monkeypatch) -> None:
    """Whichever allocation fails: who waits for the rest of the budget has it at once."""
    nbytes = 262_144 + 65_536  # two blocks
    calls = HookCalls(MemoryError)
    monkeypatch.setattr(_ledger, "bytearray", calls.wrap(bytearray), raising=False)

    @contextlib.asynccontextmanager
    async def a_pool():
        yield CappedPool(nbytes, max_idle_nbytes=0)

    async def three_in_turn(pool: CappedPool) -> int:
        failed = served = 0

        async def wait() -> None:
            nonlocal failed, served
            try:
                await pool.reserve_wait(nbytes)
                served += 1
            except MemoryError:
                failed += 1

        held = [pool.reserve(nbytes)]
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            started = trio.current_time()
            held.clear()
        assert trio.current_time() == started
        assert (failed, served) == ((1, 2) if calls.struck else (0, 3))
        return served

    async def check(pool: CappedPool, attempt: FailureAttempt) -> None:
        assert attempt.error is None or type(attempt.error) is MemoryError
        started = trio.current_time()
        assert (await pool.reserve_wait(nbytes)).remaining_capacity == nbytes
        assert trio.current_time() == started
        check_laws(pool)

    async def main() -> int:
        table = await fail_at_each_call(a_pool, three_in_turn, calls, check=check)
        return table.failed

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)) == 8


# Waiting: several threads


def test_views_that_other_threads_drop_wake_who_waits() -> None:
    """The last reference goes away in a worker thread while the loop sleeps."""
    pool = CappedPool(4 * PAGE)
    rounds = 60

    async def main() -> None:
        _send, _receive = trio.open_memory_channel[object](0)

        async def drop(view: object) -> None:
            cell = [view]
            del view
            await trio.to_thread.run_sync(cell.clear)

        async with trio.open_nursery() as nursery:
            for value in range(rounds):
                buf = await pool.reserve_wait(2 * PAGE)
                buf.put_repeated(value, 2 * PAGE)
                view = buf.consume_all()
                del buf
                nursery.start_soon(drop, view)
                del view

    with_time(main)
    assert pool.statistics().lent_nbytes == 0
    check_laws(pool)


def with_time(main, *args) -> None:
    async def limited() -> None:
        with trio.fail_after(PATIENCE):
            await main(*args)

    trio.run(limited)


def test_several_loops_wait_on_one_pool() -> None:
    """Each in a thread of its own; nobody is forgotten, and the cap holds."""
    pool = CappedPool(4 * PAGE)
    served = []
    failures = []

    async def user(value: int) -> None:
        for turn in range(15):
            buf = await pool.reserve_wait((1, 4 * PAGE, 2 * PAGE)[(value + turn) % 3])
            nbytes = buf.remaining_capacity
            buf.put_repeated(value, nbytes)
            view = buf.consume_all()
            del buf
            await trio.lowlevel.checkpoint()
            assert view.to_bytes() == bytes((value,)) * nbytes
            del view
            served.append(value)

    async def main(base: int) -> None:
        async with trio.open_nursery() as nursery:
            for value in range(base, base + 5):
                nursery.start_soon(user, value)

    def run(base: int) -> None:
        try:
            with_time(main, base)
        except BaseException as exc:  # noqa: BLE001  # whatever it is, it fails the test
            failures.append(exc)

    threads = [threading.Thread(target=run, args=(base,)) for base in (0, 10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(served) == 3 * 5 * 15
    assert pool.statistics().peak_nbytes <= 4 * PAGE
    assert pool.statistics().lent_nbytes == 0
    check_laws(pool)


def test_threads_that_reserve_at_once_never_pass_the_cap() -> None:
    """Without any loop; what is refused is refused by the error."""
    pool = CappedPool(8 * PAGE)
    worst = []

    def use(value: int) -> None:
        for _ in range(300):
            try:
                view = filled(pool, PAGE, value)
            except BudgetExceeded:
                continue
            worst.append(view.to_bytes().count(value) - len(view))
            del view

    threads = [threading.Thread(target=use, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(worst) == {0}
    assert pool.statistics().peak_nbytes <= 8 * PAGE
    assert pool.statistics().lent_nbytes == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_can_use_the_pool() -> None:
    """Who waits in the parent does not stand in the way of the child; what it drops comes home."""
    script = """if True:
        import os, trio
        from trio_bytesbuf import CappedPool
        async def main():
            pool = CappedPool(8192)
            held = [pool.reserve(4096)]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pool.reserve_wait, 8192)
                await trio.sleep(0.01)
                pid = os.fork()
                if not pid:
                    try:
                        held.clear()
                        buf = pool.reserve(8192)
                        assert pool.statistics().lent_nbytes == 8192, pool.statistics()
                        del buf
                        assert pool.statistics().lent_nbytes == 0, pool.statistics()
                    except BaseException as exc:
                        print(repr(exc), flush=True)
                        os._exit(1)
                    os._exit(0)
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
                held.clear()
        trio.run(main)
    """
    environment = {key: value for key, value in os.environ.items() if "COV" not in key}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


# Streams


async def test_a_stream_waits_for_memory_and_holds_none() -> None:
    """Bytes stay in the kernel until the budget has room; then they arrive, all of them."""
    pool = CappedPool(PAGE)
    held = [pool.reserve(PAGE)]
    a, b = await socketpair(pool)
    got = []
    async with closing(a, b), trio.open_nursery() as nursery:
        put_now(a, noise(2000))

        async def receive() -> None:
            got.append(await b.receive_view())

        nursery.start_soon(receive)
        await trio.sleep(0.02)
        assert got == []
        assert pool.statistics().lent_nbytes == PAGE
        held.clear()
        await trio.sleep(0.02)
        assert got == [noise(2000)]


async def test_receiving_can_be_cancelled_while_it_waits_for_memory() -> None:
    """No byte is lost and the place in the line is given up."""
    pool = CappedPool(PAGE)
    held = [pool.reserve(PAGE)]
    a, b = await socketpair(pool)
    async with closing(a, b):
        put_now(a, noise(500))
        with trio.move_on_after(0.02) as scope:
            await b.receive_view()
        assert scope.cancelled_caught
        assert pool.statistics().waiting == 0
        held.clear()
        assert await b.receive_view() == noise(500)


async def test_a_stream_that_is_closed_stops_waiting_for_memory() -> None:
    """By another task, with trio's error."""
    pool = CappedPool(PAGE)
    held = [pool.reserve(PAGE)]
    a, b = await socketpair(pool)
    async with closing(a, b), trio.open_nursery() as nursery:
        put_now(a, noise(500))

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await b.receive_view()

        nursery.start_soon(receive)
        await trio.sleep(0.02)
        await b.aclose()
    assert held


async def test_an_idle_stream_does_not_stand_in_line() -> None:
    """Only who has something to receive waits for memory."""
    pool = CappedPool(PAGE)
    held = [pool.reserve(PAGE)]
    a, b = await socketpair(pool)
    async with closing(a, b), trio.open_nursery() as nursery:
        nursery.start_soon(b.receive_view)
        await trio.sleep(0.02)
        assert pool.statistics().waiting == 0
        held.clear()
        assert (await pool.reserve_wait(1)).remaining_capacity
        nursery.cancel_scope.cancel()


async def test_the_end_is_seen_without_memory() -> None:
    """So a handler that holds all of its share learns that nothing more will come."""
    pool = CappedPool(PAGE)
    a, b = await socketpair(pool.share(PAGE))
    async with closing(a, b):
        put_now(a, noise(PAGE))
        await a.send_eof()
        held = [await b.receive_view()]
        with trio.fail_after(1):
            assert await b.receive_view() == b""
        assert held == [noise(PAGE)]


@pytest.mark.parametrize("cap", [1, 100, PAGE, PAGE + 1, 5 * PAGE, 300_000])
async def test_everything_arrives_whatever_the_cap(cap: int) -> None:
    """In views of at most the cap, none of them more than `max_bytes`."""
    pool = CappedPool(cap)
    a, b = await socketpair(pool.share(cap))
    data = noise(3000 if cap < 1000 else 200_000)
    async with closing(a, b), trio.open_nursery() as nursery:
        big_buffers(a)

        async def send() -> None:
            await a.send_all(data)
            await a.send_eof()

        nursery.start_soon(send)
        got = bytearray()
        while view := await b.receive_view(70_000):
            assert len(view) <= min(cap, 70_000)
            got += view.to_bytes()
            check_laws(view)
            del view
        assert got == data
    assert pool.statistics().peak_nbytes <= cap


async def test_a_drain_returns_what_it_has_rather_than_wait_for_more() -> None:
    """What is at hand and fits is returned at once, in several blocks."""
    pool = CappedPool(16 * PAGE)
    held = [pool.reserve(PAGE) for _ in range(13)]
    a, b = await socketpair(pool)
    async with closing(a, b):
        big_buffers(a)
        put_now(a, noise(100_000))
        with trio.fail_after(1):
            view = await b.receive_view()
        assert 2 * PAGE <= len(view) <= (16 - len(held)) * PAGE
        assert view == noise(100_000)[: len(view)]


async def test_a_small_receive_counts() -> None:
    """Nothing is received beside the budget: what is in hand is lent."""
    pool = CappedPool(10 * PAGE)
    a, b = await socketpair(pool)
    async with closing(a, b):
        put_now(a, b"abc")
        view = await b.receive_view()
        assert view == b"abc"
        assert pool.statistics().lent_nbytes == PAGE


@pytest.mark.parametrize("cap", [1, PAGE, 3 * PAGE])
async def test_a_relay_makes_progress_with_hardly_any_memory(cap: int) -> None:
    """Both ways at once, through two shares of one small pool."""
    pool = CappedPool(cap)
    nbytes = 2000 if cap == 1 else 300_000
    client, near = await socketpair()
    far, server = await socketpair()
    near = SocketStream(near.socket, memory=pool.share(cap))
    far = SocketStream(far.socket, memory=pool.share(cap))
    async with closing(client, near, far, server):
        for stream in (client, near, far, server):
            small_buffers(stream)
        arrived: dict[str, bytes] = {}

        async def send(stream: SocketStream) -> None:
            await stream.send_all(noise(nbytes))
            await stream.send_eof()

        async def receive(name: str, stream: SocketStream) -> None:
            arrived[name] = b"".join([view.to_bytes() async for view in stream.views()])

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(relay, near, far)
                for name, stream in (("client", client), ("server", server)):
                    nursery.start_soon(send, stream)
                    nursery.start_soon(receive, name, stream)
        assert arrived == {"client": noise(nbytes), "server": noise(nbytes)}
    assert pool.statistics().peak_nbytes <= cap


async def test_shares_that_add_up_keep_a_stuck_direction_from_stopping_the_other() -> None:
    """One way is stuck and holds its share; the other still relays."""
    pool = CappedPool(2 * PAGE)
    client, near = await socketpair()
    far, server = await socketpair()
    near = SocketStream(near.socket, memory=pool.share(PAGE))
    far = SocketStream(far.socket, memory=pool.share(PAGE))
    async with closing(client, near, far, server), trio.open_nursery() as nursery:
        for stream in (client, near, far, server):
            small_buffers(stream)
        nursery.start_soon(relay, near, far)
        nursery.start_soon(client.send_all, bytes(1_000_000))  # which the server never reads
        await trio.sleep(0.05)
        nursery.start_soon(server.send_all, noise(50_000))
        with trio.fail_after(PATIENCE):
            assert await receive_exactly(client, 50_000) == noise(50_000)
        nursery.cancel_scope.cancel()


async def test_each_connection_of_a_server_can_have_a_share() -> None:
    """`memory=partial(pool.share, n)`: a function is called for each connection."""
    pool = CappedPool(10 * PAGE)
    seen: list[Memory] = []

    async def handler(stream: SocketStream) -> None:
        seen.append(stream.memory)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        serve = partial(serve_tcp, host="127.0.0.1", memory=partial(pool.share, PAGE))
        [listener] = await nursery.start(serve, handler, 0)
        for _ in range(2):
            port = listener.socket.getsockname()[1]
            async with await open_tcp_stream("127.0.0.1", port) as stream:
                assert await stream.receive_view() == b""
        nursery.cancel_scope.cancel()
    first, second = seen
    assert first is not second
    assert first.max_nbytes == second.max_nbytes == PAGE


async def test_a_listeners_memory_is_checked() -> None:
    """What is neither a memory nor makes one is a TypeError: at once, or before a connection."""
    with pytest.raises(TypeError, match="Memory"):
        await open_tcp_listeners(0, host="127.0.0.1", memory=5)
    [listener] = await open_tcp_listeners(0, host="127.0.0.1", memory=lambda: 5)
    async with listener:
        with pytest.raises(TypeError, match="Memory"):
            await listener.accept()


async def test_fifty_fast_senders_and_slow_handlers_stay_under_the_cap() -> None:
    """All arrives intact, never more than the cap is lent, and the senders are slowed down."""
    senders, nbytes, cap = 50, 400_000, 50 * PAGE
    pool = CappedPool(cap)
    digests: dict[bytes, bytes] = {}
    accepted = 0
    open_gate = trio.Event()

    async def handler(stream: SocketStream) -> None:
        digest = hashlib.sha256()
        name = b""
        async with stream:
            async for view in stream.views():
                name = name or view[:1].to_bytes()
                digest.update(view.to_bytes())
                await open_gate.wait()
                del view  # who keeps one while it waits for more may wait for itself
        digests[name] = digest.digest()

    async with trio.open_nursery() as nursery:
        serve = partial(serve_tcp, host="127.0.0.1", memory=partial(pool.share, 4 * PAGE))
        [listener] = await nursery.start(serve, handler, 0)
        listener.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 16_384)
        port = listener.socket.getsockname()[1]

        async def send(number: int) -> None:
            nonlocal accepted
            data = bytes((number,)) + noise(nbytes)
            async with await open_tcp_stream("127.0.0.1", port) as stream:
                stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 16_384)
                for start in range(0, len(data), 5000):
                    await stream.send_all(data[start : start + 5000])
                    accepted += 5000

        async with trio.open_nursery() as blasting:
            for number in range(senders):
                blasting.start_soon(send, number)
            await trio.sleep(0.5)
            throttled = accepted
            assert throttled < senders * nbytes / 2, "nobody was slowed down"
            assert pool.statistics().lent_nbytes <= cap
            open_gate.set()
        with trio.fail_after(PATIENCE):
            while len(digests) < senders:  # noqa: ASYNC110
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    for number in range(senders):
        expected = hashlib.sha256(bytes((number,)) + noise(nbytes)).digest()
        assert digests[bytes((number,))] == expected
    assert pool.statistics().peak_nbytes <= cap
    assert pool.statistics().lent_nbytes == 0
    check_laws(pool)


# The example


def test_the_example_shows_backpressure() -> None:
    """A small form of it: with a cap less is lent, less is accepted, and all is intact."""
    example = Path(__file__).parent.parent / "examples" / "overload.py"
    environment = {key: value for key, value in os.environ.items() if "COV" not in key}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example), "10", "300000", "3000000"],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    without, capped = done.stdout.splitlines()[-2:]
    assert without.startswith("no cap")
    assert capped.startswith("capped")
    assert without.endswith("intact: 10 of 10")
    assert capped.endswith("intact: 10 of 10")


async def test_who_looks_while_something_is_granted_takes_nothing_back() -> None:
    """`reserve_wait` gives what it was granted before its checkpoint, whoever sweeps there."""
    for _ in range(20):
        pool = CappedPool(65_536)
        pool.reserve(4096)
        got = []

        async def wait() -> None:
            got.append(await pool.reserve_wait(4096))  # noqa: B023

        async def look() -> None:
            pool.statistics()  # noqa: B023

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(look)
        assert got[0].remaining_capacity == 4096
        assert pool.statistics().lent_nbytes == 4096
