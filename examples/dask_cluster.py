"""Views in a Dask cluster: what crosses between processes, and that no byte of it is copied.

A client sends a view of several pooled blocks to a worker, that sends it to another worker, and the
client asks for it back. In each process the addresses of the frames that Dask's TCP was given, or
had received, are compared with those of the view's pieces.

    pip install 'trio_bytesbuf[dask]'
    python examples/dask_cluster.py
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from distributed import Client, LocalCluster
from distributed.comm import tcp

from trio_bytesbuf import BytesView, GlobalPool

NBYTES = 3_500_000

sent: list[object] = []
received: list[object] = []


def place_of(buffer: Any) -> tuple[int, int]:
    """Return where in memory a buffer begins and ends."""
    array = np.frombuffer(buffer, dtype="u1")
    start = array.__array_interface__["data"][0]
    return start, start + array.nbytes


def copied_nbytes(view: BytesView, frames: list[object]) -> int:
    """Count the bytes of `view` that lie in none of `frames`."""
    borders = [place_of(frame) for frame in frames if len(frame)]  # type: ignore[arg-type]
    copied = 0
    for piece in view.pieces:
        first, last = place_of(piece)
        if not any(start <= first and last <= stop for start, stop in borders):
            copied += piece.nbytes
    return copied


def watch() -> None:
    """Note which frames this process's TCP sends and receives; they are kept."""
    to_frames, from_frames = tcp.to_frames, tcp.from_frames

    async def noted_to(*args: object, **kwargs: object) -> list[object]:
        frames: list[object] = await to_frames(*args, **kwargs)
        sent.extend(frames)
        return frames

    async def noted_from(frames: list[object], *args: object, **kwargs: object) -> object:
        received.extend(frames)
        return await from_frames(frames, *args, **kwargs)

    tcp.to_frames, tcp.from_frames = noted_to, noted_from


def passed_on(view: BytesView) -> BytesView:
    """Run in a worker: give the view back, uncopied."""
    return view


def told(name: str, way: str, view: BytesView, frames: list[object]) -> str:
    """Return a line about what crossed."""
    copied = copied_nbytes(view, frames)
    return (
        f"{name:<15} pid {os.getpid():<8} {way:<9} {len(view):>9,} bytes in {len(view.pieces)} "
        f"pieces; addresses equal: {copied == 0}; copied: {copied} bytes"
    )


def tell(name: str, way: str, view: BytesView) -> str:
    """Run in a worker: compare the view with the frames that went that way there."""
    import dask_cluster  # this file, as the worker knows it

    return told(name, way, view, getattr(dask_cluster, way))


def main() -> None:
    """Send a view around and say what happened to its bytes."""
    import dask_cluster  # the workers' functions have to come from a module that they can import

    pool = GlobalPool()
    view = BytesView.copied_from_slice(np.random.default_rng(1).bytes(NBYTES), pool)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, protocol="tcp://",
            host="127.0.0.1", dashboard_address=":0",
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        first, second = client.scheduler_info()["workers"]
        dask_cluster.watch()
        client.run(dask_cluster.watch)
        tell = dask_cluster.tell

        there = client.submit(dask_cluster.passed_on, view, workers=[first], pure=False)
        arrived = client.submit(tell, "first worker", "received", there, workers=[first])
        arrived_line = arrived.result()
        print(told("client", "sent", view, dask_cluster.sent))
        print(arrived_line)
        beyond = client.submit(dask_cluster.passed_on, there, workers=[second], pure=False)
        arrived = client.submit(tell, "second worker", "received", beyond, workers=[second])
        arrived_line = arrived.result()
        print(client.submit(tell, "first worker", "sent", there, workers=[first]).result())
        print(arrived_line)
        back = beyond.result()
        print(client.submit(tell, "second worker", "sent", beyond, workers=[second]).result())
        print(told("client", "received", back, dask_cluster.received))
        print(f"what came back is what was sent: {back == view}")


if __name__ == "__main__":
    main()
