"""Codecs of the user's that raise, at each message: that message is gone, and nothing else.

Memory that raises, which is counted with them, comes before any codec: no message is gone. A batch
ends before the message whose codec raised, and in that message's turn the codec is asked again.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import trio

from trio_bytesbuf import BytesView
from trio_bytesbuf.testing import FailureAttempt, HookCalls, check_laws
from trio_bytesbuf.wire import Codec, TypedChannel, TypedReceiveChannel, TypedSendChannel

from .place import Case, Place, Planted
from .streams import sockets

VALUES = ["x" * (n * 131 % 300) for n in range(20)] + ["large" * 8000, "the last"]


class Words(Codec[str]):
    """Text as UTF-8, by functions that are to fail."""

    def __init__(self, calls: HookCalls | None = None) -> None:
        self._encode: Callable[[str], bytes] = str.encode
        self._decode: Callable[[bytes | memoryview | BytesView], str] = self._read
        if calls is not None:
            self._encode, self._decode = calls.wrap(str.encode), calls.wrap(self._read)

    @staticmethod
    def _read(payload: bytes | memoryview | BytesView) -> str:
        return bytes(payload).decode()

    def encode(self, value: str) -> bytes:
        """Write."""
        return self._encode(value)

    def decode(self, payload: bytes | memoryview | BytesView) -> str:
        """Read."""
        return self._decode(payload)


@contextlib.asynccontextmanager
async def channels(calls: HookCalls) -> AsyncIterator[Place]:
    """Connect a channel with a codec that is to fail and one without."""
    async with sockets(calls) as it:
        ours, theirs = it.stream, it.peer
        codec = Words(calls)
        it.stream = TypedChannel(ours, sends=codec, receives=codec)
        it.peer = TypedChannel(theirs, sends=Words(), receives=Words())
        yield it
        check_laws(it.stream)
        await trio.aclose_forcefully(it.stream)
        await trio.aclose_forcefully(it.peer)


@contextlib.asynccontextmanager
async def to_receive(calls: HookCalls) -> AsyncIterator[Place]:
    """Connect one that only receives, by a codec that is to fail."""
    async with sockets(calls) as it:
        it.stream = TypedReceiveChannel(it.stream, Words(calls))
        it.peer = TypedChannel(it.peer, sends=Words(), receives=Words())
        yield it
        check_laws(it.stream)


@contextlib.asynccontextmanager
async def to_send(calls: HookCalls) -> AsyncIterator[Place]:
    """Connect one that only sends, by a codec that is to fail."""
    async with sockets(calls) as it:
        it.stream = TypedSendChannel(it.stream, Words(calls))
        it.peer = TypedChannel(it.peer, sends=Words(), receives=Words())
        yield it
        check_laws(it.stream)
        await trio.aclose_forcefully(it.stream)
        await trio.aclose_forcefully(it.peer)


async def send_values(it: Place) -> None:
    """Be a peer that sends all."""
    await it.peer.send_many(VALUES)
    await it.peer.send_eof()


async def take_values(it: Place) -> None:
    """Be a peer that takes all."""
    async for value in it.peer:
        it.got.append(value)
    it.is_over.set()


async def receive(it: Place) -> None:
    """Receive one by one."""
    async for value in it.stream:
        it.got.append(value)


async def receive_batches(it: Place) -> None:
    """Receive in batches."""
    async for batch in it.stream.batches():
        it.got += batch


async def try_receive(it: Place) -> None:
    """Take what is there without waiting, and wait where nothing is."""
    with contextlib.suppress(trio.EndOfChannel):
        while True:
            value = it.stream.try_receive()
            it.got.append(await it.stream.receive() if value is None else value)


async def one_is_gone(it: Place, attempt: FailureAttempt) -> str:
    """Check that all came but the message whose decoding failed, if one did."""
    expected = list(VALUES)
    if attempt.error is not None:
        assert isinstance(attempt.error, (Planted, MemoryError)), repr(attempt.error)
        assert it.got == VALUES[: len(it.got)]
        if is_of_codec(attempt):
            del expected[len(it.got)]
        await receive(it)
    assert it.got == expected
    return what_became(attempt)


def is_of_codec(attempt: FailureAttempt) -> bool:
    """Say whether it was the codec that raised, and not the memory."""
    return not attempt.failed.startswith("memory")


def what_became(attempt: FailureAttempt) -> str:
    """Say it in words."""
    if attempt.error is None:
        return ""
    return "only that message is gone" if is_of_codec(attempt) else "resumed"


async def send_each(it: Place) -> None:
    """Send one by one."""
    for value in VALUES:
        await it.stream.send(value)
        it.more.append(value)


async def feed_each(it: Place) -> None:
    """Feed one by one, and send now and then."""
    for value in VALUES:
        it.stream.feed(value)
        it.more.append(value)
        await it.stream.drain()


async def send_many(it: Place) -> None:
    """Send half of them at once, then the others."""
    for half in (VALUES[:11], VALUES[11:]):
        await it.stream.send_many(half)
        it.more += half


async def all_others_came(it: Place, attempt: FailureAttempt) -> str:
    """Check that what was taken came, nothing of what was refused, and what is sent then."""
    if attempt.error is not None:
        assert isinstance(attempt.error, (Planted, MemoryError)), repr(attempt.error)
        await it.stream.send("behind the error")
        it.more.append("behind the error")
    await it.stream.send_eof()
    await it.is_over.wait()
    assert it.got == it.more
    return "only that message is not sent" if attempt.error is not None else ""


async def talk(it: Place) -> None:
    """Send and receive at once; what fails in one half is not the other's."""
    failed: list[Exception] = []

    async def say() -> None:
        for value in VALUES:
            try:
                await it.stream.send(value)
                it.more.append(value)
            except (Planted, MemoryError) as exc:
                failed.append(exc.with_traceback(None))
        await it.stream.send_eof()

    async def hear() -> None:
        ends = False
        while not ends:
            try:
                it.got.append(await it.stream.receive())
            except trio.EndOfChannel:
                ends = True
            except (Planted, MemoryError) as exc:
                failed.append(exc.with_traceback(None))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(say)
        nursery.start_soon(hear)
    if failed:
        raise failed[0]


