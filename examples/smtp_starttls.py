"""An SMTP client: it goes over to TLS in mid-stream, and sends a message of any size line by line.

    python examples/smtp_starttls.py HOST PORT SENDER RECIPIENT MESSAGE [--cafile CERTIFICATES]

MESSAGE is a file with headers, an empty line, and a body; its lines may end as they like. What is
not sent under TLS, to a server that proves to be HOST, is not sent at all.

RFC 5321 is the protocol, RFC 3207 its STARTTLS. Of what the server says nothing is believed that it
said before TLS, and no reply may be longer than we are ready to hold.
"""

import argparse
import socket
import ssl
import sys
from pathlib import Path

import trio

from trio_bytesbuf import (
    BufReader,
    BufStream,
    BytesBufError,
    open_binary_file,
    open_tcp_stream,
)
from trio_bytesbuf.buffered import upgrade_to_tls

PATIENCE_SECONDS = 300.0  # what RFC 5321 asks of a client, for most commands (4.5.3.2)
REPLY_LINE_NBYTES = 1024  # twice what RFC 5321 allows
REPLY_LINES = 128  # a guess: more than any server has extensions
MESSAGE_LINE_NBYTES = 998  # RFC 5322, 2.1.1; and no server has to take more

NEWLINE = b"\r\n"


class RefusedError(Exception):
    """The server does not want what we want."""


FAILURES = (RefusedError, BytesBufError, trio.BrokenResourceError, trio.TooSlowError, OSError)


async def read_reply(server: BufStream, *wanted: int) -> list[str]:
    """Wait for a reply, which may have several lines, and return their texts.

    Raises:
      RefusedError: it has another code than those that are wanted, or is no reply.
      LimitExceeded: one of its lines is too long.
      UnexpectedEof: the server has hung up.
    """
    texts: list[str] = []
    with trio.fail_after(PATIENCE_SECONDS):
        while len(texts) < REPLY_LINES:
            # The commands that were written go out now, because this has to wait.
            line = (await server.read_until(NEWLINE, REPLY_LINE_NBYTES)).to_bytes()
            text = line.removesuffix(NEWLINE).decode("ascii", "backslashreplace")
            if not any(text.startswith(str(code)) for code in wanted):
                raise RefusedError(f"the server says: {text}")
            texts.append(text[4:])
            if text[3:4] != "-":
                return texts
    raise RefusedError(f"the server's reply has more than {REPLY_LINES} lines")


async def command(server: BufStream, line: str, *wanted: int) -> list[str]:
    """Send a command and return the reply, which has to have one of the codes `wanted`."""
    server.write_line(line, NEWLINE)
    return await read_reply(server, *wanted)


async def hello(server: BufStream) -> set[str]:
    """Say who we are; return the names of the server's extensions."""
    _, *extensions = await command(server, f"EHLO {socket.getfqdn()}", 250)
    return {words.split()[0].upper() for words in extensions if words.strip()}


async def send_content(server: BufStream, message: BufReader) -> None:
    """Send headers and body, and the line with nothing but a dot that ends them.

    A line that begins with a dot gets another one before it, which the server takes away. Lines
    are told apart as the strictest would, and the loosest: whatever looks like the end of a line to
    any server is one, so no line of the message passes for the dot that ends it.
    """
    async for lines in message.lines(newline=None, max_bytes=MESSAGE_LINE_NBYTES).batches():
        for line in lines:
            if line.startswith(b"."):
                server.write(b".")
            server.write_line(line, NEWLINE)
            if server.wants_drain:
                with trio.fail_after(PATIENCE_SECONDS):
                    await server.drain()
    server.write_line(b".", NEWLINE)


async def send_message(server: BufStream, sender: str, recipient: str, message: BufReader) -> str:
    """Send one message; return what the server says when it has taken it over."""
    eight_bits = " BODY=8BITMIME" if "8BITMIME" in await hello(server) else ""
    await command(server, f"MAIL FROM:<{sender}>{eight_bits}", 250)
    await command(server, f"RCPT TO:<{recipient}>", 250, 251)
    await command(server, "DATA", 354)
    await send_content(server, message)
    taken = await read_reply(server, 250)
    await command(server, "QUIT", 221)
    return taken[-1]


async def submit(
    host: str, port: int, context: ssl.SSLContext, sender: str, recipient: str, path: Path
) -> str:
    """Connect, go over to TLS, and send the message in a file; return what the server says."""
    async with (
        BufReader(await open_binary_file(path)) as message,
        BufStream(await open_tcp_stream(host, port), flush_before_waiting=True) as plain,
    ):
        await read_reply(plain, 220)
        if "STARTTLS" not in await hello(plain):
            raise RefusedError("the server has no TLS; nothing is sent without")
        await command(plain, "STARTTLS", 220)
        # Refuses if anything came behind that reply. `plain` is used up; to close it is harmless.
        tls = await upgrade_to_tls(plain, context, server_hostname=host)
        async with BufStream(tls, flush_before_waiting=True) as server:
            with trio.fail_after(PATIENCE_SECONDS):
                await tls.do_handshake()
            print(f"{host} has proved to be who it is, over {tls.version()}")
            return await send_message(server, sender, recipient, message)


def address(text: str) -> str:
    """Return an address that can stand in a command without being taken for more."""
    if not (text.isascii() and text.isprintable()) or set(text) & set("<> "):
        raise argparse.ArgumentTypeError("an address has no spaces and no angle brackets")
    return text


def main() -> None:
    """Send one message, or say why it could not be sent."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("sender", type=address)
    parser.add_argument("recipient", type=address)
    parser.add_argument("message", type=Path)
    parser.add_argument("--cafile", help="trust these certificates instead of the system's")
    given = parser.parse_args()
    context = ssl.create_default_context(cafile=given.cafile)
    to_whom = given.sender, given.recipient, given.message
    try:
        print(trio.run(submit, given.host, given.port, context, *to_whom))
    except FAILURES as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
