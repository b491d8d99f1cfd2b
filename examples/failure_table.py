"""Let every system call, request for memory and hook of each operation fail, one at a time; count.

    python examples/failure_table.py [--rooms]

With `--rooms`, the outcomes are summed over the operations of a room, as docs/failures.md has them.
After each failure the rest is read, or the peer's part of it looked at: what can be gone on with is
gone on with, and gives exactly the bytes that are missing; what cannot be is broken, and says so
again; closing works; no descriptor is left open and no memory lent. Set TRIO_BYTESBUF_LONG=1 for
short reads and writes of many more lengths.
"""

import itertools
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial

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
    tls_changes,
    tls_serving,
    typed,
)
from failing.place import Case, faults, table_of

from trio_bytesbuf.testing import FailureTable

ROOMS = (
    *(streams, buffering, typed, relays, files, codecs, listening, datagrams, tls),
    *(tls_changes, tls_serving),
    *(lending, handing_over),
)


def cases() -> Iterator[Case]:
    """Yield all operations."""
    return itertools.chain.from_iterable(room.cases() for room in ROOMS)


async def main(*, by_room: bool = False) -> None:
    """Try everything; print a line for each operation and failure, or sums for each room."""
    line = "{:<14}{:<25}{:<17}{:>5}  {}".format
    if not by_room:
        print(line("room", "operation", "failure", "runs", "outcomes"))
    total = 0
    sums: dict[tuple[str, str], list[tuple[str, FailureTable]]] = {}
    for case in cases():
        for kind in case.fails:
            for name, fault, calls in faults(kind):
                table = await table_of(case, fault, calls)
                if table is None:
                    continue
                total += table.failed
                sums.setdefault((case.room, name.partition(":")[0]), []).append((case.name, table))
                if not by_room:
                    print(
                        line(case.room, case.name, name, table.failed, words(table.outcomes, ", "))
                    )
    if by_room:
        print("| room | failure | operations | failures | outcomes |")
        print("| --- | --- | ---: | ---: | --- |")
        for (room, name), tables in sums.items():
            outcomes = sum((table.outcomes for _, table in tables), Counter[str]())
            operations = len({operation for operation, _ in tables})
            row = (room, name, operations, outcomes.total(), words(outcomes, "; "))
            print(f"| {' | '.join(map(str, row))} |")
    print(f"{total} failures")


def words(outcomes: Counter[str], between: str) -> str:
    """Return outcomes with their numbers, the commonest first."""
    return between.join(f"{n} {what}" for what, n in outcomes.most_common())


if __name__ == "__main__":
    trio.run(partial(main, by_room="--rooms" in sys.argv))
