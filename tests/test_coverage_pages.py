"""The coverage pages: every public item of a crate has one entry, and every example runs."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

import trio_bytesbuf
import trio_bytesbuf.seq
import trio_bytesbuf.testing

DOCS = Path(__file__).parent.parent / "docs" / "coverage"

# A page and the list of names that it has to cover.
PAGES = {"bytesbuf.md": "bytesbuf-0.4.2.txt"}

HEADING = re.compile(r"^### `(?P<name>[^`]+)`$", re.MULTILINE)
EXAMPLE = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LOSS = re.compile(r"^\*\*Lost:\*\* (?P<reason>.+?)(?:\n\n|\Z)", re.MULTILINE | re.DOTALL)


@attrs.frozen
class Entry:
    """What a page says about one item of a crate."""

    page: str
    name: str
    text: str
    lineno: int

    @property
    def examples(self) -> list[str]:
        return [match["code"] for match in EXAMPLE.finditer(self.text)]

    @property
    def loss(self) -> str | None:
        match = LOSS.search(self.text)
        return match and match["reason"]


def entries_of(page: str) -> list[Entry]:
    text = (DOCS / page).read_text()
    starts = list(HEADING.finditer(text))
    stops = [match.start() for match in re.finditer(r"^##+ ", text, re.MULTILINE)] + [len(text)]
    return [
        Entry(
            page=page,
            name=match["name"],
            text=text[match.end() : min(stop for stop in stops if stop > match.start())],
            lineno=text.count("\n", 0, match.start()),
        )
        for match in starts
    ]


ENTRIES = [entry for page in PAGES for entry in entries_of(page)]


def public_names() -> dict[str, object]:
    rooms = (trio_bytesbuf, trio_bytesbuf.seq, trio_bytesbuf.testing)
    return {
        name: value for room in rooms for name, value in vars(room).items() if name[0].isupper()
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_name_of_the_crate_has_exactly_one_entry(page: str) -> None:
    """The headings of a page and the names extracted from the crate are the same list."""
    extracted = (DOCS / PAGES[page]).read_text().splitlines()
    assert extracted == sorted(set(extracted))
    assert sorted(entry.name for entry in entries_of(page)) == extracted


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_an_entry_has_an_example_or_a_stated_loss_with_its_reason(entry: Entry) -> None:
    """Nothing is only claimed: an entry shows what it says, or says what is lost and why."""
    assert bool(entry.examples) != bool(entry.loss)
    if entry.loss:
        assert len(entry.loss.split()) >= 8, "a reason is a sentence"
    else:
        assert "\nHere: " in entry.text
        assert all(code.startswith(">>> ") for code in entry.examples)


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.examples], ids=lambda entry: entry.name)
def test_every_example_of_a_coverage_page_gives_what_it_shows(entry: Entry) -> None:
    """Each entry runs as a doctest in a namespace with the public names and nothing else."""
    test = doctest.DocTestParser().get_doctest(
        entry.text.replace("```", ""), public_names(), entry.name, entry.page, entry.lineno
    )
    assert test.examples
    failures: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=failures.append)
    assert not failures, "".join(failures)


@pytest.mark.parametrize("page", PAGES)
def test_no_code_of_a_coverage_page_stands_outside_an_entry(page: str) -> None:
    """All examples belong to an entry, so all of them are run."""
    found = len(EXAMPLE.findall((DOCS / page).read_text()))
    assert found == sum(len(entry.examples) for entry in entries_of(page))
    assert found > 80


TOOL = Path(__file__).parent.parent / "tools" / "extract_rust_names.py"

CRATE = {
    "lib.rs": """
pub mod deeper;
pub use shapes::{Circle, Square};
pub use numbers::SIDES;
pub(crate) use shapes::Hidden;
""",
    "shapes.rs": """
/// pub struct Comment { }
#[derive(Clone, Debug)]
pub struct Circle {
    radius: u8,
}

impl Circle {
    pub const fn new() -> Self {
        Self { radius: 0 }
    }

    // pub fn in_a_comment() {}
    pub(crate) fn inner(&self) {}

    pub unsafe fn grow<T>(&mut self, by: T) {}
}

impl Default for Circle {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, const N: usize> PartialEq<&[u8; N]> for Circle {
}

unsafe impl<M: std::fmt::Debug> std::marker::Send for Square<M> {
}

pub(crate) struct Hidden;

impl Hidden {
    pub fn unseen(&self) {}
}

mod tests {
    impl Circle {
        pub fn only_tested(&self) {}
    }
}
""",
    "deeper/mod.rs": """
impl From<Circle> for Oval {
    fn from(circle: Circle) -> Self {}
}

impl From<Hidden> for Oval {
}
""",
}


def test_names_are_extracted_as_rust_makes_them_public(tmp_path: Path) -> None:
    """What the root exports, its functions and traits; no comments, tests, or inner names."""
    for name, source in CRATE.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    done = subprocess.run(
        [sys.executable, TOOL, tmp_path], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "Circle",
        "Circle: Clone",
        "Circle: Debug",
        "Circle: Default",
        "Circle: PartialEq<&[u8; N]>",
        "Circle::grow",
        "Circle::new",
        "Oval: From<Circle>",
        "SIDES",
        "Square",
        "Square: Send",
    ]
