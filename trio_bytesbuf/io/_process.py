"""`open_process`: a child process whose standard streams are in views."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

import trio

from ..seq._memory import memory_or_default
from ._fd import FdStream, require_descriptors

if TYPE_CHECKING:
    import os
    import signal
    from collections.abc import Sequence
    from types import TracebackType

    from ..seq import Memory

    Command = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class Process(trio.abc.AsyncResource):
    """A child process, and its standard streams as `FdStream`s; made by `open_process`.

    At the end of an ``async with`` block the streams are closed and the process is waited for. If
    the block raises, or is cancelled, then or in the wait, the process is killed first. So
    none is left behind, as an orphan or unreaped.
    """

    def __init__(self, process: trio.Process, memory: Memory | None) -> None:
        self._process = process
        self._stdin, self._stdout, self._stderr = (
            None
            if stream is None
            else FdStream(cast("trio.lowlevel.FdStream", stream), memory=memory)
            for stream in (process.stdin, process.stdout, process.stderr)
        )

    @property
    def stdin(self) -> FdStream | None:
        """Where to write what the process reads; None if it was not asked for."""
        return self._stdin

    @property
    def stdout(self) -> FdStream | None:
        """Where to read what the process writes; None if it was not asked for."""
        return self._stdout

    @property
    def stderr(self) -> FdStream | None:
        """Where to read its complaints; None if it was not asked for, or they go to `stdout`."""
        return self._stderr

    @property
    def args(self) -> Command | Sequence[Command]:
        """The command that was given."""
        return self._process.args

    @property
    def pid(self) -> int:
        """The number that the system has for the process."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, -9 for signal 9 and so on; None while the process runs."""
        return self._process.returncode

    def __repr__(self) -> str:
        return f"<Process {self._process!r}>"

    async def wait(self) -> int:
        """Wait until the process has ended and return its exit status.

        A process that writes more than a pipe holds does not end before somebody reads it.

        Cancellation: atomic. The process goes on.
        """
        return await self._process.wait()

    def send_signal(self, sig: signal.Signals | int) -> None:
        """Send a signal to the process, or do nothing if it has ended."""
        self._process.send_signal(sig)

    def terminate(self) -> None:
        """Ask the process to end: SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """End the process: SIGKILL."""
        self._process.kill()

    async def aclose(self) -> None:
        """Close the streams, wait for the process, and leave nothing of it behind.

        Raises:
          OSError: the system says so of a stream. The others are closed all the same, and the
            process is killed and reaped.

        Cancellation: the streams are closed all the same, and the process is killed and reaped.
        """
        streams = (self._stderr, self._stdout, self._stdin)  # closed from last to first
        try:
            async with contextlib.AsyncExitStack() as stack:
                stack.enter_context(trio.CancelScope(shield=True))  # closing waits for nothing
                for stream in streams:
                    if stream is not None:
                        stack.push_async_callback(stream.aclose)
            await self.wait()
        except BaseException:
            self.kill()  # no harm to one that has ended
            with trio.CancelScope(shield=True):
                await self._process.wait()
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is not None:
            self.kill()
        await self.aclose()


async def open_process(
    command: Command | Sequence[Command], *, memory: Memory | None = None, **options: Any
) -> Process:
    """Start a child process, with streams of views to and from it.

    Args:
      command: the program and its arguments, each as it is; no shell looks at them.
      memory: where received bytes go; the process's pool if not given.
      options: as `trio.lowlevel.open_process` takes them. ``stdin=subprocess.PIPE`` and the like
        ask for the standard streams; without them the child has those of this program.

    Raises:
      OSError: the program was not found or could not be started, or the system has no `FdStream`s.
      TypeError: `memory` is no `Memory`, or `trio` refuses an option.

    Cancellation: atomic, before the process is started; afterwards it is returned.

    Example:
      >>> import subprocess
      >>> async def main():
      ...     pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
      ...     async with await open_process(["tr", "a-z", "A-Z"], **pipes) as process:
      ...         await process.stdin.write_view(BytesView(b"loud"))
      ...         await process.stdin.aclose()
      ...         return await process.stdout.read_to_end(1000)
      >>> trio.run(main)
      BytesView(b'LOUD')
    """
    require_descriptors()
    memory = memory_or_default(memory)
    return Process(await trio.lowlevel.open_process(command, **options), memory)
