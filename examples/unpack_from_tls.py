"""Unpack a tar archive while it arrives through TLS.

    python examples/unpack_from_tls.py [--ca CERTIFICATE] HOST PORT FOLDER

`tarfile` and the decompressors only know files that block, so they run in a thread, and
`BlockingReader` is the file that waits for the stream. Neither archive nor stream is ever in memory
as a whole, and a stream that is cut is an error, however plausible the part that came.
"""

import argparse
import ssl
import tarfile
from pathlib import Path

import trio

from trio_bytesbuf.io import BlockingReader, open_ssl_over_tcp_stream


def unpack(file: BlockingReader, folder: Path) -> int:
    """Unpack the archive in `file` below `folder`; return how many members it had."""
    members = 0
    with file, tarfile.open(fileobj=file, mode="r|*") as archive:
        for member in archive:
            archive.extract(member, folder, filter="data")  # nothing lands outside of the folder
            members += 1
        while file.read1(1 << 16):  # what tar pads with, and the stream's honest end
            pass
    return members


async def main() -> None:
    """Connect, and unpack what comes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--ca", help="whom to trust; the system's list if not given")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    if not hasattr(tarfile, "data_filter"):
        parser.error("before Python 3.11.4 tarfile writes wherever an archive tells it to")
    context = ssl.create_default_context(cafile=options.ca)
    async with await open_ssl_over_tcp_stream(
        options.host, options.port, ssl_context=context
    ) as stream:
        file = BlockingReader(stream)
        members = await trio.to_thread.run_sync(unpack, file, options.folder)
    print(f"{members} members unpacked")


if __name__ == "__main__":
    trio.run(main)
