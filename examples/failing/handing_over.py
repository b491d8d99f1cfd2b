"""Memory that is handed to another process and comes back: opening it there, leasing it again."""

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from types import TracebackType

import trio

from trio_bytesbuf import BytesBuf, BytesView
from trio_bytesbuf.mem import SharedPool, share
from trio_bytesbuf.testing import FailureAttempt, HookCalls, check_laws

from .place import INCOMING, Case, Place

CLAIM_SECONDS = 0.05
HANDED = INCOMING[:70_000]

PROGRAM = f"""
import gc, hashlib, pickle, sys
from trio_bytesbuf import BytesView
from trio_bytesbuf.mem import SharedPool, share

pool, kept = SharedPool(), []
data = hashlib.shake_128(b"in").digest({len(HANDED)})
for line in sys.stdin:
    word, *rest = line.split()
    if word == "give":
        view = BytesView.copied_from_slice(data, pool)
        answer = pickle.dumps(share(view, claim_seconds={CLAIM_SECONDS})).hex()
        del view
    elif word == "take":
        kept.append(pickle.loads(bytes.fromhex(rest[0])).open())
        answer = kept[-1] == data
    elif word == "look":
        answer = all(view == data for view in kept)
    elif word == "drop":
        kept.clear()
        answer = gc.collect() >= 0
    else:
        answer = pool.statistics().lent_nbytes
    print(answer, flush=True)
"""


class OtherProcess:
    """Another process, in a ``with`` block, and what an attempt says to it."""

    def __enter__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.asked("lent")  # it is there

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def asked(self, *words: str) -> str:
        """Return what it answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    @contextlib.asynccontextmanager
    async def given(self, calls: HookCalls) -> AsyncIterator[Place]:
        """Have it hand over some bytes; all of its memory is to come home."""
        it = Place(calls)
        it.more.append(pickle.loads(bytes.fromhex(self.asked("give"))))  # noqa: S301  # our own
        yield it
        it.more.clear()
        it.nothing_is_lent()
        for _ in range(100):  # what could not be said to be opened is waited for
            if self.asked("lent") == "0":
                break
            await trio.sleep(CLAIM_SECONDS)
        assert self.asked("lent") == "0"

    async def open(self, it: Place) -> None:
        """Open what it has handed over."""
        it.got.append(it.more[0].open())

    async def is_seen(self, it: Place, attempt: FailureAttempt) -> str:
        """Check that what is seen is what it has; a handle that could not be opened still can."""
        if attempt.error is not None:
            assert isinstance(attempt.error, OSError), repr(attempt.error)
            assert not it.got
            it.got.append(it.more[0].open())
        (view,) = it.got
        check_laws(view)
        assert view == HANDED
        return "resumed" if attempt.error is not None else ""

    @contextlib.asynccontextmanager
    async def taken(self, calls: HookCalls) -> AsyncIterator[Place]:
        """Hand it two blocks, one of which it drops."""
        it = Place(calls)
        pool = SharedPool()
        it.more.append(pool)
        views = [BytesView.copied_from_slice(HANDED, pool) for _ in range(2)]
        assert self.taken_by_it(views.pop())
        assert self.asked("drop") == "True"
        assert self.taken_by_it(views.pop())
        yield it
        assert self.asked("drop") == "True"
        it.more.clear()
        it.nothing_is_lent()
        check_laws(pool)
        assert not pool.statistics().lent_nbytes

    def taken_by_it(self, view: BytesView) -> bool:
        """Hand over a view; say whether what arrived is what it should be."""
        handle = pickle.dumps(share(view, claim_seconds=CLAIM_SECONDS))
        return self.asked("take", handle.hex()) == "True"

    async def lend_again(self, it: Place) -> None:
        """Fill a block: one that it has dropped, if that can be proved, or a new one."""
        it.buf = it.more[0].reserve(len(HANDED))
        it.buf.put_slice(bytes(len(HANDED)))

    async def nothing_has_changed(self, it: Place, attempt: FailureAttempt) -> str:
        """Check that what it still sees is as it was, and that blocks can be handed over again.

        A block of which nothing can be proved is left where it is: there are others.
        """
        assert attempt.error is None
        assert self.asked("look") == "True"
        check_laws(it.more[0])
        it.buf = BytesBuf()
        for _ in range(3):
            assert self.taken_by_it(BytesView.copied_from_slice(HANDED, it.more[0]))
        assert self.asked("look") == "True"
        return ""


def cases() -> Iterator[Case]:
    """Yield opening what another process has, and leasing what it had."""
    other = OtherProcess()
    fails = ("segment",)
    for name, subject, operation, check in (
        ("open another's", other.given, other.open, other.is_seen),
        ("lease what was another's", other.taken, other.lend_again, other.nothing_has_changed),
    ):
        yield Case("shared pool", name, subject, operation, check, None, fails, around=other)
