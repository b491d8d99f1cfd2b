"""`python -m trio_bytesbuf` as a program of its own, for tests that watch it from outside."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import attrs
import trio

PATIENCE = 20.0
"""Seconds after which a test gives up on a program; all of it takes far less than one."""


@attrs.define(eq=False)
class Program:
    """A running program, whose output is read line by line."""

    process: trio.Process
    _arrived: bytes = b""

    async def line(self) -> str:
        """Return the next line of its standard output; an empty string at the end."""
        assert self.process.stdout is not None
        with trio.fail_after(PATIENCE):
            while b"\n" not in self._arrived:
                data = await self.process.stdout.receive_some()
                if not data:
                    break
                self._arrived += data
        line, _, self._arrived = self._arrived.partition(b"\n")
        return line.decode()

    async def line_with(self, text: str) -> str:
        """Return the next line that has `text` in it."""
        while line := await self.line():
            if text in line:
                return line
        raise AssertionError(f"the program ended without saying {text!r}")

    async def stop(self, signum: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal and wait; return the exit code, the last line, and what went to stderr."""
        self.process.send_signal(signum)
        last = ""
        while line := await self.line():
            last = line
        return await self.end(last)

    async def end(self, last: str = "") -> tuple[int, str, str]:
        """Wait until it ends; return the exit code, `last`, and what went to stderr."""
        assert self.process.stderr is not None
        with trio.fail_after(PATIENCE):
            stderr = b"".join([data async for data in self.process.stderr]).decode()
            return await self.process.wait(), last, stderr


@contextlib.asynccontextmanager
async def running(*arguments: str, script: str | None = None) -> AsyncIterator[Program]:
    """Run the command line, or a `script` given its arguments; kill it at the end if need be."""
    how = ["-m", "trio_bytesbuf"] if script is None else ["-c", script]
    process = await trio.lowlevel.open_process(
        [sys.executable, "-W", "error", *how, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield Program(process)
    finally:
        if process.poll() is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        assert process.stdout is not None
        assert process.stderr is not None
        await process.stdout.aclose()
        await process.stderr.aclose()


@contextlib.asynccontextmanager
async def running_relay(
    listen: str, target: str, *options: str, script: str | None = None
) -> AsyncIterator[tuple[Program, str]]:
    """Run a relay; yields it when it listens, and where."""
    async with running("relay", listen, target, *options, script=script) as program:
        first = await program.line()
        match = re.fullmatch(r"relaying (\S+) -> (\S+)", first)
        assert match, first
        assert match[2] == target
        yield program, match[1]


async def connect(address: str) -> trio.SocketStream:
    """Connect to an address as the command line spells it, with trio's own stream."""
    if address.startswith("unix:"):
        return await trio.open_unix_socket(address.removeprefix("unix:"))
    host, _, port = address.rpartition(":")
    return await trio.open_tcp_stream(host.strip("[]"), int(port))


async def exchange(address: str, request: bytes) -> bytes:
    """Send a request and its end, and return the whole reply.

    Raises:
      trio.BrokenResourceError: the connection broke before the reply was whole.
    """
    reply = []
    try:
        with trio.fail_after(PATIENCE):
            async with await connect(address) as stream, trio.open_nursery() as nursery:
                nursery.start_soon(send_with_end, stream, request)
                reply += [data async for data in stream]
    except* trio.BrokenResourceError as group:
        broken = group
    else:
        return b"".join(reply)
    raise trio.BrokenResourceError("the exchange was cut") from broken


async def send_with_end(stream: trio.SocketStream, data: bytes) -> None:
    """Send `data` and the end of the stream."""
    await stream.send_all(data)
    await stream.send_eof()
