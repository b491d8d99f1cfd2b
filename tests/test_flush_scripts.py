"""Flushes that are cancelled: what was sent and what was not is always what was written."""

from __future__ import annotations

import contextlib
import os
import socket as stdlib_socket

import pytest
import trio
import trio.testing
from files import a_file
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import closing, noise, receive_to_the_end, socketpair
from test_tls import Contexts, contexts, shake_hands, tls_pair  # noqa: F401  # a fixture

from trio_bytesbuf import BytesView, FdStream
from trio_bytesbuf.buffered import BufStream, BufWriter, LengthPrefixed
from trio_bytesbuf.io import GuardedWrite, MinRate
from trio_bytesbuf.testing import Delay, FakeWrite, cancel_at_each_checkpoint, check_laws

NBYTES = 4 << 20
SNDBUF_NBYTES = 65_536
IN_TIME_SECONDS = 20
CAP = {"max_nbytes": 2 * NBYTES}


# Four mebibytes, cancelled at drawn moments, over every sink that counts


@contextlib.asynccontextmanager
async def over_sockets(wrap):
    """A writer over a socket that holds little, and the other end."""
    a, b = trio.socket.socketpair()
    a.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_SNDBUF, SNDBUF_NBYTES)
    ours, theirs = trio.SocketStream(a), trio.SocketStream(b)
    async with closing(ours, theirs):
        yield wrap(ours), theirs


@contextlib.asynccontextmanager
async def over_a_pipe(wrap):
    """A writer over a pipe, and its other end."""
    reading, writing = os.pipe()
    ours, theirs = trio.lowlevel.FdStream(writing), trio.lowlevel.FdStream(reading)
    async with closing(ours, theirs):
        yield wrap(ours), theirs


def guarded(stream):
    """A guard over a socket stream of ours."""
    from trio_bytesbuf import SocketStream

    return GuardedWrite(SocketStream(stream), MinRate(1, IN_TIME_SECONDS))


def stapled(stream):
    """A stream in two halves, of which one is not used."""
    return trio.StapledStream(stream, trio.testing.memory_stream_one_way_pair()[1])


SINKS = {
    "trio's SocketStream": (over_sockets, lambda s: BufWriter(s, **CAP)),
    "a guard of a socket": (over_sockets, lambda s: BufWriter(guarded(s), **CAP)),
    "trio's StapledStream": (over_sockets, lambda s: BufWriter(stapled(s), **CAP)),
    "a BufStream": (over_sockets, lambda s: BufStream(s, **CAP)),
    "an FdStream": (over_a_pipe, lambda s: BufWriter(FdStream(s), **CAP)),
    "trio's FdStream": (over_a_pipe, lambda s: BufWriter(s, **CAP)),
}

MOMENTS = st.lists(st.floats(0, 0.002), min_size=1, max_size=8)


