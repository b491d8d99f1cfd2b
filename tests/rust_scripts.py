"""Plays on ours the scripts that the program in rust_bytes/ plays on the Rust crate `bytes`.

Its main.rs says what scripts and answers are. A command here has the name that it has there.
"""

from __future__ import annotations

import io
import itertools
import struct
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from trio_bytesbuf import (
    BufferFull,
    BytesBuf,
    BytesReader,
    BytesView,
    MemoryInUse,
    NotAdjacent,
    NotEnoughBytes,
)
from trio_bytesbuf.mem import PlainMemory
from trio_bytesbuf.seq import (
    Buf,
    BufMut,
    BytearrayMut,
    Chain,
    ChainMut,
    Limited,
    LimitedMut,
    Reader,
    SliceMut,
    Writer,
    as_buf,
    as_buf_mut,
)

REFUSED = (NotEnoughBytes, BufferFull, OverflowError, ValueError)


def attempt(run: Callable[[], str | None]) -> str:
    """Return the answer of what may be refused."""
    try:
        answer = run()
    except REFUSED:
        return "refused"
    except MemoryInUse:
        return "in use"
    return "ok" if answer is None else answer


def shown(data: Any) -> str:
    """Return bytes as the program writes them."""
    return bytes(data).hex() or "-"


def told(word: str) -> bytes:
    """Return bytes as scripts have them."""
    return b"" if word == "-" else bytes.fromhex(word)


FLOATS = {"f32": ">f", "f64": ">d"}


def number_of(name: str, word: str) -> int | float:
    """Return the number of a format as scripts have it."""
    if layout := FLOATS.get(name.split("_")[1]):
        value: float = struct.unpack(layout, bytes.fromhex(word))[0]
        return value
    return int(word)


def show_number(name: str, value: int | float) -> str:
    """Return the number of a format as the program writes it."""
    layout = next((FLOATS[part] for part in name.split("_") if part in FLOATS), None)
    return str(value) if layout is None else struct.pack(layout, value).hex()


