"""The reference: what its pages list by name is there, once, and the rest follows.

The site is built by CI, where Sphinx warns of a public name that is in no page, and a warning ends
the build (`docs/_ext/rooms.py`). Here, without Sphinx, the lists are held against the rooms.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

import trio_bytesbuf

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
ROOMS = ("seq", "mem", "io", "buffered", "wire", "testing")
LISTED = re.compile(r"^```\{room\} (?P<room>\S+)\n(?P<names>.*?)^```$", re.MULTILINE | re.DOTALL)


def public_names(module: ModuleType) -> set[str]:
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }


def listed(room: str, page: str) -> tuple[list[str], bool]:
    """Return what a page lists of a room, and whether it says that the rest is to follow."""
    names: list[str] = []
    has_rest = False
    for found in LISTED.finditer((REFERENCE / f"{page}.md").read_text(encoding="utf-8")):
        assert found["room"] == room, page
        words = found["names"].split()
        has_rest |= words == [":rest:"]
        names += [word for word in words if word != ":rest:"]
    return names, has_rest


@pytest.mark.parametrize("room", ROOMS)
def test_no_public_name_of_a_room_is_missing(room: str) -> None:
    """Each is listed once, or comes with the rest; nothing is listed that is not there."""
    names, has_rest = listed(f"trio_bytesbuf.{room}", room)
    public = public_names(importlib.import_module(f"trio_bytesbuf.{room}"))
    assert has_rest, "the page does not end with the rest of the room"
    assert len(names) == len(set(names))
    assert set(names) <= public
    assert names, "only the rest is on the page, in no order"


def test_errors_and_everyday_names_have_their_page() -> None:
    """What is public in the package alone is an error; everything else is in a room."""
    names, has_rest = listed("trio_bytesbuf", "errors")
    assert has_rest
    in_rooms = set[str]().union(
        *(public_names(importlib.import_module(f"trio_bytesbuf.{room}")) for room in ROOMS)
    )
    rest = set(trio_bytesbuf.__all__) - in_rooms
    assert set(names) <= rest
    assert all(issubclass(getattr(trio_bytesbuf, name), Exception) for name in rest)
    assert "```{names}\n```" in (REFERENCE / "index.md").read_text(encoding="utf-8")
