"""Files: the right bytes at the right offsets, and what is no file is refused."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import trio
from files import MEMORIES, WAYS, a_file, ability, each_way, gate
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import noise

from trio_bytesbuf import BytesView
from trio_bytesbuf.io import File, open_binary_file, send_file
from trio_bytesbuf.testing import SINK_CHECKS, SOURCE_CHECKS, FakeWrite, FixedBlockMemory

way = each_way


SETTINGS = settings(max_examples=60, deadline=None)


# The right bytes at the right offsets


OFFSET = st.integers(0, 60)


DATA = st.binary(max_size=40)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("receive"), st.integers(1, 40)),
        st.tuples(st.just("read_exactly"), st.integers(0, 40)),
        st.tuples(st.just("write"), DATA),
        st.tuples(st.just("read_at"), OFFSET, st.integers(0, 60)),
        st.tuples(st.just("write_at"), OFFSET, DATA),
        st.tuples(st.just("read_from"), OFFSET),
        st.tuples(st.just("write_from"), OFFSET),
        st.tuples(st.just("truncate"), OFFSET),
    ),
    max_size=12,
)


def model_write(model: io.BytesIO, offset: int, data: bytes) -> None:
    """Write as the system does: nothing at all for no bytes."""
    if data:
        model.seek(0, os.SEEK_END)
        model.write(bytes(max(0, offset - model.tell())))
        model.seek(offset)
        model.write(data)


@pytest.mark.parametrize("way_name", WAYS)
@SETTINGS
@given(DATA, STEPS, st.sampled_from(sorted(MEMORIES)))
async def test_a_file_is_a_bytesio_with_two_offsets(way_name, contents, steps, memory):
    """Whatever is called in whatever order, bytes, offsets and size are those of the model."""
    model = io.BytesIO(contents)
    read_at = write_at = 0
    with ability(way_name):
        async with a_file(contents, MEMORIES[memory]()) as (file, raw):
            for name, *args in steps:
                data = model.getvalue()
                match name, args:
                    case "receive", [n]:
                        got = bytes(await file.receive_view(n))
                        assert got == data[read_at : read_at + len(got)]
                        assert got or read_at >= len(data)
                        read_at += len(got)
                    case "read_exactly", [n]:
                        there = data[read_at : read_at + n]
                        if len(there) == n:
                            assert await file.read_exactly(n) == there
                            read_at += n
                        else:
                            with pytest.raises(EOFError):
                                await file.read_exactly(n)
                            file.read_from(read_at)  # or it would keep what is changed below
                    case "write", [new]:
                        await file.write_view(BytesView(new))
                        model_write(model, write_at, new)
                        write_at += len(new)
                    case "read_at", [at, n]:
                        assert await file.read_at(at, n) == data[at : at + n]
                    case "write_at", [at, new]:
                        await file.write_at(at, BytesView(new[:3]) + new[3:])
                        model_write(model, at, new)
                    case "read_from", [read_at]:
                        file.read_from(read_at)
                    case "write_from", [write_at]:
                        file.write_from(write_at)
                    case "truncate", [n]:
                        raw.truncate(min(n, len(data)))
                        model.truncate(n)
                assert file.read_offset == read_at
                assert file.write_offset == write_at
                assert await file.size() == len(model.getvalue())
            assert os.pread(raw.fileno(), 1000, 0) == model.getvalue()


@pytest.mark.parametrize("memory", MEMORIES.values(), ids=MEMORIES.keys())
async def test_a_large_file_comes_whole(way, memory):
    """However small the blocks, and whatever is leased for one read, every byte comes once."""
    data = noise(20_000 if isinstance(memory(), FixedBlockMemory) else 3_000_001)
    async with a_file(data, memory()) as (file, _):
        found = [bytes(view) async for view in file.views()]
        assert b"".join(found) == data
        assert await file.read_at(5, len(data)) == data[5:]


async def test_many_pieces_are_written(way):
    """More pieces than one system call takes, small and large ones, come out in order."""
    pieces = [noise(1 if i % 3 else 1_500, seed=i) for i in range(4_000)]
    async with a_file() as (file, raw):
        await file.write_view(BytesView.from_views(map(BytesView, pieces)))
        assert file.write_offset == sum(map(len, pieces))
        raw.seek(0)
        assert raw.readall() == b"".join(pieces)


async def test_partial_writes_go_on(monkeypatch):
    """The system may write as little as it likes, in the middle of a piece or not."""

    def lazy(fd, buffers, offset):
        return os.pwrite(fd, b"".join(buffers)[:1_000], offset)

    monkeypatch.setattr(os, "pwritev", lazy)
    data = noise(40_000)
    async with a_file() as (file, raw):
        await file.write_view(BytesView(data[:20_000]) + data[20_000:])
        await file.write_at(1, BytesView(data))
        assert os.pread(raw.fileno(), 50_000, 0) == data[:1] + data


async def test_partial_reads_go_on(way, monkeypatch):
    """The system may read as little as it likes; `read_at` returns what it was asked for."""
    call = os.preadv
    monkeypatch.setattr(
        os, "preadv", lambda fd, windows, *rest: call(fd, [windows[0][:900]], *rest)
    )
    data = noise(10_000)
    async with a_file(data) as (file, _):
        assert await file.read_at(3, 9_000) == data[3:9_003]
        assert await file.read_exactly(10_000) == data


async def test_the_end_of_five_gigabytes(tmp_path, way):
    """Offsets that 32 bits cannot hold are offsets; a hole is read as zeros."""
    at = 5 << 30
    with (tmp_path / "sparse").open("wb") as made:
        made.truncate(at)
    async with await open_binary_file(tmp_path / "sparse", "r+") as file:
        await file.write_at(at, BytesView(b"the end"))
        assert await file.size() == at + 7
        assert await file.read_at(at - 3, 100) == b"\0\0\0the end"
        file.read_from(at)
        assert await file.receive_view() == b"the end"
        assert file.read_offset == at + 7
        assert not await file.receive_view()


async def test_a_file_that_is_cut_short_just_ends(way):
    """Somebody truncates it between two reads: what is left comes, then the end."""
    async with a_file(noise(10_000)) as (file, raw):
        assert len(await file.read_exactly(6_000)) == 6_000
        raw.truncate(5_000)
        assert not await file.receive_view()
        assert await file.read_at(4_990, 100) == noise(10_000)[4_990:5_000]


async def test_a_file_that_grows_goes_on(way):
    """The end is where it is when a read gets there."""
    async with a_file(b"one") as (file, raw):
        assert await file.read_to_end(100) == b"one"
        raw.seek(0, os.SEEK_END)
        raw.write(b"two")
        assert await file.receive_view() == b"two"


async def test_the_page_cache_may_say_nothing_where_there_is_something(monkeypatch):
    """Some kernels say 0 for what is not in the page cache; only a thread is believed."""
    call = os.preadv
    monkeypatch.setattr(
        os, "preadv", lambda fd, windows, at, *flags: 0 if flags else call(fd, windows, at)
    )
    async with a_file(b"there") as (file, _):
        assert await file.receive_view() == b"there"


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL])
async def test_file_systems_without_a_page_cache_to_ask_are_not_asked_twice(monkeypatch, code):
    """One refusal is enough, and what is read is right."""
    call, asked = os.preadv, []

    def refuse(fd, windows, at, *flags):
        if flags:
            asked.append(at)
            raise OSError(code, os.strerror(code))
        return call(fd, windows, at)

    monkeypatch.setattr(os, "preadv", refuse)
    async with a_file(b"abcdef") as (file, _):
        assert [await file.receive_view(2) for _ in range(3)] == [b"ab", b"cd", b"ef"]
    assert asked == [0]


async def test_what_is_not_in_the_page_cache_is_read_by_a_thread(tmp_path):
    """The way from the disk, as far as the system lets us forget what it has cached."""
    data = noise(2_000_000)
    (tmp_path / "cold").write_bytes(data)
    async with await open_binary_file(tmp_path / "cold") as file:
        await file.sync()
        with file._handle as fd:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        assert await file.read_to_end(3_000_000) == data


@pytest.mark.parametrize("check", SOURCE_CHECKS, ids=lambda check: check.__name__)
async def test_a_file_is_a_source(way, check):
    """What every `Read` promises."""

    async def make(contents: bytes) -> File:
        raw = io.FileIO(os.memfd_create("a file"), "r+")
        raw.write(contents)
        return File(raw)

    await check(make)


@pytest.mark.parametrize("check", SINK_CHECKS, ids=lambda check: check.__name__)
async def test_a_file_is_a_sink(way, check):
    """What every `Write` promises."""
    with contextlib.ExitStack() as stack:

        async def make() -> tuple[File, Callable[[], Awaitable[bytes]]]:
            raw = stack.enter_context(io.FileIO(os.memfd_create("a file"), "r+"))

            async def arrived() -> bytes:
                await trio.lowlevel.checkpoint()
                raw.seek(0)
                return raw.readall()

            return File(io.FileIO(os.dup(raw.fileno()), "r+")), arrived

        await check(make)


# Many at once


async def test_many_tasks_read_and_write_at_once(way):
    """Positional reads and writes know no other task; each gets its own bytes."""
    async with a_file(bytes(100 * 1_000)) as (file, raw):

        async def one(i: int) -> None:
            await file.write_at(i * 1_000, BytesView(noise(1_000, seed=i)))
            assert await file.read_at(i * 1_000, 1_000) == noise(1_000, seed=i)

        async with trio.open_nursery() as nursery:
            for i in range(100):
                nursery.start_soon(one, i)
        expected = b"".join(noise(1_000, seed=i) for i in range(100))
        assert os.pread(raw.fileno(), 200_000, 0) == expected
        assert (file.read_offset, file.write_offset) == (0, 0)


@pytest.mark.parametrize(
    ("name", "call", "move"),
    [
        ("preadv", lambda file: file.receive_view(), lambda file: file.read_from(0)),
        ("pwritev", lambda file: file.write_view(BytesView(b"x")), lambda file: file.write_from(0)),
    ],
    ids=["reading", "writing"],
)
async def test_each_half_is_for_one_task_at_a_time(name, call, move):
    """The second reader, and the second writer, is told so; so is who would move its offset."""
    with ability("threads"), gate(name) as held:
        async with a_file(b"abc") as (file, _), trio.open_nursery() as nursery:
            nursery.start_soon(call, file)
            await held.wait_entered()
            with pytest.raises(trio.BusyResourceError):
                await call(file)
            with pytest.raises(trio.BusyResourceError):
                move(file)
            held.opened.set()


# What cannot be


async def test_pipes_and_the_like_are_refused(tmp_path):
    """At once, though nobody is at the other end of the pipe; and it says what would do."""
    os.mkfifo(tmp_path / "fifo")
    with trio.fail_after(5):
        for path in (tmp_path / "fifo", "/dev/null", "/dev/zero"):
            for mode in ("r", "r+", "w", "a"):
                with pytest.raises(io.UnsupportedOperation, match=r"FdStream"):
                    await open_binary_file(path, mode)
        for mode in ("r", "w", "a"):
            with pytest.raises(IsADirectoryError) as caught:
                await open_binary_file(tmp_path, mode)
            assert caught.value.filename == str(tmp_path)
    ours, theirs = os.pipe()
    with (
        io.FileIO(ours) as raw,
        io.FileIO(theirs, "w"),
        pytest.raises(io.UnsupportedOperation, match="FdStream"),
    ):
        File(raw)


async def test_a_pipe_that_takes_a_files_place_is_not_waited_for(tmp_path):
    """Between looking and opening, anything may happen to a path."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_bytes(b"")
    found = (tmp_path / "file").stat()
    with (
        trio.fail_after(5),
        mock.patch.object(Path, "stat", return_value=found),
        pytest.raises(io.UnsupportedOperation),
    ):
        await open_binary_file(tmp_path / "fifo")


