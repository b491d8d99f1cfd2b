"""The tool that lets each call fail: it leaves none out, and sees what is wrong afterwards."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import socket
import sys

import pytest
import trio
from pairs import socketpair

from trio_bytesbuf import BytesView, GlobalPool
from trio_bytesbuf.testing import (
    READS,
    Allocations,
    FailingMemory,
    FailureAttempt,
    FailureTable,
    HookCalls,
    SystemCalls,
    _allocations,
    fail_at_each_call,
)
from trio_bytesbuf.testing import _fail as tool

CONTENTS = bytes(range(10))


@contextlib.asynccontextmanager
async def a_pipe():
    """A pipe with some bytes in it, by its two descriptors."""
    reading, writing = os.pipe()
    try:
        os.write(writing, CONTENTS)
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


async def read_twice(pipe) -> bytes:
    return os.read(pipe[0], 4) + os.read(pipe[0], 4)


async def anything(pipe, attempt: FailureAttempt) -> None:
    pass


def failing(number: int = errno.EIO, **options) -> SystemCalls:
    return SystemCalls(number, of={"read"}, **options)


async def test_each_call_fails_once_and_the_last_attempt_is_not_disturbed() -> None:
    """Two reads: three attempts. What failed was not done, so its bytes are still there."""
    left = []

    async def check(pipe, attempt: FailureAttempt) -> str:
        left.append(os.read(pipe[0], 100))
        return "looked at"

    table = await fail_at_each_call(a_pipe, read_twice, failing(), check=check)
    assert left == [CONTENTS, CONTENTS[4:], CONTENTS[8:]]
    assert [each.failed for each in table.attempts] == ["read: EIO", "read: EIO", ""]
    assert [each.ended for each in table.attempts] == ["OSError", "OSError", "completed"]
    assert table.failed == 2
    assert dict(table.outcomes) == {"OSError, looked at": 2}


async def test_some_in_a_row_and_only_some() -> None:
    """`times` lets the next fail as well; `every` leaves some out."""
    seen = []

    async def patient(pipe) -> list[str]:
        found = []
        for _ in range(6):
            try:
                os.read(pipe[0], 1)
            except BlockingIOError:
                found.append("busy")
            else:
                found.append("")
        return found

    async def check(pipe, attempt: FailureAttempt) -> None:
        assert isinstance(attempt.result, list)
        seen.append([place for place, what in enumerate(attempt.result) if what])

    fault = failing(errno.EAGAIN, times=2)
    await fail_at_each_call(a_pipe, patient, fault, check=check, every=3)
    assert seen == [[0, 1], [3, 4], []]


async def test_a_short_call_moves_so_many_bytes_and_raises_nothing() -> None:
    """Whatever the buffers are: the first bytes of them, in order."""
    a, b = [bytearray(3) for _ in range(2)]

    async def operation(pipe) -> int:
        return os.readv(pipe[0], [a, b])

    results = []

    async def check(pipe, attempt: FailureAttempt) -> None:
        results.append((attempt.result, bytes(a + b)))
        a[:] = b[:] = bytes(3)

    await fail_at_each_call(a_pipe, operation, SystemCalls(max_bytes=4), check=check)
    assert results == [(4, b"\0\1\2\3\0\0"), (6, b"\0\1\2\3\4\5")]


@pytest.mark.parametrize("call", ["write", "writev", "pwrite", "pwritev", "sendfile", "pread"])
async def test_every_call_of_a_file_can_be_short(call, tmp_path) -> None:
    """And all of them say so."""
    path = tmp_path / "file"
    path.write_bytes(CONTENTS)

    @contextlib.asynccontextmanager
    async def a_file():
        with path.open("r+b", buffering=0) as file, (tmp_path / "to").open("wb") as to:
            yield file.fileno(), to.fileno()

    async def operation(fds) -> int:
        fd, to = fds
        made = getattr(os, call)
        if call == "sendfile":
            return made(to, fd, 0, 8)
        if call == "pread":
            return len(made(fd, 8, 0))
        data = [b"12345", b"678"] if call.endswith("v") else b"12345678"
        return made(fd, data, 0) if call.startswith("p") else made(fd, data)

    lengths = []

    async def check(fds, attempt: FailureAttempt) -> None:
        lengths.append(attempt.result)

    await fail_at_each_call(a_file, operation, SystemCalls(max_bytes=6), check=check)
    assert lengths == [6, 8]


async def test_sockets_of_trio_fail_as_well() -> None:
    """Connecting, accepting, sending, receiving, and the end: each call fails once."""

    @contextlib.asynccontextmanager
    async def listening():
        with trio.socket.socket() as sock:
            await sock.bind(("127.0.0.1", 0))
            sock.listen(1)
            yield sock

    async def operation(sock) -> None:
        with trio.socket.socket() as client:
            await client.connect(sock.getsockname())
            server, _ = await sock.accept()
            with server:
                await server.send(b"x")
                await client.recv(1)
                client.shutdown(socket.SHUT_WR)

    table = await fail_at_each_call(
        listening, operation, SystemCalls(errno.ENOBUFS), check=anything
    )
    names = [each.failed.partition(":")[0] for each in table.attempts]
    assert names == ["socket", "connect", "getsockopt", "accept", "send", "recv", "shutdown", ""]


async def test_what_listens_fails_as_well(tmp_path) -> None:
    """Making the socket, its option, its address, and listening; and files, said in any manner."""

    @contextlib.asynccontextmanager
    async def nothing():
        yield None

    async def operation(_: None) -> None:
        path = tmp_path / "file"
        path.touch()
        with trio.socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            await sock.bind(("127.0.0.1", 0))
            sock.listen(1)
        path.lstat()
        path.unlink()

    of = {"socket", "setsockopt", "bind", "listen", "stat", "lstat", "unlink"}
    table = await fail_at_each_call(
        nothing, operation, SystemCalls(errno.ENOBUFS, of=of), check=anything
    )
    names = [each.failed.partition(":")[0].removeprefix("l") for each in table.attempts]
    assert names == ["socket", "setsockopt", "bind", "isten", "stat", "unlink", ""]


@contextlib.asynccontextmanager
async def nothing():
    """What an operation works with that makes its own."""
    yield None


class Mapping(mmap.mmap):
    """A mapping of somebody's own."""


