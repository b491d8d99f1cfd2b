"""Streams as files that block, for code in threads."""

from __future__ import annotations

import csv
import gc
import gzip
import hashlib
import io
import math
import os
import tarfile
import threading
import zipfile
from contextlib import AsyncExitStack
from functools import partial

import pytest
import trio
import trio.testing
from busy_threads import no_thread_stays_busy, one_thread, wait_until  # noqa: F401  # fixtures
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import closing, noise, socketpair

from trio_bytesbuf import BytesReader, BytesView
from trio_bytesbuf.io import (
    BlockingReader,
    BlockingWriter,
    ReadInThread,
    WriteInThread,
    consumed_by,
    open_binary_file,
    produced_by,
)
from trio_bytesbuf.testing import Delay, FakeRead, FakeWrite

in_thread = trio.to_thread.run_sync


# Reading: the same bytes as any other file


CALLS = st.one_of(
    st.tuples(
        st.sampled_from(["read", "read1", "readline", "readinto", "readinto1"]), st.integers(0, 40)
    ),
    st.tuples(st.sampled_from(["readline", "peek"]), st.none()),
)


def called(file, name: str, size: int | None):
    """Call a method of a file; of methods that may return less, what they promise."""
    if name.startswith("readinto"):
        room = bytearray(size)
        return bytes(room[: getattr(file, name)(room)])
    return getattr(file, name)(*() if size is None else (size,))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from([b"ab", b"\n", b"c" * 9, bytes(20)])).map(b"".join),
    st.integers(1, 12),
    st.lists(CALLS, max_size=12),
)
async def test_a_reader_reads_what_a_file_of_the_same_bytes_does(data, at_a_time, calls):
    """Whatever comes in one receive, and the rest is put back when it is closed."""
    source = FakeRead(data, max_read_nbytes=at_a_time)
    model = io.BytesIO(data)

    def work(file):
        with file:
            for name, size in calls:
                got = called(file, name, size)
                if name in {"read", "readline", "readinto"}:
                    assert got == called(model, name, size)
                else:
                    wanted = size if name != "peek" else len(data)
                    rest = data[model.tell() :]
                    assert rest.startswith(got)
                    assert len(got) <= wanted
                    assert got or not wanted or not rest
                    if name != "peek":
                        model.seek(len(got), io.SEEK_CUR)

    await in_thread(work, BlockingReader(source))
    assert await source.read_to_end(len(data)) == data[model.tell() :]


async def test_reading_to_the_end_iterating_and_text():
    """`read()`, ``for line in file``, `TextIOWrapper`, and the words for what a file can do."""
    lines = [b"%d\n" % n for n in range(3000)]
    data = b"".join(lines)
    assert await in_thread(BlockingReader(FakeRead(data)).read) == data
    assert await in_thread(BlockingReader(FakeRead(data)).read, None) == data
    assert await in_thread(list, BlockingReader(FakeRead(data, max_read_nbytes=7))) == lines
    with io.TextIOWrapper(BlockingReader(FakeRead("é\r\nü".encode(), max_read_nbytes=1))) as text:
        assert await in_thread(text.readlines) == ["é\n", "ü"]
    file = BlockingReader(FakeRead(b""))
    assert file.readable()
    assert not file.writable()
    assert not file.seekable()
    with pytest.raises(io.UnsupportedOperation):
        file.tell()
    assert await in_thread(file.read1) == await in_thread(file.read) == b""
    file.close()
    file.close()
    for call in (file.read, file.readable, file.readline, file.peek):
        with pytest.raises(ValueError, match="closed"):
            call()


async def test_a_line_is_returned_when_its_end_has_come():
    """And `read1`, `readinto1` and `peek` when anything has, though the peer falls silent."""
    for call, got in (
        (lambda file: file.readline(), b"abc\n"),
        (lambda file: file.readline(2), b"ab"),
        (lambda file: file.read1(), b"ab"),
        (lambda file: file.peek(100), b"ab"),
        (lambda file: file.readinto1(bytearray(100)), 2),
    ):
        with (
            trio.fail_after(2),
            BlockingReader(
                FakeRead(b"abc\nd", max_read_nbytes=2, script=[2, 2, Delay(math.inf)])
            ) as file,
        ):
            assert await in_thread(call, file) == got


