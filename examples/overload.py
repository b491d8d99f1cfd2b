"""Overload: many clients blast a server that cannot keep up, without a cap and with one.

    python examples/overload.py [clients] [bytes of each] [bytes a second]

The server takes whatever its streams receive and queues it for one slow worker. Without a cap the
queue grows until everything is in it. With a `CappedPool`, and a share of it for each connection,
receiving waits for memory: the system's buffers fill, and TCP tells the clients to wait.
Each case runs in a process of its own, so that its peak of memory is its own.
"""

import hashlib
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import trio

from trio_bytesbuf import BytesView, CappedPool, SocketStream, open_tcp_stream, serve_tcp

CAP_NBYTES = 4 * 1_048_576
NO_CAP_NBYTES = 1 << 40
KERNEL_NBYTES = 16_384  # for each socket: so little that what is seen is the pool's doing
SEND_NBYTES = 50_000
MIB = 1_048_576


class Overload:
    """A slow server, its clients, and what became of the bytes."""

    def __init__(self, max_nbytes: int, clients: int, nbytes: int, rate: int) -> None:
        self.pool = CappedPool(max_nbytes)
        self.share_nbytes = max_nbytes // clients
        self.clients, self.nbytes, self.rate = clients, nbytes, rate
        self.accepted_nbytes = 0  # by the system, from the clients
        self.worked_nbytes = 0
        self.peak_behind_nbytes = 0
        self.digests: set[bytes] = set()
        self.body = bytes(range(256)) * (nbytes // 256)

    async def handle(self, stream: SocketStream, queue: trio.MemorySendChannel[object]) -> None:
        """Queue whatever one connection receives, and its end."""
        digest = hashlib.sha256()
        async with stream:
            async for view in stream.views():
                await queue.send((digest, view))
                del view  # the queue's alone
            await queue.send((digest, None))

    async def work(self, queue: trio.MemoryReceiveChannel[Any]) -> None:
        """Work off the queue, at the rate of `rate` bytes a second, until all clients are done."""
        start = trio.current_time()
        async for digest, view in queue:
            if view is None:
                self.digests.add(digest.digest())
                if len(self.digests) == self.clients:
                    return
                continue
            self.worked_nbytes += len(view)
            await trio.sleep_until(start + self.worked_nbytes / self.rate)
            for piece in view.pieces:
                digest.update(piece)
            del view, piece  # not to be held while the queue is empty

    def data(self, number: int) -> BytesView:
        """Return what a client sends: no two send the same."""
        return BytesView(number.to_bytes(8)) + BytesView(self.body)

    async def blast(self, number: int, port: int) -> None:
        """Send as fast as the server lets one."""
        data = self.data(number)
        async with await open_tcp_stream("127.0.0.1", port) as stream:
            stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, KERNEL_NBYTES)
            for start in range(0, len(data), SEND_NBYTES):
                part = data[start : start + SEND_NBYTES]
                await stream.write_view(part)
                self.accepted_nbytes += len(part)
                behind = self.accepted_nbytes - self.worked_nbytes
                self.peak_behind_nbytes = max(self.peak_behind_nbytes, behind)

    async def run(self) -> None:
        """Serve all clients."""
        send, receive = trio.open_memory_channel[object](self.clients * self.nbytes)
        share = partial(self.pool.share, self.share_nbytes)
        async with trio.open_nursery() as serving:
            serve = partial(serve_tcp, host="127.0.0.1", memory=share)
            listeners = await serving.start(serve, partial(self.handle, queue=send), 0)
            socket = listeners[0].socket
            socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, KERNEL_NBYTES)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.work, receive)
                for number in range(self.clients):
                    nursery.start_soon(self.blast, number, socket.getsockname()[1])
            serving.cancel_scope.cancel()

    def report(self) -> str:
        """Say in one line what happened."""
        expected = (self.data(number).to_bytes() for number in range(self.clients))
        intact = sum(hashlib.sha256(data).digest() in self.digests for data in expected)
        return (
            f"lent at most {self.pool.statistics().peak_nbytes / MIB:5.1f} MiB,  "
            f"process grew by {self.grown_nbytes / MIB:5.1f} MiB,  "
            f"accepted and not worked off at most {self.peak_behind_nbytes / MIB:5.1f} MiB,  "
            f"intact: {intact} of {self.clients}"
        )

    grown_nbytes = 0


def peak_rss_nbytes() -> int:
    """Return the most memory that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux's `ru_maxrss` begins with what the parent had
        [line] = [text for text in status.read_text().splitlines() if text.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(clients: int = 50, nbytes: int = 1_000_000, rate: int = 25_000_000) -> None:
    """Run both cases and print what became of them."""
    print(
        f"{clients} clients send {clients * nbytes / MIB:.1f} MiB; "
        f"{rate / MIB:.1f} MiB/s worked off"
    )
    for name, max_nbytes in (("no cap", NO_CAP_NBYTES), ("capped", CAP_NBYTES)):
        case = [max_nbytes, clients, nbytes, rate]
        command = [sys.executable, __file__, "one", *map(str, case)]
        line = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
        print(f"{name}:  {line}", end="")


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        overload = Overload(*map(int, sys.argv[2:]))
        before = peak_rss_nbytes()
        trio.run(overload.run)
        overload.grown_nbytes = peak_rss_nbytes() - before
        print(overload.report())
    else:
        main(*map(int, sys.argv[1:]))
