"""`examples/smtp_starttls.py` with aiosmtpd, an SMTP server that knows nothing of it."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import runpy
import shutil
import socket as stdlib_socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import attrs
import pytest
import trio
from programs import PATIENCE

EXAMPLE = Path(__file__).parent.parent / "examples" / "smtp_starttls.py"
AIOSMTPD, OPENSSL = map(shutil.which, ("aiosmtpd", "openssl"))

needs_openssl = pytest.mark.skipif(not OPENSSL, reason="needs openssl: apt-get install openssl")
needs_aiosmtpd = pytest.mark.skipif(
    not AIOSMTPD, reason="needs aiosmtpd: apt-get install python3-aiosmtpd"
)

HEADERS = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: %s\r\n\r\n"
MIB = 1_048_576

DOTS = b"".join(
    line + b"\r\n"
    for line in (
        b".",
        b"..",
        b"...",
        b". ",
        b".a",
        b"a.",
        b"",
        b".",
        b"",
        b".\t.",
        b"QUIT",
        b"." * 998,
    )
)
"""Lines that could be taken for the end of the message, or lose a dot, or gain one."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    assert OPENSSL
    subprocess.run(
        [OPENSSL, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-out", certificate, "-keyout", key],
        check=True, capture_output=True, timeout=PATIENCE,
    )  # fmt: skip
    return certificate, key


@attrs.frozen
class Server:
    """An SMTP server that runs, and the folder where it puts what it gets."""

    port: int
    maildir: Path
    certificate: Path

    def messages(self) -> dict[str, Message]:
        """Return what was delivered, as it lies there, by subject."""
        read = [message_from_bytes(path.read_bytes()) for path in self.maildir.glob("new/*")]
        found = {message["Subject"]: message for message in read}
        assert len(found) == len(read), "something was delivered twice"
        return found


def free_port() -> int:
    with stdlib_socket.create_server(("127.0.0.1", 0)) as socket:
        port: int = socket.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def server(
    certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Run aiosmtpd, which delivers into a Maildir, and takes nothing without TLS."""
    assert AIOSMTPD
    folder = tmp_path_factory.mktemp("aiosmtpd")
    server = Server(free_port(), folder / "mail", certificate[0])
    environment = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    environment.pop("PYTHONPATH", None)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [AIOSMTPD, "--nosetuid", "--listen", f"127.0.0.1:{server.port}",
             "--tlscert", certificate[0], "--tlskey", certificate[1],
             "--class", "aiosmtpd.handlers.Mailbox", server.maildir],
            stdout=log, stderr=log, env=environment,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            assert process.poll() is None, (folder / "log").read_text()
            try:
                stdlib_socket.create_connection(("127.0.0.1", server.port)).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "aiosmtpd does not listen"
                time.sleep(0.02)
        yield server
    finally:
        process.terminate()
        process.wait()


PEOPLE = ("a@example.org", "b@example.org")


async def run_program(
    port: int, message: Path, cafile: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the example as a program of its own."""
    words = [sys.executable, "-W", "error", str(EXAMPLE), "localhost", str(port)]
    words += [*PEOPLE, str(message)]
    words += [] if cafile is None else ["--cafile", str(cafile)]
    environment = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    with trio.fail_after(PATIENCE):
        return await trio.run_process(
            words, capture_stdout=True, capture_stderr=True, check=False, env=environment
        )


async def submit(
    port: int, message: Path, cafile: Path | None = None, host: str = "localhost"
) -> str | None:
    """Run the example in this process; return the complaint with which it fails, if it does."""
    program = runpy.run_path(str(EXAMPLE))
    context = ssl.create_default_context(cafile=cafile)
    with trio.fail_after(PATIENCE):
        try:
            await program["submit"](host, port, context, *PEOPLE, message)
        except program["FAILURES"] as error:
            return f"{type(error).__name__}: {error}"
    return None


def text_lines(nbytes: int) -> bytes:
    """Return lines of all lengths that are allowed, a quarter of them with dots in front."""
    dice = random.Random(7)
    lines: list[bytes] = []
    left = nbytes
    while left > 0:
        dots = b"." * dice.choice((0, 0, 0, 0, 0, 0, 1, 2))
        line = dots + dice.randbytes(dice.randrange(500)).hex().encode()
        lines.append(line[:998])
        left -= len(lines[-1]) + 2
    return b"\r\n".join(lines) + b"\r\n"


def digest(body: bytes) -> str:
    """Return the checksum of a text, whatever its lines end in."""
    return hashlib.sha256(body.replace(b"\r\n", b"\n")).hexdigest()


def body_of(message: Message) -> bytes:
    payload = message.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


# With a real server


@needs_openssl
@needs_aiosmtpd
async def test_messages_of_dots_and_of_a_mebibyte_arrive_whole(
    tmp_path: Path, server: Server
) -> None:
    """The server, which takes nothing without TLS, delivers what was in the files, dots and all."""
    bodies = {
        "dots": DOTS,
        "large": text_lines(MIB),
        "empty": b"",
        "umlauts": "Grüße, \x80\n".encode(),
    }
    assert len(bodies["large"]) >= MIB
    for name, body in bodies.items():
        message = tmp_path / name
        message.write_bytes(HEADERS % name.encode() + body)
        assert await submit(server.port, message, server.certificate) is None
    delivered = server.messages()
    for name, body in bodies.items():
        assert digest(body_of(delivered[name])) == digest(body), name


@needs_openssl
@needs_aiosmtpd
async def test_the_program_says_whom_it_has_sent_a_message_to(
    tmp_path: Path, server: Server
) -> None:
    """In two lines, and nothing on stderr."""
    message = tmp_path / "message"
    message.write_bytes(HEADERS % b"program" + b".\r\n")
    done = await run_program(server.port, message, server.certificate)
    assert (done.returncode, done.stderr) == (0, b"")
    first, second = done.stdout.decode().splitlines()
    assert first.startswith("localhost has proved to be who it is, over TLSv1.")
    assert second.startswith("OK")
    assert body_of(server.messages()["program"]).splitlines() == [b"."]


@needs_openssl
@needs_aiosmtpd
async def test_lines_may_end_as_they_like_and_none_passes_for_the_end(
    tmp_path: Path, server: Server
) -> None:
    """LF and CR alone end lines, too; so a dot between them smuggles nothing in."""
    body = b"one\n.\nMAIL FROM:<x@example.org>\r.\rtwo\r\n.\n\r\nthe last has no end"
    message = tmp_path / "message"
    message.write_bytes(b"Subject: ends\n\n" + body)
    assert await submit(server.port, message, server.certificate) is None
    assert body_of(server.messages()["ends"]).splitlines() == body.splitlines()


@needs_openssl
@needs_aiosmtpd
async def test_a_line_that_is_too_long_delivers_nothing(tmp_path: Path, server: Server) -> None:
    """The message ends in the middle, and the server throws it away."""
    message = tmp_path / "message"
    message.write_bytes(HEADERS % b"long" + text_lines(300_000) + b"x" * 999 + b"\r\nmore\r\n")
    complaint = await submit(server.port, message, server.certificate)
    assert complaint is not None
    assert complaint.startswith("LimitExceeded: at most 998 bytes")
    message.write_bytes(HEADERS % b"short" + b"x" * 998)
    assert await submit(server.port, message, server.certificate) is None
    assert "short" in server.messages()
    assert "long" not in server.messages()


@needs_openssl
@needs_aiosmtpd
async def test_to_a_server_that_proves_nothing_nothing_is_sent(
    tmp_path: Path, server: Server
) -> None:
    """One that we do not trust, or that has another name."""
    message = tmp_path / "message"
    message.write_bytes(HEADERS % b"secret")
    other = await submit(server.port, message, server.certificate, host="127.0.0.1")
    assert other is not None
    assert "not valid for '127.0.0.1'" in other
    untrusted = await submit(server.port, message)
    assert untrusted is not None
    assert "self-signed certificate" in untrusted
    assert "secret" not in server.messages()


# With servers that are up to something

GREETING = b"220 localhost\r\n"
EXTENSIONS = b"250-localhost\r\n250-SIZE 1000\r\n250 STARTTLS\r\n"
HOSTILE = {
    "speaks before TLS": (
        (GREETING, EXTENSIONS, b"220 go ahead\r\n250 everything you want\r\n"),
        "UnreadPlaintext: 25 bytes that arrived before TLS began",
    ),
    "refuses": ((b"554 go away\r\n",), "RefusedError: the server says: 554 go away"),
    "is none": ((b"SSH-2.0-OpenSSH_9.2p1\r\n",), "RefusedError: the server says: SSH-2.0"),
    "has no end of a line": ((b"220 " + b"x" * 2000,), "LimitExceeded: at most 1024 bytes"),
    "has no end of lines": (
        (GREETING, b"250-more\r\n" * 1000),
        "RefusedError: the server's reply has more than 128 lines",
    ),
    "has no TLS": (
        (GREETING, b"250-localhost\r\n250 STARTTLSX\r\n"),
        "RefusedError: the server has no TLS; nothing is sent without",
    ),
    "changes its mind": (
        (GREETING, b"250-localhost\r\n550 no\r\n"),
        "RefusedError: the server says: 550 no",
    ),
    "hangs up": ((GREETING, b"250 loc"), "UnexpectedEof: wanted 8 bytes"),
    "takes its word back": (
        (GREETING, EXTENSIONS, b"454 not now\r\n"),
        "RefusedError: the server says: 454 not now",
    ),
    "speaks no TLS": (
        (GREETING, EXTENSIONS, b"220 go ahead\r\n", b"hello\r\n" * 100),
        "BrokenResourceError: the TLS connection is broken",
    ),
}


@contextlib.asynccontextmanager
async def saying(replies: tuple[bytes, ...]) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Serve connections by saying `replies`; yields where, and what was heard."""
    heard: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):  # a client that stops may just close
            async with stream:
                for reply in replies:
                    await stream.send_all(reply)
                    if reply is not replies[-1]:
                        heard.append(await stream.receive_some())
                await stream.send_eof()
                async for data in stream:
                    heard.append(data)  # noqa: PERF401  # what comes before the stream breaks, too

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            yield listener.socket.getsockname()[1], heard
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("replies", "complaint"), HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_server_that_is_up_to_something_is_told_nothing(
    tmp_path: Path, replies: tuple[bytes, ...], complaint: str
) -> None:
    """The client says why it stops; the server has not learned who writes to whom."""
    message = tmp_path / "message"
    message.write_bytes(HEADERS % b"secret")
    async with saying(replies) as (port, heard):
        said = await submit(port, message)
    assert said is not None
    assert said.startswith(complaint)
    assert b"example.org" not in b"".join(heard)
    assert b"secret" not in b"".join(heard)


async def test_the_program_says_in_one_line_why_it_stops(tmp_path: Path) -> None:
    """And its exit code says that it has."""
    message = tmp_path / "message"
    message.write_bytes(HEADERS % b"secret")
    replies, complaint = HOSTILE["speaks before TLS"]
    async with saying(replies) as (port, _heard):
        done = await run_program(port, message)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().startswith(complaint)
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("text", ["a> b", "a>\r\nRCPT TO:<b", "a\nb", "<a", "\u00e9", "a\x7f"])
def test_an_address_cannot_be_more_than_one(text: str) -> None:
    """What could be a command of its own is refused."""
    address = runpy.run_path(str(EXAMPLE))["address"]
    assert address("a.b+c@[127.0.0.1]") == "a.b+c@[127.0.0.1]"
    with pytest.raises(argparse.ArgumentTypeError, match="no spaces"):
        address(text)
