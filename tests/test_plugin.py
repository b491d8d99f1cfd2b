"""Claims about the pytest plugin: which tests it fails, which not, and what it says."""

from __future__ import annotations

import importlib.metadata
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import trio_bytesbuf.testing  # noqa: F401  # or each inner pytest would import it anew

pytest_plugins = ["pytester"]

PLUGIN = "trio_bytesbuf.testing._plugin"
LEAK = Path(__file__).parent.parent / "examples" / "leak.py"

HEAD = """\
import gc, sys, threading, time, weakref
import pytest, trio
from trio_bytesbuf import BytesView, default_memory

KEPT = []

def lease(nbytes=100_000):
    buf = default_memory().reserve(nbytes)  # the lease
    buf.put_repeated(7, nbytes)
    return buf.consume_all()
"""

LEASE_LINE = HEAD.splitlines().index("    buf = default_memory().reserve(nbytes)  # the lease") + 1


def is_installed() -> bool:
    """Say whether pytest loads the plugin by itself."""
    return any(entry.value == PLUGIN for entry in importlib.metadata.entry_points(group="pytest11"))


@pytest.fixture
def run(pytester: pytest.Pytester):
    """Run tests that are given as source in a pytest of their own."""

    def run_source(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=HEAD + source)
        pytester.makeini("[pytest]\nfilterwarnings = error\n")
        by_name = [] if is_installed() else ["-p", PLUGIN]
        return pytester.runpytest_inprocess(*by_name, "-p", "no:cacheprovider", *options)

    return run_source


# What a test may do. Each passes.
HARMLESS = {
    "drop": """
def test_it(tracked_memory):
    assert default_memory() is tracked_memory
    assert lease() == bytes([7]) * 100_000
""",
    "cycle": """
def test_it(tracked_memory):
    cycle = [lease()]
    cycle.append(cycle)
""",
    "cycle that comes back to life": """
def test_it(tracked_memory):
    class Phoenix:
        def __init__(self):
            self.me, self.view = self, lease()
        def __del__(self):
            KEPT.append(self)
            KEPT.clear()
    Phoenix()
""",
    "exception that was caught": """
def fail():
    view = lease()
    raise ValueError("caught")

def test_it(tracked_memory):
    with pytest.raises(ValueError) as info:
        fail()
    view = lease()
    assert info.traceback
""",
    "thread that lets go late": """
def keep_a_while(view, started):
    started.set()
    time.sleep(0.3)

def test_it(tracked_memory):
    started = threading.Event()
    threading.Thread(target=keep_a_while, args=(lease(), started)).start()
    started.wait()
""",
    "worker thread of trio": """
def test_it(tracked_memory):
    async def main():
        return await trio.to_thread.run_sync(lambda view: len(view), lease())
    assert trio.run(main) == 100_000
""",
    "value of a fixture": """
@pytest.fixture
def greeting(tracked_memory):
    return lease()

@pytest.fixture
def later():
    view = lease()
    yield view
    view[0]

def test_it(tracked_memory, greeting, later):
    assert greeting == later
""",
    "fixture that was set up before": """
@pytest.fixture(autouse=True)
def aaa():
    server = type("Server", (), {})()
    KEPT.append(server)
    yield server
    KEPT.clear()

def test_it(aaa, tracked_memory):
    aaa.greeting = lease()
""",
    "attribute of the test's instance": """
class TestIt:
    def test_it(self, tracked_memory):
        self.greeting = lease()

    def teardown_method(self):
        assert self.greeting
""",
    "attribute of a unittest": """
import unittest

@pytest.mark.usefixtures("tracked_memory")
class TestIt(unittest.TestCase):
    def test_it(self):
        self.greeting = lease()

    def tearDown(self):
        assert self.greeting
""",
    "log": """
import logging

logging.getLogger().handlers.clear()  # those of the pytest around this one, which keeps its own

def test_it(tracked_memory, caplog):
    view = lease()
    logging.getLogger().warning("received %s", view)
    try:
        raise ValueError
    except ValueError:
        logging.getLogger().exception("failed")
    assert len(caplog.records) == 2
""",
    "thread that crashed": """
def crash(view):
    raise ValueError

@pytest.mark.filterwarnings("default")
def test_it(tracked_memory):
    thread = threading.Thread(target=crash, args=(lease(),))
    thread.start()
    thread.join()
""",
    "usefixtures": """
@pytest.mark.usefixtures("tracked_memory")
def test_it():
    lease()
""",
    "weak reference": """
class View(BytesView):
    pass

def test_it(tracked_memory):
    view = View(lease())
    KEPT.append(weakref.ref(view))
""",
    "monkeypatched attribute": """
def test_it(tracked_memory, monkeypatch):
    monkeypatch.setattr(sys, "greeting", lease(), raising=False)
""",
    "abandoned async generator": """
def test_it(tracked_memory):
    async def greetings():
        view = lease()
        try:
            yield view
            yield view
        finally:
            await trio.lowlevel.checkpoint()

    async def main():
        async for view in greetings():
            break

    with pytest.warns(ResourceWarning):
        trio.run(main)
""",
    "cancelled task": """
def test_it(tracked_memory):
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleep_with, lease())
            nursery.start_soon(sleep_with, lease())
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    async def sleep_with(view):
        await trio.sleep_forever()

    import trio.testing
    trio.run(main)
""",
}

