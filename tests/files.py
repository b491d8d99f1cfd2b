"""Files for tests: over each way to read and write, with threads that can be held up."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from unittest import mock

import pytest
import trio

from trio_bytesbuf import CappedPool, GlobalPool
from trio_bytesbuf.io import File, _file_handle
from trio_bytesbuf.mem import Memory, PageMemory, PlainMemory
from trio_bytesbuf.testing import FixedBlockMemory

WAYS = {
    "page cache first": {},
    "threads": {"CAN_READ_NOW": False},
    "no preadv": {"CAN_READ_NOW": False, "CAN_ADDRESS": False},
}
"""What the system can do; each is a way of its own through the code."""


MEMORIES = {
    "blocks of 1": lambda: FixedBlockMemory(1),
    "blocks of 7": lambda: FixedBlockMemory(7),
    "plain": PlainMemory,
    "pages": PageMemory,
    "pool": GlobalPool,
    "capped": lambda: CappedPool(8 << 20),
}


@contextlib.contextmanager
def ability(way: str) -> Iterator[None]:
    """Take from the system what it cannot do in this way."""
    with contextlib.ExitStack() as stack:
        for name, value in WAYS[way].items():
            stack.enter_context(mock.patch.object(_file_handle, name, value))
        yield


@pytest.fixture(params=WAYS)
def each_way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each of the ways that a system may leave."""
    with ability(request.param):
        yield request.param


@contextlib.asynccontextmanager
async def a_file(
    contents: bytes = b"", memory: Memory | None = None
) -> AsyncIterator[tuple[File, io.FileIO]]:
    """A file without a name that has `contents`, and a second descriptor of it to look with."""
    with tempfile.TemporaryFile(buffering=0) as raw:
        raw.write(contents)
        async with File(io.FileIO(os.dup(raw.fileno()), "r+"), memory=memory) as file:
            yield file, raw


class Gate:
    """A stand-in for system calls that wait in their thread until they are let go on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.call = getattr(os, name)
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.left = threading.Event()
        self.targets: list[int] = []

    def __call__(self, fd: int, *args: object) -> int:
        if threading.current_thread() is threading.main_thread():
            return self.call(fd, *args)
        self.targets.append(fd)
        self.entered.set()
        try:
            assert self.opened.wait(10), "nobody opened the gate"
            return self.call(fd, *args)
        finally:
            self.left.set()

    async def wait_entered(self) -> None:
        """Wait until a thread stands before the gate."""
        await trio.to_thread.run_sync(self.entered.wait, 10)
        assert self.entered.is_set()

    async def let_go(self) -> None:
        """Open it, and wait until the thread has made its call."""
        self.opened.set()
        await trio.to_thread.run_sync(self.left.wait, 10)
        assert self.left.is_set()


@contextlib.contextmanager
def gate(name: str) -> Iterator[Gate]:
    """Hold up calls of `os.<name>` that worker threads make; let them all go at the end."""
    made = Gate(name)
    with mock.patch.object(os, name, made):
        try:
            yield made
        finally:
            made.opened.set()


async def cancelled_at_the_gate(held: Gate, call) -> trio.CancelScope:
    """Run `call` until its thread stands before the gate; cancel it and return at once."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await held.wait_entered()
            scope.cancel()
    return scope
