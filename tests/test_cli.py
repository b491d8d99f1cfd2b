"""The command line: what it relays, what it says, how it ends. Real sockets, real programs."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import signal
import socket as stdlib_socket
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import attrs
import pytest
import trio
from programs import PATIENCE, Program, connect, exchange, running, running_relay

from trio_bytesbuf import SocketStream
from trio_bytesbuf.cli import _closing, _demo, _main, _relay, main
from trio_bytesbuf.cli._address import TcpAddress, UnixAddress, parse_address, peer_of
from trio_bytesbuf.cli._closing import closing, unsent_nbytes
from trio_bytesbuf.cli._relay import Relay
from trio_bytesbuf.cli._screen import (
    ROOM_FOR_FIGURES,
    ROOM_FOR_LINES,
    Event,
    Panel,
    Row,
    Screen,
    write_line,
)
from trio_bytesbuf.cli._words import (
    text_of_error,
    text_of_nbytes,
    text_of_rate,
    text_of_seconds,
)

REQUEST = b"there and back again. " * 100_000  # 2.2 MB: more than the sockets on the way hold
LINGER_FOR_NOTHING = struct.pack("ii", 1, 0)

Handler = Callable[[trio.SocketStream], Awaitable[None]]


async def reply_after_the_end(stream: trio.SocketStream) -> None:
    """Take a whole request, then send it back reversed."""
    request = b"".join([data async for data in stream])
    await stream.send_all(request[::-1])


async def greet_and_reply(stream: trio.SocketStream) -> None:
    """Send a greeting at once, which shows that there is a connection, and the reply later."""
    await stream.send_all(b"hello")
    await reply_after_the_end(stream)


async def echo(stream: trio.SocketStream) -> None:
    """Send back what comes."""
    async for data in stream:
        await stream.send_all(data)


@contextlib.asynccontextmanager
async def serving(
    handler: Handler, place: Path | stdlib_socket.socket | None = None
) -> AsyncIterator[str]:
    """Serve on a Unix socket, on a socket that listens, or a free port; yields the address.

    Connections may break, which the handler need not mind.
    """

    async def handle(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            async with stream:
                await handler(stream)

    if isinstance(place, Path):
        socket = trio.socket.socket(trio.socket.AF_UNIX)
        await socket.bind(str(place))
        address = f"unix:{place}"
    else:
        socket = trio.socket.from_stdlib_socket(place or nobody_listens())
        address = f"127.0.0.1:{socket.getsockname()[1]}"
    socket.listen()
    listener = trio.SocketListener(socket)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, handle, [listener])
            yield address
            nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class Recorder(Screen):
    """A screen whose lines can be waited for."""

    interval: float = 1.0
    lines: list[str] = attrs.field(init=False, factory=list)
    _news: trio.Event = attrs.field(init=False, factory=trio.Event)

    def line(self, event: Event) -> None:
        self.lines.append(event.text)
        self._news.set()
        self._news = trio.Event()

    async def line_with(self, text: str) -> str:
        while True:
            for line in self.lines:
                if text in line:
                    return line
            await self._news.wait()


@attrs.define(eq=False)
class Served:
    """A relay inside the test's own process."""

    relay: Relay
    screen: Recorder
    address: str

    async def until_idle(self) -> None:
        """Wait until it has no connection."""
        while self.relay.figures.connections_open():
            await trio.lowlevel.checkpoint()


@contextlib.asynccontextmanager
async def relay_here(target: str) -> AsyncIterator[Served]:
    """Serve a relay in this process."""
    screen = Recorder()
    relay = Relay(parse_address(target), screen)
    listeners = await parse_address("127.0.0.1:0").listen()
    address = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.serve, listeners)
            yield Served(relay, screen, address)
            nursery.cancel_scope.cancel()


def reset(stream: trio.SocketStream) -> None:
    """Close a TCP connection as a process that is killed with unread data does."""
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, LINGER_FOR_NOTHING)
    stream.socket.close()


def nobody_listens() -> stdlib_socket.socket:
    """Return a socket that has a port and does not listen yet: nobody else can get the port."""
    socket = stdlib_socket.socket()
    socket.bind(("127.0.0.1", 0))
    return socket


# The program: relaying and ending


