"""A Redis client: one connection for many tasks, and one wakeup for each pipeline of commands.

    python examples/redis_pipeline.py HOST:PORT | unix:PATH

What tasks write in one round of the scheduler is one send. One task receives: it takes all replies
that are there for one checkpoint, and wakes who waits when the last of its replies has come. They
come in the order of the commands, so a queue tells whose they are. It speaks RESP2, without what
comes unasked (pub/sub).
"""

import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import attrs
import trio

from trio_bytesbuf import BytesBufError
from trio_bytesbuf.buffered import BufReader, SharedWriter, open_shared_writer
from trio_bytesbuf.io import SocketStream, open_tcp_stream, open_unix_socket

Reply: TypeAlias = "bytes | int | RedisError | list[Reply] | None"

MAX_REPLY_NBYTES: Final = 64 * 1_048_576
ITEM_NBYTES: Final = 64  # what an item of an array takes beside its contents: a guess
MAX_DEPTH: Final = 32  # of arrays in arrays
BATCH: Final = 1000  # replies, after which it is another task's turn: some 2 ms
CRLF: Final = b"\r\n"
MORE: Final[Any] = object()


class RedisError(Exception):
    """What the server says against a command."""


class BadReplyError(Exception):
    """That was not RESP2, or more than we take. The connection is of no use any more."""


class Replies:
    """Cuts replies out of what a reader holds, whole ones only. Knows no waiting."""

    def __init__(self, reader: BufReader[SocketStream], max_nbytes: int = MAX_REPLY_NBYTES) -> None:
        self.wanted_nbytes = 1  # so many bytes have to be there before it is worth to try again
        self._reader = reader
        self._left = self._max_nbytes = max_nbytes
        self._bulk_nbytes: int | None = None  # of the string whose length was read
        self._open: list[tuple[list[Reply], int]] = []  # arrays, and how long they will be

    def take(self, max_items: int) -> list[Reply]:
        """Return what is there, at most so many replies."""
        reader, whole = self._reader, list[Reply]()
        while len(whole) < max_items:
            if (nbytes := self._bulk_nbytes) is None:
                line = reader.try_read_line(newline=CRLF)
                if line is None:
                    self.wanted_nbytes = reader.buffered_nbytes + 1
                    return whole
                item = self._read(line)
            else:
                string = reader.try_read_exactly(nbytes + 2)
                if string is None:
                    self.wanted_nbytes = nbytes + 2
                    return whole
                data = string.to_bytes()
                if data[nbytes:] != CRLF:
                    raise BadReplyError("a string is longer than was announced")
                item, self._bulk_nbytes = data[:nbytes], None
            while item is not MORE and self._open:
                items, count = self._open[-1]
                items.append(item)
                item = self._open.pop()[0] if len(items) == count else MORE
            if item is not MORE:
                whole.append(item)
                self._left = self._max_nbytes
        self.wanted_nbytes = 1
        return whole

    def _read(self, line: bytes) -> Any:
        """Return the reply that the line is, or MORE if it begins a string or an array."""
        self._spend(len(line))
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            return RedisError(rest.decode(errors="replace"))
        if kind not in (b":", b"$", b"*") or len(rest) > 20 or not rest.lstrip(b"-").isdigit():
            raise BadReplyError(f"{line[:80]!r} is no reply")
        number = int(rest)
        if kind == b":":
            return number
        if number < 0:
            return None
        if kind == b"$":
            self._spend(number)
            self._bulk_nbytes = number
            return MORE
        self._spend(number * ITEM_NBYTES)
        if len(self._open) == MAX_DEPTH:
            raise BadReplyError(f"there are more than {MAX_DEPTH} arrays in one another")
        if number:
            self._open.append(([], number))
        return MORE if number else []

    def _spend(self, nbytes: int) -> None:
        """Count what a reply takes, before any of it is waited for."""
        self._left -= nbytes
        if self._left < 0:
            raise BadReplyError(f"a reply takes more than {self._max_nbytes} bytes")


@attrs.define(eq=False)
class Pipeline:
    """Commands whose replies a task waits for, or no longer does."""

    count: int
    replies: list[Reply] = attrs.field(init=False, factory=list)
    ended: trio.Event = attrs.field(init=False, factory=trio.Event)


