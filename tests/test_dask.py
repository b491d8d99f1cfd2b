"""Claims about views in Dask: every byte that leaves a process leaves from where it lies."""

import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import attrs
import numpy as np
import pytest

from trio_bytesbuf import BytesView, GlobalPool
from trio_bytesbuf.mem import _dask
from trio_bytesbuf.mem._pool import BLOCK_SIZES
from trio_bytesbuf.seq import _exports
from trio_bytesbuf.testing import check_laws

distributed = pytest.importorskip("distributed", reason="Dask is an extra, and not installed")

from dask.sizeof import sizeof  # noqa: E402
from distributed.comm import tcp  # noqa: E402
from distributed.protocol import (  # noqa: E402
    deserialize_bytes,
    dumps,
    loads,
    serialize,
    serialize_bytes,
    to_serialize,
)
from distributed.protocol import utils as dask_utils  # noqa: E402

_dask.register(sizeof)  # what the entry point does, if this process's Dask was imported without it

NBYTES = 3_000_000
ENTRY = "trio_bytesbuf = trio_bytesbuf.mem._dask:register"

Place = tuple[int, int]

# What crosses the border of a process, in that process. The frames are kept, so that
# their memory is nobody else's, and equal addresses mean the same memory.
SENT: list[object] = []
RECEIVED: list[object] = []


def place_of(buffer: object) -> Place:
    """Return where in memory a buffer begins, and how long it is."""
    array = np.frombuffer(buffer, dtype="u1")
    return array.__array_interface__["data"][0], array.nbytes


def places(view: BytesView) -> list[Place]:
    return [place_of(piece) for piece in view.pieces]


def lies_in(place: Place, frames: list[Place]) -> bool:
    """Say whether a piece of memory is part of one frame."""
    start, nbytes = place
    return any(at <= start and start + nbytes <= at + length for at, length in frames)


def record() -> None:
    """Note what this process's TCP gives to the kernel and what it got from it."""
    if tcp.to_frames.__name__ == "noted_to":
        return
    to_frames, from_frames = tcp.to_frames, tcp.from_frames

    async def noted_to(*args, **kwargs):
        frames = await to_frames(*args, **kwargs)
        SENT.extend(frames)
        return frames

    async def noted_from(frames, *args, **kwargs):
        RECEIVED.extend(frames)
        return await from_frames(frames, *args, **kwargs)

    tcp.to_frames, tcp.from_frames = noted_to, noted_from


def recorded() -> tuple[list[Place], list[Place]]:
    """Return the frames that this process sent and received, and forget them."""
    both = [[place_of(frame) for frame in frames if len(frame)] for frames in (SENT, RECEIVED)]
    SENT.clear()
    RECEIVED.clear()
    return both[0], both[1]


@attrs.define
class Report:
    """Where a view lay in a worker."""

    pid: int
    pieces: list[Place]
    total: int


@attrs.define
class Letter:
    """A view inside something that Dask does not know."""

    view: BytesView


def passed_on(view: BytesView) -> BytesView:
    """Return the view itself; it stays in the worker's memory under this task's name."""
    check_laws(view)
    return view


def looked_at(value: object) -> Report:
    """Run in the worker that has the view."""
    view = value.view if isinstance(value, Letter) else value
    return Report(os.getpid(), places(view), sum(view.to_bytes()))


def some_bytes(pool: GlobalPool, nbytes: int = NBYTES) -> BytesView:
    """Return random bytes in several blocks of `pool`, beginning in the middle of one."""
    data = np.random.default_rng(1).bytes(nbytes + 1000)
    return BytesView.copied_from_slice(data, pool)[500:-500]