@pytest.mark.parametrize(
    ("listen", "target", "signum"),
    [
        pytest.param("tcp", "tcp", signal.SIGTERM, id="tcp to tcp, SIGTERM"),
        pytest.param("unix", "tcp", signal.SIGINT, id="unix to tcp, SIGINT"),
        pytest.param("tcp", "unix", signal.SIGINT, id="tcp to unix, SIGINT"),
    ],
)
async def test_a_relay_passes_everything_on_and_ends_well(
    listen: str, target: str, signum: int, tmp_path: Path
) -> None:
    """Requests and their ends go out, replies and theirs come back; a signal ends it with 0.

    The reply is sent only after the request's end, so the half-close was carried through.
    """
    path = tmp_path / "relay.sock"
    place = f"unix:{path}" if listen == "unix" else "127.0.0.1:0"
    async with (
        serving(greet_and_reply, tmp_path / "target.sock" if target == "unix" else None) as server,
        running_relay(place, server) as (program, address),
    ):
        assert not address.endswith(":0")
        assert path.is_socket() == (listen == "unix")
        replies = []

        async def one_client() -> None:
            replies.append(await exchange(address, REQUEST))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(one_client)
        assert replies == [b"hello" + REQUEST[::-1]] * 3

        async with await connect(address) as still_open:
            assert await still_open.receive_some() == b"hello"
            code, last, stderr = await program.stop(signum)
            if listen == "tcp":
                with pytest.raises(trio.BrokenResourceError):  # a cut is not an end
                    await still_open.receive_some()
            else:
                assert await still_open.receive_some() == b""
    assert (code, stderr) == (0, "")
    assert re.fullmatch(
        r"stopped, up 0:00:\d\d: 4 connections, 0 failed, "
        r"6\.29 MiB to the target, 6\.29 MiB to the clients",
        last,
    )
    assert not path.exists()


async def test_a_second_signal_does_not_spoil_the_end() -> None:
    """Ctrl-C is often pressed twice."""
    async with running_relay("127.0.0.1:0", "127.0.0.1:1") as (program, _):
        # Stopped, it gets both at the same moment when it goes on.
        for signum in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT):
            program.process.send_signal(signum)
        code, last, stderr = await program.stop(signal.SIGCONT)
    assert (code, stderr) == (0, "")
    assert last.startswith("stopped, ")


async def test_without_a_terminal_there_is_a_line_for_each_interval() -> None:
    """Figures come as lines, which count and give rates and the pool."""
    async with (
        serving(reply_after_the_end) as server,
        running_relay("127.0.0.1:0", server, "--interval", "0.05") as (program, address),
    ):
        await program.line_with("connections 0 now 0 in all, 0 failed")
        await exchange(address, REQUEST)
        line = await program.line_with("connections 0 now 1 in all, 0 failed")
        assert re.fullmatch(
            r"up 0:00:\d\d \| connections 0 now 1 in all, 0 failed \| "
            r"to the target 2\.10 MiB at \S+ \S+/s \| to the clients 2\.10 MiB at \S+ \S+/s \| "
            r"pool \S+ \S+ idle, \S+ \S+ lent; [\d,]+ blocks? allocated so far",
            line,
        )
        assert "\x1b" not in line
        await program.line_with("at 0 B/s")


async def test_a_relay_goes_on_when_nobody_reads_its_output_any_more() -> None:
    """The program that kept the log may end first."""
    async with (
        serving(reply_after_the_end) as server,
        running_relay("127.0.0.1:0", server, "--interval", "0.01") as (program, address),
    ):
        await program.line_with("connections")
        assert program.process.stdout is not None
        await program.process.stdout.aclose()
        for _ in range(10):
            assert await exchange(address, REQUEST) == REQUEST[::-1]
        program.process.send_signal(signal.SIGTERM)
        code, _, stderr = await program.end()
    assert (code, stderr) == (0, "")


async def _until_it_is_full(program: Program) -> None:
    """Make the pipe from the program as small as it can be, and wait until no line fits in."""
    assert program.process.stdout is not None
    fd = program.process.stdout.fileno()
    size = fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 1)
    with trio.fail_after(PATIENCE):
        held = 0
        while held < size - 200:  # less than two lines
            await trio.sleep(0.01)
            (held,) = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))


async def test_a_relay_goes_on_when_nobody_empties_the_pipe_and_ends_when_told() -> None:
    """A pager shows its first page, a log collector has stalled: the connections do not notice."""
    async with (
        serving(reply_after_the_end) as server,
        running_relay("127.0.0.1:0", server, "--interval", "0.002") as (program, address),
    ):
        await _until_it_is_full(program)
        for _ in range(10):
            assert await exchange(address, REQUEST) == REQUEST[::-1]
        program.process.send_signal(signal.SIGTERM)
        with trio.fail_after(PATIENCE):
            assert await program.process.wait() == 0
        assert await program.end() == (0, "", "")


