"""Compressed streams: zlib's bytes and no others, bounded memory, and what is behind the end."""

from __future__ import annotations

import gc
import gzip
import hashlib
import os
import shutil
import socket as stdlib_socket
import subprocess
import sys
import tracemalloc
import weakref
import zlib
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from pairs import Steps, closing, noise, socketpair

from trio_bytesbuf import BytesView, SocketStream, UnexpectedEof, from_trio, open_process
from trio_bytesbuf._errors import LimitExceeded
from trio_bytesbuf.buffered import (
    BadCompressedData,
    BufReader,
    BufStream,
    BufWriter,
    DeflatedWrite,
    InflatedRead,
)
from trio_bytesbuf.buffered._deflate import (
    FEED_NBYTES,
    STEP_NBYTES,
    WINDOW_BITS,
    check_inflated_read,
)
from trio_bytesbuf.io import ChainedRead
from trio_bytesbuf.testing import (
    CLOGGED_SINK_CHECKS,
    SINK_CHECKS,
    SOURCE_CHECKS,
    STALLED_SOURCE_CHECKS,
    FakeRead,
    FakeWrite,
    Pending,
    cancel_at_each_checkpoint,
    cancel_atomic_at_each_checkpoint,
    memory_pair,
)

FORMATS = list(WINDOW_BITS)
PATIENCE = 20
MANY = 1 << 40
"""A limit that nothing comes to."""

TEXT = b"".join(f"line {at} of {at * at % 97}\n".encode() for at in range(30_000))
"""Some 500 kB that become four times smaller, or so."""


class Repeated(bytes):
    """Bytes whose name is short, whatever their number."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes from {self[:20].hex()}>"


CONTENTS = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda part, times: Repeated(part * times),
        st.binary(min_size=1, max_size=20),
        st.integers(0, 20_000),
    ),
)
SIZES = st.one_of(st.integers(1, 9), st.just(100_000))

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CURL = shutil.which("curl")
GZIP = shutil.which("gzip")


def deflated(contents: bytes, fmt: str = "gzip", mode: int = zlib.Z_FINISH) -> bytes:
    """What zlib makes of `contents`."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, WINDOW_BITS[fmt])
    return deflate.compress(contents) + deflate.flush(mode)


def inflated(data: bytes, fmt: str = "gzip") -> bytes:
    """What zlib gives of `data`, which need not be all."""
    return zlib.decompressobj(WINDOW_BITS[fmt]).decompress(data)


def reading(data: bytes, fmt: str = "gzip", max_nbytes: int = MANY, at_once: int | None = None):
    """A layer over a source of `data`."""
    source = FakeRead(data, max_read_nbytes=at_once)
    return InflatedRead(source, format=fmt, max_nbytes=max_nbytes)


async def read_until_refused(read: InflatedRead, asked: int | None = None):
    """Return all that is given, and the error after it, or None if there was an end."""
    got = bytearray()
    refusal = None
    try:
        while view := await read.receive_view(asked):
            assert len(view) <= (STEP_NBYTES if asked is None else asked)
            check_inflated_read(read)
            got += view.to_bytes()
    except (LimitExceeded, BadCompressedData, UnexpectedEof) as error:
        refusal = error
    if refusal is None:
        assert not await read.receive_view(asked)
    else:
        with pytest.raises(type(refusal)) as again:  # for good
            await read.receive_view(asked)
        assert str(again.value) == str(refusal)
    return bytes(got), refusal


