"""What the benchmarks share: samples taken in turn, ratios, tables, child processes.

Rivals are measured in turn, A B C A B C, and a ratio is the median of the ratios within each
turn: a machine that slows down for a second slows all of them down.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import time
import timeit
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import attrs
import trio

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
IMAGES = HERE.parent / "docs" / "images"
GB = 1e9

BUSY_SHARE = 0.1
"""Above this share of processor time used by others, a table says so. Picked by eye."""

T = TypeVar("T")


# Samples


@attrs.frozen
class Contest:
    """What each rival took on one piece of work, turn by turn. The first rival is ours."""

    work: str
    unit: str
    samples: dict[str, list[float]]

    @classmethod
    def of(
        cls, work: str, unit: str, rivals: Mapping[str, Callable[[], float]], turns: int
    ) -> Contest:
        """Let the rivals do the work `turns` times, one after the other."""
        return cls(work, unit, in_turn(rivals, turns))

    def median(self, name: str) -> float:
        """Return the median of one rival's samples."""
        return statistics.median(self.samples[name])

    def spread(self, name: str) -> str:
        """Return the least and the most that one rival took."""
        return f"{shown(min(self.samples[name]))}..{shown(max(self.samples[name]))}"

    def ratios(self, name: str, rival: str) -> list[float]:
        """Return how many times as much `name` took as `rival`, in each turn."""
        pairs = zip(self.samples[name], self.samples[rival], strict=True)
        return [mine / theirs for mine, theirs in pairs]

    def ratio(self, name: str, rival: str) -> float:
        """Return how many times as much `name` took as `rival`, both in the same turn."""
        return statistics.median(self.ratios(name, rival))


def in_turn(rivals: Mapping[str, Callable[[], T]], turns: int) -> dict[str, list[T]]:
    """Call every rival once in each turn; return what they answered."""
    answers: dict[str, list[T]] = {name: [] for name in rivals}
    for _ in range(turns):
        for name, sample in rivals.items():
            answers[name].append(sample())
    return answers


def nanoseconds(
    statement: str, names: Mapping[str, object], *, seconds: float
) -> Callable[[], float]:
    """Return a function that takes one sample: nanoseconds for each run of `statement`.

    Of processor time, so that being interrupted costs nothing.

    Args:
      names: what the statement refers to.
      seconds: how long a sample takes, about. The garbage collector is off meanwhile.
    """
    timer = timeit.Timer(statement, timer=time.process_time, globals=dict(names))
    timer.timeit(1)  # whatever happens only once
    number = 1
    while (took := timer.timeit(number)) < seconds / 4:
        number *= 2
    number = max(1, round(number * seconds / took))
    return lambda: timer.timeit(number) / number * 1e9


def nanoseconds_from(
    setup: str, statement: str, names: Mapping[str, object], *, number: int
) -> Callable[[], float]:
    """Like `nanoseconds`, for a statement that uses something up, which `setup` makes anew.

    Args:
      setup: run before each sample, outside the measured time. What it assigns is local.
      statement: run `number` times for a sample; may assign anew what `setup` assigned.
      names: what both refer to.
      number: small, as the median of many short samples is what noise changes least.
    """
    timer = timeit.Timer(statement, setup, timer=time.process_time, globals=dict(names))
    timer.timeit(number)  # whatever happens only once, and what the interpreter learns
    return lambda: timer.timeit(number) / number * 1e9


@attrs.define(eq=False)
class Stopwatch:
    """Measures wall time and this process's processor time of a `with` block, in seconds."""

    wall: float = 0.0
    cpu: float = 0.0

    def __enter__(self) -> None:
        self.wall -= time.perf_counter()
        self.cpu -= time.process_time()

    def __exit__(self, *exc_info: object) -> None:
        self.wall += time.perf_counter()
        self.cpu += time.process_time()


# Other processes


