"""Claims about `SharedPool` and `share`: what other processes see, and for how long."""

from __future__ import annotations

import contextlib
import copy
import errno
import fcntl
import gc
import hashlib
import mmap
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threads import play_in_threads

from trio_bytesbuf import BadMemory, BytesView, HandleExpired, Released
from trio_bytesbuf.mem import SharedBlock, SharedHandle, SharedPool, share
from trio_bytesbuf.mem._shared import BLOCK_SIZES, MAX_BLOCKS, check_shared_pool
from trio_bytesbuf.mem._shared_handle import (
    _TICKETS,
    TICKETS_LOOKED_AT_LATEST,
    _arrived,
    look_at_tickets,
)
from trio_bytesbuf.mem._shared_segment import (
    _FORKS,
    F_ADD_SEALS,
    HEADER,
    HEADER_NBYTES,
    MAGIC,
    NAME,
    SIZE_SEALS,
    Segment,
)
from trio_bytesbuf.testing import FailureAttempt, SystemCalls, fail_at_each_call

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="SharedPool needs Linux")

BLOCK, LARGER, LARGE, LARGEST = BLOCK_SIZES
SPAWN = multiprocessing.get_context("spawn")
PATIENCE = 20.0


# What peers do. Each function runs in another process, on what that process keeps.


def opens(kept: dict, handle: SharedHandle) -> tuple[str, int]:
    kept["view"] = handle.open()
    return checksum(kept["view"]), len(kept["view"].pieces)


def receives(kept: dict, handle: SharedHandle) -> None:
    kept["handle"] = handle


def opens_what_it_received(kept: dict) -> str:
    kept["view"] = kept.pop("handle").open()
    return checksum(kept["view"])


def looks_again(kept: dict) -> str:
    return checksum(kept["view"])


def keeps_a_slice(kept: dict) -> None:
    kept["view"] = kept["view"].pieces[0][5:6]


def lets_go(kept: dict) -> None:
    kept.clear()
    look_at_tickets()


def releases(kept: dict) -> None:
    kept.pop("handle").release()


def hands_on(kept: dict) -> bytes:
    return pickle.dumps(share(kept["view"]))


def shares(kept: dict, value: int, nbytes: int) -> bytes:
    kept["pool"] = SharedPool()
    return pickle.dumps(share(filled(kept["pool"], value, nbytes)))


def names_its_mappings(kept: dict) -> set[str]:
    return mappings()


def counts_descriptors(kept: dict) -> int:
    return descriptors()


def opens_and_lets_go(kept: dict, handles: list[SharedHandle]) -> list[str]:
    return [checksum(handle.open()) for handle in handles]


def keeps_at_random(kept: dict, handle: SharedHandle, value: int) -> bool:
    """Keep up to five views; check every one against what it must show."""
    views = kept.setdefault("views", [])
    views.append((handle.open(), value))
    if len(views) > 5:
        views.pop(random.randrange(5))
    return all(view.to_bytes().count(value) == len(view) for view, value in views)


def tries_to_write(kept: dict) -> list[str]:
    view = kept["view"]
    segment = view.first_piece.obj
    errors = [str(view.first_piece.readonly)]
    writable = os.open(f"/proc/self/fd/{segment.fd}", os.O_RDWR)
    for attempt in (
        lambda: mmap.mmap(writable, len(segment), mmap.MAP_SHARED),
        lambda: os.pwrite(writable, b"!", HEADER_NBYTES),
        lambda: os.ftruncate(writable, 0),
        lambda: segment.__setitem__(HEADER_NBYTES, 33),
    ):
        try:
            attempt()
        except (PermissionError, TypeError) as refusal:
            errors.append(type(refusal).__name__)
    os.close(writable)
    return errors


def forks_and_lets_go(kept: dict) -> int:
    """Leave what it has to a child, which waits for its death."""
    child = os.fork()
    if not child:
        os.closerange(3, 1024)  # as daemons do
        signal.pause()
    kept.clear()
    return child


def serve(connection: Connection) -> None:
    """Do what is sent until the other end is closed."""
    kept: dict = {}
    with contextlib.suppress(EOFError):
        while True:
            do, args = connection.recv()
            try:
                answer = do(kept, *args)
            except Exception as exc:  # noqa: BLE001  # it is the answer
                answer = exc.with_traceback(None)
            del do, args
            connection.send(answer)


class Peer:
    """Another process."""

    def __init__(self) -> None:
        self.connection, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def __call__(self, do: Callable, *args: object):
        self.connection.send((do, args))
        del args
        assert self.connection.poll(PATIENCE), "the peer does not answer"
        answer = self.connection.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join(PATIENCE)

    def close(self) -> None:
        self.connection.close()
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None


@pytest.fixture(scope="module")
def other_process() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture(autouse=True)
def nothing_in_transit() -> Iterator[None]:
    """Let no test see what the one before it has sent to nobody."""
    gc.collect()
    yield
    _TICKETS.forget_all()


@pytest.fixture
def peer(other_process: Peer) -> Iterator[Peer]:
    """One process for the tests that do not kill it."""
    yield other_process
    other_process(lets_go)