def at_least(at_once: int, data: bytes) -> int:
    """How many bytes come at once, so that a test has no more than some hundred receives."""
    return max(at_once, len(data) // 200)


# A source and a sink like any other


@pytest.mark.parametrize(("fmt", "at_once"), [("gzip", 3), ("zlib", 20), ("raw", None)])
@pytest.mark.parametrize("check", SOURCE_CHECKS, ids=lambda check: check.__name__)
async def test_it_is_a_source_like_any_other(check, fmt, at_once):
    """All promises of a `Read` hold, however few bytes come at a time."""

    async def new(contents):
        return reading(deflated(bytes(contents), fmt) + b"behind", fmt, at_once=at_once)

    await check(new)


@pytest.mark.parametrize("check", STALLED_SOURCE_CHECKS, ids=lambda check: check.__name__)
async def test_it_waits_and_is_cancelled_like_any_other(check):
    """Over a source that gives no more and does not end."""

    async def new(contents):
        data = deflated(bytes(contents), mode=zlib.Z_SYNC_FLUSH)
        source = ChainedRead(FakeRead(data, max_read_nbytes=3), Pending())
        return InflatedRead(source, format="gzip", max_nbytes=MANY)

    await check(new)


@pytest.mark.parametrize("at_once", [3, None])
@pytest.mark.parametrize("check", SINK_CHECKS, ids=lambda check: check.__name__)
async def test_it_is_a_sink_like_any_other(check, at_once):
    """All promises of a `Write` hold: the peer can read what was written."""
    is_large = check.__name__ in {"sends_large_views", "leaves_the_view_alone"}

    async def new():
        sink = FakeWrite(max_write_nbytes=1000 * at_once if is_large and at_once else at_once)
        seen = 0
        zlib_of_peer = zlib.decompressobj(31)
        arrived_so_far = b""

        async def arrived():
            nonlocal seen, arrived_so_far
            data = sink.contents[seen:].to_bytes()
            seen += len(data)
            arrived_so_far += zlib_of_peer.decompress(data)
            return arrived_so_far

        return DeflatedWrite(sink, format="gzip"), arrived

    await check(new)


@pytest.mark.parametrize("check", CLOGGED_SINK_CHECKS, ids=lambda check: check.__name__)
async def test_it_waits_for_its_sink_like_any_other(check):
    """Over a sink that takes nothing."""

    async def new():
        return DeflatedWrite(Pending(), format="gzip")

    await check(new)


async def test_senseless_arguments_are_refused():
    """Each by the error that says what is wrong."""
    with pytest.raises(TypeError, match="a Read is wanted"):
        InflatedRead(FakeWrite(), format="gzip", max_nbytes=1)
    with pytest.raises(TypeError, match="a Write is wanted"):
        DeflatedWrite(FakeRead(b""), format="gzip")
    for wrong in ("deflate", "", None, 31):
        with pytest.raises(ValueError, match="format must be one of gzip, zlib, raw"):
            InflatedRead(FakeRead(b""), format=wrong, max_nbytes=1)
        with pytest.raises(ValueError, match="format must be one of gzip, zlib, raw"):
            DeflatedWrite(FakeWrite(), format=wrong)
    for wrong, kind in ((-1, ValueError), (1.0, TypeError), (None, TypeError)):
        with pytest.raises(kind):
            InflatedRead(FakeRead(b""), format="gzip", max_nbytes=wrong)
    for wrong, kind in ((-1, ValueError), (10, ValueError), (1.0, TypeError)):
        with pytest.raises(kind):
            DeflatedWrite(FakeWrite(), format="gzip", level=wrong)


# Round trips


@given(CONTENTS, st.sampled_from(FORMATS), SIZES, SIZES, st.integers(0, 9))
def test_what_zlib_makes_is_read_as_it_was(contents, fmt, at_once, asked, level):
    """However the compressed bytes are cut, and however few are asked for at a time."""
    asked = asked if len(contents) < 1000 else None

    async def main() -> None:
        deflate = zlib.compressobj(level, zlib.DEFLATED, WINDOW_BITS[fmt])
        data = deflate.compress(contents) + deflate.flush()
        read = reading(data, fmt, at_once=at_least(at_once, data))
        got = await read_until_refused(read, asked)
        assert got == (contents, None)

    trio.run(main)


@given(st.lists(CONTENTS, max_size=5), st.sampled_from(FORMATS), st.integers(0, 9))
def test_the_peer_can_read_every_write_at_once_and_the_whole_in_the_end(parts, fmt, level):
    """After each write all of it can be decompressed; after `finish` it is a whole stream."""

    async def main() -> None:
        sink = FakeWrite()
        writer = DeflatedWrite(sink, format=fmt, level=level)
        written = b""
        for part in parts:
            await writer.write_view(BytesView(part))
            written += part
            assert inflated(sink.contents.to_bytes(), fmt) == written
        assert await writer.finish() is sink
        whole = sink.contents.to_bytes()
        assert zlib.decompress(whole, WINDOW_BITS[fmt]) == written
        await sink.write_view(BytesView(b"behind"))  # it is open
        read = reading(whole + b"behind", fmt)
        assert await read.read_to_end(MANY) == written
        assert await read.into_inner().read_to_end(10) == b"behind"

    trio.run(main)


async def test_a_buffer_in_front_compresses_many_writes_together():
    """`flush` of a `BufWriter` is when the peer can read; one costs less than one for each."""
    one_by_one, together = FakeWrite(), FakeWrite()
    writer = DeflatedWrite(one_by_one, format="raw")
    async with BufWriter(DeflatedWrite(together, format="raw")) as buffered:
        for line in TEXT[:20_000].splitlines(keepends=True):
            await writer.write_view(BytesView(line))
            buffered.write(line)
        await buffered.flush()
        assert inflated(together.contents.to_bytes(), "raw") == TEXT[:20_000]
    await writer.finish()
    assert zlib.decompress(together.contents.to_bytes(), -15) == TEXT[:20_000]
    assert 2 * len(together.contents) < len(one_by_one.contents)


async def test_trio_streams_are_read_and_written_by_from_trio():
    """Over a pair of trio's own."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with DeflatedWrite(from_trio(ours), format="zlib") as writer:
        await writer.write_view(BytesView(TEXT))
    read = InflatedRead(from_trio(theirs), format="zlib", max_nbytes=len(TEXT))
    assert await read.read_to_end(MANY) == TEXT
    await read.aclose()


# Bounded


@pytest.mark.parametrize("asked", [None, 10_000])
async def test_a_bomb_takes_no_more_memory_than_a_step(asked):
    """Ten kilobytes that stand for ten megabytes are read in less than 400 kB."""
    bomb = deflated(bytes(10_000_000))
    assert len(bomb) < 10_000
    read = reading(bomb)
    total = 0
    tracemalloc.start()
    try:
        while view := await read.receive_view(asked):
            total += len(view)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 10_000_000
    assert peak < 400_000


class Counting:
    """zlib's decompressor, and how many bytes it was shown: it copies what it has no room for."""

    def __init__(self, inner) -> None:
        self.inner = inner
        self.calls = self.shown_nbytes = 0

    def decompress(self, data, max_length: int) -> bytes:
        self.calls += 1
        self.shown_nbytes += len(data)
        return self.inner.decompress(data, max_length)

    def __getattr__(self, name: str):
        return getattr(self.inner, name)


async def test_what_has_arrived_is_not_copied_again_at_every_step():
    """Each step shows zlib little more than what it takes."""
    data = deflated(TEXT)
    read = reading(data)
    read._zlib = counting = Counting(read._zlib)
    assert await read.read_to_end(MANY) == TEXT
    steps = -(-len(TEXT) // STEP_NBYTES)
    assert counting.shown_nbytes <= len(data) + steps * FEED_NBYTES


@given(CONTENTS, st.integers(-3, 3), SIZES)
def test_the_limit_is_given_and_not_a_byte_more(contents, beyond, at_once):
    """A stream of just so many bytes has an end; of one more, the limit is an error, for good."""
    limit = max(0, len(contents) + beyond)

    async def main() -> None:
        data = deflated(contents)
        read = reading(data, max_nbytes=limit, at_once=at_least(at_once, data))
        got, error = await read_until_refused(read)
        assert got == contents[:limit]
        if len(contents) <= limit:
            assert error is None
        else:
            assert isinstance(error, LimitExceeded)
            assert (error.limit, error.arrived) == (limit, limit + 1)

    trio.run(main)


@pytest.mark.parametrize("limit", [0, 1, STEP_NBYTES - 1, STEP_NBYTES, STEP_NBYTES + 1, 1_000_000])
async def test_a_bomb_is_read_up_to_the_limit(limit):
    """What was gathered before the limit stays readable."""
    read = reading(deflated(bytes(10_000_000)), max_nbytes=limit)
    with pytest.raises(LimitExceeded):
        await read.read_to_end(MANY)
    assert (await read.read_exactly(limit)) == bytes(limit)
    with pytest.raises(LimitExceeded):
        await read.receive_view()


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("is_cut", [False, True])
async def test_nobody_is_waited_for_while_zlib_has_bytes(fmt, is_cut, autojump_clock):
    """All that a peer has sent is read before its next word, at the end of a step as well."""
    for nbytes in (*(STEP_NBYTES + more for more in range(-2, 260)), 3 * STEP_NBYTES + 1):
        data = deflated(bytes(nbytes), fmt, zlib.Z_SYNC_FLUSH)
        if is_cut:  # before the empty block that a flush ends with
            data = data[:-5]
        source = ChainedRead(FakeRead(data), Pending())
        read = InflatedRead(source, format=fmt, max_nbytes=nbytes)
        got = 0
        with trio.move_on_after(1):
            while True:
                got += len(await read.receive_view())
        assert got == len(inflated(data, fmt))
        assert got == nbytes or is_cut


async def test_others_run_between_the_steps():
    """A large write and a large read have checkpoints, though nothing has to be waited for."""
    sink = FakeWrite()
    writer = DeflatedWrite(sink, format="gzip", level=1)
    with Steps() as steps:
        await writer.write_view(BytesView(TEXT))
    assert steps.taken >= len(TEXT) // FEED_NBYTES
    await writer.finish()
    read = reading(sink.contents.to_bytes())
    with Steps() as steps:
        await read.read_exactly(len(TEXT))
    assert steps.taken >= len(TEXT) // STEP_NBYTES


# Damaged


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("at_once", [1, None])
async def test_a_stream_cut_anywhere_is_an_unexpected_end(fmt, at_once):
    """All that can be decompressed is given first."""
    data = deflated(TEXT[:200], fmt)
    for nbytes in range(len(data)):
        got, error = await read_until_refused(reading(data[:nbytes], fmt, at_once=at_once))
        assert isinstance(error, UnexpectedEof)
        assert (error.wanted, error.arrived) == (nbytes + 1, nbytes)
        assert got == inflated(data[:nbytes], fmt)


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("at_once", [10, None])
async def test_a_damaged_byte_is_seen_wherever_zlib_sees_it(fmt, at_once):
    """An error of its own, and for ever the same; else what zlib gives."""
    whole = deflated(TEXT[:120], fmt)
    refused = 0
    for at in range(len(whole)):
        for bit in range(8):
            data = bytearray(whole)
            data[at] ^= 1 << bit
            model = zlib.decompressobj(WINDOW_BITS[fmt])
            wanted, cause = b"", None
            try:
                wanted = model.decompress(bytes(data))
            except zlib.error as error:
                cause = error
            got, error = await read_until_refused(reading(data, fmt, at_once=at_once))
            if cause is None:
                assert got == wanted
                assert type(error) is (type(None) if model.eof else UnexpectedEof)
            else:
                assert isinstance(error, BadCompressedData)
                assert str(error.__cause__) == str(cause)
                assert error.inflated == len(got)
                refused += 1
    assert refused > len(whole)


async def test_steps_before_the_damage_are_given():
    """Of a stream whose last byte is damaged, all but the last steps; `inflated` counts them."""
    data = bytearray(deflated(noise(300_000)))
    data[-6] ^= 1
    got, error = await read_until_refused(reading(data, at_once=10_000))
    assert isinstance(error, BadCompressedData)
    assert isinstance(error.__cause__, zlib.error)
    assert error.__cause__.__traceback__ is None  # which would hold what had arrived
    assert error.inflated == len(got)
    assert len(got) >= 300_000 - STEP_NBYTES
    assert got == noise(300_000)[: len(got)]


async def test_what_needs_a_dictionary_is_refused():
    """There is no way to agree on one here."""
    deflate = zlib.compressobj(zdict=b"words")
    data = deflate.compress(b"words") + deflate.flush()
    got, error = await read_until_refused(reading(data, "zlib"))
    assert got == b""
    assert isinstance(error, BadCompressedData)


# Behind the end


@given(CONTENTS, st.binary(max_size=30), st.sampled_from(FORMATS), SIZES, st.integers(0, 3))
def test_what_is_behind_the_end_is_read_from_the_source(contents, behind, fmt, at_once, kind):
    """Whatever had arrived of it, over a buffer or not; the section is between plain bytes."""

    async def main() -> None:
        data = deflated(contents, fmt)
        once = at_least(at_once, data)
        fake = FakeRead(b"head" + data + behind, max_read_nbytes=once)
        source = (
            fake
            if kind == 0
            else BufReader(fake, read_ahead_nbytes=(once, 7 * once, MANY)[kind - 1])
        )
        assert await source.read_exactly(4) == b"head"
        read = InflatedRead(source, format=fmt, max_nbytes=len(contents))
        assert await read.read_exactly(len(contents)) == contents
        assert await read.read_to_end(0) == b""
        assert read.inner is source
        assert read.into_inner() is source
        assert await source.read_to_end(100) == behind
        with pytest.raises(trio.ClosedResourceError):
            await read.receive_view()
        with pytest.raises(trio.ClosedResourceError):
            read.into_inner()

    trio.run(main)


async def test_both_sides_of_a_connection_go_compressed_and_come_back():
    """An upgrade in mid-stream and out of it again, both ways at once, over sockets."""
    contents = {"client": TEXT[:100_000], "server": TEXT[50_000:]}

    async def talk(stream: SocketStream, name: str, peer: str) -> None:
        both = BufStream(stream)
        both.write_line(f"hello from {name}")
        await both.flush()
        assert await both.read_line() == f"hello from {peer}".encode()

        async def send() -> None:
            writer = DeflatedWrite(both, format="raw")
            await writer.write_view(BytesView(contents[name]))
            (await writer.finish()).write_line(f"bye from {name}")
            await both.flush()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            read = InflatedRead(both, format="raw", max_nbytes=MANY)
            assert await read.read_to_end(MANY) == contents[peer]
            assert await read.into_inner().read_line() == f"bye from {peer}".encode()

    ours, theirs = await socketpair()
    async with closing(ours, theirs):
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(talk, ours, "client", "server")
                nursery.start_soon(talk, theirs, "server", "client")


@given(st.lists(CONTENTS, max_size=4), SIZES)
def test_several_members_are_read_one_after_another(parts, at_once):
    """As Python's gzip reads them all at once."""

    async def main() -> None:
        data = b"".join(map(gzip.compress, parts))
        reader = BufReader(FakeRead(data, max_read_nbytes=at_least(at_once, data)))
        got = []
        while await reader.fill_buf():
            member = InflatedRead(reader, format="gzip", max_nbytes=MANY)
            got.append((await member.read_to_end(MANY)).to_bytes())
        assert got == parts
        assert b"".join(got) == (gzip.decompress(data) if data else b"")

    trio.run(main)


async def test_the_end_is_seen_without_waiting_for_a_byte_behind_it():
    """A peer that waits for an answer after its compressed words gets one."""
    source = ChainedRead(FakeRead(deflated(b"question")), Pending())
    read = InflatedRead(source, format="gzip", max_nbytes=100)
    with trio.fail_after(PATIENCE):
        assert await read.read_to_end(100) == b"question"


async def test_a_source_is_not_given_back_in_the_middle():
    """Neither before the end was seen, nor with bytes that were not read; then it is."""
    source = FakeRead(deflated(b"abcdefgh") + b"behind", max_read_nbytes=1)
    read = InflatedRead(source, format="gzip", max_nbytes=100)
    with pytest.raises(RuntimeError, match="not read to its end"):
        read.into_inner()
    assert await read.read_exactly(8) == b"abcdefgh"
    with pytest.raises(RuntimeError, match="not read to its end"):
        read.into_inner()  # before the checksum
    assert await read.read_to_end(0) == b""
    assert read.into_inner() is source

    read = reading(deflated(b"abcdefgh") + b"behind")
    assert await read.receive_view(3) == b"abc"
    with pytest.raises(RuntimeError, match="not read to its end"):
        read.into_inner()
    with pytest.raises(UnexpectedEof):
        await read.read_exactly(100)  # and keeps them
    with pytest.raises(RuntimeError, match="not read to its end"):
        read.into_inner()
    assert await read.read_exactly(5) == b"defgh"
    assert await read.into_inner().read_to_end(10) == b"behind"


async def test_a_source_is_not_given_back_while_it_is_read():
    """Who waits would get bytes that are somebody else's; closed, there is nothing to give."""
    read = InflatedRead(Pending(), format="gzip", max_nbytes=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read.receive_view)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            read.into_inner()
        nursery.cancel_scope.cancel()
    await read.aclose()
    with pytest.raises(trio.ClosedResourceError):
        read.into_inner()


@pytest.mark.parametrize("is_ready", [True, False])
async def test_nothing_is_given_that_was_closed_meanwhile(is_ready):
    """Closed by another task at a checkpoint with bytes at hand, whichever task runs first."""
    for _ in range(20):
        source = BufReader(FakeRead(deflated(b"abcdefgh")))
        await source.fill_buf()
        read = InflatedRead(source, format="gzip", max_nbytes=100)
        if is_ready:
            assert await read.receive_view(1) == b"a"

        async def is_refused(read=read) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await read.receive_view()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(is_refused)
            nursery.start_soon(read.aclose)


EMPTY_BLOCKS = b"\0\0\0\xff\xff" * 4000 + b"\3\0"
"""An end of which zlib is not shown all in the step that gives the last bytes."""


@pytest.mark.parametrize(
    ("nbytes", "data"),
    [
        (100_000, deflated(bytes(100_000), "raw")),
        (STEP_NBYTES, deflated(bytes(STEP_NBYTES), "raw", zlib.Z_SYNC_FLUSH) + EMPTY_BLOCKS),
    ],
    ids=["with the last bytes", "behind the last bytes"],
)
async def test_a_source_that_another_task_reads_gets_nothing_back_before_that_ends(nbytes, data):
    """What is behind would come after the bytes that this task waits for; later it goes back."""
    source = ChainedRead(FakeRead(data + b"behind"), Pending())
    read = InflatedRead(source, format="raw", max_nbytes=MANY)
    assert len(await read.receive_view()) == STEP_NBYTES
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.receive_view)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(2):
            with pytest.raises(trio.BusyResourceError):
                await read.receive_view()
            with pytest.raises(RuntimeError, match="not read to its end"):
                read.into_inner()
        nursery.cancel_scope.cancel()
    assert await read.read_to_end(MANY) == bytes(nbytes - STEP_NBYTES)
    assert await read.into_inner().read_exactly(6) == b"behind"


# Cancellation


async def test_a_cancelled_read_has_lost_nothing():
    """At any checkpoint, also while the peer is waited for: the next read goes on."""
    data = deflated(TEXT[:3000]) + b"behind"

    @asynccontextmanager
    async def subject():
        ours, theirs = memory_pair()
        async with theirs, InflatedRead(ours, format="gzip", max_nbytes=MANY) as read:
            yield read, theirs

    async def send(subject) -> None:
        for at in range(0, len(data), 300):
            await trio.testing.wait_all_tasks_blocked()
            await subject[1].write_view(BytesView(data[at : at + 300]))
        await subject[1].send_eof()

    async def check(subject, attempt) -> None:
        rest = await subject[0].read_to_end(MANY)
        assert (attempt.result or BytesView()) + rest == TEXT[:3000]
        assert await subject[0].into_inner().read_to_end(10) == b"behind"

    table = await cancel_at_each_checkpoint(
        subject,
        lambda subject: subject[0].read_exactly(2500),
        peer=send,
        progress=lambda subject: subject[0]._inflated_nbytes,
        check=check,
    )
    assert table.blocked > 1


async def test_a_cancelled_receive_has_taken_nothing():
    """At any checkpoint of a receive from what is at hand already, it is atomic."""
    data = deflated(bytes(200_000))

    @asynccontextmanager
    async def subject():
        read = reading(data)
        await read.receive_view(1000)
        yield read

    async def check(read, attempt) -> None:
        got = attempt.result or BytesView()
        assert len(got) + len(await read.read_to_end(MANY)) == 200_000 - 1000

    await cancel_atomic_at_each_checkpoint(
        subject, lambda read: read.receive_view(), peer=None, progress=lambda _: 0, check=check
    )


@pytest.mark.parametrize("end", ["finish", "write_view"])
async def test_a_cancelled_write_spoils_and_the_peer_sees_no_end(end):
    """Cancelled at any checkpoint, nothing more is sent; before it began, it spoils nothing."""

    @asynccontextmanager
    async def subject():
        sink = FakeWrite(max_write_nbytes=3)
        writer = DeflatedWrite(sink, format="gzip")
        await writer.write_view(BytesView(b"before"))
        yield writer, sink

    async def operation(subject) -> None:
        if end == "finish":
            await subject[0].finish()
        else:
            await subject[0].write_view(BytesView(noise(30)))

    async def check(subject, attempt) -> None:
        writer, sink = subject
        if not attempt.was_cancelled:
            return
        is_spoiled = attempt.checkpoint > 0
        assert writer._is_spoiled is is_spoiled
        if is_spoiled:
            for refused in (
                partial(writer.write_view, BytesView(b"x")),
                writer.finish,
                writer.wait_write_might_not_block,
            ):
                with pytest.raises(trio.BrokenResourceError):
                    await refused()
        before = len(sink.contents)
        await writer.aclose()
        read = reading(sink.contents.to_bytes())
        if is_spoiled:
            assert len(sink.contents) == before
            with pytest.raises(UnexpectedEof):
                await read.read_to_end(MANY)
        else:
            assert await read.read_to_end(MANY) == b"before"
        with pytest.raises(trio.ClosedResourceError):
            await sink.write_view(BytesView(b"x"))

    table = await cancel_at_each_checkpoint(
        subject,
        operation,
        peer=None,
        progress=lambda subject: int(subject[0]._is_spoiled),
        check=check,
    )
    assert table.cancelled > 2


async def test_a_write_that_fails_spoils():
    """Nobody knows what the peer has."""
    sink = FakeWrite(script=[5, trio.BrokenResourceError("gone")])
    writer = DeflatedWrite(sink, format="gzip")
    with pytest.raises(trio.BrokenResourceError, match="gone"):
        await writer.write_view(BytesView(b"text"))
    with Steps() as steps, pytest.raises(trio.BrokenResourceError, match="earlier write"):
        await writer.write_view(BytesView())
    assert steps.taken  # who tries for ever lets others run
    await writer.aclose()
    assert len(sink.contents) == 5


async def test_an_error_that_is_kept_holds_no_memory():
    """The frames that it went through are kept with it, but not what was written."""
    payload = noise(100_000)
    before = sys.getrefcount(payload)
    writer = DeflatedWrite(FakeWrite(script=[trio.BrokenResourceError("gone")]), format="gzip")
    with pytest.raises(trio.BrokenResourceError) as kept:
        await writer.write_view(BytesView(payload))
    assert sys.getrefcount(payload) == before
    assert kept.value.__traceback__ is not None


async def test_a_closed_read_holds_no_memory():
    """Neither what had arrived nor what was decompressed."""
    read = reading(deflated(noise(300_000)))
    await read.receive_view(1)
    assert read._ready
    await read.aclose()
    assert not read._ready
    assert not read._input.remaining()


# The end


async def test_closing_sends_the_end_and_closes_the_sink():
    """Once; and a stream of nothing is a stream."""
    sink = FakeWrite()
    async with DeflatedWrite(sink, format="gzip") as writer:
        pass
    assert gzip.decompress(sink.contents.to_bytes()) == b""
    await writer.aclose()
    for refused in (partial(writer.write_view, BytesView(b"x")), writer.finish):
        with pytest.raises(trio.ClosedResourceError):
            await refused()
    with pytest.raises(trio.ClosedResourceError):
        await sink.write_view(BytesView(b"x"))


async def test_a_block_that_finishes_leaves_the_sink_open():
    """What was given back is the caller's."""
    sink = FakeWrite()
    async with DeflatedWrite(sink, format="gzip") as writer:
        await writer.write_view(BytesView(b"text"))
        await writer.finish()
        assert writer.inner is sink
        with pytest.raises(trio.ClosedResourceError):
            await writer.write_view(BytesView(b"x"))
    await sink.write_view(BytesView(b"behind"))
    read = reading(sink.contents.to_bytes())
    assert await read.read_to_end(MANY) == b"text"


async def test_a_block_that_fails_sends_no_end():
    """So the peer does not take the first half for the whole."""
    for leave in ("error", "cancelled"):
        sink = FakeWrite()
        with trio.CancelScope() as scope:
            try:
                async with DeflatedWrite(sink, format="gzip") as writer:
                    await writer.write_view(BytesView(b"first half"))
                    if leave == "error":
                        raise KeyError(leave)
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
            except KeyError:
                pass
        got, error = await read_until_refused(reading(sink.contents.to_bytes()))
        assert got == b"first half"
        assert isinstance(error, UnexpectedEof)
        with pytest.raises(trio.ClosedResourceError):
            await sink.write_view(BytesView(b"x"))


async def test_an_end_that_cannot_be_sent_closes_the_sink_all_the_same():
    """The error is raised."""
    sink = FakeWrite(script=[trio.BrokenResourceError("gone")])
    with pytest.raises(trio.BrokenResourceError, match="gone"):
        await DeflatedWrite(sink, format="gzip").aclose()
    with pytest.raises(trio.ClosedResourceError):
        await sink.write_view(BytesView(b"x"))


async def test_both_say_what_they_are():
    """In a debugger."""
    read = reading(deflated(b"abc"))
    await read.receive_view()
    assert repr(read) == "<InflatedRead, 3 bytes decompressed, over <FakeRead with 0 bytes left>>"
    assert repr(DeflatedWrite(FakeWrite(), format="raw")) == (
        "<DeflatedWrite over <FakeWrite of 0 bytes>>"
    )


# Programs


def sha256(data: bytes | BytesView) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.skipif(not GZIP, reason="needs the program gzip")
async def test_the_program_gzip_reads_what_is_written_and_the_other_way():
    """Both at once, by way of pipes."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}

    async def through(options, data, make_input, make_output) -> bytes:
        async with await open_process([GZIP, *options], **pipes) as process:

            async def send() -> None:
                async with make_input(process.stdin) as sink:
                    for at in range(0, len(data), 100_000):
                        await sink.write_view(BytesView(data[at : at + 100_000]))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                source = make_output(process.stdout)
                return (await source.read_to_end(MANY)).to_bytes()

    with trio.fail_after(PATIENCE):
        inflate = partial(InflatedRead, format="gzip", max_nbytes=len(TEXT))
        deflate = partial(DeflatedWrite, format="gzip")
        packed = await through(["-9"], TEXT, lambda sink: sink, lambda source: source)
        assert len(packed) < len(TEXT) // 3
        there = await through(["-9"], TEXT, lambda sink: sink, inflate)
        back = await through(["-d"], TEXT, deflate, lambda source: source)
    assert sha256(TEXT) == sha256(there) == sha256(back)


@pytest.mark.skipif(not CURL, reason="needs curl: apt-get install curl")
async def test_curl_reads_what_is_written():
    """An HTTP response of some writes, each compressed."""

    async def serve(stream: trio.SocketStream) -> None:
        async with BufStream(SocketStream(stream)) as both:
            while await both.read_line(newline=b"\r\n"):
                pass
            both.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n")
            async with DeflatedWrite(both, format="gzip", level=1) as writer:
                for at in range(0, len(TEXT), 40_000):
                    await writer.write_view(BytesView(TEXT[at : at + 40_000]))

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
            port = listener.socket.getsockname()[1]
            command = [CURL, "-sS", "--noproxy", "*", "--compressed", f"http://127.0.0.1:{port}/"]
            done = await trio.run_process(command, capture_stdout=True)
            nursery.cancel_scope.cancel()
    assert sha256(done.stdout) == sha256(TEXT)


CONFIG = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 16; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    gzip on;
    gzip_http_version 1.0;
    gzip_types text/plain;
    default_type text/plain;
    server {{ listen 127.0.0.1:{port}; root {folder}/files; }}
}}
"""


@pytest.fixture
def port(tmp_path: Path) -> int:
    """A free port, which `tmp_path` has the files for nginx of."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "text").write_bytes(TEXT)
    tmp_path.chmod(0o755)
    with stdlib_socket.create_server(("127.0.0.1", 0)) as socket:
        port = socket.getsockname()[1]
    user = "user root;" if os.geteuid() == 0 else ""
    config = CONFIG.format(folder=tmp_path, port=port, user=user)
    (tmp_path / "nginx.conf").write_text(config)
    return port


@pytest.mark.skipif(not NGINX, reason="needs nginx: apt-get install nginx-light")
async def test_what_nginx_compresses_is_read(tmp_path: Path, port: int):
    """The body of an HTTP response, behind its header in one buffer."""
    command = [NGINX, "-p", str(tmp_path), "-e", f"{tmp_path}/error.log"]
    with trio.fail_after(PATIENCE):
        async with await open_process(
            [*command, "-c", f"{tmp_path}/nginx.conf"], stderr=subprocess.DEVNULL
        ) as server:
            while True:
                assert server.returncode is None, "nginx did not start"
                try:
                    stream = await trio.open_tcp_stream("127.0.0.1", port)
                    break
                except OSError:
                    await trio.sleep(0.01)
            async with BufStream(SocketStream(stream)) as both:
                await both.send_all(b"GET /text HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
                header = await both.read_until(b"\r\n\r\n")
                assert b"Content-Encoding: gzip" in header.to_bytes()
                body = InflatedRead(both, format="gzip", max_nbytes=len(TEXT))
                assert sha256((await body.read_to_end(MANY)).to_bytes()) == sha256(TEXT)
            server.terminate()


async def test_a_layer_that_lacked_memory_is_broken_and_keeps_nobodys_variables() -> None:
    """Later reads are told; the frames that the error went through are not kept for that."""

    class LacksMemory:
        eof = False
        unconsumed_tail = unused_data = b""

        def decompress(self, *_) -> bytes:
            raise MemoryError

    class Large(bytearray):
        pass

    layer = InflatedRead(FakeRead(zlib.compress(noise(1000))), format="zlib", max_nbytes=1 << 20)
    layer._zlib = LacksMemory()

    async def use() -> weakref.ref[Large]:
        large = Large(1)
        reference = weakref.ref(large)
        with pytest.raises(MemoryError):
            await layer.receive_view()
        return reference

    reference = await use()
    gc.collect()
    assert reference() is None
    with pytest.raises(trio.BrokenResourceError, match="lacked memory"):
        await layer.receive_view()
