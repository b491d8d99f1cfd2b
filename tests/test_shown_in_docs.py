"""The programs on the pages of docs/, saved and run as a reader would: they print what is shown.

Two things are another: ports, which nobody else must use, and the patience of the tutorial's
server. `pages.py` says how a page tells what is what.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket as stdlib_socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from interop_peer import interop_peer
from pages import DOCS, PAGES, Block, blocks_of, title
from rust_peer import built

PATIENCE = 20.0
"""Seconds after which a test gives up on a program; all of it takes far less than one."""

PAUSE_SECONDS = 0.02
"""Between two looks whether a server listens."""

SHOWN_ONLY = re.compile(r"python -m (venv|pip|trio_bytesbuf) |python bench$|mkdir ")
"""Commands that change more than a folder of their own, or take long, or want a terminal."""

SHOWING = [page for page in PAGES if any(block.program for block in blocks_of(page))]


def free_port() -> int:
    """Return a port at which nobody listens now."""
    with stdlib_socket.create_server(("127.0.0.1", 0)) as socket:
        return int(socket.getsockname()[1])


def without_times(output: str) -> str:
    """Return what was said without what pytest took for it."""
    return re.sub(r" in \d+\.\d+s$", "", output, flags=re.MULTILINE)


class Reader:
    """Somebody who saves the programs of a page in a folder, and runs them there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {"8000": str(free_port()), "9000": str(free_port())}
        paths = [str(DOCS.parent), os.environ.get("PYTHONPATH", "")]
        self.environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}

    def save(self, block: Block) -> None:
        text = re.sub(r"\b[89]000\b", lambda found: self.ports[found[0]], block.text)
        text = text.replace("NUDGE_SECONDS = 2\n", "NUDGE_SECONDS = 0.2\n")
        assert block.program is not None
        (self.folder / block.program).write_text(text)

    def run(self, command: str) -> str:
        """Run a command, which has to succeed and to say nothing on stderr; return its output."""
        words = command.replace("\\\n", " ").split()
        if words[0] == "python":
            words[:1] = [sys.executable, "-W", "error"]
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, text=True, timeout=PATIENCE,
            capture_output=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert words[0] != sys.executable or done.stderr == ""
        return done.stdout

    @contextlib.contextmanager
    def serving(self, program: str | None) -> Iterator[subprocess.Popen[str] | None]:
        """Run a server, if there is one; yields it when it listens."""
        if program is None:
            yield None
            return
        process = subprocess.Popen(
            [sys.executable, "-W", "error", program], cwd=self.folder, env=self.environment,
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            self._wait_until_it_listens(process)
            yield process
        finally:
            process.kill()
            process.communicate()

    def _wait_until_it_listens(self, process: subprocess.Popen[str]) -> None:
        """Ask Linux, since to connect would be to be a client."""
        sign = f":{int(self.ports['8000']):04X} 00000000:0000 0A "
        deadline = time.monotonic() + PATIENCE
        while sign not in Path("/proc/net/tcp").read_text():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(PAUSE_SECONDS)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def said_by(process: subprocess.Popen[str] | None) -> str:
    """End a server, if it has not ended, and return what it has said."""
    assert process is not None
    process.terminate()
    return process.communicate(timeout=PATIENCE)[0]


@pytest.mark.parametrize("page", SHOWING, ids=title)
def test_programs_print_what_is_shown(page: Path, reader: Reader) -> None:
    """Each command of a page, typed where the page has it, with its server running."""
    server = None
    for block in blocks_of(page):
        if block.program is not None:
            reader.save(block)
            server = block.program if block.is_server else server
        for command, output in block.commands:
            if SHOWN_ONLY.match(command):
                continue
            if command.startswith("openssl") and shutil.which("openssl") is None:
                pytest.skip("needs openssl: apt-get install openssl")
            with reader.serving(server):
                said = without_times(reader.run(command))
            assert said == without_times(output), f"{page.name}:{block.lineno}: {command}"


def test_every_block_of_python_is_checked() -> None:
    """A session, a program that is used, or a part of a program of the same page: nothing else."""
    for page in PAGES:
        blocks = list(blocks_of(page))
        programs = {block.program: block.text for block in blocks if block.program}
        typed = " ".join(command for block in blocks for command, _ in block.commands)
        imported = " ".join(programs.values())
        for block in blocks:
            where = f"{title(page)}:{block.lineno}"
            if block.kind != "python" or block.is_session:
                continue
            if block.part_of is not None:
                assert block.text.partition("\n")[2] in programs[block.part_of], where
                continue
            assert block.program is not None, f"{where}: what is this?"
            stem = block.program.removesuffix(".py")
            is_used = block.is_server or block.program in typed
            assert is_used or re.search(rf"^(from|import) {stem}\b", imported, re.MULTILINE), where


def test_the_program_of_the_home_page_sends_lines_back(reader: Reader) -> None:
    """Many lines at once come back, by a client that knows nothing of us."""
    [block] = [block for block in blocks_of(DOCS / "index.md") if block.program]
    reader.save(block)
    lines = b"".join(b"line %d\n" % number for number in range(1_000))
    address = ("127.0.0.1", int(reader.ports["8000"]))
    with reader.serving(block.program), stdlib_socket.create_connection(address) as client:
        client.settimeout(PATIENCE)
        client.sendall(lines)
        client.shutdown(stdlib_socket.SHUT_WR)
        with client.makefile("rb") as replies:
            assert replies.read() == lines


def test_no_fence_is_misspelt() -> None:
    """Python is called `python`, a terminal `console`: a block of `py` or `bash` is never run."""
    others = {"", "py", "python3", "pycon", "doctest", "bash", "sh", "shell", "shell-session"}
    for page in PAGES:
        for block in blocks_of(page):
            where = f"{title(page)}:{block.lineno}"
            assert block.kind == block.kind.lower(), where
            assert block.kind not in others, where


def test_parts_of_rust_programs_stand_in_them() -> None:
    """What a page shows of a Rust program of the tests is in its text, word for word."""
    shown = [block for page in PAGES for block in blocks_of(page) if block.kind == "rust"]
    named = [block.text for block in shown if block.text.startswith("// in ")]
    assert named
    for text in named:
        head, _, part = text.partition("\n")
        assert part in (DOCS.parent / head.removeprefix("// in ")).read_text(), head


async def test_the_client_of_the_page_calls_a_rust_program(
    reader: Reader, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same hundred calls, answered by the crate itself."""
    program = built("interop", pytestconfig, tmp_path_factory)
    async with interop_peer(program, "echo") as peer:
        reader.ports["8000"] = str(peer.port)
        for block in blocks_of(DOCS / "howto" / "rust_service.md"):
            if block.program is not None:
                reader.save(block)
        said = await trio.to_thread.run_sync(reader.run, "python call.py")
    assert said == "100 replies; b'task 42'\n"


# What the tutorial says of its servers, and its clients do not show

TUTORIAL = DOCS / "tutorial.md"


@pytest.fixture
def tutorial(reader: Reader) -> Reader:
    for block in blocks_of(TUTORIAL):
        if block.program is not None:
            reader.save(block)
    return reader


def test_a_client_that_hangs_up_ends_the_plain_server(tutorial: Reader) -> None:
    """An error of one client is the end of all: the server says so at length."""
    with tutorial.serving("shout_0.py") as server:
        assert server is not None
        tutorial.run("python hang_up.py")
        said, _ = server.communicate(timeout=PATIENCE)
        assert server.returncode == 1
        assert "trio.BrokenResourceError" in said


def test_a_client_that_goes_wrong_is_mentioned_and_others_are_served(tutorial: Reader) -> None:
    """The one that floods is told of by the limit; the next one is served."""
    for name in ("shout_2.py", "shout_3.py", "shout_4.py"):
        with tutorial.serving(name) as server:
            tutorial.run("python flood.py")
            tutorial.run("python hang_up.py")
            if name != "shout_2.py":
                tutorial.run("python ask.py")
            said = said_by(server)
        assert "a client has gone wrong: at most 1000 bytes were allowed;" in said
        assert "Traceback" not in said
