"""Functions in threads, of files, as streams."""

from __future__ import annotations

import gzip
import hashlib
import threading
from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing
from busy_threads import no_thread_stays_busy, one_thread, wait_until  # noqa: F401  # fixtures
from pairs import noise

from trio_bytesbuf import BytesView
from trio_bytesbuf.io import (
    Read,
    Write,
    consumed_by,
    copy,
    open_binary_file,
    produced_by,
)
from trio_bytesbuf.testing import SOURCE_CHECKS

in_thread = trio.to_thread.run_sync


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
    found = []

    def work(file):
        with gzip.open(file) as unpacked:
            found.append(unpacked.read())

    async with consumed_by(work) as sink:
        assert isinstance(sink, Write)
        await sink.write_view(BytesView())
        await sink.write_view(BytesView(gzip.compress(noise(400_000))))
    assert found == [noise(400_000)]


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


# Threads: whose limit they count against


async def test_functions_in_threads_leave_the_process_its_threads(one_thread, tmp_path):  # noqa: F811
    """What they wait for may need one: files do, here at both ends of many functions."""
    path = tmp_path / "file"
    data = noise(300_000)
    await trio.Path(path).write_bytes(data)
    digests = []

    async def consume():
        async with (
            consumed_by(lambda file: digests.append(hashlib.sha256(file.read()).digest())) as sink,
            await open_binary_file(path) as file,
        ):
            await trio.testing.wait_all_tasks_blocked(0.05)  # all threads wait
            await copy(file, sink)

    async def produce(number):
        async with (
            produced_by(lambda file: file.write(data)) as source,
            await open_binary_file(tmp_path / f"file{number}", "w") as file,
        ):
            await trio.testing.wait_all_tasks_blocked(0.05)
            await copy(source, file)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(consume)
                nursery.start_soon(produce, number)
    assert digests == [hashlib.sha256(data).digest()] * 4
    for number in range(4):
        assert await trio.Path(tmp_path / f"file{number}").read_bytes() == data


async def test_they_say_what_they_stand_on():
    """In their repr, for whoever looks for the reason of a wait."""

    def work(_file):
        pass

    async with produced_by(work) as written, consumed_by(work) as read:
        assert "work" in repr(written)
        assert "writes" in repr(written)
        assert "reads" in repr(read)