class Redis:
    """A connection, for any number of tasks; made by `open_redis`."""

    def __init__(self, reader: BufReader[SocketStream], writer: SharedWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._asked: deque[Pipeline] = deque()
        self._end: Exception | None = None

    async def call(self, *words: bytes | str | int) -> Reply:
        """Give one command and return its reply; a RedisError is raised. Else as `pipeline`."""
        [reply] = await self.pipeline([words])
        if isinstance(reply, RedisError):
            raise reply
        return reply

    async def pipeline(self, commands: Iterable[Iterable[bytes | str | int]]) -> list[Reply]:
        """Give commands and return their replies, of which some may be a `RedisError`.

        Cancelled before there was room for them, the commands are not given. After that they are,
        and their replies are dropped when they come.
        """
        requests = [encode(words) for words in commands]
        self._check_connection()
        if not requests:
            await trio.lowlevel.checkpoint()
            return []
        pipeline = Pipeline(len(requests))
        self._asked.append(pipeline)  # in the order in which the writer lets them wait for room
        try:
            await self._writer.write_when_room(b"".join(requests))
        except BaseException as exc:
            self._asked.remove(pipeline)
            if isinstance(exc, trio.ClosedResourceError):
                self._check_connection()
            raise
        await pipeline.ended.wait()
        if len(pipeline.replies) < pipeline.count:
            self._check_connection()
        return pipeline.replies

    def _check_connection(self) -> None:
        if self._end is not None:
            raise trio.BrokenResourceError(f"no more replies: {self._end}") from self._end

    async def receive(self) -> None:
        """Hand out replies until the connection ends, one way or the other; then tell who waits."""
        reader, replies = self._reader, Replies(self._reader)
        end: Exception = trio.ClosedResourceError("the block was left")
        try:
            while len(await reader.peek(replies.wanted_nbytes)) == replies.wanted_nbytes:
                self._hand_out(replies.take(BATCH))
            end = trio.BrokenResourceError("the server has closed the connection")
        except (trio.BrokenResourceError, BadReplyError, BytesBufError) as exc:
            end = exc
        finally:
            self._end = end
            for pipeline in self._asked:
                pipeline.ended.set()
        await trio.aclose_forcefully(reader)  # so that nobody waits for room to write, either

    def _hand_out(self, replies: list[Reply]) -> None:
        while replies:
            if not self._asked:
                raise BadReplyError(f"nobody has asked for {replies[0]!r:.80}")
            first = self._asked[0]
            missing = first.count - len(first.replies)
            first.replies += replies[:missing]
            replies = replies[missing:]
            if len(first.replies) == first.count:
                self._asked.popleft().ended.set()


def encode(words: Iterable[bytes | str | int]) -> bytes:
    """Return a command as it is sent."""
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    strings = [b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]
    return b"*%d\r\n%b" % (len(parts), b"".join(strings))


@asynccontextmanager
async def open_redis(address: str) -> AsyncIterator[Redis]:
    """Connect to "HOST:PORT" or "unix:PATH" for the block, whose errors come out in groups."""
    if address.startswith("unix:"):
        stream = await open_unix_socket(address.removeprefix("unix:"))
    else:
        host, _, port = address.rpartition(":")
        stream = await open_tcp_stream(host.strip("[]"), int(port))
    async with BufReader(stream) as reader:
        try:
            async with open_shared_writer(stream) as writer, trio.open_nursery() as nursery:
                redis = Redis(reader, writer)
                nursery.start_soon(redis.receive)
                yield redis
                nursery.cancel_scope.cancel()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the writer's, not of the block: who waited was told


async def main(address: str, tasks: int = 50, times: int = 100) -> None:
    """Have many tasks count, and say how quick that was."""

    async def count(name: str) -> None:
        replies = await redis.pipeline([("DEL", name), *[("INCR", name)] * times])
        assert replies[1:] == list(range(1, times + 1))

    async with open_redis(address) as redis:
        start = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for number in range(tasks):
                nursery.start_soon(count, f"example:{number}")
        took = time.perf_counter() - start
        print(f"{tasks} tasks counted to {times}: {tasks * times / took:,.0f} commands a second")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} HOST:PORT | unix:PATH")
    trio.run(main, sys.argv[1])
