"""What it costs to receive datagrams over UDP.

    python bench/datagrams.py [--quick] [--json FILE]

Some datagrams wait in the kernel's buffer; all of them are received:

    batch     `await socket.receive_batch()` of ours
    receive   `await socket.receive()` of ours, again and again
    trio      `await socket.recvfrom(65_536)` of trio's own socket, again and again

How to read it: nanoseconds of processor time for each datagram. They come over the loopback
device of one machine, and sending them is not in the figures.
"""

from __future__ import annotations

import socket
import time
from functools import partial

import trio
from _measure import Contest, Options, Report, in_turn, size_name

from trio_bytesbuf.io import DatagramSocket, bind_udp_socket

SIZES = {1: 100, 100: 100, 1400: 50, 9000: 8, 30_000: 3}
"""Sizes of datagrams, and how many of each wait: as many as fit into a buffer that the system
gives to anybody."""


async def receive(kind: str, ours: DatagramSocket, count: int) -> None:
    """Receive `count` datagrams."""
    if kind == "batch":
        while count:
            count -= len(await ours.receive_batch(count))
    elif kind == "receive":
        for _ in range(count):
            await ours.receive()
    else:
        for _ in range(count):
            await ours.socket.recvfrom(65_536)


async def sample(kind: str, nbytes: int, rounds: int) -> float:
    """Return what receiving one datagram takes."""
    count = SIZES[nbytes]
    took = 0.0
    async with await bind_udp_socket("127.0.0.1", 0) as ours:
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.connect(ours.socket.getsockname())
            for turn in range(rounds + 1):
                for _ in range(count):
                    sender.send(bytes(nbytes))
                start = time.process_time()
                with trio.fail_after(10):  # one that was lost is not waited for
                    await receive(kind, ours, count)
                took += (time.process_time() - start) * (turn > 0)  # the first is for warming up
    return took / rounds / count * 1e9


def main() -> None:
    """Measure and print."""
    options = Options.parse(__doc__)
    report = Report()
    turns, rounds = (3, 5) if options.quick else (15, 40)
    contests = []
    for nbytes in SIZES:
        rivals = {
            kind: partial(trio.run, sample, kind, nbytes, rounds)
            for kind in ("batch", "receive", "trio")
        }
        contests.append(Contest(size_name(nbytes), "ns", in_turn(rivals, turns)))
    for contest in contests[1:3]:  # such as most are
        report.headline(f"datagrams of {contest.work}, in batches", contest, "batch", ["trio"])
    report.compare("Receiving a datagram, ns", contests, [("batch", "trio"), ("receive", "trio")])
    options.finish(report)


if __name__ == "__main__":
    main()
