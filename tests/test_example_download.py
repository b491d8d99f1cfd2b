"""The download among the examples: what is in the file, and what the bar says, by way of nginx."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
import trio
from pairs import noise
from programs import PATIENCE
from rich.console import Console
from servers import example_module, talking_to
from test_relay_nginx import CURL, NGINX, serving_files

from trio_bytesbuf import UnexpectedEof

example = example_module("download_progress")

needs_nginx = pytest.mark.skipif(
    not (NGINX and CURL), reason="needs nginx and curl: apt-get install nginx-light curl"
)


async def downloaded(address: str, path: Path) -> list[str]:
    """Run the example; return what a terminal shows, line by line."""
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=100, color_system=None)
    with trio.fail_after(PATIENCE):
        await example.download(f"http://{address}/large", str(path), console)
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9?]*[A-Za-z]", "", shown.getvalue()))


@needs_nginx
async def test_a_file_of_nginx_arrives_whole_and_the_bar_counts_all_of_it(tmp_path: Path) -> None:
    """The last that the bar shows is all of the bytes, and it has shown none to begin with."""
    content = noise(5_000_000)
    async with serving_files(tmp_path, content) as address:
        lines = [line for line in await downloaded(address, tmp_path / "file") if "MB" in line]
    assert (tmp_path / "file").read_bytes() == content
    assert re.search(r"/large ━+ +5.0/5.0 MB ", lines[-1]), lines[-1]
    assert re.search(r" 0.0/5.0 MB ", lines[0]), lines[0]


def answering(response: bytes):
    """Return a peer that says the same to everybody, and closes."""

    async def peer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(response)

    return peer


@pytest.mark.parametrize(
    ("response", "error", "complaint"),
    [
        (b"HTTP/1.1 200 \r\ncontent-length: 9\r\n\r\nshort", UnexpectedEof, "wanted 9 .* after 5"),
        (b"HTTP/1.1 404 \r\ncontent-length: 0\r\n\r\n", Exception, "the server says 404"),
        (b"HTTP/1.1 200 \r\n\r\nno length", Exception, "does not say how long"),
        (b"SSH-2.0-x\r\n\r\n", Exception, "illegal status line"),
        (b"HTTP/1.1 200 \r\nx: ".ljust(70_000, b"x"), Exception, "at most 65536 bytes"),
        (b"HTTP/1.1 200", UnexpectedEof, "the stream ended after 12"),
    ],
    ids=["cut", "not there", "no length", "no HTTP", "no end of the head", "cut in the head"],
)
async def test_a_download_that_is_not_whole_is_an_error(
    tmp_path: Path, response: bytes, error: type[Exception], complaint: str
) -> None:
    """Whoever cuts it; and what a server must not send is not believed."""
    async with talking_to(answering(response)) as address:
        with pytest.raises(error, match=complaint):
            await downloaded(address, tmp_path / "file")


async def test_bytes_behind_the_body_are_left_alone(tmp_path: Path) -> None:
    """The body ends where the head says."""
    response = b"HTTP/1.1 200 \r\ncontent-length: 4\r\n\r\nbodynext"
    async with talking_to(answering(response)) as address:
        await downloaded(address, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"body"
