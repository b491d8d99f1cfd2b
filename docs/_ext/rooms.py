"""What the reference is made of: the public names of the package and its rooms, and two directives.

    room   documents names of a room, those that are listed; with `:rest:` those that are listed
           on no page, so nothing public is ever missing
    names  lists what the package itself has, with links to where it is documented

A name that several rooms have is documented in the first of them, where it is made; the others
link to it.
"""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

LOGGER = logging.getLogger(__name__)

PACKAGE = "trio_bytesbuf"
ROOMS = ("seq", "mem", "io", "buffered", "wire", "testing")
LISTED = re.compile(r"^```\{room\} (?P<room>\S+)\n(?P<names>.*?)^```$", re.MULTILINE | re.DOTALL)


def public_names(module: ModuleType) -> list[str]:
    """Return the names of a room that do not begin with an underscore, without its files."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    ]


@cache
def homes() -> dict[str, str]:
    """Return for each public name which room documents it, or the package: the errors."""
    found: dict[str, str] = {}
    for room in ROOMS:
        module = importlib.import_module(f"{PACKAGE}.{room}")
        for name in public_names(module):
            found.setdefault(name, module.__name__)
    package = importlib.import_module(PACKAGE)
    return found | {name: PACKAGE for name in package.__all__ if name not in found}


def full_name(name: str) -> str | None:
    """Return the name with its room in front, or None if it is none of ours."""
    home = homes().get(name)
    return home and f"{home}.{name}"


def value_of(name: str) -> Any:
    """Return what a public name stands for."""
    return getattr(importlib.import_module(homes()[name]), name)


@cache
def listed(source: Path) -> dict[str, set[str]]:
    """Return for each room the names that the pages in a folder document by name."""
    found: dict[str, set[str]] = {}
    for page in sorted(source.glob("*.md")):
        for match in LISTED.finditer(page.read_text(encoding="utf-8")):
            found.setdefault(match["room"], set()).update(match["names"].split())
    return found


def made_in(name: str, module: str) -> str:
    """Return the module whose text gives `name` its value: follow the imports."""
    place = importlib.import_module(module)
    tree = ast.parse(Path(str(place.__file__)).read_text(encoding="utf-8"))
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                if (alias.asname or alias.name) == name:
                    origin = "." * statement.level + (statement.module or "")
                    package = module if hasattr(place, "__path__") else module.rpartition(".")[0]
                    return made_in(alias.name, importlib.import_module(origin, package).__name__)
    return module


def entry(name: str, home: str) -> list[str]:
    """Return the lines that document a name."""
    value = value_of(name)
    if isinstance(value, type) and value.__name__ == name:
        return [f".. autoclass:: {home}.{name}", ""]
    if callable(value) and getattr(value, "__name__", None) == name:
        return [f".. autofunction:: {home}.{name}", ""]
    origin = made_in(name, home)
    docs = ModuleAnalyzer.for_module(origin).find_attr_docs().get(("", name), [])
    return [f".. py:data:: {home}.{name}", "", *(f"   {line}" for line in docs), ""]


class Room(SphinxDirective):
    """Document the names of a room that are listed in the body."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"rest": directives.flag}

    def run(self) -> list[nodes.Node]:
        """Return what autodoc makes of the names."""
        room = self.arguments[0]
        names = " ".join(self.content).split()
        strangers = [name for name in names if homes().get(name) != room]
        if strangers:
            raise self.error(f"{room} is not the home of {', '.join(strangers)}")
        text: list[str] = []
        if "rest" in self.options:
            known = listed(Path(self.env.doc2path(self.env.docname)).parent).get(room, set())
            names = [name for name, home in homes().items() if home == room and name not in known]
            text += self.links_to_other_rooms(room)
        for name in names:
            text += ["```{eval-rst}", *entry(name, room), "```", ""]
        return self.parse_text_to_nodes("\n".join(text))

    @staticmethod
    def links_to_other_rooms(room: str) -> list[str]:
        """Return a line about the names that are here as well."""
        module = importlib.import_module(room)
        others = [name for name in public_names(module) if homes()[name] != room]
        if room == PACKAGE or not others:
            return []
        return ["Here as well: " + ", ".join(map(link, others)) + ".", ""]


def link(name: str) -> str:
    """Return a link to where a name is documented, in Markdown."""
    return f"{{py:obj}}`{name} <{full_name(name)}>`"


class Names(SphinxDirective):
    """List the names of the package, room by room."""

    def run(self) -> list[nodes.Node]:
        """Return a list with an entry for each room."""
        package = importlib.import_module(PACKAGE)
        text = []
        for home in (*(f"{PACKAGE}.{room}" for room in ROOMS), PACKAGE):
            names = [link(name) for name in package.__all__ if homes()[name] == home]
            if names:
                title = "errors" if home == PACKAGE else home.rpartition(".")[2]
                text += [f"* *{title}*: " + ", ".join(names)]
        return self.parse_text_to_nodes("\n".join(text))


def warn_of_missing(_app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of each public name that is documented nowhere, so that the build fails."""
    documented = env.get_domain("py").objects  # type: ignore[attr-defined]
    for name in homes():
        if full_name(name) not in documented:
            LOGGER.warning("%s is public, and not in the reference", full_name(name))


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of the directives."""
    app.add_directive("room", Room)
    app.add_directive("names", Names)
    app.connect("env-check-consistency", warn_of_missing)
    return {"parallel_read_safe": True}
