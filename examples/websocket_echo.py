"""A WebSocket server that says what it is told: wsproto knows the protocol, our streams move bytes.

    python examples/websocket_echo.py [--port PORT]
    python examples/websocket_echo.py --demo          serve, and talk to it as a client

    websocat ws://127.0.0.1:8001/

wsproto does no input and output: it turns bytes into events and events into bytes. A message is
sent back piece by piece while it comes, so none is ever held, however large; but there is a
limit, as a program that needs whole messages has to have one. What one receive brings is
answered by one send. A client that says nothing is asked whether it is still there (ping), once.
"""

import argparse
import contextlib
from collections.abc import Iterator
from functools import partial

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import RemoteProtocolError

from trio_bytesbuf import SocketStream, open_tcp_stream, serve_tcp

MAX_MESSAGE_NBYTES = 1_048_576
RECEIVE_NBYTES = 8_192  # as many frames as this can hold are answered before others have their turn
SILENCE_SECONDS = (
    30.0  # a guess: after which a client is asked whether it is there; and as long again
)
PATIENCE_SECONDS = 10.0  # a guess: how long it may take for what is sent, and to begin
FAREWELL_SECONDS = 2.0  # a guess: how long to wait for a client to close when all is said


class Peer:
    """One side of a WebSocket: a stream on the one side, events of wsproto on the other."""

    def __init__(self, stream: SocketStream, side: ConnectionType) -> None:
        self.ws = WSConnection(side)
        self._stream = stream

    async def receive(self) -> Iterator[Event]:
        """Wait for bytes and return the events that they make, which may be none yet.

        Each is made when it is asked for, and a farewell ends what can be answered: so answer one
        before asking for the next.

        Raises:
          trio.BrokenResourceError: the peer is gone, without a word.

        Cancellation: atomic, as the stream's `receive_some` is.
        """
        data = await self._stream.receive_some(RECEIVE_NBYTES)
        if not data:
            raise trio.BrokenResourceError("the peer has closed without saying so")
        self.ws.receive_data(data)
        return self.ws.events()

    async def send(self, *events: Event) -> None:
        """Send the bytes of all `events` at once."""
        await self.write([self.ws.send(event) for event in events])

    async def write(self, parts: list[bytes]) -> None:
        """Send what wsproto has written."""
        with trio.fail_after(PATIENCE_SECONDS):
            await self._stream.write_parts(parts)

    async def farewell(self) -> None:
        """Let all that was sent arrive: what nobody has read when we close would undo it."""
        with contextlib.suppress(trio.BrokenResourceError):
            await self._stream.send_eof()
            with trio.move_on_after(FAREWELL_SECONDS):
                async for _ in self._stream.views():
                    pass


class Echo(Peer):
    """The server's side."""

    def __init__(self, stream: SocketStream) -> None:
        super().__init__(stream, ConnectionType.SERVER)
        self._message_nbytes = 0

    async def is_accepted(self) -> bool:
        """Shake hands, or say why not."""
        refusal: Event = RejectConnection(status_code=400)
        with trio.fail_after(PATIENCE_SECONDS):
            try:
                while not list(await self.receive()):
                    pass
            except RemoteProtocolError as wrong:
                refusal = wrong.event_hint or refusal
            except UnicodeError:  # wsproto lets a host through that cannot be one
                pass
            else:
                await self.send(AcceptConnection())
                return True
        await self.send(refusal)
        return False

    async def talk(self) -> None:
        """Answer what comes until one side closes."""
        was_asked = False
        while self.ws.state is ConnectionState.OPEN:
            events: Iterator[Event] | None = None
            with trio.move_on_after(SILENCE_SECONDS):  # what arrives just then is not lost
                events = await self.receive()
            if events is None and was_asked:
                await self.send(CloseConnection(CloseReason.GOING_AWAY, "you say nothing"))
            elif events is None:
                was_asked = True
                await self.send(Ping())
            else:
                was_asked = False
                await self.write([self.ws.send(answer) for answer in self.answers(events)])

    def answers(self, events: Iterator[Event]) -> Iterator[Event]:
        """Yield what to send for what came, up to the end of the conversation."""
        for event in events:
            match event:
                case Message():
                    data = event.data
                    self._message_nbytes += len(data.encode() if isinstance(data, str) else data)
                    if self._message_nbytes > MAX_MESSAGE_NBYTES:
                        why = f"at most {MAX_MESSAGE_NBYTES} bytes"
                        yield CloseConnection(CloseReason.MESSAGE_TOO_BIG, why)
                        return
                    yield type(event)(data, message_finished=event.message_finished)
                    if event.message_finished:
                        self._message_nbytes = 0
                case Ping():
                    yield event.response()
                case CloseConnection():  # by the client; or by wsproto, for a client's mistake
                    yield event.response()
                    return


async def serve(stream: SocketStream) -> None:
    """Talk to one client until one side has enough."""
    # A client that is gone, or says nothing, is no concern of the others.
    with contextlib.suppress(trio.BrokenResourceError, trio.TooSlowError):
        async with stream:
            echo = Echo(stream)
            if await echo.is_accepted():
                await echo.talk()
            await echo.farewell()


async def demo(port: int) -> None:
    """Talk to the server as a client, and say what comes back."""
    async with await open_tcp_stream("127.0.0.1", port) as stream:
        client = Peer(stream, ConnectionType.CLIENT)
        await client.send(Request(host="127.0.0.1", target="/"))
        while client.ws.state is not ConnectionState.OPEN:
            list(await client.receive())
        await client.send(
            TextMessage("Hello, ", message_finished=False),
            TextMessage("world!"),
            BytesMessage(bytes(100_000)),
            Ping(b"?"),
        )
        length = 0
        while True:
            for event in await client.receive():
                match event:
                    case Message():
                        length += len(event.data)
                        if event.message_finished:
                            print(f"{type(event).__name__} of {length}", flush=True)
                            length = 0
                    case Pong():
                        print(f"Pong {bytes(event.payload)!r}", flush=True)
                        await client.send(CloseConnection(CloseReason.NORMAL_CLOSURE, "enough"))
                    case CloseConnection():
                        print(f"closed with {event.code}: {event.reason}", flush=True)
                        return


async def main() -> None:
    """Serve until interrupted, or for as long as the demonstration takes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--port", type=int, default=8001, help="0: one that is free")
    parser.add_argument("--demo", action="store_true", help="talk to it as a client, too")
    options = parser.parse_args()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(serve_tcp, serve, options.port, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        print(f"ws://127.0.0.1:{port}/", flush=True)
        if options.demo:
            await demo(port)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        trio.run(main)
