"""Drawn scripts of reads, cancelled at drawn times, over drawn cuts: held against plain bytes.

The model is the bytes that are still to be read, `rest`. Each read says what it makes of them.
After every step, whether it was cancelled, refused or completed: what is in the buffer is the
beginning of `rest`, and what is in the source is the end of it. So no byte is lost, none comes
twice, and none comes out of its turn, whatever is mixed with whatever.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import hypothesis
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from strategies import cut_at

from trio_bytesbuf import (
    BytesBuf,
    BytesView,
    LimitExceeded,
    NotEnoughBytes,
    ReadInspectDecision,
    UnexpectedEof,
)
from trio_bytesbuf.buffered import (
    BufReader,
    BufStream,
    Delimited,
    FixedLength,
    LengthPrefixed,
    Lines,
    UniversalLines,
)
from trio_bytesbuf.io import Write
from trio_bytesbuf.testing import Delay, FakeRead, cancel_at_each_checkpoint, check_laws

DATA = st.lists(st.sampled_from(b"ab\r\n;\x02\x00\xff"), max_size=60).map(bytes)
SMALL = st.integers(0, 12)
COUNTS = st.integers(1, 12)
MANY = 1 << 20
LIMITS = st.one_of(COUNTS, st.just(MANY))
DELIMITERS = st.sampled_from(
    [(b"\n",), (b"\r\n",), (b"\n", b"\r\n"), (b";", b"ab", b"\r\n;"), (b"a\nb",), (b"aa", b"ba;a")]
)
NEWLINES = st.sampled_from([b"\n", b"\r\n", b"ab"])
FRAMINGS = st.sampled_from(
    [
        Lines(),
        Lines(b"\r\n"),
        Delimited((b";", b"ab", b"\r\n;")),
        Delimited(b"\n"),
        UniversalLines(),
        FixedLength(3),
        LengthPrefixed(1),
        LengthPrefixed(2, "little"),
        LengthPrefixed(3),  # which has no shortcut
    ]
)


class Both(FakeRead, Write):
    """A stream whose reading half is a `FakeRead`."""

    async def _write_view(self, view: BytesView) -> None:
        raise AssertionError(f"nobody sends here, and here is {view!r}")


# What a read makes of the bytes that are to be read


@attrs.frozen
class Ends:
    """The read returns `value`, and has taken so many bytes."""

    value: object
    taken: int


@attrs.frozen
class Raises:
    """The read raises one of these, and has taken so many bytes."""

    kinds: tuple[type[Exception], ...]
    taken: int = 0


class Waits:
    """More bytes are needed to tell."""


Outcome = Ends | Raises | Waits


def first_end(data: bytes, delimiters: tuple[bytes, ...]) -> tuple[int, int] | None:
    """Where the delimiter ends that ends first, and the length of the longest that ends there."""
    for end in range(1, len(data) + 1):
        lengths = [len(sought) for sought in delimiters if data[:end].endswith(sought)]
        if lengths:
            return end, max(lengths)
    return None


def until(data: bytes, delimiters: tuple[bytes, ...], limit: int, *, is_all: bool) -> Outcome:
    found = first_end(data[:limit], delimiters)
    if found is not None:
        return Ends(data[: found[0]], found[0])
    if len(data) >= limit:
        return Raises((LimitExceeded,))
    return Raises((UnexpectedEof,)) if is_all else Waits()


def line(data: bytes, newline: bytes, limit: int, *, is_all: bool) -> Outcome:
    at = data.find(newline)
    if 0 <= at <= limit:
        return Ends(data[:at], at + len(newline))
    if len(data) >= limit + len(newline) or (is_all and len(data) > limit):
        return Raises((LimitExceeded,))
    if not is_all:
        return Waits()
    return Ends(data or None, len(data))


def frame(data: bytes, framing: Any, limit: int, *, is_all: bool) -> Outcome:
    """What `receive` makes of `data`."""
    if not data:
        return Raises((trio.EndOfChannel,)) if is_all else Waits()
    before, nbytes, after = 0, 0, 0
    match framing:
        case Delimited():
            found = first_end(data, framing.delimiters)
            longest = max(map(len, framing.delimiters))
            if found is not None:
                nbytes, after = found[0] - found[1], found[1]
            elif len(data) >= limit + longest:
                return Raises((LimitExceeded,))
            elif not is_all:
                return Waits()
            elif isinstance(framing, Lines):
                nbytes = len(data)
            else:
                return Raises((UnexpectedEof,))
        case UniversalLines():
            found = first_end(data, (b"\r", b"\n"))
            if found is None:
                if len(data) <= limit and not is_all:
                    return Waits()
                nbytes = len(data)
            else:
                nbytes = found[0] - 1
                if nbytes <= limit and data[nbytes:] == b"\r" and not is_all:
                    return Waits()
                after = 2 if data[nbytes:].startswith(b"\r\n") else 1
        case FixedLength():
            nbytes = framing.nbytes
        case LengthPrefixed():
            before = framing.prefix_nbytes
            if len(data) < before:
                return Raises((UnexpectedEof,)) if is_all else Waits()
            nbytes = int.from_bytes(data[:before], framing.byteorder)
    if nbytes > limit:
        return Raises((LimitExceeded,))  # which `FrameTooLarge` is
    if before + nbytes + after > len(data):
        return Raises((UnexpectedEof,)) if is_all else Waits()
    return Ends(data[before : before + nbytes], before + nbytes + after)


def frames(data: bytes, framing: Any, limit: int) -> list[Ends]:
    """All frames of `data`, up to an error or the end; the ends of each, from the first on."""
    found = []
    at = 0
    while isinstance(one := frame(data[at:], framing, limit, is_all=True), Ends):
        at += one.taken
        found.append(Ends(one.value, at))
    return found


# A game: a reader, its source, and the bytes that are still to be read


class Game:
    """Plays reads and holds each against the model."""

    def __init__(self, data: bytes, cuts: list, script: list, ahead: int, *, both: bool) -> None:
        self.rest = data
        contents = cut_at(data, cuts)
        if both:
            self.source: Any = Both(contents, script=script)
            self.reader: Any = BufStream(self.source, read_ahead_nbytes=ahead)
        else:
            self.source = FakeRead(contents, script=script)
            self.reader = BufReader(self.source, read_ahead_nbytes=ahead)

    @property
    def arrived(self) -> bytes:
        """What is in the buffer, by the model."""
        return self.rest[: self.reader.buffered_nbytes]

    def took(self, nbytes: int) -> None:
        self.rest = self.rest[nbytes:]

    def check(self) -> None:
        """No byte is lost, none is there twice."""
        buffered = self.reader.buffered
        assert bytes(buffered) == self.arrived
        assert len(buffered) + self.source._contents.remaining() == len(self.rest)
        check_laws(self.reader)

    async def wait(self, call: Callable[[], Awaitable[object]], seconds: float) -> object:
        """Return what a read gives, or the error it raises; `Waits` if it was cancelled."""
        with trio.move_on_after(seconds):
            try:
                with trio.testing.assert_checkpoints():
                    return await call()
            except (LimitExceeded, UnexpectedEof, trio.EndOfChannel, UnicodeDecodeError) as error:
                return error
            except StopAsyncIteration:
                return None
            except AssertionError:
                raise
        return Waits

    async def more(self) -> bool:
        """Let one more byte arrive; say False at the end."""
        had = self.reader.buffered_nbytes
        return len(await self.reader.peek(had + 1)) > had

    async def plays(
        self, call: Callable[[], Awaitable[object]], outcome: Outcome, seconds: float
    ) -> None:
        """Hold a read to have the outcome, or to be cancelled and to have taken nothing."""
        found = await self.wait(call, seconds)
        if found is not Waits:
            self.holds(found, outcome)

    def holds(self, found: object, outcome: Outcome) -> None:
        match outcome:
            case Raises():
                assert isinstance(found, outcome.kinds), found
            case Ends():
                value = bytes(found) if isinstance(found, BytesView) else found
                assert value == outcome.value
            case Waits():
                assert found is None
        if not isinstance(outcome, Waits):
            self.took(outcome.taken)

    def plays_now(self, call: Callable[[], object], outcome: Outcome) -> None:
        """Hold a read that never waits to have the outcome."""
        try:
            found = call()
        except (LimitExceeded, NotEnoughBytes) as error:
            found = error
        self.holds(found, outcome)

    async def takes_some(
        self, call: Callable[[], Awaitable[Any]], seconds: float, most: float = math.inf
    ) -> None:
        """Hold a read to give a part, or nothing at the end only."""
        found = await self.wait(call, seconds)
        if found is Waits:
            return
        if found is None:  # the end of an iteration
            found = b""
        if isinstance(found, BytesBuf):
            found = found.consume_all()
        if isinstance(found, list):
            assert all(found)
            assert not isinstance(most, int) or max(map(len, found), default=0) <= most
            found = b"".join(map(bytes, found))
        else:
            assert len(found) <= most
        assert bytes(found) == self.rest[: len(found)]
        assert bool(found) == bool(self.rest)
        self.took(len(found))


Move = Callable[[Game, float], Awaitable[None]]
MOVES: dict[str, st.SearchStrategy[Move]] = {}


def move(**strategies: st.SearchStrategy) -> Callable[[Callable[..., Awaitable[None]]], Any]:
    """Add a way to read, with drawn arguments."""

    def add(play: Callable[..., Awaitable[None]]) -> Any:
        def bound(arguments: dict) -> Move:
            async def at(game: Game, seconds: float) -> None:
                await play(game, seconds, **arguments)

            at.__qualname__ = f"{play.__name__}({arguments})"
            return at

        MOVES[play.__name__] = st.fixed_dictionaries(strategies).map(bound)
        return play

    return add


# The reads of a buffered reader


@move(nbytes=SMALL)
async def read_exactly(game: Game, seconds: float, nbytes: int) -> None:
    enough = len(game.rest) >= nbytes
    outcome = Ends(game.rest[:nbytes], nbytes) if enough else Raises((UnexpectedEof,))
    await game.plays(lambda: game.reader.read_exactly(nbytes), outcome, seconds)


@move(nbytes=SMALL)
async def try_read_exactly(game: Game, _: float, nbytes: int) -> None:
    enough = len(game.arrived) >= nbytes
    outcome = Ends(game.rest[:nbytes], nbytes) if enough else Waits()
    game.plays_now(lambda: game.reader.try_read_exactly(nbytes), outcome)


@move(nbytes=SMALL)
async def peek(game: Game, seconds: float, nbytes: int) -> None:
    await game.plays(lambda: game.reader.peek(nbytes), Ends(game.rest[:nbytes], 0), seconds)


@move()
async def fill_buf(game: Game, seconds: float) -> None:
    found: Any = await game.wait(game.reader.fill_buf, seconds)
    if found is not Waits:
        assert bytes(found) == game.arrived
        assert bool(found) == bool(game.rest)


@move(nbytes=SMALL)
async def discard(game: Game, _: float, nbytes: int) -> None:
    enough = len(game.arrived) >= nbytes
    outcome = Ends(None, nbytes) if enough else Raises((NotEnoughBytes,))
    game.plays_now(lambda: game.reader.discard(nbytes), outcome)


@move(data=DATA, cuts=st.sets(SMALL))
async def unread(game: Game, _: float, data: bytes, cuts: set[int]) -> None:
    game.reader.unread(cut_at(data, cuts))
    game.rest = data + game.rest


@move(delimiters=DELIMITERS, limit=LIMITS)
async def read_until(game: Game, seconds: float, delimiters: Any, limit: int) -> None:
    outcome = until(game.rest, delimiters, limit, is_all=True)
    await game.plays(lambda: game.reader.read_until(delimiters, limit), outcome, seconds)


@move(delimiters=DELIMITERS, limit=LIMITS)
async def try_read_until(game: Game, _: float, delimiters: Any, limit: int) -> None:
    outcome = until(game.arrived, delimiters, limit, is_all=False)
    game.plays_now(lambda: game.reader.try_read_until(delimiters, limit), outcome)


@move(delimiters=DELIMITERS)
async def skip_until(game: Game, seconds: float, delimiters: Any) -> None:
    found = await game.wait(lambda: game.reader.skip_until(delimiters), seconds)
    wanted = first_end(game.rest, delimiters)
    left = game.reader.buffered_nbytes + game.source._contents.remaining()
    dropped = len(game.rest) - left
    if found is Waits:  # what it has dropped does not change where the delimiter ends
        then = first_end(game.rest[dropped:], delimiters)
        assert (then and then[0] + dropped) == (wanted and wanted[0])
    elif wanted is None:
        assert isinstance(found, UnexpectedEof)
        assert dropped == max(0, len(game.rest) - max(map(len, delimiters)) + 1)
    else:
        assert found == dropped == wanted[0]
    game.took(dropped)


@move(newline=NEWLINES, limit=st.one_of(SMALL, st.just(MANY)))
async def read_line(game: Game, seconds: float, newline: bytes, limit: int) -> None:
    outcome = line(game.rest, newline, limit, is_all=True)
    await game.plays(lambda: game.reader.read_line(limit, newline), outcome, seconds)


@move(newline=NEWLINES, limit=st.one_of(SMALL, st.just(MANY)))
async def try_read_line(game: Game, _: float, newline: bytes, limit: int) -> None:
    outcome = line(game.arrived, newline, limit, is_all=False)
    game.plays_now(lambda: game.reader.try_read_line(limit, newline), outcome)


# Channels


KINDS = st.sampled_from([bytes, BytesView, memoryview])


@move(framing=FRAMINGS, limit=st.one_of(SMALL, st.just(MANY)), kind=KINDS, steps=st.booleans())
async def receive(
    game: Game, seconds: float, framing: Any, limit: int, kind: type, *, steps: bool
) -> None:
    channel = game.reader.frames(framing, kind, max_bytes=limit)
    outcome = frame(game.rest, framing, limit, is_all=True)
    if steps and isinstance(outcome, Raises) and outcome.kinds == (trio.EndOfChannel,):
        outcome = Ends(None, 0)
    await game.plays(channel.__anext__ if steps else channel.receive, outcome, seconds)


@move(framing=FRAMINGS, limit=st.one_of(SMALL, st.just(MANY)), kind=KINDS)
async def try_receive(game: Game, _: float, framing: Any, limit: int, kind: type) -> None:
    channel = game.reader.frames(framing, kind, max_bytes=limit)
    outcome = frame(game.arrived, framing, limit, is_all=False)
    game.plays_now(channel.try_receive, outcome)


@move(
    framing=FRAMINGS,
    limit=st.one_of(SMALL, st.just(MANY)),
    kind=KINDS,
    most=st.integers(1, 5),
    steps=st.booleans(),
)
async def receive_batch(
    game: Game, seconds: float, framing: Any, limit: int, kind: type, most: int, *, steps: bool
) -> None:
    channel = game.reader.frames(framing, kind, max_bytes=limit)
    call = channel.batches(most).__anext__ if steps else lambda: channel.receive_batch(most)
    found: Any = await game.wait(call, seconds)
    if found is Waits:
        return
    wanted = frames(game.rest, framing, limit)
    if not wanted:
        outcome = frame(game.rest, framing, limit, is_all=True)
        if steps and isinstance(outcome, Raises) and outcome.kinds == (trio.EndOfChannel,):
            outcome = Ends(None, 0)
        game.holds(found, outcome)
        return
    assert isinstance(found, list), found
    assert 0 < len(found) <= most
    assert [bytes(item) for item in found] == [one.value for one in wanted[: len(found)]]
    game.took(wanted[len(found) - 1].taken)


@move(framing=FRAMINGS, then=st.sampled_from(["skip", "receive", "try_receive", "receive_batch"]))
async def skip(game: Game, seconds: float, framing: Any, then: str) -> None:
    channel = game.reader.frames(framing, bytes, max_bytes=1 << 32)
    outcome = frame(game.rest, framing, 1 << 32, is_all=True)
    before = len(game.rest)
    found = await game.wait(channel.skip, seconds)
    left = game.reader.buffered_nbytes + game.source._contents.remaining()
    if found is not Waits:
        if isinstance(outcome, Ends):
            assert found is None
            assert before - left == outcome.taken
        else:
            assert isinstance(outcome, Raises)
            assert isinstance(found, outcome.kinds)
        game.took(before - left)
        return
    if left == before:  # nothing of it was dropped, so nothing is decided
        then = "skip"
    if then != "skip" and isinstance(outcome, Ends):
        following = frame(game.rest[outcome.taken :], framing, 1 << 32, is_all=True)
        if isinstance(following, Ends):
            item = None
            while item is None:
                item = await game.wait(channel.receive, math.inf) if then == "receive" else None
                if then == "try_receive":
                    item = channel.try_receive()
                    if item is None and not await game.more():
                        item = await channel.receive()  # the last needs no end
                if then == "receive_batch":
                    (item,) = await channel.receive_batch(1)
            assert item == following.value
            game.took(outcome.taken + following.taken)
            return
    found = await game.wait(channel.skip, math.inf)
    left = game.reader.buffered_nbytes + game.source._contents.remaining()
    if isinstance(outcome, Ends):
        assert found is None
        assert before - left == outcome.taken
    else:
        assert isinstance(outcome, Raises)
        assert isinstance(found, outcome.kinds)
    game.took(before - left)


@move(limit=st.one_of(SMALL, st.just(MANY)), universal=st.booleans())
async def text_lines(game: Game, seconds: float, limit: int, *, universal: bool) -> None:
    channel = game.reader.text_lines(newline=None if universal else b"\n", max_bytes=limit)
    framing = UniversalLines() if universal else Lines()
    outcome = frame(game.rest, framing, limit, is_all=True)
    if isinstance(outcome, Ends):
        assert isinstance(outcome.value, bytes)
        try:
            outcome = Ends(outcome.value.decode(), outcome.taken)
        except UnicodeDecodeError:
            outcome = Raises((UnicodeDecodeError,))
    await game.plays(channel.receive, outcome, seconds)


# What every `Read` has


@move(limit=st.none() | COUNTS)
async def receive_view(game: Game, seconds: float, limit: int | None) -> None:
    await game.takes_some(lambda: game.reader.receive_view(limit), seconds, limit or math.inf)


@move(limit=st.none() | COUNTS)
async def receive_some(game: Game, seconds: float, limit: int | None) -> None:
    await game.takes_some(lambda: game.reader.receive_some(limit), seconds, limit or math.inf)


@move()
async def read_any(game: Game, seconds: float) -> None:
    await game.takes_some(game.reader.read_any, seconds)


@move(limit=COUNTS, name=st.sampled_from(["views", "chunks"]), batches=st.booleans())
async def a_step(game: Game, seconds: float, limit: int, name: str, *, batches: bool) -> None:
    views = getattr(game.reader, name)(limit)
    steps = views.batches() if batches else views
    await game.takes_some(steps.__anext__, seconds, limit)


@move(nbytes=SMALL)
async def read_contiguous(game: Game, seconds: float, nbytes: int) -> None:
    enough = len(game.rest) >= nbytes
    outcome = Ends(game.rest[:nbytes], nbytes) if enough else Raises((UnexpectedEof,))
    await game.plays(lambda: game.reader.read_contiguous(nbytes), outcome, seconds)


@move(limit=st.one_of(SMALL, st.just(MANY)))
async def read_to_end(game: Game, seconds: float, limit: int) -> None:
    fits = len(game.rest) <= limit
    outcome = Ends(game.rest, len(game.rest)) if fits else Raises((LimitExceeded,))
    await game.plays(lambda: game.reader.read_to_end(limit), outcome, seconds)


@move(nbytes=SMALL, room=st.sampled_from([0, 5, 100]))
async def read_exactly_into(game: Game, seconds: float, nbytes: int, room: int) -> None:
    buf = BytesBuf.with_capacity(room)
    found = await game.wait(lambda: game.reader.read_exactly_into(nbytes, buf), seconds)
    got = bytes(buf.consume_all())
    assert got == game.rest[: len(got)]
    if found is None:
        assert len(got) == nbytes
    elif found is not Waits:
        assert isinstance(found, UnexpectedEof)
        assert len(got) == len(game.rest) < nbytes
    game.took(len(got))


@move(nbytes=st.none() | COUNTS, room=st.sampled_from([0, 5, 100]))
async def read_into(game: Game, seconds: float, nbytes: int | None, room: int) -> None:
    buf = BytesBuf.with_capacity(room)
    reader = game.reader

    async def call() -> BytesView:
        if nbytes is None:
            await reader.read_more_into(buf)
        else:
            await reader.read_at_most_into(nbytes, buf)
        return buf.consume_all()

    await game.takes_some(call, seconds, nbytes or math.inf)
    assert not buf


@move(nbytes=SMALL, limit=LIMITS, into=st.booleans(), back=st.booleans())
async def read_while(
    game: Game, seconds: float, nbytes: int, limit: int, *, into: bool, back: bool
) -> None:
    def inspect(view: BytesView) -> ReadInspectDecision:
        assert bytes(view) == game.rest[: len(view)]
        if len(view) < nbytes:
            return ReadInspectDecision.continue_read()
        return ReadInspectDecision.complete(nbytes)

    buf = BytesBuf()
    if into:
        found: Any = await game.wait(
            lambda: game.reader.read_at_most_into_while(limit, buf, inspect), seconds
        )
    else:
        found = await game.wait(lambda: game.reader.read_at_most_while(limit, inspect), seconds)
        if isinstance(found, tuple):
            found, buf = found
    taken = b""
    if isinstance(found, BytesView):
        taken = bytes(found)
        assert len(taken) == nbytes
    elif found is not Waits:
        most = min(limit, len(game.rest))
        assert isinstance(found, (LimitExceeded, UnexpectedEof))
        assert most < nbytes or not most
    taken += bytes(buf.peek())
    assert taken == game.rest[: len(taken)]
    game.took(len(taken))
    if back:
        game.rest = bytes(buf.peek()) + game.rest
        game.reader.unread(buf.consume_all())


STEPS = st.one_of(st.integers(1, 9), st.sampled_from([0.0, 1.0]).map(Delay))
SECONDS = st.sampled_from([math.inf, math.inf, 0.0, 0.5, 1.5, 2.5])
SCRIPTS = st.lists(
    st.tuples(st.sampled_from(sorted(MOVES)).flatmap(MOVES.__getitem__), SECONDS), max_size=12
)


@hypothesis.settings(max_examples=400)
@given(
    data=DATA,
    cuts=st.lists(st.integers(1, 59), max_size=8),
    script=st.lists(STEPS, max_size=30),
    ahead=st.sampled_from([1, 2, 7, 262_144]),
    both=st.booleans(),
    moves=SCRIPTS,
)
def test_any_script_of_reads_gives_what_was_sent(data, cuts, script, ahead, both, moves) -> None:
    """Whatever is read, cancelled and read again: what comes is what was sent, in order, once."""

    async def main() -> None:
        game = Game(data, cuts, script, ahead, both=both)
        for play, seconds in moves:
            hypothesis.note(f"{play.__qualname__} for {seconds} s, of {game.rest!r}")
            await play(game, seconds)
            game.check()
        inner, left = await game.reader.into_inner() if both else game.reader.into_inner()
        assert inner is game.source
        assert bytes(left) + bytes(await inner.read_to_end(MANY)) == game.rest

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


# Cancelled wherever it can be

SENT = b"one;two\r\nthree\n\x03abcfour;five\n"
PARTS = [SENT[at : at + 3] for at in range(0, len(SENT), 3)]
READS: dict[str, tuple[Callable[[Any], Awaitable[Any]], Callable[[Any], bytes]]] = {
    # what is read, and the bytes that have gone to the caller for it
    "read_exactly": (lambda reader: reader.read_exactly(12), bytes),
    "read_contiguous": (lambda reader: reader.read_contiguous(12), bytes),
    "read_to_end": (lambda reader: reader.read_to_end(100), bytes),
    "read_until": (lambda reader: reader.read_until((b"\r\n", b"ee")), bytes),
    "read_line": (lambda reader: reader.read_line(), lambda line: line + b"\n"),
    "peek": (lambda reader: reader.peek(12), lambda _: b""),
    "receive": (lambda reader: reader.lines().receive(), lambda line: line + b"\n"),
    "a step of lines": (lambda reader: anext(reader.lines()), lambda line: line + b"\n"),
    "text_lines": (
        lambda reader: reader.text_lines(newline=b"two").receive(),
        lambda line: line.encode() + b"two",
    ),
    "receive_batch": (
        lambda reader: reader.frames(FixedLength(4)).receive_batch(),
        lambda batch: b"".join(map(bytes, batch)),
    ),
    "a step of batches": (
        lambda reader: anext(reader.lines().batches()),
        lambda batch: b"".join(line + b"\n" for line in batch),
    ),
    "a step of chunks": (lambda reader: anext(reader.chunks(7)), bytes),
}


@contextlib.asynccontextmanager
async def stream_pair():
    """A buffered reader over a socket, and the other end."""
    ours, theirs = trio.socket.socketpair()
    reader = BufReader(trio.SocketStream(ours))
    async with reader, trio.SocketStream(theirs) as peer:
        yield reader, peer


async def send_in_parts(pair) -> None:
    """Send a part whenever the reader waits."""
    for part in PARTS:
        await trio.testing.wait_all_tasks_blocked()
        await pair[1].send_all(part)
    await trio.testing.wait_all_tasks_blocked()
    await pair[1].send_eof()


@pytest.mark.parametrize("name", READS)
async def test_cancelled_at_each_checkpoint_nothing_is_lost(name) -> None:
    """Cancelled wherever it can be, a read has taken nothing; what follows it gets everything."""
    read, taken = READS[name]

    async def check(pair, attempt) -> None:
        got = b"" if attempt.was_cancelled else taken(attempt.result)
        if attempt.was_cancelled:
            got = taken(await read(pair[0]))
        assert bytes(got + await pair[0].read_to_end(100)) == SENT

    table = await cancel_at_each_checkpoint(
        stream_pair,
        lambda pair: read(pair[0]),
        peer=send_in_parts,
        progress=lambda pair: pair[0].buffered_nbytes,
        check=check,
    )
    assert table.blocked >= 2