async def test_figures_that_find_no_room_are_dropped_counted_and_followed_by_the_next() -> None:
    """When the reader goes on it gets what was waiting, how much is missing, and new lines."""
    async with running_relay("127.0.0.1:0", "127.0.0.1:1", "--interval", "0.002") as (program, _):
        await _until_it_is_full(program)
        await trio.sleep(0.2)
        line = await program.line_with("dropped")
        assert re.fullmatch(r"lines dropped because nobody read them: [1-9]\d*", line)
        await program.line_with("connections")
        code, last, stderr = await program.stop()
    assert (code, stderr) == (0, "")
    assert last.startswith("stopped, ")


def test_lines_that_stay_have_room_where_figures_have_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They are written in order, before the screen is left; there is an end to this room, too."""
    screen = Screen(1.0)
    for number in range(ROOM_FOR_FIGURES):
        screen.line(Event(f"line {number}", "said"))
    for _ in range(3):
        screen.show(Panel("", "figures", (), {}))
    for number in range(ROOM_FOR_FIGURES, ROOM_FOR_LINES + 5):
        screen.line(Event(f"line {number}", "said"))
    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        with screen:
            pass
    lines = [f"line {number}" for number in range(ROOM_FOR_LINES - 1)]
    lines.insert(ROOM_FOR_FIGURES, "lines dropped because nobody read them: 3")
    assert (tmp_path / "out").read_text().splitlines() == lines


STOPPED_WHILE_OPENING = """
import os, signal, sys
from trio_bytesbuf.cli import _address, main

async def open_and_be_stopped(path):
    listener = await real(path)
    os.kill(os.getpid(), signal.SIGTERM)
    return listener

real, _address.open_unix_listener = _address.open_unix_listener, open_and_be_stopped
sys.exit(main())
"""


async def test_a_signal_while_the_listeners_are_opened_leaves_no_file(tmp_path: Path) -> None:
    """It comes as soon as there is a file, and is heeded when somebody is there to remove it."""
    path = tmp_path / "relay.sock"
    async with running(
        "relay", f"unix:{path}", "127.0.0.1:1", script=STOPPED_WHILE_OPENING
    ) as program:
        await program.line_with("stopped, ")
        assert await program.end() == (0, "", "")
    assert not path.exists()


FEW_FILES = """
import resource, sys
from trio_bytesbuf.cli import main
resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))
sys.exit(main())
"""


async def test_running_out_of_file_descriptors_fails_connections_and_not_the_relay() -> None:
    """With 30 descriptors some of 30 clients get through; when they have gone, all do."""
    async with (
        serving(echo) as server,
        running_relay("127.0.0.1:0", server, script=FEW_FILES) as (program, address),
    ):
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(30):
                # The relay resets those it has no descriptors for, some before they know that
                # they are connected.
                with contextlib.suppress(OSError):
                    await stack.enter_async_context(await connect(address))
            assert "Too many open files" in await program.line_with("cannot reach")
        for _ in range(100):  # what is still queued may be refused
            with contextlib.suppress(trio.BrokenResourceError, OSError, AssertionError):
                assert await exchange(address, b"hello") == b"hello"
                break
        else:
            pytest.fail("the relay did not recover")
        code, last, stderr = await program.stop()
    assert (code, stderr) == (0, "")
    assert re.search(r", [1-9]\d* failed, ", last)


# One relay, inside the test: what happens to connections


async def test_the_end_of_either_direction_is_carried_through_alone() -> None:
    """The target ends its side first; the client goes on sending and is heard."""
    heard = trio.Event()

    async def say_and_listen(stream: trio.SocketStream) -> None:
        await stream.send_all(b"all I have to say")
        await stream.send_eof()
        assert b"".join([data async for data in stream]) == REQUEST
        heard.set()

    async with serving(say_and_listen) as server, relay_here(server) as served:
        async with await connect(served.address) as client:
            assert b"".join([data async for data in client]) == b"all I have to say"
            await client.send_all(REQUEST)
            await client.send_eof()
            await heard.wait()
        await served.until_idle()
    assert served.screen.lines == []
    assert served.relay.figures.to_target.nbytes == len(REQUEST)


async def test_a_client_that_is_killed_harms_nobody_else() -> None:
    """One of two clients is reset in mid-transfer: one line, its target's side is reset too."""
    killed = trio.Event()

    async def notice(stream: trio.SocketStream) -> None:
        try:
            await echo(stream)
        except trio.BrokenResourceError:
            killed.set()

    async with serving(notice) as server, relay_here(server) as served:
        async with await connect(served.address) as other:
            await other.send_all(b"one")
            assert await other.receive_some() == b"one"
            victim = await connect(served.address)
            await victim.send_all(b"half of it")
            assert await victim.receive_some() == b"half of it"
            reset(victim)
            await killed.wait()
            line = await served.screen.line_with("broke")
            await other.send_all(b"two")
            assert await other.receive_some() == b"two"
            await other.send_eof()
            assert await other.receive_some() == b""
        await served.until_idle()
    assert re.fullmatch(
        r"connection 2 from 127\.0\.0\.1:\d+ broke after 10 B out, 10 B back: "
        r"Connection reset by peer",
        line,
    )
    figures = served.relay.figures
    assert (figures.connections_total, figures.connections_failed) == (2, 1)


