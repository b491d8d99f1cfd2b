"""How Sphinx builds the site: `sphinx-build -W --keep-going -n docs docs/_build`.

Nothing is fetched: links to trio's pages are made by `_ext/contracts.py`.
"""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent / "_ext")]

project = "trio_bytesbuf"
author = "the authors of trio_bytesbuf"
version = release = version_of("trio_bytesbuf")
copyright = "the authors of trio_bytesbuf"  # noqa: A001  # Sphinx's name

extensions = ["myst_parser", "sphinx.ext.autodoc", "rooms", "contracts", "outside"]
exclude_patterns = ["_build"]
nitpicky = True

# Markdown: anchors for headings as code hosts make them, so that a link is right on both.
myst_heading_anchors = 4
myst_enable_extensions = ["fieldlist"]

autodoc_default_options = {
    "members": True,
    "inherited-members": "object, Exception, BaseException, Generic, ABC, Enum, int, tuple, str",
    "show-inheritance": True,
    "member-order": "bysource",
}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
add_module_names = False

html_theme = "furo"
html_title = "trio_bytesbuf"
html_theme_options = {"navigation_with_keys": True}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
pygments_style = "friendly"
pygments_dark_style = "native"