@pytest.fixture
def mortal() -> Iterator[Peer]:
    """A process of the test's own."""
    peer = Peer()
    peer(lets_go)  # it takes a while to start
    yield peer
    peer.close()


# Helpers


def filled(pool: SharedPool, value: int = 0, nbytes: int = BLOCK) -> BytesView:
    buf = pool.reserve(nbytes)
    buf.put_repeated(value, nbytes)
    return buf.consume_all()


def checksum(view: BytesView) -> str:
    return hashlib.sha256(view.to_bytes()).hexdigest()


LEFT: set[str] = set()
"""Mappings that other files have left: what is frozen with a test's frames stays (conftest.py)."""


@pytest.fixture(autouse=True, scope="module")
def others_left() -> None:
    """Know what was there before."""
    LEFT.update(all_mappings())


def all_mappings() -> list[str]:
    """Return device, inode and name of each mapping of a block, as often as it is mapped."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [" ".join(line.split()[3:]) for line in lines if NAME in line]


def mappings() -> set[str]:
    """Return device, inode and name of each of our mappings in this process."""
    return {*all_mappings()} - LEFT


def numbers_of_mappings() -> int:
    """Count the mappings of blocks, those of the same block too."""
    return sum(mapping not in LEFT for mapping in all_mappings())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def held(pool: SharedPool) -> tuple[int, int]:
    """Return how many bytes are lent and idle."""
    check_shared_pool(pool)
    statistics = pool.statistics()
    return statistics.lent_nbytes, statistics.idle_nbytes


def block_of(view: BytesView) -> int:
    return id(view.first_piece.obj)


# What arrives


def test_a_peer_sees_the_same_bytes_in_the_same_memory(peer: Peer) -> None:
    """The bytes are equal, and the peer has mapped the very inode that the sender has mapped."""
    before = mappings()
    pool = SharedPool()
    view = BytesView.copied_from_slice(random.randbytes(3 * BLOCK), pool)
    assert peer(opens, share(view)) == (checksum(view), 1)
    ours = mappings() - before
    assert len(ours) == 1
    assert ours <= peer(names_its_mappings)


def test_a_peer_has_no_copy(peer: Peer) -> None:
    """What the sender's process (against all rules) writes into the block, the peer sees."""
    pool = SharedPool()
    view = filled(pool)
    before, _ = peer(opens, share(view))
    view.first_piece.obj[HEADER_NBYTES + 7] = 7
    assert peer(looks_again) == checksum(view) != before


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 5 * BLOCK), st.integers(0, 5 * BLOCK)),
        max_size=6,
    )
)
def test_any_parts_in_any_order_arrive_as_they_are(
    other_process: Peer, cuts: list[tuple[int, int, int]]
) -> None:
    """Sub-slices of several blocks, joined, arrive equal and in as many pieces."""
    pool = SharedPool(max_idle_nbytes=2 * BLOCK)
    sources = [
        BytesView.copied_from_slice(random.randbytes(nbytes), pool)
        for nbytes in (BLOCK, 1000, 5 * BLOCK)
    ]
    view = BytesView.from_views(sources[index][start:stop] for index, start, stop in cuts)
    assert other_process(opens, share(view)) == (checksum(view), len(view.pieces))
    assert share(view).nbytes == len(view)


def test_a_view_of_several_blocks_arrives_whole(peer: Peer) -> None:
    """A large view may lie in several blocks."""
    pool = SharedPool()
    view = BytesView.copied_from_slice(random.randbytes(LARGEST + LARGE + 1), pool)
    assert len(view.pieces) == 2
    assert peer(opens, share(view)) == (checksum(view), 2)


def test_a_handle_is_small() -> None:
    """It grows with the number of blocks, not with that of bytes."""
    view = filled(SharedPool(), nbytes=20 * LARGE)
    assert len(pickle.dumps(share(view))) < 300
    assert repr(share(view)) == f"<SharedHandle of {20 * LARGE} bytes>"


def test_in_the_same_process_nothing_is_mapped_again() -> None:
    """`open` shows the sender's own memory, also when the handle was pickled in between."""
    pool = SharedPool()
    view = filled(pool, 7)
    handle = share(view)
    assert block_of(handle.open()) == block_of(view)
    assert block_of(pickle.loads(pickle.dumps(handle)).open()) == block_of(view)
    assert copy.copy(handle) is handle is copy.deepcopy(handle)
    assert len(mappings()) == 1
    del view, handle
    assert held(pool) == (0, BLOCK)


def test_a_pickle_that_is_read_twice_in_the_same_process_is_mapped_the_second_time() -> None:
    """Nothing but the true bytes can come of it, or an error when the block has gone."""
    pool = SharedPool()
    pickled = pickle.dumps(share(filled(pool, 7)))
    first, second = pickle.loads(pickled).open(), pickle.loads(pickled).open()
    assert first == second == b"\7" * BLOCK
    assert block_of(first) != block_of(second)
    del first
    assert held(pool) == (BLOCK, 0)
    del second
    assert held(pool) == (0, BLOCK)
    with pytest.raises(HandleExpired):
        pickle.loads(pickled).open()


