"""Draw what the command line shows in a terminal: docs/images/relay.svg, demo.svg, dump.svg.

    python tools/terminal_pictures.py [--png] [NAME ...]

Each command runs on a pseudo-terminal of 80 columns, against real peers on this machine; what it
writes goes into a terminal's emulator (`pyte`), whose screen rich draws as SVG. So a picture shows
what a person would see, cursor movements and all. --png draws PNGs beside them as well, by Chromium
without a window, for those who want to look at them without a browser.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import io
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import attrs
import pyte
import trio
from rich.console import Console
from rich.style import Style
from rich.text import Text

from trio_bytesbuf import BytesView, SocketStream, TypedChannel, capture
from trio_bytesbuf.wire import u64

IMAGES = Path(__file__).parent.parent / "docs" / "images"
COLUMNS, LINES = 80, 40
PATIENCE = 30.0


# A terminal


@attrs.define(eq=False)
class Terminal:
    """A program on a terminal, and what the terminal shows."""

    process: subprocess.Popen[bytes]
    fd: int
    screen: pyte.Screen = attrs.field(factory=lambda: pyte.Screen(COLUMNS, LINES))
    _stream: pyte.ByteStream = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._stream = pyte.ByteStream(self.screen)

    def show_for(self, seconds: float) -> None:
        """Let it go on for some time."""
        self._read_until(time.monotonic() + seconds, lambda: False)

    def show_until(self, words: str) -> None:
        """Let it go on until it shows these words, which it must."""

        def is_there() -> bool:
            return any(words in line for line in self.screen.display)

        self._read_until(time.monotonic() + PATIENCE, is_there)
        if not is_there():
            raise SystemExit(f"{words!r} was never shown, but\n" + "\n".join(self.screen.display))

    def show_all(self) -> None:
        """Let it go on until it ends."""
        self._read_until(time.monotonic() + PATIENCE, lambda: False)

    def _read_until(self, deadline: float, is_enough: Callable[[], bool]) -> None:
        while not is_enough() and (left := deadline - time.monotonic()) > 0:
            if not select.select([self.fd], [], [], left)[0]:
                return
            try:
                data = os.read(self.fd, 65_536)
            except OSError:  # the program has ended
                return
            if not data:
                return
            self._stream.feed(data)

    def text(self) -> Text:
        """Return what is on the screen, with its colours."""
        lines = []
        for at in range(self.screen.lines):
            row = self.screen.buffer[at]
            line = Text()
            for column in range(COLUMNS):
                char = row[column]
                line.append(char.data, style_of(char))
            line.rstrip()
            lines.append(line)
        while lines and not lines[-1].plain:
            lines.pop()
        return Text("\n").join(lines)


COLOURS = {"brown": "yellow", "default": None}
"""pyte's names of colours that are not rich's."""


def style_of(char: pyte.screens.Char) -> Style:
    """Return how rich calls the looks of a character."""
    colour = COLOURS.get(char.fg, char.fg)
    if colour is not None and colour.startswith("bright"):
        colour = "bright_" + COLOURS.get(colour[6:], colour[6:])  # type: ignore[operator]
    elif colour is not None and len(colour) == 6 and colour.isalnum() and not colour.isalpha():
        colour = f"#{colour}"
    return Style(color=colour, bold=char.bold, italic=char.italics, reverse=char.reverse)


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[Terminal]:
    """Run the command line on a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONUTF8": "1"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "trio_bytesbuf", *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
    )  # fmt: skip
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def draw(text: Text, command: str, name: str) -> Path:
    """Write the picture of a terminal in which a command was typed."""
    console = Console(width=COLUMNS, record=True, file=io.StringIO(), legacy_windows=False)
    console.print(Text.assemble(("$ ", "green"), (command, "bold")))
    console.print(text)
    path = IMAGES / f"{name}.svg"
    svg = console.export_svg(title="trio_bytesbuf", unique_id=f"terminal-{name}", clear=True)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # which come from elsewhere
    path.write_text(svg, encoding="utf-8")
    return path


# The pictures


LISTEN, TARGET = 8081, 8082
"""Two ports that must be free. They are in the picture, so they are no random ones."""


