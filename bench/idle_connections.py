"""How much memory a connection holds that once received a little and now waits.

    python bench/idle_connections.py [--quick] [--json FILE]

So many connections as descriptors allow, at most 10,000, receive 100 bytes each and wait for
more, in a process of their own for each sample; another process holds the other ends.

    ours          `async for view in SocketStream(...).views()`
    trio          `receive_some(65_536)` in a loop
    own buffer    trio's `recv_into` a `bytearray(65_536)` that each connection has for itself
    trio, silent  the same, but nothing was ever sent: what the tasks and the streams take

How to read it: KiB of resident memory for each connection, with task and stream; what the
bytes and their memory take is the difference from the last row. `lent` is what the pool says
that somebody can still see: a waiting stream holds no block.
"""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio
import trio.testing
from _measure import Contest, Options, Report, Table, in_child, in_turn, peer, shown

from trio_bytesbuf import GlobalPool, SocketStream, default_memory

CONNECTIONS = 10_000
OTHER_DESCRIPTORS = 50
MESSAGE_NBYTES = 100
READ_NBYTES = 65_536
KINDS = ("ours", "trio", "own buffer", "trio, silent")


def most_connections() -> int:
    """Return how many connections one process can have, after asking for more descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(CONNECTIONS, hard - OTHER_DESCRIPTORS) if hard > 0 else CONNECTIONS


def resident_nbytes() -> int:
    """Return how much memory this process has in use."""
    gc.collect()
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def wait_with_ours(stream: trio.SocketStream, received: Callable[[int], None]) -> None:
    """Receive views until the end; the last one stays in the variable, as it does in programs."""
    async for view in SocketStream(stream).views():
        received(len(view))


async def wait_with_trio(stream: trio.SocketStream, received: Callable[[int], None]) -> None:
    """Receive bytes until the end; the last ones stay in the variable."""
    while data := await stream.receive_some(READ_NBYTES):
        received(len(data))


async def wait_with_own_buffer(stream: trio.SocketStream, received: Callable[[int], None]) -> None:
    """Receive into the same buffer until the end."""
    room = bytearray(READ_NBYTES)
    while nbytes := await stream.socket.recv_into(room):
        received(nbytes)


def sample(kind: str, count: int) -> dict[str, float]:
    """Hold `count` connections in this process; return memory in bytes for each connection."""
    most_connections()
    return trio.run(hold, kind, count)


async def hold(kind: str, count: int) -> dict[str, float]:
    """Let the connections receive, wait until all of them wait, and look."""
    ways = {"ours": wait_with_ours, "own buffer": wait_with_own_buffer}
    wait = ways.get(kind, wait_with_trio)
    nbytes = 0 if kind == "trio, silent" else MESSAGE_NBYTES
    missing = count * nbytes
    all_arrived = trio.Event()

    def received(nbytes: int) -> None:
        nonlocal missing
        missing -= nbytes
        if not missing:
            all_arrived.set()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=count)
    port = listener.socket.getsockname()[1]
    before = resident_nbytes()
    async with listener, trio.open_nursery() as nursery:
        with peer("idle", port, count, nbytes):
            for _ in range(count):
                nursery.start_soon(wait, await listener.accept(), received)
            if nbytes:
                await all_arrived.wait()
            await trio.testing.wait_all_tasks_blocked()
            after = resident_nbytes()
            pool = default_memory()
            assert isinstance(pool, GlobalPool)
            lent_nbytes = pool.statistics().lent_nbytes
        nursery.cancel_scope.cancel()
    return {"resident": (after - before) / count, "lent": lent_nbytes}


def main() -> None:
    """Measure and print."""
    options = Options.parse(__doc__)
    options.answer(sample)
    report = Report()
    count, turns = (min(1_000, most_connections()), 2) if options.quick else (most_connections(), 5)
    rivals = {kind: partial(in_child, __file__, kind=kind, count=count) for kind in KINDS}
    answers = in_turn(rivals, turns)
    resident = Contest(
        "resident memory",
        "KiB/connection",
        {kind: [each["resident"] / 1024 for each in got] for kind, got in answers.items()},
    )
    rows = [
        [
            kind,
            shown(resident.median(kind)),
            resident.spread(kind),
            f"{resident.ratio(kind, 'trio'):.2f}",
            shown(resident.median(kind) - resident.median("trio, silent")),
            shown(max(each["lent"] for each in answers[kind]) / 1024),
        ]
        for kind in KINDS
    ]
    report.headline("memory of an idle connection", resident, "ours", ["trio", "own buffer"])
    columns = ["kind", "KiB/connection", "min..max", "÷ trio", "over silent", "lent, KiB in all"]
    report.add(Table(f"{count:,} connections that wait", columns, rows), [resident])
    options.finish(report)


if __name__ == "__main__":
    main()