def test_pieces_say_that_they_are_shared(peer: Peer) -> None:
    """`metas` tell an endpoint, on both sides, and a receive into the pool has them too."""
    pool = SharedPool()
    view = filled(pool)
    meta = SharedBlock(owner_pid=os.getpid(), block_nbytes=BLOCK)
    assert view.metas == (meta,)
    assert pool._lease(100)[1].meta == meta
    assert pool.is_worth_keeping(1, BLOCK)
    received = pickle.loads(peer(shares, 3, 100)).open()
    assert received.metas == (SharedBlock(peer.process.pid, BLOCK),)
    assert isinstance(hash(received), int)


def test_nobody_but_the_owner_can_write(peer: Peer) -> None:
    """The kernel refuses a peer a writable mapping, a write and another size."""
    peer(opens, share(filled(SharedPool(), 7)))
    refused = ["True", "PermissionError", "PermissionError", "PermissionError", "TypeError"]
    assert peer(tries_to_write) == refused


# When a block comes home


def test_a_block_comes_home_when_both_sides_have_let_go(peer: Peer) -> None:
    """Not when the sender has, not while a slice is left at the peer; then it is used again."""
    pool = SharedPool()
    view = filled(pool, 1)
    block = block_of(view)
    peer(opens, share(view))
    assert held(pool) == (BLOCK, 0)
    del view
    assert held(pool) == (BLOCK, 0)
    peer(keeps_a_slice)
    other = filled(pool, 2)
    assert block_of(other) != block
    del other
    assert held(pool) == (BLOCK, BLOCK)
    peer(lets_go)
    assert held(pool) == (0, 2 * BLOCK)
    assert block in map(block_of, [filled(pool, 3), filled(pool, 4)])
    assert pool.statistics().allocated == 2


def test_what_the_peer_sees_stays_while_the_sender_goes_on(peer: Peer) -> None:
    """However much is leased and filled meanwhile."""
    pool = SharedPool(max_idle_nbytes=2 * BLOCK)
    view = filled(pool, 1)
    seen, _ = peer(opens, share(view))
    del view
    for value in range(50):
        filled(pool, value)
    assert peer(looks_again) == seen


def test_a_pickle_keeps_the_memory_that_nobody_else_keeps(peer: Peer) -> None:
    """The sender drops view and handle right after sending; the peer opens later."""
    pool = SharedPool()
    view = filled(pool, 9)
    sent = checksum(view)
    peer(receives, share(view))
    del view
    assert held(pool) == (BLOCK, 0)
    for value in range(5):
        filled(pool, value)
    assert peer(opens_what_it_received) == sent
    peer(lets_go)
    assert held(pool) == (0, 2 * BLOCK)


def test_a_block_comes_home_without_being_asked_about(peer: Peer) -> None:
    """A lease that finds nothing free looks whether something was claimed and let go."""
    pool = SharedPool(max_idle_nbytes=BLOCK)
    for value in range(3):
        peer(opens, share(filled(pool, value)))
        peer(lets_go)
    filled(pool)
    assert pool.statistics().allocated == 1


def test_a_handle_that_was_not_opened_can_be_released(peer: Peer) -> None:
    """Then the sender need not wait for the deadline."""
    pool = SharedPool()
    peer(receives, share(filled(pool)))
    assert held(pool) == (BLOCK, 0)
    peer(releases)
    assert held(pool) == (0, BLOCK)


def test_a_released_handle_is_out_of_use() -> None:
    """It keeps nothing; views that were opened stay, and a released view leaves it whole."""
    pool = SharedPool()
    handle = share(filled(pool, 5))
    with handle.open() as view:
        pass
    assert repr(view) == "<BytesView, released>"
    view = handle.open()
    handle.release()
    handle.release()
    assert view == b"\5" * BLOCK
    assert (handle.nbytes, repr(handle)) == (BLOCK, f"<SharedHandle of {BLOCK} bytes, released>")
    for use in (handle.open, lambda: pickle.dumps(handle)):
        with pytest.raises(Released, match="SharedHandle"):
            use()
    del view
    assert held(pool) == (0, BLOCK)


def test_a_handle_that_was_never_pickled_tells_nobody() -> None:
    """Then the kernel is not asked either."""
    pool = SharedPool()
    view = filled(pool)
    handle = share(view)
    assert not view.first_piece.obj.is_known_elsewhere
    pickle.dumps(handle)
    assert view.first_piece.obj.is_known_elsewhere


# What dies


def test_a_receiver_that_is_killed_gives_the_block_back(mortal: Peer) -> None:
    """The kernel drops its lock; no deadline is waited for."""
    pool = SharedPool()
    mortal(opens, share(filled(pool)))
    assert held(pool) == (BLOCK, 0)
    mortal.kill()
    assert held(pool) == (0, BLOCK)


def test_a_receiver_that_is_killed_before_it_opened_costs_the_deadline(mortal: Peer) -> None:
    """Until then the memory waits, as nobody can know."""
    pool = SharedPool()
    mortal(receives, share(filled(pool), claim_seconds=0.3))
    mortal.kill()
    assert held(pool) == (BLOCK, 0)
    time.sleep(0.31)
    assert held(pool) == (0, BLOCK)


