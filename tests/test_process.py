"""`open_process`: real programs, fed and read in views, and none of them left behind."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT

import pytest
import trio
from pairs import noise

from trio_bytesbuf import BytesView, GlobalPool
from trio_bytesbuf.io import FdStream, Process, open_process
from trio_bytesbuf.mem import CappedPool, PlainMemory
from trio_bytesbuf.testing import FixedBlockMemory

MEMORIES = {
    "blocks of 1": (lambda: FixedBlockMemory(1), 3_000),
    "plain": (PlainMemory, 3_000_000),
    "pool": (GlobalPool, 3_000_000),
    "a share of a capped pool": (lambda: CappedPool(1 << 20).share(1 << 18), 3_000_000),
}
PIPES = {"stdin": PIPE, "stdout": PIPE}


def is_there(pid: int) -> bool:
    """Say whether a process or its remains are there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def open_descriptors() -> int:
    """Return how many descriptors this program has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(("memory", "nbytes"), MEMORIES.values(), ids=MEMORIES)
async def test_what_goes_through_a_program_comes_out(memory, nbytes):
    """More than pipes hold, in both directions at once; `memory` is where it is received."""
    data = noise(nbytes)
    digest = hashlib.sha256()
    memory = memory()

    async with await open_process(["cat"], memory=memory, **PIPES) as process:
        assert process.stdout.memory is memory

        async def feed():
            async with process.stdin as sink:
                whole = BytesView(data)
                await sink.write_parts(whole[at : at + 7001] for at in range(0, nbytes, 7001))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed)
            async for view in process.stdout.views():
                for piece in view.pieces:
                    digest.update(piece)
        assert await process.wait() == 0
    assert digest.digest() == hashlib.sha256(data).digest()


async def test_a_program_that_answers_at_the_end():
    """Its input is closed, and then it says what that was."""
    data = noise(500_000)
    async with await open_process(["sha256sum"], **PIPES) as process:
        await process.stdin.write_view(BytesView(data))
        await process.stdin.aclose()
        answer = await process.stdout.read_to_end(1000)
    assert bytes(answer).split()[0].decode() == hashlib.sha256(data).hexdigest()
    assert process.returncode == 0


async def test_only_the_streams_that_were_asked_for_are_there():
    """The others are None; complaints may go to the same pipe."""
    program = "import sys; print('out', flush=True); print('err', file=sys.stderr)"
    command = [sys.executable, "-S", "-c", program]
    async with await open_process(command, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdin is None
        assert await process.stdout.read_to_end(100) == b"out\n"
        assert await process.stderr.read_to_end(100) == b"err\n"
    async with await open_process(command, stdout=PIPE, stderr=STDOUT) as process:
        assert process.stderr is None
        assert await process.stdout.read_to_end(100) == b"out\nerr\n"
    async with await open_process(["true"]) as process:
        assert process.stdin is process.stdout is process.stderr is None


async def test_what_a_process_says_of_itself():
    """Its command, number, status and repr."""
    async with await open_process(["sh", "-c", "exit 3"]) as process:
        assert process.args == ["sh", "-c", "exit 3"]
        assert isinstance(process, Process)
        assert is_there(process.pid)
        assert await process.wait() == 3
        assert await process.wait() == 3
        assert process.returncode == 3
        assert "exited with status 3" in repr(process)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (Process.kill, -signal.SIGKILL),
        (Process.terminate, -signal.SIGTERM),
        (lambda process: process.send_signal(signal.SIGUSR1), -signal.SIGUSR1),
    ],
    ids=["kill", "terminate", "send_signal"],
)
async def test_signals_end_it(end, status):
    """The status is the signal; another signal afterwards is harmless."""
    async with await open_process(["sleep", "100"]) as process:
        assert process.returncode is None
        end(process)
        with trio.fail_after(5):
            assert await process.wait() == status
        end(process)


async def test_a_block_that_ends_waits_for_the_program():
    """Its pipes are closed, which tells it to end; it is not killed in its work."""
    program = "import sys, time; sys.stdin.read(); time.sleep(0.05); sys.exit(7)"
    async with await open_process([sys.executable, "-S", "-c", program], stdin=PIPE) as process:
        await process.stdin.write_view(BytesView(b"work"))
    assert process.returncode == 7
    assert not is_there(process.pid)
    assert process.stdin.fileno() == -1


async def test_a_block_that_raises_kills_it():
    """No orphan, no zombie, no open pipe; the error is the block's own."""
    with trio.fail_after(5), pytest.raises(KeyError):
        async with await open_process(["sleep", "100"], **PIPES) as process:
            raise KeyError
    assert process.returncode == -signal.SIGKILL
    assert not is_there(process.pid)
    assert process.stdin.fileno() == process.stdout.fileno() == -1


