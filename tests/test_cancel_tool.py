"""The tool that cancels an operation at each of its moments: it finds what is planted."""

from __future__ import annotations

import contextlib

import pytest
import trio
import trio.testing
from pairs import closing, socketpair
from trio.lowlevel import checkpoint, checkpoint_if_cancelled

from trio_bytesbuf.testing import (
    Attempt,
    CancellationTable,
    Moment,
    cancel_at_each_checkpoint,
    cancel_atomic_at_each_checkpoint,
)

CONTENTS = b"abcdef"


class Subject:
    """Bytes that arrive one by one, and what a reader of them has taken."""

    def __init__(self) -> None:
        self.arrived = bytearray()
        self.taken = bytearray()
        self.kept = bytearray()
        self.event = trio.Event()

    def put(self, byte: int) -> None:
        self.arrived.append(byte)
        self.event.set()

    async def wait(self) -> None:
        """Wait until a byte is there; a checkpoint that is never a mere schedule point."""
        while not self.arrived:
            self.event = trio.Event()
            await self.event.wait()

    def take(self) -> int:
        byte = self.arrived.pop(0)
        self.taken.append(byte)
        return byte


@contextlib.asynccontextmanager
async def fresh():
    yield Subject()


async def send(subject: Subject) -> None:
    """Let a byte arrive each time that the operation is blocked."""
    for byte in CONTENTS:
        await trio.testing.wait_all_tasks_blocked()
        subject.put(byte)


async def read_two(subject: Subject) -> bytes:
    """Return two bytes; cancelled, the first of them is kept for the next call."""
    while len(subject.kept) < 2:
        await subject.wait()
        subject.kept.append(subject.take())
    got = bytes(subject.kept[:2])
    del subject.kept[:2]
    return got


async def lose_at_the_second_checkpoint(subject: Subject) -> bytes:
    """Return two bytes; cancelled in the second wait, the first is gone."""
    await subject.wait()
    first = subject.take()
    await subject.wait()
    return bytes([first, subject.take()])


async def lose_when_woken(subject: Subject) -> bytes:
    """Return a byte, but lose it if cancellation comes between being woken and being run."""
    await subject.wait()
    byte = subject.take()
    await checkpoint_if_cancelled()
    return bytes([byte])


async def repeat(subject: Subject) -> bytes:
    """Return two bytes; cancelled after the first, put it back and keep it."""
    await subject.wait()
    subject.kept.append(subject.take())
    try:
        await subject.wait()
    except trio.Cancelled:
        subject.arrived[:0] = subject.kept
        raise
    subject.kept.append(subject.take())
    got = bytes(subject.kept)
    subject.kept.clear()
    return got


async def nothing_is_lost_or_repeated(subject: Subject, attempt: Attempt) -> None:
    """What was returned, what is kept and what still arrives are the contents."""
    got = bytes(attempt.result or b"") + bytes(subject.kept)
    while len(got) < len(CONTENTS):
        with trio.move_on_after(0.2):
            await subject.wait()
        if not subject.arrived:
            break
        got += bytes([subject.take()])
    assert got + bytes(subject.arrived) == CONTENTS


async def anything(subject: Subject, attempt: Attempt) -> None:
    """Whatever became of it is right."""


def taken(subject: Subject) -> int:
    return len(subject.taken)


async def cancel(operation, check=nothing_is_lost_or_repeated, *, peer=send, progress=taken):
    return await cancel_at_each_checkpoint(
        fresh, operation, peer=peer, progress=progress, check=check
    )


async def cancel_atomic(operation, check=nothing_is_lost_or_repeated, *, peer=send):
    return await cancel_atomic_at_each_checkpoint(
        fresh, operation, peer=peer, progress=taken, check=check
    )


# What is planted


async def test_an_operation_that_loses_bytes_at_its_second_checkpoint_is_found() -> None:
    """The error says in which attempt it was."""
    with pytest.raises(AssertionError) as caught:
        await cancel(lose_at_the_second_checkpoint)
    # Which it came to when it was cancelled right before the end of the first.
    assert caught.value.__notes__ == ["in the attempt: checkpoint 1, woken"]


async def test_an_operation_that_loses_a_byte_only_when_it_has_been_woken_is_found() -> None:
    """Cancelled while it is blocked it is right; cancelled a moment later it is not."""
    with pytest.raises(AssertionError) as caught:
        await cancel_atomic(lose_when_woken)
    assert caught.value.__notes__ == ["in the attempt: checkpoint 1, woken"]


async def test_an_operation_that_repeats_bytes_is_found() -> None:
    """Bytes that are both kept and put back come twice."""
    with pytest.raises(AssertionError) as caught:
        await cancel(repeat)
    assert caught.value.__notes__ == ["in the attempt: checkpoint 1, woken"]


