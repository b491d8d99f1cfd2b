"""What many tasks pay for pipelines of commands to a Redis server.

    python bench/pipelining.py [--quick] [--json FILE]

50 tasks at once, each with a pipeline of 100 commands (SET and GET of 16 bytes, in turn), to a
redis-server in a process of its own, over TCP and over a Unix socket:

    ours              `examples/redis_pipeline.py`: one connection, replies parsed in Python
    redis-py          `redis.asyncio`, a connection from its pool for each task, its Python parser
    redis-py, hiredis the same, with replies parsed by the C library hiredis, if it is installed

How to read it: microseconds for each command, lower is better; wall time, with what the server
takes. Connections are made before. Needs redis-server, and `pip install redis hiredis`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import trio
from _measure import HERE, Contest, Options, Report

TASKS = 50
COMMANDS = 100
VALUE = b"v" * 16
ROUNDS = 5
AT_MOST = 0.5
"""What share of redis-py's time ours may take: what was asked for."""


def example() -> Any:
    """Import the client that is an example."""
    spec = importlib.util.spec_from_file_location(
        "redis_pipeline_example", HERE.parent / "examples" / "redis_pipeline.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def commands(task: int) -> list[tuple[str | bytes, ...]]:
    """Return what a task asks."""
    keys = [f"bench:{task}:{number}" for number in range(COMMANDS // 2)]
    return [command for key in keys for command in (("SET", key, VALUE), ("GET", key))]


def microseconds_each(seconds: float) -> float:
    """Return what a command took, of all rounds."""
    return seconds / (ROUNDS * TASKS * COMMANDS) * 1e6


def ours(open_redis: Callable[[str], Any], address: str) -> float:
    """Take a sample of our client."""

    async def ask(redis: Any, task: int) -> None:
        replies = await redis.pipeline(commands(task))
        assert replies == [b"OK", VALUE] * (COMMANDS // 2)

    async def main() -> float:
        async with open_redis(address) as redis:
            await ask(redis, 0)
            start = time.perf_counter()
            for _ in range(ROUNDS):
                async with trio.open_nursery() as nursery:
                    for task in range(TASKS):
                        nursery.start_soon(ask, redis, task)
            return time.perf_counter() - start

    return microseconds_each(trio.run(main))


def redis_py(parser: Any, address: str) -> float:
    """Take a sample of redis-py."""
    from redis import asyncio as redis  # only if there is one

    place, _, port = address.rpartition(":")
    pool: Any
    if place == "unix":
        pool = redis.ConnectionPool(
            connection_class=redis.UnixDomainSocketConnection, path=port, parser_class=parser
        )
    else:
        pool = redis.ConnectionPool(host=place, port=int(port), parser_class=parser)

    async def ask(client: Any, task: int) -> None:
        pipeline = client.pipeline(transaction=False)
        for command in commands(task):
            pipeline.execute_command(*command)
        assert await pipeline.execute() == [True, VALUE] * (COMMANDS // 2)

    async def round_of(client: Any) -> None:
        async with asyncio.TaskGroup() as group:
            for task in range(TASKS):
                group.create_task(ask(client, task))

    async def main() -> float:
        async with redis.Redis(connection_pool=pool) as client:
            await round_of(client)
            start = time.perf_counter()
            for _ in range(ROUNDS):
                await round_of(client)
            took = time.perf_counter() - start
        await pool.disconnect()
        return took

    return microseconds_each(asyncio.run(main()))


@contextlib.contextmanager
def redis_server(program: str) -> Iterator[tuple[str, str]]:
    """Run a server that keeps nothing; yields its addresses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "socket"
        command = [program, "--bind", "127.0.0.1", "--port", str(port), "--unixsocket", str(path)]
        command += ["--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                while not path.exists():  # which it makes last
                    if process.poll() is not None:
                        raise RuntimeError(f"redis-server has ended with {process.returncode}")
                    time.sleep(0.01)
                yield f"127.0.0.1:{port}", f"unix:{path}"
            finally:
                process.terminate()


def main() -> None:
    """Measure and print."""
    options = Options.parse(__doc__)
    report = Report()
    program = shutil.which("redis-server")
    if program is None or importlib.util.find_spec("redis") is None:
        report.remark("not measured: needs redis-server, and `pip install redis hiredis`")
        options.finish(report)
        return
    from redis import asyncio as redis

    open_redis = example().open_redis
    turns = 3 if options.quick else 11
    parsers = {"redis-py": redis.connection._AsyncRESP2Parser}
    if importlib.util.find_spec("hiredis") is not None:
        parsers["redis-py, hiredis"] = redis.connection._AsyncHiredisParser
    contests = []
    with redis_server(program) as addresses:
        for work, address in zip(("TCP", "Unix socket"), addresses, strict=True):
            rivals = {"ours": partial(ours, open_redis, address)}
            for name, parser in parsers.items():
                rivals[name] = partial(redis_py, parser, address)
            contests.append(Contest.of(work, "µs each command", rivals, turns))
    report.compare(f"{TASKS} tasks with pipelines of {COMMANDS} commands", contests)
    for contest in contests:
        scenario = f"Redis pipelines, {contest.work}"
        report.headline(scenario, contest, "ours", parsers, at_most=AT_MOST)
        for name in parsers:
            report.promised(f"{contest.work}: ours ÷ {name}", AT_MOST, contest.ratio("ours", name))
    options.finish(report)


if __name__ == "__main__":
    main()
