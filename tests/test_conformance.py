"""`BUF_CHECKS` and `BUF_MUT_CHECKS`: every implementation passes them, and planted bugs do not."""

from __future__ import annotations

import array
import gzip
import io
import itertools
import mmap
import operator
import struct
import tempfile
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import cut_at

from trio_bytesbuf import BufferFull, BytesBuf, BytesReader, BytesView, GlobalPool, NotEnoughBytes
from trio_bytesbuf.seq import (
    Buf,
    BufMut,
    BytearrayMut,
    Chain,
    ChainMut,
    ChunksBuf,
    FileBuf,
    Limited,
    LimitedMut,
    SliceMut,
    as_buf,
    as_buf_mut,
)
from trio_bytesbuf.testing import BUF_CHECKS, BUF_MUT_CHECKS, FixedBlockMemory
from trio_bytesbuf.testing._conformance import DATA

# What is read


class Threes(Buf):
    """A user's: three methods, and no more than three bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def remaining(self) -> int:
        return len(self.data)

    def chunk(self) -> memoryview:
        return memoryview(self.data)[:3]

    def advance(self, nbytes: int) -> None:
        self.data = self.data[self._wanted(nbytes) :]


class Pieces(Buf):
    """A user's that shows all its pieces; what bugs are planted in."""

    def __init__(self, data: bytes) -> None:
        self.left = [data[at : at + 5] for at in range(0, len(data), 5)]

    def remaining(self) -> int:
        return sum(map(len, self.left))

    def chunk(self) -> memoryview:
        return memoryview(self.left[0] if self.left else b"")

    def advance(self, nbytes: int) -> None:
        missing = self._wanted(nbytes)
        while missing:
            step = min(missing, len(self.left[0]))
            self.left[0] = self.left[0][step:]
            missing -= step
            if not self.left[0]:
                del self.left[0]

    def chunks_vectored(self, max_chunks: int | None = None) -> tuple[memoryview, ...]:
        if max_chunks is not None and operator.index(max_chunks) < 0:
            raise ValueError("max_chunks must be at least 0")
        return tuple(map(memoryview, self.left))[:max_chunks]