def in_child(script: str, **work: object) -> dict[str, float]:
    """Let a fresh process of `script` take one sample; see `Options.answer`."""
    command = [sys.executable, script, "--sample", json.dumps(work)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


@contextmanager
def peer(*words: object) -> Iterator[None]:
    """Run `_peer.py` with these words as long as the block lasts; end it if it has not ended."""
    command = [sys.executable, "-I", str(HERE / "_peer.py"), *map(str, words)]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.terminate()


# Where it ran


@attrs.frozen
class Machine:
    """What a figure depends on besides the code."""

    python: str
    trio: str
    system: str
    processor: str
    cores: int
    load: float
    busy_share: float

    def __str__(self) -> str:
        others = f"{self.busy_share:.0%} busy with other work, load {self.load:.1f}"
        if self.busy_share > BUSY_SHARE:
            others += " (HIGH: take the ratios, not the figures)"
        return (
            f"CPython {self.python}, trio {self.trio}, {self.system}, "
            f"{self.cores} cores ({self.processor}), {others}"
        )


@functools.cache
def this_machine() -> Machine:
    """Look at the machine; once, before the first sample."""
    return Machine(
        python=platform.python_version() + _build(),
        trio=trio.__version__,
        system=f"{platform.system()} {platform.release()}",
        processor=_processor(),
        cores=os.cpu_count() or 1,
        load=os.getloadavg()[0],
        busy_share=_busy_share(),
    )


def rivals_named_in(constraints: Path) -> str:
    """Return which versions of the rivals are here, and which of them are not those of the file."""
    found = []
    for line in constraints.read_text(encoding="utf-8").splitlines():
        name, is_pin, pinned = line.partition("==")
        if not is_pin:
            continue
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = "absent"
        found.append(f"{name} {version}" + (f" (not {pinned})" if version != pinned else ""))
    return ", ".join(found)


def _build() -> str:
    """Return what is unusual about how this Python was built: it changes what Python code costs."""
    how = str(sysconfig.get_config_var("CONFIG_ARGS"))
    return "" if "--enable-optimizations" in how else " (built without --enable-optimizations)"


def _processor() -> str:
    with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _busy_share(seconds: float = 0.5) -> float:
    """Return which share of all processors is in use while this process sleeps."""

    def idle_and_total() -> tuple[int, int]:
        with Path("/proc/stat").open(encoding="utf-8") as lines:
            ticks = [int(word) for word in next(lines).split()[1:9]]
        return ticks[3] + ticks[4], sum(ticks)

    idle, total = idle_and_total()
    time.sleep(seconds)
    idle_now, total_now = idle_and_total()
    return 1 - (idle_now - idle) / max(1, total_now - total)


# Tables


@attrs.frozen
class Table:
    """Words in rows, as Markdown that is aligned for the terminal as well."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]

        def line(cells: Sequence[str]) -> str:
            first, *others = (
                cell.ljust(width) if at == 0 else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
            )
            return "| " + " | ".join([first, *others]) + " |"

        rules = ["-" * (width + 1) + ("-" if at == 0 else ":") for at, width in enumerate(widths)]
        body = "\n".join([line(self.columns), "|" + "|".join(rules) + "|", *map(line, self.rows)])
        return f"### {self.title}\n\n{this_machine()}\n\n{body}\n"

    @classmethod
    def of(
        cls,
        title: str,
        contests: Sequence[Contest],
        ratios: Sequence[tuple[str, str]] | None = None,
    ) -> Table:
        """Show one contest in each row: the median and the spread of each rival, then ratios.

        Args:
          title: what the table is about.
          contests: all in the same unit. A rival that is missing in one leaves its cells empty.
          ratios: which rivals to divide by which; if not given, the first by each of the others.
        """
        ours, *rivals = dict.fromkeys(name for contest in contests for name in contest.samples)
        if ratios is None:
            ratios = [(ours, rival) for rival in rivals]
        columns = [contests[0].unit]
        for name in (ours, *rivals):
            columns += [name, "min..max"]
        columns += [f"{name} ÷ {rival}" for name, rival in ratios]
        rows = []
        for contest in contests:
            row = [contest.work]
            for name in (ours, *rivals):
                known = name in contest.samples
                row += [shown(contest.median(name)), contest.spread(name)] if known else ["", ""]
            for name, rival in ratios:
                known = name in contest.samples and rival in contest.samples
                row.append(f"{contest.ratio(name, rival):.2f}" if known else "")
            rows.append(row)
        return cls(title, columns, rows)


def shown(value: float) -> str:
    """Return `value` with about three digits that mean something."""
    for least, digits in ((100, 0), (10, 1), (1, 2)):
        if value >= least:
            return f"{value:,.{digits}f}"
    return f"{value:.3f}"


def size_name(nbytes: int | None) -> str:
    """Return how many bytes that are, in words."""
    if nbytes is None:
        return "default"
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if nbytes >= unit and nbytes % unit == 0:
            return f"{nbytes // unit} {name}"
    return f"{nbytes} B"


def mark(axes: Axes, nbytes: int, text: str, *, dashed: bool = False) -> None:
    """Draw a vertical line at `nbytes` and say at its top what it is."""
    axes.axvline(nbytes, color="0.7", linewidth=1, linestyle="--" if dashed else "-")
    top = axes.get_xaxis_transform()
    axes.text(nbytes, 0.98, text, transform=top, va="top", ha="right", rotation="vertical")


def save(figure: Figure, path: Path) -> None:
    """Write an image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def powers_of_two(least: int, most: int) -> list[int]:
    """Return the powers of two from `least` to `most`, both of which are powers of two."""
    return [1 << bits for bits in range(least.bit_length() - 1, most.bit_length())]


# What a script says in the end


@attrs.frozen
class Target:
    """What was promised, and what came out."""

    promise: str
    at_most: float
    measured: float

    def __str__(self) -> str:
        verdict = "kept" if self.measured <= self.at_most else "MISSED"
        return f"* {verdict}: {self.promise}: {self.measured:.2f}, at most {self.at_most:.2f}"


@attrs.frozen
class Headline:
    """Ours beside the quickest of its rivals: one bar of the picture of all scenarios."""

    scenario: str
    rival: str
    ratio: float
    least: float
    most: float
    at_most: float | None
    """What was promised of the ratio, if anything."""


@attrs.define(eq=False)
class Report:
    """Prints what is added to it, and keeps it for a JSON file."""

    machine: Machine = attrs.field(init=False, factory=this_machine)
    contests: list[Contest] = attrs.field(init=False, factory=list)
    tables: list[Table] = attrs.field(init=False, factory=list)
    targets: list[Target] = attrs.field(init=False, factory=list)
    remarks: list[str] = attrs.field(init=False, factory=list)
    headlines: list[Headline] = attrs.field(init=False, factory=list)

    def add(self, table: Table, contests: Iterable[Contest] = ()) -> None:
        """Print a table; keep it with the samples it was made of."""
        print(f"\n{table}")
        self.tables.append(table)
        self.contests += contests

    def compare(
        self,
        title: str,
        contests: Sequence[Contest],
        ratios: Sequence[tuple[str, str]] | None = None,
    ) -> None:
        """Print a table with one contest in each row; the arguments are those of `Table.of`."""
        self.add(Table.of(title, contests, ratios), contests)

    def promised(self, promise: str, at_most: float, measured: float) -> None:
        """Print whether a promise was kept."""
        target = Target(promise, at_most, measured)
        print(target)
        self.targets.append(target)

    def headline(
        self,
        scenario: str,
        contest: Contest,
        ours: str,
        rivals: Iterable[str] | None = None,
        *,
        at_most: float | None = None,
    ) -> None:
        """Keep what the picture of all scenarios shows: ours ÷ the quickest of the rivals.

        Args:
          scenario: what was done, in a few words.
          contest: who took how much; less is better.
          ours: the way that a user would take.
          rivals: whom to beat; if not given, all others.
          at_most: what was promised of the ratio to the quickest.
        """
        others = [name for name in contest.samples if name != ours] if rivals is None else rivals
        best = min(others, key=contest.median)
        each = contest.ratios(ours, best)
        ratio = statistics.median(each)
        self.headlines.append(Headline(scenario, best, ratio, min(each), max(each), at_most))

    def remark(self, text: str) -> None:
        """Print a line of prose."""
        print(f"* {text}")
        self.remarks.append(text)


@attrs.frozen
class Options:
    """What the command line says."""

    quick: bool
    json: Path | None
    plot: Path | None
    work: dict[str, object] | None

    @classmethod
    def parse(cls, doc: str | None, *, plot: str | None = None) -> Options:
        """Read the command line of a script.

        Args:
          doc: the script's docstring.
          plot: the name of the image under docs/images that a full run writes, if any.
        """
        parser = argparse.ArgumentParser(
            description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        parser.add_argument("--quick", action="store_true", help="a smoke test: few short samples")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
        parser.add_argument("--sample", type=json.loads, help=argparse.SUPPRESS)
        if plot is not None:
            where = f"draw there; a full run draws docs/images/{plot} if not told otherwise"
            parser.add_argument("--plot", type=Path, metavar="FILE.png", help=where)
        given = parser.parse_args()
        image = getattr(given, "plot", None)
        if plot is not None and image is None and not given.quick:
            image = IMAGES / plot
        return cls(given.quick, given.json, image, given.sample)

    def answer(self, sample: Callable[..., Mapping[str, float]]) -> None:
        """If this process is a child that `in_child` started, do its work and leave."""
        if self.work is not None:
            print(json.dumps(sample(**self.work)))
            sys.exit()

    def finish(self, report: Report) -> None:
        """Write the JSON file, if one is wanted."""
        if self.json is not None:
            self.json.parent.mkdir(parents=True, exist_ok=True)
            self.json.write_text(json.dumps(attrs.asdict(report), indent=1), encoding="utf-8")