def test_a_view_outlives_the_process_that_made_it(mortal: Peer, peer: Peer) -> None:
    """It stays whole when the sender is killed, and can be handed on even then."""
    pickled = mortal(shares, 7, LARGE)
    late = mortal(shares, 8, BLOCK)
    view = pickle.loads(pickled).open()
    mortal.kill()
    gc.collect()
    assert view == b"\7" * LARGE
    assert peer(opens, share(view))[0] == checksum(view)
    del view
    assert peer(looks_again) == hashlib.sha256(b"\7" * LARGE).hexdigest()
    with pytest.raises(HandleExpired, match="has ended"):
        pickle.loads(late).open()


def test_a_view_that_is_handed_on_keeps_the_first_owners_block(mortal: Peer, peer: Peer) -> None:
    """The owner has its block back when the last of a chain has let go."""
    pool = SharedPool()
    view = filled(pool, 7)
    sent = checksum(view)
    mortal(opens, share(view))
    handed_on = pickle.loads(mortal(hands_on))
    peer(receives, handed_on)  # by way of us: it is opened here, and shared again
    del view, handed_on
    mortal(lets_go)
    mortal.kill()
    assert peer(opens_what_it_received) == sent
    look_at_tickets()
    assert held(pool) == (BLOCK, 0)
    peer(lets_go)
    assert held(pool) == (0, BLOCK)


def test_what_comes_too_late_is_told_so(peer: Peer) -> None:
    """After the deadline the block is used again, and the handle shows no other bytes."""
    pool = SharedPool()
    peer(receives, share(filled(pool, 1), claim_seconds=0.01))
    time.sleep(0.02)
    assert held(pool) == (0, BLOCK)
    view = filled(pool, 2)
    assert pool.statistics().allocated == 1, "the block was not used again"
    with pytest.raises(HandleExpired, match="leased again"):
        peer(opens_what_it_received)
    assert peer(names_its_mappings) == set()
    assert view == b"\2" * BLOCK


def test_who_comes_while_the_owner_takes_back_is_told_so() -> None:
    """The exclusive lock means the same as another generation."""
    pickled = pickle.dumps(share(filled(SharedPool(), 1)))
    pool = SharedPool()
    view = filled(pool, 1)
    handle = share(view)
    pickled = pickle.dumps(handle)
    fcntl.flock(view.first_piece.obj.fd, fcntl.LOCK_EX)
    look_elsewhere = pickle.loads(pickled)
    assert look_elsewhere.open() == view  # the ticket is ours, so there is nothing to lock
    with pytest.raises(HandleExpired, match="taken back"):
        pickle.loads(pickled).open()
    fcntl.flock(view.first_piece.obj.fd, fcntl.LOCK_UN)


def test_one_that_comes_too_late_leaves_no_mapping_of_the_others(peer: Peer) -> None:
    """Of two blocks, one of which is gone, neither is mapped or locked afterwards."""
    pool = SharedPool()
    stays, goes = filled(pool, 1), filled(pool, 2)
    peer(receives, share(stays + goes, claim_seconds=0.01))
    del goes
    time.sleep(0.02)
    look_at_tickets()
    filled(pool, 3)
    with pytest.raises(HandleExpired) as caught:
        peer(opens_what_it_received)
    assert peer(names_its_mappings) == set()
    assert caught.value.why
    del stays
    assert held(pool) == (0, 2 * BLOCK)


# Fork


def fork_with_everything_in_use() -> None:
    """Go on using pool, views and builders on both sides. Run in a process of its own."""
    pool = SharedPool()
    old = [filled(pool, value) for value in (1, 2, 3)]
    del old[1]  # an idle block
    buf = pool.reserve(BLOCK)
    buf.put_repeated(4, 100)
    head = buf.consume(50)
    lent = {block_of(view) for view in old}
    handle = share(old[0])
    in_transit = pickle.dumps(handle)
    alone, together = os.pipe(), os.pipe()
    child = os.fork()
    mine = 20 if child else 30
    status = 1
    try:
        assert held(pool) == (0, 0), "the pool has forgotten all its blocks"
        new = [filled(pool, mine + value) for value in range(8)]
        assert not lent & {block_of(view) for view in new}
        buf.put_repeated(mine, 1000)
        ready, other = (alone, together) if child else (together, alone)
        os.write(ready[1], b"!")
        os.read(other[0], 1)  # both have written
        assert old[0] == b"\1" * BLOCK
        assert old[1] == b"\3" * BLOCK
        assert head + buf.consume_all() == b"\4" * 100 + bytes((mine,)) * 1000
        assert [view.to_bytes() for view in new] == [
            bytes((mine + value,)) * BLOCK for value in range(8)
        ]
        assert len(_TICKETS._out) == bool(child), "tickets belong to who made them"
        if child:
            assert pickle.loads(in_transit).open() == old[0]
            assert block_of(pickle.loads(pickle.dumps(handle)).open()) == block_of(old[0])
        else:
            with pytest.raises(ValueError, match="before the fork"):
                share(old[0])
            assert handle.open() == b"\1" * BLOCK
            assert pickle.loads(pickle.dumps(share(new[0]))).open() == new[0]
        del new
        assert held(pool) == (0, 8 * BLOCK)
        status = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        if not child:
            os._exit(status)
    if os.waitpid(child, 0)[1]:
        sys.exit("the child failed")


