"""Law 3 of `_proof` at each place that asks for a count: it asks as the law says, and is right.

The number at a place is right if what one reference more can see is refused, and what nobody sees
is not. Both are asked thousands of times, because the interpreter runs other instructions
when a place is warm, and machine code where it has a compiler for that.
"""

import ast
import contextlib
import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

import trio_bytesbuf
from trio_bytesbuf import BufferFull, BytesBuf, BytesView
from trio_bytesbuf.io import _from_trio
from trio_bytesbuf.mem import (
    BufferMemory,
    SharedPool,
    TrackingPool,
    _arena,
    _holders,
    _ledger,
    _shared,
    _shelf,
    _tracking,
)
from trio_bytesbuf.mem._shelf import Shelf
from trio_bytesbuf.seq import Block, _builder_contents, _exports, _proof, _release, _unique

FILES = sorted(Path(trio_bytesbuf.__file__).parent.rglob("*.py"))
ROUNDS = 400
MANY_ROUNDS = 6000


@attrs.frozen
class Place:
    """Where a count is asked for: `ask(hold)` says what it finds while `hold` may see."""

    ask: Callable[[bool], bool]
    module: object
    number: str
    """What the count is compared with."""


PLACES: dict[str, Place] = {}


def place(module: object, number: str = "_LONE") -> Callable:
    def add(ask: Callable[[bool], bool]) -> Callable[[bool], bool]:
        PLACES[ask.__name__] = Place(ask, module, number)
        return ask

    return add


def seer(memory: object, see: bool) -> memoryview | None:
    """Return somebody who sees the memory, or nobody."""
    return memoryview(memory) if see else None


@place(_shelf)
def the_newest_of_a_shelf(see):
    shelf = Shelf(16, 1, bytearray)
    held = seer(shelf.lease(), see)
    shelf.lease()
    del held
    return shelf._allocated == 1


@place(_shelf)
def the_oldest_of_a_shelf(see):
    shelf = Shelf(16, 2, bytearray)
    oldest = shelf.lease()
    newest = shelf.lease()
    held = seer(oldest, see)
    del oldest
    shelf.lease()
    del held, newest
    return shelf._allocated == 2


@place(_shelf)
def the_statistics_of_a_shelf(see):
    shelf = Shelf(16, 1, bytearray)
    held = seer(shelf.lease(), see)
    idle = shelf.statistics().idle_nbytes
    del held
    return idle == 16


@place(_tracking)
def what_a_tracker_has_at_home(see):
    shelf = _tracking._TrackedShelf(16, 1, bytearray)
    shelf._ring.append(bytearray(16))
    held = seer(shelf._ring[0], see)
    shelf.lease()
    del held
    return shelf._allocated == 0


@place(_tracking)
def what_a_tracker_has_on_record(see):
    pool = TrackingPool()
    buf = pool.reserve(20_000)
    (record,) = pool._book._out.values()
    held = seer(record.block, see)
    del buf, record
    out = pool._book.sweep()
    del held
    return not out


@place(_arena, "_FREE")
def a_part_of_a_buffer_that_was_used(see):
    memory = BufferMemory(bytearray(16), 16)
    memory._claim()
    return can_be_claimed(memory, see)


@place(_arena, "_FREE")
def a_part_of_a_buffer_that_was_not_used(see):
    return can_be_claimed(BufferMemory(bytearray(16), 16), see)


def can_be_claimed(memory, see):
    held = seer(memory._blocks[0], see)
    try:
        memory.blocks(1)
    except BufferFull:
        return False
    finally:
        del held
    return True


@place(_arena, "_IDLE")
def the_statistics_of_a_buffer(see):
    memory = BufferMemory(bytearray(16), 16)
    held = seer(memory._blocks[0], see)
    idle = memory.statistics().idle_nbytes
    del held
    return idle == 16


@place(_ledger, "_HELD")
def the_books_of_a_cap(see):
    ledger = _ledger.Ledger(_ledger.Account(10_000), 0)
    loan = ledger._lend(4096, (ledger.total,))
    held = seer(loan.memory, see)
    home = ledger._is_home(loan)
    del held
    return home


@place(_unique, "_OF_BLOCK")
def a_block_of_a_builder(see):
    block = Block(bytearray(16))
    held = seer(block._memory, see)
    alone = _unique.is_alone(block)
    del held
    return alone


@place(_unique, "_OF_BLOCK")
def the_exporter_of_a_block(see):
    block = Block(bytearray(16))
    held = seer(block._memory.obj, see)
    alone = _unique.is_alone(block)
    del held
    return alone


@place(_unique, "_OF_VIEW")
def the_tuple_of_a_view(see):
    view = BytesView(bytearray(4))
    held = view._pieces if see else None
    alone = view.is_unique()
    del held
    return alone


@place(_unique, "_OF_VIEW")
def a_piece_of_a_view(see):
    view = BytesView(bytearray(4))
    held = view._pieces[0] if see else None
    alone = view.is_unique()
    del held
    return alone


