"""The system itself says what the tool has Python say: `strace` lets its calls fail, from outside.

So the places where `SystemCalls` strikes are the right ones. And EINTR, which Python hides by
making the call again, is seen to be hidden.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STRACE = shutil.which("strace")

PROGRAM = """
import os, sys, trio
from trio_bytesbuf import BytesView, FdStream, SocketStream, open_binary_file, send_file

DATA = bytes(range(256)) * 200

async def main():
    a, b = map(SocketStream, trio.socket.socketpair())
    errors = []
    async with a, b:
        try:
            if sys.argv[1] == "send":
                await a.write_view(BytesView(DATA))
            elif sys.argv[1] == "file":
                async with await open_binary_file(sys.argv[2], "w+") as file:
                    await file.write_view(BytesView(DATA))
                    await file.sync()
                    assert await file.read_to_end(len(DATA)) == DATA
                    await send_file(a, file)
        except (OSError, trio.BrokenResourceError) as exc:
            errors.append(type(exc).__name__)
            try:
                if isinstance(exc, trio.BrokenResourceError):
                    await a.send_all(b"a gap before this")
            except trio.BrokenResourceError:
                errors.append("broken")
        await a.aclose()
        got = b""
        try:
            async for view in b.views():
                got += bytes(view)
        except trio.BrokenResourceError:
            errors.append("broken when receiving")
    assert DATA.startswith(got)
    print(len(got) == len(DATA), *errors)

trio.run(main)
"""


def is_usable() -> bool:
    """Say whether a program can be traced here: not in every container."""
    if STRACE is None:
        return False
    tried = subprocess.run([STRACE, "-o", os.devnull, "true"], capture_output=True, check=False)
    return tried.returncode == 0


pytestmark = pytest.mark.skipif(not is_usable(), reason="strace is not there, or may not trace")

INJECTIONS = [
    ("send", "writev:error=EINTR:when=1..2", "True"),
    ("send", "writev:error=EAGAIN:when=1..3", "True"),
    ("send", "writev:error=ENOBUFS:when=1", "False BrokenResourceError broken"),
    ("send", "writev:error=ECONNRESET:when=1", "False BrokenResourceError broken"),
    ("send", "readv:error=EINTR:when=1..2", "True"),
    ("send", "readv:error=EAGAIN:when=1", "True"),
    ("send", "readv:error=ECONNRESET:when=1", "True broken when receiving"),
    ("file", "pwritev2,preadv2,fsync,sendfile:error=EINTR:when=1", "True"),
    ("file", "sendfile:error=EAGAIN:when=1", "True"),
    ("file", "sendfile:error=EINVAL:when=1", "True"),
    ("file", "sendfile:error=ENOBUFS:when=1", "False BrokenResourceError broken"),
    ("file", "pwritev2:error=ENOSPC:when=1", "False OSError"),
    ("file", "fsync:error=EIO:when=1", "False OSError"),
]


@pytest.mark.parametrize(
    ("what", "injection", "expected"), INJECTIONS, ids=[" ".join(each[:2]) for each in INJECTIONS]
)
def test_the_system_says_it_and_the_outcome_is_as_in_the_table(
    what, injection, expected, tmp_path
) -> None:
    """Whole, or a prefix of a stream that stays broken; and the call did fail."""
    log = tmp_path / "log"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    calls = injection.partition(":")[0]
    tracing = [STRACE, "-f", "-o", log, "-e", f"trace={calls}", "-e", f"inject={injection}"]
    done = subprocess.run(
        [*tracing, sys.executable, "-c", PROGRAM, what, tmp_path / "file"],
        capture_output=True,
        check=False,
        env=environment,
        timeout=60,
    )
    assert not done.stderr.decode()
    assert done.stdout.decode().strip() == expected
    assert "(INJECTED)" in log.read_text()
