"""Who holds an object now: from a block of memory up to a name that a person can look for.

The cyclic collector can tell what refers to what, so the search goes up, level by level:

    block <- managed buffer <- memoryview <- tuple <- BytesView <- list <- dict of a module

and ends where there is a name in the source: a global, an attribute of a class, a local variable
of a function that runs or is suspended, a thread. What lies between is told as well.

Law 1. Looking keeps nothing: what is returned is text, and while the search goes on it alone
       refers to what it found. Before 3.13, reading a frame's local variables leaves a
       dict with their values in the frame; it is cleared at once, unless the program has it too.
Law 2. The search runs no code of the program: no repr, no property, no comparison.
Law 3. The work is bounded: so many levels, so many objects on each, so many lines. One level costs
       a look at every object that the collector knows, some 10 ms for 100,000 of them.

What the collector does not know is not found: an array that is not one of its objects, C code, a
value that only an unfinished expression has. The text says so where nothing else was found.
"""

from __future__ import annotations

import gc
import inspect
import sys
import threading
import types
from sys import getrefcount
from typing import Any, Final, cast

from ..seq import Block, BytesBuf, BytesReader, BytesView
from ..seq._guard import MemoryGuard
from ..seq._window import BytesBufVectoredWrite

MAX_LEVELS: Final = 16
"""How far up the search goes; a view in a list in an object in a global takes 9. A guess."""

MAX_OBJECTS: Final = 64
"""How many objects of one level are followed. A guess."""

MAX_LINES: Final = 4
"""How many holders are told; the first few show the mistake. A guess."""

_VALUES: Final = (BytesView, BytesReader, BytesBuf, MemoryGuard, BytesBufVectoredWrite)
_INSIDES: Final = (memoryview, tuple, list, Block)
_SUSPENDABLE: Final = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)
_ATTRIBUTE_DICT: Final = "__dict__"
_SNAPSHOTS_STAY: Final = sys.version_info < (3, 13)
_REFERENCES_TO_A_SNAPSHOT: Final = 3
"""The frame's, our variable's and the call's. More: the program called `locals()`."""


def holders_of(target: object, besides: object) -> tuple[str, ...]:
    """Describe what refers to `target` now, other than the object `besides`: a line for each.

    Never more than `MAX_LINES`, the nearest first; empty if nothing is known to refer to it.

    Cost: up to `MAX_LEVELS` looks at everything that the collector knows.
    """
    named_by = _running_variables()
    nodes = {id(target): target}
    below: dict[int, int] = {}
    ours = {id(besides), id(nodes), id(below), id(named_by)}
    lines: dict[str, None] = {}
    ends: list[int] = []
    level = [id(target)]
    for _ in range(MAX_LEVELS):
        asked = tuple(map(nodes.__getitem__, level))
        found = gc.get_referrers(*asked)
        ours |= {id(asked), id(found)}
        held: set[int] = set()
        above: list[int] = []
        for holder in found:
            if id(holder) in ours:
                continue
            held_here = [at for at in map(id, gc.get_referents(holder)) if at in level]
            held.update(held_here)
            if id(holder) in nodes or not held_here:
                continue
            nodes[id(holder)] = holder
            below[id(holder)] = held_here[0]
            if _is_named(holder):
                lines[_text(id(holder), nodes, below)] = None
            elif len(above) < MAX_OBJECTS:
                above.append(id(holder))
        ours -= {id(asked), id(found)}  # others may soon be where these were
        holder = None
        del asked, found
        for at in level:
            for variable in named_by.get(at, ()):
                lines[f"{_text(at, nodes, below)} in {variable}"] = None
        ends += [at for at in level if at not in held and at not in named_by and at in below]
        level = above
        if not level or len(lines) >= MAX_LINES:
            break
    if not lines:
        for at in ends[-MAX_LINES:]:
            what = _text(at, nodes, below)
            lines[f"{what}, which only something refers to that cannot be looked into"] = None
        for at in level[:MAX_LINES]:
            lines[f"{_text(at, nodes, below)}, and so on"] = None
    return tuple(lines)[:MAX_LINES]