# What it may not: the source, the function that took the lease, and the holder as reported.
LEAKS = {
    "global": (
        """
def test_it(tracked_memory):
    KEPT.append(lease())
""",
        "BytesView in list in global `KEPT` of module test_it",
    ),
    "class": (
        """
class Server:
    last = None

def test_it(tracked_memory):
    Server.last = lease(10)[2:3]
""",
        "BytesView in attribute `last` of class Server",
    ),
    "cache": (
        """
import functools

@functools.cache
def greeting():
    return lease()

def test_it(tracked_memory):
    greeting()
""",
        "BytesView in dict in <_lru_cache_wrapper object> in global `greeting` of module test_it",
    ),
    "memoryview": (
        """
def test_it(tracked_memory):
    KEPT.append(lease().first_piece)
""",
        "memoryview in list in global `KEPT` of module test_it",
    ),
    "thread that goes on": (
        """
def keep(view, end):
    while __name__ in sys.modules and not end.wait(0.05): pass  # until all of this is over

def test_it(tracked_memory):
    threading.Thread(target=keep, args=(lease(), threading.Event()), daemon=True).start()
""",
        "BytesView in local variable `view` of function keep, *test_it.py:13",
    ),
    "unfinished coroutine": (
        """
class Never:
    def __await__(self):
        yield

async def keep(view):
    await Never()

def test_it(tracked_memory):
    coroutine = keep(lease())
    coroutine.send(None)
    KEPT.append(coroutine)
""",
        "BytesView in local variable `view` of function keep, *test_it.py:17",
    ),
    "exception that was kept": (
        """
def fail():
    view = lease()
    raise ValueError("kept")

def test_it(tracked_memory):
    try:
        fail()
    except ValueError as exc:
        KEPT.append(exc)
""",
        "*`view` of function fail, *traceback of ValueError('kept') in list in global `KEPT`*",
    ),
}


@pytest.mark.parametrize("source", HARMLESS.values(), ids=HARMLESS)
def test_what_comes_home_is_no_leak(run, source: str) -> None:
    """Garbage, caught exceptions, threads that let go and values of fixtures fail no test."""
    result = run(source)
    result.assert_outcomes(passed=1)
    assert result.ret == 0


@pytest.mark.parametrize(("source", "holder"), LEAKS.values(), ids=LEAKS)
def test_what_stays_out_fails_the_test_and_is_named(run, source: str, holder: str) -> None:
    """The report has the line of the lease, the line that called it, and who holds the bytes."""
    result = run(source)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*memory did not come home: 1 lease is out, * bytes:",
            f"*test_it.py:{LEASE_LINE} in lease",
            "*test_it.py:* in *",
            "*held by",
            f"*{holder}",
        ]
    )


def test_leases_of_an_async_test_are_tracked_too(run) -> None:
    """With pytest-trio: what a nursery's task kept in a global fails, what it dropped does not."""
    result = run(
        """
from trio_bytesbuf import SocketStream

async def send(view):
    ours, theirs = trio.socket.socketpair()
    async with SocketStream(ours) as stream, SocketStream(theirs) as other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write_view, view)
            nursery.start_soon(receive, other, len(view))

async def receive(stream, nbytes):
    while nbytes:
        view = await stream.receive_view()
        nbytes -= len(view)
        LAST.append(view)

LAST = []

@pytest.mark.trio
async def test_drop(tracked_memory, nursery):
    nursery.start_soon(send, lease(1_000_000))
    await trio.sleep(0.1)
    LAST.clear()

@pytest.mark.trio
async def test_keep(tracked_memory, nursery):
    await send(lease(1_000_000))
    assert tracked_memory.outstanding()
""",
        "-v",
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*test_drop PASSED*",
            "*test_keep PASSED*",
            "*test_keep ERROR*",
            "*memory did not come home: * out, * bytes:",
            "*test_it.py:* in receive",
            "*held by",
            "*BytesView in list in global `LAST` of module test_it",
        ]
    )