async def test_mappings_fail_and_are_what_they_are() -> None:
    """Of the class and of one below it; `isinstance` says yes to old ones and to new ones."""
    old = mmap.mmap(-1, mmap.PAGESIZE)

    async def operation(_: None) -> list[mmap.mmap]:
        made = [mmap.mmap(-1, mmap.PAGESIZE), Mapping(-1, mmap.PAGESIZE)]
        assert isinstance(old, mmap.mmap)
        assert not isinstance(b"", mmap.mmap)
        assert issubclass(Mapping, mmap.mmap)
        assert all(isinstance(each, mmap.mmap) for each in made)
        return made

    kinds = []

    async def check(_: None, attempt: FailureAttempt) -> None:
        if isinstance(attempt.result, list):
            kinds.extend(map(type, attempt.result))

    before = dict(vars(Mapping)), mmap.mmap
    table = await fail_at_each_call(nothing, operation, SystemCalls(errno.ENOMEM), check=check)
    assert [each.failed for each in table.attempts] == ["mmap: ENOMEM", "mmap: ENOMEM", ""]
    assert kinds == [before[1], Mapping]
    assert (dict(vars(Mapping)), mmap.mmap) == before
    assert isinstance(Mapping(-1, 1), before[1])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such calls")
async def test_locks_and_flags_fail_as_well() -> None:
    """`fcntl.fcntl`, `flock` and `ioctl`."""
    import fcntl
    import termios

    async def operation(pipe) -> None:
        fcntl.fcntl(pipe[0], fcntl.F_GETFD)
        fcntl.flock(pipe[0], fcntl.LOCK_EX)
        fcntl.ioctl(pipe[0], termios.FIONREAD, bytes(4))

    before = fcntl.fcntl, fcntl.flock, fcntl.ioctl
    table = await fail_at_each_call(a_pipe, operation, SystemCalls(errno.ENOLCK), check=anything)
    names = [each.failed.partition(":")[0] for each in table.attempts]
    assert names == ["fcntl", "flock", "ioctl", ""]
    assert (fcntl.fcntl, fcntl.flock, fcntl.ioctl) == before