def relay() -> Path:
    """Draw a relay under load, with connections that come and go and one that failed."""
    words = ("relay", f"[::1]:{LISTEN}", f"[::1]:{TARGET}")
    with running(*words, "--interval", "0.25") as terminal:
        terminal.show_until("connections")
        with load():
            terminal.show_for(5.5)
        text = terminal.text()
    return draw(text, f"trio-bytesbuf {' '.join(words)}", "relay")


@contextlib.contextmanager
def load() -> Iterator[None]:
    """Run clients, and the server that they want, in a process of its own."""
    process = subprocess.Popen([sys.executable, __file__, "load"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def serve_and_ask() -> None:
    """Let some clients ask for bytes through the relay, in waves."""

    async def answer(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            async for _ in stream:
                await stream.send_all(bytes(8 << 20))

    async def ask(number: int) -> None:
        async with await trio.open_tcp_stream("::1", LISTEN) as stream:
            for turn in range(100):
                await stream.send_all(bytes(200_000))
                got = 0
                while got < 8 << 20:
                    got += len(await stream.receive_some())
                await trio.sleep(0.15 * (1 + (number + turn) % 5))

    async with trio.open_nursery() as nursery:
        with contextlib.suppress(trio.BrokenResourceError, OSError):
            async with await trio.open_tcp_stream("::1", LISTEN) as early:
                await early.receive_some()  # nobody listens at the target yet
        await nursery.start(partial(trio.serve_tcp, answer, TARGET, host="::1"))
        for number in range(7):
            nursery.start_soon(ask, number)


def demo() -> Path:
    """Draw the demonstration in the middle, and its end."""
    with running("demo", "--gib", "4") as terminal:
        terminal.show_until("received")
        terminal.show_for(2.2)
        text = terminal.text()
        terminal.process.kill()
    return draw(text, "trio-bytesbuf demo --gib 4", "demo")


@attrs.frozen
class Order:
    """What is sent in the picture of a dump."""

    id: u64
    item: str
    tags: list[str]


@attrs.frozen
class Accepted:
    """What is answered."""

    id: u64


def dump() -> Path:
    """Draw a captured conversation with one mistake in it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shop.capture"
        path.write_bytes(trio.run(conversation))
        os.environ["PYTHONPATH"] = os.pathsep.join(
            [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        )
        types = "--received terminal_pictures:Order --sent terminal_pictures:Accepted"
        with running("dump", str(path), *types.split()) as terminal:
            terminal.show_until("> sent")
            text = terminal.text()
    command = "trio-bytesbuf dump shop.capture --received shop:Order --sent shop:Accepted"
    return draw(text, command, "dump")


async def conversation() -> bytes:
    """Return a capture of a shop that takes two orders, and of a client that breaks the third."""
    ours, theirs = map(SocketStream, trio.socket.socketpair())
    seen = capture(theirs)
    client = TypedChannel(ours, sends=Order, receives=Accepted)
    shop = TypedChannel(seen, sends=Accepted, receives=Order)
    await client.send_many([Order(1, "tea", []), Order(2, "sugar", ["cubes", "brown"])])
    for _ in range(2):
        order = await shop.receive()
        await shop.send(Accepted(order.id))
    await ours.write_view(BytesView(b"\x05\x03\xff\xfe\xfd\xfc" + bytes(8)))
    with contextlib.suppress(Exception):
        await shop.receive()
    return seen.capture.to_bytes()


PICTURES: dict[str, Callable[[], Path]] = {"relay": relay, "demo": demo, "dump": dump}


def to_png(path: Path) -> None:
    """Draw a PNG beside an SVG."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise SystemExit("--png needs Chromium")
    page = f"<body style='margin:0'><img src='{path.resolve().as_uri()}' width=1000></body>"
    with tempfile.TemporaryDirectory() as folder:
        html = Path(folder) / "page.html"
        html.write_text(page, encoding="utf-8")
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--allow-file-access-from-files", "--window-size=1000,900",
             f"--screenshot={path.with_suffix('.png').resolve()}", html.as_uri()],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip


def main() -> None:
    """Draw what the command line names, all if it names nothing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--png", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PICTURES))
    given = parser.parse_args()
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name in given.names or PICTURES:
        path = PICTURES[name]()
        if given.png:
            to_png(path)
        print(path)


if __name__ == "__main__":
    if sys.argv[1:2] == ["load"]:
        trio.run(serve_and_ask)
    else:
        main()