@pytest.mark.parametrize("name", SINKS)
@settings(max_examples=8, deadline=None)
@given(moments=MOMENTS, first=st.integers(0, 100_000))
async def test_a_flush_that_is_cancelled_is_gone_on_with(name, moments, first):
    """All bytes arrive once, and in order, and not as the caller has changed them since."""
    over, wrap = SINKS[name]
    data = noise(NBYTES)
    source = bytearray(data)
    arrived = bytearray()
    async with over(wrap) as (writer, theirs):
        assert writer._sink._counts_exactly
        writer.write(memoryview(source)[:first])
        writer.write(memoryview(source)[first:])
        source[:] = bytes(NBYTES)

        async def receive():
            while len(arrived) < NBYTES:
                arrived.extend(await theirs.receive_some(100_000))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.flush)  # nobody receives, so it cannot come to its end
            with trio.fail_after(IN_TIME_SECONDS):
                while writer.unsent_nbytes == NBYTES:  # noqa: ASYNC110  # it tells nobody
                    await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
        assert nursery.cancel_scope.cancelled_caught
        assert 0 < writer.unsent_nbytes < NBYTES
        assert writer.unsent == data[NBYTES - writer.unsent_nbytes :]
        with trio.fail_after(IN_TIME_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                for seconds in moments:
                    with trio.move_on_after(seconds):
                        await writer.flush()
                    assert writer.unsent == data[NBYTES - writer.unsent_nbytes :]
                await writer.flush()
        assert arrived == data
        assert writer.unsent_nbytes == 0
        await writer.aclose()
        assert not await theirs.receive_some(1)


@settings(max_examples=10, deadline=None)
@given(moments=MOMENTS)
async def test_a_flush_to_a_file_that_is_cancelled_is_gone_on_with(moments):
    """The thread that writes is waited for, so what it has written is known."""
    data = noise(NBYTES)
    async with a_file() as (file, raw):
        writer = BufWriter(file, **CAP)
        for start in range(0, NBYTES, 1 << 20):
            writer.write(data[start : start + (1 << 20)])
            for seconds in moments:
                with trio.move_on_after(seconds):
                    await writer.flush()
                size = os.fstat(raw.fileno()).st_size
                assert bytes(writer.unsent) == data[size : start + (1 << 20)]
        await writer.flush()
        raw.seek(0)
        assert raw.read() == data
        await writer.aclose()


async def test_a_flush_cancelled_at_each_of_its_checkpoints_has_sent_what_it_says():
    """Wherever it yields: sent and unsent together are what was written."""
    data = noise(3000)

    @contextlib.asynccontextmanager
    async def subject():
        sink = FakeWrite(max_write_nbytes=700, script=[500, Delay(0.001)])
        writer = BufWriter(sink)
        writer.write(data[:10])
        writer.write(data[10:])
        yield sink, writer
        await trio.aclose_forcefully(writer)

    async def check(subject, attempt):
        sink, writer = subject
        assert bytes(sink.contents) + bytes(writer.unsent) == data
        await writer.flush()
        assert sink.contents == data

    table = await cancel_at_each_checkpoint(
        subject,
        lambda subject: subject[1].flush(),
        peer=None,
        progress=lambda subject: len(subject[0].contents),
        check=check,
    )
    assert table.partial


# Scripts of everything that writes, against a bytearray

SENDS = ["flush", "drain", "send_all", "write_view", "send", "send_batch"]
PUTS = ["write", "bytearray", "view", "put_u16_be", "put_str", "write_line", "frame"]
sizes = st.sampled_from([0, 1, 2, 50, 1023, 1024, 1025, 4000])
script_steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(PUTS), sizes, st.none()),
        st.tuples(st.sampled_from(SENDS), sizes, st.none() | st.integers(0, 4)),
        st.tuples(st.just("write meanwhile"), sizes, st.integers(0, 4)),
    ),
    max_size=25,
)
FRAMING = LengthPrefixed(2)


