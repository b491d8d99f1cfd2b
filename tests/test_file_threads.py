"""Files and their threads: left alone, waited for, cancelled, closed."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from functools import partial

import pytest
import trio
import trio.testing
from files import a_file, ability, cancelled_at_the_gate, each_way, gate
from pairs import noise

from trio_bytesbuf import BytesView
from trio_bytesbuf.io import _file, open_binary_file

way = each_way


async def test_the_event_loop_goes_on_while_a_disk_is_slow():
    """A thread waits; other tasks do not."""
    with ability("threads"), gate("preadv") as held:
        async with a_file(b"abc") as (file, _), trio.open_nursery() as nursery:
            nursery.start_soon(file.read_at, 0, 3)
            await held.wait_entered()
            with trio.fail_after(5):
                for _ in range(10):
                    await trio.lowlevel.checkpoint()
            held.opened.set()


# Cancellation


@pytest.mark.parametrize(
    "call",
    [
        lambda file: file.receive_view(),
        lambda file: file.read_exactly(3),
        lambda file: file.read_to_end(10),
        lambda file: file.read_contiguous(3),
    ],
    ids=["receive_view", "read_exactly", "read_to_end", "read_contiguous"],
)
async def test_a_cancelled_read_loses_nothing(call):
    """A read that is abandoned in its thread ends at once, and has never been."""
    with ability("threads"):
        async with a_file(b"abcdef") as (file, _):
            with gate("preadv") as held:
                with trio.fail_after(5):
                    scope = await cancelled_at_the_gate(held, partial(call, file))
                assert scope.cancelled_caught
                assert not held.left.is_set()
                assert file.read_offset == 0
                await held.let_go()
                assert file.read_offset == 0
            assert await file.read_to_end(10) == b"abcdef"


@pytest.mark.parametrize("name", ["write_view", "write_at"])
async def test_a_cancelled_write_is_waited_for(name):
    """Once a thread writes, the bytes are written, cancelled or not: nothing changes later."""
    async with a_file(b"......") as (file, raw):
        call = {
            "write_view": partial(file.write_view, BytesView(b"abc")),
            "write_at": partial(file.write_at, 0, BytesView(b"abc")),
        }[name]
        with gate("pwritev") as held:
            ended = trio.Event()
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    @nursery.start_soon
                    async def write() -> None:
                        await call()
                        ended.set()

                    await held.wait_entered()
                    scope.cancel()
                    with trio.CancelScope(shield=True):
                        await trio.testing.wait_all_tasks_blocked()
                        assert not ended.is_set()
                        held.opened.set()
            assert ended.is_set()
        assert os.pread(raw.fileno(), 10, 0) == b"abc..."
        assert file.write_offset == (3 if name == "write_view" else 0)


async def test_a_cancelled_long_write_says_how_far_it_came(monkeypatch):
    """The offset is behind the last byte that was written, so writing can go on from there."""
    monkeypatch.setattr(_file, "WRITE_NBYTES", 1_000)
    data = noise(5_500)
    async with a_file() as (file, raw):
        with trio.CancelScope() as scope:
            file._progress = lambda _: scope.cancel() if file.write_offset >= 2_000 else None
            await file.write_view(BytesView(data))
        assert scope.cancelled_caught
        done = file.write_offset
        assert 0 < done < len(data)
        assert await file.size() == done
        file._progress = None
        await file.write_view(BytesView(data[done:]))
        assert os.pread(raw.fileno(), 10_000, 0) == data


async def test_nothing_happens_to_who_is_cancelled_before(way):
    """Every method is a checkpoint, and the first thing it does is to be cancelled."""
    async with a_file(b"abc") as (file, raw):
        for call in (
            lambda: file.receive_view(),
            lambda: file.read_at(0, 3),
            lambda: file.read_at(0, 0),
            lambda: file.write_view(BytesView(b"x")),
            lambda: file.write_view(BytesView()),
            lambda: file.write_at(0, BytesView(b"x")),
            lambda: file.write_at(0, BytesView()),
            file.size,
            file.sync,
        ):
            with trio.CancelScope() as scope:
                scope.cancel()
                await call()
            assert scope.cancelled_caught
            with trio.testing.assert_checkpoints():
                await call()
        assert file.read_offset == 3
        assert os.pread(raw.fileno(), 10, 0) == b"xbc"


# Closing


async def test_a_closed_file_says_so(way):
    """By trio's word, for everything; and closing twice is harmless."""
    async with a_file(b"abc") as (file, _):
        await file.aclose()
        await file.aclose()
        for call in (
            lambda: file.receive_view(),
            lambda: file.read_at(0, 3),
            lambda: file.read_at(0, 0),
            lambda: file.write_view(BytesView(b"x")),
            lambda: file.write_at(0, BytesView(b"x")),
            lambda: file.write_at(0, BytesView()),
            file.size,
            file.sync,
        ):
            with pytest.raises(trio.ClosedResourceError), trio.testing.assert_checkpoints():
                await call()
        for move in (file.read_from, file.write_from):
            with pytest.raises(trio.ClosedResourceError):
                move(0)
        assert "closed" in repr(file)


