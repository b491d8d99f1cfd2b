"""Sending: what arrives is what was sent, however it is cut; and the plan for each system call."""

from __future__ import annotations

import array
import hashlib
import itertools
import os
import tracemalloc
from unittest import mock

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pairs import (
    clog,
    closing,
    noise,
    receive_exactly,
    receive_to_the_end,
    reset,
    small_buffers,
    socketpair,
    tcp_pair,
)

from trio_bytesbuf import BytesView
from trio_bytesbuf.io import SocketStream, _descriptor, _vectored
from trio_bytesbuf.io._vectored import (
    IOV_MAX,
    JOIN_AHEAD_NBYTES,
    JOIN_ALL_NBYTES,
    JOIN_BELOW_NBYTES,
    SendPlan,
)
from trio_bytesbuf.testing import FakeWrite

SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def pieces_of(data: bytes, sizes) -> BytesView:
    """A view of the beginning of `data`, cut into pieces of `sizes` bytes."""
    whole = memoryview(data)
    views, at = [], 0
    for nbytes in sizes:
        views.append(BytesView(whole[at : at + nbytes]))
        at += nbytes
    assert at <= len(data)
    return BytesView.from_views(views)


async def arrived(a: SocketStream, b: SocketStream, view: BytesView) -> bytes:
    """Send `view` from `a`, and the end; return what `b` received."""

    async def send() -> None:
        await a.write_view(view)
        await a.send_eof()

    async with closing(a, b), trio.open_nursery() as nursery:
        nursery.start_soon(send)
        with trio.fail_after(30):
            return await receive_to_the_end(b)


# What arrives

CUTS = {
    "one piece of 16 MiB": [1 << 24],
    "more large pieces than a call takes": [JOIN_BELOW_NBYTES] * (IOV_MAX * 2 + 5),
    "exactly as many as a call takes": [JOIN_BELOW_NBYTES] * IOV_MAX,
    "one more than a call takes": [JOIN_BELOW_NBYTES] * (IOV_MAX + 1),
    "many pieces of one byte": [1] * 70_000,
    "small and large in turn": [1, JOIN_BELOW_NBYTES, 3, 70_000, 5, JOIN_BELOW_NBYTES - 1] * 40,
    "pieces right below the size that is joined": [JOIN_BELOW_NBYTES - 1] * 50,
}


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "through trio"])
@pytest.mark.parametrize("sizes", CUTS.values(), ids=CUTS.keys())
async def test_what_arrives_is_what_was_sent_however_it_was_cut(sizes, in_place, monkeypatch):
    """And the figures count every byte once."""
    monkeypatch.setattr(_descriptor, "CAN_READ_IN_PLACE", in_place)
    data = noise(sum(sizes))
    a, b = await socketpair()
    got = await arrived(a, b, pieces_of(data, sizes))
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
    assert a.statistics().sent_nbytes == b.statistics().received_nbytes == len(data)


@SETTINGS
@given(
    st.lists(
        st.one_of(st.just(1), st.integers(1, 300), st.integers(4000, 4200), st.integers(1, 40_000)),
        max_size=40,
    ),
    st.booleans(),
)
async def test_what_arrives_is_what_was_sent_through_the_smallest_buffers(sizes, in_place):
    """Nearly every call sends a part of what it was given, and ends inside a piece."""
    with mock.patch.object(_descriptor, "CAN_READ_IN_PLACE", in_place):
        data = noise(sum(sizes))
        a, b = await socketpair()
        small_buffers(a)
        small_buffers(b)
        assert await arrived(a, b, pieces_of(data, sizes)) == data


async def test_a_large_view_takes_many_calls_through_tcp():
    """16 MiB in pieces of 64 KiB over TCP; partial sends go on at the byte."""
    data = noise(1 << 24)
    a, b = await tcp_pair()
    got = await arrived(a, b, pieces_of(data, [1 << 16] * (1 << 8)))
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
    assert a.statistics().send_calls > 1


