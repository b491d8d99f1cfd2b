"""Memory for a receive: what is no memory is said of the provider, and closing ends every wait."""

from __future__ import annotations

import contextlib
import errno
import os

import pytest
import trio
import trio.testing
from files import a_file
from pairs import closing, noise, put_now, socketpair

from trio_bytesbuf import BytesBuf, CappedPool
from trio_bytesbuf._errors import BadMemory, BudgetExceeded
from trio_bytesbuf.io import DatagramSocket, FdStream
from trio_bytesbuf.io._lease import Leases
from trio_bytesbuf.mem import Memory, OpaqueMemory, PlainMemory

CAP_NBYTES = 65_536


@contextlib.asynccontextmanager
async def a_socket(memory: Memory):
    """A stream over a socket at which something has arrived, and ways to receive it."""
    ours, theirs = await socketpair(memory)
    async with closing(ours, theirs):
        put_now(theirs, noise(30_000))
        yield ours, [ours.receive_view], ours.fileno


@contextlib.asynccontextmanager
async def a_pipe(memory: Memory):
    """The end of a pipe at which something has arrived."""
    ours, theirs = os.pipe()
    os.write(theirs, noise(30_000))
    async with FdStream(ours, memory=memory) as stream:
        try:
            yield stream, [stream.receive_view], stream.fileno
        finally:
            os.close(theirs)


@contextlib.asynccontextmanager
async def a_datagram_socket(memory: Memory):
    """A socket at which a datagram has arrived."""
    ours, theirs = trio.socket.socketpair(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM)
    with theirs:
        async with DatagramSocket(ours, memory=memory) as socket:
            await theirs.send(noise(30_000))
            yield socket, [socket.receive], socket.socket.fileno


@contextlib.asynccontextmanager
async def an_open_file(memory: Memory):
    """A file, from which any number of tasks may read."""
    async with a_file(noise(30_000), memory) as (file, _):
        calls = [lambda at=at: file.read_at(at, 30_000) for at in range(5)]
        yield file, [file.receive_view, *calls], lambda: file._handle.raw.fileno()


PLACES = {
    "a socket": a_socket,
    "a pipe": a_pipe,
    "a datagram socket": a_datagram_socket,
    "a file": an_open_file,
}


@pytest.fixture(params=PLACES.values(), ids=PLACES.keys())
def place(request):
    """Each of those who lease."""
    return request.param


async def test_closing_ends_the_waits_for_memory(place):
    """All of them, at once, by trio's word; no memory was taken, and nobody stands in line."""
    pool = CappedPool(CAP_NBYTES)
    async with place(pool) as (end, calls, _):
        held = pool.reserve(CAP_NBYTES)
        told = 0

        async def receive(call) -> None:
            nonlocal told
            with pytest.raises(trio.ClosedResourceError):
                await call()
            told += 1

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                for call in calls:
                    nursery.start_soon(receive, call)
                await trio.testing.wait_all_tasks_blocked(0.01)
                assert pool.statistics().waiting == len(calls)
                await end.aclose()
        assert told == len(calls)
        assert pool.statistics().waiting == 0
        del held
        assert pool.statistics().lent_nbytes == 0


async def test_closing_in_the_step_in_which_memory_comes(place):
    """Granted and closed before the task runs: it is told, and what it was granted comes home."""
    pool = CappedPool(CAP_NBYTES)
    async with place(pool) as (end, calls, _):
        held = [pool.reserve(CAP_NBYTES)]

        async def receive(call) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await call()

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                for call in calls:
                    nursery.start_soon(receive, call)
                await trio.testing.wait_all_tasks_blocked(0.01)
                held.clear()
                nursery.start_soon(end.aclose)
        assert pool.statistics().lent_nbytes == 0


async def test_a_cancelled_wait_is_forgotten(place):
    """Its scope is not kept, nothing was received, and the next one gets what there is."""
    pool = CappedPool(CAP_NBYTES)
    async with place(pool) as (end, calls, _):
        held = pool.reserve(CAP_NBYTES)
        with trio.move_on_after(0.02) as scope:
            await calls[0]()
        assert scope.cancelled_caught
        assert end._leases._waits == set()
        del held
        with trio.fail_after(5):
            got = await calls[0]()
        assert noise(30_000).startswith(bytes(getattr(got, "view", got)))
        assert got


async def test_a_wait_ends_when_memory_comes(place):
    """Waiting is in turn: what there is then is received."""
    pool = CappedPool(CAP_NBYTES)
    async with place(pool) as (_, calls, _):
        held: list[BytesBuf] = [pool.reserve(CAP_NBYTES)]
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def receive() -> None:
                    got = await calls[0]()
                    assert noise(30_000).startswith(bytes(getattr(got, "view", got)))

                await trio.testing.wait_all_tasks_blocked(0.01)
                assert pool.statistics().waiting == 1
                held.clear()


class Refusing(PlainMemory):
    """A provider of somebody else's that has a budget, and cannot be waited for."""

    def _lease(self, nbytes):
        raise BudgetExceeded(requested=nbytes, available=0)


async def test_a_budget_that_cannot_be_waited_for_is_an_error(place):
    """It is passed on as it is, and whoever receives may try again."""
    async with place(Refusing()) as (_, calls, _):
        for _ in range(2):
            with pytest.raises(BudgetExceeded):
                await calls[0]()


class Given(PlainMemory):
    """A provider that gives what it is told to, or raises it."""

    def __init__(self, given: object) -> None:
        self.given = given

    def _lease(self, _):
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


def released() -> memoryview:
    """Memory that cannot be looked at any more."""
    window = memoryview(bytearray(10))
    window.release()
    return window


BAD = {
    "an error of the system": OSError(errno.EBADF, "no memory here"),
    "a wrong number": ValueError("no memory here"),
    "no bytes": (memoryview(bytearray()), None),
    "read-only": (memoryview(b"read-only"), None),
    "no memoryview": (bytearray(10), None),
    "no pair": memoryview(bytearray(3)),
    "nothing": None,
    "released": (released(), None),
}


@pytest.mark.parametrize("given", BAD.values(), ids=BAD.keys())
async def test_what_is_no_memory_is_said_of_the_provider(place, given):
    """Never of the socket or the file, whatever the provider did."""
    async with place(Given(given)) as (_, calls, fileno):
        for _ in range(2):
            with pytest.raises(BadMemory):
                await calls[0]()
        assert fileno() != -1


def test_only_memory_that_has_a_cap_can_be_waited_for():
    """Also behind what only passes its memory on."""
    assert Leases(CappedPool(10_000)).can_wait
    assert Leases(CappedPool(100_000).share(10_000)).can_wait
    assert not Leases(PlainMemory()).can_wait
    assert not Leases(OpaqueMemory(PlainMemory())).can_wait
