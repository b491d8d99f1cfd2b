"""What release hooks have raised, until somebody is told.

A hook runs where nothing can be raised: in a finalizer, or when a collection has ended.

    hook raises ──> waits for its provider ──(next call for blocks)──> BadMemory
          │                   └──(the provider dies, the program ends)──┐
          └──(nobody to wait for, or one waits already)─────────────────┴──> sys.unraisablehook

Law 1. Every error is told once: to the provider as `BadMemory`, while only one waits for it; or to
       `sys.unraisablehook`, as what finalizers raise. None is lost in silence, but for those
       raised while the interpreter is taken apart: then hooks miss their own modules.
Law 2. An error that waits keeps no frame, as frames lead to those of whoever let the memory go, and
       to all their variables. Where it came from is text then.
Law 3. It keeps no provider either, and is never told to another one that is where the first was: it
       waits for the object that a weak reference leads to.
Law 4. An error is the program's, which may raise the same object again and again. So nothing is
       added to it; what we have to say is on the `BadMemory`.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import types
import weakref
from collections.abc import Iterator
from typing import Any, Final

import attrs

from .._errors import BadMemory


@attrs.define(eq=False, repr=False)
class _Failure:
    """An error of a hook that nobody was told of yet.

    It is the callback of a weak reference: what that raises, Python hands to `sys.unraisablehook`.
    """

    error: BaseException
    giver_name: str
    places: tuple[str, ...]
    key: int
    provider: weakref.ref[Any] | None = None
    """For whom it waits."""

    def __call__(self, _: object) -> None:
        if _FAILED.get(self.key) is self:
            del _FAILED[self.key]
        raise self.error

    def tell_whoever_listens(self) -> None:
        """Have `sys.unraisablehook` called with the error."""
        target = _Target()
        reference = weakref.ref(target, self)
        del target  # which calls back
        del reference
        self.error.__traceback__ = None  # which would grow if it is raised again

    def __repr__(self) -> str:
        where = "".join(f", raised at {place.strip()}" for place in self.places[-1:])
        return f"<release hook of {self.giver_name}{where}>"


class _Target:
    """Something to die."""

    __slots__ = ("__weakref__",)


_FAILED: Final[dict[int, _Failure]] = {}
"""What waits, by the identity of the provider."""


def note(exc: BaseException, giver: object, before: BaseException | None) -> None:
    """See to it that somebody is told of `exc`, which a hook has raised; raise nothing.

    Args:
      giver: the provider of the block; None or a word if it came from none.
      before: what was being handled when the hook began, which is none of its business.
    """
    if sys.is_finalizing():
        return
    try:
        name = giver if isinstance(giver, str) else f"a {type(giver).__name__}"
        places = tuple(_places(exc.__traceback__))
        failure = _Failure(exc, "a block" if giver is None else name, places, id(giver))
        if not (giver is None or isinstance(giver, str)):
            _waits_for(giver)  # or not any more
            failure.provider = weakref.ref(giver, failure)
            if _FAILED.setdefault(failure.key, failure) is failure:
                _forget_frames(exc, before)
                return
            failure.provider = None
        failure.tell_whoever_listens()
    except BaseException:  # noqa: BLE001  # no memory, no stack, an interrupt: told by its words
        exc.__traceback__ = None
        with contextlib.suppress(BaseException):
            _Failure(exc, "a block", (), 0).tell_whoever_listens()


def raise_what_hooks_raised(giver: object) -> None:
    """Raise BadMemory if a hook of a block that `giver` gave has raised something, once."""
    failure = _waits_for(giver) if _FAILED else None
    if failure is not None:
        bad = BadMemory(repr(giver), f"has a release hook that raised {_words_of(failure.error)}")
        bad.add_note("\n".join(["It came out of a release hook:", *failure.places]))
        if _FAILED.pop(failure.key, None) is failure:  # and not told in another thread
            raise bad from failure.error


def _waits_for(giver: object) -> _Failure | None:
    failure = _FAILED.get(id(giver))
    if failure is None or (failure.provider is not None and failure.provider() is giver):
        return failure
    if _FAILED.pop(failure.key, None) is failure:  # there was no memory to call back (Law 3)
        failure.tell_whoever_listens()
    return None


def _forget_frames(exc: BaseException, before: BaseException | None) -> None:
    """Take the frames off an error, and off those that led to it in the hook (Law 2)."""
    exc.__traceback__ = None  # first: it takes no memory
    left, seen = [exc], {id(before)}
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = None
        if one.__context__ is before:
            one.__context__ = None
        if isinstance(one, BaseExceptionGroup):
            left += one.exceptions
        left += [other for other in (one.__cause__, one.__context__) if other is not None]


def _places(traceback: types.TracebackType | None) -> Iterator[str]:
    """Yield a line for each frame, without reading a file."""
    while traceback is not None:
        code = traceback.tb_frame.f_code
        yield f"  {code.co_filename}:{traceback.tb_lineno}, in {code.co_name}"
        traceback = traceback.tb_next


def _words_of(exc: BaseException) -> str:
    try:
        return f"{type(exc).__name__}: {exc}"
    except Exception:  # noqa: BLE001  # the words of a user's error are the user's code
        return type(exc).__name__


def _tell_what_waits() -> None:
    """Nobody will ask any more."""
    for key in list(_FAILED):
        failure = _FAILED.pop(key, None)
        if failure is not None:
            failure.tell_whoever_listens()


def check_hook_errors() -> None:
    """Raise AssertionError if a law of this file is broken."""
    for key, failure in _FAILED.copy().items():
        assert failure.error.__traceback__ is None, "Law 2: frames are kept"
        assert failure.provider is not None, "Law 3"
        giver = failure.provider()
        assert giver is not None, "Law 3: an error for a provider that is gone"
        assert id(giver) == failure.key == key, "Law 3"


atexit.register(_tell_what_waits)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_FAILED.clear)
