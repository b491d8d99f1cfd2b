"""The coverage pages: every public item of a module has one entry, and every example runs."""

from __future__ import annotations

import doctest
import itertools
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import attrs
import pytest
import trio

import trio_bytesbuf
import trio_bytesbuf.buffered
import trio_bytesbuf.io
import trio_bytesbuf.mem
import trio_bytesbuf.seq
import trio_bytesbuf.testing
import trio_bytesbuf.wire

DOCS = Path(__file__).parent.parent / "docs" / "coverage"

# How many examples each page had when it was written. Fewer means that some were lost, or that
# this file has stopped finding them.
LEAST_EXAMPLES = {
    "bytesbuf.md": 80,
    "bytesbuf-mem.md": 60,
    "bytesbuf-io.md": 100,
    "bytes.md": 150,
    "bytes-buf.md": 200,
    "bufstream.md": 19,
    "async-io-typed.md": 45,
}
PAGES = tuple(LEAST_EXAMPLES)

# Pages, and the lists of the names that they have to cover together.
COVERED = {
    ("bytesbuf.md",): ("bytesbuf-0.4.2.txt",),
    ("bytesbuf-mem.md",): ("bytesbuf-mem-0.4.2.txt",),
    ("bytesbuf-io.md",): ("bytesbuf-io-0.4.0.txt",),
    ("bufstream.md",): ("bufstream-0.1.4.txt",),
    ("async-io-typed.md",): ("async-io-typed-3.0.0.txt",),
    ("bytes.md", "bytes-buf.md"): ("bytes-1.10.1.txt", "bytes-1.12.1-new.txt"),
}

# A heading, and the list of the names that stand under it and nowhere else on these pages.
ADDED = {("bytes.md", "## Added after 1.10"): "bytes-1.12.1-new.txt"}

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
    rooms = (
        trio_bytesbuf,
        trio_bytesbuf.seq,
        trio_bytesbuf.mem,
        trio_bytesbuf.io,
        trio_bytesbuf.buffered,
        trio_bytesbuf.wire,
        trio_bytesbuf.testing,
    )
    names = {
        name: value
        for room in rooms
        for name, value in vars(room).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    return {"trio": trio, **names}


def names_of(listed: str) -> list[str]:
    return (DOCS / listed).read_text().splitlines()


@pytest.mark.parametrize(("pages", "lists"), COVERED.items(), ids=lambda files: files[0])
def test_every_name_of_the_module_has_exactly_one_entry(
    pages: tuple[str, ...], lists: tuple[str, ...]
) -> None:
    """The headings of the pages and the extracted names are the same; no name is there twice."""
    headings = Counter(entry.name for page in pages for entry in entries_of(page))
    assert headings == Counter(name for listed in lists for name in names_of(listed))
    assert set(headings.values()) == {1}
    for listed in lists:
        assert names_of(listed) == sorted(names_of(listed))


def test_every_page_is_covered() -> None:
    """No page of the folder is left out of the tests."""
    assert {path.name for path in DOCS.glob("*.md")} == set(PAGES)
    assert sorted(itertools.chain.from_iterable(COVERED)) == sorted(PAGES)
    assert {path.name for path in DOCS.glob("*.txt")} == set(
        itertools.chain.from_iterable(COVERED.values())
    )


@pytest.mark.parametrize(("place", "listed"), ADDED.items(), ids=lambda at: at[-1])
def test_what_a_later_version_added_stands_apart(place: tuple[str, str], listed: str) -> None:
    """The names that are new in a later version are what its section has, and only that."""
    page, section = place
    _, found, behind = (DOCS / page).read_text().partition(f"\n{section}\n")
    assert found
    assert "\n## " not in behind
    assert sorted(match["name"] for match in HEADING.finditer(behind)) == names_of(listed)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_an_entry_has_an_example_or_a_stated_loss_with_its_reason(entry: Entry) -> None:
    """Nothing is only claimed: an entry shows what it says, or says what is lost and why."""
    assert bool(entry.examples) != bool(entry.loss)
    if entry.loss:
        assert len(entry.loss.split()) >= 8, "a reason is a sentence"
    else:
        assert "\nHere: " in entry.text
        assert all(code.startswith(">>> ") for code in entry.examples)


@pytest.mark.counts_memory  # more often than not they show pieces, or room
@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.examples], ids=lambda entry: entry.name)
def test_every_example_of_a_coverage_page_gives_what_it_shows(entry: Entry) -> None:
    """Each entry runs as a doctest in a namespace with trio and the public names, no more."""
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
    assert found >= LEAST_EXAMPLES[page]


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

impl<Shape: Clone + Send, const CORNERS: usize, Colour: Clone + Send + Sync + Unpin + 'static>
    Square<Shape, CORNERS, Colour>
where
    Shape: Copy,
{
    pub fn paint(&mut self, colour: Colour) {}
}