async def test_a_partial_send_lets_other_tasks_run():
    """A long send is many checkpoints: another task gets its turn between the calls."""
    a, b = await tcp_pair()
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        assert len(await arrived(a, b, BytesView(bytes(1 << 22)))) == 1 << 22
        nursery.cancel_scope.cancel()
    assert turns >= a.statistics().send_calls


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "through trio"])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"bytes", b"bytes", id="bytes"),
        pytest.param(bytearray(b"bytearray"), b"bytearray", id="bytearray"),
        pytest.param(memoryview(b"memoryview")[6:], b"view", id="memoryview"),
        pytest.param(memoryview(bytearray(b"rw")), b"rw", id="writable memoryview"),
        pytest.param(memoryview(bytearray(b"ro")).toreadonly(), b"ro", id="read-only memoryview"),
        pytest.param(array.array("I", [1, 2]), array.array("I", [1, 2]).tobytes(), id="array"),
        pytest.param(memoryview(bytes(range(6))).cast("B", (2, 3)), bytes(range(6)), id="2-d"),
        pytest.param(memoryview(b"cc").cast("c"), b"cc", id="format c"),
        pytest.param(b"", b"", id="empty bytes"),
        pytest.param(bytearray(), b"", id="empty bytearray"),
        pytest.param(array.array("I"), b"", id="empty array"),
    ],
)
async def test_send_all_takes_any_buffer_and_counts_its_bytes(
    data, expected, in_place, monkeypatch
):
    """Items of four bytes are four bytes."""
    monkeypatch.setattr(_descriptor, "CAN_READ_IN_PLACE", in_place)
    a, b = await socketpair()
    async with closing(a, b):
        await a.send_all(data)
        assert a.statistics().sent_nbytes == len(expected)
        await a.send_eof()
        assert await receive_to_the_end(b) == expected


async def test_send_all_leaves_the_callers_memoryview_open():
    """It is the caller's to release."""
    a, b = await socketpair()
    async with closing(a, b):
        with memoryview(bytearray(b"mine")) as data:
            await a.send_all(data)
            assert data[0] == ord("m")


async def test_an_empty_view_sends_nothing():
    """No system call is made for it."""
    a, b = await socketpair()
    async with closing(a, b):
        await a.write_view(BytesView())
        assert a.statistics().send_calls == 0


# The caller's memory is the caller's again


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "through trio"])
@pytest.mark.parametrize("nbytes", [0, 10, 1 << 22], ids=["empty", "small", "in many calls"])
async def test_a_bytearray_can_be_resized_after_send_all(nbytes, in_place, monkeypatch):
    """No memoryview of it is left behind."""
    monkeypatch.setattr(_descriptor, "CAN_READ_IN_PLACE", in_place)
    a, b = await socketpair()
    data = bytearray(nbytes)
    async with closing(a, b), trio.open_nursery() as nursery:
        nursery.start_soon(receive_exactly, b, nbytes)
        await a.send_all(data)
        data += b"more"


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "through trio"])
async def test_a_bytearray_can_be_resized_after_send_all_was_cancelled(in_place, monkeypatch):
    """At its first checkpoint, and after a part was sent."""
    monkeypatch.setattr(_descriptor, "CAN_READ_IN_PLACE", in_place)
    a, b = await socketpair()
    data = bytearray(1 << 22)
    async with closing(a, b):
        for seconds in (0, 0.001):
            with trio.move_on_after(seconds) as scope:
                await a.send_all(data)
            assert scope.cancelled_caught
            data += b"more"
        assert a.statistics().sent_nbytes > 0


