"""Channels of typed values, over sockets."""

import contextlib
from collections.abc import Iterator

import trio

from trio_bytesbuf.testing import FailureAttempt, check_laws
from trio_bytesbuf.wire import TypedReceiveChannel, TypedSendChannel

from .place import Case, Place
from .streams import FOR_READS, FOR_WRITES, sockets

VALUES = ["x" * (n * 13 % 300) for n in range(120)] + ["large" * 8000, "the last"]


async def send_values(it: Place) -> None:
    """Be a peer that sends values."""
    with contextlib.suppress(trio.BrokenResourceError):
        channel = TypedSendChannel(it.peer, str)
        await channel.send_many(VALUES)
        await channel.send_eof()


async def take_values(it: Place) -> None:
    """Be a peer that takes values until there are no more."""
    with contextlib.suppress(trio.BrokenResourceError, EOFError):
        async for batch in TypedReceiveChannel(it.peer, str).batches():
            it.got += batch
    it.is_over.set()


async def receive_values(it: Place) -> None:
    """Receive values one by one."""
    it.more.append(TypedReceiveChannel(it.stream, str))
    async for value in it.more[0]:
        it.got.append(value)


async def receive_value_batches(it: Place) -> None:
    """Receive values in batches."""
    it.more.append(TypedReceiveChannel(it.stream, str))
    async for batch in it.more[0].batches():
        it.got += batch


async def values_are_whole(it: Place, attempt: FailureAttempt) -> str:
    """Check that the values that came, and those that are still to come, are all."""
    check_laws(it.more[0])
    broken = False
    while True:
        try:
            it.got.append(await it.more[0].receive())
        except trio.EndOfChannel:
            break
        except trio.BrokenResourceError:
            broken = True
            break
    assert it.got == VALUES[: len(it.got)]
    if broken:
        return "broken"
    assert it.got == VALUES
    return "resumed" if attempt.error is not None else ""


async def send_many(it: Place) -> None:
    """Send all values at once, and say goodbye."""
    channel = TypedSendChannel(it.stream, str)
    it.more.append(channel)
    await channel.send_many(VALUES[:60])
    for value in VALUES[60:]:
        channel.feed(value)
        await channel.drain()
    await channel.send_eof()


async def values_were_sent(it: Place, attempt: FailureAttempt) -> str:
    """Check that the peer got the first values, whole; all, if nothing was raised."""
    check_laws(it.more[0])
    await trio.aclose_forcefully(it.more[0])
    await it.is_over.wait()
    assert it.got == VALUES[: len(it.got)]
    assert attempt.error is not None or it.got == VALUES
    return "" if attempt.error is None else "the first values, whole"


def cases() -> Iterator[Case]:
    """Yield the operations of typed channels."""
    receiving = {"receive": receive_values, "receive_batch": receive_value_batches}
    for name, operation in receiving.items():
        yield Case("typed", name, sockets, operation, values_are_whole, send_values, FOR_READS)
    name = "send_many, feed, eof"
    yield Case("typed", name, sockets, send_many, values_were_sent, take_values, FOR_WRITES)
