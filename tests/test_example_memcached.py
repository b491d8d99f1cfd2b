"""memcached_client.py with a memcached that others wrote."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing
from programs import running
from servers import EXAMPLES, example_module, memcached_server, needs_memcached, talking_to

memcached_client = example_module("memcached_client")
MemcachedError, open_memcached = memcached_client.MemcachedError, memcached_client.open_memcached

MIB = 1_048_576


@contextlib.asynccontextmanager
async def connected(*options: str) -> AsyncIterator[tuple[object, str]]:
    """A client, and the address of its server."""
    async with memcached_server(*options) as address, open_memcached(address) as memcached:
        yield memcached, address


VALUES = (b"", b"\r\n", b"END\r\n", b"VALUE x 0 3\r\n", bytes(range(256)), os.urandom(1_000_000))


@needs_memcached
async def test_values_are_any_bytes() -> None:
    """Set, got, and got with others: what looks like an answer, and a megabyte of noise."""
    async with connected() as (memcached, _):
        for number, value in enumerate(VALUES):
            assert await memcached.set(f"key{number}", value)
            assert await memcached.get(f"key{number}") == value
        names = [f"key{number}" for number in range(len(VALUES) + 3)]
        items = await memcached.get_many(names)
        assert {name: item.value for name, item in items.items()} == dict(
            zip(names, VALUES, strict=False)
        )
        assert await memcached.get_many([]) == {}
        assert await memcached.get("nothing") is None


@needs_memcached
async def test_numbers_versions_and_what_is_not_there() -> None:
    """`incr`, `delete`, and a `set` that is refused when the value has changed."""
    async with connected() as (memcached, _):
        assert await memcached.incr("number") is None
        assert await memcached.set("number", b"40")
        assert await memcached.incr("number", 2) == 42
        assert await memcached.incr("number", 2**64 - 1) == 41
        [item] = (await memcached.get_many(["number"])).values()
        assert await memcached.set("number", b"1", if_version=item.version)
        assert not await memcached.set("number", b"2", if_version=item.version)
        assert await memcached.get("number") == b"1"
        assert await memcached.delete("number")
        assert not await memcached.delete("number")
        assert not await memcached.set("number", b"2", if_version=item.version)
        assert await memcached.set("brief", b"x", seconds=-1)
        assert await memcached.get("brief") is None


@needs_memcached
async def test_what_the_server_refuses_is_raised_and_the_next_request_answered() -> None:
    """A value that is too large, and text that is no number; none of it ends the connection."""
    async with connected() as (memcached, _):
        with pytest.raises(MemcachedError, match="too large"):
            await memcached.set("large", bytes(2 * MIB))
        assert await memcached.set("text", b"text")
        with pytest.raises(MemcachedError, match="non-numeric"):
            await memcached.incr("text")
        assert await memcached.get("text") == b"text"


@pytest.mark.parametrize("key", ["", " ", "a b", "a\r\nflush_all", "x" * 251, "é" * 126, "\x7f"])
async def test_a_key_that_would_be_another_request_is_refused(key: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match="no such keys"):
        memcached_client.checked(key)


@needs_memcached
async def test_many_values_for_one_reply() -> None:
    """Ten thousand small ones, and sixty megabytes of large ones, of which none is lost."""
    async with connected("-m", "256") as (memcached, _):
        small = {f"small{number}": b"%d\r\n" % number * 3 for number in range(10_000)}
        large = {f"large{number}": bytes([number]) * 900_000 for number in range(60)}
        await memcached.set_many(small)
        await memcached.set_many(large)
        await memcached.set_many({})
        for values in (small, large):
            names = list(values)
            for at in range(0, len(names), 50):
                items = await memcached.get_many(names[at : at + 50])
                assert len(items) == len(names[at : at + 50])
                assert all(items[name].value == values[name] for name in items)


@needs_memcached
async def test_many_tasks_take_turns() -> None:
    """Fifty tasks on one connection: what each gets is what it has set."""

    async def work(number: int) -> None:
        for times in range(10):
            value = b"%d:%d\r\n" % (number, times) * (number * 100)
            assert await memcached.set(f"key{number}", value)
            assert await memcached.get(f"key{number}") == value
            await memcached.incr("sum", number)

    async with connected() as (memcached, _):
        await memcached.set("sum", b"0")
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(work, number)
        assert await memcached.get("sum") == b"%d" % (10 * sum(range(50)))


@needs_memcached
async def test_an_abandoned_request_is_never_taken_for_another() -> None:
    """Cancelled at any moment: what is answered afterwards is right, or there is no answer."""
    outcomes = set()
    async with memcached_server() as address:
        async with open_memcached(address) as memcached:
            await memcached.set("large", b"x" * 1_000_000)
            await memcached.set("small", b"small")
        for number in range(40):
            async with open_memcached(address) as memcached:
                with trio.move_on_after(number / 20_000):
                    assert await memcached.get("large") == b"x" * 1_000_000
                try:
                    assert await memcached.get("small") == b"small"
                    outcomes.add("answered")
                except trio.BrokenResourceError:
                    outcomes.add("refused")
    assert "refused" in outcomes


@needs_memcached
async def test_who_waits_for_its_turn_can_be_cancelled_and_harms_nobody() -> None:
    """It has not asked yet, so the connection goes on."""

    async def wait(scope: trio.CancelScope) -> None:
        with scope:
            await memcached.get("key")

    scope = trio.CancelScope()
    async with connected() as (memcached, _), trio.open_nursery() as nursery:
        async with memcached._turn:
            nursery.start_soon(wait, scope)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
        assert await memcached.set("key", b"value")
    assert scope.cancelled_caught


@needs_memcached
async def test_the_program_keeps_values() -> None:
    """Run by hand."""
    script = (EXAMPLES / "memcached_client.py").read_text()
    async with memcached_server() as address, running(address, script=script) as program:
        assert "10000 values were kept and came back" in await program.line()
        assert await program.end() == (0, "", "")


@pytest.mark.parametrize(
    "reply", [b"VALUE a 0 99999999999 1\r\n", b"VALUE a 0 2 1\r\nabc\r\nEND\r\n", b"a\r\n", b""]
)
async def test_what_is_no_answer_is_raised(reply: bytes) -> None:
    """From a peer that is no memcached: an error, in time and in little memory."""

    async def peer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(reply)

    async with talking_to(peer) as address, open_memcached(address) as memcached:
        with pytest.raises((MemcachedError, EOFError)):
            await memcached.get("a")
        with pytest.raises(trio.BrokenResourceError):
            await memcached.get("a")
