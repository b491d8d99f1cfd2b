"""`MemoryGuard`: keeps memory from being used again, without showing it."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Self

import attrs


@attrs.define(eq=False, repr=False, init=False)
class MemoryGuard:
    """Keep blocks of memory alive and out of the pool, for as long as the guard is.

    Made by `extend_lifetime()` of views, builders and vectored writes, for whoever hands an
    address to something that Python cannot see: a C library, a device, another process.

    Example:
      >>> guard = BytesView(b"shown to a device").extend_lifetime()
      >>> guard.release()
    """

    _held: tuple[object, ...]

    def __init__(self, held: Iterable[object] = ()) -> None:
        self._held = tuple(held)

    def release(self) -> None:
        """Let the memory go. Releasing twice is harmless."""
        self._held = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<MemoryGuard of {len(self._held)} pieces>"
