"""Let every system call, request for memory and hook of each operation fail, one at a time; count.

    python examples/failure_table.py

After each failure the rest is read, or the peer's part of it looked at: what can be gone on with is
gone on with, and gives exactly the bytes that are missing; what cannot be is broken, and says so
again; closing works; no descriptor is left open and no memory lent. Set TRIO_BYTESBUF_LONG=1 for
short reads and writes of many more lengths.
"""

import itertools
from collections.abc import Iterator

import trio
from failing import (
    buffering,
    codecs,
    datagrams,
    files,
    handing_over,
    lending,
    listening,
    relays,
    streams,
    tls,
    typed,
)
from failing.place import Case, faults, table_of

ROOMS = (
    *(streams, buffering, typed, relays, files, codecs, listening, datagrams, tls),
    *(lending, handing_over),
)


def cases() -> Iterator[Case]:
    """Yield all operations."""
    return itertools.chain.from_iterable(room.cases() for room in ROOMS)


async def main() -> None:
    """Try everything."""
    line = "{:<14}{:<25}{:<17}{:>5}  {}".format
    print(line("room", "operation", "failure", "runs", "outcomes"))
    total = 0
    for case in cases():
        for kind in case.fails:
            for name, fault, calls in faults(kind):
                table = await table_of(case, fault, calls)
                if table is not None:
                    outcomes = ", ".join(f"{n} {what}" for what, n in table.outcomes.most_common())
                    total += table.failed
                    print(line(case.room, case.name, name, table.failed, outcomes))
    print(f"{total} failures")


if __name__ == "__main__":
    trio.run(main)
