"""Our docstrings, as reStructuredText.

A docstring is a contract with clauses in a fixed order. Here each clause becomes a field, and what
stands in single backticks a link, if it is a public name, or else a literal.

Law 1. Nothing is dropped: each line of a docstring is on the page, examples last.
Law 2. A link leads to what is documented, or Sphinx complains.
Law 3. What is none of ours has to exist where we say that it is, or Sphinx complains.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from functools import cache
from pathlib import Path
from typing import Any, get_origin

from docutils import nodes
from rooms import PACKAGE, full_name, homes, value_of
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer

SECTION = re.compile(r"(?P<title>Args|Returns|Yields|Raises|[A-Z].*\braises\b.*|Example):$")
CLAUSE = re.compile(r"(?P<title>Cancellation|Cost|Idea|Source): (?P<text>.*)$")
ENTRY = re.compile(r"(?P<names>\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*): (?P<text>.*)$", re.DOTALL)
ERRORS = re.compile(r"(?:[A-Z]\w*|\w+(?:\.\w+)+)(?:, (?:[A-Z]\w*|\w+(?:\.\w+)+))*: ")
QUOTED = re.compile(r"(?<![`\w:])`(?P<text>[^`\n]+)`(?!`)(?P<more>\w?)")
CALL = re.compile(r"(?P<name>[\w.]+)(?:\(\))?")

TRIO = "https://trio.readthedocs.io/en/stable/"
PAGES_OF_TRIO = {
    "reference-core.html": re.compile(
        r"trio\.(run|Event|Lock|CancelScope|Nursery|TaskStatus|CapacityLimiter|open_nursery|sleep\w*"
        r"|move_on_\w+|fail_\w+|Cancelled|TooSlowError|WouldBlock|EndOfChannel|\w+ResourceError"
        r"|to_thread\.\w+|from_thread\.\w+)$"
    ),
    "reference-io.html": re.compile(
        r"trio\.(abc\.(\w*Stream|\w*Channel|AsyncResource|Listener)|aclose_forcefully"
        r"|serve_\w+|open_\w+|\w*Stream|S\w+Listener|Path|Process|run_process|socket\.\w+)$"
    ),
    "reference-lowlevel.html": re.compile(r"trio\.(lowlevel\.\w+|abc\.Instrument)$"),
    "reference-testing.html": re.compile(r"trio\.testing\.\w+$"),
}
"""Where trio documents what our docstrings speak of. Its own index would have to be fetched."""


# Docstrings


def fields_of(lines: list[str]) -> list[str]:
    """Return a docstring with its clauses as fields, examples last. (Law 1)"""
    text: list[str] = []
    fields: list[str] = []
    examples: list[str] = []
    rest = list(lines)
    while rest:
        line = rest.pop(0)
        section, clause = SECTION.match(line), CLAUSE.match(line)
        if section is not None and rest and rest[0].startswith(" "):
            body = textwrap.dedent("\n".join(_taken(rest))).strip("\n")
            if section["title"] == "Example":
                examples += ["", ".. rubric:: Example", "", *body.splitlines(), ""]
            else:
                fields += _field(section["title"], body)
        elif clause is not None:
            more = []
            while rest and rest[0].strip():
                more.append(rest.pop(0).strip())
            body = " ".join([clause["text"], *more])
            if clause["title"] == "Idea":  # names of others, which may be spelt as ours are
                body = QUOTED.sub(lambda match: f"``{match['text']}``" + _apart(match), body)
            fields += _indented(f":{clause['title']}: ", body)
        else:
            text.append(line)
    return [*text, "", *fields, "", *examples]


def _taken(rest: list[str]) -> list[str]:
    """Take the indented lines at the front, and blank ones between them."""
    taken = []
    while rest and (not rest[0].strip() or rest[0].startswith(" ")):
        taken.append(rest.pop(0))
    return taken


def _field(title: str, body: str) -> list[str]:
    """Return a section as fields."""
    if title in {"Returns", "Yields"}:
        return _indented(f":{title}: ", body)
    if "raises" in title.lower():
        head = [] if title == "Raises" else [f"   {title}:", ""]
        return [":Raises:", *head, *(_raised(entry) for entry in _entries(body))]
    fields: list[str] = []
    for entry in (" ".join(part.split()) for part in re.split(r"\n+(?=\S)", body)):
        match = ENTRY.match(entry)
        if match is None:
            raise ValueError(f"no argument is described by {entry!r}")
        for name in match["names"].split(", "):
            fields += _indented(f":param {name.replace('*', '')}: ", match["text"])
    return fields


def _entries(body: str) -> list[str]:
    """Return what a list of errors has: each error with its cause, and sentences in between."""
    entries: list[str] = []
    for line in filter(None, map(str.rstrip, body.splitlines())):
        begins = not line.startswith(" ") and (not entries or entries[-1][-1] in ".;")
        if begins or (not line.startswith(" ") and ERRORS.match(line)):
            entries.append(line)
        else:
            entries[-1] += " " + line.strip()
    return entries


def _raised(entry: str) -> str:
    """Return an entry of a list of errors."""
    match = ENTRY.match(entry)
    if match is None or not ERRORS.match(entry):
        return f"   * {entry}"
    names = ", ".join(f":py:exc:`{name}`" for name in match["names"].split(", "))
    return f"   * {names}: {match['text']}"


def _indented(head: str, text: str) -> list[str]:
    first, *rest = text.splitlines() or [""]
    return [head + first, *(f"   {line}" if line else "" for line in rest)]


def linked(lines: list[str], owner: type | None) -> list[str]:
    """Return the lines with a link, or a literal, for each name in single backticks. (Law 2)"""

    def role(match: re.Match[str]) -> str:
        text = match["text"]
        call = CALL.fullmatch(text)
        target = call and documented(call["name"], owner)
        found = f":py:obj:`{text} <{target}>`" if target else f"``{text}``"
        return found + _apart(match)

    return [
        line if line.lstrip().startswith((">>>", "...")) else QUOTED.sub(role, line)
        for line in lines
    ]


def _apart(match: re.Match[str]) -> str:
    """Return what follows a name in backticks, such as an s, told apart from it."""
    return f"\\ {match['more']}" if match["more"] else ""


def documented(name: str, owner: type | None) -> str | None:
    """Return the full name of what is documented as `name`, seen from a class, or None."""
    if name.startswith("trio."):
        return name if exists(name) else None
    first, _, rest = name.partition(".")
    if full_name(first) is not None:
        if not rest:
            return full_name(first)
        value = value_of(first)
        return f"{full_name(first)}.{rest}" if has_member(value, rest) else None
    if owner is not None and not rest and has_member(owner, name):
        home = full_name(owner.__name__)
        return home and f"{home}.{name}"
    return None


def has_member(owner: Any, name: str) -> bool:
    """Whether the page of a class has such a method, property or attribute."""
    if not isinstance(owner, type) or name.startswith("_"):
        return False
    value = inspect.getattr_static(owner, name, None)
    if isinstance(value, property):
        value = value.fget
    elif isinstance(value, (classmethod, staticmethod)):
        value = value.__func__
    is_ours = str(getattr(value, "__module__", "")).startswith(PACKAGE)
    return callable(value) and is_ours and bool(inspect.getdoc(getattr(owner, name)))


def transform(
    _app: Sphinx, _what: str, name: str, obj: Any, _options: Any, lines: list[str]
) -> None:
    """Rewrite a docstring in place; called by autodoc."""
    owner = obj if isinstance(obj, type) else None
    parts = name.removeprefix(f"{PACKAGE}.").split(".")
    for part in parts:
        if part in homes() and isinstance(value_of(part), type):
            owner = value_of(part)
            break
    lines[:] = linked(fields_of(lines), owner)


# What a class page shows


def public_bases(_app: Sphinx, _name: str, cls: type, _options: Any, bases: list[Any]) -> None:
    """Replace bases that are not public by those of theirs that are; called by autodoc."""
    shown: list[Any] = []

    def show(base: Any) -> None:
        kind = get_origin(base) or base
        if kind is object or kind.__module__ in {"abc", "typing"}:
            return
        if kind.__module__.startswith(PACKAGE) and kind.__name__ not in homes():
            for other in kind.__bases__:
                show(other)
        elif kind not in shown:
            shown.append(kind)

    for base in cls.__bases__:
        show(base)
    bases[:] = [
        kind
        for kind in shown
        if not any(kind is not other and issubclass(other, kind) for other in shown)
    ] or [object]


def skip(
    _app: Sphinx, _what: str, _name: str, obj: Any, _would_skip: bool, _options: Any
) -> bool | None:
    """Skip what a class has from a class of others; called by autodoc."""
    value = obj.fget if isinstance(obj, property) else obj
    module = str(getattr(value, "__module__", "") or "")
    is_foreign = callable(value) and not isinstance(value, type) and not module.startswith(PACKAGE)
    return True if is_foreign else None


def without_overloads() -> None:
    """Have signatures shown once, as they are implemented: autodoc has no option for it.

    Overloads are for type checkers. On a page they repeat all arguments, without their defaults.
    """
    analyze = ModuleAnalyzer.analyze

    def analyze_and_forget(self: ModuleAnalyzer) -> None:
        analyze(self)
        self.overloads = {}

    ModuleAnalyzer.analyze = analyze_and_forget  # type: ignore[method-assign]


# Names of others


def exists(name: str) -> bool:
    """Whether a dotted name can be looked up."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for part in parts[count:]:
            value = getattr(value, part, None)
        return value is not None
    return False


