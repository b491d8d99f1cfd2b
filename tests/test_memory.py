"""Claims about providers of memory: what each of them keeps, and what a bad one can do to nobody.

`provider_contract` is for every provider there is: a new one is added to `PROVIDERS`.
"""

from __future__ import annotations

import contextlib
import inspect
import mmap
import os
import resource
import sys
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np
import pytest
import trio
from pairs import closing, noise, put_now, socketpair
from threads import play_in_threads

from trio_bytesbuf import (
    BadMemory,
    BufferFull,
    BytesBuf,
    BytesView,
    GlobalPool,
    SocketStream,
    mem,
    testing,
)
from trio_bytesbuf.io._endpoint import Endpoint
from trio_bytesbuf.mem import (
    BLOCK_NBYTES_MAX,
    Block,
    BufferMemory,
    CallbackMemory,
    CappedPool,
    Memory,
    MemoryShared,
    OpaqueMemory,
    PageMemory,
    PlainMemory,
    SharedPool,
    TrackingPool,
)
from trio_bytesbuf.testing import (
    CountingMemory,
    FailingMemory,
    FixedBlockMemory,
    HookCalls,
    PoisoningPool,
    TransparentMemory,
    check_laws,
)

MIB = 1_048_576


def over_shared_memory() -> BufferMemory:
    """A provider over a segment of shared memory that has no name any more."""
    segment = SharedMemory(create=True, size=64 * 65_536)
    segment.unlink()
    return BufferMemory(segment.buf, 65_536, owner=segment)


PROVIDERS: dict[str, Callable[[], Memory]] = {
    "plain": PlainMemory,
    "pool": GlobalPool,
    "a pool that keeps nothing": lambda: GlobalPool(max_idle_nbytes=0),
    "tracking": TrackingPool,
    "poisoning": PoisoningPool,
    "pages": PageMemory,
    "capped": lambda: CappedPool(16 * MIB),
    "a share": lambda: CappedPool(16 * MIB).share(8 * MIB),
    "a bytearray": lambda: BufferMemory(bytearray(4 * MIB), 8192),
    "an array": lambda: BufferMemory(np.zeros((256, 1000), dtype="<i4"), 1001),
    "shared memory": over_shared_memory,
    "opaque": lambda: OpaqueMemory(GlobalPool()),
    "callback": lambda: CallbackMemory(GlobalPool().reserve),
    "callback that splits": lambda: CallbackMemory(
        lambda nbytes: PlainMemory().reserve(2 * nbytes).split_off_remaining(nbytes)
    ),
    "counting": lambda: CountingMemory(GlobalPool()),
    "counting a capped one": lambda: CountingMemory(OpaqueMemory(CappedPool(16 * MIB))),
    "failing, but not yet": lambda: FailingMemory(GlobalPool(), HookCalls(MemoryError)),
    "transparent": TransparentMemory,
    "blocks of 7": lambda: FixedBlockMemory(7),
    "blocks of a page": lambda: FixedBlockMemory(4096),
}
if hasattr(os, "memfd_create"):
    PROVIDERS["shared"] = SharedPool

every_provider = pytest.mark.parametrize("make", PROVIDERS.values(), ids=PROVIDERS.keys())


def provider_contract(memory: Memory) -> None:
    """Raise unless `memory` does what every provider must; it is to have 4 MiB to give."""
    kept: list[tuple[BytesView, bytes]] = []
    for number, nbytes in enumerate((0, 1, 7, 4096, 70_000)):
        data = noise(nbytes, number)
        kept.append((filled_in_one_go(memory, data), data))
        kept.append((filled_in_windows(memory, data), data))
        kept.append((filled_with_two_blocks_of_it(memory, data), data))
        kept.append((BytesView.copied_from_slice(data, memory), data))
    never_in_common(memory)
    window, _ = memory._lease(100)
    assert window.nbytes >= 1
    window[:] = bytes(window.nbytes)
    for view, data in kept:
        assert view == data, "a byte that was shown has changed"
        check_laws(view)
    for senseless, error in ((-1, ValueError), (1.0, TypeError), ("1", TypeError)):
        with pytest.raises(error):
            memory.reserve(senseless)
    with little_address_space(), pytest.raises(MemoryError, match="than this machine can address"):
        memory.reserve(sys.maxsize + 1)
    assert memory.reserve(np.uint8(200)).remaining_capacity >= 200
    assert memory.is_worth_keeping(1, 1) in (True, False)
    assert "object at" not in repr(memory), "a name by which nobody knows it"


