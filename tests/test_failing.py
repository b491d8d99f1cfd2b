"""Whatever fails, at whichever call: nothing is lost, repeated or left behind, and nothing hangs.

The table of operations and failures is that of `examples/failure_table.py`, of which each room is a
module of `examples/failing`; it checks as it goes.
"""

from __future__ import annotations

import runpy
import sys
from functools import partial
from pathlib import Path

import pytest

EXAMPLES = str(Path(__file__).parent.parent / "examples")


def example() -> dict:
    """Run the example as Python would, with its folder on the path."""
    sys.path.insert(0, EXAMPLES)
    try:
        return runpy.run_path(f"{EXAMPLES}/failure_table.py")
    finally:
        sys.path.remove(EXAMPLES)


EXAMPLE = example()
CASES = list(EXAMPLE["cases"]())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.room}: {case.name}")
async def test_each_call_of_each_operation_fails(case) -> None:
    """For every kind of failure: the laws hold, what is resumable resumes, the rest is broken."""
    failed = 0
    for kind in case.fails:
        for _, fault, calls in EXAMPLE["faults"](kind):
            table = await EXAMPLE["table_of"](case, fault, calls)
            failed += 0 if table is None else table.failed
    assert failed >= len(case.fails)


def test_the_example_prints_the_table(capsys) -> None:
    """A line for each operation and failure, and how many failures that were.

    No kind of failure is one that never strikes in its room.
    """
    EXAMPLE["trio"].run(EXAMPLE["main"])
    head, *rows, total = capsys.readouterr().out.splitlines()
    assert head.split() == ["room", "operation", "failure", "runs", "outcomes"]
    assert len(rows) > 5 * len(CASES) / 2
    runs = [int(row[56:62]) for row in rows]
    assert min(runs) >= 1
    assert total == f"{sum(runs)} failures"
    struck = {(row[:14].strip(), row[39:56].strip()) for row in rows}
    assert struck == {
        (case.room, name)
        for case in CASES
        for kind in case.fails
        for name, _, _ in EXAMPLE["faults"](kind)
    }


def test_the_example_sums_up_what_became_of_the_operations_of_a_room(capsys, monkeypatch) -> None:
    """The same failures, in fewer lines: what docs/failures.md has."""
    monkeypatch.setitem(EXAMPLE["cases"].__globals__, "ROOMS", (sys.modules["failing.typed"],))
    EXAMPLE["trio"].run(partial(EXAMPLE["main"], by_room=True))
    _, _, *rows, total = capsys.readouterr().out.splitlines()
    sums = [int(row.split("|")[4]) for row in rows]
    kinds = [row.split("|")[2].strip() for row in rows]
    assert len(set(kinds)) == len(kinds)
    assert {"EAGAIN, 3 times", "short", "ECONNRESET", "EPIPE"} <= set(kinds)
    assert min(sums) >= 1
    assert total == f"{sum(sums)} failures"


async def test_a_file_is_sent_without_a_descriptor_to_spare() -> None:
    """The duplicate that `sendfile` would need cannot be had; reading and sending needs none."""
    case = next(case for case in CASES if case.name == "send_file")
    (_, fault, calls), *_ = EXAMPLE["faults"]("EMFILE")
    table = await EXAMPLE["table_of"](case, fault, calls)
    assert dict(table.outcomes) == {"completed": 1}
