"""The example programs that serve and move bytes, used by programs that know nothing of them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import socket as stdlib_socket
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio
from programs import PATIENCE, connect, exchange, running

EXAMPLES = Path(__file__).parent.parent / "examples"
CURL, WRK, OPENSSL, TAR = map(shutil.which, ("curl", "wrk", "openssl", "tar"))

needs_curl = pytest.mark.skipif(not CURL, reason="needs curl: apt-get install curl")
needs_wrk = pytest.mark.skipif(not WRK, reason="needs wrk: apt-get install wrk")
needs_openssl = pytest.mark.skipif(not OPENSSL, reason="needs openssl: apt-get install openssl")

WRK_SECONDS = 1  # the least that wrk takes
MIB = 1_048_576


def example(name: str) -> str:
    return (EXAMPLES / f"{name}.py").read_text()


async def run(*command: str | Path | None) -> bytes:
    """Run a program, which has to succeed; return what it printed."""
    return (await done(*command, check=True)).stdout


async def done(
    *command: str | Path | None, check: bool = False, cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a program and return what became of it."""
    words = [str(word) for word in command if word is not None]
    assert len(words) == len(command)
    with trio.fail_after(PATIENCE):
        return await trio.run_process(
            words, capture_stdout=True, capture_stderr=True, check=check, cwd=cwd
        )


# h11_server.py


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key, made by openssl."""
    folder = tmp_path_factory.mktemp("certificate")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [OPENSSL, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-out", certificate, "-keyout", key],
        check=True, capture_output=True, timeout=PATIENCE,
    )  # fmt: skip
    return certificate, key


@contextlib.asynccontextmanager
async def serving(*options: str | Path) -> AsyncIterator[str]:
    """Run the server; yields its URL, without the slash. It has to say nothing on stderr."""
    words = map(str, options)
    async with running("--port", "0", *words, script=example("h11_server")) as program:
        yield (await program.line()).removesuffix("/")
        assert program.process.poll() is None
        program.process.terminate()
        _, _, stderr = await program.end()
        assert stderr == ""


async def check_with_curl(url: str, folder: Path, *options: str | Path) -> None:
    """Have curl get the page, twice over one connection, and 8 MiB of noise echoed."""
    curl = (CURL, "--silent", "--show-error", "--fail", *options)
    once = await run(*curl, f"{url}/")
    assert once.startswith(b"<!doctype html>")
    twice = await run(*curl, "--write-out", "(%{num_connects})", f"{url}/", f"{url}/")
    assert twice == once + b"(1)" + once + b"(0)", "the second one needs no new connection"

    sent = folder / "sent"
    sent.write_bytes(os.urandom(8 * MIB))
    for framing in ("X-Nothing: 1", "Transfer-Encoding: chunked", "Expect: 100-continue"):
        received = folder / "received"
        how = ("--data-binary", f"@{sent}", "--header", framing, "--output", received)
        await run(*curl, *how, f"{url}/echo")
        assert received.read_bytes() == sent.read_bytes(), framing


@needs_curl
async def test_curl_talks_to_the_h11_server(tmp_path: Path) -> None:
    """Page and echo, keep-alive, bodies of known length and in chunks, and "100 Continue"."""
    async with serving() as url:
        assert url.startswith("http://")
        await check_with_curl(url, tmp_path)


@needs_curl
@needs_openssl
async def test_curl_talks_to_the_h11_server_through_tls(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    """The same, and a peer that speaks no TLS, or does not trust us, harms no one."""
    async with serving("--tls", *certificate) as url:
        assert url.startswith("https://")
        async with await connect(url.removeprefix("https://")) as plain:
            await plain.send_all(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(trio.BrokenResourceError):
                while await plain.receive_some():
                    pass
        with pytest.raises(subprocess.CalledProcessError):
            await run(CURL, "--silent", f"{url}/")
        await check_with_curl(url, tmp_path, "--cacert", certificate[0])


ANSWERS = {
    b"nonsense\r\n\r\n": (400,),
    b"GET / HTTP/1.1\r\n\r\n": (400,),  # which host?
    b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n": (400,),
    b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nshort": (200,),
    b"GET / HTTP/1.1\r\nhost: a\r\nlong:".ljust(16_385, b"x"): (431,),  # h11's limit, and one
    b"GET /nowhere HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n": (404, 200),
    b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabcHEAD / HTTP/1.1\r\nhost: a\r\n\r\n":
        (405, 200),
    b"GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n": (200,),
}  # fmt: skip


async def test_the_h11_server_answers_mistakes() -> None:
    """A client's mistakes are answered with their number; the next request is answered too."""
    async with serving() as url:
        for request, statuses in ANSWERS.items():
            answer = await exchange(url.removeprefix("http://"), request)
            found = re.findall(rb"HTTP/1.1 (\d+) ", answer)
            assert tuple(map(int, found)) == statuses, (request[:60], answer)


@needs_wrk
async def test_wrk_finds_no_error_in_the_h11_server() -> None:
    """Twenty connections at once, as fast as they can: every answer is one, and a good one."""
    async with serving() as url:
        said = (await run(WRK, "-t1", "-c20", f"-d{WRK_SECONDS}s", f"{url}/")).decode()
    assert "Socket errors" not in said
    assert "Non-2xx" not in said
    requests = re.search(r"(\d+) requests in", said)
    assert requests, said
    assert int(requests[1]) > 20


# process_to_file.py


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


KEEP = (sys.executable, "-W", "error", EXAMPLES / "process_to_file.py")


