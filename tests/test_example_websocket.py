"""The WebSocket server among the examples, and clients that others wrote, or that mean no good."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import AsyncIterator
from functools import partial

import pytest
import trio
import trio.testing
import websockets
from hypothesis import given
from hypothesis import strategies as st
from pairs import closing, noise, small_buffers, socketpair, tcp_pair
from programs import PATIENCE, Program, connect, running
from servers import EXAMPLES, example_module
from websockets.sync.client import connect as connect_websocket
from wsproto import ConnectionType
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, Pong, Request, TextMessage

from trio_bytesbuf import serve_tcp

example = example_module("websocket_echo")


@contextlib.asynccontextmanager
async def serving(*options: str) -> AsyncIterator[tuple[str, Program]]:
    """Run the server; yields its URL. It has to say nothing on stderr, and to live on."""
    script = (EXAMPLES / "websocket_echo.py").read_text()
    async with running("--port", "0", *options, script=script) as program:
        yield await program.line(), program
        assert program.process.poll() is None
        program.process.terminate()
        _, _, stderr = await program.end()
        assert stderr == ""


@pytest.fixture
async def address():
    """Serve in this process; yields host and port."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(serve_tcp, example.serve, 0, host="127.0.0.1"))
        yield f"127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


# The client of the package websockets


async def test_the_client_of_websockets_hears_what_it_said() -> None:
    """Text and bytes up to the limit, whole and in fragments; a ping; and both sides close."""
    limit = example.MAX_MESSAGE_NBYTES
    messages = ["", "x", "tr\xefo \U0001f600" * 999, b"", noise(70_000), noise(limit), "\xe4" * 50]

    def talk(url: str) -> list[str | bytes]:
        with connect_websocket(url, max_size=None, compression="deflate") as client:
            heard = []
            for message in messages:
                client.send(message)
                heard.append(client.recv(PATIENCE))
            client.send(message[at : at + 7] for at in range(0, 50, 7))  # the last, in fragments
            heard.append(client.recv(PATIENCE))
            assert client.ping(b"there?").wait(PATIENCE)
        assert client.protocol.close_code == 1000
        return heard

    async with serving() as (url, _):
        assert await trio.to_thread.run_sync(talk, url) == [*messages, messages[-1]]


