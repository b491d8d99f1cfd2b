"""What it costs to pass bytes on from one connection to another.

    python bench/relay.py [--quick] [--json FILE]

A source sends as fast as it can, a sink receives and forgets, each in a process of its own. Between
them a fresh process for each sample passes on, both ways, until both sides have ended:

    relay                 our `relay(a, b)`
    trio, default         `async for data in a: await b.send_all(data)`, in both directions
    trio, 256 KiB         the same with `receive_some(262_144)`

How to read it: CPU s/GB is the processor time of the process in the middle for each 10^9
bytes, and is what a proxy pays for; GB/s is wall time, and three processes share the cores for it.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from functools import partial

import trio
from _measure import GB, Contest, Options, Report, Stopwatch, in_child, in_turn, peer

from trio_bytesbuf import SocketStream, relay

RIVALS: dict[str, int | None] = {"relay": None, "trio, default": None, "trio, 256 KiB": 262_144}


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
            connection.setblocking(False)
            ends.append(connection)
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
    for kind in RIVALS:
        report.remark(f"{kind}: {1 / contests[1].median(kind):.2f} GB/s")
    options.finish(report)


if __name__ == "__main__":
    main()