async def test_modes(tmp_path):
    """Each mode does what `open` does by that name, and what it does not allow is refused."""
    path = tmp_path / "f"
    with pytest.raises(FileNotFoundError) as caught:
        await open_binary_file(path)
    assert caught.value.filename == str(path)
    async with await open_binary_file(str(path), "x") as file:
        await file.write_view(BytesView(b"abc"))
        assert not file._is_receiving
        for call in (file.receive_view, partial(file.read_at, 0, 1), partial(file.read_at, 0, 0)):
            with pytest.raises(io.UnsupportedOperation, match="writing only"):
                await call()
    with pytest.raises(FileExistsError):
        await open_binary_file(path, "x+")
    async with await open_binary_file(os.fsencode(path)) as file:
        assert await file.read_to_end(10) == b"abc"
        for view in (BytesView(b"x"), BytesView()):
            with pytest.raises(io.UnsupportedOperation, match="reading only"):
                await file.write_view(view)
            with pytest.raises(io.UnsupportedOperation, match="reading only"):
                await file.write_at(0, view)
    async with await open_binary_file(path, "r+") as file:
        await file.write_view(BytesView(b"A"))
        assert await file.read_to_end(10) == b"Abc"
    async with await open_binary_file(path, "w+") as file:
        assert not await file.receive_view()
    for mode in ("rb", "a+", "rt", "", "U"):
        with pytest.raises(ValueError, match="a mode is one of"):
            await open_binary_file(path, mode)