class RealFiles:
    """Makes `FileBuf`s of files on disk, and closes those that nobody reads any more."""

    def __init__(self) -> None:
        self.files: deque[io.BufferedRandom] = deque()

    def __call__(self, data: bytes) -> Buf:
        if len(self.files) == 4:  # no check has more bufs at a time
            self.files.popleft().close()
        file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close_files`
        self.files.append(file)
        file.write(b"before" + data)
        file.seek(len(b"before"))
        return as_buf(file)


REAL_FILES = RealFiles()


@pytest.fixture(scope="module", autouse=True)
def close_files() -> Iterator[None]:
    yield
    while REAL_FILES.files:
        REAL_FILES.files.pop().close()


def every_byte(data: bytes) -> BytesView:
    return cut_at(data, set(range(len(data))))


def with_empties(data: bytes) -> deque[object]:
    """Return chunks of all kinds, with empty ones in front, between and behind."""
    parts = [b"", data[:5], bytearray(), array.array("B", data[5:9]), b"", every_byte(data[9:30])]
    return deque([*parts, BytesView(), memoryview(data)[30:], b""])


def at_once_growing(data: bytes) -> Buf:
    """Return a `ChunksBuf` whose deque got its chunks after it was made, and counted some."""
    chunks: deque[object] = deque()
    buf = ChunksBuf(chunks)
    for part in (data[:7], b"", data[7:20]):
        assert buf.remaining() <= len(data)
        chunks.append(part)
    chunks.append(data[20:])
    return buf


def moved_already(data: bytes) -> Buf:
    """Return a reader that is behind its first piece and in the middle of its second."""
    reader = BytesReader(BytesView(b"ab") + (b"cd" + data[:4]) + data[4:])
    reader.advance(4)
    return reader


BUFS: dict[str, Callable[[bytes], Buf]] = {
    "a reader of one piece": BytesReader,
    "a reader of single bytes": lambda data: BytesReader(every_byte(data)),
    "a reader of odd pieces": lambda data: BytesReader(cut_at(data, {1, 3, 4, 11, 12, 40})),
    "a reader in the middle": moved_already,
    "chunks": lambda data: ChunksBuf(with_empties(data)),
    "chunks that came later": at_once_growing,
    "a file in memory": lambda data: FileBuf(io.BytesIO(data)),
    "a file on disk": REAL_FILES,
    "a chain": lambda data: Chain(data[:9], data[9:]),
    "a chain of chains": lambda data: Chain(
        Chain(b"", Chain(data[:1], every_byte(data[1:6]))),
        Chain(Chain(b"", io.BytesIO(data[6:30])), Chain(deque([data[30:32], data[32:]]), b"")),
    ),
    "a chain of what shows little": lambda data: Chain(
        Threes(data[:10]), Chain(data[10:30], Threes(data[30:]))
    ),
    "a limit": lambda data: Limited(data + b"more", len(data)),
    "a limit of odd pieces": lambda data: Limited(
        cut_at(data + b"more", {2, 3, 9, 64, len(data)}), len(data)
    ),
    "a limit beyond the end": lambda data: Limited(Chain(data[:3], data[3:]), 10**30),
    "limits of limits": lambda data: Limited(Limited(Threes(data + b"more"), len(data)), 1000),
    "a user's": Threes,
    "a user's of pieces": Pieces,
    "as_buf of bytes": as_buf,
    "as_buf of a bytearray": lambda data: as_buf(bytearray(data)),
    "as_buf of an array": lambda data: as_buf(array.array("B", data)),
    "as_buf of numpy's": lambda data: as_buf(np.frombuffer(data, "u1")),
    "as_buf of a view": lambda data: as_buf(cut_at(data, {5, 6})),
    "as_buf of a deque": lambda data: as_buf(deque([data[:5], data[5:]])),
    "as_buf of a gzip file": lambda data: as_buf(
        gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(data, 0)))
    ),
}

check_names = operator.attrgetter("__name__")


@pytest.mark.parametrize("check", BUF_CHECKS, ids=check_names)
@pytest.mark.parametrize("make", BUFS.values(), ids=BUFS)
def test_every_buf_is_one(
    make: Callable[[bytes], Buf], check: Callable[[Callable[[bytes], Buf]], None]
) -> None:
    """All that read, over one piece and over hostile ones, do the same."""
    check(make)


@given(st.sets(st.integers(1, len(DATA) - 1)), st.data())
@settings(max_examples=15)
def test_every_buf_is_one_wherever_it_is_cut(cuts: set[int], data: st.DataObject) -> None:
    """The checks over drawn cuts, of which some go to the first and some to the last of a chain."""
    check = data.draw(
        st.sampled_from([check for check in BUF_CHECKS if "number" not in check.__name__])
    )
    near = data.draw(st.integers(0, len(DATA)))
    check(lambda given: BytesReader(cut_at(given, cuts)))
    check(lambda given: Chain(cut_at(given[:near], cuts), deque([given[near:]])))


# Bugs planted in what is read


class EmptyInTheMiddle(Pieces):
    def advance(self, nbytes: int) -> None:
        missing = self._wanted(nbytes)
        while missing:
            if not self.left[0]:
                del self.left[0]
            step = min(missing, len(self.left[0]))
            self.left[0] = self.left[0][step:]
            missing -= step


class GoesTooFar(Pieces):
    def advance(self, nbytes: int) -> None:
        super().advance(min(nbytes, self.remaining()))


class MovesAndRefuses(Pieces):
    def advance(self, nbytes: int) -> None:
        available = self.remaining()
        super().advance(min(operator.index(nbytes), available))
        if operator.index(nbytes) > available:
            raise NotEnoughBytes(requested=operator.index(nbytes), available=available)


class StaysInItsChunk(Pieces):
    def advance(self, nbytes: int) -> None:
        super().advance(min(self._wanted(nbytes), self.chunk().nbytes))


class WrongNumbers(Pieces):
    def advance(self, nbytes: int) -> None:
        if operator.index(nbytes) > self.remaining():
            raise NotEnoughBytes(requested=operator.index(nbytes), available=0)
        super().advance(nbytes)


class TruncatesCounts(Pieces):
    def advance(self, nbytes: float) -> None:
        super().advance(int(nbytes) if isinstance(nbytes, float) else nbytes)


class GoesBack(Pieces):
    def advance(self, nbytes: int) -> None:
        super().advance(max(0, operator.index(nbytes)))


class TryRaises(Pieces):
    def try_advance(self, nbytes: int) -> bool:
        self.advance(nbytes)
        return True


class CountsWhatWasRead(Pieces):
    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.nbytes = len(data)

    def __len__(self) -> int:
        return self.nbytes


class AlwaysTrue(Pieces):
    def __bool__(self) -> bool:
        return True


class ChunkOfBytes(Pieces):
    def chunk(self) -> memoryview:
        return bytes(super().chunk())  # type: ignore[return-value]


class ChunkRunsOver(Pieces):
    """As a limit that does not cut."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data + b"more")

    def remaining(self) -> int:
        return super().remaining() - len(b"more")

    def chunks_vectored(self, max_chunks: int | None = None) -> tuple[memoryview, ...]:
        return super().chunks_vectored(max_chunks) if self.remaining() else ()


class Bytes701(Chain):
    """A chain that shows what is behind chunks that it does not show: tokio-rs/bytes#701."""

    def __init__(self, data: bytes) -> None:
        super().__init__(Threes(data[:10]), data[10:])

    def chunks_vectored(self, max_chunks: int | None = None) -> tuple[memoryview, ...]:
        return (self.first.chunks_vectored() + self.last.chunks_vectored())[:max_chunks]


class Backwards(Pieces):
    def chunks_vectored(self, max_chunks: int | None = None) -> tuple[memoryview, ...]:
        return super().chunks_vectored(max_chunks)[::-1]


class ShowsEmpties(Pieces):
    def chunks_vectored(self, max_chunks: int | None = None) -> tuple[memoryview, ...]:
        return (*super().chunks_vectored(max_chunks), memoryview(b""))


class ShowsAll(Pieces):
    def chunks_vectored(self, max_chunks: int | None = None) -> tuple[memoryview, ...]:
        del max_chunks
        return super().chunks_vectored()


class ShowsNothing(Pieces):
    def chunks_vectored(self, max_chunks: int | None = None) -> tuple[memoryview, ...]:
        del max_chunks
        return ()


class ShowsAList(Pieces):
    def chunks_vectored(self, max_chunks: int | None = None) -> tuple[memoryview, ...]:
        return list(super().chunks_vectored(max_chunks))  # type: ignore[return-value]


class LittleForBig(Pieces):
    def get_u16_be(self) -> int:
        return self.get_u16_le()


class PeekIsUnsigned(Pieces):
    def peek_i8(self) -> int:
        return self.peek_u8()


class PeekMoves(Pieces):
    def peek_f64_le(self) -> float:
        return self.get_f64_le()


class TryMoves(Pieces):
    def try_get_i128_be(self) -> int | None:
        found = super().try_get_i128_be()
        if found is None:
            self.take_rest()
        return found


class RoundsFloats(Pieces):
    def get_f64_be(self) -> float:
        return struct.unpack(">f", struct.pack(">f", super().get_f64_be() % 1))[0]


class WidthsAreCut(Pieces):
    def get_uint_le(self, nbytes: int) -> int:
        return super().get_uint_le(min(operator.index(nbytes), 8))


class VarintByBytes(Pieces):
    def get_uleb128(self, max_bits: int = 64) -> int:
        del max_bits
        value = shift = 0
        while True:
            byte = self.get_u8()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7


class VarintWithoutLimit(Pieces):
    def get_sleb128(self, max_bits: int = 64) -> int:
        return super().get_sleb128(max_bits * 8)


class ZigzagIsSigned(Pieces):
    def peek_zigzag(self, max_bits: int = 64) -> int:
        return self.peek_sleb128(max_bits)


class StructsOfOnePiece(Pieces):
    def unpack(self, layout: struct.Struct | str) -> tuple[object, ...]:
        known = layout if isinstance(layout, struct.Struct) else struct.Struct(layout)
        data = self.chunk()[: known.size]
        self.advance(known.size)
        return known.unpack(bytes(data).ljust(known.size, b"\0"))


class TakesWhatThereIs(Pieces):
    def take(self, nbytes: int) -> BytesView:
        return super().take(min(operator.index(nbytes), self.remaining()))


class TakesBytes(Pieces):
    def take(self, nbytes: int) -> BytesView:
        return bytes(super().take(nbytes))  # type: ignore[return-value]


class PeeksTooFar(Pieces):
    def peek_view(self, nbytes: int) -> BytesView:
        return super().peek_view(min(self._wanted(nbytes) + 1, self.remaining()))


class RefusesToPeek(Pieces):
    def peek_view(self, nbytes: int) -> BytesView:
        if self.remaining() >= nbytes > self.chunk().nbytes:
            raise NotImplementedError
        return super().peek_view(nbytes)


class ReusesMemory(Pieces):
    """As a ring that is written to again while somebody reads what was taken."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.room = bytearray(100)

    def take(self, nbytes: int) -> BytesView:
        data = super().take(nbytes)
        self.room[: len(data)] = data
        return BytesView(memoryview(self.room)[: len(data)])


class CopiesHalf(Pieces):
    def copy_to_slice(self, target: bytearray) -> None:
        room = memoryview(target).cast("B")
        near = min(self.chunk().nbytes, room.nbytes)
        room[:near] = self.chunk()[:near]
        super().copy_to_slice(target)


class FillsWhatItCan(Pieces):
    def try_copy_to_slice(self, target: bytearray) -> bool:
        return super().try_copy_to_slice(memoryview(target).cast("B")[: self.remaining()])


class DrainsAhead(Pieces):
    def drain(self) -> Iterator[int]:
        yield from bytes(self.take_rest())


class DrainNeverEnds(Pieces):
    def drain(self) -> Iterator[int]:
        yield from super().drain()
        yield from itertools.repeat(0)


PLANTED_BUFS = [
    (EmptyInTheMiddle, "advances", "is empty, 62 bytes early"),
    (GoesTooFar, "advances", "advance.68. of a GoesTooFar returned None, not NotEnoughBytes"),
    (MovesAndRefuses, "advances", "after advance.68., remaining.. .* gave 0, not 67"),
    (StaysInItsChunk, "advances", "after advance.2., .* gave 62, not 61"),
    (StaysInItsChunk, "can_be_sent_by_chunks", "gave 62, not 0"),
    (WrongNumbers, "advances", "the available of what advance.68. .* gave 0, not 67"),
    (TruncatesCounts, "refuses_wrong_arguments", "advance.1.0. .* not TypeError"),
    (GoesBack, "refuses_wrong_arguments", "advance.-1. .* not ValueError"),
    (TryRaises, "advances", "try_advance.68. of a TryRaises raised NotEnoughBytes"),
    (CountsWhatWasRead, "advances", "the len of a CountsWhatWasRead gave 67, not 0"),
    (AlwaysTrue, "says_what_is_left", "the bool .* gave True, not False"),
    (ChunkOfBytes, "says_what_is_left", "chunk.. .* gave a bytes"),
    (ChunkRunsOver, "says_what_is_left", "has 4 bytes of 0"),
    (ChunkRunsOver, "is_put", "gave b"),
    (Bytes701, "shows_chunks_in_order", "chunks_vectored.None. of a Bytes701 gave b"),
    (Bytes701, "can_be_sent_by_chunks", "chunks_vectored.. of a Bytes701 gave b"),
    (Backwards, "shows_chunks_in_order", "chunks_vectored.None. of a Backwards gave b"),
    (ShowsEmpties, "says_what_is_left", "has an empty chunk among 1"),
    (ShowsAll, "shows_chunks_in_order", "chunks_vectored.0. .* shows 14 chunks"),
    (ShowsAll, "refuses_wrong_arguments", "chunks_vectored.-1. .* not ValueError"),
    (ShowsNothing, "says_what_is_left", "shows 0 chunks"),
    (ShowsAList, "says_what_is_left", "gave a list, not a tuple"),
    (LittleForBig, "reads_numbers", "get_u16_be.. of a LittleForBig gave"),
    (PeekIsUnsigned, "reads_numbers", "peek_i8.. of a PeekIsUnsigned gave 255, not -1"),
    (
        PeekMoves,
        "reads_numbers",
        "after peek_f64_le.. .*, remaining.. of a PeekMoves gave 59, not 67",
    ),
    (TryMoves, "reads_numbers", "after try_get_i128_be.. .*, remaining.. .* gave 0, not 3"),
    (RoundsFloats, "reads_numbers", "get_f64_be.. of a RoundsFloats gave"),
    (WidthsAreCut, "reads_numbers", "get_uint_le.9. of a WidthsAreCut gave"),
    (WidthsAreCut, "refuses_wrong_arguments", "get_uint_le.17. .* not ValueError"),
    (
        VarintByBytes,
        "reads_variable_lengths",
        "the requested of what get_uleb128.. .* gave 1, not 2",
    ),
    (VarintWithoutLimit, "reads_variable_lengths", "get_sleb128.64. .* not VarintTooLong"),
    (ZigzagIsSigned, "reads_variable_lengths", "peek_zigzag.. of a ZigzagIsSigned gave 1, not -1"),
    (StructsOfOnePiece, "reads_structs", "unpack.'>BH4s'. of a StructsOfOnePiece gave"),
    (TakesWhatThereIs, "takes_views", "take.1. .* not NotEnoughBytes"),
    (TakesBytes, "takes_views", "take.0. of a TakesBytes gave b'', not BytesView"),
    (PeeksTooFar, "takes_views", "peek_view.0. of a PeeksTooFar gave"),
    (RefusesToPeek, "takes_views", "peek_view.2. .* was refused, though 63 bytes are shown"),
    (ReusesMemory, "gives_views_that_stay", "later, take.1. of a ReusesMemory gave"),
    (CopiesHalf, "copies_into_memory", "refused, copy_to_slice"),
    (FillsWhatItCan, "copies_into_memory", "try_copy_to_slice.* gave True, not False"),
    (DrainsAhead, "drains", "after 1 bytes of drain.., remaining.. .* gave 0, not 66"),
    (DrainNeverEnds, "drains", "drain.. of a DrainNeverEnds gave"),
]


@pytest.mark.parametrize(
    ("planted", "name", "complaint"),
    PLANTED_BUFS,
    ids=[f"{planted.__name__}-{name}" for planted, name, _ in PLANTED_BUFS],
)
def test_a_planted_bug_is_found(planted: type[Buf], name: str, complaint: str) -> None:
    """A Buf that is wrong in one thing fails the check of that thing, and it is told what."""
    (check,) = (check for check in BUF_CHECKS if check.__name__ == name)
    with pytest.raises(AssertionError, match=complaint):
        check(planted)


def test_each_check_of_a_buf_can_fail() -> None:
    """None of them is there in vain."""
    assert {name for _, name, _ in PLANTED_BUFS} == {check.__name__ for check in BUF_CHECKS}


# What is filled


class Fives(BufMut):
    """A user's: three methods, and no more than five bytes of room at a time."""

    def __init__(self, nbytes: int) -> None:
        self.memory = bytearray(b"\xee" * nbytes)
        self.filled = 0

    def remaining_mut(self) -> int:
        return len(self.memory) - self.filled

    def chunk_mut(self) -> memoryview:
        return memoryview(self.memory)[self.filled : self.filled // 5 * 5 + 5]

    def advance_mut(self, nbytes: int) -> None:
        wanted = operator.index(nbytes)
        if wanted < 0:
            raise ValueError("nbytes must be at least 0")
        if wanted > self.chunk_mut().nbytes:
            raise BufferFull(requested=wanted, available=self.chunk_mut().nbytes)
        self.filled += wanted


def put_into(target: BufMut) -> bytes:
    """Return what was put into any of these."""
    match target:
        case BytesBuf():
            return bytes(target.peek())
        case BytearrayMut():
            return bytes(target.inner)
        case SliceMut():
            return bytes(target.filled)
        case ChainMut():
            return put_into(target.first) + put_into(target.last)
        case LimitedMut():
            return put_into(target.inner)
        case Fives():
            return bytes(target.memory[: target.filled])
        case _:
            raise TypeError(type(target).__name__)


POOL = GlobalPool()

BUF_MUTS: dict[str, Callable[[int], BufMut]] = {
    "a builder of single bytes": lambda nbytes: FixedBlockMemory(1).reserve(nbytes),
    "a builder of odd blocks": lambda nbytes: FixedBlockMemory(7).reserve(nbytes),
    "a builder of large odd blocks": lambda nbytes: FixedBlockMemory(50).reserve(nbytes),
    "a builder of the pool's": POOL.reserve,
    "a builder of a whole block": lambda _: POOL.reserve(65536),
    "a bytearray": lambda _: BytearrayMut(bytearray()),
    "as_buf_mut of a bytearray": lambda _: as_buf_mut(bytearray()),
    "a slice of a bytearray": lambda nbytes: SliceMut(memoryview(bytearray(nbytes + 9))[9:]),
    "as_buf_mut of a slice": lambda nbytes: as_buf_mut(memoryview(bytearray(nbytes))),
    "an array": lambda nbytes: SliceMut(array.array("I", [0] * (nbytes // 4 + 1))),
    "numpy's": lambda nbytes: SliceMut(np.zeros((3, nbytes // 6 + 1), "i2")),
    "a mapping": lambda nbytes: SliceMut(mmap.mmap(-1, nbytes + 1)),
    "a chain": lambda nbytes: ChainMut(
        memoryview(bytearray(nbytes // 2)), memoryview(bytearray(nbytes - nbytes // 2))
    ),
    "a chain of all kinds": lambda nbytes: ChainMut(
        ChainMut(FixedBlockMemory(3).reserve(3), memoryview(bytearray(0))),
        ChainMut(LimitedMut(bytearray(), 10), FixedBlockMemory(1).reserve(nbytes)),
    ),
    "a chain that grows at its end": lambda _: ChainMut(Fives(4), bytearray()),
    "a limit of a builder": lambda nbytes: LimitedMut(FixedBlockMemory(7).reserve(nbytes), nbytes),
    "a limit before the end": lambda nbytes: LimitedMut(Fives(nbytes + 50), nbytes),
    "a limit beyond the end": lambda nbytes: LimitedMut(Fives(nbytes), 10**30),
    "a limit of what grows": lambda nbytes: LimitedMut(bytearray(), nbytes),
    "a user's": Fives,
}

MutCheck = Callable[[Callable[[int], BufMut], Callable[[BufMut], bytes]], None]


@pytest.mark.parametrize("check", BUF_MUT_CHECKS, ids=check_names)
@pytest.mark.parametrize("make", BUF_MUTS.values(), ids=BUF_MUTS)
def test_every_buf_mut_is_one(make: Callable[[int], BufMut], check: MutCheck) -> None:
    """All that can be filled, of one piece or of crumbs, do the same."""
    check(make, put_into)


class PutsHalf(Fives):
    def put_slice(self, data: bytes) -> None:
        fits = memoryview(data).cast("B")[: self.remaining_mut()]
        super().put_slice(fits)
        if fits.nbytes < memoryview(data).nbytes:
            raise BufferFull(requested=memoryview(data).nbytes, available=fits.nbytes)


class PutsWhatFits(Fives):
    def put_slice(self, data: bytes) -> None:
        super().put_slice(memoryview(data).cast("B")[: self.remaining_mut()])


class WrongRoom(Fives):
    def put_slice(self, data: bytes) -> None:
        if memoryview(data).nbytes > self.remaining_mut():
            raise BufferFull(requested=memoryview(data).nbytes, available=0)
        super().put_slice(data)


class CountsMoreThanItLent(Fives):
    def advance_mut(self, nbytes: int) -> None:
        if nbytes == self.chunk_mut().nbytes + 1 <= self.remaining_mut():
            self.filled += nbytes
        super().advance_mut(nbytes)


class CountsAndRefuses(Fives):
    def advance_mut(self, nbytes: int) -> None:
        try:
            super().advance_mut(nbytes)
        except BufferFull:
            self.filled += 1
            raise


class CountsItAll(Fives):
    def advance_mut(self, nbytes: int) -> None:
        super().advance_mut(nbytes)
        if nbytes:
            self.filled += self.chunk_mut().nbytes % 5


class CountsBackwards(Fives):
    def advance_mut(self, nbytes: int) -> None:
        if operator.index(nbytes) >= 0:
            super().advance_mut(nbytes)


class LendsNothingInTheMiddle(Fives):
    def chunk_mut(self) -> memoryview:
        return super().chunk_mut()[: 0 if self.filled == 10 else 5]


class LendsReadOnly(Fives):
    def chunk_mut(self) -> memoryview:
        return super().chunk_mut().toreadonly()


class LendsTooMuch(Fives):
    def __init__(self, nbytes: int) -> None:
        super().__init__(nbytes + 1)

    def remaining_mut(self) -> int:
        return super().remaining_mut() - 1


class HasLessThanWanted(Fives):
    def __init__(self, nbytes: int) -> None:
        super().__init__(max(0, nbytes - 1))


class NeverGetsFull(Fives):
    def remaining_mut(self) -> int:
        return len(self.memory)


class AlwaysHasRoom(Fives):
    def has_remaining_mut(self) -> bool:
        return True


class KeepsTheSource(Fives):
    """Does not copy what it is given, as a list of chunks that is joined at the end."""

    def __init__(self, nbytes: int) -> None:
        super().__init__(nbytes)
        self.kept: list[tuple[int, bytearray]] = []

    def put_slice(self, data: bytes) -> None:
        self.kept.append((self.filled, data)) if isinstance(data, bytearray) else None
        super().put_slice(data)

    def remaining_mut(self) -> int:
        for at, data in self.kept:
            self.memory[at : at + len(data)] = data
        return super().remaining_mut()


class TakesText(Fives):
    def put_slice(self, data: bytes) -> None:
        super().put_slice(data.encode() if isinstance(data, str) else data)


class PutMovesAndRefuses(Fives):
    def put(self, source: Buf) -> None:
        data = as_buf(source).take_rest()
        self.put_slice(data)


class PutLeavesTheSource(Fives):
    def put(self, source: Buf) -> None:
        buf = as_buf(source)
        self.put_slice(buf.peek_view(buf.remaining()))


class PutsOneChunk(Fives):
    def put(self, source: Buf) -> None:
        buf = as_buf(source)
        self._refuse_if_too_much(buf.remaining())
        self.put_slice(buf.chunk())
        buf.take_rest()


class PutsLittleForBig(Fives):
    def put_u16_be(self, value: int) -> None:
        self.put_u16_le(value)


class WrapsAround(Fives):
    def put_i32_le(self, value: int) -> None:
        self.put_u32_le(value & 0xFFFFFFFF)


class TruncatesFloats(Fives):
    def put_u8(self, value: int) -> None:
        super().put_u8(int(value) if isinstance(value, float) else value)


class WidthsTooLarge(Fives):
    def put_uint_be(self, value: int, nbytes: int) -> None:
        self.put_slice(value.to_bytes(nbytes, "big")) if nbytes == 17 else super().put_uint_be(
            value, nbytes
        )


class PutsZigzagForSigned(Fives):
    def put_sleb128(self, value: int, max_bits: int = 64) -> None:
        self.put_zigzag(value, max_bits)


class PutsLongVarints(Fives):
    def put_uleb128(self, value: int, max_bits: int = 64) -> None:
        super().put_uleb128(value, max_bits if value < 0 else max_bits * 2)


class AlwaysUtf8(Fives):
    def put_str(self, text: str, encoding: str = "utf-8", errors: str = "strict") -> None:
        del encoding, errors
        super().put_str(text)


class RepeatsModulo256(Fives):
    def put_repeated(self, value: int, count: int) -> None:
        super().put_repeated(value & 255 if isinstance(value, int) and value > 0 else value, count)


PLANTED_BUF_MUTS = [
    (
        PutsHalf,
        "puts_all_or_nothing",
        "put_slice.* that was refused, remaining_mut.. .* gave 0, not",
    ),
    (PutsWhatFits, "puts_all_or_nothing", "put_slice.* returned None, not BufferFull"),
    (WrongRoom, "puts_all_or_nothing", "the available of what put_slice.* gave 0, not 1"),
    (CountsMoreThanItLent, "lends_room", "the available of what advance_mut.6. .* gave 4, not 5"),
    (CountsAndRefuses, "lends_room", "after advance_mut.1., remaining_mut.. .* gave 64, not 66"),
    (CountsItAll, "lends_room", "after advance_mut.1., remaining_mut.. .* gave 62, not 66"),
    (CountsBackwards, "lends_room", "advance_mut.-1. .* not ValueError"),
    (LendsNothingInTheMiddle, "lends_room", "chunk_mut.. .* has 0 bytes of 57"),
    (LendsNothingInTheMiddle, "lends_all_its_room", "chunk_mut.. .* has 0 bytes of 57"),
    (LendsReadOnly, "says_what_room_there_is", "chunk_mut.. .* cannot be written to"),
    (LendsTooMuch, "says_what_room_there_is", "chunk_mut.. .* has 1 bytes of 0"),
    (HasLessThanWanted, "says_what_room_there_is", "remaining_mut.. .* gave 0, less than 1"),
    (NeverGetsFull, "says_what_room_there_is", "remaining_mut.. .* gave 1, not 0"),
    (AlwaysHasRoom, "says_what_room_there_is", "has_remaining_mut.. .* gave True, not False"),
    (KeepsTheSource, "puts_slices", "after its source has changed, what was put"),
    (TakesText, "puts_slices", "put_slice.'text'. of a TakesText returned None, not TypeError"),
    (PutMovesAndRefuses, "puts_all_or_nothing", "a source that was not put, gave 0, not 1"),
    (PutLeavesTheSource, "puts_bufs", "a source that was put, gave 67, not 0"),
    (PutsOneChunk, "puts_bufs", "after put.*, remaining_mut"),
    (PutsLittleForBig, "puts_numbers", "after put_u16_be.*, what was put gave"),
    (WrapsAround, "puts_numbers", "put_i32_le.4294967296. .* not OverflowError"),
    (TruncatesFloats, "puts_numbers", "put_u8.1.0. .* returned None, not TypeError"),
    (WidthsTooLarge, "puts_numbers", "put_uint_be.0, 17. .* not ValueError"),
    (PutsZigzagForSigned, "puts_variable_lengths", "after put_sleb128.-1. .*, what was put gave"),
    (PutsLongVarints, "puts_variable_lengths", "put_uleb128.18.*, 64. .* not OverflowError"),
    (AlwaysUtf8, "puts_structs_and_text", "after put_str.'grün', 'latin-1'. .*gave 76, not 77"),
    (RepeatsModulo256, "puts_structs_and_text", "put_repeated.256, 1. .* not ValueError"),
]


@pytest.mark.parametrize(
    ("planted", "name", "complaint"),
    PLANTED_BUF_MUTS,
    ids=[f"{planted.__name__}-{name}" for planted, name, _ in PLANTED_BUF_MUTS],
)
def test_a_bug_planted_in_a_buf_mut_is_found(
    planted: type[BufMut], name: str, complaint: str
) -> None:
    """A BufMut that is wrong in one thing fails the check of that thing, and it is told what."""
    (check,) = (check for check in BUF_MUT_CHECKS if check.__name__ == name)
    with pytest.raises(AssertionError, match=complaint):
        check(planted, put_into)


def test_each_check_of_a_buf_mut_can_fail() -> None:
    """None of them is there in vain."""
    assert {name for _, name, _ in PLANTED_BUF_MUTS} == {check.__name__ for check in BUF_MUT_CHECKS}
