"""Options, and the exit codes: 0 well, 1 it failed, 2 the command line is wrong, 130 Ctrl-C.

A relay that is stopped by Ctrl-C or SIGTERM ends well.
"""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING, Final

import trio

from ._address import FORMS, parse_address
from ._demo import DemoFailed, run_demo
from ._relay import run_relay
from ._screen import Screen
from ._words import text_of_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._address import Address

PROGRAM: Final = "python -m trio_bytesbuf"
GIB: Final = 1_073_741_824

MOST_NBYTES: Final = 1 << 50
"""What the demo pumps at the most: more than a month of it, so more is a slip."""

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
    options = _parser().parse_args(arguments)
    code = INTERRUPTED
    try:
        code = _relay(options) if options.command == "relay" else _demo(options)
    except* KeyboardInterrupt:  # alone, or in the group of a nursery
        pass
    return code


def _relay(options: argparse.Namespace) -> int:
    screen = screen_for(plain=options.plain, interval=options.interval)
    code = 0
    try:
        trio.run(run_relay, options.listen, options.target, screen)
    except* OSError as failures:
        code = _complain(f"cannot listen on {options.listen}: {text_of_error(failures)}")
    return code


def _demo(options: argparse.Namespace) -> int:
    screen = screen_for(plain=options.plain, interval=None)
    try:
        trio.run(run_demo, options.nbytes, screen)
    except DemoFailed as exc:
        return _complain(f"demo failed: {exc}")
    return 0


def _complain(text: str) -> int:
    sys.stderr.write(f"{PROGRAM}: {text}\n")
    return FAILED


def screen_for(*, plain: bool, interval: float | None) -> Screen:
    """Return the best screen for standard output.

    Args:
      plain: lines, whatever standard output is.
      interval: seconds between two showings; as suits the screen if not given.
    """
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(PROGRAM, description="Byte sequences for trio, at work.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    relay = commands.add_parser(
        "relay",
        help="pass connections on to another address",
        description="Listen on one address and pass every connection on to another, both ways, "
        "until Ctrl-C or SIGTERM.",
        epilog=f"Addresses are {FORMS}. Port 0 to listen on: any that is free.",
    )
    relay.add_argument("listen", metavar="LISTEN", type=_address, help="where to listen")
    relay.add_argument("target", metavar="TARGET", type=_target, help="what to connect to")
    relay.add_argument(
        "--interval",
        metavar="SECONDS",
        type=_seconds,
        help=f"between two looks at the figures ({LINES_EVERY:g}; {FRAMES_EVERY:g} on a terminal)",
    )

    demo = commands.add_parser(
        "demo",
        help="send bytes through a relay on this machine and compare checksums",
        description="Start a source, a relay and a sink in one process, connected by TCP, and send "
        "random bytes through. The exit code is 0 only if what arrived is what was sent.",
    )
    amount = demo.add_mutually_exclusive_group()
    amount.add_argument("--gib", dest="nbytes", metavar="N", type=_gib, default=GIB,
                        help="how much to send (1)")  # fmt: skip
    amount.add_argument("--bytes", dest="nbytes", metavar="N", type=_nbytes,
                        default=argparse.SUPPRESS, help="the same in bytes")  # fmt: skip

    for command in (relay, demo):
        command.add_argument("--plain", action="store_true", help="lines, even on a terminal")
    return parser


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None


def _target(text: str) -> Address:
    address = _address(text)
    try:
        address.check_target()
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None
    return address


def _seconds(text: str) -> float:
    return _positive(text, "a number of seconds")


def _gib(text: str) -> int:
    return _at_most(max(1.0, _positive(text, "a number of GiB") * GIB), text)


def _nbytes(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes from 1 upwards")
    return _at_most(int(text), text)


def _at_most(nbytes: float, text: str) -> int:
    if nbytes > MOST_NBYTES:
        raise argparse.ArgumentTypeError(f"{text!r} is more than {MOST_NBYTES // GIB} GiB")
    return round(nbytes)


def _positive(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what} above 0")
    return number