def site_with_the_entry_point(folder: Path) -> Path:
    """Lay an installed distribution into `folder` that has our entry point and nothing else."""
    info = folder / "trio_bytesbuf_entry-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trio-bytesbuf-entry\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[dask.sizeof]\n{ENTRY}\n")
    return folder


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A scheduler here, and two workers in processes of their own that only Dask has set up."""
    folder = tmp_path_factory.mktemp("dask")
    site = site_with_the_entry_point(folder / "site")
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", os.pathsep.join((str(site), os.environ.get("PYTHONPATH", ""))))
    try:
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, protocol="tcp://",
                host="127.0.0.1", dashboard_address=":0", local_directory=str(folder),
            ) as cluster,
            distributed.Client(cluster) as client,
        ):  # fmt: skip
            record()
            client.run(record)
            yield client
    finally:
        patch.undo()


@pytest.fixture
def workers(client) -> list[str]:
    addresses = list(client.scheduler_info()["workers"])
    assert len(addresses) == 2
    client.run(recorded)
    recorded()
    return addresses


def test_views_cross_processes_without_a_copy(client, workers: list[str]) -> None:
    """From a client to a worker, to another worker and back through the scheduler.

    Each frame that leaves is the memory of a piece, each piece that arrives is memory of a frame.
    """
    first, second = workers
    pool = GlobalPool()
    view = some_bytes(pool)
    assert len(view.pieces) > 2
    total = sum(view.to_bytes())

    there = client.submit(passed_on, view, workers=[first], pure=False)
    before = client.submit(looked_at, there, workers=[first]).result()
    sent, _ = recorded()
    assert set(places(view)) <= set(sent), "the client sent something else than its blocks"
    _, received = client.run(recorded, workers=[first])[first]
    assert all(lies_in(piece, received) for piece in before.pieces), "copied on arrival"

    beyond = client.submit(passed_on, there, workers=[second], pure=False)
    after = client.submit(looked_at, beyond, workers=[second]).result()
    sent, _ = client.run(recorded, workers=[first])[first]
    assert set(before.pieces) <= set(sent), "a worker sent something else than it had"
    _, received = client.run(recorded, workers=[second])[second]
    assert all(lies_in(piece, received) for piece in after.pieces), "copied between workers"

    recorded()
    back = beyond.result()
    sent, _ = client.run(recorded, workers=[second])[second]
    assert set(after.pieces) <= set(sent), "the result was copied before it was sent"
    _, received = recorded()
    assert all(lies_in(piece, received) for piece in places(back)), "the result was copied"

    check_laws(back)
    assert back == view
    assert before.total == after.total == total
    assert len({os.getpid(), before.pid, after.pid}) == 3
    assert [len(p) for p in back.pieces] == [len(p) for p in view.pieces]


def test_views_inside_other_objects_cross_without_a_copy(client, workers: list[str]) -> None:
    """These are pickled, with protocol 5, and the pieces go out of band."""
    first, second = workers
    letter = Letter(some_bytes(GlobalPool()))
    there = client.submit(lambda it: it, letter, workers=[first], pure=False)
    before = client.submit(looked_at, there, workers=[first]).result()
    sent, _ = recorded()
    assert set(places(letter.view)) <= set(sent)
    client.run(recorded)
    after = client.submit(looked_at, there, workers=[second]).result()
    sent, _ = client.run(recorded, workers=[first])[first]
    assert set(before.pieces) <= set(sent)
    _, received = client.run(recorded, workers=[second])[second]
    assert all(lies_in(piece, received) for piece in after.pieces)
    assert before.total == after.total == sum(letter.view.to_bytes())


def test_blocks_come_home_when_a_cluster_has_them(client, workers: list[str]) -> None:
    """What was sent is not held by the library or by Dask once it is gone."""
    pool = GlobalPool()
    view = some_bytes(pool)
    there = client.submit(looked_at, view, workers=workers[:1], pure=False)
    assert there.result().total == sum(view.to_bytes())
    del view, there
    deadline = time.monotonic() + 10
    while pool.statistics().lent_nbytes and time.monotonic() < deadline:
        recorded()
        _exports.forget_what_exports_nothing()
        time.sleep(0.05)
    assert pool.statistics().lent_nbytes == 0


# One process


@pytest.mark.parametrize("view", [BytesView(), BytesView(b"bytes"), some_bytes(GlobalPool())])
def test_frames_are_the_pieces(view: BytesView) -> None:
    """Dask's own serialisation: no frame is a copy, nor is a piece of what is made of them."""
    header, frames = serialize(view)
    assert header["serializer"] == "dask"
    assert [place_of(frame) for frame in frames] == places(view)
    back = loads(dumps({"x": to_serialize(view)}))["x"]
    check_laws(back)
    assert places(back) == places(view)
    assert deserialize_bytes(serialize_bytes(view)) == view