async def test_what_a_process_prints_is_the_file(tmp_path: Path) -> None:
    """64 MiB from a program: the file, the checksum that is shown, and one of our own agree."""
    script = "import sys; [sys.stdout.buffer.write(bytes([n]) * 1_048_576) for n in range(64)]"
    kept = tmp_path / "kept"
    said = await run(*KEEP, kept, sys.executable, "-c", script)
    expected = hashlib.sha256(b"".join(bytes([n]) * MIB for n in range(64))).hexdigest()
    assert said.decode() == f"{expected}  {kept}\n"
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == expected
    assert names_in(tmp_path) == ["kept"]


async def test_a_process_that_fails_leaves_no_file(tmp_path: Path) -> None:
    """Its exit status is passed on, and what it had printed before is not taken for all of it."""
    kept = tmp_path / "kept"
    ended = await done(*KEEP, kept, sys.executable, "-c", "print('part'); raise SystemExit(3)")
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, b"", b"")
    assert names_in(tmp_path) == []
    kept.write_text("what was there before")
    assert (await done(*KEEP, kept, "/nowhere/nothing")).returncode != 0
    assert kept.read_text() == "what was there before"


# unpack_from_tls.py

needs_tar = pytest.mark.skipif(not TAR, reason="needs tar: apt-get install tar")
needs_filters = pytest.mark.skipif(
    not hasattr(tarfile, "data_filter"), reason="this tarfile has no filters: Python 3.11.4 has"
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with folders, files large and small, and a link."""
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "large").write_bytes(os.urandom(5 * MIB))
    (tree / "a" / "b" / "small").write_text("small")
    (tree / "a" / "b" / "link").symlink_to("small")
    return tree


def is_listening(port: int) -> bool:
    """Ask Linux, whose word for it is 0A."""
    return f":{port:04X} 00000000:0000 0A " in Path("/proc/net/tcp").read_text()


RECORD_HEAD = 5
FAREWELL = bytes([23, 3, 3, 0, 2 + 1 + 16])
"""How the record with TLS's farewell begins: two bytes, one for their kind, and 16 that vouch for
them. Nothing else that is sent here is so short."""


@contextlib.asynccontextmanager
async def sent_by_openssl(archive: Path, certificate: tuple[Path, Path]) -> AsyncIterator[str]:
    """Have openssl send a file to who connects first; yields its address.

    Without `-nbio` it sometimes waits for us to say something, in the middle of the file.
    """
    with stdlib_socket.create_server(("127.0.0.1", 0)) as socket:
        port = socket.getsockname()[1]
    with archive.open("rb") as file:
        server = await trio.lowlevel.open_process(
            [OPENSSL, "s_server", "-quiet", "-nbio", "-tls1_3", "-accept", f"127.0.0.1:{port}",
             "-cert", certificate[0], "-key", certificate[1]],
            stdin=file, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        with trio.fail_after(PATIENCE):  # to connect would take bytes of the file away
            while not is_listening(port):
                assert server.poll() is None
                await trio.sleep(0.01)
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        with trio.CancelScope(shield=True):
            await server.wait()


async def unpacked(address: str, folder: Path, ca: Path) -> subprocess.CompletedProcess[bytes]:
    host, port = address.split(":")
    program = (sys.executable, "-W", "error", EXAMPLES / "unpack_from_tls.py")
    return await done(*program, "--ca", ca, host, port, folder)


@needs_openssl
@needs_tar
@needs_filters
@pytest.mark.parametrize("how", ["-cf", "-czf"])
async def test_an_archive_is_unpacked_while_it_arrives_through_tls(
    tmp_path: Path, tree: Path, certificate: tuple[Path, Path], how: str
) -> None:
    """What tar packed and openssl sent is there again, byte for byte."""
    archive = tmp_path / "archive"
    await done(TAR, how, archive, "-C", tmp_path, "tree", check=True)
    async with sent_by_openssl(archive, certificate) as address:
        ended = await unpacked(address, tmp_path / "to", certificate[0])
    assert ended.stderr == b""
    assert ended.stdout == b"6 members unpacked\n"
    await run("diff", "-r", tree, tmp_path / "to" / "tree")
    assert (tmp_path / "to" / "tree" / "a" / "b" / "link").is_symlink()


@needs_openssl
@needs_tar
@needs_filters
async def test_an_archive_whose_stream_was_cut_is_an_error(
    tmp_path: Path, tree: Path, certificate: tuple[Path, Path]
) -> None:
    """Though all of the archive came: without TLS's farewell nobody knows that it is all."""
    archive = tmp_path / "archive"
    await done(TAR, "-cf", archive, "-C", tmp_path, "tree", check=True)

    async def pass_on_all_but_the_farewell(client: trio.SocketStream) -> None:
        async with await connect(address) as server, client, trio.open_nursery() as nursery:
            nursery.start_soon(pass_on, client, server)
            arrived = bytearray()
            while arrived[:RECORD_HEAD] != FAREWELL:
                whole = RECORD_HEAD + int.from_bytes(arrived[3:RECORD_HEAD])
                if RECORD_HEAD <= len(arrived) >= whole:
                    await client.send_all(arrived[:whole])
                    del arrived[:whole]
                else:
                    arrived += await server.receive_some()
            nursery.cancel_scope.cancel()

    async def pass_on(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        async for data in source:
            await sink.send_all(data)

    async with sent_by_openssl(archive, certificate) as address, trio.open_nursery() as nursery:
        [listener] = await nursery.start(
            partial(trio.serve_tcp, pass_on_all_but_the_farewell, 0, host="127.0.0.1")
        )
        cut = f"127.0.0.1:{listener.socket.getsockname()[1]}"
        ended = await unpacked(cut, tmp_path / "to", certificate[0])
        nursery.cancel_scope.cancel()
    assert ended.returncode == 1
    assert b"trio.BrokenResourceError: the TLS connection is broken" in ended.stderr
    assert ended.stdout == b""
