"""The command line as programs use it: JSON, exit codes, completion, pipes. Real processes."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from programs import connect, exchange, running
from test_dump import greetings, near_streams, stream_of

from trio_bytesbuf import BytesView
from trio_bytesbuf.cli import _bench, _demo, _main, main
from trio_bytesbuf.cli._options import COMMANDS, SHELLS, parser_for
from trio_bytesbuf.cli._records import Records, jsonable
from trio_bytesbuf.cli._screen import ROOM_FOR_FIGURES, Event, JsonScreen, Panel, plain
from trio_bytesbuf.cli._walk import Walker
from trio_bytesbuf.io import Capture, CaptureEvent, Direction

MODULE = [sys.executable, "-W", "error", "-m", "trio_bytesbuf"]


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [*MODULE, *arguments], capture_output=True, text=True, timeout=60, check=False, **options
    )


# Help


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_80_columns_and_tells_exit_codes(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command has examples, which it would accept, and says what its codes mean."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"] if command else ["--help"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    assert "exit codes:\n  0  " in told
    if command:
        examples = re.findall(r"^  python -m trio_bytesbuf (.*)$", told, re.MULTILINE)
        assert examples
        for example in examples:
            words = re.sub(r" *[|<>].*| --type \S+", "", example).split()
            assert parser_for("").parse_args(words).command == command
    else:
        assert all(f"\n    {name} " in told for name in COMMANDS)


def test_a_mistake_is_one_line() -> None:
    """The command, what is wrong with it, and where to look: on standard error, and no usage."""
    done = run("relay", ":0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "python -m trio_bytesbuf relay: the following arguments are required: TARGET "
        "(--help has more)\n"
    )


def test_the_version_has_what_a_report_of_a_bug_should_have() -> None:
    """This library's, trio's and Python's."""
    done = run("--version")
    assert re.fullmatch(
        r"trio_bytesbuf [\d.a-z]+, trio [\d.]+, CPython \d+\.\d+\.\d+\S*\n", done.stdout
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [("--help",), ("demo", "--help"), ("--version",)])
def test_nobody_who_reads_is_no_failure(arguments: tuple[str, ...]) -> None:
    """A pipe that is closed already takes nothing: no complaint, no traceback."""
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        done = subprocess.run(
            [*MODULE, *arguments], stdout=theirs, stderr=subprocess.PIPE, timeout=60, check=False
        )
    finally:
        os.close(theirs)
    assert (done.returncode, done.stderr) == (0, b"")


# Completion


@functools.cache
def script_for(shell: str) -> str:
    """What the program prints for a shell."""
    done = run("--print-completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_scripts_name_all_commands_and_options(shell: str) -> None:
    """Whatever can be typed is in them, for the program's own name."""
    script = script_for(shell)
    assert "trio-bytesbuf" in script
    assert all(word in script for word in (*COMMANDS, "interval", "received", "turns", "gib"))


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        (["de"], ["demo"]),
        (["re"], ["relay"]),
        (["demo", "--g"], ["--gib"]),
        (["dump", "--m"], ["--max-bytes"]),
        (["--print-completion", "z"], ["zsh"]),
        (["nonsense"], []),
    ],
    ids=" ".join,
)
def test_bash_completes_what_is_typed(
    typed: list[str], completed: list[str], tmp_path: Path
) -> None:
    """The script is loaded into a real bash, which is asked what it would put there."""
    script = tmp_path / "completion"
    script.write_text(script_for("bash"))
    words = " ".join(f"'{word}'" for word in ("trio-bytesbuf", *typed))
    asked = f"""
        . {script}
        how=$(complete -p trio-bytesbuf)
        how=${{how##*-F }}
        COMP_WORDS=({words}); COMP_CWORD={len(typed)}; COMP_LINE="${{COMP_WORDS[*]}}"
        COMP_POINT=${{#COMP_LINE}}
        ${{how%% *}} trio-bytesbuf '{typed[-1]}' ''
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-u", "-c", asked],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.split() == completed
    assert done.stderr == ""


def test_without_shtab_completion_says_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and 1."""
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["--print-completion", "bash"]) == 1
    assert capsys.readouterr().err == (
        "python -m trio_bytesbuf: this needs shtab: pip install 'trio_bytesbuf[cli]'\n"
    )