def test_what_is_lent_while_a_fork_is_going_on_is_not_leased_again() -> None:
    """Other threads run between the hooks; what they lease then, the child may see too."""
    before = Segment.make(BLOCK)
    assert before.is_home()
    _FORKS.begin()
    meanwhile = Segment.make(BLOCK)
    assert not before.is_home()
    assert not meanwhile.is_home()
    _FORKS.end_in_parent()
    assert not before.is_home()
    assert not meanwhile.is_home()
    assert Segment.make(BLOCK).is_home()


def fork_while_a_thread_leases() -> None:
    """Fork again and again; no child may see its views change. Run in a process of its own."""
    pool = SharedPool(max_idle_nbytes=4 * BLOCK)
    views: list[BytesView] = [filled(pool, 1)]
    over = threading.Event()

    def lease() -> None:
        value = 0
        while not over.is_set():
            value = value % 250 + 1
            views[0] = filled(pool, value)

    thread = threading.Thread(target=lease)
    sys.setswitchinterval(1e-5)
    thread.start()
    children = []
    for _ in range(30):
        child = os.fork()
        if not child:
            view = views[0]
            seen = view.to_bytes()
            time.sleep(0.02)
            os._exit(int(view != seen or seen.count(seen[0]) != BLOCK))
        children.append(child)
    failed = [child for child in children if os.waitpid(child, 0)[1]]
    over.set()
    thread.join()
    if failed:
        sys.exit(f"{len(failed)} children saw their bytes change")


def fork_after_descriptors_were_closed() -> None:
    """A daemon closes all descriptors; blocks are not believed free, and children have copies."""
    pool = SharedPool()
    buf = pool.reserve(BLOCK)
    buf.put_repeated(1, 10)
    known = filled(pool, 2)
    share(known).__reduce__()
    os.closerange(3, 256)
    look_at_tickets()
    child = os.fork()
    buf.put_repeated(2 if child else 3, 10)
    time.sleep(0.05)
    good = buf.consume_all() == b"\1" * 10 + (b"\2" if child else b"\3") * 10
    if not child:
        os._exit(not good)
    assert good
    if os.waitpid(child, 0)[1]:
        sys.exit("the child failed")


def looks_until_it_is_killed(connection: Connection) -> None:
    """Keep up to five views; leave with an error if one shows what it must not."""
    kept: dict = {}
    with contextlib.suppress(EOFError):
        while True:
            with contextlib.suppress(HandleExpired):
                if not keeps_at_random(kept, *connection.recv()):
                    os._exit(1)
    os._exit(0)


def kill_whoever_looks() -> None:
    """Four children look at what they are handed; one in sixty is killed wherever it is."""
    pool = SharedPool()
    dice = random.Random(1)
    before = descriptors()
    children: list[tuple[int, Connection]] = []
    killed: list[int] = []

    def end(child: tuple[int, Connection], by: signal.Signals) -> int:
        os.kill(child[0], by)
        child[1].close()
        children.remove(child)
        return os.waitpid(child[0], 0)[1]

    for turn in range(4_000):
        while len(children) < 4:
            ours, theirs = multiprocessing.Pipe()
            if not (number := os.fork()):
                for _, inherited in (*children, (0, ours)):
                    inherited.close()
                looks_until_it_is_killed(theirs)
            theirs.close()
            children.append((number, ours))
        child = dice.choice(children)
        view = filled(pool, turn % 256, dice.choice((10, BLOCK, LARGER, BLOCK * 9)))
        with contextlib.suppress(BrokenPipeError):  # it has left: its code is looked at below
            child[1].send((share(view, claim_seconds=0.2), turn % 256))
        del view
        if not turn % 15 and dice.random() < 0.25:
            killed.append(end(child, signal.SIGKILL))
    killed += [end(child, signal.SIGKILL) for child in [*children]]
    assert set(killed) == {signal.SIGKILL}, "one saw what it must not"
    time.sleep(0.3)  # until nothing can be claimed any more
    check_shared_pool(pool)
    assert pool.statistics().lent_nbytes == 0
    pool.trim()
    assert descriptors() == before


def run_without_memfd() -> None:
    """What a system without the calls gets. Run in a process of its own."""
    del os.memfd_create
    with pytest.raises(NotImplementedError, match="needs Linux"):
        SharedPool()
    with pytest.raises(NotImplementedError, match="needs Linux"):
        share(BytesView())


