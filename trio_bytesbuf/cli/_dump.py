"""`dump SOURCE`: what is in a stream of typed messages, or in a capture of one, item by item.

Law 1. Whatever the bytes are, they are shown up to where they make no sense, and what is wrong
       there is said. Then, as after a checksum or a value that is wrong, the exit code is 1.
Law 2. Memory is what one message and one receive need, and 64 KiB of lines, however long the
       input is. A capture is loaded as a whole; how large it may be is limited.
Law 3. Whoever reads the output sets the pace. When nobody reads it any more it is over, and all is
       well, but for what was wrong before.
"""

from __future__ import annotations

import errno
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from .._errors import LimitExceeded
from ..io import BadCapture, Capture, Direction, ReadInThread, open_binary_file
from ..io._capture_file import MAX_FILE_NBYTES, PREAMBLE
from ..seq import BytesView
from ._address import FORMS, UnixAddress, parse_address
from ._picture import printable
from ._relay import STOP_SIGNALS, cancel_at_each
from ._screen import FLUSH_SECONDS, write_text
from ._walk import Walker
from ._words import text_of_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ..io import Read
    from ..wire import Codec, ProtocolVersion
    from ._account import Account
    from ._screen import Line

RECEIVE_NBYTES: Final = 65_536
WRITE_NBYTES: Final = 65_536
"""How much is read at once, and how much is written: 60 µs of a thread for each."""

MAGIC: Final = PREAMBLE[:-1]
"""What a capture of any version begins with."""


class DumpFailed(Exception):
    """There is nothing to be shown; the text says why."""


class OutputGone(Exception):
    """Nobody reads the output any more."""


@attrs.define(eq=False)
class Output:
    """Standard output, written in large parts, by threads that can be left alone."""

    shown: Callable[[Line], str]
    """Makes text of a line, with colours or without."""

    _texts: list[str] = attrs.field(init=False, factory=list)
    _nchars: int = attrs.field(init=False, default=0)

    async def add(self, lines: Iterable[Line]) -> None:
        """Add lines; what there is much of is written."""
        for line in lines:
            text = self.shown(line)
            self._texts.append(text)
            self._nchars += len(text)
            if self._nchars >= WRITE_NBYTES:
                await self.flush()

    async def flush(self) -> None:
        """Write what was added.

        Raises:
          OutputGone: nobody reads it.
          DumpFailed: it cannot be written, for another reason.

        Cancellation: some of it may be written.
        """
        text, self._texts, self._nchars = "".join(self._texts), [], 0
        try:
            await trio.to_thread.run_sync(write_text, text, abandon_on_cancel=True)
        except OSError as exc:
            if exc.errno == errno.EPIPE:
                raise OutputGone from None
            raise DumpFailed(f"cannot write: {text_of_error(exc)}") from None


