"""Fuzz the decoders, and the algebra of views, builders and leases, by coverage.

    python fuzz [TARGET ...] [--seconds N] [--jobs N] [--keep]

The time is shared by the targets. Each runs under atheris in a process of its own, from what is in
fuzz/corpus/TARGET, and stops at its first finding: an assertion that fails, an error that is not
promised, ten seconds for one input, a GiB of memory. The input is written to fuzz/findings/, and
said; play it again by ``python fuzz TARGET --play FILE``. Mend what it shows, then put it into the
corpus, which the tests replay on every Python, without atheris.

--keep adds to the corpus what went new ways, and drops what goes no way of its own.

Exit code 1 if there was a finding. Where atheris cannot be imported the corpus is replayed, and
that is said.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
from _smallest import smallest
from _targets import CORPUS, TARGETS, corpus_of

HERE = Path(__file__).parent
FINDINGS = HERE / "findings"

LIMITS = ("-timeout=10", "-rss_limit_mb=1024", "-max_len=4096", "-print_final_stats=1")

EXECUTED = re.compile(r"number_of_executed_units: +(\d+)")
COVERED = re.compile(r"cov: (\d+)")
WRITTEN = re.compile(r"Test unit written to (\S+)")


@attrs.frozen
class Run:
    """What became of a target's time."""

    name: str
    executions: int
    coverage: int
    finding: str
    output: str


def run(name: str, seconds: float, found: Path) -> Run:
    """Fuzz one target; what went new ways is put into `found`."""
    found.mkdir()
    FINDINGS.mkdir(exist_ok=True)
    folders = [str(found), *([str(CORPUS / name)] if corpus_of(name) else [])]
    command = [sys.executable, str(HERE / "_drive.py"), name, *LIMITS]
    command += [f"-max_total_time={max(1, round(seconds))}", f"-artifact_prefix={FINDINGS}/{name}-"]
    done = subprocess.run(
        [*command, *folders],
        capture_output=True, text=True, errors="replace", check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[1:])},
    )  # fmt: skip
    output = done.stderr + done.stdout
    covered, executed = COVERED.findall(output), EXECUTED.findall(output)
    written = WRITTEN.search(output)
    finding = written.group(1) if written else f"exit {done.returncode}" if done.returncode else ""
    return Run(
        name, int(executed[-1]) if executed else 0, int(covered[-1]) if covered else 0, finding,
        output,
    )  # fmt: skip


def replay(name: str) -> int:
    """Play the corpus of a target; return how many inputs it has."""
    files = corpus_of(name)
    for file in files:
        TARGETS[name](file.read_bytes())
    return len(files)


def keep(name: str, found: Path) -> int:
    """Have in the corpus what goes new ways, old or new; return how many inputs that are."""
    inputs = {file.name: file.read_bytes() for file in (*corpus_of(name), *found.iterdir())}
    findings = _findings(name)
    kept = smallest(TARGETS[name], list(inputs.values()), keep=findings)
    folder = CORPUS / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for data in kept:
        (folder / _name_of(data)).write_bytes(data)
    for data in findings:
        (folder / f"finding-{_name_of(data)}").write_bytes(data)
    return len(kept)


def _findings(name: str) -> list[bytes]:
    """Return the inputs that once showed a bug: they stay, whichever way they go."""
    return [file.read_bytes() for file in corpus_of(name) if file.name.startswith("finding-")]


def _name_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def main() -> int:
    """Fuzz what is asked for, and tell."""
    parser = argparse.ArgumentParser(prog="python fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=30, help="how long in all; 30 by default")
    parser.add_argument("--jobs", type=int, default=1, help="how many at the same time")
    parser.add_argument("--keep", action="store_true", help="add to the corpus what goes new ways")
    parser.add_argument("--play", type=Path, metavar="FILE", help="play one input only")
    asked = parser.parse_args()
    names = asked.targets or list(TARGETS)
    for name in names:
        if name not in TARGETS:
            parser.error(f"there is no target {name!r}; there are {', '.join(TARGETS)}")
    if asked.play is not None:
        for name in names:
            TARGETS[name](asked.play.read_bytes())
        return 0
    if importlib.util.find_spec("atheris") is None:
        count = sum(map(replay, names))
        print(f"atheris is not installed: nothing was fuzzed, {count} inputs were replayed")
        return 0
    return fuzz(names, asked.seconds, asked.jobs, keeps=asked.keep)


def fuzz(names: list[str], seconds: float, jobs: int, *, keeps: bool) -> int:
    """Fuzz each of the targets; return the exit code."""
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(jobs) as pool:
        share = seconds * jobs / len(names)
        futures = [pool.submit(run, name, share, Path(scratch, name)) for name in names]
        print(f"{'target':<12} {'executions':>11} {'coverage':>9}  finding")
        for future in futures:
            one = future.result()
            runs.append(one)
            print(f"{one.name:<12} {one.executions:>11,} {one.coverage:>9,}  {one.finding or '-'}")
            if one.finding:
                print(one.output[-4000:], file=sys.stderr)
            sys.stdout.flush()
        if keeps:
            kept = {name: keep(name, Path(scratch, name)) for name in names}
            print("kept " + ", ".join(f"{count} of {name}" for name, count in kept.items()))
    findings = sum(bool(one.finding) for one in runs)
    total = sum(one.executions for one in runs)
    print(f"{total:,} executions on CPython {sys.version.split()[0]}, {findings} findings")
    return int(findings > 0)


if __name__ == "__main__":
    sys.exit(main())
