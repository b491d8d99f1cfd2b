"""Run every benchmark and keep what it says.

    python bench [--quick] [NAME ...]

The scripts run one after the other, on a machine that should have nothing else to do.
bench/results/ gets NAME.md (the tables), NAME.json (all samples) and NAME.png for each, README.md
with the machine, the rivals' versions and what became of the promises, and overview.png with a bar
for each scenario of all results that are there. A full run draws the plots of docs/images anew as
well. rivals.txt has the versions that the kept figures are of.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time

import _overview
from _measure import HERE, IMAGES, Target, rivals_named_in, this_machine

RESULTS = HERE / "results"
SCRIPTS = (
    "lease_by_size",
    "slices",
    "get_put",
    "split_join",
    "join_or_gather",
    "header_and_body",
    "receive",
    "lines",
    "frames",
    "one_by_one",
    "latency",
    "dribble",
    "pipelining",
    "whole_message",
    "relay",
    "send_file",
    "copies",
    "datagrams",
    "handover",
    "idle_connections",
    "growth",
    "codec_alone",
    "typed",
    "floors",
)
DRAWING = {"lease_by_size", "join_or_gather", "receive", "growth"}


def run(name: str, *, quick: bool) -> list[str]:
    """Run one script, let it speak, keep what it says; return lines for the summary."""
    plot = RESULTS / f"{name}.png"
    command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(RESULTS / f"{name}.json")]
    if name in DRAWING:
        command += ["--plot", str(plot)]
    if quick:
        command.append("--quick")
    start = time.monotonic()
    said = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            said.append(line)
    if process.returncode:
        return [f"## {name}", "", f"It failed with status {process.returncode}.", ""]
    if name in DRAWING:
        said.append(f"\n![{name}]({plot.name})\n")
        if not quick:
            IMAGES.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(plot, IMAGES / plot.name)
    (RESULTS / f"{name}.md").write_text(f"# {name}\n\n{''.join(said)}", encoding="utf-8")
    report = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    took = f"[{name}.md]({name}.md), {time.monotonic() - start:.0f} s"
    targets = [str(Target(**target)) for target in report["targets"]]
    remarks = [f"* {remark}" for remark in report["remarks"]]
    return [f"## {name}", "", took, "", *targets, *remarks, ""]


def overview(*, quick: bool) -> list[str]:
    """Draw all scenarios of which there are results; return lines for the summary."""
    bars = _overview.headlines(RESULTS, SCRIPTS)
    if not bars:
        return []
    plot = RESULTS / "overview.png"
    _overview.draw(bars, plot)
    if not quick:
        shutil.copyfile(plot, IMAGES / plot.name)
    return [f"![ours ÷ the quickest rival, for {len(bars)} scenarios]({plot.name})", ""]


def main() -> int:
    """Run the scripts that the command line names, all of them if it names none."""
    parser = argparse.ArgumentParser(
        prog="python bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a smoke test: few short samples")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SCRIPTS))
    given = parser.parse_args()
    if unknown := set(given.names) - set(SCRIPTS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    RESULTS.mkdir(exist_ok=True)
    kind = "A smoke test: few short samples." if given.quick else "A full run."
    rivals = rivals_named_in(HERE / "rivals.txt")
    summary = ["# Benchmarks", "", f"{kind} {this_machine()}. Rivals: {rivals}.", ""]
    print(*summary, sep="\n", flush=True)
    for name in given.names or SCRIPTS:
        summary += run(name, quick=given.quick)
    summary[4:4] = overview(quick=given.quick)
    (RESULTS / "README.md").write_text("\n".join(summary), encoding="utf-8")
    failed = any("It failed with" in line for line in summary)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
