"""Draw the plots of docs/seeing.md.

python -m pip install -e '.[plot]'
python tools/draw_plots.py docs/images     # writes layout.png and history.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import trio
from matplotlib import pyplot as plt

from trio_bytesbuf import BytesView, GlobalPool, SocketStream, default_memory
from trio_bytesbuf.testing import FlowRecorder, plot_history, plot_layout

BURSTS, BURST_NBYTES = 5, 60_000_000
HELD = 60
"""How many views the echo holds on to before it drops them all: it is to be seen in the plot."""


def layout() -> BytesView:
    """Return a view that has something of several blocks, and keeps most of them."""
    pool, sizes = default_memory(), (250_000, 60_000, 200_000)
    blocks = [BytesView.copied_from_slice(bytes(size), pool) for size in sizes]
    parts = (blocks[0][1000:120_000], blocks[1][:50_000], blocks[0][150_000:190_000])
    crumbs = (blocks[2][at : at + 3000] for at in range(0, 100_000, 12_500))
    return BytesView.from_views([*parts, *crumbs])


async def echo(recorder: FlowRecorder) -> None:
    """Send bursts through an echo over loopback that holds on to some of what it gets."""
    pool = GlobalPool()
    recorder.watch(pool, "pool")
    ours, theirs = trio.socket.socketpair()
    client, server = SocketStream(ours), SocketStream(theirs, memory=pool)
    recorder.watch(server, "echo")

    async def answer() -> None:
        held: list[BytesView] = []
        while view := await server.receive_view():
            held.append(view)
            if len(held) > HELD:
                held.clear()
            await server.write_view(view)
        await server.send_eof()

    async def receive() -> None:
        while await client.receive_view():
            pass

    async with client, server, trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        nursery.start_soon(receive)
        for _ in range(BURSTS):
            await client.write_view(BytesView(bytes(BURST_NBYTES)))
            await trio.sleep(0.05)
        await client.send_eof()


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="The plots of docs/seeing.md.")
    parser.add_argument("folder", type=Path, help="where they go")
    folder = parser.parse_args(arguments).folder
    plt.switch_backend("Agg")
    recorder = FlowRecorder()
    trio.run(echo, recorder, instruments=[recorder])
    plot_layout(layout())
    plt.savefig(folder / "layout.png", dpi=100)
    plot_history(recorder)
    plt.savefig(folder / "history.png", dpi=100)


if __name__ == "__main__":
    main(sys.argv[1:])
