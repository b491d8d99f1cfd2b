"""Check the built site: every link within it, and every anchor that a link names.

    python tools/check_site.py [docs/_build]

Prints each link that leads nowhere, and ends with 1 if there is one. Links to other sites are
counted and not followed: `sphinx-build -b linkcheck` does that.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LINKS = {("a", "href"), ("link", "href"), ("img", "src"), ("script", "src"), ("source", "src")}


class Page(HTMLParser):
    """What a page leads to, and where links can lead in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[int, str]] = []
        self.anchors: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the links and anchors of a tag."""
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)
            elif (tag, name) in LINKS:
                self.links.append((self.getpos()[0], value))


def broken_links(site: Path) -> tuple[list[str], int, int]:
    """Return a line for each link that leads nowhere, and how many lead within and outside."""
    pages = {
        path.resolve(): Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")
    }
    broken: list[str] = []
    inside = outside = 0
    for path, page in sorted(pages.items()):
        for line, link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                outside += 1
                continue
            inside += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            where = f"{path.relative_to(site.resolve())}:{line}: {link}"
            if not target.is_file():
                broken.append(f"{where}: no such file")
            elif not target.is_relative_to(site.resolve()):
                broken.append(f"{where}: not in the site")
            elif (
                parts.fragment
                and target in pages
                and unquote(parts.fragment) not in pages[target].anchors
            ):
                broken.append(f"{where}: no such anchor")
    return broken, inside, outside


def main() -> None:
    """Check the site that is named, or the one that was built here."""
    site = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/_build")
    broken, inside, outside = broken_links(site)
    print(*broken, sep="\n", end="\n" if broken else "")
    if not inside:
        raise SystemExit(f"there is no site in {site}")
    print(f"{inside} links within the site, {len(broken)} broken; {outside} to other sites")
    if broken:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