@contextlib.contextmanager
def little_address_space() -> Iterator[None]:
    """Let the process have 1 GiB more at most, so that a test that goes wrong ends only itself."""
    if sys.platform != "linux":
        yield
        return
    used_nbytes = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used_nbytes + 1024 * MIB, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))


def filled_in_one_go(memory: Memory, data: bytes) -> BytesView:
    """Reserve, put and consume."""
    buf = memory.reserve(len(data))
    assert (len(buf), type(buf)) == (0, BytesBuf)  # it becomes one when first used
    assert buf.remaining_capacity >= len(data)
    check_laws(buf)
    buf.put_slice(data)
    check_laws(buf)
    return buf.consume(len(data))


def filled_in_windows(memory: Memory, data: bytes) -> BytesView:
    """Reserve in a builder that there is already, and write in place."""
    buf = BytesBuf()
    buf.reserve(len(data), memory)
    at = 0
    while at < len(data):
        window = buf.chunk_mut()
        nbytes = min(len(window), len(data) - at)
        window[:nbytes] = data[at : at + nbytes]
        buf.advance_mut(nbytes)
        at += nbytes
    check_laws(buf)
    return buf.consume_all()


def filled_with_two_blocks_of_it(memory: Memory, data: bytes) -> BytesView:
    """Ask for blocks, twice, and hand them to a builder: as a provider on top of this one would."""
    blocks = [*memory.blocks(len(data)), *memory.blocks(len(data))]
    assert all(type(block) is Block for block in blocks)
    buf = BytesBuf.from_blocks(blocks)
    assert buf.remaining_capacity >= 2 * len(data)
    check_laws(buf)
    buf.put_slice(data)
    buf.put_slice(bytes(len(data)))
    return buf.consume(len(data))


def never_in_common(memory: Memory) -> None:
    """Fill builders that live at the same time, in turns; each has its own bytes."""
    bufs = [memory.reserve(60) for _ in range(4)]
    for step in range(20):
        for value, buf in enumerate(bufs):
            buf.put_slice(bytes((value, step, value)))
    for value, buf in enumerate(bufs):
        assert buf.consume_all() == b"".join(bytes((value, step, value)) for step in range(20))


@every_provider
def test_every_provider_keeps_the_contract(make) -> None:
    """Twice with the same one, because a block that comes back must be as good as a new one."""
    memory = make()
    for _ in range(2):
        provider_contract(memory)


def test_no_provider_of_the_library_is_forgotten() -> None:
    """Each class of provider with a public name is in the table above; streams only pass on."""
    public = {
        value
        for room in (mem, testing)
        for value in vars(room).values()
        if isinstance(value, type) and issubclass(value, Memory) and not inspect.isabstract(value)
        if not issubclass(value, Endpoint)
    }
    assert public - {type(make()) for make in PROVIDERS.values()} == set()


@every_provider
def test_nothing_can_be_reserved_from_every_provider(make) -> None:
    """`reserve(0)` gives an empty builder, with or without room, which grows like any other."""
    memory = make()
    buf = memory.reserve(0)
    assert len(buf) == 0
    buf.reserve(10, memory)
    buf.put_slice(b"0123456789")
    assert buf.consume_all() == b"0123456789"
    assert BytesBuf.from_blocks(memory.blocks(0)).consume_all() == b""
    assert BytesView.copied_from_slice(b"", memory) == b""


