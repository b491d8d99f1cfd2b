"""What a terminal shows in colour: a panel that is drawn anew, and lines. Only this needs rich.

The panel goes when the screen is left; the lines written meanwhile stay above it. All is drawn in
trio's thread, so a person who stops the terminal (Ctrl-S) stops the program; `--plain` goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import attrs
from rich import box
from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel as Frame
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ._screen import Ink, Screen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from ._screen import Event, Line, Panel, Row

BARS: Final = " ▁▂▃▄▅▆▇█"
WIDTH: Final = 80
"""As wide as the terminal that everybody has; wider would only move the numbers apart."""

GRAPH_WIDTH: Final = 20


@attrs.define(eq=False)
class LiveScreen(Screen):
    """A terminal with rich."""

    shows_at_once: ClassVar[bool] = True

    console: Console = attrs.field(init=False, factory=lambda: Console(highlight=False))
    _live: Live = attrs.field(init=False)

    def __enter__(self) -> Self:
        # No thread draws: `show` does, in trio's thread.
        self._live = Live(console=self.console, auto_refresh=False, transient=True)
        self._live.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.clear()

    def line(self, event: Event) -> None:
        """Write one line above the panel. It is text: nothing in it is markup, and it stays one."""
        self.console.print(Text(event.text), soft_wrap=True)

    def show(self, panel: Panel) -> None:
        """Draw `panel` in place of the one before it."""
        self._live.update(framed(panel), refresh=True)

    def clear(self) -> None:
        """Take the panel away; a second time is harmless."""
        self._live.stop()


def is_able(console: Console) -> bool:
    """Say whether `console` can show panels: a terminal with a cursor to move, and the bars."""
    utf = console.encoding.startswith("utf")
    return console.is_terminal and not console.is_dumb_terminal and utf


COLOURS: Final = {
    Ink.PLAIN: "",
    Ink.OFFSET: "yellow",
    Ink.BYTES: "cyan",
    Ink.QUIET: "bright_black",
    Ink.GOOD: "green",
    Ink.BAD: "bold red",
    Ink.RECEIVED: "bold magenta",
    Ink.SENT: "bold blue",
}


def colouring() -> Callable[[Line], str] | None:
    """Return what makes coloured text of a line; None if the terminal cannot show colours."""
    console = Console(highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        return None

    def shown(line: Line) -> str:
        with console.capture() as captured:
            words = ((text, COLOURS[ink]) for text, ink in line)
            console.print(Text.assemble(*words), soft_wrap=True)
        return captured.get()

    return shown


def framed(panel: Panel) -> RenderableType:
    """Return what rich draws for `panel`."""
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for row in panel.rows:
        table.add_row(Text(row.label), Text(row.amount), _rest_of(row))
    title = Text(panel.title, style="bold")
    title.truncate(WIDTH - 6, overflow="ellipsis")  # or the frame would grow
    return Frame(
        table,
        title=title,
        title_align="left",
        subtitle=Text(panel.age, style="dim"),
        subtitle_align="right",
        box=box.ROUNDED,
        border_style="dim",
        width=WIDTH,
    )


def _rest_of(row: Row) -> RenderableType:
    """Return the detail, and to the right of it the graph if there is one."""
    graph: RenderableType
    if row.done is not None:
        graph = ProgressBar(
            total=1.0, completed=row.done, width=GRAPH_WIDTH, complete_style="green"
        )
    elif row.history is not None:
        graph = Text(curve(row.history, GRAPH_WIDTH), style="green")
    else:
        return Text(row.detail)
    both = Table.grid(expand=True)
    both.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    both.add_column(width=GRAPH_WIDTH, no_wrap=True)
    both.add_row(Text(row.detail), graph)
    return both


def curve(history: Sequence[float], width: int) -> str:
    """Return `history` as a curve of `width` characters, the newest to the right, to scale."""
    newest = history[-width:]
    peak = max(newest, default=0.0)
    steps = len(BARS) - 1
    # Something is never drawn as nothing.
    heights = [max(1, round(steps * value / peak)) if value else 0 for value in newest]
    return "".join(BARS[height] for height in heights).rjust(width)
