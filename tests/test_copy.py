"""`copy`: every byte, in order, no more than asked, and no memory held meanwhile."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from pairs import closing, noise, receive_to_the_end, socketpair

from trio_bytesbuf import BytesView, GlobalPool, UnexpectedEof
from trio_bytesbuf.io import copy
from trio_bytesbuf.testing import FakeRead, FakeWrite, Pending


@given(
    contents=st.binary(max_size=60),
    limit=st.none() | st.integers(0, 80),
    at_once=st.integers(1, 9),
)
def test_the_first_bytes_are_copied_and_the_rest_stays(contents, limit, at_once):
    """With a limit and without one, however few bytes come at a time."""

    async def main() -> None:
        source, sink = FakeRead(contents, max_read_nbytes=at_once), FakeWrite()
        nbytes = await copy(source, sink, max_nbytes=limit)
        assert nbytes == (len(contents) if limit is None else min(limit, len(contents)))
        assert sink.contents == contents[:nbytes]
        assert await source.read_to_end(100) == contents[nbytes:]

    trio.run(main)


async def test_what_the_source_has_kept_goes_first():
    """Bytes that an abandoned read had got."""
    source, sink = FakeRead(b"abcdef", max_read_nbytes=2), FakeWrite()
    with pytest.raises(UnexpectedEof):
        await source.read_exactly(100)
    assert await copy(source, sink) == 6
    assert sink.contents == b"abcdef"


async def test_from_socket_to_socket():
    """Megabytes, through buffers of the kernel that hold less; both are open afterwards."""
    data = noise(3_000_000)
    near, source = await socketpair()
    sink, far = await socketpair()
    got = []

    async def send() -> None:
        await near.send_all(data)
        await near.send_eof()

    async def receive() -> None:
        got.append(await receive_to_the_end(far))

    async with closing(near, source, sink, far):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(receive)
            assert await copy(source, sink) == len(data)
            assert source.fileno() != -1
            await sink.send_eof()
        assert got == [data]


async def test_waiting_for_the_source_holds_no_memory():
    """The block of what was copied last is free for others."""
    pool = GlobalPool()
    near, source = await socketpair(pool)
    sink, far = await socketpair()
    async with closing(near, source, sink, far), trio.open_nursery() as nursery:
        source._receive_size.nbytes = 262_144
        nursery.start_soon(copy, source, sink)
        nursery.start_soon(near.send_all, bytes(150_000))
        left = 150_000
        while left:
            left -= len(await far.receive_some())
        await trio.testing.wait_all_tasks_blocked()
        assert pool.statistics().allocated > 0
        assert pool.statistics().lent_nbytes == 0
        nursery.cancel_scope.cancel()


async def test_an_error_that_is_kept_holds_no_memory():
    """Neither one of the sink's nor one of the source's."""

    class Refusing(FakeWrite):
        async def _write_view(self, view: BytesView) -> None:
            del view
            await trio.lowlevel.checkpoint()
            raise trio.BrokenResourceError("no more")

    pool = GlobalPool()
    near, source = await socketpair(pool)
    async with closing(near, source):
        source._receive_size.nbytes = 262_144
        await near.send_all(bytes(100_000))
        with pytest.raises(trio.BrokenResourceError) as kept:
            await copy(source, Refusing())
        assert pool.statistics().allocated > 0
        assert pool.statistics().lent_nbytes == 0, kept


@pytest.mark.parametrize("limit", [None, 0, 1])
@pytest.mark.parametrize("contents", [b"", b"abc"])
async def test_it_is_a_checkpoint(limit, contents):
    """Also where nothing is copied."""
    with trio.testing.assert_checkpoints():
        await copy(FakeRead(contents), FakeWrite(), max_nbytes=limit)


async def test_it_can_be_cancelled_while_either_side_waits():
    """And leaves both open."""
    for source, sink in ((Pending(), FakeWrite()), (FakeRead(b"abc"), Pending())):
        with trio.move_on_after(0.01) as scope:
            await copy(source, sink)
        assert scope.cancelled_caught
        await source.aclose()
        await sink.aclose()


async def test_wrong_arguments_are_refused():
    """Before anything is read."""
    source, sink = FakeRead(b"abc"), FakeWrite()
    for wrong in ((b"abc", sink), (source, bytearray()), (sink, source)):
        with pytest.raises(TypeError):
            await copy(*wrong)
    with pytest.raises(TypeError):
        await copy(source, sink, max_nbytes=1.0)
    with pytest.raises(ValueError):
        await copy(source, sink, max_nbytes=-1)
    assert await source.read_to_end(10) == b"abc"