@place(_unique, "_OF_VIEW")
def a_slice_of_a_view(see):
    view = BytesView(bytearray(4))
    held = seer(view._pieces[0], see)
    alone = view.is_unique()
    del held
    return alone


@place(_unique, "_OF_VIEW")
def the_exporter_of_a_view(see):
    view = BytesView(bytearray(4))
    held = seer(view._pieces[0].obj, see)
    alone = view.is_unique()
    del held
    return alone


@place(_proof, "REFERENCES_TO_A_LONE_EXPORTER")
def the_slices_of_a_window(see):
    window = _proof.own_memoryview(bytearray(4))
    held = seer(window, see)
    is_open = _proof.open_slices(window)
    del held
    return not is_open


@place(_from_trio, "REFERENCES_TO_A_LONE_EXPORTER")
def what_a_stream_of_somebody_else_returns(see):
    kept = []

    class Stream:
        async def receive_some(self, _):
            data = bytearray(4)
            if see:
                kept.append(data)
            return data

    receiving = _from_trio.ReceiveAdapter(Stream(), None)._receive_view(None)
    with pytest.raises(StopIteration) as stop:
        receiving.send(None)
    return type(stop.value.value.pieces[0].obj) is bytearray


@place(_builder_contents, "REFERENCES_TO_A_LONE_EXPORTER")
def a_piece_that_no_view_has_seen(see):
    buf = BytesBuf.with_capacity(16)
    buf.put_slice(b"1234567890")
    buf.put_view(BytesView(bytes(2000)))
    held = buf._pieces[0] if see else None
    try:
        _builder_contents.check_contents(buf)
    except AssertionError:
        return False
    finally:
        del held
    return True


@place(_release, "_REFERENCES_WHILE_DYING")
def a_lease_whose_finalizer_runs(see):
    believed = []

    def hook():
        frame = sys._getframe()
        while frame is not None and frame.f_code is not _release._after_collection.__code__:
            frame = frame.f_back
        believed.append(frame is None)

    garbage = [BytesBuf.from_blocks([Block(bytearray(16), on_release=hook)]).chunk_mut()]
    if see:
        garbage.append(garbage)
    del garbage
    gc.collect()  # of all generations: only so is it certain that the lease is in the garbage, too
    return believed == [True]


if not _exports.COLLECTOR_IS_SAFE:

    @place(_exports)
    def a_slice_that_went_into_a_pickle(see):
        (buffer,) = _exports.pickle_buffers_of(BytesView(b"abcd")._pieces, (None,))
        before = len(_exports._EXPORTED)
        held = buffer if see else None
        del buffer
        _exports.forget_what_exports_nothing()
        forgotten = len(_exports._EXPORTED) < before
        del held
        _exports.forget_what_exports_nothing()
        return forgotten


if _holders._SNAPSHOTS_STAY:

    @place(_holders, "_REFERENCES_TO_A_SNAPSHOT")
    def a_snapshot_of_local_variables(see):
        kept = []

        def look():
            thing = Shelf(16, 1, bytearray)
            death = weakref.ref(thing)
            if see:
                kept.append(locals())
            _holders._variables_of(sys._getframe())
            return death

        death = look()
        return death() is None


NOT_ASKED = {
    *((_exports,) if _exports.COLLECTOR_IS_SAFE else ()),
    *((_holders,) if not _holders._SNAPSHOTS_STAY else ()),
    *((_shared,) if sys.platform != "linux" else ()),
}
"""What asks for no count where these tests run."""


if sys.platform == "linux":

    @place(_shared)
    def a_block_for_other_processes(see):
        pool = SharedPool()
        (block,) = pool.blocks(1)
        held = seer(block._memory, see)
        del block
        pool.blocks(1)
        del held
        return pool._shelves[0]._allocated == 1

    @place(_shared)
    def the_statistics_of_blocks_for_other_processes(see):
        pool = SharedPool()
        (block,) = pool.blocks(1)
        held = seer(block._memory, see)
        del block
        idle = pool._shelves[0].statistics().idle_nbytes
        del held
        return idle > 0


DEAR = {a_lease_whose_finalizer_runs.__name__}
CHEAP = [name for name in PLACES if name not in DEAR and "other_processes" not in name]


def check_place(ask: Callable[[bool], bool], rounds: int = ROUNDS) -> None:
    """Raise AssertionError if the place is wrong once, cold or warm."""
    for _ in range(rounds):
        assert not ask(True), "what somebody sees counts as free"
        assert ask(False), "what nobody sees is not found free"


