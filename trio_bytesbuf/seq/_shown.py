"""How values show themselves in a notebook and to rich: a picture of each, and two renderers.

Pictures of bytes, and the renderers, are imported by who looks: a program that never does pays
nothing for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Group

    from ._picture import Picture


class Shown:
    """Gives what it is mixed into its two ways of being shown. It needs a `_picture`."""

    __slots__ = ()

    def _picture(self) -> Picture:
        raise NotImplementedError

    def _repr_html_(self) -> str:
        """Return HTML for a notebook: no scripts, nothing from elsewhere, any theme."""
        from ._html import html_of

        return html_of(self._picture())

    def __rich__(self) -> Group:
        """Return what rich prints."""
        from ._rich import group_of

        return group_of(self._picture())