async def test_what_says_its_error_by_a_number_says_it_so() -> None:
    """`connect_ex` raises nothing, nor does the question how a connection ended."""

    @contextlib.asynccontextmanager
    async def a_socket():
        with socket.socket() as sock:
            yield sock

    async def operation(sock) -> tuple[int, int]:
        said = (
            sock.connect_ex(("127.0.0.1", 1)),
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
        )
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
        return said

    ended = []

    async def check(sock, attempt: FailureAttempt) -> None:
        ended.append(attempt.result or type(attempt.error))

    await fail_at_each_call(a_socket, operation, SystemCalls(errno.ENETDOWN), check=check)
    refused = errno.ECONNREFUSED
    assert ended == [(errno.ENETDOWN, 0), (refused, errno.ENETDOWN), OSError, (refused, 0)]


async def test_duplicates_of_sockets_fail_as_well() -> None:
    """`socket.fromfd`, by which a datagram socket gets a second descriptor."""

    async def operation(pipe) -> None:
        with socket.socket() as sock:
            socket.fromfd(sock.fileno(), sock.family, sock.type).close()

    table = await fail_at_each_call(a_pipe, operation, SystemCalls(errno.EMFILE), check=anything)
    assert [each.failed for each in table.attempts] == ["socket: EMFILE", "dup: EMFILE", ""]


async def test_short_is_what_would_have_been_longer() -> None:
    """Neither a call that asks for no more, nor one of a datagram; `recv_into` is with them."""

    @contextlib.asynccontextmanager
    async def sockets():
        with contextlib.ExitStack() as stack:
            pairs = socket.socketpair(), socket.socketpair(type=socket.SOCK_DGRAM)
            yield [stack.enter_context(each) for pair in pairs for each in pair]

    async def operation(sockets) -> list[int]:
        a, b, c, d = sockets
        room = bytearray(10)
        done = [a.send(b"12"), a.sendmsg([b"3", b"4567"]), c.send(b"12345"), len(d.recv(10))]
        return [*done, b.recv_into(room, 2), b.recv_into(room)]

    seen = []

    async def check(sockets, attempt: FailureAttempt) -> None:
        seen.append((attempt.failed.partition(":")[0], attempt.result))

    await fail_at_each_call(sockets, operation, SystemCalls(max_bytes=2), check=check)
    assert seen == [
        ("sendmsg", [2, 2, 5, 5, 2, 2]),
        ("recv_into", [2, 5, 5, 5, 2, 2]),
        ("", [2, 5, 5, 5, 2, 5]),
    ]


async def test_a_hook_is_not_struck_in_the_peer() -> None:
    """What the peer calls does not count, though the operation is under way. (Law 1)"""
    calls = HookCalls(lambda: KeyError("planted"))
    told = []
    hook = calls.wrap(told.append)

    async def peer(_: None) -> None:
        hook("peer")

    async def operation(_: None) -> None:
        await trio.testing.wait_all_tasks_blocked()
        hook("operation")

    table = await fail_at_each_call(nothing, operation, calls, check=anything, peer=peer)
    assert [each.ended for each in table.attempts] == ["KeyError", "completed"]
    assert told == ["peer", "peer", "operation"]