async def repeat(it: Place) -> None:
    """Be a peer that sends all and takes all."""

    async def take() -> None:
        async for value in it.peer:
            it.taken += value.encode() + b"\n"
        it.is_over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_values, it)
        nursery.start_soon(take)


async def one_is_missing(it: Place, attempt: FailureAttempt) -> str:
    """Check that both sides got everything but the message that failed."""
    await it.is_over.wait()
    assert bytes(it.taken) == b"".join(value.encode() + b"\n" for value in it.more)
    missing = 2 * len(VALUES) - len(it.more) - len(it.got)
    assert missing == (attempt.error is not None and is_of_codec(attempt))
    for values in (it.more, it.got):
        at = next((n for n, value in enumerate(values) if value != VALUES[n]), len(values))
        assert values in (VALUES, VALUES[:at] + VALUES[at + 1 :])
    return what_became(attempt)


def cases() -> Iterator[Case]:
    """Yield receiving and sending, by each kind of channel."""
    kinds = ("hook", "memory")
    receiving: dict[str, Any] = {
        "receive": receive,
        "receive_batch": receive_batches,
        "try_receive": try_receive,
    }
    for name, operation in receiving.items():
        yield Case("codec", name, to_receive, operation, one_is_gone, send_values, kinds)
    sending = {"send": send_each, "feed, drain": feed_each, "send_many": send_many}
    for name, operation in sending.items():
        yield Case("codec", name, to_send, operation, all_others_came, take_values, kinds)
    yield Case("codec", "both ways", channels, talk, one_is_missing, repeat, kinds)