def test_collections_of_views_are_taken_apart_by_dask() -> None:
    """Lists and dicts that begin with a view."""
    view = some_bytes(GlobalPool())
    for value in ([view, view[5:]], {"a": view}, (view, 5, "text")):
        assert loads(dumps(to_serialize(value))) == value
        _, frames = serialize(value)
        assert set(places(view)) <= {place_of(frame) for frame in frames}


def test_large_pieces_arrive_in_parts_and_not_by_copying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that Dask would cut and put together again are cut before, and left so."""
    monkeypatch.setattr(dask_utils, "BIG_BYTES_SHARD_SIZE", 100_000)
    view = BytesView(os.urandom(250_000)) + os.urandom(120_000)
    frames = dumps(to_serialize(view), frame_split_size=100_000)
    arrived = [bytearray(frame) for frame in frames]  # each in memory of its own, as from a socket
    back = loads(arrived)
    assert [len(piece) for piece in back.pieces] == [100_000, 100_000, 50_000, 100_000, 20_000]
    received = [place_of(frame) for frame in arrived]
    assert all(lies_in(place, received) for place in places(back))
    assert back == view


def test_dask_knows_how_large_a_view_is() -> None:
    """All its bytes, not the object that shows them."""
    assert sizeof(BytesView()) == 0
    assert sizeof(some_bytes(GlobalPool())) == NBYTES
    assert sizeof([BytesView(bytes(BLOCK_SIZES[-1]))]) > BLOCK_SIZES[-1]


# How it gets there


def run(source: str, folder: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    environment["PYTHONPATH"] = str(folder)
    done = subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True, text=True, timeout=60, check=False, env=environment,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    "imports",
    [
        "import distributed, trio_bytesbuf",
        "import trio_bytesbuf, distributed",
        "import dask.sizeof, trio_bytesbuf, distributed",
        "import distributed",
    ],
)
def test_nobody_has_to_call_anything(imports: str, tmp_path: Path) -> None:
    """In whatever order it imports, a process can send and receive views; no finder is left."""
    source = f"""
import sys
finders = list(sys.meta_path)
{imports}
from distributed.protocol.serialize import serialize, deserialize
assert "_Waiting" not in [type(finder).__name__ for finder in sys.meta_path]
from trio_bytesbuf import BytesView
from dask.sizeof import sizeof
header, frames = serialize(BytesView(b"some") + b"bytes")
print(header["serializer"], deserialize(header, frames), sizeof(BytesView(bytes(1000))))
"""
    site = site_with_the_entry_point(tmp_path)
    assert run(source, site) == "dask <BytesView b'somebytes', 9 bytes in 2 pieces> 1000\n"


def test_the_package_imports_nothing_of_dask(tmp_path: Path) -> None:
    """Not even the module that is for Dask does."""
    source = """
import sys, trio_bytesbuf, trio_bytesbuf.mem._dask
print([name for name in sys.modules if name.split('.')[0] in ('dask', 'distributed')])
"""
    assert run(source, tmp_path) == "[]\n"


def test_the_entry_point_is_declared() -> None:
    """What these tests lay out for themselves is what an installation has."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    name, target = ENTRY.split(" = ")
    assert project["project"]["entry-points"]["dask.sizeof"] == {name: target}
