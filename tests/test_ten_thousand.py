"""Very many connections that wait hold no block: not after a message, not in the middle of one.

A tenth of the connections have sent a length and a part of the body when the pool is looked
at, the others a whole message that was answered. The other ends live in a process of their own, so
that each connection costs this one a single descriptor.

`TRIO_BYTESBUF_LONG=1` makes it ten thousand connections (if the system grants as many descriptors;
the test prints how many there were), otherwise it is a thousand.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from trio_bytesbuf import GlobalPool, SocketStream, serve_unix
from trio_bytesbuf.mem._pool import BLOCK_SIZES, MAX_IDLE_NBYTES

WANTED = 10_000 if os.environ.get("TRIO_BYTESBUF_LONG") == "1" else 1_000
SPARE_DESCRIPTORS = 200
"""For everything else that this process has open."""


README = Path(__file__).parent.parent / "README.md"


def the_readmes_own(name: str) -> Any:
    """Return a function of the README's program that serves frames."""
    programs = re.findall(r"```python\n(import .*?)```", README.read_text(), re.DOTALL)
    (program,) = (each for each in programs if "LengthPrefixed" in each)
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(program, str(README), "exec"), names)
    return names[name]


serve = the_readmes_own("serve")


# The other ends

CLIENTS = r"""
import resource, socket, sys

path, count, bulk = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

def message(nbytes):
    return nbytes.to_bytes(4, "big") + bytes(nbytes)

def receive(client, nbytes):
    while nbytes:
        data = client.recv(nbytes)
        assert data, "the server left"
        nbytes -= len(data)

clients = []
for number in range(count):
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    clients.append(client)
    if bulk:  # a large message first, in steps that both buffers hold
        client.sendall(message(bulk)[: bulk // 2])
        client.sendall(message(bulk)[bulk // 2 :])
        receive(client, 4 + bulk)
    if number % 10:
        if not bulk:
            client.sendall(message(96))
            receive(client, 100)
    else:
        client.sendall(message(150)[:100])
print("all have sent 100 bytes", flush=True)
sys.stdin.readline()
for client in clients[::10]:
    client.sendall(bytes(54))
for client in clients[::10]:
    receive(client, 154)
print("all have their answers", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def descriptors():
    """How many this process may have, after it has asked for as many as are needed."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = before
    needed = WANTED + SPARE_DESCRIPTORS
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    yield soft
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def lines_of(process: trio.Process):
    """The lines that the clients print."""
    assert process.stdout is not None
    text = b""
    async for data in process.stdout:
        text += data
        while b"\n" in text:
            line, text = text.split(b"\n", 1)
            yield line.decode()


@pytest.mark.parametrize("bulk", [0, 100_000], ids=["small messages only", "after a large one"])
async def test_connections_that_wait_hold_no_block(tmp_path, bulk, descriptors):
    """The pool has lent nothing while they wait, a tenth of them in the middle of a message."""
    wanted = WANTED // 10 if bulk else WANTED
    count = min(wanted, descriptors - SPARE_DESCRIPTORS)
    print(f"{count} connections")
    pool = GlobalPool()
    served = 0
    command = [sys.executable, "-c", CLIENTS, str(tmp_path / "socket"), str(count), str(bulk)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}

    async def handler(stream: SocketStream) -> None:
        nonlocal served
        served += 1
        async with stream:
            await serve(stream)

    def listen(task_status):
        return serve_unix(handler, tmp_path / "socket", memory=pool, task_status=task_status)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(listen)
            process = await nursery.start(partial(trio.run_process, command, **pipes))
            lines = lines_of(process)
            assert await anext(lines) == "all have sent 100 bytes"
            await trio.testing.wait_all_tasks_blocked()

            assert served == count
            statistics = pool.statistics()
            assert statistics.lent_nbytes == 0
            assert statistics.idle_nbytes <= len(BLOCK_SIZES) * MAX_IDLE_NBYTES
            if not bulk:
                assert statistics.allocated == 0, "small messages never see the pool"

            await process.stdin.send_all(b"\n")
            assert await anext(lines) == "all have their answers"
            await process.stdin.send_all(b"\n")
            await lines.aclose()
            await process.wait()
            nursery.cancel_scope.cancel()
    assert pool.statistics().lent_nbytes == 0
