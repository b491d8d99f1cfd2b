"""Sources and sinks without a peer: `FakeRead`, `FakeWrite`, `Null` and `Pending`.

Law 1. A scripted endpoint does its steps in order, each when it is its turn: it waits, or raises,
       or lets so many bytes pass. When the script is over, everything passes.
Law 2. Nothing is awaited between the decision that bytes pass and their passing. So a receive that
       is cancelled took nothing, and a write that is cancelled took whole steps.
Law 3. A delay begins when a task first comes to it, and ends so much later, whoever waits by then:
       a cancelled wait does not begin anew, as a slow network does not either.
Law 4. Closing ends every wait at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import attrs
import trio
from trio.lowlevel import checkpoint

from ..io import Read, Write
from ..io._endpoint import Endpoint
from ..seq import BytesBuf, BytesReader, BytesView, Memory
from ..seq._flat import positive_count_of
from ..seq._memory import memory_or_default
from ._memories import TransparentMemory

if TYPE_CHECKING:
    from typing import SupportsIndex

    from ..seq._flat import Buffer


def _check_seconds(_delay: Delay, _field: object, seconds: float) -> None:
    if not seconds >= 0:  # so that nan is refused, too
        raise ValueError(f"a delay takes at least 0 seconds, not {seconds}")


@attrs.frozen
class Delay:
    """A step of a script: nothing passes for a while.

    Raises:
      ValueError: `seconds` is below 0, or nan.
    """

    seconds: float = attrs.field(validator=_check_seconds)
    """How long, by trio's clock. ``math.inf``: until it is closed."""


Step: TypeAlias = "SupportsIndex | Delay | BaseException"
"""A step of a script: so many bytes pass, at least 1; or a delay; or an error, raised once."""


class _Script:
    """What is still to be done, and how many bytes pass at a time. (Laws 1 to 4)"""

    def __init__(self, steps: Iterable[Step], max_nbytes: int | None) -> None:
        self._steps: deque[int | Delay | BaseException] = deque(
            step if isinstance(step, Delay | BaseException) else positive_count_of(step, "a step")
            for step in steps
        )
        self._max_nbytes = max_nbytes
        self._delay_end: float | None = None

    async def wait(self, closed: trio.Event) -> None:
        """Sit through the delays that come next; a checkpoint in any case."""
        await checkpoint()
        while self._steps and isinstance(step := self._steps[0], Delay):
            if self._delay_end is None:
                self._delay_end = trio.current_time() + step.seconds
            with trio.move_on_at(self._delay_end):
                await closed.wait()
                return
            self._delay_end = None
            self._steps.popleft()

    def pass_on(self, wanted: int) -> int:
        """Return how many of `wanted` bytes pass now, and count them off; or raise."""
        step = self._steps[0] if self._steps else None
        if isinstance(step, BaseException):
            self._steps.popleft()
            raise step
        nbytes = wanted if self._max_nbytes is None else min(wanted, self._max_nbytes)
        if isinstance(step, int):
            nbytes = min(nbytes, step)
            if nbytes == step:
                self._steps.popleft()
            else:
                self._steps[0] = step - nbytes
        return nbytes


def _limit(nbytes: SupportsIndex | None, name: str) -> int | None:
    return None if nbytes is None else positive_count_of(nbytes, name)


class _Fake(Endpoint):
    """Memory of its own, and an event for its end."""

    def __init__(self, memory: Memory | None) -> None:
        self._memory = TransparentMemory() if memory is None else memory_or_default(memory)
        self._closed = trio.Event()

    @property
    def memory(self) -> Memory:
        """The memory that it was made with: one new block for each request, if none was given."""
        return self._memory

    async def _aclose(self) -> None:
        self._closed.set()
        await checkpoint()

    async def _pass(self) -> None:
        """Checkpoint; closed meanwhile is closed."""
        await checkpoint()
        self._refuse_if_closed()

    async def _wait_for_ever(self) -> NoReturn:
        await self._closed.wait()
        raise trio.ClosedResourceError(f"this {type(self).__name__} was closed")


