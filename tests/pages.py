"""What the pages of docs/ show, as tests take it: sessions, programs, parts of them, commands.

A block of Python is one of three things, and its first line says which:

    >>> ...       a session, which test_docs.py runs
    # name.py     a program, to be saved under that name
    # in name.py  a part of that program, which stands in it word for word

A program that serves at port 8000 is a server: it runs while the commands of the console blocks
behind it do, up to the next server. (Port 9000 is there for a second one.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(
    page
    for page in DOCS.glob("**/*.md")
    if "_build" not in page.parts and page.parent != DOCS / "coverage"  # which has tests of its own
)

FENCE = re.compile(r"^```(?P<kind>[\w{}-]*)[^\n]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"# (?P<name>[a-z]\w*\.py)\n")
SERVES = re.compile(r"serve_\w+\b[^\n]*\b8000\b")
PART = re.compile(r"# in (?P<name>[a-z]\w*\.py)\n")
COMMAND = re.compile(
    r"^\$ (?P<command>(?:[^\n\\]|\\\n|\\.)*)\n(?P<output>(?:(?!\$ ).*\n)*)", re.MULTILINE
)


@attrs.frozen
class Block:
    """What stands between two fences."""

    kind: str
    text: str
    lineno: int

    @property
    def is_session(self) -> bool:
        return self.kind == "python" and self.text.startswith(">>> ")

    @property
    def program(self) -> str | None:
        """The name under which it is to be saved."""
        match = NAME.match(self.text) if self.kind == "python" else None
        return match and match["name"]

    @property
    def part_of(self) -> str | None:
        """The name of the program in which it stands."""
        match = PART.match(self.text) if self.kind == "python" else None
        return match and match["name"]

    @property
    def is_server(self) -> bool:
        return self.program is not None and bool(SERVES.search(self.text))

    @property
    def commands(self) -> list[tuple[str, str]]:
        """What is typed, and what is said to come of it."""
        if self.kind != "console":
            return []
        return [(found["command"], found["output"]) for found in COMMAND.finditer(self.text)]


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        yield Block(match["kind"], match["text"], text.count("\n", 0, match.start()) + 1)


def title(page: Path) -> str:
    """How a page is called in the names of tests."""
    return page.relative_to(DOCS).as_posix()