async def test_many_small_receives_cost_one_trip_to_trio(monkeypatch):
    """A read that needs many receives waits for all of them in one go."""
    trips = []
    real = trio.from_thread.run
    monkeypatch.setattr(trio.from_thread, "run", lambda *args: (trips.append(args), real(*args))[1])
    file = BlockingReader(FakeRead(noise(5000), max_read_nbytes=10))
    assert await in_thread(file.read, 5000) == noise(5000)
    assert len(trips) == 1


MEMBERS = st.dictionaries(
    st.text("abcé/", min_size=1, max_size=20).filter(lambda name: name.strip("/") == name),
    st.binary(max_size=30) | st.integers(0, 200_000).map(noise),
    max_size=5,
)


def tar_of(members: dict[str, bytes], file) -> None:
    with tarfile.open(fileobj=file, mode="w|") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def digests_in_tar(file) -> dict[str, str]:
    with tarfile.open(fileobj=file, mode="r|*") as tar:
        return {
            member.name: hashlib.sha256(tar.extractfile(member).read()).hexdigest()
            for member in tar
        }


@settings(deadline=None, max_examples=15)
@given(MEMBERS)
async def test_an_archive_that_a_thread_packs_is_what_another_thread_unpacks(members):
    """Over a socket, by `BlockingWriter` and `BlockingReader`, with every byte as it was."""
    a, b = await socketpair()
    found = {}

    def pack(file):
        with file:
            tar_of(members, file)

    async def send():
        await in_thread(pack, BlockingWriter(a))
        await a.send_eof()

    async with closing(a, b), trio.open_nursery() as nursery:
        nursery.start_soon(send)
        with BlockingReader(b) as file:
            found = await in_thread(digests_in_tar, file)
        await b.read_to_end(20_480)  # what is behind the archive's end
    assert found == {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}


async def test_the_archives_and_tables_of_the_standard_library():
    """gzip, csv and zip, each from a function in a thread to a function in another."""
    rows = [[str(n), "é" * (n % 7), "a,b\nc"] for n in range(4000)]

    def write_rows(file):
        with gzip.open(file, "wt", newline="", encoding="utf-8") as text:
            csv.writer(text).writerows(rows)

    found = []

    def read_rows(file):
        with gzip.open(file, "rt", newline="", encoding="utf-8") as text:
            found.extend(csv.reader(text))

    async with produced_by(write_rows) as source, consumed_by(read_rows) as sink:
        async for view in source.views(100):
            await sink.write_view(view)
    assert found == rows

    def zip_noise(file):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("noise", noise(300_000))

    async with produced_by(zip_noise) as source:
        packed = await source.read_to_end(1_000_000)
    with zipfile.ZipFile(io.BytesIO(packed.to_bytes())) as archive:
        assert archive.read("noise") == noise(300_000)
        async with ReadInThread(archive.open("noise")) as source:
            assert await source.read_to_end(300_000) == noise(300_000)


# Reading: who owns the source


async def test_the_source_belongs_to_the_open_file_and_comes_back_with_what_is_left():
    """Closed by the thread, by a task, or by nobody: the rest of the stream is all there."""

    def three(file):
        with file:
            return file.read(3)

    def line(file):
        text = io.TextIOWrapper(file)  # which closes the file when it is dropped
        return text.buffer.readline()

    source = FakeRead(b"abcdef\nghij")
    assert await in_thread(three, BlockingReader(source)) == b"abc"
    with BlockingReader(source) as file:
        with pytest.raises(trio.BusyResourceError):
            await source.receive_view()
        assert await in_thread(file.read, 1) == b"d"
        with pytest.raises(trio.BusyResourceError):
            await source.receive_view()
        with pytest.raises(trio.BusyResourceError):
            BlockingReader(source)
    assert await in_thread(line, BlockingReader(source)) == b"ef\n"
    await wait_until(lambda: not source._is_receiving)
    assert await source.read_to_end(10) == b"ghij"