class FakeRead(_Fake, Read):
    """A source whose bytes are there already, in steps and with errors as a test wants them.

    Args:
      contents: what is received, not copied: give it hostile pieces as ``BytesView``.
      max_read_nbytes: the most bytes of one receive, at least 1; all if not given.
      memory: what `memory` shows; a `TransparentMemory` if not given.
      script: steps, done in order as receives come to them: an integer, at least 1, has a receive
        return no more than so many bytes (for fewer, the rest of the step is for the next); a
        `Delay` has one wait; an error is raised, once. After the last step the
        contents go on. Steps behind the last byte come before the end.

    Raises:
      TypeError, ValueError: a number is no integer or below 1; `memory` is not a `Memory`;
        `contents` are no bytes.

    Example:
      >>> async def main():
      ...     source = FakeRead(b"abcdefgh", script=[3, trio.BrokenResourceError(), Delay(0.001)])
      ...     print(await source.receive_view())
      ...     try:
      ...         await source.receive_view()
      ...     except trio.BrokenResourceError:
      ...         print("broken")
      ...     print(await source.receive_view())
      >>> trio.run(main)
      BytesView(b'abc')
      broken
      BytesView(b'defgh')

    Idea: `testing::FakeRead` of bytesbuf_io; `tokio_test::io::Builder` for the script.
    """

    def __init__(
        self,
        contents: Buffer | BytesView,
        *,
        max_read_nbytes: SupportsIndex | None = None,
        memory: Memory | None = None,
        script: Iterable[Step] = (),
    ) -> None:
        super().__init__(memory)
        self._contents = BytesReader(
            contents if isinstance(contents, BytesView) else BytesView(contents)
        )
        self._script = _Script(script, _limit(max_read_nbytes, "max_read_nbytes"))

    async def _receive_view(self, max_bytes: int | None) -> BytesView:
        await self._script.wait(self._closed)
        self._refuse_if_closed()
        wanted = self._contents.remaining()
        if max_bytes is not None:
            wanted = min(wanted, max_bytes)
        return self._contents.take(self._script.pass_on(wanted))

    def __repr__(self) -> str:
        return f"<FakeRead with {self._contents.remaining()} bytes left>"


class FakeWrite(_Fake, Write):
    """A sink that keeps what it is sent, in steps and with errors as a test wants them.

    Args:
      memory: what `memory` shows; a `TransparentMemory` if not given.
      max_write_nbytes: the most bytes taken at a time, at least 1, with a checkpoint before each
        time, so that a cancelled write has got half way; all at once if not given.
      script: steps, done in order as writes come to them: an integer, at least 1, takes so
        many bytes before the step that follows; a `Delay` has one wait; an error is raised, once.

    Raises:
      TypeError, ValueError: a number is no integer or below 1; `memory` is not a `Memory`.

    Example:
      >>> async def main():
      ...     sink = FakeWrite(script=[2, trio.BrokenResourceError()])
      ...     try:
      ...         await sink.write_view(BytesView(b"abc"))
      ...     except trio.BrokenResourceError:
      ...         return sink.contents
      >>> trio.run(main)
      BytesView(b'ab')

    Idea: `testing::FakeWrite` of bytesbuf_io.
    """

    _counts_exactly = True

    def __init__(
        self,
        *,
        memory: Memory | None = None,
        max_write_nbytes: SupportsIndex | None = None,
        script: Iterable[Step] = (),
    ) -> None:
        super().__init__(memory)
        self._arrived = BytesBuf()
        self._script = _Script(script, _limit(max_write_nbytes, "max_write_nbytes"))

    @property
    def contents(self) -> BytesView:
        """Everything that was written so far, also after `aclose`. No copy."""
        return self._arrived.peek()

    async def _wait_write_might_not_block(self) -> None:
        await self._script.wait(self._closed)
        self._refuse_if_closed()

    async def _write_view(self, view: BytesView) -> None:
        left = BytesReader(view)
        try:
            while True:
                await self._wait_write_might_not_block()
                nbytes = self._script.pass_on(left.remaining())
                self._arrived.put_view(left.take(nbytes))
                if self._progress is not None:
                    self._progress(nbytes)
                if not left:
                    return
        finally:
            del view, left  # an error that is kept holds this frame, but no memory

    def __repr__(self) -> str:
        return f"<FakeWrite of {len(self._arrived)} bytes>"


class Null(_Fake, Read, Write):
    """A source that has ended, and a sink that takes everything and keeps nothing.

    Args:
      memory: what `memory` shows; a `TransparentMemory` if not given.

    Example:
      >>> trio.run(Null().receive_view)
      BytesView(b'')

    Idea: `testing::Null` of bytesbuf_io; ``/dev/null``.
    """

    def __init__(self, *, memory: Memory | None = None) -> None:
        super().__init__(memory)

    async def _receive_view(self, max_bytes: int | None) -> BytesView:  # noqa: ARG002
        await self._pass()
        return BytesView()

    async def _write_view(self, view: BytesView) -> None:  # noqa: ARG002
        await self._pass()


class Pending(_Fake, Read, Write):
    """A source that nothing comes from and a sink that takes nothing: each call waits for `aclose`.

    Args:
      memory: what `memory` shows; a `TransparentMemory` if not given.

    Example:
      >>> async def main():
      ...     with trio.move_on_after(0.001):
      ...         await Pending().receive_view()
      ...     print("gave up")
      >>> trio.run(main)
      gave up

    Idea: `testing::Pending` of bytesbuf_io.
    """

    def __init__(self, *, memory: Memory | None = None) -> None:
        super().__init__(memory)

    async def _receive_view(self, max_bytes: int | None) -> BytesView:  # noqa: ARG002
        await self._wait_for_ever()

    async def _write_view(self, view: BytesView) -> None:  # noqa: ARG002
        await self._wait_for_ever()

    async def _wait_write_might_not_block(self) -> None:
        await self._wait_for_ever()
