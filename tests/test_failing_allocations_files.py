"""Each allocation fails once in files, captures and the shared writer's steps, where they are ours.

The switch stands for the whole process. So of a file, what runs in the event loop is struck while
no thread runs, and what a thread runs is called here without one.
"""

from __future__ import annotations

import contextlib
import os

import pytest
from allocations import Place, fail_each, is_lack_of_memory, let_go, unheard, where_they_can
from pairs import noise

from trio_bytesbuf import BufWriter, BytesView, open_binary_file
from trio_bytesbuf.buffered import SharedWriter
from trio_bytesbuf.io import _file_handle, capture
from trio_bytesbuf.io._vectored import SendPlan
from trio_bytesbuf.testing import (
    Allocations,
    FakeRead,
    FakeWrite,
    check_laws,
    fail_at_each_call,
)

pytestmark = where_they_can

DATA = noise(150_000)


async def receive_view(file) -> object:
    return await file.receive_view(100_000)


async def read_at(file) -> object:
    return await file.read_at(10, 100_000)


async def read_exactly(file) -> object:
    return await file.read_exactly(120_000)


@pytest.mark.skipif(not _file_handle.CAN_READ_NOW, reason="every read is a thread's here")
@pytest.mark.parametrize("operation", [receive_view, read_exactly, read_at])
async def test_a_read_of_a_file_is_made_again(operation, tmp_path) -> None:
    """Whatever lacked memory: the offset stands where the next byte is, and no byte is missing."""
    path = tmp_path / "file"
    path.write_bytes(DATA)

    @contextlib.asynccontextmanager
    async def subject():
        async with await open_binary_file(path) as file:
            yield Place(file)

    async def read(place: Place) -> None:
        place.got = await operation(place.it)

    async def check(place: Place, attempt) -> None:
        let_go(attempt.error)
        assert attempt.error is None or is_lack_of_memory(attempt.error), attempt.error
        got = b"" if place.got is None else bytes(place.got)
        if operation is read_at:
            assert got in {b"", DATA[10:100_010]}
            got = b""
        assert place.it.read_offset == len(got)
        assert got + bytes(await place.it.read_to_end(1_000_000)) == DATA

    with unheard():
        table = await fail_at_each_call(subject, read, Allocations(), check=check)
    assert table.failed


async def test_what_a_thread_does_to_a_file_says_how_far_it_came(tmp_path) -> None:
    """`Handle.write` and `read`, as a thread runs them: what is in the file is a front of it."""
    pieces = tuple(memoryview(DATA[at : at + 50_000]) for at in range(0, 150_000, 50_000))

    def make() -> Place:
        path = tmp_path / "written"
        path.unlink(missing_ok=True)
        handle = _file_handle.Handle(_file_handle.open_regular(os.fspath(path), "w+"))
        return Place(handle, a=path, b=[bytearray(150_000)])

    def write(place: Place) -> None:
        place.got = place.it.write(SendPlan(pieces, len(DATA)), 0)

    def look(place: Place, is_done: bool) -> None:
        written = place.a.read_bytes()
        assert DATA.startswith(written)
        if place.got is not None:
            assert place.got == (len(written), None)
        assert not is_done or written == DATA
        place.it.close()
        assert place.it.raw.closed

    assert (await fail_each(make, write, look)).failed

    def make_full() -> Place:
        place = make()
        place.a.write_bytes(DATA)
        return place

    def read(place: Place) -> None:
        place.got = place.it.read([memoryview(place.b[0])], 0)

    def look_at_it(place: Place, is_done: bool) -> None:
        if place.got is not None:
            assert bytes(place.b[0][: place.got]) == DATA[: place.got]
        assert place.got is not None or not is_done
        place.it.close()
        assert place.it.raw.closed

    assert (await fail_each(make_full, read, look_at_it)).failed


async def test_a_capture_loses_no_byte_of_what_passes() -> None:
    """What was received through it, and what comes next, is all; so is what it remembers."""

    @contextlib.asynccontextmanager
    async def subject():
        source = FakeRead(DATA, max_read_nbytes=60_000)
        yield Place(capture(source))

    async def read(place: Place) -> None:
        place.got = await place.it.receive_view()

    async def check(place: Place, attempt) -> None:
        let_go(attempt.error)
        got = b"" if place.got is None else bytes(place.got)
        assert got + bytes(await place.it.read_to_end(1_000_000)) == DATA
        assert DATA.startswith(bytes(place.it.capture.received)) or attempt.error is not None

    with unheard():
        table = await fail_at_each_call(subject, read, Allocations(), check=check)
    assert table.failed


async def test_a_write_to_a_shared_writer_is_whole_or_nothing() -> None:
    """`write`: the books of the writer are those of its buffer."""

    def make() -> Place:
        return Place(SharedWriter(BufWriter(FakeWrite())))

    def write(place: Place) -> None:
        place.it.write(b"little")
        place.it.write(BytesView(DATA[:20_000]))

    def look(place: Place, is_done: bool) -> None:
        check_laws(place.it)
        whole = b"little" + DATA[:20_000]
        unsent = bytes(place.it._buffer.unsent)
        assert unsent in {b"", whole[:6], whole}
        assert unsent == whole or not is_done
        place.it._buffer._drop()

    assert (await fail_each(make, write, look)).failed