@pytest.mark.parametrize("more", [1, 500_000])
async def test_a_message_that_is_too_large_is_refused_and_the_client_is_told_why(more) -> None:
    """In one frame or in many: code 1009, and the reason arrives, though more was on its way."""

    def talk(url: str, message: object) -> tuple[int, str]:
        with connect_websocket(url, max_size=None) as client:
            with contextlib.suppress(websockets.exceptions.ConnectionClosedError):
                client.send(message)
            with pytest.raises(websockets.exceptions.ConnectionClosedError) as caught:
                client.recv(PATIENCE)
            assert caught.value.rcvd is not None
            return caught.value.rcvd.code, caught.value.rcvd.reason

    nbytes = example.MAX_MESSAGE_NBYTES + more
    async with serving() as (url, _):
        for message in (bytes(nbytes), [bytes(nbytes // 10 + 1)] * 10):
            answer = await trio.to_thread.run_sync(talk, url, message)
            assert answer == (1009, f"at most {example.MAX_MESSAGE_NBYTES} bytes")


async def test_the_demonstration_says_what_came_back() -> None:
    """Fragments are one message again, of as many letters; then it ends by itself."""
    script = (EXAMPLES / "websocket_echo.py").read_text()
    async with running("--port", "0", "--demo", script=script) as program:
        lines = [line async for line in lines_of(program)]
        assert await program.end() == (0, "", "")
    assert lines[1:] == [
        "TextMessage of 13",
        "BytesMessage of 100000",
        "Pong b'?'",
        "closed with 1000: enough",
    ]


async def lines_of(program: Program) -> AsyncIterator[str]:
    while line := await program.line():
        yield line


# Any fragments, cut anywhere


@given(
    messages=st.lists(
        st.lists(st.text(max_size=300) | st.binary(max_size=300), min_size=1), max_size=5
    ),
    cut=st.integers(1, 2_000),
)
async def test_whatever_is_said_comes_back_however_it_is_cut(messages, cut) -> None:
    """Fragments of a message are of its kind; between any two, a ping is answered in turn."""
    ours, theirs = await socketpair()
    client = example.Peer(ours, ConnectionType.CLIENT)
    said, heard, last = [], [], []
    async with closing(ours), trio.open_nursery() as nursery:
        nursery.start_soon(example.serve, theirs)
        await shake_hands(client)
        written = b""
        for parts in messages:
            kind = TextMessage if isinstance(parts[0], str) else BytesMessage
            parts = [part for part in parts if type(part) is type(parts[0])]
            for at, part in enumerate(parts):
                written += client.ws.send(kind(part, message_finished=at == len(parts) - 1))
                written += client.ws.send(Ping(b"%d" % at))
                said.append(Pong(b"%d" % at))
            said[-1:] = [type(parts[0])().join(parts), said[-1]]
        written += client.ws.send(CloseConnection(1000))

        @nursery.start_soon
        async def send():
            for at in range(0, len(written), cut):
                await ours.send_all(written[at : at + cut])
                if len(written) < 50 * cut:
                    await trio.testing.wait_all_tasks_blocked()

        while client.ws.state is not ConnectionState.CLOSED:
            for event in await client.receive():
                if isinstance(event, Message):
                    last.append(event.data)
                    if event.message_finished:
                        heard.append(type(event.data)().join(last))
                        last.clear()
                elif isinstance(event, Pong):
                    heard.append(Pong(bytes(event.payload)))
        await ours.aclose()  # which the server waits for
    assert heard == said


async def shake_hands(client) -> None:
    await client.send(Request(host="localhost", target="/"))
    while client.ws.state is not ConnectionState.OPEN:
        list(await client.receive())


# Who means no good

HELLO = (
    b"GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
REFUSED = {
    "no HTTP": (b"\x16\x03\x01 TLS, say\r\n\r\n", 400),
    "another method": (HELLO.replace(b"GET", b"PUT"), 400),
    "no upgrade": (HELLO.replace(b"upgrade: websocket\r\n", b""), 400),
    "no key": (HELLO.replace(b"sec-websocket-key", b"x"), 400),
    "no host": (HELLO.replace(b"host", b"x"), 400),
    "a host that cannot be": (HELLO.replace(b"host: a", b"host: xn--\xff\xfe"), 400),
    "another version": (HELLO.replace(b"version: 13", b"version: 8"), 426),
    "no end": (HELLO[:-2] + b"x: ".ljust(17_000, b"x"), 400),
}


@pytest.mark.parametrize(("request_", "status"), REFUSED.values(), ids=REFUSED)
async def test_what_is_no_request_for_a_websocket_is_refused(address, request_, status) -> None:
    """With a status, and an end; the next client is served."""
    for data, wanted in ((request_, status), (HELLO, 101)):
        async with await connect(address) as stream:
            await stream.send_all(data)
            if wanted != 101:
                await stream.send_eof()
            with trio.fail_after(PATIENCE):
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 %d " % wanted)
                while wanted != 101 and await stream.receive_some():
                    pass


def frame(
    opcode: int, payload: bytes = b"", *, first: int = 0x80, nbytes: int | None = None, mask=True
) -> bytes:
    """Return a frame, with a mask of zeros; `nbytes` is what it says of its length."""
    nbytes = len(payload) if nbytes is None else nbytes
    masked = 0x80 if mask else 0
    if nbytes < 126:
        head = bytes([first | opcode, masked | nbytes])
    elif nbytes < 65_536:
        head = struct.pack("!BBH", first | opcode, masked | 126, nbytes)
    else:
        head = struct.pack("!BBQ", first | opcode, masked | 127, nbytes)
    return head + bytes(4 if mask else 0) + payload


MISTAKES = {
    "no mask": (frame(1, b"abc", mask=False), 1002),
    "a kind that there is not": (frame(3), 1002),
    "a control frame that there is not": (frame(0xB), 1002),
    "a reserved bit": (frame(1, b"abc", first=0xC0), 1002),
    "a continuation of nothing": (frame(0, b"abc"), 1002),
    "a message within a message": (frame(1, b"a", first=0) + frame(1, b"b"), 1002),
    "a ping in fragments": (frame(9, b"a", first=0), 1002),
    "a ping that is too long": (frame(9, bytes(126)), 1002),
    "a length of 2 to the 63rd": (frame(2, bytes(9), nbytes=1 << 63), 1002),
    "a short length written long": (b"\x82\xfe\0\5" + bytes(4) + b"12345", 1002),
    "text that is none": (frame(1, b"caf\xe9 "), 1007),
    "half a letter at the end": (frame(1, "\xe9".encode()[:1]), 1007),
    "a close of one byte": (frame(8, b"\3"), 1002),
    "a close with a code that there is not": (frame(8, struct.pack("!H", 999)), 1002),
    "a close with a reason that is no text": (frame(8, struct.pack("!H", 1000) + b"\xff"), 1007),
    "more than is allowed, announced": (
        frame(2, bytes(example.MAX_MESSAGE_NBYTES + 1), nbytes=1 << 62),
        1009,
    ),
    "a good close": (frame(8, struct.pack("!H", 1000)), 1000),
    "a close without a code": (frame(8), 0),
}


@pytest.mark.parametrize(("data", "code"), MISTAKES.values(), ids=MISTAKES)
async def test_mistakes_are_answered_by_a_close_with_the_right_code(address, data, code) -> None:
    """What is said after the mistake is not answered, and cannot take the close away."""
    async with await connect(address) as stream, trio.open_nursery() as nursery:
        await stream.send_all(HELLO)
        arrived = bytearray()
        with trio.fail_after(PATIENCE):
            while not arrived.endswith(b"\r\n\r\n"):
                arrived += await stream.receive_some()
            arrived.clear()

            @nursery.start_soon
            async def send():
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(frame(9, b"before") + data + frame(9, b"after") * 100)
                    await stream.send_eof()

            while part := await stream.receive_some():
                arrived += part
    pong, close = b"\x8a\x06before", bytes(arrived)[8:]
    assert arrived.startswith(pong)
    if code in {1009, 1002, 1007} and close[:1] != b"\x88":  # what came before is sent back first
        close = close[close.rindex(b"\x88", 0, -1 if code != 1009 else None) :]
    assert close[:1] == b"\x88"
    assert close[1] == len(close) - 2
    assert (int.from_bytes(close[2:4], "big") if close[2:] else 0) == code
    assert b"after" not in arrived


async def test_a_client_that_is_gone_in_the_middle_harms_nobody(address) -> None:
    """Whereever it stops: in the request, in a frame's head, in its payload."""
    talk = HELLO + frame(1, b"abc") + frame(2, bytes(300))
    for stop in (0, 1, 100, len(HELLO), len(HELLO) + 1, len(HELLO) + 5, len(talk) - 1, len(talk)):
        async with await connect(address) as stream:
            await stream.send_all(talk[:stop])
            await stream.send_eof()
            with trio.fail_after(PATIENCE), contextlib.suppress(trio.BrokenResourceError):
                while await stream.receive_some():
                    pass
    async with await connect(address) as stream:
        await stream.send_all(HELLO)
        with trio.fail_after(PATIENCE):
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")


async def test_a_client_that_reads_nothing_is_left_soon(monkeypatch) -> None:
    """What cannot be sent to it is held back from being received, and then it is gone."""
    monkeypatch.setattr(example, "PATIENCE_SECONDS", 0.05)
    ours, theirs = await tcp_pair()
    small_buffers(ours)
    small_buffers(theirs)
    sent = 0
    async with closing(ours), trio.open_nursery() as nursery:
        nursery.start_soon(example.serve, theirs)
        client = example.Peer(ours, ConnectionType.CLIENT)
        await shake_hands(client)
        ping = frame(9, os.urandom(125)) * 100
        with trio.fail_after(PATIENCE), contextlib.suppress(trio.BrokenResourceError):
            while True:
                await ours.send_all(ping)
                sent += len(ping)
    assert sent < 20_000_000


def test_a_client_that_says_nothing_is_asked_and_then_left() -> None:
    """One that answers is asked again and again; by trio's clock."""

    async def main() -> list[object]:
        ours, theirs = await socketpair()
        client = example.Peer(ours, ConnectionType.CLIENT)
        heard = []
        async with closing(ours), trio.open_nursery() as nursery:
            nursery.start_soon(example.serve, theirs)
            await shake_hands(client)
            began = trio.current_time()
            while client.ws.state is ConnectionState.OPEN:
                for event in await client.receive():
                    heard.append((type(event), round(trio.current_time() - began)))
                    if isinstance(event, Ping) and len(heard) < 3:
                        await client.send(event.response())
        return heard

    clock = trio.testing.MockClock(autojump_threshold=0.05)
    silence = round(example.SILENCE_SECONDS)
    assert trio.run(main, clock=clock) == [
        (Ping, silence),
        (Ping, 2 * silence),
        (Ping, 3 * silence),
        (CloseConnection, 4 * silence),
    ]