# Names


def _is(node: object, kinds: type | tuple[type, ...]) -> bool:
    """Say what `isinstance` says, without asking the object, which may be a proxy (Law 2)."""
    return issubclass(type(node), kinds)


def _is_named(holder: object) -> bool:
    """Say whether a person finds `holder` by its name, so that the search need not go on."""
    if type(holder) is dict:
        return _is_namespace(holder)
    return _is(holder, (type, threading.Thread, types.ModuleType, *_SUSPENDABLE))


def _is_namespace(holder: dict[Any, Any]) -> bool:
    return type(holder.get("__name__")) is str and (
        "__builtins__" in holder or "__spec__" in holder or "__loader__" in holder
    )


def _running_variables() -> dict[int, list[str]]:
    """Return what local variables of functions that run now refer to, in all threads.

    The collector does not see them: where they are, it counts references and asks nobody.
    """
    named_by: dict[int, list[str]] = {}
    frame: types.FrameType | None
    for frame in sys._current_frames().values():
        told: set[int] = set()  # the innermost variable is enough, for each thread
        while frame is not None:
            if frame.f_code.co_flags & inspect.CO_OPTIMIZED and not _is_looking(frame):
                for name, at in _variables_of(frame):
                    if at not in told:
                        told.add(at)
                        named_by.setdefault(at, []).append(_variable_text(name, frame))
            frame = frame.f_back
    return named_by


def _is_looking(frame: types.FrameType) -> bool:
    """Say whether `frame` belongs to the diagnosis, whose own variables hold nobody's memory."""
    return frame.f_globals.get("__name__") in _LOOKING


_LOOKING: Final = frozenset((__name__, __name__.replace("_holders", "_tracking")))


def _variables_of(frame: types.FrameType) -> list[tuple[str, int]]:
    """Return the names of the frame's local variables, and the identities of their values."""
    references = getrefcount(variables := frame.f_locals)
    named = [(name, id(value)) for name, value in list(variables.items())]
    if (
        _SNAPSHOTS_STAY
        and frame.f_code.co_flags & inspect.CO_OPTIMIZED
        and references <= _REFERENCES_TO_A_SNAPSHOT
    ):
        variables.clear()
    return named


def _variable_text(name: str, frame: types.FrameType) -> str:
    code = frame.f_code
    where = f"function {code.co_qualname}, {code.co_filename}:{frame.f_lineno}"
    return f"local variable `{name}` of {where}"


# Text


def _text(at: int, nodes: dict[int, object], below: dict[int, int]) -> str:
    """Describe the way from the block up to the object with identity `at`."""
    way: list[Any] = [nodes[at]]
    while at in below:
        at = below[at]
        way.append(nodes[at])
    way.reverse()
    start = _start_of(way)
    steps = [_kind(way[start])]
    for here in range(start + 1, len(way)):
        step = _step(way, here)
        if step:
            steps.append(step)
    return " in ".join(steps)


def _start_of(way: list[Any]) -> int:
    """Return where the way leaves the inside of our own values."""
    start = 0
    for here, node in enumerate(way):
        if _is(node, _VALUES):
            return here
        if _is(node, (memoryview, Block)):
            start = here
        elif here > 1 and not _is_inside(node):
            break
    return start


def _is_inside(node: object) -> bool:
    return _is(node, _INSIDES) or type(node).__name__ in {"deque", "dict"}


