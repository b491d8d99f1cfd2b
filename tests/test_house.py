"""The architecture is a law: which room may import which, and how large a room's files may be."""

from __future__ import annotations

import ast
import graphlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import trio_bytesbuf

PACKAGE = Path(trio_bytesbuf.__file__).parent
NAME = PACKAGE.name

# Each room imports only from those before it.
ROOMS = ["_errors", "seq", "mem", "io", "buffered", "wire", "testing", "cli", "__main__"]

MAX_LINES = 600
"""A longer file holds two subjects."""


def module_of(path: Path) -> tuple[str, ...]:
    """Return a file's module, as the parts behind the package's name; a room for its __init__."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports_in(source: str, module: tuple[str, ...], *, is_room: bool) -> set[tuple[str, ...]]:
    """Return every module of this package that the source imports, however deep in it."""
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == NAME for alias in node.names), (
                f"{module} imports {NAME} by its absolute name"
            )
        elif isinstance(node, ast.ImportFrom):
            assert node.level or (node.module or "").split(".")[0] != NAME, (
                f"{module} imports {NAME} by its absolute name"
            )
            if node.level:
                up = node.level - (1 if is_room else 0)
                base = module[: len(module) - up]
                base += tuple(node.module.split(".")) if node.module else ()
                # `from . import _x` names a module, `from ._x import y` names what is in one
                found |= {
                    (*base, alias.name) if (*base, alias.name) in MODULES else base
                    for alias in node.names
                }
    return found


FILES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = set(FILES)
IMPORTS = {
    module: imports_in(path.read_text(), module, is_room=path.name == "__init__.py")
    for module, path in FILES.items()
}


def rank(module: tuple[str, ...]) -> int:
    """Return how high up in the house a module stands; the package's own face is on top."""
    return ROOMS.index(module[0]) if module else len(ROOMS)


def climbs(module: tuple[str, ...], imported: set[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the imports that go up, or into the inside of the same room by its face."""
    return sorted(
        other
        for other in imported
        if rank(other) > rank(module) or (other and other == module[: len(other)] != module)
    )


@pytest.mark.parametrize("module", sorted(MODULES), ids=".".join)
def test_imports_go_strictly_down(module: tuple[str, ...]) -> None:
    """No file imports from a room above its own, TYPE_CHECKING or not."""
    assert climbs(module, IMPORTS[module]) == []


def test_no_two_files_import_each_other_even_by_way_of_others() -> None:
    """The imports, TYPE_CHECKING included, have an order."""
    order = list(graphlib.TopologicalSorter(IMPORTS).static_order())
    assert set(order) >= MODULES


def test_the_law_sees_a_climb_and_a_cycle() -> None:
    """The checks can fail."""
    up = imports_in("if TYPE_CHECKING:\n    from ..io import Read", ("seq", "_view"), is_room=False)
    assert climbs(("seq", "_view"), up) == [("io",)]
    assert climbs(("seq", "_view"), {("seq",)}) == [("seq",)]
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()
    with pytest.raises(AssertionError, match="absolute"):
        imports_in("def f():\n    import trio_bytesbuf.io", ("seq", "_view"), is_room=False)


@pytest.mark.parametrize("module", sorted(MODULES), ids=".".join)
def test_files_stay_small(module: tuple[str, ...]) -> None:
    """No file has over 600 lines."""
    assert len(FILES[module].read_text().splitlines()) <= MAX_LINES


WAITING = {("mem", "_capped"), ("mem", "_ledger")}


def test_seq_runs_without_trio_and_so_does_mem_but_for_what_waits() -> None:
    """Bytes at rest know no event loop: importing their files does not need trio's."""
    used = {
        alias.name
        for module, path in FILES.items()
        if module[:1] in {("seq",), ("mem",), ("_errors",)} and module not in WAITING
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in (
            [ast.alias(node.module or "")] if isinstance(node, ast.ImportFrom) else node.names
        )
    }
    assert "attrs" in used
    assert not any(name.split(".")[0] == "trio" for name in used)


IMPORT_EACH_ALONE = """
import importlib, json, os, sys, types

def faked(name):
    made = types.ModuleType(name)
    made.__path__ = [os.path.join(sys.argv[1], *name.split(".")[1:])]
    sys.modules[name] = made

def forget(name):
    above, _, last = name.rpartition(".")
    del sys.modules[name]
    if above in sys.modules:  # else it was forgotten before
        vars(sys.modules[above]).pop(last, None)

def in_a_child(work):
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        try:
            work()
        except BaseException as exc:
            print(f"{exc!r}", flush=True)
        os._exit(0)
    os.waitpid(pid, 0)

def alone(name, below):
    def work():
        kept = {*below, *above_all}
        for other in [other for other in sys.modules if other.startswith(root + ".")]:
            if other not in kept:
                forget(other)
        try:
            importlib.import_module(name)
        except BaseException as exc:
            print(f"{name}: {exc!r}", flush=True)
    return work

def room():
    for name in above_all:
        faked(name)
    for name, below in files:
        in_a_child(alone(name, below))
        try:
            importlib.import_module(name)  # for those above it
        except BaseException:
            pass  # which the child has told

for above_all, files in json.load(sys.stdin):
    root = above_all[0]
    in_a_child(room)
print("done")
"""
"""Imports each file where nothing was imported but what it imports itself, directly or not.

A process for each room has the ``__init__`` of no package above its files, and imports one file
after the other. Before it does, a child of it forgets all that the file does not import, and
imports it. That what is below is there at once makes this quick; each of it has had its own turn.
"""


def dotted(module: tuple[str, ...]) -> str:
    """Return a module's full name."""
    return ".".join((NAME, *module))


def below(module: tuple[str, ...]) -> set[tuple[str, ...]]:
    """Return what a module imports, directly or not."""
    found: set[tuple[str, ...]] = set()
    left = [module]
    while left:
        new = IMPORTS[left.pop()] - found
        found |= new
        left += new
    return found


def test_every_file_imports_alone_whatever_was_imported_before() -> None:
    """No file needs another to have been imported first, not even the face of its room."""
    assert imported_alone(IMPORTS) == ("done\n", "")


def imported_alone(imports: dict[tuple[str, ...], set[tuple[str, ...]]]) -> tuple[str, str]:
    """Import each of these alone; return what that says."""
    order = list(graphlib.TopologicalSorter(imports).static_order())
    rooms: dict[tuple[str, ...], list[tuple[str, list[str]]]] = {}
    for module in order:
        if module and module != ("__main__",):
            names = sorted(map(dotted, below(module)))
            rooms.setdefault(module[:-1], []).append((dotted(module), names))
    asked = [
        ([dotted(room[:depth]) for depth in range(len(room) + 1)], files)
        for room, files in rooms.items()
    ]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_EACH_ALONE, str(PACKAGE)],
        input=json.dumps(asked), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "import sys; sys.modules['trio_bytesbuf.seq._view']",
        "import trio_bytesbuf; trio_bytesbuf.seq",
        "from . import _socket as other",
    ],
)
def test_a_file_that_needs_another_first_is_seen(
    line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The check can fail: a file that finds others by way of what somebody else has imported."""
    copy = tmp_path / NAME
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "io" / "_lease.py").write_text(f"{line}\n")
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", copy)
    module = ("io", "_lease")
    monkeypatch.setitem(IMPORTS, module, set())
    said, complaint = imported_alone({module: set()})
    assert complaint == ""
    assert said.startswith("trio_bytesbuf.io._lease: ")
    assert said.endswith("\ndone\n")