async def test_a_reader_wants_an_open_read():
    """Each mistake has its error, and leaves the source free."""
    with pytest.raises(TypeError):
        BlockingReader(io.BytesIO())
    with pytest.raises(TypeError):
        BlockingWriter(FakeRead(b""))
    source = FakeRead(b"a")
    await in_thread(partial(pytest.raises, RuntimeError, BlockingReader, source))
    assert await source.receive_view() == b"a"
    await source.aclose()
    with pytest.raises(trio.ClosedResourceError):
        BlockingReader(source)


async def test_a_file_in_the_wrong_thread_says_so_at_once():
    """In trio's thread and in somebody else's: an error, and never a deadlock."""
    file, writer = BlockingReader(FakeRead(b"abc")), BlockingWriter(FakeWrite())
    writer.write(b"x")
    for call in (file.read, file.readline, writer.flush):
        with pytest.raises(RuntimeError, match="use it in a thread"):
            call()
    raised = []

    def foreign():
        try:
            file.read(1)
        except RuntimeError as exc:
            raised.append(exc)

    thread = threading.Thread(target=foreign)
    thread.start()
    thread.join()
    assert "wasn't created by Trio" in str(raised)

    def other_run():
        trio.run(in_thread, file.read, 1)

    with pytest.raises(RuntimeError, match=r"another trio\.run"):
        await in_thread(other_run)
    assert await in_thread(file.read) == b"abc"


# Reading: cancellation


@pytest.mark.parametrize(
    ("call", "consumed"),
    [
        (lambda file: file.read(100), 0),
        (lambda file: file.read(), 0),
        (lambda file: file.readline(), 0),
        (lambda file: file.readinto(bytearray(100)), 0),
        (lambda file: [file.read(2), file.read(3), file.peek(), file.read(9)], 5),
        pytest.param(
            lambda file: [file.read(3), file.read1(), file.peek()],
            6,
            marks=pytest.mark.counts_memory,
        ),  # of which `read1` takes one receive
    ],
)
async def test_cancelling_the_task_ends_a_blocked_read_and_loses_nothing(call, consumed):
    """At once; and what the read had received comes from the source again, in order."""
    a, b = await socketpair()
    seen = []

    def work(file):
        try:
            call(file)
        except BaseException as exc:
            seen.append(exc)
            raise

    async with closing(a, b):
        await a.send_all(b"abc")
        file = BlockingReader(b)
        with trio.fail_after(2), trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(in_thread, work, file)
                await wait_until(lambda: b.statistics().receive_calls)
                await a.send_all(b"def")
                await wait_until(lambda: b.statistics().received_nbytes == 6)
                await trio.sleep(0.02)
                scope.cancel()
        assert [type(exc) for exc in seen] == [trio.Cancelled]
        file.close()
        await a.send_all(b"ghi")
        await a.send_eof()
        assert await b.read_to_end(100) == b"abcdefghi"[consumed:]


async def test_what_the_source_raises_is_raised_in_the_thread_and_what_came_before_is_read():
    """An error of the source's is the file's, and reading can go on."""
    source = FakeRead(b"abcdef", max_read_nbytes=3, script=[3, OSError("unlucky")])
    with BlockingReader(source) as file:
        with pytest.raises(OSError, match="unlucky"):
            await in_thread(file.read)
        assert await in_thread(file.read) == b"abcdef"


async def test_closing_the_source_ends_a_blocked_read():
    """The thread gets `trio.ClosedResourceError`."""
    a, b = await socketpair()
    async with closing(a, b), trio.open_nursery() as nursery:

        async def read():
            with pytest.raises(trio.ClosedResourceError):
                await in_thread(BlockingReader(b).read)

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked(0.05)
        await b.aclose()


