"""A memcached client: requests and replies in turn, and many requests for one reply.

    python examples/memcached_client.py HOST:PORT

A request is written to the buffer of a `BufStream`, which sends it before it waits for the reply.
`set_many` asks for one reply to all of its values. Values are any bytes: their length is announced,
so nobody searches them for their end.
"""

import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Final

import attrs
import trio

from trio_bytesbuf.buffered import BufStream
from trio_bytesbuf.io import SocketStream, open_tcp_stream

MAX_KEY_NBYTES: Final = 250  # the protocol's
MAX_VALUE_NBYTES: Final = 64 * 1_048_576
CRLF: Final = b"\r\n"
DONE: Final = (b"STORED", b"DELETED")
NOT_DONE: Final = (b"NOT_STORED", b"EXISTS", b"NOT_FOUND")


class MemcachedError(Exception):
    """What the server says against a request, or what is no answer to it."""


@attrs.frozen
class Item:
    """A value, and a number that changes whenever the value does."""

    value: bytes
    version: int


class Memcached:
    """A connection for any number of tasks, whose requests take turns.

    A request that is cancelled before its reply is whole is the last one: the rest of the reply
    would be taken for the next. Those behind it get a `trio.BrokenResourceError`.
    """

    def __init__(self, stream: SocketStream) -> None:
        self._stream = BufStream(stream, max_nbytes=2 * MAX_VALUE_NBYTES, flush_before_waiting=True)
        self._turn = trio.Lock()
        self._is_in_step = True

    @asynccontextmanager
    async def _exchange(self) -> AsyncIterator[BufStream[SocketStream]]:
        """Have the connection for a request and all of its reply."""
        async with self._turn:
            if not self._is_in_step:
                raise trio.BrokenResourceError("an earlier request was not answered to the end")
            self._is_in_step = False
            yield self._stream
            self._is_in_step = True

    async def _line(self) -> bytes:
        line = self._stream.try_read_until(CRLF)  # which is no checkpoint: often it is there
        if line is None:
            line = await self._stream.read_until(CRLF)
        return line.to_bytes()[:-2]

    async def _answer(self, *request: bytes) -> bytes:
        async with self._exchange() as stream:
            for part in request:
                stream.write(part)
            answer = await self._line()
        if answer.partition(b" ")[0] in (b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR"):
            raise MemcachedError(answer.decode(errors="replace"))
        return answer

    async def get(self, key: str) -> bytes | None:
        """Return the value of a key, or None if it has none."""
        item = (await self.get_many([key])).get(key)
        return None if item is None else item.value

    async def get_many(self, keys: Iterable[str]) -> dict[str, Item]:
        """Return what there is of some keys."""
        names = [checked(key) for key in keys]
        if not names:
            await trio.lowlevel.checkpoint()
            return {}
        items = {}
        async with self._exchange() as stream:
            stream.write(b"gets %b\r\n" % b" ".join(names))
            while (line := await self._line()) != b"END":
                match line.split():
                    case [b"VALUE", key, _, nbytes, version] if (nbytes + version).isdigit():
                        if int(nbytes) > MAX_VALUE_NBYTES:
                            raise MemcachedError(f"a value of {int(nbytes)} bytes is announced")
                        value = (await stream.read_exactly(int(nbytes))).to_bytes()
                        items[key.decode()] = Item(value, int(version))
                        if await self._line():
                            raise MemcachedError("a value is longer than was announced")
                    case _:
                        raise MemcachedError(line.decode(errors="replace"))
        return items

    async def set(
        self, key: str, value: bytes, *, seconds: int = 0, if_version: int | None = None
    ) -> bool:
        """Keep a value, for some time or for ever; say whether it was.

        Args:
          if_version: keep it only if the version of what is there is this one.
        """
        what = b"%b 0 %d %d" % (checked(key), seconds, len(value))
        line = b"set %b\r\n" % what if if_version is None else b"cas %b %d\r\n" % (what, if_version)
        return was_done(await self._answer(line, value, CRLF))

    async def set_many(self, values: Mapping[str, bytes], *, seconds: int = 0) -> None:
        """Keep some values, for the time of one reply; raise what was said against any of them."""
        complaints = []
        heads = [
            b"set %b 0 %d %d noreply\r\n" % (checked(key), seconds, len(value))
            for key, value in values.items()
        ]
        async with self._exchange() as stream:
            for head, value in zip(heads, values.values(), strict=True):
                stream.write(head)
                stream.write(value)
                stream.write(CRLF)
                if stream.wants_drain:
                    await stream.drain()
            stream.write(b"version\r\n")
            while not (line := await self._line()).startswith(b"VERSION "):
                complaints.append(line.decode(errors="replace"))
        if complaints:
            raise MemcachedError("; ".join(complaints))

    async def delete(self, key: str) -> bool:
        """Forget a value; say whether there was one."""
        return was_done(await self._answer(b"delete %b\r\n" % checked(key)))

    async def incr(self, key: str, by: int = 1) -> int | None:
        """Add to a number, which wraps at 64 bits; return the sum, or None if there is no value."""
        answer = await self._answer(b"incr %b %d\r\n" % (checked(key), by))
        return int(answer) if answer.isdigit() or was_done(answer) else None

    async def aclose(self) -> None:
        """Close the connection."""
        await trio.aclose_forcefully(self._stream)  # all that was asked is sent


def checked(key: str) -> bytes:
    """Return a key as it is sent.

    Raises:
      ValueError: it is empty or too long, or has bytes in it which end a key.
    """
    name = key.encode()
    if not 0 < len(name) <= MAX_KEY_NBYTES or any(byte <= 32 or byte == 127 for byte in name):
        raise ValueError(f"memcached has no such keys: {key!r}")
    return name


def was_done(answer: bytes) -> bool:
    """Say what an answer of one word means."""
    if answer not in DONE + NOT_DONE:
        raise MemcachedError(f"{answer!r} is no answer")
    return answer in DONE


@asynccontextmanager
async def open_memcached(address: str) -> AsyncIterator[Memcached]:
    """Connect to "HOST:PORT" for the block."""
    host, _, port = address.rpartition(":")
    memcached = Memcached(await open_tcp_stream(host.strip("[]"), int(port)))
    async with aclosing(memcached):
        yield memcached


async def main(address: str, count: int = 10_000) -> None:
    """Keep many values, and get them."""
    values = {f"example:{number}": b"%d\r\n" % number for number in range(count)}
    names = list(values)
    async with open_memcached(address) as memcached:
        start = time.perf_counter()
        await memcached.set_many(values)
        for at in range(0, count, 100):
            items = await memcached.get_many(names[at : at + 100])
            assert all(items[name].value == values[name] for name in names[at : at + 100])
        took = time.perf_counter() - start
        print(f"{count} values were kept and came back: {2 * count / took:,.0f} a second")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} HOST:PORT")
    trio.run(main, sys.argv[1])