@every_provider
def test_any_thread_may_reserve_at_any_time(make) -> None:
    """Four threads that fill, keep and drop see only their own bytes."""
    memory = make()
    assert isinstance(memory, MemoryShared)

    def play(value: int) -> None:
        kept: list[tuple[BytesView, bytes]] = []
        for step in range(60):
            data = bytes((value,)) * (1 + step * 37 % 3000)
            make_view = (filled_in_one_go, filled_in_windows)[step % 2]
            kept.append((make_view(memory, data), data))
            view, shown = kept[step % len(kept)]
            assert view == shown, "somebody else's bytes"
            if len(kept) > 3:
                del kept[step % 3]

    play_in_threads(play, range(1, 5), 1e-5)


@every_provider
async def test_streams_receive_into_every_provider(make) -> None:
    """Little and much, and what was received stays what it was."""
    a, b = await socketpair(make())
    async with closing(a, b):
        kept = []
        for number, nbytes in enumerate((1, 5000, 40_000, 1, 60_000)):
            data = noise(nbytes, number)
            put_now(a, data)
            got = BytesView()
            while len(got) < nbytes:
                got = got + await b.receive_view()
            kept.append((got, data))
        for view, data in kept:
            assert view == data
            check_laws(view)


# Bad providers: what they do, and what their user is told


class Bad(Memory):
    """Answers with whatever it is made of: a function of the number of bytes that are wanted."""

    def __init__(self, answer: Callable[[int], object]) -> None:
        self.answer = answer

    def blocks(self, nbytes: int, /) -> Iterable[Block]:
        return self.answer(nbytes)

    def __repr__(self) -> str:
        return "<a bad provider>"


class BadShared(Bad, MemoryShared):
    """The same, for those who want a provider that threads share."""


def of(nbytes: int) -> Block:
    """A good block."""
    return Block(bytearray(nbytes))


def owned(nbytes: int) -> Block:
    """A block that has an owner."""
    block = of(nbytes)
    BytesBuf.from_blocks([block])
    return block


def twice(nbytes: int) -> list[Block]:
    """A block that is handed over twice at once."""
    return [of(1)] + [of(nbytes)] * 2


class OtherBlock(Block):
    """A block that may do anything."""

    __slots__ = ()


async def receive(memory: Memory) -> None:
    """Receive with `memory`; if it fails, the bytes are still there for a better one."""
    a, b = await socketpair()
    async with closing(a, b):
        bad = SocketStream(b.socket, memory=memory)
        put_now(a, b"bytes")
        try:
            await bad.receive_view()
        except BaseException:
            assert await b.receive_view() == b"bytes", "bytes were lost"
            raise


def through_a_builder(memory: Memory) -> None:
    """Make room in a builder that has some; if it fails, the builder is as it was."""
    buf = PlainMemory().reserve(10)
    buf.put_slice(b"before")
    try:
        buf.reserve(100, memory)
    finally:
        check_laws(buf)
        if sys.exception() is not None:
            assert (len(buf), buf.remaining_capacity) == (6, 4)
        buf.put_slice(b"after"[:4])
        assert buf.consume_all() == b"beforeafte"


DOORS: dict[str, Callable[[Memory], object]] = {
    "reserve": lambda memory: memory.reserve(100),
    "a builder": through_a_builder,
    "copied_from_slice": lambda memory: BytesView.copied_from_slice(bytes(100), memory),
    "a receive": lambda memory: trio.run(receive, memory),
    "OpaqueMemory": lambda memory: OpaqueMemory(memory).reserve(100),
    "OpaqueMemory, blocks": lambda memory: BytesBuf().reserve(
        100,
        OpaqueMemory(memory),
    ),
    "CallbackMemory": lambda memory: CallbackMemory(memory.reserve).reserve(100),
    "CountingMemory": lambda memory: CountingMemory(memory).reserve(100),
    "CountingMemory, a receive": lambda memory: trio.run(receive, CountingMemory(memory)),
}
every_door = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS.keys())