async def test_appending(tmp_path, way):
    """Mode "a" writes at the end, wherever somebody else has moved it, and nowhere else."""
    (tmp_path / "f").write_bytes(b"one")
    async with await open_binary_file(tmp_path / "f", "a") as file:
        assert file.write_offset == 3
        await file.write_view(BytesView(b"two"))
        with (tmp_path / "f").open("ab") as other:
            other.write(b"three")
        await file.write_view(BytesView(b"four"))
        assert file.write_offset == 10
        for view in (BytesView(b"x"), BytesView()):
            with pytest.raises(io.UnsupportedOperation, match="append"):
                await file.write_at(5, view)
        with pytest.raises(io.UnsupportedOperation, match="append"):
            file.write_from(0)
    assert (tmp_path / "f").read_bytes() == b"onetwothreefour"


async def test_a_full_disk_is_told_with_the_path_and_how_far_it_came(monkeypatch):
    """What was written before the error counts; the error is the system's."""
    call, left = os.pwritev, [1_000]

    def nearly_full(fd, buffers, offset):
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.pwrite(fd, b"".join(buffers)[: left.pop()], left.append(0) or offset)

    async with a_file() as (file, _):
        monkeypatch.setattr(os, "pwritev", nearly_full)
        with pytest.raises(OSError, match="No space left") as caught:
            await file.write_view(BytesView(noise(30_000)))
        assert caught.value.filename == file.name
        assert file.write_offset == await file.size() == 1_000
        monkeypatch.setattr(os, "pwritev", call)
        await file.write_view(BytesView(noise(30_000)[1_000:]))
        assert await file.read_to_end(40_000) == noise(30_000)


