"""redis_pipeline.py with a Redis that others wrote, and with peers that are up to no good."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import hypothesis.strategies as st
import pytest
import trio
import trio.testing
from hypothesis import example, given
from programs import running
from servers import EXAMPLES, example_module, needs_redis, redis_server, talking_to

from trio_bytesbuf import LimitExceeded, UnexpectedEof
from trio_bytesbuf.buffered import BufReader, open_shared_writer
from trio_bytesbuf.testing import FakeRead

redis_pipeline = example_module("redis_pipeline")
BadReplyError, RedisError = redis_pipeline.BadReplyError, redis_pipeline.RedisError
Replies, open_redis = redis_pipeline.Replies, redis_pipeline.open_redis
blocked = trio.testing.wait_all_tasks_blocked

MIB = 1_048_576


# Replies, without any connection


def sent(reply: object) -> bytes:
    """Write a reply down, as the specification of RESP2 has it."""
    match reply:
        case None:
            return b"$-1\r\n"
        case int():
            return f":{reply}\r\n".encode()
        case str():  # here: what has a line of its own
            return f"{reply}\r\n".encode()
        case bytes():
            return f"${len(reply)}\r\n".encode() + reply + b"\r\n"
        case list():
            return f"*{len(reply)}\r\n".encode() + b"".join(map(sent, reply))
    raise TypeError(reply)


def meant(reply: object) -> object:
    """What a reader has to make of it."""
    if isinstance(reply, list):
        return [meant(item) for item in reply]
    if isinstance(reply, str):
        return reply[1:].encode() if reply[0] == "+" else f"an error: {reply[1:]}"
    return reply


def shown(reply: object) -> object:
    """Make errors comparable."""
    if isinstance(reply, list):
        return [shown(item) for item in reply]
    return f"an error: {reply}" if isinstance(reply, RedisError) else reply


async def read_all(data: bytes, read_nbytes: int, max_items: int, **limits: int) -> list[object]:
    """Read replies from a source that gives so many bytes at a time, until it has no more."""
    reader = BufReader(FakeRead(data, max_read_nbytes=read_nbytes))
    replies = Replies(reader, **limits)
    found: list[object] = []
    while len(await reader.peek(replies.wanted_nbytes)) == replies.wanted_nbytes:
        batch = replies.take(max_items)
        assert len(batch) <= max_items
        found += batch
    if reader.buffered_nbytes or replies._open or replies._bulk_nbytes is not None:
        raise UnexpectedEof(wanted=replies.wanted_nbytes, arrived=reader.buffered_nbytes)
    return found


LINES = st.from_regex(r"[+-][a-zA-Z ]{0,20}", fullmatch=True)
ITEMS = st.none() | st.integers(-(2**63), 2**63 - 1) | LINES | st.binary(max_size=40)
REPLIES = st.lists(st.recursive(ITEMS, partial(st.lists, max_size=5), max_leaves=12), max_size=10)
READS = st.sampled_from([1, 2, 3, 7, 64, 100_000])


@given(REPLIES, READS, st.sampled_from([1, 2, 1000]))
@example([b"\r\n", b"$3\r\n", b""], 1, 1)
@example([[], [[[]], None], [[b"a", ["-ERR no"]], 7]], 1, 1000)
def test_replies_are_read_however_they_are_cut(
    replies: list[object], read_nbytes: int, max_items: int
) -> None:
    """Any replies, in reads of any size: the same values in the same order."""
    data = b"".join(map(sent, replies))
    found = trio.run(read_all, data, read_nbytes, max_items)
    assert list(map(shown, found)) == list(map(meant, replies))


@given(REPLIES.filter(bool), READS, st.data())
def test_a_reply_that_was_cut_is_no_reply(
    replies: list[object], read_nbytes: int, draw: st.DataObject
) -> None:
    """Without the last bytes of its last reply, a stream is never taken for whole."""
    data, last = b"".join(map(sent, replies)), len(sent(replies[-1]))
    missing = draw.draw(st.integers(1, last - 1))
    with pytest.raises(UnexpectedEof):
        trio.run(read_all, data[:-missing], read_nbytes, 1000)


@given(st.binary(max_size=60), READS)
@example(b"$1_0\r\n", 1)
@example(b":\xb2\r\n", 1)
@example(b":" + b"9" * 5000 + b"\r\n", 100)
@example(b":-\r\n", 1)
@example(b"$5\r\nabc\r\nxx", 1)
def test_noise_is_refused_and_not_believed(data: bytes, read_nbytes: int) -> None:
    """Whatever comes is replies, or refused as none, or cut; nothing else is raised."""
    with contextlib.suppress(BadReplyError, LimitExceeded, UnexpectedEof):
        trio.run(read_all, data, read_nbytes, 1000)


@pytest.mark.parametrize(
    "data",
    [
        b"$10000000000\r\n",
        b"*1000000000\r\n",
        b"*3\r\n$40000\r\n" + bytes(40_000) + b"\r\n$40000\r\n",  # each is small enough
        b"*100\r\n" + b"*100\r\n" * 10,
        b"*1\r\n" * 33,
        b"+" + b"x" * 65_537,
    ],
)
async def test_what_is_too_much_is_refused_when_it_is_announced(data: bytes) -> None:
    """Not a byte of it is waited for, and the memory that is held stays below the limit."""
    with pytest.raises((BadReplyError, LimitExceeded)):
        await read_all(data, 1000, 1000, max_nbytes=65_536)


async def test_the_limit_is_for_each_reply() -> None:
    """A thousand replies may be larger than one."""
    data = sent([b"x" * 900, 1]) * 1000
    found = await read_all(data, 100_000, 1000, max_nbytes=1200)
    assert found == [[b"x" * 900, 1]] * 1000


# With Redis


@contextlib.asynccontextmanager
async def connected(folder: Path, *options: str) -> AsyncIterator[tuple[object, str]]:
    """A client, and the address of its server."""
    async with redis_server(folder, *options) as (address, _), open_redis(address) as redis:
        yield redis, address


@needs_redis
async def test_all_kinds_of_replies(tmp_path: Path) -> None:
    """Simple and bulk strings, integers, nil, errors, arrays in arrays; bytes of any kind."""
    async with connected(tmp_path) as (redis, _):
        assert await redis.call("PING") == b"PONG"
        assert await redis.call("GET", "nothing") is None
        for value in (b"", b"\r\n", b"$5\r\nhello\r\n", bytes(range(256)), os.urandom(MIB)):
            assert await redis.call("SET", "key", value) == b"OK"
            assert await redis.call("GET", "key") == value
        assert await redis.call("INCRBY", "number", -7) == -7
        script = "return {1, {'two', {3, {}}}, redis.error_reply('ERR four'), false}"
        [reply] = await redis.pipeline([("EVAL", script, 0)])
        assert shown(reply) == [1, [b"two", [3, []]], "an error: ERR four", None]
        assert await redis.call("BLPOP", "empty", 0.01) is None  # an array that is not there
        assert await redis.pipeline([]) == []


@needs_redis
async def test_errors_are_of_their_commands(tmp_path: Path) -> None:
    """An error is raised, or stands in its place among the replies of a pipeline."""
    async with connected(tmp_path) as (redis, _):
        with pytest.raises(RedisError, match="unknown command"):
            await redis.call("NONSENSE")
        commands = [("SET", "key", "text"), ("INCR", "key"), ("GET", "key")]
        first, second, third = await redis.pipeline(commands)
        assert (first, third) == (b"OK", b"text")
        assert isinstance(second, RedisError)
        queued = await redis.pipeline([("MULTI",), *commands, ("EXEC",)])
        assert queued[:4] == [b"OK", b"QUEUED", b"QUEUED", b"QUEUED"]
        assert shown(queued[4])[0::2] == [b"OK", b"text"]
        assert isinstance(queued[4][1], RedisError)


@needs_redis
async def test_many_tasks_get_their_own_replies(tmp_path: Path) -> None:
    """Fifty tasks, one connection: what each reads is what it has written, small and large."""

    async def work(number: int) -> None:
        for times in range(4):
            large = bytes([number]) * (200_000 * (number % 5))
            commands = [("SET", f"{number}:{i}", f"{number}:{i}:{times}") for i in range(100)]
            commands += [("GET", f"{number}:{i}") for i in range(100)]
            commands += [("SET", f"{number}", large), ("GET", f"{number}")]
            replies = await redis.pipeline(commands)
            assert replies[:100] == [b"OK"] * 100
            assert replies[100:200] == [f"{number}:{i}:{times}".encode() for i in range(100)]
            assert replies[200:] == [b"OK", large]
            done.append(number)

    done: list[int] = []
    async with connected(tmp_path) as (redis, _), trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(work, number)
    assert len(done) == 200


@needs_redis
async def test_a_cancelled_wait_costs_nobody_else_a_reply(tmp_path: Path) -> None:
    """Half of the tasks give up, at all kinds of moments; the others are none the wiser."""

    async def work(number: int) -> None:
        payload = str(number) * 20_000 if number % 7 == 0 else str(number)
        with trio.move_on_after(number / 20_000 if number % 2 else math.inf) as scope:
            for _ in range(20):
                echoes = await redis.pipeline([("ECHO", payload), ("ECHO", number)] * 10)
                assert echoes == [payload.encode(), str(number).encode()] * 10
        gave_up.append(scope.cancelled_caught)

    gave_up: list[bool] = []
    async with connected(tmp_path) as (redis, _):
        async with trio.open_nursery() as nursery:
            for number in range(60):
                nursery.start_soon(work, number)
        assert await redis.call("ECHO", "the last") == b"the last"
        assert not redis._asked
    assert any(gave_up)
    assert gave_up.count(False) >= 30


@needs_redis
async def test_a_command_that_blocks_the_connection_can_be_abandoned(tmp_path: Path) -> None:
    """Its reply comes later, and is dropped; what was asked behind it is answered."""

    async def ask() -> None:
        assert await redis.call("ECHO", "behind") == b"behind"

    async with (
        connected(tmp_path) as (redis, address),
        open_redis(address) as other,
        trio.open_nursery() as nursery,
    ):
        with trio.move_on_after(0.02):
            await redis.call("BLPOP", "queue", 0)
        nursery.start_soon(ask)
        await blocked(0.02)
        await other.call("RPUSH", "queue", "item")


@needs_redis
async def test_who_waits_is_told_that_the_server_is_gone(tmp_path: Path) -> None:
    """All of them, and all who ask later; nobody waits for ever, and the block ends."""

    async def wait(name: str) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await redis.call("BLPOP", name, 0)
        told.append(name)

    told: list[str] = []
    async with redis_server(tmp_path) as (address, _), open_redis(address) as redis:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(wait, f"queue {number}")
            await blocked(0.02)
            async with open_redis(address) as other:
                with pytest.raises(trio.BrokenResourceError):
                    await other.call("SHUTDOWN", "NOSAVE")
        assert len(told) == 5
        with pytest.raises(trio.BrokenResourceError, match="no more replies"):
            await redis.call("PING")


@needs_redis
async def test_the_program_counts(tmp_path: Path) -> None:
    """By TCP and by a Unix socket."""
    script = (EXAMPLES / "redis_pipeline.py").read_text()
    async with redis_server(tmp_path) as addresses:
        for address in addresses:
            async with running(address, script=script) as program:
                assert "50 tasks counted to 100" in await program.line()
                assert await program.end() == (0, "", "")


# With peers that are up to no good


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        (b"$10000000000\r\n", "takes more than"),
        (b"*1000000000\r\n", "takes more than"),
        (b"*1\r\n" * 100, "more than 32 arrays"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is no reply"),
        (b"$3\r\nfour\r\n", "longer than was announced"),
        (b"+" + b"x" * 100_000, "65536 bytes were allowed"),
        (b"$5\r\nab", "closed"),
        (b"", "closed"),
    ],
)
async def test_a_peer_that_speaks_no_resp_is_left(reply: bytes, complaint: str) -> None:
    """Who waits for a reply, or for room to ask, is told why; the connection is closed."""

    async def peer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(reply)
        if complaint != "closed":
            async for _ in stream:
                await trio.sleep(0.01)

    async def ask(value: bytes) -> None:
        with pytest.raises(trio.BrokenResourceError) as caught:
            await redis.pipeline([("SET", "key", value)] * 2)
        complaints.append(str(caught.value))

    complaints: list[str] = []
    async with (
        talking_to(peer) as address,
        open_redis(address) as redis,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(ask, b"small")
        await blocked()
        for _ in range(4):
            nursery.start_soon(ask, bytes(5 * MIB))
    assert len(complaints) == 5
    assert complaint in complaints[0], complaints


async def test_a_reply_that_nobody_asked_for_ends_the_connection() -> None:
    """From then on nobody could tell whose the next one is."""

    async def peer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"+OK\r\n+OK\r\n")
        assert await stream.receive_some() == b""

    async with talking_to(peer) as address, open_redis(address) as redis:
        assert await redis.call("PING") == b"OK"
        with pytest.raises(trio.BrokenResourceError, match="nobody has asked for b'OK'"):
            await redis.call("PING")


async def test_what_the_block_raises_is_not_lost() -> None:
    """Not even when it is what the connection raises, too."""

    async def use(address: str) -> None:
        async with open_redis(address) as redis:
            await redis.call("PING")

    async with talking_to(lambda stream: stream.aclose()) as address:
        with pytest.raises(ExceptionGroup) as caught:
            await use(address)
    assert caught.value.subgroup(trio.BrokenResourceError)


async def test_leaving_the_block_ends_a_wait_from_outside() -> None:
    """A task outside of the block that still waits gets an error."""

    async def ask() -> None:
        with pytest.raises(trio.BrokenResourceError, match="the block was left"):
            await redis.call("PING")

    async def peer(stream: trio.SocketStream) -> None:
        async for _ in stream:
            pass

    async with (
        talking_to(peer) as address,
        trio.open_nursery() as nursery,
        open_redis(address) as redis,
    ):
        nursery.start_soon(ask)
        await blocked()


async def test_a_task_that_has_room_in_the_round_it_is_cancelled_in_has_written() -> None:
    """What the client relies on: cancelled, `write_when_room` has put nothing; else it has."""
    outcomes = set()
    for _ in range(60):
        ours, theirs = trio.testing.lockstep_stream_pair()
        arrived = bytearray()
        has_written = False

        async def wait(scope: trio.CancelScope) -> None:
            nonlocal has_written
            with scope:
                await writer.write_when_room(b"x")
                has_written = True

        async def receive(stream: trio.abc.ReceiveStream, arrived: bytearray) -> None:
            arrived += await stream.receive_some()

        options = {"low_water_nbytes": 0, "high_water_nbytes": 0, "max_nbytes": 8}
        async with theirs, ours, open_shared_writer(ours, **options) as writer:
            writer.write(b"12345678")
            async with trio.open_nursery() as nursery:
                scope = trio.CancelScope()
                nursery.start_soon(wait, scope)
                await blocked()
                while len(arrived) < 8:
                    arrived += await theirs.receive_some()
                scope.cancel()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive, theirs, arrived)
                await blocked()  # so what is to come has come, however slow the machine is
                nursery.cancel_scope.cancel()
        assert (b"x" in arrived) == has_written
        outcomes.add(has_written)
    assert outcomes
