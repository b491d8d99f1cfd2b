"""The Rust programs that tests talk to: built by cargo, out of the tree; and the one that answers.

rust_bytes/ plays scripts on the crate `bytes`, interop/ speaks the typed protocol by the crate
`async-io-typed` (interop_peer.py runs it).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

FETCH_SECONDS = 300
"""How long the crates may take to come; a guess. Without a network it is known at once."""

GIT_INDEX = {"RUSTC_BOOTSTRAP": "1", "CARGO_UNSTABLE_SPARSE_REGISTRY": "true"}
"""Before 1.68 cargo fetches all of a large git repository to find a crate, unless it is told that
it may ask for what it needs as later ones do."""


def absent(why: str) -> NoReturn:
    """Skip the test that asks, or fail it where programs have to be there: in CI."""
    if os.environ.get("TRIO_BYTESBUF_NEEDS_RUST") == "1":
        pytest.fail(why)
    pytest.skip(why)


def built(name: str, config: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the program in the folder `name`, if need be, and return where it is.

    Where cargo or the crates cannot be had, the test that asks is skipped. A program that does
    not compile, or whose lock file is out of date, is a failure.
    """
    if shutil.which("cargo") is None:
        absent("cargo is not installed")
    if (wish := os.environ.get("CARGO_TARGET_DIR")) is not None:
        target = Path(wish).absolute()
    elif (cache := getattr(config, "cache", None)) is not None:
        target = cache.mkdir(name)
    else:
        target = tmp_path_factory.mktemp(name)
    try:
        fetched = _cargo("fetch", name=name, target=target)
    except subprocess.TimeoutExpired:
        absent(f"the crates of {name} did not come within {FETCH_SECONDS} seconds")
    if fetched.returncode:
        mistakes = ("--locked", "lock file", "manifest")
        assert not any(mistake in fetched.stderr for mistake in mistakes), fetched.stderr
        absent(f"the crates of {name} cannot be had: {fetched.stderr.strip().splitlines()[-1]}")
    done = _cargo("build", "--release", "--offline", name=name, target=target)
    assert not done.returncode, done.stderr
    return target / "release" / name


def _cargo(*arguments: str, name: str, target: Path) -> subprocess.CompletedProcess[str]:
    """Run cargo in the program's folder; what it makes goes to `target`."""
    says = subprocess.run(["cargo", "--version"], capture_output=True, text=True, timeout=60)
    known = re.search(r"(\d+)\.(\d+)", says.stdout)
    is_old = known is not None and tuple(map(int, known.groups())) < (1, 68)
    return subprocess.run(
        ["cargo", *arguments, "--locked"],
        cwd=Path(__file__).parent / name,
        env={**os.environ, "CARGO_TARGET_DIR": str(target), **(GIT_INDEX if is_old else {})},
        capture_output=True,
        text=True,
        timeout=FETCH_SECONDS,
    )


class Rust:
    """A program that answers a line with a line."""

    def __init__(self, program: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
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