@pytest.mark.parametrize("error", ["closed", "broken"])
async def test_a_bytearray_can_be_resized_while_the_error_of_send_all_is_looked_at(error):
    """The traceback holds frames; the frames hold nothing of the caller's."""
    a, b = await socketpair()
    data = bytearray(1 << 22)
    async with closing(a, b), trio.open_nursery() as nursery:

        async def end_it() -> None:
            await trio.testing.wait_all_tasks_blocked()
            await (a if error == "closed" else b).aclose()

        nursery.start_soon(end_it)
        try:
            await a.send_all(data)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            data += b"more"
        else:
            pytest.fail("it should have raised")


async def test_a_cancelled_send_has_sent_a_beginning():
    """Not more than it counted, and nothing out of order: who closes then has told no lie."""
    data = noise(1 << 20)
    a, b = await socketpair()
    async with closing(a, b):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(a.write_view, BytesView(data))
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        sent = a.statistics().sent_nbytes
        assert 0 < sent < len(data)
        await a.aclose()
        assert await receive_to_the_end(b) == data[:sent]


async def test_waiting_to_send_ends_when_there_is_room():
    """And the bytes arrive behind those that were there."""
    a, b = await socketpair()
    async with closing(a, b), trio.open_nursery() as nursery:
        await clog(a)
        clogged_nbytes = a.statistics().sent_nbytes

        async def send() -> None:
            await a.write_view(BytesView(b"the last"))
            await a.send_eof()

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        assert a.statistics().sent_nbytes == clogged_nbytes
        assert await receive_to_the_end(b) == bytes(clogged_nbytes) + b"the last"


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "through trio"])
async def test_a_send_hides_no_reset_from_who_receives_later(in_place, monkeypatch):
    """The peer resets while its buffers are full: every later send, and every receive, is told.

    The system says once that it was a reset, to one of the sends, and a plain end to who receives.
    """
    monkeypatch.setattr(_descriptor, "CAN_READ_IN_PLACE", in_place)
    a, b = await tcp_pair()
    view = pieces_of(bytes(20_000_000), [200_000] * 100)
    async with closing(a, b), trio.open_nursery() as nursery:

        async def send() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await a.write_view(view)

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert a.statistics().sent_nbytes
        await b.receive_view(1_000)
        reset(b)
        with trio.fail_after(5):
            while a._is_sending:
                await trio.lowlevel.checkpoint()
            for _ in range(2):
                with pytest.raises(trio.BrokenResourceError):
                    await a.write_view(view)
                with pytest.raises(trio.BrokenResourceError):
                    await a.receive_view()


# The plan

AT_MOST_NBYTES = JOIN_AHEAD_NBYTES + JOIN_ALL_NBYTES + JOIN_BELOW_NBYTES
"""How many copied bytes a plan holds at the most."""


LIMITS = {
    "JOIN_BELOW_NBYTES": 8,
    "JOIN_ALL_NBYTES": 17,
    "JOIN_AHEAD_NBYTES": 30,
    "MIN_STRETCH_PIECES": 2,
}