@pytest.mark.parametrize("is_abandoned", [False, True], ids=["waited for", "abandoned"])
async def test_a_descriptor_is_not_given_away_under_a_thread(is_abandoned):
    """Closed while a thread is about to read: its number stays taken until the thread is through.

    Otherwise the next file that is opened gets the number, and the thread reads that.
    """
    with ability("threads"), gate("preadv") as held:
        async with a_file(b"ours") as (file, _):
            fd = file._handle.raw.fileno()
            if is_abandoned:
                await cancelled_at_the_gate(held, file.receive_view)
                await file.aclose()
                assert os.fstat(fd).st_size == 4
            else:
                async with trio.open_nursery() as nursery:

                    @nursery.start_soon
                    async def read() -> None:
                        with pytest.raises(trio.ClosedResourceError):
                            await file.receive_view()

                    await held.wait_entered()
                    await file.aclose()
                    assert os.fstat(fd).st_size == 4
                    held.opened.set()
            await held.let_go()
            while not file._handle.raw.closed:  # noqa: ASYNC110  # a thread has no event for it
                await trio.sleep(0.001)


async def test_a_cancelled_close_closes():
    """As trio's own files: the descriptor is gone, whatever else happens."""
    async with a_file() as (file, _):
        with trio.CancelScope() as scope:
            scope.cancel()
            await file.aclose()
        assert scope.cancelled_caught
        assert file._handle.raw.closed


async def test_a_file_that_nobody_closed_is_warned_of_as_python_does(tmp_path):
    """The descriptor is closed by its owner, with Python's own warning, and nothing hangs."""
    (tmp_path / "f").write_bytes(b"abc")
    file = await open_binary_file(tmp_path / "f")
    fd = file._handle.raw.fileno()
    await file.size()  # trio remembers what a thread has returned last, and a task's last value
    await trio.lowlevel.checkpoint()
    files = [file]
    del file
    with pytest.warns(ResourceWarning, match="unclosed file"):
        files.clear()
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_nothing_hangs_when_a_program_ends_with_a_thread_held_up():
    """A read that never comes back does not keep the interpreter from ending."""
    program = """
import os, tempfile, threading, trio
from trio_bytesbuf.io import File, _file_handle
_file_handle.CAN_READ_NOW = False
entered = threading.Event()
def never(*_):
    entered.set()
    threading.Event().wait()
os.preadv = never
async def main():
    async with File(tempfile.TemporaryFile(buffering=0)) as file:
        with trio.move_on_after(0.2):
            await file.receive_view()
        assert entered.is_set()
trio.run(main)
print("ended")
"""
    environment = {name: value for name, value in os.environ.items() if "COV" not in name}
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        timeout=30,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.stdout == "ended\n"
