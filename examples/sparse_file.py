"""Search a file that is larger than memory should be made for, without reading it.

Makes a sparse file (8 GiB if not told otherwise) with a needle near its end, views it, and finds
the needle. What the search needs of memory for itself is `RssAnon`; `RssFile` is the
file's own pages, which the system keeps in memory as long as it has nothing better to do with it.

    python examples/sparse_file.py [GIBIBYTES]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import attrs

from trio_bytesbuf.mem import view_of_file

GIB = 1 << 30
NEEDLE = b"here I am"


@attrs.frozen
class Found:
    """What was found, and at what cost."""

    nbytes: int
    pieces: int
    offset: int
    seconds: float
    anonymous_nbytes: int
    """By how much the memory of the process grew that is not the file's."""
    file_nbytes: int
    """By how much the resident part of mapped files grew."""


def resident() -> tuple[int, int]:
    """Return how many bytes of the process are resident: its own, and those of mapped files."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    own, of_files = (int(status[name].split()[0]) * 1024 for name in ("RssAnon", "RssFile"))
    return own, of_files


def make_sparse_file(path: Path, nbytes: int) -> int:
    """Make a file of `nbytes` bytes that takes little of the disk; return the needle's place."""
    at = nbytes - 1000
    with path.open("wb") as file:
        file.truncate(nbytes)
        file.seek(at)
        file.write(NEEDLE)
    return at


def search(path: Path) -> Found:
    """Find the needle in the file, and measure."""
    own_before, files_before = resident()
    start = time.perf_counter()
    view = view_of_file(path)
    offset = view.find(NEEDLE)
    seconds = time.perf_counter() - start
    own, of_files = resident()
    return Found(
        nbytes=len(view),
        pieces=len(view.pieces),
        offset=offset,
        seconds=seconds,
        anonymous_nbytes=own - own_before,
        file_nbytes=of_files - files_before,
    )


def main() -> None:
    """Make the file, search it, and print what was found."""
    nbytes = int(float(sys.argv[1] if len(sys.argv) > 1 else 8) * GIB)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sparse")
        hidden_at = make_sparse_file(path, nbytes)
        found = search(path)
    print(f"size      {found.nbytes / GIB:.2f} GiB in {found.pieces} pieces")
    print(f"needle    at {found.offset}, hidden at {hidden_at}")
    print(f"time      {found.seconds:.2f} s, {found.nbytes / GIB / found.seconds:.2f} GiB/s")
    print(f"resident  {found.anonymous_nbytes / (1 << 20):.1f} MiB more of our own,")
    print(f"          {found.file_nbytes / (1 << 20):.1f} MiB more of the file")


if __name__ == "__main__":
    main()
