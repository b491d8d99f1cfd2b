"""The examples run and print what can be worked out beforehand, by hand or from the Rust ones."""

from __future__ import annotations

import mmap
import re
import runpy
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"

HELLO, GOODBYE = b"Example message 1: hello, world!", b"Message 2: goodbye"


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]):
    """Run an example as a program and return the lines that it prints."""

    def run(name: str) -> list[str]:
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        out, err = capsys.readouterr()
        assert not err
        return out.splitlines()

    return run


def numbers(line: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", line)]


def test_basic(printed) -> None:
    """The sum of the first n numbers is n (n - 1) / 2, and no byte of theirs got lost."""
    n = 123_456
    room, received, total = map(numbers, printed("bb_basic"))
    assert room[0] == received[0] == 8 * n
    assert room[1] >= room[0]
    assert total == [n * (n - 1) // 2]


def test_has_memory_forwarding(printed) -> None:
    """Every 256th byte from the first on is zero, and the payload lies in the inner memory."""
    nbytes = 12_345
    pieces, *rest = printed("bb_has_memory_forwarding")
    whole, last = divmod(nbytes, 4096)
    assert numbers(pieces) == [4096] * whole + [last]
    assert sorted(map(numbers, rest)) == [[nbytes], [nbytes, -(-nbytes // 256)]]


def test_has_memory_global(printed) -> None:
    """The checksum is the sum of the bytes of the three messages, however they are joined."""
    total = sum(b"Hello, world!Goodbye, world!Goodbye, universe!")
    assert printed("bb_has_memory_global") == [f"checksum: {total}"]


def test_has_memory_optimizing(printed) -> None:
    """One packet of 1, 8 and 16 bytes in pages, as was wished, and three numbers from it."""
    sent, received = printed("bb_has_memory_optimizing")
    assert numbers(sent) == [1 + 8 + 16, mmap.PAGESIZE]
    assert "Pages" in sent
    assert numbers(received) == [42, 43, 44]


def test_optimal_path(printed) -> None:
    """Only the message whose memory is all of the right kind goes the faster way; all arrive."""
    *sent, arrived = printed("bb_optimal_path")
    assert [(*numbers(line), "faster" in line) for line in sent] == [
        (len(HELLO), True),
        (len(GOODBYE), False),
        (len(HELLO + GOODBYE), False),
    ]
    assert numbers(arrived) == [2 * len(HELLO + GOODBYE)]


@pytest.mark.counts_memory
def test_reuse(printed) -> None:
    """Lengths add up, and parts that are joined stay the pieces that they were."""
    before, after = b'The quick brown fox says "', b'" and jumps over the lazy dog.'
    hello, world = b"Hello", b"world"
    menu = sum(len(f"{kinds} kinds of soup. ") for kinds in range(100))
    pieces = [
        [len(b"Hello, world!")],
        [len(hello)],
        [len(world)],
        [len(hello), len(world)],
        [len(before), len(hello), len(world), len(after)],
        [len("Lunch: "), menu, len("Dinner: "), menu],
    ]
    assert list(map(numbers, printed("bb_reuse"))) == [[sum(each), *each] for each in pieces]


@pytest.mark.counts_memory
def test_slice_by_slice_write(printed) -> None:
    """The message is as long in one-piece memory as in blocks of three bytes."""
    times, nbytes = 8888, 8888 * len(b"octarine")
    kind, hostile = map(numbers, printed("bb_slice_by_slice_write"))
    assert kind == [times, nbytes, 1]
    assert hostile == [times, nbytes, -(-nbytes // 3)]


def test_slice_count_metric(printed) -> None:
    """A view of one piece, four of it joined, and four of those; the first alone stays."""
    assert list(map(numbers, printed("bb_slice_count_metric"))) == [[1, 4, 4 * 4], [1]]


def test_static_data(printed) -> None:
    """Ten answers between the fixed parts, with times that do not go back and are the test's."""
    before = time.time_ns() // 1_000_000
    answers = printed("bb_static_data")
    after = time.time_ns() // 1_000_000
    parts = [re.search(r"'Unix-Milliseconds: (\d+)\\r\\n\\r\\n'$", answer) for answer in answers]
    assert len(parts) == 10
    times = [int(part[1]) for part in parts if part]
    assert [before, *times, after] == sorted([before, *times, after])
    assert len(times) == 10


def test_typed_store(printed) -> None:
    """Each request has its reply, in order: what the number was before."""
    assert printed("typed_store") == [
        "before: None",
        "reply: 3",
        "reply: None",
        "reply: 3",
        "reply: None",
    ]


def test_every_example_of_the_crate_has_a_test() -> None:
    """No bb_ example is left out above: each has a test of its name."""
    examples = {path.stem.removeprefix("bb_") for path in EXAMPLES.glob("bb_*.py")}
    tested = {name.removeprefix("test_") for name in globals()}
    assert examples
    assert examples - tested == set()


def test_the_readme_lists_every_example_once() -> None:
    """The list in the folder's README and the folder's programs are the same."""
    readme = (EXAMPLES / "README.md").read_text()
    listed = re.findall(r"^\* \[(\w+\.py)\]\((\w+\.py)\): ", readme, re.MULTILINE)
    assert all(name == link for name, link in listed)
    assert sorted(name for name, _ in listed) == sorted(path.name for path in EXAMPLES.glob("*.py"))
