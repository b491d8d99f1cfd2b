"""The relay between programs that know nothing of it: nginx serves, curl downloads."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket as stdlib_socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from programs import PATIENCE, connect, running_relay

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CURL = shutil.which("curl")

pytestmark = pytest.mark.skipif(
    not (NGINX and CURL), reason="needs nginx and curl: apt-get install nginx-light curl"
)

FILE_NBYTES = 64 * 1_048_576
CLIENTS = 20
PART_NBYTES = 4 * 1_048_576
"""What each of many clients downloads: a different part of the file."""

CONFIG = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    sendfile on;
    server {{ listen 127.0.0.1:{port}; root {folder}/files; }}
}}
"""


@pytest.fixture(scope="module")
def content() -> bytes:
    """What nginx serves: a mebibyte of random bytes after the other, each turned by one byte."""
    stock = os.urandom(1_048_576)
    return b"".join(stock[turn:] + stock[:turn] for turn in range(FILE_NBYTES // len(stock)))


@contextlib.asynccontextmanager
async def serving_files(folder: Path, content: bytes) -> AsyncIterator[str]:
    """Run nginx; yields its address when it can be connected to."""
    (folder / "files").mkdir()
    (folder / "files" / "large").write_bytes(content)
    with stdlib_socket.create_server(("127.0.0.1", 0)) as socket:
        port = socket.getsockname()[1]
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, port=port, user=user))
    assert NGINX
    process = await trio.lowlevel.open_process(
        [NGINX, "-p", str(folder), "-e", str(folder / "error.log"), "-c", f"{folder}/nginx.conf"],
        stderr=subprocess.DEVNULL,
    )
    try:
        with trio.fail_after(PATIENCE):
            while True:
                assert process.poll() is None, (folder / "error.log").read_text()
                try:
                    await (await connect(f"127.0.0.1:{port}")).aclose()
                    break
                except OSError:
                    await trio.lowlevel.checkpoint()
        with trio.fail_after(3 * PATIENCE):
            yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        with trio.CancelScope(shield=True):
            await process.wait()


async def curl(address: str, *options: str, into: Path) -> int:
    """Download the file, or a part, into a file; return curl's exit code."""
    assert CURL
    command = [CURL, "--silent", "--show-error", "--fail", "--max-time", str(int(PATIENCE)),
               "--output", str(into), *options, f"http://{address}/large"]  # fmt: skip
    return (await trio.run_process(command, check=False)).returncode


def sha256_of(data: bytes) -> str:
    """Return a digest: pytest would show 64 MiB if the bytes themselves were compared."""
    return hashlib.sha256(data).hexdigest()


async def test_a_download_through_the_relay_is_the_file(tmp_path: Path, content: bytes) -> None:
    """64 MiB, by TCP and then by a Unix socket in front of the same nginx."""
    path = tmp_path / "relay.sock"
    async with (
        serving_files(tmp_path, content) as nginx,
        running_relay("127.0.0.1:0", nginx) as (program, address),
        running_relay(f"unix:{path}", nginx) as (unix_program, _),
    ):
        assert await curl(address, into=tmp_path / "one") == 0
        assert await curl(nginx, "--unix-socket", str(path), into=tmp_path / "two") == 0
        for each in (program, unix_program):
            code, last, stderr = await each.stop()
            assert (code, stderr) == (0, "")
            assert "1 connection, 0 failed, " in last
            assert "64.0 MiB to the clients" in last
    for name in ("one", "two"):
        assert sha256_of((tmp_path / name).read_bytes()) == sha256_of(content)


async def test_many_downloads_at_once_are_whole_and_a_killed_one_harms_none(
    tmp_path: Path, content: bytes
) -> None:
    """Twenty curls take a part each while another, which reads slowly, is killed in the middle."""

    async def download(part: int) -> None:
        first = part * 3 * 1_048_576 - part
        into = tmp_path / f"part{part}"
        some = f"{first}-{first + PART_NBYTES - 1}"
        assert await curl(address, "--range", some, into=into) == 0
        arrived[part] = sha256_of(into.read_bytes())
        wanted[part] = sha256_of(content[first : first + PART_NBYTES])

    arrived: dict[int, str] = {}
    wanted: dict[int, str] = {}
    async with (
        serving_files(tmp_path, content) as nginx,
        running_relay("127.0.0.1:0", nginx) as (program, address),
    ):
        assert CURL
        victim = await trio.lowlevel.open_process(
            [CURL, "--silent", "--no-buffer", "--limit-rate", "500K", f"http://{address}/large"],
            stdout=subprocess.PIPE,
        )
        assert victim.stdout is not None
        assert await victim.stdout.receive_some()  # it is in the middle of it now
        async with trio.open_nursery() as nursery:
            for part in range(CLIENTS):
                nursery.start_soon(download, part)
            victim.kill()
        await victim.wait()
        await victim.stdout.aclose()
        line = await program.line_with("broke after")
        code, last, stderr = await program.stop()
    assert line.startswith("connection 1 from 127.0.0.1:")
    assert (code, stderr) == (0, "")
    assert f"{CLIENTS + 1} connections, 1 failed, " in last
    assert arrived == wanted
    assert len(set(wanted.values())) == CLIENTS


async def test_curl_sees_an_error_when_the_server_is_not_there(tmp_path: Path) -> None:
    """A refused target is a failed connection to curl, which is not an empty reply (52).

    Whether it is while connecting (7), sending (55) or receiving (56), depends on who is quicker.
    """
    with stdlib_socket.socket() as socket:
        socket.bind(("127.0.0.1", 0))  # and does not listen
        target = f"127.0.0.1:{socket.getsockname()[1]}"
        async with running_relay("127.0.0.1:0", target) as (program, address):
            assert await curl(address, into=tmp_path / "nothing") in {7, 55, 56}
            assert await program.line_with("Connection refused")
            code, last, _ = await program.stop()
    assert code == 0
    assert "1 connection, 1 failed, 0 B to the target, 0 B to the clients" in last