async def test_nothing_fails_in_the_peer_nor_in_the_check_nor_afterwards() -> None:
    """Only in the operation, with what it starts. (Law 1 of the faults)"""
    told = []

    async def peer(pipe) -> None:
        told.append(os.read(pipe[0], 1))

    async def operation(pipe) -> None:
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, os.read, pipe[0], 1)

    async def check(pipe, attempt: FailureAttempt) -> None:
        told.append(os.read(pipe[0], 1))

    before = vars(os).copy(), vars(socket.socket).copy()
    table = await fail_at_each_call(a_pipe, operation, failing(), check=check, peer=peer)
    assert (vars(os), dict(vars(socket.socket))) == before
    assert told == [b"\0", b"\1", b"\0", b"\2"]
    assert table.failed == 1


async def test_hooks_fail_before_or_behind_the_call() -> None:
    """Of whatever was wrapped; memory counts as one."""
    for before, done in ((True, [0, 1, 2]), (False, [1, 2, 2])):
        seen: list[int] = []
        calls = HookCalls(lambda: KeyError("planted"), before=before)
        append = calls.wrap(seen.append)

        @contextlib.asynccontextmanager
        async def nothing():
            seen.clear()  # noqa: B023
            yield None

        async def operation(_: None) -> None:
            append(1)  # noqa: B023
            append(2)  # noqa: B023

        lengths: list[int] = []

        async def check(_: None, attempt: FailureAttempt) -> None:
            lengths.append(len(seen))  # noqa: B023

        await fail_at_each_call(nothing, operation, calls, check=check)
        assert lengths == done

    calls = HookCalls(MemoryError)
    memory = FailingMemory(GlobalPool(), calls)

    async def reserve(_: None) -> int:
        return memory.reserve(10).remaining_capacity

    table = await fail_at_each_call(nothing, reserve, calls, check=check)
    assert [each.ended for each in table.attempts] == ["MemoryError", "completed"]


@pytest.mark.skipif(not Allocations.can_fail(), reason="no set_nomemory to use here, or watched")
async def test_allocations_fail_in_every_step() -> None:
    """Each step of the operation, from checkpoint to checkpoint, has its own first allocation."""

    @contextlib.asynccontextmanager
    async def nothing():
        yield None

    async def operation(_: None) -> list[bytearray]:
        made = [bytearray(100)]
        await trio.lowlevel.cancel_shielded_checkpoint()
        return [*made, bytearray(100)]

    table = await fail_at_each_call(nothing, operation, Allocations(), check=anything)
    failed = [each.failed for each in table.attempts]
    assert failed[-1] == ""
    steps = {name.rpartition(" ")[2] for name in failed if name}
    assert steps == {"0", "1"}
    assert failed == [*sorted(failed[:-1]), ""]
    assert set(table.outcomes) == {"MemoryError"}


def test_a_free_threaded_build_is_not_struck(monkeypatch) -> None:
    """It has the switch, and would crash; so it says no, and why."""
    monkeypatch.setattr(_allocations, "IS_FREE_THREADED_BUILD", True)
    assert not Allocations.can_fail()
    with pytest.raises(RuntimeError, match="no free-threaded build"):
        Allocations()


def test_code_of_a_class_that_is_its_own_attribute_is_held_once() -> None:
    """Modules of others may have such classes; the walk over them ends."""

    class Own:
        def nested(self):
            return lambda: self

    Own.again = Own
    _allocations._hold_code_in(Own, __name__)
    held = _allocations._held[id(Own().nested().__code__)]
    assert held == (Own().nested().__code__,) * _allocations.TIMES_HELD


# What it complains of


async def test_an_operation_in_which_nothing_fails_is_no_proof() -> None:
    """Law 2."""

    async def nothing(pipe) -> None:
        pass

    with pytest.raises(AssertionError, match=r"no such call as SystemCalls\(EIO\)"):
        await fail_at_each_call(a_pipe, nothing, failing(), check=anything)