def rows_of(stretch: list[int]) -> list[list[int]]:
    """The model: which pieces that are looked at together go into one buffer."""
    largest = max(stretch)
    if largest < 8:
        stretch = stretch[: 30 // largest]
        step = 17 // largest
        return [stretch[at : at + step] for at in range(0, len(stretch), step)]
    rows: list[list[int]] = []
    row_is_open = False
    for nbytes in stretch:
        if nbytes < 8 and row_is_open:
            rows[-1].append(nbytes)
        else:
            rows.append([nbytes])
        row_is_open = nbytes < 8 and sum(rows[-1]) < 17
    return rows


def joined_of(rows: list[list[int]]) -> int:
    """The model: how many bytes are copied for these rows."""
    return sum(sum(row) for row in rows if len(row) > 1)


def batches_of(sizes: list[int], iov_max: int, most: int) -> list[list[list[int]]]:
    """The model: which rows are made for one call, out of at most `most` pieces."""
    if len(sizes) < 2 or sum(sizes) <= 17:
        return [[sizes]] if sizes else []
    most = min(max(30 * len(sizes) // sum(sizes), 2), most)
    batches, left = [], sizes
    while left:
        batch: list[list[int]] = []
        for row in rows_of(left[:most])[:iov_max]:
            if joined_of(batch) < 30:
                batch.append(row)
        left = left[sum(map(len, batch)) :]
        batches.append(batch)
    return batches


@pytest.mark.parametrize("most_pieces", [3, 1000])
@pytest.mark.parametrize("iov_max", [1, 2, 5, 1024])
@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 20) | st.integers(1, 7), max_size=60)
    | st.lists(st.integers(1, 7), max_size=60),
    steps=st.lists(st.floats(0, 1, exclude_min=True), max_size=30),
)
def test_a_plan_is_always_a_prefix_of_what_is_left(iov_max, most_pieces, sizes, steps):
    """Against a model: a `bytes` from which what was sent is cut off, and the rows of each call."""
    data = noise(sum(sizes))
    limits = {"IOV_MAX": iov_max, "MAX_STRETCH_PIECES": most_pieces, **LIMITS}
    with mock.patch.multiple(_vectored, **limits):
        plan = SendPlan(pieces_of(data, sizes).pieces, len(data))
        batches = iter(batches_of(sizes, iov_max, most_pieces))
        left, left_of_batch = data, 0
        for step in itertools.chain(steps, itertools.repeat(1.0)):
            assert bool(plan) is bool(left)
            buffers = plan.buffers()
            assert len(buffers) <= iov_max
            assert all(len(buffer) for buffer in buffers)
            if not left:
                assert buffers == []
                break
            offered = b"".join(buffers)
            assert left.startswith(offered)
            if left_of_batch:
                assert len(offered) == left_of_batch
                assert plan.joined_nbytes == 0
            else:
                batch = next(batches)
                assert [len(buffer) for buffer in buffers] == [sum(row) for row in batch]
                assert plan.joined_nbytes == joined_of(batch)
                alone = [b for b, row in zip(buffers, batch, strict=True) if len(row) == 1]
                assert all(isinstance(b, memoryview) and b.obj is data for b in alone)
            sent = max(1, int(len(offered) * step))
            plan.advance(sent)
            left, left_of_batch = left[sent:], len(offered) - sent
        assert next(batches, None) is None


@given(
    st.lists(st.tuples(st.integers(1, 1500), st.integers(1, 3000)), min_size=1, max_size=6),
    st.integers(20_000, 400_000),
)
@settings(max_examples=20, deadline=None)
def test_a_plan_holds_few_copies_however_long_it_is(runs, at_most):
    """Joined is what the next call needs, and nothing more until that is sent."""
    sizes = [nbytes for nbytes, count in runs for _ in range(count)]
    whole = memoryview(bytes(max(sizes)))
    plan = SendPlan(tuple(whole[:nbytes] for nbytes in sizes), sum(sizes))
    held = sent = copied = 0
    while plan:
        offered = sum(map(len, plan.buffers()))
        if plan.joined_nbytes:
            held = plan.joined_nbytes
        assert held <= AT_MOST_NBYTES
        assert sum(len(each) for each in plan._ready if isinstance(each, bytes)) <= held
        copied += plan.joined_nbytes
        plan.advance(min(at_most, offered))
        sent += min(at_most, offered)
        assert copied <= sent + AT_MOST_NBYTES
    assert sent == sum(sizes)


