"""What the commands do with their options, and how they end.

The exit codes are 0, all is well; 1, it failed; 2, the command line is wrong; 130, Ctrl-C.
A relay that is stopped by Ctrl-C or SIGTERM ends well, and so does a dump. Where nobody reads
standard output any more, nothing more is written, and that is no failure.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Final

import attrs
import trio

from ..io import Direction
from ..wire._codec_of import codec_of
from ..wire._format import ProtocolVersion
from ._bench import HEAD, BenchFailed, Machine, measure
from ._demo import DemoFailed, run_demo
from ._dump import Dump, DumpFailed, Output, run_dump
from ._options import COMMANDS, WRONG, completion_for, own_version, parser_for, program, versions
from ._picture import Picture
from ._records import Records
from ._relay import run_relay
from ._screen import JsonScreen, Screen, json_of, write_line
from ._screen import plain as plain_text
from ._words import text_of_error

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from ..wire import Codec
    from ._screen import Line

LINES_EVERY: Final = 1.0
"""Seconds between two lines of figures."""

FRAMES_EVERY: Final = 0.5
"""Seconds between two looks of a panel: quick enough to look alive, slow enough to be read."""

FAILED: Final = 1
INTERRUPTED: Final = 130
"""What shells say of a program that Ctrl-C ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, `sys.argv` if none is given, and return its exit code.

    Raises:
      SystemExit: with code 2, the command line is wrong; with code 0, it asked for help.
    """
    code = INTERRUPTED
    try:
        with _quiet_when_nobody_reads():
            parser = parser_for(program())
            options = parser.parse_args(arguments)
            if options.asks_version:
                code = _print(versions())
            elif options.print_completion:
                code = _complete(options.print_completion)
            elif options.command is None:
                parser.error(f"a COMMAND is required: {', '.join(COMMANDS)}")
            else:
                commands = {"relay": _relay, "demo": _demo, "dump": _dump, "bench": _bench}
                code = commands[options.command](options)
    except* KeyboardInterrupt:  # alone, or in the group of a nursery
        pass
    return code


@contextlib.contextmanager
def _quiet_when_nobody_reads() -> Iterator[None]:
    """Write out what the block has printed. If nobody reads it, the interpreter is not to try."""
    try:
        yield
    finally:
        if sys.stdout is not None:
            try:
                sys.stdout.flush()
            except BrokenPipeError:
                with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
                    os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _print(text: str) -> int:
    if sys.stdout is not None:
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.write(f"{text}\n")
    return 0


def _complete(shell: str) -> int:
    try:
        script = completion_for(shell)
    except ModuleNotFoundError:
        return _complain("this needs shtab: pip install 'trio_bytesbuf[cli]'")
    return _print(script)


def _relay(options: argparse.Namespace) -> int:
    screen = screen_for(plain=options.plain, as_json=options.json, interval=options.interval)
    code = 0
    try:
        trio.run(run_relay, options.listen, options.target, screen)
    except* OSError as failures:
        code = _complain(f"cannot listen on {options.listen}: {text_of_error(failures)}")
    return code


def _demo(options: argparse.Namespace) -> int:
    screen = screen_for(plain=options.plain, as_json=options.json, interval=None)
    try:
        trio.run(run_demo, options.nbytes, screen)
    except DemoFailed as exc:
        if options.json:
            with contextlib.suppress(BrokenPipeError):
                write_line(json_of("failed", {"reason": str(exc)}))
        return _complain(f"demo failed: {exc}")
    return 0


def _dump(options: argparse.Namespace) -> int:
    types = {Direction.RECEIVED: options.received, Direction.SENT: options.sent}
    codecs: dict[Direction, Codec[object] | None] = {}
    for direction, its_own in types.items():
        tp = options.type if its_own is None else its_own
        try:
            codecs[direction] = None if tp is None else codec_of(tp, max_nbytes=options.max_bytes)
        except Exception as exc:  # noqa: BLE001  # whatever the type of somebody's own is about
            return _complain(f"no messages are of this type: {str(exc) or repr(exc)}", WRONG)
    output = Output(shown_by(plain=options.plain or options.json))
    version = None if options.version is None else ProtocolVersion(options.version)
    account = Records if options.json else Picture
    dump = Dump(codecs, version, options.max_bytes, options.show, account, output)
    try:
        return 0 if trio.run(run_dump, dump, options.source) else FAILED
    except* DumpFailed as failures:
        failed = failures
    return _complain(text_of_error(failed))


def _bench(options: argparse.Namespace) -> int:
    here = Machine()
    results = []
    try:
        if not options.json:
            write_line(f"{versions()}\n{here.system}, {here.cores} cores\n\n{HEAD}")
        for result in measure(options.turns):
            results.append(result)
            if not options.json:
                write_line(result.row())
        if options.json:
            facts = [result.facts() for result in results]
            about = {"trio_bytesbuf": own_version(), **attrs.asdict(here), "turns": options.turns}
            write_line(json.dumps({**about, "tasks": facts}))
        else:
            write_line(f"\nMedians of {options.turns} turns, and of the ratios the least and most.")
            if here.is_busy:
                write_line(f"The machine has other work (load {here.load}): take the ratios.")
    except BenchFailed as exc:
        return _complain(f"bench failed: {exc}")
    except BrokenPipeError:
        pass
    return 0


def _complain(text: str, code: int = FAILED) -> int:
    sys.stderr.write(f"{program()}: {' '.join(text.split())}\n")
    return code


def screen_for(*, plain: bool, as_json: bool, interval: float | None) -> Screen:
    """Return the best screen for standard output.

    Args:
      plain: lines, whatever standard output is.
      as_json: lines of JSON, whatever it is.
      interval: seconds between two showings; as suits the screen if not given.
    """
    if as_json:
        return JsonScreen(LINES_EVERY if interval is None else interval)
    if not plain and sys.stdout is not None and sys.stdout.isatty():
        try:
            from ._live import LiveScreen, is_able  # rich is an extra
        except ModuleNotFoundError:
            pass
        else:
            screen = LiveScreen(FRAMES_EVERY if interval is None else interval)
            if is_able(screen.console):
                return screen
    return Screen(LINES_EVERY if interval is None else interval)


def shown_by(*, plain: bool) -> Callable[[Line], str]:
    """Return what makes text of lines: with colours if standard output is a terminal that has them.

    Args:
      plain: without, whatever standard output is.
    """
    shown = None
    if not plain and sys.stdout is not None and sys.stdout.isatty():
        with contextlib.suppress(ModuleNotFoundError):
            from ._live import colouring  # rich is an extra

            shown = colouring()
    return shown or plain_text
