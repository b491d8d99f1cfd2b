"""What it costs to send a header and a body, and many small pieces.

    python bench/header_and_body.py [--quick] [--json FILE]

A header of 20 bytes and a body of 4 KiB to 1 MiB, which lie apart, and 10, 100 and 1,000 pieces of
100 bytes, are sent into a socketpair, each message as a whole:

    write_parts          `SocketStream.write_parts([header, body])`: decides itself what to join
    a view               `SocketStream.write_view(view)`, of a view that has those pieces
    join, send_all       `trio.SocketStream.send_all(b"".join([header, body]))`
    send_all each        `send_all` for each piece: no copy, but a call and a packet for each

The other end is emptied between two sends, by the same thread and outside the measured time.

How to read it: microseconds for each message, lower is better. Joining copies the body, into memory
that above some 100 KiB is mapped anew each time; gathering lets the kernel copy from both places.
"""

from __future__ import annotations

import socket
import statistics
import time
from functools import partial

import trio
from _measure import Contest, Options, Report, size_name

from trio_bytesbuf import BytesView, SocketStream

HEADER_NBYTES = 20
BODIES = (4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20)
SMALL_NBYTES = 100
COUNTS = (10, 100, 1000)
KINDS = ("write_parts", "a view", "join, send_all", "send_all each")
SEND_BUFFER = 4 << 20
"""Room for the largest message with what the kernel adds to it, so that no send is cut short."""

BODY_WORTH_GATHERING = 64 << 10
"""From this size of a body on, sending without joining has to be quicker."""

BODY_AT_MOST = 0.83
"""What share of joining's time that may take: 1.2 times the speed. A guess."""

SMALL_AT_MOST = 1.05
"""What share small pieces may take, which are joined here, too: the same, but for noise."""


def connected() -> tuple[socket.socket, socket.socket]:
    """Return two ends of a connection with large buffers, none of which waits."""
    source, sink = socket.socketpair()
    # The system's limit (`wmem_max`) does not hold for who may administer the network.
    for option in (getattr(socket, "SO_SNDBUFFORCE", 32), socket.SO_SNDBUF):
        try:
            source.setsockopt(socket.SOL_SOCKET, option, SEND_BUFFER)
            break
        except OSError:
            continue
    source.setblocking(False)
    return source, sink


def microseconds(kind: str, pieces: list[bytes], messages: int) -> float:
    """Send the message again and again; return the median time of one."""
    total = sum(map(len, pieces))
    room = bytearray(total)
    view = BytesView.from_views(map(BytesView, pieces))

    async def main() -> float:
        took = []
        source, sink = connected()
        theirs = trio.SocketStream(trio.socket.from_stdlib_socket(source))
        ours = SocketStream(theirs)
        with sink:
            async with ours:
                for _ in range(messages):
                    start = time.perf_counter_ns()
                    if kind == "write_parts":
                        await ours.write_parts(pieces)
                    elif kind == "a view":
                        await ours.write_view(view)
                    elif kind == "join, send_all":
                        await theirs.send_all(b"".join(pieces))
                    else:
                        for piece in pieces:
                            await theirs.send_all(piece)
                    took.append(time.perf_counter_ns() - start)
                    left = total
                    while left:
                        left -= sink.recv_into(room, left)
        return statistics.median(took) / 1000

    return trio.run(main)


def contest(work: str, pieces: list[bytes], turns: int, messages: int) -> Contest:
    """Let all kinds send the same message."""
    rivals = {kind: partial(microseconds, kind, pieces, messages) for kind in KINDS}
    return Contest.of(work, "µs", rivals, turns)


def main() -> None:
    """Measure and print."""
    options = Options.parse(__doc__)
    report = Report()
    turns, messages = (3, 100) if options.quick else (11, 500)
    bodies = {
        nbytes: contest(
            f"{HEADER_NBYTES} B and {size_name(nbytes)}",
            [bytes(HEADER_NBYTES), bytes(nbytes)],
            turns,
            messages,
        )
        for nbytes in BODIES
    }
    small = [
        contest(f"{count} of {SMALL_NBYTES} B", [bytes(SMALL_NBYTES)] * count, turns, messages)
        for count in COUNTS
    ]
    report.compare("One message of several pieces, sent", [*bodies.values(), *small])
    rivals = ["join, send_all", "send_all each"]
    body = size_name(BODY_WORTH_GATHERING)
    report.headline(
        f"send a header and {body}", bodies[BODY_WORTH_GATHERING], "write_parts", rivals
    )
    scenario = f"send {COUNTS[1]} pieces of {SMALL_NBYTES} B"
    report.headline(scenario, small[1], "write_parts", rivals, at_most=SMALL_AT_MOST)
    for nbytes, each in bodies.items():
        if nbytes >= BODY_WORTH_GATHERING:
            ratio = each.ratio("write_parts", "join, send_all")
            report.promised(f"{each.work} ÷ joined", BODY_AT_MOST, ratio)
    for each in small:
        ratio = each.ratio("write_parts", "join, send_all")
        report.promised(f"{each.work} ÷ joined", SMALL_AT_MOST, ratio)
    options.finish(report)


if __name__ == "__main__":
    main()