def test_the_program_calls_itself_what_it_was_called_as(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its script, or as a module."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/trio-bytesbuf"])
    assert main(["dump", "/nowhere/at/all"]) == 1
    assert capsys.readouterr().err.startswith("trio-bytesbuf: ")


# relay --json


async def reply_reversed(stream: trio.SocketStream) -> None:
    """Take a whole request, then send it back reversed."""
    async with stream:
        request = b"".join([data async for data in stream])
        await stream.send_all(request[::-1])


async def test_a_relay_tells_programs_what_it_tells_people() -> None:
    """An object for each event: where it listens, figures, what failed, what it came to."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(
            functools.partial(trio.serve_tcp, reply_reversed, 0, host="127.0.0.1")
        )
        target = f"127.0.0.1:{listener.socket.getsockname()[1]}"
        async with running(
            "relay", "127.0.0.1:0", target, "--json", "--interval", "0.05"
        ) as program:
            first = json.loads(await program.line())
            assert first == {"event": "listening", "listen": first["listen"], "target": target}
            [address] = first["listen"]
            assert await exchange(address, b"abc") == b"cba"
            while (figures := json.loads(await program.line()))["connections"]["now"] or not (
                figures["connections"]["total"]
            ):
                assert figures["event"] == "figures"
            assert figures["connections"] == {"now": 0, "total": 1, "failed": 0}
            assert figures["to_target"]["nbytes"] == figures["to_clients"]["nbytes"] == 3
            assert figures["pool"].keys() == {"idle_nbytes", "lent_nbytes", "allocated"}
            code, last, stderr = await program.stop()
        nursery.cancel_scope.cancel()
    assert (code, stderr) == (0, "")
    stopped = json.loads(last)
    assert stopped["event"] == "stopped"
    assert stopped["seconds"] > 0
    assert stopped["to_target"]["nbytes"] == 3


async def test_a_connection_that_failed_is_an_event() -> None:
    """Its number, its peer, and the reason in the system's words."""
    async with running("relay", "127.0.0.1:0", "127.0.0.1:1", "--json") as program:
        [address] = json.loads(await program.line())["listen"]
        with contextlib.suppress(OSError):  # reset before we know that we are connected
            await (await connect(address)).aclose()
        failed = json.loads(await program.line_with("connection_failed"))
    assert failed["connection"] == 1
    assert failed["peer"].startswith("127.0.0.1:")
    assert failed["reason"] == "cannot reach 127.0.0.1:1: Connection refused"