@attrs.define(eq=False)
class Dump:
    """What is shown, and how."""

    codecs: Mapping[Direction, Codec[object] | None]
    """What the messages are; those of a stream are received."""

    version: ProtocolVersion | None
    """Which version of the protocol is spoken; None to find it out."""

    max_nbytes: int
    shown_nbytes: int
    account: type[Account]
    """What makes lines of a stream: for people, or for programs."""

    output: Output
    problems: int = attrs.field(init=False, default=0)
    """What was wrong beside what is wrong in a stream."""

    _accounts: dict[Direction | None, Account] = attrs.field(init=False, factory=dict)
    """Those of the streams that there are: one, or of a capture one for each direction."""

    async def show(self, name: str) -> None:
        """Show all that `name` has, to its end.

        Raises:
          DumpFailed: it cannot be opened, or is a capture that is none.
          OutputGone: nobody reads the output any more.

        Cancellation: the totals can still be shown.
        """
        source = await _open(name)
        try:
            front = await self._front(source)
            if front.startswith(MAGIC):
                await self._show_capture(await _whole(source, front))
            else:
                await self._show_stream(source, front)
        except (OSError, trio.BrokenResourceError) as exc:
            await self._tell_trouble(f"wrong: cannot read: {text_of_error(exc)}")
        finally:
            await trio.aclose_forcefully(source)

    async def show_totals(self) -> None:
        """Show how much there was, and say what is to be said at the end."""
        await self.output.add(self._last_lines())
        await self.output.flush()

    @property
    def is_well(self) -> bool:
        """Whether nothing was wrong."""
        return not self.problems and not any(one.problems for one in self._accounts.values())

    def _last_lines(self) -> Iterator[Line]:
        for direction, account in self._accounts.items():
            yield from account.total_lines(direction)
        if any(one.left_unchecked for one in self._accounts.values()):
            yield from self.account.unchecked_lines()

    async def _tell_trouble(self, text: str) -> None:
        self.problems += 1
        await self.output.add([self.account.trouble_line(text)])

    def _account_of(self, direction: Direction | None) -> Account:
        walker = Walker(self.version, self.max_nbytes)
        codec = self.codecs[direction or Direction.RECEIVED]
        self._accounts[direction] = account = self.account(walker, codec, self.shown_nbytes)
        return account

    # A stream

    async def _front(self, source: Read) -> BytesView:
        """Receive until it is known whether this is a capture."""
        front = BytesView()
        while len(front) < len(MAGIC) and MAGIC.startswith(front.to_bytes()):
            view = await source.receive_view(RECEIVE_NBYTES)
            if not view:
                break
            front += view
        return front

    async def _show_stream(self, source: Read, view: BytesView) -> None:
        account = self._account_of(None)
        walker = account.walker
        while True:
            if view:
                walker.feed(view)
            else:
                walker.feed_eof()
            view = BytesView()  # its block is free for the next receive
            await self.output.add(account.lines())
            await self.output.flush()
            if walker.is_over:
                break
            view = await source.receive_view(RECEIVE_NBYTES)
        await self.output.add(account.last_lines())

    # A capture

    async def _show_capture(self, capture: Capture) -> None:
        accounts = {
            direction: self._account_of(direction)
            for direction in (Direction.RECEIVED, Direction.SENT)
        }
        for event in capture.events:
            account = accounts[event.direction]
            moment = event.seconds, event.direction
            if event.view:
                account.walker.feed(event.view)
            elif event.error:
                self.problems += 1
                await self.output.add([account.error_line(moment, event.error)])
                continue
            else:
                account.walker.feed_eof()
            await self.output.add(account.lines(moment))
        for account in accounts.values():
            await self.output.add(account.last_lines())
        if capture.incomplete:
            await self._tell_trouble(f"this is not all: {capture.incomplete}")


async def _whole(source: Read, front: BytesView) -> Capture:
    try:
        rest = await source.read_to_end(MAX_FILE_NBYTES - len(front))
        return Capture.from_bytes(front + rest)
    except LimitExceeded:
        raise DumpFailed(f"a capture of more than {MAX_FILE_NBYTES} bytes") from None
    except BadCapture as exc:
        raise DumpFailed(str(exc)) from None


async def _open(name: str) -> Read:
    """Return what can be read where `name` says.

    Raises:
      DumpFailed: nothing can.
    """
    try:
        if name == "-":
            return _standard_input()
        path = trio.Path(name)
        if await path.is_socket():
            return await UnixAddress(name).connect()
        if await path.is_file():
            return await open_binary_file(name)
        if await path.exists():
            # A device; or a FIFO, which opens when somebody writes to it.
            file = await trio.to_thread.run_sync(_opened, name, abandon_on_cancel=True)
            return ReadInThread(file)
        return await _connect(name)
    except OSError as exc:
        raise DumpFailed(f"cannot open {printable(name)}: {text_of_error(exc)}") from None


def _opened(name: str) -> io.FileIO:
    return Path(name).open("rb", buffering=0)


def _standard_input() -> Read:
    if sys.stdin is None:
        raise DumpFailed("there is no standard input")
    buffer: Any = sys.stdin.buffer  # a BufferedReader, which is what has a `raw`
    return ReadInThread(buffer.raw)


async def _connect(name: str) -> Read:
    try:
        address = parse_address(name)
        address.check_target()
    except ValueError:
        raise DumpFailed(f"{name!r} is no file that is there, and no address ({FORMS})") from None
    return await address.connect()


async def run_dump(dump: Dump, name: str) -> bool:
    """Show what `name` has, until its end, SIGINT or SIGTERM; then the totals. Say if all is well.

    Raises:
      DumpFailed: there is nothing to be shown, or nowhere to.

    Cancellation: it stops.
    """
    try:
        with trio.open_signal_receiver(*STOP_SIGNALS) as signals:
            async with trio.open_nursery() as watch:
                shown = trio.CancelScope()
                watch.start_soon(cancel_at_each, signals, shown)
                with shown:
                    await dump.show(name)
                with trio.move_on_after(FLUSH_SECONDS):
                    await dump.show_totals()
                watch.cancel_scope.cancel()
    except* OutputGone:  # Law 3
        pass
    return dump.is_well
