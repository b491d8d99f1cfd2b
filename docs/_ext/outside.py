"""Links from the pages to files of the repository that are no pages of the site.

On a code host such a link is right as it is. On the site, where it leads to a file, the file is
there to be downloaded; a link to a folder becomes its text. Sphinx would take a link to Markdown
for one to a page, and say that there is none.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<path>(?:\.\./)+[^)#\s]*)(?:#[^)\s]*)?\)")


def rewrite(app: Sphinx, docname: str, source: list[str]) -> None:
    """Rewrite the links of a page before it is read; called by Sphinx."""
    folder = Path(app.env.doc2path(docname)).parent

    def replaced(match: re.Match[str]) -> str:
        target = (folder / match["path"]).resolve()
        if target.is_relative_to(Path(app.srcdir).resolve()):
            return match[0]
        if target.is_file():
            text = " ".join(match["text"].replace("`", "").split())
            return f"{{download}}`{text} <{match['path']}>`"
        return match["text"] if target.is_dir() else match[0]

    source[0] = LINK.sub(replaced, source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx what to call."""
    app.connect("source-read", rewrite)
    return {"parallel_read_safe": True}
