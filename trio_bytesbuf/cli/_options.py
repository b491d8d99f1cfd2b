"""What can be typed, and what `--help` says of it.

Help is written for 80 columns. What is wrong with a command line is told in one line, as every
other complaint is, and not below a page of usage.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import math
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import trio

from ..wire._format import MAX_MESSAGE_NBYTES
from ._address import parse_address

if TYPE_CHECKING:
    from ._address import Address

SCRIPT: Final = "trio-bytesbuf"
MODULE: Final = "python -m trio_bytesbuf"
SHELLS: Final = ("bash", "zsh", "fish")
COMMANDS: Final = ("relay", "demo", "dump", "bench")

GIB: Final = 1_073_741_824

MOST_NBYTES: Final = 1 << 50
"""What the demo pumps at the most: more than a month of it, so more is a slip."""

SHOW_NBYTES: Final = 256
"""How much of a message the dump shows: 16 rows, as many as one looks at."""

TURNS: Final = 7
MOST_TURNS: Final = 1_000
"""How often the benchmark takes turns: so that it takes 5 s, and more than an hour is a slip."""

WRONG: Final = 2

HELP_COLUMN: Final = 26
"""Where what is said of options begins: behind the longest of them."""

ADDRESSES: Final = """\
addresses:
  HOST:PORT   example.org:80, 127.0.0.1:8000, [::1]:8000
  :PORT       every interface to listen on, this machine to connect to
  unix:PATH   a Unix socket
"""

CODES: Final = """\
exit codes:
  0  all is well            2    the command line is wrong
  1  it failed              130  it was interrupted by Ctrl-C
"""

RELAY_EPILOG: Final = f"""\
{ADDRESSES}
examples:
  {MODULE} relay 127.0.0.1:8000 example.org:80
  {MODULE} relay :0 unix:/run/app.sock --json | jq .event

exit codes:
  0  stopped by Ctrl-C or SIGTERM, whatever became of single connections
  1  LISTEN cannot be listened on
  2  the command line is wrong
"""

DEMO_EPILOG: Final = f"""\
examples:
  {MODULE} demo
  {MODULE} demo --gib 0.1 --json | tail -n 1

exit codes:
  0    what arrived is what was sent
  1    it is not, or a connection failed
  2    the command line is wrong
  130  Ctrl-C
"""

DUMP_EPILOG: Final = f"""\
What stands in front of what a capture has: < was received, > was sent.

examples:
  {MODULE} dump talk.capture --type shop.orders:Order
  {MODULE} dump 127.0.0.1:7000 | head -n 20
  {MODULE} dump - --json <stream | jq 'select(.complaint)'

exit codes:
  0  nothing is wrong with it
  1  something is, or it cannot be read
  2  the command line is wrong
"""

BENCH_EPILOG: Final = f"""\
Each task is done in turns by this library and by plain trio: a loop by hand,
over the same bytes from a process that sends over loopback TCP. What is
measured is the receiver's processor time. Take the ratios: they change less
from machine to machine, and from minute to minute, than the figures do. The
repository's own `python bench` has many more tasks and rivals.

examples:
  {MODULE} bench
  {MODULE} bench --turns 21 --json >here.json

exit codes:
  0    measured
  1    something failed
  2    the command line is wrong
  130  Ctrl-C
