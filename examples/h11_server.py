"""An HTTP/1.1 server: h11 knows the protocol, our streams move the bytes, with TLS or without.

    python examples/h11_server.py [--port PORT] [--tls CERTIFICATE KEY]

    curl http://127.0.0.1:8000/                           the same page for everybody
    curl --data-binary @FILE http://127.0.0.1:8000/echo   what was sent, while it is coming

h11 does no input and output: it turns bytes into events and events into bytes. It lets bodies
through as they are, so it copies none, and a head leaves in one send with a view of its body.
"""

import argparse
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from itertools import chain
from typing import Any, TypeAlias, cast

import h11
import trio

from trio_bytesbuf import BytesView, SocketStream, serve_tcp
from trio_bytesbuf.io import TlsStream, serve_ssl_over_tcp

PATIENCE_SECONDS = 60.0  # a guess: how long a client may say nothing
PAGE = BytesView(b"<!doctype html><title>Hello</title>" + b"<p>Hello, world!</p>\n" * 100)

Event: TypeAlias = "h11.Event | type[h11.NEED_DATA | h11.PAUSED]"


class Conversation:
    """One connection: a stream on the one side, events of h11 on the other."""

    def __init__(self, stream: SocketStream | TlsStream) -> None:
        self.http = h11.Connection(h11.SERVER)
        self._stream = stream

    async def next_event(self) -> Event:
        """Wait for the next event, and receive whatever it takes."""
        while (event := self.http.next_event()) is h11.NEED_DATA:
            if self.http.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            with trio.fail_after(PATIENCE_SECONDS):
                self.http.receive_data(await self._stream.receive_some())
        return event

    async def send(self, *events: h11.Event) -> None:
        """Send the bytes of all `events` at once, bodies as they lie."""
        written = (self.http.send_with_data_passthrough(event) or () for event in events)
        with trio.fail_after(PATIENCE_SECONDS):
            await self._stream.write_parts(map(as_view, chain.from_iterable(written)))

    async def answer(self, request: h11.Request) -> None:
        """Send the response to `request`."""
        match request.method, request.target:
            case b"GET", b"/":
                await self.send(head(HTTPStatus.OK, PAGE), body(PAGE), h11.EndOfMessage())
            case b"HEAD", b"/":
                await self.send(head(HTTPStatus.OK, PAGE), h11.EndOfMessage())
            case b"POST", b"/echo":
                await self.echo(request)
            case _, b"/" | b"/echo":
                await self.refuse(HTTPStatus.METHOD_NOT_ALLOWED, "this is not done here")
            case _:
                await self.refuse(HTTPStatus.NOT_FOUND, "nothing is here")

    async def echo(self, request: h11.Request) -> None:
        """Send the request's body back, piece by piece as it comes."""
        kept = [(name, value) for name, value in request.headers if name == b"content-length"]
        start = h11.Response(status_code=HTTPStatus.OK, headers=[(b"date", now().encode()), *kept])
        # A client that wants to be told to go on is told by the first wait, before the response.
        event = await self.next_event()
        await self.send(start)
        while isinstance(event, h11.Data):
            await self.send(event)
            event = await self.next_event()
        await self.send(h11.EndOfMessage())

    async def refuse(self, status: int, why: str) -> None:
        """Send an error, if a response can still be sent."""
        if self.http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            text = BytesView(why.encode() + b"\n")
            await self.send(head(status, text), body(text), h11.EndOfMessage())


def head(status: int, content: BytesView) -> h11.Response:
    """Return the start of a response that has, or would have, `content`."""
    headers = [("date", now()), ("content-length", str(len(content)))]
    reason = HTTPStatus(status).phrase
    return h11.Response(status_code=status, headers=headers, reason=reason)


def body(content: BytesView) -> h11.Data:
    """Return `content` as h11 passes it through: it only asks for the length."""
    return h11.Data(data=cast("bytes", content))


def as_view(part: bytes | BytesView) -> BytesView:
    """Return what h11 wrote, or passed through, as a view."""
    return part if isinstance(part, BytesView) else BytesView(part)


def now() -> str:
    """Return the time in the words of HTTP."""
    return formatdate(usegmt=True)


async def serve(stream: SocketStream | TlsStream) -> None:
    """Answer one client's requests, one after the other, until it has no more."""
    conversation = Conversation(stream)
    http = conversation.http
    # A client that is gone, or says nothing, is no concern of the others.
    with contextlib.suppress(trio.BrokenResourceError, trio.TooSlowError):
        async with stream:
            try:
                while isinstance(request := await conversation.next_event(), h11.Request):
                    await conversation.answer(request)
                    while http.their_state is h11.SEND_BODY:  # what nobody wanted to read
                        await conversation.next_event()
                    if http.our_state is not h11.DONE:
                        break
                    http.start_next_cycle()
            except h11.RemoteProtocolError as wrong:
                await conversation.refuse(wrong.error_status_hint, str(wrong))


def server_for(certificate: str | None, key: str | None) -> Callable[..., Awaitable[Any]]:
    """Return what serves: TCP, or TLS over TCP if there is a certificate."""
    if certificate is None:
        return serve_tcp
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return partial(serve_ssl_over_tcp, ssl_context=context, https_compatible=True)


async def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--port", type=int, default=8000, help="0: one that is free")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"), default=(None, None))
    options = parser.parse_args()
    server = partial(server_for(*options.tls), serve, options.port, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(server)
        listener = getattr(listeners[0], "transport_listener", listeners[0])
        scheme = "https" if options.tls[0] else "http"
        print(f"{scheme}://127.0.0.1:{listener.socket.getsockname()[1]}/", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        trio.run(main)
