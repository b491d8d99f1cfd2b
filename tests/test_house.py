"""The architecture is a law: which room may import which, and how large a room's files may be."""

from __future__ import annotations

import ast
import graphlib
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
import importlib, os, sys, types
import attrs, trio  # once for all

def package(name):
    made = types.ModuleType(name)
    made.__path__ = [os.path.join(sys.argv[1], *name.split(".")[1:])]
    sys.modules[name] = made

for name in sys.argv[2:]:
    pid = os.fork()
    if not pid:
        *rooms, _ = name.split(".")
        for depth in range(len(rooms)):
            package(".".join(rooms[:depth + 1]))
        try:
            importlib.import_module(name)
        except BaseException as exc:
            print(f"{name}: {exc!r}", flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
print("done")
"""
"""Imports each module in a process of its own, where no ``__init__`` has been run before it."""


def test_every_file_imports_alone_whatever_was_imported_before() -> None:
    """No file needs another to have been imported first, not even the face of its room."""
    names = [".".join((NAME, *module)) for module in sorted(MODULES) if module != ("__main__",)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_EACH_ALONE, str(PACKAGE), *names],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("done\n", "")