"""


class Parser(argparse.ArgumentParser):
    """As argparse has it, but for how help is laid out and mistakes are told."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options.setdefault("formatter_class", _formatter)
        super().__init__(*arguments, **options)

    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong, and end with 2."""
        line = " ".join(message.split())
        self.exit(WRONG, f"{self.prog}: {line} (--help has more)\n")


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=HELP_COLUMN)


def versions() -> str:
    """Return which versions of what are at work."""
    return (
        f"trio_bytesbuf {own_version()}, trio {trio.__version__}, "
        f"CPython {platform.python_version()}"
    )


def own_version() -> str:
    """Return the version of this library; it may be a folder that was not installed."""
    try:
        return importlib.metadata.version("trio_bytesbuf")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def program() -> str:
    """Return what the program was called as."""
    return SCRIPT if Path(sys.argv[0]).stem == SCRIPT else MODULE


def completion_for(shell: str) -> str:
    """Return a script that has a shell complete what is typed.

    Raises:
      ModuleNotFoundError: what makes it is an extra, and is not there.
    """
    import shtab  # needed only here

    return shtab.complete(parser_for(SCRIPT), shell=shell)


def parser_for(prog: str) -> Parser:
    """Return what takes the command line apart. Its options have a `command`, which may be None."""
    parser = Parser(
        prog,
        usage="%(prog)s [OPTION ...] COMMAND ...",
        description="Byte sequences for trio, at work.",
        epilog=f"{CODES}\n`COMMAND --help` says what these mean there, and has examples.",
    )
    parser.add_argument(
        "--version", dest="asks_version", action="store_true", help="say which versions these are"
    )
    parser.add_argument(
        "--print-completion",
        choices=SHELLS,
        metavar="SHELL",
        help=f"print a script that completes {SCRIPT} in bash, zsh or fish",
    )
    commands = parser.add_subparsers(dest="command", prog=prog, metavar="COMMAND", title="commands")
    _add_relay(commands)
    _add_demo(commands)
    _add_dump(commands)
    _add_bench(commands)
    return parser


def _add_relay(commands: argparse._SubParsersAction[Parser]) -> None:
    relay = commands.add_parser(
        "relay",
        usage="%(prog)s [OPTION ...] LISTEN TARGET",
        help="pass connections on to another address",
        description="Listen on one address and pass every connection on to another, both\n"
        "ways, until Ctrl-C or SIGTERM.",
        epilog=RELAY_EPILOG,
    )
    relay.add_argument(
        "listen", metavar="LISTEN", type=_address, help="where to listen; port 0: any that is free"
    )
    relay.add_argument("target", metavar="TARGET", type=_target, help="what to connect to")
    output = _add_output(relay, "an object for each event")
    output.add_argument(
        "--interval",
        metavar="SECONDS",
        type=_seconds,
        help="between two looks at the figures (1; 0.5 on a terminal)",
    )


def _add_demo(commands: argparse._SubParsersAction[Parser]) -> None:
    demo = commands.add_parser(
        "demo",
        usage="%(prog)s [OPTION ...]",
        help="send bytes through a relay and compare checksums",
        description="Start a source, a relay and a sink in one process, connected by TCP, and\n"
        "send random bytes through.",
        epilog=DEMO_EPILOG,
    )
    group = demo.add_argument_group("amount")
    amount = group.add_mutually_exclusive_group()
    amount.add_argument(
        "--gib", dest="nbytes", metavar="N", type=_gib, default=GIB, help="how much to send (1)"
    )
    amount.add_argument(
        "--bytes",
        dest="nbytes",
        metavar="N",
        type=_nbytes,
        default=argparse.SUPPRESS,
        help="the same in bytes",
    )
    _add_output(demo, "an object for each event, the last with the result")


def _add_dump(commands: argparse._SubParsersAction[Parser]) -> None:
    dump = commands.add_parser(
        "dump",
        usage="%(prog)s [OPTION ...] SOURCE",
        help="show a stream of typed messages, or a capture of one",
        description="Show a stream of typed messages (those of the Rust crate async-io-typed),\n"
        "or a capture of one, message by message.",
        epilog=DUMP_EPILOG,
    )
    source = dump.add_argument(
        "source",
        metavar="SOURCE",
        help="a file, HOST:PORT or unix:PATH to read from, or - for standard input",
    )
    source.complete = {"bash": "_shtab_compgen_files", "zsh": "_files"}  # type: ignore[attr-defined]
    messages = dump.add_argument_group("what the messages are")
    messages.add_argument(
        "--type", metavar="MODULE:TYPE", type=_type, help="not given: show their bytes"
    )
    messages.add_argument(
        "--received",
        metavar="MODULE:TYPE",
        type=_type,
        help="of what a capture has received; not given: --type",
    )
    messages.add_argument(
        "--sent",
        metavar="MODULE:TYPE",
        type=_type,
        help="of what it has sent; not given: --type",
    )
    messages.add_argument(
        "--version",
        metavar="N",
        type=int,
        choices=(1, 2),
        help="of the protocol, 1 or 2; not given: it is found out",
    )
    messages.add_argument(
        "--max-bytes",
        metavar="N",
        type=_nbytes,
        default=MAX_MESSAGE_NBYTES,
        help=f"how large one may be ({MAX_MESSAGE_NBYTES})",
    )
    output = _add_output(dump, "an object for each item")
    output.add_argument(
        "--show",
        metavar="N",
        type=_count,
        default=SHOW_NBYTES,
        help=f"how many bytes of a message, or characters of its value, to show ({SHOW_NBYTES})",
    )


def _add_bench(commands: argparse._SubParsersAction[Parser]) -> None:
    bench = commands.add_parser(
        "bench",
        usage="%(prog)s [OPTION ...]",
        help="measure on this machine, beside plain trio",
        description="Measure what receiving costs on this machine: in bulk, as lines, frames and\n"
        "typed messages, beside the same in plain trio.",
        epilog=BENCH_EPILOG,
    )
    bench.add_argument(
        "--turns", metavar="N", type=_turns, default=TURNS, help=f"how often ({TURNS})"
    )
    bench.add_argument("--json", action="store_true", help="one object with all samples")


def _add_output(command: Parser, json_help: str) -> argparse._ArgumentGroup:
    output = command.add_argument_group("output")
    how = output.add_mutually_exclusive_group()
    how.add_argument(
        "--plain", action="store_true", help="lines without colours, even on a terminal"
    )
    how.add_argument("--json", action="store_true", help=f"lines of JSON: {json_help}")
    return output


# What the options take


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


def _turns(text: str) -> int:
    turns = _count(text)
    if not 1 <= turns <= MOST_TURNS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {MOST_TURNS}")
    return turns


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