ANSWERS: dict[str, tuple[Callable[[int], object], str]] = {
    "too little": (lambda n: [of(n - 1)], r"was asked for (\d+) bytes and gave \d+$"),
    "too little, in many": (lambda n: [of(1), of(n - 2)], "was asked for .* and gave"),
    "nothing": (lambda _: [], "was asked for .* and gave 0"),
    "an empty generator": (lambda n: (of(n) for _ in ()), "was asked for .* and gave 0"),
    "too little, by a generator": (lambda n: (of(n - 1) for _ in "x"), "was asked for .* gave"),
    "None": (lambda _: None, "gave a NoneType where blocks are wanted"),
    "a number": (lambda n: n, "gave a int where blocks are wanted"),
    "a str": (lambda n: "b" * n, "gave a str where a Block is wanted"),
    "bytes": (bytes, "gave a int where a Block is wanted"),
    "a memoryview": (lambda n: memoryview(bytearray(n)), "gave a int where a Block is wanted"),
    "a class": (lambda _: Block, "gave a ABCMeta|gave a type where blocks are wanted"),
    "bytearrays": (lambda n: [bytearray(n)], "gave a bytearray where a Block is wanted"),
    "a block": (of, "gave a Block where blocks are wanted"),
    "a builder": (PlainMemory().reserve, "gave a BytesBuf where blocks are wanted"),
    "a function": (lambda n: lambda: [of(n)], "gave a function where blocks are wanted"),
    "something among blocks": (lambda n: [of(n), None], "gave a NoneType where a Block is wanted"),
    "another kind of block": (lambda n: [OtherBlock(bytearray(n))], "gave a OtherBlock where a"),
    "a block twice": (twice, "gave a block that has an owner already"),
    "a block with an owner": (lambda n: [owned(n)], "gave a block that has an owner already"),
    "one with an owner among others": (
        lambda n: [of(n), owned(n)],
        "gave a block that has an owner",
    ),
}


@every_door
@pytest.mark.parametrize(("answer", "complaint"), ANSWERS.values(), ids=ANSWERS.keys())
def test_whoever_asks_a_bad_provider_is_told_what_it_did(door, answer, complaint) -> None:
    """The error has the provider's name, and whoever asked is as before."""
    with pytest.raises(BadMemory, match=f"^<a bad provider> {complaint}") as caught:
        door(BadShared(answer))
    assert caught.value.provider == "<a bad provider>"


