"""What checks of implementations assert, and in which words they complain.

What is called most makes its words only when there is something to complain of: those for six
million comparisons were half of what our own tests took here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NoReturn

from .._errors import BytesBufError
from ..seq import Buf, BufMut, BytesView


def complain(complaint: str) -> NoReturn:
    """Say what is wrong."""
    raise AssertionError(complaint)


def holds(condition: bool, complaint: str) -> None:
    """Hold a condition to be true."""
    if not condition:
        raise AssertionError(complaint)


_BY_VALUE: Final = frozenset((int, bool, bytes, type(None)))
"""Of these types, equals are the same. (Of floats not: 0.0 == -0.0.)"""


def is_same(found: object, wanted: object) -> bool:
    """Compare with the types, and nan and -0.0 as what they are."""
    if type(found) is not type(wanted):
        return False
    if type(wanted) in _BY_VALUE or isinstance(wanted, BytesView):
        return found == wanted
    return repr(found) == repr(wanted)


def same(found: object, wanted: object, what: str) -> None:
    """Hold `found` to be the same as `wanted`."""
    if not is_same(found, wanted):
        raise AssertionError(f"{what} gave {found!r}, not {wanted!r}")


def refuses(
    thing: Buf | BufMut,
    name: str,
    args: tuple[object, ...],
    kind: type[Exception],
    **fields: object,
) -> None:
    """Hold a call to raise `kind`, with these attributes."""
    what = named(thing, name, args)
    try:
        found = getattr(thing, name)(*args)
    except Exception as error:  # noqa: BLE001  # it is held to what is wanted
        is_error(error, kind, fields, what)
    else:
        raise AssertionError(f"{what} returned {found!r}, not {kind.__name__}")


def is_error(
    error: Exception, kind: type[Exception], fields: Mapping[str, object], what: str
) -> None:
    """Hold what a call has raised to be of `kind`, with these attributes."""
    is_ours = isinstance(error, BytesBufError) and not issubclass(kind, BytesBufError)
    if not isinstance(error, kind) or is_ours:  # ours are ValueErrors and so on as well
        raise AssertionError(f"{what} raised {error!r}, not {kind.__name__}") from error
    for field, value in fields.items():
        same(getattr(error, field), value, f"the {field} of what {what} raised")


def named(thing: object, name: str, args: Iterable[object] = ()) -> str:
    """Return a call in words."""
    return f"{name}({', '.join(map(repr, args))}) of a {type(thing).__name__}"


def gives(thing: Buf | BufMut, name: str, args: tuple[object, ...], wanted: object) -> None:
    """Hold a call to return `wanted`."""
    try:
        found = getattr(thing, name)(*args)
    except Exception as error:
        what = named(thing, name, args)
        raise AssertionError(f"{what} raised {error!r}, not {wanted!r}") from error
    if not is_same(found, wanted):
        same(found, wanted, named(thing, name, args))


def is_of_bytes(memory: object, what: str | Callable[[], str]) -> None:
    """Hold what is called `what`, which may be a function that says so, to be of bytes."""
    if (
        isinstance(memory, memoryview)
        and memory.ndim == 1
        and memory.itemsize == 1
        and memory.c_contiguous
    ):
        return
    told = what if isinstance(what, str) else what()
    holds(isinstance(memory, memoryview), f"{told} gave a {type(memory).__name__}")
    raise AssertionError(
        f"{told} gave a memoryview whose items are not single bytes, one behind another"
    )
