"""A download with a progress bar: rich counts what arrives, and no glue is needed for it.

    pip install 'trio_bytesbuf[cli]' h11
    python examples/download_progress.py http://127.0.0.1:8000/large FILE

h11 reads the head of the response. The body comes in views, which go into the file as they lie;
the bar is told how long each is. For whatever else is iterated, files and channels say, it
is the same two lines.
"""

import argparse
import sys
from http import HTTPStatus
from urllib.parse import urlsplit

import h11
import trio
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from trio_bytesbuf import (
    BufStream,
    BytesBufError,
    GuardedRead,
    MinRate,
    UnexpectedEof,
    open_binary_file,
    open_tcp_stream,
)
from trio_bytesbuf.io import LimitedRead

MAX_HEAD_NBYTES = 65_536
SILENCE_SECONDS = 30.0  # a guess: how long the server may say nothing


async def response_to(stream: BufStream, host: str, target: str) -> tuple[int, int]:
    """Ask for `target` and return the status, and how many bytes the body has."""
    request = h11.Request(
        method="GET", target=target, headers=[("host", host), ("connection", "close")]
    )
    http = h11.Connection(h11.CLIENT)
    await stream.send_all((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
    with trio.fail_after(SILENCE_SECONDS):
        head = await stream.read_until(b"\r\n\r\n", max_bytes=MAX_HEAD_NBYTES)
    http.receive_data(bytes(head))  # which ends where the head does: the body is ours
    response = http.next_event()
    if not isinstance(response, h11.Response):
        raise h11.RemoteProtocolError("this is no response")
    lengths = [int(value) for name, value in response.headers if name == b"content-length"]
    if not lengths:
        raise h11.RemoteProtocolError("the response does not say how long its body is")
    return response.status_code, lengths[0]


async def download(url: str, path: str, console: Console) -> None:
    """Get `url` into a file, and show how far it is."""
    parts = urlsplit(url)
    host = parts.hostname or "localhost"
    async with BufStream(await open_tcp_stream(host, parts.port or 80)) as stream:
        status, nbytes = await response_to(stream, parts.netloc, parts.path or "/")
        if status != HTTPStatus.OK:
            raise h11.RemoteProtocolError(f"the server says {status}")
        bars = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        async with await open_binary_file(path, "w") as file:
            with Progress(*bars, TransferSpeedColumn(), console=console) as progress:
                bar = progress.add_task(parts.path, total=nbytes)
                rate = MinRate(1, seconds=SILENCE_SECONDS)
                async for view in GuardedRead(LimitedRead(stream, nbytes), rate).views():
                    await file.write_view(view)
                    progress.update(bar, advance=len(view))
                arrived = int(progress.tasks[0].completed)
    if arrived < nbytes:
        raise UnexpectedEof(wanted=nbytes, arrived=arrived)


async def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("url", help="http://host[:port]/path")
    parser.add_argument("file", help="where to put it")
    options = parser.parse_args()
    await download(options.url, options.file, Console(stderr=True))


if __name__ == "__main__":
    try:
        trio.run(main)
    except (OSError, trio.BrokenResourceError, h11.ProtocolError, BytesBufError) as wrong:
        sys.exit(f"{type(wrong).__name__}: {wrong}")