@pytest.mark.parametrize(
    "accident",
    [
        pytest.param(fork_with_everything_in_use, id="fork"),
        pytest.param(fork_while_a_thread_leases, id="fork beside a thread"),
        pytest.param(fork_after_descriptors_were_closed, id="closed descriptors"),
        pytest.param(kill_whoever_looks, id="kills"),
        pytest.param(run_without_memfd, id="another system"),
    ],
)
def test_an_accident_in_a_process_of_its_own_harms_nothing(accident: Callable[[], None]) -> None:
    """Both sides of a fork see their own bytes only, whatever else goes on."""
    environment = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    # Python warns of forks beside threads, which is what is tested.
    silent = ["-W", "error", "-W", "ignore::DeprecationWarning"]
    result = subprocess.run(
        [sys.executable, *silent, "-c", f"import test_shared; test_shared.{accident.__name__}()"],
        cwd=Path(__file__).parent,
        env=environment,
        timeout=100,
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_a_child_that_inherits_a_received_view_holds_the_block(mortal: Peer) -> None:
    """Also when it has closed every descriptor: the mapping is what holds the lock."""
    pool = SharedPool()
    mortal(opens, share(filled(pool)))
    grandchild = mortal(forks_and_lets_go)
    try:
        assert held(pool) == (BLOCK, 0)
    finally:
        os.kill(grandchild, signal.SIGKILL)
    end = time.monotonic() + PATIENCE
    while held(pool) != (0, BLOCK) and time.monotonic() < end:
        time.sleep(0.01)
    assert held(pool) == (0, BLOCK)


# Forgeries


def parcel(view: BytesView) -> tuple:
    """Return what a pickle of a handle of `view` says; its ticket is ended at once."""
    _, said = share(view).__reduce__()
    _TICKETS.take(said[2])
    return said


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, -1),
        (0, "1"),
        (0, True),
        (1, None),
        (2, "/etc/passwd"),
        (2, 5),
        (3, 7),
        (3, ((1, 2),)),
        (3, ((-1, NAME, BLOCK, 0),)),
        (3, ((1, "other", BLOCK, 0),)),
        (3, ((1, NAME, 1 << 32, 0),)),
        (3, ()),
        (4, ((0, 0),)),
        (4, ((1, 0, 1),)),
        (4, ((-1, 0, 1),)),
        (4, ((0, -1, 1),)),
        (4, ((0, 0, 0),)),
        (4, ((0, 0, BLOCK + 1),)),
        (4, ((0, BLOCK, 1),)),
        (5, 0),
        (5, "soon"),
        (5, float("nan")),
    ],
)
def test_a_pickle_that_makes_no_sense_is_refused(at: int, value: object) -> None:
    """A forged handle is a ValueError before anything is opened."""
    view = filled(SharedPool())
    said = list(parcel(view))
    said[at] = value
    with pytest.raises(ValueError, match="no pickled SharedHandle"):
        _arrived(*said)


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda block: (999_999, *block[1:]), id="no such descriptor"),
        pytest.param(lambda block: (0, *block[1:]), id="another file"),
        pytest.param(lambda block: (1 << 70, *block[1:]), id="no descriptor at all"),
        pytest.param(lambda block: (block[0], NAME + "0" * 32, *block[2:]), id="another name"),
        pytest.param(lambda block: (*block[:3], block[3] + 1), id="another generation"),
    ],
)
def test_a_handle_of_something_else_is_told_so(forge: Callable) -> None:
    """What is not there is `HandleExpired`, and nothing stays open or mapped."""
    view = filled(SharedPool())
    pid, ticket_fd, ticket, (block,), pieces, seconds = parcel(view)
    before = descriptors()
    handle = _arrived(pid, ticket_fd, ticket, (forge(block),), pieces, seconds)
    assert repr(handle) == f"<SharedHandle of {BLOCK} bytes, from process {pid}>"
    with pytest.raises(HandleExpired) as caught:
        handle.open()
    assert descriptors() == before
    assert numbers_of_mappings() == 1
    both = _arrived(pid, ticket_fd, ticket, (block, forge(block)), pieces, seconds)
    with pytest.raises(HandleExpired) as caught_later:
        both.open()
    assert descriptors() == before
    assert numbers_of_mappings() == 1
    assert caught.value.why == caught_later.value.why  # the tracebacks were alive until here


@pytest.mark.parametrize(
    ("nbytes", "seals", "header", "complaint"),
    [
        (HEADER_NBYTES + BLOCK, 0, (MAGIC, BLOCK, 0), "not sealed"),
        (BLOCK, SIZE_SEALS, (MAGIC, BLOCK, 0), "another size"),
        (HEADER_NBYTES + BLOCK, SIZE_SEALS, (b"whatever", BLOCK, 0), "not a block"),
        (HEADER_NBYTES + BLOCK, SIZE_SEALS, (MAGIC, 2 * BLOCK, 0), "not a block"),
    ],
)
def test_memory_that_is_not_a_block_is_not_taken(
    nbytes: int, seals: int, header: tuple, complaint: str
) -> None:
    """A peer that could shrink the memory could kill us; so what is offered is looked at."""
    fd = os.memfd_create(NAME + "forged", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, nbytes)
        os.pwrite(fd, HEADER.pack(*header), 0)
        if seals:
            fcntl.fcntl(fd, F_ADD_SEALS, seals)
        before = descriptors()
        block = (fd, NAME + "forged", BLOCK, 0)
        handle = _arrived(os.getpid(), 0, NAME, (block,), ((0, 0, 1),), 1.0)
        with pytest.raises(BadMemory, match=complaint):
            handle.open()
        assert (mappings(), descriptors()) == (set(), before)
    finally:
        os.close(fd)