impl<Shape: Clone + Send, const CORNERS: usize, Colour: Clone + Send + Sync + Unpin> Drop
    for Square<Shape, CORNERS, Colour>
{
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


MODULE = {
    "pens/mod.rs": """
mod pen;
pub use pen::{Ink, Pen, Writes};

pub mod testing;
""",
    "pens/pen.rs": """
pub type Ink = u32;

pub unsafe trait Writes: Send {
    type Paper;

    fn write(&self, paper: &Self::Paper);
}

impl<W: Writes + ?Sized> Writes for &W {
}

impl<T> Marker for T where T: Writes {}

impl<FWrite> Clone for Pen<FWrite>
where
    FWrite: Fn(usize) -> Ink,
{
}

unsafe impl Sync for Pen {}

impl dyn Writes {
    pub fn is_ink(&self) -> bool {}
}

impl Pen {
    pub fn new() -> Self {}
}
""",
    "pens/quill.rs": """
struct Ink<const SIZE: usize> {
}

pub(crate) struct Quill;

unsafe impl<const SIZE: usize> Writes for Ink<SIZE> {
}

impl Writes for Quill {
}
""",
    "pens/testing/mod.rs": """
mod pencil;
pub use pencil::*;
""",
    "pens/testing/pencil.rs": """
#[derive(Clone)]
pub struct Pencil;

struct Lead;

impl Writes for Pencil {}

impl Writes for Lead {}
""",
}

MACROS = {
    "lib.rs": """
pub use self::{ink::Red, ink::deep::Blue};

mod tests {
    impl Red {
        pub fn only_tested(&self) {}
    }
}

#[derive(Debug)]
pub struct Spill {
    pub litres: u8,
    cause: u8,
}

pub unsafe trait Dries {
    fn dry(&self) -> bool {
        true
    }
}

#[derive(Clone)]
#[expect(
    exhaustive,
    reason = "all of them (there are three)"
)]
pub enum Shade {
    Pale,
    Deep(u8),
    Mixed {
        Parts: u8,
    },
}

enum Unseen {
    Black,
}
""",
    "ink.rs": """
print_impl!(LowerHex, Red);
print_impl!(Octal, Blue);
index_impl!(Range<u8>, RangeFull);
index_impl!(
    Range<u16>,
);
elsewhere!(Binary, Red);

impl<'a> From<&'a [u8]> for &'a mut Red {
}

impl From<&'static str> for Red {
}
""",
    "print.rs": """
macro_rules! print_impl {
    ($tr:ident, $ty:ty) => {
        struct Helper;

        impl Hidden for Helper {}

        impl fmt::$tr for $ty {
            fn fmt(&self) {}
        }
    };
}

macro_rules! index_impl {
    ($($t:ty),*) => {
        $(
            impl Index<$t> for Red {
                fn index(&self, at: $t) {}
            }
        )*
    };
}

macro_rules! uncalled {
    ($ty:ty) => {
        impl Uncalled for Red {}
    };
}
""",
}


def extracted(folder: Path, crate: dict[str, str], *modules: str) -> list[str]:
    """Return what the tool lists of some modules of a crate, given as its files."""
    for name, source in crate.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(source)
    done = subprocess.run(
        [sys.executable, TOOL, *(folder / module for module in modules)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_names_are_extracted_as_rust_makes_them_public(tmp_path: Path) -> None:
    """What the root exports, its functions and traits; no comments, tests, or inner names."""
    assert extracted(tmp_path, CRATE, ".") == [
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
        "Square: Drop",
        "Square: Send",
        "Square::paint",
    ]


def test_names_of_modules_are_extracted_with_what_their_traits_ask_for(tmp_path: Path) -> None:
    """Several modules make one list; what private types implement is in none, even by name."""
    assert extracted(tmp_path, MODULE, "pens", "pens/testing") == [
        "&W: Writes",
        "Ink",
        "Pen",
        "Pen: Clone",
        "Pen: Sync",
        "Pen::new",
        "Pencil",
        "Pencil: Clone",
        "Pencil: Writes",
        "Writes",
        "Writes::Paper",
        "Writes::is_ink",
        "Writes::write",
    ]
    assert "Pencil" not in extracted(tmp_path, MODULE, "pens")


def test_names_made_by_macros_are_extracted(tmp_path: Path) -> None:
    """A macro's calls are read as its body, once for each round; what roots declare is public."""
    assert extracted(tmp_path, MACROS, ".") == [
        "&mut Red: From<&[u8]>",
        "Blue",
        "Blue: Octal",
        "Dries",
        "Dries::dry",
        "Red",
        "Red: From<&'static str>",
        "Red: Index<Range<u16>>",
        "Red: Index<Range<u8>>",
        "Red: Index<RangeFull>",
        "Red: LowerHex",
        "Shade",
        "Shade: Clone",
        "Shade::Deep",
        "Shade::Mixed",
        "Shade::Pale",
        "Spill",
        "Spill: Debug",
        "Spill::litres",
    ]
