"""List the public names of the root module of a Rust crate, one to a line, sorted.

    python tools/extract_rust_names.py SRC_DIR > docs/coverage/bytesbuf-0.4.2.txt

SRC_DIR is the folder that holds the crate's `lib.rs`. Listed are what `lib.rs` re-exports with
`pub use`, and of these types the public functions of their `impl` blocks, the derived traits and
the implemented ones, also those of other types that name one of them:

    BytesView                     a type, or a constant
    BytesView::len                a function
    BytesView: Clone              a trait

It reads what rustfmt writes and no more: an `impl` begins in the first column, and so does the
brace that ends it. Unit tests (`mod tests`) and what is public only inside the crate are left out.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

COMMENT = re.compile(r"^\s*//.*\n?", re.MULTILINE)
TESTS = re.compile(r"^mod tests\b.*", re.MULTILINE | re.DOTALL)
REEXPORT = re.compile(r"^pub use [\w:]*::(?:\{([^}]*)\}|(\w+));", re.MULTILINE)
STRUCT = re.compile(r"^((?:#\[[^\n]*\]\n)*)pub (?:struct|enum|trait|union) (\w+)", re.MULTILINE)
DERIVE = re.compile(r"#\[derive\(([^)]*)\)\]")
IMPL = re.compile(
    r"^(?:unsafe )?impl(?:<[^{\n]*?>)? (?P<head>[^\n{]*?)\s*(?:\n?where[^{]*)?\{(?P<body>.*?)^\}",
    re.MULTILINE | re.DOTALL,
)
FUNCTION = re.compile(r"^ {4}pub (?:const |async |unsafe )*fn (\w+)", re.MULTILINE)


def code_of(source: str) -> str:
    """Return `source` without comments and unit tests."""
    return COMMENT.sub("", TESTS.sub("", source))


def reexported(lib: str) -> set[str]:
    """Return the names that `lib.rs` makes public in the crate's root."""
    names = (several or one for several, one in REEXPORT.findall(lib))
    return {name.strip() for group in names for name in group.split(",") if name.strip()}


def bare(name: str) -> str:
    """Return a type's or trait's name without its path, its lifetimes and its type variables."""
    name = re.sub(r"<(?:'\w+|[A-Z]|_|, )+>", "", name.strip())
    return re.sub(r"\b(?:\w+::)+", "", name)


def names_in(code: str, public: set[str]) -> Iterator[str]:
    """Yield what one source file says about the types in `public`."""
    for attributes, name in STRUCT.findall(code):
        if name in public:
            for derived in DERIVE.findall(attributes):
                yield from (f"{name}: {trait.strip()}" for trait in derived.split(","))
    for block in IMPL.finditer(code):
        trait, is_trait, owner = map(bare, block["head"].rpartition(" for "))
        if not is_trait:
            if owner in public:
                yield from (f"{owner}::{name}" for name in FUNCTION.findall(block["body"]))
        elif public & {owner, *re.findall(r"\w+", trait)}:
            yield f"{owner}: {trait}"


def extracted(folder: Path) -> list[str]:
    """Return the sorted names of the crate whose `lib.rs` is in `folder`."""
    public = reexported(code_of((folder / "lib.rs").read_text()))
    found = set(public)
    for path in sorted(folder.rglob("*.rs")):
        found.update(names_in(code_of(path.read_text()), public))
    return sorted(found)


def main() -> int:
    """Print the names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="SRC_DIR", help="the folder with lib.rs")
    print(*extracted(parser.parse_args().folder), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