def test_a_mark_is_written_to_nothing_but_its_ticket(tmp_path: Path) -> None:
    """The number of a ticket's descriptor may belong to another file by now."""
    file = tmp_path / "precious"
    file.write_bytes(b"precious")
    view = filled(SharedPool())
    _, _, ticket, blocks, pieces, seconds = parcel(view)
    with file.open("r+b") as precious:
        handle = _arrived(os.getpid(), precious.fileno(), ticket, blocks, pieces, seconds)
        assert handle.open() == view
    assert file.read_bytes() == b"precious"


# What can be shared


def test_what_is_not_in_shared_memory_is_named() -> None:
    """The error says which piece, and what to do about it."""
    pool = SharedPool()
    with pytest.raises(ValueError, match=r"piece 1 .*copied_from_slice"):
        share(filled(pool) + b"elsewhere")
    view = filled(pool)
    with pytest.raises(ValueError, match="piece 0"):
        share(BytesView(memoryview(view.first_piece.obj)))
    assert share(BytesView()).open() == b""
    assert pickle.loads(pickle.dumps(share(BytesView()))).open() == b""


@pytest.mark.parametrize(
    ("claim_seconds", "error"),
    [(0, ValueError), (-1.0, ValueError), (float("inf"), ValueError), (float("nan"), ValueError),
     ("1", TypeError), (None, TypeError)],
)  # fmt: skip
def test_a_senseless_deadline_is_refused(claim_seconds: object, error: type) -> None:
    """It must be above 0 and come some time."""
    with pytest.raises(error):
        share(filled(SharedPool()), claim_seconds=claim_seconds)


def test_only_views_are_shared() -> None:
    """Anything else is a TypeError."""
    with pytest.raises(TypeError, match="not bytes"):
        share(b"bytes")


def test_a_view_brought_back_from_a_dead_cycle_is_whole() -> None:
    """Its descriptor may be gone, so it is not shared any more; its bytes are what they were."""
    pool = SharedPool(max_idle_nbytes=0)
    saved: list[BytesView] = []

    class Saves:
        def __init__(self, view: BytesView) -> None:
            self.view, self.cycle = view, self

        def __del__(self) -> None:
            saved.append(self.view)

    Saves(filled(pool, 7))
    gc.collect()
    for value in range(5):
        filled(pool, value)
    assert saved == [b"\7" * BLOCK]
    assert saved[0].first_piece.obj.fd == -1
    with pytest.raises(ValueError, match="piece 0"):
        share(saved[0])


# The pool


def test_descriptors_come_back() -> None:
    """Blocks, tickets, pools and failed hand-overs leave no descriptor and no mapping behind."""
    gc.collect()
    look_at_tickets()
    before = descriptors()
    pool = SharedPool()
    death = weakref.ref(pool)
    views = [filled(pool, nbytes=size) for size in BLOCK_SIZES for _ in range(20)]
    pickles = [pickle.dumps(share(view)) for view in views]
    assert [pickle.loads(pickled).open() for pickled in pickles] == views
    views.clear()
    assert pool.statistics().idle_nbytes == MAX_BLOCKS * (BLOCK + LARGER + LARGE) + 4 * LARGEST
    assert descriptors() - before <= 2 * MAX_BLOCKS * len(BLOCK_SIZES)
    assert pool.trim() > 0
    assert (descriptors(), mappings()) == (before, set())
    filled(pool)
    del pool
    assert death() is None
    assert (descriptors(), mappings()) == (before, set())


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.EACCES, errno.ENOENT])
async def test_a_block_that_cannot_be_opened_leaves_no_descriptor_and_no_lock(number: int) -> None:
    """At whichever call: the error is told, and the block comes home or is opened then."""

    @contextlib.asynccontextmanager
    async def a_segment():
        yield Segment.make(BLOCK)

    async def opening(segment: Segment) -> Segment:
        place = segment.fd, segment.name, segment.block_nbytes, segment.generation
        return Segment.open(os.getpid(), *place)

    async def check(segment: Segment, attempt: FailureAttempt) -> None:
        segment.is_known_elsewhere = True
        if attempt.error is not None:
            assert isinstance(attempt.error, (OSError, HandleExpired))
            assert segment.is_home()  # which a lock that was left would forbid
        other = attempt.result or await opening(segment)
        segment.is_known_elsewhere = True
        assert not segment.is_home()
        other.close()
        os.close(other.fd)
        other.fd = -1
        assert segment.is_home()

    fault = SystemCalls(number, of={"open", "readlink", "fstat"})
    table = await fail_at_each_call(a_segment, opening, fault, check=check)
    assert table.failed == 5