async def test_an_operation_that_is_called_atomic_and_is_not_is_found() -> None:
    """Even if no byte is lost."""
    await cancel(read_two)
    with pytest.raises(AssertionError, match="it is not atomic"):
        await cancel_atomic(read_two)


# What is counted


async def test_each_moment_is_tried_once_and_in_order() -> None:
    """Before it begins, and for each wait both ways out; the last attempt is not disturbed."""
    table = await cancel(read_two)
    assert [
        (each.checkpoint, each.moment, each.progress, each.was_cancelled) for each in table.attempts
    ] == [
        # Cancelled at first, it still has no checkpoint before it waits.
        (0, Moment.BEFORE, 0, True),
        (1, Moment.BLOCKED, 0, True),
        (1, Moment.WOKEN, 1, True),
        (2, Moment.BLOCKED, 1, True),
        (2, Moment.WOKEN, 2, False),
        (2, Moment.NEVER, 2, False),
    ]
    assert (table.cancelled, table.blocked, table.partial) == (4, 2, 2)


async def test_a_schedule_point_is_not_taken_for_a_wait() -> None:
    """`checkpoint()` lets others run and waits for nothing; real waits count apart."""

    async def operation(subject: Subject) -> None:
        await checkpoint()
        await checkpoint()
        await trio.sleep(0.001)

    table = await cancel_atomic(operation, anything, peer=None)
    assert [(each.checkpoint, each.moment) for each in table.attempts] == [
        (0, Moment.BEFORE),
        (1, Moment.SCHEDULE_POINT),
        (2, Moment.SCHEDULE_POINT),
        (3, Moment.BLOCKED),
        (3, Moment.WOKEN),
        (3, Moment.NEVER),
    ]
    assert (table.cancelled, table.blocked, table.partial) == (5, 1, 0)


async def test_a_shielded_checkpoint_is_tried_and_the_attempt_is_completed() -> None:
    """What cannot be cancelled is not counted as cancelled."""

    async def operation(subject: Subject) -> None:
        await checkpoint_if_cancelled()
        await trio.lowlevel.cancel_shielded_checkpoint()

    table = await cancel_atomic(operation, anything, peer=None)
    assert [(each.moment, each.was_cancelled) for each in table.attempts] == [
        (Moment.BEFORE, True),
        (Moment.SCHEDULE_POINT, False),
        (Moment.NEVER, False),
    ]
    assert table.cancelled == 1


async def test_other_tasks_do_not_count() -> None:
    """The checkpoints of the peer, and of tasks that the operation starts, are not tried."""

    async def operation(subject: Subject) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(checkpoint)

    table = await cancel_atomic(operation, anything, peer=None)
    assert max(each.checkpoint for each in table.attempts) == 1


async def test_every_attempt_has_a_fresh_subject_that_is_ended() -> None:
    """Also the one whose check fails."""
    begun, ended = [], []

    @contextlib.asynccontextmanager
    async def counted():
        begun.append(subject := Subject())
        try:
            yield subject
        finally:
            ended.append(subject)

    async def check(subject: Subject, attempt: Attempt) -> None:
        assert subject is begun[-1]
        assert len(ended) == len(begun) - 1
        assert len(begun) < 4

    with pytest.raises(AssertionError):
        await cancel_at_each_checkpoint(counted, read_two, peer=send, progress=taken, check=check)
    assert len(set(begun)) == 4
    assert begun == ended


async def test_the_check_sees_what_was_returned_and_the_table_does_not_keep_it() -> None:
    """A result may be a view, and hold memory."""
    seen = []

    async def check(subject: Subject, attempt: Attempt) -> None:
        seen.append(attempt.result)

    table = await cancel(read_two, check)
    assert seen == [None, None, None, None, b"ab", b"ab"]
    assert {each.result for each in table.attempts} == {None}


def test_a_table_reads_well() -> None:
    """A line for each attempt, and the sums of both kinds."""
    table = CancellationTable(
        (
            Attempt(0, Moment.BEFORE, 0, True),
            Attempt(1, Moment.BLOCKED, 12_345, True),
            Attempt(12, Moment.NEVER, 1_000_000, False),
        )
    )
    assert str(table) == (
        "checkpoint  when             progress  ended\n"
        "         0  before it began         0  cancelled\n"
        "         1  blocked             12345  cancelled\n"
        "        12  not cancelled     1000000  completed\n"
        "3 attempts, 2 cancelled: 1 while blocked, 1 after partial progress"
    )


# What it complains of