async def test_an_operation_that_ends_before_any_call_is_said_to() -> None:
    """Its own error is named: it, and not the fault, is what is wrong."""

    async def wrong(pipe) -> None:
        raise KeyError(pipe)

    with pytest.raises(
        AssertionError, match=r"SystemCalls\(EIO\); it ended with KeyError of its own"
    ):
        await fail_at_each_call(a_pipe, wrong, failing(), check=anything)


@pytest.mark.parametrize("every", [0, -1])
async def test_every_is_one_at_least(every) -> None:
    """Else the same call would fail for ever."""
    with pytest.raises(ValueError, match=f"every must be at least 1, not {every}"):
        await fail_at_each_call(a_pipe, anything, failing(), check=anything, every=every)


def test_names_of_calls_are_told_where_one_is_wrong() -> None:
    """And one name is no set of names."""
    with pytest.raises(ValueError, match=r"\['reed'\]; there are accept, .*, read, "):
        SystemCalls(errno.EIO, of={"reed"})
    with pytest.raises(TypeError, match=r"say \{.read.\}"):
        SystemCalls(errno.EIO, of="read")


async def test_an_operation_without_an_end_is_given_up(monkeypatch) -> None:
    """One that hangs after a failure, and one that makes ever more calls."""
    monkeypatch.setattr(tool, "HANG_SECONDS", 0.05)
    monkeypatch.setattr(tool, "CALLS_MAX", 3)

    async def hang(pipe) -> None:
        try:
            os.read(pipe[0], 1)
        except OSError:
            await trio.sleep_forever()

    with pytest.raises(AssertionError, match="did not end within") as caught:
        await fail_at_each_call(a_pipe, hang, failing(), check=anything)
    assert caught.value.__notes__ == ["in the attempt: read: EIO"]

    async def many(pipe) -> None:
        for _ in range(5):
            os.read(pipe[0], 1)

    with pytest.raises(AssertionError, match="more than 3 calls"):
        await fail_at_each_call(a_pipe, many, failing(), check=anything)


@pytest.mark.skipif(not tool.open_descriptors(), reason="nobody tells what is open here")
async def test_a_descriptor_that_is_left_open_is_told_of() -> None:
    """Law 4."""
    leaked = []

    async def leak(pipe) -> None:
        leaked.append(os.dup(pipe[0]))
        os.read(pipe[0], 1)
        os.close(leaked.pop())

    with pytest.raises(AssertionError, match="descriptors open") as caught:
        await fail_at_each_call(a_pipe, leak, failing(), check=anything)
    assert str(leaked) in str(caught.value)
    os.close(leaked.pop())


async def test_errors_of_the_check_and_the_peer_come_out_as_they_are_with_a_note() -> None:
    """What the operation raises is for the check to look at."""

    async def fail(pipe, attempt: object = None) -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("planted")

    async def patient(pipe) -> None:
        with contextlib.suppress(OSError):
            os.read(pipe[0], 1)
        await trio.sleep(0.01)

    for options in ({"check": fail}, {"check": anything, "peer": fail}):
        with pytest.raises(KeyError) as caught:
            await fail_at_each_call(a_pipe, patient, failing(), **options)
        assert caught.value.__notes__ == ["in the attempt: read: EIO"]


async def test_cancelling_the_tool_itself_is_no_failure() -> None:
    """A cancel scope around it ends everything, and nothing fails any more."""

    async def sleep(pipe) -> None:
        await trio.sleep_forever()

    before = os.read
    with trio.move_on_after(0.01) as scope:
        await fail_at_each_call(a_pipe, sleep, failing(), check=anything)
    assert scope.cancelled_caught
    assert os.read is before