@pytest.mark.parametrize("name", PLACES)
def test_what_is_seen_is_refused_and_what_is_not_is_found_free(name) -> None:
    """At each place, with one that sees and with none."""
    check_place(PLACES[name].ask, ROUNDS if name in CHEAP else ROUNDS // 20)


@contextlib.contextmanager
def one_too_high(place: Place) -> Iterator[None]:
    """Have the place believe in one reference more."""
    with pytest.MonkeyPatch.context() as patch:
        number = getattr(place.module, place.number)
        if isinstance(number, int):
            patch.setattr(place.module, place.number, number + 1)
        else:  # any one of its numbers: what is counted is equal to one of these
            patch.setattr(place.module, place.number, AnyOf(number))
        yield


class AnyOf(tuple):
    """Numbers of which one may be one too high."""

    __slots__ = ()
    __hash__ = None

    def __eq__(self, counts):
        return max(map(int.__sub__, counts, self)) <= 1


@pytest.mark.parametrize("name", PLACES)
def test_a_number_that_is_one_too_high_is_caught(name) -> None:
    """At each place what somebody sees is then called free; one too low finds nothing free."""
    with one_too_high(PLACES[name]), pytest.raises(AssertionError, match="what somebody sees"):
        check_place(PLACES[name].ask, 1)


@pytest.mark.parametrize("by", [1, -1])
def test_an_import_with_another_number_is_refused(monkeypatch, by) -> None:
    """The check of the import knows the number in each form of Law 3."""
    number = "REFERENCES_TO_A_LONE_EXPORTER"
    monkeypatch.setattr(_proof, number, getattr(_proof, number) + by)
    with pytest.raises(ImportError, match="they prove nothing"):
        _proof.check_proofs()


@pytest.mark.parametrize("lent", range(4))
def test_an_interpreter_that_lends_one_of_the_forms_is_refused(monkeypatch, lent) -> None:
    """If it does not count what it lends to one of the calls that ask, nothing is proved."""
    asked = -1

    def getrefcount(thing):
        nonlocal asked
        asked += 1
        return sys.getrefcount((thing,)[0]) - 1 - (asked % 4 == lent)  # 1: `thing` itself

    monkeypatch.setattr(_proof, "getrefcount", getrefcount)
    with pytest.raises(ImportError, match="they prove nothing"):
        _proof.check_proofs()


def test_the_places_are_right_where_code_is_compiled() -> None:
    """With the compiler of CPython 3.13 and later, if this one was built with it."""
    script = f"""
import sys
sys.path.append({str(Path(__file__).parent)!r})
import test_proof_places as places
for name in places.CHEAP:
    places.check_place(places.PLACES[name].ask, {MANY_ROUNDS})
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHON_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# How it is asked


def is_made_by(asked: ast.expr) -> bool:
    """Say whether an expression is one of the forms of Law 3."""
    if isinstance(asked, ast.NamedExpr):
        return is_made_by(asked.value)
    if isinstance(asked, ast.IfExp):
        return is_made_by(asked.body) and is_made_by(asked.orelse)
    return isinstance(asked, ast.Call | ast.Attribute | ast.Subscript | ast.Await)


def wrong_askers(source: str) -> list[str]:
    """Return what asks for a count otherwise than Law 3 says, as it is written."""
    tree = ast.parse(source)
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and is_getrefcount(node.func)
    ]
    called = {id(call.func) for call in calls}
    wrong = [call for call in calls if len(call.args) != 1 or not is_made_by(call.args[0])]
    passed_on = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.expr) and is_getrefcount(node) and id(node) not in called
    ]
    return [ast.unparse(node) for node in (*wrong, *passed_on)]


def is_getrefcount(node: ast.expr) -> bool:
    name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", None)
    return name == "getrefcount"


def test_no_count_of_a_local_variable_is_asked_for() -> None:
    """In the whole package, at places that do not exist yet, too."""
    assert {str(path): wrong for path in FILES if (wrong := wrong_askers(path.read_text()))} == {}


def test_every_module_that_asks_has_a_place_here() -> None:
    """And no other has."""
    asking = {str(path) for path in FILES if "getrefcount" in imported(path.read_text())}
    modules = {place.module for place in PLACES.values()} | NOT_ASKED
    assert asking == {module.__file__ for module in modules}


def imported(source: str) -> set[str]:
    """Return the names that a module imports from others."""
    return {
        alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize(
    "source",
    [
        "getrefcount(block)",
        "sys.getrefcount(block)",
        "getrefcount(block := other)",
        "getrefcount(ring.pop() if newest else block)",
        "getrefcount(*blocks)",
        "map(getrefcount, blocks)",
        "ask = sys.getrefcount",
    ],
)
def test_a_place_that_asks_otherwise_is_seen(source) -> None:
    """Whatever could be lent, or cannot be told from here."""
    assert wrong_askers(source)


@pytest.mark.parametrize(
    "source",
    [
        "getrefcount(block := ring.pop())",
        "getrefcount(record.block)",
        "getrefcount(blocks[index])",
        "getrefcount((self,)[0])",
        "getrefcount(data := await stream.receive_some())",
    ],
)
def test_the_forms_of_the_law_are_known(source) -> None:
    """What an expression has just made is a reference of its own."""
    assert wrong_askers(source) == []