async def test_an_operation_that_never_blocked_is_no_proof() -> None:
    """A peer that gives everything at once makes nothing block."""

    async def send_at_once(subject: Subject) -> None:
        for byte in CONTENTS:
            subject.put(byte)

    async def operation(subject: Subject) -> bytes:
        await checkpoint()
        await checkpoint()
        return await read_two(subject)

    with pytest.raises(AssertionError, match="never cancelled while it was blocked"):
        await cancel_atomic(operation, anything, peer=send_at_once)


async def test_an_operation_that_was_never_cancelled_half_way_is_no_proof() -> None:
    """If it is not called atomic."""

    async def read_one(subject: Subject) -> bytes:
        await subject.wait()
        return bytes([subject.take()])

    with pytest.raises(AssertionError, match="never cancelled after it had made some progress"):
        await cancel(read_one)
    table = await cancel_atomic(read_one)
    assert (table.cancelled, table.blocked, table.partial) == (2, 1, 0)


async def test_an_operation_without_a_checkpoint_is_no_proof() -> None:
    """It cannot be cancelled at all."""

    async def operation(subject: Subject) -> None:
        pass

    with pytest.raises(AssertionError, match="has no checkpoint"):
        await cancel_atomic(operation, anything, peer=None)


async def test_an_operation_without_an_end_is_given_up(monkeypatch) -> None:
    """After so many attempts that nobody would wait for more."""
    monkeypatch.setattr("trio_bytesbuf.testing._cancel.MOMENTS_MAX", 30)

    async def operation(subject: Subject) -> None:
        while True:
            await checkpoint()

    with pytest.raises(AssertionError, match="more than 30 moments"):
        await cancel_atomic(operation, anything, peer=None)


# Errors


async def test_errors_come_out_as_they_are_with_a_note() -> None:
    """Whoever raised: the operation, the peer, the progress or the check."""

    async def fail(subject: Subject, attempt: object = None) -> None:
        await checkpoint()
        raise KeyError("planted")

    def fail_now(subject: Subject) -> int:
        raise KeyError("planted")

    for arguments in (
        {"operation": fail},
        {"check": fail},
        {"peer": fail},
        {"progress": fail_now},
    ):
        with pytest.raises(KeyError) as caught:
            await cancel(**{"operation": read_two, **arguments})
        assert len(caught.value.__notes__) == 1
        assert "in the attempt: " in caught.value.__notes__[0]


async def test_cancelling_the_tool_itself_is_not_an_attempt() -> None:
    """A cancel scope around it ends everything."""

    async def sleep(subject: Subject, attempt: object = None) -> None:
        await trio.sleep_forever()

    for arguments in ({"operation": sleep}, {"check": sleep}):
        with trio.move_on_after(0.01) as scope:
            await cancel(**{"operation": read_two, **arguments})
        assert scope.cancelled_caught


async def test_it_works_within_an_attempt_of_its_own() -> None:
    """Two of them at a time do not mistake one another's tasks."""

    async def tool(subject: Subject) -> CancellationTable:
        return await cancel(read_two)

    inner = await cancel(read_two)
    tables = []

    async def check(subject: Subject, attempt: Attempt) -> None:
        if not attempt.was_cancelled:
            tables.append(attempt.result)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(cancel, read_two)
    await cancel_atomic(tool, check, peer=None)
    assert tables
    assert set(tables) == {inner}


async def test_the_last_byte_of_a_socket_wakes_the_operation() -> None:
    """Real sockets: woken by the system, not by a task."""

    @contextlib.asynccontextmanager
    async def pair():
        a, b = await socketpair()
        async with closing(a, b):
            yield a, b

    async def send_one(streams) -> None:
        await trio.testing.wait_all_tasks_blocked()
        await streams[1].send_all(b"x")

    async def check(streams, attempt: Attempt) -> None:
        if attempt.was_cancelled:
            assert await streams[0].receive_some() == b"x"
        else:
            assert attempt.result == b"x"

    table = await cancel_atomic_at_each_checkpoint(
        pair,
        lambda streams: streams[0].receive_some(),
        peer=send_one,
        progress=lambda streams: streams[0].statistics().received_nbytes,
        check=check,
    )
    moments = [each.moment for each in table.attempts]
    assert Moment.BLOCKED in moments
    assert Moment.WOKEN in moments
    assert table.blocked >= 1


async def test_an_operation_that_shields_itself_is_told_so() -> None:
    """It has checkpoints; the complaint does not say otherwise."""

    async def shielded(subject: Subject) -> None:
        with trio.CancelScope(shield=True):
            await subject.wait()

    async def nothing(*_: object) -> None:
        await checkpoint()

    with pytest.raises(AssertionError, match="it shields itself, or swallows"):
        await cancel_at_each_checkpoint(
            fresh, shielded, peer=send, progress=lambda subject: len(subject.taken), check=nothing
        )
