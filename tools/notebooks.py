"""Run the notebooks and keep what they show, or check that what is kept is what they show.

    python tools/notebooks.py [--check | --again] [NAME ...]

Law 1. A kept notebook is in one form, so that a run changes what has changed and nothing else:
       metadata say the language and the tags of cells; code cells are counted from 1; ids stay;
       there are no times; what a cell prints is one output.
Law 2. What a cell tagged `varies` shows (times, figures, what a machine is) is kept and not
       compared. Of all others the text is compared; of pictures, that there are so many: fonts
       and versions of matplotlib draw them differently.
Law 3. A notebook is written only if something has changed beside what varies, or with `--again`:
       new figures alone are no reason for a new picture in the history.
Law 4. Nothing noisy is kept: no standard error, no error that the cell has not announced by the
       tag `raises-exception`, no path of this machine.
Law 5. The kernel is this interpreter and sees the package beside this file, whatever is installed.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import matplotlib.font_manager  # noqa: F401  # made here if need be, it has nothing to say in a cell
import nbclient
import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

ROOT: Final = Path(__file__).parent.parent
FOLDER: Final = ROOT / "notebooks"

CELL_SECONDS: Final = 120
"""After which a cell has hung. The slowest takes some 10 s on a quiet machine."""

METADATA: Final = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")

Notebook = dict[str, Any]
Cell = dict[str, Any]


def code_cells(notebook: Notebook) -> list[Cell]:
    """Return those cells that are run."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def tags(cell: Cell) -> list[str]:
    """Return the tags of a cell."""
    found: list[str] = cell["metadata"].get("tags", [])
    return found


def text_of(lines: str | list[str]) -> str:
    """Return a text that a notebook may have in lines."""
    return lines if isinstance(lines, str) else "".join(lines)


# The form


def tidy(notebook: Notebook) -> Notebook:
    """Return it in the form in which it is kept. (Law 1)"""
    cells = [_tidy_cell(cell) for cell in notebook["cells"]]
    for count, cell in enumerate(code_cells({"cells": cells}), 1):
        cell["execution_count"] = count
        for output in cell["outputs"]:
            if "execution_count" in output:
                output["execution_count"] = count
    return {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}


def _tidy_cell(cell: Cell) -> Cell:
    kept: Cell = {"cell_type": cell["cell_type"]}
    if cell["cell_type"] == "code":
        kept["execution_count"] = None
    kept["id"] = cell["id"]
    kept["metadata"] = {"tags": tags(cell)} if tags(cell) else {}
    if cell["cell_type"] == "code":
        kept["outputs"] = list(_tidy_outputs(cell["outputs"]))
    kept["source"] = text_of(cell["source"]).splitlines(keepends=True)
    return kept