@cache
def foreign_names() -> set[str]:
    """Return what our modules import from elsewhere, or define for types only, as they name it."""
    names: set[str] = set()
    package = importlib.import_module(PACKAGE)
    for info in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."):
        path = Path(package.__path__[0], *info.name.split(".")[1:])
        file = path / "__init__.py" if info.ispkg else path.with_suffix(".py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names.update(alias.asname or alias.name for alias in node.names)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
            elif isinstance(node, ast.Assign):
                names.update(target.id for target in node.targets if isinstance(target, ast.Name))
            elif isinstance(node, ast.ClassDef):
                names.add(node.name)
    return names


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Node | None:
    """Lead to our names by whichever room, to trio's pages, and to nothing for others. (Law 3)"""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    own = documented(target.removeprefix("~").rpartition(".")[2], None)
    if own and own != target:
        domain = env.get_domain("py")
        return domain.resolve_xref(  # type: ignore[no-any-return]
            env, node["refdoc"], app.builder, "obj", own, node, content
        )
    if target.startswith("trio."):
        for page, pattern in PAGES_OF_TRIO.items():
            if pattern.match(target) and exists(target):
                uri = f"{TRIO}{page}#{target}"
                return nodes.reference("", "", content, internal=False, refuri=uri)
    is_ours = "." not in target or target.startswith(f"{PACKAGE}.")  # the name of a type
    is_foreign = is_ours and target.rpartition(".")[2] in foreign_names()
    return content if is_foreign or exists(target) or exists(f"builtins.{target}") else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx what to call."""
    without_overloads()
    app.connect("autodoc-process-docstring", transform)
    app.connect("autodoc-process-bases", public_bases)
    app.connect("autodoc-skip-member", skip)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True}