async def test_a_clogged_sender_of_small_pieces_holds_few_copies():
    """Of 20 MB in small pieces it holds what the next call needs, and the figures say what it did.

    While it waits, as well: all that was sent is counted, and what waits.
    """
    view = pieces_of(bytes(20_000_000), [1000] * 20_000)
    a, b = await socketpair()
    async with closing(a, b), trio.open_nursery() as nursery:
        tracemalloc.start()
        try:
            nursery.start_soon(a.write_view, view)
            await trio.testing.wait_all_tasks_blocked()
            _, peak_nbytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak_nbytes < 3 * JOIN_AHEAD_NBYTES
        figures = a.statistics()
        ahead_nbytes = figures.copied_nbytes - figures.sent_nbytes
        assert 0 <= ahead_nbytes < AT_MOST_NBYTES
        await receive_exactly(b, len(view))
        await trio.testing.wait_all_tasks_blocked()
        assert a.statistics().copied_nbytes == len(view)


@pytest.mark.parametrize("is_long", [False, True])
async def test_small_parts_are_copied_at_once_only_if_they_are_not_many(is_long):
    """Else they are sent as pieces, which the sink joins when it is their turn."""
    parts = [noise(100, seed) for seed in range(300)] * (10 if is_long else 1)
    shown: list[BytesView] = []

    class Watching(FakeWrite):
        async def _write_view(self, view):
            shown.append(view)
            await super()._write_view(view)

    sink = Watching()
    await sink.write_parts(parts)
    assert sink.contents == b"".join(parts)
    (view,) = shown
    if is_long:
        assert all(piece.obj is part for piece, part in zip(view.pieces, parts, strict=True))
    else:
        assert len(view.pieces) == 1


def test_the_limits_of_a_plan_are_those_of_the_system():
    """As many buffers as the system says it takes, of whatever pieces."""
    assert os.sysconf("SC_IOV_MAX") == IOV_MAX
    lone = [2, JOIN_BELOW_NBYTES, 1, JOIN_BELOW_NBYTES]
    view = pieces_of(bytes(2_000_000), [*lone * (IOV_MAX // 2), *[1] * 20_000])
    assert len(SendPlan(view.pieces, len(view)).buffers()) == IOV_MAX


def test_large_pieces_are_not_copied_into_a_plan():
    """The buffers are the very pieces."""
    data = bytes(JOIN_ALL_NBYTES + 1)
    view = pieces_of(data, [JOIN_BELOW_NBYTES, JOIN_ALL_NBYTES - JOIN_BELOW_NBYTES, 1])
    plan = SendPlan(view.pieces, len(view))
    assert [buffer.obj is data for buffer in plan.buffers()] == [True] * 3
    assert plan.joined_nbytes == 0


def test_a_lone_small_piece_of_a_long_send_is_not_copied_into_a_plan():
    """There is nothing to join it with."""
    data = bytes(20_010)
    view = pieces_of(data, [10_000, 10, 10_000])
    plan = SendPlan(view.pieces, len(view))
    assert [buffer.obj is data for buffer in plan.buffers()] == [True] * 3
    assert plan.joined_nbytes == 0


def test_one_piece_is_never_copied_into_a_plan():
    """However small it is."""
    data = b"x"
    plan = SendPlan(BytesView(data).pieces, 1)
    assert [buffer.obj is data for buffer in plan.buffers()] == [True]
    assert plan.joined_nbytes == 0


def test_a_short_send_is_joined_whole():
    """Whatever the sizes of its pieces: one buffer, and the figure says what it cost."""
    view = pieces_of(bytes(JOIN_ALL_NBYTES), [1, JOIN_ALL_NBYTES - 2, 1])
    plan = SendPlan(view.pieces, len(view))
    assert [len(buffer) for buffer in plan.buffers()] == [JOIN_ALL_NBYTES]
    assert plan.joined_nbytes == JOIN_ALL_NBYTES


def test_a_long_row_of_small_pieces_is_joined_in_steps():
    """No buffer is longer than the limit and one small piece more."""
    view = pieces_of(bytes(200_000), [1000] * 200)
    sizes = [len(buffer) for buffer in SendPlan(view.pieces, len(view)).buffers()]
    assert sum(sizes) == 200_000
    assert max(sizes) < JOIN_ALL_NBYTES + JOIN_BELOW_NBYTES
