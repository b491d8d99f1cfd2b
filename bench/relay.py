"""What it costs to pass bytes on from one connection to another.

    python bench/relay.py [--quick] [--json FILE]

A source sends as fast as it can, a sink receives and forgets, each in a process of its own. Between
them a fresh process for each sample passes on, both ways, until both sides have ended:

    relay                 our `relay(a, b)`
    trio, default         `async for data in a: await b.send_all(data)`, in both directions
    trio, 256 KiB         the same with `receive_some(262_144)`
    trio, splice          `os.splice` from socket to pipe to socket, waiting as trio does; the
                          pipe has the 64 KiB that it has by itself
    trio, splice 1 MiB    the same with a pipe of 1 MiB, the most that Linux lets a user have
    threads, 256 KiB      no event loop: a thread for each direction, `recv_into` and `sendall`
    threads, splice 1 MiB the same with `os.splice`: the floor

`relay` uses no splice; why is written at the head of `io/_relay.py`.

How to read it: CPU s/GB is the processor time of the process in the middle for each 10^9
bytes, and is what a proxy pays for; GB/s is wall time, and three processes share the cores for it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from contextlib import ExitStack
from functools import partial

import trio
from _measure import GB, Contest, Options, Report, Stopwatch, in_child, in_turn, peer

from trio_bytesbuf import SocketStream, relay

MIB = 1 << 20
RIVALS: dict[str, int | None] = {
    "relay": None,
    "trio, default": None,
    "trio, 256 KiB": 262_144,
    "threads, 256 KiB": 262_144,
}
if hasattr(os, "splice"):
    RIVALS |= {"trio, splice": None, "trio, splice 1 MiB": MIB, "threads, splice 1 MiB": MIB}


def new_pipe(size: int | None) -> tuple[int, int, int]:
    """Return the ends of a pipe and how much it holds."""
    out, into = os.pipe()
    if size is not None:
        fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, size)
    return out, into, fcntl.fcntl(into, fcntl.F_GETPIPE_SZ)


async def with_splice(a: socket.socket, b: socket.socket, size: int | None) -> None:
    """Pass on within the kernel."""
    flags = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK

    async def pass_on(source: socket.socket, sink: socket.socket) -> None:
        out, into, room = new_pipe(size)
        left = -1
        while left:
            await trio.lowlevel.checkpoint()
            try:
                left = os.splice(source.fileno(), into, room, flags=flags)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(source)
                continue
            passed = 0
            while passed < left:
                try:
                    passed += os.splice(out, sink.fileno(), left - passed, flags=flags)
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(sink)
        sink.shutdown(socket.SHUT_WR)
        os.close(out)
        os.close(into)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pass_on, a, b)
        nursery.start_soon(pass_on, b, a)


def with_threads(kind: str, a: socket.socket, b: socket.socket) -> None:
    """Pass on in two threads, which wait in the system's calls."""
    size = RIVALS[kind]

    def copy(source: socket.socket, sink: socket.socket) -> None:
        with memoryview(bytearray(size or 0)) as room:
            while nbytes := source.recv_into(room):
                sink.sendall(room[:nbytes])
        sink.shutdown(socket.SHUT_WR)

    def splice(source: socket.socket, sink: socket.socket) -> None:
        out, into, room = new_pipe(size)
        while nbytes := os.splice(source.fileno(), into, room, flags=os.SPLICE_F_MOVE):
            while nbytes:
                nbytes -= os.splice(out, sink.fileno(), nbytes, flags=os.SPLICE_F_MOVE)
        sink.shutdown(socket.SHUT_WR)
        os.close(out)
        os.close(into)

    how = splice if "splice" in kind else copy
    threads = [threading.Thread(target=how, args=pair) for pair in ((a, b), (b, a))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def with_trio(a: trio.SocketStream, b: trio.SocketStream, size: int | None) -> None:
    """Pass on in plain trio."""

    async def pass_on(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        while data := await source.receive_some(size):
            await sink.send_all(data)
        await sink.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pass_on, a, b)
        nursery.start_soon(pass_on, b, a)


async def pass_on(kind: str, source: socket.socket, sink: socket.socket, watch: Stopwatch) -> None:
    """Pass on from `source` to `sink` and back."""
    if "splice" in kind:
        with watch:
            await with_splice(source, sink, RIVALS[kind])
        return
    a, b = (trio.SocketStream(trio.socket.from_stdlib_socket(each)) for each in (source, sink))
    with watch:
        if kind == "relay":
            await relay(SocketStream(a), SocketStream(b))
        else:
            await with_trio(a, b, RIVALS[kind])


def sample(kind: str, nbytes: int) -> dict[str, float]:
    """Pass `nbytes` on in this process."""
    watch = Stopwatch()
    with ExitStack() as stack:
        ends: list[socket.socket] = []
        for words in (("send", nbytes), ("drain",)):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            stack.enter_context(peer(words[0], listener.getsockname()[1], *words[1:]))
            connection = stack.enter_context(listener.accept()[0])
            connection.setblocking(kind.startswith("threads"))
            ends.append(connection)
        if kind.startswith("threads"):
            with watch:
                with_threads(kind, ends[0], ends[1])
        else:
            trio.run(pass_on, kind, ends[0], ends[1], watch)
    return {"cpu": watch.cpu / nbytes * GB, "wall": watch.wall / nbytes * GB}


def main() -> None:
    """Measure and print."""
    options = Options.parse(__doc__)
    options.answer(sample)
    report = Report()
    turns, nbytes = (3, 256 * 10**6) if options.quick else (7, 10**9)
    rivals = {kind: partial(in_child, __file__, kind=kind, nbytes=nbytes) for kind in RIVALS}
    answers = in_turn(rivals, turns)

    def contest(unit: str, key: str) -> Contest:
        return Contest(
            unit, "", {kind: [each[key] for each in got] for kind, got in answers.items()}
        )

    contests = [contest("CPU s/GB", "cpu"), contest("wall s/GB", "wall")]
    report.compare(f"Passing on {nbytes / GB:g} GB, {turns} turns", contests)
    loops = ["trio, default", "trio, 256 KiB"]
    report.headline("relay, without splice", contests[1], "relay", loops, at_most=1.0)
    best = contests[1].ratio("relay", "trio, 256 KiB")
    report.promised(
        "wall s/GB ÷ trio's at its default", 1 / 1.5, contests[1].ratio("relay", "trio, default")
    )
    report.promised("wall s/GB ÷ trio's at its best size", 1.0, best)
    for kind in RIVALS:
        report.remark(f"{kind}: {1 / contests[1].median(kind):.2f} GB/s")
    options.finish(report)


if __name__ == "__main__":
    main()
