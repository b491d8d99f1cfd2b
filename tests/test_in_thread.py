"""Files that block, as streams."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import threading

import pytest
import trio
import trio.testing
from busy_threads import no_thread_stays_busy, one_thread, wait_until  # noqa: F401  # fixtures
from pairs import noise

from trio_bytesbuf import BytesView
from trio_bytesbuf._errors import BadSource
from trio_bytesbuf.io import (
    BlockingReader,
    GuardedRead,
    GuardedWrite,
    MinRate,
    ReadInThread,
    WriteInThread,
    copy,
    open_binary_file,
    produced_by,
)
from trio_bytesbuf.testing import SINK_CHECKS, SOURCE_CHECKS, FakeRead, FakeWrite

in_thread = trio.to_thread.run_sync


@pytest.mark.parametrize("check", SOURCE_CHECKS)
async def test_a_file_read_in_threads_is_a_read(check):
    """With all that is promised of one."""

    async def make(contents):
        return ReadInThread(io.BytesIO(bytes(contents)))

    await check(make)


@pytest.mark.parametrize("check", SINK_CHECKS)
async def test_a_file_written_in_threads_is_a_write(check):
    """With all that is promised of one."""

    async def make():
        arrived = bytearray()

        class Into(io.RawIOBase):
            def write(self, data):
                arrived.extend(data)
                return len(data)

        async def arrived_so_far():
            return bytes(arrived)

        return WriteInThread(Into()), arrived_so_far

    await check(make)


class Slow(io.RawIOBase):
    """A file that returns what it is given, when it is given it."""

    def __init__(self):
        self.came = threading.Semaphore(0)
        self.parts = []
        self.calls = 0

    def give(self, part: bytes) -> None:
        self.parts.append(part)
        self.came.release()

    def read(self, _size: int = -1) -> bytes:
        self.calls += 1
        assert self.came.acquire(timeout=5)
        return self.parts.pop(0)


async def test_a_read_in_a_thread_that_nobody_waits_for_keeps_what_it_gets():
    """Cancelled at once, and the next read goes on with the same call."""
    file = Slow()
    async with ReadInThread(file) as source:
        for _ in range(3):
            with trio.move_on_after(0.05) as scope:
                await source.receive_view()
            assert scope.cancelled_caught
        assert file.calls == 1
        file.give(b"abcdef")
        assert await source.receive_view(2) == b"ab"
        assert await source.read_exactly(4) == b"cdef"
        assert file.calls == 1
        for part in (b"gh", b"i", b""):
            file.give(part)
        assert await source.read_to_end(10) == b"ghi"
        assert not await source.receive_view()
        assert file.calls == 4


async def test_closing_does_not_wait_for_a_read_that_waits():
    """Who waits is told; the file is closed when its call has returned."""
    file = Slow()
    source = ReadInThread(file)
    async with trio.open_nursery() as nursery:

        async def read():
            with pytest.raises(trio.ClosedResourceError):
                await source.receive_view()

        nursery.start_soon(read)
        await wait_until(lambda: file.calls)
        await source.aclose()
    assert not file.closed
    file.give(b"too late")
    await wait_until(lambda: file.closed)


async def test_a_file_is_read_and_written_through_threads(tmp_path):
    """gzip, with partial writes of a raw file, errors, and what is no binary file."""
    path = tmp_path / "a.gz"
    async with WriteInThread(gzip.open(path, "wb")) as sink:
        for at in range(0, 500_000, 100_000):
            await sink.write_view(BytesView(noise(500_000)[at : at + 100_000]))
    async with ReadInThread(gzip.open(path)) as source:
        assert await source.read_to_end(500_000) == noise(500_000)

    class OneByOne(io.RawIOBase):
        got = b""

        def write(self, data):
            self.got += bytes(data[:1])
            return 1

    raw = OneByOne()
    async with WriteInThread(raw) as sink:
        await sink.write_view(BytesView(b"abc") + b"def")
    assert raw.got == b"abcdef"
    assert raw.closed
    closed = io.BytesIO()
    closed.close()
    with pytest.raises(ValueError, match="closed"):
        await ReadInThread(closed).receive_view()
    with pytest.raises(ValueError, match="closed"):
        await WriteInThread(closed).write_view(BytesView(b"a"))
    for kind in (ReadInThread, WriteInThread):
        for mistake in (io.StringIO(), 5):
            with pytest.raises(TypeError):
                kind(mistake)


async def test_a_file_that_would_block_is_no_source_for_threads():
    """It returns None instead of waiting, and that is neither bytes nor the end."""

    class NonBlocking(io.RawIOBase):
        def read(self, _size=-1):
            return None

    with pytest.raises(BadSource, match="NoneType"):
        await ReadInThread(NonBlocking()).receive_view()


async def test_closing_waits_for_a_write_that_was_begun():
    """And the file is closed after it."""
    gate = threading.Event()

    class Gated(io.BytesIO):
        got = b""

        def write(self, data):
            assert gate.wait(5)
            self.got += bytes(data)
            return super().write(data)

    file = Gated()
    sink = WriteInThread(file)
    async with trio.open_nursery() as nursery:

        async def write():
            with pytest.raises(trio.ClosedResourceError):
                await sink.write_view(BytesView(b"abc"))

        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked(0.02)
        nursery.start_soon(sink.aclose)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert not file.closed
        gate.set()
    assert file.closed
    assert file.got == b"abc"


async def test_it_says_what_it_stands_on():
    """In its repr, for whoever looks for the reason of a wait."""
    file = io.BytesIO()
    assert repr(ReadInThread(file)) == f"<ReadInThread of {file!r}>"
    assert repr(WriteInThread(file)) == f"<WriteInThread to {file!r}>"


# Reading: how much, how often, and what goes wrong


class Counting(io.BytesIO):
    """Bytes that count how often they are asked, and for how much."""

    def __init__(self, data: bytes):
        super().__init__(data)
        self.asked = []

    def read1(self, size=-1):
        self.asked.append(size)
        return super().read1(size)


@pytest.mark.parametrize("nbytes", [1, 16, 1000])
async def test_short_reads_of_a_file_that_reads_ahead_are_few_calls(nbytes):
    """Of files with `read1`; others are asked for no more than is wanted."""
    file = Counting(noise(300_000))
    async with ReadInThread(file) as source:
        for at in range(0, 20 * nbytes, nbytes):
            assert await source.read_exactly(nbytes) == noise(300_000)[at : at + nbytes]
        assert file.asked == [262_144]
        assert await source.receive_view(3) == noise(300_000)[20 * nbytes :][:3]
        assert await source.read_to_end(300_000) == noise(300_000)[20 * nbytes + 3 :]
        assert len(file.asked) == 3  # the last one is the end
    asked = []

    class Plain:
        def read(self, size):
            asked.append(size)
            return b"a" * min(size, 1000)

        def close(self):
            pass

    async with ReadInThread(Plain()) as source:
        assert len(await source.receive_view(nbytes)) == nbytes
        assert len(await source.receive_view()) == 1000
        assert len(await source.receive_view(1_000_000)) == 1000
    assert asked == [nbytes, 262_144, 262_144]


@pytest.mark.parametrize("kind", [OSError, SystemExit, KeyboardInterrupt])
async def test_what_the_file_raises_in_its_thread_is_raised_by_the_read(kind):
    """Whatever it is; and the next read calls the file again."""

    class Unlucky(io.BytesIO):
        def read1(self, size=-1):
            if self.getvalue() == b"":
                self.write(b"abc")
                self.seek(0)
                raise kind("unlucky")
            return super().read1(size)

    async with ReadInThread(Unlucky()) as source:
        with pytest.raises(kind, match="unlucky"):
            await source.receive_view()
        assert await source.read_to_end(10) == b"abc"


# Threads: whose limit they count against


async def test_silent_files_leave_the_process_its_threads(one_thread, tmp_path):  # noqa: F811
    """However many receives of them nobody waits for any more."""
    path = tmp_path / "file"
    await trio.Path(path).write_bytes(b"of a file")
    pipes = [os.pipe() for _ in range(4)]
    sources = [ReadInThread(os.fdopen(reading, "rb", buffering=0)) for reading, _ in pipes]
    with trio.fail_after(5):
        for source in sources:
            with trio.move_on_after(0.02) as scope:
                await source.receive_view()
            assert scope.cancelled_caught
        async with await open_binary_file(path) as file:
            assert await file.read_to_end(10) == b"of a file"
        for number, (_, writing) in enumerate(pipes):
            os.write(writing, b"%d" % number)
            os.close(writing)
        for number, source in enumerate(sources):
            assert await source.read_to_end(10) == b"%d" % number
            await source.aclose()


async def test_clogged_files_leave_the_process_its_threads(one_thread, tmp_path):  # noqa: F811
    """Who reads what they write may need one."""
    path = tmp_path / "file"
    pipes = [os.pipe() for _ in range(3)]
    readers = [os.fdopen(reading, "rb") for reading, _ in pipes]

    async def write(fd):
        async with WriteInThread(os.fdopen(fd, "wb", buffering=0)) as sink:
            await sink.write_view(BytesView(noise(200_000)))

    async with trio.open_nursery() as nursery:
        for _, writing in pipes:
            nursery.start_soon(write, writing)
        await trio.testing.wait_all_tasks_blocked(0.05)
        try:
            with trio.fail_after(3):
                async with await open_binary_file(path, "w") as file:
                    for reader in readers:
                        assert await copy(ReadInThread(reader), file) == 200_000
        finally:
            for reader in readers:
                reader.close()  # which ends the writes, whatever happens
    assert await trio.Path(path).read_bytes() == noise(200_000) * 3


# Standard input


async def python(script: str) -> subprocess.CompletedProcess:
    """Run a Python whose standard input is silent, and which measures no coverage."""
    environ = {name: value for name, value in os.environ.items() if "COV" not in name}
    reading, writing = os.pipe()
    try:
        with trio.fail_after(20):
            return await trio.run_process(
                [sys.executable, "-c", script],
                env=environ,
                stdin=reading,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
    finally:
        os.close(reading)
        os.close(writing)


SILENT_INPUT = """
import os, sys, trio
from trio_bytesbuf.io import FdStream, ReadInThread
async def main():
    source = {source}
    with trio.move_on_after(0.1) as scope:
        await source.receive_view()
    assert scope.cancelled_caught
    print("cancelled")