class Model:
    """A writer, its sink, and the bytes that were written, in a bytearray."""

    def __init__(self, kind, max_write_nbytes: int) -> None:
        self.sink = FakeWrite(max_write_nbytes=max_write_nbytes)
        marks = {"low_water_nbytes": 100, "high_water_nbytes": 1000, "max_nbytes": 1 << 20}
        self.writer = kind(self.sink, **marks)
        self.sender = self.writer.frame_sender(FRAMING)
        self.written = bytearray()
        self.looks = 0

    def look(self) -> None:
        """Sent and unsent are written, at every moment."""
        unsent = self.writer.unsent
        assert len(unsent) == self.writer.unsent_nbytes
        check_laws(self.writer)
        assert bytes(self.sink.contents) + bytes(unsent) == self.written
        self.looks += 1

    def put(self, kind: str, nbytes: int, seed: int) -> None:
        """Write something, and change it afterwards if that can be done."""
        data, writer = noise(nbytes, seed), self.writer
        if kind == "write":
            writer.write(data)
        elif kind == "bytearray":
            source = bytearray(data)
            writer.write(source)
            source[:] = bytes(nbytes)
        elif kind == "view":
            source = bytearray(data[nbytes // 2 :])
            writer.write(BytesView(data[: nbytes // 2]) + BytesView(source))
            source[:] = bytes(len(source))
        elif kind == "put_u16_be":
            writer.put_u16_be(nbytes)
            data = nbytes.to_bytes(2, "big")
        elif kind == "put_str":
            writer.put_str(data.hex())
            data = data.hex().encode()
        elif kind == "write_line":
            writer.write_line(data.hex())
            data = data.hex().encode() + b"\n"
        else:
            self.sender.write(data)
            data = nbytes.to_bytes(2, "big") + data
        self.written += data

    async def send(self, kind: str, nbytes: int, seed: int) -> None:
        """Send, and count what a cancelled send has taken as written, as it says."""
        data, writer = noise(nbytes, seed), self.writer
        framed = nbytes.to_bytes(2, "big") + data
        if kind in ("flush", "drain"):
            await getattr(writer, kind)()
        elif kind == "send_all":
            source = bytearray(data)
            self.written += data
            try:
                await writer.send_all(source)
            finally:
                source[:] = bytes(nbytes)
        elif kind == "write_view":
            self.written += data
            await writer.write_view(BytesView(data))
        elif kind == "send":
            self.written += framed
            await self.sender.send(data)
        else:
            self.written += framed * 2
            await self.sender.send_batch([data, BytesView(data)])


class Looking(trio.abc.Instrument):
    """Looks at the model whenever a task is about to be run: between any two steps of any task."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.failure: Exception | None = None
        self.is_on = False

    def after_task_step(self, _task: trio.lowlevel.Task) -> None:
        if self.is_on and self.failure is None:
            try:
                self.model.look()
            except Exception as exc:  # noqa: BLE001  # raised by the test: an instrument's are only logged
                self.failure = exc


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from([BufWriter, None]),
    max_write_nbytes=st.sampled_from([1, 100, 700, 10_000]),
    steps=script_steps,
)
def test_sent_and_unsent_are_what_was_written_at_every_moment(kind, max_write_nbytes, steps):
    """Everything that writes and sends, cancelled after so many turns, looked at by all tasks."""
    if max_write_nbytes == 1:
        steps = [(step, min(nbytes, 50), turns) for step, nbytes, turns in steps]

    async def main() -> None:
        model = Model(kind or GuardedBufWriter, max_write_nbytes)
        looking = Looking(model)
        trio.lowlevel.add_instrument(looking)
        for seed, (step, nbytes, turns) in enumerate(steps):
            if step in PUTS:
                model.put(step, nbytes, seed)
                model.look()
                continue
            sending = "flush" if step == "write meanwhile" else step
            async with trio.open_nursery() as nursery:
                nursery.start_soon(model.send, sending, nbytes, seed)
                if turns is not None:
                    await trio.lowlevel.checkpoint()  # so that it has begun
                    looking.is_on = True
                    for _ in range(turns):
                        await trio.lowlevel.checkpoint()
                    if step == "write meanwhile":
                        model.put("write", nbytes, seed)
                        model.put("bytearray", nbytes, seed + 1000)
                        model.look()
                    else:
                        nursery.cancel_scope.cancel()
            looking.is_on = False
            model.look()
        await model.writer.flush()
        assert model.sink.contents == model.written
        assert not model.writer.unsent
        await model.writer.aclose()
        assert model.sink.contents == model.written
        if looking.failure is not None:
            raise looking.failure
        assert model.looks >= len(steps)

    trio.run(main)


def GuardedBufWriter(sink, **marks):  # noqa: N802  # stands for a class
    """A writer over a guard of the sink."""
    return BufWriter(GuardedWrite(sink, MinRate(1, 100)), **marks)


async def test_unsent_is_exact_while_a_flush_waits():
    """Another task sees what the peer has not been sent; and the peer, exactly the rest."""
    ours, theirs = await socketpair()
    ours.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_SNDBUF, SNDBUF_NBYTES)
    data = noise(1 << 20)
    async with closing(ours, theirs), trio.open_nursery() as nursery:
        writer = BufWriter(ours)
        writer.write(data)
        nursery.start_soon(writer.flush)
        arrived = bytearray()
        while len(arrived) < len(data):
            await trio.testing.wait_all_tasks_blocked()
            sent = ours.statistics().sent_nbytes
            assert bytes(writer.unsent) == data[sent:]
            arrived += await theirs.receive_some(100_000)
        assert arrived == data
        await writer.aclose()


# TLS does not count


async def test_a_cancelled_flush_over_tls_spoils(contexts):  # noqa: F811
    """Nothing more is sent, not by `aclose` either, and what arrives is a beginning."""
    a, b = await tls_pair(contexts)
    async with closing(a, b):
        await shake_hands(a, b)
        data = noise(NBYTES)
        writer = BufWriter(a, **CAP)
        writer.write(data)
        with trio.move_on_after(0.02) as scope:
            await writer.flush()
        assert scope.cancelled_caught
        assert writer.unsent == data
        for call in (writer.flush, lambda: writer.send_all(b"x")):
            with pytest.raises(trio.BrokenResourceError):
                await call()
        with pytest.raises(trio.BrokenResourceError):
            writer.write(b"x")
        with trio.move_on_after(0.05):  # its goodbye may have to wait for the peer
            await writer.aclose()
        assert writer.unsent_nbytes == 0
        arrived = b""
        with contextlib.suppress(trio.BrokenResourceError), trio.fail_after(IN_TIME_SECONDS):
            while part := await b.receive_some():
                arrived += part
        assert len(arrived) < NBYTES
        assert data.startswith(arrived)


async def test_an_undisturbed_flush_over_tls_sends_all_of_it(contexts):  # noqa: F811
    """And what is written meanwhile, by the next."""
    a, b = await tls_pair(contexts)
    async with closing(b):
        await shake_hands(a, b)
        data = noise(1 << 20)
        writer = BufStream(a, **CAP)
        writer.write(data)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.flush)
            await trio.testing.wait_all_tasks_blocked()
            writer.write(b"meanwhile")
            assert await b.read_exactly(len(data)) == data
        assert writer.unsent == b"meanwhile"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.aclose)
            assert await receive_to_the_end(b) == b"meanwhile"