def test_200_handles_leak_nothing_on_either_side(peer: Peer) -> None:
    """Neither descriptors nor mappings, with one after the other or many at once."""
    ours, theirs = descriptors(), peer(counts_descriptors)
    pool = SharedPool()
    for _ in range(5):
        views = [filled(pool, value) for value in range(20)]
        sums = [checksum(view) for view in views]
        assert peer(opens_and_lets_go, [share(view) for view in views]) == sums
        for view in views:
            assert peer(opens, share(view))[0] == checksum(view)
        views.clear()
        del view
        peer(lets_go)
    pool.trim()
    assert (descriptors(), peer(counts_descriptors)) == (ours, theirs)
    assert peer(names_its_mappings) == set()


def test_tickets_do_not_pile_up(peer: Peer) -> None:
    """A program that only sends, and never leases, looks at its tickets all the same."""
    view = filled(SharedPool())
    look_at_tickets()
    before = descriptors()
    for _ in range(3 * TICKETS_LOOKED_AT_LATEST):
        peer(opens, share(view))
    assert descriptors() - before <= TICKETS_LOOKED_AT_LATEST


@pytest.mark.parametrize(
    ("nbytes", "capacity"),
    [
        (0, 0),
        (1, BLOCK),
        (BLOCK + 1, LARGER),
        (LARGEST, LARGEST),
        (LARGEST + 1, LARGEST + BLOCK),
        (4 * LARGEST, 4 * LARGEST),
        (4 * LARGEST + 1, 4 * LARGEST + 1),
    ],
)
def test_a_request_gets_the_smallest_blocks_that_hold_it(nbytes: int, capacity: int) -> None:
    """Up to what is kept, pooled blocks; more than that is one block of its size."""
    pool = SharedPool()
    buf = pool.reserve(nbytes)
    assert buf.remaining_capacity == capacity
    check_shared_pool(pool)


@pytest.mark.parametrize(("max_idle_nbytes", "kept"), [(0, 0), (BLOCK - 1, 0), (2 * BLOCK, 2)])
def test_idle_memory_is_bounded(max_idle_nbytes: int, kept: int) -> None:
    """Of each size no more than `max_idle_nbytes` are kept, nor more than some blocks."""
    pool = SharedPool(max_idle_nbytes=max_idle_nbytes)
    views = [filled(pool, value) for value in range(5)]
    assert views == [bytes((value,)) * BLOCK for value in range(5)]
    views.clear()
    assert held(pool) == (0, kept * BLOCK)
    assert repr(pool).startswith("<SharedPool at ")


@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), ("1", TypeError), (1.0, TypeError)])
def test_a_senseless_size_is_refused(value: object, error: type) -> None:
    """Negative counts are ValueErrors, and what is no integer is a TypeError."""
    with pytest.raises(error):
        SharedPool(max_idle_nbytes=value)
    with pytest.raises(error):
        SharedPool().reserve(value)


def test_a_pool_cannot_be_sent() -> None:
    """It owns memory; only views of it are handed over."""
    with pytest.raises(TypeError, match="owns memory"):
        pickle.dumps(SharedPool())


def test_a_block_whose_descriptor_was_taken_is_never_believed_free() -> None:
    """Somebody closes our descriptor, and its number is that of another file."""
    pool = SharedPool()
    view = filled(pool, 1)
    pickle.loads(pickle.dumps(share(view))).open()
    segment = view.first_piece.obj
    other = os.memfd_create("other", os.MFD_CLOEXEC)
    os.dup2(other, segment.fd)
    os.close(other)
    del view
    assert isinstance(segment, Segment)
    assert not segment.is_home()
    del segment
    assert pool.statistics().idle_nbytes == 0


# Everything at once


@pytest.mark.parametrize("peers", [2])
def test_no_peer_ever_sees_other_bytes(peers: int) -> None:
    """Peers that keep some of what they get check all of it each time; blocks are used again."""
    pool = SharedPool(max_idle_nbytes=8 * BLOCK)
    others = [Peer() for _ in range(peers)]
    dice = random.Random(1)
    try:
        for _ in range(300):
            value = dice.randrange(1, 256)
            view = filled(pool, value, dice.choice((100, BLOCK)))
            assert dice.choice(others)(keeps_at_random, share(view), value)
            del view
        check_shared_pool(pool)
        assert pool.statistics().allocated < 200, "nothing was used again"
        for other in others:
            other(lets_go)
        assert pool.statistics().lent_nbytes == 0
    finally:
        for other in others:
            other.close()


def test_threads_never_see_each_others_bytes(peer: Peer) -> None:
    """Threads that lease, pickle, open by mapping, keep and drop at once find what they put."""
    pool = SharedPool(max_idle_nbytes=8 * BLOCK)
    end = time.monotonic() + 1.0

    def play(value: int) -> None:
        kept: list[BytesView] = []
        while time.monotonic() < end:
            pickled = pickle.dumps(share(filled(pool, value)))
            kept += (pickle.loads(pickled).open(),)
            with contextlib.suppress(HandleExpired):
                kept += (pickle.loads(pickled).open(),)
            assert all(view.to_bytes().count(value) == BLOCK for view in kept)
            del kept[: max(0, len(kept) - 4)]

    play_in_threads(play, (1, 2, 3))
    check_shared_pool(pool)
    assert pool.statistics().lent_nbytes == 0
