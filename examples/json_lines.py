"""JSON lines: a server, a client, and another program that reads and writes such lines.

    python examples/json_lines.py serve PORT              answer {"sum": [1, 2]} with {"sum": 3}
    python examples/json_lines.py ask HOST:PORT < LINES   send lines to a server, print its answers
    python examples/json_lines.py jq FILTER < LINES       have jq answer instead

A value is a line. The server answers line by line, in order: all that came at once for one
checkpoint and one send. A line that is no object is answered with an error; one that is too long is
dropped as it arrives, and answered with an error, too. Either way the next line is heard.
"""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, NoReturn, TypeAlias

import trio

from trio_bytesbuf import LimitExceeded, UnexpectedEof
from trio_bytesbuf.buffered import BufReader, BufStream, BufWriter
from trio_bytesbuf.io import SocketStream, open_process, open_tcp_stream, serve_tcp

Answer: TypeAlias = Callable[[dict[str, Any]], object]
Reader: TypeAlias = BufReader[Any] | BufStream[Any]

MAX_LINE_NBYTES: Final = 65_536


def dumped(value: object) -> bytes:
    """Return a value as a line without its end."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def loaded(line: bytes) -> Any:
    """Return the value that a line is.

    Raises:
      ValueError: it is none.
    """
    try:
        return json.loads(line.decode(), parse_constant=no_number)
    except RecursionError:
        raise ValueError("it is too deep") from None


def no_number(word: str) -> NoReturn:
    """Refuse NaN and its like, which Python reads and JSON has not."""
    raise ValueError(f"{word} is no number")


def as_object(value: Any) -> dict[str, Any]:
    """Return a value that is an object."""
    if isinstance(value, dict):
        return value
    raise TypeError("an object is wanted")


def answered(line: bytes, answer: Answer) -> bytes:
    """Return the line that a line is answered with."""
    try:
        return dumped(answer(as_object(loaded(line))))
    except (ValueError, TypeError, LookupError, ArithmeticError) as exc:
        return dumped({"error": f"{type(exc).__name__}: {exc}"})


async def serve_json_lines(answer: Answer, connection: SocketStream) -> None:
    """Answer each line of a connection until its end."""
    async with BufStream(connection, flush_before_waiting=True) as stream:
        lines = stream.lines(max_bytes=MAX_LINE_NBYTES)
        try:
            while True:
                try:
                    batch = await lines.receive_batch()
                except LimitExceeded:
                    stream.write_line(dumped({"error": f"at most {MAX_LINE_NBYTES} bytes a line"}))
                    await lines.skip()
                    continue
                for line in batch:
                    stream.write_line(answered(line, answer))
                    if stream.wants_drain:
                        await stream.drain()
        except trio.EndOfChannel:
            await stream.flush()
        except trio.BrokenResourceError:
            return


class JsonLines:
    """A peer that answers lines with lines, in order; for one task at a time."""

    def __init__(self, writer: BufWriter[Any] | BufStream[Any], reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def ask(self, value: object) -> Any:
        """Send a value and return the answer."""
        [answer] = await self.ask_all([value])
        return answer

    async def ask_all(self, values: Sequence[object]) -> list[Any]:
        """Send values and return as many answers.

        One task sends while this one receives, so neither side waits for the other for ever.

        Raises:
          UnexpectedEof: the peer has left before it answered all.
        """
        answers: list[Any] = []
        lines = self._reader.lines(max_bytes=MAX_LINE_NBYTES)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, values)
            while (missing := len(values) - len(answers)) > 0:
                try:
                    answers += map(loaded, await lines.receive_batch(missing))
                except trio.EndOfChannel:
                    raise UnexpectedEof(wanted=1, arrived=0) from None
        return answers

    async def _send(self, values: Sequence[object]) -> None:
        for value in values:
            self._writer.write_line(dumped(value))
            if self._writer.wants_drain:
                await self._writer.drain()
        await self._writer.flush()


@asynccontextmanager
async def open_json_lines(host: str, port: int) -> AsyncIterator[JsonLines]:
    """Connect to a server for the block."""
    async with BufStream(await open_tcp_stream(host, port)) as stream:
        yield JsonLines(stream, stream)


@asynccontextmanager
async def open_jq(jq_filter: str) -> AsyncIterator[JsonLines]:
    """Run jq for the block: each value is answered with what the filter makes of it."""
    command = ["jq", "--unbuffered", "--compact-output", jq_filter]
    async with await open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        async with BufWriter(process.stdin) as writer, BufReader(process.stdout) as reader:
            yield JsonLines(writer, reader)


def add_up(request: dict[str, Any]) -> object:
    """Answer {"sum": numbers}."""
    return {"sum": sum(request["sum"])}


async def main(what: str, where: str) -> None:
    """Serve, or pass on what is on the standard input."""
    if what == "serve":
        handler = partial(serve_json_lines, add_up)
        async with trio.open_nursery() as nursery:
            serve = partial(serve_tcp, handler, int(where), host="127.0.0.1")
            [listener] = await nursery.start(serve)
            print(listener.socket.getsockname()[1], flush=True)
        return
    host, _, port = where.rpartition(":")
    peer = open_jq(where) if what == "jq" else open_json_lines(host, int(port))
    values = [loaded(line) for line in sys.stdin.buffer]
    async with peer as lines:
        for answer in await lines.ask_all(values):
            print(dumped(answer).decode())


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("serve", "ask", "jq"):
        sys.exit(f"usage: {sys.argv[0]} serve PORT | ask HOST:PORT | jq FILTER")
    trio.run(main, sys.argv[1], sys.argv[2])