class Crumbs(Buf):
    """Has the three methods that it must have, and the `chunks_vectored` that comes with them."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks = deque(chunk for chunk in chunks if chunk)

    def remaining(self) -> int:
        return sum(map(len, self.chunks))

    def chunk(self) -> memoryview:
        return memoryview(self.chunks[0] if self.chunks else b"")

    def advance(self, nbytes: Any) -> None:
        missing = self._wanted(nbytes)
        while missing:
            front = self.chunks.popleft()
            if missing < len(front):
                self.chunks.appendleft(front[missing:])
            missing -= min(missing, len(front))


def source(words: Iterator[str]) -> Buf:
    """Make what is read."""
    kind = next(words)
    if kind == "slice":
        return as_buf(told(next(words)))
    if kind == "bytes":
        return BytesReader(BytesView(told(next(words))))
    if kind == "mut":
        buf = BytesBuf()
        buf.extend(told(next(words)))
        return BytesReader(buf.peek())
    if kind == "deque":
        return as_buf(deque([told(next(words)), told(next(words))]))
    if kind == "file":
        place = int(next(words))
        file = io.BytesIO(told(next(words)))
        file.seek(place)
        return as_buf(file)
    if kind in ("pieces", "crumbs"):
        pieces = [told(next(words)) for _ in range(int(next(words)))]
        if kind == "crumbs":
            return Crumbs(iter(pieces))
        return BytesReader(BytesView.from_views(map(BytesView, pieces)))
    if kind == "chain":
        return Chain(source(words), source(words))
    assert kind == "take"
    limit = int(next(words))
    return Limited(source(words), limit)


class Reading:
    """Plays the commands of `read` scripts."""

    def __init__(self, words: Iterator[str]) -> None:
        self.buf = source(words)

    def answer(self, name: str, *words: str) -> str:
        """Play a command."""
        buf = self.buf
        if name.startswith(("get_", "try_get_")):
            return attempt(lambda: self.number(name, *map(int, words)))
        if name == "set_limit":
            assert isinstance(buf, Limited)
            buf.set_limit(int(words[0]))
            return "ok"
        count = int(words[0]) if words else 0
        if name in ("copy_to_slice", "try_copy_to_slice"):
            target = bytearray(count)
            found = attempt(lambda: self.copy(name, target))
            return f"{found} {shown(target)}"
        return {
            "remaining": lambda: str(buf.remaining()),
            "chunk": lambda: shown(buf.chunk()),
            "vectored": lambda: " ".join(map(shown, buf.chunks_vectored(count))),
            "advance": lambda: attempt(lambda: buf.advance(count)),
            "take": lambda: attempt(lambda: shown(buf.take(count))),
            "file_read": lambda: shown(Reader(buf).read(count)),
            "drain": lambda: shown(itertools.islice(buf.drain(), count)),
            "limit": lambda: str(buf.limit),  # type: ignore[attr-defined]
        }[name]()

    def number(self, name: str, *width: int) -> str:
        value = getattr(self.buf, name)(*width)
        if value is None:
            return self.short(getattr(self.buf, name.removeprefix("try_")), *width)
        return show_number(name, value)

    def copy(self, name: str, target: bytearray) -> str | None:
        if getattr(self.buf, name)(target) is False:
            return self.short(self.buf.copy_to_slice, target)
        return None

    def short(self, loud: Callable[..., object], *arguments: Any) -> str:
        """Return what the twin that raises says of what the quiet one refused."""
        with pytest.raises(NotEnoughBytes) as caught:
            loud(*arguments)
        return f"short {caught.value.requested} {caught.value.available}"


def target(words: Iterator[str]) -> BufMut:
    """Make what is written to."""
    kind = next(words)
    if kind == "fixed":
        return as_buf_mut(memoryview(bytearray(int(next(words)))))
    if kind == "vec":
        return as_buf_mut(bytearray())
    if kind == "mut":
        return BytesBuf.with_capacity(int(next(words)))
    if kind == "chain":
        return ChainMut(target(words), target(words))
    assert kind == "limit"
    limit = int(next(words))
    return LimitedMut(target(words), limit)


def contents(filled: BufMut) -> bytes:
    """Return what was put."""
    if isinstance(filled, SliceMut):
        return bytes(filled.filled)
    if isinstance(filled, BytearrayMut):
        return bytes(filled.inner)
    if isinstance(filled, ChainMut):
        return contents(filled.first) + contents(filled.last)
    if isinstance(filled, LimitedMut):
        return contents(filled.inner)
    assert isinstance(filled, BytesBuf)
    return bytes(filled.peek())


class Writing:
    """Plays the commands of `write` scripts."""

    def __init__(self, words: Iterator[str]) -> None:
        self.buf = target(words)

    def answer(self, name: str, *words: str) -> str:
        """Play a command."""
        buf = self.buf
        if name == "put":
            reading = source(iter(words))
            return f"{attempt(lambda: buf.put(reading))} {reading.remaining()}"
        if name == "put_slice":
            return attempt(lambda: buf.put_slice(told(words[0])))
        if name.startswith("put_") and name != "put_repeated":
            value, width = number_of(name, words[0]), map(int, words[1:])
            return attempt(lambda: getattr(buf, name)(value, *width))
        if name == "set_limit":
            assert isinstance(buf, LimitedMut)
            buf.set_limit(int(words[0]))
            return "ok"
        return {
            "put_repeated": lambda: attempt(lambda: buf.put_repeated(*map(int, words))),
            "remaining_mut": lambda: str(buf.remaining_mut()),
            "lent": lambda: str(buf.chunk_mut().nbytes),
            "contents": lambda: shown(contents(buf)),
            "fill": lambda: self.fill(told(words[0])),
            "file_write": lambda: attempt(lambda: str(Writer(buf).write(told(words[0])))),
            "limit": lambda: str(buf.limit),  # type: ignore[attr-defined]
        }[name]()

    def fill(self, data: bytes) -> str:
        at = 0
        while at < len(data) and self.buf.has_remaining_mut():
            room = self.buf.chunk_mut()
            nbytes = min(room.nbytes, len(data) - at)
            room[:nbytes] = data[at : at + nbytes]
            del room
            self.buf.advance_mut(nbytes)
            at += nbytes
        return str(at)


ORDERS = {"Less": (1, 1, 0, 0, 0, 1), "Equal": (0, 1, 1, 1, 0, 0), "Greater": (0, 0, 0, 1, 1, 1)}
"""What `<`, `<=`, `==`, `>=`, `>` and `!=` say when the first comes before the second, ..."""


def order(left: BytesView, right: Any) -> str:
    """Say what all six operators say, which have to agree."""
    said = (left < right, left <= right, left == right, left >= right, left > right, left != right)
    return next(name for name, known in ORDERS.items() if known == said)


class Nothing(Exception):
    """A name is not there, or what it names is of the other kind."""


Kept = BytesBuf | BytesView


class Keeping:
    """Plays the commands of `keep` scripts. A builder grows by `reserve` here, as Rust's does."""

    def __init__(self, words: Iterator[str]) -> None:
        assert next(words, None) is None
        self.shelf: dict[str, Kept] = {}

    def answer(self, name: str, *words: str) -> str:
        """Play a command."""
        try:
            return str(attempt(lambda: getattr(self, name)(*words)))
        except Nothing:
            return "nothing"

    def kept(self, name: str) -> Kept:
        if name not in self.shelf:
            raise Nothing
        return self.shelf[name]

    def view(self, name: str) -> BytesView:
        view = self.kept(name)
        if not isinstance(view, BytesView):
            raise Nothing
        return view

    def builder(self, name: str) -> BytesBuf:
        buf = self.kept(name)
        if not isinstance(buf, BytesBuf):
            raise Nothing
        return buf

    def seen(self, name: str) -> BytesView:
        kept = self.kept(name)
        return kept.peek() if isinstance(kept, BytesBuf) else kept

    def all(self) -> str:
        kinds = {
            name: "+" if isinstance(kept, BytesBuf) else "=" for name, kept in self.shelf.items()
        }
        return " ".join(f"{name}{kinds[name]}{shown(self.seen(name))}" for name in sorted(kinds))

    # Making some

    def cap(self, name: str, nbytes: str) -> None:
        self.shelf[name] = BytesBuf.with_capacity(int(nbytes))

    def zeroed(self, name: str, nbytes: str) -> None:
        self.shelf[name] = BytesBuf.zeroed(int(nbytes))

    def copy(self, name: str, data: str) -> None:
        self.shelf[name] = BytesView.copied_from_slice(told(data), PlainMemory())

    def owned(self, name: str, data: str) -> None:
        self.shelf[name] = BytesView(told(data))

    def static(self, name: str, data: str) -> None:
        self.shelf[name] = BytesView(told(data))

    def drop(self, name: str) -> None:
        self.shelf.pop(name, None)

    # Both kinds

    def len(self, name: str) -> str:
        return str(len(self.kept(name)))

    def get(self, name: str) -> str:
        return shown(self.seen(name))

    def debug(self, name: str) -> str:
        return f"{self.seen(name):?}"

    def lower(self, name: str) -> str:
        return f"{self.seen(name):x}"

    def upper(self, name: str) -> str:
        return f"{self.seen(name):X}"

    def compare(self, name: str, other: str) -> str:
        return order(self.seen(name), self.seen(other))

    def compare_bytes(self, name: str, data: str) -> str:
        view, other = self.seen(name), told(data)
        (said,) = {order(view, kind(other)) for kind in (bytes, bytearray, memoryview, BytesView)}
        return said

    def advance(self, name: str, nbytes: str) -> None:
        kept = self.kept(name)
        if isinstance(kept, BytesBuf):
            kept.consume(int(nbytes))
        else:
            self.shelf[name] = kept.split_at(int(nbytes))[1]

    def truncate(self, name: str, nbytes: str) -> None:
        kept = self.kept(name)
        if isinstance(kept, BytesBuf):
            kept.truncate(int(nbytes))
        else:
            self.shelf[name] = kept[: int(nbytes)]

    def clear(self, name: str) -> None:
        self.truncate(name, "0")

    def split_to(self, name: str, at: str, to: str) -> None:
        kept = self.kept(name)
        if isinstance(kept, BytesBuf):
            self.shelf[to] = kept.split_to(int(at))
        else:
            first, self.shelf[name] = kept.split_at(int(at))
            self.shelf[to] = first

    def split_off(self, name: str, at: str, to: str) -> None:
        kept = self.kept(name)
        if isinstance(kept, BytesBuf):
            self.shelf[to] = kept.split_off(int(at))
        else:
            self.shelf[name], last = kept.split_at(int(at))
            self.shelf[to] = last

    # Views only

    def clone(self, name: str, to: str) -> None:
        self.shelf[to] = self.view(name)[:]

    def range(self, name: str, start: str, stop: str, to: str) -> None:
        self.shelf[to] = self.view(name).range(int(start), int(stop))

    def range_ref(self, name: str, start: str, stop: str, to: str) -> None:
        view = self.view(name)
        self.shelf[to] = view.slice_ref(view.range(int(start), int(stop)).contiguous())

    def slice_ref_of(self, name: str, other: str) -> str:
        whole, part = self.view(name), self.view(other)
        return shown(whole.slice_ref(part))

    def unique(self, name: str) -> str:
        return str(self.view(name).is_unique()).lower()

    def thaw(self, name: str) -> str | None:
        buf = BytesBuf.try_from_unique(self.view(name))
        if buf is None:
            return "shared"
        self.shelf[name] = buf
        return None

    # Builders only

    def freeze(self, name: str) -> None:
        self.shelf[name] = self.builder(name).freeze()

    def put_slice(self, name: str, data: str) -> None:
        self.reserve(name, str(len(told(data))))
        self.builder(name).put_slice(told(data))

    def put_u32_be(self, name: str, value: str) -> None:
        self.reserve(name, "4")
        self.builder(name).put_u32_be(int(value))

    def put_repeated(self, name: str, value: str, count: str) -> None:
        self.reserve(name, count)
        self.builder(name).put_repeated(int(value), int(count))

    def extend(self, name: str, data: str) -> None:
        self.builder(name).extend(told(data))

    def extend_items(self, name: str, data: str) -> None:
        self.builder(name).extend(iter(told(data)))

    def resize(self, name: str, nbytes: str, value: str) -> None:
        self.builder(name).resize(int(nbytes), int(value))

    def reserve(self, name: str, nbytes: str) -> None:
        self.builder(name).reserve(int(nbytes))

    def reclaim(self, name: str, nbytes: str) -> str:
        return str(self.builder(name).try_reclaim(int(nbytes))).lower()

    def overwrite(self, name: str, at: str, data: str) -> None:
        self.builder(name).overwrite(int(at), told(data))

    def split(self, name: str, to: str) -> None:
        self.shelf[to] = self.builder(name).split()

    def unsplit(self, name: str, other: str) -> str:
        self.builder(name).unsplit(self.builder(other))
        del self.shelf[other]
        return "joined"

    def append(self, name: str, other: str) -> str:
        first, last = self.builder(name), self.builder(other)
        if first is last:
            raise Nothing
        joined = first.try_unsplit(last)
        if not joined:
            with pytest.raises(NotAdjacent):
                first.unsplit(last)
            first.put_view(last.consume_all())
        del self.shelf[other]
        return "joined" if joined else "copied"


PLAYERS: dict[str, Callable[[Iterator[str]], Any]] = {
    "read": Reading,
    "write": Writing,
    "keep": Keeping,
}


def ours(script: str) -> list[str]:
    """Play a script on ours."""
    head, *commands = script.split(";")
    words = iter(head.split())
    player = PLAYERS[next(words)](words)
    return [player.answer(*command.split()) for command in commands]
