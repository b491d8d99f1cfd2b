"""Everything written runs: the examples in docstrings, in the README and in the pages of docs/.

A block that imports a package of `MAY_BE_ABSENT` is left out where that is absent; then the page's
test has skipped, and says so, when all others have run.
"""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import trio
from pages import PAGES as SHOWN

import trio_bytesbuf

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *SHOWN]
BLOCK = re.compile(r"^```python\n(?P<code>>>> .*?)^```$", re.MULTILINE | re.DOTALL)

# What is too large to be among what every test needs. Other blocks must not use its names.
MAY_BE_ABSENT = ("pyarrow",)

# How many docstrings had examples when this was written. Fewer means that examples were lost, or
# that this file has stopped finding them.
LEAST_DOCSTRINGS = 12


def modules() -> Iterator[ModuleType]:
    """Yield the package and every module in it, except those that are programs."""
    yield trio_bytesbuf
    for info in pkgutil.walk_packages(trio_bytesbuf.__path__, f"{trio_bytesbuf.__name__}."):
        if info.name.rpartition(".")[2] != "__main__":
            yield importlib.import_module(info.name)


def public_names() -> dict[str, object]:
    """Return what a reader has at hand: trio, and the public names of the package and its rooms."""
    rooms = [trio_bytesbuf, *(module for module in modules() if hasattr(module, "__path__"))]
    names = {
        name: value
        for room in rooms
        for name, value in vars(room).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    return {"trio": trio, **names}


def docstrings() -> list[doctest.DocTest]:
    """Return the examples of every docstring, each with names of its own to work with."""
    names = public_names()
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = {
        test.name: test
        for module in modules()
        for test in finder.find(module, globs={**names, **vars(module)})
        if test.examples
    }
    return list(found.values())


def blocks_of(page: Path) -> Iterator[doctest.DocTest]:
    """Yield the examples of a page; later ones see the names of earlier ones."""
    text = page.read_text()
    names = public_names()
    for match in BLOCK.finditer(text):
        lineno = text.count("\n", 0, match.start("code"))
        test = doctest.DocTestParser().get_doctest(
            match["code"], {}, f"{page.name}:{lineno + 1}", str(page), lineno
        )
        test.globs = names
        yield test


def run(test: doctest.DocTest, *, clear_globs: bool = True) -> None:
    failures: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test, out=failures.append, clear_globs=clear_globs)
    assert not failures, "".join(failures)


DOCSTRINGS = docstrings()


@pytest.mark.parametrize("test", DOCSTRINGS, ids=lambda test: test.name)
def test_every_docstring_shows_what_happens(test: doctest.DocTest) -> None:
    """An example in a docstring prints what it says, with the public names at hand."""
    run(test)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_page_shows_what_happens(page: Path) -> None:
    """The sessions on a page, read from top to bottom, print what they say."""
    absent = {name for name in MAY_BE_ABSENT if importlib.util.find_spec(name) is None}
    left_out = set()
    for test in blocks_of(page):
        source = "".join(example.source for example in test.examples)
        needed = {name for name in absent if f"import {name}" in source}
        left_out |= needed
        if not needed:
            run(test, clear_globs=False)
    if left_out:
        pytest.skip(f"the rest has run; {', '.join(sorted(left_out))} is large, and not installed")


def test_the_examples_are_found() -> None:
    """The tests above are not empty: docstrings with examples are found, also in private files."""
    names = [test.name for test in DOCSTRINGS]
    assert len(names) >= LEAST_DOCSTRINGS, names
    assert "trio_bytesbuf.seq._view.BytesView" in names


LINK = re.compile(r"\]\((?P<target>[^)#\s]*)(?:#(?P<anchor>[^)\s]*))?[^)]*\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6} (?P<text>.*)$", re.MULTILINE)
MARKDOWN = sorted(page for page in ROOT.glob("**/*.md") if "_build" not in page.parts)


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that a code host gives the headings of a page."""
    found: set[str] = set()
    for heading in HEADING.finditer(FENCED.sub("", page.read_text(encoding="utf-8"))):
        text = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading["text"]).lower()
        slug = re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-")
        again = sum(slug == re.sub(r"-\d+$", "", other) for other in found)
        found.add(f"{slug}-{again}" if again else slug)
    return found


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: page.name)
def test_no_page_leads_nowhere(page: Path) -> None:
    """Every link to a file of ours finds it, pictures included, and the heading that it names."""
    broken = []
    for link in LINK.finditer(FENCED.sub("", page.read_text(encoding="utf-8"))):
        if "://" in link["target"] or link["target"].startswith("mailto:"):
            continue
        target = page.parent / link["target"] if link["target"] else page
        if not target.exists() or (
            link["anchor"] and target.suffix == ".md" and link["anchor"] not in anchors_of(target)
        ):
            broken.append(link[0])
    assert broken == []