async def test_a_target_that_refuses_is_reported_and_tried_again() -> None:
    """The client is reset, not told that the stream has ended; the next may be luckier."""
    socket = nobody_listens()
    port = socket.getsockname()[1]
    async with relay_here(f"127.0.0.1:{port}") as served:
        with pytest.raises(trio.BrokenResourceError):
            await exchange(served.address, b"hello")
        line = await served.screen.line_with("cannot reach")
        assert re.fullmatch(
            rf"connection 1 from 127\.0\.0\.1:\d+ cannot reach 127\.0\.0\.1:{port}: "
            r"Connection refused",
            line,
        )
        socket.listen()
        async with serving(echo, socket):
            assert await exchange(served.address, b"hello") == b"hello"
    assert served.relay.figures.connections_failed == 1


async def test_a_target_without_a_socket_is_reported(tmp_path: Path) -> None:
    """A Unix socket that is not there is one line as well."""
    async with relay_here(f"unix:{tmp_path}/nobody") as served:
        with pytest.raises(trio.BrokenResourceError):
            await exchange(served.address, b"hello")
        line = await served.screen.line_with("cannot reach")
    assert line.endswith(f"cannot reach unix:{tmp_path}/nobody: No such file or directory")


async def test_a_target_that_dies_resets_the_client() -> None:
    """A download that is cut does not look as if it were complete."""

    async def die(stream: trio.SocketStream) -> None:
        await stream.send_all(b"the first half")
        assert await stream.receive_some() == b"got it"
        reset(stream)

    async with serving(die) as server, relay_here(server) as served:
        async with await connect(served.address) as client:
            assert await client.receive_some() == b"the first half"
            await client.send_all(b"got it")
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()
        line = await served.screen.line_with("broke")
        await served.until_idle()
    assert line.endswith("broke after 6 B out, 14 B back: Connection reset by peer")


SMALL = 16_000
"""Bytes that the relay's kernel takes, and a client with a small receive buffer does not."""

Ending = Callable[[trio.SocketStream], object]


@contextlib.asynccontextmanager
async def download(content: bytes, end: Ending) -> AsyncIterator[tuple[trio.SocketStream, Served]]:
    """Have a target send `content`, and end its connection when all has arrived at the relay.

    Yields a client that has read none of it, and for which the relay's kernel holds some.
    """

    async def send(stream: trio.SocketStream) -> None:
        await stream.send_all(content)
        while unsent_nbytes(stream):  # noqa: ASYNC110  # the kernel tells nobody when it is none
            await trio.sleep(0.01)
        end(stream)
        await trio.sleep_forever()

    async with serving(send) as server, relay_here(server) as served:
        socket = trio.socket.socket()
        socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4_096)
        host, _, port = served.address.rpartition(":")
        await socket.connect((host, int(port)))
        async with trio.SocketStream(socket) as client:
            while served.relay.figures.to_client.nbytes < SMALL:
                await trio.lowlevel.checkpoint()
            yield client, served


def live_on(stream: trio.SocketStream) -> None:
    """Do not end."""


def end_well(stream: trio.SocketStream) -> None:
    """Say that there is no more."""
    stream.socket.shutdown(trio.socket.SHUT_WR)


@pytest.mark.parametrize("end", [reset, end_well])
async def test_a_slow_client_gets_all_that_had_arrived_from_its_target(end: Ending) -> None:
    """All of it, and then what is true: an error if the target broke, the end if it ended."""
    content = os.urandom(400_000)
    async with download(content, end) as (client, served):
        await trio.sleep(0.2)  # before it reads at all
        received = bytearray()
        while len(received) < len(content):
            received += await client.receive_some(20_000)
            await trio.sleep(0.001)
        assert received == content
        if end is end_well:
            assert await client.receive_some() == b""
        else:
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()
            await served.screen.line_with("broke after 0 B out, 391 KiB back")


@pytest.mark.parametrize("pause", [0.0, 0.3])
async def test_what_the_kernel_holds_for_a_client_arrives_before_the_reset(pause: float) -> None:
    """The relay has passed on all when it sees that the target is dead."""
    async with download(bytes(SMALL), reset) as (client, _):
        await trio.sleep(pause)
        assert len(await _until_it_breaks(client)) == SMALL