trio.run(main)
"""


@pytest.mark.parametrize(
    "source", ["ReadInThread(sys.stdin.buffer.raw)", "FdStream(os.dup(0))"], ids=["raw", "dup"]
)
async def test_a_program_that_gives_up_on_a_silent_standard_input_ends_well(source):
    """Though a thread still waits in it."""
    program = await python(SILENT_INPUT.format(source=source))
    assert program.returncode == 0, program.stderr
    assert program.stdout.split() == [b"cancelled"]


async def test_the_buffer_of_standard_input_is_refused():
    """As Python would abort at its end; whichever of the names it has."""
    script = (
        "import io, sys\n"
        "from trio_bytesbuf.io import ReadInThread\n"
        "mistakes = [sys.stdin.buffer, sys.__stdin__.buffer]\n"
        "sys.stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(b'')))\n"
        "mistakes += [sys.stdin.buffer, sys.__stdin__.buffer]\n"
        "for mistake in mistakes:\n"
        "    try:\n"
        "        ReadInThread(mistake)\n"
        "    except ValueError as exc:\n"
        "        print(exc)\n"
        "sys.stdin = None\n"
        "ReadInThread(io.BufferedReader(io.BytesIO(b'')))\n"
    )
    program = await python(script)
    assert program.returncode == 0, program.stderr
    assert program.stdout.count(b"FdStream(os.dup(0))") == 4
    assert program.stdout.count(b"sys.stdin.buffer.raw") == 4


# Writing: files that do not take everything


async def test_a_file_that_would_block_does_not_take_all():
    """A raw file says None then, and what it took is what arrived before the error."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with os.fdopen(reading, "rb") as pipe:
        async with WriteInThread(os.fdopen(writing, "wb", buffering=0)) as sink:
            with pytest.raises(BlockingIOError):
                await sink.write_view(BytesView(noise(200_000)))
        arrived = pipe.read()
    assert len(arrived) < 200_000
    assert noise(200_000).startswith(arrived)


