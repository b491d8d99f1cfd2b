"""The program in rust_bytes/, which plays scripts on the Rust crate `bytes`: built, and asked."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

PROGRAM = Path(__file__).parent / "rust_bytes"

FETCH_SECONDS = 300
"""How long the crate may take to come; a guess. Without a network it is known at once."""


class Rust:
    """The program, which answers a line with a line."""

    def __init__(self, program: Path) -> None:
        self.process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def play(self, script: str) -> list[str]:
        """Return the crate's answers, one for each command."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(script + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the program ended with status {self.process.wait()} at: {script}"
        return line.removesuffix("\n").split("\t")


GIT_INDEX = {"RUSTC_BOOTSTRAP": "1", "CARGO_UNSTABLE_SPARSE_REGISTRY": "true"}
"""Before 1.68 cargo fetches all of a large git repository to find a crate, unless it is told that
it may ask for what it needs as later ones do."""


def cargo(*arguments: str, target: Path) -> subprocess.CompletedProcess[str]:
    """Run cargo in the program's folder; what it makes goes to `target`."""
    says = subprocess.run(["cargo", "--version"], capture_output=True, text=True, timeout=60)
    known = re.search(r"(\d+)\.(\d+)", says.stdout)
    is_old = known is not None and tuple(map(int, known.groups())) < (1, 68)
    return subprocess.run(
        ["cargo", *arguments, "--locked"],
        cwd=PROGRAM,
        env={**os.environ, "CARGO_TARGET_DIR": str(target), **(GIT_INDEX if is_old else {})},
        capture_output=True,
        text=True,
        timeout=FETCH_SECONDS,
    )