@pytest.mark.parametrize("kind", ["socket", "file in a thread"])
async def test_a_thread_that_was_abandoned_loses_nothing_and_takes_nothing(kind):
    """Its file is closed while it still waits: it gets ValueError, and the source all bytes."""
    raised = []

    def read(file, nbytes):
        try:
            file.read(nbytes)
        except BaseException as exc:
            raised.append(exc)
            raise

    async with AsyncExitStack() as ends:
        if kind == "socket":
            sink, source = await socketpair()
            close_sink = sink.aclose
        else:
            reading, writing = os.pipe()
            source = ReadInThread(os.fdopen(reading, "rb", buffering=0))
            sink = WriteInThread(os.fdopen(writing, "wb", buffering=0))
            close_sink = sink.aclose
        ends.push_async_callback(source.aclose)
        ends.push_async_callback(close_sink)
        await sink.write_view(BytesView(b"0123456789"))
        file = BlockingReader(source)
        assert await in_thread(file.read, 4) == b"0123"
        with trio.move_on_after(0.1):
            await in_thread(read, file, 20, abandon_on_cancel=True)
        assert not raised
        with pytest.raises(trio.BusyResourceError, match="another thread"):
            await in_thread(file.read, 1)
        file.close()
        await wait_until(lambda: not source._is_receiving)
        assert [type(exc) for exc in raised] == [ValueError]
        await sink.write_view(BytesView(b"xyz"))
        await close_sink()
        assert await source.read_to_end(20) == b"456789xyz"


async def test_closing_takes_nothing_from_under_a_thread_that_does_not_wait(monkeypatch):
    """A read that has its bytes returns them, and the source is given back after it."""
    gate = threading.Event()
    got = []
    real = BytesReader.read

    def read_after_the_gate(reader, size):
        assert gate.wait(5)
        return real(reader, size)

    monkeypatch.setattr(BytesReader, "read", read_after_the_gate)
    source = FakeRead(b"abcdef", max_read_nbytes=3)
    file = BlockingReader(source)
    with trio.move_on_after(0.1):
        await in_thread(lambda: got.append(file.read(2)), abandon_on_cancel=True)
    file.close()
    for _ in range(3):
        await trio.sleep(0.01)
        with pytest.raises(trio.BusyResourceError):
            await source.receive_view()
    gate.set()
    await wait_until(lambda: not source._is_receiving)
    assert got == [b"ab"]
    assert await source.read_to_end(10) == b"cdef"


# Writing


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from([1, 1000, 65_536, 300_000]), st.booleans()), max_size=8))
async def test_a_writer_sends_what_is_written_in_order(writes):
    """Small and large, fixed and mutable, in memory that is bounded."""
    sink = FakeWrite()
    sent, most = b"", 0

    def work(file):
        nonlocal sent, most
        with file:
            for nbytes, is_fixed in writes:
                data = noise(nbytes, len(sent))
                mutable = bytearray(data)
                assert file.write(data if is_fixed else mutable) == nbytes
                mutable[:] = bytes(nbytes)
                sent += data
                most = max(most, len(file._buf))

    await in_thread(work, BlockingWriter(sink))
    assert sink.contents == sent
    assert most < 262_144


async def test_a_flush_sends_and_a_drop_does_not():
    """As no finalizer may wait."""
    sink = FakeWrite()
    file = BlockingWriter(sink)
    await in_thread(file.write, b"a")
    assert sink.contents == b""
    await in_thread(file.flush)
    assert sink.contents == b"a"
    await in_thread(file.write, b"b")
    del file
    gc.collect()
    with io.TextIOWrapper(BlockingWriter(sink), "utf-8") as text:
        await in_thread(text.write, "é")
        await in_thread(text.flush)
    assert sink.contents == b"a" + "é".encode()
    file = BlockingWriter(sink)
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.flush()


async def refused_in_a_task(_sink, call):
    """Call in the wrong thread."""
    with pytest.raises(RuntimeError, match="use it in a thread"):
        call()


async def refused_in_a_foreign_thread(_sink, call):
    """Call in a thread that trio knows nothing of."""
    raised = []

    def foreign():
        with pytest.raises(RuntimeError) as caught:
            call()
        raised.append(caught.value)

    thread = threading.Thread(target=foreign)
    thread.start()
    await wait_until(lambda: raised)
    thread.join()


