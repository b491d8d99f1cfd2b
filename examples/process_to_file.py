"""Keep what a program prints: process | pipe | file, with a checksum of what passed.

    python examples/process_to_file.py FILE COMMAND [ARGUMENT ...]

The system fills our memory from the pipe and writes the file from there; in between, the bytes
are only looked at. The file appears when it is whole: if the command succeeds, and not before.
"""

import hashlib
import subprocess
import sys
from collections.abc import Sequence

import trio

from trio_bytesbuf.io import open_binary_file, open_process


async def keep(command: Sequence[str], path: trio.Path) -> int:
    """Write what `command` prints to `path`, and say what it was; return the exit status."""
    part = path.with_name(f"{path.name}.part")
    digest = hashlib.sha256()
    nbytes = 0
    try:
        async with (
            await open_process(command, stdout=subprocess.PIPE) as process,
            await open_binary_file(part, "w") as file,
        ):
            assert process.stdout is not None
            async for view in process.stdout.views():
                for piece in view.pieces:
                    digest.update(piece)
                nbytes += len(view)
                await file.write_view(view)
            status = await process.wait()
        if status == 0:
            await part.replace(path)
            print(f"{digest.hexdigest()}  {path}")
            print(f"{nbytes:,} bytes", file=sys.stderr)
        return status
    finally:
        with trio.CancelScope(shield=True):
            await part.unlink(missing_ok=True)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(f"usage: {sys.argv[0]} FILE COMMAND [ARGUMENT ...]")
    sys.exit(trio.run(keep, sys.argv[2:], trio.Path(sys.argv[1])))
