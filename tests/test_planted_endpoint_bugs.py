"""Bugs planted in sources and sinks: the checks of them find each, and say what it is.

A *planted* source or sink is a `FakeRead`, a `FakeWrite` or a `Pending` with one bug. Each check
must find at least one of them: a check that nothing can fail checks nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import operator

import numpy as np
import pytest
import trio
from test_endpoint_checks import NAME, Arrived, arrived_in, by_single_bytes

from trio_bytesbuf import BytesBuf, BytesView, UnexpectedEof
from trio_bytesbuf.io import Read, Views, Write
from trio_bytesbuf.testing import (
    CLOGGED_SINK_CHECKS,
    SINK_CHECKS,
    SOURCE_CHECKS,
    STALLED_SOURCE_CHECKS,
    Delay,
    FakeRead,
    FakeWrite,
    Null,
    Pending,
)

# Bugs planted in sources


class Never:
    """A flag that cannot be set."""

    def __get__(self, instance: object, owner: type) -> bool:
        return False

    def __set__(self, instance: object, value: bool) -> None:
        pass


class EmptyInTheMiddle(FakeRead):
    is_turn = True

    async def _receive_view(self, max_bytes):
        self.is_turn = not self.is_turn
        if self.is_turn:
            await trio.lowlevel.checkpoint()
            return BytesView()
        return await super()._receive_view(max_bytes or 1)


class BeginsAnew(FakeRead):
    def __init__(self, contents):
        super().__init__(contents)
        self.again = contents

    async def _receive_view(self, max_bytes):
        view = await super()._receive_view(max_bytes)
        if not view:
            FakeRead.__init__(self, self.again)
        return view


class Hasty(FakeRead):
    async def _receive_view(self, max_bytes):
        del max_bytes
        return await super()._receive_view(None)


class HastyAtHeart(FakeRead):
    async def read_at_most_into(self, nbytes, buf):
        del nbytes
        return await self.read_more_into(buf)


class Miscounts(FakeRead):
    async def read_at_most_into(self, nbytes, buf):
        await super().read_at_most_into(nbytes, buf)
        return len(buf) + 1


class ReadsExactlyAtMost(FakeRead):
    def __init__(self, contents):
        super().__init__(contents, max_read_nbytes=3)

    async def read_exactly(self, nbytes):
        return await self.receive_view(nbytes or 1)


class NoCheckpoint(FakeRead):
    async def _receive_view(self, max_bytes):
        left = self._contents.remaining()
        return self._contents.take(left if max_bytes is None else min(max_bytes, left))


class NoCheckpointAtTheEnd(FakeRead):
    async def _receive_view(self, max_bytes):
        return await super()._receive_view(max_bytes) if self._contents else BytesView()


class NoCheckpointForWhatIsKept(FakeRead):
    async def receive_view(self, max_bytes=None):
        if self._kept is not None and not self._is_closed:
            return self._take_kept(max_bytes)
        return await super().receive_view(max_bytes)


class TruncatesSizes(FakeRead):
    async def receive_view(self, max_bytes=None):
        return await super().receive_view(None if max_bytes is None else int(max_bytes))


class TakesNegativeSizes(FakeRead):
    async def read_exactly(self, nbytes):
        return await super().read_exactly(max(operator.index(nbytes), 0))


class LimitIsAnAnswer(FakeRead):
    async def read_to_end(self, max_nbytes):
        return await super().read_to_end(max(operator.index(max_nbytes), 0))


class NeverBusy(FakeRead):
    _is_receiving = Never()


class NeverClosed(FakeRead):
    _is_closed = Never()


class KeptIsForEver(FakeRead):
    async def read_exactly(self, nbytes):
        if self._kept is not None and len(self._kept) >= nbytes:
            await trio.lowlevel.checkpoint()
            return self._kept.consume(nbytes)
        return await super().read_exactly(nbytes)

    async def aclose(self):
        kept = self._kept
        await super().aclose()
        self._kept = kept


class ClosesTwiceInVain(FakeRead):
    async def aclose(self):
        self._refuse_if_closed()
        await super().aclose()


class CancelledClosingDoesNotClose(FakeRead):
    async def aclose(self):
        await trio.lowlevel.checkpoint()
        await super().aclose()


class LosesWhenCancelled(FakeRead):
    async def _receive_view(self, max_bytes):
        view = await super()._receive_view(max_bytes)
        await trio.lowlevel.checkpoint()
        return view


class LosesWhenCancelledLater(FakeRead):
    def __init__(self, contents):
        super().__init__(contents, max_read_nbytes=7)

    async def read_exactly(self, nbytes):
        views, left = [], operator.index(nbytes)
        if left < 0:
            raise ValueError(nbytes)
        await trio.lowlevel.checkpoint()
        while left:
            views.append(await self.receive_view(left))
            left -= len(views[-1])
            if not views[-1]:
                raise UnexpectedEof(wanted=nbytes, arrived=nbytes - left)
        return BytesView.from_views(views)


class SaysThatNothingArrived(FakeRead):
    async def read_exactly(self, nbytes):
        try:
            return await super().read_exactly(nbytes)
        except UnexpectedEof:
            raise UnexpectedEof(wanted=nbytes, arrived=0) from None


class JoinsNothing(FakeRead):
    def __init__(self, contents):
        super().__init__(by_single_bytes(contents))

    async def read_contiguous(self, nbytes, memory=None):
        del memory
        return await self.read_exactly(nbytes)


class ForgetsTheHead(FakeRead):
    async def _receive_into(self, buf, max_bytes):
        buf.consume_all()
        return await super()._receive_into(buf, max_bytes)


class NoLimit(FakeRead):
    async def read_to_end(self, max_nbytes):
        del max_nbytes
        return await super().read_to_end(1 << 40)


class CutsAtTheLimit(FakeRead):
    async def read_to_end(self, max_nbytes):
        await trio.lowlevel.checkpoint()
        return self._contents.take(min(max_nbytes, self._contents.remaining()))


class ShowsOnlyWhatIsNew(FakeRead):
    def __init__(self, contents):
        super().__init__(contents, max_read_nbytes=3)

    async def read_at_most_while(self, max_nbytes, inspect):
        at = 0

        def new(view):
            nonlocal at
            at, start = len(view), at
            return inspect(view[start:])

        return await super().read_at_most_while(max_nbytes, new)


class DropsTheRest(FakeRead):
    async def read_at_most_while(self, max_nbytes, inspect):
        view, _ = await super().read_at_most_while(max_nbytes, inspect)
        return view, BytesBuf()


class ChunksAreViews(FakeRead):
    def __init__(self, contents):
        super().__init__(contents, max_read_nbytes=2)

    def chunks(self, nbytes):
        return self.views(nbytes)


class EmptyBatches(FakeRead):
    async def _read_chunks(self, nbytes):
        batch = await super()._read_chunks(nbytes)
        return [*batch, BytesView()] if batch else []


class ReadsAhead(FakeRead):
    """Iterators take everything at the first step."""

    def views(self, max_bytes=None):
        ahead = []

        async def step():
            if not ahead:
                while view := await self.receive_view(max_bytes):
                    ahead.append(view)
            await trio.lowlevel.checkpoint()
            return ahead.pop(0) if ahead else BytesView()

        return Views(self, step, step)


class ReusesMemory(FakeRead):
    """As a ring that is written to again while somebody looks at what was received."""

    room = None

    async def _receive_view(self, max_bytes):
        view = await super()._receive_view(max_bytes)
        self.room = self.room or bytearray(100)
        self.room[: len(view)] = bytes(view)
        return BytesView(memoryview(self.room)[: len(view)])


class OffersNothing(FakeRead):
    memory = None


class OffersTooLittle(FakeRead):
    def reserve(self, nbytes):
        return super().reserve(nbytes // 2)


PLANTED_SOURCES: dict[str, list[tuple[type[FakeRead], str]]] = {
    "ends_for_ever": [(EmptyInTheMiddle, "the rest of"), (BeginsAnew, "after the end, ")],
    "returns_no_more_than_asked": [
        (Hasty, "BadSource"),
        (HastyAtHeart, r"gave 67 bytes"),
        (Miscounts, "not 1$"),
    ],
    "reads_as_told": [(ReadsExactlyAtMost, r"read_exactly\(0\)")],
    "checkpoints": [
        (NoCheckpoint, "was no checkpoint"),
        (NoCheckpointAtTheEnd, "was no checkpoint"),
        (NoCheckpointForWhatIsKept, "was no checkpoint"),
    ],
    "refuses_wrong_sizes": [
        (TruncatesSizes, r"receive_view\(1.0\)"),
        (TakesNegativeSizes, r"read_exactly\(-1\)"),
        (LimitIsAnAnswer, r"read_to_end\(-1\).*LimitExceeded.*not ValueError"),
    ],
    "refuses_a_second_task": [(NeverBusy, "of two at the same time")],
    "is_closed_for_good": [
        (NeverClosed, "not ClosedResourceError"),
        (KeptIsForEver, r"read_exactly\(0\).*not ClosedResourceError"),
        (ClosesTwiceInVain, r"aclose\(\).*raised ClosedResourceError"),
    ],
    "is_closed_even_if_cancelled": [(CancelledClosingDoesNotClose, "not ClosedResourceError")],
    "loses_nothing_when_cancelled": [
        (LosesWhenCancelled, "that was cancelled"),
        (LosesWhenCancelledLater, "that was cancelled"),
    ],
    "says_what_had_arrived": [
        (SaysThatNothingArrived, "the arrived of"),
        (LosesWhenCancelledLater, "the arrived of"),
    ],
    "reads_exactly": [(ReadsExactlyAtMost, "read_exactly"), (JoinsNothing, "gave 2 pieces")],
    "reads_into_builders": [(ForgetsTheHead, "the builder after")],
    "keeps_to_the_limit": [(NoLimit, "not LimitExceeded"), (CutsAtTheLimit, "not LimitExceeded")],
    "reads_while_more_is_wanted": [
        (ShowsOnlyWhatIsNew, "what the inspector was shown"),
        (DropsTheRest, "the number of bytes that the inspector was shown"),
    ],
    "cuts_chunks": [(ChunksAreViews, r"chunks\(3\)"), (EmptyBatches, "batches")],
    "gives_itself_back": [(ReadsAhead, r"into_inner\(\) of views")],
    "returns_views_that_stay": [(ReusesMemory, "later, what was received")],
    "offers_memory": [(OffersNothing, "a NoneType"), (OffersTooLittle, "room for")],
}


# Bugs planted in sources that go silent


class EndsWhenSilent(FakeRead):
    def __init__(self, contents, script):
        del script
        super().__init__(contents)


class LosesWhenCancelledWaiting(FakeRead):
    read_exactly = LosesWhenCancelledLater.read_exactly


class NeverBusyWhenSilent(FakeRead):
    _is_receiving = Never()


class ClosesAsleep(FakeRead):
    async def _aclose(self):
        await trio.lowlevel.checkpoint()


class ClosesAsleepWhenCancelled(FakeRead):
    async def _aclose(self):
        await trio.lowlevel.checkpoint()
        await super()._aclose()


class EndsWhenClosed(FakeRead):
    async def _receive_view(self, max_bytes):
        try:
            return await super()._receive_view(max_bytes)
        except trio.ClosedResourceError:
            return BytesView()


class GivesWhatItHasWhenClosed(FakeRead):
    async def read_to_end(self, max_nbytes):
        try:
            return await super().read_to_end(max_nbytes)
        except trio.ClosedResourceError:
            if self._contents:  # nothing had been taken: this call began when it was closed
                raise
            return BytesView(b"what there was")


PLANTED_STALLED: dict[str, list[tuple[type[FakeRead], str]]] = {
    "waits_for_more": [(EndsWhenSilent, r"after nothing, .* returned BytesView")],
    "keeps_what_arrived_while_it_waited": [
        (LosesWhenCancelledWaiting, "TooSlowError"),
        (EndsWhenSilent, "UnexpectedEof"),
    ],
    "refuses_a_second_task_while_it_waits": [(NeverBusyWhenSilent, "not BusyResourceError")],
    "wakes_readers_when_closed": [
        (ClosesAsleep, "goes on waiting"),
        (ClosesAsleepWhenCancelled, "goes on waiting"),
        (EndsWhenClosed, "should have raised ClosedResourceError"),
    ],
    "forgets_what_is_kept_when_closed": [(GivesWhatItHasWhenClosed, "not ClosedResourceError")],
}


# Bugs planted in sinks


class LosesTheLast(FakeWrite):
    async def _write_view(self, view):
        await super()._write_view(view[:-1])


class SendsBackwards(FakeWrite):
    async def _write_view(self, view):
        for piece in reversed(view.pieces):
            await super()._write_view(BytesView(piece))
        await trio.lowlevel.checkpoint()


class Forgetful(FakeWrite):
    async def _write_view(self, view):
        await super()._write_view(view[:1000])


class ReturnsACount(FakeWrite):
    async def write_view(self, view):
        await super().write_view(view)
        return len(view)


class SendsTheFirst(FakeWrite):
    async def write_parts(self, views):
        await self.write_view(next(iter(views), BytesView()))


class IteratesTwice(FakeWrite):
    async def write_parts(self, views):
        if sum(map(len, views)) >= 0:
            await super().write_parts(views)


class SendsHalfPrepared(FakeWrite):
    async def prepare_and_write(self, capacity_nbytes, fill):
        buf = self.reserve(capacity_nbytes)
        try:
            fill(buf)
        finally:
            await self.write_view(buf.consume_all())


class NoCheckpointForNothing(FakeWrite):
    async def _write_view(self, view):
        if view:
            await super()._write_view(view)


class NoCheckpointBeforeWriting(FakeWrite):
    async def wait_write_might_not_block(self):
        self._refuse_if_closed()


class SendsBytes(FakeWrite):
    async def write_view(self, view):
        await super().write_view(view if isinstance(view, BytesView) else BytesView(view))


class NeverBusySink(FakeWrite):
    _is_sending = Never()


class NeverClosedSink(FakeWrite):
    _is_closed = Never()


class SendsWhenClosed(FakeWrite):
    async def write_view(self, view):
        if self._is_closed:
            self._arrived.put_view(view)
        await super().write_view(view)


class CancelledClosingDoesNotCloseSink(FakeWrite):
    async def aclose(self):
        await trio.lowlevel.checkpoint()
        await super().aclose()


class ApologizesWhenCancelled(FakeWrite):
    async def _write_view(self, view):
        try:
            await super()._write_view(view)
        except trio.Cancelled:
            self._arrived.put_view(BytesView(b"sorry"))
            raise


class ReleasesViews(FakeWrite):
    async def _write_view(self, view):
        await super()._write_view(BytesView(bytes(view)))
        view.release()


class KeepsAddresses(FakeWrite):
    """Remembers where the bytes were, and looks there when it is asked for them."""

    places = ()

    async def _write_view(self, view):
        await trio.lowlevel.checkpoint()
        self._refuse_if_closed()
        places = [(address_of(piece), piece.nbytes) for piece in view.pieces]
        self.places = (*self.places, *places)

    @property
    def contents(self):
        return BytesView(b"".join(ctypes.string_at(*place) for place in self.places))


def address_of(piece: memoryview) -> int:

    return np.frombuffer(piece, "u1").ctypes.data


class OffersNothingToWrite(FakeWrite):
    memory = None


PLANTED_SINKS: dict[str, list[tuple[type[FakeWrite], str]]] = {
    "sends_everything_in_order": [
        (LosesTheLast, "0 bytes had arrived behind a LosesTheLast, not 1"),
        (SendsBackwards, "another order"),
        (ReturnsACount, "gave 1, not None"),
    ],
    "sends_large_views": [(Forgetful, "1000 bytes had arrived"), (SendsBackwards, "another order")],
    "sends_several_views": [(SendsTheFirst, "9 bytes"), (IteratesTwice, "0 bytes")],
    "sends_what_was_prepared": [(SendsHalfPrepared, "errors of prepare_and_write")],
    "checkpoints": [
        (NoCheckpointForNothing, "was no checkpoint"),
        (NoCheckpointBeforeWriting, "was no checkpoint"),
    ],
    "refuses_what_is_no_view": [(SendsBytes, "not TypeError")],
    "refuses_a_second_task": [(NeverBusySink, "of two at the same time")],
    "is_closed_for_good": [
        (NeverClosedSink, "not ClosedResourceError"),
        (SendsWhenClosed, r"after aclose\(\), "),
    ],
    "is_closed_even_if_cancelled": [(CancelledClosingDoesNotCloseSink, "not ClosedResourceError")],
    "sends_no_other_bytes_when_cancelled": [(ApologizesWhenCancelled, "other bytes had arrived")],
    "leaves_the_view_alone": [
        (ReleasesViews, "Released"),
        (KeepsAddresses, "other bytes had arrived"),
    ],
    "offers_memory": [(OffersNothingToWrite, "a NoneType")],
}


class Swallows(Null):
    """Takes what there is no room for."""


class NeverBusyWhenFull(Pending):
    _is_sending = Never()


class ClosesAsleepWhenFull(Pending):
    async def _aclose(self):
        await trio.lowlevel.checkpoint()


class ClosesAsleepWhenFullAndCancelled(Pending):
    async def _aclose(self):
        await trio.lowlevel.checkpoint()
        await super()._aclose()


class PretendsToHaveSent(Pending):
    async def _write_view(self, view):
        with contextlib.suppress(trio.ClosedResourceError):
            await super()._write_view(view)


PLANTED_FULL: dict[str, list[tuple[type[Write], str]]] = {
    "waits_for_room": [(Swallows, "returned None")],
    "refuses_a_second_task_while_it_waits": [(NeverBusyWhenFull, "not BusyResourceError")],
    "wakes_writers_when_closed": [
        (ClosesAsleepWhenFull, "goes on waiting"),
        (ClosesAsleepWhenFullAndCancelled, "goes on waiting"),
        (PretendsToHaveSent, "should have raised ClosedResourceError"),
    ],
}


def each_planted(planted):
    """Run a test for each bug and the check that has to find it."""
    return pytest.mark.parametrize(
        ("name", "kind", "words"),
        [
            pytest.param(name, kind, words, id=f"{name}-{kind.__name__}")
            for name, bugs in planted.items()
            for kind, words in bugs
        ],
    )


def named(checks, name):
    return next(check for check in checks if check.__name__ == name)


@pytest.mark.parametrize(
    ("checks", "planted"),
    [
        (SOURCE_CHECKS, PLANTED_SOURCES),
        (STALLED_SOURCE_CHECKS, PLANTED_STALLED),
        (SINK_CHECKS, PLANTED_SINKS),
        (CLOGGED_SINK_CHECKS, PLANTED_FULL),
    ],
    ids=["sources", "stalled sources", "sinks", "clogged sinks"],
)
def test_every_check_has_something_to_find(checks, planted) -> None:
    """No check is without a bug that it finds, and each says in a line what it holds."""
    assert [NAME(check) for check in checks] == list(planted)
    assert all(planted.values())
    assert all(check.__doc__ and "\n" not in check.__doc__ for check in checks)


@each_planted(PLANTED_SOURCES)
async def test_bugs_in_sources_are_found(name, kind, words, autojump_clock) -> None:
    """Each planted bug is found by its check, and the complaint says what it is."""

    async def make(contents: bytes) -> Read:
        return kind(contents)

    with pytest.raises(AssertionError, match=f"(?s){words}"):
        await named(SOURCE_CHECKS, name)(make)


@each_planted(PLANTED_STALLED)
async def test_bugs_in_stalled_sources_are_found(name, kind, words, autojump_clock) -> None:
    """Each planted bug is found by its check, and the complaint says what it is."""

    async def make(contents: bytes) -> Read:
        return kind(contents, script=[*([len(contents)] if contents else []), Delay(math.inf)])

    with pytest.raises(AssertionError, match=f"(?s){words}"):
        await named(STALLED_SOURCE_CHECKS, name)(make)


@each_planted(PLANTED_SINKS)
async def test_bugs_in_sinks_are_found(name, kind, words, autojump_clock) -> None:
    """Each planted bug is found by its check, and the complaint says what it is."""

    async def make() -> tuple[Write, Arrived]:
        sink = kind(max_write_nbytes=1000) if kind is ApologizesWhenCancelled else kind()
        return sink, arrived_in(sink)

    with pytest.raises(AssertionError, match=f"(?s){words}"):
        await named(SINK_CHECKS, name)(make)


@each_planted(PLANTED_FULL)
async def test_bugs_in_full_sinks_are_found(name, kind, words, autojump_clock) -> None:
    """Each planted bug is found by its check, and the complaint says what it is."""

    async def make() -> Write:
        return kind()

    with pytest.raises(AssertionError, match=f"(?s){words}"):
        await named(CLOGGED_SINK_CHECKS, name)(make)
