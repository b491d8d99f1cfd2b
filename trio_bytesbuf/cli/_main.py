"""Options, and the exit codes: 0 well, 1 it failed, 2 the command line is wrong, 130 Ctrl-C.

A relay that is stopped by Ctrl-C or SIGTERM ends well, and so does a dump.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import math
import sys
from typing import TYPE_CHECKING, Final

import trio

from ..wire._codec_of import codec_of
from ..wire._format import MAX_MESSAGE_NBYTES, ProtocolVersion
from ._address import FORMS, parse_address
from ._demo import DemoFailed, run_demo
from ._dump import Dump, DumpFailed, Output, run_dump
from ._relay import run_relay
from ._screen import Screen
from ._screen import plain as plain_text
from ._words import text_of_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._address import Address
    from ._screen import Line

PROGRAM: Final = "python -m trio_bytesbuf"
GIB: Final = 1_073_741_824

MOST_NBYTES: Final = 1 << 50
"""What the demo pumps at the most: more than a month of it, so more is a slip."""

SHOW_NBYTES: Final = 256
"""How much of a message the dump shows: 16 rows, as many as one looks at."""

LINES_EVERY: Final = 1.0
"""Seconds between two lines of figures."""

FRAMES_EVERY: Final = 0.5
"""Seconds between two looks of a panel: quick enough to look alive, slow enough to be read."""

FAILED: Final = 1
WRONG: Final = 2
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
        code = {"relay": _relay, "demo": _demo, "dump": _dump}[options.command](options)
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


def _dump(options: argparse.Namespace) -> int:
    codec = None
    if options.type is not None:
        try:
            codec = codec_of(options.type, max_nbytes=options.max_bytes)
        except Exception as exc:  # noqa: BLE001  # whatever the type of somebody's own is about
            return _complain(f"no messages are of this type: {str(exc) or repr(exc)}", WRONG)
    output = Output(shown_by(plain=options.plain))
    version = None if options.version is None else ProtocolVersion(options.version)
    dump = Dump(codec, version, options.max_bytes, options.show, output)
    try:
        return 0 if trio.run(run_dump, dump, options.source) else FAILED
    except* DumpFailed as failures:
        failed = failures
    return _complain(text_of_error(failed))


def _complain(text: str, code: int = FAILED) -> int:
    sys.stderr.write(f"{PROGRAM}: {text}\n")
    return code


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

    dump = commands.add_parser(
        "dump",
        help="show what is in a stream of typed messages, or in a capture of one",
        description="Show a stream of typed messages (those of the Rust crate async-io-typed), or "
        "a capture of one, message by message. The exit code is 0 if nothing is wrong with it.",
        epilog=f"Addresses are {FORMS}; nothing is sent there. Of a capture, < is what was "
        "received, and > what was sent.",
    )
    dump.add_argument("source", metavar="FILE|HOST:PORT|-",
                      help="a file, an address to read from, or standard input")  # fmt: skip
    dump.add_argument("--type", metavar="MODULE:TYPE", type=_type,
                      help="what the messages are; not given: show their bytes")  # fmt: skip
    dump.add_argument("--version", metavar="N", type=int, choices=tuple(ProtocolVersion),
                      help="of the protocol, 1 or 2; not given: it is found out")  # fmt: skip
    dump.add_argument("--show", metavar="N", type=_count, default=SHOW_NBYTES,
                      help="how many bytes of a message, or characters of its value, to show "
                      f"({SHOW_NBYTES})")  # fmt: skip
    dump.add_argument("--max-bytes", metavar="N", type=_nbytes, default=MAX_MESSAGE_NBYTES,
                      help=f"how large a message may be ({MAX_MESSAGE_NBYTES})")  # fmt: skip

    for command in (relay, demo, dump):
        command.add_argument("--plain", action="store_true",
                             help="lines without colours, even on a terminal")  # fmt: skip
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


def _type(text: str) -> object:
    module, colon, path = text.partition(":")
    if not (module and colon and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form MODULE:TYPE")
    try:
        found: object = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except Exception as exc:  # a module of somebody's own does what it likes
        raise argparse.ArgumentTypeError(
            f"{text!r} cannot be had: {str(exc) or repr(exc)}"
        ) from exc
    return found


def _seconds(text: str) -> float:
    return _positive(text, "a number of seconds")


def _gib(text: str) -> int:
    return _at_most(max(1.0, _positive(text, "a number of GiB") * GIB), text)


def _nbytes(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes from 1 upwards")
    return _at_most(int(text), text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 upwards")
    return int(text)


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