async def test_a_client_that_reads_nothing_has_a_few_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then it is reset, and what the kernel could not send is forgotten."""
    monkeypatch.setattr(_closing, "TAKING_SECONDS", 0.3)
    started_at = trio.current_time()
    async with download(bytes(SMALL), reset) as (client, served):
        await served.screen.line_with("broke")
        assert 0.3 <= trio.current_time() - started_at < 3.0
        await served.until_idle()
        assert len(await _until_it_breaks(client)) < SMALL


async def test_nobody_waits_for_a_client_that_is_gone() -> None:
    """The kernel goes on counting what it held for it."""
    async with download(bytes(SMALL), live_on) as (client, served):
        started_at = trio.current_time()
        reset(client)
        await served.screen.line_with("broke")
        assert trio.current_time() - started_at < _closing.TAKING_SECONDS / 2


async def test_a_cancellation_gives_no_time_and_closes_at_once() -> None:
    """A relay that is told to stop while a peer has its few seconds does not wait for it."""
    with nobody_listens() as socket:
        socket.listen()  # and never reads
        stream = SocketStream(await connect(f"127.0.0.1:{socket.getsockname()[1]}"))
        with trio.move_on_after(0.1):
            await stream.send_all(bytes(10_000_000))
        assert unsent_nbytes(stream)
        started_at = trio.current_time()
        with trio.move_on_after(0.1) as scope:
            async with closing(stream):
                raise ZeroDivisionError
        assert scope.cancelled_caught
        assert trio.current_time() - started_at < _closing.TAKING_SECONDS / 2
        assert stream.socket.fileno() == -1


async def _until_it_breaks(stream: trio.SocketStream) -> bytes:
    received = bytearray()
    with contextlib.suppress(trio.BrokenResourceError):
        while data := await stream.receive_some():
            received += data
        pytest.fail("it was told that this is all")
    return bytes(received)


async def test_our_own_mistakes_end_one_connection_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug that some connection meets is reported, and the others are served."""
    real = _relay.relay

    async def relay_with_a_bug(client: SocketStream, server: SocketStream) -> None:
        monkeypatch.setattr(_relay, "relay", real)
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(_relay, "relay", relay_with_a_bug)
    async with serving(echo) as server, relay_here(server) as served:
        with pytest.raises(trio.BrokenResourceError):
            await exchange(served.address, b"hello")
        assert await exchange(served.address, b"hello") == b"hello"
        assert "ZeroDivisionError('a bug')" in await served.screen.line_with("connection 1")