def test_lines_of_json_that_find_no_room_are_an_event(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """How many are missing is told in JSON, where they are missing."""
    screen = JsonScreen(1.0)
    for number in range(ROOM_FOR_FIGURES + 3):
        screen.show(Panel("", "", (), {"number": number}))
    screen.line(Event("text", "name", {"fact": None}))
    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        with screen:
            pass
    told = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    figures = [{"event": "figures", "number": number} for number in range(ROOM_FOR_FIGURES)]
    assert told == [*figures, {"event": "dropped", "lines": 3}, {"event": "name", "fact": None}]


# demo --json


@pytest.mark.counts_memory
def test_a_demonstration_ends_with_its_result(capfd: pytest.CaptureFixture[str]) -> None:
    """The last object says how much, how quick, and the checksum of both ends."""
    assert main(["demo", "--bytes", "3000000", "--json"]) == 0
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert events[0]["event"] == "started"
    done = events[-1]
    assert (done["event"], done["nbytes"]) == ("done", 3_000_000)
    assert re.fullmatch(r"[0-9a-f]{8}", done["crc32"])
    assert done["nbytes_per_second"] == pytest.approx(3_000_000 / done["seconds"], rel=0.01)


@pytest.mark.counts_memory
def test_a_demonstration_that_failed_says_so_to_both(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """An event on standard output, a line on standard error, and 1."""
    monkeypatch.setattr(_demo.Tally, "add", lambda *_: None)
    assert main(["demo", "--bytes", "1000", "--json"]) == 1
    captured = capfd.readouterr()
    failed = json.loads(captured.out.splitlines()[-1])
    assert failed["event"] == "failed"
    assert captured.err == f"python -m trio_bytesbuf: demo failed: {failed['reason']}\n"


# dump --json


def records(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[Any]]:
    """Run a dump in this process; its exit code, and its objects."""
    code = main(["dump", "--json", *map(str, arguments)])
    return code, [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_a_dump_is_an_object_for_each_item(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What a picture tells people, with a value as an object of its fields."""
    path = tmp_path / "stream"
    path.write_bytes(greetings("hi", "there") + b"and more")
    code, told = records(capfd, path, "--type", "test_dump:Greeting")
    assert code == 0
    header, first, second, goodbye, behind, total = told
    assert header == {"item": "header", "offset": 0, "version": 2, "checksums": True}
    assert first["value"] == {"class": "Greeting", "number": 0, "text": "hi"}
    assert first["payload"] == b"\0\2hi".hex()
    assert first["checksum"] == first["computed"]
    assert (second["number"], second["nbytes"], second["offset"]) == (2, 7, 9 + 1 + 4 + 8)
    assert goodbye == {"item": "goodbye", "offset": behind["offset"] - 1}
    assert behind["bytes"] == b"and more".hex()
    nbytes = path.stat().st_size
    expected = {"direction": None, "messages": 2, "nbytes": nbytes, "problems": 0}
    assert total == {"item": "total", **expected}


def test_a_capture_is_told_with_times_and_directions(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each item has them; an error of the stream is an item; totals are for each direction."""
    path = tmp_path / "capture"
    data = stream_of(b"abc", version=2, checksums=False)
    events = (
        CaptureEvent(500_000_000, Direction.RECEIVED, BytesView(data[:11])),
        CaptureEvent(1_000_000_000, Direction.RECEIVED, BytesView(data[11:])),
        CaptureEvent(1_500_000_000, Direction.SENT, BytesView(), "broke"),
    )
    path.write_bytes(bytes(Capture(events).to_bytes()))
    code, told = records(capfd, path, "--show", "2")
    assert code == 1
    assert [(each["item"], each.get("seconds"), each.get("direction")) for each in told] == [
        ("header", 0.5, "received"),
        ("message", 1.0, "received"),
        ("goodbye", 1.0, "received"),
        ("error", 1.5, "sent"),
        ("total", None, "received"),
        ("total", None, "sent"),
    ]
    assert told[1]["payload"] == b"ab".hex()
    assert told[3]["complaint"] == "broke"


def test_a_value_that_cannot_be_made_is_a_complaint(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The payload is there, the value is not, and the exit code is 1."""
    path = tmp_path / "stream"
    path.write_bytes(stream_of(b"\1"))
    code, told = records(capfd, path, "--type", "test_dump:Greeting")
    assert code == 1
    assert told[1]["payload"] == "01"
    assert told[1]["complaint"]
    assert "value" not in told[1]


@given(near_streams(), st.integers(0, 40))
def test_whatever_the_bytes_records_are_json_in_a_line(data: bytes, shown_nbytes: int) -> None:
    """One object in each line, of ASCII; what is wrong is counted as a picture counts it."""
    walker = Walker(None, 300)
    account = Records(walker, None, shown_nbytes)
    walker.feed(BytesView(data))
    walker.feed_eof()
    lines = [plain(line) for line in (*account.lines(), *account.last_lines())]
    [total] = account.total_lines(None)
    told = [json.loads(line) for line in (*lines, plain(total))]
    assert all(line.isascii() and line.index("\n") == len(line) - 1 for line in lines)
    assert told[-1]["nbytes"] == len(data)
    wrong = [
        each
        for each in told[:-1]
        if each["item"] == "problem" or each.get("checksum") != each.get("computed")
    ]
    assert told[-1]["problems"] == len(wrong)


class Colour(enum.Enum):
    """A value without parts."""

    RED = 1


@attrs.frozen
class Point:
    """A value with parts."""

    x: float
    colour: Colour


@dataclasses.dataclass
class Pair:
    """One that the standard library has made."""

    first: object
    second: object


class Odd:
    """One of no kind that is known."""

    def __repr__(self) -> str:
        return "<odd>"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Point(1.5, Colour.RED), {"class": "Point", "x": 1.5, "colour": "RED"}),
        (Pair(b"\xff", BytesView(b"ab")), {"class": "Pair", "first": "ff", "second": "6162"}),
        ({1: (None, True)}, {"1": [None, True]}),
        (math.inf, "inf"),
        (Odd(), "<odd>"),
        (Point, repr(Point)),
        ([frozenset({"\ud800"})], [["\ud800"]]),
    ],
    ids=repr,
)
def test_values_become_what_json_has(value: object, told: object) -> None:
    """Whatever they are; and `json` writes it."""
    assert jsonable(value) == told
    assert json.dumps(jsonable(value), allow_nan=False).isascii()


def test_a_value_that_is_very_deep_is_told_down_to_a_level() -> None:
    """Below, its repr is."""
    deep: list[object] = []
    for _ in range(200):
        deep = [deep]
    told = json.dumps(jsonable(deep))
    assert told.startswith("[[[")
    assert '"[[[' in told


# bench


def test_the_benchmark_measures_all_tasks_and_says_so_as_json() -> None:
    """Figures above 0 for both ways, as many as there were turns, within a few seconds."""
    done = run("bench", "--turns", "1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["turns"] == 1
    assert [task["task"].split()[0] for task in told["tasks"]] == [
        "in",
        "lines",
        "frames",
        "typed",
    ]
    for task in told["tasks"]:
        assert len(task["here_samples"]) == len(task["plain_trio_samples"]) == 1
        assert task["ratio"] == pytest.approx(task["here"] / task["plain_trio"])
        assert task["here"] > 0


@pytest.fixture
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the benchmark's tasks small."""
    real = list(_bench.tasks())

    def small():
        for task in real:
            sent = attrs.evolve(task.sent, times=1)
            yield attrs.evolve(task, sent=sent, count=task.count // task.sent.times)

    monkeypatch.setattr(_bench, "tasks", small)


@pytest.mark.usefixtures("small_tasks")
def test_the_benchmark_needs_no_other_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the README installs for it is enough: checksums are in another."""
    monkeypatch.setitem(sys.modules, "siphashc", None)
    assert main(["bench", "--turns", "1"]) == 0


@pytest.mark.usefixtures("small_tasks")
def test_the_benchmark_prints_a_table(capfd: pytest.CaptureFixture[str]) -> None:
    """A line for each task below a head, none wider than 80 columns."""
    assert main(["bench", "--turns", "3"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("trio_bytesbuf ")
    assert lines[3].split()[-4:] == ["here", "plain", "trio", "ratio"]
    for line in lines[4:8]:
        assert re.search(r" \d+\.\d{3} +\d+\.\d{3} +\d+\.\d\d  \d+\.\d\d\.\.\d+\.\d\d$", line)
    assert lines[9] == "Medians of 3 turns, and of the ratios the least and most."
    assert max(map(len, lines)) <= 80


@pytest.mark.usefixtures("small_tasks")
@pytest.mark.parametrize("way", ["views_here", "orders_plain"])
def test_a_way_that_loses_something_fails_the_benchmark(
    way: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One line that has both numbers, and 1: what is not done is not measured."""
    tasks = list(_bench.tasks())

    async def lose(stream: trio.SocketStream) -> int:
        while await stream.receive_some():
            pass
        return 7

    names = {"views_here": "here", "orders_plain": "plain"}
    broken = [
        attrs.evolve(task, **{names[way]: lose})
        if getattr(task, names[way]).__name__ == way
        else task
        for task in tasks
    ]
    monkeypatch.setattr(_bench, "tasks", lambda: iter(broken))
    assert main(["bench", "--turns", "1"]) == 1
    assert re.fullmatch(
        r"python -m trio_bytesbuf: bench failed: .*: 7 came, and [\d,]+ were sent\n",
        capfd.readouterr().err,
    )


def test_a_peer_that_does_not_start_fails_the_benchmark(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One line, and 1."""
    monkeypatch.setattr(_bench, "PEER", Path(os.devnull))
    assert main(["bench", "--turns", "1"]) == 1
    assert capfd.readouterr().err == (
        "python -m trio_bytesbuf: bench failed: the process that sends has not started\n"
    )


@pytest.mark.parametrize("turns", ["0", "1001", "-1", "many"])
def test_the_benchmark_takes_a_sensible_number_of_turns(
    turns: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """From 1 to 1000."""
    with pytest.raises(SystemExit) as caught:
        main(["bench", f"--turns={turns}"])
    assert caught.value.code == 2
    assert turns in capsys.readouterr().err


def test_ctrl_c_in_a_benchmark_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with what shells expect."""

    def interrupted(turns: int) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(_main, "measure", interrupted)
    assert main(["bench", "--json"]) == 130
