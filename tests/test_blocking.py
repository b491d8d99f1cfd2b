"""Files that block, in threads, over streams; and functions of files as streams."""

from __future__ import annotations

import csv
import gc
import gzip
import hashlib
import io
import math
import tarfile
import threading
import zipfile
from contextlib import AsyncExitStack
from functools import partial

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import closing, noise, socketpair

from trio_bytesbuf import BytesView
from trio_bytesbuf._errors import BadSource
from trio_bytesbuf.io import (
    BlockingReader,
    BlockingWriter,
    Read,
    ReadInThread,
    Write,
    WriteInThread,
    consumed_by,
    produced_by,
)
from trio_bytesbuf.testing import SINK_CHECKS, SOURCE_CHECKS, Delay, FakeRead, FakeWrite

in_thread = trio.to_thread.run_sync


@pytest.fixture(autouse=True)
async def no_thread_stays_busy():
    """When a test is over, no thread of trio's runs anything, and no token is held."""
    yield
    with trio.fail_after(5):
        await trio.testing.wait_all_threads_completed()
    assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0


async def wait_until(true) -> None:
    """Wait until `true()`; for what threads do."""
    with trio.fail_after(5):
        while not true():  # noqa: ASYNC110  # a thread could not set an event at the right time
            await trio.sleep(0.002)


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
        (lambda file: [file.read(3), file.read1(), file.peek()], 6),
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


async def test_a_thread_that_was_abandoned_loses_nothing_either():
    """Its file is closed while it still waits: what it gets is the source's."""
    a, b = await socketpair()
    async with closing(a, b):
        file = BlockingReader(b)
        with trio.move_on_after(0.1):
            await in_thread(file.read, 2, abandon_on_cancel=True)
        file.close()
        await a.send_all(b"xyz")
        await wait_until(lambda: b._kept)
        await wait_until(lambda: not b._is_receiving)
        await a.send_eof()
        assert await b.read_to_end(9) == b"xyz"


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


# A function that writes, as a source


async def test_a_producer_waits_for_its_reader():
    """At most two sends are on their way, however much there is to write."""
    written = []

    def work(file):
        written.extend(file.write(bytes(100_000)) for _ in range(100))

    async with produced_by(work) as source:
        assert isinstance(source, Read)
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert sum(written) <= 2 * 262_144
        assert len(await source.read_exactly(1)) == 1
        assert len(await source.read_to_end(10_000_000)) == 10_000_000 - 1
        assert not await source.receive_view()


async def test_what_a_producer_raises_comes_after_what_it_wrote():
    """Once as itself, and as a broken resource after that."""

    def work(file):
        file.write(b"abc")
        raise LookupError("lost")

    async with produced_by(work) as source:
        assert await source.receive_view(2) == b"ab"
        assert await source.receive_view() == b"c"
        with pytest.raises(LookupError, match="lost"):
            await source.receive_view()
        with pytest.raises(trio.BrokenResourceError) as caught:
            await source.receive_view()
        assert isinstance(caught.value.__cause__, LookupError)
    with pytest.raises(LookupError, match="lost"):
        async with produced_by(work) as source:
            await source.read_exactly(10)

    async def leave_when_it_has_failed():
        async with produced_by(work) as source:
            assert await source.read_exactly(3) == b"abc"
            await trio.testing.wait_all_threads_completed()

    with pytest.raises(LookupError, match="lost"):
        await leave_when_it_has_failed()
    with pytest.raises(KeyError, match="of the block"):
        async with produced_by(work):
            raise KeyError("of the block")


@pytest.mark.parametrize("way", ["leave", "close", "cancel", "raise"])
async def test_a_producer_ends_with_its_block(way):
    """Left early, closed, cancelled or with an error: the thread is told by `trio.Cancelled`."""
    told = []

    def work(file):
        try:
            while True:
                file.write(bytes(300_000))
        except BaseException as exc:
            told.append(type(exc))
            raise

    with trio.fail_after(3):
        if way == "raise":
            with pytest.raises(KeyError):  # noqa: PT012  # the block is what is tested
                async with produced_by(work) as source:
                    await source.receive_view()
                    raise KeyError
        elif way == "cancel":
            with trio.move_on_after(0.1) as scope:
                async with produced_by(work):
                    await trio.sleep_forever()
            assert scope.cancelled_caught
        else:
            async with produced_by(work) as source:
                await source.receive_view()
                if way == "close":
                    await source.aclose()
                    await trio.testing.wait_all_threads_completed()
                    assert told
    assert told == [trio.Cancelled]


