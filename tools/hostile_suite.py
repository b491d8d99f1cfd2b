"""Run the suite again under hostile conditions, and print what became of it.

    python tools/hostile_suite.py [MODE ...] [--short] [--files FILE ...] [--python PYTHON ...]

The modes are told at the head of tests/conditions.py; all of them if none is named. --short runs
the few files that are quick and use most of the library, for a minute; it is what CI does.
Each interpreter needs what the tests need, and runs all modes. Exit code 1 if anything failed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODES = ("poisoned", "tiny", "dev", "gc", "threads")

SHORT = (
    "test_builder.py",
    "test_read.py",
    "test_sending.py",
    "test_buf_stream.py",
    "test_decoder.py",
    "test_frame_channels.py",
    "test_typed_channels.py",
    "test_relay.py",
    "test_fuzz_corpus.py",
)

COUNTED = re.compile(r"(\d+) (passed|failed|skipped|errors?|deselected)")
KINDS = ("passed", "failed", "skipped", "deselected")


def run(python: str, mode: str, files: list[str]) -> tuple[dict[str, int], float, str]:
    """Run the tests of `files` under a mode; return the counts, the seconds and what was said."""
    command = [python, *(("-X", "dev") if mode == "dev" else ()), "-m", "pytest", "-q"]
    command += ["-p", "no:cacheprovider", "--tb=short", *files]
    start = time.monotonic()
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, cwd=ROOT,
        env={**os.environ, "TRIO_BYTESBUF_SUITE": mode},
    )  # fmt: skip
    seconds = time.monotonic() - start
    lines = [line for line in done.stdout.splitlines() if COUNTED.search(line)]
    counts = dict.fromkeys(KINDS, 0)
    for count, kind in COUNTED.findall(lines[-1] if lines else ""):
        counts["failed" if kind.startswith("error") else kind] += int(count)
    if done.returncode not in (0, 5) and not counts["failed"]:
        counts["failed"] = 1  # it did not come to its end
    said = "" if not counts["failed"] else done.stdout[-6000:] + done.stderr[-2000:]
    return counts, seconds, said


def version_of(python: str) -> str:
    """Return what an interpreter calls itself."""
    program = (
        "import sys, sysconfig; print(sys.version.split()[0]"
        " + ('t' if sysconfig.get_config_var('Py_GIL_DISABLED') else ''))"
    )
    return subprocess.run(
        [python, "-c", program], capture_output=True, text=True, check=True
    ).stdout.strip()


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modes", nargs="*", metavar="MODE", help=", ".join(MODES))
    parser.add_argument("--short", action="store_true", help="only the most important files")
    parser.add_argument("--files", nargs="+", default=[], help="only these, as pytest takes them")
    parser.add_argument("--python", nargs="+", default=[sys.executable], help="interpreters")
    asked = parser.parse_args()
    for mode in asked.modes:
        if mode not in MODES:
            parser.error(f"there is no mode {mode!r}; there are {', '.join(MODES)}")
    files = asked.files or ([f"tests/{name}" for name in SHORT] if asked.short else [])
    failed = 0
    print(f"{'CPython':<10} {'mode':<10}" + "".join(f"{kind:>12}" for kind in KINDS) + "  seconds")
    for python in asked.python:
        for mode in asked.modes or MODES:
            counts, seconds, said = run(python, mode, files)
            numbers = "".join(f"{counts[kind]:>12,}" for kind in KINDS)
            print(f"{version_of(python):<10} {mode:<10}{numbers}  {seconds:.0f}", flush=True)
            if said:
                print(said, file=sys.stderr, flush=True)
            failed += counts["failed"]
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