def _tidy_outputs(outputs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    printed: dict[str, dict[str, Any]] = {}
    for output in copy.deepcopy(outputs):
        if output["output_type"] == "stream":
            name = output["name"]
            text = text_of(output["text"])
            if name in printed:
                text = "".join(printed[name]["text"]) + text
                printed[name]["text"] = text.splitlines(keepends=True)
                continue
            printed[name] = output
            output["text"] = text.splitlines(keepends=True)
        if "metadata" in output:
            output["metadata"] = {}
        for kind, data in output.get("data", {}).items():
            if kind.startswith("text/"):
                output["data"][kind] = text_of(data).splitlines(keepends=True)
            elif isinstance(data, str):
                output["data"][kind] = data.strip()
        yield output


def written(notebook: Notebook) -> str:
    """Return the text of the file."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


# What it shows


def shown(cell: Cell) -> list[str]:
    """Return what a cell shows, for comparison. (Law 2)"""
    lines = []
    for output in cell["outputs"]:
        match output["output_type"]:
            case "stream":
                lines.append(f"{output['name']}: {text_of(output['text'])}")
            case "error":
                lines.append(f"error: {output['ename']}: {output['evalue']}")
            case _:
                lines += [
                    f"{kind}: {text_of(data) if kind.startswith('text/') else '(a picture)'}"
                    for kind, data in sorted(output["data"].items())
                ]
    return lines


def differences(kept: Notebook, new: Notebook) -> Iterator[str]:
    """Yield what is shown now and was not, but for what varies; both are of the same cells."""
    for cell, now in zip(code_cells(kept), code_cells(new), strict=True):
        if "varies" in tags(cell) or shown(cell) == shown(now):
            continue
        before, after = "\n".join(shown(cell)), "\n".join(shown(now))
        yield f"cell {cell['id']} shows\n{after}\nand what is kept is\n{before}"


def noise(notebook: Notebook) -> Iterator[str]:
    """Yield what no reader wants to see. (Law 4)"""
    paths = (str(ROOT.resolve()), sys.prefix, tempfile.gettempdir() + "/", str(Path.home()) + "/")
    for cell in code_cells(notebook):
        for output in cell["outputs"]:
            if output.get("name") == "stderr":
                yield f"cell {cell['id']} has standard error: {text_of(output['text'])}"
        for line in shown(cell):
            if line.startswith("error: ") and "raises-exception" not in tags(cell):
                yield f"cell {cell['id']} raises {line}"
            yield from (
                f"cell {cell['id']} shows a path of this machine: {path}"
                for path in paths
                if path in line
            )


# Running


def run(notebook: Notebook) -> Notebook:
    """Run all cells in a kernel of its own; return the notebook with what they show, tidied.

    Raises:
      nbclient.exceptions.CellExecutionError: a cell has raised, and was not tagged to.
      nbclient.exceptions.CellTimeoutError: a cell has hung.
    """
    work = nbformat.reads(written(tidy(notebook)), as_version=4)
    with tempfile.TemporaryDirectory() as scratch:
        # No directories: what other environments have called "python3" is none of ours. (Law 5)
        manager = AsyncKernelManager(
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            transport="ipc",  # no port is open to others, and no warning says that one is
            connection_file=f"{scratch}/kernel.json",
        )
        client = nbclient.NotebookClient(
            work,
            km=manager,
            timeout=CELL_SECONDS,
            record_timing=False,
            resources={"metadata": {"path": str(FOLDER)}},
        )
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path, "IPYTHONDIR": scratch}
        client.execute(env=environment, cleanup_kc=True)  # which ends the kernel
    for cell in code_cells(work):
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                output["traceback"] = [COLOURS.sub("", line) for line in output["traceback"]]
    return tidy(work)


def check(path: Path) -> list[str]:
    """Return what is wrong with a notebook as it is kept."""
    text = path.read_text(encoding="utf-8")
    kept = json.loads(text)
    counts = [cell["execution_count"] for cell in code_cells(kept)]
    if counts != list(range(1, len(counts) + 1)):
        return [f"it was not run from top to bottom: its cells are numbered {counts}"]
    complaints = list(noise(kept))
    if text != written(tidy(kept)):
        complaints.append("it is not in the form in which notebooks are kept")
    return [*complaints, *differences(kept, run(kept))]


def renew(path: Path, *, again: bool) -> bool:
    """Run a notebook, and write it if something has changed; say if it was written."""
    text = path.read_text(encoding="utf-8")
    kept = json.loads(text)
    new = run(kept)
    if not again and text == written(tidy(kept)) and not list(differences(kept, new)):  # Law 3
        return False
    path.write_text(written(new), encoding="utf-8")
    return True


def main() -> int:
    """Do what the command line says; 1 if something is wrong with a notebook."""
    names = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="change nothing; say what is stale")
    what.add_argument("--again", action="store_true", help="write, even if only figures are new")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(names)}, or a file")
    given = parser.parse_args()
    if unknown := {name for name in given.names if not name.endswith(".ipynb")} - set(names):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    are_well = True
    for name in given.names or names:
        path = Path(name) if name.endswith(".ipynb") else FOLDER / f"{name}.ipynb"
        if given.check:
            complaints = check(path)
            verdict = "wrong" if complaints else "as it is kept"
        else:
            verdict = "written" if renew(path, again=given.again) else "nothing new"
            complaints = list(noise(json.loads(path.read_text(encoding="utf-8"))))
        print(f"{path.stem}: {verdict}", *complaints, sep="\n", flush=True)
        are_well = are_well and not complaints
    return int(not are_well)


if __name__ == "__main__":
    sys.exit(main())
