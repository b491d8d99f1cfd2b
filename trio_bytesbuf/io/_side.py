"""`Side`: one half of a stream, which one task at a time may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from types import TracebackType


@attrs.define(eq=False)
class Side:
    """Let one task in; the second gets `trio.BusyResourceError` at once."""

    doing: str
    """What a task that is inside is doing, for the error's text."""

    taken: bool = attrs.field(init=False, default=False)
    """Whether a task is inside. Receiving sets it false without `with`, which costs 1 µs more."""

    def enter(self) -> None:
        """Go in, or raise `trio.BusyResourceError`."""
        if self.taken:
            raise trio.BusyResourceError(f"another task is already {self.doing}")
        self.taken = True

    __enter__ = enter

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.taken = False
