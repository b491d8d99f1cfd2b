"""What releases and users rely on beside the code: fragments, versions, names of programs."""

from __future__ import annotations

import importlib.metadata
import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
CONFIG: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = CONFIG["project"]

KINDS = [kind["directory"] for kind in CONFIG["tool"]["towncrier"]["type"]]
FRAGMENTS = sorted(path for path in (ROOT / "newsfragments").iterdir() if path.name != "README.md")


def what_is_wrong(name: str, text: str) -> list[str]:
    """Return what a fragment of this name and text should not be."""
    wrong = []
    if not re.fullmatch(rf"(\d+|\+[a-z][a-z0-9-]*)\.({'|'.join(KINDS)})\.md", name):
        wrong.append("is not called NUMBER.KIND.md or +WORD.KIND.md")
    if not re.fullmatch(r"[A-Z`][^\n]*(\n[^\n]+)*[.)]\n", text):
        wrong.append("is not a few lines that begin as a sentence and end as one")
    if max(map(len, text.splitlines()), default=0) > 130:
        wrong.append("has a line of more than 130 characters")
    return wrong


@pytest.mark.parametrize("path", FRAGMENTS, ids=lambda path: path.name)
def test_fragments_of_the_changelog_are_well_formed(path: Path) -> None:
    """Whatever is in the folder is read by the release; nothing else may be there."""
    assert what_is_wrong(path.name, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("9.feature.md", "Text.\n"),
        ("nine.added.md", "Text.\n"),
        ("9.added.rst", "Text.\n"),
        ("9.added.md", "text.\n"),
        ("9.added.md", "Text"),
        ("9.added.md", ""),
        ("9.added.md", "Text.\n\nMore.\n"),
        ("9.added.md", "T" + 130 * "x" + ".\n"),
    ],
)
def test_fragments_that_are_not_well_formed_are_seen(name: str, text: str) -> None:
    """The check can fail; and it can pass."""
    assert what_is_wrong(name, text)
    assert what_is_wrong("9.added.md", "`Name` is there.\n") == []


def test_the_page_about_fragments_names_all_kinds() -> None:
    """And no other."""
    page = (ROOT / "newsfragments" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\* `(\w+)`", page, re.MULTILINE) == KINDS


def test_every_dependency_has_a_lowest_version() -> None:
    """CI installs those, so that they are no wish."""
    lowest = runpy.run_path(str(ROOT / ".ci" / "lowest.py"))["lowest"]
    extras = PROJECT["optional-dependencies"]
    constraints = {*lowest([*PROJECT["dependencies"], f"trio_bytesbuf[{','.join(extras)}]"])}
    named = {
        re.split(r"[\[>=]", requirement)[0]
        for requirements in (PROJECT["dependencies"], *extras.values())
        for requirement in requirements
    }
    assert {constraint.split("==")[0] for constraint in constraints} == named - {PROJECT["name"]}
    with pytest.raises(AssertionError, match="no lowest"):
        list(lowest(["trio"]))


def test_classifiers_say_what_is_required() -> None:
    """Every CPython from the lowest on, by name; trio; and that types are there."""
    versions = [
        tuple(map(int, found.groups()))
        for name in PROJECT["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (\d+)\.(\d+)", name))
    ]
    lowest = min(versions)
    assert PROJECT["requires-python"] == f">={lowest[0]}.{lowest[1]}"
    assert versions == [(3, minor) for minor in range(lowest[1], versions[-1][1] + 1)]
    assert {"Framework :: Trio", "Typing :: Typed"} <= set(PROJECT["classifiers"])


def test_the_program_is_installed_under_its_name() -> None:
    """Which is the one that its completion scripts are for."""
    from trio_bytesbuf.cli import main
    from trio_bytesbuf.cli._options import SCRIPT

    [(name, value)] = PROJECT["scripts"].items()
    assert name == SCRIPT
    assert importlib.metadata.EntryPoint(name, value, "console_scripts").load() is main


RATIO = re.compile(r"(\d+\.\d+) ×")


def test_what_the_readme_says_of_costs_is_said_by_the_page_about_them() -> None:
    """Each ratio of the README's table stands on docs/costs.md, which has them from the tables."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition("| | here ÷ rival |")[2].partition("\n\n")[0]
    told = set(RATIO.findall(table))
    assert len(told) > 10
    assert told <= set(RATIO.findall((ROOT / "docs" / "costs.md").read_text(encoding="utf-8")))


def test_the_page_about_costs_leads_to_every_table_that_is_kept() -> None:
    """No table of bench/results is forgotten, and no link to one is dead."""
    page = (ROOT / "docs" / "costs.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\.\./bench/results/(\w+)\.md", page))
    kept = {path.stem for path in (ROOT / "bench" / "results").glob("*.md")} - {"README"}
    assert linked == kept