async def test_a_full_house_is_reported_once_and_waited_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Accepting goes on when there are descriptors again; other errors are not hidden."""
    no_room = OSError(errno.EMFILE, "Too many open files")

    class FullListener:
        def __init__(self) -> None:
            self.errors = [no_room, no_room, OSError(errno.EINVAL, "Invalid argument")]
            self.closed = False

        async def accept(self) -> SocketStream:
            await trio.lowlevel.checkpoint()
            raise self.errors.pop(0)

        async def __aenter__(self) -> None:
            pass

        async def __aexit__(self, *exc_info: object) -> None:
            self.closed = True

    screen, listener = Recorder(), FullListener()
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="Invalid")):
        await Relay(TcpAddress("", 1), screen).serve([listener])  # type: ignore[list-item]
    assert screen.lines == ["no room for more connections: Too many open files"]
    assert listener.closed
    assert trio.current_time() > 0.19


# Addresses and refusals


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", TcpAddress("127.0.0.1", 80)),
        ("example.org:0", TcpAddress("example.org", 0)),
        (":8000", TcpAddress("", 8000)),
        ("[::1]:443", TcpAddress("::1", 443)),
        ("[fe80::1%eth0]:443", TcpAddress("fe80::1%eth0", 443)),
        ("unix:/run/x.sock", UnixAddress("/run/x.sock")),
        ("unix:with:colons", UnixAddress("with:colons")),
    ],
)
def test_addresses_are_read_and_written_alike(text: str, address: object) -> None:
    """Each form is understood, and its `str` is the form again."""
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    ["", "80", "host", "host:", "host:http", "host:65536", "host:-1", "host:\u0668", "::1:80",
     "[::1]", "[host]:80", "a]:80", "a b:80", "a..b:80", "unix:", "unix:\0", "http://host:80"],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_the_value_and_the_forms(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The parser says which argument it was, and ends with 2."""
    for arguments in ([text, "host:80"], ["host:80", text]):
        with pytest.raises(SystemExit) as caught:
            main(["relay", *arguments])
        assert caught.value.code == 2
        stderr = capsys.readouterr().err
        assert f"{text!r} is no address: " in stderr
        assert "(HOST:PORT, :PORT, [IPv6]:PORT or unix:/path)" in stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["relay", ":0", "host:0"], "'host:0' is no target: its port must be from 1 to 65535"),
        (["relay", ":0", ":1", "--interval", "0"], "'0' is not a number of seconds above 0"),
        (["relay", ":0", ":1", "--interval", "nan"], "'nan' is not a number of seconds above 0"),
        (["relay", ":0"], "the following arguments are required: TARGET"),
        (["demo", "--gib", "much"], "'much' is not a number of GiB above 0"),
        (["demo", "--bytes", "0"], "'0' is no number of bytes from 1 upwards"),
        (["demo", "--bytes", "1", "--gib", "1"], "not allowed with argument"),
        ([], "a COMMAND is required: relay, demo, dump, bench"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_line_ends_with_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong is named."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err


def test_an_address_in_use_is_one_line_and_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """TCP or Unix: the address is named and the relay did not start."""
    path = tmp_path / "taken.sock"
    with (
        stdlib_socket.create_server(("127.0.0.1", 0)) as tcp,
        stdlib_socket.socket(stdlib_socket.AF_UNIX) as unix,
    ):
        unix.bind(str(path))
        unix.listen()
        for address in (f"127.0.0.1:{tcp.getsockname()[1]}", f"unix:{path}"):
            assert main(["relay", address, "host:80"]) == 1
            captured = capsys.readouterr()
            assert captured.err == (
                f"python -m trio_bytesbuf: cannot listen on {address}: Address already in use\n"
            )
            assert captured.out == ""
        assert path.is_socket()


@pytest.mark.parametrize(
    ("listen", "reason"),
    [
        ("192.0.2.1:0", "Cannot assign requested address"),
        ("unix:/nowhere/at/all", "No such file or directory"),
        ("unix:/" + 120 * "x", "AF_UNIX path too long"),
    ],
    ids=["not ours", "no folder", "too long"],
)
def test_an_address_where_we_cannot_listen_is_one_line_and_1(
    listen: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As for one that is in use."""
    assert main(["relay", listen, "host:80"]) == 1
    assert capsys.readouterr().err == (
        f"python -m trio_bytesbuf: cannot listen on {listen}: {reason}\n"
    )


async def test_a_peer_without_an_address_is_nobody(tmp_path: Path) -> None:
    """Unix clients have none, and connections that are gone have none any more."""
    async with serving(echo, tmp_path / "x.sock") as unix, serving(echo) as tcp:
        async with SocketStream(await connect(unix)) as stream:
            assert str(peer_of(stream)) == unix
        async with SocketStream(await connect(tcp)) as stream:
            assert str(peer_of(stream)) == tcp
        assert peer_of(stream) is None
    a, b = trio.socket.socketpair()
    async with SocketStream(a) as stream, SocketStream(b):
        assert peer_of(stream) is None


# Terminals


@contextlib.contextmanager
def pseudo_terminal():
    """Yield a terminal of 80 columns: the side that a person sees, and the program's."""
    import pty

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    try:
        yield ours, theirs
    finally:
        os.close(ours)
        os.close(theirs)


def run_on_a_terminal(*command: str, until: str, **environment: str) -> tuple[int, str]:
    """Run until the terminal shows `until`, then press Ctrl-C; return the code and the picture."""
    with pseudo_terminal() as (ours, theirs):
        process = subprocess.Popen(
            [sys.executable, "-W", "error", *command],
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", "PYTHONUTF8": "1", **environment},
        )
        try:
            shown = _read_until(ours, until, b"")
            process.send_signal(signal.SIGINT)
            shown = _read_until(ours, "stopped, ", shown)
            return process.wait(PATIENCE), shown.decode()
        finally:
            process.kill()
            process.wait()


def _read_until(fd: int, text: str, shown: bytes) -> bytes:
    import select

    while text.encode() not in shown:
        assert select.select([fd], [], [], PATIENCE)[0], shown
        shown += os.read(fd, 65_536)
    return shown


def test_a_terminal_shows_the_figures_in_a_frame_and_keeps_the_totals() -> None:
    """The panel is drawn and drawn again; Ctrl-C takes it away and leaves the last line."""
    code, shown = run_on_a_terminal(
        "-m", "trio_bytesbuf", "relay", "127.0.0.1:0", "127.0.0.1:1", "--interval", "0.05",
        until="up 0:00:01",
    )  # fmt: skip
    assert code == 0
    assert re.match(r"(\x1b\[\?25l)?relaying 127\.0\.0\.1:\d+ -> 127\.0\.0\.1:1\r\n", shown)
    for words in ("╭─", "connections", "0 now", "to the target", "pool", "allocated", "╰─"):
        assert words in shown
    assert shown.count("╭─") > 5
    assert shown.rindex("stopped, ") > shown.rindex("╰─")


WITHOUT_RICH = """
import sys
sys.modules["rich"] = None
from trio_bytesbuf.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("how", "environment"),
    [
        pytest.param(["-m", "trio_bytesbuf"], {"TERM": "dumb"}, id="dumb terminal"),
        pytest.param(["-c", WITHOUT_RICH], {}, id="no rich"),
    ],
)
def test_a_terminal_that_cannot_show_a_panel_gets_lines(
    how: list[str], environment: dict[str, str]
) -> None:
    """Without rich, or without a cursor to move, figures come as lines."""
    code, shown = run_on_a_terminal(
        *how, "relay", "127.0.0.1:0", "127.0.0.1:1", "--interval", "0.05",
        until="| connections 0 now", **environment,
    )  # fmt: skip
    assert code == 0
    assert "╭" not in shown
    assert "\x1b" not in shown


def test_the_panel_fits_80_columns_whatever_it_shows() -> None:
    """Every row has the frame's width, and curves and bars are drawn to scale."""
    from rich.console import Console

    from trio_bytesbuf.cli._live import LiveScreen, curve, framed, is_able

    rows = (
        Row("connections", "1,234 now", "12,345,678 in all, 1,234 failed"),
        Row("to the target", "1023 MiB", "at 1023 MiB/s", history=(0.0, 1.0, 50.0, 100.0)),
        Row("received", "37 %", "380 MiB of 1.00 GiB", done=0.37),
        Row("[bold]", "[/]", "x" * 200),
    )
    console = Console(width=100, force_terminal=True, _environ={"TERM": "xterm"})
    with console.capture() as captured:
        console.print(framed(Panel("[::1]:80 -> unix:/x" + 100 * "y", "up 0:00:01", rows, {})))
    plain = re.sub(r"\x1b\[[\d;]*m", "", captured.get()).splitlines()
    assert {len(line) for line in plain} == {80}
    assert "[bold]" in plain[4]
    assert " ▁▄█" in plain[2]
    assert is_able(console) == console.encoding.startswith("utf")
    assert curve((), 3) == "   "
    assert curve((5.0, 0.0, 10.0), 2) == " █"
    assert LiveScreen.shows_at_once


def test_plain_asks_for_lines_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """--plain wins over the terminal; a program started without an output gets lines, unread."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert type(_main.screen_for(plain=True, as_json=False, interval=None)) is Screen
    monkeypatch.setattr(sys, "stdout", None)
    assert type(_main.screen_for(plain=False, as_json=False, interval=2.0)) is Screen
    write_line("to nobody")


def test_lines_that_the_output_cannot_encode_are_escaped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A path may have any character, and an ASCII log stays ASCII."""
    with (tmp_path / "out").open("w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        write_line("unix:/tmp/ä\udcff")
    assert (tmp_path / "out").read_bytes() == b"unix:/tmp/\\xe4\\udcff\n"


# The demonstration


async def test_the_demonstration_sends_compares_and_says_so() -> None:
    """64 MiB through real connections: the rate, the checksum, the pool, the copied bytes."""
    async with running("demo", "--bytes", str(64 * 1_048_576)) as program:
        first = await program.line()
        lines = [line async for line in _lines_of(program)]
        code, _, stderr = await program.end()
    assert (code, stderr) == (0, "")
    assert re.fullmatch(r"source -> relay 127\.\S+ -> sink 127\.\S+, 64\.0 MiB", first)
    told = {line.split()[0]: line for line in lines}
    assert re.search(r"\d\.\d\d s, \S+ \S+/s both checksums included", told["time"])
    assert re.search(r"equal, crc32 [0-9a-f]{8}", told["checksums"])
    assert re.search(r"\d+ B from the sink to the source", told["reply"])
    allocated = int(re.search(r"[\d,]+ blocks? allocated", told["pool"])[0].split()[0])
    assert 0 < allocated < 64, "64 MiB went through far fewer blocks"
    assert re.search(r"\S+ (B|KiB|MiB) in Python by the relay", told["copied"])


async def _lines_of(program) -> AsyncIterator[str]:
    while line := await program.line():
        yield line


@pytest.mark.counts_memory
def test_the_demonstration_shows_its_progress_as_lines(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where there is no terminal, a line now and then says how far it is."""
    monkeypatch.setattr(_main, "LINES_EVERY", 0.001)
    assert main(["demo", "--gib", "0.03"]) == 0
    assert re.search(r"received \d+ % \S+ \S+ of 30\.7 MiB", capfd.readouterr().out)


async def _flip_a_byte(client: SocketStream, server: SocketStream) -> None:
    first = True
    async for view in client.views():
        if first:
            view, first = type(view)(bytes([view[0] ^ 1])) + view[1:], False
        await server.write_view(view)
    await _finish(client, server)


async def _lose_a_byte(client: SocketStream, server: SocketStream) -> None:
    first = True
    async for view in client.views():
        await server.write_view(view[1:] if first else view)
        first = False
    await _finish(client, server)


async def _swap_two_views(client: SocketStream, server: SocketStream) -> None:
    kept = await client.receive_view(1000)
    await server.write_view(await client.receive_view(1000))
    await server.write_view(kept)
    async for view in client.views():
        await server.write_view(view)
    await _finish(client, server)


async def _finish(client: SocketStream, server: SocketStream) -> None:
    await server.send_eof()
    async for view in server.views():
        await client.write_view(view)
    await client.send_eof()


@pytest.mark.counts_memory
@pytest.mark.parametrize("wrong", [_flip_a_byte, _lose_a_byte, _swap_two_views])
def test_the_demonstration_notices_what_is_wrong(
    wrong: object, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A planted corruption ends it with 1 and a line that has both checksums."""
    monkeypatch.setattr(_relay, "relay", wrong)
    assert main(["demo", "--bytes", "1000000"]) == 1
    captured = capfd.readouterr()
    assert "equal" not in captured.out
    assert re.fullmatch(
        r"python -m trio_bytesbuf: demo failed: sent 1000000 bytes, crc32 [0-9a-f]{8}; "
        r"the sink's reply is '\d+ bytes, crc32 [0-9a-f]{8}'\n",
        captured.err,
    )


@pytest.mark.counts_memory
def test_the_demonstration_reports_a_connection_that_breaks(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One line, and 1."""

    async def break_down(client: SocketStream, server: SocketStream) -> None:
        await client.receive_view()
        raise trio.BrokenResourceError("broken on purpose")

    monkeypatch.setattr(_relay, "relay", break_down)
    assert main(["demo", "--bytes", "1000000"]) == 1
    captured = capfd.readouterr()
    assert "broken on purpose" in captured.out
    assert captured.err.startswith("python -m trio_bytesbuf: demo failed: a connection failed: ")
    assert captured.err.count("\n") == 1


@pytest.mark.counts_memory
def test_ctrl_c_in_a_demonstration_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with what shells expect."""

    def interrupted(nbytes: int) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(_demo, "views_to_send", interrupted)
    assert main(["demo", "--bytes", "1"]) == 130


def test_the_views_of_the_demonstration_are_all_different() -> None:
    """Where a chunk comes from changes from chunk to chunk."""
    views = list(_demo.views_to_send(3 * _demo.CHUNK_NBYTES + 5))
    assert [len(view) for view in views] == [_demo.CHUNK_NBYTES] * 3 + [5]
    assert len({bytes(view[:100]) for view in views}) == 4


# Words


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (1536, "1.50 KiB"), (10_239, "10.0 KiB"),
     (102_400, "100 KiB"), (1_023_000, "999 KiB"), (1_048_575, "1.00 MiB"), (2**30, "1.00 GiB"),
     (2**70, "1048576 PiB")],
)  # fmt: skip
def test_amounts_have_three_digits_and_a_unit(nbytes: int, text: str) -> None:
    """Up to the largest unit there is."""
    assert text_of_nbytes(nbytes) == text
    assert text_of_rate(nbytes) == f"{text}/s"


def test_durations_are_clocks_with_days_in_front() -> None:
    """Seconds are cut, not rounded."""
    assert text_of_seconds(83.9) == "0:01:23"
    assert text_of_seconds(2 * 86_400 + 3_600) == "2d 1:00:00"


def test_errors_are_told_in_one_line_each_reason_once() -> None:
    """The system's words, without what trio adds; a group's reasons side by side."""
    refused = OSError(errno.ECONNREFUSED, "Error connecting to ('::1', 1): Connection refused")
    tried = OSError("all attempts to connect failed")
    tried.__cause__ = ExceptionGroup("several", [refused, refused, OSError(-2, "No such name")])
    assert text_of_error(tried) == "Connection refused; No such name"
    assert text_of_error(ValueError("two\n  lines")) == "two lines"
    assert text_of_error(ZeroDivisionError()) == "ZeroDivisionError"