async def test_a_file_that_is_no_raw_one_may_return_none():
    """As things that are nearly files do: then all is written."""

    class Nearly:
        got = b""

        def write(self, data):
            self.got += data

        def close(self):
            pass

    file = Nearly()
    await WriteInThread(file).write_view(BytesView(b"abc") + b"def")
    assert file.got == b"abcdef"


@pytest.mark.parametrize("returned", [0, -1])
async def test_a_file_that_writes_nothing_is_an_error(returned):
    """And no thread that tries for ever."""

    class Stuck(io.RawIOBase):
        def write(self, _data):
            return returned

    with trio.fail_after(5), pytest.raises(OSError, match="writes nothing"):
        await WriteInThread(Stuck()).write_view(BytesView(b"abc"))


async def test_an_error_of_a_write_that_is_kept_keeps_no_memory():
    """Neither trio's frames nor the thread's refer to what was to be written."""
    file = io.BytesIO()  # no frame of whose write would refer to it
    file.close()
    data = bytearray(b"abc")
    with pytest.raises(ValueError, match="closed") as caught:
        await WriteInThread(file).write_view(BytesView(memoryview(data)))
    data.append(0)  # BufferError if anybody still has it
    assert caught.value.__traceback__ is not None


# Pairs


@pytest.mark.parametrize("check", SOURCE_CHECKS)
@pytest.mark.parametrize("at_a_time", [20, 1000])
async def test_a_source_as_a_file_as_a_source_is_a_read(check, at_a_time):
    """`ReadInThread` of a `BlockingReader`: a wait of trio's in a thread, in a system task."""

    async def make(contents):
        return ReadInThread(BlockingReader(FakeRead(bytes(contents), max_read_nbytes=at_a_time)))

    await check(make)