@pytest.mark.parametrize(
    ("arguments", "options", "complaint"),
    [
        ((), {}, "say one of both"),
        ((errno.EIO,), {"max_bytes": 1}, "say one of both"),
        ((errno.EIO,), {"times": 0}, "times must be at least 1, not 0"),
        ((), {"max_bytes": 0}, "max_bytes must be at least 1, not 0"),
        ((errno.EIO,), {"of": ["getpid"]}, r"be made to fail: \['getpid'\]"),
        ((errno.EIO,), {"of": ()}, "`of` has no names"),
        ((99999,), {}, "99999 is no errno"),
        ((0,), {}, "0 is no errno"),
        ((), {"max_bytes": 1, "of": {"read", "bind"}}, r"move few bytes \(max_bytes\): \['bind'\]"),
        ((), {"max_bytes": 1, "of": ()}, "`of` has no names"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, options, complaint) -> None:
    """By an error that names it: what would never strike is no fault."""
    with pytest.raises(ValueError, match=complaint):
        SystemCalls(*arguments, **options)


def test_what_is_of_another_type_is_refused() -> None:
    """Numbers are integers, hooks are made of functions, and only a `HookCalls` counts."""
    for make in (
        lambda: SystemCalls("EIO"),
        lambda: SystemCalls(max_bytes=1.5),
        lambda: SystemCalls(errno.EIO, times=None),
        lambda: HookCalls(MemoryError("not this one")),
        lambda: FailingMemory(GlobalPool(), None),
        lambda: FailingMemory(GlobalPool(), SystemCalls(errno.EIO)),
        lambda: FailingMemory(None, HookCalls(MemoryError)),
    ):
        with pytest.raises(TypeError):
            make()


async def test_a_second_run_at_the_same_time_is_refused() -> None:
    """In a task beside, and within the first; afterwards it may run."""
    refused = []

    async def check(pipe, attempt: FailureAttempt) -> None:
        with pytest.raises(RuntimeError, match="runs in this process already") as caught:
            await fail_at_each_call(a_pipe, read_twice, failing(), check=anything)
        refused.append(caught.value)

    before = vars(os).copy()
    async with trio.open_nursery() as nursery:

        async def beside() -> None:
            await trio.testing.wait_all_tasks_blocked()
            await check(None, FailureAttempt(""))

        async def slow(pipe) -> bytes:
            await trio.sleep(0.01)
            return await read_twice(pipe)

        nursery.start_soon(beside)
        assert (await fail_at_each_call(a_pipe, slow, failing(), check=check)).failed == 2
    assert len(refused) == 4
    assert vars(os) == before
    assert (await fail_at_each_call(a_pipe, read_twice, failing(), check=anything)).failed == 2


def test_a_table_reads_well() -> None:
    """A line for each attempt, and the sums of each outcome."""
    table = FailureTable(
        (
            FailureAttempt("readv: EIO", ended="OSError", became="resumed"),
            FailureAttempt("readv: EIO"),
            FailureAttempt(""),
        )
    )
    assert str(table) == (
        "failed                        ended                 then\n"
        "readv: EIO                    OSError               resumed\n"
        "readv: EIO                    completed\n"
        "nothing failed                completed\n"
        "3 attempts, a call failed in 2: 1 OSError, resumed, 1 completed"
    )


async def test_a_planted_bug_is_found() -> None:
    """A reader that forgets what it has got when a later call fails loses bytes."""

    @contextlib.asynccontextmanager
    async def pair():
        a, b = await socketpair()
        async with a, b:
            await b.write_view(BytesView(CONTENTS))
            await b.send_eof()
            yield a

    async def careless(stream) -> bytes:
        parts = [bytes(await stream.receive_view(2)) for _ in range(3)]
        return b"".join(parts)

    async def nothing_is_lost(stream, attempt: FailureAttempt) -> None:
        assert (attempt.result or b"") + bytes(await stream.read_to_end(100)) == CONTENTS

    fault = SystemCalls(errno.ENOBUFS, of=READS)
    with pytest.raises((AssertionError, trio.BrokenResourceError)):
        await fail_at_each_call(pair, careless, fault, check=nothing_is_lost)
