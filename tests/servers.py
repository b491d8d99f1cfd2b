"""Servers from Debian's packages, each in a process of its own, and the examples that talk to them.

A test that needs one which is absent skips and says what to install.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket as stdlib_socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import trio
from programs import PATIENCE, connect

EXAMPLES = Path(__file__).parent.parent / "examples"
REDIS, MEMCACHED, JQ = map(shutil.which, ("redis-server", "memcached", "jq"))

needs_redis = pytest.mark.skipif(not REDIS, reason="needs redis: apt-get install redis-server")
needs_memcached = pytest.mark.skipif(
    not MEMCACHED, reason="needs memcached: apt-get install memcached"
)
needs_jq = pytest.mark.skipif(not JQ, reason="needs jq: apt-get install jq")


def example_module(name: str) -> ModuleType:
    """Import an example as a module, once for all tests."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        assert spec
        assert spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listened on just now."""
    with stdlib_socket.create_server(("127.0.0.1", 0)) as socket:
        port: int = socket.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def served(address: str, *command: str | None) -> AsyncIterator[trio.Process]:
    """Run a server for the block, which begins when `address` can be connected to."""
    words = [word for word in command if word is not None]
    process = await trio.lowlevel.open_process(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with trio.fail_after(PATIENCE):
            while True:
                assert process.poll() is None, f"{words[0]} has ended with {process.returncode}"
                try:
                    await (await connect(address)).aclose()
                    break
                except OSError:
                    await trio.sleep(0.01)
        with trio.fail_after(3 * PATIENCE):
            yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@contextlib.asynccontextmanager
async def redis_server(folder: Path, *options: str) -> AsyncIterator[tuple[str, str]]:
    """Run Redis, which keeps nothing; yields its addresses, TCP and Unix socket."""
    port, path = free_port(), folder / "redis.sock"
    address = f"127.0.0.1:{port}"
    command = (
        REDIS, "--bind", "127.0.0.1", "--port", str(port), "--unixsocket", str(path),
        "--dir", str(folder), "--save", "", "--appendonly", "no", *options,
    )  # fmt: skip
    async with served(address, *command):
        yield address, f"unix:{path}"


@contextlib.asynccontextmanager
async def memcached_server(*options: str) -> AsyncIterator[str]:
    """Run memcached; yields its address."""
    address = f"127.0.0.1:{(port := free_port())}"
    user = ("-u", "root") if os.geteuid() == 0 else ()
    command = (MEMCACHED, "-l", "127.0.0.1", "-p", str(port), "-U", "0", *user, *options)
    async with served(address, *command):
        yield address


@contextlib.asynccontextmanager
async def talking_to(
    peer: Callable[[trio.SocketStream], Awaitable[None]],
) -> AsyncIterator[str]:
    """Serve, each connection by `peer`, which is none of the servers above; yields its address."""

    async def handler(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await peer(stream)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_tcp, handler, 0, host="127.0.0.1")
            [listener] = await nursery.start(serve)
            yield f"127.0.0.1:{listener.socket.getsockname()[1]}"
            nursery.cancel_scope.cancel()