@every_door
@pytest.mark.parametrize(
    "memory",
    [bytearray(100), PlainMemory, b"", 7, object()],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_provider_is_refused(door, memory) -> None:
    """Also a class where an instance is wanted."""
    with pytest.raises((TypeError, AttributeError)):
        door(memory)


@every_door
@pytest.mark.parametrize("error", [MemoryError, KeyError, ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("midway", [False, True])
def test_what_a_provider_raises_is_raised(door, error, midway) -> None:
    """At once or in the middle of its answer: it is the provider's own error, unchanged."""
    own = error("its own")

    def answer(nbytes: int) -> Iterable[Block]:
        if not midway:
            raise own
        return later(nbytes)

    def later(nbytes: int) -> Iterable[Block]:
        yield of(nbytes)
        raise own

    with pytest.raises(error) as caught:
        door(BadShared(answer))
    assert caught.value is own


BLOCKS_NOBODY_CAN_MAKE = {
    "read-only": (lambda n: Block(bytes(n)), "a block must be writable"),
    "a read-only view": (lambda n: Block(memoryview(bytearray(n)).toreadonly()), "be writable"),
    "empty": (lambda _: Block(bytearray()), "a block has 1 to 4294967295 bytes, not 0"),
    "with gaps": (lambda n: Block(memoryview(bytearray(2 * n))[::2]), "is not contiguous"),
    "a str": (lambda n: Block("b" * n), "bytes-like object is required"),
    "none": (lambda _: Block(None), "bytes-like object is required"),
}


@every_door
@pytest.mark.parametrize(
    ("make", "words"), BLOCKS_NOBODY_CAN_MAKE.values(), ids=BLOCKS_NOBODY_CAN_MAKE.keys()
)
def test_a_provider_cannot_even_make_a_bad_block(door, make, words) -> None:
    """The error is in its own code, so that its traceback names it; a stream names it as well."""
    with pytest.raises((TypeError, ValueError, BadMemory), match=words) as caught:
        door(BadShared(lambda nbytes: [make(nbytes)]))
    if isinstance(caught.value, BadMemory):
        assert "a bad provider" in caught.value.provider
    else:
        assert "blocks" in {entry.name for entry in caught.traceback}


def test_after_a_bad_answer_its_good_blocks_have_no_owner() -> None:
    """What was refused was not touched: it can be given to somebody else."""
    good, bad = of(50), owned(50)
    for answer in ([good, bad], [good, None], [good, good], [good]):
        with pytest.raises(BadMemory):
            Bad(lambda _, answer=answer: answer).reserve(51)
    assert BytesBuf.from_blocks([good]).remaining_capacity == 50


def test_a_block_that_was_given_before_is_refused_for_ever() -> None:
    """Also when its first owner is gone: views of it may be left."""
    block = of(10)
    memory = Bad(lambda _: [block])
    view = BytesView.copied_from_slice(b"0123456789", memory)
    for _ in range(2):
        with pytest.raises(BadMemory, match="has an owner already"):
            memory.reserve(10)
    with pytest.raises(BadMemory, match="has an owner already"):
        memory._lease(10)
    assert view == b"0123456789"


def test_a_block_that_was_leased_for_a_receive_has_an_owner() -> None:
    """A receive takes no builder, but the block is its own all the same."""
    block = of(10)
    memory = Bad(lambda _: [block])
    memory._lease(10)
    with pytest.raises(BadMemory, match="has an owner already"):
        memory.reserve(10)


def test_blocks_with_memory_in_common_are_found_by_the_laws() -> None:
    """Only there: to look when they are given would cost more than the lease."""
    memory = bytearray(20)
    apart = Bad(lambda _: [Block(memoryview(memory)[10:]), Block(memoryview(memory)[:10])])
    check_laws(apart.reserve(20))
    for parts in ([memory, memory], [memory, memoryview(memory)[19:]], [memory[:], memory, memory]):
        overlapping = Bad(lambda _, parts=parts: map(Block, parts)).reserve(20)
        with pytest.raises(AssertionError, match="two blocks have memory in common"):
            check_laws(overlapping)


def test_blocks_that_are_longer_than_asked_for_are_all_the_users() -> None:
    """A provider may give more, and more blocks; all of it is room."""
    buf = Bad(lambda nbytes: [of(2 * nbytes + 3) for _ in range(4)]).reserve(10)
    assert buf.remaining_capacity == 92
    buf.put_slice(noise(92))
    assert buf.consume_all() == noise(92)


def test_blocks_that_are_shorter_are_good_if_there_are_enough() -> None:
    """Down to a byte each, from any iterable, in its order."""
    buf = Bad(lambda nbytes: (of(1) for _ in range(nbytes))).reserve(30)
    buf.put_slice(noise(30))
    view = buf.consume_all()
    assert view == noise(30)
    assert len(view.pieces) == 30


def test_a_stream_reads_into_the_first_block_however_small() -> None:
    """A receive that would like 16 KiB and gets a byte receives a byte."""

    async def main() -> None:
        a, b = await socketpair()
        async with closing(a, b):
            small = SocketStream(
                b.socket, memory=Bad(lambda nbytes: (of(1) for _ in range(nbytes)))
            )
            put_now(a, b"bytes")
            assert await small.receive_view(1) == b"b"
            assert await small.receive_view() == b"ytes"

    trio.run(main)


@pytest.mark.counts_garbage
def test_a_provider_that_asks_itself_for_as_much_is_told_by_python() -> None:
    """There is no end to it but that of the stack, and the error says so."""

    class Endless(Memory):
        def blocks(self, nbytes: int, /):
            return [*self.blocks(nbytes)]

    with pytest.raises(RecursionError):
        Endless().reserve(1)
    callback: list[CallbackMemory] = []
    callback.append(CallbackMemory(lambda nbytes: callback[0].reserve(nbytes)))
    with pytest.raises(RecursionError):
        callback[0].reserve(1)


def test_a_provider_may_ask_itself_for_less() -> None:
    """Halves of halves, until they are small enough to be made."""

    def halves(nbytes: int) -> BytesBuf:
        if nbytes <= 10:
            return TransparentMemory().reserve(nbytes)
        buf = memory.reserve(nbytes // 2)
        buf.reserve(nbytes, memory)
        return buf

    memory = CallbackMemory(halves)
    buf = memory.reserve(1000)
    check_laws(buf)
    buf.put_slice(noise(1000))
    assert buf.consume_all() == noise(1000)


def test_an_error_of_a_provider_whose_name_cannot_be_told_is_still_an_error() -> None:
    """Its `repr` raises; so that is what is raised, and nobody gets memory."""

    class Nameless(Bad):
        def __repr__(self) -> str:
            raise KeyError("no name")

    block = of(5)
    with pytest.raises(KeyError, match="no name"):
        Nameless(lambda _: [block, None]).reserve(5)
    assert BytesBuf.from_blocks([block]).remaining_capacity == 5


# The largest block


@pytest.mark.skipif(sys.maxsize < 2**33, reason="needs 4 GiB of addresses")
@pytest.mark.skipif(not hasattr(mmap, "MAP_PRIVATE"), reason="needs a mapping that costs nothing")
def test_the_largest_block_has_a_byte_less_than_four_gibibytes() -> None:
    """One more is refused, and at the far end of the largest one bytes go where they should."""
    unreserved = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
    memory = mmap.mmap(-1, BLOCK_NBYTES_MAX + 1, flags=mmap.MAP_PRIVATE | unreserved)
    with pytest.raises(ValueError, match="a block has 1 to 4294967295 bytes, not 4294967296"):
        Block(memory)
    released: list[int] = []
    blocks = [Block(memoryview(memory)[:-1], on_release=lambda: released.append(1))]
    assert [*map(len, blocks)] == [BLOCK_NBYTES_MAX]
    buf = Bad(lambda _: blocks).reserve(BLOCK_NBYTES_MAX)
    end = buf.split_off_remaining(3)
    end.put_slice(b"end")
    buf.put_slice(b"start")
    assert (buf.remaining_capacity, end.remaining_capacity) == (BLOCK_NBYTES_MAX - 8, 0)
    assert memory[:5] == b"start"
    assert memory[-4:] == b"end\0"
    view = end.consume_all()
    blocks.clear()
    del buf, end
    assert (view, released) == (b"end", [])
    del view
    assert released == [1]


# OpaqueMemory


def test_an_opaque_memory_shows_nothing_of_the_one_behind() -> None:
    """Neither its name, nor its methods, nor a way to it that is public."""
    memory = OpaqueMemory(GlobalPool())
    assert repr(memory) == "OpaqueMemory(...)"
    public = {name for name in dir(memory) if not name.startswith("_")}
    assert public == {"blocks", "is_worth_keeping", "reserve"}


@pytest.mark.parametrize("make", [GlobalPool, PlainMemory, PageMemory, lambda: FixedBlockMemory(5)])
def test_an_opaque_memory_does_what_the_one_behind_does(make) -> None:
    """The same sizes for the same requests, however they are made, and the same advice."""
    plain, opaque = make(), OpaqueMemory(OpaqueMemory(make()))
    for nbytes in (0, 1, 5, 16_385, 70_000):
        assert plain.reserve(nbytes).remaining_capacity == opaque.reserve(nbytes).remaining_capacity
        assert [*map(len, plain.blocks(nbytes))] == [*map(len, opaque.blocks(nbytes))]
        if nbytes:
            left, right = plain._lease(nbytes), opaque._lease(nbytes)
            assert (left[0].nbytes, left[1]) == (right[0].nbytes, right[1])
        for filled in (1, 20_000):
            assert plain.is_worth_keeping(filled, 65_536) == opaque.is_worth_keeping(filled, 65_536)


async def test_a_stream_over_an_opaque_pool_is_as_over_the_pool() -> None:
    """It copies out what is not worth keeping, and asks small receives of no memory at all."""
    figures = []
    for memory in (GlobalPool(), OpaqueMemory(GlobalPool())):
        a, b = await socketpair(memory)
        async with closing(a, b):
            for nbytes in (100, 60_000, 100, 20_000):
                put_now(a, noise(nbytes))
                assert await b.receive_view() == noise(nbytes)
            figures.append((b.statistics(), b._plain_nbytes))
    assert figures[0] == figures[1]


@pytest.mark.parametrize("memory", [Bad(lambda n: [of(n)]), None, GlobalPool, 5])
def test_only_memory_that_threads_may_share_is_hidden(memory) -> None:
    """An `OpaqueMemory` says that threads may share it, so what is behind it must."""
    with pytest.raises(TypeError, match="a MemoryShared is wanted, not"):
        OpaqueMemory(memory)


# CallbackMemory


def test_a_callback_is_told_how_much_is_wanted() -> None:
    """An int of at least 0, each time, whatever kind of integer the user had."""
    wanted: list[int] = []

    def reserve(nbytes: int) -> BytesBuf:
        wanted.append(nbytes)
        return TransparentMemory().reserve(nbytes)

    memory = CallbackMemory(reserve)
    memory.reserve(0)
    memory.reserve(np.int16(300))
    memory.reserve(True)
    BytesBuf().reserve(7, memory)
    memory._lease(9)
    assert wanted == [0, 300, 1, 7, 9]
    assert {type(nbytes) for nbytes in wanted} == {int}


def test_the_blocks_of_a_callback_keep_their_order_meta_and_hooks() -> None:
    """What arrives is what the other provider gave, without a copy."""
    released: list[str] = []
    blocks = [
        Block(bytearray(size), meta=meta, on_release=lambda meta=meta: released.append(meta))
        for size, meta in ((3, "one"), (2, "two"), (4, "three"))
    ]
    memories = [block._memory.obj for block in blocks]
    memory = CallbackMemory(lambda _: BytesBuf.from_blocks(blocks))
    buf = memory.reserve(9)
    buf.put_slice(b"abcdefghi")
    view = buf.consume_all()
    assert [bytes(piece) for piece in view.pieces] == [b"abc", b"de", b"fghi"]
    assert view.metas == ("one", "two", "three")
    assert [piece.obj for piece in view.pieces] == memories
    blocks.clear()
    memories.clear()
    del buf
    assert released == []
    del view
    assert sorted(released) == ["one", "three", "two"]


def test_a_callback_may_return_what_is_left_of_a_builder() -> None:
    """Parts of blocks: behind bytes that were consumed, and both halves of a split."""
    source = PlainMemory().reserve(30)
    source.put_slice(b"header")
    header = source.consume_all()
    far = source.split_off_remaining(10)
    memories = iter((source, far))
    memory = CallbackMemory(lambda _: next(memories))
    near, far_again = memory.reserve(14), memory.reserve(10)
    near.put_slice(b"n" * 14)
    far_again.put_slice(b"f" * 10)
    check_laws(near)
    check_laws(far_again)
    assert (header, near.consume_all()) == (b"header", b"n" * 14)
    assert far_again.consume_all() == b"f" * 10


def test_a_builder_that_a_callback_keeps_is_empty_afterwards() -> None:
    """It has no room, can write nothing, and can be used like any other that is empty."""
    kept: list[BytesBuf] = []
    windows: list[memoryview] = []

    def reserve(nbytes: int) -> BytesBuf:
        kept.append(GlobalPool().reserve(nbytes))
        windows.append(kept[-1].chunk_mut())
        return kept[-1]

    memory = CallbackMemory(reserve)
    buf = memory.reserve(10)
    buf.put_slice(b"0123456789")
    assert (kept[0].capacity, kept[0].chunk_mut().nbytes) == (0, 0)
    check_laws(kept[0])
    with pytest.raises(BufferFull):
        kept[0].put_slice(b"x")
    with pytest.raises(ValueError, match="released"):
        windows[0][:1] = b"x"
    kept[0].reserve(5)
    kept[0].put_slice(b"other")
    assert (buf.consume_all(), kept[0].consume_all()) == (b"0123456789", b"other")


def filled(nbytes: int) -> BytesBuf:
    buf = PlainMemory().reserve(nbytes + 1)
    buf.put_slice(b"!")
    return buf


def with_a_slice_kept(nbytes: int) -> BytesBuf:
    buf = PlainMemory().reserve(nbytes)
    PENS.append(buf.chunk_mut()[:1])
    return buf


def in_the_middle_of_a_write(nbytes: int) -> BytesBuf:
    buf = PlainMemory().reserve(nbytes)
    PENS.append(buf.begin_vectored_write(1))
    return buf


def lent_to_a_reader(nbytes: int) -> BytesBuf:
    buf = PlainMemory().reserve(nbytes)
    buf._hand_over("a read")
    return buf


PENS: list[object] = []
RETURNS = {
    "None": (lambda _: None, "returned a NoneType where an empty BytesBuf is wanted"),
    "blocks": (lambda n: [of(n)], "returned a list where an empty BytesBuf is wanted"),
    "a view": (lambda n: BytesView(bytes(n)), "returned a BytesView where an empty BytesBuf"),
    "the class": (lambda _: BytesBuf, "returned a .* where an empty BytesBuf"),
    "a filled one": (filled, "returned a BytesBuf with 1 bytes in it"),
    "one with a view put in": (
        lambda n: BytesBuf.from_view(BytesView(bytes(n))),
        "returned a BytesBuf with 100 bytes in it",
    ),
    "too little": (lambda n: PlainMemory().reserve(n - 1), "was asked for 100 bytes and gave 99"),
    "an empty one": (lambda _: BytesBuf(), "was asked for 100 bytes and gave 0"),
    "a slice kept": (with_a_slice_kept, "returned a BytesBuf that is in use: a slice of memory"),
    "a write going on": (in_the_middle_of_a_write, "that is in use: a vectored write is going on"),
    "a read going on": (lent_to_a_reader, "that is in use: a read is going on"),
}


@pytest.mark.parametrize(("reserve_fn", "complaint"), RETURNS.values(), ids=RETURNS.keys())
def test_a_bad_callback_is_named(reserve_fn, complaint) -> None:
    """The error has the function's name."""
    memory = CallbackMemory(reserve_fn)
    name = r"^CallbackMemory\(<(function|class|bound method).*>\) "
    try:
        for ask in (memory.reserve, lambda nbytes: BytesBuf().reserve(nbytes, memory)):
            with pytest.raises(BadMemory, match=f"{name}.*{complaint}"):
                ask(100)
    finally:
        PENS.clear()


def test_a_callback_that_returns_the_same_builder_again_gave_nothing() -> None:
    """The second time there is no room in it; the first user notices nothing."""
    buf = PlainMemory().reserve(10)
    memory = CallbackMemory(lambda _: buf)
    first = memory.reserve(10)
    with pytest.raises(BadMemory, match="was asked for 10 bytes and gave 0"):
        memory.reserve(10)
    first.put_slice(b"0123456789")
    assert first.consume_all() == b"0123456789"


@pytest.mark.parametrize("reserve_fn", [None, 5, GlobalPool()])
def test_a_callback_is_something_to_call(reserve_fn) -> None:
    """It is refused when the provider is made, and not at the first request."""
    with pytest.raises(TypeError, match="a function is wanted, not"):
        CallbackMemory(reserve_fn)


def test_what_a_callback_raises_is_raised() -> None:
    """Unchanged, to whoever asked."""

    def fail(_: int) -> BytesBuf:
        raise LookupError("no context")

    with pytest.raises(LookupError, match="no context"):
        CallbackMemory(fail).reserve(1)
