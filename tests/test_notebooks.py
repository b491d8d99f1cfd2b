"""The notebooks of notebooks/: each shows what a run of it shows, and leads somewhere.

They are run by tools/notebooks.py in a process of its own: zmq leaves sockets to the garbage
collector, and its threads stay as long as their process.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS = 240
"""After which a notebook has hung; the slowest takes some 10."""

needs_jupyter = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("nbclient", "ipykernel", "matplotlib")),
    reason="notebooks are run where the extra `notebooks` is installed",
)


def tool(*words: object) -> tuple[int, str]:
    """Run the tool on small forms of what is long; return its exit code and what it printed.

    What a kernel complains of while it is shut down is of interest only if the tool fails.
    """
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "notebooks.py"), *map(str, words)],
        env={**os.environ, "TRIO_BYTESBUF_SMALL": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return done.returncode, done.stdout + (done.stderr if done.returncode else "")


def kept(path: Path, *cells: tuple[str, str], tags: tuple[str, ...] = ()) -> Path:
    """Write a notebook: of each cell the source, and what is kept as its standard output."""
    notebook: dict[str, Any] = {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": count,
                "id": f"cell-{count}",
                "metadata": {"tags": list(tags)} if tags else {},
                "outputs": [{"name": "stdout", "output_type": "stream", "text": [printed]}],
                "source": [source],
            }
            for count, (source, printed) in enumerate(cells, 1)
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(notebook, indent=1, sort_keys=True) + "\n")
    return path


@needs_jupyter
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_shows_what_a_run_of_it_shows(path: Path) -> None:
    """Its cells run from top to bottom, and what they show is what is kept, but for what varies."""
    code, said = tool("--check", path)
    assert code == 0, said


@needs_jupyter
def test_what_is_stale_is_noticed(tmp_path: Path) -> None:
    """The check finds an output that is not the source's, a wrong order, noise; no more than that.

    Not a difference in a cell that is tagged `varies`.
    """
    right = kept(tmp_path / "right.ipynb", ("print(1 + 1)", "2\n"), ("print(3)", "3\n"))
    varies = kept(tmp_path / "varies.ipynb", ("print(id(print))", "7\n"), tags=("varies",))
    code, said = tool("--check", right, varies)
    assert (code, said) == (0, "right: as it is kept\nvaries: as it is kept\n")

    stale = kept(tmp_path / "stale.ipynb", ("print(1 + 1)", "2\n"), ("print(3)", "4\n"))
    noisy = kept(tmp_path / "noisy.ipynb", ("import sys", ""), ("print(sys.prefix)", sys.prefix))
    order = tmp_path / "order.ipynb"
    order.write_text(right.read_text().replace('"execution_count": 2', '"execution_count": 5'))
    code, said = tool("--check", stale, noisy, order)
    assert code == 1
    assert "stale: wrong\ncell cell-2 shows\nstdout: 3\n\nand what is kept is\nstdout: 4\n" in said
    assert f"noisy: wrong\ncell cell-2 shows a path of this machine: {sys.prefix}" in said
    assert "order: wrong\nit was not run from top to bottom: its cells are numbered [1, 5]" in said


@needs_jupyter
def test_a_run_writes_what_has_changed_and_nothing_else(tmp_path: Path) -> None:
    """New figures alone leave the file as it is; a new output is written, and then is current."""
    path = kept(tmp_path / "one.ipynb", ("print(id(print))", "7\n"), tags=("varies",))
    before = path.read_bytes()
    assert tool(path) == (0, "one: nothing new\n")
    assert path.read_bytes() == before

    kept(path, ("print(1)", "2\n"), ("print(3)\nprint(4)", "3\n"))
    assert tool(path) == (0, "one: written\n")
    assert tool("--check", path) == (0, "one: as it is kept\n")
    outputs = [cell["outputs"] for cell in json.loads(path.read_text())["cells"]]
    assert [[output["text"] for output in each] for each in outputs] == [
        [["1\n"]],
        [["3\n", "4\n"]],
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_notebook_leads_nowhere(path: Path) -> None:
    """Every link of a text cell to a file of ours finds it."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    targets = [target for text in texts for target in re.findall(r"\]\(([^)#\s]+)", text)]
    assert targets
    assert [
        each for each in targets if "://" not in each and not (path.parent / each).exists()
    ] == []


def test_the_notebooks_are_found() -> None:
    """The tests above are not empty, and the page about the notebooks names all of them."""
    page = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert len(NOTEBOOKS) >= 5
    assert [path.name for path in NOTEBOOKS if f"({path.name})" not in page] == []