def test_a_test_that_fails_shows_its_own_failure_alone(run) -> None:
    """A failure holds its frames; that is no second failure. Nor is it for the next test."""
    result = run(
        """
def test_fails(tracked_memory):
    view = lease()
    KEPT.append(lease())
    assert len(view) == 1, "its own failure"

def test_passes(tracked_memory):
    lease()

@pytest.mark.xfail(strict=True)
def test_is_expected_to_fail(tracked_memory):
    view = lease()
    assert not view

def test_skips(tracked_memory):
    view = lease()
    pytest.skip()
"""
    )
    result.assert_outcomes(failed=1, passed=1, xfailed=1, skipped=1)
    result.stdout.fnmatch_lines(["*AssertionError: its own failure*"])
    result.stdout.no_fnmatch_line("*did not come home*")


def test_a_fixture_that_fails_at_its_end_shows_its_own_failure_alone(run) -> None:
    """The failure's traceback holds frames, as that of a test does."""
    result = run(
        """
@pytest.fixture
def broken(tracked_memory):
    view = lease()
    yield
    raise ValueError("its own")

def test_it(broken):
    KEPT.append(lease())
"""
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*ValueError: its own*"])
    result.stdout.no_fnmatch_line("*did not come home*")


def test_a_fixture_that_fails_shows_its_own_failure_alone(run) -> None:
    """A test that never ran is not judged."""
    result = run(
        """
@pytest.fixture
def broken(tracked_memory):
    view = lease()
    raise ValueError("its own")

def test_it(tracked_memory, broken):
    pass
"""
    )
    result.assert_outcomes(errors=1)
    result.stdout.no_fnmatch_line("*did not come home*")


def test_the_default_memory_is_put_back(run) -> None:
    """After a test that leaks, fails or passes, the next one has the memory of the process."""
    result = run(
        """
BEFORE = default_memory()

def test_leaks(tracked_memory):
    KEPT.append(lease())

def test_fails(tracked_memory):
    raise ValueError

def test_passes():
    assert default_memory() is BEFORE
"""
    )
    result.assert_outcomes(passed=2, failed=1, errors=1)


@pytest.mark.parametrize(
    "code",
    [
        # trio.testing imports pytest if it is there, so that is taken away.
        "import sys; sys.modules['pytest'] = None; import trio_bytesbuf.testing",
        "import sys, trio_bytesbuf; sys.exit('pytest' in sys.modules)",
    ],
    ids=["its room for tests", "the library"],
)
def test_no_pytest_is_needed(code: str) -> None:
    """Who uses the library, or its room for tests, needs no pytest."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], timeout=60, check=False)
    assert done.returncode == 0


def test_the_plugin_loads_nothing_but_pytest_and_the_room_that_it_is_in() -> None:
    """Every run of pytest pays for what a plugin imports."""
    code = (
        "import sys, pytest, trio_bytesbuf.testing; before = set(sys.modules);"
        f"import {PLUGIN}; sys.exit(len(set(sys.modules) - before - {{{PLUGIN!r}}}))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], timeout=60, check=False)
    assert done.returncode == 0


def test_the_example_names_its_two_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    """The report has the lines that took the leases, and the cache and the closure."""
    runpy.run_path(str(LEAK), run_name="__main__")
    report = capsys.readouterr().out.splitlines()
    source = LEAK.read_text().splitlines()
    lines = [number for number, line in enumerate(source, 1) if "= await receive_exactly(" in line]
    assert [f"    {LEAK}:{number} in serve" for number in lines] == [
        line for line in report if line.endswith(" in serve")
    ]
    assert report[0] == "2 leases are out, 65541 bytes:"
    holders = [line.strip() for line in report if line.startswith("    BytesView")]
    assert holders == [
        "BytesView in list in global `GUESTS` of module __main__",
        (
            "BytesView in closure of function serve.<locals>.<lambda> as `message` in list"
            " in attribute `lines` of <Log object> in global `LOG` of module __main__"
        ),
    ]