async def refused_because_busy(sink, call):
    """Call while a task sends."""
    sink._is_sending = True
    with pytest.raises(trio.BusyResourceError):
        await in_thread(call)
    sink._is_sending = False


@pytest.mark.parametrize("method", ["flush", "close", "write"])
@pytest.mark.parametrize(
    "refused", [refused_in_a_task, refused_in_a_foreign_thread, refused_because_busy]
)
async def test_a_send_that_was_refused_loses_nothing(refused, method):
    """The file stays open, and closing it where that can be done sends everything."""
    sink = FakeWrite()
    file = BlockingWriter(sink)
    file.write(b"hello")
    if method == "write":
        await refused(sink, lambda: file.write(bytes(262_144)))
    else:
        await refused(sink, getattr(file, method))
    assert not file.closed
    assert sink.contents == b""
    await in_thread(file.write, b", world")
    await in_thread(file.close)
    assert file.closed
    sent = b"hello" + (bytes(262_144) if method == "write" else b"") + b", world"
    assert sink.contents == sent
    await in_thread(file.close)
    assert sink.contents == sent


async def test_after_a_send_that_failed_nothing_more_is_sent():
    """Closing is quiet then, and writing is not."""
    sink = FakeWrite(script=[OSError("unlucky")])
    file = BlockingWriter(sink)

    def work():
        file.write(b"abc")
        file.flush()

    with pytest.raises(OSError, match="unlucky"):
        await in_thread(work)
    for call in (file.flush, lambda: file.write(b"d")):
        with pytest.raises(trio.BrokenResourceError):
            await in_thread(call)
    await in_thread(file.close)
    assert sink.contents == b""


async def test_cancelling_the_task_ends_a_blocked_write():
    """The peer reads nothing, and the thread ends at once all the same."""
    a, b = await socketpair()

    def forever(file):
        with file:
            while True:
                file.write(bytes(100_000))

    async with closing(a, b):
        with trio.move_on_after(0.2) as scope:
            await in_thread(forever, BlockingWriter(a))
        assert scope.cancelled_caught


# Threads: whose limit they count against


async def test_parsers_with_a_limit_of_their_own_leave_the_process_its_threads(
    one_thread,  # noqa: F811
    tmp_path,
):
    """As the docstring of `BlockingReader` advises."""
    path = tmp_path / "file"
    await trio.Path(path).write_bytes(b"of a file")
    limiter = trio.CapacityLimiter(3)
    with trio.fail_after(5):
        async with AsyncExitStack() as ends, trio.open_nursery() as nursery:
            pairs = [await socketpair() for _ in range(3)]
            for a, b in pairs:
                await ends.enter_async_context(closing(a, b))
                file = ends.enter_context(BlockingReader(b))
                nursery.start_soon(partial(in_thread, file.read, limiter=limiter))
            await trio.testing.wait_all_tasks_blocked(0.05)
            async with await open_binary_file(path) as file:
                assert await file.read_to_end(10) == b"of a file"
            for a, _ in pairs:
                await a.send_eof()


async def test_everything_says_what_it_stands_on():
    """In its repr, for whoever looks for the reason of a wait."""
    source, sink = FakeRead(b""), FakeWrite()
    assert repr(BlockingReader(source)) == f"<BlockingReader of {source!r}>"
    assert repr(BlockingWriter(sink)) == f"<BlockingWriter to {sink!r}>"


@pytest.mark.parametrize("turn", range(5))
async def test_a_reader_in_a_dead_cycle_gives_back_what_it_has(turn: int) -> None:
    """The collector closes files in any order; what is in them is not lost, and trio not harmed."""
    source = FakeRead(b"some bytes")
    file = BlockingReader(source)
    assert await trio.to_thread.run_sync(file.read, 3) == b"som"
    cycle: list[object] = [file]
    cycle.append(cycle)
    file.cycle = cycle
    del file, cycle
    gc.collect()
    await trio.testing.wait_all_tasks_blocked()
    assert await source.read_to_end(100) == b"e bytes"