@pytest.mark.parametrize("when", ["in the block", "in the wait for the end"])
async def test_a_block_that_is_cancelled_kills_it(when):
    """Whether it is cancelled in the block or as it waits for the program to end."""
    with trio.move_on_after(0.05) as scope:
        async with await open_process(["sleep", "100"], **PIPES) as process:
            if when == "in the block":
                await process.stdout.receive_view()
    assert scope.cancelled_caught
    assert process.returncode == -signal.SIGKILL
    assert not is_there(process.pid)
    assert process.stdin.fileno() == process.stdout.fileno() == -1


async def test_a_cancelled_wait_leaves_it_running():
    """Waiting can be given up and begun again."""
    async with await open_process(["cat"], **PIPES) as process:
        with trio.move_on_after(0.01):
            await process.wait()
        assert process.returncode is None
        await process.stdin.send_all(b"still here")
        assert await process.stdout.receive_some() == b"still here"


@pytest.mark.parametrize("stream", ["stdin", "stdout"])
async def test_a_stream_that_cannot_be_closed_leaves_nothing_else_behind(stream, monkeypatch):
    """The error is raised; the other stream is closed, the process killed and reaped."""
    process = await open_process(["sleep", "100"], **PIPES)
    faulty = getattr(process, stream)
    close = faulty._close_descriptor

    async def fail():  # as close(2) may of a file over a network; pipes have no such error
        await close()
        raise OSError(errno.EIO, "injected")

    monkeypatch.setattr(faulty, "_close_descriptor", fail)
    with trio.fail_after(5), pytest.raises(OSError, match="injected"):
        await process.aclose()
    assert process.stdin.fileno() == process.stdout.fileno() == -1
    assert process.returncode == -signal.SIGKILL
    assert not is_there(process.pid)
    await process.aclose()


async def test_a_descriptor_that_somebody_else_has_closed_is_no_error():
    """EBADF: it is as it should be, and the process is told of the end."""
    async with await open_process(["cat"], **PIPES) as process:
        os.close(process.stdin.fileno())
        with trio.fail_after(5):
            await process.aclose()
    assert process.returncode == 0


async def test_it_can_be_closed_without_a_block():
    """`aclose_forcefully` kills and reaps; once more is harmless."""
    process = await open_process(["sleep", "100"], stdout=PIPE)
    await trio.aclose_forcefully(process)
    assert not is_there(process.pid)
    await process.aclose()
    assert isinstance(process.stdout, FdStream)


async def test_writing_to_a_program_that_has_ended_is_broken():
    """EPIPE, and this program goes on."""
    async with await open_process(["true"], stdin=PIPE) as process:
        await process.wait()
        with pytest.raises(trio.BrokenResourceError):
            await process.stdin.write_view(BytesView(b"too late"))


async def test_what_cannot_be_started_raises_and_leaves_nothing_open():
    """The system's error; wrong arguments are refused before anything is started."""
    before = open_descriptors()
    with pytest.raises(FileNotFoundError):
        await open_process(["/no/such/program"], **PIPES)
    with pytest.raises(TypeError, match="a Memory is wanted"):
        await open_process(["true"], memory=3, **PIPES)
    with pytest.raises(TypeError, match="text"):
        await open_process(["true"], text=True, **PIPES)
    assert open_descriptors() == before


async def test_other_options_are_passed_on(tmp_path):
    """Those of `subprocess`: a folder to run in, an environment."""
    async with await open_process(
        ["sh", "-c", "pwd; echo $X"],
        stdout=PIPE,
        stdin=subprocess.DEVNULL,
        cwd=tmp_path,
        env={"X": "set", "PATH": os.environ["PATH"]},
    ) as process:
        assert await process.stdout.read_to_end(1000) == f"{tmp_path}\nset\n".encode()