def _step(way: list[Any], here: int) -> str | None:
    """Describe how `way[here]` holds what is below it, or None if what is above says it better."""
    holder, held = way[here], way[here - 1]
    above: Any = way[here + 1] if here + 1 < len(way) else None
    inner = way[here - 2] if here >= 2 else None
    if type(holder) is dict:
        if _is_namespace(holder):
            return f"global `{_key_of(holder, held)}` of module {holder['__name__']}"
        return None if above is not None and _has_dict(above, holder) else "dict"
    if _is(holder, type):
        name = _key_of(dict(vars(holder)), inner if type(held) is dict else held)
        return f"attribute `{name}` of class {holder.__qualname__}"
    if _is(holder, types.FunctionType):
        return _function_step(holder, held, inner)
    if _is(holder, types.FrameType):
        return _frame_step(holder, held, inner)
    if _is(holder, _SUSPENDABLE):
        return _frame_step(_frame_of(holder), held, inner) or _kind(holder)
    if _is(holder, (types.CellType, types.TracebackType)):
        return None
    if type(holder) is tuple and _is(above, types.FunctionType) and above.__closure__ is holder:
        return None
    if _is(holder, BaseException):
        text = _exception_text(cast("BaseException", holder))
        return f"traceback of {text}" if _is(held, types.TracebackType) else text
    if _is(holder, threading.Thread):
        return f"thread {vars(threading.Thread)['name'].__get__(holder)!r}"
    return _object_step(holder, held, inner)


def _frame_of(suspended: Any) -> types.FrameType | None:
    frame: types.FrameType | None
    if _is(suspended, types.GeneratorType):
        frame = suspended.gi_frame
    elif _is(suspended, types.CoroutineType):
        frame = suspended.cr_frame
    else:
        frame = suspended.ag_frame
    return frame


def _object_step(holder: object, held: object, inner: object) -> str:
    name = None
    if type(held) is dict and _has_dict(holder, held):
        name = _key_of(held, inner)
    else:
        name = _slot_of(holder, held) or _attribute_of(holder, held)
    return f"attribute `{name}` of {_kind(holder)}" if name else _kind(holder)


def _function_step(function: types.FunctionType, held: object, inner: object) -> str:
    cells = function.__closure__ or ()
    names = function.__code__.co_freevars
    for name, cell in zip(names, cells, strict=True):
        if cell is held or cell is inner:
            return f"closure of function {function.__qualname__} as `{name}`"
    return f"function {function.__qualname__}"


def _frame_step(frame: types.FrameType | None, held: object, inner: object) -> str | None:
    """Name the variable of `frame` that is, or whose cell is, what is held."""
    if frame is None or _is(held, types.FrameType):
        return None
    sought = {id(held), id(inner)} if _is(held, types.CellType) else {id(held)}
    for name, at in _variables_of(frame):
        if at in sought:
            return _variable_text(name, frame)
    return _variable_text("(an expression)", frame)


def _has_dict(holder: object, attributes: dict[Any, Any]) -> bool:
    """Say whether the attributes of `holder` are kept in that dict."""
    return _is(holder, type) or _dict_of(holder) is attributes


def _dict_of(holder: object) -> dict[Any, Any] | None:
    try:
        found = object.__getattribute__(holder, _ATTRIBUTE_DICT)
    except Exception:  # noqa: BLE001  # a property of that name may raise anything
        return None
    return found if type(found) is dict else None


def _attribute_of(holder: object, held: object) -> str | None:
    attributes = _dict_of(holder)
    return None if attributes is None else _key_of(attributes, held)


def _slot_of(holder: object, held: object) -> str | None:
    for kind in type(holder).__mro__:
        for name, member in vars(kind).items():
            if type(member) is types.MemberDescriptorType:
                try:
                    if member.__get__(holder) is held:
                        return name
                except AttributeError:  # a slot that is not set
                    continue
    return None


def _key_of(mapping: dict[Any, Any], held: object) -> str | None:
    for key, value in list(mapping.items()):
        if value is held and type(key) is str:
            return key
    return None


def _kind(node: object) -> str:
    kind = type(node)
    if _is(node, (*_VALUES, Block)) or kind.__module__ in {"builtins", "collections"}:
        return kind.__name__
    return f"<{kind.__qualname__} object>"


def _exception_text(exception: BaseException) -> str:
    """Name the exception as a traceback does, as far as that runs no code of the program."""
    args = exception.args
    said = repr(args[0][:60]) if args and type(args[0]) is str else "..." if args else ""
    return f"{type(exception).__name__}({said})"
