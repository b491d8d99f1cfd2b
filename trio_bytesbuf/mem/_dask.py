"""Views in Dask: their size, and how they travel between its processes without a copy.

Dask loads the entry points of the group `dask.sizeof` in every process, while it is being
imported. `register` is one, so nobody has to call anything. Nothing of Dask is imported from
here unless somebody else has imported it before.

Law 1. A frame that leaves is memory of a piece, and a piece that arrives is memory of a frame.
       What Dask cuts because it is too large, it puts together again by copying; so frames
       are cut to its largest size here, and arrive as several pieces.
Law 2. Frames are memoryviews and no `PickleBuffer`s, so no memoryview is an exporter.
Law 3. Who can send a view like this can receive one: one function registers both.

Pickling alone does not do. To and from its scheduler Dask pickles with protocol 4, which knows no
buffers, and a result that a client asks for goes that way. Dask's own serialisation goes every
way, but its registry is not there yet when entry points are loaded. So `register` waits for
the import of that module, by a finder that steps aside and registers when the module is whole.
Views inside other objects are pickled with those, by `BytesView.__reduce_ex__`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..seq import BytesView
from ..seq._view import _unpickled

if TYPE_CHECKING:
    from ..seq._flat import Buffer

SERIALIZE: Final = "distributed.protocol.serialize"
"""Where Dask's registries of serialisers are."""


def register(sizeof: Any) -> None:
    """Tell Dask what views are: how large, and how they are sent.

    Dask calls this; calling it again is harmless. What `sizeof` says of a view is `len(view)`.

    Args:
      sizeof: `dask.sizeof.sizeof`.

    Cost: importing this package, 0.15 s where nothing of it was imported before.
    """
    sizeof.register(BytesView, len)
    if hasattr(sys.modules.get(SERIALIZE), "register_serialization"):
        _register_serialization(sys.modules[SERIALIZE])
    elif _WAITING not in sys.meta_path:
        sys.meta_path.insert(0, _WAITING)


def _register_serialization(serialize: ModuleType) -> None:
    serialize.register_serialization(BytesView, _frames_of, _view_of)


def _frames_of(view: BytesView) -> tuple[dict[str, object], list[memoryview]]:
    """Return the pieces as they lie, cut to frames that Dask leaves whole (Law 1)."""
    utils = importlib.import_module("distributed.protocol.utils")
    max_nbytes = utils.BIG_BYTES_SHARD_SIZE
    return {}, [
        piece[start : start + max_nbytes]
        for piece in view.pieces
        for start in range(0, piece.nbytes, max_nbytes)
    ]


def _view_of(header: dict[str, object], frames: Sequence[Buffer]) -> BytesView:  # noqa: ARG001
    """Return a view of the frames as they came; others may see them, so it has no hash."""
    return _unpickled(*frames)


@attrs.define(eq=False)
class _Waiting(MetaPathFinder):
    """Waits for the import of Dask's registries; finds nothing itself."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002  # the other finders are asked for it anew
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname != SERIALIZE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                _register_serialization(module)

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


_WAITING: Final = _Waiting()