async def test_a_file_as_a_source_as_a_file_is_the_file(one_thread):  # noqa: F811
    """`BlockingReader` of a `ReadInThread`, with one thread for the process."""
    packed = gzip.compress(noise(300_000))
    source = ReadInThread(gzip.GzipFile(fileobj=io.BytesIO(packed)))
    with trio.fail_after(5), BlockingReader(source) as file:
        assert await in_thread(file.read, 100_000) == noise(300_000)[:100_000]
    assert await source.read_to_end(300_000) == noise(300_000)[100_000:]
    await source.aclose()


async def test_guards_and_functions_in_threads():
    """What a function writes, read by a guard, and written by a guard in front of a file."""
    file = io.BytesIO()
    file.close = lambda: None
    rate = MinRate(1, seconds=5)
    async with (
        produced_by(lambda file: file.write(noise(600_000))) as source,
        WriteInThread(file) as sink,
    ):
        guarded = GuardedRead(source, rate)
        assert await guarded.read_exactly(10) == noise(600_000)[:10]
        assert await copy(guarded, GuardedWrite(sink, rate)) == 600_000 - 10
    assert file.getvalue() == noise(600_000)[10:]
    sink = FakeWrite()
    async with ReadInThread(io.BytesIO(b"abc")) as source:
        await copy(GuardedRead(source, rate), GuardedWrite(sink, rate))
    assert sink.contents == b"abc"