async def test_an_error_of_the_disk_is_told_with_the_path(way, monkeypatch):
    """Reading fails as the system says; the offset stays, and the next read is a new one."""

    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async with a_file(b"abc") as (file, _):
        if way == "no preadv":
            with (
                mock.patch.object(os, "lseek", fail),
                pytest.raises(OSError, match="Input/output") as caught,
            ):
                await file.receive_view()
        else:
            with (
                mock.patch.object(os, "preadv", fail),
                pytest.raises(OSError, match="Input/output") as caught,
            ):
                await file.receive_view()
        assert caught.value.filename == file.name
        assert file.read_offset == 0
        assert await file.receive_view() == b"abc"


async def test_wrong_arguments():
    """Builtin errors, before anything happens."""
    async with a_file(b"abc") as (file, _):
        for call in (
            lambda: file.read_at(-1, 1),
            lambda: file.read_at(0, -1),
            lambda: file.write_at(-1, BytesView()),
            lambda: file.receive_view(0),
        ):
            with pytest.raises(ValueError, match="at least"):
                await call()
        for call in (
            lambda: file.read_at(0.0, 1),
            lambda: file.read_at(0, None),
            lambda: file.write_at(0, b"bytes"),
            lambda: file.write_view(b"bytes"),
        ):
            with pytest.raises(TypeError):
                await call()
        with pytest.raises(ValueError, match="at least 0"):
            file.read_from(-1)
        with pytest.raises(TypeError):
            file.write_from("0")
    with tempfile.TemporaryFile() as buffered, pytest.raises(TypeError, match="unbuffered"):
        File(buffered)
    with tempfile.TemporaryFile(buffering=0) as raw, pytest.raises(TypeError, match="Memory"):
        File(raw, memory="pool")


async def test_offsets_that_no_file_has(way):
    """They are refused, with the limit; where no disk reaches the system refuses to write."""
    async with a_file(b"abc") as (file, _):
        for offset in (2**62 + 1, 2**63, 10**30):
            calls = (
                lambda at: file.write_at(at, BytesView(b"x")),
                lambda at: file.read_at(at, 1),
                lambda at: send_file(FakeWrite(), file, at),
            )
            for call in calls:
                with pytest.raises(ValueError, match=f"at most {2**62}, not {offset}"):
                    await call(offset)
            for seek in (file.read_from, file.write_from):
                with pytest.raises(ValueError, match="at most"):
                    seek(offset)
        assert not await file.read_at(2**40, 1)
        with pytest.raises(OSError, match=r"argument|too large"):
            await file.write_at(2**62, BytesView(b"x"))
        assert await file.size() == 3