async def test_a_source_of_a_producer_keeps_the_promises_of_reads():
    """Cut by `max_bytes`, closed while somebody waits, and empty."""
    async with produced_by(lambda file: file.write(b"abcdef")) as source:
        assert [view.to_bytes() async for view in source.views(4)] == [b"abcd", b"ef"]
    async with produced_by(lambda _: None) as source:
        assert not await source.receive_view()
    gate = threading.Event()
    async with produced_by(lambda _: gate.wait(5)) as source, trio.open_nursery() as nursery:

        async def read():
            with pytest.raises(trio.ClosedResourceError):
                await source.receive_view()

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await source.aclose()
        gate.set()


# A function that reads, as a sink


async def test_a_consumer_reads_what_is_written_and_the_block_waits_for_it():
    """Then what it made of it is there."""
    members = {"a": noise(100_000), "b": b""}
    archive = io.BytesIO()
    tar_of(members, archive)
    found = {}

    def work(file):
        found.update(digests_in_tar(file))
        file.read()  # what is behind the archive's end

    async with consumed_by(work) as sink:
        assert isinstance(sink, Write)
        await sink.write_view(BytesView())
        await sink.write_view(BytesView(archive.getvalue()))
    assert found == {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}


async def test_what_a_consumer_raises_is_raised_by_the_write_or_the_block():
    """And a consumer that has returned reads no more."""

    def fail(file):
        file.read(3)
        raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        async with consumed_by(fail) as sink:
            await sink.write_view(BytesView(b"abc"))
    async with consumed_by(fail) as sink:
        await sink.write_view(BytesView(b"abc"))
        with pytest.raises(LookupError, match="lost"):
            await sink.write_view(BytesView(b"d"))
        with pytest.raises(trio.BrokenResourceError):
            await sink.write_view(BytesView(b"d"))
    async with consumed_by(lambda _: None) as sink:
        with pytest.raises(trio.BrokenResourceError):
            await sink.write_view(BytesView(b"d"))


@pytest.mark.parametrize("way", ["cancel", "raise"])
async def test_a_consumer_never_takes_a_part_for_the_whole(way):
    """A block that fails does not end the file; it ends the thread."""
    told = []

    def work(file):
        try:
            file.read()
        except BaseException as exc:
            told.append(type(exc))
            raise

    with trio.fail_after(3):
        if way == "raise":
            with pytest.raises(KeyError):  # noqa: PT012  # the block is what is tested
                async with consumed_by(work) as sink:
                    await sink.write_view(BytesView(b"part"))
                    raise KeyError
        else:
            with trio.move_on_after(0.1) as scope:
                async with consumed_by(work) as sink:
                    await sink.write_view(BytesView(b"part"))
                    await trio.sleep_forever()
            assert scope.cancelled_caught
    assert told == [trio.Cancelled]


@pytest.mark.parametrize("check", SOURCE_CHECKS)
async def test_what_a_producer_writes_is_a_read(check):
    """With all that is promised of one; in several pieces, and all at once."""
    for at_a_time in (17, 100):
        async with AsyncExitStack() as blocks:

            async def make(contents, at_a_time=at_a_time, blocks=blocks):
                data = bytes(contents)

                def work(file):
                    for at in range(0, len(data), at_a_time):
                        file.write(data[at : at + at_a_time])
                        file.flush()

                return await blocks.enter_async_context(produced_by(work))

            await check(make)


# Files as streams


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


async def test_everything_says_what_it_stands_on():
    """In its repr, for whoever looks for the reason of a wait."""
    file = io.BytesIO()
    assert repr(ReadInThread(file)) == f"<ReadInThread of {file!r}>"
    assert repr(WriteInThread(file)) == f"<WriteInThread to {file!r}>"
    source, sink = FakeRead(b""), FakeWrite()
    assert repr(BlockingReader(source)) == f"<BlockingReader of {source!r}>"
    assert repr(BlockingWriter(sink)) == f"<BlockingWriter to {sink!r}>"

    def work(_file):
        pass

    async with produced_by(work) as written, consumed_by(work) as read:
        assert "work" in repr(written)
        assert "writes" in repr(written)
        assert "reads" in repr(read)


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
